"""Replicate's predictions, and whoever speaks as Replicate does: the embedded sandbox is the same adapter on another base address.

What belongs here: its paths, fields, statuses and words. What does not: telling one listed job from another (replicate_likeness.py),
addresses in an output (walk.py), signatures (webhook.py).
`Prefer: wait` is never sent: it holds the connection for up to a minute, and a cut one leaves open whether there is a job.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from viralsync_pipelines.generate.calls import words_of
from viralsync_pipelines.generate.loose import at, number, plain_id, text, word
from viralsync_pipelines.generate.provider import Blame, CallFailed, Fault, Gone, NotSent, Order, Refused, Said, Seen, Taken, Ticket, Unsure
from viralsync_pipelines.generate.providers.replicate_likeness import Likeness, asked_for, likeness_of, made_ms
from viralsync_pipelines.generate.walk import outputs_in, plain_values, same_origin
from viralsync_pipelines.generate.wording import CODES, blame_in, clean, fault, fault_in, last_lines, progress_in

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls
    from viralsync_pipelines.generate.models import Model

BASE = "https://api.replicate.com/v1"
KEY = "REPLICATE_API_TOKEN"
STATUSES: Mapping[str, Said] = {
    "starting": Said.QUEUED, "queued": Said.QUEUED, "processing": Said.RUNNING, "succeeded": Said.DONE, "failed": Said.FAILED,
    # Its deadline passed before it began. Nothing is paid for it, and the released SDK's model fails on the word.
    "aborted": Said.FAILED, "canceled": Said.CANCELLED, "cancelled": Said.CANCELLED,
}  # fmt: skip
# Where its files are served that take the key. No other host but the API itself is ever given it.
FILE_HOSTS = ("replicate.delivery",)
# The two clocks may differ by so much; what was made in that time before a submit may be an earlier order's.
SLACK_MS = 30_000
MOST_PAGES = 50
_RESETS = re.compile(r"resets? in ~?\s*(\d{1,5})\s*s")


class Replicate:
    """name: also that of its base address in `calls.bases`. key: the environment name of its key, None when any will do.

    lag_ms: a job that it was given may be missing from its listing for so long.
    """

    def __init__(self, name: str = "replicate", base: str = BASE, key: str | None = KEY, lag_ms: int = 10_000) -> None:
        self.name, self._base, self._key, self._lag_ms = name, base, key, lag_ms

    def base(self, calls: Calls) -> str:
        return calls.base(self.name, self._base)

    def headers(self, calls: Calls) -> dict[str, str]:
        return {"Authorization": f"Bearer {calls.key(self._key, self.name) if self._key else 'sandbox'}"}

    def submit(self, calls: Calls, order: Order) -> Taken:
        """Raises NotSent, Unsure (also for an answer without an id), Refused."""
        path, payload = asked_for(order)
        if order.webhook_url is not None:
            payload |= {"webhook": order.webhook_url, "webhook_events_filter": ["start", "completed"]}
        answer = calls.send("POST", f"{self.base(calls)}{path}", headers=self.headers(calls), payload=payload, judge=_judge, making=True)
        found = self._taken(calls, answer.body, order.model)
        if found is None:
            raise Unsure(f"{self.name} answered {answer.status} to the submit, without an id of the job")
        return found

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        url = f"{self.base(calls)}/predictions/{quote(ticket.provider_job_id, safe='')}"
        body = calls.send("GET", url, headers=self.headers(calls), judge=_judge).body
        if not isinstance(body, Mapping) or body.get("id") != ticket.provider_job_id:
            raise NotSent(f"{self.name} answered to the poll with something that is not job {ticket.provider_job_id}")
        return seen_in(body, ticket.model, self.base(calls))

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        url = f"{self.base(calls)}/predictions/{quote(ticket.provider_job_id, safe='')}/cancel"
        try:
            calls.send("POST", url, headers=self.headers(calls), judge=_judge)
        except Gone:
            return
        except Refused as error:
            if error.blame is Blame.ACCOUNT:
                raise

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        """By its listing: the one job made since then of this model with this input. What it echoes of the webhook's address counts for
        more, where it does. The caller sees to it that what is found belongs to no other row.

        Raises NotSent while it cannot be asked, or may not list the job yet, and Unsure when jobs only may be this one.
        """
        equal: list[Mapping[str, Any]] = []
        earlier = alike = 0
        try:
            for each in self._listed(calls, since_ms - SLACK_MS):
                likeness = likeness_of(each, order)
                if likeness is Likeness.OURS:
                    return self._taken(calls, each, order.model)
                if likeness is Likeness.EQUAL and made_ms(each) >= since_ms:
                    equal.append(each)
                earlier += likeness is Likeness.EQUAL and made_ms(each) < since_ms
                alike += likeness is Likeness.ALIKE
        except (Refused, Gone) as error:
            raise Unsure(f"{self.name} cannot be asked whether it has the job: {error.message}") from error
        if len(equal) == 1 and not earlier:
            return self._taken(calls, equal[0], order.model)
        if equal or earlier or alike:
            raise Unsure(f"{self.name} has {len(equal) + earlier + alike} jobs that may be this one")
        left_ms = since_ms + self._lag_ms - calls.now_ms()
        if left_ms > 0:
            raise NotSent(f"{self.name} does not list the job, but may not list it yet", retry_after_s=left_ms / 1000)
        return None

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        return self.headers(calls) if _takes_key(url, self.base(calls)) else {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        if not isinstance(body, Mapping) or not isinstance(body.get("status"), str):
            return None
        name = plain_id(body.get("id"))
        return (name, _patient(seen_in(body, ticket.model, self._base))) if name else None

    def _taken(self, calls: Calls, body: Any, model: Model) -> Taken | None:
        name = plain_id(at(body, "id"))
        if not name:
            return None
        web = text(at(body, "urls", "web"))
        shown = {"web": web} if web.startswith("https://") and web.isprintable() else {}
        return Taken(Ticket(name, shown, model), _patient(seen_in(body, model, self.base(calls))))

    def _listed(self, calls: Calls, after_ms: int) -> Iterator[Mapping[str, Any]]:
        """Every job made since then, newest first. Raises CallFailed when that cannot be told in full."""
        base = self.base(calls)
        moment = datetime.fromtimestamp(after_ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        url: Any = f"{base}/predictions?created_after={quote(moment, safe='')}"
        for _ in range(MOST_PAGES):
            body = calls.send("GET", url, headers=self.headers(calls), judge=_judge).body
            results = at(body, "results")
            if not isinstance(results, list) or not all(plain_id(at(each, "id")) for each in results):
                raise Unsure(f"{self.name} answered with something that is no list of jobs")
            recent = [each for each in results if made_ms(each) >= after_ms]
            yield from recent
            url = body.get("next")
            if not url or (results and not recent):
                return
            if not isinstance(url, str) or not same_origin(url, base):
                raise Unsure(f"the rest of {self.name}'s list is said to be at another host, which is not asked")
        raise Unsure(f"{self.name}'s list goes on after {MOST_PAGES} pages")


# ---- what it says of a job -------------------------------------------------------------------------------------------


def seen_in(body: Mapping[str, Any], model: Model | None, base: str = BASE) -> Seen:
    """A prediction in our words. Never raises, whatever the fields hold."""
    status, log = word(body.get("status")), text(body.get("logs"))
    said = STATUSES.get(status, Said.RUNNING)
    spent = number(at(body, "metrics", "predict_time"))
    extra = {"predictSeconds": spent} if spent is not None and 0 <= spent < 1e9 else {}
    common: dict[str, Any] = {"log": last_lines(log), "extra": extra}
    if said is Said.DONE:
        media = model.media if model is not None else "video"
        outputs = outputs_in(body.get("output"), media, authorised=lambda url: _takes_key(url, base))
        if not outputs and body.get("data_removed") is True:
            gone = fault(Blame.EXPIRED, "the output was removed; outputs are kept for an hour")
            return Seen(Said.FAILED, status, fault=gone, **common)
        return Seen(said, status, outputs, progress=1.0, **common)
    if said is Said.FAILED:
        return Seen(said, status, fault=_fault(status, body.get("error")), **common)
    if said is Said.CANCELLED:
        return Seen(said, status, **common)
    return Seen(said, status, progress=progress_in(log), **common)


def _patient(seen: Seen) -> Seen:
    """A listing may leave outputs out, and a webhook come before them: what is done with nothing made is for the next poll to judge."""
    return replace(seen, said=Said.RUNNING) if seen.said is Said.DONE and not seen.outputs else seen


def _fault(status: str, error: Any) -> Fault:
    told = words_of(error) or json.dumps(plain_values(error) or "")[:1_000].strip('"')
    if status == "aborted":
        return fault(Blame.PASSING, told or "it was not begun before its deadline")
    return fault_in(told)


def _takes_key(url: str, base: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        return False
    served = url.startswith("https://") and any(host == each or host.endswith(f".{each}") for each in FILE_HOSTS)
    return served or same_origin(url, base)


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    """429 has its pause in the text; 400 and 422 may be the policy's."""
    told = clean(text(at(body, "detail")))[:1_000]
    if status == 429 and "retry-after" not in headers:
        pause = _RESETS.search(told)
        reset = pause[1] if pause else headers.get("ratelimit-reset", "")
        # A longer number is a time of day, not a pause.
        seconds = float(reset) if re.fullmatch(r"[0-9]{1,5}", reset) else None
        return NotSent(told or "too many requests", retry_after_s=seconds, code="PROVIDER_BUSY")
    if status in {400, 422} and told:
        blame = blame_in(told, Blame.INPUT)
        return Refused(f"{status}: {told}", blame=blame, code=CODES[blame] if blame is not Blame.INPUT else None)
    return None
