"""The film's sound: decode every cue, sum them to the sample, bring the whole to its loudness, encode once.

What belongs here: carrying out a Mix. What does not: where cues stand and how they fade (movie/mix.py).
Sums are made in numpy: placement is exact by construction, and a thousand cues cost what their samples cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.movie.filters import GUARD
from viralsync_pipelines.movie.mix import Cue, Mix, Point
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.render.ffmpeg import run
from viralsync_pipelines.render.loudness import Heard, master

if TYPE_CHECKING:
    import numpy as np

# Sources decoded by one process: enough to make starting ffmpeg cheap, few enough for its open files.
_BATCH = 16
_BLOCK = 10 * SAMPLE_RATE


def mix_sound(mix: Mix, path_of: Callable[[str], Path], scratch: Path, out: Path) -> Heard:
    """Write the film's sound to `out` (.m4a), exactly mix.length samples. `scratch` is a folder for temporary files."""
    tracks = _decode(mix.cues, path_of, scratch)
    raw = scratch / "mix.f32"
    with raw.open("wb") as file:
        for block in _sum(mix, tracks):
            file.write(block.tobytes())
    return master(raw, mix, out, scratch)


def _decode(cues: Sequence[Cue], path_of: Callable[[str], Path], scratch: Path) -> dict[tuple[str, Fraction], Path]:
    """Every distinct source at its speed as 48 kHz stereo float, many to a process."""
    wanted = list(dict.fromkeys((cue.source, cue.demuxer, cue.speed) for cue in cues))
    tracks: dict[tuple[str, Fraction], Path] = {}
    for at in range(0, len(wanted), _BATCH):
        inputs: list[str] = []
        outputs: list[str] = []
        for index, (source, demuxer, speed) in enumerate(wanted[at : at + _BATCH]):
            track = scratch / f"track{at + index}.f32"
            inputs += ["-f", demuxer, *(x for k, v in GUARD.items() for x in (f"-{k}", v)), "-vn", "-i", str(path_of(source))]
            outputs += ["-map", f"{index}:a:0", "-af", _conform(speed), "-c:a", "pcm_f32le", "-f", "f32le", str(track)]
            tracks[source, speed] = track
        run([*inputs, *outputs], scratch=scratch)
    return tracks


def _conform(speed: Fraction) -> str:
    """To 48 kHz stereo at the film's pitch. first_pts=0 puts sound that starts late in its file where it belongs."""
    chain = ["aresample=48000:async=1:first_pts=0", "aformat=sample_fmts=flt:channel_layouts=stereo"]
    rate = float(speed)
    while rate > 2:  # beyond 2 atempo skips samples instead of blending them
        chain.append("atempo=2")
        rate /= 2
    while rate < 0.5:
        chain.append("atempo=0.5")
        rate *= 2
    if rate != 1:
        chain.append(f"atempo={rate:.9f}")
    return ",".join(chain)


def _sum(mix: Mix, tracks: dict[tuple[str, Fraction], Path]) -> Iterator[np.ndarray[Any, Any]]:
    """The mix in blocks of ten seconds, so that memory does not grow with the film."""
    import numpy as np

    opened = {key: _open(path) for key, path in tracks.items()}
    for start in range(0, mix.length, _BLOCK):
        end = min(start + _BLOCK, mix.length)
        block = np.zeros((end - start, 2), np.float32)
        for cue in mix.cues:
            first, last = max(start, cue.at), min(end, cue.at + cue.length)
            if first >= last:
                continue
            heard = _samples(opened[cue.source, cue.speed], cue, first - cue.at, last - cue.at)
            gain = _curve(cue.shape, first - cue.at, last - cue.at) * np.float32(cue.gain)
            if cue.duck and mix.ducking:
                gain = gain * _curve(mix.ducking, first, last)
            block[first - start : last - start] += heard * gain[:, None]
        yield block


def _open(path: Path) -> np.ndarray[Any, Any]:
    import numpy as np

    size = path.stat().st_size // 8
    return np.memmap(path, np.float32, "r", shape=(size, 2)) if size else np.zeros((0, 2), np.float32)


def _samples(track: np.ndarray[Any, Any], cue: Cue, first: int, last: int) -> np.ndarray[Any, Any]:
    """Samples [first, last) of a cue's own time; silence after its end, and over and over when it loops."""
    import numpy as np

    out = np.zeros((last - first, 2), np.float32)
    if not cue.span:
        piece = track[cue.skip + first : cue.skip + last]
        out[: len(piece)] = piece
        return out
    at = first
    while at < last:
        inside = at % cue.span
        take = min(last - at, cue.span - inside)
        piece = track[cue.skip + inside : cue.skip + inside + take]
        out[at - first : at - first + len(piece)] = piece
        at += take
    return out


def _curve(points: tuple[Point, ...], first: int, last: int) -> np.ndarray[Any, Any]:
    import numpy as np

    if not points:
        return np.ones(last - first, np.float32)
    x, y = zip(*points, strict=True)
    return np.asarray(np.interp(np.arange(first, last), x, y), np.float32)
