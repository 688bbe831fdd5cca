"""What the state of health rests on from before an epoch, so that it can be taken up there."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics import health, usable
from bess_pipeline.analytics.memory import epoch_of, epochs_within
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import HealthMemory


def health_memory(states: pl.DataFrame, balance: pl.DataFrame, memory: pl.DataFrame | None = None) -> pl.DataFrame:
    """What is known of each battery before the epochs that begin within the rows.

    Args:
        states: `BatteryState` rows.
        balance: `CellBalance` rows.
        memory: `HealthMemory` rows of the epoch from which on there are rows; none to begin at the beginning.

    Returns:
        `HealthMemory` rows of batteries that had begun before the epoch, sorted.
    """
    epochs = epochs_within(pl.concat([states["date"], balance["date"]]), epoch_of(memory))

    def before(name: str) -> pl.Expr:
        return pl.when(pl.col(name) < pl.col("date")).then(name).alias(name)

    return (
        usable.carried(balance, epochs, memory)
        .join(health.beginnings(states, memory), on=BATTERY, how="left")
        .with_columns(before("begun_on"), before("learnt_on"))
        .filter(
            pl.col("begun_on").is_not_null()
            | (pl.col("deficit").list.first() > 0)
            | (pl.col("excess").list.first() > 0)
        )
        .select(HealthMemory.column_names())
        .sort(*BATTERY_DAY)
        .pipe(HealthMemory.validate)
    )
