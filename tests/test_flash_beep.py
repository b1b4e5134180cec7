"""Flash and beep: in a finished film every flash is on its exact frame and every beep beside it, at the end as at the start."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import ffmpeg
from tests.soundstage import FAST, Stage, heard, onsets, silence, stage, tone, write_wav
from viralsync_pipelines.movie.encoding import Encoder

BEEP = 0.06
# Seconds within which a beep must begin after its flash does, or before.
NEAR = 0.005
# Frames into the two clips at which they flash and beep. In the second, sound begins 0.4 s after the picture.
IN_CLIP, IN_LATE = 45, 60


def on(folder: Path, fps: Fraction) -> Stage:
    """A stage with beep.wav, a voice (mono at 22,050 Hz), and clip.mp4 and late.mkv that flash and beep."""
    place = stage(folder)
    write_wav(folder / "beep.wav", tone(BEEP))
    place.lines["beep"] = write_wav(folder / "voice.wav", tone(BEEP, rate=22050), 22050)
    for name, at, late in (("clip.mp4", IN_CLIP, 0.0), ("late.mkv", IN_LATE, 0.4)):
        write_wav(folder / "track.wav", np.concatenate([silence(float(at / fps) - late), tone(BEEP), silence(1.0)]))
        ffmpeg(
            "-f", "lavfi", "-i", f"color=black:s=64x64:r={fps}:d=4", "-itsoffset", str(late), "-i", folder / "track.wav",
            "-vf", f"drawbox=color=white:t=fill:enable='between(n,{at},{at + 1})'", "-c:v", "libx264", "-preset", "ultrafast",
            "-c:a", "aac" if name.endswith("mp4") else "libopus", folder / name,
        )  # fmt: skip
    return place


@dataclass(frozen=True)
class Kind:
    """A scene: its length, the transition into it, its layers, and at which of its own frames it flashes."""

    duration: str
    transition: tuple[str, str] | None
    layers: tuple[Mapping[str, Any], ...]
    flash: int


def kinds(fps: Fraction) -> tuple[Kind, ...]:
    """Six scenes whose lengths are no whole frames; sound files, clips' own sound and voices; flashes beside the overlaps too."""

    def at(frame: int) -> float:
        return round(float(frame / fps), 6)

    def flash(frame: int) -> dict[str, Any]:
        return {"type": "shape", "color": "#ffffff", "start": at(frame), "duration": at(2)}

    def both(frame: int) -> tuple[dict[str, Any], ...]:
        return flash(frame), {"type": "audio", "src": "beep.wav", "start": at(frame)}

    voice = {"type": "voice", "text": "beep", "start": at(60)}
    with_clip = {"type": "video", "src": "clip.mp4", "start": at(31)}
    with_late = {"type": "video", "src": "late.mkv", "start": at(100), "trimStart": at(20)}
    # Overlaps of half a second: a frame more than they have, and the last one before the next begins.
    opening = int(fps / 2) + 2
    closing = int(Fraction("9.9") * fps) - int(fps / 2) - 4
    return (
        Kind("9.97", ("fade", "0.5"), both(opening), opening),
        Kind("10", ("wipeleft", "0.5"), (with_clip,), 31 + IN_CLIP),
        Kind("10.13", None, (flash(60), voice), 60),
        Kind("9.9", ("slideup", "0.5"), both(closing), closing),
        Kind("10.41", ("dissolve", "0.37"), (with_late,), 100 + IN_LATE - 20),
        Kind("10.2", ("circleopen", "0.5"), both(157), 157),
    )


def film_of(fps: Fraction, count: int) -> tuple[dict[str, Any], list[int], int]:
    """The document, the frames at which flashes must begin, and how many frames the film must have: by exact arithmetic."""
    cycle = kinds(fps)
    parts: list[dict[str, Any]] = []
    flashes: list[int] = []
    end = Fraction(0)
    for number in range(count):
        kind = cycle[number % len(cycle)]
        part: dict[str, Any] = {"id": f"s{number}", "duration": float(kind.duration), "layers": list(kind.layers)}
        start = end
        if number and kind.transition:
            start -= Fraction(kind.transition[1])
            part["transition"] = {"type": kind.transition[0], "duration": float(kind.transition[1])}
        flashes.append(int(start * fps + Fraction(1, 2)) + kind.flash)
        end = start + Fraction(kind.duration)
        parts.append(part)
    document = {"width": 360, "height": 360, "fps": str(fps), "scenes": parts, "bgColor": "#000000"}
    return document, flashes, int(end * fps + Fraction(1, 2))


def bright(path: Path, fps: Fraction) -> tuple[list[int], list[int], int]:
    """Frames that are white, presentation times of all frames (ticks of 1/fps), and how many frames there are."""
    import av

    white: list[int] = []
    times: list[int] = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        for frame in container.decode(stream):
            moment = Fraction(frame.pts or 0) * (stream.time_base or 1) * fps
            assert moment.denominator == 1, f"frame {len(times)} lies between frames"
            plane = np.frombuffer(memoryview(frame.planes[0]), np.uint8)
            if plane.mean() > 150:
                white.append(int(moment))
            times.append(int(moment))
    return white, times, len(times)


def check(stage: Stage, fps: Fraction, count: int, encoder: Encoder | None) -> float:
    """Render the film and hold it against the arithmetic; gives the worst distance between flash and beep in seconds."""
    document, flashes, frames = film_of(fps, count)
    _, film, path = stage.film(document, encoder)
    white, times, found = bright(path, fps)
    assert found == frames == film.frames
    assert times == list(range(frames))
    assert white == [frame for flash in flashes for frame in (flash, flash + 1)]
    sound = heard(path)
    assert abs(len(sound) / 48000 - float(frames / fps)) <= float(1 / fps)
    beeps = onsets(sound)
    assert len(beeps) == len(flashes)
    apart = [beep - float(flash / fps) for beep, flash in zip(beeps, flashes, strict=True)]
    assert max(map(abs, apart)) <= NEAR
    # No drift: the last ten are where the first ten are.
    assert abs(float(np.mean(apart[:10])) - float(np.mean(apart[-10:]))) < 0.002
    assert [v.name for v in film.verdicts if not v.passed] == []
    return max(map(abs, apart))


# Ten minutes of film; seconds of it at every rate are made each time, below.
@pytest.mark.slow
def test_sixty_scenes_of_ten_minutes_keep_every_flash_on_its_frame_and_every_beep_beside_it(tmp_path: Path) -> None:
    check(on(tmp_path, Fraction(30)), Fraction(30), 60, FAST)


@pytest.mark.parametrize(("fps", "count"), [("25", 7), ("30000/1001", 7), ("24000/1001", 4)])
def test_so_it_is_at_other_rates(tmp_path: Path, fps: str, count: int) -> None:
    check(on(tmp_path, Fraction(fps)), Fraction(fps), count, FAST)


def test_so_it_is_with_the_encoder_that_films_get(tmp_path: Path) -> None:
    check(on(tmp_path, Fraction(30)), Fraction(30), 6, None)
