"""Jobs as a terminal shows them: a list, one job with all there is to know, one line of news.

What belongs here: rich and words. What does not: asking the API (jobs.py), live bars (job_watch.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from viralsync_pipelines.cli.words import age, plain

if TYPE_CHECKING:
    from viralsync_pipelines.client import JobView

_STYLES = {"queued": "dim", "running": "yellow", "waiting": "yellow", "done": "green", "failed": "red", "cancelled": "magenta"}
_BAR = 14


def style_of(job: JobView) -> str:
    return _STYLES.get(job.status.value, "none")


def name_of(job: JobView) -> str:
    """What people call it: its title, or for a part of a film which part it is."""
    if job.title:
        return plain(job.title)
    part = job.type.partition(".")[2] or job.type
    return f"{part} {job.child_index + 1}" if job.child_index is not None and job.type in {"render.scene", "speech.line"} else part


def bar(job: JobView, width: int = _BAR) -> ProgressBar:
    style = style_of(job)
    return ProgressBar(total=1.0, completed=job.progress, width=width, complete_style=style, finished_style=style)


def whereabouts(job: JobView) -> str:
    """Where it is: its place in the queue, or its phase and stage."""
    if job.status.value == "queued":
        if job.queue is None:
            return ""
        return f"number {job.queue.position}" + (f" of {job.queue.total}" if job.queue.total is not None else "")
    if job.terminal:
        return ""
    words = [job.phase or ""]
    if job.stage is not None and job.stage.name not in words:
        words.append(f"{plain(job.stage.name)} {job.stage.current}/{job.stage.total}")
    return " · ".join(word for word in words if word)


def left_of(job: JobView, now: datetime) -> str:
    """How long it still takes."""
    at = job.estimated_completion_at or (job.eta.at if job.eta is not None else None)
    if job.terminal or at is None:
        return ""
    if job.eta is not None and job.eta.longer_than_usual:
        return "longer than usual"
    seconds = (at - now).total_seconds()
    return f"about {age(seconds)} left" if seconds >= 1 else "any moment"


def children_of(job: JobView) -> str:
    """Its parts by what became of them."""
    if job.children is None or not job.children.total:
        return ""
    told = [f"{job.children.succeeded}/{job.children.total}"]
    told += [f"{number} {what}" for what in ("running", "failed", "cancelled") if (number := getattr(job.children, what))]
    return ", ".join(told)


def message_of(job: JobView) -> str:
    """What it says of itself, or why it failed, in one line; nothing that its status says already."""
    told = plain((job.error or job.message).partition("\n")[0])
    return "" if told.casefold() == job.status.value else told


def seconds_since(moment: datetime | None, now: datetime) -> float:
    return 0.0 if moment is None else (now - moment).total_seconds()


def show_jobs(jobs: Sequence[JobView], now: datetime, *, more: bool) -> None:
    """Jobs as a table. more: there are older ones that were not asked for."""
    console = Console(highlight=False)
    if not jobs:
        console.print("No jobs; `viralsync jobs submit movie.json` makes one.")
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("job", "type", "status", "phase"):
        table.add_column(name, no_wrap=True)
    table.add_column("progress", no_wrap=True, min_width=_BAR)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("title", no_wrap=True, overflow="ellipsis", ratio=1)
    for job in jobs:
        table.add_row(
            job.id, job.type, Text(job.status.value, style_of(job)), whereabouts(job), bar(job), f"{job.progress:.0%}",
            age(seconds_since(job.created_at, now)), name_of(job) if job.title else "",
        )  # fmt: skip
    console.print(table)
    if more:
        console.print("[dim]There are older ones; --limit shows more of them.[/dim]")


def show_job(job: JobView, children: Sequence[JobView], now: datetime) -> None:
    """Everything about one job."""
    console = Console(highlight=False)
    console.print(Text.assemble((name_of(job), "bold"), f"  {job.id}  {job.type}"), soft_wrap=True)
    console.print(facts_of(job, now))
    for line in error_of(job):
        console.print(line, soft_wrap=True)
    if children:
        console.print(Text("children", "dim"))
        console.print(_children(children))
    if len(job.attempts) > 1:
        console.print(Text("attempts", "dim"))
        console.print(_attempts(job, now))
    for name in ("self", "parent", "dagster"):
        address = job.links.get(name)
        if address:
            console.print(Text.assemble((f"{name:<9}", "dim"), plain(address)), soft_wrap=True)


def facts_of(job: JobView, now: datetime) -> Table:
    """What is known of it, a line each; what is not known is left out."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    started = job.started_at or job.created_at
    took = seconds_since(started, job.finished_at or now)
    media = job.media or {}
    size = f"{media.get('width')}x{media.get('height')}, " if media.get("width") else ""
    rows = (
        ("status", Text.assemble((job.status.value, style_of(job)), f"  {whereabouts(job)}".rstrip())),
        ("progress", f"{job.progress:.0%}  {left_of(job, now)}".rstrip()),
        ("children", children_of(job)),
        ("message", message_of(job) if job.error is None else ""),
        ("attempt", str(job.attempt) if job.attempt > 1 else ""),
        ("retry at", f"in {age((job.retry_at - now).total_seconds())}" if job.retry_at is not None else ""),
        ("cancel", "asked for" if job.cancel_requested_at is not None and not job.terminal else ""),
        ("created", f"{age(seconds_since(job.created_at, now))} ago"),
        ("took" if job.terminal else "running", age(took) if job.started_at is not None else ""),
        ("film", f"{size}{media.get('duration', 0):g} s" if media else ""),
        ("output", plain(job.output_url or "")),
    )
    for name, value in rows:
        if value:
            table.add_row(name, value)
    return table


def error_of(job: JobView) -> list[Text]:
    """Why it failed, every line of it."""
    return [Text(plain(line), "red") for line in (job.error or "").splitlines()]


def _children(children: Sequence[JobView]) -> Table:
    table = Table.grid(padding=(0, 2))
    for child in children:
        status = Text(child.status.value, style_of(child))
        told = Text(message_of(child), "red" if child.status.value == "failed" else "dim", overflow="ellipsis")
        table.add_row(f"  {name_of(child)}", status, bar(child), f"{child.progress:.0%}", child.id, told)
    return table


def _attempts(job: JobView, now: datetime) -> Table:
    table = Table.grid(padding=(0, 2))
    for attempt in job.attempts:
        took = age(seconds_since(attempt.started_at, attempt.finished_at or now)) if attempt.started_at is not None else ""
        told = Text(plain((attempt.error or "").partition("\n")[0]), "red", overflow="ellipsis")
        table.add_row(f"  {attempt.number}", Text(attempt.status.value, _STYLES.get(attempt.status.value, "none")), took, told)
    return table


def line_of(job: JobView, now: datetime) -> str:
    """One line of news, for logs and pipes."""
    parts = (
        job.id, job.status.value, f"{job.progress:.0%}", whereabouts(job), children_of(job), left_of(job, now), message_of(job),
    )  # fmt: skip
    return "  ".join(part for part in parts if part)
