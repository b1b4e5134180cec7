"""`GET /v1/jobs/{id}/files/{name}`: what a job put out, for players and downloads, with ranges.

What belongs here: sending files of the store. What does not: making them.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from viralsync_pipelines.gateway.auth import Principal, viewer
from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.shown import job_of, root_id
from viralsync_pipelines.storage.keys import content_type_of

router = APIRouter(tags=["jobs"])
_NAMES = ("output.mp4", "poster.jpg", "thumbnail.jpg", "contact-sheet.jpg", "render.json")
_TYPES: dict[str, Any] = {kind: {} for kind in sorted({content_type_of(name) for name in _NAMES})}
_HEADERS = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, no-cache"}


@router.get(
    "/v1/jobs/{job_id}/files/{name}", summary="A file that a job put out", response_class=Response,
    responses={
        200: {"content": _TYPES, "description": "The file"}, 206: {"content": _TYPES, "description": "A range of it"},
        307: {"description": "It is in a bucket: there"}, 416: {"description": "It has no such range"}, **documented(404),
    },
)  # fmt: skip
def file(request: Request, job_id: str, name: str, principal: Annotated[Principal, Depends(viewer)]) -> Response:
    """name: output.mp4, poster.jpg, thumbnail.jpg, contact-sheet.jpg or render.json."""
    deps = deps_of(request)
    job = job_of(deps, principal, job_id)
    key = f"outputs/{root_id(job.id)}/{name}"
    if name not in _NAMES or deps.store.stat(key) is None:
        raise Refused(404, "FILE_NOT_FOUND", f"{job.id} has no file {name[:60]!r}; a finished film has {', '.join(_NAMES)}")
    path = deps.store.local_path(key)
    if path is not None:
        return FileResponse(path, media_type=content_type_of(key), headers=_HEADERS)
    return RedirectResponse(deps.store.url(key), 307, headers={"Cache-Control": "no-store"})


