"""Who speaks, where a line does not say so itself: a voice layer takes from the movie, the movie from its channel. Pure.

What belongs here: the `speech` object of movies and channels, and the rule by which one fills another. What does not: engines.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Speed = Annotated[float, Field(ge=0.25, le=4)]
Pitch = Annotated[float, Field(ge=0.25, le=4)]
Style = Annotated[str, Field(min_length=1, max_length=1_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Language = Annotated[str, Field(min_length=2, max_length=35)]
Fallback = Annotated[list[Annotated[str, Field(min_length=1, max_length=264)]], Field(max_length=8)]

# What only the engine understands that it was written for.
_OF_AN_ENGINE = frozenset({"voice", "style", "stability", "similarity"})


class Speech(BaseModel):
    """How lines are said unless they say otherwise; what is left out or null is left to the engine."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    engine: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    voice: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    speed: Speed = 1.0
    pitch: Pitch = 1.0
    style: Style | None = None
    stability: Share | None = None
    similarity: Share | None = None
    language: Language | None = None
    fallback: Fallback = Field(default_factory=list)


def filled(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`own` with what it leaves out taken from `given`, both as written.

    One that names another engine takes no voice, style, stability or similarity along: they would mean nothing there.
    """
    other = "engine" in own and own["engine"] != given.get("engine")
    return {**{name: value for name, value in given.items() if not (other and name in _OF_AN_ENGINE)}, **own}


def with_speech(document: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A movie document whose own `speech` is filled from `given`; one that has no object there is left alone."""
    own = document.get("speech")
    if not given or not isinstance(own, dict | None):
        return dict(document)
    return {**document, "speech": filled(own or {}, given)}
