"""The promises of the board: whoever asks, whenever, with whatever kept or forgotten, is told the same.

Over an engine in the test's hand that tells real recordings bit by bit; over Dagster itself: test_board_dagster.py.
"""

from __future__ import annotations

import contextlib
import json
import random
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from tests.engines import Engine, Recorded
from tests.recordings.tape import tapes
from viralsync_pipelines.board import folds
from viralsync_pipelines.board.board import Board
from viralsync_pipelines.board.sources import Query, RunFacts
from viralsync_pipelines.jobs.fold import VERSION
from viralsync_pipelines.jobs.model import Change, Job
from viralsync_pipelines.jobs.view import iso, job_object
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.snapshots import KeptEnds, forget
from viralsync_pipelines.storage.tables import snapshots

TAPES = {tape.name: tape for tape in tapes() if tape.name.startswith("sqlite_")}
seeds = st.integers(0, 2**32)
Place = tuple[int, str] | None


class Shelf:
    """Snapshots in a dictionary, as bytes."""

    def __init__(self) -> None:
        self.rows: dict[str, tuple[str, bytes, int]] = {}

    def load(self, job_ids: Sequence[str], version: int) -> Mapping[str, tuple[str, bytes]]:
        return {job: self.rows[job][:2] for job in job_ids if job in self.rows and self.rows[job][2] == version}

    def save(self, rows: Iterable[tuple[str, str, bytes]], version: int) -> None:
        self.rows.update({job: (runs, state, version) for job, runs, state in rows})


def board_over(engine: Engine, kept: Shelf | None = None) -> Board:
    return Board(engine, engine.clock, snapshots=kept)


def everything(board: Board, query: Query) -> list[Job]:
    """All pages of a list."""
    found: list[Job] = []
    while True:
        jobs, place = board.newest(query)
        found += jobs
        if place is None:
            return found
        query = replace(query, before=place)


def told(board: Board, job: Job | None) -> str:
    return json.dumps(job_object(job, board.surroundings(job)) if job is not None else None)


# ---- lists -----------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_pages_show_every_job_once_while_new_ones_come_in_between(seed: int) -> None:
    dice = random.Random(seed)
    engine = Engine()
    board = board_over(engine)
    refused = TAPES["sqlite_refused"]
    for number in range(dice.randrange(40)):
        engine.tell(engine.add(refused, number), dice.randrange(12))
    there = set(engine.runs)
    query = Query("default", limit=dice.randrange(1, 9))
    seen: list[Job] = []
    while True:
        jobs, place = board.newest(query)
        seen += jobs
        assert len(jobs) <= query.limit
        if place is None:
            break
        query = replace(query, before=place)
        if dice.random() < 0.5:
            engine.tell(engine.add(refused, 1_000 + len(engine.runs)), dice.randrange(12))
            engine.wait()
    assert {f"job_{number:012x}" for number in range(len(there))} == {job.id for job in seen}
    assert len(seen) == len(there)
    assert [(job.created_ms, job.id) for job in seen] == sorted(((job.created_ms, job.id) for job in seen), reverse=True)


def test_jobs_made_in_the_same_millisecond_are_all_shown() -> None:
    engine = Engine()
    for number in dice_order(range(20)):
        run = engine.add(TAPES["sqlite_refused"], number)
        run.facts = replace(run.facts, created_ms=5_000)
    board = board_over(engine)
    seen = everything(board, Query("default", limit=3))
    assert [job.id for job in seen] == sorted((f"job_{number:012x}" for number in range(20)), reverse=True)


def dice_order(numbers: Iterable[int]) -> list[int]:
    shuffled = list(numbers)
    random.Random(7).shuffle(shuffled)
    return shuffled


