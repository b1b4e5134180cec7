"""`viralsync plan|diff|schema`: what would be made, what a change would make again, and what a movie may say.

What belongs here: these commands and their facts. What does not: tables (terminal.py), rendering (render.py).
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.cli.inputs import json_argument, movie_arguments, read_movie_file, studio_for, variables_of

if TYPE_CHECKING:
    from viralsync_pipelines.defs.studio import Studio
    from viralsync_pipelines.render.prepare import Prepared
    from viralsync_pipelines.settings import Settings


def add_to(commands: Any) -> None:
    """The commands' arguments."""
    plan = commands.add_parser("plan", help="show scenes, frames, cache hits, inputs and problems without rendering")
    movie_arguments(plan)
    plan.add_argument("--draft", action="store_true", help="half size and fast; the same timing")
    plan.set_defaults(run=plan_command)
    diff = commands.add_parser("diff", help="what would be rendered again after a change")
    diff.add_argument("before", type=Path, help="the movie JSON as it was")
    diff.add_argument("after", type=Path, help="the movie JSON as it is now")
    diff.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a variable, for both movies")
    diff.add_argument("--draft", action="store_true", help="compare the drafts")
    json_argument(diff)
    diff.set_defaults(run=diff_command)
    schema = commands.add_parser("schema", help="print the JSON Schema of movies, for editors")
    json_argument(schema)
    schema.set_defaults(run=schema_command)


def plan_command(args: argparse.Namespace, settings: Settings) -> int:
    document, folder = read_movie_file(args.movie)
    studio = studio_for(settings, folder)
    facts = plan_facts(studio.prepare(document, variables_of(args.set), draft=args.draft), studio)
    if args.json:
        print(json.dumps(facts))
    else:
        from viralsync_pipelines.cli.terminal import show_plan

        show_plan(facts)
    return 0


def plan_facts(prepared: Prepared, studio: Studio) -> dict[str, Any]:
    """A plan for people and scripts: scenes with their frames and cache state, inputs, totals.

    ownFrames: the frames a scene brings to the film (its own and the transition into it), which add up to the film's.
    """
    from viralsync_pipelines.render.clips import has_clip
    from viralsync_pipelines.render.deliver import known_film
    from viralsync_pipelines.storage.keys import sound_key

    plan = prepared.plan
    there = {key: has_clip(studio.store, key) for key in dict.fromkeys(prepared.clip_keys)}
    pieces: dict[int, list[tuple[int, str]]] = defaultdict(list)
    for piece, key in zip(plan.pieces, prepared.clip_keys, strict=True):
        pieces[piece.scene].append((piece.count, key))
    scenes = [
        {
            "id": scene.id, "pointer": scene.pointer, "start": float(scene.first / plan.canvas.fps), "frames": scene.frames,
            "seconds": float(scene.frames / plan.canvas.fps), "transitionFrames": scene.overlap_in,
            "ownFrames": sum(count for count, _ in pieces[index]),
            "framesToRender": sum(count for count, key in pieces[index] if not there[key]),
            "cached": all(there[key] for _, key in pieces[index]),
        }
        for index, scene in enumerate(plan.scenes)
    ]  # fmt: skip
    return {
        "movie": plan.movie_id, "title": plan.title, "width": plan.canvas.width, "height": plan.canvas.height,
        "fps": str(plan.canvas.fps), "frames": plan.frames, "seconds": float(plan.seconds), "quality": plan.quality,
        "scenes": scenes, "clips": len(prepared.clip_keys), "hits": sum(there[key] for key in prepared.clip_keys),
        "film": known_film(prepared, studio.store) is not None,
        "sound": studio.store.stat(sound_key(prepared.mix_key)) is not None,
        "inputs": [{"src": s.ref.uri, "kind": s.ref.kind, "sha256": s.ref.sha256} for s in plan.sources.values()],
        "lines": [{"seconds": round(s.duration, 3), "words": len(s.words)} for s in plan.speech.values()],
        "cues": len(plan.mix.cues),
    }  # fmt: skip


def diff_command(args: argparse.Namespace, settings: Settings) -> int:
    plans = []
    for path in (args.before, args.after):
        document, folder = read_movie_file(path)
        plans.append(studio_for(settings, folder).prepare(document, variables_of(args.set), draft=args.draft))
    facts = diff_facts(*plans)
    if args.json:
        print(json.dumps(facts))
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

    print(json.dumps(movie_schema(), indent=None if args.json else 2))
    return 0
