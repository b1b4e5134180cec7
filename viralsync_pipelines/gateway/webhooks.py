"""`POST /api/webhooks/job/{recordId}`: a provider tells of a job. Checked, kept in one commit with others, and answered; nothing more.

What belongs here: that route. What does not: whom to believe (webhook_trust.py), reading what was kept (webhook_reading.py), what it
means (generate/inbox.py). It is a plain ASGI route: FastAPI's own machinery costs more than all of its work, and 500 come in a second.
"""

from __future__ import annotations

import hmac
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from sqlalchemy import bindparam, select
from starlette.routing import Route

from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.gateway.faults import Refused, reply_to
from viralsync_pipelines.gateway.together import Together
from viralsync_pipelines.gateway.webhook_reading import Reader
from viralsync_pipelines.gateway.webhook_trust import HINT, SIGNED, trust_of
from viralsync_pipelines.generate.desk import webhook_token
from viralsync_pipelines.generate.inbox import Letter, put
from viralsync_pipelines.generate.signing_keys import KeyCache, KeysUnavailable, NotKept
from viralsync_pipelines.generate.webhook import SignatureRefused, event_key
from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions

if TYPE_CHECKING:
    from fastapi import FastAPI
    from sqlalchemy import Connection
    from starlette.types import Receive, Scope, Send

    from viralsync_pipelines.generate.desk import Desk

PATH = "/api/webhooks/job/{record_id}"
MOST_BYTES = 5_000_000
_SUBMIT = re.compile(r"[0-9]{1,6}", re.ASCII)
_KEPT, _AGAIN = b'{"success":true,"status":"received"}', b'{"success":true,"status":"duplicate"}'
_CHUNK = 200
# With this, some three share a transaction at 500 a second.
_LINGER_S = 0.003
# Built once: building it anew for each costs more than asking.
_row = execution_jobs.c
_WHOSE = (
    select(_row.id, _row.provider, _row.model_id, executions.c.provider_api_keys)
    .join(executions, executions.c.id == _row.execution_id)
    .where(_row.id.in_(bindparam("ids", expanding=True)))
)
_log = logging.getLogger("viralsync.gateway")


@dataclass(frozen=True)
class _Sent:
    """A webhook at an address that was given out. headers: names in lower case."""

    record_id: str
    submit: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class _Whose:
    """What has to be known of a job before its webhook can be judged. keys: sealed, of its plan."""

    provider: str
    model_id: str
    keys: str | None


@dataclass(frozen=True)
class _Kept:
    """new: it came for the first time; None when there is no such job any more."""

    model_id: str
    trust: str
    new: bool | None


