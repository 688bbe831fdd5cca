"""Dagster's records in PostgreSQL with connections kept open, for processes that write thousands of events.

Dagster opens a connection for every event that it records, which costs more than the event does.
Here connections stay open as long as the instance does. One that was cut, as by a server that was restarted, is
replaced before it is used, and a server that is away is waited for: a run of an hour outlives its restart.
A commit does not wait for the disk of the server: when it loses its power the newest events may be missing, never half
of one, as with the records in SQLite.

References:
    PostgreSQL, "Asynchronous Commit": `synchronous_commit = off` risks the newest transactions, not consistency.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import sqlalchemy as db
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage
from dagster_postgres.auth import PgTokenProvider
from dagster_postgres.utils import (
    DagsterPostgresException,
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    retry_pg_connection_fn,
)

#: How often a server that does not answer is tried again: some five seconds in all before anything began, and some
#: fifty once it has answered, for each wait is twice that before.
TRIES_AT_START = 4
TRIES_WITHIN = 7

_PLAIN = "postgresql://"
_WITH_DRIVER = "postgresql+psycopg2://"


class Line:
    """A few open connections to a server, and the patience to wait for it; once it has run out, there is none left."""

    def __init__(self, address: str, token_provider: PgTokenProvider | None) -> None:
        self._engine = create_pg_engine(
            address, token_provider, isolation_level="AUTOCOMMIT", pool_size=2, pool_pre_ping=True
        )
        db.event.listen(self._engine, "connect", self._wait_less)
        self._tries = TRIES_AT_START

    @staticmethod
    def _wait_less(connection: Any, _: object) -> None:  # noqa: ANN401 - a connection of the driver
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO off")
        connection.commit()

    @contextmanager
    def connected(self) -> Iterator[db.Connection]:
        """A connection.

        Raises:
            DagsterPostgresException: If the server does not answer.
        """
        try:
            connection = retry_pg_connection_fn(self._engine.connect, retry_limit=self._tries)
        except DagsterPostgresException:
            self._tries = 0
            raise
        self._tries = TRIES_WITHIN
        with connection:
            yield connection

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()


class OpenEvents(PostgresEventLogStorage):
    """The event log over connections that stay open."""

    def __init__(self, postgres_url: str, line: Line) -> None:
        self._line = line
        super().__init__(postgres_url, should_autocreate_tables=False)

    @contextmanager
    def _connect(self) -> Iterator[db.Connection]:
        with self._line.connected() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()
        self._line.close()


class OpenRuns(PostgresRunStorage):
    """The list of runs over connections that stay open."""

    def __init__(self, postgres_url: str, line: Line) -> None:
        self._line = line
        super().__init__(postgres_url, should_autocreate_tables=False)

    @contextmanager
    def connect(self) -> Iterator[db.Connection]:
        """A connection."""
        with self._line.connected() as connection:
            yield connection

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()
        self._line.close()


class PostgresRecords(DagsterPostgresStorage):
    """Runs and events over connections that stay open; schedules as Dagster keeps them."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002 - as Dagster calls it
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        line = Line(postgres_url, token_provider)
        with line.connected():  # tables are made only after the server has answered
            super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        self._run_storage = OpenRuns(postgres_url, line)
        self._event_log_storage = OpenEvents(postgres_url, line)

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> "PostgresRecords":
        """The records of a database.

        The driver is named: what SQLAlchemy takes for a plain `postgresql://` changed with its version 2.1 to one that
        Dagster's classes do not bring along, nor work with.
        """
        address = pg_url_from_config(config_value)
        return cls(
            address.replace(_PLAIN, _WITH_DRIVER, 1) if address.startswith(_PLAIN) else address,
            config_value.get("should_autocreate_tables", True),
            inst_data,
            get_token_provider_from_config(config_value),
        )
