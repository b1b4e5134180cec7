"""Looking back at callbacks: lists with every try, replay by hand, and what is forgotten in the end.

What belongs here: reading the outbox and its log, making messages due again. What does not: sending (outbox.py, board/deliveries.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, tuple_, update

from viralsync_pipelines.storage.outbox import DUE, Answer, url_sha256
from viralsync_pipelines.storage.tables import callback_endpoints, deliveries, outbox


@dataclass(frozen=True)
class Sent:
    """A message and every try to send it, oldest first. next_ms: when it is tried next; None when it is settled, or being sent."""

    id: str
    job_id: str
    workspace: str
    sequence: int
    kind: str
    url: str
    body: str
    state: str
    tries: int
    created_ms: int
    delivered_ms: int | None
    next_ms: int | None
    sending: bool
    answers: tuple[Answer, ...]

    @property
    def key(self) -> tuple[int, int, str]:
        """Its place in a list."""
        return self.created_ms, self.sequence, self.id


def messages_of(
    connection: Connection, workspace: str, *, job_id: str | None = None, before: tuple[int, int, str] | None = None, limit: int = 25
) -> list[Sent]:
    """A workspace's messages, of one job or all, newest first, after `before` (the key of the last one shown)."""
    key = outbox.c.created_ms, outbox.c.sequence, outbox.c.id
    chosen = select(outbox).where(outbox.c.workspace == workspace)
    if job_id is not None:
        chosen = chosen.where(outbox.c.job_id == job_id)
    if before is not None:
        chosen = chosen.where(tuple_(*key) < before)
    rows = connection.execute(chosen.order_by(*(column.desc() for column in key)).limit(limit)).mappings().all()
    answers = _answers(connection, [row["id"] for row in rows])
    return [
        Sent(
            row["id"], row["job_id"], row["workspace"], row["sequence"], row["kind"], row["url"], row["body"], row["state"], row["tries"],
            row["created_ms"], row["delivered_ms"],
            next_ms=row["due_ms"] if row["state"] == DUE and row["claimed_ms"] is None else None,
            sending=row["state"] == DUE and row["claimed_ms"] is not None,
            answers=tuple(answers[row["id"]]),
        )
        for row in rows
    ]  # fmt: skip


def replay(connection: Connection, workspace: str, message_id: str, now_ms: int) -> bool:
    """Make a message due now, with every try before it again; False when the workspace has none with this id.

    Its address is used again when it had asked for no more. One that is still to be tried is tried now, and with it those of its job
    that come before it. One that is being sent this moment is left alone.
    """
    mine = outbox.c.id == message_id, outbox.c.workspace == workspace
    row = connection.execute(select(outbox).where(*mine).with_for_update()).mappings().first()
    if row is None:
        return False
    connection.execute(
        delete(callback_endpoints).where(
            callback_endpoints.c.workspace == workspace, callback_endpoints.c.url_sha256 == url_sha256(row["url"])
        )
    )
    if row["state"] != DUE:
        again = {"state": DUE, "due_ms": now_ms, "tries": 0, "claimed_ms": None, "delivered_ms": None}
        connection.execute(update(outbox).where(*mine, outbox.c.state != DUE).values(**again))
    ahead = outbox.c.job_id == row["job_id"], outbox.c.sequence <= row["sequence"], outbox.c.state == DUE
    connection.execute(
        update(outbox).where(*ahead, outbox.c.claimed_ms.is_(None), outbox.c.due_ms > now_ms).values(due_ms=now_ms, tries=0)
    )
    return True


def sweep(connection: Connection, before_ms: int) -> int:
    """Forget settled messages older than this, with their tries; how many. Each job's last one stays: it says what was told already."""
    last = select(outbox.c.job_id, func.max(outbox.c.sequence).label("sequence")).group_by(outbox.c.job_id).subquery()
    is_last = select(last.c.job_id).where(last.c.job_id == outbox.c.job_id, last.c.sequence == outbox.c.sequence).exists()
    old = select(outbox.c.id).where(outbox.c.state != DUE, outbox.c.created_ms < before_ms, ~is_last)
    return _forget(connection, [row.id for row in connection.execute(old)])


def forget_job(connection: Connection, job_id: str) -> int:
    """Forget everything about a job that was deleted, but what its receiver has yet to be told; how many messages."""
    settled = select(outbox.c.id).where(outbox.c.job_id == job_id, outbox.c.state != DUE)
    return _forget(connection, [row.id for row in connection.execute(settled)])


def counts(connection: Connection) -> dict[str, int]:
    """How many messages are in each state."""
    return {row[0]: row[1] for row in connection.execute(select(outbox.c.state, func.count()).group_by(outbox.c.state))}


def _forget(connection: Connection, ids: Sequence[str]) -> int:
    for start in range(0, len(ids), 500):
        some = ids[start : start + 500]
        connection.execute(delete(deliveries).where(deliveries.c.message_id.in_(some)))
        connection.execute(delete(outbox).where(outbox.c.id.in_(some)))
    return len(ids)


def _answers(connection: Connection, ids: Sequence[str]) -> dict[str, list[Answer]]:
    found: dict[str, list[Answer]] = defaultdict(list)
    if ids:
        log = select(deliveries).where(deliveries.c.message_id.in_(ids)).order_by(deliveries.c.id)
        for row in connection.execute(log).mappings():
            found[row["message_id"]].append(Answer(row["at_ms"], row["took_ms"], row["status"], row["error"]))
    return found
