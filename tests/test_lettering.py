"""Text is shaped, ordered, wrapped and drawn as its script wants; what cannot be drawn is named before drawing."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bidi import get_display
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from viralsync_pipelines.errors import FontError, RenderError
from viralsync_pipelines.movie.art import Gradient, Plate, Shadow, Stroke, TextArt
from viralsync_pipelines.render.bidi import bidi_class, embedding_levels, visual_order
from viralsync_pipelines.render.fonts import FontBook, open_font_book
from viralsync_pipelines.render.glyphs import font_chooser, primary_face
from viralsync_pipelines.render.lettering import (
    MAX_CHARS,
    Lettering,
    check_text,
    draw_text,
    faces_used,
    reveal_boxes,
)
from viralsync_pipelines.render.linebreak import break_after, split_clusters
from viralsync_pipelines.render.typeset import SetText, set_text

BOOK = open_font_book((), system=False)
FAMILY = "👨\u200d👩\u200d👧\u200d👦"


def only(*modules: str) -> FontBook:
    """A book of the named packages alone."""
    kept = tuple(folder for folder in BOOK.packages if any(name in folder.parts for name in modules))
    return FontBook((), kept, ())


def art(text: str, **changes: Any) -> TextArt:
    plain = TextArt(
        text=text, family=None, font_sha=None, weight=600, italic=False, size=60.0, fit=None, paint=(255, 255, 255, 255),
        align="center", line_height=1.2, letter_spacing=0.0, box_width=900, box_height=None,
    )  # fmt: skip
    return dataclasses.replace(plain, **changes)


def typeset(text: str, book: FontBook = BOOK, **changes: Any) -> SetText:
    made = art(text, **changes)
    return set_text(made, font_chooser(made, book, None), primary_face(made, book, None))


def glyph_ids(text: str, **changes: Any) -> list[int]:
    return [glyph.gid for line in typeset(text, **changes).lines for run in line.runs for glyph in run.glyphs]


def line_texts(text: str, **changes: Any) -> list[str]:
    block = typeset(text, **changes)
    return ["".join(c.text for c in block.clusters if c.line == n) for n in range(len(block.lines))]


# Shaping


def test_arabic_letters_join() -> None:
    """The same letter has another glyph at the start, in the middle and at the end of a word than alone."""
    alone, joined = glyph_ids("ه"), glyph_ids("ههه")
    assert len(joined) == 3
    assert len(set(joined)) == 3
    assert alone[0] not in joined[:2]


def test_lam_and_alef_become_one_ligature_with_two_boxes() -> None:
    boxes = typeset("لا", family="Noto Naskh Arabic").clusters
    assert len(glyph_ids("لا", family="Noto Naskh Arabic")) == 1
    assert [box.text for box in boxes] == ["ل", "ا"]
    assert boxes[0].x0 == pytest.approx(boxes[1].x1)
    assert all(box.x1 > box.x0 for box in boxes)


def test_devanagari_conjuncts_and_vowel_order() -> None:
    """KA + virama + SSA is one conjunct; the short i is written before its consonant."""
    ka, ssa = glyph_ids("क"), glyph_ids("ष")
    assert len(glyph_ids("क्ष")) == 1
    assert not set(glyph_ids("क्ष")) & set(ka + ssa)
    assert glyph_ids("कि")[-1] == ka[0]


def test_latin_is_kerned_and_marks_stand_on_their_letters() -> None:
    def width(text: str) -> float:
        return typeset(text).width

    assert width("AV") < width("A") + width("V") - 1
    assert width("e\u0301") == pytest.approx(width("é"))


def test_letter_spacing_leaves_arabic_joined() -> None:
    assert typeset("سلام", letter_spacing=20.0).width == typeset("سلام").width
    assert glyph_ids("سلام", letter_spacing=20.0) == glyph_ids("سلام")
    plain, spaced = typeset("abcd"), typeset("abcd", letter_spacing=20.0)
    assert spaced.width == pytest.approx(plain.width + 60, abs=0.5)


def test_emoji_sequences_stay_whole_and_in_colour() -> None:
    """A family, a flag, a skin tone and a keycap are one glyph each in the colour font, inside a Latin line."""
    for emoji in (FAMILY, "🇩🇪", "👍🏽", "1\ufe0f\u20e3", "❤\ufe0f"):
        block = typeset(f"a{emoji}b")
        coloured = [run for run in block.lines[0].runs if run.face.colour]
        assert [c.text for c in block.clusters] == ["a", emoji, "b"]
        assert len(coloured) == 1, emoji
        assert sum(g.x >= 0 for g in coloured[0].glyphs) <= 2, emoji  # a selector may leave an empty glyph


def test_combining_marks_never_change_font_within_a_cluster() -> None:
    block = typeset("Inter ع\u064e x\u0301\u0323")
    assert [c.text for c in block.clusters][-2:] == ["ع\u064e", "x\u0301\u0323"]


# Direction


def test_hebrew_with_latin_runs_right_to_left_around_the_latin() -> None:
    clusters = typeset("שלום World עולם").clusters
    place = {word: min(c.x0 for c in clusters if c.word == n) for n, word in enumerate(("shalom", "world", "olam"))}
    assert place["olam"] < place["world"] < place["shalom"]
    latin = [c.x0 for c in clusters if c.word == 1]
    assert latin == sorted(latin)
    hebrew = [c.x0 for c in clusters if c.word == 0]
    assert hebrew == sorted(hebrew, reverse=True)


def test_start_follows_the_paragraphs_direction() -> None:
    block = typeset("שלום\nhello", align="start")
    assert block.lines[0].x + block.lines[0].width == pytest.approx(900)
    assert block.lines[1].x == 0


def test_a_bracket_in_hebrew_is_mirrored() -> None:
    assert glyph_ids("(", align="left") == glyph_ids("א)")[:1]


_BIDI = "abאבجد12٣٤ +-.,$%()[]!\"\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


@given(st.text(alphabet=_BIDI, max_size=16), st.sampled_from(["L", "R", None]), st.sampled_from("aא"))
def test_order_agrees_with_another_implementation(text: str, base: Any, last: str) -> None:
    """The reference does not reset trailing spaces (rule L1), hence the letter at the end."""
    text += last
    _, levels = embedding_levels(text, {"L": 0, "R": 1, None: None}[base])

    def visible(line: str) -> str:
        return "".join(char for char in line if bidi_class(char) not in {"RLE", "LRE", "RLO", "LRO", "PDF", "BN"})

    assert visible("".join(text[i] for i in visual_order(levels))) == visible(str(get_display(text, base_dir=base)))


# Lines


def test_chinese_and_japanese_wrap_without_spaces_and_keep_punctuation() -> None:
    lines = line_texts("日本語のテキストは空白なしで折り返されます。「引用」もあります。", box_width=400)
    assert len(lines) > 3
    assert all(line[0] not in "。」、ー" and line[-1] != "「" for line in lines)


def test_korean_wraps_at_spaces() -> None:
    assert line_texts("한국어 문장 입니다", box_width=250) == ["한국어", "문장", "입니다"]


def test_line_ends_are_kept_and_empty_lines_have_height() -> None:
    block = typeset("one\n\ntwo\r\nthree")
    assert len(block.lines) == 4
    assert block.height == pytest.approx(4 * 72)


def test_a_word_wider_than_the_box_is_cut_between_clusters() -> None:
    lines = line_texts(FAMILY * 12, box_width=300)
    assert len(lines) > 1
    assert set("".join(lines).split("👨")[1:]) == {FAMILY[1:]}


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("well-known (a) $5.00 50%!", ["well-", "known ", "(a) ", "$5.00 ", "50%!"]),
        ("a\u00a0b c\u200bd", ["a\u00a0b ", "c\u200b", "d"]),
        ("ls -l … x", ["ls ", "-l ", "… ", "x"]),
        ("他说“你好”。", ["他", "说", "“你", "好”。"]),
        ("« Bonjour » dit-il", ["« Bonjour » ", "dit-", "il"]),
    ],
)
def test_break_opportunities(text: str, pieces: list[str]) -> None:
    clusters = split_clusters(text.replace("« B", "«\u00a0B").replace("r »", "r\u00a0»"))
    found: list[str] = []
    current = ""
    for cluster, ends in zip(clusters, break_after(clusters), strict=True):
        current += cluster
        if ends:
            found, current = [*found, current], ""
    assert [piece.replace("\u00a0", " ") for piece in found] == [piece.replace("\u00a0", " ") for piece in pieces]


@settings(deadline=None)
@given(
    st.lists(st.sampled_from(["water", "a", "extraordinary", "日本語", "שלום", "😀"]), min_size=1, max_size=12),
    st.integers(120, 900),
    st.integers(60, 600),
)
def test_auto_fit_fits_and_is_the_largest(words: list[str], width: int, height: int) -> None:
    made: dict[str, Any] = {"box_width": width, "box_height": height, "fit": (4.0, 300.0)}
    block = typeset(" ".join(words), **made)
    assert block.width <= width + 0.5
    assert block.height <= height + 0.5
    if block.size < 300:
        larger = typeset(" ".join(words), **{**made, "fit": None, "size": block.size + 0.5})
        cut = len({c.word for c in larger.clusters}) < sum(
            len({c.line for c in larger.clusters if c.word == word}) for word in {c.word for c in larger.clusters}
        )
        assert larger.height > height or larger.width > width or cut


# Pixels


def edges(made: Lettering) -> int:
    alpha = made.pixels[..., 3]
    return int(max(alpha[0].max(), alpha[-1].max(), alpha[:, 0].max(), alpha[:, -1].max()))


@pytest.mark.parametrize("text", ["Ågj", "ไทยแลนด์", "z\u0301\u0302\u0303\u0308\u0301\u0302", "😀"])
def test_nothing_is_cut_off(text: str) -> None:
    """However wide the stroke, shadow and plate, and however far marks reach, the bitmap ends in empty pixels."""
    for changes in (
        {"stroke": Stroke((0, 0, 0, 255), 90.0)},
        {"shadow": Shadow((0, 0, 0, 255), -150, 80, 60)},
        {"background": Plate((0, 0, 0, 255), 75.5, 30)},
        {"box_width": 10, "line_height": 0.5, "italic": True, "stroke": Stroke((0, 0, 0, 255), 7.3)},
    ):
        assert edges(draw_text(art(text, **changes), BOOK)) == 0


def test_the_inset_places_the_box_the_same_with_and_without_effects() -> None:
    def letters(**changes: Any) -> Any:
        made = draw_text(art("Hello", paint=(255, 0, 0, 255), **changes), BOOK)
        left, top = made.inset
        window = made.pixels[top : top + 72, left : left + 900]
        return (window[..., 0] > 250) & (window[..., 3] > 250)

    plain = letters()
    assert plain.sum() > 1000
    assert (letters(shadow=Shadow((0, 0, 0, 255), 20, 20, 30), stroke=Stroke((0, 0, 0, 255), 25)) == plain).all()


def test_a_stroke_is_as_wide_as_asked_and_lies_under_the_letter() -> None:
    plain = draw_text(art("I", size=200.0), BOOK)
    made = draw_text(art("I", size=200.0, stroke=Stroke((0, 0, 255, 255), 12.5)), BOOK)

    def width(pixels: Any) -> float:
        return float(pixels[pixels.shape[0] // 2, :, 3].sum() / 255)

    assert width(made.pixels) == pytest.approx(width(plain.pixels) + 25, abs=0.3)
    assert (made.pixels[..., 0] > 250).sum() == pytest.approx((plain.pixels[..., 3] > 250).sum(), rel=0.02)


def test_a_shadow_is_the_moved_and_blurred_text() -> None:
    made = draw_text(art("I", size=100.0, paint=(255, 255, 255, 0), shadow=Shadow((0, 0, 0, 255), 40, 10, 12)), BOOK)
    plain = draw_text(art("I", size=100.0), BOOK)

    def centre(drawn: Lettering) -> Any:
        alpha = drawn.pixels[..., 3].astype(float)
        y, x = np.mgrid[: alpha.shape[0], : alpha.shape[1]]
        return np.array([(alpha * x).sum(), (alpha * y).sum()]) / alpha.sum() - drawn.inset

    assert centre(made) - centre(plain) == pytest.approx([40, 10], abs=0.2)
    assert made.pixels[..., 3].sum() == pytest.approx(plain.pixels[..., 3].sum(), rel=0.02)


def test_emoji_keep_their_colours_and_take_the_opacity() -> None:
    made = draw_text(art("🔥", size=120.0), BOOK).pixels.astype(int)
    solid = made[made[..., 3] > 250]
    assert (solid[:, :3].max(axis=1) - solid[:, :3].min(axis=1)).max() > 150
    faint = draw_text(art("🔥", size=120.0, paint=(255, 255, 255, 128)), BOOK).pixels
    assert faint[..., 3].max() == pytest.approx(128, abs=1)


def test_a_gradient_runs_over_the_lines() -> None:
    made = draw_text(art("MMMMMMMM", paint=Gradient(((255, 0, 0, 255), (0, 0, 255, 255)), 90.0)), BOOK)
    solid = made.pixels[..., 3] > 250
    columns = np.where(solid.any(axis=0))[0]
    first, last = made.pixels[:, columns[2]][solid[:, columns[2]]][0], made.pixels[:, columns[-3]][solid[:, columns[-3]]][0]
    assert first[0] > 230
    assert last[2] > 230


def test_edges_are_straight_alpha() -> None:
    """A half covered pixel keeps the full colour: no dark seam when laid over a picture."""
    pixels = draw_text(art("Seams", paint=(200, 100, 50, 255)), BOOK).pixels
    partial = (pixels[..., 3] > 20) & (pixels[..., 3] < 235)
    assert partial.sum() > 100
    assert np.abs(pixels[partial][:, :3].astype(int) - (200, 100, 50)).max() <= 4


def test_the_same_art_gives_the_same_bytes() -> None:
    made = art("Twice 😀 سلام", stroke=Stroke((0, 0, 0, 255), 4), shadow=Shadow((0, 0, 0, 90), 3, 3, 9))
    assert draw_text(made, BOOK).pixels.tobytes() == draw_text(made, BOOK).pixels.tobytes()


# Reveal


def test_reveal_goes_by_cluster_word_or_line_in_reading_order() -> None:
    made = draw_text(art("Save water\nשלום עולם"), BOOK)
    spelled = [["".join(box.text for box in group) for group in reveal_boxes(made, mode)] for mode in ("words", "lines")]
    assert spelled == [["Save", "water", "שלום", "עולם"], ["Savewater", "שלוםעולם"]]
    assert len(reveal_boxes(made, "typewriter")) == 17


def test_every_letter_lies_in_its_cluster_box() -> None:
    made = draw_text(art("I I I", weight=400), BOOK)
    alpha = made.pixels[..., 3]
    inside = sum(int(alpha[:, round(b.x0) : round(b.x1)].sum()) for b in made.clusters)
    assert inside == int(alpha.sum())


# Problems


@pytest.mark.parametrize(
    ("text", "named", "remedy"),
    [
        ("ab ع", "Arabic character ع (U+0639)", "pip install fontpkg-noto-sans-arabic"),
        ("שלום", "Hebrew characters ש (U+05E9)", "pip install fontpkg-heebo"),
        ("क", "Devanagari", "pip install fontpkg-noto-sans-devanagari"),
        ("日本", "Han characters 日 (U+65E5), 本 (U+672C)", "pip install manimgx-fonts-cjk"),
        ("한", "Hangul", "pip install manimgx-fonts-cjk"),
        ("ไ", "Thai", "pip install fontpkg-noto-sans-thai"),
        ("hi 😀", "emoji character 😀 (U+1F600)", "pip install dynamic-font"),
        ("\U000f1234", "private-use", "fontUrl"),
    ],
)
def test_a_missing_glyph_is_named_with_a_remedy(text: str, named: str, remedy: str) -> None:
    book = only("fontpkg_inter")
    problems = check_text(art(text), book, None, "/scenes/0/layers/1/text")
    assert [(p.pointer, p.code) for p in problems] == [("/scenes/0/layers/1/text", "GLYPH_MISSING")]
    assert named in problems[0].message
    assert remedy in problems[0].message
    with pytest.raises(FontError) as caught:
        draw_text(art(text), book)
    assert caught.value.code == "GLYPH_MISSING"


def test_each_script_that_is_missing_is_its_own_problem() -> None:
    assert len(check_text(art("ع ש 日 ok"), only("fontpkg_inter"), None, "")) == 3


def test_an_unknown_family_and_a_broken_file_are_problems(tmp_path: Path) -> None:
    assert [p.code for p in check_text(art("x", family="Nope Sans"), BOOK, None, "/p")] == ["FONT_NOT_FOUND"]
    (tmp_path / "x.ttf").write_bytes(b"no font")
    assert [p.code for p in check_text(art("x"), BOOK, tmp_path / "x.ttf", "/p")] == ["FONT_UNREADABLE"]


def test_too_much_text_is_refused_before_any_work() -> None:
    assert [p.code for p in check_text(art("a" * (10 << 20)), BOOK, None, "/p")] == ["TEXT_TOO_LONG"]
    assert [p.code for p in check_text(art("a\n" * 5000, size=200.0), BOOK, None, "/p")] == ["TEXT_TOO_LARGE"]
    with pytest.raises(RenderError):
        draw_text(art("a" * (MAX_CHARS + 1)), BOOK)


def test_a_font_file_goes_before_the_family_and_the_rest_fills_in() -> None:
    spec = importlib.util.find_spec("fontpkg_heebo")
    assert spec is not None
    assert spec.origin is not None
    file = next(Path(spec.origin).parent.rglob("*.ttf"))
    families = [face.family for face in faces_used(art("שלום ab 日"), BOOK, file)]
    assert families[0] == "Heebo"
    assert "Noto Sans CJK" in families[1]
    assert len(families) == 2


def test_faces_used_are_those_that_draw() -> None:
    families = [face.family for face in faces_used(art("Hi ع 😀"), BOOK)]
    assert families == ["Inter", "Noto Sans Arabic", "Noto Color Emoji"]


_HARD = "aب ש\u0301\u200d\ufe0f👍🏽🇩🇪क्ष日。「\x00\n\t\u202e\u2067\u200b\ud800لا-\u0e44\u1100\U000e0067\ufdd0\ufeff"


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(
    text=st.text(max_size=60) | st.text(alphabet=_HARD, max_size=80),
    size=st.floats(4, 160),
    spacing=st.sampled_from([0.0, 9.5, -3.0]),
    weight=st.integers(1, 1000),
    align=st.sampled_from(["left", "center", "right", "start", "end"]),
    width=st.integers(1, 900),
    fitted=st.booleans(),
)
def test_any_text_is_drawn_or_is_a_problem(
    text: str, size: float, spacing: float, weight: int, align: str, width: int, fitted: bool
) -> None:
    made = art(
        text, size=size, letter_spacing=spacing, weight=weight, align=align, box_width=width,
        fit=(6.0, size + 8) if fitted else None, box_height=300 if fitted else None,
    )  # fmt: skip
    if check_text(made, BOOK, None, "/text"):
        return
    drawn = draw_text(made, BOOK)
    assert edges(drawn) == 0
    for mode in ("typewriter", "words", "lines"):
        assert [b for group in reveal_boxes(drawn, mode) for b in group] == list(drawn.clusters)


@pytest.mark.parametrize("piece", ["ab ", "日本", "क्षि", "😀", "سلام ", "\u202e(", "\u2067a", "\x00", "-"])
def test_five_thousand_characters_are_drawn(piece: str) -> None:
    made = art((piece * 5000)[:5000], size=12.0)
    assert check_text(made, BOOK, None, "") == []
    assert draw_text(made, BOOK).pixels.shape[1] >= 900
