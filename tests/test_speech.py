"""What users of voice layers are promised: right words in time, equal sound for equal lines, and no leftovers."""

from __future__ import annotations

import array
import dataclasses
import hashlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.script import Line, Word
from viralsync_pipelines.speech import espeak_process
from viralsync_pipelines.speech.cache import digest_of, speak_cached
from viralsync_pipelines.speech.engine import MAX_CHARS, Take, engine_named
from viralsync_pipelines.speech.espeak import EspeakEngine
from viralsync_pipelines.speech.ssml import plain_utterance, ssml_utterance
from viralsync_pipelines.speech.words import WordEvent, timed_words
from viralsync_pipelines.storage.keys import speech_key, speech_timings_key
from viralsync_pipelines.storage.local import LocalStore

ENGINE = EspeakEngine()
RATE = 22_050


def spoken(folder: Path, text: str, **fields: object) -> tuple[Take, array.array[int]]:
    """A take and its samples, read back from the file."""
    out = folder / "take.wav"
    take = ENGINE.speak(Line(text, **fields), out)  # type: ignore[arg-type]
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        assert file.getnframes() == take.samples
        samples = array.array("h")
        samples.frombytes(file.readframes(take.samples))
    assert take.sample_rate == RATE
    return take, samples


def onsets_after_pauses(samples: array.array[int], quiet: int = 100, pause_s: float = 0.1) -> list[float]:
    """Seconds at which sound starts again after at least `pause_s` of silence."""
    found, last = [], 0
    for index, value in enumerate(samples):
        if abs(value) > quiet:
            if index - last >= pause_s * RATE:
                found.append(index / RATE)
            last = index
    return found


def texts(take: Take) -> list[str]:
    return [word.text for word in take.words]


def word_named(take: Take, text: str) -> Word:
    return next(word for word in take.words if word.text == text)


def code_of(text: str, **fields: object) -> str:
    with pytest.raises(SpeechError) as caught:
        ENGINE.speak(Line(text, **fields), Path("/nonexistent/never.wav"))  # type: ignore[arg-type]
    return caught.value.code


def assert_in_order(take: Take) -> None:
    assert all(word.start <= word.end for word in take.words)
    assert all(a.end <= b.start and a.char_end <= b.char_start for a, b in itertools.pairwise(take.words))
    assert take.words[0].start >= 0
    assert take.words[-1].end <= take.samples / take.sample_rate + 1e-4


# --- words -----------------------------------------------------------------------------------------------------------


def test_words_of_a_sentence_come_in_order_inside_the_sound_and_cover_the_text(tmp_path: Path) -> None:
    text = "Hello world, this costs 3,000 dollars out of the box! Really?"
    take, _ = spoken(tmp_path, text)
    assert texts(take) == text.split()
    assert [text[word.char_start : word.char_end] for word in take.words] == text.split()
    assert_in_order(take)
    assert all(word.end - word.start >= 0.03 for word in take.words)
    assert take.voice == "en-us"


def test_words_after_pauses_start_and_words_before_them_end_where_it_is_heard(tmp_path: Path) -> None:
    take, samples = spoken(tmp_path, "We waited, Peter came. Apple pie, again")
    onsets = onsets_after_pauses(samples)
    starts = [word_named(take, text).start for text in ("Peter", "Apple", "again")]
    assert len(onsets) == len(starts)
    assert all(abs(onset - start) <= 0.06 for onset, start in zip(onsets, starts, strict=True))
    before = [word_named(take, text).end for text in ("waited,", "came.", "pie,")]
    assert all(onset - end >= 0.1 for onset, end in zip(onsets, before, strict=True))


