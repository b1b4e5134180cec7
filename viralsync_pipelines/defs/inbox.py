"""The inbox: each movie JSON dropped into the store's `inbox/` is rendered once; one that is refused gets its reasons beside it.

What belongs here: the sensor and its decision. What does not: rendering.
"""

import json
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.registry import keep_version, parse_document, register
from viralsync_pipelines.defs.resources import StudioResource
from viralsync_pipelines.defs.take import MOVIES
from viralsync_pipelines.errors import MovieInvalid, ObjectMissing
from viralsync_pipelines.movie.keys import digest
from viralsync_pipelines.render.prepare import movie_id_of, read_spec
from viralsync_pipelines.storage.keys import INBOX
from viralsync_pipelines.storage.store import Store

_REASONS = ".problems.json"


def new_documents(store: Store, seen: dict[str, str]) -> dict[str, tuple[str, bytes]]:
    """Inbox files that are new, or whose bytes changed, since `seen` (key -> etag): key -> (etag, bytes)."""
    found: dict[str, tuple[str, bytes]] = {}
    for key in store.list(INBOX):
        if not key.endswith(".json") or key.endswith(_REASONS):
            continue
        stat = store.stat(key)
        if stat is None or seen.get(key) == stat.etag:
            continue
        try:
            found[key] = (stat.etag, store.get_bytes(key))
        except ObjectMissing:
            continue
    return found


def inbox_sensor(job: Any) -> dg.SensorDefinition:
    """The sensor over `job`."""

    @dg.sensor(job=job, minimum_interval_seconds=5, default_status=dg.DefaultSensorStatus.RUNNING, name="inbox")
    def inbox(context: dg.SensorEvaluationContext, studio: StudioResource) -> dg.SensorResult:
        store = studio.create_studio().store
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        requests, partitions = [], []
        present = set(store.list(INBOX))
        for key, (etag, data) in new_documents(store, seen).items():
            seen[key] = etag
            try:
                document = parse_document(data)
                read_spec(document, {})
            except MovieInvalid as error:
                reasons = {"problems": [p.as_json() for p in error.problems]}
                store.put_bytes(key.removesuffix(".json") + _REASONS, json.dumps(reasons, indent=2, ensure_ascii=False).encode())
                continue
            store.delete(key.removesuffix(".json") + _REASONS)
            movie_id = movie_id_of(document)
            register(store, movie_id, document, "")
            version = keep_version(store, movie_id, document)
            take = {"config": {"document": version}}
            partitions.append(movie_id)
            requests.append(
                dg.RunRequest(
                    run_key=f"inbox:{key}:{digest(document)[:16]}",
                    partition_key=movie_id,
                    run_config={"ops": {"narration": {"ops": {"find_lines": take}}, "movie": {"ops": {"plan_film": take}}}},
                )
            )
        kept = {key: etag for key, etag in seen.items() if key in present}
        return dg.SensorResult(
            run_requests=requests, cursor=json.dumps(kept, sort_keys=True),
            dynamic_partitions_requests=[MOVIES.build_add_request(sorted(set(partitions)))] if partitions else [],
        )  # fmt: skip

    return inbox
