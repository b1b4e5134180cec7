"""Caption files are read into cues and written out again, and nothing a viewer would read is lost on the way."""

from __future__ import annotations

import itertools
import json
import pickle
from typing import Any

import pysubs2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.errors import CaptionsInvalid
from viralsync_pipelines.movie.caption_files import Cue, CueWord, read_captions, write_srt, write_vtt, write_words
from viralsync_pipelines.movie.cues import MAX_BYTES, MAX_CUES, clean

HOSTILE = st.sampled_from(
    ["<i>", "</i>", "<b", "{\\an8}", "-->", "--\u2060>", "<\u2060b>", "&amp;", "&lt;", "&", "\n", "\n\n", " ", "7", "1\n", "<3", "{", "}", "\ufeff",
     "00:00:01,000 --> 00:00:02,000", "WEBVTT", "[Events]", "<00:00:01.000>", "\x00", "\u2028", "\u00a0", "é", "字", "ไทย", "😀", "NOTE", "<br>"]
)  # fmt: skip
TEXTS = st.lists(HOSTILE | st.text(max_size=6), max_size=8).map("".join).map(clean).filter(bool)
TIMES = st.tuples(st.integers(0, 359_999_999), st.integers(0, 20_000)).map(lambda at: (at[0], min(at[0] + at[1], 359_999_999)))
CUES = st.lists(st.builds(lambda times, text: Cue(*times, text), TIMES, TEXTS), min_size=1, max_size=6).map(tuple)


@st.composite
def spoken_cues(draw: Any) -> Cue:
    """A cue whose words are said one after the other, some with a pause between them."""
    words = draw(st.lists(st.text("abc.é<&>字", min_size=1, max_size=4), min_size=1, max_size=6))
    moments = sorted(draw(st.lists(st.integers(0, 90_000), min_size=2 * len(words), max_size=2 * len(words), unique=True)))
    if draw(st.booleans()):
        moments = [moments[0], *(max(moments[n], moments[n - 1]) for n in range(1, len(moments)))]
        for n in range(2, len(moments), 2):
            moments[n] = moments[n - 1]
    pairs = list(zip(moments[::2], moments[1::2], strict=True))
    return Cue(
        draw(st.integers(0, moments[0])), draw(st.integers(moments[-1], 95_000)), " ".join(words),
        tuple(CueWord(text, *times) for text, times in zip(words, pairs, strict=True)),
    )  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(CUES)
def test_an_srt_written_and_read_loses_nothing(cues: tuple[Cue, ...]) -> None:
    written = write_srt(cues)
    assert read_captions(written.encode(), "a.srt") == cues
    assert read_captions(written.replace("\n", "\r\n").encode("utf-16"), "a.srt") == cues


@settings(max_examples=100, deadline=None)
@given(CUES)
def test_a_vtt_written_and_read_loses_nothing(cues: tuple[Cue, ...]) -> None:
    assert read_captions(write_vtt(cues).encode()) == cues


@settings(max_examples=100, deadline=None)
@given(st.lists(spoken_cues(), min_size=1, max_size=4).map(tuple))
def test_words_and_their_times_go_through_vtt_and_json(cues: tuple[Cue, ...]) -> None:
    again = read_captions(write_vtt(cues).encode())
    assert [(cue.text, cue.start_ms, cue.end_ms) for cue in again] == [(cue.text, cue.start_ms, cue.end_ms) for cue in cues]
    spaced = [n for n, cue in enumerate(cues) if "字" not in cue.text]  # such a word among Latin letters is cut by its tags
    assert [again[n].words for n in spaced] == [cues[n].words for n in spaced]
    alone = read_captions(write_words(cues).encode())
    assert [word for cue in alone for word in cue.words] == [word for cue in cues for word in cue.words]
    assert read_captions(write_words(alone).encode()) == alone


@settings(max_examples=100, deadline=None)
@given(st.lists(HOSTILE | st.text(max_size=6), max_size=12).map("".join), st.sampled_from(["a.srt", "a.vtt", "a.ass", "a.json", ""]))
def test_whatever_is_read_is_read_again_from_what_is_written(text: str, name: str) -> None:
    """Any bytes give cues or CAPTIONS_INVALID, never another error; and cues, with their markup, survive every writer."""
    try:
        cues = read_captions(text.encode("utf-8", "surrogatepass"), name)
    except CaptionsInvalid:
        return
    seen = [(cue.start_ms, cue.end_ms, cue.text) for cue in cues]
    for written, called in ((write_srt(cues), "a.srt"), (write_vtt(cues), "a.vtt")):
        assert [(cue.start_ms, cue.end_ms, cue.text) for cue in read_captions(written.encode(), called)] == seen


def test_other_programs_read_what_is_written() -> None:
    cues = (Cue(1000, 2500, "Hello\nthere", raw="<i>Hello</i>\nthere"), Cue(2000, 4000, "a < b & c"), Cue(500, 600, "早"))
    srt = pysubs2.SSAFile.from_string(write_srt(cues), "srt")
    assert [(e.start, e.end, e.plaintext) for e in srt] == [(c.start_ms, c.end_ms, c.text) for c in cues]
    assert [e.start for e in pysubs2.SSAFile.from_string(write_vtt(cues), "vtt")] == [1000, 2000, 500]


