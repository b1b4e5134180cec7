"""The film's sound: decode every cue, sum them to the sample, bring the whole to its loudness, encode once.

What belongs here: carrying out a Mix. What does not: where cues stand and how they fade (movie/mix.py), mastering (loudness.py).
Sums are made in numpy: placement is exact by construction, and a thousand cues cost what their samples cost.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.movie.conform import GUARD
from viralsync_pipelines.movie.mix import Cue, Mix, Point
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.render.ffmpeg import run
from viralsync_pipelines.render.loudness import Heard, master
from viralsync_pipelines.render.second_try import with_second_try

if TYPE_CHECKING:
    import numpy as np

    Samples = np.ndarray[Any, np.dtype[np.float32]]

# Sources decoded by one process: enough to make starting ffmpeg cheap, few enough for its open files.
_BATCH = 32
_BLOCK = 10 * SAMPLE_RATE
# One stereo sample as 32-bit floats.
_BYTES = 8


@dataclass(frozen=True)
class _Track:
    """A decoded source at one speed: raw stereo float samples in a file, from sample `skip` of the source on."""

    path: Path
    skip: int
    samples: int


def mix_sound(mix: Mix, path_of: Callable[[str], Path], scratch: Path, out: Path) -> Heard:
    """Write the film's sound to `out` (.m4a), exactly mix.length samples. `scratch` is a folder for temporary files.

    Raises FfmpegFailed and RenderError DISK_FULL.
    """
    raw = scratch / "mix.f32"
    mix_raw(mix, path_of, scratch, raw)
    return master(raw, mix, out, scratch)


def mix_raw(mix: Mix, path_of: Callable[[str], Path], scratch: Path, out: Path) -> None:
    """Write the sum of all cues to `out` as it is, before mastering: mix.length stereo samples, 48 kHz, 32-bit float."""
    tracks = _decode(mix.cues, path_of, scratch)
    try:
        with out.open("wb") as file:
            for block in _sum(mix, tracks):
                file.write(block.data)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise RenderError("the disk is full; free some space and run the movie again", code="DISK_FULL") from error
    for track in tracks.values():
        track.path.unlink()


def _decode(cues: Sequence[Cue], path_of: Callable[[str], Path], scratch: Path) -> dict[tuple[str, Fraction], _Track]:
    """Every distinct source at its speed as 48 kHz stereo float, many to a process; only what some cue is going to use."""
    used: dict[tuple[str, Fraction], list[Cue]] = {}
    for cue in cues:
        used.setdefault((cue.source, cue.speed), []).append(cue)
    tracks: dict[tuple[str, Fraction], _Track] = {}
    wanted = list(used.items())
    for at in range(0, len(wanted), _BATCH):
        inputs: list[str] = []
        outputs: list[str] = []
        batch: list[tuple[tuple[str, Fraction], Path, int]] = []
        for index, (key, users) in enumerate(wanted[at : at + _BATCH]):
            track = scratch / f"track{at + index}.f32"
            first = min(cue.skip for cue in users)
            last = max(cue.skip + (cue.span or cue.length) for cue in users)
            guard = (x for name, value in GUARD.items() for x in (f"-{name}", value))
            inputs += ["-f", users[0].demuxer, *guard, "-vn", "-i", str(path_of(key[0]))]
            chain = f"{conformed(key[1])},atrim=start_sample={first}:end_sample={last}"
            outputs += ["-map", f"{index}:a:0", "-af", chain, "-c:a", "pcm_f32le", "-f", "f32le", str(track)]
            batch.append((key, track, first))
        with_second_try(partial(_run, (*inputs, *outputs), scratch))
        for key, track, first in batch:
            tracks[key] = _Track(track, first, track.stat().st_size // _BYTES)
    return tracks


def _run(argv: Sequence[str], scratch: Path, idle_s: float | None) -> None:
    run(argv, scratch=scratch, idle_s=idle_s)


def conformed(speed: Fraction) -> str:
    """To 48 kHz stereo at the film's pitch. first_pts=0 puts sound that starts late in its file where it belongs."""
    chain = [
        "aresample=48000:async=1:first_pts=0",
        # ffmpeg spreads mono over two channels at -3 dB. A voice is as loud in mono as in stereo: the one channel goes to both.
        # What is neither mono nor stereo has been mixed down by ITU's weights before it gets to `pan`.
        "aformat=sample_fmts=flt:channel_layouts=stereo|mono",
        "pan=stereo|FL=FL+FC|FR=FR+FC",
    ]
    rate = float(speed)
    stages = []
    while rate > 2:  # beyond 2 atempo skips samples instead of blending them
        stages.append(2.0)
        rate /= 2
    while rate < 0.5:
        stages.append(0.5)
        rate *= 2
    if stages or rate != 1:
        # atempo keeps back the last of its window, so it is given some silence to keep.
        chain.append("apad=pad_dur=1")
        for stage in (*stages, rate):
            chain += [f"adelay=delays={_early(stage)}S:all=1", f"atempo={stage:.9f}"]
    return ",".join(chain)


