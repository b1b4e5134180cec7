"""What a sensor works with, kept from tick to tick: a board knows every run, and reads only those that changed since it last looked.

What belongs here: keeping it, by Dagster's instance. What does not: what is kept (callbacks.py, kit.py).
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import TypeVar

import dagster as dg

_Kept = TypeVar("_Kept")


def kept(context: dg.SensorEvaluationContext, known: MutableMapping[str, _Kept], make: Callable[[dg.DagsterInstance], _Kept]) -> _Kept:
    """The one in `known` for the instance of this tick, made when there is none yet. An instance without a reference, as tests have, gets
    a new one each time."""
    ref = context.instance_ref
    if ref is None:
        return make(context.instance)
    name = repr(ref.to_dict())
    if name not in known:
        # Its own instance: the context closes the one it lends.
        known[name] = make(dg.DagsterInstance.from_ref(ref))
    return known[name]
