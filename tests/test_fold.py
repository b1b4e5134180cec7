"""The promises of the fold: held against recordings of real runs in every order and with every gap, and against made-up logs."""

from __future__ import annotations

import json
import random
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import groupby
from types import FrameType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.recordings.tape import Tape, tapes
from viralsync_pipelines.jobs import kinds, run_rules
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.fold import begin, feed, fold, fold_all
from viralsync_pipelines.jobs.model import LEGAL, WHOLE, Change, Job, JobEvent, Status
from viralsync_pipelines.jobs.view import job_object

TAPES = tapes()
BY_NAME = {tape.name: tape for tape in TAPES}
PHASES = ("planning", "dispatching", "waiting", "rendering", "assembling", "uploading")
CHILD = re.compile(r"(scene|line)_job_[0-9a-f]{12}_\d{3,}|(assemble|finalize)_job_[0-9a-f]{12}")
ENDS = {Status.DONE: "job.completed", Status.FAILED: "job.failed", Status.CANCELLED: "job.cancelled"}
JOB = "job_a1b2c3d4e5f6"
any_tape, seeds = st.sampled_from(TAPES), st.integers(0, 2**32)


class Watch:
    """Folds one event after the other and looks at everything that came of each."""

    def __init__(self, first: JobEvent) -> None:
        self.family, changes = begin(first)
        self.changes: list[Change] = []
        self.seen: dict[str, Job] = {}
        self.look(changes)

    def fold(self, event: JobEvent) -> None:
        self.look(fold(self.family, event))

    def look(self, changes: Sequence[Change]) -> None:
        for change in changes:
            self.changes.append(change)
            assert change.sequence == change.job.sequence == len(self.changes)
            self.look_at(change)
            self.seen[change.job.id] = change.job
        family = self.family
        assert family.sequence == len(self.changes)
        # Nothing changes but by a numbered change.
        assert {family.job.id: family.job, **family.children} == self.seen
        counted = [child for child in family.children.values() if child.counted]
        if family.job.counts is not None:
            counts = family.job.counts
            assert counts.total == counts.succeeded + counts.running + counts.queued + counts.failed + counts.cancelled
            assert counts.total == len(counted) + family.expected
            assert counts.succeeded == sum(child.status is Status.DONE for child in counted)
            assert counts.running == sum(child.status is Status.RUNNING for child in counted)
        assert family.total_weight == sum(child.weight for child in counted) + family.expected
        assert family.done_weight == sum(child.weight * child.progress for child in counted)

    def look_at(self, change: Change) -> None:
        old, new = self.seen.get(change.job.id), change.job
        assert 0 <= new.progress <= WHOLE
        assert (new.progress == WHOLE) == (new.status is Status.DONE)
        assert (new.finished_ms is not None) == new.status.terminal
        assert (new.error is not None) or new.status is not Status.FAILED
        assert new.attempts[-1].number == new.attempt
        assert new.attempts[-1].status in {new.status, Status.RUNNING if new.status is Status.WAITING else new.status}
        assert [attempt.number for attempt in new.attempts] == list(range(1, new.attempt + 1))
        json.dumps(job_object(new), allow_nan=False)
        if new.type == "render.movie" and new.status in {Status.RUNNING, Status.WAITING}:
            assert new.phase in PHASES
        else:
            assert new.phase is None
        if old is None:
            assert new.status is Status.QUEUED
            if new.id != self.family.job.id:
                assert CHILD.fullmatch(new.id), new.id
                assert kinds.parent_of_child(new.id) == new.parent_id == self.family.job.id
                assert kinds.child_id(self.family.job.id, new.step) == new.id
            return
        assert new.updated_ms >= old.updated_ms
        assert new.attempt >= old.attempt
        anew = new.attempt > old.attempt
        if new.status is not old.status:
            assert new.status in LEGAL[old.status]
        if old.status.terminal and new.status is not old.status:
            assert anew
        if not anew:
            assert new.progress >= old.progress
            assert stage(new) >= stage(old)
            assert phase(new) >= phase(old) or new.status.terminal
        if new.parent_id is not None:
            assert change.name == "child.progress"
        elif new.status is not old.status and new.status in ENDS:
            assert change.name == ENDS[new.status]
        else:
            assert change.name in {"job.started", "job.progress", "parent.updated"}
            assert change.name != "job.started" or (old.started_ms is None and new.started_ms is not None)


