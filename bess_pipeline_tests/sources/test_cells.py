"""Columns of cells and probes: found by their numbers, read into lists, and never shifted."""

import io
import json
import random

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from bess_pipeline.sources.files import UnreadableFile, originals, read_rows, survey
from bess_pipeline.sources.register import Fleet, nameplates
from bess_pipeline.sources.source import Source
from bess_pipeline_tests.sources.written_files import ALL_DAYS, DAYS, put

PROPERTY = settings(max_examples=40, deadline=None)
ROW = {"timestamp": "2024-01-01T10:00:00Z", "battery_id": "b", "voltage_volt": "12", "current_ampere": "1"}


def read(tmp_path, columns, cells, kind="csv", **said):
    """One row with these columns beside those that every row needs."""
    source = Source.model_validate({"format": kind, "cells": cells, **said})
    row = {**ROW, **columns}
    path = tmp_path / f"f.{kind}"
    if kind == "parquet":
        stream = io.BytesIO()
        needed = {"voltage_volt": [12.0], "current_ampere": [1.0]}
        pl.DataFrame({name: [value] for name, value in row.items()} | needed).write_parquet(stream)
        put(path, stream.getvalue())
    else:
        separator = said.get("separator", ",")
        put(path, "".join(f"{separator.join(map(str, line))}\n" for line in (row.keys(), row.values())))
    return read_rows(path, source, ALL_DAYS, **DAYS)


def lists(found):
    (row,) = found.rows.to_dicts()
    return row["cell_voltages_volt"], row["probe_temperatures_celsius"]


