"""What is odd about OpenAI's pictures and about speech as OpenAI has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lives import B64, NOW_MS, SOUND, Stage, life, ok, stage
from tests.servers.provider import client, reply
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.provider import Blame, NotSent, Refused, Unsure


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


PICTURES, SPEECH = life("openai pictures"), life("openai speech")


def error(code: str, kind: str = "invalid_request_error") -> Any:
    return {"error": {"message": f"no: {code}", "type": kind, "param": None, "code": code}}


def test_a_picture_is_asked_for_by_shape_or_size(played: Stage) -> None:
    assert played.sent(PICTURES, aspect_ratio="9:16", count=2, quality="high", output_format="webp", background="opaque") == {
        "model": "gpt-image-2.5-flare", "prompt": "a lighthouse", "n": 2, "size": "864x1536", "quality": "high", "output_format": "webp",
        "background": "opaque",
    }  # fmt: skip
    assert played.sent(PICTURES, aspect_ratio="9:16", size="2048x1152")["size"] == "2048x1152"


def test_pictures_come_as_bytes_each_of_the_kind_it_says(played: Stage) -> None:
    body = {"data": [{"b64_json": B64, "revised_prompt": "a tall lighthouse"}, {"b64_json": B64}], "output_format": "webp"}
    seen = played.give(PICTURES, ok(body)).seen
    assert [(each.data, each.mime, each.media) for each in seen.outputs] == [(SOUND, "image/webp", "image")] * 2
    assert seen.extra == {"revised_prompt": "a tall lighthouse"}


@pytest.mark.parametrize("data", [[], [{"url": "https://files.example/a.png"}], [{"b64_json": "not base64!"}], [{"b64_json": ""}], "x", None])
def test_an_answer_without_a_picture_may_be_paid_for(data: Any, played: Stage) -> None:
    with pytest.raises(Unsure):
        played.give(PICTURES, ok({"created": 1, "data": data}))


def test_speech_is_asked_for_with_a_voice_and_comes_as_it_is(played: Stage) -> None:
    assert played.sent(SPEECH, speed=1.5, instructions="whisper", output_format="wav") == {
        "model": "gpt-4o-mini-tts", "input": "Hello", "voice": "alloy", "speed": 1.5, "instructions": "whisper", "response_format": "wav",
    }  # fmt: skip
    assert played.sent(SPEECH, voice="nova")["voice"] == "nova"
    untold = played.give(SPEECH, reply(200, SOUND), params={"text": "Hello", "output_format": "wav"})
    assert [(each.data, each.mime) for each in untold.seen.outputs] == [(SOUND, "audio/wav")]


@pytest.mark.parametrize("kind", ["text/html", "application/json", "text/plain; charset=utf-8"])
def test_what_is_no_sound_is_never_kept_as_sound(kind: str, played: Stage) -> None:
    with pytest.raises(Unsure):
        played.give(SPEECH, reply(200, SOUND, Content_Type=kind))


@pytest.mark.parametrize(
    ("status", "code", "blame"),
    [(429, "insufficient_quota", Blame.ACCOUNT), (400, "content_policy_violation", Blame.POLICY), (400, "moderation_blocked", Blame.POLICY),
     (400, "billing_hard_limit_reached", Blame.ACCOUNT), (401, "invalid_api_key", Blame.ACCOUNT), (400, "invalid_value", Blame.INPUT),
     (404, "model_not_found", Blame.INPUT)],
)  # fmt: skip
def test_refusals_are_told_apart_by_code(status: int, code: str, blame: Blame, played: Stage) -> None:
    """A quota that is used up comes as a 429, like too many requests, and no patience helps."""
    with pytest.raises(Refused) as caught:
        played.give(PICTURES, reply(status, error(code)))
    assert caught.value.blame is blame


@pytest.mark.parametrize(
    ("headers", "pause"),
    [({"retry_after_ms": "1500"}, 1.5), ({"retry_after_ms": "1500", "Retry_After": "60"}, 1.5), ({"retry_after_ms": "soon", "Retry_After": "60"}, 60.0),
     ({"retry_after_ms": "9" * 40}, None), ({}, None)],
)  # fmt: skip
def test_a_pause_is_told_to_the_millisecond(headers: dict[str, str], pause: float | None, played: Stage) -> None:
    with pytest.raises(NotSent) as caught:
        played.give(PICTURES, reply(429, error("rate_limit_exceeded"), **headers))
    assert caught.value.retry_after_s == pause


def test_a_server_of_ones_own_needs_no_key(played: Stage) -> None:
    played.server.on("POST", SPEECH.submit, ok(SOUND))
    calls = Calls(client(), {}, {"openai": f"{played.server.url}/v1"}, lambda: NOW_MS)
    assert SPEECH.provider.submit(calls, SPEECH.order()).seen.outputs[0].data == SOUND
    assert "authorization" not in played.server.requests[0].headers


def test_the_servers_id_of_the_request_is_kept(played: Stage) -> None:
    taken = played.give(PICTURES, reply(200, PICTURES.taken, x_request_id="req_7"))
    assert taken.ticket.provider_job_id == "req_7"
