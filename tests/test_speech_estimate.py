"""What estimated word times are promised to be: every word, in order, inside the sound, and near where the words are heard."""

from __future__ import annotations

import array
import itertools
import math
import wave
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.speech.espeak import EspeakEngine
from viralsync_pipelines.speech.estimate import estimated_words
from viralsync_pipelines.speech.phonemes import Phoneme, words_by_phonemes
from viralsync_pipelines.speech.tokens import Heard, placed, tokens, words_from

SCRIPTS = "abcdeäñçбгдежαβшקדל مرحبا नमस्तेไทยภาษา中文字测试ひらがなカタカナー한국어012.,!?…。、？—-'\"()\n\t👍🏽\u200d\u0301"
TEXTS = st.one_of(st.text(st.sampled_from(SCRIPTS), max_size=200), st.text(max_size=120).filter(lambda text: text.isprintable()))
# Stretches of silence and of sound, in 10 ms.
SOUNDS = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60)), max_size=12).map(
    lambda parts: array.array("h", [value for quiet, loud in parts for value in [0] * quiet * 80 + [8000, -8000] * loud * 40])
)


@settings(max_examples=80, deadline=None)
@given(TEXTS)
@example("— hello")
@example("あーっ、ーー。ん")
@example("เเ เ")
def test_every_letter_is_in_one_word_and_words_are_in_order(text: str) -> None:
    found = tokens(text)
    assert all(a < b <= c < d for (a, b), (c, d) in itertools.pairwise(found))
    covered = {at for start, end in found for at in range(start, end)}
    assert {at for at, char in enumerate(text) if char.isalnum()} <= covered
    assert all(text[start:end].strip() == text[start:end] for start, end in found)
    if found:
        assert all(char.isspace() or at in covered for at, char in enumerate(text)), "punctuation is shown with a word"


def test_scripts_without_spaces_are_cut_and_their_marks_stay_with_what_they_follow() -> None:
    assert [("你好世界，今天")[a:b] for a, b in tokens("你好世界，今天")] == ["你好", "世界，", "今天"]
    assert [("カタカナー、です。")[a:b] for a, b in tokens("カタカナー、です。")] == ["カタカナー、", "です。"]
    thai = "สวัสดีครับยินดีต้อนรับ"
    pieces = [thai[a:b] for a, b in tokens(thai)]
    assert len(pieces) > 2
    assert all(piece[0] not in "ัีุ้่์" and piece[-1] not in "เแโใไ" for piece in pieces)
    assert [("rock'n'roll costs 3,000")[a:b] for a, b in tokens("rock'n'roll costs 3,000")] == ["rock'n'roll", "costs", "3,000"]


@settings(max_examples=80, deadline=None)
@given(TEXTS, SOUNDS)
@example("a b c", array.array("h"))
@example("a, b", array.array("h", [1]))
def test_estimates_are_ordered_inside_the_sound_and_complete(text: str, sound: array.array[int]) -> None:
    words = estimated_words(text, sound, 8_000)
    if not sound:
        assert words == ()
        return
    assert [(word.char_start, word.char_end) for word in words] == tokens(text)
    assert all(0 <= word.start <= word.end <= len(sound) / 8_000 + 1e-4 for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))


def test_silences_at_punctuation_part_the_words_to_the_block() -> None:
    tone = [round(9_000 * math.sin(at)) for at in range(8_000)]
    sound = array.array("h", [0] * 800 + tone + [0] * 4_000 + tone[:4_000] + [0] * 1_600)
    one, two, three = estimated_words("several syllables, then", sound, 8_000)
    assert one.start == pytest.approx(0.1, abs=0.011)
    assert two.end == pytest.approx(1.1, abs=0.011)
    assert three.start == pytest.approx(1.6, abs=0.011)
    assert three.end == pytest.approx(2.1, abs=0.011)


SPOKEN = [
    ("Hello world, this costs 3,000 dollars out of the box! Really? We waited, Peter came. Apple pie, again and again; then the "
     "strengths of a river through the city were measured. It is what it is.", "en-us"),
    ("Grüße aus München, schöne Straße. Das ist ein längerer Satz, der keine großen Überraschungen enthält; er endet hier.", "de"),
    ("Привет, мир! Сегодня мы поговорим о погоде, а потом пойдём домой.", "ru"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "voice"), SPOKEN)
def test_estimates_are_near_the_times_that_the_embedded_voice_tells(text: str, voice: str, tmp_path: Path) -> None:
    take = EspeakEngine().speak(Line(text, voice=voice), tmp_path / "line.wav")
    with wave.open(str(tmp_path / "line.wav")) as file:
        sound = array.array("h", file.readframes(file.getnframes()))
    words = estimated_words(text, sound, take.sample_rate)
    assert [word.text for word in words] == [word.text for word in take.words]
    errors = sorted(abs(mine.start - true.start) for mine, true in zip(words, take.words, strict=True))
    assert sum(errors) / len(errors) < 0.12
    assert errors[-1] < 0.5


