"""What is known of a synthetic fleet beside its telemetry: the truth that estimates are held against."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
from numba import njit

from bess_pipeline.arrays import Floats
from bess_pipeline.sources.simulate import physics
from bess_pipeline.sources.simulate.cells import MAKES
from bess_pipeline.sources.simulate.fleet import Simulated

#: A battery has reached the end of its life at this share of rated capacity.
END_OF_LIFE = 0.8

#: What the evaluation data call uses.
_SHORT = {"arbitrage": "arb", "frequency": "fr", "peak_shaving": "peak"}
_FUTURE_DAYS = 20 * 365
_FUTURE_STEP = 7
_INVERTER_EFFICIENCY = 0.975
_AUXILIARY_SHARE = 0.002


def truth_tables(simulated: Simulated) -> dict[str, pl.DataFrame]:
    """Every table of truth by name; batteries are called racks here, as in the evaluation data."""
    daily = _daily(simulated)
    cycles = _rainflow(simulated)
    future = _future(simulated)
    return {
        "soc_5min": _soc(simulated),
        "daily": daily,
        "faults": _faults(simulated),
        "racks": _racks(simulated, daily, future),
        "future_q": future.filter(pl.col("day") % _FUTURE_STEP == simulated.plan.days % _FUTURE_STEP),
        "rainflow_hist": _histogram(cycles),
        "rainflow_total": cycles.group_by("rack_id", maintain_order=True).agg(
            cycles=pl.col("count").sum(),
            sum_range=(pl.col("count") * pl.col("range")).sum(),
            sum_range2=(pl.col("count") * pl.col("range") ** 2).sum(),
        ),
        "site_energy": _site_energy(simulated, daily),
    }


def _ids(simulated: Simulated) -> list[str]:
    return [simulated.plan.battery_id(number) for number in range(simulated.plan.batteries)]


def _soc(simulated: Simulated) -> pl.DataFrame:
    """State of charge at the end of the last sample of every 5 minutes, under the time at which that sample starts."""
    plan = simulated.plan
    every = max(1, 300 // plan.interval_seconds)
    chosen = np.arange(every - 1, plan.steps, every)
    times = simulated.samples["timestamp"][: plan.steps].gather(chosen).dt.replace_time_zone(None)
    soc = simulated.life.steps[:, chosen, physics.MEAN_SOC]
    return pl.DataFrame(
        {
            "ts": pl.concat([times] * plan.batteries),
            "rack_id": np.repeat(np.array(_ids(simulated)), len(chosen)),
            "soc_true": soc.astype(np.float32).ravel(),
        }
    )


def _daily(simulated: Simulated) -> pl.DataFrame:
    plan, cells, life = simulated.plan, simulated.cells, simulated.life
    shape = (plan.batteries, plan.days, plan.steps_per_day)
    hours = plan.interval_seconds / 3600.0
    current = life.steps[:, :, physics.MEAN_CURRENT].reshape(shape)
    volt = life.steps[:, :, physics.MEAN_VOLT].reshape(shape)
    soc = life.steps[:, :, physics.MEAN_SOC].reshape(shape)
    heat = life.steps[:, :, physics.TEMPERATURE].reshape(shape)
    hottest = life.steps[:, :, physics.HOTTEST].reshape(shape)
    charged = np.maximum(current, 0).sum(axis=2) * hours
    discharged = np.maximum(-current, 0).sum(axis=2) * hours
    days = life.days
    columns: dict[str, Floats] = {
        "cap_usable_ah": days[:, :, physics.USABLE],
        "q_mean": days[:, :, physics.Q_MEAN],
        "r_rel": days[:, :, physics.R_REL] / days[:, :1, physics.R_REL],
        "ah_chg": charged,
        "ah_dis": discharged,
        "wh_chg": (np.maximum(current, 0) * volt).sum(axis=2) * hours,
        "wh_dis": (np.maximum(-current, 0) * volt).sum(axis=2) * hours,
        "soc_min": soc.min(axis=2),
        "soc_max": soc.max(axis=2),
        "t_mean": heat.mean(axis=2),
        "efc_cum": np.cumsum(charged + discharged, axis=1) / (2 * cells.capacity_ah),
        "loss_cal": days[:, :, physics.LOSS_CALENDAR],
        "loss_cyc": days[:, :, physics.LOSS_CYCLE],
        "loss_knee": days[:, :, physics.LOSS_KNEE],
        "soc_imbalance": days[:, :, physics.IMBALANCE],
        "k_cal": days[:, :, physics.K_CALENDAR],
        "crate": days[:, :, physics.C_RATE],
        "dod": days[:, :, physics.DEPTH],
        "cap_weakest_ah": days[:, :, physics.WEAKEST],
        "r0_ohm_25c": cells.ohm * cells.in_series * simulated.battery[:, [physics.OHM]] * days[:, :, physics.R_REL],
        "t_cell_max": hottest.max(axis=2),
        "soh_usable": days[:, :, physics.USABLE] / cells.capacity_ah,
    }
    dates = pl.date_range(plan.start, plan.start + timedelta(days=plan.days - 1), eager=True)
    return pl.DataFrame(
        {
            "rack_id": np.repeat(np.array(_ids(simulated)), plan.days),
            "date": pl.concat([dates] * plan.batteries),
            **{name: np.ascontiguousarray(values).ravel() for name, values in columns.items()},
        }
    )


def _faults(simulated: Simulated) -> pl.DataFrame:
    rows = [
        {
            "rack_id": simulated.plan.battery_id(fault.battery),
            "fault": fault.kind,
            "onset": fault.onset.replace(tzinfo=None),
            "end": fault.end.replace(tzinfo=None),
            "severity": fault.severity,
            "note": fault.note,
        }
        for fault in simulated.faults
    ]
    moment = pl.Datetime("us")
    columns = (("rack_id", pl.String()), ("fault", pl.String()), ("onset", moment), ("end", moment))
    return pl.DataFrame(rows, schema=pl.Schema((*columns, ("severity", pl.Float64()), ("note", pl.String()))))


def _future(simulated: Simulated) -> pl.DataFrame:
    """Capacity of each day to come, if every day were like the mean of the last thirty."""
    plan, is_lfp = simulated.plan, int(MAKES[simulated.plan.chemistry].is_lfp)
    parts = []
    for number in range(plan.batteries):
        lately = simulated.life.days[number, -30:].mean(axis=0)
        last = simulated.life.days[number, -1]
        new = last[physics.Q_MEAN] / (1.0 - last[[physics.LOSS_CALENDAR, physics.LOSS_CYCLE, physics.LOSS_KNEE]].sum())
        charged = np.abs(simulated.life.steps[number, -30 * plan.steps_per_day :, physics.MEAN_CURRENT]).sum()
        cycles = charged * plan.interval_seconds / 3600.0 / (2 * simulated.cells.capacity_ah) / min(30, plan.days)
        middle = float(simulated.cells.nominal_volt)
        wear = physics.cycle_stress(is_lfp, lately[physics.C_RATE], lately[physics.DEPTH], middle)
        knee = sum(fault.row[physics.KNEE] for fault in simulated.faults if fault.battery == number)
        lost = _onward(is_lfp, last, lately[physics.K_CALENDAR], wear, cycles, knee, _FUTURE_DAYS)
        days = plan.days + np.arange(_FUTURE_DAYS)
        parts.append(
            pl.DataFrame(
                {"rack_id": [plan.battery_id(number)] * len(days), "day": days, "q_future": new * (1.0 - lost)}
            )
        )
    return pl.concat(parts)


@njit(cache=True)
def _onward(
    is_lfp: int,
    last: Floats,
    calendar: float,
    cycle: float,
    cycles: float,
    knee: float,
    days: int,
) -> Floats:
    sums = np.zeros(2)
    root = last[physics.LOSS_CALENDAR]
    sums[0] = root**2 if is_lfp else root ** (4.0 / 3.0)
    sums[1] = last[physics.LOSS_CYCLE] ** 2
    lost = np.empty(days)
    extra = last[physics.LOSS_KNEE]
    for day in range(days):
        by_calendar, by_cycle = physics.losses(is_lfp, sums)
        lost[day] = by_calendar + by_cycle + extra
        physics.aged(is_lfp, sums, calendar, cycle, 1.0, cycles)
        extra += knee
    return lost


def _racks(simulated: Simulated, daily: pl.DataFrame, future: pl.DataFrame) -> pl.DataFrame:
    plan = simulated.plan
    past = daily.select("rack_id", "q_mean").with_columns(day=pl.int_range(pl.len()).over("rack_id"))
    whole = pl.concat([past.rename({"q_mean": "q_future"}).select("rack_id", "day", "q_future"), future])
    ends = whole.filter(pl.col("q_future") < END_OF_LIFE).group_by("rack_id").agg(eol_day=pl.col("day").min())
    knees = {fault.battery: fault for fault in simulated.faults if fault.kind == "knee"}
    sensors = simulated.sensors
    rows = pl.DataFrame(
        {
            "rack_id": _ids(simulated),
            "site_id": plan.fleet_id,
            "chem": plan.chemistry,
            "profile": _SHORT.get(plan.profile, plan.profile),
            "eol_q": END_OF_LIFE,
            "knee_day": [
                (knees[number].onset - plan.start_time) / timedelta(days=1) if number in knees else None
                for number in range(plan.batteries)
            ],
            "current_gain": sensors.gain,
            "current_offset_a": sensors.offset,
            "bol": simulated.battery[:, physics.CAPACITY],
            "coulombic_eff": simulated.battery[:, physics.EFFICIENCY],
            "age0_years": 0.0,
        },
        schema_overrides={"knee_day": pl.Float64},
    )
    return rows.join(ends, on="rack_id", how="left", maintain_order="left").with_columns(
        pl.col("eol_day").fill_null(-1).cast(pl.Int64),
        rul_days_at_end=(pl.col("eol_day").fill_null(-1) - plan.days).cast(pl.Int64),
    )


def _rainflow(simulated: Simulated) -> pl.DataFrame:
    """Rainflow cycles of the true state of charge: columns rack_id, range, mean, count."""
    parts = []
    for number, name in enumerate(_ids(simulated)):
        found = _cycles(np.ascontiguousarray(simulated.life.steps[number, :, physics.MEAN_SOC]))
        parts.append(
            pl.DataFrame({"range": found[:, 0], "mean": found[:, 1], "count": found[:, 2]}).select(
                pl.lit(name).alias("rack_id"), pl.all()
            )
        )
    return pl.concat(parts)


@njit(cache=True)
def _cycles(value: Floats) -> Floats:  # noqa: C901 - one state machine, read from top to bottom
    """ASTM E1049-85 rainflow counting of one series: rows of range, mean, count."""
    points = np.empty(len(value))
    top = 0
    out = np.empty((len(value) + 1, 3))
    found = 0
    for i in range(len(value)):
        if 0 < i < len(value) - 1:
            before, after = value[i] - value[i - 1], value[i + 1] - value[i]
            if before == 0.0 or before * after > 0.0:
                continue
            if after == 0.0:
                j = i + 1
                while j < len(value) - 1 and value[j + 1] == value[j]:
                    j += 1
                if j < len(value) - 1 and before * (value[j + 1] - value[j]) > 0.0:
                    continue
        points[top] = value[i]
        top += 1
        while top >= 3:
            newest = abs(points[top - 1] - points[top - 2])
            older = abs(points[top - 2] - points[top - 3])
            if newest < older:
                break
            out[found, 0], out[found, 1] = older, (points[top - 2] + points[top - 3]) / 2
            if top == 3:
                out[found, 2] = 0.5
                points[0], points[1] = points[1], points[2]
                top = 2
            else:
                out[found, 2] = 1.0
                points[top - 3] = points[top - 1]
                top -= 2
            found += 1
    for k in range(top - 1):
        out[found, 0], out[found, 1] = abs(points[k] - points[k + 1]), (points[k] + points[k + 1]) / 2
        out[found, 2] = 0.5
        found += 1
    return out[:found]


def _histogram(cycles: pl.DataFrame) -> pl.DataFrame:
    def lower(column: str, width: float) -> pl.Expr:
        return ((pl.col(column) / width).floor() * width).round(2)

    return (
        cycles.group_by("rack_id", range_lo=lower("range", 0.05), mean_lo=lower("mean", 0.1))
        .agg(pl.col("count").sum())
        .sort("rack_id", "range_lo", "mean_lo")
    )


def _site_energy(simulated: Simulated, daily: pl.DataFrame) -> pl.DataFrame:
    charged, discharged = float(daily["wh_chg"].sum()) / 1000, float(daily["wh_dis"].sum()) / 1000
    bought, sold = charged / _INVERTER_EFFICIENCY, discharged * _INVERTER_EFFICIENCY
    cells = simulated.cells
    rated_kwh = cells.capacity_ah * cells.in_series * cells.nominal_volt / 1000
    auxiliary = _AUXILIARY_SHARE * rated_kwh * simulated.plan.batteries * 24 * simulated.plan.days
    return pl.DataFrame(
        {
            "site_id": [simulated.plan.fleet_id],
            "ac_import_kwh": [bought],
            "ac_export_kwh": [sold],
            "aux_kwh": [auxiliary],
            "dc_chg_kwh": [charged],
            "dc_dis_kwh": [discharged],
            "rte_ac_raw": [sold / bought if bought else None],
            "rte_ac_with_aux": [sold / (bought + auxiliary)],
        }
    )
