"""Cancelling, retrying and deleting a job, whoever does its work: Dagster, a provider, or a program that reports.

What belongs here: what is allowed when, and what is done for it. What does not: routes (jobs.py).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from viralsync_pipelines.board.index import Entry
from viralsync_pipelines.board.outgoing import collect_job
from viralsync_pipelines.board.results import output_url_at
from viralsync_pipelines.errors import Problem
from viralsync_pipelines.gateway.auth import Principal
from viralsync_pipelines.gateway.deps import Deps
from viralsync_pipelines.gateway.executions import desk_of
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.gateway.plans import judge
from viralsync_pipelines.gateway.renders import foreign_sources, used_by
from viralsync_pipelines.gateway.shown import missing
from viralsync_pipelines.generate import changes as ledger_changes
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.jobs.ledger_rules import of_ledger
from viralsync_pipelines.jobs.model import Job, Status
from viralsync_pipelines.storage import claims, outbox_log, snapshots

_NOTHING_FAILED = "nothing of it failed; send scope `all` to make it anew, or `set` to make it otherwise"


def cancel_job(deps: Deps, job: Job, *, force: bool = False) -> Job:
    """Ask for the end of a job and of its children; the job as it is then. Refused 409 when it has ended."""
    if job.status.terminal:
        raise _ended(job, "cancelled")
    entry = deps.board.entry(job.id)
    if entry is None:
        desk = _desk_of(deps, job)
        if desk is None:
            return deps.reported.cancel(job.id)
        ledger_changes.cancel(desk.ledger, job.id)
        return deps.board.find(job.id) or job
    if entry.job_id != job.id:
        raise Refused(409, "INVALID_STATE", f"{job.id} is a part of {entry.job_id}, and only the whole can be cancelled; cancel that")
    for child in deps.board.children(job.id):
        mine = deps.board.entry(child.id)
        own = mine is not None and mine.job_id == child.id and child.workspace == job.workspace
        if mine is not None and own and not child.status.terminal:
            deps.launcher.cancel(mine.last.run_id, force=force)
    stopped = deps.launcher.cancel(entry.last.run_id, force=force)
    deps.board.sync(force=True)
    now = deps.board.find(job.id) or job
    if not stopped and now.status is not Status.CANCELLED and now.cancel_requested_ms is None:
        raise _ended(now, "cancelled")
    return now


def retry_job(deps: Deps, principal: Principal, job: Job, scope: str, changes: Mapping[str, Any]) -> int:
    """Try a job again, under the same id; the number of the new attempt. Refused 409 unless it has ended."""
    entry = deps.board.entry(job.id)
    desk = _desk_of(deps, job) if entry is None else None
    if desk is not None:
        foreign = sorted(foreign_sources(deps, principal, changes, "/set"))
        if foreign:
            raise Refused(400, "VALIDATION_ERROR", foreign[0].message, problems=foreign)
        return ledger_changes.retry(desk.ledger, desk.registry, job.id, scope=scope, changes=changes)
    if entry is None:
        if changes:
            told = "only films have variables to set; leave it out, and give the program that does the job its new input yourself"
            raise Refused(400, "VALIDATION_ERROR", told, problems=[Problem("/set", "FIELD_UNKNOWN", told)])
        return deps.reported.retry(job.id, scope).attempt
    whole = deps.board.find(entry.job_id)
    if whole is None:
        raise missing(job.id)
    if not whole.status.terminal:
        raise Refused(409, "INVALID_STATE", f"{whole.id} is {whole.status.value}; it can be tried again once it has ended")
    if scope == "failed" and job.status is Status.DONE and not changes:
        raise Refused(409, "INVALID_STATE", f"{job.id} is done, and {_NOTHING_FAILED}")
    foreign = sorted(foreign_sources(deps, principal, changes, "/set"))
    if foreign:
        raise Refused(400, "VALIDATION_ERROR", foreign[0].message, problems=foreign)
    return run_again(deps, principal, whole, entry, changes=changes, fresh=_fresh(job, entry, scope))


def run_again(
    deps: Deps, principal: Principal, whole: Job, entry: Entry, *, changes: Mapping[str, Any], fresh: tuple[str, ...],
    before: Callable[[], Callable[[], None]] | None = None,
) -> int:  # fmt: skip
    """Another run of a job that has ended; the number of its attempt. before: done by the one who goes on, and gives what undoes it when
    no run comes of it."""
    refusal = judge(principal.plan, used_by(deps, principal), width=0, height=0, seconds=0.0)
    if refusal is not None:
        raise refusal
    with _by_one(deps, whole.id, whole.attempt + 1):
        undo = before() if before is not None else None
        try:
            deps.launcher.again(entry.last.run_id, tags={}, changes=changes, fresh=fresh)
        except Exception as error:
            if undo is not None and not getattr(error, "unsure", False):
                undo()
            raise
        deps.board.sync(force=True)
    return whole.attempt + 1


@contextmanager
def _by_one(deps: Deps, job_id: str, attempt: int) -> Iterator[None]:
    """Of many who ask for the same attempt at once, in whatever gateways, one goes on; the others are refused 409."""
    held = claims.claim(deps.database, "retry", f"{job_id}/{attempt}", "", job_id, deps.now_ms())
    if not isinstance(held, claims.Held):
        raise Refused(409, "INVALID_STATE", f"{job_id} is being tried again already; it can be once more when that has ended")
    try:
        yield
    except Exception as error:
        # It may have begun all the same: then the job is not at its end when somebody asks again.
        (claims.abandon if getattr(error, "unsure", False) else claims.release)(deps.database, held)
        raise
    claims.settle(deps.database, held, 202, "", "{}")


def _fresh(job: Job, entry: Entry, scope: str) -> tuple[str, ...]:
    """Scenes to render, or lines to speak, anew whatever is kept of them; all others are found, and their files stay as they are."""
    if scope != "all":
        return ()
    if job.id == entry.job_id:
        return ("*",)
    return (str(job.index + 1),) if job.type in {"render.scene", "speech.line"} else ()


def delete_job(deps: Deps, job: Job) -> None:
    """Forget an ended job and delete what it put out. What it cost stays counted; clips stay for other films."""
    if not job.status.terminal:
        raise Refused(409, "INVALID_STATE", f"{job.id} is {job.status.value}; cancel it first, or wait for its end")
    entry = deps.board.entry(job.id)
    parts: list[str] = []
    if entry is None:
        family = deps.board.family(job.id)
        parts = list(family.children) if family is not None else []
        desk = _desk_of(deps, job)
        if desk is not None:
            _forget_execution(deps, desk, job)
        deps.reported.delete(job.id)
    else:
        for run in entry.runs:
            if not run.ended:
                raise Refused(409, "INVALID_STATE", f"{job.id} is being tried again; cancel it first, or wait for its end")
        # What its receiver has not been told yet, and what it cost, is known only while Dagster knows the job.
        collect_job(deps.board, deps.database, entry, output_url_at(deps.api_base_url), deps.now_ms())
        # Dagster first: when it is away nothing has been deleted yet. Without its runs there is no job any more.
        for run in reversed(entry.runs):
            deps.launcher.forget(run.run_id)
        for prefix in (f"outputs/{job.id}/", f"render-plans/{job.id}/"):
            for key in list(deps.store.list(prefix)):
                deps.store.delete(key)
        snapshots.forget(deps.database, job.id)
        deps.board.drop(job.id)
    with deps.database.writing() as connection:
        for job_id in (job.id, *parts):
            outbox_log.forget_job(connection, job_id)


def _forget_execution(deps: Deps, desk: Desk, job: Job) -> None:
    """Its rows, and what is kept by its jobs' names; what they made stays where it lies by content."""
    if job.parent_id is not None:
        raise Refused(409, "INVALID_STATE", f"{job.id} is a part of {job.parent_id}; delete that")
    for record_id in ledger_changes.forget(desk.ledger, job.id):
        for prefix in (f"outputs/{record_id}/", f"generated/{record_id}/"):
            for key in list(deps.store.list(prefix)):
                deps.store.delete(key)


def _desk_of(deps: Deps, job: Job) -> Desk | None:
    """Where a job of an execution is done; None for what a program of the user's does. Refused 503 where nothing is generated."""
    if not of_ledger(job):
        return None
    return desk_of(deps)


def _ended(job: Job, what: str) -> Refused:
    return Refused(409, "INVALID_STATE", f"{job.id} has ended ({job.status.value}) and cannot be {what} any more")
