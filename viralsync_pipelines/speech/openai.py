"""Speech as OpenAI has it, `/v1/audio/speech`, which OpenedAI Speech and many servers of one's own speak too. It tells no times.

What belongs here: its fields. bases["openai_speech"], or else bases["openai"], ends with the version: http://127.0.0.1:8880/v1. A server
of one's own needs no key; one under OPENAI_SPEECH_BASE_URL gets OPENAI_SPEECH_API_KEY, and OpenAI's own key never goes there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.speech.asking import Service, key_of
from viralsync_pipelines.speech.engine import Means, Take, Voice, refuse_markup, refuse_unspeakable, within, without_controls
from viralsync_pipelines.speech.estimate import estimated_words
from viralsync_pipelines.speech.sound import kept_sound

BASE = "https://api.openai.com/v1"
KEY, OWN_KEY = "OPENAI_API_KEY", "OPENAI_SPEECH_API_KEY"
MODEL = "gpt-4o-mini-tts"
DEFAULT_VOICE = "alloy"
VOICES = ("alloy", "ash", "ballad", "coral", "echo", "fable", "nova", "onyx", "sage", "shimmer", "verse")
MAX_INPUT = 4_096
# Of raw samples, which some servers answer with whatever was asked for.
_PCM_RATE = 24_000
# Dollars for a million characters, and for a minute of sound where tokens are billed.
_BY_CHARACTERS = {"tts-1": 15.0, "tts-1-hd": 30.0}
_BY_MINUTE = {"gpt-4o-mini-tts": 0.015}
_CODES = {
    "insufficient_quota": "SPEECH_QUOTA_EXCEEDED", "billing_hard_limit_reached": "SPEECH_QUOTA_EXCEEDED",
    "invalid_api_key": "SPEECH_KEY_REFUSED", "content_policy_violation": "SPEECH_TEXT_REFUSED", "moderation_blocked": "SPEECH_TEXT_REFUSED",
}  # fmt: skip


def opened(means: Means) -> OpenAIEngine:
    return OpenAIEngine(means)


def _judge(status: int, body: Any) -> str | None:
    error = body.get("error") if isinstance(body, dict) else None
    told = (error.get("code") or error.get("type")) if isinstance(error, dict) else None
    return _CODES.get(told) if isinstance(told, str) and status < 500 else None


@dataclass(frozen=True)
class OpenAIEngine:
    """WAV at the rate the server speaks. style: how to say it, in words, for models that take instructions. speed 0.25 to 4; no pitch."""

    means: Means
    name: str = "openai"

    def version(self) -> str:
        """The model, and which server of one's own."""
        own = self._own_base
        return self._model + (f"-{hashlib.sha256(own.encode()).hexdigest()[:12]}" if own else "")

    def voices(self) -> tuple[Voice, ...]:
        """OpenAI's, which it has no list of; a server of one's own is asked for its."""
        service = self._service
        if not self._own_base:
            return tuple(Voice(name) for name in VOICES)
        try:
            body = service.ask("GET", "/audio/voices").json
        except SpeechError as error:
            if error.code != "SPEECH_REFUSED":
                raise
            body = None  # most have no such list: theirs are then OpenAI's names
        listed = body.get("voices") if isinstance(body, dict) else body
        found = [each if isinstance(each, str) else _name(each) for each in listed] if isinstance(listed, list) else []
        return tuple(Voice(name) for name in sorted(name for name in found if name) or VOICES)

    def speak(self, line: Line, out: Path) -> Take:
        """See SpeechEngine.speak."""
        refuse_unspeakable(line)
        refuse_markup(line, self.name)
        if len(line.text) > MAX_INPUT:
            told = f"the text has {len(line.text)} characters and engine 'openai' speaks at most {MAX_INPUT}; split it into layers"
            raise SpeechError(told, code="SPEECH_TOO_LONG")
        within(line, self.name, "pitch", 1, 1)
        voice = line.voice or DEFAULT_VOICE
        # WAV: no encoder in between, so the samples are the engine's own.
        body: dict[str, Any] = {"model": self._model, "input": without_controls(line.text), "voice": voice, "response_format": "wav"}
        if line.speed != 1:
            body["speed"] = within(line, self.name, "speed", 0.25, 4)
        if line.style is not None:
            body["instructions"] = line.style
        answer = self._service.ask("POST", "/audio/speech", payload=body)
        samples, rate = kept_sound(answer.content, out, self.name, mime=answer.mime, pcm_rate=_pcm_rate(answer.mime))
        words = estimated_words(line.text, samples, rate)
        own = bool(self._own_base)
        characters = 0 if own else len(line.text)
        return Take(len(samples), rate, words, voice, "estimate", characters, 0.0 if own else self._cost(characters, len(samples) / rate))

    def _cost(self, characters: int, seconds: float) -> float | None:
        if self._model in _BY_CHARACTERS:
            return round(_BY_CHARACTERS[self._model] * characters / 1_000_000, 6)
        price = _BY_MINUTE.get(self._model)
        return None if price is None else round(price * seconds / 60, 6)

    @property
    def _model(self) -> str:
        return self.means.models.get(self.name) or MODEL

    @property
    def _own_base(self) -> str:
        return (self.means.bases.get("openai_speech") or self.means.bases.get("openai") or "").rstrip("/")

    @property
    def _service(self) -> Service:
        means, own = self.means, self._own_base
        name = OWN_KEY if means.bases.get("openai_speech") else KEY
        keyless = bool(own) and not means.keys.get(name)
        headers = {} if keyless else {"Authorization": f"Bearer {key_of(means, name, self.name)}"}
        return Service(self.name, own or BASE, headers, means, _judge)


def _name(voice: Any) -> str:
    found = (voice.get("id") or voice.get("voice_id") or voice.get("name")) if isinstance(voice, dict) else None
    return found if isinstance(found, str) else ""


def _pcm_rate(mime: str) -> int | None:
    return _PCM_RATE if mime in {"audio/pcm", "audio/l16", "application/octet-stream"} else None
