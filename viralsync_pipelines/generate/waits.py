"""When a provider is asked again. Pure: 5 s, 7.5 s, 11.25 s ... up to a ceiling, with jitter, and what a provider asks for.

What belongs here: times. What does not: asking (poll.py).
"""

from __future__ import annotations

from dataclasses import dataclass

# A provider that asks for more patience than this is asked again after it all the same.
LONGEST_MS = 3_600_000
# Answers that were none, in a row, before a job is given up: at the ceiling of 60 s some two hours of outage.
MOST_ERRORS = 120


@dataclass(frozen=True)
class Waits:
    """initial_ms: before the first poll. factor: each wait over the one before. ceiling_ms: the longest. most: polls that find it not
    done before it is given up. jitter: up to so much of a wait is added, so that jobs submitted together are not asked for together.

    Without a ceiling the hundredth poll would come after 1e18 s; with 60 s a hundred take 96 minutes.
    """

    initial_ms: int = 5_000
    factor: float = 1.5
    ceiling_ms: int = 60_000
    most: int = 100
    jitter: float = 0.1

    def after(self, polls: int, chance: float, *, asked_ms: float | None = None) -> int:
        """Milliseconds until the next poll when `polls` found it not done. chance: 0 to 1. asked_ms: what the provider asked for."""
        # The exponent is bounded: 1.5 ** 2000 is no float.
        wait = min(float(self.ceiling_ms), self.initial_ms * self.factor ** min(polls, 64))
        return self._with(wait, chance, asked_ms)

    def late(self, chance: float) -> int:
        """For a job whose end a webhook will tell: at the ceiling from the first on, in case the webhook is lost."""
        return self._with(float(self.ceiling_ms), -chance, None)

    def after_error(self, errors: int, chance: float, *, asked_ms: float | None = None) -> int:
        """After `errors` answers in a row that were none: as long, counted by itself."""
        return self.after(max(0, errors - 1), chance, asked_ms=asked_ms)

    def _with(self, wait: float, chance: float, asked_ms: float | None) -> int:
        wait *= 1 + self.jitter * chance
        return round(min(LONGEST_MS, max(wait, asked_ms or 0.0)))
