"""From the user's document to a plan: expand, validate, bring sources in, have lines spoken, measure, and again until nothing waits.

What belongs here: the order of these steps and gathering every problem. What does not: any one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cache
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, Problem
from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.caption_art import text_of
from viralsync_pipelines.movie.draft import scaled
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.movie.feasible import faults_of
from viralsync_pipelines.movie.keys import Tools, digest, film_key, mix_key
from viralsync_pipelines.movie.layers import ID_PATTERN, TextLayer
from viralsync_pipelines.movie.measure import measure_times
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.movie.plan import MoviePlan, plan_movie
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.spec import Audio, Movie, Reading, read_movie
from viralsync_pipelines.movie.staging import Stage, text_art
from viralsync_pipelines.movie.templates import Expansion, expand, locate, unexplained
from viralsync_pipelines.movie.waiting import with_stand_ins
from viralsync_pipelines.render.clips import keys_of, tools
from viralsync_pipelines.render.fonts import FontBook
from viralsync_pipelines.render.gather import Gathered, gather
from viralsync_pipelines.render.lettering import check_glyphs, check_text, faces_used
from viralsync_pipelines.render.shelf import Shelf
from viralsync_pipelines.render.sources import Sources

# Measured times may build on one another, each link taking a round. Large movies get fewer: a round of 20,000 layers takes 2 s.
_ROUNDS, _LARGE, _ROUNDS_LARGE = 100, 2_000, 12


@dataclass(frozen=True)
class Prepared:
    """A plan with its content keys: one for each piece in order, one for the sound, one for the film."""

    plan: MoviePlan
    clip_keys: tuple[str, ...]
    mix_key: str
    film_key: str
    made_with: Tools


@dataclass(frozen=True)
class Desk:
    """What preparing needs. `speak` gives a spoken line (from the cache or the engine); `shelf` is where later steps find bytes."""

    sources: Sources
    fonts: FontBook
    speak: Callable[[Line], Spoken]
    shelf: Shelf
    threads: int = 2


@dataclass(frozen=True)
class _Settled:
    """A document whose templates are all worked out, and what it names."""

    movie: Movie
    expansion: Expansion
    gathered: Gathered


def movie_id_of(document: Mapping[str, Any]) -> str:
    """The document's own id, or one made from its content."""
    own = document.get("id")
    return own if isinstance(own, str) and re.fullmatch(ID_PATTERN, own) else "movie-" + digest(document)[:12]


def read_spec(document: Mapping[str, Any], variables: Mapping[str, Any]) -> tuple[Movie, Expansion]:
    """The movie as far as it is known without measuring anything. MovieInvalid lists every problem of the document."""
    expansion = expand(document, variables, {})
    reading = _read(expansion)
    if reading.movie is None or reading.problems:
        raise MovieInvalid(reading.problems)
    return reading.movie, expansion


def prepare(document: Mapping[str, Any], desk: Desk, *, variables: Mapping[str, Any], draft: bool = False) -> Prepared:
    """Plan a film. Raises MovieInvalid with every problem that can be seen, in the user's own places."""
    settled = _settle(document, variables, desk)
    movie, gathered = settled.movie, settled.gathered
    if draft:
        movie = movie.model_copy(update={"output": movie.output.model_copy(update={"quality": "draft"})})
    plan, problems = plan_movie(
        movie, gathered.known, movie_id=movie.id or movie_id_of(document), locate=_locator(settled.expansion)
    )
    if plan is None:
        raise MovieInvalid(sorted(set(problems)))
    encoder = ENCODERS[plan.quality]
    if encoder.scale != 1:
        plan = scaled(plan, encoder.scale)
    desk.shelf.share([source for source in gathered.brought.values() if source.ref.sha256 in plan.sources])
    fonts = {source.ref.sha256: source.path for source in gathered.brought.values() if source.ref.kind == "font"}
    problems = _caption_problems(plan, fonts, desk, _locator(settled.expansion))
    if problems:
        raise MovieInvalid(problems)
    made_with = tools()
    keys = keys_of(plan.pieces, plan.canvas, encoder, _faces(plan, fonts, desk.fonts), made_with)
    sound = mix_key(plan.mix, made_with)
    return Prepared(plan, keys, sound, film_key(keys, sound, plan.canvas.fps, made_with), made_with)


