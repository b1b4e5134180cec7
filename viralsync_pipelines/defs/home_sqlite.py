"""Dagster's SQLite databases on connections that stay open, and a cheap look at whether a run's events have grown.

What belongs here: what differs from Dagster's own SQLite storage. What does not: who uses it (home.py). One of the modules that
import from `dagster._core`: storage classes have no public path.
"""

from __future__ import annotations

import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster
import sqlalchemy
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._serdes import ConfigurableClassData

from viralsync_pipelines.defs.blanks import Blanks
from viralsync_pipelines.defs.once_true import once_true
from viralsync_pipelines.defs.run_stamps import StampedRuns
from viralsync_pipelines.defs.told_events import ToldEvents


class SqliteEvents(ToldEvents, SqliteEventLogStorage):
    """Dagster's own, on connections that stay open."""

    has_table = once_true(SqliteEventLogStorage.has_table)
    has_secondary_index = once_true(SqliteEventLogStorage.has_secondary_index)
    has_asset_key_col = once_true(SqliteEventLogStorage.has_asset_key_col)

    def __init__(self, base_dir: str) -> None:
        self._engines = Engines()
        self._blanks = Blanks(Path(base_dir).parent, dagster.__version__, self._make_blank)
        super().__init__(base_dir)

    def _make_blank(self, file: Path) -> None:
        engine = sqlalchemy.create_engine(f"sqlite:///{file}")
        self._initdb(engine)
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text("PRAGMA wal_checkpoint(TRUNCATE)"))
        engine.dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock:
            engine = self._engines.of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                if not self._blanks.lay(Path(self.path_for_shard(shard))) and not _is_made(engine):
                    self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def marks(self, run_ids: Sequence[str]) -> dict[str, object]:
        """See home.event_marks. Two small reads a run, no query: 15 µs."""
        return {run: _mark(self.path_for_shard(run)) for run in run_ids}

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class SqliteRuns(StampedRuns, SqliteRunStorage):
    """Dagster's own, on connections that stay open."""

    has_built_index = once_true(SqliteRunStorage.has_built_index)
    has_run_stats_index_cols = once_true(SqliteRunStorage.has_run_stats_index_cols)

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = Engines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engines.of(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def get_runs_count(self, filters: dagster.RunsFilter | None = None) -> int:
        """Of all runs by the smallest index: Dagster's own reads every row, 21 ms with 10,000 runs."""
        if filters is not None:
            return super().get_runs_count(filters)
        with self.connect() as connection:
            return int(connection.execute(sqlalchemy.text("SELECT count(*) FROM runs")).scalar_one())

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class Engines:
    """Open databases of one storage. Dagster opens and closes one for each event: SQLAlchemy then compiles every statement anew,
    and SQLite merges its log at each close. That was two thirds of what a step costs beside its work.

    Only the last ones are kept: each run's events are a file of their own, and a web server reads thousands. With more than 50 a gateway
    that follows 50 running jobs opens none of them again (2.3 ms of CPU a look instead of 7.9).
    """

    MOST = 64

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: OrderedDict[tuple[int, str], sqlalchemy.Engine] = OrderedDict()

    def of(self, url: str) -> sqlalchemy.Engine:
        # A connection must not cross a fork: SQLite's locks belong to the process that took them.
        key = os.getpid(), url
        with self._lock:
            engine = self._open.get(key)
            if engine is None:
                engine = self._open[key] = sqlalchemy.create_engine(url, connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS})
                sqlalchemy.event.listen(engine, "connect", _relax)
            self._open.move_to_end(key)
            mine = [one for one in self._open if one[0] == key[0]]
            for old in mine[: -self.MOST]:
                self._open.pop(old).dispose()  # connections in use are closed as they come back
        return engine

    def close(self) -> None:
        with self._lock:
            for (process, _), engine in self._open.items():
                engine.dispose(close=process == os.getpid())
            self._open.clear()


def _is_made(engine: sqlalchemy.Engine) -> bool:
    """Whether the tables are there and stamped, which Dagster does last. It asks the same by way of Alembic's machinery: a third of the
    5.3 ms of CPU that opening a run's log took, for each step of a film and each log that is read."""
    try:
        with engine.connect() as connection:
            return connection.execute(sqlalchemy.text("SELECT 1 FROM alembic_version")).first() is not None
    except sqlalchemy.exc.OperationalError:
        return False


def _relax(connection: Any, _: Any) -> None:
    """No sync at every commit: with a write-ahead log, a database is whole after a process died, and untorn after a power cut."""
    connection.execute("PRAGMA synchronous=NORMAL")


def _mark(database: str) -> object:
    """What changes with every commit, read as SQLite's own readers do: the head of the log's index, which is written last of all.

    Times and sizes of the files alone would not do: they change before the commit can be seen, and not again with it. They stand for
    what the log no longer holds. An index of an empty log says nothing, and comes and goes with whoever opens the database.
    https://www.sqlite.org/walformat.html#walidxfmt
    """
    try:
        with Path(f"{database}-shm").open("rb", buffering=0) as index:
            head = index.read(96)  # twice the same 48 bytes, torn while they are written
    except FileNotFoundError:
        head = b""
    if int.from_bytes(head[16:20], sys.byteorder) == 0:  # frames in the log
        head = b""
    try:
        file = os.stat(database)  # noqa: PTH116 - called for each run at each look
    except FileNotFoundError:
        return None
    return file.st_ino, file.st_mtime_ns, file.st_size, head
