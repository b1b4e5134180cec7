"""`viralsync render`: from a movie file to a film through Dagster, or to one frame of it without.

What belongs here: this command. What does not: the terminal's bars (terminal.py), Dagster's run (orchestrator/foreground.py).
"""

from __future__ import annotations

import argparse
import json
import os
import re
import secrets
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import (
    ArgumentsWrong,
    movie_arguments,
    output_path,
    read_movie_file,
    studio_for,
    variables_of,
)
from viralsync_pipelines.cli.outputs import copy_whole, fetch_whole
from viralsync_pipelines.cli.plan import plan_facts
from viralsync_pipelines.jobs.run_config import DEFAULT_PRESET, MAX_CONCURRENCY, PRESETS, parallel_scenes

if TYPE_CHECKING:
    from viralsync_pipelines.defs.studio import Studio
    from viralsync_pipelines.movie.plan import MoviePlan
    from viralsync_pipelines.render.prepare import Prepared
    from viralsync_pipelines.settings import Settings
    from viralsync_pipelines.storage.store import Store



def add_to(commands: Any) -> None:
    """The command's arguments."""
    render = commands.add_parser("render", help="render a movie JSON to a film")
    movie_arguments(render)
    render.add_argument("-o", "--output", type=Path, help="where the film (or with --still the picture) goes; default <movie>.mp4")
    render.add_argument("--draft", action="store_true", help="half size and fast; the same timing")
    render.add_argument("--scene", metavar="ID", help="only this scene, as its own film")
    render.add_argument("--still", metavar="SECONDS", help="one frame as a PNG instead of a film; default <movie>.png")
    render.add_argument("--preset", choices=sorted(PRESETS), default=DEFAULT_PRESET,
                        help="scenes at a time: stable 2, balanced 3, fast 4, turbo 6")  # fmt: skip
    render.add_argument("--concurrency", type=int, metavar="N", help="scenes at a time, 1 to 32; instead of --preset")
    render.set_defaults(run=render_command)


def render_command(args: argparse.Namespace, settings: Settings) -> int:
    began = time.monotonic()
    if args.concurrency is not None and not 1 <= args.concurrency <= MAX_CONCURRENCY:
        raise ArgumentsWrong(f"--concurrency must lie between 1 and {MAX_CONCURRENCY}", code="VALUE_OUT_OF_RANGE")
    out = output_path(args.output, args.movie, ".mp4" if args.still is None else ".png")
    document, folder = read_movie_file(args.movie)
    variables = variables_of(args.set)
    from viralsync_pipelines.generate.in_movies import has_generated

    if has_generated(document):
        from viralsync_pipelines.cli.generate_first import generated_first

        document, variables = generated_first(document, variables, settings, quiet=args.json), {}
    studio = studio_for(settings, folder)
    if args.scene is not None:
        document, variables = _only_scene(document, variables, args.scene, studio), {}
    # Planned here first: problems are told before Dagster starts, and a film that needs nothing needs no processes either.
    prepared = studio.prepare(document, variables, draft=args.draft)
    if any(source.path and out.exists() and out.samefile(source.path) for source in prepared.plan.sources.values()):
        raise ArgumentsWrong(f"{out} is one of the movie's own files; choose another name with -o", code="OUTPUT_UNWRITABLE")
    if args.still is not None:
        return _still(args, studio, prepared, out)
    return _render(args, settings, studio, prepared, document, folder, variables, out, began)


def _only_scene(document: dict[str, Any], variables: dict[str, Any], name: str, studio: Studio) -> dict[str, Any]:
    """The movie with every template worked out and one scene left, without a transition into it. Movie-level layers stay."""
    from viralsync_pipelines.render.prepare import movie_id_of

    settled = studio.settle(document, variables)
    ids = [scene["id"] for scene in settled["scenes"]]
    if name not in ids:
        told = f"no scene has the id {name!r}; there are {', '.join(ids[:20])}{' and more' if len(ids) > 20 else ''}"
        raise ArgumentsWrong(told, code="SCENE_NOT_FOUND")
    scene = {k: v for k, v in settled["scenes"][ids.index(name)].items() if k != "transition"}
    return {**settled, "id": f"{movie_id_of(settled)[:40]}-{name}"[:64], "scenes": [scene]}


def _still(args: argparse.Namespace, studio: Studio, prepared: Prepared, out: Path) -> int:
    from viralsync_pipelines.render.scenes import render_still

    plan = prepared.plan
    frame = frame_of(args.still, plan)
    piece = next(p for p in plan.pieces if p.start <= frame < p.start + p.count)
    studio.scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="still-", dir=studio.scratch) as name:
        made = Path(name) / "still.png"
        render_still(piece, plan.canvas, studio.bench(plan).easel, Path(name), frame - piece.start, made)
        copy_whole(made, out)
    print(json.dumps({"path": str(out), "frame": frame, "seconds": float(frame / plan.canvas.fps)}) if args.json else str(out))
    return 0


