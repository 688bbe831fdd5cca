"""Which failures of storage pass by themselves, and how long they are waited for.

The texts are those of deltalake 1.6 and Polars 2.1 before a storage that failed in that way (regression).
"""

from datetime import timedelta

import polars as pl
import pytest
from deltalake.exceptions import CommitFailedError, DeltaError

from bess_pipeline.lake.failures import StorageAwayError, StorageDeniedError, StorageError, StorageFullError
from bess_pipeline.lake.transient import Patience, explained, is_transient, said

ARROW = "\n          \x1b[31m↳\x1b[0m "
GET = f"Generic S3 error{ARROW}Error performing GET http://s3/b/t/_delta_log/_last_checkpoint in 3.09s, "
TRIED = (
    "after 4 retries, max_retries\n           \x1b[31m↳\x1b[0m 4, retry_timeout\n            \x1b[31m↳\x1b[0m 20s  - "
)
SLOW_DOWN = "<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
PUT = "Failed to parse parquet: External: Generic S3 error: Error performing PUT http://s3/b/t/p.parquet in 256ms, "
DENIED = "The operation lacked the necessary privileges to complete for path t/p.parquet: Error performing PUT "


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(
            OSError(
                f"Kernel error -> {GET}{TRIED}Server returned non-2xx status code\n"
                f"             \x1b[31m↳\x1b[0m 503 Service Unavailable\n              \x1b[31m↳\x1b[0m {SLOW_DOWN}\n"
            ),
            id="too many requests, deltalake reads",
        ),
        pytest.param(
            OSError(f"{GET}{TRIED}HTTP error\n ↳ error sending request\n ↳ operation timed out\n"), id="no answer"
        ),
        pytest.param(
            OSError(
                f"{GET}{TRIED}HTTP error\n ↳ error sending request\n ↳ client error (SendRequest)\n"
                " ↳ connection error\n ↳ Connection reset by peer (os error 104)\n"
            ),
            id="connection reset",
        ),
        pytest.param(
            DeltaError(f"{PUT}after 2 retries - Server returned non-2xx status code: 500 Internal Server Error: "),
            id="an error of the server, deltalake writes",
        ),
        pytest.param(
            DeltaError(f"{PUT}after 2 retries - Server returned non-2xx status code: 429 Too Many Requests: "), id="429"
        ),
        pytest.param(
            TimeoutError(
                "object-store error: Generic S3 error: Error performing GET http://s3/p.parquet in 9.2s, after 2"
                " retries, max_retries: 2, retry_timeout: 10s  - HTTP error: error sending request (path: s3://b/p.parquet)\n\n"
                "Caused by:\n    operation timed out"
            ),
            id="no answer, Polars reads",
        ),
    ],
)
def test_a_storage_that_is_away_is_worth_another_try(error):
    assert is_transient(error)
    assert isinstance(explained(error, "s3://b"), StorageAwayError)


@pytest.mark.parametrize(
    ("error", "meant"),
    [
        pytest.param(
            DeltaError("External: Generic LocalFileSystem error: No space left on device (os error 28)"),
            StorageFullError,
            id="full",
        ),
        pytest.param(
            DeltaError(f"{DENIED}http://s3/p in 1ms - Server returned non-2xx status code: 403 Forbidden: <Error>"),
            StorageDeniedError,
            id="forbidden",
        ),
        pytest.param(OSError("Permission denied (os error 13): /lake/t"), StorageDeniedError, id="not allowed"),
        pytest.param(OSError("Input/output error (os error 5)"), StorageError, id="the device fails"),
        pytest.param(
            OSError(f"{GET}{TRIED}HTTP error: error sending request: invalid peer certificate: UnknownIssuer"),
            None,
            id="another server",
        ),
        pytest.param(OSError(f"{GET[:-2]} - Server returned non-2xx status code: 404 Not Found"), None, id="no bucket"),
        pytest.param(pl.exceptions.ComputeError("parquet: File out of specification"), None, id="a damaged file"),
        pytest.param(CommitFailedError("Commit failed: a concurrent transactions added new data."), None, id="a race"),
        pytest.param(ValueError("HTTP error"), None, id="no failure of storage"),
    ],
)
def test_what_does_not_pass_by_itself_is_not_tried_again(error, meant):
    assert not is_transient(error)
    told = explained(error, "the lake")
    assert type(told) is meant if meant else told is None


def test_what_is_said_of_a_request_is_one_line_without_what_a_terminal_is_told():
    error = OSError(
        f"Kernel error -> {GET}{TRIED}Server returned non-2xx status code\n ↳ 503 Service\n ↳ {SLOW_DOWN}\n"
    )
    assert said(error) == (
        "GET http://s3/b/t/_delta_log/_last_checkpoint: Server returned non-2xx status code: 503 Service SlowDown"
    )


class Clock:
    """An operation that fails for a while."""

    def __init__(self, failures, error="HTTP error"):
        self.left, self.calls, self.slept, self.error = failures, 0, [], error

    def __call__(self):
        self.calls += 1
        if self.left:
            self.left -= 1
            raise OSError(self.error)
        return "done"


def test_an_operation_is_begun_again_until_the_storage_is_back():
    operation = Clock(3)
    assert Patience("lake", sleep=operation.slept.append).run("writing", operation) == "done"
    assert operation.calls == 4
    assert all(0.2 <= pause <= 30 for pause in operation.slept)


def test_patience_that_is_used_up_is_so_for_all_until_the_storage_is_back():
    patience = Patience("lake", timedelta(seconds=0.1), sleep=lambda _: None)
    for _ in range(2):
        away = Clock(1000)
        with pytest.raises(StorageAwayError, match="the storage of lake is away"):
            patience.run("writing", away)
    assert away.calls == 1
    assert patience.run("writing", Clock(0)) == "done"
    assert patience._is_used_up is False


def test_what_is_no_failure_of_storage_comes_through_as_it_is():
    with pytest.raises(OSError, match="404"):
        Patience("lake").run("reading", Clock(1, "status code: 404 Not Found"))
