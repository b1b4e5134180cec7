"""What a run's steps mean to its job: which child they are, where they bring their parent, what they hand on. Pure and total.

What belongs here: rules for kinds `step.*`, listed with their data in run_rules.py. What does not: runs (run_rules.py); which step is
which child (kinds.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from viralsync_pipelines.jobs.family import NEARLY, Family
from viralsync_pipelines.jobs.kinds import CHILD_STEPS, FANOUTS, PLACES, PLANNED, STAGES, child_id, hands_out, op_and_mapping
from viralsync_pipelines.jobs.model import WHOLE, Attempt, Job, JobEvent, Status
from viralsync_pipelines.jobs.report_values import mapping, number, text, whole
from viralsync_pipelines.jobs.turns import come_to_phase, come_to_stage, current_run, retire, turn, turn_again

_MOST_CHILDREN = 10_000
# Facts of spoken lines, and of a narration's track, that its job's result has.
_OF_LINES = {
    "seconds": "seconds", "engine": "engine", "voice": "voice", "timing": "timing", "characters": "characters",
    "billed": "billedCharacters", "cost_usd": "costUsd",
}  # fmt: skip
_OF_TRACKS = {
    "lines": "lines", "chapters": "chapters", "voice": "voice", "characters": "characters", "billed": "billedCharacters",
    "cost_usd": "costUsd",
}  # fmt: skip


def _started(family: Family, event: JobEvent) -> None:
    op, _ = op_and_mapping(event.step)
    place = PLACES.get(op)
    if family.job.type not in STAGES:
        family.change(message=f"At work on {event.step}")
    elif place is not None:
        come_to_stage(family, place.stage)
        come_to_phase(family, place.phase)
        # A film's lines are spoken while it is still being planned.
        waits = op in CHILD_STEPS and CHILD_STEPS[op].counted_in in {"", family.job.type}
        if waits and family.status is Status.RUNNING:
            family.change(status=Status.WAITING)
    _forget_retry(family, event)
    child = _child(family, event)
    if child is not None and not child.status.terminal:
        began = child.started_ms or event.at_ms
        turn(family, child, event.at_ms, status=Status.RUNNING, started_ms=began, retry_at_ms=None, message="At work")


def _succeeded(family: Family, event: JobEvent) -> None:
    op, _ = op_and_mapping(event.step)
    _forget_retry(family, event)
    child = _child(family, event)
    if child is not None and not child.status.terminal:
        if child.status is not Status.RUNNING:
            turn(family, child, event.at_ms, status=Status.RUNNING, started_ms=child.started_ms or event.at_ms)
        child = family.children[child.id]
        turn(
            family, child, event.at_ms, status=Status.DONE, progress=WHOLE, finished_ms=event.at_ms, error=None, retry_at_ms=None,
            message="Found in the cache" if (child.result or {}).get("cache") == "hit" else "Done",
        )  # fmt: skip
        if child.counted:
            tally = family.tally
            family.change(message=f"{tally['succeeded']} of {tally['total']} {CHILD_STEPS[op].prefix}s done")
    _retire_unseen(family, event, op)
    if op in hands_out(family.job.type) and family.tally["total"]:
        family.notes["planned"] = True
        come_to_phase(family, "waiting")
        if family.status is Status.RUNNING:
            family.change(status=Status.WAITING, message=f"{family.tally['total']} to come")


def _retire_unseen(family: Family, event: JobEvent, op: str) -> None:
    """A step that hands out children has named all of them: others are from an attempt with other variables."""
    handed = {step for (by, _), step in FANOUTS.items() if by == op}
    for name in list(family.notes["unseen"]) if handed else ():
        if op_and_mapping(family.children[name].step)[0] in handed:
            retire(family, family.children[name], event.at_ms)


def _failed(family: Family, event: JobEvent) -> None:
    error = text(event.data.get("error")) or f"STEP_FAILED: {event.step} failed"
    cancelling = family.job.cancel_requested_ms is not None
    if not cancelling:
        family.notes.setdefault("error", error)
    _forget_retry(family, event)
    child = _child(family, event)
    if child is not None and not child.status.terminal:
        turn(
            family, child, event.at_ms, status=Status.CANCELLED if cancelling else Status.FAILED, error=None if cancelling else error,
            finished_ms=event.at_ms, retry_at_ms=None, started_ms=child.started_ms or event.at_ms, message="",
        )  # fmt: skip


def _retrying(family: Family, event: JobEvent) -> None:
    if event.step in family.notes["retries"]:
        return
    retry_at = event.at_ms + max(0, whole(event.data.get("delay_ms")) or 0)
    child = _child(family, event)
    if child is not None:
        if child.status.terminal:
            return
        error = text(event.data.get("error")) or f"STEP_FAILED: {event.step} failed"
        ended = Attempt(child.attempt, Status.FAILED, current_run(family), child.started_ms, event.at_ms, error)
        turn_again(family, child, event.at_ms, before=ended, retry_at_ms=retry_at, message="Will be tried again")
    family.notes["retries"][event.step] = retry_at
    family.change(retry_at_ms=min(family.notes["retries"].values()))


def _forget_retry(family: Family, event: JobEvent) -> None:
    retries: dict[str, int] = family.notes["retries"]
    if retries.pop(event.step, None) is not None:
        family.change(retry_at_ms=min(retries.values(), default=None))


def _blocked(family: Family, event: JobEvent) -> None:
    child = _child(family, event)
    if child is not None and child.status is Status.QUEUED:
        pool = text(event.data.get("pool"))
        turn(family, child, event.at_ms, status=Status.WAITING, message=f"Waiting for a place in the pool {pool}".strip())


def _progressed(family: Family, event: JobEvent) -> None:
    done, total = whole(event.data.get("done")), whole(event.data.get("total"))
    child = _child(family, event)
    if child is None or child.status is not Status.RUNNING or done is None or total is None or total <= 0:
        return
    share = min(NEARLY, max(0, done) * WHOLE // total)
    family.change_child(child.id, event.at_ms, progress=share, message=text(event.data.get("text")) or child.message)


# ---- what steps hand on ----------------------------------------------------------------------------------------------


def _output(family: Family, event: JobEvent) -> None:
    op, _ = op_and_mapping(event.step)
    output, key = text(event.data.get("output")), text(event.data.get("mapping"))
    facts = mapping(event.data.get("facts")) or {}
    fanned = FANOUTS.get((op, output))
    if fanned is not None and key:
        _expect(family, event, f"{fanned}[{key}]", facts)
    for step in PLANNED.get((op, output), ()):
        _expect(family, event, step, {})
    if (op, output) == ("movie.plan_film", "plan"):
        come_to_phase(family, "dispatching")
        # All of them at once, so that a parent counts its scenes from the beginning.
        for each in range(1, min(_MOST_CHILDREN, whole(facts.get("scenes")) or 0) + 1):
            _expect(family, event, f"movie.render_scene[scene_{each:03d}]", {})
    elif (op, output) == ("movie.finalize_film", "film"):
        family.notes["film"] = _film(family.job.id, facts)
    elif (op, output) == ("join_lines", "result"):
        family.notes["film"] = _film(family.job.id, facts)
        family.notes["result"] = _told(facts, _OF_TRACKS)
    elif op in CHILD_STEPS and "cache" in facts:
        child = _child(family, event)
        if child is not None:
            family.change_child(child.id, event.at_ms, result={"cache": text(facts["cache"]), **_told(facts, _OF_LINES)})


def _told(facts: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    """What a step says of what it made, under the wire's names. A cost of which nothing is known is null."""
    told = {wire: facts[name] for name, wire in names.items() if isinstance(facts.get(name), bool | int | float | str)}
    return {**told, "costUsd": number(told["costUsd"])} if "costUsd" in told else told