def test_characters_outside_ascii_keep_their_places(tmp_path: Path) -> None:
    for text, voice in (
        ("Grüße aus München, schöne Straße", "de"),
        ("I 😀 love 👨‍👩‍👧 and 👍🏽 cats, naïve cafe\u0301 d'été", "en-us"),
    ):
        take, _ = spoken(tmp_path, text, voice=voice)
        assert texts(take) == text.split()
        assert [text[word.char_start : word.char_end] for word in take.words] == text.split()
        assert_in_order(take)


def test_a_script_without_spaces_is_cut_where_the_engine_hears_words(tmp_path: Path) -> None:
    text = "你好世界，今天天气很好。"
    take, _ = spoken(tmp_path, text, voice="zh")
    assert "".join(texts(take)) == text
    assert len(take.words) > 4
    assert take.voice == "cmn"


def test_lone_punctuation_belongs_to_a_neighbouring_word(tmp_path: Path) -> None:
    take, _ = spoken(tmp_path, "— Smith — and so on …")
    assert texts(take) == ["— Smith —", "and", "so", "on …"]


def test_twice_the_speed_takes_half_the_time(tmp_path: Path) -> None:
    text = "The quick brown fox jumps over the lazy dog, and then it walks home again."
    normal, fast = (spoken(tmp_path, text, speed=speed)[0].samples for speed in (1.0, 2.0))
    assert 0.4 <= fast / normal <= 0.6


# --- SSML ------------------------------------------------------------------------------------------------------------


def test_a_break_lengthens_the_pause_by_its_time(tmp_path: Path) -> None:
    def gap(time_: str) -> float:
        take, _ = spoken(tmp_path, f"<speak>One<break time='{time_}'/> two</speak>", ssml=True)
        return word_named(take, "two").start - word_named(take, "One").end

    assert gap("2s") - gap("500ms") == pytest.approx(1.5, abs=0.05)
    assert gap("2.5s") - gap("500ms") == pytest.approx(2.0, abs=0.05)


def test_ssml_may_be_a_pause_alone_but_not_nothing(tmp_path: Path) -> None:
    take, _ = spoken(tmp_path, "<break time='2s'/>", ssml=True)
    assert take.words == ()
    assert 1.9 <= take.samples / RATE <= 2.5
    assert code_of("<speak> </speak>", ssml=True) == "SPEECH_EMPTY"


def test_words_of_ssml_lead_back_into_the_markup(tmp_path: Path) -> None:
    text = (
        "Say <emphasis level='strong'>AT&amp;T</emphasis> to <sub alias='World Wide Web consortium'>W3C</sub> last"
        "<break time='1s'/>Caf&#233; <voice xml:lang='de'>Grüße</voice> 😀 <say-as interpret-as='digits'>1234</say-as> end"
    )
    take, _ = spoken(tmp_path, text, ssml=True)
    assert texts(take) == ["Say", "AT&T", "to", "W3C", "last", "Café", "Grüße", "😀", "1234", "end"]
    ranges = [text[word.char_start : word.char_end] for word in take.words]
    assert ranges == ["Say", "AT&amp;T", "to", "W3C", "last", "Caf&#233;", "Grüße", "😀", "1234", "end"]
    assert_in_order(take)
    alias = word_named(take, "W3C")
    assert alias.end - alias.start > 1.0  # four words are said for it
    assert word_named(take, "Café").start - word_named(take, "last").end > 0.9


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("<speak>a <audio src='file:///etc/passwd'/> b</speak>", "<audio>"),
        ("<speak xml:base='/etc'>a</speak>", "xml:base"),
        ("<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;&a;'>]><speak>&b;</speak>", "DOCTYPE"),
        ("<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><speak>&a;</speak>", "DOCTYPE"),
        ("<speak>&undeclared;</speak>", "not well-formed"),
        ("a & b", "line 1, column 4"),
        ("<speak>open", "not well-formed"),
        ("<speak><![CDATA[a & b]]></speak>", "CDATA"),
        ("<speak>a<break time='100000s'/>b</speak>", "longer than 10 s"),
        ("<speak>a<break time='-1s'/>b</speak>", "not understood"),
        ("<prosody rate='" + "9" * 400 + "'>x</prosody>", "not understood"),
        ("<phoneme alphabet='ipa' ph='x'>y</phoneme>", "<phoneme>"),
        ("<p>" * 2000 + "x" + "</p>" * 600, "deep"),
        ("<speak>a</speak><speak>b</speak>", "not well-formed"),
        ("<say-as interpret-as='characters'><p>word</p></say-as>", "inside <say-as>"),
        ("<speak>a<speak>b</speak></speak>", "outermost"),
        ("a\0b", "not well-formed"),
    ],
)
def test_ssml_that_reads_files_bombs_or_is_broken_is_refused_before_the_engine_starts(text: str, hint: str) -> None:
    with pytest.raises(SpeechError) as caught:
        dataclasses.replace(ENGINE, python="/nonexistent/python").speak(Line(text[:MAX_CHARS], ssml=True), Path("never.wav"))
    assert caught.value.code == "SPEECH_SSML_REFUSED"
    assert hint in caught.value.message


