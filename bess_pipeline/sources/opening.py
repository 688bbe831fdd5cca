"""Files as they lie there: opened, decompressed, and refused with a reason where they cannot be read."""

from __future__ import annotations

import codecs
import errno
import gzip
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

import polars as pl
import pyarrow as pa

#: Before the name of a column as the file has it, so that it meets no name of ours.
RAW = "raw:"


class UnreadableFile(Exception):  # noqa: N818 - it is the file that is unreadable
    """A file that cannot be read as a whole; the message says why, and what to do."""


class RawFile(Protocol):
    """One file as rows of whatever it holds."""

    @property
    def names(self) -> list[str]:
        """Its columns."""
        ...

    @property
    def schema(self) -> dict[str, pl.DataType]:
        """The types of its columns."""
        ...

    @property
    def size_bytes(self) -> int:
        """About how many bytes it holds, decompressed."""
        ...

    @property
    def version(self) -> tuple[str, int, int]:
        """Path, size and modification time [ns] of the file as it was opened."""
        ...

    def has(self, name: str) -> bool:
        """Whether the file has a column."""
        ...

    def frame(self, columns: Sequence[str]) -> pl.LazyFrame:
        """``row_number``, ``is_ragged``, and columns of the file, each named `RAW` + its name."""
        ...

    def verify(self) -> None:
        """Decode every value, so that a file that is counted can also be read.

        Raises:
            PolarsError: If one cannot be decoded.
        """
        ...

    def originals(self, row_numbers: pl.Series) -> pl.DataFrame:
        """``row_number``, ``original`` (the row as JSON) and ``fields`` (how many there are, in delimited text)."""
        ...


