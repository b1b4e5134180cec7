"""Graphs and the numbers in them, without running any: what is left out, what stays in 4:2:0, what may be opened."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from viralsync_pipelines.movie.art import ShapeArt, TextArt
from viralsync_pipelines.movie.conform import clip_input, conform_argv, seconds
from viralsync_pipelines.movie.draft import scaled
from viralsync_pipelines.movie.encoding import ENCODERS, picture_args, ticks
from viralsync_pipelines.movie.filters import Delivered, Outputs, piece_argv, still_argv
from viralsync_pipelines.movie.grading import mixer_steps, tone_matrix
from viralsync_pipelines.movie.mix import Mix
from viralsync_pipelines.movie.motion import Motion, Passage
from viralsync_pipelines.movie.picture import Canvas, Footage, Look, Piece, Placement, Tone, Visual, cut
from viralsync_pipelines.movie.plan import MoviePlan

CANVAS = Canvas(1080, 1920, Fraction(30))
STANDARD = ENCODERS["standard"]
CLIP = Footage("ab" * 32, "mov", "", (1920, 1080), (656.25, 0.0, 607.5, 1080.0), moving=True, seconds=Fraction(5), fps=Fraction(30),
               matrix="bt709")  # fmt: skip
TITLE = TextArt("Say; [0:v]null'\\,drawtext=", None, None, 400, False, 90, None, (255, 255, 255, 255), "center", 1.2, 0, 900, None)
FULL = Placement(540, 960, 0.5, 0.5, 1080, 1920)


def visual(content: Any, frames: int = 120, first: int = 0, place: Placement = FULL, look: Look | None = None, **motion: Any) -> Visual:
    return Visual(first, frames, place, look or Look(), Motion(**motion), content)


def clip_given(**fields: Any) -> Delivered:
    return Delivered("clip", "/media/clip.mp4", 0, 0, 1080, 1920, opaque=True, **fields)


def title_given() -> Delivered:
    return Delivered("still", "/scratch/art1.raw", 100, 1300, 880, 200)


OUT = Outputs("out.mp4", "ends.raw", "shown.raw")


def graph(argv: tuple[str, ...]) -> str:
    """What makes the picture that is encoded, without the small ones taken from it."""
    return argv[argv.index("-filter_complex") + 1].partition("split=3")[0]


def piece(*visuals: Visual, count: int = 120) -> Piece:
    return Piece("body", 0, 0, count, (0, 0, 0, 255), visuals)


def test_a_clip_under_a_title_stays_on_the_fast_path() -> None:
    """One decode, cropped before scaled, no detour through RGB or 4:4:4, one overlay of the title's own box."""
    fading = visual(TITLE, enter=Passage("fade", 15, "linear"))
    told = graph(piece_argv(piece(visual(CLIP), fading), [clip_given(), title_given()], CANVAS, STANDARD, OUT))
    assert told.count("overlay") == 1
    assert told.index("crop=") < told.index("scale=1080:1920")
    assert told.count("scale=") == 2, "the clip to its size, and the title once to 4:2:0"
    for slow in ("gbr", "rgb", "444", "premultiply", "color="):
        assert slow not in told
    assert "880" not in told, "the title is no padded canvas"


def test_a_ken_burns_floor_is_fed_in_420_and_converted_by_nothing() -> None:
    floor = Delivered("feed", "feed:1", 0, 0, 1080, 1920, "yuv420p", opaque=True, frames=120)
    argv = piece_argv(piece(visual(CLIP)), [floor], CANVAS, STANDARD, OUT)
    assert "scale" not in graph(argv)
    assert "overlay" not in graph(argv)


def test_the_clip_is_the_first_output_and_alone_is_encoded() -> None:
    """ffmpeg's progress counts the frames of its first output."""
    argv = piece_argv(piece(visual(CLIP)), [clip_given()], CANVAS, STANDARD, OUT)
    assert argv.index("out.mp4") < min(argv.index("ends.raw"), argv.index("shown.raw"))
    assert argv.index("libx264") < argv.index("out.mp4")
    assert argv.count("passthrough") == 2, "without it ffmpeg fills the gaps between the chosen frames"


