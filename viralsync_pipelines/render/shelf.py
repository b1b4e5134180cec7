"""Where the bytes of a plan's sources lie on this machine, checked by content before and after they are used.

What belongs here: finding a source by its sha256 (its own place, the download cache, the store) and noticing that it changed.
What does not: bringing sources in for the first time (sources.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.movie.art import WaveArt
from viralsync_pipelines.movie.picture import Footage, Piece, files_of
from viralsync_pipelines.movie.plan import MoviePlan
from viralsync_pipelines.render.download import Cache
from viralsync_pipelines.render.files import hashed, still_holds
from viralsync_pipelines.render.sources import Source
from viralsync_pipelines.storage.keys import source_key
from viralsync_pipelines.storage.store import Store


@dataclass(frozen=True)
class Shelf:
    """cache: folder of downloads. shared: sources are copied into the store, since steps may run on other machines."""

    store: Store
    cache: Path
    shared: bool = False

    def share(self, sources: Iterable[Source]) -> None:
        """Put sources where every machine can read them, when steps may run elsewhere."""
        for source in sources if self.shared else ():
            key = source_key(source.ref.sha256)
            if self.store.stat(key) is None:
                self.store.put_file(key, source.path)

    def path_of(self, plan: MoviePlan, sha256: str) -> Path:
        """A local file that holds exactly these bytes. SOURCE_CHANGED when the file was replaced since the plan was made."""
        spoken = plan.speech.get(sha256)
        if spoken is not None:
            local = self.store.local_path(spoken.audio_key)
            return local if local is not None else self._fetched(spoken.audio_key, sha256)
        source = plan.sources.get(sha256)
        name = source.ref.uri if source is not None else sha256[:12]
        own = Path(source.path) if source is not None and source.path else None
        if own is not None and own.exists() and self._holds(own, sha256):
            return own
        blob = Cache(self.cache).blob(sha256)
        if blob.exists() and still_holds(blob, sha256, None):
            return blob
        if self.store.stat(source_key(sha256)) is not None:
            return self._fetched(source_key(sha256), sha256)
        raise SourceError(
            f"{name} was changed or removed after the film was planned; run the movie again, and leave its files alone meanwhile",
            code="SOURCE_CHANGED",
        )

    def _holds(self, path: Path, sha256: str) -> bool:
        """Read through once for each state of the file; later steps believe its stamp."""
        try:
            return hashed(path, Cache(self.cache), max_bytes=1 << 62, now_ns=time.time_ns).sha256 == sha256
        except SourceError:
            return False

    def _fetched(self, key: str, sha256: str) -> Path:
        to = Cache(self.cache).blob(sha256)
        if not (to.exists() and still_holds(to, sha256, None)):
            to.parent.mkdir(parents=True, exist_ok=True)
            self.store.fetch(key, to)
        return to

    def finder(self, plan: MoviePlan) -> Callable[[str], Path]:
        """path_of for one plan; each source is read through once, however many layers use it."""
        found: dict[str, Path] = {}

        def path_of(sha256: str) -> Path:
            if sha256 not in found:
                found[sha256] = self.path_of(plan, sha256)
            return found[sha256]

        return path_of

    def check(self, plan: MoviePlan, shas: Sequence[str]) -> None:
        """After use: SOURCE_CHANGED when a source no longer holds the bytes it was planned with."""
        for sha256 in shas:
            self.path_of(plan, sha256)


def footage_of(pieces: Iterable[Piece]) -> tuple[str, ...]:
    """sha256 of every file of picture or sound that pieces show."""
    shown = (v.content for p in pieces for v in p.visuals if isinstance(v.content, Footage | WaveArt))
    return tuple(dict.fromkeys(sha256 for content in shown for sha256 in files_of(content)))
