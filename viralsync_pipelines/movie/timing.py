"""Time as integers: frames for picture, samples for sound, both rounded once from exact seconds on the movie's clock.

What belongs here: laying scenes on the timeline. What does not: layers, media lengths (plan.py).
Rounded lengths are never summed: 37 joined segments once lost 0.622 s that way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

SAMPLE_RATE = 48_000


@dataclass(frozen=True)
class SceneSpan:
    """One scene on the movie's clock. `start` and `duration` in exact seconds; `first` and `frames` in frames.

    overlap_in / overlap_out: frames shared with the scene before / after.
    """

    start: Fraction
    duration: Fraction
    first: int
    frames: int
    overlap_in: int
    overlap_out: int


def frame_at(seconds: Fraction, fps: Fraction) -> int:
    """The frame boundary nearest to a moment, halves up."""
    # In whole numbers throughout, here and below: a film of 20,000 layers asks a hundred thousand times, and Fraction's own
    # arithmetic was a fifth of its plan.
    below = seconds.denominator * fps.denominator
    return (2 * seconds.numerator * fps.numerator + below) // (2 * below)


def sample_at_frame(frame: int, fps: Fraction) -> int:
    """The sample at which a frame begins, halves up."""
    return (2 * frame * SAMPLE_RATE * fps.denominator + fps.numerator) // (2 * fps.numerator)


def samples(seconds: Fraction) -> int:
    """Samples in a stretch of seconds, halves up."""
    return (2 * seconds.numerator * SAMPLE_RATE + seconds.denominator) // (2 * seconds.denominator)


def whole_frames(seconds: Fraction, fps: Fraction) -> Fraction:
    """The shortest whole number of frames, in seconds, that is at least this long (a microsecond of slack)."""
    return Fraction(max(1, ceil(seconds * fps - Fraction(1, 1_000_000) * fps))) / fps


def lay_scenes(durations: Sequence[Fraction], overlaps: Sequence[Fraction], fps: Fraction) -> tuple[SceneSpan, ...]:
    """Scenes in order; `overlaps[i]` seconds of scene i lie over the end of scene i-1 (`overlaps[0]` is 0).

    The caller has made sure that no two overlaps meet inside a scene.
    """
    starts, now = [], Fraction(0)
    for index, duration in enumerate(durations):
        start = now - (overlaps[index] if index else 0)
        starts.append(start)
        now = start + duration
    firsts = [frame_at(start, fps) for start in starts]
    lasts = [frame_at(start + duration, fps) for start, duration in zip(starts, durations, strict=True)]
    spans = []
    for index, (start, duration) in enumerate(zip(starts, durations, strict=True)):
        before = lasts[index - 1] - firsts[index] if index else 0
        after = lasts[index] - firsts[index + 1] if index + 1 < len(starts) else 0
        spans.append(SceneSpan(start, duration, firsts[index], lasts[index] - firsts[index], before, after))
    return tuple(spans)
