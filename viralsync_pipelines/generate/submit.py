"""Giving ready jobs to their providers, each once: the row is committed before the provider is called, and a lost answer is never a reason
to send again.

What belongs here: that, for a batch of rows at once, and finding again what a lost answer left open. What does not: rows (ledger.py), wires
(providers/).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.generate import ledger as moves
from viralsync_pipelines.generate import outcomes, records
from viralsync_pipelines.generate.desk import Desk, calls_of, pause_after
from viralsync_pipelines.generate.inbox import apply_for
from viralsync_pipelines.generate.markers import Marker, filled
from viralsync_pipelines.generate.models import Model, check_params
from viralsync_pipelines.generate.outputs import keep_bytes
from viralsync_pipelines.generate.provider import Blame, CallFailed, Fault, NotSent, Order, Provider, Taken, Unsure
from viralsync_pipelines.generate.records import Record, row
from viralsync_pipelines.generate.settle import UNCONFIRMED, failed, settle

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

# Longer than any call to a provider may take; after it the run is taken for dead, and its submits for unsure.
SUBMIT_LEASE_MS = 10 * 60_000
# How long a webhook is waited for before the provider is asked whether it has the job.
UNSURE_MS = 30_000
# What a provider certainly did not take is sent again so often, in some 15 minutes.
MOST_NOT_SENT = 20
THREADS = 16

_log = logging.getLogger("viralsync.generate")


def submit_batch(desk: Desk, batch: str) -> int:
    """Submit every row of a batch that is still ready; how many were this caller's. Never raises for a single one."""
    with desk.ledger.database.reading() as connection:
        rows = records.where(connection, row.batch == batch, row.stage == "ready")
    with ThreadPoolExecutor(THREADS, thread_name_prefix="submit") as threads:
        return sum(threads.map(lambda each: submit_one(desk, each), rows))


def submit_one(desk: Desk, record: Record) -> bool:
    """True when this caller submitted it, whatever came of it."""
    mine = moves.begin_submit(desk.ledger, record, desk.ledger.now_ms() + SUBMIT_LEASE_MS)
    if mine is None:
        return False
    try:
        _submit(desk, mine)
    except Exception as error:
        # A fault of ours, before or after the call: what the provider made of it is not known.
        _log.exception("submitting %s failed", mine.id)
        moves.unsure(desk.ledger, mine, f"{type(error).__name__}: {error}", desk.ledger.now_ms() + UNSURE_MS)
    return True


def _submit(desk: Desk, record: Record) -> None:
    model, provider = _known(desk, record)
    if model is None or provider is None:
        told = f"there is no model {record.model_id!r} any more; `viralsync models` lists those there are"
        outcomes.settle_row(desk.ledger, record, failed(Fault(Blame.INPUT, "MODEL_UNKNOWN", told), 99), "submit")
        return
    try:
        order, calls = _order(desk, record, model)
    except CallFailed as error:
        outcomes.settle_row(desk.ledger, record, failed(error.fault, 99), "submit")
        return
    faults = check_params(model, order.params, "/params")
    if faults:
        told = "; ".join(f"{fault.pointer}: {fault.message}" for fault in faults)
        outcomes.settle_row(desk.ledger, record, failed(Fault(Blame.INPUT, "PARAM_INVALID", told), 99), "submit")
        return
    try:
        taken = provider.submit(calls, order)
    except NotSent as error:
        _not_sent(desk, record, error)
    except Unsure as error:
        moves.unsure(desk.ledger, record, str(error), desk.ledger.now_ms() + UNSURE_MS)
    except CallFailed as error:
        outcomes.settle_row(desk.ledger, record, failed(error.fault, record.tries), "submit")
    else:
        took(desk, record, model, order, taken)


def took(desk: Desk, record: Record, model: Model, order: Order, taken: Taken) -> None:
    """What follows when a provider has a job."""
    strategy = model.default_strategy if order.webhook_url is not None or model.default_strategy != "webhook" else "polling"
    _log.info("[Generate] %s is %s at %s, waiting for %s", record.id, taken.ticket.provider_job_id, record.provider, strategy)
    outcome = settle("submitting", taken.seen, submits=record.tries, polls=99)
    if outcome is not None:
        # Its bytes first: an outcome holds addresses only.
        outcome = keep_bytes(desk.store, record.id, record.submits, outcome)
    waiting = moves.submitted(desk.ledger, record, taken, "polling" if outcome is None and strategy == "none" else strategy)
    if outcome is not None:
        outcomes.settle_row(desk.ledger, replace(record, stage="waiting") if waiting else record, outcome, "submit", word=taken.seen.word)
    elif waiting:
        apply_for(desk, record.id)


def _not_sent(desk: Desk, record: Record, error: NotSent) -> None:
    if record.poll_errors + 1 >= MOST_NOT_SENT or error.blame is not Blame.PASSING:
        outcomes.settle_row(desk.ledger, record, failed(error.fault, 99), "submit")
        return
    moves.not_sent(desk.ledger, record, str(error), pause_after(desk, record, error))


