"""The keys that webhooks are verified with: fetched from their providers, kept for a day, and fetched anew when none of them fits.

What belongs here: getting them, at most once a minute. What does not: the signatures themselves (webhook.py), keys that an operator sets.
A provider that cannot be asked is no bad signature: KeysUnavailable is answered with 503, so that the sender tries again.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.generate.provider import CallFailed
from viralsync_pipelines.generate.webhook import SignatureRefused, usable, verify_fal, verify_gemini, verify_standard

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls
    from viralsync_pipelines.generate.providers.replicate import Replicate

KEPT_MS = 24 * 3_600_000
# Between two requests for the same keys, whatever the webhooks are signed with: forged ones must not become a flood elsewhere.
PAUSE_MS = 60_000
FETCH_S = 10.0
FAL_REST = "https://rest.fal.ai"
GOOGLE = "https://generativelanguage.googleapis.com"
_MOST_KEYS = 50


class KeysUnavailable(ViralsyncError):
    """The keys cannot be had for the moment, so that nobody can tell whether the signature is good."""

    code = "SIGNATURE_KEYS_UNAVAILABLE"


@dataclass
class _Kept:
    lock: threading.Lock = field(default_factory=threading.Lock)
    keys: Any = None
    fetched_ms: int | None = None
    tried_ms: int | None = None


class KeyCache:
    """Keys by name. now_ms: the clock. Shared by threads: one fetches, others wait for it only when they have no keys."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms, self._lock = now_ms, threading.Lock()
        self._kept: dict[str, _Kept] = {}

    def verified(self, name: str, fetch: Callable[[], Any], check: Callable[[Any], None]) -> None:
        """Run `check` with the keys of this name, and once more with newer ones when no key fits. fetch: raises KeysUnavailable.

        Raises SignatureRefused, KeysUnavailable.
        """
        with self._lock:
            kept = self._kept.setdefault(name, _Kept())
        if not self._fresh(kept):
            with kept.lock:
                if not self._fresh(kept):
                    self._fetch(kept, fetch)
        before = kept.keys
        try:
            check(before)
            return
        except SignatureRefused as error:
            if error.code != SignatureRefused.code:
                raise
            with kept.lock:
                # Somebody else may have fetched them while this one waited.
                if kept.keys == before and self._may_try(kept):
                    self._fetch(kept, fetch)
                elif kept.tried_ms != kept.fetched_ms:
                    raise _unavailable() from error
            if kept.keys == before:
                raise
        check(kept.keys)

    def kept_only(self) -> KeyCache:
        """The same keys for whoever may not wait for others: where keys would be fetched, it raises NotKept."""
        return _KeptOnly(self)

    def _fetch(self, kept: _Kept, fetch: Callable[[], Any]) -> None:
        if not self._may_try(kept):
            raise _unavailable()
        kept.tried_ms = now = self._now_ms()
        kept.keys = fetch()
        kept.fetched_ms = now

    def _fresh(self, kept: _Kept) -> bool:
        return kept.fetched_ms is not None and self._now_ms() - kept.fetched_ms < KEPT_MS

    def _may_try(self, kept: _Kept) -> bool:
        return kept.tried_ms is None or self._now_ms() - kept.tried_ms >= PAUSE_MS


class NotKept(Exception):
    """The keys have to be fetched."""


class _KeptOnly(KeyCache):
    def __init__(self, whole: KeyCache) -> None:
        super().__init__(whole._now_ms)
        self._lock, self._kept = whole._lock, whole._kept

    def _fetch(self, kept: _Kept, fetch: Callable[[], Any]) -> None:
        raise NotKept if self._may_try(kept) else _unavailable()


