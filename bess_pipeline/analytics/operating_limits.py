"""How far to use a battery: what narrower windows of charge, lower currents and cooler cells are worth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from itertools import product
from typing import Any

import numpy as np
import polars as pl

from bess_pipeline.analytics.ageing_clocks import stress_of
from bess_pipeline.analytics.dispatch import top_bottom_spread
from bess_pipeline.analytics.finance import net_present_value
from bess_pipeline.analytics.futures import Flow, Future, Terms, Use, flow, futures, money_terms, stated
from bess_pipeline.analytics.wear import LEVELS, usual_use, volts_at
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.lifecycle import OperatingLimit

#: Levels at which the ends of the window of charge are tried [%].
_LOWS, _HIGHS = tuple(range(5, 45, 5)), tuple(range(60, 100, 5))
#: Hours a day that charging, and discharging, may take at most.
_HALF_A_DAY = 12.0
#: A limit is recommended from a gain of so much on [1 of what is earned without it].
_LEAST_GAIN = 1e-3
#: The days of prices that tell what longer hours cost.
_RECENT_DAYS = 365

#: What a MWh earns if it takes so many hours a day to sell what is sold, up to a factor [1].
Margin = Callable[[float], float]


def operating_limits(
    assumptions: pl.DataFrame,
    forecast: pl.DataFrame,
    daily: pl.DataFrame,
    evidence: pl.DataFrame,
    degradation: pl.DataFrame,
    prices: pl.DataFrame,
    batteries: pl.DataFrame,
    ocv_curves: pl.DataFrame,
) -> pl.DataFrame:
    """Tell what each limit to the use of each battery is worth, and which one is worth the most.

    The usual use is that of the last 90 days (`usual_use`). A window of charge cuts the daily swing: less energy is
    sold, and the clocks of ageing say what a day of the rest adds. A limit to the C-rate makes the same energy take
    longer, at most half of each day. A limit to temperature costs what the fleet file states for each kelvin. What a
    MWh earns falls with the hours that it takes to sell it: by the mean spread of the dearest and cheapest hours of the
    fleet's prices. Without prices windows are taken to earn the same a MWh, and limits to the C-rate have no gain.

    Args:
        assumptions: `Assumption` rows of the fleet.
        forecast: `CapacityForecast` rows.
        daily: `BatteryDaily` rows.
        evidence: `EnergyEvidence` rows.
        degradation: `Degradation` rows.
        prices: `MarketPrice` rows.
        batteries: `Battery` rows.
        ocv_curves: `OcvPoint` rows.

    Returns:
        `OperatingLimit` rows, sorted: all levels of a limit by itself, and of windows with both ends the best; none
        where money is not stated.
    """
    terms, known = money_terms(assumptions), degradation.sort("as_of").group_by(*BATTERY).last()
    usual = usual_use(evidence, batteries).join(known, on=BATTERY, how="inner")
    if terms is None or usual.is_empty():
        return OperatingLimit.create_empty()
    levels = _levels(usual, ocv_curves)
    margin, cooling = _margin(prices), stated(assumptions).get("cooling_cost_per_kelvin_kwh_year")
    rows: list[dict[str, object]] = []
    for battery in futures(terms, forecast, daily, batteries):
        usual_flow = flow(battery, terms, Use())
        rows += [_worth(battery, terms, usual_flow, level, margin, cooling) for level in levels.get(battery.key, ())]
    if not rows:
        return OperatingLimit.create_empty()
    schema = OperatingLimit.create_empty().schema
    whole = pl.DataFrame(rows, schema={**schema, "before": pl.Float64}).drop("is_recommended")
    return (
        _recommended(whole)
        .select(pl.col(name).cast(kind) for name, kind in schema.items())
        .sort(*BATTERY, "limited", "lower", "upper", "percentile")
        .pipe(OperatingLimit.validate)
    )


def _levels(usual: pl.DataFrame, ocv_curves: pl.DataFrame) -> dict[tuple[str, str], list[dict[str, Any]]]:
    """Each battery's limits: how much energy and loss is left with each, and the hours a day that it takes to sell."""
    low, high = 100 * (pl.col("soc") - pl.col("depth") / 2), 100 * (pl.col("soc") + pl.col("depth") / 2)
    base = usual.with_columns(low=low.clip(0, 100), high=high.clip(0, 100))
    ends = [(float(lower), 100.0, "soc_low") for lower in _LOWS] + [(0.0, float(upper), "soc_high") for upper in _HIGHS]
    ends += [(float(lower), float(upper), "soc_window") for lower, upper in product(_LOWS, _HIGHS)]
    windows = base.join(
        pl.DataFrame(ends, schema=["lower", "upper", "limited"], orient="row"), how="cross"
    ).with_columns(bottom=pl.max_horizontal("low", "lower"), top=pl.min_horizontal("high", "upper"))
    cut = pl.col("top") - pl.col("bottom")
    windows = windows.filter(cut > 0, cut < pl.col("high") - pl.col("low")).with_columns(
        energy=cut / (pl.col("high") - pl.col("low")),
        soc=(pl.col("top") + pl.col("bottom")) / 200,
        depth=cut / 100,
    )
    rates = _highest(base, "c_rate", "rate").with_columns(
        energy=(_HALF_A_DAY * pl.col("upper") / pl.col("cycles")).clip(upper_bound=1.0), rate=pl.col("upper")
    )
    cooler = _highest(base, "temperature", "celsius").with_columns(energy=pl.lit(1.0), celsius=pl.col("upper"))
    names = [*base.columns, "limited", "lower", "upper", "energy"]
    whole = pl.concat([base.with_columns(limited=pl.lit(""), lower=0.0, upper=0.0, energy=1.0).select(names)] + [
        part.select(names) for part in (windows, rates, cooler)
    ])  # fmt: skip
    whole = whole.with_columns(pl.col("cycles") * pl.col("energy"), date=pl.lit(date(2000, 1, 1)))
    added = pl.concat(
        [whole, stress_of(whole.with_columns(volt=volts_at(whole, ocv_curves))).select("calendar", "cycle")],
        how="horizontal",
    ).with_columns(
        loss=pl.col("calendar") * pl.col("calendar_unit_percent") + pl.col("cycle") * pl.col("cycle_unit_percent"),
        hours=pl.when(pl.col("rate") > 0).then(pl.col("cycles") / pl.col("rate")).otherwise(0.0),
    )
    without = added.filter(limited="").select(
        *BATTERY, before="loss", usual_hours="hours", usual_celsius="celsius", usual_rate="rate"
    )
    limited = (
        added.filter(pl.col("limited") != "")
        .join(without, on=BATTERY)
        .with_columns(left=pl.when(pl.col("before") > 0).then(pl.col("loss") / pl.col("before")).otherwise(1.0))
    )
    return {
        (str(key[0]), str(key[1])): rows.to_dicts()
        for key, rows in limited.partition_by(*BATTERY, as_dict=True).items()
    }


