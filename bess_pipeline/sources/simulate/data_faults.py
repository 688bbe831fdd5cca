"""The faults that data have in life: lost, doubled, late, shuffled, stuck, in other units, of wrong sign or clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
import polars as pl

from bess_pipeline.sources.simulate.plan import Plan

#: Faults per battery and 30 days; those of a site per site and 30 days.
RATES = {
    "dropout": 1.2,
    "nan": 0.5,
    "spike": 2.0,
    "dup": 0.5,
    "shuffle": 0.4,
    "stuck": 0.6,
    "freeze": 0.15,
    "unit_mv": 0.05,
    "unit_f": 0.05,
    "soc_frac": 0.04,
    "sign_flip": 0.02,
}
SITE_RATES = {"late": 1.2, "resend": 0.25, "clock": 0.15}

_NAMES = {
    "current_a": "current_ampere",
    "voltage_v": "voltage_volt",
    "cell_v_min": "cell_voltage_min_volt",
    "cell_v_max": "cell_voltage_max_volt",
    "temp_avg_c": "temperature_celsius",
    "bms_soc_pct": "soc_bms_percent",
}
_HOURS = {
    "dropout": (0.05, 6.0), "nan": (0.2, 1.5), "dup": (0.2, 0.6), "shuffle": (0.5, 2.0), "stuck": (1.0, 12.0),
    "freeze": (1.0, 4.0), "unit_mv": (27.0, 94.0), "unit_f": (46.0, 117.0), "soc_frac": (48.0, 140.0),
    "sign_flip": (40.0, 140.0), "late": (4.0, 24.0), "resend": (24.0, 24.0), "clock": (20.0, 60.0),
}  # fmt: skip


@dataclass
class Delivery:
    """The rows as they are sent.

    Attributes:
        rows: Columns of the samples, and ``sent`` (UTC day of the file) and ``place`` (order within it).
        events: One row per data fault, as in the truth.
    """

    rows: pl.DataFrame
    events: list[dict[str, object]] = field(default_factory=list)


def delivered(plan: Plan, samples: pl.DataFrame) -> Delivery:
    """Send samples day by day, with data faults when the plan says so.

    Args:
        plan: The fleet's plan.
        samples: One row per battery and instant, sorted by battery and instant.

    Raises:
        ValueError: If the plan names a rate of a data fault that there is none of.
    """
    unknown = set(plan.data_fault_rates) - {*RATES, *SITE_RATES}
    if unknown:
        raise ValueError(f"data_fault_rates must be of {(*RATES, *SITE_RATES)}, got {sorted(unknown)}")
    place = pl.int_range(pl.len()).cast(pl.Float64)
    rows = samples.with_columns(sent=pl.col("timestamp").dt.date(), place=place)
    rows = rows.sort("timestamp", "battery_id", maintain_order=True).with_columns(place=place)
    delivery = Delivery(rows)
    if plan.data_faults:
        chance = np.random.default_rng([plan.seed, 11])
        for number in range(plan.batteries):
            for kind in RATES:
                for _ in range(_count(plan, kind, chance)):
                    _strike(plan, delivery, kind, plan.battery_id(number), chance)
        for kind in SITE_RATES:
            for _ in range(_count(plan, kind, chance)):
                _strike(plan, delivery, kind, None, chance)
    return delivery


def _count(plan: Plan, kind: str, chance: np.random.Generator) -> int:
    usual = RATES[kind] if kind in RATES else SITE_RATES[kind]
    return int(chance.poisson(plan.data_fault_rates.get(kind, usual) * plan.days / 30))


def _strike(plan: Plan, delivery: Delivery, kind: str, battery: str | None, chance: np.random.Generator) -> None:
    hours = plan.days * 24.0
    lasts = timedelta(seconds=plan.interval_seconds) if kind == "spike" else _length(kind, hours, chance)
    begins = plan.start_time + timedelta(seconds=int(chance.uniform(0, max(hours * 3600 - lasts.total_seconds(), 1))))
    if kind == "resend":
        begins = begins.replace(hour=0, minute=0, second=0)
    ends = begins + lasts
    column = str(chance.choice(list(_NAMES))) if kind in {"nan", "spike", "stuck"} else ""
    param = {"late": float(chance.integers(1, 4)), "clock": 3600.0}.get(kind, 0.0)
    hit = pl.col("timestamp").is_between(begins, ends, closed="left")
    if battery is not None:
        hit &= pl.col("battery_id") == battery
    delivery.rows = _struck(delivery.rows, kind, hit, _NAMES.get(column, ""), param, chance)
    delivery.events.append(
        {
            "rack_id": battery or plan.fleet_id,
            "scope": "rack" if battery else "site",
            "kind": kind,
            "column": column,
            "t_on": begins.replace(tzinfo=None),
            "t_off": ends.replace(tzinfo=None),
            "param": param,
        }
    )


def _length(kind: str, hours: float, chance: np.random.Generator) -> timedelta:
    low, high = _HOURS[kind]
    return timedelta(seconds=int(3600 * min(low * (high / low) ** chance.uniform(), 0.5 * hours)))


def _struck(  # noqa: C901, PLR0911, PLR0912 - one line of what happens per kind
    rows: pl.DataFrame, kind: str, hit: pl.Expr, column: str, param: float, chance: np.random.Generator
) -> pl.DataFrame:
    def changed(**values: pl.Expr) -> pl.DataFrame:
        return rows.with_columns(
            pl.when(hit).then(value).otherwise(pl.col(name)).alias(name) for name, value in values.items()
        )

    match kind:
        case "dropout":
            return rows.filter(~hit)
        case "nan":
            return changed(**{column: pl.lit(None)})
        case "spike":
            factor = float(chance.choice([-4.0, -1.5, 0.0, 2.5, 6.0]))
            return changed(**{column: (pl.col(column) * factor + (50 if factor == 0.0 else 0)).round(3)})
        case "dup":
            again = rows.filter(hit).with_columns(pl.col("place") + 0.5)
            return pl.concat([rows, again])
        case "shuffle":
            places = rows.filter(hit)["place"].to_numpy().copy()
            chance.shuffle(places)
            order = pl.Series("shuffled", places)
            struck = rows.filter(hit).with_columns(place=order)
            return pl.concat([rows.filter(~hit), struck])
        case "stuck":
            return changed(**{column: pl.col(column).filter(hit).first()})
        case "freeze":
            held = [name for name in rows.columns if name not in {"timestamp", "battery_id", "sent", "place"}]
            return changed(**{name: pl.col(name).filter(hit).first() for name in held})
        case "unit_mv":
            cells = ("cell_voltage_min_volt", "cell_voltage_max_volt")
            return changed(**{name: pl.col(name) * 1000 for name in cells})
        case "unit_f":
            heat = ("temperature_celsius", "temperature_min_celsius", "temperature_max_celsius")
            return changed(**{name: (pl.col(name) * 1.8 + 32).round(1) for name in heat})
        case "soc_frac":
            return changed(soc_bms_percent=(pl.col("soc_bms_percent") / 100).round(3))
        case "sign_flip":
            return changed(current_ampere=-pl.col("current_ampere"))
        case "clock":
            return changed(timestamp=pl.col("timestamp") + pl.duration(seconds=int(param)))
        case "late":
            return changed(sent=pl.col("sent") + pl.duration(days=int(param)), place=pl.col("place") + 1e9)
        case "resend":
            again = rows.filter(hit).with_columns(pl.col("sent") + pl.duration(days=2), pl.col("place") + 2e9)
            return pl.concat([rows, again])
        case _:
            raise ValueError(f"unknown data fault {kind}")


def events_table(events: list[dict[str, object]]) -> pl.DataFrame:
    """The data faults as they stand in the truth."""
    moment = pl.Datetime("us")
    return pl.DataFrame(
        events,
        schema={
            "rack_id": pl.String,
            "scope": pl.String,
            "kind": pl.String,
            "column": pl.String,
            "t_on": moment,
            "t_off": moment,
            "param": pl.Float64,
        },
    ).sort("rack_id", "t_on", "kind", "column")
