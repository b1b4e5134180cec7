"""Reading JSON that a provider sent, whatever it looks like: what is not there, or is of another kind, reads as nothing. Pure.

What belongs here: getting at values. What does not: what any field means (providers/), what is sent (inputs.py), media (walk.py).
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.generate.wording import clean

_ID = re.compile(r"[!-~]{1,200}")
_PLAIN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,199}")


def json_of(content: bytes) -> Any:
    """The JSON value; None for what is none."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def at(body: Any, *names: str) -> Any:
    """The value under these names, one inside the other; None where there is none."""
    for name in names:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """A finite number; None for everything else, true and false too."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def share(value: Any) -> float | None:
    """A number between 0 and 1, brought there if need be."""
    found = number(value)
    return None if found is None else min(1.0, max(0.0, found))


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The objects of a list."""
    return [each for each in value if isinstance(each, Mapping)] if isinstance(value, list) else []


def texts(value: Any) -> list[str]:
    """The strings of a list that say something."""
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


def word(value: Any) -> str:
    """A status as it is kept: 64 characters at most."""
    return clean(text(value))[:64]


def job_id(value: Any) -> str:
    """An id as it can be kept and asked for; "" for what is none."""
    found = text(value)
    return found if _ID.fullmatch(found) else ""


def plain_id(value: Any) -> str:
    """As `job_id`, where the provider's ids have nothing but letters, digits and `_.:-` in them."""
    found = text(value)
    return found if _PLAIN_ID.fullmatch(found) else ""


def unbase64(value: Any) -> bytes:
    """The bytes, b"" for what is none."""
    try:
        return base64.b64decode(text(value), validate=True)
    except (binascii.Error, ValueError):
        return b""
