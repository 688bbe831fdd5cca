"""Dagster's records in PostgreSQL with connections kept open, for processes that write thousands of events.

Dagster opens a connection for every event that it records, which costs more than the event does.
Here connections stay open as long as the instance does. One that was cut, as by a server that was restarted, is
replaced before it is used; a server that is away is waited for as Dagster does, some ten seconds.
A commit does not wait for the disk of the server: when it loses its power the newest events may be missing, never half
of one, as with the records in SQLite.

References:
    PostgreSQL, "Asynchronous Commit": `synchronous_commit = off` risks the newest transactions, not consistency.
"""

from collections.abc import Mapping
from typing import Any

import sqlalchemy as db
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage
from dagster_postgres.auth import PgTokenProvider
from dagster_postgres.utils import (
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
    wait_for_connection,
)

#: How often a server that does not answer is tried again before anything begins: some five seconds in all.
TRIES_AT_START = 4

_PLAIN = "postgresql://"
_WITH_DRIVER = "postgresql+psycopg2://"


def _engine(address: str, token_provider: PgTokenProvider | None) -> db.Engine:
    engine = create_pg_engine(address, token_provider, isolation_level="AUTOCOMMIT", pool_size=2, pool_pre_ping=True)

    @db.event.listens_for(engine, "connect")
    def _wait_less(connection: Any, _: object) -> None:  # noqa: ANN401 - a connection of the driver
        with connection.cursor() as cursor:
            cursor.execute("SET synchronous_commit TO off")
        connection.commit()

    return engine


class OpenEvents(PostgresEventLogStorage):
    """The event log over connections that stay open."""

    def __init__(
        self, postgres_url: str, *, should_autocreate_tables: bool, token_provider: PgTokenProvider | None
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, token_provider=token_provider)
        self._engine = _engine(postgres_url, token_provider)

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()
        self._engine.dispose()


class OpenRuns(PostgresRunStorage):
    """The list of runs over connections that stay open."""

    def __init__(
        self, postgres_url: str, *, should_autocreate_tables: bool, token_provider: PgTokenProvider | None
    ) -> None:
        super().__init__(postgres_url, should_autocreate_tables, token_provider=token_provider)
        self._engine = _engine(postgres_url, token_provider)

    def dispose(self) -> None:
        """Close the connections."""
        super().dispose()
        self._engine.dispose()


class PostgresRecords(DagsterPostgresStorage):
    """Runs and events over connections that stay open; schedules as Dagster keeps them."""

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002 - as Dagster calls it
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
    ) -> None:
        if token_provider is None:
            wait_for_connection(postgres_url, retry_limit=TRIES_AT_START)
        super().__init__(postgres_url, should_autocreate_tables, inst_data, token_provider)
        kept: dict[str, Any] = {"should_autocreate_tables": False, "token_provider": token_provider}
        self._run_storage = OpenRuns(postgres_url, **kept)
        self._event_log_storage = OpenEvents(postgres_url, **kept)

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
