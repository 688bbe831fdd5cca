"""What was found beside what is known: planted data faults, and the charge that really flowed."""

from __future__ import annotations

from datetime import timedelta

import polars as pl

from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import FLAGS

#: Column of a synthetic fleet that a fault struck → what its flags begin with.
_CHANNELS = {
    "bms_soc_pct": "soc",
    "current_a": "current",
    "voltage_v": "voltage",
    "cell_v_min": "cell_voltage",
    "cell_v_max": "cell_voltage",
    "temp_avg_c": "temperature",
}
#: Kind of fault → flags that tell it, where these do not depend on the column.
_FLAGS_OF = {
    "dropout": ("gap",),
    "nan": ("missing_value",),
    "freeze": ("frozen",),
    "unit_mv": ("cell_voltage_in_millivolt",),
    "shuffle": ("out_of_order",),
    "late": ("out_of_order",),
}
#: Kind of fault → kind of the repair that undoes it.
REPAIR_OF = {"unit_f": "temperature_unit", "soc_frac": "soc_unit", "sign_flip": "current_sign"}
#: Faults after which every sample must be there all the same.
_LOSSLESS = ("late", "dup", "shuffle", "resend", "clock")

_INTERVAL = timedelta(minutes=5)
_REST_RATE = 0.01


def struck_batteries(events: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """One row per planted fault and battery that it struck; faults of a site strike all of its batteries.

    Args:
        events: Data faults as planted: rack_id, scope, kind, column, t_on, t_off (naive UTC).
        batteries: `Battery` rows; a site's batteries are those of the fleet that the rack, or the site, names.

    Returns:
        fleet_id, battery_id, kind, column, begins, ends; sorted.
    """
    own = batteries.select(*BATTERY, rack=pl.col("battery_id").str.to_uppercase())
    site = batteries.select(*BATTERY, site=pl.col("fleet_id").str.to_uppercase())
    named = events.select(
        "scope",
        "kind",
        "column",
        rack=pl.col("rack_id").str.to_uppercase(),
        site=pl.col("rack_id").str.to_uppercase().str.split("-R").list.first(),
        begins=pl.col("t_on").dt.replace_time_zone("UTC"),
        ends=pl.col("t_off").dt.replace_time_zone("UTC"),
    )
    columns = (*BATTERY, "kind", "column", "begins", "ends")
    return pl.concat(
        [
            named.filter(pl.col("scope") == "rack").join(own, on="rack").select(columns),
            named.filter(pl.col("scope") == "site").join(site, on="site").select(columns),
        ]
    ).sort(*BATTERY, "begins", "ends", "kind", "column")


def flags_of(kind: str, column: str) -> tuple[str, ...]:
    """The flags any of which tells a planted fault; none where rows, or repairs, must tell.

    Examples:
        >>> flags_of("stuck", "current_a")
        ('current_stuck', 'frozen')
    """
    if kind in ("spike", "stuck"):
        channel = _CHANNELS[column]
        others = ("out_of_range",) if kind == "spike" else ()
        alone = ("frozen",) if kind == "stuck" else ()
        named = (f"{channel}_{end}" for end in (kind, *others))
        return (*named, *alone)
    return _FLAGS_OF.get(kind, ())


def flag_scores(clean: pl.DataFrame, struck: pl.DataFrame) -> pl.DataFrame:
    """How many planted faults are flagged, and how many flagged samples lie in one.

    A fault is found when a sample within it, or for gaps the one behind it, has one
    of its flags. A flagged sample is right when it lies in any fault of its battery
    that the flag tells, or in one that stills every channel.

    Args:
        clean: Key and flags of `CleanTelemetry` rows, sorted by battery and instant.
        struck: Rows of `struck_batteries`.

    Returns:
        One row per kind and column with flags of its own: `events`, `found`, `samples` flagged by those flags and
        `right` ones among them.
    """
    rows = []
    flagged = clean.filter(pl.any_horizontal(FLAGS))
    pairs = struck.select("kind", "column").unique().sort("kind", "column")
    groups = struck.group_by("kind", "column", maintain_order=True)
    for (kind, column), events in sorted(groups, key=lambda group: str(group[0])):
        flags = flags_of(str(kind), str(column))
        if not flags:
            continue
        hits = flagged.filter(pl.any_horizontal(flags)).select(*BATTERY, "timestamp")
        reach = _reach(str(kind))
        found = _within(hits, events, before=timedelta(0), after=reach)
        told = [
            name for name in pairs.iter_rows() if name[0] == "freeze" or set(flags) & set(flags_of(name[0], name[1]))
        ]
        excused = struck.join(pl.DataFrame(told, schema=pairs.schema, orient="row"), on=["kind", "column"], how="semi")
        right = _within(hits, excused, before=reach, after=reach)
        rows.append(
            {
                "kind": kind,
                "column": column,
                "events": events.height,
                "found": found.select("event").n_unique(),
                "samples": hits.height,
                "right": right.select(*BATTERY, "timestamp").n_unique(),
            }
        )
    schema = {
        "kind": pl.String,
        "column": pl.String,
        **dict.fromkeys(("events", "found", "samples", "right"), pl.Int64),
    }
    return pl.DataFrame(rows, schema=schema)


def _reach(kind: str) -> timedelta:
    """How far beyond a fault the sample may lie that tells it."""
    return timedelta(minutes=10) if kind in ("dropout", "late") else timedelta(0)


def _within(hits: pl.DataFrame, events: pl.DataFrame, *, before: timedelta, after: timedelta) -> pl.DataFrame:
    """Pairs of samples and faults that hold them."""
    spans = events.with_row_index("event").select(
        *BATTERY, "event", low=pl.col("begins") - pl.lit(before), high=pl.col("ends") + pl.lit(after)
    )
    pairs = spans.join(hits, on=BATTERY)
    return pairs.filter(pl.col("timestamp").is_between("low", "high", closed="left"))


def repair_scores(intervals: pl.DataFrame, struck: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """How much of the planted units and signs is repaired, and how much of what is repaired was planted.

    Args:
        intervals: `ClosedInterval5min` rows.
        struck: Rows of `struck_batteries`.
        batteries: `Battery` rows.

    Returns:
        One row per kind: `events`, `intervals` that lie wholly in a fault, `recovered` ones among them,
        `converted` intervals anywhere and `right` ones among those. Of wrong signs only intervals count in which the
        battery works, at 0.01 C or more: a current of nothing has no sign.
    """
    plates = batteries.select(*BATTERY, "rated_capacity_ah")
    rows = []
    for kind, repair in REPAIR_OF.items():
        events = struck.filter(kind=kind).with_row_index("event")
        rate = pl.col("current_ampere").abs() / pl.col("rated_capacity_ah")
        counts_at_all = rate >= _REST_RATE if kind == "sign_flip" else pl.lit(value=True)
        told = intervals.join(plates, on=BATTERY).filter(counts_at_all).select(*BATTERY, "timestamp", "repairs")
        spans = events.select(*BATTERY, "event", "begins", "ends").join(told, on=BATTERY)
        ends = pl.col("timestamp") + pl.lit(_INTERVAL)
        inside = spans.filter(pl.col("timestamp") >= pl.col("begins"), ends <= pl.col("ends"))
        touched = spans.filter(ends > pl.col("begins"), pl.col("timestamp") < pl.col("ends"))
        done = pl.col("repairs").fill_null("").str.contains(repair)
        rows.append(
            {
                "kind": kind,
                "events": events.height,
                "intervals": inside.height,
                "recovered": inside.filter(done).height,
                "converted": told.filter(done).height,
                "right": touched.filter(done).select(*BATTERY, "timestamp").n_unique(),
            }
        )
    counts = ("events", "intervals", "recovered", "converted", "right")
    return pl.DataFrame(rows, schema={"kind": pl.String, **dict.fromkeys(counts, pl.Int64)})


def row_scores(clean: pl.DataFrame, struck: pl.DataFrame, *, seconds: int) -> pl.DataFrame:
    """How many of the samples that were delivered late, twice, in disorder or under a wrong clock are there.

    Args:
        clean: Key of `CleanTelemetry` rows.
        struck: Rows of `struck_batteries`.
        seconds: From one sample to the next [s].

    Returns:
        One row per kind: `events`, `expected` samples (those that a dropout of the same battery took are not),
        and `present` ones.
    """
    step = timedelta(seconds=seconds)
    rows = []
    lost = struck.filter(kind="dropout").select(*BATTERY, gone="begins", back="ends")
    for kind in _LOSSLESS:
        events = struck.filter(kind=kind).with_row_index("event")
        first = pl.col("begins").dt.truncate(step).clip(lower_bound=pl.col("begins"))
        grid = events.select(
            *BATTERY,
            "event",
            timestamp=pl.datetime_ranges(
                pl.when(first == pl.col("begins")).then("begins").otherwise(first).dt.truncate(step) + pl.lit(step),
                pl.col("ends") - pl.lit(timedelta(microseconds=1)),
                interval=step,
            ),
        ).explode("timestamp", empty_as_null=True)
        due = grid.drop_nulls("timestamp").unique([*BATTERY, "timestamp"])
        taken = due.join(lost, on=BATTERY).filter(pl.col("timestamp").is_between("gone", "back", closed="left"))
        due = due.join(taken, on=[*BATTERY, "timestamp"], how="anti")
        there = due.join(clean.select(*BATTERY, "timestamp"), on=[*BATTERY, "timestamp"], how="semi")
        rows.append({"kind": kind, "events": events.height, "expected": due.height, "present": there.height})
    return pl.DataFrame(rows, schema={"kind": pl.String, **dict.fromkeys(("events", "expected", "present"), pl.Int64)})


def throughput_errors(
    daily: pl.DataFrame, truth: pl.DataFrame, racks: pl.DataFrame, batteries: pl.DataFrame
) -> pl.DataFrame:
    """Error of the charge throughput of each battery and day, without the gain of its sensor.

    Args:
        daily: `BatteryDaily` rows.
        truth: What flowed: rack_id, date, ah_chg, ah_dis.
        racks: rack_id and current_gain, which nobody can know in the field, divided out here.
        batteries: `Battery` rows.

    Returns:
        fleet_id, battery_id, date, `error_percent` of days of at least 0.1 equivalent full cycles; sorted.
    """
    true = pl.col("ah_chg") + pl.col("ah_dis")
    known = truth.join(racks.select("rack_id", "current_gain"), on="rack_id").select(
        "date", "current_gain", rack=pl.col("rack_id").str.to_uppercase(), true=true
    )
    plates = batteries.select(*BATTERY, "rated_capacity_ah", rack=pl.col("battery_id").str.to_uppercase())
    got = pl.col("charging_capacity_ah") + pl.col("discharging_capacity_ah")
    return (
        plates.join(known, on="rack")
        .filter(pl.col("true") >= 0.2 * pl.col("rated_capacity_ah"))
        .join(daily.select(*BATTERY_DAY, got=got), on=BATTERY_DAY, how="inner")
        .select(*BATTERY_DAY, error_percent=100 * (pl.col("got") / pl.col("current_gain") / pl.col("true") - 1))
        .sort(*BATTERY_DAY)
    )
