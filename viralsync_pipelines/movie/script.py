"""What is spoken: a line to say, and what saying it gave. Values only; engines live in speech/."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

Timing = Literal["native", "characters", "estimate"]
"""Where word times come from: the engine's own words, its letters, or reckoned from silences and syllables."""


@dataclass(frozen=True)
class Line:
    """One utterance. `text` is plain, or SSML when `ssml` is true. `speed` multiplies the engine's normal rate, `pitch` its height.

    style: how it is said, in the engine's own terms. stability, similarity: 0-1, for engines that have them. language: BCP-47, such as
    "pt-BR". fallback: "engine" or "engine/voice", tried in turn when the engine cannot be used.
    """

    text: str
    ssml: bool = False
    voice: str | None = None
    engine: str | None = None
    speed: float = 1.0
    pitch: float = 1.0
    style: str | None = None
    stability: float | None = None
    similarity: float | None = None
    language: str | None = None
    fallback: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Content key of the line itself (sha256 hex, 32 digits); engines add their version before caching."""
        # What came after the first five is left out where it says nothing, so that lines keep the keys they had before.
        own = {name: value for name, value in asdict(self).items() if name not in _LATER or value != _LATER[name]}
        data = json.dumps(own, sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(data.encode(errors="surrogatepass")).hexdigest()[:32]

    def by(self, engine: str, voice: str | None) -> Line:
        """The same words said by another engine: without what only the first one understands."""
        return replace(self, engine=engine, voice=voice, style=None, stability=None, similarity=None, fallback=())

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "fallback": list(self.fallback)}

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Line:
        return Line(**{**data, "fallback": tuple(data.get("fallback", ()))})


_LATER = {each.name: each.default for each in fields(Line)[5:]}


@dataclass(frozen=True)
class Word:
    """One spoken word: seconds from the start of the line, and its character range in the line's text."""

    text: str
    start: float
    end: float
    char_start: int
    char_end: int


@dataclass(frozen=True)
class Spoken:
    """A spoken line in the store: `audio_key` of a mono or stereo WAV, its sha256, length in samples, and word timings.

    characters: as many as the engine bills. cost_usd: dollars, None when they are not known.
    """

    line_key: str
    audio_key: str
    sha256: str
    samples: int
    sample_rate: int
    words: tuple[Word, ...]
    engine: str
    voice: str
    timing: Timing = "native"
    characters: int = 0
    cost_usd: float | None = 0.0

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / self.sample_rate

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: Mapping[str, Any]) -> Spoken:
        """Also of sidecars that were written before words had a `timing`: their engine told it."""
        return Spoken(**{**data, "words": tuple(Word(**w) for w in data["words"])})
