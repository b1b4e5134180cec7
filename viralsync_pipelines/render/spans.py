"""Arithmetic on packet times: where a stream starts and ends, how fast it runs, whether evenly. Pure integers and fractions."""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise


@dataclass
class Span:
    """Packet times of one stream, in units of `time_base` seconds, gathered one packet at a time.

    packets: shown packets. discards: packets an edit list hides. declared: the end was taken from the header.
    """

    time_base: Fraction
    packets: int = 0
    discards: int = 0
    declared: bool = False
    times: list[int] = field(default_factory=list)
    _last_duration: int = 0
    _end: int | None = None
    _start: int | None = None
    _trimmed: int = 0

    def add(self, pts: int | None, dts: int | None, duration: int | None, hidden: bool, discarded: int = 0) -> None:
        """Take one packet; `discarded` units of it are padding that is never heard."""
        if hidden:
            self.discards += 1
            return
        self.packets += 1
        at = pts if pts is not None else dts
        if at is None:
            at = self._end or 0  # neither time known (raw streams): it follows the one before
        self.times.append(at)
        length = duration or 0
        if at + length >= (self._end if self._end is not None else at):
            self._last_duration = length
        self._start = at if self._start is None else min(self._start, at)
        self._end = max(at + length, at + length if self._end is None else self._end)
        self._trimmed += discarded

    def declare(self, start: int, duration: int) -> None:
        """Take the header's word for a stream too long to be read whole."""
        self._start = start if self._start is None else min(self._start, start)
        self._end = max(self._end or 0, start + duration)
        self.declared = True

    @property
    def start(self) -> Fraction:
        """Seconds. Codec priming before zero, which players drop, does not count."""
        begin = self._start or 0
        return max(begin, 0) * self.time_base if (self._end or 0) > 0 else begin * self.time_base

    @property
    def end(self) -> Fraction:
        """Seconds; a last frame without a duration of its own lasts as long as the usual one."""
        end = self._end or 0
        if self._last_duration == 0 and not self.declared and len(self.times) > 1:
            end += _usual(sorted(self.times))
        return (end - self._trimmed) * self.time_base

    @property
    def duration(self) -> Fraction:
        return self.end - self.start


def _usual(times: list[int]) -> int:
    """The median distance between neighbours."""
    gaps = sorted(b - a for a, b in pairwise(times))
    return gaps[len(gaps) // 2] if gaps else 0


def average_rate(span: Span, nominal: Fraction | None) -> Fraction | None:
    """Frames per second as measured; the header's exact number (30000/1001) where it lies within half a percent."""
    if span.duration <= 0 or not span.packets:
        return nominal
    measured = span.packets / span.duration
    if nominal and abs(nominal - measured) * 200 <= measured:
        return nominal
    return measured.limit_denominator(100_000)


def uneven(span: Span) -> bool:
    """Whether gaps between frames differ by more than a quarter of the usual one and two ticks (which rounding makes)."""
    times = sorted(span.times)
    usual = _usual(times)
    slack = max(Fraction(usual, 4), Fraction(2))
    return any(abs(b - a - usual) > slack for a, b in pairwise(times))
