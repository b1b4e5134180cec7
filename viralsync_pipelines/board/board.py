"""The board: every job of every source, found, listed and followed in one way.

What belongs here: putting runs and reported jobs together. What does not: HTTP, Dagster, how a job looks on the wire (jobs/view.py).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from viralsync_pipelines.board.folds import Folds, Snapshots
from viralsync_pipelines.board.index import Entry, Index
from viralsync_pipelines.board.lists import Page, newest_first, newest_jobs, newest_steps, wanted
from viralsync_pipelines.board.sources import NoReports, Query, ReportSource, RunSource
from viralsync_pipelines.jobs.eta import Estimate, estimate
from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.kinds import CHILD_TYPES, parent_of_child
from viralsync_pipelines.jobs.model import Change, Job
from viralsync_pipelines.jobs.view import Surroundings


class Board:
    """All jobs. Threads may share one. now_ms: the clock. snapshots: None keeps ended jobs in memory only."""

    def __init__(
        self, runs: RunSource, now_ms: Callable[[], int], *, reports: ReportSource | None = None, snapshots: Snapshots | None = None
    ) -> None:  # fmt: skip
        self.now_ms = now_ms
        self._source = runs
        self._reports: ReportSource = reports or NoReports()
        self._index = Index(runs, now_ms)
        self._folds = Folds(runs, snapshots)
        # Reported families that had nothing new when they were last asked: their mark, and what their reader knew.
        self._quiet: Mapping[str, tuple[object, int]] = {}

    def sync(self, *, force: bool = False) -> None:
        """Take note of runs that were made or have changed."""
        self._index.sync(force=force)

    # ---- one job -----------------------------------------------------------------------------------------------------

    def root_of(self, job_id: str) -> str | None:
        """The id of the family a job belongs to; None for a job that nobody knows."""
        wanted = parent_of_child(job_id) or job_id
        self.sync()
        if self._index.entry(wanted) is not None:
            return wanted
        root = self._reports.root_of(job_id)
        if root is None:
            # Made this very moment, by another process.
            self.sync(force=True)
            root = wanted if self._index.entry(wanted) is not None else None
        return root

    def family(self, job_id: str) -> Family | None:
        """The family of a job or child, as it stands."""
        root = self.root_of(job_id)
        if root is None:
            return None
        entry = self._index.entry(root)
        return self._folds.family(entry) if entry is not None else self._reports.family(root)

    def find(self, job_id: str) -> Job | None:
        """Any job or child, as it stands."""
        family = self.family(job_id)
        if family is None:
            return None
        return family.job if family.job.id == job_id else family.children.get(job_id)

    def children(self, job_id: str) -> list[Job]:
        """Every child of a job: its steps, in order of the film, then jobs of their own that name it as their parent."""
        family = self.family(job_id)
        if family is None or family.job.id != job_id:
            return []
        kinds = {"render.scene": 1, "render.assemble": 2, "render.finalize": 3}
        own = sorted(family.children.values(), key=lambda job: (kinds.get(job.type, 0), job.index, job.id))
        # A run may name any job as its parent; only one of the same workspace is believed.
        mine = (entry for entry in self._index.children_of(job_id) if entry.first.workspace == family.job.workspace)
        entries = sorted(mine, key=lambda entry: entry.key)
        return own + [child.job for child in self._folds.families(entries)]

    def changes(self, job_id: str, after: int = 0) -> list[Change]:
        """Every visible change of a job's family with a number above `after`."""
        root = self.root_of(job_id)
        if root is None:
            return []
        entry = self._index.entry(root)
        return self._folds.changes(entry, after) if entry is not None else self._reports.changes(root, after)

    def entry(self, job_id: str) -> Entry | None:
        """The runs of a job or child; None for a reported one."""
        self.sync()
        return self._index.entry(parent_of_child(job_id) or job_id)

    def known(self, job_id: str) -> Entry | None:
        """As `entry`, of what was known at the last look: never waits for a database."""
        return self._index.entry(parent_of_child(job_id) or job_id)

    def drop(self, job_id: str) -> None:
        """A job that was deleted."""
        self._index.drop(job_id)
        self._folds.forget(job_id)

    def forget(self) -> None:
        """Drop everything kept in memory; answers stay the same."""
        self._index.forget()
        self._folds.forget()

    # ---- following ---------------------------------------------------------------------------------------------------

    def poll(self, root_ids: Collection[str], after: Mapping[str, int]) -> dict[str, list[Change]]:
        """New changes of many families at once, for whoever follows them; after: the last number each is known by."""
        self.sync()
        entries = {root: entry for root in root_ids if (entry := self._index.entry(root)) is not None}
        marks = self._source.marks([entry.last.run_id for entry in entries.values()]) if entries else {}
        found = {}
        for root, entry in entries.items():
            family = self._folds.family(entry, marks)
            if family.sequence > after.get(root, 0):
                found[root] = self._folds.changes(entry, after.get(root, 0), marks)
        others = [root for root in root_ids if root not in entries]
        if others:
            found |= self._reported_since(others, after)
        return found

    def _reported_since(self, roots: Collection[str], after: Mapping[str, int]) -> dict[str, list[Change]]:
        """One query tells which of them have something new."""
        marks = self._reports.marks(roots)
        quiet = {root: (marks.get(root), after.get(root, 0)) for root in roots}
        found = {}
        for root in roots:
            if self._quiet.get(root) != quiet[root]:
                found[root] = self._reports.changes(root, after.get(root, 0))
        # Replaced, never changed: threads share it.
        self._quiet = {root: mark for root, mark in quiet.items() if not found.get(root)}
        return {root: changes for root, changes in found.items() if changes}

    def changed_since(self, since_ms: int) -> list[Entry]:
        """Jobs with a run that changed since then, oldest first."""
        self.sync(force=True)
        return self._index.changed_since(since_ms)

    def active(self) -> list[Entry]:
        self.sync()
        return self._index.active()

    # ---- lists -------------------------------------------------------------------------------------------------------

    def newest(self, query: Query) -> Page:
        """Jobs that fit, newest first, and where to go on, or None at the end."""
        self.sync()
        if query.parent is not None:
            return self._of_parent(query)
        if query.types is not None and query.types <= CHILD_TYPES:
            return newest_steps(self._index, self._folds, query)
        return newest_jobs(self._index, self._folds, self._reports, query)

    def _of_parent(self, query: Query) -> Page:
        if self.entry(query.parent or "") is None:
            jobs = self._reports.newest(query, query.limit + 1)
        else:
            children = [job for job in self.children(query.parent or "") if job.workspace == query.workspace]
            jobs = sorted((job for job in children if wanted(job, query) and self._is_of(job, query)), key=newest_first)
            if query.before is not None:
                jobs = [job for job in jobs if (job.created_ms, job.id) < query.before]
        more = jobs[query.limit - 1 : query.limit] if len(jobs) > query.limit else []
        return jobs[: query.limit], (more[0].created_ms, more[0].id) if more else None

    def _is_of(self, job: Job, query: Query) -> bool:
        """Whether a job's run, a step's that of its job, has the project and the channel that are asked for."""
        entry = self._index.entry(parent_of_child(job.id) or job.id)
        return entry is not None and query.project_id in {None, entry.first.project_id} and query.channel in {None, entry.first.channel}

    # ---- what surrounds a job ----------------------------------------------------------------------------------------

    def surroundings(self, job: Job, *, output_url: str | None = None, base: str = "", dagster_url: str | None = None) -> Surroundings:
        """Queue place and estimate of a job now."""
        if job.status.terminal:
            return Surroundings(output_url, base=base, dagster_url=dagster_url)
        entry = self._index.entry(parent_of_child(job.id) or job.id)
        queue, expected = None, None
        if entry is not None and entry.job_id == job.id:
            queue = self._index.place_in_queue(entry.last) if job.status == "queued" else None
            expected = self._estimate(job, entry)
        return Surroundings(output_url, queue, expected, base, dagster_url)

    def _estimate(self, job: Job, entry: Entry) -> Estimate | None:
        now = self.now_ms()
        elapsed = max(0, now - job.started_ms) if job.started_ms is not None else 0
        past = self._index.durations(job.type, entry.first.size)
        return estimate(past, elapsed_ms=elapsed, progress=job.progress, now_ms=now)
