"""Render plans in the store: written once, never changed, known by the hash of their bytes.

What belongs here: that promise. What a plan contains is movie/'s business; here it is bytes.
"""

from __future__ import annotations

import hashlib

from viralsync_pipelines.errors import StoreError
from viralsync_pipelines.storage.keys import attempt_plan_key, plan_key
from viralsync_pipelines.storage.store import Store


def plan_hash(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def write_plan(store: Store, job_id: str, data: bytes) -> str:
    """Write the plan of a job once and return its hash, `sha256:<hex>`.

    Writing the same bytes again is fine (a retried step does). Other bytes are StoreError PLAN_IMMUTABLE: clips and
    receipts may already refer to the first ones.
    """
    key = plan_key(job_id)
    if not store.put_if_absent(key, data, content_type="application/json"):
        there = store.get_bytes(key)
        if there != data:
            raise StoreError(
                f"{key} is already written as {plan_hash(there)} and a plan never changes; "
                f"{plan_hash(data)} needs a new job id.",
                code="PLAN_IMMUTABLE",
            )
    return plan_hash(data)


def keep_plan(store: Store, job_id: str, data: bytes) -> str:
    """Write the plan of one of a job's attempts and return its key. The first attempt's is the job's plan; a later one that differs
    (other variables, a source that changed) lies beside it under its content, so that neither ever changes."""
    try:
        write_plan(store, job_id, data)
    except StoreError as error:
        if error.code != "PLAN_IMMUTABLE":
            raise
        other = attempt_plan_key(job_id, hashlib.sha256(data).hexdigest())
        store.put_if_absent(other, data, content_type="application/json")
        return other
    return plan_key(job_id)


def read_plan(store: Store, job_id: str, expected: str | None = None) -> bytes:
    """The plan's bytes. With `expected` (`sha256:<hex>`) they must be those: otherwise StoreError PLAN_CHANGED.

    Raises ObjectMissing when the job has no plan.
    """
    data = store.get_bytes(plan_key(job_id))
    if expected is not None and plan_hash(data) != expected:
        raise StoreError(
            f"{plan_key(job_id)} holds {plan_hash(data)}, not {expected}: somebody changed it behind the store's back. "
            "Start the movie again under a new job id.",
            code="PLAN_CHANGED",
        )
    return data
