"""Dagster's instance for programs outside of Dagster: DAGSTER_HOME under VIRALSYNC_HOME, with the project's dagster.yaml in it.

What belongs here: opening the instance. What does not: its storage classes (home.py).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from viralsync_pipelines.settings import Settings

# What dagster.yaml at the project's root says; written where an installed package has no project root.
CONFIG = """\
storage:
  custom: {module: viralsync_pipelines.defs.home, class: HomeStorage, config: {}}
local_artifact_storage: {module: viralsync_pipelines.defs.home, class: HomeArtifacts, config: {}}
compute_logs: {module: viralsync_pipelines.defs.home, class: HomeComputeLogs, config: {}}
run_coordinator:
  module: dagster
  class: QueuedRunCoordinator
  config: {max_concurrent_runs: 4, dequeue_interval_seconds: 1}
run_monitoring: {enabled: true, poll_interval_seconds: 10}
telemetry: {enabled: false}
"""


def dagster_home(settings: Settings) -> Path:
    """The folder for DAGSTER_HOME, made and configured when it is not there."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists() or config.read_text(encoding="utf-8") != CONFIG:
        config.write_text(CONFIG, encoding="utf-8")
    return home


@contextmanager
def open_instance(settings: Settings, environ: MutableMapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """The instance that DAGSTER_HOME names, or the one under VIRALSYNC_HOME. Children of this process find the same one."""
    if not environ.get("DAGSTER_HOME"):
        environ["DAGSTER_HOME"] = str(dagster_home(settings))
    environ["VIRALSYNC_HOME"] = str(settings.home)
    with dg.DagsterInstance.get() as instance:
        yield instance
