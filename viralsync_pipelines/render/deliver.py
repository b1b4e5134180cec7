"""The last steps: sound and clips to one judged film in the store, and the film to its job's outputs with its pictures.

What belongs here: the order of assembling and delivering, and what is kept by content. What does not: each step itself.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from io import BytesIO
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import ClipMissing, ObjectMissing
from viralsync_pipelines.movie.caption_sheets import sheets_of
from viralsync_pipelines.movie.glances import tile_width
from viralsync_pipelines.movie.keys import digest
from viralsync_pipelines.movie.picture import Piece
from viralsync_pipelines.render.assemble import ClipDamaged, join
from viralsync_pipelines.render.clips import bring_clips, clip_ends, clip_picture
from viralsync_pipelines.render.joins import look_at_joins
from viralsync_pipelines.render.legible import judge_captions
from viralsync_pipelines.render.loudness import Loudness
from viralsync_pipelines.render.prepare import Prepared
from viralsync_pipelines.render.previews import contact_sheet, grab, jpeg
from viralsync_pipelines.render.quality import Verdict, judge
from viralsync_pipelines.render.sound import mix_sound
from viralsync_pipelines.storage import keys
from viralsync_pipelines.storage.store import Store

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class SoundNotes:
    """What mastering measured: LUFS and dBTP, None for silence."""

    before_lufs: float | None
    lufs: float | None
    peak: float | None
    hit: bool


@dataclass(frozen=True)
class Film:
    """A finished film in the store by content, and what is known of it. peak in dBTP, lufs None for silence."""

    key: str
    frames: int
    seconds: float
    size: int
    lufs: float | None
    peak: float | None
    verdicts: tuple[Verdict, ...]
    hit: bool

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_json(data: dict[str, Any], *, hit: bool) -> Film:
        return Film(**{**data, "verdicts": tuple(Verdict(**v) for v in data["verdicts"]), "hit": hit})


def ensure_sound(
    prepared: Prepared, store: Store, path_of: Callable[[str], Path], scratch: Path, unchanged: Callable[[], None] | None = None
) -> SoundNotes:
    """The film's finished sound in the store, from the cache or mixed now. `unchanged` raises when a source changed meanwhile."""
    notes_key = keys.sound_key(prepared.mix_key).removesuffix(".m4a") + ".json"
    try:
        notes = json.loads(store.get_bytes(notes_key))
        if store.stat(keys.sound_key(prepared.mix_key)) is not None:
            return SoundNotes(**{**notes, "hit": True})
    except ObjectMissing:
        pass
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="sound-", dir=scratch) as folder:
        out = Path(folder) / "sound.m4a"
        heard = mix_sound(prepared.plan.mix, path_of, Path(folder), out)
        if unchanged is not None:
            unchanged()
        store.put_file(keys.sound_key(prepared.mix_key), out, content_type="audio/mp4", take=True)
    found = SoundNotes(_known(heard.before.lufs), _known(heard.after.lufs), _known(heard.after.peak), False)
    store.put_bytes(notes_key, json.dumps(asdict(found)).encode())
    return found


def _known(value: float) -> float | None:
    return value if isfinite(value) else None


# What shows for fewer frames than this is a flash that somebody wants.
_FLASH = 4


def plain_joins(pieces: Sequence[Piece]) -> list[int]:
    """The frames at which a new piece begins, without those where the plan itself puts a flash: it would look like a stray frame."""
    joins = []
    for before, after in zip(pieces, pieces[1:], strict=False):
        ending = [v for v in before.visuals if v.frames < min(_FLASH, before.count) and v.last > before.count - _FLASH]
        beginning = [v for v in after.visuals if v.frames < min(_FLASH, after.count) and v.first < _FLASH]
        if not ending and not beginning:
            joins.append(after.start)
    return joins


