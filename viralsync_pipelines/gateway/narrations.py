"""Narrations over HTTP: `POST /v1/speech/narrate`, what one says line by line, and changing a line of it: only that one is spoken again.

What belongs here: these routes. What does not: recordings sent in (recordings.py), what a narration may ask for (speech/order.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from viralsync_pipelines.board.index import Entry
from viralsync_pipelines.errors import ObjectMissing, Problem, SourceError
from viralsync_pipelines.gateway.auth import Principal, reader, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.ends import run_again
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.idempotency import Claim, claimed
from viralsync_pipelines.gateway.renders import callback_problems, foreign_sources, refuse_beyond_plan
from viralsync_pipelines.gateway.shown import base_of, family_of, job_of
from viralsync_pipelines.jobs.model import Job
from viralsync_pipelines.jobs.orders import (
    CALLBACK_TAG,
    CHANNEL_TAG,
    JOB_TAG,
    PRIORITIES,
    PRIORITY_TAG,
    PROJECT_TAG,
    QUEUE_TAG,
    WORKSPACE_TAG,
    SpeechOrder,
)
from viralsync_pipelines.render.places import parse
from viralsync_pipelines.speech.narration import place_of_line, planned, with_line
from viralsync_pipelines.speech.order import Key, NarrationInvalid, NarrationOrder, OwnAudio, Pause, Text, Voice
from viralsync_pipelines.storage.keys import narration_key, script_key

router = APIRouter(prefix="/v1/speech", tags=["speech"])
_NAME = r"^[^\x00-\x1f\x7f]{1,255}$"
_ENVELOPE = frozenset({"projectId", "callbackUrl", "priority", "channel", "queue"})
LineNumber = Annotated[int, Path(ge=1, le=100_000, description="The line's number, from 1")]


class NarrateRequest(NarrationOrder):
    """A narration to speak: `script` in Markdown, or `lines`; the rest says by whom, how far apart, and over which bed."""

    projectId: Annotated[str, Field(pattern=_NAME)] | None = None
    callbackUrl: Annotated[str, Field(max_length=2_000)] | None = None
    priority: Literal["low", "normal", "high"] = "normal"
    channel: Annotated[str, Field(pattern=_NAME)] | None = None
    queue: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "default"


class LineChange(Voice):
    """What is otherwise in a line; null takes a field out. Only what changes how it sounds is spoken again."""

    text: Text | None = None
    ssml: bool | None = None
    name: Key | None = None
    audio: OwnAudio | None = None
    delayAfter: Pause | None = None


class Accepted(BaseModel):
    jobId: str
    status: Literal["queued"]


class Changed(BaseModel):
    """lines: jobs of the lines that were changed."""

    jobId: str
    lines: list[str]
    status: Literal["queued"]
    attempt: int


class LineView(BaseModel):
    """number: from 1, among lines. jobId: of the line's own job. start, end: in the track, null until there is one."""

    number: int
    jobId: str
    status: str | None
    error: str | None
    name: str | None
    text: str
    delayAfter: float | None
    start: float | None
    end: float | None
    engine: str | None
    voice: str | None
    timing: str | None
    characters: int | None
    costUsd: float | None
    own: bool


class NarrationView(BaseModel):
    """script: what is said now, as it may be sent in again. files: addresses of what was put out, {} until there is something."""

    jobId: str
    status: str
    title: str
    duration: float | None
    lines: list[LineView]
    chapters: list[dict[str, Any]]
    files: dict[str, str]
    script: dict[str, Any]


@router.post(
    "/narrate", status_code=202, summary="Speak a script or lines", response_model=Accepted,
    responses=documented(400, 401, 402, 403, 409, 413, 422, 429, 503),
)  # fmt: skip
def narrate(request: Request, order: NarrateRequest, principal: Annotated[Principal, Depends(writer)]) -> Response:
    """Every line is a job of its own below the narration's."""
    deps = deps_of(request)
    with claimed(request, principal, order.model_dump(mode="json")) as claim:
        if claim.replayed is not None:
            return claim.replayed
        known = deps.board.entry(claim.job_id) if claim.resumed else None
        if known is None or known.last.status == "NOT_STARTED":
            _launch(deps, principal, order, claim)
        where = f"{base_of(deps, request)}/v1/jobs/{claim.job_id}"
        return claim.reply(202, {"jobId": claim.job_id, "status": "queued"}, {"Location": where, "Retry-After": "2"})


