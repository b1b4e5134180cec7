"""Progress bars and waveforms, on decoded pixels: as long as the time that has passed, as tall as the sound that is heard."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.films import FINE, Lab, movie, picture, scenes, solid
from tests.soundstage import RATE, Stage, silence, stage, tone, write_wav
from viralsync_pipelines.defs.part import parts_of
from viralsync_pipelines.errors import MovieInvalid
from viralsync_pipelines.movie.art import WaveArt
from viralsync_pipelines.movie.keys import plan_json, read_plan
from viralsync_pipelines.movie.mix import Cue, level
from viralsync_pipelines.movie.waves import later, seen_from, window_at
from viralsync_pipelines.render.frames import Region, _placed
from viralsync_pipelines.render.listening import listen

BAR = {"type": "progress", "y": 300, "height": 40, "color": "#ffffff"}
WAVE = {"type": "waveform", "y": 180, "height": 200, "width": 360, "color": "#ffffff"}


@pytest.fixture
def hall(tmp_path: Path) -> Stage:
    return stage(tmp_path)


def shares(frames: Any, row: int = 280) -> list[float]:
    """How much of the row is white in each frame."""
    return [float(frame[row, :, 1].sum()) / 255 / frame.shape[1] for frame in frames]


def heights(frames: Any) -> Any:
    """The white height of each frame's column of bars, by bars: frames x 60 at 360 pixels."""
    return (frames[..., 1].clip(0, 255).sum(1) / 255).reshape(len(frames), 60, 6)[..., 2:4].mean(-1)


# Progress.


def test_the_bar_is_the_share_of_frames_that_have_passed(hall: Lab) -> None:
    """Frame n of N: (n + 1) / N of the width, to a fifth of a pixel, and the last frame is full; 37 frames divide no width."""
    frames = hall.frames(movie([BAR], duration=37 / 30), FINE)
    assert len(frames) == 37
    assert shares(frames) == pytest.approx([(n + 1) / 37 for n in range(37)], abs=0.6 / 360)


def test_a_bar_of_the_movie_goes_on_through_scenes_and_their_transitions(hall: Lab) -> None:
    parts = [{"duration": 0.4}, {"duration": 0.5, "transition": {"type": "fade", "duration": 0.2}}, {"duration": 0.3}]
    frames = hall.frames(scenes(*parts, layers=[BAR]), FINE)
    count = len(frames)
    assert count == 12 + 15 + 9 - 6
    assert shares(frames) == pytest.approx([(n + 1) / count for n in range(count)], abs=0.6 / 360)


def test_bars_inside_scenes_show_the_movie_or_their_scene(hall: Lab) -> None:
    mine, whole = {**BAR, "of": "scene"}, {**BAR, "y": 100}
    frames = hall.frames(scenes({"duration": 0.3, "layers": [mine]}, {"duration": 0.2, "layers": [mine, {**whole, "start": 0.1}]}), FINE)
    assert shares(frames) == pytest.approx([*((n + 1) / 9 for n in range(9)), *((n + 1) / 6 for n in range(6))], abs=0.6 / 360)
    assert shares(frames, 80)[12:] == pytest.approx([13 / 15, 14 / 15, 1], abs=0.6 / 360)
    assert max(shares(frames, 80)[:12]) == 0


def test_a_bar_has_its_colours_its_ground_and_its_place(hall: Lab) -> None:
    """At the lower edge and as wide as the canvas by default; what has not passed has the background's colour."""
    (frame,) = hall.frames(movie([{"type": "progress", "color": "#ff0000", "background": "#0000ff", "height": "10%"}], duration=1 / 30))
    assert frame[340, 180] == pytest.approx([255, 0, 0], abs=4)
    assert frame[315, 180] == pytest.approx([0, 0, 0], abs=4)
    frames = hall.frames(movie([{"type": "progress", "color": "#ff0000", "background": "#0000ff", "height": "10%"}], duration=0.1), FINE)
    assert frames[0][340, 60] == pytest.approx([255, 0, 0], abs=4)
    assert frames[0][340, 240] == pytest.approx([0, 0, 255], abs=4)


