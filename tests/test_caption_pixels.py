"""Captions as they are seen: words are lit on the frame of their sound, and nothing leaves the safe area, in every script."""

from __future__ import annotations

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.films import FINE, Lab, Pixels, decoded, lab
from viralsync_pipelines.movie.caption_art import Caption, text_of
from viralsync_pipelines.movie.filters import Delivered, Outputs, piece_argv
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.timing import SAMPLE_RATE
from viralsync_pipelines.render.caption_page import PlacedPage, place_page
from viralsync_pipelines.render.caption_script import ms_of
from viralsync_pipelines.render.ffmpeg import read_frames
from viralsync_pipelines.render.glyphs import font_chooser, primary_face
from viralsync_pipelines.render.legible import judge_captions
from viralsync_pipelines.render.lettering import glyph_edges
from viralsync_pipelines.render.sound import mix_raw
from viralsync_pipelines.render.typeset import set_text
from viralsync_pipelines.speech.cache import speak_cached

# Of the eight scripts that captions are promised in, with a voice that speaks them.
SCRIPTS = {
    "Latin": ("en-us", "Nobody tells you this, but the second cup is always better than the first one you drink."),
    "Cyrillic": ("ru", "Никто не говорит об этом, но вторая чашка всегда лучше первой."),
    "Arabic": ("ar", "لا أحد يخبرك بهذا، لكن الكوب الثاني أفضل دائما من الأول."),
    "Hebrew": ("he", "אף אחד לא מספר לך את זה, אבל הכוס השנייה תמיד טובה יותר."),
    "Devanagari": ("hi", "कोई आपको यह नहीं बताता, लेकिन दूसरा प्याला हमेशा बेहतर होता है।"),
    "Thai": ("th", "ไม่มีใครบอกคุณเรื่องนี้ แต่แก้วที่สองดีกว่าเสมอ"),
    "Chinese": ("cmn", "没有人告诉你这件事，但是第二杯总是比第一杯更好喝。"),
    "Japanese": ("ja", "だれもおしえてくれませんが、二杯目はいつもおいしいです。"),
}
STYLES = ("karaoke", "pop", "boxed", "minimal", "subtitle")
_WHITE, _LIT = "#ffffff", "#ff0000"


class Speaking(Lab):
    """The embedded engine."""

    def speak(self, line: Line) -> Spoken:
        return speak_cached(line, self.store, self.scratch())[0]


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Speaking:
    place = lab(tmp_path_factory.mktemp("captions"))
    return Speaking(place.folder, place.fonts)


