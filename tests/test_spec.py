"""Every field of the movie JSON: its type, default and limits; faults named all at once, in words that help; the JSON Schema."""

from __future__ import annotations

import contextlib
import json
import math
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

import viralsync_pipelines
from viralsync_pipelines.movie.layers import MAX_SECONDS, MAX_TEXT
from viralsync_pipelines.movie.lengths import Length, exact, parse_color, parse_length
from viralsync_pipelines.movie.schema import movie_schema
from viralsync_pipelines.movie.spec import MAX_LAYERS, MAX_PROBLEMS, PRESETS, XFADES, Movie, Reading, parse_fps, read_movie

# What a field wants, the default it has, values it takes, and values it refuses. `None` as the default of an optional object
# means "not there". One row for each line of the published field list.
NUMBER = ["5", True, None, [], {}, math.nan]
Row = tuple[str, Any, list[Any], list[Any]]

MOVIE: list[Row] = [
    ("id", None, ["a", "A-b_9", "x" * 64], ["", "x" * 65, "../x", "a b", "a\n", "a/b", ".", "é", 5]),
    ("title", "Untitled Movie", ["", "Ünïcode 🎬", "x" * 500], ["x" * 501, 5, None]),
    ("width", 1920, [360, 3840, 1080], [358, 3842, 1081, 1080.5, *NUMBER]),
    ("height", 1080, [360, 3840], [0, -2, 4000, 361, *NUMBER]),
    ("preset", None, [*PRESETS], ["vhs", 5]),
    ("fps", Fraction(30), [1, 60, 29.97, "30000/1001", "24"], [0, 61, 0.5, "1/0", "fast", "1e999999999", 10**400, *NUMBER[1:]]),
    ("bgColor", (0, 0, 0, 255), ["red", "#0f0", "rgb(1 2 3 / 50%)", "hsl(120 100% 50%)"], ["", "reddish", 5, "#12345", "rgb(1e999 0 0)"]),
    ("layers", [], [[]], [None, {}, "x", [5], [{}]]),
    ("captions", None, [None, {}, {"source": "voice", "style": "boxed"}], ["karaoke", {"style": "loud"}, {"type": "captions"}]),
    ("audio", "any", [{}, {"loudness": None}, {"loudness": -23}, {"truePeak": -1}, {"ducking": {}}], [{"loudness": 0}, {"truePeak": 0}, 5]),
    ("speech", None, [None, {}, {"engine": "edge", "voice": "x", "speed": 1.2, "pitch": 0.9, "style": "sad", "stability": 0, "similarity": 1,
                                 "language": "pt-BR", "fallback": ["espeak/de", "piper"]}, {"engine": None, "voice": None}],
     [5, "edge", {"engine": ""}, {"speed": 0}, {"pitch": 9}, {"stability": 2}, {"fallback": "espeak"}, {"fallback": [5]}, {"text": "x"}]),
    ("output", "any", [{}, {"quality": "draft"}, {"quality": "high", "format": "mp4"}], [{"quality": "best"}, {"format": "gif"}, "draft"]),
]
SCENE: list[Row] = [
    ("duration", "auto", ["auto", 0.1, 7200], [0, -1, 7201, 36_000, "10", "whole", *NUMBER]),
    ("bgColor", None, ["#abcdef", None], ["nope", 5]),
    ("layers", [], [[]], [{}, 5]),
    ("transition", None, [None, {}, *({"type": name} for name in ["cut", *XFADES]), {"duration": 0}],
     [{"type": "wormhole"}, {"duration": -1}, "fade"]),
]  # fmt: skip
SECONDS: tuple[list[Any], list[Any]] = ([0, 1.5, MAX_SECONDS], [-0.1, MAX_SECONDS + 1, *NUMBER])
LENGTH: tuple[list[Any], list[Any]] = (
    [0, -5, 12.5, "50%", "-10 %", "120px", "7"],
    ["", "5em", "%", "1e5", [], True, 1e6, "9999%", math.inf],
)
COMMON: list[Row] = [
    ("id", None, ["a"], ["a b", 5]),
    ("start", 0.0, *SECONDS),
    ("duration", "any", ["auto", "scene", 0.5], ["whole", 0, -1, *NUMBER]),
]
VISUAL: list[Row] = [
    ("x", None, *LENGTH),
    ("y", None, *LENGTH),
    ("width", None, *LENGTH),
    ("height", None, *LENGTH),
    ("anchor", "center", ["top", "bottom", "left", "right", "top-left", "top-right", "bottom-left", "bottom-right"], ["centre", 5]),
    ("fit", "cover", ["contain", "fill", "none"], ["stretch"]),
    ("crop", None, [{}, {"x": 1, "y": "5%", "width": "50%", "height": 10}], [{"left": 1}, 5]),
    ("opacity", 1.0, [0, 0.5, 1], [-0.1, 1.1, *NUMBER]),
    ("rotation", 0.0, [-720, 45.5], [40_000, *NUMBER]),
    ("flip", "none", ["horizontal", "vertical", "both"], ["h", True]),
    ("zIndex", 0, [-10_000, 10_000], [1.5, 10_001, *NUMBER]),
    ("borderRadius", Length(0.0), *LENGTH),
    ("blend", "normal", ["multiply", "screen", "overlay", "darken", "lighten", "addition", "difference", "softlight", "hardlight"],
     ["add"]),
    ("enter", None, [{"type": t} for t in ("fade", "slide-left", "slide-right", "slide-up", "slide-down", "zoom", "pop", "wipe-left",
                                           "wipe-right", "wipe-up", "wipe-down", "blur")],
     [{}, {"type": "spin"}, {"type": "fade", "duration": 0}, {"type": "fade", "easing": "quick"}]),
    ("exit", None, [{"type": "fade", "duration": 0.2, "easing": "ease-in"}], ["fade"]),
    ("keyframes", {}, [{}, {name: [{"at": 0, "value": 0.5}, {"at": 1, "value": 1, "easing": "ease"}]
                            for name in ("x", "y", "width", "height", "scale", "rotation", "opacity", "volume")}],
     [{"z": [{"at": 0, "value": 1}]}, {"x": []}, {"x": [{"at": 1, "value": 0}, {"at": 1, "value": 1}]},
      {"opacity": [{"at": 0, "value": 2}]}, {"volume": [{"at": 0, "value": 2.1}]}, {"scale": [{"at": 0, "value": "50%"}]},
      {"x": [{"at": -1, "value": 1}]}, {"x": [{"value": 1}]}]),
    ("filters", None, [{}, {"brightness": 1.2, "contrast": 0.9, "saturation": 0, "grayscale": 1, "blur": 8, "sepia": 0.5, "hue": -90}],
     [{"glow": 1}, {"blur": -1}, {"hue": 361}, {"grayscale": 2}]),
    ("chromaKey", None, [{"color": "#00ff00", "similarity": 0.2, "blend": 0}], [{}, {"color": "green", "similarity": 0}]),
]  # fmt: skip
SOUND: list[Row] = [
    ("trimStart", 0.0, *SECONDS),
    ("trimEnd", None, [1.5], [-1, "1"]),
    ("speed", 1.0, [0.1, 10], [0, 11, *NUMBER]),
    ("loop", False, [True], ["yes", 1, None]),
    ("volume", 1.0, [0, 2], [-0.1, 2.1, *NUMBER]),
    ("fadeIn", 0.0, [0.5], [-1, *NUMBER]),
    ("fadeOut", 0.0, [0.5], [-1, *NUMBER]),
]
SRC: Row = ("src", "required", ["a.png", "https://example.com/a", "resource:x", "job:j"], ["", 5, "x" * 4097])
KEN_BURNS: Row = (
    "kenBurns", None, [{}, {"from": {"x": 0, "y": 1, "scale": 1}, "to": {"scale": 1.5}, "easing": "ease-in-out"}],
    [{"from": {"scale": 0.5}}, {"to": {"x": 2}}, {"start": {}}],
)  # fmt: skip
PAINT: list[Row] = [
    ("color", (255, 255, 255, 255), ["gold"], ["golden", 5]),
    ("gradient", None, [{"colors": ["red", "blue"]}, {"colors": ["red", "#fff", "blue"], "angle": 45}],
     [{}, {"colors": ["red"]}, {"colors": "red"}]),
    ("stroke", None, [{}, {"color": "black", "width": 0}], [{"width": -1}, {"width": 201}]),
]  # fmt: skip
LAYERS: dict[str, list[Row]] = {
    "video": [*COMMON, *VISUAL, SRC, *SOUND, ("muted", False, [True], [0]), KEN_BURNS],
    "image": [*COMMON, *VISUAL, SRC, KEN_BURNS],
    "text": [
        *COMMON, *VISUAL, *PAINT,
        ("text", "required", ["", "two\nlines", "x" * MAX_TEXT], [5, None, "x" * (MAX_TEXT + 1)]),
        ("fontFamily", None, ["Inter", "Brand, serif"], ["", 5]),
        ("fontUrl", None, ["brand.ttf"], ["", 5]),
        ("fontWeight", 400, [1, 1000, "normal", "bold"], [0, 1001, "heavy", True]),
        ("fontStyle", "normal", ["italic"], ["oblique"]),
        ("fontSize", Length(5.0, percent=True), [12, "8%", "40px"], ["big"]),
        ("autoFit", None, [{}, {"min": 10, "max": 90}], [{"min": 90, "max": 10}, {"max": 5000}, True]),
        ("align", "center", ["left", "right", "start", "end"], ["justify"]),
        ("lineHeight", 1.2, [0.5, 5], [0.4, *NUMBER]),
        ("letterSpacing", 0.0, [-50, 200], [-51, 201]),
        ("uppercase", False, [True], ["yes"]),
        ("background", None, [{}, {"color": "#0008", "padding": 20, "radius": 6}], [{"padding": -1}, "black"]),
        ("shadow", None, [{}, {"color": "black", "x": 2, "y": 2, "blur": 4}], [{"blur": -1}, True]),
        ("reveal", None, ["typewriter", "words", "lines"], ["letters"]),
    ],
    "audio": [*COMMON, SRC, *SOUND, ("duck", False, [True], ["bed"]),
              ("keyframes", {}, [{"volume": [{"at": 0, "value": 1}]}], [{"x": []}])],
    "voice": [
        *COMMON,
        ("text", None, [], [5, "", "x" * (MAX_TEXT + 1)]),
        ("ssml", None, [], [5, ""]),
        ("voice", None, ["en-gb"], ["", 5]),
        ("engine", None, ["espeak"], ["", 5]),
        ("speed", 1.0, [0.25, 4], [0.2, 5, *NUMBER]),
        ("pitch", 1.0, [0.25, 4], [0.2, 5, *NUMBER]),
        ("style", None, ["cheerful", None], ["", 5]),
        ("stability", None, [0, 1, None], [-0.1, 1.1, "5", True, math.nan]),
        ("similarity", None, [0.5, None], [-0.1, 1.1, "5", True, math.nan]),
        ("language", None, ["de", "pt-BR"], ["d", 5]),
        ("fallback", [], [[], ["espeak", "edge/de-DE-KatjaNeural"]], ["espeak", [5], [""], ["espeak"] * 9]),
        ("pauseAfter", 0.0, [0.5], [-1, 61]),
        ("volume", 1.0, [0, 2], [-1, 3]),
        ("keyframes", {}, [{"volume": [{"at": 0, "value": 1}]}], [{"opacity": []}]),
    ],
    "captions": [
        *COMMON,
        ("source", "voice", ["me", "captions.srt", [{"text": "a", "start": 0, "end": 1}]],
         ["", [], 5, [{"text": "a"}], [{"text": "a", "start": 2, "end": 1}]]),
        ("style", "karaoke", ["pop", "boxed", "minimal", "subtitle"], ["loud"]),
        ("fontFamily", None, ["Inter"], [""]),
        ("fontUrl", None, ["brand.ttf"], [""]),
        ("fontWeight", None, [900, "bold"], [0, "heavy"]),
        ("fontSize", None, *LENGTH),
        ("color", None, ["gold"], ["golden"]),
        ("highlight", None, ["#ff0"], [5]),
        ("stroke", None, [{}, {"width": 0}], [{"width": -1}]),
        ("background", None, [{}], [{"padding": -1}]),
        ("uppercase", None, [True], ["yes"]),
        ("maxWords", None, [1, 50], [0, 51, 1.5]),
        ("maxLines", None, [1, 6], [0, 7]),
        ("position", "auto", ["bottom", "center", "top", "70%", 400], ["left", True]),
        ("safeArea", "auto", ["shorts", "tiktok", "reels", "none"], ["myspace"]),
        ("emphasis", None, [{"words": ["free"]}, {"words": ["free"], "color": "red"}], [{}, {"words": []}, {"color": "red"}]),
    ],
    "shape": [*COMMON, *VISUAL, *PAINT, ("shape", "rect", ["ellipse", "line"], ["star"]), ("radius", 0.0, [12], [-1])],
}  # fmt: skip
NEEDS = {"video": {"src": "a.mp4"}, "image": {"src": "a.png"}, "text": {"text": "x"}, "audio": {"src": "a.wav"}, "voice": {"text": "x"}}


