"""Rows of the ledger as values, and the few ways they are read and moved. In the caller's transaction, without any rule.

What belongs here: SQL. What does not: what may follow what (ledger.py, ending.py), and why.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, bindparam, insert, or_, select, update

from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions, transitions

if TYPE_CHECKING:
    from sqlalchemy import Connection

row = execution_jobs.c
ENDED = "ended"
_CHUNK = 200


@dataclass(frozen=True)
class Record:
    """A job of an execution. Times are unix milliseconds. See storage/ledger_tables.py for what the columns mean."""

    id: str
    execution_id: str
    job_id: str
    position: int
    workspace: str
    status: str
    stage: str
    operation: str
    type: str
    dependencies: Sequence[str]
    params: Mapping[str, Any]
    model_id: str | None
    provider: str | None
    attempt: int
    submits: int
    tries: int
    provider_job_id: str | None
    provider_job_status: str | None
    provider_urls: Mapping[str, str] | None
    waiting_strategy: str | None
    next_poll_at: int | None
    poll_attempts: int
    poll_errors: int
    batch: str | None
    lease_until: int | None
    outcome: Mapping[str, Any] | None
    settled_by: str | None
    cancelling: str | None
    progress: Mapping[str, Any] | None
    result: Mapping[str, Any] | None
    error: str | None
    cost_usd: float | None
    created_at: int
    started_at: int | None
    submitted_at: int | None
    settled_at: int | None
    completed_at: int | None


@dataclass(frozen=True)
class Execution:
    """A plan that is carried out."""

    id: str
    workspace: str
    status: str
    execution_plan: Mapping[str, Any]
    base_execution_id: str | None
    provider_api_keys: str | None
    result: Mapping[str, Any] | None
    error: str | None
    created_at: int
    updated_at: int
    completed_at: int | None


_COLUMNS = [execution_jobs.c[each.name] for each in fields(Record)]
_EXECUTION = [executions.c[each.name] for each in fields(Execution)]


# ---- reading ---------------------------------------------------------------------------------------------------------


def find(connection: Connection, record_id: str) -> Record | None:
    found = connection.execute(select(*_COLUMNS).where(row.id == record_id)).first()
    return Record(*found) if found is not None else None


def several(connection: Connection, record_ids: Sequence[str]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for at in range(0, len(record_ids), _CHUNK):
        for each in connection.execute(select(*_COLUMNS).where(row.id.in_(record_ids[at : at + _CHUNK]))):
            found[each.id] = Record(*each)
    return found


def where(connection: Connection, *conditions: ColumnElement[bool], limit: int | None = None, order: Any = None) -> list[Record]:
    """Rows that fit, in order of their being made unless told otherwise."""
    wanted = select(*_COLUMNS).where(*conditions).order_by(*(order if order is not None else (row.created_at, row.position)))
    return [Record(*each) for each in connection.execute(wanted.limit(limit) if limit is not None else wanted)]


def of_execution(connection: Connection, execution_id: str, *conditions: ColumnElement[bool]) -> list[Record]:
    return where(connection, row.execution_id == execution_id, *conditions, order=(row.position,))


def find_execution(connection: Connection, execution_id: str) -> Execution | None:
    found = connection.execute(select(*_EXECUTION).where(executions.c.id == execution_id)).first()
    return Execution(*found) if found is not None else None


# ---- moving ----------------------------------------------------------------------------------------------------------


def move(connection: Connection, record: Record, stages: Collection[str], values: Mapping[str, Any]) -> bool:
    """Change a row if it stands in one of these stages, in this attempt and submit: one statement, which of many callers one wins."""
    moved = (
        update(execution_jobs)
        .where(row.id == record.id, row.stage.in_(list(stages)), row.attempt == record.attempt, row.submits == record.submits)
        .values(**values)
    )
    return connection.execute(moved).rowcount == 1


def move_all(connection: Connection, stage: str, changes: Sequence[tuple[Record, Mapping[str, Any]]]) -> None:
    """As `move`, for many at once, and without saying which of them moved. values: the same names in each."""
    if not changes:
        return
    mine = row.id == bindparam("of_id"), row.attempt == bindparam("of_attempt"), row.submits == bindparam("of_submits")
    moved = update(execution_jobs).where(*mine, row.stage == stage).values({name: bindparam(f"to_{name}") for name in changes[0][1]})
    rows = []
    for record, values in changes:
        of = {"of_id": record.id, "of_attempt": record.attempt, "of_submits": record.submits}
        rows.append(of | {f"to_{name}": value for name, value in values.items()})
    connection.execute(moved, rows)


def take(connection: Connection, stage: str, batch: str, now_ms: int, until_ms: int, limit: int, *more: ColumnElement[bool]) -> int:
    """Put up to `limit` rows of a stage under a batch, those nobody else has; how many."""
    free = (
        select(row.id)
        .where(row.stage == stage, or_(row.lease_until.is_(None), row.lease_until <= now_ms), *more)
        .order_by(row.created_at, row.position)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    # Read first: with the LIMIT inside of an UPDATE, PostgreSQL may run it anew for a row that changed and take others.
    ids = list(connection.execute(free).scalars())
    for at in range(0, len(ids), _CHUNK):
        mine = update(execution_jobs).where(row.id.in_(ids[at : at + _CHUNK]), row.stage == stage)
        connection.execute(mine.values(batch=batch, lease_until=until_ms))
    return len(ids)


def mark(connection: Connection, record: Record, to_stage: str, by: str, at_ms: int, detail: str = "") -> None:
    """Add to the history of a job."""
    connection.execute(
        insert(transitions),
        {"record_id": record.id, "attempt": record.attempt, "at": at_ms, "from_stage": record.stage, "to_stage": to_stage, "by": by,
         "detail": detail[:2_000]},
    )  # fmt: skip


def change_execution(connection: Connection, execution_id: str, now_ms: int, **values: Any) -> None:
    connection.execute(update(executions).where(executions.c.id == execution_id).values(updated_at=now_ms, **values))
