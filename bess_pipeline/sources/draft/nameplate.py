"""What a sample tells about the battery itself: how many cells, and perhaps which chemistry."""

from __future__ import annotations

import numpy as np
import polars as pl

from bess_pipeline.sources.draft.magnitudes import quantile
from bess_pipeline.sources.draft.match import Matched
from bess_pipeline.sources.draft.sample import Told
from bess_pipeline.tables.chemistry import CHEMISTRY

#: No cell is charged above this [V].
_SINGLE_CELL_VOLT = 5.2
_CLOSE = 0.02
#: Voltage sensors that agree like this tell the number of cells.
_NEAR_CELLS = 0.4
_NO_CELL_VOLT = 0.5
#: Batteries of one chemistry do not differ like this in the middle of their cells' voltages [V].
_APART_VOLT = 0.9
_BEYOND = 0.1
#: Resting cells lie this close to the curve of their chemistry, and never this far [V].
_NEAR_VOLT, _FAR_VOLT = 0.03, 0.15
_FEWEST_RESTING = 30
#: The end of charge of LFP, and a little more [V].
_ABOVE_LFP_VOLT = 3.75
#: Where LFP is for most of its charge [V].
_PLATEAU_VOLT = (3.2, 3.36)


def cells_in_series(found: Matched, battery: pl.Series) -> Told:
    """How many cells a battery has: counted, or pack voltage over cell voltage; ``TODO`` where neither is there.

    Args:
        found: What was recognized.
        battery: Battery of each row.
    """
    pack = found.columns.get("voltage_volt")
    cells = found.cells.get("voltage_volt")
    each = _cell_voltage(found)
    ratio, apart = None, 0.0
    if pack is not None and pack.values is not None and each is not None:
        both = pl.DataFrame({"battery": battery, "pack": pack.values, "cell": each})
        both = both.filter(pl.col("cell") > _NO_CELL_VOLT, pl.col("pack") > _NO_CELL_VOLT)
        ratios = both.group_by("battery").agg((pl.col("pack") / pl.col("cell")).median().alias("ratio"))["ratio"]
        ratio = quantile(ratios, 0.5)
        apart = (quantile(ratios, 1.0) or 0.0) - (quantile(ratios, 0.0) or 0.0)
    if cells is not None:
        count = len(found.members[cells.column])
        if ratio is None:
            return Told(count, f"{count} columns {cells.column}", "likely")
        agrees = abs(ratio / count - 1) < _CLOSE
        why = f"{count} columns {cells.column}; voltage / cell voltage is {ratio:.2f}"
        return (
            Told(count, why, "sure" if abs(ratio - count) < _NEAR_CELLS else "likely")
            if agrees
            else Told("TODO", f"{why}: they do not agree", "TODO")
        )
    if ratio is not None:
        whole = round(ratio)
        why = f"voltage / cell voltage is {ratio:.2f}" + (f", and {apart:.2f} apart among batteries" if apart else "")
        near = whole > 0 and max(abs(ratio - whole), apart) < _NEAR_CELLS
        return Told(max(1, whole), why, "likely") if near else Told(max(1, whole), f"{why}: see the nameplate", "guess")
    middle = None if pack is None or pack.values is None else quantile(pack.values, 0.5)
    highest = None if pack is None or pack.values is None else quantile(pack.values, 0.99)
    if middle is not None and highest is not None and highest < _SINGLE_CELL_VOLT:
        return Told(1, f"voltages around {middle:.2f} V are those of one cell", "likely")
    if middle is not None:
        options = ", ".join(f"{round(middle / kind.nominal_cell_volt)} of {kind.name}" for kind in CHEMISTRY.values())
        return Told("TODO", f"not told by the file; {middle:.0f} V would be {options}", "TODO")
    return Told("TODO", "not told by the file", "TODO")


