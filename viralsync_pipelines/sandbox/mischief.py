"""What goes wrong on purpose: shares of webhooks, answers, predictions and files that fare badly, decided the same way each time.

What belongs here: the shares, and the dice. What does not: doing it (telling.py, working.py, server.py ask before they act).
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

POLICY_TEXT = "NSFW content detected. Try running it again, or try a different prompt."


@dataclass(frozen=True)
class Mischief:
    """Shares from 0 to 1, of webhook messages: lost, doubled (half of them under the same id), late by late_s, early (the last one, before
    the submit is answered), disordered (what belongs before the last one comes after it).

    Of predictions: failing with the text `error`, refusing with the policy's words; expired (its files' first address answers 403 or
    404, asking for the prediction again gives one that works), gone (its files answer 404 for good).
    Of submits: answers_lost (taken, and the connection is cut), errors_taken (taken, and answered 500).
    Of all requests: errors (500, nothing done), throttled (429 for throttled_s), slow (answered after slow_s).
    """

    lost: float = 0.0
    doubled: float = 0.0
    late: float = 0.0
    early: float = 0.0
    disordered: float = 0.0
    failing: float = 0.0
    refusing: float = 0.0
    expired: float = 0.0
    gone: float = 0.0
    answers_lost: float = 0.0
    errors_taken: float = 0.0
    errors: float = 0.0
    throttled: float = 0.0
    slow: float = 0.0
    late_s: float = 5.0
    throttled_s: float = 1.0
    slow_s: float = 2.0
    error: str = "Prediction failed: CUDA out of memory"
    seed: int = 0

    def changed(self, told: Any) -> Mischief:
        """With what a JSON object says; what it leaves out is as here. Raises ValueError with a sentence."""
        if not isinstance(told, Mapping):
            raise ValueError("send a JSON object of shares, such as {\"lost\": 0.1}")  # noqa: TRY004 - as any other fault of it
        known = {field.name: type(getattr(self, field.name)) for field in fields(self)}
        for name, value in told.items():
            kind = known.get(name)
            if kind is None:
                raise ValueError(f"there is no mischief {name!r}; there are {', '.join(known)}")
            if kind is float and (not isinstance(value, int | float) or isinstance(value, bool) or not value >= 0):
                raise ValueError(f"{name} is a number from 0, not {value!r}")
            if kind is float and not name.endswith("_s") and value > 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {value!r}")
            if kind is float and value > 3600:
                raise ValueError(f"{name} is at most 3600 seconds, not {value!r}")
            if kind is not float and (not isinstance(value, kind) or isinstance(value, bool)):
                raise ValueError(f"{name} is a {'text' if kind is str else 'whole number'}, not {value!r}")
        return replace(self, **{name: known[name](value) for name, value in told.items()})


class Dice:
    """Decides by the seed and by what it is asked about: the same jobs, submitted in any order, meet the same fate."""

    def __init__(self, mischief: Mischief) -> None:
        self.mischief = mischief
        self._times: Counter[tuple[str, str]] = Counter()
        self._lock = threading.Lock()

    def falls(self, what: str, about: str) -> bool:
        """Whether this befalls it; the same answer each time."""
        share: float = getattr(self.mischief, what)
        return share > 0 and self.roll(what, about) < share

    def falls_now(self, what: str, about: str) -> bool:
        """Whether it does this time: who tries again rolls again."""
        if getattr(self.mischief, what) <= 0:
            return False
        with self._lock:
            self._times[what, about] += 1
            turn = self._times[what, about]
        return self.falls(what, f"{about}|{turn}")

    def roll(self, what: str, about: str) -> float:
        """0 to below 1."""
        digest = hashlib.sha256(f"{self.mischief.seed}|{what}|{about}".encode()).digest()
        return int.from_bytes(digest[:7], "big") / 2**56
