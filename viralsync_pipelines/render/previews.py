"""Pictures of a finished film: thumbnail, poster and contact sheet, from its key frames.

What belongs here: grabbing and arranging frames. What does not: where they are kept (deliver.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from av import VideoFrame, VideoStream
    from av.container import InputContainer
    from PIL.Image import Image

_SHEET_COLUMNS = 6


def grab(film: Path, moments: Sequence[Fraction], width: int, *, exact: bool = False) -> list[Image]:
    """The key frame at or before each moment (seconds), `width` pixels wide. A seek and one decoded frame each.

    exact: the frame on screen at the moment itself, which costs decoding up to two seconds of film for each.
    """
    import av
    from PIL import Image as Pictures

    images: list[Image] = []
    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for moment in moments:
            container.seek(int(moment / (stream.time_base or Fraction(1))), stream=stream)
            frame = _frame_at(container, stream, moment) if exact else _key_frame(container, stream)
            height = max(2, round(frame.height * width / frame.width))
            small = frame.reformat(width=width, height=height, format="rgb24", src_colorspace="ITU709")
            images.append(Pictures.fromarray(small.to_ndarray()))
    return images


def _key_frame(container: InputContainer, stream: VideoStream) -> VideoFrame:
    """The next key frame, and nothing else: as it is read, the decoder would wait for those that are shown before it."""
    packet = next(packet for packet in container.demux(stream) if packet.is_keyframe)
    frame = next(iter(packet.decode() or stream.codec_context.decode(None)))
    stream.codec_context.flush_buffers()
    return frame


def _frame_at(container: InputContainer, stream: VideoStream, moment: Fraction) -> VideoFrame:
    frames = container.decode(stream)
    frame = next(frames)
    while Fraction((frame.pts or 0) + (frame.duration or 1)) * (stream.time_base or 1) <= moment:
        frame = next(frames)
    return frame


def jpeg(image: Image, quality: int = 85) -> bytes:
    """The image as JPEG bytes."""
    out = BytesIO()
    image.save(out, "JPEG", quality=quality, optimize=True)
    return out.getvalue()


def rgb_jpeg(pixels: bytes, size: tuple[int, int]) -> bytes:
    """Raw rgb24 as JPEG bytes."""
    from PIL import Image as Pictures

    return jpeg(Pictures.frombytes("RGB", size, pixels), 80)


def contact_sheet(images: Sequence[Image]) -> Image:
    """Images in even rows of at most six, edge to edge with a thin gap."""
    from PIL import Image as Pictures

    gap = 4
    wide, tall = images[0].size
    rows = -(-len(images) // _SHEET_COLUMNS)
    columns = -(-len(images) // rows)
    sheet = Pictures.new("RGB", (columns * (wide + gap) + gap, rows * (tall + gap) + gap), (24, 24, 27))
    for index, image in enumerate(images):
        sheet.paste(image, (gap + index % columns * (wide + gap), gap + index // columns * (tall + gap)))
    return sheet