def film(scenes: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    return {"width": 360, "height": 640, "fps": 30, "scenes": [{"id": f"s{n}", **scene} for n, scene in enumerate(scenes)], **more}


def say(text: str, voice: str = "en-us", **more: Any) -> dict[str, Any]:
    return {"type": "voice", "text": text, "voice": voice, **more}


# ---- when ------------------------------------------------------------------------------------------------------------

_STORY = (
    "The old harbour wakes before the sun and every boat knows its own way out. A boy counts the gulls on the pier while his "
    "father mends a net that was his father's too. Nobody speaks much at that hour but everybody waves. The sea is flat like "
    "glass and smells of salt and rope and coffee from the little kiosk by the wall."
)


def lit(frame: Pixels, page: PlacedPage) -> int | None:
    """The number of the word that is red; None when none is."""
    red = (frame[..., 0] > 150) & (frame[..., 1] < 90) & (frame[..., 2] < 90)
    counts: dict[int, int] = {}
    for word in page.words:
        x0, x1 = int(word.x), int(word.x + word.width) + 1
        y0, y1 = int(word.baseline - 0.8 * page.size), int(word.baseline + 0.25 * page.size)
        counts[word.number] = counts.get(word.number, 0) + int(red[max(0, y0) : y1, max(0, x0) : x1].sum())
    number = max(counts, key=lambda each: counts[each])
    return number if counts[number] > 6 else None


def test_over_300_words_each_is_lit_within_a_frame_of_when_it_is_heard(speaking: Speaking) -> None:
    """By decoded pixels against the engine's times, and these against the samples of the film's own sound."""
    scenes = [{"bgColor": "#000000", "layers": [say(_STORY, f"en-us+m{1 + n}", speed=1.5, start=n / 7)]} for n in range(5)]
    for number in (1, 3):
        scenes[number]["transition"] = {"type": "fade", "duration": 0.3}
    captions = {"style": "karaoke", "color": _WHITE, "highlight": _LIT, "stroke": {"width": 0}, "fontSize": 26}
    prepared = speaking.plan(film(scenes, captions=captions))
    plan, fps = prepared.plan, 30
    (track,) = plan.captions
    pages = [(caption, place_page(caption, speaking.fonts, None)) for caption in track.captions]
    heard = times_heard(speaking, plan)
    first: dict[tuple[int, int], int] = {}
    at = 0
    for frame in (frame for path in speaking.clips(prepared, FINE) for frame in each_frame(path)):
        for n, (caption, page) in enumerate(pages):
            number = lit(frame, page) if caption.first <= at < caption.last else None
            if number is not None:
                first.setdefault((n, number), at)
        at += 1
    assert at == plan.frames
    assert sorted(first) == [(n, number) for n, (caption, _) in enumerate(pages) for number in range(len(caption.words))]
    shown = [first[place] / fps for place in sorted(first)]
    assert len(shown) == len(heard) >= 300
    late = np.abs(np.array(shown) - np.array(heard))
    assert late.max() <= 1 / fps + 1e-6


def each_frame(path: Path) -> Iterator[Pixels]:
    """One after the other: all of them at once would be 7 GB."""
    argv = ["-i", str(path), "-f", "rawvideo", "-pix_fmt", "rgb24", "pipe:1"]
    for frame in read_frames(argv, 360 * 640 * 3):
        yield np.frombuffer(bytes(frame), np.uint8).reshape(640, 360, 3)


def times_heard(speaking: Speaking, plan: Any) -> list[float]:
    """When each word begins in the film's sound: each line is found in its samples, to the sample, and its words count from there."""
    raw = speaking.scratch() / "mix.f32"
    mix_raw(plan.mix, lambda sha: speaking.store.local_path(plan.speech[sha].audio_key), speaking.scratch(), raw)  # type: ignore[arg-type, return-value]
    sound = np.fromfile(raw, np.float32).reshape(-1, 2)[:, 0]
    times: list[float] = []
    for cue in plan.mix.cues:
        spoken = plan.speech[cue.source]
        path = speaking.store.local_path(spoken.audio_key)
        assert path is not None
        with wave.open(str(path)) as file:
            line = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32)
            rate = file.getframerate()
        line = np.interp(np.arange(SAMPLE_RATE) * rate / SAMPLE_RATE, np.arange(len(line)), line)
        near = range(max(0, cue.at - 480), cue.at + 481, 4)
        best = max(near, key=lambda at: float(np.dot(sound[at : at + len(line)], line)))
        assert abs(best - cue.at) <= 48, "the line is not heard where the plan has it"
        times += [best / SAMPLE_RATE + word.start for word in spoken.words]
    return times


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_a_frames_time_in_the_script_is_that_frames_and_no_other(fps: int) -> None:
    for rate in (Fraction(fps), Fraction(fps * 1000, 1001)):
        for frame in range(0, 20_000, 7):
            at = ms_of(frame, rate)
            assert at <= int(1000 * frame / rate)
            assert frame == 0 or at > int(1000 * (frame - 1) / rate)


# ---- where -----------------------------------------------------------------------------------------------------------


