"""Asking providers what has become of the jobs that are due, many at once and within a time budget; and what else is due at them.

What belongs here: one tick of that. What does not: when it ticks (defs/generations.py), what an answer means (settle.py). A row on a
webhook is asked about too, late and rarely, so that a lost webhook costs a minute and not the job.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from sqlalchemy import Connection, and_, func, or_, select, update

from viralsync_pipelines.generate import outcomes, records
from viralsync_pipelines.generate.desk import Desk, pause_after, ticket_of
from viralsync_pipelines.generate.film_moves import DAGSTER
from viralsync_pipelines.generate.outcomes import Polled
from viralsync_pipelines.generate.outputs import keep_bytes
from viralsync_pipelines.generate.provider import Blame, CallFailed, Fault, Gone, Provider, Seen
from viralsync_pipelines.generate.records import Record, row
from viralsync_pipelines.generate.settle import GIVEN_UP, failed, settle
from viralsync_pipelines.generate.side_by_side import side_by_side
from viralsync_pipelines.generate.submit import SUBMIT_LEASE_MS, confirm
from viralsync_pipelines.generate.waits import MOST_ERRORS
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

THREADS = 24
# Requests a second that a provider takes, all of ours together (Replicate: 3,000 a minute for everything but creating).
RATES: Mapping[str, float] = {"replicate": 40.0, "fal": 20.0, "google": 10.0, "runway": 5.0, "luma": 5.0, "heygen": 5.0}
DEFAULT_RATE = 2_000.0
# Providers are asked about a job that they do not know yet, for so long.
UNKNOWN_MS = 30_000
_KEEP_EVERY = 100

_log = logging.getLogger("viralsync.generate")


@dataclass(frozen=True)
class Tick:
    """found: due. asked: of those, in this tick. settled: came to their end by it."""

    found: int
    asked: int
    settled: int


def poll_due(desk: Desk, *, budget_s: float, limit: int = 2_000, clock: Callable[[], float] = time.monotonic, tick_s: float = 5.0) -> Tick:
    """One tick. What the budget or a provider's rate leaves over stays due, the longest due first."""
    until = clock() + budget_s
    now = desk.ledger.now_ms()
    with desk.ledger.database.reading() as connection:
        due = records.where(connection, row.stage == "waiting", row.next_poll_at <= now, limit=limit, order=(row.next_poll_at, row.id))
        calls = _calls_with_keys(desk, connection, due)
    due = [each for each in due if each.provider in desk.providers]
    if not due:
        return Tick(0, 0, 0)
    _log.info("[PollingWorker] Found %d jobs to poll", len(due))
    chosen = _within_rates(due, max(budget_s, tick_s))
    asked = settled = 0
    kept: list[Polled] = []

    def ask(record: Record) -> Polled | bool | None:
        return _poll_until(desk, calls.get(record.execution_id, desk.calls), record, until, clock)

    for result in side_by_side(ask, chosen, most=THREADS):
        if result is None:
            continue
        asked += 1
        if isinstance(result, Polled):
            kept.append(result)
        else:
            settled += result
        if len(kept) >= _KEEP_EVERY:
            outcomes.keep_polls(desk.ledger, kept)
            kept = []
    outcomes.keep_polls(desk.ledger, kept)
    return Tick(len(due), asked, settled)


def _calls_with_keys(desk: Desk, connection: Connection, due: Sequence[Record]) -> dict[str, Calls]:
    """Calls for executions that came with keys of their own, which are opened once for all of an execution's rows."""
    found: dict[str, Calls] = {}
    ids = sorted({each.execution_id for each in due})
    for at in range(0, len(ids), 200):
        sealed = select(executions.c.id, executions.c.provider_api_keys).where(
            executions.c.id.in_(ids[at : at + 200]), executions.c.provider_api_keys.is_not(None)
        )
        found |= {each.id: desk.calls_for(each.provider_api_keys) for each in connection.execute(sealed)}
    return found


def _within_rates(due: Iterable[Record], seconds: float) -> list[Record]:
    """As many of each provider's as it takes in this time, their order kept."""
    left: dict[str, float] = {}
    chosen = []
    for each in due:
        name = each.provider or ""
        left.setdefault(name, RATES.get(name, DEFAULT_RATE) * seconds)
        if left[name] >= 1:
            left[name] -= 1
            chosen.append(each)
    return chosen


def _poll_until(desk: Desk, calls: Calls, record: Record, until: float, clock: Callable[[], float]) -> Polled | bool | None:
    """None when the budget is used up; True when it settled the row, False when somebody else did."""
    if clock() >= until:
        return None
    try:
        return poll_one(desk, calls, record)
    except Exception:
        _log.exception("[PollingWorker] polling job %s failed", record.id)
        return Polled(record, None, desk.ledger.now_ms() + desk.ledger.waits.ceiling_ms)


