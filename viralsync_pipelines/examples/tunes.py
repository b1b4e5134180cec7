"""Music and effects of the examples, played by numpy: notes are added round a circle, so that every bed is a loop without a seam.

What belongs here: instruments and scores. What does not: files (make_media.py), where music stands in a film (the movies' JSON).
Sound is (n, 2) float64 at 48 kHz.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import pi
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
RATE = 48_000
_NOTES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}


def tunes() -> dict[str, Callable[[], Array]]:
    """Every piece by name."""
    return {"bed-bright": bright, "bed-calm": calm, "pop": pop, "whoosh": whoosh, "chime": chime}


def pitch(name: str) -> float:
    """Hertz of a note such as "A4" or "F#3"."""
    step = _NOTES[name[0]] + name.count("#") - name.count("b")
    return float(440.0 * 2 ** ((step - 9) / 12 + int(name[-1]) - 4))


def _time(seconds: float) -> Array:
    return np.arange(round(seconds * RATE)) / RATE


def _swell(t: Array, attack: float, release: float) -> Array:
    """0 to 1 over `attack` seconds, back to 0 over the last `release`, with no corner to click."""
    rise, fall = np.clip(t / attack, 0, 1), np.clip((t[-1] - t) / release, 0, 1)
    return np.asarray(np.sin(pi / 2 * rise) ** 2 * np.sin(pi / 2 * fall) ** 2)


def _band(noise: Array, low: float, high: float) -> Array:
    """Noise between two frequencies, by soft edges in the spectrum."""
    spectrum = np.fft.rfft(noise)
    f = np.fft.rfftfreq(len(noise), 1 / RATE) + 1e-9
    return np.asarray(np.fft.irfft(spectrum / (1 + (low / f) ** 4) / (1 + (f / high) ** 4), len(noise)))


def pad(hertz: float, seconds: float) -> Array:
    """A warm string-like tone: six harmonics, each a pair a little out of tune, one on either side."""
    t = _time(seconds)
    out = np.zeros((len(t), 2))
    for k in range(1, 7):
        for side, cents in ((0, 4.0), (1, -4.0)):
            f = hertz * k * 2 ** (cents * (1 + 0.3 * k) / 1200)
            out[:, side] += np.sin(2 * pi * f * t + k * 1.7 + side) / k**1.9
    return out * _swell(t, 0.35, 0.9)[:, None] * (1 + 0.12 * np.sin(2 * pi * 0.8 * t))[:, None]


def keys(hertz: float, seconds: float) -> Array:
    """An electric piano: one sine bent by another, mellower as it dies away."""
    t = _time(seconds)
    bend = 1.1 * np.exp(-t * 5) * np.sin(2 * pi * hertz * t) + 0.25 * np.exp(-t * 22) * np.sin(2 * pi * hertz * 7 * t)
    tone = np.sin(2 * pi * hertz * t + bend) * np.exp(-t * 2.4)
    return np.repeat((tone * _swell(t, 0.004, 0.08))[:, None], 2, 1)


def mallet(hertz: float, seconds: float = 0.9) -> Array:
    """A marimba bar."""
    t = _time(seconds)
    tone = np.sin(2 * pi * hertz * t) * np.exp(-t * 7) + 0.32 * np.sin(2 * pi * hertz * 3.93 * t) * np.exp(-t * 22)
    return np.repeat((tone * _swell(t, 0.002, 0.1))[:, None], 2, 1)


def bass(hertz: float, seconds: float) -> Array:
    t = _time(seconds)
    tone = np.tanh(1.4 * (np.sin(2 * pi * hertz * t) + 0.28 * np.sin(4 * pi * hertz * t + 0.4)))
    return np.repeat((tone * np.exp(-t * 1.2) * _swell(t, 0.008, 0.06))[:, None], 2, 1)


def kick() -> Array:
    t = _time(0.32)
    sweep = 2 * pi * (46 * t + (150 - 46) / 28 * (1 - np.exp(-t * 28)))
    return np.repeat((np.sin(sweep) * np.exp(-t * 11) * _swell(t, 0.002, 0.08))[:, None], 2, 1)


def snap(seed: int) -> Array:
    t = _time(0.22)
    noise = _band(np.random.default_rng(seed).standard_normal(len(t)), 1100, 5200)
    return np.repeat((noise * (np.exp(-t * 34) + 0.5 * np.exp(-np.abs(t - 0.012) * 300)) * _swell(t, 0.001, 0.05))[:, None], 2, 1)


def shaker(seed: int) -> Array:
    t = _time(0.09)
    noise = _band(np.random.default_rng(seed).standard_normal(len(t)), 5500, 13000)
    return np.repeat((noise * _swell(t, 0.02, 0.06))[:, None], 2, 1)


def _place(loop: Array, sound: Array, at_s: float, gain: float, side: float = 0.0) -> None:
    """Add a sound to a loop; what reaches over the end comes in again at the start. side: -1 left to 1 right."""
    spots = (round(at_s * RATE) + np.arange(len(sound))) % len(loop)
    np.add.at(loop, spots, sound * gain * np.sqrt(np.array((1 - side, 1 + side))))


def _echo(loop: Array, seconds: float, share: float, turns: int = 4) -> Array:
    """Repeats that swap sides, round the circle."""
    out, shift = loop.copy(), round(seconds * RATE)
    for k in range(1, turns + 1):
        out += np.roll(loop[:, ::-1] if k % 2 else loop, k * shift, axis=0) * share**k
    return out


def _room(loop: Array, seconds: float, share: float, seed: int = 3) -> Array:
    """A reverb: noise that dies away, folded with the loop round the circle."""
    tail = _time(seconds)
    rng = np.random.default_rng(seed)
    out = loop.copy()
    for side in (0, 1):
        noise = _band(rng.standard_normal(len(tail)), 180, 6000) * np.exp(-tail * 5 / seconds) * _swell(tail, 0.01, 0.2)
        whole = np.zeros(len(loop))
        np.add.at(whole, np.arange(len(noise)) % len(loop), noise / np.sqrt((noise**2).sum()))
        out[:, side] += share * np.fft.irfft(np.fft.rfft(loop[:, side]) * np.fft.rfft(whole), len(loop))
    return out


def _level(sound: Array, rms: float) -> Array:
    """At a loudness, with peaks rounded off."""
    return np.asarray(np.tanh(sound * (rms / np.sqrt((sound**2).mean())) * 1.02))


def _chords(loop: Array, play: Callable[[float, float], Array], chords: Sequence[str], bar: float, gain: float) -> None:
    for index, chord in enumerate(chords):
        for k, name in enumerate(chord.split()):
            _place(loop, play(pitch(name), bar * 1.18), index * bar, gain, (-0.35, 0.35, -0.15, 0.2, 0)[k % 5])


def bright() -> Array:
    """Sixteen seconds at 120 beats a minute, in D: pads, electric piano, marimba, light drums. A scene cut lands on every beat."""
    beat = 0.5
    size = round(32 * beat * RATE)
    chords = ("D3 A3 C#4 F#4 E4", "B2 F#3 A3 D4 E4", "G2 D3 F#3 B3 A3", "A2 E3 G3 C#4 B3") * 2
    roots = ("D2", "B1", "G1", "A1") * 2
    soft, dry, wet = np.zeros((size, 2)), np.zeros((size, 2)), np.zeros((size, 2))
    _chords(soft, pad, chords, 4 * beat, 0.05)
    for bar, (chord, root) in enumerate(zip(chords, roots, strict=True)):
        start = bar * 4 * beat
        for at, long in ((0.0, 1.4), (1.5, 0.45), (2.5, 0.9), (3.5, 0.45)):
            _place(dry, bass(pitch(root), long * beat), start + at * beat, 0.34)
        for at in (0.5, 1.5, 2.75):
            for name in chord.split()[1:4]:
                _place(dry, keys(pitch(name), 0.9), start + at * beat, 0.075, 0.2)
        for k in range(8):
            _place(dry, shaker(50 + k), start + k * beat / 2, 0.035 if k % 2 else 0.02, -0.4 + 0.1 * (k % 3))
        for at in (0.0, 2.0, 2.5):
            _place(dry, kick(), start + at * beat, 0.5 if at != 2.5 else 0.3)
        for at in (1.0, 3.0):
            _place(dry, snap(bar * 2 + int(at)), start + at * beat, 0.075, 0.1)
    tune = "F#5 - A5 - - E5 - - D5 - E5 F#5 - - - - D5 - F#5 - - B4 - - C#5 - E5 A4 - - B4 - "
    second = "F#5 - A5 - - B5 - - A5 - F#5 E5 - - - - D5 - E5 - - F#5 - - E5 - C#5 B4 - - A4 - "
    for k, name in enumerate((tune + second).split()):
        if name != "-":
            _place(wet, mallet(pitch(name)), k * beat / 2, 0.12, 0.3 if k % 4 else -0.3)
    return _level(_room(soft + dry * 0.9 + _echo(wet, 0.75 * beat, 0.38), 1.1, 0.16), 0.16)


def calm() -> Array:
    """Ten seconds of four slow chords with a few high bells."""
    bar = 2.5
    size = round(4 * bar * RATE)
    soft, wet = np.zeros((size, 2)), np.zeros((size, 2))
    chords = ("A2 E3 B3 C#4 G#4", "F#2 C#3 A3 E4 G#4", "D2 A2 F#3 C#4 E4", "E2 B2 F#3 A3 D4")
    _chords(soft, pad, chords, bar, 0.06)
    tune = "E5 - B5 - C#6 - - G#5 - - E5 - A5 - G#5 - F#5 - C#6 - - E5 - - F#5 - A5 - - B5 - - "
    for k, name in enumerate(tune.split()):
        if name != "-":
            _place(wet, keys(pitch(name), 1.6), k * bar / 8, 0.05, 0.4 if k % 3 else -0.4)
    for index, chord in enumerate(chords):
        _place(soft, bass(pitch(chord.split()[0]), bar * 0.95), index * bar, 0.12)
    return _level(_room(soft + _echo(wet, bar * 3 / 16, 0.45), 2.6, 0.5), 0.13)


def pop() -> Array:
    """A small round sound for something that jumps in."""
    t = _time(0.22)
    sweep = 2 * pi * (420 * t + 260 * t * t / 0.22)
    tone = (np.sin(sweep) + 0.25 * np.sin(2 * sweep)) * np.exp(-t * 20) * _swell(t, 0.004, 0.06)
    return np.repeat(tone[:, None] * 0.5, 2, 1)


def whoosh() -> Array:
    """Air going by from left to right, loudest in the middle."""
    t = _time(0.7)
    noise = np.random.default_rng(11).standard_normal(len(t))
    dark, light = _band(noise, 200, 900), _band(noise, 900, 5000)
    near = np.exp(-(((t - 0.35) / 0.14) ** 2))
    air = (dark * 0.7 + light * near) * near * _swell(t, 0.1, 0.15)
    return np.stack([air * (1 - t / 0.7 * 0.7), air * (0.3 + t / 0.7 * 0.7)], 1) * 0.5


def chime() -> Array:
    """Four bells upwards, for a price that is good news."""
    out = np.zeros((round(2.2 * RATE), 2))
    for k, name in enumerate(("D5", "F#5", "A5", "D6")):
        _place(out, mallet(pitch(name), 1.6) + 0.5 * keys(pitch(name), 1.6), k * 0.09, 0.3, (-0.4, 0.1, -0.1, 0.4)[k])
    return _room(out, 0.4, 0.1)
