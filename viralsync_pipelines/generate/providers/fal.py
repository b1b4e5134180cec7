"""fal's queue: a request is put into it, asked for at the addresses that fal gives, and its result is read from a third.

What belongs here: its paths, fields and statuses. What does not: its errors (fal_errors.py), addresses in a result (walk.py), signatures
(webhook.py). The queue has no word for a failure: what failed is COMPLETED, with an error beside it, or where the result should be.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate.inputs import input_of
from viralsync_pipelines.generate.loose import at, plain_id, word
from viralsync_pipelines.generate.provider import (
    Blame,
    CallFailed,
    Fault,
    Gone,
    Media,
    NotSent,
    Order,
    Refused,
    Said,
    Seen,
    Taken,
    Ticket,
    Unsure,
)
from viralsync_pipelines.generate.providers.fal_errors import ABOUT_THE_JOB, fault_of, text_of, type_of
from viralsync_pipelines.generate.walk import outputs_in, plain_values, same_origin
from viralsync_pipelines.generate.wording import CODES, fault, last_lines

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://queue.fal.run"
KEY = "FAL_KEY"
STATUSES: Mapping[str, Said] = {
    "IN_QUEUE": Said.QUEUED, "IN_PROGRESS": Said.RUNNING, "COMPLETED": Said.DONE,
    # Not words of the queue's today; other surfaces of fal have them.
    "FAILED": Said.FAILED, "ERROR": Said.FAILED, "CANCELLED": Said.CANCELLED, "CANCELED": Said.CANCELLED,
}  # fmt: skip
# Apps of these are named by three parts, not two.
_NAMESPACES = frozenset({"workflows", "comfy"})


class Fal:
    name = "fal"

    def headers(self, calls: Calls) -> dict[str, str]:
        return {"Authorization": f"Key {calls.key(KEY, 'fal')}"}

    def submit(self, calls: Calls, order: Order) -> Taken:
        """Raises NotSent, Unsure (also for an answer without an id), Refused."""
        base = calls.base("fal", BASE)
        webhook = f"?fal_webhook={quote(order.webhook_url, safe='')}" if order.webhook_url is not None else ""
        url = f"{base}/{quote(order.model.endpoint)}{webhook}"
        answer = calls.send("POST", url, headers=self.headers(calls), payload=input_of(order), judge=_judge, making=True)
        name = plain_id(at(answer.body, "request_id"))
        if not name:
            raise Unsure(f"fal answered {answer.status} to the submit, without an id of the job")
        # What points elsewhere is dropped here, and the rule of `_place` takes its place: the key goes to no other host.
        told = {short: answer.body.get(f"{short}_url") for short in ("status", "response", "cancel")}
        urls = {short: url for short, url in told.items() if isinstance(url, str) and same_origin(url, base)}
        status, position = word(answer.body.get("status")), _position_of(answer.body)
        said = STATUSES.get(status, Said.QUEUED)
        # Its end, should it be there already, is learned of by the first poll, which reads the result.
        return Taken(Ticket(name, urls, order.model), Seen(Said.RUNNING if said.over else said, status, queue_position=position))

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        url = _place(calls, ticket, "status")
        body = calls.send("GET", f"{url}{'&' if '?' in url else '?'}logs=1", headers=self.headers(calls), judge=_judge).body
        if not isinstance(body, Mapping) or not isinstance(body.get("status"), str):
            raise NotSent("fal answered to the poll with something that is no status of a job")
        status = word(body["status"])
        said = STATUSES.get(status, Said.RUNNING)
        log = _log_of(body.get("logs"))
        if said is Said.DONE:
            return self._ended(calls, ticket, status, body, log)
        if said is Said.FAILED:
            return _failure(fault_of(None, {}, body), status, log)
        return Seen(said, status, queue_position=_position_of(body), log=log)

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        """202 when it is asked for, 400 when the job is over, 404 when there is none: all the same to us."""
        try:
            calls.send("PUT", _place(calls, ticket, "cancel"), headers=self.headers(calls))
        except Gone:
            return
        except Refused as error:
            if error.blame is Blame.ACCOUNT:
                raise

    def find(self, calls: Calls, order: Order, since_ms: int) -> Taken | None:
        raise Unsure("fal has no list of what was put into its queue, so that it cannot be asked whether it has the job")

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        """Nothing: its files are open to whoever knows their addresses."""
        return {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        name, status = plain_id(at(body, "request_id")), word(at(body, "status"))
        if not name or status not in {"OK", "ERROR"}:
            return None
        payload = body.get("payload")
        if status == "ERROR":
            beside = payload if isinstance(payload, Mapping) else {}
            return name, _failure(fault_of(None, {}, {**beside, "error": body.get("error")}), status)
        seen = _result(payload, ticket.media, status)
        if not seen.outputs or body.get("payload_error"):
            # It is done, and too large or too odd to be told: the poll that follows reads the result.
            return name, Seen(Said.RUNNING, status)
        return name, seen

    def _ended(self, calls: Calls, ticket: Ticket, status: str, body: Mapping[str, Any], log: str) -> Seen:
        """COMPLETED: what was made, or why it was not. An error without a type is looked up where the result would be."""
        told = body.get("error")
        if told and isinstance(body.get("error_type"), str):
            return _failure(fault_of(None, {}, body), status, log)
        try:
            answer = calls.send("GET", _place(calls, ticket, "response"), headers=self.headers(calls), judge=_judge_result)
        except _ResultIsFault as error:
            return _failure((error.cancelled, error.fault), status, log)
        except CallFailed:
            if told:
                return _failure(fault_of(None, {}, body), status, log)
            raise
        if told:
            return _failure(fault_of(None, {}, body), status, log)
        if answer.body is None and answer.content:
            raise NotSent("fal answered with a result that is no JSON")
        seen = _result(answer.body, ticket.media, status, log)
        return replace(seen, extra={**plain_values(body.get("metrics")), **seen.extra})


def _place(calls: Calls, ticket: Ticket, what: str) -> str:
    """The address that fal gave for this; by its rule when it gave none, or one at another host."""
    base = calls.base("fal", BASE)
    given = ticket.urls.get(what)
    if given is not None and same_origin(given, base):
        return given
    if ticket.model is None:
        raise Refused("the job's model is not known, so that fal cannot be asked about it", code="PROVIDER_ADDRESS_UNKNOWN")
    parts = ticket.model.endpoint.split("/")
    app = "/".join(parts[: 3 if parts[0] in _NAMESPACES else 2])
    ending = {"status": "/status", "cancel": "/cancel"}.get(what, "")
    return f"{base}/{quote(app)}/requests/{quote(ticket.provider_job_id, safe='')}{ending}"


# ---- what it says of a job -------------------------------------------------------------------------------------------


def _result(body: Any, media: Media, status: str, log: str = "") -> Seen:
    return Seen(Said.DONE, status, outputs_in(body, media), progress=1.0, log=log, extra=plain_values(body))


def _failure(judged: tuple[bool, Fault], status: str, log: str = "") -> Seen:
    cancelled, told = judged
    return Seen(Said.CANCELLED if cancelled else Said.FAILED, status, fault=None if cancelled else told, log=log)


class _ResultIsFault(CallFailed):
    """The result's address answers with why there is none."""

    def __init__(self, cancelled: bool, told: Fault) -> None:
        super().__init__(told.message, blame=told.blame, code=told.code)
        self.cancelled = cancelled


