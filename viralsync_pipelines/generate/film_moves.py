"""Moves of rows whose work is a run of ours: a film or a narration. One transaction each, as in ledger.py.

What belongs here: begun, on the way, failed, cancelled; they are done by outcomes.collected. What does not: starting and following runs
(defs/films.py).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import update

from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.operations import OPERATIONS
from viralsync_pipelines.generate.records import ENDED, Record, row
from viralsync_pipelines.jobs import ledger_rules as told
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.ledger_rules import Note
from viralsync_pipelines.storage.ledger_tables import execution_jobs

if TYPE_CHECKING:
    from viralsync_pipelines.generate.ledger import Ledger

DAGSTER = "dagster"
"""In place of a provider's name."""
OURS: Sequence[str] = tuple(name for name, each in OPERATIONS.items() if each.by != "provider")
"""Operations that runs of ours do."""
_FREE = ("ready",)
_GOING = ("waiting",)


@dataclass(frozen=True)
class Going:
    """How a run's job stands. status: running, or waiting in a queue. percent: 0 to 100."""

    status: str
    phase: str
    percent: int
    message: str
    stage: Mapping[str, Any] | None = None


def run_job_of(record_id: str, attempt: int) -> str:
    """The id of the job whose run does this attempt: the same whoever starts it, however often."""
    return "job_" + hashlib.sha256(f"{record_id}:{attempt}".encode()).hexdigest()[:12]


def begun(ledger: Ledger, record: Record, wanted: Mapping[str, str], until_ms: int) -> Record | None:
    """A run does it from now on, whether it is made at once or when the row is looked at again. wanted: what the run is made from.

    None when it is somebody else's. until_ms: until when the run is given time to appear.
    """
    job_id = run_job_of(record.id, record.attempt)
    with ledger.moving(record.execution_id) as move:
        values = {
            "stage": "waiting", "status": "processing", "provider": DAGSTER, "provider_job_id": job_id, "provider_job_status": "queued",
            "provider_urls": dict(wanted), "waiting_strategy": "polling", "next_poll_at": None, "submits": record.submits + 1,
            "tries": record.tries + 1, "started_at": record.started_at or move.now_ms, "submitted_at": move.now_ms,
            "lease_until": until_ms, "batch": None, "outcome": None, "settled_by": None,
            "progress": {"stage": "waiting for polling", "percentage": 0},
        }  # fmt: skip
        if not records.move(move.connection, record, _FREE, values):
            return None
        records.mark(move.connection, record, "waiting", "submit", move.now_ms, f"{DAGSTER}: {job_id}")
        records.change_execution(move.connection, record.execution_id, move.now_ms, status="processing")
        by = {"name": DAGSTER, "jobId": job_id}
        data = {"status": "waiting", "phase": "dispatching", "progress": 0, "message": "In the queue", "provider": by}
        move.notes.append(Note(record.id, told.MOVED, data))
    return replace(
        record, stage="waiting", status="processing", provider=DAGSTER, provider_job_id=job_id, provider_urls=dict(wanted),
        submits=record.submits + 1, tries=record.tries + 1, submitted_at=move.now_ms, lease_until=until_ms,
    )  # fmt: skip


def asked_again(ledger: Ledger, record: Record, until_ms: int) -> bool:
    """Its run has not appeared, and is asked for once more; False when the row has moved on."""
    with ledger.database.writing() as connection:
        return records.move(connection, record, _GOING, {"lease_until": until_ms})


def on_the_way(ledger: Ledger, record: Record, going: Going) -> bool:
    """What the run's job shows, shown by the row's; nothing is written when it is the same as before."""
    shown = {"stage": going.phase, "percentage": going.percent}
    if record.progress == shown and record.provider_job_status == going.status:
        return False
    with ledger.moving(record.execution_id) as move:
        values = {"progress": shown, "provider_job_status": going.status}
        if not records.move(move.connection, record, _GOING, values):
            return False
        data = {
            "status": going.status, "phase": going.phase, "progress": going.percent, "message": going.message,
            "provider": {"name": DAGSTER, "status": going.status},
        }  # fmt: skip
        move.notes.append(Note(record.id, told.MOVED, {**data, "stage": going.stage} if going.stage is not None else data))
    return True


def failed(ledger: Ledger, record: Record, code: str, message: str, details: Mapping[str, Any] | None = None) -> bool:
    """It failed, before its run was made or in it. message: the run's own words."""
    with ledger.moving(record.execution_id) as move:
        values = {
            "stage": ENDED, "status": "failed", "completed_at": move.now_ms, "settled_at": move.now_ms, "settled_by": "sensor",
            "error": f"{code}: {message}"[:8_000], "lease_until": None, "batch": None,
        }  # fmt: skip
        if not records.move(move.connection, record, (*_FREE, *_GOING), values):
            return False
        records.mark(move.connection, record, ENDED, "sensor", move.now_ms, f"failed, {code}: {message}")
        data = {"code": code, "message": message, "details": dict(details or {}), "retryable": True}
        move.end(record, "failed", Note(record.id, moves.FAILED, data))
    return True


def cancelled(ledger: Ledger, record: Record) -> bool:
    """Its run was cancelled by hand."""
    with ledger.moving(record.execution_id) as move:
        values = {
            "stage": ENDED, "status": "cancelled", "completed_at": move.now_ms, "settled_at": move.now_ms, "settled_by": "sensor",
            "error": "CANCELLED: its run was cancelled", "lease_until": None, "batch": None,
        }  # fmt: skip
        if not records.move(move.connection, record, _GOING, values):
            return False
        records.mark(move.connection, record, ENDED, "sensor", move.now_ms, "its run was cancelled")
        move.end(record, "cancelled", Note(record.id, moves.CANCELLED))
    return True


def told_to_stop(ledger: Ledger, record: Record) -> None:
    """Its runs were asked to end, or there are none."""
    with ledger.database.writing() as connection:
        connection.execute(update(execution_jobs).where(row.id == record.id, row.cancelling == "asked").values(cancelling="told"))
