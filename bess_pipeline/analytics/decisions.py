"""What to do with a battery, and with a fleet's contracted energy: each choice in money, by how sure its life is."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import polars as pl

from bess_pipeline.analytics.finance import (
    augmentation,
    internal_rate_of_return,
    levelized_cost,
    net_present_value,
    payback_years,
)
from bess_pipeline.analytics.futures import FARTHEST, YEAR_DAYS, Future, Terms, Use, flow, futures, money_terms, stated
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.lifecycle import OPTIONS, PERCENTILES, AugmentationYear, Decision, DecisionSensitivity

#: How far each assumption is varied [1], and what shallower, cooler, emptier and gentler mean.
_VARIED, _SHALLOWER, _COOLER_KELVIN, _EMPTIER_PERCENT, _GENTLER = 0.2, 0.8, 5.0, 20.0, 0.5
#: Full charges and discharges a year that keep capacity known, and to how many points they do.
_TESTS, _TEST_POINTS = 4, 1.0
#: Choices whose costs are all known: the value of the others says what they may cost.
_PRICED = ("run on", "replace at end of life", "replace now", "shallower cycles", "replace weakest module")


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
    * rebalance: what the weakest cells keep from being used (`soh_usable_percent`) can be used as well;
    * replace weakest module: the same, where these cells have lost capacity, so that no balancing gives it, for the
      price of a module; told where the fleet file states that price;
    * full charge: four full charges and discharges a year, which keep capacity known to a point, so that what lies
      between the lower end of its interval and that can be promised, too. Their wear is in it, the trade that is lost
      meanwhile is not; told where the interval is wider than that.

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
    uses = _Uses(assumptions, curves, health)
    for battery in futures(terms, forecast, daily, batteries):
        usual = flow(battery, terms, Use())
        for option, use in uses.of(battery, terms).items():
            flows = flow(battery, terms, use)
            more = flows.money - usual.money
            is_spent = option != "run on" and bool((more < 0).any())
            rows.append(
                {
                    **dict(zip(BATTERY, battery.key, strict=True)),
                    "option": option,
                    "percentile": battery.percentile,
                    "as_of": battery.as_of,
                    "net_present_value": net_present_value(terms.rate, flows.money),
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
    uses = _Uses(assumptions, curves, health)
    for battery in futures(terms, forecast, daily, batteries):
        if battery.percentile != "p50":
            continue
        usual, _ = uses.best(battery, terms)
        for name in ("replacement", "rate", "margin", "operating", "fade"):
            for factor in (1 - _VARIED, 1 + _VARIED):
                varied = replace(terms, **{name: getattr(terms, name) * factor})
                best, worth = uses.best(battery, varied)
                rows.append(
                    {
                        **dict(zip(BATTERY, battery.key, strict=True)),
                        "varied": name,
                        "factor": factor,
                        "best_option": best,
                        "net_present_value": worth,
                        "is_another": best != usual,
                    }
                )
    schema = DecisionSensitivity.create_empty().schema
    return pl.DataFrame(rows, schema=schema).sort(*BATTERY, "varied", "factor").pipe(DecisionSensitivity.validate)


class _Uses:
    """What each choice means for each battery of a fleet."""

    def __init__(self, assumptions: pl.DataFrame, curves: pl.DataFrame, health: pl.DataFrame) -> None:
        self._module = stated(assumptions).get("module_cost_percent")
        self._ways, self._tests = _ways(curves)
        self._locked, self._doubt = _of_health(health)

    def of(self, battery: Future, terms: Terms) -> dict[str, Use]:
        """Choice → way of use; without those of which too little is known."""
        left = self._ways.get(battery.key, {})
        locked, price = 1 + self._locked.get(battery.key, 0.0), terms.replacement * battery.rated_kwh
        uses = {
            "run on": Use(),
            "replace at end of life": Use(replaced="at its end"),
            "replace now": Use(replaced="now"),
            "shallower cycles": Use(left.get("shallower cycles", 1.0), energy=_SHALLOWER),
            **{option: Use(left.get(option, 1.0)) for option in ("5 K cooler", "20 points emptier", "half the C-rate")},
            "rebalance": Use(energy=locked),
        }
        if self._module is not None:
            uses["replace weakest module"] = Use(energy=locked, spent=price * self._module / 100)
        freed = self._doubt.get(battery.key, 0.0)
        if freed > 0 and battery.key in self._tests:
            a_year, per_mwh = self._tests[battery.key]
            tested = _TESTS * per_mwh * battery.rated_kwh / 1000
            uses["full charge"] = Use(1 + tested / a_year, energy=1 + freed)
        return {option: uses[option] for option in OPTIONS if option in uses}

    def best(self, battery: Future, terms: Terms) -> tuple[str, float]:
        """The choice that is worth the most among those whose costs are known, and what it is worth."""
        uses = {option: use for option, use in self.of(battery, terms).items() if option in _PRICED}
        worth = {option: net_present_value(terms.rate, flow(battery, terms, use).money) for option, use in uses.items()}
        best = max(worth, key=worth.__getitem__)
        return best, worth[best]


def _percent(rate: float | None) -> float | None:
    return None if rate is None else 100 * rate


_Key = tuple[str, str]


def _ways(curves: pl.DataFrame) -> tuple[dict[_Key, dict[str, float]], dict[_Key, tuple[float, float]]]:
    """How much of the usual loss is left with other ways of use [1]; the usual loss [%/a], a full cycle's [%/MWh]."""
    found: dict[_Key, dict[str, float]] = {}
    tests: dict[_Key, tuple[float, float]] = {}
    for key, rows in curves.group_by(*BATTERY):
        levels = {str(name[0]): part.sort("level") for name, part in rows.group_by("factor")}
        usual = {name: float(part["usual"][0] or 0.0) for name, part in levels.items()}

        def lost(factor: str, at: float, levels: dict[str, pl.DataFrame] = levels) -> float:
            part = levels[factor]
            both = part["calendar_loss_percent_per_year"] + part["cycle_loss_percent_per_year"]
            return float(np.interp(at, part["level"], both))

        before = {name: lost(name, usual[name]) for name in levels}
        ways = {
            "shallower cycles": ("depth", _SHALLOWER * usual["depth"], _SHALLOWER),
            "5 K cooler": ("temperature", usual["temperature"] - _COOLER_KELVIN, 1.0),
            "20 points emptier": ("state of charge", usual["state of charge"] - _EMPTIER_PERCENT, 1.0),
            "half the C-rate": ("c_rate", _GENTLER * usual["c_rate"], 1.0),
        }
        battery = str(key[0]), str(key[1])
        found[battery] = {
            name: min(share * lost(factor, at) / before[factor], 1.0) if before[factor] > 0 else 1.0
            for name, (factor, at, share) in ways.items()
        }
        a_cycle = levels["depth"].filter(pl.col("level") == pl.col("level").max())["cycle_loss_percent_per_mwh"][0]
        if before["depth"] > 0 and a_cycle is not None:
            tests[battery] = (before["depth"], float(a_cycle))
    return found, tests


