"""From the user's document to a plan: expand, validate, bring sources in, have lines spoken, measure, and again until nothing waits.

What belongs here: the order of these steps and gathering every problem. What does not: any one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from viralsync_pipelines.errors import MovieInvalid, Problem, SpeechError
from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.draft import scaled
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.movie.keys import Tools, digest, film_key, mix_key
from viralsync_pipelines.movie.layers import ID_PATTERN, VoiceLayer
from viralsync_pipelines.movie.measure import measure_times
from viralsync_pipelines.movie.plan import Known, KnownSource, MoviePlan, plan_movie
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.spec import Movie, read_movie
from viralsync_pipelines.movie.staging import line_of
from viralsync_pipelines.movie.templates import Expansion, expand, locate, unexplained
from viralsync_pipelines.render.clips import keys_of, tools
from viralsync_pipelines.render.fonts import FontBook
from viralsync_pipelines.render.lettering import check_text, faces_used
from viralsync_pipelines.render.shelf import Shelf
from viralsync_pipelines.render.sources import Source, Sources, bring_all

# Measured times may build on one another; a chain longer than this is a knot.
_ROUNDS = 12


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


@dataclass
class _Gathered:
    brought: dict[str, Source] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    speech: dict[str, Spoken] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    @property
    def known(self) -> Known:
        return Known(
            {src: KnownSource(s.ref, s.info, s.sniffed.demuxer, str(s.path)) for src, s in self.brought.items()}, self.speech
        )


def movie_id_of(document: Mapping[str, Any]) -> str:
    """The document's own id, or one made from its content."""
    import re

    own = document.get("id")
    return own if isinstance(own, str) and re.match(ID_PATTERN, own) else "movie-" + digest(document)[:12]


def read_spec(document: Mapping[str, Any], variables: Mapping[str, Any]) -> tuple[Movie, Expansion]:
    """The movie as far as it is known without measuring anything. MovieInvalid lists every problem of the document."""
    expansion = expand(document, variables, {})
    movie, problems = _validated(expansion)
    if movie is None or problems:
        raise MovieInvalid(problems)
    return movie, expansion


def prepare(document: Mapping[str, Any], desk: Desk, *, variables: Mapping[str, Any], draft: bool = False) -> Prepared:
    """Plan a film. Raises MovieInvalid with every problem that can be seen, in the user's own places."""
    gathered = _Gathered()
    expansion = expand(document, variables, {})
    movie, problems = _validated(expansion)
    previous: set[str] | None = None
    for _ in range(_ROUNDS):
        if movie is None:
            raise MovieInvalid(problems)
        _gather(movie, expansion, gathered, desk)
        waiting = set(expansion.pending)
        if problems or gathered.problems or not waiting or waiting == previous:
            break
        previous = waiting
        expansion = expand(document, variables, measure_times(movie, gathered.known, expansion.pending))
        movie, problems = _validated(expansion)
    problems = [*problems, *gathered.problems]
    if not problems:
        problems = [
            Problem(
                locate(p, expansion.origins), "EXPRESSION_ERROR",
                "this waits for a time that itself depends on it, or that nothing measures; break the circle with a number",
            )
            for p in expansion.pending
        ]  # fmt: skip
    if problems or movie is None:
        raise MovieInvalid(sorted(set(problems)))
    return _planned(movie, expansion, gathered, document, desk, draft)


def _validated(expansion: Expansion) -> tuple[Movie | None, list[Problem]]:
    document = expansion.document
    for pointer in expansion.pending:
        if pointer.endswith("/text"):
            document = _with_text(document, pointer.split("/")[1:])
    movie, problems = read_movie(document, lambda pointer: locate(pointer, expansion.origins))
    problems = unexplained(problems, expansion)
    return movie, [*expansion.problems, *problems]


def _with_text(node: Any, path: list[str]) -> Any:
    """A copy with a placeholder where text still waits for a time, so that the rest can be validated and measured."""
    if not path:
        return "..."
    key: Any = int(path[0]) if isinstance(node, list) else path[0]
    child = node[key] if isinstance(node, list) else node.get(key)
    changed = _with_text(child, path[1:])
    if isinstance(node, list):
        return [*node[:key], changed, *node[key + 1 :]]
    return {**node, key: changed}


