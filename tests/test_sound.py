"""The film's sound: every sample where the plan puts it, every film at its loudness, judged by meters that are not ffmpeg's."""

from __future__ import annotations

import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.films import ffmpeg, scenes
from tests.soundstage import FAST, RATE, Samples, heard, lufs, mixed, music, onsets, read_wav, silence, stage, tone, true_peak, write_wav
from viralsync_pipelines.errors import RenderError
from viralsync_pipelines.movie.mix import Cue, Mix, Point, duck_under, fades, level
from viralsync_pipelines.movie.script import Line
from viralsync_pipelines.movie.timing import samples
from viralsync_pipelines.render.loudness import Heard, master, peak_allowed
from viralsync_pipelines.render.probe import probe
from viralsync_pipelines.render.sniff import sniff_file
from viralsync_pipelines.render.sound import mix_raw, mix_sound


def raw(folder: Path, mix: Mix) -> Samples:
    """The mix before mastering; sources are files of `folder` by name."""
    mix_raw(mix, lambda name: folder / name, folder, folder / "mix.f32")
    out = np.fromfile(folder / "mix.f32", np.float32).reshape(-1, 2).astype(np.float64)
    assert len(out) == mix.length
    return out


def alone(folder: Path, name: str, demuxer: str, length: int, *, skip: int = 0, span: int = 0, speed: Fraction = Fraction(1)) -> Samples:
    return raw(folder, mixed([Cue(name, demuxer, 0, length, skip, span, speed)], length))


