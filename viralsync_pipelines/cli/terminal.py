"""What a terminal shows: bars while a film is made, tables for plans and differences, problems.

What belongs here: rich and words. What does not: any decision.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from viralsync_pipelines.cli.words import clock as _clock
from viralsync_pipelines.cli.words import count as _count
from viralsync_pipelines.cli.words import plain as _plain
from viralsync_pipelines.errors import Problem

if TYPE_CHECKING:
    from viralsync_pipelines.orchestrator.foreground import StepNews

_SCENE_STEP = re.compile(r"render_scene\[scene_(\d+)\]$")
# How a step ends that Ctrl-C stopped: no failure of the movie's.
INTERRUPTED = "DagsterExecutionInterruptedError"
# What the film's own line says while a step runs.
_STAGES = {
    "find_lines": "reading the movie", "speak_line": "speaking", "gather_narration": "speaking", "plan_film": "planning",
    "mix_film_sound": "mixing the sound", "assemble_film": "joining the clips", "finalize_film": "checking and delivering",
}  # fmt: skip


_STATES = ("done", "cached", "running", "stopped", "waiting", "failed")


@dataclass
class _Row:
    """One scene's line; `state` is one of _STATES."""

    name: str
    total: int
    frame: int = 0
    fps: float = 0.0
    state: str = "waiting"


