"""The OpenAPI document as clients are generated from it: every reply that a route gives, whichever layer gives it.

What belongs here: what FastAPI cannot know of replies that middleware, keys and validation make. What does not: routes.
"""

from __future__ import annotations

from copy import deepcopy
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_ERROR = {"$ref": "#/components/schemas/ErrorReply"}
_PROBLEM = {
    "type": "object", "description": "RFC 9457, for those who accept it.",
    "required": ["type", "title", "status", "detail", "instance", "code"],
    "properties": {
        "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"}, "detail": {"type": "string"},
        "instance": {"type": "string"}, "code": {"type": "string"}, "requestId": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object", "required": ["pointer", "code", "detail"],
                "properties": {"pointer": {"type": "string"}, "code": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}  # fmt: skip

_ONCE = ("Idempotency-Key", {"type": "string", "minLength": 1, "maxLength": 255}, "However often it is sent with it, it happens once")
_KNOWN = ("If-None-Match", {"type": "string"}, "The ETag of the reply before: 304 while nothing has changed")
_WAIT = ("Prefer", {"type": "string", "examples": ["wait=30"]}, "`wait=n`: hold the reply up to n seconds, until there is news")
_SEEN = ("Last-Event-ID", {"type": "string"}, "The id of the last event that was seen: what came after it is sent")
_HEADERS = {
    ("post", "/api/execute"): (_ONCE,), ("post", "/v1/render/jobs"): (_ONCE,), ("post", "/v1/jobs"): (_ONCE,),
    ("post", "/v1/jobs/batch"): (_ONCE,),
    ("post", "/v1/jobs/{job_id}/progress"): (_ONCE,), ("post", "/v1/jobs/{job_id}/complete"): (_ONCE,),
    ("post", "/v1/jobs/{job_id}/fail"): (_ONCE,), ("get", "/v1/jobs/{job_id}"): (_KNOWN, _WAIT),
    ("get", "/v1/jobs/{job_id}/progress"): (_SEEN,),
}  # fmt: skip
"""Request headers that routes read themselves."""
# Addresses that carry their own right to be asked.
_OPEN = ("/v1/shared/", "/api/webhooks/")
_WEBHOOK = {
    "tags": ["generate"], "summary": "A provider tells of a job", "operationId": "receive_webhook",
    "description": "At the address that the provider was given with the job: s and t are in it. Its signature is checked, it is kept, and"
    " what follows from it follows later. What comes twice is kept once.",
    "parameters": [
        {"name": "record_id", "in": "path", "required": True, "schema": {"type": "string"}},
        {"name": "s", "in": "query", "required": True, "schema": {"type": "string"}, "description": "Which submit it answers"},
        {"name": "t", "in": "query", "required": True, "schema": {"type": "string"}, "description": "The address's own secret"},
    ],
    "requestBody": {"content": {"application/json": {"schema": {}}}},
    "responses": {
        "200": {
            "description": "It is kept", "content": {
                "application/json": {
                    "schema": {
                        "type": "object", "required": ["success", "status"],
                        "properties": {"success": {"const": True}, "status": {"enum": ["received", "duplicate"]}},
                    }
                }
            },
        },
        **{str(status): {"description": HTTPStatus(status).phrase, "content": {"application/json": {"schema": _ERROR}}}
           for status in (400, 401, 404, 413, 503)},
    },
}  # fmt: skip
"""Of webhooks.py, whose route is no FastAPI's."""


def install(app: FastAPI) -> None:
    """Let `app` describe itself so; made once, when it is first asked for."""

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
            made["paths"]["/api/webhooks/job/{record_id}"] = {"post": deepcopy(_WEBHOOK)}
            app.openapi_schema = complete(made)
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with what is true of all routes alike."""
    schemas: dict[str, Any] = document["components"]["schemas"]
    schemas["ProblemDetails"] = _PROBLEM
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for name, schema, told in _HEADERS.get((method, path), ()):
                given = {"name": name, "in": "header", "required": False, "schema": schema, "description": told}
                operation.setdefault("parameters", []).append(given)
            _complete(operation, keyed=path.startswith(("/v1/", "/api/")) and not path.startswith(_OPEN))
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    return document


def _complete(operation: dict[str, Any], *, keyed: bool) -> None:
    replies: dict[str, Any] = operation["responses"]
    # FastAPI's own word for what is 400 here.
    told = replies.get("422", {}).get("content", {}).get("application/json", {}).get("schema", {})
    if told.get("$ref", "").endswith("/HTTPValidationError"):
        del replies["422"]
    statuses = [401, 403, 429, 500, 503] if keyed else [500]
    if operation.get("parameters") or "requestBody" in operation:
        statuses.append(400)
    if "requestBody" in operation:
        statuses.append(413)
    for status in statuses:
        replies.setdefault(str(status), {"description": HTTPStatus(status).phrase, "content": {"application/json": {"schema": _ERROR}}})
    for reply in replies.values():
        content = reply.get("content", {})
        if content.get("application/json", {}).get("schema") == _ERROR:
            content["application/problem+json"] = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
    operation["responses"] = dict(sorted(replies.items()))
