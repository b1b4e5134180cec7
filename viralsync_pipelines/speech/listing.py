"""Which voices there are: every engine asked for its own, and those that cannot be used say why.

What belongs here: asking all of them at once, and choosing by language. What does not: how it is shown (cli/voices.py, gateway/voices.py).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.speech.engine import ENGINES, Means, Voice, engine_named


@dataclass(frozen=True)
class Listed:
    """An engine's voices; or none, and `why` it cannot be used, in a sentence, under a stable `code`."""

    engine: str
    voices: tuple[Voice, ...] = ()
    code: str | None = None
    why: str | None = None


def list_voices(means: Means, engine: str | None = None, language: str | None = None) -> list[Listed]:
    """Of one engine or all of them. language: BCP-47; "pt" is any Portuguese, and voices that name no language speak every one.

    Nobody is asked twice: a service that is busy is told as such. Raises SpeechError ENGINE_NOT_FOUND.
    """
    if engine is not None:
        engine_named(engine)
    hasty = replace(means, patience_s=0.0, kept={})
    with ThreadPoolExecutor(len(ENGINES), thread_name_prefix="voices") as pool:
        return list(pool.map(lambda name: _listed(name, hasty, language), ENGINES if engine is None else [engine]))


def _listed(name: str, means: Means, language: str | None) -> Listed:
    try:
        voices = engine_named(name, means).voices()
    except SpeechError as error:
        return Listed(name, code=error.code, why=error.message)
    return Listed(name, tuple(voice for voice in voices if language is None or _speaks(voice, language)))


def _speaks(voice: Voice, language: str) -> bool:
    own, wanted = (each.casefold().replace("_", "-") for each in (voice.language, language))
    return not own or own == wanted or own.startswith(f"{wanted}-")