def phase(job: Job) -> int:
    return PHASES.index(job.phase) if job.phase is not None else -1


def stage(job: Job) -> int:
    return job.stage.current if job.stage is not None else 0


def watched(events: Iterable[JobEvent]) -> Watch:
    first, *others = events
    watch = Watch(first)
    for event in others:
        watch.fold(event)
    return watch


def states(family: Family) -> str:
    return json.dumps(family.to_json(), sort_keys=True)


# ---- the recordings as they are --------------------------------------------------------------------------------------

# What was recorded -> each attempt's end with the beginning of its error, and what became of the counted children.
EXPECTED: dict[str, tuple[list[tuple[str, str | None]], dict[str, int]]] = {
    "success": ([("done", None)], {"succeeded": 3}),
    "all_cached": ([("done", None)], {"succeeded": 3}),
    "scene_failed": ([("failed", "SCENE_RENDER_FAILED: s1: SOURCE_CUT_SHORT: ")], {"succeeded": 2, "failed": 1}),
    "refused": ([("failed", "VALIDATION_ERROR: the movie has 1 problem:\n  /scenes/1/layers/0/src  SOURCE_NOT_FOUND")], {}),
    "step_killed": ([("failed", "STEP_KILLED: "), ("done", None)], {"succeeded": 4}),
    "worker_killed": ([("failed", "WORKER_LOST: "), ("done", None)], {"succeeded": 4}),
    "cancelled": ([("cancelled", None), ("failed", "CLIP_MISSING: "), ("done", None)], {"succeeded": 4}),
    "cancelled_by_force": ([("cancelled", None)], {"cancelled": 4}),
    "cancelled_in_queue": ([("cancelled", None)], {}),
    "interrupted": ([("cancelled", None)], {"cancelled": 4}),
    "retried": ([("done", None)], {"succeeded": 3}),
    "launched_in_ui": ([("done", None), ("done", None)], {"succeeded": 3}),
    "narrated_in_ui": ([("done", None)], {"succeeded": 2}),
    "both_in_ui": ([("done", None)], {"succeeded": 3}),
    "pool_wait": ([("done", None)], {"succeeded": 4}),
}


def test_everything_was_recorded_on_both_storages() -> None:
    assert set(BY_NAME) == {f"{storage}_{what}" for storage in ("sqlite", "postgres") for what in EXPECTED}


@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.name)
def test_a_recording_ends_as_its_run_did(tape: Tape) -> None:
    attempts, counts = EXPECTED[tape.what]
    family = watched(tape.log()).family
    job = family.job
    assert [attempt.status.value for attempt in job.attempts] == [status for status, _ in attempts]
    assert [attempt.run_id for attempt in job.attempts] == [facts.run_id for facts, _ in tape.runs]
    for attempt, (_, error) in zip(job.attempts, attempts, strict=True):
        assert (attempt.error or "").startswith(error) if error else attempt.error is None, attempt.error
    assert job.status == attempts[-1][0]
    assert job.error == job.attempts[-1].error
    assert job.counts is not None
    assert {name: number for name, number in vars(job.counts).items() if number and name != "total"} == counts
    assert all(child.status.terminal for child in family.children.values())
    if job.status == "done" and job.type == "render.movie":
        assert job.output == f"outputs/{job.id}/output.mp4"
        assert job.media is not None
        assert set(job.media) == {"duration", "width", "height", "fileSize"}
        assert {child.type for child in family.children.values()} >= {"render.scene", "render.assemble", "render.finalize"}
    assert ("/studio" in (job.error or "")) is False


