"""The assets `narration` and `movie`: ops that fan out per line and per scene. Thin on purpose; the work is in render/ and speech/.

What belongs here: ops, their metadata and checks, and how they hang together. What does not: how anything is made.
"""

import json
import time
from collections.abc import Iterator
from typing import Any

import dagster as dg
from pydantic import Field

from viralsync_pipelines.defs.registry import find_document
from viralsync_pipelines.defs.resources import StudioResource
from viralsync_pipelines.defs.studio import Studio
from viralsync_pipelines.errors import MovieInvalid, SceneFailed, ViralsyncError
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.movie.plan import lines
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.render import deliver
from viralsync_pipelines.render.clips import Clip, ensure_clip, has_clip
from viralsync_pipelines.render.ffmpeg import Progress
from viralsync_pipelines.render.lifeline import tie_to_parent
from viralsync_pipelines.render.prepare import Prepared, prepared_json, read_prepared, read_spec
from viralsync_pipelines.render.quality import CHECKS
from viralsync_pipelines.render.shelf import footage_of
from viralsync_pipelines.storage.keys import clip_key, plan_key
from viralsync_pipelines.storage.plans import write_plan

JOB_TAG = "viralsync/job_id"
MOVIES = dg.DynamicPartitionsDefinition(name="movies")
POOL = "ffmpeg"
# A progress line costs a write to Dagster's event log (6 ms in SQLite): one a second shows movement and costs nothing.
_PROGRESS_EVERY_S = 1.0


class Take(dg.Config):
    """What to render when it is not simply the registered movie. All empty: the partition's movie as it is registered."""

    movie: dict[str, Any] = Field(default_factory=dict, description="A movie JSON that replaces the registered one for this run.")
    document: str = Field(default="", description="Store key of a movie JSON that replaces the registered one for this run.")
    folder: str = Field(default="", description="Folder that the movie's relative paths start from (command line only).")
    variables: dict[str, Any] = Field(default_factory=dict, description="Values for the movie's variables.")
    draft: bool = Field(default=False, description="Half size and fast; the same timing.")


def job_id_of(context: dg.OpExecutionContext) -> str:
    """The job this run belongs to: its tag, or the run's own id when it was launched in the Dagster UI."""
    tagged = context.run.tags.get(JOB_TAG)
    return tagged or "job_" + context.run_id.replace("-", "")[:12]


def _studio(context: dg.OpExecutionContext, folder: str, resource: StudioResource) -> Studio:
    from pathlib import Path

    tie_to_parent()
    studio = resource.create_studio()
    return studio.beside(Path(folder)) if folder else studio


def _document(context: dg.OpExecutionContext, studio: Studio, config: Take) -> dict[str, Any]:
    return config.movie or find_document(studio.store, context.partition_key, config.document)


def _stop(error: ViralsyncError) -> dg.Failure:
    """The error as Dagster shows it. Running the same bytes again would end the same way, so Dagster must not retry."""
    metadata: dict[str, Any] = {"code": error.code}
    if isinstance(error, MovieInvalid):
        metadata["problems"] = dg.MetadataValue.json([p.as_json() for p in error.problems])
    return dg.Failure(description=str(error), metadata=metadata, allow_retries=False)


@dg.op(out=dg.DynamicOut(dict), description="Every distinct line that the movie has spoken.")
def find_lines(context: dg.OpExecutionContext, config: Take, studio: StudioResource) -> Iterator[dg.DynamicOutput[dict[str, Any]]]:
    desk = _studio(context, config.folder, studio)
    try:
        movie, _ = read_spec(_document(context, desk, config), config.variables)
    except ViralsyncError as error:
        raise _stop(error) from error
    for number, line in enumerate(lines(movie), 1):
        yield dg.DynamicOutput(line.__dict__, mapping_key=f"line_{number:03d}")


@dg.op(description="Speaks one line, or finds it spoken already.")
def speak_line(context: dg.OpExecutionContext, line: dict[str, Any], studio: StudioResource) -> dict[str, Any]:
    from viralsync_pipelines.speech.cache import speak_cached

    desk = _studio(context, "", studio)
    desk.scratch.mkdir(parents=True, exist_ok=True)
    try:
        spoken, hit = speak_cached(Line(**line), desk.store, desk.scratch)
    except ViralsyncError as error:
        raise _stop(error) from error
    context.log.info(f"{'found' if hit else 'spoke'} {spoken.duration:.2f} s: {line['text'][:80]}")
    context.add_output_metadata(
        {"cache": "hit" if hit else "miss", "seconds": round(spoken.duration, 3), "words": len(spoken.words), "text": line["text"],
         "engine": spoken.engine, "voice": spoken.voice}
    )  # fmt: skip
    return spoken.as_json()


