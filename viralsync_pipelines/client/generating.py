"""Execution plans and what they make: the requests, and their answers as values. An execution is a job, too, and is followed as one.

What belongs here: routes and names of the wire of everything that is generated. What does not: jobs (calls.py), sending.
Readers raise reading.UNREADABLE errors for JSON of another shape.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import quote

from viralsync_pipelines.client.answers import ApiError
from viralsync_pipelines.client.calls import Call, given, post
from viralsync_pipelines.client.reading import moment

_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
_ENDS = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True)
class ExecutionJob:
    """A job of an execution. id: in the plan; record_id: its job's. status: pending, processing, completed, failed or cancelled.

    stage: where it is exactly. result: outputs and their addresses. hint: what to do about a failure.
    """

    id: str
    record_id: str
    operation: str
    status: str
    stage: str
    type: str = ""
    model: str | None = None
    provider: str | None = None
    provider_job_id: str | None = None
    provider_status: str | None = None
    waits_for: str | None = None
    polls: int = 0
    next_poll_at: datetime | None = None
    attempt: int = 1
    depends_on: tuple[str, ...] = ()
    result: Mapping[str, Any] | None = None
    error: str | None = None
    hint: str | None = None
    cost_usd: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None


@dataclass(frozen=True)
class ExecutionView:
    """An execution as the API shows it; the answer to a submission has no jobs yet. raw: the JSON itself."""

    id: str
    status: str
    jobs: tuple[ExecutionJob, ...] = ()
    result: Mapping[str, Any] | None = None
    error: str | None = None
    created_at: datetime | None = None
    completed_at: datetime | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def terminal(self) -> bool:
        return self.status in _ENDS


@dataclass(frozen=True)
class ModelView:
    """A model that plans may name. available: whether the server has a key for it. price: {usd, per}. params: a JSON Schema."""

    id: str
    provider: str
    type: str
    available: bool
    strategies: tuple[str, ...] = ()
    price: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Generation:
    """A generation as a card of the queue. id: of its job. preview: {kind, url}. raw: the JSON itself."""

    id: str
    execution_id: str
    type: str
    status: str
    title: str
    elapsed_ms: int
    preview: Mapping[str, Any] | None = None
    download_url: str | None = None
    model: str | None = None
    provider: str | None = None
    provider_status: str | None = None
    error: str | None = None
    hint: str | None = None
    cost_usd: float | None = None
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Added:
    """A movie with a generation in it. pointer: of the new scene or layer. at: where it begins, in seconds, when that is known."""

    movie_id: str
    movie: Mapping[str, Any]
    pointer: str
    kind: str
    at: float | None
    duration: float | None
    created: bool


# ---- requests --------------------------------------------------------------------------------------------------------


def execute(
    jobs: Sequence[Mapping[str, Any]],
    *,
    base_execution_id: str | None = None,
    webhook: str | None = None,
    provider_api_keys: Mapping[str, str] | None = None,
    project_id: str | None = None,
    channel: str | None = None,
    idempotency_key: str | None = None,
) -> Call[ExecutionView]:
    """Submit a plan: jobs of {id, operation, params, dependsOn}. ApiError lists every problem of it.

    base_execution_id: whose finished results these may use. webhook: told of its progress and end. provider_api_keys: by provider,
    before the server's own. Sent again after a broken connection it makes no second execution.
    """
    options = given(
        baseExecutionId=base_execution_id, webhook=webhook, providerApiKeys=provider_api_keys, projectId=project_id, channel=channel
    )
    return post("/api/execute", _execution_of, {"executionPlan": {"jobs": list(jobs)}, "options": options or None}, idempotency_key)


def execution(execution_id: str) -> Call[ExecutionView]:
    """An execution as it stands, with its jobs."""
    return Call("GET", f"/api/status/{_checked(execution_id)}", _execution_of)


def models() -> Call[tuple[ModelView, ...]]:
    """Models that plans may name."""
    return Call("GET", "/v1/models", lambda found: tuple(_model_of(each) for each in found["models"]))


def generations(*, limit: int = 6, status: str | None = None) -> Call[tuple[Generation, ...]]:
    """The newest generations as cards; those that are `done` by when they were done."""
    query = given(limit=str(limit), status=status)
    return Call("GET", "/v1/generations", lambda found: tuple(_generation_of(each) for each in found["generations"]), query=query)


def clear_generations() -> Call[int]:
    """Forget the generations that have ended; how many executions that were."""
    return Call("DELETE", "/v1/generations", lambda found: int(found["executions"]))


def add_to_timeline(
    movie_id: str, job_id: str, *, at: float | None = None, duration: float | None = None, track: str | None = None
) -> Call[Added]:  # fmt: skip
    """Put what a job made into a movie, which is made when it is not there: a picture as a still scene, a video as a scene at the first cut
    from `at` on, a sound on the whole film from `at` on."""
    body = given(jobId=job_id, at=at, duration=duration, track=track)
    return Call("POST", f"/v1/movies/{_checked(movie_id)}/timeline", _added_of, body=body)


def _checked(given_id: str) -> str:
    if not _ID.fullmatch(given_id):
        raise ApiError(404, "NOT_FOUND", f"{given_id!r} is no id; ids are letters, digits, _ and -")
    return quote(given_id)


# ---- answers ---------------------------------------------------------------------------------------------------------


def _execution_of(found: Any) -> ExecutionView:
    return ExecutionView(
        found["executionId"], found["status"], tuple(_job_of(each) for each in found.get("jobs") or ()), found.get("result"),
        found.get("error"), moment(found, "createdAt"), moment(found, "completedAt"), dict(found),
    )  # fmt: skip


def _job_of(j: Any) -> ExecutionJob:
    return ExecutionJob(
        id=j["id"], record_id=j["recordId"], operation=j["operation"], status=j["status"], stage=j["stage"], type=j.get("type") or "",
        model=j.get("modelId"), provider=j.get("provider"), provider_job_id=j.get("providerJobId"),
        provider_status=j.get("providerJobStatus"), waits_for=j.get("waitingStrategy"), polls=int(j.get("pollAttempts") or 0),
        next_poll_at=moment(j, "nextPollAt"), attempt=int(j.get("attempt") or 1), depends_on=tuple(j.get("dependsOn") or ()),
        result=j.get("result"), error=j.get("error"), hint=j.get("hint"), cost_usd=j.get("costUsd"), created_at=moment(j, "createdAt"),
        started_at=moment(j, "startedAt"), completed_at=moment(j, "completedAt"),
    )  # fmt: skip


def _model_of(m: Any) -> ModelView:
    return ModelView(
        m["id"], m["provider"], m["type"], bool(m["available"]), tuple(m.get("strategies") or ()), m.get("price"), m.get("params") or {}
    )


def _generation_of(g: Any) -> Generation:
    return Generation(
        g["jobId"], g["executionId"], g["type"], g["status"], g["title"], int(g["elapsedMs"]), g.get("preview"), g.get("downloadUrl"),
        g.get("model"), g.get("provider"), g.get("providerStatus"), g.get("error"), g.get("hint"), g.get("costUsd"), dict(g),
    )  # fmt: skip


def _added_of(found: Any) -> Added:
    where, created = found["placed"], bool(found["created"])
    return Added(found["movieId"], found["movie"], where["pointer"], where["kind"], where.get("at"), where.get("duration"), created)