def movie(**fields: Any) -> dict[str, Any]:
    return {"scenes": [{"id": "s", "duration": 1}], **fields}


def with_layer(**fields: Any) -> dict[str, Any]:
    return {"scenes": [{"id": "s", "duration": 1, "layers": [{**NEEDS.get(fields["type"], {}), **fields}]}]}


def in_movie(field: str, value: Any) -> dict[str, Any]:
    return movie(**{field: value})


def in_scene(field: str, value: Any) -> dict[str, Any]:
    return {"scenes": [{"id": "s", "duration": 1, field: value}]}


def places() -> list[Any]:
    found = [pytest.param("", "", row, id=f"movie.{row[0]}") for row in MOVIE]
    found += [pytest.param("/scenes/0", "", row, id=f"scene.{row[0]}") for row in SCENE]
    return found + [
        pytest.param("/scenes/0/layers/0", kind, row, id=f"{kind}.{row[0]}") for kind, rows in LAYERS.items() for row in rows
    ]


def document(at: str, kind: str, field: str, value: Any) -> dict[str, Any]:
    if kind:
        return with_layer(type=kind, **{field: value})
    return in_scene(field, value) if at else in_movie(field, value)


def part(read: Reading, at: str, kind: str) -> Any:
    assert read.movie is not None, read.problems
    return read.movie.scenes[0].layers[0] if kind else read.movie.scenes[0] if at else read.movie


