"""Reading requests, refusing them, and breaking off: what all routes share.

What belongs here: HTTP of one request. What does not: which routes there are (server.py).
"""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from viralsync_pipelines.sandbox.wire import problem

_MOST_BODY = 20_000_000


class Answered(Exception):
    """A request that is answered before it gets anywhere."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


def refused(status: int, title: str, detail: str) -> Answered:
    return Answered(JSONResponse(problem(status, title, detail), status, media_type="application/problem+json"))


async def as_problem(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse(problem(status, "Not found" if status == 404 else "Refused", getattr(error, "detail", "")), status)


async def json_of(request: Request) -> Any:
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > _MOST_BODY:
            raise refused(413, "Payload too large", f"a request has at most {_MOST_BODY:,} bytes; give files by address")
        parts.append(part)
    try:
        body = json.loads(b"".join(parts), parse_constant=_no_number)
        # Half a character would only fail later, where nobody can be told.
        json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise refused(400, "Bad request", f"the body is no JSON ({error})") from error
    if not isinstance(body, dict):
        raise refused(400, "Bad request", "the body is no JSON object")
    return body


def _no_number(word: str) -> None:
    raise ValueError(f"{word} is no number in JSON")


async def cut(request: Request) -> Response:
    """The connection breaks without a word. An ASGI server has no way to ask for that; uvicorn's own transport does it."""
    transport = getattr(getattr(request.receive, "__self__", None), "transport", None)
    if transport is not None:
        transport.abort()
        # It notices in the loop's next turn, and sends nothing then.
        await asyncio.sleep(0.01)
    return Response(status_code=502)


def base_of(request: Request) -> str:
    return str(request.base_url).rstrip("/")


def is_address(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= 2048 and re.match(r"https?://[!-~]+$", value) is not None


def patience_of(prefer: str) -> float:
    """Seconds of `Prefer: wait` or `wait=5`; 0 without."""
    match = re.search(r"\bwait(?:=(\d{1,3}))?\b", prefer)
    return 0.0 if match is None else float(min(60, max(1, int(match[1] or 60))))
