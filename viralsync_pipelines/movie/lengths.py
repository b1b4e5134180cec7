"""Lengths ("50%" or pixels) and colours (CSS) as they stand in a movie JSON, and their exact numbers.

What belongs here: parsing one value and resolving it. What does not: where values stand (spec.py).
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Annotated, Any

from pydantic import PlainSerializer, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from viralsync_pipelines.movie.art import Rgba

# Far outside any canvas (3,840 at most) yet small enough that products stay exact in a double.
LENGTH_LIMIT = 100_000.0
MAX_PERCENT = 5_000.0

_PERCENT = re.compile(r"^\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*%\s*$")
_PIXELS = re.compile(r"^\s*(-?\d{1,6}(?:\.\d{1,6})?)\s*(?:px)?\s*$")


@dataclass(frozen=True)
class Length:
    """`value` pixels, or `value` per cent of an extent when `percent`."""

    value: float
    percent: bool = False

    def of(self, extent: float) -> float:
        """Pixels, given the extent (canvas width or height) that percentages refer to."""
        return self.value / 100 * extent if self.percent else self.value

    def __str__(self) -> str:
        return f"{self.value:g}%" if self.percent else f"{self.value:g}"


def parse_length(value: Any) -> Length:
    """A Length from a number, "50%" or "120px"; PydanticCustomError in the words of the person who typed it."""
    if isinstance(value, Length):
        return value
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise PydanticCustomError("length", 'this is no length; write pixels such as 120, or a share such as "50%"')
    if isinstance(value, str):
        percent = value.rstrip().endswith("%")
        found = (_PERCENT if percent else _PIXELS).match(value)
        if found is None:
            raise PydanticCustomError("length", 'this is no length; write pixels such as 120, or a share such as "50%"')
        length = Length(float(found[1]), percent)
    elif -LENGTH_LIMIT <= value <= LENGTH_LIMIT:
        length = Length(float(value))
    else:
        length = Length(math.inf)
    if abs(length.value) > (MAX_PERCENT if length.percent else LENGTH_LIMIT):
        raise PydanticCustomError("length_range", "this length is out of range; stay within 100,000 pixels or 5,000 per cent")
    return length


def parse_color(value: Any) -> Rgba:
    """8-bit straight RGBA from a CSS colour: a name, #hex, rgb(), hsl(), hwb()."""
    if isinstance(value, tuple) and len(value) == 4:
        return value
    rgba = _css_color(value) if isinstance(value, str) and len(value) <= 100 else None
    if rgba is None:
        raise PydanticCustomError("color", 'this is no colour; write a CSS colour such as "#ff8800", "rgb(255 136 0 / 50%)" or "gold"')
    return rgba


@lru_cache(maxsize=1024)
def _css_color(text: str) -> Rgba | None:
    import tinycss2.color4

    try:
        parsed = tinycss2.color4.parse_color(text)
        srgb = parsed.to("srgb") if parsed is not None and not isinstance(parsed, str) else None
        if srgb is None:
            return None
        channels = [min(255, max(0, int((c or 0) * 255 + 0.5))) for c in (*srgb.coordinates, srgb.alpha)]
    except (NotImplementedError, ValueError, TypeError, AttributeError, RecursionError, ArithmeticError):
        return None  # what no colour space holds: rgb(1e999 0 0) is infinite, color(xyz ...) has no way to sRGB here
    return channels[0], channels[1], channels[2], channels[3]


@lru_cache(maxsize=8192)
def exact(seconds: float) -> Fraction:
    """The decimal number the user wrote, not its nearest double: 0.1 becomes 1/10."""
    return Fraction(repr(float(seconds)))


LengthField = Annotated[
    Length,
    PlainValidator(parse_length),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^-?\d+(\.\d+)?\s*(%|px)?$"}]}),
]
ColorField = Annotated[
    tuple[int, int, int, int],
    PlainValidator(parse_color),
    PlainSerializer(lambda c: "#" + "".join(f"{v:02x}" for v in c), return_type=str),
    WithJsonSchema({"type": "string", "description": "CSS colour"}),
]