@pytest.mark.parametrize(("at", "kind", "row"), places())
def test_a_field_has_its_default_takes_what_it_should_and_refuses_the_rest_at_its_own_place(at: str, kind: str, row: Row) -> None:
    field, default, good, bad = row
    if default not in ("any", "required"):
        plain = part(read_movie(with_layer(type=kind) if kind else {"scenes": [{"id": "s"}]}), at, kind)
        if not (kind == "voice" and field == "text"):
            assert getattr(plain, field) == default
    for value in good:
        assert part(read_movie(document(at, kind, field, value)), at, kind) is not None
    for value in bad:
        problems = read_movie(document(at, kind, field, value)).problems
        assert problems, f"{field} takes {value!r}"
        assert all(p.pointer == f"{at}/{field}" or p.pointer.startswith(f"{at}/{field}/") for p in problems), (value, problems)


@pytest.mark.parametrize("kind", LAYERS)
def test_there_are_no_layer_fields_beside_those_listed(kind: str) -> None:
    layer = part(read_movie(with_layer(type=kind)), "x", kind)
    assert set(type(layer).model_fields) == {row[0] for row in LAYERS[kind]} | {"type"}


def test_there_are_no_movie_or_scene_fields_beside_those_listed() -> None:
    assert set(Movie.model_fields) == {row[0] for row in MOVIE} | {"scenes"}
    assert set(type(part(read_movie(movie()), "x", "")).model_fields) == {row[0] for row in SCENE} | {"id"}


