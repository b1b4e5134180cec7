"""An engine that does what a test says: runs with their event logs, a launcher over them, and what steps print. All in memory.

What belongs here: the three protocols the gateway is given (board.sources.RunSource, jobs.orders.Launcher, board.printed.OutputSource).
What does not: the gateway around them (gateway.py), meaning (jobs/).
"""

from __future__ import annotations

import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from viralsync_pipelines.board.printed import Printed
from viralsync_pipelines.board.sources import ENDED, QUEUED, Page, RunFacts
from viralsync_pipelines.errors import RenderUnavailable, RunRefused
from viralsync_pipelines.jobs import orders
from viralsync_pipelines.jobs.model import JobEvent
from viralsync_pipelines.jobs.orders import RenderOrder, SpeechOrder

T0 = 1_775_124_000_000  # 2026-04-02 10:00 UTC
# Small, so that a film's log takes several pages.
_PAGE = 7
_STATUS_AFTER = {
    "run.starting": "STARTING", "run.started": "STARTED", "run.succeeded": "SUCCESS", "run.failed": "FAILURE", "run.canceling": "CANCELING",
    "run.canceled": "CANCELED",
}  # fmt: skip


class Clock:
    """Milliseconds that pass when told to. Everything that happens to a run makes it a little later, so that the board looks again."""

    def __init__(self) -> None:
        self.ms = T0

    def __call__(self) -> int:
        return self.ms

    def tick(self, ms: int = 101) -> int:
        self.ms += ms
        return self.ms


class ScriptedRuns:
    """A RunSource. `broken` is raised by every reader while it is set; `looks` counts how often logs were looked for."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.broken: Exception | None = None
        self.looks = 0
        self._lock = threading.RLock()
        self._runs: dict[str, RunFacts] = {}
        self._logs: dict[str, list[JobEvent]] = defaultdict(list)
        self._orders = 0

    # ---- what a test does ------------------------------------------------------------------------------------------

    def create(self, job_id: str, **facts: Any) -> str:
        """A run in the queue; its id. type: render.movie unless it is given."""
        with self._lock:
            self._orders += 1
            now = self.clock.tick()
            run_id = f"{secrets.token_hex(4)}-{self._orders:04d}"
            made = {"type": "render.movie", "created_ms": now, **facts}
            self._runs[run_id] = RunFacts(run_id, self._orders, job_id, status="QUEUED", updated_ms=now, **made)
            return run_id

    def log(self, run_id: str, kind: str, step: str = "", **data: Any) -> None:
        """One event, and what it makes of the run's record."""
        with self._lock:
            now = self.clock.tick()
            self._logs[run_id].append(JobEvent(kind, now, step, data))
            run = self._runs[run_id]
            status = _STATUS_AFTER.get(kind, run.status)
            started = run.started_ms or (now if kind == "run.started" else None)
            self._runs[run_id] = replace(
                run, status=status, updated_ms=now, started_ms=started, ended_ms=now if status in ENDED else None
            )

    def drop(self, run_id: str) -> None:
        with self._lock:
            del self._runs[run_id]
            self._logs.pop(run_id, None)
            self.clock.tick()

    def run(self, run_id: str) -> RunFacts:
        return self._runs[run_id]

    def runs_of(self, job_id: str) -> list[RunFacts]:
        with self._lock:
            return [run for run in self._runs.values() if run.job_id == job_id]

    def everything(self) -> list[RunFacts]:
        with self._lock:
            return list(self._runs.values())

    # ---- what the board asks ---------------------------------------------------------------------------------------

    def changed(self, since_ms: int | None) -> list[RunFacts]:
        self._check()
        with self._lock:
            found = [run for run in self._runs.values() if since_ms is None or run.updated_ms > since_ms]
        return sorted(found, key=lambda run: run.updated_ms)

    def count(self) -> int:
        self._check()
        return len(self._runs)

    def events(self, run_id: str, cursor: str | None) -> Page:
        self._check()
        with self._lock:
            log = self._logs[run_id]
            start = int(cursor or 0)
            found = log[start : start + _PAGE]
            return Page(found, str(start + len(found)), start + len(found) < len(log))

    def marks(self, run_ids: Collection[str]) -> Mapping[str, object]:
        self._check()
        with self._lock:
            self.looks += 1
            return {run_id: len(self._logs[run_id]) for run_id in run_ids if run_id in self._runs}

    def _check(self) -> None:
        if self.broken is not None:
            raise self.broken


