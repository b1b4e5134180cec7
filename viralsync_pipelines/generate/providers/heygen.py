"""HeyGen, version 3: talking heads, told of by webhook or polling.

The one provider that takes a key of ours for a submit (Idempotency-Key) and answers the same key with the same video for 24 hours: a submit
whose answer was lost is sent once more under it. `fixed` of a model is part of the body, its `type` among it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate.calls import words_of
from viralsync_pipelines.generate.inputs import data_uri, renamed
from viralsync_pipelines.generate.loose import at, job_id, number, text, word
from viralsync_pipelines.generate.provider import (
    Blame,
    CallFailed,
    Fault,
    NotSent,
    Order,
    Refused,
    Said,
    Seen,
    Taken,
    Ticket,
    Unsure,
)
from viralsync_pipelines.generate.walk import outputs_in
from viralsync_pipelines.generate.wording import clean, fault, refused
from viralsync_pipelines.http import retry_after

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://api.heygen.com"
# Its keys are remembered for 24 hours; after that the same submit would make another video.
REPLAYED_MS = 23 * 3_600_000
IN_PROGRESS_S = 5.0

_SAID: Mapping[str, Said] = {
    "waiting": Said.QUEUED, "pending": Said.QUEUED, "queued": Said.QUEUED, "processing": Said.RUNNING, "completed": Said.DONE,
    "failed": Said.FAILED,
}  # fmt: skip
# Of an account's many events, those about videos like ours; users have been sent others, unasked.
_EVENTS: Mapping[str, Said] = {"avatar_video.success": Said.DONE, "avatar_video.fail": Said.FAILED}
_NAMES = {
    "avatar": "avatar_id", "text": "script", "voice": "voice_id", "audio": "audio_url", "aspect_ratio": "aspect_ratio",
    "resolution": "resolution", "motion_prompt": "motion_prompt", "title": "title",
}  # fmt: skip
# Failure codes are not listed anywhere; these words are what they are made of. The first that fits.
_BLAMES: tuple[tuple[re.Pattern[str], Blame], ...] = (
    (re.compile(r"(?i)moderat|policy|nsfw|prohibited|unsafe|sensitive"), Blame.POLICY),
    (re.compile(r"(?i)quota|credit|balance|payment|unauthori|forbidden|subscription|api.?key"), Blame.ACCOUNT),
    (re.compile(r"(?i)download|fetch|inaccessible|unreachable"), Blame.SOURCE),
    (re.compile(r"(?i)invalid|not.?found|too.?(long|large|short|small)|unsupported|missing|no.?face"), Blame.INPUT),
)
_KEY = re.compile(r"[A-Za-z0-9_:.-]{1,255}")


def idempotency_key(order: Order) -> str:
    """The same for one submit however often it is sent, and for no other."""
    key = order.nonce or f"{order.record_id}.{order.submit}"
    return key if _KEY.fullmatch(key) else hashlib.sha256(key.encode(errors="surrogatepass")).hexdigest()


def seen_of(body: Any) -> Seen:
    """What a video's JSON says. Total: a status nobody knows is running."""
    data = at(body, "data")
    status = word(at(data, "status"))
    said = _SAID.get(status, Said.RUNNING)
    seconds = number(at(data, "duration")) if said is Said.DONE else None
    return Seen(
        said, status, outputs=outputs_in(at(data, "video_url"), "video") if said is Said.DONE else (),
        fault=fault_of(text(at(data, "failure_code")), text(at(data, "failure_message"))) if said is Said.FAILED else None,
        extra={"duration": seconds} if seconds is not None else {},
    )  # fmt: skip


def fault_of(code: str, message: str) -> Fault:
    """By the code, or by the message where that says nothing."""
    told = (message or "the video failed") + (f" ({code})" if code else "")
    for words in (code, message):
        for pattern, blame in _BLAMES:
            if pattern.search(words[:1_000]):
                return fault(blame, told)
    return fault(Blame.PASSING, told)


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    code, told = text(at(body, "error", "code")), f"heygen: {clean(words_of(body))}"
    if status == 409:
        # Another submit under the same key is being answered: the video is there, or soon.
        pause = retry_after(headers)
        return Unsure(told, retry_after_s=IN_PROGRESS_S if pause is None else pause)
    if status in {400, 422}:
        # A 400 is never passing: the same would be answered the same.
        blame = fault_of(code, "").blame
        return refused(blame, told) if blame is not Blame.PASSING else None
    return None


def _body(order: Order) -> dict[str, Any]:
    body = {**order.model.fixed, **renamed(order.params, _NAMES), "callback_id": f"{order.record_id}:{order.submit}"}
    image, colour = order.params.get("image"), order.params.get("background")
    if image:
        inline = data_uri(image)
        body["image"] = (
            {"type": "url", "url": image} if inline is None else {"type": "base64", "media_type": inline[0], "data": inline[1]}
        )  # fmt: skip
    if colour:
        body["background"] = {"type": "color", "value": colour}
    if order.webhook_url:
        body["callback_url"] = order.webhook_url
    return body


class HeyGen:
    """See generate/provider.py."""

    name = "heygen"

    def headers(self, calls: Calls) -> dict[str, str]:
        return {"X-Api-Key": calls.key("HEYGEN_API_KEY", self.name)}

    def submit(self, calls: Calls, order: Order) -> Taken:
        answer = calls.send(
            "POST", f"{calls.base(self.name, BASE)}/v3/videos",
            headers={**self.headers(calls), "Idempotency-Key": idempotency_key(order)}, payload=_body(order), making=True, judge=_judge,
        )  # fmt: skip
        job = job_id(at(answer.body, "data", "video_id"))
        if not job:
            raise Unsure("heygen took the submit and gave no video_id for it")
        return Taken(Ticket(job, model=order.model), seen_of(answer.body))

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        url = f"{calls.base(self.name, BASE)}/v3/videos/{quote(ticket.provider_job_id, safe='')}"
        answer = calls.send("GET", url, headers=self.headers(calls))
        if not isinstance(at(answer.body, "data"), Mapping):
            raise NotSent("heygen answered with what is no video")
        return seen_of(answer.body)

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        """Nothing is sent: a video can be deleted, which takes away what was paid for, and not be stopped."""

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        """Sends the same submit under the same key, which answers with the first one's video.

        Raises NotSent where that has to be done again: another one under the key is harmless. Raises Unsure once the key may be forgotten.
        """
        if calls.now_ms() - since_ms > REPLAYED_MS:
            raise Unsure("heygen remembers a submit for 24 hours, and this one is older")
        try:
            return self.submit(calls, order)
        except Unsure as error:
            raise NotSent(error.message, retry_after_s=error.retry_after_s) from error
        except Refused as error:
            if error.blame is Blame.ACCOUNT:
                raise Unsure(error.message, blame=Blame.ACCOUNT) from error
            # It would have refused the first one likewise.
            return None

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        """Nothing: its addresses are signed."""
        return {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        event, data = word(at(body, "event_type")), at(body, "event_data")
        job, said = job_id(at(data, "video_id")), _EVENTS.get(event)
        if not job or said is None:
            return None
        if said is Said.FAILED:
            told = next((words for words in (text(at(data, name)) for name in ("failure_message", "msg", "message")) if words), "")
            return job, Seen(said, event, fault=fault_of(text(at(data, "failure_code")), told))
        return job, Seen(said, event, outputs=outputs_in(at(data, "url"), "video"))
