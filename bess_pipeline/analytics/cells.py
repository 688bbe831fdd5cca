"""Each cell of a pack against the others: the evidence of a day, from samples that hold a value per cell."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from numba import njit

from bess_pipeline.analytics.flags import LEAST_MILLIVOLT
from bess_pipeline.analytics.samples import PLAUSIBLE_CELSIUS
from bess_pipeline.analytics.telemetry import in_order
from bess_pipeline.arrays import Floats, Ints
from bess_pipeline.tables import cells as contracts
from bess_pipeline.tables.cells import TERMINALS
from bess_pipeline.tables.chemistry import CHEMISTRY
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.telemetry import CELL_LISTS, voiding

#: Largest current at rest; beyond it a battery charges or discharges [C].
REST_RATE = 0.02
#: A rest begins when the current has been that small for so long, in samples no further apart than that [µs].
REST_US, REST_GAP_US = 600_000_000, 900_000_000

#: A change of current of this share of 1 C between neighbours this far apart at most is a step.
STEP_C_RATE, STEP_US = 0.05, 60_000_000

#: A value is not to be set against itself alone.
_FEWEST = 2

#: Values held at once beyond those of a single battery and day.
_CHUNK_VALUES = 4_000_000

_UNSETTLED, _RESTING, _CHARGING, _DISCHARGING = range(4)
_COUNTS = (
    "samples", "unknown_samples", "implausible_samples", "lowest_samples", "highest_samples",
    "resting_samples", "charging_samples", "discharging_samples", "step_count",
)  # fmt: skip
_NUMBERS = (
    "value_min", "value_max", "deviation_mean", "deviation_median", "deviation_mad", "deviation_rms",
    "deviation_min", "deviation_max", "deviation_p03", "deviation_p97",
    "resting_deviation", "charging_deviation", "discharging_deviation", "resting_reference",
    "low_deviation", "high_deviation", "low_reference", "high_reference",
    "resistance_deviation_ohm", "resistance_deviation_error_ohm",
)  # fmt: skip
_COUNT, _NUMBER = len(_COUNTS), len(_NUMBERS)


def cell_evidence(clean: pl.DataFrame, batteries: pl.DataFrame, *, values_at_once: int = _CHUNK_VALUES) -> pl.DataFrame:
    """Condense the values of single cells and probes to a row per cell and day.

    A cell is set against the median of all cells at the same instant, so that what all
    share (state of charge, current, warmth) cancels; a probe against the median probe;
    the battery's voltage against the cells in series times their mean, which is the sum
    of the cells where all are known. Medians over the day and their median distances do
    not move with a few broken samples; the mean square and the extremes do.

    The resistance that a cell has above the median cell is Σ ΔI·Δd / Σ ΔI² over steps
    of the current between neighbouring samples, d being its deviation: the voltage that
    a cell lacks for want of charge drops out. For the terminals the same is the
    resistance between the cells: busbars, contactors, connections.

    Voltages above 500 are millivolts. Values that no cell or probe can have are left out
    and counted. Voltage and current are unknown where a flag voids them, and samples in
    which everything is frozen are left out.

    Args:
        clean: `CleanTelemetry` rows of one or several days, in any order.
        batteries: `Battery` rows of their batteries.
        values_at_once: Values worked on at once, beyond those of a single battery and day; a bound of the
            memory, without influence on the result.

    Returns:
        `CellEvidence` rows, sorted by fleet, battery, day, kind and place.

    Raises:
        ValueError: If a battery with cells has no nameplate.

    References:
        Median distance from the median as a robust spread: P. J. Rousseeuw, C. Croux (1993), J. Am. Stat. Assoc.
        88, 1273, doi:10.1080/01621459.1993.10476408.
    """
    empty = contracts.CellEvidence.create_empty()
    if all(clean[column].null_count() == clean.height for column in CELL_LISTS):
        return empty
    samples = in_order(clean.filter(pl.any_horizontal(pl.col(column).is_not_null() for column in CELL_LISTS)))
    context = _context(samples, batteries)
    found = [
        _evidence(samples, context, values_at_once, kind=kind, column=column)
        for kind, column in zip(("voltage", "temperature"), CELL_LISTS, strict=True)
    ]
    return pl.concat([empty, *found]).sort(*BATTERY_DAY, "kind", "position")


@dataclass(frozen=True)
class _Context:
    """What the samples are read against.

    Attributes:
        plates: A row per battery and day, in order: names, nameplate, bounds.
        starts: First sample of each battery and day, and the number of samples at the end.
        volt: Voltage of the battery [V]; NaN where unknown.
        state: What the battery does at each sample: one of the four states above.
        step: Change of the current since the sample before [A]; NaN where that is no step.
    """

    plates: pl.DataFrame
    starts: Ints
    volt: Floats
    state: npt.NDArray[np.int8]
    step: Floats


def _context(samples: pl.DataFrame, batteries: pl.DataFrame) -> _Context:
    bounds = pl.DataFrame(
        [(name, *chemistry.plausible_cell_volt) for name, chemistry in CHEMISTRY.items()],
        schema={"chemistry": pl.String, "least": pl.Float64, "most": pl.Float64},
        orient="row",
    )
    days = samples.select(pl.struct(BATTERY_DAY).rle_id().alias("series"), *BATTERY_DAY)
    counted = days.group_by("series", maintain_order=True).agg(pl.col(BATTERY_DAY).first(), rows=pl.len())
    plates = counted.join(
        batteries.join(bounds, on="chemistry", how="left"), on=BATTERY, how="left",
        maintain_order="left",
    )  # fmt: skip
    unnamed = plates.filter(pl.col("sampling").is_null())
    if unnamed.height:
        raise ValueError(f"no nameplate for {', '.join(sorted(unnamed['battery_id'].unique()))}")
    starts = np.concatenate([[0], np.cumsum(plates["rows"].to_numpy())]).astype(np.int64)
    rated = plates["rated_capacity_ah"].to_numpy(writable=True)
    current = _unless_void(samples, "current_ampere")
    steps = np.where(plates["sampling"] == "instant", STEP_C_RATE * rated, np.inf)
    time = samples["timestamp"].cast(pl.Int64).to_numpy(writable=True)
    state, step = _states(time, current, starts, REST_RATE * rated, steps)
    return _Context(plates, starts, _unless_void(samples, "voltage_volt"), state, step)


def _unless_void(samples: pl.DataFrame, channel: str) -> Floats:
    """A channel, NaN where it is unknown or one of the flags that void it is raised."""
    known = pl.when(~pl.any_horizontal(voiding(channel))).then(pl.col(channel))
    return samples.select(known).to_series().fill_null(float("nan")).to_numpy(writable=True)


def _evidence(samples: pl.DataFrame, context: _Context, values_at_once: int, *, kind: str, column: str) -> pl.DataFrame:
    """Rows of one kind, and those of the terminals beside those of the cells."""
    of_cells = kind == "voltage"
    numbers, counts, series, places = [], [], [], []
    told_of = pl.when(~pl.col("frozen")).then(pl.col(column).list.len()).fill_null(0)
    lengths = samples.select(told_of.cast(pl.Int64)).to_series().to_numpy(writable=True)
    for first, last in _chunks(context.starts, lengths, values_at_once):
        rows = slice(int(context.starts[first]), int(context.starts[last]))
        values = _matrix(samples[column][rows], lengths[rows])
        if values.shape[1] == 0:
            continue
        plates = context.plates[first:last]
        if of_cells:
            values[values > LEAST_MILLIVOLT] /= 1000
            # A copy: what Polars gives of a single battery is read only, to Numba another type.
            bounds = np.array(plates.select("least", "most").to_numpy(), order="C")
            strings = plates["cells_in_series"].to_numpy().astype(np.float64)
        else:
            bounds, strings = np.tile(np.array(PLAUSIBLE_CELSIUS), (last - first, 1)), np.full(last - first, np.nan)
        starts = context.starts[first : last + 1] - context.starts[first]
        reference = _references(values, lengths[rows], starts, bounds)
        told, count = _profiles(
            np.ascontiguousarray(values.T), lengths[rows], reference, starts, bounds, strings,
            context.volt[rows], context.state[rows], context.step[rows], of_cells,
        )  # fmt: skip
        day, place = np.nonzero(count[:, :, :3].sum(axis=2))
        numbers.append(told[day, place])
        counts.append(count[day, place])
        series.append(day + first)
        places.append(np.where(place == values.shape[1], 0, place + 1))
    if not series:
        return contracts.CellEvidence.create_empty()
    rows_of = context.plates[np.concatenate(series)]
    return _named(rows_of, np.concatenate(places), np.concatenate(counts), np.concatenate(numbers), of_cells=of_cells)


def _named(plates: pl.DataFrame, place: Ints, counts: Ints, numbers: Floats, *, of_cells: bool) -> pl.DataFrame:
    pattern, fallback = ("cell_component", "cell_*") if of_cells else ("probe_component", "probe_*")
    number = (pl.col("position") - 1 + pl.col("first_component").fill_null(1)).cast(pl.String)
    name = pl.col(pattern).fill_null(fallback).str.split("*").list
    is_terminals = pl.col("position") == 0
    kind = pl.lit("voltage" if of_cells else "temperature")
    return (
        plates.select(*BATTERY_DAY, pattern, "first_component")
        .with_columns(
            pl.Series("position", place, dtype=pl.Int64),
            *(pl.Series(column, counts[:, k], dtype=pl.Int64) for k, column in enumerate(_COUNTS)),
            *(pl.Series(column, numbers[:, k], dtype=pl.Float64).fill_nan(None) for k, column in enumerate(_NUMBERS)),
        )
        .with_columns(
            kind=pl.when(is_terminals).then(pl.lit(TERMINALS)).otherwise(kind),
            component=pl.when(is_terminals)
            .then(pl.lit(TERMINALS))
            .otherwise(pl.concat_str(name.get(0), number, name.get(1))),
        )
        .select(contracts.CellEvidence.column_names())
    )  # fmt: skip


def _chunks(starts: Ints, lengths: Ints, values_at_once: int) -> Iterator[tuple[int, int]]:
    """Ranges of battery days whose matrix holds as many values as may be held at once, one day at least."""
    widths = np.maximum.reduceat(lengths, starts[:-1])
    first, widest = 0, 0
    for day, width in enumerate(widths.tolist()):
        widest = max(widest, width)
        if day > first and (starts[day + 1] - starts[first]) * widest > values_at_once:
            yield first, day
            first, widest = day, width
    yield first, len(widths)


def _matrix(lists: pl.Series, lengths: Ints) -> Floats:
    """Lists as rows of a matrix, NaN where a value is unknown or a list is shorter than others."""
    values = np.full((len(lengths), int(lengths.max(initial=0))), np.nan)
    held = lists.filter(pl.Series(lengths > 0)).explode(empty_as_null=False)
    values[np.arange(values.shape[1]) < lengths[:, None]] = held.fill_null(float("nan")).to_numpy()
    return values


@njit(cache=True, nogil=True)
def _states(time: Ints, current: Floats, starts: Ints, rest: Floats, least_step: Floats):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """What the battery does at each sample, and the step of the current that leads to it."""
    state = np.zeros(len(time), np.int8)
    step = np.full(len(time), np.nan)
    for g in range(len(starts) - 1):
        since = -1
        for i in range(starts[g], starts[g + 1]):
            follows = i > starts[g]
            if np.isnan(current[i]):
                since = -1
                continue
            if follows and time[i] - time[i - 1] <= STEP_US and abs(current[i] - current[i - 1]) >= least_step[g]:
                step[i] = current[i] - current[i - 1]
            if current[i] > rest[g]:
                state[i], since = _CHARGING, -1
            elif current[i] < -rest[g]:
                state[i], since = _DISCHARGING, -1
            else:
                if since < 0 or time[i] - time[i - 1] > REST_GAP_US:
                    since = time[i]
                if time[i] - since >= REST_US:
                    state[i] = _RESTING
    return state, step


@njit(cache=True, nogil=True)
def _references(values: Floats, held: Ints, starts: Ints, bounds: Floats):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Median, mean, lowest, highest and number of the plausible values of each row; unknown with fewer than two."""
    out = np.full((len(values), 5), np.nan)
    known = np.empty(values.shape[1])
    for g in range(len(starts) - 1):
        for i in range(starts[g], starts[g + 1]):
            count = 0
            for j in range(held[i]):
                if bounds[g, 0] <= values[i, j] <= bounds[g, 1]:
                    known[count] = values[i, j]
                    count += 1
            if count >= _FEWEST:
                here = known[:count]
                out[i, 0], out[i, 1], out[i, 2], out[i, 3] = np.median(here), here.mean(), here.min(), here.max()
            out[i, 4] = count
    return out