def test_presets_give_the_size_and_a_written_size_wins() -> None:
    for name, size in PRESETS.items():
        read = part(read_movie(movie(preset=name)), "", "")
        assert (read.width, read.height) == size
    read = part(read_movie(movie(preset="shorts", width=720)), "", "")
    assert (read.width, read.height) == (720, 1920)


def test_defaults_of_sound_and_output_are_the_published_ones() -> None:
    read = part(read_movie(movie()), "", "")
    assert read.audio.model_dump() == {
        "loudness": -14.0, "truePeak": -1.5, "ducking": {"amount": 0.25, "attack": 0.15, "release": 0.4, "merge": 0.6},
    }  # fmt: skip
    assert read.output.model_dump() == {"quality": "standard", "format": "mp4"}
    assert part(read_movie(in_scene("transition", {})), "x", "").transition.model_dump() == {"type": "fade", "duration": 0.5}


@pytest.mark.parametrize(("kind", "default"), [("video", "auto"), ("audio", "auto"), ("voice", "auto"),
                                               ("image", "scene"), ("text", "scene"), ("shape", "scene")])  # fmt: skip
def test_media_last_as_long_as_they_are_and_still_things_until_the_scene_ends(kind: str, default: str) -> None:
    assert part(read_movie(with_layer(type=kind)), "x", kind).duration == default


