"""Shaping: a paragraph cut into clusters and runs, and glyphs with their advances from HarfBuzz, in EM units.

What belongs here: cleaning, run itemisation by face, script and level, advances per cluster, word numbers.
What does not: which font draws what (glyphs.py), lines and pixels (typeset.py).
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby
from typing import Any

from viralsync_pipelines.render.bidi import embedding_levels
from viralsync_pipelines.render.fontfile import FontFace, open_font
from viralsync_pipelines.render.glyphs import script_of
from viralsync_pipelines.render.linebreak import break_after, is_blank, is_wide, split_clusters

_NEWLINE = re.compile(r"\r\n|[\r\v\f\x85\u2028\u2029]")
_DROPPED = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\u00ad\ufdd0-\ufdef\ufffe\uffff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")
# Letters that touch their neighbours: spacing would tear them apart.
_JOINED = frozenset({"Arab", "Syrc", "Mong", "Nkoo", "Mand", "Phag", "Rohg", "Adlm", "Deva", "Beng", "Guru", "Sogd", "Ougr"})
_UNLIGATED = {"liga": False, "clig": False, "dlig": False}


@dataclass(frozen=True)
class Paragraph:
    """A paragraph shaped once. One entry a cluster; `advance` and `spaced` are prefix sums with one entry more."""

    text: str
    clusters: tuple[str, ...]
    starts: tuple[int, ...]
    faces: tuple[FontFace, ...]
    scripts: tuple[str, ...]
    levels: tuple[int, ...]
    base: int
    blank: tuple[bool, ...]
    words: tuple[int, ...]
    segments: tuple[tuple[int, int], ...]  # (end without trailing blanks, end) of each unbreakable piece
    advance: tuple[int, ...]
    spaced: tuple[int, ...]


def clean_text(text: str) -> str:
    """Line ends as \\n, tabs as four spaces, unpaired surrogates replaced; controls and soft hyphens gone."""
    text = _NEWLINE.sub("\n", text).replace("\t", "    ")
    return _SURROGATE.sub("\ufffd", _DROPPED.sub("", text))


def clusters_of(text: str) -> list[str]:
    """Every cluster that is set, line ends left out."""
    return [cluster for line in clean_text(text).split("\n") for cluster in split_clusters(line)]


def shape_paragraph(
    text: str, choose: Callable[[str], FontFace | None], primary: FontFace, spacing: float, first_word: int
) -> Paragraph:
    """Shape one line of cleaned text. `spacing` (pixels) other than 0 turns ligatures off; words count from `first_word`."""
    clusters = split_clusters(text)
    starts = [0, *accumulate(map(len, clusters))]
    base, by_char = embedding_levels(text)
    blank = [is_blank(cluster) for cluster in clusters]
    breaks = break_after(clusters)
    faces = _faces(clusters, blank, choose, primary)
    scripts = _scripts(clusters)
    levels = [by_char[start] for start in starts[:-1]]
    touching = [script in _JOINED or not spacing for script in scripts]
    advances = [0.0] * len(clusters)
    for i, j in runs_of(faces, scripts, levels, 0, len(clusters)):
        shaped = shape(text, starts[i], starts[j], faces[i], scripts[i], levels[i], bool(spacing) and not touching[i])
        for first, last, advance, _ in by_cluster(shaped, starts, i, j):
            for k in range(first, last):
                advances[k] = advance / (last - first)
    segments, visible = [], 0
    for k, may in enumerate(breaks):
        if not blank[k]:
            visible = k + 1
        if may:
            segments.append((visible, k + 1))
    return Paragraph(
        text, tuple(clusters), tuple(starts), tuple(faces), tuple(scripts), tuple(levels), base, tuple(blank),
        tuple(_words(clusters, blank, breaks, first_word)), tuple(segments),
        (0, *accumulate(round(a) for a in advances)), (0, *accumulate(0 if t else 1 for t in touching)),
    )  # fmt: skip


def _faces(
    clusters: Sequence[str], blank: Sequence[bool], choose: Callable[[str], FontFace | None], primary: FontFace
) -> list[FontFace]:
    """A face a cluster; spaces go with what stands before them, so that a run is not cut at every space."""
    faces: list[FontFace] = []
    for cluster, empty in zip(clusters, blank, strict=True):
        kept = faces[-1] if empty and faces and not faces[-1].colour else None
        faces.append(kept or choose(cluster) or primary)
    return faces


def _scripts(clusters: Sequence[str]) -> list[str]:
    """A script a cluster; what all scripts share takes that of its left neighbour, at the start of its right one."""
    scripts: list[str] = []
    for cluster in clusters:
        own = next((s for s in map(script_of, cluster) if s not in {"Zyyy", "Zinh", "Zzzz"}), "")
        scripts.append(own or (scripts[-1] if scripts else ""))
    first = next((s for s in scripts if s), "Latn")
    return [s or first for s in scripts]


def _words(clusters: Sequence[str], blank: Sequence[bool], breaks: Sequence[bool], first: int) -> list[int]:
    """Word numbers: a new word after a space, and at each break beside Han or kana, which have no spaces."""
    words, current = [], first
    for k, cluster in enumerate(clusters):
        if k and not blank[k]:
            wide = is_wide(cluster) or is_wide(clusters[k - 1])
            current += blank[k - 1] or (breaks[k - 1] and wide)
        words.append(current)
    return words


def runs_of(
    faces: Sequence[FontFace], scripts: Sequence[str], levels: Sequence[int], start: int, end: int
) -> list[tuple[int, int]]:
    """Ranges of clusters[start:end] that share face, script and level, in reading order."""
    runs = []
    for _, group in groupby(range(start, end), key=lambda k: (faces[k], scripts[k], levels[k])):
        members = list(group)
        runs.append((members[0], members[-1] + 1))
    return runs


Shaped = list[tuple[int, int, int, int, int]]  # glyph id, character index, advance, x offset, y offset


def shape(text: str, start: int, end: int, face: FontFace, script: str, level: int, unligated: bool) -> Shaped:
    """Glyphs of text[start:end] from left to right, in EM units; the text around it gives context for joining."""
    import uharfbuzz

    buffer: Any = uharfbuzz.Buffer()
    buffer.add_str(text, start, end - start)
    buffer.direction = "rtl" if level & 1 else "ltr"
    buffer.script = script
    buffer.language = "und"
    uharfbuzz.shape(open_font(face), buffer, dict(_UNLIGATED) if unligated else None)
    pairs = zip(buffer.glyph_infos, buffer.glyph_positions, strict=True)
    return [(i.codepoint, i.cluster, p.x_advance, p.x_offset, p.y_offset) for i, p in pairs]


def by_cluster(shaped: Shaped, starts: Sequence[int], first: int, end: int) -> list[tuple[int, int, int, Shaped]]:
    """Shaped glyphs grouped, left to right: (first cluster, end, advance, glyphs). A ligature spans several clusters."""
    # A cluster of ours may hold several of HarfBuzz's (Indic conjuncts), and the other way round (ligatures).
    groups: list[tuple[int, int, Shaped]] = []
    for k, members in groupby(shaped, key=lambda glyph: max(first, bisect_right(starts, glyph[1], first, end) - 1)):
        glyphs = list(members)
        groups.append((k, sum(g[2] for g in glyphs), glyphs))
    bounds = sorted({k for k, _, _ in groups})
    following = dict(zip(bounds, [*bounds[1:], end], strict=True))
    return [(k, following[k], advance, glyphs) for k, advance, glyphs in groups]
