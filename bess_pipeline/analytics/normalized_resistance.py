"""Resistance at 25 °C and 50 % charge, and its growth, followed through the steps of each battery."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import polars as pl

from bess_pipeline.analytics import resistance_filter as following
from bess_pipeline.analytics.memory import day_numbers, epoch_of, epochs_within
from bess_pipeline.analytics.traces import floats
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import ResistanceMemory
from bess_pipeline.tables.resistance import METHODS

#: Activation energy of the resistance over a step, and its standard error [J/mol]: pulses of NMC cells of 0.2 eV, the
#: other lithium chemistries as they are, sulfuric acid after the temperature coefficient of its conductivity.
ACTIVATION: dict[str, tuple[float, float]] = {
    "LFP": (20_000.0, 5_000.0),
    "NMC": (20_000.0, 5_000.0),
    "NCA": (20_000.0, 5_000.0),
    "LCO": (20_000.0, 5_000.0),
    "LTO": (20_000.0, 6_000.0),
    "lead_acid": (12_000.0, 6_000.0),
}
#: What a method's resistance cannot be known better than, however many steps [1]: what lingers of earlier currents is
#: in it.
_COMMON = {"steps": 0.03, "means": 0.05}
#: What of the error of a single measurement its days have in common, since they are days of the same use: that share of
#: it does not average out of the growth.
_LASTING = {"steps": 0.1, "means": 0.3}
#: And the share of the filter's own error that counts: its priors leave room for any cell, and the scatter of means
#: from row to row is mostly that of the open-circuit curve.
_BELIEVED = {"steps": 0.85, "means": 0.7}
#: What the filter reads of a measurement, in its order.
_MEASURED = ("log_resistance", "variance", "cold", "charge", "charge_square", "unwarmed", "steps")
#: What is told of a battery-day, and all columns of the normalized resistance.
_TOLD = (
    "day_resistance_ohm", "resistance_ohm", "resistance_lower_ohm", "resistance_upper_ohm",
    "resistance_increase_percent", "resistance_increase_lower_percent", "resistance_increase_upper_percent",
    "activation_energy_joule_per_mole", "activation_energy_sigma_joule_per_mole",
)  # fmt: skip
_NORMALIZED = [*BATTERY_DAY, "method", *_TOLD]


#: A day number before any.
_BEFORE_ALL = -(2**31)
#: Days before the epoch of the memory whose steps still count.
BEFORE = timedelta(days=following.MEMORY_DAYS)


@dataclass(frozen=True)
class Normalized:
    """Resistance at the reference.

    Attributes:
        days: A row per battery-day: `method`, `day_resistance_ohm` [Ω], what the day's measurements say alone, at the
            same reference, `resistance_ohm` [Ω] and `resistance_increase_percent` [%] with the ends of their 90 %
            intervals, `activation_energy_joule_per_mole` [J/mol] and its standard error; sorted.
        memory: `ResistanceMemory` rows of the epochs that begin within the days.
    """

    days: pl.DataFrame
    memory: pl.DataFrame


def normalized_resistance(
    evidence: pl.DataFrame, days: pl.DataFrame, batteries: pl.DataFrame, memory: pl.DataFrame | None = None
) -> Normalized:
    """Resistance at 25 °C and 50 % state of charge, and its growth, from data up to the end of each day.

    The logarithm of the resistance is a level that drifts, plus an activation energy
    times 1/RT − 1/R·298.15 K, plus a slope and a bend over the state of charge. All are
    regressed on the battery's own steps, from priors (`ACTIVATION`; slope and bend 0),
    by a Kalman filter whose level forgets within about 30 days. Without a temperature of
    the cells that of the air stands for it, and without any 25 ± 10 °C, which the interval
    says. Fewer than 4 steps in 90 days are none.

    The growth is over the median of the single days of the battery's first 30 days, or of
    those so far while they are not over; it takes three such days.

    Args:
        evidence: `ResistanceEvidence` rows.
        days: Battery-days with telemetry, for which it is asked: `fleet_id`, `battery_id`, `date`.
        batteries: `Battery` rows.
        memory: `ResistanceMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        The days asked for, from the epoch on if there is one.

    References:
        W. Waag, S. Käbitz, D. U. Sauer (2013), Applied Energy 102, 885, doi:10.1016/j.apenergy.2012.09.030.
    """
    known = ResistanceMemory.create_empty() if memory is None else memory
    asked = days.select(*BATTERY_DAY).unique().sort(*BATTERY_DAY)
    epoch = epoch_of(known)
    epochs = epochs_within(asked["date"], epoch)
    begun = pl.concat([asked.select(*BATTERY, begun_on="date"), known.select(*BATTERY, "begun_on")])
    plates = (
        batteries.select(*BATTERY, "chemistry")
        .join(begun.group_by(BATTERY).agg(pl.col("begun_on").min()), on=BATTERY)
        .sort(BATTERY)
    )
    nothing = asked if epoch is None else asked.filter(pl.col("date") >= epoch)
    told, kept = [], []
    for rank, method in enumerate(METHODS):
        found = _followed(asked, evidence.filter(method=method), plates, known.filter(method=method), method, epochs)
        told.append(found.days.with_columns(method=pl.lit(method), rank=rank))
        kept.append(found.memory.with_columns(method=pl.lit(method)))
    # Of each day the first method that knows a resistance: steps before means.
    ranked = pl.concat([*told, nothing.with_columns(rank=len(METHODS))], how="diagonal").sort(*BATTERY_DAY, "rank")
    return Normalized(
        ranked.unique(BATTERY_DAY, keep="first", maintain_order=True).select(_NORMALIZED),
        pl.concat(kept)
        .select(ResistanceMemory.column_names())
        .sort(*BATTERY_DAY, "method")
        .pipe(ResistanceMemory.validate),
    )


def _followed(
    asked: pl.DataFrame,
    evidence: pl.DataFrame,
    plates: pl.DataFrame,
    memory: pl.DataFrame,
    method: str,
    epochs: list[date],
) -> Normalized:
    """What one method says of its batteries on the days asked for, where it says anything, and what it carries on."""
    rows = evidence.join(plates, on=BATTERY, how="semi").sort(*BATTERY, "date", "third", "unwarmed")
    counts = rows.group_by(BATTERY_DAY, maintain_order=True).agg(count=pl.len().cast(pl.Int64))
    days = (
        pl.concat([asked.join(plates, on=BATTERY, how="semi"), counts.select(BATTERY_DAY)])
        .unique()
        .sort(BATTERY_DAY)
        .join(counts, on=BATTERY_DAY, how="left", maintain_order="left")
    )
    last = days["count"].fill_null(0).cum_sum().to_numpy()
    first = last - days["count"].fill_null(0).to_numpy()
    lengths = plates.join(days.group_by(BATTERY).len(), on=BATTERY, how="left", maintain_order="left")["len"]
    since = epoch_of(memory)
    result, kept = following.all_followed(
        np.append(0, np.cumsum(lengths.fill_null(0).to_numpy().astype(np.int64))),
        np.stack([_days(days["date"]), first, last], axis=1),
        np.stack([floats(rows[name]) for name in _MEASURED], axis=1),
        _days(plates["begun_on"]),
        _held(plates, memory),
        _BEFORE_ALL if since is None else int(day_numbers([since])[0]),
        day_numbers(epochs),
    )
    columns = [pl.Series(name, values).fill_nan(None) for name, values in _numbers(result, method).items()]
    told = (
        days.with_columns(columns).filter(pl.col("resistance_ohm").is_finite()).join(asked, on=BATTERY_DAY, how="semi")
    )
    return Normalized(told.drop("count"), _memory(plates, epochs, kept.reshape(-1, kept.shape[2])))


def _held(plates: pl.DataFrame, memory: pl.DataFrame) -> Floats:
    """What is carried into the days of each battery; what is believed before any where nothing is known."""
    priors = np.array([ACTIVATION[chemistry] for chemistry in plates["chemistry"]]).reshape(-1, 2) / 1e4
    held = following.before(priors[:, 0], priors[:, 1])
    lists = plates.join(memory, on=BATTERY, how="left", maintain_order="left")["carried"]
    for at, carried in enumerate(lists):
        if carried is not None and len(carried):
            held[at, : len(carried)] = carried.to_numpy()
    return held


def _memory(plates: pl.DataFrame, epochs: list[date], kept: Floats) -> pl.DataFrame:
    """What is carried into the epochs of batteries that had begun before."""
    rows = plates.select(*BATTERY, "begun_on").join(
        pl.DataFrame({"date": epochs}, schema={"date": pl.Date}), how="cross", maintain_order="left_right"
    )
    lists = pl.Series(kept, dtype=pl.Array(pl.Float64, kept.shape[1])).arr.to_list()
    filled = pl.lit(pl.Series(following.filled(kept)))
    return (
        rows.with_columns(carried=lists)
        .with_columns(pl.col("carried").list.head(filled))
        .filter(pl.col("begun_on") < pl.col("date"))
    )


def _numbers(result: Floats, method: str) -> dict[str, Floats]:
    """Resistances and their intervals, as told by the filter: `_TOLD`, not a number where it says nothing."""
    ohm, growth = result[:, following.RESISTANCE], result[:, following.INCREASE]
    ohm_sigma = NORMAL_90 * np.hypot(result[:, following.RESISTANCE_SIGMA], _COMMON[method])
    growth_sigma = NORMAL_90 * np.hypot(
        _BELIEVED[method] * result[:, following.INCREASE_SIGMA], _LASTING[method] * result[:, following.USUAL_SIGMA]
    )
    told = (
        np.exp(result[:, following.OF_DAY]),
        np.exp(ohm),
        np.exp(ohm - ohm_sigma),
        np.exp(ohm + ohm_sigma),
        100 * np.expm1(growth),
        100 * np.expm1(growth - growth_sigma),
        100 * np.expm1(growth + growth_sigma),
        1e4 * result[:, following.ENERGY],
        1e4 * result[:, following.ENERGY_SIGMA],
    )
    return dict(zip(_TOLD, told, strict=True))


def _days(dates: pl.Series) -> Ints:
    return dates.to_physical().to_numpy().astype(np.int64)
