"""Joining clips, and judging the film: a film that is right passes every check, and for each check there is one that fails it."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.films import Pixels, encode, ffmpeg, scenes
from tests.soundstage import FAST, RATE, music, stage, tone, write_wav
from viralsync_pipelines.errors import ClipMissing, RenderError
from viralsync_pipelines.movie.encoding import ENCODERS, Encoder, picture_args, sound_args
from viralsync_pipelines.movie.glances import end_frames, end_size
from viralsync_pipelines.movie.picture import Canvas
from viralsync_pipelines.movie.timing import sample_at_frame
from viralsync_pipelines.render.assemble import ClipDamaged, check_clips, join
from viralsync_pipelines.render.boxes import NotWhole, make_of, moov_first
from viralsync_pipelines.render.deliver import plain_joins
from viralsync_pipelines.render.ffmpeg import ffmpeg_path
from viralsync_pipelines.render.joins import JoinsSeen, judge_join, look_at_joins
from viralsync_pipelines.render.loudness import Loudness, measure
from viralsync_pipelines.render.quality import FILE_CHECKS, Verdict, judge
from viralsync_pipelines.storage import keys

FPS = Fraction(30)
SIDE = 128
FINE = Loudness(-14.0, -1.6)


def field(number: float, seed: int = 3) -> Pixels:
    """A frame of a soft pattern that moves three pixels a frame."""
    x = (np.arange(SIDE)[None, :] + 3 * number) / SIDE * 2 * np.pi
    y = np.arange(SIDE)[:, None] / SIDE * 2 * np.pi
    waves = np.sin(x * 2 + seed) * np.cos(y * 3) + 0.7 * np.sin(x * 5 + y * 4) + 0.4 * np.cos(9 * x - 2 * y * seed)
    grey = np.clip(128 + 45 * waves, 0, 255)
    return np.repeat(grey[..., None], 3, 2).astype(np.uint8)


BLACK = np.zeros((SIDE, SIDE, 3), np.uint8)
TAGGED = ("-vf", "scale=out_color_matrix=bt709:out_range=tv,format=yuv420p,setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709")


def clip(path: Path, frames: Sequence[Pixels], fps: Fraction = FPS, encoder: Encoder = ENCODERS["standard"], *more: str) -> Path:
    """A clip as a scene step makes them."""
    return encode(path, frames, fps, *TAGGED, *picture_args(encoder, fps), *more)


def sound(path: Path, count: int) -> Path:
    """Quiet music of `count` samples, encoded as films have it."""
    write_wav(path.with_suffix(".wav"), np.resize(music(4), (count, 2)) * 0.3)
    ffmpeg("-i", path.with_suffix(".wav"), *sound_args(), path)
    return path


@dataclass(frozen=True)
class Reel:
    """Clips, their lengths, and where pieces meet."""

    folder: Path
    clips: tuple[Path, ...]
    counts: tuple[int, ...]

    @property
    def frames(self) -> int:
        return sum(self.counts)

    @property
    def joins(self) -> list[int]:
        return [int(n) for n in np.cumsum(self.counts)[:-1]]

    def film(self, fps: Fraction = FPS, extra: int = 0, name: str = "film.mp4") -> Path:
        length = sample_at_frame(self.frames, fps) + extra
        track = sound(self.folder / f"sound{length}.m4a", length)
        join(self.clips, self.counts, fps, track, self.folder, self.folder / name, comment="test")
        return self.folder / name


def reel(folder: Path, *parts: Sequence[Pixels], fps: Fraction = FPS, encoder: Encoder = ENCODERS["standard"]) -> Reel:
    folder.mkdir(parents=True, exist_ok=True)
    made = tuple(clip(folder / f"clip{i}.mp4", part, fps, encoder) for i, part in enumerate(parts))
    return Reel(folder, made, tuple(map(len, parts)))


def run_of(first: int, count: int, seed: int = 3) -> list[Pixels]:
    return [field(n, seed) for n in range(first, first + count)]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Reel:
    """Three pieces of one movement, as a scene, its transition and the next scene are."""
    return reel(tmp_path_factory.mktemp("good"), run_of(0, 71), run_of(71, 17), run_of(88, 40))


@pytest.fixture(scope="module")
def film(good: Reel) -> Path:
    return good.film()


NONE = JoinsSeen(0, 0, ())


def seen_in(path: Path, frames: int, joins: Sequence[int]) -> JoinsSeen:
    """What the joins of a film look like, with the end frames of its pieces taken out of the film itself."""
    import av

    if not joins:
        return NONE
    canvas = Canvas(SIDE, SIDE, FPS)
    wide, tall = end_size(canvas)
    with av.open(str(path)) as container:
        luma = [frame.to_ndarray()[:SIDE][:: SIDE // tall, :: SIDE // wide] for frame in container.decode(video=0)]
    edges = [0, *joins, frames]
    counts = [b - a for a, b in zip(edges, edges[1:], strict=False)]

    def ends_of(number: int) -> bytes:
        return b"".join(np.ascontiguousarray(luma[edges[number] + n]).tobytes() for n in end_frames(counts[number]))

    return look_at_joins(counts, joins, canvas, ends_of)


def verdicts(path: Path, frames: int, joins: Sequence[int] = (), heard: Loudness = FINE, target: float | None = -14.0) -> dict[str, Verdict]:
    found = judge(path, frames, FPS, seen_in(path, frames, joins), heard, target, -1.5)
    assert tuple(v.name for v in found) == FILE_CHECKS
    return {v.name: v for v in found}


def failed(found: dict[str, Verdict]) -> list[str]:
    return [name for name, verdict in found.items() if not verdict.passed]


def copied(film: Path, name: str, *args: str) -> Path:
    """The film once more, with something done to it on the way."""
    out = film.parent / name
    ffmpeg("-i", film, "-map", "0", "-c", "copy", *args, out)
    return out


# Every verdict can pass, and can fail.


def test_a_film_that_is_right_passes(good: Reel, film: Path) -> None:
    found = verdicts(film, good.frames, good.joins)
    assert failed(found) == []
    assert found["joins"].found == "2 joins are clean"
    assert found["colour_tags"].found == "yuv420p bt709/bt709/bt709 tv"


def test_a_missing_frame_is_counted(good: Reel, film: Path) -> None:
    cut = copied(film, "cut.mp4", "-movflags", "+faststart", "-bsf:v", "noise=drop='eq(n,127)'")
    found = verdicts(cut, good.frames)
    assert failed(found) == ["frame_count"]
    assert found["frame_count"].found.startswith("127 frames")
    hole = copied(film, "hole.mp4", "-movflags", "+faststart", "-bsf:v", "noise=drop='eq(n,60)'")
    assert "times uneven from frame" in verdicts(hole, good.frames)["frame_count"].found


def test_frames_at_uneven_times_are_found_though_their_number_is_right(good: Reel, film: Path) -> None:
    late = copied(film, "late.mp4", "-movflags", "+faststart", "-bsf:v", "setts=pts=PTS+if(eq(N\\,80)\\,100\\,0)")
    found = verdicts(late, good.frames)
    assert failed(found) == ["frame_count"]
    assert found["frame_count"].found.startswith("128 frames, times uneven from frame ")


def test_a_picture_that_begins_late_is_found(good: Reel, film: Path) -> None:
    """Half a frame of nothing at the start shifts every frame against its sound."""
    late = copied(film, "shifted.mp4", "-movflags", "+faststart", "-bsf:v", "setts=ts=TS+256")
    assert "times uneven from frame 0 on" in verdicts(late, good.frames)["frame_count"].found


@pytest.mark.parametrize("extra", [4_000, -4_000])
def test_sound_longer_or_shorter_than_the_picture_by_more_than_a_frame_is_found(good: Reel, extra: int) -> None:
    found = verdicts(good.film(extra=extra, name=f"apart{extra}.mp4"), good.frames)
    assert failed(found) == ["av_length"]
    assert found["av_length"].found == "0.0833 s apart"


def test_a_loud_film_and_a_hot_one_are_found_by_what_is_measured(tmp_path: Path) -> None:
    for level, wrong in ((0.6, ["loudness"]), (3.5, ["loudness", "true_peak"])):
        grid = music(4) * level
        raw = tmp_path / "raw.f32"
        grid.astype(np.float32).tofile(raw)
        ffmpeg("-f", "f32le", "-ar", str(RATE), "-ac", "2", "-i", raw, *sound_args(), tmp_path / "loud.m4a")
        heard = measure(["-f", "mov", "-i", str(tmp_path / "loud.m4a")])
        made = reel(tmp_path / f"r{level}", run_of(0, 120))
        join(made.clips, made.counts, FPS, tmp_path / "loud.m4a", made.folder, made.folder / "film.mp4", comment="")
        found = verdicts(made.folder / "film.mp4", 120, (), heard)
        assert failed(found) == wrong
        assert found["loudness"].found.endswith(" LUFS")
        # Where levels were to be left alone, no level is wrong.
        assert failed(verdicts(made.folder / "film.mp4", 120, (), heard, None)) == []


def test_words_about_loudness_say_why(film: Path, good: Reel) -> None:
    short = verdicts(film, good.frames, (), Loudness(-21.0, -1.1))["loudness"]
    assert not short.passed
    assert "short peaks reach the ceiling" in short.found
    silent = verdicts(film, good.frames, (), Loudness(-np.inf, -np.inf))
    assert failed(silent) == []
    assert silent["loudness"].found == "silence"


def test_an_index_behind_the_pictures_is_found(good: Reel, film: Path) -> None:
    slow = copied(film, "slow.mp4")
    assert not moov_first(slow)
    found = verdicts(slow, good.frames, good.joins)
    assert failed(found) == ["moov_first"]
    assert found["moov_first"].found == "mdat first"


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ("colour_primaries=2:transfer_characteristics=2:matrix_coefficients=2", "yuv420p unknown/unknown/unknown tv"),
        ("colour_primaries=2", "yuv420p bt709/unknown/bt709 tv"),
        ("transfer_characteristics=6", "yuv420p bt709/bt709/smpte170m tv"),
        ("matrix_coefficients=6", "yuv420p smpte170m/bt709/bt709 tv"),
        ("video_full_range_flag=1", "yuvj420p bt709/bt709/bt709 pc"),
    ],
)
def test_colours_that_a_player_would_have_to_guess_are_found(good: Reel, film: Path, flags: str, told: str) -> None:
    """Headers rewritten, and the container's own colour box left out."""
    out = film.parent / "colours.mp4"
    ffmpeg("-i", film, "-map", "0:v", "-c", "copy", "-bsf:v", f"h264_mp4toannexb,h264_metadata={flags}", "-f", "h264",
           film.parent / "bare.h264")  # fmt: skip
    ffmpeg("-r", "30", "-i", film.parent / "bare.h264", "-i", film, "-map", "0:v", "-map", "1:a", "-c", "copy",
           "-movflags", "+faststart", out)  # fmt: skip
    found = verdicts(out, good.frames)["colour_tags"]
    assert not found.passed
    assert found.found == told


