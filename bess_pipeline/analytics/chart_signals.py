"""Signals of control charts: sums of scores that grow, and days whose data are at fault."""

from __future__ import annotations

from datetime import date, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl

from bess_pipeline.analytics.chart_sums import CARRIED, LAST, STRENGTH, followed_sums, nothing_carried
from bess_pipeline.analytics.control_charts import CHART, DOWN_SINCE, SCORED, UP_SINCE
from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.analytics.lanes import DATA_CHECKS, STATISTICS
from bess_pipeline.analytics.memory import day_numbers, epoch_of, epochs_within
from bess_pipeline.analytics.signals import in_order, start_of
from bess_pipeline.analytics.traces import floats, numbered
from bess_pipeline.analytics.windows import window_means
from bess_pipeline.arrays import Floats
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.memory import ChartMemory

#: Least sum that is told [σ].
LEAST = 3.0
#: Magnitude of the scores in a sum, on average over its last four alarms, from which an alarm is critical [σ].
CRITICAL = 8.0
#: Families that leap at once, and how far [σ], when the data are more likely at fault than the battery.
LEAPING_FAMILIES, LEAP = 3, 10.0

#: Days over which temperature and resistance are held together, how many of them are needed, and how far both have to
#: move [σ].
_TOGETHER, _FEWEST, _WARMER, _RESISTS = timedelta(days=6), 2, 1.5, 1.5
_WARMTH, _RESISTANCE = ("temperature_mean", "temperature_over_ambient"), "step_resistance"
#: Days before the epoch of the memory that count: what is held together, and what of it is still the newest.
BEFORE = 2 * _TOGETHER

_SERIES = ("feature", *BATTERY)
#: Directions, and where the beginning of the sum stands in what is carried.
_SIDES = (("up", UP_SINCE), ("down", DOWN_SINCE))


class ChartSignals(NamedTuple):
    """What control charts say.

    Attributes:
        signals: `AnomalySignal` rows of the statistics and of the data, by battery, day, lane, feature and direction.
        memory: `ChartMemory` rows of the epochs that begin within the days.
    """

    signals: pl.DataFrame
    memory: pl.DataFrame


def chart_signals(features: pl.DataFrame, memory: pl.DataFrame | None = None) -> ChartSignals:
    """The two-sided CUSUM of each feature, and days whose data are at fault.

    A sum raises from the threshold of `control_charts.CHART` on. It is critical once
    the scores behind it average 8 σ, info where the direction is harmless. A day on which features of
    three families leap past 10 σ that were quiet the day before does not enter the sums: the data are at fault,
    as they are on days beyond a limit of `features.DATA_FAULTS`. Of these the statistic is the value over its limit, or
    the number of features that leap over the three of a fault.

    A battery that seems warmer and at the same time to gain resistance has a temperature
    sensor that reads high: a warmer battery has less resistance, and the correction to 25 °C
    gives it back what it lost; one that is not warmer is given too much. Both are told as the sensor's.

    Args:
        features: `DailyFeature` rows.
        memory: `ChartMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        Signals of the days from the epoch on if there is one; those of sums are told from 3 σ on.
    """
    known = ChartMemory.create_empty() if memory is None else memory
    epoch = epoch_of(known)
    fresh = features if epoch is None else features.filter(pl.col("date") >= epoch)
    rows = fresh.filter(pl.col("feature").is_in([feature.name for feature in FEATURES])).sort(*_SERIES, "date")
    series = pl.concat([rows.select(_SERIES), known.select(_SERIES)]).unique().sort(_SERIES)
    series = series.join(known, on=_SERIES, how="left", maintain_order="left")
    carried = _carried(series)
    rows = rows.with_columns(leaps=_leaps(rows, series.select(*_SERIES, last=pl.Series(carried[:, LAST]))))
    epochs = epochs_within(features["date"], epoch)
    counts = series.join(rows.group_by(_SERIES).len(), on=_SERIES, how="left", maintain_order="left")["len"]
    sums = followed_sums(
        np.append(0, np.cumsum(counts.fill_null(0).to_numpy().astype(np.int64))),
        rows["date"].to_physical().to_numpy().astype(np.int64),
        floats(rows["z"].set(rows["leaps"], None)),
        floats(rows["z"]),
        carried,
        day_numbers(epochs),
        least=LEAST,
    )
    told = _told(rows, sums.rows).join(_sensors(features), on=BATTERY_DAY, how="left", maintain_order="left")
    reading_high = _reading_high(told, series, epoch)
    signals = [_of_sums(told, reading_high), _of_faults(fresh), _of_leaps(rows.filter("leaps"))]
    return ChartSignals(pl.concat(signals), _memory(series, epochs, sums.kept, reading_high))


