"""What goes wrong with storage, as whoever runs the pipeline is told: what it is, and what to do."""

from __future__ import annotations

import errno

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_SQLITE_SAYS = ("database or disk is full", "No space left on device")


class StorageError(Exception):
    """The storage does not do what it should; the message says what, and what to do."""


class StorageAwayError(StorageError):
    """The storage does not answer, and has been waited for."""


class StorageFullError(StorageError):
    """There is no room left."""


class StorageDeniedError(StorageError):
    """The storage does not let the pipeline in."""


class DamagedError(StorageError):
    """A file of the lake cannot be read."""


def is_lack_of_room(error: BaseException | None) -> bool:
    """Whether an error, or what led to it, is that a disk is full.

    Examples:
        >>> is_lack_of_room(OSError(28, "No space left on device"))
        True
        >>> is_lack_of_room(ValueError("full"))
        False
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in _NO_ROOM:
            return True
        if any(words in str(error) for words in _SQLITE_SAYS):
            return True
        error = error.__cause__ or error.__context__
    return False
