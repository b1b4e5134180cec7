"""A ledger with thousands of jobs that wait at a provider, as they are after their submits.

What belongs here: filling it. What does not: what is measured over it.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from sqlalchemy import bindparam, text, update

from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.ledger import Order, open_execution
from viralsync_pipelines.generate.plans import read_plan
from viralsync_pipelines.generate.records import row
from viralsync_pipelines.storage.ledger_tables import execution_jobs

OF_A_PLAN = 50
FAR_MS = 3_600_000


def fill(desk: Desk, count: int, *, strategy: str = "polling", ahead: str = "busy") -> list[str]:
    """So many jobs in executions of fifty, all of them waiting and none of them due. Their ids. ahead: how the provider's ids begin."""
    ids: list[str] = []
    for _ in range(0, count, OF_A_PLAN):
        model = "sandbox/image" if strategy == "polling" else "sandbox/video"
        operation = "generateImage" if strategy == "polling" else "generate"
        jobs = [{"id": f"j{n}", "operation": operation, "params": {"modelId": model, "prompt": f"{n}"}} for n in range(OF_A_PLAN)]
        plan = read_plan({"jobs": jobs}, desk.registry)
        order = Order("job_" + secrets.token_hex(6), {job.id: "job_" + secrets.token_hex(6) for job in plan.jobs}, "default", plan)
        open_execution(desk.ledger, order)
        ids += order.ids.values()
    now = desk.ledger.now_ms()
    waiting = update(execution_jobs).where(row.id == bindparam("record")).values(
        stage="waiting", status="processing", submits=1, tries=1, provider_job_id=bindparam("theirs"), provider_job_status="processing",
        waiting_strategy=strategy, next_poll_at=now + FAR_MS, started_at=now, submitted_at=now,
    )  # fmt: skip
    with desk.ledger.database.writing() as connection:
        connection.execute(waiting, [{"record": each, "theirs": f"{ahead}-{each}"} for each in ids])
    settle_tables(desk)
    return ids


def settle_tables(desk: Desk) -> None:
    """What a database does by itself after a while."""
    engine = desk.ledger.database.engine
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE" if engine.name == "postgresql" else "ANALYZE"))


def make_due(desk: Desk, ids: Sequence[str], *, done: int = 0) -> None:
    """These are due now; so many of them have ended at the provider."""
    now = desk.ledger.now_ms()
    due = update(execution_jobs).where(row.id == bindparam("record"), row.stage == "waiting")
    with desk.ledger.database.writing() as connection:
        connection.execute(due.values(next_poll_at=now - 1, provider_job_id=bindparam("theirs")),
                           [{"record": each, "theirs": f"{'done' if place < done else 'busy'}-{each}"} for place, each in enumerate(ids)])  # fmt: skip
