"""The board over Dagster itself, on SQLite and on PostgreSQL: what runs say is what jobs show, also while they go on and once they are gone."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import text

from tests.recordings.retrying import SCENES, retrying_job, retrying_job_in_one_process
from tests.reels import wait_until
from viralsync_pipelines.board import index
from viralsync_pipelines.board.board import Board
from viralsync_pipelines.board.sources import Query, RunFacts
from viralsync_pipelines.defs.home import event_marks
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.errors import SceneFailed
from viralsync_pipelines.jobs.model import Change, Job
from viralsync_pipelines.jobs.orders import JOB_TAG, PRIORITY_TAG, PROJECT_TAG, QUEUE_TAG, WORKSPACE_TAG
from viralsync_pipelines.orchestrator import runs as runs_module
from viralsync_pipelines.orchestrator.runs import DagsterRuns, open_board
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.database import Database

# Dagster 1.13 calls what it deprecated itself.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning", "ignore::dagster.PreviewWarning")
ROOT = Path(__file__).parents[1]
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dg.op(config_schema={"fails": dg.Field(str, default_value="")})
def work(context: dg.OpExecutionContext) -> None:
    how = context.op_config["fails"]
    if how == "failure":
        raise dg.Failure("BROKEN: it was told to")
    if how == "coded":
        try:
            raise OSError("no such file")
        except OSError as error:
            raise SceneFailed("s1", "it cannot be read") from error
    if how == "plain":
        raise ValueError("seven is no colour")


@dg.job(executor_def=dg.in_process_executor)
def chore() -> None:
    work()


@pytest.fixture
def instance(dagster_storage: Settings) -> Iterator[dg.DagsterInstance]:
    with open_instance(dagster_storage, os.environ) as opened:
        yield opened


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@pytest.fixture
def board(instance: dg.DagsterInstance, database: Database, monkeypatch: pytest.MonkeyPatch) -> Board:
    # Reads within 100 ms share one look at the engine, and two runs of these once fitted in between two reads.
    monkeypatch.setattr(index, "_FRESH_MS", 0)
    return open_board(instance, database, event_marks, now_ms)


def run_chore(instance: dg.DagsterInstance, *, fails: str = "", **tags: str) -> str:
    config = {**QUIET, "ops": {"work": {"config": {"fails": fails}}}}
    return chore.execute_in_process(instance=instance, tags=tags, run_config=config, raise_on_error=False).run_id


def queued(instance: dg.DagsterInstance, **tags: str) -> str:
    """A run that nobody has begun. (QUEUED itself is for runs of a code location.)"""
    return instance.create_run_for_job(chore, tags=tags).run_id


def job_of(run_id: str) -> str:
    return "job_" + run_id.replace("-", "")[:12]


def test_a_run_without_tags_is_a_job_named_after_it(instance: dg.DagsterInstance, board: Board) -> None:
    run_id, failed = run_chore(instance), run_chore(instance, fails="failure")
    job = board.find(job_of(run_id))
    assert job is not None
    assert (job.type, job.status, job.progress, job.workspace) == ("workflow.run", "done", 10_000, "default")
    assert [attempt.run_id for attempt in job.attempts] == [run_id]
    other = board.find(job_of(failed))
    assert other is not None
    assert (other.status, other.error) == ("failed", "BROKEN: it was told to")
    jobs, place = board.newest(Query("default"))
    assert ([job.id for job in jobs], place) == ([job_of(failed), job_of(run_id)], None)


@pytest.mark.parametrize(
    ("how", "error"),
    [("failure", "BROKEN: it was told to"), ("coded", "SCENE_RENDER_FAILED: s1: it cannot be read"), ("plain", "STEP_FAILED: ValueError: seven is no colour")],
)
def test_an_error_is_told_with_its_code_in_its_own_words(
    instance: dg.DagsterInstance, board: Board, how: str, error: str
) -> None:
    run_id = run_chore(instance, fails=how)
    assert (board.find(job_of(run_id)) or Job("", "")).error == error
    # The run's own end says the same, should nothing else be left of its log.
    (end,) = [event for event in DagsterRuns(instance, event_marks).events(run_id, None).events if event.kind == "run.failed"]
    assert end.data["error"] in {None, error, error.replace("STEP_FAILED", "RUN_FAILED")}


def test_tags_name_the_job_its_workspace_and_its_project(instance: dg.DagsterInstance, board: Board) -> None:
    tags = {JOB_TAG: "job_a1b2c3d4e5f6", WORKSPACE_TAG: "studio", PROJECT_TAG: "proj_1"}
    run_chore(instance, **tags)
    run_chore(instance)
    job = board.find("job_a1b2c3d4e5f6")
    assert job is not None
    assert (job.workspace, job.payload["projectId"]) == ("studio", "proj_1")
    for query, found in (
        (Query("studio"), 1), (Query("default"), 1), (Query("studio", project_id="proj_1"), 1), (Query("studio", project_id="proj_2"), 0),
        (Query("studio", types=frozenset({"workflow"})), 1), (Query("studio", types=frozenset({"render"})), 0), (Query("elsewhere"), 0),
    ):  # fmt: skip
        assert len(board.newest(query)[0]) == found, query


def again(instance: dg.DagsterInstance, parent: str) -> dg.JobExecutionResult:
    """Re-executed as Dagster's UI does: parent and root are noted, tags of ours only if the parent had them."""
    with dg.execute_job(
        dg.reconstructable(_chore), instance=instance, run_config={**QUIET, "ops": {"work": {"config": {"fails": ""}}}},
        reexecution_options=dg.ReexecutionOptions(parent_run_id=parent), raise_on_error=False,
    ) as result:  # fmt: skip
        return result


