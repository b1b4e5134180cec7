"""Filling the `{{ }}` of values at one place of a document, and working out variables that refer to one another.

What belongs here: one value in, the same value without templates out; problems and pending places noted on the way.
What does not: scenes, repetition and conditions (templates.py), the expressions themselves (expressions.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.arithmetic import Fault, Meter, weigh
from viralsync_pipelines.movie.document import MAX_FAULTS, Budget, Stop, Survey, child, fault, faults
from viralsync_pipelines.movie.expressions import BROKEN, Broken, Pending, UsesBroken, evaluate, render
from viralsync_pipelines.movie.grammar import ExpressionError, Hole, faulty, parse, split
from viralsync_pipelines.movie.measured import Times

EVALUATION_STEPS = 10  # what an evaluation costs before its first operation
INSIDE = "/~*"  # ends an origin under which everything came out of one expression; `~*` is in no valid pointer


@dataclass(frozen=True)
class Names(Mapping[str, Any]):
    """Variables of a scene over those of the movie."""

    local: dict[str, Any]
    outer: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        return self.local[key] if key in self.local else self.outer.get(key, default)

    def __getitem__(self, key: str) -> Any:
        return self.local[key] if key in self.local else self.outer[key]

    def __iter__(self) -> Iterator[str]:
        yield from self.local
        yield from self.outer

    def __len__(self) -> int:
        return len(self.local) + len(self.outer)


@dataclass(frozen=True)
class Scope:
    """What names mean at a place. `label` is added to messages, as in " (in scene card_3)"."""

    names: Mapping[str, Any]
    times: Times
    label: str = ""


FAILED: Final = BROKEN  # the outcome of a value whose problem has been noted


@dataclass
class Filler:
    """The state of one expansion: what it may cost, and what it has found so far."""

    survey: Survey
    budget: Budget
    problems: dict[tuple[str, str], Problem] = field(default_factory=dict)
    settled: Mapping[tuple[str, str], Problem] = field(default_factory=dict)  # those kept while others are put aside
    pending: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)  # fields left out for good, their problem being noted
    origins: dict[str, str] = field(default_factory=dict)

    def note(self, at: str, code: str, message: str, scope: Scope | None = None) -> None:
        """Note a problem at a place of the source; one of a kind at a place, or a repeated scene says it a thousand times."""
        label = scope.label if scope else ""
        self.problems.setdefault((at, code), Problem(at, code, message + label))
        if len(self.problems) > MAX_FAULTS:
            raise Stop(Problem("", "TOO_MANY_PROBLEMS", f"there are more than {MAX_FAULTS} problems; the rest is not listed"))

    @contextmanager
    def aside(self) -> Iterator[dict[tuple[str, str], Problem]]:
        """Collect the problems of the block in a list of its own, to keep or to forget."""
        outer = self.problems, self.settled
        found: dict[tuple[str, str], Problem] = {}
        self.problems, self.settled = found, self.settled or self.problems
        try:
            yield found
        finally:
            self.problems, self.settled = outer

    def keep(self, found: Mapping[tuple[str, str], Problem]) -> None:
        for problem in found.values():
            self.note(problem.pointer, problem.code, problem.message)

    def fill(self, value: Any, scope: Scope, at: str, out: str | None = None) -> Any:
        """`value` with every template filled; Pending or FAILED when that cannot be had.

        at: its pointer in the source. out: its pointer in the expanded document; members of objects that are pending or
        failed are then left out and noted, while None (for variables) makes the whole value pending or failed.
        A list waits as a whole: a keyframe without its time would be a fault, no keyframes are none. What holds no
        templates is taken over, not copied.
        """
        if isinstance(value, str):
            return self._text(value, scope, at, out)
        if isinstance(value, dict | list):
            size = self.survey.clean_size(value)
            if size is not None:
                self.budget.spend(size if out is not None else 0)
                return value
            if isinstance(value, dict):
                return self.fill_object(value, scope, at, out)
            already = len(self.pending)
            into = [None if out is None else child(out, n) for n in range(len(value))]
            whole = _whole([self.fill(each, scope, child(at, n), into[n]) for n, each in enumerate(value)])
            waits = len(self.pending) > already
            del self.pending[already:]
            return Pending(()) if waits else whole
        self.budget.spend(8)
        if value is None or isinstance(value, bool):
            return value
        # NaN and its like are noted by faults() with the whole document.
        return FAILED if fault(value) else value

    def fill_object(
        self, value: dict[str, Any], scope: Scope, at: str, out: str | None, *, without: frozenset[str] = frozenset()
    ) -> Any:
        """As fill, for one object, passing over the fields named in `without`."""
        filled: dict[str, Any] = {}
        for key, each in value.items():
            if key in without or not isinstance(key, str):
                continue
            self.budget.spend(len(key) + 4 if out is not None else 0)
            place = None if out is None else child(out, key)
            result = self.fill(each, scope, child(at, key), place)
            if place is not None and isinstance(result, Pending):
                self.pending.append(place)
            elif place is None or not isinstance(result, Broken):
                filled[key] = result
            else:
                self.lost.append(place)
        if out is None:
            outcome = _whole(list(filled.values()))
            return filled if isinstance(outcome, list) else outcome
        return filled

    def _text(self, text: str, scope: Scope, at: str, out: str | None) -> Any:
        if "{{" not in text:
            self.budget.spend(len(text) + 3 if out is not None else 0)
            return text
        value = self._evaluated(text, scope, at, whole=False)
        if isinstance(value, str):
            self.budget.spend(len(value) + 3)
        elif isinstance(value, list | dict) and out is not None:
            self.origins[out + INSIDE] = at
            try:
                self.budget.spend(weigh(value, Meter(self.budget.steps), self.budget.size))
            except Fault:
                message = "what is put in here makes the movie too large or too deeply nested; put in less"
                raise Stop(Problem(at, "DOCUMENT_TOO_LARGE", message)) from None
        return value

    def expression(self, text: str, scope: Scope, at: str) -> Any:
        """The value of a field that is an expression, with or without braces around it; Pending or FAILED as from fill."""
        return self._evaluated(text, scope, at, whole=True)

    def _evaluated(self, text: str, scope: Scope, at: str, *, whole: bool) -> Any:
        # Once is enough: a fault in a scene repeated 2,000 times costs one search for similar names, not 2,000.
        if (at, ExpressionError.code) in self.problems or (at, ExpressionError.code) in self.settled:
            return FAILED
        meter = Meter()
        try:
            if whole:
                return evaluate(_bare(text), scope.names, scope.times, meter)
            return render(text, scope.names, scope.times, meter)
        except UsesBroken:
            return FAILED
        except ExpressionError as error:
            self.note(at, error.code, error.message, scope)
            return FAILED
        finally:
            self.budget.spend(0, meter.used + EVALUATION_STEPS)

    def settle(self, values: Mapping[str, Any], given: Mapping[str, Any], times: Times, at: str) -> dict[str, Any]:
        """Variables that may refer to one another in any order. `given` override them and are taken literally.

        Pending and broken ones are in the result as such. Circles are noted once, at their first member.
        """
        names: dict[str, Any] = {}
        for key, value in given.items():
            if isinstance(key, str):
                names[key] = BROKEN if self.survey.faulty and faults(value) else value
        open_values: dict[str, Any] = {}
        for key, value in values.items():
            if key in given or not isinstance(key, str):
                continue
            if isinstance(value, str):
                closed = "{{" not in value
            else:
                closed = not isinstance(value, dict | list) or self.survey.clean_size(value) is not None
            if closed:
                names[key] = self.fill(value, Scope(names, times), child(at, key))
            else:
                open_values[key] = value
        spelled = {key.replace("-", "_"): key for key in open_values}
        reads = {key: list(dict.fromkeys(_reads(value))) for key, value in open_values.items()}
        needs = {
            key: [name if name in open_values else spelled[name] for name in read if name in open_values or name in spelled]
            for key, read in reads.items()
        }
        order, stuck = _order(needs)
        for key in stuck:
            declare(names, key, BROKEN)
        for circle in _circles({key: needs[key] for key in stuck}):
            message = f"this variable is made from itself: {' -> '.join([*circle[:8], circle[0]])}; break the circle"
            self.note(child(at, circle[0]), ExpressionError.code, message)
        for key in list(names):
            declare(names, key, names[key])
        for key in order:
            declare(names, key, self.fill(open_values[key], Scope(names, times), child(at, key)))
        return names


def declare(names: dict[str, Any], key: str, value: Any) -> None:
    """Make a variable known under its name, and with '_' for '-' unless that is a variable of its own."""
    names[key] = value
    if "-" in key:
        names.setdefault(key.replace("-", "_"), value)


def _whole(values: list[Any]) -> Any:
    """The list itself, unless something in it is broken or pending; then the whole is."""
    waits: list[str] = []
    for each in values:
        if isinstance(each, Broken):
            return FAILED
        if isinstance(each, Pending):
            waits += each.names
    return Pending(tuple(dict.fromkeys(waits))) if waits else values


def _bare(text: str) -> str:
    if "{{" not in text:
        return text
    parts = split(text.strip())
    if len(parts) == 1 and isinstance(parts[0], Hole):
        return parts[0].source
    raise faulty(text, "put the whole expression into one pair of braces, as in {{ a > b }}")


def _reads(value: Any) -> Iterator[str]:
    """Names that the templates of a value read. What cannot be parsed reads nothing; evaluating it names the fault."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            waiting.extend(each.values())
        elif isinstance(each, list):
            waiting.extend(each)
        elif isinstance(each, str) and "{{" in each:
            try:
                for part in split(each):
                    if isinstance(part, Hole):
                        yield from parse(part.source).names
            except ExpressionError:
                continue


def _order(needs: Mapping[str, list[str]]) -> tuple[list[str], list[str]]:
    """Keys in an order that has what each needs before it, and those stuck in circles or behind them."""
    sorter = TopologicalSorter(needs)
    with suppress(CycleError):  # prepared all the same: the sorter gives out whatever is in no circle
        sorter.prepare()
    order: list[str] = []
    while sorter.is_active():
        ready = sorter.get_ready()
        order += ready
        sorter.done(*ready)
    done = set(order)
    return order, [key for key in needs if key not in done]


def _circles(needs: Mapping[str, list[str]]) -> Iterator[list[str]]:
    """The circles reached by always following the first stuck need; every stuck key leads into one of them."""
    seen: set[str] = set()
    for start in needs:
        path: dict[str, None] = {}
        key = start
        while key not in seen:
            seen.add(key)
            path[key] = None
            key = next(each for each in needs[key] if each in needs)
        if key in path:
            walked = list(path)
            yield walked[walked.index(key) :]
