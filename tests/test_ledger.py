"""The ledger, on both databases: each job is given to its provider once, ends once, and takes with it what depends on it."""

from __future__ import annotations

import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.puppet import PIXEL, POLLED_MODEL, QUEUED, RUNNING, Bench, bench_at, done, image
from viralsync_pipelines.errors import ReportRefused
from viralsync_pipelines.generate import changes, outcomes
from viralsync_pipelines.generate import ledger as moves
from viralsync_pipelines.generate.collect import collect_batch
from viralsync_pipelines.generate.inbox import Letter, apply_new, put
from viralsync_pipelines.generate.leases import held, let_go, let_go_of
from viralsync_pipelines.generate.models import Registry
from viralsync_pipelines.generate.poll import cancel_asked, confirm_due, poll_due, work_left
from viralsync_pipelines.generate.provider import Blame, Fault, Gone, NotSent, Refused, Said, Seen, Taken, Ticket, Unsure
from viralsync_pipelines.generate.settle import Outcome, failed
from viralsync_pipelines.generate.submit import SUBMIT_LEASE_MS, UNSURE_MS, submit_batch, submit_one
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.ledger_tables import transitions


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return bench_at(database, tmp_path / "bench")


def submit(bench: Bench, batch: str = "batch") -> int:
    bench.take("ready", batch)
    return submit_batch(bench.desk, batch)


def letter(bench: Bench, record_id: str, body: Any, *, submit: int = 1, key: str = "k", trust: str = "signed") -> Letter:
    return Letter(record_id, "puppet", key, submit, trust, json.dumps(body).encode(), bench.clock.now())


def post(bench: Bench, *letters: Letter, read: bool = True) -> list[bool | None]:
    with bench.desk.ledger.database.writing() as connection:
        kept = put(connection, letters)
    if read:
        apply_new(bench.desk)
    return kept


def history(bench: Bench, record_id: str) -> list[tuple[str, str, str]]:
    with bench.desk.ledger.database.reading() as connection:
        wanted = select(transitions.c.from_stage, transitions.c.to_stage, transitions.c.by)
        rows = connection.execute(wanted.where(transitions.c.record_id == record_id).order_by(transitions.c.id))
        return [tuple(row) for row in rows]


# ---- one job's life --------------------------------------------------------------------------------------------------


def test_a_job_goes_from_ready_to_stored_and_shows_every_step(bench: Bench) -> None:
    execution = bench.open([image("a")])
    assert bench.job(execution).status == "queued"
    assert submit(bench) == 1
    job = bench.job(execution, "a")
    assert (job.status, job.phase, job.payload["provider"]) == ("waiting", "waiting", {"name": "puppet", "status": "starting", "jobId": "p1"})
    assert bench.job(execution).status == "waiting"
    row = bench.row(execution, "a")
    assert (row.status, row.provider_job_id, row.waiting_strategy, row.poll_attempts) == ("processing", "p1", "polling", 0)
    assert row.next_poll_at == bench.clock.now() + 5_000

    bench.clock.wait(5_000)
    bench.puppet.states["p1"] = Seen(Said.QUEUED, "starting", queue_position=7)
    assert poll_due(bench.desk, budget_s=10).asked == 1
    assert bench.job(execution, "a").queue["position"] == 7
    assert bench.row(execution, "a").next_poll_at == bench.clock.now() + 7_500
    assert poll_due(bench.desk, budget_s=10).found == 0

    bench.clock.wait(7_500)
    bench.puppet.states["p1"] = done()
    assert poll_due(bench.desk, budget_s=10).settled == 1
    assert (bench.job(execution, "a").status, bench.job(execution, "a").phase) == ("running", "collecting")
    assert work_left(bench.desk) == {"settled": 1}
    bench.take("settled", "fetch")
    (collected,) = collect_batch(bench.desk, "fetch", bench.work, bench.facts)
    assert bench.desk.store.get_bytes(collected.stored[0].key) == PIXEL
    job, row = bench.job(execution, "a"), bench.row(execution, "a")
    assert (job.status, job.progress, job.output) == ("done", 10_000, f"outputs/{row.id}/output.png")
    assert (row.status, row.stage, row.settled_by) == ("completed", "ended", "poll")
    assert row.result is not None
    assert row.result["outputs"][0]["url"].endswith(f"/v1/jobs/{row.id}/files/output.png")
    whole = bench.execution(execution)
    assert (whole.status, whole.result["url"], bench.job(execution).status) == ("completed", row.result["url"], "done")
    assert [step[:2] for step in history(bench, row.id)] == [
        ("ready", "submitting"), ("submitting", "waiting"), ("waiting", "settled"), ("settled", "collecting"), ("collecting", "ended"),
    ]  # fmt: skip
    assert list(bench.desk.store.list("generated/")) == []