@njit(cache=True, nogil=True)
def _profiles(  # type: ignore[no-untyped-def]  # noqa: ANN202, PLR0913, PLR0917
    columns: Floats, held: Ints, reference: Floats, starts: Ints, bounds: Floats, strings: Floats,
    volt: Floats, state: npt.NDArray[np.int8], step: Floats, of_cells: bool,  # noqa: FBT001
):  # fmt: skip
    """`_NUMBERS` and `_COUNTS` by battery day and place; the terminals come after the last cell."""
    width, days = len(columns), len(starts) - 1
    numbers = np.full((days, width + 1, _NUMBER), np.nan)
    counts = np.zeros((days, width + 1, _COUNT), np.int64)
    for g in range(days):
        rows = slice(starts[g], starts[g + 1])
        most = held[rows].max()
        end, ends = _ends(reference[rows, 0], state[rows])
        deviation = np.empty(starts[g + 1] - starts[g])
        for j in range(most):
            told, count = numbers[g, j], counts[g, j]
            _of_cell(columns[j, rows], held[rows], reference[rows], bounds[g], deviation, count)
            _described(deviation, columns[j, rows], state[rows], end, ends, told, count)
            if of_cells:
                _resistance(deviation, step[rows], told, count)
        if of_cells and most > 0:
            told, count = numbers[g, width], counts[g, width]
            _of_terminals(volt[rows], held[rows], reference[rows], strings[g], deviation, count)
            _described(deviation, volt[rows], state[rows], end, ends, told, count)
            _resistance(deviation, step[rows], told, count)
    return numbers, counts


