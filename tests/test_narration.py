"""A narration's order and its track: who speaks how, every boundary rounded once, words and chapters of the whole, samples copied."""

from __future__ import annotations

import array
import math
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viralsync_pipelines.jobs.lines import parse_spoken, spoken_line
from viralsync_pipelines.movie.script import Word
from viralsync_pipelines.render.joined import cut_wav, join_alike, join_mixed, mp3_of
from viralsync_pipelines.speech.narration import Effect, Narration, Part, Spoken, expanded, narration_of
from viralsync_pipelines.speech.order import Bed, NarrationInvalid, front_matter, read_order, seconds_of
from viralsync_pipelines.speech.track import Chapter, Sound, chapters_of, cues_of, ffmetadata_of, lay_out, mix_of, words_of


def planned(**document: Any) -> Narration:
    return narration_of(read_order(expanded(read_order(document))))


# ---- what is asked for ----------------------------------------------------------------------------------------------


def test_a_line_speaks_as_it_says_itself_else_as_its_name_does_else_as_all_do() -> None:
    script = "---\ntitle: Tea\nvoice: en-us\ncast:\n  Ada: {voice: de, speed: 0.9}\ntags: [x]\n---\n**ada:** Hi 5 km.\n\n**Bob:** Yo."
    found = planned(script=script, speed=1.2, cast={"Bob": {"engine": "espeak", "voice": "fr"}})
    assert found.title == "Tea"
    assert [(row.name, row.line.text, row.line.voice, row.line.engine, row.line.speed) for row in found.lines] == [
        ("ada", "Hi 5 kilometers.", "de", None, 0.9), ("Bob", "Yo.", "fr", "espeak", 1.2),
    ]  # fmt: skip
    # Another engine's voice means nothing to this one.
    (line,) = planned(lines=[{"text": "a", "engine": "piper"}], engine="espeak", voice="de", speed=2.0).lines
    assert (line.line.engine, line.line.voice, line.line.speed) == ("piper", None, 2.0)
    assert planned(lines=["5 km"], normalize=False, dictionary={"km": "clicks"}).lines[0].line.text == "5 clicks"
    assert planned(lines=[{"text": "<speak>5 km</speak>", "ssml": True}]).lines[0].line.text == "<speak>5 km</speak>"


def test_silence_is_the_lines_own_else_that_between_lines_or_sections() -> None:
    found = planned(script="# A\nx\n\ny [pause 2s]\n# B\nz\n\n[sfx: a.ogg | under]\n\nw", gap=0.1, sectionGap=0.5)
    assert [row.pause for row in found.rows] == [0.1, 2.0, 0.1, 0.0, 0.0]
    assert [row.section for row in found.rows] == [0, 0, 1, 1, 1]
    again = read_order(expanded(read_order(expanded(read_order({"script": "# A\nx\n# B\ny"})))))
    assert [part.title for part in narration_of(again).parts] == ["A", "B"]


@pytest.mark.parametrize(
    ("document", "faults"),
    [
        ({}, {"/script": "FIELD_MISSING"}),
        ({"script": "a", "lines": ["b"]}, {"/script": "FIELD_MISSING"}),
        ({"script": "# only a title"}, {"/lines": "FIELD_MISSING"}),
        ({"script": "*(only a direction)*"}, {"/lines": "FIELD_MISSING"}),
        ({"script": "x\n\n" * 501}, {"/lines": "TOO_MANY"}),
        ({"script": "x" * 200_001}, {"/script": "TEXT_TOO_LONG"}),
        ({"script": "---\ngap: x\n---\na"}, {"/script": "TYPE_WRONG"}),
        ({"script": "---\na: [\n---\nb"}, {"/script": "FRONT_MATTER_INVALID"}),
        ({"script": "---\na: &a [1]\nb: *a\n---\nb"}, {"/script": "FRONT_MATTER_INVALID"}),
        ({"lines": ["a", {"sfx": "a", "text": "b"}]}, {"/lines/1/text": "VALUE_NOT_ALLOWED"}),
        ({"lines": ["a", {"text": "b", "speed": 9}]}, {"/lines/1/speed": "VALUE_OUT_OF_RANGE"}),
        ({"lines": [{"text": " "}]}, {"/lines/0/text": "FIELD_MISSING"}),
        ({"lines": [{"audio": {"src": "a", "start": "1:00", "end": 3}}]}, {"/lines/0/audio/end": "VALUE_OUT_OF_RANGE"}),
        ({"lines": ["a"], "bed": {"src": "a", "mode": "x"}}, {"/bed/mode": "VALUE_NOT_ALLOWED"}),
        ({"lines": ["a"], "vioce": "x"}, {"/vioce": "FIELD_UNKNOWN"}),
        ({"lines": ["a"], "gap": float("nan")}, {"/gap": "NUMBER_INVALID"}),
    ],
)  # fmt: skip
def test_every_fault_is_told_with_its_place(document: dict[str, Any], faults: dict[str, str]) -> None:
    with pytest.raises(NarrationInvalid) as raised:
        planned(**document)
    assert {problem.pointer: problem.code for problem in raised.value.problems} == faults


