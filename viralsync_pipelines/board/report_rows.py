"""A new reported job as the row it is found by and the event it begins with.

What belongs here: putting these together. What does not: whether it may be made (reported.py), what the wire calls things (gateway/).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from viralsync_pipelines.jobs import reported_moves as moves
from viralsync_pipelines.jobs.model import Status
from viralsync_pipelines.storage.reports import ReportedRow, ReportRow

DAY_MS = 86_400_000


@dataclass(frozen=True)
class NewJob:
    """A job as it is reported first. child_count: of a parent. parent_id, index, weight: of a child. about: goes into its payload.

    shown: queue, stage, estimatedMs, as in jobs/reported_rules.py.
    """

    id: str
    workspace: str
    type: str
    title: str
    user_id: str = ""
    project_id: str | None = None
    channel: str | None = None
    callback_url: str | None = None
    about: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[str, Any] = field(default_factory=dict)
    ttl_ms: int = 30 * DAY_MS
    child_count: int = 0
    mode: str = "average"
    on_child_failure: str = "fail"
    parent_id: str | None = None
    index: int = 0
    weight: int = 1


def row_of(new: NewJob, root: NewJob | ReportedRow, now_ms: int) -> ReportedRow:
    """Its row. root: the family's, which is `new` itself for a job of no parent; a child takes project, channel and end of life from it."""
    expires_ms = now_ms + root.ttl_ms if isinstance(root, NewJob) else root.expires_ms
    return ReportedRow(
        new.id, new.workspace, root.id, None if new.id == root.id else root.id, new.index, new.type, new.user_id,
        new.project_id or root.project_id, new.channel or root.channel, new.callback_url, Status.QUEUED.value, 1, now_ms, expires_ms,
    )  # fmt: skip


def first_event(new: NewJob, row: ReportedRow, seq: int = 1) -> ReportRow:
    """What is reported with it: report.created, or report.child_created."""
    payload = {"projectId": row.project_id, "channel": row.channel, "userId": row.user_id, **new.about}
    told = {"type": row.type, "title": new.title, "payload": {k: v for k, v in payload.items() if v is not None}, **new.shown}
    if row.parent_id is not None:
        told |= {"index": new.index, "weight": new.weight}
        return event_row(row.root_id, seq, row.id, moves.CHILD_CREATED, row.created_ms, told)
    told |= {"job": row.id, "workspace": row.workspace, "expiresMs": row.expires_ms}
    if new.child_count:
        told |= {"childCount": new.child_count, "childProgressMode": new.mode, "onChildFailure": new.on_child_failure}
    return event_row(row.id, seq, row.id, moves.CREATED, row.created_ms, told)


def event_row(root_id: str, seq: int, job_id: str, kind: str, at_ms: int, data: Mapping[str, Any]) -> ReportRow:
    return ReportRow(root_id, seq, job_id, kind, at_ms, json.dumps(data, separators=(",", ":")))
