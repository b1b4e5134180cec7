"""A job's life as a chart: a lane for the job and one for each child, with the times it waited, worked and ended. Pure.

What belongs here: events into lanes, lanes into an SVG. What does not: asking for events, notebooks.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from viralsync_pipelines.cli.job_pictures import name_of
from viralsync_pipelines.client import Event, JobView

_LEFT, _WIDTH, _ROW, _TOP = 150, 720, 24, 26
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400)
_MOST_TICKS = 9
_LONGEST_NAME = 20

COLOURS: Mapping[str, str] = {
    "queued": "#e0e0e0", "waiting": "#c6dbef", "running": "#f2a541", "done": "#4c9f70", "failed": "#d1495b", "cancelled": "#8d6a9f",
}  # fmt: skip
"""By what a job was; work takes the colour of how it ended."""
_ENDS = frozenset({"done", "failed", "cancelled"})


@dataclass(frozen=True)
class Span:
    """Seconds from the beginning during which a job was `status`, and what it was next: how its work ended, for work."""

    status: str
    start: float
    end: float
    then: str


@dataclass(frozen=True)
class Lane:
    """One job. ended: how, if it has."""

    job_id: str
    name: str
    spans: tuple[Span, ...]
    ended: str | None


@dataclass(frozen=True)
class Gantt:
    """The chart. seconds: its whole length."""

    lanes: tuple[Lane, ...]
    seconds: float

    def _repr_svg_(self) -> str:
        height = _TOP + _ROW * len(self.lanes) + 26
        size = f'width="{_LEFT + _WIDTH + 40}" height="{height}"'
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">',
            f'<rect {size} fill="#ffffff"/>',
        ]
        for tick in _ticks(self.seconds):
            x = self._x(tick)
            parts.append(f'<line x1="{x}" y1="{_TOP - 4}" x2="{x}" y2="{height - 24}" stroke="#eeeeee"/>')
            parts.append(f'<text x="{x}" y="{_TOP - 10}" text-anchor="middle" fill="#777777">{tick:g} s</text>')
        for number, lane in enumerate(self.lanes):
            parts += self._lane(lane, _TOP + _ROW * number, bold=number == 0)
        return "".join([*parts, *self._legend(height - 8), "</svg>"])

    def _lane(self, lane: Lane, y: int, *, bold: bool) -> list[str]:
        name = lane.name if len(lane.name) <= _LONGEST_NAME else lane.name[: _LONGEST_NAME - 1] + "…"
        weight = ' font-weight="bold"' if bold else ""
        parts = [f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end"{weight}>{html.escape(name)}</text>']
        for span in lane.spans:
            x, end = self._x(span.start), self._x(span.end)
            colour = COLOURS[span.then if span.status == "running" and span.then in _ENDS else span.status]
            told = html.escape(f"{lane.name}: {span.status} {span.end - span.start:.2f} s, then {span.then}")
            # Work too short to see is still work.
            wide = max(end - x, 2.0 if span.status == "running" else 0.0)
            parts.append(
                f'<rect x="{x}" y="{y + 4}" width="{wide:.2f}" height="{_ROW - 8}" rx="2" fill="{colour}"><title>{told}</title></rect>'
            )
        if lane.ended is not None and lane.spans:
            x = self._x(lane.spans[-1].end)
            parts.append(f'<circle cx="{x}" cy="{y + _ROW / 2:g}" r="4" fill="{COLOURS[lane.ended]}"/>')
        return parts

    def _legend(self, y: int) -> list[str]:
        parts = []
        for number, (status, colour) in enumerate(COLOURS.items()):
            x = _LEFT + number * 100
            parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
            parts.append(f'<text x="{x + 14}" y="{y}" fill="#555555">{status}</text>')
        return parts

    def _x(self, seconds: float) -> float:
        return round(_LEFT + _WIDTH * seconds / (self.seconds or 1.0), 2)


def gantt_of(events: Sequence[Event]) -> Gantt:
    """The chart of one family's events, in their order. The job itself comes first, its children as they began to work.

    What has not ended lasts until the last event.
    """
    seen: dict[str, list[tuple[float, JobView]]] = {}
    first = _moment(events[0].job) if events else 0.0
    last = first
    for event in events:
        # Clocks of several machines: nothing happens before what happened before it.
        last = max(last, _moment(event.job))
        seen.setdefault(event.job.id, []).append((last - first, event.job))
    whole = last - first
    lanes = [_lane(job_id, changes, whole) for job_id, changes in seen.items()]
    lanes.sort(key=lambda lane: (seen[lane.job_id][0][1].parent_id is not None, _began(lane)))
    return Gantt(tuple(lanes), whole)


def _lane(job_id: str, changes: Sequence[tuple[float, JobView]], whole: float) -> Lane:
    spans: list[Span] = []
    for (start, job), (end, following) in zip(changes, [*changes[1:], (whole, changes[-1][1])], strict=True):
        if job.terminal:
            continue
        status, then = job.status.value, following.status.value
        if spans and spans[-1].status == status and spans[-1].end == start and spans[-1].then == status:
            spans[-1] = Span(status, spans[-1].start, end, then)
        else:
            spans.append(Span(status, start, end, then))
    newest = changes[-1][1]
    return Lane(job_id, name_of(newest), tuple(spans), newest.status.value if newest.terminal else None)


def _began(lane: Lane) -> float:
    return next((span.start for span in lane.spans if span.status == "running"), math.inf)


def _moment(job: JobView) -> float:
    moment: datetime | None = job.updated_at
    return 0.0 if moment is None else moment.timestamp()


def _ticks(seconds: float) -> list[float]:
    """Round times along a chart of this length."""
    step = next((step for step in _STEPS if seconds / step < _MOST_TICKS), seconds / _MOST_TICKS)
    return [number * step for number in range(int(seconds / step + 1e-9) + 1)] if seconds else [0.0]
