"""Films and narrations that a plan asks for (render, merge, layer, addSubtitles, narrate): each a run of its own, followed as a row.

What belongs here: which run does a row's work, and learning of its end from the board. What does not: what a film looks like
(generate/montage.py), the row's moves (generate/film_moves.py). A run is asked for from what its row says, with the row's own key: so it
is made once, and asked for again when it never appeared.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.kit import Kit
from viralsync_pipelines.errors import MovieInvalid, StoreError, ViralsyncError
from viralsync_pipelines.generate import film_moves, outcomes, records
from viralsync_pipelines.generate.collect import keep_manifest
from viralsync_pipelines.generate.film_moves import DAGSTER, OURS, Going
from viralsync_pipelines.generate.film_params import Narrate
from viralsync_pipelines.generate.film_sources import with_sources
from viralsync_pipelines.generate.montage import check_film, film_of
from viralsync_pipelines.generate.outcomes import Made
from viralsync_pipelines.generate.records import ENDED, Record, row
from viralsync_pipelines.generate.submit import results_near
from viralsync_pipelines.generate.utterances import order_of
from viralsync_pipelines.jobs.model import WHOLE, Job, Status
from viralsync_pipelines.jobs.orders import DEFAULT_WORKSPACE, DRAFT_TAG, JOB_TAG, PARENT_TAG, WORKSPACE_TAG
from viralsync_pipelines.jobs.run_config import NARRATE_JOB, RENDER_JOB, narration_config, ordered_config
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.render.prepare import movie_id_of
from viralsync_pipelines.render.registry import keep_version
from viralsync_pipelines.storage.keys import script_key, words_key

# Runs that one tick asks for: Dagster makes them one by one, at 25 ms each with PostgreSQL.
MOST_BEGUN = 50
# Looked at in one tick; the oldest first, and those are what Dagster's queue runs first.
MOST_FOLLOWED = 500
# A row is somebody's for so long while its film is put together.
HELD_MS = 5 * 60_000
# Until its run should be there. Dagster makes it seconds after the tick.
APPEAR_MS = 3 * 60_000
# A run that cannot be told to stop ends by itself at last.
STOP_MS = 3_600_000
# Words of a longer narration are in its transcript alone: a result is shown with every list of jobs.
MOST_WORDS_SHOWN = 2_000
_CODED = re.compile(r"([A-Z][A-Z0-9_]{2,63}): (.*)", re.DOTALL)

_log = logging.getLogger("viralsync.generate")


@dataclass(frozen=True)
class Films:
    """What a tick did for films. count: rows that moved. runs: to be asked for, once what is here has been committed."""

    count: int = 0
    runs: tuple[dg.RunRequest, ...] = ()

    def __add__(self, other: Films) -> Films:
        return Films(self.count + other.count, (*self.runs, *other.runs))

    @property
    def partitions(self) -> list[str]:
        """Of movies, that the runs are for."""
        return sorted({run.partition_key for run in self.runs if run.partition_key is not None})


# ---- beginning -------------------------------------------------------------------------------------------------------


def begin_films(kit: Kit) -> Films:
    """Rows of films that are ready: each moves on, and its run is asked for."""
    ledger = kit.desk.ledger
    mine = row.operation.in_(OURS)
    with ledger.database.reading() as connection:
        if not records.where(connection, row.stage == "ready", mine, limit=1):
            return Films()
    now = ledger.now_ms()
    batch = f"films:{now}"
    with ledger.database.writing() as connection:
        records.take(connection, "ready", batch, now, now + HELD_MS, MOST_BEGUN, mine)
        rows = records.where(connection, row.batch == batch, row.stage == "ready")
    begun = [each for each in (_begin(kit, record) for record in rows) if each is not None]
    return Films(len(rows), tuple(run_of(each) for each in begun))


def _begin(kit: Kit, record: Record) -> Record | None:
    ledger = kit.desk.ledger
    try:
        wanted = _wanted(kit, record)
    except MovieInvalid as error:
        told = "; ".join(f"{each.pointer}: {each.message}" for each in error.problems[:20])
        film_moves.failed(ledger, record, error.code, told, {"problems": [each.as_json() for each in error.problems[:100]]})
    except StoreError as error:
        # Nothing that the plan can help: the row is looked at again when its time is over.
        _log.error("%s cannot be begun: %s", record.id, error)
    except ViralsyncError as error:
        film_moves.failed(ledger, record, error.code, error.message)
    except Exception as error:
        _log.exception("%s cannot be begun", record.id)
        film_moves.failed(ledger, record, "INTERNAL_ERROR", f"this film cannot be put together: {type(error).__name__}: {error}")
    else:
        return film_moves.begun(ledger, record, wanted, ledger.now_ms() + APPEAR_MS)
    return None


def _wanted(kit: Kit, record: Record) -> dict[str, str]:
    """What the run is made from, as its row keeps it."""
    store = kit.desk.store
    with kit.desk.ledger.database.reading() as connection:
        near = results_near(connection, record)
    params, known = with_sources(record.params, near, store.get_bytes)
    if record.operation == "narrate":
        problems = check_film("narrate", params, "/params")
        if problems:
            raise MovieInvalid(problems)
        data = json.dumps(order_of(Narrate.model_validate(params)), sort_keys=True).encode()
        key = script_key(hashlib.sha256(data).hexdigest())
        store.put_bytes(key, data, content_type="application/json")
        return {"job": NARRATE_JOB, "document": key}
    movie, draft = film_of(record.operation, params, known)
    movie_id = movie_id_of(movie)
    partition = movie_id if record.workspace == DEFAULT_WORKSPACE else f"{record.workspace}.{movie_id}"
    wanted = {"job": RENDER_JOB, "document": keep_version(store, movie_id, movie), "partition": partition}
    return {**wanted, "draft": "true"} if draft else wanted


def run_of(record: Record) -> dg.RunRequest:
    """The run of a row that was begun: the same, by its key, whenever it is asked for."""
    wanted: Mapping[str, str] = record.provider_urls or {}
    tags = {JOB_TAG: record.provider_job_id or "", PARENT_TAG: record.id, WORKSPACE_TAG: record.workspace}
    key = f"film:{record.id}:{record.attempt}"
    if wanted["job"] == NARRATE_JOB:
        return dg.RunRequest(run_key=key, job_name=NARRATE_JOB, run_config=narration_config(wanted["document"]), tags=tags)
    draft = wanted.get("draft") == "true"
    return dg.RunRequest(
        run_key=key, job_name=RENDER_JOB, partition_key=wanted["partition"], tags={**tags, DRAFT_TAG: "true"} if draft else tags,
        run_config=ordered_config({"document": wanted["document"], "draft": draft}, preset=None, concurrency=None),
    )  # fmt: skip


# ---- following -------------------------------------------------------------------------------------------------------


def follow_films(kit: Kit) -> Films:
    """Rows of films that are on their way, as the board has their runs; and runs of what was cancelled, which are asked to end."""
    _stop_cancelled(kit)
    ledger = kit.desk.ledger
    with ledger.database.reading() as connection:
        going = (row.stage == "waiting", row.next_poll_at.is_(None), row.provider == DAGSTER)
        rows = records.where(connection, *going, limit=MOST_FOLLOWED)
    films = Films()
    for record in rows:
        try:
            films += _follow(kit, record)
        except Exception:
            # One film must not keep all others, and what is due at providers, from having their turn; the next tick tries again.
            _log.exception("%s cannot be followed", record.id)
    return films


def _follow(kit: Kit, record: Record) -> Films:
    ledger = kit.desk.ledger
    job = kit.board.find(record.provider_job_id or "")
    if job is None:
        if (record.lease_until or 0) > ledger.now_ms() or not film_moves.asked_again(ledger, record, ledger.now_ms() + APPEAR_MS):
            return Films()
        _log.warning("the run of %s never appeared, and is asked for again", record.id)
        return Films(1, (run_of(record),))
    return Films(int(_moved(kit, record, job)))


def _moved(kit: Kit, record: Record, job: Job) -> bool:
    ledger = kit.desk.ledger
    if job.status is Status.DONE:
        return _done(kit, record, job)
    if job.status is Status.CANCELLED:
        return film_moves.cancelled(ledger, record)
    if job.status is Status.FAILED:
        coded = _CODED.fullmatch(job.error or "")
        code, message = (coded[1], coded[2]) if coded is not None else ("RENDER_FAILED", job.error or "its run failed, and did not say why")
        return film_moves.failed(ledger, record, code, message, {"jobId": job.id})
    queued = job.status is Status.QUEUED
    stage = job.stage
    shown = {"name": stage.name, "current": stage.current, "total": stage.total, "description": stage.description} if stage else None
    message = job.message or ("In the queue" if queued else "")
    going = Going("waiting" if queued else "running", job.phase or "dispatching", job.progress * 100 // WHOLE, message, shown)
    return film_moves.on_the_way(ledger, record, going)


def _done(kit: Kit, record: Record, job: Job) -> bool:
    outputs, extra = _narration(kit, record, job) if record.operation == "narrate" else _film(kit, record, job)
    if not outputs:
        told = "its run ended well and left nothing; retry the job"
        return film_moves.failed(kit.desk.ledger, record, "NO_OUTPUT", told, {"jobId": job.id})
    result = {"url": outputs[0]["url"], "outputs": outputs, "completedAt": iso(kit.desk.ledger.now_ms()), "jobId": job.id, **extra}
    keep_manifest(kit.desk.store, record, outputs)
    first = outputs[0]
    media = {"duration": first.get("duration"), "width": first.get("width"), "height": first.get("height"), "fileSize": first["bytes"]}
    made = Made(result, f"outputs/{record.id}/{first['name']}", media, None, f"{len(outputs)} stored")
    return outcomes.collected(kit.desk.ledger, record, made, stages=("waiting",))


def _film(kit: Kit, record: Record, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    stat = kit.desk.store.stat(job.output) if job.output else None
    if stat is None:
        return [], {}
    media = job.media or {}
    shown = {"mimeType": "video/mp4", "bytes": stat.size, **{name: media.get(name) for name in ("width", "height", "duration")}}
    return [_output(kit, record, "video", "output.mp4", str(job.output), shown)], {}


def _narration(kit: Kit, record: Record, job: Job) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    store, key = kit.desk.store, words_key(job.id)
    stat = store.stat(key)
    if stat is None:
        return [], {}
    told = json.loads(store.get_bytes(key))
    sound = {"mimeType": "audio/wav", "sha256": told["sha256"], "bytes": told["bytes"], "duration": told["duration"]}
    extra = {name: told[name] for name in ("words", "lines") if len(told["words"]) <= MOST_WORDS_SHOWN}
    words = {"mimeType": "application/json", "bytes": stat.size}
    return [
        _output(kit, record, "audio", "output.wav", told["key"], sound), _output(kit, record, "transcript", "words.json", key, words),
    ], {"voice": told["voice"], **extra}  # fmt: skip


def _output(kit: Kit, record: Record, media: str, name: str, key: str, more: Mapping[str, Any]) -> dict[str, Any]:
    told = {"type": media, "url": kit.desk.file_url(record.id, name), "name": name, "key": key, **more}
    return {field: value for field, value in told.items() if value is not None}


# ---- cancelling ------------------------------------------------------------------------------------------------------


def _stop_cancelled(kit: Kit) -> None:
    """Runs of rows that were cancelled are asked to end. One that is yet to appear is waited for."""
    ledger = kit.desk.ledger
    with ledger.database.reading() as connection:
        rows = records.where(connection, row.cancelling == "asked", row.provider == DAGSTER, limit=MOST_BEGUN)
    for record in rows:
        since = ledger.now_ms() - (record.completed_at or 0)
        # What was tried again since then has another run by now, which is not meant.
        attempt = record.attempt if record.stage == ENDED else record.attempt - 1
        runs = kit.instance.get_runs(dg.RunsFilter(tags={JOB_TAG: film_moves.run_job_of(record.id, attempt)}))
        failed = False
        for run in runs:
            if run.is_finished or run.status is dg.DagsterRunStatus.CANCELING:
                continue
            try:
                kit.instance.run_coordinator.cancel_run(run.run_id)
            except Exception as error:
                _log.warning("the run of %s could not be told to stop: %s", record.id, error)
                failed = True
        if (runs or since > APPEAR_MS) and (not failed or since > STOP_MS):
            film_moves.told_to_stop(ledger, record)