# Faults and their words.

WRONG: list[tuple[dict[str, Any], str, str, str]] = [
    ({}, "/scenes", "FIELD_MISSING", "'scenes' is missing"),
    ({"scenes": []}, "/scenes", "FIELD_MISSING", "add one"),
    (movie(scens=1), "/scens", "FIELD_UNKNOWN", "a movie has no field \"scens\"; did you mean 'scenes'?"),
    (movie(output={"qualty": "high"}), "/output/qualty", "FIELD_UNKNOWN", "`output` has no field \"qualty\"; did you mean 'quality'?"),
    (in_scene("durration", 1), "/scenes/0/durration", "FIELD_UNKNOWN", "a scene has no field \"durration\"; did you mean 'duration'?"),
    (with_layer(type="text", fontsize=5), "/scenes/0/layers/0/fontsize", "FIELD_UNKNOWN", "did you mean 'fontSize'"),
    (with_layer(type="text", src="a.png"), "/scenes/0/layers/0/src", "FIELD_UNKNOWN", "video, image, audio layers have it"),
    (with_layer(type="image", enter={"type": "fade", "length": 1}), "/scenes/0/layers/0/enter/length", "FIELD_UNKNOWN", "`enter` has no"),
    (with_layer(type="vidoe"), "/scenes/0/layers/0/type", "LAYER_TYPE_UNKNOWN", "did you mean 'video'"),
    ({"scenes": [{"id": "s", "layers": [{"src": "a"}]}]}, "/scenes/0/layers/0", "FIELD_MISSING", "'type' is missing"),
    (with_layer(type="text", anchor="centre"), "/scenes/0/layers/0/anchor", "VALUE_NOT_ALLOWED",
     '"centre" is not known here; did you mean \'center\'?'),
    (with_layer(type="text", opacity="0.5"), "/scenes/0/layers/0/opacity", "TYPE_WRONG",
     'a number, not the text "0.5"; take the quotes away'),
    (with_layer(type="text", text=5), "/scenes/0/layers/0/text", "TYPE_WRONG", "text, not the number 5; put it in quotes"),
    (with_layer(type="text", opacity=None), "/scenes/0/layers/0/opacity", "TYPE_WRONG", "null; leave the field out"),
    (with_layer(type="text", opacity=True), "/scenes/0/layers/0/opacity", "TYPE_WRONG", "a number, not true"),
    (with_layer(type="text", opacity=7), "/scenes/0/layers/0/opacity", "VALUE_OUT_OF_RANGE", "7 is too large; the most is 1"),
    (with_layer(type="text", text="x" * 6000), "/scenes/0/layers/0/text", "TEXT_TOO_LONG", "6,000 characters; at most 5,000"),
    (in_scene("duration", "10"), "/scenes/0/duration", "VALUE_NOT_ALLOWED", 'write a number or "auto"'),
    (in_scene("duration", -1), "/scenes/0/duration", "VALUE_OUT_OF_RANGE", "-1 is too small"),
    (in_scene("transition", {"type": "fad"}), "/scenes/0/transition/type", "VALUE_NOT_ALLOWED", "did you mean 'fade'"),
    (movie(width=1081), "/width", "VALUE_OUT_OF_RANGE", "even"),
    (movie(bgColor="blu"), "/bgColor", "COLOR_INVALID", "write a CSS colour"),
    (movie(fps="fast"), "/fps", "VALUE_OUT_OF_RANGE", '"30000/1001"'),
    (movie(id="a b"), "/id", "ID_INVALID", "1 to 64 letters, digits"),
    (with_layer(type="text", x="5em"), "/scenes/0/layers/0/x", "LENGTH_INVALID", '"50%"'),
    (with_layer(type="text", keyframes={"rotate": [{"at": 0, "value": 0}]}), "/scenes/0/layers/0/keyframes/rotate",
     "FIELD_UNKNOWN", "did you mean 'rotation'"),
    (with_layer(type="text", keyframes={"x": [{"at": 1, "value": 0}, {"at": 0, "value": 0}]}), "/scenes/0/layers/0/keyframes/x/1/at",
     "KEYFRAMES_INVALID", "sort them"),
    (with_layer(type="text", keyframes={"opacity": [{"at": 0, "value": 2}]}), "/scenes/0/layers/0/keyframes/opacity/0/value",
     "VALUE_OUT_OF_RANGE", "between 0 and 1"),
    (with_layer(type="voice", ssml="<speak>x</speak>"), "/scenes/0/layers/0", "FIELD_MISSING", "exactly one of them"),
    ({"scenes": [{"id": "a"}, {"id": "b"}, {"id": "a"}]}, "/scenes/2/id", "SCENE_ID_DUPLICATE", "rename one"),
    (movie(layers=[{"type": "shape", "id": "a"}, {"type": "shape", "id": "a"}]), "/layers/1/id", "LAYER_ID_DUPLICATE", "rename one"),
    (movie(layers=[{"type": "shape"}] * (MAX_LAYERS + 1)), "/layers", "TOO_MANY", "201 layers"),
    (movie(layers=[{"type": "shape", "gradient": {"colors": ["red"] * 20_000}}]), "/layers/0", "TOO_MANY", "10,000 values"),
    ({"scenes": [{"id": f"s{n}"} for n in range(2001)]}, "/scenes", "TOO_MANY_SCENES", "2,001"),
    ({"scenes": [{"id": f"s{n}", "layers": [{"type": "shape"}] * 200} for n in range(101)]}, "/scenes", "TOO_MANY_LAYERS", "20,200"),
]  # fmt: skip


