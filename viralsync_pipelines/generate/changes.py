"""What people do to executions and their jobs: cancel, try again with other input, delete.

What belongs here: these moves of the ledger. What does not: whether the asker may (the gateway), telling providers (poll.py, which reads
what is left to tell).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from viralsync_pipelines.errors import JobNotFound, Problem, ReportRefused
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.aging import forget_rows_of
from viralsync_pipelines.generate.ending import after_end, end_execution, release_all
from viralsync_pipelines.generate.ledger import Ledger, Move
from viralsync_pipelines.generate.models import Registry, check_params
from viralsync_pipelines.generate.records import ENDED, Record, row
from viralsync_pipelines.generate.settle import OPEN
from viralsync_pipelines.jobs import ledger_rules as told
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.ledger_rules import Note


def execution_of(ledger: Ledger, job_id: str) -> str | None:
    """The execution that a job is, or is a part of; None for a job of another kind."""
    with ledger.database.reading() as connection:
        record = records.find(connection, job_id)
        if record is not None:
            return record.execution_id
        return job_id if records.find_execution(connection, job_id) is not None else None


def cancel(ledger: Ledger, job_id: str) -> None:
    """End an execution, or one job of it, at once; its provider is told afterwards, and what it makes all the same is not fetched.

    Raises JobNotFound, and ReportRefused for what has ended.
    """
    execution_id = _known(ledger, job_id)
    with ledger.moving(execution_id) as move:
        whole = job_id == execution_id
        rows = records.of_execution(move.connection, execution_id, row.stage != ENDED, *(() if whole else (row.id == job_id,)))
        if not rows:
            raise ReportRefused(f"{job_id} has ended, and there is nothing to cancel")
        for record in rows:
            _cancel_row(move, record, whole=whole)
        if whole:
            move.notes.append(Note(execution_id, moves.CANCELLED))
            end_execution(move.connection, execution_id, move.now_ms)


def _cancel_row(move: Move, record: Record, *, whole: bool) -> None:
    away = record.stage in OPEN
    values = {
        "stage": ENDED, "status": "cancelled", "completed_at": move.now_ms, "error": "CANCELLED: cancelled by hand", "lease_until": None,
        "next_poll_at": None, "batch": None, "cancelling": "asked" if away else None,
    }  # fmt: skip
    if not records.move(move.connection, record, [record.stage], values):
        return
    records.mark(move.connection, record, ENDED, "user", move.now_ms, "cancelled")
    move.notes.append(Note(record.id, moves.CANCELLED))
    if not whole:
        move.notes.extend(after_end(move.connection, record, "cancelled", move.now_ms))


def retry(
    ledger: Ledger, registry: Registry, job_id: str, *, scope: str = "failed", changes: Mapping[str, Any] | None = None
) -> int:  # fmt: skip
    """Try ended jobs again: what failed or was cancelled, with `all` also what is done; of one job: it, and what failed because of it.

    changes: params over those of the job, of one job only. Returns the number of the new attempt. Raises JobNotFound, ReportRefused.
    """
    execution_id = _known(ledger, job_id)
    with ledger.moving(execution_id) as move:
        rows = records.of_execution(move.connection, execution_id)
        whole = job_id == execution_id
        if changes and whole and len(rows) > 1:
            told_now = "only a single job has params to set: retry the child that is to be changed"
            raise ReportRefused(told_now, problems=[Problem("/set", "FIELD_UNKNOWN", told_now)])
        again = _to_retry(rows, job_id, execution_id, scope, changes)
        for record in again:
            _retry_row(move, record, registry, (changes or {}) if record is again[0] else {})
        release_all(move.connection, execution_id)
        records.change_execution(
            move.connection, execution_id, move.now_ms, status="processing", completed_at=None, error=None, result=None
        )  # fmt: skip
        return max(record.attempt for record in again) + 1


def _to_retry(rows: Sequence[Record], job_id: str, execution_id: str, scope: str, changes: Mapping[str, Any] | None) -> list[Record]:
    """Which rows begin anew; of a single job that one first."""
    if job_id == execution_id:
        going = next((each for each in rows if each.stage != ENDED), None)
        if going is not None:
            raise ReportRefused(f"{going.job_id} is still at work; it can be tried again once the execution has ended")
        again = [each for each in rows if scope == "all" or each.status != "completed"]
    else:
        one = next(each for each in rows if each.id == job_id)
        if one.stage != ENDED:
            raise ReportRefused(f"{job_id} is {one.status}; it can be tried again once it has ended")
        if one.status == "completed" and scope != "all" and not changes:
            raise ReportRefused(f"{job_id} is done and did not fail; send scope `all` to make it anew, or `set` to make it otherwise")
        again = [one]
        # Those that came to nothing because of it, and with scope `all` those that were made from it, listed in any order.
        made = scope == "all" or bool(changes)
        left = [
            each for each in rows
            if each is not one and ((made and each.stage == ENDED) or (each.error or "").startswith("DEPENDENCY_FAILED"))
        ]  # fmt: skip
        names = {one.job_id}
        while more := [each for each in left if names & set(each.dependencies)]:
            again += more
            names |= {each.job_id for each in more}
            left = [each for each in left if each.job_id not in names]
    if not again:
        raise ReportRefused("nothing of it failed; send scope `all` to make it anew")
    return again


def _retry_row(move: Move, record: Record, registry: Registry, changes: Mapping[str, Any]) -> None:
    params = {**record.params, **changes}
    if changes:
        model = registry.get(record.model_id) if record.model_id is not None else None
        problems = check_params(model, params, "/set") if model is not None else []
        if problems:
            raise ReportRefused(f"the model does not take this: {problems[0].message}", problems=problems)
    values: dict[str, Any] = {
        "stage": "blocked" if record.dependencies else "ready", "status": "pending", "attempt": record.attempt + 1, "tries": 0,
        "params": params, "outcome": None, "settled_by": None, "result": None, "error": None, "completed_at": None, "settled_at": None,
        "started_at": None, "poll_attempts": 0, "poll_errors": 0, "next_poll_at": None, "lease_until": None, "batch": None,
        "cost_usd": None, "progress": {"stage": "starting", "percentage": 0},
    }  # fmt: skip
    if record.cancelling != "asked":
        # Otherwise the provider is yet to be told which of its jobs to stop; the next submit clears what is left.
        values |= {"provider_job_id": None, "provider_job_status": None, "provider_urls": None}
    if not records.move(move.connection, record, [ENDED], values):
        raise ReportRefused(f"{record.job_id} is being tried again already")
    records.mark(move.connection, record, str(values["stage"]), "user", move.now_ms, "tried again")
    move.notes.append(Note(record.id, moves.RETRIED, {"scope": "all"}))
    if changes:
        move.notes.append(Note(record.id, told.CHANGED, {"payload": {"params": params}}))


def forget(ledger: Ledger, execution_id: str) -> list[str]:
    """Delete an ended execution's rows; the ids of its jobs. What they made stays in the store by its content. Raises ReportRefused."""
    with ledger.moving(execution_id) as move:
        if records.of_execution(move.connection, execution_id, row.stage != ENDED):
            raise ReportRefused(f"{execution_id} is at work again; cancel it first, or wait for its end")
        return forget_rows_of(move.connection, execution_id)


def _known(ledger: Ledger, job_id: str) -> str:
    execution_id = execution_of(ledger, job_id)
    if execution_id is None:
        raise JobNotFound(f"there is no execution or job {job_id[:100]!r}")
    return execution_id
