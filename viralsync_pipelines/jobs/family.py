"""A job with its children, and the bookkeeping that every kind of job shares: legal moves, counts, progress, numbered changes.

What belongs here: what holds whatever the events mean. What does not: their meaning (run_rules.py, reported_rules.py).
Costs the same per event for 3 children as for 1,000: sums are kept, not taken anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import fields, replace
from typing import Any

from viralsync_pipelines.jobs.model import LEGAL, WHOLE, Attempt, Change, Counts, Job, Mode, Stage, Status

_BUCKETS = {
    Status.QUEUED: "queued", Status.WAITING: "queued", Status.RUNNING: "running", Status.DONE: "succeeded", Status.FAILED: "failed",
    Status.CANCELLED: "cancelled",
}  # fmt: skip
# A job that is not done shows less than the whole, whatever its children say.
NEARLY = 9_900


class Family:
    """One parent (or a job alone) and its children. Rules change it through `change` and `change_child`, and `settle` after each event.

    notes: what rules remember between events; plain JSON values.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.children: dict[str, Job] = {}
        self.sequence = 0
        self.notes: dict[str, Any] = {}
        self._tally: dict[str, int] = dict.fromkeys(("total", *_BUCKETS.values()), 0)
        # Of counted children: sum of weight x progress, and of weights.
        self.done_weight = 0
        self.total_weight = 0
        self.expected = 0
        self._wanted: dict[str, Any] = {}
        self._changes: list[Change] = []

    # ---- changing ----------------------------------------------------------------------------------------------------

    def change(self, **values: Any) -> None:
        """What the job itself should look like after this event; made one visible change by `settle`."""
        self._wanted.update(values)

    def wanted(self, name: str) -> Any:
        """A field of the job, with what this event has changed so far."""
        return self._wanted.get(name, getattr(self.job, name))

    @property
    def status(self) -> Status:
        """The job's status, with what this event has changed so far."""
        status: Status = self.wanted("status")
        return status

    def announce(self) -> None:
        """The job's being there is its first change."""
        self._note(self._stamped(self.job, self.job.created_ms, {}), "job.progress")

    def expect(self, number: int) -> None:
        """So many counted children will be added: until then each counts as queued, with a weight of 1."""
        self.expected += number
        self._tally["total"] += number
        self._tally["queued"] += number
        self.total_weight += number

    def add_child(self, child: Job, at_ms: int) -> None:
        """A new child; a change of its own. Ignored when it is known."""
        if child.id in self.children:
            return
        if self.expected and child.counted:
            self.expect(-1)
        self._count(child, +1)
        self._note(self._stamped(child, at_ms, {}), "child.progress")

    def change_child(self, child_id: str, at_ms: int, **values: Any) -> bool:
        """Change a child; False, and nothing happens, when the move is not legal or nobody would see a difference."""
        old = self.children.get(child_id)
        if old is None:
            return False
        changed = _changed(old, values)
        if not changed:
            return False
        new = self._stamped(old, at_ms, changed)
        self._count(old, -1)
        self._count(new, +1)
        self._note(new, "child.progress")
        return True

    def settle(self, at_ms: int) -> list[Change]:
        """End of an event: the changes it made, the job's own at the end, each with its number."""
        self.commit(at_ms)
        made, self._changes = self._changes, []
        return made

    def commit(self, at_ms: int) -> None:
        """Make what is wanted of the job itself a change now, for an event that takes it through two statuses."""
        touched = bool(self._changes)
        old, wanted = self.job, self._wanted
        if self._tally["total"] or old.counts is not None:
            wanted["counts"] = Counts(**self._tally)
        self._wanted = {}
        changed = _changed(old, wanted)
        if changed:
            new = self._stamped(old, at_ms, changed)
            self._note(new, _name_of(old, new, touched))

    def _stamped(self, job: Job, at_ms: int, changed: Mapping[str, Any]) -> Job:
        """The job with these values, as the family's next change."""
        # Clocks of several machines: a change never lies before the one before it.
        return replace(job, **changed, sequence=self.sequence + 1, updated_ms=max(at_ms, self.job.updated_ms, job.updated_ms))

    def _note(self, job: Job, name: str) -> None:
        if job.id == self.job.id:
            self.job = job
        else:
            self.children[job.id] = job
        self._changes.append(Change(job.sequence, name, job))
        # Last: another thread that reads the number first and the job then never sees a job older than its number.
        self.sequence = job.sequence

    def _count(self, child: Job, sign: int) -> None:
        if not child.counted:
            return
        self._tally["total"] += sign
        self._tally[_BUCKETS[child.status]] += sign
        self.done_weight += sign * child.weight * child.progress
        self.total_weight += sign * child.weight

    # ---- progress ----------------------------------------------------------------------------------------------------

    def children_progress(self, mode: Mode) -> int:
        """Ten-thousandths of the counted children's work that is done.

        average, weighted: by progress, each child by its weight. sequential: finished children only.
        """
        total = self._tally["total"]
        if total == 0:
            return 0
        if mode is Mode.SEQUENTIAL:
            return WHOLE * self._tally["succeeded"] // total
        return self.done_weight // self.total_weight if self.total_weight else 0

    @property
    def tally(self) -> Mapping[str, int]:
        return self._tally

    # ---- keeping -----------------------------------------------------------------------------------------------------

    def to_json(self) -> dict[str, Any]:
        """Everything, as plain JSON values; between events only."""
        return {
            "job": _job_json(self.job), "children": [_job_json(child) for child in self.children.values()], "sequence": self.sequence,
            "notes": self.notes, "expected": self.expected,
        }  # fmt: skip

    @staticmethod
    def from_json(kept: Mapping[str, Any]) -> Family:
        family = Family(_job_of(kept["job"]))
        for each in kept["children"]:
            child = _job_of(each)
            family.children[child.id] = child
            family._count(child, +1)
        family.sequence = kept["sequence"]
        family.notes = dict(kept["notes"])
        family.expect(kept["expected"])
        return family

    def copy(self) -> Family:
        """Another one of these that goes its own way from here; between events only."""
        other = Family(self.job)
        other.children, other.notes, other._tally = dict(self.children), deepcopy(self.notes), dict(self._tally)
        other.sequence, other.expected = self.sequence, self.expected
        other.done_weight, other.total_weight = self.done_weight, self.total_weight
        return other


