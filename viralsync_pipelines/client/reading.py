"""JSON of the API into values. What is new in an answer is passed over, and stays in a job's `raw`.

What belongs here: field names and types of the wire. What does not: the values themselves (values.py), HTTP.
Every function raises UNREADABLE errors for JSON of another shape; whoever received it says so in words (answers.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

from viralsync_pipelines.client.values import (
    AttemptView,
    Eta,
    Event,
    EventPage,
    FamilyView,
    JobView,
    OutputLine,
    OutputPage,
    Page,
    Queue,
    StreamToken,
)
from viralsync_pipelines.jobs.model import Counts, Stage, Status

_T = TypeVar("_T")

UNREADABLE = (TypeError, ValueError, KeyError, OverflowError, RecursionError)


def job_of(found: Any) -> JobView:
    """A job object, or the shorter answer of a submission."""
    j = _object(found)
    return JobView(
        id=_need(j, "jobId", str), status=Status(_need(j, "status", str)), type=_text(j, "type") or "", phase=_text(j, "phase"),
        progress=_number(j, "progress") or 0.0, parent_id=_text(j, "parentJobId"), output_url=_text(j, "outputUrl"),
        error=_text(j, "error"), media=_mapping(j, "mediaData"), payload=_mapping(j, "payload") or {},
        children=_part(j, "children", _counts), created_at=moment(j, "createdAt"), updated_at=moment(j, "updatedAt"),
        title=_text(j, "title"), child_index=_whole(j, "childIndex"), child_progress_mode=_text(j, "childProgressMode"),
        result=_mapping(j, "result"), stage=_part(j, "stage", _stage), message=_text(j, "message") or "",
        queue=_part(j, "queue", _queue), eta=_part(j, "eta", _eta), estimated_completion_at=moment(j, "estimatedCompletionAt"),
        attempt=_whole(j, "attempt") or 1, attempts=tuple(_attempt(a) for a in _list(j, "attempts")), retry_at=moment(j, "retryAt"),
        cancel_requested_at=moment(j, "cancelRequestedAt"), sequence=_whole(j, "sequence") or 0, started_at=moment(j, "startedAt"),
        finished_at=moment(j, "finishedAt"), links=_mapping(j, "links") or {}, raw=j,
    )  # fmt: skip


def later(old: JobView, new: JobView) -> JobView:
    """A job as `new` has it, whose answer may be a short one; the rest as it was."""
    return new if "sequence" in new.raw else job_of({**old.raw, **new.raw})


def page_of(found: Any) -> Page:
    return Page(tuple(job_of(j) for j in _need(_object(found), "jobs", list)), _text(found, "nextCursor"))


def family_of(found: Any) -> FamilyView:
    """The answer of /children, and of a batch."""
    f = _object(found)
    return FamilyView(job_of(f["parent"]), tuple(job_of(j) for j in _need(f, "jobs" if "jobs" in f else "children", list)))


def event_of(sequence: Any, name: Any, found: Any) -> Event:
    if not isinstance(sequence, int) or not isinstance(name, str):
        raise TypeError("an event has a sequence and a name")
    return Event(sequence, name, job_of(found))


def events_of(found: Any) -> EventPage:
    listed = [_object(e) for e in _need(_object(found), "events", list)]
    return EventPage(tuple(event_of(e["sequence"], e["name"], e["job"]) for e in listed), _whole(found, "nextAfter"))


def line_of(found: Any) -> OutputLine:
    o = _object(found)
    return OutputLine(_need(o, "jobId", str), _text(o, "step") or "", _text(o, "stream") or "", _need(o, "text", str), _cursor(o))


def output_of(found: Any) -> OutputPage:
    return OutputPage(tuple(line_of(o) for o in _need(_object(found), "output", list)), _cursor(found))


def token_of(found: Any) -> StreamToken:
    t = _object(found)
    return StreamToken(_need(t, "token", str), moment(t, "expiresAt"), _need(t, "url", str))


def facts_of(found: Any) -> Mapping[str, Any]:
    return _object(found)


# Parts of a job. Fields of theirs that are new are passed over, as new fields of the job are.


def _counts(found: Mapping[str, Any]) -> Counts:
    return Counts(**{f.name: _whole(found, f.name) or 0 for f in fields(Counts)})


def _stage(found: Mapping[str, Any]) -> Stage:
    return Stage(_need(found, "name", str), _whole(found, "current") or 0, _whole(found, "total") or 0, _text(found, "description") or "")


def _queue(found: Mapping[str, Any]) -> Queue | None:
    position = _whole(found, "position")
    return None if position is None else Queue(position, _whole(found, "total"), _text(found, "queueName"))


def _eta(found: Mapping[str, Any]) -> Eta:
    return Eta(
        moment(found, "at"), _whole(found, "p50Ms"), _whole(found, "p90Ms"), found.get("basis"), _number(found, "confidence"),
        bool(found.get("longerThanUsual")),
    )  # fmt: skip


def _attempt(found: Any) -> AttemptView:
    a = _object(found)
    return AttemptView(
        _need(a, "attempt", int), Status(_need(a, "status", str)), moment(a, "startedAt"), moment(a, "finishedAt"), _text(a, "error"),
        _text(a, "runId"),
    )  # fmt: skip


# JSON of the expected type, or an error that names the field.


def _object(found: Any) -> Mapping[str, Any]:
    if not isinstance(found, dict):
        raise TypeError(f"an object was expected, not {type(found).__name__}")
    return found


def _need(found: Mapping[str, Any], name: str, kind: type[_T]) -> _T:
    value = found[name]
    if not isinstance(value, kind):
        raise TypeError(f"{name} is {type(value).__name__}, not {kind.__name__}")
    return value


def _maybe(found: Mapping[str, Any], name: str, kind: type[_T] | tuple[type[_T], ...]) -> _T | None:
    value = found.get(name)
    if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
        raise TypeError(f"{name} is {type(value).__name__}")
    return value


def _text(found: Mapping[str, Any], name: str) -> str | None:
    return _maybe(found, name, str)


def _number(found: Mapping[str, Any], name: str) -> float | None:
    value = _maybe(found, name, (int, float))
    return None if value is None else float(value)


def _whole(found: Mapping[str, Any], name: str) -> int | None:
    value = _number(found, name)
    return None if value is None else int(value)


def _mapping(found: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    value: dict[str, Any] | None = _maybe(found, name, dict)
    return value


def _list(found: Mapping[str, Any], name: str) -> Sequence[Any]:
    value: list[Any] | None = _maybe(found, name, list)
    return value or ()


def _part(found: Mapping[str, Any], name: str, read: Callable[[Mapping[str, Any]], _T]) -> _T | None:
    value = _mapping(found, name)
    return None if value is None else read(value)


def _cursor(found: Mapping[str, Any]) -> str | None:
    """Opaque: kept as text whatever it is."""
    value = found.get("cursor")
    return None if value is None else str(value)


def moment(found: Mapping[str, Any], name: str) -> datetime | None:
    value = _text(found, name)
    return None if value is None else datetime.fromisoformat(value)
