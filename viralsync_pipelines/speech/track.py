"""Lines that were spoken, laid out as one sound: where each begins, to the sample; and words, captions and chapters of the whole. Pure.

What belongs here: arithmetic on absolute boundaries. What does not: samples (render/joined.py), files of captions
(movie/caption_files.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import floor
from typing import TYPE_CHECKING

from viralsync_pipelines.movie.captions import HeardWord, PageLimits, pages_of
from viralsync_pipelines.movie.mix import Cue as Sounding
from viralsync_pipelines.movie.mix import Mix, duck_under, fades
from viralsync_pipelines.movie.script import Word
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.speech.narration import Effect, Narration, Spoken
from viralsync_pipelines.speech.reading import written_words

if TYPE_CHECKING:
    from viralsync_pipelines.movie.caption_files import Cue

# A caption: two rows of a television's, 42 letters each, for at most six seconds.
_CAPTION = PageLimits(40, 84 * 0.55, 6.0)
_DUCK = {"amount": 0.25, "attack": 0.15, "release": 0.4, "merge": 0.6}


@dataclass(frozen=True)
class Sound:
    """A row's sound as a file. source: sha256 of it. samples: per channel at `rate`; of a bed or an effect, its length in time. words:
    of a line, as it is said."""

    source: str
    samples: int
    rate: int
    channels: int = 1
    demuxer: str = "wav"
    words: tuple[Word, ...] = ()

    @property
    def seconds(self) -> Fraction:
        return Fraction(self.samples, self.rate)


@dataclass(frozen=True)
class Place:
    """Where a row stands: samples of the track. row: among all rows, from 0."""

    row: int
    at: int
    length: int
    sound: Sound


@dataclass(frozen=True)
class Track:
    """plain: every line is at the track's own rate and nothing else sounds, so that samples are copied, not mixed."""

    rate: int
    channels: int
    length: int
    places: tuple[Place, ...]
    plain: bool


@dataclass(frozen=True)
class Chapter:
    """A section: samples [start, end) of the track."""

    title: str
    start: int
    end: int


def lay_out(narration: Narration, sounds: Sequence[Sound], bed: Sound | None = None) -> Track:
    """sounds: of each row, in order. Every boundary is rounded once, from the exact time it stands at."""
    rows = narration.rows
    shapes = {(sound.rate, sound.channels) for sound in sounds}
    plain = len(shapes) == 1 and bed is None and all(isinstance(row, Spoken) for row in rows)
    rate = sounds[0].rate if plain else SAMPLE_RATE
    channels = sounds[0].channels if plain else 2
    now = Fraction(str(narration.lead))
    end = now
    places = []
    for number, (row, sound) in enumerate(zip(rows, sounds, strict=True)):
        at, over = _sample(now, rate), now + sound.seconds
        places.append(Place(number, at, _sample(over, rate) - at, sound))
        end = max(end, over)
        now = (now if isinstance(row, Effect) and row.under else over) + Fraction(str(row.pause))
        end = max(end, now)
    if bed is not None and narration.bed is not None and narration.bed.mode == "once":
        end = max(end, bed.seconds)
    return Track(rate, channels, _sample(end, rate), tuple(places), plain)


def _sample(seconds: Fraction, rate: int) -> int:
    # Halves always up: to the even one, as `round` has it, a line of one sample after a pause of 0.75 s became two.
    return floor(seconds * rate + Fraction(1, 2))


def mix_of(track: Track, narration: Narration, bed: Sound | None = None) -> Mix:
    """What is heard in a track that is not plain, at 48 kHz."""
    cues = []
    for place in track.places:
        row = narration.rows[place.row]
        gain = row.volume if isinstance(row, Effect) else 1.0
        speech = isinstance(row, Spoken)
        cues.append(Sounding(place.sound.source, place.sound.demuxer, place.at, place.length, 0, gain=gain, speech=speech))
    ducking: tuple[tuple[int, float], ...] = ()
    if bed is not None and narration.bed is not None:
        asked, own = narration.bed, round(bed.seconds * track.rate)
        length = track.length if asked.mode == "loop" else min(own, track.length)
        shape = fades(length, round(asked.fadeIn * track.rate), round(asked.fadeOut * track.rate))
        span = own if asked.mode == "loop" and own < length else 0
        cues.append(Sounding(bed.source, bed.demuxer, 0, length, 0, span=span, gain=asked.volume, shape=shape, duck=asked.duck))
        if asked.duck:
            spans = [(place.at, place.at + place.length) for place in track.places if isinstance(narration.rows[place.row], Spoken)]
            ducking = duck_under(spans, **_DUCK)
    return Mix(track.length, tuple(cues), ducking, None, -1.0)


