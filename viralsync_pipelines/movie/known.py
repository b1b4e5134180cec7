"""What was measured of a movie's sources and lines, and the lengths that follow from it.

What belongs here: lengths of layers and scenes. What does not: when they begin (measure.py), laying them out (plan.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from viralsync_pipelines.media import MediaInfo, MediaRef
from viralsync_pipelines.movie.caption_files import Cue
from viralsync_pipelines.movie.layers import AudioLayer, VideoLayer, VoiceLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.script import Spoken
from viralsync_pipelines.movie.spec import Scene
from viralsync_pipelines.movie.staging import line_of
from viralsync_pipelines.movie.timing import whole_frames


@dataclass(frozen=True)
class KnownSource:
    """A source that was brought in and probed: its content, what it is, the ffmpeg demuxer that opens it ("" for fonts),
    and where its bytes lay on the machine that planned (no part of any key)."""

    ref: MediaRef
    info: MediaInfo
    demuxer: str
    path: str = ""


@dataclass(frozen=True)
class Known:
    """Everything measured: sources by the `src` that named them, spoken lines by Line.key, caption files by their `src`."""

    sources: Mapping[str, KnownSource]
    speech: Mapping[str, Spoken]
    captions: Mapping[str, Sequence[Cue]] = field(default_factory=dict)


def natural_seconds(layer: Any, known: Known) -> Fraction | None:
    """How long a sound or clip lasts by itself, trimmed and at its speed; None when it has no length or is not known yet."""
    if isinstance(layer, VoiceLayer):
        spoken = known.speech.get(line_of(layer).key)
        return Fraction(spoken.samples, spoken.sample_rate) + exact(layer.pauseAfter) if spoken else None
    source = known.sources.get(layer.src)
    if source is None or source.info.duration is None:
        return None
    whole = source.info.duration
    if isinstance(layer, VideoLayer) and source.info.video_duration is not None:
        whole = source.info.video_duration
    if not isinstance(layer, VideoLayer | AudioLayer):
        return whole
    end = min(whole, exact(layer.trimEnd)) if layer.trimEnd is not None else whole
    return max(Fraction(0), end - exact(layer.trimStart)) / exact(layer.speed)


def own_seconds(layer: Any, known: Known) -> Fraction | None:
    """How long a voice, audio or video layer that is not looped is there: its own length, or less when `duration` says so."""
    natural = natural_seconds(layer, known)
    return natural if natural is None or not isinstance(layer.duration, float) else min(natural, exact(layer.duration))


def scene_seconds(scene: Scene, known: Known, fps: Fraction) -> Fraction | None:
    """A scene's length: as written, or "auto" = its longest voice, audio or video layer that is not looped, in whole frames."""
    if scene.duration != "auto":
        return exact(scene.duration)
    lengths = [(layer, own_seconds(layer, known)) for layer in scene.layers if decides_length(layer)]
    if any(seconds is None for _, seconds in lengths):
        return None
    end = max((exact(layer.start) + seconds for layer, seconds in lengths if seconds is not None), default=Fraction(0))
    # Up to a whole frame, so that a re-spoken line moves later scenes by whole frames and leaves their content alone.
    return whole_frames(end, fps) if end > 0 else None


def decides_length(layer: Any) -> bool:
    """Whether an "auto" scene waits for the end of this layer."""
    if isinstance(layer, VoiceLayer):
        return layer.duration != "scene"
    return isinstance(layer, VideoLayer | AudioLayer) and not layer.loop and layer.duration != "scene"
