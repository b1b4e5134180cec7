"""Which words a film's captions show, and when: from what is spoken, from files, from the movie itself. Pure.

What belongs here: words on the film's clock. What does not: pages (captions.py), reading files (caption_files.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import accumulate, pairwise
from typing import Any

from viralsync_pipelines.movie.caption_files import Cue, CueWord
from viralsync_pipelines.movie.captions import HeardWord
from viralsync_pipelines.movie.layers import CaptionEntry, VoiceLayer
from viralsync_pipelines.movie.lengths import exact
from viralsync_pipelines.movie.script import Spoken
from viralsync_pipelines.movie.staging import Stage, line_of
from viralsync_pipelines.movie.timing import SAMPLE_RATE, sample_at_frame, samples

# Scripts without spaces between words; a line of theirs may be cut between any two signs.
_SIGNS = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3000-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef\U00020000-\U0003ffff]"
)
_PIECE = re.compile(r"\S+")


def voice_words(layers: Iterable[Any], stage: Stage, speech: Mapping[str, Spoken], only: str | None = None) -> list[HeardWord]:
    """Words of the voice layers of a stage, in seconds of the film, as they are heard. only: the id of the one that is wanted."""
    found: list[HeardWord] = []
    for layer in layers:
        if not isinstance(layer, VoiceLayer) or (only is not None and layer.id != only):
            continue
        spoken = speech.get(line_of(layer).key)
        if spoken is None:
            continue
        # To the sample, as the mix has it.
        begin = Fraction(sample_at_frame(stage.first, stage.canvas.fps) + samples(exact(layer.start)), SAMPLE_RATE)
        length = spoken.duration if not isinstance(layer.duration, float) else min(spoken.duration, layer.duration)
        words = [word for word in spoken.words if word.start < length and word.text.strip()]
        if not words and layer.text is not None:
            # An engine that tells no times: the line's time is shared among its words.
            found += shared_out(layer.text, float(begin), float(begin) + length)
            continue
        for number, word in enumerate(words):
            glued = number > 0 and words[number - 1].char_end == word.char_start
            last = number + 1 == len(words)
            found.append(HeardWord(word.text.strip(), float(begin) + word.start, float(begin) + min(word.end, length), glued, last))
    return found


def cue_words(cues: Sequence[Cue], begin: float) -> list[HeardWord]:
    """Words of a caption file, `begin` seconds into the film. Whoever wrote it has cut it: each cue ends a page, but for lists of words."""
    single = bool(cues) and all(not cue.words and len(_PIECE.findall(cue.text)) == 1 for cue in cues)
    found: list[HeardWord] = []
    for cue in cues:
        start, end = begin + cue.start_ms / 1000, begin + cue.end_ms / 1000
        words = _timed(cue, begin) if cue.words else shared_out(cue.text, start, end)
        words = [word for word in words if word.text]
        if words and not single:
            words[-1] = replace(words[-1], ends=True)
        found += words
    return found


def _timed(cue: Cue, begin: float) -> list[HeardWord]:
    """Words whose times the file has; how they are joined is seen from its text."""
    words: list[HeardWord] = []
    at = 0
    for each in cue.words:
        text = each.text.strip()
        place = cue.text.find(text, at)
        between = cue.text[at:place] if place >= 0 else " "
        at = place + len(text) if place >= 0 else at
        word = HeardWord(text, begin + each.start_ms / 1000, begin + each.end_ms / 1000)
        words.append(replace(word, glued=bool(words) and not between, broken=bool(words) and "\n" in between))
    return words


def entry_words(entries: Sequence[CaptionEntry], begin: float) -> list[HeardWord]:
    """Of captions that stand in the movie itself."""
    cues = []
    for each in entries:
        words = tuple(CueWord(word.text, round(1000 * word.start), round(1000 * word.end)) for word in each.words)
        cues.append(Cue(round(1000 * each.start), round(1000 * each.end), each.text, words))
    return cue_words(cues, begin)


def shared_out(text: str, start: float, end: float) -> list[HeardWord]:
    """The words of a text that has one time for all: it is shared among them by their letters."""
    pieces: list[HeardWord] = []
    for line in text.split("\n"):
        for number, token in enumerate(_PIECE.findall(line)):
            parts = [HeardWord(part, start, end, n > 0) for n, part in enumerate(_signs(token))]
            pieces += [replace(parts[0], broken=bool(pieces) and number == 0), *parts[1:]]
    lengths = [len(piece.text) for piece in pieces]
    whole = sum(lengths) or 1
    edges = [start + (end - start) * done / whole for done in accumulate(lengths, initial=0)]
    return [replace(piece, start=begin, end=until) for piece, (begin, until) in zip(pieces, pairwise(edges), strict=True)]


def _signs(token: str) -> list[str]:
    """A token of a script without spaces, sign by sign, with the marks that belong to each."""
    if not _SIGNS.search(token):
        return [token]
    parts: list[str] = []
    for char in token:
        if parts and not (_SIGNS.match(char) and (_SIGNS.match(parts[-1][-1]) or not parts[-1][-1].isalnum())):
            parts[-1] += char
        else:
            parts.append(char)
    return parts


def is_unspaced(words: Sequence[HeardWord]) -> bool:
    """Whether most of it is written without spaces."""
    return 2 * sum(1 for word in words if _UNSPACED.search(word.text)) > len(words)
