"""What to do with a battery, and with a fleet's contracted energy: each choice in money, by how sure its life is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics.finance import (
    augmentation,
    internal_rate_of_return,
    levelized_cost,
    net_present_value,
    payback_years,
)
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.lifecycle import OPTIONS, PERCENTILES, AugmentationYear, Decision, DecisionSensitivity

_YEAR = 365.25
#: Forecasts are told so far ahead [a]; no contract is looked at for longer.
_FARTHEST = 10
#: What a choice needs to be told in money.
_NEEDED = ("replacement_cost_per_kwh", "discount_rate_percent", "energy_margin_per_mwh")
#: How far each assumption is varied [1], and what shallower, cooler, emptier and gentler mean.
_VARIED, _SHALLOWER, _COOLER_KELVIN, _EMPTIER_PERCENT, _GENTLER = 0.2, 0.8, 5.0, 20.0, 0.5


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


#: Choices whose costs are all known: the value of the others says what they may cost.
_PRICED = ("run on", "replace at end of life", "replace now", "shallower cycles")


def money_terms(assumptions: pl.DataFrame) -> Terms | None:
    """The terms that assumptions state; none where one is missing that every choice needs."""
    told: dict[str, float] = dict(assumptions.filter(pl.col("curve_at").is_null()).select("name", "value").iter_rows())
    if any(told.get(name) is None for name in _NEEDED):
        return None
    return Terms(
        replacement=told["replacement_cost_per_kwh"],
        rate=told["discount_rate_percent"] / 100,
        margin=told["energy_margin_per_mwh"],
        operating=told["operating_cost_per_kwh_year"],
        fade=told["augmentation_fade_percent_per_year"] / 100,
        residual=told["residual_value_percent"] / 100,
        years=int(min(told["contract_years"], _FARTHEST)),
    )


@dataclass(frozen=True)
class _Battery:
    """What a choice needs to know of a battery, at one percentile of its future.

    Attributes:
        soh: Capacity at each year from now [% of rated].
        slower: Way of use → how much of the usual loss is left with it [1].
        locked: Capacity that balanced cells would give beyond what is usable now [1 of usable].
    """

    key: tuple[str, str]
    rated_kwh: float
    end_percent: float
    discharged_mwh: float
    soh: Floats
    slower: dict[str, float]
    locked: float


def decisions(
    assumptions: pl.DataFrame,
    forecast: pl.DataFrame,
    daily: pl.DataFrame,
    curves: pl.DataFrame,
    health: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """Tell each choice for each battery in money, by percentiles of its capacity.

    A battery earns the margin for each MWh that it discharges: what it did in the last year, scaled with its capacity.
    It is out of use once its capacity falls below its end of life.

    * run on: as in the last year, and nothing afterwards;
    * replace at end of life: a new battery then, which loses its share a year;
    * replace now: a new battery today;
    * shallower cycles: 80 % of the depth, so 80 % of the energy; capacity is lost as `WearCurve` tells of it;
    * 5 K cooler, 20 points emptier (the middle of the daily swing), half the C-rate: as it tells of these; what they
      cost is not known, and may be as much as their value is above that of running on;
    * rebalance: what the weakest cells keep from being used (`soh_usable_percent`) can be used as well. Where these
      cells have lost capacity instead, no balancing but their replacement gives it.

    Rates of return and payback are those of what is spent, against running on.

    Args:
        assumptions: `Assumption` rows of the fleet.
        forecast: `CapacityForecast` rows.
        daily: `BatteryDaily` rows.
        curves: `WearCurve` rows.
        health: `StateOfHealth` rows.
        batteries: `Battery` rows.

    Returns:
        `Decision` rows, sorted; none where money is not stated.
    """
    terms = money_terms(assumptions)
    if terms is None:
        return Decision.create_empty()
    rows = []
    for as_of, percentile, battery in _batteries(terms, forecast, daily, curves, health, batteries):
        usual = _flows(battery, terms, "run on")
        worth = {}
        for option in OPTIONS:
            flows = _flows(battery, terms, option)
            more = flows.money - usual.money
            is_spent = option != "run on" and bool((more < 0).any())
            worth[option] = net_present_value(terms.rate, flows.money)
            rows.append(
                {
                    **dict(zip(BATTERY, battery.key, strict=True)),
                    "option": option,
                    "percentile": percentile,
                    "as_of": as_of,
                    "net_present_value": worth[option],
                    "internal_rate_of_return_percent": _percent(internal_rate_of_return(more)) if is_spent else None,
                    "payback_years": payback_years(more) if is_spent else None,
                    "levelized_cost_per_mwh": levelized_cost(terms.rate, flows.costs, flows.energy),
                    "life_years": flows.life,
                }
            )
    if not rows:
        return Decision.create_empty()
    whole = pl.DataFrame(rows, infer_schema_length=None)
    is_priced = pl.col("option").is_in(_PRICED)
    worth_of = pl.when(is_priced).then("net_present_value")
    ranked = whole.with_columns(place=worth_of.rank("ordinal", descending=True).over(*BATTERY, "percentile"))
    return (
        ranked.select(pl.col(name).cast(kind) for name, kind in Decision.create_empty().schema.items())
        .sort(*BATTERY, "option", "percentile")
        .pipe(Decision.validate)
    )


def sensitivities(
    assumptions: pl.DataFrame,
    forecast: pl.DataFrame,
    daily: pl.DataFrame,
    curves: pl.DataFrame,
    health: pl.DataFrame,
    batteries: pl.DataFrame,
) -> pl.DataFrame:
    """What would change the best choice: each number 20 % lower and higher, everything else as it is, at the median.

    Args:
        assumptions: As `decisions` takes them, and so the others.
        forecast: See there.
        daily: See there.
        curves: See there.
        health: See there.
        batteries: See there.

    Returns:
        `DecisionSensitivity` rows, sorted.
    """
    terms = money_terms(assumptions)
    if terms is None:
        return DecisionSensitivity.create_empty()
    rows = []
    for _, percentile, battery in _batteries(terms, forecast, daily, curves, health, batteries):
        if percentile != "p50":
            continue
        usual = _best(battery, terms)
        for name in ("replacement", "rate", "margin", "operating", "fade"):
            for factor in (1 - _VARIED, 1 + _VARIED):
                varied = replace(terms, **{name: getattr(terms, name) * factor})
                best = _best(battery, varied)
                rows.append(
                    {
                        **dict(zip(BATTERY, battery.key, strict=True)),
                        "varied": name,
                        "factor": factor,
                        "best_option": best,
                        "net_present_value": net_present_value(varied.rate, _flows(battery, varied, best).money),
                        "is_another": best != usual,
                    }
                )
    schema = DecisionSensitivity.create_empty().schema
    return pl.DataFrame(rows, schema=schema).sort(*BATTERY, "varied", "factor").pipe(DecisionSensitivity.validate)


def _best(battery: _Battery, terms: Terms) -> str:
    return max(_PRICED, key=lambda one: net_present_value(terms.rate, _flows(battery, terms, one).money))


def _percent(rate: float | None) -> float | None:
    return None if rate is None else 100 * rate


@dataclass(frozen=True)
class _Flow:
    """Money in and out, costs alone, and energy [MWh], now and at the end of each year; life that is left [a]."""

    money: Floats
    costs: Floats
    energy: Floats
    life: float


def _flows(battery: _Battery, terms: Terms, option: str) -> _Flow:
    """What a choice brings and costs, year by year."""
    years = terms.years
    soh, use = battery.soh, 1.0
    if option in battery.slower:
        soh = soh[0] - (soh[0] - soh) * battery.slower[option]
    if option == "shallower cycles":
        use = _SHALLOWER
    elif option == "rebalance":
        use = 1 + battery.locked
    life = _life(soh, battery.end_percent)
    dies = int(np.ceil(life)) if life < years else years
    price, spent = terms.replacement * battery.rated_kwh, np.zeros(years + 1)
    level = np.where(np.arange(years + 1) <= life, soh, 0.0) if life > 0 else np.zeros(years + 1)
    new: Floats = 100 * (1 - terms.fade) ** np.arange(years + 1, dtype=np.float64)
    if option == "replace now":
        level, life = new, _life(new, battery.end_percent)
        spent[0] = price * (1 - terms.residual)
    elif option == "replace at end of life" and life < years:
        level = np.append(np.where(np.arange(dies) <= life, soh[:dies], 0.0), new[: years + 1 - dies])
        spent[dies] = price * (1 - terms.residual)
    # Of each year the mean of its begin and its end; of the year in which it ends, the part before.
    share = (level[:-1] + level[1:]) / 2 / battery.soh[0]
    energy = np.append(0.0, battery.discharged_mwh * use * share)
    is_at_work = np.append(0.0, (level[:-1] > 0).astype(float))
    costs = spent + terms.operating * battery.rated_kwh * is_at_work
    return _Flow(terms.margin * energy - costs, costs, energy, min(life, float(_FARTHEST)))


def _life(soh: Floats, end: float) -> float:
    """When capacity falls below its end [a]; infinite where it does not."""
    below = np.flatnonzero(soh < end)
    if not len(below):
        return np.inf
    first = int(below[0])
    if first == 0:
        return 0.0
    return float(first - 1 + (soh[first - 1] - end) / (soh[first - 1] - soh[first]))


def _batteries(
    terms: Terms,
    forecast: pl.DataFrame,
    daily: pl.DataFrame,
    curves: pl.DataFrame,
    health: pl.DataFrame,
    batteries: pl.DataFrame,
) -> Iterator[tuple[date, str, _Battery]]:
    """Each battery whose future is told, for each percentile."""
    last = forecast.filter(pl.col("as_of") == pl.col("as_of").max().over(BATTERY))
    recent = daily.filter(pl.col("date") > pl.col("date").max().over(BATTERY) - timedelta(days=365))
    used = recent.group_by(*BATTERY).agg(
        mwh=pl.col("discharging_energy_wh").sum() / 1e6 * 365 / pl.col("date").n_unique()
    )
    known = {row[:2]: row[2] for row in used.rows()}
    slower, locked = _slower(curves), _locked(health)
    plates = {row[:2]: row[2:] for row in batteries.select(*BATTERY, "rated_energy_wh", "end_of_life_percent").rows()}
    at = np.arange(terms.years + 1) * _YEAR
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
            yield (
                as_of,
                percentile,
                _Battery(key, energy / 1000, end, known[key], path, slower.get(key, {}), locked.get(key, 0.0)),
            )


def _slower(curves: pl.DataFrame) -> dict[tuple[str, str], dict[str, float]]:
    """How much of the usual loss is left with other ways of use, by battery [1]."""
    found = {}
    for key, rows in curves.group_by(*BATTERY):
        levels = {str(name[0]): part.sort("level") for name, part in rows.group_by("factor")}
        usual = {name: float(part["usual"][0] or 0.0) for name, part in levels.items()}

        def left(factor: str, at: float, share: float = 1.0, levels: dict[str, pl.DataFrame] = levels) -> float:
            part = levels[factor]
            both = part["calendar_loss_percent_per_year"] + part["cycle_loss_percent_per_year"]
            before = float(np.interp(part["usual"][0] or 0.0, part["level"], both))
            return min(share * float(np.interp(at, part["level"], both)) / before, 1.0) if before > 0 else 1.0

        found[str(key[0]), str(key[1])] = {
            "shallower cycles": left("depth", _SHALLOWER * usual["depth"], _SHALLOWER),
            "5 K cooler": left("temperature", usual["temperature"] - _COOLER_KELVIN),
            "20 points emptier": left("state of charge", usual["state of charge"] - _EMPTIER_PERCENT),
            "half the C-rate": left("c_rate", _GENTLER * usual["c_rate"]),
        }
    return found


def _locked(health: pl.DataFrame) -> dict[tuple[str, str], float]:
    """What balanced cells would give beyond what is usable on the last day that tells, by battery [1 of usable]."""
    told = health.drop_nulls(["soh_percent", "soh_usable_percent"]).sort("date").group_by(*BATTERY).last()
    more = told.select(*BATTERY, (pl.col("soh_percent") / pl.col("soh_usable_percent") - 1).clip(lower_bound=0))
    return {row[:2]: row[2] for row in more.rows()}


def augmentation_plan(assumptions: pl.DataFrame, forecast: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """When a fleet needs new modules to keep its contracted energy, by percentiles of its capacity.

    The energy that is there is that of all batteries, each at the same percentile of its forecast, which is as if all
    were unlucky together. New modules are cohorts of their own and lose their share a year.

    Args:
        assumptions: `Assumption` rows of the fleet.
        forecast: `CapacityForecast` rows.
        batteries: `Battery` rows.

    Returns:
        `AugmentationYear` rows, sorted; none where no energy was contracted, or no future is told.
    """
    told: dict[str, float] = dict(assumptions.filter(pl.col("curve_at").is_null()).select("name", "value").iter_rows())
    contracted = told.get("contracted_energy_mwh")
    last = forecast.filter(pl.col("as_of") == pl.col("as_of").max())
    if contracted is None or last.is_empty():
        return AugmentationYear.create_empty()
    years = int(min(told["contract_years"], _FARTHEST))
    floor, fade = told["contract_floor_percent"] / 100, told["augmentation_fade_percent_per_year"]
    cost, rate = told.get("augmentation_cost_per_kwh"), (told.get("discount_rate_percent") or 0.0) / 100
    rated = {row[:2]: row[2] / 1e6 for row in batteries.select(*BATTERY, "rated_energy_wh").rows()}
    as_of: date = last["as_of"][0]
    at: Floats = np.arange(years + 1, dtype=np.float64) * _YEAR
    new: Floats = (1 - fade / 100) ** (at / _YEAR)
    parts = []
    for percentile in PERCENTILES:
        energy = np.zeros(years + 1)
        for key, rows in last.sort("date").group_by(*BATTERY):
            days = (rows["date"] - as_of).dt.total_days().to_numpy()
            soh = np.maximum(np.interp(at, days, rows[f"soh_{percentile}_percent"].to_numpy()), 0.0)
            energy += rated[key] * soh / 100
        plan = augmentation(contracted, floor, energy / energy[0], new, installed=float(energy[0]))
        money = plan["added"] * 1000 * (cost if cost is not None else np.nan)
        parts.append(
            plan.with_columns(
                percentile=pl.lit(percentile),
                cost=money.fill_nan(None),
                present_cost=(money * (1 + rate) ** -plan["year"].cast(pl.Float64)).fill_nan(None),
            )
        )
    whole = (
        pl.concat(parts)
        .with_columns(fleet_id=pl.lit(last["fleet_id"][0]), as_of=pl.lit(as_of))
        .rename({"energy_before": "energy_before_mwh", "added": "added_mwh", "energy_after": "energy_after_mwh"})
    )
    schema = AugmentationYear.create_empty().schema
    return (
        whole.select(pl.col(name).cast(kind) for name, kind in schema.items())
        .sort("percentile", "year")
        .pipe(AugmentationYear.validate)
    )
