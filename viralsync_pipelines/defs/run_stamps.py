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
# Every status by name: the index begins with it.
_SINCE = sqlalchemy.bindparam("since", type_=_runs.update_timestamp.type)
_CHANGED = sqlalchemy.select(_runs.run_id, _runs.status, _runs.update_timestamp).where(
    _runs.status.in_([status.value for status in dg.DagsterRunStatus]), _runs.update_timestamp > _SINCE
)


class StampedRuns:
    """In front of one of Dagster's SQL storages of runs."""

    def stamps(self: Any, since_ms: int) -> dict[str, object]:
        """Runs that changed after that, each with what differs when it changes again."""
        since = datetime.fromtimestamp(since_ms / 1000, UTC).replace(tzinfo=None)
        with self.connect() as connection:
            return {row.run_id: (row.status, row.update_timestamp) for row in connection.execute(_CHANGED, {"since": since})}
