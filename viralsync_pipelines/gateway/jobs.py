"""Jobs over HTTP: list, show, children, events, cancel, retry, delete.

What belongs here: these routes. What does not: submitting (renders.py), reporting (reports.py), streams (stream.py), files (files.py).
"""

from __future__ import annotations

import asyncio
import re
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from viralsync_pipelines.gateway.auth import Principal, reader, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.ends import cancel_job, delete_job, retry_job
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.hub import Hub
from viralsync_pipelines.gateway.objects import ChildrenReply, EventsReply, JobObject, JobsReply
from viralsync_pipelines.gateway.paging import PARAMETERS, query_of
from viralsync_pipelines.gateway.shown import base_of, etag_of, family_of, job_of, shown
from viralsync_pipelines.gateway.values import Values
from viralsync_pipelines.jobs.view import iso

router = APIRouter(tags=["jobs"])
_LONGEST_WAIT_S = 60
_WAIT = re.compile(r"(?:^|[,;\s])wait(?:\s*=\s*\"?(\d{1,6})\"?)?(?:$|[,;\s])")
_MOST_EVENTS = 500


@router.get(
    "/v1/jobs", summary="Jobs, newest first", response_model=JobsReply, responses=documented(400, 401, 404),
    openapi_extra={"parameters": PARAMETERS},
)  # fmt: skip
def list_jobs(request: Request, principal: Annotated[Principal, Depends(reader)]) -> Any:
    deps = deps_of(request)
    query, cursor_after = query_of(request.query_params.multi_items(), principal.workspace)
    if query.parent is not None:
        family_of(deps, principal, query.parent)
    jobs, more = deps.board.newest(query)
    base = base_of(deps, request)
    return JSONResponse({"jobs": [shown(deps, base, job) for job in jobs], "nextCursor": cursor_after(more) if more is not None else None})


@router.get(
    "/v1/jobs/{job_id}", summary="One job", response_model=JobObject, responses={304: {"description": "Unchanged"}, **documented(404)}
)
async def show(request: Request, job_id: str, principal: Annotated[Principal, Depends(reader)]) -> Response:
    """`Prefer: wait=n` holds the reply until the job changes (with If-None-Match) or ends, at most 60 s."""
    deps, base = deps_of(request), base_of(deps_of(request), request)
    known = {tag.strip() for tag in request.headers.get("if-none-match", "").split(",") if tag.strip()}
    body, tag, ended = await asyncio.to_thread(_shown, deps, principal, base, job_id)
    seconds = wait_of(request.headers.getlist("prefer"))
    headers = {"Vary": "Prefer", "Cache-Control": "no-cache"}
    if seconds is not None:
        headers["Preference-Applied"] = f"wait={seconds}"
        if not ended and (not known or tag in known):
            hub: Hub = request.app.state.hub
            body, tag, ended = await _waited(hub, deps, principal, base, job_id, known, seconds)
    headers["ETag"] = tag
    if not ended:
        headers["Retry-After"] = "3"
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return JSONResponse(body, headers=headers)


def wait_of(values: list[str]) -> int | None:
    """Seconds of `Prefer: wait=n` (RFC 7240), at most 60; None without it."""
    found = _WAIT.search(",".join(values).lower())
    return None if found is None else min(_LONGEST_WAIT_S, int(found[1] or _LONGEST_WAIT_S))


def _shown(deps: Deps, principal: Principal, base: str, job_id: str) -> tuple[dict[str, Any], str, bool]:
    job = job_of(deps, principal, job_id)
    body = shown(deps, base, job)
    return body, etag_of(job, body), job.status.terminal


async def _waited(
    hub: Hub, deps: Deps, principal: Principal, base: str, job_id: str, known: set[str], seconds: int
) -> tuple[dict[str, Any], str, bool]:  # fmt: skip
    """The job once it is no longer one that the caller knows, or has ended, or time is up."""
    family = await asyncio.to_thread(family_of, deps, principal, job_id)
    subscription = hub.subscribe(family.job.id)
    until = time.monotonic() + seconds
    try:
        hub.catch_up(subscription, family.sequence)
        while True:
            body, tag, ended = await asyncio.to_thread(_shown, deps, principal, base, job_id)
            left = until - time.monotonic()
            if ended or (known and tag not in known) or left <= 0:
                return body, tag, ended
            if await subscription.next(min(left, 5.0)) is None:
                return body, tag, ended
    finally:
        hub.leave(subscription)


