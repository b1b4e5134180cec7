"""Which runs have changed lately, without reading them: Dagster parses every run that it finds, 0.2 ms each.

What belongs here: the query. What does not: what becomes of it (orchestrator/runs.py). One of the modules that import from
`dagster._core`: storage classes have no public path.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.storage.runs.schema import RunsTable

_runs = RunsTable.c
_ENDED = [dg.DagsterRunStatus.SUCCESS.value, dg.DagsterRunStatus.FAILURE.value, dg.DagsterRunStatus.CANCELED.value]
_SINCE = sqlalchemy.bindparam("since", type_=_runs.update_timestamp.type)
# Each part by an index: that over changes begins with the status. New ones by their number and those at work by their status, for
# clocks are set back.
_PARTS = (
    _runs.status.in_([status.value for status in dg.DagsterRunStatus if status.value not in _ENDED]),
    _runs.status.in_(_ENDED) & (_runs.update_timestamp > _SINCE),
    _runs.id > sqlalchemy.bindparam("after"),
)
_CHANGED = sqlalchemy.union_all(*(sqlalchemy.select(_runs.run_id, _runs.status, _runs.update_timestamp).where(part) for part in _PARTS))


class StampedRuns:
    """In front of one of Dagster's SQL storages of runs."""

    def stamps(self: Any, since_ms: int, after: int) -> dict[str, tuple[str, object]]:
        """Runs that changed after that time, are at work, or have a number above `after`: of each its status first, and what differs
        when it changes again."""
        since = datetime.fromtimestamp(since_ms / 1000, UTC).replace(tzinfo=None)
        with self.connect() as connection:
            found = connection.execute(_CHANGED, {"since": since, "after": after})
            return {row.run_id: (row.status, row.update_timestamp) for row in found}
