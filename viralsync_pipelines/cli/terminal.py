"""What a terminal shows: bars while a film is made, tables for plans and differences.

What belongs here: rich and words. What does not: any decision.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from viralsync_pipelines.orchestrator.foreground import StepNews


class Watch:
    """Live bars, one for each scene that is to be rendered. A context manager; `news` may be called from another thread."""

    def __init__(self, facts: dict[str, Any], *, quiet: bool) -> None:
        self._quiet = quiet
        self._facts = facts
        self._bars: dict[int, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), MofNCompleteColumn(), TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(), console=Console(stderr=True), disable=quiet,
        )  # fmt: skip

    def __enter__(self) -> Watch:
        if not self._quiet:
            self._progress.console.print(
                f"[bold]{self._facts['title']}[/bold]  {self._facts['width']}x{self._facts['height']}, "
                f"{self._facts['seconds']:.1f} s, {len(self._facts['scenes'])} scenes, "
                f"{self._facts['hits']} of {self._facts['clips']} clips cached",
                highlight=False,
            )
        self._progress.start()
        for number, scene in enumerate(self._facts["scenes"], 1):
            if scene["framesToRender"]:
                total = scene["frames"] - (self._next_overlap(number))
                self._bars[number] = self._progress.add_task(scene["id"][:24], total=max(1, total), note="", start=False)
        return self

    def _next_overlap(self, number: int) -> int:
        scenes = self._facts["scenes"]
        return int(scenes[number]["transitionFrames"]) if number < len(scenes) else 0

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._progress.stop()

    def news(self, news: StepNews) -> None:
        """Show what a step does."""
        if self._quiet:
            return
        if news.kind == "progress" and news.scene in self._bars:
            bar = self._bars[news.scene]
            self._progress.start_task(bar)
            note = f"{news.fps:.0f} fps" if news.frame < news.total and news.fps else ""
            self._progress.update(bar, completed=news.frame, total=news.total, note=note)
        elif news.kind == "failure":
            self._progress.console.print(f"[red]{news.step}[/red]  {news.text}", highlight=False)
        elif news.kind == "start":
            name = news.step.rpartition(".")[2].partition("[")[0]
            told = {
            "plan_film": "planning", "mix_film_sound": "mixing the sound", "assemble_film": "assembling", "finalize_film": "delivering",
            }
            if name in told:
                self._progress.console.print(f"[dim]{told[name]}[/dim]")


def show_done(done: dict[str, Any]) -> None:
    """The last lines of a render."""
    share = 100 * done["cachedFrames"] // max(1, done["frames"])
    Console(stderr=True).print(
        f"{done['seconds']:.1f} s of film, {done['bytes'] / 1e6:.1f} MB, {share} % from the cache, made in {done['elapsed']:.1f} s",
        highlight=False,
    )
    print(done["path"])


def show_plan(facts: dict[str, Any]) -> None:
    """A plan as a table."""
    console = Console()
    table = Table(title=f"{facts['title']}  {facts['width']}x{facts['height']} @ {facts['fps']}", title_justify="left")
    table.add_column("scene")
    for name in ("start s", "seconds", "frames", "transition", "to render"):
        table.add_column(name, justify="right")
    for scene in facts["scenes"]:
        left = "cached" if scene["cached"] else str(scene["framesToRender"])
        over = str(scene["transitionFrames"]) if scene["transitionFrames"] else ""
        table.add_row(scene["id"], f"{scene['start']:.2f}", f"{scene['seconds']:.2f}", str(scene["frames"]), over, left)
    console.print(table)
    for one in facts["inputs"]:
        console.print(f"  {one['kind']:<6} {one['sha256'][:12]}  {one['src']}", highlight=False, markup=False)
    if facts["lines"]:
        console.print(f"  {len(facts['lines'])} spoken lines, {sum(line['seconds'] for line in facts['lines']):.1f} s", highlight=False)
    state = "the film is finished and cached" if facts["film"] else f"{facts['hits']} of {facts['clips']} clips are cached"
    console.print(f"{facts['frames']} frames, {facts['seconds']:.2f} s; {state}", highlight=False)


def show_diff(facts: dict[str, Any]) -> None:
    """What would be rendered again."""
    console = Console()
    for one in facts["render"]:
        console.print(f"  {one['kind']:<10} {one['scene']:<24} {one['frames']:>6} frames  {one['seconds']:.2f} s", highlight=False)
    console.print(
        f"{facts['framesToRender']} of {facts['frames']} frames to render, {facts['kept']} clips kept, "
        f"sound {'mixed again' if facts['sound'] else 'kept'}", highlight=False,
    )  # fmt: skip