def test_markup_of_an_srt_comes_back_and_is_no_text() -> None:
    srt = b"1\n00:00:01,000 --> 00:00:02,000\n<font color=\"#f00\">Red</font> <3\n{\\an8}<i>up</i>\n\n"
    (cue,) = read_captions(srt)
    assert cue.text == "Red <3\nup"
    assert write_srt([cue]).encode() == srt
    assert "<i>up</i>" in write_vtt([cue]) or read_captions(write_vtt([cue]).encode())[0].text == cue.text


def test_srt_as_it_is_found() -> None:
    """No numbers, no empty line between cues, empty lines inside one, points for commas, places after the times, one digit."""
    srt = b"00:00:01.5 --> 00:00:02,000 X1:40 X2:600\nOne\n\nstill one\n2\n0:00:02,000 --> 00:00:02,000\n42\n\n3\n00:01,0 --> 00:04\n\n4\n00:00:00,000 --> 00:00:09,000\nlast\n7"
    assert [(c.start_ms, c.end_ms, c.text) for c in read_captions(srt)] == [
        (1500, 2000, "One\n\nstill one\n2"), (2000, 2000, "42"), (0, 9000, "last\n7")
    ]  # fmt: skip
    numbered = b"1\n00:00:01,000 --> 00:00:02,000\na\n2\n00:00:02,000 --> 00:00:03,000\nb\n"
    assert [c.text for c in read_captions(numbered)] == ["a", "b"]


VTT = """WEBVTT - made by hand
Kind: captions

STYLE
::cue { color: red }

NOTE a remark
of two lines

intro
00:01.000 --> 00:03.000 align:start position:10%
<v Ann>Hello</v> <00:02.000><c.loud>big</c>

1:00:00.000 --> 1:00:01.000
<ruby>\u6f22<rt>kan</rt></ruby> &amp; R&D &lt;b&gt;&nbsp;5 --&gt; 6
"""


def test_vtt_notes_styles_voices_entities_and_times_of_words() -> None:
    first, second = read_captions(VTT.encode())
    assert (first.text, first.words) == ("Hello big", (CueWord("Hello", 1000, 2000), CueWord("big", 2000, 3000)))
    assert (second.start_ms, second.text, second.words) == (3_600_000, "\u6f22 & R&D <b>\u00a05 --> 6", ())
    assert read_captions(write_vtt([first, second]).encode()) == (first, second)
    assert "<" not in write_srt([first]), "an SRT player would show the tags of a VTT"


ASS = """[Script Info]
; written by hand
WrapStyle: 0
[V4+ Styles]
Style: Default,Arial,40
[Events]
Format: Start, End, Style, Text
Comment: 0:00:00.00,0:00:01.00,Default,no one reads this
Dialogue: 0:00:01.00,0:00:03.00,Default,{\\k50}Hel{\\k20}lo, {\\kf30\\i1}wor\\Nld{\\i0} \\{x\\}
Dialogue: 0:00:04.00,0:00:05.00,Default,{\\p1}m 0 0 l 10 10{\\p0}{\\pos(1,2)}shown\\hhere\\nagain
Dialogue: 0:00:01.00,0:00:03.00,Default,{\\kt100\\k50}\u65e5{\\k500}\u672c
"""


def test_ass_fields_follow_the_format_line_and_syllables_make_words() -> None:
    sung, shown, unspaced = read_captions(ASS.encode())
    assert sung.text == "Hello, wor\nld {x}"
    assert sung.words[:2] == (CueWord("Hello,", 1000, 1700), CueWord("wor", 1700, 1812))
    assert (shown.text, shown.words) == ("shown\u00a0here again", ())
    assert unspaced.words == (CueWord("\u65e5", 2000, 2500), CueWord("\u672c", 2500, 3000)), "syllables end with their cue"
    assert (sung.raw or "").startswith("{\\k50}Hel")
    ssa = "[Script Info]\nScriptType: v4.00\n[Events]\nDialogue: Marked=0,0:00:01.00,0:00:02.50,Default,,0000,0000,0000,,Hi, you\n"
    assert read_captions(ssa.encode()) == (Cue(1000, 2500, "Hi, you"),)


def test_ass_written_by_pysubs2_is_read_the_same() -> None:
    made = pysubs2.SSAFile()
    made.append(pysubs2.SSAEvent(start=1230, end=4560, text="One, {\\b1}two{\\b0}\\Nthree"))
    for kind in ("ass", "ssa"):
        (cue,) = read_captions(made.to_string(kind).encode())
        assert (cue.start_ms, cue.end_ms, cue.text) == (1230, 4560, "One, two\nthree")