def frame_of(text: str, plan: MoviePlan) -> int:
    """The frame that is on screen at a moment of the film, in seconds as typed."""
    # Nothing but plain decimals: Fraction("1e999999999") would never end.
    seconds = Fraction(text) if re.fullmatch(r"\d{1,9}(\.\d{0,9})?|\.\d{1,9}", text) else None
    frame = -1 if seconds is None else int(seconds * plan.canvas.fps)
    if not 0 <= frame < plan.frames:
        last = float((plan.frames - 1) / plan.canvas.fps)
        told = f"--still {text} is not a moment of this film; it lasts {float(plan.seconds):.3f} s, its last frame is at {last:.3f}"
        raise ArgumentsWrong(told, code="VALUE_OUT_OF_RANGE")
    return frame


def _render(
    args: argparse.Namespace, settings: Settings, studio: Studio, prepared: Prepared, document: dict[str, Any], folder: Path,
    variables: dict[str, Any], out: Path, began: float,
) -> int:  # fmt: skip
    from viralsync_pipelines.cli.terminal import INTERRUPTED, Watch
    from viralsync_pipelines.orchestrator.quiet import stderr_aside
    from viralsync_pipelines.render.registry import keep_version, register
    from viralsync_pipelines.storage.keys import output_key

    plan = prepared.plan
    movie_id, job_id = plan.movie_id, "job_" + secrets.token_hex(6)
    facts = plan_facts(prepared, studio)
    version = keep_version(studio.store, movie_id, document)
    if not args.draft and args.scene is None:
        register(studio.store, movie_id, document, str(folder))
    log = settings.home / "logs" / f"{job_id}.log"
    scenes = parallel_scenes(args.preset, args.concurrency, len(plan.scenes))
    # With one scene to make there is nothing to make beside it, and processes for steps would cost more than they bring.
    missing = sum(scene["framesToRender"] > scene["transitionFrames"] for scene in facts["scenes"])
    alone = facts["film"] or (facts["sound"] and missing <= 1)
    with stderr_aside(log), Watch(facts, quiet=args.json) as watch:
        if not alone:
            import viralsync_pipelines.defs.warm  # noqa: F401 - what steps need, loaded before they are forked
            from viralsync_pipelines.orchestrator.forking import fork_steps_from_here

            fork_steps_from_here()
        watch.show_bars()
        import dagster as dg

        from viralsync_pipelines.defs.build import render_movie_job
        from viralsync_pipelines.defs.instance import open_instance
        from viralsync_pipelines.jobs.orders import JOB_TAG
        from viralsync_pipelines.jobs.run_config import run_config_for
        from viralsync_pipelines.orchestrator.foreground import run_in_foreground

        config = run_config_for(
            {"document": version, "folder": str(folder), "variables": variables, "draft": args.draft},
            concurrency=scenes, in_process=alone,
        )  # fmt: skip
        with open_instance(settings, os.environ) as instance:
            instance.add_dynamic_partitions("movies", [movie_id])
            try:
                end = run_in_foreground(
                    instance, dg.reconstructable(render_movie_job), partition=movie_id, run_config=config, tags={JOB_TAG: job_id},
                    on_news=watch.news, poll_s=0.25 if watch.bars else 0.5,
                )  # fmt: skip
            except dg.DagsterExecutionInterruptedError as error:
                raise KeyboardInterrupt from error
    if end.status == "CANCELED" or any(INTERRUPTED in text for _, text in end.failures):
        raise KeyboardInterrupt
    if end.status != "SUCCESS":
        return _failed(args, end, job_id, log)
    log.unlink(missing_ok=True)
    fetch_whole(studio.store, output_key(job_id), out)
    captions = _copy_captions(studio.store, job_id, out)
    rendered = sum(scene["framesToRender"] for scene in facts["scenes"])
    done = {
        "path": str(out), "movie": movie_id, "jobId": job_id, "runId": end.run_id, "bytes": out.stat().st_size,
        "seconds": float(plan.seconds), "frames": plan.frames, "cachedFrames": plan.frames - rendered,
        "scenes": len(plan.scenes), "cachedScenes": sum(scene["cached"] for scene in facts["scenes"]),
        "elapsed": round(time.monotonic() - began, 2), "captions": captions,
    }  # fmt: skip
    if args.json:
        print(json.dumps(done))
    else:
        from viralsync_pipelines.cli.terminal import show_done

        show_done(done)
    return 0


def _failed(args: argparse.Namespace, end: Any, job_id: str, log: Path) -> int:
    if args.json:
        print(json.dumps({"error": "the render failed", "code": "RENDER_FAILED", "jobId": job_id, "runId": end.run_id, "log": str(log),
                          "failures": [{"step": step, "error": text} for step, text in end.failures]}))  # fmt: skip
    else:
        print(f"The render ended as {end.status} (run {end.run_id}).", file=sys.stderr)
        for step, text in end.failures:
            print(f"  {step}: {text}", file=sys.stderr)
        print("Finished scenes are kept: mend the cause and run the same command again.", file=sys.stderr)
        print(f"What the run's processes printed: {log}", file=sys.stderr)
    return 1


def _copy_captions(store: Store, job_id: str, out: Path) -> list[str]:
    """Caption files beside the film and under its name, as players look for them; their paths."""
    from viralsync_pipelines.storage.keys import captions_key

    copied = []
    for ending in (".srt", ".vtt", ".ass"):
        key = captions_key(job_id, f"captions{ending}")
        if store.stat(key) is not None:
            fetch_whole(store, key, out.with_suffix(ending))
            copied.append(str(out.with_suffix(ending)))
    return copied
