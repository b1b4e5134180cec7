"""Tone as a colour matrix: brightness, contrast, saturation, grey, sepia and hue in one 3x4 matrix, the same for stills and clips.

What belongs here: the mathematics (W3C Filter Effects). What does not: applying it to pixels (render/artwork.py, filters.py).
"""

from __future__ import annotations

from math import cos, radians, sin

from viralsync_pipelines.movie.picture import Tone

Matrix = tuple[tuple[float, float, float, float], ...]

_IDENTITY: Matrix = ((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0))
# Rec. 709 luma weights, as CSS filters use them.
_R, _G, _B = 0.2126, 0.7152, 0.0722


def _then(first: Matrix, second: Matrix) -> Matrix:
    """The matrix that applies `first`, then `second`; the fourth column is the offset (1.0 = full scale)."""
    return tuple(
        (
            *(sum(second[row][k] * first[k][col] for k in range(3)) for col in range(3)),
            sum(second[row][k] * first[k][3] for k in range(3)) + second[row][3],
        )  # type: ignore[misc]
        for row in range(3)
    )


def _saturate(amount: float) -> Matrix:
    return tuple(
        (*((1 - amount) * weight + (amount if row == col else 0.0) for col, weight in enumerate((_R, _G, _B))), 0.0)  # type: ignore[misc]
        for row in range(3)
    )


def _hue(degrees: float) -> Matrix:
    c, s = cos(radians(degrees)), sin(radians(degrees))
    return (
        (_R + c * (1 - _R) - s * _R, _G - c * _G - s * _G, _B - c * _B + s * (1 - _B), 0.0),
        (_R - c * _R + s * 0.143, _G + c * (1 - _G) + s * 0.140, _B - c * _B - s * 0.283, 0.0),
        (_R - c * _R - s * (1 - _R), _G - c * _G + s * _G, _B + c * (1 - _B) + s * _B, 0.0),
    )


def _sepia(amount: float) -> Matrix:
    full = ((0.393, 0.769, 0.189), (0.349, 0.686, 0.168), (0.272, 0.534, 0.131))
    return tuple(
        (*(amount * full[row][col] + (1 - amount) * (1.0 if row == col else 0.0) for col in range(3)), 0.0)  # type: ignore[misc]
        for row in range(3)
    )


def tone_matrix(tone: Tone) -> Matrix:
    """One matrix for all of a tone but its blur: output = matrix . (r, g, b, 1) with channels from 0 to 1."""
    b, c = tone.brightness, tone.contrast
    steps: list[Matrix] = [
        ((b, 0, 0, 0), (0, b, 0, 0), (0, 0, b, 0)),
        tuple((*(c if row == col else 0.0 for col in range(3)), 0.5 - 0.5 * c) for row in range(3)),  # type: ignore[misc]
        _saturate(tone.saturation),
        _saturate(1 - tone.grayscale),
        _sepia(tone.sepia),
        _hue(tone.hue),
    ]
    matrix = _IDENTITY
    for step in steps:
        matrix = _then(matrix, step)
    return matrix


def mixer_steps(tone: Tone) -> list[dict[str, float]]:
    """The matrix as colorchannelmixer options. Offsets ride on the alpha input; what exceeds the filter's range of 2 is
    reached by doubling afterwards."""
    matrix = tone_matrix(tone)
    if matrix == _IDENTITY:
        return []
    largest = max(abs(v) for row in matrix for v in row)
    doublings = 0
    while largest > 2:
        largest, doublings = largest / 2, doublings + 1
    names = "rgb"
    first = {f"{names[row]}{'rgba'[col]}": matrix[row][col] / 2**doublings for row in range(3) for col in range(4)}
    return [first, *({"rr": 2.0, "gg": 2.0, "bb": 2.0} for _ in range(doublings))]
