"""Callbacks: what is told and when, in order, signed, until it is received; nothing lost by a crash, nothing sent to a private network."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import count, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from standardwebhooks import Webhook

from tests.servers.receiver import (
    Behaviour,
    Receiver,
    after,
    answer,
    dripping_head,
    hang_up,
    huge_body,
    receiver,
    silent,
    slow_body,
    unused_port,
)
from viralsync_pipelines.board import deliveries as sending
from viralsync_pipelines.board.deliveries import LEASE_MS, Sender, callback_fault, deliver_due
from viralsync_pipelines.jobs.callbacks import (
    PAUSES_S,
    PROGRESS_EVERY_MS,
    TRIES,
    Message,
    Told,
    Verdict,
    messages_for,
    pause_ms,
    told_by,
    verdict_on,
)
from viralsync_pipelines.jobs.model import WHOLE, Change, Counts, Job, Status
from viralsync_pipelines.storage import outbox
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.outbox_log import forget_job, messages_of, replay, sweep
from viralsync_pipelines.storage.tables import deliveries as deliveries_table
from viralsync_pipelines.storage.tables import outbox as outbox_table

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
JOB = "job_a1b2c3d4e5f6"
MINUTE = 60_000


class Clock:
    """A clock that is set by hand. Begins now, since receivers refuse old signatures."""

    def __init__(self) -> None:
        self.ms = time.time_ns() // 1_000_000

    def __call__(self) -> int:
        return self.ms

    def forward(self, ms: int) -> None:
        self.ms += ms


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as running:
        yield running


@pytest.fixture
def sender(database: Database, clock: Clock, hook: Receiver) -> Sender:
    """May reach this one receiver on loopback, and nothing else that is not public. Without jitter."""
    return Sender(database, lambda workspace: SECRET, clock, allow=(hook.authority,), jitter=lambda: 0.0)


def a_job(**values: Any) -> Job:
    return Job(**{"id": JOB, "type": "render.movie", "created_ms": 1_000, **values})


def a_change(sequence: int, at_ms: int, status: Status = Status.RUNNING, **values: Any) -> Change:
    return Change(sequence, "job.progress", a_job(status=status, updated_ms=at_ms, sequence=sequence, **values))


def no_output(job: Job) -> str | None:
    return None


def told_to(database: Database, url: str, sequences: range | list[int], job_id: str = JOB, workspace: str = "default", due_ms: int = 0) -> None:
    """Messages with these numbers, due."""
    with database.writing() as connection:
        for sequence in sequences:
            body = json.dumps({"jobId": job_id, "sequence": sequence})
            message = Message(f"msg_{job_id}_{sequence}", job_id, sequence, "progress", 1_000 + sequence, body)
            assert outbox.put(connection, asdict(message), workspace=workspace, url=url, now_ms=due_ms)


def states(database: Database) -> dict[str, str]:
    with database.reading() as connection:
        return {row.id: row.state for row in connection.execute(select(outbox_table).order_by(outbox_table.c.job_id, outbox_table.c.sequence))}


def log_of(database: Database, message_id: str) -> list[tuple[int | None, str | None]]:
    with database.reading() as connection:
        rows = connection.execute(
            select(deliveries_table).where(deliveries_table.c.message_id == message_id).order_by(deliveries_table.c.id)
        )
        return [(row.status, row.error) for row in rows]


def send(sender: Sender, budget_s: float = 30.0) -> dict[Verdict, int]:
    return dict(deliver_due(sender, budget_s=budget_s).verdicts)


def send_for(sender: Sender, clock: Clock, ms: int, step_ms: int = 5_000) -> None:
    """Rounds as the daemon would have them, over a stretch of time."""
    until = clock() + ms
    while clock() < until:
        send(sender)
        clock.forward(step_ms)


# ---- what is told ----------------------------------------------------------------------------------------------------


@st.composite
def histories(draw: st.DrawFn) -> list[Change]:
    """Changes of a family, its children's among them, at times that never fall."""
    at_ms = 1_000
    made: list[Change] = []
    for sequence in range(1, draw(st.integers(1, 41))):
        at_ms += draw(st.sampled_from([0, 1, 400, 2_500, 4_999, 5_000, 5_001, 60_000]))
        own = draw(st.booleans())
        job = a_job(
            id=JOB if own else f"scene_{JOB}_001", status=draw(st.sampled_from(Status)), updated_ms=at_ms, sequence=sequence,
            progress=draw(st.integers(0, WHOLE)), attempt=draw(st.integers(1, 3)), phase=draw(st.sampled_from([None, "rendering"])),
            error=draw(st.none() | st.text(max_size=20)), counts=draw(st.none() | st.just(Counts(2, 1, 1))),
        )  # fmt: skip
        made.append(Change(sequence, "job.progress", job))
    return made


