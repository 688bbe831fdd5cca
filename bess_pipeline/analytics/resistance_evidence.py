"""What a day says of the resistance: steps of the current, or changes of 5-minute means, as logarithms with errors."""

from __future__ import annotations

import numpy as np
import polars as pl

from bess_pipeline.analytics import resistance_means as means
from bess_pipeline.analytics.anchors import HYSTERESIS_VOLT
from bess_pipeline.analytics.ocv import ocv_table, rested_charge
from bess_pipeline.analytics.traces import floats
from bess_pipeline.tables.fleet import OcvPoint
from bess_pipeline.tables.keys import BATTERY, BATTERY_DAY
from bess_pipeline.tables.resistance import ResistanceEvidence

_GAS, _REFERENCE_KELVIN = 8.314462618, 298.15
#: Scatter of single steps before any is seen [1], and the number of steps that this belief is worth.
_STEP_SIGMA, _BELIEF = 0.03, 3.0
#: And of their voltage, per cell [V].
_VOLT_SIGMA = 0.0015
#: A measurement with a larger error is none: its logarithm would lean to one side [1].
_WORST_SIGMA = 0.3
#: What measurements of one day and one third of the charge have in common, as a standard error [1].
_DAY_SIGMA = 0.01
#: What an unknown state of charge adds [1].
_CHARGE_SIGMA = 0.05
#: Steps and means count where the open-circuit curve is nearly straight, by report and by voltage [%]: beyond, it moves
#: within the minute of a step as much as the resistance does. Reports err by ten points, and LFP bends from 92 % on.
_STRAIGHT = (20.0, 80.0)
#: Cells are this much warmer than the air around them, where nobody measures them [K].
_OVER_AMBIENT = 2.0
#: How unknown the temperature is: cells, ambient, nothing.
_UNWARMED = (0.0, 0.4, 1.0)
#: Temperatures at which a resistance says anything [°C].
_WARMTH = (-40.0, 65.0)