@pytest.mark.parametrize(
    ("columns", "cells", "volts", "celsius"),
    [
        pytest.param({"V_10": 3.1, "V_2": 3.2, "V_1": 3.3}, {"voltage_volt": "V_*"},
                     [3.3, 3.2, *[None] * 7, 3.1], None, id="in order of the numbers, unknown where one is not there"),
        pytest.param({"V_01": 3.1, "V_02": 3.2}, {"voltage_volt": "V_*"}, [3.1, 3.2], None, id="zeros before numbers"),
        pytest.param({"V_0": 3.1, "V_1": 3.2}, {"voltage_volt": "V_*", "first": 0}, [3.1, 3.2], None,
                     id="counted from zero"),
        pytest.param({"c1.mV": 3100, "c2.mV": "", "c1xmV": 9}, {"voltage_volt": {"from": "c*.mV", "unit": "mV"}},
                     [3.1, None], None, id="a unit, and text around the number that is no pattern itself"),
        pytest.param({"V_1": 3.1, "V_max": 9, "V_1_old": 9, "xV_2": 9}, {"voltage_volt": "V_*"}, [3.1], None,
                     id="only numbers, and the whole name"),
        pytest.param({"V_1": 0, "V_2": 3.2, "V_3": ""}, {"voltage_volt": {"from": "V_*", "sentinels": [9, 0]}},
                     [None, 3.2, None], None, id="a sentinel"),
        pytest.param({"V_1": 255, "T_1": 65, "T_2": 255, "T_3": 511, "T_4": 0},
                     {"temperature_celsius": {"from": "T_*", "offset": -40, "sentinels": [255, 511]},
                      "voltage_volt": "V_*"},
                     [255.0], [25.0, None, None, -40.0], id="sentinels are those of the file, before the offset"),
        pytest.param({"V_1": 3.1, "V_2": 255, "T_1": 65, "T_2": 255},
                     {"voltage_volt": "V_*", "temperature_celsius": "T_*", "offset": -40, "sentinels": [255]},
                     [3.1, None], [25.0, None], id="short form: sentinels of both, offset of the temperatures"),
        pytest.param({"V_1": 255, "T_1": 65, "T_2": 255},
                     {"voltage_volt": {"from": "V_*", "sentinels": []},
                      "temperature_celsius": {"from": "T_*", "offset": 0}, "offset": -40, "sentinels": [255]},
                     [255.0], [65.0, None], id="what a pattern says itself goes first"),
        pytest.param({"T_1": 104}, {"temperature_celsius": {"from": "T_*", "unit": "degF", "offset": -27}},
                     None, [25.0], id="the offset is in the unit of the file"),
        pytest.param({"U1": 3.1}, {"voltage_volt": "V_*"}, None, None, id="no such columns"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_cells_and_probes_are_read_into_lists(tmp_path, kind, columns, cells, volts, celsius):
    if kind == "parquet":
        columns = {name: None if value == "" else float(value) for name, value in columns.items()}
    found = lists(read(tmp_path, columns, cells, kind))
    assert found == (
        volts if volts is None else pytest.approx(volts, nan_ok=True),
        celsius if celsius is None else pytest.approx(celsius, nan_ok=True),
    )


def test_a_sentinel_is_met_in_single_precision_too(tmp_path):
    path = tmp_path / "f.parquet"
    row = {name: [value] for name, value in ROW.items()} | {"voltage_volt": [12.0], "current_ampere": [1.0]}
    pl.DataFrame(row).with_columns(V_1=pl.lit(6.5535, dtype=pl.Float32)).write_parquet(path)
    cells = {"voltage_volt": {"from": "V_*", "sentinels": [6.5535]}}
    found = read_rows(path, Source.model_validate({"format": "parquet", "cells": cells}), ALL_DAYS, **DAYS)
    assert lists(found) == ([None], None)


def test_decimal_commas_hold_for_cells(tmp_path):
    columns = {"voltage_volt": "12,5", "V_1": "3,125"}
    found = read(tmp_path, columns, {"voltage_volt": "V_*"}, separator=";", decimal_comma=True)
    assert lists(found) == ([3.125], None)


def test_objects_may_leave_cells_out(tmp_path):
    path = put(
        tmp_path / "f.ndjson",
        '{"timestamp":"2024-01-01T10:00:00Z","battery_id":"b","voltage_volt":6,"current_ampere":1,"V_2":3.2}\n'
        '{"timestamp":"2024-01-01T10:01:00Z","battery_id":"b","voltage_volt":6,"current_ampere":1,"V_1":3.1}\n',
    )
    source = Source.model_validate({"format": "ndjson", "cells": {"voltage_volt": "V_*"}})
    found = read_rows(path, source, ALL_DAYS, **DAYS)
    assert found.rows["cell_voltages_volt"].to_list() == [[None, 3.2], [3.1, None]]


@given(st.dictionaries(st.integers(1, 40), st.floats(1, 5), min_size=1, max_size=12), st.randoms())
@PROPERTY
def test_the_order_of_columns_in_the_file_does_not_matter(tmp_path_factory, cells, shuffle):
    columns = [(f"V_{number}", value) for number, value in cells.items()]
    shuffle.shuffle(columns)
    volts, _ = lists(read(tmp_path_factory.mktemp("cells"), dict(columns), {"voltage_volt": "V_*"}))
    assert volts == [cells.get(number) for number in range(1, max(cells) + 1)]


# What follows from the lists.


def test_extremes_and_mean_follow_from_the_lists(tmp_path):
    columns = {"V_1": 3.1, "V_2": 3.4, "V_3": "", "T_1": 20, "T_2": 25}
    (row,) = read(tmp_path, columns, {"voltage_volt": "V_*", "temperature_celsius": "T_*"}).rows.to_dicts()
    assert (row["cell_voltage_min_volt"], row["cell_voltage_max_volt"]) == (3.1, 3.4)
    assert [row[f"temperature_{end}celsius"] for end in ("", "min_", "max_")] == [22.5, 20.0, 25.0]


def test_extremes_that_the_file_has_itself_are_those_of_the_file(tmp_path):
    columns = {"V_1": 3.1, "V_2": 3.4, "cell_voltage_min_volt": 3.0, "cell_voltage_max_volt": ""}
    (row,) = read(tmp_path, columns, {"voltage_volt": "V_*"}).rows.to_dicts()
    assert (row["cell_voltage_min_volt"], row["cell_voltage_max_volt"]) == (3.0, None)
    assert row["temperature_celsius"] is None


def test_columns_of_cells_count_as_read_and_patterns_without_any_as_missing(tmp_path):
    names = [*ROW, "V_1", "V_2", "V_avg"]
    path = put(tmp_path / "f.csv", f"{','.join(names)}\n{','.join([*ROW.values(), '3', '3', '3'])}\n")
    cells = {"voltage_volt": "V_*", "temperature_celsius": "T_*"}
    found = survey(path, Source.model_validate({"format": "csv", "cells": cells}), **DAYS)
    assert (found.unmapped_columns, found.missing_columns) == (("V_avg",), ("T_*",))


# What is refused.


def test_a_cell_that_cannot_be_read_rejects_its_row_and_is_named(tmp_path):
    columns = {"V_1": 3.1, "V_3": "3.3V", "T_1": "warm"}
    found = read(tmp_path, columns, {"voltage_volt": "V_*", "temperature_celsius": "T_*"})
    assert found.rows.is_empty()
    (row,) = found.rejected.to_dicts()
    assert (row["reason"], row["detail"]) == ("unreadable_value", "V_3=3.3V, T_1=warm")


def test_two_columns_of_one_number_are_refused(tmp_path):
    with pytest.raises(UnreadableFile, match=r"V_01 and V_1 both are number 1 of V_\*"):
        read(tmp_path, {"V_01": 3.1, "V_1": 3.1}, {"voltage_volt": "V_*"})


@pytest.mark.parametrize("column", ["V_0", "V_20240101"])
def test_numbers_that_no_cell_has_are_refused_before_they_need_memory(tmp_path, column):
    with pytest.raises(UnreadableFile, match=rf"{column} is no cell from 1 to 10000; correct source\.cells"):
        read(tmp_path, {"V_1": 3.1, column: 3.1}, {"voltage_volt": "V_*"})


def test_a_column_of_cells_must_hold_numbers(tmp_path):
    path = tmp_path / "f.parquet"
    row = {name: [value] for name, value in ROW.items()} | {"voltage_volt": [12.0], "current_ampere": [1.0]}
    pl.DataFrame(row | {"V_1": [[3.1]]}).write_parquet(path)
    source = Source.model_validate({"format": "parquet", "cells": {"voltage_volt": "V_*"}})
    with pytest.raises(UnreadableFile, match="V_1 holds List"):
        read_rows(path, source, ALL_DAYS, **DAYS)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ({"voltage_volt": "V_1"}, "must hold one"),
        ({"voltage_volt": "V_*_*"}, "must hold one"),
        ({"voltage_volt": {"from": "V_*", "unit": "degC"}}, "'degC' is not one of V, mV, uV, kV"),
        ({"offset": -40}, "name the columns"),
        ({"voltage_volt": "V_*", "offset": -40}, "offset stands here for the temperatures"),
        ({"voltage_volt": "V_*", "offest": -40}, "Extra inputs"),
        ({"voltage_volt": {"from": "V_*", "offset": "inf"}}, "finite"),
    ],
)
def test_a_mistake_in_the_fleet_file_is_told(cells, message):
    with pytest.raises(ValidationError, match=message):
        Source.model_validate({"format": "csv", "cells": cells})


def test_originals_of_a_row_with_many_cells_are_whole(tmp_path):
    columns = {f"V_{number}": f"{3 + number / 1000:.3f}" for number in range(1, 89)}
    shuffled = list(columns)
    random.Random(0).shuffle(shuffled)
    read(tmp_path, {name: columns[name] for name in shuffled}, {"voltage_volt": "V_*"})
    source = Source.model_validate({"format": "csv", "cells": {"voltage_volt": "V_*"}})
    (row,) = originals(tmp_path / "f.csv", source, pl.Series([0])).to_dicts()
    assert columns.items() <= json.loads(row["original"]).items()


def test_nameplates_know_what_cells_and_probes_are_called():
    battery = {"chemistry": "LFP", "rated_capacity_ah": 1, "cells_in_series": 4}
    told = {"fleet_id": "f", "battery": battery, "source": {"format": "csv"}}
    assert nameplates(Fleet.model_validate(told), ["b"], sampling="instant")["cell_component"].item() is None
    cells = {"voltage_volt": "V_*", "temperature_celsius": "T_*", "first": 0}
    plate = nameplates(
        Fleet.model_validate(told | {"source": {"format": "csv", "cells": cells}}), ["b"], sampling="instant"
    )
    assert plate.select("cell_component", "probe_component", "first_component").row(0) == ("V_*", "T_*", 0)
