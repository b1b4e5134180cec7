"""The studio: everything a render works with on this machine, opened from the settings. Shared by Dagster's ops and the command line.

What belongs here: putting stores, caches, fonts and engines together. What does not: reading the environment (settings.py).
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from viralsync_pipelines.movie.plan import MoviePlan
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.render.artwork import Easel
from viralsync_pipelines.render.clips import Bench
from viralsync_pipelines.render.fonts import FontBook, open_font_book
from viralsync_pipelines.render.prepare import Desk, Prepared, prepare
from viralsync_pipelines.render.shelf import Shelf
from viralsync_pipelines.render.sources import Sources
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.keys import output_key
from viralsync_pipelines.storage.store import BucketPlace, Store, place_of


@dataclass(frozen=True)
class Studio:
    """scratch: temporary files of renders. sources: how sources are brought in. shelf: where later steps find them."""

    store: Store
    scratch: Path
    sources: Sources
    shelf: Shelf
    fonts: FontBook

    def speak(self, line: Line) -> Spoken:
        """The line from the cache, or spoken now."""
        from viralsync_pipelines.speech.cache import speak_cached

        self.scratch.mkdir(parents=True, exist_ok=True)
        return speak_cached(line, self.store, self.scratch)[0]

    def prepare(self, document: Mapping[str, Any], variables: Mapping[str, Any], *, draft: bool = False) -> Prepared:
        desk = Desk(self.sources, self.fonts, self.speak, self.shelf)
        return prepare(document, desk, variables=variables, draft=draft)

    def bench(self, plan: MoviePlan) -> Bench:
        """What rendering pieces of this plan needs."""
        return Bench(self.store, self.scratch, Easel(self.shelf.finder(plan), self.fonts))

    def beside(self, folder: Path) -> Studio:
        """The same studio for a movie that lies in `folder`, whose own files it may use."""
        return replace(self, sources=replace(self.sources, allow_local=True, base_dir=folder))


def open_studio(settings: Settings, store: Store) -> Studio:
    """Open a studio. Reads nothing yet: caches and fonts are touched at first use."""
    cache = settings.home / "sources"
    place = place_of(settings.store)
    bucket = (place.bucket, place.prefix) if isinstance(place, BucketPlace) else None
    return Studio(
        store=store,
        scratch=settings.home / "scratch",
        sources=Sources(
            cache=cache,
            store=store,
            web=_web(settings),
            media_roots=settings.media_roots,
            bucket=bucket,
            job_output=output_key,
        ),
        shelf=Shelf(store, cache, shared=bucket is not None),
        fonts=open_font_book(settings.font_dirs),
    )


def _web(settings: Settings) -> Any:
    from viralsync_pipelines.http import open_client
    from viralsync_pipelines.render.download import Web

    return Web(open_client(allow=settings.allow_hosts))


def sweep_scratch(scratch: Path, older_than_s: float, now_s: float) -> int:
    """Remove temporary folders that a killed step left behind; how many."""
    gone = 0
    for entry in scratch.glob("*") if scratch.is_dir() else ():
        if now_s - entry.stat().st_mtime > older_than_s:
            shutil.rmtree(entry, ignore_errors=True) if entry.is_dir() else entry.unlink(missing_ok=True)
            gone += 1
    return gone
