"""What is spoken: a line to say, and what saying it gave. Values only; engines live in speech/."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Line:
    """One utterance. `text` is plain, or SSML when `ssml` is true. `speed` multiplies the engine's normal rate."""

    text: str
    ssml: bool = False
    voice: str | None = None
    engine: str | None = None
    speed: float = 1.0

    @property
    def key(self) -> str:
        """Content key of the line itself (sha256 hex, 32 digits); engines add their version before caching."""
        data = json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)
        return hashlib.sha256(data.encode(errors="surrogatepass")).hexdigest()[:32]


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
    """A spoken line in the store: `audio_key` of a mono or stereo WAV, its sha256, length in samples, and word timings."""

    line_key: str
    audio_key: str
    sha256: str
    samples: int
    sample_rate: int
    words: tuple[Word, ...]
    engine: str
    voice: str

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.samples / self.sample_rate

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any]) -> Spoken:
        return Spoken(**{**data, "words": tuple(Word(**w) for w in data["words"])})
