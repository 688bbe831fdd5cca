"""Availability: outages of the battery told from lost communication."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from bess_pipeline.analytics.memory import epoch_of, epochs_within
from bess_pipeline.tables.availability import (
    EDGES,
    INTERRUPTIONS,
    SILENCES,
    Availability,
    Interruption,
    PresenceEvidence,
    PresenceMemory,
)
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import INTERVAL_US
from bess_pipeline.units import US_PER_DAY, US_PER_HOUR

#: Shorter silences are no outages [µs].
SHORTEST_SILENCE_US = 1_800_000_000
#: Reported charge has moved when it differs by so many points, and by so many more for each day of self-discharge [%].
MOVED_PERCENT, MOVED_PERCENT_PER_DAY = 1.0, 0.1
#: It should have moved when the current before would have moved it by so many times that, and in any silence of so
#: many days.
SURE, LONG_DAYS = 3.0, 1.0

#: A battery stands still below this magnitude of the current [C] for at least so long [µs] ...
STILL_RATE, SHORTEST_STANDSTILL_US = 0.002, 6 * 3_600_000_000
#: ... while at least so many others are seen and the middle one of them works [C], for at least so much of the time.
LEAST_PEERS, PEER_RATE, LEAST_WORK_US = 3, 0.05, 3 * 3_600_000_000
#: Between these it could both charge and discharge [%].
ABLE_PERCENT = (15.0, 85.0)


def presence_evidence(telemetry: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Condense each battery's day to what says whether it was there.

    Args:
        telemetry: `Telemetry5min` rows of a fleet.
        batteries: `Battery` rows.

    Returns:
        `PresenceEvidence` rows, sorted. A day rests on itself.
    """
    rows = (
        telemetry.select(*BATTERY_DAY, "timestamp", "current_ampere", "power_watt", "soc_percent", "soc_bms_percent")
        .join(batteries.select(*BATTERY, "rated_capacity_ah", "rated_energy_wh"), on=BATTERY, how="inner")
        .sort(*BATTERY, "timestamp")
        .with_columns(
            rate=pl.coalesce(
                pl.col("current_ampere") / pl.col("rated_capacity_ah"), pl.col("power_watt") / pl.col("rated_energy_wh")
            ).abs()
        )
    )
    pieces = (_day_pieces(rows), _silent_pieces(rows), _idle_pieces(rows))
    nothing = PresenceEvidence.create_empty()
    return (
        pl.concat([nothing, *pieces], how="diagonal")
        .with_columns(pl.col("intervals", "worked", "soc_known").fill_null(0))
        .select(nothing.columns)
        .sort(*BATTERY_DAY, "kind", "started_at")
        .pipe(PresenceEvidence.validate)
    )


@dataclass(frozen=True)
class Interrupted:
    """What was found.

    Attributes:
        interruptions: `Interruption` rows, sorted by battery, begin and kind.
        memory: `PresenceMemory` rows of the epochs that begin within the evidence.
    """

    interruptions: pl.DataFrame
    memory: pl.DataFrame


def interruptions(evidence: pl.DataFrame, memory: pl.DataFrame | None = None) -> Interrupted:
    """Find when each battery was silent, and when it stood still.

    A silence of at least half an hour is told by the reported charge, which the battery
    management system goes on counting: when it moved across the silence, only communication
    was lost. When it did not, though the current before would have moved it well beyond
    that or a day went by, the battery was out. Where it is not reported, or idling
    explains that it stands, nobody knows. What becomes of a silence is known once it is over.

    A standstill is six hours without current, at a mean charge at which the battery could
    have gone both ways, in three of which the middle one of at least three others
    worked.

    Args:
        evidence: `PresenceEvidence` rows in any order; with a memory, those from its epoch on.
        memory: `PresenceMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        All that was not settled before the epoch.

    References:
        Outages told by counters: K. Anderson, R. Blumenthal (2020), Overcoming communications outages in inverter
        downtime analysis, 47th IEEE Photovoltaic Specialists Conference.
    """
    carried = PresenceMemory.create_empty() if memory is None else memory
    rows = pl.concat([carried, evidence.select(carried.columns)]).sort(*BATTERY, "started_at")
    days, idling = rows.filter(kind="day"), _added_up(rows.filter(kind="idling"))
    found = [_silences(rows), _standstills(idling, days), _edges(days, carried)]
    told = pl.concat(found, how="diagonal").select(Interruption.column_names())
    epochs = epochs_within(evidence["date"], epoch_of(carried))
    return Interrupted(
        told.sort(*BATTERY, "started_at", "kind").pipe(Interruption.validate), _remembered(days, idling, epochs)
    )


