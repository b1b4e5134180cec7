"""Executions, models and generations as a terminal shows them.

What belongs here: tables and words. What does not: asking the API (executions.py), jobs (job_pictures.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from viralsync_pipelines.cli.words import age, clock, plain

if TYPE_CHECKING:
    from viralsync_pipelines.client import ExecutionJob, ExecutionView, Generation, ModelView

_STYLES = {
    "pending": "dim", "queued": "dim", "processing": "yellow", "running": "yellow", "waiting": "yellow", "completed": "green",
    "done": "green", "failed": "red", "cancelled": "magenta",
}  # fmt: skip
_STAGES = {"ready": "to be submitted", "unsure": "to be found again", "settled": "to be fetched", "collecting": "being fetched"}


# What is of a known length is never cut off; names and prompts give way on a narrow terminal.
_WIDTHS = {"type": 12, "status": 9, "time": 5, "took": 5, "cost": 6, "provider": 10, "end by": 7, "price": 14, "key": 7, "operation": 13}


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in names:
        least = 16 if name == "job" and "prompt" in names else _WIDTHS.get(name)
        table.add_column(name, no_wrap=True, overflow="ellipsis", min_width=least)
    return table


def show_execution(execution: ExecutionView, now: datetime) -> None:
    """Each job with what it waits for, what it made, and why it failed."""
    console = Console(highlight=False)
    console.print(Text.assemble(execution.id, "  ", (execution.status, _STYLES.get(execution.status, "none"))), soft_wrap=True)
    table = _table("job", "operation", "status", "model", "waits", "took", "cost")
    for job in execution.jobs:
        cost = f"${job.cost_usd:.4g}" if job.cost_usd is not None else ""
        table.add_row(
            plain(job.id), job.operation, Text(job.status, _STYLES.get(job.status, "none")), plain(job.model or ""), waits_of(job, now),
            took_by(job, now), cost,
        )  # fmt: skip
    console.print(table)
    for job in execution.jobs:
        for each in (job.result or {}).get("outputs") or ():
            console.print(Text.assemble((f"{plain(job.id)}  ", "dim"), plain(str(each.get("url", "")))), soft_wrap=True)
        if job.error is not None and job.status != "completed":
            _show_failure(console, job.id, job.error, job.hint)


def waits_of(job: ExecutionJob, now: datetime) -> str:
    """What it stands and waits for."""
    if job.stage == "blocked":
        return "for " + ", ".join(map(plain, job.depends_on))
    if job.stage == "waiting":
        told = f"at {job.provider}: {plain(job.provider_status or '')}".rstrip(": ")
        if job.waits_for == "webhook":
            return f"{told}, for a webhook"
        again = f", again in {age((job.next_poll_at - now).total_seconds())}" if job.next_poll_at is not None else ""
        return f"{told}, asked {job.polls} times{again}"
    return _STAGES.get(job.stage, "")


def took_by(job: ExecutionJob, now: datetime) -> str:
    if job.started_at is None:
        return ""
    return clock(max(0.0, ((job.completed_at or now) - job.started_at).total_seconds()))


def show_models(models: Sequence[ModelView]) -> None:
    console = Console(highlight=False)
    if not models:
        console.print("No models; --type takes image, video, talking_head, audio or voice.")
        return
    table = _table("model", "type", "provider", "end by", "price", "key")
    for each in models:
        table.add_row(
            plain(each.id), each.type.removeprefix("generate."), each.provider, each.strategies[0] if each.strategies else "",
            price_of(each.price), Text("yes", "green") if each.available else Text("missing", "dim"),
        )  # fmt: skip
    console.print(table)


def price_of(price: Mapping[str, Any] | None) -> str:
    if price is None:
        return ""
    per = {"kilochar": "1,000 characters"}.get(price.get("per", ""), price.get("per", ""))
    return f"${price.get('usd', 0):g} a {per}" if per != "output" else f"${price.get('usd', 0):g} an output"


def show_generations(generations: Sequence[Generation]) -> None:
    console = Console(highlight=False)
    if not generations:
        console.print("No generations; `viralsync execute plan.json` makes some.")
        return
    table = _table("job", "type", "status", "time", "model", "prompt")
    for each in generations:
        status = Text(each.status, _STYLES.get(each.status, "none"))
        kind, seconds = each.type.removeprefix("generate."), clock(each.elapsed_ms / 1000)
        table.add_row(each.id, kind, status, seconds, plain(each.model or ""), plain(each.title))
    console.print(table)
    for each in generations:
        if each.download_url is not None:
            console.print(Text.assemble((f"{each.id}  ", "dim"), plain(each.download_url)), soft_wrap=True)
        elif each.error is not None:
            _show_failure(console, each.id, each.error, each.hint)


def _show_failure(console: Console, name: str, error: str, hint: str | None) -> None:
    """Why it failed, in one line, and below it what to do when that is not said there."""
    console.print(Text.assemble((f"{plain(name)}  ", "dim"), (plain(error.partition("\n")[0]), "red")), soft_wrap=True)
    if hint is not None and hint not in error:
        console.print(Text(f"{'':{len(name) + 2}}{plain(hint)}", "dim"), soft_wrap=True)
