"""What users of voices over HTTP are promised: the right request, sound to the sample, words with honest times, and one clear error."""

from __future__ import annotations

import array
import base64
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.provider import Reply, ScriptedProvider, client, hang_up, provider_server, reply
from tests.soundbites import encoded, samples, samples_in, wav
from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.speech.asking import TRIES
from viralsync_pipelines.speech.cache import speak_cached
from viralsync_pipelines.speech.engine import Means, Take, engine_named
from viralsync_pipelines.storage.local import LocalStore

TEXT = "Hello world, it is 25 °C — really?"
SOUND = samples(2.0)
MINE = "abcdefghij0123456789"


@pytest.fixture
def service() -> Iterator[ScriptedProvider]:
    with provider_server() as found:
        yield found


class Patience:
    """Notes the pauses instead of taking them."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.pauses.append(seconds)


def means_of(service: ScriptedProvider, **more: Any) -> Means:
    keys = {"ELEVENLABS_API_KEY": "eleven-secret", "OPENAI_API_KEY": "open-secret"}
    bases = {"elevenlabs": service.url, "openai": f"{service.url}/v1"}
    return Means(**{"client": client, "keys": keys, "bases": bases, "sleep": Patience(), **more})


SPEAKING = {"elevenlabs": "/v1/text-to-speech/*", "openai": "/v1/audio/speech"}


def alignment_of(text: str, each: float = 0.05) -> dict[str, list[Any]]:
    """Every letter lasts 50 ms, the first begins at 0.1 s."""
    starts = [round(0.1 + number * each, 3) for number in range(len(text))]
    return {
        "characters": list(text),
        "character_start_times_seconds": starts,
        "character_end_times_seconds": [round(at + each, 3) for at in starts],
    }


def eleven(sound: bytes, text: str | None = TEXT, **more: Any) -> Reply:
    body = {"audio_base64": base64.b64encode(sound).decode(), "normalized_alignment": None}
    return reply(200, {**body, "alignment": alignment_of(text) if text is not None else None, **more})


def good(engine: str) -> Reply:
    return eleven(wav(SOUND)) if engine == "elevenlabs" else reply(200, wav(SOUND), Content_Type="audio/wav")


def spoken(engine: str, service: ScriptedProvider, folder: Path, line: Line | None = None, **more: Any) -> tuple[Take, bytes]:
    out = folder / "line.wav"
    take = engine_named(engine, means_of(service, **more)).speak(line or Line(TEXT), out)
    return take, out.read_bytes()


def error_of(engine: str, service: ScriptedProvider, folder: Path, line: Line | None = None, **more: Any) -> SpeechError:
    with pytest.raises(SpeechError) as caught:
        spoken(engine, service, folder, line, **more)
    assert list(folder.iterdir()) == [], "a failed line leaves a file"
    assert "secret" not in caught.value.message
    return caught.value


ENGINES = pytest.mark.parametrize("engine", ["elevenlabs", "openai"])


# --- what is asked and what comes of it --------------------------------------------------------------------------------


@ENGINES
def test_the_sound_of_a_line_is_the_services_to_the_sample(engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING[engine], good(engine))
    take, content = spoken(engine, service, tmp_path)
    found, rate = samples_in(content)
    assert found == SOUND
    assert (take.samples, take.sample_rate) == (len(SOUND), rate) == (48_000, 24_000)
    assert [word.text for word in take.words] == ["Hello", "world,", "it", "is", "25", "°C —", "really?"]
    assert all(TEXT[w.char_start : w.char_end] == w.text for w in take.words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(take.words))
    assert all(0 <= w.start <= w.end <= 2.0 for w in take.words)


def test_elevenlabs_is_asked_as_its_reference_says_and_its_letters_time_the_words(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING["elevenlabs"], Reply(200, good("elevenlabs").body, {"Content-Type": "application/json", "character-cost": "17"}))
    line = Line(TEXT, voice=MINE, engine="elevenlabs", speed=1.1, style="0.3", stability=0.4, similarity=0.9, language="de-AT")
    take, _ = spoken("elevenlabs", service, tmp_path, line)
    asked = service.requests[0]
    assert asked.path == f"/v1/text-to-speech/{MINE}/with-timestamps"
    assert asked.query == {"output_format": "mp3_44100_128"}
    assert asked.headers["xi-api-key"] == "eleven-secret"
    assert asked.json == {
        "text": TEXT, "model_id": "eleven_multilingual_v2", "language_code": "de",
        "voice_settings": {"speed": 1.1, "style": 0.3, "stability": 0.4, "similarity_boost": 0.9},
    }  # fmt: skip
    assert (take.timing, take.characters, take.cost_usd, take.voice) == ("characters", 17, None, MINE)
    for word in take.words:
        assert word.start == pytest.approx(0.1 + 0.05 * word.char_start, abs=1e-3), "begins with its first letter"
        assert word.end == pytest.approx(min(0.1 + 0.05 * word.char_end, 2.0), abs=1e-3), "ends with its last"


def test_elevenlabs_voices_are_found_by_name(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("GET", "/v1/voices", reply(200, {"voices": [{"name": "Rachel - calm", "voice_id": MINE, "labels": {"language": "en"}}]}))
    service.on("POST", SPEAKING["elevenlabs"], good("elevenlabs"))
    means, out = means_of(service), tmp_path / "line.wav"
    for name in ("rachel", "Rachel - calm", "RACHEL"):
        assert engine_named("elevenlabs", means).speak(Line(TEXT, voice=name), out).voice == MINE
    assert len(service.asked("GET")) == 1, "asked for once for many lines"
    out.unlink()
    error = error_of("elevenlabs", service, tmp_path, Line(TEXT, voice="Nobody"))
    assert (error.code, "Rachel" in error.message) == ("VOICE_NOT_FOUND", True)
    engine = engine_named("elevenlabs", means_of(service))
    assert [(voice.name, voice.language, voice.about) for voice in engine.voices()] == [("Rachel - calm", "en", MINE)]


def test_pauses_are_the_ssml_that_elevenlabs_gets_and_words_keep_their_places(service: ScriptedProvider, tmp_path: Path) -> None:
    text = '<speak>Wait <break time="700ms"/> for it.</speak>'
    said = ' Wait <break time="0.70s" /> for it. '
    service.on("POST", SPEAKING["elevenlabs"], eleven(wav(SOUND), said))
    take, _ = spoken("elevenlabs", service, tmp_path, Line(text, ssml=True))
    assert service.requests[0].json["text"] == said
    assert [text[w.char_start : w.char_end] for w in take.words] == ["Wait", "for", "it."]
    assert take.timing == "characters"
    (tmp_path / "line.wav").unlink()
    for wrong in ("<phoneme ph='x'>a</phoneme>", "<script>alert(1)</script> a", "a <break"):
        assert error_of("elevenlabs", service, tmp_path, Line(wrong, ssml=True)).code == "SPEECH_SSML_REFUSED"


def test_markup_in_plain_text_is_words_to_elevenlabs(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING["elevenlabs"], eleven(wav(SOUND), None))
    spoken("elevenlabs", service, tmp_path, Line('a <break time="99s"/> b \x00\x01 1 < 2'))
    assert service.requests[0].json["text"] == 'a  break time="99s"/> b    1 < 2'


def test_openai_is_asked_as_its_reference_says_and_its_times_are_called_an_estimate(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING["openai"], good("openai"))
    line = Line(TEXT, voice="nova", speed=1.25, style="whisper it")
    take, _ = spoken("openai", service, tmp_path, line)
    assert service.requests[0].headers["authorization"] == "Bearer open-secret"
    assert service.requests[0].json == {
        "model": "gpt-4o-mini-tts", "input": TEXT, "voice": "nova", "response_format": "wav", "speed": 1.25, "instructions": "whisper it",
    }  # fmt: skip
    assert (take.timing, take.voice) == ("estimate", "nova")


def test_a_server_of_ones_own_needs_no_key_and_never_sees_openais(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", "/speech/v1/audio/speech", good("openai"))
    bases = {"openai_speech": f"{service.url}/speech/v1/"}
    spoken("openai", service, tmp_path, keys={"OPENAI_API_KEY": "open-secret"}, bases=bases, models={"openai": "kokoro"})
    spoken("openai", service, tmp_path, keys={"OPENAI_SPEECH_API_KEY": "own"}, bases=bases)
    assert [each.headers.get("authorization") for each in service.requests] == [None, "Bearer own"]
    assert service.requests[0].json["model"] == "kokoro"
    service.on("GET", "/speech/v1/audio/voices", reply(200, {"voices": ["bella", {"id": "adam"}]}), reply(404))
    engine = engine_named("openai", means_of(service, bases=bases))
    assert [voice.name for voice in engine.voices()] == ["adam", "bella"]
    assert "alloy" in [voice.name for voice in engine.voices()]
    plain = engine_named("openai", means_of(service))
    assert engine.version() != plain.version(), "another server is another sound"


@pytest.mark.parametrize(("form", "exact"), [("mp3", False), ("flac", True), ("ogg", False)])
def test_other_formats_than_asked_for_are_taken_at_their_full_length(form: str, exact: bool, service: ScriptedProvider, tmp_path: Path) -> None:
    """Gapless: what an MP3 or Opus encoder puts around the sound is no part of it."""
    rate = 48_000 if form == "ogg" else 24_000
    sound = samples(1.5, rate)
    service.on("POST", SPEAKING["openai"], reply(200, encoded(sound, form, rate, channels=2), Content_Type="audio/mpeg"))
    take, content = spoken("openai", service, tmp_path)
    found, kept = samples_in(content)
    assert (len(found), kept) == (len(sound), rate) == (take.samples, take.sample_rate)
    if exact:
        assert found == sound
    else:
        difference = sum(abs(a - b) for a, b in zip(found, sound, strict=True)) / len(sound)
        assert difference < 300, "the same sound at the same place"


def test_a_wav_that_was_written_while_it_was_spoken_is_taken_whole(service: ScriptedProvider, tmp_path: Path) -> None:
    whole = wav(SOUND)
    for unknown in (b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f"):
        streamed = whole[:4] + unknown + whole[8:40] + unknown + whole[44:]
        service.on("POST", SPEAKING["openai"], reply(200, streamed, Content_Type="audio/wav"))
        assert samples_in(spoken("openai", service, tmp_path)[1]) == (SOUND, 24_000)


def test_raw_samples_are_taken_when_they_are_called_so(service: ScriptedProvider, tmp_path: Path) -> None:
    """Also when they begin as an MP3 does: with -1, or with -1025."""
    for first in (0, -1, -1_025, -2_561):
        sound = array.array("h", [first, *SOUND])
        service.on("POST", SPEAKING["openai"], reply(200, sound.tobytes(), Content_Type="audio/pcm"))
        assert samples_in(spoken("openai", service, tmp_path)[1]) == (sound, 24_000)


# --- trouble ----------------------------------------------------------------------------------------------------------


@ENGINES
def test_a_refused_key_is_said_once_and_not_tried_again(engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING[engine], reply(401, {"detail": {"status": "invalid_api_key", "message": "no such key"}}))
    error = error_of(engine, service, tmp_path)
    assert error.code == "SPEECH_KEY_REFUSED"
    assert "no such key" in error.message
    assert len(service.requests) == 1


@ENGINES
def test_a_missing_key_is_named_before_anything_is_sent(engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    error = error_of(engine, service, tmp_path, keys={}, bases={})
    assert error.code == "SPEECH_KEY_MISSING"
    assert f"{'ELEVENLABS' if engine == 'elevenlabs' else 'OPENAI'}_API_KEY" in error.message
    assert error_of(engine, service, tmp_path, keys={"ELEVENLABS_API_KEY": "a\nb", "OPENAI_API_KEY": "ä"}, bases={}).code == "SPEECH_KEY_MISSING"
    assert service.requests == []


@ENGINES
def test_a_busy_service_is_asked_again_when_it_says(engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING[engine], reply(429, {}, Retry_After="7"), reply(429), good(engine))
    patience = Patience()
    spoken(engine, service, tmp_path, sleep=patience)
    assert patience.pauses == [7.0, 1.0], "as long as it asks for, and else a moment"
    assert len({each.body for each in service.requests}) == 1


@ENGINES
def test_a_service_that_stays_busy_or_asks_for_more_than_anybody_waits_is_given_up(engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING[engine], reply(429, {"error": {"message": "too many requests"}}))
    assert error_of(engine, service, tmp_path).code == "SPEECH_BUSY"
    assert len(service.requests) == TRIES
    patience = Patience()
    service.on("POST", SPEAKING[engine], reply(429, {}, Retry_After="3600"))
    error = error_of(engine, service, tmp_path, sleep=patience)
    assert (error.code, "3600" in error.message, patience.pauses) == ("SPEECH_BUSY", True, [])
    service.on("POST", SPEAKING[engine], reply(429, {}, Retry_After="40"))
    error_of(engine, service, tmp_path, sleep=patience)
    assert sum(patience.pauses) <= Means().patience_s


@ENGINES
@pytest.mark.parametrize("trouble", ["5xx", "cut", "gone"])
def test_trouble_that_passes_is_not_seen(trouble: str, engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    fine = good(engine)
    bad = {"5xx": reply(503, b"oops"), "cut": Reply(200, fine.body, fine.headers, cut=1000), "gone": hang_up()}[trouble]
    service.on("POST", SPEAKING[engine], bad, bad, fine)
    take, content = spoken(engine, service, tmp_path)
    assert samples_in(content)[0] == SOUND
    assert take.samples == len(SOUND)


@ENGINES
@pytest.mark.parametrize("trouble", ["5xx", "cut", "gone"])
def test_trouble_that_stays_is_one_sentence_and_no_file(trouble: str, engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    fine = good(engine)
    bad = {"5xx": reply(500, {"error": {"message": "model crashed"}}), "cut": Reply(200, fine.body, fine.headers, cut=1000), "gone": hang_up()}[trouble]
    service.on("POST", SPEAKING[engine], bad)
    error = error_of(engine, service, tmp_path)
    assert error.code == "SPEECH_UNAVAILABLE"
    assert len(service.requests) == TRIES
    assert ("model crashed" in error.message) == (trouble == "5xx")


def _wrong(engine: str) -> list[Reply]:
    if engine == "elevenlabs":
        sounds = [b"", b"<html>not a sound</html>", wav(SOUND)[:30], encoded(SOUND, "flac")[:300]]
        return [reply(200, {"alignment": alignment_of(TEXT)}), reply(200, {"audio_base64": "%%%"}), reply(200, b"<html></html>", Content_Type="text/html"),
                *(eleven(sound) for sound in sounds)]  # fmt: skip
    return [
        reply(200, b"", Content_Type="audio/wav"), reply(200, b"<html>not a sound</html>", Content_Type="text/html"),
        reply(200, {"error": "said with 200"}), reply(200, wav(SOUND), Content_Type="application/json"),
        reply(200, b"#EXTM3U\nfile:///etc/passwd", Content_Type="audio/mpegurl"), reply(200, wav(samples(0.0)), Content_Type="audio/wav"),
        reply(200, b"\xff\xfb" + bytes(50), Content_Type="audio/mpeg"), reply(200, wav(SOUND)[:-2_000], Content_Type="audio/wav"),
        reply(200, wav(SOUND, 1_000_000), Content_Type="audio/wav"), reply(200, encoded(SOUND, "flac")[:2_000], Content_Type="audio/flac"),
    ]  # fmt: skip


@pytest.mark.parametrize(("engine", "number"), [("elevenlabs", n) for n in range(7)] + [("openai", n) for n in range(10)])
def test_what_is_no_sound_is_refused_and_another_engine_may_speak(engine: str, number: int, service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING[engine], _wrong(engine)[number])
    error = error_of(engine, service, tmp_path)
    assert error.code == "SPEECH_AUDIO_INVALID"
    assert error.others_may


@pytest.mark.parametrize("alignment", [None, {}, {"characters": list(TEXT)}, {"characters": 1, "character_start_times_seconds": "x"}, {
    "characters": ["?"], "character_start_times_seconds": [None], "character_end_times_seconds": [None]}])  # fmt: skip
def test_missing_times_are_estimated_and_called_so(alignment: Any, service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING["elevenlabs"], eleven(wav(SOUND), None, alignment=alignment))
    take, _ = spoken("elevenlabs", service, tmp_path)
    assert take.timing == "estimate"
    assert [word.text for word in take.words] == ["Hello", "world,", "it", "is", "25", "°C —", "really?"]


def test_what_the_service_says_against_a_line_is_told_and_no_other_engine_hides_it(service: ScriptedProvider, tmp_path: Path) -> None:
    cases: list[tuple[str, Reply, str]] = [
        ("elevenlabs", reply(401, {"detail": {"status": "quota_exceeded", "message": "0 credits"}}), "SPEECH_QUOTA_EXCEEDED"),
        ("elevenlabs", reply(400, {"detail": {"status": "max_character_limit_exceeded", "message": "long"}}), "SPEECH_TOO_LONG"),
        ("elevenlabs", reply(404, {"detail": {"status": "voice_not_found", "message": "who?"}}), "VOICE_NOT_FOUND"),
        ("elevenlabs", reply(422, {"detail": [{"msg": "field required"}]}), "SPEECH_REFUSED"),
        ("openai", reply(429, {"error": {"code": "insufficient_quota", "message": "pay"}}), "SPEECH_QUOTA_EXCEEDED"),
        ("openai", reply(400, {"error": {"code": "content_policy_violation", "message": "no"}}), "SPEECH_TEXT_REFUSED"),
        ("openai", reply(400, b"\xff\xfe bad"), "SPEECH_REFUSED"),
        ("openai", reply(301, {}, Location="http://127.0.0.1/elsewhere"), "SPEECH_REFUSED"),
    ]
    for number, (engine, answer, code) in enumerate(cases, 1):
        service.on("POST", SPEAKING[engine], answer)
        assert error_of(engine, service, tmp_path).code == code
        assert len(service.requests) == number, "nothing that stays as it is is tried again"


@ENGINES
def test_a_line_that_no_service_takes_is_refused_before_it_is_sent(engine: str, service: ScriptedProvider, tmp_path: Path) -> None:
    for line, code in (
        (Line("x" * 1_000_000), "SPEECH_TOO_LONG"), (Line(" \n\t"), "SPEECH_EMPTY"), (Line("half \ud83d"), "SPEECH_TEXT_REFUSED"),
        (Line("x", speed=9), "SPEECH_SPEED_REFUSED"), (Line("x", pitch=1.5), "SPEECH_PITCH_REFUSED"), (Line("x", pitch=float("nan")), "SPEECH_PITCH_REFUSED"),
    ):  # fmt: skip
        assert error_of(engine, service, tmp_path, line).code == code
    if engine == "openai":
        assert error_of(engine, service, tmp_path, Line("<speak>x</speak>", ssml=True)).code == "SPEECH_SSML_REFUSED"
    else:
        assert error_of(engine, service, tmp_path, Line("x", style="cheerful")).code == "SPEECH_STYLE_REFUSED"
    assert service.requests == []


def test_an_address_inside_the_network_is_not_reached_unless_it_is_allowed(tmp_path: Path) -> None:
    from viralsync_pipelines.http import open_client

    with provider_server() as service, open_client() as guarded:
        error = error_of("openai", service, tmp_path, client=lambda: guarded)
        assert (error.code, service.requests) == ("SPEECH_UNAVAILABLE", [])


# --- one after the other ----------------------------------------------------------------------------------------------


def test_a_line_is_asked_for_once_and_then_found_without_a_key(service: ScriptedProvider, tmp_path: Path) -> None:
    store, line = LocalStore(tmp_path / "store"), Line(TEXT, engine="elevenlabs")
    service.on("POST", SPEAKING["elevenlabs"], good("elevenlabs"))
    first, hit = speak_cached(line, store, tmp_path, means=means_of(service))
    assert (hit, first.timing, first.characters, first.engine) == (False, "characters", len(TEXT), "elevenlabs")
    assert speak_cached(line, store, tmp_path, means=Means()) == (first, True)
    assert len(service.requests) == 1
    assert type(first).from_json(first.as_json()) == first


def test_fallbacks_speak_in_turn_and_the_first_that_can_is_named(service: ScriptedProvider, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    service.on("POST", SPEAKING["elevenlabs"], reply(500))
    service.on("POST", SPEAKING["openai"], reply(401))
    line = Line(TEXT, engine="elevenlabs", voice=MINE, style="0.5", fallback=("openai/nova", "espeak/de"))
    spoken_by, hit = speak_cached(line, store, tmp_path, means=means_of(service))
    assert (spoken_by.engine, spoken_by.voice, spoken_by.timing, hit) == ("espeak", "de", "native", False)
    assert spoken_by.line_key == line.key
    assert [(each.path, each.json.get("voice")) for each in service.requests[-1:]] == [("/v1/audio/speech", "nova")]
    service.on("POST", SPEAKING["elevenlabs"], good("elevenlabs"))
    again, _ = speak_cached(line, store, tmp_path, means=means_of(service))
    assert again.engine == "elevenlabs", "who was asked for speaks as soon as it can"


def test_no_fallback_hides_a_fault_of_the_text(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING["elevenlabs"], reply(400, {"detail": {"status": "content_against_policy", "message": "no"}}))
    with pytest.raises(SpeechError) as caught:
        speak_cached(Line(TEXT, engine="elevenlabs", fallback=("espeak",)), LocalStore(tmp_path / "store"), tmp_path, means=means_of(service))
    assert caught.value.code == "SPEECH_TEXT_REFUSED"


def test_a_fallback_that_is_no_engine_is_told_before_it_is_needed(service: ScriptedProvider, tmp_path: Path) -> None:
    with pytest.raises(SpeechError, match="'edge'") as caught:
        speak_cached(Line(TEXT, fallback=("edgy/x",)), LocalStore(tmp_path / "store"), tmp_path, means=means_of(service))
    assert (caught.value.code, caught.value.pointer) == ("ENGINE_NOT_FOUND", "fallback")


def test_when_every_engine_fails_each_says_why(service: ScriptedProvider, tmp_path: Path) -> None:
    service.on("POST", SPEAKING["openai"], reply(503))
    line = Line(TEXT, engine="elevenlabs", fallback=("openai", "piper"))
    with pytest.raises(SpeechError) as caught:
        speak_cached(line, LocalStore(tmp_path / "store"), tmp_path, means=means_of(service, keys={"OPENAI_API_KEY": "x"}))
    assert caught.value.code == "SPEECH_KEY_MISSING"
    assert all(part in caught.value.message for part in ("ELEVENLABS_API_KEY", "openai answered 503", "piper"))
