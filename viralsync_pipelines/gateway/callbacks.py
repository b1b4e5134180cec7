"""Callbacks over HTTP: what was sent for a job or a workspace, with every try, and replay by hand.

What belongs here: routes and their replies. What does not: sending (board/deliveries.py). The secret that signs callbacks is not to be had
here: whoever holds an API key could then sign what others believe; the operator's command line shows it.
"""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from viralsync_pipelines.gateway.auth import Principal, reader, writer
from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.shown import job_of
from viralsync_pipelines.http import shown
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.storage.outbox_log import Sent, messages_of, replay

router = APIRouter(tags=["callbacks"])

_ID = re.compile(r"[A-Za-z0-9_-]{1,100}")
_FILTERS = frozenset({"limit", "cursor"})
Limit = Annotated[int, Query(ge=1, le=100, description="Messages in the reply.")]
Cursor = Annotated[str | None, Query(description="The `nextCursor` of the reply before.")]


class Delivery(BaseModel):
    """One try. status: of the receiver's answer, null when there was none."""

    at: str
    status: int | None
    error: str | None
    tookMs: int


class CallbackMessage(BaseModel):
    """A message to a callback address. state: due, sending, delivered, given_up (every try failed), disabled (the address answered 410).

    kind: progress, done, failed or cancelled. url: without its query, which may hold secrets. body: as it is sent.
    """

    messageId: str
    jobId: str
    sequence: int
    kind: str
    url: str
    state: str
    tries: int
    createdAt: str
    nextTryAt: str | None
    deliveredAt: str | None
    body: dict[str, Any]
    deliveries: list[Delivery]


class CallbackList(BaseModel):
    """Messages, newest first."""

    callbacks: list[CallbackMessage]
    nextCursor: str | None


class Replayed(BaseModel):
    """A message that will be sent again, under the same id."""

    messageId: str
    state: str


@router.get("/v1/jobs/{job_id}/callbacks", responses=documented(400, 401, 403, 404, 429))
def callbacks_of_job(
    request: Request, job_id: str, principal: Annotated[Principal, Depends(reader)], limit: Limit = 25, cursor: Cursor = None
) -> CallbackList:  # fmt: skip
    """The messages to a job's callback address, newest first."""
    if _ID.fullmatch(job_id) is None or not (found := _page(request, principal, job_id, limit, cursor)).callbacks:
        job_of(deps_of(request), principal, job_id)
        return CallbackList(callbacks=[], nextCursor=None)
    return found


@router.get("/v1/callbacks", responses=documented(400, 401, 403, 429))
def callbacks_of_workspace(
    request: Request, principal: Annotated[Principal, Depends(reader)], limit: Limit = 25, cursor: Cursor = None
) -> CallbackList:
    """The messages to every callback address of the workspace, newest first."""
    return _page(request, principal, None, limit, cursor)


@router.post("/v1/callbacks/{message_id}/replay", status_code=202, responses=documented(401, 403, 404, 429))
def replay_callback(request: Request, message_id: str, principal: Annotated[Principal, Depends(writer)]) -> Replayed:
    """Send a message again, now, with every try before it; its address is used again when it had asked for no more."""
    deps = deps_of(request)
    if _ID.fullmatch(message_id) is not None:
        with deps.database.writing() as connection:
            if replay(connection, principal.workspace, message_id, deps.now_ms()):
                return Replayed(messageId=message_id, state="due")
    raise Refused(404, "NOT_FOUND", f"there is no message {message_id[:100]!r} here; GET /v1/callbacks lists those of your workspace")


def _page(request: Request, principal: Principal, job_id: str | None, limit: int, cursor: str | None) -> CallbackList:
    unknown = sorted(set(request.query_params) - _FILTERS)
    if unknown:
        raise Refused(400, "UNKNOWN_FILTER", f"{unknown[0][:100]!r} is no filter here; use limit and cursor")
    before = _before(cursor) if cursor is not None else None
    with deps_of(request).database.reading() as connection:
        rows = messages_of(connection, principal.workspace, job_id=job_id, before=before, limit=limit + 1)
    page = rows[:limit]
    return CallbackList(callbacks=[_message(row) for row in page], nextCursor=_cursor_at(page[-1]) if len(rows) > limit else None)


def _message(sent: Sent) -> CallbackMessage:
    return CallbackMessage(
        messageId=sent.id, jobId=sent.job_id, sequence=sent.sequence, kind=sent.kind, url=shown(sent.url),
        state="sending" if sent.sending else sent.state, tries=sent.tries, createdAt=iso(sent.created_ms) or "",
        nextTryAt=iso(sent.next_ms), deliveredAt=iso(sent.delivered_ms), body=json.loads(sent.body),
        deliveries=[Delivery(at=iso(each.at_ms) or "", status=each.status, error=each.error, tookMs=each.took_ms) for each in sent.answers],
    )  # fmt: skip


def _cursor_at(sent: Sent) -> str:
    return base64.urlsafe_b64encode(json.dumps(sent.key).encode()).decode().rstrip("=")


def _before(cursor: str) -> tuple[int, int, str]:
    try:
        created_ms, sequence, message_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        numbers = type(created_ms) is int and abs(created_ms) < 2**62 and type(sequence) is int and abs(sequence) < 2**31
        if numbers and _ID.fullmatch(message_id) is not None:
            return created_ms, sequence, message_id
    except (ValueError, TypeError, RecursionError):
        pass
    raise Refused(400, "CURSOR_INVALID", "this cursor is none that a reply here gave; leave it out to begin with the newest")
