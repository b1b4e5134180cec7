"""Upkeep, once a day: what killed processes left behind, and the small values that finished runs handed from step to step.

What belongs here: that job and its schedule. What does not: anything a film is made of; the cache is never emptied by itself.
"""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.defs.scratch import sweep_scratch
from viralsync_pipelines.defs.studio import scratch_root
from viralsync_pipelines.storage.store import Store

# Half-written objects are seconds old when their writer still lives; a run may be retried for days.
_HALF_WRITTEN_S = 86400.0
_VALUES_KEPT = timedelta(days=14)


def forget_values(store: Store, now: datetime) -> int:
    """Delete what steps of runs handed to one another more than two weeks ago; how many. Assets' own values stay."""
    old = [
        key
        for key in store.list("values/")
        if not key.startswith("values/assets/") and (stat := store.stat(key)) is not None and now - stat.modified > _VALUES_KEPT
    ]
    for key in old:
        store.delete(key)
    return len(old)


@dg.op(description="Sweeps up after killed processes and forgets values of runs that ended long ago.")
def sweep(context: dg.OpExecutionContext) -> None:
    settings, now = settings_now(), datetime.now(UTC)
    store = store_of(settings)
    context.add_output_metadata(
        {
            "scratch_folders": sweep_scratch(scratch_root(settings), time.time()),
            "half_written_objects": store.sweep(_HALF_WRITTEN_S, now),
            "values": forget_values(store, now),
        }
    )


@dg.job(description="Sweeps up after killed processes; nothing that a film is made of is touched.")
def upkeep() -> None:
    sweep()


def upkeep_schedule() -> Any:
    """Every night; on as soon as the daemon runs."""
    return dg.ScheduleDefinition(job=upkeep, cron_schedule="17 4 * * *", default_status=dg.DefaultScheduleStatus.RUNNING, name="nightly")
