"""Runs whose process is gone are known by it, and only they: nothing that lives is ever given up."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
import yaml
from dagster._core.launcher.base import WorkerStatus

from tests.test_dagster import instance_of
from viralsync_pipelines.defs import launcher
from viralsync_pipelines.defs.build import build_defs
from viralsync_pipelines.defs.instance import CONFIG
from viralsync_pipelines.defs.launcher import PLACE_TAG, WatchedLauncher
from viralsync_pipelines.orchestrator.events import job_events
from viralsync_pipelines.render.lifeline import lives, moment_mark, process_mark

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def instance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    with instance_of(tmp_path / "home", monkeypatch) as opened:
        yield opened


@pytest.fixture
def gone() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def verdict(instance: dg.DagsterInstance, pid: int | None = None, **tags: str) -> WorkerStatus:
    """On a run that began under that process id."""
    run = instance.create_run_for_job(build_defs().resolve_job_def("upkeep"), status=dg.DagsterRunStatus.STARTED, tags=tags)
    instance.report_engine_event("Something that is said before.", run)
    if pid is not None:
        instance.report_engine_event(f"Started process for run (pid: {pid}).", run)
    watching = instance.run_launcher
    assert isinstance(watching, WatchedLauncher)
    assert watching.supports_check_run_worker_health
    status: WorkerStatus = watching.check_run_worker_health(run).status
    return status


def test_a_run_of_this_machine_lives_as_long_as_its_process(instance: dg.DagsterInstance, gone: int) -> None:
    assert verdict(instance, os.getpid(), **{PLACE_TAG: moment_mark()}) is WorkerStatus.RUNNING
    assert verdict(instance, gone, **{PLACE_TAG: moment_mark()}) is WorkerStatus.FAILED


def test_a_process_that_got_its_id_later_or_after_a_restart_of_the_machine_is_another(instance: dg.DagsterInstance) -> None:
    machine, boot, seconds = moment_mark().split("-")
    long_ago = f"{machine}-{boot}-0"
    assert verdict(instance, os.getpid(), **{PLACE_TAG: f"{machine}-0123456789-{seconds}"}) is WorkerStatus.FAILED
    if int(seconds) > 1_000:
        assert verdict(instance, os.getpid(), **{PLACE_TAG: long_ago}) is WorkerStatus.FAILED


def test_a_run_that_has_not_said_who_it_is_or_was_started_elsewhere_is_given_time(
    instance: dg.DagsterInstance, gone: int, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    elsewhere = {PLACE_TAG: "0123456789ab-abc-5"}
    assert verdict(instance, None, **{PLACE_TAG: moment_mark()}) is WorkerStatus.RUNNING
    assert verdict(instance, gone, **elsewhere) is WorkerStatus.RUNNING
    assert verdict(instance, gone) is WorkerStatus.RUNNING
    monkeypatch.setattr(launcher, "SILENT_S", -1.0)
    assert verdict(instance, gone, **elsewhere) is WorkerStatus.FAILED


def test_a_render_of_the_command_line_is_known_by_its_mark(instance: dg.DagsterInstance, gone: int) -> None:
    here = process_mark()
    machine, _, started = here.split("-")
    assert verdict(instance, **{"viralsync/worker": here}) is WorkerStatus.RUNNING
    assert verdict(instance, **{"viralsync/worker": f"{machine}-{gone}-{started}"}) is WorkerStatus.FAILED


@pytest.mark.parametrize("mark", ["", "x", "-", "a-b", "a-b-c", moment_mark().rpartition("-")[0]])
def test_what_is_no_mark_says_nothing(mark: str) -> None:
    assert lives(os.getpid(), mark) is None


def test_what_monitoring_says_of_a_lost_run_is_no_reason_of_its_own(instance: dg.DagsterInstance) -> None:
    """The job's error says what to do; Dagster's words are in its log."""
    run = instance.create_run_for_job(build_defs().resolve_job_def("upkeep"), status=dg.DagsterRunStatus.STARTED)
    for words in ("Detected run worker status FAILED: 'gone'. Marking run x as failed.", "Run timed out due to taking longer than 180 seconds to start."):
        instance.report_run_failed(run, words)
    ends = [event for entry in instance.all_logs(run.run_id) if (event := job_events(entry)) is not None and event.kind == "run.failed"]
    assert [end.data for end in ends] == [{"error": None}, {"error": None}]


def test_the_configuration_at_the_root_is_the_one_that_is_written() -> None:
    assert yaml.safe_load((ROOT / "dagster.yaml").read_text()) == yaml.safe_load(CONFIG)