@pytest.mark.parametrize("tape", TAPES, ids=lambda tape: tape.name)
def test_every_step_of_the_project_is_in_the_tables(tape: Tape) -> None:
    """A new one is to be added to jobs/kinds.py, or here when nobody needs to see it."""
    unseen = {"narration.gather_narration", "movie.mix_film_sound"}
    for event in tape.log():
        assert event.kind in run_rules.KINDS
        assert not event.step or kinds.op_and_mapping(event.step)[0] in {*kinds.PLACES, *unseen}


def names_of(tape: Tape) -> list[str]:
    _, changes = fold_all(tape.log())
    return [f"{c.job.status}:{c.job.phase}" for c in changes if c.job.parent_id is None]


def test_a_film_goes_through_the_documented_statuses_and_phases() -> None:
    told = list(dict.fromkeys(names_of(BY_NAME["sqlite_success"])))
    assert told == [
        "queued:None", "running:planning", "running:dispatching", "waiting:waiting", "waiting:rendering", "waiting:assembling",
        "waiting:uploading", "done:None",
    ]  # fmt: skip


def test_scenes_that_wait_for_a_place_are_waiting_and_count_as_queued() -> None:
    _, changes = fold_all(BY_NAME["sqlite_pool_wait"].log())
    blocked = [c.job for c in changes if c.job.status is Status.WAITING and c.job.type == "render.scene"]
    assert {job.index for job in blocked} == {0, 1, 2, 3}
    assert blocked[0].message == "Waiting for a place in the pool ffmpeg"
    parent = [c.job for c in changes if c.job.phase == "waiting"][-1]
    assert parent.counts is not None
    assert (parent.counts.queued, parent.counts.running) == (4, 0)


def test_a_scene_that_dagster_tries_again_is_queued_with_its_time_and_keeps_its_first_error() -> None:
    family, changes = fold_all(BY_NAME["sqlite_retried"].log())
    scene = f"scene_{family.job.id}_002"
    (between,) = [c.job for c in changes if c.job.id == scene and c.job.retry_at_ms is not None]
    assert (between.status, between.attempt, between.progress) == (Status.QUEUED, 2, 0)
    assert between.retry_at_ms == (between.attempts[0].finished_ms or 0) + 1_000
    last = family.children[scene]
    assert [attempt.status for attempt in last.attempts] == [Status.FAILED, Status.DONE]
    assert (last.attempts[0].error or "").startswith("SCENE_FAILED: the encoder was taken away")
    assert (last.status, last.error, last.retry_at_ms) == (Status.DONE, None, None)
    assert family.job.attempt == 1


def test_a_parent_tells_the_next_retry_whatever_other_scenes_do_meanwhile() -> None:
    one, two, three = (f"movie.render_scene[scene_00{number}]" for number in (1, 2, 3))
    watch = watched([event for event in film(3) if not event.step.startswith("movie.render_scene")][:-5])
    told = []
    for kind, step, data in (
        ("started", one, {}), ("started", two, {}), ("retrying", two, {"delay_ms": 500}), ("started", three, {}), ("succeeded", three, {}),
        ("retrying", one, {"delay_ms": 200}), ("restarted", one, {}), ("succeeded", one, {}), ("restarted", two, {}), ("succeeded", two, {}),
    ):  # fmt: skip
        watch.fold(JobEvent(f"step.{kind}", 2_000, step, data))
        told.append(watch.family.job.retry_at_ms)
    assert told == [None, None, 2_500, 2_500, 2_500, 2_200, 2_500, 2_500, None, None]


