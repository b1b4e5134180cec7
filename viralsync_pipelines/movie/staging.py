"""One layer of the spec put on stage: its frames, its place in pixels, what of its source is used, and its sound cue.

What belongs here: everything about a single layer between spec and plan. What does not: scenes and pieces (plan.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from viralsync_pipelines.movie.art import Gradient, Paint, Plate, ProgressArt, Shadow, ShapeArt, Stroke, TextArt, WaveArt
from viralsync_pipelines.movie.layers import (
    AudioLayer,
    CaptionsLayer,
    ImageLayer,
    Keyframe,
    ProgressLayer,
    ShapeLayer,
    TextLayer,
    VideoLayer,
    VoiceLayer,
    WaveformLayer,
)
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.mix import Cue, Point, fades, multiply
from viralsync_pipelines.movie.motion import Framing, KenBurnsMove, Motion, Passage, ease
from viralsync_pipelines.movie.motion import Key as MotionKey
from viralsync_pipelines.movie.picture import Canvas, Content, Footage, Key, Look, Placement, Tone, Visual
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.spec import Audio
from viralsync_pipelines.movie.timing import frame_at, sample_at_frame, samples
from viralsync_pipelines.movie.waves import reach_of

PIVOTS: Mapping[str, tuple[float, float]] = {
    "center": (0.5, 0.5),
    "top": (0.5, 0.0),
    "bottom": (0.5, 1.0),
    "left": (0.0, 0.5),
    "right": (1.0, 0.5),
    "top-left": (0.0, 0.0),
    "top-right": (1.0, 0.0),
    "bottom-left": (0.0, 1.0),
    "bottom-right": (1.0, 1.0),
}
# Text without a width wraps here, so that nobody's title touches the edge of a phone.
_TEXT_SHARE = 0.9


@dataclass(frozen=True)
class Stage:
    """Where layers are put: a canvas and a window of the movie's clock (a scene, or the whole film).

    film: frames of the whole film. listen: what a waveform with this `source` shows, on a clock that begins at a sample of the film.
    """

    canvas: Canvas
    first: int
    frames: int
    audio: Audio
    sources: Mapping[str, Any]
    overlap_in: int = 0
    overlap_out: int = 0
    film: int = 0
    listen: Callable[[str, int], tuple[Cue, ...]] = lambda source, origin: ()

    @property
    def seconds(self) -> Fraction:
        return self.frames / self.canvas.fps


def line_of(layer: VoiceLayer) -> Line:
    """What a voice layer wants said."""
    return Line(
        layer.ssml if layer.ssml is not None else layer.text or "", layer.ssml is not None, layer.voice, layer.engine, layer.speed,
        layer.pitch, layer.style, layer.stability, layer.similarity, layer.language, tuple(layer.fallback),
    )  # fmt: skip


def stage_visual(layer: Any, stage: Stage) -> tuple[Visual, ...]:
    """The layer as it is seen on stage; nothing for sound, for captions (captioned.py), or for what never shows."""
    if isinstance(layer, AudioLayer | VoiceLayer | CaptionsLayer):
        return ()
    fps = stage.canvas.fps
    first = frame_at(exact(layer.start), fps)
    asked = _asked_seconds(layer, stage)
    last = stage.frames if asked is None else min(stage.frames, frame_at(exact(layer.start) + asked, fps))
    if last <= first or first >= stage.frames:
        return ()
    content, placement = _content(layer, stage, first)
    look, motion = _look(layer, placement), _motion(layer, placement, stage)
    for name in ("rotation", "opacity"):
        if motion.track(name) is not None:
            look = Look(**{**look.__dict__, name: 0.0 if name == "rotation" else 1.0})
    return (Visual(first, last - first, placement, look, motion, content),)


def _asked_seconds(layer: Any, stage: Stage) -> Fraction | None:
    """How long the layer is there; None means until the stage ends."""
    if isinstance(layer, ImageLayer) and layer.duration == "auto":
        length: Fraction | None = stage.sources[layer.src].info.duration  # of a GIF or WebP that plays; stills have none
        return length
    natural = _source_seconds(layer, stage) if isinstance(layer, VideoLayer | AudioLayer) else None
    looped = vars(layer).get("loop", False)
    if isinstance(layer.duration, float):
        asked = exact(layer.duration)
        return asked if natural is None or looped else min(asked, natural)
    return None if looped or natural is None else natural


def _source_seconds(layer: VideoLayer | AudioLayer, stage: Stage) -> Fraction | None:
    info = stage.sources[layer.src].info
    # Sound that starts late in its file keeps its silence in front.
    own = info.video_duration if isinstance(layer, VideoLayer) else info.audio_duration and info.audio_start + info.audio_duration
    whole: Fraction | None = own or info.duration
    if whole is None:
        return None
    end = min(whole, exact(layer.trimEnd)) if layer.trimEnd is not None else whole
    return max(Fraction(0), end - exact(layer.trimStart)) / exact(layer.speed)


def _content(layer: Any, stage: Stage, first: int) -> tuple[Content, Placement]:
    canvas = stage.canvas
    px, py = PIVOTS[layer.anchor]
    x = layer.x.of(canvas.width) if layer.x is not None else px * canvas.width
    y = layer.y.of(canvas.height) if layer.y is not None else py * canvas.height
    width = max(1.0, layer.width.of(canvas.width)) if layer.width is not None else None
    height = max(1.0, layer.height.of(canvas.height)) if layer.height is not None else None
    if isinstance(layer, TextLayer):
        wrap = width or canvas.width * _TEXT_SHARE
        art = _text_art(layer, stage, round(wrap), None if height is None else round(height))
        return art, Placement(x, y, px, py, wrap, height, hug=width is None)
    if isinstance(layer, ShapeLayer):
        width = width or float(canvas.width)
        height = height or (4.0 if layer.shape == "line" else float(canvas.height))
        shape = ShapeArt(
            layer.shape, max(1, round(width)), max(1, round(height)), _paint(layer), _stroke(layer), layer.radius
        )
        return shape, Placement(x, y, px, py, shape.width, shape.height)
    if isinstance(layer, ProgressLayer | WaveformLayer):
        size = max(1, round(width or 1)), max(1, round(height or 1))
        drawn = _progress(layer, stage, first, size) if isinstance(layer, ProgressLayer) else _wave(layer, stage, first, size)
        return drawn, Placement(x, y, px, py, *size)
    footage, size = _footage(layer, stage, width, height)
    return footage, Placement(x, y, px, py, *size)


def _progress(layer: ProgressLayer, stage: Stage, first: int, size: tuple[int, int]) -> ProgressArt:
    passed, total = (first, stage.frames) if layer.of == "scene" else (stage.first + first, stage.film)
    return ProgressArt(layer.color, layer.background, *size, passed, total)


# Of a canvas' shorter side: from one bar to the next, and the thickness of a line.
_BAR_SHARE, _LINE_SHARE = 1 / 60, 1 / 216


def _wave(layer: WaveformLayer, stage: Stage, first: int, size: tuple[int, int]) -> WaveArt:
    canvas = stage.canvas
    short = min(canvas.width, canvas.height)
    return WaveArt(
        layer.color, *size, max(1, round(size[0] / (short * _BAR_SHARE))) if layer.mode == "bars" else 0, short * _LINE_SHARE, canvas.fps,
        reach_of(layer.mode), stage.listen(layer.source, sample_at_frame(stage.first + first, canvas.fps)),
    )  # fmt: skip


def _footage(
    layer: VideoLayer | ImageLayer, stage: Stage, width: float | None, height: float | None
) -> tuple[Footage, tuple[float, float]]:
    source = stage.sources[layer.src]
    info = source.info
    # Geometry is reckoned in square pixels as wide as the picture is seen, and put back into stored pixels at the end.
    sar = float(1 / info.sar if info.rotation % 180 else info.sar) if info.sar > 0 else 1.0
    seen = info.width * sar
    left, top, crop_w, crop_h = 0.0, 0.0, seen, float(info.height)
    if layer.crop is not None:
        left = min(max(0.0, layer.crop.x.of(seen)), seen - 1.0)
        top = min(max(0.0, layer.crop.y.of(info.height)), info.height - 1.0)
        crop_w = max(1.0, min(layer.crop.width.of(seen), seen - left))
        crop_h = max(1.0, min(layer.crop.height.of(info.height), info.height - top))
    if width is None and height is None:
        width, height = float(stage.canvas.width), float(stage.canvas.height)
    elif width is None:
        width = (height or 1.0) * crop_w / crop_h
    elif height is None:
        height = width * crop_h / crop_w
    height = height or 1.0
    size = (width, height)
    if layer.fit == "cover":
        share = min(crop_w / width, crop_h / height)
        inner_w, inner_h = width * share, height * share
        left, top = left + (crop_w - inner_w) / 2, top + (crop_h - inner_h) / 2
        crop_w, crop_h = inner_w, inner_h
    elif layer.fit == "contain":
        share = min(width / crop_w, height / crop_h)
        size = (crop_w * share, crop_h * share)
    elif layer.fit == "none":
        size = (crop_w, crop_h)
    moving = isinstance(layer, VideoLayer) or info.animated
    start = exact(layer.trimStart) if isinstance(layer, VideoLayer) else Fraction(0)
    speed = exact(layer.speed) if isinstance(layer, VideoLayer) else Fraction(1)
    seconds = None
    loop = 0
    if moving:
        shown = _source_seconds(layer, stage) if isinstance(layer, VideoLayer) else info.duration
        shown = shown or Fraction(1)
        seconds = shown * speed
        if getattr(layer, "loop", True):
            loop = max(1, frame_at(shown, stage.canvas.fps))
    footage = Footage(
        source.ref.sha256, source.demuxer, decoder_for(info.codec, info.alpha), (info.width, info.height),
        (left / sar, top, crop_w / sar, crop_h), moving, start, seconds, info.fps, speed, loop, info.alpha, info.hdr, info.matrix,
        info.colour_range, info.primaries, info.video_stream if moving else None,
        moving and info.pix_fmt.startswith("yuv"),
    )  # fmt: skip
    return footage, size


def decoder_for(codec: str, alpha: bool) -> str:
    """ffmpeg's own VP8 and VP9 decoders drop the alpha plane (trac #8344); libvpx keeps it."""
    return {"vp9": "libvpx-vp9", "vp8": "libvpx"}.get(codec, "") if alpha else ""


