"""A movie with variables, repetition and conditions becomes the movie that was meant, and every fault points at its source."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.movie.arithmetic import MAX_NUMBER
from viralsync_pipelines.movie.measured import Declared
from viralsync_pipelines.movie.templates import Expansion, Timing, declared_ids, expand, locate, unexplained


def text(value: Any, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": value, **more}


def codes(expansion: Expansion) -> list[tuple[str, str]]:
    return [(problem.pointer, problem.code) for problem in expansion.problems]


def clean(
    document: dict[str, Any], variables: dict[str, Any] | None = None, measured: dict[str, Timing] | None = None
) -> dict[str, Any]:
    expansion = expand(document, variables or {}, measured or {})
    assert expansion.problems == ()
    assert expansion.pending == ()
    return expansion.document


# Variables.


def test_variables_fill_every_field_and_keep_their_type() -> None:
    document = {
        "title": "{{ brand }} in {{ n }}",
        "width": "{{ n * 360 }}",
        "variables": {"brand": "ACME", "n": 3, "unused": {"a": 1}},
        "scenes": [
            {"id": "s", "bgColor": "{{ color }}", "layers": [text("{{ upper(brand) }}", stroke={"width": "{{ n / 2 }}"})]}
        ],
        "layers": [text("{{ brand }}", keyframes={"x": [{"at": "{{ n }}", "value": 1}]})],
    }
    expanded = clean(document, {"color": "#fff"})
    assert expanded == {
        "title": "ACME in 3",
        "width": 1080,
        "scenes": [{"id": "s", "bgColor": "#fff", "layers": [text("ACME", stroke={"width": 1.5})]}],
        "layers": [text("ACME", keyframes={"x": [{"at": 3, "value": 1}]})],
    }


def test_variables_refer_to_one_another_in_any_order_and_follow_an_override() -> None:
    document = {
        "variables": {
            "line": "{{ brand }} {{ what }}!",
            "what": "{{ lower(kind-of) }}".replace("-", "_"),
            "kind-of": "NEWS",
            "brand": "A",
        },
        "scenes": [{"layers": [text("{{ line }} {{ kind_of }}")]}],
    }
    assert clean(document)["scenes"][0]["layers"][0]["text"] == "A news! NEWS"
    assert clean(document, {"brand": "B"})["scenes"][0]["layers"][0]["text"] == "B news! NEWS"


def test_variables_of_the_request_are_data_and_never_templates() -> None:
    document = {"variables": {"title": "default"}, "scenes": [{"id": "s", "layers": [text("{{ title }} {{ secret }}")]}]}
    expanded = clean(document, {"title": "{{ secret }}", "secret": "x"})
    assert expanded["scenes"][0]["layers"][0]["text"] == "{{ secret }} x"


def test_circles_among_variables_are_named_once_and_everything_else_still_works() -> None:
    document = {
        "variables": {
            "a": "{{ b }}",
            "b": "{{ c }}",
            "c": ["{{ a }}"],
            "d": "{{ a }}",
            "own": "{{ own }}",
            "fine": "{{ 1 + 1 }}",
        },
        "scenes": [{"id": "s", "layers": [text("{{ a }}"), text("{{ d }}"), text("{{ fine }}")]}],
    }
    expansion = expand(document, {}, {})
    assert codes(expansion) == [("/variables/a", "EXPRESSION_ERROR"), ("/variables/own", "EXPRESSION_ERROR")]
    assert "a -> b -> c -> a" in expansion.problems[0].message
    assert expansion.document["scenes"][0]["layers"] == [{"type": "text"}, {"type": "text"}, text("2")]


def test_long_chains_of_variables_need_no_stack() -> None:
    chain = {f"v{n}": f"{{{{ v{n + 1} + 1 }}}}" for n in range(3_000)} | {"v3000": 0}
    assert clean({"variables": chain, "scenes": [{"id": "s", "duration": "{{ v0 }}"}]})["scenes"][0]["duration"] == 3_000


def test_scene_variables_shadow_in_order() -> None:
    document = {
        "variables": {"title": "movie", "n": 1},
        "scenes": [
            {
                "id": "a",
                "variables": {"title": "{{ title }}/scene", "both": "{{ title }}+{{ n }}"},
                "layers": [text("{{ both }}")],
            },
            {"id": "b", "layers": [text("{{ title }}")]},
        ],
    }
    expanded = clean(document)
    assert expanded["scenes"][0] == {"id": "a", "layers": [text("movie/scene+1")]}
    assert expanded["scenes"][1]["layers"][0]["text"] == "movie"


# Repetition and conditions.

ROWS = [{"t": "one", "show": True}, {"t": "two", "show": False}, {"t": "three", "show": True}]


def test_a_scene_repeats_for_each_item_and_dropped_ones_rename_nothing() -> None:
    document = {
        "variables": {"rows": ROWS},
        "scenes": [
            {"id": "hook"},
            {
                "id": "card",
                "iterate": "rows",
                "iterateAs": "row",
                "condition": "row.show",
                "layers": [text("{{ index }} {{ row.t }}")],
            },
            {"iterate": "{{ [rows[0], rows[2]] }}", "layers": [text("{{ item.t }}")]},
            {"id": "by-{{ item }}", "iterate": ["x", "{{ rows[0].t }}"]},
            {"id": "none", "iterate": []},
            {"condition": "{{ len(rows) > 5 }}"},
            {"id": None, "condition": True, "duration": 2},
        ],
    }
    expansion = expand(document, {}, {})
    assert expansion.problems == ()
    scenes = expansion.document["scenes"]
    ids = ["hook", "card_1", "card_3", "scene_3_1", "scene_3_2", "by-x", "by-one", "scene_7"]
    assert [scene["id"] for scene in scenes] == ids
    assert [scene["layers"][0]["text"] for scene in scenes[1:5]] == ["0 one", "2 three", "one", "three"]
    assert all(not {"condition", "iterate", "iterateAs", "variables"} & set(scene) for scene in scenes)
    for pointer, source in {
        "/scenes/0/id": "/scenes/0/id",
        "/scenes/1/layers/0/src": "/scenes/1/layers/0/src",
        "/scenes/2/layers/0/src": "/scenes/1/layers/0/src",
        "/scenes/4": "/scenes/2",
        "/scenes/6/duration": "/scenes/3/duration",
        "/scenes/7/duration": "/scenes/6/duration",
        "/title": "/title",
        "": "",
    }.items():
        assert locate(pointer, expansion.origins) == source


def test_faults_in_layers_after_dropped_ones_point_at_the_source() -> None:
    layers = [text("a", condition=False), text("b"), text("c", condition="{{ 1 > 2 }}"), text("d", condition="1 < 2")]
    document = {"scenes": [{"condition": "false"}, {"id": "s", "layers": layers}], "layers": copy.deepcopy(layers)}
    expansion = expand(document, {}, {})
    assert expansion.document == {"scenes": [{"id": "s", "layers": [text("b"), text("d")]}], "layers": [text("b"), text("d")]}
    assert locate("/scenes/0/layers/0/x", expansion.origins) == "/scenes/1/layers/1/x"
    assert locate("/scenes/0/layers/1/x", expansion.origins) == "/scenes/1/layers/3/x"
    assert locate("/layers/1/x", expansion.origins) == "/layers/3/x"
    assert locate("/scenes/0/duration", expansion.origins) == "/scenes/1/duration"


def test_faults_inside_a_value_that_an_expression_gave_point_at_the_expression() -> None:
    document = {
        "variables": {"edge": {"width": [1]}},
        "scenes": [{"condition": False}, {"layers": [text("a", stroke="{{ edge }}")]}],
    }
    expansion = expand(document, {}, {})
    assert expansion.document["scenes"][0]["layers"][0]["stroke"] == {"width": [1]}
    assert locate("/scenes/0/layers/0/stroke/width/0", expansion.origins) == "/scenes/1/layers/0/stroke"
    assert locate("/scenes/0/layers/0/stroke", expansion.origins) == "/scenes/1/layers/0/stroke"


def test_given_names_never_clash_with_written_ones() -> None:
    expanded = clean({"scenes": [{}, {"id": "scene_1"}, {"id": "scene_3_"}, {}]})
    assert [scene["id"] for scene in expanded["scenes"]] == ["scene_1_", "scene_1", "scene_3_", "scene_4"]


@pytest.mark.parametrize(
    ("scene", "pointer", "code", "said"),
    [
        ({"iterate": "rowz"}, "/scenes/0/iterate", "EXPRESSION_ERROR", "did you mean 'rows'"),
        ({"iterate": "rows[0]"}, "/scenes/0/iterate", "EXPRESSION_ERROR", "this is an object"),
        ({"iterate": 3}, "/scenes/0/iterate", "TYPE_WRONG", "list"),
        ({"iterate": "late"}, "/scenes/0/iterate", "EXPRESSION_ERROR", "measured times"),
        ({"iterate": "[other.duration]"}, "/scenes/0/iterate", "EXPRESSION_ERROR", "measured times"),
        ({"id": "x{{ late }}"}, "/scenes/0/id", "EXPRESSION_ERROR", "measured times"),
        ({"layers": [text("", id="x{{ other.end }}")]}, "/scenes/0/layers/0/id", "EXPRESSION_ERROR", "measured times"),
        ({"iterate": "rows", "iterateAs": "index"}, "/scenes/0/iterateAs", "VALUE_NOT_ALLOWED", "name"),
        ({"condition": "{{ 1 }} > 2"}, "/scenes/0/condition", "EXPRESSION_ERROR", "one pair of braces"),
        ({"condition": ""}, "/scenes/0/condition", "EXPRESSION_ERROR", "nothing"),
        ({"condition": 1}, "/scenes/0/condition", "TYPE_WRONG", "condition"),
        ({"variables": [1]}, "/scenes/0/variables", "TYPE_WRONG", "object"),
        ({"variables": {"a/b": "{{ nope }}"}}, "/scenes/0/variables/a~1b", "EXPRESSION_ERROR", "nope"),
        ({"duration": math.nan}, "/scenes/0/duration", "NUMBER_INVALID", "finite"),
        ({"layers": ["{{ other.end }}"]}, "/scenes/0/layers/0", "EXPRESSION_ERROR", "measured"),
    ],
)
def test_faults_of_a_scene_have_a_place_a_code_and_a_remedy(scene: dict[str, Any], pointer: str, code: str, said: str) -> None:
    variables = {"rows": ROWS, "late": "{{ other.duration }}"}
    expansion = expand({"variables": variables, "scenes": [scene, {"id": "other"}]}, {}, {})
    assert codes(expansion) == [(pointer, code)]
    assert said in expansion.problems[0].message


def test_all_problems_come_in_one_reply_and_once_for_a_repeated_scene() -> None:
    document = {
        "title": "{{ nope }}",
        "width": math.inf,
        "variables": {"rows": ROWS, "bad": "{{ 1 / 0 }}"},
        "scenes": [
            {"id": "c", "iterate": "rows", "layers": [text("{{ item.x }}"), text("{{ bad }}"), text("{{ a b }}", x=-math.inf)]},
            {"layers": [text("{{ open")]},
        ],
        "layers": [text("{{ c_2.x }}", words=["a", "{{ oops }}"])],
    }
    expansion = expand(document, {"given": math.nan}, {})
    assert sorted(codes(expansion)) == [
        ("/layers/0/text", "EXPRESSION_ERROR"),
        ("/layers/0/words/1", "EXPRESSION_ERROR"),
        ("/scenes/0/layers/0/text", "EXPRESSION_ERROR"),
        ("/scenes/0/layers/2/text", "EXPRESSION_ERROR"),
        ("/scenes/0/layers/2/x", "NUMBER_INVALID"),
        ("/scenes/1/layers/0/text", "EXPRESSION_ERROR"),
        ("/title", "EXPRESSION_ERROR"),
        ("/variables/bad", "EXPRESSION_ERROR"),
        ("/variables/given", "NUMBER_INVALID"),
        ("/width", "NUMBER_INVALID"),
    ]
    assert "(in scene c_1)" in next(p.message for p in expansion.problems if p.pointer == "/scenes/0/layers/0/text")
    assert [scene["id"] for scene in expansion.document["scenes"]] == ["c_1", "c_2", "c_3", "scene_2"]
    assert expansion.document["layers"] == [{"type": "text"}]


def test_problems_of_a_scene_that_is_dropped_do_not_count() -> None:
    document = {"scenes": [{"condition": False, "variables": {"a": "{{ nope }}"}, "layers": [text("{{ nope }}")]}, {"id": "s"}]}
    assert clean(document) == {"scenes": [{"id": "s"}]}


def test_what_follows_from_a_field_left_out_is_not_told_again() -> None:
    layers = [text("{{ nope }}"), text("b", words=["{{ nope }}"], start="{{ s.end }}"), {"id": "c"}]
    expansion = expand({"scenes": [{"condition": False}, {"id": "s", "layers": layers}]}, {}, {})
    later = [
        Problem(locate(pointer, expansion.origins), code, "said by validation")
        for pointer, code in [
            ("/scenes/0/layers/0/text", "FIELD_MISSING"),
            ("/scenes/0/layers/1", "FIELD_MISSING"),
            ("/scenes/0/layers/1/words", "FIELD_MISSING"),
            ("/scenes/0/layers/1/start", "FIELD_MISSING"),
            ("/scenes/0/layers/1", "TYPE_WRONG"),
            ("/scenes/0/layers/2", "FIELD_MISSING"),
        ]
    ]
    left = [(problem.pointer, problem.code) for problem in unexplained(later, expansion)]
    assert left == [("/scenes/1/layers/1", "TYPE_WRONG"), ("/scenes/1/layers/2", "FIELD_MISSING")]


# Measured times.


def voiced(**more: Any) -> dict[str, Any]:
    return {
        "scenes": [
            {"id": "intro", "layers": [{"id": "voice", "type": "voice"}, text("a", start="{{ voice.end + 0.5 }}")]},
            {
                "id": "card",
                "iterate": [1, 2],
                "layers": [{"id": "voice"}, {"start": "{{ voice.end }}", "x": "{{ card.duration }}"}],
            },
        ],
        "layers": [{"id": "bed", "type": "audio"}, {"duration": "{{ card_2.end - intro.voice.start }}"}],
        **more,
    }


def test_what_waits_for_measured_times_is_left_out_named_and_filled_later() -> None:
    first = expand(voiced(), {}, {})
    assert first.problems == ()
    pending = [
        "/layers/1/duration",
        "/scenes/0/layers/1/start",
        "/scenes/1/layers/1/start",
        "/scenes/1/layers/1/x",
        "/scenes/2/layers/1/start",
        "/scenes/2/layers/1/x",
    ]
    assert sorted(first.pending) == pending
    assert first.document["scenes"][2] == {"id": "card_2", "layers": [{"id": "voice"}, {}]}
    declared = declared_ids(first.document)
    assert declared == Declared({"intro": ("voice",), "card_1": ("voice",), "card_2": ("voice",)}, ("bed",))
    measured = {key: Timing(float(n), n + 2.0, 2.0) for n, key in enumerate(declared.keys())}
    second = expand(voiced(), {}, measured)
    assert (second.problems, second.pending) == ((), ())
    scenes = second.document["scenes"]
    assert scenes[0]["layers"][1]["start"] == measured["intro/voice"].end + 0.5
    assert scenes[2]["layers"][1] == {"start": measured["card_2/voice"].end, "x": 2.0}
    assert second.document["layers"][1]["duration"] == measured["card_2"].end - measured["intro/voice"].start


def test_pending_passes_through_variables_and_takes_whole_lists_out() -> None:
    document = voiced(variables={"late": {"at": "{{ intro.end }}"}}, title="{{ late.at }}")
    document["scenes"][0]["variables"] = {"gap": "{{ voice.duration / 2 }}"}
    document["scenes"][0]["layers"][1] = {
        "start": "{{ gap }}",
        "words": ["a", ["{{ gap }}"]],
        "keyframes": {"x": [{"at": "{{ gap }}"}]},
    }
    expansion = expand(document, {}, {"card_1": Timing(0, 1, 1)})
    assert expansion.problems == ()
    assert {"/title", "/scenes/0/layers/1/start", "/scenes/0/layers/1/words", "/scenes/0/layers/1/keyframes/x"} <= set(
        expansion.pending
    )
    assert expansion.document["scenes"][0]["layers"][1] == {"keyframes": {}}
    assert "title" not in expansion.document


def test_a_condition_on_measured_times_keeps_its_scene_or_layer_for_now() -> None:
    document = {
        "scenes": [
            {"condition": False},
            {
                "id": "s",
                "condition": "voice.duration > 3",
                "layers": [{"id": "voice"}, text("long", condition="{{ voice.end > 3 }}")],
            },
        ]
    }
    first = expand(document, {}, {})
    assert first.pending == ("/scenes/0/layers/1/condition", "/scenes/0/condition")
    assert len(first.document["scenes"][0]["layers"]) == 2
    short = expand(document, {}, {"s/voice": Timing(0, 2, 2)})
    assert (short.document, short.pending) == ({"scenes": []}, ())
    long = expand(document, {}, {"s/voice": Timing(0, 4, 4)})
    assert long.document["scenes"][0]["layers"] == [{"id": "voice"}, text("long")]


def test_times_of_what_a_condition_left_out_are_an_error_unless_its_twin_stays() -> None:
    layers = [
        {"id": "voice", "condition": "lang == 'en'"},
        {"id": "voice", "condition": "lang == 'de'"},
        {"id": "extra", "condition": False},
        {"start": "{{ voice.end }}", "end": "{{ extra.end }}", "x": "{{ gone.end }}"},
    ]
    document = {"scenes": [{"id": "s", "layers": layers}, {"id": "gone", "condition": False}]}
    expansion = expand(document, {"lang": "de"}, {"s/voice": Timing(0, 2, 2)})
    assert codes(expansion) == [("/scenes/0/layers/3/end", "EXPRESSION_ERROR"), ("/scenes/0/layers/3/x", "EXPRESSION_ERROR")]
    assert "left out by its condition" in expansion.problems[0].message
    assert expansion.document["scenes"][0]["layers"] == [{"id": "voice"}, {"start": 2.0}]


def test_computed_layer_ids_can_be_named() -> None:
    layers = [{"id": "line_{{ n }}"}, {"start": "{{ line_7.end }}"}]
    document = {
        "variables": {"n": 7},
        "scenes": [{"id": "s", "layers": layers}],
        "layers": [{"id": "{{ n }}"}, {"x": "{{ layer('7').end }}"}],
    }
    expanded = clean(document, {}, {"s/line_7": Timing(0, 1.5, 1.5), "/7": Timing(0, 9, 9)})
    assert expanded == {
        "scenes": [{"id": "s", "layers": [{"id": "line_7"}, {"start": 1.5}]}],
        "layers": [{"id": "7"}, {"x": 9.0}],
    }


# Limits and hostile input.


def test_too_many_scenes_are_refused_before_they_are_made() -> None:
    rows = list(range(1_500))
    for scenes in ([{"iterate": "rows"}, {"id": "b", "iterate": "rows"}], [{"id": f"s{n}"} for n in range(2_001)]):
        expansion = expand({"variables": {"rows": rows}, "scenes": scenes}, {}, {})
        assert expansion.document == {}
        assert [problem.code for problem in expansion.problems] == ["TOO_MANY_SCENES"]
    chosen = expand(
        {"variables": {"rows": rows * 4}, "scenes": [{"id": "a", "iterate": "rows", "condition": "index < 5"}]}, {}, {}
    )
    assert len(chosen.document["scenes"]) == 5


BIG = "x" * 90_000


@pytest.mark.parametrize(
    "document",
    [
        {"scenes": [{"iterate": list(range(1_000)), "layers": [text("y" * 20_000)]}]},
        {"variables": {"big": BIG}, "scenes": [{"iterate": list(range(1_000)), "layers": [text("{{ big }}")]}]},
        {"variables": {"rows": [[BIG[:1000]] * 100]}, "scenes": [{"iterate": list(range(1_000)), "a": "{{ rows }}"}]},
        {"variables": {"v0": BIG, **{f"v{n}": f"{{{{ v{n - 1} }}}}" for n in range(1, 200)}}, "scenes": []},
        {"title": "x" * 8_100_000},
        {
            "variables": {f"v{n}": [f"{{{{ v{n - 1} }}}}"] * 2 for n in range(1, 60)} | {"v0": BIG},
            "title": "{{ v59 }}",
            "scenes": ["{{ v59 }}"],
        },
        {"variables": {"v0": [], **{f"v{n}": [f"{{{{ v{n - 1} }}}}"] for n in range(1, 500)}}, "audio": "{{ v499 }}"},
        {"scenes": [{"iterate": list(range(20_000)), "condition": False, "layers": [{"condition": False}] * 1_000}]},
    ],
    ids=["literals", "strings", "lists", "variables", "input", "doubling", "nesting", "dropped work"],
)
def test_a_document_that_grows_too_large_is_refused(document: dict[str, Any]) -> None:
    expansion = expand(document, {}, {})
    assert expansion.document == {}
    assert expansion.problems[-1].code == "DOCUMENT_TOO_LARGE"


def test_text_doubling_over_variables_is_refused() -> None:
    doubling = {"v0": "ha"} | {f"v{n}": f"{{{{ v{n - 1} }}}}{{{{ v{n - 1} }}}}" for n in range(1, 60)}
    expansion = expand({"variables": doubling, "title": "{{ v59 }}"}, {}, {})
    assert [(p.pointer, p.code) for p in expansion.problems] == [("/variables/v16", "EXPRESSION_ERROR")]


def test_deep_documents_are_refused_with_a_place() -> None:
    for wrap in (lambda inner: {"layers": inner}, lambda inner: [inner]):
        document: Any = "{{ x }}"
        for _ in range(30_000):
            document = wrap(document)
        expansion = expand({"scenes": document}, {}, {})
        assert expansion.document == {}
        assert [problem.code for problem in expansion.problems] == ["DOCUMENT_TOO_DEEP"]
        assert expansion.problems[0].pointer.startswith("/scenes/")
        while isinstance(document, dict | list):  # taken apart by hand: freeing it recursively is slow
            document = document.pop("layers") if isinstance(document, dict) else document.pop()
    assert [problem.code for problem in expand({}, {"v": json.loads("[" * 100 + "]" * 100)}, {}).problems] == [
        "DOCUMENT_TOO_DEEP"
    ]


def test_a_document_that_holds_itself_is_refused() -> None:
    document: dict[str, Any] = {"scenes": []}
    document["scenes"].append(document)
    assert [problem.code for problem in expand(document, {}, {}).problems] == ["DOCUMENT_TOO_DEEP"]


def test_endless_problems_end() -> None:
    document = {"scenes": [{"layers": [text("{{ a b }}") for _ in range(20)]} for _ in range(50)]}
    expansion = expand(document, {}, {})
    assert expansion.problems[-1].code == "TOO_MANY_PROBLEMS"
    assert len(expansion.problems) < 600


def test_what_is_no_json_is_a_problem() -> None:
    document: Any = {"scenes": [{"id": "s", "a": object(), "b": (1,), 3: 4, "c": 10**400}], "title": "{{ 1 }}"}
    expansion = expand(document, {}, {})
    found = {
        ("/scenes/0", "TYPE_WRONG"),
        ("/scenes/0/a", "TYPE_WRONG"),
        ("/scenes/0/b", "TYPE_WRONG"),
        ("/scenes/0/c", "NUMBER_INVALID"),
    }
    assert set(codes(expansion)) == found
    assert expansion.document == {"scenes": [{"id": "s"}], "title": "1"}
    roots: list[Any] = [[], "x", None, 3]
    for root in roots:
        assert expand(root, {}, {}).problems


def test_a_wide_movie_expands_with_each_template_filled() -> None:
    """1,000 scenes of 20 layers; `bench` reports the time, here it only has to be whole."""
    layers = [text("{{ item.t }} {{ n + 1 }}", id=f"l{n}", start="{{ l0.end }}" if n else 0) for n in range(20)]
    document = {
        "variables": {"rows": [{"t": n} for n in range(1_000)], "n": 1},
        "scenes": [{"id": "c", "iterate": "rows", "layers": layers}],
    }
    expanded = clean(document, {}, {f"c_{n + 1}/l0": Timing(0, n, n) for n in range(1_000)})
    assert expanded["scenes"][999]["layers"][19] == text("999 2", id="l19", start=999.0)


# Properties.

KEYS = st.sampled_from(
    [
        "scenes",
        "layers",
        "variables",
        "condition",
        "iterate",
        "iterateAs",
        "id",
        "text",
        "a",
        "b",
        "type",
        "item",
        "a/b",
        "",
        "x-y",
    ]
)
_SAID = r"a b a.b index {{a}} {{b.end}} {{item}} {{a}}{{b}} {{ {{ }} \{{ {{s.duration}} {{a.b}} {{[a,b]}} {{a*9}} s x-y {{x_y}}"
STRINGS = st.one_of(
    st.sampled_from(_SAID.split()),
    st.text(max_size=8),
    st.builds("{{{{ {} }}}}".format, st.text(alphabet="ab.[]()+*'019, ", max_size=10)),
)
SCALARS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), STRINGS)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=25
)
LAYER = st.fixed_dictionaries({}, optional={"id": STRINGS, "condition": VALUES, "text": VALUES, "start": STRINGS})
VARIABLES = st.dictionaries(st.sampled_from(["a", "b", "x-y", "item", "rows"]), VALUES, max_size=4)
SCENE = st.fixed_dictionaries(
    {},
    optional={
        "id": STRINGS,
        "layers": st.lists(LAYER, max_size=3),
        "condition": st.one_of(VALUES, STRINGS),
        "iterate": st.one_of(VALUES, st.lists(VALUES, max_size=4), st.just("a")),
        "iterateAs": STRINGS,
        "variables": st.one_of(VARIABLES, VALUES),
        "duration": STRINGS,
    },
)
MOVIE = st.fixed_dictionaries(
    {},
    optional={
        "scenes": st.lists(st.one_of(SCENE, VALUES), max_size=4),
        "layers": st.one_of(st.lists(LAYER, max_size=3), VALUES),
        "variables": st.one_of(VARIABLES, VALUES),
        "title": VALUES,
    },
)
TIMINGS = st.dictionaries(st.sampled_from(["s", "s/b", "/b", "a", "scene_1", "scene_1/b"]), st.just(Timing(0.0, 1.0, 1.0)))


def check(expansion: Expansion) -> None:
    assert json.dumps(expansion.document, allow_nan=False)
    for problem in expansion.problems:
        assert problem.message
        assert problem.pointer == "" or problem.pointer.startswith("/")
    for pointer in expansion.pending:
        assert locate(pointer, expansion.origins).startswith("/")


@settings(max_examples=150, deadline=None)
@given(st.one_of(MOVIE, st.dictionaries(KEYS, VALUES, max_size=5)), VARIABLES, TIMINGS)
def test_any_document_expands_or_gives_problems(
    document: dict[str, Any], variables: dict[str, Any], measured: dict[str, Timing]
) -> None:
    before = repr(document)
    expansion = expand(document, variables, measured)
    check(expansion)
    assert repr(document) == before
    assert repr(expand(document, variables, measured)) == repr(expansion)


def pointers(value: Any, at: str = "") -> list[str]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [each for key, child in pairs for each in pointers(child, f"{at}/{str(key).replace('~', '~0').replace('/', '~1')}")]
    return [at, *inner]


@settings(max_examples=150, deadline=None)
@given(MOVIE, VARIABLES)
def test_every_place_of_the_result_leads_to_a_place_of_the_source(document: dict[str, Any], variables: dict[str, Any]) -> None:
    expansion = expand(document, variables, {})
    written = {*pointers(document)}
    for pointer in pointers(expansion.document):
        source = locate(pointer, expansion.origins)
        # A scene that had no id is given one; nothing else appears from nowhere.
        assert source in written or (source.endswith("/id") and source.removesuffix("/id") in written)


PLAIN_TEXT = st.text(max_size=10).filter(lambda value: "{{" not in value and "\0" not in value)
PLAIN = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**60), 2**60), st.floats(allow_nan=False, allow_infinity=False), PLAIN_TEXT
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(PLAIN_TEXT, inner, max_size=4),
    max_leaves=20,
)
PLAIN_SCENE = st.fixed_dictionaries(
    {"a": PLAIN}, optional={"id": st.text("abc", min_size=1), "layers": st.lists(st.fixed_dictionaries({"b": PLAIN}))}
)


@settings(max_examples=150, deadline=None)
@given(PLAIN, st.lists(PLAIN_SCENE, max_size=4), st.dictionaries(PLAIN_TEXT, PLAIN, max_size=3), st.booleans())
def test_without_templates_nothing_changes_but_missing_ids(
    title: Any, scenes: list[Any], variables: dict[str, Any], slow: bool
) -> None:
    """Both ways through: the short one for documents without templates, and the full one (forced by one template)."""
    document = {
        "title": title,
        "scenes": scenes,
        "variables": variables,
        "layers": [{"condition": True, "x": 1}] if slow else [],
    }
    expected = {"title": title, "layers": [{"x": 1}] if slow else []}
    expected["scenes"] = [{"id": f"scene_{n + 1}", **scene} for n, scene in enumerate(scenes)]
    if slow:
        document["fps"], expected["fps"] = "{{ 15 * 2 }}", 30
    assert clean(document) == expected


@settings(max_examples=100, deadline=None)
@given(PLAIN)
def test_any_value_passes_through_a_variable_unchanged(value: Any) -> None:
    assume(not isinstance(value, int | float) or abs(value) <= MAX_NUMBER)
    assert clean({"a": "{{ v }}", "b": ["{{ v }}"]}, {"v": value}) == {"a": value, "b": [value]}
