"""What providers made, on its way into the store: bytes that came in an answer, downloads, checks, and the place by content.

What belongs here: fetching, judging and storing one output. What does not: which job it belongs to (collect.py), how a file is measured
(handed in: it takes decoders).
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from viralsync_pipelines.generate.provider import Blame, Fault, Output
from viralsync_pipelines.generate.settle import Outcome, without_bytes
from viralsync_pipelines.http import Permanent, Transient, retrying, shown, stream
from viralsync_pipelines.storage.keys import media_key

if TYPE_CHECKING:
    import httpx

    from viralsync_pipelines.storage.store import Store

KEPT = "kept:"
"""Before the store key of an output whose bytes came in the answer itself."""
MAX_BYTES = 4_000_000_000


@dataclass(frozen=True)
class Facts:
    """What a file is found to be. ext: without a dot."""

    media: str
    mime: str
    ext: str
    width: int | None = None
    height: int | None = None
    duration_s: float | None = None


Measure = Callable[[Path, str], Facts]
"""A file and the media it should be to what it is. Raises BadOutput for one that is empty, of another kind, or does not decode."""


class BadOutput(Exception):
    """It is not what was ordered."""

    def __init__(self, message: str, code: str = "OUTPUT_INVALID") -> None:
        super().__init__(message)
        self.fault = Fault(Blame.PASSING, code, message)


class LinkExpired(Exception):
    """The address no longer gives it (403, 404, 410): the provider may have a fresh one."""


@dataclass(frozen=True)
class Stored:
    """One output in the store, by its content. name: what it is called to the outside."""

    key: str
    sha256: str
    size: int
    facts: Facts
    name: str


def keep_bytes(store: Store, record_id: str, submit: int, outcome: Outcome) -> Outcome:
    """The outcome with its outputs' bytes put aside in the store: rows hold addresses only."""
    places: dict[int, str] = {}
    for number, output in enumerate(outcome.outputs):
        if output.data:
            key = f"generated/{record_id}/{submit}-{number}"
            store.put_bytes(key, output.data)
            places[number] = KEPT + key
    return without_bytes(outcome, places) if places else outcome


def bring(
    output: Output, number: int, store: Store, client: httpx.Client, work: Path, measure: Measure, headers: Mapping[str, str]
) -> Stored:  # fmt: skip
    """One output, checked, under a key of its content. headers: for addresses that ask for the provider's key.

    Raises BadOutput, LinkExpired, Transient and Permanent (http.py), StoreError.
    """
    with tempfile.TemporaryDirectory(dir=work, prefix="generated-") as folder:
        file = Path(folder) / "output"
        if output.url.startswith(KEPT):
            store.fetch(output.url.removeprefix(KEPT), file)
        else:
            retrying(lambda: _download(client, output.url, file, headers if output.authorised else {}), tries=3)
        size = file.stat().st_size
        if size == 0:
            raise BadOutput(f"output {number + 1} is empty", "OUTPUT_EMPTY")
        facts = measure(file, output.media)
        digest = _sha256(file)
        key = media_key(digest, facts.ext)
        kept = store.stat(key)
        if kept is None or kept.size != size:
            store.put_file(key, file, content_type=facts.mime, take=True)
    name = f"output.{facts.ext}" if number == 0 else f"output-{number + 1}.{facts.ext}"
    return Stored(key, digest, size, facts, name)


def _download(client: httpx.Client, url: str, file: Path, headers: Mapping[str, str]) -> None:
    from viralsync_pipelines.deadline import deadline

    try:
        with deadline(900.0), stream(client, url, secret=headers, plain_http=True) as answer, file.open("wb") as out:
            size = 0
            for part in answer.iter_bytes():
                size += len(part)
                if size > MAX_BYTES:
                    raise BadOutput(f"{shown(url)} gives more than {MAX_BYTES:,} bytes", "OUTPUT_TOO_LARGE")
                out.write(part)
            told = answer.headers.get("content-length")
            if told is not None and told.isdigit() and int(told) != size and "content-encoding" not in answer.headers:
                raise Transient(f"{shown(url)} broke off after {size:,} of {told} bytes; try again")
    except Permanent as error:
        if error.status in {403, 404, 410}:
            raise LinkExpired(str(error)) from error
        raise


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
