"""Steps of a fleet that treat each battery, or day, on its own: done for some batteries or days after the other."""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from tempfile import TemporaryDirectory

import dagster as dg
import polars as pl

from bess_pipeline.defs.increments import BEFORE, Increment, Reach
from bess_pipeline.lake.groups import Share, either, grouped, in_windows, rows_of, rows_of_group
from bess_pipeline.lake.pieces import Pieces
from bess_pipeline.lake.recent import Recent
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables import catalog
from bess_pipeline.tables.catalog import Table

#: What an asset of tables gives: a frame, or several with their names.
Made = pl.DataFrame | Iterable[dg.Output[pl.DataFrame]]


@dataclass(frozen=True)
class Grouped:
    """A table that a step reads, for one group of batteries after the other.

    Attributes:
        groups: The groups; the same for all tables of a step.
        read: Reads the rows of a group.
    """

    groups: tuple[Share, ...]
    read: Callable[[Share], pl.DataFrame]


class InWindows(Grouped):
    """A table that a step reads, for one window of days after the other."""


class InEither(Grouped):
    """A table that a step reads, for windows of days or groups of batteries: whichever reads less."""


Asset = Callable[..., Iterator[dg.Output[Pieces]]]


def by_battery(function: Callable[..., Made]) -> Asset:
    """Let an asset that treats each battery on its own be made for one group of batteries after the other.

    What it gives for a battery must rest on rows of that battery alone, on tables that are of none, and on which day
    is the fleet's last: in groups however small it has to give the same to the last bit.

    Args:
        function: Takes frames, and gives a frame or yields outputs.

    Returns:
        What takes `Grouped` tables of the same names, and yields the outputs in pieces, small tables as well.
    """
    return _in_turn(function, Grouped)


def by_battery_or_days(function: Callable[..., Made]) -> Asset:
    """Let an asset be made as with `by_battery` or as with `by_days`, whichever reads less.

    What it gives must rest on rows of the battery alone, and of a day on what its `Reach` says, and not on a memory.
    """
    return _in_turn(function, InEither)


def by_days(function: Callable[..., Made]) -> Asset:
    """Let an asset that holds batteries against each other be made for one window of days after the other.

    What it gives for a day must rest on what its `Reach` says, and not on a memory; see `by_battery`.
    """
    return _in_turn(function, InWindows)


def _in_turn(function: Callable[..., Made], kind: type[Grouped]) -> Asset:
    names = list(inspect.signature(function).parameters)

    @wraps(function)
    def in_groups(**tables: Grouped) -> Iterator[dg.Output[Pieces]]:
        with TemporaryDirectory(prefix="bess-") as folder:
            for name, pieces in made_in_groups(function, tables, Path(folder)).items():
                yield dg.Output(pieces, name)

    # Dagster looks at what is asked for, and the reader of the lake at what it is asked for.
    parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=kind) for name in names]
    in_groups.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    in_groups.__annotations__ = dict.fromkeys(names, kind)
    return in_groups


def made_in_groups(function: Callable[..., Made], tables: Mapping[str, Grouped], folder: Path) -> dict[str, Pieces]:
    """What a function gives for each group in turn, by the name of the output.

    Args:
        function: Takes frames, and gives a frame or yields outputs.
        tables: What it takes.
        folder: Where what is large is kept.
    """
    made: dict[str, Pieces] = {}
    for group in next(iter(tables.values())).groups:
        given = function(**{name: table.read(group) for name, table in tables.items()})
        for output in (dg.Output(given),) if isinstance(given, pl.DataFrame) else given:
            name = output.output_name
            made[name] = made.get(name, Pieces(folder / name)).with_rows(group, output.value)
    return made


@dataclass(frozen=True)
class Groups:
    """The tables that one step reads, in groups.

    Attributes:
        lake: The lake.
        recent: Reads what is not large.
        fleet_id: The fleet.
        wanted: What has to be made again; everything if nothing is said.
        at_once: Rows that are held at once.
        groups: The groups of batteries, or windows of days.
        kind: Which of both.
    """

    lake: Lake
    recent: Recent
    fleet_id: str
    wanted: Increment | None
    at_once: int
    groups: tuple[Share, ...]
    kind: type[Grouped]

    @classmethod
    def of(
        cls,
        lake: Lake,
        recent: Recent,
        fleet_id: str,
        wanted: Increment | None,
        at_once: int,
        reads: Iterable[Table],
        kind: type[Grouped],
    ) -> "Groups":
        """Cut a fleet so that a step that reads these tables has about so many of their rows at once."""
        parts = {table: Slice(fleet_id) if wanted is None else wanted.part(fleet_id, table) for table in reads}
        reach = Reach() if wanted is None else wanted.reach
        batteries = recent.read(catalog.BATTERIES, Slice(fleet_id))["battery_id"].sort().to_list()
        shares: tuple[Share, ...]
        if kind is InWindows:
            shares = in_windows(lake, parts, at_once, before=reach.before, ahead=reach.ahead)
        elif kind is InEither:
            shares = either(lake, parts, batteries, at_once, before=reach.before, ahead=reach.ahead)
        else:
            shares = grouped(lake, parts, batteries, at_once)
        return cls(lake, recent, fleet_id, wanted, at_once, shares, kind)

    def table(self, name: str) -> Grouped:
        """One of the tables, or what is known of the days before: that of all batteries, for it tells its day."""
        table, wanted = catalog.TABLES[name.removesuffix(BEFORE)], self.wanted
        if wanted is not None and name != table.name:
            known = wanted.memory(self.recent, self.fleet_id, table)
            return self.kind(self.groups, lambda _: known)
        part = Slice(self.fleet_id) if wanted is None else wanted.part(self.fleet_id, table)

        def read(group: Share) -> pl.DataFrame:
            if group.is_all or not table.by_day or rows_of(self.lake, table, part) <= self.at_once:
                return group.of(self.recent.read(table, part))
            return rows_of_group(self.lake, table, part, group)

        return self.kind(self.groups, read)
