"""A range of days, worked on batch by batch, so that a long range needs no more memory than a short one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import polars as pl

from bess_pipeline.lake.slices import Slice
from bess_pipeline.lake.store import Lake
from bess_pipeline.tables.catalog import Table
from bess_pipeline.window import Window, batched

Step = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True)
class Batches:
    """The rows of a slice, read a few days at a time.

    Attributes:
        part: The slice, one fleet and a window of days.
        windows: The days of each batch.
        load: Reads the rows of one batch.
    """

    part: Slice
    windows: tuple[Window, ...]
    load: Callable[[Window], pl.DataFrame]

    @classmethod
    def of(cls, lake: Lake, table: Table, part: Slice, *, budget: int) -> "Batches":
        """The rows of a slice of a table, in batches of at most ``budget`` rows or one day."""
        if part.window is None:
            raise ValueError("batches need a window of days")
        windows = batched(part.window, lake.rows_by_day(table, part), budget=budget)
        return cls(part, tuple(windows), lambda window: lake.read(table, Slice(part.fleet_id, window)))

    def __iter__(self) -> Iterator[pl.DataFrame]:
        return (self.load(window) for window in self.windows)

    def map(self, step: Step) -> "Batches":
        """The same days after a step that treats each day on its own."""
        return Batches(self.part, self.windows, lambda window: step(self.load(window)))


@dataclass
class Aside:
    """Streams one table of several that a pass makes, and keeps the small ones until it is through.

    Attributes:
        passes: Begins a pass: what each batch gives, table name → rows. The writer begins another if it has to.
        main: The table that is streamed.
    """

    passes: Callable[[], Iterable[dict[str, pl.DataFrame]]]
    main: str
    _kept: dict[str, list[pl.DataFrame]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[pl.DataFrame]:
        self._kept.clear()
        for made in self.passes():
            for name, rows in made.items():
                if name != self.main:
                    self._kept.setdefault(name, []).append(rows)
            yield made[self.main]

    def kept(self, name: str) -> pl.DataFrame:
        """All rows of one of the small tables, once the main one has been streamed."""
        return pl.concat(self._kept[name])