def settle(document: Mapping[str, Any], desk: Desk, *, variables: Mapping[str, Any]) -> dict[str, Any]:
    """The document with every template worked out and every scene named. Raises MovieInvalid as prepare does."""
    return _settle(document, variables, desk).expansion.document


def _settle(document: Mapping[str, Any], variables: Mapping[str, Any], desk: Desk) -> _Settled:
    gathered = Gathered()
    expansion = expand(document, variables, {})
    reading = _read(expansion)
    rounds = _ROUNDS if len(reading.layers) <= _LARGE else _ROUNDS_LARGE
    previous: set[str] = set()
    for _ in range(rounds):
        gather(
            reading.layers, gathered, desk.sources, desk.speak,
            pending=_absent(expansion), locate=_locator(expansion), threads=desk.threads, voiced=reading.voiced,
        )  # fmt: skip
        waiting = set(expansion.pending)
        if reading.movie is None or reading.problems or gathered.problems or not waiting or waiting == previous:
            break
        previous = waiting
        expansion = expand(document, variables, measure_times(reading.movie, gathered.known, expansion.pending))
        reading = _read(expansion)
    problems = _every_problem(reading, expansion, gathered, desk)
    if problems or reading.movie is None:
        raise MovieInvalid(problems)
    return _Settled(reading.movie, expansion, gathered)


def _every_problem(reading: Reading, expansion: Expansion, gathered: Gathered, desk: Desk) -> list[Problem]:
    """All that is wrong with the document, as far as it can be seen at once: form, sources, speech, lengths, fonts."""
    where = _locator(expansion)
    problems = [*reading.problems, *gathered.problems]
    if not problems:
        told = "this waits for a time that itself depends on it, or that nothing measures; break the circle with a number"
        problems = [Problem(where(pointer), "EXPRESSION_ERROR", told) for pointer in expansion.pending]
    if problems and reading.rough is not None and not expansion.pending:
        count = len(reading.rough.layers) + sum(len(scene.layers) for scene in reading.rough.scenes)
        found = faults_of(reading.rough, gathered.known, whole=count == len(reading.layers) and not expansion.lost)
        # What is blank or left out may have been what decides a length.
        holed = reading.blanks | {"/".join(pointer.split("/")[:3]) for pointer in expansion.lost}
        unsure = {f"{place}/duration" for place in holed} | set(expansion.lost)
        problems += [Problem(where(p.pointer), p.code, p.message) for p in found if p.pointer not in unsure]
    return sorted({*problems, *_text_problems(reading, expansion, gathered, desk)})


def _absent(expansion: Expansion) -> frozenset[str]:
    """Fields that have stand-ins or are left out: nothing is to be fetched, spoken or drawn for them."""
    return frozenset((*expansion.pending, *expansion.lost))


def _locator(expansion: Expansion) -> Callable[[str], str]:
    return lambda pointer: locate(pointer, expansion.origins)


def _read(expansion: Expansion) -> Reading:
    """Validate; what waits for measured times, or is left out since it is faulty, has stand-ins."""
    reading = read_movie(with_stand_ins(expansion.document, _absent(expansion)), _locator(expansion))
    found = unexplained(reading.problems, expansion)
    if not expansion.document and expansion.problems:
        found = []  # a limit stopped everything, and what is left is no document to find fault with
    return replace(reading, problems=[*expansion.problems, *found])


_OF_FONTS = frozenset({"FONT_NOT_FOUND", "FONT_UNREADABLE"})
# For a document whose own canvas is not known, as it has faults.
_ANY_CANVAS = Canvas(1080, 1920, Fraction(30))


