"""One job as it goes on: bars where there is a terminal, a line for each change where there is none, JSON for programs.

What belongs here: what is shown while a job is followed. What does not: the stream (client/), exit codes (jobs.py).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from viralsync_pipelines.cli.job_pictures import bar, children_of, error_of, left_of, line_of, message_of, name_of, style_of, whereabouts
from viralsync_pipelines.cli.words import age, plain

if TYPE_CHECKING:
    from viralsync_pipelines.client import Client, Event, JobView, OutputLine

Now = Callable[[], datetime]
_ORDER = {"running": 0, "failed": 1, "cancelled": 2, "waiting": 3, "queued": 4, "done": 5}


def watch(client: Client, job: JobView, *, as_json: bool, output: bool, now: Now) -> JobView | None:
    """Follow a job to its end and show how it goes on; the job as it ended, or None when Ctrl-C ended the watching."""
    from viralsync_pipelines.client import Event

    screen: Screen = JsonLines() if as_json else Bars(now) if sys.stdout.isatty() else Lines(now)
    try:
        with screen:
            page = client.output(job.id) if output else None
            for line in page.lines if page is not None else ():
                screen.line(line)
            begun = False
            for each in client.follow(job.id, output=True, output_cursor=page.cursor) if page is not None else client.follow(job.id):
                if not isinstance(each, Event):
                    screen.line(each)
                    continue
                if each.job.id == job.id:
                    job = each.job
                if not begun:
                    # Read after the snapshot: what changes from here on is among the events.
                    screen.begin(job, client.children(job.id) if job.children is not None else ())
                    begun = True
                screen.event(each)
    except KeyboardInterrupt:
        return None
    return job if job.terminal else client.get(job.id)


class Screen(Protocol):
    """Whatever shows how a job goes on. A context manager."""

    def __enter__(self) -> Screen: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...

    def begin(self, job: JobView, children: Sequence[JobView]) -> None: ...

    def event(self, event: Event) -> None: ...

    def line(self, line: OutputLine) -> None: ...


class JsonLines:
    """Every event as one line of JSON, as it came."""

    def __enter__(self) -> JsonLines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def begin(self, job: JobView, children: Sequence[JobView]) -> None:
        pass

    def event(self, event: Event) -> None:
        print(json.dumps({"sequence": event.sequence, "name": event.name, "job": dict(event.job.raw)}), flush=True)

    def line(self, line: OutputLine) -> None:
        told = {"jobId": line.job_id, "step": line.step, "stream": line.stream, "text": line.text}
        print(json.dumps({"sequence": None, "name": "output", "output": told}), flush=True)


class Lines:
    """A line whenever something changes that a reader of a log wants to know: not each per cent."""

    def __init__(self, now: Now) -> None:
        self._now = now
        self._told: dict[str, Any] = {}
        self._root = ""

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        pass

    def begin(self, job: JobView, children: Sequence[JobView]) -> None:
        self._root = job.id
        # What has ended already is no news.
        self._told = {child.id: self._gist(child) for child in children}

    def event(self, event: Event) -> None:
        job = event.job
        gist = self._gist(job)
        if self._told.get(job.id) == gist or (job.id != self._root and not job.terminal):
            return
        self._told[job.id] = gist
        now = self._now()
        print(f"{now.astimezone():%H:%M:%S}  {line_of(job, now)}", flush=True)

    def line(self, line: OutputLine) -> None:
        print(f"{plain(line.step)}: {plain(line.text)}", flush=True)

    @staticmethod
    def _gist(job: JobView) -> tuple[Any, ...]:
        return job.attempt, job.status, whereabouts(job), job.children, int(job.progress * 10), job.message


class Bars:
    """Bars for the job and its children, drawn in a thread of their own."""

    def __init__(self, now: Now, console: Console | None = None) -> None:
        self._now = now
        self._console = console or Console(highlight=False)
        self._job: JobView | None = None
        self._children: dict[str, JobView] = {}
        self._spinner = Spinner("dots")
        self._live = Live(console=self._console, get_renderable=self.picture, refresh_per_second=8)

    def __enter__(self) -> Bars:
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._live.stop()

    def begin(self, job: JobView, children: Sequence[JobView]) -> None:
        self._job, self._children = job, {child.id: child for child in children}

    def event(self, event: Event) -> None:
        job = event.job
        if self._job is None or job.id == self._job.id:
            self._job = job
        elif job.sequence >= self._children.get(job.id, job).sequence:
            # Another dict: this one may be being drawn.
            self._children = {**self._children, job.id: job}

    def line(self, line: OutputLine) -> None:
        self._console.print(Text.assemble((plain(line.step), "dim"), f"  {plain(line.text)}"), soft_wrap=True)

    def picture(self) -> Group:
        """What is on screen now."""
        job, children = self._job, list(self._children.values())
        if job is None:
            return Group()
        room = max(3, self._console.size.height - 6)
        shown = children
        if len(children) > room:
            first = sorted(range(len(children)), key=lambda n: (_ORDER[children[n].status.value], n))[: room - 1]
            shown = [children[n] for n in sorted(first)]
        table = Table.grid(padding=(0, 1))
        _columns(table)
        for child in shown:
            table.add_row(*self._cells(child))
        left_out = len(children) - len(shown)
        below = [Text(f"  and {left_out} more", "dim")] if left_out else []
        return Group(table, *below, self._whole(job), *error_of(job))

    def _cells(self, child: JobView) -> tuple[Any, ...]:
        quiet = "dim" if child.status.value == "queued" else "none"
        share, told = Text(f"{child.progress:.0%}", quiet), Text(message_of(child), "dim")
        return self._mark(child), Text(name_of(child), quiet), bar(child, 30), share, told

    def _mark(self, job: JobView) -> Any:
        marks = {"done": "✓", "failed": "✗", "cancelled": "-", "queued": " "}
        mark = marks.get(job.status.value)
        return self._spinner.render(self._now().timestamp()) if mark is None else Text(mark, style_of(job))

    def _whole(self, job: JobView) -> Table:
        now = self._now()
        passed = age((job.finished_at or now).timestamp() - (job.started_at or job.created_at or now).timestamp())
        told = [job.status.value, whereabouts(job), children_of(job), "" if job.error else message_of(job), passed, left_of(job, now)]
        table = Table.grid(padding=(0, 1))
        _columns(table)
        words = Text(" · ".join(word for word in told if word), style_of(job))
        table.add_row(self._mark(job), Text(name_of(job), "bold"), bar(job, 30), Text(f"{job.progress:.0%}", "bold"), words)
        return table


def _columns(table: Table) -> None:
    """Mark, name, bar, per cent, words: at the same places for the children and the whole."""
    for width in (1, 22, 30, 4):
        table.add_column(no_wrap=True, width=width, overflow="ellipsis", justify="right" if width == 4 else "left")
    table.add_column(no_wrap=True, overflow="ellipsis")
