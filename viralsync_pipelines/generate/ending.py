"""What follows when a job of an execution has ended: dependents begin, or fail with it to the last; the execution ends with its last job.

What belongs here: that, inside the transaction that ended the job. What does not: ending it (outcomes.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.records import ENDED, Record, row
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.ledger_rules import Note
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions

if TYPE_CHECKING:
    from sqlalchemy import Connection


def after_end(connection: Connection, record: Record, status: str, now_ms: int) -> list[Note]:
    """Rows that change because this one has ended with `status` (completed, failed, cancelled), and what is to be told of them."""
    notes: list[Note] = []
    if status == "completed":
        release_all(connection, record.execution_id)
    else:
        blocked = records.of_execution(connection, record.execution_id, row.stage == "blocked")
        notes = _fail_all_after(connection, record, blocked, status, now_ms)
    end_execution(connection, record.execution_id, now_ms)
    return notes


def release_all(connection: Connection, execution_id: str) -> None:
    """Let those begin whose dependencies are all done, as after an end or a retry."""
    # Not whole rows: of a plan of a thousand jobs each end looks at all that still wait.
    blocked = connection.execute(select(row.id, row.dependencies).where(row.execution_id == execution_id, row.stage == "blocked")).all()
    if not blocked:
        return
    done = select(row.job_id).where(row.execution_id == execution_id, row.status == "completed")
    finished = set(connection.execute(done).scalars())
    free = [each.id for each in blocked if finished.issuperset(each.dependencies)]
    for at in range(0, len(free), 200):
        begin = update(execution_jobs).where(row.id.in_(free[at : at + 200]), row.stage == "blocked")
        connection.execute(begin.values(stage="ready", lease_until=None, batch=None))


def _fail_all_after(connection: Connection, record: Record, blocked: Sequence[Record], status: str, now_ms: int) -> list[Note]:
    """The whole subtree: the original failed direct dependents only, and whatever came after those waited for ever."""
    fallen = {record.job_id: status}
    notes: list[Note] = []
    waiting = list(blocked)
    while True:
        hit = [(each, need) for each in waiting if (need := next((one for one in each.dependencies if one in fallen), None)) is not None]
        if not hit:
            return notes
        for each, need in hit:
            told = f"Dependency {need} {'was cancelled' if fallen[need] == 'cancelled' else 'failed'}"
            ended = {"stage": ENDED, "status": "failed", "error": f"DEPENDENCY_FAILED: {told}", "completed_at": now_ms}
            if records.move(connection, each, ["blocked"], ended):
                records.mark(connection, each, ENDED, "sensor", now_ms, told)
                data = {"code": "DEPENDENCY_FAILED", "message": told, "retryable": True}
                notes.append(Note(each.id, moves.FAILED, data))
            fallen[each.job_id] = "failed"
        gone = {each.id for each, _ in hit}
        waiting = [each for each in waiting if each.id not in gone]


def end_execution(connection: Connection, execution_id: str, now_ms: int) -> None:
    """With its last job an execution ends: failed when any failed, otherwise with the result of the last one nobody depends on."""
    left = select(row.id).where(row.execution_id == execution_id, row.stage != ENDED).limit(1)
    if connection.execute(left).first() is not None:
        return
    jobs = records.of_execution(connection, execution_id)
    failed = [each for each in jobs if each.status == "failed"]
    status, error, result = "completed", None, None
    if failed:
        roots = [each for each in failed if not (each.error or "").startswith("DEPENDENCY_FAILED")] or failed
        status, error = "failed", "; ".join(f"{each.job_id}: {each.error}" for each in roots)[:4_000]
    elif any(each.status == "cancelled" for each in jobs):
        status = "cancelled"
    else:
        result = _result_of(jobs)
    ended = update(executions).where(executions.c.id == execution_id, executions.c.completed_at.is_(None))
    connection.execute(ended.values(status=status, error=error, result=result, completed_at=now_ms, updated_at=now_ms))


def _result_of(jobs: Sequence[Record]) -> Mapping[str, Any]:
    needed = {each for job in jobs for each in job.dependencies}
    leaves = [each for each in jobs if each.job_id not in needed]
    last = max(leaves, key=lambda each: (each.completed_at or 0, each.position))
    outputs = (last.result or {}).get("outputs") or [{}]
    return {"url": outputs[0].get("url"), "status": "completed", "jobId": last.job_id, "completedAt": iso(last.completed_at)}
