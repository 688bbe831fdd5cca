"""Delta Lake and DuckDB, all of it: store, ledger, warehouse."""
