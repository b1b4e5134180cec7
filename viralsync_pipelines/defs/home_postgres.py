"""Dagster's tables in PostgreSQL, on connections that stay open, with the events of each run in one order for every reader.

What belongs here: what differs from dagster-postgres. What does not: when it is used (home.py). One of the modules that import from
`dagster._core`: storage classes have no public path.
"""

from __future__ import annotations

import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage, PostgresEventLogStorage, PostgresRunStorage, PostgresScheduleStorage
from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError

from viralsync_pipelines.defs.once_true import once_true
from viralsync_pipelines.defs.run_stamps import StampedRuns
from viralsync_pipelines.defs.told_events import ToldEvents
from viralsync_pipelines.errors import DatabaseUnavailable
from viralsync_pipelines.storage.connections import open_postgres, postgres_url

# One table of each storage that is made with all the others of it.
_MADE = {"runs", "instance_info", "event_logs", "jobs"}
# Between tries to reach the server at the start.
_PAUSES_S = (0.2, 0.5, 1.0, 2.0)
# Any numbers, as long as nobody else takes them for locks in the same database.
_MAKING_LOCK = 0x7669_7261_6C02
_EVENTS_LOCK = 0x7669_7261


class PostgresHome(DagsterPostgresStorage):
    """Runs, events and schedules over one pool of connections; the tables are made when they are not there.

    Raises DatabaseUnavailable when the server does not answer within some seconds.
    """

    def __init__(self, url: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Not dagster-postgres's own: it would ask the server three times whether there are tables.
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]
        url = postgres_url(url)
        self.postgres_url, self.should_autocreate_tables, self._inst_data = url, True, inst_data
        shared = _Connections(url)
        with _made_once(shared) as make:
            self._run_storage = _Runs(shared, url, make)
            self._event_log_storage = _Events(shared, url, make)
            self._schedule_storage = _Schedules(shared, url, make)


class _Connections:
    """One engine for the three storages. dagster-postgres connects for each call: 8 ms, and a new process of the server."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._limit_ms: int | None = None
        self.engine = self._opened()

    def limit(self, statement_timeout_ms: int) -> None:
        """Statements may not take longer from now on; a web server wants that."""
        if self._limit_ms != statement_timeout_ms:
            self._limit_ms = statement_timeout_ms
            self.engine.dispose()
            self.engine = self._opened()

    def _opened(self) -> Engine:
        engine = open_postgres(self._url, statement_timeout_ms=self._limit_ms, isolation_level="AUTOCOMMIT")
        sqlalchemy.event.listen(engine, "before_cursor_execute", _in_order, retval=True)
        return engine


class _OnShared:
    """In front of a storage of dagster-postgres: its engine is the shared one, whatever it makes for itself."""

    def __init__(self, shared: _Connections, url: str, make_tables: bool) -> None:
        self._shared = shared
        super().__init__(url, make_tables)  # type: ignore[call-arg]

    @property
    def _engine(self) -> Engine:
        return self._shared.engine

    @_engine.setter
    def _engine(self, own: Engine) -> None:
        own.dispose()

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        self._shared.limit(statement_timeout)

    def dispose(self) -> None:
        super().dispose()  # type: ignore[misc]
        self._shared.engine.dispose()


class _Runs(StampedRuns, _OnShared, PostgresRunStorage):
    has_run_stats_index_cols = once_true(PostgresRunStorage.has_run_stats_index_cols)


class _Schedules(_OnShared, PostgresScheduleStorage):
    pass


class _Events(ToldEvents, _OnShared, PostgresEventLogStorage):
    has_table = once_true(PostgresEventLogStorage.has_table)
    has_asset_key_col = once_true(PostgresEventLogStorage.has_asset_key_col)

    def marks(self, run_ids: Sequence[str]) -> dict[str, object]:
        """See home.event_marks. One query, which looks at one entry of an index for each run."""
        if not run_ids:
            return {}
        last = text(
            "SELECT run, (SELECT max(id) FROM event_logs WHERE run_id = run) AS last FROM unnest(CAST(:runs AS text[])) AS asked(run)"
        )
        with self._connect() as connection:
            return {row.run: row.last for row in connection.execute(last, {"runs": list(run_ids)})}


def _in_order(
    _connection: object, _cursor: object, statement: str, parameters: Any, context: Any, _many: bool
) -> tuple[str, Any]:
    """Let one event of a run be committed before the next one gets its number.

    Otherwise a step may show number 12 while another's 11 is not yet committed, and whoever reads on from 12 never sees 11. One lock a
    run, taken in the same message and given back by the commit.
    """
    inserts = getattr(context.compiled, "statement", None) if context is not None else None
    if isinstance(inserts, sqlalchemy.Insert) and inserts.table is SqlEventLogStorageTable and isinstance(parameters, dict):
        # Always in the same order: two that want two locks do not wait for each other.
        runs = sorted({zlib.crc32(str(value).encode()) for name, value in parameters.items() if name.startswith("run_id")})
        locks = (f"SELECT pg_advisory_xact_lock({_EVENTS_LOCK}, {run - (1 << 31)}); " for run in runs)
        statement = "".join(locks) + statement
    return statement, parameters


@contextmanager
def _made_once(shared: _Connections) -> Iterator[bool]:
    """Whether the block has to make the tables: one process does, any other waits for it."""
    there = _tables_of(shared.engine)
    if there >= _MADE:
        yield False
        return
    with shared.engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:lock)"), {"lock": _MAKING_LOCK})
        try:
            yield True
        finally:
            connection.execute(text("SELECT pg_advisory_unlock(:lock)"), {"lock": _MAKING_LOCK})


def _tables_of(engine: Engine) -> set[str]:
    """Names of all tables. Waits some seconds for a server that is just starting, without a word on the way."""
    for pause in (*_PAUSES_S, None):
        try:
            return set(sqlalchemy.inspect(engine).get_table_names())
        except OperationalError as error:
            if pause is None:
                said = str(error.orig).strip().partition("\n")[0]
                told = f"the PostgreSQL of DATABASE_URL does not answer ({said}); start it, or check DATABASE_URL"
                raise DatabaseUnavailable(told) from error
            time.sleep(pause)
    raise AssertionError("the last try either answers or raises")
