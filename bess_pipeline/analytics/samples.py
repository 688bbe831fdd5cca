"""The samples of battery-days as arrays, for rules that look at one beside the next."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from bess_pipeline.analytics.neighbours import departures, offsets
from bess_pipeline.arrays import Bools, Floats, Ints
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import CELL_VOLTAGES, TEMPERATURES

#: Cells made for power are rated for 8 C (Samsung SDI INR18650-25R: 20 A of 2.5 Ah), those of stationary storage for 2;
#: 2.5 times the former leaves room for pulses and for a nameplate that is too small. [1/h]
MOST_C_RATE = 20.0

#: Drop over the resistance of a cell at 1 C where the nameplate gives none, as for the anchors. [V]
_DROP_VOLT = 0.10

#: Below, the electrolyte is frozen; above, the cell burns, and no probe of a pack reads on. [°C]
PLAUSIBLE_CELSIUS = (-60.0, 200.0)

#: A state of charge as some systems count it, with room for what they round. [%]
PLAUSIBLE_SOC = (-5.0, 105.0)

#: A resistance of the day is believed when it is this many standard errors above zero.
_SURE = 10.0

#: The usual interval of a day with few samples cannot be told from its gaps: at most this; of one sample, this. [µs]
LONGEST_USUAL_US = 900_000_000
_NO_USUAL_US = 60_000_000

#: Measurements that witness for one another.
WITNESSES = ("voltage_volt", "current_ampere", *TEMPERATURES, *CELL_VOLTAGES, "soc_bms_percent")

#: Samples looked at together, beyond those of one battery and day: arrays this long stay near the processor.
_ROWS_AT_ONCE = 80_000


def portions(rows: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Samples sorted by battery and instant, a few whole battery-days at a time."""
    ends = np.append(_starts(rows).arg_true().to_numpy()[1:], rows.height)
    first = 0
    for end in ends.tolist():
        if end - first >= _ROWS_AT_ONCE or end == rows.height:
            yield rows.slice(first, end - first)
            first = end


def _starts(rows: pl.DataFrame) -> pl.Series:
    """Whether a sample is the first of its battery and day."""
    return rows.select(
        pl.any_horizontal((pl.col(name) != pl.col(name).shift()).fill_null(value=True) for name in BATTERY_DAY)
    ).to_series()


def or_zero(values: Floats) -> Floats:
    """Values with nothing where they are unknown."""
    return np.where(np.isnan(values), 0.0, values)


