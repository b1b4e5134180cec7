"""The work: a few threads that take predictions in turn, make what was asked, and end them not before their time.

What belongs here: a prediction's way from starting to its end. What does not: what it makes (making.py), how it is told (telling.py).
"""

from __future__ import annotations

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.sandbox.agenda import Agenda
from viralsync_pipelines.sandbox.canned import Shelf
from viralsync_pipelines.sandbox.ledger import Ledger, Prediction
from viralsync_pipelines.sandbox.making import Maker
from viralsync_pipelines.sandbox.mischief import POLICY_TEXT, Dice
from viralsync_pipelines.sandbox.models import MODELS, checked
from viralsync_pipelines.sandbox.pictures import seed_of
from viralsync_pipelines.sandbox.sources import ModelFailed
from viralsync_pipelines.sandbox.telling import Telling

# A last webhook that the sandbox owed when it was ended is still worth sending for so long.
_OWED_MS = 60_000

_log = logging.getLogger("viralsync.sandbox")


@dataclass(frozen=True)
class Pace:
    """workers: predictions made at once. seconds: how long each is `processing` at least; waiting takes no worker. canned: all are."""

    workers: int = 2
    seconds: float = 0.0
    canned: bool = False


class Workshop:
    def __init__(
        self, ledger: Ledger, telling: Telling, dice: Dice, agenda: Agenda, maker: Maker, shelf: Shelf, files: Path, pace: Pace,
        now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._ledger, self._telling, self._dice, self._agenda = ledger, telling, dice, agenda
        self._maker, self._shelf, self._files, self._pace, self._now_ms = maker, shelf, files, pace, now_ms
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._ears: dict[str, list[Callable[[], None]]] = {}
        self._hurried: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._threads = [threading.Thread(target=self._work, name=f"sandbox-worker-{n}", daemon=True) for n in range(pace.workers)]

    def start(self) -> None:
        """Take up what was left when the sandbox was ended, and begin."""
        for owed in self._ledger.untold(self._now_ms() - _OWED_MS):
            self._telling.tell(owed, "completed")
        for left in self._ledger.unfinished():
            self._queue.put(left.id)
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """What is being made is made to its end; the rest is left for the next start."""
        self._closed.set()
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def take(self, made: Prediction, *, hurried: bool = False) -> None:
        if hurried:
            with self._lock:
                self._hurried.add(made.id)
        self._queue.put(made.id)

    def when_over(self, prediction_id: str, ear: Callable[[], None]) -> None:
        """Call `ear` once when the prediction ends, or now when it has ended."""
        with self._lock:
            self._ears.setdefault(prediction_id, []).append(ear)
        made = self._ledger.get(prediction_id)
        if made is None or made.over:
            self._ring(prediction_id)

    def cancel(self, prediction_id: str) -> None:
        """Ends it unless it is over; what is being made is thrown away."""
        self._end(prediction_id, "canceled", None)

    def remove_old(self) -> None:
        """Files whose hour is over."""
        for gone in self._ledger.remove_old(self._now_ms()):
            shutil.rmtree(self._files / gone, ignore_errors=True)

    # ---- in a worker -------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while (prediction_id := self._queue.get()) is not None and not self._closed.is_set():
            try:
                self._process(prediction_id)
            except Exception:
                _log.exception("sandbox: prediction %s", prediction_id)
                self._end(prediction_id, "failed", "Prediction interrupted; please retry (code: PA)")

    def _process(self, prediction_id: str) -> None:
        began = time.monotonic()
        made = self._ledger.begin(prediction_id, self._now_ms())
        if made is None:
            return
        self._telling.tell(made, "start")
        error = self._refusal(made)
        if error is None:
            try:
                self._make(made)
            except ModelFailed as failure:
                error = str(failure)
        with self._lock:
            hurried = prediction_id in self._hurried
            self._hurried.discard(prediction_id)
        left = 0.0 if hurried else self._pace.seconds - (time.monotonic() - began)
        end = (prediction_id, "failed" if error else "succeeded", error)
        if left > 0:
            self._agenda.after(left, lambda: self._end(*end))
        else:
            self._end(*end)

    def _refusal(self, made: Prediction) -> str | None:
        if self._dice.falls("refusing", made.fate):
            return POLICY_TEXT
        return self._dice.mischief.error if self._dice.falls("failing", made.fate) else None

    def _make(self, made: Prediction) -> None:
        recipe = MODELS[made.model]
        values, _ = checked(recipe, made.input)
        if "prompt" in values:
            self._say(made.id, f"Using seed: {seed_of(values['prompt'], values.get('seed'))}")
        folder = self._files / made.id
        folder.mkdir(parents=True, exist_ok=True)
        before = time.monotonic()
        if self._pace.canned or values.get("canned"):
            out = self._shelf.give(recipe.name, values, made.id, folder, lambda to: self._maker.make(recipe, values, to))
        else:
            out = self._maker.make(recipe, values, folder)
        for other in folder.iterdir():
            if other != out:
                other.unlink()
        self._say(made.id, f"Made {out.name} in {time.monotonic() - before:.2f} s")
        produced = self._ledger.produce(made.id, [out.name])
        if produced is None:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            self._telling.tell(produced, "output")

    def _say(self, prediction_id: str, line: str) -> None:
        said = self._ledger.say(prediction_id, line)
        if said is not None:
            self._telling.tell(said, "logs")

    def _end(self, prediction_id: str, status: str, error: str | None) -> None:
        ended = self._ledger.finish(prediction_id, status, self._now_ms(), error)
        if ended is not None:
            self._telling.tell(ended, "completed")
            self._ring(prediction_id)

    def _ring(self, prediction_id: str) -> None:
        with self._lock:
            ears = self._ears.pop(prediction_id, [])
        for ear in ears:
            ear()