def text_art(layer: TextLayer, stage: Stage) -> TextArt:
    """What a text layer has drawn; wrapped at nine tenths of the canvas when it has no width of its own."""
    canvas = stage.canvas
    width = max(1.0, layer.width.of(canvas.width)) if layer.width is not None else canvas.width * _TEXT_SHARE
    height = max(1.0, layer.height.of(canvas.height)) if layer.height is not None else None
    return _text_art(layer, stage, round(width), None if height is None else round(height))


def _text_art(layer: TextLayer, stage: Stage, width: int, height: int | None) -> TextArt:
    weight = {"normal": 400, "bold": 700}.get(layer.fontWeight, layer.fontWeight) if isinstance(layer.fontWeight, str) else layer.fontWeight
    fit = (layer.autoFit.min, layer.autoFit.max) if layer.autoFit is not None else None
    if fit is not None and height is None:
        height = round(stage.canvas.height * _TEXT_SHARE)
    shadow = layer.shadow
    plate = layer.background
    return TextArt(
        text=layer.text.upper() if layer.uppercase else layer.text,
        family=layer.fontFamily,
        font_sha=stage.sources[layer.fontUrl].ref.sha256 if layer.fontUrl is not None else None,
        weight=int(weight),
        italic=layer.fontStyle == "italic",
        size=max(4.0, min(2000.0, layer.fontSize.of(stage.canvas.height))),
        fit=fit,
        paint=_paint(layer),
        align=layer.align,
        line_height=layer.lineHeight,
        letter_spacing=layer.letterSpacing,
        box_width=max(1, width),
        box_height=height,
        background=Plate(plate.color, plate.padding, plate.radius) if plate is not None else None,
        stroke=_stroke(layer),
        shadow=Shadow(shadow.color, shadow.x, shadow.y, shadow.blur) if shadow is not None else None,
    )


