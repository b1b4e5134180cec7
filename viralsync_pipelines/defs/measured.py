"""What a generated file is, found by opening it: for judging what a provider delivered, and for showing it.

What belongs here: from a file to generate.outputs.Facts, and a small picture of it. What does not: probing itself (render/).
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.generate.outputs import BadOutput, Facts
from viralsync_pipelines.storage.keys import content_type_of

_EXTENSIONS = {
    "png": "png", "jpeg": "jpg", "webp": "webp", "gif": "gif", "mp4": "mp4", "mov": "mov", "webm": "webm", "matroska": "mkv", "mkv": "mkv",
    "mp3": "mp3", "wav": "wav", "m4a": "m4a", "ogg": "ogg", "flac": "flac", "aac": "aac",
}  # fmt: skip
_PREVIEW_WIDTH = 480


def measure(path: Path, wanted: str) -> Facts:
    """Open a file to its first picture or sound. wanted: video, image or audio. Raises BadOutput."""
    from viralsync_pipelines.render.probe import kind_of, probe
    from viralsync_pipelines.render.sniff import sniff_file

    try:
        sniffed = sniff_file(path)
        info = probe(path, sniffed)
    except SourceError as error:
        raise BadOutput(f"what came cannot be opened: {error.message}") from error
    media: str = kind_of(sniffed, info)
    if info.animated and wanted == "video":
        media = "video"
    if media != wanted:
        raise BadOutput(f"it is {media}, and {wanted} was ordered", "OUTPUT_KIND")
    if media != "image" and not info.duration:
        raise BadOutput("it has no length", "OUTPUT_EMPTY")
    ext = _EXTENSIONS.get(sniffed.container, sniffed.container)
    if media == "audio" and ext in {"mp4", "mov"}:
        ext = "m4a"
    seconds = float(info.duration) if info.duration is not None and media != "image" else None
    return Facts(media, content_type_of(f"output.{ext}"), ext, info.width or None, info.height or None, seconds)


def preview(path: Path, facts: Facts) -> bytes | None:
    """A small JPEG of a picture or of a video's first third; None for sound."""
    from io import BytesIO

    from PIL import Image

    from viralsync_pipelines.render.previews import grab, jpeg

    if facts.media == "video":
        return jpeg(grab(path, [Fraction(facts.duration_s or 0) / 3], _PREVIEW_WIDTH)[0], 75)
    if facts.media != "image":
        return None
    with Image.open(BytesIO(path.read_bytes())) as image:
        shown = image.convert("RGB")
        shown.thumbnail((_PREVIEW_WIDTH, _PREVIEW_WIDTH * 2))
        return jpeg(shown, 75)
