"""Pictures by a seed: a sky, a sun, rows of hills that move with time, and the prompt's words on it.

What belongs here: pixels. What does not: files (making.py). Equal values give equal pixels; a seed, a prompt and a size tell pictures
apart for somebody who looks.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from viralsync_pipelines.errors import FontError, RenderError
from viralsync_pipelines.movie.art import Plate, Shadow, TextArt

Pixels = npt.NDArray[np.uint8]
# Words of a prompt that choose the colour of the sky, as degrees of hue.
_HUES: Mapping[str, int] = {
    "sunset": 14, "sunrise": 24, "fire": 6, "desert": 32, "autumn": 22, "gold": 44, "forest": 130, "jungle": 120, "garden": 105,
    "spring": 95, "ocean": 198, "sea": 200, "beach": 190, "lake": 195, "sky": 210, "winter": 215, "snow": 212, "ice": 190, "night": 242,
    "city": 255, "space": 265, "galaxy": 280, "neon": 300, "rose": 338, "love": 345,
}  # fmt: skip
_HILLS = 4
_MOST_WORDS = 160


def seed_of(prompt: str, seed: int | None) -> int:
    """The seed that was asked for, or one that follows from the prompt, so that the same prompt gives the same picture."""
    return seed if seed is not None else int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big")


@dataclass(frozen=True)
class Scene:
    """A landscape of width x height pixels. note: small words at its foot."""

    width: int
    height: int
    prompt: str
    seed: int
    note: str = ""

    def frame(self, time: float) -> Pixels:
        """height x width x 3, RGB. time: 0 to 1, through which the sun rises and the hills pass by."""
        import cv2

        picture = self._sky.copy()
        reach = min(self.width, self.height)
        centre = (round(self.width * (self._chance[0] * 0.5 + 0.25)), round(self.height * (0.52 - 0.3 * time)))
        for size, share in ((0.2, 0.25), (0.15, 0.5), (0.11, 1.0)):
            _disc(picture, centre, round(reach * size), self._shade(30, 0.35, 1.0), share)
        steps = np.linspace(0, 1, max(2, self.width // 8))
        for row in range(_HILLS):
            near = (row + 1) / _HILLS
            bumps = sum(
                np.sin(2 * math.pi * (steps * wave * self.width / self.height + self._chance[row * 3 + wave] + time * near * 0.5)) / wave
                for wave in (1, 2, 3)
            )
            tops = self.height * (0.5 + 0.11 * row - 0.06 * bumps)
            outline = np.stack([steps * (self.width - 1), tops], axis=1)
            closed = np.concatenate([outline, [[self.width, self.height], [0, self.height]]]).astype(np.int32)
            cv2.fillPoly(picture, [closed], self._shade(-14 * row, 0.45 + 0.1 * row, 0.62 - 0.13 * row), cv2.LINE_AA)
        for words, left, top in self._lettering:
            _lay_over(picture, words, left, top)
        return picture

    @cached_property
    def _chance(self) -> list[float]:
        return list(np.random.default_rng(self.seed).random(16))

    @cached_property
    def _hue(self) -> float:
        named = [_HUES[word] for word in self.prompt.lower().replace(",", " ").replace(".", " ").split() if word in _HUES]
        return named[0] + 16 * (self._chance[15] - 0.5) if named else 360 * self._chance[15]

    def _shade(self, turn: float, saturation: float, value: float) -> tuple[int, int, int]:
        red, green, blue = colorsys.hsv_to_rgb(((self._hue + turn) % 360) / 360, saturation, value)
        return round(red * 255), round(green * 255), round(blue * 255)

    @cached_property
    def _sky(self) -> Pixels:
        high, low = np.array(self._shade(-20, 0.75, 0.75), float), np.array(self._shade(25, 0.4, 1.0), float)
        down = np.clip(np.linspace(0, 1.5, self.height), 0, 1)[:, None]
        rows = high * (1 - down) + low * down
        return np.repeat(np.rint(rows)[:, None, :], self.width, axis=1).astype(np.uint8)

    @cached_property
    def _lettering(self) -> list[tuple[Pixels, int, int]]:
        """Bitmaps with the place of their top left corner."""
        found = []
        wide, reach = round(self.width * 0.86), min(self.width, self.height)
        words = " ".join(self.prompt.split())
        words = words if len(words) <= _MOST_WORDS else words[: _MOST_WORDS - 1] + "…"
        drawn = _drawn(words, wide, round(self.height * 0.5), (reach * 0.03, reach * 0.1), 700)
        if drawn is not None:
            found.append((drawn, (self.width - drawn.shape[1]) // 2, (self.height - drawn.shape[0]) // 2))
        small = _drawn(self.note, wide, None, None, 500, size=max(8.0, reach * 0.032)) if self.note else None
        if small is not None:
            found.append((small, (self.width - small.shape[1]) // 2, round(self.height * 0.97) - small.shape[0]))
        return found


def _drawn(words: str, wide: int, high: int | None, fit: tuple[float, float] | None, weight: int, size: float = 0.0) -> Pixels | None:
    """RGBA; None for what no font at hand can draw, which is no reason to make no picture."""
    from viralsync_pipelines.render.fonts import open_font_book
    from viralsync_pipelines.render.lettering import draw_text

    size = size or (fit[1] if fit else 0.0)
    if fit:
        style: dict[str, Any] = {"shadow": Shadow((0, 0, 0, 150), 0, size * 0.06, size * 0.3)}
    else:
        style = {"background": Plate((0, 0, 0, 110), size * 0.5, size * 0.5)}
    for text in dict.fromkeys((words, "".join(char for char in words if char.isascii() and char.isprintable()).strip())):
        if not text:
            continue
        art = TextArt(
            text, None, None, weight, False, size, fit, (255, 255, 255, 255), "center", 1.15, 0.0, wide, high, **style,
        )  # fmt: skip
        try:
            return draw_text(art, open_font_book()).pixels
        except (FontError, RenderError):
            continue
    return None


def _disc(picture: Pixels, centre: tuple[int, int], radius: int, colour: tuple[int, int, int], share: float) -> None:
    import cv2

    over = cv2.circle(picture.copy(), centre, radius, colour, -1, cv2.LINE_AA)
    cv2.addWeighted(over, share, picture, 1 - share, 0, dst=picture)


def _lay_over(picture: Pixels, layer: Pixels, left: int, top: int) -> None:
    """Straight RGBA over RGB, in place; what lies outside is left out."""
    x0, y0 = max(0, left), max(0, top)
    x1, y1 = min(picture.shape[1], left + layer.shape[1]), min(picture.shape[0], top + layer.shape[0])
    if x1 <= x0 or y1 <= y0:
        return
    part = layer[y0 - top : y1 - top, x0 - left : x1 - left]
    share = part[:, :, 3:].astype(np.uint16)
    under = picture[y0:y1, x0:x1]
    under[:] = ((part[:, :, :3] * share + under * (255 - share) + 127) // 255).astype(np.uint8)


def zoomed(picture: Pixels, width: int, height: int, time: float) -> Pixels:
    """The middle of a picture filling width x height, and drawing nearer by a seventh while time goes from 0 to 1."""
    import cv2

    scale = max(width / picture.shape[1], height / picture.shape[0]) * (1 + 0.15 * time)
    move = np.array(
        [[scale, 0, (width - picture.shape[1] * scale) / 2], [0, scale, (height - picture.shape[0] * scale) / 2]], dtype=np.float64
    )
    how = cv2.INTER_AREA if scale < 0.5 else cv2.INTER_LINEAR
    return np.asarray(cv2.warpAffine(picture, move, (width, height), flags=how, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8)


def with_voice_bars(picture: Pixels, loudness: float, time_s: float) -> Pixels:
    """A row of bars at the foot of the picture that open and close like a mouth. loudness: 0 to 1."""
    import cv2

    height, width = picture.shape[:2]
    shown = picture.copy()
    reach = min(width, height)
    bars, thick, gap = 11, max(2, reach // 60), max(4, reach // 28)
    middle = round(height * 0.84)
    half = bars * gap // 2 + gap
    box = shown[max(0, middle - reach // 9) : middle + reach // 9, max(0, width // 2 - half) : width // 2 + half]
    box[:] = (box * 0.45).astype(np.uint8)
    for bar in range(bars):
        along = 1 - abs(bar - bars // 2) / (bars / 2 + 1)
        swing = 0.6 + 0.4 * math.sin(time_s * 19 + bar * 1.7)
        long = round(reach * (0.008 + 0.09 * loudness * along * swing))
        x = width // 2 + (bar - bars // 2) * gap
        cv2.line(shown, (x, middle - long), (x, middle + long), (255, 255, 255), thick, cv2.LINE_AA)
    return shown
