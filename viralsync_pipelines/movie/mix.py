"""What is heard, as values: cues placed to the sample, gain as straight lines between points, and ducking from known speech.

What belongs here: cues and their envelopes. What does not: decoding, summing and encoding (render/sound.py).
"""

from __future__ import annotations

from bisect import bisect_right
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
    follows: the sound of a picture; its rounds keep their length, where others close up when the sound ends before the round.
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
    follows: bool = False


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


# Straight pieces between two points of a product that bends: 8 keep it within 1/256 of the true curve.
_BENDS = 8


def multiply(a: Sequence[Point], b: Sequence[Point]) -> tuple[Point, ...]:
    """The product of two envelopes: exact at the points of both, and where both change at once (a fade under a swell, which
    no straight line follows) within 0.004 between them."""
    if not a or not b:
        return tuple(a or b)
    places = sorted({x for x, _ in a} | {x for x, _ in b})
    points = {places[0]: level(a, places[0]) * level(b, places[0])}
    for left, right in zip(places, places[1:], strict=False):
        bent = level(a, left) != level(a, right) and level(b, left) != level(b, right)
        for step in range(1, _BENDS + 1) if bent else (_BENDS,):
            x = left + (right - left) * step // _BENDS
            points[x] = level(a, x) * level(b, x)
    return tuple(points.items())


def level(points: Sequence[Point], sample: int) -> float:
    """An envelope's factor at a sample; 1 for an empty envelope."""
    if not points:
        return 1.0
    after = bisect_right(points, sample, key=lambda point: point[0])
    if after == 0:
        return points[0][1]
    if after == len(points):
        return points[-1][1]
    (x0, y0), (x1, y1) = points[after - 1], points[after]
    return y0 + (y1 - y0) * (sample - x0) / (x1 - x0)


def duck_under(
    spans: Iterable[tuple[int, int]], amount: float, attack: float, release: float, merge: float
) -> tuple[Point, ...]:
    """The curve a bed follows under speech. `spans` are samples of speech; attack, release and merge are seconds.

    The bed is down when the first word sounds, pauses shorter than `merge` stay down, and curves that would meet before
    the bed is up again are joined at the level they reach. Known speech beats a side chain: nothing pumps, nothing is late.
    """
    fall, rise = max(1, int(attack * SAMPLE_RATE)), max(1, int(release * SAMPLE_RATE))
    joined: list[list[int]] = []
    for start, end in sorted(span for span in spans if span[1] > span[0]):
        if joined and start - joined[-1][1] < merge * SAMPLE_RATE + fall:
            joined[-1][1] = max(joined[-1][1], end)
        else:
            joined.append([start, end])
    points: list[Point] = []
    for start, end in joined:
        leave = start - fall
        if points and leave < points[-1][0]:
            # The bed has not come back up when it must go down again: it turns on the rising line.
            low, high = points[-2], points.pop()
            if leave > low[0]:
                points.append((leave, level([low, high], leave)))
        elif leave >= 0 and (not points or leave > points[-1][0]):
            points.append((leave, 1.0))
        elif leave < 0 and not points and start > 0:
            # Speech before a whole attack has passed: on the way down already as the film begins.
            points.append((0, amount + (1 - amount) * start / fall))
        points += [(start, amount), (end, amount), (end + rise, 1.0)]
    return tuple(points)
