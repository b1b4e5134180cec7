"""The asset `movie`: plan, a fan-out per scene, sound, assembly and delivery. Thin on purpose; the work is in render/.

What belongs here: ops, their metadata and checks, and how they hang together. What does not: how anything is made.
"""

import json
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import dagster as dg

from viralsync_pipelines.defs.part import parts_of
from viralsync_pipelines.defs.resources import StudioResource, settings_now
from viralsync_pipelines.defs.scratch import sweep_scratch
from viralsync_pipelines.defs.shown import link_to, loudness_of, picture_of
from viralsync_pipelines.defs.studio import Studio, scratch_root
from viralsync_pipelines.defs.take import MOVIES, Take, at_work, failure_of, job_id_of, refusal_of, tell, wanted, within
from viralsync_pipelines.errors import RenderError, SceneFailed, ViralsyncError
from viralsync_pipelines.jobs.lines import progress_line
from viralsync_pipelines.jobs.orders import DEFAULT_WORKSPACE, MAX_SECONDS_TAG, WORKSPACE_TAG
from viralsync_pipelines.jobs.run_config import EVERY_SCENE
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.movie.picture import Piece
from viralsync_pipelines.render import deliver
from viralsync_pipelines.render.anew import forget_film, scenes_anew
from viralsync_pipelines.render.clips import Clip, clip_picture, ensure_clip, has_clip
from viralsync_pipelines.render.ffmpeg import Progress
from viralsync_pipelines.render.prepare import Prepared, prepared_json, read_prepared
from viralsync_pipelines.render.quality import CHECKS
from viralsync_pipelines.render.shelf import footage_of
from viralsync_pipelines.storage.plans import keep_plan, plan_hash

POOL = "ffmpeg"
# A progress line costs a write to Dagster's event log (6 ms in SQLite): one a second shows movement and costs nothing.
_PROGRESS_EVERY_S = 1.0


@dg.op(
    ins={"narration": dg.In(dg.Nothing)},
    out={"plan": dg.Out(dict), "scenes": dg.DynamicOut(dict)},
    description="Reads the movie, brings its sources in, and lays out every frame and sample.",
)
def plan_film(context: dg.OpExecutionContext, config: Take, studio: StudioResource) -> Iterator[Any]:
    job = job_id_of(context)
    sweep_scratch(scratch_root(settings_now()), time.time())
    try:
        document, folder = wanted(context, config)
        with at_work(studio, folder) as desk:
            own = within(desk, context.instance, context.run.tags.get(WORKSPACE_TAG, DEFAULT_WORKSPACE))
            prepared = own.prepare(document, config.variables, draft=config.draft)
            check_length(prepared.plan.seconds, context.run.tags.get(MAX_SECONDS_TAG))
            anew = scenes_anew(config.fresh, len(prepared.plan.scenes))
            data = prepared_json(prepared)
            key = keep_plan(desk.store, job, data)
            if anew:
                forget_film(prepared, desk.store, sound=EVERY_SCENE in config.fresh)
            pieces = zip(prepared.plan.pieces, prepared.clip_keys, strict=True)
            hits = sum(piece.scene + 1 not in anew and has_clip(desk.store, clip) for piece, clip in pieces)
    except ViralsyncError as error:
        raise refusal_of(context, error) from error
    plan = prepared.plan
    again = f"; {len(anew)} to be rendered anew" if anew else ""
    tell(context, f"{len(plan.scenes)} scenes, {plan.frames} frames; {hits} of {len(prepared.clip_keys)} clips are in the cache{again}")
    yield dg.Output(
        {"job": job, "key": key},
        "plan",
        metadata={
            "job": job, "scenes": len(plan.scenes), "frames": plan.frames, "seconds": float(plan.seconds), "cache_hits": hits,
            "cache_misses": len(prepared.clip_keys) - hits, "plan": key, "hash": plan_hash(data), "film": prepared.film_key,
        },
    )  # fmt: skip
    for index, (scene, part) in enumerate(zip(plan.scenes, parts_of(prepared), strict=True)):
        yield dg.DynamicOutput(
            {"number": index + 1, "id": scene.id, "anew": index + 1 in anew, "part": prepared_json(part).decode()}, output_name="scenes",
            mapping_key=f"scene_{index + 1:03d}", metadata={"scene": scene.id, "frames": scene.frames},
        )  # fmt: skip