def test_a_bar_moves_fades_and_flips_like_every_layer(hall: Lab) -> None:
    flipped = hall.frames(movie([{**BAR, "flip": "horizontal"}], duration=0.2), FINE)
    assert flipped[0][280, 330, 1] > 250
    assert flipped[0][280, 30, 1] < 5
    fading = hall.frames(movie([{**BAR, "enter": {"type": "fade", "duration": 0.2}}], duration=0.4), FINE)
    assert fading[3][280, 20, 1] == pytest.approx(255 / 2, abs=6)
    moving = hall.frames(movie([{**BAR, "keyframes": {"y": [{"at": 0, "value": 40}, {"at": 0.2, "value": 300}]}}], duration=0.3), FINE)
    assert moving[0][20, 10, 1] > 250
    assert moving[0][280, 10, 1] < 5
    assert shares(moving)[6:] == pytest.approx([7 / 9, 8 / 9, 1], abs=0.6 / 360)


def test_a_draft_has_the_same_bar_at_half_the_size(hall: Lab) -> None:
    document = movie([BAR], duration=0.2)
    plan = hall.plan(document, draft=True)
    (bar,) = [visual.content for piece in plan.plan.pieces for visual in piece.visuals]
    assert (bar.width, bar.height, bar.passed, bar.total) == (180, 20, 0, 6)  # type: ignore[union-attr]


def test_a_scenes_own_bar_does_not_know_its_place_in_the_movie(hall: Lab) -> None:
    """So that its clip is found again when the film around it changes; a bar of the movie does."""
    def keys(of: str, before: float) -> tuple[str, ...]:
        return hall.plan(scenes({"duration": before}, {"duration": 0.5, "layers": [{**BAR, "of": of}]})).clip_keys

    assert keys("scene", 0.3)[1] == keys("scene", 0.6)[1]
    assert keys("movie", 0.3)[1] != keys("movie", 0.6)[1]


def test_a_bar_over_the_movie_is_not_of_a_scene(hall: Lab) -> None:
    assert faults(hall, scenes({"duration": 1}, layers=[{**BAR, "of": "scene"}])) == {"/layers/0/of": "VALUE_NOT_ALLOWED"}


# Waveforms.


def test_bars_stand_where_the_sound_is_and_are_as_tall(hall: Stage) -> None:
    """A quiet second, half a second of tone, half of a tone half as loud: in frame n bar j shows what is heard j/60 - 1/2 s later."""
    sound = np.concatenate([silence(1), tone(0.5, level=0.4), tone(0.5, level=0.2), silence(0.5)])
    write_wav(hall.folder / "a.wav", sound)
    frames = hall.frames(movie([{**WAVE, "source": "a"}, {"type": "audio", "src": "a.wav", "id": "a"}], duration=2.5), FINE)
    measured = heights(frames)
    for n, j in itertools.product(range(0, 75, 3), range(60)):
        begin = (n + 0.5) / 30 - 0.5 + j / 60
        inside = [level_of(begin + x) for x in (0.001, 1 / 60 - 0.001)]
        if inside[0] == inside[1]:
            expected = inside[0] * 200 if inside[0] else 360 / 216
            assert measured[n, j] == pytest.approx(expected, abs=3), (n, j)


def level_of(second: float) -> float:
    return 1.0 if 1 <= second < 1.5 else 0.5 if 1.5 <= second < 2 else 0.0


def test_a_sound_begins_in_the_middle_with_the_frame_in_which_it_is_heard(hall: Stage) -> None:
    """A click at 0.7 s crosses the middle of the waveform between frames 20 and 21, whatever stands before it in the film."""
    write_wav(hall.folder / "click.wav", np.concatenate([silence(0.7), tone(0.005), silence(0.8)]))
    layers = [{**WAVE, "source": "click"}, {"type": "audio", "src": "click.wav", "id": "click"}]
    frames = hall.frames(scenes({"duration": 0.6}, {"duration": 1.5, "layers": layers}, fps="30000/1001"), FINE)
    seen = heights(frames)[len(frames) - 45 :]
    where = [int(bars.argmax()) for bars in seen[10:32]]
    assert where == [int((0.7 - (n + 0.5) * 1.001 / 30 + 0.5) * 60) for n in range(10, 32)]
    assert where[10] >= 30 > where[11]


