"""The stretch of sound a waveform looks at: which samples belong to which frame, and cues cut to what some frames can see. Pure.

What belongs here: that arithmetic on samples and cues. What does not: which layers a waveform listens to (heard.py), drawing it.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

from viralsync_pipelines.movie.art import WaveArt
from viralsync_pipelines.movie.mix import Cue, Point, level
from viralsync_pipelines.movie.timing import SAMPLE_RATE


def window_at(frame: int, art: WaveArt) -> tuple[int, int]:
    """The samples [first, last) on the layer's clock that its frame shows: `art.reach` of them around the middle of its time."""
    middle = (2 * frame + 1) * SAMPLE_RATE * art.fps.denominator // (2 * art.fps.numerator)
    first = middle - art.reach // 2
    return first, first + art.reach


def seen_from(art: WaveArt, first: int, count: int) -> WaveArt:
    """The same with no more of its cues than frames [first, first + count) can see, so that other sound is no part of its key."""
    low, high = window_at(first, art)[0], window_at(first + count - 1, art)[1]
    return replace(art, cues=tuple(cut for cue in art.cues if (cut := _cut(cue, low, high)) is not None))


def later(art: WaveArt, frames: int) -> WaveArt:
    """The same on the clock of a layer that begins `frames` frames later (within a sample at rates like 30000/1001)."""
    passed = frames * SAMPLE_RATE * art.fps.denominator // art.fps.numerator
    return replace(art, cues=tuple(replace(cue, at=cue.at - passed) for cue in art.cues))


def _cut(cue: Cue, low: int, high: int) -> Cue | None:
    first, last = max(cue.at, low), min(cue.at + cue.length, high)
    if last <= first:
        return None
    # A loop keeps its beginning: where in its round it is depends on how long the file turns out to be.
    passed = 0 if cue.span else first - cue.at
    length = last - cue.at - passed
    return replace(cue, at=cue.at + passed, length=length, skip=cue.skip + passed, shape=_shape(cue.shape, passed, length))


def _shape(points: tuple[Point, ...], passed: int, length: int) -> tuple[Point, ...]:
    """The part of an envelope over [passed, passed + length), on the clock of what is left; () where it changes nothing."""
    if not points:
        return ()
    inside = [(x, y) for x, y in points if passed < x < passed + length]
    kept = [(passed, level(points, passed)), *inside, (passed + length, level(points, passed + length))]
    return tuple((x - passed, y) for x, y in kept) if any(y != 1 for _, y in kept) else ()


def reach_of(mode: str) -> int:
    """Samples a waveform shows at once: bars a second, a line 40 ms, in which the waves of a voice can be told apart."""
    return int(SAMPLE_RATE * (Fraction(1) if mode == "bars" else Fraction(1, 25)))