class SampleArrays:
    """Accepted samples as arrays, in order of battery and time.

    Args:
        rows: `RawTelemetry` measurements with fleet_id, battery_id, date, timestamp and arrival, sorted by
            battery and instant, cell voltages in volts.
        plates: `Battery` rows.

    Raises:
        ValueError: If a battery has no nameplate.
    """

    def __init__(self, rows: pl.DataFrame, plates: pl.DataFrame) -> None:
        starts = _starts(rows)
        self.rows = rows
        self._columns: dict[str, Floats] = {}
        self._outside: dict[str, Bools] = {}
        self._offsets: dict[str, Floats] = {}
        self._departures: dict[str, Floats] = {}
        self._digits: dict[str, Floats] = {}
        self.series: Ints = starts.cum_sum().cast(pl.Int64).to_numpy() - 1
        self.time: Ints = rows["timestamp"].to_physical().to_numpy()
        self._first: Ints = starts.arg_true().to_numpy().astype(np.int64)
        self._lengths: Ints = np.diff(self._first, append=len(self.time))
        named = rows.select(BATTERY_DAY)[self._first]
        plate = named.join(_plates(plates), on=BATTERY, how="left", maintain_order="left")
        missing = plate.filter(pl.col("rated_capacity_ah").is_null())["battery_id"].unique()
        if len(missing):
            raise ValueError(f"no nameplate for {', '.join(sorted(missing))}")
        numbers = plate.drop(*BATTERY, "date")
        self._plate: dict[str, Floats] = {name: numbers[name].cast(pl.Float64).to_numpy() for name in numbers.columns}
        self.midnight: Ints = named["date"].cast(pl.Datetime("us")).to_physical().to_numpy()

    def column(self, name: str) -> Floats:
        """A measured column; NaN where unknown."""
        if name not in self._columns:
            self._columns[name] = self.rows[name].cast(pl.Float64).to_numpy(writable=True)
        return self._columns[name]

    def plate(self, name: str) -> Floats:
        """A quantity of the nameplate, by series."""
        return self._plate[name]

    def of(self, by_series: npt.NDArray[np.generic]) -> Floats:
        """A quantity by series, at each sample; not to be written to."""
        values: Floats = by_series.astype(np.float64)
        if (values == values[0]).all():
            return np.broadcast_to(values[0], self.time.shape)
        return np.repeat(values, self._lengths)

    def median(self, values: Floats) -> Floats:
        """The median by series; NaN where nothing is known."""
        table = pl.DataFrame({"series": pl.Series(self.series).set_sorted(), "value": values})
        middle = table.group_by("series", maintain_order=True).agg(pl.col("value").fill_nan(None).median())["value"]
        return middle.to_numpy().astype(np.float64)

    def summed(self, values: Floats) -> Floats:
        """The sum by series, of what is known."""
        found: Floats = np.bincount(self.series, weights=or_zero(values), minlength=len(self._first)).astype(np.float64)
        return found

    @cached_property
    def silence(self) -> Floats:
        """Time since the previous sample of the series [µs]; NaN at its first."""
        before = np.full(len(self.time), np.nan)
        before[1:] = np.diff(self.time)
        before[self._first] = np.nan
        return before

    @cached_property
    def usual(self) -> Floats:
        """Usual time from one sample to the next, by series [µs]."""
        found = np.minimum(self.median(self.silence), LONGEST_USUAL_US)
        return np.where(np.isnan(found), _NO_USUAL_US, found)

    @cached_property
    def reach(self) -> Ints:
        """Furthest that samples may be apart and still be neighbours, by series [µs]."""
        return np.maximum(3 * self.usual, _NO_USUAL_US).astype(np.int64)

    def limits(self, name: str) -> tuple[Floats, Floats] | None:
        """What a measurement can be, by series; nothing for those without bounds."""
        if name.endswith("_celsius"):
            low, high = (np.full(len(self._first), bound) for bound in PLAUSIBLE_CELSIUS)
            return low, high
        if name in CELL_VOLTAGES:
            return self.plate("least_cell"), self.plate("most_cell")
        most = {
            "current_ampere": self.plate("most_ampere"),
            "power_watt": self.plate("most_ampere") * self.plate("most_volt"),
        }
        if name in most:
            return -most[name], most[name]
        if name == "voltage_volt":
            return self.plate("least_volt"), self.plate("most_volt")
        if name == "soc_bms_percent":
            low, high = (np.full(len(self._first), bound) for bound in PLAUSIBLE_SOC)
            return low, high
        return None

    def outside(self, name: str) -> Bools:
        """Samples at which a measurement is none that this battery can have; what is unknown is not."""
        if name not in self._outside:
            bounds = self.limits(name)
            if bounds is None or self.rows[name].null_count() == self.rows.height:
                self._outside[name] = np.zeros(len(self.time), np.bool_)
            else:
                values = self.column(name)
                self._outside[name] = (values < self.of(bounds[0])) | (values > self.of(bounds[1]))
        return self._outside[name]

    def running(self, values: npt.NDArray[np.generic]) -> Floats:
        """The running sum within each series: the same whatever other series are at hand."""
        return _running(self.series, values.astype(np.float64))

    @cached_property
    def ranged(self) -> dict[str, Floats]:
        """Each of the witnesses where it is known and possible."""
        return {name: np.where(self.outside(name), np.nan, self.column(name)) for name in WITNESSES}

    def offsets(self, name: str) -> Floats:
        """How far a witness lies from the line between its neighbours; NaN where that is unknown."""
        if name not in self._offsets:
            self._offsets[name] = offsets(self.series, self.time, self.ranged[name], self.reach)
        return self._offsets[name]

    def departures(self, name: str) -> Floats:
        """How far a witness leaves both neighbours to the same side; 0 where it does not."""
        if name not in self._departures:
            self._departures[name] = np.abs(departures(self.series, self.time, self.ranged[name], self.reach))
        return self._departures[name]

    @cached_property
    def current_bend(self) -> Floats:
        """How far the current lies from the line between its neighbours [A]; 1 C where that is unknown."""
        bend = np.abs(self.offsets("current_ampere"))
        return np.where(np.isnan(bend), self.of(self.plate("rated_capacity_ah")), bend)

    @cached_property
    def response(self) -> tuple[Floats, Floats]:
        """What the voltage says of the current: a resistance that it does not exceed [Ω], and noise [V], by series.

        The resistance is the regression of voltage on current departures less two
        standard errors, where it is sure, and three tenths of the nameplate's elsewhere.
        """
        volt = self.offsets("voltage_volt")
        volt = np.where(np.abs(volt) > self.of(0.05 * self.plate("rated_volt")), np.nan, volt)
        ampere = self.offsets("current_ampere")
        both = ~np.isnan(volt) & ~np.isnan(ampere)
        volt, ampere = np.where(both, volt, np.nan), np.where(both, ampere, np.nan)
        square = self.summed(ampere**2)
        with np.errstate(divide="ignore", invalid="ignore"):
            slope = self.summed(ampere * volt) / square
            residual = volt - self.of(slope) * ampere
            error = np.sqrt(self.summed(residual**2) / np.maximum(self.summed(both.astype(np.float64)), 1) / square)
        sure = (slope > _SURE * error) & (slope > 0.1 * self.plate("ohm"))
        ohm = np.where(sure, np.nan_to_num(slope - 2 * error), 0.3 * self.plate("ohm"))
        noise = 1.4826 * self.median(np.abs(volt - self.of(ohm) * ampere))
        return ohm, np.maximum(np.nan_to_num(noise), 2e-5 * self.plate("rated_volt"))

    def digit(self, name: str) -> Floats:
        """Least change of a witness from one sample to the next, by series; 0 where it never changes."""
        if name not in self._digits:
            self._digits[name] = _resolution(self.series, self.ranged[name], len(self._first))
        return self._digits[name]

    def shown(self, name: str) -> Floats:
        """What a witness may hide, by series: its least change, or where it never changes, the last digit it shows."""
        digit, value = self.digit(name), self.median(self.ranged[name])
        last = np.select([value == np.round(value), value == np.round(value, 1)], [1.0, 0.1], 0.01)
        return np.where(digit > 0, digit, last)

    @cached_property
    def cell_digit(self) -> Floats:
        """What the cell voltages may hide, by series [V]: a digit, of their own or of the battery's voltage."""
        own = np.maximum(*(self.digit(name) for name in CELL_VOLTAGES))
        return np.maximum(own, self.shown("voltage_volt") / self.plate("cells_in_series"))