@settings(deadline=None)
@given(histories(), st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=8))
def test_messages_are_the_same_in_whatever_pieces_changes_are_read(changes: list[Change], reads: list[tuple[int, int]]) -> None:
    """Pieces may begin anywhere up to where the last one ended, and be read again: a crash makes the sensor do that."""
    whole = messages_for(JOB, changes, Told(), no_output)
    told, read = Told(), 0
    made: list[Message] = []
    for back, length in [*reads, (0, len(changes))]:
        start = max(0, read - back)
        piece = changes[start : start + length]
        new = messages_for(JOB, piece, told, no_output)
        assert messages_for(JOB, piece, told_by(told, new), no_output) == []
        told, made, read = told_by(told, new), made + new, max(read, start + len(piece))
    made += messages_for(JOB, changes[read:], told, no_output)
    assert made == whole


@settings(deadline=None)
@given(histories())
def test_every_end_is_told_and_progress_at_most_every_five_seconds(changes: list[Change]) -> None:
    made = messages_for(JOB, changes, Told(), no_output)
    ends = [change.sequence for change in changes if change.job.id == JOB and change.job.status.terminal]
    assert [each.sequence for each in made if each.kind != "progress"] == ends
    times = [each.at_ms for each in made if each.kind == "progress"]
    assert all(later - sooner >= PROGRESS_EVERY_MS for sooner, later in pairwise(times))
    assert [each.sequence for each in made] == sorted({each.sequence for each in made})
    assert {each.id for each in made} == {f"msg_{JOB}_{each.sequence}" for each in made}
    # Nothing is held back that could have been told.
    told: int | None = None
    sent = {each.sequence for each in made}
    for change in (each for each in changes if each.job.id == JOB and each.job.status in {Status.RUNNING, Status.WAITING}):
        if change.sequence in sent:
            told = change.job.updated_ms
        else:
            assert told is not None
            assert change.job.updated_ms - told < PROGRESS_EVERY_MS


def test_the_beginning_and_what_happens_five_seconds_later_are_progress() -> None:
    changes = [
        a_change(1, 1_000, Status.QUEUED), a_change(2, 2_000), a_change(3, 6_999, progress=100), a_change(4, 7_000, progress=200),
        a_change(5, 8_000, Status.WAITING), a_change(6, 8_001, Status.DONE),
    ]  # fmt: skip
    assert [(each.sequence, each.kind) for each in messages_for(JOB, changes, Told(), no_output)] == [
        (2, "progress"), (4, "progress"), (6, "done"),
    ]  # fmt: skip


def test_a_job_tried_again_after_its_end_tells_of_the_new_attempt() -> None:
    first = [a_change(1, 1_000), a_change(2, 9_000, Status.FAILED, error="SCENE_RENDER_FAILED: intro")]
    again = [
        a_change(3, 20_000, Status.QUEUED, attempt=2), a_change(4, 21_000, attempt=2), a_change(5, 22_000, Status.DONE, attempt=2),
    ]  # fmt: skip
    bodies = [json.loads(each.body) for each in messages_for(JOB, first + again, Told(), no_output)]
    assert [(body["status"], body["attempt"]) for body in bodies] == [("running", 1), ("failed", 1), ("running", 2), ("done", 2)]


