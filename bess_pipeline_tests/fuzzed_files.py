"""Files as no maker should write them, the same ones for the same seed.

Each begins as an honest file of a few dozen samples and is then spoiled in one of the
ways of `SPOILERS`. Their batteries are named ``fuzz-…``: no row of theirs can meet a row
of an honest file. Their honest days are few, so that whole runs over thousands of them
stay quick.
"""

import gzip
import json
import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from itertools import cycle

import pyarrow as pa

from bess_pipeline_tests import fuzzed_parquet
from bess_pipeline_tests.fuzzed_parquet import NAMES, as_number, parquet

DAYS = (date(2024, 3, 1), date(2024, 3, 2))
SUFFIXES = {"csv": ".csv", "ndjson": ".jsonl", "parquet": ".parquet"}

_NUMBERS = ("1e308", "-1e308", "1e309", "NaN", "nan", "inf", "-inf", "", "0x1F", "1_000", "-0", "1e-320",
            "9" * 400, "--5", "1.2.3", "null", "None", "#DIV/0!", "١٢", "true", " 7 ", "+7")  # fmt: skip
_TIMES = ("0000-01-01T00:00:00Z", "0000-00-00 00:00:00", "9999-12-31T23:59:59Z", "10000-01-01T00:00:00Z",
          "-0001-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "-62135596800", "-1", "0", "1e308", "9223372036854775807",
          "99999999999999999999999", "NaN", "inf", "", "2024-02-30T00:00:00Z", "2024-03-01T24:00:00Z",
          "2024-03-01T25:61:61Z", "2024-03-01T23:59:60Z", "2024-03-01T00:00:00+99:99", "01/03/2024", "yesterday",
          "2024-03-01T00:00:00.123456789123Z", "2024-W09-5", "2262-04-11T23:47:16.854775808Z")  # fmt: skip
_TEXTS = ('fuzz-"', "fuzz-\x00", "fuzz-\ufeff", "fuzz-電池", "fuzz-,;\t|", "fuzz-" + "x" * 5000, "", " ", "fuzz-\u202e",
          "fuzz-'); DROP TABLE--", "fuzz-../../etc", "fuzz-\x1b[31m", "fuzz-\r", "fuzz-\x85\u2028")  # fmt: skip


@dataclass(frozen=True)
class Fuzzed:
    """A spoiled file.

    Attributes:
        name: What it is called: its format's suffix, and .gz or .zst perhaps.
        content: Its bytes.
        spoiled: The way in which it was spoiled.
    """

    name: str
    content: bytes
    spoiled: str


@dataclass(frozen=True)
class Style:
    """What honest files of a fleet are like.

    Attributes:
        kind: csv, ndjson or parquet.
        separator: Between the fields of csv.
        epoch: Whether times are milliseconds since 1970.
    """

    kind: str
    separator: str = ","
    epoch: bool = False

    def rows(self, chance: random.Random, number: int, *, battery: str = "fuzz") -> list[list[str]]:
        """The fields of an honest file, as text."""
        at = datetime.combine(chance.choice(DAYS), datetime.min.time(), UTC) + timedelta(minutes=chance.randrange(1300))
        rows = []
        for row in range(chance.randint(3, 40)):
            then = at + timedelta(minutes=row)
            time = str(round(then.timestamp() * 1000)) if self.epoch else then.isoformat().replace("+00:00", "Z")
            numbers = (chance.uniform(700, 800), chance.uniform(-50, 50), chance.uniform(10, 40))
            rows.append([time, f"{battery}-{number % 97}", *(f"{value:.3f}" for value in numbers)])
        return rows

    def content(self, rows: list[list[str]], names: tuple[str, ...] = NAMES) -> bytes:
        """Rows as a file of the format."""
        if self.kind == "csv":
            return "".join(f"{self.separator.join(row)}\n" for row in [list(names), *rows]).encode(errors="replace")
        if self.kind == "ndjson":
            objects = (dict(zip(names, row, strict=False)) for row in rows)
            return "".join(f"{json.dumps(said, ensure_ascii=False)}\n" for said in objects).encode(errors="replace")
        columns = {
            name: [as_number(row[place]) if place > 1 else row[place] for row in rows]
            for place, name in enumerate(names)
        }
        if self.epoch:
            columns["timestamp"] = [
                int(row[0]) if row[0].isascii() and row[0].isdigit() and len(row[0]) < 19 else None for row in rows
            ]
        return parquet(pa.table(columns))