def mixed_engine() -> Engine:
    """Thirty jobs of several kinds, projects and workspaces, in all states."""
    engine = Engine()
    kinds = ["sqlite_success", "sqlite_scene_failed", "sqlite_cancelled_in_queue", "sqlite_narrated_in_ui", "sqlite_pool_wait"]
    for number in range(30):
        tape = TAPES[kinds[number % len(kinds)]]
        run = engine.add(
            tape, number, project_id=f"proj_{number % 3}", channel="main" if number % 2 else None, workspace="other" if number % 7 == 5 else "default",
            parent_id=f"job_{0:012x}" if number in {11, 13, 19} else None,
        )  # fmt: skip
        engine.tell(run, None if number % 4 else 20)
        engine.wait(10_000)
    return engine


@cache
def mixed_board() -> tuple[Engine, Board]:
    engine = mixed_engine()
    return engine, board_over(engine)


def fits(job: Job, facts: RunFacts, query: Query) -> bool:
    domain = job.type.partition(".")[0]
    return (
        job.workspace == query.workspace
        and job.parent_id is None
        and (query.types is None or job.type in query.types or domain in query.types)
        and (query.statuses is None or job.status.value in query.statuses)
        and (query.project_id is None or facts.project_id == query.project_id)
        and (query.channel is None or facts.channel == query.channel)
        and (query.from_ms is None or job.created_ms >= query.from_ms)
        and (query.to_ms is None or job.created_ms < query.to_ms)
    )


@settings(max_examples=120, deadline=None)
@given(
    st.builds(
        Query,
        workspace=st.sampled_from(["default", "other", "nobody"]),
        types=st.none() | st.frozensets(st.sampled_from(["render.movie", "speech.narrate", "render", "speech", "publish", "workflow.run"]), min_size=1),
        statuses=st.none() | st.frozensets(st.sampled_from(["queued", "running", "waiting", "done", "failed", "cancelled"]), min_size=1),
        project_id=st.sampled_from([None, "proj_0", "proj_1", "proj_9"]),
        channel=st.sampled_from([None, None, "main", "else"]),
        from_ms=st.none() | st.integers(1_800_000_000_000, 1_800_000_300_000),
        to_ms=st.none() | st.integers(1_800_000_000_000, 1_800_000_300_000),
        limit=st.integers(1, 12),
    )
)  # fmt: skip
def test_a_filter_shows_what_fits_and_nothing_else(query: Query) -> None:
    engine, board = mixed_board()
    facts = {run.facts.job_id: run.facts for run in engine.runs.values()}
    jobs = {name: board.find(name) for name in facts}
    wanted = {name for name, job in jobs.items() if job is not None and fits(job, facts[name], query)}
    shown = everything(board, query)
    assert {job.id for job in shown} == wanted
    assert len(shown) == len(wanted)
    assert all(job == jobs[job.id] for job in shown)


@pytest.mark.parametrize("kinds", [{"render.scene"}, {"render.assemble", "render.finalize"}, {"speech.line"}])
@pytest.mark.parametrize("limit", [1, 4, 100])
def test_steps_are_listed_by_their_type(kinds: set[str], limit: int) -> None:
    engine = mixed_engine()
    board = board_over(engine)
    steps = []
    for run in engine.runs.values():
        if run.facts.workspace == "default":
            steps += [child for child in board.children(run.facts.job_id) if child.type in kinds and child.id.count("job_") and child.step]
    shown = everything(board, Query("default", types=frozenset(kinds), limit=limit))
    # Those of jobs that belong to a job are found by their parent.
    top = {run.facts.job_id for run in engine.runs.values() if run.facts.parent_id is None}
    assert sorted(job.id for job in shown) == sorted({step.id for step in steps if step.parent_id in top})


def test_children_of_a_job_are_its_steps_in_the_films_order_and_jobs_of_its_workspace_that_name_it() -> None:
    engine = mixed_engine()
    board = board_over(engine)
    parent = f"job_{0:012x}"
    engine.finish(next(iter(engine.runs.values())))
    engine.wait()
    children = board.children(parent)
    assert [child.id.removesuffix(parent) if parent in child.id else child.id for child in children][-4:] == [
        "assemble_", "finalize_", f"job_{11:012x}", f"job_{13:012x}",
    ]  # fmt: skip
    assert [child.index for child in children if child.type == "render.scene"] == [0, 1, 2]
    shown = everything(board, Query("default", parent=parent, limit=3))
    assert sorted(job.id for job in shown) == sorted(child.id for child in children)
    only = everything(board, Query("default", parent=parent, types=frozenset({"render.scene"}), statuses=frozenset({"done"})))
    assert [job.type for job in only] == ["render.scene"] * 3
    assert everything(board, Query("other", parent=parent)) == []