def _highest(base: pl.DataFrame, factor: str, column: str) -> pl.DataFrame:
    """The usual use with each level of a factor that is below the usual one as the highest."""
    name = "temperature_high" if factor == "temperature" else factor
    levels = pl.DataFrame({"upper": LEVELS[factor]}, schema={"upper": pl.Float64})
    return base.join(levels.with_columns(lower=0.0, limited=pl.lit(name)), how="cross").filter(
        pl.col("upper") < pl.col(column)
    )


def _margin(prices: pl.DataFrame) -> Margin | None:
    """What a MWh earns by the hours a day that it takes to sell, by the days of the last year of prices."""
    if prices.is_empty():
        return None
    step = float(prices["hours"].mode().sort()[0])
    per_day = round(24 / step)
    days = prices.group_by(pl.col("timestamp").dt.date().alias("day"), maintain_order=True).agg("price_per_mwh")
    whole = days.filter(pl.col("price_per_mwh").list.len() == per_day).tail(_RECENT_DAYS)
    if whole.is_empty():
        return None
    money = np.concatenate(whole["price_per_mwh"].to_list())
    at: Floats = np.arange(1, per_day // 2 + 1, dtype=np.float64)
    earned = np.array([top_bottom_spread(money, count, per_day=per_day).mean() / count for count in at])

    def margin(hours: float) -> float:
        return float(np.interp(hours / step, at, earned))

    return margin


def _worth(
    battery: Future, terms: Terms, usual: Flow, level: dict[str, Any], margin: Margin | None, cooling: float | None
) -> dict[str, object]:
    """A limit in life and money, over use without it."""
    before = net_present_value(terms.rate, usual.money)
    limit, earned, yearly = level["limited"], _earned(level, margin), 0.0
    if limit == "temperature_high":
        cost = None if cooling is None else cooling * (level["usual_celsius"] - level["upper"]) * battery.rated_kwh
        yearly, earned = cost or 0.0, None if cost is None else 1.0
    if earned is None and limit.startswith("soc"):
        earned = 1.0
    limited = flow(battery, terms, Use(level["left"], level["energy"], earned or 1.0, yearly))
    free = flow(battery, terms, Use(level["left"], level["energy"]))
    gain = net_present_value(terms.rate, limited.money) - before if earned is not None else None
    is_window = limit.startswith("soc")
    upper = {"c_rate": level["usual_rate"], "temperature_high": level["usual_celsius"]}
    return {
        **dict(zip(BATTERY, battery.key, strict=True)),
        "limited": limit,
        "lower": level["lower"],
        "upper": level["upper"],
        "percentile": battery.percentile,
        "as_of": battery.as_of,
        "usual_lower": level["low"] if is_window else None,
        "usual_upper": level["high"] if is_window else upper[limit],
        "energy_fraction": level["energy"],
        "margin_fraction": earned,
        "loss_fraction": level["left"],
        "life_years": limited.life,
        "life_gained_years": limited.life - usual.life,
        "net_present_value_gain": gain,
        "worth_of_life": net_present_value(terms.rate, free.money) - before,
        "before": before,
    }


def _earned(level: dict[str, Any], margin: Margin | None) -> float | None:
    """What a MWh earns over what it does without the limit; none where no price tells."""
    if margin is None or not level["usual_hours"]:
        return None
    usual = margin(level["usual_hours"])
    return margin(level["hours"]) / usual if usual > 0 else None


def _recommended(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with what is worth the most at the median marked, and of windows with both ends that one alone."""
    gain = pl.col("net_present_value_gain")
    best = (
        rows.filter(pl.col("percentile") == "p50", gain > _LEAST_GAIN * pl.col("before").abs())
        .sort("net_present_value_gain", descending=True, maintain_order=True)
        .unique([*BATTERY, "limited"], keep="first", maintain_order=True)
        .select(*BATTERY, "limited", "lower", "upper", is_recommended=pl.lit(True))  # noqa: FBT003 - a literal
    )
    marked = rows.join(best, on=[*BATTERY, "limited", "lower", "upper"], how="left").with_columns(
        pl.col("is_recommended").fill_null(value=False)
    )
    return marked.filter((pl.col("limited") != "soc_window") | pl.col("is_recommended"))
