"""Quality tables made by hand: all is well unless told otherwise."""

from datetime import date, timedelta

import polars as pl

from bess_pipeline.tables.quality import BatteryDataQualityDaily, DataQualityDaily, Repair

DAY = date(2026, 3, 28)


def battery_days(*rows):
    """`BatteryDataQualityDaily` rows: battery, days since `DAY`, and what is not well."""
    return _made(
        BatteryDataQualityDaily,
        [
            {"battery_id": name, "date": DAY + timedelta(days=day), "coverage_fraction": 1.0, "rows_accepted": 1440}
            | columns
            for name, day, columns in rows
        ],
    )


def fleet_days(*rows):
    """`DataQualityDaily` rows from `DAY` on, one for each dictionary of what is not well."""
    well = {"rows_received": 9, "rows_accepted": 9, "coverage_fraction": 1.0}
    return _made(
        DataQualityDaily, [{"date": DAY + timedelta(days=day)} | well | columns for day, columns in enumerate(rows)]
    )


def repairs(*rows):
    """`Repair` rows: battery, kind, action, first and last day since `DAY`."""
    start = pl.Series([DAY]).cast(pl.Datetime("us", "UTC"))[0]
    return _made(
        Repair,
        [
            {"battery_id": name, "kind": kind, "action": action, "started_at": start + timedelta(days=first),
             "ended_at": start + timedelta(days=last), "channels": "", "evidence": ""}
            for name, kind, action, first, last in rows
        ],
    )  # fmt: skip


def _made(contract, rows):
    schema = contract.create_empty().schema
    full = [{name: 0 if kind == pl.Int64 else None for name, kind in schema.items()} | {"fleet_id": "f"} | row
            for row in rows]  # fmt: skip
    return contract.validate(pl.DataFrame(full, schema=schema))
