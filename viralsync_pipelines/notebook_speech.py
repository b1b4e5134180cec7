"""A narration in a notebook: what a script says, its sound with every word and pause, and what a change of one line costs.

What belongs here: showing what `viralsync narrate` makes, by the same functions. What does not: any work of its own.
"""

from __future__ import annotations

import base64
import html
import os
import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

from viralsync_pipelines.cli.inputs import studio_for
from viralsync_pipelines.cli.narrate import speak
from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.notebook import Table
from viralsync_pipelines.settings import Settings

EXAMPLE = """\
---
title: Tea at five
language: en
cast:
  Ada: {voice: en-us, speed: 0.95}
  Bob: {voice: en-gb, speed: 1.05}
---
# The kettle
*(a small kitchen, rain at the window)*

**Ada:** Water for tea should be about 95 °C.

**Bob:** *(laughing)* And who measures that? [pause 0.6s] Nobody.

# The cup
**Ada:** Then wait 3 min — no more.
"""
_WIDTH, _HALF, _TOP = 980, 60, 34


@dataclass(frozen=True)
class Narration:
    """A finished narration. It shows itself as a player. wav, mp3: its sound. words: {word, start, end, line}, seconds."""

    receipt: Mapping[str, Any] = field(repr=False)
    words: tuple[Mapping[str, Any], ...] = field(repr=False)
    wav: bytes = field(repr=False)
    mp3: bytes = field(repr=False)

    @property
    def spoken_now(self) -> int:
        """Lines that were not in the cache."""
        return sum(line["cache"] == "miss" for line in self.receipt["lines"])

    def _repr_html_(self) -> str:
        data = base64.b64encode(self.mp3).decode()
        told = f"{self.receipt['duration']:.2f} s, {len(self.receipt['lines'])} lines, {self.spoken_now} spoken now"
        return f'<audio controls src="data:audio/mpeg;base64,{data}"></audio><p>{html.escape(told)}</p>'


def script_table(script: str, **options: Any) -> Table:
    """What a script says, as it is written and as it is spoken. NarrationInvalid lists every problem. options: as of a narration."""
    from viralsync_pipelines.speech.narration import planned

    _, narration = planned({"script": script, **options})
    rows = tuple(
        (str(row.number), narration.parts[row.section].title, row.name or "", row.text, row.line.text, f"{row.pause:g}")
        for row in narration.lines
    )
    directions = "; ".join(words for part in narration.parts for words in part.context)
    note = f"{len(rows)} lines in {len(narration.parts)} sections. Never spoken: {directions or 'nothing'}"
    return Table(("line", "section", "name", "written", "spoken", "silence after"), rows, note, {"lines": len(rows)})


def narrate(script: str, **options: Any) -> Narration:
    """Speak it, as `viralsync narrate` does. SpeechError tells each failed line's own words."""
    settings = Settings.from_env(os.environ, cwd=Path.cwd())
    studio = studio_for(settings, Path.cwd())
    spoken = speak({"script": script, **options}, Path.cwd(), settings, studio, quiet=True)
    if spoken.receipt is None:
        told = "; ".join(f"{step}: {text}" for step, text in spoken.end.failures) or f"the run ended as {spoken.end.status}"
        raise SpeechError(f"{told} (what the run printed: {spoken.log})", code="SPEECH_FAILED")
    from json import loads

    files = {name: studio.store.get_bytes(each["key"]) for name, each in spoken.receipt["files"].items()}
    words = tuple(loads(files["words.json"])["words"])
    return Narration(spoken.receipt, words, files["narration.wav"], files["narration.mp3"])


@dataclass(frozen=True)
class Chart:
    """An SVG that Jupyter shows by itself."""

    svg: str = field(repr=False)

    def _repr_svg_(self) -> str:
        return self.svg


def waveform(narration: Narration, start: float = 0.0, seconds: float = 10.0) -> Chart:
    """The sound from `start` on, each word where it is heard, each silence between lines with its length."""
    end = min(start + seconds, narration.receipt["duration"])
    scale = _WIDTH / max(end - start, 0.001)
    height = _TOP + 2 * _HALF + 34
    size = f'width="{_WIDTH}" height="{height}"'
    middle = _TOP + _HALF
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="11">', f'<rect {size} fill="#ffffff"/>']
    for a, b in pauses_of(narration.receipt):
        low, high = max(a, start), min(b, end)
        if high > low:
            x, wide = (low - start) * scale, (high - low) * scale
            parts.append(f'<rect class="pause" x="{x:.1f}" y="{_TOP}" width="{wide:.1f}" height="{2 * _HALF}" fill="#fbe3c0"/>')
            parts.append(f'<text x="{x + wide / 2:.1f}" y="{_TOP - 4}" text-anchor="middle" fill="#a05a00">{b - a:.2f} s</text>')
    peaks = peaks_of(narration.wav, start, end, _WIDTH)
    line = " ".join(f"M{x} {middle - peak * _HALF:.1f}V{middle + peak * _HALF + 0.5:.1f}" for x, peak in enumerate(peaks))
    parts.append(f'<path d="{line}" stroke="#3b6ea8" fill="none"/>')
    for number, word in enumerate(each for each in narration.words if each["end"] > start and each["start"] < end):
        x, y = (max(word["start"], start) - start) * scale, _TOP + 2 * _HALF + (14 if number % 2 == 0 else 28)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{_TOP}" y2="{y - 9}" stroke="#999999" stroke-width="0.5"/>')
        parts.append(f'<text class="word" x="{x + 2:.1f}" y="{y}" fill="#222222">{html.escape(word["word"])}</text>')
    return Chart("".join([*parts, "</svg>"]))


def pauses_of(receipt: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Silences between lines, in seconds of the track."""
    lines: Sequence[Mapping[str, Any]] = receipt["lines"]
    found = [(before["end"], after["start"]) for before, after in zip(lines, lines[1:], strict=False)]
    return [(a, b) for a, b in found if b > a]


def peaks_of(wav: bytes, start: float, end: float, count: int) -> list[float]:
    """The loudest sample, 0 to 1, of each of `count` equal parts."""
    import numpy as np

    with wave.open(BytesIO(wav)) as file:
        rate, channels = file.getframerate(), file.getnchannels()
        file.setpos(min(round(start * rate), file.getnframes()))
        samples = np.frombuffer(file.readframes(round((end - start) * rate)), "<i2").astype(np.float64).reshape(-1, channels).max(axis=1)
    return [float(np.abs(part).max()) / 32768 if len(part) else 0.0 for part in np.array_split(samples, count)]


def words_table(narration: Narration, line: int) -> Table:
    """Every word of one line with its times. The note says where these come from."""
    told = narration.receipt["lines"][line - 1]
    words = [word for word in narration.words if word["line"] == line]
    times = [(word["word"], word["start"], word["end"]) for word in words]
    rows = tuple((text, f"{start:.3f}", f"{end:.3f}", f"{1000 * (end - start):.0f}") for text, start, end in times)
    note = f"engine {told['engine']}, voice {told['voice']}, timings: {told['timing']}; {told['characters']} characters"
    return Table(("word", "starts", "ends", "ms"), rows, note, {"words": len(words)})
