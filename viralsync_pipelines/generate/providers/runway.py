"""Runway: tasks that are asked for by polling, every five seconds at most.

Its API tells of no webhooks, and takes no key of ours for a submit: one whose answer is lost stays open.
`fixed` of a model is part of the body. With a picture it is image_to_video, without one text_to_video.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate.calls import words_of
from viralsync_pipelines.generate.inputs import renamed
from viralsync_pipelines.generate.loose import at, job_id, number, share, text, word
from viralsync_pipelines.generate.provider import (
    Blame,
    CallFailed,
    Fault,
    Gone,
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
from viralsync_pipelines.generate.wording import clean, fault, refused_in
from viralsync_pipelines.http import retry_after

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://api.dev.runwayml.com"
VERSION = "2024-11-06"
# "should not expect updates more frequent than once every five seconds"
POLL_AFTER_S = 5.0
# A 429 also means that the generations of 24 hours are used up, and does not say so.
BUSY_S = 60.0
USD_A_CREDIT = 0.01

_SAID: Mapping[str, Said] = {
    "PENDING": Said.QUEUED,
    # Taken, and over the limit of tasks at once: it will run.
    "THROTTLED": Said.QUEUED,
    "RUNNING": Said.RUNNING,
    "SUCCEEDED": Said.DONE,
    "FAILED": Said.FAILED,
    "CANCELLED": Said.CANCELLED,
}
_RATIOS = {
    "16:9": "1280:720", "9:16": "720:1280", "4:3": "1104:832", "1:1": "960:960", "3:4": "832:1104", "21:9": "1584:672",
}  # fmt: skip
_NAMES = {"prompt": "promptText", "image": "promptImage", "duration": "duration", "seed": "seed"}
# By how a failure's code begins; any other passes.
_BLAMES: Mapping[str, Blame] = {
    "SAFETY": Blame.POLICY,
    "INPUT_PREPROCESSING.SAFETY": Blame.POLICY,
    "INPUT_PREPROCESSING.INTERNAL": Blame.PASSING,
    "ASSET": Blame.SOURCE,
    "INTERNAL": Blame.PASSING,
    "THIRD_PARTY": Blame.PASSING,
}


def seen_of(body: Any, media: Media = "video") -> Seen:
    """What a task's JSON says. Total: a status nobody knows is running."""
    status = word(at(body, "status"))
    said = _SAID.get(status, Said.RUNNING)
    credits = number(at(body, "cost", "credits"))
    return Seen(
        said, status,
        outputs=outputs_in(at(body, "output"), media) if said is Said.DONE else (),
        fault=_fault(body) if said is Said.FAILED else None,
        progress=share(at(body, "progress")),
        cost_usd=round(credits * USD_A_CREDIT, 4) if credits is not None else None,
        poll_after_s=None if said.over else POLL_AFTER_S,
    )  # fmt: skip


def _fault(body: Any) -> Fault:
    code = text(at(body, "failureCode"))
    blame = next((blame for name, blame in _BLAMES.items() if f"{code}.".startswith(f"{name}.")), Blame.PASSING)
    told = text(at(body, "failure")) or "the task failed"
    return fault(blame, f"{told} ({code})" if code else told)


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    told = clean(words_of(body)) or f"it answered {status}"
    if status == 429:
        pause = retry_after(headers)
        return NotSent(f"runway has no place for it: {told}", retry_after_s=BUSY_S if pause is None else pause, code="PROVIDER_BUSY")
    if status in {400, 422}:
        return refused_in(f"runway: {told}")
    return None


def _body(order: Order) -> dict[str, Any]:
    body = {"model": order.model.endpoint, **order.model.fixed, **renamed(order.params, _NAMES)}
    shape = order.params.get("aspect_ratio")
    return body if shape is None else {**body, "ratio": _RATIOS.get(shape, shape)}


class Runway:
    """See generate/provider.py."""

    name = "runway"

    def headers(self, calls: Calls) -> dict[str, str]:
        return {"Authorization": f"Bearer {calls.key('RUNWAYML_API_SECRET', self.name)}", "X-Runway-Version": VERSION}

    def submit(self, calls: Calls, order: Order) -> Taken:
        kind = "image_to_video" if order.params.get("image") else "text_to_video"
        answer = calls.send(
            "POST", f"{calls.base(self.name, BASE)}/v1/{kind}", headers=self.headers(calls), payload=_body(order), making=True, judge=_judge
        )  # fmt: skip
        job = job_id(at(answer.body, "id"))
        if not job:
            raise Unsure("runway took the submit and gave no id for it")
        return Taken(Ticket(job, model=order.model), Seen(Said.QUEUED, "PENDING", poll_after_s=POLL_AFTER_S))

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        answer = calls.send("GET", self._task(calls, ticket), headers=self.headers(calls), judge=_judge)
        if not isinstance(answer.body, Mapping):
            raise NotSent("runway answered with what is no JSON object")
        return seen_of(answer.body, ticket.media)

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        try:
            calls.send("DELETE", self._task(calls, ticket), headers=self.headers(calls), judge=_judge)
        except Gone:
            # A task that was deleted is not found again.
            return

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        raise Unsure("runway does not list its tasks, so it cannot be asked whether it has this one")

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        """Nothing: its addresses are signed."""
        return {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        return None

    def _task(self, calls: Calls, ticket: Ticket) -> str:
        return f"{calls.base(self.name, BASE)}/v1/tasks/{quote(ticket.provider_job_id, safe='')}"
