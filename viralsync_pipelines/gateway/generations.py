"""The queue of generations: `GET /v1/generations` as result cards, newest first; `DELETE /v1/generations` clears what has ended.

What belongs here: these routes and the card. What does not: following a job (jobs.py, stream.py), putting it into a movie (timeline.py).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel
from sqlalchemy import select

from viralsync_pipelines.gateway.auth import Principal, reader, writer
from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.ends import delete_job
from viralsync_pipelines.gateway.execution_view import file_url, hint_of
from viralsync_pipelines.gateway.executions import desk_of
from viralsync_pipelines.gateway.faults import documented
from viralsync_pipelines.gateway.shown import base_of
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.ledger import EXECUTION
from viralsync_pipelines.generate.models import TYPES
from viralsync_pipelines.generate.records import Record, row
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.storage.ledger_tables import executions

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

router = APIRouter(tags=["generate"])
StatusName = Literal["queued", "running", "waiting", "done", "failed", "cancelled"]
_GOING = {"blocked": "queued", "ready": "queued", "waiting": "waiting", "unsure": "waiting"}
_ENDS = {"completed": "done", "failed": "failed", "cancelled": "cancelled"}
# In one request; a queue that is longer is cleared by asking again.
_MOST_CLEARED = 500


class Card(BaseModel):
    """One generation. elapsedMs: since it was asked for, and once it has ended until then. preview: {kind, url}."""

    jobId: str
    executionId: str
    type: str
    status: StatusName
    title: str
    elapsedMs: int
    preview: dict[str, Any] | None
    downloadUrl: str | None
    model: str | None
    provider: str | None
    providerStatus: str | None
    error: str | None
    hint: str | None
    costUsd: float | None
    createdAt: str
    completedAt: str | None
    links: dict[str, str | None]


class Cards(BaseModel):
    generations: list[Card]


class Cleared(BaseModel):
    """more: whether there are others that have ended; ask again."""

    executions: int
    more: bool


@router.get("/v1/generations", summary="Generations as cards, newest first", response_model=Cards, responses=documented(400, 401, 503))
def generations(
    request: Request,
    principal: Annotated[Principal, Depends(reader)],
    limit: Annotated[int, Query(ge=1, le=100)] = 6,
    status: Annotated[StatusName | None, Query(description="Only these; `done` ones by when they were done")] = None,
) -> Any:
    deps, desk = deps_of(request), desk_of(deps_of(request))
    wanted: list[ColumnElement[bool]] = [row.workspace == principal.workspace, row.type.in_(TYPES)]
    if status in _ENDS.values():
        wanted.append(row.status == next(name for name, told in _ENDS.items() if told == status))
    elif status is not None:
        of_waits = [stage for stage, told in _GOING.items() if told == status]
        wanted += [row.status.in_(["pending", "processing"])]
        wanted.append(row.stage.in_(of_waits) if of_waits else row.stage.not_in(list(_GOING)))
    newest = row.completed_at if status in _ENDS.values() else row.created_at
    with desk.ledger.database.reading() as connection:
        found = records.where(connection, *wanted, limit=limit, order=(newest.desc(), row.position.desc(), row.id))
    base, now = base_of(deps, request), deps.now_ms()
    return JSONResponse({"generations": [card_of(each, base, now) for each in found]})


@router.delete(
    "/v1/generations", summary="Clear the generations that have ended", response_model=Cleared, responses=documented(401, 403, 503)
)
def clear(request: Request, principal: Annotated[Principal, Depends(writer)]) -> Any:
    """Executions whose jobs have all ended, and all that is known of them. Films that were generated and rendered in one job stay."""
    deps, desk = deps_of(request), desk_of(deps_of(request))
    with desk.ledger.database.reading() as connection:
        mine = select(executions.c.id).where(executions.c.workspace == principal.workspace, executions.c.completed_at.is_not(None))
        ended = list(connection.execute(mine.order_by(executions.c.created_at).limit(_MOST_CLEARED + 1)).scalars())
    cleared = 0
    for execution_id in ended[:_MOST_CLEARED]:
        job = deps.board.find(execution_id)
        if job is not None and job.type == EXECUTION and job.status.terminal:
            delete_job(deps, job)
            cleared += 1
    return JSONResponse({"executions": cleared, "more": len(ended) > _MOST_CLEARED})


def card_of(record: Record, base: str, now_ms: int) -> dict[str, Any]:
    outputs = (record.result or {}).get("outputs") or []
    first = outputs[0] if outputs else None
    url = file_url(base, record.id, first["name"]) if first is not None and first.get("name") else None
    said = (record.params.get(name) for name in ("prompt", "text", "script"))
    words = next((each for each in said if isinstance(each, str) and each.strip()), record.job_id)
    own = f"{base}/v1/jobs/{record.id}"
    return {
        "jobId": record.id, "executionId": record.execution_id, "type": record.type,
        "status": _ENDS.get(record.status) or _GOING.get(record.stage, "running"), "title": " ".join(words.split())[:120],
        "elapsedMs": max(0, (record.completed_at or now_ms) - record.created_at),
        "preview": {"kind": first["type"], "url": url} if first is not None and url is not None else None, "downloadUrl": url,
        "model": record.model_id, "provider": record.provider, "providerStatus": record.provider_job_status, "error": record.error,
        "hint": hint_of(record), "costUsd": record.cost_usd, "createdAt": iso(record.created_at), "completedAt": iso(record.completed_at),
        "links": {
            "self": own, "retry": f"{own}/retry", "cancel": f"{own}/cancel",
            "timeline": f"{base}/v1/movies/{{movieId}}/timeline" if url is not None else None,
        },
    }  # fmt: skip
