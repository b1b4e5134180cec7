"""Everything that is drawn once: pictures, titles and shapes as bitmaps at their place on the canvas.

What belongs here: from a visual's content to one RGBA bitmap. What does not: movement (frames.py), lettering itself (lettering.py).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from io import BytesIO
from math import ceil, floor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.movie.art import ShapeArt, TextArt
from viralsync_pipelines.movie.grading import tone_matrix
from viralsync_pipelines.movie.picture import Canvas, Footage, Tone, Visual
from viralsync_pipelines.render.fonts import FontBook

if TYPE_CHECKING:
    import numpy as np

# A photograph of 24 Mpx takes 72 MB as RGB; five times that is the most one still may take.
_MOST_PIXELS = 120_000_000
# A Ken Burns move that goes further in than this is enlarged from here on.
_MOST_ZOOM = 3.0


@dataclass(frozen=True)
class Sprite:
    """A bitmap on the canvas: straight RGBA (or RGB when opaque), uint8, height x width x channels.

    x, y: where the bitmap's top left pixel stands. centre: the point, in bitmap pixels, that turns and grows stay on.
    size: the layer's own size in pixels, without shadow or stroke. groups: for text that is revealed, the boxes
    (x0, y0, x1, y1) of each step, widened by `reach` pixels for strokes and overhang.
    """

    pixels: np.ndarray[Any, Any]
    x: float
    y: float
    centre: tuple[float, float]
    size: tuple[float, float]
    groups: tuple[tuple[tuple[int, int, int, int], ...], ...] = ()
    reach: int = 0

    @property
    def opaque(self) -> bool:
        return bool(self.pixels.shape[2] == 3)


@dataclass(frozen=True)
class Easel:
    """What drawing needs: where each source's bytes are (by sha256), and the fonts."""

    path_of: Callable[[str], Path]
    fonts: FontBook


def draw(visual: Visual, canvas: Canvas, easel: Easel) -> Sprite:
    """The visual's bitmap, upright: flips, tone and rounded corners are in it, rotation, opacity and movement are not."""
    content, place = visual.content, visual.placement
    groups: tuple[tuple[tuple[int, int, int, int], ...], ...] = ()
    reach = 0
    if isinstance(content, TextArt):
        from viralsync_pipelines.render.lettering import draw_text, reveal_boxes

        font = easel.path_of(content.font_sha) if content.font_sha is not None else None
        lettering = draw_text(content, easel.fonts, font)
        pixels, (left, top) = lettering.pixels, lettering.inset
        # Without a width of its own, text is as wide as its longest line.
        width = max(1.0, lettering.ink[2] - lettering.ink[0]) if place.hug else place.width
        indent = lettering.ink[0] - left if place.hug else 0.0
        # The block stands in the middle of a box that is higher than itself.
        height = lettering.block[1] if place.height is None else place.height
        shift = 0.0 if place.height is None else (height - lettering.block[1]) / 2
        if visual.motion.reveal is not None:
            reach = ceil(lettering.reach)
            groups = _groups(reveal_boxes(lettering, visual.motion.reveal), reach)  # type: ignore[arg-type]
        cx, cy = place.centre(width, height)
        sprite_x, sprite_y = _snapped(cx - width / 2 - left - indent), _snapped(cy - height / 2 - top + shift)
        pixels = finished(pixels, visual)
        return Sprite(pixels, sprite_x, sprite_y, (cx - sprite_x, cy - sprite_y), (width, height), groups, reach)
    width, height = float(max(1, round(place.width))), float(max(1, round(place.height or 1.0)))
    factor = 1.0
    if isinstance(content, ShapeArt):
        from viralsync_pipelines.render.shapes import draw_shape

        pixels = draw_shape(content)
    elif not isinstance(content, Footage):
        raise TypeError(f"a {type(content).__name__} is drawn anew for each frame (redrawn.py)")
    else:
        factor = magnified(visual)
        pixels = picture(content, (round(width * factor), round(height * factor)), easel)
    pixels = finished(pixels, visual, factor)
    cx, cy = place.centre(width, height)
    x, y = _snapped(cx - width / 2), _snapped(cy - height / 2)
    return Sprite(pixels, x, y, (pixels.shape[1] / 2, pixels.shape[0] / 2), (width, height))


