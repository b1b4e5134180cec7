"""Pages of jobs, newest first: those of runs and those that programs report in one order, or steps of whatever job.

What belongs here: putting a page together, and where the next one goes on. What does not: which runs there are (index.py), how a job
comes to be what it is (folds.py), the cursor's form (gateway/paging.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from heapq import merge
from itertools import islice

from viralsync_pipelines.board.folds import Folds
from viralsync_pipelines.board.index import Entry, Index
from viralsync_pipelines.board.sources import Query, ReportSource
from viralsync_pipelines.jobs.kinds import parent_of_child
from viralsync_pipelines.jobs.model import Job

Place = tuple[int, str]
"""created_ms and id of the last job of a page."""
Page = tuple[list[Job], Place | None]
"""A page's jobs, and where to go on, or None at the end."""

_ENDS = {"SUCCESS": "done", "FAILURE": "failed", "CANCELED": "cancelled"}
# Entries whose families are loaded together while a list is put together.
_CHUNK = 32
# A page looks at so many jobs at most; a filter that fits hardly any gives short pages, and a cursor to go on from.
_MOST_LOOKED_AT = 2_000


def newest_jobs(index: Index, folds: Folds, reports: ReportSource, query: Query) -> Page:
    """Top-level jobs that fit."""
    looked = _Looked()
    reported = iter(reports.newest(query, query.limit + 1))
    runs = _jobs_of_runs(index, folds, query, looked)
    found = list(islice(merge(runs, reported, key=newest_first), query.limit + 1))
    if looked.stopped_at is not None:
        # Behind that place there may be runs' jobs between those that programs reported.
        found = [job for job in found if (job.created_ms, job.id) >= looked.stopped_at]
    if len(found) > query.limit:
        last = found[query.limit - 1]
        return found[: query.limit], (last.created_ms, last.id)
    return found, looked.stopped_at


def _jobs_of_runs(index: Index, folds: Folds, query: Query, looked: _Looked) -> Iterator[Job]:
    entries = (entry for entry in index.newest(query) if _may_fit(entry, query))
    # No more than are wanted: each costs 0.7 ms when it is not in memory.
    while chunk := list(islice(entries, min(_CHUNK, query.limit + 1))):
        yield from (family.job for family in folds.families(chunk) if wanted(family.job, query))
        looked.count += len(chunk)
        if looked.count >= _MOST_LOOKED_AT:
            looked.stopped_at = chunk[-1].key
            return


def newest_steps(index: Index, folds: Folds, query: Query) -> Page:
    """Steps of whatever job: by their jobs, newest first, and among a job's steps the greatest id first.

    The place to go on from is the job's time with the step's id.
    """
    at, after = query.before or (0, "")
    parent = parent_of_child(after) or after
    past = replace(query, before=(at, parent + "\x7f") if query.before is not None else None, from_ms=None, to_ms=None)
    found: list[tuple[Job, int]] = []
    for looked, entry in enumerate(index.newest(past), 1):
        (family,) = folds.families([entry])
        steps = sorted(family.children.values(), key=lambda child: child.id, reverse=True)
        left = [job for job in steps if (entry.job_id != parent or job.id < after) and wanted(job, query)]
        found += [(job, entry.first.created_ms) for job in left]
        if len(found) > query.limit or looked >= _MOST_LOOKED_AT:
            shown = found[: query.limit]
            if len(found) > query.limit:
                return [job for job, _ in shown], (shown[-1][1], shown[-1][0].id)
            # All of this job's steps were looked at; steps go on after the least of them.
            least = steps[-1].id if steps else entry.job_id
            return [job for job, _ in shown], (entry.first.created_ms, least)
    return [job for job, _ in found], None


class _Looked:
    count = 0
    stopped_at: Place | None = None


def newest_first(job: Job) -> tuple[int, tuple[int, ...]]:
    # Ids backwards: among jobs of one millisecond the greater id comes first, as (created, id) descending says.
    return -job.created_ms, tuple(-ord(char) for char in job.id)


def _may_fit(entry: Entry, query: Query) -> bool:
    """Judged by the run's record; a job that is not at its end there may have come to it since."""
    if not query.wants_type(entry.first.type):
        return False
    return query.statuses is None or not all(run.ended for run in entry.runs) or _ENDS[entry.last.status] in query.statuses


def wanted(job: Job, query: Query) -> bool:
    """Whether a job, as it stands, is of a type, status and time that is asked for."""
    fits = query.statuses is None or job.status.value in query.statuses
    return fits and query.wants_type(job.type) and query.wants_time(job.created_ms)
