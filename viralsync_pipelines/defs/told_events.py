"""Reading only those events of a run that say something to whoever asks: most of Dagster's are its own book-keeping.

What belongs here: the query. What does not: which kinds say something (orchestrator/events.py), where events are kept (home_sqlite.py,
home_postgres.py). One of the modules that import from `dagster._core`: storage classes have no public path.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import cache
from typing import Any

import dagster as dg
import sqlalchemy
from dagster._core.event_api import EventLogCursor
from dagster._core.storage.event_log import SqlEventLogStorageTable
from dagster._serdes import deserialize_value

_table = SqlEventLogStorageTable.c


class ToldEvents:
    """In front of one of Dagster's SQL storages of events."""

    def told(
        self: Any, run_id: str, cursor: str | None, kinds: Collection[dg.DagsterEventType], limit: int
    ) -> tuple[list[dg.EventLogEntry], str | None, bool]:
        """Entries after `cursor` that are of these kinds, or lines that steps logged, with a new cursor, and whether there are more.

        A finished film of three scenes has 152 events, 57 of them told: 9 ms to read instead of 27, nearly all of it Dagster's parsing.
        """
        after = EventLogCursor.parse(cursor).storage_id() if cursor is not None else -1
        with self.run_connection(run_id) as connection:
            rows = connection.execute(_query(frozenset(kinds)), {"run": run_id, "after": after, "most": limit}).fetchall()
        if not rows:
            return [], cursor, False
        entries = [deserialize_value(row.event, dg.EventLogEntry) for row in rows]
        return entries, EventLogCursor.from_storage_id(rows[-1].id).to_string(), len(rows) == limit


@cache
def _query(kinds: frozenset[dg.DagsterEventType]) -> Any:
    # Lines have no type.
    told = sqlalchemy.or_(_table.dagster_event_type.in_(sorted(kind.value for kind in kinds)), _table.dagster_event_type.is_(None))
    mine = (_table.run_id == sqlalchemy.bindparam("run")) & (_table.id > sqlalchemy.bindparam("after", type_=sqlalchemy.BigInteger()))
    most = sqlalchemy.bindparam("most", type_=sqlalchemy.Integer())
    return sqlalchemy.select(_table.id, _table.event).where(mine, told).order_by(_table.id).limit(most)
