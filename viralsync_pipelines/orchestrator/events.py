"""Dagster's event log as job events: one entry in, the facts that a job is folded from out.

What belongs here: reading entries. What does not: what they mean to a job (jobs/run_rules.py), where they are kept (runs.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

import dagster as dg

from viralsync_pipelines.jobs.lines import parse_progress
from viralsync_pipelines.jobs.model import JobEvent

_Kind = dg.DagsterEventType
_RUN_KINDS: Mapping[Any, str] = {
    _Kind.PIPELINE_STARTING: "run.starting",
    _Kind.PIPELINE_START: "run.started",
    _Kind.PIPELINE_SUCCESS: "run.succeeded",
    _Kind.PIPELINE_CANCELING: "run.canceling",
    _Kind.PIPELINE_CANCELED: "run.canceled",
}
_STEP_KINDS: Mapping[Any, str] = {
    _Kind.STEP_START: "step.started",
    _Kind.STEP_RESTARTED: "step.restarted",
    _Kind.STEP_SUCCESS: "step.succeeded",
}
TOLD = frozenset(
    {*_RUN_KINDS, *_STEP_KINDS, _Kind.PIPELINE_FAILURE, _Kind.STEP_FAILURE, _Kind.STEP_UP_FOR_RETRY, _Kind.STEP_OUTPUT, _Kind.ENGINE_EVENT}
)
"""Every kind of Dagster's events that can be a fact; the rest need not be read at all. Lines that steps log have no kind."""
# The only sign of it: an ENGINE_EVENT of the step with these words.
_BLOCKED = re.compile(r"Step blocked by .*limit for pool (\S+)|Step blocked by .*concurrency")
_CODED = re.compile(r"[A-Z][A-Z0-9_]{2,}: ")
_CLASS = re.compile(r"^(?=[\w.]*[a-z])[\w.]+: (?=[A-Z][A-Z0-9_]+: )")
_MOST_WORDS = 2_000
# How Dagster words the end of runs of which it does not know why they ended. The last two are its monitoring's.
_UNTOLD = ("Steps failed", "from outside the execution context", "Detected run worker status", "Run timed out due to taking longer than")


def job_events(entry: dg.EventLogEntry) -> JobEvent | None:
    """The fact in an entry, or None for the many that are none. Every entry gives at most one."""
    at_ms = round(entry.timestamp * 1000)
    if not entry.is_dagster_event:
        return _line(entry, at_ms)
    event = entry.get_dagster_event()
    kind = event.event_type
    if kind in _RUN_KINDS:
        return JobEvent(_RUN_KINDS[kind], at_ms)
    if kind is _Kind.PIPELINE_FAILURE:
        return JobEvent("run.failed", at_ms, data={"error": _run_error(event)})
    step = event.step_key
    if step is None:
        return None
    if kind in _STEP_KINDS:
        return JobEvent(_STEP_KINDS[kind], at_ms, step)
    if kind is _Kind.STEP_FAILURE:
        return JobEvent("step.failed", at_ms, step, {"error": _step_error(event)})
    if kind is _Kind.STEP_UP_FOR_RETRY:
        delay_s = getattr(event.event_specific_data, "seconds_to_wait", None) or 0
        return JobEvent("step.retrying", at_ms, step, {"error": _step_error(event), "delay_ms": round(delay_s * 1000)})
    if kind is _Kind.STEP_OUTPUT:
        return _output(event, at_ms, step)
    if kind is _Kind.ENGINE_EVENT:
        found = _BLOCKED.search(event.message or "")
        return JobEvent("step.blocked", at_ms, step, {"pool": (found[1] or "").rstrip(".,")}) if found else None
    return None


def logs_captured(entries: Iterable[dg.EventLogEntry]) -> list[tuple[str, tuple[str, ...]]]:
    """Where the output of steps is kept: (file key, steps) for each process of the run."""
    found = []
    for entry in entries:
        if entry.is_dagster_event and entry.get_dagster_event().event_type is _Kind.LOGS_CAPTURED:
            data: Any = entry.get_dagster_event().event_specific_data
            found.append((str(data.file_key), tuple(data.step_keys or ())))
    return found


def _line(entry: dg.EventLogEntry, at_ms: int) -> JobEvent | None:
    if entry.step_key is None:
        return None
    seen = parse_progress(entry.user_message or "")
    if seen is None:
        return None
    text = f"frame {seen.frame} of {seen.total}" + (f", {seen.fps:.0f} frames a second" if seen.fps >= 1 else "")
    return JobEvent("step.progress", at_ms, entry.step_key, {"done": seen.frame, "total": seen.total, "text": text})


def _output(event: dg.DagsterEvent, at_ms: int, step: str) -> JobEvent | None:
    data: Any = event.event_specific_data
    mapping = data.mapping_key
    facts = {}
    for name, value in (data.metadata or {}).items():
        plain = getattr(value, "value", None)
        # Numbers and names; pictures and tables stay where they are.
        if isinstance(plain, bool | int | float) or (isinstance(plain, str) and len(plain) <= 300):
            facts[name] = plain
    return JobEvent("step.output", at_ms, step, {"output": data.output_name, "mapping": mapping, "facts": facts})


def _step_error(event: dg.DagsterEvent) -> str:
    data: Any = event.event_specific_data
    told = getattr(data, "user_failure_data", None)
    error = getattr(data, "error", None)
    if getattr(error, "cls_name", "") == "ChildProcessCrashException":
        return "STEP_KILLED: its process was killed from outside, for lack of memory perhaps; retry the job"
    if getattr(error, "cls_name", "") == "DagsterExecutionInterruptedError":
        return "STEP_INTERRUPTED: the server was stopped while it was at work; retry the job, what is finished is kept"
    words = (told.description if told is not None else None) or _words_of(error) or event.message or ""
    return _coded(words, "STEP_FAILED")


def _run_error(event: dg.DagsterEvent) -> str | None:
    """What Dagster says of the run's end; None when it says nothing of its own: steps tell why they failed, and a run whose process is
    gone, or was never there, is failed by others who do not know why."""
    data: Any = event.event_specific_data
    error = getattr(data, "error", None)
    words = _words_of(error) or event.message or ""
    if error is None and any(known in words for known in _UNTOLD):
        return None
    return _coded(words, "RUN_FAILED")


def _words_of(error: Any) -> str | None:
    """Of an exception and those it was raised from: the words of the first one that tells a code, or else of the first that is not
    Dagster's own wrapping."""
    chain: list[Any] = []
    while error is not None:
        chain.append(error)
        error = getattr(error, "cause", None)
    coded = (each for each in chain if _CODED.match(_bare(each.message)))
    own = (each for each in chain if not str(each.cls_name).startswith("Dagster"))
    told = next(coded, None) or next(own, None) or (chain[-1] if chain else None)
    return told.message.strip() if told is not None else None


def _coded(words: str, code: str) -> str:
    bare = _bare(words.partition("\n\nStack Trace:")[0])
    bare = bare if _CODED.match(bare) else f"{code}: {bare}"
    return bare[:_MOST_WORDS]


def _bare(words: str) -> str:
    """Without the class, which Dagster puts before the words of an exception, when a code follows it."""
    return _CLASS.sub("", words.strip())
