"""Dagster's runs as the board's source: facts from run records and their tags, events from the log, the board over both.

What belongs here: reading an instance. What does not: driving it (graphql.py), what events mean (jobs/).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from viralsync_pipelines.board.board import Board
from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.board.sources import ENDED, Page, ReportSource, RunFacts
from viralsync_pipelines.jobs.kinds import is_part, type_of_run
from viralsync_pipelines.jobs.orders import (
    CALLBACK_TAG,
    CHANNEL_TAG,
    DEFAULT_QUEUE,
    DEFAULT_WORKSPACE,
    DRAFT_TAG,
    JOB_TAG,
    PARENT_TAG,
    PRIORITY_TAG,
    PROJECT_TAG,
    QUEUE_TAG,
    SIZE_TAG,
    WORKSPACE_TAG,
)
from viralsync_pipelines.orchestrator.events import TOLD, job_events
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.snapshots import KeptEnds

_PAGE = 1_000
# Every status by name: the index over runs begins with the status, and a condition on the time of change alone reads every row.
_ALL = list(dg.DagsterRunStatus)
Marks = Callable[[dg.DagsterInstance, Sequence[str]], Mapping[str, object]]


class DagsterRuns:
    """A RunSource over an instance. marks: how to tell cheaply that a run's log has grown."""

    def __init__(self, instance: dg.DagsterInstance, marks: Marks) -> None:
        self._instance, self._marks = instance, marks
        # What storages of ours told at the last look, and who was at work then. The highest number of a run that was read.
        self._stamps: Mapping[str, object] = {}
        self._working: frozenset[str] = frozenset()
        self._highest = 0

    def changed(self, since_ms: int | None) -> list[RunFacts]:
        if since_ms is None:
            return self._all()
        changed = dg.RunsFilter(statuses=_ALL, updated_after=datetime.fromtimestamp(since_ms / 1000, UTC))
        # Storages of ours tell which runs are worth reading: the last ones changed are asked for again at every look, and 50 of them
        # took 10 ms each time. What is read after its stamp was taken is at least as new.
        stamps: Any = getattr(self._instance.run_storage, "stamps", None)
        if stamps is None:
            return self._read(changed)
        seen: Mapping[str, tuple[str, object]] = stamps(since_ms, self._highest)
        # Who is at work no more has ended, by whichever clock, or was deleted.
        new = [run for run, stamp in seen.items() if self._stamps.get(run) != stamp] + [run for run in self._working if run not in seen]
        found = self._read(dg.RunsFilter(run_ids=new)) if new else []
        self._stamps, self._working = seen, frozenset(run for run, (status, _) in seen.items() if status not in ENDED)
        return found

    def _read(self, which: dg.RunsFilter) -> list[RunFacts]:
        records = self._instance.get_run_records(which, order_by="update_timestamp", ascending=True)
        return self._noted([facts_of(record) for record in records])

    def _noted(self, found: list[RunFacts]) -> list[RunFacts]:
        self._highest = max((self._highest, *(run.order for run in found)))
        return found

    def _all(self) -> list[RunFacts]:
        found: list[RunFacts] = []
        cursor: str | None = None
        while True:
            records = self._instance.get_run_records(limit=_PAGE, cursor=cursor, ascending=True)
            if not records and cursor is not None and self._instance.get_run_by_id(cursor) is None:
                # The run that the next page begins after was just deleted: nothing comes after what is not there.
                found, cursor = [], None
                continue
            found += [facts_of(record) for record in records]
            if len(records) < _PAGE:
                self._working = frozenset(run.run_id for run in found if not run.ended)
                return self._noted(sorted(found, key=lambda run: run.updated_ms))
            cursor = records[-1].dagster_run.run_id

    def count(self) -> int:
        return self._instance.get_runs_count()

    def events(self, run_id: str, cursor: str | None) -> Page:
        # Storages of ours leave out what is no fact: a third of the time. See defs/told_events.py.
        told: Any = getattr(self._instance.event_log_storage, "told", None)
        if told is not None:
            entries, reached, more = told(run_id, cursor, TOLD, _PAGE)
            return Page([event for entry in entries if (event := job_events(entry)) is not None], reached, more)
        page = self._instance.get_records_for_run(run_id, cursor=cursor, limit=_PAGE)
        events = [event for record in page.records if (event := job_events(record.event_log_entry)) is not None]
        # An empty page gives a cursor that SQLite and PostgreSQL both take for "from the start" when there was none yet.
        return Page(events, page.cursor if page.records else cursor, page.has_more)

    def marks(self, run_ids: Collection[str]) -> Mapping[str, object]:
        return self._marks(self._instance, list(run_ids))


def open_board(
    instance: dg.DagsterInstance, database: Database, marks: Marks, now_ms: Callable[[], int], reported: ReportSource | None = None
) -> Board:  # fmt: skip
    """The board over an instance's runs and, unless they are given, the database's reported jobs."""
    reports = reported or ReportedJobs(database, now_ms)
    return Board(DagsterRuns(instance, marks), now_ms, reports=reports, snapshots=KeptEnds(database, now_ms))


def facts_of(record: Any) -> RunFacts:
    """What a run record says, without its events."""
    run: dg.DagsterRun = record.dagster_run
    tags = run.tags
    assets = [key.path[-1] for key in run.asset_selection or ()]
    if not assets and run.job_name == "render_movie":
        assets = ["movie"]
    kind = type_of_run(run.job_name, assets)
    return RunFacts(
        run_id=run.run_id,
        order=record.storage_id,
        job_id=tags.get(JOB_TAG) or "job_" + (run.root_run_id or run.run_id).replace("-", "")[:12],
        type=kind,
        status=run.status.value,
        created_ms=_ms(record.create_timestamp),
        updated_ms=_ms(record.update_timestamp),
        started_ms=round(record.start_time * 1000) if record.start_time is not None else None,
        ended_ms=round(record.end_time * 1000) if record.end_time is not None else None,
        workspace=tags.get(WORKSPACE_TAG, DEFAULT_WORKSPACE),
        parent_id=tags.get(PARENT_TAG),
        project_id=tags.get(PROJECT_TAG),
        channel=tags.get(CHANNEL_TAG),
        queue=tags.get(QUEUE_TAG, DEFAULT_QUEUE),
        priority=_whole(tags.get(PRIORITY_TAG)) or 0,
        size=_whole(tags.get(SIZE_TAG)),
        partition=tags.get("dagster/partition"),
        callback_url=tags.get(CALLBACK_TAG),
        draft=DRAFT_TAG in tags,
        subset=tags.get("dagster/is_resume_retry") == "true" or is_part(kind, run.step_keys_to_execute),
    )


def _ms(moment: datetime) -> int:
    # SQLite gives it without a zone, PostgreSQL with one; both mean UTC.
    return round((moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)).timestamp() * 1000)


def _whole(text: str | None) -> int | None:
    try:
        return int(text) if text is not None else None
    except ValueError:
        return None
