"""What generating works with: providers by name, the registry, the store, and addresses that lead back here.

What belongs here: putting them together, and the addresses. What does not: working (submit.py, poll.py, inbox.py, collect.py).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.provider import Blame, CallFailed, Ticket
from viralsync_pipelines.jobs.callbacks import LOCAL_GATEWAY

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls
    from viralsync_pipelines.generate.ledger import Ledger
    from viralsync_pipelines.generate.models import Registry
    from viralsync_pipelines.generate.provider import Provider
    from viralsync_pipelines.generate.records import Record
    from viralsync_pipelines.storage.store import Store

# Of a file that a provider fetches; some queue a job for hours.
SHARED_S = 24 * 3600


@dataclass(frozen=True)
class Desk:
    """base_url: of the gateway, as providers reach it; "" when they do not, and then nothing waits for a webhook. local_url: as
    programs of this machine reach it. secret: signs the addresses. unseal: opens the keys that came with a plan."""

    ledger: Ledger
    calls: Calls
    providers: Mapping[str, Provider]
    registry: Registry
    store: Store
    secret: bytes
    base_url: str = ""
    local_url: str = LOCAL_GATEWAY
    unseal: Callable[[str], Mapping[str, str]] = lambda _: {}
    #: Providers on this machine, as the sandbox: they reach the gateway where programs of this machine do.
    near: frozenset[str] = frozenset({"sandbox"})

    def calls_for(self, sealed: str | None) -> Calls:
        """With the keys that came with the plan before those of the server."""
        return replace(self.calls, keys={**self.calls.keys, **self.unseal(sealed)}) if sealed else self.calls

    def webhook_url(self, record: Record, submit: int) -> str | None:
        """Where a provider tells the end of this submit; None when it cannot reach us."""
        base = self.local_url if record.provider in self.near else self.base_url
        if not base:
            return None
        return f"{base.rstrip('/')}/api/webhooks/job/{record.id}?s={submit}&t={webhook_token(self.secret, record.id, submit)}"

    def shared_url(self, key: str, provider: str | None) -> str:
        """An address at which a provider can read an object of the store: the bucket's own, or one of the gateway's, good for a day.

        Raises CallFailed API_BASE_URL_MISSING when the provider could reach neither.
        """
        if self.store.local_path(key) is None:
            return self.store.url(key, expires_s=SHARED_S)
        base = self.local_url if provider in self.near else self.base_url
        if not base:
            remedy = "set API_BASE_URL to the gateway's public address, or VIRALSYNC_STORE to a bucket"
            raise CallFailed(f"{provider} cannot read files of this machine: {remedy}", blame=Blame.SOURCE, code="API_BASE_URL_MISSING")
        until = self.ledger.now_ms() // 1000 + SHARED_S
        return f"{base.rstrip('/')}/v1/shared/{quote(key)}?until={until}&t={share_token(self.secret, key, until)}"

    def file_url(self, record_id: str, name: str) -> str:
        """Where the gateway has an output of a job, for whoever reads its result."""
        return f"{(self.base_url or self.local_url).rstrip('/')}/v1/jobs/{record_id}/files/{name}"


def webhook_token(secret: bytes, record_id: str, submit: int) -> str:
    """Unguessable, and another one for each submit; checked without a look at the database."""
    return _token(secret, f"webhook\0{record_id}\0{submit}")


def share_token(secret: bytes, key: str, until_s: int) -> str:
    """Opens one object until a time, in unix seconds."""
    return _token(secret, f"share\0{key}\0{until_s}")


def _token(secret: bytes, what: str) -> str:
    return hmac.new(secret, what.encode(), hashlib.sha256).hexdigest()[:43]


def calls_of(desk: Desk, record: Record) -> Calls:
    """Calls with the keys that came with this row's plan."""
    with desk.ledger.database.reading() as connection:
        execution = records.find_execution(connection, record.execution_id)
    return desk.calls_for(execution.provider_api_keys if execution is not None else None)


def pause_after(desk: Desk, record: Record, error: CallFailed) -> int:
    """Milliseconds until a provider that gave this row no answer is asked again: longer each time, and as long as it asks for."""
    asked = error.retry_after_s * 1000 if error.retry_after_s is not None else None
    return desk.ledger.waits.after_error(record.poll_errors + 1, desk.ledger.chance(), asked_ms=asked)


def ticket_of(desk: Desk, record: Record) -> Ticket:
    """What the provider needs to know its job by."""
    model = desk.registry.get(record.model_id) if record.model_id else None
    return Ticket(record.provider_job_id or "", dict[str, Any](record.provider_urls or {}), model)
