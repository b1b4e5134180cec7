"""fal's errors: a list of details with types when a model failed, a text with a type when the way to it did, and what each calls for.

What belongs here: reading an error, wherever it stands. Pure. What does not: when fal says one (fal.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.generate.calls import words_of
from viralsync_pipelines.generate.provider import Blame, Fault
from viralsync_pipelines.generate.walk import plain_values
from viralsync_pipelines.generate.wording import clean, fault, fault_in

# Types of errors that pass by themselves; every other is the input's. fal itself has tried most of these ten times by then.
_PASSING = frozenset({
    "generation_timeout", "downstream_service_error", "downstream_service_unavailable", "internal_server_error", "internal_error",
    "request_timeout", "startup_timeout", "runner_scheduling_failure", "runner_connection_timeout", "runner_disconnected",
    "runner_connection_refused", "runner_connection_error", "runner_incomplete_response", "runner_server_error", "client_disconnected",
})  # fmt: skip
_BLAMES: Mapping[str, Blame] = {
    "content_policy_violation": Blame.POLICY, "file_download_error": Blame.SOURCE, "image_load_error": Blame.SOURCE,
    "client_cancelled": Blame.PASSING, "bad_request": Blame.INPUT, "no_media_generated": Blame.INPUT,
}  # fmt: skip
# These can also be said of a request that only asks, and then tell nothing of the job.
ABOUT_THE_JOB = (_PASSING | _BLAMES.keys()) - {"internal_error", "request_timeout", "client_disconnected", "bad_request"}
_STATUS_TOLD = re.compile(r"status code:? ?(\d{3})")


def fault_of(status: int | None, headers: Mapping[str, str], body: Any) -> tuple[bool, Fault]:
    """Whether it was cancelled, and otherwise why it failed: by the type of the error, what fal says of trying again, its words, and
    the status last. status: None for an error that came without one."""
    error_type, text = type_of(headers, body), text_of(body)
    told = _STATUS_TOLD.search(f"{body.get('error')} {text}" if isinstance(body, Mapping) else text)
    status = int(told[1]) if status is None and told else status
    if error_type == "client_cancelled" or (status == 499 and error_type != "client_disconnected"):
        return True, fault(Blame.PASSING, text)
    # Our own limit on how long it may wait to begin: it was meant.
    meant = headers.get("x-fal-request-timeout-type", "").lower() == "user"
    retryable = headers.get("x-fal-retryable", "").lower()
    if error_type in _BLAMES:
        return False, fault(_BLAMES[error_type], text)
    if (error_type in _PASSING or retryable == "true") and retryable != "false" and not meant:
        return False, fault(Blame.PASSING, text)
    final = bool(error_type) or retryable == "false" or meant or (status is not None and status < 500 and status not in {408, 409, 429})
    return False, fault_in(text, Blame.INPUT if final else Blame.PASSING)


def type_of(headers: Mapping[str, str], body: Any) -> str:
    """The error's type, "" without one: of the first detail, beside the text, or in a header."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    typed = next((each["type"] for each in detail if isinstance(each, Mapping) and isinstance(each.get("type"), str)), None) \
        if isinstance(detail, list) else None  # fmt: skip
    beside = body.get("error_type") if isinstance(body, Mapping) else None
    return typed or (beside if isinstance(beside, str) else "") or headers.get("x-fal-error-type", "")


def text_of(body: Any) -> str:
    """The sentence, with the name of the field that it is about."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    if isinstance(detail, list):
        parts = []
        for each in detail[:5]:
            loc = each.get("loc") if isinstance(each, Mapping) else None
            field = ".".join(str(part) for part in loc if part != "body")[:100] if isinstance(loc, list) else ""
            parts.append(f"{field}: {words_of(each)}" if field else words_of(each))
        found = "; ".join(filter(None, parts))
    else:
        found = words_of(detail)
    if not found and isinstance(body, Mapping):
        error = body.get("error")
        found = words_of(error) or _values(error) or words_of(body.get("payload_error"))
    return clean(found)


def _values(error: Any) -> str:
    plain = plain_values(error)
    return json.dumps(plain)[:1_000] if plain else ""
