"""How well battery alarms tell the battery faults that were planted, and how often they tell of nothing."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.accuracy import WARM_UP, errors
from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.tables.keys import BATTERY

#: False alarms of one battery that follow each other within so many days are one [days].
_MERGED = 21.0
#: An alarm that comes so long after the end of a fault still tells it [days].
_GRACE = 14.0
#: Families whose events are no alarms of a battery.
_NO_ALARM = ("data", "limit")


def alarm_errors(events: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Hold battery alarms against planted battery faults.

    Alarms are events of severity warning or critical that are neither of the data nor
    of a limit, from day 30 on, at the instant of their detection. A fault is found by
    the first alarm of its battery between its onset and 14 days after its end.
    Alarms of healthy batteries, and of others before the onset, are false; those
    that follow another within 21 days are the same; those after the fault count
    neither way.

    Args:
        events: `AnomalyEvent` rows.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `alarm_found` (1 or 0) and `alarm_delay` [days] of each fault, `kind` the kind of fault;
        `alarm_false`, number of false alarms weighted by the healthy years of each battery.
    """
    first = pl.lit(truth.first_day).cast(pl.Datetime("us", "UTC"))
    at = (pl.col("detected_at") - first).dt.total_microseconds() / 86_400e6
    of = truth.batteries.select(BATTERY).join(truth.faults, on=BATTERY, how="left")
    raised = (
        events.filter(pl.col("severity").is_in(["warning", "critical"]), ~pl.col("family").is_in(_NO_ALARM))
        .drop_nulls("battery_id")
        .select(*BATTERY, at=at)
        .filter(pl.col("at") >= WARM_UP)
        .join(of, on=BATTERY)
        .sort(*BATTERY, "at")
    )
    within = pl.col("at").is_between(pl.col("onset_day"), pl.col("end_day") + _GRACE)
    found = raised.filter(within).group_by(BATTERY).agg(first=pl.col("at").min())
    faults = truth.faults.join(found, on=BATTERY, how="left")
    false = (
        raised.filter(pl.col("onset_day").is_null() | (pl.col("at") < pl.col("onset_day")))
        .filter((pl.col("at").diff().over(BATTERY) > _MERGED).fill_null(value=True))
        .group_by(BATTERY)
        .agg(value=pl.len())
    )
    healthy = pl.min_horizontal(pl.col("onset_day"), pl.lit(truth.days, pl.Float64)) - WARM_UP
    counts = of.join(false, on=BATTERY, how="left").select(
        *BATTERY, pl.col("value").fill_null(0), weight=healthy.clip(lower_bound=0) / 365.25
    )
    first_alarm = pl.col("first")
    delay = first_alarm - pl.col("onset_day")
    return pl.concat(
        [
            errors(
                faults.select(*BATTERY, "kind", value=first_alarm.is_not_null()), truth, "alarm_found", healthy=False
            ),
            errors(faults.select(*BATTERY, "kind", value=delay), truth, "alarm_delay", healthy=False),
            errors(counts, truth, "alarm_false", healthy=False),
        ]
    )