@njit(cache=True, nogil=True)
def _ends(reference: Floats, state: npt.NDArray[np.int8]):  # type: ignore[no-untyped-def]  # noqa: ANN202
    """Which samples are the lowest (1) and the highest (2) tenth, and the median reference of both, and at rest."""
    end = np.zeros(len(reference), np.int8)
    medians = np.full(3, np.nan)
    known = reference[~np.isnan(reference)]
    if len(known) > 0:
        tenth = (len(known) + 9) // 10
        low = np.partition(known, tenth - 1)[tenth - 1]
        high = np.partition(known, len(known) - tenth)[len(known) - tenth]
        end = ((reference <= low) + 2 * (reference >= high)).astype(np.int8)
        medians[0], medians[1] = np.median(known[known <= low]), np.median(known[known >= high])
        known = reference[~np.isnan(reference) & (state == _RESTING)]
        if len(known) > 0:
            medians[2] = np.median(known)
    return end, medians


@njit(cache=True, nogil=True)
def _of_cell(value: Floats, held: Ints, reference: Floats, bounds: Floats, deviation: Floats, count: Ints) -> None:
    """Fill in the deviation of a cell or probe, NaN where it is not known, and count why it is not."""
    deviation[:] = np.nan
    for i in range(len(value)):
        if held[i] == 0:
            continue
        x = value[i]
        if x < bounds[0] or x > bounds[1]:
            count[2] += 1
        elif np.isnan(x) or np.isnan(reference[i, 0]):
            count[1] += 1
        else:
            deviation[i] = x - reference[i, 0]
            count[3] += x == reference[i, 2]
            count[4] += x == reference[i, 3]


