"""How much the long tests do: what every change can wait for, or all of it where `BESS_THOROUGH_TESTS=1` says so."""

import os

_THOROUGH = os.environ.get("BESS_THOROUGH_TESTS") == "1"


def size(each_time: int, thorough: int) -> int:
    """A number of files, kills or nights: the same test, on fewer or on more."""
    return thorough if _THOROUGH else each_time
