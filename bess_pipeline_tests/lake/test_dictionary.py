from pathlib import Path

from bess_pipeline.lake import dictionary
from bess_pipeline.lake.warehouse import Warehouse

PAGE = Path(__file__).parents[2] / "docs" / "data_dictionary.md"


def test_the_page_says_what_the_contracts_say():
    written = PAGE.read_text(encoding="utf-8")
    assert written == dictionary.markdown(), "python -m bess_pipeline.lake.dictionary > docs/data_dictionary.md"


def test_it_tells_of_the_tables_and_types_that_the_warehouse_has(lake, tmp_path):
    warehouse = Warehouse(tmp_path / "bess.duckdb")
    warehouse.publish(lake)
    columns = warehouse.query(
        "SELECT table_name, column_name, data_type FROM duckdb_columns()"
        " WHERE table_name NOT LIKE 'publication%' AND table_name <> 'event_verdicts' AND NOT internal"
    )
    short = {"TIMESTAMP WITH TIME ZONE": "TIMESTAMPTZ"}
    held = {(table, name): short.get(kind, kind) for table, name, kind in columns.iter_rows()}
    assert held == {(name, entry.name): entry.kind for name, _, entries in dictionary.tables() for entry in entries}
