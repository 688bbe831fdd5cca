"""Anomalies: what the lanes raised, as events with a life."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.advice import next_steps
from bess_pipeline.analytics.event_onsets import QUIET, STREAM, in_streams
from bess_pipeline.analytics.lanes import ALARMS, LANE_BY_NAME, THRESHOLDS, WARNS, scores
from bess_pipeline.tables.anomalies import SEVERITIES, AnomalyEvent
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Limit episodes of one code closer than this are one event.
LIMIT_QUIET = timedelta(days=7)
#: Columns that tell on which days a battery was heard; of signals, their key and what tells when events end and how
#: much they matter.
HEARD = BATTERY_DAY
READS_SIGNALS = (
    *BATTERY_DAY, "lane", "component", "feature", "direction", "family", "kind", "severity", "raised_at",
)  # fmt: skip
_EVENT = (
    *STREAM, "kind", "detector", "severity", "started_at", "ended_at", "detected_at", "score", "evidence",
)  # fmt: skip


def anomaly_events(
    signals: pl.DataFrame, episodes: pl.DataFrame, onsets: pl.DataFrame, heard: pl.DataFrame
) -> pl.DataFrame:
    """Events of all lanes that are on, each with the instant from which on it could be known.

    * What any lane raises of one battery, component and family is one event, until 21 days
      pass without. The lane that raised first is its detector; it is named by what that lane
      saw most of. Signals that are no more than info never mix with the others; those of the data
      are an event for each kind.
    * Limit episodes of one code less than a week apart are one event of family ``limit``.

    Whatever days follow, an event keeps its identity and its instant of detection; only its
    end and a rise of its severity can change.

    Args:
        signals: `READS_SIGNALS` of `AnomalySignal` rows.
        episodes: `LimitEpisode` rows.
        onsets: `EventOnset` rows.
        heard: `HEARD` of every day on which a battery was heard.

    Returns:
        `AnomalyEvent` rows by detection and identity.
    """
    lanes = [_raised_events(signals, onsets, heard), _limit_events(episodes)]
    return (
        pl.concat(lanes)
        .with_columns(component=pl.when(pl.col("component") != "").then("component"))
        .with_columns(detected_on=pl.col("detected_at").dt.date(), next_step=next_steps("family", "kind"))
        .with_columns(event_id=_identity())
        .select(AnomalyEvent.column_names())
        .sort("detected_at", "event_id")
    )


def _identity() -> pl.Expr:
    """Hash of what an event keeps; streams tell apart what one instant can raise in one family."""
    parts = pl.struct(*STREAM, pl.col("detected_at").to_physical())

    def digest(row: dict[str, object]) -> str:
        return hashlib.blake2b(json.dumps(list(row.values())).encode(), digest_size=8).hexdigest()

    return parts.map_elements(digest, return_dtype=pl.String)


def _raised_events(signals: pl.DataFrame, onsets: pl.DataFrame, heard: pl.DataFrame) -> pl.DataFrame:
    last = heard.group_by(BATTERY).agg(last_date=pl.col("date").max())
    over = pl.col("last_date") - pl.col("last_raised") > QUIET
    return (
        in_streams(signals)
        .with_columns(event=pl.col("begins").cast(pl.Int64).cum_sum())
        .group_by("event", *STREAM, maintain_order=True)
        .agg(
            pl.col("date").first(),
            severity=pl.col("severity").cast(pl.Enum(SEVERITIES)).max().cast(pl.String),
            last_raised=pl.col("date").last(),
            raised_until=pl.col("raised_at").max(),
        )
        .join(last, on=BATTERY, how="left", maintain_order="left")
        .join(onsets, on=[*STREAM, "date"], how="left", maintain_order="left")
        .with_columns(ended_at=pl.when(over).then("raised_until"))
        .select(_EVENT)
    )


def _limit_events(episodes: pl.DataFrame) -> pl.DataFrame:
    ordered = episodes.sort(*BATTERY, "code", "started_at")
    group = (*BATTERY, "code")
    pause = pl.col("started_at") - pl.col("ended_at").shift(1).over(group)
    alarm = pl.col("code").str.ends_with("ALARM")
    score = {
        code: float(scores(LANE_BY_NAME[THRESHOLDS], pl.Series([size]).to_numpy())[0])
        for code, size in ((True, ALARMS), (False, WARNS))
    }
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
    named = events.with_columns(
        component=pl.lit(""),
        family=pl.lit("limit"),
        stream="code",
        kind="code",
        detector=pl.lit(THRESHOLDS),
        severity=pl.when(alarm).then(pl.lit("critical")).otherwise(pl.lit("warning")),
        score=pl.when(alarm).then(score[True]).otherwise(score[False]),
        evidence=pl.struct("limit", "extreme", "episodes").map_elements(json.dumps, return_dtype=pl.String),
    )
    return named.select(_EVENT)
