"""A lake that is moved to an object store which fails on demand."""

from __future__ import annotations

import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from bess_pipeline_tests.faults.homes import Place
from bess_pipeline_tests.faults.storage import BUCKET, Storage, started


@contextmanager
def away_lake(place: Place) -> Iterator[Storage]:
    """Move the lake of a home to an object store, for the length of a block."""
    with started() as storage:
        folder = place.root / "lake"
        for file in folder.rglob("*"):
            if file.is_file():
                key = urllib.parse.quote(f"lake/{file.relative_to(folder).as_posix()}")
                asked = urllib.request.Request(  # noqa: S310 - loopback
                    f"{storage.endpoint}/{BUCKET}/{key}",
                    data=file.read_bytes(),
                    method="PUT",
                    headers={"Content-Type": "application/octet-stream"},
                )
                urllib.request.urlopen(asked, timeout=30).close()  # noqa: S310
        place.more.update(storage.environment, BESS_LAKE_URI=f"s3://{BUCKET}/lake")
        yield storage