def _paint(layer: TextLayer | ShapeLayer) -> Paint:
    return Gradient(tuple(layer.gradient.colors), layer.gradient.angle) if layer.gradient is not None else layer.color


def _stroke(layer: TextLayer | ShapeLayer) -> Stroke | None:
    return Stroke(layer.stroke.color, layer.stroke.width) if layer.stroke is not None and layer.stroke.width > 0 else None


def _look(layer: Any, placement: Placement) -> Look:
    tone = Tone(**layer.filters.model_dump()) if layer.filters is not None else None
    key = Key(layer.chromaKey.color, layer.chromaKey.similarity, layer.chromaKey.blend) if layer.chromaKey is not None else None
    extent = min(placement.width, placement.height if placement.height is not None else placement.width)
    radius = max(0.0, layer.borderRadius.of(extent))
    return Look(layer.opacity, layer.rotation, layer.flip, radius, layer.blend, None if tone == Tone() else tone, key)


def _motion(layer: Any, placement: Placement, stage: Stage) -> Motion:
    fps = stage.canvas.fps
    tracks = []
    for name, keys in sorted(layer.keyframes.items()):
        if name != "volume":
            tracks.append((name, tuple(_motion_key(name, key, placement, stage) for key in keys)))
    ken = vars(layer).get("kenBurns")
    move = None
    if ken is not None:
        start, end = ken.from_, ken.to
        move = KenBurnsMove(Framing(start.x, start.y, start.scale), Framing(end.x, end.y, end.scale), ken.easing)
    return Motion(
        tuple(tracks), _passage(layer.enter, fps), _passage(layer.exit, fps), move, vars(layer).get("reveal")
    )


