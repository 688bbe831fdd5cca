"""Parquet as no maker should write it: the ways of spoiling that only this format has."""

import io
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

NAMES = ("timestamp", "battery_id", "voltage_volt", "current_ampere", "temperature_celsius")

#: Way of spoiling → the content of a file, from chance, the style of honest files, and rows.
WAYS: dict[str, Callable[[random.Random, Any, list[list[str]]], bytes]] = {}


def _way(spoil):
    WAYS[spoil.__name__.strip("_")] = spoil
    return spoil


def as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def parquet(table: pa.Table, **options: object) -> bytes:
    stream = io.BytesIO()
    pq.write_table(table, stream, **options)
    return stream.getvalue()


def _instants(rows: list[list[str]]) -> list[datetime]:
    return [datetime(2024, 3, 1, tzinfo=UTC) + timedelta(minutes=place) for place in range(len(rows))]


@_way
def _other_types(chance, style, rows):
    n = len(rows)
    instants = _instants(rows)
    times = [
        pa.array(instants, pa.timestamp("ns", "UTC")), pa.array(instants, pa.timestamp("s")),
        pa.array(instants, pa.timestamp("us", "Asia/Tokyo")), pa.array([at.date() for at in instants]),
        pa.array([at.time() for at in instants]), pa.array([float("nan")] * n), pa.array([2**62] * n),
        pa.array([b"\xff"] * n), pa.array([True] * n), pa.nulls(n), pa.array([[1]] * n), pa.array([{"a": 1}] * n),
        pa.array([at.isoformat() for at in instants]).dictionary_encode(), pa.array(range(n), pa.duration("us")),
        pa.array([-(2**63)] * n, pa.timestamp("us", "UTC")), pa.array([2**63 - 1] * n, pa.timestamp("ns")),
        pa.array([-(2**50)] * n, pa.timestamp("s")), pa.array([2**63 - 1] * n, pa.timestamp("ms", "UTC")),
    ]  # fmt: skip
    batteries = [pa.array(["fuzz-1"] * n), pa.array(["fuzz-1"] * n).dictionary_encode(), pa.array(range(n)),
                 pa.nulls(n), pa.array([b"fuzz-1"] * n), pa.array([["fuzz-1"]] * n), pa.array([1.5] * n),
                 pa.array([True] * n)]  # fmt: skip
    numbers = [pa.array([1.5] * n), pa.array([Decimal("1.50")] * n), pa.array(["1.5"] * n).dictionary_encode(),
               pa.array([1] * n, pa.uint64()), pa.array([1.5] * n, pa.float16()), pa.array([float("inf")] * n),
               pa.array([True] * n), pa.array([[1.0]] * n), pa.array([{"a": 1.0}] * n), pa.nulls(n),
               pa.array([b"1"] * n), pa.array(instants), pa.array([Decimal(10) ** 37] * n), pa.array(["x"] * n),
               pa.array([None, *[1e308] * (n - 1)])]  # fmt: skip
    usual = [0, 0, *[0] * 3]
    for place in chance.sample(range(5), k=chance.randint(1, 3)):
        usual[place] = -1
    columns = [
        chance.choice(choices) if usual[place] else choices[0]
        for place, choices in enumerate([times, batteries, numbers, numbers, numbers])
    ]
    return parquet(pa.table(columns, names=list(NAMES)), version="2.6", store_schema=chance.random() < 0.5)


@_way
def _odd_columns(chance, style, rows):
    columns = {name: ["1"] * len(rows) for name in NAMES} | {
        "timestamp": _instants(rows),
        "battery_id": ["fuzz-1"] * len(rows),
    }
    odd = chance.choice(
        ["", "row_number", "is_ragged", "raw:timestamp", "early", "line", "x" * 5000, "\x00", "a.b", "*", "^.*$"]
    )
    return parquet(pa.table({**columns, odd: pa.array([[{"b": 1}]] * len(rows))}))


@_way
def _columns_of_the_same_name_inparquet(chance, style, rows):
    column = pa.array(["1"] * len(rows))
    return parquet(pa.table([column] * 5, names=chance.choices(NAMES, k=5)))


@_way
def _no_rows_or_no_columns(chance, style, rows):
    return parquet(
        chance.choice(
            [pa.table({}), pa.table({name: pa.array([], pa.string()) for name in NAMES}), pa.table({"a": [1]})]
        )
    )


@_way
def _corrupt_footer(chance, style, rows):
    content = bytearray(style.content(rows))
    size = int.from_bytes(content[-8:-4], "little")
    for _ in range(chance.randint(1, 6)):
        content[-chance.randint(1, size + 8)] = chance.randrange(256)
    return bytes(content)


@_way
def _corrupt_pages(chance, style, rows):
    content = bytearray(style.content(rows))
    size = int.from_bytes(content[-8:-4], "little")
    for _ in range(chance.randint(1, 6)):
        content[chance.randrange(4, len(content) - size - 8)] = chance.randrange(256)
    return bytes(content)


@_way
def _other_pages(chance, style, rows):
    table = pa.table(
        {
            name: pa.array([row[place] if place < 2 else as_number(row[place]) for row in rows])
            for place, name in enumerate(NAMES)
        }
    )
    return parquet(
        table,
        compression=chance.choice(["NONE", "SNAPPY", "GZIP", "BROTLI", "ZSTD", "LZ4"]),
        row_group_size=chance.choice([1, 7, 100]),
        data_page_version=chance.choice(["1.0", "2.0"]),
        use_dictionary=chance.random() < 0.5,
    )


@_way
def _many_columns_inparquet(chance, style, rows):
    width = chance.choice([300, 300, 300, 10_000])
    columns = {"timestamp": _instants(rows[:2]), "battery_id": ["fuzz-1"] * len(rows[:2])}
    return parquet(
        pa.table(
            {
                **columns,
                **{f"column {place}": [1.0] * len(rows[:2]) for place in range(width)},
                "voltage_volt": [1.0] * len(rows[:2]),
                "current_ampere": [1.0] * len(rows[:2]),
            }
        )
    )
