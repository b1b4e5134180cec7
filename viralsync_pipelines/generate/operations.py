"""What a job of an execution plan may be asked to do: names, the type of Job each is, and who does it.

What belongs here: that table. What does not: models (models.py), how films of `merge`, `layer` and `addSubtitles` look (montage.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

By = Literal["provider", "render", "speech"]


@dataclass(frozen=True)
class Operation:
    """type: of its Job. by: a provider, a run that renders, or one that speaks."""

    type: str
    by: By


OPERATIONS: Mapping[str, Operation] = {
    "generate": Operation("generate.video", "provider"),
    "pipeline:generate": Operation("generate.video", "provider"),
    "generateImage": Operation("generate.image", "provider"),
    "generateAudio": Operation("generate.audio", "provider"),
    "generateVoice": Operation("generate.voice", "provider"),
    "talkingHead": Operation("generate.talking_head", "provider"),
    "render": Operation("render.movie", "render"),
    "merge": Operation("render.movie", "render"),
    "layer": Operation("render.movie", "render"),
    "addSubtitles": Operation("render.movie", "render"),
    "narrate": Operation("speech.narrate", "speech"),
}
# Known, and refused with the reason until it can be done.
NOT_YET: Mapping[str, str] = {
    "publish": "publishing is not there yet; fetch the result and publish it by hand",
    "transcribe": "transcription is not there; give your own words to addSubtitles",
    "removeBackground": "removing backgrounds is not there; a layer's chromaKey takes out a plain one",
    "removeImageBackground": "removing backgrounds is not there; give a PNG with alpha",
    "reframe": "reframing is not there; a layer's fit and crop do it in a movie",
    "lipSync": "lip sync is not there; talkingHead makes a speaking picture",
    "replaceGreenScreen": "give the video to `layer` with chromaKey",
}
