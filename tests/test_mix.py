"""What is heard, as values: fades, products of envelopes, ducking, and the cue a layer becomes."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.media import MediaInfo, MediaRef
from viralsync_pipelines.movie.known import KnownSource
from viralsync_pipelines.movie.layers import AudioLayer, VideoLayer
from viralsync_pipelines.movie.mix import Point, duck_under, fades, level, multiply
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.movie.spec import Audio
from viralsync_pipelines.movie.staging import Stage, cues_of
from viralsync_pipelines.movie.timing import SAMPLE_RATE, samples

ENVELOPES = st.dictionaries(st.integers(0, 500_000), st.floats(0, 2), min_size=1, max_size=12).map(lambda d: tuple(sorted(d.items())))
SPANS = st.lists(
    st.tuples(st.integers(0, 3_000_000), st.integers(1, 400_000)).map(lambda s: (s[0], s[0] + s[1])), min_size=1, max_size=20
)
AMOUNT = st.floats(0, 1)
TIMES = st.floats(0.01, 3)


def slope(curve: tuple[Point, ...]) -> float:
    return max((abs(b[1] - a[1]) / (b[0] - a[0]) for a, b in zip(curve, curve[1:], strict=False)), default=0.0)


@settings(deadline=None)
@given(SPANS, AMOUNT, TIMES, TIMES, st.floats(0, 3))
def test_ducking_stays_in_bounds_is_down_under_every_word_and_never_jumps(
    spans: list[tuple[int, int]], amount: float, attack: float, release: float, merge: float
) -> None:
    curve = duck_under(spans, amount, attack, release, merge)
    places = [x for x, _ in curve]
    assert all(a < b for a, b in zip(places, places[1:], strict=False))
    assert places[0] >= 0
    assert all(amount - 1e-12 <= y <= 1 for _, y in curve)
    for start, end in spans:
        assert level(curve, start) == level(curve, (start + end) // 2) == level(curve, end) == amount
    # Never steeper than the attack or the release that was asked for.
    assert slope(curve) <= (1 - amount) / (int(min(attack, release) * SAMPLE_RATE)) * (1 + 1e-9) + 1e-15
    # Up again after the last word.
    assert curve[-1] == (max(end for _, end in spans) + int(release * SAMPLE_RATE), 1.0)


@settings(deadline=None)
@given(SPANS, AMOUNT, TIMES, TIMES, st.floats(0.1, 3))
def test_ducking_does_not_come_up_in_pauses_shorter_than_merge(
    spans: list[tuple[int, int]], amount: float, attack: float, release: float, merge: float
) -> None:
    curve = duck_under(spans, amount, attack, release, merge)
    ends = sorted(spans)
    reached = ends[0][1]
    for start, end in ends[1:]:
        if 0 < start - reached <= merge * SAMPLE_RATE:
            assert level(curve, (reached + start) // 2) == amount
        reached = max(reached, end)


def test_a_bed_is_up_before_speech_and_long_after_it() -> None:
    curve = duck_under([(96_000, 144_000)], 0.25, 0.15, 0.4, 0.6)
    assert [level(curve, s) for s in (0, 96_000 - 7200, 96_000, 144_000, 144_000 + 9600, 144_000 + 19_200)] == [1, 1, 0.25, 0.25, 0.625, 1]


def test_speech_at_the_very_start_finds_the_bed_down_already_or_on_its_way() -> None:
    assert level(duck_under([(0, 48_000)], 0.25, 0.15, 0.4, 0.6), 0) == 0.25
    curve = duck_under([(3600, 48_000)], 0.25, 0.15, 0.4, 0.6)
    assert level(curve, 0) == 0.625
    assert level(curve, 3600) == 0.25


def test_a_bed_that_must_fall_again_while_it_rises_turns_on_its_way_up() -> None:
    curve = duck_under([(100_000, 148_000), (148_000 + 24_000, 250_000)], 0.2, 0.1, 1.0, 0.1)
    # 24,000 samples apart; it may rise for 19,200 of 48,000 until it has to fall within 4,800.
    assert curve[3][0] == 148_000 + 19_200
    assert abs(curve[3][1] - (0.2 + 0.8 * 0.4)) < 1e-12


@settings(deadline=None)
@given(st.integers(1, 1_000_000), st.integers(0, 2_000_000), st.integers(0, 2_000_000))
def test_fades_begin_and_end_in_silence_and_meet_when_they_are_too_long(length: int, fade_in: int, fade_out: int) -> None:
    points = fades(length, fade_in, fade_out)
    assert [x for x, _ in points] == sorted({x for x, _ in points})
    assert all(0 <= x <= length for x, _ in points)
    if fade_in and fade_in * length // (fade_in + fade_out or 1):
        assert points[0] == (0, 0.0)
    if fade_out:
        assert points[-1] == (length, 0.0)


@settings(deadline=None)
@given(ENVELOPES, ENVELOPES, st.lists(st.integers(0, 500_000), min_size=1, max_size=20))
def test_the_product_of_two_envelopes_follows_both_even_where_they_cross(
    a: tuple[Point, ...], b: tuple[Point, ...], places: list[int]
) -> None:
    product = multiply(a, b)
    xs = [x for x, _ in product]
    assert xs == sorted(set(xs))
    for x in places:
        # 0.0157 = 2 * 2 / 256: both may swing by 2 between two points. Points lie on whole samples.
        assert abs(level(product, x) - level(a, x) * level(b, x)) <= 0.0157 + 4 * max(slope(a), slope(b))


def test_a_swell_under_a_fade_is_heard() -> None:
    """Two straight lines, one up and one down, make a bump; joined only at their ends it would be silence."""
    product = multiply(((0, 0.0), (48_000, 1.0)), ((0, 1.0), (48_000, 0.0)))
    assert level(product, 24_000) == 0.25


def test_an_envelope_is_held_outside_its_points_and_absent_means_as_it_is() -> None:
    assert [level(((10, 0.5), (20, 1.0)), x) for x in (0, 10, 15, 20, 99)] == [0.5, 0.5, 0.75, 1.0, 1.0]
    assert level((), 5) == 1.0
    assert multiply((), ((0, 0.5),)) == ((0, 0.5),)


def test_envelopes_of_thousands_of_points_multiply_exactly() -> None:
    """200 keyframes with a bent easing are 3,200 points; looked for one by one they took seconds."""
    a = tuple((x * 7, (x % 5) / 5) for x in range(3200))
    b = tuple((x * 11, (x % 3) / 3) for x in range(3200))
    product = dict(multiply(a, b))
    xs, ys = np.array([x for x, _ in a]), np.array([y for _, y in a])
    assert all(abs(product[x] - np.interp(x, xs, ys) * level(b, x)) < 1e-9 for x, _ in a[::50])


# From layer to cue.


def on_stage(layer: Any, *, fps: str = "30", first: int = 0, frames: int = 300, overlaps: tuple[int, int] = (0, 0), **info: Any) -> Any:
    told = {"width": 64, "height": 64, "duration": Fraction(4), "video_duration": Fraction(4), "audio_duration": Fraction(4),
            "sample_rate": 48_000, "channels": 2, **info}  # fmt: skip
    known = KnownSource(MediaRef("a", "ab" * 32, "video"), MediaInfo(**told), "mov")
    stage = Stage(Canvas(360, 360, Fraction(fps)), first, frames, Audio(), {"a": known}, *overlaps)
    (cue,) = cues_of(layer, stage, {})
    return cue


def test_the_sound_of_a_clip_starts_with_its_first_frame_and_other_sound_on_its_sample() -> None:
    """1.51 s is frame 45.3: the picture starts with frame 45, and so does its sound."""
    assert on_stage(VideoLayer(type="video", src="a", start=1.51), first=10).at == (10 + 45) * 1600
    assert on_stage(AudioLayer(type="audio", src="a", start=1.51), first=10).at == 10 * 1600 + 72_480


def test_a_looped_clip_sounds_as_often_as_it_is_seen() -> None:
    """1.01 s is 30 frames and a bit. The picture starts over after 30 frames; sound of 1.01 s would be 0.6 s late a minute on."""
    clip = on_stage(VideoLayer(type="video", src="a", loop=True), video_duration=Fraction("1.01"), audio_duration=Fraction("1.01"))
    assert (clip.span, clip.follows) == (30 * 1600, True)
    bed = on_stage(AudioLayer(type="audio", src="a", loop=True), audio_duration=Fraction("1.01"))
    assert (bed.span, bed.follows) == (samples(Fraction("1.01")), False)


def test_trim_and_speed_skip_on_the_clock_of_what_is_heard() -> None:
    cue = on_stage(AudioLayer(type="audio", src="a", trimStart=1.5, trimEnd=3.5, speed=2.0))
    assert (cue.skip, cue.length, cue.speed) == (36_000, 48_000, Fraction(2))


def test_sound_that_starts_late_in_its_file_is_not_cut_short_by_as_much() -> None:
    cue = on_stage(AudioLayer(type="audio", src="a"), audio_start=Fraction(1, 2), audio_duration=Fraction(3))
    assert cue.length == samples(Fraction("3.5"))


def test_clip_sound_cross_fades_over_the_overlaps_of_its_scene() -> None:
    cue = on_stage(VideoLayer(type="video", src="a"), frames=120, overlaps=(15, 30))
    gains = [level(cue.shape, s * 1600) for s in (0, 15, 60, 90, 105, 120)]
    assert gains == [0, 1, 1, 1, 0.5, 0]
    # A sound of its own keeps its level through a transition.
    assert on_stage(AudioLayer(type="audio", src="a"), frames=120, overlaps=(15, 30)).shape == ()
