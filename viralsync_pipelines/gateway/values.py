"""Values of the user's own that are handed on as they come: JSON that every later reader of it can read.

What belongs here: that check, as a type for request bodies. What does not: what the values mean.
"""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import AfterValidator

MOST_LEVELS = 48
"""Deeper than any movie; JSON of a few MB can nest a million levels and end a parser."""


def too_deep(value: Any, most_levels: int = MOST_LEVELS) -> bool:
    level = [value]
    for _ in range(most_levels):
        level = [each for node in level for each in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())]
        if not level:
            return False
    return True


def plain_json(value: dict[str, Any], most_levels: int = MOST_LEVELS) -> bytes:
    """The value as JSON without blanks. Raises ValueError, in words for whoever sent it, for what is nested too deep or is no JSON."""
    if too_deep(value, most_levels):
        raise ValueError(f"this is nested too deep; use fewer than {most_levels} levels")
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        # Python reads NaN and half a surrogate pair, which no JSON has.
        raise ValueError("this is no JSON: it has a number that is none, or half a character; leave that out") from None


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    plain_json(value)
    return value


Values = Annotated[dict[str, Any], AfterValidator(_plain)]
