"""Dagster's state under VIRALSYNC_HOME, or in PostgreSQL when DATABASE_URL is set, so that dagster.yaml works as it stands.

What belongs here: the classes that dagster.yaml names, and making them cheap for short processes. This is the one module that
imports from `dagster._core`: Dagster's storage classes have no public path, and its own `env:` has no default, so that a plain
dagster.yaml would need VIRALSYNC_HOME to be set.
"""

from __future__ import annotations

import importlib
import os
import sys
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import sqlalchemy
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage import sql
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.runs.sqlite.sqlite_run_storage import SqliteRunStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from viralsync_pipelines.settings import Settings


def _settings() -> Settings:
    return Settings.from_env(os.environ, cwd=Path.cwd())


class HomeStorage(DagsterSqliteStorage):
    """Runs, events and schedules: SQLite in the home, or the PostgreSQL of DATABASE_URL."""

    def __init__(self, base_dir: str, inst_data: ConfigurableClassData | None = None) -> None:
        # Not Dagster's own: it would open three databases that are opened here again.
        super(DagsterSqliteStorage, self).__init__()  # type: ignore[no-untyped-call]
        home = Path(base_dir)
        self.base_dir, self._inst_data = base_dir, inst_data
        self._run_storage = _Runs.from_local(str(home / "history"))
        self._event_log_storage = _Events(str(home / "history" / "runs"))
        self._schedule_storage = SqliteScheduleStorage.from_local(str(home / "schedules"))

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        settings = _settings()
        if settings.database_url is not None:
            from dagster_postgres import DagsterPostgresStorage

            return DagsterPostgresStorage(postgres_url(settings.database_url), should_autocreate_tables=True, inst_data=inst_data)
        read_migrations_once()
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        return HomeStorage.from_local(str(settings.dagster_home), inst_data=inst_data)


class _Events(SqliteEventLogStorage):
    """Dagster's own, on connections that stay open."""

    def __init__(self, base_dir: str) -> None:
        self._engines = _Engines()
        super().__init__(base_dir)

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._db_lock:
            engine = self._engines.of(self.conn_string_for_shard(shard))
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class _Runs(SqliteRunStorage):
    """Dagster's own, on connections that stay open."""

    def __init__(self, conn_string: str, inst_data: ConfigurableClassData | None = None) -> None:
        self._engines = _Engines()
        super().__init__(conn_string, inst_data)

    @contextmanager
    def connect(self) -> Iterator[sqlalchemy.Connection]:
        with self._engines.of(self._conn_string).connect() as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        super().dispose()
        self._engines.close()


class _Engines:
    """Open databases of one storage. Dagster opens and closes one for each event: SQLAlchemy then compiles every statement anew,
    and SQLite merges its log at each close. That was two thirds of what a step costs beside its work.

    Only the last few are kept: each run's events are a file of their own, and a web server reads thousands.
    """

    MOST = 12

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


def _relax(connection: Any, _: Any) -> None:
    """No sync at every commit: with a write-ahead log, a database is whole after a process died, and untorn after a power cut."""
    connection.execute("PRAGMA synchronous=NORMAL")


def postgres_url(url: str) -> str:
    """The address with its driver named: SQLAlchemy 2.1 takes postgresql:// for psycopg 3, dagster-postgres brings psycopg 2."""
    for plain in ("postgresql://", "postgres://"):
        if url.startswith(plain):
            return "postgresql+psycopg2://" + url.removeprefix(plain)
    return url


def read_migrations_once() -> None:
    """Let this process, and those forked from it, read alembic's 90 migration scripts once: Dagster does so three times for every
    step, which was 29 % of all that a step costs beside its work."""
    vars(sql)["ScriptDirectory"] = _Scripts


def load_machinery() -> None:
    """Import what Dagster itself imports only once a run begins, so that steps forked from this process need not.

    Rehearsing a run instead brings the same modules and takes a second more, mostly for databases of its own.
    """
    for name in _MACHINERY:
        importlib.import_module(name)


_MACHINERY = (
    "dagster._core.execution.plan.active", "dagster._core.executor.multiprocess", "dagster._core.instance.factory",
    "dagster._core.instance.runs.run_domain", "dagster._core.secrets.env_file", "dagster._core.secrets.loader",
    "dagster._core.storage.migration.utils", "dagster._core.system_config.composite_descent", "multiprocessing.popen_forkserver",
    "multiprocessing.queues", "multiprocessing.synchronize", "sqlalchemy.dialects.sqlite", "upath.core", "upath.implementations.local",
)  # fmt: skip


class _Scripts:
    """In place of alembic's ScriptDirectory, where Dagster makes one."""

    @staticmethod
    def from_config(config: Any) -> Any:
        return _scripts(config.get_main_option("script_location"))


@cache
def _scripts(location: str) -> Any:
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", location)
    scripts = ScriptDirectory.from_config(config)
    scripts.as_revision_number("head")
    return scripts


class HomeArtifacts(LocalArtifactStorage):
    """What Dagster writes to local files."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        return LocalArtifactStorage(str(_settings().dagster_home), inst_data=inst_data)


class HomeComputeLogs(LocalComputeLogManager):
    """What steps print, in files that the UI shows."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        return HomeComputeLogs(str(_settings().dagster_home / "logs"), inst_data=inst_data)

    @contextmanager
    def capture_logs(self, log_key: Sequence[str]) -> Iterator[CapturedLogContext]:
        """Into the files only. Dagster's own also starts two `tail` and two Python processes a step to print it all once more.

        Descriptors 1 and 2 are caught, not sys.stderr: a command that runs a job in its own process goes on drawing there.
        """
        out, err = (
            self.get_captured_local_path(log_key, IO_TYPE_EXTENSION[kind]) for kind in (ComputeIOType.STDOUT, ComputeIOType.STDERR)
        )
        Path(out).parent.mkdir(parents=True, exist_ok=True)
        with redirect_to_file(sys.__stdout__, out), redirect_to_file(sys.__stderr__, err):
            yield CapturedLogContext(log_key)
        done: Any = self.complete_artifact_path
        Path(done(log_key)).touch()
