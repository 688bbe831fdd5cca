"""Samples that stand alone: what can be said of each without any other day of the battery.

The lanes judge a battery beside its own past and its peers. Here there is neither: a
sample is judged by its day (`flags`), by the limits of the nameplate, and beside the
other samples that come with it. Nothing is remembered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import polars as pl

from bess_pipeline.analytics.control_charts import MAD_TO_SIGMA
from bess_pipeline.analytics.feature_evidence import middle_of
from bess_pipeline.analytics.features import FEATURE_BY_NAME
from bess_pipeline.analytics.lanes import Lane, scores
from bess_pipeline.analytics.limits import LIMITS, Limit
from bess_pipeline.analytics.telemetry import clean
from bess_pipeline.arrays import Bools, Floats
from bess_pipeline.tables.telemetry import FLAGS, VOIDS, CleanTelemetry, voiding

#: Flags that say something about how samples came, not about one sample.
_OF_DELIVERY = ("gap", "out_of_order", "missing_value", "interpolated", "cell_voltage_in_millivolt")

#: Samples that a reference needs.
FEWEST = 24
#: Distance from the others from which on a sample is an anomaly [σ].
ALARM = 8.0
#: Samples beside which a voltage is judged: itself and so many before and after.
_BESIDE = 4
#: How far from a steep end of the open-circuit curve a cell is well off it [V].
_OFF = 0.03
#: Least change of the current that tells a resistance [C].
_STEP = 0.02
#: Such changes that it takes.
_STEPS = 4

#: Share of the samples, the most distant, that does not tell how far the others usually are.
_TAIL = 0.05

#: Shares of 976,000 samples of healthy batteries, see docs/methods/anomalies.md; those never saw a limit.
DATA = Lane("data_checks", "what the samples of a day prove to be wrong", ((1.0, 1e-5),))
THRESHOLDS = Lane("thresholds", "limits of the nameplate", ((1.0, 1e-5), (2.0, 1e-6)))
SAMPLES = Lane("samples", "beside the other samples", ((1.0, 0.06), (2.0, 6e-3), (3.0, 8e-4), (4.0, 1e-4), (6.0, 5e-6)))


@dataclass(frozen=True)
class Departure:
    """One way in which a sample can depart from the others.

    Attributes:
        name: What departs.
        floor: Least scale [unit of the value]: what sensors and cells differ by without a fault.
        family: Part of the system.
        kind: What it looks like.
        both: Whether it departs in either direction.
    """

    name: str
    floor: float
    family: str
    kind: str
    both: bool = False

    @classmethod
    def of(cls, feature: str) -> Departure:
        """As the daily feature of that name."""
        found = FEATURE_BY_NAME[feature]
        return cls(feature, found.floor, found.up.family, found.up.kind)


DEPARTURES: tuple[Departure, ...] = (
    Departure.of("cell_low"),
    Departure.of("temperature_hot_spot"),
    Departure("voltage", 0.005, "electrical", "voltage_departs_from_current", both=True),
)

_SAMPLE = CleanTelemetry.create_empty().schema
#: Columns of the answer.
_SCORED = ("timestamp", "score", "is_anomaly", "detector", "family", "kind", "value", "z")


@dataclass(frozen=True)
class SampleScores:
    """How unusual each of some samples is.

    Attributes:
        rows: ``timestamp``; ``score``, the share of healthy samples that are less unusual; ``is_anomaly``; of what is
            most unusual about it ``detector``, ``family``, ``kind``, ``value`` and ``z``. In the order of the samples.
        judged: Departure → samples that could be judged by it: those for which all is known that it takes, off
            the steep ends of the open-circuit curve, and none where there are fewer than `FEWEST`.
    """

    rows: pl.DataFrame
    judged: dict[str, int]


def sample_scores(samples: pl.DataFrame, battery: pl.DataFrame, *, contamination: float = 0.05) -> SampleScores:
    """How unusual each sample is, by its day, by the nameplate, and beside the others.

    ``contamination`` bounds how many samples can be anomalies beside the others: the most unusual, up to that share.
    It is no quota: samples of a healthy battery have none. What a rule proves, or a limit of the nameplate says, is
    not bounded by it. What lasts for most of the samples is usual among them, and only history tells.

    Args:
        samples: ``timestamp``, and measurements of `Measured` as far as they are known; each instant once.
        battery: `Battery` row of the battery that they are of.
        contamination: Largest share of the samples that may be unusual beside the others, above 0 and up to 0.5.

    Raises:
        ValueError: If the contamination is none, or an instant is there twice.
    """
    if not 0 < contamination <= 0.5:
        raise ValueError(f"contamination must be above 0 and at most 0.5, not {contamination}")
    rows = _rows(samples, battery)
    if rows["timestamp"].is_duplicated().any():
        twice = rows.filter(pl.col("timestamp").is_duplicated())["timestamp"][0]
        raise ValueError(f"there are two samples of {twice:%Y-%m-%d %H:%M:%S.%f}")
    cleaned = clean(rows, battery)
    departing = _departing(cleaned, battery, contamination)
    # What is proven to be wrong with a sample comes before what that looks like.
    told = pl.DataFrame(
        {
            "timestamp": cleaned["timestamp"],
            "score": np.zeros(cleaned.height),
            "is_anomaly": np.zeros(cleaned.height, dtype=bool),
        }
    ).with_columns(
        *(pl.lit(None, pl.String).alias(name) for name in ("detector", "family", "kind")),
        *(pl.lit(None, pl.Float64).alias(name) for name in ("value", "z")),
    )
    for found in (*_proven(cleaned), *_beyond(cleaned, battery), *departing):
        told = found.over(told)
    return SampleScores(
        samples.select("timestamp").join(told, on="timestamp", how="left", maintain_order="left").select(_SCORED),
        {found.name: int(np.isfinite(found.z).sum()) for found in departing},
    )


@dataclass(frozen=True)
class _Found:
    """What one rule says of each sample.

    Attributes:
        name: Name of the rule.
        lane: How it was found.
        family: Part of the system.
        kind: What it looks like.
        statistic: How much, 0 where nothing.
        is_anomaly: Whether that is one.
        value: What it was found in.
        z: How far it departs from the others [σ].
    """

    name: str
    lane: Lane
    family: str
    kind: str
    statistic: Floats
    is_anomaly: Bools
    value: Floats
    z: Floats

    def over(self, told: pl.DataFrame) -> pl.DataFrame:
        """What is told so far, and this where that is no anomaly and this is one, or is more unusual."""
        score = scores(self.lane, self.statistic)
        known = told["is_anomaly"].to_numpy()
        wins = pl.Series(~known & (self.is_anomaly | (score > told["score"].to_numpy())))
        own = pl.DataFrame(
            {"score": score, "value": self.value, "z": self.z, "is_anomaly": self.is_anomaly}
        ).with_columns(
            pl.col("value", "z").fill_nan(None),
            detector=pl.lit(self.lane.name),
            family=pl.lit(self.family),
            kind=pl.lit(self.kind),
        )
        return told.with_columns(
            pl.when(wins).then(own[name]).otherwise(pl.col(name)).alias(name) for name in own.columns
        )


def _rows(samples: pl.DataFrame, battery: pl.DataFrame) -> pl.DataFrame:
    """Samples in order of time, as the pipeline knows accepted ones."""
    named = {name: pl.lit(battery[name].item()) for name in ("fleet_id", "battery_id")}
    named |= {"clock_shift_us": pl.lit(0, pl.Int64), "date": pl.col("timestamp").dt.date()}
    kinds = {name: kind for name, kind in _SAMPLE.items() if name not in {*samples.columns, *named, *FLAGS}}
    return (
        samples.sort("timestamp")
        .with_columns(
            *(pl.lit(None, kind).alias(name) for name, kind in kinds.items()),
            **named,
        )
        .with_row_index("arrival")
        .with_columns(pl.col("arrival").cast(pl.Int64))
    )


def _proven(rows: pl.DataFrame) -> list[_Found]:
    """What the day of each sample proves to be wrong with it."""
    found, nothing = [], np.full(rows.height, np.nan)
    for flag in FLAGS:
        if flag not in _OF_DELIVERY:
            raised = rows[flag].to_numpy()
            channel = next((name for name in VOIDS.get(flag, ()) if rows[name].is_not_null().any()), None)
            value = nothing if channel is None or flag == "frozen" else _numbers(rows[channel])
            found.append(_Found(flag, DATA, "data", flag, np.where(raised, 1.0, 0.0), raised, value, nothing))
    return found


def _beyond(rows: pl.DataFrame, battery: pl.DataFrame) -> list[_Found]:
    """Which samples are outside the nameplate, as the thresholds of the pipeline see it; alarms before warnings."""
    return [_outside(rows, battery, limit) for limit in reversed(LIMITS)]


def _outside(rows: pl.DataFrame, battery: pl.DataFrame, limit: Limit) -> _Found:
    of_average = _usable("voltage_volt") / battery["cells_in_series"].item()
    watched = [*map(_usable, limit.watched), *([of_average] if limit.relative else [])]
    value = _numbers(rows.select(pl.coalesce(watched)).to_series())
    plate = float(battery[limit.nameplate].item())
    margin = limit.beyond * abs(plate) if limit.relative else limit.beyond
    raised = value > plate + margin if limit.upper else value < plate - margin
    weight = 2.0 if limit.code.endswith("ALARM") else 1.0
    nothing = np.full(rows.height, np.nan)
    return _Found(limit.code, THRESHOLDS, "limit", limit.code, np.where(raised, weight, 0.0), raised, value, nothing)


def _numbers(column: pl.Series) -> Floats:
    """A column as numbers; NaN where unknown."""
    return column.cast(pl.Float64).fill_null(float("nan")).to_numpy()


def _usable(name: str) -> pl.Expr:
    """A channel where no flag voids it."""
    return pl.when(~pl.any_horizontal(voiding(name))).then(pl.col(name))


def _departing(rows: pl.DataFrame, battery: pl.DataFrame, contamination: float) -> list[_Found]:
    """Which samples depart from the others, and how far."""
    values = _values(rows, battery)
    tail = max(contamination, _TAIL)
    judged = {one.name: _scaled(values[one.name].to_numpy(), one.floor, tail) for one in DEPARTURES}
    far = {one.name: _distance(judged[one.name], both=one.both) for one in DEPARTURES}
    most = np.max(np.stack([*far.values()]), axis=0)
    unusual = most >= ALARM
    allowed = math.ceil(contamination * rows.height)
    if unusual.sum() > allowed:
        unusual = np.isin(np.arange(rows.height), np.argsort(-most, kind="stable")[:allowed])
    return [
        _Found(
            one.name,
            SAMPLES,
            one.family,
            one.kind,
            far[one.name],
            unusual & (far[one.name] == most),
            values[one.name].to_numpy(),
            judged[one.name],
        )
        for one in DEPARTURES
    ]


def _distance(z: Floats, *, both: bool) -> Floats:
    """How far samples depart in a direction that matters; 0 where it is not known."""
    return np.nan_to_num(np.abs(z) if both else np.maximum(z, 0.0))


def _values(rows: pl.DataFrame, battery: pl.DataFrame) -> pl.DataFrame:
    """What departs, by sample, where the mean cell is well off the steep ends; NaN elsewhere, and where unknown."""
    cells = int(battery["cells_in_series"].item())
    mean_cell = _usable("voltage_volt") / cells
    named = rows.select(
        current=_usable("current_ampere") / battery["rated_capacity_ah"].item(),
        mean_cell=mean_cell,
        cell_low=mean_cell - _usable("cell_voltage_min_volt"),
        temperature_hot_spot=_usable("temperature_max_celsius") - _usable("temperature_celsius"),
    ).cast(pl.Float64)
    arrays = {name: named[name].fill_null(float("nan")).to_numpy() for name in named.columns}
    current, volt = arrays["current"], arrays["mean_cell"]
    ohm = _ohm(volt, current)
    rest = volt - (0.0 if np.isnan(ohm) else ohm) * current
    low, high = (battery.select(bound).item() for bound in middle_of("chemistry"))
    inside = (rest >= low + _OFF) & (rest <= high - _OFF)
    several = inside & (cells > 1)
    return pl.DataFrame(
        {
            "cell_low": np.where(several, _unloaded(arrays["cell_low"], current), np.nan),
            "temperature_hot_spot": arrays["temperature_hot_spot"],
            "voltage": np.where(inside & np.isfinite(ohm), _beside(rest), np.nan),
        }
    )


def _ohm(volt: Floats, current: Floats) -> float:
    """What a change of the current adds to the voltage of the mean cell at once [V at 1 C]; NaN where none is seen."""
    use = np.isfinite(volt) & np.isfinite(current)
    steps, swings = np.diff(volt[use]), np.diff(current[use])
    large = np.abs(swings) >= _STEP
    return float(np.median(steps[large] / swings[large])) if large.sum() >= _STEPS else float("nan")


def _unloaded(values: Floats, current: Floats) -> Floats:
    """Values less what follows the current, which a cell of a little more resistance than the others does."""
    use = np.isfinite(values) & np.isfinite(current)
    if use.sum() < FEWEST or np.ptp(current[use]) < _STEP:
        return values
    slope, level = 0.0, float(np.median(values[use]))
    for _ in range(3):
        rest = values - level - slope * current
        scale = MAD_TO_SIGMA * float(np.median(np.abs(rest[use])))
        near = use & (np.abs(rest) <= max(3 * scale, 1e-12))
        if near.sum() < FEWEST or np.ptp(current[near]) < _STEP:
            return values
        slope, level = (float(number) for number in np.polyfit(current[near], values[near], 1))
    return np.where(np.isfinite(current), values - slope * current, values)


def _beside(rest: Floats) -> Floats:
    """Voltage of the mean cell without its load, less what its neighbours have [V]."""
    usual = pl.Series(rest).fill_nan(None).rolling_median(2 * _BESIDE + 1, min_samples=_BESIDE, center=True)
    return (pl.Series(rest) - usual).fill_null(float("nan")).to_numpy()


def _scaled(values: Floats, floor: float, tail: float) -> Floats:
    """Distances from the median in robust standard deviations; NaN where unknown, or too few are known.

    The larger of what the median deviation says, and what the deviation says that a share of the samples exceeds:
    loads that come now and then make tails that are no fault.
    """
    known = values[np.isfinite(values)]
    if len(known) < FEWEST:
        return np.full(len(values), np.nan)
    middle = float(np.median(known))
    away = np.abs(known - middle)
    beyond = float(np.quantile(away, 1 - tail)) / NormalDist().inv_cdf(1 - tail / 2)
    return np.asarray((values - middle) / max(MAD_TO_SIGMA * float(np.median(away)), beyond, floor))