def test_rules_at_the_top_are_no_front_matter_and_stamps_are_read() -> None:
    assert front_matter("---\nJust a rule.\n---\nb") == ({}, "---\nJust a rule.\n---\nb")
    assert front_matter("---\ntitle: x\r\n---\r\nb") == ({"title": "x"}, "b")
    assert [seconds_of(each) for each in ("1:02.5", "12", "1:00:01", 3)] == [62.5, 12, 3601, 3]


# ---- where it stands -------------------------------------------------------------------------------------------------


def row(number: int, text: str = "One two.", pause: float = 0.0, section: int = 0) -> Spoken:
    found = narration_of(read_order({"lines": [text]})).lines[0]
    return Spoken(number, section, None, found.line, found.reading, None, pause)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(1, 200_000), st.floats(0, 2)), min_size=1, max_size=20), st.booleans())
@example([(1, 0.75), (1, 0.0)], False)
def test_every_boundary_is_rounded_once_from_its_exact_time(lines: list[tuple[int, float]], mixed: bool) -> None:
    rates = [22_050, 24_000] if mixed and len(lines) > 1 else [22_050]
    sounds = [Sound("a", samples, rates[n % len(rates)]) for n, (samples, _) in enumerate(lines)]
    narration = Narration("", (Part("", ()),), tuple(row(n, pause=pause) for n, (_, pause) in enumerate(lines, 1)), 0.0, None)
    track = lay_out(narration, sounds)
    assert track.rate == (48_000 if len(rates) > 1 else 22_050)
    now = Fraction(0)
    for place, sound, (_, pause) in zip(track.places, sounds, lines, strict=True):
        assert abs(place.at - now * track.rate) <= Fraction(1, 2)
        now += sound.seconds
        assert abs(place.at + place.length - now * track.rate) <= Fraction(1, 2)
        assert len(rates) > 1 or place.length == sound.samples
        now += Fraction(str(pause))
    assert abs(track.length - now * track.rate) <= Fraction(1, 2)


def test_effects_take_their_time_unless_they_play_beneath_and_beds_fill_end_or_outlast() -> None:
    rows = (row(1), Effect(0, "a", 0.5, False, 0.1), Effect(0, "b", 1.0, True, 0.0), row(2))
    voice, effect, bed = Sound("v", 48_000, 48_000), Sound("e", 24_000, 48_000, demuxer="ogg"), Sound("m", 96_000, 48_000)
    sounds = [voice, effect, effect, voice]

    def made(mode: Any) -> tuple[Any, Any]:
        narration = Narration("", (Part("", ()),), rows, 0.25, Bed(src="x", mode=mode, volume=0.3, fadeIn=0.5, fadeOut=1.0, duck=True))
        track = lay_out(narration, sounds, bed)
        return track, mix_of(track, narration, bed)

    track, mix = made("loop")
    assert [place.at for place in track.places] == [12_000, 60_000, 88_800, 88_800]
    assert (track.length, track.rate, track.plain) == (136_800, 48_000, False)
    last = mix.cues[-1]
    assert (last.length, last.span, last.gain, last.duck) == (136_800, 96_000, 0.3, True)
    assert last.shape == ((0, 0.0), (24_000, 1.0), (88_800, 1.0), (136_800, 0.0))
    assert mix.ducking[:2] == ((4_800, 1.0), (12_000, 0.25))
    assert (made("trim")[1].cues[-1].length, made("trim")[1].cues[-1].span) == (96_000, 0)
    short = Narration("", (Part("", ()),), (row(1),), 0.0, Bed(src="x", mode="once"))
    assert lay_out(short, [voice], bed).length == 96_000


def test_words_captions_and_chapters_are_those_of_the_whole() -> None:
    rows = (row(1, "It is 20 °C. Fine!", 0.5), row(2, "你好", 0.0, 1))
    words = (Word("It", 0, 0.1, 0, 2), Word("is", 0.1, 0.2, 3, 5), Word("20", 0.2, 0.3, 6, 8), Word("degrees", 0.3, 0.4, 9, 16),
             Word("Celsius.", 0.4, 0.6, 17, 25), Word("Fine!", 0.7, 0.9, 26, 31))  # fmt: skip
    apart = (Word("你", 0, 0.2, 0, 1), Word("好", 0.2, 0.5, 1, 2))
    sounds = [Sound("a", 24_000, 24_000, words=words), Sound("b", 12_000, 24_000, words=apart)]
    narration = Narration("T", (Part("", ()), Part("B = #1; \\", ())), rows, 0.0, None)
    track = lay_out(narration, sounds)
    lines = words_of(track, narration)
    assert [word.text for word in lines[0][1]] == ["It", "is", "20", "°C.", "Fine!"]
    assert [(word.start, word.end) for word in lines[1][1]] == [(1.5, 1.7), (1.7, 2.0)]
    cues = cues_of(lines)
    assert [(cue.start_ms, cue.end_ms, cue.text) for cue in cues] == [(0, 600, "It is 20 °C."), (700, 900, "Fine!"), (1500, 2000, "你好")]
    chapters = chapters_of(track, narration)
    assert [(each.title, each.start, each.end) for each in chapters] == [("It is 20 °C. Fine!", 0, 36_000), ("B = #1; \\", 36_000, 48_000)]
    told = ffmetadata_of(chapters, track.rate, {"title": "a\nb"})
    assert told.startswith(";FFMETADATA1\ntitle=a b\n[CHAPTER]\nTIMEBASE=1/24000\nSTART=0\nEND=36000\n")
    assert told.endswith("title=B \\= \\#1\\; \\\\\n")


