"""What a battery will earn: its capacity as forecast, a way to use it, and the money of that, year by year."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal

import numpy as np
import polars as pl

from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.lifecycle import PERCENTILES

YEAR_DAYS = 365.25
#: Forecasts are told so far ahead [a]; no contract is looked at for longer.
FARTHEST = 10
#: What a choice needs to be told in money.
_NEEDED = ("replacement_cost_per_kwh", "discount_rate_percent", "energy_margin_per_mwh")


@dataclass(frozen=True)
class Terms:
    """What money is made of.

    Attributes:
        replacement: Of a battery [money/kWh].
        rate: Discount rate a year [1].
        margin: What a discharged MWh earns after what was paid for it [money/MWh].
        operating: Costs of operation [money/(kWh·a)].
        fade: What a new battery loses a year [1].
        residual: What is left of the price of a battery at the end of its life [1].
        years: How far ahead it is looked [a].
    """

    replacement: float
    rate: float
    margin: float
    operating: float
    fade: float
    residual: float
    years: int


def stated(assumptions: pl.DataFrame) -> dict[str, float]:
    """The numbers of a fleet by their names, without curves."""
    return dict(assumptions.filter(pl.col("curve_at").is_null()).select("name", "value").iter_rows())


def money_terms(assumptions: pl.DataFrame) -> Terms | None:
    """The terms that assumptions state; none where one is missing that every choice needs."""
    told = stated(assumptions)
    if any(told.get(name) is None for name in _NEEDED):
        return None
    return Terms(
        replacement=told["replacement_cost_per_kwh"],
        rate=told["discount_rate_percent"] / 100,
        margin=told["energy_margin_per_mwh"],
        operating=told["operating_cost_per_kwh_year"],
        fade=told["augmentation_fade_percent_per_year"] / 100,
        residual=told["residual_value_percent"] / 100,
        years=int(min(told["contract_years"], FARTHEST)),
    )


@dataclass(frozen=True)
class Future:
    """A battery at one percentile of its future.

    Attributes:
        key: Fleet and battery.
        as_of: Last day that is known.
        percentile: Of the capacity forecast.
        rated_kwh: Rated energy [kWh].
        end_percent: State of health at which its life ends [%].
        discharged_mwh: Energy that it discharged in the last year [MWh].
        soh: Capacity at each year from now [% of rated].
    """

    key: tuple[str, str]
    as_of: date
    percentile: str
    rated_kwh: float
    end_percent: float
    discharged_mwh: float
    soh: Floats


@dataclass(frozen=True)
class Use:
    """A way to use a battery, over the usual one.

    Attributes:
        left: How much of the usual loss of capacity is left with it [1].
        energy: Energy discharged [1].
        margin: What a MWh earns [1].
        yearly: Costs of each year at work [money/a].
        spent: Costs at once [money].
        replaced: When a new battery takes its place.
    """

    left: float = 1.0
    energy: float = 1.0
    margin: float = 1.0
    yearly: float = 0.0
    spent: float = 0.0
    replaced: Literal["never", "now", "at its end"] = "never"


@dataclass(frozen=True)
class Flow:
    """Money in and out, costs alone, and energy [MWh], now and at the end of each year; life that is left [a]."""

    money: Floats
    costs: Floats
    energy: Floats
    life: float


def flow(future: Future, terms: Terms, use: Use) -> Flow:
    """What a way of use brings and costs, year by year."""
    years = terms.years
    soh = future.soh[0] - (future.soh[0] - future.soh) * use.left
    life = _life(soh, future.end_percent)
    dies = int(np.ceil(life)) if life < years else years
    price, spent = terms.replacement * future.rated_kwh * (1 - terms.residual), np.zeros(years + 1)
    spent[0] = use.spent
    level = np.where(np.arange(years + 1) <= life, soh, 0.0) if life > 0 else np.zeros(years + 1)
    new: Floats = 100 * (1 - terms.fade) ** np.arange(years + 1, dtype=np.float64)
    if use.replaced == "now":
        level, life = new, _life(new, future.end_percent)
        spent[0] += price
    elif use.replaced == "at its end" and life < years:
        level = np.append(np.where(np.arange(dies) <= life, soh[:dies], 0.0), new[: years + 1 - dies])
        spent[dies] += price
    # Of each year the mean of its begin and its end; of the year in which it ends, the part before.
    share = (level[:-1] + level[1:]) / 2 / future.soh[0]
    energy = np.append(0.0, future.discharged_mwh * use.energy * share)
    is_at_work = np.append(0.0, (level[:-1] > 0).astype(float))
    costs = spent + (terms.operating * future.rated_kwh + use.yearly) * is_at_work
    return Flow(terms.margin * use.margin * energy - costs, costs, energy, min(life, float(FARTHEST)))


def _life(soh: Floats, end: float) -> float:
    """When capacity falls below its end [a]; infinite where it does not."""
    below = np.flatnonzero(soh < end)
    if not len(below):
        return np.inf
    first = int(below[0])
    if first == 0:
        return 0.0
    return float(first - 1 + (soh[first - 1] - end) / (soh[first - 1] - soh[first]))


def futures(terms: Terms, forecast: pl.DataFrame, daily: pl.DataFrame, batteries: pl.DataFrame) -> Iterator[Future]:
    """Each battery that was used and whose future is told, for each percentile.

    Args:
        terms: How far to look.
        forecast: `CapacityForecast` rows.
        daily: `BatteryDaily` rows.
        batteries: `Battery` rows.
    """
    last = forecast.filter(pl.col("as_of") == pl.col("as_of").max().over(BATTERY))
    recent = daily.filter(pl.col("date") > pl.col("date").max().over(BATTERY) - timedelta(days=365))
    used = recent.group_by(*BATTERY).agg(
        mwh=pl.col("discharging_energy_wh").sum() / 1e6 * 365 / pl.col("date").n_unique()
    )
    known = {row[:2]: row[2] for row in used.rows()}
    plates = {row[:2]: row[2:] for row in batteries.select(*BATTERY, "rated_energy_wh", "end_of_life_percent").rows()}
    at = np.arange(terms.years + 1) * YEAR_DAYS
    for key, rows in last.sort(*BATTERY, "date").group_by(*BATTERY, maintain_order=True):
        if key not in known or not known[key]:
            continue
        as_of: date = rows["as_of"][0]
        days = (rows["date"] - as_of).dt.total_days().to_numpy()
        for percentile in PERCENTILES:
            soh = rows[f"soh_{percentile}_percent"].to_numpy()
            # Capacity of today is where the first months point back to.
            today = soh[0] + (soh[0] - soh[1]) / (days[1] - days[0]) * days[0] if len(soh) > 1 else soh[0]
            # Of a battery with a knee the forecast goes on below nothing.
            path: Floats = np.maximum(np.interp(at, np.append(0, days), np.append(today, soh)), 0.0)
            energy, end = plates[key]
            yield Future((str(key[0]), str(key[1])), as_of, percentile, energy / 1000, end, known[key], path)
