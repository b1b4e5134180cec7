"""Content keys: what makes two pieces, mixes or films the same. Names, ids and places in the movie do not count; bytes do.

What belongs here: hashing values. What does not: where things lie in the store (storage/keys.py).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

from pydantic import TypeAdapter

from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.caption_art import text_of
from viralsync_pipelines.movie.encoding import Encoder, picture_args, sound_args
from viralsync_pipelines.movie.mix import Mix
from viralsync_pipelines.movie.picture import Canvas, Piece
from viralsync_pipelines.movie.plan import MoviePlan

# Raise by one whenever equal values would no longer give equal pixels or samples.
RENDERER = 3


@dataclass(frozen=True)
class Tools:
    """What else decides bytes: the ffmpeg build, and the versions of the libraries that draw (Pillow, raqm, OpenCV)."""

    ffmpeg: str
    drawing: str


def digest(value: Any) -> str:
    """sha256 (hex) of a value's canonical JSON."""
    data = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return hashlib.sha256(data.encode(errors="surrogatepass")).hexdigest()


@cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def piece_key(
    piece: Piece, canvas: Canvas, encoder: Encoder, faces: Mapping[TextArt, Sequence[str]], tools: Tools
) -> str:
    """The key of a piece's clip: the same piece anywhere, in any movie, has the same key."""
    value = _adapter(Piece).dump_python(replace(piece, scene=0, start=0), mode="json")
    fonts = [list(faces[v.content]) for v in piece.visuals if isinstance(v.content, TextArt)]
    fonts += [list(faces[text_of(caption)]) for caption in piece.captions]
    settings = [list(picture_args(encoder, canvas.fps)), canvas.width, canvas.height, str(canvas.fps)]
    return digest([RENDERER, "piece", value, fonts, settings, tools.ffmpeg, tools.drawing])


def mix_key(mix: Mix, tools: Tools) -> str:
    """The key of a film's finished sound."""
    return digest([RENDERER, "mix", _adapter(Mix).dump_python(mix, mode="json"), list(sound_args()), tools.ffmpeg])


def film_key(pieces: Sequence[str], mix: str, fps: Fraction, tools: Tools) -> str:
    """The key of a finished film: its pieces in order and its sound."""
    return digest([RENDERER, "film", list(pieces), mix, str(fps), tools.ffmpeg])


def plan_json(plan: MoviePlan) -> bytes:
    """The plan as canonical JSON, exact to the last fraction."""
    value = _adapter(MoviePlan).dump_python(plan, mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_plan(data: bytes) -> MoviePlan:
    """The plan back from its JSON; pydantic's ValidationError when it is none."""
    plan: MoviePlan = _adapter(MoviePlan).validate_json(data)
    return plan
