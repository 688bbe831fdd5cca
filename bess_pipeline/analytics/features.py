"""Features of a day: one number per battery, day and aspect, beside its peers and beside its own past."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

import polars as pl

from bess_pipeline.analytics import feature_scores
from bess_pipeline.analytics.control_charts import CHART, others_median
from bess_pipeline.analytics.feature_evidence import PEERS
from bess_pipeline.analytics.memory import epoch_of
from bess_pipeline.analytics.traces import numbered
from bess_pipeline.tables.columns import NORMAL_90
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY

#: Least share of the day that a feature needs.
COVERAGE = 0.25
#: Over which time a change of the capacity is looked at.
_FOUR_WEEKS = timedelta(days=28)
#: How long before an epoch what its days are held against may lie.
BEFORE = CHART.reference + _FOUR_WEEKS


@dataclass(frozen=True)
class Meaning:
    """What a lasting move of a feature in one direction says.

    Attributes:
        family: Part of the system.
        kind: What it looks like.
        harmless: Whether it is worth knowing, but no reason to act.
    """

    family: str
    kind: str
    harmless: bool = False


@dataclass(frozen=True)
class Feature:
    """One aspect of a battery's day.

    Attributes:
        name: Name in the tables.
        unit: Unit of the value.
        floor: Least standard deviation credited, in that unit: ordinary ageing within the
            seven weeks between a day and the middle of its reference stays below it.
        sees: What the feature sees best.
        up: Meaning of a lasting rise.
        down: Meaning of a lasting fall.
        needs_peers: Whether the value says nothing without peers, because seasons and use move it.
        has_past: Whether a day is held against the battery's own past; else against zero: a change is one already.
    """

    name: str
    unit: str
    floor: float
    sees: str
    up: Meaning
    down: Meaning
    needs_peers: bool = False
    has_past: bool = True


@dataclass(frozen=True)
class DataFault:
    """One way in which a day's data can be wrong.

    Attributes:
        name: Name of the feature that measures it.
        limit: Value from which on the day is at fault.
        kind: What it looks like.
        severity: How much it matters.
    """

    name: str
    limit: float
    kind: str
    severity: str = "info"


_CELL = "cell"

#: What is watched. Voltages are per cell, resistances the voltage [V] per cell at 1 C or a logarithm.
FEATURES: tuple[Feature, ...] = (
    Feature(
        "step_resistance",
        "ln Ω/Ω",
        0.03,
        "ageing, contactor, connection: logarithm of the day's resistance over that when new, at 25 °C and 50 % charge",
        Meaning("electrical", "resistance_rise"),
        Meaning("sensor", "resistance_fall", harmless=True),
    ),
    Feature(
        "outside_cell_resistance",
        "V",
        0.002,
        "contactor, busbar: what the current adds to the battery's voltage beyond its cells'",
        Meaning("electrical", "resistance_outside_cells"),
        Meaning("electrical", "resistance_outside_cells_fall", harmless=True),
    ),
    Feature(
        "cell_loop_resistance",
        "V",
        0.002,
        "connection, weak cell: what the current adds to the spread of the cell voltages",
        Meaning("electrical", "cell_connection_resistance"),
        Meaning("electrical", "cell_connection_resistance_fall", harmless=True),
    ),
    Feature(
        "cell_low",
        "V",
        0.005,
        "internal short, weak cell: how far the lowest cell is below the average, 97th percentile",
        Meaning(_CELL, "low_cell"),
        Meaning(_CELL, "low_cell_recovers", harmless=True),
    ),
    Feature(
        "cell_high",
        "V",
        0.005,
        "imbalance, cell-voltage sensor: how far the highest cell is above the average, off the upper end",
        Meaning(_CELL, "high_cell"),
        Meaning(_CELL, "high_cell_recovers", harmless=True),
    ),
    Feature(
        "rest_spread",
        "V",
        0.002,
        "imbalance, internal short: spread of the cell voltages at rest, off the steep ends",
        Meaning(_CELL, "imbalance"),
        Meaning(_CELL, "imbalance_falls", harmless=True),
    ),
    Feature(
        "spread_p95",
        "V",
        0.005,
        "weak cell, imbalance: spread of the cell voltages, 95th percentile",
        Meaning(_CELL, "spread"),
        Meaning(_CELL, "spread_falls", harmless=True),
    ),
    Feature(
        "temperature_mean",
        "K",
        1.0,
        "cooling, temperature sensor: mean temperature beside the peers",
        Meaning("thermal", "warmer_than_peers"),
        Meaning("sensor", "colder_than_peers"),
        needs_peers=True,
    ),
    Feature(
        "temperature_over_ambient",
        "K",
        1.0,
        "cooling, temperature sensor: mean temperature above the surroundings",
        Meaning("thermal", "warmer_than_usual"),
        Meaning("sensor", "colder_than_usual"),
    ),
    Feature(
        "temperature_hot_spot",
        "K",
        0.5,
        "hot spot: hottest probe above the mean temperature, 95th percentile",
        Meaning("thermal", "hot_spot"),
        Meaning("thermal", "hot_spot_falls", harmless=True),
    ),
    Feature(
        "current_share",
        "ln C/C",
        0.004,
        "gain of the current sensor: logarithm of the current over that of the peers at the same time, median",
        Meaning("sensor", "current_above_peers"),
        Meaning("sensor", "current_below_peers"),
    ),
    Feature(
        "throughput",
        "ln C",
        0.005,
        "use beside the peers: logarithm of the mean |I| in C; info, since dispatch may share as it likes",
        Meaning("sensor", "throughput_above_peers", harmless=True),
        Meaning("sensor", "throughput_below_peers", harmless=True),
        needs_peers=True,
    ),
    Feature(
        "idle_current",
        "C",
        0.001,
        "offset of the current sensor: median current while the battery idles",
        Meaning("sensor", "current_offset"),
        Meaning("sensor", "current_offset"),
    ),
    Feature(
        "capacity",
        "ln Ah/Ah",
        0.01,
        "capacity drop: logarithm of capacity over rated capacity",
        Meaning("capacity", "capacity_gain", harmless=True),
        Meaning("capacity", "capacity_drop"),
    ),
    Feature(
        "capacity_change",
        "ln Ah/Ah",
        0.015,
        "knee, capacity drop: logarithm of capacity over that of four weeks ago, in standard errors of the latter; "
        "a loss that goes on for months is soon part of the battery's past and no longer moves `capacity`",
        Meaning("capacity", "capacity_regained", harmless=True),
        Meaning("capacity", "capacity_loss"),
        has_past=False,
    ),
    Feature(
        "round_trip_efficiency",
        "%",
        1.0,
        "resistance, leakage, current sensor: energy out over in of 30 days; info: a reference holds but three",
        Meaning("sensor", "efficiency_rise", harmless=True),
        Meaning("electrical", "efficiency_drop", harmless=True),
    ),
)

#: What can be wrong with a day's data. The limits are shares of the day's intervals or samples, or times a day: a
#: management system that sets its charge right at both ends jumps twice.
DATA_FAULTS: tuple[DataFault, ...] = (
    DataFault("current_sign_fraction", 0.05, "current_sign", severity="warning"),
    DataFault("temperature_unit_fraction", 0.05, "temperature_unit", severity="warning"),
    DataFault("soc_unit_fraction", 0.05, "soc_unit"),
    DataFault("flagged_fraction", 0.05, "values_out_of_range"),
    DataFault("still_fraction", 0.2, "channel_stands_still"),
    DataFault("soc_jumps", 2.0, "reported_charge_jumps"),
)

FEATURE_BY_NAME: dict[str, Feature] = {feature.name: feature for feature in FEATURES}
DATA_FAULT_BY_NAME: dict[str, DataFault] = {fault.name: fault for fault in DATA_FAULTS}


@dataclass(frozen=True)
class Features:
    """What days show.

    Attributes:
        features: `DailyFeature` rows.
        memory: `FeatureMemory` rows of the epochs that begin within the days.
    """

    features: pl.DataFrame
    memory: pl.DataFrame


def daily_features(
    battery_daily: pl.DataFrame,
    evidence: pl.DataFrame,
    resistances: pl.DataFrame,
    health: pl.DataFrame,
    batteries: pl.DataFrame,
    memory: pl.DataFrame | None = None,
) -> Features:
    """The features of every day, beside the peers of that day and beside the battery's own past.

    A feature is left out on days with a coverage below 0.25, where what it rests on is
    missing or flagged. `adjusted` is the value minus the median of the
    fleet's other batteries where at least five have one, else the value itself; features
    that say nothing without peers then have neither `adjusted` nor `z`. `z` compares only
    days that were adjusted alike, for the spreads of a day reached alike into the steep ends
    of the open-circuit curve, and for the resistance were measured by the same method, see
    `control_charts.robust_scores`.

    With a memory the charts are taken up at its epoch; rows of `BEFORE` it are what their references are of, and
    the capacities that these are held against.

    Args:
        battery_daily: `BatteryDaily` rows.
        evidence: `FeatureEvidence` rows.
        resistances: `ResistanceDaily` rows.
        health: `StateOfHealth` rows.
        batteries: `Battery` rows.
        memory: `FeatureMemory` rows of one epoch; none to begin at the beginning.

    Returns:
        `DailyFeature` rows by battery, day and feature, from the epoch on if there is one; all but `FEATURES` are
        `DATA_FAULTS`, which never have a `z`. And what is carried into later epochs.
    """
    epoch = epoch_of(memory)
    if epoch is not None:
        evidence = evidence.filter(pl.col("date") >= epoch - CHART.reference)
    days = (
        evidence.join(
            battery_daily.select(
                *BATTERY_DAY, "coverage_fraction", round_trip_efficiency="round_trip_efficiency_30d_percent"
            ),
            on=BATTERY_DAY,
            how="left",
        )
        .join(_capacities(health, batteries), on=BATTERY_DAY, how="left")
        .join(
            resistances.select(*BATTERY_DAY, "method", step_resistance=_day_growth()),
            on=BATTERY_DAY,
            how="left",
        )
    )
    names = [feature.name for feature in FEATURES]
    faults = [fault.name for fault in DATA_FAULTS]
    alike = ("observed_until", "depth", "height", "method", "capacity_error")
    values = (
        days.with_columns(*_withheld())
        .select(*BATTERY_DAY, *alike, *names, *faults)
        .unpivot(index=[*BATTERY_DAY, *alike], on=[*names, *faults], variable_name="feature")
        .filter(pl.col("value").is_finite())
    )
    scored, kept = feature_scores.scored(_adjusted(values), FEATURES, memory)
    if epoch is not None:
        scored = scored.filter(pl.col("date") >= epoch)
    return Features(scored.sort(*BATTERY_DAY, "feature"), kept)


def _capacities(health: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Capacity of each day, its change in four weeks, and the standard error of the capacity four weeks ago."""
    own = health.join(batteries.select(*BATTERY, "rated_capacity_ah"), on=BATTERY).select(
        *BATTERY_DAY,
        capacity=(pl.col("capacity_ah") / pl.col("rated_capacity_ah")).log(),
        error=(pl.col("soh_upper_percent") - pl.col("soh_lower_percent")) / (2 * NORMAL_90 * pl.col("soh_percent")),
    )
    then = own.select(*BATTERY, pl.col("date") + _FOUR_WEEKS, before="capacity", capacity_error="error")
    return own.join(then, on=BATTERY_DAY, how="left").select(
        *BATTERY_DAY, "capacity", "capacity_error", capacity_change=pl.col("capacity") - pl.col("before")
    )


