"""The 5-minute rows of a fleet as arrays, battery after battery, for what is computed row by row."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.keys import BATTERY


@dataclass(frozen=True)
class Traces:
    """Rows of a fleet, sorted by battery and time.

    Attributes:
        batteries: Nameplates, sorted by battery; batteries without rows are among them.
        rows: The rows, with the position of the battery as `battery_index`.
        offsets: Rows of battery `b` are `offsets[b]` up to, not including, `offsets[b + 1]`.
    """

    batteries: pl.DataFrame
    rows: pl.DataFrame
    offsets: Ints

    @property
    def battery_index(self) -> Ints:
        """Position of each row's battery in `batteries`."""
        return self.rows["battery_index"].to_numpy().astype(np.int64)

    @property
    def start_us(self) -> Ints:
        """Start of each row since the epoch [µs]."""
        return self.rows["timestamp"].dt.epoch("us").to_numpy().astype(np.int64)

    def column(self, name: str) -> Floats:
        """A column of the rows; null becomes NaN."""
        return floats(self.rows[name])

    def nameplate(self, name: str) -> Floats:
        """A column of the nameplates; null becomes NaN."""
        return floats(self.batteries[name])

    def cells(self) -> Floats:
        """Cells in series of each battery; NaN where unknown or none."""
        cells = self.nameplate("cells_in_series")
        return np.where(cells > 0, cells, np.nan)

    def cell_volt(self, battery_column: str, *cell_columns: str) -> Floats:
        """Battery voltage over cells in series [V], else the mean of the cell columns; NaN where neither is known."""
        own = self.column(battery_column) / self.cells()[self.battery_index]
        if not cell_columns:
            return own
        other = np.mean([self.column(name) for name in cell_columns], axis=0)
        return np.where(np.isnan(own), other, own)

    def charge(self) -> tuple[Floats, Floats]:
        """Charge into and out of the battery in each row [Ah]; from energy where only power is known."""
        volt = (self.nameplate("rated_energy_wh") / self.nameplate("rated_capacity_ah"))[self.battery_index]
        into, out = self.column("charging_capacity_ah"), self.column("discharging_capacity_ah")
        return (
            np.where(np.isnan(into), self.column("charging_energy_wh") / volt, into),
            np.where(np.isnan(out), self.column("discharging_energy_wh") / volt, out),
        )

    def current(self) -> Floats:
        """Mean current of each row [A]; from power and rated voltage where only power is known."""
        volt = (self.nameplate("rated_energy_wh") / self.nameplate("rated_capacity_ah"))[self.battery_index]
        own = self.column("current_ampere")
        return np.where(np.isnan(own), self.column("power_watt") / volt, own)

    def observed_us(self) -> Floats:
        """Time of each row over which current, or else power, is known [µs]."""
        own = self.column("current_observed_us")
        return np.where(own > 0, own, self.column("power_observed_us"))


def traces(intervals: pl.DataFrame, batteries: pl.DataFrame) -> Traces:
    """Sort the rows of a fleet by battery and time, and say where each battery begins.

    Args:
        intervals: `Interval5min` rows in any order.
        batteries: `Battery` rows in any order.

    Raises:
        ValueError: If a row belongs to a battery that is not in `batteries`.
    """
    plates = batteries.sort(BATTERY)
    index = plates.select(BATTERY).with_row_index("battery_index")
    rows = intervals.join(index, on=BATTERY, how="left").sort("battery_index", "timestamp")
    if rows["battery_index"].null_count():
        unknown = rows.filter(pl.col("battery_index").is_null())["battery_id"].unique().sort().to_list()
        raise ValueError(f"batteries that the register does not know: {unknown}")
    offsets = np.searchsorted(rows["battery_index"].to_numpy(), np.arange(plates.height + 1)).astype(np.int64)
    return Traces(plates, rows, offsets)


def numbered(rows: pl.DataFrame, by: Sequence[str] = BATTERY) -> Ints:
    """The number of the series that each row belongs to, from 0; rows of a series have to be neighbours.

    Examples:
        >>> numbered(pl.DataFrame({"name": ["a", "a", "b"]}), ["name"])
        array([0, 0, 1])
    """
    return rows.select(pl.struct(by).rle_id().cast(pl.Int64)).to_series().to_numpy()


def floats(column: pl.Series) -> Floats:
    """A column as float64, null as NaN."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy().astype(np.float64)