def test_a_filter_that_hardly_anything_fits_gives_short_pages_and_a_place_to_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("viralsync_pipelines.board.lists._MOST_LOOKED_AT", 10)
    monkeypatch.setattr("viralsync_pipelines.board.lists._CHUNK", 4)
    engine = Engine()
    for number in range(50):
        engine.finish(engine.add(TAPES["sqlite_refused" if number else "sqlite_narrated_in_ui"], number))
    board = board_over(engine)
    jobs, place = board.newest(Query("default", types=frozenset({"render", "speech"}), statuses=frozenset({"failed"}), limit=100))
    assert (len(jobs), place is None) == (12, False)
    # Nothing fits until the very first job, which is found all the same. Its type is known from the record: no log is read for it.
    found = everything(board, Query("default", types=frozenset({"speech.line"}), limit=5))
    assert len(found) == 2


# ---- nothing that is kept changes an answer --------------------------------------------------------------------------


def replies(board: Board, engine: Engine, jobs: Sequence[str]) -> dict[str, Any]:
    """Whatever the board can be asked."""
    said: dict[str, Any] = {}
    for name in jobs:
        said[name] = told(board, board.find(name))
        said[f"children {name}"] = [told(board, child) for child in board.children(name)]
        said[f"changes {name}"] = [(c.sequence, c.name, told(board, c.job)) for c in board.changes(name)]
    said["list"] = [told(board, job) for job in everything(board, Query("default", limit=3))]
    said["scenes"] = [told(board, job) for job in everything(board, Query("default", types=frozenset({"render.scene"}), limit=5))]
    said["failed"] = [job.id for job in everything(board, Query("default", statuses=frozenset({"failed"}), limit=2))]
    said["active"] = sorted(entry.job_id for entry in board.active())
    said["changed"] = [entry.job_id for entry in board.changed_since(engine.now_ms - 50_000)]
    return said


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_dropping_anything_kept_at_any_moment_changes_no_reply(seed: int) -> None:
    dice = random.Random(seed)
    engine, kept = Engine(page=dice.choice((1, 5, 1_000))), Shelf()
    board = board_over(engine, kept)
    tried: dict[int, tuple[str, int]] = {}
    for _ in range(dice.randrange(5, 40)):
        move = dice.random()
        engine.wait(dice.choice((50, 200, 3_000)))
        if move < 0.25:
            number, tape = len(tried), dice.choice(list(TAPES))
            engine.add(TAPES[tape], number, project_id=None)
            tried[number] = (tape, 1)
        elif move < 0.35 and tried:
            number = dice.choice(list(tried))
            tape, attempts = tried[number]
            if attempts < len(TAPES[tape].runs):
                engine.add(TAPES[tape], number, attempt=attempts)
                tried[number] = (tape, attempts + 1)
        elif move < 0.7 and engine.runs:
            engine.tell(dice.choice(list(engine.runs.values())), dice.choice((1, 5, 30, None)))
        elif move < 0.74 and engine.runs:
            engine.delete(dice.choice(list(engine.runs)))
            engine.wait()
        elif move < 0.82:
            board.forget()
        elif move < 0.9:
            kept.rows.clear()
        elif tried:
            board.find(f"job_{dice.choice(list(tried)):012x}")
            board.newest(Query("default", limit=4))
    jobs = [f"job_{number:012x}" for number in tried]
    engine.wait()
    first = replies(board, engine, jobs)
    assert replies(board_over(engine), engine, jobs) == first
    assert replies(board_over(engine, kept), engine, jobs) == first
    board.forget()
    assert replies(board, engine, jobs) == first
    kept.rows.clear()
    board.forget()
    assert replies(board, engine, jobs) == first


