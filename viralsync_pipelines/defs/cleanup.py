"""Clean-up: jobs that ended long ago, their logs, files nobody needs and rows of the project's own tables. With a dry run.

What belongs here: what is old, the job and its schedule. What does not: what killed processes leave behind (upkeep.py), objects of
the store by age (storage/aging.py). A job is kept or goes whole, with all its attempts and children: what is left of it would tell
another story.
"""

import re
import shutil
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field

from viralsync_pipelines.board.sources import RunFacts
from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.aging import OUTPUTS, PLANS, Named, Tally, forget, forget_unnamed, jobs_under, younger
from viralsync_pipelines.storage.store import Store

_DAY_S = 86_400.0
_RUN_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class CleanUp(dg.Config):
    """What goes. Nothing does unless dry_run is switched off."""

    dry_run: bool = Field(default=True, description="Only say what would be deleted.")
    days: int = Field(default=90, ge=1, description="Jobs that ended longer ago than this go: runs, events, logs and plans.")
    outputs: bool = Field(default=False, description="The films of these jobs go too.")
    cache_days: int = Field(
        default=0, ge=0, description="Clips, sounds, films, speech and sources that were cached longer ago than this, and that no kept job"
        " uses, go too. 0: the cache is left alone.",
    )  # fmt: skip


def old_families(runs: Iterable[RunFacts], before_ms: int) -> list[list[RunFacts]]:
    """Runs of each job and its child jobs, where every one of them ended before that moment."""
    families: dict[str, list[RunFacts]] = defaultdict(list)
    for run in runs:
        families[run.parent_id or run.job_id].append(run)
    return [family for family in families.values() if all(run.ended and _last_ms(run) < before_ms for run in family)]


def _last_ms(run: RunFacts) -> int:
    return max(run.created_ms, run.updated_ms, run.ended_ms or 0)


def clean(instance: dg.DagsterInstance, settings: Settings, store: Store, wanted: CleanUp, now: datetime) -> dict[str, Tally]:
    """Do it, or only count; what goes, by kind."""
    from viralsync_pipelines.defs.home import event_marks
    from viralsync_pipelines.defs.rows import forget_rows
    from viralsync_pipelines.orchestrator.runs import DagsterRuns

    tallies: dict[str, Tally] = defaultdict(Tally)
    before = now - timedelta(days=wanted.days)
    runs = DagsterRuns(instance, event_marks).changed(None)
    # Made, and not put into the queue for a day: whoever made them died in between, and nobody will ever start them.
    stillborn = [run for run in runs if run.status == "NOT_STARTED" and _last_ms(run) < (now.timestamp() - _DAY_S) * 1000]
    runs = [run for run in runs if run not in stillborn]
    old = old_families(runs, round(before.timestamp() * 1000))
    gone = {run.job_id for family in old for run in family}
    kept = {run.job_id for run in runs} - gone
    # Files first: should this be cut short, the runs are still there to be found again.
    for prefix, kind in ((PLANS, "plans"), (OUTPUTS, "outputs")):
        for job, keys in jobs_under(store, prefix) if prefix == PLANS or wanted.outputs else ():
            if job in gone or (job not in kept and not younger(store, keys, before)):
                forget(store, keys, tallies[kind], dry_run=wanted.dry_run)
    if wanted.cache_days:
        named = Named(store, lambda job: job not in gone)
        forget_unnamed(store, named, now - timedelta(days=wanted.cache_days), tallies["cached"], dry_run=wanted.dry_run)
    forget_rows(settings, gone, before, now, tallies, dry_run=wanted.dry_run)
    for job in sorted(gone):
        tallies["jobs"].add(job)
    ended = [*stillborn, *(run for family in old for run in family)]
    for run in ended:
        _forget_run(instance, settings, run, tallies, dry_run=wanted.dry_run)
    known = {run.run_id for run in runs} - {run.run_id for run in ended}
    _forget_leftovers(settings, known, before, now, tallies, dry_run=wanted.dry_run)
    return dict(tallies)


