"""Jobs that programs report: created, reported on, cancelled, retried and deleted in one transaction each, and read like any others.

What belongs here: what a report does to the rows and to whoever is called back; the board's ReportSource. What does not: what it means
(jobs/reported_rules.py), the rows (storage/reports.py), HTTP.

A family is forgotten at once, when its root's time is over, counted from its creation: a child lives as long as its parent.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.board.outgoing import Receiver, enqueue
from viralsync_pipelines.board.report_folds import FoldedReports, ReportFolds, event_of, taken
from viralsync_pipelines.board.report_rows import NewJob, event_row, first_event, row_of
from viralsync_pipelines.board.sources import Query
from viralsync_pipelines.errors import JobNotFound, Problem, ReportRefused
from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs import reported_rules as rules
from viralsync_pipelines.jobs.callbacks import OutputUrl
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.fold import begin, fold
from viralsync_pipelines.jobs.ledger_rules import of_ledger
from viralsync_pipelines.jobs.model import Change, Job, Status
from viralsync_pipelines.storage import reports
from viralsync_pipelines.storage.reports import ReportedRow, ReportRow

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from viralsync_pipelines.storage.database import Database

METADATA_BYTES = 10 * 1024
# Every reported job has such an id; nothing else is looked for.
_ID = re.compile(r"job_[0-9a-f]{12}")


class ReportedJobs:
    """All of them. Threads may share one.

    Methods raise JobNotFound for a job that was never reported, is deleted, expired, or another workspace's (where one is given), and
    ReportRefused for what may not happen to it now.
    """

    def __init__(
        self, database: Database, now_ms: Callable[[], int], folds: ReportFolds | None = None, *, output_url: OutputUrl | None = None
    ) -> None:  # fmt: skip
        self._database, self._now_ms = database, now_ms
        # In callbacks: the address that a job's program reported, as it is, unless somebody knows more of it.
        self._output_url = output_url or (lambda job: job.output)
        self.folds = folds or ReportFolds()

    # ---- reporting ---------------------------------------------------------------------------------------------------

    def create(self, new: NewJob) -> Job:
        """A job, a parent, or a child of one; the job as it stands. When its id is there already nothing is made anew."""
        return self._create_child(new, new.parent_id) if new.parent_id is not None else self.create_family(new).job

    def create_family(self, new: NewJob, children: Sequence[NewJob] = ()) -> Family:
        """A job with these children, all at once or not at all."""
        now = self._now_ms()
        with self._database.writing() as connection:
            folded = self.create_in(connection, new, children, now)
            if folded is None:
                _, _, folded = self._open(connection, new.id, new.workspace)
        self.folds.keep(new.id, folded)
        return folded.family

    def create_in(self, connection: Connection, new: NewJob, children: Sequence[NewJob], now_ms: int) -> FoldedReports | None:
        """The same in the caller's transaction, who hands what comes of it to `folds.keep` once that is committed; None when the id is
        there already."""
        root = row_of(new, new, now_ms)
        family_rows = [row_of(child, new, now_ms) for child in children]
        pairs = zip((new, *children), (root, *family_rows), strict=True)
        rows = [first_event(each, row, seq) for seq, (each, row) in enumerate(pairs, 1)]
        if not reports.add_row(connection, root):
            return None
        if children:
            reports.add_rows(connection, family_rows)
        folded, made = taken(None, rows)
        reports.append(connection, rows, {})
        self.tell_in(connection, root, made, now_ms)
        return folded

    def _create_child(self, new: NewJob, parent_id: str) -> Job:
        with self._database.writing() as connection:
            there = reports.find_row(connection, new.id, self._now_ms())
            parent, root, folded = self._open(connection, parent_id, new.workspace)
            _refuse_ledgers(folded, parent_id)
            if there is not None and there.parent_id == parent.id:
                return folded.member(there.id)
            if parent.parent_id is not None:
                raise ReportRefused(f"{parent.id} is a child itself, and has no children; name its parent {parent.parent_id}.")
            mine = row_of(new, root, self._at(folded, new.id))
            row = first_event(new, mine, folded.seq + 1)
            _refuse(folded, row)
            declared = folded.family.tally["total"]
            if new.index >= declared:
                told = f"{parent.id} was declared with {declared} children, whose indexes are 0 to {declared - 1}."
                raise ReportRefused(told, problems=[Problem("/childIndex", "VALUE_OUT_OF_RANGE", told)])
            taken_by = reports.child_at(connection, parent.id, new.index)
            if taken_by is not None:
                raise ReportRefused(f"{parent.id} has a child with index {new.index} already, {taken_by}; give each its own.")
            if not reports.add_row(connection, mine):
                raise ReportRefused(f"{new.id} is there already.")
            after = self.append_in(connection, root, folded, row)
        self.folds.keep(root.id, after)
        return after.member(new.id)

    def report(self, workspace: str, job_id: str, kind: str, data: Mapping[str, Any]) -> Job:
        """Take in a report of one of the kinds of jobs/reported_rules.py; the job as it is then."""
        return self._take(job_id, kind, data, workspace)

    def cancel(self, job_id: str) -> Job:
        """End a job at once, a parent with its children; its program learns of it by its next report, which is refused."""
        return self._take(job_id, moves.CANCELLED, {})

    def retry(self, job_id: str, scope: str = "failed") -> Job:
        """Back to the queue under a new attempt: what failed or was cancelled, a parent with such children; `all`: also what is done."""
        return self._take(job_id, moves.RETRIED, {"scope": scope})

    def delete(self, job_id: str) -> None:
        """Forget an ended job, a parent with its children."""
        with self._database.writing() as connection:
            row, root, folded = self._open(connection, job_id)
            if row.parent_id is not None:
                raise ReportRefused(f"{job_id} is a part of {row.parent_id}; delete that.")
            if not folded.family.job.status.terminal:
                raise ReportRefused(f"{job_id} is {folded.family.job.status}; cancel it first, or wait for its end.")
            reports.remove(connection, [root.id])
        self.folds.forget(root.id)

    def _take(self, job_id: str, kind: str, data: Mapping[str, Any], workspace: str | None = None) -> Job:
        with self._database.writing() as connection:
            _, root, folded = self._open(connection, job_id, workspace)
            _refuse_ledgers(folded, job_id)
            row = event_row(root.id, folded.seq + 1, job_id, kind, self._at(folded, job_id), data)
            _refuse(folded, row)
            if kind == moves.PROGRESS:
                _check_metadata(folded.member(job_id), data)
            after = self.append_in(connection, root, folded, row)
        self.folds.keep(root.id, after)
        return after.member(job_id)

    def _open(self, connection: Connection, job_id: str, workspace: str | None = None) -> tuple[ReportedRow, ReportedRow, FoldedReports]:
        """A job's row, its family's root, and the family, which nobody else changes until the transaction ends."""
        row = self._row(connection, job_id)
        root = reports.lock_root(connection, row.root_id) if row is not None else None
        if row is None or root is None or (workspace is not None and row.workspace != workspace):
            raise JobNotFound(f"there is no job {job_id[:100]!r} here that a program reports")
        return row, root, self.folds.at(connection, root)

    def _at(self, folded: FoldedReports, job_id: str) -> int:
        """Now; but clocks of several gateways differ, and nothing happens before what it follows."""
        family = folded.family
        return max(self._now_ms(), family.job.updated_ms, family.children[job_id].updated_ms if job_id in family.children else 0)

    def append_in(self, connection: Connection, root: ReportedRow, folded: FoldedReports, row: ReportRow) -> FoldedReports:
        """Take an event in, of a family whose root this transaction has locked."""
        after, made = taken(folded, [row])
        if not made:
            # Reported once more, as it was: nothing to keep.
            return folded
        jobs = {change.job.id: change.job for change in made}
        moved = {each: job.status.value for each, job in jobs.items() if _status_in(folded.family, each) is not job.status}
        reports.append(connection, [row], moved)
        self.tell_in(connection, root, made, row.at_ms)
        return after

    def tell_in(self, connection: Connection, root: ReportedRow, made: Sequence[Change], now_ms: int) -> None:
        """Callbacks of the jobs that changed, committed with the change."""
        called = reports.callbacks_of(connection, {change.job.id for change in made}) if made else {}
        for job_id, url in called.items():
            enqueue(connection, Receiver(job_id, root.workspace, url), made, self._output_url, now_ms)

    # ---- reading -----------------------------------------------------------------------------------------------------

    def root_of(self, job_id: str) -> str | None:
        """The id of a job's or child's family; None when it is unknown, or expired."""
        if _ID.fullmatch(job_id) is None:
            return None
        with self._database.reading() as connection:
            row = self._row(connection, job_id)
        return row.root_id if row is not None else None

    def family(self, root_id: str) -> Family | None:
        """A family as it stands. It is shared: nobody changes it."""
        with self._database.reading() as connection:
            root = self._row(connection, root_id)
            return self.folds.at(connection, root).family if root is not None else None

    def changes(self, root_id: str, after: int) -> list[Change]:
        """Every visible change of a family with a number above `after`."""
        with self._database.reading() as connection:
            root = self._row(connection, root_id)
            if root is None:
                return []
            folded = self.folds.at(connection, root)
            if after >= folded.family.sequence:
                return []
            if folded.changes[0].sequence <= after + 1:
                return [change for change in folded.changes if change.sequence > after]
            first, *others = [event_of(row) for row in reports.events_after(connection, root_id, 0)]
        family, made = begin(first)
        for event in others:
            made += fold(family, event)
        return [change for change in made if change.sequence > after]

    def _row(self, connection: Connection, job_id: str) -> ReportedRow | None:
        return reports.find_row(connection, job_id, self._now_ms()) if _ID.fullmatch(job_id) is not None else None

    def newest(self, query: Query, limit: int) -> list[Job]:
        """Jobs that fit, newest first, after query.before: of no parent, or the children of query.parent."""
        found: list[Job] = []
        before = query.before
        with self._database.reading() as connection:
            while True:
                rows = reports.newest(
                    connection, query.workspace, self._now_ms(), parent=query.parent, types=query.types, statuses=query.statuses,
                    project_id=query.project_id, channel=query.channel, from_ms=query.from_ms, to_ms=query.to_ms, before=before,
                    limit=limit,
                )  # fmt: skip
                found += [job for job in self._folded(connection, rows) if query.statuses is None or job.status.value in query.statuses]
                if len(rows) < limit or len(found) >= limit:
                    return found[:limit]
                before = rows[-1].created_ms, rows[-1].id

    def _folded(self, connection: Connection, rows: Sequence[ReportedRow]) -> list[Job]:
        """The jobs of these rows as they stand, which may be later than the rows."""
        tops = {row.id: row for row in rows if row.parent_id is None}
        tops |= reports.roots(connection, {row.root_id for row in rows} - set(tops), self._now_ms())
        folded = self.folds.several(connection, tops)
        return [folded[row.root_id].member(row.id) for row in rows if row.root_id in folded]

    def marks(self, root_ids: Collection[str]) -> Mapping[str, object]:
        """The number of each family's last event."""
        with self._database.reading() as connection:
            return {root_id: row.last_seq for root_id, row in reports.roots(connection, root_ids, self._now_ms()).items()}


def _status_in(family: Family, job_id: str) -> Status | None:
    job = family.job if job_id == family.job.id else family.children.get(job_id)
    return job.status if job is not None else Status.QUEUED


def _refuse_ledgers(folded: FoldedReports, job_id: str) -> None:
    if of_ledger(folded.member(job_id)):
        told = "is a part of an execution, whose progress is told by itself; report on jobs that were made with POST /v1/jobs"
        raise ReportRefused(f"{job_id} {told}")


def _refuse(folded: FoldedReports, row: ReportRow) -> None:
    why = moves.refusal(folded.family, event_of(row))
    if why is not None:
        raise ReportRefused(why)


def _check_metadata(job: Job, data: Mapping[str, Any]) -> None:
    more = data.get("metadata")
    if more and len(json.dumps(rules.merged(job, more), ensure_ascii=False, separators=(",", ":")).encode()) > METADATA_BYTES:
        told = f"with what was reported before, the metadata of {job.id} would be more than {METADATA_BYTES:,} bytes; keep it short."
        raise ReportRefused(told, problems=[Problem("/metadata", "TOO_LARGE", told)])