@router.get("/v1/jobs/{job_id}/children", summary="Every child of a job", response_model=ChildrenReply, responses=documented(404))
def children(request: Request, job_id: str, principal: Annotated[Principal, Depends(reader)]) -> Any:
    deps, base = deps_of(request), base_of(deps_of(request), request)
    job = job_of(deps, principal, job_id)
    found = [child for child in deps.board.children(job_id) if child.workspace == principal.workspace]
    return JSONResponse({"parent": shown(deps, base, job), "jobs": [shown(deps, base, child) for child in found]})


@router.get("/v1/jobs/{job_id}/events", summary="What has happened to a job", response_model=EventsReply, responses=documented(400, 404))
def events(
    request: Request,
    job_id: str,
    principal: Annotated[Principal, Depends(reader)],
    after: Annotated[int, Query(ge=0, le=2**53)] = 0,
    limit: Annotated[int, Query(ge=1, le=_MOST_EVENTS)] = 100,
) -> Any:
    deps, base = deps_of(request), base_of(deps_of(request), request)
    root = family_of(deps, principal, job_id).job.id
    changes = [change for change in deps.board.changes(root, after) if job_id in {root, change.job.id}]
    told = [
        {"sequence": change.sequence, "name": change.name, "at": iso(change.job.updated_ms), "job": shown(deps, base, change.job)}
        for change in changes[:limit]
    ]
    return JSONResponse({"events": told, "nextAfter": changes[limit - 1].sequence if len(changes) > limit else None})


class CancelReply(BaseModel):
    jobId: str
    status: str
    cancelRequestedAt: str | None


@router.post(
    "/v1/jobs/{job_id}/cancel", status_code=202, summary="Cancel a job and its children", response_model=CancelReply,
    responses=documented(404, 409, 503),
)  # fmt: skip
def cancel(
    request: Request,
    job_id: str,
    principal: Annotated[Principal, Depends(writer)],
    force: Annotated[bool, Query(description="Note it as cancelled at once, without waiting for its processes")] = False,
) -> Any:
    deps = deps_of(request)
    job = cancel_job(deps, job_of(deps, principal, job_id), force=force)
    asked = job.cancel_requested_ms or deps.now_ms()
    return JSONResponse({"jobId": job.id, "status": job.status.value, "cancelRequestedAt": iso(asked)}, 202)


class RetryRequest(BaseModel):
    """scope: `failed` makes what is missing and finds the rest, `all` makes everything anew. set: values for the movie's variables."""

    model_config = ConfigDict(extra="forbid")

    scope: Literal["failed", "all"] = "failed"
    set: Values = Field(default_factory=dict, max_length=200)


class RetryReply(BaseModel):
    jobId: str
    status: Literal["queued"]
    attempt: int


@router.post(
    "/v1/jobs/{job_id}/retry", status_code=202, summary="Try a job, or one of its scenes, again", response_model=RetryReply,
    responses=documented(400, 404, 409, 503),
)  # fmt: skip
def retry(request: Request, job_id: str, principal: Annotated[Principal, Depends(writer)], wanted: RetryRequest | None = None) -> Any:
    deps = deps_of(request)
    asked = wanted or RetryRequest()
    attempt = retry_job(deps, principal, job_of(deps, principal, job_id), asked.scope, asked.set)
    return JSONResponse({"jobId": job_id, "status": "queued", "attempt": attempt}, 202)


@router.delete("/v1/jobs/{job_id}", status_code=204, summary="Delete a job and what it made", responses=documented(404, 409, 503))
def delete(request: Request, job_id: str, principal: Annotated[Principal, Depends(writer)]) -> Response:
    deps = deps_of(request)
    job = job_of(deps, principal, job_id)
    if job.parent_id is not None and deps.board.entry(job_id) is not None:
        raise Refused(409, "INVALID_STATE", f"{job_id} is a part of {job.parent_id}; delete that")
    delete_job(deps, job)
    return Response(status_code=204)