def _chore() -> dg.JobDefinition:
    return chore


def test_a_clock_that_is_set_back_hides_no_run_and_no_end(instance: dg.DagsterInstance, board: Board) -> None:
    """A laptop that slept, another machine, a leap: times in the table then run backwards, and the newest change is not the latest."""
    ends, known = queued(instance), run_chore(instance)
    assert [job.id for job in board.newest(Query("default"))[0]] == [job_of(known), job_of(ends)]
    instance.report_run_failed(instance.get_run_by_id(ends))
    late = run_chore(instance)
    storage: Any = instance.run_storage
    with storage.connect() as connection:
        back = text("UPDATE runs SET update_timestamp = '2020-01-01 00:00:00.000000' WHERE run_id IN (:ends, :late)")
        connection.execute(back, {"ends": ends, "late": late})
    board.sync(force=True)
    assert (board.find(job_of(ends)) or Job("", "")).status == "failed"
    assert (board.find(job_of(late)) or Job("", "")).status == "done"
    instance.delete_run(ends)
    board.sync(force=True)
    assert board.find(job_of(ends)) is None


def test_reexecuted_without_tags_it_is_the_same_job_however_often(instance: dg.DagsterInstance, board: Board) -> None:
    first = run_chore(instance, fails="failure")
    assert (board.find(job_of(first)) or Job("", "")).status == "failed"
    second = again(instance, first).run_id
    third = again(instance, second).run_id
    job = board.find(job_of(first))
    assert job is not None
    assert [attempt.run_id for attempt in job.attempts] == [first, second, third]
    assert [attempt.status.value for attempt in job.attempts] == ["failed", "done", "done"]
    assert (job.attempt, job.status, job.error) == (3, "done", None)
    assert [found.id for found in board.newest(Query("default"))[0]] == [job.id]
    assert board.find(job_of(second)) is None


