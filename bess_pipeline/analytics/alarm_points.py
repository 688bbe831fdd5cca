"""Operating points of alarms: what each lane finds, and at what price, as the score that is asked for rises."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics.accuracy import WARM_UP
from bess_pipeline.analytics.known_truth import Truth
from bess_pipeline.analytics.lanes import with_scores
from bess_pipeline.tables.keys import BATTERY

#: False alarms of one battery that follow each other within so many days are one [days].
MERGED = 21.0
#: An alarm that comes so long after the end of a fault still tells it [days].
GRACE = 14.0
#: What is raised so soon after the end of a data fault may tell it, for days are looked at whole.
LASTING = timedelta(days=1)
#: Families whose events are no alarms of a battery.
NO_ALARM = ("data", "limit")
#: False alarms per healthy battery-year at which lanes are compared.
PRICES = (0.5, 0.25)

#: All lanes together; and what anybody can do without a model: raise nothing, or look at one day alone.
COMBINED, SILENCE, ONE_DAY = "combined", "nothing raised", "one-day max |z|"
#: Smallest |z| of a day that is looked at alone, and steps in which what is asked of it rises.
_LEAST_Z, _STEPS = 3.0, 120

#: Families that name a planted fault rightly.
FAMILIES_OF: dict[str, tuple[str, ...]] = {
    "isc": ("cell",),
    "weak_cell": ("cell",),
    "cooling": ("thermal",),
    "conn_res": ("electrical",),
    "contactor_res": ("electrical",),
    "current_drift": ("sensor",),
    "temp_drift": ("sensor",),
    "capacity_drop": ("capacity",),
    "knee": ("capacity",),
    "tr_precursor": ("cell", "thermal"),
}

ALARMS = pl.Schema(
    {
        "fleet_id": pl.String,
        "battery_id": pl.String,
        "lane": pl.String,
        "at": pl.Float64,
        "score": pl.Float64,
        "family": pl.String,
    }
)
WATCHED = pl.Schema(
    {
        "fleet_id": pl.String,
        "battery_id": pl.String,
        "kind": pl.String,
        "onset_day": pl.Float64,
        "end_day": pl.Float64,
        "healthy_years": pl.Float64,
    }
)
#: One row per planted data fault and battery that it struck, where anything was raised.
MISTAKEN = pl.Schema({"fleet_id": pl.String, "battery_id": pl.String, "kind": pl.String, "is_data": pl.Boolean})
POINTS = pl.Schema(
    {
        "lane": pl.String,
        "price": pl.Float64,
        "score": pl.Float64,
        "faults": pl.Int64,
        "recall": pl.Float64,
        "delay_days": pl.Float64,
        "false_alarms": pl.Int64,
        "healthy_years": pl.Float64,
        "false_per_year": pl.Float64,
        "precision": pl.Float64,
        "family_right": pl.Float64,
    }
)


@dataclass(frozen=True)
class Raised:
    """What alarms there were, and what they should have told. Rows of several fleets may be put together.

    Attributes:
        alarms: `ALARMS`: one row per alarm of a lane, `at` in days since the fleet's first.
        watched: `WATCHED`: one row per battery, with the planted fault of those that have one, and the years after the
            warm-up in which it was healthy.
        mistaken: `MISTAKEN`: data faults during which something was raised, and whether all of that was of the data.
    """

    alarms: pl.DataFrame
    watched: pl.DataFrame
    mistaken: pl.DataFrame

    @classmethod
    def of(cls, parts: Iterable[Raised]) -> Raised:
        """Several fleets together."""
        every = list(parts)
        return cls(
            pl.concat([pl.DataFrame(schema=ALARMS), *(part.alarms for part in every)]),
            pl.concat([pl.DataFrame(schema=WATCHED), *(part.watched for part in every)]),
            pl.concat([pl.DataFrame(schema=MISTAKEN), *(part.mistaken for part in every)]),
        )


def raised(
    events: pl.DataFrame,
    signals: pl.DataFrame,
    features: pl.DataFrame,
    truth: Truth,
    data_faults: pl.DataFrame | None = None,
) -> Raised:
    """The alarms of each lane from day 30 on, and those of a lane without memory.

    Alarms of all lanes together are events of severity warning or critical at the instant of their
    detection, but for those of the data and of limits: data do not wake a person, and limits have a
    table of their own. Those of a lane alone are the days on which it raised anything, whether or not
    its alarms become events, see `begun`.

    Args:
        events: `AnomalyEvent` rows.
        signals: `AnomalySignal` rows.
        features: `DailyFeature` rows; those whose largest |z| of a day exceeds 3 are the alarms of `ONE_DAY`.
        truth: Of the fleet.
        data_faults: Data faults that were planted, see `bess_pipeline.analytics.evaluation.struck_batteries`.
    """
    first = pl.lit(truth.first_day).cast(pl.Datetime("us", "UTC"))

    def day(column: str) -> pl.Expr:
        return (pl.col(column) - first).dt.total_microseconds() / 86_400e6

    wakes = pl.col("severity").is_in(["warning", "critical"])
    together = (
        events.filter(wakes, ~pl.col("family").is_in(NO_ALARM))
        .drop_nulls("battery_id")
        .select(*BATTERY, pl.lit(COMBINED).alias("lane"), "score", "family", at=day("detected_at"))
    )
    told = with_scores(signals.filter(wakes, pl.col("raised_at").is_not_null())).select(
        *BATTERY, "lane", "score", "family", at=day("raised_at")
    )
    alone = (
        features.filter(pl.col("z").abs() >= _LEAST_Z)
        .sort(*BATTERY, "date", pl.col("z").abs(), "feature", descending=[False, False, False, True, False])
        .group_by(*BATTERY, "date", maintain_order=True)
        .agg(at=day("observed_until").first(), score=pl.col("z").abs().first())
        .with_columns(lane=pl.lit(ONE_DAY), family=pl.lit(None, pl.String))
    )
    alarms = pl.concat([rows.cast(ALARMS).select(ALARMS.names()) for rows in (together, told, alone)])
    known = alarms.join(truth.batteries, on=BATTERY, how="semi").filter(pl.col("at") >= WARM_UP)
    nothing = pl.DataFrame(schema=MISTAKEN)
    return Raised(
        known,
        watched(truth),
        nothing if data_faults is None else _mistaken(events, data_faults, truth),
    )


def _mistaken(events: pl.DataFrame, data_faults: pl.DataFrame, truth: Truth) -> pl.DataFrame:
    """Data faults of healthy batteries during which, or within a day, an alarm or a remark on the data was raised."""
    told = events.filter(
        pl.col("severity").is_in(["warning", "critical"]) | (pl.col("family") == "data"), pl.col("family") != "limit"
    ).select(*BATTERY, "detected_at", "family")
    healthy = truth.batteries.filter("is_healthy")
    return (
        data_faults.join(healthy, on=BATTERY, how="semi")
        .with_row_index("fault")
        .join(told, on=BATTERY)
        .filter(pl.col("detected_at").is_between(pl.col("begins"), pl.col("ends") + LASTING))
        .group_by("fault", *BATTERY, "kind", maintain_order=True)
        .agg(is_data=(pl.col("family") == "data").all())
        .select(MISTAKEN.names())
    )


def watched(truth: Truth) -> pl.DataFrame:
    """`WATCHED` rows of a fleet: a battery is healthy from day 30 until its fault begins."""
    healthy = pl.min_horizontal(pl.col("onset_day"), pl.lit(truth.days, pl.Float64)) - WARM_UP
    return (
        truth.batteries.select(BATTERY)
        .join(truth.faults, on=BATTERY, how="left", maintain_order="left")
        .with_columns(healthy_years=healthy.clip(lower_bound=0) / 365.25)
        .cast(WATCHED)
        .select(WATCHED.names())
    )


def begun(alarms: pl.DataFrame) -> pl.DataFrame:
    """The alarms of one lane that begin: what follows another of the battery and family within 21 days goes on with it.

    Events have begun already: they are given back as they are.

    Args:
        alarms: `ALARMS` rows.
    """
    pause = pl.col("at").diff().over(*BATTERY, "family")
    ordered = alarms.sort(*BATTERY, "family", "at", "score", descending=[False] * 4 + [True])
    return ordered.filter((pl.col("lane") == COMBINED) | (pause > MERGED).fill_null(value=True))


def first_alarms(alarms: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """The first alarm of each planted fault: between its onset and 14 days after its end.

    Args:
        alarms: `ALARMS` rows of one lane.
        batteries: `WATCHED` rows.

    Returns:
        `WATCHED` rows with a fault, and `at` and `family` of the alarm, null where there is none.
    """
    faults = batteries.drop_nulls("kind")
    within = pl.col("at").is_between(pl.col("onset_day"), pl.col("end_day") + GRACE)
    found = (
        alarms.join(faults.select(*BATTERY, "onset_day", "end_day"), on=BATTERY)
        .filter(within)
        .sort(*BATTERY, "at", "score", descending=[False, False, False, True])
        .group_by(BATTERY, maintain_order=True)
        .agg(pl.col("at", "family").first())
    )
    return faults.join(found, on=BATTERY, how="left", maintain_order="left")


def false_alarms(alarms: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """How many alarms of each battery told of nothing: those of healthy batteries, and before an onset.

    What follows another within 21 days is the same; what comes after a fault counts neither way.

    Args:
        alarms: `ALARMS` rows of one lane.
        batteries: `WATCHED` rows.

    Returns:
        fleet_id, battery_id, `false_alarms` of batteries with any.
    """
    return (
        alarms.join(batteries.select(*BATTERY, "onset_day"), on=BATTERY)
        .filter(pl.col("onset_day").is_null() | (pl.col("at") < pl.col("onset_day")))
        .sort(*BATTERY, "at")
        .filter((pl.col("at").diff().over(BATTERY) > MERGED).fill_null(value=True))
        .group_by(BATTERY, maintain_order=True)
        .agg(false_alarms=pl.len().cast(pl.Int64))
    )


def operating_points(found: Raised) -> pl.DataFrame:
    """What each lane finds as it raises, and at the prices of `PRICES`.

    At a price a lane asks for the least score at which its false alarms per healthy
    battery-year stay within it.

    Returns:
        `POINTS`: all lanes together, each lane, and the lanes without effort. `price` is null as raised; `score` is the
        least that is asked for, null where no score keeps the price and nothing is left. A precision is faults found
        over these and false alarms.
    """
    lanes = found.alarms["lane"].unique().sort().to_list()
    own = [lane for lane in lanes if lane not in {COMBINED, ONE_DAY}]
    rows = []
    for lane in (COMBINED, *own, ONE_DAY):
        alarms = found.alarms.filter(lane=lane)
        if lane != ONE_DAY:
            rows.append(_point(alarms, found.watched) | {"lane": lane})
        rows += [point | {"lane": lane} for point in _priced(alarms, found.watched)]
    rows.append(_point(found.alarms.clear(), found.watched) | {"lane": SILENCE})
    return pl.DataFrame(rows, schema=POINTS)


def mistaken_share(found: Raised) -> pl.DataFrame:
    """By kind of data fault: how many raised anything, `n`, and how many of these were told as such, `told_as_data`."""
    counted = (pl.len().cast(pl.Int64).alias("n"), pl.col("is_data").sum().cast(pl.Int64).alias("told_as_data"))
    return found.mistaken.group_by("kind").agg(counted).sort("kind")


def _priced(alarms: pl.DataFrame, batteries: pl.DataFrame) -> list[dict[str, object]]:
    """One point per price, as cheap in score as the price allows."""
    scores = alarms["score"].unique().sort()
    if scores.len() > _STEPS:
        places = [round(step * (scores.len() - 1) / _STEPS) for step in range(_STEPS + 1)]
        scores = scores.gather(sorted(set(places)))
    asked = [*scores.to_list(), float("inf")]
    points = []
    for price in PRICES:
        low, high = 0, len(asked) - 1
        while low < high:
            middle = (low + high) // 2
            # A higher score raises no more alarms, but may merge fewer: within a step or two the rate falls.
            if _rate(alarms, batteries, asked[middle]) <= price:
                high = middle
            else:
                low = middle + 1
        kept = alarms.filter(pl.col("score") >= asked[low])
        least = asked[low] if asked[low] < float("inf") else None
        points.append(_point(kept, batteries) | {"price": price, "score": least})
    return points


def _rate(alarms: pl.DataFrame, batteries: pl.DataFrame, score: float) -> float:
    false = false_alarms(begun(alarms.filter(pl.col("score") >= score)), batteries)["false_alarms"].sum()
    return float(false) / max(float(batteries["healthy_years"].sum()), 1e-9)


def _point(alarms: pl.DataFrame, batteries: pl.DataFrame) -> dict[str, object]:
    alarms = begun(alarms)
    faults = first_alarms(alarms, batteries)
    seen = faults.drop_nulls("at")
    false = int(false_alarms(alarms, batteries)["false_alarms"].sum())
    years = float(batteries["healthy_years"].sum())
    right = [family in FAMILIES_OF.get(kind, ()) for kind, family in seen.select("kind", "family").iter_rows()]
    named = seen["family"].null_count() < seen.height
    return {
        "price": None,
        "score": None,
        "faults": faults.height,
        "recall": seen.height / faults.height if faults.height else None,
        "delay_days": seen.select((pl.col("at") - pl.col("onset_day")).median()).item(),
        "false_alarms": false,
        "healthy_years": years,
        "false_per_year": false / years if years else None,
        "precision": seen.height / (seen.height + false) if seen.height + false else None,
        "family_right": sum(right) / len(right) if named else None,
    }
