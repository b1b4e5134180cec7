"""What is wrong with captions beyond their form: a voice that is not there, words that no one says. Pure.

What belongs here: problems with their places. What does not: fonts and glyphs, which need font files (render/prepare.py).
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.layers import Captions, VoiceLayer, caption_src
from viralsync_pipelines.movie.spec import Movie


def caption_faults(captions: Captions, place: str, layers: Sequence[Any], movie: Movie) -> list[Problem]:
    """layers: those around it; of the film's own captions the film's."""
    if not isinstance(captions.source, str) or caption_src(captions) is not None:
        return []
    around = [*layers, *movie.layers]
    if captions is movie.captions or any(captions is each for each in movie.layers):
        around += [each for scene in movie.scenes for each in scene.layers]
    voices = [each for each in around if isinstance(each, VoiceLayer)]
    if not voices:
        told = "nothing is spoken here that captions could show; add a voice layer, or give `source` a caption file or [{text, start, end}]"
        return [Problem(f"{place}/source", "CAPTION_SOURCE_UNKNOWN", told)]
    ids = [voice.id for voice in voices if voice.id is not None]
    if captions.source == "voice" or captions.source in ids:
        return []
    close = difflib.get_close_matches(captions.source, ids, n=1, cutoff=0.5) or ids[:1]
    told = (
        f"no voice layer here has the id {captions.source[:64]!r}; write \"voice\" for all of them"
        + (f", or {close[0]!r}" if close else "") + ", or the address of a caption file, such as captions.srt"
    )  # fmt: skip
    return [Problem(f"{place}/source", "CAPTION_SOURCE_UNKNOWN", told)]
