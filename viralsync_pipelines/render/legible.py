"""Whether captions can be read on the picture that they came to stand on, measured on the finished film.

What belongs here: contrast of letters to what is around them. What does not: other verdicts (quality.py), where captions stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from viralsync_pipelines.movie.art import CaptionLook
from viralsync_pipelines.movie.caption_art import Caption
from viralsync_pipelines.movie.captioned import CaptionTrack
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.render.previews import grab
from viralsync_pipelines.render.quality import Verdict

if TYPE_CHECKING:
    import numpy as np

    Pixels = np.ndarray[Any, Any]

_Item = TypeVar("_Item")
NAME = "captions_legible"
# What WCAG 2.2 asks of large text. https://www.w3.org/TR/WCAG22/#contrast-minimum
LEAST = 3.0
# Pages that are looked at where a key frame shows one, each for one decoded frame; and where none does, each for up to two seconds of them:
# six of these took 5 of the 82 CPU-s of a film of 40 s.
_SAMPLES, _DECODED = 8, 2
# How far a decoded letter may be from its colour, of 255.
_NEAR = 40


def judge_captions(film: Path, tracks: Sequence[CaptionTrack], canvas: Canvas) -> Verdict:
    """The worst contrast of some pages, evenly spread over the film."""
    captions = sorted((caption for track in tracks for caption in track.captions), key=lambda caption: caption.first)
    wanted = f"letters at {LEAST:g}:1 or more to what is around them"
    if not captions:
        return Verdict(NAME, True, wanted, "no captions")
    looked_at, exact = _at_key_frames(film, captions, canvas.fps), False
    if not looked_at:
        looked_at, exact = [(caption, (caption.first + caption.last - 1) // 2) for caption in _spread(captions, _DECODED)], True
    moments = [(frame + Fraction(1, 4)) / canvas.fps for _, frame in looked_at]
    frames = grab(film, moments, canvas.width, exact=exact)
    found = [(contrast_in(frame, caption), moment) for frame, (caption, _), moment in zip(frames, looked_at, moments, strict=True)]
    worst, at = min(found)
    told = f"{worst:.1f}:1 at {float(at):.1f} s, the worst of {len(found)} pages"
    remedy = "" if worst >= LEAST else "; give captions a stroke, a background or another colour"
    return Verdict(NAME, worst >= LEAST, wanted, told + remedy)


def _at_key_frames(film: Path, captions: Sequence[Caption], fps: Fraction) -> list[tuple[Caption, int]]:
    """Pages with a key frame that shows them, and which."""
    import av

    with av.open(str(film)) as container:
        stream = container.streams.video[0]
        base = stream.time_base or Fraction(1)
        keys = [round(packet.pts * base * fps) for packet in container.demux(stream) if packet.is_keyframe and packet.pts is not None]
    shown = ((next((c for c in captions if c.first <= key < c.last), None), key) for key in keys)
    return _spread([(caption, key) for caption, key in shown if caption is not None], _SAMPLES)


def _spread(items: Sequence[_Item], most: int) -> list[_Item]:
    """At most so many of them, evenly."""
    step = max(1, -(-len(items) // most))
    return list(items[min(step // 2, len(items) - 1) :: step]) if items else []


def contrast_in(frame: Any, caption: Caption) -> float:
    """Of the page's letters to the ring of pixels around them, as WCAG reckons it: 1 to 21. 1 when letters cannot be told apart at all."""
    import cv2
    import numpy as np

    x, y, width, height = (round(value) for value in caption.look.box)
    pixels = np.asarray(frame)[max(0, y) : y + height, max(0, x) : x + width, :3]
    letters = np.zeros(pixels.shape[:2], np.uint8)
    for colour in _colours(caption.look):
        letters |= (np.abs(pixels.astype(np.int16) - np.array(colour, np.int16)).max(axis=2) <= _NEAR).astype(np.uint8)
    # The edge of a letter is a mixture of it and its surroundings, and counts as neither.
    reach = max(2, round(0.05 * caption.look.size))
    edge = cv2.dilate(letters, np.ones((3, 3), np.uint8))
    ring = cv2.dilate(edge, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)) - edge
    if not letters.any() or not ring.any():
        return 1.0
    light, dark = sorted((_luminance(pixels[letters == 1]), _luminance(pixels[ring == 1])), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def _colours(look: CaptionLook) -> list[tuple[int, int, int]]:
    return [colour[:3] for colour in (look.color, look.highlight, look.strong) if colour is not None]


def _luminance(pixels: Pixels) -> float:
    """Relative luminance of the median pixel, 0 to 1, by WCAG's own curve."""
    import numpy as np

    part = np.median(pixels, axis=0) / 255
    linear = np.where(part <= 0.04045, part / 12.92, ((part + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))