def _forget_run(instance: dg.DagsterInstance, settings: Settings, run: RunFacts, tallies: dict[str, Tally], *, dry_run: bool) -> None:
    tallies["runs"].add(run.run_id)
    _count_log(settings.dagster_home / "logs" / run.run_id, tallies["logs"])
    if dry_run:
        return
    # Somebody may have started it again just now.
    found = instance.get_run_by_id(run.run_id)
    if found is None or not (found.is_finished or found.status is dg.DagsterRunStatus.NOT_STARTED):
        return
    instance.compute_log_manager.delete_logs(prefix=[run.run_id])
    instance.delete_run(run.run_id)


def _forget_leftovers(
    settings: Settings, known: set[str], before: datetime, now: datetime, tallies: dict[str, Tally], *, dry_run: bool
) -> None:
    """Files of runs that are gone: what they printed, and the databases of their events, which Dagster empties and leaves lying."""
    # A run made since the list was read has files that are younger.
    unknown_s, old_s = now.timestamp() - _DAY_S, before.timestamp()
    for folder in _of_runs(settings.dagster_home / "logs", "", known):
        if folder.stat().st_mtime < unknown_s:
            _count_log(folder, tallies["logs"])
            if not dry_run:
                shutil.rmtree(folder, ignore_errors=True)
    for file in _of_runs(settings.dagster_home / "history" / "runs", ".db", known):
        parts = [part for part in (file, *(file.with_name(file.name + end) for end in ("-wal", "-shm"))) if part.exists()]
        if all(part.stat().st_mtime < unknown_s for part in parts):
            tallies["event_files"].add(file.name, sum(part.stat().st_size for part in parts))
            _unlink(parts, dry_run=dry_run)
    for log in sorted((settings.home / "logs").glob("job_*.log")):
        if log.stat().st_mtime < old_s:
            tallies["logs"].add(log.name, log.stat().st_size)
            _unlink([log], dry_run=dry_run)


def _of_runs(folder: Path, suffix: str, known: set[str]) -> list[Path]:
    """What is named after a run that nobody knows."""
    found = sorted(folder.glob(f"*{suffix}")) if folder.is_dir() else []
    return [path for path in found if _RUN_ID.fullmatch(name := path.name.removesuffix(suffix)) and name not in known]


def _count_log(folder: Path, tally: Tally) -> None:
    if folder.is_dir():
        tally.add(folder.name, sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))


def _unlink(files: Iterable[Path], *, dry_run: bool) -> None:
    for file in files if not dry_run else ():
        file.unlink(missing_ok=True)


@dg.op(description="Deletes what is old, or with dry_run says what would be deleted.")
def clean_up(context: dg.OpExecutionContext, config: CleanUp) -> None:
    settings = settings_now()
    began = time.monotonic()
    tallies = clean(context.instance, settings, store_of(settings), config, datetime.now(UTC))
    verb = "would go" if config.dry_run else "deleted"
    for kind, tally in sorted(tallies.items()):
        if tally.count:
            named = ", ".join(tally.first[:3]) + (", ..." if tally.count > 3 else "")
            line = f"{verb}: {tally.count} {kind.replace('_', ' ')}, {tally.size / 1e6:.1f} MB ({named})"
            context.log.info(line)
            print(line, flush=True)
    metadata: dict[str, Any] = {kind: dg.MetadataValue.json(tally.as_json()) for kind, tally in tallies.items()}
    context.add_output_metadata(
        {**metadata, "dry_run": config.dry_run, "days": config.days, "bytes": sum(tally.size for tally in tallies.values()),
         "seconds": round(time.monotonic() - began, 2)}
    )  # fmt: skip


@dg.job(
    executor_def=dg.in_process_executor,
    description="Deletes jobs that ended long ago, with their logs and rows. By hand it says what it would delete, unless dry_run is off.",
)
def cleanup() -> None:
    clean_up()


def cleanup_schedule() -> Any:
    """Every night, for real, once VIRALSYNC_KEEP_DAYS says how long jobs are kept. Films stay."""

    @dg.schedule(job=cleanup, cron_schedule="47 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING, name="nightly_cleanup")
    def nightly_cleanup() -> dg.RunRequest | dg.SkipReason:
        settings = settings_now()
        if settings.keep_days is None:
            return dg.SkipReason("VIRALSYNC_KEEP_DAYS is not set: everything is kept")
        config = {"dry_run": False, "days": settings.keep_days, "cache_days": settings.keep_cache_days or 0}
        return dg.RunRequest(run_config={"ops": {"clean_up": {"config": config}}})

    return nightly_cleanup
