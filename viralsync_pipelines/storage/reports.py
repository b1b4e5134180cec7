"""Jobs that programs report, as rows: an append-only log of what was reported for each family, and a row for each job to find it by.

What belongs here: reading and writing these rows, in the caller's transaction. What does not: what a report means to a job, and
whether it may happen (board/reported.py).

Whoever writes to a family locks its root first. So its events are numbered without gaps, and no reader ever sees one filled later.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, bindparam, delete, func, insert, or_, select, tuple_, update

from viralsync_pipelines.storage.database import insert_once
from viralsync_pipelines.storage.tables import reported_events, reported_jobs

if TYPE_CHECKING:
    from viralsync_pipelines.storage.database import Database

# Values of one statement: far below what any SQLite takes, and as deep as its expressions may be.
_CHUNK = 200
_row = reported_jobs.c


@dataclass(frozen=True)
class ReportedRow:
    """One reported job, for finding it. last_seq: of a root, the number of its family's last event."""

    id: str
    workspace: str
    root_id: str
    parent_id: str | None
    child_index: int
    type: str
    user_id: str
    project_id: str | None
    channel: str | None
    callback_url: str | None
    status: str
    last_seq: int
    created_ms: int
    expires_ms: int


@dataclass(frozen=True)
class ReportRow:
    """One report, the `seq`-th of its family. data: a JSON object."""

    root_id: str
    seq: int
    job_id: str
    kind: str
    at_ms: int
    data: str


_COLUMNS = [reported_jobs.c[each.name] for each in fields(ReportedRow)]


# ---- one family ------------------------------------------------------------------------------------------------------


def find_row(connection: Connection, job_id: str, now_ms: int) -> ReportedRow | None:
    """A job or child; None when nobody reported it, or it has expired."""
    found = connection.execute(select(*_COLUMNS).where(_row.id == job_id, _row.expires_ms > now_ms)).first()
    return ReportedRow(*found) if found is not None else None


def lock_root(connection: Connection, root_id: str) -> ReportedRow | None:
    """A family's root as it is when nobody else is writing to the family, which holds until the transaction ends."""
    found = connection.execute(select(*_COLUMNS).where(_row.id == root_id).with_for_update()).first()
    return ReportedRow(*found) if found is not None else None


def add_row(connection: Connection, row: ReportedRow) -> bool:
    """False when a job of this id is there already."""
    return insert_once(connection, reported_jobs, asdict(row))


def add_rows(connection: Connection, rows: Sequence[ReportedRow]) -> None:
    connection.execute(insert(reported_jobs), [asdict(row) for row in rows])


def child_at(connection: Connection, parent_id: str, index: int) -> str | None:
    """The id of a parent's child at this index."""
    mine = (_row.root_id == parent_id, _row.parent_id == parent_id, _row.child_index == index)
    found: str | None = connection.execute(select(_row.id).where(*mine)).scalar()
    return found


def append(connection: Connection, events: Sequence[ReportRow], statuses: Mapping[str, str]) -> None:
    """Add events to a family whose root is locked, numbered from its last one on; statuses: of jobs that have changed by them."""
    connection.execute(insert(reported_events), [asdict(event) for event in events])
    root_id, last = events[-1].root_id, events[-1].seq
    connection.execute(update(reported_jobs).where(_row.id == root_id).values(last_seq=last))
    if statuses:
        moved = update(reported_jobs).where(_row.id == bindparam("job")).values(status=bindparam("now"), last_seq=last)
        connection.execute(moved, [{"job": job_id, "now": status} for job_id, status in statuses.items()])


def events_after(connection: Connection, root_id: str, after: int) -> list[ReportRow]:
    """A family's events with a number above `after`, in order."""
    return events_of(connection, {root_id: after})[root_id]


def events_of(connection: Connection, after: Mapping[str, int]) -> dict[str, list[ReportRow]]:
    """Events of several families, each from its own number on."""
    found: dict[str, list[ReportRow]] = {root_id: [] for root_id in after}
    e = reported_events.c
    for roots in _chunks(list(after)):
        wanted = or_(*((e.root_id == root) & (e.seq > after[root]) for root in roots))
        rows = select(e.root_id, e.seq, e.job_id, e.kind, e.at_ms, e.data).where(wanted).order_by(e.root_id, e.seq)
        for row in connection.execute(rows):
            found[row.root_id].append(ReportRow(*row))
    return found