def words_of(track: Track, narration: Narration) -> tuple[tuple[Spoken, tuple[Word, ...]], ...]:
    """Every line with its words as they are written, in seconds of the track; of a line without words, its text in one."""
    found = []
    for place in track.places:
        row = narration.rows[place.row]
        if not isinstance(row, Spoken):
            continue
        at, end = place.at / track.rate, (place.at + place.length) / track.rate
        words = place.sound.words
        shown = written_words(row.reading, words) if row.reading is not None and words else words
        if not shown and row.text.strip() and not row.line.ssml:
            shown = (Word(" ".join(row.text.split()), 0.0, end - at, 0, len(row.text)),)
        moved = (replace(w, start=round(min(at + w.start, end), 6), end=round(min(at + w.end, end), 6)) for w in shown)
        found.append((row, tuple(moved)))
    return tuple(found)


def cues_of(lines: Sequence[tuple[Spoken, Sequence[Word]]]) -> tuple[Cue, ...]:
    """Captions in whole milliseconds: none goes over two lines, none meets another, every word is in one."""
    from viralsync_pipelines.movie.caption_files import Cue, CueWord

    heard = [
        HeardWord(word.text, word.start, word.end, number > 0 and words[number - 1].char_end == word.char_start, number + 1 == len(words))
        for _, words in lines
        for number, word in enumerate(words)
    ]
    times = iter([(_ms(word.start), _ms(word.end)) for word in heard])
    cues = []
    for page in pages_of(heard, _CAPTION, _ms, 1 << 40, hold=False):
        said = (CueWord(word.text, start, max(start, end)) for word, (start, end) in zip(page.words, times, strict=False))
        cues.append(Cue(page.first, page.last, page.text, tuple(said)))
    return tuple(cues)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def chapters_of(track: Track, narration: Narration) -> tuple[Chapter, ...]:
    """One for each section with a row, from the beginning to the end without a hole. Without a title: its first words."""
    first: dict[int, Place] = {}
    words: dict[int, str] = {}
    for place in track.places:
        row = narration.rows[place.row]
        first.setdefault(row.section, place)
        if isinstance(row, Spoken) and row.text.strip():
            words.setdefault(row.section, row.text)
    starts = [0, *(place.at for place in list(first.values())[1:]), track.length]
    titles = [narration.parts[section].title or _short(words.get(section, "")) for section in first]
    return tuple(Chapter(title or f"Part {n + 1}", starts[n], starts[n + 1]) for n, title in enumerate(titles))


def _short(text: str, most: int = 60) -> str:
    flat = " ".join(text.split())
    if len(flat) <= most:
        return flat
    cut = flat[: most - 1]
    return f"{cut[: cut.rfind(' ')] if ' ' in cut else cut}…"


def ffmetadata_of(chapters: Sequence[Chapter], rate: int, tags: Mapping[str, str]) -> str:
    """Chapters as ffmpeg's metadata file, which players' tools read too."""
    rows = [";FFMETADATA1", *(f"{name}={_escaped(value)}" for name, value in tags.items() if value)]
    for each in chapters:
        rows += ["[CHAPTER]", f"TIMEBASE=1/{rate}", f"START={each.start}", f"END={each.end}", f"title={_escaped(each.title)}"]
    return "\n".join(rows) + "\n"


def _escaped(text: str) -> str:
    flat = " ".join("".join(char if char.isprintable() or char.isspace() else " " for char in text).split())
    return "".join(f"\\{char}" if char in "=;#\\" else char for char in flat)
