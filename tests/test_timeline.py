"""Generations on a movie's timeline: where each goes, and that what comes of it is a movie that renders."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.defs.studio import made_by
from viralsync_pipelines.errors import MovieInvalid
from viralsync_pipelines.movie.timeline_edit import Media, Placed, add_to_timeline, new_movie
from viralsync_pipelines.render.prepare import read_spec
from viralsync_pipelines.storage.local import LocalStore

JOB = "job:job_a1b2c3d4e5f6"
PICTURE = Media("image", JOB, "gen", width=1024, height=1024)
CLIP = Media("video", JOB, "gen", 4.2345, 1280, 720)
SONG = Media("audio", JOB, "gen", 12.0)


def scene(name: str, duration: Any = 2, **more: Any) -> dict[str, Any]:
    return {"id": name, "duration": duration, "layers": [], **more}


def movie(*scenes: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"id": "film", "width": 640, "height": 360, "scenes": list(scenes), **more}


def names(placed: Placed) -> list[str]:
    return [each["id"] for each in placed.movie["scenes"]]


def read(document: dict[str, Any]) -> Any:
    return read_spec(document, {})[0]


@pytest.mark.parametrize(
    ("at", "order", "begins"),
    [(None, ["a", "b", "gen"], 4.0), (0, ["gen", "a", "b"], 0.0), (0.5, ["a", "gen", "b"], 2.0), (2, ["a", "gen", "b"], 2.0),
     (3.9, ["a", "b", "gen"], 4.0), (500, ["a", "b", "gen"], 4.0)],
)  # fmt: skip
def test_a_picture_becomes_a_still_at_the_first_cut_from_the_playhead_on(at: float | None, order: list[str], begins: float) -> None:
    placed = add_to_timeline(movie(scene("a"), scene("b")), PICTURE, at=at)
    assert names(placed) == order
    assert (placed.at, placed.duration) == (begins, 3.0)
    assert read(placed.movie).scenes[order.index("gen")].layers[0].src == JOB


def test_a_clip_is_as_long_as_it_was_measured_and_no_frame_longer() -> None:
    placed = add_to_timeline(movie(scene("a")), CLIP)
    assert placed.movie["scenes"][1] == {"id": "gen", "duration": 4.234, "layers": [{"type": "video", "src": JOB}]}
    unmeasured = add_to_timeline(movie(scene("a")), Media("video", JOB, "gen"))
    assert unmeasured.movie["scenes"][1]["duration"] == "auto"
    longer = add_to_timeline(movie(scene("a")), CLIP, duration=10)
    assert longer.movie["scenes"][1]["layers"][0]["loop"] is True
    assert [read(each.movie).scenes[1].duration for each in (placed, longer)] == [4.234, 10.0]


def test_a_sound_lies_over_the_whole_film_from_the_playhead_on() -> None:
    placed = add_to_timeline(movie(scene("a")), SONG, at=1.5, track="music")
    assert placed.movie["layers"] == [{"id": "music", "type": "audio", "src": JOB, "start": 1.5}]
    assert (placed.pointer, placed.at, placed.duration) == ("/layers/0", 1.5, 12.0)
    second = add_to_timeline(placed.movie, SONG, track="music", duration=3)
    assert second.movie["layers"][1] == {"id": "music-2", "type": "audio", "src": JOB, "start": 0.0, "duration": 3}
    assert len(read(second.movie).layers) == 2


def test_a_playhead_behind_what_nobody_knows_the_length_of_is_refused_and_the_end_is_not() -> None:
    for first in (scene("a", "auto"), scene("a", "{{ x }}"), scene("a", iterate="{{ xs }}"), scene("a", condition="{{ x }}")):
        with pytest.raises(MovieInvalid) as told:
            add_to_timeline(movie(first, scene("b")), PICTURE, at=2)
        assert [(each.pointer, each.code) for each in told.value.problems] == [("/at", "TIME_UNKNOWN")]
        placed = add_to_timeline(movie(first, scene("b")), PICTURE)
        assert (names(placed), placed.at) == (["a", "b", "gen"], None)
        assert names(add_to_timeline(movie(first, scene("b")), PICTURE, at=0)) == ["gen", "a", "b"]


def test_a_movie_is_made_of_the_first_picture() -> None:
    made = add_to_timeline(new_movie("film", CLIP), CLIP).movie
    assert (made["id"], made["width"], made["height"]) == ("film", 1280, 720)
    assert read(made).width == 1280
    tiny = new_movie("film", Media("image", JOB, "x", width=101, height=9_999))
    assert (tiny["width"], tiny["height"]) == (360, 3840)
    alone = add_to_timeline(new_movie("film", SONG), SONG, at=1)
    assert alone.movie["scenes"][0]["duration"] == 13.0
    assert read(alone.movie).scenes[0].duration == 13.0


@pytest.mark.parametrize(
    ("document", "media", "asked", "pointer"),
    [(movie(), PICTURE, {"duration": 0.01}, "/duration"), (movie(), PICTURE, {"at": -1}, "/at"), (movie(), CLIP, {"track": "x"}, "/track"),
     ({"scenes": "{{ x }}"}, CLIP, {}, "/movie/scenes"), ({"scenes": [5]}, CLIP, {}, "/movie/scenes"),
     ({"scenes": [], "layers": 5}, SONG, {}, "/movie/layers")],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_its_place(document: dict[str, Any], media: Media, asked: dict[str, Any], pointer: str) -> None:
    with pytest.raises(MovieInvalid) as told:
        add_to_timeline(document, media, **asked)
    assert [each.pointer for each in told.value.problems] == [pointer]


SCENES = st.lists(
    st.builds(
        lambda n, length, over: scene(f"s{n}", length, **({"transition": {"type": "fade", "duration": over}} if over is not None else {})),
        st.integers(0, 99), st.floats(1, 20).map(lambda value: round(value, 3)), st.one_of(st.none(), st.floats(0, 0.4)),
    ),
    min_size=1, max_size=6, unique_by=lambda each: each["id"],
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(scenes=SCENES, media=st.sampled_from([PICTURE, CLIP, SONG]), at=st.one_of(st.none(), st.floats(0, 100)))
def test_whatever_was_in_the_movie_stays_as_it_was_and_where_it_was(scenes: list[dict[str, Any]], media: Media, at: float | None) -> None:
    """Taking the new one out gives the old movie again; it begins at or after the playhead, and within the film; and the movie reads."""
    before = movie(*scenes)
    kept = copy.deepcopy(before)
    placed = add_to_timeline(before, media, at=at)
    assert before == kept
    after = copy.deepcopy(placed.movie)
    part, number = placed.pointer.strip("/").split("/")
    new = after[part].pop(int(number))
    assert {k: v for k, v in after.items() if v} == {k: v for k, v in kept.items() if v}
    assert new["id"] not in {each["id"] for each in kept["scenes"]}
    length = sum(each["duration"] for each in scenes) - sum(each.get("transition", {}).get("duration", 0) for each in scenes[1:])
    assert placed.at is not None
    if media.kind == "audio":
        assert placed.at == (at or 0)
    else:
        # The first cut: what goes in takes the transition into the scene behind it with it, which had begun that much earlier.
        assert placed.at <= length + 1e-6
        assert at is None or placed.at >= min(at, length) - 1e-6
    assert read(placed.movie)


# ---- as a source -----------------------------------------------------------------------------------------------------


def test_a_job_is_a_source_by_what_it_made_and_only_in_its_workspace(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    film, made, none = "job_000000000001", "job_000000000002", "job_000000000003"
    store.put_bytes(f"outputs/{film}/output.mp4", b"film")
    manifest = {"workspace": "red", "outputs": [{"key": "media/ab/x.png"}, {"key": "media/ab/y.png"}]}
    store.put_bytes(f"outputs/{made}/outputs.json", json.dumps(manifest).encode())
    assert made_by(store, film) == f"outputs/{film}/output.mp4"
    assert made_by(store, none) == f"outputs/{none}/output.mp4"
    assert (made_by(store, made), made_by(store, made, "red"), made_by(store, made, "blue")) == ("media/ab/x.png", "media/ab/x.png", None)