class Intake:
    """An ASGI application for the one route. close(): when the server ends."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._keys = KeyCache(desk.calls.now_ms)
        self._keys_at_hand = self._keys.kept_only()
        # Found, judged and kept in one transaction for all that wait.
        self._take: Together[_Sent, _Kept | _Whose] = Together(self._take_all, linger_s=_LINGER_S)
        self._put: Together[Letter, bool | None] = Together(self._put_all)
        # Those that keys must be fetched for. Each provider's by itself: one that cannot be asked holds up no other.
        self._judges: dict[str, Together[tuple[_Whose, _Sent], str]] = {}
        self.route: Route | None = None
        # Messages that rest on a signature are rows only; a hint means asking its provider, which may take its time.
        self._readers = {trust: Reader(desk) for trust in (SIGNED, HINT)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.route is not None:
            scope["route"] = self.route
        try:
            body = await self._taken(scope, receive)
        except ViralsyncError as error:
            await reply_to(_refusal(error), accept="", instance=scope["path"])(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _taken(self, scope: Scope, receive: Receive) -> bytes:
        record_id, submit = scope["path_params"]["record_id"], self._submit_of(scope)
        if submit is None:
            raise _unknown()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        sent = _Sent(record_id, submit, headers, await _body(receive))
        taken = await self._take.of(sent)
        kept = taken if isinstance(taken, _Kept) else await self._judged(taken, sent)
        if kept.new is None:
            raise _unknown()
        _log.info("[Webhook] Received webhook for job %s, model %s", record_id, kept.model_id)
        if kept.new:
            self._readers[kept.trust].read(record_id)
        return _KEPT if kept.new else _AGAIN

    async def _judged(self, whose: _Whose, sent: _Sent) -> _Kept:
        """One whose keys have to be fetched first."""
        if whose.provider not in self._judges:
            self._judges[whose.provider] = Together(self._judge_all)
        trust = await self._judges[whose.provider].of((whose, sent))
        return _Kept(whose.model_id, trust, await self._put.of(self._letter(whose, sent, trust)))

    def _submit_of(self, scope: Scope) -> int | None:
        """Which submit the address was given out for; None when it never was."""
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), max_num_fields=20))
        told, token = query.get("s", ""), query.get("t", "")
        submit = int(told) if _SUBMIT.fullmatch(told) else 0
        wanted = webhook_token(self._desk.secret, scope["path_params"]["record_id"], submit)
        right = hmac.compare_digest(wanted.encode(), token.encode("utf-8", "replace"))
        return submit if right and str(submit) == told else None

    # ---- in threads --------------------------------------------------------------------------------------------------

    def _take_all(self, sent: Sequence[_Sent]) -> list[_Kept | _Whose | Exception]:
        results: list[_Kept | _Whose | Exception] = []
        letters: list[tuple[int, _Whose, Letter]] = []
        with self._desk.ledger.database.writing() as connection:
            found = _whose(connection, [each.record_id for each in sent])
            for place, (each, whose) in enumerate(zip(sent, found, strict=True)):
                if whose is None:
                    results.append(_unknown())
                    continue
                try:
                    trust = trust_of(self._desk, self._keys_at_hand, whose.provider, whose.keys, each.headers, each.body)
                except NotKept:
                    results.append(whose)
                except (SignatureRefused, KeysUnavailable) as error:
                    results.append(error)
                else:
                    results.append(whose)
                    letters.append((place, whose, self._letter(whose, each, trust)))
            there = {letter.record_id for _, _, letter in letters}
            kept = put(connection, [letter for _, _, letter in letters], there=there) if letters else []
            for (place, whose, letter), new in zip(letters, kept, strict=True):
                results[place] = _Kept(whose.model_id, letter.trust, new)
        return results

    def _judge_all(self, asked: Sequence[tuple[_Whose, _Sent]]) -> list[str | Exception]:
        results: list[str | Exception] = []
        for whose, sent in asked:
            try:
                results.append(trust_of(self._desk, self._keys, whose.provider, whose.keys, sent.headers, sent.body))
            except (SignatureRefused, KeysUnavailable) as error:
                results.append(error)
        return results

    def _put_all(self, letters: Sequence[Letter]) -> list[bool | None]:
        with self._desk.ledger.database.writing() as connection:
            return put(connection, letters)

    def _letter(self, whose: _Whose, sent: _Sent, trust: str) -> Letter:
        name = event_key(whose.provider, sent.headers, sent.body)[:200]
        return Letter(sent.record_id, whose.provider, name, sent.submit, trust, sent.body, self._desk.ledger.now_ms())

    def close(self) -> None:
        """Blocks until what was begun is done; letters that nobody has read are read by the next process, or by Dagster's sensor."""
        for reader in self._readers.values():
            reader.close()
        rounds: list[Together[Any, Any]] = [self._take, self._put, *self._judges.values()]
        for each in rounds:
            each.close()


def _whose(connection: Connection, ids: Sequence[str]) -> list[_Whose | None]:
    found: dict[str, _Whose] = {}
    for at in range(0, len(ids), _CHUNK):
        for each in connection.execute(_WHOSE, {"ids": list(ids[at : at + _CHUNK])}):
            if each.provider is not None:
                found[each.id] = _Whose(each.provider, each.model_id or "", each.provider_api_keys)
    return [found.get(each) for each in ids]


def install(app: FastAPI, desk: Desk) -> Intake:
    """Put the route before all others of `app`: it is asked for most."""
    intake = Intake(desk)
    intake.route = Route(PATH, intake, methods=["POST"], include_in_schema=False)
    app.router.routes.insert(0, intake.route)
    return intake


async def _body(receive: Receive) -> bytes:
    parts, size = [], 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused(400, "VALIDATION_ERROR", "the webhook broke off; send it again")
        part = message.get("body", b"")
        size += len(part)
        if size > MOST_BYTES:
            raise Refused(413, "PAYLOAD_TOO_LARGE", f"a webhook has at most {MOST_BYTES:,} bytes; results are fetched by their addresses")
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)


def _unknown() -> Refused:
    return Refused(404, "JOB_NOT_FOUND", "there is no job here that waits for a webhook at this address")


def _refusal(error: ViralsyncError) -> ViralsyncError:
    if isinstance(error, SignatureRefused):
        _log.warning("[Webhook] refused: %s", error.message)
        return Refused(401, error.code, error.message)
    if isinstance(error, KeysUnavailable):
        _log.warning("[Webhook] cannot be checked for the moment: %s", error.message)
        return Refused(503, error.code, "the signature cannot be checked for the moment; send it again", headers={"Retry-After": "30"})
    if not isinstance(error, Refused):
        _log.error("[Webhook] could not be kept: %s", error.message)
    return error
