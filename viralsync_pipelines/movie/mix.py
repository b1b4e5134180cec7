"""What is heard, as values: cues placed to the sample, gain as straight lines between points, and ducking from known speech.

What belongs here: cues and their envelopes. What does not: decoding, summing and encoding (render/sound.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from viralsync_pipelines.movie.timing import SAMPLE_RATE

Point = tuple[int, float]


@dataclass(frozen=True)
class Cue:
    """One stretch of sound on the movie's clock, in samples at 48 kHz.

    source: sha256 of the file. at: first sample; length: samples heard. skip: source samples (after speed) passed over.
    span: samples of one round when it loops, 0 when it does not. gain: constant factor. shape: (sample from the cue's start,
    factor) points, straight lines between them, held outside. duck: gives way under speech. speech: is what others give way to.
    """

    source: str
    demuxer: str
    at: int
    length: int
    skip: int
    span: int = 0
    speed: Fraction = Fraction(1)
    gain: float = 1.0
    shape: tuple[Point, ...] = ()
    duck: bool = False
    speech: bool = False


@dataclass(frozen=True)
class Mix:
    """The whole sound of a film: `length` samples, cues in order, the ducking curve, and the loudness to reach (LUFS, dBTP)."""

    length: int
    cues: tuple[Cue, ...]
    ducking: tuple[Point, ...]
    loudness: float | None
    true_peak: float


def fades(length: int, fade_in: int, fade_out: int) -> tuple[Point, ...]:
    """Straight fades at both ends of a cue; when they meet, both shrink in proportion."""
    if fade_in + fade_out > length > 0:
        total = fade_in + fade_out
        fade_in = fade_in * length // total
        fade_out = length - fade_in
    points: list[Point] = []
    if fade_in:
        points += [(0, 0.0), (fade_in, 1.0)]
    if fade_out:
        points += [(length - fade_out, 1.0), (length, 0.0)]
    return tuple(dict(points).items())


def multiply(a: Sequence[Point], b: Sequence[Point]) -> tuple[Point, ...]:
    """The product of two envelopes, exact at the points of both and straight between them."""
    if not a or not b:
        return tuple(a or b)
    places = sorted({x for x, _ in a} | {x for x, _ in b})
    return tuple((x, level(a, x) * level(b, x)) for x in places)


def level(points: Sequence[Point], sample: int) -> float:
    """An envelope's factor at a sample; 1 for an empty envelope."""
    if not points:
        return 1.0
    if sample <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in zip(points, points[1:], strict=False):
        if sample < x1:
            return y0 + (y1 - y0) * (sample - x0) / (x1 - x0)
    return points[-1][1]


def duck_under(
    spans: Iterable[tuple[int, int]], amount: float, attack: float, release: float, merge: float
) -> tuple[Point, ...]:
    """The curve a bed follows under speech. `spans` are samples of speech; attack, release and merge are seconds.

    The bed is down when the first word sounds, pauses shorter than `merge` stay down, and curves that would meet before
    the bed is up again are joined at the level they reach. Known speech beats a side chain: nothing pumps, nothing is late.
    """
    joined: list[list[int]] = []
    for start, end in sorted(spans):
        if joined and start - joined[-1][1] < (merge + attack) * SAMPLE_RATE:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    points: list[Point] = []
    fall, rise = max(1, int(attack * SAMPLE_RATE)), max(1, int(release * SAMPLE_RATE))
    for start, end in joined:
        top = 1.0
        if points and points[-1][0] > start - fall:
            # The bed has not come back up when it must go down again: meet on the rising line.
            low, high = points[-2], points[-1]
            meet = max(low[0] + 1, min(high[0], start - fall))
            top = level([low, high], meet)
            points[-1] = (meet, top)
        elif start - fall > (points[-1][0] if points else -1):
            points.append((start - fall, top))
        points += [(max(start, points[-1][0] + 1 if points else start), amount), (end, amount), (end + rise, 1.0)]
    return tuple(points)
