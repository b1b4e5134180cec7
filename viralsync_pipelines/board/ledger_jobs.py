"""Jobs that a provider does for us, as reported jobs whose reporter is the ledger: their events are committed with the ledger's rows.

What belongs here: opening such a family and adding to its log, inside the ledger's transactions. What does not: the ledger (generate/),
what the events mean (jobs/ledger_rules.py). The family's root is locked first, so that whatever moves rows of one execution has its turn.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.board.report_folds import event_of
from viralsync_pipelines.board.report_rows import DAY_MS, NewJob, event_row
from viralsync_pipelines.jobs.ledger_rules import Note, Opening
from viralsync_pipelines.jobs.reported_moves import refusal
from viralsync_pipelines.storage import reports

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from viralsync_pipelines.board.reported import ReportedJobs

# Kept until somebody clears them; the reaper of reported jobs has its own, shorter times.
_KEPT_MS = 3_650 * DAY_MS


class LedgerJobs:
    """generate.telling.Telling over reported jobs."""

    def __init__(self, reported: ReportedJobs, now_ms: Callable[[], int]) -> None:
        self._reported, self._now_ms = reported, now_ms

    def open(
        self, connection: Connection, root: Opening, children: Sequence[Opening], *, workspace: str, project_id: str | None = None,
        channel: str | None = None, callback_url: str | None = None, callbacks: Mapping[str, str] | None = None,
    ) -> Callable[[], None]:  # fmt: skip
        """A family of a ledger's jobs; to be called back when it is committed. callbacks: of single children, by id."""
        common: dict[str, Any] = {"workspace": workspace, "ttl_ms": _KEPT_MS}
        new = NewJob(
            root.id, type=root.type, title=root.title, about=root.about, project_id=project_id, channel=channel, callback_url=callback_url,
            child_count=len(children), on_child_failure="finish", **common,
        )  # fmt: skip
        family = [
            NewJob(
                child.id, type=child.type, title=child.title, about=child.about, parent_id=root.id, index=number,
                callback_url=(callbacks or {}).get(child.id), **common,
            )
            for number, child in enumerate(children)
        ]  # fmt: skip
        folded = self._reported.create_in(connection, new, family, self._now_ms())
        if folded is None:
            return lambda: None
        return lambda: self._reported.folds.keep(root.id, folded)

    def lock(self, connection: Connection, root_id: str) -> bool:
        """Have the family to oneself until the transaction ends; False when it was deleted."""
        return reports.lock_root(connection, root_id) is not None

    def note(self, connection: Connection, root_id: str, notes: Sequence[Note]) -> Callable[[], None]:
        """Add what happened, leaving out what may not happen (any more); to be called back when it is committed."""
        root = reports.lock_root(connection, root_id)
        if root is None or not notes:
            return lambda: None
        folded = self._reported.folds.at(connection, root)
        now = self._now_ms()
        for note in notes:
            family = folded.family
            child = family.children.get(note.job_id)
            at = max(now, family.job.updated_ms, child.updated_ms if child is not None else 0)
            row = event_row(root_id, folded.seq + 1, note.job_id, note.kind, at, note.data)
            if refusal(family, event_of(row)) is None:
                folded = self._reported.append_in(connection, root, folded, row)
        return lambda: self._reported.folds.keep(root_id, folded)
