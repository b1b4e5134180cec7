"""Old executions and webhooks, as the clean-up has them deleted.

What belongs here: which rows are old, and taking them away. What does not: when that is done (defs/cleanup.py). What executions made stays
in the store by its content, where other films may use it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, func, select

from viralsync_pipelines.storage import reports
from viralsync_pipelines.storage.ledger_tables import execution_jobs, executions, transitions, webhook_inbox

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from viralsync_pipelines.storage.database import Database

# Longer than any provider goes on sending (OpenAI: 72 h).
LETTERS_KEPT_MS = 7 * 86_400_000
_AT_ONCE = 20


def forget_letters(database: Database, now_ms: int, *, dry_run: bool = False) -> int:
    """Webhooks that no provider sends again any more; how many."""
    old = webhook_inbox.c.received_ms < now_ms - LETTERS_KEPT_MS
    if dry_run:
        with database.reading() as connection:
            return connection.execute(select(func.count()).select_from(webhook_inbox).where(old)).scalar_one()
    with database.writing() as connection:
        return connection.execute(delete(webhook_inbox).where(old)).rowcount


def forget_executions(database: Database, before_ms: int, *, dry_run: bool = False) -> int:
    """Executions that ended before then, with their jobs and history; how many."""
    old = select(executions.c.id).where(executions.c.completed_at < before_ms)
    if dry_run:
        with database.reading() as connection:
            return len(connection.execute(old).all())
    forgotten = 0
    while True:
        # A few at a time: on SQLite everybody who writes waits meanwhile.
        with database.writing() as connection:
            ids = list(connection.execute(old.order_by(executions.c.completed_at).limit(_AT_ONCE)).scalars())
            for execution_id in ids:
                forget_rows_of(connection, execution_id)
            reports.remove(connection, ids)
        forgotten += len(ids)
        if len(ids) < _AT_ONCE:
            return forgotten


def forget_rows_of(connection: Connection, execution_id: str) -> list[str]:
    """An execution's rows, but for the log of its Jobs; the ids of its jobs."""
    ids = list(connection.execute(select(execution_jobs.c.id).where(execution_jobs.c.execution_id == execution_id)).scalars())
    for at in range(0, len(ids), 200):
        chunk = ids[at : at + 200]
        connection.execute(delete(webhook_inbox).where(webhook_inbox.c.record_id.in_(chunk)))
        connection.execute(delete(transitions).where(transitions.c.record_id.in_(chunk)))
        connection.execute(delete(execution_jobs).where(execution_jobs.c.id.in_(chunk)))
    connection.execute(delete(executions).where(executions.c.id == execution_id))
    return ids
