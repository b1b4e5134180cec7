"""Reported jobs in the database and on the board: numbering under many writers, moves refused, lists, expiry, callbacks. On both databases."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select

from viralsync_pipelines.board.board import Board
from viralsync_pipelines.board.report_folds import ReportFolds
from viralsync_pipelines.board.report_rows import DAY_MS, NewJob
from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.board.sources import Query
from viralsync_pipelines.errors import JobNotFound, ReportRefused
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.fold import fold_all
from viralsync_pipelines.jobs.model import WHOLE, Job, JobEvent, Status
from viralsync_pipelines.storage import reports
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.outbox_log import messages_of
from viralsync_pipelines.storage.tables import reported_events, reported_jobs

T0 = 1_764_244_800_000
numbers = itertools.count(1)


def new_id() -> str:
    return f"job_{next(numbers):012x}"


@dataclass
class Clock:
    now: int = T0

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def jobs(database: Database, clock: Clock) -> ReportedJobs:
    return ReportedJobs(database, clock)


def plain(**values: Any) -> NewJob:
    return NewJob(**{"id": new_id(), "workspace": "w", "type": "image-generation", "title": "T", "user_id": "u", **values})


def batch(jobs: ReportedJobs, count: int, **values: Any) -> tuple[Job, list[Job]]:
    parent = plain(child_count=count, **values)
    family = jobs.create_family(parent, [plain(parent_id=parent.id, index=index, title=f"Image {index}") for index in range(count)])
    return family.job, list(family.children.values())


def log_of(database: Database, root_id: str) -> list[JobEvent]:
    with database.reading() as connection:
        rows = reports.events_after(connection, root_id, 0)
    assert [row.seq for row in rows] == list(range(1, len(rows) + 1))
    return [JobEvent(row.kind, row.at_ms, "" if row.job_id == root_id else row.job_id, json.loads(row.data)) for row in rows]


def test_a_job_goes_on_by_its_reports_and_every_reader_sees_the_same(jobs: ReportedJobs, database: Database, clock: Clock) -> None:
    job = jobs.create(plain(project_id="p", about={"metadata": {"a": 1}}))
    assert (job.status, job.payload) == (Status.QUEUED, {"projectId": "p", "userId": "u", "metadata": {"a": 1}})
    clock.now += 1_000
    jobs.report("w", job.id, moves.PROGRESS, {"progress": 30, "message": "At it"})
    clock.now += 1_000
    assert jobs.report("w", job.id, moves.COMPLETED, {"result": {"url": "https://a.test/x"}}).status is Status.DONE
    elsewhere = ReportedJobs(database, clock)
    for reader in (jobs, elsewhere):
        family = reader.family(job.id)
        assert family is not None
        assert (family.job.status, family.job.progress, family.job.output) == (Status.DONE, WHOLE, "https://a.test/x")
        assert [(c.sequence, c.name) for c in reader.changes(job.id, 0)] == [(1, "job.progress"), (2, "job.started"), (3, "job.completed")]
        assert [c.sequence for c in reader.changes(job.id, 2)] == [3]
        assert reader.changes(job.id, 3) == []
        assert fold_all(log_of(database, job.id))[0].job == family.job


def test_what_may_not_happen_is_refused_and_leaves_no_trace(jobs: ReportedJobs, database: Database) -> None:
    job = jobs.create(plain())
    jobs.cancel(job.id)
    before = log_of(database, job.id)
    for kind in (moves.PROGRESS, moves.COMPLETED, moves.FAILED):
        with pytest.raises(ReportRefused, match="has ended: it is cancelled") as refused:
            jobs.report("w", job.id, kind, {"progress": 5})
        assert refused.value.code == "INVALID_STATE"
    with pytest.raises(ReportRefused):
        jobs.cancel(job.id)
    assert log_of(database, job.id) == before


@pytest.mark.parametrize("name", ["job_ffffffffffff", "nobody", "scene_job_000000000001_001", "job_\x00", "job_" + "f" * 300])
def test_an_unknown_job_is_not_found(jobs: ReportedJobs, name: str) -> None:
    with pytest.raises(JobNotFound):
        jobs.report("w", name, moves.PROGRESS, {})
    assert jobs.root_of(name) is None
    assert jobs.family(name) is None
    assert jobs.changes(name, 0) == []


def test_another_workspaces_job_is_no_job_at_all(jobs: ReportedJobs) -> None:
    """Neither for a report nor as a parent, and in the same words as one that never was."""
    job, _ = batch(jobs, 2)
    attempts: list[Callable[[], Job]] = [
        lambda: jobs.report("other", job.id, moves.PROGRESS, {}), lambda: jobs.create(plain(workspace="other", parent_id=job.id)),
    ]  # fmt: skip
    for attempt in attempts:
        with pytest.raises(JobNotFound) as refused:
            attempt()
        with pytest.raises(JobNotFound) as unknown:
            jobs.report("other", "job_eeeeeeeeeeee", moves.PROGRESS, {})
        assert str(refused.value).replace(job.id, "job_eeeeeeeeeeee") == str(unknown.value)
    assert jobs.newest(Query("other"), 10) == []


def test_a_report_that_changes_nothing_is_not_kept(jobs: ReportedJobs, database: Database) -> None:
    job = jobs.create(plain())
    for _ in range(5):
        jobs.report("w", job.id, moves.PROGRESS, {"progress": 5, "message": "same"})
    assert len(log_of(database, job.id)) == 2


def test_metadata_stays_within_its_limit_however_often_it_is_merged(jobs: ReportedJobs) -> None:
    job = jobs.create(plain())
    jobs.report("w", job.id, moves.PROGRESS, {"metadata": {"a": "x" * 6_000}})
    with pytest.raises(ReportRefused) as refused:
        jobs.report("w", job.id, moves.PROGRESS, {"metadata": {"b": "x" * 6_000}})
    assert [(p.pointer, p.code) for p in refused.value.problems] == [("/metadata", "TOO_LARGE")]
    assert refused.value.code == "VALIDATION_ERROR"
    jobs.report("w", job.id, moves.PROGRESS, {"metadata": {"a": "", "b": "x" * 6_000}})


# ---- parents and children --------------------------------------------------------------------------------------------


def test_children_are_created_one_by_one_with_indexes_of_their_own(jobs: ReportedJobs) -> None:
    parent = jobs.create(plain(child_count=2, project_id="p"))
    first = jobs.create(plain(parent_id=parent.id, index=0))
    assert (first.parent_id, first.payload["projectId"]) == (parent.id, "p")
    with pytest.raises(ReportRefused, match="has a child with index 0 already"):
        jobs.create(plain(parent_id=parent.id, index=0))
    with pytest.raises(ReportRefused) as outside:
        jobs.create(plain(parent_id=parent.id, index=2))
    assert [p.pointer for p in outside.value.problems] == ["/childIndex"]
    with pytest.raises(ReportRefused, match="is a child itself"):
        jobs.create(plain(parent_id=first.id, index=0))
    jobs.create(plain(parent_id=parent.id, index=1))
    with pytest.raises(ReportRefused, match="all 2 children"):
        jobs.create(plain(parent_id=parent.id, index=1))
    lone = jobs.create(plain())
    with pytest.raises(ReportRefused, match="was not created as a parent"):
        jobs.create(plain(parent_id=lone.id, index=0))


def test_creating_again_under_the_same_id_makes_nothing_anew(jobs: ReportedJobs, database: Database) -> None:
    """What a request does that takes over from one whose process died."""
    new = plain(child_count=2)
    children = [plain(parent_id=new.id, index=index) for index in range(2)]
    jobs.create_family(new, children)
    jobs.report("w", children[0].id, moves.PROGRESS, {"progress": 50})
    for again in (jobs, ReportedJobs(database, Clock())):
        assert set(again.create_family(new, children).children) == {child.id for child in children}
        assert again.create(children[0]).progress == 5_000
    assert len(log_of(database, new.id)) == 4


def test_eight_threads_reporting_on_the_children_of_one_parent(database: Database, clock: Clock) -> None:
    """Events are 1 to n without a gap, no report is lost, and the parent's progress and counts are right at the end. Half of the threads
    are in another process's place: with a cache of their own."""
    doors = [ReportedJobs(database, clock) for _ in range(2)]
    parent, children = batch(doors[0], 16, on_child_failure="continue")
    together = threading.Barrier(8)

    def work(number: int) -> None:
        door = doors[number % 2]
        together.wait(60)
        for child in (children[number], children[15 - number]):
            for percent in (10, 40, 80):
                door.report("w", child.id, moves.PROGRESS, {"progress": percent})
        door.report("w", children[number].id, moves.COMPLETED, {})
        if number % 2:
            door.report("w", children[15 - number].id, moves.FAILED, {"code": "X", "message": "y"})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    log = log_of(database, parent.id)
    assert len(log) == 17 + 48 + 8 + 4
    told, changes = fold_all(log)
    for door in doors:
        family = door.family(parent.id)
        assert family is not None
        assert family.to_json() == told.to_json()
        assert door.changes(parent.id, 0) == changes
    assert told.job.progress == (8 * WHOLE + 8 * 8_000) // 16
    assert told.job.counts is not None
    assert (told.job.counts.succeeded, told.job.counts.failed, told.job.counts.running) == (8, 4, 4)
    with database.reading() as connection:
        kept = dict(connection.execute(select(reported_jobs.c.id, reported_jobs.c.status)).all())
    assert kept == {each.id: each.status.value for each in (told.job, *told.children.values())}


