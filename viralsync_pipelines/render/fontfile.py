"""One font file: what it declares, whether it can be used, and the bytes a shaper reads.

What belongs here: opening files through HarfBuzz under a size cap, FontFace.
What does not: searching for families (fonts.py), choosing a font for a character (glyphs.py).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from viralsync_pipelines.errors import FontError
from viralsync_pipelines.render.woff import MAX_FONT_BYTES, SFNT, unpack_font

EM = 65536  # font units per em used everywhere: HarfBuzz works in integers, and hinting plays no part
_OUTLINES = frozenset({"glyf", "CFF ", "CFF2", "CBDT", "sbix"})


@dataclass(frozen=True)
class FontFace:
    """One face to draw with: a file, an index into it, and the place on its variation axes.

    weight: what the face really shows, 1 to 1000. embolden and slant are made up by the renderer (fractions of the em,
    and the tangent of the angle) when a family has no bold or italic. colour: glyphs bring their own colours.
    """

    path: Path
    index: int
    family: str
    weight: int
    italic: bool
    axes: tuple[tuple[str, float], ...] = ()
    embolden: float = 0.0
    slant: float = 0.0
    colour: bool = False

    @property
    def sha256(self) -> str:
        """Hex sha256 of the file's bytes as they lie on disk."""
        return _file_sha256(self.path, *_stamp(self.path))

    @property
    def identity(self) -> str:
        """Equal strings mean equal glyphs: content hash, index, axes and made-up style."""
        axes = ",".join(f"{tag}={value:g}" for tag, value in self.axes)
        return f"{self.sha256}#{self.index};{axes};{self.embolden:g};{self.slant:g}"


@dataclass(frozen=True)
class FontRecord:
    """What one face of a file declares, before a weight is asked for. Names are casefolded."""

    path: Path
    index: int
    family: str
    names: frozenset[str]
    weight: int
    width: int
    italic: bool
    ranges: tuple[tuple[str, float, float, float], ...]  # (axis tag, minimum, default, maximum)
    colour: bool


def read_records(path: Path) -> tuple[FontRecord, ...]:
    """Every usable face of a file; () for what is not a font. Reads a few tables, about 0.2 ms a file."""
    try:
        first = _hb_face(path, 0, *_stamp(path))
    except (OSError, FontError):
        return ()
    return tuple(filter(None, (_record(path, i) for i in range(max(1, first.count)))))


def as_face(record: FontRecord, weight: int, italic: bool) -> FontFace:
    """The record at a weight (1 to 1000), by its axes when it has them, else made bolder or slanted by the renderer."""
    axes: dict[str, float] = {}
    shown, leans = record.weight, record.italic
    for tag, low, default, high in record.ranges:
        if tag == "wght":
            axes[tag] = min(max(float(weight), low), high)
            shown = round(axes[tag])
        elif tag == "opsz":
            axes[tag] = high  # titles are display sizes
        elif tag == "ital" and italic and high >= 1:
            axes[tag], leans = 1.0, True
        elif tag == "slnt" and italic and low < default:
            axes[tag], leans = low, True
    drawn = not record.colour
    return FontFace(
        path=record.path,
        index=record.index,
        family=record.family,
        weight=shown,
        italic=leans,
        axes=tuple(sorted(axes.items())),
        embolden=0.032 if drawn and weight >= 600 and shown < 600 else 0.0,
        slant=0.2 if drawn and italic and not leans else 0.0,
        colour=record.colour,
    )


def face_from_file(path: Path, weight: int = 400, italic: bool = False) -> FontFace:
    """The first face of an untrusted file. FontError FONT_UNREADABLE says what is wrong with it."""
    face = _hb_face(path, 0, *_stamp(path))
    record = _record(path, 0)
    if record is None or not face.unicodes:
        raise _unreadable(path, "it holds no drawable characters")
    return as_face(record, weight, italic)


def open_font(face: FontFace) -> Any:
    """The uharfbuzz Font of a face, EM units to the em. Kept between calls while the file stays as it is."""
    return _styled(face, _stamp(face.path))


