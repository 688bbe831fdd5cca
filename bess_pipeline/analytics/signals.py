"""Signals: what the lanes that rest on daily rows saw on each day."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl

from bess_pipeline.analytics.control_charts import CHART, cumulative_sums
from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.analytics.lanes import AGEING, ALARMS, DATA_CHECKS, STATISTICS, THRESHOLDS, WARNS
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Least sum that is told [σ].
LEAST = 3.0
#: Magnitude of the scores in a sum, on average over its last four alarms, from which an alarm is critical [σ].
CRITICAL = 8.0
#: Families that leap at once, and how far [σ], when the data are more likely at fault than the battery.
LEAPING_FAMILIES, LEAP = 3, 10.0

#: Days over which temperature and resistance are held together, and how far both have to move [σ].
_TOGETHER, _WARMER, _RESISTS = timedelta(days=6), 1.5, 1.5
_WARMTH = ("temperature_mean", "temperature_over_ambient")

_EPOCH = date(1970, 1, 1)
_SIGNAL = AnomalySignal.column_names()
_WHOLE = pl.lit("").alias("component")


def anomaly_signals(
    features: pl.DataFrame, episodes: pl.DataFrame, degradation: pl.DataFrame, *others: pl.DataFrame
) -> pl.DataFrame:
    """What every lane saw.

    Args:
        features: `DailyFeature` rows.
        episodes: `LimitEpisode` rows.
        degradation: `Degradation` rows.
        others: `AnomalySignal` rows of the lanes that do not rest on these.

    Returns:
        `AnomalySignal` rows.
    """
    running = _sums(features)
    own = (
        statistics_signals(features, running),
        data_signals(features, running),
        limit_signals(episodes),
        ageing_signals(degradation),
    )
    return pl.concat([*own, *others])


def statistics_signals(features: pl.DataFrame, running: pl.DataFrame | None = None) -> pl.DataFrame:
    """The two-sided CUSUM of each feature.

    A sum raises from the threshold of `control_charts.CHART` on. It is critical once
    the scores behind it average 8 σ, info where the direction is harmless. A day on which features of
    three families leap past 10 σ that were quiet the day before does not enter the sums: the data are at fault.

    A battery that seems warmer and at the same time to gain resistance has a temperature
    sensor that reads high: a warmer battery has less resistance, and the correction to 25 °C
    gives it back what it lost; one that is not warmer is given too much. Both are told as the sensor's.

    Args:
        features: `DailyFeature` rows.
        running: Their sums, if they are there already.

    Returns:
        `AnomalySignal` rows by battery, day, feature and direction, of sums of 3 σ or more.
    """
    running = _sums(features) if running is None else running
    both = pl.concat(
        [
            running.filter(pl.col(name) >= LEAST).with_columns(
                pl.lit(name).alias("direction"),
                statistic=pl.col(name),
                since=pl.col(f"{name}_since"),
                pushes=sign * pl.col("z"),
            )
            for name, sign in (("up", 1), ("down", -1))
        ]
    ).join(_meanings(), on=["feature", "direction"], how="left")
    series = (*BATTERY, "feature", "direction")
    raises = pl.col("statistic") >= CHART.threshold
    strength = pl.when(raises).then(pl.col("pushes")).rolling_mean(4, min_samples=1).over(series, order_by="date")
    told = both.with_columns(
        lane=pl.lit(STATISTICS),
        severity=pl.when("is_harmless")
        .then(pl.lit("info"))
        .when(strength >= CRITICAL)
        .then(pl.lit("critical"))
        .otherwise(pl.lit("warning")),
        started_at=_start("since"),
        raised_at=pl.when(raises).then(pl.col("observed_until")),
    )
    return _ordered(_of_sensors(told, features))


def data_signals(features: pl.DataFrame, running: pl.DataFrame | None = None) -> pl.DataFrame:
    """Days whose data are at fault: beyond a limit of `features.DATA_FAULTS`, or with channels that leap at once.

    Args:
        features: `DailyFeature` rows.
        running: Their sums, if they are there already.

    Returns:
        `AnomalySignal` rows of family ``data`` by battery, day and feature; the statistic is the value over its limit,
        or the number of features that leap over the three of a fault.
    """
    limits = pl.DataFrame(
        [
            {"feature": fault.name, "kind": fault.kind, "bound": fault.limit, "severity": fault.severity}
            for fault in DATA_FAULTS
        ]
    )
    wrong = (
        features.join(limits, on="feature")
        .filter(pl.col("value") > pl.col("bound"))
        .with_columns(statistic=pl.col("value") / pl.col("bound"))
    )
    leaps = (
        (_sums(features) if running is None else running)
        .filter("leaps")
        .with_columns(
            kind=pl.lit("channels_leap_at_once"),
            severity=pl.lit("info"),
            statistic=pl.len().over(BATTERY_DAY) / LEAPING_FAMILIES,
        )
    )
    columns = (*BATTERY_DAY, "feature", "value", "z", "peers", "observed_until", "kind", "severity", "statistic")
    return _ordered(
        pl.concat([wrong.select(columns), leaps.select(columns)]).with_columns(
            lane=pl.lit(DATA_CHECKS),
            direction=pl.lit("up"),
            family=pl.lit("data"),
            started_at=_start("date"),
            raised_at=pl.col("observed_until"),
        )
    )


def limit_signals(episodes: pl.DataFrame) -> pl.DataFrame:
    """Days that a battery spent outside a limit of its nameplate.

    Args:
        episodes: `LimitEpisode` rows.

    Returns:
        `AnomalySignal` rows of family ``limit`` by battery, day and code; the statistic is 1 for a warning, 2 for an
        alarm. They are raised when the episode is detected, on later days when these begin.
    """
    alarm = pl.col("code").str.ends_with("ALARM")
    until = pl.coalesce(pl.col("ended_at") - pl.duration(microseconds=1), "detected_at")
    days = episodes.with_columns(date=pl.date_ranges(pl.col("started_at").dt.date(), until.dt.date())).explode("date")
    return _ordered(
        days.sort(*BATTERY_DAY, "code", "started_at")
        .unique([*BATTERY_DAY, "code"], keep="first", maintain_order=True)
        .select(
            *BATTERY_DAY,
            pl.lit(THRESHOLDS).alias("lane"),
            feature="code",
            direction=pl.when(pl.col("code").str.starts_with("OVER")).then(pl.lit("up")).otherwise(pl.lit("down")),
            statistic=pl.when(alarm).then(ALARMS).otherwise(WARNS),
            family=pl.lit("limit"),
            kind="code",
            severity=pl.when(alarm).then(pl.lit("critical")).otherwise(pl.lit("warning")),
            started_at="started_at",
            raised_at=pl.max_horizontal("detected_at", _start("date")),
            value="extreme",
            z=pl.lit(None, pl.Float64),
            peers=pl.lit(None, pl.Int64),
        )
    )


def ageing_signals(degradation: pl.DataFrame) -> pl.DataFrame:
    """Knees of the capacity's trend, each on the day on which it was told.

    Args:
        degradation: `Degradation` rows.

    Returns:
        `AnomalySignal` rows of family ``capacity`` by battery and day.
    """
    knees = degradation.drop_nulls("knee_detected_on").sort(*BATTERY, "as_of")
    return _ordered(
        knees.unique([*BATTERY, "knee_detected_on"], keep="first", maintain_order=True).select(
            *BATTERY,
            pl.lit(AGEING).alias("lane"),
            date="knee_detected_on",
            feature=pl.lit("knee"),
            direction=pl.lit("down"),
            statistic=pl.lit(1.0),
            family=pl.lit("capacity"),
            kind=pl.lit("knee"),
            severity=pl.lit("warning"),
            started_at=_start("knee_date"),
            raised_at=_start("knee_detected_on") + pl.duration(days=1),
            value="degradation_percent_per_year",
            z=pl.lit(None, pl.Float64),
            peers=pl.lit(None, pl.Int64),
        )
    )


def _ordered(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(_WHOLE).select(_SIGNAL).sort(*BATTERY_DAY, "lane", "feature", "direction")


def _start(name: str) -> pl.Expr:
    return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


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


def _sums(features: pl.DataFrame) -> pl.DataFrame:
    """The watched features with their sums, and whether the day leapt, by feature, battery and day."""
    rows = features.filter(pl.col("feature").is_in([feature.name for feature in FEATURES])).sort(
        "feature", *BATTERY_DAY
    )
    series = rows.select(pl.struct("feature", *BATTERY).rle_id().cast(pl.Int64)).to_series()
    families = _meanings().filter(direction="up").select("feature", group="family")
    far = pl.col("z").abs() >= LEAP
    before = pl.col("z").abs().shift(1).over("feature", *BATTERY).fill_null(0.0)
    rows = rows.join(families, on="feature", how="left", maintain_order="left").with_columns(
        leaps=pl.col("group").filter(far & (before < CHART.clip)).n_unique().over(BATTERY_DAY) >= LEAPING_FAMILIES
    )
    sums = cumulative_sums(
        series.to_numpy(),
        (rows["date"] - _EPOCH).dt.total_days().to_numpy(),
        rows["z"].set(rows["leaps"], None).fill_null(float("nan")).to_numpy(),
    )
    since = [
        (pl.lit(_EPOCH) + pl.duration(days=1) * pl.Series(sums[:, place]).fill_nan(None).cast(pl.Int64)).cast(pl.Date)
        for place in (2, 3)
    ]
    return rows.with_columns(
        up=pl.Series(sums[:, 0]), down=pl.Series(sums[:, 1]), up_since=since[0], down_since=since[1]
    ).drop("group")


def _of_sensors(told: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    """Signals of warmth and of resistance that rise together, given to the temperature sensor."""
    moved = (
        features.filter(pl.col("feature").is_in(["temperature_mean", "step_resistance"]))
        .sort(*BATTERY_DAY)
        .with_columns(
            usual=pl.col("z").rolling_mean_by("date", f"{_TOGETHER.days}d", min_samples=2).over(*BATTERY, "feature")
        )
    )
    warmth = moved.filter(feature="temperature_mean").select(*BATTERY_DAY, warmer="usual")
    resistance = moved.filter(feature="step_resistance").select(*BATTERY_DAY, resists="usual")
    ordered = told.sort("date", *BATTERY, "feature", "direction")
    for frame in (warmth, resistance):
        ordered = ordered.join_asof(
            frame.sort("date"),
            on="date",
            by=list(BATTERY),
            strategy="backward",
            tolerance=_TOGETHER,
            check_sortedness=False,
        )
    sensor = (
        pl.col("feature").is_in([*_WARMTH, "step_resistance"])
        & (pl.col("direction") == "up")
        & (pl.col("warmer") >= _WARMER)
        & (pl.col("resists") >= _RESISTS)
    ).fill_null(value=False)
    # What has been the sensor's once stays so until the sum is back at zero.
    sensor = sensor.cast(pl.Int8).cum_max().over(*BATTERY, "feature", "direction", "since", order_by="date") == 1
    return ordered.with_columns(
        family=pl.when(sensor).then(pl.lit("sensor")).otherwise("family"),
        kind=pl.when(sensor).then(pl.lit("temperature_reads_high")).otherwise("kind"),
    )
