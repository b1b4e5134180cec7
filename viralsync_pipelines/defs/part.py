"""What one scene step needs of a plan, and no more: a film of a thousand scenes is not read a thousand times by its steps.

What belongs here: cutting a prepared film into scenes. What does not: planning, and plans as JSON (render/prepare.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from viralsync_pipelines.movie.picture import Piece
from viralsync_pipelines.render.prepare import Prepared


def parts_of(prepared: Prepared) -> Iterator[Prepared]:
    """For every scene in order: the same film with this scene's pieces, clip keys and sources alone, and no sound."""
    plan = prepared.plan
    mine: list[list[tuple[Piece, str]]] = [[] for _ in plan.scenes]
    for piece, key in zip(plan.pieces, prepared.clip_keys, strict=True):
        mine[piece.scene].append((piece, key))
    silent = replace(plan.mix, cues=(), ducking=())
    for scene, pairs in zip(plan.scenes, mine, strict=True):
        shown = {sha256 for piece, _ in pairs for sha256 in piece.files}
        small = replace(
            plan, scenes=(scene,), pieces=tuple(piece for piece, _ in pairs), mix=silent, captions=(),
            speech={sha256: spoken for sha256, spoken in plan.speech.items() if sha256 in shown},
            sources={sha256: source for sha256, source in plan.sources.items() if sha256 in shown},
        )  # fmt: skip
        yield replace(prepared, plan=small, clip_keys=tuple(key for _, key in pairs))
