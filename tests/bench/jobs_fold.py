"""What folding an event costs: at the beginning and at the end of a long film, of 20 scenes and of 200. Pure: no database, no HTTP.

What belongs here: events like those of a real film, in their order, and the clock. What does not: rules.
"""

from __future__ import annotations

import json
import statistics
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from viralsync_pipelines.jobs.family import Family
from viralsync_pipelines.jobs.fold import begin, fold
from viralsync_pipelines.jobs.model import JobEvent

# At a time on this many places, each scene with a line a second for so many seconds.
_AT_ONCE = 4
_LINES = 12


@dataclass(frozen=True)
class Folding:
    """Microseconds of CPU an event: of the first thousand, the last thousand, all. Bytes of the whole family as it is kept."""

    scenes: int
    events: int
    changes: int
    first: float
    last: float
    each: float
    line_first: float
    line_last: float
    kept: int
    packed: int


def folding(scenes: int, rounds: int = 5) -> Folding:
    found = [_once(scenes) for _ in range(rounds)]
    middle = [statistics.median(one[place] for one in found) for place in range(5)]
    events, changes, state = found[0][5], found[0][6], found[0][7]
    return Folding(scenes, events, changes, *middle, len(state), len(zlib.compress(state, 1)))


def _once(scenes: int) -> tuple[float, float, float, float, float, int, int, bytes]:
    events = list(_film(scenes))
    family, made = begin(events[0])
    changes = len(made)
    took, lines = [], []
    for event in events[1:]:
        began = time.thread_time_ns()
        made = fold(family, event)
        used = (time.thread_time_ns() - began) / 1000
        took.append(used)
        if event.kind == "step.progress":
            lines.append(used)
        changes += len(made)
    # The middle of the means of tenths: whoever else works on this machine falls into some of them.
    few = min(1_000, len(took) // 2)
    some = min(500, len(lines) // 2)
    state = json.dumps(family.to_json(), separators=(",", ":")).encode()
    assert Family.from_json(json.loads(state)).job == family.job
    return (
        statistics.mean(took[:few]), statistics.mean(took[-few:]), statistics.mean(took), statistics.median(lines[:some]),
        statistics.median(lines[-some:]), len(events), changes, state,
    )  # fmt: skip


def _film(scenes: int) -> Iterator[JobEvent]:
    at = 1_700_000_000_000

    def event(kind: str, step: str = "", **data: object) -> JobEvent:
        nonlocal at
        at += 250
        return JobEvent(kind, at, step, data)

    yield event("run.created", run="r", job="job_aaaaaaaaaaaa", type="render.movie", workspace="default", payload={"projectId": "p"})
    yield event("run.starting")
    yield event("run.started")
    plan = "movie.plan_film"
    yield event("step.started", plan)
    yield event("step.output", plan, output="plan", mapping=None, facts={"scenes": scenes, "frames": 90 * scenes})
    for number in range(1, scenes + 1):
        yield event("step.output", plan, output="scenes", mapping=f"scene_{number:03d}", facts={"frames": 90, "scene": f"s{number}"})
    yield event("step.succeeded", plan)
    for first in range(1, scenes + 1, _AT_ONCE):
        steps = {n: f"movie.render_scene[scene_{n:03d}]" for n in range(first, min(first + _AT_ONCE, scenes + 1))}
        for step in steps.values():
            yield event("step.started", step)
        for line in range(_LINES):
            for step in steps.values():
                frame = 90 * line // _LINES
                yield event("step.progress", step, done=frame, total=90, text=f"frame {frame} of 90, 30 frames a second")
        for step in steps.values():
            yield event("step.output", step, output="result", mapping=None, facts={"cache": "miss", "frames": 90})
            yield event("step.succeeded", step)
    for step in ("movie.assemble_film", "movie.finalize_film"):
        yield event("step.started", step)
        if step.endswith("finalize_film"):
            facts = {"duration_s": 3.0 * scenes, "width": 360, "height": 640, "size_bytes": 1_000_000, "key": "outputs/job/output.mp4"}
            yield event("step.output", step, output="film", mapping=None, facts=facts)
        yield event("step.succeeded", step)
    yield event("run.succeeded")
