"""The page of a battery, and that of two beside each other."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Annotated, Any
from urllib.parse import quote

import polars as pl
from fastapi import APIRouter, HTTPException, Query, Request, Response

from bess_pipeline.api.deps import fleet_of, one
from bess_pipeline.api.pages.charts import Chart, Trace, axis, band, level, line, upright
from bess_pipeline.api.pages.site import FIRST_DAY, LAST_DAY, Viewed, battery_address, page
from bess_pipeline.lake.reading import Seen

router = APIRouter(include_in_schema=False)

_OF = "fleet_id = $fleet_id AND battery_id = $battery_id"
_SEVERITIES = {"critical": "bad", "warning": "limit", "info": "other"}
_LONGEST_LIST = 100

_CYCLES = f"""
    SELECT (10 * n)::INTEGER AS depth, coalesce(cycles, 0) AS cycles FROM range(10) r(n) LEFT JOIN (
        SELECT least(floor(depth_percent / 10), 9) AS n, sum(count) AS cycles FROM cycles WHERE {_OF} GROUP BY ALL
    ) USING (n) ORDER BY n
"""
_FORECAST = (
    f"SELECT * FROM capacity_forecast WHERE {_OF} AND as_of = (SELECT max(as_of) FROM capacity_forecast WHERE {_OF}) "
    "ORDER BY date"
)
_ABSENT = f"""
    SELECT
        date_trunc('week', date)::DATE AS week, sum(outage_hours) AS outage, sum(standstill_hours) AS standstill,
        sum(lost_communication_hours) AS lost_communication, sum(unknown_hours) AS unknown
    FROM availability WHERE {_OF} GROUP BY ALL ORDER BY week
