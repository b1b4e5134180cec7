"""Every request of the API as a value: what to send, and how its answer is read. Both clients take their methods from here.

What belongs here: routes, names of the wire, the words on each method. What does not: jobs a program reports (reports.py), sending.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, TypedDict, TypeVar, Unpack
from urllib.parse import quote

from viralsync_pipelines.client.answers import ApiError
from viralsync_pipelines.client.reading import events_of, facts_of, family_of, job_of, output_of, page_of, token_of
from viralsync_pipelines.client.values import EventPage, FamilyView, JobView, OutputPage, Page, StreamToken

_T = TypeVar("_T")
_ID = re.compile(r"[A-Za-z0-9_-]{1,200}")
KEY = "Idempotency-Key"


@dataclass(frozen=True)
class Call(Generic[_T]):
    """One request. body: sent as JSON, unless None. headers: besides those of every request. held_s: how long its answer may be held.

    keyed: the API knows it again by its Idempotency-Key, so it may be sent again.
    """

    method: str
    path: str
    read: Callable[[Any], _T]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    held_s: float = 0.0
    keyed: bool = False


def job_path(job_id: str, *rest: str) -> str:
    """The path of a job. ApiError for what cannot be an id, which might name another path."""
    if not _ID.fullmatch(job_id):
        raise ApiError(404, "JOB_NOT_FOUND", f"{job_id!r} is no job's id; ids look like job_a1b2c3d4e5f6")
    return "/".join(("/v1/jobs", quote(job_id), *rest))


def timestamp(value: datetime | str) -> str:
    """A moment as the API takes it. A time without a zone is taken as local."""
    if isinstance(value, str):
        return value
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---- renders ---------------------------------------------------------------------------------------------------------


def render(
    movie: Mapping[str, Any],
    *,
    project_id: str = "default",
    callback_url: str | None = None,
    preset: str | None = None,
    concurrency: int | None = None,
    variables: Mapping[str, Any] | None = None,
    priority: str | None = None,
    queue: str | None = None,
    channel: str | None = None,
    draft: bool | None = None,
    idempotency_key: str | None = None,
) -> Call[JobView]:
    """Submit a movie JSON to be rendered.

    preset: stable, balanced, fast or turbo, or concurrency: scenes at a time. priority: low, normal or high. queue: its place is
    counted within this name. ApiError lists every problem of the movie. Sent again after a broken connection it makes no second job:
    it carries an Idempotency-Key of its own, or yours.
    """
    body = {
        "kind": "movie", "projectId": project_id, "movie": movie, "callbackUrl": callback_url, "variables": variables, "priority": priority,
        "queue": queue, "channel": channel, "draft": draft,
        "renderOptions": given(qualityPreset=preset, requestedConcurrency=concurrency) or None,
    }  # fmt: skip
    return post("/v1/render/jobs", job_of, body, idempotency_key)


# ---- any job ---------------------------------------------------------------------------------------------------------


def get(job_id: str) -> Call[JobView]:
    """A job as it stands."""
    return Call("GET", job_path(job_id), job_of)


def get_within(job_id: str, seconds: int) -> Call[JobView]:
    """A job, answered when it has ended, or after so many seconds."""
    return Call("GET", job_path(job_id), job_of, headers={"Prefer": f"wait={seconds}"}, held_s=seconds)


class Filters(TypedDict, total=False):
    """What jobs to list. type: "render.movie", or a whole domain such as "render". since, until: when they were created."""

    type: str | Iterable[str] | None
    status: str | Iterable[str] | None
    project_id: str | None
    channel: str | None
    parent: str | None
    since: datetime | str | None
    until: datetime | str | None


def page(*, limit: int = 25, cursor: str | None = None, **filters: Unpack[Filters]) -> Call[Page]:
    """One page of jobs, newest first. limit: 1 to 100. cursor: a page's next_cursor."""
    since, until = filters.get("since"), filters.get("until")
    query = given(
        limit=str(limit), cursor=cursor, type=_joined(filters.get("type")), status=_joined(filters.get("status")),
        projectId=filters.get("project_id"), channel=filters.get("channel"), parent=filters.get("parent"),
        to=None if until is None else timestamp(until),
    )  # fmt: skip
    return Call("GET", "/v1/jobs", page_of, query=query if since is None else {**query, "from": timestamp(since)})


def get_with_children(job_id: str) -> Call[FamilyView]:
    """A parent and all of its children, in their order."""
    return Call("GET", job_path(job_id, "children"), family_of)


def event_page(job_id: str, after: int = 0) -> Call[EventPage]:
    """Some of a job's changes, those with a sequence above `after`."""
    return Call("GET", job_path(job_id, "events"), events_of, query={"after": str(after)})


def output(job_id: str, cursor: str | None = None) -> Call[OutputPage]:
    """What a job has printed so far, from `cursor` on."""
    return Call("GET", job_path(job_id, "output"), output_of, query=given(cursor=cursor))


def cancel(job_id: str, *, force: bool = False) -> Call[JobView]:
    """Ask a job to end; its children end with it. ApiError INVALID_STATE (409) when it has ended already.

    force: it is noted as cancelled at once, without waiting for its processes.
    """
    return Call("POST", job_path(job_id, "cancel"), job_of, query={"force": "true"} if force else {})


def retry(job_id: str, *, scope: str = "failed", set: Mapping[str, Any] | None = None) -> Call[JobView]:
    """Another attempt of a job, or of one scene, under the same id. set: variables over those it had.

    scope: failed makes what is missing and finds the rest; all makes everything anew.
    """
    return Call("POST", job_path(job_id, "retry"), job_of, body=given(scope=scope, set=set))


def delete(job_id: str) -> Call[None]:
    """Remove a job that has ended, and what it made."""
    return Call("DELETE", job_path(job_id), _nothing)


def stream_token(job_id: str) -> Call[StreamToken]:
    """A token for readers that cannot send a key, such as a browser: it opens this job's stream and files for a short while."""
    return Call("POST", job_path(job_id, "stream-token"), token_of)


def me() -> Call[Mapping[str, Any]]:
    """Who the key belongs to: userId, plan, workspace, readOnly, limits."""
    return Call("GET", "/v1/me", facts_of)


def usage() -> Call[Mapping[str, Any]]:
    """What the workspace has made: minutesThisMonth, minutesToday, allowed, resets, jobs."""
    return Call("GET", "/v1/usage", facts_of)


# ---- the shape of a request ------------------------------------------------------------------------------------------
def post(path: str, read: Callable[[Any], _T], body: Mapping[str, Any], key: str | None) -> Call[_T]:
    """What makes or reports something. key: the caller's own Idempotency-Key."""
    return Call("POST", path, read, body=given(**body), headers={} if key is None else {KEY: key}, keyed=True)


def given(**values: Any) -> dict[str, Any]:
    """What was given: a field that is left out means the server's own choice."""
    return {name: value for name, value in values.items() if value is not None}


def _joined(value: str | Iterable[str] | None) -> str | None:
    return value if value is None or isinstance(value, str) else ",".join(value)


def _nothing(found: Any) -> None:
    return None
