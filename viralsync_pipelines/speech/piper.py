"""Piper (extra `piper`): neural voices on this machine, one model file each, from the folders of VIRALSYNC_PIPER_MODELS.

What belongs here: finding voices and asking the package. What does not: estimates (estimate.py). Most models tell how long each phoneme
lasts, and with that when each word is heard, given the onnx package; the extra brings it.
"""

from __future__ import annotations

import hashlib
import json
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

SETTING = "VIRALSYNC_PIPER_MODELS"


def opened(means: Means) -> PiperEngine:
    return PiperEngine(means)


@dataclass(frozen=True)
class PiperEngine:
    """A voice is the name of its model ("en_US-lessac-medium"), with a speaker after # where it has several ("...#12").

    Without a voice: the first of the line's language, else the first. speed 0.5 to 2; no pitch. style: "steady" takes the chance out.
    """

    means: Means
    name: str = "piper"

    def version(self) -> str:
        """Of the package, and which files of which size and time the voices are."""
        files = {name: (path.stat().st_size, path.stat().st_mtime_ns) for name, path in self._models().items()}
        digest = hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()[:12]
        try:
            return f"{version('piper-tts')}-{digest}"
        except PackageNotFoundError:
            return f"none-{digest}"

    def voices(self) -> tuple[Voice, ...]:
        self._loaded_package()
        return tuple(Voice(name, _language(path), _about(path)) for name, path in sorted(self._needed_models().items()))

    def speak(self, line: Line, out: Path) -> Take:
        """See SpeechEngine.speak."""
        refuse_unspeakable(line)
        refuse_markup(line, self.name)
        speed = within(line, self.name, "speed", 0.5, 2)
        within(line, self.name, "pitch", 1, 1)
        if line.style not in {None, "steady"}:
            raise SpeechError("engine 'piper' has the one style 'steady'; leave `style` out", code="SPEECH_STYLE_REFUSED")
        package = self._loaded_package()
        name, speaker = self._chosen(line)
        path = self._models()[name]
        voice = _voice_at(package, path, path.stat().st_mtime_ns)
        chance = {"noise_scale": 0.0, "noise_w_scale": 0.0} if line.style == "steady" else {}
        manner = package.SynthesisConfig(speaker_id=speaker, length_scale=_length(path) / speed, **chance)
        sound, rate, spoken = bytearray(), 22_050, list[Phoneme]()
        try:
            for chunk in voice.synthesize(plain(line.text), syn_config=manner, include_alignments=True):
                spoken += _phonemes(chunk, len(sound) // 2)
                sound += chunk.audio_int16_bytes
                rate = chunk.sample_rate
        except Exception as error:  # onnxruntime and the phonemizer raise a dozen kinds of their own
            raise SpeechError(f"piper could not speak with {name!r}: {error}; try another voice") from error
        samples = kept_samples(bytes(sound), rate, out, self.name)
        words = words_by_phonemes(line.text, spoken, len(samples) / rate)
        timing: Timing = "native"
        if not words:
            words, timing = estimated_words(line.text, samples, rate), "estimate"
        return Take(len(samples), rate, words, name, timing)

    def _loaded_package(self) -> Any:
        try:
            import piper
        except ImportError as error:
            raise extra_missing("piper") from error
        return piper

    def _models(self) -> dict[str, Path]:
        folders = self.means.folders.get(self.name, ())
        return {path.stem: path for folder in reversed(folders) for path in sorted(folder.rglob("*.onnx")) if _settings(path)}

    def _needed_models(self) -> dict[str, Path]:
        models = self._models()
        if not models:
            told = f"engine 'piper' has no voices: set {SETTING} to the folder of its .onnx files, each with its .onnx.json beside it"
            raise SpeechError(told, code="SPEECH_ENGINE_MISSING")
        return models

    def _chosen(self, line: Line) -> tuple[str, int | None]:
        models = self._needed_models()
        if line.voice is None:
            wanted = (line.language or "").lower().replace("_", "-")
            near = [name for name in sorted(models) if wanted and _language(models[name]).lower() == wanted]
            near += [name for name in sorted(models) if wanted and _language(models[name]).lower().split("-")[0] == wanted.split("-")[0]]
            if wanted and not near:
                raise SpeechError(f"engine 'piper' has no voice for the language {line.language!r}; add one", code="VOICE_NOT_FOUND")
            return (near or sorted(models))[0], None
        name, marked, speaker = line.voice.partition("#")
        if name not in models:
            raise SpeechError(f"engine 'piper' has no voice {name[:64]!r}; use {one_of(models, name)}", code="VOICE_NOT_FOUND")
        if not marked:
            return name, None
        speakers = _settings(models[name]).get("num_speakers", 1)
        named = _settings(models[name]).get("speaker_id_map") or {}
        number = named.get(speaker, int(speaker) if speaker.isdecimal() and len(speaker) < 6 else -1)
        if not 0 <= number < speakers:
            told = f"voice {name!r} has {speakers} speakers and none {speaker[:40]!r}; use #0 to #{speakers - 1}, or leave it out"
            raise SpeechError(told, code="VOICE_NOT_FOUND")
        return name, number


def _phonemes(chunk: Any, at: int) -> list[Phoneme]:
    """Those of a sentence that begins at a sample, with the space after it; none for a model that tells nothing of them."""
    found: list[Phoneme] = []
    for each in getattr(chunk, "phoneme_alignments", None) or ():
        end = at + int(each.num_samples)
        if each.phoneme not in {"^", "$", "_"}:  # silence before and after
            found.append(Phoneme(each.phoneme, at / chunk.sample_rate, end / chunk.sample_rate))
        at = end
    return [*found, Phoneme(" ", at / chunk.sample_rate, at / chunk.sample_rate)] if found else []


@lru_cache(maxsize=2)
def _voice_at(package: Any, path: Path, _: int) -> Any:
    """Loading takes a second and 60 MB; a movie's lines mostly have one or two voices."""
    try:
        return package.PiperVoice.load(path, include_alignments=True)
    except Exception as error:  # onnxruntime's own
        told = f"piper's voice cannot be loaded ({error}); download {path.name} and {path.name}.json again"
        raise SpeechError(told, code="SPEECH_ENGINE_MISSING") from error


@lru_cache(maxsize=256)
def _settings_text(path: Path, _: int) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return None


def _settings(path: Path) -> dict[str, Any]:
    """What the file beside a model says; {} for none, and then it is no voice of Piper's."""
    beside = path.with_name(f"{path.name}.json")
    found = _settings_text(beside, beside.stat().st_mtime_ns) if beside.is_file() else None
    return found if isinstance(found, dict) else {}


def _language(path: Path) -> str:
    language = _settings(path).get("language")
    code = language.get("code") if isinstance(language, dict) else None
    return str(code or path.stem.partition("-")[0]).replace("_", "-")


def _about(path: Path) -> str:
    speakers = _settings(path).get("num_speakers", 1)
    return f"{speakers} speakers" if isinstance(speakers, int) and speakers > 1 else ""


def _length(path: Path) -> float:
    inference = _settings(path).get("inference")
    found = inference.get("length_scale") if isinstance(inference, dict) else None
    return float(found) if isinstance(found, int | float) and found > 0 else 1.0
