import ast
from pathlib import Path

import dagster as dg
import pytest

import bess_pipeline
from bess_pipeline.definitions import defs
from bess_pipeline.defs import assets, jobs, lineage
from bess_pipeline.defs.increments import BEFORE
from bess_pipeline.tables import catalog

PACKAGE = Path(bess_pipeline.__file__).parent
LONGEST_ASSET = 10


def asset_functions():
    for file in sorted(Path(assets.__file__).parent.glob("*.py")):
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.decorator_list:
                yield pytest.param(node, id=f"{file.stem}.{node.name}")


@pytest.fixture(scope="module")
def graph():
    return defs.resolve_asset_graph()


def test_every_table_but_the_notes_is_an_asset_and_what_is_remembered_comes_in_from_outside(graph):
    names = {key.path[-1] for key in graph.get_all_asset_keys()}
    before = {name for name in names if not graph.get(dg.AssetKey(name)).is_materializable}
    remembered = {name for name in names if name.endswith("_memory")} | {catalog.ANOMALY_MODELS.name}
    assert before == {name + BEFORE for name in remembered}
    names -= before
    others = {"warehouse", jobs.UP_TO_DATE, "lake_upkeep", "record_upkeep"}
    assert names == set(catalog.TABLES) - {table.name for table in catalog.NOTES} | others


def test_days_depend_on_no_other_day_and_fleets_on_whole_fleets(graph):
    for table in catalog.TABLES.values():
        if table in catalog.NOTES:
            continue
        partitions = graph.get(dg.AssetKey(table.name)).partitions_def
        assert isinstance(partitions, dg.MultiPartitionsDefinition) == (table.per == "fleet_day"), table.name


def test_every_asset_tells_its_columns_and_its_meaning(graph):
    for table in catalog.TABLES.values():
        if table in catalog.NOTES:
            continue
        node = graph.get(dg.AssetKey(table.name))
        assert node.description == table.contract.__doc__
        columns = node.metadata["dagster/column_schema"].columns
        assert [column.name for column in columns] == list(table.columns)
        assert all(column.description for column in columns)


def test_runs_that_write_tables_of_days_or_the_warehouse_can_be_limited_by_table(graph):
    pools = {pool for key in graph.get_all_asset_keys() for pool in graph.get(key).pools or ()}
    assert pools == {"raw_telemetry", "clean_telemetry", "intervals_5min", "warehouse"}


def test_a_publication_lists_none_of_the_days_of_all_fleets(graph):
    warehouse = graph.get(dg.AssetKey("warehouse"))
    days = [
        key for key in warehouse.parent_keys if isinstance(graph.get(key).partitions_def, dg.MultiPartitionsDefinition)
    ]
    assert days
    for key in days:
        mapping = graph.get_partition_mapping(warehouse.key, key)
        of = mapping.get_upstream_mapped_partitions_result_for_partitions(None, None, graph.get(key).partitions_def)
        assert list(of.partitions_subset.get_partition_keys()) == []


def test_groups_come_in_the_order_in_which_data_flow_and_every_asset_says_its_layer_and_grain(graph):
    layers = ["landing", "bronze", "silver", "evidence", "gold", "warehouse", "upkeep"]
    groups = sorted({graph.get(key).group_name for key in graph.get_all_asset_keys()})
    assert groups == [f"{place}_{layer}" for place, layer in enumerate(layers, start=1)]
    for table in catalog.TABLES.values():
        if table not in catalog.NOTES:
            tags = graph.get(dg.AssetKey(table.name)).tags
            assert tags["bess/layer"] == table.layer
            assert set(tags["bess/grain"].split(".")) <= set(table.columns)


def test_the_lineage_of_columns_speaks_of_columns_that_are_there_and_of_what_is_read(graph):
    """What it says was found by changing columns; names can go stale, and then it has to be made again."""
    told = 0
    for name, columns in lineage.found().items():
        table, reads = catalog.TABLES[name], {key.path[-1] for key in graph.get_ancestor_asset_keys(dg.AssetKey(name))}
        assert set(columns) <= set(table.columns), name
        for sources in columns.values():
            assert sources.keys() <= reads | {"batteries"}, name
            for source, names in sources.items():
                assert set(names) <= set(catalog.TABLES[source].columns), (name, source)
                told += len(names)
        assert graph.get(dg.AssetKey(name)).metadata["dagster/column_lineage"].deps_by_column.keys() == columns.keys()
    assert told > 1000


def test_a_column_says_on_what_it_rests(graph):
    columns = {
        column.name: column
        for column in graph.get(dg.AssetKey("fleet_daily")).metadata["dagster/column_schema"].columns
    }
    assert "Rests on battery_daily (charging_energy_wh)." in columns["charging_energy_wh"].description


@pytest.mark.parametrize("function", list(asset_functions()))
def test_an_asset_is_a_signature_and_a_call(function):
    body = function.body[1:] if ast.get_docstring(function) else function.body
    assert body[-1].end_lineno - body[0].lineno < LONGEST_ASSET


@pytest.mark.parametrize("job", [jobs.LANDING, jobs.TELEMETRY, jobs.FLEET, jobs.PUBLISH])
def test_every_job_can_be_resolved(job):
    assert defs.resolve_job_def(job.name).asset_layer.selected_asset_keys


def test_what_a_fleet_was_made_from_is_noted_after_all_of_its_tables_and_their_checks(graph):
    noted = graph.get(dg.AssetKey(jobs.UP_TO_DATE))
    assert noted.parent_keys == {dg.AssetKey(name) for name in jobs.FLEET_TABLES}
    assert graph.get_check_spec(dg.AssetCheckKey(dg.AssetKey("data_quality_daily"), "accounting")).blocking


def test_no_file_is_too_long_to_read():
    files = [*PACKAGE.rglob("*.py"), *Path(__file__).parents[1].rglob("*.py")]
    assert [str(file) for file in files if len(file.read_text().splitlines()) > 450] == []