def known_film(prepared: Prepared, store: Store) -> Film | None:
    """The finished film when the store has it already."""
    try:
        notes = json.loads(store.get_bytes(keys.film_notes_key(prepared.film_key)))
    except ObjectMissing:
        return None
    if store.stat(keys.film_cache_key(prepared.film_key)) is None:
        return None
    return Film.from_json(notes, hit=True)


def assemble(prepared: Prepared, sound: SoundNotes, store: Store, scratch: Path) -> Film:
    """Join, judge and keep the film. The clips come from the plan and are read from the store by key: a missing one is
    a CLIP_MISSING, never a shorter film."""
    known = known_film(prepared, store)
    if known is not None:
        return known
    plan = prepared.plan
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="film-", dir=scratch) as name:
        folder = Path(name)
        clips = bring_clips(store, prepared.clip_keys, folder)
        track = store.local_path(keys.sound_key(prepared.mix_key)) or store.fetch(keys.sound_key(prepared.mix_key), folder / "sound.m4a")
        out = folder / "film.mp4"
        counts = [piece.count for piece in plan.pieces]
        try:
            join(clips, counts, plan.canvas.fps, track, folder, out, comment=f"viralsync {prepared.film_key[:32]}")
        except ClipDamaged as error:
            # A clip that is there counts as rendered for ever; only without it will the next run make it again. Of clips that
            # differ nobody knows which are right.
            for key, clip in zip(prepared.clip_keys, clips, strict=True):
                if clip == error.clip or error.code == "CLIPS_DIFFER":
                    store.delete(keys.clip_key(key))
            raise ClipMissing(f"{error.message}: what is wrong has been removed and is rendered again", code=error.code) from error
        loud = Loudness(-inf if sound.lufs is None else sound.lufs, -inf if sound.peak is None else sound.peak)
        seen = look_at_joins(counts, plain_joins(plan.pieces), plan.canvas, lambda piece: clip_ends(store, prepared.clip_keys[piece]))
        verdicts = judge(out, plan.frames, plan.canvas.fps, seen, loud, plan.mix.loudness, plan.mix.true_peak)
        verdicts = (*verdicts, judge_captions(out, plan.captions, plan.canvas))
        size = out.stat().st_size
        film = Film(prepared.film_key, plan.frames, float(plan.seconds), size, sound.lufs, sound.peak, verdicts, False)
        store.put_file(keys.film_cache_key(prepared.film_key), out, content_type="video/mp4", take=True)
    # Written after the film, so that notes in the store mean a whole film.
    store.put_bytes(keys.film_notes_key(prepared.film_key), json.dumps(film.as_json()).encode())
    return film


@dataclass(frozen=True)
class Delivery:
    """What a job leaves: keys of the film and its pictures, and the pictures' bytes for whoever shows them."""

    output: str
    thumbnail: str
    poster: str
    sheet: str
    thumbnail_jpeg: bytes
    sheet_jpeg: bytes
    # Of caption files, by their names; none for a film without captions.
    captions: Mapping[str, str] = field(default_factory=dict)


def deliver(prepared: Prepared, job_id: str, store: Store, scratch: Path) -> Delivery:
    """Put the film, its pictures and its captions under the job's outputs."""
    scratch.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="deliver-", dir=scratch) as name:
        key = keys.film_cache_key(prepared.film_key)
        film = store.local_path(key) or store.fetch(key, Path(name) / "film.mp4")
        pictures = _pictures(prepared, film, store)
        store.put_file(keys.output_key(job_id), film, content_type="video/mp4")
    outputs = (keys.thumbnail_key(job_id), keys.poster_key(job_id), keys.contact_sheet_key(job_id))
    for place, data in zip(outputs, pictures, strict=True):
        store.put_bytes(place, data, content_type="image/jpeg")
    plan = prepared.plan
    captions = {}
    for name_of_sheet, sheet in sheets_of(plan.captions, plan.canvas, plan.title).items():
        captions[name_of_sheet] = keys.captions_key(job_id, name_of_sheet)
        store.put_bytes(captions[name_of_sheet], sheet, content_type=keys.content_type_of(name_of_sheet))
    return Delivery(keys.output_key(job_id), *outputs, pictures[0], pictures[2], captions)


