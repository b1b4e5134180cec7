"""What is odd about ElevenLabs: the times of words, two kinds of 429, and 401 for an empty purse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.lives import B64, SOUND, Stage, life, ok, stage
from tests.servers.provider import reply
from viralsync_pipelines.generate.provider import Blame, NotSent, Refused
from viralsync_pipelines.generate.providers.elevenlabs import words_from


@pytest.fixture
def played() -> Iterator[Stage]:
    with stage() as running:
        yield running


SPEECH, SOUNDS = life("elevenlabs speech"), life("elevenlabs sounds")


def aligned(text: str, step: float = 0.1) -> dict[str, list[Any]]:
    """Each letter a tenth of a second, spaces too."""
    times = [round(n * step, 3) for n in range(len(text) + 1)]
    return {"characters": list(text), "character_start_times_seconds": times[:-1], "character_end_times_seconds": times[1:]}


def spoken(text: str) -> list[tuple[str, float, float, int, int]]:
    return [tuple(word.values()) for word in words_from(aligned(text), text)]  # type: ignore[misc]


def test_words_have_the_times_of_their_first_and_last_letter() -> None:
    assert words_from(aligned("Hi, you"), "Hi, you") == [
        {"text": "Hi,", "start_s": 0.0, "end_s": 0.3, "char_start": 0, "char_end": 3},
        {"text": "you", "start_s": 0.4, "end_s": 0.7, "char_start": 4, "char_end": 7},
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("one  two\n three", ["one", "two", "three"]),
        ("It's 3,000 — well, more…", ["It's", "3,000 —", "well,", "more…"]),
        ("— so it begins", ["— so", "it", "begins"]),
        ("… — Hm", ["… — Hm"]),
        ("Grüße, café naïve", ["Grüße,", "café", "naïve"]),
        ("👩‍🚀 flies 🚀 on", ["👩‍🚀 flies 🚀", "on"]),
        ("Привет мир", ["Привет", "мир"]),
        ("  ", []),
        ("", []),
        ("the the the", ["the", "the", "the"]),
    ],
)
def test_words_are_what_stands_between_spaces(text: str, words: list[str]) -> None:
    found = spoken(text)
    assert [word for word, *_ in found] == words
    assert [text[begins:ends] for *_, begins, ends in found] == words


def test_letters_that_the_text_does_not_have_keep_their_time_and_have_no_place() -> None:
    found = words_from(aligned("one twentyfive three"), "one 25 three")
    assert [(each["text"], each["char_start"], each["char_end"]) for each in found] == [("one", 0, 3), ("twentyfive", 3, 3), ("three", 7, 12)]


_letters = st.text(max_size=3) | st.sampled_from([" ", "a", "é", "—"]) | st.none() | st.integers()
_times = st.floats() | st.none() | st.text(max_size=2) | st.integers()


@settings(max_examples=100, deadline=None)
@given(st.lists(_letters, max_size=20), st.lists(_times, max_size=20), st.lists(_times, max_size=20), st.text(max_size=20))
def test_words_follow_one_another_whatever_the_alignment(letters: Any, starts: Any, ends: Any, text: str) -> None:
    alignment = {"characters": letters, "character_start_times_seconds": starts, "character_end_times_seconds": ends}
    now = place = 0.0
    for word in words_from(alignment, text):
        assert now <= word["start_s"] <= word["end_s"] < float("inf")
        assert place <= word["char_start"] <= word["char_end"] <= len(text)
        assert word["text"].strip()
        now, place = word["end_s"], word["char_end"]


def test_speech_comes_with_its_words_as_they_were_written(played: Stage) -> None:
    body = {"audio_base64": B64, "alignment": aligned("Hello 25"), "normalized_alignment": aligned("Hello twenty five")}
    seen = played.give(SPEECH, ok(body), params={"text": "Hello 25", "voice": "v1"}).seen
    assert [word["text"] for word in seen.extra["words"]] == ["Hello", "25"]
    assert (seen.outputs[0].data, seen.outputs[0].mime, seen.outputs[0].media) == (SOUND, "audio/mpeg", "audio")
    assert "words" not in played.give(SPEECH, ok({"audio_base64": B64, "alignment": None})).seen.extra


def test_speech_is_asked_for_with_the_voice_in_the_path_and_its_settings(played: Stage) -> None:
    sent = played.sent(SPEECH, speed=1.1, stability=0.4, similarity=0.9, language="en", seed=7)
    assert sent == {
        "model_id": "eleven_turbo_v2_5", "text": "Hello", "language_code": "en", "seed": 7,
        "voice_settings": {"speed": 1.1, "stability": 0.4, "similarity_boost": 0.9},
    }  # fmt: skip
    assert played.server.requests[0].query == {"output_format": "mp3_44100_128"}
    played.server.on("POST", "*", ok(SPEECH.taken))
    SPEECH.provider.submit(played.calls, SPEECH.order(params={"text": "Hello"}))
    assert played.server.requests[-1].path == "/v1/text-to-speech/JBFqnCBsd6RMkjVDRZzb/with-timestamps"


def test_a_voice_is_never_more_than_a_part_of_the_path(played: Stage) -> None:
    played.server.on("POST", "*", ok(SPEECH.taken))
    SPEECH.provider.submit(played.calls, SPEECH.order(params={"text": "Hello", "voice": "../../v1/user?x=1#"}))
    assert played.server.requests[0].path == "/v1/text-to-speech/..%2F..%2Fv1%2Fuser%3Fx%3D1%23/with-timestamps"


def test_sounds_are_asked_for_by_words_and_length(played: Stage) -> None:
    assert played.sent(SOUNDS, duration=2.5, prompt_influence=0.7, loop=True) == {
        "model_id": "eleven_text_to_sound_v2", "text": "rain", "duration_seconds": 2.5, "prompt_influence": 0.7, "loop": True,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "code", "pause"),
    [("too_many_concurrent_requests", "PROVIDER_FULL", 5.0), ("system_busy", "PROVIDER_BUSY", None)],
)
def test_a_full_house_is_no_busy_one(status: str, code: str, pause: float | None, played: Stage) -> None:
    with pytest.raises(NotSent) as caught:
        played.give(SPEECH, reply(429, {"detail": {"status": status, "message": "wait"}}))
    assert (caught.value.code, caught.value.retry_after_s) == (code, pause)


@pytest.mark.parametrize(
    ("answer", "blame", "code"),
    [
        (reply(401, {"detail": {"status": "quota_exceeded", "message": "used up"}}), Blame.ACCOUNT, "QUOTA_EXCEEDED"),
        (reply(401, {"detail": {"status": "invalid_api_key", "message": "no"}}), Blame.ACCOUNT, "PROVIDER_KEY_REFUSED"),
        (reply(400, {"detail": {"status": "max_character_limit_exceeded", "message": "x"}}), Blame.INPUT, "INPUT_REFUSED"),
        (reply(404, {"detail": {"status": "voice_not_found", "message": "x"}}), Blame.INPUT, "VOICE_NOT_FOUND"),
        (reply(403, {"detail": {"status": "content_against_policy", "message": "x"}}), Blame.POLICY, "CONTENT_REFUSED"),
        (reply(422, {"detail": [{"loc": ["body", "text"], "msg": "field required", "type": "missing"}]}), Blame.INPUT, "INPUT_REFUSED"),
    ],
)  # fmt: skip
def test_refusals_are_told_apart(answer: Any, blame: Blame, code: str, played: Stage) -> None:
    with pytest.raises(Refused) as caught:
        played.give(SPEECH, answer)
    assert (caught.value.blame, caught.value.code) == (blame, code)


def test_too_early_was_not_taken(played: Stage) -> None:
    with pytest.raises(NotSent):
        played.give(SPEECH, reply(425, {"detail": {"status": "too_early"}}))