def check_length(seconds: Fraction, most: str | None) -> None:
    """RenderError PLAN_LIMIT_EXCEEDED for a film longer than its workspace's plan allows, before anything of it is rendered."""
    if most is not None and seconds > Fraction(most):
        told = f"this film plays {float(seconds) / 60:.1f} min and the plan takes {float(most) / 60:g} min at most; shorten it or split it"
        raise RenderError(told, code="PLAN_LIMIT_EXCEEDED")


def _prepared(studio: Studio, plan: dict[str, str]) -> Prepared:
    return read_prepared(studio.store.get_bytes(plan["key"]))


@dg.op(pool=POOL, description="Renders one scene and the transition that brings it in, or finds them rendered already.")
def render_scene(context: dg.OpExecutionContext, scene: dict[str, Any], studio: StudioResource) -> list[str]:
    try:
        with at_work(studio) as desk:
            clips = _render(context, desk, read_prepared(scene["part"]), scene)
            metadata = _scene_metadata(desk, scene["id"], clips)
    except SceneFailed as error:
        raise failure_of(error) from error
    except Exception as error:
        # Whatever it was: the run's failure names the scene.
        told = str(error) if isinstance(error, ViralsyncError) else f"{type(error).__name__}: {error}"
        raise failure_of(SceneFailed(scene["id"], told)) from error
    context.add_output_metadata(metadata)
    return [clip.key for clip in clips]


def _render(context: dg.OpExecutionContext, desk: Studio, part: Prepared, scene: dict[str, Any]) -> list[Clip]:
    plan, number = part.plan, int(scene["number"])
    total = sum(piece.count for piece in plan.pieces)
    clips: list[Clip] = []
    bench = desk.bench(plan)
    for piece, key in zip(plan.pieces, part.clip_keys, strict=True):
        done = sum(clip.frames for clip in clips)
        last = 0.0

        def report(progress: Progress, done: int = done) -> None:
            nonlocal last
            if time.monotonic() - last >= _PROGRESS_EVERY_S:
                last = time.monotonic()
                tell(context, progress_line(number, done + progress.frame, total, progress.fps))

        def unchanged(piece: Piece = piece) -> None:
            desk.shelf.check(plan, footage_of([piece]))

        encoder = ENCODERS[plan.quality]
        clips.append(ensure_clip(piece, key, plan.canvas, encoder, bench, scene["id"], report, unchanged, anew=scene["anew"]))
    tell(context, progress_line(number, total, total, max((clip.fps for clip in clips), default=0.0)))
    return clips


def _scene_metadata(desk: Studio, scene_id: str, clips: list[Clip]) -> dict[str, Any]:
    made = [clip for clip in clips if not clip.hit]
    metadata: dict[str, Any] = {
        "scene": scene_id, "cache": "miss" if made else "hit", "frames": sum(clip.frames for clip in clips),
        "rendered_frames": sum(clip.frames for clip in made), "clips": [clip.key for clip in clips],
    }  # fmt: skip
    if made:
        metadata["frames_per_second"] = round(max(clip.fps for clip in made), 1)
    shown = next((data for clip in reversed(clips) if (data := clip_picture(desk.store, clip.key)) is not None), None)
    if shown is not None:
        metadata["thumbnail"] = picture_of(shown)
    return metadata


