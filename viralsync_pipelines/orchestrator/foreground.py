"""A Dagster run in the foreground of a process: start it, follow its events, say how it ended.

What belongs here: driving one run and reading its events. What does not: what a terminal shows (cli/), what a movie is.
"""

from __future__ import annotations

import os
import select
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from viralsync_pipelines.jobs.lines import parse_progress
from viralsync_pipelines.render.lifeline import has_ended, process_mark

# Whose process a foreground run lives in: nobody else can say whether it still does.
WORKER_TAG = "viralsync/worker"
_CANCELS = {dg.DagsterEventType.PIPELINE_CANCELING, dg.DagsterEventType.PIPELINE_CANCELED}


@dataclass(frozen=True)
class StepNews:
    """Something a person waiting wants to see: a step began, went on, ended or failed. scene counts from 1, 0 for other steps."""

    step: str
    kind: str
    scene: int = 0
    frame: int = 0
    total: int = 0
    fps: float = 0.0
    text: str = ""


@dataclass(frozen=True)
class RunEnd:
    """How a run ended: status as Dagster names it, and each failed step's own words."""

    run_id: str
    status: str
    failures: tuple[tuple[str, str], ...]


def news_of(entry: dg.EventLogEntry) -> StepNews | None:
    """What a log entry means to a person; None for the many that mean nothing."""
    if not entry.is_dagster_event:
        found = parse_progress(entry.user_message or "")
        return StepNews(entry.step_key or "", "progress", *found) if found is not None else None
    event = entry.get_dagster_event()
    kinds = {
        dg.DagsterEventType.STEP_START: "start",
        dg.DagsterEventType.STEP_SUCCESS: "success",
        dg.DagsterEventType.STEP_FAILURE: "failure",
        dg.DagsterEventType.STEP_UP_FOR_RETRY: "retry",
    }
    kind = kinds.get(event.event_type)
    if kind is None or event.step_key is None:
        return None
    text = ""
    if kind == "failure":
        data: Any = event.event_specific_data
        told = getattr(data, "user_failure_data", None)
        error = getattr(data, "error", None)
        text = (told.description if told is not None else None) or getattr(error, "message", "") or ""
        if getattr(error, "cls_name", "") == "ChildProcessCrashException":
            text = "STEP_KILLED: its process was killed from outside, for lack of memory perhaps; run the movie again"
    return StepNews(event.step_key, kind, text=text.strip())


def run_in_foreground(
    instance: dg.DagsterInstance,
    job: Any,
    *,
    partition: str | None = None,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    on_news: Callable[[StepNews], None],
    poll_s: float = 0.25,
) -> RunEnd:
    """Run a reconstructable job to its end in this process, with `on_news` called from another thread as its events arrive.

    An interrupt (SIGINT, and once Dagster runs SIGTERM) ends the run's steps and gives a RunEnd CANCELED, or is raised as
    KeyboardInterrupt when it comes before the run. So does cancelling the run in the Dagster UI.
    """
    fail_abandoned(instance)
    place = {"dagster/partition": partition} if partition is not None else {}
    marked = {**tags, **place, WORKER_TAG: process_mark()}
    with _Signals() as signals:
        follower = _Follower(instance, marked[WORKER_TAG], tags, on_news, signals, poll_s)
        follower.start()
        try:
            result = dg.execute_job(job, instance=instance, run_config=dict(run_config), tags=marked, raise_on_error=False)
            run_id = result.run_id
        except dg.DagsterExecutionInterruptedError:
            if follower.run_id is None:
                raise KeyboardInterrupt from None
            run_id = follower.run_id
        finally:
            follower.finish()
    run = instance.get_run_by_id(run_id)
    failures = []
    for record in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        news = news_of(record)
        if news is not None:
            failures.append((news.step, news.text))
    status = run.status.value if run is not None else "FAILURE"
    # Interrupted in the very moment in which it ended: whoever waits did not see it fail.
    return RunEnd(run_id, "CANCELED" if follower.interrupted and status == "FAILURE" and not failures else status, tuple(failures))


