"""Places in a plan's params where another job's result goes: `$jobId`, `_videoJobDependency:jobId` and the like. Pure.

What belongs here: finding and filling them. What does not: whether the job is there (plans.py), where its result lies (ledger.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from viralsync_pipelines.movie.document import child

_DOLLAR = re.compile(r"\$([A-Za-z][A-Za-z0-9_-]{0,99})(?:\.outputs\[([0-9]{1,2})\])?(?:\.url)?")
_KINDED = re.compile(r"_(image|video|audio|transcript)JobDependency:([A-Za-z0-9][A-Za-z0-9_-]{0,99})")
# Words that are meant for people or models: a price of "$prompt" in them is no marker unless a job has that name.
_WORDS = frozenset({"prompt", "negative_prompt", "text", "script", "title", "lyrics"})


@dataclass(frozen=True)
class Marker:
    """job: whose result. output: which of its outputs, from 0. media: what it has to be, "" for anything."""

    job: str
    output: int = 0
    media: str = ""


def marker_of(text: str) -> Marker | None:
    """What a string stands for; None for one that stands for itself."""
    found = _DOLLAR.fullmatch(text)
    if found is not None:
        return Marker(found[1], int(found[2] or 0))
    kinded = _KINDED.fullmatch(text)
    return Marker(kinded[2], media=kinded[1] if kinded[1] != "transcript" else "") if kinded is not None else None


def markers_in(value: Any, known: Callable[[str], bool], at: str = "") -> Iterator[tuple[str, Marker]]:
    """Every marker with its JSON pointer. Words for people count only when a job has that name."""
    for pointer, name, text in _strings(value, at, ""):
        marker = marker_of(text)
        if marker is not None and (name not in _WORDS or known(marker.job)):
            yield pointer, marker


def filled(value: Any, fill: Callable[[Marker], Any], known: Callable[[str], bool], name: str = "") -> Any:
    """The value with every marker replaced."""
    if isinstance(value, str):
        marker = marker_of(value)
        return fill(marker) if marker is not None and (name not in _WORDS or known(marker.job)) and known(marker.job) else value
    if isinstance(value, Mapping):
        return {key: filled(each, fill, known, str(key)) for key, each in value.items()}
    if isinstance(value, list):
        return [filled(each, fill, known, name) for each in value]
    return value


def _strings(value: Any, at: str, name: str) -> Iterator[tuple[str, str, str]]:
    if isinstance(value, str):
        yield at, name, value
    elif isinstance(value, Mapping):
        for key, each in value.items():
            yield from _strings(each, child(at, str(key)), str(key))
    elif isinstance(value, list):
        for number, each in enumerate(value):
            yield from _strings(each, child(at, number), name)
