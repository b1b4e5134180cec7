"""What users may write between `{{` and `}}`, what comes out, and that nothing written there can do harm."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viralsync_pipelines.movie.arithmetic import MAX_NUMBER, MAX_TEXT, MAX_WORK, Meter
from viralsync_pipelines.movie.expressions import BROKEN, ExpressionError, Pending, UsesBroken, evaluate, render
from viralsync_pipelines.movie.measured import Declared, Times, Timing, index

NAMES = {
    "name": "Ada",
    "count": 3,
    "ratio": 0.5,
    "on": True,
    "off": False,
    "nothing": None,
    "items": [{"title": "one", "sub-title": "first"}, {"title": "two"}],
    "brand": {"name": "ACME", "colors": ["#111", "#222"], "from": "Paris"},
    "class": "reserved in Python",
    "title": "a variable and a layer",
}
DECLARED = Declared({"intro": ("voice", "my-layer", "title"), "out-ro": ("voice", "only")}, ("bed", "1st"))
MEASURED = {
    "intro": Timing(0.0, 4.0, 4.0),
    "intro/voice": Timing(0.5, 3.5, 3.0),
    "intro/my-layer": Timing(1.0, 2.0, 1.0),
    "intro/title": Timing(0.0, 2.5, 2.5),
    "out-ro": Timing(3.5, 9.0, 5.5),
    "out-ro/voice": Timing(0.0, 5.0, 5.0),
    "/1st": Timing(0.0, 7.0, 7.0),
}


def seen_from(scene: str | None, base: str | None = None) -> Times:
    return Times(index(DECLARED), MEASURED, scene=scene, base=base)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("1 + 2 * 3", 7),
        ("7 // 2 + 7 % 4", 6),
        ("-(count - 1) / 4", -0.5),
        ("count", 3),
        ("name + ' ' + count", "Ada 3"),
        ("'#' + 4 / 2", "#2"),
        ("'-' * 3", "---"),
        ("count > 2 and not off", True),
        ("1 < count <= 3", True),
        ("'big' if count > 2 else 'small'", "big"),
        ("nothing or 'default'", "default"),
        ("null == nothing", True),
        ("true and on", True),
        ("items[0].title", "one"),
        ("items[0].sub_title", "first"),
        ("items[0]['sub-title']", "first"),
        ("items[-1].title[0:2]", "tw"),
        ("items[count - 3].title", "one"),
        ("items[4 / 4].title", "two"),
        ("brand.colors[1]", "#222"),
        ("brand.from", "Paris"),
        ("class", "reserved in Python"),
        ("'name' in brand", True),
        ("'x' not in ['a', 'b']", True),
        ("[1, count][1]", 3),
        ("min(4, 2, count)", 2),
        ("max([4, 2])", 4),
        ("round(2.5)", 3),
        ("round(-0.5)", -1),
        ("round(1.005, 2)", 1.01),
        ("len(items) + len(name)", 5),
        ("upper(name) + lower('B')", "ADAb"),
        ("abs(-2) + floor(1.7) + ceil(1.2)", 5),
        ("int('12') + float('0.5')", 12.5),
        ("str(on)", "true"),
        ("get(items[1], 'sub-title', 'none')", "none"),
        ("get(items, 9)", None),
        ('"it\'s" + "\\u00e9\\n"', "it's\u00e9\n"),
        ("count\n  +\t1", 4),
        ("1if on else 2", 1),
    ],
)
def test_an_expression_gives_its_value(source: str, expected: object) -> None:
    value = evaluate(source, NAMES)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("nme", "did you mean 'name'"),
        ("off and nowhere", "called 'nowhere'"),
        ("off and items[0].title.x", None),
        ("2 ** 3", "powers"),
        ("on && off", "'and'"),
        ("!on", "'not'"),
        ("on ? 1 : 2", "a if condition else b"),
        ("count = 3", "=="),
        ("brand.nme", "did you mean 'name'"),
        ("items.length", "len("),
        ("items[2]", "no [2]"),
        ("items['a']", "whole number"),
        ("name + items", "'+' does not work between text and a list"),
        ("name < 3", "order"),
        ("1 / 0", "zero"),
        ("", "nothing to compute"),
        ("'open", "quote"),
        ("max()", "takes 1 to 100 values"),
        ("max([])", "nothing"),
        ("rand()", "no function 'rand'"),
        ("brand.name.upper()", "only the listed functions"),
        ("1e999", "beyond"),
        ("float('nan')", "beyond"),
        ("1e15 * 10", "beyond"),
        ("'%s' % 1", "'%' does not work"),
        ("first-name", "called 'first'"),
        ("'\\x41'", "escape"),
        ("len(items, 2)", "takes 1 values"),
        ("{'a': 1}", "braces"),
    ],
)
def test_a_wrong_expression_is_quoted_with_a_remedy(source: str, said: str | None) -> None:
    if said is None:
        assert evaluate(source, NAMES) is False
        return
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, NAMES)
    assert caught.value.code == "EXPRESSION_ERROR"
    assert said in caught.value.message
    assert caught.value.message.startswith("{{ ")


BOMBS = {
    "power tower": "9**9**9**9",
    "long text": "'a' * 10 ** 9",
    "longer text": "'a' * 1000000000",
    "text by steps": "'aaaaaaaaaa' * 10000 + 'a' * 10000 + 'b' * 10000",
    "brackets": "(" * 10_000 + "1" + ")" * 10_000,
    "some brackets": "(" * 100 + "1" + ")" * 100,
    "sums": "1+" * 50_000 + "1",
    "some sums": "1+" * 900 + "1",
    "signs": "-" * 1_900 + "1",
    "nots": "not " * 400 + "1",
    "index chain": "items" + "[0]" * 500,
    "list in list": "[" * 300 + "]" * 300,
    "huge numeral": "9" * 1_900,
    "numbers grow": "*".join(["999999"] * 100),
    "dunder": "name.__class__.__mro__",
    "dunder call": "().__class__.__bases__[0].__subclasses__()",
    "dunder name": "__import__('os')",
    "format": "'{0.__class__}'.format(name)",
    "f-string": "f'{name}'",
    "comprehension": "[x for x in items]",
    "lambda": "(lambda: 1)()",
    "walrus": "(x := 1)",
    "star": "max(*items)",
    "generator": "max(x for x in items)",
    "bytes": "b'a'",
    "complex": "1j",
    "ellipsis": "...",
    "await": "await name",
    "null byte": "1\x00",
    "half a surrogate": "\ud800",
    "tabs and dedents": "\n  1\n 2",
    "comment": "1 # 2",
    "statement": "import os",
    "two statements": "1; 2",
}


@pytest.mark.parametrize("source", BOMBS.values(), ids=BOMBS.keys())
def test_bombs_and_break_outs_are_refused(source: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, NAMES)
    assert len(caught.value.message) < 400
    caught.value.message.encode("utf-8")


def test_work_is_metered_so_that_big_lists_cannot_be_compared_for_ever() -> None:
    rows = [[n, str(n)] for n in range(2_000)]
    names = {"a": rows, "b": [list(row) for row in rows]}
    meter = Meter()
    with pytest.raises(ExpressionError, match="too long to compute"):
        evaluate(" or ".join(["a != b"] * 100), names, meter=meter)
    assert meter.used <= MAX_WORK + 10


def test_shared_lists_do_not_unfold() -> None:
    """Sixty doublings of a list that holds itself twice would be 2**60 values; comparing and writing stop early."""
    value: list[object] = ["x"]
    for _ in range(60):
        value = [value, value]
    for source in ("v == w", "str(v)", "[v, v]", "v + w", "v in [w]"):
        with pytest.raises(ExpressionError):
            evaluate(source, {"v": value, "w": [*value]})
    with pytest.raises(ExpressionError):
        render("{{ v }}!", {"v": value})


def test_what_a_variable_holds_is_bounded_as_well() -> None:
    for value in (math.nan, math.inf, 10**400, "x" * (MAX_TEXT + 1), object(), (1, 2), len):
        with pytest.raises(ExpressionError):
            evaluate("v", {"v": value})


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=300))
@example("{{")
@example("'\\")
def test_random_text_gives_a_value_or_the_one_error(source: str) -> None:
    for run in (evaluate, render):
        try:
            value = run(source, NAMES, seen_from("intro"))
        except ExpressionError:
            continue
        assert isinstance(value, Pending) or json.dumps(value, allow_nan=False)


_WORDS = "name count ratio on items brand title intro voice bed nothing 'a' \"b\" 1 2.5 0 1e9 1e15 100000 true null __ x"
_SIGNS = (
    ".end .start .duration . [ ] ( ) [0] + - * / % // == < > <= , : ** in not and or if else min( max( round( len( str( get("
)
_PIECES = st.sampled_from((_WORDS + " " + _SIGNS).split())


@settings(max_examples=300, deadline=None)
@given(st.lists(_PIECES, max_size=25).map(" ".join), st.sampled_from(["intro", "out-ro", None]))
def test_random_phrases_of_the_language_stay_bounded(source: str, scene: str | None) -> None:
    meter = Meter()
    try:
        value = evaluate(source, NAMES, seen_from(scene), meter)
    except ExpressionError:
        value = None
    assert meter.used <= MAX_WORK * 2
    if isinstance(value, int | float):
        assert abs(value) <= MAX_NUMBER
    if isinstance(value, str):
        assert len(value) <= MAX_TEXT


@settings(max_examples=150, deadline=None)
@given(
    st.integers(-1000, 1000),
    st.integers(-1000, 1000),
    st.integers(1, 50),
    st.sampled_from(["+", "-", "*", "//", "%", "<", ">=", "=="]),
)
def test_arithmetic_is_that_of_python(a: int, b: int, c: int, sign: str) -> None:
    source = f"a {sign} c + b * c"
    assert evaluate(source, {"a": a, "b": b, "c": c}) == eval(source, {"a": a, "b": b, "c": c})


# Measured times.


@pytest.mark.parametrize(
    ("source", "scene", "expected"),
    [
        ("voice.end", "intro", 3.5),
        ("voice.end", "out-ro", 5.0),
        ("my_layer.duration", "intro", 1.0),
        ("my_layer.duration", "out-ro", 1.0),
        ("intro.duration", "out-ro", 4.0),
        ("out_ro.start", None, 3.5),
        ("intro.voice.end", None, 3.5),
        ("intro.voice.end + 0.5", "out-ro", 4.0),
        ("layer('1st').end", "intro", 7.0),
        ("layer('my-layer').end", "intro", 2.0),
        ("scene('out-ro').duration", None, 5.5),
        ("scene('out-ro').voice.end", "intro", 5.0),
        ("title.end", "intro", 2.5),
        ("title", "intro", "a variable and a layer"),
        ("max(voice.end, my_layer.end)", "intro", 3.5),
    ],
)
def test_measured_times_are_named_from_where_one_stands(source: str, scene: str | None, expected: object) -> None:
    assert evaluate(source, NAMES, seen_from(scene)) == expected


def test_a_repeated_scene_answers_to_the_id_it_was_written_with() -> None:
    assert evaluate("card.duration", {}, seen_from("intro", base="card")) == 4.0


def test_what_is_declared_and_not_measured_is_pending() -> None:
    assert evaluate("bed.end + 1", NAMES, seen_from("intro")) == Pending(("/bed",))
    assert evaluate("only.end if on else 1", NAMES, seen_from("intro")) == Pending(("out-ro/only",))
    assert evaluate("1 if on else only.end", NAMES, seen_from("intro")) == 1
    assert render("{{ bed.end }} {{ only.end }}", NAMES, seen_from(None)) == Pending(("/bed", "out-ro/only"))
    assert evaluate("later * 2", {"later": Pending(("intro/x",))}) == Pending(("intro/x",))


@pytest.mark.parametrize(
    ("source", "scene", "said"),
    [
        ("voce.end", "intro", "did you mean 'voice'"),
        ("bed.end + voce.end", "intro", "did you mean 'voice'"),
        ("voice.end", None, "several scenes have a layer 'voice'"),
        ("voice", "intro", "write .start, .end or .duration"),
        ("voice + 1", "intro", "write .start, .end or .duration"),
        ("not voice", "intro", "write .start, .end or .duration"),
        ("voice.length", "intro", "no 'length'"),
        ("layer('nowhere').end", "intro", "called 'nowhere'"),
        ("scene('voice').end", "intro", "called 'voice'"),
        ("my-layer.end", "intro", "write '-' in a name as '_'"),
    ],
)
def test_an_id_that_leads_nowhere_is_an_error(source: str, scene: str | None, said: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        evaluate(source, {}, seen_from(scene))
    assert said in caught.value.message


def test_what_a_condition_left_out_has_no_times() -> None:
    times = Times(index(DECLARED), MEASURED, scene="intro", dropped={"intro/voice"})
    with pytest.raises(ExpressionError, match="left out by its condition"):
        evaluate("voice.end", {}, times)


def test_threads_do_not_meet() -> None:
    def alone(number: int) -> list[object]:
        return [evaluate("[n, voice.end][n % 2] + n", {"n": number}, seen_from("intro")) for _ in range(50)]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(alone, range(40)))
    assert answers == [[n + (3.5 if n % 2 else n)] * 50 for n in range(40)]


def test_using_a_broken_variable_is_told_apart_from_a_new_fault() -> None:
    with pytest.raises(UsesBroken):
        evaluate("bad + 1", {"bad": BROKEN})


# Strings.


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("no braces } }} \\ {", "no braces } }} \\ {"),
        ("{{ count }}", 3),
        ("{{count}}", 3),
        ("{{ items[0] }}", {"title": "one", "sub-title": "first"}),
        ("{{ nothing }}", None),
        (" {{ count }}", " 3"),
        ("{{ count }}{{ count }}", "33"),
        ("{{ 4 / 2 }} {{ 0.1 + 0.2 }} {{ 1 / 3 }}", "2 0.3 0.333333333333"),
        ("{{ 1000000.0 * 1000000 }} {{ 0.0000001 }} {{ 0 * -1.0 }}", "1000000000000 0.0000001 0"),
        ("{{ on }}/{{ off }}/{{ nothing }}/", "true/false//"),
        ("{{ brand.colors }}!", '["#111", "#222"]!'),
        ("\\{{ count }} is {{ count }}", "{{ count }} is 3"),
        ("{{ '{{' }}", "{{"),
        ("{{ '}}' }}{{ \"'\" }}", "}}'"),
        ("{{ name }}}", "Ada}"),
        ("a{{ name }}\nb", "aAda\nb"),
    ],
)
def test_strings_are_filled(text: str, expected: object) -> None:
    assert render(text, NAMES) == expected


@pytest.mark.parametrize(
    "text", ["{{ count", "a {{ b {{ c", "{{ 'count }}", "{{ don't }}", "{{ }}", "{{}}", "{{ {{ count }} }}", "{{ 1 }}" * 2_001]
)
def test_braces_that_do_not_close_or_hold_nothing_are_errors(text: str) -> None:
    with pytest.raises(ExpressionError):
        render(text, NAMES)


def test_a_string_cannot_grow_without_bounds() -> None:
    names = {"big": "x" * (MAX_TEXT // 2)}
    with pytest.raises(ExpressionError, match="grows beyond"):
        render("{{ big }}{{ big }}{{ big }}", names)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=50))
def test_any_text_survives_as_a_variable(text: str) -> None:
    """Data put into a string is never read as a template again."""
    assert render("<{{ v }}>", {"v": text}) == f"<{text}>"
    assert render("{{ v }}", {"v": text}) == text