"""
#: What of it is what, and how it is coloured.
_ABSENCES = (
    ("outage", "outage", "bad"),
    ("standstill", "standstill", "limit"),
    ("lost_communication", "only communication was lost", "other"),
    ("unknown", "nobody knows", "forecast"),
)
_EVENTS = f"SELECT * FROM event_verdicts WHERE {_OF} ORDER BY detected_at DESC, event_id LIMIT {_LONGEST_LIST}"
_LATEST = f"SELECT * FROM battery_latest WHERE {_OF}"
_SOH = f"SELECT * FROM state_of_health WHERE {_OF} ORDER BY date DESC LIMIT 1"
_RISK = f"SELECT * FROM failure_risk WHERE {_OF} ORDER BY date DESC LIMIT 1"
_DEGRADATION = f"SELECT * FROM degradation WHERE {_OF} ORDER BY as_of DESC LIMIT 1"


def _rows(seen: Seen, table: str, which: dict[str, Any], time: str = "date") -> pl.DataFrame:
    return seen.ask(f"SELECT * FROM {table} WHERE {_OF} ORDER BY {time}", which)


def _first(rows: pl.DataFrame) -> dict[str, Any]:
    """The only row; every column unknown where there is none."""
    return rows.row(0, named=True) if rows.height else dict.fromkeys(rows.columns)


@router.get("/fleets/{fleet_id}/batteries/{battery_id:path}")
def battery(
    asked: Viewed,
    request: Request,
    fleet_id: str,
    battery_id: str,
    day: Annotated[date | None, Query(ge=FIRST_DAY, le=LAST_DAY)] = None,
) -> Response:
    """A battery: how it stands, its events, its life so far, and one of its days."""
    seen, which = asked.publication, {"fleet_id": fleet_id, "battery_id": battery_id}
    plate = one(seen.ask(f"SELECT * FROM batteries WHERE {_OF}", which), f"there is no battery {battery_id!r} in it")
    latest, events = _first(seen.ask(_LATEST, which)), seen.ask(_EVENTS, which)
    # The last sample is known up to its end, which may be midnight.
    last = latest["timestamp"] and (latest["timestamp"] - timedelta(microseconds=1)).date()
    shown = day or last
    api = f"/api/v1/batteries/{quote(battery_id, safe='')}"
    of = f"fleet_id={quote(fleet_id, safe='')}&limit=10000"
    charts = [
        _health(seen, which, plate, events, f"{api}/health?{of}"),
        _cycles(seen, which, f"{api}/cycles?{of}"),
        _resistance(seen, which, f"{api}/resistance?{of}"),
        _efficiency(seen, which, f"{api}/daily?{of}"),
        _absences(seen, which, f"{api}/interruptions?{of}"),
    ]
    days = [] if shown is None else _day(seen, which, shown, f"{api}/telemetry?{of}&from={shown}&to={shown}")
    return page(
        request,
        "battery",
        plate=plate,
        latest=latest,
        soh=_first(seen.ask(_SOH, which)),
        risk=_first(seen.ask(_RISK, which)),
        ageing=_first(seen.ask(_DEGRADATION, which)),
        events=events.to_dicts(),
        charts=charts,
        days=days,
        day=shown,
        before=None if shown is None else shown - timedelta(days=1),
        after=None if shown is None else shown + timedelta(days=1),
    )


def _health(seen: Seen, which: dict[str, Any], plate: dict[str, Any], events: pl.DataFrame, source: str) -> Chart:
    rows, ahead = _rows(seen, "state_of_health", which), seen.ask(_FORECAST, which)
    traces: list[Trace] = [
        *band(rows, "date", "soh_lower_percent", "soh_upper_percent", "90 % interval"),
        line(rows, "date", "soh_percent", "state of health"),
        *band(ahead, "date", "soh_p10_percent", "soh_p90_percent", "80 % of the forecast", "forecast"),
        line(ahead, "date", "soh_p50_percent", "forecast", "forecast", line={"dash": "dot"}),
    ]
    end = float(plate["end_of_life_percent"])
    marks = [
        upright(at, _SEVERITIES[severity])
        for at, severity in events.select("detected_at", "effective_severity").iter_rows()
        if severity != "info"
    ]
    across = level(end, f"end of life, {end:g} %")
    layout = {"yaxis": axis("% of rated capacity"), **across, "shapes": [*across["shapes"], *marks]}
    about = (
        "Capacity over rated capacity with its interval, the forecast to the end of life, and events as upright lines."
    )
    return Chart("State of health", about, traces, layout, source)


def _day(seen: Seen, which: dict[str, Any], day: date, source: str) -> list[Chart]:
    sql = f"SELECT * FROM telemetry_5min WHERE {_OF} AND date = $day ORDER BY timestamp"
    rows = seen.ask(sql, which | {"day": day})
    charge = [
        *band(rows, "timestamp", "soc_lower_percent", "soc_upper_percent", "90 % interval"),
        line(rows, "timestamp", "soc_percent", "ours"),
        line(rows, "timestamp", "soc_bms_percent", "as the battery reports it", "other", line={"dash": "dot"}),
    ]
    heat = [
        line(rows, "timestamp", "temperature_celsius", "mean"),
        line(rows, "timestamp", "temperature_max_celsius", "highest", "bad"),
        line(rows, "timestamp", "ambient_temperature_celsius", "surroundings", "other", line={"dash": "dot"}),
    ]
    heat = [trace for trace in heat if any(value is not None for value in trace["y"])] or heat[:1]
    volt = [line(rows, "timestamp", "voltage_volt", "voltage")]
    current = [line(rows, "timestamp", "current_ampere", "current")]
    return [
        Chart(
            "State of charge",
            f"On {day}, with its 90 % interval.",
            charge,
            {"yaxis": axis("%", range=[-2, 102])},
            source,
        ),
        Chart("Temperature", f"On {day}.", heat, {"yaxis": axis("°C")}, source),
        Chart("Voltage", f"On {day}.", volt, {"yaxis": axis("V")}, source, 220),
        Chart("Current", f"On {day}; positive charges.", current, {"yaxis": axis("A")}, source, 220),
    ]


def _cycles(seen: Seen, which: dict[str, Any], source: str) -> Chart:
    rows = seen.ask(_CYCLES, which)
    names = [f"{depth} to {depth + 10} %" for depth in rows["depth"]]
    bars = {"type": "bar", "x": names, "y": rows["cycles"].to_list(), "role": "own", "name": "cycles"}
    layout = {"yaxis": axis("cycles"), "xaxis": axis("depth"), "showlegend": False}
    return Chart("Cycles by depth", "How many cycles went how deep, counted by rainflow.", [bars], layout, source)


def _resistance(seen: Seen, which: dict[str, Any], source: str) -> Chart:
    rows = _rows(seen, "resistance_daily", which).with_columns(
        (pl.col("resistance_ohm", "resistance_lower_ohm", "resistance_upper_ohm") * 1000).name.suffix("_m")
    )
    traces = [
        *band(rows, "date", "resistance_lower_ohm_m", "resistance_upper_ohm_m", "90 % interval"),
        line(rows, "date", "resistance_ohm_m", "resistance"),
    ]
    return Chart("Resistance", "At 25 °C and 50 % charge.", traces, {"yaxis": axis("mΩ"), "showlegend": False}, source)


def _efficiency(seen: Seen, which: dict[str, Any], source: str) -> Chart:
    rows = _rows(seen, "battery_daily", which)
    lower, upper = (f"round_trip_efficiency_30d_{edge}_percent" for edge in ("lower", "upper"))
    traces = [
        *band(rows, "date", lower, upper, "90 % interval"),
        line(rows, "date", "round_trip_efficiency_30d_percent", "of 30 days"),
    ]
    about = "Energy out over energy in of 30 days, corrected for the charge at both ends."
    return Chart("Round-trip efficiency", about, traces, {"yaxis": axis("%"), "showlegend": False}, source)


def _absences(seen: Seen, which: dict[str, Any], source: str) -> Chart:
    rows = seen.ask(_ABSENT, which)
    bars: list[Trace] = [
        {"type": "bar", "x": rows["week"].to_list(), "y": rows[column].to_list(), "role": role, "name": name}
        for column, name, role in _ABSENCES
    ]
    about = "Hours of each week in which it was silent, and what it was then, or stood still while most others worked."
    return Chart("Silent or at a standstill", about, bars, {"yaxis": axis("h a week"), "barmode": "stack"}, source)


@router.get("/compare")
def compare(
    asked: Viewed,
    request: Request,
    one_fleet: Annotated[str, Query(max_length=200)] = "",
    one_battery: Annotated[str, Query(max_length=200)] = "",
    other_fleet: Annotated[str, Query(max_length=200)] = "",
    other_battery: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Two batteries beside each other."""
    seen = asked.publication
    named = [(one_fleet, one_battery), (other_fleet, other_battery)]
    pair = [
        {"fleet_id": fleet_of(seen, battery_id, fleet_id or None), "battery_id": battery_id}
        for fleet_id, battery_id in named
        if battery_id
    ]
    if len(pair) == 2 and pair[0] == pair[1]:
        raise HTTPException(422, "a battery beside itself: choose another")
    known = seen.ask("SELECT fleet_id, battery_id FROM batteries ORDER BY ALL LIMIT 5000").rows()
    return page(
        request,
        "compare",
        known=known,
        named=named,
        pair=[(*one.values(), battery_address(**one), _first(seen.ask(_LATEST, one))) for one in pair],
        charts=_beside(seen, pair) if len(pair) == 2 else [],
    )