def callbacks_of(connection: Connection, job_ids: Collection[str]) -> dict[str, str]:
    """The callback addresses of those jobs that have one."""
    found: dict[str, str] = {}
    for ids in _chunks(list(job_ids)):
        rows = connection.execute(select(_row.id, _row.callback_url).where(_row.id.in_(ids), _row.callback_url.is_not(None)))
        found |= {row.id: row.callback_url for row in rows}
    return found


# ---- many ------------------------------------------------------------------------------------------------------------


def newest(
    connection: Connection,
    workspace: str,
    now_ms: int,
    *,
    parent: str | None = None,
    types: Collection[str] | None = None,
    statuses: Collection[str] | None = None,
    project_id: str | None = None,
    channel: str | None = None,
    from_ms: int | None = None,
    to_ms: int | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 25,
) -> list[ReportedRow]:
    """Jobs of no parent, or children of `parent`, newest first. types: whole types or domains. before: (created_ms, id) to go on from."""
    wanted: list[ColumnElement[bool]] = [_row.workspace == workspace, _row.expires_ms > now_ms]
    wanted.append(_row.parent_id.is_(None) if parent is None else _row.parent_id == parent)
    if types is not None:
        # Not LIKE: it sees no difference between a and A on SQLite.
        wanted.append(or_(_row.type.in_(types), *(func.substr(_row.type, 1, len(each) + 1) == f"{each}." for each in types)))
    if statuses is not None:
        wanted.append(_row.status.in_(statuses))
    if project_id is not None:
        wanted.append(_row.project_id == project_id)
    if channel is not None:
        wanted.append(_row.channel == channel)
    if from_ms is not None:
        wanted.append(_row.created_ms >= from_ms)
    if to_ms is not None:
        wanted.append(_row.created_ms < to_ms)
    if before is not None:
        wanted.append(tuple_(_row.created_ms, _row.id) < before)
    rows = select(*_COLUMNS).where(*wanted).order_by(_row.created_ms.desc(), _row.id.desc()).limit(limit)
    return [ReportedRow(*row) for row in connection.execute(rows)]


def roots(connection: Connection, root_ids: Collection[str], now_ms: int) -> dict[str, ReportedRow]:
    """Those of these families that are there."""
    found: dict[str, ReportedRow] = {}
    for ids in _chunks(list(root_ids)):
        for row in connection.execute(select(*_COLUMNS).where(_row.id.in_(ids), _row.expires_ms > now_ms)):
            found[row.id] = ReportedRow(*row)
    return found


def remove(connection: Connection, root_ids: Collection[str]) -> None:
    """Families with all their events; their roots are locked."""
    for ids in _chunks(list(root_ids)):
        connection.execute(delete(reported_events).where(reported_events.c.root_id.in_(ids)))
        connection.execute(delete(reported_jobs).where(_row.root_id.in_(ids)))


def expired(connection: Connection, now_ms: int, limit: int) -> list[str]:
    """Families whose time is over, the longest over first, locked. One that somebody is just writing to has its turn later."""
    over = select(_row.id).where(_row.parent_id.is_(None), _row.expires_ms <= now_ms).order_by(_row.expires_ms, _row.id)
    return list(connection.execute(over.limit(limit).with_for_update(skip_locked=True)).scalars())


def forget_expired(database: Database, now_ms: int, *, dry_run: bool = False) -> int:
    """Clean-up: drop families whose time is over; returns how many. Nobody sees them any more as it is."""
    if dry_run:
        with database.reading() as connection:
            over = select(func.count()).select_from(reported_jobs).where(_row.parent_id.is_(None), _row.expires_ms <= now_ms)
            return connection.execute(over).scalar_one()
    forgotten = 0
    while True:
        # A few at a time: on SQLite every program that reports waits meanwhile.
        with database.writing() as connection:
            over_now = expired(connection, now_ms, 50)
            remove(connection, over_now)
        forgotten += len(over_now)
        if len(over_now) < 50:
            return forgotten


def _chunks(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[at : at + _CHUNK] for at in range(0, len(values), _CHUNK))
