"""Makes the examples' media anew: `python -m viralsync_pipelines.examples.make_media [folder] [name ...]`, some ten minutes on one core.

What belongs here: which file is made from what, and how it is encoded. What does not: models, landscapes, tunes.
The made files are part of the package, so that an example renders at once and gives everybody the same bytes.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from viralsync_pipelines.examples import landscape, robot, tunes
from viralsync_pipelines.examples.clay import Array, picture

FPS = 30
# Stills are drawn at the film's own size; clips at four fifths of it, which nobody sees on soft clay.
STILL, CLIP, DRIFT = (1080, 1920), (864, 1536), (400, 400)

Maker = Callable[[Path], None]


def makers() -> dict[str, Maker]:
    """Every media file of the examples, and what makes it."""
    made: dict[str, Maker] = {}
    for name, shot in robot.stills().items():
        made[f"pip-{name}.jpg"] = partial(_still, partial(picture, *shot, STILL))
    for name, moment in (("hello", robot.hello), ("no", robot.no)):
        made[f"pip-{name}.mp4"] = partial(_clip, partial(_second, moment), CLIP, 22)
    made["summits.jpg"] = partial(_still, partial(landscape.ridges, 2560, 1440))
    made["drift.mp4"] = partial(_clip, partial(landscape.drift, *DRIFT, 5 * FPS), DRIFT, 14)
    for name, tune in tunes.tunes().items():
        made[f"{name}.ogg"] = partial(_sound, tune)
    return made


def make(folder: Path, names: Iterable[str] = ()) -> list[Path]:
    """Write the named files, or all of them, into `folder`."""
    made = makers()
    folder.mkdir(parents=True, exist_ok=True)
    for name in list(names) or made:
        made[name](folder / name)
    return [folder / name for name in (list(names) or made)]


def _second(moment: Callable[[float], robot.Shot]) -> Iterable[Array]:
    """The frames of a second that ends where it began."""
    return (picture(*moment(k / FPS), CLIP) for k in range(FPS))


def _still(draw: Callable[[], Array], out: Path) -> None:
    from PIL import Image

    Image.fromarray(draw()).save(out, "JPEG", quality=86, optimize=True, progressive=True)


def _ffmpeg(arguments: list[str], data: Iterable[bytes]) -> None:
    import imageio_ffmpeg

    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-y", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:  # noqa: S603 - our own arguments
        if process.stdin is None:
            raise OSError("ffmpeg could not be given its input")
        for block in data:
            process.stdin.write(block)
        process.stdin.close()
        if process.wait():
            raise OSError(f"ffmpeg ended with status {process.returncode}")


def _clip(draw: Callable[[], Iterable[Array]], size: tuple[int, int], crf: int, out: Path) -> None:
    colours = ["-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709"]
    arguments = [
        "-f", "rawvideo", "-pixel_format", "rgb24", "-video_size", f"{size[0]}x{size[1]}", "-framerate", str(FPS), "-i", "pipe:0",
        "-vf", "scale=out_color_matrix=bt709:out_range=tv:flags=accurate_rnd,format=yuv420p", *colours, "-c:v", "libx264",
        "-preset", "veryslow", "-crf", str(crf), "-threads", "1", "-fflags", "+bitexact", "-movflags", "+faststart", str(out),
    ]  # fmt: skip
    _ffmpeg(arguments, (frame.tobytes() for frame in draw()))


def _sound(play: Callable[[], Array], out: Path) -> None:
    """48 kHz stereo as Opus: its header names the samples before the music, so a loop stays a loop."""
    samples = play().astype(np.float32)
    arguments = [
        "-f", "f32le", "-ar", "48000", "-ac", "2", "-i", "pipe:0", "-c:a", "libopus", "-b:a", "88k", "-fflags", "+bitexact",
        "-map_metadata", "-1", str(out),
    ]  # fmt: skip
    _ffmpeg(arguments, [samples.tobytes()])


if __name__ == "__main__":
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("media")
    for path in make(target, sys.argv[2:]):
        print(f"{path}  {path.stat().st_size:,} bytes")