def test_many_threads_creating_children_at_one_index_make_one(database: Database, clock: Clock) -> None:
    jobs = ReportedJobs(database, clock)
    parent = jobs.create(plain(child_count=4))
    news = [plain(parent_id=parent.id, index=number % 4) for number in range(12)]
    together = threading.Barrier(12)

    def make(new: NewJob) -> bool:
        together.wait(60)
        try:
            jobs.create(new)
        except ReportRefused:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        assert sum(pool.map(make, news)) == 4
    family = jobs.family(parent.id)
    assert family is not None
    assert sorted(child.index for child in family.children.values()) == [0, 1, 2, 3]


def test_cancelling_a_parent_cancels_its_children_and_their_programs_are_told(jobs: ReportedJobs, clock: Clock) -> None:
    parent, children = batch(jobs, 3)
    jobs.report("w", children[0].id, moves.PROGRESS, {"progress": 10})
    clock.now += 5
    cancelled = jobs.cancel(parent.id)
    assert (cancelled.status, cancelled.cancel_requested_ms) == (Status.CANCELLED, clock.now)
    with pytest.raises(ReportRefused, match="has ended: it is cancelled"):
        jobs.report("w", children[0].id, moves.PROGRESS, {"progress": 20})
    assert {job.status for job in jobs.newest(Query("w", parent=parent.id), 10)} == {Status.CANCELLED}