@njit(cache=True, nogil=True)
def _running(series: Ints, values: Floats) -> Floats:
    out = values.copy()
    for i in range(1, len(values)):
        if series[i] == series[i - 1]:
            out[i] += out[i - 1]
    return out


@njit(cache=True, nogil=True)
def _resolution(series: Ints, values: Floats, count: int) -> Floats:
    least = np.full(count, np.inf)
    known = -1
    for i in range(len(values)):
        if np.isnan(values[i]):
            continue
        change = abs(values[i] - values[known]) if known >= 0 and series[i] == series[known] else 0.0
        if 0 < change < least[series[i]]:
            least[series[i]] = change
        known = i
    return np.where(np.isinf(least), 0.0, least)


def _plates(batteries: pl.DataFrame) -> pl.DataFrame:
    cells = pl.DataFrame(
        [(name, *chemistry.plausible_cell_volt) for name, chemistry in CHEMISTRY.items()],
        schema={"chemistry": pl.String, "least_cell": pl.Float64, "most_cell": pl.Float64},
        orient="row",
    )
    capacity = pl.col("rated_capacity_ah")
    return batteries.join(cells, on="chemistry", how="left").select(
        "fleet_id",
        "battery_id",
        "rated_capacity_ah",
        "cells_in_series",
        "least_cell",
        "most_cell",
        least_volt=pl.col("least_cell") * pl.col("cells_in_series"),
        most_volt=pl.col("most_cell") * pl.col("cells_in_series"),
        most_ampere=MOST_C_RATE * capacity,
        rated_volt=pl.col("rated_energy_wh") / capacity,
        ohm=pl.coalesce("resistance_ohm", _DROP_VOLT * pl.col("cells_in_series") / capacity),
    )
