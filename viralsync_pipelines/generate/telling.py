"""Who is told what happens to the ledger's jobs, inside its transactions: the log that Jobs are folded from.

What belongs here: the protocol. What does not: that log (board/ledger_jobs.py keeps it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from viralsync_pipelines.jobs.ledger_rules import Note, Opening

Committed = Callable[[], None]
"""To be called when the transaction is committed."""


class Telling(Protocol):
    """Families of jobs: an execution and its jobs."""

    def open(
        self, connection: Connection, root: Opening, children: Sequence[Opening], *, workspace: str, project_id: str | None = None,
        channel: str | None = None, callback_url: str | None = None, callbacks: Mapping[str, str] | None = None,
    ) -> Committed: ...  # fmt: skip

    def lock(self, connection: Connection, root_id: str) -> bool:
        """Have an execution to oneself until the transaction ends; False when it was deleted."""

    def note(self, connection: Connection, root_id: str, notes: Sequence[Note]) -> Committed: ...