def _of_health(health: pl.DataFrame) -> tuple[dict[_Key, float], dict[_Key, float]]:
    """What balanced cells would give beyond what is usable, and tests beyond what is sure, on the last day that tells.

    Both are shares of what is usable, or sure, now.
    """
    told = health.drop_nulls("soh_percent").sort("date").group_by(*BATTERY)
    whole, usable = pl.col("soh_percent"), pl.col("soh_usable_percent")
    lower = pl.col("soh_lower_percent")
    more = told.agg(
        locked=(whole / usable - 1).drop_nulls().last().clip(lower_bound=0),
        doubt=((whole - _TEST_POINTS) / lower - 1).drop_nulls().last().clip(lower_bound=0),
    )
    locked = more.drop_nulls("locked").select(*BATTERY, "locked").rows()
    doubt = more.drop_nulls("doubt").select(*BATTERY, "doubt").rows()
    return {row[:2]: row[2] for row in locked}, {row[:2]: row[2] for row in doubt}


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
    told = stated(assumptions)
    contracted = told.get("contracted_energy_mwh")
    last = forecast.filter(pl.col("as_of") == pl.col("as_of").max())
    if contracted is None or last.is_empty():
        return AugmentationYear.create_empty()
    years = int(min(told["contract_years"], FARTHEST))
    floor, fade = told["contract_floor_percent"] / 100, told["augmentation_fade_percent_per_year"]
    cost, rate = told.get("augmentation_cost_per_kwh"), (told.get("discount_rate_percent") or 0.0) / 100
    rated = {row[:2]: row[2] / 1e6 for row in batteries.select(*BATTERY, "rated_energy_wh").rows()}
    as_of: date = last["as_of"][0]
    at: Floats = np.arange(years + 1, dtype=np.float64) * YEAR_DAYS
    new: Floats = (1 - fade / 100) ** (at / YEAR_DAYS)
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
