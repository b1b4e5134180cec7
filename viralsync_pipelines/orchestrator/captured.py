"""What steps print, read on from a cursor: Dagster captures it to files (or a bucket), and says in the log which file is whose.

What belongs here: reading captured output of a run. What does not: who may see it, how it reaches them (gateway/output.py).
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import dagster as dg

from viralsync_pipelines.board.printed import Printed
from viralsync_pipelines.orchestrator.events import logs_captured

_MOST_BYTES = 64 * 1024
_KEPT_RUNS = 256
_OVER = "end"


@dataclass
class _Files:
    """Files of one run: key -> the steps that wrote into it. cursor: how far its log was read for them."""

    steps: dict[str, tuple[str, ...]] = field(default_factory=dict)
    cursor: str | None = None


class CapturedOutput:
    """board.printed.OutputSource over an instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        self._runs: OrderedDict[str, _Files] = OrderedDict()

    def read(self, run_id: str, cursor: Mapping[str, str]) -> tuple[list[Printed], dict[str, str]]:
        """Lines printed after `cursor`, by file in the order in which the files were opened; whole lines only, but for the last of all."""
        found: list[Printed] = []
        reached = dict(cursor)
        for key, steps in self._files(run_id).items():
            if reached.get(key) != _OVER:
                lines, reached[key] = self._read_file(run_id, key, reached.get(key), steps[0] if steps else "")
                found += lines
        return found, reached

    def _files(self, run_id: str) -> dict[str, tuple[str, ...]]:
        with self._lock:
            files = self._runs.setdefault(run_id, _Files())
            self._runs.move_to_end(run_id)
            while len(self._runs) > _KEPT_RUNS:
                self._runs.popitem(last=False)
            page = self._instance.get_records_for_run(run_id, cursor=files.cursor, of_type=dg.DagsterEventType.LOGS_CAPTURED)
            if page.records:
                files.cursor = page.cursor
                files.steps.update(logs_captured(record.event_log_entry for record in page.records))
            return dict(files.steps)

    def _read_file(self, run_id: str, key: str, cursor: str | None, step: str) -> tuple[list[Printed], str]:
        manager: Any = self._instance.compute_log_manager
        log_key = [run_id, "compute_logs", key]
        # Asked before reading: what is complete then has nothing more to come.
        complete = manager.is_capture_complete(log_key)
        data = manager.get_log_data(log_key, cursor, _MOST_BYTES)
        out, err = manager.parse_cursor(cursor)
        found = []
        offsets = []
        read = 0
        for stream, start, got in (("stdout", out, data.stdout or b""), ("stderr", err, data.stderr or b"")):
            whole = len(got) if complete or len(got) >= _MOST_BYTES else got.rfind(b"\n") + 1
            offsets.append(start + whole)
            read += len(got)
            if whole:
                text = got[:whole].decode("utf-8", "replace").rstrip("\n")
                found += [Printed(step, stream, line) for line in text.split("\n")]
        over = complete and read < _MOST_BYTES
        return found, _OVER if over else manager.build_cursor(*offsets)
