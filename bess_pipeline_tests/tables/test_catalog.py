import duckdb
import pytest

from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.tables import catalog
from bess_pipeline.tables.columns import SUFFIXES, unit_of

TABLES = [pytest.param(table, id=name) for name, table in catalog.TABLES.items()]


@pytest.mark.parametrize("table", TABLES)
def test_the_unit_of_a_column_agrees_with_its_suffix(table):
    by_suffix = {suffix: unit for unit, suffix in SUFFIXES.items()}
    for name, column in table.columns.items():
        unit = unit_of(column)
        endings = [suffix for suffix in by_suffix if name.endswith(suffix)]
        expected = by_suffix[max(endings, key=len)] if endings else None
        assert unit == expected, f"{table.name}.{name} says [{unit}], its name says [{expected}]"


def test_the_same_name_has_the_same_unit_everywhere():
    units = {}
    for table in catalog.TABLES.values():
        for name, column in table.columns.items():
            units.setdefault(name, set()).add(unit_of(column))
    assert {name: found for name, found in units.items() if len(found) > 1} == {}


@pytest.mark.parametrize("table", TABLES)
def test_every_table_and_column_says_what_it_is(table):
    assert table.grain.startswith("One row per")
    assert table.grain.endswith(".")
    missing = [name for name, column in table.columns.items() if not column.description]
    assert not missing, f"{table.name}: no description for {missing}"


@pytest.mark.parametrize("table", TABLES)
def test_slices_and_order_use_columns_that_are_there(table):
    names = set(stored_contract(table).column_names())
    assert set(table.sort) | (set(table.partition_by) - {catalog.MONTH}) <= names
    assert not table.by_month or (table.until in names and catalog.MONTH not in names)


@pytest.mark.parametrize("table", TABLES)
def test_the_order_of_a_table_is_total(table):
    keys = {name for name, column in table.columns.items() if column.primary_key}
    assert keys <= {"fleet_id", *table.sort}


def test_a_table_that_no_asset_makes_is_no_reason_to_make_others_again():
    assert catalog.LANDING_FILES.name in catalog.shape("landing", per="fleet")
    told = {table.name: catalog.shape(table.layer, per=table.per) for table in catalog.NOTES}
    assert [name for name, shape in told.items() if f"{name}(" in shape] == []


def test_a_table_of_a_fleet_is_no_reason_to_make_its_days_again():
    days = catalog.shape("bronze", "silver", "evidence", per="fleet_day")
    fleets = catalog.shape("evidence", "gold", per="fleet")
    for table in catalog.TABLES.values():
        if table.layer in {"bronze", "silver", "evidence", "gold"} and table not in catalog.NOTES:
            assert (f"{table.name}(" in days) is (table.per == "fleet_day"), table.name
            assert (f"{table.name}(" in fleets) is (table.per == "fleet"), table.name


def test_gold_rows_say_where_they_come_from():
    for table in catalog.TABLES.values():
        signed = {"run_id", "code_version", "register_version"} <= set(table.columns)
        assert signed == (table.layer == "gold"), table.name


STABLE = {
    "battery_daily": """
        date charging_energy_wh discharging_energy_wh charging_capacity_ah discharging_capacity_ah
        equivalent_full_cycles round_trip_efficiency_percent round_trip_efficiency_30d_percent soc_min_percent
        soc_max_percent temperature_mean_celsius temperature_max_celsius cell_voltage_spread_p95_volt
        internal_resistance_ohm coverage_fraction""",
    "telemetry_5min": """
        timestamp voltage_volt current_ampere power_watt temperature_celsius soc_percent soc_lower_percent
        soc_upper_percent soc_bms_percent coverage_fraction""",
    "cycles": "started_at ended_at depth_percent mean_soc_percent count",
    "state_of_health": """
        date capacity_ah soh_percent soh_lower_percent soh_upper_percent soh_usable_percent resistance_ohm
        resistance_increase_percent observability method""",
    "anomaly_scores": "date detector score",
    "anomaly_events": """
        event_id family kind detector severity component started_at ended_at detected_at detected_on score evidence""",
    "data_quality_daily": "date rows_received rows_accepted rows_quarantined rows_duplicate",
}


@pytest.mark.parametrize(("table", "columns"), list(STABLE.items()))
def test_the_names_that_people_build_on_are_there(table, columns):
    assert set(columns.split()) <= set(catalog.TABLES[table].columns)


def test_no_table_is_sorted_by_a_reserved_word_of_sql():
    words = duckdb.sql("SELECT keyword_name FROM duckdb_keywords() WHERE keyword_category = 'reserved'").pl()
    reserved = set(words["keyword_name"])
    assert "limit" in reserved
    assert not [f"{table.name}.{name}" for table in catalog.TABLES.values() for name in table.sort if name in reserved]