def _judge_result(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    """A failed job's result is its error, with the error's status; trouble on the way to it looks alike but for its type."""
    detail = body.get("detail") if isinstance(body, Mapping) else None
    error_type = type_of(headers, body)
    if error_type in ABOUT_THE_JOB or (isinstance(detail, list) and error_type) or status == 499:
        return _ResultIsFault(*fault_of(status, headers, body))
    if status in {404, 410}:
        return _ResultIsFault(False, fault(Blame.EXPIRED, text_of(body) or "fal no longer has the result"))
    if status in {401, 402, 403, 408, 409, 425, 429} or status >= 500 or status < 400:
        return _judge(status, headers, body)
    return _ResultIsFault(*fault_of(status, headers, body))


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    """400 and 422 may be the policy's, or an address's that could not be read."""
    if status not in {400, 422}:
        return None
    _, told = fault_of(status, headers, body)
    code = CODES[told.blame] if told.blame in {Blame.POLICY, Blame.SOURCE} else None
    return Refused(f"{status}: {told.message}", blame=Blame.INPUT if told.blame is Blame.PASSING else told.blame, code=code)


def _position_of(body: Mapping[str, Any]) -> int | None:
    found = body.get("queue_position")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 10**9 else None


def _log_of(logs: Any) -> str:
    lines = [str(each.get("message", "")) for each in logs[-20:] if isinstance(each, Mapping)] if isinstance(logs, list) else []
    return last_lines("\n".join(lines))
