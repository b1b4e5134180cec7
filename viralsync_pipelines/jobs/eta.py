"""When a job will be done: from how long such jobs took before, and more and more from its own progress.

What belongs here: arithmetic over durations. What does not: finding them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from viralsync_pipelines.jobs.model import WHOLE

# Jobs of a type are alike when their sizes (frames) are within a factor of two.
NO_SIZE = -1


@dataclass(frozen=True)
class Estimate:
    """at_ms: when it should be done, never in the past. p50_ms, p90_ms: how long half, and nine of ten, such jobs took.

    basis: how many there were. confidence: 0 to 1. overdue: it already takes longer than nine of ten did.
    """

    at_ms: int
    p50_ms: int | None
    p90_ms: int | None
    basis: int
    confidence: float
    overdue: bool

    def as_json(self, iso: Callable[[int | None], str | None]) -> dict[str, Any]:
        return {
            "at": iso(self.at_ms), "p50Ms": self.p50_ms, "p90Ms": self.p90_ms, "basis": self.basis, "confidence": self.confidence,
            "longerThanUsual": self.overdue,
        }  # fmt: skip


def size_class(size: int | None) -> int:
    """Jobs of one class took comparable times: powers of two of the size."""
    return NO_SIZE if size is None or size <= 0 else size.bit_length()


def estimate(durations_ms: Sequence[int], *, elapsed_ms: int, progress: int, now_ms: int) -> Estimate | None:
    """durations_ms: of finished jobs of the same type and size. elapsed_ms: since this attempt started, 0 while it is queued.

    progress: ten-thousandths. None when there is nothing to go by: no history, and no progress of its own worth the name.
    """
    known = sorted(durations_ms)
    p50, p90 = (_quantile(known, 0.5), _quantile(known, 0.9)) if known else (None, None)
    # Its own pace says more the further it is; below a twentieth it says nothing.
    share = min(WHOLE, max(0, progress)) / WHOLE
    own = elapsed_ms / share if share >= 0.05 and elapsed_ms > 0 else None
    if p50 is None and own is None:
        return None
    if p50 is None:
        total, confidence = float(own or 0), round(0.5 * share, 2)
    elif own is None:
        total, confidence = float(p50), _confidence(known)
    else:
        total = own * share + p50 * (1 - share)
        confidence = round(_confidence(known) + (1 - _confidence(known)) * 0.5 * share, 2)
    overdue = p90 is not None and elapsed_ms > p90
    if overdue and own is None:
        total = max(total, float(elapsed_ms))
    left = max(0, round(total - elapsed_ms))
    return Estimate(now_ms + left, p50, p90, len(known), confidence, overdue)


def _quantile(known: Sequence[int], share: float) -> int:
    place = share * (len(known) - 1)
    low = int(place)
    high = min(low + 1, len(known) - 1)
    return round(known[low] + (known[high] - known[low]) * (place - low))


def _confidence(known: Sequence[int]) -> float:
    """More with every job, less the more they differ: 1 job 0.2, 10 alike jobs 0.83."""
    count = len(known)
    p50 = _quantile(known, 0.5)
    spread = (_quantile(known, 0.9) - _quantile(known, 0.1)) / p50 if p50 else 1.0
    return round(count / (count + 2) / (1 + max(0.0, spread)) if count > 1 else 0.2, 2)
