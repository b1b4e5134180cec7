"""Replicate's JSON: a prediction, a page of them, and the errors. Pure.

What belongs here: names and shapes of the wire. What does not: routes (server.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from viralsync_pipelines.sandbox.ledger import PAGE, Prediction
from viralsync_pipelines.sandbox.models import MODELS

EVENTS = ("start", "output", "logs", "completed")


def prediction_json(made: Prediction) -> dict[str, Any]:
    """The object that a submit, a poll and a webhook give."""
    own = f"{made.base}/v1/predictions/{made.id}"
    metrics: dict[str, float] = {}
    if made.finished_ms is not None:
        metrics["total_time"] = (made.finished_ms - made.created_ms) / 1000
        if made.started_ms is not None:
            metrics["predict_time"] = (made.finished_ms - made.started_ms) / 1000
    return {
        "id": made.id, "model": made.model, "version": "hidden", "input": dict(made.input), "logs": made.logs, "output": _output(made),
        "data_removed": made.removed, "error": made.error, "source": "api", "status": made.status, "created_at": moment(made.created_ms),
        "started_at": moment(made.started_ms), "completed_at": moment(made.finished_ms), "metrics": metrics,
        "urls": {"cancel": f"{own}/cancel", "get": own, "web": own},
    }  # fmt: skip


def _output(made: Prediction) -> str | list[str] | None:
    """Addresses: a list from pictures, one from the others, as models there differ too."""
    addresses = [file_address(made, name) for name in made.outputs]
    if not addresses:
        return None
    return addresses if MODELS[made.model].makes == "image" else addresses[0]


def file_address(made: Prediction, name: str) -> str:
    fresh = f"?fresh={made.renewed}" if made.renewed else ""
    return f"{made.base}/v1/files/{made.id}/{name}{fresh}"


def page_json(found: Sequence[Prediction], base: str, query: Mapping[str, str]) -> dict[str, Any]:
    """A page, the newest first. `next` keeps the bounds of the query."""
    from urllib.parse import urlencode

    shown = found[:PAGE]
    onward = None
    if len(found) > PAGE:
        onward = f"{base}/v1/predictions?{urlencode({**query, 'cursor': str(shown[-1].number)})}"
    return {"previous": None, "next": onward, "results": [prediction_json(each) for each in shown]}


def problem(status: int, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """RFC 7807, as far as Replicate speaks it."""
    return {"title": title, "detail": detail, "status": status, **more}


def invalid(faults: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """422 with every fault."""
    return problem(
        422, "Input validation failed", "".join(f"- {place}: {said}\n" for place, said in faults),
        invalid_fields=[{"field": place, "description": said} for place, said in faults],
    )  # fmt: skip


def moment(ms: int | None) -> str | None:
    return None if ms is None else datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def moment_ms(text: str) -> int:
    """Raises ValueError for what is no date and time."""
    read = datetime.fromisoformat(text)
    return int((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
