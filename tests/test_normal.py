"""How written text is said: signs, units and addresses in their language, a user's own words first, and every sound mapped back."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from viralsync_pipelines.movie.script import Word
from viralsync_pipelines.speech.normal import spoken_form
from viralsync_pipelines.speech.pronounce import pronounced
from viralsync_pipelines.speech.reading import Reading, as_written, written_words
from viralsync_pipelines.speech.tongues import TONGUES


@pytest.mark.parametrize(
    ("language", "written", "said"),
    [
        ("en", "It is 20 °C, or 68°F.", "It is 20 degrees Celsius, or 68 degrees Fahrenheit."),
        ("en", "1 km, 5kg, 1.5 m and 90 km/h", "1 kilometer, 5 kilograms, 1.5 meters and 90 kilometers per hour"),
        ("en", "$1, $5 million, £20 and 3 €", "1 dollar, 5 million dollars, 20 pounds and 3 euros"),
        ("en", "10–20 of 3-4, on 2024-05-01, call 555-0100", "10 to 20 of 3 to 4, on 2024-05-01, call 555-0100"),
        ("en", "Wait — what? No -- yes...", "Wait, what? No, yes."),
        ("en", "...and so on", " and so on"),
        ("en", "See https://www.example.com/a-b?c=1.", "See example dot com slash a dash b c 1."),
        ("en", "Mail me@x.org, e.g. today, etc.", "Mail me at x dot org, for example today, et cetera."),
        ("en", "Dr. Who & co: 50% of the 1990s, 2+2=4", "Doctor Who and co: 50 percent of the 1990s, 2 plus 2 equals 4"),
        ("en", "No. 5 said no. Then 5 goats", "number 5 said no. Then 5 goats"),
        ("en", "It costs 3,000 of 1.5", "It costs 3,000 of 1.5"),
        ("de", "1.234.567 km, z. B. 3 €, ca. 1 °C", "1234567 Kilometer, zum Beispiel 3 Euro, circa 1 Grad Celsius"),
        ("de-AT", "3.14 und 192.168.100.1", "3.14 und 192.168.100.1"),
        ("fr", "5\u00a0000 km à 20 %", "5000 kilomètres à 20 pour cent"),
        ("es", "2 kg y 1 kg", "2 kilogramos y 1 kilogramo"),
        ("pl", "1 km, 2 km, 5 km, 12 km, 22 km", "1 kilometr, 2 kilometry, 5 kilometrów, 12 kilometrów, 22 kilometry"),
        ("ru", "1 км, 21 км, 3 км, 11 км", "1 километр, 21 километр, 3 километра, 11 километров"),
        ("xx", "20 °C — at x.com…", "20 °C, at x.com."),
    ],
)  # fmt: skip
def test_it_is_said_in_the_languages_own_words(language: str, written: str, said: str) -> None:
    assert spoken_form(written, language).said == said


def test_a_users_words_come_first_are_whole_and_mind_capitals() -> None:
    words = {"sql": "sequel", "US": "you ess", "example.com": "our site", "sql server": "the server", "de": {"sql": "Ess-Ku-Ell"}}
    said = spoken_form("SQL, sqlite, US and us at example.com, SQL Server", "en", words).said
    assert said == "sequel, sqlite, you ess and us at our site, the server"
    assert pronounced(as_written("SQL"), words, "de-CH").said == "Ess-Ku-Ell"
    assert spoken_form("5 km", "en", {"5 km": "5 km", "km": "clicks"}).said == "5 km"
    assert pronounced(as_written("C++ (c++) $1 a.b"), {"c++": "see", "a.b": "\\1"}).said == "see (see) $1 \\1"


def heard(reading: Reading) -> tuple[Word, ...]:
    """As an engine tells words: what stands between spaces and has a letter, one second each."""
    words, at = [], 0
    for number, part in enumerate(reading.said.split()):
        start = reading.said.index(part, at)
        at = start + len(part)
        if any(char.isalnum() for char in part):
            words.append(Word(part, float(number), number + 1.0, start, at))
    return tuple(words)


def test_words_of_the_sound_are_shown_as_they_are_written() -> None:
    reading = spoken_form("“Now — 20 °C” at x.com 🎉, 5kg!")
    shown = written_words(reading, heard(reading))
    assert [word.text for word in shown] == ["“Now —", "20", "°C”", "at", "x.com 🎉,", "5kg!"]
    assert [(word.start, word.end) for word in shown][1:4] == [(1.0, 2.0), (2.0, 4.0), (4.0, 5.0)]


def test_words_of_scripts_without_spaces_stay_apart() -> None:
    reading = as_written("你好世界")
    words = (Word("你好", 0, 1, 0, 2), Word("世界", 1, 2, 2, 4))
    assert [word.text for word in written_words(reading, words)] == ["你好", "世界"]


SIGNS = st.text("ab 12.,:;–—-…$€%°C@/&+=()“”🎉\u00a0kmeg", max_size=60) | st.text(max_size=40)


@settings(max_examples=80)
@given(SIGNS, st.sampled_from([*TONGUES, "zh"]), st.dictionaries(st.text("ab1.C", min_size=1, max_size=3), st.text("xy ", min_size=1, max_size=4), max_size=3))
def test_maps_hold_whatever_is_written(text: str, language: str, words: dict[str, str]) -> None:
    """A said character stands for a part of what is written, never going back; and words of the sound show all that is written."""
    reading = spoken_form(text, language, words)
    assert reading.written == text
    assert len(reading.said) == len(reading.spans) == len(reading.fixed)
    assert all(0 <= start < end <= len(text) for start, end in reading.spans)
    assert list(reading.spans) == sorted(reading.spans)
    assert [end for _, end in reading.spans] == sorted(end for _, end in reading.spans)
    shown = written_words(reading, heard(reading))
    if shown:
        assert "".join("".join(word.text for word in shown).split()) == "".join(text.split())
    for before, after in zip(shown, shown[1:], strict=False):
        assert before.char_end <= after.char_start
        assert before.end <= after.start
    assert all(text[word.char_start : word.char_end].strip() for word in shown)


@settings(max_examples=30)
@given(st.text("abc xyz", max_size=60))
def test_plain_words_are_said_as_they_stand(text: str) -> None:
    assert spoken_form(text).said == text