@dataclass(frozen=True)
class Limits:
    """How much a file may hold: what is beyond is refused before it fills memory or disk.

    Attributes:
        file_bytes: Most bytes of a file, once decompressed; of Parquet, of the values of all its columns.
        compression_ratio: Most bytes that one compressed byte may stand for in a file of more than ``free_bytes``.
            Samples have times that differ, which no compression makes smaller than some bytes a row; text of
            telemetry is compressed 3 to 50 times, while a decompression bomb is compressed a thousand times.
        free_bytes: A file that holds no more than this is no danger, however well it is compressed.
        long_bytes: A file from here on is surveyed a few rows at a time and cut into slices by time for reading:
            reading it through for every few days would cost more.
    """

    file_bytes: int = 1 << 36
    compression_ratio: int = 250
    free_bytes: int = 1 << 26
    long_bytes: int = 1 << 28

    def check(self, name: str, size: int, packed: int) -> None:
        """Refuse a file that holds too much.

        Args:
            name: What the file is called in the message.
            size: Bytes that it holds, as far as they are known.
            packed: Bytes that they were compressed to.

        Raises:
            UnreadableFile: If it is too much.
        """
        if size > self.file_bytes:
            raise UnreadableFile(
                f"{name}: holds more than {self.file_bytes:,} bytes; deliver it in parts, or raise "
                "BESS_LARGEST_FILE_BYTES and deliver it again"
            )
        if size > self.free_bytes and size > self.compression_ratio * packed:
            raise UnreadableFile(
                f"{name}: holds more than {self.compression_ratio} times its {packed:,} bytes, as decompression bombs "
                "do; deliver it uncompressed, or raise BESS_LARGEST_COMPRESSION_RATIO and deliver it again"
            )


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Turn whatever a broken file leads to into `UnreadableFile`.

    Args:
        name: What the file is called in the message.
    """
    name = printable(name)
    try:
        yield
    except FileNotFoundError:
        raise UnreadableFile(f"{name}: is gone; deliver it again") from None
    except PermissionError:
        raise UnreadableFile(f"{name}: may not be read; give the pipeline the right to") from None
    except _BROKEN as broken:
        if isinstance(broken, OSError) and broken.errno in _NOT_ITS_FAULT:
            raise
        reason = printable(str(broken).split("\n", maxsplit=1)[0])
        raise UnreadableFile(f"{name}: is damaged or not of its format ({reason}); deliver it again") from None


def printable(text: str, *, longest: int = 200) -> str:
    r"""A text of a file as it may stand in a message: on one line, not too long, nothing in it that moves a cursor.

    Examples:
        >>> printable("two\nlines")
        'two\\nlines'
        >>> printable("x" * 300, longest=5)
        'xxxxx…'
    """
    shown = "".join(one if one.isprintable() else repr(one)[1:-1] for one in text[:longest])
    return shown + ("…" if len(text) > longest else "")


def content(path: Path, limits: Limits = Limits()) -> bytes:
    """The bytes of a file, decompressed where they are compressed.

    Raises:
        UnreadableFile: If the file holds more than it may.
    """
    with closing(Unpacked(path, limits)) as unpacked:
        return b"".join(unpacked.blocks())


class Lines:
    """The lines of a text file, read as a stream, until it is closed.

    Compression is recognized by the content, not the suffix: what is compressed is
    decompressed once, in memory where it is small and to a temporary file where it is
    not. So is text decoded that is not UTF-8: UTF-16 as its first bytes tell, else
    bytes that are not UTF-8 are taken as Latin-1.

    Args:
        path: The file.
        limits: How much it may hold.
        encoding: How its text is encoded, where that is known.

    Attributes:
        name: What the file is called in messages.
        first: The first lines.
        is_decoded: Whether the text was not UTF-8.

    Raises:
        UnreadableFile: If the file holds more than it may.
    """

    def __init__(self, path: Path, limits: Limits = Limits(), encoding: str | None = None) -> None:
        self.name = printable(path.name)
        self.is_decoded = False
        self._limits = limits
        self._unpacked = Unpacked(path, limits)
        try:
            if encoding is None or encoding == "utf-8":
                encoding = _wide_encoding(self._unpacked.head())
            if encoding is not None:
                self._decode(encoding)
            try:
                self.first = self._head()
            except pl.exceptions.ComputeError:
                self.decode()
                self.first = self._head()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Remove what was put aside."""
        self._unpacked.close()

    def decode(self) -> None:
        """Take the text as Latin-1 where it is not UTF-8."""
        self._decode("utf-8")

    def scan(self, *, rows: int | None = None) -> pl.LazyFrame:
        """``number`` (from 0) and ``line`` of each line."""
        numbered = pl.scan_lines(self.source, row_index_name="number", n_rows=rows, glob=False)
        return numbered.with_columns(pl.col("number").cast(pl.Int64))

    @property
    def size_bytes(self) -> int:
        """How many bytes the text has."""
        return self.source.stat().st_size if isinstance(self.source, Path) else len(self.source)

    @property
    def version(self) -> tuple[str, int, int]:
        """Path, size and modification time [ns] of the file as it was opened."""
        return self._unpacked.version

    @property
    def source(self) -> Path | bytes:
        """The text in UTF-8: the file itself, or what was made of it."""
        return self._unpacked.source

    def of(self, numbers: pl.Series) -> pl.DataFrame:
        """``number`` and ``line`` of some lines."""
        return self.scan().filter(pl.col("number").is_in(numbers.implode())).collect(engine="streaming").sort("number")

    def _decode(self, encoding: str) -> None:
        decoder = codecs.getincrementaldecoder(encoding)("bess-latin-1" if encoding == "utf-8" else "replace")
        texts = (decoder.decode(block) for block in self._unpacked.blocks())

        def encoded() -> Iterator[bytes]:
            for text in texts:
                yield text.encode()
            yield decoder.decode(b"", final=True).encode()

        self._unpacked.replace(encoded())
        self.is_decoded = True

    def _head(self) -> list[str]:
        return self.scan(rows=1000).collect(engine="streaming").sort("number")["line"].to_list()