def test_an_unknown_language_inside_ssml_is_named(tmp_path: Path) -> None:
    assert code_of("<voice xml:lang='tlh-nope'>Qapla</voice>", ssml=True) == "VOICE_NOT_FOUND"


# --- refusals --------------------------------------------------------------------------------------------------------


def test_an_unknown_voice_is_told_with_those_that_are_close() -> None:
    with pytest.raises(SpeechError, match="en-us") as caught:
        ENGINE.speak(Line("x", voice="en-uss"), Path("never.wav"))
    assert caught.value.code == "VOICE_NOT_FOUND"
    assert code_of("x", voice="../../../etc/passwd") == "VOICE_NOT_FOUND"
    assert code_of("x", voice="en+../f3") == "VOICE_NOT_FOUND"


def test_every_voice_listed_speaks_with_the_engines_own_name(tmp_path: Path) -> None:
    voices = [voice.name for voice in ENGINE.voices()]
    assert {"en-us", "en", "de", "fr", "es", "zh", "ja", "ar", "hi"} <= set(voices)
    for voice in voices[:: max(1, len(voices) // 12)]:
        assert ENGINE.speak(Line("1 2", voice=voice), tmp_path / "v.wav").words


def test_a_variant_and_any_case_are_accepted_and_sound_different(tmp_path: Path) -> None:
    plain, _ = spoken(tmp_path, "Hello there")
    female, _ = spoken(tmp_path, "Hello there", voice="EN_us+F3")
    assert (plain.voice, female.voice) == ("en-us", "en-us+f3")
    assert plain.samples != female.samples


@pytest.mark.parametrize(
    ("text", "fields", "code"),
    [
        ("", {}, "SPEECH_EMPTY"),
        (" \n\t", {}, "SPEECH_EMPTY"),
        ("... , - ", {}, "SPEECH_EMPTY"),
        ("\0", {}, "SPEECH_EMPTY"),
        ("x" * (MAX_CHARS + 1), {}, "SPEECH_TOO_LONG"),
        ("half \ud83d", {}, "SPEECH_TEXT_REFUSED"),
        ("x", {"speed": 0.4}, "SPEECH_SPEED_REFUSED"),
        ("x", {"speed": 2.6}, "SPEECH_SPEED_REFUSED"),
        ("x", {"speed": float("nan")}, "SPEECH_SPEED_REFUSED"),
        ("x", {"speed": -1.0}, "SPEECH_SPEED_REFUSED"),
        ("a<break time='10s'/>" * 200, {"ssml": True}, "SPEECH_TOO_LONG"),
    ],
)
def test_lines_that_cannot_be_spoken_have_their_code(text: str, fields: dict[str, object], code: str) -> None:
    assert code_of(text, **fields) == code


def test_the_longest_text_is_spoken_whole(tmp_path: Path) -> None:
    text = ("Every word counts here, 😀 Straße. " * 200)[:MAX_CHARS]
    take, _ = spoken(tmp_path, text)
    assert texts(take) == text.split()
    assert_in_order(take)


def test_control_characters_are_no_commands_and_do_not_end_the_text(tmp_path: Path) -> None:
    text = "one\0two \x0199S three\x1bfour"
    take, _ = spoken(tmp_path, text)
    assert texts(take) == ["one", "two", "99S", "three", "four"]
    assert [text[word.char_start : word.char_end] for word in take.words] == texts(take)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=200))
