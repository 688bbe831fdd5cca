"""A sample of a file: what it is, how it is cut into columns, and its first rows."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl
import pyarrow as pa

from bess_pipeline.sources.numbers import UNKNOWN
from bess_pipeline.sources.opening import UnreadableFile, refusing

#: How much of a text is looked at [bytes], and how many values of a Parquet file.
MOST_BYTES = 24_000_000
MOST_VALUES = 16_000_000

_SEPARATORS = (";", "\t", ",", "|")
_LINES = 600
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_COMMA_NUMBER = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?")
_GROUPED = re.compile(r"[+-]?\d{1,3}([.,'  ]\d{3})+[.,]\d+")
_TIMELIKE = re.compile(r"[\dT:./ ,+Z-]*\d[:./-]\d[\dT:./ ,+Z-]*( ?[AaPp][Mm])?")
_MAGICS = {
    b"PK\x03\x04": "a zip archive (or a spreadsheet)",
    b"\x89HDF": "an HDF5 or MATLAB file",
    b"MATLAB": "a MATLAB file",
    b"\xd0\xcf\x11\xe0": "an old Office or Access file",
    b"\x00\x01\x00\x00Standard": "an Access database",
    b"SQLite format": "an SQLite database",
}


@dataclass(frozen=True)
class Told:
    """A value of the fleet file: why, and how sure.

    Attributes:
        value: The value.
        why: The evidence for it.
        sure: ``sure``, ``likely`` or ``guess``; ``TODO`` where a person has to decide.
    """

    value: object
    why: str
    sure: str = "sure"


@dataclass(frozen=True)
class Sample:
    """The first rows of a file.

    Attributes:
        file: Name of the file.
        format: ``csv``, ``parquet`` or ``ndjson``.
        reading: Other keys of the fleet file's `source` that say how it is read.
        frame: Its columns: texts, or whatever types a Parquet file has.
        decimal_comma: Whether numbers have a comma where others have a dot.
        units: Column → unit in a line of units below the header.
        remarks: What a person should know about the file.
        is_whole: Whether the sample is the whole file.
    """

    file: str
    format: str
    reading: dict[str, Told]
    frame: pl.DataFrame
    decimal_comma: bool = False
    units: dict[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    is_whole: bool = True


def sample(path: Path) -> Sample:
    """Look at a file: its format is told by its content, not by its name.

    Raises:
        UnreadableFile: If it is no delimited text, Parquet or NDJSON; the message says what to do.
    """
    with refusing(path.name):
        head, packed, is_whole = _head(path)
        for magic, what in _MAGICS.items():
            if head.startswith(magic):
                raise UnreadableFile(f"{path.name}: is {what}; export it as CSV, Parquet or NDJSON")
        if head.startswith(b"PAR1"):
            return _parquet(path, head if packed else None, is_whole=is_whole)
    text, encoding, remarks = _text(path.name, head)
    if not is_whole:
        text = text[: text.rfind("\n") + 1]
    lines = text.splitlines()
    first = next((line for line in lines if line.strip()), "")
    if first.lstrip().startswith("{") and _object(first) is not None:
        return _ndjson(path.name, lines, encoding, remarks, is_whole=is_whole)
    if re.match(r"\s*(<|\[\s*([\[{\"]|$))", first):
        raise UnreadableFile(f"{path.name}: is JSON or markup as a whole; deliver one JSON object to a line, or CSV")
    return _delimited(path.name, lines, encoding, remarks, is_whole=is_whole)


def is_number(text: str) -> bool:
    """Whether a field is a number with a decimal point.

    Examples:
        >>> [is_number(text) for text in ("1.5e-3", "1,5", "12:00", "-7")]
        [True, False, False, True]
    """
    return _NUMBER.fullmatch(text.strip()) is not None


def _head(path: Path) -> tuple[bytes, str, bool]:
    """The first bytes, how they are packed, and whether they are all."""
    with path.open("rb") as stored:
        magic = stored.read(4)
    if magic.startswith(b"\x1f\x8b"):
        with gzip.open(path) as stream:
            head = stream.read(MOST_BYTES + 1)
        packed = ".gz"
    elif magic == b"\x28\xb5\x2f\xfd":
        with pa.OSFile(str(path)) as raw, pa.CompressedInputStream(raw, "zstd") as stream:
            head = bytes(stream.read(MOST_BYTES + 1))
        packed = ".zst"
    else:
        with path.open("rb") as plain:
            head = plain.read(MOST_BYTES + 1)
        packed = ""
    return head[:MOST_BYTES], packed, len(head) <= MOST_BYTES


def _text(file: str, head: bytes) -> tuple[str, Told | None, list[str]]:
    if not head.strip():
        raise UnreadableFile(f"{file}: is empty; draft from a file with a header and rows")
    for mark, encoding in ((b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be")):
        if head.startswith(mark):
            return head.decode(encoding, errors="replace").lstrip("\ufeff"), Told("utf-16", "byte order mark"), []
    if b"\x00" in head[:65536]:
        raise UnreadableFile(f"{file}: is binary and of no format known here; export it as CSV, Parquet or NDJSON")
    try:
        return head.decode("utf-8-sig"), None, []
    except UnicodeDecodeError as broken:
        if broken.start >= len(head) - 4:
            return head[: broken.start].decode("utf-8-sig"), None, []
        line = head.count(b"\n", 0, broken.start) + 1
        remark = f"line {line} is not UTF-8: such bytes are read as Latin-1"
        return head.decode("cp1252", errors="replace"), Told("latin-1", remark, "likely"), [remark]


def _parquet(path: Path, unpacked: bytes | None, *, is_whole: bool) -> Sample:
    """The first rows of a Parquet file; of one that is compressed as a whole, whatever it was unpacked to."""
    if unpacked is not None and not is_whole:
        raise UnreadableFile(
            f"{path.name}: is too large to be looked at; draft from a smaller file, or unpack it first"
        )
    source = path if unpacked is None else io.BytesIO(unpacked)
    lazy = pl.scan_parquet(source, glob=False, hive_partitioning=False)
    rows = lazy.select(pl.len()).collect().item()
    frame = lazy.head(max(20_000, MOST_VALUES // max(1, len(lazy.collect_schema())))).collect()
    if frame.is_empty():
        raise UnreadableFile(f"{path.name}: has no rows; draft from a file with rows")
    return Sample(path.name, "parquet", {}, frame, is_whole=frame.height == rows)


def _object(line: str) -> dict[str, object] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _ndjson(file: str, lines: list[str], encoding: Told | None, remarks: list[str], *, is_whole: bool) -> Sample:
    rows = [said for line in lines if (said := _object(line))]
    names = list(dict.fromkeys(name for row in rows for name in row))
    frame = pl.DataFrame({name: [_plain(row.get(name)) for row in rows] for name in names}, strict=False)
    broken = sum(1 for line in lines if line.strip()) - len(rows)
    if broken:
        remarks = [*remarks, f"{broken} lines are no JSON object"]
    reading = {} if encoding is None else {"encoding": encoding}
    return Sample(file, "ndjson", reading, frame, remarks=tuple(remarks), is_whole=is_whole)


def _plain(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


@dataclass(frozen=True)
class _Cut:
    """One way to cut the lines of a text."""

    separator: str
    header: int
    width: int
    share: float
    score: float
    units: int = 0


def _delimited(file: str, lines: list[str], encoding: Told | None, remarks: list[str], *, is_whole: bool) -> Sample:
    head = lines[:_LINES]
    cuts = [cut for separator in _SEPARATORS if (cut := _cut(head, separator)) is not None]
    if not cuts:
        raise UnreadableFile(f"{file}: no separator cuts it into columns below a header; is it telemetry as text?")
    best = max(cuts, key=lambda cut: (round(cut.score, 2), cut.width))
    titles = [title.strip() for title in _row(lines[best.header], best.separator)]
    titles += [""] * (best.width - len(titles))
    titles = titles[: best.width]
    twice = sorted({title for title in titles if title and titles.count(title) > 1})
    if twice:
        remarks = [*remarks, f"several columns are named {', '.join(twice)}: the file will be refused as it is"]
    below = best.header + 1 + best.units
    rows = [row for line in lines[below:] if line.strip() for row in [_row(line, best.separator)]]
    odd = sum(1 for row in rows if len(row) != best.width)
    if odd:
        remarks = [*remarks, f"{odd} rows of {len(rows)} do not have the {best.width} fields of the header"]
    padded = [(row + [""] * best.width)[: best.width] for row in rows]
    taken = {title: place for place, title in reversed(list(enumerate(titles))) if title and title not in twice}
    frame = pl.DataFrame(
        {title: [row[place] for row in padded] for title, place in sorted(taken.items(), key=lambda item: item[1])},
        schema=dict.fromkeys(sorted(taken, key=lambda title: taken[title]), pl.String),
    )
    reading = {"separator": Told(best.separator, f"{best.width} fields in {best.share:.0%} of the lines")}
    if encoding is not None:
        reading["encoding"] = encoding
    comma = _has_decimal_comma(padded[:_LINES])
    if comma and best.separator != ",":
        reading["decimal_comma"] = Told(value=True, why=f"numbers such as {comma}")
    skipped = sum(1 for line in lines[: best.header] if line.strip())
    if skipped:
        reading["skip_lines"] = Told(best.header, f"{skipped} lines above the header in line {best.header + 1}")
    units: dict[str, str] = {}
    if best.units:
        said = _row(lines[best.header + 1], best.separator)
        units = {title: said[place].strip() for title, place in taken.items() if place < len(said)}
        remarks = [*remarks, f"line {best.header + 2} holds units: it will be counted as a row that cannot be read"]
    return Sample(file, "csv", reading, frame, "decimal_comma" in reading, units, tuple(remarks), is_whole=is_whole)


def _row(line: str, separator: str) -> list[str]:
    if '"' not in line:
        return line.split(separator)
    return next(csv.reader([line], delimiter=separator), [])


def _is_value(text: str) -> bool:
    text = text.strip()
    return bool(_NUMBER.fullmatch(text) or _COMMA_NUMBER.fullmatch(text) or _TIMELIKE.fullmatch(text)) or bool(
        _GROUPED.fullmatch(text)
    )


def _cut(lines: list[str], separator: str) -> _Cut | None:
    """How a separator cuts the lines: the header is the last line of words above rows of as many fields."""
    rows = [_row(line, separator) if line.strip() else [] for line in lines]
    full = [row for row in rows if len(row) > 1]
    if not full:
        return None
    tail = full[len(full) // 3 :]
    width = Counter(map(len, tail)).most_common(1)[0][0]

    def values(row: list[str]) -> float:
        known = [text for text in row if text.strip() not in UNKNOWN]
        return sum(map(_is_value, known)) / len(known) if known else 0.0

    first = next((at for at, row in enumerate(rows) if len(row) == width and values(row) > 1 / 3), None)
    if first is None:
        return None
    above = [at for at in range(first - 1, max(-1, first - 4), -1) if lines[at].strip()][:2]
    titled = [at for at in above if abs(len(rows[at]) - width) <= 1 and not any(map(_is_value, rows[at]))]
    if not titled or titled[0] != above[0]:
        return None
    header = titled[0]
    second = titled[1] if len(titled) == 2 and len(rows[titled[1]]) == width else None
    has_units = second is not None and sum(len(text.strip()) <= 6 for text in rows[header]) > width * 0.8
    if has_units and second is not None and _looks_like_units(rows[header]):
        header, units = second, 1
    else:
        units = 0
    below = [row for row in rows[first:] if row]
    share = sum(len(row) == width for row in below) / len(below)
    cells = [text for row in below[:50] for text in row if text.strip() not in UNKNOWN]
    valued = sum(map(_is_value, cells)) / max(1, len(cells))
    return _Cut(separator, header, width, share, share * (0.5 + valued / 2), units)


_UNIT_LIKE = re.compile(r"[\[(]?(m?V|k?V|m?A|k?W|°?[CF]|%|Ah|Wh|kWh|s|ms|h|Hz|K|Ohm|Ω|-|)[\])]?", re.IGNORECASE)


def _looks_like_units(row: list[str]) -> bool:
    return sum(_UNIT_LIKE.fullmatch(text.strip()) is not None for text in row) > len(row) / 2


def _has_decimal_comma(rows: list[list[str]]) -> str | None:
    """An example of a number with a decimal comma, where those are more than the numbers with a point."""
    found = [text.strip() for row in rows for text in row if _COMMA_NUMBER.fullmatch(text.strip())]
    points = sum(is_number(text) and "." in text for row in rows for text in row)
    return found[0] if len(found) > points else None