def availability(evidence: pl.DataFrame, interruptions: pl.DataFrame) -> pl.DataFrame:
    """Say for how much of each day each battery was there.

        availability = 100 · (H − unknown − outage − standstill) / (H − unknown)

    H are the hours of the day between the battery's first and last data. Silences that
    nothing tells anything of count neither for nor against.

    Args:
        evidence: `PresenceEvidence` rows.
        interruptions: `Interruption` rows.

    Returns:
        `Availability` rows, sorted by battery and day, of all days with data and all that a silence covers: until it
        is over its days have no row.
    """
    hours = _by_day(interruptions)
    silent = hours.filter(pl.col("kind").is_in(SILENCES))
    us = hours.group_by(BATTERY_DAY).agg(pl.col("us").filter(kind=kind).sum().alias(kind) for kind in INTERRUPTIONS)
    days = pl.concat([evidence.filter(kind="day").select(BATTERY_DAY), silent.select(BATTERY_DAY)]).unique()
    there = US_PER_DAY - pl.sum_horizontal(EDGES)
    against = pl.col("outage") + pl.col("standstill")
    told = there - pl.col("unknown")
    return (
        days.join(us, on=BATTERY_DAY, how="left")
        .with_columns(pl.col(INTERRUPTIONS).fill_null(0))
        .with_columns(
            availability_percent=pl.when(told > 0).then(100 * (told - against) / told),
            observed_hours=(there - pl.sum_horizontal(SILENCES)) / US_PER_HOUR,
            **{f"{name}_hours": pl.col(name) / US_PER_HOUR for name in (*SILENCES, "standstill")},
        )
        .select(Availability.column_names())
        .sort(BATTERY_DAY)
        .pipe(Availability.validate)
    )


def _silences(evidence: pl.DataFrame) -> pl.DataFrame:
    """Silences of each battery, within its days and between them; what is known then is settled."""
    following = {name: pl.col(of).shift(-1).over(BATTERY) for name, of in _NEXT.items()}
    between = (
        evidence.filter(kind="day")
        .with_columns(
            **following, started_at=pl.col("ended_at"), reported_before_percent=pl.col("reported_after_percent")
        )
        .with_columns(ended_at="next_at", reported_after_percent="next_reported")
        .drop(_NEXT)
        .filter(_lasted() >= SHORTEST_SILENCE_US)
    )
    before = pl.concat([evidence.filter(kind="silence"), between]).with_columns(silence_us=_lasted())
    days = pl.col("silence_us") / US_PER_DAY
    change = (pl.col("reported_after_percent") - pl.col("reported_before_percent")).abs()
    expected = 100 * pl.col("rate") * pl.col("silence_us") / US_PER_HOUR
    in_row = 100 * pl.col("rate") / 12
    least = MOVED_PERCENT + MOVED_PERCENT_PER_DAY * days + in_row.fill_null(0.0)
    kind = (
        pl.when(change.is_null())
        .then(pl.lit("unknown"))
        .when(change >= least)
        .then(pl.lit("lost_communication"))
        .when((expected >= SURE * least).fill_null(value=False) | (days >= LONG_DAYS))
        .then(pl.lit("outage"))
        .otherwise(pl.lit("unknown"))
    )
    return before.select(*BATTERY, "started_at", "ended_at", settled_at="ended_at", kind=kind)


_NEXT = {"next_at": "started_at", "next_reported": "reported_before_percent"}


