"""What speech engines are opened with, as the settings say, and how a channel's movies are spoken.

What belongs here: from settings to Means, and the channel's document. What does not: reading the environment (settings.py), engines.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from viralsync_pipelines.defs.late import LateClient, doors
from viralsync_pipelines.errors import MovieInvalid, ObjectMissing, Problem, StoreError
from viralsync_pipelines.movie.voicing import Speech
from viralsync_pipelines.movie.wording import problems_of
from viralsync_pipelines.speech.engine import Means
from viralsync_pipelines.storage.keys import channel_key

if TYPE_CHECKING:
    import httpx

    from viralsync_pipelines.settings import Settings
    from viralsync_pipelines.storage.store import Store


class ChannelInvalid(MovieInvalid):
    """A channel's `speech` with faults."""

    what = "channel's speech"


def means_of(settings: Settings) -> Means:
    """Opens nothing. A service on this machine is reached at its own port, whatever else is closed."""
    bases = {name: base for name, base in settings.provider_bases.items() if name in {"elevenlabs", "openai", "openai_speech"}}
    client = LateClient((*settings.allow_hosts, *sorted(doors(bases.values()))))
    return Means(
        client=lambda: cast("httpx.Client", client),
        keys=settings.provider_keys,
        bases=bases,
        models=settings.speech_models,
        folders=settings.voice_folders,
    )


def speech_of_channel(store: Store, channel: str | None) -> dict[str, Any]:
    """The channel's `speech` as it was written; {} for no channel, or one that has none. Raises ChannelInvalid."""
    return read_speech(channel_document(store, channel).get("speech"))


def channel_document(store: Store, channel: str | None) -> dict[str, Any]:
    """The whole small document of a channel; {} for none. Raises ChannelInvalid for one that is no JSON object."""
    try:
        found = json.loads(store.get_bytes(channel_key(channel))) if channel else {}
    except (ObjectMissing, StoreError) as error:
        # A tag may be any text, and a channel that has no key can have no document.
        if isinstance(error, ObjectMissing) or error.code == "STORE_KEY_INVALID":
            return {}
        raise
    except ValueError:
        found = None
    if not isinstance(found, dict):
        told = f"{channel_key(channel or '')} in the store is no JSON object; write it anew with `viralsync voices --channel`"
        raise ChannelInvalid([Problem("", "DOCUMENT_INVALID", told)])
    return found


def keep_speech(store: Store, channel: str, speech: Mapping[str, Any]) -> None:
    """Write the channel's `speech`; what else its document holds stays. Raises ChannelInvalid, STORE_KEY_INVALID."""
    document = {**channel_document(store, channel), "speech": read_speech(dict(speech))}
    store.put_bytes(channel_key(channel), json.dumps(document, ensure_ascii=False, indent=2).encode(), content_type="application/json")


def read_speech(found: Any) -> dict[str, Any]:
    """A `speech` as written, checked. Raises ChannelInvalid."""
    if found is None:
        return {}
    try:
        Speech.model_validate(found)
    except ValidationError as error:
        told = problems_of(error.errors(include_url=False, include_input=False), found, Speech, "/speech")
        raise ChannelInvalid(told) from error
    return cast(dict[str, Any], found)
