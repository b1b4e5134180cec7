"""How far a provider's webhook may be believed: by its signature, where the provider signs and we hold what it takes to check.

What belongs here: which scheme is whose. What does not: the schemes (generate/webhook.py), keys (generate/signing_keys.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from viralsync_pipelines.generate.signing_keys import KeyCache, check_fal, check_gemini, check_replicate
from viralsync_pipelines.generate.webhook import verify_elevenlabs, verify_heygen

if TYPE_CHECKING:
    from viralsync_pipelines.generate.desk import Desk

SIGNED, HINT = "signed", "hint"
_FAL_USER, _HEYGEN, _ELEVENLABS = "FAL_WEBHOOK_USER_ID", "HEYGEN_WEBHOOK_SECRET", "ELEVENLABS_WEBHOOK_SECRET"


def trust_of(desk: Desk, cache: KeyCache, provider: str, sealed: str | None, headers: Mapping[str, str], body: bytes) -> str:
    """signed: its body may be believed. hint: the provider is asked before anything follows; its address with the token was right, all
    the same. sealed: keys that came with the plan. Raises SignatureRefused, KeysUnavailable."""
    calls = desk.calls_for(sealed)
    known = desk.providers.get(provider)
    if provider in {"replicate", "sandbox"}:
        from viralsync_pipelines.generate.providers.replicate import Replicate

        if isinstance(known, Replicate):
            check_replicate(known, calls, cache, headers, body)
            return SIGNED
    elif provider == "fal":
        # A plan's own key is another account's, whose user we do not know; and fal signs for all users with the same keys.
        user = calls.keys.get(_FAL_USER) if calls.keys.get("FAL_KEY") == desk.calls.keys.get("FAL_KEY") else None
        check_fal(calls, cache, headers, body, user_id=user)
        return SIGNED if user else HINT
    elif provider == "google":
        # A JWT says who sent it, and covers nothing of the body.
        check_gemini(calls, cache, headers, body, audience=None)
    elif provider == "heygen" and calls.keys.get(_HEYGEN):
        # Only the body is signed, without its time: a message can be sent again by whoever has seen it, and later.
        verify_heygen(headers, body, calls.keys[_HEYGEN], now_s=calls.now_ms() / 1000)
    elif provider == "elevenlabs" and calls.keys.get(_ELEVENLABS):
        verify_elevenlabs(headers, body, calls.keys[_ELEVENLABS], now_s=calls.now_ms() / 1000)
        return SIGNED
    return HINT