@settings(max_examples=60, deadline=None)
@given(seeds)
def test_two_readers_at_different_moments_give_every_change_the_same_number(seed: int) -> None:
    """As two gateways, one of which began to follow later and lost its memory in between."""
    dice = random.Random(seed)
    tape = TAPES[dice.choice(["sqlite_success", "sqlite_retried", "sqlite_worker_killed", "sqlite_cancelled", "sqlite_step_killed"])]
    engine, kept = Engine(page=dice.choice((1, 3, 1_000))), Shelf()
    boards = [board_over(engine), board_over(engine, kept)]
    heard: list[list[Change]] = [[], []]
    job = f"job_{1:012x}"
    runs: list[Recorded] = []
    while len(runs) < len(tape.runs) or not all(run.over for run in runs):
        if len(runs) < len(tape.runs) and dice.random() < 0.3:
            # It may be tried again before the end of the first try is known.
            runs.append(engine.add(tape, 1, attempt=len(runs)))
        for run in runs:
            engine.tell(run, dice.randrange(6))
        engine.wait(dice.choice((20, 150, 1_500)))
        reader = dice.randrange(2)
        if dice.random() < 0.2:
            boards[reader].forget()
        last = heard[reader][-1].sequence if heard[reader] else 0
        if dice.random() < 0.5:
            heard[reader] += boards[reader].changes(job, last)
        else:
            heard[reader] += boards[reader].poll([job], {job: last}).get(job, [])
    engine.wait()
    for reader in (0, 1):
        heard[reader] += boards[reader].changes(job, heard[reader][-1].sequence if heard[reader] else 0)
    assert heard[0] == heard[1] == board_over(engine).changes(job)
    assert [change.sequence for change in heard[0]] == list(range(1, len(heard[0]) + 1))
    assert heard[0][-1].job == boards[0].find(job)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_a_database_that_fails_in_the_middle_costs_no_change(seed: int) -> None:
    dice = random.Random(seed)
    engine = Engine(page=3)
    tape = TAPES[dice.choice(["sqlite_retried", "sqlite_worker_killed", "sqlite_refused"])]
    for attempt in range(len(tape.runs)):
        engine.add(tape, 1, attempt=attempt)
    board, job = board_over(engine), f"job_{1:012x}"
    heard: list[Change] = []

    def falter() -> None:
        if dice.random() < 0.2:
            raise ConnectionError

    while True:
        over = all(run.over for run in engine.runs.values())
        for run in engine.runs.values():
            engine.tell(run, dice.randrange(20))
        engine.wait(1_500)
        engine.falters = None if over else falter
        with contextlib.suppress(ConnectionError):
            heard += board.changes(job, heard[-1].sequence if heard else 0)
        if over:
            break
    assert heard == board_over(engine).changes(job)


def test_a_follower_that_lags_far_behind_is_told_everything_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folds, "_RING", 10)
    engine = Engine()
    run = engine.add(TAPES["sqlite_success"], 1)
    board = board_over(engine)
    heard: list[Change] = []
    while not run.over:
        engine.tell(run, 3)
        engine.wait()
        heard += board.changes(run.facts.job_id, heard[-1].sequence if heard else 0)
    assert board.changes(run.facts.job_id) == heard
    for after in range(len(heard) + 1):
        assert board.changes(run.facts.job_id, after) == heard[after:]


def test_a_deleted_job_is_gone_within_a_second_and_one_of_its_runs_alone_is_too() -> None:
    engine, kept = Engine(), Shelf()
    board = board_over(engine, kept)
    tape = TAPES["sqlite_worker_killed"]
    first, second = engine.add(tape, 1), engine.add(tape, 1, attempt=1)
    other = engine.add(tape, 2)
    for run in (first, second, other):
        engine.finish(run)
    engine.wait()
    job = f"job_{1:012x}"
    assert (board.find(job) or Job("", "")).attempt == 2
    engine.delete(second.facts.run_id)
    engine.wait(1_000)
    again = board.find(job)
    assert again is not None
    assert (again.attempt, again.status) == (1, "failed")
    engine.delete(first.facts.run_id)
    engine.wait(1_000)
    assert board.find(job) is None
    assert board.changes(job) == []
    assert [found.id for found in everything(board, Query("default"))] == [f"job_{2:012x}"]
    # One that this very process deleted is gone at once.
    engine.delete(other.facts.run_id)
    board.drop(f"job_{2:012x}")
    assert board.newest(Query("default")) == ([], None)


