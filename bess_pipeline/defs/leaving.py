"""Fleets that leave: put aside and brought back, or erased, with a proof that nothing of them is left."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dagster as dg

from bess_pipeline.config import Settings
from bess_pipeline.defs.fleet_records import remove_fleet, searched_records
from bess_pipeline.defs.instance import instance_of
from bess_pipeline.defs.old_records import RecordFiles
from bess_pipeline.defs.partitions import FLEETS
from bess_pipeline.defs.resources import Home
from bess_pipeline.defs.work import is_on, unfinished_runs
from bess_pipeline.lake.erase import addresses, erase
from bess_pipeline.lake.search import Searched, searched_lake, searched_warehouse, word
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.writes import Writes
from bess_pipeline.sources import retired
from bess_pipeline.tables import catalog


class AtWorkError(RuntimeError):
    """Runs are at work that a fleet must not leave behind."""


@dataclass(frozen=True)
class Erased:
    """What was erased, and what a search found afterwards.

    Attributes:
        tables: Tables of the lake that held something of the fleet.
        runs: Runs that Dagster forgot.
        files: Files and folders beside the lake that were removed.
        kept: Those that were kept.
        proof: What was searched, by place.
    """

    tables: int
    runs: int
    files: tuple[str, ...]
    kept: tuple[str, ...]
    proof: dict[str, Searched]

    @property
    def found(self) -> list[str]:
        """Places that still name the fleet."""
        return [line for searched in self.proof.values() for line in searched.found]


def retire(home: Home, fleet_id: str) -> None:
    """Take a fleet out of the register: nothing starts for it any more; its data stay, published as they are.

    Raises:
        LookupError: If there is no such fleet.
        AtWorkError: If a run is at work on it.
    """
    with _quiet(home.settings, fleet_id) as instance:
        retired.put_aside(home.settings.fleets, fleet_id)
        instance.delete_dynamic_partition(str(FLEETS.name), fleet_id)


def restore(home: Home, fleet_id: str) -> None:
    """Bring a fleet back that was put aside; what its files have brought meanwhile follows with the next run.

    Raises:
        LookupError: If no such fleet was put aside.
    """
    with instance_of(home.settings) as instance:
        retired.put_back(home.settings.fleets, fleet_id)
        instance.add_dynamic_partitions(str(FLEETS.name), [fleet_id])


def extent(home: Home, fleet_id: str) -> dict[str, int]:
    """Rows of a fleet, by table, where it has any: what is lost when it is erased.

    Raises:
        LookupError: If that cannot be the name of a fleet.
    """
    retired.require_name(fleet_id)
    rows = {name: home.lake.count(table, Slice(fleet_id)) for name, table in catalog.TABLES.items()}
    return {name: count for name, count in rows.items() if count}


def erase_fleet(home: Home, fleet_id: str, *, keep_files: bool, told: Callable[[str], None]) -> Erased:
    """Erase a fleet from lake, warehouse, Dagster's records and folders, and search all of them for its name.

    Killed at any moment, it goes on when it is asked again.

    Args:
        home: The deployment.
        fleet_id: The fleet.
        keep_files: Whether its fleet file, which is put aside, its landing folder and its truth stay.
        told: Is told what is being done.

    Raises:
        LookupError: If that cannot be the name of a fleet.
        AtWorkError: If any run is at work: the logs that are cut are those of all fleets.
    """
    retired.require_name(fleet_id)
    settings = home.settings
    with _quiet(settings) as instance:
        if (settings.fleets / f"{fleet_id}.yaml").exists():
            retired.put_aside(settings.fleets, fleet_id)
        told("the lake")
        tables = sum([erase(address, fleet_id) for address in addresses(home.lake)])
        if home.warehouse.path.exists():
            told("the warehouse")
            home.warehouse.discard_unfinished()
            home.warehouse.publish(home.lake, linger_seconds=0)
        told("Dagster's records")
        runs = remove_fleet(instance, fleet_id)
        files = RecordFiles.of(instance)
        busy = files.shrink(in_any_case=True) if files else []
        removed, kept = _files(settings, fleet_id, keep=keep_files)
        Writes(settings.api_writes).forget(fleet_id)
        told("the search")
        proof = {
            "lake": searched_lake(home.lake.uri, fleet_id),
            "warehouse": searched_warehouse(home.warehouse, fleet_id),
            "Dagster's records": searched_records(instance, settings.dagster_home, fleet_id)
            + Searched(found=tuple(f"{name}: somebody was writing it: its empty pages may hold more" for name in busy)),
            "other files": _searched_home(settings, fleet_id, kept),
        }
    return Erased(tables, runs, removed, kept, proof)


def _searched_home(settings: Settings, fleet_id: str, kept: tuple[str, ...]) -> Searched:
    """Look for a fleet in the names of all files of the home, and in the text of those that no other search reads.

    Keys that may see it stay: they are people's, and hold nothing of it.
    """
    named, searched = word(fleet_id), Searched()
    apart = [Path(settings.lake), settings.warehouse.parent, settings.dagster_home, settings.api_keys, *map(Path, kept)]
    for path in sorted(settings.root.rglob("*")):
        if not path.is_file() or any(path.is_relative_to(folder) for folder in apart):
            continue
        is_delivered = path.is_relative_to(settings.landing) or path.is_relative_to(settings.truth)
        text = "" if is_delivered else path.read_bytes().decode("utf-8", "replace")
        found = named.search(str(path.relative_to(settings.root).parent)) or path.stem == fleet_id or named.search(text)
        searched += Searched(1, 0, path.stat().st_size, (str(path),) if found else ())
    return searched


def _files(settings: Settings, fleet_id: str, *, keep: bool) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Remove what lies of a fleet in the folders of the home, or keep it; what was removed and what kept."""
    folders = [path for path in (settings.landing / fleet_id, settings.truth / fleet_id) if path.is_dir()]
    files = retired.fleet_files(settings.fleets, fleet_id)
    named = tuple(str(path) for path in (*folders, *files))
    if keep:
        return (), named
    for folder in folders:
        shutil.rmtree(folder)
    for file in files:
        file.unlink()
    return named, ()


@contextmanager
def _quiet(settings: Settings, fleet_id: str | None = None) -> Iterator[dg.DagsterInstance]:
    """Dagster's records, while no run is at work on a fleet, or on anything."""
    with instance_of(settings) as instance:
        runs = [run for run in unfinished_runs(instance) if fleet_id is None or is_on(run, fleet_id)]
        if runs:
            named = ", ".join(f"{run.job_name} {run.run_id}" for run in runs[:3])
            raise AtWorkError(f"{len(runs)} runs have not ended ({named}): wait for them, or end them in Dagster's UI")
        yield instance