@njit(cache=True, nogil=True)
def _of_terminals(
    volt: Floats, held: Ints, reference: Floats, string: float, deviation: Floats, count: Ints
) -> None:  # fmt: skip
    """Fill in what the battery's voltage has above the sum of the cells, where half of them are known."""
    deviation[:] = np.nan
    most = held.max()
    for i in range(len(volt)):
        if held[i] == 0:
            continue
        if np.isnan(volt[i]) or np.isnan(reference[i, 0]) or 2 * reference[i, 4] < most:
            count[1] += 1
        else:
            deviation[i] = volt[i] - string * reference[i, 1]


@njit(cache=True, nogil=True)
def _described(
    deviation: Floats, value: Floats, state: npt.NDArray[np.int8], end: npt.NDArray[np.int8], ends: Floats,
    told: Floats, count: Ints,
) -> None:  # fmt: skip
    """Fill in all but the resistance, in the order of `_NUMBERS` and `_COUNTS`."""
    known = ~np.isnan(deviation)
    here, values, doing, extreme = deviation[known], value[known], state[known], end[known]
    n = count[0] = len(here)
    if n == 0:
        return
    told[0], told[1] = values.min(), values.max()
    told[2], told[3] = here.mean(), np.median(here)
    told[4] = np.median(np.abs(here - told[3]))
    told[5] = np.sqrt((here * here).mean())
    told[6], told[7] = here.min(), here.max()
    rank = 3 * (n - 1) // 100
    told[8], told[9] = np.partition(here, rank)[rank], np.partition(here, n - 1 - rank)[n - 1 - rank]
    for k, activity in enumerate((_RESTING, _CHARGING, _DISCHARGING)):
        now = here[doing == activity]
        count[5 + k] = len(now)
        if len(now) > 0:
            told[10 + k] = np.median(now)
    if count[5] > 0:
        told[13] = ends[2]
    for k in range(2):
        now = here[extreme & (k + 1) > 0]
        if len(now) > 0:
            told[14 + k], told[16 + k] = np.median(now), ends[k]


@njit(cache=True, nogil=True)
def _resistance(deviation: Floats, step: Floats, told: Floats, count: Ints) -> None:
    """Fill in the slope of the deviation over steps of the current through the origin, and its standard error."""
    di_dd = di_di = dd_dd = 0.0
    for i in range(1, len(deviation)):
        change = deviation[i] - deviation[i - 1]
        if not np.isnan(step[i]) and not np.isnan(change):
            count[8] += 1
            di_dd += step[i] * change
            di_di += step[i] * step[i]
            dd_dd += change * change
    if count[8] > 0:
        told[18] = di_dd / di_di
    if count[8] > 1:
        told[19] = np.sqrt(max(dd_dd - told[18] * di_dd, 0.0) / ((count[8] - 1) * di_di))
