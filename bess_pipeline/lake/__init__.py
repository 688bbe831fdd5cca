"""Delta Lake and DuckDB, all of it: store, ledger, warehouse."""

from bess_pipeline.config import let_writers_read

let_writers_read()
