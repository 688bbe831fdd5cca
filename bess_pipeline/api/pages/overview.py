"""The first page: every fleet, and every battery with how it stands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import polars as pl
from fastapi import APIRouter, Query, Request, Response

from bess_pipeline.api.listing import one_of
from bess_pipeline.api.pages.charts import spark
from bess_pipeline.api.pages.site import Viewed, page, with_query
from bess_pipeline.api.routes.fleets import fleets_now
from bess_pipeline.lake.reading import Seen
from bess_pipeline.tables.fleet import HEALTH_STATUSES

router = APIRouter(include_in_schema=False)

_PER_PAGE, _WEEKS_SHOWN = 50, 26

_WORST_FIRST = "array_position(['critical', 'warning', 'watch', 'unknown', 'good'], coalesce(health_status, 'unknown'))"


@dataclass(frozen=True)
class Column:
    """A column of the table of batteries.

    Attributes:
        name: Its heading.
        sql: What it is sorted by.
        title: What it means.
        is_number: Whether it holds numbers.
    """

    name: str
    sql: str
    title: str
    is_number: bool = True


COLUMNS: dict[str, Column] = {
    "battery": Column("Battery", "battery_id", "Battery, and its chemistry", is_number=False),
    "fleet": Column("Fleet", "fleet_id", "Fleet", is_number=False),
    "status": Column("Status", _WORST_FIRST, "How it is doing; the worst first", is_number=False),
    "soh": Column("SOH %", "soh_percent", "State of health, of rated capacity"),
    "loss": Column("Loss %/a", "degradation_percent_per_year", "Loss of state of health per year"),
    "soc": Column("SOC %", "soc_percent", "State of charge at its last sample"),
    "temperature": Column("°C", "temperature_celsius", "Mean cell temperature at its last sample"),
    "cycles": Column("Cycles", "equivalent_full_cycles", "Equivalent full cycles since new, as far as known"),
    "events": Column("Open", "open_events", "Events that are open"),
    "seen": Column("Last sample", "timestamp", "Its last sample, UTC"),
}

_BATTERIES = """
    SELECT b.fleet_id, b.battery_id, b.chemistry, l.* EXCLUDE (fleet_id, battery_id) FROM batteries b
    LEFT JOIN battery_latest l USING (fleet_id, battery_id)
    WHERE ($fleet IS NULL OR fleet_id = $fleet) AND ($named IS NULL OR contains(lower(battery_id), lower($named)))
        AND ($status IS NULL OR coalesce(health_status, 'unknown') = $status)
"""

#: State of health of some batteries by week, the newest half year.
_WEEKS = """
    SELECT fleet_id, battery_id, list(soh_percent ORDER BY date) AS weeks FROM state_of_health
    WHERE (fleet_id, battery_id) IN (SELECT unnest($fleets::VARCHAR[]), unnest($batteries::VARCHAR[]))
        AND date > (SELECT max(date) FROM state_of_health) - 182 AND dayofweek(date) = 1
    GROUP BY ALL
"""


@router.get("/")
def overview(
    asked: Viewed,
    request: Request,
    fleet: Annotated[str | None, Query(max_length=200)] = None,
    status: Annotated[str | None, Query(pattern=f"{one_of(HEALTH_STATUSES)}|^$")] = None,
    named: Annotated[str | None, Query(max_length=200)] = None,
    sort: Annotated[str, Query(pattern=one_of(COLUMNS))] = "status",
    part: Annotated[int, Query(ge=0, le=100_000)] = 0,
    *,
    down: Annotated[bool, Query()] = False,
) -> Response:
    """Every fleet, and a table of batteries that can be sorted and filtered."""
    values = {"fleet": fleet or None, "status": status or None, "named": named or None}
    way = "DESC" if down else "ASC"
    order = f"{COLUMNS[sort].sql} {way} NULLS LAST, fleet_id, battery_id LIMIT {_PER_PAGE} OFFSET {part * _PER_PAGE}"
    batteries = asked.publication.ask(f"{_BATTERIES} ORDER BY {order}", values)
    count = asked.publication.ask(f"SELECT count(*) FROM ({_BATTERIES})", values).item()
    parts = {
        "before": with_query(request, part=part - 1 or None) if part else None,
        "after": with_query(request, part=part + 1) if (part + 1) * _PER_PAGE < count else None,
    }
    return page(
        request,
        "overview",
        fleets=fleets_now(asked.publication),
        batteries=batteries.to_dicts(),
        sparks=_sparks(asked.publication, batteries),
        columns=COLUMNS,
        statuses=HEALTH_STATUSES,
        chosen=values | {"sort": sort, "down": down},
        sorted_by={
            key: with_query(request, sort=key, down="true" if key == sort and not down else None, part=None)
            for key in COLUMNS
        },
        count=count,
        first=part * _PER_PAGE,
        parts=parts,
    )


def _sparks(seen: Seen, batteries: pl.DataFrame) -> dict[tuple[str, str], str]:
    if batteries.is_empty():
        return {}
    which = {"fleets": batteries["fleet_id"].to_list(), "batteries": batteries["battery_id"].to_list()}
    weeks = seen.ask(_WEEKS, which)
    known = weeks["weeks"].explode().drop_nulls()
    known = known.filter(known.is_finite())
    if known.is_empty():
        return {}
    low, high = float(known.min()), float(known.max())  # type: ignore[arg-type]
    return {
        (fleet_id, battery_id): spark(values[-_WEEKS_SHOWN:], low, high)
        for fleet_id, battery_id, values in weeks.iter_rows()
    }
