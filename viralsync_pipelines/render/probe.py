"""What a sniffed file holds, measured: `probe(path, sniffed) -> MediaInfo`.

What belongs here: the choice of measurer, size limits and fonts. Pictures are measured in stills.py, streams in streams.py.
Every measurer reads a local file only, with the format forced, and must have decoded the first picture or sound.
"""

from __future__ import annotations

from pathlib import Path

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.media import Kind, MediaInfo
from viralsync_pipelines.render.sniff import Sniffed

# Part of the name under which measurements are cached; raise it whenever a measurement changes.
PROBE_VERSION = "1"

MAX_SIDE = 16384
MAX_PIXELS = 120_000_000


def probe(path: Path, sniffed: Sniffed) -> MediaInfo:
    """Measure a local file. Raises SourceError SOURCE_UNREADABLE (damaged, cut short, nothing usable) or SOURCE_TOO_LARGE."""
    if sniffed.kind == "font":
        return _font(path, sniffed)
    # Imported here: Pillow and PyAV cost every Dagster step a tenth of a second, and most steps find the answer cached.
    if sniffed.still or sniffed.demuxer == "webp_anim":
        from viralsync_pipelines.render.stills import measure_still

        return measure_still(path, sniffed)
    from viralsync_pipelines.render.streams import measure_streams

    return measure_streams(path, sniffed)


def kind_of(sniffed: Sniffed, info: MediaInfo) -> Kind:
    """What the file turned out to be: a container for clips without a picture in it is sound."""
    if sniffed.kind in {"video", "audio"}:
        return "video" if info.width else "audio"
    return sniffed.kind


def check_size(width: int, height: int) -> None:
    """Raises SourceError SOURCE_TOO_LARGE, or SOURCE_UNREADABLE for a picture of no size."""
    if width < 1 or height < 1:
        # ffmpeg also reports 0x0 for what its own pixel limit kept it from opening.
        raise SourceError(
            f"the picture has no size that can be read: it is damaged or larger than {MAX_PIXELS // 1_000_000} megapixels; "
            "export it again, smaller",
            code="SOURCE_UNREADABLE",
        )
    if max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise SourceError(
            f"the picture is {width}x{height}; at most {MAX_SIDE} pixels a side and {MAX_PIXELS // 1_000_000} megapixels "
            "are taken, so scale it down first",
            code="SOURCE_TOO_LARGE",
        )


def cut_short(what: str) -> SourceError:
    """The error for a file whose end is missing."""
    return SourceError(
        f"the file is cut short: {what}; copy or export it again, and wait until that has finished", code="SOURCE_UNREADABLE"
    )


def _font(path: Path, sniffed: Sniffed) -> MediaInfo:
    from fontTools.ttLib import TTFont

    try:
        with path.open("rb") as file, TTFont(file, lazy=True, fontNumber=0 if sniffed.container == "ttc" else -1) as font:
            glyphs = len(font.getGlyphOrder())
            if not font.getBestCmap() or not glyphs:
                raise SourceError("the font maps no characters to glyphs; use another font file", code="SOURCE_UNREADABLE")
            if not 16 <= font["head"].unitsPerEm <= 16384:
                raise SourceError("the font's head table is damaged; use another copy of it", code="SOURCE_UNREADABLE")
    except ImportError as error:
        raise SourceError(
            "WOFF2 fonts need the brotli package (pip install brotli); or use the TTF or OTF", code="SOURCE_UNREADABLE"
        ) from error
    except SourceError:
        raise
    # fontTools trips over damaged tables in as many ways as there are tables (struct.error, IndexError, KeyError, ...).
    except Exception as error:
        raise SourceError(
            f"the font cannot be read ({type(error).__name__}: {str(error)[:120]}); use another copy of it",
            code="SOURCE_UNREADABLE",
        ) from error
    return MediaInfo(container=sniffed.container)
