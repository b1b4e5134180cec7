"""Making what was asked for: a picture, a clip, a chord, a spoken line, a picture that speaks. Equal inputs give equal files.

What belongs here: from a checked input to files. What does not: pixels (pictures.py), which inputs there are (models.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from viralsync_pipelines.errors import FfmpegFailed, SpeechError
from viralsync_pipelines.sandbox.models import ASPECTS, RESOLUTIONS, Recipe
from viralsync_pipelines.sandbox.pictures import Pixels, Scene, seed_of, with_voice_bars, zoomed
from viralsync_pipelines.sandbox.sources import ModelFailed, Sources

FPS = 24
_RATE = 44_100
# What a picture's sides come to at its aspect ratio, in pixels of area.
_AREA = 640_000
_MOST_SPEAKING_SIDE = 640
# Nothing of the date or the program's version in the file, and one thread: the same bytes for the same input on every machine's cores.
_PLAIN = ("-map_metadata", "-1", "-fflags", "+bitexact", "-flags:v", "+bitexact", "-flags:a", "+bitexact", "-threads", "1")
_H264 = ("-c:v", "libx264", "-preset", "veryfast", "-crf", "26", "-pix_fmt", "yuv420p", "-movflags", "+faststart")
_CHORDS = ((0, 4, 7, 11), (0, 3, 7, 10), (0, 5, 7, 12), (0, 4, 9, 14), (0, 3, 8, 12))


@dataclass(frozen=True)
class Maker:
    sources: Sources

    def make(self, recipe: Recipe, values: Mapping[str, Any], folder: Path) -> Path:
        """The file that the model makes of a checked input, in `folder`. Raises ModelFailed."""
        kinds: dict[str, Callable[[Mapping[str, Any], Path], Path]] = {
            "image": self._image, "video": self._video, "audio": self._audio, "voice": self._voice, "talking_head": self._talking_head,
        }  # fmt: skip
        try:
            return kinds[recipe.makes](values, folder)
        except SpeechError as error:
            raise ModelFailed(error.message) from error
        except FfmpegFailed as error:
            last = error.stderr_tail.strip().splitlines()[-1:] or [""]
            raise ModelFailed(f"{error.message} {last[0]}".strip()) from error

    def _image(self, values: Mapping[str, Any], folder: Path) -> Path:
        from PIL import Image

        width, height = image_size(values)
        scene = _scene(values, width, height)
        out = folder / "out-0.png"
        Image.fromarray(scene.frame(0.6)).save(out, compress_level=3)
        return out

    def _video(self, values: Mapping[str, Any], folder: Path) -> Path:
        width, height = video_size(values)
        count = max(1, round(values["duration"] * FPS))
        if values.get("image"):
            still = self._still(values["image"], folder)
            frames = (zoomed(still, width, height, n / count) for n in range(count))
        else:
            scene = _scene(values, width, height)
            frames = (scene.frame(n / count) for n in range(count))
        return _encoded(frames, width, height, folder / "out.mp4")

    def _audio(self, values: Mapping[str, Any], folder: Path) -> Path:
        from viralsync_pipelines.render.ffmpeg import run

        out = folder / "out.m4a"
        sound = chord(seed_of(values["prompt"], values.get("seed")), values["duration"])
        run(
            ["-f", "s16le", "-ar", str(_RATE), "-ac", "2", "-i", "sound", "-c:a", "aac", "-b:a", "128k", *_PLAIN, str(out)],
            feeds={"sound": iter([sound.tobytes()])},
        )  # fmt: skip
        return out

    def _voice(self, values: Mapping[str, Any], folder: Path) -> Path:
        out = folder / "out.wav"
        _speak(values, out)
        return out

    def _talking_head(self, values: Mapping[str, Any], folder: Path) -> Path:
        still = self._still(values["image"], folder)
        scale = min(1.0, _MOST_SPEAKING_SIDE / max(still.shape[:2]))
        width, height = _even(still.shape[1] * scale), _even(still.shape[0] * scale)
        if values.get("audio"):
            sound = self.sources.fetch(values["audio"], folder / "in.audio")
        else:
            sound = folder / "in.wav"
            _speak(values, sound)
        loud = loudness(sound)
        frames = (
            with_voice_bars(zoomed(still, width, height, 0.2 * n / len(loud)), each, n / FPS) for n, each in enumerate(loud)
        )  # fmt: skip
        return _encoded(frames, width, height, folder / "out.mp4", sound)

    def _still(self, address: str, folder: Path) -> Pixels:
        from PIL import Image, ImageOps

        path = self.sources.fetch(address, folder / "in.image")
        try:
            with Image.open(path) as opened:
                # Twice what is ever shown; a photo of 50 megapixels would take 150 MB for each worker.
                opened.draft("RGB", (2048, 2048))
                upright = ImageOps.exif_transpose(opened).convert("RGB")
                upright.thumbnail((2048, 2048))
                return np.asarray(upright, dtype=np.uint8)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise ModelFailed(f"cannot identify image file: {error}") from error


def image_size(values: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels: what was asked for, the other side by the aspect ratio."""
    wide, high = ASPECTS[values["aspect_ratio"]]
    width, height = values.get("width"), values.get("height")
    if width is None and height is None:
        width, height = (round(math.sqrt(_AREA * share) / 16) * 16 for share in (wide / high, high / wide))
    width = width or round((height or 0) * wide / high)
    return max(1, width), max(1, height or round(width * high / wide))


