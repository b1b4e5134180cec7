"""Keys of providers that come with a plan, sealed for as long as they lie in the database.

What belongs here: sealing and opening. What does not: where the secret comes from.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping

# The names that plans use for providers, to the names under which adapters look for their keys.
KEY_NAMES: Mapping[str, str] = {
    "replicate": "REPLICATE_API_TOKEN", "fal": "FAL_KEY", "google": "GOOGLE_GENERATIVE_AI_API_KEY",
    "google-cloud": "GOOGLE_GENERATIVE_AI_API_KEY", "openai": "OPENAI_API_KEY", "elevenlabs": "ELEVENLABS_API_KEY",
    "runway": "RUNWAYML_API_SECRET", "luma": "LUMAAI_API_KEY", "heygen": "HEYGEN_API_KEY",
}  # fmt: skip
SEALING = "provider-keys"
"""Under which the database keeps what they are sealed with."""


def seal(secret: bytes, keys: Mapping[str, str]) -> str:
    """Keys by the plan's names of providers; unknown names are left out."""
    named = {KEY_NAMES[name]: value for name, value in keys.items() if name in KEY_NAMES}
    sealed: bytes = _fernet(secret).encrypt(json.dumps(named).encode())
    return sealed.decode()


def unsealer(secret: bytes) -> Callable[[str], Mapping[str, str]]:
    """Opens what `seal` made; nothing of what was sealed with another secret."""

    def unseal(sealed: str) -> Mapping[str, str]:
        from cryptography.fernet import InvalidToken

        try:
            opened: dict[str, str] = json.loads(_fernet(secret).decrypt(sealed.encode()))
        except (InvalidToken, ValueError):
            return {}
        return opened

    return unseal


def _fernet(secret: bytes):  # type: ignore[no-untyped-def]  # cryptography costs 30 ms to import, and most steps seal nothing
    from cryptography.fernet import Fernet

    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(b"provider-keys\0" + secret).digest()))
