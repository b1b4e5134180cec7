"""Looking at the frames around joins: what is black, stray, repeated or frozen there.

What belongs here: judging joins by the small grey frames that each piece gave beside its clip (movie/glances.py). What does not:
all other verdicts (quality.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.glances import REACH, end_frames, end_size, split_ends
from viralsync_pipelines.movie.picture import Canvas

if TYPE_CHECKING:
    import numpy as np

    Grey = np.ndarray[Any, np.dtype[np.int16]]

# Luma of limited range: black is 16; a frame with nothing above 24 is black to the eye, one at 40 on average is not dark.
_BLACK, _LIT = 24, 40
# Mean difference of luma between two frames: above _MOVES they differ clearly. Stills that are drawn or decoded anew differ by far
# less than _NOISE, and by less than frames that move.
_MOVES, _NOISE, _FAR = 1.5, 3.0, 5.0


@dataclass(frozen=True)
class JoinsSeen:
    """joins: how many there are to judge. unseen: of those, how many lack frames to judge by. faults: what is wrong, in words."""

    joins: int
    unseen: int
    faults: tuple[str, ...]


def look_at_joins(
    counts: Sequence[int], joins: Sequence[int], canvas: Canvas, ends_of: Callable[[int], bytes | None]
) -> JoinsSeen:
    """Judge every join. counts: frames of each piece in order. joins: the frames, each the first of a piece, that are to be judged.

    ends_of: the end frames of a piece by its place in the film, None when nobody has them.
    """
    wanted = set(joins)
    faults: list[str] = []
    unseen = at = 0
    near: dict[int, Grey] = {}
    for number, count in enumerate(counts):
        # What lies before the reach of this join, no later one asks for either: memory stays flat in the length of the film.
        near = {n: grey for n, grey in near.items() if n >= at - REACH}
        near |= _greys(ends_of(number), at, count, canvas)
        if at in wanted:
            here = _around(near, at)
            if at in here and at - 1 in here:
                # A piece of a few frames is not all there is after its join.
                here |= _around(_ahead(number, at, counts, canvas, ends_of), at)
                faults += judge_join(at, here)
            else:
                unseen += 1
        at += count
    return JoinsSeen(len(wanted), unseen, tuple(faults))


def _around(near: Mapping[int, Grey], join: int) -> dict[int, Grey]:
    return {n: grey for n, grey in near.items() if join - REACH <= n < join + REACH}


def _ahead(
    number: int, at: int, counts: Sequence[int], canvas: Canvas, ends_of: Callable[[int], bytes | None]
) -> dict[int, Grey]:
    """The frames that pieces after a short one bring within reach of the join before it."""
    found: dict[int, Grey] = {}
    first = at + counts[number]
    while number + 1 < len(counts) and first < at + REACH:
        number += 1
        found |= _greys(ends_of(number), first, counts[number], canvas)
        first += counts[number]
    return found


def _greys(ends: bytes | None, first: int, count: int, canvas: Canvas) -> dict[int, Grey]:
    import numpy as np

    frames = None if ends is None else split_ends(ends, count, canvas)
    if frames is None:
        return {}
    wide, tall = end_size(canvas)
    return {
        first + n: np.frombuffer(frame, np.uint8).reshape(tall, wide).astype(np.int16)
        for n, frame in zip(end_frames(count), frames, strict=True)
    }


def judge_join(join: int, near: Mapping[int, Grey]) -> list[str]:
    """What is wrong at one join, given the luma of the frames around it (limited range, any size, by number)."""
    import numpy as np

    faults = [f"frame {n} is missing" for n in (join - 1, join) if n not in near]
    moves = {n: float(np.abs(near[n] - near[n - 1]).mean()) for n in near if n - 1 in near}
    dark = [n for n in range(join - 2, join + 2) if n in near and near[n].max() < _BLACK]
    faults += [f"frame {n} is black" for n in dark if _lit(near, n, -1) and _lit(near, n, 1)]
    for n in (join - 1, join):
        if n - 1 in near and n in near and n + 1 in near and not faults:
            apart = float(np.abs(near[n + 1] - near[n - 1]).mean())
            if apart < _NOISE and moves[n] > 12 and moves[n] > _FAR * apart:
                faults.append(f"frame {n} is a stray")
    others = [moves[n] for n in moves if n != join]
    if len(others) >= REACH and _still(moves.get(join), others):
        faults.append(f"frame {join} repeats the one before")
    held = 0
    earlier = [moves[n] for n in sorted(moves) if n < join]
    while len(earlier) > 3 and _still(earlier[-1], earlier[:3]):
        held += 1
        earlier.pop()
    if held >= 2 and min(earlier) > _MOVES:
        faults.append(f"the picture stands still for the last {held} frames before frame {join}")
    return faults


def _still(move: float | None, others: Sequence[float]) -> bool:
    """Whether a frame shows what the one before showed while everything else around moves."""
    return move is not None and min(others) > _MOVES and move < min(others) / _FAR


def _lit(near: Mapping[int, Grey], number: int, way: int) -> bool:
    """Whether one of the next three frames that way is not dark."""
    return any(number + way * i in near and near[number + way * i].mean() > _LIT for i in (1, 2, 3))
