"""Anomalies: what the features and the limits add up to, as scores of days and as events with a life."""

from __future__ import annotations

import hashlib
import json
import math
from datetime import date, timedelta

import polars as pl

from bess_pipeline.analytics.control_charts import CHART, cumulative_sums
from bess_pipeline.analytics.features import DATA_FAULTS, FEATURES
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

STATISTICS = "statistics"
THRESHOLDS = "thresholds"
DATA_CHECKS = "data_checks"

#: Data without alarm after which an event has ended.
QUIET = timedelta(days=21)
#: Limit episodes of one code closer than this are one event.
LIMIT_QUIET = timedelta(days=7)
#: Magnitude of the scores in the sum, on average over the days it took, from which an event is critical [σ].
CRITICAL = 8.0
#: Families that leap at once, and how far [σ], when the data are more likely at fault than the battery.
LEAPING_FAMILIES, LEAP = 3, 10.0
#: Score of a day with a warning and with an alarm of the threshold lane.
WARNING_SCORE, ALARM_SCORE = 0.9, 1.0

#: −ln of the share of healthy days whose sum exceeds the alarm threshold: one in a thousand.
_TAIL = math.log(1000)

_EPOCH = date(1970, 1, 1)
_EVENT = (
    "event_id",
    *BATTERY,
    "family",
    "kind",
    "detector",
    "severity",
    "component",
    "started_at",
    "ended_at",
    "detected_at",
    "detected_on",
    "score",
    "evidence",
)


