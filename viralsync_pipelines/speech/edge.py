"""Microsoft Edge's read-aloud voices by the edge-tts package (extra `edge`): no key, 300 voices, and the time of every word.

What belongs here: asking that package and telling its failures apart. What does not: the service's protocol, which is the package's; it
speaks to one fixed host of Microsoft's by a connection of its own, so the guard of http.py has nothing to check.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line, Timing
from viralsync_pipelines.speech.engine import Means, Take, Voice, extra_missing, refuse_markup, refuse_unspeakable, within, without_controls
from viralsync_pipelines.speech.estimate import estimated_words
from viralsync_pipelines.speech.sound import kept_sound
from viralsync_pipelines.speech.tokens import Heard, placed, tokens, words_from

DEFAULT_VOICE = "en-US-EmmaMultilingualNeural"
# The package writes it into SSML as it stands.
_NAME = re.compile(r"[a-z]{2,3}(-[A-Za-z]{2,40}){2,3}(?<=Neural)")
# Pitch is told in hertz; most of its voices lie about here.
_USUAL_HZ = 180
TRIES = 3
_FIRST_PAUSE_S = 1.0
_TICKS_PER_SECOND = 10_000_000
# Whole seconds without a word from the service, and for all of a line.
_SILENT_S, _WHOLE_S = 30, 180.0


def opened(means: Means) -> EdgeEngine:
    return EdgeEngine(means)


@dataclass(frozen=True)
class EdgeEngine:
    """24 kHz. Voices such as "de-DE-KatjaNeural"; without one the first of the line's language. speed 0.5 to 2, pitch 0.5 to 1.5.

    The free endpoint takes no SSML of one's own and no styles.
    """

    means: Means
    name: str = "edge"

    def version(self) -> str:
        """Of the package; the service names none."""
        try:
            return version("edge-tts").partition(".")[0]
        except PackageNotFoundError:
            return "none"

    def voices(self) -> tuple[Voice, ...]:
        if self.name not in self.means.kept:
            listed = self._asked(lambda library: library.list_voices())
            self.means.kept[self.name] = tuple(sorted(map(_voice, listed), key=lambda voice: voice.name))
        found: tuple[Voice, ...] = self.means.kept[self.name]
        return found

    def speak(self, line: Line, out: Path) -> Take:
        """See SpeechEngine.speak."""
        refuse_unspeakable(line)
        refuse_markup(line, self.name)
        speed, pitch = within(line, self.name, "speed", 0.5, 2), within(line, self.name, "pitch", 0.5, 1.5)
        if line.voice is not None and not _NAME.fullmatch(line.voice):
            told = f"engine 'edge' has no voice {line.voice[:64]!r}; write one such as {DEFAULT_VOICE!r}; `viralsync voices` lists them"
            raise SpeechError(told, code="VOICE_NOT_FOUND")
        voice = line.voice or self._of_language(line.language)
        said = without_controls(line.text)
        manner = {"rate": f"{round(speed * 100 - 100):+d}%", "pitch": f"{round((pitch - 1) * _USUAL_HZ):+d}Hz"}
        sound, boundaries = self._asked(lambda library: _read(library, said, voice, manner))
        samples, rate = kept_sound(sound, out, self.name)
        duration = len(samples) / rate
        heard = _heard(line.text, boundaries)
        words = words_from(line.text, heard, duration)
        timing: Timing = "native"
        if not words:
            words, timing = estimated_words(line.text, samples, rate), "estimate"
        return Take(len(samples), rate, words, voice, timing)

    def _of_language(self, language: str | None) -> str:
        if language is None:
            return DEFAULT_VOICE
        wanted = language.casefold()
        listed = self.voices()
        near = [voice.name for voice in listed if voice.language.casefold() == wanted]
        near += [voice.name for voice in listed if voice.language.casefold().split("-")[0] == wanted.split("-")[0]]
        if near:
            return near[0]
        told = f"engine 'edge' has no voice for the language {language[:40]!r}; `viralsync voices --engine edge` lists what it has"
        raise SpeechError(told, code="VOICE_NOT_FOUND")

    def _asked(self, what: Callable[[ModuleType], Any]) -> Any:
        """The answer, after some tries: the service now and then closes without a sound, and is fine a second later."""
        import asyncio

        try:
            import aiohttp
            import edge_tts
            from edge_tts.exceptions import EdgeTTSException, NoAudioReceived
        except ImportError as error:
            raise extra_missing("edge") from error
        left = self.means.patience_s
        for attempt in range(1, TRIES + 1):
            try:
                return asyncio.run(_within(what(edge_tts)))
            except aiohttp.ClientResponseError as error:
                status = error.status
                if status in {401, 403}:
                    told = f"edge answered {status}: the service no longer knows this package; upgrade edge-tts, or name another engine"
                    raise SpeechError(told, code="SPEECH_KEY_REFUSED") from error
                trouble: Exception = error
                code = "SPEECH_BUSY" if status == 429 else "SPEECH_UNAVAILABLE"
                words = f"edge answered {status}"
                pause = _pause(error.headers)
            except NoAudioReceived as error:
                trouble, code, pause = error, "SPEECH_AUDIO_INVALID", None
                words = "edge answered with no sound at all, which it also does for voices that it does not have"
            except (EdgeTTSException, aiohttp.ClientError, OSError, TimeoutError, _CutOff, ValueError, LookupError, TypeError) as error:
                # The last three are what the package makes of messages that are not as it knows them.
                trouble, code, pause = error, "SPEECH_UNAVAILABLE", None
                unreached = isinstance(error, aiohttp.ClientConnectorError)
                words = "edge cannot be reached" if unreached else f"edge broke off ({str(error)[:200] or type(error).__name__})"
            pause = _FIRST_PAUSE_S * attempt if pause is None else pause
            if attempt == TRIES or pause > left:
                times = "once" if attempt == 1 else f"{attempt} times"
                told = f"{words}; it was asked {times}, so try again later, or name a `fallback`"
                raise SpeechError(told, code=code) from trouble
            left -= pause
            self.means.sleep(pause)
        raise AssertionError("a loop of TRIES tries returns or raises")


class _CutOff(Exception):
    """The service hung up before its last word."""


async def _within(work: Any) -> Any:
    import asyncio

    async with asyncio.timeout(_WHOLE_S):
        return await work


async def _read(library: ModuleType, text: str, voice: str, manner: Mapping[str, str]) -> tuple[bytes, list[dict[str, Any]]]:
    # Word by word has to be asked for: its default is a boundary a sentence.
    asked = library.Communicate(text, voice, **manner, boundary="WordBoundary", receive_timeout=_SILENT_S)
    sound, boundaries = bytearray(), []
    async for part in asked.stream():
        if part["type"] == "audio":
            sound += part["data"]
        elif part["type"] == "WordBoundary":
            boundaries.append(part)
    # When its socket closes too soon the package just ends, with half a sound. It adds up the bytes of turns that came to their end.
    counted = getattr(asked, "state", {}).get("cumulative_audio_bytes")
    found, words = _heard(text, boundaries), tokens(text)
    if counted not in {None, len(sound)} or (found and words and found[-1].end < words[-1][0] - _SLACK):
        raise _CutOff("it hung up in the middle of the line")
    return bytes(sound), boundaries


# Characters. The last words may be told otherwise than they are written, and are then found nowhere.
_SLACK = 40


def _heard(text: str, boundaries: list[dict[str, Any]]) -> list[Heard]:
    found = []
    for part, place in zip(boundaries, placed(text, [str(each["text"]) for each in boundaries]), strict=True):
        if place is not None:
            start = part["offset"] / _TICKS_PER_SECOND
            found.append(Heard(*place, start, start + part["duration"] / _TICKS_PER_SECOND))
    return found


def _voice(each: Mapping[str, Any]) -> Voice:
    return Voice(str(each.get("ShortName")), str(each.get("Locale", "")), str(each.get("Gender", "")).lower())


def _pause(headers: Any) -> float | None:
    from viralsync_pipelines.http import retry_after

    return retry_after({str(name).lower(): value for name, value in (headers or {}).items()})
