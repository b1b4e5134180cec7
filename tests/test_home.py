"""Dagster's databases on connections that stay open: every event is there for every process, and few files are held."""

import os
from pathlib import Path

import dagster as dg
import pytest

from viralsync_pipelines.defs.home import _Engines


def held(folder: Path) -> set[str]:
    """Databases below a folder that this process has open."""
    targets = (link.readlink() for link in Path("/proc/self/fd").iterdir() if link.is_symlink())
    return {str(target) for target in targets if target.is_relative_to(folder) and target.suffix == ".db"}


@dg.op
def work(context: dg.OpExecutionContext) -> None:
    context.log.info("at work")


@dg.job
def job() -> None:
    work()


def instance_in(home: Path, monkeypatch: pytest.MonkeyPatch) -> dg.DagsterInstance:
    (home / "dagster.yaml").write_text(
        "storage: {custom: {module: viralsync_pipelines.defs.home, class: HomeStorage, config: {}}}\ntelemetry: {enabled: false}\n", encoding="utf-8"
    )
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv("VIRALSYNC_HOME", str(home))
    return dg.DagsterInstance.get()


def test_events_of_many_runs_are_read_back_and_few_databases_stay_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with instance_in(tmp_path, monkeypatch) as instance:
        runs = [job.execute_in_process(instance=instance).run_id for _ in range(_Engines.MOST + 8)]
        for run in (*runs, *reversed(runs)):
            said = [e.user_message for e in instance.all_logs(run) if not e.is_dagster_event]
            assert said == ["at work"]
            assert 0 < len(held(tmp_path)) <= _Engines.MOST + 2
        assert instance.get_runs_count() == len(runs)
    assert held(tmp_path) == set()


def test_a_fork_opens_connections_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite's locks belong to a process: what a parent opened must not be used by its child."""
    engines = _Engines()
    url = f"sqlite:///{tmp_path / 'x.db'}"
    mine = engines.of(url)
    assert engines.of(url) is mine
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert engines.of(url) is not mine
    monkeypatch.undo()
    engines.close()


def test_two_processes_write_one_run_and_both_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is another process than its run: each writes while the other has the database open."""
    with instance_in(tmp_path, monkeypatch) as instance:
        run = job.execute_in_process(instance=instance)
        child = os.fork()
        if child == 0:
            status = 1
            try:
                with instance_in(tmp_path, monkeypatch) as other:
                    other.report_engine_event("from the child", run.dagster_run)
                status = 0
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        instance.report_engine_event("from the parent", run.dagster_run)
        messages = [event.message for event in instance.all_logs(run.run_id)]
        assert any("from the child" in m for m in messages)
        assert any("from the parent" in m for m in messages)