def fail_abandoned(instance: dg.DagsterInstance) -> int:
    """End runs whose foreground process on this machine was killed, which nobody else watches; how many."""
    ended = 0
    going = [dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]
    for run in instance.get_runs(dg.RunsFilter(statuses=going)):
        mark = run.tags.get(WORKER_TAG)
        if mark is not None and has_ended(mark):
            told = "The process that rendered this film was killed. Render it again: finished scenes are kept."
            instance.report_run_failed(run, told)
            ended += 1
    return ended


class _Signals:
    """Signals as bytes in a pipe, besides whatever handler is in force: Dagster puts in its own, which tells nobody else."""

    def __enter__(self) -> _Signals:
        self.read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        os.set_blocking(self.read, False)
        self._mine = threading.current_thread() is threading.main_thread()
        self._before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False) if self._mine else -1
        return self

    def wait(self, seconds: float) -> bool:
        """True when an interrupt came within that time."""
        if not select.select([self.read], [], [], seconds)[0]:
            return False
        got = os.read(self.read, 64)
        return any(number in {signal.SIGINT, signal.SIGTERM} for number in got)

    def wake(self) -> None:
        os.write(self._write, b"\0")

    def __exit__(self, *_: object) -> None:
        if self._mine:
            signal.set_wakeup_fd(self._before)
        os.close(self.read)
        os.close(self._write)


class _Follower:
    """Reads the run's events as they come, and passes a wish to cancel on, from the terminal to Dagster or the other way.

    Two threads: one reads, one waits for signals. A single one, busy reading, once told Dagster of Ctrl-C when the steps had already
    ended of it, and the run counted as failed.
    """

    def __init__(
        self, instance: dg.DagsterInstance, mark: str, tags: Mapping[str, str], on_news: Callable[[StepNews], None], signals: _Signals,
        poll_s: float,
    ) -> None:  # fmt: skip
        self.run_id: str | None = None
        # An interrupt came, by hand or from the UI.
        self.interrupted = False
        self._instance, self._on_news, self._signals, self._poll_s = instance, on_news, signals, poll_s
        # Dagster gives the run its id; what is ours are the tags it was given.
        self._filter = dg.RunsFilter(tags={**tags, WORKER_TAG: mark})
        self._over = threading.Event()
        self._canceling = False
        self._threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in (self._follow, self._listen)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def finish(self) -> None:
        """After the run: read what is left of its events."""
        self._over.set()
        self._signals.wake()
        for thread in self._threads:
            thread.join(5)

    def _find_run(self) -> str | None:
        if self.run_id is None:
            self.run_id = next((run.run_id for run in self._instance.get_runs(self._filter, limit=1)), None)
        return self.run_id

    def _follow(self) -> None:
        cursor: str | None = None
        last = False
        while not last:
            last = self._over.wait(self._poll_s)
            run_id = self._find_run()
            if run_id is not None:
                cursor = self._read(run_id, cursor)

    def _read(self, run_id: str, cursor: str | None) -> str | None:
        while True:
            page = self._instance.get_records_for_run(run_id, cursor=cursor, limit=500)
            cursor = page.cursor
            for record in page.records:
                entry = record.event_log_entry
                if entry.is_dagster_event and entry.get_dagster_event().event_type in _CANCELS and not self._canceling:
                    # Cancelled in the UI, which cannot reach this process: as if somebody had pressed Ctrl-C here.
                    self._canceling = True
                    os.kill(os.getpid(), signal.SIGINT)
                news = news_of(entry)
                if news is not None:
                    self._on_news(news)
            if not page.has_more:
                return cursor

    def _listen(self) -> None:
        """Say that the end to come was asked for: Dagster takes it for a failure otherwise."""
        while not self._over.is_set():
            if not self._signals.wait(60):
                continue
            self.interrupted = True
            run_id = self._find_run()
            run = self._instance.get_run_by_id(run_id) if run_id is not None and not self._canceling else None
            if run is not None and not run.is_finished:
                self._canceling = True
                self._instance.report_run_canceling(run)
