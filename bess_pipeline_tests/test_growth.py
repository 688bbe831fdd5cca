"""The benchmark of growth finds the growth that was planted, and delivers the rows that it says it does."""

import json

import polars as pl
import pytest

from bess_pipeline_tests.benchmarks.fleet_day import STAGES
from bess_pipeline_tests.benchmarks.growth import CELLS, OUTSIDE, Cell, deliver, main
from bess_pipeline_tests.benchmarks.growth_fit import exponent, largest_decade, summed
from bess_pipeline_tests.benchmarks.growth_report import ALL, cells_of

_CELLS = [Cell.of(text, 60) for text in CELLS]
ROWS, DAYS = [cell.rows for cell in _CELLS], [cell.days for cell in _CELLS]


@pytest.mark.parametrize("planted", [0.0, 0.8, 1.0, 1.7])
def test_a_planted_exponent_is_found(planted):
    found = exponent(ROWS, [3 * rows**planted for rows in ROWS])
    assert found.value == pytest.approx(planted)
    assert found.error == pytest.approx(0, abs=1e-6)


def test_the_largest_decade_has_an_exponent_of_its_own():
    costs = [max(20.0, rows / 1e5) for rows in ROWS]
    large = largest_decade(ROWS)
    assert min(ROWS[place] for place in large) == max(ROWS) / 10
    assert exponent([ROWS[place] for place in large], [costs[place] for place in large]).value == pytest.approx(1)
    assert exponent(ROWS, costs).value < 0.6


def test_two_points_have_an_exponent_and_no_error():
    assert str(exponent([10, 1000], [1, 10])) == "0.50"


@pytest.mark.parametrize(("rows", "costs"), [([5, 5], [1, 2]), ([1, 0], [1, 2]), ([1, 2], [1, 0])])
def test_what_no_power_law_holds_of_is_refused(rows, costs):
    with pytest.raises(ValueError, match="rows"):
        exponent(rows, costs)


@pytest.mark.parametrize("planted", [(12.0, 8.0, 0.2), (0.0, 8.0, 0.2), (12.0, 0.0, 0.2), (12.0, 8.0, 0.0)])
def test_planted_costs_of_start_rows_and_days_are_found(planted):
    start, row, day = planted
    found = summed(ROWS, DAYS, [start + row * rows / 1e6 + day * days for rows, days in zip(ROWS, DAYS, strict=True)])
    assert (found.start, found.per_million_rows, found.per_partition) == pytest.approx(planted, abs=1e-9)
    assert abs(found.worst) < 1e-9


def test_a_tenth_too_much_is_told_whether_of_seconds_or_of_an_hour():
    exact = [12 + 8 * rows / 1e6 + 0.2 * days for rows, days in zip(ROWS, DAYS, strict=True)]
    for place in (0, len(ROWS) - 1):
        found = summed(ROWS, DAYS, [took * (1.1 if place == other else 1) for other, took in enumerate(exact)])
        assert found.residuals[place] == max(found.residuals) == found.worst
        assert 0.02 < found.worst < 0.1 > found.typical


def test_what_costs_less_with_more_rows_has_no_cost_below_zero():
    found = summed(ROWS, DAYS, [50 - rows / 2e6 for rows in ROWS])
    assert (found.per_million_rows, found.start > 0) == (0, True)


def test_a_sum_of_three_parts_wants_three_measurements():
    with pytest.raises(ValueError, match="three"):
        summed([1, 2], [1, 2], [1, 2])


def test_a_delivery_has_a_file_a_day_with_every_battery_each_unlike_the_others(tmp_path):
    days = []
    size = deliver(tmp_path, Cell(9, 2, 300), lambda: days.append(1))
    files = sorted((tmp_path / "landing" / "growth").iterdir())
    assert [file.name for file in files] == ["2025-01-01.parquet", "2025-01-02.parquet"]
    assert (len(days), size) == (2, sum(file.stat().st_size for file in files))
    rows = pl.read_parquet(files)
    assert rows.group_by("battery_id").len()["len"].to_list() == [2 * 288] * 9
    voltages = rows.group_by("battery_id").agg("voltage_volt")
    assert voltages["voltage_volt"].n_unique() == 9
    assert rows.filter(pl.col("current_ampere") == 0).height > 0
    assert (tmp_path / "fleets" / "growth.yaml").exists()


def test_results_are_told_and_drawn_without_another_measurement(tmp_path, monkeypatch, capsys):
    lines = [
        {"batteries": cell.batteries, "days": cell.days, "interval": 60, "rows": cell.rows}
        | {"wall_seconds": took * 7 * (1 + cell.rows / 1e6), "processor_seconds": 9.0, "peak_mib": 700.0}
        | {"stage_seconds": dict.fromkeys([*STAGES, OUTSIDE], took * (1 + cell.rows / 1e6))}
        | {"lake_bytes": 9 * cell.rows, "night": {"wall_seconds": 4.0}}
        for cell in _CELLS
        for took in (1, 3, 2)
    ]
    (tmp_path / "growth.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    picture = tmp_path / "pictures" / "growth.svg"
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.argv", ["growth", str(tmp_path), "--plot-only", "--picture", str(picture)])
    main()
    told = capsys.readouterr().out
    assert "100x365 " in told
    assert "…" not in told
    drawn = picture.read_text()
    assert all(text in drawn for text in ("raw rows", "wall time [s]", "fleet tables", "365 days"))
    assert [cell.seconds[ALL] for cell in cells_of(lines)] == [2 * 7 * (1 + rows / 1e6) for rows in sorted(ROWS)]