def _film(job_id: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    film = {
        "duration": number(facts.get("duration_s")), "width": whole(facts.get("width")), "height": whole(facts.get("height")),
        "fileSize": whole(facts.get("size_bytes")), "key": text(facts.get("key")) or f"outputs/{job_id}/output.mp4",
    }  # fmt: skip
    return {name: value for name, value in film.items() if value is not None}


def _expect(family: Family, event: JobEvent, step: str, facts: Mapping[str, Any]) -> None:
    """A child that will come, known by its step; or more about one that is known."""
    found = _child(family, replace(event, step=step))
    if found is None:
        return
    values: dict[str, Any] = {}
    frames, scene, line = whole(facts.get("frames")), text(facts.get("scene")), text(facts.get("line"))
    if frames is not None and frames > 0:
        values["weight"] = frames
    if scene:
        values |= {"title": scene, "payload": {**found.payload, "scene": scene}}
    if line:
        values |= {"title": line}
    if values:
        family.change_child(found.id, event.at_ms, **values)


def _child(family: Family, event: JobEvent) -> Job | None:
    """The child that the event's step is, made known when it is new; None for a step that is no child."""
    name = child_id(family.job.id, event.step)
    if name is None:
        return None
    family.notes["unseen"].pop(name, None)
    if name not in family.children:
        op, key = op_and_mapping(event.step)
        kind = CHILD_STEPS[op]
        family.add_child(
            Job(
                id=name, type=kind.type, workspace=family.job.workspace, parent_id=family.job.id, created_ms=event.at_ms, step=event.step,
                index=max(0, int(key.rpartition("_")[2]) - 1) if key else 0, counted=kind.counted_in == family.job.type,
                payload={k: v for k, v in family.job.payload.items() if k == "projectId"},
                attempts=(Attempt(1, Status.QUEUED, current_run(family)),),
            ),
            event.at_ms,
        )  # fmt: skip
    return family.children[name]


STEP_RULES: Mapping[str, Callable[[Family, JobEvent], None]] = {
    "step.started": _started, "step.restarted": _started, "step.succeeded": _succeeded, "step.failed": _failed,
    "step.retrying": _retrying, "step.blocked": _blocked, "step.progress": _progressed, "step.output": _output,
}  # fmt: skip
