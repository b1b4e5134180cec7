"""What `GET /v1/jobs` understands: filters, and the opaque cursor of its pages.

What belongs here: reading the query, refusing what it does not know. What does not: finding jobs (board/).
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from viralsync_pipelines.board.sources import Query
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.jobs.kinds import DOMAINS
from viralsync_pipelines.jobs.model import Status

_MOMENT = {"type": "string", "format": "date-time"}
_FILTERS: Sequence[tuple[str, dict[str, Any], str]] = (
    ("limit", {"type": "integer", "minimum": 1, "maximum": 100, "default": 25}, "Jobs in the reply"),
    ("cursor", {"type": "string"}, "The `nextCursor` of the reply before"),
    ("type", {"type": "string"}, f"Types as render.movie, or domains ({', '.join(DOMAINS)}); several with commas between"),
    ("status", {"type": "string"}, f"Of {', '.join(Status)}; several with commas between"),
    ("projectId", {"type": "string"}, "Jobs of this project"),
    ("channel", {"type": "string"}, "Jobs of this channel"),
    ("parent", {"type": "string"}, "Children of this job; without it, jobs that are nobody's child"),
    ("from", _MOMENT, "Created at this time or later"),
    ("to", _MOMENT, "Created before this time"),
)
PARAMETERS = [{"name": name, "in": "query", "required": False, "schema": schema, "description": told} for name, schema, told in _FILTERS]
"""The filters, for the OpenAPI document."""
_NAMES = tuple(name for name, _, _ in _FILTERS)
_STATUSES = frozenset(status.value for status in Status)
_LONGEST = 255
_ID = re.compile(r"[a-z0-9_]{1,100}")


def query_of(given: Sequence[tuple[str, str]], workspace: str) -> tuple[Query, Callable[[tuple[int, str]], str]]:
    """The query of a list request, and what makes its next cursor. type and status may be given several times or with commas.

    Raises Refused: 400 UNKNOWN_FILTER, VALIDATION_ERROR, CURSOR_INVALID.
    """
    for name, value in given:
        if name not in _NAMES:
            raise Refused(400, "UNKNOWN_FILTER", f"{name[:60]!r} is no filter of jobs; there are {', '.join(_NAMES)}")
        if len(value) > (_LONGEST if name != "cursor" else 1_000):
            raise _wrong(name, "is too long")
        if "\x00" in value:
            raise _wrong(name, "has a NUL in it")
    one = dict(given)
    query = Query(
        workspace, _types(given), _statuses(given), one.get("projectId"), one.get("channel"), one.get("parent"), _moment(one, "from"),
        _moment(one, "to"), _before(one["cursor"]) if "cursor" in one else None, _limit(one.get("limit", "25")),
    )  # fmt: skip
    return query, _cursor


def _split(given: Sequence[tuple[str, str]], name: str) -> list[str]:
    return [part.strip() for key, value in given if key == name for part in value.split(",")]


def _types(given: Sequence[tuple[str, str]]) -> frozenset[str] | None:
    found = _split(given, "type")
    for kind in found:
        if not kind:
            raise _wrong("type", f"is empty; write a type as render.movie, or a domain: {', '.join(DOMAINS)}")
    return frozenset(found) if found else None


def _statuses(given: Sequence[tuple[str, str]]) -> frozenset[str] | None:
    found = _split(given, "status")
    for status in found:
        if status not in _STATUSES:
            raise _wrong("status", f"{status[:40]!r} is no status; there are {', '.join(Status)}")
    return frozenset(found) if found else None


def _limit(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= 4 and 1 <= int(text) <= 100):
        raise _wrong("limit", f"{text[:20]!r} must be a whole number from 1 to 100")
    return int(text)


def _moment(one: dict[str, str], name: str) -> int | None:
    text = one.get(name)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        return round(moment.timestamp() * 1000)
    except (ValueError, OverflowError):
        raise _wrong(name, f"{text[:40]!r} is no time; write it as 2026-04-02T10:00:00Z") from None


def _cursor(last: tuple[int, str]) -> str:
    return base64.urlsafe_b64encode(json.dumps({"lastId": last[1], "createdAt": last[0]}, separators=(",", ":")).encode()).decode()


def _before(cursor: str) -> tuple[int, str]:
    try:
        kept = json.loads(base64.urlsafe_b64decode(cursor.encode()))
        created, last = kept["createdAt"], kept["lastId"]
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
        created, last = None, None
    known = type(created) is int and 0 <= created < 2**53 and isinstance(last, str) and _ID.fullmatch(last) is not None
    if not known:
        raise Refused(400, "CURSOR_INVALID", "this cursor was never given out; leave it out to begin with the newest job")
    return created, last


def _wrong(name: str, told: str) -> Refused:
    return Refused(400, "VALIDATION_ERROR", f"{name} {told}")
