"""Values out of a report, whatever was put into it: each is of its type, or not there.

What belongs here: taking single values apart. What does not: what they mean to a job (reported_rules.py).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.jobs.model import Stage

# Beyond any time or count; larger integers cannot be kept by a database.
_LARGEST = 2**53


def text(value: object) -> str:
    return value if isinstance(value, str) else ""


def whole(value: object) -> int | None:
    """An integer; not a truth value."""
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST else None


def number(value: object) -> float | None:
    """A finite number; not a truth value."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return float(max(-_LARGEST, min(_LARGEST, value)))


def mapping(value: object) -> dict[str, Any] | None:
    return {str(name): each for name, each in value.items()} if isinstance(value, Mapping) else None


def queue_of(value: object) -> dict[str, Any] | None:
    """position, total, queueName as reported; None without a position."""
    told = mapping(value) or {}
    position = whole(told.get("position"))
    if position is None:
        return None
    return {"position": position, "total": whole(told.get("total")), "queueName": text(told.get("queueName")) or None}


def stage_of(value: object) -> Stage | None:
    """name, current, total and description as reported; None without the first three."""
    told = mapping(value) or {}
    name, current, total = text(told.get("name")), whole(told.get("current")), whole(told.get("total"))
    if not name or current is None or total is None:
        return None
    return Stage(name, current, total, text(told.get("description")))