def test_going_on_from_a_failure_keeps_finished_scenes_and_starting_over_does_not() -> None:
    going_on, over = (fold_all(BY_NAME[f"sqlite_{name}"].log())[0] for name in ("step_killed", "worker_killed"))
    attempts = {child.index: child.attempt for child in going_on.children.values() if child.type == "render.scene"}
    assert sorted(attempts.values()) == [1, 1, 1, 2]
    assert {child.attempt for child in over.children.values() if child.type == "render.scene"} == {2}
    failed = next(child for child in going_on.children.values() if child.attempt == 2 and child.type == "render.scene")
    assert (failed.attempts[0].error or "").startswith("STEP_KILLED")
    assert failed.attempts[0].run_id == going_on.job.attempts[0].run_id
    assert failed.attempts[1].run_id == going_on.job.attempts[1].run_id


def test_a_cancelled_step_is_cancelled_and_not_failed() -> None:
    for name in ("interrupted", "cancelled_by_force"):
        family = fold_all(BY_NAME[f"sqlite_{name}"].log())[0]
        assert {child.status for child in family.children.values() if child.type != "speech.line"} == {Status.CANCELLED}
        assert family.job.cancel_requested_ms is not None
        assert family.job.error is None


def test_another_attempt_with_other_variables_counts_the_scenes_it_has() -> None:
    log = film(4) + [replace(event, data={**event.data, "run": "r1"}) if event.kind == "run.created" else event for event in film(2)]
    family = watched(log).family
    assert family.job.counts is not None
    assert (family.job.status, family.job.counts.total, family.job.counts.succeeded) == (Status.DONE, 2, 2)
    gone = family.children[f"scene_{JOB}_004"]
    assert (gone.status, gone.error) == (Status.CANCELLED, "NOT_PLANNED: this attempt makes no such part")
    assert [attempt.status for attempt in gone.attempts] == [Status.DONE, Status.CANCELLED]
    log += [replace(event, data={**event.data, "run": "r2"}) if event.kind == "run.created" else event for event in film(5)]
    family = watched(log).family
    assert family.job.counts is not None
    assert (family.job.counts.total, family.job.counts.succeeded) == (5, 5)


