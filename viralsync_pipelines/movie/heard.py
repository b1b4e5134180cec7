"""What a waveform listens to: a voice, a sound, every voice, or the whole mix; and whether there is any such sound. Pure.

What belongs here: from `source` to cues, and the faults of it. What does not: which of their samples a frame shows (waves.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.known import Known
from viralsync_pipelines.movie.layers import AudioLayer, VideoLayer, VoiceLayer, WaveformLayer
from viralsync_pipelines.movie.mix import Cue, Point, multiply
from viralsync_pipelines.movie.spec import Movie
from viralsync_pipelines.movie.wording import near


@dataclass(frozen=True)
class Heard:
    """A cue of the film, the id of the layer it comes from, and the scene that layer is in (None: it lies over the movie)."""

    layer: str | None
    scene: int | None
    cue: Cue


def listened(source: str, scene: int | None, heard: Sequence[Heard], ducking: tuple[Point, ...], origin: int) -> tuple[Cue, ...]:
    """The cues a waveform in `scene` (None: over the movie) shows, on a clock that begins at sample `origin` of the film.

    Inside a scene it hears the scene's own sound and that over the movie, or every edit of a scene would change its neighbours.
    Levels are those of the film only in "mix"; what is listened to alone is seen at its full height however softly it is played.
    """
    near_enough = [each for each in heard if scene is None or each.scene in {scene, None}]
    if source == "mix":
        chosen = near_enough
    elif source == "voice":
        chosen = [each for each in near_enough if each.cue.speech]
    else:
        named = [each for each in near_enough if each.layer == source]
        # An id in the own scene, or over the movie, hides the same id elsewhere.
        chosen = [each for each in named if each.scene == scene] or named
    return tuple(_on_clock(each.cue, ducking, origin, mixed=source == "mix") for each in chosen)


def _on_clock(cue: Cue, ducking: tuple[Point, ...], origin: int, *, mixed: bool) -> Cue:
    shape = cue.shape
    if mixed and cue.duck and ducking:
        shape = multiply(shape, tuple((x - cue.at, y) for x, y in ducking))
    return replace(cue, at=cue.at - origin, shape=shape, gain=cue.gain if mixed else 1.0, duck=False, speech=False)


def waveform_faults(movie: Movie, known: Known) -> list[Problem]:
    """Waveforms that listen to nothing: a name nobody has, a layer without sound, or one that is silent."""
    problems = list(_faults(movie.layers, "", movie, [layer for scene in movie.scenes for layer in scene.layers], known))
    for number, scene in enumerate(movie.scenes):
        problems += _faults(scene.layers, f"/scenes/{number}", movie, movie.layers, known)
    return problems


def _faults(layers: Sequence[Any], at: str, movie: Movie, others: Sequence[Any], known: Known) -> Iterator[Problem]:
    for number, layer in enumerate(layers):
        if isinstance(layer, WaveformLayer):
            told = _fault(layer.source, layers, others, known)
            if told is not None:
                yield Problem(f"{at}/layers/{number}/source", *told)


def _fault(source: str, own: Sequence[Any], others: Sequence[Any], known: Known) -> tuple[str, str] | None:
    everywhere = [*own, *others]
    if source in {"voice", "mix"}:
        kinds = (VoiceLayer,) if source == "voice" else (VoiceLayer, AudioLayer, VideoLayer)
        silent = [_silence(layer, known) for layer in everywhere if isinstance(layer, kinds)]
        if not silent:
            what = "is no voice layer" if source == "voice" else "is no voice, audio or video layer"
            return "VALUE_NOT_ALLOWED", f"there {what} to be heard here; add one, or leave the waveform out"
        return None if None in silent else ("VALUE_NOT_ALLOWED", f"nothing of this is heard: {silent[0]}")
    named = [layer for layer in own if layer.id == source] or [layer for layer in others if layer.id == source]
    if not named:
        sounding = [layer.id for layer in everywhere if isinstance(layer, VoiceLayer | AudioLayer | VideoLayer) and layer.id]
        hint = near(source, sounding, 0.6) or '; name a voice or audio layer, or write "voice" or "mix"'
        return "SOURCE_NOT_FOUND", f"no layer has the id {source!r}{hint}"
    silent = [_silence(layer, known) for layer in named]
    return None if None in silent else ("VALUE_NOT_ALLOWED", f"{source!r} is silent: {silent[0]}")


def _silence(layer: Any, known: Known) -> str | None:
    """Why a layer is not heard, with the remedy; None when it is."""
    if not isinstance(layer, VoiceLayer | AudioLayer | VideoLayer):
        return f"it is a {layer.type} layer; name a voice or audio layer"
    if layer.volume == 0:
        return "its volume is 0; raise it"
    if vars(layer).get("muted", False):
        return "it is muted; take `muted` away"
    info = known.sources[layer.src].info if not isinstance(layer, VoiceLayer) and layer.src in known.sources else None
    if info is not None and info.sample_rate is None:
        return "its file has no sound; name another layer"
    return None
