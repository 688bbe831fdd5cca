"""`bess evaluate`: what was found on fleets whose truth is known, beside that truth."""

from collections.abc import Sequence
from pathlib import Path

import polars as pl
from rich.console import Group, RenderableType
from rich.table import Table as Grid

from bess_pipeline.analytics import evaluation
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.store import Slice
from bess_pipeline.tables import catalog
from bess_pipeline.tables.telemetry import FLAGS


def evaluated(home: Home, fleets: Sequence[str], truth: Path | None) -> RenderableType:
    """Tables of data faults found and repaired, and of the charge counted.

    Args:
        home: The deployment.
        fleets: Its fleets.
        truth: Folder that holds ``truth/``; nothing for the deployment's own, one per fleet.

    Raises:
        LookupError: If there is no truth.
    """
    scores = [_of_fleet(home, fleet_id, _folder(home, fleet_id, truth)) for fleet_id in fleets]
    flags, repairs, rows, errors = (pl.concat(part) for part in zip(*scores, strict=True))
    return Group(_flags(flags), _repairs(repairs), _rows(rows), _throughput(errors))


def _folder(home: Home, fleet_id: str, truth: Path | None) -> Path:
    folder = (home.settings.truth / fleet_id if truth is None else truth) / "truth"
    if not (folder / "dq_events.parquet").is_file():
        raise LookupError(f"{fleet_id}: no truth in {folder}; name the folder that holds truth/")
    return folder


def _of_fleet(home: Home, fleet_id: str, folder: Path) -> tuple[pl.DataFrame, ...]:
    """Scores of flags, repairs and rows, and errors of the throughput."""
    lake, part = home.lake, Slice(fleet_id)
    batteries = lake.read(catalog.BATTERIES, part)
    struck = evaluation.struck_batteries(pl.read_parquet(folder / "dq_events.parquet"), batteries)
    names = ("fleet_id", "battery_id", "timestamp")
    clean = lake.scan(catalog.CLEAN_TELEMETRY, part).select(*names, *FLAGS).collect()
    usual = lake.scan(catalog.DAY_EVIDENCE, part).select(pl.col("usual_interval_us").median()).collect().item()
    racks, faults = (pl.read_parquet(folder / f"{name}.parquet") for name in ("racks", "faults"))
    errors = evaluation.throughput_errors(
        lake.read(catalog.BATTERY_DAILY, part), pl.read_parquet(folder / "daily.parquet"), racks, batteries
    )
    sick = faults["rack_id"].str.to_uppercase().implode()
    return (
        evaluation.flag_scores(clean, struck),
        evaluation.repair_scores(lake.read(catalog.CLOSED_INTERVALS, part), struck, batteries),
        evaluation.row_scores(clean, struck, seconds=max(1, round((usual or 6e7) / 1e6))),
        errors.filter(~pl.col("battery_id").str.to_uppercase().is_in(sick)),
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.3f}" if whole else "–"


def _flags(scores: pl.DataFrame) -> Grid:
    grid = Grid("fault", "column", "events", "found", "flagged samples", "of these in a fault")
    grid.title = "Data faults and their flags"
    counts = ("events", "found", "samples", "right")
    for kind, column, events, found, samples, right in (
        scores.group_by("kind", "column").agg(pl.col(counts).sum()).sort("kind", "column").iter_rows()
    ):
        grid.add_row(kind, column, str(events), _share(found, events), str(samples), _share(right, samples))
    return grid


def _repairs(scores: pl.DataFrame) -> Grid:
    grid = Grid("fault", "events", "intervals in faults", "repaired", "repaired anywhere", "of these in a fault")
    grid.title = "Units and signs, repaired in the 5-minute rows"
    counts = ("events", "intervals", "recovered", "converted", "right")
    for kind, events, intervals, recovered, converted, right in (
        scores.group_by("kind").agg(pl.col(counts).sum()).sort("kind").iter_rows()
    ):
        grid.add_row(
            kind, str(events), str(intervals), _share(recovered, intervals), str(converted), _share(right, converted)
        )
    return grid


def _rows(scores: pl.DataFrame) -> Grid:
    grid = Grid("fault", "events", "samples expected", "there")
    grid.title = "Samples late, twice, in disorder or under a wrong clock"
    for kind, events, expected, present in (
        scores.group_by("kind").agg(pl.col("events", "expected", "present").sum()).sort("kind").iter_rows()
    ):
        grid.add_row(kind, str(events), str(expected), _share(present, expected))
    return grid


def _throughput(errors: pl.DataFrame) -> Grid:
    grid = Grid("fleet", "battery-days", "median |error| [%]", "95th percentile [%]")
    grid.title = "Charge throughput of healthy batteries, days of 0.1 cycles or more, without the sensor's gain"
    size = pl.col("error_percent").abs()
    by_fleet = errors.group_by("fleet_id").agg(n=pl.len(), p50=size.median(), p95=size.quantile(0.95)).sort("fleet_id")
    whole = errors.select(fleet_id=pl.lit("all"), n=pl.len(), p50=size.median(), p95=size.quantile(0.95))
    for fleet_id, n, p50, p95 in pl.concat([by_fleet, whole.select(by_fleet.columns)]).iter_rows():
        grid.add_row(fleet_id, str(n), *("–" if value is None else f"{value:.3f}" for value in (p50, p95)))
    return grid
