"""A deployment whose warehouse holds made-up rows in each table that the API lists."""

import itertools
import json
from datetime import UTC, date, datetime, timedelta

import polars as pl
import pytest
from dataframely.random import Generator

from bess_pipeline.api.routes.batteries import NOUNS
from bess_pipeline.config import Settings
from bess_pipeline.lake.contracts import stored_contract
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.warehouse import Warehouse
from bess_pipeline.sources.terms import Economics, Warranty, assumptions
from bess_pipeline.tables import catalog

FIRST = date(2026, 3, 1)
#: Two fleets that share a battery's id; one that a path and a query have to survive.
ODD = "rack 1/ä'; DROP TABLE batteries; --"
BATTERIES = [("alpha", "b1"), ("alpha", ODD), ("beta", "b1"), ("beta", "b2")]
PER_BATTERY = 7


def made(table, count, **given):
    """Rows that keep the contract of a table: what is not given is random, and the same each time."""
    contract = stored_contract(table)
    chosen = {
        name: list(itertools.islice(itertools.cycle(column.metadata["options"]), count))
        for name, column in contract.columns().items()
        if column.check is not None
    }
    return contract.sample(count, overrides=chosen | given, generator=Generator(seed=1))


def rows_of(table, time):
    """Rows of each battery, days or instants apart."""
    frames = []
    for fleet_id, battery_id in BATTERIES:
        when = [FIRST + timedelta(days=n) for n in range(PER_BATTERY)]
        if table.columns[time].dtype != pl.Date:
            when = [datetime(day.year, day.month, day.day, 7, 30, 0, 123456, tzinfo=UTC) for day in when]
        given = {"fleet_id": [fleet_id] * PER_BATTERY, "battery_id": [battery_id] * PER_BATTERY, time: when}
        frames.append(made(table, PER_BATTERY, **given))
    return pl.concat(frames)


def events():
    """Events of which some are open."""
    count = 9
    which = [BATTERIES[n % 4] for n in range(count)]
    begun = [datetime(2026, 3, 1 + n, tzinfo=UTC) for n in range(count)]
    return made(
        catalog.ANOMALY_EVENTS,
        count,
        event_id=[f"e{n}" for n in range(count)],
        fleet_id=[fleet_id for fleet_id, _ in which],
        battery_id=[battery_id for _, battery_id in which],
        started_at=begun,
        ended_at=[None if n % 3 else begun[n] + timedelta(hours=1) for n in range(count)],
        detected_at=begun,
        detected_on=[begun[n].date() for n in range(count)],
        evidence=[json.dumps({"features": [{"name": "x", "value": n}]}) for n in range(count)],
    )


def agreed():
    """What was agreed of the first fleet; of the other nothing was."""
    warranty = Warranty.model_validate({
        "starts_on": FIRST, "years": 10, "soh_by_years": [[0, 100], [10, 70]], "source": "<Contract> & 'annex'",
        "availability": {"percent": 98, "exclusions": [{"first": FIRST, "last": FIRST, "reason": "grid works"}]},
    })  # fmt: skip
    economics = Economics.model_validate({"currency": "EUR", "replacement_cost_per_kwh": 150})
    rows = assumptions("alpha", warranty, None, economics)
    provenance = {name: pl.lit("x") for name in catalog.Provenance.column_names()}
    return rows.with_columns(**provenance)


def contents():
    """What is put into the lake, by table."""
    fleets, batteries = zip(*BATTERIES, strict=True)
    days = [None, *(FIRST + timedelta(days=n) for n in range(5))]
    quality = [made(catalog.DATA_QUALITY_DAILY, 6, fleet_id=[name] * 6, date=days) for name in ("alpha", "beta")]
    each = {noun.table: rows_of(noun.table, noun.time) for noun in NOUNS}
    return each | {
        catalog.BATTERIES: made(catalog.BATTERIES, 4, fleet_id=fleets, battery_id=batteries),
        catalog.BATTERY_LATEST: made(
            catalog.BATTERY_LATEST,
            4,
            fleet_id=fleets,
            battery_id=batteries,
            open_events=[1, 0, 2, 3],
            timestamp=[datetime(2026, 3, 8, tzinfo=UTC)] * 4,
        ),
        catalog.DATA_QUALITY_DAILY: pl.concat(quality),
        catalog.ASSUMPTIONS: agreed(),
        catalog.AUGMENTATION_PLAN: made(
            catalog.AUGMENTATION_PLAN,
            6,
            fleet_id=["alpha"] * 6,
            percentile=["p10", "p50", "p90"] * 2,
            year=[0, 0, 0, 1, 1, 1],
        ),
        catalog.WARRANTY_YEARS: made(
            catalog.WARRANTY_YEARS, 4, fleet_id=fleets, battery_id=batteries, year=[1, 1, 2, 1], first_day=[FIRST] * 4
        ),
        catalog.ANOMALY_EVENTS: events(),
    }


def put(settings, tables):
    """Publish a warehouse of these rows, by table."""
    lake = Lake(settings.lake)
    for table, rows in tables.items():
        for fleet_id in ("alpha", "beta"):
            lake.replace(table, rows.filter(fleet_id=fleet_id), Slice(fleet_id))
    Warehouse(settings.warehouse).publish(lake)


def settled(home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BESS_HOME", str(home))
        return Settings()
