"""`viralsync render|plan|diff|schema`: from a movie file to a film, a still, a plan, or what two movies have in common.

What belongs here: these commands. What does not: the terminal's bars (terminal.py), Dagster's run (orchestrator/foreground.py).
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

from viralsync_pipelines.defs.registry import keep_version, parse_document, register
from viralsync_pipelines.defs.resources import store_of
from viralsync_pipelines.defs.studio import Studio, open_studio
from viralsync_pipelines.errors import MovieInvalid, Problem, ViralsyncError
from viralsync_pipelines.movie.plan import MoviePlan
from viralsync_pipelines.render.clips import has_clip
from viralsync_pipelines.render.deliver import known_film
from viralsync_pipelines.render.prepare import Prepared, movie_id_of
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.keys import output_key

# Parallel scenes by renderOptions.qualityPreset: the wire's names, which never change picture quality.
PRESETS = {"stable": 2, "balanced": 3, "fast": 4, "turbo": 6}


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    render = commands.add_parser("render", help="render a movie JSON to a film")
    _movie_arguments(render)
    render.add_argument("-o", "--output", type=Path, help="where the film (or with --still the picture) goes; default <movie>.mp4")
    render.add_argument("--draft", action="store_true", help="half size and fast; the same timing")
    render.add_argument("--scene", help="only this scene, as its own film")
    render.add_argument("--still", metavar="SECONDS", help="one frame as a PNG instead of a film")
    render.add_argument("--preset", choices=sorted(PRESETS), default="balanced",
                        help="scenes at a time: stable 2, balanced 3, fast 4, turbo 6")  # fmt: skip
    render.add_argument("--concurrency", type=int, help="scenes at a time, 1 to 32; instead of --preset")
    render.set_defaults(run=render_command)
    plan = commands.add_parser("plan", help="show scenes, frames, cache hits and problems without rendering")
    _movie_arguments(plan)
    plan.add_argument("--draft", action="store_true")
    plan.set_defaults(run=plan_command)
    diff = commands.add_parser("diff", help="what would be rendered again after a change")
    diff.add_argument("before", type=Path)
    diff.add_argument("after", type=Path)
    diff.add_argument("--json", action="store_true", help="print JSON for scripts")
    diff.set_defaults(run=diff_command)
    schema = commands.add_parser("schema", help="print the JSON Schema of movies")
    schema.set_defaults(run=schema_command)


def _movie_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("movie", type=Path, help="a movie JSON")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable; JSON, or else a plain string")
    parser.add_argument("--json", action="store_true", help="print JSON for scripts")


def read_movie_file(path: Path) -> tuple[dict[str, Any], Path]:
    """The document of a movie file, and the folder its relative paths start from."""
    try:
        return parse_document(path.read_bytes()), path.parent.absolute()
    except OSError as error:
        raise MovieInvalid([Problem("", "DOCUMENT_INVALID", f"{path} cannot be read ({error.strerror}); check the name")]) from error


def variables_of(pairs: list[str]) -> dict[str, Any]:
    """`--set name=value` pairs; a value is JSON when it can be read as such."""
    variables: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name.isidentifier():
            raise MovieInvalid([Problem("", "VARIABLE_INVALID", f"--set {pair!r} is not understood; write --set name=value")])
        try:
            variables[name] = json.loads(value)
        except json.JSONDecodeError:
            variables[name] = value
    return variables


def studio_for(settings: Settings, folder: Path) -> Studio:
    """The studio of this machine, open to the movie's own folder."""
    return open_studio(settings, store_of(settings)).beside(folder)


def plan_command(args: argparse.Namespace, settings: Settings) -> int:
    document, folder = read_movie_file(args.movie)
    studio = studio_for(settings, folder)
    prepared = studio.prepare(document, variables_of(args.set), draft=args.draft)
    facts = plan_facts(prepared, studio)
    if args.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        from viralsync_pipelines.cli.terminal import show_plan

        show_plan(facts)
    return 0