def _lasted() -> pl.Expr:
    return (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds()


def _added_up(idling: pl.DataFrame) -> pl.DataFrame:
    """Pieces of idling, each as all of its stretch up to its end: a stretch goes on over any midnights."""
    goes_on = (pl.col("started_at") == pl.col("ended_at").shift()) & (pl.struct(BATTERY) == pl.struct(BATTERY).shift())
    return idling.with_columns(stretch=(~goes_on.fill_null(value=False)).cum_sum()).with_columns(
        # One after the other, so that sums are the same to the last digit wherever they are taken up.
        pl.col("intervals", "worked", "soc_sum_percent", "soc_known").cum_sum().over("stretch"),
        started_at=pl.col("started_at").first().over("stretch"),
    )


def _standstills(idling: pl.DataFrame, days: pl.DataFrame) -> pl.DataFrame:
    """Stretches in which a battery stands still while the others work; one that data end with is not settled."""
    following = days.select(*BATTERY, settled_at="started_at").sort("settled_at")
    return (
        idling.group_by("stretch", maintain_order=True)
        .last()
        .filter(
            pl.col("intervals") * INTERVAL_US >= SHORTEST_STANDSTILL_US,
            pl.col("worked") * INTERVAL_US >= LEAST_WORK_US,
            (pl.col("soc_sum_percent") / pl.col("soc_known")).is_between(*ABLE_PERCENT),
        )
        .sort("ended_at")
        .join_asof(
            following,
            left_on="ended_at",
            right_on="settled_at",
            by=list(BATTERY),
            strategy="forward",
            check_sortedness=False,
        )
        .select(
            *BATTERY,
            "started_at",
            "ended_at",
            # What ends within a day is settled by the rest of that day.
            settled_at=pl.when(_midnight("ended_at") == pl.col("ended_at")).then("settled_at").otherwise("ended_at"),
            kind=pl.lit("standstill"),
        )
    )


def _edges(days: pl.DataFrame, carried: pl.DataFrame) -> pl.DataFrame:
    """What the first day of each battery lacks before its first data, and the last one after its last."""
    by_battery = days.group_by(BATTERY, maintain_order=True)
    before = by_battery.first().join(carried, on=BATTERY, how="anti", maintain_order="left")
    after = by_battery.last()
    return pl.concat(
        [
            before.select(
                *BATTERY,
                started_at=_midnight("started_at"),
                ended_at="started_at",
                settled_at="started_at",
                kind=pl.lit("before_first"),
            ),
            after.select(
                *BATTERY,
                started_at="ended_at",
                ended_at=_midnight("started_at") + pl.duration(days=1),
                settled_at=pl.lit(None, pl.Datetime("us", "UTC")),
                kind=pl.lit("after_last"),
            ),
        ]
    ).filter(pl.col("ended_at") > pl.col("started_at"))


def _remembered(days: pl.DataFrame, idling: pl.DataFrame, epochs: Sequence[date]) -> pl.DataFrame:
    """`PresenceMemory` rows: the last day of each battery before each epoch, and the idling that it ended with."""
    begins = pl.DataFrame({"epoch": epochs}, schema={"epoch": pl.Date}).with_columns(at=_midnight("epoch"))
    last = (
        days.select(BATTERY)
        .unique()
        .join(begins, how="cross")
        .sort("at")
        .join_asof(
            days.sort("started_at"), left_on="at", right_on="started_at", by=list(BATTERY), allow_exact_matches=False,
            coalesce=False, check_sortedness=False,
        )
        .drop_nulls("started_at")
    )  # fmt: skip
    at_end = last.filter(_midnight("ended_at") == pl.col("ended_at")).select(*BATTERY, "epoch", "ended_at")
    idle = at_end.join(idling, on=[*BATTERY, "ended_at"])
    return (
        pl.concat(frame.with_columns(date="epoch").select(PresenceMemory.column_names()) for frame in (last, idle))
        .sort(*BATTERY_DAY, "kind", "started_at")
        .pipe(PresenceMemory.validate)
    )


def _midnight(column: str) -> pl.Expr:
    """The midnight at which the day of an instant begins."""
    return pl.col(column).cast(pl.Date).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")


def _day_pieces(rows: pl.DataFrame) -> pl.DataFrame:
    """Each day from its first to its last row."""
    return rows.group_by(BATTERY_DAY, maintain_order=True).agg(
        pl.col("rate").last(),
        kind=pl.lit("day").first(),
        started_at=pl.col("timestamp").first(),
        ended_at=pl.col("timestamp").last() + pl.duration(microseconds=INTERVAL_US),
        reported_before_percent=pl.col("soc_bms_percent").first(),
        reported_after_percent=pl.col("soc_bms_percent").last(),
    )


def _silent_pieces(rows: pl.DataFrame) -> pl.DataFrame:
    """Silences of at least half an hour within a day."""
    return (
        rows.with_columns(
            started_at=pl.col("timestamp") + pl.duration(microseconds=INTERVAL_US),
            ended_at=pl.col("timestamp").shift(-1).over(BATTERY_DAY),
            reported_after_percent=pl.col("soc_bms_percent").shift(-1).over(BATTERY_DAY),
        )
        .filter(_lasted() >= SHORTEST_SILENCE_US)
        .select(
            *BATTERY_DAY, "started_at", "ended_at", "rate", "reported_after_percent",
            kind=pl.lit("silence"), reported_before_percent="soc_bms_percent",
        )
    )  # fmt: skip


def _idle_pieces(rows: pl.DataFrame) -> pl.DataFrame:
    """Stretches without current that last for hours, or reach a midnight, beyond which they may go on."""
    known = rows.drop_nulls("rate")
    peers = known.group_by("fleet_id", "timestamp").agg(seen=pl.len(), middle=pl.col("rate").median())
    idle = pl.col("rate") < STILL_RATE
    goes_on = (
        (pl.col("timestamp").diff() == pl.duration(microseconds=INTERVAL_US))
        & (pl.struct(BATTERY_DAY) == pl.struct(BATTERY_DAY).shift())
        & (idle == idle.shift())
    )
    soc = pl.coalesce("soc_percent", "soc_bms_percent")
    midnight = _midnight("date")
    return (
        known.join(peers, on=["fleet_id", "timestamp"], how="left", maintain_order="left")
        .with_columns(
            stretch=(~goes_on.fill_null(value=False)).cum_sum(),
            work=(pl.col("middle") >= PEER_RATE) & (pl.col("seen") - 1 >= LEAST_PEERS),
        )
        .filter(idle)
        .group_by(*BATTERY_DAY, "stretch", maintain_order=True)
        .agg(
            kind=pl.lit("idling").first(),
            started_at=pl.col("timestamp").first(),
            ended_at=pl.col("timestamp").last() + pl.duration(microseconds=INTERVAL_US),
            intervals=pl.len().cast(pl.Int64),
            worked=pl.col("work").sum().cast(pl.Int64),
            soc_sum_percent=soc.sum(),
            soc_known=soc.count().cast(pl.Int64),
        )
        .filter(
            (_lasted() >= SHORTEST_STANDSTILL_US)
            | (pl.col("started_at") == midnight)
            | (pl.col("ended_at") == midnight + pl.duration(days=1))
        )
        .drop("stretch")
    )


def _by_day(stretches: pl.DataFrame) -> pl.DataFrame:
    """Stretches cut at midnights and added up by battery, day and kind [µs]."""
    first, last = pl.col("started_at").dt.date(), (pl.col("ended_at") - pl.duration(microseconds=1)).dt.date()
    midnight = _midnight("date")
    return (
        stretches.with_columns(date=pl.date_ranges(first, last))
        .explode("date")
        .with_columns(
            us=(
                pl.min_horizontal("ended_at", midnight + pl.duration(days=1))
                - pl.max_horizontal("started_at", midnight)
            ).dt.total_microseconds()
        )
        .group_by(*BATTERY_DAY, "kind")
        .agg(pl.col("us").sum())
    )