def test_what_a_full_picture_hides_is_left_out() -> None:
    hidden, seen = visual(ShapeArt("rect", 1080, 1920, (9, 9, 9, 255), None, 0)), visual(CLIP)
    given = [Delivered("still", "/scratch/hidden.raw", 0, 0, 1080, 1920, "rgb24", opaque=True), clip_given()]
    assert "/scratch/hidden.raw" not in piece_argv(piece(hidden, seen), given, CANVAS, STANDARD, OUT)
    for look in (Look(opacity=0.9), Look(blend="screen")):
        argv = piece_argv(piece(hidden, visual(CLIP, look=look)), given, CANVAS, STANDARD, OUT)
        assert "/scratch/hidden.raw" in argv
    short = visual(CLIP, frames=60)
    assert "/scratch/hidden.raw" in piece_argv(piece(hidden, short), given, CANVAS, STANDARD, OUT)


def test_no_text_of_the_user_stands_in_a_graph() -> None:
    for argv in (piece_argv(piece(visual(TITLE)), [title_given()], CANVAS, STANDARD, OUT),
                 still_argv(piece(visual(TITLE)), [title_given()], CANVAS, 3, "still.png")):  # fmt: skip
        assert not any("drawtext" in part or "Say" in part for part in argv)


def test_sources_are_opened_with_their_demuxer_forced_and_local_protocols_only() -> None:
    argv = piece_argv(piece(visual(CLIP)), [clip_given()], CANVAS, STANDARD, OUT)
    before = argv[: argv.index("/media/clip.mp4")]
    assert before[before.index("-f") + 1] == "mov"
    assert before[before.index("-protocol_whitelist") + 1] == "file,pipe,fd"


def test_seeking_is_for_containers_with_an_index_and_never_exact() -> None:
    options = clip_input(CLIP, 90, Fraction(30))
    assert options["ss"] == seconds(Fraction(88, 30))
    assert "noaccurate_seek" in options
    assert "ss" not in clip_input(replace(CLIP, demuxer="gif"), 90, Fraction(30))
    assert "ss" not in clip_input(replace(CLIP, demuxer="mpegts"), 90, Fraction(30))
    assert "ss" not in clip_input(CLIP, 0, Fraction(30))
    later = clip_input(replace(CLIP, start=Fraction(1, 3), speed=Fraction(2)), 30, Fraction(30))
    assert later["ss"] == seconds(Fraction(1, 3) + Fraction(56, 30))
    assert seconds(Fraction(1, 2)).startswith("0.")


def test_equal_clips_in_one_piece_stay_two_inputs() -> None:
    argv = piece_argv(piece(visual(CLIP), visual(CLIP, look=Look(opacity=0.5))), [clip_given(), clip_given()], CANVAS, STANDARD, OUT)
    twice = piece_argv(piece(visual(CLIP, frames=60), visual(CLIP, frames=60)), [clip_given(), clip_given()], CANVAS, STANDARD, OUT)
    assert argv.count("-i") == 2
    assert twice.count("/media/clip.mp4") == 2


def test_a_window_of_a_clip_is_decoded_by_itself() -> None:
    argv = conform_argv(CLIP, Look(), "/media/clip.mp4", (1080, 1920), Fraction(30), 60, 9, "rgba", ("-f", "rawvideo"), "pipe:1")
    assert argv[argv.index("-frames:v") + 1] == "9"
    assert "-an" in argv


def test_a_frame_lasts_a_whole_number_of_ticks_at_every_rate() -> None:
    for rate in (Fraction(30), Fraction(24000, 1001), Fraction(2997, 100), Fraction(60), Fraction(25, 2)):
        assert (ticks(rate) / rate).denominator == 1
        assert picture_args(STANDARD, rate)[picture_args(STANDARD, rate).index("-video_track_timescale") + 1] == str(ticks(rate))
    assert picture_args(STANDARD, Fraction(30))[picture_args(STANDARD, Fraction(30)).index("-threads") + 1] == "1"


# Windows


spans = st.tuples(st.integers(-40, 60), st.integers(1, 80))