def plan_facts(prepared: Prepared, studio: Studio) -> dict[str, Any]:
    """A plan for people and scripts: scenes with their frames and cache state, inputs, totals."""
    plan = prepared.plan
    there = {key: has_clip(studio.store, key) for key in dict.fromkeys(prepared.clip_keys)}
    scenes = []
    for index, scene in enumerate(plan.scenes):
        mine = [(p, k) for p, k in zip(plan.pieces, prepared.clip_keys, strict=True) if p.scene == index]
        scenes.append(
            {
                "id": scene.id, "start": float(scene.first / plan.canvas.fps), "frames": scene.frames,
                "seconds": float(scene.frames / plan.canvas.fps), "transitionFrames": scene.overlap_in,
                "framesToRender": sum(p.count for p, k in mine if not there[k]), "cached": all(there[k] for _, k in mine),
            }
        )  # fmt: skip
    return {
        "movie": plan.movie_id, "title": plan.title, "width": plan.canvas.width, "height": plan.canvas.height,
        "fps": str(plan.canvas.fps), "frames": plan.frames, "seconds": float(plan.seconds), "quality": plan.quality,
        "scenes": scenes, "clips": len(prepared.clip_keys), "hits": sum(there[k] for k in prepared.clip_keys),
        "film": known_film(prepared, studio.store) is not None,
        "inputs": [{"src": s.ref.uri, "kind": s.ref.kind, "sha256": s.ref.sha256} for s in plan.sources.values()],
        "lines": [{"seconds": round(s.duration, 3), "words": len(s.words)} for s in plan.speech.values()],
        "cues": len(plan.mix.cues),
    }  # fmt: skip


def diff_command(args: argparse.Namespace, settings: Settings) -> int:
    plans = []
    for path in (args.before, args.after):
        document, folder = read_movie_file(path)
        plans.append(studio_for(settings, folder).prepare(document, {}))
    facts = diff_facts(*plans)
    if args.json:
        print(json.dumps(facts, ensure_ascii=False))
    else:
        from viralsync_pipelines.cli.terminal import show_diff

        show_diff(facts)
    return 0


def diff_facts(before: Prepared, after: Prepared) -> dict[str, Any]:
    """Which pieces of the later movie the earlier one does not have."""
    old = set(before.clip_keys)
    fps = after.plan.canvas.fps
    again = [(p, k) for p, k in zip(after.plan.pieces, after.clip_keys, strict=True) if k not in old]
    names = [scene.id for scene in after.plan.scenes]
    return {
        "render": [
            {"scene": names[p.scene], "kind": "transition" if p.kind == "overlap" else "scene", "frames": p.count,
             "seconds": float(p.count / fps)}
            for p, _ in again
        ],
        "framesToRender": sum(p.count for p, _ in again), "frames": after.plan.frames, "kept": len(after.clip_keys) - len(again),
        "sound": before.mix_key != after.mix_key,
    }  # fmt: skip


def schema_command(args: argparse.Namespace, settings: Settings) -> int:
    from viralsync_pipelines.movie.schema import movie_schema

    print(json.dumps(movie_schema(), indent=2, ensure_ascii=False))
    return 0


def only_scene(document: dict[str, Any], name: str) -> dict[str, Any]:
    """The document with one scene left, and no transition into it. Movie-level layers stay."""
    scenes = document.get("scenes")
    ids = [s.get("id", f"scene_{i}") for i, s in enumerate(scenes, 1) if isinstance(s, dict)] if isinstance(scenes, list) else []
    if name not in ids or not isinstance(scenes, list):
        raise MovieInvalid([Problem("/scenes", "SCENE_NOT_FOUND", f"no scene has the id {name!r}; there are {', '.join(map(str, ids))}")])
    scene = {k: v for k, v in scenes[ids.index(name)].items() if k != "transition"}
    return {**document, "id": f"{movie_id_of(document)[:40]}-{name}"[:64], "scenes": [{"id": name, **scene}]}


def render_command(args: argparse.Namespace, settings: Settings) -> int:
    began = time.monotonic()
    document, folder = read_movie_file(args.movie)
    variables = variables_of(args.set)
    if args.concurrency is not None and not 1 <= args.concurrency <= 32:
        raise MovieInvalid([Problem("", "VALUE_OUT_OF_RANGE", "--concurrency must lie between 1 and 32")])
    if args.scene is not None:
        document = only_scene(document, args.scene)
    studio = studio_for(settings, folder)
    # Planned here first: problems are told before Dagster starts, and a film that needs nothing needs no processes either.
    prepared = studio.prepare(document, variables, draft=args.draft)
    if args.still is not None:
        return _still(args, studio, prepared)
    return _render(args, settings, studio, prepared, document, folder, variables, began)


def _still(args: argparse.Namespace, studio: Studio, prepared: Prepared) -> int:
    from viralsync_pipelines.render.scenes import render_still

    plan = prepared.plan
    frame = _frame_of(args.still, plan)
    piece = next(p for p in plan.pieces if p.start <= frame < p.start + p.count)
    out = (args.output or args.movie.with_suffix(".png")).absolute()
    studio.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="still-", dir=studio.scratch) as name:
        made = Path(name) / "still.png"
        render_still(piece, plan.canvas, studio.bench(plan).easel, Path(name), frame - piece.start, made)
        shutil.copyfile(made, out)
    print(json.dumps({"path": str(out), "frame": frame}) if args.json else str(out))
    return 0


