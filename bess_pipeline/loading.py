"""What a process loads when it starts, and keeps until it ends."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

#: Set from when a process has loaded a part until it has loaded the rest, if nothing is at hand in between.
_more = Event()
#: Objects that are made, and not let go of, before the youngest are searched for garbage. Python's 700 are too few for
#: records by the thousand, as Dagster's of a run are: the searches took a fifteenth of a small run, for as much memory.
_YOUNG = 20_000


@contextmanager
def kept(*, more: bool = False) -> Iterator[None]:
    """Within, modules are loaded that stay: the search for garbage leaves them alone, then and later.

    To look through what is loaded while it grows, at every full collection afterwards and at the end took a third of
    what a process needs that loads the code location, as each run of the daemon does. Only the first time in a
    process: what is at hand later, such as a connection to DuckDB, is not loaded, and has to be let go of at the end.

    Args:
        more: Whether the rest is loaded later, before anything is at hand that has to be let go of.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
    if 0 < gc.get_threshold()[0] < _YOUNG:
        gc.set_threshold(_YOUNG)
    if _more.is_set() or not gc.get_freeze_count():
        gc.freeze()
    (_more.set if more else _more.clear)()
