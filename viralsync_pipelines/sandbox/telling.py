"""Webhooks: one line for each prediction, in order, signed; the last one tried again for a minute, the others sent once.

What belongs here: sending, and what mischief does to messages. What does not: when something is to be told (working.py).
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from viralsync_pipelines.addresses import AddressRefused, HostUnknown
from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.sandbox.agenda import Agenda
from viralsync_pipelines.sandbox.ledger import Ledger, Prediction
from viralsync_pipelines.sandbox.mischief import Dice
from viralsync_pipelines.sandbox.signing import signed
from viralsync_pipelines.sandbox.wire import prediction_json

if TYPE_CHECKING:
    import httpx

TIMEOUT_S = 15.0
# After a try that failed; together about a minute, after which Replicate too lets it be.
PAUSES_S = (1.0, 2.0, 4.0, 8.0, 16.0, 29.0)
# Logs and outputs are told this often at most.
EVERY_MS = 500
_AT_ONCE = 8
_MOST_ANSWER = 4096


@dataclass(frozen=True)
class Message:
    id: str
    prediction_id: str
    event: str
    url: str
    body: bytes
    wait_s: float = 0.0
    tries: int = 0

    @property
    def last(self) -> bool:
        return self.event == "completed"


@dataclass
class _Line:
    """Messages of one prediction. held: those that mischief keeps until the last one is gone. told_ms: when what was told last."""

    waiting: deque[Message] = field(default_factory=deque)
    held: list[Message] = field(default_factory=list)
    busy: bool = False
    over: bool = False
    told_ms: dict[str, int] = field(default_factory=dict)
    ears: list[Callable[[], None]] = field(default_factory=list)


class Telling:
    """client: guarded. new_id: a fresh id for each message."""

    def __init__(
        self, ledger: Ledger, secret: str, client: httpx.Client, dice: Dice, agenda: Agenda, *, now_ms: Callable[[], int],
        new_id: Callable[[], str], pauses_s: tuple[float, ...] = PAUSES_S,
    ) -> None:  # fmt: skip
        self._ledger, self._secret, self._client, self._dice, self._agenda = ledger, secret, client, dice, agenda
        self._now_ms, self._new_id, self._pauses_s = now_ms, new_id, pauses_s
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()
        self._closed = False
        self._pool = ThreadPoolExecutor(_AT_ONCE, "sandbox-webhooks")

    def close(self) -> None:
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)

    def when_told(self, prediction_id: str, ear: Callable[[], None]) -> None:
        """Call `ear` once when the last webhook was tried for the first time, or is lost."""
        with self._lock:
            self._lines.setdefault(prediction_id, _Line()).ears.append(ear)

    def tell(self, made: Prediction, event: str) -> None:
        """Tell of a prediction as it stands, if its submitter wants to hear of such events. Returns at once."""
        if made.webhook is None or event not in made.events:
            if event == "completed":
                self._over(made.id)
            return
        now = self._now_ms()
        with self._lock:
            line = self._lines.setdefault(made.id, _Line())
            if event in {"logs", "output"} and now - line.told_ms.get(event, -EVERY_MS) < EVERY_MS:
                return
            line.told_ms[event] = now
        message = Message(self._new_id(), made.id, event, made.webhook, json.dumps(prediction_json(made)).encode())
        self._count(message, "made")
        about = f"{made.fate}|{event}"
        if self._dice.falls("lost", about):
            self._count(message, "lost")
            messages = []
            if message.last:
                self._ledger.settle_told(made.id)
        else:
            messages = self._befallen(message, about)
        with self._lock:
            if not message.last and messages and self._dice.falls("disordered", made.fate):
                line.held += messages
                messages = []
            elif message.last:
                for each in line.held:
                    self._count(each, "disordered")
                messages += line.held
                line.held = []
            line.waiting += messages
            line.over = message.last
        if message.last and not messages:
            self._over(made.id)
        self._go_on(made.id)

    def _befallen(self, message: Message, about: str) -> list[Message]:
        if self._dice.falls("late", about):
            self._count(message, "late")
            message = replace(message, wait_s=self._dice.mischief.late_s)
        if not self._dice.falls("doubled", about):
            return [message]
        self._count(message, "doubled")
        # A receiver that only compares ids would take the other half for news.
        again = message.id if self._dice.roll("doubled under the same id", about) < 0.5 else self._new_id()
        return [message, replace(message, id=again, wait_s=0.0)]

    # ---- sending -----------------------------------------------------------------------------------------------------

    def _go_on(self, prediction_id: str) -> None:
        """Begin with the next message of a line, unless one is under way."""
        with self._lock:
            line = self._lines.get(prediction_id)
            if line is None or line.busy or not line.waiting or self._closed:
                return
            line.busy = True
            message = line.waiting.popleft()
        self._later(message.wait_s, message)

    def _later(self, seconds: float, message: Message) -> None:
        if seconds > 0:
            self._agenda.after(seconds, lambda: self._later(0, message))
            return
        with self._lock:
            if not self._closed:
                self._pool.submit(self._send, message)

    def _send(self, message: Message) -> None:
        received = self._post(message)
        self._count(message, "tries")
        if message.last and message.tries == 0:
            self._heard(message.prediction_id)
        if received:
            self._count(message, "received")
        elif message.last and message.tries < len(self._pauses_s):
            self._later(self._pauses_s[message.tries], replace(message, tries=message.tries + 1))
            return
        else:
            self._count(message, "given_up")
        if message.last:
            self._ledger.settle_told(message.prediction_id)
        with self._lock:
            line = self._lines[message.prediction_id]
            line.busy = False
            if line.over and not line.waiting:
                del self._lines[message.prediction_id]
        self._go_on(message.prediction_id)

    def _post(self, message: Message) -> bool:
        """Whether it was received: 2xx and nothing else, redirects not followed."""
        import httpx

        headers = signed(self._secret, message.id, message.body, self._now_ms())
        try:
            with deadline(TIMEOUT_S):
                request = self._client.build_request("POST", message.url, content=message.body, headers=dict(headers), timeout=TIMEOUT_S)
                answer = self._client.send(request, stream=True)
                try:
                    # A short body is read for the connection's sake.
                    if int(answer.headers.get("content-length") or _MOST_ANSWER + 1) <= _MOST_ANSWER:
                        answer.read()
                finally:
                    answer.close()
        except (httpx.HTTPError, httpx.InvalidURL, AddressRefused, HostUnknown, ValueError):
            return False
        return answer.is_success

    def _heard(self, prediction_id: str) -> None:
        with self._lock:
            line = self._lines.get(prediction_id)
            ears = line.ears if line is not None else []
            if line is not None:
                line.ears = []
        for ear in ears:
            ear()

    def _over(self, prediction_id: str) -> None:
        """There is nothing more to tell."""
        self._heard(prediction_id)
        with self._lock:
            line = self._lines.get(prediction_id)
            if line is not None:
                line.over = True
                if not line.busy and not line.waiting:
                    del self._lines[prediction_id]

    def _count(self, message: Message, what: str) -> None:
        self._ledger.count(f"webhooks.{message.event}.{what}")