def _day_growth() -> pl.Expr:
    """Logarithm of the day's resistance over that when new.

    Peers differ by more than what is watched for: their median would leap whenever one of
    them is not heard.
    """
    new = pl.col("resistance_ohm") / (1 + pl.col("resistance_increase_percent") / 100)
    return (pl.col("day_resistance_ohm") / new).log()


def _withheld() -> list[pl.Expr]:
    """The columns of the features, null where the day's data cannot carry them."""
    seen = pl.col("coverage_fraction").fill_null(0.0) >= COVERAGE
    in_range = pl.col("flagged_fraction").fill_null(0.0) <= DATA_FAULT_BY_NAME["flagged_fraction"].limit
    withheld = {
        "step_resistance": in_range,
        "outside_cell_resistance": in_range,
        "cell_loop_resistance": in_range,
        "cell_low": in_range,
        "cell_high": in_range,
        "rest_spread": in_range,
        "spread_p95": in_range,
        "temperature_hot_spot": pl.col("temperature_unit_fraction") == 0,
        "throughput": pl.col("coverage_fraction") >= 0.9,
    }
    return [
        pl.when(seen & withheld.get(feature.name, True)).then(pl.col(feature.name)).alias(feature.name)
        for feature in FEATURES
    ]


def _adjusted(values: pl.DataFrame) -> pl.DataFrame:
    """Values with the median of the peers of the day taken off, where there are enough."""
    # Numbers are sorted in a third of the time that names take.
    group = ("fleet_id", "of_feature", "date")
    named = {name: pl.Enum(values[name].unique().sort()) for name in ("feature", "battery_id")}
    places = {f"of_{name}": pl.col(name).cast(kind).to_physical() for name, kind in named.items()}
    ordered = values.with_columns(**places).sort(*group, "value", "of_battery_id")
    numbers = numbered(ordered, group)
    median = others_median(numbers, ordered["value"].to_numpy())
    lone = [feature.name for feature in FEATURES if feature.needs_peers]
    faults = [fault.name for fault in DATA_FAULTS]
    enough = pl.col("peers") >= PEERS - 1
    return (
        ordered.with_columns(
            pl.Series("median", median),
            peers=(pl.len().over(group, mapping_strategy="group_to_rows") - 1).cast(pl.Int64),
        )
        .with_columns(
            adjusted=pl.when(pl.col("feature").is_in(faults))
            .then(None)
            .when(enough)
            .then(pl.col("value") - pl.col("median"))
            .when(~pl.col("feature").is_in(lone))
            .then(pl.col("value"))
        )
        .drop(places)
    )
