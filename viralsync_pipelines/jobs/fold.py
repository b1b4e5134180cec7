"""Events in, job out: the one fold that every reader runs, so that the n-th change of a job is the same for all of them.

What belongs here: the fold itself and its version. What does not: what events mean (run_rules.py, reported_rules.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.ledger_rules import fold_ledger, is_of_ledger
from viralsync_pipelines.jobs.model import Change, JobEvent
from viralsync_pipelines.jobs.reported_rules import born_of_report, fold_reported
from viralsync_pipelines.jobs.run_rules import born_of_run, fold_run, is_of_run

VERSION = 1
"""To be raised with every change of the rules: families kept by another version are folded anew."""


def begin(event: JobEvent) -> tuple[Family, list[Change]]:
    """The family that its first event, run.created or report.created, brings into being, and that as its first change."""
    family = born_of_report(event) if event.kind.startswith("report.") else born_of_run(event)
    family.announce()
    return family, family.settle(event.at_ms)


def fold(family: Family, event: JobEvent) -> list[Change]:
    """Take one event in; the visible changes it makes, each with its number. Never raises: what cannot be understood changes nothing."""
    if is_of_run(family):
        fold_run(family, event)
    elif is_of_ledger(event):
        fold_ledger(family, event)
    else:
        fold_reported(family, event)
    return family.settle(event.at_ms)


def fold_all(events: Sequence[JobEvent]) -> tuple[Family, list[Change]]:
    """A whole log, its first event being the one that made the job."""
    family, changes = begin(events[0])
    return family, changes + feed(family, events[1:])


def feed(family: Family, events: Iterable[JobEvent]) -> list[Change]:
    """Take more events in."""
    return [change for event in events for change in fold(family, event)]