def test_a_line_follows_the_samples(hall: Stage) -> None:
    """40 ms of 50 Hz are two waves: the line is at their height at every eighth of them."""
    write_wav(hall.folder / "a.wav", tone(1, 50, 0.3))
    line = {**WAVE, "mode": "line", "source": "a"}
    frames = hall.frames(movie([line, {"type": "audio", "src": "a.wav", "id": "a"}], duration=1), FINE)
    rows = np.arange(360)
    for n in (5, 11, 20):
        white = frames[n][..., 1]
        for x in range(4, 360, 22):
            center = float((white[:, x] * rows).sum() / white[:, x].sum()) + 0.5
            at = (n + 0.5) / 30 - 0.02 + (x + 0.5) / 360 * 0.04
            assert center == pytest.approx(180 - 99 * np.cos(2 * np.pi * 50 * at), abs=4), (n, x)


def test_voices_are_seen_at_full_height_however_softly_they_are_played_and_the_mix_as_it_is(hall: Stage) -> None:
    hall.lines["a"] = write_wav(hall.folder / "a.wav", tone(1, level=0.1))
    voice = {"type": "voice", "text": "a", "volume": 0.25}
    for source, tall in (("voice", 200), ("mix", 50)):
        frames = hall.frames(movie([{**WAVE, "source": source}, voice], duration=1), FINE)
        assert heights(frames[14:16])[:, 28:32] == pytest.approx(tall, abs=3)


def test_a_scene_hears_itself_and_what_lies_over_the_movie_and_the_movie_hears_all(hall: Stage) -> None:
    for name in ("one", "two"):
        hall.lines[name] = write_wav(hall.folder / f"{name}.wav", tone(1, 900 if name == "one" else 700))
    parts = [{"duration": 1, "layers": [{"type": "voice", "id": "v", "text": name}, WAVE]} for name in ("one", "two")]
    plan = hall.plan(scenes(*parts)).plan
    mine = [[cue.source for cue in wave_of(plan, n).cues] for n in (0, 1)]
    assert mine == [[plan.mix.cues[0].source], [plan.mix.cues[1].source]]
    over = hall.plan(scenes(*[{**part, "layers": part["layers"][:1]} for part in parts], layers=[WAVE])).plan  # type: ignore[index]
    assert [len(wave_of(over, n).cues) for n in (0, 1)] == [2, 2], "half a second before and after the scene is in view"


def wave_of(plan: Any, piece: int) -> WaveArt:
    (art,) = [v.content for v in plan.pieces[piece].visuals if isinstance(v.content, WaveArt)]
    return art


def test_a_waveform_over_the_movie_is_keyed_by_the_sound_that_its_piece_shows(hall: Stage) -> None:
    """Another line at the end changes the last clip, and no clip two seconds away from it."""
    for number, name in enumerate(("one", "two", "three")):
        hall.lines[name] = write_wav(hall.folder / f"{name}.wav", tone(1, 400 + 100 * number))

    def keys(last: str, first: float = 2) -> tuple[str, ...]:
        parts = [{"duration": first}, {"duration": 2, "layers": [{"type": "voice", "text": "one"}]}, {"duration": 2},
                 {"duration": 1, "layers": [{"type": "voice", "text": last}]}]  # fmt: skip
        return hall.plan(scenes(*parts, layers=[WAVE])).clip_keys

    two, three, moved = keys("two"), keys("three"), keys("two", 2.5)
    assert [a == b for a, b in zip(two, three, strict=True)] == [True, True, False, False]
    assert moved[1:] == two[1:], "where in the film a sound is heard does not change how it looks"


