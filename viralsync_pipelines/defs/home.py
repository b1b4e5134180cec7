"""Dagster's state under VIRALSYNC_HOME, or in PostgreSQL when DATABASE_URL is set, so that dagster.yaml works as it stands.

What belongs here: the classes that dagster.yaml names. This is the one module that imports `dagster._core`: Dagster's storage
classes have no public path, and its own `env:` has no default, so a plain dagster.yaml would need VIRALSYNC_HOME to be set.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager
from dagster._core.storage.root import LocalArtifactStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage
from dagster._serdes import ConfigurableClassData

from viralsync_pipelines.settings import Settings


def _settings() -> Settings:
    return Settings.from_env(os.environ, cwd=Path.cwd())


class HomeStorage(DagsterSqliteStorage):
    """Runs, events and schedules: SQLite in the home, or the PostgreSQL of DATABASE_URL."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        settings = _settings()
        if settings.database_url is not None:
            from dagster_postgres import DagsterPostgresStorage

            # SQLAlchemy 2.1 takes postgresql:// for psycopg 3; dagster-postgres brings psycopg 2.
            url = settings.database_url.replace("postgresql://", "postgresql+psycopg2://", 1)
            return DagsterPostgresStorage(url, should_autocreate_tables=True, inst_data=inst_data)
        settings.dagster_home.mkdir(parents=True, exist_ok=True)
        return DagsterSqliteStorage.from_local(str(settings.dagster_home), inst_data=inst_data)


class HomeArtifacts(LocalArtifactStorage):
    """What Dagster writes to local files."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        return LocalArtifactStorage(str(_settings().dagster_home), inst_data=inst_data)


class HomeComputeLogs(LocalComputeLogManager):
    """What steps print."""

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        return {}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Any:
        return LocalComputeLogManager(str(_settings().dagster_home / "logs"), inst_data=inst_data)
