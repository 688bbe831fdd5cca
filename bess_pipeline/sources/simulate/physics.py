"""The battery over time: charge, voltage, heat and age of each battery, step by step.

All compiled functions stand in this one file: numba's cache notices a change of the file
that calls, not of the files that are called.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from numba import njit

Floats = npt.NDArray[np.float64]

GAS_CONSTANT = 8.314462618  # J/(mol K)
ROOM_KELVIN = 298.15

#: Points of the electrode potentials over lithiation from 0 to 1.
POINTS = 1001

#: Cells that stand for a string: the one that falls ill, six extremes, and the mean of all others.
CELLS = 8

# Rows of the table of cells; capacity, resistance and self-discharge are relative to the make's, weights add up to one.
CELL_CAPACITY, CELL_OHM, CELL_SOC, CELL_SELF, CELL_WEIGHT = range(5)

# Columns of the table of batteries: relative resistance and cooling, efficiency, relative pace and time of ageing [d].
OHM, EFFICIENCY, COOLING, PACE, AGE = range(5)
BATTERY_COLUMNS = 5

# Columns of the table of faults: steps of onset and end, length of the ramp, and how strong each effect becomes:
# leak [C], fade [1/d], thermal resistance [1], warmer air [K], resistance of a connection and of the rack [cells],
# lost capacity [1], knee [1/d], hot spot [K], and whether the battery is off after the end.
ONSET, RAMP, END, LEAK, FADE, INSULATION, WARM_AIR, CONNECTION, CONTACTOR, DROP, KNEE, HOT_SPOT, TRIP = range(13)
FAULT_COLUMNS = 13

# What is kept of every step: readings at its start (VOLT to FULL), its means, and the state of charge at its end.
CURRENT, VOLT, LOWEST, HIGHEST, ILL_CELL, TEMPERATURE, HOTTEST, COLDEST, FULL, MEAN_CURRENT, MEAN_VOLT, MEAN_SOC = range(
    12
)
STEP_COLUMNS = 12

# What is kept of every day: capacity and resistance at its start, losses and charge at its end, and what wears.
(
    Q_MEAN, R_REL, FRESH, LOSS_CALENDAR, LOSS_CYCLE, LOSS_KNEE, GROWTH_CALENDAR, GROWTH_CYCLE, IMBALANCE, WEAKEST,
    USABLE, K_CALENDAR, K_CYCLE, K_OHM_CALENDAR, K_OHM_CYCLE, C_RATE, DEPTH, CYCLES, HEAT,
) = range(19)  # fmt: skip
DAY_COLUMNS = 19

#: The battery is simulated in steps of at most this, however seldom it is sampled [s].
FINEST_SECONDS = 20.0

#: Cells for storage outlast the 18650 cell of Schmalstieg et al.: assumed to age at this share of its pace.
NMC_PACE = 0.35

#: Rated capacity of the cell of Schmalstieg et al., whose cycle ageing counts ampere-hours [Ah].
NMC_CELL_AH = 2.15

_CURVE_LOW = -0.05
_CURVE_POINTS = 1101

_FULL_C = 0.02
_EMPTY_SOC = 0.03
_REOPEN_SOC = 0.97
_SELF_C = 2e-6  # about 1.5 % a month: Naumann et al. 2018 bound the self-discharge of LFP from above
_BLEED_C = 0.0006
_BLEED_VOLT = 0.005
_BRANCH = 25.0  # Plett, J. Power Sources 134 (2004) 262, doi:10.1016/j.jpowsour.2004.02.032: γ of the one-state model
_KNEE_OHM = 2.0  # resistance grows faster past a knee: assumption


@njit(cache=True)
def interpolated(table: Floats, position: float) -> float:
    """A table between its points, at a position counted in points; its ends beyond it."""
    if position <= 0.0:
        return float(table[0])
    if position >= len(table) - 1:
        return float(table[-1])
    low = int(position)
    return float(table[low] + (table[low + 1] - table[low]) * (position - low))


@njit(cache=True)
def open_circuit(loss: float, make: Floats, potentials: Floats, curve: Floats) -> None:
    """Fill ``curve`` with the open-circuit voltage over the state of charge after a loss of lithium [1].

    A cell that lost lithium still empties its anode and still fills up to the same
    cathode; between the two it moves over less of both electrodes.
    """
    x0, x1, y0, y1 = make[13], make[14], make[15], make[16]
    left = 1.0 - loss
    for i in range(len(curve)):
        soc = _CURVE_LOW + i * 0.001
        x = x0 + soc * left * (x1 - x0)
        y = y1 + (1.0 - soc) * left * (y0 - y1)
        curve[i] = interpolated(potentials[1], y * (POINTS - 1)) - interpolated(potentials[0], x * (POINTS - 1))


@njit(cache=True)
def calendar_stress(is_lfp: int, soc: float, volt: float, kelvin: float) -> tuple[float, float]:
    """Speeds at which time takes capacity and adds resistance.

    LFP: loss = k·√t, growth = k·t, t in seconds; Naumann et al., J. Energy Storage 17 (2018) 153,
    doi:10.1016/j.est.2018.01.019.
    NMC: loss and growth = k·t^0.75, t in days; Schmalstieg et al., J. Power Sources 257 (2014) 325,
    doi:10.1016/j.jpowsour.2014.02.012.
    """
    inverse = 1.0 / kelvin - 1.0 / ROOM_KELVIN
    if is_lfp:
        loss = 1.2571e-5 * np.exp(-17126.0 / GAS_CONSTANT * inverse) * (2.8575 * (soc - 0.5) ** 3 + 0.60225)
        growth = 3.4194e-10 * np.exp(-71827.0 / GAS_CONSTANT * inverse) * (-3.3903 * (soc - 0.5) ** 2 + 1.5604)
        return float(loss), float(growth)
    loss = max((7.543 * volt - 23.75) * 1e6 * np.exp(-6976.0 / kelvin), 1e-5)
    growth = max((5.270 * volt - 16.32) * 1e5 * np.exp(-5986.0 / kelvin), 1e-5)
    return float(NMC_PACE * loss), float(NMC_PACE * growth)


@njit(cache=True)
def cycle_stress(is_lfp: int, c_rate: float, depth: float, volt: float) -> tuple[float, float]:
    """Speeds at which cycling takes capacity and adds resistance.

    LFP: loss = k·√EFC, growth = k·EFC; Naumann et al., J. Power Sources 451 (2020) 227666,
    doi:10.1016/j.jpowsour.2019.227666.
    NMC: loss = k·√Q, growth = k·Q, Q in Ah through a cell of 2.15 Ah; Schmalstieg et al. 2014.
    """
    if is_lfp:
        loss = (0.0630 * c_rate + 0.0971) * (4.0253 * (depth - 0.6) ** 3 + 1.0923) / 100.0
        growth = max((-0.0020 * c_rate + 0.0021) * (6.8477 * (depth - 0.6) ** 3 + 0.91882), 0.0) / 100.0
        return loss, growth
    loss = 7.348e-3 * (volt - 3.667) ** 2 + 7.6e-4 + 4.081e-3 * depth
    growth = max(2.153e-4 * (volt - 3.725) ** 2 - 1.521e-5 + 2.798e-4 * depth, 1.5e-5)
    return NMC_PACE * loss, NMC_PACE * growth


@njit(cache=True)
def aged(is_lfp: int, sums: Floats, stress: Floats, days: float, cycles: float) -> None:
    """Advance the clocks of ageing by some days and equivalent full cycles.

    ``sums`` holds what the losses are roots of, so that stress may change from day to day;
    ``stress`` are the speeds of loss by time and cycling, of growth by time and cycling.
    """
    if is_lfp:
        sums[0] += stress[0] ** 2 * days * 86400.0
        sums[1] += stress[1] ** 2 * cycles
        sums[2] += stress[2] * days * 86400.0
        sums[3] += stress[3] * cycles
    else:
        ampere_hours = cycles * 2.0 * NMC_CELL_AH
        sums[0] += stress[0] ** (4.0 / 3.0) * days
        sums[1] += stress[1] ** 2 * ampere_hours
        sums[2] += stress[2] ** (4.0 / 3.0) * days
        sums[3] += stress[3] * ampere_hours


@njit(cache=True)
def wear(is_lfp: int, sums: Floats) -> Floats:
    """Capacity lost by time and by cycling, resistance added by time and by cycling, as shares of the new."""
    out = np.empty(4)
    out[0] = np.sqrt(sums[0]) if is_lfp else sums[0] ** 0.75
    out[1] = np.sqrt(sums[1])
    out[2] = sums[2] if is_lfp else sums[2] ** 0.75
    out[3] = sums[3]
    return out


@njit(cache=True)
def ramp(step: float, fault: Floats) -> float:
    """How far a fault has developed: 0 before its onset and after its end, 1 once it has."""
    if step < fault[ONSET] or step >= fault[END]:
        return 0.0
    return float(min(1.0, (step - fault[ONSET] + 1.0) / max(fault[RAMP], 1.0)))


@njit(cache=True)
def lived(  # noqa: C901, PLR0912, PLR0913, PLR0915, PLR0917 - one battery's life, told in order
    asked: Floats,
    air: Floats,
    battery: Floats,
    cells: Floats,
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
        battery: One row of the table of batteries.
        cells: Its table of cells: shape (5, CELLS).
        fault: One row of the table of faults; the first cell is the one that falls ill.
        make: What `bess_pipeline.sources.simulate.cells.Cells.numbers` gives.
        potentials: Electrode potentials: shape (2, POINTS).
        seconds: Time from step to step [s].
        steps_per_day: Steps of a day.
        recentre: C-rate per unit of state of charge away from a half that is added to the request.
        out: One row a step.
        days: One row a day.
    """
    rated, in_series, low_volt, high_volt, ohm, limit = make[0], make[1], make[2], make[3], make[4], make[5]
    share1, share2, tau1, tau2, hysteresis, activation = make[6], make[7], make[8], make[9], make[10], make[11]
    cooling, heat_capacity, is_lfp = make[17] * battery[COOLING], make[18], int(make[12])
    capacity, rest, ohms = np.empty(CELLS), np.empty(CELLS), np.empty(CELLS)
    soc = cells[CELL_SOC].copy()
    weight = cells[CELL_WEIGHT]
    curve = np.empty(_CURVE_POINTS)
    relax1 = relax2 = branch = loss_knee = faded = 0.0
    celsius = air[0] + 1.0
    parts = int(np.ceil(seconds / FINEST_SECONDS))
    dt = seconds / parts
    hours = dt / 3600.0
    keep1, keep2 = np.exp(-dt / tau1), np.exp(-dt / tau2)
    is_full = False
    sums, stress = np.zeros(4), np.zeros(4)
    stress[0], stress[2] = calendar_stress(is_lfp, 0.5, make[19], ROOM_KELVIN)
    aged(is_lfp, sums, stress, battery[AGE], 0.0)
    for d in range(len(days)):
        day = days[d]
        lost = wear(is_lfp, sums)
        loss = lost[0] + lost[1] + loss_knee
        growth = 1.0 + lost[2] + lost[3] + _KNEE_OHM * loss_knee
        reach = ramp(d * steps_per_day, fault)
        fresh = 0.0
        for k in range(CELLS):
            capacity[k] = rated * cells[CELL_CAPACITY, k] * (1.0 - fault[DROP] * reach)
            if k == 0:
                capacity[k] *= 1.0 - faded
            fresh += weight[k] * capacity[k]
            capacity[k] *= 1.0 - loss
        day[FRESH], day[Q_MEAN], day[R_REL] = fresh / rated, fresh * (1.0 - loss) / rated, growth
        open_circuit(loss, make, potentials, curve)
        kelvin_sum = soc_sum = volt_sum = through = rate_sum = heat_sum = 0.0
        moving = 0
        least, most = 2.0, -2.0
        for s in range(d * steps_per_day, (d + 1) * steps_per_day):
            grown = ramp(s, fault)
            is_off = fault[TRIP] > 0.0 and s >= fault[END]
            out[s, MEAN_CURRENT] = out[s, MEAN_VOLT] = mean = 0.0
            for k in range(CELLS):
                mean += weight[k] * soc[k]
            for part in range(parts):
                arrhenius = np.exp(activation / GAS_CONSTANT * (1.0 / (celsius + 273.15) - 1.0 / ROOM_KELVIN))
                # Higher towards both ends of charge: Waag et al., Applied Energy 102 (2013) 885.
                shape = 1.0 + 0.6 * np.exp(-mean / 0.08) + 0.1 * np.exp(-(1.0 - mean) / 0.05)
                r0 = ohm * battery[OHM] * growth * arrhenius * shape
                room_in = room_out = 1e9
                string_rest = string_ohm = 0.0
                for k in range(CELLS):
                    rest[k] = interpolated(curve, (soc[k] - _CURVE_LOW) * 1000.0) + branch * hysteresis + relax1 + relax2
                    ohms[k] = r0 * cells[CELL_OHM, k]
                    if k == 0:
                        ohms[k] += fault[CONNECTION] * grown * ohm
                    room_in = min(room_in, (high_volt - rest[k]) / ohms[k])
                    room_out = min(room_out, (rest[k] - low_volt) / ohms[k])
                    string_rest += weight[k] * rest[k]
                    string_ohm += weight[k] * ohms[k]
                current = min(max(asked[s] + recentre * (0.5 - mean), -limit), limit) * rated
                if current > 0.0:
                    is_full = is_full or room_in < _FULL_C * rated
                    current = 0.0 if is_full else min(current, room_in)
                elif mean < _EMPTY_SOC:
                    current = 0.0
                else:
                    current = max(current, -max(room_out, 0.0))
                if mean < _REOPEN_SOC:
                    is_full = False
                if is_off:
                    current = 0.0
                pack_ohm = fault[CONTACTOR] * grown * ohm * in_series
                volt = in_series * (string_rest + current * string_ohm) + current * pack_ohm
                out[s, MEAN_CURRENT] += current / parts
                out[s, MEAN_VOLT] += volt / parts
                lowest, highest = 9.0, -9.0
                for k in range(CELLS):
                    lowest = min(lowest, rest[k] + current * ohms[k])
                    highest = max(highest, rest[k] + current * ohms[k])
                if part == 0:
                    out[s, CURRENT], out[s, VOLT] = current, volt
                    out[s, LOWEST], out[s, HIGHEST] = lowest, highest
                    out[s, ILL_CELL] = rest[0] + current * ohms[0]
                    out[s, FULL] = 1.0 if is_full else 0.0
                    warmer = celsius - air[s]
                    out[s, TEMPERATURE] = celsius
                    out[s, HOTTEST] = celsius + 0.4 + 0.25 * max(warmer, 0.0) + fault[HOT_SPOT] * grown
                    out[s, COLDEST] = celsius - 0.4 - 0.25 * max(warmer, 0.0)
                heat = current**2 * (string_ohm * in_series + pack_ohm) + in_series * (
                    relax1**2 / (r0 * share1) + relax2**2 / (r0 * share2) + current * branch * hysteresis
                )
                flow = cooling / (1.0 + fault[INSULATION] * grown) * (celsius - air[s] - fault[WARM_AIR] * grown)
                celsius += (heat - flow) * dt / heat_capacity
                charging = current * battery[EFFICIENCY] if current > 0.0 else current
                mean = 0.0
                for k in range(CELLS):
                    leak = _SELF_C * rated * cells[CELL_SELF, k]
                    if k == 0:
                        leak += fault[LEAK] * grown * rated
                    if is_full and rest[k] + current * ohms[k] > lowest + _BLEED_VOLT:
                        leak += _BLEED_C * rated
                    soc[k] += (charging - leak) * hours / capacity[k]
                    mean += weight[k] * soc[k]
                relax1 = relax1 * keep1 + (1.0 - keep1) * current * r0 * share1
                relax2 = relax2 * keep2 + (1.0 - keep2) * current * r0 * share2
                if current != 0.0:
                    step_keep = np.exp(-_BRANCH * abs(current) * hours / rated)
                    branch = branch * step_keep + (1.0 - step_keep) * (1.0 if current > 0.0 else -1.0)
                least, most = min(least, mean), max(most, mean)
                kelvin_sum += (celsius + 273.15) / parts
                soc_sum += mean / parts
                volt_sum += string_rest / parts
                through += abs(current) * hours
                heat_sum += heat * hours
                if abs(current) > 0.01 * rated:
                    rate_sum += abs(current) / rated
                    moving += 1
            out[s, MEAN_SOC] = mean
        volt_mean, rate, depth = volt_sum / steps_per_day, rate_sum / max(moving, 1), max(most - least, 0.0)
        cycles = through / (2.0 * rated)
        stress[0], stress[2] = calendar_stress(is_lfp, soc_sum / steps_per_day, volt_mean, kelvin_sum / steps_per_day)
        stress[1], stress[3] = cycle_stress(is_lfp, rate, depth, volt_mean)
        stress *= battery[PACE]
        aged(is_lfp, sums, stress, 1.0, cycles)
        loss_knee += fault[KNEE] * reach
        faded += fault[FADE] * (1.0 if reach > 0.0 else 0.0)
        lost = wear(is_lfp, sums)
        day[LOSS_CALENDAR], day[LOSS_CYCLE], day[LOSS_KNEE] = lost[0], lost[1], loss_knee
        day[GROWTH_CALENDAR], day[GROWTH_CYCLE] = lost[2], lost[3]
        day[IMBALANCE], day[WEAKEST] = soc.max() - soc.min(), capacity.min()
        day[USABLE] = (soc * capacity).min() + ((1.0 - soc) * capacity).min()
        day[K_CALENDAR], day[K_CYCLE], day[K_OHM_CALENDAR], day[K_OHM_CYCLE] = stress
        day[C_RATE], day[DEPTH], day[CYCLES], day[HEAT] = rate, depth, cycles, heat_sum