@pytest.mark.parametrize(("wrong", "pointer", "code", "said"), WRONG, ids=[f"{row[2]}-{n}" for n, row in enumerate(WRONG)])
def test_a_fault_has_its_place_a_stable_code_and_a_sentence_with_the_remedy(wrong: Any, pointer: str, code: str, said: str) -> None:
    problems = read_movie(wrong).problems
    assert [(p.pointer, p.code) for p in problems] == [(pointer, code)], problems
    assert said in problems[0].message


def test_no_sentence_is_a_librarys_own() -> None:
    """Whatever is wrong, nobody is told about `valid dictionary or instance of Crop`."""
    values = [5, -1, 1e9, "", "x", "x" * 9999, None, True, [], {}, [None], {"a": 1}]
    rows = [("", "", row) for row in MOVIE] + [("/scenes/0", "", row) for row in SCENE]
    rows += [("/scenes/0/layers/0", kind, row) for kind, some in LAYERS.items() for row in some]
    for at, kind, row in rows:
        for value in values:
            for problem in read_movie(document(at, kind, row[0], value)).problems:
                assert not re.search(r"Input|should match|valid (list|string|number|dict)|instance of|validation", problem.message), problem
                assert problem.code in KNOWN_CODES
                assert problem.message[0] == problem.message[0].lower() or problem.message[0] in '"-`'


