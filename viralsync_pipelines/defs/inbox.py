"""The inbox: each movie JSON dropped into the store's `inbox/` is rendered once; one that is refused gets its reasons beside it.

What belongs here: the sensor and its decisions. What does not: rendering.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.resources import StudioResource
from viralsync_pipelines.defs.take import INBOX_TAG, MOVIES, reasons_key, write_reasons
from viralsync_pipelines.errors import MovieInvalid, ObjectMissing
from viralsync_pipelines.jobs.run_config import ops_config
from viralsync_pipelines.movie.keys import digest
from viralsync_pipelines.render.prepare import movie_id_of, read_spec
from viralsync_pipelines.render.registry import keep_version, parse_document, register
from viralsync_pipelines.storage.keys import INBOX
from viralsync_pipelines.storage.store import Store

# Dagster gives a tick 60 s; whatever is left then is taken up by the next one, 5 s later.
TICK_S = 20.0
# Runs asked for by one tick: Dagster makes them one by one, at 25 ms each with PostgreSQL.
TICK_RUNS = 100
# Written before a tag in the cursor: no JSON yet. Such a file may still be on its way, and is refused when it has not moved
# until the next tick.
_DOUBT = "?"


@dataclass
class Tick:
    """What one look into the inbox came to. seen: file -> its tag when it was dealt with; wanted: file, movie id, document."""

    seen: dict[str, str]
    wanted: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)


def look(store: Store, seen: dict[str, str], clock: Callable[[], float] = time.monotonic) -> Tick:
    """Deal with files that are new, or whose bytes changed, for as long as a tick may take."""
    until = clock() + TICK_S
    files = [key for key in store.list(INBOX) if key.endswith(".json") and not key.endswith(reasons_key(".json"))]
    tick = Tick({key: seen[key] for key in files if key in seen})
    # New ones first: with a store that answers slowly, known files would use up the time.
    for key in sorted(files, key=lambda name: name in seen):
        if clock() > until or len(tick.wanted) >= TICK_RUNS:
            break
        stat = store.stat(key)
        if stat is None or seen.get(key) == stat.etag:
            continue
        try:
            _deal_with(store, key, stat.etag, tick)
        except ObjectMissing:
            tick.seen.pop(key, None)
    return tick


def _deal_with(store: Store, key: str, tag: str, tick: Tick) -> None:
    try:
        document = parse_document(store.get_bytes(key))
        read_spec(document, {})
    except MovieInvalid as error:
        half = any(p.code == "DOCUMENT_INVALID" for p in error.problems)
        if half and tick.seen.get(key) != _DOUBT + tag:
            tick.seen[key] = _DOUBT + tag
            return
        write_reasons(store, key, error)
        tick.refused.append(key)
    else:
        store.delete(reasons_key(key))
        tick.wanted.append((key, movie_id_of(document), document))
    tick.seen[key] = tag


def inbox_sensor(job: Any) -> dg.SensorDefinition:
    """The sensor over `job`. Sensors tick every 5 s at most, whatever is asked for."""

    @dg.sensor(job=job, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING, name="inbox")
    def inbox(context: dg.SensorEvaluationContext, studio: StudioResource) -> dg.SensorResult:
        store = studio.create_studio().store
        tick = look(store, json.loads(context.cursor or "{}"))
        requests = []
        for key, movie_id, document in tick.wanted:
            register(store, movie_id, document, "")
            requests.append(
                dg.RunRequest(
                    # The same movie is rendered once, under whatever name and however often it is dropped.
                    run_key=f"inbox:{movie_id}:{digest(document)[:16]}", partition_key=movie_id, tags={INBOX_TAG: key},
                    run_config={"ops": ops_config({"document": keep_version(store, movie_id, document)})},
                )
            )  # fmt: skip
        for key in tick.refused:
            context.log.warning(f"{key} is refused; {reasons_key(key)} says why")
        ids = sorted({movie_id for _, movie_id, _ in tick.wanted})
        return dg.SensorResult(
            run_requests=requests, cursor=json.dumps(tick.seen, sort_keys=True),
            dynamic_partitions_requests=[MOVIES.build_add_request(ids)] if ids else [],
            skip_reason=None if requests else dg.SkipReason(f"nothing new among {len(tick.seen)} files"),
        )  # fmt: skip

    return inbox