COUNTS = Counts(3, 1, 1, 1)
CHILDREN = {"total": 3, "succeeded": 1, "running": 1, "queued": 1, "failed": 0, "cancelled": 0}
OURS = {"jobId": JOB, "type": "render.movie", "sequence": 9, "attempt": 1, "timestamp": "2026-04-02T10:00:08.432Z"}
MEDIA = {"duration": 5.0, "width": 1920, "height": 1080, "fileSize": 1234}


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            {"status": Status.WAITING, "phase": "rendering", "progress": 6_200, "counts": COUNTS},
            {"status": "running", "phase": "rendering", "progress": 0.62, "children": CHILDREN, "outputUrl": None},
        ),
        ({"status": Status.RUNNING, "progress": 1}, {"status": "running", "phase": None, "progress": 0.0001, "outputUrl": None}),
        (
            {"status": Status.DONE, "progress": WHOLE, "output": "outputs/x/output.mp4", "media": {**MEDIA, "codec": "h264"}},
            {"status": "done", "progress": 1.0, "outputUrl": "https://api.test/outputs/x/output.mp4", "mediaData": MEDIA},
        ),
        ({"status": Status.DONE, "progress": WHOLE}, {"status": "done", "progress": 1.0, "outputUrl": None, "mediaData": None}),
        (
            {"status": Status.FAILED, "progress": 4_500, "error": "SCENE_RENDER_FAILED: intro: no such file", "output": "outputs/old"},
            {"status": "failed", "progress": 0.45, "error": "SCENE_RENDER_FAILED: intro: no such file", "outputUrl": None},
        ),
        ({"status": Status.CANCELLED, "progress": 300}, {"status": "cancelled", "progress": 0.03, "outputUrl": None}),
    ],
)
def test_the_body_is_the_documented_one(values: dict[str, Any], told: dict[str, Any]) -> None:
    change = a_change(9, 1_775_124_008_432, **values)
    made = messages_for(JOB, [change], Told(), lambda job: job.output and f"https://api.test/{job.output}")
    assert json.loads(made[0].body) == {**OURS, **told}


@given(st.text(st.characters(), min_size=0, max_size=5_000) | st.text("\U0001f600\0\ud800", min_size=3_000, max_size=3_000))
def test_a_body_is_ascii_and_smaller_than_20_kb_whatever_the_error(error: str) -> None:
    media = {"duration": float("nan"), "width": 10**12, "height": "no", "fileSize": 5}
    for change in (a_change(1, 5, Status.FAILED, error=error), a_change(2, 6, Status.DONE, media=media)):
        body = messages_for(JOB, [change], Told(), lambda job: "https://api.test/" + "x" * 30_000)[0].body
        assert body.isascii()
        assert len(body) < 20_000
        json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


