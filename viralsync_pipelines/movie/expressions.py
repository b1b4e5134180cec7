r"""What an expression means: evaluating one over variables and measured times, and filling the `{{ }}` of a string.

What belongs here: the sandboxed evaluator (simpleeval with everything but a short list taken out) and its bounds.
What does not: the grammar (grammar.py), the listed functions and operators (arithmetic.py), documents (templates.py).

Names are variables first; `title.end` still means the layer `title` when the variable `title` has no such member.
`intro.start|end|duration` are measured times, `intro.voice.end` is a layer of another scene, `-` in an id is written `_`
(`my_layer.end`), and `layer("1st").end`, `scene("2-nd").duration` reach any id. `\{{` or `{{ '{{' }}` give literal braces.
"""

from __future__ import annotations

import ast
import difflib
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from simpleeval import InvalidExpression, SimpleEval  # type: ignore[import-untyped]

from viralsync_pipelines.movie import arithmetic
from viralsync_pipelines.movie.arithmetic import MAX_NUMBER, MAX_TEXT, Fault, Meter, Value
from viralsync_pipelines.movie.grammar import NOT_AVAILABLE, SHIELD, ExpressionError, Hole, faulty, parse, split
from viralsync_pipelines.movie.measured import PARTS, Times

__all__ = ["BROKEN", "Broken", "ExpressionError", "Pending", "UsesBroken", "evaluate", "render"]

# An unknown name is compared with at most this many alike ones, out of so many known: difflib needs about 20 us for each.
MAX_COMPARED = 100
MAX_KNOWN = 2_000
SUGGESTION_WORK = 1_000