def fuzzed_files(style: Style, count: int, seed: int) -> list[Fuzzed]:
    """Spoiled files of one style: every way of spoiling in turn, on other rows each time."""
    ways = [*_WAYS["any"].items(), *_WAYS["parquet" if style.kind == "parquet" else "text"].items()]
    if style.kind != "parquet":
        ways += _WAYS[style.kind].items()
    made = []
    for number, (way, spoil) in zip(range(count), cycle(ways), strict=False):
        chance = random.Random(f"{seed}/{style}/{number}")
        rows = style.rows(chance, number)
        said = spoil(chance, style, rows)
        name, content = said if isinstance(said, tuple) else ("", said)
        made.append(Fuzzed(f"fuzz-{number:05d}{SUFFIXES[style.kind]}{name}", content, way))
    return made


Spoiler = Callable[[random.Random, Style, list[list[str]]], bytes | tuple[str, bytes]]
_WAYS: dict[str, dict[str, Spoiler]] = {
    "any": {},
    "text": {},
    "csv": {},
    "ndjson": {},
    "parquet": dict(fuzzed_parquet.WAYS),
}


def _way(kind: str) -> Callable[[Spoiler], Spoiler]:
    def known(spoil: Spoiler) -> Spoiler:
        _WAYS[kind][spoil.__name__.strip("_")] = spoil
        return spoil

    return known


# ── any format ──────────────────────────────────────────────────────────────────────────


@_way("any")
def _truncated(chance, style, rows):
    content = style.content(rows)
    return content[: chance.randrange(len(content))]


@_way("any")
def _binary_garbage(chance, style, rows):
    return chance.randbytes(chance.randrange(1, 4000))


@_way("any")
def _empty(chance, style, rows):
    return b""


@_way("any")
def _flipped_bytes(chance, style, rows):
    content = bytearray(style.content(rows))
    for _ in range(chance.randint(1, 30)):
        content[chance.randrange(len(content))] = chance.randrange(256)
    return bytes(content)


@_way("any")
def _a_piece_is_missing(chance, style, rows):
    content = style.content(rows)
    start = chance.randrange(len(content))
    return content[:start] + content[start + chance.randint(1, 200) :]


@_way("any")
def _a_piece_is_there_twice(chance, style, rows):
    content = style.content(rows)
    start = chance.randrange(len(content))
    return content[: start + chance.randint(1, 200)] + content[start:]


@_way("any")
def _zeros_at_the_end(chance, style, rows):
    return style.content(rows) + bytes(chance.randint(1, 5000))


@_way("any")
def _other_format(chance, style, rows):
    other = chance.choice([kind for kind in SUFFIXES if kind != style.kind])
    return replace(style, kind=other).content(rows)


@_way("any")
def _absurd_times(chance, style, rows):
    for row in chance.sample(rows, k=chance.randint(1, len(rows))):
        row[0] = chance.choice(_TIMES)
    return style.content(rows)


@_way("any")
def _absurd_numbers(chance, style, rows):
    for row in chance.sample(rows, k=chance.randint(1, len(rows))):
        row[chance.randrange(2, 5)] = chance.choice(_NUMBERS)
    return style.content(rows)


@_way("any")
def _absurd_batteries(chance, style, rows):
    for row in rows:
        row[1] = chance.choice([row[1], *(text.replace("fuzz-", row[1]) for text in _TEXTS)])
    return style.content(rows)


@_way("any")
def _rows_in_conflict(chance, style, rows):
    return style.content([[row[0], row[1], chance.choice(["1", "2"]), *row[3:]] for row in rows * 2])


