"""Bringing sources in: one door from a `src` of the movie to a local file that is hashed, sniffed and measured.

What belongs here: what may be read, and identity by content. What does not: the grammar of `src` (places.py), transfer
(download.py), judging bytes (sniff.py, probe.py). A source is its sha256; names and addresses are only where it was found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from viralsync_pipelines.errors import ObjectMissing, Problem, SourceError, StoreError
from viralsync_pipelines.http import shown
from viralsync_pipelines.media import Kind, MediaInfo, MediaRef
from viralsync_pipelines.render.download import Cache, Web, download
from viralsync_pipelines.render.files import Found, Stamp, hashed, in_cache, sha256_of, still_holds
from viralsync_pipelines.render.places import Place, parse
from viralsync_pipelines.render.probe import PROBE_VERSION, kind_of, probe
from viralsync_pipelines.render.sniff import Sniffed, sniff_file
from viralsync_pipelines.storage.store import Store


@dataclass(frozen=True)
class Sources:
    """Where sources may come from.

    cache: folder for downloads and hashes. web: None closes the network. media_roots: local folders open to every movie.
    allow_local: also open `base_dir`, the movie's own folder (the command line). Symbolic links may not lead out of these.
    bucket: (name, prefix) of the store's own bucket, the only one s3:// reaches. job_output, resource: id or key -> store key.
    """

    cache: Path
    store: Store | None = None
    web: Web | None = None
    media_roots: tuple[Path, ...] = ()
    allow_local: bool = False
    base_dir: Path | None = None
    bucket: tuple[str, str] | None = None
    job_output: Callable[[str], str | None] | None = None
    resource: Callable[[str], str | None] | None = None
    max_bytes: int = 2 << 30
    threads: int = 4
    now_ns: Callable[[], int] = time.time_ns

    @property
    def kept(self) -> Cache:
        return Cache(self.cache.absolute())

    @property
    def roots(self) -> tuple[Path, ...]:
        own = (self.base_dir,) if self.allow_local and self.base_dir is not None else ()
        return tuple(Path(r).resolve() for r in (*own, *self.media_roots))


@dataclass(frozen=True)
class Source:
    """A source at hand. Never write to `path`: it may be the user's own file. Give ffmpeg `sniffed.demuxer` with -f."""

    path: Path
    ref: MediaRef
    info: MediaInfo
    sniffed: Sniffed
    stamp: Stamp
    settled: bool


def bring(src: str, *, pointer: str, bench: Sources, kinds: Collection[Kind] | None = None) -> Source:
    """Bring one source in; `kinds` narrows what it may be. Every SourceError carries `pointer`.

    Codes: SOURCE_REFUSED, SOURCE_NOT_FOUND, SOURCE_UNREADABLE, SOURCE_TOO_LARGE, SOURCE_CHANGED, SOURCE_UNAVAILABLE (a server
    or the store is down: worth another run), DISK_FULL.
    """
    try:
        found = _find(parse(src), bench)
        try:
            sniffed, info = _judge(found, bench.kept)
            kind = kind_of(sniffed, info)
            _check_kind(kind, kinds)
        except SourceError as error:
            raise SourceError(f"{shown(src)}: {error.message}", code=error.code) from error
    except ObjectMissing as error:
        raise SourceError(
            f"{shown(src)} is not in the store; check the key", code="SOURCE_NOT_FOUND", pointer=pointer
        ) from error
    except StoreError as error:
        raise SourceError(f"{shown(src)}: {error.message}", code="SOURCE_UNAVAILABLE", pointer=pointer) from error
    except SourceError as error:
        error.pointer = pointer
        raise
    return Source(found.path, MediaRef(src, found.sha256, kind), info, sniffed, found.stamp, found.settled)