def test_a_loop_a_trim_and_a_fade_are_seen_as_they_are_heard(hall: Stage) -> None:
    """A beat of 0.5 s, its first fifth loud, trimmed by 0.1 s: silence for 0.4 s, then loud for 0.1 s, over and over, and fading in."""
    write_wav(hall.folder / "beat.wav", np.concatenate([tone(0.1), silence(0.4), tone(0.1)]))
    audio = {"type": "audio", "src": "beat.wav", "id": "b", "trimStart": 0.1, "loop": True, "duration": "scene", "fadeIn": 3}
    plan = hall.plan(movie([{**WAVE, "source": "b"}, audio], duration=3)).plan
    art = wave_of(plan, 0)
    sound = np.asarray(listen(art.cues, 0, 3 * RATE, hall.desk.shelf.finder(plan), hall.scratch()))
    for beat in range(6):
        at = round((0.4 + 0.5 * beat) * RATE)
        assert np.abs(sound[at - 15000 : at - 100]).max() < 1e-3
        assert np.abs(sound[at + 100 : at + 4700]).max() == pytest.approx((0.45 + 0.5 * beat) / 3, abs=0.03)


def test_a_silent_file_is_a_row_of_dots(hall: Stage) -> None:
    write_wav(hall.folder / "a.wav", silence(1))
    frames = hall.frames(movie([{**WAVE, "source": "a"}, {"type": "audio", "src": "a.wav", "id": "a"}], duration=0.1), FINE)
    assert heights(frames) == pytest.approx(360 / 216, abs=1)


def test_a_scenes_step_has_the_sound_that_its_waveforms_show_and_several_of_them_stand_in_one_scene(hall: Stage) -> None:
    """Scene steps are given their own part of the plan; the voice of the second scene comes into view at the end of the first."""
    write_wav(hall.folder / "bed.wav", tone(1, 300))
    for name in ("one", "two"):
        hall.lines[name] = write_wav(hall.folder / f"{name}.wav", tone(0.5, 500 if name == "one" else 700))
    parts = [{"duration": 0.5, "layers": [{"type": "voice", "text": name}, {**WAVE, "y": 60}]} for name in ("one", "two")]
    over = [{**WAVE, "source": "mix"}, {**WAVE, "y": 300, "mode": "line"}, {"type": "audio", "src": "bed.wav", "volume": 0.1}]
    whole = hall.plan(scenes(*parts, layers=over))
    assert [set(part.plan.speech) | set(part.plan.sources) for part in parts_of(whole)] == [{cue.source for cue in whole.plan.mix.cues}] * 2
    for part in parts_of(whole):
        assert len(hall.clips(part, FINE)) == 1


