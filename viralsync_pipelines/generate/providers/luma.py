"""Luma's Agents API (not Dream Machine, which came before): generations that are asked for by polling.

It knows no webhooks and no cancelling, and takes no key of ours for a submit. Addresses of what it made last an hour; asking again gives
fresh ones. `fixed` of a model is part of the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate.calls import words_of
from viralsync_pipelines.generate.inputs import data_uri, pictures_of, renamed
from viralsync_pipelines.generate.loose import at, job_id, text, word
from viralsync_pipelines.generate.provider import (
    Blame,
    CallFailed,
    Fault,
    Media,
    NotSent,
    Order,
    Said,
    Seen,
    Taken,
    Ticket,
    Unsure,
)
from viralsync_pipelines.generate.walk import outputs_in
from viralsync_pipelines.generate.wording import clean, fault, refused

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://agents.lumalabs.ai/v1"
FPS = 24

_SAID: Mapping[str, Said] = {
    "queued": Said.QUEUED, "processing": Said.RUNNING, "dreaming": Said.RUNNING, "completed": Said.DONE, "failed": Said.FAILED,
}  # fmt: skip
_BLAMES: Mapping[str, Blame] = {
    "content_moderated": Blame.POLICY,
    "generation_failed": Blame.PASSING,
    "rate_limited": Blame.PASSING,
    "output_not_found": Blame.PASSING,
    "budget_exhausted": Blame.ACCOUNT,
    "image_too_large": Blame.INPUT,
    "unsupported_format": Blame.INPUT,
    "corrupt_input": Blame.INPUT,
    "invalid_request": Blame.INPUT,
}
_NAMES = {"prompt": "prompt", "aspect_ratio": "aspect_ratio", "style": "style", "output_format": "output_format"}
_VIDEO_NAMES = {"resolution": "resolution", "loop": "loop"}


def seen_of(body: Any, media: Media = "video") -> Seen:
    """What a generation's JSON says. Total: a state nobody knows is running."""
    state = word(at(body, "state"))
    said = _SAID.get(state, Said.RUNNING)
    outputs = outputs_in(at(body, "output"), media) if said is Said.DONE else ()
    return Seen(said, state, outputs=outputs, fault=_fault(body) if said is Said.FAILED else None)


def _fault(body: Any) -> Fault:
    code = text(at(body, "failure_code"))
    told = text(at(body, "failure_reason")) or "the generation failed"
    return fault(_BLAMES.get(code, Blame.PASSING), f"{told} ({code})" if code else told)


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    codes = {text(at(body, name)) for name in ("code", "failure_code")} | {text(at(body, "error", "code"))}
    if status == 429 and "budget_exhausted" not in codes:
        return None
    known = next((_BLAMES[code] for code in sorted(codes) if code in _BLAMES), Blame.PASSING)
    if known is Blame.PASSING or status >= 500:
        return None
    return refused(known, f"luma: {clean(words_of(body))}")


def _reference(address: str) -> dict[str, str]:
    """A picture as Luma takes it: an address, or the bytes."""
    inline = data_uri(address)
    return {"url": address} if inline is None else {"data": inline[1], "media_type": inline[0]}


def _body(order: Order) -> dict[str, Any]:
    params = order.params
    body: dict[str, Any] = {"model": order.model.endpoint, "type": order.model.media, **order.model.fixed, **renamed(params, _NAMES)}
    if order.model.media == "video":
        body["video"] = {**body.get("video", {}), **_video(params)}
    else:
        pictures = pictures_of(params)
        if pictures:
            body["image_ref"] = [_reference(each) for each in pictures]
    return body


def _video(params: Mapping[str, Any]) -> dict[str, Any]:
    video = renamed(params, _VIDEO_NAMES)
    seconds = params.get("duration")
    if seconds is not None:
        video["duration"] = f"{seconds}s"
    first, last = params.get("image"), params.get("last_frame_image")
    if seconds == 10 and (first or last):
        # start_frame and end_frame make 5 s only; pictures pinned to frames make 10, on a grid of 24 frames a second.
        pinned = [(place, each) for place, each in ((0, first), (seconds * FPS, last)) if each]
        video["keyframes"] = [_reference(each) for _, each in pinned]
        video["keyframe_indexes"] = [place for place, _ in pinned]
    else:
        video |= {name: _reference(each) for name, each in (("start_frame", first), ("end_frame", last)) if each}
    return video


class Luma:
    """See generate/provider.py."""

    name = "luma"

    def headers(self, calls: Calls) -> dict[str, str]:
        return {"Authorization": f"Bearer {calls.key('LUMAAI_API_KEY', self.name)}"}

    def submit(self, calls: Calls, order: Order) -> Taken:
        answer = calls.send(
            "POST", f"{calls.base(self.name, BASE)}/generations", headers=self.headers(calls), payload=_body(order), making=True,
            judge=_judge,
        )  # fmt: skip
        job = job_id(at(answer.body, "id"))
        if not job:
            raise Unsure("luma took the submit and gave no id for it")
        return Taken(Ticket(job, model=order.model), seen_of(answer.body, order.model.media))

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        url = f"{calls.base(self.name, BASE)}/generations/{quote(ticket.provider_job_id, safe='')}"
        answer = calls.send("GET", url, headers=self.headers(calls), judge=_judge)
        if not isinstance(answer.body, Mapping):
            raise NotSent("luma answered with what is no JSON object")
        return seen_of(answer.body, ticket.media)

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        """Nothing is sent: a generation cannot be stopped."""

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        raise Unsure("luma does not list its generations, so it cannot be asked whether it has this one")

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        """Nothing: its addresses are signed."""
        return {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        return None