def _launch(deps: Deps, principal: Principal, order: NarrateRequest, claim: Claim) -> None:
    problems = [] if order.callbackUrl is None else callback_problems(deps, order.callbackUrl, "/callbackUrl")
    script = judged(deps, principal, order.model_dump(mode="json", exclude_unset=True, exclude=set(_ENVELOPE)), problems)
    refuse_beyond_plan(deps, principal)
    data = json.dumps(script, sort_keys=True).encode()
    key = script_key(hashlib.sha256(data).hexdigest())
    deps.store.put_bytes(key, data, content_type="application/json")
    tags = {JOB_TAG: claim.job_id, WORKSPACE_TAG: principal.workspace, QUEUE_TAG: order.queue}
    tags[f"viralsync/plan.{principal.plan_name}"] = principal.workspace
    given = {PROJECT_TAG: order.projectId, CHANNEL_TAG: order.channel, CALLBACK_TAG: order.callbackUrl}
    tags |= {name: value for name, value in given.items() if value is not None}
    if order.priority != "normal":
        tags[PRIORITY_TAG] = str(PRIORITIES[order.priority])
    claim.hold()
    deps.launcher.narrate(SpeechOrder(claim.job_id, key, tags), resumed=claim.resumed)
    deps.board.sync(force=True)


def judged(deps: Deps, principal: Principal, document: Mapping[str, Any], problems: list[Problem] | None = None) -> dict[str, Any]:
    """The order expanded; every fault of it told at once. problems: found elsewhere. Raises NarrationInvalid."""
    found = list(problems or [])
    script: dict[str, Any] = {}
    try:
        script, _ = planned(document)
        written = document.get("script") is not None
        faults = source_problems(deps, principal, script)
        found += [Problem("/script", p.code, p.message) if written and p.pointer.startswith("/lines") else p for p in faults]
    except NarrationInvalid as error:
        found += error.problems
    if found:
        raise NarrationInvalid(sorted(set(found)))
    return script


def source_problems(deps: Deps, principal: Principal, script: Mapping[str, Any]) -> list[Problem]:
    """Sources that could never be opened, or that are another workspace's. Whether one is there the run finds out."""
    wanted: dict[str, Any] = {}
    for number, row in enumerate(script["lines"]):
        if row.get("sfx") is not None:
            wanted[f"/lines/{number}/sfx"] = row["sfx"]
        if row.get("audio") is not None:
            wanted[f"/lines/{number}/audio/src"] = row["audio"]["src"]
    if script.get("bed") is not None:
        wanted["/bed/src"] = script["bed"]["src"]
    problems: list[Problem] = []
    for pointer, src in wanted.items():
        try:
            parse(src)
        except SourceError as error:
            problems.append(Problem(pointer, error.code, error.message))
        else:
            problems += foreign_sources(deps, principal, {"": src}, pointer)
    return [Problem(p.pointer.rstrip("/"), p.code, p.message) for p in problems]


# ---- one that is there ----------------------------------------------------------------------------------------------


@router.get("/{job_id}", summary="A narration, line by line", response_model=NarrationView, responses=documented(401, 404, 409))
def show(request: Request, job_id: str, principal: Annotated[Principal, Depends(reader)]) -> Any:
    deps = deps_of(request)
    family = family_of(deps, principal, job_id)
    job = _narration(job_of(deps, principal, job_id))
    script = _script(deps, job) or {"lines": []}
    receipt = _receipt(deps, job.id)
    told = {line["number"]: line for line in receipt.get("lines", ())}
    lines = []
    for number, row in enumerate((row for row in script["lines"] if row.get("sfx") is None), 1):
        child = family.children.get(line_job(job.id, number))
        line = told.get(number, {})
        lines.append({
            "number": number, "jobId": line_job(job.id, number), "status": child.status.value if child is not None else None,
            "error": child.error if child is not None else None, "name": row.get("name"), "text": row.get("text") or "",
            "delayAfter": row.get("delayAfter"), **{name: line.get(name) for name in ("start", "end", "engine", "voice", "timing")},
            **{name: line.get(name) for name in ("characters", "costUsd")}, "own": row.get("audio") is not None,
        })  # fmt: skip
    base = f"{base_of(deps, request)}/v1/jobs/{job.id}/files"
    files = {name: f"{base}/{name}" for name in receipt.get("files", ())}
    view = {
        "jobId": job.id, "status": job.status.value, "title": script.get("title", ""), "duration": receipt.get("duration"), "lines": lines,
        "chapters": receipt.get("chapters", []), "files": files, "script": script,
    }  # fmt: skip
    return JSONResponse(view)


