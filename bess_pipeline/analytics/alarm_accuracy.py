"""How well battery alarms tell the battery faults that were planted, and how often they tell of nothing."""

from __future__ import annotations

import polars as pl

from bess_pipeline.analytics.accuracy import errors
from bess_pipeline.analytics.alarm_points import COMBINED, Raised, begun, false_alarms, first_alarms
from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.analytics.lanes import SAFETY
from bess_pipeline.tables.keys import BATTERY

#: Planted fault that precedes a thermal runaway; how long before the trip it has to be seen [days].
PRECURSOR, WARNED = "tr_precursor", 3.0
HOURS = 24.0


def alarm_errors(found: Raised, truth: Truth) -> pl.DataFrame:
    """Hold the alarms of all lanes together against planted battery faults.

    Args:
        found: Alarms of the fleet.
        truth: Of the fleet.

    Returns:
        `ERRORS`: `alarm_found` (1 or 0) and `alarm_delay` [days] of each fault, `kind` the kind of fault;
        `alarm_false`, number of false alarms weighted by the healthy years of each battery; of precursors of a thermal
        runaway, by the safety lane alone: `precursor_found` (1 or 0) at least 72 hours before the trip,
        `precursor_delay` and `precursor_lead` [hours].
    """
    alarms = found.alarms.filter(lane=COMBINED)
    faults = first_alarms(alarms, found.watched)
    false = found.watched.join(false_alarms(alarms, found.watched), on=BATTERY, how="left")
    counts = false.select(*BATTERY, value=pl.col("false_alarms").fill_null(0), weight="healthy_years")
    first = pl.col("at")
    delay = first - pl.col("onset_day")
    safety = found.alarms.filter(lane=SAFETY)
    precursors = first_alarms(begun(safety), found.watched.filter(pl.col("kind") == PRECURSOR))
    lead = pl.col("end_day") - first
    of_precursors = {
        "precursor_found": (lead >= WARNED).fill_null(value=False),
        "precursor_delay": HOURS * delay,
        "precursor_lead": HOURS * lead,
    }
    return pl.concat(
        [
            errors(faults.select(*BATTERY, "kind", value=first.is_not_null()), truth, "alarm_found", healthy=False),
            errors(faults.select(*BATTERY, "kind", value=delay), truth, "alarm_delay", healthy=False),
            errors(counts, truth, "alarm_false", healthy=False),
            *(
                errors(precursors.select(*BATTERY, "kind", value=value), truth, metric, healthy=False)
                for metric, value in of_precursors.items()
            ),
        ]
    )