def _carried(series: pl.DataFrame) -> Floats:
    """What is carried into each series; nothing where it begins."""
    held = nothing_carried(series.height)
    known = series["carried"].is_not_null().to_numpy()
    lists = [[np.nan if v is None else v for v in row] for row in series["carried"].drop_nulls()]
    held[known] = np.array(lists, dtype=np.float64).reshape(-1, CARRIED)
    return held


def _leaps(rows: pl.DataFrame, last: pl.DataFrame) -> pl.Series:
    """Whether features of several families leap on a row's day that were quiet the time before."""
    families = _meanings().filter(direction="up").select("feature", group="family")
    size = pl.col("z").abs()
    before = pl.when(pl.struct(_SERIES) == pl.struct(_SERIES).shift(1)).then(size.shift(1)).otherwise("last")
    leaping = (size >= LEAP) & (before.fill_nan(None).fill_null(0.0) < CHART.clip)
    return (
        rows.select(*_SERIES, "date", "z")
        .join(families, on="feature", how="left", maintain_order="left")
        .join(last, on=_SERIES, how="left", maintain_order="left")
        .with_columns(leaping=pl.when(leaping).then("group"))
        .select(leaps=pl.col("leaping").drop_nulls().n_unique().over(BATTERY_DAY) >= LEAPING_FAMILIES)
        .to_series()
    )


def _told(rows: pl.DataFrame, sums: Floats) -> pl.DataFrame:
    """Sums that are told, by direction: since when, and how strong what is behind those is that raise."""
    both = [
        rows.with_columns(
            direction=pl.lit(direction),
            statistic=pl.Series(sums[:, side]),
            since=_days(sums[:, since]),
            strength=pl.Series(sums[:, STRENGTH + side]).fill_nan(None),
        ).filter(pl.col("statistic") >= LEAST)
        for side, (direction, since) in enumerate(_SIDES)
    ]
    return pl.concat(both).join(_meanings(), on=["feature", "direction"], how="left", maintain_order="left")


def _of_sums(told: pl.DataFrame, reading_high: pl.DataFrame) -> pl.DataFrame:
    """Signals of sums, those of warmth and of resistance that rise together given to the temperature sensor."""
    raises = pl.col("statistic") >= CHART.threshold
    severity = (
        pl.when("is_harmless")
        .then(pl.lit("info"))
        .when(pl.col("strength") >= CRITICAL)
        .then(pl.lit("critical"))
        .otherwise(pl.lit("warning"))
    )
    # What has been the sensor's once stays so until the sum is back at zero.
    sensor = (pl.col("date") >= pl.col("first")).fill_null(value=False)
    return in_order(
        told.join(reading_high, on=[*_SERIES, "direction", "since"], how="left").with_columns(
            lane=pl.lit(STATISTICS),
            severity=severity,
            family=pl.when(sensor).then(pl.lit("sensor")).otherwise("family"),
            kind=pl.when(sensor).then(pl.lit("temperature_reads_high")).otherwise("kind"),
            started_at=start_of("since"),
            raised_at=pl.when(raises).then(pl.col("observed_until")),
        )
    )


def _sensors(features: pl.DataFrame) -> pl.DataFrame:
    """How warm a battery has been and how its resistance has risen over six days, as last known in the six days."""
    days = features.select(BATTERY_DAY).unique().sort(BATTERY_DAY)
    for feature, name in ((_WARMTH[0], "warmer"), (_RESISTANCE, "resists")):
        moved = features.filter(feature=feature).sort(BATTERY_DAY)
        means = window_means(
            numbered(moved),
            moved["date"].to_physical().to_numpy().astype(np.int64),
            floats(moved["z"])[:, None],
            _TOGETHER.days,
            _FEWEST,
        )
        usual = moved.select(*BATTERY_DAY, pl.Series(name, means[:, 0]).fill_nan(None))
        days = days.sort("date", *BATTERY).join_asof(
            usual.sort("date", *BATTERY),
            on="date",
            by=list(BATTERY),
            strategy="backward",
            tolerance=_TOGETHER,
            check_sortedness=False,
        )
    return days


