"""Words become pages: each in its place, never two pages at once, never more words than asked; every choice a user has shows in the plan."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.films import Lab, lab
from viralsync_pipelines.defs.part import parts_of
from viralsync_pipelines.errors import MovieInvalid
from viralsync_pipelines.movie.caption_art import Caption, cut_captions, in_order, shown_text
from viralsync_pipelines.movie.caption_files import read_captions
from viralsync_pipelines.movie.caption_look import safe_box
from viralsync_pipelines.movie.caption_sheets import sheets_of
from viralsync_pipelines.movie.caption_words import shared_out
from viralsync_pipelines.movie.captions import HeardWord, PageLimits, joined, pages_of
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.movie.script import Line, Spoken, Word
from viralsync_pipelines.render.prepare import Prepared, prepared_json, read_prepared

TEXTS = st.sampled_from(["one", "two,", "three.", "of", "extraordinarily", "a", "日", "本", "مرحبا", "100%", "—", "yes!"])
GAPS = st.sampled_from([0.0, 0.0, 0.05, 0.4, 1.5])
LENGTHS = st.sampled_from([0.0, 0.01, 0.1, 0.3, 0.9])


@st.composite
def heard(draw: st.DrawFn) -> list[HeardWord]:
    now, words = draw(st.sampled_from([-1.0, 0.0, 0.3])), []
    for text, gap, length in draw(st.lists(st.tuples(TEXTS, GAPS, LENGTHS), max_size=40)):
        now += gap
        words.append(HeardWord(text, round(now, 3), round(now + length, 3), draw(st.booleans()), draw(st.sampled_from([False, False, True]))))
        now += length
    return words


LIMITS = st.builds(PageLimits, st.integers(1, 6), st.sampled_from([2.0, 8.0, 30.0]), st.sampled_from([0.5, 3.0]))


@given(heard(), LIMITS, st.sampled_from([24, 30, 60]), st.integers(1, 400))
def test_every_word_has_its_page_and_pages_never_meet(words: list[HeardWord], limits: PageLimits, fps: int, until: int) -> None:
    pages = pages_of(words, limits, lambda at: round(at * fps), until)
    shown = [word.text for page in pages for word in page.words]
    wanted = [word.text for word in words if round(word.start * fps) < until and (round(word.end * fps) > 0 or round(word.start * fps) >= 0)]
    # What does not find room before the end is left out at the end, never in the middle.
    assert shown == wanted[: len(shown)]
    assert len(shown) == len(wanted) or pages[-1].last == until or not pages
    assert all(page.last <= after.first for page, after in zip(pages, pages[1:], strict=False))
    for page in pages:
        assert 0 <= page.first < page.last <= until
        assert 1 <= len(page.words) <= limits.words
        assert page.words[0].first == page.first
        assert page.words[-1].last == page.last
        assert all(a.last == b.first for a, b in zip(page.words, page.words[1:], strict=False))


@given(heard(), st.integers(1, 50), st.integers(1, 30))
def test_a_window_sees_what_the_film_shows_in_it(words: list[HeardWord], first: int, count: int) -> None:
    look: Any = None
    pages = pages_of(words, PageLimits(4, 12, 3), lambda at: round(at * 30), 300)
    captions = [Caption(page.first, page.last - page.first, page.words, look) for page in pages]
    window = cut_captions(in_order(captions), first, count)
    for frame in range(count):
        film = [(c.text, [w.text for w in c.words if w.first <= frame + first < w.last]) for c in captions if c.first <= frame + first < c.last]
        cut = [(c.text, [w.text for w in c.words if w.first <= frame < w.last]) for c in window if c.first <= frame < c.last]
        assert film == cut


def test_pages_end_where_one_draws_breath() -> None:
    text = "When the rain came, we ran to the house of my old friend. Nobody was there"
    words = [HeardWord(word, n * 0.3, n * 0.3 + 0.28) for n, word in enumerate(text.split())]
    pages = pages_of(words, PageLimits(5, 30, 4), lambda at: round(at * 30), 1_000)
    assert [page.text for page in pages] == ["When the rain came,", "we ran to the house", "of my old friend.", "Nobody was there"]


def test_a_text_of_one_time_is_shared_among_its_words_and_keeps_its_lines() -> None:
    words = shared_out("First line\nand a second", 2.0, 4.0)
    assert joined(words) == "First line\nand a second"
    assert (words[0].start, words[-1].end) == (2.0, 4.0)
    assert all(a.end == b.start for a, b in zip(words, words[1:], strict=False))
    signs = shared_out("今天天气很好。", 0.0, 1.0)
    assert [word.text for word in signs] == ["今", "天", "天", "气", "很", "好。"]
    assert joined(signs) == "今天天气很好。"


# ---- in a plan -------------------------------------------------------------------------------------------------------


class Talking(Lab):
    """Each word takes a quarter of a second, and nothing is silent."""

    def speak(self, line: Line) -> Spoken:
        words, at = [], 0
        for n, text in enumerate(line.text.split()):
            start = line.text.index(text, at)
            at = start + len(text)
            words.append(Word(text, n / 4, (n + 1) / 4, start, at))
        sha = f"{abs(hash(line.key)):064x}"[:64]
        return Spoken(line.key, f"cache/speech/{sha}.wav", sha, len(words) * 12_000, 48_000, tuple(words), "test", "voice")


@pytest.fixture
def talking(tmp_path: Path) -> Talking:
    place = lab(tmp_path / "lab")
    return Talking(place.folder, place.fonts)


def film(*scenes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"width": 360, "height": 640, "fps": 30, "scenes": [{"id": f"s{n}", **scene} for n, scene in enumerate(scenes)], **more}


def say(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "voice", "text": text, **more}


def shown(prepared: Prepared, track: int = 0) -> list[tuple[str, int, int]]:
    return [(c.text, c.first, c.last) for c in prepared.plan.captions[track].captions]


def test_the_films_own_captions_show_every_voice_in_its_time(talking: Talking) -> None:
    document = film({"layers": [say("One two three")]}, {"layers": [say("four five", start=0.5)]}, captions={"style": "minimal"})
    prepared = talking.plan(document)
    # The first scene lasts 23 frames, 0.75 s, and takes its words with it; the second line begins half a second later.
    assert shown(prepared) == [("One two three", 0, 23), ("four five", 38, 53)]
    assert [(w.text, w.first, w.last) for w in prepared.plan.captions[0].captions[1].words] == [("four", 38, 46), ("five", 46, 53)]
    assert read_prepared(prepared_json(prepared)) == prepared


def test_a_layer_of_captions_takes_the_voice_that_it_names_and_a_list_of_its_own(talking: Talking) -> None:
    layers = [say("mine here", id="me"), say("not this", id="other"), {"type": "captions", "source": "me", "style": "subtitle"}]
    own = [{"text": "written by hand", "start": 0.5, "end": 1.0}]
    document = film({"duration": 2.0, "layers": [*layers, {"type": "captions", "source": own, "position": "top", "start": 0.5}]})
    prepared = talking.plan(document)
    assert [text for text, _, _ in shown(prepared, 0)] == ["mine here"]
    assert shown(prepared, 1) == [("written by hand", 30, 45)]


def test_pages_of_overlapping_scenes_are_never_up_together(talking: Talking) -> None:
    scene = {"layers": [say("a b c d e f g h i j"), {"type": "captions"}]}
    document = film(scene, {**scene, "transition": {"type": "fade", "duration": 1.0}})
    prepared = talking.plan(document)
    every = sorted((c.first, c.last) for track in prepared.plan.captions for c in track.captions)
    assert all(a[1] <= b[0] for a, b in zip(every, every[1:], strict=False))
    overlap = next(piece for piece in prepared.plan.pieces if piece.kind == "overlap")
    assert len(overlap.captions) >= 1


def test_captions_go_where_no_other_text_is(talking: Talking) -> None:
    def side(*texts: dict[str, Any], **more: Any) -> str:
        captions = {"type": "captions", **more}
        prepared = talking.plan(film({"layers": [say("hello you"), captions, *({"type": "text", "text": "Title", **text} for text in texts)]}))
        return prepared.plan.captions[0].captions[0].look.side

    low, middle, high = {"y": "74%"}, {"y": "50%"}, {"y": "25%"}
    assert side() == "bottom"
    assert side(high) == "bottom"
    assert side(low) == "center"
    assert side(low, middle) == "top"
    assert side(low, position="bottom") == "bottom"


@pytest.mark.parametrize(
    ("area", "preset", "clear"),
    [
        # Pixels of 1080x1920 that platforms draw over: left, top, right, bottom.
        ("shorts", None, (0, 0, 140, 480)), ("tiktok", None, (60, 130, 120, 370)), ("reels", None, (64, 268, 64, 672)),
        ("auto", "reels", (64, 268, 64, 672)), ("auto", "shorts", (0, 0, 140, 480)), ("auto", None, (108, 384, 108, 384)),
    ],
)  # fmt: skip
def test_the_safe_area_leaves_free_what_a_platform_covers(area: str, preset: str | None, clear: tuple[int, ...]) -> None:
    x, y, width, height = safe_box(area, Canvas(1080, 1920, Fraction(30)), preset)
    assert (x >= clear[0], y >= clear[1], 1080 - x - width >= clear[2] - 0.01, 1920 - y - height >= clear[3] - 0.01) == (True,) * 4
    assert x + width / 2 == pytest.approx(540)


def test_what_is_shown_obeys_the_style_and_the_text_keeps_its_words(talking: Talking) -> None:
    prepared = talking.plan(film({"layers": [say("Well, wait... done."), {"type": "captions", "style": "pop"}]}))
    caption = prepared.plan.captions[0].captions[0]
    assert [shown_text(word, caption.look) for word in caption.words] == ["WELL", "WAIT..."]
    assert caption.text == "Well, wait..."


def test_only_scenes_whose_captions_changed_are_rendered_again(talking: Talking) -> None:
    def keys(second: str) -> tuple[str, ...]:
        scenes = [{"duration": 2.0, "layers": [say(text)]} for text in ("one two", second, "five six")]
        return talking.plan(film(*scenes, captions={})).clip_keys

    before, after = keys("three four"), keys("three four five")
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


@pytest.mark.parametrize(
    ("captions", "at", "code"),
    [
        ({"source": "nobody"}, "/scenes/0/layers/1/source", "CAPTION_SOURCE_UNKNOWN"),
        ({"source": "nothere.srt"}, "/scenes/0/layers/1/source", "SOURCE_NOT_FOUND"),
        ({"source": [{"text": "a", "start": 2, "end": 1}]}, "/scenes/0/layers/1/source/0", "VALUE_OUT_OF_RANGE"),
        ({"style": "wobbly"}, "/scenes/0/layers/1/style", "VALUE_NOT_ALLOWED"),
        ({"fontFamily": "No Such Face"}, "/scenes/0/layers/1/fontFamily", "FONT_NOT_FOUND"),
        ({"source": [{"text": "\ue123", "start": 0, "end": 1}]}, "/scenes/0/layers/1/source", "GLYPH_MISSING"),
        ({"maxWords": 0}, "/scenes/0/layers/1/maxWords", "VALUE_OUT_OF_RANGE"),
    ],
)
def test_a_fault_is_named_at_its_place(talking: Talking, captions: dict[str, Any], at: str, code: str) -> None:
    with pytest.raises(MovieInvalid) as caught:
        talking.plan(film({"layers": [say("hello", id="me"), {"type": "captions", **captions}]}))
    assert [(problem.pointer, problem.code) for problem in caught.value.problems] == [(at, code)]


def test_captions_of_nothing_say_what_they_need(talking: Talking) -> None:
    with pytest.raises(MovieInvalid) as caught:
        talking.plan(film({"duration": 1.0, "layers": []}, captions={}))
    (problem,) = caught.value.problems
    assert (problem.pointer, problem.code) == ("/captions/source", "CAPTION_SOURCE_UNKNOWN")
    assert "add a voice layer" in problem.message


# ---- beside the film -------------------------------------------------------------------------------------------------


def test_caption_files_say_what_the_film_shows_and_give_the_same_film_when_they_come_back(talking: Talking) -> None:
    """Also when a word was changed by hand: that word, and nothing else."""
    scenes = [{"layers": [say("One two, three {four} five. Six!")]}, {"layers": [say("seven 今天 eight")]}]
    first = talking.plan(film(*scenes, captions={"style": "karaoke"}))
    sheets = sheets_of(first.plan.captions, first.plan.canvas, "A\ntitle")
    assert sorted(sheets) == ["captions.ass", "captions.json", "captions.srt", "captions.vtt"]
    shown_first = [(c.text, c.first, c.last) for c in first.plan.captions[0].captions]
    for name in ("captions.srt", "captions.vtt", "captions.ass"):
        cues = read_captions(sheets[name], name)
        assert [cue.text for cue in cues] == [text for text, _, _ in shown_first], name
        (talking.folder / name).write_bytes(sheets[name])
        again = talking.plan(film(*scenes, captions={"style": "karaoke", "source": name}))
        assert shown(again) == shown_first, name
        if name != "captions.srt":
            assert again.clip_keys == first.clip_keys, name
        (talking.folder / f"edited-{name}").write_bytes(sheets[name].replace(b"seven", b"SEVEN"))
        edited = talking.plan(film(*scenes, captions={"style": "karaoke", "source": f"edited-{name}"}))
        assert [text for text, _, _ in shown(edited)] == [text.replace("seven", "SEVEN") for text, _, _ in shown_first]


def test_an_srt_of_somebody_elses_keeps_its_cues_and_lines(talking: Talking) -> None:
    srt = (
        "1\n00:00:00,000 --> 00:00:01,500\nThis cue was written by somebody\nwho likes two lines of many words\n\n"
        "2\n00:00:02,000 --> 00:00:02,400\nand a short one\n"
    )
    (talking.folder / "own.srt").write_text(srt)
    prepared = talking.plan(film({"duration": 3.0, "layers": [{"type": "captions", "source": "own.srt", "style": "subtitle"}]}))
    assert shown(prepared) == [
        ("This cue was written by somebody\nwho likes two lines of many words", 0, 45),
        ("and a short one", 60, 72),
    ]
    back = read_captions(sheets_of(prepared.plan.captions, prepared.plan.canvas, "")["captions.srt"])
    assert [cue.text for cue in back] == [cue.text for cue in read_captions(srt.encode())]


def test_a_scenes_part_of_the_plan_brings_the_fonts_of_its_captions(talking: Talking) -> None:
    """The step that renders it has this part alone."""
    shutil.copy(talking.fonts.find("Heebo").path, talking.folder / "own.ttf")
    scenes = [{"layers": [say("one two")]}, {"duration": 1.0, "layers": [{"type": "shape"}]}]
    prepared = talking.plan(film(*scenes, captions={"fontUrl": "own.ttf"}))
    first, second = parts_of(prepared)
    font = prepared.plan.captions[0].captions[0].look.font_sha
    assert set(first.plan.sources) == {font}
    assert first.plan.pieces[0].captions
    assert (first.plan.captions, second.plan.sources) == ((), {})
