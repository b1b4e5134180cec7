"""Google's videos: the Interactions API, and the long-running operations of Veo, which live on Vertex now.

What belongs here: which of the three APIs (`options.api` of a model: interactions, veo, vertex) and what they have in common: keys, errors,
refusals. What does not: what an operation of Veo holds (veo.py).

A job's id tells whose it is: `projects/.../operations/1` is Vertex's, `models/.../operations/1` Veo's, anything else an interaction.
Vertex is reached at bases["vertex"], https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION, and takes an OAuth
token where the others take a key.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate.calls import words_of
from viralsync_pipelines.generate.inputs import data_uri, pictures_of, renamed
from viralsync_pipelines.generate.loose import at, job_id, number, objects, text, unbase64, word
from viralsync_pipelines.generate.provider import (
    Blame,
    CallFailed,
    Fault,
    Gone,
    KeyMissing,
    Media,
    NotSent,
    Order,
    Output,
    Refused,
    Said,
    Seen,
    Taken,
    Ticket,
    Unsure,
)
from viralsync_pipelines.generate.providers import veo
from viralsync_pipelines.generate.walk import outputs_in, same_origin
from viralsync_pipelines.generate.wording import blame_in, clean, fault, refused, refused_in
from viralsync_pipelines.http import retry_after

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://generativelanguage.googleapis.com"
KEY = "GOOGLE_GENERATIVE_AI_API_KEY"
# Videos may come within the answer, some tens of megabytes of base64.
POLL_S = 60.0

_SAID: Mapping[str, Said] = {
    "queued": Said.QUEUED, "in_progress": Said.RUNNING, "completed": Said.DONE, "failed": Said.FAILED, "cancelled": Said.CANCELLED,
    "incomplete": Said.FAILED, "budget_exceeded": Said.FAILED,
    # Neither comes of a job that makes media, and nobody would answer.
    "requires_action": Said.FAILED, "requires_continuation": Said.FAILED,
}  # fmt: skip
# What its own refusals say, besides what others say too (wording.py).
_POLICY = re.compile(r"(?i)\bsafety\b|prohibited.content|responsible ai|usage guidelines|violat|\bcopyright|PROHIBITED_CONTENT")
_DELAY = re.compile(r"([0-9]+(?:\.[0-9]+)?)s")
_NO_KEY = frozenset({"API_KEY_INVALID", "API_KEY_SERVICE_BLOCKED", "BILLING_DISABLED", "SERVICE_DISABLED"})
_FORMAT = {"aspect_ratio": "aspect_ratio", "resolution": "resolution"}


def seen_of(body: Any, media: Media = "video", base: str = BASE) -> Seen:
    """What an interaction's JSON says. Total: a status nobody knows is running. `completed` without a video is done without outputs: it
    has been seen before the file was to be had, so that it is worth asking again."""
    status = word(at(body, "status"))
    said = _SAID.get(status, Said.RUNNING)
    return Seen(
        said, status, outputs=_outputs(body, media, base) if said is Said.DONE else (),
        fault=_fault(body, status) if said is Said.FAILED else None,
    )  # fmt: skip


def _outputs(body: Any, media: Media, base: str) -> tuple[Output, ...]:
    """Content blocks of what the model said, each once. What the user sent stands among the steps too."""
    said = [step for step in objects(at(body, "steps")) if step.get("type") == "model_output"]
    blocks = [block for step in said for block in objects(step.get("content"))]
    blocks += [*objects([at(body, f"output_{media}")]), *objects(at(body, "outputs"))]
    found: dict[Any, Output] = {}
    for block in blocks:
        if block.get("type") != media:
            continue
        mime, data = text(block.get("mime_type")), unbase64(block.get("data"))
        # Only the API's own host gets the key.
        linked = outputs_in({"uri": block.get("uri"), "mime_type": mime}, media, authorised=lambda url: same_origin(url, base))
        for each in linked or ([Output(media, data=data, mime=clean(mime))] if data else []):
            found.setdefault(each.url or each.data, each)
    return tuple(found.values())


def _fault(body: Any, status: str) -> Fault:
    errors = [*objects(at(body, "errors")), *objects([at(body, "error")])]
    errors += [error for step in objects(at(body, "steps")) for error in objects([step.get("error")])]
    told = "; ".join(filter(None, (text(each.get("message")) for each in errors[:5]))) or f"the interaction ended as {status}"
    if any(_refuses(words) for each in errors for words in (text(each.get("message")), text(each.get("code")))):
        return fault(Blame.POLICY, told)
    if status == "budget_exceeded":
        return fault(Blame.ACCOUNT, told)
    if status.startswith("requires_"):
        return fault(Blame.INPUT, f"{told}: the model asks for more, which a job cannot give")
    code = next((found for found in (number(each.get("code")) for each in errors) if found is not None), None)
    return fault_of_code(int(code) if code is not None else 2, told)


def fault_of_code(code: int, told: str) -> Fault:
    """By a google.rpc.Code."""
    if _refuses(told):
        return fault(Blame.POLICY, told)
    if code in {3, 5, 9, 11}:
        return fault(blame_in(told, Blame.INPUT), told)
    return fault(Blame.ACCOUNT if code in {7, 16} else Blame.PASSING, told)


def _refuses(words: str) -> bool:
    return _POLICY.search(words[:4_000]) is not None or blame_in(words, Blame.PASSING) is Blame.POLICY


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    # Some of its APIs wrap the one error into a list.
    body = body[0] if isinstance(body, list) and body else body
    details = objects(at(body, "error", "details"))
    told = f"google: {clean(words_of(body))}"
    if status == 429:
        pauses = [_DELAY.fullmatch(text(each.get("retryDelay"))) for each in details]
        told_pause = next((float(found[1]) for found in pauses if found), None)
        pause = retry_after(headers)
        return NotSent(told, retry_after_s=told_pause if pause is None else pause, code="PROVIDER_BUSY")
    if status in {400, 403} and (
        {text(each.get("reason")) for each in details} & _NO_KEY or at(body, "error", "status") == "FAILED_PRECONDITION"
    ):  # fmt: skip
        return refused(Blame.ACCOUNT, told)
    if status == 400:
        return refused(Blame.POLICY, told) if _refuses(told) else refused_in(told)
    return None


# ---- what is sent ----------------------------------------------------------------------------------------------------


def _interaction(order: Order) -> dict[str, Any]:
    params = order.params
    shape = {"type": order.model.media, **order.model.fixed, **renamed(params, _FORMAT)}
    if params.get("duration") is not None:
        shape["duration"] = f"{params['duration']}s"
    pictures = pictures_of(params)
    clips = [params["video"]] if params.get("video") else []
    body: dict[str, Any] = {
        "model": order.model.endpoint,
        "input": [{"type": "text", "text": params["prompt"]}, *(_block("image", each) for each in pictures),
                  *(_block("video", each) for each in clips)] if pictures or clips else params["prompt"],
        "background": True,
        "response_format": shape,
    }  # fmt: skip
    if order.webhook_url:
        body["webhook_config"] = {
            "uris": [order.webhook_url], "user_metadata": {"record": order.record_id, "submit": str(order.submit)},
        }  # fmt: skip
    return body


def _block(kind: str, address: str) -> dict[str, str]:
    inline = data_uri(address)
    return {"type": kind, "uri": address} if inline is None else {"type": kind, "mime_type": inline[0], "data": inline[1]}


class Google:
    """See generate/provider.py."""

    name = "google"

    def headers(self, calls: Calls, *, vertex: bool = False) -> dict[str, str]:
        key = calls.key(KEY, self.name)
        return {"Authorization": f"Bearer {key}"} if vertex else {"x-goog-api-key": key}

    def submit(self, calls: Calls, order: Order) -> Taken:
        api = order.model.options.get("api", "interactions")
        if api == "interactions":
            base = calls.base(self.name, BASE)
            answer = calls.send(
                "POST", f"{base}/v1beta/interactions", headers=self.headers(calls), payload=_interaction(order), making=True, judge=_judge
            )  # fmt: skip
            job, seen = job_id(at(answer.body, "id")), seen_of(answer.body, order.model.media, base)
            if seen.said is Said.DONE and not seen.outputs:
                # Over before a file was to be had: a poll tells more.
                seen = Seen(Said.RUNNING, seen.word)
        else:
            base = f"{self._vertex(calls)}/publishers/google" if api == "vertex" else f"{calls.base(self.name, BASE)}/v1beta"
            answer = calls.send(
                "POST", f"{base}/models/{quote(order.model.endpoint, safe='')}:predictLongRunning",
                headers=self.headers(calls, vertex=api == "vertex"), payload=veo.request_of(calls, order), making=True, judge=_judge,
            )  # fmt: skip
            job, seen = job_id(at(answer.body, "name")), Seen(Said.QUEUED, "submitted")
        if not job:
            raise Unsure("google took the submit and gave no id for it")
        return Taken(Ticket(job, model=order.model), seen)

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        job, base = ticket.provider_job_id, calls.base(self.name, BASE)
        resource, operation, _ = job.rpartition("/operations/")
        if operation and job.startswith("projects/"):
            # A GET of an operation of Vertex's models is answered with 404.
            url = f"{self._vertex(calls).partition('/projects/')[0]}/{quote(resource)}:fetchPredictOperation"
            headers = self.headers(calls, vertex=True)
            answer = calls.send("POST", url, headers=headers, payload={"operationName": job}, seconds=POLL_S, judge=_judge)
        elif operation:
            answer = calls.send("GET", f"{base}/v1beta/{quote(job)}", headers=self.headers(calls), seconds=POLL_S, judge=_judge)
        else:
            answer = calls.send("GET", self._interaction(calls, ticket), headers=self.headers(calls), seconds=POLL_S, judge=_judge)
        if not isinstance(answer.body, Mapping):
            raise NotSent("google answered with what is no JSON object")
        if operation:
            return veo.seen_of(answer.body, fault_of_code, lambda url: same_origin(url, base))
        return seen_of(answer.body, ticket.media, base)

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        """Operations of Veo cannot be stopped: for them nothing is sent."""
        if "/operations/" in ticket.provider_job_id:
            return
        try:
            calls.send("POST", f"{self._interaction(calls, ticket)}/cancel", headers=self.headers(calls))
        except Gone:
            return
        except Refused as error:
            if error.blame is Blame.ACCOUNT:
                raise
            # Over already.

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        raise Unsure("google does not list its jobs, so it cannot be asked whether it has this one")

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        return self.headers(calls) if same_origin(url, calls.base(self.name, BASE)) else {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        """A hint that it is worth asking: its envelopes carry no outputs, and their signature does not cover them."""
        event, job = word(at(body, "type")), job_id(at(body, "data", "id"))
        if not job or not event.startswith(("interaction.", "video.")):
            return None
        return job, Seen(Said.RUNNING, event)

    def _interaction(self, calls: Calls, ticket: Ticket) -> str:
        return f"{calls.base(self.name, BASE)}/v1beta/interactions/{quote(ticket.provider_job_id, safe='')}"

    def _vertex(self, calls: Calls) -> str:
        base = calls.base("vertex", "")
        if "/projects/" not in base:
            raise KeyMissing(
                "there is no address for Veo on Vertex: set VERTEX_BASE_URL to "
                "https://LOCATION-aiplatform.googleapis.com/v1/projects/PROJECT/locations/LOCATION"
            )
        return base
