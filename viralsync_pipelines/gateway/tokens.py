"""Short-lived tokens for what cannot send a header: a browser's EventSource, a <video>, a download link.

What belongs here: minting and checking them. What does not: which route takes one (auth.viewer). An API key never stands in an address.
A token lets its holder read one job and its family for five minutes, and no longer than the key it was minted with.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass

LIFETIME_MS = 300_000
_VERSION = "v1"
# Far above what is minted; anything longer is not worth a look.
_LONGEST = 4_000


@dataclass(frozen=True)
class Grant:
    """Read `job_id`, and all of its family when it is a parent, in the name of a key."""

    job_id: str
    workspace: str
    key_id: str
    expires_ms: int


def mint(secret: bytes, *, job_id: str, workspace: str, key_id: str, now_ms: int, lifetime_ms: int = LIFETIME_MS) -> tuple[str, int]:
    """A token that can stand in an address as it is, and when it ends."""
    expires_ms = now_ms + lifetime_ms
    claims = _packed(json.dumps([job_id, workspace, key_id, expires_ms], separators=(",", ":")).encode())
    return f"{_VERSION}.{claims}.{_signature(secret, claims)}", expires_ms


def verify(secret: bytes, token: str, now_ms: int) -> Grant | None:
    """What the token grants; None for one that is forged, damaged or over. Takes as long for a nearly right signature as for any other."""
    parts = token.split(".") if len(token) <= _LONGEST and token.isascii() else []
    if len(parts) != 3 or parts[0] != _VERSION:
        return None
    if not hmac.compare_digest(_signature(secret, parts[1]), parts[2]):
        return None
    # Signed, so these are the bytes that `mint` wrote.
    job_id, workspace, key_id, expires_ms = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    return Grant(job_id, workspace, key_id, expires_ms) if now_ms < expires_ms else None


def _signature(secret: bytes, claims: str) -> str:
    return _packed(hmac.new(secret, f"{_VERSION}.{claims}".encode(), hashlib.sha256).digest())


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
