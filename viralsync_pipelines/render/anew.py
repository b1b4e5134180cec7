"""Making again what is kept by content: for a person who does not trust what came out, or whose disk did not keep it well.

What belongs here: which scenes are meant, and what of a film must not be found again. What does not: making anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.jobs.run_config import EVERY_SCENE
from viralsync_pipelines.render.prepare import Prepared
from viralsync_pipelines.storage import keys
from viralsync_pipelines.storage.store import Store


def scenes_anew(fresh: Sequence[str], scenes: int) -> frozenset[int]:
    """Numbers (from 1) of the scenes that are named, all of them for "*". Raises RenderError SCENE_NOT_FOUND."""
    if EVERY_SCENE in fresh:
        return frozenset(range(1, scenes + 1))
    wrong = [name for name in fresh if not (name.isdecimal() and len(name) < 9 and 1 <= int(name) <= scenes)]
    if wrong:
        told = f"there is no scene {wrong[0][:20]!r} to render anew; the film has {scenes}, numbered from 1"
        raise RenderError(told, code="SCENE_NOT_FOUND")
    return frozenset(map(int, fresh))


def forget_film(prepared: Prepared, store: Store, *, sound: bool) -> None:
    """Have the film joined and judged, its pictures taken and, with `sound`, its sound mixed again by whoever needs them next.

    Only what says that they are finished goes: films and sounds stay in place until new ones replace them.
    """
    film = keys.film_cache_key(prepared.film_key).removesuffix(".mp4")
    notes = [f"{film}{ending}" for ending in (".json", ".thumbnail.jpg", ".poster.jpg", ".sheet.jpg")]
    if sound:
        notes.append(keys.sound_key(prepared.mix_key).removesuffix(".m4a") + ".json")
    for key in notes:
        store.delete(key)
