"""Sending callbacks: a round over what is due, each POST guarded, signed twice and given fifteen seconds, and what came of it noted.

What belongs here: the round and the single request. What does not: which messages there are (outgoing.py), their order
(storage/outbox.py), what an answer means (jobs/callbacks.py).

Every request bears Standard Webhooks' headers (webhook-id, webhook-timestamp, webhook-signature; the key is what the workspace's
`whsec_...` secret encodes) and ViralSync's x-render-signature: hex HMAC-SHA256 of the raw body, whose key is the secret's own
characters, `whsec_` included, as one pastes them. x-render-delivery is the message's id. A receiver checks either.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from viralsync_pipelines.addresses import AddressRefused, Allow, HostUnknown, Resolve, resolve_by_system, verified
from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.errors import DatabaseError
from viralsync_pipelines.http import open_client, retry_after
from viralsync_pipelines.jobs.callbacks import Verdict, pause_ms, verdict_on
from viralsync_pipelines.storage import outbox
from viralsync_pipelines.storage.outbox import Answer, Claimed, Waiting

if TYPE_CHECKING:
    import httpx

    from viralsync_pipelines.storage.database import Database

TIMEOUT_S = 15.0
# Longer than a request can take, looking up the host's name included: a claim that runs out means a dead sender.
LEASE_MS = 90_000
AT_ONCE = 16
PER_HOST = 4
# Of an answer's body so much is read, so that the connection can be used again; it is never kept.
_MOST_ANSWER = 4_096
_BODY_S = 2.0
_MOST_URL = 2_048
_MOST_WORDS = 300

_log = logging.getLogger("viralsync.callbacks")


@dataclass(frozen=True)
class Sender:
    """What sending needs. secret_of: a workspace's `whsec_...`. allow: private addresses that may be reached all the same."""

    database: Database
    secret_of: Callable[[str], str]
    now_ms: Callable[[], int]
    allow: tuple[str, ...] = ()
    jitter: Callable[[], float] = random.random
    resolve: Resolve = resolve_by_system
    timeout_s: float = TIMEOUT_S


