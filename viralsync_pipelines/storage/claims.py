"""Who works on a request that must happen once: a row is claimed before anything is asked of Dagster, and its answer kept.

What belongs here: the rows, and that of many who claim one exactly one goes on. What does not: headers and replies
(gateway/idempotency.py). Times come from the caller.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, and_, delete, func, select, update

from viralsync_pipelines.storage.database import insert_once
from viralsync_pipelines.storage.tables import idempotency

if TYPE_CHECKING:
    from viralsync_pipelines.storage.database import Database

STALE_MS = 60_000
"""A claim as old as this without an answer belongs to nobody any more: its process died. No submission takes half as long."""
KEPT_MS = 48 * 3_600_000
"""How long answers are shown again: a day is promised, two are given. Clean-up takes what is older."""


@dataclass(frozen=True)
class Held:
    """Ours. claimed_ms tells it from every other claim of the same row. resumed: somebody before us may have got as far as Dagster."""

    scope: str
    key: str
    job_id: str
    claimed_ms: int
    resumed: bool = False


@dataclass(frozen=True)
class Answered:
    """It happened: this was the answer. headers: a JSON object."""

    status: int
    body: str
    headers: str


@dataclass(frozen=True)
class Busy:
    """Somebody is at it."""


@dataclass(frozen=True)
class Differs:
    """The key was used for another request."""


Outcome = Held | Answered | Busy | Differs


def claim(database: Database, scope: str, key: str, request_sha256: str, job_id: str, now_ms: int) -> Outcome:
    """Try to be the one. `job_id` is used when the row is new; whoever takes over a broken claim gets the id that was minted first."""
    row = {"scope": scope, "key": key, "request_sha256": request_sha256, "job_id": job_id, "claimed_ms": now_ms}
    with database.writing() as connection:
        if insert_once(connection, idempotency, row):
            return Held(scope, key, job_id, now_ms)
        there = connection.execute(select(idempotency).where(_at(scope, key))).first()
        if there is None:
            # It was released just now. The next request with the key finds the place free.
            return Busy()
        if there.request_sha256 != request_sha256:
            return Differs()
        if there.status is not None:
            return Answered(there.status, there.body or "", there.headers or "{}")
        if now_ms - there.claimed_ms < STALE_MS:
            return Busy()
        old = Held(scope, key, there.job_id, there.claimed_ms)
        if not _moved(connection, old, claimed_ms=now_ms):
            return Busy()
        return Held(scope, key, there.job_id, now_ms, resumed=True)


def settle(database: Database, held: Held, status: int, body: str, headers: str) -> bool:
    """Keep the answer. False when somebody took the claim over meanwhile; they made the same job."""
    with database.writing() as connection:
        return _moved(connection, held, status=status, body=body, headers=headers)


def renew(database: Database, held: Held, now_ms: int) -> Held | None:
    """Hold on for another minute, just before the step that must not happen twice; None when somebody took it over."""
    now_ms = max(now_ms, held.claimed_ms)
    with database.writing() as connection:
        if not _moved(connection, held, claimed_ms=now_ms):
            return None
    return Held(held.scope, held.key, held.job_id, now_ms, held.resumed)


def release(database: Database, held: Held) -> bool:
    """Nothing happened: the key is as if never used."""
    with database.writing() as connection:
        return connection.execute(delete(idempotency).where(_ours(held))).rowcount == 1


def abandon(database: Database, held: Held) -> bool:
    """Something may have happened: the next request with the key takes over at once, with the same job id and `resumed`."""
    with database.writing() as connection:
        return _moved(connection, held, claimed_ms=held.claimed_ms - STALE_MS)


def forget_claims(database: Database, before_ms: int, *, dry_run: bool = False) -> int:
    """Clean-up: drop rows claimed before this, answered or not; returns how many. Give now - KEPT_MS."""
    old = idempotency.c.claimed_ms < before_ms
    if dry_run:
        with database.reading() as connection:
            return connection.execute(select(func.count()).select_from(idempotency).where(old)).scalar_one()
    with database.writing() as connection:
        return connection.execute(delete(idempotency).where(old)).rowcount


def _moved(connection: Any, held: Held, **values: Any) -> bool:
    return bool(connection.execute(update(idempotency).where(_ours(held)).values(**values)).rowcount == 1)


def _at(scope: str, key: str) -> ColumnElement[bool]:
    return and_(idempotency.c.scope == scope, idempotency.c.key == key)


def _ours(held: Held) -> ColumnElement[bool]:
    return and_(_at(held.scope, held.key), idempotency.c.claimed_ms == held.claimed_ms, idempotency.c.status.is_(None))
