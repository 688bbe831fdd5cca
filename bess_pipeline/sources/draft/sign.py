"""Whether a positive current charges: what voltage and state of charge do while it flows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from scipy.stats import rankdata

from bess_pipeline.arrays import Floats
from bess_pipeline.sources.draft.magnitudes import quantile
from bess_pipeline.sources.draft.sample import Told
from bess_pipeline.units import US_PER_HOUR

#: A step of the current is a change by this share of its largest values within a few usual intervals.
_STEP = 0.05
_INTERVALS = 5.0
_FEWEST_STEPS = 10
_SURE, _WEAK = 0.5, 0.2
_PIECES = 400
_COARSE_PIECES = 100
#: Reported states of charge are whole percents: smaller changes tell no capacity.
_ENOUGH_PERCENT = 5


@dataclass(frozen=True)
class _Evidence:
    """A correlation that is positive where positive charges, over how many of what."""

    correlation: float
    count: int
    what: str
    of: str
    is_weak: bool = False

    @property
    def counts(self) -> bool:
        enough = _FEWEST_STEPS if abs(self.correlation) > _SURE else 5 * _FEWEST_STEPS
        return self.count >= enough and abs(self.correlation) >= _WEAK

    @property
    def said(self) -> str:
        return f"{self.what}: rank correlation {self.correlation:+.2f} over {self.count} {self.of}"


def sign(flow: pl.Series, samples: pl.DataFrame, *, step_intervals: float = _INTERVALS) -> Told:
    """Whether positive values of a current, or of a power, charge or discharge.

    Args:
        flow: Current or power, in any sign.
        samples: ``battery_id``, ``at`` [µs], and where they are known ``voltage_volt`` and ``soc_bms_percent``,
            row by row beside the flow.
        step_intervals: How many usual intervals a step may take.

    Returns:
        ``charge`` or ``discharge`` with the evidence in figures; ``TODO`` where nothing, or
        contradicting evidence, is found.
    """
    table = samples.with_columns(flow=flow).drop_nulls(["flow", "at"]).sort("battery_id", "at", maintain_order=True)
    if table.is_empty():
        return Told("TODO", "not decidable: no values", "TODO")
    known = table["flow"]
    largest = quantile(known.abs(), 0.99) or 0.0
    if largest == 0.0:
        return Told("TODO", "not decidable: it is zero throughout", "TODO")
    found = [
        evidence
        for evidence in (_steps(table, largest, step_intervals), _charge(table), _trend(table))
        if evidence is not None
    ]
    telling = [evidence for evidence in found if evidence.counts and not evidence.is_weak]
    telling = telling or [evidence for evidence in found if evidence.counts]
    said = "; ".join(evidence.said for evidence in telling or found)
    ways = {evidence.correlation > 0 for evidence in telling}
    if (quantile(known, 0.0) or 0.0) >= 0:
        one_way = "never negative: either one direction only, or another column holds the direction"
        if not telling or len(ways) > 1 or max(abs(e.correlation) for e in telling) < _SURE:
            return Told("TODO", f"{one_way}; {said or 'no steps'}", "TODO")
        said = f"{one_way}; {said}"
    if not telling:
        return Told("TODO", f"not decidable: {said or 'no steps of the current, no state of charge'}", "TODO")
    if len(ways) > 1:
        strong = max(telling, key=lambda evidence: abs(evidence.correlation))
        return Told("TODO", f"contradicting ({said}); rather {_way(strong)}", "TODO")
    strong = max(telling, key=lambda evidence: abs(evidence.correlation))
    sure = (
        "sure" if (abs(strong.correlation) > _SURE and len(telling) > 1) or abs(strong.correlation) > 0.8 else "likely"
    )
    return Told(_way(strong), said, sure)


def _way(evidence: _Evidence) -> str:
    return "charge" if evidence.correlation > 0 else "discharge"


def _steps(table: pl.DataFrame, largest: float, intervals: float) -> _Evidence | None:
    """ΔV against ΔI where the current steps: the resistance's sign."""
    if "voltage_volt" not in table.columns:
        return None
    known = table.drop_nulls("voltage_volt")
    changes = known.select(
        dt=pl.col("at").diff().over("battery_id"),
        di=pl.col("flow").diff().over("battery_id"),
        dv=pl.col("voltage_volt").diff().over("battery_id"),
    ).filter(pl.col("dt") > 0)
    usual = quantile(changes["dt"], 0.5)
    if usual is None:
        return None
    steps = changes.filter(pl.col("dt") <= intervals * pl.lit(usual), pl.col("di").abs() >= _STEP * largest)
    value = _correlation(steps["di"].to_numpy(), steps["dv"].to_numpy())
    way = "rises" if value > 0 else "falls"
    return _Evidence(value, steps.height, f"voltage {way} when it grows", "steps") if steps.height else None


