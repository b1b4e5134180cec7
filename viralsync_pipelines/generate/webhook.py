"""Whether a webhook is from whom it says, over the bytes as they came. Pure: keys, secrets and the time are passed in.

What belongs here: each scheme of signatures, and what tells one message from another. What does not: getting keys (signing_keys.py), what
a body means (providers/). Names of headers are in lower case. Nothing a sender writes makes anything but SignatureRefused, which never
says what was expected.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence

from viralsync_pipelines.errors import ViralsyncError
from viralsync_pipelines.generate.loose import json_of

# What is older is a replay, what is newer comes from a wrong clock; both ways, as Standard Webhooks has it.
WINDOW_S = 300.0
_SECONDS = re.compile(r"[0-9]{1,12}", re.ASCII)
_LONGEST = 16_384


class SignatureRefused(ViralsyncError):
    """SIGNATURE_MISSING, SIGNATURE_WRONG, SIGNATURE_OLD (too far from now, either way)."""

    code = "SIGNATURE_WRONG"


def verify_standard(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], *, now_s: float) -> None:
    """Standard Webhooks, under its own names of headers or Svix's. secrets: `whsec_` and base64, `whpk_` and base64 for Ed25519, or other
    text that is taken as it is; any one of them may fit any one of the signatures. Raises SignatureRefused."""
    brand = "svix" if "svix-signature" in headers and "webhook-signature" not in headers else "webhook"
    name, at, signatures = (_needed(headers, f"{brand}-{each}") for each in ("id", "timestamp", "signature"))
    message = b".".join((_bytes(name), _bytes(at), body))
    keys = [key for secret in ([secrets] if isinstance(secrets, str) else secrets) if (key := _key_of(secret)) is not None]
    entries = [entry.partition(",") for entry in signatures.split(" ")[:50]]
    if not any(_standard_fits(version, told, scheme, key, message) for version, _, told in entries for scheme, key in keys):
        raise _wrong()
    _in_time(at, now_s)


def verify_fal(headers: Mapping[str, str], body: bytes, keys: Iterable[bytes], *, user_id: str | None, now_s: float) -> None:
    """fal. keys: Ed25519, 32 bytes each. user_id: whose requests these are; fal signs for all its customers with the same keys, so that
    without one a message is no more than a hint. Raises SignatureRefused."""
    name, user, at, told = (_needed(headers, f"x-fal-webhook-{each}") for each in ("request-id", "user-id", "timestamp", "signature"))
    signature = _hex(told, 64)
    message = "\n".join((name, user, at, hashlib.sha256(body).hexdigest()))
    if signature is None or not any(_ed25519_fits(key, signature, _bytes(message)) for key in keys):
        raise _wrong()
    if user_id is not None and not _same(user, user_id):
        raise _wrong()
    _in_time(at, now_s)
    # A signature of one message over the id of another would let its sender settle somebody else's job.
    value = json_of(body)
    if not isinstance(value, dict) or value.get("request_id") != name:
        raise _wrong()


def verify_heygen(headers: Mapping[str, str], body: bytes, secret: str, *, now_s: float) -> None:
    """HeyGen v3: the body alone is signed, so that its time can be changed by whoever has seen one. Raises SignatureRefused."""
    told, at = _needed(headers, "heygen-signature"), _needed(headers, "heygen-timestamp")
    if not _hex_fits(told, secret, body):
        raise _wrong()
    _in_time(at, now_s)


def verify_elevenlabs(headers: Mapping[str, str], body: bytes, secret: str, *, now_s: float) -> None:
    """ElevenLabs: `t=<seconds>,v0=<hex>`, of which there may be several. Raises SignatureRefused."""
    parts = [part.partition("=") for part in _needed(headers, "elevenlabs-signature").split(",")[:50]]
    times = [value for name, _, value in parts if name == "t"]
    if len(times) != 1 or not any(name == "v0" and _hex_fits(value, secret, _bytes(times[0]), b".", body) for name, _, value in parts):
        raise _wrong()
    _in_time(times[0], now_s)


def verify_gemini(
    headers: Mapping[str, str], body: bytes, keys: Mapping[str, tuple[int, int]], *, audience: str | None, now_s: float
) -> None:
    """Gemini's webhooks of one request: a JWT by RS256. keys: modulus and exponent by key id. audience: None when it is not known.

    The token does not cover the body: it is a hint, whatever it says, and the provider is to be asked. Raises SignatureRefused.
    """
    token = _needed(headers, "webhook-signature")
    parts = token.split(".")
    signature = _base64(parts[2], url=True) if len(parts) == 3 else None
    if signature is None:
        raise _wrong()
    head, claims = (json_of(_base64(part, url=True) or b"") for part in parts[:2])
    # No other algorithm is known here: `none`, and HS256 with the public key as its secret, are the two oldest ways around a JWT.
    if not isinstance(head, dict) or not isinstance(claims, dict) or head.get("alg") != "RS256" or "crit" in head:
        raise _wrong()
    key = keys.get(head["kid"]) if isinstance(head.get("kid"), str) else None
    if key is None or not _rs256_fits(key, signature, _bytes(f"{parts[0]}.{parts[1]}")):
        raise _wrong()
    named = claims.get("aud")
    if audience is not None and audience not in (named if isinstance(named, list) else [named]):
        raise _wrong()
    begun = [claims[name] for name in ("iat", "nbf") if claims.get(name) is not None]
    if not _number(claims.get("exp")) or not all(map(_number, begun)):
        raise _wrong()
    # Only compared: JSON has whole numbers that no float holds.
    if not now_s <= claims["exp"] or not all(each <= now_s + WINDOW_S for each in begun):
        raise _old()
    if claims.get("iat") is not None and not now_s - WINDOW_S <= claims["iat"]:
        raise _old()
    if headers.get("webhook-timestamp"):
        _in_time(headers["webhook-timestamp"], now_s)


def event_key(provider: str, headers: Mapping[str, str], body: bytes) -> str:
    """What is equal for the same message sent again, and for no other; at most 100 letters.

    The sender's id of the message, fal's id and status of the request, or else a hash of the body.
    """
    if provider == "fal":
        value = json_of(body)
        if isinstance(value, dict) and isinstance(value.get("request_id"), str) and isinstance(value.get("status"), str):
            return _short("fal", f"{value['request_id']}\n{value['status']}")
    else:
        name = headers.get("webhook-id") or headers.get("svix-id") or headers.get("heygen-event-id")
        if name:
            return _short("id", name)
    return f"body:{hashlib.sha256(body).hexdigest()}"


# ---- the parts of signatures -----------------------------------------------------------------------------------------


def _standard_fits(version: str, told: str, scheme: str, key: bytes, message: bytes) -> bool:
    if version == "v1" and scheme == "v1":
        # Compared as text: base64 has several spellings of the same bytes, of which one is meant.
        return _same(told, base64.b64encode(hmac.digest(key, message, "sha256")).decode())
    if version == "v1a" and scheme == "v1a":
        signature = _base64(told)
        return signature is not None and _ed25519_fits(key, signature, message)
    return False


def _key_of(secret: str) -> tuple[str, bytes] | None:
    """The scheme and the key of a secret; None for an empty or broken one, which nothing fits."""
    prefix, found, rest = secret.partition("_")
    if found and prefix in {"whsec", "whpk"}:
        key = _base64(rest)
        return ({"whsec": "v1", "whpk": "v1a"}[prefix], key) if key else None
    return ("v1", secret.encode()) if secret else None


def usable(secret: str) -> bool:
    """Whether anything can be verified with a secret of Standard Webhooks."""
    return _key_of(secret) is not None


def _ed25519_fits(key: bytes, signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _rs256_fits(key: tuple[int, int], signature: bytes, message: bytes) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers
    from cryptography.hazmat.primitives.hashes import SHA256

    modulus, exponent = key
    try:
        RSAPublicNumbers(exponent, modulus).public_key().verify(signature, message, PKCS1v15(), SHA256())
    except (InvalidSignature, ValueError):
        return False
    return True


def _hex_fits(told: str, secret: str, *message: bytes) -> bool:
    # Anybody can sign with an empty secret.
    return bool(secret) and _same(told, hmac.new(secret.encode(), b"".join(message), hashlib.sha256).hexdigest())


def _needed(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if not value:
        raise SignatureRefused(f"the webhook has no {name} header; send it as the provider signed it", code="SIGNATURE_MISSING")
    if len(value) > _LONGEST:
        raise _wrong()
    return value


def _in_time(at: str, now_s: float) -> None:
    if not _SECONDS.fullmatch(at):
        raise _wrong()
    if abs(now_s - int(at)) > WINDOW_S:
        raise _old()


def _wrong() -> SignatureRefused:
    return SignatureRefused("the webhook's signature does not fit; check the signing secret, and that nothing between changes the body")


def _old() -> SignatureRefused:
    return SignatureRefused("the webhook was signed too long ago, or in the future; check the clocks", code="SIGNATURE_OLD")


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(_bytes(one), _bytes(other))


def _bytes(text: str) -> bytes:
    """The bytes of a header that was read as Latin-1, as servers do; what cannot have been one fits nothing."""
    return text.encode("latin-1", "backslashreplace")


def _hex(text: str, length: int) -> bytes | None:
    return bytes.fromhex(text) if re.fullmatch(rf"[0-9a-f]{{{2 * length}}}", text, re.ASCII) else None


def _base64(text: str, *, url: bool = False) -> bytes | None:
    """The bytes, None for every spelling but the one."""
    padded = text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4) if url else text
    try:
        data = base64.b64decode(padded, validate=True)
    except (binascii.Error, ValueError):
        return None
    again = base64.urlsafe_b64encode(data).decode().rstrip("=") if url else base64.b64encode(data).decode()
    return data if again == text else None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(kind: str, name: str) -> str:
    plain = len(name) <= 90 and re.fullmatch(r"[A-Za-z0-9_.:\n-]+", name, re.ASCII)
    return f"{kind}:{name}".replace("\n", ":") if plain else f"{kind}#{hashlib.sha256(name.encode(errors='backslashreplace')).hexdigest()}"
