"""Moves that runs and their steps make alike: an attempt begins, a child takes its turn, a parent comes to a phase.

What belongs here: what run_rules.py and step_rules.py share. What does not: what events mean; what holds for every family (family.py).

A family of runs keeps in its notes: `runs`, their ids; and of the attempt under way `resume` (it goes on with what an earlier one began),
`stage` (the number of the last one come to), `begun`, `planned`, `film`, `error` (the first step's), `retries` (step -> when), and
`unseen` (children of earlier attempts that this one has not named).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.kinds import PHASES, STAGES
from viralsync_pipelines.jobs.model import Attempt, Job, JobEvent, Stage, Status

NOT_PLANNED = "NOT_PLANNED: this attempt makes no such part"
# What an attempt that goes on with another's work takes over from it.
_KEPT = ("planned", "film")


def notes_of(event: JobEvent, runs: Sequence[str], before: dict[str, Any]) -> dict[str, Any]:
    """The notes of a new attempt. runs: those before its own."""
    resume = event.data.get("resume") is True
    kept = {name: before[name] for name in _KEPT if resume and name in before}
    return {"runs": [*runs, str(event.data.get("run", ""))], "resume": resume, "stage": 0, "retries": {}, "unseen": {}, **kept}


def current_run(family: Family) -> str:
    run: str = family.notes["runs"][-1]
    return run


# ---- the job itself --------------------------------------------------------------------------------------------------


def begin_attempt(family: Family, event: JobEvent) -> None:
    """From the queue to work."""
    if family.status is not Status.QUEUED:
        return
    family.change(status=Status.RUNNING, message="Starting", started_ms=event.at_ms)
    change_attempt(family, status=Status.RUNNING, started_ms=event.at_ms)
    come_to_phase(family, "planning")


def change_attempt(family: Family, **values: Any) -> None:
    """The attempt under way, or the last one."""
    attempts: tuple[Attempt, ...] = family.wanted("attempts")
    family.change(attempts=(*attempts[:-1], replace(attempts[-1], **values)))


def come_to_phase(family: Family, phase: str) -> None:
    """Renders alone have phases. There is no way back to one within an attempt, in whatever order things are told."""
    if not family.job.type.startswith("render.") or family.status is Status.QUEUED:
        return
    before = family.wanted("phase")
    if before is None or PHASES.index(phase) > PHASES.index(before):
        family.change(phase=phase)


def come_to_stage(family: Family, name: str) -> None:
    names = [each for each, _ in STAGES.get(family.job.type, ())]
    number = names.index(name) + 1 if name in names else 0
    if number > family.notes["stage"]:
        family.notes["stage"] = number
        told = STAGES[family.job.type][number - 1][1]
        family.change(stage=Stage(name, number, len(names), told), message=told)


# ---- children --------------------------------------------------------------------------------------------------------


def turn(family: Family, child: Job, at_ms: int, **values: Any) -> None:
    """Change where a child stands, and its attempt with it."""
    attempt = replace(
        child.attempts[-1], status=values.get("status", child.status), started_ms=values.get("started_ms", child.started_ms),
        finished_ms=values.get("finished_ms", child.finished_ms), error=values.get("error", child.error),
    )  # fmt: skip
    family.change_child(child.id, at_ms, attempts=(*child.attempts[:-1], attempt), **values)


def turn_again(family: Family, child: Job, at_ms: int, *, before: Attempt | None = None, **values: Any) -> None:
    """Another attempt of a child. before: how the one before it ended, when that is not known yet."""
    past = child.attempts if before is None else (*child.attempts[:-1], before)
    number = child.attempt + 1
    family.change_child(
        child.id, at_ms, status=Status.QUEUED, attempt=number, attempts=(*past, Attempt(number, Status.QUEUED, current_run(family))),
        progress=0, error=None, result=None, started_ms=None, finished_ms=None, **values,
    )  # fmt: skip


def retire(family: Family, child: Job, at_ms: int) -> None:
    """A child of an earlier attempt, of which this attempt's film has no such part."""
    family.notes["unseen"].pop(child.id, None)
    turn(family, child, at_ms, status=Status.CANCELLED, counted=False, error=NOT_PLANNED, finished_ms=at_ms, retry_at_ms=None, message="")