def test_a_failed_job_is_retried_under_the_same_id(jobs: ReportedJobs) -> None:
    job = jobs.create(plain())
    with pytest.raises(ReportRefused, match="once it has ended"):
        jobs.retry(job.id)
    jobs.report("w", job.id, moves.FAILED, {"code": "X", "message": "y", "retryable": True})
    again = jobs.retry(job.id)
    assert (again.status, again.attempt) == (Status.QUEUED, 2)
    jobs.report("w", job.id, moves.COMPLETED, {})
    with pytest.raises(ReportRefused, match="is done"):
        jobs.retry(job.id)
    assert jobs.retry(job.id, "all").attempt == 3


def test_an_ended_job_is_deleted_with_everything_of_it(jobs: ReportedJobs, database: Database) -> None:
    parent, children = batch(jobs, 2)
    with pytest.raises(ReportRefused, match="cancel it first"):
        jobs.delete(parent.id)
    jobs.cancel(parent.id)
    with pytest.raises(ReportRefused, match="is a part of"):
        jobs.delete(children[0].id)
    jobs.delete(parent.id)
    assert jobs.root_of(children[0].id) is None
    with database.reading() as connection:
        for table in (reported_jobs, reported_events):
            assert connection.execute(select(func.count()).select_from(table)).scalar_one() == 0


