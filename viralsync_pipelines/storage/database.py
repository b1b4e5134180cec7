"""The door to the project's own tables: SQLite in the home, or the PostgreSQL of DATABASE_URL.

What belongs here: opening, transactions, the age of the tables, and what a database's complaints mean. What does not: columns
(tables.py), the connections themselves (connections.py), queries (the modules that need them).
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy
from sqlalchemy import ColumnElement, Connection, Engine, Row, Table, exc, text

from viralsync_pipelines.errors import DatabaseBehind, DatabaseError, DatabaseTooNew, DatabaseUnavailable
from viralsync_pipelines.storage.connections import BEGIN, BUSY_S, open_postgres, open_sqlite

FILE = "viralsync.db"
# Not alembic's usual name: Dagster's tables may stand in the same PostgreSQL database, and have their own.
VERSION_TABLE = "viralsync_version"

_VERSIONS = Path(__file__).parent / "migrations" / "versions"
# Any number, as long as nobody else takes it for a lock in the same database.
_MIGRATION_LOCK = 0x7669_7261_6C01
# alembic keeps what it is at work on in module variables.
_one_at_a_time = threading.Lock()


def open_database(url: str | None, home: Path) -> Database:
    """PostgreSQL at `url`; without one SQLite in `home`, made if missing. Nothing connects before the first use."""
    if url is not None:
        return Database(open_postgres(url))
    file = home / FILE
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatabaseUnavailable(f"{home} cannot be made ({error.strerror}); set VIRALSYNC_HOME to a folder that can") from error
    return Database(open_sqlite(file))


class Database:
    """Safe to share between threads, and to have open when the process forks.

    Every method raises DatabaseUnavailable when the database does not answer, DatabaseBehind when a table is not there, and
    DatabaseError for what it refuses. What a statement itself gets wrong (IntegrityError and so on) comes as SQLAlchemy has it.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reader = engine.execution_options(**_READING[engine.name])
        self._writer = engine.execution_options(**_WRITING[engine.name])

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """The database as it stands at the first statement, however long the block takes. Writing in it is refused."""
        with _explained(self.engine), self._reader.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction, kept when the block ends and undone when it raises.

        SQLite lets one writer in at a time. On PostgreSQL others write meanwhile: lock what is read to be changed
        (`select(...).with_for_update()`, which SQLite ignores).
        """
        with _explained(self.engine), self._writer.connect() as connection, connection.begin():
            yield connection

    def migrate(self) -> None:
        """Bring the tables to what this code needs; nothing when they are. Safe when several processes do it at once.

        Raises DatabaseTooNew.
        """
        with _one_at_a_time, self.writing() as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            # Read under the lock: whoever held it may have done the work.
            revision = _revision_of(connection)
            self._refuse_newer(revision)
            if revision != _revisions()[-1]:
                _upgrade(connection)

    def check(self) -> None:
        """Raises DatabaseTooNew or DatabaseBehind unless the tables are what this code needs. Changes nothing."""
        with self.reading() as connection:
            revision = _revision_of(connection)
        self._refuse_newer(revision)
        if revision != _revisions()[-1]:
            raise _behind(self.engine)

    def close(self) -> None:
        """Close every connection. The database opens again when it is used."""
        self.engine.dispose()

    def _refuse_newer(self, revision: str | None) -> None:
        known = _revisions()
        if revision is not None and revision not in known:
            raise DatabaseTooNew(
                f"{_shown(self.engine)} was made by a newer ViralSync (its tables are at {revision}, this program knows {known[-1]}); "
                "upgrade ViralSync, or name another database in DATABASE_URL or another VIRALSYNC_HOME"
            )


def insert_once(connection: Connection, table: Table, values: Mapping[str, Any]) -> bool:
    """Insert one row unless one with the same key is there; True when this call inserted it.

    On PostgreSQL it waits for a transaction that is just inserting the same key, and learns how that ended.
    """
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        statement: Any = postgres_insert(table).values(**values).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        statement = sqlite_insert(table).values(**values).on_conflict_do_nothing()
    # inline: no key is to be read back, so the count is the database's own.
    return connection.execute(statement.inline()).rowcount == 1


def insert_all(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *told: ColumnElement[Any]
) -> Sequence[Row[Any]]:  # fmt: skip
    """Insert these rows, but those whose key is there. Of those that were inserted, in any order, the columns `told`."""
    if connection.dialect.name == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        statement: Any = postgres_insert(table).on_conflict_do_nothing()
    else:
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        statement = sqlite_insert(table).on_conflict_do_nothing()
    values = [dict(row) for row in rows]
    if told:
        return connection.execute(statement.returning(*told), values).all()
    connection.execute(statement.inline(), values)
    return ()


_READING: Mapping[str, Mapping[str, Any]] = {
    "sqlite": {BEGIN: ("PRAGMA query_only = 1", "BEGIN")},
    "postgresql": {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True},
}
_WRITING: Mapping[str, Mapping[str, Any]] = {
    # IMMEDIATE: waits for its turn at once. One that has read first cannot wait, for what it read may be old by then.
    "sqlite": {BEGIN: ("PRAGMA query_only = 0", "BEGIN IMMEDIATE")},
    "postgresql": {},
}


# ---- the age of the tables ----------------------------------------------------------------------------------------------------


@cache
def _revisions() -> tuple[str, ...]:
    """Every revision in order. Their files are named by them, so alembic (0.3 s to import) is not needed to know."""
    return tuple(sorted(file.name.partition("_")[0] for file in _VERSIONS.glob("[0-9]*.py")))


def _revision_of(connection: Connection) -> str | None:
    if not sqlalchemy.inspect(connection).has_table(VERSION_TABLE):
        return None
    found: str | None = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608 - our own name
    return found


def _upgrade(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_VERSIONS.parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


# ---- what a database's complaints mean ----------------------------------------------------------------------------------------


@contextmanager
def _explained(engine: Engine) -> Iterator[None]:
    try:
        yield
    except exc.DBAPIError as error:
        told = _sqlite_error(engine, error) if engine.name == "sqlite" else _postgres_error(engine, error)
        if told is None:
            raise
        raise told from error


def _sqlite_error(engine: Engine, error: exc.DBAPIError) -> DatabaseError | None:
    said = str(error.orig)
    if "database or disk is full" in said:
        return DatabaseError(f"the disk of {_shown(engine)} is full; free some space and do the same again", code="DISK_FULL")
    if "locked" in said:
        return DatabaseUnavailable(f"another program holds {_shown(engine)} for more than {BUSY_S:.0f} s; end it and do the same again")
    if "no such table" in said:
        return _behind(engine)
    if "unable to open" in said or "disk I/O" in said:
        return DatabaseUnavailable(f"{_shown(engine)} cannot be opened; see that its folder is there and can be written to")
    if "readonly" in said and not os.access(str(engine.url.database), os.W_OK):
        return DatabaseError(f"{_shown(engine)} cannot be written to; give this user the right to write the file and its folder")
    if "not a database" in said or "malformed" in said:
        return DatabaseError(f"{_shown(engine)} is damaged or no database ({said}); put a copy back, or move it away to start anew")
    return None


def _postgres_error(engine: Engine, error: exc.DBAPIError) -> DatabaseError | None:
    """By PostgreSQL's own codes; without one the server did not get to answer."""
    said = str(error.orig).strip().partition("\n")[0]
    state = getattr(error.orig, "pgcode", None)
    if state == "42P01":
        return _behind(engine)
    if state == "42501":
        return DatabaseError(f"{_shown(engine)} refuses: {said}; grant its user CREATE on the schema, or give another user")
    if state == "53100":
        return DatabaseError(f"the disk of {_shown(engine)} is full; free some space and do the same again", code="DISK_FULL")
    gone = isinstance(error, exc.OperationalError) and (state is None or state[:2] in {"08", "53", "57"})
    if gone or error.connection_invalidated:
        return DatabaseUnavailable(f"{_shown(engine)} does not answer ({said}); start PostgreSQL, or check DATABASE_URL")
    return None


def _behind(engine: Engine) -> DatabaseBehind:
    return DatabaseBehind(f"the tables of {_shown(engine)} are older than this ViralSync; run `viralsync up`, which brings them up to date")


def _shown(engine: Engine) -> str:
    """What to call the database in a message: the file, or the address without its password."""
    if engine.name == "sqlite":
        return str(engine.url.database)
    return engine.url.set(drivername="postgresql", query={}).render_as_string(hide_password=True)
