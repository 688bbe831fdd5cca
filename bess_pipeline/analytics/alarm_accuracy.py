"""How well battery alarms tell the battery faults that were planted, and how often they tell of nothing."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.accuracy import errors
from bess_pipeline.analytics.alarm_points import COMBINED, Raised, false_alarms, first_alarms
from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.tables.keys import BATTERY


def alarm_errors(found: Raised, truth: Truth) -> pl.DataFrame:
    """Hold the alarms of all lanes together against planted battery faults.

    Args:
        found: Alarms of the fleet.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `alarm_found` (1 or 0) and `alarm_delay` [days] of each fault, `kind` the kind of fault;
        `alarm_false`, number of false alarms weighted by the healthy years of each battery.
    """
    alarms = found.alarms.filter(lane=COMBINED)
    faults = first_alarms(alarms, found.watched)
    false = found.watched.join(false_alarms(alarms, found.watched), on=BATTERY, how="left")
    counts = false.select(*BATTERY, value=pl.col("false_alarms").fill_null(0), weight="healthy_years")
    first = pl.col("at")
    delay = first - pl.col("onset_day")
    return pl.concat(
        [
            errors(faults.select(*BATTERY, "kind", value=first.is_not_null()), truth, "alarm_found", healthy=False),
            errors(faults.select(*BATTERY, "kind", value=delay), truth, "alarm_delay", healthy=False),
            errors(counts, truth, "alarm_false", healthy=False),
        ]
    )