@pytest.mark.parametrize("cut", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("tape", [tape for tape in TAPES if tape.what in {"success", "scene_failed", "interrupted"}], ids=lambda tape: tape.name)
def test_of_a_log_of_which_only_the_end_is_left_the_end_is_told(tape: Tape, cut: int) -> None:
    first, *events = tape.log()
    job = watched([first, *events[-cut:]]).family.job
    assert (job.status, job.finished_ms) == (EXPECTED[tape.what][0][-1][0], tape.runs[-1][0].ended_ms)


def test_a_run_that_ends_without_a_word_was_killed_or_never_started() -> None:
    start = [created("render.movie"), JobEvent("run.starting", 1_001)]
    assert (fold_all([*start, JobEvent("run.failed", 1_002, data={"error": None})])[0].job.error or "").startswith("RUN_NOT_STARTED: ")
    begun = [*start, JobEvent("run.started", 1_002), JobEvent("run.failed", 1_003, data={"error": None})]
    assert (fold_all(begun)[0].job.error or "").startswith("WORKER_LOST: ")
    told = [*begun[:3], JobEvent("run.failed", 1_003, data={"error": "RUN_FAILED: it took too long"})]
    assert fold_all(told)[0].job.error == "RUN_FAILED: it took too long"


moves = st.lists(st.tuples(st.sampled_from(Status), st.integers(0, 2), st.integers(0, WHOLE)), max_size=12)


@settings(deadline=None)
@given(moves, st.booleans())
def test_no_rule_can_bring_a_family_to_an_illegal_move(wanted: list[tuple[Status, int, int]], child: bool) -> None:
    family = Family(Job(JOB, "render.movie"))
    family.announce()
    family.add_child(Job(f"scene_{JOB}_001", "render.scene", parent_id=JOB), 1)
    family.settle(1)
    for status, more, progress in wanted:
        old = family.children[f"scene_{JOB}_001"] if child else family.job
        values = {"status": status, "attempt": old.attempt + more, "progress": progress}
        if child:
            family.change_child(old.id, 2, **values)
        else:
            family.change(**values)
        family.settle(2)
        new = family.children[f"scene_{JOB}_001"] if child else family.job
        assert new.status is old.status or new.status in LEGAL[old.status]
        assert new.attempt > old.attempt or (new.progress >= old.progress and not (old.status.terminal and new.status is not old.status))


# ---- recordings shaken -----------------------------------------------------------------------------------------------


def interleaved(events: Sequence[JobEvent], dice: random.Random) -> list[JobEvent]:
    """The same events, each step's and the run's own in their order, otherwise anyhow."""
    lanes: dict[str, list[JobEvent]] = {}
    for event in events:
        lanes.setdefault(event.step, []).append(event)
    order = [step for step, lane in lanes.items() for _ in lane]
    dice.shuffle(order)
    turns = {step: iter(lane) for step, lane in lanes.items()}
    return [next(turns[step]) for step in order]


# Steps that may run at the same time: an effect is never logged before its cause.
AT_ONCE = {"movie.mix_film_sound": "movie.render_scene"}


def as_dagster_may(events: Sequence[JobEvent], dice: random.Random) -> list[JobEvent]:
    """Steps that ran side by side interleaved anew."""

    def together(event: JobEvent) -> str:
        op = event.step.partition("[")[0]
        return AT_ONCE.get(op, op)

    return [event for _, part in groupby(events, together) for event in interleaved(list(part), dice)]


def shaken(tape: Tape, dice: random.Random) -> list[JobEvent]:
    """Interleaved, with gaps, and with events told twice."""
    log: list[JobEvent] = []
    for first, *events in tape.attempts():
        mixed = interleaved(events, dice) if dice.random() < 0.8 else list(events)
        if mixed and dice.random() < 0.5:
            begin_, end = sorted(dice.randrange(len(mixed) + 1) for _ in range(2))
            mixed = mixed[:begin_] + mixed[end:] if dice.random() < 0.5 else mixed[begin_:end]
        for _ in range(dice.choice((0, 0, 1, 5))):
            if mixed:
                twice = dice.choice(mixed)
                mixed.insert(dice.randrange(len(mixed) + 1), twice)
        log += [first, *mixed]
    return log[: dice.randrange(1, len(log) + 1)] if dice.random() < 0.5 else log


@settings(max_examples=150, deadline=None)
@given(any_tape, seeds)
def test_shuffled_cut_and_repeated_a_recording_never_breaks_a_rule(tape: Tape, seed: int) -> None:
    dice = random.Random(seed)
    watched(shaken(tape, dice))


@settings(max_examples=50, deadline=None)
@given(any_tape, st.data())
def test_every_prefix_of_a_recording_is_a_job(tape: Tape, data: st.DataObject) -> None:
    log = tape.log()
    cut = data.draw(st.integers(1, len(log)))
    watch = watched(log[:cut])
    # What was told of it stays told: the rest only adds to it.
    assert fold_all(log)[1][: len(watch.changes)] == watch.changes


def essence(family: Family) -> dict[str, Job]:
    """A family but for the times and numbers at which things were told."""
    jobs = {family.job.id: family.job, **family.children}
    return {name: replace(job, sequence=0, updated_ms=0, created_ms=0) for name, job in sorted(jobs.items())}


@settings(max_examples=50, deadline=None)
@given(any_tape, seeds)
def test_in_whatever_order_steps_were_logged_the_job_ends_the_same(tape: Tape, seed: int) -> None:
    dice = random.Random(seed)
    log = [event for first, *events in tape.attempts() for event in (first, *as_dagster_may(events, dice))]
    assert essence(watched(log).family) == essence(fold_all(tape.log())[0])


@settings(max_examples=50, deadline=None)
@given(any_tape, seeds)
def test_told_twice_in_a_row_nothing_changes(tape: Tape, seed: int) -> None:
    dice = random.Random(seed)
    log = tape.log()
    twice = [again for event in log for again in ([event, event] if dice.random() < 0.3 else [event])]
    assert fold_all(twice)[1] == fold_all(log)[1]


@settings(max_examples=60, deadline=None)
@given(any_tape, seeds)
def test_kept_and_taken_up_again_anywhere_the_rest_is_the_same(tape: Tape, seed: int) -> None:
    """Replay from any sequence gives the same suffix: in chunks, over JSON and back, and from a copy."""
    dice = random.Random(seed)
    log = shaken(tape, dice)
    family, changes = fold_all(log)
    other, told = begin(log[0])
    place = 1
    while place < len(log):
        size = dice.choice((1, 2, 7, 50))
        told += feed(other, log[place : place + size])
        place += size
        how = dice.random()
        if how < 0.4:
            other = Family.from_json(json.loads(json.dumps(other.to_json())))
        elif how < 0.6:
            kept = states(other)
            copy = other.copy()
            feed(copy, log[:20])
            assert states(other) == kept
    assert told == changes
    assert states(other) == states(family)
    after = dice.randrange(len(changes) + 1)
    assert [change for change in told if change.sequence > after] == changes[after:]


# ---- logs that nobody recorded ---------------------------------------------------------------------------------------

STEPS = st.one_of(
    st.sampled_from(
        ["", "movie.plan_film", "movie.render_scene[scene_001]", "movie.render_scene[scene_002]", "movie.render_scene[scene_003]",
         "movie.render_scene[scene_1000]", "movie.assemble_film", "movie.finalize_film", "movie.mix_film_sound", "narration.find_lines",
         "narration.speak_line[line_001]", "narration.speak_line[line_002]", "narration.gather_narration"]
    ),
    st.sampled_from(["movie.render_scene", "movie.render_scene[]", "movie.render_scene[scene_x]", "movie.assemble_film[scene_001]", "[", "a[b]c", "x.y"]),
    st.text(max_size=12),
)  # fmt: skip
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=8), st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
)  # fmt: skip


