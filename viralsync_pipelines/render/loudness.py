"""Loudness by EBU R128: measure, one linear gain, a true-peak limiter only where the gain asks for it, and the encode.

What belongs here: mastering a finished mix. What does not: making the mix (sound.py).
loudnorm falls back to a dynamic mode without a word when the peak target is in the way; here the gain stays linear, peaks that
would pass the ceiling are limited at four times the rate, and the result is measured again until both targets are met.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf
from pathlib import Path

from viralsync_pipelines.movie.encoding import sound_args
from viralsync_pipelines.movie.mix import Mix
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.render.ffmpeg import run

# EBU R128's absolute gate: what stays below it all the time is silence, and stays so.
SILENT_LUFS = -69.9
# The encoder moves peaks by some tenths; the ceiling is lowered by what it overshoots, and the sound made again.
_ROUNDS = 8
# What a finished film may at most measure, whatever was asked for: platforms clip above it.
PEAK_LIMIT_DBTP = -1.0


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness in LUFS and true peak in dBTP; both -inf for silence."""

    lufs: float
    peak: float

    @property
    def silent(self) -> bool:
        return self.lufs <= SILENT_LUFS


@dataclass(frozen=True)
class Heard:
    """Loudness of the mix before mastering and of the encoded film after."""

    before: Loudness
    after: Loudness


_RAW = ("-f", "f32le", "-ar", str(SAMPLE_RATE), "-ac", "2")


def measure(*source: str) -> Loudness:
    """Measure a sound given as ffmpeg input arguments."""
    said = run([*source, "-map", "0:a:0", "-af", "ebur128=peak=true:framelog=quiet", "-f", "null", "-"], verbose=True).stderr
    summary = said[said.rfind("Summary:") :]
    loud = re.search(r"I:\s+(-?[\d.]+|-inf|nan) LUFS", summary)
    peak = re.search(r"Peak:\s+(-?[\d.]+|-inf|nan) dBFS", summary)
    return Loudness(_number(loud), _number(peak))


def _number(found: re.Match[str] | None) -> float:
    return -inf if found is None or found[1] in {"-inf", "nan"} else float(found[1])


def master(raw: Path, mix: Mix, out: Path, scratch: Path) -> Heard:
    """Encode the raw stereo float mix to `out`, at its target loudness and under its ceiling."""
    source = [*_RAW, "-i", str(raw)]
    before = measure(*source)
    if mix.loudness is None or before.silent:
        _encode(source, [], mix.length, out)
        return Heard(before, measure("-f", "mov", "-i", str(out)))
    gain, ceiling = mix.loudness - before.lufs, mix.true_peak
    best: tuple[float, Loudness] | None = None
    for _ in range(_ROUNDS):
        _encode(source, _chain(gain, ceiling, before.peak), mix.length, out)
        after = measure("-f", "mov", "-i", str(out))
        over = after.peak - max(PEAK_LIMIT_DBTP, mix.true_peak)
        short = mix.loudness - after.lufs
        miss = abs(short) + max(0.0, over) * 10
        if best is None or miss < best[0]:
            best = (miss, after)
            out.replace(scratch / "best.m4a")
        if over <= 0 and abs(short) <= 0.2:
            break
        # Limiting takes loudness away; give it back to the part below the ceiling.
        gain += short
        ceiling -= max(0.0, over + 0.05)
        if ceiling < -12:
            break
    (scratch / "best.m4a").replace(out)
    return Heard(before, best[1] if best else before)


def _chain(gain: float, ceiling: float, peak: float) -> list[str]:
    """Gain alone where the peaks allow it. Otherwise in stages of at most 24 dB, since the limiter starts from a level near its own."""
    filters = [f"volume={gain:.3f}dB:precision=float"]
    if peak + gain > ceiling:
        filters += [
            "aresample=192000",
            f"alimiter=limit={10 ** (ceiling / 20):.6f}:attack=1:release=60:level=disabled:latency=1",
            "aresample=48000",
        ]
    return filters


def _encode(source: list[str], filters: list[str], length: int, out: Path) -> None:
    # The limiter and the resamplers may add or drop samples at the end; the picture's length decides.
    chain = ",".join([*filters, f"apad=whole_len={length}", f"atrim=end_sample={length}"])
    run([*source, "-af", chain, *sound_args(), str(out)])
