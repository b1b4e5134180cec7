"""What an input's address holds: fetched through the guard, read out of a data URL, or taken from the sandbox's own files.

What belongs here: getting bytes into a file. What does not: what they are (making.py finds out by decoding).
"""

from __future__ import annotations

import base64
import binascii
import re
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.http import HttpError, shown, stream
from viralsync_pipelines.sandbox.ledger import Ledger

if TYPE_CHECKING:
    import httpx

MAX_BYTES = 50_000_000
FETCH_S = 30.0


class ModelFailed(Exception):
    """The model cannot do it; the words are the prediction's `error`."""


@dataclass(frozen=True)
class Sources:
    """client: guarded. own: the file behind one of the sandbox's own addresses, None for others."""

    client: httpx.Client
    own: Callable[[str], Path | None]

    def fetch(self, address: str, to: Path) -> Path:
        """The file of an address: `to`, or one of our own. Raises ModelFailed."""
        if address.startswith("data:"):
            to.write_bytes(_in_data_url(address))
            return to
        mine = self.own(address)
        if mine is not None:
            return mine
        try:
            with deadline(FETCH_S), stream(self.client, address, plain_http=True) as answer, to.open("wb") as file:
                size = 0
                for part in answer.iter_bytes():
                    size += len(part)
                    if size > MAX_BYTES:
                        raise ModelFailed(f"Failed to download {shown(address)}: more than {MAX_BYTES:,} bytes")
                    file.write(part)
        except HttpError as error:
            raise ModelFailed(f"Failed to download {shown(address)}: {error.message}") from error
        return to


def _in_data_url(address: str) -> bytes:
    head, comma, data = address.partition(",")
    try:
        if not comma:
            raise ValueError("it has no comma")
        return base64.b64decode(data, validate=True) if head.endswith(";base64") else urllib.parse.unquote_to_bytes(data)
    except (ValueError, binascii.Error) as error:
        raise ModelFailed(f"Failed to read the data URL: {error}") from error


def own_file(ledger: Ledger, files: Path) -> Callable[[str], Path | None]:
    """What finds the file behind one of our own addresses: a model that reads another's output needs no token for it."""

    def found(address: str) -> Path | None:
        path, _, _ = address.partition("?")
        match = re.search(r"/v1/files/([^/]+)/([^/]+)$", path)
        made = ledger.get(match[1]) if match else None
        if made is None or match is None or match[2] not in made.outputs or not path.startswith(made.base + "/"):
            return None
        return files / made.id / match[2]

    return found