# Around joins.

BAD: dict[str, tuple[Callable[[list[Pixels], list[Pixels]], None], str]] = {
    "black at the end": (lambda a, b: a.__setitem__(-1, BLACK), "frame 70 is black"),
    "black at the start": (lambda a, b: b.__setitem__(0, BLACK), "frame 71 is black"),
    "two black at the end": (lambda a, b: a.__setitem__(slice(-2, None), [BLACK, BLACK]), "frame 69 is black; frame 70 is black"),
    "repeated": (lambda a, b: b.__setitem__(0, a[-1]), "frame 71 repeats the one before"),
    "frozen": (lambda a, b: a.__setitem__(slice(-3, None), [a[-4]] * 3), "the picture stands still for the last 3 frames before frame 71"),
}


@pytest.mark.parametrize("name", list(BAD))
def test_what_is_wrong_at_a_join_is_seen_and_named(tmp_path: Path, name: str) -> None:
    spoil, words = BAD[name]
    before, after = run_of(0, 71), run_of(71, 40)
    spoil(before, after)
    made = reel(tmp_path, before, after)
    found = verdicts(made.film(), made.frames, made.joins)
    assert failed(found) == ["joins"]
    assert found["joins"].found == words


@pytest.mark.parametrize(("place", "number"), [(-1, 70), (0, 71)])
def test_a_stray_frame_between_two_that_are_alike_is_seen(tmp_path: Path, place: int, number: int) -> None:
    """A still picture through two pieces; one frame of another scene has got in between."""
    before, after = [field(0)] * 71, [field(0)] * 40
    (before if place else after)[place] = field(20, seed=9)
    made = reel(tmp_path, before, after)
    found = verdicts(made.film(), made.frames, made.joins)
    assert failed(found) == ["joins"]
    assert found["joins"].found == f"frame {number} is a stray"


