"""`GET /v1/jobs/{id}/output`: what a job's steps have printed, on from a cursor. The stream sends the same lines live.

What belongs here: lines as callers see them. What does not: capturing (orchestrator/captured.py), the stream (stream.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel

from viralsync_pipelines.board.printed import Place
from viralsync_pipelines.gateway.auth import Principal, reader
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.shown import job_of, root_id
from viralsync_pipelines.jobs.kinds import child_id
from viralsync_pipelines.jobs.lines import parse_spoken

router = APIRouter(tags=["jobs"])


class OutputLine(BaseModel):
    """jobId: the child that printed it, or the job itself for steps that are no child. step: Dagster's name of the step."""

    jobId: str
    step: str
    stream: Literal["stdout", "stderr"]
    text: str


class OutputReply(BaseModel):
    """cursor: give it back to read on."""

    output: list[OutputLine]
    cursor: str


@router.get("/v1/jobs/{job_id}/output", summary="What a job's steps print", responses=documented(400, 404))
def output(
    request: Request,
    job_id: str,
    principal: Annotated[Principal, Depends(reader)],
    cursor: Annotated[str | None, Query(max_length=20_000, description="From the last reply; leave it out to begin at the start")] = None,
    stream: Annotated[Literal["stdout", "stderr", "all"], Query(description="stderr also has what Dagster itself logs")] = "stdout",
) -> OutputReply:
    deps = deps_of(request)
    job_of(deps, principal, job_id)
    lines, place = read_lines(deps, job_id, place_of(cursor), stream)
    return OutputReply(output=[OutputLine(**line) for line in lines], cursor=place.text())


def place_of(cursor: str | None) -> Place:
    place = Place() if cursor is None else Place.of(cursor)
    if place is None:
        raise Refused(400, "CURSOR_INVALID", "this cursor was never given out; leave it out to begin at the start")
    return place


def read_lines(deps: Deps, job_id: str, place: Place, stream: str = "stdout") -> tuple[list[dict[str, Any]], Place]:
    """Lines of a job or child after `place`. A job that is tried again begins anew."""
    root = root_id(job_id)
    entry = deps.board.entry(root)
    if entry is None or deps.output is None:
        return [], place
    run_id = entry.last.run_id
    printed, reached = deps.output.read(run_id, place.files or {} if place.run_id == run_id else {})
    lines = []
    for line in printed:
        owner = child_id(root, line.step) or _speaker(root, entry.last.type, line.text) or root
        if stream in {line.stream, "all"} and job_id in {root, owner}:
            lines.append({"jobId": owner, "step": line.step, "stream": line.stream, "text": line.text})
    return lines, Place(run_id, reached)


def _speaker(root: str, kind: str, text: str) -> str | None:
    """A narration's lines are spoken in one process, whose output is all kept under its first step: each says which line it is of."""
    number = parse_spoken(text) if kind == "speech.narrate" else None
    return f"line_{root}_{number:03d}" if number is not None else None