# ---- what an order holds ---------------------------------------------------------------------------------------------


def _known(desk: Desk, record: Record) -> tuple[Model | None, Provider | None]:
    model = desk.registry.get(record.model_id) if record.model_id is not None else None
    return model, desk.providers.get(model.provider) if model is not None else None


def _order(desk: Desk, record: Record, model: Model) -> tuple[Order, Calls]:
    with desk.ledger.database.reading() as connection:
        near = results_near(connection, record)
    params = filled(record.params, lambda marker: address_of(desk, near, marker, record.provider), near.__contains__)
    webhook = desk.webhook_url(record, record.submits) if "webhook" in model.strategies and model.default_strategy == "webhook" else None
    order = Order(record.id, record.submits, model, params, webhook, f"{record.id}-{record.attempt}-{record.submits}")
    return order, calls_of(desk, record)


def results_near(connection: Any, record: Record) -> dict[str, Mapping[str, Any]]:
    """Results of finished jobs that this one may name: of its own execution, and of those it is based on, nearest first."""
    found: dict[str, Mapping[str, Any]] = {}
    execution_id: str | None = record.execution_id
    for _ in range(20):
        if execution_id is None:
            break
        for each in records.of_execution(connection, execution_id, row.status == "completed"):
            if each.result is not None and each.workspace == record.workspace:
                found.setdefault(each.job_id, each.result)
        execution = records.find_execution(connection, execution_id)
        execution_id = execution.base_execution_id if execution is not None else None
    return found


def address_of(desk: Desk, near: Mapping[str, Mapping[str, Any]], marker: Marker, provider: str | None) -> str:
    """Where a provider can read what a marker stands for."""
    outputs = near[marker.job].get("outputs") or []
    fitting = [each for each in outputs if not marker.media or each.get("type") == marker.media]
    if marker.output >= len(fitting):
        kind = f" {marker.media}" if marker.media else ""
        told = f"{marker.job} has {len(fitting)}{kind} outputs, and number {marker.output} is wanted"
        raise CallFailed(told, blame=Blame.INPUT, code="DEPENDENCY_UNFIT")
    chosen = fitting[marker.output]
    return desk.shared_url(chosen["key"], provider) if chosen.get("key") else str(chosen["url"])


# ---- what a lost answer left open ------------------------------------------------------------------------------------


def confirm(desk: Desk, record: Record) -> None:
    """Ask the provider whether it has the job of a submit whose answer was lost. Never sends it again by itself."""
    try:
        _confirm(desk, record)
    except Exception as error:
        # A fault of ours, or of the store: the rows behind it are asked about all the same.
        _log.exception("asking about the lost submit of %s failed", record.id)
        _look_again(desk, record, desk.ledger.waits.ceiling_ms, f"{type(error).__name__}: {error}")


def _confirm(desk: Desk, record: Record) -> None:
    model, provider = _known(desk, record)
    if model is None or provider is None:
        outcomes.settle_row(desk.ledger, record, failed(UNCONFIRMED, 99), "sensor")
        return
    try:
        order, calls = _order(desk, record, model)
        taken = provider.find(calls, order, record.submitted_at or record.created_at)
    except NotSent as error:
        _look_again(desk, record, pause_after(desk, record, error), str(error))
    except CallFailed as error:
        told = replace(UNCONFIRMED, message=f"{UNCONFIRMED.message} ({error.message[:300]})")
        outcomes.settle_row(desk.ledger, record, failed(told, 99), "sensor")
    else:
        if taken is not None and _is_anothers(desk, record, taken):
            told = replace(UNCONFIRMED, message=f"{UNCONFIRMED.message} (it has one like it, which is another job's)")
            outcomes.settle_row(desk.ledger, record, failed(told, 99), "sensor")
        elif taken is not None:
            took(desk, record, model, order, taken)
        else:
            # It can tell, and has none: nothing was made, and nothing paid.
            lost = Fault(Blame.PASSING, "SUBMIT_LOST", "the provider never got it")
            outcomes.settle_row(desk.ledger, record, failed(lost, record.tries), "sensor")


def _is_anothers(desk: Desk, record: Record, taken: Taken) -> bool:
    """Whether what was found is the job of another row: two orders may be alike in all that a listing shows."""
    with desk.ledger.database.reading() as connection:
        same = row.provider_job_id == taken.ticket.provider_job_id
        return bool(records.where(connection, same, row.provider == record.provider, row.id != record.id, limit=1))


def _look_again(desk: Desk, record: Record, wait_ms: int, why: str) -> None:
    if record.poll_errors + 1 >= MOST_NOT_SENT:
        outcomes.settle_row(desk.ledger, record, failed(replace(UNCONFIRMED, message=f"{UNCONFIRMED.message} ({why[:300]})"), 99), "sensor")
        return
    with desk.ledger.database.writing() as connection:
        until = desk.ledger.now_ms() + wait_ms
        records.move(connection, record, ["unsure", "submitting"], {"lease_until": until, "poll_errors": record.poll_errors + 1})
