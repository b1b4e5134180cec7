"""Sounds for tests, and instruments that judge them: none of ffmpeg's own meters, so that a meter cannot agree with itself.

`Stage` is a lab whose films are heard: clips through the store, sound mixed and mastered, joined and judged by the real steps.
"""

from __future__ import annotations

import hashlib
import wave
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from tests.films import Lab
from viralsync_pipelines.movie.encoding import ENCODERS, Encoder
from viralsync_pipelines.movie.mix import Cue, Mix
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.render.clips import Bench, ensure_clip
from viralsync_pipelines.render.deliver import Film, assemble, ensure_sound
from viralsync_pipelines.render.fonts import open_font_book
from viralsync_pipelines.render.prepare import Prepared
from viralsync_pipelines.storage import keys

Samples = np.ndarray[Any, Any]
RATE = 48_000
FAST = Encoder("ultrafast", 30, Fraction(1))


# Making sounds. Samples are floats, shape (n,) or (n, channels).


def tone(seconds: float, hertz: float = 1000.0, level: float = 0.5, rate: int = RATE) -> Samples:
    """A sine that begins at its crest, so that its onset is one sample."""
    return level * np.cos(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def silence(seconds: float, rate: int = RATE) -> Samples:
    return np.zeros(round(seconds * rate))


def music(seconds: float, seed: int = 1) -> Samples:
    """Chords, a beat and some noise in stereo; its short-term loudness moves, its crest factor is about 14 dB."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    left = sum(0.05 * np.sin(2 * np.pi * f * t + i) * (0.6 + 0.4 * np.sin(2 * np.pi * (0.4 + 0.13 * i) * t))
               for i, f in enumerate((110, 165, 220, 277, 330, 440, 660)))  # fmt: skip
    left = np.asarray(left)
    hit = np.exp(-np.arange(RATE // 4) / RATE * 25)
    for at in range(0, len(t), RATE // 2):
        drum = hit * (0.3 * np.sin(2 * np.pi * 60 * np.arange(RATE // 4) / RATE) + 0.08 * rng.standard_normal(RATE // 4))
        left[at : at + RATE // 4] += drum[: len(t) - at]
    return np.stack([left, np.roll(left, 200) * 0.9], 1)


def write_wav(path: Path, samples: Samples, rate: int = RATE) -> Path:
    """16 bits, as many channels as the samples have."""
    grid = samples if samples.ndim == 2 else samples[:, None]
    with wave.open(str(path), "wb") as out:
        out.setnchannels(grid.shape[1])
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((np.clip(grid, -1, 1) * 32767).round().astype("<i2").tobytes())
    return path


def read_wav(path: Path) -> Samples:
    """What a 16-bit WAV holds, as floats (n, channels)."""
    with wave.open(str(path), "rb") as file:
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()) / 32768


# Reading and judging them.


def heard(path: Path) -> Samples:
    """The sound of a file as a player plays it, placed by the times of its frames: sample 0 is time 0. Floats (n, 2).

    It ends where the file says: the last frame of AAC is filled up to 1,024 samples.
    """
    import av

    pieces: list[tuple[int, Samples]] = []
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        base = stream.time_base or Fraction(1, RATE)
        told = round((stream.duration or 0) * base * RATE)
        for frame in container.decode(audio=0):
            assert frame.sample_rate == RATE
            pieces.append((round(Fraction(frame.pts or 0) * base * RATE), frame.to_ndarray().T))
    end = max(at + len(block) for at, block in pieces)
    assert told <= end < told + 1024 + RATE // 1000
    out = np.zeros((end, 2))
    for at, block in pieces:
        out[max(0, at) : at + len(block)] = block[max(0, -at) :]
    return out[:told]


def onsets(samples: Samples, gap: float = 0.5, share: float = 0.25) -> list[float]:
    """Seconds at which sound begins after at least `gap` seconds of quiet."""
    loud = np.flatnonzero(np.abs(samples).max(-1) > share * np.abs(samples).max())
    starts = loud[np.diff(loud, prepend=-10 * RATE) > gap * RATE]
    return [int(at) / RATE for at in starts]


def lufs(samples: Samples) -> float:
    """Integrated loudness by ITU-R BS.1770-4, both gates, of stereo at 48 kHz."""
    blocks = _blocks(samples)
    loud = blocks[-0.691 + 10 * np.log10(blocks + 1e-20) > -70]
    if not len(loud):
        return -np.inf
    gate = -0.691 + 10 * np.log10(loud.mean()) - 10
    loud = loud[-0.691 + 10 * np.log10(loud) > gate]
    return float(-0.691 + 10 * np.log10(loud.mean()))


def _blocks(samples: Samples) -> Samples:
    """Mean squares of 400 ms every 100 ms, channels added."""
    power = sum(np.concatenate([[0.0], np.cumsum(_weighted(samples[:, c]) ** 2)]) for c in (0, 1))
    starts = np.arange(0, len(samples) - 19199, 4800)
    return np.asarray((np.asarray(power)[starts + 19200] - np.asarray(power)[starts]) / 19200)


def _weighted(channel: Samples) -> Samples:
    """K weighting, the two biquads of BS.1770 at 48 kHz, applied as a frequency response."""
    size = 1 << int(np.ceil(np.log2(len(channel) + RATE)))
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    shelf = (1.53512485958697 - 2.69169618940638 * z + 1.19839281085285 * z**2) / (1 - 1.69065929318241 * z + 0.73248077421585 * z**2)
    high = (1 - 2 * z + z**2) / (1 - 1.99004745483398 * z + 0.99007225036621 * z**2)
    return np.fft.irfft(np.fft.rfft(channel, size) * shelf * high, size)[: len(channel)]


def true_peak(samples: Samples, times: int = 8) -> float:
    """dBTP: the highest value between samples, by band-limited interpolation to eight times the rate."""
    highest = 0.0
    for channel in samples.T:
        # Faded in and out by padding, so that the circular transform does not ring at the ends.
        padded = np.pad(channel, 2400)
        spectrum = np.fft.rfft(padded)
        highest = max(highest, float(np.abs(np.fft.irfft(spectrum, len(padded) * times)).max()) * times)
    return 20 * float(np.log10(highest)) if highest else -np.inf


def mixed(cues: list[Cue], length: int, ducking: tuple[tuple[int, float], ...] = (), loudness: float | None = None) -> Mix:
    return Mix(length, tuple(cues), ducking, loudness, -1.5)


# Films that are heard.


@dataclass
class Stage(Lab):
    """A lab with voices: `lines` gives the WAV that is spoken for a text."""

    lines: dict[str, Path] = field(default_factory=dict)

    def speak(self, line: Line) -> Spoken:
        path = self.lines[line.text]
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        key = keys.speech_key(digest)
        self.store.put_file(key, path)
        with wave.open(str(path), "rb") as file:
            return Spoken(line.key, key, digest, file.getnframes(), file.getframerate(), (), "test", "test")

    def film(self, document: Mapping[str, Any], encoder: Encoder | None = None) -> tuple[Prepared, Film, Path]:
        """Everything but Dagster: plan, clips, sound, joined and judged; and where the film lies."""
        prepared = self.plan(document)
        self.render(prepared, encoder)
        sound = ensure_sound(prepared, self.store, self.desk.shelf.finder(prepared.plan), self.scratch())
        film = assemble(prepared, sound, self.store, self.scratch())
        path = self.store.local_path(keys.film_cache_key(prepared.film_key))
        assert path is not None
        return prepared, film, path

    def render(self, prepared: Prepared, encoder: Encoder | None = None) -> None:
        plan = prepared.plan
        bench = Bench(self.store, self.scratch(), self.easel(prepared))
        for piece, key in zip(plan.pieces, prepared.clip_keys, strict=True):
            ensure_clip(piece, key, plan.canvas, encoder or ENCODERS[plan.quality], bench, plan.scenes[piece.scene].id)


def stage(folder: Path) -> Stage:
    folder.mkdir(parents=True, exist_ok=True)
    return Stage(folder, open_font_book(()))
