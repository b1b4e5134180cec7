"""Rows that a run holds, and what becomes of them when it is gone: another run may have them at once, not when their time is over.

What belongs here: reading and freeing them. What does not: which runs are gone (defs/generating.py asks Dagster).
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select

from viralsync_pipelines.generate import ledger as moves
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.records import Record, row
from viralsync_pipelines.generate.submit import UNSURE_MS

_HELD = ("ready", "submitting", "settled", "collecting")


def held(desk: Desk) -> set[str]:
    """Batches under which somebody has rows."""
    going = select(row.batch).where(row.stage.in_(_HELD), row.batch.is_not(None), row.lease_until > desk.ledger.now_ms())
    with desk.ledger.database.reading() as connection:
        return {each for each in connection.execute(going.distinct()).scalars() if each is not None}


def let_go_of(desk: Desk, batches: Collection[str]) -> int:
    """The runs of these batches are over, and do nothing more: what they leave is free. How many rows."""
    if not batches:
        return 0
    with desk.ledger.database.reading() as connection:
        rows = records.where(connection, row.batch.in_(sorted(batches)), row.stage.in_(_HELD))
    for record in rows:
        if record.stage == "submitting":
            # Whether the provider was asked is not known. A webhook may tell, and then the provider can.
            moves.unsure(desk.ledger, record, "the run that gave it to the provider was ended", desk.ledger.now_ms() + UNSURE_MS)
        else:
            _free(desk, record)
    return len(rows)


def let_go(desk: Desk) -> int:
    """Rows that a run has been collecting for longer than it takes, whatever became of it. How many."""
    late = row.stage == "collecting", row.lease_until <= desk.ledger.now_ms()
    with desk.ledger.database.reading() as connection:
        rows = records.where(connection, *late)
    for record in rows:
        _free(desk, record)
    return len(rows)


def _free(desk: Desk, record: Record) -> None:
    """Ready or settled as it was, and nobody's."""
    stage = "settled" if record.stage == "collecting" else record.stage
    with desk.ledger.moving(record.execution_id) as move:
        freed = {"stage": stage, "batch": None, "lease_until": None}
        if records.move(move.connection, record, [record.stage], freed) and stage != record.stage:
            records.mark(move.connection, record, stage, "sensor", move.now_ms, "the run that fetched it was ended")
