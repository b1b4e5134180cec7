"""The promises of reported jobs: the fold for any reports whatever, then the tables on both databases, then the HTTP contract."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.fold import begin, feed, fold, fold_all
from viralsync_pipelines.jobs.model import LEGAL, WHOLE, Change, Job, JobEvent, Mode, Status
from viralsync_pipelines.jobs.view import job_object

ROOT = "job_000000000000"


def child(number: int) -> str:
    return f"job_{number:012x}"


def created(**data: Any) -> JobEvent:
    return JobEvent(moves.CREATED, 1_000, data={"job": ROOT, "workspace": "w", "type": "image-generation", "title": "Pack", **data})


def event(kind: str, step: str = "", at_ms: int = 2_000, **data: Any) -> JobEvent:
    return JobEvent(f"report.{kind}", at_ms, step, data)


def family_of(number: int, mode: str = "average", policy: str = "fail", weights: list[int] | None = None) -> Family:
    """A parent with all its children created, 1 to `number`."""
    family, _ = begin(created(childCount=number, childProgressMode=mode, onChildFailure=policy))
    for index in range(number):
        weight = weights[index] if weights else 1
        fold(family, event("child_created", child(index + 1), index=index, title=f"Image {index}", weight=weight))
    return family


# ---- a job alone -----------------------------------------------------------------------------------------------------


def test_a_plain_job_runs_from_its_first_progress_to_its_result() -> None:
    family, changes = begin(created())
    assert [(c.sequence, c.job.status) for c in changes] == [(1, Status.QUEUED)]
    changes = fold(family, event("progress", at_ms=3_000, progress=33, message="Looking", stage={"name": "analysis", "current": 1, "total": 3}))
    assert [c.name for c in changes] == ["job.started"]
    assert (family.job.status, family.job.progress, family.job.started_ms) == (Status.RUNNING, 3_300, 3_000)
    assert (family.job.attempts[0].status, family.job.attempts[0].started_ms) == (Status.RUNNING, 3_000)
    assert job_object(family.job)["stage"] == {"name": "analysis", "current": 1, "total": 3, "description": ""}
    changes = fold(family, event("completed", at_ms=4_000, result={"type": "video", "url": "https://a.test/v.mp4"}, message="Ready"))
    assert [c.name for c in changes] == ["job.completed"]
    assert (family.job.status, family.job.progress, family.job.output) == (Status.DONE, WHOLE, "https://a.test/v.mp4")
    assert (family.job.attempts[0].status, family.job.attempts[0].finished_ms) == (Status.DONE, 4_000)


def test_a_job_completed_at_once_has_run_in_between() -> None:
    family, _ = begin(created())
    assert [c.name for c in fold(family, event("completed"))] == ["job.started", "job.completed"]


def test_a_job_in_a_queue_shows_its_place_until_it_begins() -> None:
    family, _ = begin(created(queue={"position": 5, "total": 12, "queueName": "free-tier"}))
    assert job_object(family.job)["queue"] == {"position": 5, "total": 12, "queueName": "free-tier"}
    fold(family, event("progress", progress=0, message="Waiting in queue...", queue={"position": 3, "total": 10}))
    assert (family.job.status, family.job.queue) == (Status.QUEUED, {"position": 3, "total": 10, "queueName": None})
    fold(family, event("progress", progress=0, message="Off we go"))
    assert (family.job.status, family.job.queue, family.job.message) == (Status.RUNNING, None, "Off we go")


def test_work_that_is_told_together_with_a_queue_has_begun() -> None:
    family, _ = begin(created())
    fold(family, event("progress", progress=5, queue={"position": 2}))
    assert (family.job.status, family.job.progress, family.job.queue) == (Status.RUNNING, 500, {"position": 2, "total": None, "queueName": None})


def test_metadata_is_merged_and_an_expected_end_overrides() -> None:
    family, _ = begin(created(payload={"metadata": {"a": 1, "b": 1}, "estimatedDuration": 60_000}))
    fold(family, event("progress", at_ms=5_000, progress=1, metadata={"b": 2, "c": 3}))
    assert family.job.payload["metadata"] == {"a": 1, "b": 2, "c": 3}
    assert family.job.estimated_ms == 65_000
    fold(family, event("progress", progress=2, estimatedMs=9_000))
    assert family.job.estimated_ms == 9_000


def test_a_failed_job_is_told_with_its_code_and_starts_again_when_it_is_retried() -> None:
    family, _ = begin(created())
    fold(family, event("progress", progress=50))
    fold(family, event("failed", code="GPU_LOST", message="the card is gone", details={"card": 3}, retryable=True))
    assert (family.job.status, family.job.error) == (Status.FAILED, "GPU_LOST: the card is gone")
    assert family.job.result == {"error": {"code": "GPU_LOST", "message": "the card is gone", "details": {"card": 3}, "retryable": True}}
    fold(family, event("retried"))
    assert (family.job.status, family.job.attempt, family.job.progress, family.job.error) == (Status.QUEUED, 2, 0, None)
    assert [(a.number, a.status) for a in family.job.attempts] == [(1, Status.FAILED), (2, Status.QUEUED)]
    fold(family, event("progress", progress=10))
    assert (family.job.status, family.job.progress) == (Status.RUNNING, 1_000)


def test_what_was_reported_as_not_retryable_is_not_retried() -> None:
    family, _ = begin(created())
    fold(family, event("failed", code="BAD_PROMPT", message="refused", retryable=False))
    assert "not retryable" in str(moves.refusal(family, event("retried")))
    assert fold(family, event("retried")) == []


@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
def test_an_ended_job_takes_no_more_reports(end: str) -> None:
    family, _ = begin(created())
    fold(family, event(end))
    for kind in ("progress", "completed", "failed", "cancelled"):
        assert "has ended" in str(moves.refusal(family, event(kind)))
        assert fold(family, event(kind, progress=1, message="late")) == []


# ---- a parent and its children ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "weights", "expected"),
    [("average", None, 6_900), ("sequential", None, 6_000), ("weighted", [1, 1, 1, 2, 5], 3_900), ("average", [1, 1, 1, 2, 5], 6_900)],
)
def test_a_parents_progress_comes_from_its_children(mode: str, weights: list[int] | None, expected: int) -> None:
    """The documented example: [100, 100, 100, 45, 0] is 69 on average; three of five in sequence; by weight 390 of 1,000."""
    family = family_of(5, mode, weights=weights)
    for number in (1, 2, 3):
        fold(family, event("completed", child(number)))
    fold(family, event("progress", child(4), progress=45))
    assert family.job.progress == expected
    assert family.job.status is Status.WAITING
    counts = job_object(family.job)["children"]
    assert counts == {"total": 5, "succeeded": 3, "running": 1, "queued": 1, "failed": 0, "cancelled": 0}


def test_children_not_yet_created_count_as_queued() -> None:
    family, changes = begin(created(childCount=4))
    assert job_object(changes[0].job)["children"]["queued"] == 4
    fold(family, event("child_created", child(1), index=0))
    assert (family.job.status, family.job.counts and family.job.counts.total) == (Status.QUEUED, 4)
    fold(family, event("completed", child(1)))
    assert (family.job.status, family.job.progress) == (Status.WAITING, 2_500)
    for number in (2, 3, 4):
        fold(family, event("child_created", child(number), index=number - 1))
    assert "all 4 children" in str(moves.refusal(family, event("child_created", child(5), index=4)))


def test_a_parent_is_done_by_itself_with_its_last_child_and_not_before() -> None:
    family = family_of(3)
    for number in (1, 2, 3):
        fold(family, event("progress", child(number), progress=100))
    assert (family.job.status, family.job.progress) == (Status.WAITING, WHOLE - 1)
    assert "completed by its children" in str(moves.refusal(family, event("completed")))
    fold(family, event("completed", child(1)))
    fold(family, event("completed", child(2)))
    assert family.job.status is Status.WAITING
    changes = fold(family, event("completed", child(3)))
    assert [c.name for c in changes] == ["child.progress", "job.completed"]
    assert (family.job.progress, family.job.result) == (WHOLE, {"total": 3, "succeeded": 3, "failed": 0, "cancelled": 0})


def test_a_parent_of_one_child_completed_at_once_goes_through_every_status() -> None:
    family = family_of(1)
    names = [c.name for c in fold(family, event("completed", child(1)))]
    assert names == ["child.progress", "child.progress", "job.started", "job.completed"]


def test_a_parent_fails_with_its_first_child_and_the_others_may_still_report() -> None:
    family = family_of(3)
    fold(family, event("progress", child(2), progress=50))
    changes = fold(family, event("failed", child(1), code="NSFW", message="refused"))
    assert [c.name for c in changes] == ["child.progress", "job.failed"]
    assert family.job.error == f"CHILD_FAILED: {child(1)} (Image 0): NSFW: refused"
    fold(family, event("completed", child(2)))
    assert family.children[child(2)].status is Status.DONE
    assert family.job.status is Status.FAILED
    counts = job_object(family.job)["children"]
    assert counts == {"total": 3, "succeeded": 1, "running": 0, "queued": 1, "failed": 1, "cancelled": 0}


def test_by_choice_a_parent_ends_with_what_succeeded() -> None:
    family = family_of(3, policy="continue")
    fold(family, event("failed", child(1)))
    fold(family, event("cancelled", child(2)))
    assert family.job.status is Status.WAITING
    fold(family, event("completed", child(3)))
    assert (family.job.status, family.job.progress) == (Status.DONE, WHOLE)
    assert family.job.result == {"total": 3, "succeeded": 1, "failed": 1, "cancelled": 1}


@pytest.mark.parametrize(("first", "second", "end"), [("failed", "cancelled", Status.FAILED), ("cancelled", "cancelled", Status.CANCELLED)])
def test_a_parent_of_which_nothing_succeeded_is_not_done(first: str, second: str, end: Status) -> None:
    family = family_of(2, policy="continue")
    fold(family, event(first, child(1)))
    fold(family, event(second, child(2)))
    assert family.job.status is end


def test_cancelling_a_parent_cancels_its_children() -> None:
    family = family_of(3)
    fold(family, event("completed", child(1)))
    fold(family, event("progress", child(2), progress=5))
    fold(family, event("cancelled", at_ms=7_000))
    assert [c.status for c in family.children.values()] == [Status.DONE, Status.CANCELLED, Status.CANCELLED]
    assert (family.job.status, family.job.cancel_requested_ms) == (Status.CANCELLED, 7_000)
    assert job_object(family.job)["children"]["cancelled"] == 2


def test_retrying_a_parent_takes_up_its_failed_children_and_leaves_the_others() -> None:
    family = family_of(3)
    fold(family, event("completed", child(1)))
    fold(family, event("failed", child(2)))
    fold(family, event("retried", scope="failed"))
    assert [(c.status, c.attempt) for c in family.children.values()] == [(Status.DONE, 1), (Status.QUEUED, 2), (Status.QUEUED, 1)]
    assert (family.job.status, family.job.attempt, family.job.progress) == (Status.WAITING, 2, 3_333)
    fold(family, event("completed", child(2)))
    fold(family, event("completed", child(3)))
    assert family.job.status is Status.DONE


def test_retrying_one_child_reopens_its_parent() -> None:
    family = family_of(2)
    fold(family, event("failed", child(1)))
    fold(family, event("retried", child(1)))
    assert (family.job.status, family.job.attempt) == (Status.QUEUED, 2)
    fold(family, event("completed", child(1)))
    fold(family, event("completed", child(2)))
    assert family.job.status is Status.DONE


def test_retrying_a_child_of_a_parent_at_work_leaves_the_parent_at_work() -> None:
    family = family_of(2, policy="continue")
    fold(family, event("progress", child(2), progress=50))
    fold(family, event("failed", child(1)))
    fold(family, event("retried", child(1)))
    assert (family.job.status, family.job.attempt, family.children[child(1)].attempt) == (Status.WAITING, 1, 2)


@pytest.mark.parametrize(("scope", "taken_up"), [("failed", [child(1)]), ("all", [child(1), child(2)])])
def test_what_ended_with_what_succeeded_is_retried_for_what_did_not(scope: str, taken_up: list[str]) -> None:
    family = family_of(2, policy="continue")
    fold(family, event("failed", child(1)))
    fold(family, event("completed", child(2)))
    assert family.job.status is Status.DONE
    fold(family, event("retried", scope=scope))
    assert [c.id for c in family.children.values() if c.attempt == 2] == taken_up
    assert (family.job.attempt, family.job.output, family.job.result) == (2, None, None)


def test_what_is_done_is_only_done_anew_when_that_is_asked_for() -> None:
    for family in (begin(created())[0], family_of(2)):
        for step in family.children or [""]:
            fold(family, event("completed", step))
        assert family.job.status is Status.DONE
        assert fold(family, event("retried", scope="failed")) == []
        assert fold(family, event("retried", scope="all"))
        assert (family.job.status, family.job.attempt, family.job.progress) == (Status.QUEUED, 2, 0)


def test_retrying_all_starts_every_ended_child_again() -> None:
    family = family_of(2)
    fold(family, event("completed", child(1)))
    fold(family, event("failed", child(2)))
    fold(family, event("retried", scope="all"))
    assert [(c.status, c.attempt, c.result) for c in family.children.values()] == [(Status.QUEUED, 2, None)] * 2
    assert (family.job.status, family.job.progress) == (Status.QUEUED, 0)


# ---- any reports whatever --------------------------------------------------------------------------------------------

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
FIELDS = [
    "job", "workspace", "type", "title", "payload", "queue", "stage", "estimatedMs", "expiresMs", "childCount", "childProgressMode",
    "onChildFailure", "index", "weight", "progress", "message", "metadata", "result", "code", "details", "retryable", "scope",
]  # fmt: skip
garbage = st.dictionaries(st.sampled_from(FIELDS) | st.text(max_size=3), plain, max_size=4)
sensible = st.fixed_dictionaries(
    {},
    optional={
        "progress": st.floats(0, 100), "message": st.text(max_size=3), "metadata": st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
        "queue": st.fixed_dictionaries({"position": st.integers(1, 9)}), "scope": st.sampled_from(["failed", "all"]),
        "retryable": st.sampled_from([True, False, None]), "weight": st.integers(1, 50), "index": st.integers(0, 5),
        "stage": st.fixed_dictionaries({"name": st.just("s"), "current": st.integers(1, 3), "total": st.just(3)}),
    },
)  # fmt: skip
KINDS = [moves.CREATED, moves.CHILD_CREATED, moves.PROGRESS, moves.COMPLETED, moves.FAILED, moves.CANCELLED, moves.RETRIED]
kinds = st.sampled_from([*KINDS, moves.CHILD_CREATED, moves.PROGRESS, moves.COMPLETED, moves.FAILED, "report.expired", "report."])
steps = st.sampled_from(["", "", *(child(n) for n in range(1, 5)), "stranger"])
events = st.lists(st.builds(JobEvent, kinds, st.integers(0, 10_000), steps, sensible | garbage), max_size=40)
firsts = st.builds(
    JobEvent, st.just(moves.CREATED), st.integers(0, 10_000), st.just(""),
    garbage | st.fixed_dictionaries(
        {
            "job": st.just(ROOT), "childCount": st.integers(0, 4), "childProgressMode": st.sampled_from([m.value for m in Mode]),
            "onChildFailure": st.sampled_from(["fail", "continue"]),
        }
    ),
)  # fmt: skip


def judged(known: dict[str, Job], change: Change) -> None:
    """One change after another keeps the state machine, and progress never falls within an attempt."""
    new, old = change.job, known.get(change.job.id)
    if old is not None:
        assert new.status is old.status or new.status in LEGAL[old.status], (old.status, new.status)
        assert new.attempt in {old.attempt, old.attempt + 1}
        if new.attempt == old.attempt:
            assert new.progress >= old.progress
            assert not old.status.terminal or replace(new, counts=old.counts, sequence=0, updated_ms=0) == replace(old, sequence=0, updated_ms=0)
        assert new.updated_ms >= old.updated_ms
    assert (new.status is Status.DONE) <= (new.progress == WHOLE)
    assert [a.number for a in new.attempts] == list(range(1, new.attempt + 1))
    assert new.finished_ms is not None if new.status.terminal else new.finished_ms is None
    if new.counts is not None:
        c = new.counts
        assert c.total == c.succeeded + c.running + c.queued + c.failed + c.cancelled
        assert min(vars(c).values()) >= 0
    known[new.id] = new


@given(firsts, events)
def test_whatever_is_reported_the_rules_hold(first: JobEvent, reports: list[JobEvent]) -> None:
    """Never raises, only legal moves, counts add up, sequences without gaps, progress never falls inside an attempt."""
    family, changes = begin(first)
    known: dict[str, Job] = {}
    for report in reports:
        changes += fold(family, report)
    assert [change.sequence for change in changes] == list(range(1, len(changes) + 1))
    for change in changes:
        judged(known, change)
    assert known == {family.job.id: family.job, **family.children}
    if family.job.counts is not None:
        statuses = [c.status for c in family.children.values()]
        c = family.job.counts
        assert c.succeeded == statuses.count(Status.DONE)
        assert c.failed == statuses.count(Status.FAILED)
        assert c.cancelled == statuses.count(Status.CANCELLED)
        assert c.total == len(statuses) + family.expected
    json.dumps(job_object(family.job))


@given(firsts, events)
def test_every_event_that_is_refused_changes_nothing(first: JobEvent, reports: list[JobEvent]) -> None:
    family, _ = begin(first)
    for report in reports:
        refused = moves.refusal(family, report)
        changes = fold(family, report)
        assert not (refused and changes)


@given(firsts, events, st.integers(0, 40))
def test_replay_from_any_place_gives_the_same_suffix(first: JobEvent, reports: list[JobEvent], cut: int) -> None:
    """Folding at once, going on from kept JSON, and going on from a copy: the same changes; and a copy leaves its original alone."""
    whole, every = fold_all([first, *reports])
    family, before = fold_all([first, *reports[:cut]])
    copied = family.copy()
    kept = Family.from_json(json.loads(json.dumps(family.to_json())))
    stood = (family.job, dict(family.children), dict(family.tally), dict(family.notes))
    after = feed(copied, reports[cut:])
    assert repr(before + after) == repr(every)  # a NaN is not itself
    assert repr(feed(kept, reports[cut:])) == repr(after)
    assert repr(stood) == repr((family.job, dict(family.children), dict(family.tally), dict(family.notes)))
    assert repr(copied.to_json()) == repr(whole.to_json())
