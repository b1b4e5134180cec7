"""What a speech engine is, which ones there are, and what no engine has to be asked to say.

What belongs here: the protocol, its result, the table of engines, what they are opened with, and the refusals that hold for all of them.
What does not: how one engine speaks (one file each), and keeping what was spoken (cache.py).
"""

from __future__ import annotations

import difflib
import importlib
import math
import time
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line, Timing, Word

if TYPE_CHECKING:
    import httpx

DEFAULT_ENGINE = "espeak"

# Name -> the module whose `opened(means)` makes it. Imported when asked for: a movie without voices pays for none of them.
ENGINES: Mapping[str, str] = {
    name: f"viralsync_pipelines.speech.{name}" for name in ("espeak", "piper", "kokoro", "edge", "elevenlabs", "openai")
}

# Six minutes at the normal rate; one voice layer is a line, not a book. Longer texts belong into several layers.
MAX_CHARS = 5_000


@dataclass(frozen=True)
class Take:
    """One spoken line on disk: a 16-bit WAV of `samples` per channel at `sample_rate` Hz.

    words: in order, seconds from the start of the file, never past its end. voice: the engine's own name of the voice used.
    timing: where their times come from. characters: as many as are billed. cost_usd: dollars, None when nobody knows.
    """

    samples: int
    sample_rate: int
    words: tuple[Word, ...]
    voice: str
    timing: Timing = "native"
    characters: int = 0
    cost_usd: float | None = 0.0


@dataclass(frozen=True)
class Voice:
    """A voice that a line may name. language: BCP-47, "" when the engine does not say. about: what else is known of it, in a few words."""

    name: str
    language: str = ""
    about: str = ""


def _no_client() -> httpx.Client:
    from viralsync_pipelines.http import open_client

    return open_client()


@dataclass(frozen=True)
class Means:
    """What engines are opened with. client: makes or gives the guarded HTTP client (http.open_client) at the first request.

    keys: by environment name. bases: addresses of APIs by service. models: a model's name by engine, where it is not the usual one.
    folders: where an engine's voices lie. sleep: waits between tries; patience_s: for all pauses of one line together. A service that
    asks for more is taken at its word, and the line is given up. kept: lists of voices, asked for once for many lines.
    """

    client: Callable[[], httpx.Client] = _no_client
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    bases: Mapping[str, str] = field(default_factory=dict)
    models: Mapping[str, str] = field(default_factory=dict)
    folders: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    sleep: Callable[[float], None] = time.sleep
    patience_s: float = 90.0
    kept: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


NO_MEANS = Means()


class SpeechEngine(Protocol):
    """Says lines. Every failure is a SpeechError whose message says what to change."""

    @property
    def name(self) -> str:
        """Name in the table above."""
        ...

    def version(self) -> str:
        """Part of the cache key: changes whenever the same line would sound different. Asks nobody."""
        ...

    def voices(self) -> tuple[Voice, ...]:
        """Every voice a line may name, by name. Raises SpeechError when the engine cannot be used."""
        ...

    def speak(self, line: Line, out: Path) -> Take:
        """Write the WAV to `out`, whole or not at all.

        Raises SpeechError: VOICE_NOT_FOUND, SPEECH_EMPTY, SPEECH_TOO_LONG, SPEECH_TEXT_REFUSED, SPEECH_SPEED_REFUSED,
        SPEECH_SSML_REFUSED, SPEECH_FAILED; and what another engine may do better (SpeechError.others_may): SPEECH_ENGINE_MISSING,
        SPEECH_KEY_MISSING, SPEECH_KEY_REFUSED, SPEECH_QUOTA_EXCEEDED, SPEECH_BUSY, SPEECH_UNAVAILABLE, SPEECH_AUDIO_INVALID.
        """
        ...


def engine_named(name: str | None = None, means: Means = NO_MEANS) -> SpeechEngine:
    """The engine of that name; None is the embedded one. Raises SpeechError ENGINE_NOT_FOUND."""
    wanted = DEFAULT_ENGINE if name is None else name
    if wanted not in ENGINES:
        raise SpeechError(
            f"there is no speech engine {wanted[:64]!r}; use {one_of(ENGINES, wanted)}, or leave `engine` out",
            code="ENGINE_NOT_FOUND",
        )
    return cast(SpeechEngine, importlib.import_module(ENGINES[wanted]).opened(means))


def refuse_unspeakable(line: Line) -> None:
    """Raise SpeechError for a line that no engine should be asked to say: empty, endless, half characters, impossible speed or pitch."""
    if not line.text.strip():
        raise SpeechError("there is nothing to say: write some text or remove the voice layer", code="SPEECH_EMPTY")
    if len(line.text) > MAX_CHARS:
        raise SpeechError(
            f"the text has {len(line.text)} characters and a voice layer speaks at most {MAX_CHARS}; split it into layers",
            code="SPEECH_TOO_LONG",
        )
    lone = next((i for i, char in enumerate(line.text) if "\ud800" <= char <= "\udfff"), None)
    if lone is not None:
        raise SpeechError(
            f"character {lone + 1} of the text is half a character (a lone surrogate); save the movie as UTF-8 and try again",
            code="SPEECH_TEXT_REFUSED",
        )
    for name, value, say in (("speed", line.speed, "a fifth faster"), ("pitch", line.pitch, "a fifth higher")):
        if not math.isfinite(value) or value <= 0:
            raise SpeechError(f"{name} {value} is no {name}; 1 is normal, 1.2 {say}", code=f"SPEECH_{name.upper()}_REFUSED")


def refuse_markup(line: Line, engine: str) -> None:
    """For engines that take plain words alone."""
    if line.ssml:
        raise SpeechError(f"engine {engine!r} takes no SSML; write `text` instead, or use the engine 'espeak'", code="SPEECH_SSML_REFUSED")


def within(line: Line, engine: str, name: str, low: float, high: float) -> float:
    """The line's speed or pitch, which lies within what the engine takes. Raises SPEECH_SPEED_REFUSED or SPEECH_PITCH_REFUSED."""
    value: float = getattr(line, name)
    if not low <= value <= high:
        told = f"{name} {value:g} is outside what engine {engine!r} speaks; " + (
            "leave it out" if low == high else f"use {low:g} to {high:g}"
        )
        raise SpeechError(told, code=f"SPEECH_{name.upper()}_REFUSED")
    return value


def without_controls(text: str) -> str:
    """The text with spaces for control characters, character for character."""
    return "".join(" " if unicodedata.category(char) == "Cc" and char not in "\n\t" else char for char in text)


def extra_missing(extra: str) -> SpeechError:
    """The sentence for an engine whose packages are not installed."""
    return SpeechError(
        f"the speech engine {extra!r} is not installed; run: pip install 'viralsync-pipelines[{extra}]'", code="SPEECH_ENGINE_MISSING"
    )


def one_of(known: Mapping[str, object], wanted: str, limit: int = 5) -> str:
    """What to use instead: the closest names, or the first few when nothing is close."""
    close = difflib.get_close_matches(wanted.lower()[:64], list(known), n=limit, cutoff=0.5)
    names = close or sorted(known)[:limit]
    return " or ".join(repr(name) for name in names)
