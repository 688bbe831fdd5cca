"""A fleet that is to be forgotten: its rows, the files that held them, and the log that names it."""

from __future__ import annotations

from collections.abc import Iterator

import deltalake

from bess_pipeline.lake.disk import LOG, Disk
from bess_pipeline.lake.search import searched_lake
from bess_pipeline.lake.store import Lake
from bess_pipeline.lake.streaming import COMMITS

#: How long Delta keeps commits and files that were removed, where a table says nothing.
_KEEPS = {"delta.logRetentionDuration": "interval 30 days", "delta.deletedFileRetentionDuration": "interval 7 days"}
_KEEPS_NOTHING = dict.fromkeys(_KEEPS, "interval 0 seconds")


def addresses(lake: Lake) -> Iterator[str]:
    """Every Delta table of the lake, those of earlier versions of the pipeline included."""
    logs = {file.path.split(f"/{LOG}")[0] for file in Disk(lake.uri).files() if f"/{LOG}" in file.path}
    return (f"{lake.uri}/{name}" for name in sorted(logs))


def erase(address: str, fleet_id: str) -> bool:
    """Erase a fleet from a table: no row, no file and no commit of it is left.

    First the rows, in one commit; then the files that held them, in any version; then, by a checkpoint, the log up to
    here, which names the fleet in predicates and paths. So the earlier versions of the whole table can no
    longer be read; its rows of other fleets stay. Killed at any moment, it goes on when it is asked again.

    Nobody must be writing the table: a commit that began before the log was cut fails.

    Args:
        address: Of the table.
        fleet_id: The fleet.

    Returns:
        Whether there was anything to do.
    """
    delta = deltalake.DeltaTable(address)
    kept = {name: value for name, value in delta.metadata().configuration.items() if name in _KEEPS}
    is_half_done = kept == _KEEPS_NOTHING
    if not is_half_done and not searched_lake(address, fleet_id, rows=False).found:
        return False
    if delta.file_uris(file_pruning_predicate=[("fleet_id", "=", fleet_id)]):
        quoted = fleet_id.replace("'", "''")
        delta.delete(f"fleet_id = '{quoted}'", commit_properties=COMMITS)
    disk, folder = Disk(address), f"fleet_id={fleet_id}"
    for file in disk.files(folder):
        disk.remove(file)
    disk.remove_empty_folders(folder)
    delta.alter.set_table_properties(_KEEPS_NOTHING)
    delta.create_checkpoint()
    delta.cleanup_metadata()
    delta.alter.set_table_properties(_KEEPS if is_half_done else _KEEPS | kept)
    return True
