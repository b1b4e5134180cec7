"""An HTTP client that is opened by its first request, and the doors of this machine that one may go through.

What belongs here: those two. What does not: the guard itself (http.py).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


class LateClient:
    """An httpx client that is opened by the first request: httpx and its TLS context take 0.4 s, and most movies need neither."""

    def __init__(self, allow: tuple[str, ...]) -> None:
        self._allow = allow
        self._lock = threading.Lock()
        self._client: Any = None

    def __getattr__(self, name: str) -> Any:
        with self._lock:
            if self._client is None:
                from viralsync_pipelines.http import open_client

                self._client = open_client(allow=self._allow)
        return getattr(self._client, name)

    def __del__(self) -> None:
        # A studio is opened for a step and let go: nobody is there to close what it may have opened.
        if self._client is not None:
            self._client.close()


def doors(bases: Iterable[str]) -> set[str]:
    """Of these addresses those on this machine, port by port: what somebody names must not open Dagster's UI."""
    found: set[str] = set()
    for parts in map(urlsplit, bases):
        if parts.hostname in LOOPBACK:
            port = parts.port or (443 if parts.scheme == "https" else 80)
            found |= {f"127.0.0.1:{port}", f"localhost:{port}", f"[::1]:{port}"}
    return found
