"""What FastAPI found wrong with a request, as Problems: a pointer, a stable code, a sentence.

What belongs here: bodies, query parameters and headers of the API. What does not: movies (movie/wording.py knows their fields).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any

from fastapi.exceptions import RequestValidationError

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.document import child

MOST = 100
# pydantic's error types on the left, codes users may rely on to the right; the same as a movie's. What is not listed is VALUE_INVALID.
_CODES: Mapping[str, str] = {
    "missing": "FIELD_MISSING",
    "extra_forbidden": "FIELD_UNKNOWN",
    "json_invalid": "DOCUMENT_INVALID",
    "literal_error": "VALUE_NOT_ALLOWED",
    "enum": "VALUE_NOT_ALLOWED",
    "greater_than": "VALUE_OUT_OF_RANGE",
    "greater_than_equal": "VALUE_OUT_OF_RANGE",
    "less_than": "VALUE_OUT_OF_RANGE",
    "less_than_equal": "VALUE_OUT_OF_RANGE",
    "finite_number": "NUMBER_INVALID",
    "string_too_long": "TEXT_TOO_LONG",
    "string_too_short": "FIELD_MISSING",
    "too_long": "TOO_MANY",
    "too_short": "FIELD_MISSING",
    "union_tag_invalid": "VALUE_NOT_ALLOWED",
    "union_tag_not_found": "FIELD_MISSING",
}
_WHERE = {"query": "in the query", "path": "in the path", "header": "among the headers", "cookie": "among the cookies"}


def problems_in(error: RequestValidationError) -> list[Problem]:
    """At least one. Pointers into the body start at the body; elsewhere they are /query/<name>, /path/<name>, /header/<name>."""
    problems = [_problem(each, error.body) for each in list(error.errors())[:MOST]]
    return problems or [Problem("", "VALUE_INVALID", "the request cannot be read; /docs says what is expected")]


def _problem(error: Mapping[str, Any], body: Any) -> Problem:
    kind, loc, said = error["type"], tuple(error["loc"]), str(error["msg"])
    code = _CODES.get(kind, "TYPE_WRONG" if kind.endswith(("_type", "_parsing")) else "VALUE_INVALID")
    if kind == "json_invalid":
        return Problem("", code, f"the body is no JSON: {(error.get('ctx') or {}).get('error', said)}, at character {loc[-1]}")
    place, inner = (loc[0], loc[1:]) if loc else ("body", ())
    if place != "body":
        name = ".".join(map(str, inner))
        return Problem(_joined((place, *inner)), code, f"{name}, {_WHERE.get(str(place), 'there')}: {_told(kind, said)}")
    if not inner and kind == "missing":
        return Problem("", code, "the body is missing; send a JSON object with Content-Type: application/json")
    if not inner and isinstance(body, bytes):
        return Problem("", "TYPE_WRONG", "the body is not marked as JSON; send it with Content-Type: application/json")
    pointer = pointer_into(body, inner, missing=kind == "missing")
    return Problem(pointer, code, f"{pointer or 'the body'}: {_told(kind, said)}")


def pointer_into(body: Any, loc: Sequence[Any], *, missing: bool = False) -> str:
    """`loc` as a JSON pointer into this body. pydantic puts names of union members and validators between; those are no places.

    missing: the last part is a field that is not there.
    """
    found: list[Any] = []
    here = body
    for number, part in enumerate(loc):
        if (isinstance(here, dict) and part in here) or (isinstance(here, list) and isinstance(part, int) and part < len(here)):
            here = here[part]
        elif not (missing and number == len(loc) - 1 and isinstance(here, dict)):
            continue
        found.append(part)
    return _joined(found)


def _joined(parts: Sequence[Any]) -> str:
    return reduce(child, parts, "")


def _told(kind: str, said: str) -> str:
    """pydantic's sentence, with what to do where it says only what is wrong."""
    if kind == "missing":
        return "this is missing; add it"
    if kind == "extra_forbidden":
        return "nothing goes by this name here; remove it, or check its spelling"
    said = said.removeprefix("Value error, ")
    return (said[:1].lower() + said[1:])[:400]