def test_a_job_made_after_another_of_its_id_was_deleted_is_not_taken_for_it(database: Database, clock: Clock) -> None:
    here, there = ReportedJobs(database, clock), ReportedJobs(database, clock)
    new = plain()
    for door in (here, there):
        door.create(new)
        door.family(new.id)
    here.cancel(new.id)
    here.delete(new.id)
    clock.now += 1
    here.create(replace(new, title="Second"))
    for message in ("a", "b", "c"):
        here.report("w", new.id, moves.PROGRESS, {"message": message})
    assert [(c.sequence, c.job.title) for c in there.changes(new.id, 0)] == [(n, "Second") for n in (1, 2, 3, 4)]


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_family_is_forgotten_when_its_time_is_over(jobs: ReportedJobs, database: Database, clock: Clock) -> None:
    parent, children = batch(jobs, 2, ttl_ms=60_000)
    other = jobs.create(plain())
    clock.now += 59_999
    assert jobs.root_of(children[1].id) == parent.id
    clock.now += 1
    for job_id in (parent.id, children[1].id):
        assert jobs.root_of(job_id) is None
        with pytest.raises(JobNotFound):
            jobs.report("w", job_id, moves.PROGRESS, {})
    assert [job.id for job in jobs.newest(Query("w"), 10)] == [other.id]
    assert reports.forget_expired(database, clock.now, dry_run=True) == 1
    assert reports.forget_expired(database, clock.now) == 1
    assert reports.forget_expired(database, clock.now) == 0
    with database.reading() as connection:
        assert connection.execute(select(reported_jobs.c.id)).scalars().all() == [other.id]
        assert connection.execute(select(reported_events.c.root_id)).scalars().all() == [other.id]


def test_a_hundred_and_twenty_expired_families_go_at_once(jobs: ReportedJobs, database: Database, clock: Clock) -> None:
    for _ in range(120):
        jobs.create(plain(ttl_ms=60_000))
    assert reports.forget_expired(database, clock.now + 60_000) == 120


def test_without_a_ttl_a_job_stays_thirty_days(jobs: ReportedJobs) -> None:
    assert jobs.create(plain()).expires_ms == T0 + 30 * DAY_MS


def test_a_gateway_whose_clock_is_behind_reports_no_earlier(database: Database) -> None:
    ahead, behind = ReportedJobs(database, Clock(T0 + 5_000)), ReportedJobs(database, Clock(T0))
    job = ahead.create(plain())
    ahead.report("w", job.id, moves.PROGRESS, {"progress": 1})
    done = behind.report("w", job.id, moves.COMPLETED, {})
    assert done.finished_ms == done.updated_ms == T0 + 5_000


# ---- lists -----------------------------------------------------------------------------------------------------------


def test_jobs_are_listed_newest_first_page_by_page(jobs: ReportedJobs, clock: Clock) -> None:
    made = []
    for number in range(23):
        clock.now += number % 3  # some of the same millisecond
        made.append(jobs.create(plain()))
    batch(jobs, 3)
    wanted = sorted(((job.created_ms, job.id) for job in jobs.newest(Query("w"), 100)), reverse=True)
    assert len(wanted) == 24
    seen: list[tuple[int, str]] = []
    while page := jobs.newest(Query("w", before=seen[-1] if seen else None), 5):
        seen += [(job.created_ms, job.id) for job in page]
    assert seen == wanted


