import gzip
import random
import tempfile
import zlib
from datetime import UTC, datetime, timedelta

import polars as pl
import pyarrow as pa
import pytest

from bess_pipeline.sources.files import UnreadableFile, read_rows, survey
from bess_pipeline.sources.opening import Limits
from bess_pipeline.window import Window
from bess_pipeline_tests.sources.written_files import ALL_DAYS, DAYS, put, source

HEADER = "timestamp,battery_id,power_watt\n"
ROW = "2024-01-01T00:00:00Z,b,1\n"
BEGIN = datetime(2023, 12, 30, tzinfo=UTC)


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """The system's folder for temporary files, empty."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
@pytest.mark.parametrize("filling", [b"\0", b"\n", ROW.encode()])
def test_a_decompression_bomb_is_refused_and_leaves_nothing_behind(tmp_path, temporary, suffix, filling):
    plain = HEADER.encode() + filling * (100_000_000 // len(filling))
    path = put(tmp_path / f"bomb.csv{suffix}", plain)
    with pytest.raises(
        UnreadableFile, match=r"^bomb.csv.*: holds more than 250 times .*BESS_LARGEST_COMPRESSION_RATIO"
    ):
        survey(path, source(), **DAYS)
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
def test_a_file_that_holds_more_than_it_may_is_refused_with_limit_and_setting(tmp_path, suffix):
    path = put(tmp_path / f"f.csv{suffix}", HEADER + ROW * 1000)
    assert survey(path, source(), **DAYS, limits=Limits(file_bytes=30_000)).rows == 1000
    with pytest.raises(UnreadableFile, match=r"f.csv.*: holds more than 10,000 bytes.*BESS_LARGEST_FILE_BYTES"):
        survey(path, source(), **DAYS, limits=Limits(file_bytes=10_000))


def test_parquet_that_stands_for_more_values_than_it_may_is_refused(tmp_path):
    path = tmp_path / "f.parquet"
    rows = pl.select(timestamp=pl.repeat(BEGIN, 30_000_000), battery_id=pl.lit("b"), power_watt=pl.lit(1.0))
    rows.write_parquet(path, row_group_size=10_000_000)
    with pytest.raises(UnreadableFile, match=r"f.parquet: holds more than .*bytes"):
        survey(path, source("parquet"), **DAYS)


def test_a_file_that_is_compressed_over_and_over_is_refused(tmp_path):
    content = (HEADER + ROW).encode()
    for layers, outcome in ((1, 1), (2, 1), (3, None)):
        content = gzip.compress(content)
        path = tmp_path / f"{layers}.csv.gz"
        path.write_bytes(content)
        if outcome is None:
            with pytest.raises(UnreadableFile, match="is compressed 3 times over"):
                survey(path, source(), **DAYS)
        else:
            assert survey(path, source(), **DAYS).rows == outcome


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, lambda plain: pa.compress(plain, "zstd", asbytes=True)])
def test_compression_is_recognized_by_the_content(tmp_path, pack):
    path = tmp_path / "f.csv"
    path.write_bytes(pack((HEADER + ROW).encode()))
    assert survey(path, source(), **DAYS).rows == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1"])
def test_text_of_any_encoding_is_read(tmp_path, encoding):
    path = tmp_path / "f.csv"
    path.write_bytes((HEADER + ROW.replace(",b,", ",Süd,")).encode(encoding))
    assert read_rows(path, source(), ALL_DAYS, **DAYS).rows["battery_id"].to_list() == ["Süd"]


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_large_content_is_put_aside_and_removed_afterwards(tmp_path, temporary, suffix, encoding):
    chance = random.Random(0)
    notes = [chance.randbytes(20_000).hex() for _ in range(1000)]
    rows = "".join(f"2024-01-01T00:00:{n % 60:02d}Z,Süd-{n},1,{note}\n" for n, note in enumerate(notes))
    path = put(tmp_path / f"f.csv{suffix}", (HEADER.strip() + ",note\n" + rows).encode(encoding))
    read = read_rows(path, source(), ALL_DAYS, **DAYS)
    assert read.rows["battery_id"].to_list() == [f"Süd-{n}" for n in range(1000)]
    assert not list(temporary.iterdir())


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
@pytest.mark.parametrize("seed", range(4))
def test_a_long_file_is_surveyed_and_read_like_a_short_one(tmp_path, kind, seed):
    chance = random.Random(seed)
    times = [BEGIN + timedelta(minutes=chance.randrange(4000)) for _ in range(3000)]
    frame = pl.DataFrame(
        {
            "timestamp": [None if chance.random() < 0.01 else at.isoformat() for at in times],
            "battery_id": [chance.choice(["b1", "b2", "", "b3"]) for _ in times],
            "power_watt": [chance.choice(["1.5", "broken", "", "7"]) for _ in times],
        }
    )
    path = tmp_path / f"f.{kind}"
    {"csv": frame.write_csv, "ndjson": frame.write_ndjson, "parquet": frame.write_parquet}[kind](path)
    said = source(kind, timezone="Europe/Berlin")
    short, long = Limits(), Limits(long_bytes=0)
    one, other = (survey(path, said, **DAYS, limits=limits) for limits in (short, long))
    for name in ("days", "runs"):
        assert getattr(one, name).equals(getattr(other, name))
    for name in ("rows", "rows_without_day", "first_timestamp", "last_timestamp", "usual_interval_us", "awaits"):
        assert getattr(one, name) == getattr(other, name)
    for window in (*Window(BEGIN.date(), BEGIN.date() + timedelta(days=3)), None):
        days = None if window is None else Window.of_day(window)
        one = read_rows(path, said, days, **DAYS, limits=short)
        for is_all in (False, True):
            other = read_rows(path, said, days, **DAYS, limits=long, is_all=is_all)
            assert one.rows.equals(other.rows)
            assert one.rejected.equals(other.rejected)
