"""The shapes of replies, for the OpenAPI document and for whoever generates a client from it. jobs/view.py makes the values.

What belongs here: models of replies. What does not: behaviour.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

StatusName = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]


class _Reply(BaseModel):
    # New fields may appear without a new version of the API.
    model_config = ConfigDict(extra="allow")


class CountsObject(_Reply):
    total: int
    succeeded: int
    running: int
    queued: int
    failed: int
    cancelled: int


class StageObject(_Reply):
    name: str
    current: int
    total: int
    description: str


class QueueObject(_Reply):
    position: int
    total: int | None = None
    queueName: str | None = None


class EtaObject(_Reply):
    """p50Ms, p90Ms: how long half, and nine of ten, of `basis` such jobs took. confidence: 0 to 1."""

    at: str
    p50Ms: int | None
    p90Ms: int | None
    basis: int
    confidence: float
    longerThanUsual: bool


class AttemptObject(_Reply):
    attempt: int
    status: StatusName
    startedAt: str | None
    finishedAt: str | None
    error: str | None
    runId: str | None


class MediaObject(_Reply):
    duration: float | None = None
    width: int | None = None
    height: int | None = None
    fileSize: int | None = None


class LinksObject(_Reply):
    self: str
    children: str | None
    events: str
    output: str
    progress: str
    cancel: str
    retry: str
    parent: str | None
    dagster: str | None


class JobObject(_Reply):
    """A job. progress: 0 to 1. children: of parents only. error: "<CODE>: <what happened and what to do>"."""

    jobId: str
    type: str
    status: StatusName
    phase: str | None
    progress: float
    parentJobId: str | None
    outputUrl: str | None
    error: str | None
    mediaData: MediaObject | None
    payload: dict[str, Any]
    children: CountsObject | None
    createdAt: str
    updatedAt: str
    title: str | None
    childIndex: int | None
    childProgressMode: Literal["average", "sequential", "weighted"] | None
    result: dict[str, Any] | None
    stage: StageObject | None
    message: str
    queue: QueueObject | None
    eta: EtaObject | None
    estimatedCompletionAt: str | None
    attempt: int
    attempts: list[AttemptObject]
    retryAt: str | None
    cancelRequestedAt: str | None
    sequence: int
    startedAt: str | None
    finishedAt: str | None
    links: LinksObject


class JobsReply(_Reply):
    """nextCursor: None on the last page. A page may be short of `limit` and still have a next one, when a filter fits hardly any job."""

    jobs: list[JobObject]
    nextCursor: str | None


class ChildrenReply(_Reply):
    parent: JobObject
    jobs: list[JobObject]


class EventObject(_Reply):
    """name: job.started, job.progress, job.completed, job.failed, job.cancelled, child.progress, parent.updated."""

    sequence: int
    name: str
    at: str
    job: JobObject


class EventsReply(_Reply):
    """nextAfter: give it as `after` for the next page; None on the last."""

    events: list[EventObject]
    nextAfter: int | None
