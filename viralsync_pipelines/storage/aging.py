"""What has grown old in the store: which objects nobody names any more, and deleting or only counting them.

What belongs here: ages and names of objects. What does not: jobs and runs (defs/cleanup.py), half-written objects (Store.sweep).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from typing import Any

from viralsync_pipelines.errors import ObjectMissing
from viralsync_pipelines.storage.store import Store

PLANS, OUTPUTS = "render-plans/", "outputs/"
CACHES = ("cache/clips/", "cache/sounds/", "cache/films/", "cache/speech/", "cache/sources/")
_DIGEST = re.compile(rb"\b[0-9a-f]{64}\b")
_NAMED_AT_MOST = 10


@dataclass
class Tally:
    """Things of one kind that go, or would: how many, their bytes, and the first names."""

    count: int = 0
    size: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, name: str, size: int = 0) -> None:
        self.count += 1
        self.size += size
        if len(self.first) < _NAMED_AT_MOST:
            self.first.append(name)

    def as_json(self) -> dict[str, Any]:
        return {"count": self.count, "bytes": self.size, "first": self.first}


def forget(store: Store, keys: Iterable[str], tally: Tally, *, dry_run: bool) -> None:
    """Delete these objects, or only count them."""
    for key in keys:
        stat = store.stat(key)
        if stat is None:
            continue
        tally.add(key, stat.size)
        if not dry_run:
            store.delete(key)


def jobs_under(store: Store, prefix: str) -> Iterator[tuple[str, list[str]]]:
    """Jobs that have objects below `render-plans/` or `outputs/`, each with its keys."""
    for job, keys in groupby(store.list(prefix), key=lambda key: key.split("/")[1]):
        yield job, list(keys)


def younger(store: Store, keys: Iterable[str], before: datetime) -> bool:
    """Whether one of these was written since."""
    return any((stat := store.stat(key)) is not None and stat.modified >= before for key in keys)


@dataclass
class Named:
    """Digests that plans name: clips, sounds, films, speech and sources alike. A plan names too much rather than too little: every
    64 hex digits in it count."""

    store: Store
    counts: Callable[[str], bool]
    digests: set[str] = field(default_factory=set)
    _read: set[str] = field(default_factory=set)

    def read(self) -> None:
        """Read the plans that are new since the last time, of jobs that count."""
        for job, keys in jobs_under(self.store, PLANS):
            for key in keys:
                if key not in self._read and self.counts(job):
                    self._read.add(key)
                    self.digests |= self._digests_in(key)

    def _digests_in(self, key: str) -> set[str]:
        try:
            return {found.decode() for found in _DIGEST.findall(self.store.get_bytes(key))}
        except ObjectMissing:
            return set()


def forget_unnamed(store: Store, named: Named, before: datetime, tally: Tally, *, dry_run: bool) -> None:
    """Delete what is cached by content, was written before, and no plan names."""
    named.read()
    old = [
        (digest, found)
        for prefix in CACHES
        for digest, keys in groupby(store.list(prefix), key=_digest_of)
        if digest not in named.digests and not younger(store, found := list(keys), before)
    ]
    # Looking took its time: films that were planned meanwhile count.
    named.read()
    for digest, keys in old:
        if digest not in named.digests:
            forget(store, sorted(keys, key=_whole_first), tally, dry_run=dry_run)


def _digest_of(key: str) -> str:
    return key.rpartition("/")[2].partition(".")[0]


def _whole_first(key: str) -> tuple[bool, str]:
    """What says that something is whole goes first: a clip's own file, the notes of everything else."""
    whole = key.endswith(".mp4") if key.startswith("cache/clips/") else key.endswith(".json")
    return not whole, key