@lru_cache(maxsize=128)
def _styled(face: FontFace, stamp: tuple[int, int]) -> Any:
    import uharfbuzz

    font = uharfbuzz.Font(_hb_face(face.path, face.index, *stamp))
    font.scale = (EM, EM)
    if face.axes:
        font.set_variations(dict(face.axes))
    if face.embolden:
        font.synthetic_bold = (face.embolden, face.embolden, False)
    if face.slant:
        font.synthetic_slant = face.slant
    return font


def coverage(face: FontFace) -> frozenset[int]:
    """Every code point the face maps to a glyph."""
    return _coverage(face.path, face.index, _stamp(face.path))


def maps(face: FontFace | FontRecord, chars: str) -> bool:
    """Whether the face has a glyph for every one of `chars`; for large fonts far cheaper than `coverage`."""
    font = _plain(face.path, face.index, _stamp(face.path))
    return all(font.get_nominal_glyph(ord(char)) is not None for char in chars)


@lru_cache(maxsize=256)
def _coverage(path: Path, index: int, stamp: tuple[int, int]) -> frozenset[int]:
    return frozenset(_hb_face(path, index, *stamp).unicodes)


@lru_cache(maxsize=4096)
def _plain(path: Path, index: int, stamp: tuple[int, int]) -> Any:
    import uharfbuzz

    return uharfbuzz.Font(_hb_face(path, index, *stamp))


def _stamp(path: Path) -> tuple[int, int]:
    """(mtime in ns, size): cache key, so that a file replaced under the same name is read again."""
    try:
        stat = path.stat()
    except OSError as gone:
        raise FontError(f"the font file {path.name} cannot be opened; restore it or choose another font") from gone
    return stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=512)
def _file_sha256(path: Path, _mtime: int, _size: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@lru_cache(maxsize=4096)
def _hb_face(path: Path, index: int, _mtime: int, size: int) -> Any:
    """An hb_face over the mapped file. HarfBuzz checks every table before use, as browsers rely on."""
    import uharfbuzz

    if size > MAX_FONT_BYTES:
        raise _unreadable(path, "it is larger than 64 MB")
    with path.open("rb") as file:
        magic = file.read(4)
    try:
        mapped = magic in SFNT
        blob = uharfbuzz.Blob.from_file_path(str(path)) if mapped else uharfbuzz.Blob(unpack_font(path.read_bytes()))
    except Exception as broken:  # fontTools raises whatever a broken file leads it to
        raise _unreadable(path, str(broken) or type(broken).__name__) from broken
    face = uharfbuzz.Face(blob, index)
    if not face.glyph_count:
        raise _unreadable(path, "it holds no glyphs")
    return face


def _record(path: Path, index: int) -> FontRecord | None:
    try:
        face = _hb_face(path, index, *_stamp(path))
        tags = set(face.table_tags)
        if not tags & _OUTLINES or "cmap" not in tags:
            return None
        names = [face.get_name(name_id) for name_id in (16, 1, 4, 6)]
        os2 = bytes(face.reference_table("OS/2").data)
        weight, width = struct.unpack_from(">HH", os2, 4) if len(os2) >= 64 else (400, 5)
        selection = struct.unpack_from(">H", os2, 62)[0] if len(os2) >= 64 else 0
        ranges = tuple((a.tag, a.min_value, a.default_value, a.max_value) for a in face.axis_infos)
        colour = bool(face.has_color_paint or face.has_color_layers or face.has_color_png)
    except (FontError, OSError, ValueError, struct.error):
        return None
    family = next((name for name in names if name), path.stem)
    known = frozenset(name.casefold() for name in names if name)
    italic = bool(selection & 0x201)
    return FontRecord(path, index, family, known, min(max(weight, 1), 1000), width, italic, ranges, colour)


def _unreadable(path: Path, reason: str) -> FontError:
    return FontError(
        f"the font file {path.name} cannot be used: {reason}. Give a .ttf, .otf, .woff or .woff2 file.", code="FONT_UNREADABLE"
    )
