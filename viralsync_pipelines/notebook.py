"""A movie in a notebook: its plan, its stills, what a change would cost, and the film, each as something Jupyter shows by itself.

What belongs here: showing what the command line also says, by the same functions. What does not: any work of its own.
IPython is not needed: the values below carry `_repr_html_` and `_repr_jpeg_`, which Jupyter looks for.
"""

from __future__ import annotations

import base64
import copy
import html
import os
import secrets
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import read_movie_file, studio_for
from viralsync_pipelines.cli.plan import diff_facts, plan_facts
from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.examples.catalog import example_path
from viralsync_pipelines.settings import Settings

if TYPE_CHECKING:
    from PIL.Image import Image

    from viralsync_pipelines.defs.studio import Studio
    from viralsync_pipelines.render.prepare import Prepared

_TILE = 200  # pixels: a dozen of them fill a notebook's width and stay under 100 kB
_PARALLEL_SCENES = 3


@dataclass(frozen=True)
class Movie:
    """A movie JSON to look at and to change. folder: where its relative paths start."""

    document: dict[str, Any]
    folder: Path

    def copy(self) -> Movie:
        """The same movie, to be changed without changing this one."""
        return Movie(copy.deepcopy(self.document), self.folder)


@dataclass(frozen=True)
class Table:
    """Rows under headings. facts: what the table was made of."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str
    facts: Mapping[str, Any]

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{html.escape(name)}</th>" for name in self.headings)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table><p>{html.escape(self.note)}</p>"


@dataclass(frozen=True)
class Picture:
    """A picture as JPEG bytes; `image` is what Pillow makes of it."""

    data: bytes

    @property
    def image(self) -> Image:
        from io import BytesIO

        from PIL import Image

        return Image.open(BytesIO(self.data))

    def _repr_jpeg_(self) -> bytes:
        return self.data


@dataclass(frozen=True)
class Film:
    """A finished film. checks: the verdict of each asset check. rendered: frames that did not come from the cache."""

    path: Path
    sheet: Picture
    checks: Mapping[str, bool]
    frames: int
    rendered: int
    width: int
    height: int

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.path.read_bytes()).decode()
        wide = min(self.width, 360 if self.height > self.width else 640)
        return f'<video controls loop width="{wide}" src="data:video/mp4;base64,{data}"></video>'


def open_movie(path: Path | str) -> Movie:
    """A movie JSON from disk. MovieInvalid when it cannot be read."""
    return Movie(*read_movie_file(Path(path)))


def open_example(name: str) -> Movie:
    """An example that comes with the package: "product", "quote-loop", "data-explainer" or "audiogram"."""
    return open_movie(example_path(name))


def _settings() -> Settings:
    return Settings.from_env(os.environ, cwd=Path.cwd())


def _planned(movie: Movie, variables: Mapping[str, Any], *, draft: bool) -> tuple[Studio, Prepared]:
    studio = studio_for(_settings(), movie.folder)
    return studio, studio.prepare(movie.document, variables, draft=draft)


def plan_table(movie: Movie, *, draft: bool = True, **variables: Any) -> Table:
    """Scenes with their times, and what of them is still to be rendered. MovieInvalid lists every problem."""
    studio, prepared = _planned(movie, variables, draft=draft)
    facts = plan_facts(prepared, studio)
    rows = [
        (scene["id"], f"{scene['start']:.2f}", f"{scene['seconds']:.2f}", str(scene["frames"]), str(scene["transitionFrames"] or ""),
         "cached" if scene["cached"] else str(scene["framesToRender"]))
        for scene in facts["scenes"]
    ]  # fmt: skip
    note = (
        f"{facts['title']}: {facts['width']}x{facts['height']} at {facts['fps']}, {facts['frames']} frames, {facts['seconds']:.2f} s; "
        f"{facts['hits']} of {facts['clips']} clips are cached; {len(facts['lines'])} spoken lines, {facts['cues']} cues of sound"
    )
    return Table(("scene", "start s", "seconds", "frames", "transition", "to render"), tuple(rows), note, facts)


def stills(movie: Movie, moments: Sequence[float], *, draft: bool = True, **variables: Any) -> Picture:
    """Frames at the given seconds side by side, drawn now without rendering anything else."""
    from viralsync_pipelines.render.previews import contact_sheet, jpeg

    studio, prepared = _planned(movie, variables, draft=draft)
    plan = prepared.plan
    width = _TILE if plan.canvas.height > plan.canvas.width else 2 * _TILE
    images = [image.resize((width, round(image.height * width / image.width))) for image in _frames(studio, prepared, moments)]
    return Picture(jpeg(contact_sheet(images)))


def still(movie: Movie, moment: float, *, draft: bool = True, **variables: Any) -> Picture:
    """The frame at a moment, in seconds, as it will be in the film."""
    from viralsync_pipelines.render.previews import jpeg

    studio, prepared = _planned(movie, variables, draft=draft)
    return Picture(jpeg(next(iter(_frames(studio, prepared, [moment])))))


def _frames(studio: Studio, prepared: Prepared, moments: Iterable[float]) -> Iterable[Image]:
    from PIL import Image

    from viralsync_pipelines.render.scenes import render_still

    plan = prepared.plan
    studio.scratch.mkdir(parents=True, exist_ok=True)
    for moment in moments:
        frame = int(moment * plan.canvas.fps)
        piece = next((p for p in plan.pieces if p.start <= frame < p.start + p.count), None)
        if piece is None:
            raise RenderError(f"there is no frame at {moment:g} s; the film lasts {float(plan.seconds):g} s", code="VALUE_OUT_OF_RANGE")
        with tempfile.TemporaryDirectory(prefix="still-", dir=studio.scratch) as name:
            made = Path(name) / "still.png"
            render_still(piece, plan.canvas, studio.bench(plan).easel, Path(name), frame - piece.start, made)
            with Image.open(made) as opened:
                yield opened.convert("RGB")


def diff(before: Movie, after: Movie, *, draft: bool = True, **variables: Any) -> Table:
    """What would be rendered again after a change."""
    _, old = _planned(before, variables, draft=draft)
    _, new = _planned(after, variables, draft=draft)
    facts = diff_facts(old, new)
    rows = tuple((one["scene"], one["kind"], str(one["frames"]), f"{one['seconds']:.2f}") for one in facts["render"])
    note = (
        f"{facts['framesToRender']} of {facts['frames']} frames to render, {facts['kept']} clips kept, "
        f"sound {'mixed again' if facts['sound'] else 'kept'}"
    )
    return Table(("scene", "kind", "frames", "seconds"), rows, note, facts)


def render(movie: Movie, out: Path | str, *, draft: bool = True, **variables: Any) -> Film:
    """Render through Dagster, as `viralsync render` does. RenderError tells each failed step's own words."""
    import dagster as dg

    from viralsync_pipelines.defs.build import render_movie_job
    from viralsync_pipelines.defs.instance import open_instance
    from viralsync_pipelines.jobs.orders import JOB_TAG
    from viralsync_pipelines.jobs.run_config import run_config_for
    from viralsync_pipelines.orchestrator.foreground import run_in_foreground
    from viralsync_pipelines.orchestrator.quiet import stderr_aside
    from viralsync_pipelines.render.registry import keep_version
    from viralsync_pipelines.storage.keys import output_key

    settings = _settings()
    studio, prepared = _planned(movie, variables, draft=draft)
    plan, facts, job_id = prepared.plan, plan_facts(prepared, studio), "job_" + secrets.token_hex(6)
    config = run_config_for(
        {"document": keep_version(studio.store, plan.movie_id, movie.document), "folder": str(movie.folder), "variables": dict(variables),
         "draft": draft},
        concurrency=min(_PARALLEL_SCENES, len(plan.scenes)), in_process=facts["film"],
    )  # fmt: skip
    log = settings.home / "logs" / f"{job_id}.log"
    with stderr_aside(log), open_instance(settings, os.environ) as instance:
        instance.add_dynamic_partitions("movies", [plan.movie_id])
        end = run_in_foreground(
            instance, dg.reconstructable(render_movie_job), partition=plan.movie_id, run_config=config, tags={JOB_TAG: job_id},
            on_news=lambda news: None,
        )  # fmt: skip
        checks = _verdicts(instance, end.run_id)
    if end.status != "SUCCESS":
        told = "; ".join(f"{step}: {text}" for step, text in end.failures) or f"the run ended as {end.status}"
        raise RenderError(f"{told} (what the run printed: {log})", code="RENDER_FAILED")
    log.unlink(missing_ok=True)
    path = Path(out).absolute()
    studio.store.fetch(output_key(job_id), path)
    rendered = sum(scene["framesToRender"] for scene in facts["scenes"])
    return Film(path, _sheet(path, prepared), checks, plan.frames, rendered, plan.canvas.width, plan.canvas.height)


def _verdicts(instance: Any, run_id: str) -> dict[str, bool]:
    import dagster as dg

    found = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION):
        verdict = entry.get_dagster_event().event_specific_data
        found[verdict.check_name] = bool(verdict.passed)
    return found


def _sheet(path: Path, prepared: Prepared) -> Picture:
    """A frame of each scene, two thirds into it, where titles are complete."""
    from viralsync_pipelines.movie.glances import tile_width
    from viralsync_pipelines.render.previews import contact_sheet, grab, jpeg

    plan = prepared.plan
    moments = [(scene.first + scene.frames * 2 // 3) / plan.canvas.fps for scene in plan.scenes]
    width = tile_width((plan.canvas.width, plan.canvas.height))
    return Picture(jpeg(contact_sheet(grab(path, moments, width, exact=True))))
