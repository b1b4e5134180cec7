"""`POST /v1/movies/{id}/timeline`: a finished generation goes into a movie, which stays registered with it.

What belongs here: the route, the movie's document before and after. What does not: which place it gets (movie/timeline_edit.py).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from viralsync_pipelines.errors import MovieInvalid, ObjectMissing, Problem, StoreError
from viralsync_pipelines.gateway.auth import Principal, writer
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.executions import desk_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.gateway.shown import job_of
from viralsync_pipelines.generate import records
from viralsync_pipelines.jobs.orders import DEFAULT_WORKSPACE
from viralsync_pipelines.movie.timeline_edit import Media, Placed, add_to_timeline, new_movie
from viralsync_pipelines.render.prepare import read_spec
from viralsync_pipelines.render.registry import find_registered, keep_version, register
from viralsync_pipelines.storage import claims
from viralsync_pipelines.storage.keys import checked_id

router = APIRouter(tags=["generate"])
_ID = r"^[A-Za-z0-9_-]{1,64}$"


class TimelineRequest(BaseModel):
    """at: the playhead, in seconds; without it pictures and videos go to the end, and sound to the beginning. duration: seconds, instead
    of its own. track: the id of the sound's layer."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"jobId": "job_a1b2c3d4e5f6", "at": 4.5}})

    jobId: Annotated[str, Field(max_length=100)]
    at: Annotated[float, Field(ge=0, le=7200)] | None = None
    duration: Annotated[float, Field(ge=0.05, le=7200)] | None = None
    track: Annotated[str, Field(pattern=_ID)] | None = None


class PlacedObject(BaseModel):
    """pointer: of the new scene or layer in the movie. at: where it begins, None behind scenes whose length nobody knows yet."""

    pointer: str
    kind: Literal["image", "video", "audio"]
    at: float | None
    duration: float | None


class TimelineReply(BaseModel):
    movieId: str
    movie: dict[str, Any]
    placed: PlacedObject
    created: bool


@router.post(
    "/v1/movies/{movie_id}/timeline", status_code=201, summary="Add a generation to a movie", response_model=TimelineReply,
    responses=documented(400, 401, 403, 404, 409, 413, 503),
)  # fmt: skip
def add(
    request: Request,
    movie_id: Annotated[str, Path(pattern=_ID)],
    wanted: TimelineRequest,
    principal: Annotated[Principal, Depends(writer)],
) -> Any:
    """A picture becomes a still scene (3 s), a video a scene at the first cut from the playhead on, a sound a layer of the whole film that
    begins at the playhead. A movie that is not there yet is made."""
    deps = deps_of(request)
    media = _media_of(deps, principal, wanted.jobId)
    with _by_one(deps, f"{principal.workspace}/{movie_id}", wanted.jobId):
        movie, folder = _kept(deps, principal, movie_id)
        placed = add_to_timeline(
            movie if movie is not None else new_movie(movie_id, media), media, at=wanted.at, duration=wanted.duration, track=wanted.track
        )
        _check(placed)
        _keep(deps, principal, movie_id, placed.movie, folder)
    where = {"pointer": placed.pointer, "kind": media.kind, "at": placed.at, "duration": placed.duration}
    return JSONResponse({"movieId": movie_id, "movie": placed.movie, "placed": where, "created": movie is None}, 201)


def _media_of(deps: Deps, principal: Principal, job_id: str) -> Media:
    """What a job of the workspace made. Refused 404, and 409 for one that is not done."""
    job = job_of(deps, principal, job_id)
    with desk_of(deps).ledger.database.reading() as connection:
        record = records.find(connection, job.id)
    outputs = (record.result or {}).get("outputs") or () if record is not None and record.workspace == principal.workspace else ()
    if not outputs:
        told = "it is no generation" if record is None else f"it is {job.status.value}"
        raise Refused(409, "INVALID_STATE", f"{job.id} has nothing for a timeline: {told}; GET /v1/generations?status=done lists what has")
    first: Mapping[str, Any] = outputs[0]
    name = f"{job.title or 'generated'}-{job.id[-4:]}"
    return Media(first["type"], f"job:{job.id}", name, first.get("duration"), first.get("width"), first.get("height"))


def _check(placed: Placed) -> None:
    try:
        read_spec(placed.movie, {})
    except MovieInvalid as error:
        raise MovieInvalid([Problem(f"/movie{each.pointer}", each.code, each.message) for each in error.problems]) from error


# ---- the movie's document --------------------------------------------------------------------------------------------


def _kept(deps: Deps, principal: Principal, movie_id: str) -> tuple[dict[str, Any] | None, str]:
    """The document of the workspace's movie and its folder; None when there is none yet."""
    try:
        if principal.workspace == DEFAULT_WORKSPACE:
            return find_registered(deps.store, movie_id)
        kept = json.loads(deps.store.get_bytes(_own_key(principal, movie_id)))
    except ObjectMissing:
        return None, ""
    except StoreError as error:
        if error.code != "MOVIE_NOT_FOUND":
            raise
        return None, ""
    return kept["document"], ""


def _keep(deps: Deps, principal: Principal, movie_id: str, movie: Mapping[str, Any], folder: str) -> None:
    if principal.workspace == DEFAULT_WORKSPACE:
        keep_version(deps.store, movie_id, movie)
        register(deps.store, movie_id, movie, folder)
    else:
        # Registered movies are Dagster's partitions, and those are the operator's own.
        deps.store.put_bytes(_own_key(principal, movie_id), json.dumps({"document": dict(movie)}).encode())


def _own_key(principal: Principal, movie_id: str) -> str:
    return f"workspaces/{checked_id(principal.workspace)}/movies/{checked_id(movie_id)}.json"


@contextmanager
def _by_one(deps: Deps, movie: str, job_id: str) -> Iterator[None]:
    """Two who add to one movie at once would each keep it without the other's: the second is refused 409."""
    held = claims.claim(deps.database, "timeline", movie, "", job_id, deps.now_ms())
    if not isinstance(held, claims.Held):
        told = "somebody is adding to this movie just now; send it again in a moment"
        raise Refused(409, "INVALID_STATE", told, headers={"Retry-After": "1"})
    try:
        yield
    finally:
        claims.release(deps.database, held)
