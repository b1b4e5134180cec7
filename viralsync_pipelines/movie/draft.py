"""A plan at another size: every pixel length in it times a factor, for drafts. Time is left alone.

What belongs here: scaling plan values. What does not: choosing the factor (encoding.py).
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from viralsync_pipelines.movie.art import CaptionLook, Plate, ProgressArt, Shadow, ShapeArt, Stroke, TextArt, WaveArt
from viralsync_pipelines.movie.caption_art import Caption
from viralsync_pipelines.movie.motion import Key, Motion
from viralsync_pipelines.movie.picture import Canvas, Content, Visual
from viralsync_pipelines.movie.plan import MoviePlan


def scaled(plan: MoviePlan, factor: Fraction) -> MoviePlan:
    """The same film on a canvas `factor` times as large (rounded to even pixels)."""
    f = float(factor)
    canvas = Canvas(_even(plan.canvas.width * f), _even(plan.canvas.height * f), plan.canvas.fps)
    pieces = tuple(
        replace(
            piece, under=tuple(_visual(v, f) for v in piece.under), into=tuple(_visual(v, f) for v in piece.into),
            over=tuple(_visual(v, f) for v in piece.over), captions=_captions(piece.captions, f),
        )
        for piece in plan.pieces
    )  # fmt: skip
    tracks = tuple(replace(track, captions=_captions(track.captions, f)) for track in plan.captions)
    return replace(plan, canvas=canvas, pieces=pieces, captions=tracks)


def _captions(captions: tuple[Caption, ...], f: float) -> tuple[Caption, ...]:
    return tuple(replace(caption, look=_look(caption.look, f)) for caption in captions)


def _look(look: CaptionLook, f: float) -> CaptionLook:
    x, y, width, height = look.box
    return replace(
        look, size=look.size * f, least=look.least * f, box=(x * f, y * f, width * f, height * f), stroke=_stroke(look.stroke, f),
        shadow=_shadow(look.shadow, f), plate=_plate(look.plate, f), centre=None if look.centre is None else look.centre * f,
    )  # fmt: skip


def _plate(plate: Plate | None, f: float) -> Plate | None:
    return None if plate is None else Plate(plate.color, plate.padding * f, plate.radius * f)


def _shadow(shadow: Shadow | None, f: float) -> Shadow | None:
    return None if shadow is None else Shadow(shadow.color, shadow.x * f, shadow.y * f, shadow.blur * f)


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


def _visual(visual: Visual, f: float) -> Visual:
    place, look = visual.placement, visual.look
    placement = replace(
        place, x=place.x * f, y=place.y * f, width=place.width * f, height=None if place.height is None else place.height * f
    )
    tone = replace(look.tone, blur=look.tone.blur * f) if look.tone is not None else None
    return replace(
        visual, placement=placement, look=replace(look, radius=look.radius * f, tone=tone), motion=_motion(visual.motion, f),
        content=_content(visual.content, f),
    )  # fmt: skip


def _motion(motion: Motion, f: float) -> Motion:
    tracks = tuple(
        (name, tuple(Key(k.frame, k.value * f, k.easing) for k in track) if name in {"x", "y"} else track)
        for name, track in motion.tracks
    )
    return replace(motion, tracks=tracks)


def _stroke(stroke: Stroke | None, f: float) -> Stroke | None:
    return replace(stroke, width=stroke.width * f) if stroke is not None else None


def _content(content: Content, f: float) -> Content:
    if isinstance(content, TextArt):
        return replace(
            content,
            size=content.size * f,
            fit=None if content.fit is None else (content.fit[0] * f, content.fit[1] * f),
            letter_spacing=content.letter_spacing * f,
            box_width=max(1, round(content.box_width * f)),
            box_height=None if content.box_height is None else max(1, round(content.box_height * f)),
            background=_plate(content.background, f),
            stroke=_stroke(content.stroke, f),
            shadow=_shadow(content.shadow, f),
        )
    if isinstance(content, ShapeArt):
        return replace(
            content, width=max(1, round(content.width * f)), height=max(1, round(content.height * f)),
            stroke=_stroke(content.stroke, f), radius=content.radius * f,
        )  # fmt: skip
    if isinstance(content, ProgressArt):
        return replace(content, width=max(1, round(content.width * f)), height=max(1, round(content.height * f)))
    if isinstance(content, WaveArt):
        return replace(
            content, width=max(1, round(content.width * f)), height=max(1, round(content.height * f)), thick=content.thick * f
        )
    return content