def _snapped(value: float) -> float:
    # What rests lies on whole pixels, or all of it would be sampled half way between two and look soft.
    return float(floor(value + 0.5))


def _groups(revealed: Sequence[Sequence[Any]], reach: int) -> tuple[tuple[tuple[int, int, int, int], ...], ...]:
    return tuple(
        tuple((floor(b.x0 - reach), floor(b.y0 - reach), ceil(b.x1 + reach), ceil(b.y1 + reach)) for b in group) for group in revealed
    )


def magnified(visual: Visual) -> float:
    """How much larger than placed a picture is drawn, because movement will go in; never beyond what its source can show."""
    motion, place, content = visual.motion, visual.placement, visual.content
    move, grown = motion.ken_burns, 1.0
    for name in ("scale", "width", "height"):
        grown = max(grown, *(key.value for key in motion.track(name) or ()), 1.0)
    grown *= max(move.start.scale, move.end.scale) if move is not None else 1.0
    if not isinstance(content, Footage):
        return 1.0
    detail = max(content.crop[2] / place.width, content.crop[3] / (place.height or 1.0))
    return max(1.0, min(_MOST_ZOOM, grown, detail))


def picture(footage: Footage, size: tuple[int, int], easel: Easel) -> np.ndarray[Any, Any]:
    """The used part of a still at `size`: RGB, or RGBA when it has transparency. EXIF turns are undone, CMYK and 16 bit are read."""
    import numpy as np
    from PIL import Image, ImageOps, UnidentifiedImageError

    path = easel.path_of(footage.sha256)
    Image.MAX_IMAGE_PIXELS = _MOST_PIXELS
    if footage.demuxer == "mov":
        with contextlib.suppress(ImportError):
            import pi_heif  # type: ignore[import-not-found, import-untyped, unused-ignore]

            pi_heif.register_heif_opener()
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > _MOST_PIXELS:
                raise SourceError(f"the picture has {opened.width}x{opened.height} pixels; scale it below 120 megapixels first",
                                  code="SOURCE_TOO_LARGE")  # fmt: skip
            profile = opened.info.get("icc_profile")
            ImageOps.exif_transpose(opened, in_place=True)
            image: Image.Image = _eight_bit(opened)
            image.load()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError):
        image, profile = _decoded_by_ffmpeg(footage, path), None
    left, top, width, height = footage.crop
    left, top = max(0.0, left), max(0.0, top)
    box = (left, top, min(left + width, image.width), min(top + height, image.height))
    image = image.resize(size, Image.Resampling.LANCZOS, box=box, reducing_gap=3.0)
    return np.asarray(_in_srgb(image, profile) if profile else image)


def _in_srgb(image: Any, profile: bytes) -> Any:
    """Colours as sRGB: pictures of phones come in Display P3. A profile that cannot be used is left aside."""
    from PIL import ImageCms

    try:
        own = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "srgb" in ImageCms.getProfileDescription(own).lower():
            return image
        return ImageCms.profileToProfile(image, own, ImageCms.createProfile("sRGB"), renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC)
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image


def _eight_bit(image: Any) -> Any:
    if image.mode.startswith(("I;16", "I", "F")):
        # 16-bit grey: Pillow would clip instead of scale.
        import numpy as np
        from PIL import Image

        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    transparent = image.mode in {"RGBA", "LA", "PA", "La", "RGBa"} or "transparency" in image.info
    mode = "RGBA" if transparent else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _decoded_by_ffmpeg(footage: Footage, path: Path) -> Any:
    """What Pillow cannot read (HEIC, odd TIFF-like stills), through ffmpeg's decoder."""
    from PIL import Image

    from viralsync_pipelines.render.ffmpeg import read_frames

    width, height = footage.size
    pixels = "rgba" if footage.alpha else "rgb24"
    argv = ["-f", footage.demuxer, "-protocol_whitelist", "file,pipe,fd", "-i", str(path), "-frames:v", "1", "-vf",
            f"scale={width}:{height}:out_range=pc,format={pixels}", "-f", "rawvideo", "pipe:1"]  # fmt: skip
    size = width * height * (4 if footage.alpha else 3)
    for frame in read_frames(argv, size):
        return Image.frombytes("RGBA" if footage.alpha else "RGB", (width, height), bytes(frame))
    raise SourceError("the picture could not be decoded; open it in an image program and save it as PNG or JPEG")