def usually(*values: Any) -> st.SearchStrategy[Any]:
    return st.one_of(st.sampled_from(values), st.sampled_from(values), st.sampled_from(values), JUNK)


FACTS = st.fixed_dictionaries(
    {},
    optional={
        "scenes": usually(0, 1, 3), "frames": usually(1, 15, 300), "scene": usually("s0", ""), "cache": usually("hit", "miss"), "key": usually("outputs/x.mp4"),
        "duration_s": usually(1.5), "width": usually(360), "height": usually(640), "size_bytes": usually(123),
    },
)  # fmt: skip
DATA = st.fixed_dictionaries(
    {},
    optional={
        "run": usually("r1", "r2", "r3", "r4"), "resume": usually(True, False), "error": usually("BAD: it broke", None), "delay_ms": usually(0, 500),
        "pool": usually("ffmpeg"), "done": usually(0, 5, 15, 99), "total": usually(15, 0), "text": usually("frame 5"),
        "output": usually("plan", "scenes", "film", "result"), "mapping": usually(None, "scene_001", "scene_002", "line_001"),
        "facts": st.one_of(FACTS, FACTS, FACTS, JUNK),
    },
)  # fmt: skip
KINDS = st.sampled_from(sorted(run_rules.KINDS))
EVENTS = st.lists(st.builds(JobEvent, KINDS, st.integers(900, 5_000), STEPS, DATA), max_size=60)


def created(kind: str, run: str = "r0") -> JobEvent:
    return JobEvent("run.created", 1_000, data={"run": run, "job": JOB, "type": kind, "workspace": "w", "payload": {"projectId": "p"}, "resume": False})


@settings(max_examples=250, deadline=None)
@given(st.sampled_from(["render.movie", "speech.narrate", "workflow.run"]), EVENTS)
def test_whatever_a_log_says_no_rule_is_broken(kind: str, events: list[JobEvent]) -> None:
    watched([created(kind), *events])


