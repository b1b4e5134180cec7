"""Webhooks as they came: kept once, then read. Whatever they tell goes through the same settling as a poll.

What belongs here: the inbox and reading it. What does not: receiving and verifying (the gateway, webhook.py). Applying one twice, or after
the job has ended, changes nothing.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from viralsync_pipelines.generate import ledger as moves
from viralsync_pipelines.generate import outcomes, records
from viralsync_pipelines.generate.desk import Desk, calls_of, ticket_of
from viralsync_pipelines.generate.loose import json_of
from viralsync_pipelines.generate.outputs import keep_bytes
from viralsync_pipelines.generate.provider import CallFailed, Seen, Taken, Ticket
from viralsync_pipelines.generate.records import Record
from viralsync_pipelines.generate.settle import OPEN, settle
from viralsync_pipelines.storage.database import insert_all
from viralsync_pipelines.storage.ledger_tables import execution_jobs, webhook_inbox

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

# How long a letter that cannot be judged is looked at again.
PATIENCE_MS = 10 * 60_000
_inbox = webhook_inbox.c
_log = logging.getLogger("viralsync.generate")


@dataclass(frozen=True)
class Letter:
    """A webhook as it came. submit: which one it answers, by its address. trust: signed | hint."""

    record_id: str
    provider: str
    event_key: str
    submit: int
    trust: str
    body: bytes
    received_ms: int


def put(connection: Connection, letters: Sequence[Letter], *, there: Collection[str] | None = None) -> list[bool | None]:
    """Keep letters: True for one that is new, False for one that came before, None when there is no such job.

    there: jobs that are there, when the transaction has looked already. All are kept by one statement: 500 may come in a second.
    """
    if there is None:
        there = _there(connection, sorted({letter.record_id for letter in letters}))
    rows = [{**vars(letter), "state": "new"} for letter in letters if letter.record_id in there]
    new: set[tuple[str, str]] = set()
    if rows:
        new = {(kept.record_id, kept.event_key) for kept in insert_all(connection, webhook_inbox, rows, _inbox.record_id, _inbox.event_key)}
    kept: list[bool | None] = []
    for letter in letters:
        name = letter.record_id, letter.event_key
        kept.append(name in new if letter.record_id in there else None)
        # The same twice at once is kept once.
        new.discard(name)
    return kept


def _there(connection: Connection, wanted: Sequence[str]) -> set[str]:
    found: set[str] = set()
    for at in range(0, len(wanted), 200):
        found |= set(connection.execute(select(execution_jobs.c.id).where(execution_jobs.c.id.in_(wanted[at : at + 200]))).scalars())
    return found


def apply_new(desk: Desk, limit: int = 200, *, budget_s: float = math.inf, clock: Callable[[], float] = time.monotonic) -> int:
    """Read the letters that nobody has read, the oldest first, for as long as the budget lasts; how many. A hint means asking its
    provider, which may take its time."""
    until = clock() + budget_s
    return _apply_all(desk, limit=limit, going=lambda: clock() < until)


def apply_for(desk: Desk, record_id: str) -> int:
    """Those of one job, as when it came to be known."""
    return _apply_all(desk, _inbox.record_id == record_id)


def _apply_all(
    desk: Desk, *which: ColumnElement[bool], limit: int | None = None, going: Callable[[], bool] = lambda: True
) -> int:  # fmt: skip
    with desk.ledger.database.reading() as connection:
        new = select(webhook_inbox).where(_inbox.state == "new", *which).order_by(_inbox.id).limit(limit)
        letters = list(connection.execute(new).mappings())
    return sum(_applied(desk, letter) for letter in takewhile(lambda _: going(), letters))


# ---- one letter ------------------------------------------------------------------------------------------------------


def _applied(desk: Desk, letter: Any) -> bool:
    try:
        state = _apply(desk, letter)
    except CallFailed as error:
        # The provider could not be asked whether it is true: at the next look.
        _log.warning("[Webhook] %s: %s", letter["record_id"], error)
        state = None
    except Exception:
        # A fault of ours, or of the store: the letters behind it are read all the same.
        _log.exception("[Webhook] reading what came for %s failed", letter["record_id"])
        state = None
    if state is None:
        if desk.ledger.now_ms() - letter["received_ms"] < PATIENCE_MS:
            return False
        # The job is polled as well; letters that stay would keep others from being read.
        state = "kept"
    with desk.ledger.database.writing() as connection:
        connection.execute(update(webhook_inbox).where(_inbox.id == letter["id"]).values(state=state))
    return True


def _apply(desk: Desk, letter: Any) -> str | None:
    """What became of it; None to leave it for later."""
    with desk.ledger.database.reading() as connection:
        record = records.find(connection, letter["record_id"])
    if record is None:
        return "unread"
    if record.stage not in OPEN or letter["submit"] != record.submits:
        # It came too late, or answers a submit that was given up.
        return "kept"
    provider = desk.providers.get(record.provider or "")
    read = provider.read_webhook(ticket_of(desk, record), json_of(letter["body"])) if provider is not None else None
    if provider is None or read is None:
        return "unread"
    provider_job_id, seen = read
    if record.provider_job_id and provider_job_id and provider_job_id != record.provider_job_id:
        _log.warning("[Webhook] %s is %s, and the webhook tells of %s", record.id, record.provider_job_id, provider_job_id)
        return "unread"
    if letter["trust"] != "signed":
        if not record.provider_job_id:
            # Nothing to ask about yet: read again once the answer to the submit is there.
            return None
        seen = provider.poll(calls_of(desk, record), ticket_of(desk, record))
    return _take_in(desk, record, provider_job_id, seen)


def _take_in(desk: Desk, record: Record, provider_job_id: str, seen: Seen) -> str:
    outcome = settle(record.stage, seen, submits=record.tries, polls=99)
    if outcome is not None:
        if not record.provider_job_id and provider_job_id:
            # Before the answer to the submit, or instead of it.
            waiting = moves.submitted(desk.ledger, record, Taken(Ticket(provider_job_id), seen), "webhook")
            record = replace(record, stage="waiting") if waiting else record
        outcome = keep_bytes(desk.store, record.id, record.submits, outcome)
        outcomes.settle_row(desk.ledger, record, outcome, "webhook", word=seen.word)
        return "applied"
    if record.stage == "unsure" and provider_job_id:
        moves.submitted(desk.ledger, record, Taken(Ticket(provider_job_id), seen), "webhook")
    elif record.stage == "waiting":
        # It is at work: nothing to ask about before the next poll is due.
        outcomes.keep_polls(desk.ledger, [outcomes.Polled(record, seen, record.next_poll_at or 0)], counted=False)
    return "applied"