def along(points: tuple[Point, ...], places: Samples) -> Samples:
    """An envelope at many places; 1 where there is none."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    return np.interp(places, xs, ys) if points else np.ones(len(places))


# Placement.


def test_every_cue_lies_on_its_sample_with_its_gain_fades_loops_trims_and_ducking(tmp_path: Path) -> None:
    """Held against a sum made sample by sample the long way. Cues cross the ten-second blocks in which the mix is made."""
    rng = np.random.default_rng(7)
    for name, seconds in (("a", 3.0), ("b", 0.7), ("c", 25.0)):
        write_wav(tmp_path / name, rng.uniform(-0.5, 0.5, (round(seconds * RATE), 2)))
    sources = {name: read_wav(tmp_path / name) for name in "abc"}
    ducking = duck_under([(500_000, 600_000), (900_000, 950_000)], 0.25, 0.15, 0.4, 0.6)
    cues = [
        Cue("c", "wav", 0, 25 * RATE, 0, gain=0.3, duck=True, shape=fades(25 * RATE, 24_000, 48_000)),
        Cue("b", "wav", 12_345, 900_001, 777, span=20_011, gain=0.7),
        Cue("a", "wav", 479_999, 100_003, 1001, shape=((0, 0.0), (50_000, 1.5), (100_003, 0.2))),
        Cue("a", "wav", 479_998, 3 * RATE, 0, gain=2.0, duck=True),
        Cue("b", "wav", 960_000, 3 * RATE, 0, gain=0.1),
        Cue("c", "wav", 100, 1, 4711),
        Cue("a", "wav", 25 * RATE - 10, RATE, 0),
    ]
    length = 25 * RATE + 17
    wanted = np.zeros((length, 2))
    for cue in cues:
        source = sources[cue.source]
        for first in range(0, cue.length, 100_000):
            n = np.arange(first, min(first + 100_000, cue.length, length - cue.at))
            at = cue.skip + (n % cue.span if cue.span else n)
            piece = np.where((at < len(source))[:, None], source[np.minimum(at, len(source) - 1)], 0)
            gain = cue.gain * along(cue.shape, n)
            if cue.duck:
                gain = gain * along(ducking, n + cue.at)
            wanted[cue.at + n] += piece * gain[:, None]
    assert np.abs(raw(tmp_path, mixed(cues, length, ducking)) - wanted).max() < 2e-6


def test_mono_is_as_loud_as_the_same_in_stereo_and_one_side_stays_on_its_side(tmp_path: Path) -> None:
    write_wav(tmp_path / "mono", tone(0.5))
    write_wav(tmp_path / "both", np.stack([tone(0.5)] * 2, 1))
    write_wav(tmp_path / "left", np.stack([tone(0.5), silence(0.5)], 1))
    mono, both, left = (alone(tmp_path, name, "wav", RATE // 2) for name in ("mono", "both", "left"))
    assert np.abs(mono - both).max() < 1e-4
    assert np.abs(left[:, 0] - both[:, 0]).max() < 1e-4
    assert np.abs(left[:, 1]).max() == 0


def test_surround_is_mixed_down_by_the_usual_weights(tmp_path: Path) -> None:
    """ITU-R BS.775: centre and surrounds at -3 dB, no bass effects."""
    share = 0.5**0.5
    wanted = {0: (1, 0), 1: (0, 1), 2: (share, share), 3: (0, 0), 4: (share, 0), 5: (0, share)}
    for channel, (left, right) in wanted.items():
        grid = np.zeros((RATE // 4, 6))
        grid[:, channel] = tone(0.25, level=0.4)
        write_wav(tmp_path / "plain", grid)
        ffmpeg("-f", "wav", "-i", tmp_path / "plain", "-af", "channelmap=channel_layout=5.1", "-f", "wav", tmp_path / "surround")
        found = alone(tmp_path, "surround", "wav", RATE // 4)
        assert np.abs(np.abs(found).max(0) - 0.4 * np.array([left, right])).max() < 1e-3


@pytest.mark.parametrize(
    ("name", "demuxer", "codec"),
    [("a.mp4", "mov", ("-c:a", "aac")), ("a.mov", "mov", ("-c:a", "pcm_s16le")), ("a.mkv", "matroska", ("-c:a", "flac")),
     ("a.webm", "matroska", ("-c:v", "libvpx", "-c:a", "libopus"))],
)  # fmt: skip
@pytest.mark.parametrize("late", ["sound", "picture"])
def test_sound_that_starts_later_or_earlier_than_its_picture_stays_where_it_is(
    tmp_path: Path, name: str, demuxer: str, codec: tuple[str, ...], late: str
) -> None:
    """The beep stands at 1.0 s of the file's own clock, and is heard there; with trimStart 0.4 s it is heard at 0.6 s."""
    at = 0.5 if late == "sound" else 1.0
    write_wav(tmp_path / "beep.wav", np.concatenate([silence(at), tone(0.1), silence(0.5)]))
    picture = ("-f", "lavfi", "-i", "color=black:s=64x64:r=30:d=2")
    sound = ("-i", tmp_path / "beep.wav")
    shifted = (*picture, "-itsoffset", "0.5", *sound) if late == "sound" else ("-itsoffset", "0.3", *picture, *sound)
    ffmpeg(*shifted, "-map", "0:v", "-map", "1:a", "-preset", "ultrafast", *codec, tmp_path / name)
    for skip in (0.0, 0.4):
        (found,) = onsets(alone(tmp_path, name, demuxer, 3 * RATE // 2, skip=round(skip * RATE)))
        assert abs(found + skip - 1.0) < 0.003


@pytest.mark.parametrize(
    ("name", "codec"),
    [("bed.wav", ("-c:a", "pcm_s16le")), ("bed.mp3", ("-c:a", "libmp3lame")), ("bed.m4a", ("-c:a", "aac")),
     ("bed.ogg", ("-c:a", "libvorbis")), ("bed.flac", ("-c:a", "flac")), ("bed.mka", ("-c:a", "libopus", "-ar", "48000"))],
)  # fmt: skip
def test_a_loop_has_no_gap_at_its_seam(tmp_path: Path, name: str, codec: tuple[str, ...]) -> None:
    """3.3 s at 44.1 kHz, 440 Hz: nowhere in 12 s is there a millisecond of quiet, whatever container the bed came in."""
    write_wav(tmp_path / "unit.wav", tone(3.3, 440, rate=44_100), 44_100)
    ffmpeg("-i", tmp_path / "unit.wav", *codec, tmp_path / name)
    sniffed = sniff_file(tmp_path / name)
    info = probe(tmp_path / name, sniffed)
    span = samples(info.audio_duration or Fraction(0))
    found = np.abs(alone(tmp_path, name, sniffed.demuxer, 12 * RATE, span=span)[:, 0])
    crests = found[: len(found) // 120 * 120].reshape(-1, 120).max(1)  # 2.5 ms hold at least one crest of 440 Hz
    assert crests[2:].min() > 0.25


def test_a_clip_whose_sound_ends_early_keeps_its_rounds(tmp_path: Path) -> None:
    """The picture takes two seconds a round; its sound of one second begins anew with it, not when it has ended."""
    write_wav(tmp_path / "clip", np.concatenate([tone(0.1), silence(0.9)]))
    cue = Cue("clip", "wav", 0, 6 * RATE, 0, span=2 * RATE, follows=True)
    assert onsets(raw(tmp_path, mixed([cue], 6 * RATE))) == [0.0, 2.0, 4.0]


@pytest.mark.parametrize("speed", ["0.25", "0.5", "0.8", "1.25", "2", "5"])
def test_speed_keeps_the_pitch_and_the_place_of_every_sound_and_the_length(tmp_path: Path, speed: str) -> None:
    rate = Fraction(speed)
    bursts = [1.0, 2.5, 4.25, 7.5]
    sound = silence(8.0)
    for burst in bursts:
        sound[round(burst * RATE) :][: RATE // 4] = tone(0.25)
    write_wav(tmp_path / "a", sound)
    length = samples(8 / rate)
    found = alone(tmp_path, "a", "wav", length, speed=rate)
    power = found[:, 0] ** 2
    for burst in bursts:
        # The middle of each burst: stretching blurs edges by half a window, so onsets say less.
        first, last = round((burst - 0.5) / rate * RATE), round(min(8, burst + 0.75) / rate * RATE)
        middle = (np.arange(first, last) * power[first:last]).sum() / power[first:last].sum() / RATE
        assert abs(middle - (burst + 0.125) / rate) < 0.005 + 0.003 / rate
    spectrum = np.abs(np.fft.rfft(found[:, 0] * np.hanning(len(found))))
    assert abs(np.argmax(spectrum) * RATE / len(found) - 1000) < 15
    # Sound up to the very end where the source has it.
    write_wav(tmp_path / "b", tone(3.0))
    steady = np.abs(alone(tmp_path, "b", "wav", samples(3 / rate), speed=rate)[:, 0])
    assert steady[-480:].max() > 0.2


# What it takes.

LIMITS = """
import resource, sys
from pathlib import Path
import numpy as np
from viralsync_pipelines.movie.mix import Cue, Mix, fades
from viralsync_pipelines.render.sound import mix_raw
folder, files, cues, seconds = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
# Fewer open files than there are sources, as on a machine with the usual 1,024 and a film of 1,100 lines.
resource.setrlimit(resource.RLIMIT_NOFILE, (128, 128))
total = seconds * 48000
made = [Cue(f"{i % files}.wav", "wav", i * (total - 48000) // cues, 24000, 0) for i in range(cues)]
bed = Cue("bed.wav", "wav", 0, total, 0, span=5 * 48000, gain=0.2, duck=True, shape=fades(total, 48000, 48000))
mix = Mix(total, (bed, *made), ((0, 1.0), (total // 2, 0.5), (total, 1.0)), None, -1.5)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
mix_raw(mix, lambda name: folder / name, folder, folder / "mix.f32")
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024, (folder / "mix.f32").stat().st_size)
"""


@pytest.mark.parametrize(("files", "cues", "seconds"), [(100, 100, 600), (300, 1000, 120)])
def test_memory_and_open_files_do_not_grow_with_the_film_or_its_cues(tmp_path: Path, files: int, cues: int, seconds: int) -> None:
    """Ten minutes are 230 MB of samples; mixing them takes some blocks of 4 MB. 300 sources are mixed with 128 files allowed."""
    write_wav(tmp_path / "bed.wav", music(5))
    for number in range(files):
        write_wav(tmp_path / f"{number}.wav", tone(0.3, 200 + number))
    done = subprocess.run(
        [sys.executable, "-c", LIMITS, str(tmp_path), str(files), str(cues), str(seconds)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    grown, size = map(int, done.stdout.split())
    assert size == seconds * RATE * 8
    assert grown < 64


SHORT = """
import resource, sys
from pathlib import Path
from viralsync_pipelines.movie.mix import Cue, Mix
from viralsync_pipelines.render.sound import mix_raw
folder = Path(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
cues = (Cue("long", "wav", 0, 48000, 55 * 48000), Cue("long", "wav", 48000, 24000, 56 * 48000 + 7))
mix_raw(Mix(96000, cues, (), None, -1.5), lambda name: folder / name, folder, folder / "mix.f32")
"""


def test_only_what_is_heard_of_a_long_source_is_decoded_to_disk(tmp_path: Path) -> None:
    """Two seconds out of a minute, on a disk where no file may have more than three: an hour decoded whole takes 1.4 GB."""
    write_wav(tmp_path / "long", np.concatenate([silence(55), tone(5)]))
    done = subprocess.run([sys.executable, "-c", SHORT, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = np.fromfile(tmp_path / "mix.f32", np.float32).reshape(-1, 2)[:, 0]
    source = read_wav(tmp_path / "long")[:, 0]
    assert np.abs(found[:48_000] - source[55 * RATE : 56 * RATE]).max() < 1e-6
    assert np.abs(found[48_000:72_000] - source[56 * RATE + 7 :][:24_000]).max() < 1e-6
    assert not found[72_000:].any()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_is_named(tmp_path: Path) -> None:
    with pytest.raises(RenderError, match="disk is full") as caught:
        mix_raw(mixed([], 20 * RATE), lambda name: tmp_path / name, tmp_path, Path("/dev/full"))
    assert caught.value.code == "DISK_FULL"


# Mastering.


def mastered(folder: Path, sound: Samples, loudness: float | None = -14.0, peak: float = -1.5) -> tuple[Heard, Samples]:
    np.asarray(sound, np.float32).tofile(folder / "in.f32")
    notes = master(folder / "in.f32", Mix(len(sound), (), (), loudness, peak), folder / "out.m4a", folder)
    return notes, heard(folder / "out.m4a")


def spoken(folder: Path) -> Samples:
    from viralsync_pipelines.speech.engine import engine_named

    text = "This is how loud a voice is. It pauses, now and then, and it goes on; a sentence like any other, with some stress in it."
    engine_named().speak(Line(text), folder / "line.wav")
    ffmpeg("-i", folder / "line.wav", "-ar", str(RATE), folder / "line48.wav")
    return np.repeat(read_wav(folder / "line48.wav"), 2, 1)


BAND = music(8)
SOUNDS = {
    "music": BAND,
    "nearly silent": BAND * 0.01,
    "hot": BAND * 8,
    "clipped": np.clip(BAND * 20, -1, 1),
    "clipped noise": np.clip(np.random.default_rng(2).standard_normal((6 * RATE, 2)), -1, 1),
    "left only": BAND * [1, 0],
    "off centre": BAND * 0.5 + 0.3,
    "quiet, then loud": np.concatenate([BAND * 0.003, BAND * 0.5]),
    "half a second": BAND[:24_000],
    "one window": BAND[:19_200],
}


@pytest.mark.parametrize("name", [*SOUNDS, "speech"])
def test_every_kind_of_sound_ends_at_its_loudness_and_under_its_peak(tmp_path: Path, name: str) -> None:
    notes, found = mastered(tmp_path, spoken(tmp_path) if name == "speech" else SOUNDS[name])
    assert abs(lufs(found) + 14) <= 0.5
    assert true_peak(found) <= -1.0
    # What the film's checks are told is what is there.
    assert abs(notes.after.lufs - lufs(found)) < 0.15
    assert abs(notes.after.peak - true_peak(found)) < 0.25


def test_other_targets_are_met_too(tmp_path: Path) -> None:
    for target, peak in ((-23.0, -1.0), (-16.0, -3.0), (-9.0, -1.0)):
        _, found = mastered(tmp_path, BAND, target, peak)
        assert abs(lufs(found) - target) <= 0.5
        assert true_peak(found) <= peak_allowed(peak)


def test_gain_alone_is_linear(tmp_path: Path) -> None:
    """Where peaks allow it, loud and soft keep their distance: the film is the mix times one number."""
    quiet = np.concatenate([BAND * 0.1, BAND * 0.02]) * 0.3
    _, found = mastered(tmp_path, quiet, -30.0)
    gains = [float((found[s] * quiet[s]).sum() / (quiet[s] ** 2).sum()) for s in (slice(0, 8 * RATE), slice(8 * RATE, 16 * RATE))]
    assert abs(20 * np.log10(gains[0] / gains[1])) < 0.1


def test_silence_stays_silent(tmp_path: Path) -> None:
    notes, found = mastered(tmp_path, np.zeros((3 * RATE, 2)))
    assert notes.after.silent
    assert np.abs(found).max() == 0
    # Below the gate of EBU R128 there is nothing to make loud: the noise of a silent room stays where it is.
    hiss = np.random.default_rng(1).standard_normal((3 * RATE, 2)) * 1e-5
    notes, found = mastered(tmp_path, hiss)
    assert notes.after.silent
    assert np.abs(found).max() < 1e-4


def test_what_is_too_short_to_have_a_loudness_keeps_its_level_under_the_ceiling(tmp_path: Path) -> None:
    """Loudness is defined from 0.4 s on. 0.3 s keep their level; peaks over the ceiling turn all of it down."""
    _, found = mastered(tmp_path, BAND[:14_400] * 0.3)
    assert abs(np.abs(found).max() / np.abs(BAND[:14_400] * 0.3).max() - 1) < 0.1
    _, found = mastered(tmp_path, BAND[:14_400] * 5)
    assert true_peak(found) <= -1.0


def test_clicks_end_as_loud_as_their_peaks_allow(tmp_path: Path) -> None:
    clicks = np.zeros((4 * RATE, 2))
    clicks[:: RATE // 2] = 1.0
    notes, found = mastered(tmp_path, clicks)
    assert true_peak(found) <= -1.0
    assert notes.after.lufs > notes.before.lufs


def test_without_a_loudness_to_reach_levels_are_left_exactly_alone(tmp_path: Path) -> None:
    for loud in (0.02, 0.5, 0.84):
        steady = np.stack([tone(3, 440, loud), tone(3, 660, loud / 2)], 1)
        _, found = mastered(tmp_path, steady, None)
        for side in (0, 1):
            assert abs(float((found[:, side] * steady[:, side]).sum() / (steady[:, side] ** 2).sum()) - 1) < 0.02
    _, found = mastered(tmp_path, BAND * 1.7, None)
    # Within 0.2 dB, which is what AAC takes from noise; a gain or a limiter would be seen.
    assert abs(float((found * BAND).sum() / (BAND**2).sum()) / 1.7 - 1) < 0.02


@pytest.mark.parametrize("length", [1, 1023, 1024, 1025, 24_000, 99_999])
def test_the_encoded_sound_is_as_long_as_the_film_to_the_sample(tmp_path: Path, length: int) -> None:
    """AAC comes in frames of 1,024 samples; what is too much of the last one is cut off by the file itself."""
    for loud in (0.1, 4.0):  # gain alone; limited at four times the rate and back
        _, found = mastered(tmp_path, np.resize(BAND, (length, 2)) * loud)
        assert len(found) == length


def test_mastering_moves_nothing(tmp_path: Path) -> None:
    """The limiter looks ahead and the rate goes up and down: a click stays on its millisecond through all of that."""
    sound = np.zeros((4 * RATE, 2))
    for at in (0.5, 1.75, 3.25):
        sound[round(at * RATE) :][: RATE // 5] = tone(0.2)[:, None]
    for loud in (0.05, 1.9):
        found = onsets(mastered(tmp_path, sound * loud)[1])
        assert np.abs(np.array(found) - [0.5, 1.75, 3.25]).max() < 0.001


def test_the_same_mix_gives_the_same_bytes(tmp_path: Path) -> None:
    write_wav(tmp_path / "a", BAND)
    mix = Mix(8 * RATE, (Cue("a", "wav", 0, 8 * RATE, 0),), (), -14.0, -1.5)
    made = []
    for name in ("one", "two"):
        scratch = tmp_path / name
        scratch.mkdir()
        mix_sound(mix, lambda name: tmp_path / name, scratch, scratch / "out.m4a")
        made.append((scratch / "out.m4a").read_bytes())
    assert made[0] == made[1]


# In films.


def test_a_film_without_any_sound_has_a_silent_track_and_passes(tmp_path: Path) -> None:
    """Half a second, nothing in it but its background."""
    _, film, path = stage(tmp_path).film(scenes({"duration": 0.5}), FAST)
    assert np.abs(heard(path)).max() == 0
    assert len(heard(path)) == RATE // 2
    assert (film.lufs, film.peak) == (None, None)
    assert [v for v in film.verdicts if not v.passed] == []


def test_a_bed_gives_way_under_a_voice_and_comes_back(tmp_path: Path) -> None:
    place = stage(tmp_path)
    place.lines["hello"] = write_wav(tmp_path / "voice.wav", tone(1.5, 3000, 0.01))
    write_wav(tmp_path / "bed.wav", tone(2.0, 440, 0.2))
    document = scenes(
        {"duration": 6, "layers": [{"type": "voice", "text": "hello", "start": 2}]},
        layers=[{"type": "audio", "src": "bed.wav", "loop": True, "duration": "scene", "duck": True}], audio={"loudness": None},
    )  # fmt: skip
    _, _, path = place.film(document, FAST)
    found = heard(path)[:, 0]
    beds = [np.abs(found[round(s * RATE) :][:4800]).max() for s in (1.0, 2.0, 3.3, 4.5)]
    assert np.allclose(beds, [0.2, 0.06, 0.06, 0.2], atol=0.012)  # 0.2 * 0.25, and the voice's own 0.01
    assert level(duck_under([(2 * RATE, 7 * RATE // 2)], 0.25, 0.15, 0.4, 0.6), 3 * RATE) == 0.25