def _beside(seen: Seen, pair: list[dict[str, Any]]) -> list[Chart]:
    told = (
        ("State of health", "state_of_health", "soh{}_percent", 1.0, "%", True),
        ("Resistance", "resistance_daily", "resistance{}_ohm", 1000.0, "mΩ", True),
        ("Round-trip efficiency", "battery_daily", "round_trip_efficiency_30d{}_percent", 1.0, "%", True),
        ("Warmest", "battery_daily", "temperature_max_celsius", 1.0, "°C", False),
        ("Equivalent full cycles a day", "battery_daily", "equivalent_full_cycles", 1.0, "cycles", False),
    )
    charts = []
    for name, table, pattern, scale, unit, has_interval in told:
        columns = [pattern.format(edge) for edge in ("", "_lower", "_upper")]
        traces: list[Trace] = []
        for which, role in zip(pair, ("own", "other"), strict=True):
            of = f"{which['fleet_id']} {which['battery_id']}"
            rows = _rows(seen, table, which).with_columns(pl.col(*dict.fromkeys(columns)) * scale)
            if has_interval:
                traces += band(rows, "date", columns[1], columns[2], f"{of}, 90 % interval", role)
            traces.append(line(rows, "date", columns[0], of, role))
        charts.append(Chart(name, f"{name} of both, day by day.", traces, {"yaxis": axis(unit)}))
    return charts
