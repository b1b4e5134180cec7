"""What a callback tells and when, when it is tried again, and what an answer to it means. Pure.

What belongs here: messages out of a job's changes, their bodies, pauses between tries. What does not: keeping messages
(storage/outbox.py), sending and signing them (board/deliveries.py).

The body is ViralSync's documented one, told apart by `status`: running (progress), done, failed, cancelled. `type` (of the job, as in
the job object), `sequence` and `attempt` are ours, and `children` stands in every message of a parent, not in progress alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from viralsync_pipelines.jobs.model import WHOLE, Change, Job, Status
from viralsync_pipelines.jobs.view import iso

PROGRESS = "progress"
PROGRESS_EVERY_MS = 5_000
PAUSES_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Before the second try, the third, and so on; the first comes at once. Three days in all, as Standard Webhooks advises."""
TRIES = len(PAUSES_S) + 1
# Standard Webhooks asks for bodies below 20 kB: an error of this length fills 15 at worst, twelve bytes for each character beyond U+FFFF.
_MOST_ERROR = 1_200
_MOST_URL = 4_000
_MEDIA = ("duration", "width", "height", "fileSize")
_MOST_RETRY_AFTER_S = 86_400.0

OutputUrl = Callable[[Job], str | None]
LOCAL_GATEWAY = "http://127.0.0.1:3000"
"""Where the gateway is when no setting says so and nobody asks through it."""


@dataclass(frozen=True)
class Told:
    """What a job's receiver has been told already: the number of the last message, and the time of the last progress."""

    sequence: int = 0
    progress_ms: int | None = None


@dataclass(frozen=True)
class Message:
    """One callback, the same at every try. kind: progress, done, failed, cancelled. at_ms: when the change happened. body: JSON, ASCII."""

    id: str
    job_id: str
    sequence: int
    kind: str
    at_ms: int
    body: str


def messages_for(job_id: str, changes: Iterable[Change], told: Told, output_url: OutputUrl) -> list[Message]:
    """What of a family's changes its receiver is to be told about this job: every end, and progress at most every five seconds.

    Time is that of the changes, never the clock's: in whatever pieces and however often changes are read, the messages are the same.
    """
    made = []
    for change in changes:
        job = change.job
        if job.id != job_id or change.sequence <= told.sequence:
            continue
        if job.status.terminal:
            kind = job.status.value
        elif job.status is not Status.QUEUED and _is_time(job.updated_ms, told):
            kind = PROGRESS
        else:
            continue
        made.append(Message(f"msg_{job_id}_{change.sequence}", job_id, change.sequence, kind, job.updated_ms, _body(change, output_url)))
        told = told_by(told, made[-1:])
    return made


def told_by(told: Told, messages: Iterable[Message]) -> Told:
    """`told`, and then these messages."""
    for message in messages:
        told = Told(message.sequence, message.at_ms if message.kind == PROGRESS else told.progress_ms)
    return told


def _is_time(at_ms: int, told: Told) -> bool:
    return told.progress_ms is None or at_ms - told.progress_ms >= PROGRESS_EVERY_MS


def _body(change: Change, output_url: OutputUrl) -> str:
    job = change.job
    # A receiver written for ViralSync's documentation knows progress by "running"; that a parent waits for its children is in `phase`.
    status = job.status if job.status.terminal else Status.RUNNING
    told: dict[str, Any] = {
        "jobId": job.id, "type": job.type, "status": status.value, "progress": job.progress / WHOLE, "outputUrl": None,
        "timestamp": iso(job.updated_ms), "sequence": change.sequence, "attempt": job.attempt,
    }  # fmt: skip
    if job.counts is not None:
        told["children"] = vars(job.counts)
    if job.status is Status.DONE:
        url = output_url(job)
        told["outputUrl"] = url if url is not None and len(url) <= _MOST_URL else None
        told["mediaData"] = _media(job.media)
    elif job.status is Status.FAILED:
        told["error"] = _short(job.error)
    elif not job.status.terminal:
        told["phase"] = job.phase
    return json.dumps(told, separators=(",", ":"))


def _media(media: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if media is None:
        return None
    numbers = {name: media[name] for name in _MEDIA if isinstance(media.get(name), int | float) and math.isfinite(media[name])}
    return numbers or None


def _short(error: str | None) -> str | None:
    if error is None or len(error) <= _MOST_ERROR:
        return error
    return error[: _MOST_ERROR - 3] + "..."


# ---- tries and answers -------------------------------------------------------------------------------------------------------


class Verdict(StrEnum):
    """What an answer means. GONE: the receiver wants no more of them. SLOW: it may come right, but not while more is sent there."""

    DELIVERED = "delivered"
    GONE = "gone"
    FAILED = "failed"
    SLOW = "slow"


def verdict_on(status: int | None) -> Verdict:
    """By the status of the answer, None when there was none. A redirect is a failure: its target was never checked."""
    if status is None or status in {429, 502, 503, 504}:
        return Verdict.SLOW
    if 200 <= status < 300:
        return Verdict.DELIVERED
    return Verdict.GONE if status == 410 else Verdict.FAILED


def pause_ms(tries: int, verdict: Verdict, retry_after_s: float | None, jitter: float) -> int | None:
    """How long to wait after the `tries`-th try, or None when it was the last. jitter: 0 to 1 for up to a tenth more.

    A slow receiver's Retry-After makes the pause longer, never shorter: one that is down for an hour and asks for ten seconds
    each time would use up every try in two minutes.
    """
    if tries >= TRIES:
        return None
    pause = PAUSES_S[max(tries, 1) - 1] * (1 + jitter / 10)
    if verdict is Verdict.SLOW and retry_after_s is not None:
        pause = max(pause, min(retry_after_s, _MOST_RETRY_AFTER_S))
    return round(pause * 1000)