def test_the_row_says_that_the_provider_may_have_it_before_it_is_called(bench: Bench) -> None:
    execution = bench.open([image("a")])
    seen: list[str] = []
    bench.puppet.during_submit = lambda order: seen.append(bench.row(execution, "a").stage)
    submit(bench)
    assert seen == ["submitting"]


def test_two_runs_of_a_batch_submit_each_job_once(bench: Bench) -> None:
    bench.open([image(f"j{number}") for number in range(12)])
    bench.take("ready")
    threads = [threading.Thread(target=submit_batch, args=(bench.desk, "batch")) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(order.params["prompt"] for order in bench.puppet.orders) == sorted(f"j{number}" for number in range(12))


# ---- submits that go wrong -------------------------------------------------------------------------------------------


def test_what_was_certainly_not_taken_is_sent_again_when_the_provider_says(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.answers = [NotSent("throttled", retry_after_s=120)]
    submit(bench)
    assert bench.row(execution, "a").stage == "ready"
    assert bench.take("ready") == 0
    bench.clock.wait(120_001)
    assert submit(bench, "later") == 1
    assert (bench.row(execution, "a").stage, len(bench.puppet.orders)) == ("waiting", 2)


def test_a_lost_answer_is_never_sent_again_by_itself(bench: Bench) -> None:
    execution = bench.open([image("a"), image("b", "a")])
    bench.puppet.answers = [Unsure("the connection broke off")]
    submit(bench)
    assert bench.row(execution, "a").stage == "unsure"
    bench.clock.wait(UNSURE_MS)
    confirm_due(bench.desk)
    row = bench.row(execution, "a")
    assert (row.stage, row.status, (row.error or "").partition(":")[0]) == ("ended", "failed", "SUBMIT_UNCONFIRMED")
    assert len(bench.puppet.orders) == 1
    assert (bench.row(execution, "b").error or "") == "DEPENDENCY_FAILED: Dependency a failed"


def test_a_lost_answer_is_found_again_where_the_provider_can_tell(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.answers = [Unsure("the connection broke off")]
    submit(bench)
    bench.puppet.found = Taken(Ticket("p77"), RUNNING)
    bench.clock.wait(UNSURE_MS)
    confirm_due(bench.desk)
    assert (bench.row(execution, "a").stage, bench.row(execution, "a").provider_job_id) == ("waiting", "p77")


def test_a_job_that_is_another_rows_is_not_taken_for_the_lost_one(bench: Bench) -> None:
    execution = bench.open([image("a"), image("b")])
    bench.puppet.answers_to = {"a": Taken(Ticket("p1"), QUEUED), "b": Unsure("cut")}
    submit(bench)
    bench.puppet.found = Taken(Ticket("p1"), RUNNING)
    bench.clock.wait(UNSURE_MS)
    confirm_due(bench.desk)
    assert sorted(row.stage for row in bench.rows(execution)) == ["ended", "waiting"]
    assert [row.provider_job_id for row in bench.rows(execution) if row.stage == "waiting"] == ["p1"]


def test_a_provider_that_surely_has_no_such_job_is_given_it_once_more(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.answers = [Unsure("cut"), Unsure("cut")]
    bench.puppet.found = False
    for _ in range(3):
        submit(bench, f"b{bench.clock.now()}")
        bench.clock.wait(UNSURE_MS)
        confirm_due(bench.desk)
        bench.clock.wait(10_000)
    assert len(bench.puppet.orders) == 2
    assert bench.row(execution, "a").status == "failed"
    assert len({order.webhook_url or order.nonce for order in bench.puppet.orders}) == 2


def test_a_row_or_a_webhook_that_breaks_us_keeps_nobody_behind_it_waiting(bench: Bench) -> None:
    execution = bench.open([image("a"), image("b")])
    bench.puppet.answers = [Unsure("cut"), Unsure("cut")]
    submit(bench)
    bench.puppet.find = lambda calls, order, since_ms: None if order.params["prompt"] == "b" else 1 / 0  # type: ignore[method-assign, assignment]
    bench.clock.wait(UNSURE_MS)
    assert confirm_due(bench.desk) == 2
    assert [row.stage for row in bench.rows(execution)] == ["unsure", "ready"]
    first, second = (bench.open([image("c", model="puppet/image")]) for _ in range(2))
    submit(bench, "others")
    whole = bench.puppet.read_webhook
    broken = bench.row(first, "c").id
    told = {"status": "succeeded", "output": ["https://x.test/a.png"]}
    bench.puppet.read_webhook = lambda ticket, body: 1 / 0 if body["broken"] else whole(ticket, body)  # type: ignore[method-assign, assignment]
    good = bench.row(second, "c")
    post(bench, letter(bench, broken, {"broken": True}), letter(bench, good.id, {"broken": False, "id": good.provider_job_id, **told}))
    assert bench.row(second, "c").stage == "settled"


def test_a_webhook_shows_that_a_lost_answer_was_a_yes(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    bench.puppet.answers = [Unsure("cut")]
    submit(bench)
    row = bench.row(execution, "a")
    post(bench, letter(bench, row.id, {"id": "p5", "status": "processing"}))
    assert (bench.row(execution, "a").stage, bench.row(execution, "a").provider_job_id) == ("waiting", "p5")


def test_a_run_that_was_killed_while_submitting_leaves_an_unsure_job(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.take("ready")
    moves.begin_submit(bench.desk.ledger, bench.row(execution, "a"), bench.clock.now() + SUBMIT_LEASE_MS)
    assert confirm_due(bench.desk) == 0
    bench.clock.wait(SUBMIT_LEASE_MS)
    assert confirm_due(bench.desk) == 1
    assert (bench.row(execution, "a").error or "").startswith("SUBMIT_UNCONFIRMED")


def test_a_refusal_ends_the_job_with_the_providers_words_and_what_helps(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.answers = [Refused("invalid token", blame=Blame.ACCOUNT, code="PROVIDER_ACCOUNT")]
    submit(bench)
    job = bench.job(execution, "a")
    assert job.status == "failed"
    assert "invalid token" in (job.error or "")
    assert job.result["error"]["details"]["cause"] == "account"
    assert "balance" in job.result["error"]["details"]["hint"]


# ---- webhooks --------------------------------------------------------------------------------------------------------


def test_a_webhook_ends_the_wait_and_a_second_one_changes_nothing(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    submit(bench)
    row = bench.row(execution, "a")
    assert bench.puppet.orders[0].webhook_url == bench.desk.webhook_url(row, 1)
    assert (row.waiting_strategy, row.next_poll_at) == ("webhook", bench.clock.now() + 60_000)
    body = {"id": "p1", "status": "succeeded", "output": ["https://x.test/a.png"]}
    assert post(bench, letter(bench, row.id, body), letter(bench, row.id, body)) == [True, False]
    settled = bench.row(execution, "a")
    assert (settled.stage, settled.settled_by) == ("settled", "webhook")
    post(bench, letter(bench, row.id, {"id": "p1", "status": "failed"}, key="other"))
    assert bench.row(execution, "a").outcome == settled.outcome


def test_a_webhook_before_the_answer_to_the_submit_is_not_lost(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    row = bench.row(execution, "a")
    body = {"id": "p1", "status": "succeeded", "output": ["https://x.test/a.png"]}
    bench.puppet.during_submit = lambda order: post(bench, letter(bench, row.id, body)) and None
    submit(bench)
    after = bench.row(execution, "a")
    assert (after.stage, after.settled_by, after.provider_job_id) == ("settled", "webhook", "p1")
    assert [step for step in history(bench, row.id) if "settled" in step[:2]] == [("waiting", "settled", "webhook"), ("settled", "settled", "submit")]


def test_an_unsigned_webhook_before_the_answer_waits_for_it_and_is_checked_with_the_provider(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    row = bench.row(execution, "a")
    bench.puppet.states["p1"] = done("https://x.test/real.png")
    forged = {"id": "p1", "status": "succeeded", "output": ["https://x.test/forged.png"]}
    bench.puppet.during_submit = lambda order: post(bench, letter(bench, row.id, forged, trust="hint")) and None
    submit(bench)
    outcome = bench.row(execution, "a").outcome
    assert outcome is not None
    assert outcome["outputs"][0]["url"] == "https://x.test/real.png"


def test_webhooks_of_another_job_an_earlier_submit_or_none_change_nothing(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    submit(bench)
    row = bench.row(execution, "a")
    body = {"id": "p1", "status": "succeeded", "output": ["https://x.test/a.png"]}
    kept = post(
        bench, letter(bench, row.id, {**body, "id": "p9"}, key="1"), letter(bench, row.id, body, submit=2, key="2"),
        letter(bench, row.id, ["nonsense"], key="3"), letter(bench, "job_ffffffffffff", body, key="4"),
    )  # fmt: skip
    assert kept == [True, True, True, None]
    assert bench.row(execution, "a").stage == "waiting"


def test_a_lost_webhook_costs_one_ceiling_interval_and_not_the_job(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    submit(bench)
    bench.puppet.states["p1"] = done()
    bench.clock.wait(60_000)
    assert poll_due(bench.desk, budget_s=10).settled == 1
    assert bench.row(execution, "a").settled_by == "poll"


def test_webhooks_out_of_turn_and_after_a_poll_change_nothing(bench: Bench) -> None:
    """The first word came last, and the last one again; and one that was late, for a poll had told it already."""
    execution = bench.open([image("turned", model="puppet/image"), image("late", model="puppet/image")])
    submit(bench)
    for name in ("turned", "late"):
        row = bench.row(execution, name)
        told = {"id": row.provider_job_id, "status": "succeeded", "output": ["https://x.test/a.png"]}
        if name == "late":
            bench.puppet.states[row.provider_job_id or ""] = done()
            bench.clock.wait(60_000)
            assert poll_due(bench.desk, budget_s=10).settled == 1
        else:
            post(bench, letter(bench, row.id, told, key="end"))
        settled, steps = bench.row(execution, name), history(bench, row.id)
        assert (settled.stage, settled.settled_by) == ("settled", "poll" if name == "late" else "webhook")
        for number, status in enumerate(("starting", "processing", "succeeded", "failed")):
            post(bench, letter(bench, row.id, {**told, "status": status}, key=f"again{number}"))
        assert (bench.row(execution, name), history(bench, row.id)) == (settled, steps)


# ---- polls -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_log_says_what_the_guide_tells_to_look_for(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """The webhook's own line stands in test_webhook_intake.py."""
    execution = bench.open([image("a")])
    submit(bench)
    row = bench.row(execution, "a")
    with caplog.at_level(logging.INFO, "viralsync"):
        bench.clock.wait(5_000)
        poll_due(bench.desk, budget_s=10)
        bench.puppet.states["p1"] = done()
        bench.pump(1)
    at = caplog.messages.index("[PollingWorker] Found 1 jobs to poll")
    assert caplog.messages[at + 1 : at + 3] == [f"[PollingWorker] Polling job {row.id} (attempt 1)", f"[PollingWorker] Job {row.id} status: processing"]
    assert f"[PollingWorker] Job {row.id} still processing, next poll at " in caplog.text
    begun = caplog.messages.index(f"[AsyncJobCompletion] Completing job {row.id} with 1 outputs")
    assert caplog.messages[begun + 1].startswith("[AsyncJobCompletion] Uploaded to CDN: ")
    assert caplog.messages[begun + 2] == f"[AsyncJobCompletion] Job {row.id} marked as completed"


def test_outages_do_not_use_up_the_polls_of_a_job(database: Database, tmp_path: Path) -> None:
    bench = bench_at(database, tmp_path / "bench", most=3)
    execution = bench.open([image("a")])
    submit(bench)
    bench.puppet.states["p1"] = [*(NotSent("down") for _ in range(8)), RUNNING, NotSent("busy", retry_after_s=500), done()]
    for _ in range(10):
        bench.clock.wait(61_000)
        poll_due(bench.desk, budget_s=10)
    row = bench.row(execution, "a")
    assert (row.poll_attempts, row.poll_errors, row.next_poll_at) == (1, 1, bench.clock.now() + 500_000)
    bench.clock.wait(500_000)
    poll_due(bench.desk, budget_s=10)
    assert bench.row(execution, "a").stage == "settled"


def test_a_job_that_never_ends_is_given_up_cancelled_and_takes_its_dependents_with_it(database: Database, tmp_path: Path) -> None:
    bench = bench_at(database, tmp_path / "bench", most=3)
    execution = bench.open([image("a"), image("b", "a"), image("c", "b")])
    submit(bench)
    for _ in range(4):
        bench.clock.wait(61_000)
        poll_due(bench.desk, budget_s=10)
    assert [row.status for row in bench.rows(execution)] == ["failed", "failed", "failed"]
    assert "Exceeded maximum polling attempts (3)" in (bench.row(execution, "a").error or "")
    assert bench.puppet.cancels == ["p1"]
    assert (bench.execution(execution).status, bench.job(execution).status) == ("failed", "failed")
    assert "a: POLL_LIMIT" in (bench.job(execution).error or "")


def test_a_job_whose_last_answer_is_a_result_is_not_given_up(database: Database, tmp_path: Path) -> None:
    bench = bench_at(database, tmp_path / "bench", most=1)
    execution = bench.open([image("a")])
    submit(bench)
    bench.puppet.states["p1"] = [RUNNING, done()]
    bench.clock.wait(5_000)
    poll_due(bench.desk, budget_s=10)
    assert bench.row(execution, "a").stage == "settled"


def test_a_job_the_provider_does_not_know_yet_is_asked_about_again(bench: Bench) -> None:
    execution = bench.open([image("a")])
    submit(bench)
    bench.puppet.states["p1"] = Gone("404")
    bench.clock.wait(5_000)
    poll_due(bench.desk, budget_s=10)
    assert bench.row(execution, "a").stage == "waiting"
    bench.clock.wait(60_000)
    poll_due(bench.desk, budget_s=10)
    assert (bench.row(execution, "a").error or "").startswith("PROVIDER_JOB_GONE")


def test_a_passing_failure_is_tried_once_more_as_another_attempt(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.default = Seen(Said.FAILED, "failed", fault=Fault(Blame.PASSING, "PROVIDER_FAILED", "out of memory"))
    bench.pump(5)
    job = bench.job(execution, "a")
    assert len(bench.puppet.orders) == 2
    assert (job.status, job.attempt, [each.status.value for each in job.attempts]) == ("failed", 2, ["failed", "failed"])
    assert "out of memory" in (job.attempts[0].error or "")


def test_a_policy_refusal_is_final(bench: Bench) -> None:
    bench.open([image("a")])
    bench.puppet.default = Seen(Said.FAILED, "failed", fault=Fault(Blame.POLICY, "CONTENT_REFUSED", "flagged"))
    bench.pump(4)
    assert len(bench.puppet.orders) == 1


def test_a_tick_ends_with_its_budget_and_what_is_left_over_is_due_first(bench: Bench) -> None:
    execution = bench.open([image(f"j{number}") for number in range(30)])
    submit(bench)
    bench.clock.wait(5_000)
    times = iter([0.0, *[0.5] * 10, *[2.0] * 100])
    lock = threading.Lock()

    def clock() -> float:
        with lock:
            return next(times)

    tick = poll_due(bench.desk, budget_s=1.0, clock=clock)
    assert (tick.found, tick.asked) == (30, 10)
    assert sum(row.poll_attempts for row in bench.rows(execution)) == 10
    assert poll_due(bench.desk, budget_s=10).found == 20


# ---- once only -------------------------------------------------------------------------------------------------------


def test_of_a_webhook_and_a_poll_at_once_one_decides(bench: Bench) -> None:
    """A thousand times over two processes stands in test_ledger_race.py."""
    for _ in range(10):
        execution = bench.open([image("a")])
        submit(bench, f"b{execution}")
        row = bench.row(execution, "a")
        both = [Outcome("done", done("https://x.test/a.png").outputs), failed(Fault(Blame.POLICY, "CONTENT_REFUSED", "no"), 9)]
        with ThreadPoolExecutor(2) as threads:
            settling = partial(outcomes.settle_row, bench.desk.ledger, row)
            won = list(threads.map(settling, both, ("webhook", "poll")))
        assert sorted(won) == [False, True]
        after = bench.row(execution, "a")
        assert after.outcome is not None
        assert (after.settled_by == "webhook") == (after.outcome["status"] == "done")


def test_a_run_that_dies_while_collecting_loses_nothing(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.default = done()
    submit(bench)
    bench.clock.wait(5_000)
    poll_due(bench.desk, budget_s=10)
    outcomes.begin_collect(bench.desk.ledger, bench.row(execution, "a"), bench.clock.now() + 1_000)
    assert let_go(bench.desk) == 0
    bench.clock.wait(1_000)
    assert let_go(bench.desk) == 1
    bench.take("settled", "again")
    assert len(collect_batch(bench.desk, "again", bench.work, bench.facts)) == 1
    assert bench.row(execution, "a").status == "completed"


def test_what_a_run_leaves_that_is_known_to_be_over_is_free_at_once(bench: Bench) -> None:
    """One was ready, one given to the provider without an answer, one settled, one being fetched. Others' rows stay theirs."""
    execution = bench.open([image("settled"), image("fetched"), image("sent"), image("ready")])
    other = bench.open([image("other")])
    bench.puppet.default = done()
    names = {"settled", "fetched"}
    bench.take("ready", "first")
    for name in ("settled", "fetched"):
        submit_one(bench.desk, bench.row(execution, name))
    bench.clock.wait(5_000)
    poll_due(bench.desk, budget_s=10)
    bench.take("settled", "dead")
    until = bench.clock.now() + 60_000
    outcomes.begin_collect(bench.desk.ledger, bench.row(execution, "fetched"), until)
    moves.begin_submit(bench.desk.ledger, bench.row(execution, "sent"), until)
    assert held(bench.desk) == {"first", "dead"}

    assert let_go_of(bench.desk, {"dead"}) == 2
    assert {bench.row(execution, name).stage for name in names} == {"settled"}
    assert history(bench, bench.row(execution, "fetched").id)[-1] == ("collecting", "settled", "sensor")
    assert bench.take("settled", "again") == 2
    assert len(collect_batch(bench.desk, "again", bench.work, bench.facts)) == 2

    assert let_go_of(bench.desk, {"first"}) == 3
    assert bench.row(execution, "sent").stage == "unsure"
    assert sorted(each.job_id for each in (bench.row(execution, "ready"), bench.row(other, "other")) if each.stage == "ready") == ["other", "ready"]
    assert submit(bench, "second") == 2
    assert held(bench.desk) == set()
    assert [order.params["prompt"] for order in bench.puppet.orders].count("sent") == 0


# ---- graphs ----------------------------------------------------------------------------------------------------------


def test_dependents_begin_when_all_they_need_is_done_and_read_its_result(bench: Bench) -> None:
    execution = bench.open([image("c", image="$a"), image("a"), image("b"), image("d", "b", "c")])
    bench.puppet.default = done()
    submit(bench)
    assert sorted(order.params["prompt"] for order in bench.puppet.orders) == ["a", "b"]
    bench.pump(4)
    assert [row.status for row in bench.rows(execution)] == ["completed"] * 4
    orders = {order.params["prompt"]: order for order in bench.puppet.orders}
    assert len(bench.puppet.orders) == 4
    assert orders["c"].params["image"].startswith("https://api.example.com/v1/shared/media/")
    assert bench.puppet.orders[-1].params["prompt"] == "d"


def test_a_failed_job_fails_its_whole_subtree_and_nothing_else(bench: Bench) -> None:
    execution = bench.open([image("bad"), image("child", "bad"), image("grandchild", "child", "good"), image("good"), image("other", "good")])
    bench.puppet.default = done()
    bench.puppet.answers_to = {"bad": Refused("no")}
    bench.pump(4)
    assert {row.job_id: row.status for row in bench.rows(execution)} == {
        "bad": "failed", "child": "failed", "grandchild": "failed", "good": "completed", "other": "completed",
    }  # fmt: skip
    assert bench.row(execution, "grandchild").error == "DEPENDENCY_FAILED: Dependency child failed"
    job = bench.job(execution)
    assert (job.status, job.counts.failed, job.counts.succeeded) == ("failed", 3, 2)
    assert "bad: " in (job.error or "")
    assert "grandchild" not in (job.error or "")


def test_a_plan_based_on_another_uses_its_finished_results(bench: Bench) -> None:
    bench.puppet.default = done()
    first = bench.open([image("a")])
    bench.pump(2)
    second = bench.open([image("b", image="$a")], base=first)
    bench.pump(2)
    assert bench.execution(second).status == "completed"
    assert "/v1/shared/" in bench.puppet.orders[-1].params["image"]


# ---- by hand ---------------------------------------------------------------------------------------------------------


def test_cancelling_reaches_the_provider_and_what_comes_late_changes_nothing(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image"), image("b", "a")])
    submit(bench)
    row = bench.row(execution, "a")
    changes.cancel(bench.desk.ledger, execution)
    assert [each.status for each in bench.rows(execution)] == ["cancelled", "cancelled"]
    assert (bench.job(execution).status, bench.execution(execution).status) == ("cancelled", "cancelled")
    assert cancel_asked(bench.desk) == 1
    assert bench.puppet.cancels == ["p1"]
    assert cancel_asked(bench.desk) == 0
    post(bench, letter(bench, row.id, {"id": "p1", "status": "succeeded", "output": ["https://x.test/a.png"]}))
    assert bench.row(execution, "a").status == "cancelled"
    with pytest.raises(ReportRefused):
        changes.cancel(bench.desk.ledger, execution)


def test_a_failed_job_is_tried_again_with_other_input_and_its_dependents_follow(bench: Bench) -> None:
    execution = bench.open([image("a"), image("b", "a"), image("c")])
    bench.puppet.default = done()
    bench.puppet.answers_to = {"a": Refused("bad prompt")}
    bench.pump(2)
    assert bench.execution(execution).status == "failed"
    attempt = changes.retry(bench.desk.ledger, bench.desk.registry, bench.row(execution, "a").id, changes={"prompt": "better"})
    assert attempt == 2
    assert bench.job(execution).status in {"queued", "waiting"}
    bench.pump(3)
    assert [row.status for row in bench.rows(execution)] == ["completed"] * 3
    assert (bench.execution(execution).status, bench.job(execution).status) == ("completed", "done")
    assert [order.params["prompt"] for order in bench.puppet.orders].count("c") == 1
    assert bench.job(execution, "a").payload["params"]["prompt"] == "better"
    with pytest.raises(ReportRefused, match="did not fail"):
        changes.retry(bench.desk.ledger, bench.desk.registry, bench.row(execution, "a").id)


def test_what_fell_with_a_job_begins_anew_with_it_in_whatever_order_the_plan_lists_them(bench: Bench) -> None:
    execution = bench.open([image("c", "b"), image("b", "a"), image("a")])
    bench.puppet.default = done()
    bench.puppet.answers_to = {"a": Refused("bad prompt")}
    bench.pump(2)
    assert [row.status for row in bench.rows(execution)] == ["failed"] * 3
    changes.retry(bench.desk.ledger, bench.desk.registry, bench.row(execution, "a").id)
    bench.pump(4)
    assert [row.status for row in bench.rows(execution)] == ["completed"] * 3


def test_a_webhook_of_an_earlier_attempt_does_not_end_the_next(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    submit(bench)
    changes.cancel(bench.desk.ledger, execution)
    changes.retry(bench.desk.ledger, bench.desk.registry, execution)
    submit(bench, "second")
    row = bench.row(execution, "a")
    late = {"id": "p1", "status": "succeeded", "output": ["https://x.test/old.png"]}
    post(bench, letter(bench, row.id, late, submit=1))
    assert (bench.row(execution, "a").stage, row.provider_job_id) == ("waiting", "p2")


def test_what_came_in_the_answer_is_stored_before_the_row_names_it(bench: Bench) -> None:
    execution = bench.open([image("a")])
    bench.puppet.answers = [Taken(Ticket("p1"), done(data=PIXEL))]
    submit(bench)
    row = bench.row(execution, "a")
    assert row.stage == "settled"
    assert row.outcome is not None
    assert bench.desk.store.get_bytes(row.outcome["outputs"][0]["url"].removeprefix("kept:")) == PIXEL


def test_what_is_done_at_once_waits_for_nothing_and_is_polled_when_it_is_not(bench: Bench) -> None:
    once = replace(POLLED_MODEL, id="puppet/once", strategies=("none",), default_strategy="none")
    bench.desk = replace(bench.desk, registry=Registry({once.id: once}))
    execution = bench.open([image("a", model="puppet/once"), image("b", model="puppet/once")])
    bench.puppet.answers_to = {"a": Taken(Ticket("p1"), done(data=PIXEL)), "b": Taken(Ticket("p2"), QUEUED)}
    submit(bench)
    assert [(row.stage, row.waiting_strategy) for row in bench.rows(execution)] == [("settled", "none"), ("waiting", "polling")]


def test_old_executions_are_forgotten_with_all_that_tells_of_them(bench: Bench) -> None:
    from viralsync_pipelines.generate.aging import forget_executions, forget_letters

    old, going = bench.open([image("a", model="puppet/image")]), bench.open([image("a")])
    submit(bench)
    row = bench.row(old, "a")
    post(bench, letter(bench, row.id, {"id": row.provider_job_id, "status": "failed"}), letter(bench, bench.row(going, "a").id, {}))
    database = bench.desk.ledger.database
    assert forget_executions(database, bench.clock.now(), dry_run=True) == 0
    bench.clock.wait(8 * 86_400_000)
    changes.cancel(bench.desk.ledger, old)
    bench.clock.wait(1)
    assert forget_letters(database, bench.clock.now(), dry_run=True) == 2
    assert (forget_executions(database, bench.clock.now(), dry_run=True), forget_executions(database, bench.clock.now())) == (1, 1)
    assert (bench.rows(old), bench.reported.family(old), history(bench, row.id)) == ([], None, [])
    assert (forget_letters(database, bench.clock.now()), forget_letters(database, bench.clock.now())) == (1, 0)
    assert bench.row(going, "a").stage == "waiting"


def test_a_file_of_this_machine_is_not_offered_to_a_provider_that_cannot_reach_it(bench: Bench) -> None:
    bench.puppet.default = done()
    execution = bench.open([image("a"), image("b", image="$a")])
    bench.desk = replace(bench.desk, base_url="")
    bench.pump(3)
    assert (bench.row(execution, "b").error or "").startswith("API_BASE_URL_MISSING")
    assert [order.params["prompt"] for order in bench.puppet.orders] == ["a"]


def test_a_job_that_is_tried_again_before_its_provider_was_told_stops_the_old_one_and_not_the_new(bench: Bench) -> None:
    execution = bench.open([image("a"), image("b")])
    submit(bench)
    first = {name: bench.row(execution, name).provider_job_id for name in ("a", "b")}
    changes.cancel(bench.desk.ledger, execution)
    changes.retry(bench.desk.ledger, bench.desk.registry, execution)
    assert cancel_asked(bench.desk) == 2
    assert sorted(bench.puppet.cancels) == sorted(filter(None, first.values()))
    submit(bench, "second")
    changes.cancel(bench.desk.ledger, execution)
    changes.retry(bench.desk.ledger, bench.desk.registry, execution)
    submit(bench, "third")
    newest = {bench.row(execution, name).provider_job_id for name in ("a", "b")}
    cancel_asked(bench.desk)
    assert not newest & set(bench.puppet.cancels)


def test_a_job_that_is_cancelled_while_it_is_submitted_is_stopped_once_its_provider_has_it(bench: Bench) -> None:
    execution = bench.open([image("a")])

    def cancelled_meanwhile(order: Any) -> None:
        changes.cancel(bench.desk.ledger, execution)
        cancel_asked(bench.desk)

    bench.puppet.during_submit = cancelled_meanwhile
    submit(bench)
    assert (bench.row(execution, "a").status, bench.puppet.cancels) == ("cancelled", [])
    assert cancel_asked(bench.desk) == 1
    assert bench.puppet.cancels == ["p1"]


def test_webhooks_that_take_long_to_judge_are_left_for_the_next_look_and_none_is_lost(bench: Bench) -> None:
    executions = [bench.open([image("a", model="puppet/image")]) for _ in range(3)]
    submit(bench)
    for execution in executions:
        row = bench.row(execution, "a")
        post(bench, letter(bench, row.id, {"id": row.provider_job_id, "status": "succeeded", "output": ["https://x.test/a.png"]}), read=False)
    times = iter([0.0, 1.0, 11.0, 12.0])
    assert apply_new(bench.desk, budget_s=10.0, clock=lambda: next(times)) == 1
    assert [bench.row(execution, "a").stage for execution in executions] == ["settled", "waiting", "waiting"]
    assert apply_new(bench.desk) == 2
    assert [bench.row(execution, "a").stage for execution in executions] == ["settled"] * 3


def test_a_webhook_that_tells_of_work_going_on_makes_nobody_ask_at_once(bench: Bench) -> None:
    execution = bench.open([image("a", model="puppet/image")])
    submit(bench)
    before = bench.row(execution, "a")
    post(bench, letter(bench, before.id, {"id": before.provider_job_id, "status": "processing"}))
    after = bench.row(execution, "a")
    assert (after.stage, after.provider_job_status, after.next_poll_at) == ("waiting", "processing", before.next_poll_at)
