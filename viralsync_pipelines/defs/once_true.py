"""Answers of a storage about its own tables, asked for once.

What belongs here: remembering. What does not: which questions (home_sqlite.py, home_postgres.py). Dagster asks the database which
columns and tables it has at nearly every call, for the sake of tables that were never upgraded: more than half of what it takes to
look up a run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any


def once_true(question: Callable[..., bool]) -> Callable[..., bool]:
    """A method that no longer asks once the answer was yes: what is there stays. A no is asked again, for it may be made yet."""

    @wraps(question)
    def asked(self: Any, *args: str) -> bool:
        known: set[object] = self.__dict__.setdefault("_once_true", set())
        this = (question.__name__, args)
        if this not in known and question(self, *args):
            known.add(this)
        return this in known

    return asked
