"""Loudness by EBU R128: measure, one linear gain, a true-peak limiter only where the gain asks for it, and the encode.

What belongs here: mastering a finished mix. What does not: making the mix (sound.py).
loudnorm falls back to a dynamic mode without a word when the peak target is in the way; here the gain stays linear, peaks that
would pass the ceiling are limited at four times the rate, and the encoded sound is measured until both targets are met.
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

# EBU R128's absolute gate is -70: what stays below it all the time is silence, and stays so. So is what is shorter than one
# window of 0.4 s, which has no loudness.
SILENT_LUFS = -69.9
# What a finished film may at most measure, whatever was asked for: platforms clip above it.
PEAK_LIMIT_DBTP = -1.0
# The encoder moves peaks by some tenths; the limiter's ceiling is lowered by what it overshoots, and the sound made again.
# Music, speech and clipped sound take one round or two.
_ROUNDS = 8
# Near enough to the target, and peaks surely under the limit: measurements come with one decimal.
_NEAR = 0.2
_SURE = 0.05
# Taken off the ceiling from the start, and on top of every overshoot: saves most films the second round.
_SPARE = 0.25
_GIVEN_BACK = 1.3
# A round that makes up for less than this share of what was missing is the last: the peaks of clicks leave no room.
_WORTH = 0.1


@dataclass(frozen=True)
class Loudness:
    """Integrated loudness in LUFS, -inf for silence, and true peak in dBTP, -inf when there is no sample but zero."""

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


def peak_allowed(true_peak: float) -> float:
    """The most a finished film may measure when `true_peak` was asked for: the codec gets half a decibel, but never over -1."""
    return min(PEAK_LIMIT_DBTP, true_peak + 0.5)


def measure(source: list[str], filters: tuple[str, ...] = ()) -> Loudness:
    """Measure a sound given as ffmpeg input arguments, after `filters`. Raises FfmpegFailed."""
    chain = ",".join([*filters, "ebur128=peak=true:framelog=quiet"])
    said = run([*source, "-map", "0:a:0", "-af", chain, "-f", "null", "-"], verbose=True).stderr
    summary = said[said.rfind("Summary:") :]
    lufs = _number(re.search(r"I:\s+(-?[\d.]+|-inf|nan) LUFS", summary))
    peak = _number(re.search(r"Peak:\s+(-?[\d.]+|-inf|nan) dBFS", summary))
    return Loudness(-inf if lufs <= SILENT_LUFS else lufs, peak)


def _number(found: re.Match[str] | None) -> float:
    return -inf if found is None or found[1] in {"-inf", "nan"} else float(found[1])


def master(raw: Path, mix: Mix, out: Path, scratch: Path) -> Heard:
    """Encode the raw stereo float mix to `out`, at its target loudness and under its ceiling. Raises FfmpegFailed.

    A mix without a loudness to reach keeps its levels. Silence stays silent; what is too short to have a loudness keeps its
    level too, unless its peaks pass the ceiling: then all of it is turned down.
    """
    source = [*_RAW, "-i", str(raw)]
    before = measure(source)
    if mix.loudness is None:
        return Heard(before, _encoded(source, (), mix.length, out))
    if before.silent:
        over = before.peak - mix.true_peak
        return Heard(before, _encoded(source, (_volume(-over - _SPARE),) if over > 0 else (), mix.length, out))
    after = _reach(source, before, mix.loudness, mix, out, scratch / "best.m4a")
    return Heard(before, after)


def _reach(source: list[str], before: Loudness, target: float, mix: Mix, out: Path, best_file: Path) -> Loudness:
    """Encode with the gain and ceiling that meet the target; the best of all rounds ends up in `out`."""
    gain, ceiling = target - before.lufs, mix.true_peak - _SPARE
    limit = peak_allowed(mix.true_peak) - _SURE
    if before.peak + gain > ceiling:
        # Limiting takes loudness away, and of what is given back some again. Looking first costs half of another round.
        gain += _GIVEN_BACK * (target - measure(source, _chain(gain, ceiling, before.peak)).lufs)
    best, missed, wanted = before, inf, 0.0
    for _ in range(_ROUNDS):
        after = _encoded(source, _chain(gain, ceiling, before.peak), mix.length, out)
        over, short = max(0.0, after.peak - limit), target - after.lufs
        miss = abs(short) + 10 * over
        spent = missed - miss < _WORTH * wanted
        if miss < missed:
            best, missed = after, miss
            out.replace(best_file)
        if over == 0 and (abs(short) <= _NEAR or spent):
            break
        gain, wanted = gain + short, abs(short)
        ceiling -= over + _SPARE if over else 0
    best_file.replace(out)
    return best


def _volume(gain: float) -> str:
    return f"volume={gain:.3f}dB:precision=float"


def _chain(gain: float, ceiling: float, peak: float) -> tuple[str, ...]:
    """Gain alone where the peaks allow it; otherwise what cannot be heard but takes room is removed, and the limiter added."""
    if peak + gain <= ceiling:
        return (_volume(gain),)
    limit = 10 ** (ceiling / 20)
    return (
        "highpass=f=10:precision=f64",
        _volume(gain),
        "aresample=192000",
        f"alimiter=limit={limit:.6f}:attack=1:release=60:level=disabled:latency=1",
        "aresample=48000",
    )


def _encoded(source: list[str], filters: tuple[str, ...], length: int, out: Path) -> Loudness:
    """Encode, and measure what a player will decode."""
    # The limiter and the resamplers may add or drop samples at the end; the picture's length decides.
    chain = ",".join([*filters, f"apad=whole_len={length}", f"atrim=end_sample={length}"])
    run([*source, "-af", chain, *sound_args(), str(out)])
    return measure(["-f", "mov", "-i", str(out)])
