"""What users of Edge's voices are promised. The package is real, and so is the websocket; only the address of the service is ours."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.servers.edge import Said, ScriptedEdge, edge_server, refused, said
from tests.servers.provider import provider_server, reply
from tests.soundbites import encoded, samples, samples_in
from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.speech.edge import TRIES, EdgeEngine
from viralsync_pipelines.speech.engine import Means, Take

TEXT = "Hello world, it costs 25 & more <really>."
# It tells words without their punctuation, and says numbers as they are written.
WORDS = [("Hello", 0.1, 0.3), ("world", 0.45, 0.3), ("it", 0.9, 0.1), ("costs", 1.0, 0.2), ("25", 1.2, 0.3), ("&amp;", 1.5, 0.05), ("more", 1.55, 0.2), ("really", 1.8, 0.15)]
SOUND = samples(2.0)
MP3 = encoded(SOUND, "mp3")


@pytest.fixture
def edge(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedEdge]:
    with edge_server() as found:
        monkeypatch.setattr("edge_tts.communicate.WSS_URL", found.url)
        yield found


def spoken(folder: Path, line: Line | None = None, pauses: list[float] | None = None) -> tuple[Take, bytes]:
    taken = pauses if pauses is not None else []
    take = EdgeEngine(Means(sleep=taken.append)).speak(line or Line(TEXT), folder / "line.wav")
    return take, (folder / "line.wav").read_bytes()


def error_of(folder: Path, line: Line | None = None, pauses: list[float] | None = None) -> SpeechError:
    with pytest.raises(SpeechError) as caught:
        spoken(folder, line, pauses)
    assert list(folder.iterdir()) == []
    return caught.value


def test_words_have_the_times_that_the_service_tells_of_each(edge: ScriptedEdge, tmp_path: Path) -> None:
    edge.script(said(WORDS, MP3))
    take, content = spoken(tmp_path, Line(TEXT, voice="en-GB-SoniaNeural", speed=1.2, pitch=0.9))
    assert len(samples_in(content)[0]) == take.samples == len(SOUND)
    assert [word.text for word in take.words] == ["Hello", "world,", "it", "costs", "25 &", "more", "<really>."]
    assert [word.start for word in take.words] == [0.1, 0.45, 0.9, 1.0, 1.2, 1.55, 1.8]
    assert [word.end for word in take.words] == [0.4, 0.75, 1.0, 1.2, 1.55, 1.75, 1.95]
    assert all(a.end <= b.start for a, b in itertools.pairwise(take.words))
    assert (take.timing, take.cost_usd, take.voice) == ("native", 0.0, "en-GB-SoniaNeural")
    config, ssml = edge.asked[0]
    assert '"wordBoundaryEnabled":"true"' in config.replace(" ", ""), "its default is a boundary a sentence"
    assert "(en-GB, SoniaNeural)" in ssml
    assert "pitch='-18Hz' rate='+20%'" in ssml
    assert "25 &amp; more &lt;really&gt;." in ssml


def test_text_and_voice_cannot_bring_markup_of_their_own(edge: ScriptedEdge, tmp_path: Path) -> None:
    edge.script(said([], MP3))
    spoken(tmp_path, Line("a</prosody><voice name='x'>b \x00\x07 ]]>", voice="en-US-AriaNeural"))
    assert edge.asked[0][1].count("<voice") == 1
    (tmp_path / "line.wav").unlink()
    for voice in ("en-US-'/><break time='9s'/>Neural", "nobody", "en-US-AriaNeural\n", "../../etc/passwd"):
        assert error_of(tmp_path, Line("x", voice=voice)).code == "VOICE_NOT_FOUND"
    assert error_of(tmp_path, Line("<speak>x</speak>", ssml=True)).code == "SPEECH_SSML_REFUSED"
    assert error_of(tmp_path, Line("x" * 1_000_000)).code == "SPEECH_TOO_LONG"
    assert edge.connections == 1


def test_missing_times_are_estimated_and_called_so(edge: ScriptedEdge, tmp_path: Path) -> None:
    edge.script(said([], MP3))
    take, _ = spoken(tmp_path)
    assert (take.timing, len(take.words)) == ("estimate", 7)


@pytest.mark.parametrize(("bad", "pauses"), [
    (refused(503), [1.0]), (refused(429, Retry_After="5"), [5.0]), (said(WORDS, b""), [1.0]), (said(WORDS, MP3, cut=5), [1.0]), (said(WORDS, MP3, cut=0), [1.0]),
    (Said(messages=["Path:audio.metadata\r\n\r\n{}"]), [1.0]), (Said(messages=["garbage"]), [1.0]),
])  # fmt: skip
def test_trouble_that_passes_is_not_seen(bad: Said, pauses: list[float], edge: ScriptedEdge, tmp_path: Path) -> None:
    edge.script(bad, said(WORDS, MP3))
    found: list[float] = []
    take, _ = spoken(tmp_path, pauses=found)
    assert (take.timing, take.samples, found) == ("native", len(SOUND), pauses)


@pytest.mark.parametrize(("bad", "code", "tries"), [
    (refused(401), "SPEECH_KEY_REFUSED", 1), (refused(429), "SPEECH_BUSY", TRIES), (refused(429, Retry_After="900"), "SPEECH_BUSY", 1),
    (refused(500), "SPEECH_UNAVAILABLE", TRIES), (said(WORDS, MP3, cut=5), "SPEECH_UNAVAILABLE", TRIES), (said(WORDS, b""), "SPEECH_AUDIO_INVALID", TRIES),
    (said(WORDS, b"<html>no sound</html>"), "SPEECH_AUDIO_INVALID", 1), (Said(messages=["Path:audio.metadata\r\n\r\n{}"]), "SPEECH_UNAVAILABLE", TRIES),
])  # fmt: skip
def test_trouble_that_stays_is_one_sentence_no_file_and_for_another_engine(bad: Said, code: str, tries: int, edge: ScriptedEdge, tmp_path: Path) -> None:
    edge.script(bad)
    error = error_of(tmp_path)
    assert (error.code, error.others_may) == (code, True)
    assert edge.connections == tries


def test_a_line_without_a_voice_is_said_by_one_of_its_language(edge: ScriptedEdge, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    listed: list[dict[str, Any]] = [
        {"ShortName": f"{locale}-{name}Neural", "Locale": locale, "Gender": "Female"} for locale, name in (("de-AT", "Ingrid"), ("de-DE", "Katja"), ("pt-BR", "Ana"))
    ]  # fmt: skip
    edge.script(said([], MP3))
    with provider_server() as service:
        service.on("GET", "/voices", reply(200, listed))
        monkeypatch.setattr("edge_tts.voices.VOICE_LIST", f"{service.url}/voices?x=1")
        for language, voice in (("de-DE", "de-DE-KatjaNeural"), ("de", "de-AT-IngridNeural"), ("pt-PT", "pt-BR-AnaNeural"), (None, "en-US-EmmaMultilingualNeural")):
            assert spoken(tmp_path, Line("x", language=language))[0].voice == voice
        (tmp_path / "line.wav").unlink()
        assert error_of(tmp_path, Line("x", language="tlh")).code == "VOICE_NOT_FOUND"
        first = EdgeEngine(Means()).voices()[0]
        assert (first.name, first.language, first.about) == ("de-AT-IngridNeural", "de-AT", "female")


def test_without_the_package_one_sentence_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "edge_tts", None)
    error = error_of(tmp_path)
    assert (error.code, "pip install 'viralsync-pipelines[edge]'" in error.message) == ("SPEECH_ENGINE_MISSING", True)
