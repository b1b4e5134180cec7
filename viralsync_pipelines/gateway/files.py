"""`GET /v1/jobs/{id}/files/{name}`: what a job put out, for players and downloads, with ranges.

What belongs here: sending files of the store. What does not: making them.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from viralsync_pipelines.errors import ObjectMissing
from viralsync_pipelines.gateway.auth import Principal, viewer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.shown import job_of, root_id
from viralsync_pipelines.generate import records
from viralsync_pipelines.jobs.ledger_rules import of_ledger
from viralsync_pipelines.jobs.model import Job
from viralsync_pipelines.storage.keys import content_type_of

router = APIRouter(tags=["jobs"])
_CAPTIONS = ("captions.srt", "captions.vtt", "captions.ass", "captions.json")
_NAMES = ("output.mp4", "poster.jpg", "thumbnail.jpg", "contact-sheet.jpg", "render.json", *_CAPTIONS)
_SPOKEN = (
    "narration.wav", "narration.mp3", "narration.srt", "narration.vtt", "words.json", "chapters.json", "chapters.ffmeta", "narration.json",
)  # fmt: skip
_GENERATED = ("mp4", "webm", "mov", "png", "jpg", "webp", "gif", "mp3", "wav", "m4a", "ogg", "flac", "bin")
_NAMED = (*_NAMES, *_SPOKEN, *(f"output.{ext}" for ext in _GENERATED))
_TYPES: dict[str, Any] = {kind: {} for kind in sorted({content_type_of(name) for name in _NAMED})}
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}


@router.get(
    "/v1/jobs/{job_id}/files/{name}", summary="A file that a job put out", response_class=Response,
    responses={
        200: {"content": _TYPES, "description": "The file"}, 206: {"content": _TYPES, "description": "A range of it"},
        307: {"description": "It is in a bucket: there"}, 416: {"description": "It has no such range"}, **documented(404),
    },
)  # fmt: skip
def file(request: Request, job_id: str, name: str, principal: Annotated[Principal, Depends(viewer)]) -> Response:
    """name: of a film output.mp4, poster.jpg, thumbnail.jpg, contact-sheet.jpg, render.json, of one with captions also captions.srt, .vtt,
    .ass and .json; of a narration narration.wav, .mp3, .srt, .vtt or .json, words.json, chapters.json or chapters.ffmeta; of a generation
    as its `result` has it."""
    deps = deps_of(request)
    job = job_of(deps, principal, job_id)
    spoken = job.type.startswith("speech.")
    names, what = (_SPOKEN, "narration") if spoken else (_NAMES, "film")
    key = _generated(deps, job, name) if of_ledger(job) else _own(deps, root_id(job.id), name, spoken) if name in names else None
    if key is None or deps.store.stat(key) is None:
        raise Refused(404, "FILE_NOT_FOUND", f"{job.id} has no file {name[:60]!r}; a finished {what} has {', '.join(names)}")
    path = deps.store.local_path(key)
    if path is not None:
        return FileResponse(path, media_type=content_type_of(key), headers=_HEADERS)
    return RedirectResponse(deps.store.url(key), 307, headers={"Cache-Control": "no-store"})


def _own(deps: Deps, job_id: str, name: str, spoken: bool) -> str | None:
    """Where a job's own file lies; sounds of a narration lie by content, and its receipt says where."""
    if not spoken or not name.endswith((".wav", ".mp3")):
        return f"outputs/{job_id}/{name}"
    try:
        files = json.loads(deps.store.get_bytes(f"outputs/{job_id}/narration.json"))["files"]
    except (ObjectMissing, ValueError, KeyError):
        return None
    key: str | None = files.get(name, {}).get("key")
    return key


def _generated(deps: Deps, job: Job, name: str) -> str | None:
    """Where an output of a generation lies. By the ledger's row: a job that a program reports says of its result what it likes."""
    if deps.desk is None:
        return None
    # An execution's own result is that of its last job, which its output names: outputs/<record>/<name>.
    record_id = job.output.split("/")[1] if job.counts is not None and job.output is not None and job.output.count("/") > 1 else job.id
    with deps.desk.ledger.database.reading() as connection:
        record = records.find(connection, record_id)
    outputs = (record.result or {}).get("outputs") or () if record is not None and record.workspace == job.workspace else ()
    return next((each.get("key") for each in outputs if each.get("name") == name), None)
