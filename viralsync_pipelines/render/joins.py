"""Looking at the frames around joins: what is black, stray, repeated or frozen there, within a fixed amount of decoding.

What belongs here: choosing joins, decoding their surroundings, judging them. What does not: all other verdicts (quality.py).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import log
from statistics import median
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from av.container import InputContainer

    Grey = np.ndarray[Any, np.dtype[np.int16]]

# Decoding up to a join means decoding its group of pictures. This many megapixels take about half a second on one core: all
# joins of most small films, four of one at 1080x1920, and never more for a thousand joins.
BUDGET_MPX = 150.0
# Frames judged on either side of a join: the repeats of 24 and 25 fps footage in a film of 30 show at least twice among them.
REACH = 8
# x264 puts at most this many frames between two that are decoded without them.
_BETWEEN = 4
# Luma of limited range: black is 16; a frame with nothing above 24 is black to the eye, one at 40 on average is not dark.
_BLACK, _LIT = 24, 40
# Mean difference of luma between two frames: above _MOVES they differ clearly. The same picture encoded anew, as the first frame
# of a piece, differs from the last one by up to _NOISE, and by far less than frames that move.
_MOVES, _NOISE, _FAR = 1.5, 3.0, 5.0


@dataclass(frozen=True)
class Packet:
    """One frame as it is stored: its number in the film, its bytes, and whether decoding can begin with it."""

    number: int
    size: int
    key: bool


@dataclass(frozen=True)
class Look:
    """A join to look at: its first frame, the key frame to decode from, and about how many megapixels that decodes."""

    join: int
    start: int
    mpx: float


def choose(packets: Sequence[Packet], joins: Sequence[int], frame_mpx: float, budget_mpx: float = BUDGET_MPX) -> tuple[Look, ...]:
    """The joins to look at, in order of the film: the most conspicuous ones first until the budget is spent, one at least.

    `packets` in order of decoding. Conspicuous is what takes unusually many or few bytes: a stray frame shares nothing with its
    neighbours, a frozen one everything.
    """
    keys = sorted(p.number for p in packets if p.key)
    usual_key = median([p.size for p in packets if p.key] or [1])
    sizes: dict[int, int] = {}
    last = -1
    for packet in packets:
        # Frames that others are predicted from; the small ones in between would hide what is unusual.
        if packet.number > last:
            last = packet.number
            sizes[last] = packet.size
    key_set = set(keys)
    plain = [n for n in sorted(sizes) if n not in key_set]
    ranked = []
    for join in joins:
        at = bisect_left(plain, join)
        odd = max(_odd(sizes, plain[max(0, at - 16) : at], -2), _odd(sizes, plain[at : at + 16], 2))
        if join in key_set:
            odd = max(odd, log(max(1.0, usual_key / max(1, sizes[join]))))
        before = bisect_left(keys, join)
        start = keys[before - 1] if before else 0
        # Until shortly before the join about one frame in three is decoded: see _around.
        ranked.append((-odd, join, Look(join, start, frame_mpx * ((join - start) / 3 + 2 * REACH))))
    chosen: list[Look] = []
    for _, _, look in sorted(ranked):
        if not chosen or look.mpx <= budget_mpx:
            chosen.append(look)
            budget_mpx -= look.mpx
    return tuple(sorted(chosen, key=lambda look: look.join))


def _odd(sizes: Mapping[int, int], near: Sequence[int], which: int) -> float:
    """By what factor (as a logarithm) the two frames nearest to a join differ in size from those around them."""
    if not near:
        return 0.0
    usual = max(1.0, median(sizes[n] for n in near))
    nearest = near[which:] if which < 0 else near[:which]
    return max(abs(log(max(1, sizes[n]) / usual)) for n in nearest)


def faults_at(container: InputContainer, looks: Sequence[Look], fps: Fraction) -> list[str]:
    """What is wrong around these joins of an opened film, in words; empty when nothing is."""
    # One thread: others would decode frames ahead that nobody looks at.
    container.streams.video[0].codec_context.thread_count = 1
    faults: list[str] = []
    for look in looks:
        faults += judge_join(look.join, _around(container, look, fps))
    return faults


def _around(container: InputContainer, look: Look, fps: Fraction) -> dict[int, Grey]:
    """The frames around a join as small grey pictures, by number."""
    stream = container.streams.video[0]
    context = stream.codec_context
    base = stream.time_base or Fraction(1)
    near: dict[int, Grey] = {}
    container.seek(int(look.start / fps / base), stream=stream)
    for packet in container.demux(stream):
        if packet.pts is None:
            break
        # What nothing else is predicted from is left out on the way.
        early = round(packet.pts * base * fps) < look.join - REACH - _BETWEEN
        context.skip_frame = "BIDIR" if early else "DEFAULT"
        for frame in packet.decode():
            number = round(Fraction(frame.pts or 0) * base * fps)
            if number >= look.join - REACH:
                near[number] = _grey(frame)
            if number >= look.join + REACH - 1:
                context.skip_frame = "DEFAULT"
                return near
    context.skip_frame = "DEFAULT"
    return near | {round(Fraction(frame.pts or 0) * base * fps): _grey(frame) for frame in context.decode(None)}


def _grey(frame: Any) -> Grey:
    """Every so many pixels of the luma plane, as it is stored: converting a whole frame takes longer than decoding it."""
    import numpy as np

    stride = max(1, min(frame.width, frame.height) // 120)
    plane = frame.planes[0]
    rows = np.frombuffer(plane, np.uint8).reshape(-1, plane.line_size)
    return rows[: frame.height : stride, : frame.width : stride].astype(np.int16)


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
