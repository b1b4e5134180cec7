"""Signatures of webhooks: every published vector passes, every change of one byte fails, replays and wrong keys fail; and keys are fetched
rarely, and their absence is never taken for a forgery."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.provider import Reply, ScriptedProvider, client, hang_up, provider_server, reply
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.providers.replicate import Replicate
from viralsync_pipelines.generate.signing_keys import (
    KeyCache,
    KeysUnavailable,
    check_fal,
    check_gemini,
    check_replicate,
    ed25519_keys,
    rsa_keys,
)
from viralsync_pipelines.generate.webhook import (
    SignatureRefused,
    event_key,
    verify_elevenlabs,
    verify_fal,
    verify_gemini,
    verify_heygen,
    verify_standard,
)

Headers = dict[str, str]
Verify = Callable[[Headers, bytes, float], None]

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OPENAI = "whsec_RdvaYFYUXuIFuEbvZHwMfYFhUf7aMYjYcmM24+Aj40c="
PUBLIC = "whpk_A6EHv/POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg="
JWK_X = "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
JWKS = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": JWK_X}]}
FAL_KEYS = ed25519_keys(JWKS)
FAL_ID = "123e4567-e89b-12d3-a456-426614174000"
FAL_BODY = (b'{"request_id":"123e4567-e89b-12d3-a456-426614174000","gateway_request_id":"123e4567-e89b-12d3-a456-426614174000","status":"OK",'
            b'"payload":{"video":{"url":"https://v3.fal.media/files/x/out.mp4","content_type":"video/mp4"}}}')  # fmt: skip
FAL_SIGNED = ("ba0044d23a0adce8253e19ea9e2ca3ce3c193880eba3da8739295c494565186da8256ef86cab568c0a4e0aab4cb2a8d05371c2c6b104bea2b337c86d11497805")
SEED = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
RSA = rsa.generate_private_key(65537, 2048)
AUDIENCE = "https://example.com/hook"


@dataclass(frozen=True)
class Vector:
    """A message that is right at `at`. covered: the headers that the signature covers, or is. body: whether it covers that."""

    name: str
    headers: Headers
    body: bytes
    at: float
    verify: Verify
    covered: tuple[str, ...]
    body_covered: bool = True


def by_secret(*secrets: str) -> Verify:
    return lambda headers, body, now_s: verify_standard(headers, body, secrets, now_s=now_s)


def standard(name: str, secret: str, message: str, at: int, body: bytes, signature: str, brand: str = "webhook") -> Vector:
    names = (f"{brand}-id", f"{brand}-timestamp", f"{brand}-signature")
    return Vector(name, dict(zip(names, (message, str(at), signature), strict=True)), body, at, by_secret(secret), names)


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def token(claims: dict[str, Any], head: dict[str, Any] | None = None, key: rsa.RSAPrivateKey = RSA) -> str:
    parts = ".".join(b64url(json.dumps(part).encode()) for part in ({"alg": "RS256", "kid": "k1"} | (head or {}), claims))
    return f"{parts}.{b64url(key.sign(parts.encode(), padding.PKCS1v15(), SHA256()))}"


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str = "k1") -> dict[str, Any]:
    numbers = key.public_key().public_numbers()
    return {"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": b64url(numbers.n.to_bytes(key.key_size // 8)), "e": "AQAB"}


GEMINI_KEYS = rsa_keys({"keys": [rsa_jwk(RSA)]})
CLAIMS = {"aud": AUDIENCE, "iat": 1_700_000_000, "exp": 1_700_000_200}
HEYGEN_BODY = b'{"event_id":"evt_1","event_type":"avatar_video.success","event_data":{"video_id":"vid_xyz789","url":"https://files.heygen.ai/v.mp4","callback_id":"job-1"}}'

SW1 = standard("SW-1", SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}', "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
SW2 = standard("SW-2", OPENAI, "wh_685c059ae39c8190af8c71ed1022a24d", 1750861210,
               b'{"id": "evt_685c059ae3a481909bdc86819b066fb6", "object": "event", "created_at": 1750861210, "type": "response.completed", "data": {"id": "resp_123"}}',
               "v1,gUAg4R2hWouRZqRQG4uJypNS8YK885G838+EHb4nKBY=")  # fmt: skip
SW3 = standard("SW-3", SECRET, "msg_rep_0001", 1700000000,
               b'{"id":"ufawqhfynnddngldkgtslldrkq","version":"5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa","status":"succeeded","output":["https://replicate.delivery/out-0.mp4"],"error":null}',
               "v1,/9MnxwuIRlvFBYippVJfEeEiKOPML6uAgJURaSWEFjU=")  # fmt: skip
V1A = standard("v1a", PUBLIC, "msg_1", 1700000000, b"{}", "v1a,fR8yyhXRO0do/WxNS4zXzRCZpGO+mwd0OAbs9Yr4JTAZF2y4KGv3H0dFLUCKzYN4xVJij9U5gkTIbHLMAd6YCQ==")
SVIX = standard("svix", SECRET, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, SW1.body, SW1.headers["webhook-signature"], brand="svix")
FAL = Vector(
    "FAL-1",
    {"x-fal-webhook-request-id": FAL_ID, "x-fal-webhook-user-id": "user-123", "x-fal-webhook-timestamp": "1700000000", "x-fal-webhook-signature": FAL_SIGNED},
    FAL_BODY, 1_700_000_000, lambda headers, body, now_s: verify_fal(headers, body, FAL_KEYS, user_id="user-123", now_s=now_s),
    ("x-fal-webhook-request-id", "x-fal-webhook-user-id", "x-fal-webhook-timestamp", "x-fal-webhook-signature"),
)  # fmt: skip
HEYGEN = Vector(
    "HEYGEN-1",
    {"heygen-signature": "1ebfa92f047b51c2b80274c949d4bb641bc68d697c0f7d425d1c39598ee777e5", "heygen-timestamp": "1700000000", "heygen-event-id": "evt_1"},
    HEYGEN_BODY, 1_700_000_000, lambda headers, body, now_s: verify_heygen(headers, body, "whsec_test_heygen", now_s=now_s), ("heygen-signature",),
)  # fmt: skip
ELEVEN = Vector(
    "ELEVEN-1", {"elevenlabs-signature": "t=1700000000,v0=6f63229c4c17b7adb882899091e036ca1b6abcd57ee5673a8e16e3fbca80764e"},
    b'{"type":"post_call_transcription","data":{}}', 1_700_000_000,
    lambda headers, body, now_s: verify_elevenlabs(headers, body, "wsec_test", now_s=now_s), ("elevenlabs-signature",),
)  # fmt: skip
GEMINI = Vector(
    "GEMINI-1", {"webhook-signature": token(CLAIMS)}, b'{"type":"video.generated"}', 1_700_000_000,
    lambda headers, body, now_s: verify_gemini(headers, body, GEMINI_KEYS, audience=AUDIENCE, now_s=now_s), ("webhook-signature",), body_covered=False,
)  # fmt: skip
VECTORS = [SW1, SW2, SW3, V1A, SVIX, FAL, HEYGEN, ELEVEN, GEMINI]
each_vector = pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)


def refused(vector: Vector, *, at: float | None = None, body: bytes | None = None, **headers: str | None) -> str:
    """The code of the refusal of a changed message."""
    changed = vector.headers | {name.replace("_", "-"): value for name, value in headers.items() if value is not None}
    for name, value in headers.items():
        if value is None:
            del changed[name.replace("_", "-")]
    with pytest.raises(SignatureRefused) as caught:
        vector.verify(changed, vector.body if body is None else body, vector.at if at is None else at)
    return caught.value.code


# ---- every scheme ----------------------------------------------------------------------------------------------------


@each_vector
def test_every_vector_passes_as_it_is(vector: Vector) -> None:
    vector.verify(vector.headers, vector.body, vector.at)


@each_vector
def test_any_change_of_one_byte_of_what_is_signed_or_of_the_signature_fails(vector: Vector) -> None:
    for name in vector.covered:
        text = vector.headers[name]
        # RSA is slow, and its token long.
        for place in (n for n in range(len(text)) if len(text) < 250 or n % 7 == 0 or n > len(text) - 5):
            # The last letter of base64 has bits that count for nothing.
            for mask in (0x01, 0x20, 0x80) if name != vector.covered[-1] or place < len(text) - 4 else range(1, 128):
                changed = {**vector.headers, name: text[:place] + chr(ord(text[place]) ^ mask) + text[place + 1 :]}
                with pytest.raises(SignatureRefused):
                    vector.verify(changed, vector.body, vector.at)
    for place in range(len(vector.body) if vector.body_covered else 0):
        changed_body = bytearray(vector.body)
        changed_body[place] ^= 0x01 << place % 8
        with pytest.raises(SignatureRefused):
            vector.verify(vector.headers, bytes(changed_body), vector.at)


@each_vector
def test_a_body_with_a_space_more_or_written_anew_fails(vector: Vector) -> None:
    if vector.body_covered:
        assert refused(vector, body=vector.body + b" ") == "SIGNATURE_WRONG"
        assert refused(vector, body=json.dumps(json.loads(vector.body), indent=1).encode() + b"\n") == "SIGNATURE_WRONG"
        assert refused(vector, body=b"") == "SIGNATURE_WRONG"
    else:
        vector.verify(vector.headers, b"anything", vector.at)  # which is why it is only a hint


@each_vector
def test_a_replay_outside_the_window_fails_either_way(vector: Vector) -> None:
    late = 200 if vector is GEMINI else 300
    for seconds in (late, -300):
        vector.verify(vector.headers, vector.body, vector.at + seconds)
    assert refused(vector, at=vector.at + late + 1) == "SIGNATURE_OLD"
    assert refused(vector, at=vector.at - 301) == "SIGNATURE_OLD"


@each_vector
def test_a_missing_or_empty_header_fails(vector: Vector) -> None:
    needed = [*vector.covered, *(["heygen-timestamp"] if vector is HEYGEN else [])]
    for name in needed:
        assert refused(vector, **{name: None}) == "SIGNATURE_MISSING"
        assert refused(vector, **{name: ""}) == "SIGNATURE_MISSING"


@each_vector
def test_a_refusal_never_says_what_was_expected(vector: Vector) -> None:
    with pytest.raises(SignatureRefused) as caught:
        vector.verify(vector.headers | {vector.covered[-1]: "v1,AAAA"}, vector.body, vector.at)
    proper = vector.headers[vector.covered[-1]]
    assert proper not in str(caught.value)
    assert proper.rpartition(",")[2] not in str(caught.value)


TEXT = st.text(max_size=30) | st.binary(max_size=60).map(lambda data: data.decode("latin-1"))
PIECES = st.lists(st.sampled_from([*(" ", ",", "=", ".", "v1", "v1a", "t", "v0", "1700000000", "-1", "1e9", "٣", "\ud800", "\0", "A" * 88, "f" * 64, "f" * 128),
                                   SW1.headers["webhook-signature"], *GEMINI.headers["webhook-signature"].split(".")]), max_size=8).map("".join)  # fmt: skip


@given(vector=st.sampled_from(VECTORS), data=st.data(), body=st.binary(max_size=40))
@settings(max_examples=150, deadline=None)
def test_nothing_a_sender_writes_makes_anything_but_the_verdict(vector: Vector, data: st.DataObject, body: bytes) -> None:
    headers = {name: data.draw(TEXT | PIECES | st.just(value)) for name, value in vector.headers.items()}
    if headers == vector.headers:
        return
    try:
        vector.verify(headers, body, vector.at)
    except SignatureRefused:
        return
    pytest.fail("a forgery passed")


# ---- Standard Webhooks -----------------------------------------------------------------------------------------------


def test_the_published_wrong_signature_fails() -> None:
    assert refused(SW1, webhook_signature="v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OA=") == "SIGNATURE_WRONG"


def test_one_of_several_signatures_is_enough() -> None:
    others = "v1,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v2,Ceo5qEr07ixe2NLpvHk3FH9bwy/WavXrAFQ/9tdO6mc= v1 , v1,=== v1a,AAAA garbage"
    good = SW1.headers["webhook-signature"]
    for told in (f"{others} {good}", f"{good} {others}"):
        SW1.verify(SW1.headers | {"webhook-signature": told}, SW1.body, SW1.at)
    assert refused(SW1, webhook_signature=others) == "SIGNATURE_WRONG"
    assert refused(SW1, webhook_signature=good.removeprefix("v1,")) == "SIGNATURE_WRONG"
    assert refused(SW1, webhook_signature=good.replace("v1,", "v2,")) == "SIGNATURE_WRONG"


def test_while_a_secret_is_changed_the_old_and_the_new_one_fit() -> None:
    verify_standard(SW1.headers, SW1.body, [OPENAI, SECRET], now_s=SW1.at)
    verify_standard(V1A.headers, V1A.body, [SECRET, PUBLIC], now_s=V1A.at)
    verify_standard(SW1.headers, SW1.body, SECRET, now_s=SW1.at)  # one as it is, not letter by letter


def test_a_wrong_empty_or_broken_secret_fits_nothing() -> None:
    for secrets in ([], [OPENAI], [""], ["whsec_"], ["whsec_%%%"], ["whpk_AAAA"], [PUBLIC], [SECRET.lower()]):
        with pytest.raises(SignatureRefused):
            verify_standard(SW1.headers, SW1.body, secrets, now_s=SW1.at)
    for empty in ("", "whsec_"):
        told = base64.b64encode(hmac.digest(b"", b"m.1700000000.{}", "sha256")).decode()
        with pytest.raises(SignatureRefused):
            verify_standard({"webhook-id": "m", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{told}"}, b"{}", [empty], now_s=1_700_000_000)


def test_a_secret_without_the_prefix_is_taken_as_it_is() -> None:
    told = base64.b64encode(hmac.digest(b"plain words", b"m.1700000000.\xff", "sha256")).decode()
    headers = {"webhook-id": "m", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{told}"}
    verify_standard(headers, b"\xff", ["plain words"], now_s=1_700_000_000)


# ---- fal -------------------------------------------------------------------------------------------------------------


def fal_signed(body: bytes, name: str = FAL_ID, user: str = "user-123", at: str = "1700000000", key: ed25519.Ed25519PrivateKey = SEED) -> Headers:
    message = "\n".join((name, user, at, hashlib.sha256(body).hexdigest())).encode()
    return {"x-fal-webhook-request-id": name, "x-fal-webhook-user-id": user, "x-fal-webhook-timestamp": at, "x-fal-webhook-signature": key.sign(message).hex()}


def test_fals_signature_for_another_customer_fails() -> None:
    """Its keys sign for all of them."""
    headers = fal_signed(FAL_BODY, user="user-666")
    with pytest.raises(SignatureRefused):
        verify_fal(headers, FAL_BODY, FAL_KEYS, user_id="user-123", now_s=1_700_000_000)
    verify_fal(headers, FAL_BODY, FAL_KEYS, user_id=None, now_s=1_700_000_000)


@pytest.mark.parametrize("body", [b'{"request_id":"another","status":"OK"}', b"{}", b"[]", b"not json", b"[" * 100_000, b"\xff", FAL_BODY.replace(b'"request_id":"1', b'"request_id":"9', 1)])  # fmt: skip
def test_fals_signature_over_the_body_of_another_request_fails(body: bytes) -> None:
    with pytest.raises(SignatureRefused):
        verify_fal(fal_signed(body), body, FAL_KEYS, user_id="user-123", now_s=1_700_000_000)


def test_any_key_of_the_set_may_fit_and_a_wrong_one_does_not() -> None:
    other = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    verify_fal(FAL.headers, FAL.body, [b"short", other, *FAL_KEYS], user_id="user-123", now_s=FAL.at)
    for keys in ([other], [b""], []):
        with pytest.raises(SignatureRefused):
            verify_fal(FAL.headers, FAL.body, keys, user_id="user-123", now_s=FAL.at)


# ---- the others ------------------------------------------------------------------------------------------------------


def test_wrong_and_empty_secrets_fit_nothing() -> None:
    for secret in ("whsec_test_heygeN", ""):
        with pytest.raises(SignatureRefused):
            verify_heygen(HEYGEN.headers, HEYGEN.body, secret, now_s=HEYGEN.at)
        with pytest.raises(SignatureRefused):
            verify_elevenlabs(ELEVEN.headers, ELEVEN.body, secret, now_s=ELEVEN.at)
    forged = {"heygen-signature": hmac.new(b"", b"{}", hashlib.sha256).hexdigest(), "heygen-timestamp": "1700000000"}
    with pytest.raises(SignatureRefused):
        verify_heygen(forged, b"{}", "", now_s=1_700_000_000)


def test_elevenlabs_may_sign_twice_but_says_one_time() -> None:
    _, _, good = ELEVEN.headers["elevenlabs-signature"].partition(",")
    ELEVEN.verify({"elevenlabs-signature": f"t=1700000000,v0={'0' * 64},{good}"}, ELEVEN.body, ELEVEN.at)
    for told in (f"t=1700000000,t=1700000000,{good}", good, f"t=1700000001,{good}", "t=1700000000", f"t=,{good}"):
        assert refused(ELEVEN, **{"elevenlabs-signature": told}) == "SIGNATURE_WRONG"


def hs256(claims: dict[str, Any]) -> str:
    """A token signed with the public key as a shared secret: the oldest way around a JWT."""
    key = RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    parts = ".".join(b64url(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "k1"}, claims))
    return f"{parts}.{b64url(hmac.digest(key, parts.encode(), 'sha256'))}"


STRANGER = rsa.generate_private_key(65537, 2048)


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (token(CLAIMS, {"alg": "none"}), "SIGNATURE_WRONG"),
        (token(CLAIMS, {"alg": "none"}).rpartition(".")[0] + ".", "SIGNATURE_WRONG"),
        (token(CLAIMS, {"alg": "RS512"}), "SIGNATURE_WRONG"),
        (hs256(CLAIMS), "SIGNATURE_WRONG"),
        (token(CLAIMS, {"kid": "k2"}), "SIGNATURE_WRONG"),
        (token(CLAIMS, {"kid": None}), "SIGNATURE_WRONG"),
        (token(CLAIMS, {"kid": ["k1"]}), "SIGNATURE_WRONG"),
        (token(CLAIMS, {"crit": ["b64"], "b64": False}), "SIGNATURE_WRONG"),
        (token(CLAIMS, key=STRANGER), "SIGNATURE_WRONG"),
        (token(CLAIMS | {"aud": "https://example.com/other"}), "SIGNATURE_WRONG"),
        (token({"exp": 1_700_000_200}), "SIGNATURE_WRONG"),
        (token({"aud": AUDIENCE}), "SIGNATURE_WRONG"),
        (token(CLAIMS | {"exp": "1700000200"}), "SIGNATURE_WRONG"),
        (token(CLAIMS | {"exp": True}), "SIGNATURE_WRONG"),
        (token(CLAIMS | {"exp": float("nan")}), "SIGNATURE_OLD"),
        (token(CLAIMS | {"exp": 1_699_999_999}), "SIGNATURE_OLD"),
        (token(CLAIMS | {"iat": 1_699_999_600}), "SIGNATURE_OLD"),
        (token(CLAIMS | {"nbf": 10**400}), "SIGNATURE_OLD"),
        (token([1]), "SIGNATURE_WRONG"),  # type: ignore[arg-type]
        ("a.b", "SIGNATURE_WRONG"),
        ("a.b.c.d", "SIGNATURE_WRONG"),
        ("x" * 20_000, "SIGNATURE_WRONG"),
    ],
)
def test_a_token_that_is_not_googles_or_not_ours_or_not_now_fails(told: str, code: str) -> None:
    assert refused(GEMINI, webhook_signature=told) == code


def test_a_token_may_name_several_audiences_and_outlive_a_change_of_keys() -> None:
    keys = rsa_keys({"keys": [rsa_jwk(STRANGER, "k0"), rsa_jwk(RSA)]})
    headers = {"webhook-signature": token(CLAIMS | {"aud": ["x", AUDIENCE], "exp": 10**400})}
    verify_gemini(headers, b"", keys, audience=AUDIENCE, now_s=1_700_000_000)
    verify_gemini({"webhook-signature": token({"exp": 1_700_000_200})}, b"", keys, audience=None, now_s=1_700_000_000)
    with pytest.raises(SignatureRefused):
        verify_gemini({**headers, "webhook-timestamp": "1699999000"}, b"", keys, audience=AUDIENCE, now_s=1_700_000_000)


def test_broken_and_weak_keys_of_a_set_are_passed_over() -> None:
    weak = rsa_jwk(RSA) | {"kid": "weak", "n": b64url((2**1023 + 1).to_bytes(128))}
    odd: list[Any] = [weak, {**rsa_jwk(RSA), "kid": "e", "e": "AQ"}, {**rsa_jwk(RSA), "kid": 5}, {"kty": "RSA", "kid": "x"}, None, 7, {"kty": "OKP", "crv": "Ed25519", "x": "AAAA"},
                      {"kty": "OKP", "crv": "Ed25519", "x": "é"}, {"kty": "OKP", "crv": "X25519", "x": JWK_X}]  # fmt: skip
    assert rsa_keys({"keys": odd}) == {}
    assert ed25519_keys({"keys": odd}) == ()
    for nothing in (None, [], {}, {"keys": None}, {"keys": {"a": 1}}, "x"):
        assert rsa_keys(nothing) == {}
        assert ed25519_keys(nothing) == ()


# ---- telling messages apart ------------------------------------------------------------------------------------------


def test_the_same_message_has_the_same_key_and_no_other_has() -> None:
    assert event_key("replicate", {"webhook-id": "msg_1"}, b"a") == event_key("replicate", {"webhook-id": "msg_1"}, b"b") == "id:msg_1"
    assert event_key("fal", {}, FAL_BODY) == f"fal:{FAL_ID}:OK"
    assert event_key("fal", {"webhook-id": "x"}, FAL_BODY.replace(b"OK", b"ERROR")) == f"fal:{FAL_ID}:ERROR"
    assert event_key("heygen", HEYGEN.headers, HEYGEN.body) == "id:evt_1"
    keys = [event_key(provider, headers, body) for provider, headers, body in [
        ("luma", {}, b"a"), ("luma", {}, b"b"), ("fal", {}, b"a "), ("replicate", {"webhook-id": "m" * 500}, b""), ("replicate", {"webhook-id": "m" * 501}, b""),
        ("replicate", {"svix-id": "\ud800é"}, b""), ("fal", {}, b"[" * 100_000),
    ]]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert all(len(each) <= 100 and each.isascii() for each in keys)


# ---- getting the keys ------------------------------------------------------------------------------------------------


class Clock:
    def __init__(self) -> None:
        self.ms = 1_700_000_000_000

    def __call__(self) -> int:
        return self.ms


@pytest.fixture
def server() -> Iterator[ScriptedProvider]:
    with provider_server() as running:
        yield running


@pytest.fixture
def calls(server: ScriptedProvider) -> Calls:
    bases = {"replicate": f"{server.url}/v1", "fal_rest": server.url, "google_keys": server.url}
    return Calls(client(), {"REPLICATE_API_TOKEN": "r8_one"}, bases, Clock())


JWKS_PATH = "/.well-known/jwks.json"
SECRET_PATH = "/v1/webhooks/default/secret"


def fal(calls: Calls, cache: KeyCache, headers: Headers | None = None) -> None:
    now = str(calls.now_ms() // 1000)
    check_fal(calls, cache, fal_signed(FAL_BODY, at=now) if headers is None else headers, FAL_BODY, user_id="user-123")


def test_keys_are_fetched_once_a_day_without_ours(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", JWKS_PATH, reply(200, JWKS))
    cache = KeyCache(calls.now_ms)
    for _ in range(5):
        fal(calls, cache)
    assert len(server.requests) == 1
    assert "authorization" not in server.requests[0].headers
    calls.now_ms.ms += 24 * 3_600_000 - 1  # type: ignore[attr-defined]
    fal(calls, cache)
    assert len(server.requests) == 1
    calls.now_ms.ms += 1  # type: ignore[attr-defined]
    fal(calls, cache)
    assert len(server.requests) == 2


def test_new_keys_are_fetched_when_none_fits_once_a_minute(server: ScriptedProvider, calls: Calls) -> None:
    old = {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": b64url(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))}]}
    server.on("GET", JWKS_PATH, reply(200, old), reply(200, JWKS))
    cache = KeyCache(calls.now_ms)
    with pytest.raises(SignatureRefused):
        fal(calls, cache)  # the old keys were fetched just now
    calls.now_ms.ms += 60_000  # type: ignore[attr-defined]
    fal(calls, cache)
    assert len(server.requests) == 2
    forged = fal_signed(FAL_BODY, key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)))
    for _ in range(10):
        with pytest.raises(SignatureRefused):
            fal(calls, cache, forged)
    assert len(server.requests) == 2


def test_what_is_old_or_lacks_a_header_asks_nobody_for_newer_keys(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", JWKS_PATH, reply(200, JWKS))
    cache = KeyCache(calls.now_ms)
    fal(calls, cache)
    calls.now_ms.ms += 3_600_000  # type: ignore[attr-defined]
    for headers in (FAL.headers, {}):
        with pytest.raises(SignatureRefused):
            fal(calls, cache, headers)
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [reply(500), hang_up(), reply(404), reply(200, b"<html>"), reply(200, {"keys": []}), reply(200, [])])
def test_keys_that_cannot_be_had_are_no_forgery_and_are_asked_for_once_a_minute(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("GET", JWKS_PATH, answer, reply(200, JWKS))
    cache = KeyCache(calls.now_ms)
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            fal(calls, cache)
    assert len(server.requests) == 1
    calls.now_ms.ms += 60_000  # type: ignore[attr-defined]
    fal(calls, cache)


def test_known_keys_go_on_serving_while_newer_ones_cannot_be_had(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", JWKS_PATH, reply(200, JWKS), reply(503))
    cache = KeyCache(calls.now_ms)
    fal(calls, cache)
    calls.now_ms.ms += 60_000  # type: ignore[attr-defined]
    unknown = fal_signed(FAL_BODY, key=ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), at=str(calls.now_ms() // 1000))
    for _ in range(3):
        with pytest.raises(KeysUnavailable):  # its key may be a new one
            fal(calls, cache, unknown)
        fal(calls, cache)
    assert len(server.requests) == 2


def test_threads_that_need_the_same_keys_fetch_them_once(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", JWKS_PATH, reply(200, JWKS, delay_s=0.05))
    cache, ready = KeyCache(calls.now_ms), threading.Barrier(8)

    def one(_: int) -> None:
        ready.wait()
        fal(calls, cache)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(8)))
    assert len(server.requests) == 1


def test_replicates_secret_is_each_accounts_own(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", SECRET_PATH, lambda request: reply(200, {"key": SECRET if request.headers["authorization"].endswith("one") else OPENAI}))
    calls.now_ms.ms = 1_614_265_330_000  # type: ignore[attr-defined]
    cache = KeyCache(calls.now_ms)
    for _ in range(3):
        check_replicate(Replicate(), calls, cache, SW1.headers, SW1.body)
    with pytest.raises(SignatureRefused):
        check_replicate(Replicate(), replace(calls, keys={"REPLICATE_API_TOKEN": "r8_two"}), cache, SW1.headers, SW1.body)
    assert [each.headers["authorization"] for each in server.requests] == ["Bearer r8_one", "Bearer r8_two"]


@pytest.mark.parametrize("answer", [reply(401), reply(200, {"key": "whsec_"}), reply(200, {"key": ""}), reply(200, {"key": 5}), reply(200, {"key": "plain"}), reply(200, [])])
def test_an_answer_without_a_secret_is_no_secret(server: ScriptedProvider, calls: Calls, answer: Reply) -> None:
    server.on("GET", SECRET_PATH, answer)
    with pytest.raises(KeysUnavailable):
        check_replicate(Replicate(), calls, KeyCache(calls.now_ms), SW1.headers, SW1.body)
    with pytest.raises(KeysUnavailable):
        check_replicate(Replicate(), replace(calls, keys={}), KeyCache(calls.now_ms), SW1.headers, SW1.body)


def test_geminis_keys_are_found_by_their_id(server: ScriptedProvider, calls: Calls) -> None:
    server.on("GET", JWKS_PATH, reply(200, {"keys": [rsa_jwk(STRANGER, "k0")]}), reply(200, {"keys": [rsa_jwk(STRANGER, "k0"), rsa_jwk(RSA)]}))
    cache = KeyCache(calls.now_ms)
    with pytest.raises(SignatureRefused):
        check_gemini(calls, cache, GEMINI.headers, GEMINI.body, audience=AUDIENCE)
    calls.now_ms.ms += 60_000  # type: ignore[attr-defined]
    check_gemini(calls, cache, GEMINI.headers, GEMINI.body, audience=AUDIENCE)
    assert len(server.requests) == 2
