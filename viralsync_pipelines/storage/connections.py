"""Engines whose connections stay open between uses and never cross a fork, for SQLite and PostgreSQL.

What belongs here: opening an engine, and what each new connection is told. What does not: transactions and errors (database.py).
Nothing connects before the engine is first used.
"""

from __future__ import annotations

import math
import os
import sqlite3
import time
import weakref
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import Engine, event, exc
from sqlalchemy.pool import ConnectionPoolEntry, Pool

# How long a writer waits for the one before it.
BUSY_S = 30.0
# Kept open by each process; more are opened when threads need them at once, and closed afterwards.
KEPT = 5
# A PostgreSQL connection unused for longer is asked whether it is still there.
REST_S = 1.0
# SQLite's execution option for the words that begin a transaction.
BEGIN = "viralsync_begin"

_POSTGRES = "postgresql+psycopg2://"


def postgres_url(url: str) -> str:
    """The address with its driver named: SQLAlchemy 2.1 takes postgresql:// for psycopg 3, dagster-postgres brings psycopg 2."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return _POSTGRES + url.removeprefix(plain)
    return url


def open_postgres(url: str, *, statement_timeout_ms: int | None = None, **options: Any) -> Engine:
    """An engine on a PostgreSQL server. `options` go to SQLAlchemy's create_engine.

    The number of connections has no limit of its own: code that asks for a second one while it holds a first must not wait for
    others that do the same.
    """
    address = sqlalchemy.make_url(postgres_url(url))
    usual: dict[str, Any] = {"connect_timeout": 10, "application_name": "viralsync"}
    arguments = {name: value for name, value in usual.items() if name not in address.query}
    if statement_timeout_ms is not None:
        given = address.query.get("options", "")
        arguments["options"] = f"{given if isinstance(given, str) else ' '.join(given)} -c statement_timeout={statement_timeout_ms}".strip()
    engine = sqlalchemy.create_engine(
        address,
        connect_args=arguments,
        pool_size=KEPT,
        max_overflow=-1,
        pool_use_lifo=True,  # a few are busy and the rest rest, rather than all in turn
        **options,
    )
    _ask_after_rest(engine)
    return _keep_from_forks(engine)


def _ask_after_rest(engine: Engine) -> None:
    """A connection that rested may have lost its server meanwhile: it is asked, and replaced unnoticed.

    SQLAlchemy's own pre-ping asks at every use, which is a third of what a short query costs.
    """

    @event.listens_for(engine, "checkin")
    def rests(_connection: object, record: ConnectionPoolEntry) -> None:
        record.info["since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def asked(connection: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        if time.monotonic() - record.info.get("since", math.inf) < REST_S:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            # The others are as old: all are replaced as they are asked for.
            raise exc.InvalidatePoolError from error


def open_sqlite(file: Path) -> Engine:
    """An engine on a file: write-ahead log, writers wait for each other, transactions begin as `BEGIN` among the options says."""
    engine = sqlalchemy.create_engine(
        sqlalchemy.URL.create("sqlite", database=str(file)), connect_args={"timeout": BUSY_S}, pool_size=KEPT, max_overflow=-1
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    return _keep_from_forks(engine)


def _prepare(connection: Any, _record: object) -> None:
    # Python's own guess of when to begin a transaction is switched off: BEGIN is sent by _begin.
    connection.isolation_level = None
    _set_wal(connection)
    # No sync at every commit: with a write-ahead log a database is whole after a process died, and untorn after a power cut.
    connection.execute("PRAGMA synchronous=NORMAL")


def _set_wal(connection: sqlite3.Connection) -> None:
    """The first to open a new database turns its log on; for that SQLite waits for nobody, so whoever comes second tries again."""
    deadline = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: sqlalchemy.Connection) -> None:
    for words in connection.get_execution_options().get(BEGIN, ("BEGIN",)):
        connection.exec_driver_sql(words)


# ---- forks ------------------------------------------------------------------------------------------------------------------

_engines: weakref.WeakSet[Engine] = weakref.WeakSet()
# The parent's pools as a child found them. Held for good: letting go of them would close the parent's connections.
_of_parent: list[Pool] = []


def _keep_from_forks(engine: Engine) -> Engine:
    """A child connects anew: two processes on one connection read each other's answers, and SQLite's locks belong to a process.

    A fork in the middle of a transaction is a mistake of its caller.
    """
    _watch_forks()
    _engines.add(engine)
    return engine


@cache
def _watch_forks() -> None:
    os.register_at_fork(after_in_child=_leave_connections)


def _leave_connections() -> None:
    for engine in list(_engines):
        _of_parent.append(engine.pool)
        engine.dispose(close=False)