@settings(max_examples=80, deadline=None)
@given(any_tape, st.data())
def test_what_is_no_event_of_a_run_changes_nothing(tape: Tape, data: st.DataObject) -> None:
    log = tape.log()
    family, _ = fold_all(log[: data.draw(st.integers(1, len(log)))])
    kept = states(family)
    known = ["report.created", "report.progress", "report.completed", "report.failed", "report.cancelled", "report.retried", "report.child_created"]
    kind = data.draw(st.one_of(st.sampled_from(known), st.text(max_size=12).filter(lambda text: text not in run_rules.KINDS)))
    step = data.draw(st.one_of(STEPS, st.sampled_from([*family.children, ""])))
    assert fold(family, JobEvent(kind, data.draw(st.integers(0, 2**45)), step, data.draw(DATA))) == []
    assert states(family) == kept


# ---- what it costs ---------------------------------------------------------------------------------------------------


def film(scenes: int) -> list[JobEvent]:
    """The log of a film as the recorded ones are, of so many scenes."""
    log = [created("render.movie"), JobEvent("run.starting", 1_001), JobEvent("run.started", 1_002), JobEvent("step.started", 1_003, "movie.plan_film")]
    log.append(JobEvent("step.output", 1_004, "movie.plan_film", {"output": "plan", "mapping": None, "facts": {"scenes": scenes, "frames": 15 * scenes}}))
    steps = [f"movie.render_scene[scene_{number:03d}]" for number in range(1, scenes + 1)]
    for number in range(1, scenes + 1):
        facts = {"scene": f"s{number}", "frames": 15}
        log.append(JobEvent("step.output", 1_005, "movie.plan_film", {"output": "scenes", "mapping": f"scene_{number:03d}", "facts": facts}))
    log.append(JobEvent("step.succeeded", 1_006, "movie.plan_film"))
    for step in steps:
        log.append(JobEvent("step.started", 1_007, step))
        log += [JobEvent("step.progress", 1_008, step, {"done": done, "total": 15, "text": f"frame {done} of 15"}) for done in (4, 9, 15)]
        log.append(JobEvent("step.output", 1_009, step, {"output": "result", "mapping": None, "facts": {"cache": "miss"}}))
        log.append(JobEvent("step.succeeded", 1_010, step))
    for step in ("movie.assemble_film", "movie.finalize_film"):
        log += [JobEvent("step.started", 1_011, step), JobEvent("step.succeeded", 1_012, step)]
    return [*log, JobEvent("run.succeeded", 1_013)]


def operations(family: Family, event: JobEvent) -> int:
    """How many operations Python carries out to fold this event."""
    count = 0

    def trace(frame: FrameType, what: str, _arg: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes = True
        count += what == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        fold(family, event)
    finally:
        sys.settrace(before)
    return count


def cost(scenes: int) -> tuple[dict[str, int], int]:
    """The dearest event of each kind, and what those two cost together that concern every scene: the plan, and the run's end."""
    first, *events = film(scenes)
    family, _ = begin(first)
    dearest: dict[str, int] = {}
    everything = 0
    looked_at = {"", "movie.plan_film", "movie.assemble_film", "movie.finalize_film"}
    looked_at |= {f"movie.render_scene[scene_{number:03d}]" for number in (1, scenes // 2, scenes)}
    for event in events:
        if event.step not in looked_at or event.data.get("mapping") not in {None, "scene_001", f"scene_{scenes:03d}"}:
            fold(family, event)
            continue
        spent = operations(family, event)
        name = f"{event.kind} {event.data.get('output', '')}"
        if name in {"step.output plan", "run.succeeded "}:
            everything += spent
        else:
            dearest[name] = max(spent, dearest.get(name, 0))
    assert family.job.status is Status.DONE
    return dearest, everything


def test_an_event_costs_the_same_in_a_film_of_20_scenes_and_of_200() -> None:
    (small, all_small), (large, all_large) = cost(20), cost(200)
    assert small.keys() == large.keys()
    assert len(small) >= 7
    assert {name: spent for name, spent in large.items() if spent > 1.02 * small[name] + 10} == {}
    assert all_large < 10.5 * all_small