@example("%" * 200)
@example("\u202eabc\u202c \ufeff\u200d \U000e0041 a\u0300\u0301")
@example("[[h@l'oU]] {{x}} <audio src='/etc/passwd'/> &lt; \\ $(id)")
def test_any_text_is_spoken_or_refused_with_a_reason(tmp_path: Path, text: str) -> None:
    try:
        take, _ = spoken(tmp_path, text)
    except SpeechError as error:
        assert error.code == "SPEECH_EMPTY"  # noqa: PT017 - either outcome is right
        return
    clean = plain_utterance(text).content
    for word in take.words:
        assert " ".join(clean[word.char_start : word.char_end].split()) == word.text
    if take.words:
        assert "".join("".join(texts(take)).split()) == "".join(clean.split())
        assert_in_order(take)


# --- pure parts ------------------------------------------------------------------------------------------------------


@given(
    st.text(alphabet="ab ,.—你\n", max_size=40),
    st.lists(st.tuples(st.integers(0, 45), st.floats(0, 2)), max_size=12),
    st.lists(st.sampled_from([0, 3000]), max_size=30),
)
def test_words_never_overlap_or_leave_the_sound_whatever_the_engine_reports(
    text: str, reported: list[tuple[int, float]], loud: list[int]
) -> None:
    samples = array.array("h", [value for value in loud for _ in range(1000)])
    times = sorted(at for _, at in reported)
    events = [WordEvent(min(index, max(len(text) - 1, 0)), at) for (index, _), at in zip(reported, times, strict=True)]
    words = timed_words(plain_utterance(text), events, samples, RATE)
    duration = len(samples) / RATE
    assert all(0 <= word.start <= word.end <= duration + 1e-4 for word in words)
    assert all(a.end <= b.start for a, b in itertools.pairwise(words))
    if words:
        assert "".join("".join(word.text for word in words).split()) == "".join(text.split())


_PIECES = (
    *("a", " ", "é", "😀", "\r\n", "&amp;", "&#65;", "&", "<s>", "</s>", "<p>", "</p>", "<speak>", "</speak>", "<break/>"),
    *("<sub alias='&lt;x'>", "</sub>", "<audio src='x'/>", "<b>", "<mark name='m'/>", "<!-- c -->", "<?pi x?>", "]]>"),
)


@given(st.lists(st.sampled_from(_PIECES), max_size=14))
def test_ssml_is_written_anew_from_accepted_elements_or_refused(pieces: list[str]) -> None:
    text = "".join(pieces)
    try:
        utterance = ssml_utterance(text, lambda name: name)
    except SpeechError as error:
        assert error.code == "SPEECH_SSML_REFUSED"  # noqa: PT017
        return
    assert "audio" not in utterance.spoken
    assert len(utterance.origin) == len(utterance.spoken)
    assert len(utterance.source) == len(utterance.content)
    assert list(utterance.origin) == sorted(utterance.origin)
    for char, (start, end) in zip(utterance.content, utterance.source, strict=True):
        written = text[start:end]
        assert written in (char, "", "\r") or (char, written) in {("&", "&amp;"), ("A", "&#65;")}
        assert written or char == " "


# --- engines ---------------------------------------------------------------------------------------------------------


