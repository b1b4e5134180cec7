"""Operators and functions of expressions over JSON values, each bounded in time and size.

What belongs here: what `+`, `in`, `min(...)` do with JSON values, how a value is spelled in text, the meter of work.
What does not: names, measured times and the syntax tree (expressions.py).
"""

from __future__ import annotations

import ast
import json
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

Value = None | bool | int | float | str | list[Any] | dict[str, Any]

MAX_NUMBER = 1e15  # whole floats are exact and print without an exponent up to here
MAX_TEXT = 100_000
MAX_NESTING = 64
MAX_DIGITS = 12
MAX_NUMERAL = 40
MAX_WORK = 200_000  # syntax nodes, values looked at and kilocharacters of one evaluation: well under a second


class Fault(Exception):
    """What is wrong with an operation, as half a sentence; becomes an ExpressionError once the source is known."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class Meter:
    """Counts work; `used` may be read at any time. Raises Fault beyond the limit."""

    __slots__ = ("limit", "used")

    def __init__(self, limit: int = MAX_WORK) -> None:
        self.used = 0
        self.limit = limit

    def charge(self, amount: int) -> None:
        self.used += amount
        if self.used > self.limit:
            raise Fault("this takes too long to compute; use smaller lists or fewer steps")


def kind(value: object) -> str:
    """What users call it."""
    if value is None:
        return "null"
    names = {bool: "true/false", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "a scene or layer")


def plain(value: Any) -> Any:
    """The value itself, refusing scenes and layers where only values will do."""
    if value is None or isinstance(value, bool | int | float | str | list | dict):
        return value
    raise Fault("a scene or layer is no value; write .start, .end or .duration after it")


def weigh(value: Any, meter: Meter, limit: int = MAX_TEXT) -> int:
    """Rough size in JSON of a value in characters. Fault beyond `limit` or MAX_NESTING, before either costs anything."""
    total = 0
    waiting: list[tuple[Any, int]] = [(value, 0)]
    while waiting:
        each, depth = waiting.pop()
        meter.charge(1)
        total += len(each) + 2 if isinstance(each, str | list | dict) else 8
        if total > limit or depth > MAX_NESTING:
            raise Fault("this value is too large or too deeply nested for that; use a part of it")
        if isinstance(each, dict):
            total += sum(map(len, each))
            waiting.extend((inner, depth + 1) for inner in each.values())
        elif isinstance(each, list):
            waiting.extend((inner, depth + 1) for inner in each)
    return total


def spell(value: Value, meter: Meter) -> str:
    """A value as text: strings as they are, true/false, 2 for 2.0, nothing for null, JSON for lists and objects."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        # Twelve digits: 0.1 + 0.2 is 0.3 to everybody who reads it on screen.
        text = str(value) if isinstance(value, int) else format(Decimal(f"{value:.12g}"), "f")
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return "0" if text == "-0" else text
    weigh(value, meter)
    return json.dumps(value, ensure_ascii=False)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not _is_number(value) or not float(value).is_integer():
        raise Fault(f"a whole number is needed here, not {kind(value)}")
    return int(value)


_SIGNS: Mapping[type[ast.AST], tuple[str, Callable[[Any, Any], Any]]] = {
    ast.Add: ("+", operator.add),
    ast.Sub: ("-", operator.sub),
    ast.Mult: ("*", operator.mul),
    ast.Div: ("/", operator.truediv),
    ast.FloorDiv: ("//", operator.floordiv),
    ast.Mod: ("%", operator.mod),
}


def binary(sign: ast.operator, left: Any, right: Any, meter: Meter) -> Any:
    """Arithmetic on numbers; `+` also joins text with any scalar, and lists; `*` also repeats text."""
    name, compute = _SIGNS.get(type(sign), ("this", operator.add))
    if _is_number(left) and _is_number(right):
        if name in "//%" and right == 0:
            raise Fault("this divides by zero")
        return compute(left, right)
    if name == "+":
        scalar = not isinstance(left, list | dict) and not isinstance(right, list | dict)
        if scalar and (isinstance(left, str) or isinstance(right, str)):
            return spell(left, meter) + spell(right, meter)
        if isinstance(left, list) and isinstance(right, list):
            weigh(left, meter)
            weigh(right, meter)
            return left + right
    if name == "*" and isinstance(left, str) and _is_number(right):
        times = max(_whole(right), 0)
        if len(left) * times > MAX_TEXT:
            raise Fault(f"the text grows beyond {MAX_TEXT:,} characters; repeat it less often")
        return left * times
    raise Fault(f"'{name}' does not work between {kind(left)} and {kind(right)}")


def unary(sign: ast.unaryop, value: Any) -> Any:
    if isinstance(sign, ast.Not):
        return not value
    if not _is_number(value) or not isinstance(sign, ast.USub | ast.UAdd):
        raise Fault(f"a sign does not work before {kind(value)}")
    return -value if isinstance(sign, ast.USub) else +value


def compare(sign: ast.cmpop, left: Any, right: Any, meter: Meter) -> bool:
    """Equality of any values, order among numbers or among text, `in` for text, lists and members of objects."""
    if isinstance(sign, ast.Eq | ast.NotEq):
        return _same(left, right, meter) is isinstance(sign, ast.Eq)
    if isinstance(sign, ast.In | ast.NotIn):
        return _within(left, right, meter) is isinstance(sign, ast.In)
    if not (_is_number(left) and _is_number(right)) and not (isinstance(left, str) and isinstance(right, str)):
        raise Fault(f"{kind(left)} and {kind(right)} have no order; compare numbers with numbers and text with text")
    orders = {ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge}
    return bool(orders[type(sign)](left, right))


