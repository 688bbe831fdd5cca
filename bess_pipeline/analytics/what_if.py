"""What a battery did, beside what it could have done at the same prices: for the most revenue, and counting wear."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import stress_of
from bess_pipeline.analytics.dispatch import Storage, optimal_schedule, top_bottom_spread, with_layers
from bess_pipeline.arrays import Floats

#: Layers that the store is cut into: cycles of a quarter, a half, three quarters and all of it.
LAYERS = 4
#: A current counts as work from here on [of what is stored, per hour].
_WORK_RATE = 0.01
#: A battery that was seen for less of the time has done something else meanwhile.
LEAST_SEEN = 0.9
#: What was done; the most revenue; the most that is left after wear.
SCHEDULES = ("done", "revenue", "wear")


@dataclass(frozen=True)
class Unit:
    """A battery, as far as money is concerned.

    Attributes:
        battery_id: Its name.
        chemistry: Chemistry of its cells.
        energy_mwh: Energy that it holds today [MWh].
        power_mw: Most power [MW].
        efficiency: Energy out over energy in [1].
        celsius: Usual temperature [°C].
        calendar_unit: Capacity that a unit of the calendar's clock costs now [% of rated].
        cycle_unit: The same of the clock of cycling.
        cost_per_percent: What a percent of capacity is worth [money].
    """

    battery_id: str
    chemistry: str
    energy_mwh: float
    power_mw: float
    efficiency: float
    celsius: float
    calendar_unit: float
    cycle_unit: float
    cost_per_percent: float

    def added(self, days: pl.DataFrame) -> tuple[float, float]:
        """Capacity that days of some use cost, by resting and by cycling [% of rated].

        Args:
            days: `soc`, `depth` [1], `rate` [C], `cycles` of each.
        """
        whole = days.with_columns(
            fleet_id=pl.lit(""), battery_id=pl.lit(""), date=pl.lit(date(2000, 1, 1)), chemistry=pl.lit(self.chemistry),
            celsius=pl.lit(self.celsius), volt=pl.lit(None, pl.Float64),
        )  # fmt: skip
        added = stress_of(whole).select(pl.col("calendar", "cycle").sum()).row(0)
        return self.calendar_unit * added[0], self.cycle_unit * added[1]

    def storage(self, begins: float, ends: float, *, counts_wear: bool) -> Storage:
        """The battery as a store that begins and ends at some share of its energy."""
        wear, holding = (self._wear(), self._holding()) if counts_wear else ((0.0,), 0.0)
        one_way = float(np.sqrt(self.efficiency))
        return Storage(
            energy_mwh=self.energy_mwh,
            charge_mw=self.power_mw,
            discharge_mw=self.power_mw,
            efficiency_in=one_way,
            efficiency_out=one_way,
            begins_mwh=begins * self.energy_mwh,
            ends_mwh=ends * self.energy_mwh,
            wear=wear,
            holding=holding,
        )

    def _wear(self) -> tuple[float, ...]:
        """What each layer costs [money/MWh taken]."""
        rate = self.power_mw / self.energy_mwh
        costs = []
        for layer in range(1, LAYERS + 1):
            depth = layer / LAYERS
            day = pl.DataFrame({"soc": [0.5], "depth": [depth], "rate": [rate], "cycles": [depth]})
            costs.append(self.added(day)[1] * self.cost_per_percent / self.energy_mwh)
        return with_layers(costs)

    def _holding(self) -> float:
        """What each stored MWh costs an hour: the straight line between a tenth and nine tenths of charge."""
        low, high = (
            self.added(pl.DataFrame({"soc": [soc], "depth": [0.0], "rate": [0.0], "cycles": [0.0]}))[0]
            for soc in (0.1, 0.9)
        )
        return max(high - low, 0.0) * self.cost_per_percent / 24 / (0.8 * self.energy_mwh)


@dataclass(frozen=True)
class WhatIf:
    """What was done beside what could have been.

    Attributes:
        sums: One row per battery and schedule.
        steps: One row per battery, schedule and period: `timestamp`, `power_mw` (positive charges), `soc_percent`.
    """

    sums: pl.DataFrame
    steps: pl.DataFrame


def what_if(prices: pl.DataFrame, telemetry: pl.DataFrame, units: list[Unit]) -> WhatIf:
    """Hold what batteries did against the best they could have done with prices known beforehand.

    All three schedules begin and end at the charge that the battery had. What they cost in life is told by the same
    clocks for all (`stress_of`, day by day: middle and depth of the swing, C-rate at work, cycles), at the battery's
    age and pace. Nobody knows prices beforehand: the best schedules are a bound, and the difference of the two is what
    counting wear is worth. Revenue of what was done is that of the periods that were seen.

    Args:
        prices: `timestamp`, `hours` and `price_per_mwh` of each period, in order of time.
        telemetry: `Telemetry5min` rows of the same time.
        units: The batteries.

    Returns:
        Sums with `seen_fraction`, `revenue`, `charged_mwh`, `discharged_mwh`, `equivalent_full_cycles`,
        `calendar_loss_percent`, `cycle_loss_percent`, `wear_cost`, `profit`, and `capture_fraction`, the revenue over
        that of the dearest and cheapest hours of each day that energy and power allow; and the steps.
    """
    sums, steps = [], []
    for unit in units:
        own = telemetry.filter(battery_id=unit.battery_id)
        done = _done(prices, own)
        known = done["soc"].drop_nulls()
        if known.is_empty():
            continue
        begins, ends = float(known[0]), float(known[-1])
        for name, power, soc in _schedules(prices, unit, done, begins, ends):
            seen = float((~np.isnan(power)).mean())
            sums.append({"battery_id": unit.battery_id, "schedule": name, **_sums(prices, unit, power, soc, seen)})
            steps.append(
                prices.select(
                    "timestamp",
                    battery_id=pl.lit(unit.battery_id),
                    schedule=pl.lit(name),
                    power_mw=pl.Series(power, nan_to_null=True, dtype=pl.Float64),
                    soc_percent=pl.Series(100 * soc, nan_to_null=True, dtype=pl.Float64),
                )
            )
    return WhatIf(pl.DataFrame(sums, infer_schema_length=None), pl.concat(steps) if steps else pl.DataFrame())


def _done(prices: pl.DataFrame, telemetry: pl.DataFrame) -> pl.DataFrame:
    """Mean power [MW] and first state of charge [1] of each period, from the rows that begin in it."""
    rows = telemetry.select("timestamp", "power_watt", "soc_percent").sort("timestamp")
    found = rows.join_asof(
        prices.select("timestamp", period="timestamp", hours="hours"), on="timestamp", strategy="backward"
    ).filter(
        pl.col("timestamp") < pl.col("period") + pl.duration(microseconds=(pl.col("hours") * 3.6e9).cast(pl.Int64))
    )
    means = found.group_by("period").agg(
        power=pl.col("power_watt").mean() / 1e6, soc=pl.col("soc_percent").drop_nulls().first() / 100
    )
    return prices.select("timestamp").join(
        means, left_on="timestamp", right_on="period", how="left", maintain_order="left"
    )


def _schedules(
    prices: pl.DataFrame, unit: Unit, done: pl.DataFrame, begins: float, ends: float
) -> Iterator[tuple[str, Floats, Floats]]:
    """Name, mean power [MW, positive charges] and state of charge at the end of each period [1]."""
    yield SCHEDULES[0], done["power"].fill_null(np.nan).to_numpy(), done["soc"].fill_null(np.nan).to_numpy()
    money, hours = prices["price_per_mwh"].to_numpy(), prices["hours"].to_numpy()
    for name, counts_wear in zip(SCHEDULES[1:], (False, True), strict=True):
        storage = unit.storage(min(max(begins, 0), 1), min(max(ends, 0), 1), counts_wear=counts_wear)
        best = optimal_schedule(money, storage, hours)
        yield name, best.charge_mw - best.discharge_mw, best.stored_mwh / unit.energy_mwh


def _sums(prices: pl.DataFrame, unit: Unit, power: Floats, soc: Floats, seen: float) -> dict[str, object]:
    hours, money = prices["hours"].to_numpy(), prices["price_per_mwh"].to_numpy()
    into, out = np.nan_to_num(np.maximum(power, 0)) * hours, np.nan_to_num(np.maximum(-power, 0)) * hours
    revenue = float(money @ (out - into))
    rate = np.abs(np.nan_to_num(power)) / unit.energy_mwh
    days = (
        prices.select(day=pl.col("timestamp").dt.date(), soc=pl.Series(soc, nan_to_null=True), rate=pl.Series(rate))
        .with_columns(moved=pl.Series((into + out) / 2 / unit.energy_mwh))
        .group_by("day", maintain_order=True)
        .agg(
            soc=((pl.col("soc").min() + pl.col("soc").max()) / 2).fill_null(0.5).clip(0, 1),
            depth=(pl.col("soc").max() - pl.col("soc").min()).fill_null(0.0).clip(0, 1),
            rate=pl.col("rate").filter(pl.col("rate") > _WORK_RATE).mean().fill_null(0.0),
            cycles=pl.col("moved").sum(),
        )
    )
    calendar, cycle = unit.added(days)
    cost = (calendar + cycle) * unit.cost_per_percent
    best = _spread(prices, unit)
    return {
        "seen_fraction": seen,
        "revenue": revenue,
        "charged_mwh": float(into.sum()),
        "discharged_mwh": float(out.sum()),
        "equivalent_full_cycles": float((into + out).sum() / 2 / unit.energy_mwh),
        "calendar_loss_percent": calendar,
        "cycle_loss_percent": cycle,
        "wear_cost": cost,
        "profit": revenue - cost,
        "capture_fraction": revenue / best if best else None,
    }


def _spread(prices: pl.DataFrame, unit: Unit) -> float | None:
    """What the dearest and cheapest hours of each whole day would bring, one cycle a day."""
    days = prices.group_by(pl.col("timestamp").dt.date().alias("day"), maintain_order=True).agg(
        "price_per_mwh", "hours"
    )
    usual = days.filter(pl.col("hours").list.len() == pl.col("hours").list.len().mode().first())
    if usual.is_empty():
        return None
    step, per_day = float(prices["hours"].mode().sort()[0]), int(usual["hours"].list.len()[0])
    count = min(unit.energy_mwh / unit.power_mw / step, per_day / 2)
    daily = top_bottom_spread(np.concatenate(usual["price_per_mwh"].to_list()), count, per_day=per_day)
    total = float(daily.sum()) * unit.power_mw * step * days.height / usual.height
    return total if total > 0 else None