GOOD: dict[str, tuple[list[Pixels], list[Pixels]]] = {
    "a hard cut": (run_of(0, 50), run_of(0, 40, seed=8)),
    "a still": ([field(0)] * 50, [field(0)] * 40),
    "from a still to a movement": ([field(0)] * 50, run_of(0, 40)),
    "out of black": ([BLACK] * 50, run_of(0, 40)),
    "into black": (run_of(0, 50), [BLACK] * 40),
    "footage of 15 frames a second": ([field(n // 2 * 2) for n in range(51)], [field(n // 2 * 2) for n in range(51, 90)]),
    "footage of 24 frames a second": ([field(n * 4 // 5) for n in range(51)], [field(n * 4 // 5) for n in range(51, 90)]),
    "footage of 25 frames a second": ([field(n * 5 // 6) for n in range(55)], [field(n * 5 // 6) for n in range(55, 90)]),
    "a movement that comes to rest": ([field(60 - 60 * (1 - n / 50) ** 2) for n in range(50)], run_of(0, 40, seed=8)),
}


@pytest.mark.parametrize("name", list(GOOD))
def test_what_only_looks_odd_at_a_join_is_left_in_peace(tmp_path: Path, name: str) -> None:
    made = reel(tmp_path, *GOOD[name])
    assert verdicts(made.film(), made.frames, made.joins)["joins"].found == "1 joins are clean"


def test_pieces_of_a_frame_or_two_are_judged_like_others(tmp_path: Path) -> None:
    made = reel(tmp_path, run_of(0, 20), run_of(20, 1), run_of(21, 2), run_of(23, 20))
    assert failed(verdicts(made.film(), made.frames, made.joins)) == []


def test_a_film_of_one_piece_has_no_joins(tmp_path: Path) -> None:
    made = reel(tmp_path, run_of(0, 1))
    found = verdicts(made.film(), 1)
    assert failed(found) == []
    assert found["joins"].found == "0 joins are clean"


def test_a_bad_join_among_two_hundred_is_found(tmp_path: Path) -> None:
    short, bad = run_of(0, 12), run_of(0, 12)
    bad[-1] = BLACK
    once = reel(tmp_path, short, bad, run_of(12, 12))
    clips = tuple(once.clips[1 if i == 120 else i % 2 * 2] for i in range(200))
    many = Reel(tmp_path, clips, (12,) * 200)
    path = many.film()
    assert "frame 1451 is black" in verdicts(path, many.frames, many.joins)["joins"].found


def test_a_thousand_joins_are_judged_with_the_frames_of_a_few_in_memory() -> None:
    """Ends are asked for in order of the film, each piece's once for the join before it and at most once for the one after."""
    canvas, asked = Canvas(SIDE, SIDE, FPS), []
    wide, tall = end_size(canvas)

    def ends_of(number: int) -> bytes:
        asked.append(number)
        return bytes([100 + number % 2]) * (wide * tall * 16)

    seen = look_at_joins([120] * 1000, range(120, 120_000, 120), canvas, ends_of)
    assert seen == JoinsSeen(999, 0, ())
    assert asked == list(range(1000))


def test_joins_that_nobody_could_see_are_said(film: Path, good: Reel) -> None:
    """Frames that have gone from the store, or are not what a piece gives: what nobody looked at has not passed."""
    canvas = Canvas(SIDE, SIDE, FPS)
    for gone in (None, b"", b"torn"):
        seen = look_at_joins(good.counts, good.joins, canvas, lambda _, gone=gone: gone)
        assert seen == JoinsSeen(2, 2, ())
    found = {v.name: v for v in judge(film, good.frames, FPS, seen, FINE, -14.0, -1.5)}["joins"]
    assert not found.passed
    assert found.found == "2 of 2 joins could not be seen: the end frames beside their clips have gone"


def test_judging_frames_needs_frames() -> None:
    assert judge_join(5, {}) == ["frame 4 is missing", "frame 5 is missing"]


def test_a_flash_that_the_plan_puts_at_a_join_is_no_stray_frame(tmp_path: Path) -> None:
    flash = {"type": "shape", "color": "#ffffff", "duration": 0.034}
    place = stage(tmp_path)
    document = scenes({"duration": 1}, {"duration": 1, "layers": [flash]}, {"duration": 1}, {"duration": 0.1})
    prepared, made, _ = place.film(document, FAST)
    assert plain_joins(prepared.plan.pieces) == [60, 90]
    assert [v for v in made.verdicts if not v.passed] == []


# Joining.


def test_a_clip_that_has_gone_is_an_error_and_never_a_shorter_film(good: Reel, tmp_path: Path) -> None:
    gone = replace(good, folder=tmp_path, clips=(good.clips[0], tmp_path / "gone.mp4", good.clips[2]))
    with pytest.raises(ClipMissing, match="the clip gone has gone; run the movie again"):
        gone.film()
    assert not (tmp_path / "film.mp4").exists()


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, 0.99])
def test_half_a_clip_is_never_taken_for_a_whole_one(good: Reel, tmp_path: Path, keep: float) -> None:
    data = good.clips[1].read_bytes()
    half = tmp_path / "half.mp4"
    half.write_bytes(data[: int(keep if keep > 1 else keep * len(data))])
    with pytest.raises(NotWhole):
        make_of(half)
    with pytest.raises(ClipDamaged, match="the clip half is damaged") as caught:
        replace(good, folder=tmp_path, clips=(good.clips[0], half, good.clips[2])).film()
    assert (caught.value.code, caught.value.clip) == ("CLIP_DAMAGED", half)


def test_a_clip_of_another_length_than_planned_is_refused_though_the_sum_is_right(good: Reel) -> None:
    swapped = replace(good, counts=(70, 18, 40))
    assert swapped.frames == good.frames
    with pytest.raises(ClipDamaged, match="has 71 frames where 70 were planned"):
        swapped.film(name="swapped.mp4")


def test_a_clip_made_otherwise_is_refused_and_the_difference_named(tmp_path: Path) -> None:
    first = clip(tmp_path / "first.mp4", run_of(0, 8))
    large = [np.pad(f, ((0, 32), (0, 0), (0, 0))) for f in run_of(0, 8)]
    others = {
        "it is 128x160, not 128x128": clip(tmp_path / "large.mp4", large),
        "its clock has 12800 ticks a second, not 15360": clip(tmp_path / "slow.mp4", run_of(0, 8), Fraction(25)),
        "its frames last 1024 ticks, not 512": encode(
            tmp_path / "half.mp4", run_of(0, 8), "15", *TAGGED, *picture_args(ENCODERS["standard"], FPS), "-video_track_timescale", "15360"
        ),
        "its H.264 headers are others .profile 77 level": encode(
            tmp_path / "main.mp4", run_of(0, 8), "30", *TAGGED, *picture_args(ENCODERS["standard"], FPS), "-profile:v", "main"
        ),
        "its H.264 headers are others .profile 110 level": encode(
            tmp_path / "deep.mp4", run_of(0, 8), "30", *TAGGED, *picture_args(ENCODERS["standard"], FPS),
            "-profile:v", "high10", "-pix_fmt", "yuv420p10le",
        ),
        "its H.264 headers are others": encode(
            tmp_path / "untagged.mp4", run_of(0, 8), "30", *picture_args(ENCODERS["standard"], FPS), "-color_primaries", "bt470bg"
        ),
        "it is hev1, not avc1": encode(
            tmp_path / "hevc.mp4", run_of(0, 8), "30", "-c:v", "libx265", "-x265-params", "log-level=none", "-video_track_timescale", "15360"
        ),
    }  # fmt: skip
    for words, other in others.items():
        with pytest.raises(ClipDamaged, match=words) as caught:
            check_clips([first, other], [8, 8], FPS)
        assert caught.value.code == "CLIPS_DIFFER", words


@pytest.mark.parametrize("fps", ["30", "25", "60", "30000/1001", "24000/1001", "2997/100", "15", "1"])
def test_pieces_of_any_encoder_setting_and_length_join_at_every_rate(tmp_path: Path, fps: str) -> None:
    """A single frame has the beat of its film too; crf does not show in the headers, so that one film's pieces always match."""
    rate = Fraction(fps)
    parts = [run_of(0, 9), run_of(9, 1), run_of(10, 2), [BLACK] * 5, run_of(0, 7)]
    made = reel(tmp_path, *parts, fps=rate)
    softer = clip(tmp_path / "soft.mp4", parts[0], rate, replace(ENCODERS["standard"], crf=35))
    made = replace(made, clips=(*made.clips, softer), counts=(*made.counts, 9))
    check_clips(made.clips, made.counts, rate)
    path = made.film(rate)
    found = {v.name: v for v in judge(path, made.frames, rate, NONE, FINE, -14.0, -1.5)}
    assert [v for v in (found["frame_count"], found["av_length"], found["moov_first"], found["colour_tags"]) if not v.passed] == []


def test_lengths_that_no_frame_of_aac_ends_on_stay_within_a_frame_of_the_picture(tmp_path: Path) -> None:
    for count in (1, 2, 7, 31):
        made = reel(tmp_path / str(count), run_of(0, count), fps=Fraction(60))
        found = judge(made.film(Fraction(60)), count, Fraction(60), NONE, FINE, -14.0, -1.5)
        assert found[1].name == "av_length"
        assert found[1].found == "0.0000 s apart"


def test_the_film_plays_without_a_word_of_complaint(film: Path) -> None:
    said = subprocess.run(
        [ffmpeg_path(), "-v", "warning", "-xerror", "-i", film, "-f", "null", "-"], capture_output=True, text=True, check=True
    )
    assert said.stderr == ""


def test_the_same_clips_give_the_same_film_wherever_they_lie(good: Reel, film: Path, tmp_path: Path) -> None:
    folder = tmp_path / "it's a \"quoted\" folder, ünïcodé 映画 \\ %d #1"
    folder.mkdir()
    clips = tuple(Path(shutil.copy(path, folder / f"näme '{i}'.mp4")) for i, path in enumerate(good.clips))
    elsewhere = Reel(folder, clips, good.counts)
    assert elsewhere.film().read_bytes() == film.read_bytes()


def test_a_damaged_clip_in_the_store_is_made_again_by_the_next_run(tmp_path: Path) -> None:
    """A clip that is there counts as rendered for ever; a broken one must not stand in the way of every later run."""
    place = stage(tmp_path)
    write_wav(tmp_path / "beep.wav", tone(0.2))
    beep = {"type": "audio", "src": "beep.wav"}
    document = scenes({"duration": 0.5, "bgColor": "#804020", "layers": [beep]}, {"duration": 0.5, "bgColor": "#208040"})
    prepared = place.plan(document)
    place.render(prepared, FAST)
    broken = place.store.local_path(keys.clip_key(prepared.clip_keys[1]))
    assert broken is not None
    whole = broken.read_bytes()
    place.store.put_bytes(keys.clip_key(prepared.clip_keys[1]), whole[:-1000])
    with pytest.raises(ClipMissing, match="removed and is rendered again") as caught:
        place.film(document, FAST)
    assert caught.value.code == "CLIP_DAMAGED"
    _, made, _ = place.film(document, FAST)
    assert made.frames == 30
    place.store.delete(keys.clip_key(prepared.clip_keys[0]))
    # Nothing is rendered for a film that is there.
    assert place.film(document, FAST)[1].hit


def test_frames_that_get_lost_in_joining_are_an_error(good: Reel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The joined film is counted once more, whatever its clips said."""
    from viralsync_pipelines.render import assemble

    monkeypatch.setattr(assemble, "check_clips", lambda *_: 2)
    with pytest.raises(RenderError, match="has 128 frames where 129 were planned") as caught:
        replace(good, counts=(71, 17, 41)).film(name="lost.mp4")
    assert caught.value.code == "FRAMES_LOST"
