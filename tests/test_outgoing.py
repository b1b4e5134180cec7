"""From changes of jobs to messages and metered minutes: nothing lost and nothing twice, wherever it breaks off; the sensor over it."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from tests.servers.receiver import Receiver, receiver
from viralsync_pipelines.board.deliveries import Sender
from viralsync_pipelines.board.index import Entry
from viralsync_pipelines.board.outgoing import FIRST_LOOK_MS, LOOK_S, OVERLAP_MS, collect, collect_job, enqueue
from viralsync_pipelines.board.outgoing import Receiver as Told
from viralsync_pipelines.board.results import output_url_at
from viralsync_pipelines.board.sources import RunFacts
from viralsync_pipelines.defs import callbacks
from viralsync_pipelines.defs.callbacks import Post, callbacks_sensor, new_post
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.jobs.model import WHOLE, Attempt, Change, Job, Status
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.accounts import Accounts
from viralsync_pipelines.storage.database import Database, open_database
from viralsync_pipelines.storage.tables import outbox, usage

SECRET = "whsec_" + base64.b64encode(bytes(32)).decode()
URL = "https://hook.test/x"
NOW = 1_700_000_000_000
ENDS = {"SUCCESS": Status.DONE, "FAILURE": Status.FAILED, "CANCELED": Status.CANCELLED}


class Jobs:
    """A board whose jobs are written by hand."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.log: dict[str, list[Change]] = {}
        self.broken: set[str] = set()
        self.looked_at: list[str] = []

    def attempt(
        self, job_id: str, status: str, at_ms: int = NOW, url: str | None = URL, seconds: float | None = 6.0, **job: Any
    ) -> None:
        """One more run of a job, that began five seconds before `at_ms` and has come to `status` then."""
        entry = self.entries.setdefault(job_id, Entry(job_id))
        number = len(entry.runs) + 1
        run = f"{job_id}-{number}"
        entry.runs.append(RunFacts(run, number, job_id, "render.movie", status, at_ms - 9_000, at_ms, callback_url=url, workspace="film"))
        log = self.log.setdefault(job_id, [])
        old = log[-1].job.attempts if log else ()
        steps: list[tuple[int, Status]] = [(at_ms - 9_000, Status.QUEUED)]
        if status not in {"QUEUED", "NOT_STARTED"}:
            steps += [(at_ms - 6_000, Status.RUNNING), (at_ms - 1_000, Status.WAITING)]
        if status in ENDS:
            steps.append((at_ms, ENDS[status]))
        for when, now in steps:
            done = now is Status.DONE
            seen = Job(
                id=job_id, type="render.movie", workspace="film", status=now, attempt=number, sequence=len(log) + 1, updated_ms=when,
                progress=WHOLE if done else 0, media={"duration": seconds} if done and seconds is not None else None,
                output=f"outputs/{job_id}/output.mp4" if done else None, finished_ms=when if now.terminal else None,
                attempts=(*old, Attempt(number, now, run)), **job,
            )  # fmt: skip
            log.append(Change(len(log) + 1, "job.progress", seen))

    def _check(self, job_id: str) -> None:
        self.looked_at.append(job_id)
        if job_id in self.broken:
            raise RuntimeError(f"{job_id} cannot be folded")

    def changed_since(self, since_ms: int) -> list[Entry]:
        return [entry for entry in self.entries.values() if any(run.updated_ms >= since_ms for run in entry.runs)]

    def active(self) -> list[Entry]:
        return [entry for entry in self.entries.values() if not entry.last.ended]

    def entry(self, job_id: str) -> Entry | None:
        return self.entries.get(job_id)

    def find(self, job_id: str) -> Job | None:
        self._check(job_id)
        return self.log[job_id][-1].job if job_id in self.log else None

    def changes(self, job_id: str, after: int = 0) -> list[Change]:
        self._check(job_id)
        return [change for change in self.log.get(job_id, []) if change.sequence > after]


@pytest.fixture
def jobs() -> Jobs:
    return Jobs()


def look(jobs: Jobs, database: Database, cursor: str | None = None, now_ms: int = NOW, **more: Any) -> Any:
    return collect(jobs, database, cursor, output_url_at("https://api.test/"), lambda: now_ms, **more)


def told(database: Database) -> list[tuple[str, int, str]]:
    with database.reading() as connection:
        rows = connection.execute(select(outbox.c.job_id, outbox.c.sequence, outbox.c.kind).order_by(outbox.c.job_id, outbox.c.sequence))
        return [(row.job_id, row.sequence, row.kind) for row in rows]


def spent(database: Database) -> list[tuple[str, int, float, str]]:
    with database.reading() as connection:
        rows = connection.execute(select(usage).order_by(usage.c.job_id, usage.c.attempt))
        return [(row.job_id, row.attempt, row.seconds, row.workspace) for row in rows]


