"""Stand-ins for what waits for measured times, so that the rest of a document can be validated and measured meanwhile.

What belongs here: what may stand in for a field. What does not: which fields wait (templates.py), filling them in.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

# Required fields of layers that a string may fill. Nothing reads, fetches or speaks a stand-in: callers know what is pending.
_TEXTS = frozenset({"text", "ssml", "src"})
STAND_IN = "..."


def with_stand_ins(document: dict[str, Any], pending: Collection[str]) -> dict[str, Any]:
    """A copy in which layers that wait can be valid: a required text is filled, a field of which a part is missing is left out."""
    copied: dict[tuple[str, ...], Any] = {}
    for pointer in pending:
        path = tuple(pointer.split("/")[1:])
        length = 4 if path[:1] == ("scenes",) else 2
        if len(path) > length and path[length - 2] == "layers" and _is_layer(document, path[:length]):
            document = _edited(document, path[:length], path[length], len(path) == length + 1, copied)
    return document


def _is_layer(document: Any, path: tuple[str, ...]) -> bool:
    """Whether an object of a list lies there: `layers` may be anything in a document that was not validated yet."""
    node = document
    for part in path:
        if isinstance(node, list):
            node = node[int(part)] if part.isdecimal() and int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict) else None
    return isinstance(node, dict) and path[-1].isdecimal()


def _edited(document: Any, path: tuple[str, ...], name: str, whole: bool, copied: dict[tuple[str, ...], Any]) -> Any:
    """Copies containers on the way down once for all pointers, then changes one field of the layer at the end."""
    node = document if () in copied else dict(document)
    copied[()] = document = node
    for depth in range(len(path)):
        key: Any = int(path[depth]) if isinstance(node, list) else path[depth]
        here = path[: depth + 1]
        if here not in copied:
            copied[here] = node[key].copy()
            node[key] = copied[here]
        node = copied[here]
    if whole and name in _TEXTS:
        node[name] = STAND_IN
    elif not whole:
        node.pop(name, None)
    return document
