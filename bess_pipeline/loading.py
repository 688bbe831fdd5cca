"""What a process loads when it starts, and keeps until it ends."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

#: Set while a command has loaded a part of what it needs, and nothing is at hand yet that it has to let go of.
_starting = Event()


@contextmanager
def kept(*, in_parts: bool = False) -> Iterator[None]:
    """Within, modules are loaded that stay: the search for garbage leaves them alone, then and later.

    To look through what is loaded while it grows, at every full collection afterwards and at the end took a third of
    what a process needs that loads the code location, as each run of the daemon does. Only the first time in a
    process: what is at hand later, such as a connection to DuckDB, is not loaded, and has to be let go of at the end.

    Args:
        in_parts: Whether this is a part of what a command loads when it starts, and more comes: the last part says
            nothing. What comes in between must be let go of without a search.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
    if _starting.is_set() or not gc.get_freeze_count():
        gc.freeze()
        if in_parts:
            _starting.set()
        else:
            _starting.clear()
