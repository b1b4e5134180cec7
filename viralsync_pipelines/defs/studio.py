"""The studio: everything a render works with on this machine, opened from the settings. Shared by Dagster's ops and the command line.

What belongs here: putting stores, caches, fonts and engines together. What does not: reading the environment (settings.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from viralsync_pipelines.defs.late import LateClient
from viralsync_pipelines.defs.scratch import own_scratch
from viralsync_pipelines.defs.voices import means_of
from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.movie.plan import MoviePlan
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.render.artwork import Easel
from viralsync_pipelines.render.clips import Bench
from viralsync_pipelines.render.fonts import FontBook, open_font_book
from viralsync_pipelines.render.prepare import Desk, Prepared, prepare, settle
from viralsync_pipelines.render.shelf import Shelf
from viralsync_pipelines.render.sources import Sources
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.speech.engine import NO_MEANS, Means
from viralsync_pipelines.storage.keys import manifest_key, output_key
from viralsync_pipelines.storage.store import BucketPlace, S3Access, Store, open_store, place_of

_MEDIA = re.compile(r"media/[0-9a-f]{2}/[0-9a-f]{64}\.[a-z0-9]{1,5}")


@dataclass(frozen=True)
class Studio:
    """scratch: temporary files of renders. sources: how sources are brought in. shelf: where later steps find them.
    means: what speech engines are opened with."""

    store: Store
    scratch: Path
    sources: Sources
    shelf: Shelf
    fonts: FontBook
    means: Means = NO_MEANS

    def speak(self, line: Line) -> Spoken:
        """The line from the cache, or spoken now."""
        return self.spoken(line)[0]

    def spoken(self, line: Line) -> tuple[Spoken, bool]:
        """The same, and whether it was in the cache."""
        from viralsync_pipelines.speech.cache import speak_cached

        self.scratch.mkdir(parents=True, exist_ok=True)
        return speak_cached(line, self.store, self.scratch, means=self.means)

    def prepare(self, document: Mapping[str, Any], variables: Mapping[str, Any], *, draft: bool = False) -> Prepared:
        return prepare(document, self._desk, variables=variables, draft=draft)

    def settle(self, document: Mapping[str, Any], variables: Mapping[str, Any]) -> dict[str, Any]:
        """The document with every template worked out, times that had to be measured included."""
        return settle(document, self._desk, variables=variables)

    @property
    def _desk(self) -> Desk:
        return Desk(self.sources, self.fonts, self.speak, self.shelf)

    def bench(self, plan: MoviePlan) -> Bench:
        """What rendering pieces of this plan needs."""
        return Bench(self.store, self.scratch, Easel(self.shelf.finder(plan), self.fonts))

    def beside(self, folder: Path) -> Studio:
        """The same studio for a movie that lies in `folder`, whose own files it may use."""
        return replace(self, sources=replace(self.sources, allow_local=True, base_dir=folder))


def scratch_root(settings: Settings) -> Path:
    """Where every process of this machine has its folder of temporary files."""
    return settings.home / "scratch"


def open_studio(settings: Settings, store: Store) -> Studio:
    """Open a studio. Reads nothing yet: caches and fonts are touched at first use."""
    cache = settings.home / "sources"
    place = place_of(settings.store)
    bucket = (place.bucket, place.prefix) if isinstance(place, BucketPlace) else None
    return Studio(
        store=store,
        scratch=own_scratch(scratch_root(settings)),
        sources=Sources(
            cache=cache,
            store=store,
            web=_web(settings),
            media_roots=settings.media_roots,
            bucket=bucket,
            job_output=lambda job_id: made_by(store, job_id),
            resource=by_content,
        ),
        shelf=Shelf(store, cache, shared=bucket is not None),
        fonts=open_font_book(settings.font_dirs),
        means=means_of(settings),
    )


def by_content(key: str) -> str | None:
    """What `resource:` opens: media under their own hash, which nobody can name who has not been told of them."""
    return key if _MEDIA.fullmatch(key) else None


def made_by(store: Store, job_id: str, workspace: str | None = None) -> str | None:
    """The key of what `job:` opens: the film of a job, or the first thing that a plan's job made.

    workspace: only a plan's job of this one. Whose a film is its run tells (take.py).
    """
    film = output_key(job_id)
    if store.stat(film) is not None:
        return film
    manifest = manifest_key(job_id)
    if store.stat(manifest) is None:
        return film
    made = json.loads(store.get_bytes(manifest))
    if workspace is not None and made.get("workspace") != workspace:
        return None
    key: str = made["outputs"][0]["key"]
    return key


def is_generation(store: Store, job_id: str) -> bool:
    """Whether a job is one of an execution plan: no run of Dagster's has its name."""
    return store.stat(manifest_key(job_id)) is not None


def store_without_dagster(settings: Settings) -> Store:
    """The store that the settings name, for programs that do not otherwise need Dagster (importing it takes two seconds)."""
    bucket = settings.store.startswith("s3://")
    access = S3Access(settings.s3_access_key, settings.s3_secret_key, settings.s3_url, settings.s3_region, settings.s3_public_url)
    return open_store(settings.store, access if bucket else None)


def _web(settings: Settings) -> Any:
    from viralsync_pipelines.addresses import Allow
    from viralsync_pipelines.render.download import Web

    try:
        Allow.of(settings.allow_hosts)
    except ValueError as error:
        raise SettingsError(f"VIRALSYNC_ALLOW_HOSTS: {error}") from error
    client: Any = LateClient(settings.allow_hosts)
    return Web(client)
