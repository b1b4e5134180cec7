"""What a speech engine is, which ones there are, and what no engine has to be asked to say.

What belongs here: the protocol, its result, the table of engines and the refusals that hold for all of them.
What does not: how one engine speaks (one file each), and keeping what was spoken (cache.py).
"""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, cast

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line, Word

DEFAULT_ENGINE = "espeak"

# Name -> "module:factory". Imported when asked for: a movie without voices pays for none of them.
ENGINES: Mapping[str, str] = {
    "espeak": "viralsync_pipelines.speech.espeak:EspeakEngine",
}

# Six minutes at the normal rate; one voice layer is a line, not a book. Longer texts belong into several layers.
MAX_CHARS = 5_000


@dataclass(frozen=True)
class Take:
    """One spoken line on disk: a 16-bit WAV of `samples` per channel at `sample_rate` Hz.

    words: in order, seconds from the start of the file, never past its end. voice: the engine's own name of the voice used.
    """

    samples: int
    sample_rate: int
    words: tuple[Word, ...]
    voice: str


class SpeechEngine(Protocol):
    """Says lines. Every failure is a SpeechError whose message says what to change."""

    @property
    def name(self) -> str:
        """Name in the table above."""
        ...

    def version(self) -> str:
        """Part of the cache key: changes whenever the same line would sound different."""
        ...

    def voices(self) -> tuple[str, ...]:
        """Every voice a line may name, sorted."""
        ...

    def speak(self, line: Line, out: Path) -> Take:
        """Write the WAV to `out`, whole or not at all.

        Raises SpeechError: VOICE_NOT_FOUND, SPEECH_EMPTY, SPEECH_TOO_LONG, SPEECH_TEXT_REFUSED, SPEECH_SPEED_REFUSED,
        SPEECH_SSML_REFUSED, SPEECH_FAILED.
        """
        ...


def engine_named(name: str | None = None) -> SpeechEngine:
    """The engine of that name; None is the embedded one. Raises SpeechError ENGINE_NOT_FOUND."""
    wanted = DEFAULT_ENGINE if name is None else name
    if wanted not in ENGINES:
        raise SpeechError(
            f"there is no speech engine {wanted[:64]!r}; use {one_of(ENGINES, wanted)}, or leave `engine` out",
            code="ENGINE_NOT_FOUND",
        )
    module, _, factory = ENGINES[wanted].partition(":")
    return cast(SpeechEngine, getattr(importlib.import_module(module), factory)())


def refuse_unspeakable(line: Line) -> None:
    """Raise SpeechError for a line that no engine should be asked to say: empty, endless, half characters, impossible speed."""
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
    if not math.isfinite(line.speed) or line.speed <= 0:
        raise SpeechError(f"speed {line.speed} is no speed; 1 is normal, 1.2 a fifth faster", code="SPEECH_SPEED_REFUSED")


def one_of(known: Mapping[str, object], wanted: str, limit: int = 5) -> str:
    """What to use instead: the closest names, or the first few when nothing is close."""
    close = difflib.get_close_matches(wanted.lower()[:64], list(known), n=limit, cutoff=0.5)
    names = close or sorted(known)[:limit]
    return " or ".join(repr(name) for name in names)