def anomaly_scores(features: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """How unusual each day was, by detector.

    * ``statistics``: the share of healthy days with smaller sums. A CUSUM with slack k over
      standard normal noise exceeds S with the probability exp(−2·k·S), and the largest of m
      sums stays below S with (1 − exp(−2·k·S))^m. The scores' scale contains the memory of
      the noise; what remains is charged by scaling S so that the alarm threshold is exceeded on one
      day in a thousand: the operating point has a score of 0.999^m, about 0.97.
    * ``thresholds``: 1 on days with an alarm, 0.9 with a warning, else 0.

    Args:
        features: `DailyFeature` rows.
        episodes: `LimitEpisode` rows.

    Returns:
        `AnomalyScore` rows by battery, day and detector, for every day with features.

    References:
        D. Siegmund, Sequential Analysis, Springer 1985, doi:10.1007/978-1-4757-1862-1: the tail of
        the maximum of a random walk with drift.
    """
    watched = _sums(features).drop_nulls("z")
    rate = _TAIL / CHART.threshold
    statistics = watched.group_by(BATTERY_DAY, maintain_order=True).agg(
        score=(1 - (-rate * pl.max_horizontal(pl.col("up").max(), pl.col("down").max())).exp()) ** pl.len()
    )
    outside = (
        episodes.with_columns(
            date=pl.date_ranges(
                pl.col("started_at").dt.date(),
                pl.coalesce(pl.col("ended_at") - pl.duration(microseconds=1), "detected_at").dt.date(),
            ),
            score=pl.when(pl.col("code").str.ends_with("ALARM")).then(ALARM_SCORE).otherwise(WARNING_SCORE),
        )
        .explode("date")
        .group_by(BATTERY_DAY)
        .agg(pl.col("score").max())
    )
    thresholds = (
        features.select(BATTERY_DAY)
        .unique()
        .join(outside, on=BATTERY_DAY, how="left")
        .with_columns(pl.col("score").fill_null(0.0))
    )
    return pl.concat(
        [
            rows.select(*BATTERY_DAY, pl.lit(name).alias("detector"), "score")
            for name, rows in ((STATISTICS, statistics), (THRESHOLDS, thresholds))
        ]
    ).sort(*BATTERY_DAY, "detector")


def anomaly_events(features: pl.DataFrame, scores: pl.DataFrame, episodes: pl.DataFrame) -> pl.DataFrame:
    """Events of all lanes, each with the instant from which on it could be known.

    * A battery's event begins with the first day on which the sum of a feature of the
      family reaches the threshold of `control_charts.CHART`, and ends with the last such day
      before 21 days without. It is named by the feature with the largest sum on the day
      of detection. It is a warning; critical once the scores behind a sum average
      8 σ; info when the direction is harmless. Info never mixes with the others.
    * Data at fault (`features.DATA_FAULTS`) are events of family ``data``. So is a day on
      which features of three families leap past 10 σ that were quiet the day before: it does
      not enter the sums.
    * Limit episodes of one code less than a week apart are one event of family ``limit``.

    Whatever days follow, an event keeps its identity and its instant of detection; only its
    end and a rise of its severity can change.

    Args:
        features: `DailyFeature` rows.
        scores: `AnomalyScore` rows.
        episodes: `LimitEpisode` rows.

    Returns:
        `AnomalyEvent` rows by detection and identity.
    """
    sums = _sums(features)
    lanes = [_statistics_events(sums, features, scores), _data_events(sums, features), _limit_events(episodes)]
    return (
        pl.concat(lanes)
        .with_columns(component=pl.lit(None, pl.String), detected_on=pl.col("detected_at").dt.date())
        .with_columns(event_id=_identity())
        .select(_EVENT)
        .sort("detected_at", "event_id")
    )


def _identity() -> pl.Expr:
    """Hash of what an event keeps; streams tell apart what one instant can raise in one family."""
    parts = pl.struct(*BATTERY, "component", "family", "stream", pl.col("detected_at").to_physical())

    def digest(row: dict[str, object]) -> str:
        return hashlib.blake2b(json.dumps(list(row.values())).encode(), digest_size=8).hexdigest()

    return parts.map_elements(digest, return_dtype=pl.String)


def _meanings() -> pl.DataFrame:
    """Family, kind and weight of each feature and direction."""
    return pl.DataFrame(
        [
            {
                "feature": feature.name,
                "rises": rises,
                "family": meaning.family,
                "kind": meaning.kind,
                "stream": "info" if meaning.harmless else "battery",
            }
            for feature in FEATURES
            for rises, meaning in ((True, feature.up), (False, feature.down))
        ]
    )


def _sums(features: pl.DataFrame) -> pl.DataFrame:
    """The watched features with their sums, and whether the day leapt, by feature, battery and day."""
    rows = features.filter(pl.col("feature").is_in([feature.name for feature in FEATURES])).sort(
        "feature", *BATTERY_DAY
    )
    series = rows.select(pl.struct("feature", *BATTERY).rle_id().cast(pl.Int64)).to_series()
    meaning = _meanings().unique("feature", keep="first", maintain_order=True).select("feature", group="family")
    far = pl.col("z").abs() >= LEAP
    before = pl.col("z").abs().shift(1).over("feature", *BATTERY).fill_null(0.0)
    rows = rows.join(meaning, on="feature", how="left", maintain_order="left").with_columns(
        leaps=pl.col("group").filter(far & (before < CHART.clip)).n_unique().over(BATTERY_DAY) >= LEAPING_FAMILIES
    )
    sums = cumulative_sums(
        series.to_numpy(),
        (rows["date"] - _EPOCH).dt.total_days().to_numpy(),
        rows["z"].set(rows["leaps"], None).fill_null(float("nan")).to_numpy(),
    )
    day = pl.duration(days=1)
    since = [
        (pl.lit(_EPOCH) + day * pl.Series(sums[:, place]).fill_nan(None).cast(pl.Int64)).cast(pl.Date)
        for place in (2, 3)
    ]
    return rows.with_columns(
        up=pl.Series(sums[:, 0]), down=pl.Series(sums[:, 1]), up_since=since[0], down_since=since[1]
    ).drop("group")


def _statistics_events(sums: pl.DataFrame, features: pl.DataFrame, scores: pl.DataFrame) -> pl.DataFrame:
    running = pl.concat(
        [
            sums.with_columns(
                pl.lit(rises).alias("rises"),
                sum=pl.col(name),
                since=pl.col(f"{name}_since"),
                strength=sign * pl.col("z"),
            )
            for rises, name, sign in ((True, "up", 1), (False, "down", -1))
        ]
    ).join(_meanings(), on=["feature", "rises"], how="left")
    alarms = (
        running.filter(pl.col("sum") >= CHART.threshold)
        .with_columns(severity=pl.when(pl.col("stream") == "info").then(pl.lit("info")).otherwise(pl.lit("warning")))
        .sort(*BATTERY, "family", "stream", "date", pl.col("sum"), "feature", descending=[False] * 5 + [True, False])
    )
    alarms = alarms.with_columns(
        strength=pl.col("strength").rolling_mean(4, min_samples=1).over(*BATTERY, "feature", "rises", order_by="date")
    )
    last = features.group_by(BATTERY).agg(pl.col("date").max().alias("last_date"))
    daily = scores.filter(pl.col("detector") == STATISTICS).select(*BATTERY_DAY, "score")
    return _merged(
        alarms.join(last, on=BATTERY, how="left").join(daily, on=BATTERY_DAY, how="left"),
        (*BATTERY, "family", "stream"),
        severity=pl.when((pl.col("strength") >= CRITICAL).any() & (pl.col("severity").first() != "info"))
        .then(pl.lit("critical"))
        .otherwise(pl.col("severity").first()),
        detector=STATISTICS,
    )


def _data_events(sums: pl.DataFrame, features: pl.DataFrame) -> pl.DataFrame:
    limits = pl.DataFrame(
        [
            {
                "feature": fault.name,
                "kind": fault.kind,
                "bound": fault.limit,
                "side": 1.0,
                "severity": fault.severity,
            }
            for fault in DATA_FAULTS
        ]
    )
    wrong = features.join(limits, on="feature").filter(pl.col("side") * (pl.col("value") - pl.col("bound")) > 0)
    leaps = sums.filter("leaps").with_columns(kind=pl.lit("channels_leap_at_once"), severity=pl.lit("info"))
    columns = (*BATTERY_DAY, "feature", "value", "z", "peers", "observed_until", "kind", "severity")
    rows = (
        pl.concat([wrong.select(columns), leaps.select(columns)])
        .with_columns(family=pl.lit("data"), stream=pl.col("kind"), since="date", sum=pl.lit(0.0), score=pl.lit(1.0))
        .sort(*BATTERY, "stream", "date", "feature")
    )
    last = features.group_by(BATTERY).agg(pl.col("date").max().alias("last_date"))
    return _merged(
        rows.join(last, on=BATTERY, how="left"),
        (*BATTERY, "family", "stream"),
        severity=pl.col("severity").first(),
        detector=DATA_CHECKS,
    )


def _merged(alarms: pl.DataFrame, stream: tuple[str, ...], *, severity: pl.Expr, detector: str) -> pl.DataFrame:
    """Alarm days, strongest first within a day, gathered into events.

    Only the day of detection names, dates and scores an event: later days must not change them.
    """
    pause = pl.col("date") - pl.col("date").shift(1).over(stream)
    numbered = alarms.with_columns(event=(pause.is_null() | (pause > QUIET)).cast(pl.Int64).cum_sum()).with_columns(
        first=pl.col("date").min().over("event")
    )
    fresh = pl.col("date") == pl.col("first")
    evidence = pl.struct("feature", "value", "z", "peers", cusum=pl.col("sum"))
    over = pl.col("last_date").first() - pl.col("date").max() > QUIET
    events = numbered.group_by("event", *stream, maintain_order=True).agg(
        kind=pl.col("kind").first(),
        severity=severity,
        started_at=pl.col("since").filter(fresh).min().cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        ended_at=pl.when(over).then(pl.col("observed_until").max()),
        detected_at=pl.col("observed_until").first(),
        score=pl.col("score").first().fill_null(0.0),
        evidence=evidence.filter(fresh),
    )
    return events.select(
        *BATTERY,
        "family",
        "stream",
        "kind",
        pl.lit(detector).alias("detector"),
        "severity",
        "started_at",
        "ended_at",
        "detected_at",
        "score",
        evidence=pl.col("evidence").map_elements(_as_json, return_dtype=pl.String),
    )


def _as_json(rows: pl.Series) -> str:
    """The features of a day as JSON, to six digits."""
    return json.dumps(
        {
            "features": [
                {name: round(item, 6) if isinstance(item, float) else item for name, item in row.items()}
                for row in rows.to_list()
            ]
        }
    )


def _limit_events(episodes: pl.DataFrame) -> pl.DataFrame:
    ordered = episodes.sort(*BATTERY, "code", "started_at")
    group = (*BATTERY, "code")
    pause = pl.col("started_at") - pl.col("ended_at").shift(1).over(group)
    alarm = pl.col("code").str.ends_with("ALARM")
    events = (
        ordered.with_columns(event=(pause.is_null() | (pause >= LIMIT_QUIET)).cast(pl.Int64).cum_sum())
        .group_by("event", *group, maintain_order=True)
        .agg(
            started_at=pl.col("started_at").first(),
            ended_at=pl.col("ended_at").last(),
            detected_at=pl.col("detected_at").first(),
            limit=pl.col("limit").first(),
            extreme=pl.when(pl.col("code").first().str.starts_with("OVER"))
            .then(pl.col("extreme").max())
            .otherwise(pl.col("extreme").min()),
            episodes=pl.len(),
        )
    )
    return events.select(
        *BATTERY,
        pl.lit("limit").alias("family"),
        pl.col("code").alias("stream"),
        pl.col("code").alias("kind"),
        pl.lit(THRESHOLDS).alias("detector"),
        pl.when(alarm).then(pl.lit("critical")).otherwise(pl.lit("warning")).alias("severity"),
        "started_at",
        "ended_at",
        "detected_at",
        pl.when(alarm).then(ALARM_SCORE).otherwise(WARNING_SCORE).alias("score"),
        evidence=pl.struct("limit", "extreme", "episodes").map_elements(json.dumps, return_dtype=pl.String),
    )