def _charge(table: pl.DataFrame) -> _Evidence | None:
    """The change of the state of charge against ∫I dt over pieces of the sample."""
    if "soc_bms_percent" not in table.columns:
        return None
    known = table.drop_nulls("soc_bms_percent")
    return _pieces(known, "soc_bms_percent", "state of charge {way} with its integral")


def _trend(table: pl.DataFrame) -> _Evidence | None:
    """The change of the voltage against ∫I dt over pieces of the sample: told where nothing else is."""
    if "voltage_volt" not in table.columns:
        return None
    evidence = _pieces(table.drop_nulls("voltage_volt"), "voltage_volt", "voltage {way} with its integral")
    return None if evidence is None else replace(evidence, is_weak=True)


def _pieces(table: pl.DataFrame, column: str, what: str) -> _Evidence | None:
    if table.height < 2 * _FEWEST_STEPS:
        return None
    size = max(2, table.height // _PIECES)
    steps = (
        table.with_columns(dt=(pl.col("at").shift(-1) - pl.col("at")).over("battery_id"))
        .with_columns(dt=pl.when((pl.col("dt") > 0) & (pl.col("dt") < US_PER_HOUR)).then("dt").otherwise(0))
        .with_columns(piece=pl.int_range(pl.len()).over("battery_id") // size)
        .group_by("battery_id", "piece", maintain_order=True)
        .agg(
            through=(pl.col("flow") * pl.col("dt") / US_PER_HOUR).slice(0, pl.len() - 1).sum(),
            change=pl.col(column).last() - pl.col(column).first(),
        )
        .filter(pl.col("through") != 0)
    )
    value = _correlation(steps["through"].to_numpy(), steps["change"].to_numpy())
    return (
        _Evidence(value, steps.height, what.format(way="rises" if value > 0 else "falls"), "pieces")
        if steps.height
        else None
    )


def implied_capacity(current: pl.Series, samples: pl.DataFrame) -> float | None:
    """Charge per 100 points of the reported state of charge [Ah], the median over pieces that change it enough."""
    if "soc_bms_percent" not in samples.columns:
        return None
    table = samples.with_columns(flow=current).drop_nulls().sort("battery_id", "at", maintain_order=True)
    if table.height < 2 * _FEWEST_STEPS:
        return None
    size = max(2, table.height // _COARSE_PIECES)
    pieces = (
        table.with_columns(dt=(pl.col("at").shift(-1) - pl.col("at")).over("battery_id"))
        .with_columns(piece=pl.int_range(pl.len()).over("battery_id") // size)
        .group_by("battery_id", "piece", maintain_order=True)
        .agg(
            through=(pl.col("flow") * pl.col("dt") / US_PER_HOUR).slice(0, pl.len() - 1).sum(),
            change=pl.col("soc_bms_percent").last() - pl.col("soc_bms_percent").first(),
            longest=pl.col("dt").slice(0, pl.len() - 1).max(),
        )
        .filter(pl.col("longest") < US_PER_HOUR, pl.col("change").abs() >= _ENOUGH_PERCENT)
        .select(implied=(100 * pl.col("through") / pl.col("change")).abs())["implied"]
    )
    low, middle, high = (quantile(pieces, share) for share in (0.25, 0.5, 0.75))
    if low is None or middle is None or high is None or len(pieces) < _FEWEST_STEPS // 2:
        return None
    return middle if high - low < middle / 5 else None


def _correlation(one: Floats, other: Floats) -> float:
    """Correlation of signed ranks: no step is no change, and a single wild value counts little.

    Examples:
        >>> _correlation(np.array([1.0, -2.0]), np.array([-2.0, 40.0]))
        -1.0
    """
    first, second = (np.sign(values) * rankdata(np.abs(values)) for values in (one, other))
    scale = float(np.sqrt((first @ first) * (second @ second)))
    return float(first @ second) / scale if scale > 0 else 0.0
