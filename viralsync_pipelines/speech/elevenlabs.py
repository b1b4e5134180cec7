"""ElevenLabs, over HTTP alone: speech with the time of every letter. Nothing has to be installed; ELEVENLABS_API_KEY opens it.

What belongs here: its fields. What does not: sending (asking.py), decoding (sound.py). bases["elevenlabs"] is another address.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line, Timing, Word
from viralsync_pipelines.speech.asking import Service, key_of
from viralsync_pipelines.speech.engine import Means, Take, Voice, refuse_unspeakable, within, without_controls
from viralsync_pipelines.speech.estimate import estimated_words
from viralsync_pipelines.speech.sound import invalid, kept_sound
from viralsync_pipelines.speech.tokens import Heard, words_from

BASE = "https://api.elevenlabs.io"
KEY = "ELEVENLABS_API_KEY"
MODEL = "eleven_multilingual_v2"
# Every plan may have it; PCM at this rate only the larger ones.
FORMAT = "mp3_44100_128"
# One of the voices that every account has.
DEFAULT_VOICE = "JBFqnCBsd6RMkjVDRZzb"
_ID = re.compile(r"[A-Za-z0-9]{20}")
# What it reads as SSML also in plain text: a `<break time="10s"/>` in somebody's script is words.
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
_BREAK = re.compile(r"<break\b([^<>]*)>(?:</break>)?")
_TIME = re.compile(r"\btime=[\"'](\d{1,5}(?:\.\d{1,3})?)(ms|s)[\"']")
_WRAPPING = re.compile(r"</?(?:speak|p|s)(?:\s[^<>]*)?>")
MAX_BREAK_S = 3.0
# The same 401 tells of a key that is wrong and of credits that are used up.
_CODES = {
    "quota_exceeded": "SPEECH_QUOTA_EXCEEDED", "invalid_api_key": "SPEECH_KEY_REFUSED", "missing_permissions": "SPEECH_KEY_REFUSED",
    "max_character_limit_exceeded": "SPEECH_TOO_LONG", "voice_not_found": "VOICE_NOT_FOUND",
    "content_against_policy": "SPEECH_TEXT_REFUSED",
}  # fmt: skip


def opened(means: Means) -> ElevenLabsEngine:
    return ElevenLabsEngine(means)


def _judge(status: int, body: Any) -> str | None:
    detail = body.get("detail") if isinstance(body, dict) else None
    told = detail.get("status") if isinstance(detail, dict) else None
    if status >= 500:
        return None
    return _CODES.get(told) if isinstance(told, str) else "VOICE_NOT_FOUND" if status == 404 else None


@dataclass(frozen=True)
class ElevenLabsEngine:
    """44.1 kHz. Voices by id or by their name in the account. speed 0.7 to 1.2; style is a number from 0 to 1, as text; no pitch."""

    means: Means
    name: str = "elevenlabs"

    def version(self) -> str:
        """Model and format: the service itself names no version of how it sounds."""
        return f"{self._model}-{FORMAT}"

    def voices(self) -> tuple[Voice, ...]:
        return tuple(sorted((voice for voice, _ in self._listed), key=lambda voice: voice.name))

    def speak(self, line: Line, out: Path) -> Take:
        """See SpeechEngine.speak."""
        refuse_unspeakable(line)
        within(line, self.name, "pitch", 1, 1)
        settings: dict[str, Any] = {"speed": within(line, self.name, "speed", 0.7, 1.2)} if line.speed != 1 else {}
        if line.stability is not None:
            settings["stability"] = line.stability
        if line.similarity is not None:
            settings["similarity_boost"] = line.similarity
        if line.style is not None:
            settings["style"] = _share(line.style)
        said = _with_breaks(line.text) if line.ssml else _TAG.sub(" ", without_controls(line.text))
        body: dict[str, Any] = {"text": said, "model_id": self._model}
        if settings:
            body["voice_settings"] = settings
        if line.language is not None:
            body["language_code"] = line.language.partition("-")[0].lower()
        service, voice = self._service, self._voice(line.voice)
        path = f"/v1/text-to-speech/{quote(voice, safe='')}/with-timestamps"
        answer = service.ask("POST", path, params={"output_format": FORMAT}, payload=body)
        told = answer.json
        samples, rate = kept_sound(_sound(told, answer.mime), out, self.name)
        words: tuple[Word, ...] = words_from(_plain(line), _letters(line, told), len(samples) / rate)
        timing: Timing = "characters"
        if not words:
            words, timing = estimated_words(_plain(line), samples, rate), "estimate"
        return Take(len(samples), rate, words, voice, timing, _billed(answer.headers, said), None)

    @property
    def _model(self) -> str:
        return self.means.models.get(self.name) or MODEL

    @property
    def _service(self) -> Service:
        base = (self.means.bases.get(self.name) or BASE).rstrip("/")
        return Service(self.name, base, {"xi-api-key": key_of(self.means, KEY, self.name)}, self.means, _judge)

    @property
    def _listed(self) -> list[tuple[Voice, str]]:
        """The account's voices, and the id of each."""
        if self.name not in self.means.kept:
            self.means.kept[self.name] = self._asked()
        found: list[tuple[Voice, str]] = self.means.kept[self.name]
        return found

    def _asked(self) -> list[tuple[Voice, str]]:
        body = self._service.ask("GET", "/v1/voices").json
        found = body.get("voices") if isinstance(body, dict) else None
        return [
            (Voice(each["name"], str((each.get("labels") or {}).get("language") or ""), each["voice_id"]), each["voice_id"])
            for each in found or ()
            if isinstance(each, dict) and isinstance(each.get("name"), str) and isinstance(each.get("voice_id"), str)
        ]

    def _voice(self, wanted: str | None) -> str:
        if wanted is None or _ID.fullmatch(wanted):
            return wanted or DEFAULT_VOICE
        for voice, place in self._listed:
            # "Rachel - calm, narration" is how the library names them.
            if wanted.casefold() in {voice.name.casefold(), voice.name.partition(" - ")[0].casefold()}:
                return place
        names = ", ".join(repr(voice.name) for voice, _ in self._listed[:5])
        told = f"the account has no voice {wanted[:64]!r}; use a voice's id, or one of {names or 'those that you add to it'}"
        raise SpeechError(told, code="VOICE_NOT_FOUND")