class Unpacked:
    """The content of a file, decompressed where it is compressed, until it is closed.

    Args:
        path: The file.
        limits: How much it may hold.

    Attributes:
        source: The file itself where it is not compressed, its content in memory, or a temporary file.
        version: Path, size and modification time [ns] of the file.

    Raises:
        UnreadableFile: If the file holds more than it may.
    """

    def __init__(self, path: Path, limits: Limits) -> None:
        self.source: Path | bytes = path
        self._name = printable(path.name)
        self._limits = limits
        self._aside: tempfile.TemporaryDirectory[str] | None = None
        stat = path.stat()
        self._packed = stat.st_size
        self.version = (str(path), stat.st_size, stat.st_mtime_ns)
        limits.check(self._name, self._packed, self._packed)
        try:
            self._unpack()
        except BaseException:
            self.close()
            raise

    def _unpack(self) -> None:
        for _ in range(_MOST_LAYERS):
            start = self.head(4)
            if start.startswith(_GZIP):
                self.replace(_unpacked_gzip(self.source))
            elif start[:2] in _ZLIB:
                self.replace(_unpacked_zlib(self.blocks()))
            elif start == _ZSTD:
                self.replace(_unpacked_zst(self.source))
            else:
                return
        raise UnreadableFile(f"{self._name}: is compressed {_MOST_LAYERS} times over; deliver it compressed once")

    def head(self, size: int = 4096) -> bytes:
        """The first bytes."""
        if isinstance(self.source, bytes):
            return self.source[:size]
        with self.source.open("rb") as stream:
            return stream.read(size)

    def blocks(self) -> Iterator[bytes]:
        """The content, block by block."""
        if isinstance(self.source, bytes):
            yield from (self.source[at : at + _BLOCK_BYTES] for at in range(0, len(self.source), _BLOCK_BYTES))
        else:
            with self.source.open("rb") as stream:
                yield from iter(partial(stream.read, _BLOCK_BYTES), b"")

    def replace(self, blocks: Iterable[bytes]) -> None:
        """Put other content in the place of the file: in memory, or in a temporary file when it is large."""
        before, size = self._aside, 0
        aside: tempfile.TemporaryDirectory[str] | None = None
        held: list[bytes] = []
        stream: BinaryIO | None = None
        try:
            for block in blocks:
                size += len(block)
                self._limits.check(self._name, size, self._packed)
                if stream is None and size > _IN_MEMORY_BYTES:
                    aside = tempfile.TemporaryDirectory(prefix="bess-")
                    stream = (Path(aside.name) / "content").open("wb")
                    stream.writelines(held)
                    held.clear()
                if stream is None:
                    held.append(block)
                else:
                    stream.write(block)
        except BaseException:
            if aside is not None:
                aside.cleanup()
            raise
        finally:
            if stream is not None:
                stream.close()
        self.source = b"".join(held) if aside is None else Path(aside.name) / "content"
        self._aside = aside
        if before is not None:
            before.cleanup()

    def close(self) -> None:
        """Remove the temporary file."""
        if self._aside is not None:
            self._aside.cleanup()


_IN_MEMORY_BYTES = 1 << 25
_MOST_LAYERS = 3
_BLOCK_BYTES = 1 << 20
_GZIP, _ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
_WIDE = {b"\xff\xfe\0\0": "utf-32", b"\0\0\xfe\xff": "utf-32", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}
_BROKEN = (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException, OSError, EOFError, zlib.error)
_NOT_ITS_FAULT = (errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def _unpacked_gzip(source: Path | bytes) -> Iterator[bytes]:
    with gzip.open(source if isinstance(source, Path) else BytesIO(source)) as stream:
        yield from iter(partial(stream.read, _BLOCK_BYTES), b"")


def _unpacked_zlib(blocks: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj()
    for block in blocks:
        rest = block
        while rest and not inflater.eof:
            yield inflater.decompress(rest, _BLOCK_BYTES)
            rest = inflater.unconsumed_tail
    yield inflater.flush()
    if not inflater.eof:
        raise EOFError("Compressed file ended before the end-of-stream marker was reached")


def _unpacked_zst(source: Path | bytes) -> Iterator[bytes]:
    stored = pa.OSFile(str(source)) if isinstance(source, Path) else pa.BufferReader(source)
    with stored, pa.CompressedInputStream(stored, "zstd") as stream:
        yield from iter(partial(stream.read, _BLOCK_BYTES), b"")


def _wide_encoding(head: bytes) -> str | None:
    """UTF-16 or UTF-32 as a byte order mark tells, or the zeros beside each character of Latin scripts."""
    for mark, encoding in _WIDE.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > _WIDE_SHARE * len(head) / 2 and min(even, odd) == 0:
        return "utf-16-be" if even else "utf-16-le"
    return None


_WIDE_SHARE = 0.8


def _as_latin_1(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("bess-latin-1", _as_latin_1)