def _text_problems(reading: Reading, expansion: Expansion, gathered: Gathered, desk: Desk) -> list[Problem]:
    """Fonts and glyphs of every text layer that is whole, each distinct text being looked at once."""
    movie, known, where = reading.movie, gathered.known, _locator(expansion)
    canvas = Canvas(movie.width, movie.height, movie.fps) if movie is not None else None
    stage = Stage(canvas or _ANY_CANVAS, 0, 1, Audio(), known.sources)
    problems: list[Problem] = []
    absent = _absent(expansion)
    seen: dict[tuple[TextArt, str | None], list[Problem]] = {}
    for place, layer in reading.layers.items():
        if not isinstance(layer, TextLayer) or not absent.isdisjoint(f"{place}/{name}" for name in type(layer).model_fields):
            continue
        if layer.fontUrl is not None and layer.fontUrl not in known.sources:
            continue
        source = gathered.brought.get(layer.fontUrl or "")
        if source is not None and source.ref.kind != "font":
            continue
        art = text_art(layer, stage)
        if (art, layer.fontUrl) not in seen:
            seen[art, layer.fontUrl] = check_text(art, desk.fonts, source.path if source is not None else None, "")
        for found in seen[art, layer.fontUrl]:
            if canvas is None and found.code not in {*_OF_FONTS, "GLYPH_MISSING"}:
                continue  # sizes depend on the canvas, which is not known
            family = "fontFamily" if layer.fontFamily is not None else "text"
            name = "text" if found.code not in _OF_FONTS else "fontUrl" if found.code == "FONT_UNREADABLE" and source else family
            problems.append(Problem(where(f"{place}/{name}"), found.code, found.message))
    return problems


def _faces(plan: MoviePlan, fonts: Mapping[str, Any], book: FontBook) -> dict[TextArt, tuple[str, ...]]:
    """The fonts that draw each text of the plan; they are part of its key."""
    faces: dict[TextArt, tuple[str, ...]] = {}
    for piece in plan.pieces:
        for visual in piece.visuals:
            art = visual.content
            if isinstance(art, TextArt) and art not in faces:
                faces[art] = _drawn_by(art, fonts, book)
        for caption in piece.captions:
            if (art := text_of(caption)) not in faces:
                faces[art] = _drawn_by(art, fonts, book)
    return faces


def _drawn_by(art: TextArt, fonts: Mapping[str, Any], book: FontBook) -> tuple[str, ...]:
    return tuple(face.identity for face in faces_used(art, book, fonts[art.font_sha] if art.font_sha else None))


def _caption_problems(plan: MoviePlan, fonts: Mapping[str, Any], desk: Desk, where: Callable[[str], str]) -> list[Problem]:
    """Fonts and glyphs of what is shown as captions: only now is it known."""
    problems: list[Problem] = []
    for track in plan.captions:
        arts = [text_of(caption) for caption in track.captions]
        if not arts:
            continue
        # Looks of a track differ in where they stand alone.
        whole = replace(arts[0], text="\n".join(dict.fromkeys(art.text for art in arts)))
        font = fonts[whole.font_sha] if whole.font_sha else None
        for found in check_glyphs(whole, desk.fonts, font, ""):
            name = "fontFamily" if found.code in _OF_FONTS else "source"
            problems.append(Problem(where(f"{track.pointer}/{name}"), found.code, found.message))
    return problems


def prepared_json(prepared: Prepared) -> bytes:
    """Canonical JSON, exact to the last fraction; what plan.json holds."""
    value = _adapter().dump_python(prepared, mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_prepared(data: bytes | str) -> Prepared:
    """The plan back from plan.json."""
    prepared: Prepared = _adapter().validate_json(data)
    return prepared


@cache
def _adapter() -> Any:
    # 18 ms to build, 2 ms to use.
    from pydantic import TypeAdapter

    return TypeAdapter(Prepared)
