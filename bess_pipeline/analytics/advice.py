"""Advice: what to do next about an event."""

from __future__ import annotations

import polars as pl

#: By family, where the kind has none of its own.
_FAMILY = {
    "thermal": "Compare with the other batteries of the container; look at fans, filters, pumps and set points.",
    "electrical": "At the next stop: check torque and temperature of the connections, and the contactors, under load.",
    "cell": "Look at the cell voltages at rest and at the end of charge; have the cell named, and watch it every day.",
    "capacity": "Plan a capacity test; hold the result against warranty and forecast.",
    "sensor": "Have the sensor checked against a reference; until then trust what rests on it less.",
    "data": "No fault of the battery: look at the logger, the gateway and the fleet file's units and signs.",
    "limit": "Find out why the protection let it pass; check set points of charge, discharge and cooling.",
}

_KIND = {
    "low_cell": "One cell lies below the others: suspect an internal short or lost capacity. Do not balance it away: "
    "rest the battery for some hours and see whether the cell goes on falling.",
    "high_cell": "One cell lies above the others: check its voltage tap and the balancing before the end of charge.",
    "cell_lies_low": "This cell lies below the rest: suspect lost charge, lost capacity or a leak. Look at it at rest "
    "and at the end of discharge; if it falls on, have the module opened.",
    "cell_lies_high": "This cell lies above the rest: check its voltage tap and its balancing before a full charge.",
    "cell_falls": "This cell falls away from the rest: suspect an internal short or lost capacity. Do not balance it "
    "away: rest the battery for some hours and see whether it falls on.",
    "cell_rises": "This cell rises above the rest: check its voltage tap, and whether its balancing still works.",
    "cell_resists": "This cell, or its connection, resists more than the rest: check its busbar bolts under load.",
    "cell_tap": "This cell seems to resist less than any can: check its voltage tap and the order of the channels.",
    "probe_warms": "This probe warms beside the rest: look at the place with an infrared camera; check its connection.",
    "probe_cools": "This probe cools beside the rest: check the sensor and its contact with the cell.",
    "imbalance": "The cells drift apart at rest: let it balance at full charge; if it comes back, a cell leaks.",
    "cell_connection_resistance": "The spread of the cells follows the current: check the busbar bolts of the module.",
    "resistance_outside_cells": "The voltage outside the cells follows the current: check contactors, fuses, cables.",
    "resistance_rise": "All cells or their connections resist more: compare with the forecast, check connections.",
    "warmer_than_peers": "Warmer than its neighbours: check its cooling first, then its resistance.",
    "warmer_than_usual": "Warmer above the air than it used to be: check its cooling first, then its resistance.",
    "hot_spot": "One probe is hotter than the others: look at it with an infrared camera; stop if it grows.",
    "colder_than_peers": "Reads colder than its neighbours: check the temperature sensor, then the heating.",
    "colder_than_usual": "Reads colder than it used to: check the temperature sensor, then the heating.",
    "temperature_reads_high": "Seems warmer and to resist more at once: check the temperature sensor.",
    "current_above_peers": "Carries a larger share of the current than it used to: check the current sensor's gain.",
    "current_below_peers": "Carries a smaller share of the current than it used to: check the current sensor's gain.",
    "current_offset": "The current sensor shows a current at rest: have its zero set.",
    "knee": "The loss of capacity speeds up: plan a capacity test and the replacement; reduce depth and warmth.",
    "capacity_loss": "Lost more capacity in four weeks than estimates err: plan a capacity test.",
    "capacity_drop": "Lost capacity within days: plan a capacity test; a group of cells may have dropped out.",
    "hot_spot_within_hours": "Possible precursor of a thermal runaway: stop the battery, keep people away, look at it "
    "from afar (infrared, gas), follow the emergency plan.",
    "hot_spot_at_other_hours": "A probe is hot at other hours than it used to be: look at what runs then, and at fans.",
    "warm_at_other_hours": "Warm at other hours than it used to be: look at cooling hours and set points.",
    "low_cell_at_other_hours": "A cell is low at other hours than it used to be: look at it under load and at rest.",
    "cell_falls_within_hours": "A cell fell within hours, as a short does: stop the battery, watch its temperature and "
    "the cell at rest; follow the emergency plan if either moves on.",
    "reported_charge_jumps": "The reported state of charge jumps: do not dispatch by it; have the BMS count it anew.",
    "current_sign": "The sign of the current was wrong for a time and was put right: check the fleet file and the BMS.",
    "temperature_unit": "Degrees Fahrenheit came for a time and were converted: check the logger's settings.",
    "soc_unit": "The state of charge came as a fraction for a time and was converted: check the logger's settings.",
}


def next_steps(family: str, kind: str) -> pl.Expr:
    """What to do next, by the columns of family and kind.

    Examples:
        >>> pl.DataFrame({"f": ["data"], "k": ["soc_unit"]}).select(next_steps("f", "k")).item()[:20]
        'The state of charge '
    """
    by_family = pl.col(family).replace_strict(_FAMILY, return_dtype=pl.String)
    return pl.coalesce(pl.col(kind).replace_strict(_KIND, default=None, return_dtype=pl.String), by_family)
