"""One job's stream of events over as many connections as it takes: what was seen, what is new, when it is over, how long to pause.

What belongs here: everything about following but the connection; pure. What does not: opening and reading it (both clients do).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from viralsync_pipelines.client.answers import LONGEST_WAIT_S, ApiError, Pacing, passing, refusal
from viralsync_pipelines.client.calls import job_path
from viralsync_pipelines.client.reading import UNREADABLE, event_of, line_of
from viralsync_pipelines.client.values import Event, OutputLine, OutputPage

if TYPE_CHECKING:
    from httpx_sse import ServerSentEvent

# The server says something every 15 s; twice that without a byte means that nobody is there any more.
SILENCE_S = 30.0
# A stream that cannot be read again and again, and from the same place, will not be read by trying once more.
UNREADABLE_TRIES = 3


class Following:
    """Feed it what arrives, and yield what it gives: every sequence once, in order, whatever is cut and sent again.

    after: the last sequence that is known; None starts with the job as it stands now (`job.sync`). output: lines of output too, those
    after `cursor`, or from now on.
    """

    def __init__(self, job_id: str, after: int | None, *, output: bool, cursor: str | None, pacing: Pacing) -> None:
        self.path = job_path(job_id, "progress")
        self._job_id, self._last, self._output, self._cursor, self._pacing = job_id, after, output, cursor, pacing
        self._over = False
        # Lines since the last cursor: those that will come again when the stream is opened there.
        self._since: Counter[OutputLine] = Counter()
        self._again: Counter[OutputLine] = Counter()
        self._failures = 0
        self._unreadable = 0
        self._wait: float | None = None

    def headers(self) -> dict[str, str]:
        """Of the next connection."""
        asked = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        return asked if self._last is None else {**asked, "Last-Event-ID": str(self._last)}

    def query(self) -> dict[str, str]:
        if not self._output:
            return {"output": "false"}
        return {"output": "true"} if self._cursor is None else {"output": "true", "outputCursor": self._cursor}

    def answered(self, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        """What the server answers to it: True when events follow, False when there will be none any more (204).

        body: of answers other than 200. Raises ApiError for a refusal, and for one that may pass Broken.
        """
        self._again = Counter() if self._cursor is None else self._since.copy()
        if status == 204:
            return False
        if status >= 300:
            error = refusal(status, headers, body, self.path)
            if not passing(error):
                raise error
            self._wait = error.retry_after
            raise Broken(str(error))
        if not headers.get("content-type", "").startswith("text/event-stream"):
            told = f"{self.path} is no stream of events there; check the address of the gateway"
            raise ApiError(status, "ANSWER_UNREADABLE", told)
        return True

    def take(self, sse: ServerSentEvent) -> Iterator[Event | OutputLine]:
        """What is new in a frame. Raises Broken for one that cannot be read, and ApiError when that goes on."""
        if sse.retry is not None:
            self._pacing = replace(self._pacing, first_s=min(max(sse.retry, 100) / 1000, LONGEST_WAIT_S))
        if not sse.data:
            return
        try:
            found = json.loads(sse.data)
            # A snapshot between an id and what follows it bears none of its own: it would move the place to come back to.
            made = line_of(found) if sse.event == "output" else event_of(int(sse.id or found["sequence"]), sse.event, found)
        except UNREADABLE as error:
            self._unreadable += 1
            if self._unreadable >= UNREADABLE_TRIES:
                told = f"{self.path} sends what is no event of a ViralSync gateway ({error}); is it of another version?"
                raise ApiError(200, "ANSWER_UNREADABLE", told) from error
            raise Broken(f"{self.path}: {error}") from error
        yield from self._line(made) if isinstance(made, OutputLine) else self._event(made)

    def _line(self, line: OutputLine) -> Iterator[OutputLine]:
        plain = replace(line, cursor=None)
        known = self._again[plain] > 0
        if known:
            self._again[plain] -= 1
        else:
            self._since[plain] += 1
        if line.cursor is not None:
            self._cursor = line.cursor
            self._since.clear()
        if self._output and not known:
            yield line

    def _event(self, event: Event) -> Iterator[Event]:
        mine = event.job.id == self._job_id
        if event.name == "job.sync" and event.job.raw.get("reset"):
            # Numbers of another life, such as a database put back from a copy: they begin anew.
            self._last = None
        if self._last is not None and event.sequence <= self._last:
            self._over = self._over or (mine and event.sequence == self._last and event.job.terminal)
            return
        if event.name == "job.sync" and self._last is not None:
            # Where the job stands now. What we missed until there comes next, one by one.
            return
        self._last, self._failures, self._unreadable, self._wait = event.sequence, 0, 0, None
        if mine:
            # After a snapshot of an ended job comes its end.
            self._over = event.job.terminal and event.name != "job.sync"
        yield event

    @property
    def unread(self) -> str | None:
        """When all is over: where lines may be left that were printed near the end, to be asked for; None when there are none."""
        return self._cursor if self._output else None

    def rest(self, page: OutputPage) -> Iterator[OutputLine]:
        """Those of them that are new."""
        self._again = self._since.copy()
        for line in page.lines:
            yield from self._line(line)
        self._cursor = page.cursor if page.lines else None
        self._since.clear()

    @property
    def over(self) -> bool:
        """Whether the job has ended, as far as was seen. A retry makes it go on."""
        return self._over

    def pause(self) -> float:
        """The connection is gone: seconds until the next."""
        self._failures += 1
        wait, self._wait = self._wait, None
        return self._pacing.pause(self._failures) if wait is None else min(wait, LONGEST_WAIT_S)


class Broken(Exception):
    """This connection is of no use; another may be."""
