"""Fetching what a provider made, the moment that its end is known: some addresses are good for minutes.

What belongs here: a settled row to a stored result. What does not: single outputs (outputs.py), telling Dagster (defs/generations.py).
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import StoreError
from viralsync_pipelines.generate import outcomes, records
from viralsync_pipelines.generate.desk import Desk, calls_of, ticket_of
from viralsync_pipelines.generate.outcomes import Made
from viralsync_pipelines.generate.outputs import BadOutput, LinkExpired, Measure, Stored, bring
from viralsync_pipelines.generate.provider import Blame, CallFailed, Fault, Output, Said
from viralsync_pipelines.generate.records import Record, row
from viralsync_pipelines.generate.settle import MOST_SUBMITS, Outcome
from viralsync_pipelines.http import HttpError, shown
from viralsync_pipelines.jobs.view import iso
from viralsync_pipelines.storage.keys import manifest_key

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls
    from viralsync_pipelines.storage.store import Store

COLLECT_LEASE_MS = 20 * 60_000
THREADS = 4
_FRESH_TRIES = 2

_log = logging.getLogger("viralsync.generate")


@dataclass(frozen=True)
class Collected:
    """A job that is done by this run, and what was stored for it."""

    record: Record
    stored: Sequence[Stored]
    made: Made


def collect_batch(desk: Desk, batch: str, work: Path, measure: Measure) -> list[Collected]:
    """Collect every row of a batch that is settled. Never raises for a single one."""
    with desk.ledger.database.reading() as connection:
        rows = records.where(connection, row.batch == batch, row.stage == "settled")
    with ThreadPoolExecutor(THREADS, thread_name_prefix="collect") as threads:
        found = threads.map(lambda each: collect_one(desk, each, work, measure), rows)
        return [each for each in found if each is not None]


def collect_one(desk: Desk, record: Record, work: Path, measure: Measure) -> Collected | None:
    """None when it was not this caller's, or came to nothing, which the row then says."""
    mine = outcomes.begin_collect(desk.ledger, record, desk.ledger.now_ms() + COLLECT_LEASE_MS)
    if mine is None or mine.outcome is None:
        return None
    outcome = Outcome.from_json(mine.outcome)
    _log.info("[AsyncJobCompletion] Completing job %s with %d outputs", mine.id, len(outcome.outputs))
    try:
        stored = _all_of(desk, mine, outcome, work, measure)
    except BadOutput as error:
        outcomes.collect_failed(desk.ledger, mine, error.fault, again=mine.tries < MOST_SUBMITS)
    except LinkExpired as error:
        fault = Fault(Blame.EXPIRED, "OUTPUT_EXPIRED", f"its addresses give it no more: {error}")
        outcomes.collect_failed(desk.ledger, mine, fault, again=False)
    except (HttpError, CallFailed) as error:
        fault = Fault(Blame.PASSING, "DOWNLOAD_FAILED", error.message)
        outcomes.collect_failed(desk.ledger, mine, fault, again=False)
    except StoreError as error:
        # Ours, not the provider's: what was made is still there, and is fetched again once this run is known to be over.
        _log.error("[AsyncJobCompletion] %s cannot be stored: %s", mine.id, error)
    except Exception:
        # As above, and no reason to lose the others of the batch: a full disk of this machine, a file that breaks a decoder.
        _log.exception("[AsyncJobCompletion] collecting %s failed", mine.id)
    else:
        return _done(desk, mine, outcome, stored)
    return None


def _done(desk: Desk, record: Record, outcome: Outcome, stored: Sequence[Stored]) -> Collected | None:
    made = _made(desk, record, outcome, stored)
    keep_manifest(desk.store, record, made.result["outputs"])
    if not outcomes.collected(desk.ledger, record, made):
        return None
    for number in range(len(outcome.outputs)):
        desk.store.delete(f"generated/{record.id}/{record.submits}-{number}")
    for each in stored:
        # A bucket's address is signed: whoever reads the log should not be able to use it.
        _log.info("[AsyncJobCompletion] Uploaded to CDN: %s", shown(desk.store.url(each.key)))
    _log.info("[AsyncJobCompletion] Job %s marked as completed", record.id)
    return Collected(record, stored, made)


def keep_manifest(store: Store, record: Record, outputs: Sequence[Mapping[str, Any]]) -> None:
    """Whose the outputs are, for movies that name the job as a source: the run that renders them asks the store alone."""
    manifest = {"workspace": record.workspace, "outputs": list(outputs)}
    store.put_bytes(manifest_key(record.id), json.dumps(manifest).encode(), content_type="application/json")


def _made(desk: Desk, record: Record, outcome: Outcome, stored: Sequence[Stored]) -> Made:
    outputs = [_shown(desk, record, each) for each in stored]
    seconds = sum(each.facts.duration_s or 0.0 for each in stored)
    cost = outcome.cost_usd
    model = desk.registry.get(record.model_id) if record.model_id is not None else None
    if cost is None and model is not None:
        words = record.params.get("text") or record.params.get("prompt") or ""
        cost = model.cost_usd(outputs=len(stored), seconds=seconds, characters=len(str(words)))
    result: dict[str, Any] = {"url": outputs[0]["url"], "outputs": outputs, "completedAt": iso(desk.ledger.now_ms())}
    if cost is not None:
        result["costUsd"] = cost
    if outcome.extra:
        result["extra"] = dict(outcome.extra)
    first = stored[0]
    media = {"duration": first.facts.duration_s, "width": first.facts.width, "height": first.facts.height, "fileSize": first.size}
    return Made(result, f"outputs/{record.id}/{first.name}", media, cost, f"{len(stored)} stored")


def _shown(desk: Desk, record: Record, each: Stored) -> dict[str, Any]:
    told: dict[str, Any] = {
        "type": each.facts.media, "url": desk.file_url(record.id, each.name), "mimeType": each.facts.mime, "name": each.name,
        "key": each.key, "sha256": each.sha256, "bytes": each.size, "width": each.facts.width, "height": each.facts.height,
        "duration": each.facts.duration_s,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}


def _all_of(desk: Desk, record: Record, outcome: Outcome, work: Path, measure: Measure) -> list[Stored]:
    """Every output; addresses that have run out are asked for anew."""
    calls = calls_of(desk, record)
    outputs, tries = outcome.outputs, 0
    while True:
        try:
            return [_one(desk, calls, record, output, number, work, measure) for number, output in enumerate(outputs)]
        except LinkExpired:
            tries += 1
            fresh = _fresh(desk, calls, record) if tries <= _FRESH_TRIES else ()
            if not fresh:
                raise
            outputs = fresh


def _one(desk: Desk, calls: Calls, record: Record, output: Output, number: int, work: Path, measure: Measure) -> Stored:
    provider = desk.providers[record.provider or ""]
    headers = provider.file_headers(calls, output.url) if output.authorised else {}
    return bring(output, number, desk.store, calls.client, work, measure, headers)


def _fresh(desk: Desk, calls: Calls, record: Record) -> tuple[Output, ...]:
    seen = desk.providers[record.provider or ""].poll(calls, ticket_of(desk, record))
    return seen.outputs if seen.said is Said.DONE else ()
