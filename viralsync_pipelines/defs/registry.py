"""Movies by id: registering a document so that Materialize and backfills need no configuration, and finding it again.

What belongs here: documents in the store. What does not: Dagster's partitions (the callers add those).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, ObjectMissing, Problem, StoreError
from viralsync_pipelines.storage.keys import movie_key, movie_version_key
from viralsync_pipelines.storage.store import Store

# A movie JSON beyond this is no movie: the largest real ones stay under 1 MB.
MAX_DOCUMENT_BYTES = 8_000_000


def parse_document(data: bytes) -> dict[str, Any]:
    """A movie JSON from its bytes. MovieInvalid DOCUMENT_INVALID or DOCUMENT_TOO_LARGE, with line and column."""
    if len(data) > MAX_DOCUMENT_BYTES:
        told = f"the document has {len(data):,} bytes; the limit is {MAX_DOCUMENT_BYTES:,}"
        raise MovieInvalid([Problem("", "DOCUMENT_TOO_LARGE", told)])
    try:
        document = json.loads(data)
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        where = f"line {error.lineno}, column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise MovieInvalid([Problem("", "DOCUMENT_INVALID", f"this is no JSON ({where[:200]}); fix it there")]) from None
    if not isinstance(document, dict):
        raise MovieInvalid([Problem("", "DOCUMENT_INVALID", "a movie is a JSON object; wrap it in { }")])
    return document


def keep_version(store: Store, movie_id: str, document: Mapping[str, Any]) -> str:
    """Store one version of a document by content and return its key, for a run that must use exactly it."""
    data = json.dumps(document, ensure_ascii=False, sort_keys=True).encode()
    key = movie_version_key(movie_id, hashlib.sha256(data).hexdigest())
    if store.stat(key) is None:
        store.put_bytes(key, data)
    return key


def register(store: Store, movie_id: str, document: Mapping[str, Any], folder: str) -> None:
    """Make a document the current one of its id. `folder`: where its relative paths start, "" when it has none."""
    store.put_bytes(movie_key(movie_id), json.dumps({"document": document, "folder": folder}, ensure_ascii=False).encode())


def find_document(store: Store, movie_id: str, version: str) -> dict[str, Any]:
    """The registered document of an id, or the version under a store key. StoreError MOVIE_NOT_FOUND says how to register one."""
    try:
        if version:
            return parse_document(store.get_bytes(version))
        document: dict[str, Any] = json.loads(store.get_bytes(movie_key(movie_id)))["document"]
    except ObjectMissing as error:
        raise StoreError(
            f"no movie is registered under {movie_id!r}; run `viralsync movies add movie.json`, or render it once", code="MOVIE_NOT_FOUND"
        ) from error
    return document


def folder_of(store: Store, movie_id: str) -> str:
    """The folder that a registered movie's relative paths start from; "" without one."""
    try:
        return str(json.loads(store.get_bytes(movie_key(movie_id))).get("folder", ""))
    except ObjectMissing:
        return ""
