"""How what a step made shows in Dagster's web UI: pictures, links, measurements in words.

What belongs here: values for metadata and lines of output. What does not: making anything.
"""

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dagster as dg

from viralsync_pipelines.render.deliver import SoundNotes

# The web UI shows pictures in a dialog of 1,160 pixels, and cuts off what is wider.
_WIDEST = 1100


def picture_of(data: bytes) -> Any:
    """A JPEG that the web UI shows. In the event itself: the UI has no way to a file of the store."""
    from base64 import b64encode
    from io import BytesIO

    from PIL import Image

    from viralsync_pipelines.render.previews import jpeg

    image = Image.open(BytesIO(data))
    if image.width > _WIDEST:
        data = jpeg(image.resize((_WIDEST, round(image.height * _WIDEST / image.width))), 75)
    return dg.MetadataValue.md(f"![picture](data:image/jpeg;base64,{b64encode(data).decode()})")


def link_to(url: str) -> Any:
    """A link that a browser follows, or the path of a file: browsers follow no file: links from a web page."""
    parts = urlsplit(url)
    return dg.MetadataValue.path(unquote(parts.path)) if parts.scheme == "file" else dg.MetadataValue.url(url)


def wave_of(path: Path) -> bytes:
    """A JPEG of a WAV's loudest samples over time: the web UI plays nothing, so that a sound is seen beside the link to it."""
    import wave
    from io import BytesIO

    import numpy as np
    from PIL import Image, ImageDraw

    wide, high = 900, 96
    with wave.open(str(path)) as file:
        step = max(1, -(-file.getnframes() // wide))
        peaks = []
        while frames := file.readframes(step):
            peaks.append(int(np.abs(np.frombuffer(frames, "<i2").astype(np.int32)).max()))
    image = Image.new("RGB", (wide, high), "#ffffff")
    draw = ImageDraw.Draw(image)
    for x, peak in enumerate(peaks):
        half = max(1, round(peak / 32768 * (high / 2 - 2)))
        draw.line([(x, high // 2 - half), (x, high // 2 + half)], fill="#3b6ea8")
    data = BytesIO()
    image.save(data, "JPEG", quality=75)
    return data.getvalue()


def loudness_of(sound: SoundNotes) -> str:
    if sound.lufs is None or sound.before_lufs is None:
        return "silence"
    return f"{sound.before_lufs:.1f} LUFS brought to {sound.lufs:.1f}, peak {sound.peak or 0.0:.1f} dBTP"