@dg.op(description="The movie's narration: every line with its words and their times.")
def gather_narration(context: dg.OpExecutionContext, lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    seconds = sum(line["samples"] / line["sample_rate"] for line in lines)
    context.add_output_metadata({"lines": len(lines), "seconds": round(seconds, 2), "words": sum(len(line["words"]) for line in lines)})
    return lines


@dg.graph_asset(partitions_def=MOVIES, group_name="movies", description="Every spoken line of the movie, with word timings.")
def narration() -> Any:
    return gather_narration(find_lines().map(speak_line).collect())


@dg.op(
    ins={"narration": dg.In(dg.Nothing)},
    out={"plan": dg.Out(str), "scenes": dg.DynamicOut(dict)},
    description="Reads the movie, brings its sources in, and lays out every frame and sample.",
)
def plan_film(context: dg.OpExecutionContext, config: Take, studio: StudioResource) -> Iterator[Any]:
    desk = _studio(context, config.folder, studio)
    job = job_id_of(context)
    try:
        prepared = desk.prepare(_document(context, desk, config), config.variables, draft=config.draft)
        plan_hash = write_plan(desk.store, job, prepared_json(prepared))
    except ViralsyncError as error:
        raise _stop(error) from error
    plan = prepared.plan
    hits = sum(has_clip(desk.store, key) for key in prepared.clip_keys)
    context.log.info(f"{len(plan.scenes)} scenes, {plan.frames} frames; {hits} of {len(prepared.clip_keys)} clips are in the cache")
    yield dg.Output(
        job,
        "plan",
        metadata={
            "job": job, "scenes": len(plan.scenes), "frames": plan.frames, "seconds": float(plan.seconds), "cache_hits": hits,
            "cache_misses": len(prepared.clip_keys) - hits, "plan": plan_key(job), "hash": plan_hash, "film": prepared.film_key,
        },
    )  # fmt: skip
    for index, scene in enumerate(plan.scenes):
        yield dg.DynamicOutput(
            {"job": job, "scene": index, "id": scene.id}, mapping_key=f"scene_{index + 1:03d}", output_name="scenes",
            metadata={"scene": scene.id, "frames": scene.frames},
        )  # fmt: skip


def _prepared(studio: Studio, job: str) -> Prepared:
    return read_prepared(studio.store.get_bytes(plan_key(job)))


@dg.op(pool=POOL, description="Renders one scene and the transition that brings it in, or finds them rendered already.")
def render_scene(context: dg.OpExecutionContext, scene: dict[str, Any], studio: StudioResource) -> list[str]:
    desk = _studio(context, "", studio)
    prepared = _prepared(desk, scene["job"])
    try:
        clips = _render(context, desk, prepared, scene["scene"])
    except SceneFailed as error:
        raise _stop(error) from error
    made = [clip for clip in clips if not clip.hit]
    metadata: dict[str, Any] = {
        "scene": scene["id"], "cache": "miss" if made else "hit", "frames": sum(clip.frames for clip in clips),
        "clips": [clip.key for clip in clips],
    }  # fmt: skip
    if made:
        metadata["frames_per_second"] = round(max(clip.fps for clip in made), 1)
    shown = desk.store.local_path(clip_key(clips[-1].key)) if clips else None
    if shown is not None:
        metadata["thumbnail"] = _thumbnail(shown)
    context.add_output_metadata(metadata, mapping_key=None)
    return [clip.key for clip in clips]


def _render(context: dg.OpExecutionContext, desk: Studio, prepared: Prepared, index: int) -> list[Clip]:
    plan = prepared.plan
    mine = [(p, k) for p, k in zip(plan.pieces, prepared.clip_keys, strict=True) if p.scene == index]
    total = sum(piece.count for piece, _ in mine)
    clips: list[Clip] = []
    bench = desk.bench(plan)
    scene_id = plan.scenes[index].id
    for piece, key in mine:
        done = sum(clip.frames for clip in clips)
        last = 0.0

        def report(progress: Progress, done: int = done) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY_S:
                last = time.monotonic()
                context.log.info(progress_line(index, done + progress.frame, total, progress.fps))

        clips.append(ensure_clip(piece, key, plan.canvas, ENCODERS[plan.quality], bench, scene_id, report))
        if not clips[-1].hit:
            try:
                desk.shelf.check(plan, footage_of([piece]))
            except ViralsyncError as error:
                desk.store.delete(clip_key(key))
                raise SceneFailed(scene_id, str(error)) from error
    context.log.info(progress_line(index, total, total, 0.0))
    return clips


def progress_line(scene: int, frame: int, total: int, fps: float) -> str:
    """One line of a step's log that people read and orchestrator/progress.py parses."""
    return f"scene {scene + 1}: frame {frame} of {total}, {fps:.0f} frames a second"


def _thumbnail(clip: Any) -> Any:
    from base64 import b64encode
    from fractions import Fraction

    from viralsync_pipelines.render.previews import grab, jpeg

    image = grab(clip, [Fraction(0)], 160)[0]
    return dg.MetadataValue.md(f"![scene](data:image/jpeg;base64,{b64encode(jpeg(image, 70)).decode()})")


@dg.op(pool=POOL, description="The film's whole sound: voice, clips, effects and beds, mixed once and brought to its loudness.")
def mix_film_sound(context: dg.OpExecutionContext, plan: str, studio: StudioResource) -> dict[str, Any]:
    desk = _studio(context, "", studio)
    prepared = _prepared(desk, plan)
    try:
        sound = deliver.ensure_sound(prepared, desk.store, desk.shelf.finder(prepared.plan), desk.scratch)
    except ViralsyncError as error:
        raise _stop(error) from error
    context.add_output_metadata(
        {"cache": "hit" if sound.hit else "miss", "cues": len(prepared.plan.mix.cues), "loudness_before": sound.before_lufs,
         "loudness": sound.lufs, "true_peak": sound.peak}
    )  # fmt: skip
    return sound.__dict__


@dg.op(description="Joins every planned clip and the sound by copying; a clip that is missing is an error, never a shorter film.")
def assemble_film(
    context: dg.OpExecutionContext, plan: str, clips: list[list[str]], sound: dict[str, Any], studio: StudioResource
) -> dict[str, Any]:
    desk = _studio(context, "", studio)
    prepared = _prepared(desk, plan)
    try:
        film = deliver.assemble(prepared, deliver.SoundNotes(**sound), desk.store, desk.scratch)
    except ViralsyncError as error:
        raise _stop(error) from error
    context.log.info(f"{film.frames} frames, {film.size / 1e6:.1f} MB, from {len(prepared.clip_keys)} clips")
    context.add_output_metadata({"cache": "hit" if film.hit else "miss", "frames": film.frames, "bytes": film.size})
    return film.as_json()


@dg.op(
    out={"film": dg.Out(dict), **{name: dg.Out(dg.AssetCheckResult) for name in CHECKS}},
    description="Puts the film and its pictures under the job's outputs, and gives the verdicts of every check.",
)
def finalize_film(context: dg.OpExecutionContext, plan: str, film: dict[str, Any], studio: StudioResource) -> Iterator[Any]:
    from base64 import b64encode

    desk = _studio(context, "", studio)
    prepared = _prepared(desk, plan)
    made = deliver.Film.from_json(film, hit=bool(film["hit"]))
    delivery = deliver.deliver(prepared, plan, desk.store, desk.scratch)
    desk.store.put_bytes(f"outputs/{plan}/render.json", json.dumps(deliver.provenance(prepared, made)).encode())
    link = desk.store.url(delivery.output)
    facts = {"job": plan, "key": delivery.output, "url": link, **deliver.output_facts(prepared, made)}
    yield dg.Output(
        facts,
        "film",
        metadata={
            "film": dg.MetadataValue.url(link), "contact_sheet": _picture(b64encode(delivery.sheet_jpeg).decode()),
            "poster": dg.MetadataValue.url(desk.store.url(delivery.poster)),
            "thumbnail": _picture(b64encode(delivery.thumbnail_jpeg).decode()),
            "duration_s": made.seconds, "frames": made.frames, "loudness_lufs": made.lufs, "true_peak_dbtp": made.peak,
            "size_bytes": made.size, "width": facts["width"], "height": facts["height"], "job": plan,
        },
    )  # fmt: skip
    for verdict in made.verdicts:
        yield dg.Output(
            dg.AssetCheckResult(
                passed=verdict.passed, asset_key=dg.AssetKey("movie"), check_name=verdict.name,
                metadata={"wanted": verdict.wanted, "found": verdict.found},
            ),
            verdict.name,
        )  # fmt: skip


def _picture(data: str) -> Any:
    return dg.MetadataValue.md(f"![picture](data:image/jpeg;base64,{data})")


@dg.graph_asset(
    partitions_def=MOVIES,
    group_name="movies",
    ins={"narration": dg.AssetIn(dagster_type=dg.Nothing)},
    check_specs=[dg.AssetCheckSpec(name, asset="movie") for name in CHECKS],
    description="The finished film: planned, rendered scene by scene, assembled by copying, checked and delivered.",
)
def movie(narration: Any) -> Any:
    plan, scenes = plan_film(narration)
    clips = scenes.map(render_scene)
    film = assemble_film(plan, clips.collect(), mix_film_sound(plan))
    results = finalize_film(plan, film)
    return {"result": results.film, **{f"movie_{name}": getattr(results, name) for name in CHECKS}}