def _pictures(prepared: Prepared, film: Path, store: Store) -> tuple[bytes, bytes, bytes]:
    """Thumbnail, poster and contact sheet, kept with the film by content."""
    names = [f"cache/films/{prepared.film_key[:2]}/{prepared.film_key}.{kind}.jpg" for kind in ("thumbnail", "poster", "sheet")]
    try:
        kept = [store.get_bytes(name) for name in names]
        return kept[0], kept[1], kept[2]
    except ObjectMissing:
        pass
    plan = prepared.plan
    # The poster is the first picture a third into the film: titles have come in by then, and nothing fades out yet.
    poster = grab(film, [plan.seconds / 3], plan.canvas.width)[0]
    tiles = _scene_pictures(prepared, store) or grab(
        film, sheet_moments(plan.frames, plan.canvas.fps, [scene.first for scene in plan.scenes]),
        tile_width((plan.canvas.width, plan.canvas.height)),
    )  # fmt: skip
    small = poster.resize((320, max(2, round(320 * poster.height / poster.width))))
    made = (jpeg(small), jpeg(poster, 90), jpeg(contact_sheet(tiles)))
    for name, data in zip(names, made, strict=True):
        store.put_bytes(name, data, content_type="image/jpeg")
    return made


def _scene_pictures(prepared: Prepared, store: Store) -> list[Image]:
    """The pictures that scenes came with, when there are as many as a sheet shows and every scene has one."""
    from PIL import Image as Pictures

    plan = prepared.plan
    bodies = {piece.scene: key for piece, key in zip(plan.pieces, prepared.clip_keys, strict=True) if piece.kind == "body"}
    if not SHEET_SCENES[0] <= len(plan.scenes) <= SHEET_SCENES[1]:
        return []
    found = [clip_picture(store, bodies[scene]) if scene in bodies else None for scene in range(len(plan.scenes))]
    return [Pictures.open(BytesIO(data)) for data in found if data is not None] if None not in found else []


# As many scenes show one picture each on a contact sheet; more or fewer, and the moments are spread evenly.
SHEET_SCENES = 6, 24


def sheet_moments(frames: int, fps: Fraction, firsts: Sequence[int]) -> list[Fraction]:
    """Up to 24 moments for a contact sheet: the middle of every scene, or evenly spaced when there are too many or too few."""
    edges = [*firsts, frames]
    middles = [Fraction(a + b, 2) / fps for a, b in zip(edges, edges[1:], strict=False)]
    if SHEET_SCENES[0] <= len(middles) <= SHEET_SCENES[1]:
        return middles
    count = 24 if len(middles) > SHEET_SCENES[1] else 12
    return [Fraction(frames * (2 * i + 1), 2 * count) / fps for i in range(count)]


def output_facts(prepared: Prepared, film: Film) -> dict[str, Any]:
    """The film's facts under the wire's names (mediaData)."""
    canvas = prepared.plan.canvas
    return {"duration": film.seconds, "width": canvas.width, "height": canvas.height, "fileSize": film.size}


def provenance(prepared: Prepared, film: Film) -> dict[str, Any]:
    """Where everything came from: inputs by hash, tools, keys, loudness. Kept beside the film."""
    return {
        "film": film.as_json(),
        "clips": list(prepared.clip_keys),
        "mix": prepared.mix_key,
        "tools": asdict(prepared.made_with),
        "inputs": [{"uri": s.ref.uri, "sha256": s.ref.sha256, "kind": s.ref.kind} for s in prepared.plan.sources.values()],
        "voices": [
            {"engine": s.engine, "voice": s.voice, "timing": s.timing, "sha256": s.sha256, "words": [asdict(w) for w in s.words]}
            for s in prepared.plan.speech.values()
        ],
        "plan": digest(list(prepared.clip_keys)),
    }