def test_lists_are_filtered(jobs: ReportedJobs, clock: Clock) -> None:
    one = jobs.create(plain(type="image.upscale", project_id="p1"))
    clock.now += 10
    two = jobs.create(plain(type="image", channel="c"))
    clock.now += 10
    three = jobs.create(plain(type="imagery", project_id="p1"))
    jobs.report("w", three.id, moves.COMPLETED, {})
    four = jobs.create(plain(type="Image"))

    def listed(**wanted: Any) -> set[str]:
        return {job.id for job in jobs.newest(Query("w", **wanted), 10)}

    assert listed(types=frozenset({"image"})) == {one.id, two.id}
    assert listed(types=frozenset({"image.upscale", "imagery"})) == {one.id, three.id}
    assert listed(statuses=frozenset({"done"})) == {three.id}
    assert listed(statuses=frozenset({"queued"})) == {one.id, two.id, four.id}
    assert listed(project_id="p1") == {one.id, three.id}
    assert listed(channel="c") == {two.id}
    assert listed(from_ms=T0 + 10, to_ms=T0 + 20) == {two.id}


def test_the_board_lists_and_finds_them_like_any_others(jobs: ReportedJobs, clock: Clock) -> None:
    board = Board(NoRuns(), clock, reports=jobs)
    parent, children = batch(jobs, 3)
    clock.now += 1
    lone = jobs.create(plain())
    assert [job.id for job in board.newest(Query("w"))[0]] == [lone.id, parent.id]
    assert board.find(children[1].id) == children[1]
    assert board.root_of(children[1].id) == parent.id
    assert [job.id for job in board.children(parent.id)] == [child.id for child in children]
    jobs.report("w", children[0].id, moves.PROGRESS, {"progress": 50})
    assert [c.name for c in board.poll([parent.id], {parent.id: 4})[parent.id]] == ["child.progress", "job.started"]
    page, more = board.newest(Query("w", limit=1))
    assert more is not None
    assert [job.id for job in (*page, *board.newest(Query("w", limit=1, before=more))[0])] == [lone.id, parent.id]


def test_marks_change_with_every_report(jobs: ReportedJobs) -> None:
    parent, children = batch(jobs, 1)
    before = jobs.marks([parent.id, "job_ffffffffffff"])
    assert list(before) == [parent.id]
    jobs.report("w", children[0].id, moves.PROGRESS, {"progress": 5})
    assert jobs.marks([parent.id]) != before


class NoRuns:
    """An engine that has none."""

    def changed(self, since_ms: int | None) -> list[Any]:
        return []

    def count(self) -> int:
        return 0

    def events(self, run_id: str, cursor: str | None) -> Any:
        raise AssertionError(run_id)

    def marks(self, run_ids: Any) -> dict[str, object]:
        return {}


# ---- the cache -------------------------------------------------------------------------------------------------------

reported = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(["progress", "progress", "progress", "completed", "failed", "cancelled", "retried"]), st.integers(0, 100)),
    max_size=30,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(reported, st.sets(st.integers(0, 30)))
def test_dropping_the_cache_at_any_moment_changes_no_reply(database: Database, told: list[tuple[int, str, int]], drops: set[int]) -> None:
    """Three doors report in turn: one whose cache is dropped at random, one that can keep hardly anything, one with nothing of its own."""
    clock = Clock()
    doors = [ReportedJobs(database, clock), ReportedJobs(database, clock, ReportFolds(most_bytes=1)), ReportedJobs(database, clock)]
    parent, children = batch(doors[0], 4, on_child_failure="continue")
    told_of = [parent, *children]
    for turn, (whom, kind, percent) in enumerate(told):
        clock.now += 1
        if turn in drops:
            doors[0].folds.forget()
        doors[2].folds.forget()
        with contextlib.suppress(ReportRefused):
            doors[turn % 3].report("w", told_of[whom].id, f"report.{kind}", {"progress": percent})
        stands = [door.family(parent.id) for door in doors]
        assert stands[0] is not None
        assert all(family is not None and family.to_json() == stands[0].to_json() for family in stands)
        sequence = stands[0].sequence
        assert all(door.changes(parent.id, sequence - 2) == doors[2].changes(parent.id, sequence - 2) for door in doors)
    everything = [door.changes(parent.id, 0) for door in doors]
    assert everything[0] == everything[1] == everything[2] == fold_all(log_of(database, parent.id))[1]


