"""Whatever sound an engine hands over, checked and written as the 16-bit mono WAV that takes are.

What belongs here: telling sound from other bytes, decoding, writing. What does not: who sent it. Importing this loads no decoder.
"""

from __future__ import annotations

import array
import io
import os
import sys
import wave
from itertools import chain
from pathlib import Path

from viralsync_pipelines.errors import SpeechError

MAX_SECONDS = 900
_RATES = (4_000, 192_000)
# A gigabyte: what stands for "not known yet" in headers is at least this.
_ENDLESS = 1 << 30
# What a text says it is, and what no sound begins with.
_NO_SOUND = ("text/", "application/json", "application/problem", "application/xml", "image/", "video/")


def kept_sound(data: bytes, out: Path, engine: str, *, mime: str = "", pcm_rate: int | None = None) -> tuple[array.array[int], int]:
    """Write MP3, WAV, Ogg, FLAC or AAC as a WAV at its own rate; the samples and the rate.

    To the sample: what an encoder put before and after the sound is taken off where the file says so. mime: what the sender called it.
    pcm_rate: bytes without a header are 16-bit samples at this rate. Raises SpeechError SPEECH_AUDIO_INVALID, SPEECH_TOO_LONG.
    """
    if not data:
        raise invalid(engine, "no sound at all")
    if mime.startswith(_NO_SOUND):
        raise invalid(engine, f"{mime} where sound was asked for")
    form = _form(data)
    if pcm_rate is not None and form in {None, "mp3", "aac"} and data[:3] != b"ID3":
        # A sample of -1 begins as an MP3 does.
        return kept_samples(data, pcm_rate, out, engine), pcm_rate
    if form is None:
        raise invalid(engine, f"bytes that are no sound{f' ({mime})' if mime else ''}")
    if form == "wav" and _cut_short(data):
        raise invalid(engine, "a sound that is cut short")
    samples, rate = _decoded(data, form, engine)
    if not samples:
        raise invalid(engine, "a sound of no length")
    write_wav(out, samples.tobytes() if sys.byteorder == "little" else _swapped(samples), rate)
    return samples, rate


def kept_samples(data: bytes, rate: int, out: Path, engine: str) -> array.array[int]:
    """Write little-endian 16-bit mono samples as a WAV. Raises SpeechError SPEECH_AUDIO_INVALID, SPEECH_TOO_LONG."""
    if len(data) < 2 or len(data) % 2:
        raise invalid(engine, f"{len(data):,} bytes where samples of two were due")
    if len(data) > 2 * rate * MAX_SECONDS:
        raise SpeechError(f"the line lasts longer than {MAX_SECONDS // 60} minutes; split it", code="SPEECH_TOO_LONG")
    write_wav(out, data, rate)
    samples = array.array("h", data)
    if sys.byteorder == "big":
        samples.byteswap()
    return samples


def invalid(engine: str, what: str) -> SpeechError:
    return SpeechError(f"{engine} answered with {what}; try again, or name another engine", code="SPEECH_AUDIO_INVALID")


def write_wav(out: Path, sound: bytes | memoryview, sample_rate: int) -> None:
    """16-bit mono, under a temporary name first: nobody sees half a file under `out`."""
    part = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(sample_rate)
            file.writeframes(sound)
        part.replace(out)
    except OSError as error:
        raise SpeechError(f"the speech could not be written to {out.parent}: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)


def _swapped(samples: array.array[int]) -> bytes:
    turned = samples[:]
    turned.byteswap()
    return turned.tobytes()


def _form(data: bytes) -> str | None:
    """The demuxer that opens it, by its first bytes: nothing is guessed from a name, and no playlist is ever opened."""
    if data[:4] == b"RIFF" and data[8:12] == b"WAVE":
        return "wav"
    if data[:4] == b"OggS":
        return "ogg"
    if data[:4] == b"fLaC":
        return "flac"
    if data[:3] == b"ID3":
        return "mp3"
    if len(data) > 2 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0:
        # Both begin with a run of ones; the layer bits are zero in AAC alone.
        return "aac" if data[1] & 0x06 == 0 else "mp3"
    return None


def _cut_short(data: bytes) -> bool:
    """Whether a WAV promises more samples than there are. Servers that write while they speak promise none, or the most there can be."""
    at = 12
    while at + 8 <= len(data):
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"data":
            return size < _ENDLESS and at + 8 + size > len(data)
        at += 8 + size + size % 2
    return True


def _decoded(data: bytes, form: str, engine: str) -> tuple[array.array[int], int]:
    import av

    samples = array.array("h")
    try:
        with av.open(io.BytesIO(data), "r", format=form) as container:
            stream = next(iter(container.streams.audio), None)
            if stream is None or not stream.rate:
                raise invalid(engine, "a file without sound")
            rate = int(stream.rate)
            if not _RATES[0] <= rate <= _RATES[1]:
                raise invalid(engine, f"a sound at {rate:,} Hz")
            resampler = av.AudioResampler(format="s16", layout="mono", rate=rate)
            for frame in chain(container.decode(stream), [None]):
                for plain in resampler.resample(frame):
                    # to_ndarray, not the plane's buffer: that is padded past the last sample.
                    samples.frombytes(plain.to_ndarray().tobytes())
                if len(samples) > MAX_SECONDS * rate:
                    raise SpeechError(f"the line lasts longer than {MAX_SECONDS // 60} minutes; split it", code="SPEECH_TOO_LONG")
    except av.FFmpegError as error:
        raise invalid(engine, f"sound that does not decode ({error.strerror})") from error
    return samples, rate