class Watch:
    """Live bars, one for each scene, and one for the film. A context manager; `news` may be called from another thread.

    Where standard error is no terminal, a line is printed as each scene is finished, and there are no bars. bars: whether there are.
    """

    def __init__(self, facts: dict[str, Any], *, quiet: bool, console: Console | None = None,
                 clock: Callable[[], float] = time.monotonic) -> None:  # fmt: skip
        self._facts, self._quiet, self._clock = facts, quiet, clock
        self._console = console or Console(stderr=True, highlight=False)
        self._rows = [
            _Row(s["id"], s["ownFrames"], s["ownFrames"] - s["framesToRender"], state="cached" if s["cached"] else "waiting")
            for s in facts["scenes"]
        ]
        self._stage = "starting"
        self._began = clock()
        self._spinner = Spinner("dots")
        self.bars = not quiet and self._console.is_terminal
        self._live = Live(console=self._console, get_renderable=self.picture, refresh_per_second=8, transient=False)

    def __enter__(self) -> Watch:
        """Say what is being made; bars come with show_bars()."""
        self._began = self._clock()
        if not self._quiet:
            facts = self._facts
            self._console.print(
                f"[bold]{escape(_plain(facts['title']))}[/bold]  [dim]{facts['width']}x{facts['height']} · "
                f"{_rate(facts['fps'])} fps · {_clock(facts['seconds'])} · {_count(len(facts['scenes']), 'scene')}[/dim]"
            )
        return self

    def show_bars(self) -> None:
        """Begin to draw, in a thread of its own."""
        if self.bars:
            self._live.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._stage not in {"failed", "stopped"}:
            self._stage = "done" if kind is None else "stopped"
        if self.bars:
            self._live.stop()

    def news(self, news: StepNews) -> None:
        """Show what a step does."""
        found = _SCENE_STEP.search(news.step)
        row = self._row(int(found[1]) if found else news.scene)
        if news.kind == "failure" and INTERRUPTED in news.text:
            self._stage = "stopped"
            if row is not None:
                row.state = "stopped"
            return
        if news.kind == "failure":
            self._stage = "failed"
            told = (news.text.splitlines() or [""])[0]
            self._say(f"[red]✗ {escape(row.name if row else news.step)}[/red]  {escape(_plain(told))}")
        elif row is None and news.kind == "start":
            self._stage = _STAGES.get(news.step.rpartition(".")[2].partition("[")[0], self._stage)
        if row is None:
            return
        if news.kind == "progress":
            row.frame, row.fps = news.frame, news.fps or row.fps
            row.total = news.total or row.total
        changed = {"failure": "failed", "success": "done", "start": "running", "progress": "running", "retry": "waiting"}.get(news.kind)
        if changed is None or row.state == "cached" or (row.state in {"done", "failed"} and news.kind == "progress"):
            return
        if changed == "running":
            self._stage = "rendering"
        row.state = changed
        if changed == "done":
            row.frame = row.total
            if not self.bars:
                self._say(f"{escape(row.name)}  {_count(row.total, 'frame')}{_speed(row)}")

    def _row(self, number: int) -> _Row | None:
        return self._rows[number - 1] if 1 <= number <= len(self._rows) else None

    def _say(self, words: str) -> None:
        if not self._quiet:
            self._console.print(words)

    def picture(self) -> Group:
        """What is on screen now."""
        rows, left_out = self._chosen(max(3, self._console.size.height - 5))
        table = Table.grid(padding=(0, 1))
        for width in (1, 24, 30, 13, 10):
            table.add_column(no_wrap=True, max_width=width, justify="right" if width == 13 else "left")
        for row in rows:
            table.add_row(*self._cells(row))
        below: list[Any] = [Text(f"    {left_out}", style="dim")] if left_out else []
        return Group(table, *below, self._film())

    def _chosen(self, room: int) -> tuple[list[_Row], str]:
        """The rows there is room for: those running first, then what was finished last and what comes next."""
        if len(self._rows) <= room:
            return self._rows, ""
        order = {"running": 0, "stopped": 0, "failed": 1, "waiting": 2, "done": 3, "cached": 4}
        ranked = sorted(range(len(self._rows)), key=lambda n: (order[self._rows[n].state], n if self._rows[n].state == "waiting" else -n))
        shown = sorted(ranked[: room - 1])
        hidden = [row.state for n, row in enumerate(self._rows) if n not in set(shown)]
        counts = [f"{hidden.count(state)} {state}" for state in _STATES if state in hidden]
        return [self._rows[n] for n in shown], f"and {len(hidden)} more: {', '.join(counts)}"

    def _cells(self, row: _Row) -> list[Any]:
        style = {"done": "green", "cached": "cyan", "failed": "red", "running": "yellow"}.get(row.state, "dim")
        mark: Any = {"done": Text("✓", "green"), "cached": Text("✓", "cyan"), "failed": Text("✗", "red")}.get(row.state, Text(" "))
        if row.state == "running":
            mark = self._spinner.render(self._clock())
        speed = f"{row.fps:.0f} fps" if row.fps else ""
        note = {"cached": "cached", "failed": "failed", "stopped": "stopped", "waiting": ""}.get(row.state, speed)
        plain = "dim" if row.state == "waiting" else "none"
        name = Text(_plain(row.name), style=plain, overflow="ellipsis")
        bar = ProgressBar(total=max(1, row.total), completed=row.frame, width=30, complete_style=style, finished_style=style)
        return [mark, name, bar, Text(f"{row.frame}/{row.total}", style=plain), Text(note, style="dim")]

    def _film(self) -> Text:
        total = max(1, sum(row.total for row in self._rows))
        done = sum(min(row.frame, row.total) for row in self._rows)
        passed = self._clock() - self._began
        words = {"done": "done", "failed": "failed", "stopped": "stopped"}.get(self._stage, f"{self._stage}…")
        line = Text.assemble(
            ("  " if self._stage in {"done", "failed", "stopped"} else f"{self._spinner.render(self._clock())} "),
            (f"{100 * done // total:3d} %", "bold"), f" of {_count(total, 'frame')}", (f" · {_clock(passed)} · {words}", "dim"),
        )  # fmt: skip
        line.no_wrap = True
        line.overflow = "ellipsis"
        return line


def _speed(row: _Row) -> str:
    return f", {row.fps:.0f} a second" if row.fps else ""