def _frame_of(text: str, plan: MoviePlan) -> int:
    try:
        frame = int(Fraction(text) * plan.canvas.fps)
    except (ValueError, ZeroDivisionError):
        frame = -1
    if not 0 <= frame < plan.frames:
        told = f"--still {text} is not a moment of this film; it lasts {float(plan.seconds):g} s"
        raise MovieInvalid([Problem("", "VALUE_OUT_OF_RANGE", told)])
    return frame


def concurrency_of(args: argparse.Namespace, scenes: int) -> int:
    """Parallel scenes: as asked, and never more than there are scenes."""
    return max(1, min(args.concurrency or PRESETS[args.preset], scenes, 32))


def _render(
    args: argparse.Namespace, settings: Settings, studio: Studio, prepared: Prepared, document: dict[str, Any], folder: Path,
    variables: dict[str, Any], began: float,
) -> int:  # fmt: skip
    import dagster as dg

    from viralsync_pipelines.cli.terminal import Watch
    from viralsync_pipelines.defs.instance import open_instance
    from viralsync_pipelines.defs.movies import JOB_TAG
    from viralsync_pipelines.defs.run_config import run_config_for
    from viralsync_pipelines.orchestrator.foreground import run_in_foreground

    plan = prepared.plan
    movie_id, job_id = plan.movie_id, "job_" + secrets.token_hex(6)
    facts = plan_facts(prepared, studio)
    version = keep_version(studio.store, movie_id, document)
    if not args.draft and args.scene is None:
        register(studio.store, movie_id, document, str(folder))
    nothing_to_do = facts["film"]
    config = run_config_for(
        {"document": version, "folder": str(folder), "variables": variables, "draft": args.draft},
        concurrency=concurrency_of(args, len(plan.scenes)), in_process=nothing_to_do,
    )  # fmt: skip
    with open_instance(settings, os.environ) as instance, Watch(facts, quiet=args.json) as watch:
        instance.add_dynamic_partitions("movies", [movie_id])
        end = run_in_foreground(
            instance, dg.reconstructable(render_movie_job), partition=movie_id, run_config=config, tags={JOB_TAG: job_id},
            on_news=watch.news,
        )  # fmt: skip
    if end.status != "SUCCESS":
        return _failed(args, end, job_id)
    out = (args.output or args.movie.with_suffix(".mp4")).absolute()
    local = studio.store.local_path(output_key(job_id))
    if local is not None:
        _copy_whole(local, out)
    else:
        studio.store.fetch(output_key(job_id), out)
    done = {
        "path": str(out), "jobId": job_id, "runId": end.run_id, "bytes": out.stat().st_size, "seconds": float(plan.seconds),
        "frames": plan.frames, "cachedFrames": plan.frames - sum(s["framesToRender"] for s in facts["scenes"]),
        "elapsed": round(time.monotonic() - began, 2),
    }  # fmt: skip
    if args.json:
        print(json.dumps(done))
    else:
        from viralsync_pipelines.cli.terminal import show_done

        show_done(done)
    return 0


def _failed(args: argparse.Namespace, end: Any, job_id: str) -> int:
    if args.json:
        print(json.dumps({"error": "the render failed", "code": "RENDER_FAILED", "jobId": job_id, "runId": end.run_id,
                          "failures": [{"step": step, "error": text} for step, text in end.failures]}))  # fmt: skip
    else:
        print(f"The render ended as {end.status} (run {end.run_id}).", file=sys.stderr)
        for step, text in end.failures:
            print(f"  {step}: {text}", file=sys.stderr)
        print("Finished scenes are kept: mend the cause and run the same command again.", file=sys.stderr)
    return 130 if end.status == "CANCELED" else 1


def _copy_whole(source: Path, out: Path) -> None:
    """Copy beside the target and rename, so that nobody ever sees half a film."""
    part = out.with_name(f".{out.name}.part")
    try:
        shutil.copyfile(source, part)
        part.replace(out)
    except OSError as error:
        part.unlink(missing_ok=True)
        told = f"{out} cannot be written ({error.strerror}); choose another place with -o"
        raise ViralsyncError(told, code="OUTPUT_UNWRITABLE") from error


def render_movie_job() -> Any:
    """The job `render_movie`, for Dagster to build again in its own processes."""
    from viralsync_pipelines.defs.build import build_defs

    return build_defs().resolve_job_def("render_movie")
