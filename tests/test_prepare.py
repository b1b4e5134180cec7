"""From a document with files, voices and measured times to a plan; and every problem of it in one reply, in the author's own places."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.films import ffmpeg
from viralsync_pipelines.errors import MovieInvalid, Problem, SpeechError
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.render.fonts import open_font_book
from viralsync_pipelines.render.gather import MAX_SOURCES, MAX_SPOKEN_CHARS
from viralsync_pipelines.render.prepare import Desk, Prepared, movie_id_of, prepare, prepared_json, read_prepared, read_spec, settle
from viralsync_pipelines.render.shelf import Shelf
from viralsync_pipelines.render.sources import Sources
from viralsync_pipelines.storage.local import LocalStore

FONTS = open_font_book(())


@dataclass
class Studio:
    """A folder of media, and an engine that speaks a tenth of a second for each character and remembers what it was asked."""

    folder: Path
    said: list[str] = field(default_factory=list)

    def speak(self, line: Line) -> Spoken:
        self.said.append(line.text)
        if line.voice == "nobody":
            raise SpeechError("there is no voice 'nobody'; take another", code="VOICE_NOT_FOUND")
        if line.engine == "steam":
            raise SpeechError("there is no engine 'steam'; take another", code="ENGINE_NOT_FOUND")
        sha = hashlib.sha256(line.key.encode()).hexdigest()
        return Spoken(line.key, f"cache/speech/{sha}.wav", sha, len(line.text) * 2205, 22_050, (), "test", "voice")

    @property
    def desk(self) -> Desk:
        cache, store = self.folder / ".sources", LocalStore(self.folder / ".store")
        bench = Sources(cache=cache, store=store, allow_local=True, base_dir=self.folder)
        return Desk(bench, FONTS, self.speak, Shelf(store, cache))

    def prepare(self, document: Mapping[str, Any], variables: Mapping[str, Any] | None = None, *, draft: bool = False) -> Prepared:
        return prepare(document, self.desk, variables=variables or {}, draft=draft)

    def refused(self, document: Mapping[str, Any], variables: Mapping[str, Any] | None = None) -> list[Problem]:
        with pytest.raises(MovieInvalid) as caught:
            self.prepare(document, variables)
        return list(caught.value.problems)


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prepare-media")
    Image.new("RGB", (64, 48), "red").save(folder / "a.png")
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=30:d=2", "-c:v", "libx264", "-pix_fmt", "yuv420p", folder / "a.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=3", folder / "a.wav")
    (folder / "not-a-font.ttf").write_bytes(b"<html>no</html>")
    return folder


@pytest.fixture
def studio(media: Path, tmp_path: Path) -> Studio:
    folder = tmp_path / "movie"
    shutil.copytree(media, folder)
    return Studio(folder)


def movie(*scenes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"width": 360, "height": 640, "scenes": list(scenes), **more}


def scene(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"layers": list(layers), **more}


def voice(text: str, **more: Any) -> dict[str, Any]:
    return {"type": "voice", "text": text, **more}


def text(said: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": said, **more}


def found(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.pointer, problem.code) for problem in problems]


# Measured times.


def test_expressions_know_when_a_voice_ends_and_what_follows_from_it(studio: Studio) -> None:
    document = movie(
        scene(
            voice("ten digits", id="vo", start=0.5),
            text("now", start="{{ vo.end }}", duration="{{ vo.duration / 2 }}", id="now"),
            text("then", start="{{ now.end + 0.5 }}", id="then"),
            id="hook", duration="{{ then.start + 1 }}",
        ),
        scene(text("at {{ hook.duration }} s"), duration="{{ hook.duration }}"),
    )  # fmt: skip
    plan = studio.prepare(document).plan
    assert [s.frames for s in plan.scenes] == [105, 105]
    shown = [(v.first, v.last) for v in plan.pieces[0].visuals]
    assert shown == [(45, 60), (75, 105)]
    words = {v.content.text for p in plan.pieces for v in p.visuals}  # type: ignore[union-attr]
    assert "at 3.5 s" in words


def test_a_long_chain_of_times_is_followed_to_its_end(studio: Studio) -> None:
    layers = [text("0", id="t0", start=0, duration=0.1)]
    layers += [text(str(n), id=f"t{n}", start=f"{{{{ t{n - 1}.end }}}}", duration=0.1) for n in range(1, 40)]
    plan = studio.prepare(movie(scene(*layers, id="s", duration=5))).plan
    assert sorted(v.first for v in plan.pieces[0].visuals) == [3 * n for n in range(40)]


def test_what_is_said_and_shown_may_depend_on_times(studio: Studio) -> None:
    """A required field that waits is neither a fault nor ever fetched, spoken or drawn before it is known."""
    document = movie(
        scene(
            voice("ten digits", id="vo"),
            {"type": "image", "src": "{{ 'a.png' if vo.duration < 5 else 'missing.png' }}"},
            text("{{ vo.duration }} s", shadow={"blur": "{{ vo.end }}"}, gradient={"colors": ["red", "blue"], "angle": "{{ vo.end }}"}),
            voice("it took {{ vo.duration }}", start="{{ vo.end }}"),
            id="a",
        )
    )  # fmt: skip
    plan = studio.prepare(document).plan
    assert sorted(studio.said) == ["it took 1", "ten digits"]
    assert plan.frames == 30 + 27
    drawn = next(v.content for v in plan.pieces[0].visuals if hasattr(v.content, "text"))
    assert (drawn.text, drawn.shadow.blur, drawn.paint.angle) == ("1 s", 1, 1)


def test_a_condition_on_a_time_keeps_or_drops_its_scene(studio: Studio) -> None:
    long = scene(voice("ten digits", id="vo"), id="a"), scene(id="b", duration=1, condition="vo.duration > 0.5")
    short = scene(voice("short", id="vo"), id="a"), scene(id="b", duration=1, condition="vo.duration > 0.5")
    assert [s.id for s in studio.prepare(movie(*long)).plan.scenes] == ["a", "b"]
    assert [s.id for s in studio.prepare(movie(*short)).plan.scenes] == ["a"]


def test_a_title_may_begin_before_the_end_of_a_scene_that_is_as_long_as_its_voice(studio: Studio) -> None:
    layers = [voice("twenty digits of text"), text("bye", start="{{ s.duration - 1 }}"), text("late", id="late", start="{{ s.end - 0.5 }}")]
    plan = studio.prepare(movie(scene(*layers, id="s"))).plan
    assert plan.frames == 63
    assert [(v.first, v.last) for v in plan.pieces[0].visuals] == [(33, 63), (48, 63)]


def test_a_circle_of_times_is_told_at_each_of_its_places(studio: Studio) -> None:
    circle = text("x", id="a", start="{{ b.end }}", duration=1), text("y", id="b", start="{{ a.end }}", duration=1)
    document = movie(scene(*circle, duration=3))
    problems = studio.refused(document)
    assert found(problems) == [("/scenes/0/layers/0/start", "EXPRESSION_ERROR"), ("/scenes/0/layers/1/start", "EXPRESSION_ERROR")]
    assert "circle" in problems[0].message
    own = movie(scene(text("x", id="a", start="{{ s.duration }}"), id="s", duration="{{ a.start + 1 }}"))
    assert {code for _, code in found(studio.refused(own))} == {"EXPRESSION_ERROR"}


def test_an_auto_scene_waits_for_a_voice_whose_text_is_not_known_yet(studio: Studio) -> None:
    first, second = scene(voice("ten digits", id="vo"), id="a"), scene(voice("{{ a.duration }}"), id="b")
    document = movie(first, second, scene(text("{{ b.end }}"), duration=1))
    assert studio.prepare(document).plan.frames == 30 + 3 + 30


# Repetition and variables, to the end.


def test_scenes_are_repeated_dropped_and_filled(studio: Studio) -> None:
    document = movie(
        scene(text("{{ item.name }}: {{ item.price }}"), id="card", iterate="{{ items }}", duration="{{ item.price / 10 }}"),
        scene(text("x"), id="gone", condition="{{ False }}", duration=1),
        variables={"items": [{"name": "a", "price": 10}, {"name": "b", "price": 20}]},
    )
    plan = studio.prepare(document).plan
    assert [(s.id, s.frames, s.pointer) for s in plan.scenes] == [("card_1", 30, "/scenes/0"), ("card_2", 60, "/scenes/0")]
    one = studio.prepare(document, {"items": [{"name": "c", "price": 5}]}).plan
    assert [s.frames for s in one.scenes] == [15]


def test_settling_gives_the_document_without_templates(studio: Studio) -> None:
    document = movie(scene(voice("ten digits", id="vo"), text("{{ vo.end }}"), id="s", iterate=[1, 2]))
    settled = settle(document, studio.desk, variables={})
    assert [s["id"] for s in settled["scenes"]] == ["s_1", "s_2"]
    assert settled["scenes"][1]["layers"][1]["text"] == "1"
    assert "{{" not in json.dumps(settled)
    assert [p.count for p in studio.prepare(settled).plan.pieces] == [p.count for p in studio.prepare(document).plan.pieces]


# Every problem at once, at its own place.


def test_form_files_speech_fonts_and_lengths_are_told_in_one_reply(studio: Studio) -> None:
    document = movie(
        scene(text("ok", colour="red"), {"type": "image", "src": "missing.png"}, text("x", fontFamily="No Such Family"), duration=1),
        scene(voice("hi", voice="nobody"), {"type": "video", "src": "../outside.mp4"}, text("\uf8fe"), duration=1),
        layers=[{"type": "text", "text": "brand", "fontUrl": "not-a-font.ttf"}, voice("x", engine="steam"), text("{{ nope }}")],
        fps=0,
    )
    assert found(studio.refused(document)) == [
        ("/fps", "VALUE_OUT_OF_RANGE"),
        ("/layers/0/fontUrl", "SOURCE_REFUSED"),
        ("/layers/1/engine", "ENGINE_NOT_FOUND"),
        ("/layers/2/text", "EXPRESSION_ERROR"),
        ("/scenes/0/layers/0/colour", "FIELD_UNKNOWN"),
        ("/scenes/0/layers/1/src", "SOURCE_NOT_FOUND"),
        ("/scenes/0/layers/2/fontFamily", "FONT_NOT_FOUND"),
        ("/scenes/1/layers/0/voice", "VOICE_NOT_FOUND"),
        ("/scenes/1/layers/1/src", "SOURCE_REFUSED"),
        ("/scenes/1/layers/2/text", "GLYPH_MISSING"),
    ]


def test_a_missing_file_hides_no_other_problem_of_the_whole(studio: Studio) -> None:
    document = movie(
        scene({"type": "video", "src": "missing.mp4"}, id="a"), scene(duration=1, id="b"),
        scene({"type": "image", "src": "a.mp4"}, duration=1, transition={"duration": 2}, id="c"), scene(text("x"), id="d"),
    )  # fmt: skip
    assert found(studio.refused(document)) == [
        ("/scenes/0/layers/0/src", "SOURCE_NOT_FOUND"),
        ("/scenes/2/layers/0/src", "SOURCE_UNREADABLE"),
        ("/scenes/2/transition/duration", "TRANSITION_TOO_LONG"),
        ("/scenes/3/duration", "DURATION_UNKNOWN"),
    ]


def test_a_fault_of_form_hides_no_fault_of_length_elsewhere(studio: Studio) -> None:
    document = movie(
        scene(text("x", colour="red"), id="a"), scene(duration=1, id="b"), scene(duration="long", id="c"), scene(id="d"),
        scene(duration=1, transition={"duration": 2}, id="e"), {"id": "f", "duration": 1, "layers": [{"type": "voice"}], "nope": 1},
    )  # fmt: skip
    assert found(studio.refused(document)) == [
        ("/scenes/0/layers/0/colour", "FIELD_UNKNOWN"),
        ("/scenes/2/duration", "VALUE_NOT_ALLOWED"),
        ("/scenes/3/duration", "DURATION_UNKNOWN"),
        ("/scenes/4/transition/duration", "TRANSITION_TOO_LONG"),
        ("/scenes/5/layers/0", "FIELD_MISSING"),
        ("/scenes/5/nope", "FIELD_UNKNOWN"),
    ]


def test_problems_point_into_the_document_as_it_was_written(studio: Studio) -> None:
    """Through dropped layers, repeated scenes and values that an expression gave."""
    document = movie(
        scene(duration=1, condition=False),
        scene(
            text("x", condition=False), {"type": "image", "src": "{{ item }}"}, text("\uf8fe"),
            iterate="{{ files }}", duration=1, transition={"duration": 3},
        ),
        scene(duration="{{ long }}"), variables={"files": ["a.png", "missing.png"], "long": 9000},
    )  # fmt: skip
    assert found(studio.refused(document)) == [
        ("/scenes/1/layers/1/src", "SOURCE_NOT_FOUND"), ("/scenes/1/layers/2/text", "GLYPH_MISSING"),
        ("/scenes/1/transition/duration", "TRANSITION_TOO_LONG"), ("/scenes/2/duration", "VALUE_OUT_OF_RANGE"),
    ]  # fmt: skip


def test_a_length_that_an_expression_failed_to_give_is_not_also_unknown(studio: Studio) -> None:
    document = movie(scene(duration="{{ nope }}"), scene(duration=0.2, transition={"duration": "{{ nope }}"}))
    assert found(studio.refused(document)) == [
        ("/scenes/0/duration", "EXPRESSION_ERROR"),
        ("/scenes/1/transition/duration", "EXPRESSION_ERROR"),
    ]


def test_a_file_used_in_many_places_is_missed_in_each_of_them_and_spoken_lines_fail_once(studio: Studio) -> None:
    missing, unsaid = {"type": "image", "src": "missing.png"}, voice("x", voice="nobody")
    layers = [missing, missing, unsaid, unsaid]
    assert found(studio.refused(movie(scene(*layers, duration=1)))) == [
        ("/scenes/0/layers/0/src", "SOURCE_NOT_FOUND"),
        ("/scenes/0/layers/1/src", "SOURCE_NOT_FOUND"),
        ("/scenes/0/layers/2/voice", "VOICE_NOT_FOUND"),
    ]
    assert studio.said == ["x"]


def test_a_glyph_that_no_font_has_names_the_character_and_a_remedy(studio: Studio) -> None:
    (problem,) = studio.refused(movie(scene(text("\uf8fe"), duration=1)))
    assert "U+F8FE" in problem.message


def test_too_many_files_and_too_much_speech_are_refused_before_any_is_touched(studio: Studio) -> None:
    layers = [[{"type": "image", "src": f"{n}-{k}.png"} for k in range(200)] for n in range(MAX_SOURCES // 200 + 1)]
    assert found(studio.refused(movie(*(scene(*some, duration=1) for some in layers)))) == [("", "TOO_MANY_SOURCES")]
    lines = [scene(voice(f"{n:04d}" + "x" * 4_900), duration=1) for n in range(MAX_SPOKEN_CHARS // 4_900 + 1)]
    assert found(studio.refused(movie(*lines))) == [("", "TOO_MUCH_SPEECH")]
    assert studio.said == []


# Keys on real files.


def test_the_same_bytes_under_another_name_are_no_change_and_other_bytes_under_the_same_name_are(studio: Studio) -> None:
    before = studio.prepare(movie(scene({"type": "image", "src": "a.png"}, duration=1), scene(text("x"), duration=1)))
    (studio.folder / "a.png").rename(studio.folder / "b.png")
    renamed = studio.prepare(movie(scene({"type": "image", "src": "b.png"}, duration=1), scene(text("x"), duration=1)))
    assert (renamed.clip_keys, renamed.film_key) == (before.clip_keys, before.film_key)
    Image.new("RGB", (64, 48), "blue").save(studio.folder / "b.png")
    changed = studio.prepare(movie(scene({"type": "image", "src": "b.png"}, duration=1), scene(text("x"), duration=1)))
    assert [a == b for a, b in zip(changed.clip_keys, before.clip_keys, strict=True)] == [False, True]
    assert changed.film_key != before.film_key


def test_a_draft_has_keys_of_its_own_half_the_size_and_the_same_frames(studio: Studio) -> None:
    document = movie(scene(text("x"), duration=1), scene(text("y"), duration=1, transition={}))
    full, draft = studio.prepare(document), studio.prepare(document, draft=True)
    assert (draft.plan.canvas.width, draft.plan.canvas.height) == (180, 320)
    assert [p.count for p in draft.plan.pieces] == [p.count for p in full.plan.pieces]
    assert set(draft.clip_keys).isdisjoint(full.clip_keys)


def test_what_was_prepared_comes_back_from_json(studio: Studio) -> None:
    first = scene({"type": "video", "src": "a.mp4"}, voice("hello"), text("x", enter={"type": "pop"}))
    document = movie(first, scene(text("y"), duration=1.3))
    prepared = studio.prepare(document | {"fps": "30000/1001"})
    assert read_prepared(prepared_json(prepared)) == prepared
    assert prepared_json(read_prepared(prepared_json(prepared))) == prepared_json(prepared)


# Ids.


@pytest.mark.parametrize("wrong", ["../x", "a/b", "a\n", "", "x" * 65, ".", "..", "a b", 5, None, ["a"], "é"])
def test_an_id_that_is_none_never_names_anything(wrong: Any) -> None:
    assert movie_id_of({"id": wrong}).startswith("movie-")


def test_a_movie_without_an_id_is_named_by_its_content() -> None:
    assert movie_id_of({"scenes": []}) == movie_id_of({"scenes": []}) != movie_id_of({"scenes": [1]})
    assert movie_id_of({"id": "mine"}) == "mine"


def test_reading_the_form_alone_touches_no_file(studio: Studio) -> None:
    layers = [{"type": "image", "src": "missing.png"}, voice("{{ 1 + 1 }}", id="v"), text("{{ v.end }}")]
    spec, expansion = read_spec(movie(scene(*layers, duration=1)), {})
    assert spec.scenes[0].layers[1].text == "2"
    assert expansion.pending == ("/scenes/0/layers/2/text",)
    with pytest.raises(MovieInvalid):
        read_spec(movie(scene(duration=0)), {})


def test_what_follows_from_a_faulty_variable_is_told_at_the_variable_alone(studio: Studio) -> None:
    """The fields that use it are neither missing nor fetched, spoken or drawn."""
    image = {"type": "image", "src": "{{ a }}"}
    layers = [text("{{ a }}", shadow={"blur": "{{ a }}"}), voice("{{ a }}"), image, {"type": "shape", "x": "{{ a }}"}]
    document = movie(scene(*layers, duration=1), variables={"a": "{{ b }}", "b": "{{ a }}"})
    assert found(studio.refused(document)) == [("/variables/a", "EXPRESSION_ERROR")]
    assert studio.said == []
