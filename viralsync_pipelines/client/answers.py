"""What an answer means: a value, an error in words, or another try after a pause.

What belongs here: judging statuses and bodies, and how long to wait. Pure. What does not: sending (synchronous.py, asynchronous.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from viralsync_pipelines.client.reading import UNREADABLE
from viralsync_pipelines.client.values import JobView
from viralsync_pipelines.errors import Problem, ViralsyncError
from viralsync_pipelines.http import HttpError, retry_after

_T = TypeVar("_T")

TRIES = 3
LONGEST_PAUSE_S = 30.0
# A server that asks for a longer pause is taken at its word, and the request is given up rather than slept through.
LONGEST_WAIT_S = 60.0


class ApiError(HttpError):
    """The API said no, or nothing. `code` is the API's own, or GATEWAY_UNREACHABLE, ANSWER_UNREADABLE, HTTP_<status>.

    status: None when there was no answer. problems: of a refused document, one for each fault. retry_after: seconds, if it was told.
    """

    code = "API_FAILED"

    def __init__(
        self, status: int | None, code: str, message: str, problems: Sequence[Problem] = (), retry_after: float | None = None
    ) -> None:  # fmt: skip
        super().__init__(message, status=status, retry_after=retry_after, code=code)
        self.problems = tuple(problems)


class StillRunning(ViralsyncError):
    """A job did not end within the time that was given to wait for it; `job` is how it stands. It goes on."""

    code = "WAIT_TIMED_OUT"

    def __init__(self, job: JobView, seconds: float) -> None:
        super().__init__(f"{job.id} is {job.status} at {job.progress:.0%} after {seconds:g} s; it goes on, wait again")
        self.job = job


@dataclass(frozen=True)
class Pacing:
    """Pauses between tries: `first_s`, doubling, up to LONGEST_PAUSE_S, each up to a fifth longer by `jitter` (0 to 1)."""

    jitter: Callable[[], float]
    first_s: float = 1.0

    def pause(self, failures: int) -> float:
        """Before the next try, after so many in a row that failed (1 or more)."""
        doubled = self.first_s * 2.0 ** min(failures - 1, 10)
        return min(LONGEST_PAUSE_S, doubled) * (1 + self.jitter() / 5)


def passing(error: ApiError) -> bool:
    """Whether the same request may succeed later without anybody changing anything."""
    if error.status is None:
        return error.code == UNREACHABLE
    # The first of two equal requests is still at work; its answer is given to both.
    return error.status in {408, 425, 429} or error.status >= 500 or error.code == "IDEMPOTENCY_IN_PROGRESS"


UNREACHABLE = "GATEWAY_UNREACHABLE"


def pause_before_retry(error: ApiError, *, repeatable: bool, failures: int, tries: int, pacing: Pacing) -> float | None:
    """Seconds until an ordinary request is sent again, or None when it is not."""
    if not repeatable or failures >= tries or not passing(error):
        return None
    if error.retry_after is None:
        return pacing.pause(failures)
    return error.retry_after if error.retry_after <= LONGEST_WAIT_S else None


def unreachable(base: str, why: str, *, refused: bool) -> ApiError:
    """No answer. refused: nobody listens there."""
    if refused:
        return ApiError(None, UNREACHABLE, f"no gateway answers at {base} ({why}); start it with `viralsync up`, or give its address")
    return ApiError(None, UNREACHABLE, f"{base} broke off or did not answer in time ({why}); try again")


def value_of(status: int, headers: Mapping[str, str], body: bytes, place: str, read: Callable[[Any], _T]) -> _T:
    """The value in an answer. ApiError for a refusal, and for what no gateway would say."""
    if status >= 300:
        raise refusal(status, headers, body, place)
    try:
        return read(json.loads(body) if body else None)
    except UNREADABLE as error:
        told = f"{place} answered {status} with what is no answer of a ViralSync gateway ({_words(error)}); check the address"
        raise ApiError(status, "ANSWER_UNREADABLE", told) from error


def refusal(status: int, headers: Mapping[str, str], body: bytes, place: str) -> ApiError:
    """An answer of 300 or more as an error, in the server's own words where it has some."""
    wait = retry_after(headers)
    if 300 <= status < 400:
        onward = headers.get("location", "elsewhere")
        return ApiError(status, f"HTTP_{status}", f"{place} points to {onward}; give the address of the gateway itself", (), wait)
    found = _said(body)
    told = found.get("error") or found.get("detail")
    code = found.get("code")
    message = told if isinstance(told, str) and told else f"{place} answered {status}"
    return ApiError(status, code if isinstance(code, str) and code else f"HTTP_{status}", message, _problems(found), wait)


def _said(body: bytes) -> dict[str, Any]:
    """The JSON object of a refusal; nothing for a proxy's HTML."""
    try:
        found = json.loads(body)
    except UNREADABLE:
        return {}
    return found if isinstance(found, dict) else {}


def _problems(found: Mapping[str, Any]) -> tuple[Problem, ...]:
    listed = found.get("problems") or found.get("errors")
    if not isinstance(listed, list):
        return ()
    return tuple(
        Problem(str(p.get("pointer", "")), str(p.get("code", "INVALID")), str(p.get("message") or p.get("detail", "")))
        for p in listed
        if isinstance(p, dict)
    )


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"[:200]
