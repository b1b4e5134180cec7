"""The ledger: how a provider job's row moves, each move one transaction with its history and with what the Job shows.

What belongs here: that transaction, and the moves until a provider has the job. What does not: the moves from its answer on (outcomes.py),
who makes them (submit.py, poll.py, inbox.py, collect.py).

    blocked -> ready -> submitting -> waiting -> settled -> collecting -> ended
                 ^          \\-> unsure -^ \\-> ready (a passing failure, once) | ended (failed, cancelled)

Whatever touches an execution locks its family first (`Telling.lock`), so that moves of its jobs come one after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.ending import after_end
from viralsync_pipelines.generate.records import ENDED, Record
from viralsync_pipelines.generate.telling import Committed, Telling
from viralsync_pipelines.generate.waits import Waits
from viralsync_pipelines.jobs import ledger_rules as told
from viralsync_pipelines.jobs.ledger_rules import Note, Opening
from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

    from viralsync_pipelines.generate.plans import Plan, PlanJob
    from viralsync_pipelines.generate.provider import Seen, Taken
    from viralsync_pipelines.storage.database import Database

EXECUTION = "workflow.run"


@dataclass(frozen=True)
class Ledger:
    """database: with its tables. now_ms: the clock. chance: 0 to 1, for jitter. waits: between polls."""

    database: Database
    telling: Telling
    now_ms: Callable[[], int]
    chance: Callable[[], float]
    waits: Waits = field(default_factory=Waits)

    @contextmanager
    def moving(self, execution_id: str) -> Iterator[Move]:
        """One transaction that has the execution to itself; what is noted is told when it is committed."""
        with self.database.writing() as connection:
            self.telling.lock(connection, execution_id)
            move = Move(connection, self.now_ms(), [])
            yield move
            committed = self.telling.note(connection, execution_id, move.notes) if move.notes else None
        if committed is not None:
            committed()


@dataclass(frozen=True)
class Move:
    connection: Connection
    now_ms: int
    notes: list[Note]

    def end(self, record: Record, status: str, note: Note) -> None:
        """What follows, told after the job's own end."""
        self.notes.append(note)
        self.notes.extend(after_end(self.connection, record, status, self.now_ms))


# ---- opening ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """An execution to be written down. ids: of each job's record. keys: of providers, sealed. kind: the type of its own Job."""

    id: str
    ids: Mapping[str, str]
    workspace: str
    plan: Plan
    base_id: str | None = None
    keys: str | None = None
    title: str = ""
    project_id: str | None = None
    channel: str | None = None
    callback_url: str | None = None
    kind: str = EXECUTION


def open_execution(ledger: Ledger, order: Order) -> None:
    """Write an execution and its jobs, those that wait for nothing ready to begin. Nothing happens when the id is there already."""
    now = ledger.now_ms()
    jobs = [_row_of(order, number, job, now) for number, job in enumerate(order.plan.jobs)]
    children = [Opening(order.ids[job.id], job.type, job.id, _about(order, job)) for job in order.plan.jobs]
    callbacks = {order.ids[job.id]: job.told for job in order.plan.jobs if job.told}
    with ledger.database.writing() as connection:
        if records.find_execution(connection, order.id) is not None:
            return
        committed: Committed = ledger.telling.open(
            connection, Opening(order.id, order.kind, order.title, {"executionId": order.id}), children, workspace=order.workspace,
            project_id=order.project_id, channel=order.channel, callback_url=order.callback_url, callbacks=callbacks,
        )  # fmt: skip
        connection.execute(
            insert(executions),
            {"id": order.id, "workspace": order.workspace, "status": "pending", "execution_plan": dict(order.plan.document),
             "base_execution_id": order.base_id, "provider_api_keys": order.keys, "created_at": now, "updated_at": now},
        )  # fmt: skip
        connection.execute(insert(execution_jobs), jobs)
    committed()


def _row_of(order: Order, number: int, job: PlanJob, now: int) -> dict[str, Any]:
    return {
        "id": order.ids[job.id], "execution_id": order.id, "job_id": job.id, "position": number, "workspace": order.workspace,
        "status": "pending", "stage": "blocked" if job.needs else "ready", "operation": job.operation, "type": job.type,
        "dependencies": list(job.needs), "params": dict(job.params), "model_id": job.model.id if job.model is not None else None,
        "provider": job.model.provider if job.model is not None else None, "attempt": 1, "submits": 0, "tries": 0, "poll_attempts": 0,
        "poll_errors": 0, "progress": {"stage": "starting", "percentage": 0}, "created_at": now,
    }  # fmt: skip


def _about(order: Order, job: PlanJob) -> dict[str, Any]:
    about: dict[str, Any] = {"executionId": order.id, "id": job.id, "operation": job.operation, "params": dict(job.params)}
    if job.model is not None:
        about |= {"modelId": job.model.id, "provider": {"name": job.model.provider}}
    if job.needs:
        about["dependsOn"] = list(job.needs)
    return about


