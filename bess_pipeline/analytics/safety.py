"""Safety: the lane that looks at every hour for what precedes a thermal runaway."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.analytics.feature_evidence import PEERS
from bess_pipeline.analytics.lanes import SAFETY
from bess_pipeline.analytics.traces import numbered
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables.anomalies import AnomalySignal
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Days that are looked at beside a day: the latest of them are no part of the reference.
REFERENCE, RECENT = timedelta(days=60), timedelta(days=7)
#: Days before a day on which its signals rest.
BEFORE = REFERENCE + RECENT + timedelta(days=1)
#: Hours that a reference needs: two weeks of them.
FEWEST = 336
#: Hours in a row that raise, and the silence that interrupts them.
HOLD, SILENCE = 3, timedelta(hours=2)
#: Intervals of 5 minutes that an hour needs.
KNOWN = 4
#: How much of an alarm is told.
LEAST = 0.5

_HOUR_US = 3_600_000_000


@dataclass(frozen=True)
class Sign:
    """One thing that precedes a thermal runaway.

    Attributes:
        column: Column of the hours.
        share: How far it must rise above the usual largest hour, in shares of that.
        margin: How far it must rise at least, in its unit.
        family: Part of the system.
        kind: What it looks like.
    """

    column: str
    share: float
    margin: float
    family: str
    kind: str


SIGNS: tuple[Sign, ...] = (
    Sign("cell_below_volt", 0.5, 0.012, "cell", "cell_falls_within_hours"),
    Sign("hot_spot_kelvin", 0.3, 0.5, "thermal", "hot_spot_within_hours"),
)


def safety_signals(hours: pl.DataFrame) -> pl.DataFrame:
    """Hours in which the lowest cell or the hottest probe is far from the average, as they never were.

    The reference of a day is the second largest hour of 60 days, about the 99.9th percentile, not counting the
    last week, which a precursor of some days would fill. What exceeds it by half of it and by 12 mV (the lowest
    cell), or by a third of it and by 0.5 K (the hottest probe), for three hours on end is raised with the
    end of the third. What most of a fleet shows in the same hour is taken off first, where there are five batteries.

    An internal short that grows for months is part of the reference by then: the daily lanes see it. An
    event without precursor, of which parked vehicles are known, is not foreseen by anything here.

    Args:
        hours: `HourlyEvidence` rows.

    Returns:
        `AnomalySignal` rows by battery, day and sign; the statistic is the excess over that of an alarm, of the
        largest three hours on end up to the end of the day.

    References:
        X. Feng et al., Thermal runaway mechanism of lithium ion battery for electric vehicles, Energy Storage
        Materials 10 (2018) 246, doi:10.1016/j.ensm.2017.05.013: internal shorts draw a cell's voltage down and
        heat it for hours to days before.
    """
    rows = hours.filter(pl.col("intervals") >= KNOWN).sort(*BATTERY, "timestamp")
    told = [_told(rows, sign) for sign in SIGNS]
    return pl.concat(told).select(AnomalySignal.column_names()).sort(*BATTERY_DAY, "feature")


def _told(rows: pl.DataFrame, sign: Sign) -> pl.DataFrame:
    known = rows.drop_nulls(sign.column)
    values = known[sign.column].to_numpy()
    found = _excess(
        numbered(known),
        known["timestamp"].to_physical().to_numpy(),
        values,
        sign.share,
        sign.margin,
        np.array([REFERENCE.days, RECENT.days, FEWEST, HOLD, SILENCE.total_seconds() * 1e6], dtype=np.int64),
    )
    excess = pl.col("excess")
    hour = ("fleet_id", "timestamp")
    shared = pl.when(excess.count().over(hour) >= PEERS).then(excess.median().over(hour).clip(lower_bound=0.0))
    held = (
        known.with_columns(
            excess=pl.Series(found[:, 0]).fill_nan(None),
            begun=pl.Series(found[:, 1]).fill_nan(None).cast(pl.Int64).cast(pl.Datetime("us", "UTC")),
        )
        .with_columns(excess - shared.fill_null(0.0))
        .filter(excess >= LEAST)
    )
    raised = pl.col("excess") >= 1.0
    return held.group_by(BATTERY_DAY, maintain_order=True).agg(
        pl.lit(SAFETY).alias("lane"),
        pl.lit("").alias("component"),
        pl.lit(sign.column).alias("feature"),
        pl.lit("up").alias("direction"),
        statistic=pl.col("excess").max(),
        family=pl.lit(sign.family),
        kind=pl.lit(sign.kind),
        severity=pl.lit("critical"),
        started_at=pl.coalesce(pl.col("begun").filter(raised).first(), pl.col("begun").first()),
        raised_at=pl.col("observed_until").filter(raised).first(),
        value=pl.col(sign.column).max(),
        z=pl.lit(None, pl.Float64),
        peers=pl.lit(None, pl.Int64),
    )


@njit(cache=True)
def _excess(series: Ints, at: Ints, values: Floats, share: float, margin: float, window: Ints) -> Floats:  # noqa: C901, PLR0912
    """Of each hour: the least excess of the hours held, and when they began [µs]; NaN while there are too few."""
    reference, recent, fewest, hold, silence = window
    out = np.full((len(values), 2), np.nan)
    span = reference + recent + 1
    largest, second = np.empty(span), np.empty(span)
    counted = np.zeros(span, dtype=np.int64)
    filled = np.full(span, -1)
    bound = np.nan
    today = -1
    first = 0
    for i in range(len(values)):
        if i == 0 or series[i] != series[i - 1]:
            filled[:] = -1
            today = -1
            first = i
        day = at[i] // (24 * _HOUR_US)
        if day != today:
            top = below = -np.inf
            found = 0
            for back in range(recent + 1, span):
                place = (day - back) % span
                if filled[place] != day - back:
                    continue
                found += counted[place]
                for value in (largest[place], second[place]):
                    if value > top:
                        top, below = value, top
                    elif value > below:
                        below = value
            bound = below if found >= fewest else np.nan
            today = day
            filled[day % span] = day
            largest[day % span] = second[day % span] = -np.inf
            counted[day % span] = 0
        place = day % span
        counted[place] += 1
        if values[i] > largest[place]:
            largest[place], second[place] = values[i], largest[place]
        elif values[i] > second[place]:
            second[place] = values[i]
        if np.isnan(bound):
            continue
        asked = max(share * bound, margin)
        least = (values[i] - bound) / asked
        begun = i
        for back in range(1, hold):
            j = i - back
            if j < first or at[j + 1] - at[j] > silence:
                least = np.nan
                break
            least = min(least, (values[j] - bound) / asked)
            begun = j
        out[i, 0] = least
        out[i, 1] = at[begun]
    return out