def _same(left: Any, right: Any, meter: Meter) -> bool:
    if isinstance(left, list | dict) and isinstance(right, list | dict):
        weigh(left, meter)
        weigh(right, meter)
    return bool(left == right)


def _within(left: Any, right: Any, meter: Meter) -> bool:
    if isinstance(right, str | dict):
        if not isinstance(left, str):
            raise Fault(f"only text can be looked for in {kind(right)}, not {kind(left)}")
        # Searching text in text is at worst proportional to both lengths together.
        meter.charge((len(left) + len(right)) >> 8)
        return left in right
    if not isinstance(right, list):
        raise Fault(f"'in' looks into text, lists and objects, not into {kind(right)}")
    if isinstance(left, list | dict):
        weigh(right, meter)
        weigh(left, meter)
    meter.charge(len(right))
    return left in right


def item(holder: Any, key: Any, meter: Meter) -> Any:
    """`holder[key]` with a whole number or a slice for lists and text, a name for objects."""
    if isinstance(holder, dict):
        if isinstance(key, str) and key in holder:
            return holder[key]
        raise Fault(f"this object has no member {str(key)[:64]!r}; get(object, name, default) gives a default")
    if not isinstance(holder, list | str):
        raise Fault(f"{kind(holder)} cannot be indexed")
    if isinstance(key, slice):
        ends = [None if end is None else _whole(end) for end in (key.start, key.stop, key.step)]
        if ends[2] == 0:
            raise Fault("the step of a slice cannot be 0")
        meter.charge(len(holder) >> 4)
        return holder[slice(*ends)]
    at = _whole(key)
    if not -len(holder) <= at < len(holder):
        raise Fault(f"there is no [{at}] here, {kind(holder)} of {len(holder)}; the first is [0]")
    return holder[at]


def _extreme(pick: Callable[[Any], Any]) -> Callable[[Sequence[Any], Meter], Any]:
    def extreme(given: Sequence[Any], meter: Meter) -> Any:
        several = given[0] if len(given) == 1 and isinstance(given[0], list) else given
        meter.charge(len(several))
        if not several:
            raise Fault("the smallest or largest of nothing does not exist")
        if not all(_is_number(each) for each in several) and not all(isinstance(each, str) for each in several):
            raise Fault("min and max take numbers, or a list of numbers")
        return pick(several)

    return extreme


def _number(value: Any) -> int | float:
    if not _is_number(value):
        raise Fault(f"a number is needed here, not {kind(value)}")
    return value  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise Fault(f"text is needed here, not {kind(value)}; str(...) makes it text")
    return value


def _round(given: Sequence[Any], meter: Meter) -> int | float:
    """Half away from zero, as people round; Python's round(2.5) would be 2."""
    number, digits = _number(given[0]), _whole(given[1]) if len(given) > 1 else 0
    if not 0 <= digits <= MAX_DIGITS:
        raise Fault(f"round takes 0 to {MAX_DIGITS} digits")
    rounded = Decimal(repr(float(number))).quantize(Decimal(1).scaleb(-digits), ROUND_HALF_UP)
    return float(rounded) if digits else int(rounded)


def _len(given: Sequence[Any], meter: Meter) -> int:
    if not isinstance(given[0], str | list | dict):
        raise Fault(f"{kind(given[0])} has no length")
    return len(given[0])


def _parsed(value: Any) -> float:
    if isinstance(value, str):
        try:
            return float(value) if len(value) <= MAX_NUMERAL else math.nan
        except ValueError:
            raise Fault(f"{value[:MAX_NUMERAL]!r} is no number") from None
    return _number(value)


def _int(given: Sequence[Any], meter: Meter) -> int:
    number = _parsed(given[0])
    if not math.isfinite(number):
        raise Fault("this is no finite number")
    return int(number)


def _str(given: Sequence[Any], meter: Meter) -> str:
    return spell(given[0], meter)


def _get(given: Sequence[Any], meter: Meter) -> Any:
    holder, key, default = (*given, None)[:3]
    if isinstance(holder, dict) and isinstance(key, str):
        return holder.get(key, default)
    if isinstance(holder, list | str):
        at = _whole(key)
        return holder[at] if -len(holder) <= at < len(holder) else default
    raise Fault("get takes an object and a name, or a list and a position")


FUNCTIONS: Mapping[str, tuple[int, int, Callable[[Sequence[Any], Meter], Any]]] = {
    "min": (1, 100, _extreme(min)),
    "max": (1, 100, _extreme(max)),
    "round": (1, 2, _round),
    "abs": (1, 1, lambda given, meter: abs(_number(given[0]))),
    "floor": (1, 1, lambda given, meter: math.floor(_number(given[0]))),
    "ceil": (1, 1, lambda given, meter: math.ceil(_number(given[0]))),
    "len": (1, 1, _len),
    "upper": (1, 1, lambda given, meter: _text(given[0]).upper()),
    "lower": (1, 1, lambda given, meter: _text(given[0]).lower()),
    "str": (1, 1, _str),
    "int": (1, 1, _int),
    "float": (1, 1, lambda given, meter: float(_parsed(given[0]))),
    "get": (2, 3, _get),
}


def apply(name: str, given: Sequence[Any], meter: Meter) -> Any:
    """Call a listed function. Fault when it does not fit."""
    least, most, function = FUNCTIONS[name]
    if not least <= len(given) <= most:
        takes = str(least) if least == most else f"{least} to {most}"
        raise Fault(f"{name} takes {takes} values, not {len(given)}")
    return function(given, meter)
