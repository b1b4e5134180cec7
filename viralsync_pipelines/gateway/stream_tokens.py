"""`POST /v1/jobs/{id}/stream-token`: a token for clients that cannot send a header, such as a browser's EventSource or <video>.

What belongs here: this route. What does not: the token itself (tokens.py).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel

from viralsync_pipelines.gateway.auth import Principal, reader
from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.faults import documented
from viralsync_pipelines.gateway.shown import base_of, job_of
from viralsync_pipelines.gateway.tokens import mint
from viralsync_pipelines.jobs.view import iso

router = APIRouter(tags=["jobs"])


class TokenReply(BaseModel):
    """token: reads this job and its children until expiresAt. url: the stream with it, as EventSource takes it."""

    token: str
    expiresAt: str
    url: str


@router.post(
    "/v1/jobs/{job_id}/stream-token", status_code=201, summary="A short-lived token for one job's stream and files",
    responses=documented(404),
)  # fmt: skip
def stream_token(request: Request, job_id: str, principal: Annotated[Principal, Depends(reader)]) -> TokenReply:
    deps = deps_of(request)
    job = job_of(deps, principal, job_id)
    token, until_ms = mint(
        deps.token_secret, job_id=job.id, workspace=principal.workspace, key_id=principal.key_id, now_ms=deps.now_ms()
    )
    return TokenReply(token=token, expiresAt=iso(until_ms) or "", url=f"{base_of(deps, request)}/v1/jobs/{job.id}/progress?token={token}")
