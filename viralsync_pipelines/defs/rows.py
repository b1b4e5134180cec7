"""Old rows of the project's own tables, as the clean-up has them deleted.

What belongs here: which tables have something that grows old, and when. What does not: how rows are deleted (storage/).
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from viralsync_pipelines.errors import DatabaseBehind
from viralsync_pipelines.generate import aging
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage import claims, outbox_log, reports, snapshots
from viralsync_pipelines.storage.aging import Tally
from viralsync_pipelines.storage.database import FILE, Database, open_database


def forget_rows(
    settings: Settings, jobs: Collection[str], before: datetime, now: datetime, tallies: dict[str, Tally], *, dry_run: bool
) -> None:
    """Callbacks and snapshots of `jobs`, settled callbacks and executions from before, claims of requests, webhooks that came, and reported
    jobs whose time is over.

    Nothing where there are no tables yet: a studio without a gateway has none.
    """
    if settings.database_url is None and not (settings.home / FILE).exists():
        return
    database = open_database(settings.database_url, settings.home)
    try:
        database.check()
        now_ms = round(now.timestamp() * 1000)
        counts = {
            "callbacks": _callbacks(database, jobs, round(before.timestamp() * 1000), dry_run=dry_run),
            "request_claims": claims.forget_claims(database, now_ms - claims.KEPT_MS, dry_run=dry_run),
            "executions": aging.forget_executions(database, round(before.timestamp() * 1000), dry_run=dry_run),
            "webhooks": aging.forget_letters(database, now_ms, dry_run=dry_run),
            "reported_jobs": reports.forget_expired(database, now_ms, dry_run=dry_run),
        }
        for job in jobs if not dry_run else ():
            snapshots.forget(database, job)
    except DatabaseBehind:
        return
    finally:
        database.close()
    for kind, count in counts.items():
        tallies[kind].count += count


class _Counted(Exception):
    """Undoes a transaction that was only made to count."""


def _callbacks(database: Database, jobs: Collection[str], before_ms: int, *, dry_run: bool) -> int:
    count = 0
    try:
        with database.writing() as connection:
            count = sum(outbox_log.forget_job(connection, job) for job in jobs) + outbox_log.sweep(connection, before_ms)
            if dry_run:
                raise _Counted
    except _Counted:
        pass
    return count