KNOWN_CODES = {
    "FIELD_MISSING", "FIELD_UNKNOWN", "LAYER_TYPE_UNKNOWN", "VALUE_NOT_ALLOWED", "COLOR_INVALID", "LENGTH_INVALID", "VALUE_OUT_OF_RANGE",
    "NUMBER_INVALID", "ID_INVALID", "TEXT_TOO_LONG", "TOO_MANY", "KEYFRAMES_INVALID", "TYPE_WRONG",
}  # fmt: skip


def test_all_faults_come_in_one_reply_those_of_the_whole_included() -> None:
    wrong = {
        "fps": 0, "titel": "x",
        "scenes": [
            {"id": "a", "duration": -1, "layers": [{"type": "text", "text": "x", "colour": "red"}, {"type": "shape", "x": []}]},
            {"id": "a", "transition": {"type": "nope"}, "layers": [{"type": "image"}]},
        ],
        "layers": [{"type": "audio", "src": "a.mp3", "volume": 9}],
    }  # fmt: skip
    read = read_movie(wrong)
    assert read.movie is None
    assert [(p.pointer, p.code) for p in read.problems] == [
        ("/fps", "VALUE_OUT_OF_RANGE"),
        ("/layers/0/volume", "VALUE_OUT_OF_RANGE"),
        ("/scenes/0/duration", "VALUE_OUT_OF_RANGE"),
        ("/scenes/0/layers/0/colour", "FIELD_UNKNOWN"),
        ("/scenes/0/layers/1/x", "LENGTH_INVALID"),
        ("/scenes/1/id", "SCENE_ID_DUPLICATE"),
        ("/scenes/1/layers/0/src", "FIELD_MISSING"),
        ("/scenes/1/transition/type", "VALUE_NOT_ALLOWED"),
        ("/titel", "FIELD_UNKNOWN"),
    ]


def test_what_is_right_in_a_wrong_movie_is_known_so_that_its_files_can_be_looked_at() -> None:
    read = read_movie(movie(fps=0, layers=[{"type": "image", "src": "a.png"}, {"type": "image", "src": 5}]))
    assert read.movie is None
    assert [(place, layer.src) for place, layer in read.layers.items()] == [("/layers/0", "a.png")]


def test_a_flood_of_faults_is_cut_off() -> None:
    read = read_movie({"scenes": [{"id": f"s{n}", "layers": [{"type": "shape", "a": 1, "b": 2, "c": 3}] * 200} for n in range(50)]})
    assert len(read.problems) == MAX_PROBLEMS + 1
    assert [p.code for p in read.problems if not p.pointer] == ["TOO_MANY_PROBLEMS"]


def test_pointers_lead_through_field_names_that_need_escapes() -> None:
    assert [p.pointer for p in read_movie(movie(**{"a/b~c": 1})).problems] == ["/a~1b~0c"]


def test_a_field_called_like_its_layers_type_is_pointed_at_correctly() -> None:
    assert [p.pointer for p in read_movie(with_layer(type="text", text=5)).problems] == ["/scenes/0/layers/0/text"]
    assert [p.pointer for p in read_movie(with_layer(type="shape", shape=5)).problems] == ["/scenes/0/layers/0/shape"]
    assert [p.pointer for p in read_movie(with_layer(type="voice", voice=5)).problems] == ["/scenes/0/layers/0/voice"]