@dataclass(frozen=True)
class Pending:
    """The outcome of an expression that waits for measured times; `names` are their keys (see measured.py)."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Broken:
    """Stands for a variable whose own value could not be computed; that problem is reported where the variable is."""


BROKEN = Broken()


class UsesBroken(ExpressionError):
    """The expression uses a variable that is broken: not a second problem."""


@dataclass(frozen=True)
class _Measured:
    """A scene or layer named in an expression; only its start, end and duration are values."""

    key: str
    scene: str | None

    def __bool__(self) -> bool:
        raise Fault(f"{self.key!r} is a scene or layer; write .start, .end or .duration after it")


class _WaitsError(Exception):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names


_MISSING: Any = object()
_NO_TIMES = Times()

# What is left when the listed operations meet values nobody thought of.
_MISUSES: tuple[type[Exception], ...] = (
    *(InvalidExpression, TypeError, ValueError, ArithmeticError, LookupError, AttributeError),
    *(RecursionError, MemoryError),
)


def evaluate(source: str, names: Mapping[str, Any], times: Times = _NO_TIMES, meter: Meter | None = None) -> Value | Pending:
    """The value of one expression, without its braces.

    names: JSON values by the names expressions use ('_' for '-'); what uses a Pending or BROKEN one becomes so itself.
    times: ids and measured times seen from the expression's place. meter: counts the work, to be read by the caller.
    Gives Pending when a declared id is not measured yet. Raises ExpressionError (EXPRESSION_ERROR), and nothing else.
    """
    parsed = parse(source)
    run = _evaluator()
    run.variables, run.times, run.meter = names, times, meter or Meter()
    try:
        for name in parsed.names:
            # Also in branches that are not taken: a misspelt name is found today, not when the condition changes.
            run.must_know(name)
        value = run.compute(parsed.tree)
    except _WaitsError as waits:
        return Pending(waits.names)
    except Fault as fault:
        raise faulty(source, fault.sentence) from None
    except UsesBroken:
        raise UsesBroken(faulty(source, "this uses a variable that could not be computed").message) from None
    except _MISUSES:
        raise faulty(source, "this cannot be computed with these values; check their kinds") from None
    finally:
        run.variables, run.times, run.meter = {}, _NO_TIMES, Meter()
    if isinstance(value, _Measured):
        raise faulty(source, f"{value.key!r} is a scene or layer; write .start, .end or .duration after it")
    return value  # type: ignore[no-any-return]


def render(text: str, names: Mapping[str, Any], times: Times = _NO_TIMES, meter: Meter | None = None) -> Value | Pending:
    """A string with its `{{ }}` filled. One that is exactly one expression keeps the value's type; otherwise text.

    In text, values are spelled as in JSON, without quotes around strings, `.0` after whole numbers, or anything for null.
    Raises ExpressionError.
    """
    if "{{" not in text:
        return text
    parts = split(text)
    if len(parts) == 1 and isinstance(parts[0], Hole) and text.startswith("{{") and text.endswith("}}"):
        return evaluate(parts[0].source, names, times, meter)
    meter = meter or Meter()
    filled: list[str] = []
    waits: list[str] = []
    size = 0
    for part in parts:
        piece = part if isinstance(part, str) else evaluate(part.source, names, times, meter)
        if isinstance(piece, Pending):
            waits += piece.names
            continue
        try:
            filled.append(piece if isinstance(piece, str) else arithmetic.spell(piece, meter))
        except Fault as fault:
            raise faulty(text, fault.sentence) from None
        size += len(filled[-1])
        if size > MAX_TEXT and isinstance(part, Hole):
            raise faulty(part.source, f"the text grows beyond {MAX_TEXT:,} characters here; shorten what is put in")
    return Pending(tuple(dict.fromkeys(waits))) if waits else "".join(filled)


class _Evaluator(SimpleEval):  # type: ignore[misc]
    """simpleeval with the kinds of nodes, operators and functions of this language only, and every result bounded."""

    variables: Mapping[str, Any]
    times: Times
    meter: Meter

    def __init__(self) -> None:
        super().__init__(operators={}, functions={}, names={}, allowed_attrs={})
        self.nodes = {
            ast.Name: self.name,
            ast.Constant: self.constant,
            ast.List: self.listed,
            ast.Attribute: self.member,
            ast.Subscript: self.item,
            ast.Slice: self._eval_slice,
            ast.Call: self.call,
            ast.BinOp: self.binary,
            ast.UnaryOp: self.unary,
            ast.BoolOp: self._eval_boolop,
            ast.Compare: self.compare,
            ast.IfExp: self._eval_ifexp,
        }

    def compute(self, node: ast.AST) -> Any:
        return self._eval(node)

    def _eval(self, node: ast.AST) -> Any:
        self.meter.charge(1)
        handler = self.nodes.get(type(node))
        if handler is None:
            raise Fault(NOT_AVAILABLE)
        return self.bounded(handler(node))

    def bounded(self, value: Any) -> Any:
        kind = type(value)
        if kind is str:
            if len(value) > MAX_TEXT:
                raise Fault(f"the text grows beyond {MAX_TEXT:,} characters; shorten what is put in")
            self.meter.charge(len(value) >> 10)
        elif kind is int or kind is float:
            if not -MAX_NUMBER <= value <= MAX_NUMBER:  # also true for NaN
                raise Fault(f"numbers may not go beyond {MAX_NUMBER:.0e}; check the arithmetic")
        elif kind is Pending:
            raise _WaitsError(value.names)
        elif kind is Broken:
            raise UsesBroken("broken")
        elif value is not None and kind not in (bool, list, dict, slice, _Measured):
            raise Fault("a value of this kind cannot be used")
        return value

    # Names and what is inside them.

    def variable(self, name: str) -> Any:
        return self.variables.get(name, _MISSING)

    def must_know(self, name: str) -> None:
        if self.variable(name) is not _MISSING or self.times.find(name):
            return
        self.meter.used += SUGGESTION_WORK
        known = [*islice(self.variables, MAX_KNOWN), *islice(self.times.names(), MAX_KNOWN)]
        dashed = "" if not any(each.startswith(f"{name}-") for each in known) else "; write '-' in a name as '_'"
        raise Fault(f"no variable, scene or layer is called {name!r}{_near(name, known)}{dashed}")

    def name(self, node: ast.Name) -> Any:
        name = node.id.removeprefix(SHIELD)
        value = self.variable(name)
        return self.target(name, self.times.find(name)) if value is _MISSING else value

    def target(self, name: str, keys: tuple[str, ...]) -> _Measured:
        if not keys:
            raise Fault(f"no scene or layer is called {name!r} here{_near(name, self.times.names())}")
        if len(keys) > 1:
            fuller = keys[0].replace("/", ".")
            raise Fault(f"several scenes have a layer {name!r}; write the scene before it, as in {fuller}.end")
        if keys[0] in self.times.dropped:
            raise Fault(f"{name!r} is left out by its condition, so it has no times")
        return _Measured(keys[0], None if "/" in keys[0] else keys[0])

    def member(self, node: ast.Attribute) -> Any:
        part = node.attr.removeprefix(SHIELD)
        holder: Any = _MISSING
        if part in PARTS and isinstance(node.value, ast.Name):
            # `title` is a good name for a variable and for the layer that shows it.
            name = node.value.id.removeprefix(SHIELD)
            value = self.variable(name)
            if value is not _MISSING and not (isinstance(value, dict) and part in value) and (keys := self.times.find(name)):
                holder = self.target(name, keys)
        if holder is _MISSING:
            holder = self._eval(node.value)
        if isinstance(holder, _Measured):
            return self.time(holder, part)
        if not isinstance(holder, dict):
            remedy = "; write len(...)" if part == "length" else ""
            raise Fault(f"{arithmetic.kind(holder)} has no member {part!r}{remedy}")
        if part in holder:
            return holder[part]
        self.meter.charge(len(holder))
        for key in holder:
            if isinstance(key, str) and key.replace("-", "_") == part:
                return holder[key]
        raise Fault(f'this object has no member {part!r}{_near(part, holder)}; get(object, "{part}", "") gives a default')

    def time(self, of: _Measured, part: str) -> Any:
        if part not in PARTS:
            if of.scene is not None and (keys := self.times.find_layer(part, of.scene)):
                return self.target(part, keys)
            raise Fault(f"{of.key!r} is a scene or layer; it has .start, .end and .duration, and no {part!r}")
        timing = self.times.measured.get(of.key)
        seconds = getattr(timing, part) if timing is not None else None
        if seconds is None:
            raise _WaitsError((of.key,))
        return float(seconds)

    def item(self, node: ast.Subscript) -> Any:
        holder, key = self._eval(node.value), self._eval(node.slice)
        return arithmetic.item(holder, key, self.meter)

    # Values made here.

    def constant(self, node: ast.Constant) -> Any:
        return node.value

    def listed(self, node: ast.List) -> Any:
        made = [arithmetic.plain(self._eval(each)) for each in node.elts]
        arithmetic.weigh(made, self.meter)
        return made

    def call(self, node: ast.Call) -> Any:
        name = node.func.id.removeprefix(SHIELD) if isinstance(node.func, ast.Name) else ""
        if name not in ("layer", "scene") and name not in arithmetic.FUNCTIONS:
            raise Fault(f"there is no function {name!r}; there are {', '.join([*arithmetic.FUNCTIONS, 'layer', 'scene'])}")
        given = [arithmetic.plain(self._eval(each)) for each in node.args]
        if name not in ("layer", "scene"):
            return arithmetic.apply(name, given, self.meter)
        if len(given) != 1 or not isinstance(given[0], str):
            raise Fault(f'{name}() takes one id, as in {name}("intro").end')
        return self.target(given[0], self.times.find_layer(given[0]) if name == "layer" else self.times.find_scene(given[0]))

    def binary(self, node: ast.BinOp) -> Any:
        left, right = arithmetic.plain(self._eval(node.left)), arithmetic.plain(self._eval(node.right))
        return arithmetic.binary(node.op, left, right, self.meter)

    def unary(self, node: ast.UnaryOp) -> Any:
        return arithmetic.unary(node.op, self._eval(node.operand))

    def compare(self, node: ast.Compare) -> Any:
        left = arithmetic.plain(self._eval(node.left))
        for sign, each in zip(node.ops, node.comparators, strict=True):
            right = arithmetic.plain(self._eval(each))
            if not arithmetic.compare(sign, left, right, self.meter):
                return False
            left = right
        return True


_OWN = threading.local()


def _evaluator() -> _Evaluator:
    """One for each thread: making a SimpleEval costs as much as five evaluations, and swaps the process's warning filters."""
    if not hasattr(_OWN, "run"):
        _OWN.run = _Evaluator()
    run: _Evaluator = _OWN.run
    return run


def _near(name: str, known: Iterable[str]) -> str:
    first, size = name[:1].lower(), len(name)
    alike = (each for each in islice(known, 2 * MAX_KNOWN) if each[:1].lower() == first or abs(len(each) - size) <= 1)
    near = difflib.get_close_matches(name[:64], islice(alike, MAX_COMPARED), n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