def video_size(values: Mapping[str, Any]) -> tuple[int, int]:
    """Pixels: the resolution is the shorter side."""
    wide, high = ASPECTS[values["aspect_ratio"]]
    short = RESOLUTIONS[values["resolution"]]
    return (_even(short * wide / high), short) if wide >= high else (short, _even(short * high / wide))


def _even(pixels: float) -> int:
    return max(2, round(pixels / 2) * 2)


def _scene(values: Mapping[str, Any], width: int, height: int) -> Scene:
    seed = seed_of(values["prompt"], values.get("seed"))
    return Scene(width, height, values["prompt"], seed, f"sandbox · seed {seed}")


def chord(seed: int, seconds: float) -> npt.NDArray[np.int16]:
    """samples x 2: four notes that swell one after the other, faded in and out."""
    chance = np.random.default_rng(seed)
    root, notes = 110.0 * 2 ** (chance.integers(0, 12) / 12), _CHORDS[chance.integers(0, len(_CHORDS))]
    at = np.arange(round(seconds * _RATE)) / _RATE
    sides = np.zeros((len(at), 2))
    for number, note in enumerate(notes):
        pitch = root * 2 ** (note / 12)
        tone = np.sin(2 * math.pi * pitch * at) + 0.3 * np.sin(4 * math.pi * pitch * at) + 0.1 * np.sin(6 * math.pi * pitch * at)
        swell = 0.6 + 0.4 * np.sin(2 * math.pi * (at / 4 - number / len(notes)))
        right = 0.3 + 0.4 * number / (len(notes) - 1)
        sides += (tone * swell)[:, None] * (1 - right, right)
    edge = min(0.5, seconds / 4)
    sides *= np.clip(np.minimum(at, seconds - at) / edge, 0, 1)[:, None]
    return np.rint(sides * 6000).astype(np.int16)


def _speak(values: Mapping[str, Any], out: Path) -> None:
    from viralsync_pipelines.movie.script import Line
    from viralsync_pipelines.speech.espeak import EspeakEngine

    EspeakEngine().speak(Line(values["text"], voice=values.get("voice") or None, speed=float(values["speed"])), out)


def loudness(sound: Path) -> list[float]:
    """0 to 1 for each frame of the sound, at least one. Raises FfmpegFailed for what is no sound."""
    from viralsync_pipelines.render.ffmpeg import read_frames

    samples = 16_000 // FPS
    argv = ["-t", "120", "-i", str(sound), "-vn", "-ac", "1", "-ar", str(samples * FPS), "-f", "s16le", "pipe:1"]
    levels = [
        float(np.sqrt(np.mean(np.square(np.frombuffer(frame, np.int16).astype(np.float64)))))
        for frame in read_frames(argv, samples * 2)
    ]  # fmt: skip
    most = max(levels, default=0.0) or 1.0
    return [min(1.0, each / most) for each in levels] or [0.0]


def _encoded(frames: Iterator[Pixels], width: int, height: int, out: Path, sound: Path | None = None) -> Path:
    from viralsync_pipelines.render.ffmpeg import run

    heard = ("-i", str(sound), "-map", "0:v", "-map", "1:a", "-c:a", "aac", "-b:a", "96k", "-shortest") if sound is not None else ()
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(FPS))
    run(
        [*raw, "-i", "pixels", *heard, *_H264, *_PLAIN, str(out)],
        feeds={"pixels": (frame.tobytes() for frame in frames)},
    )  # fmt: skip
    return out
