"""`bess evaluate`: what was found on fleets whose truth is known, beside that truth."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from bess_pipeline.analytics import evaluation
from bess_pipeline.analytics.accuracy_table import figures
from bess_pipeline.analytics.alarm_points import Raised, mistaken_share, operating_points
from bess_pipeline.analytics.fleet_accuracy import JUDGED, Accuracy, fleet_accuracy
from bess_pipeline.analytics.known_truth import TRUTH_TABLES, known_truth
from bess_pipeline.defs.resources import Home
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.tables.keys import BATTERY
from bess_pipeline.tables.telemetry import FLAGS

_ABOUT = (
    "Accuracy is that of batteries without a planted battery fault, data faults included; "
    "n counts batteries, or estimates (of so many batteries) on several days."
)


@dataclass(frozen=True)
class Evaluation:
    """What was found on fleets, beside what is known of them.

    Attributes:
        fleets: The fleets.
        left_out: Why others are not among them, a line each.
        accuracy: Rows of `bess_pipeline.analytics.accuracy_table.FIGURES`.
        flags: Data faults and the flags that tell them.
        repairs: Data faults and the repairs that undo them.
        rows: Samples that were delivered in unusual ways.
        throughput: Errors of the charge throughput of each battery and day.
        raised: Alarms, and what they should have told.
    """

    fleets: list[str]
    left_out: list[str]
    accuracy: pl.DataFrame
    flags: pl.DataFrame
    repairs: pl.DataFrame
    rows: pl.DataFrame
    throughput: pl.DataFrame
    raised: Raised


@dataclass(frozen=True)
class _FleetScores:
    accuracy: Accuracy
    flags: pl.DataFrame
    repairs: pl.DataFrame
    rows: pl.DataFrame
    throughput: pl.DataFrame


def evaluated(home: Home, fleets: Sequence[str], truth: Path | None) -> Evaluation:
    """Hold what a deployment found against the truth of its fleets.

    Args:
        home: The deployment.
        fleets: Its fleets; those without truth are left out.
        truth: Folder that holds ``truth/`` and ``meta/``; nothing for the deployment's own, one per fleet.

    Raises:
        LookupError: If there is no truth of any fleet, or the lake is not one that today's code made.
    """
    folders: dict[str, Path] = {}
    scores: dict[str, _FleetScores] = {}
    left_out = []
    for fleet_id in fleets:
        try:
            folders[fleet_id] = _folder(home, fleet_id, truth)
        except LookupError as unknown:
            left_out.append(str(unknown))
    if folders:
        _refuse_outdated(home.lake)
    for fleet_id, folder in folders.items():
        try:
            scores[fleet_id] = _of_fleet(home, fleet_id, folder)
        except LookupError as unknown:
            left_out.append(str(unknown))
    if not scores:
        raise LookupError("; ".join(left_out) or "there are no fleets")
    found = list(scores.values())
    return Evaluation(
        fleets=list(scores),
        left_out=left_out,
        accuracy=figures(
            pl.concat(score.accuracy.errors for score in found),
            frozenset().union(*(score.accuracy.missing for score in found)),
        ),
        flags=pl.concat(score.flags for score in found),
        repairs=pl.concat(score.repairs for score in found),
        rows=pl.concat(score.rows for score in found),
        throughput=pl.concat(score.throughput for score in found),
        raised=Raised.of(score.accuracy.raised for score in found),
    )


def shown(found: Evaluation) -> RenderableType:
    """Tables for a person."""
    remarks = [f"left out: {reason}" for reason in found.left_out]
    return Group(
        _flags(found.flags),
        _repairs(found.repairs),
        _rows(found.rows),
        _throughput(found.throughput),
        *accuracy_grids(found.accuracy),
        alarm_grid(found.raised),
        _ABOUT,
        *remarks,
    )


def written(found: Evaluation) -> str:
    """The same as JSON, for machines: a list of objects per table."""
    counts = ("events", "found", "samples", "right")
    size = pl.col("error_percent").abs()
    tables = {
        "accuracy": found.accuracy,
        "flags": found.flags.group_by("kind", "column").agg(pl.col(counts).sum()).sort("kind", "column"),
        "repairs": found.repairs.group_by("kind").agg(pl.col(pl.Int64).sum()).sort("kind"),
        "rows": found.rows.group_by("kind").agg(pl.col(pl.Int64).sum()).sort("kind"),
        "alarms": operating_points(found.raised),
        "data_faults_raised": mistaken_share(found.raised),
        "throughput": found.throughput.group_by("fleet_id")
        .agg(n=pl.len(), p50=size.median(), p95=size.quantile(0.95))
        .sort("fleet_id"),
    }
    content = {"fleets": found.fleets, "left_out": found.left_out, "about": _ABOUT}
    return json.dumps(content | {name: table.to_dicts() for name, table in tables.items()}, indent=1, allow_nan=False)


def accuracy_grids(accuracy: pl.DataFrame) -> list[Grid]:
    """The table of accuracy, a grid per section."""
    grids = []
    for (section,), rows in accuracy.group_by("section", maintain_order=True):
        grid = Grid(str(section), "n", "figure", "without effort", title_justify="left", box=box.SIMPLE_HEAD)
        grid.columns[0].ratio = 1
        for row in rows.iter_rows(named=True):
            n, batteries = row["n"], row["batteries"]
            unit = "" if row["unit"] == "1" else f" [{row['unit']}]"
            dummies = [
                f"{row[place]} {_number(row[f'{place}_value'])}" + _unlike(row[f"{place}_n"], n)
                for place in ("baseline", "second_baseline")
                if row[place] and row[f"{place}_n"]
            ]
            grid.add_row(
                Text(row["name"] + unit),
                str(n) if n == batteries else f"{n} of {batteries}",
                row["missing"] or _number(row["value"]),
                ", ".join(dummies),
            )
        grids.append(grid)
    return grids


def alarm_grid(found: Raised) -> Grid:
    """What each lane finds, and at what price; data faults that were taken for battery faults."""
    points = operating_points(found)
    mistaken = found.mistaken
    faults, years = found.watched["kind"].count(), float(found.watched["healthy_years"].sum())
    grid = Grid(
        "Alarms by lane", "asked", "false a year", "recall", "delay [d]", "precision", "family right",
        title_justify="left", box=box.SIMPLE_HEAD, caption_justify="left",
        caption=f"{faults} faults, {years:.1f} healthy battery-years; asked is the most false alarms a year. Of"
        f" {mistaken.height} data faults that raised anything {mistaken['is_data'].sum()} were told as such.",
    )  # fmt: skip
    grid.columns[0].no_wrap = True
    for (lane,), rows in points.group_by("lane", maintain_order=True):
        for at, row in enumerate(rows.iter_rows(named=True)):
            asked = "" if row["price"] is None else f"≤ {row['price']}"
            told = (_number(row[name]) for name in ("false_per_year", "recall", "delay_days", "precision"))
            right = _number(row["family_right"])
            grid.add_row("" if at else str(lane), asked, *told, right)
    return grid


def _unlike(theirs: int, ours: int) -> str:
    """How many a figure rests on, where that is another number than ours."""
    return "" if theirs == ours else f" (n {theirs})"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _refuse_outdated(lake: Lake) -> None:
    outdated = lake.outdated()
    if outdated:
        named = ", ".join(outdated[:3]) + (f" and {len(outdated) - 3} more" if outdated[3:] else "")
        raise LookupError(f"tables of {lake.uri} are missing or of an older version ({named}): `bess run` makes them")


def _folder(home: Home, fleet_id: str, truth: Path | None) -> Path:
    folder = home.settings.truth / fleet_id if truth is None else truth
    if not (folder / "truth" / "dq_events.parquet").is_file():
        raise LookupError(f"{fleet_id}: no truth in {folder / 'truth'}; name the folder that holds truth/")
    return folder


def _of_fleet(home: Home, fleet_id: str, folder: Path) -> _FleetScores:
    lake, part = home.lake, Slice(fleet_id)
    batteries, daily = lake.read(catalog.BATTERIES, part), lake.read(catalog.BATTERY_DAILY, part)
    if daily.is_empty():
        raise LookupError(f"{fleet_id}: nothing has been made of it yet: `bess run --fleet {fleet_id}` does")
    known = {name: pl.read_parquet(folder / "truth" / f"{name}.parquet") for name in (*TRUTH_TABLES, "dq_events")}
    run = json.loads((folder / "meta" / "run.json").read_text())["args"]
    struck = evaluation.struck_batteries(known["dq_events"], batteries)
    accuracy = fleet_accuracy(_judged(home, part), batteries, known_truth(known, run, batteries), struck)
    names = (*BATTERY, "timestamp")
    clean = lake.scan(catalog.CLEAN_TELEMETRY, part).select(*names, *FLAGS).collect()
    usual = lake.scan(catalog.DAY_EVIDENCE, part).select(pl.col("usual_interval_us").median()).collect().item()
    errors = evaluation.throughput_errors(daily, known["daily"], known["racks"], batteries)
    sick = known["faults"]["rack_id"].str.to_uppercase().implode()
    return _FleetScores(
        accuracy=accuracy,
        flags=evaluation.flag_scores(clean, struck),
        repairs=evaluation.repair_scores(lake.read(catalog.CLOSED_INTERVALS, part), struck, batteries),
        rows=evaluation.row_scores(clean, struck, seconds=max(1, round((usual or 6e7) / 1e6))),
        throughput=errors.filter(~pl.col("battery_id").str.to_uppercase().is_in(sick)),
    )


def _judged(home: Home, part: Slice) -> dict[str, pl.DataFrame]:
    """The tables that accuracy is judged by, as far as the pipeline makes them."""
    tables = {}
    for name, columns in JUDGED.items():
        if name in catalog.TABLES:
            rows = home.lake.scan(catalog.TABLES[name], part)
            tables[name] = (rows.select(columns) if columns else rows).collect()
    return tables


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
