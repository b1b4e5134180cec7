"""Judging a finished film from its own bytes: frames, lengths, tags, joins, loudness. Each verdict says what was wanted and found.

What belongs here: measurements of a file. What does not: making one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.render.loudness import PEAK_LIMIT_DBTP, Loudness

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class Verdict:
    """One check of a film."""

    name: str
    passed: bool
    wanted: str
    found: str


@dataclass(frozen=True)
class Track:
    """What a film's packets say: picture frames, their length and that of the sound in seconds, and whether times rise."""

    frames: int
    picture_s: float
    sound_s: float
    rising: bool
    size: tuple[int, int]
    tags: str


CHECKS = ("frame_count", "av_length", "loudness", "true_peak", "joins", "moov_first", "colour_tags")


def read_track(path: Path) -> Track:
    """Read every packet of a film once; nothing is decoded."""
    import av

    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        stamps: list[int] = []
        order: list[int] = []
        sound_end = Fraction(0)
        for packet in container.demux(video, audio):
            if packet.pts is None or packet.dts is None:
                continue
            if packet.stream is video:
                stamps.append(packet.pts)
                order.append(packet.dts)
            else:
                sound_end = max(sound_end, Fraction(packet.pts + (packet.duration or 0)) * (audio.time_base or 0))
        base = video.time_base or Fraction(1)
        stamps.sort()
        step = stamps[1] - stamps[0] if len(stamps) > 1 else 0
        picture = Fraction(stamps[-1] + step) * base if stamps else Fraction(0)
        even = all(b - a == step for a, b in zip(stamps, stamps[1:], strict=False))
        rising = even and all(b > a for a, b in zip(order, order[1:], strict=False))
        context = video.codec_context
        # The muxer's own word counts: AAC comes in frames of 1,024 samples, and the container says where the last one ends.
        told = Fraction(audio.duration) * audio.time_base if audio.duration and audio.time_base else sound_end
        colours = (context.colorspace, context.color_primaries, context.color_trc, context.color_range)
        tags = f"{context.pix_fmt} {'/'.join(_name(colour) for colour in colours)}"
        return Track(len(stamps), float(picture), float(min(told, sound_end)), rising, (video.width, video.height), tags)


def _name(value: Any) -> str:
    return str(getattr(value, "name", value))


def moov_first(path: Path) -> bool:
    """True when a player can begin before the whole file is there."""
    with path.open("rb") as file:
        at, end = 0, path.stat().st_size
        while at + 8 <= end:
            file.seek(at)
            head = file.read(16)
            size, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if kind in {b"moov", b"mdat"}:
                return kind == b"moov"
            at += int.from_bytes(head[8:16], "big") if size == 1 else max(size, 8)
    return False


def judge(
    path: Path, frames: int, fps: Fraction, joins: Sequence[int], sound: Loudness, target: float | None, peak: float
) -> tuple[Verdict, ...]:
    """Every verdict on a film. `joins` are the frames at which a new piece begins; `target` None means loudness was left alone."""
    track = read_track(path)
    frame_s = float(1 / fps)
    gap = abs(track.picture_s - track.sound_s)
    loud_ok = target is None or sound.silent or abs(sound.lufs - target) <= 0.5
    limit = max(PEAK_LIMIT_DBTP, peak)
    bad = bad_joins(path, joins, fps) if joins else ()
    first = moov_first(path)
    return (
        Verdict("frame_count", track.frames == frames and track.rising, f"{frames} frames at even times",
                f"{track.frames} frames, times {'even' if track.rising else 'uneven'}"),
        Verdict("av_length", gap <= frame_s + 1e-6, f"picture and sound within {frame_s:.4f} s", f"{gap:.4f} s apart"),
        Verdict("loudness", loud_ok, "any" if target is None else f"{target:g} LUFS +- 0.5, or silence", f"{sound.lufs:.1f} LUFS"),
        Verdict("true_peak", target is None or sound.peak <= limit, f"at most {limit:g} dBTP", f"{sound.peak:.1f} dBTP"),
        Verdict("joins", not bad, "no black, frozen or repeated frame at a join", "; ".join(bad) or f"{len(joins)} joins are clean"),
        Verdict("moov_first", first, "moov before mdat", "moov first" if first else "mdat first"),
        Verdict("colour_tags", track.tags == "yuv420p BT709/BT709/BT709/MPEG" or "709" in track.tags, "yuv420p bt709 limited", track.tags),
    )  # fmt: skip


def bad_joins(path: Path, joins: Sequence[int], fps: Fraction) -> tuple[str, ...]:
    """What is wrong around joins: a frame that is black between two that are not, or that differs from both neighbours while
    they are alike (a stray frame). Decodes only the groups of pictures that hold a join."""
    import av
    import numpy as np

    faults: list[str] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = stream.time_base or Fraction(1)
        for join in joins:
            # From the key frame before the join: at most one group of pictures is decoded on either side.
            container.seek(int((max(0, join - 2)) / fps / base), stream=stream)
            near: dict[int, np.ndarray[Any, Any]] = {}
            for frame in container.decode(stream):
                number = round(Fraction(frame.pts or 0) * base * fps)
                if join - 3 <= number <= join + 2:
                    near[number] = frame.to_ndarray(format="gray8")[::8, ::8].astype(np.int16)
                if number > join + 1:
                    break
            faults += _judge_join(join, near)
    return tuple(faults)


def _judge_join(join: int, near: dict[int, np.ndarray[Any, Any]]) -> list[str]:
    import numpy as np

    faults = []
    for number in (join - 1, join):
        before, here, after = near.get(number - 1), near.get(number), near.get(number + 1)
        if here is None:
            faults.append(f"frame {number} is missing")
            continue
        if before is None or after is None:
            continue
        if here.max() < 24 and before.mean() > 40 and after.mean() > 40:
            faults.append(f"frame {number} is black")
        elif np.abs(before - after).mean() < 1 and np.abs(here - before).mean() > 12:
            faults.append(f"frame {number} is a stray")
    return faults
