"""Films for tests, without Dagster: a document -> plan -> pieces -> decoded frames, and small sources to make films from.

Importable by every test: `lab(folder)` opens a place with a store, fonts and the folder's own files; `movie(...)` writes a
one-scene document; `Lab.frames(document)` gives every frame of the film as RGB; `numbered` makes clips whose frames can be read.
"""

from __future__ import annotations

import itertools
import subprocess
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from viralsync_pipelines.movie.encoding import ENCODERS, Encoder
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.render.artwork import Easel
from viralsync_pipelines.render.ffmpeg import ffmpeg_path
from viralsync_pipelines.render.fonts import FontBook, open_font_book
from viralsync_pipelines.render.prepare import Desk, Prepared, prepare
from viralsync_pipelines.render.scenes import render_piece, render_still
from viralsync_pipelines.render.shelf import Shelf
from viralsync_pipelines.render.sources import Sources
from viralsync_pipelines.storage.local import LocalStore

Pixels = np.ndarray[Any, Any]
SIDE = 360
# As good as lossless, for judging geometry and motion; colours are judged with the encoders that users get.
FINE = Encoder("veryfast", 4, Fraction(1))


def movie(layers: Sequence[Mapping[str, Any]], duration: float = 0.2, **fields: Any) -> dict[str, Any]:
    """A document of one scene on a square of 360 pixels at 30 frames a second."""
    return {"width": SIDE, "height": SIDE, "scenes": [{"id": "s", "duration": duration, "layers": list(layers)}], **fields}


