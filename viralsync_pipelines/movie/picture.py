"""What is seen, as values: where a layer stands, what it shows, from which frame to which, and the pieces a film is cut into.

What belongs here: values with integers for time and floats for pixels, and cutting them to a window of frames.
What does not: how they come from a spec (plan.py) or become a filter graph (filters.py).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from viralsync_pipelines.movie.art import ProgressArt, Rgba, ShapeArt, TextArt, WaveArt
from viralsync_pipelines.movie.caption_art import Caption
from viralsync_pipelines.movie.motion import Motion, is_still
from viralsync_pipelines.movie.waves import later, seen_from


@dataclass(frozen=True)
class Canvas:
    """The picture: pixels, frames per second."""

    width: int
    height: int
    fps: Fraction


@dataclass(frozen=True)
class Placement:
    """The point (x, y) in pixels at which the layer's pivot (shares of its own size, 0-1) stands, and the layer's size.

    For text `width` is the wrap width, `hug` says that the block's own width counts instead, and `height` None that its own height does.
    """

    x: float
    y: float
    pivot_x: float
    pivot_y: float
    width: float
    height: float | None
    hug: bool = False

    def centre(self, width: float, height: float) -> tuple[float, float]:
        return self.x + (0.5 - self.pivot_x) * width, self.y + (0.5 - self.pivot_y) * height


@dataclass(frozen=True)
class Tone:
    """Colour and focus: factors, shares, pixels and degrees as in the spec's `filters`."""

    brightness: float = 1.0
    contrast: float = 1.0
    saturation: float = 1.0
    grayscale: float = 0.0
    sepia: float = 0.0
    blur: float = 0.0
    hue: float = 0.0


@dataclass(frozen=True)
class Key:
    """A chroma key."""

    color: Rgba
    similarity: float
    blend: float


@dataclass(frozen=True)
class Look:
    opacity: float = 1.0
    rotation: float = 0.0
    flip: str = "none"
    radius: float = 0.0
    blend: str = "normal"
    tone: Tone | None = None
    key: Key | None = None


@dataclass(frozen=True)
class Footage:
    """A picture file in use. Identity is `sha256`, never the name.

    demuxer and decoder: forced ffmpeg names, decoder "" for ffmpeg's own choice. stream: index in the container, None for the first
    picture. yuv: luma and chroma rather than RGB. size: source pixels, turned as they are displayed. crop: left, top, width, height
    in source pixels. start: seconds into the source; seconds: how much of it is used, None for stills.
    speed: source seconds per shown second. loop: frames after which it starts over, 0 never.
    """

    sha256: str
    demuxer: str
    decoder: str
    size: tuple[int, int]
    crop: tuple[float, float, float, float]
    moving: bool
    start: Fraction = Fraction(0)
    seconds: Fraction | None = None
    fps: Fraction | None = None
    speed: Fraction = Fraction(1)
    loop: int = 0
    alpha: bool = False
    hdr: bool = False
    matrix: str = ""
    colour_range: str = ""
    primaries: str = ""
    stream: int | None = None
    yuv: bool = False


Content = Footage | TextArt | ShapeArt | ProgressArt | WaveArt


def files_of(content: Content) -> tuple[str, ...]:
    """sha256 of every file that is needed to show it."""
    if isinstance(content, WaveArt):
        return tuple(dict.fromkeys(cue.source for cue in content.cues))
    own = content.font_sha if isinstance(content, TextArt) else content.sha256 if isinstance(content, Footage) else None
    return () if own is None else (own,)


@dataclass(frozen=True)
class Visual:
    """One layer on screen: frames [first, first + frames) of its window; `first` may lie before the window."""

    first: int
    frames: int
    placement: Placement
    look: Look
    motion: Motion
    content: Content

    @property
    def last(self) -> int:
        return self.first + self.frames


@dataclass(frozen=True)
class Piece:
    """A stretch of film that is encoded once: a scene's own frames, or the overlap of two scenes.

    start: first frame on the movie's clock. count: frames. scene: index of the scene that brings it (for an overlap, the later one).
    under: the layers of the scene, or of the earlier scene in an overlap; into: those of the later one; over: movie-level layers;
    captions: what stands above all of them.
    """

    kind: Literal["body", "overlap"]
    scene: int
    start: int
    count: int
    background: Rgba
    under: tuple[Visual, ...]
    over: tuple[Visual, ...] = ()
    transition: str = ""
    into_background: Rgba = (0, 0, 0, 255)
    into: tuple[Visual, ...] = ()
    captions: tuple[Caption, ...] = ()

    @property
    def visuals(self) -> tuple[Visual, ...]:
        return (*self.under, *self.into, *self.over)

    @property
    def files(self) -> frozenset[str]:
        """sha256 of every file that is needed to show it, fonts among them."""
        shown = {sha256 for visual in self.visuals for sha256 in files_of(visual.content)}
        return frozenset(shown | {caption.look.font_sha for caption in self.captions if caption.look.font_sha is not None})


def cut(visuals: tuple[Visual, ...], first: int, count: int) -> tuple[Visual, ...]:
    """The layers as a window of `count` frames from `first` sees them, in the window's own frames.

    What never changes is trimmed to the window, so that its place in time does not make equal pictures differ.
    """
    seen = []
    for visual in visuals:
        begin, end = visual.first - first, visual.last - first
        if end <= 0 or begin >= count:
            continue
        moved = replace(visual, first=begin)
        moving = isinstance(visual.content, Footage) and visual.content.moving
        if not moving and is_still(visual.motion):
            moved = _trim_still(moved, count)
            moved = replace(moved, content=_content_later(moved.content, moved.first - begin))
        if isinstance(moved.content, WaveArt):
            start, stop = max(0, moved.first), min(count, moved.last)
            moved = replace(moved, content=seen_from(moved.content, start - moved.first, stop - start))
        seen.append(moved)
    return tuple(seen)


def _content_later(content: Content, frames: int) -> Content:
    """What is drawn anew for each frame, on the clock of a layer that begins `frames` frames later."""
    if isinstance(content, ProgressArt):
        return replace(content, passed=content.passed + frames)
    return later(content, frames) if isinstance(content, WaveArt) else content


def _trim_still(visual: Visual, count: int) -> Visual:
    enter, leave = visual.motion.enter, visual.motion.exit
    motion = visual.motion
    if enter is not None and visual.first + enter.frames <= 0:
        motion = replace(motion, enter=None)
    if leave is not None and visual.last - leave.frames >= count - 1:
        motion = replace(motion, exit=None)
    first = visual.first if motion.enter is not None else max(visual.first, 0)
    last = visual.last if motion.exit is not None else min(visual.last, count)
    return replace(visual, first=first, frames=last - first, motion=motion)