def test_a_reader_that_lags_behind_what_is_kept_is_given_every_change(jobs: ReportedJobs) -> None:
    parent, _ = batch(jobs, 600)
    jobs.cancel(parent.id)
    assert [change.sequence for change in jobs.changes(parent.id, 0)] == list(range(1, 600 + 1 + 600 + 1 + 1))


def test_a_folded_family_that_is_shown_is_not_changed_by_later_reports(jobs: ReportedJobs) -> None:
    parent, children = batch(jobs, 2)
    seen = jobs.family(parent.id)
    assert seen is not None
    stood = json.dumps(seen.to_json())
    jobs.report("w", children[0].id, moves.COMPLETED, {})
    assert json.dumps(seen.to_json()) == stood


def test_a_report_that_cannot_be_kept_leaves_the_cache_as_it_was(jobs: ReportedJobs, monkeypatch: pytest.MonkeyPatch) -> None:
    """The transaction breaks off at its end: neither the tables nor any reader of this process has seen the report."""
    job = jobs.create(plain(callback_url="https://a.test/hook"))

    def broken(*_: Any, **__: Any) -> int:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr("viralsync_pipelines.board.reported.enqueue", broken)
        with pytest.raises(OSError, match="disk is gone"):
            jobs.report("w", job.id, moves.COMPLETED, {})
    family = jobs.family(job.id)
    assert family is not None
    assert family.job.status is Status.QUEUED
    assert jobs.report("w", job.id, moves.PROGRESS, {"progress": 1}).sequence == 2


# ---- callbacks -------------------------------------------------------------------------------------------------------


def test_callbacks_are_put_out_with_the_report_that_they_tell_of(jobs: ReportedJobs, database: Database, clock: Clock) -> None:
    """In order of sequence, each once, of the job that has an address and of no other."""
    parent, children = batch(jobs, 2, callback_url="https://a.test/hook")
    for percent in (10, 20, 30):
        clock.now += 3_000
        jobs.report("w", children[0].id, moves.PROGRESS, {"progress": percent})
    for child in children:
        clock.now += 1_000
        jobs.report("w", child.id, moves.COMPLETED, {})
    with database.reading() as connection:
        sent = messages_of(connection, "w", job_id=None, before=None, limit=50)
    sent = sorted(sent, key=lambda each: each.sequence)
    assert {each.job_id for each in sent} == {parent.id}
    assert [each.kind for each in sent] == ["progress", "progress", "done"]
    last = json.loads(sent[-1].body)
    assert (last["status"], last["progress"], last["children"]["succeeded"]) == ("done", 1.0, 2)
    assert last["sequence"] == jobs.changes(parent.id, 0)[-1].sequence


def test_a_childs_own_callback_address_hears_of_that_child(jobs: ReportedJobs, database: Database) -> None:
    parent = jobs.create(plain(child_count=2))
    child = jobs.create(plain(parent_id=parent.id, index=0, callback_url="https://a.test/child"))
    jobs.report("w", child.id, moves.COMPLETED, {"result": {"url": "https://cdn.test/x.png"}})
    with database.reading() as connection:
        sent = messages_of(connection, "w", job_id=child.id, before=None, limit=50)
    done = next(each for each in sent if each.kind == "done")
    assert json.loads(done.body)["outputUrl"] == "https://cdn.test/x.png"
