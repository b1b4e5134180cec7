"""Every refusal of the gateway in one shape: `{error, code}`, or problem+json (RFC 9457) for those who ask for it.

What belongs here: statuses of codes, the shape, what is said of faults nobody foresaw. What does not: wording of single cases
(that stands where the fault is found).
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.exceptions import HTTPException

from viralsync_pipelines.errors import MovieInvalid, Problem, ViralsyncError
from viralsync_pipelines.gateway.validation import problems_in

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATUS_OF: Mapping[str, int] = {
    "VALIDATION_ERROR": 400,
    "UNKNOWN_FILTER": 400,
    "CURSOR_INVALID": 400,
    "UNAUTHORIZED": 401,
    "API_KEY_REVOKED": 401,
    "RENDER_QUOTA_EXCEEDED": 402,
    "RENDER_QUOTA_DAILY_EXCEEDED": 402,
    "PLAN_LIMIT_EXCEEDED": 402,
    "FORBIDDEN": 403,
    "JOB_NOT_FOUND": 404,
    "NOT_FOUND": 404,
    "LINE_NOT_FOUND": 404,
    "OBJECT_MISSING": 404,
    "MOVIE_NOT_FOUND": 404,
    "METHOD_NOT_ALLOWED": 405,
    # A movie that is prepared when it is sent in may name what is not to be had.
    **dict.fromkeys(
        (
            "SOURCE_NOT_FOUND", "SOURCE_REFUSED", "SOURCE_UNREADABLE", "SOURCE_CHANGED", "SOURCE_TOO_LARGE", "FONT_NOT_FOUND",
            "FONT_UNREADABLE", "GLYPH_MISSING", "SPEECH_EMPTY", "SPEECH_TOO_LONG", "SPEECH_TEXT_REFUSED", "SPEECH_SPEED_REFUSED",
            "SPEECH_SSML_REFUSED", "SPEECH_PITCH_REFUSED", "SPEECH_STYLE_REFUSED", "SPEECH_REFUSED", "VOICE_NOT_FOUND", "ENGINE_NOT_FOUND",
        ), 400,
    ),
    "RUN_NOT_FOUND": 404,
    "INVALID_STATE": 409,
    "RUN_ACTIVE": 409,
    "CONCURRENCY_LIMIT_EXCEEDED": 409,
    "IDEMPOTENCY_IN_PROGRESS": 409,
    "PAYLOAD_TOO_LARGE": 413,
    "IDEMPOTENCY_KEY_REUSED": 422,
    "RATE_LIMITED": 429,
    "RENDER_UNAVAILABLE": 503,
    "STORE_UNAVAILABLE": 503,
    "SOURCE_UNAVAILABLE": 503,
    "DATABASE_UNAVAILABLE": 503,
    "DISK_FULL": 503,
    **dict.fromkeys(
        (
            "SPEECH_ENGINE_MISSING", "SPEECH_KEY_MISSING", "SPEECH_KEY_REFUSED", "SPEECH_QUOTA_EXCEEDED", "SPEECH_BUSY",
            "SPEECH_UNAVAILABLE", "SPEECH_AUDIO_INVALID",
        ), 503,
    ),
}  # fmt: skip
"""Statuses of errors raised below the gateway. Any other code is a fault of ours: 500, and its words stay in the log."""

# Words from deep inside may name hosts and paths; whoever asks over the network gets these.
_PUBLIC: Mapping[str, str] = {
    "RENDER_UNAVAILABLE": "what does the work cannot be reached just now; try again in a moment, with the same Idempotency-Key",
    "DATABASE_UNAVAILABLE": "the database cannot be reached just now; try again in a moment",
    "STORE_UNAVAILABLE": "the store cannot be reached just now; try again in a moment",
    "DISK_FULL": "this machine has no space left; try again when its operator has made some",
    "OBJECT_MISSING": "there is no such file; the job has not made it, or it was deleted",
}
_RETRY_S = 5
_BY_STATUS: Mapping[int, str] = {
    401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED", 409: "INVALID_STATE", 413: "PAYLOAD_TOO_LARGE",
    429: "RATE_LIMITED", 503: "RENDER_UNAVAILABLE",
}  # fmt: skip
_REQUEST_ID = "request_id"
_log = logging.getLogger("viralsync.gateway")


class Refused(ViralsyncError):
    """A request that is answered with `status`; anybody may read the message. Raise it anywhere under a route."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        headers: Mapping[str, str] | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.headers = dict(headers or {})
        self.problems = tuple(problems)


class ProblemReply(BaseModel):
    """One fault in what was sent."""

    pointer: str
    code: str
    message: str