def bring_text(src: str, *, pointer: str, bench: Sources, most: int = 5_000_000) -> bytes:
    """The bytes of a source that is text, such as a caption file: nothing but its reader judges it. Raises as `bring` does."""
    try:
        found = _find(parse(src), bench)
        size = found.path.stat().st_size
        if size > most:
            raise SourceError(f"it has {size:,} bytes; at most {most:,} are taken", code="SOURCE_TOO_LARGE")
        return found.path.read_bytes()
    except ObjectMissing as error:
        raise SourceError(f"{shown(src)} is not in the store; check the key", code="SOURCE_NOT_FOUND", pointer=pointer) from error
    except StoreError as error:
        raise SourceError(f"{shown(src)}: {error.message}", code="SOURCE_UNAVAILABLE", pointer=pointer) from error
    except SourceError as error:
        error.pointer = pointer
        raise


def bring_again(ref: MediaRef, *, pointer: str, bench: Sources) -> Source:
    """The very bytes a plan was made with, for a later step: from the cache without asking anybody, else brought in anew.

    Raises SourceError as `bring` does, and SOURCE_CHANGED when other bytes lie there now.
    """
    place, blob = parse(ref.uri), bench.kept.blob(ref.sha256)
    if place.how != "local" and blob.exists():
        found = in_cache(blob, ref.sha256)
        sniffed, info = _judge(found, bench.kept)
        return Source(found.path, ref, info, sniffed, found.stamp, found.settled)
    source = bring(ref.uri, pointer=pointer, bench=bench)
    if source.ref.sha256 != ref.sha256:
        raise SourceError(
            f"{shown(ref.uri)} was replaced while the movie was being made; run it again to use the new one",
            code="SOURCE_CHANGED",
            pointer=pointer,
        )
    return source


def bring_all(wanted: Iterable[tuple[str, str]], *, bench: Sources) -> tuple[dict[str, Source], list[Problem]]:
    """Bring (src, pointer) pairs in, each distinct src once, several at a time; one problem for each bad pointer."""
    pairs = list(wanted)
    first = dict(reversed(pairs))
    bench.kept.sweep(bench.now_ns() / 1e9)

    def one(src: str) -> Source | SourceError:
        try:
            return bring(src, pointer=first[src], bench=bench)
        except SourceError as error:
            return error

    with ThreadPoolExecutor(max_workers=bench.threads, thread_name_prefix="source") as pool:
        outcomes = dict(zip(first, pool.map(one, first), strict=True))
    sources = {src: outcome for src, outcome in outcomes.items() if isinstance(outcome, Source)}
    failed = {src: outcome for src, outcome in outcomes.items() if isinstance(outcome, SourceError)}
    return sources, [Problem(pointer, failed[src].code, failed[src].message) for src, pointer in pairs if src in failed]


def unchanged(source: Source) -> bool:
    """Whether the file still holds the bytes that were brought in. Cheap (one stat) unless something about the file moved."""
    return still_holds(source.path, source.ref.sha256, source.stamp if source.settled else None)


def _find(place: Place, bench: Sources) -> Found:
    cache = bench.kept
    match place.how:
        case "web":
            if bench.web is None:
                raise SourceError("sources from the network are switched off here; give a local file", code="SOURCE_REFUSED")
            path, sha256 = download(place.value, bench.web, cache, bench.max_bytes)
            return in_cache(path, sha256)
        case "local":
            return _local(_inside(place.value, bench), bench)
        case "bucket":
            return _stored(_own_key(place.value, bench), bench)
        case "job":
            return _stored(_looked_up("job", place.value, bench.job_output), bench)
        case "resource":
            return _stored(_looked_up("resource", place.value, bench.resource), bench)


def _judge(found: Found, cache: Cache) -> tuple[Sniffed, MediaInfo]:
    """Sniff and measure, or take what was measured before on the same bytes."""
    name = f"{PROBE_VERSION}:{found.sha256}"
    known = cache.note("media", name, {"sniffed": dict, "info": dict})
    if known is not None:
        return Sniffed(**known["sniffed"]), MediaInfo.from_json(known["info"])
    sniffed = sniff_file(found.path)
    info = probe(found.path, sniffed)
    cache.write_note("media", name, {"sniffed": asdict(sniffed), "info": info.as_json()})
    return sniffed, info