def _changed(old: Job, values: Mapping[str, Any]) -> dict[str, Any]:
    """What of these values is new; nothing when the status may not become that one. Progress never falls inside an attempt."""
    status = values.get("status", old.status)
    anew = values.get("attempt", old.attempt) > old.attempt
    if old.status.terminal and not anew:
        # What became of it is final. Children that outlive it (a parent that failed with its first child) are still counted.
        values = {"counts": values["counts"]} if "counts" in values else {}
    elif status is not old.status and status not in LEGAL[old.status]:
        return {}
    elif "progress" in values and not anew:
        values = {**values, "progress": max(old.progress, values["progress"])}
    return {name: value for name, value in values.items() if getattr(old, name) != value}


def _name_of(old: Job, new: Job, touched: bool) -> str:
    if new.status is not old.status:
        ends = {Status.DONE: "job.completed", Status.FAILED: "job.failed", Status.CANCELLED: "job.cancelled"}
        if new.status in ends:
            return ends[new.status]
        if old.started_ms is None and new.started_ms is not None:
            return "job.started"
    return "parent.updated" if touched else "job.progress"


def _job_json(job: Job) -> dict[str, Any]:
    kept: dict[str, Any] = {f.name: getattr(job, f.name) for f in fields(Job)}
    for name, plain in (("payload", dict), ("media", dict), ("result", dict), ("queue", dict)):
        if kept[name] is not None:
            kept[name] = plain(kept[name])
    kept["counts"] = vars(job.counts) if job.counts is not None else None
    kept["stage"] = vars(job.stage) if job.stage is not None else None
    kept["attempts"] = [vars(attempt) for attempt in job.attempts]
    return kept


def _job_of(kept: Mapping[str, Any]) -> Job:
    values = dict(kept)
    values["status"], values["mode"] = Status(kept["status"]), Mode(kept["mode"])
    values["counts"] = Counts(**kept["counts"]) if kept["counts"] is not None else None
    values["stage"] = Stage(**kept["stage"]) if kept["stage"] is not None else None
    values["attempts"] = tuple(Attempt(**{**a, "status": Status(a["status"])}) for a in kept["attempts"])
    return Job(**values)
