"""Dagster's state under VIRALSYNC_HOME, or in PostgreSQL when DATABASE_URL is set, so that dagster.yaml works as it stands.

What belongs here: the classes that dagster.yaml names, and making them cheap for short processes. What does not: the storages
themselves (home_sqlite.py, home_postgres.py). These three, and launcher.py, alone import from `dagster._core`: what dagster.yaml may
name has no public path, and Dagster's own `env:` has no default, so that a plain dagster.yaml would need VIRALSYNC_HOME to be set.
"""

from __future__ import annotations

import fcntl
import importlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache, cached_property, lru_cache
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.execution.compute_logs import redirect_to_file
from dagster._core.storage import sql
from dagster._core.storage.compute_log_manager import CapturedLogContext, ComputeIOType
from dagster._core.storage.local_compute_log_manager import IO_TYPE_EXTENSION, LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.schedules.sqlite.sqlite_schedule_storage import SqliteScheduleStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from viralsync_pipelines.defs.home_sqlite import SqliteEvents, SqliteRuns
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
        with _one_at_a_time(home):
            self._run_storage = SqliteRuns.from_local(str(home / "history"))
            self._event_log_storage = SqliteEvents(str(home / "history" / "runs"))
            self._schedule_storage = SqliteScheduleStorage.from_local(str(home / "schedules"))

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        settings = _settings()
        if settings.database_url is not None:
            from viralsync_pipelines.defs.home_postgres import PostgresHome

            return PostgresHome(settings.database_url, inst_data)
        read_migrations_once()
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        return HomeStorage.from_local(str(settings.dagster_home), inst_data=inst_data)


@contextmanager
def _one_at_a_time(home: Path) -> Iterator[None]:
    """Dagster makes its SQLite databases without a lock. Three servers that start on a new home at once stamp them twice, and what is
    stamped twice is never opened again."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".opening").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def event_marks(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> dict[str, object]:
    """For each run an opaque mark that differs from an earlier one when events were stored since. Much cheaper than reading them.

    Take the marks first and read the events afterwards: what comes in between is then read again, never missed. A mark may differ
    without an event. On a storage that is none of ours it always does.
    """
    storage = instance.event_log_storage
    marks = getattr(storage, "marks", None)
    if marks is None:
        return {run: object() for run in run_ids}
    found: dict[str, object] = marks(run_ids)
    return found


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
    if _settings().database_url is not None:
        for name in _POSTGRES:
            importlib.import_module(name)


_MACHINERY = (
    "dagster._core.execution.plan.active", "dagster._core.executor.multiprocess", "dagster._core.instance.factory",
    "dagster._core.instance.runs.run_domain", "dagster._core.secrets.env_file", "dagster._core.secrets.loader",
    "dagster._core.storage.migration.utils", "dagster._core.system_config.composite_descent", "multiprocessing.popen_forkserver",
    "multiprocessing.queues", "multiprocessing.synchronize", "sqlalchemy.dialects.sqlite", "upath.core", "upath.implementations.local",
)  # fmt: skip
_POSTGRES = ("viralsync_pipelines.defs.home_postgres", "sqlalchemy.dialects.postgresql.psycopg2", "psycopg2.extras")


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

    def get_captured_local_path(self, log_key: Sequence[str], extension: str, partial: bool = False) -> str:
        """Dagster's own, which asks the disk for every folder on the way, remembered: readers ask for the same few files all the time."""
        return self._path(tuple(log_key), extension, partial)

    @cached_property
    def _path(self) -> Callable[[tuple[str, ...], str, bool], str]:
        return lru_cache(4_096)(super().get_captured_local_path)

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