def resistance_evidence(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """Each day's measurements of the resistance, by thirds of the state of charge.

    Where samples are instants, ΣΔI·ΔV / ΣΔI² over the steps of the current between
    neighbouring samples. Where they are means of minutes no step is seen, and the
    changes of the 5-minute mean of the voltage near a step of the mean current are
    regressed on the change of the mean current (resistance with the polarization of a
    minute) and all else that moves the voltage, see `resistance_means`. Both are
    resistances, but not the same one: growth compares like with like.

    The thirds are told by the reported state of charge; where nothing is reported, by
    the voltage less the nameplate's resistance times the current.

    Args:
        intervals: `ClosedInterval5min` rows.
        batteries: `Battery` rows.

    Returns:
        `ResistanceEvidence` rows, sorted. A day rests on its rows and those of the day before.
    """
    plates = batteries.sort(BATTERY).with_row_index("battery_index")
    rows = _owned(intervals, plates)
    found = [_of_steps(rows, plates), _of_means(rows, plates)]
    return (
        pl.concat(found)
        .filter(pl.col("variance") < _WORST_SIGMA**2)
        .select(ResistanceEvidence.column_names())
        .sort(*BATTERY_DAY, "method", "third", "unwarmed")
        .pipe(ResistanceEvidence.validate)
    )


def straight_steps(intervals: pl.DataFrame, batteries: pl.DataFrame) -> pl.DataFrame:
    """The rows whose steady steps tell of the resistance: between 20 and 80 % of charge, by report and by voltage.

    Leaving a full or an empty battery, the open-circuit voltage of LFP moves within the
    minute of a step by up to five times what the resistance does.

    Args:
        intervals: `ClosedInterval5min` rows.
        batteries: `Battery` rows.

    Returns:
        The rows, in no order, with more columns.
    """
    plates = batteries.sort(BATTERY).with_row_index("battery_index")
    return _straight_steps(_owned(intervals, plates), plates)


def _owned(intervals: pl.DataFrame, plates: pl.DataFrame) -> pl.DataFrame:
    named = plates.select(*BATTERY, "sampling", "battery_index", "rated_capacity_ah")
    return intervals.join(named, on=BATTERY, how="inner")


def _straight_steps(rows: pl.DataFrame, plates: pl.DataFrame) -> pl.DataFrame:
    return _placed(rows.filter(pl.col("step_steady_count") > 0), plates).filter(_is_straight())


def _of_steps(rows: pl.DataFrame, plates: pl.DataFrame) -> pl.DataFrame:
    stepped = _straight_steps(rows, plates).filter(_is_warm())
    weight = pl.col("step_steady_current_square_sum")
    cells = plates.select(*BATTERY, "cells_in_series")
    sums = (
        _summed(stepped, weight)
        .join(cells, on=BATTERY, how="left", maintain_order="left")
        .with_columns(ohm=pl.col("step_steady_current_voltage_sum") / pl.col("step_steady_current_square_sum"))
    )
    explained = pl.col("ohm") * pl.col("step_steady_current_voltage_sum")
    left = (pl.col("step_steady_voltage_square_sum") - explained).clip(lower_bound=0)
    noise = (_VOLT_SIGMA * pl.col("cells_in_series").fill_null(0)) ** 2
    believed = _STEP_SIGMA**2 * explained / pl.col("step_steady_count") + noise
    scatter = (_BELIEF * believed + left) / (_BELIEF + pl.col("step_steady_count") - 1)
    return _measurements(
        sums.filter(pl.col("ohm") > 0),
        variance=scatter / explained + _DAY_SIGMA**2,
        method="steps",
        steps=pl.col("step_steady_count"),
    )


def _of_means(rows: pl.DataFrame, plates: pl.DataFrame) -> pl.DataFrame:
    """One regression a day."""
    averaged = rows.filter(pl.col("sampling") == "mean").sort("battery_index", "timestamp")
    told = means.moves(_placed(averaged, plates), plates).filter(
        "tells",
        _is_warm(),
        _is_straight(),
    )
    names = (*means.CAUSES, "volt")
    products = {f"{a}*{b}": pl.col(a) * pl.col(b) for i, a in enumerate(names) for b in names[i:]}
    sums = _summed(
        told.with_columns(
            **products,
            third=pl.lit(0, pl.Int64),
            step_steady_count=(pl.col("turn").abs() >= means.STEP_RATE).cast(pl.Int64),
            rows=1.0,
        ),
        pl.col("turn") ** 2,
        *products,
        "rows",
    )
    square = np.stack(
        [
            np.stack([floats(sums[f"{names[min(i, j)]}*{names[max(i, j)]}"]) for j in range(len(names))], axis=1)
            for i in range(len(names))
        ],
        axis=1,
    )
    own = sums.select(BATTERY).join(plates, on=BATTERY, how="left", maintain_order="left")
    gap = own["chemistry"].replace_strict(HYSTERESIS_VOLT, return_dtype=pl.Float64).to_numpy()
    found = means.slopes(square, floats(sums["rows"]), gap)
    ohm = found.volt_per_rate * means.cells(own) / floats(own["rated_capacity_ah"])
    return _measurements(
        sums.with_columns(ohm=pl.Series(ohm), relative=pl.Series(found.relative_variance)).filter(
            pl.col("ohm") > 0, pl.col("step_steady_count") > 0
        ),
        variance=pl.col("relative") + _DAY_SIGMA**2,
        method="means",
        steps=pl.col("step_steady_count"),
    )


def _placed(rows: pl.DataFrame, plates: pl.DataFrame) -> pl.DataFrame:
    """Rows with state of charge and temperature, and how well the latter is known."""
    index = rows["battery_index"].to_numpy().astype(np.int64)
    cells = floats(plates["cells_in_series"])[index]
    ohm = np.nan_to_num(floats(plates["resistance_ohm"]))[index]
    current = np.nan_to_num(floats(rows["current_ampere"]))
    with np.errstate(divide="ignore", invalid="ignore"):
        volt = (floats(rows["voltage_volt"]) - ohm * current) / cells
    volt = np.where(np.isfinite(volt), volt, np.nan)
    table = ocv_table(plates, OcvPoint.create_empty())
    by_voltage = rested_charge(volt, index, table, sigma_volt=np.full(len(volt), 0.01)).soc_percent
    ambient = pl.col("ambient_temperature_celsius") + _OVER_AMBIENT
    air = pl.col("temperature_celsius").is_null()
    told = pl.coalesce("soc_bms_percent", "by_voltage").clip(0, 100)
    return (
        rows.with_columns(pl.Series("by_voltage", by_voltage).fill_nan(None))
        .with_columns(
            soc=told,
            celsius=pl.coalesce("temperature_celsius", ambient),
            unwarmed=pl.when(~air)
            .then(_UNWARMED[0])
            .when(ambient.is_not_null())
            .then(_UNWARMED[1])
            .otherwise(_UNWARMED[2]),
        )
        .with_columns(third=(pl.col("soc") * 3 / 100).floor().clip(0, 2).fill_null(3).cast(pl.Int64))
    )


def _is_warm() -> pl.Expr:
    return pl.col("celsius").is_null() | pl.col("celsius").is_between(*_WARMTH)


def _is_straight() -> pl.Expr:
    return pl.all_horizontal(pl.col("soc", "by_voltage").is_between(*_STRAIGHT).fill_null(value=True))


def _summed(rows: pl.DataFrame, weight: pl.Expr, *names: str) -> pl.DataFrame:
    """Sums over battery, day, third and kind of temperature; means of charge and temperature by weight."""

    def mean(value: pl.Expr) -> pl.Expr:
        known = weight.filter(value.is_not_null())
        return pl.when(known.sum() > 0).then((value * weight).sum() / known.sum())

    steps = (
        "step_steady_count",
        "step_steady_current_voltage_sum",
        "step_steady_current_square_sum",
        "step_steady_voltage_square_sum",
    )
    share = pl.col("soc") / 100 - 0.5
    return (
        rows.sort(*BATTERY, "timestamp")
        .group_by(*BATTERY_DAY, "third", "unwarmed", maintain_order=True)
        .agg(
            pl.col(*dict.fromkeys((*steps, *names))).sum(),
            charge=mean(share),
            charge_square=mean(share**2),
            celsius=mean(pl.col("celsius")),
        )
        .filter(weight > 0 if not names else pl.col("turn*turn") > 0)
    )


def _measurements(sums: pl.DataFrame, *, variance: pl.Expr, method: str, steps: pl.Expr) -> pl.DataFrame:
    cold = 1e4 / _GAS * (1 / (pl.col("celsius") + 273.15) - 1 / _REFERENCE_KELVIN)
    blind = pl.col("charge").is_null()
    return sums.select(
        *BATTERY,
        "date",
        "third",
        method=pl.lit(method),
        log_resistance=pl.col("ohm").log(),
        variance=variance + pl.when(blind).then(_CHARGE_SIGMA**2).otherwise(0.0),
        cold=cold.fill_null(0.0),
        charge=pl.col("charge").fill_null(0.0),
        charge_square=pl.col("charge_square").fill_null(0.0),
        unwarmed="unwarmed",
        steps=steps.cast(pl.Float64),
        celsius="celsius",
        ohm="ohm",
    )