# ---- samples ---------------------------------------------------------------------------------------------------------


def tone(path: Path, samples: int, rate: int, hertz: float = 330.0, channels: int = 1, level: float = 9_000) -> array.array[int]:
    values = array.array("h", (round(level * math.sin(2 * math.pi * hertz * n / rate)) for n in range(samples) for _ in range(channels)))
    with wave.open(str(path), "wb") as file:
        file.setparams((channels, 2, rate, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    return values


def frames(path: Path) -> tuple[int, int, array.array[int]]:
    with wave.open(str(path)) as file:
        return file.getframerate(), file.getnchannels(), array.array("h", file.readframes(file.getnframes()))


def test_lines_that_are_alike_are_joined_sample_for_sample(tmp_path: Path) -> None:
    a, b = tone(tmp_path / "a.wav", 1_001, 22_050), tone(tmp_path / "b.wav", 777, 22_050, 500)
    join_alike([(tmp_path / "a.wav", 10), (tmp_path / "b.wav", 1_500)], 22_050, 1, 3_000, tmp_path / "out.wav")
    silence = array.array("h", [0])
    wanted = silence * 10 + a + silence * (1_500 - 1_011) + b + silence * (3_000 - 2_277)
    assert frames(tmp_path / "out.wav") == (22_050, 1, wanted)


def test_lines_that_differ_are_mixed_where_they_stand_and_one_at_48_khz_keeps_its_samples(tmp_path: Path) -> None:
    exact, other = tone(tmp_path / "exact", 4_800, 48_000), tone(tmp_path / "other", 2_205, 22_050, 440)
    narration = Narration("", (Part("", ()),), (row(1, pause=0.1), row(2)), 0.0, None)
    track = lay_out(narration, [Sound("exact", 4_800, 48_000), Sound("other", 2_205, 22_050)])
    assert join_mixed(mix_of(track, narration), lambda name: tmp_path / name, tmp_path, tmp_path / "out.wav") == 1.0
    rate, channels, made = frames(tmp_path / "out.wav")
    assert (rate, channels, len(made)) == (48_000, 2, 2 * 14_400)
    left = made[::2]
    assert left[:4_800] == made[1::2][:4_800] == exact
    assert not any(left[4_800:9_600])
    # The tone of the other engine, at 440 Hz still and as loud: its 44 periods begin where it stands.
    wanted = [9_000 * math.sin(2 * math.pi * 440 * n / 48_000) for n in range(4_800)]
    assert max(abs(a - b) for a, b in zip(left[9_700:14_300], wanted[100:4_700], strict=True)) < 150
    assert len(other) == 2_205


def test_a_mix_that_would_be_cut_off_is_turned_down(tmp_path: Path) -> None:
    tone(tmp_path / "a", 4_800, 48_000, level=32_000)
    narration = Narration("", (Part("", ()),), (row(1),), 0.0, Bed(src="x", volume=1.0, fadeIn=0, fadeOut=0))
    sound = Sound("a", 4_800, 48_000)
    track = lay_out(narration, [sound], sound)
    gain = join_mixed(mix_of(track, narration, sound), lambda name: tmp_path / name, tmp_path, tmp_path / "out.wav")
    assert gain < 0.5
    assert 28_000 < max(frames(tmp_path / "out.wav")[2]) < 30_000


def test_an_mp3_has_the_chapters_and_a_recording_is_cut_to_the_sample(tmp_path: Path) -> None:
    import av

    whole = tone(tmp_path / "a.wav", 96_000, 48_000)
    (tmp_path / "meta").write_text(ffmetadata_of((Chapter("One", 0, 96_000),), 48_000, {"title": "Tea"}))
    mp3_of(tmp_path / "a.wav", 1, tmp_path / "meta", tmp_path / "a.mp3")
    with av.open(str(tmp_path / "a.mp3")) as box:
        assert (box.metadata["title"], [each["metadata"]["title"] for each in box.chapters()]) == ("Tea", ["One"])
        assert abs(sum(frame.samples for frame in box.decode(audio=0)) - 96_000) < 2_400
    cut_wav(tmp_path / "a.wav", "wav", 0.25, 0.75001, tmp_path / "cut.wav")
    assert frames(tmp_path / "cut.wav") == (48_000, 1, whole[12_000:36_000])


def test_what_is_told_of_a_line_is_known_by_its_number() -> None:
    assert parse_spoken(spoken_line(12, 50, "spoke 1.00 s: line 3 of 4: x")) == 12
    assert [parse_spoken(text) for text in ("line 1", "lines: 2", "a line 1 of 2: b", "line x of 2: c")] == [None] * 4
