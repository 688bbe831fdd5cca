"""Storage that fails: what passes by itself is waited for; what does not is said in a line that tells what to do.

deltalake and Polars tell by the text of an error alone what befell a request. A request that fails is repeated by
them a few times within seconds (`OPTIONS`, `SCAN_OPTIONS`), which hides a hiccup. `Patience` stands behind them: it
begins the whole operation again until the storage is back or has been away for too long.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

import polars as pl
import tenacity
from deltalake.exceptions import DeltaError

from bess_pipeline.lake.failures import StorageAwayError, StorageDeniedError, StorageError, StorageFullError

_Made = TypeVar("_Made")
_log = logging.getLogger(__name__)

#: How deltalake repeats a request.
OPTIONS = {
    "max_retries": "4",
    "retry_timeout": "20s",
    "backoff_config.init_backoff": "200ms",
    "backoff_config.max_backoff": "5s",
    "backoff_config.base": "2",
}
#: How Polars repeats a request: the same, in its words.
SCAN_OPTIONS = {
    "max_retries": 4,
    "retry_timeout_ms": 20_000,
    "retry_init_backoff_ms": 200,
    "retry_max_backoff_ms": 5_000,
    "retry_base_multiplier": 2,
}
#: How long an operation is begun again while the storage is away.
USUAL = timedelta(minutes=5)
_LONGEST_PAUSE_SECONDS = 30

_PASSES = re.compile(
    r"status code: (?:408|429|5\d\d)\b|\bHTTP error\b|error sending request|operation timed out"
    r"|connection (?:reset|refused|closed)|error decoding response body",
    re.IGNORECASE,
)
_NEVER_PASSES = re.compile(r"certificate", re.IGNORECASE)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large|disk is full|os error (?:28|122|27)\b")
_DENIED = re.compile(
    r"status code: 40[13]\b|lacked the necessary privileges"
    r"|Permission denied|Read-only file system|os error (?:13|30)\b"
)
_DEVICE = re.compile(r"Input/output error|os error 5\b")
_TERMINAL_CODES = re.compile(r"\x1b\[[0-9;]*m")
_NEXT_CAUSE = re.compile(r"\s*\n\s*↳\s*")
_BODY = re.compile(r"(?:: )?<(?:\?xml|Error).*?<Code>(\w+)</Code>.*</Error>", re.DOTALL)
_PERFORMED = re.compile(r"^.*?Error performing (\w+ \S+) in .*?- ")


#: What storage fails with, by way of the libraries that use it.
FAILURES = (OSError, DeltaError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def said(error: BaseException) -> str:
    r"""What a library says of a failed request, on one line.

    Examples:
        >>> said(OSError("Generic S3 error\n ↳ Error performing GET http://s/b in 3.1s, after 4 retries - HTTP error"))
        'GET http://s/b: HTTP error'
    """
    text = _BODY.sub(r" \1", said_in_full(error)).replace("\n", " ")
    line = " ".join(_PERFORMED.sub(r"\1: ", text).split())
    return line if len(line) <= 300 else f"{line[:299]}…"


def is_transient(error: BaseException) -> bool:
    """Whether what failed may well go through if it is tried again.

    Examples:
        >>> is_transient(OSError("Server returned non-2xx status code: 503 Service Unavailable"))
        True
        >>> is_transient(OSError("Server returned non-2xx status code: 404 Not Found"))
        False
    """
    if not isinstance(error, FAILURES) or isinstance(error, pl.exceptions.PanicException):
        return False
    text = said_in_full(error)
    return bool(_PASSES.search(text)) and not _NEVER_PASSES.search(text)


def said_in_full(error: BaseException) -> str:
    """The text of an error without what is meant for a terminal."""
    return _NEXT_CAUSE.sub(": ", _TERMINAL_CODES.sub("", str(error)))


def explained(error: BaseException, address: str, waited: timedelta = timedelta(0)) -> StorageError | None:
    """What a failure means for whoever runs the pipeline; none if it is no failure of the storage as a whole.

    Args:
        error: What a library failed with.
        address: Where the lake is.
        waited: How long it has been tried.
    """
    if not isinstance(error, FAILURES):
        return None
    text = said_in_full(error)
    if is_transient(error):
        return StorageAwayError(
            f"the storage of {address} is away, tried for {waited.total_seconds():.0f} s ({said(error)}); "
            "nothing is lost: what was begun is done again by the next run, once it answers"
        )
    if _FULL.search(text):
        return StorageFullError(
            f"no room left in {address} ({said(error)}); nothing is lost: free some, what was begun is done again then"
        )
    if _DENIED.search(text):
        return StorageDeniedError(f"{address} may not be used ({said(error)}); give the pipeline the right to")
    if _DEVICE.search(text):
        return StorageError(f"the device of {address} is failing ({said(error)}); look at its health, then run again")
    return None


@dataclass
class Patience:
    """Begins operations again while the storage is away, all in all no longer than it has patience.

    Once that is used up, further operations are tried but once until one goes through: twelve fleets
    that all meet a storage that is away wait once, not twelve times.

    Attributes:
        address: Where the lake is.
        limit: For how long an operation is begun again.
        sleep: Waits so many seconds.
    """

    address: str
    limit: timedelta = USUAL
    sleep: Callable[[float], None] = field(default=tenacity.nap.sleep, repr=False)
    _is_used_up: bool = field(default=False, init=False, repr=False)

    def run(self, what: str, operation: Callable[[], _Made]) -> _Made:
        """What an operation gives, once it goes through.

        Args:
            what: What is done, for the log.
            operation: Does it; done twice it must be as if done once.

        Raises:
            StorageError: If the storage is away for too long, full, closed or failing.
        """
        limit = timedelta(0) if self._is_used_up else self.limit

        def tell(state: tenacity.RetryCallState) -> None:
            error = None if state.outcome is None else state.outcome.exception()
            reason = "" if error is None else said(error)
            pause = state.upcoming_sleep
            _log.warning("%s failed, attempt %d: %s; again in %.1f s", what, state.attempt_number, reason, pause)

        trying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(is_transient),
            stop=tenacity.stop_before_delay(limit),
            wait=tenacity.wait_random_exponential(multiplier=1, max=_LONGEST_PAUSE_SECONDS, min=0.2),
            before_sleep=tell,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            made = trying(operation)
        except FAILURES as error:
            self._is_used_up = is_transient(error)
            meant = explained(error, self.address, self.limit)
            if meant is None:
                raise
            raise meant from None
        self._is_used_up = False
        return made
