"""What the runs and the sensor of generation do, put together from generate/: imported when they do it, not with the definitions.

What belongs here: one submit run, one collect run, one tick. What does not: Dagster's definitions (generations.py), any of the work.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.films import begin_films, follow_films
from viralsync_pipelines.defs.kit import Kit, kit_of, new_kit
from viralsync_pipelines.defs.measured import measure, preview
from viralsync_pipelines.defs.resources import settings_now
from viralsync_pipelines.defs.scratch import own_scratch
from viralsync_pipelines.defs.shown import link_to, picture_of
from viralsync_pipelines.defs.studio import scratch_root
from viralsync_pipelines.defs.take import MOVIES
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.collect import Collected, collect_batch
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.inbox import apply_new
from viralsync_pipelines.generate.leases import held, let_go, let_go_of
from viralsync_pipelines.generate.operations import OPERATIONS
from viralsync_pipelines.generate.outputs import Stored
from viralsync_pipelines.generate.poll import cancel_asked, confirm_due, poll_due, work_left
from viralsync_pipelines.generate.records import row
from viralsync_pipelines.generate.submit import submit_batch
from viralsync_pipelines.jobs.orders import PARENT_TAG

# Dagster gives a tick 60 s.
POLLING_S = 25.0
# And reading webhooks, of which the gateway reads most as they come.
READING_S = 10.0
# A clip of this many bytes is brought from a bucket to be looked at; a larger one is shown by its link alone.
_MOST_PREVIEWED = 100_000_000
# How long a run that was asked for may take to begin before its rows are given to another.
BEGIN_MS = 5 * 60_000
# Rows of one run: a run costs two seconds of CPU to start, whatever it then does.
SUBMITS, COLLECTS = 200, 50
# Runs that one tick asks for, of each kind.
_MOST_RUNS = 4
# After the tick that asked for it. Longer than a tick may take: its runs are made when it is over.
APPEAR_MS = 90_000
_AFTER, _RUN_KEY_TAG = "after-", "dagster/run_key"
_KEY = re.compile(r"(?:submit|collect):([0-9]{1,15}):[0-9]+")
_OF_PROVIDERS = [name for name, each in OPERATIONS.items() if each.by == "provider"]


@contextmanager
def _own_kit() -> Iterator[Kit]:
    with dg.DagsterInstance.get() as instance:
        kit = new_kit(instance)
        try:
            yield kit
        finally:
            kit.close()


def submit_all(batch: str) -> tuple[int, int]:
    """How many this run submitted, and how many of them have to be sent again."""
    with _own_kit() as kit:
        count = submit_batch(kit.desk, batch)
        with kit.database.reading() as connection:
            left = len(records.where(connection, row.batch == batch, row.stage == "ready"))
    return count, left


def collect_all(batch: str) -> list[tuple[str, dict[str, Any]]]:
    """The jobs that this run collected, each with what is shown of it."""
    work = own_scratch(scratch_root(settings_now()))
    work.mkdir(parents=True, exist_ok=True)
    with _own_kit() as kit:
        done = collect_batch(kit.desk, batch, work, measure)
        if done:
            # What could begin with them, at once: another run would be ten seconds away.
            _take(kit.desk, "ready", _AFTER + batch, SUBMITS)
            submit_batch(kit.desk, _AFTER + batch)
        return [(each.record.id, _shown(kit.desk, each)) for each in done]


def _shown(desk: Desk, each: Collected) -> dict[str, Any]:
    """With a preview, and what it cost."""
    first, record = each.stored[0], each.record
    shown = _preview(desk, first)
    seconds = (desk.ledger.now_ms() - record.created_at) / 1000
    metadata: dict[str, Any] = {
        "preview": picture_of(shown) if shown is not None else None, "prompt": str(record.params.get("prompt") or "")[:500] or None,
        "media": link_to(desk.store.url(first.key)), "model": record.model_id, "provider": record.provider, "width": first.facts.width,
        "height": first.facts.height, "duration_s": first.facts.duration_s, "cost_usd": each.made.cost_usd, "bytes": first.size,
        "outputs": len(each.stored), "waited_by": record.waiting_strategy, "settled_by": record.settled_by, "polls": record.poll_attempts,
        "seconds_in_all": round(seconds, 1), "job": record.id, "execution": record.execution_id, "operation": record.operation,
        "provider_job": record.provider_job_id, "sha256": first.sha256,
    }  # fmt: skip
    return {name: value for name, value in metadata.items() if value is not None}


def _preview(desk: Desk, stored: Stored) -> bytes | None:
    """A small picture of it. From a bucket it is brought for that, unless it is large."""
    path = desk.store.local_path(stored.key)
    if path is not None:
        return preview(path, stored.facts)
    if stored.size > _MOST_PREVIEWED:
        return None
    with tempfile.TemporaryDirectory(prefix="preview-") as folder:
        return preview(desk.store.fetch(stored.key, Path(folder) / "media"), stored.facts)


# ---- the sensor ------------------------------------------------------------------------------------------------------


def tick(context: dg.SensorEvaluationContext, submit: str, collect: str) -> dg.SensorResult:
    """One look at everything that is due. submit, collect: the jobs to be run for what is ready and what is settled."""
    return tick_with(kit_of(context), submit, collect)


def tick_with(kit: Kit, submit: str, collect: str) -> dg.SensorResult:
    """As `tick`, with these parts."""
    desk = kit.desk
    letters = apply_new(desk, budget_s=READING_S)
    polled = poll_due(desk, budget_s=POLLING_S)
    confirmed, told, free = confirm_due(desk), cancel_asked(desk), let_go(desk) + _let_go_of_dead(kit)
    # Followed first: what depends on a film that has just ended begins in the same tick.
    films = follow_films(kit) + begin_films(kit)
    left = work_left(desk)
    requests = [
        *films.runs,
        *(_runs(desk, "ready", submit, "submit", SUBMITS) if left.get("ready") else ()),
        *(_runs(desk, "settled", collect, "collect", COLLECTS) if left.get("settled") else ()),
    ]
    words = f"{letters} webhooks, {polled.asked} of {polled.found} polls, {polled.settled} settled, {confirmed} confirmed, "
    words += f"{told} cancelled, {free} let go, {films.count} films"
    return dg.SensorResult(
        run_requests=requests, dynamic_partitions_requests=[MOVIES.build_add_request(films.partitions)] if films.partitions else [],
        skip_reason=None if requests else dg.SkipReason(words),
    )  # fmt: skip


def _let_go_of_dead(kit: Kit) -> int:
    """What is held by runs that are over, or were never made. Dagster knows of a killed one within ten seconds; its leases last minutes."""
    batches = {batch: batch.removeprefix(_AFTER) for batch in held(kit.desk)}
    keys = {key: int(found[1]) for key in batches.values() if (found := _KEY.fullmatch(key)) is not None}
    if not keys:
        return 0
    going: dict[str, bool] = {}
    for run in kit.instance.get_runs(dg.RunsFilter(tags={_RUN_KEY_TAG: sorted(keys)})):
        key = run.tags[_RUN_KEY_TAG]
        going[key] = going.get(key, False) or not run.is_finished
    appeared = kit.desk.ledger.now_ms() - APPEAR_MS
    dead = {key for key, asked_ms in keys.items() if not going.get(key, asked_ms > appeared)}
    return let_go_of(kit.desk, [batch for batch, key in batches.items() if key in dead])


def _runs(desk: Desk, stage: str, job: str, op: str, size: int) -> list[dg.RunRequest]:
    """Runs for rows that nobody has. The rows are put under the run's key first: should it never begin, another has them later."""
    requests = []
    for number in range(_MOST_RUNS):
        key = f"{op}:{desk.ledger.now_ms()}:{number}"
        count = _take(desk, stage, key, size)
        if not count:
            break
        config = {"ops": {op: {"config": {"batch": key}}}}
        # Nobody's job by itself: it works for many, and would stand in every list beside them.
        tags = {"viralsync/rows": str(count), PARENT_TAG: "generations"}
        requests.append(dg.RunRequest(run_key=key, job_name=job, run_config=config, tags=tags))
        if count < size:
            break
    return requests


def _take(desk: Desk, stage: str, batch: str, size: int) -> int:
    now = desk.ledger.now_ms()
    with desk.ledger.database.writing() as connection:
        return records.take(connection, stage, batch, now, now + BEGIN_MS, size, row.operation.in_(_OF_PROVIDERS))