def test_ended_jobs_are_not_read_again_and_living_ones_only_when_something_was_logged() -> None:
    engine, kept = Engine(page=1_000), Shelf()
    board = board_over(engine, kept)
    ended, living = engine.add(TAPES["sqlite_success"], 1), engine.add(TAPES["sqlite_success"], 2)
    engine.finish(ended)
    engine.tell(living, 20)
    engine.wait()
    for run in (ended, living):
        assert board.find(run.facts.job_id) is not None
    before = engine.calls["events"]
    for _ in range(5):
        engine.wait()
        assert board.find(ended.facts.job_id) is not None
        assert board.find(living.facts.job_id) is not None
        assert board.poll([ended.facts.job_id, living.facts.job_id], {ended.facts.job_id: 1_000, living.facts.job_id: 1_000}) == {}
    assert engine.calls["events"] == before
    # Another process, which finds the end kept, does not read it at all.
    other = board_over(engine, kept)
    assert told(other, other.find(ended.facts.job_id)) == told(board, board.find(ended.facts.job_id))
    assert engine.calls["events"] == before
    engine.tell(living, 1)
    engine.wait()
    assert board.find(living.facts.job_id) is not None
    assert engine.calls["events"] == before + 1


def test_an_end_that_was_kept_is_not_taken_for_that_of_a_later_try() -> None:
    engine, kept = Engine(), Shelf()
    tape = TAPES["sqlite_worker_killed"]
    first = engine.add(tape, 1)
    engine.finish(first)
    assert (board_over(engine, kept).find(first.facts.job_id) or Job("", "")).status == "failed"
    second = engine.add(tape, 1, attempt=1)
    assert (board_over(engine, kept).find(first.facts.job_id) or Job("", "")).status == "queued"
    engine.finish(second)
    board = board_over(engine, kept)
    assert (board.find(first.facts.job_id) or Job("", "")).status == "done"
    assert [run.run_id for run in (board.find(first.facts.job_id) or Job("", "")).attempts] == [first.facts.run_id, second.facts.run_id]
    engine.delete(second.facts.run_id)
    assert (board_over(engine, kept).find(first.facts.job_id) or Job("", "")).status == "failed"


def test_ends_kept_by_other_rules_are_folded_anew() -> None:
    engine, kept = Engine(), Shelf()
    run = engine.add(TAPES["sqlite_success"], 1)
    engine.finish(run)
    board_over(engine, kept).find(run.facts.job_id)
    runs, _, version = kept.rows[run.facts.job_id]
    assert version == VERSION
    kept.rows[run.facts.job_id] = (runs, b"of another version", version + 1)
    job = board_over(engine, kept).find(run.facts.job_id)
    assert job is not None
    assert job.status == "done"


def test_many_threads_that_share_a_board_see_whole_jobs_whose_numbers_only_rise() -> None:
    engine = Engine(page=3)
    board = board_over(engine)
    runs = [engine.add(TAPES["sqlite_success"], number) for number in range(4)]
    faults: list[BaseException] = []
    over = threading.Event()

    def read() -> None:
        seen: dict[str, int] = {}
        heard: dict[str, int] = {}
        try:
            while not over.is_set():
                for number in range(4):
                    name = f"job_{number:012x}"
                    job = board.find(name)
                    assert job is not None
                    assert job.counts is not None
                    assert job.sequence >= seen.get(name, 0)
                    seen[name] = job.sequence
                    board.children(name)
                    for change in board.changes(name, heard.get(name, 0)):
                        assert change.sequence == heard.get(name, 0) + 1
                        heard[name] = change.sequence
                board.newest(Query("default", limit=2))
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    while not all(run.over for run in runs):
        for run in runs:
            engine.tell(run, 2)
        engine.wait(150)
        time.sleep(0.005)
    over.set()
    for thread in threads:
        thread.join()
    assert faults == []
    engine.wait()
    assert {job.status.value for job in everything(board, Query("default"))} == {"done"}


