"""Which of the jobs in a listing is the one that was ordered, when the answer to the submit was lost.

What belongs here: how an order is worded for Replicate, and telling it from others. Pure. What does not: getting the listing
(replicate.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any
from urllib.parse import quote

from viralsync_pipelines.generate.inputs import input_of
from viralsync_pipelines.generate.provider import Order

_VERSION = re.compile(r"[0-9a-f]{64}")


class Likeness(IntEnum):
    """Of a job that is listed to the one that was ordered. ALIKE: it may be it, for all that can be told."""

    OTHER = 0
    ALIKE = 1
    EQUAL = 2
    OURS = 3


def asked_for(order: Order) -> tuple[str, dict[str, Any]]:
    """Path and payload. Official models are asked for by name; others by version, as their `options` or endpoint say."""
    endpoint = order.model.endpoint
    version = order.model.options.get("version") or (endpoint if ":" in endpoint or _VERSION.fullmatch(endpoint) else None)
    if version is not None:
        return "/predictions", {"version": version, "input": input_of(order)}
    return f"/models/{quote(endpoint)}/predictions", {"input": input_of(order)}


def likeness_of(listed: Mapping[str, Any], order: Order) -> Likeness:
    """Of a listed job to the order: by the webhook's address where it is echoed, else by model and input."""
    webhook = listed.get("webhook")
    if isinstance(webhook, str) and webhook and order.webhook_url is not None:
        return Likeness.OURS if webhook == order.webhook_url else Likeness.OTHER
    _, payload = asked_for(order)
    wanted = str(payload.get("version", order.model.endpoint))
    names = {wanted, wanted.partition(":")[0], wanted.rpartition(":")[2]}
    told = {each for name in ("model", "version") if isinstance(each := listed.get(name), str)}
    if told - {"hidden"} and not told & names:
        return Likeness.OTHER
    theirs, ours = listed.get("input"), payload["input"]
    if not isinstance(theirs, Mapping) or (not theirs and listed.get("data_removed") is True):
        return Likeness.ALIKE
    least = min((_value_likeness(each, theirs.get(name)) for name, each in ours.items()), default=Likeness.EQUAL)
    # It may have put defaults beside what it was sent.
    return min(least, Likeness.ALIKE) if theirs.keys() - ours.keys() else least


def _value_likeness(ours: Any, theirs: Any) -> Likeness:
    """Addresses that we sign are signed anew each time, and files that we send may be kept under an address of theirs."""
    if ours == theirs:
        return Likeness.EQUAL
    if isinstance(ours, str) and isinstance(theirs, str) and ours.startswith(("https://", "http://", "data:")):
        one, query, _ = ours.partition("?")
        other, signed, _ = theirs.partition("?")
        return Likeness.EQUAL if one == other and query and signed and ours[:5] != "data:" else Likeness.ALIKE
    if isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        return min((_value_likeness(one, other) for one, other in zip(ours, theirs, strict=True)), default=Likeness.EQUAL)
    return Likeness.OTHER


def made_ms(listed: Mapping[str, Any]) -> float:
    """When it was made, in Unix milliseconds; what does not say is taken for new."""
    try:
        made = datetime.fromisoformat(str(listed.get("created_at")))
        return (made if made.tzinfo is not None else made.replace(tzinfo=UTC)).timestamp() * 1000
    except (ValueError, OverflowError):
        return float("inf")
