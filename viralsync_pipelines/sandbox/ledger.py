"""Predictions as they stand, in a SQLite file of the sandbox's own, so that they outlive a restart; and what was counted.

What belongs here: rows and the moves that are allowed. What does not: the wire's form of them (wire.py), making anything (working.py).
A prediction that is over stays as it is.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# As Replicate does for what comes by its API.
RETENTION_MS = 3_600_000
# The rows themselves go after a week: they are small, and asking for an old one should still tell that its data is removed.
_FORGET_MS = 7 * 86_400_000
PAGE = 100
_OPEN = ("starting", "processing")
_SCHEMA = """
create table if not exists predictions (
    number integer primary key autoincrement, id text not null unique, key text not null, likeness text not null, nth integer not null,
    model text not null, input text not null, webhook text, events text not null, base text not null, status text not null,
    created_ms integer not null, started_ms integer, finished_ms integer, logs text not null default '', outputs text not null default '[]',
    error text, removed integer not null default 0, renewed integer not null default 0, told integer not null default 0
);
create index if not exists predictions_alike on predictions (likeness);
create index if not exists predictions_kept on predictions (removed, finished_ms);
create index if not exists predictions_open on predictions (status);
create table if not exists counters (name text primary key, n integer not null);
"""
_COLUMNS = (
    "number, id, key, likeness, nth, model, input, webhook, events, base, status, created_ms, started_ms, finished_ms, logs, outputs, "
    "error, removed, renewed"
)  # fmt: skip


@dataclass(frozen=True)
class Prediction:
    """key: the same for submits that are the same, webhook and all; likeness: without the webhook. nth: how many were alike before it.

    base: the sandbox's address as the submitter has it. outputs: names of files. removed: an hour is over. renewed: how often fresh
    addresses were given.
    """

    number: int
    id: str
    key: str
    likeness: str
    nth: int
    model: str
    input: Mapping[str, Any]
    webhook: str | None
    events: tuple[str, ...]
    base: str
    status: str
    created_ms: int
    started_ms: int | None
    finished_ms: int | None
    logs: str
    outputs: tuple[str, ...]
    error: str | None
    removed: bool
    renewed: int

    @property
    def over(self) -> bool:
        return self.status not in _OPEN

    @property
    def fate(self) -> str:
        """What the dice are asked with: nothing in it is by chance."""
        return f"{self.likeness}|{self.nth}"


class Ledger:
    """Safe to use from several threads."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        self._connection = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
        self._connection.execute("pragma journal_mode=wal")
        # What is lost by a power cut is a toy; a commit that waits for the disk costs 5 ms, of which a thousand jobs have ten thousand.
        self._connection.execute("pragma synchronous=off")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute("begin immediate")
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("rollback")
                raise
            self._connection.execute("commit")

    def _rows(self, words: str, values: Sequence[Any] = ()) -> list[Any]:
        with self._lock:
            return self._connection.execute(words, values).fetchall()

    def create(
        self, *, new_id: str, model: str, given: Mapping[str, Any], webhook: str | None, events: Sequence[str], base: str, now_ms: int
    ) -> Prediction:
        """A new one, `starting`."""
        told = json.dumps(given, sort_keys=True)
        likeness = _digest(model, told)
        with self._writing() as connection:
            nth = connection.execute("select count(*) from predictions where likeness = ?", (likeness,)).fetchone()[0]
            connection.execute(
                "insert into predictions (id, key, likeness, nth, model, input, webhook, events, base, status, created_ms) "
                "values (?, ?, ?, ?, ?, ?, ?, ?, ?, 'starting', ?)",
                (new_id, _digest(likeness, webhook or ""), likeness, nth, model, told, webhook, json.dumps(list(events)), base, now_ms),
            )  # fmt: skip
        made = self.get(new_id)
        if made is None:
            raise RuntimeError(f"prediction {new_id} is gone as soon as it was made")
        return made

    def get(self, prediction_id: str) -> Prediction | None:
        rows = self._rows(f"select {_COLUMNS} from predictions where id = ?", (prediction_id,))  # noqa: S608 - our own column names
        return _prediction(rows[0]) if rows else None

    def page(self, *, after_ms: int | None, before_ms: int | None, below: int | None) -> list[Prediction]:
        """Up to PAGE + 1 of them, the newest first. below: numbers under this one only."""
        rows = self._rows(
            f"select {_COLUMNS} from predictions where created_ms > ? and created_ms < ? and number < ? order by number desc limit ?",  # noqa: S608
            (-1 if after_ms is None else after_ms, before_ms or 2**62, below or 2**62, PAGE + 1),
        )
        return list(map(_prediction, rows))

    def unfinished(self) -> list[Prediction]:
        return list(map(_prediction, self._rows(f"select {_COLUMNS} from predictions where status in {_OPEN} order by number")))  # noqa: S608

    def untold(self, since_ms: int) -> list[Prediction]:
        """Over since then, with a webhook about which nothing is settled."""
        rows = self._rows(
            f"select {_COLUMNS} from predictions where told = 0 and webhook is not null and finished_ms > ? order by number",  # noqa: S608
            (since_ms,),
        )
        return list(map(_prediction, rows))

    # ---- moves -------------------------------------------------------------------------------------------------------

    def begin(self, prediction_id: str, now_ms: int) -> Prediction | None:
        """starting -> processing; also for one that was processing when the sandbox was ended. None when it is over."""
        return self._move(prediction_id, "status = 'processing', started_ms = coalesce(started_ms, ?)", (now_ms,))

    def say(self, prediction_id: str, line: str) -> Prediction | None:
        return self._move(prediction_id, "logs = logs || ?", (line + "\n",))

    def produce(self, prediction_id: str, outputs: Sequence[str]) -> Prediction | None:
        return self._move(prediction_id, "outputs = ?", (json.dumps(list(outputs)),))

    def finish(self, prediction_id: str, status: str, now_ms: int, error: str | None = None) -> Prediction | None:
        """The first end counts; None for one that is over already."""
        return self._move(prediction_id, "status = ?, finished_ms = ?, error = ?", (status, now_ms, error))

    def _move(self, prediction_id: str, change: str, values: Sequence[Any]) -> Prediction | None:
        with self._writing() as connection:
            moved = connection.execute(
                f"update predictions set {change} where id = ? and status in {_OPEN}",  # noqa: S608 - `change` is ours
                (*values, prediction_id),
            ).rowcount
        return self.get(prediction_id) if moved else None

    def renew(self, prediction_id: str) -> None:
        """Its files get fresh addresses."""
        self._rows("update predictions set renewed = renewed + 1 where id = ?", (prediction_id,))

    def settle_told(self, prediction_id: str) -> None:
        """Its last webhook was received, or never will be."""
        self._rows("update predictions set told = 1 where id = ?", (prediction_id,))

    def remove_old(self, now_ms: int) -> list[str]:
        """Input, output and logs go an hour after the end. Their ids: the files are the caller's."""
        due = "removed = 0 and finished_ms <= ?"
        gone = [row[0] for row in self._rows(f"select id from predictions where {due}", (now_ms - RETENTION_MS,))]  # noqa: S608
        if gone:
            with self._writing() as connection:
                connection.execute(
                    f"update predictions set removed = 1, input = '{{}}', outputs = '[]', logs = '' where {due}",  # noqa: S608
                    (now_ms - RETENTION_MS,),
                )
                connection.execute("delete from predictions where removed = 1 and finished_ms <= ?", (now_ms - _FORGET_MS,))
        return gone

    # ---- counts ------------------------------------------------------------------------------------------------------

    def count(self, name: str) -> None:
        self._rows("insert into counters values (?, 1) on conflict (name) do update set n = n + 1", (name,))

    def counters(self) -> dict[str, int]:
        return dict(self._rows("select name, n from counters order by name"))

    def statuses(self) -> dict[str, int]:
        return dict(self._rows("select status, count(*) from predictions group by status order by status"))

    def alike(self, by: str, most: int) -> list[dict[str, Any]]:
        """Submits that are the same, those made most often first. by: "key" (model, input, webhook) or "likeness" (without webhook)."""
        rows = self._rows(
            f"select {by}, count(*), min(model), min(webhook), group_concat(id) from predictions group by {by} "  # noqa: S608 - one of two names
            "order by count(*) desc, min(number) limit ?",
            (most,),
        )
        return [{"key": k, "times": n, "model": m, "webhook": w, "ids": ids.split(",")} for k, n, m, w, ids in rows]

    def times(self, by: str) -> dict[int, int]:
        """How many different submits were made once, twice, ..."""
        return dict(self._rows(f"select n, count(*) from (select count(*) as n from predictions group by {by}) group by n order by n"))  # noqa: S608


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def _prediction(row: Iterable[Any]) -> Prediction:
    (number, found, key, likeness, nth, model, given, webhook, events, base, status, created, started, finished, logs, outputs, error,
     removed, renewed) = row  # fmt: skip
    return Prediction(
        number, found, key, likeness, nth, model, json.loads(given), webhook, tuple(json.loads(events)), base, status, created, started,
        finished, logs, tuple(json.loads(outputs)), error, bool(removed), renewed,
    )  # fmt: skip
