"""Finished clips in the store, by content: a clip that is there is never rendered again, by any movie.

What belongs here: looking a piece up, rendering it when it is missing, bringing clips back. What does not: rendering (scenes.py).
"""

from __future__ import annotations

import errno
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from viralsync_pipelines.errors import ClipMissing, ObjectMissing, SceneFailed, ViralsyncError
from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.encoding import Encoder
from viralsync_pipelines.movie.glances import tile_size
from viralsync_pipelines.movie.keys import Tools, piece_key
from viralsync_pipelines.movie.picture import Canvas, Piece
from viralsync_pipelines.render.artwork import Easel
from viralsync_pipelines.render.ffmpeg import Progress, ffmpeg_identity
from viralsync_pipelines.render.previews import rgb_jpeg
from viralsync_pipelines.render.scenes import render_piece
from viralsync_pipelines.storage.keys import clip_ends_key, clip_key, clip_picture_key
from viralsync_pipelines.storage.store import Store


@dataclass(frozen=True)
class Bench:
    """What a render step works with: the store, a folder for temporary files, and how to draw."""

    store: Store
    scratch: Path
    easel: Easel


@dataclass(frozen=True)
class Clip:
    """One piece's clip: its key, frames, whether it was found in the store, and how fast it was made (frames per second)."""

    key: str
    frames: int
    hit: bool
    fps: float


def tools() -> Tools:
    """The versions that decide pixels and samples on this machine."""
    from importlib.metadata import PackageNotFoundError, version

    named = []
    for package in ("pillow", "opencv-python-headless", "uharfbuzz", "numpy", "pi-heif"):
        try:
            named.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue  # pi-heif comes with an extra
    return Tools(ffmpeg_identity(), ", ".join(named))


def keys_of(
    pieces: Sequence[Piece], canvas: Canvas, encoder: Encoder, faces: Mapping[TextArt, Sequence[str]], made_with: Tools
) -> tuple[str, ...]:
    """The content key of every piece, in order."""
    return tuple(piece_key(piece, canvas, encoder, faces, made_with) for piece in pieces)


def has_clip(store: Store, key: str) -> bool:
    return store.stat(clip_key(key)) is not None


def ensure_clip(
    piece: Piece,
    key: str,
    canvas: Canvas,
    encoder: Encoder,
    bench: Bench,
    scene_id: str,
    on_progress: Callable[[Progress], None] | None = None,
    unchanged: Callable[[], None] | None = None,
    *,
    anew: bool = False,
) -> Clip:
    """The piece's clip, from the store or made now; `anew`: made now, and put in place of the one that is there.

    `unchanged` raises when a source changed while it was in use; it is asked before the clip gets its key, so that no other run can
    find the wrong one. Raises SceneFailed: the scene's name, the cause.
    """
    began = time.monotonic()
    try:
        if not anew and has_clip(bench.store, key):
            return Clip(key, piece.count, True, 0.0)
        bench.scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="piece-", dir=bench.scratch) as folder:
            out = Path(folder) / "clip.mp4"
            glances = render_piece(piece, canvas, encoder, bench.easel, Path(folder), out, on_progress)
            if unchanged is not None:
                unchanged()
            # Before the clip, which counts as finished once it is there.
            bench.store.put_bytes(clip_ends_key(key), glances.ends)
            if piece.kind == "body":
                bench.store.put_bytes(clip_picture_key(key), rgb_jpeg(glances.shown, tile_size(canvas)), content_type="image/jpeg")
            bench.store.put_file(clip_key(key), out, content_type="video/mp4", take=True)
    except ViralsyncError as error:
        raise SceneFailed(scene_id, f"{error.code}: {error.message}") from error
    except OSError as error:
        raise SceneFailed(scene_id, _plain(error)) from error
    # ffmpeg's own figure is 0 for what takes less than a moment.
    return Clip(key, piece.count, False, piece.count / (time.monotonic() - began))


def clip_picture(store: Store, key: str) -> bytes | None:
    """A scene's picture as JPEG; None for transitions."""
    return _beside(store, clip_picture_key(key))


def clip_ends(store: Store, key: str) -> bytes | None:
    """A clip's end frames (movie/glances.py), None when they have gone."""
    return _beside(store, clip_ends_key(key))


def _beside(store: Store, key: str) -> bytes | None:
    try:
        return store.get_bytes(key)
    except ObjectMissing:
        return None


def _plain(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}:
        return "DISK_FULL: the disk is full; free some space (scratch files and the cache lie under VIRALSYNC_HOME) and run the movie again"
    return f"{type(error).__name__}: {error}"


def bring_clips(store: Store, keys: Sequence[str], to: Path) -> list[Path]:
    """Local paths of clips, in order; downloaded to `to` where the store is not on this machine. ClipMissing names what is gone."""
    paths: dict[str, Path] = {}
    for key in keys:
        if key in paths:
            continue
        local = store.local_path(clip_key(key))
        if local is None:
            if store.stat(clip_key(key)) is None:
                raise ClipMissing(
                    f"the clip {key[:12]} of this film is not in the store; run the movie again, only what is missing is rendered"
                )
            local = store.fetch(clip_key(key), to / f"{key}.mp4")
        paths[key] = local
    return [paths[key] for key in keys]