def poll_one(desk: Desk, calls: Calls, record: Record) -> Polled | bool:
    """Ask about one row: what to note of it, or whether this caller settled it."""
    provider, ticket = desk.providers[record.provider or ""], ticket_of(desk, record)
    _log.info("[PollingWorker] Polling job %s (attempt %d)", record.id, record.poll_attempts + 1)
    try:
        seen = provider.poll(calls, ticket)
    except Gone as error:
        if desk.ledger.now_ms() - (record.submitted_at or 0) < UNKNOWN_MS:
            return _no_answer(desk, record, error)
        fault = Fault(Blame.EXPIRED, "PROVIDER_JOB_GONE", f"the provider knows the job no more: {error.message}")
        return outcomes.settle_row(desk.ledger, record, failed(fault, 99), "poll")
    except CallFailed as error:
        return _no_answer(desk, record, error)
    _log.info("[PollingWorker] Job %s status: %s", record.id, seen.word)
    outcome = settle("waiting", seen, submits=record.tries, polls=record.poll_attempts)
    if outcome is not None:
        return outcomes.settle_row(desk.ledger, record, keep_bytes(desk.store, record.id, record.submits, outcome), "poll", word=seen.word)
    if record.waiting_strategy != "webhook" and record.poll_attempts + 1 >= desk.ledger.waits.most:
        return _given_up(desk, calls, record, provider)
    return Polled(record, seen, _next(desk, record, seen))


def _next(desk: Desk, record: Record, seen: Seen) -> int:
    waits, chance = desk.ledger.waits, desk.ledger.chance()
    asked = seen.poll_after_s * 1000 if seen.poll_after_s is not None else None
    wait = waits.late(chance) if record.waiting_strategy == "webhook" else waits.after(record.poll_attempts + 1, chance, asked_ms=asked)
    at = desk.ledger.now_ms() + wait
    _log.info("[PollingWorker] Job %s still processing, next poll at %s", record.id, iso(at))
    return at


def _no_answer(desk: Desk, record: Record, error: CallFailed) -> Polled | bool:
    """No honest answer: it has a budget of its own, so that an outage does not use up the job's polls."""
    _log.warning("[PollingWorker] Polling job %s came to nothing: %s", record.id, error)
    if record.poll_errors + 1 >= MOST_ERRORS:
        told = f"{record.provider} gave no answer {MOST_ERRORS} times in a row: {error.message}"
        fault = Fault(error.blame, "PROVIDER_UNREACHABLE", told)
        return outcomes.settle_row(desk.ledger, record, failed(fault, 99), "poll")
    return Polled(record, None, desk.ledger.now_ms() + pause_after(desk, record, error))


def _given_up(desk: Desk, calls: Calls, record: Record, provider: Provider) -> bool:
    """The provider is told to stop, and asked a last time: it may be done in this very moment."""
    ticket = ticket_of(desk, record)
    try:
        provider.cancel(calls, ticket)
        seen = provider.poll(calls, ticket)
    except CallFailed:
        outcome = None
    else:
        outcome = settle("waiting", seen, submits=99, polls=99) if seen.outputs else None
    given_up = replace(GIVEN_UP, message=f"{GIVEN_UP.message} ({desk.ledger.waits.most})")
    outcome = keep_bytes(desk.store, record.id, record.submits, outcome) if outcome is not None else failed(given_up, 99)
    return outcomes.settle_row(desk.ledger, record, outcome, "poll")


# ---- what else is due ------------------------------------------------------------------------------------------------


def confirm_due(desk: Desk, limit: int = 50) -> int:
    """Submits whose answer was lost, or whose run died over them: the provider is asked. How many."""
    now = desk.ledger.now_ms()
    with desk.ledger.database.reading() as connection:
        over = and_(row.stage.in_(["unsure", "submitting"]), row.lease_until <= now)
        rows = records.where(connection, over, limit=limit, order=(row.lease_until, row.id))
    for record in rows:
        confirm(desk, record)
    return len(rows)


def cancel_asked(desk: Desk, limit: int = 50) -> int:
    """Tell providers of jobs that were cancelled here. How many were told."""
    with desk.ledger.database.reading() as connection:
        # Runs of ours are ended where they are followed.
        theirs = or_(row.provider.is_(None), row.provider != DAGSTER)
        rows = records.where(connection, row.cancelling == "asked", theirs, limit=limit)
        calls = _calls_with_keys(desk, connection, rows)
    told = 0
    for record in rows:
        provider = desk.providers.get(record.provider or "")
        state = "told"
        if provider is not None and not record.provider_job_id and desk.ledger.now_ms() - (record.submitted_at or 0) < SUBMIT_LEASE_MS:
            # It was cancelled while it was being given to the provider, whose answer says what to stop.
            continue
        if provider is not None and record.provider_job_id:
            try:
                provider.cancel(calls.get(record.execution_id, desk.calls), ticket_of(desk, record))
            except Gone:
                pass
            except CallFailed as error:
                _log.warning("%s could not be told to stop %s: %s", record.provider, record.id, error)
                # Until it would have ended by itself.
                state = "asked" if desk.ledger.now_ms() - (record.completed_at or 0) < 3_600_000 else "told"
            else:
                told += 1
        with desk.ledger.database.writing() as connection:
            connection.execute(update(execution_jobs).where(row.id == record.id).values(cancelling=state))
    return told


def work_left(desk: Desk) -> dict[str, int]:
    """Rows by what a run is needed for: ready, settled; those nobody has."""
    now = desk.ledger.now_ms()
    with desk.ledger.database.reading() as connection:
        free = or_(row.lease_until.is_(None), row.lease_until <= now)
        counted = select(row.stage, func.count().label("number")).where(row.stage.in_(["ready", "settled"]), free).group_by(row.stage)
        return {each.stage: each.number for each in connection.execute(counted)}