def _gather(movie: Movie, expansion: Expansion, gathered: _Gathered, desk: Desk) -> None:
    """Bring in and speak what the movie names and what is not there yet."""
    wanted: list[tuple[str, str]] = []
    spoken: dict[Line, str] = {}
    stacks = [(f"/scenes/{i}", scene.layers) for i, scene in enumerate(movie.scenes)]
    for at, layers in [*stacks, ("", movie.layers)]:
        for number, layer in enumerate(layers):
            place = f"{at}/layers/{number}"
            for name in ("src", "fontUrl"):
                src = getattr(layer, name, None)
                if src is not None and src not in gathered.brought and src not in gathered.failed:
                    wanted.append((src, locate(f"{place}/{name}", expansion.origins)))
            if isinstance(layer, VoiceLayer) and f"{place}/text" not in expansion.pending:
                line = line_of(layer)
                if line.key not in gathered.speech:
                    spoken.setdefault(line, locate(place, expansion.origins))
    brought, problems = bring_all(wanted, bench=desk.sources)
    gathered.brought |= brought
    gathered.failed |= {src for src, _ in wanted} - set(brought)
    gathered.problems += problems
    with ThreadPoolExecutor(desk.threads, thread_name_prefix="speech") as pool:
        for line, outcome in zip(spoken, pool.map(lambda item: _say(desk, *item), spoken.items()), strict=True):
            if isinstance(outcome, Spoken):
                gathered.speech[line.key] = outcome
            else:
                gathered.problems.append(outcome)


def _say(desk: Desk, line: Line, pointer: str) -> Spoken | Problem:
    try:
        return desk.speak(line)
    except SpeechError as error:
        return Problem(pointer, error.code, error.message)


def _planned(
    movie: Movie, expansion: Expansion, gathered: _Gathered, document: Mapping[str, Any], desk: Desk, draft: bool
) -> Prepared:
    if draft:
        movie = movie.model_copy(update={"output": movie.output.model_copy(update={"quality": "draft"})})
    origin = {i: locate(f"/scenes/{i}", expansion.origins) for i in range(len(movie.scenes))}
    plan, problems = plan_movie(movie, gathered.known, movie_id=movie.id or movie_id_of(document), origin=origin)
    if plan is None:
        raise MovieInvalid(problems)
    encoder = ENCODERS[plan.quality]
    if encoder.scale != 1:
        plan = scaled(plan, encoder.scale)
    faces, problems = _check_arts(plan, desk, movie, origin)
    if problems:
        raise MovieInvalid(problems)
    desk.shelf.share([source for source in gathered.brought.values() if source.ref.sha256 in plan.sources])
    made_with = tools()
    keys = keys_of(plan.pieces, plan.canvas, encoder, faces, made_with)
    sound = mix_key(plan.mix, made_with)
    return Prepared(plan, keys, sound, film_key(keys, sound, plan.canvas.fps, made_with), made_with)


def _check_arts(
    plan: MoviePlan, desk: Desk, movie: Movie, origin: Mapping[int, str]
) -> tuple[dict[TextArt, tuple[str, ...]], list[Problem]]:
    """Fonts and glyphs of every text, once for each distinct one; a problem points at the text's first scene."""
    faces: dict[TextArt, tuple[str, ...]] = {}
    problems: list[Problem] = []
    for piece in plan.pieces:
        for visual in piece.visuals:
            art = visual.content
            if not isinstance(art, TextArt) or art in faces:
                continue
            font = desk.shelf.path_of(plan, art.font_sha) if art.font_sha is not None else None
            found = check_text(art, desk.fonts, font, _place_of(art, movie, piece.scene, origin))
            problems += found
            faces[art] = () if found else tuple(face.identity for face in faces_used(art, desk.fonts, font))
    return faces, problems


def _place_of(art: TextArt, movie: Movie, scene: int, origin: Mapping[int, str]) -> str:
    for index in (scene, max(0, scene - 1)):
        for number, layer in enumerate(movie.scenes[index].layers):
            if layer.type == "text" and art.text in {layer.text, layer.text.upper()}:
                return f"{origin.get(index, f'/scenes/{index}')}/layers/{number}/text"
    return "/layers"




def prepared_json(prepared: Prepared) -> bytes:
    """Canonical JSON, exact to the last fraction; what plan.json holds."""
    from pydantic import TypeAdapter

    value = TypeAdapter(Prepared).dump_python(prepared, mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def read_prepared(data: bytes) -> Prepared:
    """The plan back from plan.json."""
    from pydantic import TypeAdapter

    prepared: Prepared = TypeAdapter(Prepared).validate_json(data)
    return prepared