def finished(pixels: np.ndarray[Any, Any], visual: Visual, factor: float = 1.0) -> np.ndarray[Any, Any]:
    """Tone, key, flip and corners on a bitmap that is `factor` times as large as it will be placed."""
    import numpy as np

    look = visual.look
    if look.tone is not None:
        pixels = toned(pixels, replace(look.tone, blur=look.tone.blur * factor))
    if look.key is not None:
        pixels = keyed(pixels, look.key.color[:3], look.key.similarity, look.key.blend)
    if look.flip in {"horizontal", "both"}:
        pixels = pixels[:, ::-1]
    if look.flip in {"vertical", "both"}:
        pixels = pixels[::-1]
    if look.radius > 0 and not isinstance(visual.content, TextArt) and visual.motion.ken_burns is None:
        pixels = with_alpha(pixels)
        mask = rounded(pixels.shape[1], pixels.shape[0], look.radius * factor)
        pixels = pixels.copy()
        pixels[..., 3] = (pixels[..., 3].astype(np.uint16) * mask // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels)


def with_alpha(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """RGBA from RGB; RGBA as it is."""
    import numpy as np

    if pixels.shape[2] == 4:
        return pixels
    return np.dstack([pixels, np.full(pixels.shape[:2], 255, np.uint8)])


def rounded(width: int, height: int, radius: float) -> np.ndarray[Any, Any]:
    """A grey mask with rounded corners, smooth at the edge: the signed distance to the rounded box, one pixel soft."""
    import numpy as np

    radius = min(radius, width / 2, height / 2)
    x = np.abs(np.arange(width) + 0.5 - width / 2) - (width / 2 - radius)
    y = np.abs(np.arange(height) + 0.5 - height / 2) - (height / 2 - radius)
    far = np.hypot(np.maximum(x, 0)[None, :], np.maximum(y, 0)[:, None])
    return np.asarray(np.clip(radius - far + 0.5, 0, 1) * 255 + 0.5, np.uint8)


def toned(pixels: np.ndarray[Any, Any], tone: Tone) -> np.ndarray[Any, Any]:
    """Colour matrix and blur on a still; what filters.py does to clips with colorchannelmixer and gblur."""
    import cv2
    import numpy as np

    matrix = np.array(tone_matrix(tone), np.float32)
    matrix[:, 3] *= 255
    rgb = cv2.transform(np.ascontiguousarray(pixels[..., :3]), matrix)
    out = rgb if pixels.shape[2] == 3 else np.dstack([rgb, pixels[..., 3]])
    return np.asarray(cv2.GaussianBlur(out, (0, 0), tone.blur)) if tone.blur > 0 else out


def keyed(pixels: np.ndarray[Any, Any], color: tuple[int, ...], similarity: float, blend: float) -> np.ndarray[Any, Any]:
    """A chroma key on a still, by the distance in chroma that ffmpeg's chromakey measures."""
    import cv2
    import numpy as np

    rgb = pixels[..., :3].astype(np.float32)
    wanted = np.array(color, np.float32)

    def chroma(c: np.ndarray[Any, Any]) -> tuple[Any, Any]:
        luma = 0.2126 * c[..., 0] + 0.7152 * c[..., 1] + 0.0722 * c[..., 2]
        return (c[..., 2] - luma) / 1.8556, (c[..., 0] - luma) / 1.5748

    (u, v), (ku, kv) = chroma(rgb), chroma(wanted)
    # In limited range, and over the eight neighbours too, as chromakey does.
    far = cv2.blur(224 / 255 * np.sqrt(((u - ku) ** 2 + (v - kv) ** 2) / (255.0 * 255.0 * 2)), (3, 3))
    alpha = np.clip((far - similarity) / blend, 0, 1) if blend > 1e-4 else (far > similarity).astype(np.float32)
    out = with_alpha(pixels).copy()
    out[..., 3] = (out[..., 3] * alpha).astype(np.uint8)
    return out