def chemistry(found: Matched, cells: Told, battery: pl.Series) -> Told:
    """The chemistry whose voltages the cells have, at the reported state of charge where there is one.

    Args:
        found: What was recognized.
        cells: How many cells a battery has.
        battery: Battery of each row.

    Returns:
        The chemistry; ``TODO`` where the cells fit none, or several.
    """
    volts = _cell_voltage(found)
    pack = found.columns.get("voltage_volt")
    if volts is None and pack is not None and pack.values is not None and isinstance(cells.value, int):
        volts = pack.values / cells.value
    known = None if volts is None else volts.filter(volts > _NO_CELL_VOLT).drop_nulls()
    if volts is None or known is None or known.is_empty():
        return Told("TODO", f"not told by the file: one of {', '.join(CHEMISTRY)}", "TODO")
    middles = pl.DataFrame({"battery": battery, "volt": volts}).group_by("battery").agg(pl.col("volt").median())["volt"]
    if (quantile(middles, 1.0) or 0.0) - (quantile(middles, 0.0) or 0.0) > _APART_VOLT:
        return Told("TODO", "batteries differ too much for one chemistry: give each its own below batteries:", "TODO")
    low, high = quantile(known, 0.002) or 0.0, quantile(known, 0.998) or 0.0
    said = f"cells between {low:.2f} and {high:.2f} V"
    within = [
        kind.name
        for kind in CHEMISTRY.values()
        if kind.cell_voltage_low_volt - _BEYOND <= low and high <= kind.cell_voltage_high_volt + _BEYOND
    ]
    distances = _distances(found, volts)
    if distances:
        options, why = _at_rest(within or list(CHEMISTRY), distances)
    else:
        options, why = _by_voltage(within, known, high)
    if not options:
        return Told("TODO", f"{said}: {why}", "TODO")
    if len(options) > 1:
        return Told("TODO", f"{said}{why}; {', '.join(options)} are alike in that", "TODO")
    if options[0] in {"NMC", "NCA", "LCO"}:
        return Told(options[0], f"{said}{why}; confirm, for NMC, NCA and LCO are much alike", "TODO")
    return Told(options[0], said + why, "likely")


def _at_rest(options: list[str], distances: dict[str, float]) -> tuple[list[str], str]:
    """Chemistries near whose open-circuit voltage the resting cells are."""
    least = min(distances.values())
    near = [name for name in options if distances[name] <= max(1.5 * least, _NEAR_VOLT)]
    if least > _FAR_VOLT or not near:
        return [], "at the reported state of charge they fit no chemistry well"
    best = min(near, key=lambda name: distances[name])
    return near, f", at rest {1000 * distances[best]:.0f} mV from {best} at the reported state of charge"


def _by_voltage(within: list[str], known: pl.Series, high: float) -> tuple[list[str], str]:
    """Chemistries whose cells have such voltages."""
    if not within:
        return [], f"these fit none of {', '.join(CHEMISTRY)}"
    if high > _ABOVE_LFP_VOLT:
        return [name for name in within if name != "LFP"], ""
    if "LFP" in within and known.is_between(*_PLATEAU_VOLT).sum() > len(known) / 2:
        return ["LFP"], ", mostly on the plateau of LFP"
    return within, ""


def _distances(found: Matched, volts: pl.Series) -> dict[str, float]:
    """Chemistry → median distance of resting cells from its open-circuit voltage [V]; empty without such samples."""
    soc, current = found.columns.get("soc_bms_percent"), found.columns.get("current_ampere")
    if soc is None or soc.values is None or current is None or current.values is None:
        return {}
    flow = current.values.abs()
    quiet = flow <= 0.2 * (quantile(flow, 0.99) or 0.0)
    table = pl.DataFrame({"soc": soc.values, "volt": volts}).filter(quiet.fill_null(value=False)).drop_nulls()
    table = table.filter(pl.col("soc").is_between(5, 95), pl.col("volt") > _NO_CELL_VOLT)
    if table.height < _FEWEST_RESTING:
        return {}
    distances = {}
    for kind in CHEMISTRY.values():
        socs, ocv = np.array(kind.ocv).T
        apart = np.abs(table["volt"].to_numpy() - np.interp(table["soc"].to_numpy(), socs, ocv))
        distances[kind.name] = float(np.median(apart))
    return distances


def _cell_voltage(found: Matched) -> pl.Series | None:
    if "voltage_volt" in found.cells:
        return found.cells["voltage_volt"].values
    ends = [
        match.values
        for house in ("cell_voltage_min_volt", "cell_voltage_max_volt")
        if (match := found.columns.get(house)) is not None and match.values is not None
    ]
    if not ends:
        return None
    return pl.DataFrame([end.alias(str(at)) for at, end in enumerate(ends)]).mean_horizontal(ignore_nulls=False)
