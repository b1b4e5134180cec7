"""A Dagster run in the foreground of a process: start it, follow its events, say how it ended.

What belongs here: driving one run and reading its events. What does not: what a terminal shows (cli/), what a movie is.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

_PROGRESS = re.compile(r"scene (\d+): frame (\d+) of (\d+), (\d+) frames a second")


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
        found = _PROGRESS.search(entry.user_message or "")
        if found is None:
            return None
        scene, frame, total, fps = (int(v) for v in found.groups())
        return StepNews(entry.step_key or "", "progress", scene, frame, total, float(fps))
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
        text = (told.description if told is not None else None) or getattr(getattr(data, "error", None), "message", "") or ""
    return StepNews(event.step_key, kind, text=text.strip())


def run_in_foreground(
    instance: dg.DagsterInstance,
    job: Any,
    *,
    partition: str,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    on_news: Callable[[StepNews], None],
    poll_s: float = 0.25,
) -> RunEnd:
    """Run a reconstructable job to its end in this process, with `on_news` called from another thread as its events arrive.

    KeyboardInterrupt passes through after Dagster has ended the run's steps.
    """
    stop = threading.Event()
    follower = threading.Thread(target=_follow, args=(instance, dict(tags), on_news, stop, poll_s), daemon=True)
    follower.start()
    try:
        result = dg.execute_job(
            job, instance=instance, run_config=dict(run_config), tags={**tags, "dagster/partition": partition}, raise_on_error=False
        )
    finally:
        stop.set()
        follower.join(5)
    actual = result.run_id
    run = instance.get_run_by_id(actual)
    failures = []
    for record in instance.all_logs(actual, of_type=dg.DagsterEventType.STEP_FAILURE):
        news = news_of(record)
        if news is not None:
            failures.append((news.step, news.text))
    return RunEnd(actual, run.status.value if run is not None else "FAILURE", tuple(failures))


def _follow(
    instance: dg.DagsterInstance, tags: dict[str, str], on_news: Callable[[StepNews], None], stop: threading.Event, poll_s: float
) -> None:
    cursor: str | None = None
    last_round = False
    run_id: str | None = None
    while True:
        if run_id is None:
            # The run gets its id from Dagster; ours is the tag it was given.
            run_id = next((run.run_id for run in instance.get_runs(dg.RunsFilter(tags=tags), limit=1)), None)
        if run_id is None:
            if stop.wait(poll_s):
                return
            continue
        page = instance.get_records_for_run(run_id, cursor=cursor, limit=500)
        cursor = page.cursor
        for record in page.records:
            news = news_of(record.event_log_entry)
            if news is not None:
                on_news(news)
        if page.has_more:
            continue
        if last_round:
            return
        last_round = stop.wait(poll_s)