# ---- places in the queue, durations ----------------------------------------------------------------------------------


def test_the_queue_is_in_the_order_in_which_dagster_takes_runs() -> None:
    engine = Engine()
    board = board_over(engine)
    order = [("a", 0, "default"), ("b", 5, "default"), ("c", -5, "default"), ("d", 0, "default"), ("e", 5, "gpu"), ("f", 5, "default")]
    runs = {}
    for number, (name, priority, queue) in enumerate(order):
        runs[name] = engine.add(TAPES["sqlite_success"], number, priority=priority, queue=queue)

    def places() -> dict[str, tuple[int, int, str] | None]:
        engine.wait()
        found = {}
        for name, run in runs.items():
            job = board.find(run.facts.job_id)
            assert job is not None
            queue = board.surroundings(job).queue
            found[name] = (queue["position"], queue["total"], queue["queueName"]) if queue is not None else None
        return found

    assert places() == {
        "b": (1, 5, "default"), "f": (2, 5, "default"), "a": (3, 5, "default"), "d": (4, 5, "default"), "c": (5, 5, "default"), "e": (1, 1, "gpu"),
    }  # fmt: skip
    engine.tell(runs["b"], 2)
    engine.delete(runs["a"].facts.run_id)
    runs.pop("a")
    assert places() == {"b": None, "f": (1, 3, "default"), "d": (2, 3, "default"), "c": (3, 3, "default"), "e": (1, 1, "gpu")}


@settings(max_examples=50, deadline=None)
@given(seeds)
def test_durations_are_of_the_last_fifty_of_the_type_and_size_in_whatever_order_they_were_seen(seed: int) -> None:
    dice = random.Random(seed)
    engine = Engine()
    board = board_over(engine)
    took: list[tuple[int, int, str]] = []
    for number in range(dice.randrange(70)):
        tape = TAPES[dice.choice(["sqlite_success", "sqlite_refused", "sqlite_narrated_in_ui"])]
        size = dice.choice((None, 100, 127, 128, 1_000))
        run = engine.add(tape, number, size=size)
        if dice.random() < 0.9:
            engine.finish(run)
            run.facts = replace(run.facts, started_ms=1_000, ended_ms=2_000 + dice.randrange(10**6))
        if run.facts.status == "SUCCESS" and run.facts.type == "render.movie":
            took.append((run.facts.ended_ms or 0, size or 0, run.facts.run_id))
        if dice.random() < 0.3:
            board.sync(force=True)
        if took and dice.random() < 0.1:
            gone = took.pop(dice.randrange(len(took)))
            board.sync(force=True)
            job = engine.runs[gone[2]].facts.job_id
            engine.delete(gone[2])
            board.drop(job)
    board.sync(force=True)
    alike = [ended - 1_000 for ended, size, _ in sorted(took, key=lambda each: (each[0], each[2])) if 64 <= size < 128][-50:]
    every = [ended - 1_000 for ended, _, _ in sorted(took, key=lambda each: (each[0], each[2]))][-50:]
    assert board._index.durations("render.movie", 100) == (alike if len(alike) >= 3 else every)
    assert board._index.durations("publish.youtube", None) == []


def test_an_estimate_is_shown_while_a_job_goes_on_and_not_afterwards() -> None:
    engine = Engine()
    for number in range(5):
        engine.finish(engine.add(TAPES["sqlite_success"], number, size=39))
    run = engine.add(TAPES["sqlite_success"], 9, size=39)
    board = board_over(engine)
    queued = board.find(run.facts.job_id)
    assert queued is not None
    shown = job_object(queued, board.surroundings(queued))
    past = board._index.durations("render.movie", 39)
    assert shown["eta"]["basis"] == 5
    assert shown["eta"]["at"] == shown["estimatedCompletionAt"] == iso(engine.now_ms + past[2])
    engine.finish(run)
    engine.wait()
    done = board.find(run.facts.job_id)
    assert done is not None
    assert job_object(done, board.surroundings(done))["eta"] is None