def test_pauses_grow_as_standard_webhooks_has_them_with_up_to_a_tenth_more() -> None:
    assert PAUSES_S == (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
    for tries in range(1, TRIES):
        assert pause_ms(tries, Verdict.FAILED, None, 0.0) == PAUSES_S[tries - 1] * 1000
        assert pause_ms(tries, Verdict.FAILED, None, 1.0) == PAUSES_S[tries - 1] * 1100
    assert pause_ms(TRIES, Verdict.FAILED, None, 0.0) is None


@pytest.mark.parametrize(
    ("verdict", "wanted_s", "pause"),
    [
        (Verdict.SLOW, 60.0, 60_000),
        (Verdict.SLOW, 1.0, 5_000),  # ten tries a second apart would be over at once
        (Verdict.SLOW, 10.0**9, 86_400_000),
        (Verdict.FAILED, 60.0, 5_000),
    ],
)
def test_retry_after_makes_a_pause_longer_but_never_shorter(verdict: Verdict, wanted_s: float, pause: int) -> None:
    assert pause_ms(1, verdict, wanted_s, 0.0) == pause


def test_what_an_answer_means() -> None:
    expected: dict[Verdict, list[int | None]] = {Verdict.DELIVERED: [200, 201, 202, 204, 299], Verdict.GONE: [410], Verdict.SLOW: [None, 429, 502, 503, 504]}
    expected[Verdict.FAILED] = [100, 300, 301, 302, 304, 307, 308, 400, 401, 403, 404, 405, 409, 413, 422, 500, 501, 505]
    for verdict, statuses in expected.items():
        assert {verdict_on(status) for status in statuses} == {verdict}


# ---- the outbox ------------------------------------------------------------------------------------------------------


def test_a_message_is_put_in_once(database: Database) -> None:
    told_to(database, "https://hook.test/", [3])
    with database.writing() as connection:
        again = Message(f"msg_{JOB}_3", JOB, 3, "done", 9, "{}")
        assert not outbox.put(connection, asdict(again), workspace="default", url="https://other.test/", now_ms=5)
        assert outbox.told_of(connection, JOB) == (3, 1_003)
        assert outbox.told_of(connection, "job_other") == (0, None)


def test_of_a_job_only_the_first_message_that_is_not_settled_can_be_sent(database: Database) -> None:
    told_to(database, "https://a.test/", [2, 5, 7])
    told_to(database, "https://b.test/", [1], job_id="job_b", due_ms=50)
    with database.reading() as connection:
        found = list(outbox.waiting(connection, 100, limit=1))
    assert [each.id for each in found] == [f"msg_{JOB}_2", "msg_job_b_1"]
    later = replace(found[0], id=f"msg_{JOB}_5")
    with database.writing() as connection:
        assert outbox.claim(connection, later, 100, LEASE_MS) is None
        claimed = outbox.claim(connection, found[0], 100, LEASE_MS)
        assert claimed is not None
        assert [each.id for each in outbox.waiting(connection, 100)] == ["msg_job_b_1"]
        outbox.settle_failed(connection, claimed, outbox.Answer(100, 1, 500, "no"), None)
        assert [each.id for each in outbox.waiting(connection, 100)] == [f"msg_{JOB}_5", "msg_job_b_1"]


def test_a_claim_that_ran_out_does_not_disturb_who_holds_the_message_now(database: Database) -> None:
    told_to(database, "https://a.test/", [1])
    with database.writing() as connection:
        first = outbox.claim(connection, next(outbox.waiting(connection, 0)), 0, 1_000)
        second = outbox.claim(connection, next(outbox.waiting(connection, 1_000)), 1_000, 1_000)
        assert first is not None
        assert second is not None
        assert (first.tries, second.tries) == (1, 2)
        outbox.settle_failed(connection, first, outbox.Answer(0, 1, 500, "late"), None)
        assert next(outbox.waiting(connection, 1_999), None) is None
        # What was received was received, whoever sent it.
        outbox.settle_delivered(connection, first, outbox.Answer(0, 1, 200))
        outbox.settle_failed(connection, second, outbox.Answer(0, 1, 500, "no"), 5_000)
    assert states(database) == {f"msg_{JOB}_1": "delivered"}


def test_old_messages_are_forgotten_but_for_what_must_be_known(database: Database) -> None:
    """The last message of each job says what its receiver knows: without it, a retry years later would tell everything again."""
    told_to(database, "https://a.test/", [1, 2, 3])
    told_to(database, "https://b.test/", [1, 2], job_id="job_b")
    with database.writing() as connection:
        for _ in range(3):
            claimed = outbox.claim(connection, next(outbox.waiting(connection, 0)), 0, LEASE_MS)
            assert claimed is not None
            outbox.settle_delivered(connection, claimed, outbox.Answer(0, 1, 200))
    before = states(database)
    with database.writing() as connection:
        assert sweep(connection, 1_000) == 0
        gone = sweep(connection, 10_000)
    left = states(database)
    assert gone == len(before) - len(left)
    assert left == {each: state for each, state in before.items() if state == "due" or each in {f"msg_{JOB}_3", "msg_job_b_2"}}
    with database.writing() as connection:
        assert outbox.told_of(connection, JOB)[0] == 3
        forget_job(connection, JOB)
        forget_job(connection, "job_b")
    assert set(states(database).values()) <= {"due"}


# ---- sending ---------------------------------------------------------------------------------------------------------


def test_a_message_is_signed_in_both_ways(database: Database, sender: Sender, hook: Receiver) -> None:
    told_to(database, hook.url("/hook?project=7"), [1])
    assert send(sender) == {Verdict.DELIVERED: 1}
    (got,) = hook.received
    assert got.path == "/hook?project=7"
    assert Webhook(SECRET).verify(got.body, got.headers) == {"jobId": JOB, "sequence": 1}
    assert got.headers["x-render-signature"] == hmac.new(SECRET.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["x-render-delivery"] == got.headers["webhook-id"] == f"msg_{JOB}_1"
    assert got.headers["content-type"] == "application/json"
    assert states(database) == {f"msg_{JOB}_1": "delivered"}
    assert log_of(database, f"msg_{JOB}_1") == [(200, None)]
    assert send(sender) == {}


def test_a_failing_receiver_is_tried_again_by_the_schedule_with_the_same_id_and_body(
    database: Database, sender: Sender, hook: Receiver, clock: Clock
) -> None:
    hook.scripts["/hook"] = [answer(500), answer(500), answer(404), answer(200)]
    told_to(database, hook.url(), [1])
    for pause_s in PAUSES_S[:3]:
        assert send(sender) == {Verdict.FAILED: 1}
        clock.forward(pause_s * 1000 - 1)
        assert send(sender) == {}
        clock.forward(1)
    assert send(sender) == {Verdict.DELIVERED: 1}
    assert len({(each.id, each.body) for each in hook.received}) == 1
    assert len({each.headers["webhook-timestamp"] for each in hook.received}) == 4
    assert [status for status, _ in log_of(database, f"msg_{JOB}_1")] == [500, 500, 404, 200]


def test_after_ten_tries_a_message_is_given_up_and_the_next_has_its_turn(
    database: Database, sender: Sender, hook: Receiver, clock: Clock
) -> None:
    hook.scripts["/hook"] = [*[answer(500)] * TRIES, answer(200)]
    told_to(database, hook.url(), [1, 2])
    for pause_s in PAUSES_S:
        send(sender)
        clock.forward(pause_s * 1000)
    send(sender)
    assert states(database) == {f"msg_{JOB}_1": "given_up", f"msg_{JOB}_2": "delivered"}
    assert hook.ids() == [f"msg_{JOB}_1"] * TRIES + [f"msg_{JOB}_2"]


@pytest.mark.parametrize("bad", [silent, dripping_head, hang_up])
def test_a_receiver_that_does_not_answer_in_time_is_tried_again(
    bad: Behaviour, database: Database, sender: Sender, hook: Receiver, clock: Clock
) -> None:
    hook.scripts["/hook"] = [bad, answer(204)]
    told_to(database, hook.url(), [1])
    assert send(replace(sender, timeout_s=0.3)) == {Verdict.SLOW: 1}
    ((status, error),) = log_of(database, f"msg_{JOB}_1")
    assert status is None
    assert error is not None
    clock.forward(5_000)
    assert send(sender) == {Verdict.DELIVERED: 1}


def test_a_port_where_nobody_listens_is_tried_again(database: Database, sender: Sender) -> None:
    port = unused_port()
    told_to(database, f"http://127.0.0.1:{port}/", [1])
    assert send(replace(sender, allow=(f"127.0.0.1:{port}",))) == {Verdict.SLOW: 1}
    assert states(database) == {f"msg_{JOB}_1": "due"}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(status: int, database: Database, sender: Sender, hook: Receiver) -> None:
    hook.scripts["/hook"] = [answer(status, Location=hook.url("/elsewhere"))]
    told_to(database, hook.url(), [1])
    assert send(sender) == {Verdict.FAILED: 1}
    assert hook.followed == []
    assert [each.path for each in hook.received] == ["/hook"]
    assert states(database) == {f"msg_{JOB}_1": "due"}


def test_retry_after_is_obeyed(database: Database, sender: Sender, hook: Receiver, clock: Clock) -> None:
    hook.scripts["/hook"] = [answer(429, Retry_After="60"), answer(200)]
    told_to(database, hook.url(), [1])
    assert send(sender) == {Verdict.SLOW: 1}
    clock.forward(59_999)
    assert send(sender) == {}
    clock.forward(1)
    assert send(sender) == {Verdict.DELIVERED: 1}


def test_410_ends_messages_to_that_address_until_one_is_replayed(
    database: Database, sender: Sender, hook: Receiver, clock: Clock
) -> None:
    hook.scripts["/hook"] = [answer(410), answer(200)]
    told_to(database, hook.url(), [1, 2])
    told_to(database, hook.url(), [1], job_id="job_b", due_ms=1)
    told_to(database, hook.url("/other"), [1], job_id="job_c")
    told_to(database, hook.url(), [1], job_id="job_d", workspace="another", due_ms=2)
    with ThreadPoolExecutor(1) as one_at_a_time:
        one_at_a_time.submit(deliver_due, sender, budget_s=30, at_once=1).result()
    assert states(database) == {
        f"msg_{JOB}_1": "disabled", f"msg_{JOB}_2": "disabled", "msg_job_b_1": "disabled", "msg_job_c_1": "delivered",
        "msg_job_d_1": "delivered",
    }  # fmt: skip
    assert len(hook.ids("/hook")) == 2, "one that was answered with 410, and the other workspace's"
    with database.reading() as connection:
        tries = {each.id: each.tries for each in messages_of(connection, "default")}
    assert tries[f"msg_{JOB}_1"] == 1
    assert tries[f"msg_{JOB}_2"] == tries["msg_job_b_1"] == 0
    with database.writing() as connection:
        assert replay(connection, "default", f"msg_{JOB}_2", clock())
    told_to(database, hook.url(), [3], job_id="job_b")
    send(sender)
    assert states(database) == {
        f"msg_{JOB}_1": "disabled", f"msg_{JOB}_2": "delivered", "msg_job_b_1": "disabled", "msg_job_b_3": "delivered",
        "msg_job_c_1": "delivered", "msg_job_d_1": "delivered",
    }  # fmt: skip


def test_a_body_that_is_slow_or_huge_is_not_waited_for(database: Database, sender: Sender, hook: Receiver) -> None:
    taken: list[int] = []
    hook.scripts = {"/slow": [slow_body], "/huge": [huge_body(taken)]}
    told_to(database, hook.url("/slow"), [1])
    told_to(database, hook.url("/huge"), [1], job_id="job_b")
    assert send(sender) == {Verdict.DELIVERED: 2}
    assert taken[0] < 20_000_000, "what the kernel holds for both sides, and no more"


def test_connections_are_used_again(database: Database, sender: Sender, hook: Receiver) -> None:
    ports: set[int] = set()

    def remember(x: Any) -> None:
        ports.add(x.client_address[1])
        answer(200, b"thank you")(x)

    hook.scripts["/hook"] = [remember]
    told_to(database, hook.url(), range(1, 6))
    assert send(sender) == {Verdict.DELIVERED: 5}
    assert len(ports) == 1


def test_messages_of_a_job_arrive_in_order_whatever_fails(database: Database, sender: Sender, hook: Receiver, clock: Clock) -> None:
    """Failures hold up their own job; the others go on."""
    script = [answer(500), answer(200), hang_up, answer(503), answer(200), answer(302), answer(200)]
    hook.scripts = {"/a": list(script), "/b": [answer(200)]}
    told_to(database, hook.url("/a"), range(1, 7), job_id="job_a")
    told_to(database, hook.url("/b"), range(1, 7), job_id="job_b")
    send(sender)
    assert hook.ids("/b") == [f"msg_job_b_{n}" for n in range(1, 7)]
    send_for(sender, clock, 40 * MINUTE)
    arrived = [each.id for each in hook.received if each.path == "/a"]
    assert list(dict.fromkeys(arrived)) == [f"msg_job_a_{n}" for n in range(1, 7)]
    assert arrived == sorted(arrived, key=lambda each: int(each.rpartition("_")[2]))
    assert set(states(database).values()) == {"delivered"}


def test_two_senders_never_send_a_message_at_the_same_time(database: Database, sender: Sender, hook: Receiver) -> None:
    """Nor twice: each message arrives once, and each job's in order."""
    hook.scripts["/hook"] = [after(0.005, answer(200))]
    for number in range(8):
        told_to(database, hook.url(), range(1, 9), job_id=f"job_{number}")
    start = threading.Barrier(3)

    def rounds() -> int:
        start.wait()
        return sum(sum(send(sender).values()) for _ in range(3))

    with ThreadPoolExecutor(3) as pool:
        sent = [each.result() for each in [pool.submit(rounds) for _ in range(3)]]
    assert sum(sent) == 64
    assert Counter(Counter(hook.ids()).values()) == {1: 64}
    for number in range(8):
        assert [each for each in hook.ids() if each.startswith(f"msg_job_{number}_")] == [f"msg_job_{number}_{n}" for n in range(1, 9)]
    assert set(states(database).values()) == {"delivered"}


def test_a_host_gets_no_more_than_its_share_at_once(database: Database, sender: Sender, hook: Receiver) -> None:
    hook.scripts["/hook"] = [after(0.02, answer(200))]
    for number in range(12):
        told_to(database, hook.url(), [1], job_id=f"job_{number}")
    deliver_due(sender, budget_s=30, per_host=3)
    assert len(hook.received) == 12
    assert hook.most_at_once() <= 3


def test_a_host_that_is_down_does_not_hold_up_the_others(database: Database, sender: Sender, hook: Receiver) -> None:
    """It is given up for the round after its first failures, however many messages wait for it."""
    with receiver() as down:
        down.scripts["/hook"] = [silent]
        for number in range(300):
            told_to(database, down.url(), [1], job_id=f"job_down_{number:03d}")
        told_to(database, hook.url(), range(1, 4), due_ms=1)
        both = replace(sender, allow=(hook.authority, down.authority), timeout_s=2.0)
        found = deliver_due(both, budget_s=30, per_host=2).verdicts
        assert len(down.received) == 2
    assert found == {Verdict.DELIVERED: 3, Verdict.SLOW: 2}
    assert len(hook.received) == 3


def test_no_request_is_begun_after_the_time_of_a_round_is_over(database: Database, sender: Sender, hook: Receiver) -> None:
    ticks = count()
    told_to(database, hook.url(), range(1, 6))
    found = deliver_due(sender, budget_s=2.5, clock=lambda: float(next(ticks))).verdicts
    assert found == {Verdict.DELIVERED: 2}
    assert len(hook.received) == 2


# ---- crashes ---------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("step", ["_post", "settle_delivered", "after"])
def test_a_sender_that_is_killed_loses_nothing(
    step: str, database: Database, sender: Sender, hook: Receiver, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the request, after it, or after all was noted: the message is sent again under its id when the claim runs out, if at all."""
    told_to(database, hook.url(), [1, 2])

    def die(*_: Any) -> Any:
        raise Killed

    with monkeypatch.context() as patch:
        if step == "after":
            real = sending._deliver

            def deliver_and_die(*given: Any) -> Any:
                real(*given)
                die()

            patch.setattr(sending, "_deliver", deliver_and_die)
        else:
            patch.setattr(sending if step == "_post" else outbox, step, die)
        with pytest.raises(Killed):
            send(sender)
    assert len(hook.received) == (0 if step == "_post" else 1)
    if step != "after":
        assert send(sender) == {}, "as far as anybody knows the first sender is at it"
        clock.forward(LEASE_MS)
    send(sender)
    times = 2 if step == "settle_delivered" else 1
    assert hook.ids() == [f"msg_{JOB}_1"] * times + [f"msg_{JOB}_2"]
    assert set(states(database).values()) == {"delivered"}


def test_a_workspace_whose_secret_is_broken_does_not_hold_up_the_others(database: Database, sender: Sender, hook: Receiver) -> None:
    told_to(database, hook.url(), [1], job_id="job_broken", workspace="broken")
    told_to(database, hook.url(), [1])
    assert send(replace(sender, secret_of=lambda workspace: "" if workspace == "broken" else SECRET)) == {
        Verdict.DELIVERED: 1, Verdict.SLOW: 1,
    }  # fmt: skip
    assert hook.ids() == [f"msg_{JOB}_1"]


# ---- where callbacks may go ------------------------------------------------------------------------------------------


def resolved(*addresses: str) -> Callable[[str, int], list[str]]:
    return lambda host, port: list(addresses)


def unknown(errno: int) -> Callable[[str, int], list[str]]:
    def resolve(host: str, port: int) -> list[str]:
        raise socket.gaierror(errno, "not known")

    return resolve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0x7f.1", "2130706433", "[::1]"])
def test_a_private_address_is_refused_at_delivery(host: str, database: Database, sender: Sender, hook: Receiver) -> None:
    told_to(database, hook.url(host=host), [1])
    send(replace(sender, allow=()))
    assert hook.received == []
    ((status, error),) = log_of(database, f"msg_{JOB}_1")
    assert status is None
    assert error is not None
    assert error.startswith(("ADDRESS_REFUSED: ", "HOST_UNKNOWN: "))


def test_a_name_that_was_public_when_submitted_and_is_private_at_delivery_is_refused(
    database: Database, sender: Sender, hook: Receiver
) -> None:
    url = hook.url(host="rebound.test")
    assert callback_fault(url, (), resolved("93.184.216.34")) is None
    told_to(database, url, [1])
    send(replace(sender, allow=(), resolve=resolved("127.0.0.1")))
    assert hook.received == []
    assert str(log_of(database, f"msg_{JOB}_1")[0][1]).startswith("ADDRESS_REFUSED: rebound.test")


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("ftp://hook.test/", "https://"),
        ("hook.test/x", "https://"),
        ("https:///x", "names a host"),
        ("https://user:pass@hook.test/", "user or password"),
        ("https://user@hook.test/", "user or password"),
        ("https://hook.test:99999/", "no web address"),
        ("https://[::1/", "no web address"),
        ("https://hook.test/a b", "without blanks"),
        ("https://hook.test/\r\nX: y", "without blanks"),
        ("https://hoök.test/", "ASCII"),
        ("https://hook.test/" + "x" * 2_048, "at most"),
        ("http://127.0.0.1:8000/", "private or reserved"),
        ("http://169.254.169.254/latest/", "private or reserved"),
        ("https://[::ffff:127.0.0.1]/", "private or reserved"),
    ],
)
def test_an_address_that_cannot_be_called_is_told_at_once(url: str, told: str) -> None:
    def resolve(host: str, port: int) -> list[str]:
        return [host] if host[0].isdigit() or ":" in host else ["93.184.216.34"]

    found = callback_fault(url, (), resolve)
    assert found is not None
    assert told in found


def test_good_addresses_and_allowed_ones_have_no_fault() -> None:
    assert callback_fault("https://hook.test/x?y=z#w", (), resolved("93.184.216.34")) is None
    assert callback_fault("http://hook.test:8080", (), resolved("93.184.216.34")) is None
    assert callback_fault("http://hooks.internal:9000/x", ("hooks.internal:9000",), resolved("10.0.0.7")) is None
    assert callback_fault("http://hooks.internal:9001/x", ("hooks.internal:9000",), resolved("10.0.0.7")) is not None


def test_a_misspelt_host_is_told_but_not_when_the_name_server_is_away() -> None:
    assert "not known" in str(callback_fault("https://hok.test/", (), unknown(socket.EAI_NONAME)))
    assert callback_fault("https://hook.test/", (), unknown(socket.EAI_AGAIN)) is None


# ---- replay ----------------------------------------------------------------------------------------------------------


def test_a_replayed_message_is_sent_again_under_its_id_with_every_try_before_it(
    database: Database, sender: Sender, hook: Receiver, clock: Clock
) -> None:
    told_to(database, hook.url(), [1, 2])
    send(sender)
    with database.writing() as connection:
        assert not replay(connection, "another", f"msg_{JOB}_1", clock())
        assert not replay(connection, "default", "msg_nobody_1", clock())
        assert replay(connection, "default", f"msg_{JOB}_1", clock())
    hook.scripts["/hook"] = [*[answer(500)] * (TRIES - 1), answer(200)]
    for pause_s in (0, *PAUSES_S):
        clock.forward(pause_s * 1000)
        send(sender)
    assert hook.ids() == [f"msg_{JOB}_1", f"msg_{JOB}_2"] + [f"msg_{JOB}_1"] * TRIES
    assert set(states(database).values()) == {"delivered"}


def test_replaying_a_message_that_waits_sends_it_now_with_those_before_it(
    database: Database, sender: Sender, hook: Receiver, clock: Clock
) -> None:
    """The receiver is mended, and its owner does not want to wait for the next try."""
    hook.scripts["/hook"] = [answer(500), answer(500), answer(200)]
    told_to(database, hook.url(), [1, 2])
    send(sender)
    clock.forward(5_000)
    send(sender)
    with database.writing() as connection:
        assert replay(connection, "default", f"msg_{JOB}_2", clock())
    send(sender)
    assert hook.ids() == [f"msg_{JOB}_1"] * 3 + [f"msg_{JOB}_2"]


def test_replaying_a_message_that_is_being_sent_does_not_send_it_twice(database: Database, clock: Clock) -> None:
    told_to(database, "https://a.test/", [1])
    with database.writing() as connection:
        claimed = outbox.claim(connection, next(outbox.waiting(connection, clock())), clock(), LEASE_MS)
        assert claimed is not None
        assert replay(connection, "default", f"msg_{JOB}_1", clock())
        assert next(outbox.waiting(connection, clock() + LEASE_MS - 1), None) is None


