"""Measuring pictures with Pillow: size as looked at (EXIF orientation applied), transparency, and animated WebP by its chunks.

What belongs here: formats that hold pictures without a stream clock. What does not: GIF and APNG (streams.py).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.media import MediaInfo
from viralsync_pipelines.render.probe import MAX_PIXELS, check_size, cut_short
from viralsync_pipelines.render.sniff import Sniffed

if TYPE_CHECKING:
    from PIL import Image

_ORIENTATION = 0x0112
# EXIF orientation -> degrees clockwise; 2, 4, 5 and 7 are mirrored as well, which leaves the size alone.
_TURNS = {3: 180, 4: 180, 5: 270, 6: 90, 7: 90, 8: 270}

_PILLOW = {"jpeg": "JPEG", "png": "PNG", "webp": "WEBP", "bmp": "BMP", "avif": "AVIF", "heic": "HEIF"}
_CODECS = {"jpeg": "mjpeg", "avif": "av1", "heic": "hevc"}
_PIX_FMTS = {
    "1": "monob", "L": "gray", "LA": "ya8", "P": "pal8", "PA": "pal8", "RGB": "rgb24", "RGBA": "rgba", "RGBX": "rgb0",
    "CMYK": "cmyk", "YCbCr": "yuv444p", "I;16": "gray16le", "I;16B": "gray16be", "I": "gray16le", "F": "grayf32le",
}  # fmt: skip

# ffmpeg's webp_anim demuxer plays frames that claim 10 ms or less for 100; a measured length must be a played one.
_LEAST_DELAY_MS, _DEFAULT_DELAY_MS = 10, 100


def measure_still(path: Path, sniffed: Sniffed) -> MediaInfo:
    """Decode the (first) picture whole. `pix_fmt` is ffmpeg's name for how Pillow delivers it. Raises SourceError."""
    from PIL import Image

    # Pillow's own limit warns at 89 megapixels; ours is judged right after the header is read, before any pixel.
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    if sniffed.container == "heic":
        _open_heic()
    try:
        with Image.open(path, formats=(_PILLOW[sniffed.container],)) as picture:
            width, height = picture.size
            check_size(width, height)
            picture.load()
            return _info(picture, path, sniffed)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise SourceError(
            f"the picture has more than {MAX_PIXELS // 1_000_000} megapixels; scale it down first", code="SOURCE_TOO_LARGE"
        ) from error
    except SourceError:
        raise
    # Pillow's readers raise whatever the damaged bytes lead them to (OSError, SyntaxError, RuntimeError, KeyError, ...).
    except Exception as error:
        if "truncated" in str(error).lower():
            raise cut_short("the picture ends before its last line") from error
        raise SourceError(_damaged(sniffed), code="SOURCE_UNREADABLE") from error


def _damaged(sniffed: Sniffed) -> str:
    return (
        f"the {sniffed.container.upper()} picture cannot be decoded; it is damaged, so export it again (PNG or JPEG are safest)"
    )


def _info(picture: Image.Image, path: Path, sniffed: Sniffed) -> MediaInfo:
    try:
        turn = _TURNS.get(picture.getexif().get(_ORIENTATION, 1), 0)
    except Exception:
        turn = 0  # damaged EXIF is no reason to turn a good picture away
    width, height = picture.size if turn % 180 == 0 else picture.size[::-1]
    delays = _webp_delays(path) if sniffed.demuxer == "webp_anim" else ()
    milliseconds = sum(delays)
    duration = Fraction(milliseconds, 1000) if len(delays) > 1 else None
    return MediaInfo(
        width=width,
        height=height,
        duration=duration,
        fps=Fraction(len(delays)) / duration if duration else None,
        frames=len(delays) or 1,
        video_duration=duration,
        container=sniffed.container,
        codec=_CODECS.get(sniffed.container, sniffed.container),
        pix_fmt=_PIX_FMTS.get(picture.mode, ""),
        rotation=turn,
        alpha=picture.has_transparency_data,
        animated=len(delays) > 1,
        vfr=len(set(delays)) > 1,
        video_stream=0,
    )


def _webp_delays(path: Path) -> tuple[int, ...]:
    """Milliseconds of each frame, from the ANMF chunks; a file that ends inside one is cut short."""
    delays = []
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(12)
        while len(header := file.read(8)) == 8:
            length = int.from_bytes(header[4:], "little")
            start = file.tell()
            if start + length > size:
                raise cut_short("a frame of the animation is missing")
            if header[:4] == b"ANMF":
                delay = int.from_bytes(file.read(15)[12:15], "little")
                delays.append(delay if delay > _LEAST_DELAY_MS else _DEFAULT_DELAY_MS)
            file.seek(start + length + length % 2)
    return tuple(delays)


def _open_heic() -> None:
    try:
        import pi_heif  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError as error:
        raise SourceError(
            "HEIC pictures need an extra (pip install 'viralsync-pipelines[heic]'); or save the picture as JPEG",
            code="SOURCE_UNREADABLE",
        ) from error
    pi_heif.register_heif_opener()