@given(spans, st.integers(0, 60), st.integers(1, 40), st.booleans(), st.sampled_from([None, 5.0, 12.5]), st.sampled_from([None, 4.0]))
def test_a_window_keeps_what_it_shows_where_it_shows_it(
    span: tuple[int, int], first: int, count: int, moving: bool, enter: float | None, leave: float | None
) -> None:
    motion = {
        "enter": Passage("fade", enter, "linear") if enter else None, "exit": Passage("fade", leave, "linear") if leave else None
    }  # fmt: skip
    whole = visual(CLIP if moving else TITLE, frames=span[1], first=span[0], **motion)
    seen = cut((whole,), first, count)
    shown = [k for k in range(count) if whole.first <= first + k < whole.last]
    if not shown:
        assert seen == ()
        return
    (part,) = seen
    assert [k for k in range(count) if part.first <= k < part.last] == shown
    if moving:
        assert part.first == whole.first - first, "how far into itself the clip is"
    # A fade that is kept goes on from where it was; one that is dropped was over, or had not begun.
    for k in shown:
        assert opacity(part, k) == pytest.approx(opacity(whole, first + k), abs=1e-9)


def opacity(layer: Visual, frame: int) -> float:
    k, value = frame - layer.first, 1.0
    if layer.motion.enter is not None:
        value *= min(1.0, k / layer.motion.enter.frames)
    if layer.motion.exit is not None:
        value *= min(1.0, (layer.frames - k) / layer.motion.exit.frames)
    return value


def test_a_draft_is_the_same_film_at_half_the_size() -> None:
    mix = Mix(0, (), (), None, -1.5)
    body = piece(visual(CLIP), visual(TITLE, enter=Passage("fade", 15, "linear")))
    plan = MoviePlan("m", "t", CANVAS, "draft", 120, (), (body,), mix, {}, {})
    half = scaled(plan, Fraction(1, 2))
    assert (half.canvas.width, half.canvas.height, half.frames) == (540, 960, 120)
    (small,) = half.pieces
    assert [(v.first, v.frames, v.motion.enter) for v in small.under] == [(v.first, v.frames, v.motion.enter) for v in body.under]
    assert small.under[0].content == CLIP
    assert small.under[0].placement.width == 540
    assert small.under[1].content.size == 45  # type: ignore[union-attr]


# Tone


def applied(tone: Tone, rgb: tuple[float, float, float]) -> np.ndarray[Any, Any]:
    matrix = np.array(tone_matrix(tone))
    return np.asarray(matrix[:, :3] @ rgb + matrix[:, 3])


def test_tones_are_those_of_css() -> None:
    rgb = (0.8, 0.4, 0.1)
    assert applied(Tone(), rgb) == pytest.approx(rgb)
    assert applied(Tone(brightness=1.5), rgb) == pytest.approx(np.multiply(rgb, 1.5))
    assert applied(Tone(contrast=2), rgb) == pytest.approx(np.multiply(rgb, 2) - 0.5)
    luma = 0.2126 * 0.8 + 0.7152 * 0.4 + 0.0722 * 0.1
    assert applied(Tone(saturation=0), rgb) == pytest.approx([luma] * 3)
    assert applied(Tone(grayscale=1), rgb) == pytest.approx([luma] * 3)
    assert applied(Tone(sepia=1), (1, 1, 1)) == pytest.approx([1.351, 1.203, 0.937])
    assert applied(Tone(hue=360), rgb) == pytest.approx(rgb)
    assert applied(Tone(hue=90), (0.5, 0.5, 0.5)) == pytest.approx([0.5] * 3, abs=0.002), "grey has no hue"


factors, shares = st.floats(0, 4), st.floats(0, 1)


@given(st.builds(Tone, factors, factors, factors, shares, shares, st.just(0.0), st.floats(-360, 360)))
def test_mixer_steps_stay_in_the_filters_range_and_make_the_matrix(tone: Tone) -> None:
    steps = mixer_steps(tone)
    total = np.eye(3, 4)
    for number, step in enumerate(steps):
        assert all(-2 <= value <= 2 for value in step.values())
        total = total * 2 if number else np.array([[step[f"{row}{col}"] for col in "rgba"] for row in "rgb"])
    assert total == pytest.approx(np.array(tone_matrix(tone)), abs=1e-6)