def ink(frame: Pixels, ground: tuple[int, int, int]) -> tuple[int, int, int, int] | None:
    """(x0, y0, x1, y1) of what differs from the ground."""
    away = np.abs(frame - np.array(ground, np.float32)).max(axis=2) > 40
    if not away.any():
        return None
    rows, columns = np.flatnonzero(away.any(axis=1)), np.flatnonzero(away.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_captions_stay_inside_the_safe_area_and_have_no_more_words_and_lines_than_asked(speaking: Speaking, script: str) -> None:
    voice, text = SCRIPTS[script]
    ground = (40, 70, 110)
    for style in STYLES:
        captions = {"type": "captions", "style": style, "maxWords": 5, "maxLines": 2, "safeArea": "tiktok"}
        document = film([{"bgColor": "#28466e", "layers": [say(text, voice, speed=1.4), captions]}])
        plan = speaking.plan(document).plan
        (track,) = plan.captions
        assert "".join(word.text for c in track.captions for word in c.words).replace(" ", "") == text.replace(" ", "")
        assert all(a.last <= b.first for a, b in zip(track.captions, track.captions[1:], strict=False))
        # Each style is looked at in some script, with three pages; a look at every page of all would take two minutes.
        chosen = track.captions[:3] if style == STYLES[list(SCRIPTS).index(script) % len(STYLES)] else ()
        for caption in track.captions:
            assert 1 <= len(caption.words) <= 5
            assert place_page(caption, speaking.fonts, None).lines <= 2
        for caption in chosen:
            frame = speaking.still(document, caption.last - 1)
            box = ink(frame, ground)
            assert box is not None, caption.text
            x, y, width, height = caption.look.box
            inside = x - 1 <= box[0], y - 1 <= box[1], box[2] <= x + width + 1, box[3] <= y + height + 1
            assert all(inside), (style, caption.text, box)


@pytest.mark.parametrize("text", ["الثاني", "من", "الكوب", "السنة", "दूसरा", "ดีกว่", "เสมอ", "二杯目", "Hello", "שנייה"])
def test_a_word_stands_where_it_was_set_to_the_pixel(speaking: Speaking, text: str) -> None:
    """A dot over a letter once moved a word 24 pixels to the left, into the one beside it."""
    frame, caption, page = still_of(speaking, text, style="subtitle", fontSize=60, stroke={"width": 0}, uppercase=False)
    art = text_of(caption)
    block = set_text(art, font_chooser(art, speaking.fonts, None), primary_face(art, speaking.fonts, None))
    left, _, right, _ = glyph_edges(block)
    moved = page.words[0].x - block.lines[0].x
    box = ink(frame, (0, 0, 0))
    assert box is not None
    assert abs(box[0] - (left + moved)) < 2
    assert abs(box[2] - (right + moved)) < 2


def test_words_that_are_too_wide_are_set_smaller_and_stay_inside(speaking: Speaking) -> None:
    word = {"text": "Donaudampfschifffahrtsgesellschaft", "start": 0.0, "end": 0.5}
    document = film([{"duration": 0.5, "bgColor": "#28466e", "layers": [{"type": "captions", "style": "pop", "source": [word]}]}])
    (track,) = speaking.plan(document).plan.captions
    x, _, width, _ = track.captions[0].look.box
    box = ink(speaking.still(document, 14), (40, 70, 110))
    assert box is not None
    assert x - 1 <= box[0]
    assert box[2] <= x + width + 1


# ---- how -------------------------------------------------------------------------------------------------------------


def still_of(speaking: Speaking, text: str, *, frame: int = 5, **captions: Any) -> tuple[Pixels, Caption, PlacedPage]:
    layer = {"type": "captions", "source": [{"text": text, "start": 0, "end": 1}], **captions}
    document = film([{"duration": 1.0, "bgColor": "#000000", "layers": [layer]}])
    caption = speaking.plan(document).plan.captions[0].captions[0]
    return speaking.still(document, frame), caption, place_page(caption, speaking.fonts, None)


def within(frame: Pixels, page: PlacedPage, number: int) -> Pixels:
    word = next(word for word in page.words if word.number == number)
    return frame[int(word.baseline - 0.8 * page.size) : int(word.baseline + 0.2 * page.size), int(word.x) : int(word.x + word.width) + 1]


def test_colours_are_those_that_were_asked_for_to_a_few_levels(speaking: Speaking) -> None:
    colours = {"color": "#3060c0", "highlight": "#e02020", "emphasis": {"words": ["FREE"], "color": "#20a040"}, "stroke": {"width": 0}}
    frame, _, page = still_of(speaking, "now free money", frame=2, style="karaoke", fontSize=64, **colours)
    for number, colour in ((0, (224, 32, 32)), (1, (32, 160, 64)), (2, (48, 96, 192))):
        part = within(frame, page, number).reshape(-1, 3)
        full = part[part.max(axis=1) > 0.9 * part.max()]
        assert np.abs(np.median(full, axis=0) - colour).max() < 14, (number, np.median(full, axis=0))


def test_an_emoji_comes_in_its_colours_and_at_its_place(speaking: Speaking) -> None:
    frame, _, page = still_of(speaking, "so 😀 good", style="minimal", fontSize=60)
    part = within(frame, page, 1)
    yellow = (part[..., 0] > 180) & (part[..., 1] > 130) & (part[..., 2] < 120)
    assert yellow.mean() > 0.25
    beside = np.concatenate([within(frame, page, 0).reshape(-1, 3), within(frame, page, 2).reshape(-1, 3)])
    assert ((beside[:, 0] > 180) & (beside[:, 2] < 120)).mean() < 0.02


def test_a_word_that_pops_is_not_there_before_its_time(speaking: Speaking) -> None:
    before, caption, page = still_of(speaking, "one two", frame=0, style="pop", fontSize=60)
    second = caption.words[1].first
    after, _, _ = still_of(speaking, "one two", frame=second + 6, style="pop", fontSize=60)
    assert within(before, page, 1).max() < 30
    assert within(after, page, 1).max() > 200


def test_a_plate_lies_behind_the_words_and_covers_them(speaking: Speaking) -> None:
    frame, _, page = still_of(speaking, "on a plate", style="boxed", background={"color": "#008000", "padding": 12, "radius": 0}, fontSize=40)
    x0, y0, x1, _ = (int(value) for value in page.box)
    green = frame[y0 + 2, x0 - 8 : x1 + 8]
    assert np.abs(np.median(green, axis=0) - (0, 128, 0)).max() < 12


@pytest.mark.parametrize("text", ["{\\an8}up", "a\\Nb", "100% {sure}", "\\\\server\\share", "{\\p1}m 0 0 l 9 9", "<b>bold</b> & ; : ,'\"[]"])
def test_what_would_be_a_command_to_libass_is_shown_as_it_stands(speaking: Speaking, text: str) -> None:
    """Every letter is drawn: the words are as wide as their letters are."""
    frame, caption, page = still_of(speaking, text, style="minimal", fontSize=30, uppercase=False)
    for number, word in enumerate(caption.words):
        part = within(frame, page, number)
        columns = (part.max(axis=(0, 2)) > 90).sum()
        assert columns > 0.35 * part.shape[1], (word.text, columns, part.shape)


def test_a_caption_is_the_same_in_a_still_a_draft_and_a_film(speaking: Speaking) -> None:
    layer = {"type": "captions", "source": [{"text": "the very same", "start": 0, "end": 0.4}]}
    document = film([{"duration": 0.4, "bgColor": "#202020", "layers": [layer]}])
    film_frame, still = speaking.frames(document, FINE)[3], speaking.still(document, 3)
    assert np.abs(film_frame - still).mean() < 1.5
    draft = speaking.plan(document, draft=True)
    small = decoded(speaking.clips(draft, FINE)[0])[3]
    assert small.shape[:2] == (320, 180)
    box, half = ink(still, (32, 32, 32)), ink(small, (32, 32, 32))
    assert box is not None
    assert half is not None
    assert max(abs(a / 2 - b) for a, b in zip(box, half, strict=True)) <= 2


@pytest.mark.parametrize(
    ("ground", "captions", "readable"),
    [
        ("#101820", {"style": "minimal"}, True),
        ("#f4f4f4", {"style": "minimal"}, False),
        ("#f4f4f4", {"style": "karaoke"}, True),
        ("#ffffff", {"style": "subtitle", "stroke": {"width": 0}}, False),
        ("#ffffff", {"style": "boxed"}, True),
        ("#808080", {"style": "karaoke", "color": "#8a8a8a", "highlight": "#909090", "stroke": {"width": 0}}, False),
    ],
)
def test_captions_that_cannot_be_read_on_their_picture_are_told(
    speaking: Speaking, ground: str, captions: dict[str, Any], readable: bool
) -> None:  # fmt: skip
    layer = {"type": "captions", "source": [{"text": "read me well", "start": 0, "end": 0.5}], **captions}
    prepared = speaking.plan(film([{"duration": 0.5, "bgColor": ground, "layers": [layer]}]))
    verdict = judge_captions(speaking.clips(prepared)[0], prepared.plan.captions, prepared.plan.canvas)
    assert verdict.passed == readable, verdict
    assert readable or "give captions a stroke" in verdict.found


def test_a_scene_without_captions_asks_nothing_of_libass_and_its_neighbours_words_are_no_part_of_it(speaking: Speaking) -> None:
    """Its graph has no such filter, and its key is the same whatever is said in the scene before."""
    bare = {"duration": 0.2, "layers": [{"type": "shape", "color": "red"}]}

    def keys(words: str) -> tuple[str, ...]:
        layer = {"type": "captions", "source": [{"text": words, "start": 0, "end": 0.2}]}
        prepared = speaking.plan(film([{**bare, "layers": [*bare["layers"], layer]}, bare]))
        plain = prepared.plan.pieces[1]
        out = Outputs("clip.mp4", "ends", "shown")
        graph = piece_argv(plain, [Delivered("still", "x", 0, 0, 360, 640)], prepared.plan.canvas, FINE, out)
        assert "ass=" not in " ".join(graph)
        return prepared.clip_keys

    one, other = keys("one"), keys("other")
    assert one[0] != other[0]
    assert one[1] == other[1]
