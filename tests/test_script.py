"""Scripts in Markdown: what is spoken, by whom, in which section; directions never; and nothing is lost, whatever the text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.speech.script import MOST_CHARS, Say, Script, Sound, read_script

PLAY = """\
# The lake

*(a boat, at dawn)*

## First light
**Ada:** *(softly)* Hello, **dear** [friend](https://x.example/a).
Welcome (by the way) back! [pause 0.5s] Now.

(He waves)
**Bob**: Hi.
**Bob:** There.

[sfx: splash.ogg | volume 0.4 | under]

---
**Ada:**
Good night. [pause 250ms] [pause 1.5 s]
<!-- **Bob:** never -->
- a list
- of two
"""


def said(script: Script) -> list[list[tuple[str | None, str]]]:
    return [[(row.name, row.text) for row in section.rows if isinstance(row, Say)] for section in script.sections]


def test_a_screenplay_is_cut_by_names_sections_and_pauses_and_directions_are_context() -> None:
    script = read_script(PLAY)
    assert (script.title, script.form) == ("The lake", "screenplay")
    assert said(script) == [
        [("Ada", "Hello, dear friend. Welcome (by the way) back!"), ("Ada", "Now."), ("Bob", "Hi."), ("Bob", "There.")],
        [("Ada", "Good night."), ("Ada", "a list"), ("Ada", "of two")],
    ]
    assert [section.title for section in script.sections] == ["First light", ""]
    assert [section.context for section in script.sections] == [("a boat, at dawn", "softly", "He waves"), ()]
    assert script.sections[0].rows[-1] == Sound("splash.ogg", 0.4, True, row=13)
    assert [row.pause for section in script.sections for row in section.rows] == [0.5, None, None, None, None, 1.75, None, None]


def test_marks_make_sections_and_without_them_every_paragraph_is_one() -> None:
    marked = read_script("**Part one**\nA.\nB.\n\nC.\n***\nD.\n\n### Part three ###\nE.")
    assert (marked.form, [section.title for section in marked.sections]) == ("markers", ["Part one", "", "Part three"])
    assert said(marked) == [[(None, "A. B."), (None, "C.")], [(None, "D.")], [(None, "E.")]]
    plain = read_script("# Only a title\n\nA.\n\n[sfx: a.ogg]\n\nB.\n")
    assert (plain.form, plain.title) == ("paragraphs", "Only a title")
    assert [[type(row).__name__ for row in section.rows] for section in plain.sections] == [["Say"], ["Sound", "Say"]]


def test_titles_without_a_word_below_them_go_with_what_follows_and_a_pause_may_come_first() -> None:
    script = read_script("# Film\n## Day\n### Morning\nA.\n## Night\n### Late\nB.\n## The end\n*(black)*")
    assert script.title == "Film"
    assert [section.title for section in script.sections] == ["Day: Morning", "Night: Late"]
    assert script.sections[-1].context == ("The end", "black")
    assert read_script("[pause 2s]\n\n[pause]\nA.").lead == 2.5
    assert read_script("[pause 999999s]\nA.").lead == 60


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("a *b* **c** ***d*** _e_ __f__ ~~g~~ `*h*`", "a b c d e f g *h*"),
        ("snake_case 2*3*4 is \\*not\\* it", "snake_case 2*3*4 is *not* it"),
        ("![a cat](cat.png \"t\") and [b](<x>)", "a cat and b"),
        ("> quoted\n> twice", "quoted twice"),
        ("left *(a (b) c)* right", "left right"),
        ("left *(not closed", "left *(not closed"),
        ("1. one", "one"),
        ("**Not: a name** here", "Not: a name here"),
        ("# \n\nA", "A"),
        ("<!-- not closed", "<!-- not closed"),
    ],
)  # fmt: skip
def test_only_words_are_left_of_a_row(text: str, spoken: str) -> None:
    assert [row.text for row in read_script(text).lines] == [spoken]


def test_what_is_too_long_for_a_line_is_cut_after_a_sentence() -> None:
    lines = [row.text for row in read_script("A sentence of some length. " * 400).lines]
    assert len(lines) > 1
    assert max(map(len, lines)) <= MOST_CHARS
    assert all(line.endswith(".") for line in lines)
    assert [len(row.text) for row in read_script("x" * (2 * MOST_CHARS + 1)).lines] == [MOST_CHARS, MOST_CHARS, 1]


@pytest.mark.parametrize("piece", ["<!--", "*(", "(", "[", "![", "**", "`", "*", "_", "# ", "#", "- ", ">", "[pause ", "[sfx:", "-", "~~", "\\", "*(a", "a\n", "**a:** "])
def test_no_text_takes_long_to_read(piece: str) -> None:
    """Sixty thousand characters that every pattern begins to match: the test's own limit of time would end it."""
    script = read_script(piece * (60_000 // len(piece)) + "x")
    assert all(len(row.text) <= MOST_CHARS for row in script.lines)


WORDS = st.text("abcdefgxyz", min_size=1, max_size=8)
ROWS = st.one_of(
    st.lists(WORDS, min_size=1, max_size=5).map(" ".join),
    st.tuples(WORDS, WORDS).map(lambda each: f"**{each[0]}:** {each[1]}"),
    WORDS.map(lambda each: f"# {each}"),
    WORDS.map(lambda each: f"**{each}**"),
    st.lists(WORDS, min_size=1, max_size=3).map(lambda each: f"*(direct{' '.join(each)})*"),
    WORDS.map(lambda each: f"(direct{each})"),
    st.tuples(WORDS, WORDS, WORDS).map(lambda each: f"{each[0]} *(direct{each[1]})* {each[2]}"),
    st.sampled_from(["---", "", "", "[pause 1s]", "[sfx: bang.ogg]"]),
)


@settings(max_examples=60)
@given(st.lists(ROWS, max_size=12))
def test_everything_is_said_or_shown_once_and_directions_are_never_spoken(rows: list[str]) -> None:
    script = read_script("\n".join(rows))
    spoken = " ".join(row.text for row in script.lines)
    assert "direct" not in spoken
    shown = [script.title, *(section.title for section in script.sections), *(words for section in script.sections for words in section.context)]
    names = {row.name for row in script.lines if row.name}
    written = [re.sub(r"\[(pause|sfx).*?\]", "", row) for row in rows]
    speakers = re.compile(r"\*\*([a-z]+):\*\*")
    if script.lines:
        wanted = sorted(word for row in written for word in re.findall(r"[a-z]+", speakers.sub("", row)))
        assert sorted(re.findall(r"[a-z]+", " ".join([spoken, *shown]))) == wanted
        assert names <= {name for row in written for name in speakers.findall(row)}
    assert sum(isinstance(row, Sound) for section in script.sections for row in section.rows) == rows.count("[sfx: bang.ogg]")


@settings(max_examples=100)
@given(st.text("ab *_()[]#-`~<>!\\\n:.1|\u0000\ud800"))
def test_every_text_is_a_script(text: str) -> None:
    script = read_script(text)
    assert all(row.text.strip() for row in script.lines)