def _check_kind(kind: Kind, kinds: Collection[Kind] | None) -> None:
    names = {"video": "a video", "image": "a picture", "audio": "a sound", "font": "a font"}
    if kinds is not None and kind not in kinds:
        right = " or ".join(names[k] for k in names if k in kinds)
        raise SourceError(f"it is {names[kind]}; {right} belongs here", code="SOURCE_REFUSED")


def _inside(text: str, bench: Sources) -> Path:
    """The real path of a local source, which must lie in an open folder after every symbolic link is followed."""
    roots = bench.roots
    if not roots:
        raise SourceError(
            "local files are not open to this movie; upload the file and give its https:// address or resource:<key>",
            code="SOURCE_REFUSED",
        )
    allowed = False
    for root in roots:
        try:
            real = (root / text).resolve()
            if any(real.is_relative_to(r) for r in roots):
                allowed = True
                if real.exists():
                    return real
        except (OSError, RuntimeError):
            continue  # a name too long, a circle of links, a folder closed to us
    if allowed:
        raise SourceError(f"there is no file {text[:200]}; check the name (capital letters count)", code="SOURCE_NOT_FOUND")
    # The same words whether or not the file exists: a movie must not learn what lies outside its folders.
    raise SourceError(
        f"{text[:200]} lies outside the folders open to this movie; copy it beside the movie or into the media folder",
        code="SOURCE_REFUSED",
    )


def _local(path: Path, bench: Sources) -> Found:
    return hashed(path, bench.kept, max_bytes=bench.max_bytes, now_ns=bench.now_ns)


def _stored(key: str, bench: Sources) -> Found:
    """An object of the store: read in place when it lies on this machine, else brought into the cache once for each etag."""
    store, cache = bench.store, bench.kept
    if store is None:
        raise SourceError("no store is set up to read this from; give an https:// address", code="SOURCE_REFUSED")
    here = store.local_path(key)
    if here is not None:
        return _local(here, bench)
    state = store.stat(key)
    if state is None:
        raise ObjectMissing(f"nothing under {key}")
    if state.size > bench.max_bytes:
        raise SourceError(f"{key} has {state.size:,} bytes, at most {bench.max_bytes:,} are taken", code="SOURCE_TOO_LARGE")
    name = f"{key}@{state.etag}"
    known = cache.note("store", name, {"sha256": str})
    if known is not None and (path := cache.blob(known["sha256"])).exists():
        return in_cache(path, known["sha256"])
    with cache.partial() as temporary:
        store.fetch(key, temporary)
        sha256 = sha256_of(temporary)
        path = cache.keep(temporary, sha256)
    cache.write_note("store", name, {"sha256": sha256})
    return in_cache(path, sha256)


def _own_key(value: str, bench: Sources) -> str:
    name, _, key = value.partition("/")
    own, prefix = bench.bucket or ("", "")
    prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
    if not own or name != own or not key.startswith(prefix) or key == prefix:
        raise SourceError(
            "s3:// reaches only the bucket of this installation's own store; give a signed https:// address of the object",
            code="SOURCE_REFUSED",
        )
    return key.removeprefix(prefix)


def _looked_up(what: str, name: str, look_up: Callable[[str], str | None] | None) -> str:
    if look_up is None:
        raise SourceError(f"{what}: sources are not open here; give an https:// address or a file", code="SOURCE_REFUSED")
    key = look_up(name)
    if key is None:
        remedy = "check the id, and that the job is done" if what == "job" else "check the key, and that it was uploaded"
        raise SourceError(f"there is no {what} {name} with a file; {remedy}", code="SOURCE_NOT_FOUND")
    return key
