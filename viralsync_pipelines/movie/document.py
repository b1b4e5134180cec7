"""A raw JSON document before anything is understood: its size, its depth, numbers that are none, and what work it may cost.

What belongs here: surveying any JSON value safely, pointers, the budget of an expansion.
What does not: fields and their meaning (spec.py), templates (filling.py, templates.py).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import Any

from viralsync_pipelines.errors import Problem

MAX_BYTES = 8_000_000
MAX_DEPTH = 48
MAX_STEPS = 4_000_000  # one step is about a microsecond
MAX_FAULTS = 500
MAX_VISITS = 1_000_000
MAX_BITS = 1_024  # larger integers fit no double and cost quadratic time to print


class Stop(Exception):
    """Expansion cannot go on; `problem` says why."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


@dataclass
class Budget:
    """What an expansion may still produce (`size`, bytes of JSON) and do (`steps`), and the source place it is `at`."""

    size: int = MAX_BYTES
    steps: int = MAX_STEPS
    at: str = ""

    def spend(self, size: int, steps: int = 1) -> None:
        self.size -= size
        self.steps -= steps
        if self.size < 0:
            message = f"the movie grows beyond {MAX_BYTES // 1_000_000} MB of JSON here; repeat less or split the movie"
            raise Stop(Problem(self.at, "DOCUMENT_TOO_LARGE", message))
        if self.steps < 0:
            raise Stop(Problem(self.at, "DOCUMENT_TOO_LARGE", "expanding this takes too much work; repeat less or split it"))


@dataclass
class Survey:
    """What one walk over a document found out.

    known: for each dict and list by id(), its size (about bytes of JSON), and whether it holds templates or faults;
    valid as long as the document lives. faulty: something in it is no JSON value. deep: it is nested beyond MAX_DEPTH.
    """

    known: dict[int, tuple[int, bool]] = field(default_factory=dict)
    faulty: bool = False
    deep: bool = False

    def clean_size(self, value: object) -> int | None:
        """Size of a dict or list that can be taken over as it is, else None."""
        size, templated = self.known.get(id(value), (0, True))
        return None if templated else size


def survey(document: object, found: Survey) -> None:
    """Walk a dict or list once and note it in `found`. Raises Stop (DOCUMENT_TOO_LARGE) beyond MAX_BYTES."""
    if isinstance(document, dict | list):
        _walk(document, found, 1)
    else:
        found.faulty = True


def _walk(node: Any, found: Survey, depth: int) -> tuple[int, bool]:
    # Runs over every value of every movie, hence type() and no calls for scalars: 0.1 us a value.
    if depth > MAX_DEPTH:
        found.deep = True
        return 0, True
    size, marked, inner = 2, False, node
    if type(node) is dict:
        if not _STR.issuperset(map(type, node)) or any(not key.isprintable() and fault(key) for key in node):
            found.faulty = marked = True
        else:
            size += sum(map(len, node)) + 4 * len(node)
        inner = node.values()
    for value in inner:
        kind = type(value)
        if kind is str:
            size += len(value) + 3
            if "{{" in value:
                marked = True
            if not value.isprintable() and fault(value):
                found.faulty = marked = True
        elif kind is dict or kind is list:
            more, inside = _walk(value, found, depth + 1)
            size += more
            marked = marked or inside
            if size > MAX_BYTES:
                break
        elif (kind is int and value.bit_length() <= MAX_BITS) or (kind is float and value - value == 0):
            size += 8
        elif value is None or kind is bool:
            size += 6
        else:
            found.faulty = marked = True
    if size > MAX_BYTES:
        message = f"the movie is larger than {MAX_BYTES // 1_000_000} MB of JSON; split it into several"
        raise Stop(Problem("", "DOCUMENT_TOO_LARGE", message))
    found.known[id(node)] = (size, marked)
    return size, marked


_STR = frozenset({str})
_UNUSABLE = re.compile("[\0\ud800-\udfff]")


def faults(document: object, at: str = "") -> list[Problem]:
    """Every value that is no JSON value, with its pointer, and the first place that is too deep; at most MAX_FAULTS."""
    problems: list[Problem] = []
    waiting: list[tuple[Any, str, int]] = [(document, at, 0)]
    visits = 0
    while waiting and len(problems) < MAX_FAULTS and visits < MAX_VISITS:
        value, place, depth = waiting.pop()
        visits += 1
        if isinstance(value, dict | list):
            if depth >= MAX_DEPTH:
                message = f"the document is nested more than {MAX_DEPTH} deep here; flatten it"
                return [*problems, Problem(place, "DOCUMENT_TOO_DEEP", message)]
            pairs = value.items() if isinstance(value, dict) else enumerate(value)
            waiting.extend((inner, child(place, key), depth + 1) for key, inner in reversed(list(pairs)))
            if isinstance(value, dict) and not _STR.issuperset(map(type, value)):
                problems.append(Problem(place, "TYPE_WRONG", "field names are strings; rename the fields of this object"))
            elif isinstance(value, dict) and any(fault(key) for key in value):
                problems.append(Problem(place, "TEXT_INVALID", "the name of a field here holds NUL or half a character; rename it"))
        elif wrong := fault(value):
            problems.append(Problem(place, *wrong))
    return problems


def fault(value: object) -> tuple[str, str] | None:
    """Code and message when a scalar is no JSON value."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, str):
        # Neither can be printed, stored as UTF-8, or handed to another program.
        half = "this text holds half a character (a lone surrogate); write it again"
        nul = "this text holds a NUL character; remove it"
        return ("TEXT_INVALID", nul if "\0" in value else half) if _UNUSABLE.search(value) else None
    if isinstance(value, int):
        big = value.bit_length() > MAX_BITS
        return ("NUMBER_INVALID", "this whole number is too large; write one a computer can hold exactly") if big else None
    if isinstance(value, float):
        message = "NaN and Infinity are no numbers in JSON; write a finite number"
        return None if math.isfinite(value) else ("NUMBER_INVALID", message)
    return "TYPE_WRONG", f"a {type(value).__name__} is no JSON value; use text, numbers, true, false, null, lists and objects"


def child(at: str, key: object) -> str:
    """The RFC 6901 pointer to a member or element."""
    return f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}"