def test_engines_are_found_by_name_and_an_unknown_one_lists_them() -> None:
    assert engine_named().name == engine_named("espeak").name == "espeak"
    with pytest.raises(SpeechError, match="'espeak'") as caught:
        engine_named("espeek")
    assert caught.value.code == "ENGINE_NOT_FOUND"


def test_importing_the_engine_loads_neither_the_library_nor_numpy() -> None:
    code = (
        "import sys, viralsync_pipelines.speech.espeak, viralsync_pipelines.speech.cache; "
        "print([m for m in ('numpy', 'espeakng_loader', 'ctypes', 'boto3') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_equal_lines_give_equal_bytes_also_a_second_later(tmp_path: Path) -> None:
    """Newer versions of the library seed their noise with the clock, in whole seconds."""
    line = Line("She sells sea shells by the sea shore.")
    ENGINE.speak(line, tmp_path / "a.wav")
    time.sleep(1.1)
    ENGINE.speak(line, tmp_path / "b.wav")
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


# --- processes -------------------------------------------------------------------------------------------------------


def script(folder: Path, body: str) -> EspeakEngine:
    """An engine whose child is a shell script instead."""
    file = folder / "child.sh"
    file.write_text(f"#!/bin/sh\n{body}\n")
    file.chmod(0o755)
    return EspeakEngine(python=str(file), timeout_s=0.5)


def ended(descriptor: int, within_s: float = 20) -> bool:
    """Whether everybody who held the other end of the pipe is gone."""
    ready, _, _ = select.select([descriptor], [], [], within_s)
    return bool(ready) and os.read(descriptor, 1) == b""


def test_a_child_that_hangs_is_killed_with_its_whole_group_and_leaves_no_file(tmp_path: Path) -> None:
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    alive = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    folder = tmp_path / "out"
    folder.mkdir()
    try:
        with pytest.raises(SpeechError, match="did not answer within"):
            script(tmp_path, f"exec 9>{fifo}; sleep 300 & sleep 300").speak(Line("Hello"), folder / "take.wav")
        assert ended(alive)
    finally:
        os.close(alive)
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("kill -SEGV $$", "SIGSEGV"),
        ("echo 'cannot open shared object' >&2; exit 3", "cannot open shared object"),
        ("exit 4", "status 4"),
        ("echo '{\"sample_rate\": 22050, \"events\": [], \"bytes\": 99}'; printf half", "failed"),
    ],
)
def test_a_child_that_dies_is_one_clear_error_and_the_file_before_stays(tmp_path: Path, body: str, hint: str) -> None:
    out = tmp_path / "take.wav"
    out.write_bytes(b"before")
    with pytest.raises(SpeechError, match=hint) as caught:
        script(tmp_path, body).speak(Line("Hello"), out)
    assert caught.value.code == "SPEECH_FAILED"
    assert out.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["child.sh", "take.wav"]


def request(text: str) -> bytes:
    import espeakng_loader

    fields = {
        "library": espeakng_loader.get_library_path(), "data": espeakng_loader.get_data_path(), "voice": "en-us", "rate": 175,
        "text": text, "ssml": False, "max_samples": 10**8,
    }  # fmt: skip
    return json.dumps(fields).encode() + b"\n"


