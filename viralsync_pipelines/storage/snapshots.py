"""Ended jobs as they were folded, kept over restarts: a cache that may be emptied at any moment.

What belongs here: rows of `job_snapshots`. What does not: folding (board/folds.py), what is in a state.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlalchemy import Insert, delete, select

from viralsync_pipelines.storage.tables import snapshots

if TYPE_CHECKING:
    from viralsync_pipelines.storage.database import Database


class KeptEnds:
    """board.folds.Snapshots in a database."""

    def __init__(self, database: Database, now_ms: Callable[[], int]) -> None:
        self._database, self._now_ms = database, now_ms

    def load(self, job_ids: Sequence[str], version: int) -> Mapping[str, tuple[str, bytes]]:
        """job id -> (the runs it was folded from, its state), of those that are kept and were folded by this version."""
        wanted = (snapshots.c.job_id.in_(job_ids)) & (snapshots.c.fold_version == version)
        with self._database.reading() as connection:
            rows = connection.execute(select(snapshots.c.job_id, snapshots.c.runs, snapshots.c.state).where(wanted))
            return {row.job_id: (row.runs, bytes(row.state)) for row in rows}

    def save(self, rows: Iterable[tuple[str, str, bytes]], version: int) -> None:
        """Keep (job id, runs, state), in place of what was kept of these jobs before."""
        now = self._now_ms()
        # Always in the same order: two processes that keep the same jobs do not wait for each other's rows in turn.
        given = [
            {"job_id": job_id, "fold_version": version, "runs": runs, "state": state, "saved_ms": now}
            for job_id, runs, state in sorted(rows)
        ]
        if given:
            with self._database.writing() as connection:
                connection.execute(_replacing(connection.dialect.name), given)


def _replacing(dialect: str) -> Insert:
    """Insert rows, each in place of the one with its key."""
    if dialect == "postgresql":
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        statement: Any = postgres_insert(snapshots)
    else:
        from sqlalchemy.dialects.sqlite import insert as sqlite_insert

        statement = sqlite_insert(snapshots)
    values = {column.name: statement.excluded[column.name] for column in snapshots.c if not column.primary_key}
    replacing: Insert = statement.on_conflict_do_update(index_elements=[snapshots.c.job_id], set_=values)
    return replacing


def forget(database: Database, job_id: str | None = None) -> None:
    """Empty the cache, of one job or wholly."""
    with database.writing() as connection:
        connection.execute(delete(snapshots).where(snapshots.c.job_id == job_id) if job_id is not None else delete(snapshots))