def _share(style: str) -> float:
    try:
        value = float(style)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        told = f"style {style[:40]!r} is none of engine 'elevenlabs'; write a number from 0 to 1, which exaggerates the voice's own"
        raise SpeechError(told, code="SPEECH_STYLE_REFUSED")
    return value


def _with_breaks(text: str) -> str:
    """The SSML that it takes, which is pauses: everything else is refused."""
    rest = _WRAPPING.sub("", _BREAK.sub("", text))
    if "<" in rest:
        told = "engine 'elevenlabs' takes <break time=\"1s\"/> and no other SSML; write `text` instead, or use the engine 'espeak'"
        raise SpeechError(told, code="SPEECH_SSML_REFUSED")

    def pause(found: re.Match[str]) -> str:
        time = _TIME.search(found[1])
        seconds = 0.5 if time is None else float(time[1]) / (1000 if time[2] == "ms" else 1)
        return f'<break time="{min(seconds, MAX_BREAK_S):.2f}s" />'

    return _BREAK.sub(pause, _WRAPPING.sub(" ", text))


def _plain(line: Line) -> str:
    """The line's text with markup blanked out, character for character."""
    return re.sub(r"<[^<>]*>", lambda found: " " * len(found[0]), line.text) if line.ssml else line.text


def _sound(body: Any, mime: str) -> bytes:
    coded = body.get("audio_base64") if isinstance(body, dict) else None
    if not isinstance(coded, str):
        raise invalid("elevenlabs", f"{mime or 'something'} that holds no audio_base64")
    try:
        return base64.b64decode(coded, validate=True)
    except (binascii.Error, ValueError) as error:
        raise invalid("elevenlabs", "sound whose base64 cannot be read") from error


def _letters(line: Line, body: Any) -> list[Heard]:
    """Each letter with its place in the line's text, from `alignment`, of the text as it was sent: the other one spells out numbers."""
    alignment = body.get("alignment") if isinstance(body, dict) else None
    if not isinstance(alignment, dict):
        return []
    names = ("characters", "character_start_times_seconds", "character_end_times_seconds")
    columns = [found if isinstance(found, list) else [] for found in (alignment.get(name) for name in names)]
    text, at, found, marked = _plain(line), 0, [], False
    for letter, start, end in zip(*columns, strict=False):
        if not isinstance(letter, str) or not all(isinstance(time, int | float) for time in (start, end)):
            continue
        if line.ssml and letter in "<>":
            marked = letter == "<"
            continue
        if marked or not letter.strip():
            continue
        place = text.find(letter, at, at + 200)
        if place >= 0:
            found.append(Heard(place, place + len(letter), float(start), float(end)))
            at = place + len(letter)
    return found


def _billed(headers: Mapping[str, str], said: str) -> int:
    told = headers.get("character-cost", "")
    return int(told) if told.isascii() and told.isdigit() and len(told) < 10 else len(said)