# Speaks more than a pipe holds while nobody reads: it can only end by being ended.
_BLOCKED = "Nobody listens to this long story. " * 100
_HOLDER = """
import os, subprocess, sys, time
reading, speaking, alive = map(int, sys.argv[1:4])
subprocess.Popen([sys.executable, "-I", "-S", sys.argv[4], str(os.getpid())], stdin=reading, stdout=speaking, pass_fds=[alive])
os.close(alive)
time.sleep(300)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent-death signal is Linux's")
def test_the_child_dies_with_a_step_that_is_killed_even_if_its_pipes_stay_open() -> None:
    reading, writing = os.pipe()
    listening, speaking = os.pipe()
    alive, held = os.pipe()
    argv = [sys.executable, "-c", _HOLDER, str(reading), str(speaking), str(held), espeak_process.__file__]
    with subprocess.Popen(argv, pass_fds=[reading, speaking, held]) as holder:
        os.close(held)
        os.write(writing, request(_BLOCKED))
        assert os.read(listening, 1) == b"{"
        assert not select.select([alive], [], [], 0)[0]
        holder.send_signal(signal.SIGKILL)
        died = ended(alive)
    for descriptor in (reading, writing, listening, speaking, alive):
        os.close(descriptor)
    assert died


def test_the_child_ends_when_nobody_holds_its_stdin_any_more() -> None:
    argv = [sys.executable, "-I", "-S", espeak_process.__file__, str(os.getpid())]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(request(_BLOCKED))
        child.stdin.flush()
        child.stdout.read(1)
        child.stdin.close()
        assert child.wait(20) == 1


# --- the cache -------------------------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "store")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


CANNOT_SPEAK = EspeakEngine(python="/nonexistent/python")


def test_a_line_is_spoken_once_and_then_found_without_starting_a_process(store: LocalStore, work: Path) -> None:
    line = Line("Hello again, 😀 world.")
    with pytest.raises(SpeechError, match="could not be started"):
        speak_cached(line, store, work, CANNOT_SPEAK)
    first, hit = speak_cached(line, store, work)
    assert not hit
    assert speak_cached(line, store, work, CANNOT_SPEAK) == (first, True)
    assert first.audio_key == speech_key(digest_of(line, ENGINE))
    assert hashlib.sha256(store.get_bytes(first.audio_key)).hexdigest() == first.sha256
    assert [word.text for word in first.words] == line.text.split()
    assert (first.engine, first.voice, first.line_key) == ("espeak", "en-us", line.key)
    assert list(work.iterdir()) == []


def test_whatever_changes_the_sound_changes_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Line("Hello")
    others = [Line("Hello!"), Line("Hello", ssml=True), Line("Hello", voice="de"), Line("Hello", speed=1.1)]
    keys = {digest_of(each, ENGINE) for each in (line, *others)}
    monkeypatch.setattr(EspeakEngine, "version", lambda _: "next")
    keys.add(digest_of(line, ENGINE))
    keys.add(digest_of(line, dataclasses.replace(ENGINE, name="other")))
    assert len(keys) == 7


def test_a_damaged_or_missing_sound_or_sidecar_is_spoken_again(store: LocalStore, work: Path) -> None:
    line = Line("Hello again")
    good, _ = speak_cached(line, store, work)
    sound = store.get_bytes(good.audio_key)
    sidecar = speech_timings_key(digest_of(line, ENGINE))
    damages: dict[str, Callable[[], object]] = {
        "missing sound": lambda: store.delete(good.audio_key),
        "half a sound": lambda: store.put_bytes(good.audio_key, sound[: len(sound) // 2]),
        "other sound of equal length": lambda: store.put_bytes(good.audio_key, bytes(len(sound))),
        "missing sidecar": lambda: store.delete(sidecar),
        "broken sidecar": lambda: store.put_bytes(sidecar, b'{"spoken": {"words": [1]}}'),
        "sidecar of another shape": lambda: store.put_bytes(sidecar, b"[]"),
    }
    for name, damage in damages.items():
        damage()
        assert speak_cached(line, store, work) == (good, False), name
        assert store.get_bytes(good.audio_key) == sound, name
        assert speak_cached(line, store, work, CANNOT_SPEAK) == (good, True), name


def test_a_refused_line_never_reaches_the_store(store: LocalStore, work: Path) -> None:
    for line in (Line("..."), Line("half \ud83d"), Line("x", voice="zzz"), Line("x", engine="zzz")):
        with pytest.raises(SpeechError):
            speak_cached(line, store, work)
    assert list(store.list("cache/")) == []
    assert list(work.iterdir()) == []
