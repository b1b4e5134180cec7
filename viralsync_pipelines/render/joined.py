"""Many sounds as one file: copied to the sample where all are alike, mixed at 48 kHz where they are not; as WAV, and from that as MP3.

What belongs here: samples. What does not: where sounds stand (speech/track.py), what is mixed how (sound.py).
"""

from __future__ import annotations

import contextlib
import wave
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.movie.conform import GUARD
from viralsync_pipelines.movie.mix import Mix
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.render.ffmpeg import run
from viralsync_pipelines.render.sound import mix_raw

if TYPE_CHECKING:
    import numpy as np

_CHUNK = 1 << 20
MP3_KBITS = {1: 96, 2: 160}


def join_alike(parts: Iterable[tuple[Path, int]], rate: int, channels: int, length: int, out: Path) -> None:
    """16-bit WAVs of one rate and shape, each at its sample, silence between them; `length` samples in all.

    Raises RenderError SOUND_UNLIKE for a part that is not like that or meets the one before it.
    """
    with _written(out, rate, channels) as file:
        done = 0
        for path, at in parts:
            with wave.open(str(path)) as part:
                if (part.getframerate(), part.getnchannels(), part.getsampwidth()) != (rate, channels, 2) or at < done:
                    raise RenderError("a line's sound is not as it was told to be; run it again", code="SOUND_UNLIKE")
                _silence(file, at - done, channels)
                while frames := part.readframes(_CHUNK):
                    file.writeframesraw(frames)
                done = at + part.getnframes()
        _silence(file, length - done, channels)


def _silence(file: wave.Wave_write, samples: int, channels: int) -> None:
    if samples < 0:
        raise RenderError("the lines are longer than their track; run it again", code="SOUND_UNLIKE")
    block = bytes(2 * channels * min(samples, _CHUNK))
    while samples > 0:
        take = min(samples, _CHUNK)
        file.writeframesraw(block[: 2 * channels * take])
        samples -= take


def join_mixed(mix: Mix, path_of: Callable[[str], Path], scratch: Path, out: Path) -> float:
    """Everything mixed to 48 kHz stereo; the factor by which all of it was turned down so that nothing is cut off, 1.0 for none.

    A line that is at 48 kHz already, and sounds alone, keeps its samples.
    """
    import numpy as np

    raw = scratch / "joined.f32"
    mix_raw(mix, path_of, scratch, raw)
    samples: Any = np.memmap(raw, np.float32, "r", shape=(mix.length, 2)) if mix.length else np.zeros((0, 2), np.float32)
    peak = max((float(np.abs(samples[at : at + _CHUNK]).max()) for at in range(0, mix.length, _CHUNK)), default=0.0)
    # -1 dBFS when it would be cut off; a sound that reaches full scale by itself is left as it is.
    gain = 0.89 / peak if peak > 1.0 else 1.0
    with _written(out, SAMPLE_RATE, 2) as file:
        for at in range(0, mix.length, _CHUNK):
            file.writeframesraw(_as_integers(samples[at : at + _CHUNK], gain).tobytes())
    del samples
    raw.unlink()
    return gain


def _as_integers(samples: Any, gain: float) -> np.ndarray[Any, np.dtype[np.int16]]:
    import numpy as np

    scaled = np.rint(samples * np.float32(32768 * gain))
    whole: np.ndarray[Any, np.dtype[np.int16]] = np.clip(scaled, -32768, 32767).astype("<i2")
    return whole


def _written(out: Path, rate: int, channels: int) -> contextlib.closing[wave.Wave_write]:
    file = wave.open(str(out), "wb")  # noqa: SIM115 - whoever asked for it closes it
    file.setnchannels(channels)
    file.setsampwidth(2)
    file.setframerate(rate)
    return contextlib.closing(file)


def mp3_of(wav: Path, channels: int, metadata: Path, out: Path) -> None:
    """The WAV as MP3, with the title and chapters of an ffmetadata file. Raises FfmpegFailed."""
    guard = [part for name, value in GUARD.items() for part in (f"-{name}", value)]
    run(
        ["-f", "wav", *guard, "-i", str(wav), "-f", "ffmetadata", *guard, "-i", str(metadata), "-map", "0:a:0", "-map_metadata", "1",
         "-map_chapters", "1", "-c:a", "libmp3lame", "-b:a", f"{MP3_KBITS[channels]}k", "-f", "mp3", str(out)],
    )  # fmt: skip


def cut_wav(source: Path, demuxer: str, start: float, end: float | None, out: Path) -> None:
    """A part of any sound as a lossless 16-bit WAV at 48 kHz, stereo where it was. Raises FfmpegFailed."""
    guard = [part for name, value in GUARD.items() for part in (f"-{name}", value)]
    # By samples: -ss lands on packets, which last 20 ms and more.
    stop = "" if end is None else f":end_sample={round(end * SAMPLE_RATE)}"
    chain = (
        f"aresample={SAMPLE_RATE}:first_pts=0", "aformat=sample_fmts=s16:channel_layouts=stereo|mono",
        f"atrim=start_sample={round(start * SAMPLE_RATE)}{stop}", "asetpts=N/SR/TB",
    )  # fmt: skip
    run(
        ["-f", demuxer, *guard, "-vn", "-i", str(source), "-map", "0:a:0", "-af", ",".join(chain), "-c:a", "pcm_s16le", "-bitexact",
         "-f", "wav", str(out)],
    )  # fmt: skip
