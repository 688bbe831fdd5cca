"""Files as they lie there: opened, decompressed, and refused with a reason where they cannot be read."""

from __future__ import annotations

import codecs
import gzip
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa

#: Before the name of a column as the file has it, so that it meets no name of ours.
RAW = "raw:"


class UnreadableFile(Exception):  # noqa: N818 - it is the file that is unreadable
    """A file that cannot be read as a whole; the message says why, and what to do."""


class RawFile(Protocol):
    """One file as rows of whatever it holds."""

    names: list[str]
    schema: dict[str, pl.DataType]

    def has(self, name: str) -> bool:
        """Whether the file has a column."""
        ...

    def frame(self, columns: Sequence[str]) -> pl.LazyFrame:
        """``row_number``, ``is_ragged``, and columns of the file, each named `RAW` + its name."""
        ...

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """``row_number``, ``original`` (the row as JSON) and ``fields`` (how many there are, in delimited text)."""
        ...


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn whatever a broken file leads to into `UnreadableFile`.

    Args:
        name: What the file is called in the message.
    """
    try:
        yield
    except FileNotFoundError:
        raise UnreadableFile(f"{name}: is gone; deliver it again") from None
    except PermissionError:
        raise UnreadableFile(f"{name}: may not be read; give the pipeline the right to") from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, EOFError) as broken:
        reason = str(broken).split("\n", maxsplit=1)[0][:200]
        raise UnreadableFile(f"{name}: is damaged or not of its format ({reason}); deliver it again") from None


def content(path: Path) -> bytes:
    """The bytes of a file, decompressed where its suffix is .gz or .zst."""
    if path.suffix == ".gz":
        with gzip.open(path) as stream:
            return stream.read()
    if path.suffix == ".zst":
        with pa.OSFile(str(path)) as stored, pa.CompressedInputStream(stored, "zstd") as stream:
            return bytes(stream.read())
    return path.read_bytes()


class Lines:
    """The lines of a text file, read as a stream; .gz and .zst are recognized by their content.

    Attributes:
        path: The file.
        decoded: Its text where it is not UTF-8 throughout: bytes that are not are taken as Latin-1.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.decoded: bytes | None = None
        try:
            self.first = self._head()
        except pl.exceptions.ComputeError:
            self.decode()
            self.first = self._head()

    def decode(self) -> None:
        """Take the text as Latin-1 where it is not UTF-8."""
        self.decoded = content(self.path).decode("utf-8", errors="bess-latin-1").encode()

    def scan(self, *, rows: int | None = None) -> pl.LazyFrame:
        """``number`` (from 0) and ``line`` of each line."""
        numbered = pl.scan_lines(self.source, row_index_name="number", n_rows=rows, glob=False)
        return numbered.with_columns(pl.col("number").cast(pl.Int64))

    @property
    def source(self) -> Path | bytes:
        """The file, or its text where it had to be decoded."""
        return self.path if self.decoded is None else self.decoded

    def of(self, numbers: pl.Series) -> pl.DataFrame:
        """``number`` and ``line`` of some lines."""
        return self.scan().filter(pl.col("number").is_in(numbers.implode())).collect(engine="streaming").sort("number")

    def _head(self) -> list[str]:
        return self.scan(rows=1000).collect(engine="streaming").sort("number")["line"].to_list()


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("bess-latin-1", _as_latin_1)
