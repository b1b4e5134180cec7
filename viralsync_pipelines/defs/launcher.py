"""Dagster's launcher of runs, which can say whether a run's process is still there: without that a run whose process was killed
together with the server that started it stays "started" for ever.

What belongs here: that answer, which the daemon asks for every ten seconds (run_monitoring in dagster.yaml). What does not: starting
and ending runs, which is Dagster's own. Beside the home modules the one that imports from `dagster._core`: what a launcher answers
with, and what it is given, have no public path.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import dagster as dg
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, WorkerStatus
from dagster._serdes import ConfigurableClassData

from viralsync_pipelines.orchestrator.foreground import WORKER_TAG
from viralsync_pipelines.render.lifeline import has_ended, lives, moment_mark

PLACE_TAG = "viralsync/launched"
"""Where and when a run was launched: only there can be told whether its process lives."""
# A run from another machine, such as a container that was replaced, is given up when it has said nothing for so long. Films in the
# making say something every second or so; a large download may be silent for minutes.
SILENT_S = 900.0
_BEGAN = "Started process for run (pid: "


class WatchedLauncher(dg.DefaultRunLauncher):
    """As Dagster's own, and knows when a run has no process any more."""

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]) -> WatchedLauncher:
        return cls(inst_data=inst_data)

    def launch_run(self, context: LaunchRunContext) -> None:
        self._instance.add_run_tags(context.dagster_run.run_id, {PLACE_TAG: moment_mark()})
        super().launch_run(context)

    @property
    def supports_check_run_worker_health(self) -> bool:
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        mark = run.tags.get(WORKER_TAG)
        if mark is not None:
            # A render of the command line: its process is told by a mark of its own.
            return _verdict(gone=has_ended(mark) is True, why="the process that rendered this film was killed")
        began = _began(self._instance, run.run_id)
        alive = lives(began, run.tags.get(PLACE_TAG, "")) if began is not None else None
        if alive is not None:
            return _verdict(gone=not alive, why="the run's process is gone: it was killed, and the server that started it too")
        silent = _silent_s(self._instance, run.run_id) > SILENT_S
        return _verdict(gone=silent, why=f"another machine ran it, and nothing was heard of it for {SILENT_S:.0f} s")


def _verdict(*, gone: bool, why: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.FAILED, why) if gone else CheckRunHealthResult(WorkerStatus.RUNNING)


def _began(instance: dg.DagsterInstance, run_id: str) -> int | None:
    """The id of the run's process, as it noted itself when it began."""
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ENGINE_EVENT):
        words = entry.get_dagster_event().message or ""
        if words.startswith(_BEGAN):
            pid = words.removeprefix(_BEGAN).partition(")")[0]
            return int(pid) if pid.isdecimal() else None
    return None


def _silent_s(instance: dg.DagsterInstance, run_id: str) -> float:
    """Since when nothing was heard of a run."""
    last = instance.get_records_for_run(run_id, limit=1, ascending=False).records
    return time.time() - last[0].timestamp if last else 0.0