def _rate(fps: str) -> str:
    top, _, bottom = fps.partition("/")
    return f"{int(top) / int(bottom):.2f}" if bottom else top


def show_done(done: dict[str, Any]) -> None:
    """The last lines of a render: the facts on standard error, the path alone on standard output."""
    share = 100 * done["cachedFrames"] // max(1, done["frames"])
    Console(stderr=True, highlight=False).print(
        f"[green]✓[/green] {_clock(done['seconds'])} of film, {_size(done['bytes'])}, made in {_clock(done['elapsed'])}, "
        f"{share} % of its frames from the cache"
    )
    if done.get("captions"):
        endings = ", ".join(Path(path).suffix for path in done["captions"])
        told = f"  captions beside it: {endings}; edited, they can be the `source` of captions"
        Console(stderr=True, highlight=False).print(told, soft_wrap=True)
    print(done["path"], flush=True)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.0f} kB"


def show_problems(problems: Sequence[Problem], what: str = "movie") -> None:
    """What is wrong with a movie, or what else `what` says: for each problem its place, its code, and what to do."""
    console = Console(stderr=True, highlight=False)
    if any(problem.pointer for problem in problems):
        console.print(f"[red]The {what} has {_count(len(problems), 'problem')}:[/red]")
    for problem in problems:
        place = f"[bold]{escape(_plain(problem.pointer))}[/bold]  " if problem.pointer else ""
        console.print(f"  {place}[dim]{problem.code}[/dim]", soft_wrap=True)
        console.print(f"    {escape(_plain(problem.message))}", soft_wrap=True)


def show_plan(facts: dict[str, Any]) -> None:
    """A plan as a table."""
    console = Console(highlight=False)
    console.print(
        f"[bold]{escape(_plain(facts['title']))}[/bold]  [dim]{facts['movie']} · {facts['width']}x{facts['height']} · "
        f"{_rate(facts['fps'])} fps · {facts['quality']}[/dim]", soft_wrap=True,
    )  # fmt: skip
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    table.add_column("scene", no_wrap=True, overflow="ellipsis", max_width=32)
    for name in ("starts at", "seconds", "frames", "transition", "to render"):
        table.add_column(name, justify="right", no_wrap=True)
    for scene in facts["scenes"]:
        left = Text("cached", "cyan") if scene["cached"] else Text(str(scene["framesToRender"]))
        over = str(scene["transitionFrames"]) if scene["transitionFrames"] else ""
        table.add_row(scene["id"], f"{scene['start']:.2f}", f"{scene['seconds']:.2f}", str(scene["frames"]), over, left)
    console.print(table)
    for one in facts["inputs"]:
        console.print(f"[dim]{one['kind']:<6} {one['sha256'][:12]}[/dim]  {escape(_plain(one['src']))}", soft_wrap=True)
    if facts["lines"]:
        seconds = sum(line["seconds"] for line in facts["lines"])
        console.print(f"{_count(len(facts['lines']), 'spoken line')}, {_clock(seconds)}")
    state = "the film is finished and cached" if facts["film"] else f"{facts['hits']} of {_count(facts['clips'], 'clip')} cached"
    console.print(f"{_count(facts['frames'], 'frame')}, {facts['seconds']:.2f} s; {state}")


def show_diff(facts: dict[str, Any]) -> None:
    """What would be rendered again."""
    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 2, 0, 0))
    for one in facts["render"]:
        what = Text(f"transition into {one['scene']}" if one["kind"] == "transition" else one["scene"])
        table.add_row(what, Text(_count(one["frames"], "frame"), justify="right"), f"{one['seconds']:.2f} s")
    if facts["render"]:
        console.print(table)
    console.print(
        f"{facts['framesToRender']:,} of {_count(facts['frames'], 'frame')} to render, {_count(facts['kept'], 'clip')} kept, "
        f"sound {'mixed again' if facts['sound'] else 'kept'}", soft_wrap=True,
    )  # fmt: skip
