"""How film and sound are encoded: settings by quality, as ffmpeg arguments. Part of every cache key; bytes depend on nothing else.

What belongs here: codecs, colour tags, group of pictures. What does not: filter graphs (filters.py), running (render/).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

# One thread: x264's bytes depend on the thread count, and two scenes on a thread each beat one scene on two
# (26.1 s against 31.2 s for ten 4 s scenes on two cores).
THREADS = 1
AUDIO_BITRATE = 192_000


@dataclass(frozen=True)
class Encoder:
    """x264 settings. scale: output size over the canvas the spec speaks of."""

    preset: str
    crf: int
    scale: Fraction


ENCODERS: Mapping[str, Encoder] = {
    "draft": Encoder("ultrafast", 28, Fraction(1, 2)),
    "standard": Encoder("veryfast", 21, Fraction(1)),
    "high": Encoder("medium", 17, Fraction(1)),
}

# The colour every graph ends in, named so that no player has to guess.
TAGS = ("-color_range", "tv", "-colorspace", "bt709", "-color_primaries", "bt709", "-color_trc", "bt709")


def ticks(fps: Fraction) -> int:
    """Time base of the film's track: a whole number of ticks to each frame, 512 where the rate is whole."""
    return fps.numerator * 512 if fps.denominator == 1 else fps.numerator


def picture_args(encoder: Encoder, fps: Fraction) -> tuple[str, ...]:
    """Output arguments of one piece: closed GOPs of at most two seconds and headers that are equal in all pieces, so that
    pieces join by copying packets. stitchable=1 keeps SPS and PPS independent of crf."""
    group = max(1, round(fps * 2))
    return (
        "-c:v", "libx264", "-preset", encoder.preset, "-crf", str(encoder.crf), "-profile:v", "high", "-pix_fmt", "yuv420p",
        "-g", str(group), "-threads", str(THREADS), "-flags", "+cgop", "-x264-params", "stitchable=1:open-gop=0",
        *TAGS, "-video_track_timescale", str(ticks(fps)), "-an", "-fflags", "+bitexact", "-flags:v", "+bitexact",
        "-map_metadata", "-1", "-f", "mp4",
    )  # fmt: skip


def sound_args() -> tuple[str, ...]:
    """Output arguments of the film's sound: one AAC encode in an .m4a, whose edit list keeps the 1,024 priming samples apart."""
    return (
        # Not `-aac_coder fast`, for all that it takes a third of the time: it clips strong tones. A bass of 60 Hz at 0.7 comes
        # back at 0.58 with noise 13 dB below it; from twoloop with noise 62 dB below.
        "-c:a", "aac", "-b:a", str(AUDIO_BITRATE), "-ar", "48000", "-ac", "2", "-threads", "1",
        "-fflags", "+bitexact", "-flags:a", "+bitexact", "-map_metadata", "-1", "-f", "ipod",
    )  # fmt: skip
