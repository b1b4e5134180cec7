"""What changes of jobs leave behind in the tables: callbacks to be sent, and what counts as made. Told any number of times, it stays once.

What belongs here: going through jobs that changed, from a cursor on. What does not: sending (deliveries.py), Dagster's sensor
(defs/callbacks.py). Jobs that programs report enter their callbacks with their events, by `enqueue`.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Protocol

from viralsync_pipelines.board.sources import QUEUED
from viralsync_pipelines.errors import DatabaseError
from viralsync_pipelines.jobs.callbacks import OutputUrl, Told, messages_for
from viralsync_pipelines.jobs.model import Change, Job, Status
from viralsync_pipelines.storage.metering import attempts_metered, meter_once
from viralsync_pipelines.storage.outbox import put, told_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from viralsync_pipelines.board.index import Entry
    from viralsync_pipelines.storage.database import Database

# Read again at every look: a record of a run is there a moment after the time it bears, and clocks of machines differ.
OVERLAP_MS = 60_000
# Without a cursor (a first start, or one reset in the UI) jobs that changed within a week are looked at. Jobs keep the number of what
# was told last for as long as they are there, so nothing is told again.
FIRST_LOOK_MS = 7 * 86_400_000
# One look gives up its place after so long; the next goes on where it stopped.
LOOK_S = 10.0
_MOST_AGAIN = 200

_log = logging.getLogger("viralsync.callbacks")


class Jobs(Protocol):
    """What is asked of the board."""

    def changed_since(self, since_ms: int) -> list[Entry]: ...

    def active(self) -> list[Entry]: ...

    def entry(self, job_id: str) -> Entry | None: ...

    def find(self, job_id: str) -> Job | None: ...

    def changes(self, job_id: str, after: int = 0) -> list[Change]: ...


@dataclass(frozen=True)
class Receiver:
    """Who is told about a job, and where."""

    job_id: str
    workspace: str
    url: str


@dataclass
class Look:
    """What a look came to. cursor: for the next one. failed: jobs that could not be read; they are looked at again."""

    cursor: str
    queued: int = 0
    metered: int = 0
    failed: list[str] = field(default_factory=list)


def enqueue(connection: Connection, receiver: Receiver, changes: Iterable[Change], output_url: OutputUrl, now_ms: int) -> int:
    """Put in what these changes of the job's family give its receiver to know, in the caller's transaction; how many messages.

    The changes may reach back: what was put in before is passed over. They must not leave out any since the last call.
    """
    told = Told(*told_of(connection, receiver.job_id))
    made = messages_for(receiver.job_id, changes, told, output_url)
    return sum(put(connection, asdict(each), workspace=receiver.workspace, url=receiver.url, now_ms=now_ms) for each in made)


def collect(
    jobs: Jobs,
    database: Database,
    cursor: str | None,
    output_url: OutputUrl,
    now_ms: Callable[[], int],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Look:
    """Look at every job that changed since `cursor`, and at every one at work.

    The cursor moves only past jobs that were dealt with, and each is dealt with in full or not at all, so that a crash at any moment
    loses nothing. Raises DatabaseError; a job that cannot be read does not hold up the others.
    """
    began, until = now_ms(), clock() + LOOK_S
    since, again = _read(cursor)
    changed = sorted(jobs.changed_since(began - FIRST_LOOK_MS if since is None else since - OVERLAP_MS), key=_changed_ms)
    known = {entry.job_id for entry in changed}
    # What waits in the queue has nothing to tell, and a long queue is long to read.
    others = [entry for entry in map(jobs.entry, again) if entry is not None]
    others += [entry for entry in jobs.active() if entry.last.status not in QUEUED]
    look = Look("")
    reached = began
    for entry in (*changed, *{entry.job_id: entry for entry in others if entry.job_id not in known}.values()):
        if clock() > until:
            if entry.job_id in known:
                reached = min(began, _changed_ms(entry))
            break
        try:
            queued, metered = collect_job(jobs, database, entry, output_url, now_ms())
        except DatabaseError:
            raise
        except Exception:
            # Whatever is wrong with one job, the others' receivers are not to suffer for it.
            _log.exception("the callbacks of %s cannot be made; it is looked at again", entry.job_id)
            look.failed.append(entry.job_id)
        else:
            look.queued += queued
            look.metered += metered
    # What failed before and had no turn this time is not forgotten either.
    left = list(dict.fromkeys([*look.failed, *(job_id for job_id in again if clock() > until)]))
    if len(left) > _MOST_AGAIN and cursor is not None:
        # More is wrong than a job or two: the cursor waits until it is mended.
        look.cursor = cursor
    else:
        look.cursor = json.dumps({"since": max(reached, since or 0), "again": left})
    return look


def collect_job(jobs: Jobs, database: Database, entry: Entry, output_url: OutputUrl, now_ms: int) -> tuple[int, int]:
    """One job's messages and metered attempts: how many were new. To be called before a job is deleted, too."""
    return _tell(jobs, database, entry, output_url, now_ms), _meter(jobs, database, entry)


def _tell(jobs: Jobs, database: Database, entry: Entry, output_url: OutputUrl, now_ms: int) -> int:
    url = next((run.callback_url for run in reversed(entry.runs) if run.callback_url), None)
    if url is None or (entry.last.status in QUEUED and len(entry.runs) == 1):
        return 0
    with database.reading() as connection:
        told = Told(*told_of(connection, entry.job_id))
    # Folded outside of a transaction, which would keep others waiting.
    changes = jobs.changes(entry.job_id, told.sequence)
    if not messages_for(entry.job_id, changes, told, output_url):
        return 0
    with database.writing() as connection:
        return enqueue(connection, Receiver(entry.job_id, entry.last.workspace, url), changes, output_url, now_ms)


def _meter(jobs: Jobs, database: Database, entry: Entry) -> int:
    succeeded = sum(run.status == "SUCCESS" for run in entry.runs)
    if not succeeded:
        return 0
    known = attempts_metered(database, entry.job_id)
    if len(known) >= succeeded:
        return 0
    job = jobs.find(entry.job_id)
    if job is None:
        return 0
    done = {attempt.number for attempt in job.attempts if attempt.status is Status.DONE} - known
    ends: Sequence[Job] = [job]
    if done - {job.attempt}:
        # Tried again after it was done: how long that film played stands in the change alone.
        ends = [change.job for change in jobs.changes(job.id, 0) if change.job.id == job.id]
    counted = 0
    for end in ends:
        if end.status is Status.DONE and end.attempt in done:
            finished = end.finished_ms or end.updated_ms
            counted += meter_once(database, end.id, end.attempt, end.workspace, end.type, seconds_of(end), finished)
    return counted


def seconds_of(job: Job) -> float:
    """What a job that is done costs: the length of its film; nothing for a draft, or for work that makes none."""
    if job.payload.get("draft") is True:
        return 0.0
    length = (job.media or {}).get("duration")
    return float(length) if isinstance(length, int | float) else 0.0


def _changed_ms(entry: Entry) -> int:
    return max(run.updated_ms for run in entry.runs)


def _read(cursor: str | None) -> tuple[int | None, list[str]]:
    """A cursor that somebody typed into the UI and that makes no sense counts as none."""
    try:
        kept = json.loads(cursor or "")
        return int(kept["since"]), [str(job_id) for job_id in kept["again"]]
    except (ValueError, TypeError, KeyError):
        return None, []