def _early(rate: float) -> int:
    """Samples by which atempo gives sounds too early, on its input's clock: 5.3 ms and 2.3 ms for each unit of rate (measured
    with tone bursts from 0.5 to 2; what is left is within 2 ms)."""
    return round((5.3 + 2.3 * rate) * SAMPLE_RATE / 1000)


def _sum(mix: Mix, tracks: dict[tuple[str, Fraction], _Track]) -> Iterator[Samples]:
    """The mix in blocks of ten seconds, so that memory does not grow with the film, nor files stay open with the cues."""
    import numpy as np

    # Cues by their first sample; each block looks only at those that sound in it, in the order of the mix.
    waiting = sorted(range(len(mix.cues)), key=lambda number: -mix.cues[number].at)
    sounding: list[int] = []
    for start in range(0, mix.length, _BLOCK):
        end = min(start + _BLOCK, mix.length)
        while waiting and mix.cues[waiting[-1]].at < end:
            sounding.append(waiting.pop())
        sounding = sorted(n for n in sounding if mix.cues[n].at + mix.cues[n].length > start)
        block = np.zeros((end - start, 2), np.float32)
        ducking = curve(mix.ducking, start, end) if any(mix.cues[n].duck for n in sounding) else None
        for number in sounding:
            cue = mix.cues[number]
            first, last = max(start, cue.at), min(end, cue.at + cue.length)
            heard = _samples(tracks[cue.source, cue.speed], cue, first - cue.at, last - cue.at)
            if cue.gain != 1:
                heard *= np.float32(cue.gain)
            if cue.shape:
                heard *= curve(cue.shape, first - cue.at, last - cue.at)[:, None]
            if cue.duck and ducking is not None:
                heard *= ducking[first - start : last - start, None]
            block[first - start : last - start] += heard
        yield block


def _samples(track: _Track, cue: Cue, first: int, last: int) -> Samples:
    """Samples [first, last) of a cue's own time; silence after its end, and over and over when it loops."""
    import numpy as np

    base = cue.skip - track.skip
    if not cue.span:
        return _read(track, base + first, last - first)
    span = cue.span if cue.follows else max(1, min(cue.span, track.samples - base))
    if span <= _BLOCK:
        return np.take(_read(track, base, span), np.arange(first, last), axis=0, mode="wrap")
    pieces = []
    while first < last:
        take = min(last - first, span - first % span)
        pieces.append(_read(track, base + first % span, take))
        first += take
    return np.concatenate(pieces)


def _read(track: _Track, at: int, count: int) -> Samples:
    """`count` samples of a track from sample `at` of its file on, with silence where it ends."""
    import numpy as np

    out = np.zeros((count, 2), np.float32)
    there = max(0, min(count, track.samples - at))
    if there:
        out[:there] = np.fromfile(track.path, np.float32, 2 * there, offset=_BYTES * at).reshape(-1, 2)
    return out


def curve(points: tuple[Point, ...], first: int, last: int) -> Samples:
    import numpy as np

    if not points:
        return np.ones(last - first, np.float32)
    x, y = zip(*points, strict=True)
    return np.asarray(np.interp(np.arange(first, last), x, y), np.float32)