def check_replicate(provider: Replicate, calls: Calls, cache: KeyCache, headers: Mapping[str, str], body: bytes) -> None:
    """A webhook of Replicate or the sandbox, by the secret of the account whose key `calls` has.

    Raises SignatureRefused, KeysUnavailable.
    """

    def fetch() -> str:
        answer = _asked(calls, f"{provider.base(calls)}/webhooks/default/secret", provider.headers(calls))
        secret = answer.get("key")
        if not isinstance(secret, str) or not secret.startswith("whsec_") or not usable(secret):
            raise KeysUnavailable(f"{provider.name} answered without a signing secret; its webhooks cannot be told from forged ones")
        return secret

    # Each account has a secret of its own; the key itself is not to be a name of anything.
    try:
        account = hashlib.sha256(provider.headers(calls)["Authorization"].encode(errors="replace")).hexdigest()[:16]
    except CallFailed as error:
        raise KeysUnavailable(error.message) from error
    now_s = calls.now_ms() / 1000
    cache.verified(f"{provider.name}:{account}", fetch, lambda secret: verify_standard(headers, body, [secret], now_s=now_s))


def check_fal(calls: Calls, cache: KeyCache, headers: Mapping[str, str], body: bytes, *, user_id: str | None) -> None:
    """A webhook of fal; see verify_fal for user_id. Raises SignatureRefused, KeysUnavailable."""

    def fetch() -> tuple[bytes, ...]:
        keys = ed25519_keys(_asked(calls, f"{calls.base('fal_rest', FAL_REST)}/.well-known/jwks.json", {}))
        if not keys:
            raise KeysUnavailable("fal answered without signing keys; its webhooks cannot be told from forged ones")
        return keys

    now_s = calls.now_ms() / 1000
    cache.verified("fal", fetch, lambda keys: verify_fal(headers, body, keys, user_id=user_id, now_s=now_s))


def check_gemini(calls: Calls, cache: KeyCache, headers: Mapping[str, str], body: bytes, *, audience: str | None) -> None:
    """A webhook of one request to Gemini, which is a hint; see verify_gemini. Raises SignatureRefused, KeysUnavailable."""

    def fetch() -> dict[str, tuple[int, int]]:
        keys = rsa_keys(_asked(calls, f"{calls.base('google_keys', GOOGLE)}/.well-known/jwks.json", {}))
        if not keys:
            raise KeysUnavailable("Google answered without signing keys; its webhooks cannot be told from forged ones")
        return keys

    now_s = calls.now_ms() / 1000
    cache.verified("gemini", fetch, lambda keys: verify_gemini(headers, body, keys, audience=audience, now_s=now_s))


# ---- JWKS ------------------------------------------------------------------------------------------------------------


def ed25519_keys(jwks: Any) -> tuple[bytes, ...]:
    """The Ed25519 keys of a key set, 32 bytes each; what is of another kind, or broken, is passed over. Pure."""
    listed = (_number_in(each, "x") for each in _entries(jwks, "OKP") if each.get("crv") == "Ed25519")
    return tuple(key for key in listed if len(key) == 32)


def rsa_keys(jwks: Any) -> dict[str, tuple[int, int]]:
    """Modulus and exponent by key id, of RSA keys of 2,048 bits and more that sign by RS256. Pure."""
    keys = {}
    for each in _entries(jwks, "RSA"):
        modulus, exponent = (int.from_bytes(_number_in(each, name)) for name in ("n", "e"))
        named = isinstance(each.get("kid"), str) and each.get("alg", "RS256") == "RS256" and each.get("use", "sig") == "sig"
        if named and 2_048 <= modulus.bit_length() <= 8_192 and 3 <= exponent < 2**33:
            keys[each["kid"]] = (modulus, exponent)
    return keys


def _entries(jwks: Any, kind: str) -> list[Mapping[str, Any]]:
    listed = jwks.get("keys") if isinstance(jwks, Mapping) else None
    listed = listed[:_MOST_KEYS] if isinstance(listed, list) else []
    return [each for each in listed if isinstance(each, Mapping) and each.get("kty") == kind]


def _number_in(entry: Mapping[str, Any], name: str) -> bytes:
    value = entry.get(name)
    try:
        return base64.urlsafe_b64decode(f"{value}==") if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        return b""


def _asked(calls: Calls, url: str, headers: Mapping[str, str]) -> Mapping[str, Any]:
    try:
        body = calls.send("GET", url, headers=headers, seconds=FETCH_S).body
    except CallFailed as error:
        raise KeysUnavailable(f"the signing keys cannot be had: {error.message}") from error
    return body if isinstance(body, Mapping) else {}


def _unavailable() -> KeysUnavailable:
    return KeysUnavailable("the signing keys could not be had a moment ago; they are asked for once a minute")