def test_word_json_in_its_three_shapes() -> None:
    words = [{"word": "Hi", "start": 0.1, "end": 0.4, "confidence": 1}, {"text": "two words", "start": 0.4, "end": 1}]
    hi, two = Cue(100, 400, "Hi", (CueWord("Hi", 100, 400),)), Cue(400, 1000, "two words")
    assert read_captions(json.dumps(words).encode()) == (hi, two)
    assert read_captions(json.dumps({"duration": 2, "words": words}).encode()) == (hi, two)
    segment = {"text": " Hi there", "start": 0, "end": 2, "words": [words[0], {"word": " there", "start": 0.5, "end": 1.25}]}
    (cue,) = read_captions(json.dumps({"segments": [segment]}).encode())
    assert cue == Cue(0, 2000, "Hi there", (CueWord("Hi", 100, 400), CueWord("there", 500, 1250)))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
def test_every_unicode_encoding_and_line_end_is_read(encoding: str, ends: str) -> None:
    srt = "1\n00:00:01,000 --> 00:00:02,000\nGrüße,\n日本\n\n".replace("\n", ends)
    assert [c.text for c in read_captions(srt.encode(encoding))] == ["Grüße,\n日本"]


def test_overlapping_and_unordered_cues_stay_as_they_are() -> None:
    cues = (Cue(5000, 9000, "b"), Cue(1000, 8000, "a"), Cue(1000, 8000, "a"))
    assert read_captions(write_srt(cues).encode()) == read_captions(write_vtt(cues).encode()) == cues


def test_a_name_decides_where_the_content_does_not() -> None:
    bare = b"00:01.000 --> 00:02.000\n<v Ann>a &amp; b"
    assert [read_captions(bare, name)[0].text for name in ("x.vtt", "x.srt", "")] == ["a & b", "a &amp; b", "a &amp; b"]
    with pytest.raises(CaptionsInvalid, match="Dialogue"):
        read_captions(b"nothing", "x.ass")
    listed = b"1\n00:00:01,000 --> 00:00:02,000\n[Events]\n"
    assert read_captions(listed, "x.ass")[0].text == "[Events]"


FAULTS = [
    (b"", None, "give an SRT"), (b"nothing", None, "00:00:01,000 -->"),
    (b"1\n00:00:0a --> 00:00:02,000\nHi", 2, "write 00:00:01,000"),
    (b"1\n00:00:01,000 --> 00:99:02,000\nHi", 2, "60 minutes"),
    (b"\n1\n00:00:03,000 --> 00:00:02,000\nHi", 3, "put its times in order"),
    (b"WEBVTT\n\n00:03.000 --> 00:02.000\nHi", 3, "put its times in order"),
    (b"1\n9999:00:00,000 --> 9999:00:01,000\nHi", 2, "100 hours"),
    (b"1\n00:00:01,000 --> 00:00:02,000\n" + b"x" * 5001, 2, "split it"),
    ("1\n00:00:01,000 --> 00:00:02,000\nGrüße".encode("cp1252"), 3, "UTF-8"),
    (b"[Events]\nDialogue: 0,0:00:01.00,later,Default,,0,0,0,,x", 2, "write 0:00:01.00"),
    (b"[Events]\nDialogue: 0,0:00:01.00", 2, "2 of its 10 fields"),
    (b"[Events]\nFormat: Text, Start\n", 2, "at its end, Text"),
    (b"[{]", 1, "no JSON"), (b'{"a": 1}', None, "/words: there is no list"), (b"[[[", None, "00:00:01,000 -->"), (b'[{"a":' * 100_000, None, "cannot be read"),
    (b'[{"text": "a", "start": NaN, "end": 1}]', None, "/0/start: "), (b'[{"text": "a", "start": true, "end": 1}]', None, "/0/start: "),
    (b'{"words": [{"text": "a", "start": 1, "end": 0}]}', None, "/words/0/end: "), (b'[{"start": 0, "end": 1}]', None, "/0/text: "),
    (b'[{"text": "a", "start": 0, "end": 1' + b"0" * 400 + b"}]", None, "/0/end: "),
    (b"x" * (MAX_BYTES + 1), None, "split the file"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "line", "told"), FAULTS)
def test_faults_name_their_line_and_a_remedy(data: bytes, line: int | None, told: str) -> None:
    with pytest.raises(CaptionsInvalid) as caught:
        read_captions(data)
    assert (caught.value.line, caught.value.code) == (line, "CAPTIONS_INVALID")
    assert told in caught.value.message
    assert line is None or caught.value.message.startswith(f"line {line}: ")
    assert pickle.loads(pickle.dumps(caught.value)).line == line


def test_files_of_too_many_cues_are_refused() -> None:
    lines = itertools.repeat("0:00:01,0 --> 0:00:02,0\n", MAX_CUES + 1)
    with pytest.raises(CaptionsInvalid, match="split the file"):
        read_captions("".join(lines).encode())


def test_markup_that_never_ends_is_refused_at_once() -> None:
    with pytest.raises(CaptionsInvalid, match=r"line 3: .*split it"):
        read_captions(b"WEBVTT\n\n00:01.000 --> 00:02.000\n" + b"<rt" * 1_000_000)
