"""What was made and for how long it plays: one row for each attempt that ended done, and sums by month and day, UTC.

What belongs here: writing rows, summing them, where months and days begin. What does not: what a plan allows (gateway/plans.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from viralsync_pipelines.storage.database import insert_once
from viralsync_pipelines.storage.tables import usage

if TYPE_CHECKING:
    from viralsync_pipelines.storage.database import Database

# Render minutes are minutes of finished films. Other jobs have rows too, and are counted, but cost none.
_COSTS = "render."


@dataclass(frozen=True)
class Spent:
    """Jobs that ended done, and how many seconds what they made plays."""

    jobs: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Report:
    """Since the 1st of this month and since midnight, UTC. by_type: this month's. *_resets_ms: when the sums start anew."""

    month: Spent
    today: Spent
    by_type: Mapping[str, Spent]
    month_resets_ms: int
    today_resets_ms: int


def meter_once(database: Database, job_id: str, attempt: int, workspace: str, type: str, seconds: float, done_ms: int) -> bool:
    """Note an attempt that ended done. However often and by however many it is told, it counts once; True when this call counted."""
    row = {
        "job_id": job_id, "attempt": attempt, "workspace": workspace, "type": type, "seconds": max(0.0, seconds), "done_ms": done_ms,
    }  # fmt: skip
    with database.writing() as connection:
        return insert_once(connection, usage, row)


def attempts_metered(database: Database, job_id: str) -> frozenset[int]:
    """Numbers of the job's attempts that have been noted."""
    with database.reading() as connection:
        return frozenset(connection.execute(select(usage.c.attempt).where(usage.c.job_id == job_id)).scalars())


def report(database: Database, workspace: str, now_ms: int) -> Report:
    """What a workspace has spent. `seconds` of month and today are of films only; `jobs` are all."""
    month_ms, next_month_ms = month_of(now_ms)
    day_ms, next_day_ms = day_of(now_ms)
    today = usage.c.done_ms >= day_ms
    sums = (
        select(
            usage.c.type, func.count().label("jobs"), func.sum(usage.c.seconds).label("seconds"),
            func.sum(case((today, 1), else_=0)).label("jobs_today"),
            func.sum(case((today, usage.c.seconds), else_=0.0)).label("seconds_today"),
        )
        .where(usage.c.workspace == workspace, usage.c.done_ms >= month_ms)
        .group_by(usage.c.type)
        .order_by(usage.c.type)
    )  # fmt: skip
    with database.reading() as connection:
        rows = connection.execute(sums).all()
    films = [row for row in rows if row.type.startswith(_COSTS)]
    return Report(
        month=Spent(sum(row.jobs for row in rows), math.fsum(row.seconds for row in films)),
        today=Spent(sum(row.jobs_today for row in rows), math.fsum(row.seconds_today for row in films)),
        by_type={row.type: Spent(row.jobs, row.seconds) for row in rows},
        month_resets_ms=next_month_ms,
        today_resets_ms=next_day_ms,
    )


def month_of(at_ms: int) -> tuple[int, int]:
    """The first milliseconds of the month and of the next one."""
    first = _utc(at_ms).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    following = first.replace(year=first.year + 1, month=1) if first.month == 12 else first.replace(month=first.month + 1)
    return _ms(first), _ms(following)


def day_of(at_ms: int) -> tuple[int, int]:
    """The first milliseconds of the day and of the next one."""
    midnight = _utc(at_ms).replace(hour=0, minute=0, second=0, microsecond=0)
    return _ms(midnight), _ms(midnight + timedelta(days=1))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _utc(at_ms: int) -> datetime:
    return _EPOCH + timedelta(milliseconds=at_ms)


def _ms(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(milliseconds=1)
