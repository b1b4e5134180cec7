"""Dagster's instance for programs outside of Dagster: DAGSTER_HOME under VIRALSYNC_HOME, with the project's dagster.yaml in it.

What belongs here: opening the instance. What does not: its storage classes (home.py).
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

import dagster as dg

from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.settings import Settings

# What dagster.yaml at the project's root says; written where an installed package has no project root.
CONFIG = """\
storage:
  custom: {module: viralsync_pipelines.defs.home, class: HomeStorage, config: {}}
local_artifact_storage: {module: viralsync_pipelines.defs.home, class: HomeArtifacts, config: {}}
compute_logs: {module: viralsync_pipelines.defs.home, class: HomeComputeLogs, config: {}}
run_launcher: {module: viralsync_pipelines.defs.launcher, class: WatchedLauncher, config: {}}
run_coordinator:
  module: dagster
  class: QueuedRunCoordinator
  config:
    max_concurrent_runs: 4
    dequeue_interval_seconds: 1
    tag_concurrency_limits:
      - {key: viralsync/job_id, value: {applyLimitPerUniqueValue: true}, limit: 1}
      - {key: viralsync/plan.free, value: {applyLimitPerUniqueValue: true}, limit: 1}
      - {key: viralsync/plan.pro, value: {applyLimitPerUniqueValue: true}, limit: 3}
      - {key: viralsync/plan.business, value: {applyLimitPerUniqueValue: true}, limit: 6}
run_monitoring: {enabled: true, poll_interval_seconds: 10, cancel_timeout_seconds: 60}
sensors: {use_threads: true, num_workers: 4}
telemetry: {enabled: false}
nux: {enabled: false}
"""

# What workspace.yaml at the project's root says: sensors are switched on and off by the location's name, so it is the same here.
WORKSPACE = """\
load_from:
  - python_module:
      module_name: viralsync_pipelines.definitions
      location_name: viralsync
"""


def dagster_home(settings: Settings) -> Path:
    """The folder for DAGSTER_HOME, made and configured when it is not there."""
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    for name, text in (("dagster.yaml", CONFIG), ("workspace.yaml", WORKSPACE)):
        file = home / name
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
    return home


@contextmanager
def open_instance(settings: Settings, environ: MutableMapping[str, str]) -> Iterator[dg.DagsterInstance]:
    """The instance that DAGSTER_HOME names, or the one under VIRALSYNC_HOME. Children of this process find the same one.

    Raises RenderError DISK_FULL when Dagster cannot write its state.
    """
    if not environ.get("DAGSTER_HOME"):
        environ["DAGSTER_HOME"] = str(dagster_home(settings))
    environ["VIRALSYNC_HOME"] = str(settings.home)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    except Exception as error:
        # SQLite says so in words of its own, from wherever Dagster was writing.
        if "database or disk is full" in str(error):
            told = f"the disk of {settings.home} is full; free some space and run the same command again"
            raise RenderError(told, code="DISK_FULL") from error
        raise