class ScriptedLauncher:
    """A Launcher. `away`: nothing is taken and the caller is told so. `lose`: so many orders are taken, and their answers lost.

    `hold`, while it is set, keeps orders waiting until the event is.
    """

    def __init__(self, runs: ScriptedRuns) -> None:
        self.runs = runs
        self.orders: list[RenderOrder] = []
        self.spoken: list[SpeechOrder] = []
        self.agains: list[tuple[str, dict[str, Any], tuple[str, ...]]] = []
        self.cancelled: list[tuple[str, bool]] = []
        self.away = False
        self.lose = 0
        self.hold: threading.Event | None = None

    def launch(self, order: RenderOrder, *, resumed: bool = False) -> str:
        self._reach()
        there = [run for run in self.runs.runs_of(order.job_id) if run.status != "NOT_STARTED"]
        if resumed and there:
            return there[0].run_id
        tags = order.tags
        size = tags.get(orders.SIZE_TAG)
        run_id = self.runs.create(
            order.job_id, workspace=tags.get(orders.WORKSPACE_TAG, "default"), project_id=tags.get(orders.PROJECT_TAG),
            channel=tags.get(orders.CHANNEL_TAG), queue=tags.get(orders.QUEUE_TAG, "default"),
            priority=int(tags.get(orders.PRIORITY_TAG, "0")), size=int(size) if size else None, partition=order.partition,
            callback_url=tags.get(orders.CALLBACK_TAG), draft=orders.DRAFT_TAG in tags,
        )  # fmt: skip
        self.orders.append(order)
        return self._answer(run_id)

    def narrate(self, order: SpeechOrder, *, resumed: bool = False) -> str:
        self._reach()
        there = [run for run in self.runs.runs_of(order.job_id) if run.status != "NOT_STARTED"]
        if resumed and there:
            return there[0].run_id
        tags = order.tags
        run_id = self.runs.create(
            order.job_id, type="speech.narrate", workspace=tags.get(orders.WORKSPACE_TAG, "default"),
            project_id=tags.get(orders.PROJECT_TAG), callback_url=tags.get(orders.CALLBACK_TAG),
        )  # fmt: skip
        self.spoken.append(order)
        return self._answer(run_id)

    def again(self, run_id: str, *, tags: Mapping[str, str], changes: Mapping[str, Any], fresh: Sequence[str]) -> str:
        self._reach()
        run = self.runs.run(run_id)
        self.agains.append((run_id, dict(changes), tuple(fresh)))
        kept = ("type", "workspace", "parent_id", "project_id", "channel", "queue", "priority", "size", "partition", "callback_url", "draft")
        return self._answer(self.runs.create(run.job_id, **{name: getattr(run, name) for name in kept}))

    def cancel(self, run_id: str, *, force: bool = False) -> bool:
        self._reach()
        run = self.runs.run(run_id)
        if run.ended:
            return False
        self.cancelled.append((run_id, force))
        if run.status in QUEUED or force:
            self.runs.log(run_id, "run.canceled")
        elif run.status != "CANCELING":
            self.runs.log(run_id, "run.canceling")
        return True

    def forget(self, run_id: str) -> None:
        self._reach()
        known = {run.run_id: run for run in self.runs.everything()}
        if run_id in known:
            if not known[run_id].ended:
                raise RunRefused(f"the run {run_id} is {known[run_id].status}; cancel it before it is deleted", code="RUN_ACTIVE")
            self.runs.drop(run_id)

    def answers(self) -> bool:
        return not self.away

    def _reach(self) -> None:
        if self.away:
            raise RenderUnavailable("Dagster's web server at http://10.1.2.3:3001 does not answer")
        if self.hold is not None:
            assert self.hold.wait(30)

    def _answer(self, run_id: str) -> str:
        if self.lose:
            self.lose -= 1
            raise RenderUnavailable("the answer was lost", unsure=True)
        return run_id