@dataclass
class Round:
    """What a round came to: messages by verdict."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)


def deliver_due(
    sender: Sender, *, budget_s: float, at_once: int = AT_ONCE, per_host: int = PER_HOST, clock: Callable[[], float] = time.monotonic
) -> Round:
    """Send what is due, several at a time, until nothing is due or `budget_s` have passed. No request is begun after that; those under
    way are waited for. A host that is slow or down gets no more in this round, so that it cannot hold up the others."""
    done = Round()
    if not _any_due(sender):
        return done  # most rounds: no client is opened for them
    until = clock() + budget_s
    resting: set[str] = set()
    at_work: dict[Future[Verdict | None], Waiting] = {}
    with (
        open_client(allow=sender.allow, resolve=sender.resolve, connect_s=sender.timeout_s, read_s=sender.timeout_s) as client,
        ThreadPoolExecutor(at_once, "callbacks") as pool,
    ):
        while True:
            if clock() < until:
                for message in _choose(sender, resting, at_work.values(), at_once, per_host):
                    at_work[pool.submit(_deliver, sender, client, message)] = message
            if not at_work:
                return done
            for future in wait(at_work, return_when=FIRST_COMPLETED).done:
                message = at_work.pop(future)
                verdict = future.result()
                if verdict is not None:
                    done.verdicts[verdict] += 1
                if verdict is Verdict.SLOW:
                    resting.add(_host(message.url))


def _any_due(sender: Sender) -> bool:
    with sender.database.reading() as connection:
        due_ms = outbox.next_due_ms(connection)
    return due_ms is not None and due_ms <= sender.now_ms()


def _choose(sender: Sender, resting: set[str], at_work: Iterable[Waiting], at_once: int, per_host: int) -> list[Waiting]:
    busy = list(at_work)
    jobs, hosts = {message.job_id for message in busy}, Counter(_host(message.url) for message in busy)
    chosen: list[Waiting] = []
    with sender.database.reading() as connection:
        for message in outbox.waiting(connection, sender.now_ms()):
            if len(busy) + len(chosen) >= at_once:
                break
            host = _host(message.url)
            if message.job_id not in jobs and host not in resting and hosts[host] < per_host:
                chosen.append(message)
                jobs.add(message.job_id)
                hosts[host] += 1
    return chosen


def _deliver(sender: Sender, client: httpx.Client, message: Waiting) -> Verdict | None:
    """Claim, send, settle; None when somebody else has it."""
    with sender.database.writing() as connection:
        claimed = outbox.claim(connection, message, sender.now_ms(), LEASE_MS)
    if claimed is None:
        return None
    answer, wanted_s = _post(sender, client, claimed)
    verdict = verdict_on(answer.status)
    with sender.database.writing() as connection:
        if verdict is Verdict.DELIVERED:
            outbox.settle_delivered(connection, claimed, answer)
        elif verdict is Verdict.GONE:
            outbox.settle_gone(connection, claimed, answer)
        else:
            pause = pause_ms(claimed.tries, verdict, wanted_s, sender.jitter())
            outbox.settle_failed(connection, claimed, answer, None if pause is None else sender.now_ms() + pause)
    return verdict


def _post(sender: Sender, client: httpx.Client, message: Claimed) -> tuple[Answer, float | None]:
    """The answer, and for how long it asks to be left alone. Never raises for what the other side does."""
    import httpx

    at_ms = sender.now_ms()
    status, error, wanted_s = None, None, None
    try:
        headers = signed(sender.secret_of(message.workspace), message.id, message.body, at_ms)
        with deadline(sender.timeout_s):
            answer = client.send(client.build_request("POST", message.url, content=message.body, headers=headers), stream=True)
        status, wanted_s = answer.status_code, retry_after(answer.headers)
        if not answer.is_success:
            error = f"answered {status} {answer.reason_phrase}".rstrip()[:_MOST_WORDS]
        _finish(answer)
    except AddressRefused:
        error = f"ADDRESS_REFUSED: {_host(message.url)} lies on a private or reserved network, which callbacks may not reach"
    except HostUnknown:
        error = f"HOST_UNKNOWN: the host {_host(message.url)} is not known"
    except httpx.TimeoutException:
        error = f"no answer within {sender.timeout_s:g} s"
    except (httpx.HTTPError, httpx.InvalidURL) as broken:
        error = f"{type(broken).__name__}: {str(broken) or 'the connection broke'}"[:_MOST_WORDS]
    except DatabaseError:
        raise
    except Exception as fault:
        # A message that cannot be sent, whatever the reason, must not keep the others from being sent.
        _log.exception("%s cannot be sent", message.id)
        error = f"{type(fault).__name__}: {fault}"[:_MOST_WORDS]
    return Answer(at_ms, max(0, sender.now_ms() - at_ms), status, error), wanted_s


def _finish(answer: httpx.Response) -> None:
    """Read a short body to its end, for the connection's sake; leave a long or slow one. The status has said everything."""
    import httpx

    try:
        with deadline(_BODY_S):
            size = 0
            for chunk in answer.iter_raw():
                size += len(chunk)
                if size > _MOST_ANSWER:
                    break
    except httpx.HTTPError:
        pass
    finally:
        answer.close()


def signed(secret: str, message_id: str, body: str, at_ms: int) -> Mapping[str, str]:
    """The headers of one try. Raises ValueError for a secret that is none."""
    from standardwebhooks import Webhook

    seconds = at_ms // 1000
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": Webhook(secret).sign(message_id, datetime.fromtimestamp(seconds, UTC), body),
        "x-render-signature": hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest(),
        "x-render-delivery": message_id,
    }


def callback_fault(url: str, allow: Iterable[str], resolve: Resolve = resolve_by_system) -> str | None:
    """What is wrong with a callback address, or None. It is judged again, and bindingly, at every delivery."""
    if len(url) > _MOST_URL:
        return f"a callback address has at most {_MOST_URL} characters; shorten it"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "a callback address is written in plain ASCII without blanks; encode anything else as %XX"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        return f"this is no web address ({error}); write https://host/path"
    if parts.scheme not in {"https", "http"} or not host:
        return "a callback address begins with https:// or http:// and names a host; write https://host/path"
    if parts.username is not None or parts.password is not None:
        return "a callback address has no user or password in it; callbacks are known by their signature instead"
    try:
        verified(host, port or (443 if parts.scheme == "https" else 80), Allow.of(allow), resolve)
    except AddressRefused:
        return f"{host} lies on a private or reserved network; give a public address, or let the operator allow it (VIRALSYNC_ALLOW_HOSTS)"
    except HostUnknown as error:
        # When the name server is away nobody knows; delivery will see.
        return None if error.temporary else f"the host {host} is not known; check its spelling"
    return None


def _host(url: str) -> str:
    """Host and port, without what may stand before them."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""