# Values.


@given(st.one_of(st.text(max_size=30), st.floats(), st.integers(), st.none(), st.booleans(), st.lists(st.integers(), max_size=2)))
@settings(max_examples=300, deadline=None)
def test_any_value_is_a_length_a_colour_a_frame_rate_or_refused(value: Any) -> None:
    for parse in (parse_length, parse_color, parse_fps):
        with contextlib.suppress(PydanticCustomError):
            assert parse(value) is not None


@given(
    st.sampled_from(["rgb", "rgba", "hsl", "hwb", "lab", "oklch", "color", "#", "var"]),
    st.text("0123456789.e-+%/ ,nafi()xyzd", max_size=20),
)
@settings(max_examples=300, deadline=None)
def test_colour_functions_with_any_numbers_give_bytes_or_are_refused(name: str, inside: str) -> None:
    problems = read_movie(movie(bgColor=f"{name}({inside})" if name != "#" else f"#{inside}")).problems
    assert [p.code for p in problems] in [[], ["COLOR_INVALID"]]


def test_times_are_the_decimals_that_were_written() -> None:
    assert exact(0.1) + exact(0.2) == Fraction(3, 10)


# The schema.

PACKAGE = Path(viralsync_pipelines.__file__).parent
EXAMPLES = sorted(path for path in (PACKAGE / "examples").rglob("*.json") if "scenes" in json.loads(path.read_text(encoding="utf-8")))
SCHEMA = movie_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)


def test_the_schema_is_a_valid_one_of_draft_2020_12() -> None:
    assert SCHEMA["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    json.dumps(SCHEMA)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_the_schema_accepts_every_example(path: Path) -> None:
    assert list(VALIDATOR.iter_errors(json.loads(path.read_text(encoding="utf-8")))) == []


TEMPLATED: dict[str, Any] = {
    "id": "sale-{{ code }}", "width": "{{ w }}", "fps": "{{ rate }}", "bgColor": "{{ brand }}", "preset": "{{ where }}",
    "variables": {"brand": "#f00", "items": [1, 2], "any": {"thing": None}},
    "audio": {"loudness": "{{ level }}"}, "output": {"quality": "{{ q }}"},
    "scenes": [
        {"iterate": "{{ items }}", "iterateAs": "item", "condition": "index > 0", "duration": "{{ vo.end + 0.5 }}",
         "transition": {"type": "{{ how }}", "duration": "{{ 0.2 * 2 }}"}, "variables": {"a": 1},
         "layers": [{"type": "text", "text": "{{ item }}", "x": "{{ 100 * index }}", "color": "{{ brand }}", "condition": False,
                     "uppercase": "{{ loud }}", "anchor": "{{ where }}",
                     "keyframes": {"x": [{"at": "{{ vo.start }}", "value": "{{ 5 }}"}]}},
                    {"type": "voice", "id": "vo", "text": "{{ line }}"}]},
        {"id": "card_{{ 1 }}", "iterate": [1, 2], "duration": 2},
    ],
}  # fmt: skip


def test_the_schema_lets_every_value_be_a_template_and_knows_repetition_and_conditions() -> None:
    assert [(list(e.path), e.message[:200]) for e in VALIDATOR.iter_errors(TEMPLATED)] == []


@pytest.mark.parametrize(("at", "kind", "row"), places())
def test_the_schema_takes_what_the_models_take(at: str, kind: str, row: Row) -> None:
    for value in row[2]:
        assert list(VALIDATOR.iter_errors(document(at, kind, row[0], value))) == []


@pytest.mark.parametrize("wrong", [movie(scens=1), movie(width=10), with_layer(type="text", opacity=3), in_scene("duration", "whole"),
                                   with_layer(type="vidoe"), with_layer(type="text", src="x"), {}])  # fmt: skip
def test_the_schema_refuses_what_an_editor_should_underline(wrong: Any) -> None:
    assert list(VALIDATOR.iter_errors(wrong))
