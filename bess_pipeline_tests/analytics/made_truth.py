"""Truth made by hand: two batteries of a fleet, every value chosen so that errors can be computed in the head."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

import polars as pl

from bess_pipeline.analytics.known_truth import Truth, known_truth
from bess_pipeline_tests.analytics.made_samples import nameplates

FIRST = date(2024, 1, 1)
FLEET = "f"
KEY = ["fleet_id", "battery_id"]


def plates(*names: str) -> pl.DataFrame:
    return nameplates(list(names), fleet_id=FLEET)


def day(number: float) -> datetime:
    """The instant so many days after the first midnight, in UTC but naive, as truth is written."""
    return datetime.combine(FIRST, time()) + timedelta(days=number)


def truth(
    *names: str,
    days: int = 400,
    soc: tuple[float, float] = (0.1, 1.0),
    loss_per_day: float = 1e-4,
    chemistry: str = "LFP",
    end_of_life: int = 2000,
    faults: dict[str, tuple[str, float, float]] | None = None,
    soc_true: pl.DataFrame | None = None,
    cycles: float = 100.0,
    known: tuple[str, ...] | None = None,
) -> Truth:
    """Batteries that lose capacity by a straight line from 100 %, half a cycle a day, 100 Wh in and 90 Wh out a day.

    Args:
        names: Batteries; each is known by its name in capitals.
        days: Days of data.
        soc: Lowest and highest state of charge of every day [1].
        loss_per_day: Capacity lost per day [1].
        chemistry: Of all.
        end_of_life: Day at which all lives end.
        faults: Battery → kind, onset and end [days]; a knee is also the battery's knee.
        soc_true: ts, rack_id and soc_true; nothing by default.
        cycles: Cycles deeper than 5 %.
        known: Batteries that the fleet has nameplates of; all of them by default.
    """
    faults = faults or {}
    daily = pl.DataFrame(
        [
            {
                "rack_id": name.upper(),
                "date": FIRST + timedelta(days=number),
                "q_mean": 1 - loss_per_day * number,
                "soh_usable": 0.98 - loss_per_day * number,
                "r_rel": 1 + 1e-3 * number,
                "wh_chg": 100.0,
                "wh_dis": 90.0,
                "soc_min": soc[0],
                "soc_max": soc[1],
                "efc_cum": 0.5 * (number + 1),
            }
            for name in names
            for number in range(days)
        ]
    )
    racks = pl.DataFrame(
        [
            {
                "rack_id": name.upper(),
                "chem": chemistry,
                "eol_day": end_of_life,
                "knee_day": faults[name][1] if faults.get(name, ("",))[0] == "knee" else None,
            }
            for name in names
        ],
        schema_overrides={"knee_day": pl.Float64},
    )
    moment = pl.Datetime("us")
    planted = pl.DataFrame(
        [
            {"rack_id": name.upper(), "fault": kind, "onset": day(onset), "end": day(end)}
            for name, (kind, onset, end) in faults.items()
        ],
        schema={"rack_id": pl.String, "fault": pl.String, "onset": moment, "end": moment},
    )
    future = pl.DataFrame(
        {
            "rack_id": [name.upper() for name in names for _ in range(100)],
            "day": [days + 7 * step for _ in names for step in range(100)],
            "q_future": [1 - loss_per_day * (days + 7 * step) for _ in names for step in range(100)],
        }
    )
    tables = {
        "daily": daily,
        "racks": racks,
        "faults": planted,
        "soc_5min": pl.DataFrame(schema={"ts": moment, "rack_id": pl.String, "soc_true": pl.Float32})
        if soc_true is None
        else soc_true,
        "rainflow_hist": pl.DataFrame(
            {
                "rack_id": [name.upper() for name in names for _ in range(2)],
                "range_lo": [0.0, 0.05] * len(names),
                "count": [1000.0, cycles] * len(names),
            }
        ),
        "future_q": future,
    }
    run = {"start": FIRST.isoformat(), "days": days, "dt": 300, "eol": 0.8}
    return known_truth(tables, run, plates(*(known or names)))


def values(errors: pl.DataFrame, metric: str, estimator: str = "bess") -> dict[tuple[str, int | None], float]:
    """Battery and day → value of one metric."""
    rows = errors.filter(metric=metric, estimator=estimator)
    return {(row["battery_id"], row["day"]): row["value"] for row in rows.iter_rows(named=True)}