class ScriptedOutput:
    """An OutputSource: one file a step. A read gives at most `most` lines of each, as a real one gives so many bytes."""

    def __init__(self, most: int = 5) -> None:
        self.most = most
        self._lock = threading.Lock()
        self._files: dict[str, dict[str, list[Printed]]] = defaultdict(dict)

    def print(self, run_id: str, step: str, text: str, stream: str = "stdout") -> None:
        with self._lock:
            self._files[run_id].setdefault(step, []).append(Printed(step, stream, text))

    def read(self, run_id: str, cursor: Mapping[str, str]) -> tuple[list[Printed], dict[str, str]]:
        with self._lock:
            found: list[Printed] = []
            reached = dict(cursor)
            for step, lines in self._files[run_id].items():
                start = int(reached.get(step, "0"))
                found += lines[start : start + self.most]
                reached[step] = str(min(len(lines), start + self.most))
            return found, reached


@dataclass
class Film:
    """The life of one run that makes a film of `scenes` scenes, event by event as Dagster logs it."""

    runs: ScriptedRuns
    run_id: str
    scenes: int = 3

    def start(self) -> Film:
        self.log("run.starting")
        return self.log("run.started")

    def plan(self) -> Film:
        self.log("step.started", "movie.plan_film")
        self.log("step.output", "movie.plan_film", output="plan", mapping=None, facts={"scenes": self.scenes, "frames": 30 * self.scenes})
        for number in range(1, self.scenes + 1):
            facts = {"frames": 30, "scene": f"s{number}"}
            self.log("step.output", "movie.plan_film", output="scenes", mapping=f"scene_{number:03d}", facts=facts)
        return self.log("step.succeeded", "movie.plan_film")

    def scene(self, number: int) -> Film:
        return self.log("step.started", scene_step(number))

    def frame(self, number: int, done: int) -> Film:
        return self.log("step.progress", scene_step(number), done=done, total=30, text=f"frame {done} of 30")

    def made(self, number: int) -> Film:
        return self.log("step.succeeded", scene_step(number))

    def broke(self, number: int, error: str = "SCENE_RENDER_FAILED: s2: the picture is gone") -> Film:
        return self.log("step.failed", scene_step(number), error=error)

    def join(self) -> Film:
        self.log("step.started", "movie.assemble_film")
        self.log("step.succeeded", "movie.assemble_film")
        self.log("step.started", "movie.finalize_film")
        film = {"duration_s": float(self.scenes), "width": 640, "height": 360, "size_bytes": 1234, "key": f"outputs/{self._job}/output.mp4"}
        self.log("step.output", "movie.finalize_film", output="film", mapping=None, facts=film)
        return self.log("step.succeeded", "movie.finalize_film")

    def succeed(self) -> Film:
        return self.log("run.succeeded")

    def fail(self) -> Film:
        return self.log("run.failed", error="")

    def log(self, kind: str, step: str = "", **data: Any) -> Film:
        self.runs.log(self.run_id, kind, step, **data)
        return self

    def whole(self) -> Film:
        """From the queue to the end."""
        self.start().plan()
        for number in range(1, self.scenes + 1):
            self.scene(number).frame(number, 15).made(number)
        return self.join().succeed()

    def failed(self) -> Film:
        """The second scene breaks; the others are made."""
        self.start().plan()
        for number in range(1, self.scenes + 1):
            self.scene(number)
            (self.broke if number == 2 else self.made)(number)
        return self.fail()

    def steps(self) -> list[Callable[[], object]]:
        """The same life as `whole`, one event for each call."""
        taken: list[Callable[[], object]] = []
        recorder = _Recorder(taken, self)
        Film(recorder, self.run_id, self.scenes).whole()  # type: ignore[arg-type]
        return taken

    @property
    def _job(self) -> str:
        return self.runs.run(self.run_id).job_id


class _Recorder:
    """Takes a film's events down instead of logging them."""

    def __init__(self, taken: list[Callable[[], object]], film: Film) -> None:
        self._taken, self._film = taken, film

    def log(self, run_id: str, kind: str, step: str = "", **data: Any) -> None:
        self._taken.append(lambda: self._film.log(kind, step, **data))

    def run(self, run_id: str) -> RunFacts:
        return self._film.runs.run(run_id)


def scene_step(number: int) -> str:
    return f"movie.render_scene[scene_{number:03d}]"
