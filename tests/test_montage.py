"""Films that a plan asks for, before anything runs: what they look like as movies, what is refused and where, and that words stay words."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.errors import MovieInvalid, Problem
from viralsync_pipelines.generate.captioning import Caption, Limits, SrtInvalid, grouped, one_by_one, read_srt
from viralsync_pipelines.generate.film_params import Narrate, Subtitles
from viralsync_pipelines.generate.film_sources import source_of, with_sources
from viralsync_pipelines.generate.layering import read_placement
from viralsync_pipelines.generate.markers import Marker
from viralsync_pipelines.generate.materials import Material, literal
from viralsync_pipelines.generate.montage import check_film, film_of
from viralsync_pipelines.generate.provider import CallFailed
from viralsync_pipelines.generate.subtitles import STYLES, captions_of
from viralsync_pipelines.generate.utterances import order_of, paragraphs
from viralsync_pipelines.movie.spec import read_movie
from viralsync_pipelines.movie.templates import expand
from viralsync_pipelines.speech.narration import narration_of
from viralsync_pipelines.speech.order import read_order

SHA = "ab" * 32


def faults(operation: str, **params: Any) -> dict[str, str]:
    """Pointer -> code of what is wrong."""
    found: list[Problem] = check_film(operation, params, "/jobs/0/params")
    assert all(each.pointer.startswith("/jobs/0/params") for each in found)
    return {each.pointer.removeprefix("/jobs/0/params"): each.code for each in found}


def film(operation: str, known: dict[str, Material] | None = None, **params: Any) -> dict[str, Any]:
    """The movie of right params, which a movie reader takes as it is."""
    assert faults(operation, **params) == {}
    movie, _ = film_of(operation, params, known or {})
    expansion = expand(movie, {}, {})
    assert not expansion.problems
    if not expansion.pending:
        assert read_movie(expansion.document).problems == []
    return movie


# ---- merge -----------------------------------------------------------------------------------------------------------


def test_merge_plays_pictures_and_clips_in_order_with_sounds_at_their_offsets() -> None:
    sound = {"url": "https://x.example/a.mp3", "offset": 1.5, "volume": 0.4}
    movie = film("merge", items=["$clip", {"url": "https://x.example/p.png"}, sound, {"url": "$last", "duration": 2, "volume": 0}])
    assert [scene["layers"][0]["src"] for scene in movie["scenes"]] == ["$clip", "https://x.example/p.png", "$last"]
    # A still lasts a second; a clip its own length, or less.
    assert [scene["duration"] for scene in movie["scenes"]] == ["auto", 1.0, "auto"]
    assert movie["scenes"][2]["layers"][0]["duration"] == 2.0
    assert movie["layers"] == [{"type": "audio", "src": "https://x.example/a.mp3", "volume": 0.4, "start": 1.5}]
    assert movie["audio"] == {"loudness": None}


def test_a_transition_leads_into_every_scene_but_the_first_unless_an_item_has_its_own() -> None:
    items = ["$a", {"url": "$b", "transition": {"type": "cut"}}, "$c"]
    movie = film("merge", items=items, transition={"type": "wipeleft", "duration": 0.3})
    assert [scene.get("transition", {}).get("type") for scene in movie["scenes"]] == [None, "cut", "wipeleft"]


def test_what_another_job_made_tells_its_kind_and_the_films_size() -> None:
    known = {"resource:media/x.png": Material("image", 1280, 720), "job:job_0123456789ab": Material("video", 640, 360, 2.0)}
    movie = film("merge", known, items=["resource:media/x.png", "job:job_0123456789ab"])
    assert [scene["layers"][0]["type"] for scene in movie["scenes"]] == ["image", "video"]
    assert (movie["width"], movie["height"]) == (1280, 720)
    assert [film("merge", items=["$a"])[side] for side in ("width", "height")] == [1080, 1920]
    assert [film("merge", items=["$a"], preset="square", fps=24)[name] for name in ("width", "height", "fps")] == [1080, 1080, 24]
    small = {"s": Material("video", 101, 55)}
    assert [film("merge", small, items=[{"url": "s", "type": "video"}])[side] for side in ("width", "height")] == [662, 360]
    half = film("merge", known, items=["job:job_0123456789ab"], output={"width": 720})
    assert (half["width"], half["height"]) == (720, 404)


def test_merge_names_every_fault_at_its_place() -> None:
    items = ["$", "data:x", {"url": "https://x.example/a", "volume": 5}, {"url": "https://x.example/a.png", "offset": 1}, {"urll": 1}, 3]
    assert faults("merge", items=items, transition={"type": "fadx"}, width=361) == {
        "/items/0": "SOURCE_REFUSED", "/items/1": "SOURCE_REFUSED", "/items/2/volume": "VALUE_OUT_OF_RANGE", "/items/4/url": "FIELD_MISSING",
        "/items/4/urll": "FIELD_UNKNOWN", "/items/5": "TYPE_WRONG", "/transition/type": "VALUE_NOT_ALLOWED", "/width": "VALUE_OUT_OF_RANGE",
    }  # fmt: skip
    loose = [{"url": "https://x.example/a"}, {"url": "https://x.example/a.png", "offset": 1}]
    assert faults("merge", items=loose) == {"/items/0/type": "FIELD_MISSING", "/items/1/offset": "VALUE_NOT_ALLOWED"}
    assert faults("merge", items=["https://x.example/a.mp3"]) == {"/items": "FIELD_MISSING"}
    assert faults("merge") == {"/items": "FIELD_MISSING"}
    with pytest.raises(MovieInvalid):
        film_of("merge", {"items": []}, {})


# ---- layer -----------------------------------------------------------------------------------------------------------


def test_layers_lie_over_one_another_and_the_main_one_ends_the_film() -> None:
    layers = [
        {"media": "$ground"}, {"url": "$speaker", "main": True, "placement": "w-1/4 bottom-right", "chromaKey": True, "similarity": 0.2},
        {"media": "_audioJobDependency:bed", "volume": 0.2, "loop": True},
    ]  # fmt: skip
    movie = film("layer", layers=layers, output={"width": 1000, "height": 1000})
    (scene,) = movie["scenes"]
    ground, speaker, bed = scene["layers"]
    assert scene["duration"] == "{{ main.end }}"
    assert (ground["duration"], bed["duration"], "duration" in speaker) == ("scene", "scene", False)
    assert (speaker["width"], speaker["anchor"], speaker["x"], speaker["y"]) == ("25%", "bottom-right", "960", "960")
    assert speaker["chromaKey"] == {"color": "#00ff00ff", "similarity": 0.2}
    assert (bed["type"], bed["loop"], bed["volume"]) == ("audio", True, 0.2)


def test_a_length_comes_from_the_output_the_longest_layer_or_the_stills() -> None:
    still, clip = {"media": "https://x.example/p.png"}, {"media": "https://x.example/c.mp4"}
    assert film("layer", layers=[still, clip])["scenes"][0]["duration"] == "auto"
    assert film("layer", layers=[still, clip], output={"duration": 3})["scenes"][0]["duration"] == 3
    assert film("layer", layers=[still])["scenes"][0]["duration"] == 1.0
    assert film("layer", layers=[{**still, "duration": 2.5}, still])["scenes"][0]["duration"] == 2.5
    assert film("layer", layers=[{**still, "main": True, "duration": 2}, clip])["scenes"][0]["duration"] == 2


def test_placements_in_words_and_in_numbers() -> None:
    assert read_placement("w-1/4 bottom-right") == ({"width": 25.0}, "bottom-right")
    assert read_placement("w-full h-50%") == ({"width": 100.0, "height": 50.0}, "center")
    assert [read_placement(words) for words in ("w-5/4", "w-1/0", "top top", "w-1/2 w-1/3", "somewhere", "")] == [None] * 6
    box = {"x": 10, "y": "5%", "width": 100}
    layers = [{"media": "$a", "placement": where} for where in ("full", "center", "pip", box)]
    full, center, pip, own = film("layer", layers=layers, output={"preset": "square"})["scenes"][0]["layers"]
    assert (full["width"], full["height"], center["fit"]) == ("100%", "100%", "contain")
    assert (pip["width"], pip["anchor"]) == ("25%", "bottom-right")
    assert {name: own[name] for name in ("x", "y", "width", "anchor")} == {"x": "10", "y": "5%", "width": "100", "anchor": "top-left"}
    assert "height" not in own


def test_layer_names_every_fault_at_its_place() -> None:
    two = [{"media": "$a", "main": True, "loop": True}, {"media": "$b", "main": True, "placement": "nowhere"}]
    assert faults("layer", layers=two) == {
        "/layers/0/loop": "VALUE_NOT_ALLOWED", "/layers/1/main": "VALUE_NOT_ALLOWED", "/layers/1/placement": "VALUE_NOT_ALLOWED",
    }  # fmt: skip
    assert faults("layer", layers=[{"media": "https://x.example/a.mp3"}]) == {"/layers": "FIELD_MISSING"}
    assert faults("layer", layers=[{"media": "$a", "chromaKey": {"color": "grene"}}]) == {"/layers/0/chromaKey/color": "COLOR_INVALID"}


# ---- addSubtitles ----------------------------------------------------------------------------------------------------

SPOKEN = ("One", "two", "three.", "Four", "five", "six", "seven")
TALK = [{"word": word, "start": n * 0.3, "end": n * 0.3 + 0.3} for n, word in enumerate(SPOKEN)]


@pytest.mark.parametrize("style", sorted(STYLES))
def test_every_style_makes_a_movie_with_its_captions_over_the_video(style: str) -> None:
    movie = film("addSubtitles", {"$v": Material("video", 720, 1280, 9.0)}, video="$v", words=TALK, style=style)
    video, *texts = movie["scenes"][0]["layers"]
    assert (video["fit"], movie["width"], movie["height"]) == ("contain", 720, 1280)
    assert " ".join(each["text"] for each in texts) == "One two three. Four five six seven"
    assert texts[0]["text"] == "One two three."


def test_limits_that_are_asked_for_alone_decide() -> None:
    four = film("addSubtitles", video="$v", words=TALK, wordsPerCaption=4)["scenes"][0]["layers"][1:]
    assert [each["text"] for each in four] == ["One two three.", "Four five six seven"]
    short = film("addSubtitles", video="$v", words=TALK, charactersPerCaption=9)["scenes"][0]["layers"][1:]
    assert [each["text"] for each in short] == ["One two", "three.", "Four five", "six seven"]


def test_an_srt_keeps_its_own_captions_and_lines() -> None:
    srt = "\ufeff1\r\n00:00:01,000 --> 00:00:02,000\r\nHi <i>you</i>\r\nthere\r\n\r\n2\r\n00:00:02,000 --> 00:01:03,500 align:start\r\n{\\an8}ok\r\n"
    assert read_srt(srt) == [Caption("Hi you\nthere", 1.0, 2.0), Caption("ok", 2.0, 63.5)]
    assert read_srt("WEBVTT\n\n00:01.000 --> 00:02.5\nhi") == [Caption("hi", 1.0, 2.5)]
    with pytest.raises(SrtInvalid, match="line 2"):
        read_srt("1\n00:00:0a --> 00:00:02,000\nHi")
    assert faults("addSubtitles", video="$v", srt="nothing") == {"/srt": "SRT_INVALID"}


def test_segments_are_cut_by_their_letters_and_end_where_the_film_ends() -> None:
    asked = Subtitles.model_validate({"video": "v", "segments": [{"text": "aa bb cc dd ee", "start": 0, "end": 5}], "wordsPerCaption": 2})
    assert [(each.text, each.start, each.end) for each in captions_of(asked, until=3.5)] == [("aa bb", 0, 2), ("cc dd", 2, 3.5)]


@pytest.mark.parametrize(("highlight", "look"), [("color", "karaoke"), ("scale", "pop")])
@pytest.mark.parametrize("style", sorted(STYLES))
def test_words_are_lit_as_they_are_said_when_that_is_asked_for(style: str, highlight: str, look: str) -> None:
    movie = film("addSubtitles", {"$v": Material("video", 720, 1280, 9.0)}, video="$v", words=TALK, style=style, highlight=highlight)
    _, captions = movie["scenes"][0]["layers"]
    assert (captions["type"], captions["style"]) == ("captions", look)
    assert " ".join(each["text"] for each in captions["source"]) == "One two three. Four five six seven"
    told = [(word["text"], word["start"]) for each in captions["source"] for word in each["words"]]
    assert told == [(word["word"], round(word["start"], 3)) for word in TALK]
    many = [{"word": f"w{n}", "start": n, "end": n + 0.5} for n in range(400)]
    assert faults("addSubtitles", video="$v", words=many, wordsPerCaption=1, highlight=highlight) == {}


def test_more_captions_than_a_scene_holds_lie_over_the_movie_and_too_many_are_refused() -> None:
    words = [{"word": f"w{n}", "start": n, "end": n + 0.5} for n in range(400)]
    movie = film("addSubtitles", video="$v", words=words[:300], wordsPerCaption=1)
    assert (len(movie["scenes"][0]["layers"]), len(movie["layers"])) == (200, 101)
    assert faults("addSubtitles", video="$v", words=words, wordsPerCaption=1) == {"/words": "TOO_MANY"}


def test_subtitles_name_every_fault_at_its_place() -> None:
    assert faults("addSubtitles", video="$v") == {"/words": "FIELD_MISSING"}
    assert faults("addSubtitles", video="$v", words=TALK, srt="x") == {"/srt": "VALUE_NOT_ALLOWED"}
    assert faults("addSubtitles", video="$v", words="$voice") == {}
    assert faults("addSubtitles", video="$v", words="voice") == {"/words": "VALUE_NOT_ALLOWED"}
    wrong = [{"word": "a", "start": 2, "end": 1}, {"word": "b", "start": 3, "end": 4}, {"word": "c", "start": 1, "end": 4}]
    assert faults("addSubtitles", video="https://x.example/a.png", words=wrong, highlight="glow") == {
        "/video": "VALUE_NOT_ALLOWED", "/highlight": "VALUE_NOT_ALLOWED", "/words/0/start": "VALUE_OUT_OF_RANGE",
        "/words/2/start": "VALUE_OUT_OF_RANGE",
    }  # fmt: skip


WORDS = st.lists(
    st.tuples(st.text("ab.!{ }é\n", min_size=1, max_size=8).filter(str.strip), st.floats(0, 3), st.floats(0, 2)), min_size=1, max_size=40
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(WORDS, st.integers(1, 6), st.floats(0.2, 5), st.integers(1, 30), st.none() | st.floats(0.1, 60))
def test_captions_never_meet_and_no_word_is_lost(words: Any, most: int, seconds: float, letters: int, until: float | None) -> None:
    at, spoken = 0.0, []
    for text, gap, length in words:
        at += gap
        spoken.append(Caption(text.strip(), at, at + length))
    groups = grouped(spoken, Limits(most, seconds, letters))
    shown = one_by_one(groups, until)
    assert all(round(each.end - each.start, 3) > 0 for each in shown)
    assert all(a.end <= b.start for a, b in itertools.pairwise(shown))
    if until is None:
        assert " ".join(each.text for each in shown) == " ".join(each.text for each in spoken)
    else:
        assert all(each.end <= round(until, 3) for each in shown)


@settings(max_examples=80, deadline=None)
@given(st.text("{}\\ ax\"'", max_size=20))
def test_words_of_users_never_become_expressions(text: str) -> None:
    """Whatever braces and backslashes they have, they are drawn as they were written."""
    document = {"scenes": [{"id": "s", "duration": 1, "layers": [{"type": "text", "text": literal(text)}]}]}
    expansion = expand(document, {"a": "spent", "x": "spent"}, {})
    assert (expansion.problems, expansion.pending) == ((), ())
    assert expansion.document["scenes"][0]["layers"][0]["text"] == text


def test_braces_in_words_addresses_and_variables_are_kept() -> None:
    word = {"word": "{{", "start": 0, "end": 1}
    assert film("addSubtitles", video="$v", words=[word])["scenes"][0]["layers"][1]["text"] == "\\{{"
    assert film("merge", items=["https://x.example/{{a}}.png"])["scenes"][0]["layers"][0]["src"] == "https://x.example/\\{{a}}.png"
    own = {"variables": {"a": 1, "b": 2}, "scenes": [{"id": "s", "duration": "{{ b }}", "layers": [{"type": "text", "text": "{{ a }}"}]}]}
    movie = film("render", movie=own, variables={"a": "{{ b }}"})
    assert expand(movie, {}, {}).document["scenes"][0]["layers"][0]["text"] == "{{ b }}"


# ---- render, narrate, and what they are made from --------------------------------------------------------------------


def test_render_takes_a_movie_with_markers_and_names_its_faults_inside_of_it() -> None:
    good = {"scenes": [{"id": "s", "duration": 1, "layers": [{"type": "image", "src": "$still"}]}]}
    assert film_of("render", {"movie": good, "draft": True}, {}) == (good, True)
    bad = {"scenes": [{"id": "s", "layers": [{"type": "image", "src": "$still"}, {"type": "txt"}]}, {"id": "s", "duration": "{{ no }}"}]}
    assert faults("render", movie=bad) == {
        "/movie/scenes/0/layers/1/type": "LAYER_TYPE_UNKNOWN", "/movie/scenes/1/duration": "EXPRESSION_ERROR",
        "/movie/scenes/1/id": "SCENE_ID_DUPLICATE",
    }  # fmt: skip
    assert faults("render") == {"/movie": "FIELD_MISSING"}
    assert faults("render", movie={**good, "variables": 3}, variables={"a": 1}).keys() >= {"/movie/variables"}


def test_narrations_are_checked_and_split_into_lines() -> None:
    assert faults("narrate") == faults("narrate", text="a", lines=["b"]) == {"/text": "FIELD_MISSING"}
    assert faults("narrate", lines=["a", " ", {"text": "x", "speed": 9}]) == {"/lines/2/speed": "VALUE_OUT_OF_RANGE"}
    assert faults("narrate", lines=["a", " "]) == {"/lines/1/text": "FIELD_MISSING"}
    asked = {"lines": ["a", {"text": "b", "voice": "v", "pauseAfter": 2}, "c"], "speed": 1.5, "gap": 0.5}
    narration = narration_of(read_order(order_of(Narrate.model_validate(asked))))
    assert [(each.line.text, each.line.voice, each.line.speed, each.pause) for each in narration.lines] == [
        ("a", None, 1.5, 0.5), ("b", "v", 1.5, 2.0), ("c", None, 1.5, 0.0),
    ]  # fmt: skip
    assert paragraphs("one\n\n  two  \n") == ["one", "two"]


@settings(max_examples=25, deadline=None)
@given(st.text("ab .", max_size=60), st.integers(1, 100) | st.just(300))
def test_long_paragraphs_are_cut_and_nothing_of_them_is_lost(text: str, times: int) -> None:
    cut = paragraphs(text * times)
    assert all(0 < len(each) <= 4_000 for each in cut)
    assert "".join("".join(cut).split()) == "".join((text * times).split())


NEAR: dict[str, dict[str, Any]] = {
    "still": {"outputs": [{"type": "image", "key": f"media/ab/{SHA}.png", "url": "u", "width": 8, "height": 6}, {"type": "image", "url": "v"}]},
    "film": {"outputs": [{"type": "video", "key": "outputs/job_0123456789ab/output.mp4", "url": "u", "duration": 2.0}]},
    "voice": {"outputs": [{"type": "audio", "key": f"media/ab/{SHA}.wav", "url": "u"}, {"type": "transcript", "key": "t", "url": "w"}]},
    "tts": {"outputs": [{"type": "audio", "url": "u"}], "extra": {"words": [{"text": "hey", "start": 0, "end": 1}, {"text": "", "start": 1}]}},
}  # fmt: skip


def test_markers_become_sources_by_content_or_by_the_films_job() -> None:
    params = {"items": ["$still", "$still.outputs[1]", {"url": "_videoJobDependency:film"}, {"url": "$voice"}], "title": "$still"}
    filled, known = with_sources(params, NEAR, lambda _: b"")
    assert filled["items"] == [f"resource:media/ab/{SHA}.png", "v", {"url": "job:job_0123456789ab"}, {"url": f"resource:media/ab/{SHA}.wav"}]
    assert known["job:job_0123456789ab"] == Material("video", None, None, 2.0)
    assert known[f"resource:media/ab/{SHA}.png"] == Material("image", 8, 6)
    with pytest.raises(CallFailed, match="still has 0 video outputs"):
        source_of(NEAR, Marker("still", media="video"))


def test_a_marker_for_words_becomes_the_words_that_a_voice_gave() -> None:
    told = b'{"words": [{"word": "hello", "start": 0.1, "end": 0.4}]}'
    filled, _ = with_sources({"video": "$film", "words": "$voice"}, NEAR, {"t": told}.__getitem__)
    assert filled["words"] == [{"word": "hello", "start": 0.1, "end": 0.4}]
    assert with_sources({"transcript": "_transcriptJobDependency:tts"}, NEAR, lambda _: b"")[0]["transcript"] == [
        {"word": "hey", "start": 0.0, "end": 1.0}
    ]
    with pytest.raises(CallFailed, match="gives no words"):
        with_sources({"words": "$film"}, NEAR, lambda _: b"")
