"""Movies by id: registering a document so that Materialize and backfills need no configuration, and finding it again.

What belongs here: documents in the store. What does not: Dagster's partitions (the callers add those).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, ObjectMissing, Problem, StoreError
from viralsync_pipelines.movie.document import child
from viralsync_pipelines.storage.keys import movie_key, movie_version_key
from viralsync_pipelines.storage.store import Store

# A movie JSON beyond this is no movie: the largest real ones stay under 1 MB.
MAX_DOCUMENT_BYTES = 8_000_000


def parse_document(data: bytes) -> dict[str, Any]:
    """A movie JSON from its bytes. MovieInvalid DOCUMENT_INVALID (with line and column), DOCUMENT_TOO_LARGE, FIELD_DOUBLED."""
    if len(data) > MAX_DOCUMENT_BYTES:
        told = f"the document has {'more than ' if len(data) == MAX_DOCUMENT_BYTES + 1 else ''}{len(data):,} bytes"
        raise _refused("DOCUMENT_TOO_LARGE", f"{told}; at most {MAX_DOCUMENT_BYTES:,} are taken, so split the movie")
    doubled: list[tuple[dict[str, Any], str]] = []

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            doubled.append((found, next(name for name in names if names.count(name) > 1)))
        return found

    try:
        document = json.loads(data, object_pairs_hook=members)
    except json.JSONDecodeError as error:
        told = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise _refused("DOCUMENT_INVALID", f"this is no JSON ({told[:200]}); fix it there") from None
    except UnicodeDecodeError:
        raise _refused("DOCUMENT_INVALID", "this is no text in UTF-8; save it as UTF-8 JSON") from None
    except RecursionError:
        raise _refused("DOCUMENT_TOO_DEEP", "the document is nested too deep; a movie needs fewer than 48 levels") from None
    except ValueError:  # Python's own limit on the digits of a number
        raise _refused("NUMBER_INVALID", "a number in here has thousands of digits; write one a computer can hold") from None
    if not isinstance(document, dict):
        raise _refused("DOCUMENT_INVALID", "a movie is a JSON object; wrap it in { }")
    if doubled:
        raise MovieInvalid([_doubled(document, *each) for each in doubled[:100]])
    return document


def _refused(code: str, message: str) -> MovieInvalid:
    return MovieInvalid([Problem("", code, message)])


def _doubled(document: dict[str, Any], holder: dict[str, Any], name: str) -> Problem:
    """Two fields of one name: most readers take the last without a word, and the author meant the first."""
    waiting: list[tuple[Any, str]] = [(document, "")]
    pointer = ""
    while waiting:
        node, at = waiting.pop()
        if node is holder:
            pointer = child(at, name)
            break
        if isinstance(node, dict | list):
            pairs = node.items() if isinstance(node, dict) else enumerate(node)
            waiting += [(each, child(at, key)) for key, each in pairs if isinstance(each, dict | list)]
    return Problem(pointer, "FIELD_DOUBLED", f"the field {name[:64]!r} is given twice here; remove one of them")


def keep_version(store: Store, movie_id: str, document: Mapping[str, Any]) -> str:
    """Store one version of a document by content and return its key, for a run that must use exactly it."""
    data = json.dumps(document, sort_keys=True).encode()
    key = movie_version_key(movie_id, hashlib.sha256(data).hexdigest())
    if store.stat(key) is None:
        store.put_bytes(key, data)
    return key


def register(store: Store, movie_id: str, document: Mapping[str, Any], folder: str) -> None:
    """Make a document the current one of its id. `folder`: where its relative paths start, "" when it has none."""
    store.put_bytes(movie_key(movie_id), json.dumps({"document": document, "folder": folder}).encode())


def find_registered(store: Store, movie_id: str) -> tuple[dict[str, Any], str]:
    """The registered document of an id, and the folder its relative paths start from ("" for none).

    Raises StoreError MOVIE_NOT_FOUND that says how to register one.
    """
    try:
        kept = json.loads(store.get_bytes(movie_key(movie_id)))
    except ObjectMissing as error:
        raise StoreError(
            f"no movie is registered under {movie_id!r}; run `viralsync movies add movie.json`, or render it once", code="MOVIE_NOT_FOUND"
        ) from error
    return kept["document"], str(kept.get("folder", ""))


def find_version(store: Store, key: str) -> dict[str, Any]:
    """The document that keep_version stored. Raises StoreError MOVIE_NOT_FOUND, MovieInvalid."""
    try:
        return parse_document(store.get_bytes(key))
    except ObjectMissing as error:
        raise StoreError(f"there is no movie JSON under {key!r} in the store; give the key of one", code="MOVIE_NOT_FOUND") from error
