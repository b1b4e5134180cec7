"""OpenAI's pictures, and speech as OpenAI has it, which many servers of one's own speak too: both answer with what they made, at once.

bases["openai"] ends with the version, https://api.openai.com/v1 or http://127.0.0.1:8880/v1; a server of one's own needs no key.
`fixed` of a model is part of the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.generate.calls import WORK_S, Answer, words_of
from viralsync_pipelines.generate.inputs import renamed
from viralsync_pipelines.generate.loose import at, objects, text, unbase64
from viralsync_pipelines.generate.provider import Blame, CallFailed, NotSent, Order, Output, Said, Seen, Taken, Unsure
from viralsync_pipelines.generate.providers.at_once import AtOnce, sound_of, ticket_for
from viralsync_pipelines.generate.wording import clean, refused, refused_in
from viralsync_pipelines.http import retry_after

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://api.openai.com/v1"
KEY = "OPENAI_API_KEY"

_PICTURE = {
    "prompt": "prompt", "count": "n", "quality": "quality", "background": "background", "output_format": "output_format", "size": "size",
}  # fmt: skip
# Both edges are multiples of 16, and the area is near that of the square.
_SIZES = {"1:1": "1024x1024", "3:2": "1536x1024", "2:3": "1024x1536", "16:9": "1536x864", "9:16": "864x1536"}
_SPEECH = {"text": "input", "voice": "voice", "speed": "speed", "instructions": "instructions", "output_format": "response_format"}
_MIMES = {
    "mp3": "audio/mpeg", "opus": "audio/ogg", "aac": "audio/aac", "flac": "audio/flac", "wav": "audio/wav", "pcm": "audio/pcm",
}  # fmt: skip
_POLICY = frozenset({"content_policy_violation", "moderation_blocked"})
_ACCOUNT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "invalid_api_key"})


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    code, told = text(at(body, "error", "code")) or text(at(body, "error", "type")), f"openai: {clean(words_of(body))}"
    if status >= 500:
        return None
    if code in _POLICY:
        return refused(Blame.POLICY, told)
    if code in _ACCOUNT:
        # Said with 429, and no patience helps.
        return refused(Blame.ACCOUNT, told)
    if status in {409, 429}:
        return NotSent(told, retry_after_s=_pause(headers), code="PROVIDER_BUSY")
    if status in {400, 422}:
        return refused_in(told)
    return None


def _pause(headers: Mapping[str, str]) -> float | None:
    """Seconds it asks us to wait, to the millisecond where it says so."""
    exact = headers.get("retry-after-ms", "").strip()
    return int(exact) / 1000 if exact.isascii() and exact.isdigit() and len(exact) < 10 else retry_after(headers)


def _picture_body(order: Order) -> dict[str, Any]:
    body = {"model": order.model.endpoint, **order.model.fixed, **renamed(order.params, _PICTURE)}
    shape = order.params.get("aspect_ratio")
    return body if shape is None or "size" in body else {**body, "size": _SIZES.get(shape, shape)}


def _pictures(answer: Answer, wanted: str) -> Seen:
    kind = text(at(answer.body, "output_format")) or wanted
    listed = objects(at(answer.body, "data"))
    found = [data for data in (unbase64(each.get("b64_json")) for each in listed) if data]
    if not found:
        raise Unsure("openai answered without a picture, which may be paid for all the same")
    written = [clean(words) for words in (text(each.get("revised_prompt")) for each in listed) if words]
    mime = f"image/{kind}" if kind in {"png", "jpeg", "webp", "gif"} else ""
    return Seen(
        Said.DONE, "completed", outputs=tuple(Output("image", data=data, mime=mime) for data in found),
        extra={"revised_prompt": written[0]} if written else {},
    )  # fmt: skip


def _speech(answer: Answer, wanted: str) -> Seen:
    mime = answer.mime if answer.mime.startswith("audio/") else _MIMES.get(wanted, "")
    return Seen(Said.DONE, "completed", outputs=(Output("audio", data=sound_of("openai", answer), mime=mime),))


class OpenAI(AtOnce):
    """See generate/provider.py."""

    name = "openai"

    def headers(self, calls: Calls) -> dict[str, str]:
        if self.name in calls.bases and not calls.keys.get(KEY):
            return {}
        return {"Authorization": f"Bearer {calls.key(KEY, self.name)}"}

    def submit(self, calls: Calls, order: Order) -> Taken:
        """Takes as long as the work does: tens of seconds for a picture."""
        base, speech = calls.base(self.name, BASE), order.model.media == "audio"
        if speech:
            path, body = "audio/speech", {"model": order.model.endpoint, **order.model.fixed, **renamed(order.params, _SPEECH)}
        else:
            path, body = "images/generations", _picture_body(order)
        answer = calls.send(
            "POST", f"{base}/{path}", headers=self.headers(calls), payload=body, seconds=WORK_S, making=True, judge=_judge
        )  # fmt: skip
        seen = _speech(answer, body.get("response_format", "mp3")) if speech else _pictures(answer, body.get("output_format", "png"))
        return Taken(ticket_for(order, answer.headers.get("x-request-id")), seen)
