"""Callbacks that are to be sent: put in once, claimed by one sender at a time, in the order of each job, until an answer settles them.

What belongs here: the rows and their states. What does not: what a message says (jobs/callbacks.py), sending (board/deliveries.py),
looking back and replaying (outbox_log.py).

    due ---> delivered | given_up (every try failed) | disabled (the address asked for no more: 410)
     ^------------ a replay by hand -------------/

A message being sent is due, too: at the time when its sender is taken to be dead. So nothing is stuck when a sender is killed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, case, exists, func, select, tuple_, update

from viralsync_pipelines.storage.database import insert_once
from viralsync_pipelines.storage.tables import callback_endpoints, deliveries, outbox

DUE, DELIVERED, GIVEN_UP, DISABLED = "due", "delivered", "given_up", "disabled"


@dataclass(frozen=True)
class Waiting:
    """A message that can be sent now. due_ms: as seen, for `claim`."""

    id: str
    job_id: str
    url: str
    due_ms: int


@dataclass(frozen=True)
class Claimed:
    """A message that this sender alone may send until `until_ms`. tries: this one included."""

    id: str
    workspace: str
    url: str
    body: str
    tries: int
    until_ms: int


@dataclass(frozen=True)
class Answer:
    """What came of a try. status: None when no answer came; error: then, or when it was no success, why."""

    at_ms: int
    took_ms: int
    status: int | None = None
    error: str | None = None


def put(connection: Connection, message: Mapping[str, Any], *, workspace: str, url: str, now_ms: int) -> bool:
    """Put a message (id, job_id, sequence, kind, at_ms, body) in, due at once; False when it was there already."""
    return insert_once(
        connection, outbox,
        {
            "id": message["id"], "job_id": message["job_id"], "workspace": workspace, "sequence": message["sequence"],
            "kind": message["kind"], "url": url, "body": message["body"], "created_ms": message["at_ms"], "state": DUE, "due_ms": now_ms,
            "tries": 0,
        },
    )  # fmt: skip


def told_of(connection: Connection, job_id: str) -> tuple[int, int | None]:
    """Number of the job's last message (0: none yet), and the time of its last progress."""
    of_progress = case((outbox.c.kind == "progress", outbox.c.created_ms))
    row = connection.execute(select(func.max(outbox.c.sequence), func.max(of_progress)).where(outbox.c.job_id == job_id)).one()
    return row[0] or 0, row[1]


def waiting(connection: Connection, now_ms: int, *, limit: int = 200) -> Iterator[Waiting]:
    """Messages that can be sent now, the longest due first: of each job the first one that is not settled. Read `limit` at a time."""
    earlier = outbox.alias()
    chosen = (
        select(outbox.c.id, outbox.c.job_id, outbox.c.url, outbox.c.due_ms)
        .where(outbox.c.state == DUE, outbox.c.due_ms <= now_ms, ~_unsettled_before(earlier))
        .order_by(outbox.c.due_ms, outbox.c.id)
        .limit(limit)
    )
    rows = connection.execute(chosen).all()
    while rows:
        yield from (Waiting(*row) for row in rows)
        if len(rows) < limit:
            return
        rows = connection.execute(chosen.where(tuple_(outbox.c.due_ms, outbox.c.id) > (rows[-1].due_ms, rows[-1].id))).all()


def next_due_ms(connection: Connection) -> int | None:
    """When the next message is due, or was; None when there is none to send."""
    found: int | None = connection.execute(select(func.min(outbox.c.due_ms)).where(outbox.c.state == DUE)).scalar()
    return found


def claim(connection: Connection, message: Waiting, now_ms: int, lease_ms: int) -> Claimed | None:
    """Take a message to send it, for `lease_ms`. None when another sender has it, or its address asked for no more."""
    earlier = outbox.alias()
    mine = (outbox.c.id == message.id, outbox.c.state == DUE, outbox.c.due_ms == message.due_ms, ~_unsettled_before(earlier))
    taken = connection.execute(
        update(outbox).where(*mine).values(due_ms=now_ms + lease_ms, claimed_ms=now_ms, tries=outbox.c.tries + 1)
    )
    if taken.rowcount != 1:
        return None
    row = connection.execute(select(outbox).where(outbox.c.id == message.id)).mappings().one()
    if is_disabled(connection, row["workspace"], row["url"]):
        connection.execute(
            update(outbox).where(outbox.c.id == message.id).values(state=DISABLED, claimed_ms=None, tries=outbox.c.tries - 1)
        )
        return None
    return Claimed(row["id"], row["workspace"], row["url"], row["body"], row["tries"], row["due_ms"])


def settle_delivered(connection: Connection, message: Claimed, answer: Answer) -> None:
    """The receiver has it. Holds also when the claim has run out meanwhile: what was received need not be sent again."""
    _log(connection, message, answer)
    connection.execute(
        update(outbox)
        .where(outbox.c.id == message.id, outbox.c.state == DUE)
        .values(state=DELIVERED, delivered_ms=answer.at_ms + answer.took_ms, claimed_ms=None)
    )


def settle_failed(connection: Connection, message: Claimed, answer: Answer, due_ms: int | None) -> None:
    """It was not received: due again at `due_ms`, or given up for None. Whoever claimed it meanwhile is not disturbed."""
    _log(connection, message, answer)
    ends: dict[str, Any] = {"state": GIVEN_UP} if due_ms is None else {"due_ms": due_ms}
    connection.execute(update(outbox).where(*_still_held(message)).values(claimed_ms=None, **ends))


def settle_gone(connection: Connection, message: Claimed, answer: Answer) -> None:
    """The address asked for no more: this message is `disabled`, and so are the workspace's others for it when their turn comes."""
    _log(connection, message, answer)
    insert_once(
        connection, callback_endpoints,
        {
            "workspace": message.workspace, "url_sha256": url_sha256(message.url), "disabled_ms": answer.at_ms,
            "reason": f"{message.id} was answered with {answer.status}",
        },
    )  # fmt: skip
    connection.execute(update(outbox).where(outbox.c.id == message.id, outbox.c.state == DUE).values(state=DISABLED, claimed_ms=None))


def is_disabled(connection: Connection, workspace: str, url: str) -> bool:
    """Whether an address has asked for no more messages of this workspace."""
    row = select(callback_endpoints.c.disabled_ms).where(
        callback_endpoints.c.workspace == workspace, callback_endpoints.c.url_sha256 == url_sha256(url)
    )
    return connection.execute(row).first() is not None


def url_sha256(url: str) -> str:
    return hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest()


def _unsettled_before(earlier: Any) -> ColumnElement[bool]:
    """Whether a message of the same job stands before it. Settled ones do not: delivered, given up, disabled."""
    return exists().where(earlier.c.state == DUE, earlier.c.job_id == outbox.c.job_id, earlier.c.sequence < outbox.c.sequence)


def _still_held(message: Claimed) -> tuple[ColumnElement[bool], ...]:
    return outbox.c.id == message.id, outbox.c.state == DUE, outbox.c.due_ms == message.until_ms


def _log(connection: Connection, message: Claimed, answer: Answer) -> None:
    connection.execute(
        deliveries.insert().values(
            message_id=message.id, at_ms=answer.at_ms, status=answer.status, error=answer.error, took_ms=answer.took_ms
        )
    )
