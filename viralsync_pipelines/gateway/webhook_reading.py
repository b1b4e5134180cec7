"""Webhooks are read as soon as they were kept, beside the requests: a job shows its end well within a second.

What belongs here: when, and by which thread. What does not: reading itself (generate/inbox.py). What is left when the process ends is read
by Dagster's sensor, which looks at the inbox at every tick.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from typing import TYPE_CHECKING

from viralsync_pipelines.generate.inbox import apply_for

if TYPE_CHECKING:
    from viralsync_pipelines.generate.desk import Desk

# While webhooks come in, reading them takes a tenth of the time: an answer is due in milliseconds, the rest in seconds. Of a
# flood the sensor reads most, in its own process.
_SHARE = 9.0
_log = logging.getLogger("viralsync.gateway")


class Reader:
    """A thread that reads the letters of jobs, from when the first is named until `close`."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._waiting: deque[str] = deque()
        self._news, self._stop, self._came = threading.Event(), threading.Event(), 0
        self._thread: threading.Thread | None = None

    def read(self, record_id: str) -> None:
        self._waiting.append(record_id)
        self._came += 1
        self._news.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="webhooks", daemon=True)
            self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join(30)

    def _run(self) -> None:
        while not self._stop.is_set():
            self._news.wait()
            self._news.clear()
            while self._waiting and not self._stop.is_set():
                came, began = self._came, time.monotonic()
                try:
                    apply_for(self._desk, self._waiting.popleft())
                except Exception:
                    # It stays in the inbox, for the sensor.
                    _log.exception("a webhook could not be read")
                if self._came != came:
                    self._stop.wait(_SHARE * (time.monotonic() - began))