def test_a_list_of_ten_thousand_jobs_reads_no_more_logs_than_it_shows() -> None:
    engine = Engine()
    for number in range(10_000):
        run = engine.add(TAPES["sqlite_refused"], number, project_id=f"proj_{number % 100}")
        run.told, run.facts = len(run.events), replace(run.facts, status="FAILURE", ended_ms=engine.now_ms)
    board = board_over(engine)
    board.sync()
    for query in (Query("default"), Query("default", project_id="proj_7"), Query("default", statuses=frozenset({"failed"}))):
        engine.calls.clear()
        jobs, place = board.newest(query)
        assert (len(jobs), place is not None) == (25, True)
        assert engine.calls.get("events", 0) <= 2 * 64
    engine.calls.clear()
    assert board.newest(Query("default", statuses=frozenset({"done"}))) == ([], None)
    assert "events" not in engine.calls


# ---- ends kept in a database -----------------------------------------------------------------------------------------


def test_kept_ends_are_replaced_and_found_by_version(database: Database) -> None:
    kept = KeptEnds(database, lambda: 1_234)
    state = bytes(range(256)) * 500
    kept.save([("job_1", "r1", state), ("job_2", "r2", b"")], 1)
    kept.save([("job_1", "r1,r3", b"newer"), ("job_3", "r4", b"x")], 2)
    assert kept.load(["job_1", "job_2", "job_3", "job_4"], 1) == {"job_2": ("r2", b"")}
    assert kept.load(["job_1", "job_2", "job_3"], 2) == {"job_1": ("r1,r3", b"newer"), "job_3": ("r4", b"x")}
    assert kept.load([], 2) == {}
    kept.save([("job_5", "r5", state)], 2)
    assert kept.load(["job_5"], 2)["job_5"] == ("r5", state)
    with database.reading() as connection:
        assert {row.saved_ms for row in connection.execute(select(snapshots.c.saved_ms))} == {1_234}
    forget(database, "job_1")
    assert set(kept.load(["job_1", "job_3"], 2)) == {"job_3"}
    forget(database)
    assert kept.load(["job_3", "job_5"], 2) == {}


def test_processes_that_keep_the_same_ends_at_once_do_not_hinder_each_other(database: Database) -> None:
    faults: list[BaseException] = []

    def save(mine: int) -> None:
        try:
            for turn in range(15):
                # In different orders, some of them the same.
                jobs = [f"job_{(turn * 3 + each) % 20}" for each in range(10)]
                KeptEnds(database, lambda: 1).save([(job, f"r{mine}", b"x" * 2_000) for job in (jobs if mine % 2 else jobs[::-1])], VERSION)
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=save, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(KeptEnds(database, lambda: 1).load([f"job_{number}" for number in range(20)], VERSION)) == 20


def test_a_board_over_a_database_of_kept_ends_says_what_one_without_says(database: Database) -> None:
    engine = Engine()
    for number, tape in enumerate(TAPES.values()):
        for attempt in range(len(tape.runs)):
            engine.finish(engine.add(tape, number, attempt=attempt))
    jobs = [f"job_{number:012x}" for number in range(len(TAPES))]
    engine.wait()
    expected = replies(board_over(engine), engine, jobs)
    for _ in range(2):
        board = Board(engine, engine.clock, snapshots=KeptEnds(database, engine.clock))
        assert replies(board, engine, jobs) == expected
    with database.reading() as connection:
        kept = {row.job_id: len(row.state) for row in connection.execute(select(snapshots.c.job_id, snapshots.c.state))}
    assert set(kept) == set(jobs)
    assert max(kept.values()) < 3_000
