"""Short sounds in memory, as speech services send them: WAV, MP3, Ogg, FLAC and raw samples of a voice-like tone.

What belongs here: making them. What does not: serving them (servers/provider.py).
"""

from __future__ import annotations

import array
import io
import math
import wave
from functools import cache

RATE = 24_000


@cache
def samples(seconds: float = 1.0, rate: int = RATE) -> array.array[int]:
    """A tone that comes and goes four times a second, never silent for long."""
    count = round(seconds * rate)
    return array.array("h", (round(9_000 * math.sin(at * 0.05) * (0.6 + 0.4 * math.sin(at * 8 * math.pi / rate))) for at in range(count)))


def wav(found: array.array[int], rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes(found.tobytes())
    return file.getvalue()


def encoded(found: array.array[int], form: str, rate: int = RATE, channels: int = 1) -> bytes:
    """form: mp3, ogg or flac; the same sound in every channel."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        codec = {"mp3": "libmp3lame", "ogg": "libopus", "flac": "flac"}[form]
        stream = container.add_stream(codec, rate=rate, layout="mono" if channels == 1 else "stereo")
        data = np.repeat(np.frombuffer(found, dtype=np.int16), channels).reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout="mono" if channels == 1 else "stereo")
        frame.sample_rate = rate
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def samples_in(content: bytes) -> tuple[array.array[int], int]:
    """Those of a mono 16-bit WAV, and its rate."""
    with wave.open(io.BytesIO(content)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return array.array("h", file.readframes(file.getnframes())), file.getframerate()
