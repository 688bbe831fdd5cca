"""The rows of days on their way through a step: several portions at work at once, small tables kept aside."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from bess_pipeline.lake.portions import portions
from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables.catalog import Table

Made = TypeVar("Made")

#: Most portions at work at once: each holds its rows several times over.
_MOST_AT_ONCE = 4


@dataclass(frozen=True)
class Batches:
    """The rows of a slice, a few whole battery-days at a time, read each time they are gone through.

    Attributes:
        part: The slice, one fleet and a window of days.
        read: Begins to read them.
    """

    part: Slice
    read: Callable[[], Iterable[pl.DataFrame]]

    @classmethod
    def of(cls, lake: Lake, table: Table, part: Slice, *, budget: int) -> "Batches":
        """The rows of a slice of a table; see `portions`."""
        return cls(part, lambda: portions(lake, table, part, budget=budget))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return iter(self.read())

    def map(self, step: Callable[[pl.DataFrame], pl.DataFrame]) -> "Mapped":
        """The rows after a step that treats each day of each battery on its own."""
        return Mapped(self, step)


@dataclass(frozen=True)
class Mapped:
    """The rows of a slice after a step, made anew each time they are gone through.

    Attributes:
        batches: The rows before it.
        step: What is made of each portion of them.
    """

    batches: Batches
    step: Callable[[pl.DataFrame], pl.DataFrame]

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return ahead(self.batches, self.step)


def ahead(portions: Iterable[pl.DataFrame], step: Callable[[pl.DataFrame], Made]) -> Iterator[Made]:
    """What a step makes of each portion, in their order: while one is used the next are made, on several processors."""
    at_once = min(_MOST_AT_ONCE, pl.thread_pool_size())
    coming: deque[Future[Made]] = deque()
    with ThreadPoolExecutor(max_workers=at_once, thread_name_prefix="portions") as pool:
        try:
            for rows in portions:
                coming.append(pool.submit(step, rows))
                if len(coming) > at_once:
                    yield coming.popleft().result()
            while coming:
                yield coming.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass
class Aside:
    """Streams one table of several that a pass makes, and keeps the small ones until it is through.

    Attributes:
        passes: Begins a pass: what each batch gives, table name → rows; not of every table each time. The writer
            begins another if it has to.
        main: The table that is streamed.
    """

    passes: Callable[[], Iterable[dict[str, pl.DataFrame]]]
    main: str
    _kept: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        self._kept.clear()
        for made in self.passes():
            for name, rows in made.items():
                if name == self.main:
                    yield rows
                else:
                    self._kept.setdefault(name, []).append(rows)

    def kept(self, name: str) -> pl.DataFrame:
        """All rows of one of the small tables, once the main one has been streamed."""
        return pl.concat(self._kept[name])