@router.put(
    "/{job_id}", status_code=202, summary="Say something else: lines that stay are not spoken again", response_model=Changed,
    responses=documented(400, 401, 402, 403, 404, 409, 503),
)  # fmt: skip
def replace_all(request: Request, job_id: str, order: NarrationOrder, principal: Annotated[Principal, Depends(writer)]) -> Any:
    """The whole order, in place of the one before, under the same job."""
    deps = deps_of(request)
    job, entry, _ = ended(deps, principal, job_id)
    script = judged(deps, principal, order.model_dump(mode="json", exclude_unset=True))
    attempt = run_again(deps, principal, job, entry, changes={}, fresh=(), before=keeping(deps, job.id, script))
    return JSONResponse({"jobId": job.id, "lines": [], "status": "queued", "attempt": attempt}, 202)


@router.put(
    "/{job_id}/lines/{number}", status_code=202, summary="Change a line", response_model=Changed,
    responses=documented(400, 401, 402, 403, 404, 409, 503),
)  # fmt: skip
def change(
    request: Request, job_id: str, number: LineNumber, wanted: LineChange, principal: Annotated[Principal, Depends(writer)]
) -> Any:  # fmt: skip
    """Its text, its voice, the silence after it. It is spoken again when that makes it another line, and the track is joined anew."""
    return _changed(deps_of(request), principal, job_id, number, wanted, ())


@router.post(
    "/{job_id}/lines/{number}/regenerate", status_code=202, summary="Speak a line anew", response_model=Changed,
    responses=documented(400, 401, 402, 403, 404, 409, 503),
)  # fmt: skip
def regenerate(
    request: Request, job_id: str, number: LineNumber, principal: Annotated[Principal, Depends(writer)], wanted: LineChange | None = None
) -> Any:  # fmt: skip
    """Though it is kept already: voices of services never say a thing twice the same way."""
    return _changed(deps_of(request), principal, job_id, number, wanted or LineChange(), (str(number),))


def _changed(deps: Deps, principal: Principal, job_id: str, number: int, wanted: LineChange, fresh: tuple[str, ...]) -> Any:
    job, entry, script = ended(deps, principal, job_id)
    change = wanted.model_dump(mode="json", exclude_unset=True)
    changed = with_line(script, line_place(job, script, number), change)
    foreign = source_problems(deps, principal, {"lines": [{"audio": change["audio"]}]}) if change.get("audio") else []
    if foreign:
        raise NarrationInvalid([Problem(p.pointer.removeprefix("/lines/0"), p.code, p.message) for p in foreign])
    attempt = run_again(deps, principal, job, entry, changes={}, fresh=fresh, before=keeping(deps, job.id, changed))
    return JSONResponse({"jobId": job.id, "lines": [line_job(job.id, number)], "status": "queued", "attempt": attempt}, 202)


# ---- shared with recordings -----------------------------------------------------------------------------------------


def ended(deps: Deps, principal: Principal, job_id: str) -> tuple[Job, Entry, dict[str, Any]]:
    """A narration that may be changed, its runs, and what it says. Refused 404 and 409."""
    job = _narration(job_of(deps, principal, job_id))
    entry = deps.board.entry(job.id)
    if not job.status.terminal:
        raise Refused(409, "INVALID_STATE", f"{job.id} is {job.status.value}; it can be changed once it has ended")
    script = _script(deps, job)
    if entry is None or script is None:
        raise Refused(409, "INVALID_STATE", f"{job.id} has no script of its own; send it in anew with POST /v1/speech/narrate")
    return job, entry, script


def line_place(job: Job, script: Mapping[str, Any], number: int) -> int:
    place = place_of_line(script, number)
    if place is None:
        count = sum(row.get("sfx") is None for row in script["lines"])
        raise Refused(404, "LINE_NOT_FOUND", f"{job.id} has no line {number}; it has {count}")
    return place


def keeping(deps: Deps, job_id: str, script: Mapping[str, Any]) -> Callable[[], Callable[[], None]]:
    """For run_again: what the job says from now on, until that turns out not to be run."""
    key = narration_key(job_id, "script.json")

    def keep() -> Callable[[], None]:
        before = deps.store.get_bytes(key)
        put(json.dumps(script, ensure_ascii=False).encode())
        return lambda: put(before)

    def put(data: bytes) -> None:
        deps.store.put_bytes(key, data, content_type="application/json")

    return keep


def line_job(job_id: str, number: int) -> str:
    return f"line_{job_id}_{number:03d}"


def _narration(job: Job) -> Job:
    if job.type != "speech.narrate":
        raise Refused(409, "INVALID_STATE", f"{job.id} is no narration but {job.type}; name a job of POST /v1/speech/narrate")
    return job


def _script(deps: Deps, job: Job) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(deps.store.get_bytes(narration_key(job.id, "script.json")))
    except ObjectMissing:
        return None
    return found


def _receipt(deps: Deps, job_id: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(deps.store.get_bytes(narration_key(job_id, "narration.json")))
    except ObjectMissing:
        return {}
    return found
