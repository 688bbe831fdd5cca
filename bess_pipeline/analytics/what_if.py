"""What a battery did, beside what it could have done at the same prices: for the most revenue, and counting wear."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import stress_of
from bess_pipeline.analytics.dispatch import Storage, optimal_schedule, top_bottom_spread, with_layers
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.lifecycle import SCHEDULES

#: Layers that the store is cut into: cycles of a quarter, a half, three quarters and all of it.
LAYERS = 4
#: A current counts as work from here on [of what is stored, per hour].
_WORK_RATE = 0.01
#: A battery that was seen for less of the time has done something else meanwhile.
LEAST_SEEN = 0.9
_SUMMED = (
    "revenue",
    "charged_mwh",
    "discharged_mwh",
    "equivalent_full_cycles",
    "calendar_loss_percent",
    "cycle_loss_percent",
    "wear_cost",
    "profit",
)


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

    def storage(self, begins: float, ends: float, *, counts_wear: bool) -> Storage:
        """The battery as a store that begins and ends at some share of its energy."""
        wear, holding = self._wear if counts_wear else ((0.0,), 0.0)
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

    @cached_property
    def _wear(self) -> tuple[tuple[float, ...], float]:
        """What each layer costs [money/MWh taken], and each stored MWh an hour.

        The latter is the straight line between a tenth and nine tenths of charge.
        """
        depths, rests = [layer / LAYERS for layer in range(1, LAYERS + 1)], [0.1, 0.9]
        days = pl.DataFrame(
            {
                "soc": [0.5] * LAYERS + rests,
                "depth": [*depths, 0.0, 0.0],
                "rate": [self.power_mw / self.energy_mwh] * LAYERS + [0.0, 0.0],
                "cycles": [*depths, 0.0, 0.0],
            }
        )
        lost = _lost(days.join(_plates([self]), how="cross"))
        cycling, (low, high) = lost["cycle"].to_numpy()[:LAYERS], lost["calendar"].to_numpy()[LAYERS:]
        holding = max(float(high - low), 0.0) * self.cost_per_percent / 24 / (0.8 * self.energy_mwh)
        return with_layers(cycling * self.cost_per_percent / self.energy_mwh), holding


def _plates(units: Sequence[Unit]) -> pl.DataFrame:
    """The batteries as rows."""
    return pl.DataFrame([asdict(unit) for unit in units])


def _lost(days: pl.DataFrame) -> pl.DataFrame:
    """Capacity that each day of some use of a battery costs: `calendar` by resting, `cycle` by cycling [% of rated]."""
    whole = days.with_columns(fleet_id=pl.lit(""), date=pl.lit(date(2000, 1, 1)), volt=pl.lit(None, pl.Float64))
    both = pl.concat([days, stress_of(whole).select("calendar", "cycle")], how="horizontal")
    return both.select(pl.col("calendar") * pl.col("calendar_unit"), pl.col("cycle") * pl.col("cycle_unit"))


@dataclass(frozen=True)
class WhatIf:
    """What was done beside what could have been.

    Attributes:
        days: One row per battery, schedule and UTC day: `seen_fraction`, `revenue`, `charged_mwh`, `discharged_mwh`,
            `equivalent_full_cycles`, `calendar_loss_percent`, `cycle_loss_percent`, `wear_cost`, `profit`, and
            `spread_revenue`, what the dearest and cheapest hours would have brought that energy and power allow, one
            cycle; null of a day that is not as long as most.
        steps: One row per battery, schedule and period: `timestamp`, `power_mw` (positive charges), `soc_percent`.
    """

    days: pl.DataFrame
    steps: pl.DataFrame

    @property
    def sums(self) -> pl.DataFrame:
        """One row per battery and schedule: the days together, with `capture_fraction`, revenue over the spread's."""
        if self.days.is_empty():
            return self.days
        spread = pl.col("spread_revenue")
        # A day that is shorter or longer brings what the others do on the average.
        whole = spread.sum() * pl.len() / spread.count()
        return self.days.group_by("battery_id", "schedule", maintain_order=True).agg(
            pl.col("seen_fraction").dot("hours") / pl.col("hours").sum(),
            pl.col(*_SUMMED).sum(),
            capture_fraction=pl.when(whole > 0).then(pl.col("revenue").sum() / whole),
        )