def test_deleted_runs_are_gone_within_a_second(instance: dg.DagsterInstance, board: Board) -> None:
    first, second = run_chore(instance), run_chore(instance)
    assert len(board.newest(Query("default"))[0]) == 2
    instance.delete_run(first)
    wait_until(lambda: len(board.newest(Query("default"))[0]) == 1, 10, 0.1)
    assert board.find(job_of(first)) is None
    assert board.find(job_of(second)) is not None


def test_a_page_that_begins_after_a_run_just_deleted_loses_none(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean-up deletes old runs while somebody reads all of them."""
    monkeypatch.setattr(runs_module, "_PAGE", 2)
    made = [queued(instance) for _ in range(5)]
    source = DagsterRuns(instance, event_marks)
    real = instance.get_run_records
    asked = 0

    def records(*args: Any, **options: Any) -> Any:
        nonlocal asked
        asked += 1
        found = real(*args, **options)
        if asked == 1:
            instance.delete_run(made[1])
        return found

    monkeypatch.setattr(instance, "get_run_records", records)
    assert {facts.run_id for facts in source.changed(None)} == {*made} - {made[1]}


def test_places_in_the_queue_follow_dagsters_priorities(instance: dg.DagsterInstance, board: Board) -> None:
    runs = {
        "old": queued(instance), "high": queued(instance, **{PRIORITY_TAG: "5"}), "low": queued(instance, **{PRIORITY_TAG: "-5"}),
        "new": queued(instance), "odd": queued(instance, **{PRIORITY_TAG: "very"}), "gpu": queued(instance, **{QUEUE_TAG: "gpu"}),
    }  # fmt: skip
    found = {}
    for name, run_id in runs.items():
        job = board.find(job_of(run_id))
        assert job is not None
        assert job.status == "queued"
        found[name] = board.surroundings(job).queue
    assert {name: place and (place["position"], place["total"], place["queueName"]) for name, place in found.items()} == {
        "high": (1, 5, "default"), "old": (2, 5, "default"), "new": (3, 5, "default"), "odd": (4, 5, "default"), "low": (5, 5, "default"),
        "gpu": (1, 1, "gpu"),
    }  # fmt: skip


def test_pages_over_dagster_show_every_run_once_while_new_ones_come(instance: dg.DagsterInstance, board: Board) -> None:
    made = [queued(instance) for _ in range(7)]
    seen: list[Job] = []
    query = Query("default", limit=2)
    while True:
        jobs, place = board.newest(query)
        seen += jobs
        if place is None:
            break
        query = Query("default", limit=2, before=place)
        queued(instance)
        time.sleep(0.11)
    assert [job.id for job in seen] == [job_of(run_id) for run_id in reversed(made)]
    assert len(board.newest(Query("default"))[0]) == 7 + 3


def test_facts_of_a_run_are_what_dagster_says(instance: dg.DagsterInstance) -> None:
    before = now_ms()
    run_id = run_chore(instance)
    source = DagsterRuns(instance, event_marks)
    (facts,) = source.changed(None)
    assert isinstance(facts, RunFacts)
    assert (facts.run_id, facts.status, facts.subset) == (run_id, "SUCCESS", False)
    assert facts.started_ms is not None
    assert facts.ended_ms is not None
    assert before <= facts.created_ms <= facts.started_ms + 1_000 <= facts.ended_ms + 1_000 <= now_ms() + 1_000
    assert source.changed(facts.updated_ms - 1) == [facts]
    assert source.changed(now_ms() + 1_000) == []
    assert source.count() == 1


def test_events_are_read_on_from_where_one_stopped(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = run_chore(instance)
    source = DagsterRuns(instance, event_marks)
    whole = list(source.events(run_id, None).events)
    assert [event.kind for event in whole] == ["run.started", "step.started", "step.output", "step.succeeded", "run.succeeded"]
    monkeypatch.setattr(runs_module, "_PAGE", 1)
    parts, cursor, more = [], None, True
    while more:
        page = source.events(run_id, cursor)
        cursor, more = page.cursor, page.more
        parts += page.events
    assert parts == whole
    assert list(source.events(run_id, cursor).events) == []
    fresh = queued(instance)
    empty = source.events(fresh, None)
    assert (list(empty.events), empty.more) == ([], False)
    instance.report_run_canceled(instance.get_run_by_id(fresh) or pytest.fail("it is gone"))
    assert [event.kind for event in source.events(fresh, empty.cursor).events] == ["run.canceled"]


def test_a_mark_changes_when_a_log_grows_and_not_otherwise(instance: dg.DagsterInstance) -> None:
    source = DagsterRuns(instance, event_marks)
    one, two = queued(instance), queued(instance)
    before = source.marks([one, two])
    assert source.marks([two, one]) == before
    instance.report_engine_event("something", run_id=two, job_name="chore")
    after = source.marks([one, two])
    assert after[one] == before[one]
    assert after[two] != before[two]
    assert source.marks([]) == {}


# ---- a run that goes on while it is read -----------------------------------------------------------------------------


class Follower(threading.Thread):
    """Reads the changes of a job from a board of its own, as another gateway does, until the job has ended."""

    def __init__(self, board: Board, job_id: str, every_s: float, *, forgets: bool) -> None:
        super().__init__()
        self.board, self.job_id, self.every_s, self.forgets = board, job_id, every_s, forgets
        self.changes: list[Change] = []
        self.fault: BaseException | None = None

    def run(self) -> None:
        try:
            deadline = time.monotonic() + 240
            while not (self.changes and self.changes[-1].job.id == self.job_id and self.changes[-1].job.status.terminal):
                assert time.monotonic() < deadline
                last = self.changes[-1].sequence if self.changes else 0
                self.changes += self.board.changes(self.job_id, last)
                if self.forgets:
                    self.board.forget()
                time.sleep(self.every_s)
        except BaseException as error:
            self.fault = error


def test_two_processes_follow_a_living_run_and_number_its_changes_alike(
    dagster_storage: Settings, instance: dg.DagsterInstance, database: Database
) -> None:
    job_id = "job_0123456789ab"
    program = (
        "import dagster as dg, os; from tests.recordings.retrying import retrying_job_in_one_process as job\n"
        "with dg.DagsterInstance.get() as instance:\n"
        f"    dg.execute_job(dg.reconstructable(job), instance=instance, tags={{'{JOB_TAG}': '{job_id}'}})\n"
    )
    run = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with open_instance(dagster_storage, os.environ) as second:
            wait_until(lambda: instance.get_runs_count() == 1, 120, 0.05)
            boards = [open_board(each, database, event_marks, now_ms) for each in (instance, second)]
            followers = [Follower(boards[0], job_id, 0.05, forgets=False), Follower(boards[1], job_id, 0.4, forgets=True)]
            for follower in followers:
                follower.start()
            for follower in followers:
                follower.join()
        assert run.wait(60) == 0
    finally:
        run.kill()
        run.wait(10)
    assert [follower.fault for follower in followers] == [None, None]
    heard = followers[0].changes
    assert heard == followers[1].changes
    assert [change.sequence for change in heard] == list(range(1, len(heard) + 1))
    # Whoever comes afterwards is told the same.
    late = open_board(instance, database, event_marks, now_ms)
    assert late.changes(job_id) == heard
    job = late.find(job_id)
    assert job is not None
    assert job.counts is not None
    assert (job.type, job.status, job.counts.succeeded) == ("render.movie", "done", SCENES)
    assert _statuses(heard, f"scene_{job_id}_002") == ["queued", "running", "queued", "running", "done"]
    assert retrying_job().name == retrying_job_in_one_process().name == "render_movie"


def _statuses(changes: Sequence[Change], job_id: str) -> list[str]:
    told: list[str] = []
    for change in changes:
        if change.job.id == job_id and told[-1:] != [change.job.status.value]:
            told.append(change.job.status.value)
    return told
