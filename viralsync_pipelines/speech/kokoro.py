"""Kokoro (extra `kokoro`): one neural model of many voices on this machine, from the folder of VIRALSYNC_KOKORO_MODELS.

What belongs here: finding its two files and asking the package. What does not: estimates (estimate.py). Models that were exported with
durations tell when each phoneme is spoken, and with that when each word is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line, Timing
from viralsync_pipelines.speech.engine import Means, Take, Voice, extra_missing, one_of, refuse_markup, refuse_unspeakable, within
from viralsync_pipelines.speech.engine import without_controls as plain
from viralsync_pipelines.speech.estimate import estimated_words
from viralsync_pipelines.speech.phonemes import Phoneme, words_by_phonemes
from viralsync_pipelines.speech.sound import kept_samples

SETTING = "VIRALSYNC_KOKORO_MODELS"
DEFAULT_VOICE = "af_heart"
# By the first letter of a voice; what the phonemizer is told, and BCP-47.
_LANGUAGES = {
    "a": ("en-us", "en-US"), "b": ("en-gb", "en-GB"), "e": ("es", "es"), "f": ("fr-fr", "fr-FR"), "h": ("hi", "hi"), "i": ("it", "it"),
    "j": ("ja", "ja"), "p": ("pt-br", "pt-BR"), "z": ("cmn", "zh"),
}  # fmt: skip


def opened(means: Means) -> KokoroEngine:
    return KokoroEngine(means)


@dataclass(frozen=True)
class KokoroEngine:
    """24 kHz. Voices such as "af_heart"; without one the first of the line's language. speed 0.5 to 2; no pitch, no styles."""

    means: Means
    name: str = "kokoro"

    def version(self) -> str:
        """Of the package, and which files of which size and time speak."""
        files = self._files()
        told = "-".join(f"{path.name}.{path.stat().st_size}.{path.stat().st_mtime_ns}" for path in files) if files else "none"
        try:
            return f"{version('kokoro-onnx')}-{told}"
        except PackageNotFoundError:
            return f"none-{told}"

    def voices(self) -> tuple[Voice, ...]:
        return tuple(Voice(name, _language_of(name)) for name in sorted(self._model().get_voices()))

    def speak(self, line: Line, out: Path) -> Take:
        """See SpeechEngine.speak."""
        refuse_unspeakable(line)
        refuse_markup(line, self.name)
        speed = within(line, self.name, "speed", 0.5, 2)
        within(line, self.name, "pitch", 1, 1)
        model = self._model()
        voice = _chosen(line, sorted(model.get_voices()))
        language = _LANGUAGES.get(voice[:1], _LANGUAGES["a"])[0]
        try:
            sound, rate, spoken = _spoken(model, plain(line.text), voice, speed, language)
        except Exception as error:  # onnxruntime and the phonemizer raise a dozen kinds of their own
            raise SpeechError(f"kokoro could not speak with {voice!r}: {error}; change the text or the voice") from error
        samples = kept_samples(_sixteen_bits(sound), int(rate), out, self.name)
        words = words_by_phonemes(line.text, [Phoneme(each.phoneme, each.start, each.end) for each in spoken], len(samples) / rate)
        timing: Timing = "native"
        if not words:
            words, timing = estimated_words(line.text, samples, rate), "estimate"
        return Take(len(samples), rate, words, voice, timing)

    def _files(self) -> tuple[Path, Path] | None:
        """The model and its voices, of the first folder that has both."""
        for folder in self.means.folders.get(self.name, ()):
            models, voices = sorted(folder.glob("kokoro*.onnx")), sorted(folder.glob("voices*.bin"))
            if models and voices:
                return models[-1], voices[-1]
        return None

    def _model(self) -> Any:
        try:
            import kokoro_onnx
        except ImportError as error:
            raise extra_missing("kokoro") from error
        files = self._files()
        if files is None:
            told = f"engine 'kokoro' has no model: set {SETTING} to the folder of its kokoro*.onnx and voices*.bin"
            raise SpeechError(told, code="SPEECH_ENGINE_MISSING")
        return _loaded(kokoro_onnx, *files)


@lru_cache(maxsize=1)
def _loaded(package: Any, model: Path, voices: Path) -> Any:
    """Loading takes two seconds and 300 MB."""
    try:
        return package.Kokoro(str(model), str(voices))
    except Exception as error:  # onnxruntime's own
        told = f"kokoro's model cannot be loaded ({error}); download {model.name} again"
        raise SpeechError(told, code="SPEECH_ENGINE_MISSING") from error


def _chosen(line: Line, voices: Sequence[str]) -> str:
    if line.voice is not None:
        if line.voice not in voices:
            told = f"engine 'kokoro' has no voice {line.voice[:64]!r}; use {one_of(dict.fromkeys(voices), line.voice)}"
            raise SpeechError(told, code="VOICE_NOT_FOUND")
        return line.voice
    wanted = (line.language or "en-US").lower()
    exact = [name for name in voices if _language_of(name).lower() == wanted]
    near = exact or [name for name in voices if _language_of(name).lower().split("-")[0] == wanted.split("-")[0]]
    if not near:
        raise SpeechError(f"engine 'kokoro' has no voice for the language {line.language!r}; name another engine", code="VOICE_NOT_FOUND")
    return DEFAULT_VOICE if DEFAULT_VOICE in near else near[0]


def _language_of(voice: str) -> str:
    return _LANGUAGES.get(voice[:1], ("", ""))[1]


def _spoken(model: Any, text: str, voice: str, speed: float, language: str) -> tuple[Any, int, Sequence[Any]]:
    timed = getattr(model, "create_timed", None)  # since 0.6
    if timed is not None:
        sound, rate, spoken = timed(text, voice, speed=speed, lang=language)
        return sound, rate, spoken
    sound, rate = model.create(text, voice, speed=speed, lang=language)
    return sound, rate, ()


def _sixteen_bits(sound: Any) -> bytes:
    import numpy as np

    found: bytes = np.round(np.clip(np.asarray(sound, dtype=np.float64), -1, 1) * 32_767).astype("<i2").tobytes()
    return found