@_way("any")
def _other_columns(chance, style, rows):
    names = list(NAMES)
    names[chance.randrange(len(names))] = chance.choice(["Zeitstempel", "", "\ufeff", "x" * 20_000, "a\nb"])
    return style.content(rows, tuple(names))


@_way("any")
def _cut_gz(chance, style, rows):
    packed = gzip.compress(style.content(rows), mtime=0)
    return ".gz", packed[: chance.randrange(1, len(packed))]


@_way("any")
def _cut_zst(chance, style, rows):
    packed = pa.compress(style.content(rows), codec="zstd", asbytes=True)
    return ".zst", packed[: chance.randrange(1, len(packed))]


@_way("any")
def _corrupt_archive(chance, style, rows):
    suffix = chance.choice([".gz", ".zst"])
    plain = style.content(rows)
    packed = bytearray(gzip.compress(plain, mtime=0) if suffix == ".gz" else pa.compress(plain, "zstd", asbytes=True))
    for _ in range(chance.randint(1, 5)):
        packed[chance.randrange(len(packed))] ^= 1 << chance.randrange(8)
    return suffix, bytes(packed)


@_way("any")
def _suffix_lies(chance, style, rows):
    plain = style.content(rows)
    packed = [plain, gzip.compress(plain, mtime=0), pa.compress(plain, "zstd", asbytes=True), zlib.compress(plain)]
    return chance.choice(["", ".gz", ".zst"]), chance.choice(packed)


@_way("any")
def _packed_twice_or_in_parts(chance, style, rows):
    plain = style.content(rows)
    half = len(plain) // 2
    if chance.random() < 0.5:
        return ".gz", gzip.compress(gzip.compress(plain, mtime=0), mtime=0)
    if chance.random() < 0.5:
        return ".gz", gzip.compress(plain[:half], mtime=0) + gzip.compress(plain[half:], mtime=0)
    return ".zst", pa.compress(plain[:half], "zstd", asbytes=True) + pa.compress(plain[half:], "zstd", asbytes=True)


@_way("any")
def _bomb(chance, style, rows):
    """About 3 MB from 3 kB: beyond the limits that the tests set, which are small for their own sake."""
    plain = style.content(rows) + chance.choice([b"\0", b"\n", b",", b"{}\n"]) * 3_000_000
    return chance.choice([(".gz", gzip.compress(plain, mtime=0)), (".zst", pa.compress(plain, "zstd", asbytes=True))])


# ── text ────────────────────────────────────────────────────────────────────────────────


@_way("text")
def _header_only(chance, style, rows):
    return style.content([])


@_way("text")
def _mixed_encodings(chance, style, rows):
    lines = style.content(rows).decode().replace("fuzz", "fuzz-Süd-°").splitlines(keepends=True)
    return b"".join(line.encode(chance.choice(["utf-8", "latin-1", "cp1252", "utf-16-le"])) for line in lines)


@_way("text")
def _one_encoding(chance, style, rows):
    encoding = chance.choice(["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig", "latin-1", "utf-7", "cp037"])
    mark = {"utf-16-be": b"\xfe\xff", "utf-16-le": b""}.get(encoding, b"")
    return mark + style.content(rows).decode().replace("fuzz", "fuzz-Süd").encode(encoding)


@_way("text")
def _line_ends(chance, style, rows):
    lines = style.content(rows).splitlines()
    if chance.random() < 0.3:
        return b"\r".join(lines)
    return b"".join(
        line + chance.choice([b"\n", b"\r\n", b"\r", b"\n\n", b"\r\r\n", b"\x0b", b" \n"]) for line in lines
    )


@_way("text")
def _zero_bytes(chance, style, rows):
    content = bytearray(style.content(rows))
    for _ in range(chance.randint(1, 20)):
        content.insert(chance.randrange(len(content)), 0)
    return bytes(content)


@_way("text")
def _a_very_long_line(chance, style, rows):
    lines = style.content(rows).splitlines(keepends=True)
    lines.insert(chance.randrange(len(lines) + 1), chance.choice([b"x", b",", b'"', b"{", b"["]) * 300_000 + b"\n")
    return b"".join(lines)