@njit(cache=True)
def future_losses(is_lfp: int, last: Floats, lately: Floats, knee: Floats) -> Floats:
    """Shares of the new capacity lost at the start of each day to come, if every day were like the days lately.

    Args:
        is_lfp: Whether the cells are LFP.
        last: The last day's row.
        lately: Mean of the latest days' rows.
        knee: What a knee takes on each day to come [1].
    """
    sums, stress = np.empty(4), np.empty(4)
    sums[0] = last[LOSS_CALENDAR] ** 2 if is_lfp else last[LOSS_CALENDAR] ** (4.0 / 3.0)
    sums[1] = last[LOSS_CYCLE] ** 2
    sums[2] = sums[3] = 0.0
    stress[0], stress[1] = lately[K_CALENDAR], lately[K_CYCLE]
    stress[2] = stress[3] = 0.0
    lost = np.empty(len(knee))
    extra = last[LOSS_KNEE]
    for day in range(len(knee)):
        by_time_and_cycling = wear(is_lfp, sums)
        lost[day] = by_time_and_cycling[0] + by_time_and_cycling[1] + extra
        aged(is_lfp, sums, stress, 1.0, lately[CYCLES])
        extra += knee[day]
    return lost


@dataclass(frozen=True)
class Life:
    """What really happened to a fleet.

    Attributes:
        steps: Shape (batteries, steps, STEP_COLUMNS).
        days: Shape (batteries, days, DAY_COLUMNS).
    """

    steps: Floats
    days: Floats
