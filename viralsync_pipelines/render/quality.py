"""Judging a finished film from its own bytes: frames, lengths, tags, joins, loudness. Each verdict says what was wanted and found.

What belongs here: measurements of a file. What does not: making one, how the frames around a join are judged (joins.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

from viralsync_pipelines.render.boxes import moov_first
from viralsync_pipelines.render.joins import JoinsSeen
from viralsync_pipelines.render.loudness import Loudness, peak_allowed

if TYPE_CHECKING:
    from av.container import InputContainer


@dataclass(frozen=True)
class Verdict:
    """One check of a film."""

    name: str
    passed: bool
    wanted: str
    found: str


@dataclass(frozen=True)
class Track:
    """What a film's packets say.

    frames: pictures. beat: why their times are not even, "" when they are. picture_s, sound_s: seconds at which picture and sound
    end. size: pixels. tags: pixel format, matrix, primaries, transfer and range by ffmpeg's names.
    """

    frames: int
    beat: str
    picture_s: float
    sound_s: float
    size: tuple[int, int]
    tags: str


FILE_CHECKS = ("frame_count", "av_length", "loudness", "true_peak", "joins", "moov_first", "colour_tags")
# With what is seen in its picture (legible.py).
CHECKS = (*FILE_CHECKS, "captions_legible")
TAGS = "yuv420p bt709/bt709/bt709 tv"

# ISO/IEC 23091-2 by ffmpeg's names, as far as films of ours may carry them; others show as numbers.
_NAMES = {1: "bt709", 2: "unknown", 5: "bt470bg", 6: "smpte170m", 9: "bt2020"}
_RANGES = {0: "unknown", 1: "tv", 2: "pc"}


def judge(
    path: Path, frames: int, fps: Fraction, joins: JoinsSeen, sound: Loudness, target: float | None, peak: float
) -> tuple[Verdict, ...]:
    """Every verdict on a film, in the order of FILE_CHECKS.

    `joins` is what was seen around them; `sound` is what was measured of the encoded sound; `target` None means that loudness was
    left alone.
    """
    import av

    with av.open(str(path)) as container:
        track = read_track(container, fps)
    gap = abs(track.picture_s - track.sound_s)
    unseen = f"{joins.unseen} of {joins.joins} joins could not be seen: the end frames beside their clips have gone"
    bad = (*joins.faults, *([unseen] if joins.unseen else []))
    seen = "; ".join(bad) or f"{joins.joins} joins are clean"
    first = moov_first(path)
    return (
        Verdict("frame_count", track.frames == frames and not track.beat, f"{frames} frames at even times",
                f"{track.frames} frames, {track.beat or 'times even'}"),
        Verdict("av_length", gap <= float(1 / fps) + 1e-6, f"picture and sound within {float(1 / fps):.4f} s", f"{gap:.4f} s apart"),
        _loudness(sound, target, peak),
        Verdict("true_peak", target is None or sound.peak <= peak_allowed(peak),
                "any" if target is None else f"at most {peak_allowed(peak):g} dBTP", f"{sound.peak:.1f} dBTP"),
        Verdict("joins", not bad, "no black, stray, repeated or frozen frame at a join", seen),
        Verdict("moov_first", first, "moov before mdat", "moov first" if first else "mdat first"),
        Verdict("colour_tags", track.tags == TAGS, TAGS, track.tags),
    )  # fmt: skip


def _loudness(sound: Loudness, target: float | None, peak: float) -> Verdict:
    if sound.silent:
        return Verdict("loudness", True, "any" if target is None else f"{target:g} LUFS +- 0.5, or silence", "silence")
    found = f"{sound.lufs:.1f} LUFS"
    if target is None:
        return Verdict("loudness", True, "any", found)
    passed = abs(sound.lufs - target) <= 0.5
    if not passed and sound.lufs < target and sound.peak > peak_allowed(peak) - 1:
        found += ": its short peaks reach the ceiling before the rest is loud enough"
    return Verdict("loudness", passed, f"{target:g} LUFS +- 0.5, or silence", found)


def read_track(container: InputContainer, fps: Fraction) -> Track:
    """Read every packet of an opened film once; nothing is decoded."""
    video, audio = container.streams.video[0], container.streams.audio[0]
    base = video.time_base or Fraction(1)
    shown: list[int] = []
    decoded: list[int] = []
    sound_end = Fraction(0)
    for packet in container.demux(video, audio):
        if packet.pts is None or packet.dts is None:
            continue
        if packet.stream is video:
            shown.append(packet.pts)
            decoded.append(packet.dts)
        else:
            sound_end = max(sound_end, (packet.pts + (packet.duration or 0)) * (audio.time_base or Fraction(0)))
    shown.sort()
    # The muxer's own word counts: AAC comes in frames of 1,024 samples, and the container says where the last one ends.
    told = audio.duration * audio.time_base if audio.duration and audio.time_base else sound_end
    picture = shown[-1] * base + 1 / fps if shown else Fraction(0)
    context = video.codec_context
    colours = (context.colorspace, context.color_primaries, context.color_trc)
    tags = f"{context.pix_fmt} {'/'.join(_NAMES.get(int(c), str(int(c))) for c in colours)} {_RANGES.get(int(context.color_range), '?')}"
    return Track(
        len(shown), _beat(shown, decoded, 1 / fps / base), float(picture), float(min(told, sound_end)),
        (video.width, video.height), tags,
    )  # fmt: skip


def _beat(shown: Sequence[int], decoded: Sequence[int], step: Fraction) -> str:
    """What is wrong with the times of frames (in ticks, of which a frame lasts `step`); "" when they are even from 0 on."""
    for number, at in enumerate(shown):
        if at != number * step:
            return f"times uneven from frame {number} on"
    for number, (before, after) in enumerate(zip(decoded, decoded[1:], strict=False), 1):
        if after <= before:
            return f"decoding times do not rise at packet {number}"
    return ""