@dg.op(pool=POOL, description="The film's whole sound: voice, clips, effects and beds, mixed once and brought to its loudness.")
def mix_film_sound(context: dg.OpExecutionContext, plan: dict[str, str], studio: StudioResource) -> dict[str, Any]:
    with at_work(studio) as desk:
        prepared = _prepared(desk, plan)
        heard = tuple(dict.fromkeys(cue.source for cue in prepared.plan.mix.cues))
        try:
            sound = deliver.ensure_sound(
                prepared, desk.store, desk.shelf.finder(prepared.plan), desk.scratch, lambda: desk.shelf.check(prepared.plan, heard)
            )
        except ViralsyncError as error:
            raise failure_of(error) from error
    tell(context, f"{'found' if sound.hit else 'mixed'} the sound of {len(prepared.plan.mix.cues)} cues: {loudness_of(sound)}")
    context.add_output_metadata(
        {"cache": "hit" if sound.hit else "miss", "cues": len(prepared.plan.mix.cues), "loudness_before": sound.before_lufs,
         "loudness": sound.lufs, "true_peak": sound.peak}
    )  # fmt: skip
    return sound.__dict__


@dg.op(description="Joins every planned clip and the sound by copying; a clip that is missing is an error, never a shorter film.")
def assemble_film(
    context: dg.OpExecutionContext, plan: dict[str, str], clips: list[list[str]], sound: dict[str, Any], studio: StudioResource
) -> dict[str, Any]:
    with at_work(studio) as desk:
        prepared = _prepared(desk, plan)
        try:
            film = deliver.assemble(prepared, deliver.SoundNotes(**sound), desk.store, desk.scratch)
        except ViralsyncError as error:
            raise failure_of(error) from error
    verb = "found" if film.hit else "joined"
    tell(context, f"{verb} {len(prepared.clip_keys)} clips and the sound: {film.frames} frames, {film.size / 1e6:.1f} MB")
    context.add_output_metadata({"cache": "hit" if film.hit else "miss", "frames": film.frames, "bytes": film.size})
    return film.as_json()


@dg.op(
    out={"film": dg.Out(dict), **{name: dg.Out(dg.Nothing) for name in CHECKS}},
    description="Puts the film and its pictures under the job's outputs, and gives the verdicts of every check.",
)
def finalize_film(context: dg.OpExecutionContext, plan: dict[str, str], film: dict[str, Any], studio: StudioResource) -> Iterator[Any]:
    made = deliver.Film.from_json(film, hit=bool(film["hit"]))
    job = plan["job"]
    with at_work(studio) as desk:
        prepared = _prepared(desk, plan)
        try:
            delivery = deliver.deliver(prepared, job, desk.store, desk.scratch)
            desk.store.put_bytes(f"outputs/{job}/render.json", json.dumps(deliver.provenance(prepared, made)).encode())
        except ViralsyncError as error:
            raise failure_of(error) from error
        link, poster = desk.store.url(delivery.output), desk.store.url(delivery.poster)
        captions = {name: link_to(desk.store.url(key)) for name, key in delivery.captions.items()}
    sheet, thumbnail = picture_of(delivery.sheet_jpeg), picture_of(delivery.thumbnail_jpeg)
    facts = {"job": job, "key": delivery.output, "url": link, **deliver.output_facts(prepared, made)}
    tell(context, f"delivered {made.seconds:.2f} s of film, {facts['width']}x{facts['height']}, {made.size / 1e6:.1f} MB")
    for verdict in made.verdicts:
        tell(context, f"{verdict.name}: {'as wanted' if verdict.passed else f'wanted {verdict.wanted}'}, {verdict.found}")
    yield dg.Output(
        facts,
        "film",
        metadata={
            "film": link_to(link), "contact_sheet": sheet, "poster": link_to(poster), "thumbnail": thumbnail,
            "duration_s": made.seconds, "frames": made.frames, "loudness_lufs": made.lufs, "true_peak_dbtp": made.peak,
            "size_bytes": made.size, "width": facts["width"], "height": facts["height"], "job": job, "key": delivery.output,
            **captions,
        },
    )  # fmt: skip
    for verdict in made.verdicts:
        # Yielded as it is: inside an Output, Dagster stores it and never notes an evaluation.
        yield dg.AssetCheckResult(
            passed=verdict.passed, asset_key=dg.AssetKey("movie"), check_name=verdict.name,
            metadata={"wanted": verdict.wanted, "found": verdict.found},
        )  # fmt: skip


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
