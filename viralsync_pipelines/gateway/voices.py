"""`GET /v1/speech/voices`: the voices of every speech engine of this studio, and why others cannot be used.

What belongs here: this route and its wire names. What does not: asking engines (speech/listing.py).
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from pydantic import BaseModel, ConfigDict

from viralsync_pipelines.gateway.auth import Principal, reader
from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.faults import documented
from viralsync_pipelines.speech.listing import Listed, list_voices

router = APIRouter(prefix="/v1/speech", tags=["speech"], responses=documented(401, 403, 429))
# Words of services that are not reached may name hosts inside.
_AWAY = "the service cannot be reached just now; try again in a moment"


class _Wire(BaseModel):
    model_config = ConfigDict(json_schema_serialization_defaults_required=True)


class VoiceView(_Wire):
    """name: what `voice` of a voice layer takes. language: BCP-47, null when the engine does not say."""

    name: str
    language: str | None = None
    about: str | None = None


class EngineView(_Wire):
    """engine: what `engine` of a voice layer takes. usable: false for one that cannot speak here; `code` and `reason` say why."""

    engine: str
    usable: bool
    code: str | None = None
    reason: str | None = None
    voices: list[VoiceView]


class VoicesView(_Wire):
    engines: list[EngineView]


@router.get("/voices", summary="Voices of every speech engine", responses=documented(400))
def voices(
    request: Request, _: Annotated[Principal, Depends(reader)],
    engine: Annotated[str | None, Query(max_length=64, description="Only this engine")] = None,
    language: Annotated[str | None, Query(max_length=35, description="Only voices of this language, such as `de` or `pt-BR`")] = None,
) -> VoicesView:  # fmt: skip
    """Which voices a movie may name here. Services are asked for theirs, which may take a moment."""
    return VoicesView(engines=[_view(each) for each in list_voices(deps_of(request).speech, engine, language)])


def _view(each: Listed) -> EngineView:
    voices = [VoiceView(name=voice.name, language=voice.language or None, about=voice.about or None) for voice in each.voices]
    reason = _AWAY if each.code == "SPEECH_UNAVAILABLE" else each.why
    return EngineView(engine=each.engine, usable=each.why is None, code=each.code, reason=reason, voices=voices)
