"""What lies on the disk, or in the object store, below the address of a table, whether the table knows of it or not."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from bess_pipeline.lake.transient import SCAN_OPTIONS, Patience

#: Folder of a table's log.
LOG = "_delta_log/"


@dataclass(frozen=True)
class Stored:
    """One file: its path below the address, and its size [B]."""

    path: str
    size_bytes: int


class Disk:
    """The files below an address; the credentials come from the standard variables of that cloud.

    Args:
        address: Folder or object-store address.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._files = fs.PyFileSystem(DeltaStorageHandler(address))
        self._folder = None if "://" in address else Path(address)

    def files(self, below: str = "") -> Iterator[Stored]:
        """Every file below a folder, in no order."""
        if self._folder is not None and not (self._folder / below).is_dir():
            return
        for found in self._files.get_file_info(fs.FileSelector(below, recursive=True, allow_not_found=True)):
            if found.type == fs.FileType.File:
                yield Stored(found.path, found.size)

    def read(self, file: Stored) -> pa.Buffer:
        """The bytes of a file."""
        with self._files.open_input_file(file.path) as opened:
            return opened.read_buffer()

    def remove(self, file: Stored) -> None:
        """Remove a file; one that is gone already is none."""
        try:
            self._files.delete_file(file.path)
        except FileNotFoundError:
            return

    def try_writing(self) -> None:
        """Write a file and remove it: to read what is there says nothing of the right to change it.

        Raises:
            StorageError: If nothing can be written: there is no right to, no room, or the storage is away for too long.
        """
        probe = Stored(f".written-{uuid.uuid4().hex}", 0)
        options = SCAN_OPTIONS if self._folder is None else None

        def tried() -> None:
            pl.DataFrame({"written": [True]}).write_parquet(f"{self._address}/{probe.path}", storage_options=options)
            self.remove(probe)

        Patience(self._address).run("writing a file", tried)

    def remove_empty_folders(self, below: str) -> None:
        """Remove a folder, and all in it, that hold no file; an object store has no folders."""
        if self._folder is None or not (self._folder / below).is_dir():
            return
        for folder in sorted((self._folder / below).rglob("*"), reverse=True):
            folder.rmdir()
        (self._folder / below).rmdir()
