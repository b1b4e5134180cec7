"""What users of voices on their own machine are promised. Piper's and Kokoro's packages are stand-ins here: their models weigh too much.

They stand where the real ones are imported, with the calls and values that piper-tts 1.8 and kokoro-onnx 0.6 have; all else is ours.
"""

from __future__ import annotations

import array
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.soundbites import samples, samples_in
from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.speech.cache import digest_of
from viralsync_pipelines.speech.engine import ENGINES, Means, SpeechEngine, engine_named
from viralsync_pipelines.speech.espeak import EspeakEngine

# Begins with -1, as an MP3 does.
SOUND = array.array("h", [-1, *samples(0.5, 22_050)[1:]])


class FakePiper(ModuleType):
    """Says one chunk for each sentence; `asked` holds (model, text, manner). timed: a model that tells how long its phonemes last."""

    def __init__(self) -> None:
        super().__init__("piper")
        self.asked: list[tuple[str, str, Any]] = []
        self.loaded: list[str] = []
        self.timed = False
        outer = self

        class PiperVoice:
            def __init__(self, path: Path) -> None:
                self.path = path

            @staticmethod
            def load(path: Path, include_alignments: bool) -> PiperVoice:
                assert include_alignments
                if path.read_bytes() == b"broken":
                    raise RuntimeError("INVALID_PROTOBUF")
                outer.loaded.append(path.stem)
                return PiperVoice(path)

            def synthesize(self, text: str, syn_config: Any, include_alignments: bool) -> Iterator[Any]:
                outer.asked.append((self.path.stem, text, syn_config))
                for sentence in filter(str.strip, text.split(".")):
                    count = 2 * len(sentence.split()) + 1
                    parts = ["^", *" ".join("æˈ" for _ in sentence.split()), "$"]
                    alignments = [SimpleNamespace(phoneme=each, num_samples=len(SOUND) // (count + count)) for each in parts] if outer.timed else None
                    yield SimpleNamespace(audio_int16_bytes=SOUND.tobytes(), sample_rate=22_050, sample_width=2, sample_channels=1, phoneme_alignments=alignments)

        self.PiperVoice = PiperVoice
        self.SynthesisConfig = SimpleNamespace


@pytest.fixture
def piper(monkeypatch: pytest.MonkeyPatch) -> FakePiper:
    package = FakePiper()
    monkeypatch.setitem(sys.modules, "piper", package)
    return package


def voice_file(folder: Path, name: str, language: str, **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.onnx").write_bytes(b"model")
    told = {"language": {"code": language}, "num_speakers": 1, "inference": {"length_scale": 1.2}, **more}
    (folder / f"{name}.onnx.json").write_text(json.dumps(told), encoding="utf-8")


def voices_of(folder: Path) -> Means:
    voice_file(folder / "de", "de_DE-thorsten-medium", "de_DE")
    voice_file(folder, "en_US-libri-high", "en_US", num_speakers=3, speaker_id_map={"anna": 2})
    (folder / "stray.onnx").write_bytes(b"no settings beside it")
    return Means(folders={"piper": (folder,)})


def code_of(engine: SpeechEngine, line: Line, folder: Path) -> str:
    with pytest.raises(SpeechError) as caught:
        engine.speak(line, folder / "never.wav")
    assert not (folder / "never.wav").exists()
    return caught.value.code


# --- Piper ------------------------------------------------------------------------------------------------------------


def test_piper_speaks_with_the_model_of_a_name_or_a_language(piper: FakePiper, tmp_path: Path) -> None:
    engine = engine_named("piper", voices_of(tmp_path / "voices"))
    assert [(voice.name, voice.language, voice.about) for voice in engine.voices()] == [
        ("de_DE-thorsten-medium", "de-DE", ""), ("en_US-libri-high", "en-US", "3 speakers"),
    ]  # fmt: skip
    out = tmp_path / "line.wav"
    take = engine.speak(Line("One, two. Three!", voice="en_US-libri-high#anna", speed=1.5), out)
    found, rate = samples_in(out.read_bytes())
    assert (found, rate, take.samples) == (SOUND * 2, 22_050, 2 * len(SOUND))
    assert (take.timing, [word.text for word in take.words]) == ("estimate", ["One,", "two.", "Three!"])
    model, _, manner = piper.asked[0]
    assert (model, manner.speaker_id, manner.length_scale) == ("en_US-libri-high", 2, pytest.approx(0.8))
    for line, model in (
        (Line("x", language="de-AT"), "de_DE-thorsten-medium"), (Line("x"), "de_DE-thorsten-medium"), (Line("x", language="en"), "en_US-libri-high"),
        (Line("x", voice="en_US-libri-high#1"), "en_US-libri-high"),
    ):  # fmt: skip
        assert engine.speak(line, out).voice == model
    assert len(piper.loaded) == 2, "each model is loaded once"
    engine.speak(Line("x", style="steady"), out)
    assert piper.asked[-1][2].noise_scale == 0


def test_piper_times_words_by_its_phonemes_where_the_model_tells_them(piper: FakePiper, tmp_path: Path) -> None:
    piper.timed = True
    engine = engine_named("piper", voices_of(tmp_path / "voices"))
    take = engine.speak(Line("One two. Three!"), tmp_path / "line.wav")
    assert (take.timing, [word.text for word in take.words]) == ("native", ["One", "two.", "Three!"])
    step = len(SOUND) // 10 / 22_050
    assert [word.start for word in take.words[:2]] == pytest.approx([step, 4 * step], abs=1e-3)
    assert take.words[2].start == pytest.approx(0.5 + len(SOUND) // 6 / 22_050, abs=1e-3), "the second sentence begins after the first one's sound"


def test_piper_says_what_is_wrong_with_voices_and_models(piper: FakePiper, tmp_path: Path) -> None:
    means = voices_of(tmp_path / "voices")
    engine = engine_named("piper", means)
    for line, code in (
        (Line("x", voice="stray"), "VOICE_NOT_FOUND"), (Line("x", voice="../../../etc/passwd"), "VOICE_NOT_FOUND"),
        (Line("x", voice="en_US-libri-high#3"), "VOICE_NOT_FOUND"), (Line("x", language="fr"), "VOICE_NOT_FOUND"),
        (Line("x", pitch=1.2), "SPEECH_PITCH_REFUSED"), (Line("x", speed=3), "SPEECH_SPEED_REFUSED"), (Line("x", style="sad"), "SPEECH_STYLE_REFUSED"),
        (Line("<speak>x</speak>", ssml=True), "SPEECH_SSML_REFUSED"), (Line("..."), "SPEECH_AUDIO_INVALID"), (Line("x" * 1_000_000), "SPEECH_TOO_LONG"),
    ):  # fmt: skip
        assert code_of(engine, line, tmp_path) == code
    assert code_of(engine_named("piper"), Line("x"), tmp_path) == "SPEECH_ENGINE_MISSING"
    before = digest_of(Line("x"), engine)
    (tmp_path / "voices" / "de" / "de_DE-thorsten-medium.onnx").write_bytes(b"broken")
    assert code_of(engine, Line("x"), tmp_path) == "SPEECH_ENGINE_MISSING"
    assert digest_of(Line("x"), engine) != before, "another model is another sound"


# --- Kokoro -----------------------------------------------------------------------------------------------------------


class FakeKokoro(ModuleType):
    """Says half a second for each word; tells phonemes when `timed`."""

    def __init__(self, timed: bool) -> None:
        super().__init__("kokoro_onnx")
        self.asked: list[tuple[str, str, float, str]] = []
        self.loads = 0
        outer = self

        class Kokoro:
            def __init__(self, model: str, voices: str) -> None:
                assert Path(model).is_file()
                assert Path(voices).is_file()
                outer.loads += 1

            def get_voices(self) -> list[str]:
                return ["bf_emma", "af_heart", "ef_dora", "am_adam"]

            def create(self, text: str, voice: str, speed: float = 1.0, lang: str = "en-us") -> tuple[Any, int]:
                outer.asked.append((text, voice, speed, lang))
                if text == "boom":
                    raise ValueError("Nothing to synthesize")
                return np.full(12_000 * len(text.split()), 1.5, dtype=np.float32), 24_000

        def create_timed(self: Kokoro, text: str, voice: str, **more: Any) -> tuple[Any, int, list[Any]]:
            sound, rate = self.create(text, voice, **more)
            spoken = []
            for number in range(len(text.split())):
                at = number * 0.5
                spoken += [SimpleNamespace(phoneme="ə", start=at + 0.1, end=at + 0.2), SimpleNamespace(phoneme="t", start=at + 0.2, end=at + 0.4),
                           SimpleNamespace(phoneme=",", start=at + 0.4, end=at + 0.45), SimpleNamespace(phoneme=" ", start=at + 0.45, end=at + 0.5)]  # fmt: skip
            return sound, rate, spoken

        if timed:
            Kokoro.create_timed = create_timed  # type: ignore[attr-defined]
        self.Kokoro = Kokoro


@pytest.mark.parametrize("timed", [True, False])
def test_kokoro_times_words_by_its_phonemes_and_estimates_where_it_tells_none(timed: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = FakeKokoro(timed)
    monkeypatch.setitem(sys.modules, "kokoro_onnx", package)
    for name in ("kokoro-v1.0.onnx", "voices-v1.0.bin"):
        (tmp_path / name).write_bytes(b"x")
    engine = engine_named("kokoro", Means(folders={"kokoro": (tmp_path / "none", tmp_path)}))
    assert [(voice.name, voice.language) for voice in engine.voices()] == [
        ("af_heart", "en-US"), ("am_adam", "en-US"), ("bf_emma", "en-GB"), ("ef_dora", "es"),
    ]  # fmt: skip
    out = tmp_path / "line.wav"
    take = engine.speak(Line("Hello there, you", language="en-GB", speed=0.8), out)
    assert package.asked[-1] == ("Hello there, you", "bf_emma", 0.8, "en-gb")
    assert (take.samples, take.sample_rate, take.voice) == (36_000, 24_000, "bf_emma")
    assert set(samples_in(out.read_bytes())[0]) == {32_767}, "what is too loud is clipped and does not wrap"
    assert [word.text for word in take.words] == ["Hello", "there,", "you"]
    assert take.timing == ("native" if timed else "estimate")
    if timed:
        assert [(word.start, word.end) for word in take.words] == [(0.1, 0.4), (0.6, 0.9), (1.1, 1.4)]
    assert engine.speak(Line("x"), out).voice == "af_heart"
    assert code_of(engine, Line("boom"), tmp_path) == "SPEECH_FAILED"
    assert code_of(engine, Line("x", voice="zz_none"), tmp_path) == "VOICE_NOT_FOUND"
    assert code_of(engine, Line("x", language="de"), tmp_path) == "VOICE_NOT_FOUND"
    assert code_of(engine_named("kokoro"), Line("x"), tmp_path) == "SPEECH_ENGINE_MISSING"
    assert package.loads == 1


@pytest.mark.parametrize(("engine", "module"), [("piper", "piper"), ("kokoro", "kokoro_onnx"), ("edge", "edge_tts")])
def test_a_missing_package_is_one_sentence_that_names_the_extra(engine: str, module: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    opened = engine_named(engine)
    with pytest.raises(SpeechError) as caught:
        opened.speak(Line("x"), tmp_path / "never.wav")
    assert caught.value.code == "SPEECH_ENGINE_MISSING"
    assert caught.value.message == f"the speech engine {engine!r} is not installed; run: pip install 'viralsync-pipelines[{engine}]'"
    with pytest.raises(SpeechError, match=r"pip install"):
        opened.voices()
    assert opened.version(), "what was spoken before is found without the package"


def test_the_extras_that_sentences_name_are_there() -> None:
    import tomllib

    extras = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    assert {"edge", "piper", "kokoro"} <= set(extras)


def test_every_engine_opens_with_nothing_and_costs_no_import() -> None:
    code = (
        "import sys\nfrom viralsync_pipelines.speech.engine import ENGINES, engine_named\n"
        "names = [engine_named(name).name for name in ENGINES]\n"
        "print(names == list(ENGINES), [m for m in ('httpx', 'numpy', 'av', 'aiohttp', 'edge_tts', 'asyncio') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True []"
    assert len(ENGINES) == 6


# --- the embedded one ---------------------------------------------------------------------------------------------------


def test_equal_lines_are_equal_bytes_in_every_process(tmp_path: Path) -> None:
    code = (
        "import hashlib, sys\nfrom pathlib import Path\nfrom viralsync_pipelines.movie.script import Line\n"
        "from viralsync_pipelines.speech.espeak import EspeakEngine\n"
        "EspeakEngine().speak(Line('She sells sea shells, 25 of them.', pitch=1.3, language='en-GB'), Path(sys.argv[1]))\n"
        "print(hashlib.sha256(Path(sys.argv[1]).read_bytes()).hexdigest())"
    )
    found = {
        subprocess.run([sys.executable, "-c", code, str(tmp_path / f"{n}.wav")], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": str(n), "TZ": f"UTC{n}"}).stdout
        for n in range(3)
    }  # fmt: skip
    assert len(found) == 1


def test_pitch_raises_and_lowers_the_voice(tmp_path: Path) -> None:
    def height(pitch: float) -> float:
        out = tmp_path / f"{pitch}.wav"
        EspeakEngine().speak(Line("aaaaah, a long vowel", pitch=pitch), out)
        part = np.array(samples_in(out.read_bytes())[0][3_000 : 3_000 + 8_192], dtype=float)
        likeness = np.correlate(part - part.mean(), part - part.mean(), "full")[8_191:]
        return 22_050 / (60 + int(np.argmax(likeness[60:500])))

    low, normal, high = height(0.6), height(1.0), height(1.6)
    assert normal * 0.55 < low < normal * 0.8
    assert normal * 1.3 < high < normal * 1.7
    assert code_of(EspeakEngine(), Line("x", pitch=3), tmp_path) == "SPEECH_PITCH_REFUSED"


@pytest.mark.parametrize(("language", "voice"), [("de", "de"), ("de-AT", "de"), ("pt-BR", "pt-br"), ("zh-Hans-CN", "cmn"), ("tlh-x", "en-us"), (None, "en-us")])
def test_a_line_without_a_voice_is_said_in_its_language(language: str | None, voice: str, tmp_path: Path) -> None:
    assert EspeakEngine().speak(Line("1 2", language=language), tmp_path / "a.wav").voice == voice


@pytest.mark.parametrize("text", [
    "\x00\x01\x02 one \x1b[2J two \x7f\x80\x9f", "<speak><audio src='file:///etc/passwd'/></speak> three", "[[h@'loU]] four \ufeff\u202e\u2066 five",
    "<break time='9999999s'/> six &lt; &amp; &#0;", "a" * 5_000, "\U0010ffff" * 50 + " seven", "%s%n%d {0} ${HOME} `id` eight", "🙂" * 500 + " nine",
])  # fmt: skip
def test_hostile_text_is_spoken_as_words_in_bounded_sound(text: str, tmp_path: Path) -> None:
    take = EspeakEngine().speak(Line(text), tmp_path / "a.wav")
    assert 0 < take.samples < 900 * take.sample_rate
    assert all(text[word.char_start : word.char_end].strip() for word in take.words)


def test_a_megabyte_of_anything_is_refused_before_a_process_is_started(tmp_path: Path) -> None:
    engine = EspeakEngine(python="/nonexistent/python")
    for text in ("x" * 1_000_000, "<speak>" * 150_000, "\x00" * 1_000_000, "😀" * 250_000):
        assert code_of(engine, Line(text), tmp_path) == "SPEECH_TOO_LONG"
        assert code_of(engine, Line(text, ssml=True), tmp_path) == "SPEECH_TOO_LONG"
    for text in ("<speak><audio src='file:///etc/passwd'/></speak>", "<!DOCTYPE a [<!ENTITY b 'c'>]><speak>&b;</speak>", "<speak><sub alias=''>x</sub></speak>"):
        assert code_of(engine, Line(text, ssml=True), tmp_path) == "SPEECH_SSML_REFUSED"
