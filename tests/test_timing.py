"""Scenes on the timeline in whole frames: nothing is lost, nothing is counted twice, and rounding does not add up."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.movie.timing import (
    SAMPLE_RATE,
    SceneSpan,
    frame_at,
    lay_scenes,
    sample_at_frame,
    samples,
    whole_frames,
)

RATES = st.sampled_from([Fraction(r) for r in ("24000/1001", "24", "25", "30000/1001", "30", "50", "60", "1", "2997/125", "15")])
SECONDS = st.integers(1500, 20_000).map(lambda ms: Fraction(ms, 1000))


@st.composite
def films(draw: st.DrawFn) -> tuple[list[Fraction], list[Fraction], Fraction]:
    """Durations, overlaps that never meet inside a scene, and a rate."""
    durations = draw(st.lists(SECONDS, min_size=1, max_size=40))
    overlaps = [Fraction(0)]
    for before, after in zip(durations, durations[1:], strict=False):
        most = int(min(before, after) * 1000 / 2)
        overlaps.append(Fraction(draw(st.integers(0, most)), 1000))
    return durations, overlaps, draw(RATES)


def spans_of(film: tuple[list[Fraction], list[Fraction], Fraction]) -> tuple[SceneSpan, ...]:
    return lay_scenes(*film)


@settings(deadline=None)
@given(films())
def test_every_frame_of_the_film_belongs_to_one_piece(film: tuple[list[Fraction], list[Fraction], Fraction]) -> None:
    spans = spans_of(film)
    at = 0
    for span in spans:
        assert span.first == at - span.overlap_in
        at = span.first + span.frames
    assert at == sum(s.frames - s.overlap_in for s in spans)
    assert [s.overlap_out for s in spans] == [*[s.overlap_in for s in spans[1:]], 0]


@settings(deadline=None)
@given(films())
def test_every_boundary_is_within_half_a_frame_of_its_exact_moment_at_the_end_as_at_the_start(
    film: tuple[list[Fraction], list[Fraction], Fraction],
) -> None:
    durations, overlaps, fps = film
    exact = Fraction(0)
    for span, duration, overlap in zip(spans_of(film), durations, overlaps, strict=True):
        start = exact - overlap
        exact = start + duration
        assert abs(span.first / fps - start) <= 1 / (2 * fps)
        assert abs((span.first + span.frames) / fps - exact) <= 1 / (2 * fps)


@settings(deadline=None)
@given(st.integers(0, 432_000), RATES)
def test_a_frame_and_its_sample_are_never_more_than_half_a_sample_apart(frame: int, fps: Fraction) -> None:
    assert abs(Fraction(sample_at_frame(frame, fps), SAMPLE_RATE) - frame / fps) <= Fraction(1, 2 * SAMPLE_RATE)
    assert frame_at(Fraction(sample_at_frame(frame, fps), SAMPLE_RATE), fps) == frame


@settings(deadline=None)
@given(st.fractions(0, 10_000), RATES)
def test_a_length_in_whole_frames_is_long_enough_and_less_than_a_frame_too_long(seconds: Fraction, fps: Fraction) -> None:
    whole = whole_frames(seconds, fps)
    assert (whole * fps).denominator == 1
    assert whole > 0
    assert whole >= seconds - Fraction(1, 1_000_000)
    assert whole < seconds + 1 / fps or whole == 1 / fps


def test_halves_are_rounded_up_so_that_neighbours_meet() -> None:
    assert (frame_at(Fraction(1, 60), Fraction(30)), frame_at(Fraction(3, 60), Fraction(30))) == (1, 2)
    assert samples(Fraction(1, 96_000)) == 1


def test_37_scenes_of_9_97_seconds_do_not_drift() -> None:
    spans = lay_scenes([Fraction("9.97")] * 37, [Fraction(0)] * 37, Fraction(30))
    assert spans[-1].first + spans[-1].frames == frame_at(37 * Fraction("9.97"), Fraction(30)) == 11067
