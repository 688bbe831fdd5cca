"""Tables of samples written the way makers write them."""

import csv
import gzip
import io
import json
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from bess_pipeline.sources.source import Source
from bess_pipeline.window import Window

FIRST_DAY, TODAY = date(2020, 1, 1), date(2024, 6, 1)
ALL_DAYS = Window(FIRST_DAY, date(2024, 6, 2))
DAYS = {"first_day": FIRST_DAY, "today": TODAY}
NAMES = ("timestamp", "battery_id", "voltage_volt", "current_ampere", "soc_bms_percent")

values = st.none() | st.floats(-1e6, 1e6).map(lambda value: value + 0.0)
batteries = st.sampled_from(["b1", "rack 2", 'the "third"', "a;b", "c,d", "Ünit-5", "n"])
times = st.integers(0, 3 * 86_400_000).map(lambda ms: datetime(2023, 12, 30, tzinfo=UTC) + timedelta(milliseconds=ms))
samples = st.lists(st.tuples(times, batteries, values, values, values), max_size=25)


@dataclass(frozen=True)
class Dialect:
    """One way of writing CSV."""

    separator: str = ","
    decimal_comma: bool = False
    quoting: int = csv.QUOTE_MINIMAL
    line_end: str = "\n"
    mark: str = ""
    unknown: str = ""
    suffix: str = ""

    @property
    def source(self):
        """How a file in this dialect is read."""
        return source(separator=self.separator, decimal_comma=self.decimal_comma)

    def text(self, rows, header=NAMES):
        """A table as text."""
        stream = io.StringIO()
        writer = csv.writer(stream, delimiter=self.separator, quoting=self.quoting, lineterminator=self.line_end)
        writer.writerow(header)
        writer.writerows([self._cell(value) for value in row] for row in rows)
        return self.mark + stream.getvalue()

    def _cell(self, value):
        if value is None:
            return self.unknown
        if isinstance(value, float):
            return repr(value).replace(".", ",") if self.decimal_comma else repr(value)
        return value.isoformat() if isinstance(value, datetime) else value


dialects = st.builds(
    Dialect,
    separator=st.sampled_from([",", ";", "\t", "|"]),
    decimal_comma=st.booleans(),
    quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    line_end=st.sampled_from(["\n", "\r\n"]),
    mark=st.sampled_from(["", "\ufeff"]),
    unknown=st.sampled_from(["", "NaN", "null", "NA", "N/A", "nan", " "]),
    suffix=st.sampled_from(["", ".gz", ".zst"]),
)


def source(kind="csv", **said):
    """How a file is read that has the house names unless told otherwise."""
    if kind != "csv":
        said = {name: value for name, value in said.items() if name not in {"separator", "decimal_comma"}}
    return Source.model_validate({"format": kind, **said})


def put(path, content):
    """Write text or bytes, compressed as the suffix says."""
    data = content.encode() if isinstance(content, str) else content
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = pa.compress(data, codec="zstd", asbytes=True)
    path.write_bytes(data)
    return path


def put_samples(path, rows, kind, dialect=Dialect()):
    """Write samples in a format."""
    if kind == "csv":
        return put(path, dialect.text(rows))
    if kind == "ndjson":
        lines = (json.dumps({name: _plain(value) for name, value in zip(NAMES, row, strict=True)}) for row in rows)
        return put(path, "".join(f"{line}\n" for line in lines))
    stream = io.BytesIO()
    expected(rows).select(NAMES).write_parquet(stream)
    return put(path, stream.getvalue())


def expected(rows):
    """The samples as a frame, as they should be read."""
    schema = {
        "timestamp": pl.Datetime("us", "UTC"),
        "battery_id": pl.String,
        **dict.fromkeys(NAMES[2:], pl.Float64),
    }
    return pl.DataFrame(rows, schema=schema, orient="row").with_row_index("row_number").cast({"row_number": pl.Int64})


def _plain(value):
    return value.isoformat() if isinstance(value, datetime) else value