def faults(lab: Lab, document: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(MovieInvalid) as caught:
        lab.plan(document)
    return {problem.pointer: problem.code for problem in caught.value.problems}


def test_a_waveform_that_would_hear_nothing_is_refused_with_the_reason(hall: Stage) -> None:
    write_wav(hall.folder / "a.wav", tone(0.1))
    picture(hall.folder / "a.png", solid((9, 9, 9)))
    at = "/scenes/0/layers/0/source"
    image = {"type": "image", "src": "a.png", "id": "pic"}
    audio = {"type": "audio", "src": "a.wav", "id": "bed"}
    assert faults(hall, movie([{**WAVE, "source": "bad"}, audio])) == {at: "SOURCE_NOT_FOUND"}
    assert faults(hall, movie([{**WAVE, "source": "pic"}, image])) == {at: "VALUE_NOT_ALLOWED"}
    assert faults(hall, movie([{**WAVE, "source": "bed"}, {**audio, "volume": 0}])) == {at: "VALUE_NOT_ALLOWED"}
    assert faults(hall, movie([WAVE, audio])) == {at: "VALUE_NOT_ALLOWED"}, "there is no voice"
    assert faults(hall, movie([{**WAVE, "source": "mix"}, image])) == {at: "VALUE_NOT_ALLOWED"}
    with pytest.raises(MovieInvalid, match="did you mean 'bed'"):
        hall.plan(movie([{**WAVE, "source": "bde"}, audio]))


def test_other_faults_hide_no_name_and_invent_none(hall: Stage) -> None:
    """With a faulty layer nobody knows which ids there are; with a fault elsewhere the name is told in the same reply."""
    assert faults(hall, movie([{**WAVE, "source": "v"}, {"type": "voice", "id": "v"}])) == {"/scenes/0/layers/1": "FIELD_MISSING"}
    both = faults(hall, movie([{**WAVE, "source": "v"}, {"type": "image", "src": "missing.png"}]))
    assert both == {"/scenes/0/layers/0/source": "SOURCE_NOT_FOUND", "/scenes/0/layers/1/src": "SOURCE_NOT_FOUND"}


def test_a_plan_with_both_goes_through_json(hall: Stage) -> None:
    hall.lines["a"] = write_wav(hall.folder / "a.wav", tone(0.2))
    plan = hall.plan(movie([BAR, WAVE, {"type": "voice", "text": "a"}])).plan
    assert read_plan(plan_json(plan)) == plan


@settings(max_examples=60, deadline=None)
@given(st.integers(-9, 20), st.integers(-9, 20), st.sampled_from((1.0, 0.5, 0.37)), st.integers(0, 2**32 - 1))
def test_what_stands_on_whole_pixels_is_copied_as_sampling_would_have_it(right: int, down: int, opacity: float, seed: int) -> None:
    """Beside a twin moved by a millionth of a pixel, which is sampled: the same bytes wherever anything is seen."""
    plane = np.random.default_rng(seed).integers(0, 256, (12, 10, 4), np.uint8)
    copied, sampled = (
        _placed(plane, ((1.0, 0.0, right + nudge), (0.0, 1.0, down + nudge)), Region(0, 0, 22, 16), opacity, 0.0) for nudge in (0.0, 1e-6)
    )
    assert (copied[..., 3] == sampled[..., 3]).all()
    assert (copied[copied[..., 3] > 0] == sampled[sampled[..., 3] > 0]).all()


# The arithmetic.

CUES = st.builds(
    lambda at, length, skip, shape: Cue("a", "wav", at, length, skip, shape=shape),
    st.integers(-200_000, 200_000), st.integers(1, 300_000), st.integers(0, 1000),
    st.sampled_from(((), ((0, 0.0), (48_000, 1.0)), ((100, 1.0), (150_000, 0.25)))),
)  # fmt: skip


@given(st.lists(CUES, max_size=4), st.integers(0, 200), st.integers(1, 60), st.sampled_from((Fraction(30), Fraction(30000, 1001))))
def test_cut_cues_give_every_sample_in_view_the_source_and_the_level_it_had(cues: list[Cue], first: int, count: int, fps: Fraction) -> None:
    art = WaveArt((255, 255, 255, 255), 10, 10, 5, 1.0, fps, RATE, tuple(cues))
    cut = seen_from(art, first, count)
    low, high = window_at(first, art)[0], window_at(first + count - 1, art)[1]
    for sample in range(low, high, 3001):
        assert sounding(cut, sample) == pytest.approx(sounding(art, sample))
    assert all(low <= cue.at and cue.at + cue.length <= high for cue in cut.cues)
    moved, passed = later(art, first), first * RATE * fps.denominator // fps.numerator
    assert [cue.at for cue in moved.cues] == [cue.at - passed for cue in cues]
    assert abs(window_at(first, art)[0] - window_at(0, moved)[0] - passed) <= 1
    assert replace(moved, cues=art.cues) == art


def sounding(art: WaveArt, sample: int) -> list[float]:
    """Source samples and levels of all cues at a sample, one after the other."""
    heard = [cue for cue in art.cues if cue.at <= sample < cue.at + cue.length]
    return sorted(value for cue in heard for value in (cue.skip + sample - cue.at, level(cue.shape, sample - cue.at)))