def _reading_high(told: pl.DataFrame, series: pl.DataFrame, epoch: date | None) -> pl.DataFrame:
    """Sums that a temperature sensor is behind that reads high, and the first day on which it was seen."""
    sensor = (
        pl.col("feature").is_in([*_WARMTH, _RESISTANCE])
        & (pl.col("direction") == "up")
        & (pl.col("warmer") >= _WARMER)
        & (pl.col("resists") >= _RESISTS)
    ).fill_null(value=False)
    by = (*_SERIES, "direction", "since")
    known = series.filter(pl.col("reads_high").fill_null(value=False)).select(
        *_SERIES,
        direction=pl.lit("up"),
        since=pl.col("carried").list.get(UP_SINCE).cast(pl.Int32).cast(pl.Date),
        first=pl.lit(epoch, pl.Date),
    )
    return pl.concat([told.filter(sensor).select(*by, first="date"), known]).group_by(by).agg(pl.col("first").min())


def _of_faults(features: pl.DataFrame) -> pl.DataFrame:
    """Days beyond a limit."""
    limits = pl.DataFrame(
        [
            {"feature": fault.name, "kind": fault.kind, "bound": fault.limit, "severity": fault.severity}
            for fault in DATA_FAULTS
        ]
    )
    return _of_data(
        features.join(limits, on="feature")
        .filter(pl.col("value") > pl.col("bound"))
        .with_columns(statistic=pl.col("value") / pl.col("bound"))
    )


def _of_leaps(rows: pl.DataFrame) -> pl.DataFrame:
    """Days on which channels leap at once."""
    return _of_data(
        rows.with_columns(
            kind=pl.lit("channels_leap_at_once"),
            severity=pl.lit("info"),
            statistic=pl.len().over(BATTERY_DAY) / LEAPING_FAMILIES,
        )
    )


def _of_data(rows: pl.DataFrame) -> pl.DataFrame:
    return in_order(
        rows.with_columns(
            lane=pl.lit(DATA_CHECKS),
            direction=pl.lit("up"),
            family=pl.lit("data"),
            started_at=start_of("date"),
            raised_at=pl.col("observed_until"),
        )
    )


def _meanings() -> pl.DataFrame:
    """Family, kind and weight of each feature and direction."""
    return pl.DataFrame(
        [
            {
                "feature": feature.name,
                "direction": direction,
                "family": meaning.family,
                "kind": meaning.kind,
                "is_harmless": meaning.harmless,
            }
            for feature in FEATURES
            for direction, meaning in (("up", feature.up), ("down", feature.down))
        ]
    )


def _memory(series: pl.DataFrame, epochs: list[date], kept: Floats, reading_high: pl.DataFrame) -> pl.DataFrame:
    """`ChartMemory` rows of the series that had begun before each epoch, sorted."""
    days = pl.DataFrame({"date": epochs}, schema={"date": pl.Date})
    states = kept.reshape(-1, CARRIED)
    begun = ~np.isnan(states[:, SCORED])
    first = reading_high.filter(direction="up").drop("direction")
    return (
        series.select(_SERIES)
        .join(days, how="cross", maintain_order="left_right")
        .with_columns(
            carried=pl.Series(states, dtype=pl.Array(pl.Float64, CARRIED)).arr.to_list(),
            since=_days(states[:, UP_SINCE]),
        )
        .filter(pl.Series(begun))
        .join(first, on=[*_SERIES, "since"], how="left")
        .with_columns(
            pl.col("carried").list.eval(pl.element().fill_nan(None)),
            reads_high=(pl.col("first") < pl.col("date")).fill_null(value=False),
        )
        .select(ChartMemory.column_names())
        .sort(*BATTERY_DAY, "feature")
        .pipe(ChartMemory.validate)
    )


def _days(numbers: Floats) -> pl.Series:
    """Day numbers as days; null where there is none."""
    return pl.Series(numbers).fill_nan(None).cast(pl.Int32).cast(pl.Date)