# ---- submitting ------------------------------------------------------------------------------------------------------


def begin_submit(ledger: Ledger, record: Record, until_ms: int) -> Record | None:
    """Committed before the provider is called: whatever happens then, the row says that it may have been. None when it is not ours."""
    with ledger.moving(record.execution_id) as move:
        values = {
            "stage": "submitting", "status": "processing", "submits": record.submits + 1, "tries": record.tries + 1,
            "started_at": record.started_at or move.now_ms, "submitted_at": move.now_ms, "lease_until": until_ms, "poll_attempts": 0,
            "provider_job_id": None, "provider_job_status": None, "provider_urls": None, "outcome": None, "settled_by": None,
            # A cancel that was asked for before is not meant for this one.
            "cancelling": None, "progress": {"stage": "calling provider", "percentage": 10},
        }  # fmt: skip
        if not records.move(move.connection, record, ["ready"], values):
            return None
        records.mark(move.connection, record, "submitting", "submit", move.now_ms)
        records.change_execution(move.connection, record.execution_id, move.now_ms, status="processing")
        data = {"status": "running", "phase": "submitting", "progress": 0, "message": f"giving it to {record.provider or record.operation}"}
        move.notes.append(Note(record.id, told.MOVED, data))
    return replace(record, stage="submitting", submits=record.submits + 1, tries=record.tries + 1)


def submitted(ledger: Ledger, record: Record, taken: Taken, strategy: str) -> bool:
    """The provider has the job. False when its end was already told by a webhook that came before the answer: then it is settled."""
    now, ticket = ledger.now_ms(), taken.ticket
    wait = ledger.waits.late(ledger.chance()) if strategy == "webhook" else ledger.waits.after(0, ledger.chance())
    known = {
        "provider_job_id": ticket.provider_job_id[:200], "provider_urls": dict(ticket.urls), "waiting_strategy": strategy,
        "provider_job_status": taken.seen.word[:64], "poll_errors": 0,
    }  # fmt: skip
    with ledger.moving(record.execution_id) as move:
        waiting = {**known, "stage": "waiting", "lease_until": None, "next_poll_at": now + wait,
                   "progress": {"stage": "collecting" if strategy == "none" else f"waiting for {strategy}", "percentage": 20}}  # fmt: skip
        if records.move(move.connection, record, ["submitting", "unsure"], waiting):
            records.mark(move.connection, record, "waiting", "submit", now, f"{record.provider}: {ticket.provider_job_id}")
            move.notes.append(Note(record.id, told.MOVED, seen_data(record, taken.seen, ticket.provider_job_id)))
            return True
        late = records.find(move.connection, record.id)
        if late is not None and records.move(move.connection, record, ["settled", "collecting", ENDED], known):
            records.mark(move.connection, late, late.stage, "submit", now, f"answer came after the end: {ticket.provider_job_id}")
    return False


def not_sent(ledger: Ledger, record: Record, why: str, wait_ms: int) -> None:
    """The provider certainly did not take it: the same may be sent again, later."""
    with ledger.moving(record.execution_id) as move:
        again = {
            "stage": "ready", "tries": record.tries - 1, "batch": None, "lease_until": move.now_ms + wait_ms,
            "poll_errors": record.poll_errors + 1,
        }  # fmt: skip
        if records.move(move.connection, record, ["submitting"], again):
            records.mark(move.connection, record, "ready", "submit", move.now_ms, why)
            data = {"status": "waiting", "phase": "submitting", "message": why[:500]}
            move.notes.append(Note(record.id, told.MOVED, data))


def unsure(ledger: Ledger, record: Record, why: str, until_ms: int) -> None:
    """The answer to the submit was lost. Until `until_ms` a webhook may show that the provider has it; then it is asked."""
    with ledger.moving(record.execution_id) as move:
        if records.move(move.connection, record, ["submitting"], {"stage": "unsure", "lease_until": until_ms, "batch": None}):
            records.mark(move.connection, record, "unsure", "submit", move.now_ms, why)
            told_now = f"the answer to the submit was lost; looking for the job at {record.provider}"
            move.notes.append(Note(record.id, told.MOVED, {"status": "waiting", "phase": "waiting", "message": told_now}))


def seen_data(record: Record, seen: Seen, provider_job_id: str = "") -> dict[str, Any]:
    """What a job shows while it is at the provider."""
    provider: dict[str, Any] = {"name": record.provider, "status": seen.word}
    if provider_job_id:
        provider["jobId"] = provider_job_id
    if seen.log:
        provider["log"] = seen.log[-2_000:]
    data: dict[str, Any] = {"status": "waiting", "phase": "waiting", "message": f"{record.provider}: {seen.word}", "provider": provider}
    if seen.queue_position is not None:
        data["queue"] = {"position": seen.queue_position, "total": None, "queueName": record.provider}
    if seen.progress is not None:
        data["progress"] = 20 + 70 * min(1.0, max(0.0, seen.progress))
    return data
