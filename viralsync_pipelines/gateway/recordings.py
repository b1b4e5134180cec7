"""One's own audio in place of a voice: a file for one line, or one long recording cut by time stamps into many.

What belongs here: taking files in, and what they stand for. What does not: cutting (render/joined.py, by the run), narrations in general
(narrations.py).
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import JSONResponse

from viralsync_pipelines.errors import Problem, SourceError
from viralsync_pipelines.gateway.auth import Principal, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.ends import run_again
from viralsync_pipelines.gateway.faults import documented
from viralsync_pipelines.gateway.narrations import Changed, LineNumber, ended, keeping, line_job, line_place
from viralsync_pipelines.render.probe import probe
from viralsync_pipelines.render.sniff import sniff_file
from viralsync_pipelines.speech.narration import with_line
from viralsync_pipelines.speech.order import STAMP, NarrationInvalid, seconds_of
from viralsync_pipelines.storage.keys import content_type_of, media_key

router = APIRouter(prefix="/v1/speech", tags=["speech"])
UPLOADS = re.compile(r"/v1/speech/[^/]+/(?:lines/[0-9]+/audio|recording)")
"""Paths that take files."""
MOST_BYTES = 500_000_000
_CUT = re.compile(r"(\d{1,6})=([\d:.]{1,20})-([\d:.]{0,20})")
_BODY: dict[str, Any] = {
    "requestBody": {"required": True, "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}},
}  # fmt: skip
Cut = tuple[int, float, float | None]


@router.put(
    "/{job_id}/lines/{number}/audio", status_code=202, summary="Put one's own audio in place of a line's voice", response_model=Changed,
    responses=documented(400, 401, 402, 403, 404, 409, 413, 503), openapi_extra=_BODY,
)  # fmt: skip
async def replace_voice(
    request: Request, job_id: str, number: LineNumber, principal: Annotated[Principal, Depends(writer)],
    start: Annotated[str, Query(pattern=STAMP, description="Where in the file the line begins: mm:ss or seconds")] = "0",
    end: Annotated[str | None, Query(pattern=STAMP, description="Where it ends; the file's end when left out")] = None,
) -> Any:  # fmt: skip
    """The file as it is, MP3, WAV, OGG, FLAC or M4A, as the body. The line's text stays, for captions; its words are estimated."""
    cut = (number, seconds_of(start), seconds_of(end) if end is not None else None)
    return await _taken(request, principal, job_id, [cut])


@router.put(
    "/{job_id}/recording", status_code=202, summary="One recording for many lines, cut by time stamps", response_model=Changed,
    responses=documented(400, 401, 402, 403, 404, 409, 413, 503), openapi_extra=_BODY,
)  # fmt: skip
async def record(
    request: Request, job_id: str, principal: Annotated[Principal, Depends(writer)],
    cuts: Annotated[str, Query(max_length=20_000, description="line=start-end, as in 1=0:00-0:12.5,2=0:12.5-0:30,3=0:30-")],
) -> Any:  # fmt: skip
    """The recording as the body. Lines that are not named stay as they are."""
    return await _taken(request, principal, job_id, read_cuts(cuts))


def read_cuts(text: str) -> list[Cut]:
    """Raises NarrationInvalid."""
    found: list[Cut] = []
    for part in text.split(","):
        cut = _CUT.fullmatch(part.strip())
        stamps = [each for each in (cut[2], cut[3]) if each] if cut is not None else []
        if cut is None or not all(re.fullmatch(STAMP, each) for each in stamps):
            raise _wrong("/query/cuts", "VALUE_INVALID", f"{part.strip()[:40]!r} is no part of a recording; write 2=0:12.5-0:30")
        found.append((int(cut[1]), seconds_of(cut[2]), seconds_of(cut[3]) if cut[3] else None))
    if len({number for number, _, _ in found}) < len(found):
        raise _wrong("/query/cuts", "VALUE_INVALID", "a line is named twice; give each its own part of the recording")
    return found


async def _taken(request: Request, principal: Principal, job_id: str, cuts: list[Cut]) -> Any:
    deps = deps_of(request)
    # Before the file is read: what cannot be changed anyway.
    await asyncio.to_thread(_places, deps, principal, job_id, cuts)
    with tempfile.TemporaryDirectory(prefix="recording-") as folder:
        path = Path(folder) / "recording"
        with path.open("wb") as file:
            async for chunk in request.stream():
                await asyncio.to_thread(file.write, chunk)
        return await asyncio.to_thread(_put_in, deps, principal, job_id, cuts, path)


def _places(deps: Deps, principal: Principal, job_id: str, cuts: list[Cut]) -> list[int]:
    job, _, script = ended(deps, principal, job_id)
    return [line_place(job, script, number) for number, _, _ in cuts]


def _put_in(deps: Deps, principal: Principal, job_id: str, cuts: list[Cut], path: Path) -> Any:
    src, seconds = keep_sound(deps, path)
    job, entry, script = ended(deps, principal, job_id)
    for number, start, end in cuts:
        if start >= seconds or (end is not None and (end <= start or end > seconds + 0.05)):
            until = "" if end is None else f" and end at {end:g} s"
            told = f"line {number} is to begin at {start:g} s{until}; this recording has {seconds:.3f} s"
            raise _wrong("/query/cuts", "VALUE_OUT_OF_RANGE", told)
        audio = {"src": src, "start": start, **({"end": end} if end is not None else {})}
        script = with_line(script, line_place(job, script, number), {"audio": audio})
    attempt = run_again(deps, principal, job, entry, changes={}, fresh=(), before=keeping(deps, job.id, script))
    lines = [line_job(job.id, number) for number, _, _ in cuts]
    return JSONResponse({"jobId": job.id, "lines": lines, "status": "queued", "attempt": attempt}, 202)


def keep_sound(deps: Deps, path: Path) -> tuple[str, float]:
    """A sound that was sent in, kept under its own hash: its `src`, and seconds. Raises NarrationInvalid for anything else."""
    try:
        sniffed = sniff_file(path)
        info = probe(path, sniffed)
    except SourceError as error:
        raise _wrong("", error.code, error.message) from None
    seconds = info.audio_duration or info.duration
    if info.audio_stream is None or seconds is None:
        raise _wrong("", "SOURCE_UNREADABLE", "there is no sound in this file; send MP3, WAV, OGG, FLAC or M4A as the body")
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    key = media_key(digest, sniffed.container if re.fullmatch(r"[a-z0-9]{1,5}", sniffed.container) else "bin")
    if deps.store.stat(key) is None:
        deps.store.put_file(key, path, content_type=content_type_of(key))
    return f"resource:{key}", float(seconds)


def _wrong(pointer: str, code: str, message: str) -> NarrationInvalid:
    return NarrationInvalid([Problem(pointer, code, message)])
