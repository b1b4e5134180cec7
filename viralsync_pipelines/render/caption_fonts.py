"""Fonts for libass: each face that captions use as a small static file under a name of its own, all with the same line measures.

What belongs here: making those files. What does not: which face draws what (glyphs.py). libass knows no axes of variable fonts, chooses by
family name among what the system has, and sizes letters by the ascent and descent that a font claims; so nothing of this is left to it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import FontError
from viralsync_pipelines.render.caption_page import ASCENT
from viralsync_pipelines.render.fontfile import FontFace


def lay_fonts(texts: Mapping[FontFace, str], folder: Path) -> dict[FontFace, str]:
    """Write a font file for each face, with what its text needs, into `folder`; the family name of each."""
    folder.mkdir(parents=True, exist_ok=True)
    names: dict[FontFace, str] = {}
    for number, (face, text) in enumerate(sorted(texts.items(), key=lambda pair: pair[0].identity)):
        names[face] = f"VS{number}"
        data = _static(face, face.identity, "".join(sorted(set(text))), names[face])
        (folder / f"{names[face]}.ttf").write_bytes(data)
    return names


@functools.lru_cache(maxsize=64)
def _static(face: FontFace, _identity: str, chars: str, name: str) -> bytes:
    from io import BytesIO

    from fontTools import subset
    from fontTools.ttLib import TTFont, TTLibError
    from fontTools.varLib import instancer

    try:
        with TTFont(face.path, fontNumber=face.index, lazy=True) as font:
            options = subset.Options(layout_features=["*"], hinting=False, notdef_outline=True, name_IDs=[1], drop_tables=_DROPPED)
            cutter = subset.Subsetter(options)
            cutter.populate(unicodes=_code_points(chars))
            cutter.subset(font)
            if "fvar" in font:
                place = dict(face.axes)
                pinned = {axis.axisTag: place.get(axis.axisTag, axis.defaultValue) for axis in font["fvar"].axes}
                instancer.instantiateVariableFont(font, pinned, inplace=True)
            _measure(font)
            _rename(font, name)
            font.flavor = None
            out = BytesIO()
            font.save(out)
    except (TTLibError, KeyError, ValueError, AssertionError, AttributeError, TypeError, IndexError) as error:
        raise FontError(f"the font {face.path.name} cannot be made ready for captions ({error}); choose another family") from error
    return out.getvalue()


_DROPPED = ["DSIG", "SVG ", "CBDT", "CBLC", "sbix", "COLR", "CPAL", "STAT", "MATH", "BASE", "JSTF", "meta", "vhea", "vmtx", "VORG"]


def _code_points(chars: str) -> Iterable[int]:
    """With what HarfBuzz may compose or decompose them to, and what stands between words."""
    import unicodedata

    every = {" ", "\u00a0", "\u200c", "\u200d", "\u25cc", *chars}
    for form in ("NFC", "NFD"):
        every |= set(unicodedata.normalize(form, chars))
    return sorted(map(ord, every))


def _measure(font: Any) -> None:
    """An em from ascent to descent, so that a size in pixels is pixels per em and a line's baseline is known."""
    em = font["head"].unitsPerEm
    up = round(ASCENT * em)
    down = em - up
    font["hhea"].ascent, font["hhea"].descent, font["hhea"].lineGap = up, -down, 0
    if "OS/2" in font:
        table = font["OS/2"]
        table.sTypoAscender, table.sTypoDescender, table.sTypoLineGap = up, -down, 0
        table.usWinAscent, table.usWinDescent = up, down
        # Regular and upright, whatever it looks like, or libass would make it bolder or thinner.
        table.usWeightClass, table.fsSelection = 400, 0x40
    font["head"].macStyle = 0


def _rename(font: Any, name: str) -> None:
    table = font["name"]
    table.names = []
    for number, text in ((1, name), (2, "Regular"), (3, name), (4, name), (6, name)):
        table.setName(text, number, 3, 1, 0x409)
    if "CFF " in font:
        font["CFF "].cff.fontNames[0] = name
