"""The secret that webhooks are signed with: made once, kept beside the predictions, and Standard Webhooks' three headers.

What belongs here: the file and the signature. What does not: sending (telling.py).
"""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

_FILE = "webhook_secret"
_BYTES = 24


def kept_secret(folder: Path, random_bytes: Callable[[int], bytes] = secrets.token_bytes) -> str:
    """The `whsec_...` of this folder; made, readable by its owner only, when there is none. Two processes at once get the same one."""
    path = folder / _FILE
    with contextlib.suppress(FileNotFoundError):
        return path.read_text(encoding="ascii").strip()
    part = folder / f".{_FILE}.{os.getpid()}"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write("whsec_" + base64.b64encode(random_bytes(_BYTES)).decode() + "\n")
    # A link is made by one of them only; whoever is second reads what the first has written.
    with contextlib.suppress(FileExistsError):
        os.link(part, path)
    part.unlink(missing_ok=True)
    return path.read_text(encoding="ascii").strip()


def signed(secret: str, message_id: str, body: bytes, at_ms: int) -> Mapping[str, str]:
    """The headers of one try."""
    from standardwebhooks import Webhook

    seconds = at_ms // 1000
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": Webhook(secret).sign(message_id, datetime.fromtimestamp(seconds, UTC), body.decode()),
    }