class ErrorReply(BaseModel):
    """What every refusal looks like."""

    error: str
    code: str
    problems: list[ProblemReply] | None = None
    requestId: str | None = None


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route, for the OpenAPI document: `documented(400, 404, 409)`."""
    return {status: {"model": ErrorReply, "description": HTTPStatus(status).phrase} for status in statuses}


def install(app: FastAPI) -> None:
    """Answer every fault of `app` in this shape. Before limiting.install."""
    app.add_exception_handler(ViralsyncError, _on_ours)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http)
    app.add_middleware(LastResort)


def reply_to(error: ViralsyncError, *, accept: str = "", instance: str = "", request_id: str | None = None) -> Response:
    """The reply an error means."""
    if isinstance(error, Refused):
        status, message, headers = error.status, error.message, dict(error.headers)
    else:
        status, headers = STATUS_OF.get(error.code, 500), {}
        message = _PUBLIC.get(error.code, error.message)
    code = error.code
    if status == 500:
        code, message = "INTERNAL_ERROR", f"something broke here; the operator finds it in the log under {request_id}"
    if status == 401:
        headers.setdefault("WWW-Authenticate", "Bearer")
    if status == 503:
        headers.setdefault("Retry-After", str(_RETRY_S))
    problems = [each.as_json() for each in getattr(error, "problems", ())]
    if isinstance(error, MovieInvalid):
        # Its own words list every problem, line by line; they stand below.
        count = len(problems)
        message = f"the {error.what} has {count} problem{'' if count == 1 else 's'}; the first: {problems[0]['message']}"
    headers["Vary"] = "Accept"
    if _wants_problem(accept):
        body: dict[str, Any] = {
            "type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": message, "instance": instance,
            "code": code,
        }  # fmt: skip
        if problems:
            body["errors"] = [{"pointer": each["pointer"], "code": each["code"], "detail": each["message"]} for each in problems]
        media_type = "application/problem+json"
    else:
        body, media_type = {"error": message, "code": code}, "application/json"
        if problems:
            body["problems"] = problems
    if status == 500 and request_id is not None:
        body["requestId"] = request_id
    # ASCII: a message may quote half a character of the user's, which UTF-8 has no bytes for.
    return Response(json.dumps(body), status, headers=headers, media_type=media_type)


async def _on_ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, ViralsyncError)  # noqa: S101 - Starlette calls by type
    if not isinstance(error, Refused) and STATUS_OF.get(error.code, 500) >= 500:
        _log.error("%s %s %s: %s", _id_of(request.scope), request.method, request.url.path, error, exc_info=error)
    return _reply(request, error)


async def _on_invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - Starlette calls by type
    problems = problems_in(error)
    count = len(problems)
    told = f"the request has {count} problem{'' if count == 1 else 's'}; the first: {problems[0].message}"
    return _reply(request, Refused(400, "VALIDATION_ERROR", told, problems=problems))


async def _on_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101 - Starlette calls by type
    told = {
        404: f"there is nothing at {request.url.path[:200]}; /docs lists what there is",
        405: f"{request.method} is not understood here; /docs lists what is",
        413: "the body is too large; send less",
    }.get(error.status_code, f"{error.detail}; /docs says what is expected")
    code = _BY_STATUS.get(error.status_code, "VALIDATION_ERROR" if error.status_code < 500 else "INTERNAL_ERROR")
    return _reply(request, Refused(error.status_code, code, told, headers=error.headers))


def _reply(request: Request, error: ViralsyncError) -> Response:
    return reply_to(error, accept=request.headers.get("accept", ""), instance=request.url.path, request_id=_id_of(request.scope))


def _wants_problem(accept: str) -> bool:
    """Whether problem+json is asked for by name, and not less than plain JSON."""
    weights = {"application/problem+json": 0.0, "application/json": 0.0}
    for part in accept.lower().split(","):
        name, *parameters = (each.strip() for each in part.split(";"))
        if name in weights:
            weights[name] = max(weights[name], _weight(parameters))
    return weights["application/problem+json"] > 0 and weights["application/problem+json"] >= weights["application/json"]


def _weight(parameters: Sequence[str]) -> float:
    for each in parameters:
        name, _, value = each.partition("=")
        if name.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


def _id_of(scope: Scope) -> str:
    return str(scope.setdefault("state", {}).setdefault(_REQUEST_ID, "req_" + secrets.token_hex(6)))


class LastResort:
    """ASGI middleware: whatever nobody foresaw is logged under a request id, and answered with that id alone. Every reply carries it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = _id_of(scope)
        started = False

        async def with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), (b"x-request-id", request_id.encode())]}
            await send(message)

        try:
            await self.app(scope, receive, with_id)
        except Exception as error:
            if started:
                # Half an answer is out; all that is left is to break off, so that nobody takes it for a whole one.
                raise
            _log.exception("%s %s %s", request_id, scope["method"], scope["path"])
            accept = b",".join(value for name, value in scope["headers"] if name == b"accept").decode("latin-1")
            broken = ViralsyncError(str(error))
            await reply_to(broken, accept=accept, instance=scope["path"], request_id=request_id)(scope, receive, with_id)
