"""Availability: outages of the battery told from lost communication."""

from __future__ import annotations

import polars as pl

from bess_pipeline.tables.availability import Availability, PresenceEvidence
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


def availability(evidence: pl.DataFrame) -> pl.DataFrame:
    """Say for how much of each day each battery was there.

        availability = 100 · (H − unknown − outage − standstill) / (H − unknown)

    H are the hours of the day between the battery's first and last data. A silence of
    at least half an hour is told by the reported charge, which the battery management
    system goes on counting: when it moved across the silence, only communication was
    lost. When it did not, though the current before would have moved it well beyond
    that or a day went by, the battery was out. Where it is not reported, or idling
    explains that it stands, nobody knows: neither for nor against.

    A standstill is six hours without current, at a mean charge at which the battery could
    have gone both ways, in three of which the middle one of at least three others
    worked.

    Args:
        evidence: `PresenceEvidence` rows.

    Returns:
        `Availability` rows, sorted by battery and day. What becomes of a silence is known once it is over:
        until then its days have no row.

    References:
        Outages told by counters: K. Anderson, R. Blumenthal (2020), Overcoming communications outages in inverter
        downtime analysis, 47th IEEE Photovoltaic Specialists Conference.
    """
    rows = evidence.sort(*BATTERY, "started_at")
    silent = _by_day(_silences(rows))
    still = _by_day(_standstills(rows)).rename({"us": "standstill"}).drop("kind")
    kinds = {
        kind: silent.filter(kind=kind).drop("kind").rename({"us": kind})
        for kind in ("lost_communication", "outage", "unknown")
    }
    days = _presence(rows)
    for part in (*kinds.values(), still):
        days = days.join(part, on=BATTERY_DAY, how="left")
    silences = pl.sum_horizontal(*kinds)
    against = pl.col("outage") + pl.col("standstill")
    told = pl.col("there") - pl.col("unknown")
    return (
        days.with_columns(pl.col(*kinds, "standstill").fill_null(0))
        .with_columns(
            availability_percent=pl.when(told > 0).then(100 * (told - against) / told),
            observed_hours=(pl.col("there") - silences) / US_PER_HOUR,
            **{f"{name}_hours": pl.col(name) / US_PER_HOUR for name in (*kinds, "standstill")},
        )
        .select(Availability.column_names())
        .sort(BATTERY_DAY)
        .pipe(Availability.validate)
    )


def _presence(evidence: pl.DataFrame) -> pl.DataFrame:
    """Each day from first to last data of each battery, and its time between these [µs]."""
    spans = (
        evidence.filter(kind="day")
        .group_by(BATTERY, maintain_order=True)
        .agg(begins=pl.col("started_at").min(), ends=pl.col("ended_at").max())
    )
    return _by_day(spans.with_columns(kind=pl.lit("there"))).rename({"us": "there"}).drop("kind")


def _silences(evidence: pl.DataFrame) -> pl.DataFrame:
    """Silences of each battery, within its days and between them: begins, ends, kind."""
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
    return before.select(*BATTERY, begins="started_at", ends="ended_at", kind=kind)


_NEXT = {"next_at": "started_at", "next_reported": "reported_before_percent"}


def _lasted() -> pl.Expr:
    return (pl.col("ended_at") - pl.col("started_at")).dt.total_microseconds()


def _standstills(evidence: pl.DataFrame) -> pl.DataFrame:
    """Stretches, over any midnights, in which a battery stands still while the others work: begins, ends, kind."""
    goes_on = (pl.col("started_at") == pl.col("ended_at").shift()) & (pl.struct(BATTERY) == pl.struct(BATTERY).shift())
    return (
        evidence.filter(kind="idling")
        .with_columns(stretch=(~goes_on.fill_null(value=False)).cum_sum())
        .group_by(*BATTERY, "stretch", maintain_order=True)
        .agg(
            pl.col("intervals", "worked", "soc_sum_percent", "soc_known").sum(),
            begins=pl.col("started_at").first(),
            ends=pl.col("ended_at").last(),
        )
        .filter(
            pl.col("intervals") * INTERVAL_US >= SHORTEST_STANDSTILL_US,
            pl.col("worked") * INTERVAL_US >= LEAST_WORK_US,
            (pl.col("soc_sum_percent") / pl.col("soc_known")).is_between(*ABLE_PERCENT),
        )
        .select(*BATTERY, "begins", "ends", kind=pl.lit("standstill"))
    )


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
    midnight = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
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
    first, last = pl.col("begins").dt.date(), (pl.col("ends") - pl.duration(microseconds=1)).dt.date()
    midnight = pl.col("date").cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return (
        stretches.with_columns(date=pl.date_ranges(first, last))
        .explode("date")
        .with_columns(
            us=(
                pl.min_horizontal("ends", midnight + pl.duration(days=1)) - pl.max_horizontal("begins", midnight)
            ).dt.total_microseconds()
        )
        .group_by(*BATTERY_DAY, "kind")
        .agg(pl.col("us").sum())
    )
