"""The battery over time: charge, voltage, heat and age of each battery, step by step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from bess_pipeline.arrays import Floats
from bess_pipeline.sources.simulate.cells import GAS_CONSTANT, POINTS, Cells

#: Cells that stand for a string: their mean is the string's, their extremes are its extremes.
CELLS = 6

# Columns of the battery table.
CAPACITY, OHM, EFFICIENCY, AIR, SOC, START_LOSS = range(6)
BATTERY_COLUMNS = 6

# Columns of the fault table: step of onset, step of end, and how strong each effect has become by the end of its ramp.
ONSET, RAMP, END, LEAK, FADE, COOLING, CELL_OHM, PACK_OHM, DROP, KNEE, HEAT = range(11)
FAULT_COLUMNS = 11

# What is kept of every step.
CURRENT, VOLT, LOWEST, HIGHEST, MEAN_SOC, TEMPERATURE, HOTTEST, COLDEST, FULL, MEAN_CURRENT, MEAN_VOLT = range(11)
STEP_COLUMNS = 11

#: The battery is simulated in steps of at most this, however seldom it is sampled [s].
FINEST_SECONDS = 20.0

# What is kept of every day.
Q_MEAN, R_REL, LOSS_CALENDAR, LOSS_CYCLE, LOSS_KNEE, IMBALANCE, WEAKEST, USABLE, K_CALENDAR, C_RATE, DEPTH = range(11)
DAY_COLUMNS = 11

_ROOM_KELVIN = 298.15

#: A knee goes on until this share is lost in all, and a weak cell weakens until it has lost this share more than the
#: others: what is left after that is no battery, and no measurements come of it.
MOST_LOST, MOST_FADED = 0.6, 0.8

#: Cells for storage outlast the consumer cell of Schmalstieg et al.: assumed to age at this share of its pace.
NMC_PACE = 0.35


@njit(cache=True)
def interpolated(table: Floats, where: float) -> float:
    """A table on an even grid from 0 to 1, between its points; its ends beyond it."""
    position = where * (POINTS - 1)
    if position <= 0.0:
        return float(table[0])
    if position >= POINTS - 1:
        return float(table[POINTS - 1])
    low = int(position)
    return float(table[low] + (table[low + 1] - table[low]) * (position - low))


@njit(cache=True)
def calendar_stress(is_lfp: int, soc: float, volt: float, kelvin: float) -> float:
    """Speed of calendar ageing.

    LFP: loss = k·√t, t in seconds; Naumann et al., J. Energy Storage 17 (2018) 153, doi:10.1016/j.est.2018.01.019.
    NMC: loss = k·t^0.75, t in days; Schmalstieg et al., J. Power Sources 257 (2014) 325,
    doi:10.1016/j.jpowsour.2014.02.012.
    """
    if is_lfp:
        arrhenius = np.exp(-17126.0 / GAS_CONSTANT * (1.0 / kelvin - 1.0 / _ROOM_KELVIN))
        return float(1.2571e-5 * arrhenius * (2.8575 * (soc - 0.5) ** 3 + 0.60225))
    return float(NMC_PACE * max((7.543 * volt - 23.75) * 1e6 * np.exp(-6976.0 / kelvin), 1e-5))


@njit(cache=True)
def cycle_stress(is_lfp: int, c_rate: float, depth: float, volt: float) -> float:
    """Speed of cycle ageing.

    LFP: Naumann et al., J. Power Sources 451 (2020) 227666, doi:10.1016/j.jpowsour.2019.227666: loss = k·√EFC.
    NMC: Schmalstieg et al. 2014: loss = k·√Q, Q in Ah through a cell of 2.15 Ah.
    """
    if is_lfp:
        return (0.0630 * c_rate + 0.0971) * (4.0253 * (depth - 0.6) ** 3 + 1.0923) / 100.0
    return NMC_PACE * (7.348e-3 * (volt - 3.667) ** 2 + 7.6e-4 + 4.081e-3 * depth)


@njit(cache=True)
def aged(is_lfp: int, sums: Floats, calendar: float, cycle: float, days: float, cycles: float) -> None:
    """Advance the two clocks of ageing; ``sums`` holds what the losses are roots of."""
    if is_lfp:
        sums[0] += calendar**2 * days * 86400.0
        sums[1] += cycle**2 * cycles
    else:
        sums[0] += calendar ** (4.0 / 3.0) * days
        sums[1] += cycle**2 * cycles * 2.0 * 2.15


@njit(cache=True)
def losses(is_lfp: int, sums: Floats) -> tuple[float, float]:
    """Loss of capacity by the calendar and by cycling, as shares of the new capacity."""
    calendar = np.sqrt(sums[0]) if is_lfp else sums[0] ** 0.75
    return calendar, np.sqrt(sums[1])


@njit(cache=True)
def ramp(step: int, fault: Floats) -> float:
    """How far a fault has developed: 0 before its onset, 1 once it has."""
    if step < fault[ONSET] or step >= fault[END]:
        return 0.0
    return float(min(1.0, (step - fault[ONSET] + 1.0) / max(fault[RAMP], 1.0)))


@njit(cache=True)
def lived(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one battery's life, told in order
    asked: Floats,
    air: Floats,
    battery: Floats,
    spread: Floats,
    fault: Floats,
    make: Floats,
    potentials: Floats,
    seconds: float,
    steps_per_day: int,
    recentre: float,
    out: Floats,
    days: Floats,
) -> None:
    """Let one battery live; fills ``out`` (steps) and ``days``.

    Args:
        asked: Current request in C-rates: shape (steps,).
        air: Air temperature [°C]: shape (steps,).
        battery: One row of the battery table.
        spread: Capacity, resistance and first state of charge of each cell, relative to the string: shape (3, CELLS).
        fault: One row of the fault table.
        make: What `make_of` gives.
        potentials: Electrode potentials: shape (2, POINTS).
        seconds: Time from step to step [s].
        steps_per_day: Steps of a day.
        recentre: C-rate per unit of state of charge away from a half that is added to the request.
        out: One row a step.
        days: One row a day.
    """
    rated, in_series, low_volt, high_volt, ohm = make[0], make[1], make[2], make[3], make[4]
    share1, share2, tau1, tau2 = make[5], make[6], make[7], make[8]
    hysteresis, activation = make[9], make[10]
    x0, x1, y0, y1 = make[11], make[12], make[13], make[14]
    is_lfp = int(make[15])
    capacity = np.empty(CELLS)
    soc = np.empty(CELLS)
    volts = np.empty(CELLS)
    for k in range(CELLS):
        soc[k] = battery[SOC] + spread[2, k]
    relax1 = relax2 = 0.0
    branch = 0.0
    kelvin_cell = air[0] + 273.15 + 1.0
    sums = np.zeros(2)
    sums[0] = battery[START_LOSS] ** 2 if is_lfp else battery[START_LOSS] ** (4.0 / 3.0)
    parts = int(np.ceil(seconds / FINEST_SECONDS))
    dt = seconds / parts
    keep1, keep2 = np.exp(-dt / tau1), np.exp(-dt / tau2)
    hours = dt / 3600.0
    heat_capacity = rated * 3600.0 * 3.2 / 180.0 * in_series / 3.0
    is_full = False
    loss_knee = 0.0
    faded = 0.0
    n_days = len(days)
    for d in range(n_days):
        calendar, cycle = losses(is_lfp, sums)
        loss = calendar + cycle + loss_knee
        growth = 1.0 + 1.6 * loss
        reach = ramp((d + 1) * steps_per_day, fault)
        q_mean = 0.0
        for k in range(CELLS):
            capacity[k] = battery[CAPACITY] * rated * spread[0, k] * (1.0 - loss) * (1.0 - fault[DROP] * reach)
            if k == 0:
                capacity[k] *= 1.0 - faded
            q_mean += capacity[k] / CELLS
        heat_sum = soc_sum = volt_sum = through = rate_sum = 0.0
        rate_n = 0
        least, most = 2.0, -2.0
        for s in range(d * steps_per_day, (d + 1) * steps_per_day):
            grown = ramp(s, fault)
            out[s, MEAN_CURRENT] = out[s, MEAN_VOLT] = 0.0
            for part in range(parts):
                arrhenius = np.exp(activation / GAS_CONSTANT * (1.0 / kelvin_cell - 1.0 / _ROOM_KELVIN))
                r0 = ohm * battery[OHM] * growth * arrhenius
                mean_soc = 0.0
                for k in range(CELLS):
                    mean_soc += soc[k] / CELLS
                current = (asked[s] + recentre * (0.5 - mean_soc)) * rated
                highest_rest, lowest_rest, r_high, r_low = -9.0, 9.0, r0, r0
                for k in range(CELLS):
                    left = 1.0 - loss
                    x = x0 + soc[k] * left * (x1 - x0)
                    y = y1 + (1.0 - soc[k]) * left * (y0 - y1)
                    volts[k] = interpolated(potentials[1], y) - interpolated(potentials[0], x) + branch * hysteresis
                    r_cell = r0 * spread[1, k]
                    if k == 1:
                        r_cell += fault[CELL_OHM] * grown * ohm
                    rest = volts[k] + relax1 + relax2
                    if rest > highest_rest:
                        highest_rest, r_high = rest, r_cell
                    if rest < lowest_rest:
                        lowest_rest, r_low = rest, r_cell
                if current > 0.0:
                    current = min(current, max(0.0, (high_volt - highest_rest) / r_high))
                    if is_full or (current < 0.02 * rated and highest_rest > high_volt - 0.08):
                        is_full = True
                        current = 0.0
                    if mean_soc > 1.03:
                        current = 0.0
                elif current < 0.0:
                    current = max(current, min(0.0, (low_volt - lowest_rest) / r_low))
                    if mean_soc < 0.04:
                        current = 0.0
                if mean_soc < 0.97:
                    is_full = False
                lowest, highest, total = 9.0, -9.0, 0.0
                for k in range(CELLS):
                    r_cell = r0 * spread[1, k]
                    if k == 1:
                        r_cell += fault[CELL_OHM] * grown * ohm
                    volts[k] += relax1 + relax2 + current * r_cell
                    lowest, highest = min(lowest, volts[k]), max(highest, volts[k])
                    total += volts[k] / CELLS
                pack_ohm = fault[PACK_OHM] * grown * ohm * in_series
                volt = total * in_series + current * pack_ohm
                out[s, MEAN_CURRENT] += current / parts
                out[s, MEAN_VOLT] += volt / parts
                if part == 0:
                    out[s, CURRENT] = current
                    out[s, VOLT] = volt
                    out[s, LOWEST] = lowest
                    out[s, HIGHEST] = highest
                    out[s, FULL] = 1.0 if is_full else 0.0
                heat = current**2 * (r0 * in_series + pack_ohm) + abs(current * (relax1 + relax2)) * in_series
                cooling = battery[AIR] / (1.0 + fault[COOLING] * grown)
                flow = cooling * (kelvin_cell - 273.15 - air[s] - 3.5 * fault[COOLING] * grown)
                kelvin_cell += (heat - flow) * dt / heat_capacity
                celsius = kelvin_cell - 273.15
                warm = 0.6 + 1.4 * abs(current) / rated + fault[HEAT] * grown
                out[s, TEMPERATURE] = celsius
                out[s, HOTTEST] = celsius + warm
                out[s, COLDEST] = celsius - 0.5 - 0.8 * abs(current) / rated
                for k in range(CELLS):
                    leak = 2e-6 * rated * (1.0 + 0.4 * spread[2, k])
                    if k == 0:
                        leak += fault[LEAK] * grown * rated
                    if is_full and soc[k] > soc[0] and soc[k] > soc[2]:
                        leak += 0.0006 * rated
                    if soc[k] <= 0.0:
                        leak = 0.0
                    gained = current * (battery[EFFICIENCY] if current > 0.0 else 1.0) - leak
                    soc[k] += gained * hours / capacity[k]
                relax1 = relax1 * keep1 + (1.0 - keep1) * current * r0 * share1
                relax2 = relax2 * keep2 + (1.0 - keep2) * current * r0 * share2
                moved = abs(current) * hours / (rated * q_mean / rated)
                step_keep = np.exp(-25.0 * moved)
                if current != 0.0:
                    branch = branch * step_keep + (1.0 - step_keep) * (1.0 if current > 0.0 else -1.0)
                mean_soc = 0.0
                for k in range(CELLS):
                    mean_soc += soc[k] / CELLS
                out[s, MEAN_SOC] = mean_soc
                least, most = min(least, mean_soc), max(most, mean_soc)
                heat_sum += kelvin_cell / parts
                soc_sum += mean_soc / parts
                volt_sum += total / parts
                through += abs(current) * hours
                if abs(current) > 0.01 * rated:
                    rate_sum += abs(current) / rated
                    rate_n += 1
        kelvin, cycles = heat_sum / steps_per_day, through / (2.0 * rated)
        rate = rate_sum / max(rate_n, 1)
        k_calendar = calendar_stress(is_lfp, soc_sum / steps_per_day, volt_sum / steps_per_day, kelvin)
        k_cycle = cycle_stress(is_lfp, rate, max(most - least, 0.0), volt_sum / steps_per_day)
        weakest, headroom, stored = 9e9, 9e9, 9e9
        for k in range(CELLS):
            weakest = min(weakest, capacity[k])
            stored = min(stored, soc[k] * capacity[k])
            headroom = min(headroom, (1.0 - soc[k]) * capacity[k])
        day = days[d]
        day[Q_MEAN], day[R_REL] = q_mean / rated, growth
        day[LOSS_CALENDAR], day[LOSS_CYCLE], day[LOSS_KNEE] = calendar, cycle, loss_knee
        day[IMBALANCE] = soc.max() - soc.min()
        day[WEAKEST], day[USABLE] = weakest, stored + headroom
        day[K_CALENDAR], day[C_RATE], day[DEPTH] = k_calendar, rate, max(most - least, 0.0)
        aged(is_lfp, sums, k_calendar, k_cycle, 1.0, cycles)
        if reach > 0.0:
            faded = min(faded + fault[FADE], MOST_FADED)
        if loss < MOST_LOST:
            loss_knee += fault[KNEE] * reach


def make_of(cells: Cells) -> Floats:
    """The numbers of a make, as the kernel takes them."""
    return np.array(
        [
            cells.capacity_ah,
            cells.in_series,
            cells.low_volt,
            cells.high_volt,
            cells.ohm,
            *cells.relaxing_ohm,
            *cells.relaxing_seconds,
            cells.hysteresis_volt,
            cells.activation,
            *cells.anode,
            *cells.cathode,
            float(cells.is_lfp),
        ]
    )


@dataclass(frozen=True)
class Life:
    """What really happened to a fleet.

    Attributes:
        steps: Shape (batteries, steps, STEP_COLUMNS); readings at the start of a step, states at its end.
        days: Shape (batteries, days, DAY_COLUMNS).
    """

    steps: Floats
    days: Floats