def scenes(*parts: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    """A document of several scenes on the same canvas; ids are given where missing."""
    return {"width": SIDE, "height": SIDE, "scenes": [{"id": f"s{i}", **part} for i, part in enumerate(parts)], **fields}


@dataclass
class Lab:
    """A folder of media that films may use, and what renders them."""

    folder: Path
    fonts: FontBook
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    @cached_property
    def store(self) -> LocalStore:
        return LocalStore(self.folder / ".store")

    def speak(self, line: Line) -> Spoken:
        raise AssertionError(f"nobody speaks in these films: {line}")

    @cached_property
    def desk(self) -> Desk:
        cache = self.folder / ".sources"
        sources = Sources(cache=cache, store=self.store, allow_local=True, base_dir=self.folder)
        return Desk(sources, self.fonts, self.speak, Shelf(self.store, cache))

    def plan(self, document: Mapping[str, Any], *, draft: bool = False) -> Prepared:
        return prepare(document, self.desk, variables={}, draft=draft)

    def scratch(self) -> Path:
        path = self.folder / ".scratch" / str(next(self._numbers))
        path.mkdir(parents=True)
        return path

    def easel(self, prepared: Prepared) -> Easel:
        return Easel(self.desk.shelf.finder(prepared.plan), self.fonts)

    def clips(self, prepared: Prepared, encoder: Encoder | None = None) -> list[Path]:
        """Every piece as a file, in order."""
        plan, easel, made = prepared.plan, self.easel(prepared), []
        for piece in plan.pieces:
            folder = self.scratch()
            made.append(folder / "clip.mp4")
            render_piece(piece, plan.canvas, encoder or ENCODERS[plan.quality], easel, folder, made[-1])
        return made

    def frames(self, document: Mapping[str, Any], encoder: Encoder | None = None) -> Pixels:
        """Every frame of the film, RGB float32, frames x height x width x 3."""
        clips = [decoded(path) for path in self.clips(self.plan(document), encoder)]
        return np.concatenate(clips)

    def still(self, document: Mapping[str, Any], frame: int) -> Pixels:
        """One frame of the film as `render_still` gives it, RGB float32."""
        prepared = self.plan(document)
        piece = next(p for p in prepared.plan.pieces if p.start <= frame < p.start + p.count)
        folder = self.scratch()
        render_still(piece, prepared.plan.canvas, self.easel(prepared), folder, frame - piece.start, folder / "still.png")
        with Image.open(folder / "still.png") as image:
            return np.asarray(image.convert("RGB"), np.float32)


def lab(folder: Path) -> Lab:
    folder.mkdir(parents=True, exist_ok=True)
    return Lab(folder, open_font_book(()))


# Reading films.


def decoded(path: Path) -> Pixels:
    """Frames of a file as RGB float32, by Rec. 709 limited range, whatever its tags say."""
    return np.stack([to_rgb(frame) for frame in planes(path)])


def planes(path: Path) -> list[tuple[Pixels, Pixels, Pixels]]:
    import av

    out = []
    with av.open(str(path)) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            grid = frame.to_ndarray(format="yuv420p")
            h, w = frame.height, frame.width
            flat = grid.reshape(-1)
            out.append((
                flat[: w * h].reshape(h, w).copy(), flat[w * h : w * h * 5 // 4].reshape(h // 2, w // 2).copy(),
                flat[w * h * 5 // 4 :].reshape(h // 2, w // 2).copy(),
            ))  # fmt: skip
    return out


def to_rgb(yuv: tuple[Pixels, Pixels, Pixels]) -> Pixels:
    """The textbook's matrix in floating point; chroma repeated."""
    y = (yuv[0].astype(np.float32) - 16) / 219
    u, v = ((p.astype(np.float32) - 128).repeat(2, 0).repeat(2, 1) / 224 for p in yuv[1:])
    rgb = np.stack([y + 1.5748 * v, y - 0.187324 * u - 0.468124 * v, y + 1.8556 * u], -1)
    return np.clip(rgb * 255, 0, 255)


def psnr(a: Pixels, b: Pixels) -> float:
    """Peak signal to noise, dB; 99 for equal pictures."""
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 99.0 if error < 1e-9 else float(10 * np.log10(255**2 / error))


def middle(picture: Pixels, size: int = 12) -> Pixels:
    """Mean colour of a square in the middle."""
    h, w = picture.shape[:2]
    return np.asarray(picture[h // 2 - size : h // 2 + size, w // 2 - size : w // 2 + size].mean((0, 1)))


# Making sources.


def ffmpeg(*args: str | Path, data: bytes | None = None) -> None:
    """Run ffmpeg; an AssertionError with what it said when it fails."""
    command = [str(ffmpeg_path()), "-hide_banner", "-v", "error", "-y", *map(str, args)]
    done = subprocess.run(command, input=data, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def picture(path: Path, pixels: Pixels, **options: Any) -> Path:
    Image.fromarray(np.asarray(pixels, np.uint8)).save(path, **options)
    return path


def solid(color: Sequence[int], width: int = SIDE, height: int = SIDE) -> Pixels:
    return np.broadcast_to(np.array(color, np.uint8), (height, width, len(color))).copy()


def encode(path: Path, frames: Iterable[Pixels], fps: str | Fraction, *args: str) -> Path:
    """RGB (or RGBA) frames through ffmpeg with the given output arguments."""
    stack = [np.ascontiguousarray(f, np.uint8) for f in frames]
    h, w, depth = stack[0].shape
    ffmpeg(
        "-f", "rawvideo", "-pixel_format", "rgba" if depth == 4 else "rgb24", "-video_size", f"{w}x{h}", "-framerate", str(fps),
        "-i", "pipe:0", *args, path, data=b"".join(f.tobytes() for f in stack),
    )  # fmt: skip
    return path


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "10", "-threads", "1")
BT709 = ("-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p", "-colorspace", "bt709", "-color_range", "tv",
         "-color_primaries", "bt709", "-color_trc", "bt709")  # fmt: skip
BITS = 8


def number_plate(number: int, width: int = 160, height: int = 160) -> Pixels:
    """A frame that shows its number: one bar for each of eight bits, black or white, the highest at the left."""
    bits = [(number >> (BITS - 1 - i)) & 1 for i in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8) * 235 + 10, -(-width // BITS))[:width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def numbered(path: Path, fps: str | Fraction, count: int, *args: str, size: tuple[int, int] = (160, 160)) -> Path:
    """A clip of `count` frames that show their numbers, by default H.264 with B-frames and a key frame every 12."""
    plates = [number_plate(i, *size) for i in range(count)]
    return encode(path, plates, fps, *(args or (*X264, "-preset", "veryfast", "-g", "12", *BT709)))


def read_number(picture: Pixels) -> int:
    """The number that a frame shows across its whole width."""
    h, w = picture.shape[:2]
    band = picture[h // 2 - 4 : h // 2 + 4].mean((0, 2))
    marks = [band[int((i + 0.5) * w / BITS)] > 128 for i in range(BITS)]
    return sum(int(m) << (BITS - 1 - i) for i, m in enumerate(marks))


def read_numbers(pictures: Iterable[Pixels], read: Callable[[Pixels], int] = read_number) -> list[int]:
    return [read(p) for p in pictures]