@_way("text")
def _unbalanced_quotes(chance, style, rows):
    content = bytearray(style.content(rows))
    for _ in range(chance.randint(1, 9)):
        content.insert(chance.randrange(len(content)), ord(chance.choice("\"'")))
    return bytes(content)


@_way("text")
def _many_columns(chance, style, rows):
    width = chance.choice([300, 300, 300, 10_000])
    names = (*NAMES, *(f"column {place}" for place in range(width - len(NAMES))))
    return style.content([row + ["1"] * (width - len(NAMES)) for row in rows[:5]], names)


@_way("text")
def _lines_of_something_else(chance, style, rows):
    lines = style.content(rows).splitlines(keepends=True)
    for _ in range(chance.randint(1, 5)):
        other = chance.choice([b"# comment\n", b"\n", b"   \n", b"<html>\n", b"{}\n", b"[1]\n", b"null\n", b"1\n",
                               b",\n", b"total,5\n", b'"\n', b"\xff\xfe\n", b"\x1a\n", b"sep=;\n"])  # fmt: skip
        lines.insert(chance.randrange(len(lines) + 1), other)
    return b"".join(lines)


@_way("csv")
def _wrong_separator(chance, style, rows):
    return replace(style, separator=chance.choice([one for one in ";,\t|: " if one != style.separator])).content(rows)


@_way("csv")
def _columns_of_the_same_name(chance, style, rows):
    names = chance.choices([*NAMES, ""], k=len(NAMES))
    return style.content(rows, tuple(names))


@_way("csv")
def _ragged_rows(chance, style, rows):
    return style.content([row[: chance.randint(1, 5)] + ["9"] * chance.choice([0, 0, 1, 900]) for row in rows])


@_way("csv")
def _line_breaks_in_quotes(chance, style, rows):
    for row in chance.sample(rows, k=chance.randint(1, len(rows))):
        row[1] = f'"{row[1]}{chance.choice([chr(10), chr(13), style.separator, chr(34) * 2])}"'
    return style.content(rows)


@_way("ndjson")
def _deep_nesting(chance, style, rows):
    depth = chance.choice([10, 200, 200_000])
    deep = "[" * depth + "]" * depth if chance.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth
    broken = deep if chance.random() < 0.7 else deep[: len(deep) // 2]
    plain = style.content(rows).decode().splitlines(keepends=True)
    said = f'{{"timestamp": "2024-03-01T00:00:00Z", "battery_id": "fuzz-deep", "voltage_volt": {broken}}}\n'
    plain.insert(chance.randrange(len(plain) + 1), said if chance.random() < 0.7 else broken + "\n")
    return "".join(plain).encode()


@_way("ndjson")
def _fields_said_twice(chance, style, rows):
    said = ", ".join(f'"{name}": "{value}"' for row in rows[:3] for name, value in zip(NAMES, row, strict=True))
    return style.content(rows) + f"{{{said}}}\n".encode()


@_way("ndjson")
def _odd_values(chance, style, rows):
    values = ("NaN", "Infinity", "-Infinity", "1e999", "-1e999", "null", "true", "[]", "{}", "[1,2]", '{"a":1}',
              '"\\u0000"', '"\\ud800"', "01", "1.", "18446744073709551616", '"\\x41"', "'5'")  # fmt: skip
    lines = []
    for row in rows:
        texts = [json.dumps(field) for field in row]
        texts[chance.randrange(5)] = chance.choice(values)
        lines.append("{" + ", ".join(f'"{name}": {text}' for name, text in zip(NAMES, texts, strict=True)) + "}\n")
    return "".join(lines).encode()


@_way("ndjson")
def _one_document(chance, style, rows):
    objects = [dict(zip(NAMES, row, strict=True)) for row in rows]
    said = chance.choice(
        [
            objects,
            {"data": objects},
            {name: list(column) for name, column in zip(NAMES, zip(*rows, strict=True), strict=True)},
        ]
    )
    return json.dumps(said, indent=chance.choice([None, 2])).encode()


#: Every way of spoiling a file.
SPOILERS = tuple(way for ways in _WAYS.values() for way in ways)
