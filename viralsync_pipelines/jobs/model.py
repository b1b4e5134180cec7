"""The Job and what it is folded from: plain values that every door shows in the same way.

What belongs here: statuses, events, the job as it stands after an event, a change of it. What does not: rules, wire names, I/O.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Status(StrEnum):
    """The six statuses of every job."""

    #: Accepted, no work done yet; also between two attempts.
    QUEUED = "queued"
    #: At work itself.
    RUNNING = "running"
    #: At work through its children, or held up by a pool or a provider.
    WAITING = "waiting"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in _TERMINAL


_TERMINAL = frozenset({Status.DONE, Status.FAILED, Status.CANCELLED})

LEGAL: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.RUNNING, Status.WAITING, Status.FAILED, Status.CANCELLED}),
    Status.RUNNING: frozenset({Status.WAITING, Status.DONE, Status.FAILED, Status.CANCELLED, Status.QUEUED}),
    Status.WAITING: frozenset({Status.RUNNING, Status.DONE, Status.FAILED, Status.CANCELLED, Status.QUEUED}),
    Status.DONE: frozenset({Status.QUEUED}),
    Status.FAILED: frozenset({Status.QUEUED}),
    Status.CANCELLED: frozenset({Status.QUEUED}),
}
"""Where a job may go from each status. Back to `queued` only with a new attempt."""


class Mode(StrEnum):
    """How a parent's progress comes from its children's."""

    AVERAGE = "average"
    #: Finished children over all children: half a child counts nothing.
    SEQUENTIAL = "sequential"
    #: Each child counts by its weight (frames, for scenes).
    WEIGHTED = "weighted"


WHOLE = 10_000
"""Progress is counted in ten-thousandths: sums of integers are the same on every reader, in whatever order they were added."""


@dataclass(frozen=True)
class JobEvent:
    """One fact about a job, from whichever log. `step`: the step it concerns, or the id of a reported child; "" for the job itself.

    Kinds and their data are listed where they are folded: run_rules.py (run.*, step.*) and reported_rules.py (report.*).
    """

    kind: str
    at_ms: int
    step: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Stage:
    """Where a job is among its stages: the `current`-th of `total`, counted from 1."""

    name: str
    current: int
    total: int
    description: str = ""


@dataclass(frozen=True)
class Attempt:
    """One try. run_id: Dagster's run, "" for reported jobs."""

    number: int
    status: Status
    run_id: str = ""
    started_ms: int | None = None
    finished_ms: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class Counts:
    """Children by what became of them; the parts always add up to `total`. queued: also those held up or waiting for another try."""

    total: int = 0
    succeeded: int = 0
    running: int = 0
    queued: int = 0
    failed: int = 0
    cancelled: int = 0


@dataclass(frozen=True)
class Job:
    """A job after some event. progress: ten-thousandths. output: store key (render) or address (reported) of the result.

    sequence: number of its family's change that brought it here. counts: None unless it is a parent. weight, counted: what it
    means to its parent. expires_ms: when a reported job is forgotten.
    """

    id: str
    type: str
    workspace: str = "default"
    status: Status = Status.QUEUED
    phase: str | None = None
    progress: int = 0
    parent_id: str | None = None
    index: int = 0
    title: str = ""
    output: str | None = None
    result: Mapping[str, Any] | None = None
    error: str | None = None
    media: Mapping[str, Any] | None = None
    payload: Mapping[str, Any] = field(default_factory=dict)
    counts: Counts | None = None
    mode: Mode = Mode.AVERAGE
    stage: Stage | None = None
    message: str = ""
    queue: Mapping[str, Any] | None = None
    estimated_ms: int | None = None
    attempt: int = 1
    attempts: tuple[Attempt, ...] = ()
    retry_at_ms: int | None = None
    cancel_requested_ms: int | None = None
    sequence: int = 0
    created_ms: int = 0
    updated_ms: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    expires_ms: int | None = None
    weight: int = 1
    counted: bool = True
    step: str = ""


@dataclass(frozen=True)
class Change:
    """The `sequence`-th visible change in a family: what happened to `job`, which is shown as it was just after it.

    name: job.started, job.progress, job.completed, job.failed, job.cancelled, child.progress, parent.updated.
    """

    sequence: int
    name: str
    job: Job