def _motion_key(name: str, key: Keyframe, placement: Placement, stage: Stage) -> MotionKey:
    value = key.value.value
    if name in {"x", "width"}:
        value = key.value.of(stage.canvas.width)
    elif name in {"y", "height"}:
        value = key.value.of(stage.canvas.height)
    if name == "x":
        value -= placement.x
    elif name == "y":
        value -= placement.y
    elif name == "width":
        value = max(0.0, value) / placement.width
    elif name == "height":
        value = max(0.0, value) / (placement.height or placement.width)
    return MotionKey(float(exact(key.at) * stage.canvas.fps), value, key.easing)


def _passage(animation: Any, fps: Fraction) -> Passage | None:
    if animation is None:
        return None
    plain = "linear" if animation.type == "fade" or animation.type.startswith("wipe") else "ease-out"
    return Passage(animation.type, float(exact(animation.duration) * fps), animation.easing or plain)


def cues_of(layer: Any, stage: Stage, speech: Mapping[str, Spoken]) -> tuple[Cue, ...]:
    """The layer as it is heard on stage; nothing for what is silent."""
    if not isinstance(layer, VoiceLayer | AudioLayer | VideoLayer):
        return ()
    base = sample_at_frame(stage.first, stage.canvas.fps)
    end = sample_at_frame(stage.first + stage.frames, stage.canvas.fps)
    if isinstance(layer, VoiceLayer):
        spoken = speech.get(line_of(layer).key)
        at = base + samples(exact(layer.start))
        if spoken is None or layer.volume == 0 or at >= end:
            return ()
        length = min(end - at, samples(Fraction(spoken.samples, spoken.sample_rate)))
        if isinstance(layer.duration, float):
            length = min(length, samples(exact(layer.duration)))
        track = layer.keyframes.get("volume")
        shape = _volume_points(track) if track is not None else ()
        return (Cue(spoken.sha256, "wav", at, length, 0, gain=layer.volume, shape=shape, speech=True),) if length > 0 else ()
    if layer.volume == 0 or vars(layer).get("muted", False):
        return ()
    source = stage.sources[layer.src]
    if source.info.sample_rate is None:
        return ()
    fps = stage.canvas.fps
    # A clip's sound starts with its first frame; a sound of its own starts on its sample.
    lead = frame_at(exact(layer.start), fps)
    at = sample_at_frame(stage.first + lead, fps) if isinstance(layer, VideoLayer) else base + samples(exact(layer.start))
    asked = _asked_seconds(layer, stage)
    stop = end if asked is None else min(end, at + samples(asked))
    if stop <= at:
        return ()
    speed = exact(layer.speed)
    own = _source_seconds(layer, stage)
    span = samples(own) if layer.loop and own else 0
    if span and isinstance(layer, VideoLayer):
        # The picture's round is whole frames; the sound's is as long, or they drift apart.
        span = sample_at_frame(max(1, frame_at(own or Fraction(0), fps)), fps)
    cue = Cue(
        source.ref.sha256, source.demuxer, at, stop - at, samples(exact(layer.trimStart) / speed),
        span, speed, layer.volume, _shape(layer, stop - at, stage, at), vars(layer).get("duck", False),
        follows=isinstance(layer, VideoLayer),
    )  # fmt: skip
    return (cue,)


def _shape(layer: AudioLayer | VideoLayer, length: int, stage: Stage, at: int) -> tuple[Point, ...]:
    shape = fades(length, samples(exact(layer.fadeIn)), samples(exact(layer.fadeOut)))
    track = layer.keyframes.get("volume")
    if track is not None:
        shape = multiply(shape, _volume_points(track))
    if isinstance(layer, VideoLayer) and (stage.overlap_in or stage.overlap_out):
        shape = multiply(shape, _crossfade(stage, at))
    return shape


def _volume_points(keys: list[Keyframe]) -> tuple[Point, ...]:
    """Keyframed volume as straight lines; a bent easing becomes sixteen of them."""
    points: dict[int, float] = {samples(exact(keys[0].at)): keys[0].value.value}
    for before, after in zip(keys, keys[1:], strict=False):
        steps = 1 if after.easing == "linear" else 16
        a, b = samples(exact(before.at)), samples(exact(after.at))
        for step in range(1, steps + 1):
            u = step / steps
            points[a + round((b - a) * u)] = before.value.value + (after.value.value - before.value.value) * ease(after.easing, u)
    return tuple(sorted(points.items()))


def _crossfade(stage: Stage, at: int) -> tuple[Point, ...]:
    """Clip sound fades across the overlaps of its scene; speech and effects keep their level."""
    fps = stage.canvas.fps

    def place(frame: int) -> int:
        return sample_at_frame(stage.first + frame, fps) - at

    points: dict[int, float] = {}
    if stage.overlap_in:
        points |= {place(0): 0.0, place(stage.overlap_in): 1.0}
    if stage.overlap_out:
        points |= {place(stage.frames - stage.overlap_out): 1.0, place(stage.frames): 0.0}
    return tuple(sorted(points.items()))