# ---- what is collected -----------------------------------------------------------------------------------------------


def test_jobs_with_an_address_are_told_of_and_every_film_is_metered(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_a", "SUCCESS")
    jobs.attempt("job_b", "FAILURE")
    jobs.attempt("job_c", "SUCCESS", url=None, seconds=2.5)
    jobs.attempt("job_d", "STARTED")
    jobs.attempt("job_e", "QUEUED")
    found = look(jobs, database)
    assert (found.queued, found.metered, found.failed) == (8, 2, [])
    assert told(database) == [
        ("job_a", 2, "progress"), ("job_a", 3, "progress"), ("job_a", 4, "done"), ("job_b", 2, "progress"), ("job_b", 3, "progress"),
        ("job_b", 4, "failed"), ("job_d", 2, "progress"), ("job_d", 3, "progress"),
    ]  # fmt: skip
    assert spent(database) == [("job_a", 1, 6.0, "film"), ("job_c", 1, 2.5, "film")]
    with database.reading() as connection:
        row = connection.execute(select(outbox).where(outbox.c.kind == "done")).one()
    assert json.loads(row.body)["outputUrl"] == "https://api.test/v1/jobs/job_a/files/output.mp4"
    assert (row.workspace, row.url, row.state, row.due_ms) == ("film", URL, "due", NOW)


def test_looking_again_changes_nothing(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_a", "SUCCESS")
    cursor = look(jobs, database).cursor
    before = told(database), spent(database)
    for again in (None, cursor, "nonsense", '{"since": "x"}', "[]"):
        found = look(jobs, database, again)
        assert (found.queued, found.metered) == (0, 0)
    assert (told(database), spent(database)) == before


def test_a_run_whose_record_appears_late_is_not_missed(jobs: Jobs, database: Database) -> None:
    cursor = look(jobs, database, now_ms=NOW).cursor
    jobs.attempt("job_late", "SUCCESS", at_ms=NOW - OVERLAP_MS + 1)
    assert look(jobs, database, cursor, now_ms=NOW + 5_000).metered == 1


def test_without_a_cursor_the_last_week_is_looked_at(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_new", "SUCCESS", at_ms=NOW - FIRST_LOOK_MS + 1)
    jobs.attempt("job_old", "SUCCESS", at_ms=NOW - FIRST_LOOK_MS - 1)
    look(jobs, database)
    assert {job for job, *_ in told(database)} == {"job_new"}


def test_a_long_job_is_told_of_although_its_record_does_not_change(jobs: Jobs, database: Database) -> None:
    """Dagster touches a run's record when its status changes, not at each step."""
    jobs.attempt("job_a", "STARTED", at_ms=NOW - 10 * 60_000)
    cursor = look(jobs, database, now_ms=NOW - 10 * 60_000).cursor
    cursor = look(jobs, database, cursor, now_ms=NOW - 5 * 60_000).cursor
    jobs.log["job_a"].append(Change(4, "job.progress", Job(id="job_a", type="render.movie", status=Status.RUNNING, sequence=4, updated_ms=NOW)))
    assert look(jobs, database, cursor, now_ms=NOW).queued == 1
    assert told(database)[-1] == ("job_a", 4, "progress")


def test_a_queue_is_not_read(jobs: Jobs, database: Database) -> None:
    for number in range(50):
        jobs.attempt(f"job_{number}", "QUEUED")
    look(jobs, database)
    assert jobs.looked_at == []


def test_each_attempt_that_ended_done_is_metered_once(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_a", "SUCCESS", seconds=4.0)
    jobs.attempt("job_a", "FAILURE", at_ms=NOW + 20_000)
    jobs.attempt("job_a", "SUCCESS", at_ms=NOW + 40_000, seconds=5.0)
    jobs.attempt("job_a", "STARTED", at_ms=NOW + 60_000)
    for _ in range(2):
        look(jobs, database, now_ms=NOW + 60_000)
    assert spent(database) == [("job_a", 1, 4.0, "film"), ("job_a", 3, 5.0, "film")]


def test_failures_cancelled_jobs_and_drafts_cost_nothing(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_a", "FAILURE")
    jobs.attempt("job_b", "CANCELED")
    jobs.attempt("job_c", "SUCCESS", payload={"draft": True})
    jobs.attempt("job_d", "SUCCESS", seconds=None)
    look(jobs, database)
    assert spent(database) == [("job_c", 1, 0.0, "film"), ("job_d", 1, 0.0, "film")]


# ---- when things break -----------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


class Mortal(Database):
    """A database during whose n-th transaction the process is killed: before it is kept, or just after."""

    def __init__(self, inner: Database, at: int, *, kept: bool) -> None:
        super().__init__(inner.engine)
        self.inner, self.left, self.kept = inner, at, kept

    @contextmanager
    def _dying(self, opened: Any) -> Iterator[Any]:
        self.left -= 1
        dies = self.left == 0
        with opened() as connection:
            yield connection
            if dies and not self.kept:
                raise Killed
        if dies:
            raise Killed

    def reading(self) -> Any:
        return self._dying(self.inner.reading)

    def writing(self) -> Any:
        return self._dying(self.inner.writing)


@pytest.mark.parametrize("kept", [False, True])
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(kept: bool, jobs: Jobs, database: Database) -> None:
    """The cursor is saved by Dagster after the look, so a look that was killed begins again from the old one."""
    jobs.attempt("job_a", "SUCCESS")
    jobs.attempt("job_b", "FAILURE")
    jobs.attempt("job_b", "SUCCESS", at_ms=NOW + 30_000)
    jobs.attempt("job_c", "SUCCESS", url=None)
    deaths = 0
    for step in range(1, 100):
        with database.writing() as connection:
            connection.execute(outbox.delete())
            connection.execute(usage.delete())
        try:
            look(jobs, Mortal(database, step, kept=kept))
        except Killed:
            deaths += 1
        else:
            break
        look(jobs, database)
        assert [(job, kind) for job, _, kind in told(database) if kind != "progress"] == [
            ("job_a", "done"), ("job_b", "failed"), ("job_b", "done"),
        ]  # fmt: skip
        assert [(job, attempt) for job, attempt, *_ in spent(database)] == [("job_a", 1), ("job_b", 2), ("job_c", 1)]
    assert deaths > 8


def test_a_job_that_cannot_be_read_does_not_hold_up_the_others_and_is_looked_at_again(
    jobs: Jobs, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    jobs.attempt("job_a", "SUCCESS")
    jobs.attempt("job_b", "SUCCESS")
    jobs.broken.add("job_a")
    found = look(jobs, database)
    assert found.failed == ["job_a"]
    assert {job for job, *_ in told(database)} == {"job_b"}
    assert "job_a" in caplog.text
    later = look(jobs, database, found.cursor, now_ms=NOW + 2 * OVERLAP_MS)
    assert later.failed == ["job_a"]
    jobs.broken.clear()
    last = look(jobs, database, later.cursor, now_ms=NOW + 4 * OVERLAP_MS)
    assert last.failed == []
    assert {job for job, *_ in told(database)} == {"job_a", "job_b"}
    assert json.loads(last.cursor)["again"] == []


def test_when_nearly_every_job_cannot_be_read_the_cursor_waits(jobs: Jobs, database: Database) -> None:
    cursor = look(jobs, database).cursor
    for number in range(250):
        jobs.attempt(f"job_{number}", "SUCCESS", at_ms=NOW + 1)
        jobs.broken.add(f"job_{number}")
    for minutes in range(3):
        cursor = look(jobs, database, cursor, now_ms=NOW + minutes * 60_000, clock=lambda: 0.0).cursor
    jobs.broken.clear()
    look(jobs, database, cursor, now_ms=NOW + 10 * 60_000, clock=lambda: 0.0)
    assert len({job for job, *_ in told(database)}) == 250


def test_a_look_that_takes_too_long_is_taken_up_where_it_stopped(jobs: Jobs, database: Database) -> None:
    """However slow each job is, every look gets further."""
    for number in range(9):
        jobs.attempt(f"job_{number}", "SUCCESS", at_ms=NOW + number * 3 * OVERLAP_MS)
    cursor, looks = None, 0
    while len({job for job, *_ in told(database)}) < 9:
        ticks = iter(range(0, 10_000, round(LOOK_S / 3)))
        cursor = look(jobs, database, cursor, now_ms=NOW + 100 * OVERLAP_MS, clock=lambda: float(next(ticks))).cursor  # noqa: B023
        looks += 1
        assert looks < 9
    assert looks > 2


def test_what_a_program_reports_is_told_in_the_same_transaction_or_not_at_all(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_a", "SUCCESS")
    to = Told("job_a", "film", URL)

    def report_and_fail() -> None:
        with database.writing() as connection:
            assert enqueue(connection, to, jobs.log["job_a"], output_url_at(""), NOW) > 0
            raise RuntimeError

    with pytest.raises(RuntimeError):
        report_and_fail()
    assert told(database) == []
    with database.writing() as connection:
        for change in jobs.log["job_a"]:
            enqueue(connection, to, [change], output_url_at(""), NOW)
    whole = told(database)
    assert whole[-1] == ("job_a", 4, "done")
    assert look(jobs, database).queued == 0
    assert told(database) == whole


# ---- the sensor ------------------------------------------------------------------------------------------------------


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


def tick(sensor: dg.SensorDefinition, instance: dg.DagsterInstance, cursor: str | None = None) -> Any:
    with dg.build_sensor_context(instance=instance, cursor=cursor) as context:
        return sensor(context)


def test_a_tick_takes_up_what_changed_and_sends_it(jobs: Jobs, database: Database, hook: Receiver) -> None:
    now = time.time_ns() // 1_000_000
    jobs.attempt("job_a", "SUCCESS", at_ms=now, url=hook.url())
    sender = Sender(database, lambda workspace: SECRET, lambda: now, allow=(hook.authority,))
    post = Post(jobs, database, sender, output_url_at("https://api.test"))
    sensor = callbacks_sensor(lambda instance: post)
    assert (sensor.minimum_interval_seconds, sensor.default_status) == (5, dg.DefaultSensorStatus.RUNNING)
    with dg.DagsterInstance.ephemeral() as instance:
        first = tick(sensor, instance)
        second = tick(sensor, instance, first.cursor)
    assert [json.loads(each.body)["status"] for each in hook.received] == ["running", "running", "done"]
    assert hook.ids()[-1] == "msg_job_a_4"
    assert "1 metered" in first.skip_reason.skip_message
    assert "0 new, 0 metered; sent: none" in second.skip_reason.skip_message


@dg.op(retry_policy=dg.RetryPolicy(max_retries=0))
def work() -> None:
    pass


@dg.job
def some_work() -> None:
    work()


def test_runs_of_a_real_instance_are_told_to_a_real_receiver(
    dagster_storage: Settings, database: Database, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From Dagster's own storage to the receiver, with the workspace's own secret; told once, however often the sensor ticks."""
    monkeypatch.setenv("VIRALSYNC_ALLOW_HOSTS", hook.authority)
    tags = {"viralsync/job_id": "job_aaaaaaaaaaaa", "viralsync/workspace": "film", "viralsync/callback_url": hook.url()}
    with open_instance(dagster_storage, os.environ) as instance:
        sensor = callbacks_sensor(new_post)
        some_work.execute_in_process(instance=instance, tags=tags)
        some_work.execute_in_process(instance=instance)
        cursor = tick(sensor, instance).cursor
        for _ in range(2):
            cursor = tick(sensor, instance, cursor).cursor
    bodies = [json.loads(each.body) for each in hook.received]
    assert [body["status"] for body in bodies] == ["running", "done"]
    assert {body["jobId"] for body in bodies} == {"job_aaaaaaaaaaaa"}
    assert [body["sequence"] for body in bodies] == sorted(body["sequence"] for body in bodies)
    secret = Accounts(database, lambda: 0).workspace("film")
    assert secret is not None
    for each in hook.received:
        Webhook(secret.webhook_secret).verify(each.body, each.headers)
    assert len(spent(database)) == 2


def test_a_code_server_keeps_its_board_from_tick_to_tick(
    dagster_storage: Settings, database: Database, hook: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There Dagster lends each tick an instance and closes it afterwards; reading every run anew each time would take seconds."""
    monkeypatch.setattr(callbacks, "_posts", {})
    monkeypatch.setenv("VIRALSYNC_ALLOW_HOSTS", hook.authority)
    cursor = None
    with open_instance(dagster_storage, os.environ) as instance:
        for number in (1, 2):
            tags = {"viralsync/job_id": f"job_00000000000{number}", "viralsync/callback_url": hook.url()}
            some_work.execute_in_process(instance=instance, tags=tags)
            lent = dg.SensorEvaluationContext(
                instance_ref=instance.get_ref(), last_tick_completion_time=None, last_run_key=None, cursor=cursor, repository_name=None
            )
            with lent as context:
                result: Any = callbacks_sensor()(context)
            cursor = result.cursor
    (post,) = callbacks._posts.values()
    assert [json.loads(each.body)["status"] for each in hook.received] == ["running", "done"] * 2
    post.database.close()


def test_a_job_is_told_of_and_metered_before_it_is_deleted(jobs: Jobs, database: Database) -> None:
    jobs.attempt("job_a", "SUCCESS")
    assert collect_job(jobs, database, jobs.entries["job_a"], output_url_at(""), NOW) == (3, 1)
    assert told(database)[-1] == ("job_a", 4, "done")


def test_without_tables_a_tick_says_what_to_do_and_keeps_its_place(dagster_storage: Settings, tmp_path: Any) -> None:
    bare = open_database(None, tmp_path / "bare")
    sender = Sender(bare, lambda workspace: SECRET, lambda: NOW)
    sensor = callbacks_sensor(lambda instance: Post(Jobs(), bare, sender, output_url_at("")))
    with dg.DagsterInstance.ephemeral() as instance:
        result = tick(sensor, instance, '{"since": 5, "again": []}')
    assert result.cursor is None
    assert "viralsync up" in result.skip_reason.skip_message
    bare.close()