def what_if(prices: pl.DataFrame, telemetry: pl.DataFrame, units: Sequence[Unit]) -> WhatIf:
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
        The days and the steps; none of batteries whose charge was never known.
    """
    steps = []
    periods = _done(prices, telemetry)
    done, done_nothing = periods.partition_by("battery_id", as_dict=True), periods.clear()
    for unit in units:
        own = done.get((unit.battery_id,), done_nothing)
        known = own["soc"].drop_nulls()
        if known.is_empty():
            continue
        both = prices.join(own, on="timestamp", how="left", maintain_order="left")
        for name, power, soc in _schedules(prices, unit, both, float(known[0]), float(known[-1])):
            steps.append(
                prices.with_columns(
                    battery_id=pl.lit(unit.battery_id),
                    schedule=pl.lit(name),
                    power=pl.Series(power, nan_to_null=True, dtype=pl.Float64),
                    soc=pl.Series(soc, nan_to_null=True, dtype=pl.Float64),
                )
            )
    if not steps:
        return WhatIf(pl.DataFrame(), pl.DataFrame())
    whole = pl.concat(steps)
    told = whole.select("timestamp", "battery_id", "schedule", power_mw="power", soc_percent=pl.col("soc") * 100)
    return WhatIf(_days(whole, _plates(units), float(prices["hours"].mode().sort()[0])), told)


def _done(prices: pl.DataFrame, telemetry: pl.DataFrame) -> pl.DataFrame:
    """Mean power [MW] and first state of charge [1] of each battery and period, from the rows that begin in it."""
    rows = telemetry.select("battery_id", "timestamp", "power_watt", "soc_percent").sort("timestamp", "battery_id")
    periods = prices.select("timestamp", period="timestamp", hours="hours")
    behind = pl.col("period") + pl.duration(microseconds=(pl.col("hours") * 3.6e9).cast(pl.Int64))
    found = rows.join_asof(periods, on="timestamp", strategy="backward")
    return (
        found.filter(pl.col("timestamp") < behind)
        .group_by("battery_id", timestamp="period", maintain_order=True)
        .agg(power=pl.col("power_watt").mean() / 1e6, soc=pl.col("soc_percent").drop_nulls().first() / 100)
        .sort("battery_id", "timestamp")
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


def _days(steps: pl.DataFrame, plates: pl.DataFrame, step: float) -> pl.DataFrame:
    """What each day of each schedule of each battery brought and cost."""
    power, hours = pl.col("power"), pl.col("hours")
    moved = power.fill_null(0.0) * hours
    low, high = pl.col("soc").min(), pl.col("soc").max()
    of = ("battery_id", "schedule")
    days = (
        steps.with_columns(into=moved.clip(lower_bound=0), out=(-moved).clip(lower_bound=0))
        .join(plates, on="battery_id", how="left", maintain_order="left")
        .with_columns(rate=power.abs() / pl.col("energy_mwh"))
        .group_by(*of, date=pl.col("timestamp").dt.date(), maintain_order=True)
        .agg(
            pl.col(name for name in plates.columns if name != "battery_id").first(),
            hours.sum(),
            seen_fraction=power.is_not_null().mean(),
            revenue=pl.col("price_per_mwh").dot(pl.col("out") - pl.col("into")),
            charged_mwh=pl.col("into").sum(),
            discharged_mwh=pl.col("out").sum(),
            soc=((low + high) / 2).fill_null(0.5).clip(0, 1),
            depth=(high - low).fill_null(0.0).clip(0, 1),
            rate=pl.col("rate").filter(pl.col("rate") > _WORK_RATE).mean().fill_null(0.0),
            prices=pl.col("price_per_mwh"),
        )
        .with_columns(cycles=(pl.col("charged_mwh") + pl.col("discharged_mwh")) / 2 / pl.col("energy_mwh"))
    )
    lost = _lost(days)
    cost = (pl.col("calendar_loss_percent") + pl.col("cycle_loss_percent")) * pl.col("cost_per_percent")
    return (
        days.with_columns(
            calendar_loss_percent=lost["calendar"],
            cycle_loss_percent=lost["cycle"],
            equivalent_full_cycles="cycles",
            spread_revenue=_spread(days, step),
        )
        .with_columns(wear_cost=cost)
        .with_columns(profit=pl.col("revenue") - pl.col("wear_cost"))
        .select(*of, "date", "hours", "seen_fraction", *_SUMMED, "spread_revenue")
    )


def _spread(days: pl.DataFrame, step: float) -> pl.Series:
    """What the dearest and cheapest hours of each day would bring, one cycle a day; null of days of unusual length."""
    usual = int(days["prices"].list.len().mode().sort()[-1])
    worth: list[float | None] = []
    for prices, energy, power in days.select("prices", "energy_mwh", "power_mw").iter_rows():
        count = min(energy / power / step, usual / 2)
        is_usual = len(prices) == usual
        spread = top_bottom_spread(np.array(prices), count, per_day=usual) if is_usual else None
        worth.append(None if spread is None else float(spread[0]) * power * step)
    return pl.Series(worth, dtype=pl.Float64)