@settings(max_examples=50, deadline=None)
@given(TEXTS, st.lists(st.tuples(st.integers(0, 200), st.integers(1, 9), st.floats(-1, 20), st.floats(-1, 5)), max_size=20), st.floats(0, 10))
def test_times_of_stretches_become_ordered_words_inside_the_sound(text: str, parts: list[tuple[int, int, float, float]], duration: float) -> None:
    words = words_from(text, [Heard(first, first + count, start, start + length) for first, count, start, length in parts], duration)
    assert words == () or [(word.char_start, word.char_end) for word in words] == tokens(text)
    assert all(0 <= word.start <= word.end <= duration + 1e-4 for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))


def phonemes(*groups: str, each: float = 0.1) -> list[Phoneme]:
    """Letter by letter, a tenth of a second each, with spaces between the groups that take as long."""
    return [Phoneme(char, round(at * each, 3), round((at + 1) * each, 3)) for at, char in enumerate(" ".join(groups))]


def test_words_that_an_engine_runs_together_share_its_time_and_those_it_takes_apart_have_all_of_it() -> None:
    run = words_by_phonemes("out of the box, now", phonemes("aʊɾəvðə", "bɑks,", "naʊ"), 9.0)
    assert [word.text for word in run] == ["out", "of", "the", "box,", "now"]
    assert (run[0].start, run[2].end) == (0.0, 0.7)
    assert run[0].end == run[1].start < run[1].end == run[2].start
    assert [(word.start, word.end) for word in run[3:]] == [(0.8, 1.2), (1.4, 1.7)]
    apart = words_by_phonemes("costs 25 % now", phonemes("kɔsts", "twɛnti", "faɪv", "pɚsɛnt", "naʊ"), 9.0)
    assert [(word.text, word.start, word.end) for word in apart] == [("costs", 0.0, 0.5), ("25 %", 0.6, 2.4), ("now", 2.5, 2.8)]


def test_phonemes_of_other_words_time_nothing() -> None:
    assert words_by_phonemes("one", phonemes(*["ab"] * 30), 9.0) == ()
    assert words_by_phonemes("one two", [], 9.0) == words_by_phonemes("...", phonemes("ab"), 9.0) == ()


@settings(max_examples=80, deadline=None)
@given(TEXTS, st.lists(st.text("abə ,.ˈ", max_size=8), max_size=30), st.floats(0, 5))
def test_times_of_phonemes_become_ordered_words_inside_the_sound(text: str, groups: list[str], duration: float) -> None:
    words = words_by_phonemes(text, phonemes(*groups), duration)
    assert words == () or [(word.char_start, word.char_end) for word in words] == tokens(text)
    assert all(0 <= word.start <= word.end <= duration + 1e-4 for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))


def test_parts_are_placed_one_after_the_other_and_strangers_nowhere() -> None:
    assert placed("so it is so", ["so", "is", "so", "so"]) == [(0, 2), (6, 8), (9, 11), None]


def test_lines_keep_the_keys_that_they_had_and_new_fields_make_others() -> None:
    assert Line("Hello").key == _before(Line("Hello"))
    changes = [{"pitch": 1.2}, {"style": "sad"}, {"stability": 0.0}, {"similarity": 0.5}, {"language": "de"}, {"fallback": ("espeak",)}]
    keys = {Line("Hello", **change).key for change in changes}  # type: ignore[arg-type]
    assert len(keys | {Line("Hello").key}) == len(changes) + 1
    line = Line("Hello", voice="x", pitch=1.2, fallback=("edge/a", "espeak"))
    assert Line.from_json(line.as_json()) == line
    assert Line.from_json({"text": "Hello", "ssml": False, "voice": None, "engine": None, "speed": 1.0}) == Line("Hello")


def _before(line: Line) -> str:
    """The key as it was reckoned before lines had pitch and the rest."""
    import hashlib
    import json

    data = json.dumps({name: getattr(line, name) for name in ("text", "ssml", "voice", "engine", "speed")}, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(data.encode()).hexdigest()[:32]


def test_sidecars_from_before_are_read() -> None:
    old = {
        "line_key": "k", "audio_key": "a", "sha256": "s", "samples": 10, "sample_rate": 5, "engine": "espeak", "voice": "de",
        "words": [{"text": "x", "start": 0.0, "end": 1.0, "char_start": 0, "char_end": 1}],
    }  # fmt: skip
    found = Spoken.from_json(old)
    assert (found.timing, found.characters, found.cost_usd, found.duration) == ("native", 0, 0.0, 2.0)
