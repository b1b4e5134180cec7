"""Fonts are found by family, package, folder or file; what cannot be had is refused with a remedy."""

from __future__ import annotations

import importlib.util
import random
import shutil
import struct
import zlib
from pathlib import Path

import pytest

from viralsync_pipelines.errors import FontError
from viralsync_pipelines.render.fontfile import face_from_file, maps
from viralsync_pipelines.render.fonts import DEFAULT_FAMILY, FontBook, coverage, open_font_book
from viralsync_pipelines.render.woff import unpack_font


@pytest.fixture(scope="module")
def book() -> FontBook:
    return open_font_book((), system=False)


def package_file(module: str, pattern: str) -> Path:
    spec = importlib.util.find_spec(module)
    assert spec is not None
    assert spec.origin is not None
    return next(Path(spec.origin).parent.rglob(pattern))


def as_woff(sfnt: bytes, lie: int | None = None) -> bytes:
    """A WOFF file made of an sfnt; `lie` replaces each table's declared length."""
    count = struct.unpack_from(">H", sfnt, 4)[0]
    directory, body, start = b"", b"", 44 + 20 * count
    for i in range(count):
        tag, checksum, offset, length = struct.unpack_from(">4sLLL", sfnt, 12 + 16 * i)
        table = sfnt[offset : offset + length]
        packed = min(zlib.compress(table), table, key=len)
        directory += struct.pack(">4sLLLL", tag, start + len(body), len(packed), lie or length, checksum)
        body += packed + b"\0" * (-len(packed) % 4)
    size = start + len(body)
    return struct.pack(">4s4sLHHLHHLLLLL", b"wOFF", sfnt[:4], size, count, 0, len(sfnt), 1, 0, 0, 0, 0, 0, 0) + directory + body


def test_default_family_comes_with_the_package_in_every_weight(book: FontBook) -> None:
    faces = [book.find(None, weight) for weight in (100, 400, 700, 900)]
    assert [face.family for face in faces] == [DEFAULT_FAMILY] * 4
    assert [face.weight for face in faces] == [100, 400, 700, 900]
    assert len({face.identity for face in faces}) == 4
    assert book.find(None, 400, italic=True).italic


def test_family_names_are_matched_as_css_does(book: FontBook) -> None:
    """Case and quotes do not matter, a list is tried in order, generic names work."""
    assert book.find('"inter"').family == "Inter"
    assert book.find("No Such Family, 'INTER', serif").family == "Inter"
    assert book.find("sans-serif").family == "Inter"
    assert book.find("Heebo", 800).weight == 800


def test_unknown_family_names_the_package_and_like_names(book: FontBook) -> None:
    with pytest.raises(FontError, match="pip install fontpkg-intre") as caught:
        book.find("Intre")
    assert caught.value.code == "FONT_NOT_FOUND"
    assert "Inter" in caught.value.message
    assert "fontUrl" in caught.value.message


def test_given_folders_go_before_packages(tmp_path: Path) -> None:
    shutil.copy(package_file("fontpkg_heebo", "*.ttf"), tmp_path / "brand.ttf")
    face = open_font_book((tmp_path,), system=False).find("Heebo")
    assert face.path == tmp_path / "brand.ttf"


def test_a_missing_or_broken_folder_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "broken.ttf").write_bytes(b"\0\1\0\0 not a font")
    assert open_font_book((tmp_path, tmp_path / "gone"), system=False).find("Inter").family == "Inter"


def test_a_family_without_bold_or_italic_is_made_bold_and_slanted(tmp_path: Path) -> None:
    shutil.copy(package_file("dynamic_font", "NotoSansThai-Regular.ttf"), tmp_path)
    face = open_font_book((tmp_path,), system=False).find("Noto Sans Thai", 700, italic=True)
    assert (face.weight, face.italic) == (400, False)
    assert face.embolden > 0
    assert face.slant > 0


@pytest.mark.parametrize(
    ("char", "family"),
    [("ع", "Noto Sans Arabic"), ("ש", "Heebo"), ("क", "Noto Sans Devanagari"), ("日", "Noto Sans CJK JP")],
)
def test_fallback_offers_a_font_that_has_the_character(book: FontBook, char: str, family: str) -> None:
    faces = list(book.fallbacks_for(char, 700, prefer=("JP",)))
    assert family in {face.family for face in faces}
    assert all(maps(face, char) for face in faces)


def test_emoji_take_a_colour_font_first_and_letters_last(book: FontBook) -> None:
    assert next(book.fallbacks_for("😀", emoji=True)).colour
    assert not next(book.fallbacks_for("5")).colour


def test_coverage_agrees_with_single_lookups(book: FontBook) -> None:
    face = book.find(None)
    assert ord("A") in coverage(face)
    assert ord("ع") not in coverage(face)
    assert maps(face, "A") and not maps(face, "ع")  # noqa: PT018


def test_a_font_file_is_read_whatever_its_wrapping(tmp_path: Path) -> None:
    """TrueType, WOFF and WOFF2 of one font cover the same characters."""
    plain = package_file("fontpkg_heebo", "*.ttf")
    (tmp_path / "a.woff").write_bytes(as_woff(plain.read_bytes()))
    from fontTools.ttLib import woff2

    woff2.compress(str(plain), str(tmp_path / "a.woff2"))
    wanted = coverage(face_from_file(plain))
    assert coverage(face_from_file(tmp_path / "a.woff")) == wanted
    assert coverage(face_from_file(tmp_path / "a.woff2", 900)) == wanted
    assert face_from_file(tmp_path / "a.woff2", 900).weight == 900


def test_identity_follows_the_bytes_not_the_name(tmp_path: Path) -> None:
    heebo, arabic = package_file("fontpkg_heebo", "*.ttf"), package_file("fontpkg_noto_sans_arabic", "*.ttf")
    first, second = tmp_path / "a.ttf", tmp_path / "b.ttf"
    shutil.copy(heebo, first)
    shutil.copy(heebo, second)
    before = face_from_file(first).identity
    assert face_from_file(second).identity == before
    shutil.copy(arabic, first)
    assert face_from_file(first).identity != before


@pytest.mark.parametrize("data", [b"", b"<svg/>", b"wOFF", b"wOF2" + b"\0" * 60, b"\0\1\0\0" + b"\xff" * 200, b"OTTO"])
def test_what_is_no_font_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.ttf").write_bytes(data)
    with pytest.raises(FontError) as caught:
        face_from_file(tmp_path / "x.ttf")
    assert caught.value.code == "FONT_UNREADABLE"


def test_a_woff_that_unpacks_to_more_than_it_says_is_refused(tmp_path: Path) -> None:
    """A table of 200 MB that declares 1000 bytes stops there; one that declares 200 MB is not unpacked at all."""
    bomb = zlib.compress(b"\0" * (200 << 20), 1)
    for declared in (len(bomb) + 1000, 200 << 20):
        head = struct.pack(">4s4sLHHLHHLLLLL", b"wOFF", b"\0\1\0\0", 64 + len(bomb), 1, 0, 2000, 1, 0, 0, 0, 0, 0, 0)
        entry = struct.pack(">4sLLLL", b"glyf", 64, len(bomb), declared, 0)
        path = tmp_path / f"{declared}.woff"
        path.write_bytes(head + entry + bomb)
        with pytest.raises(FontError, match="cannot be used"):
            face_from_file(path)


def test_damaged_fonts_are_refused_or_read_but_never_crash(tmp_path: Path) -> None:
    whole = package_file("fontpkg_heebo", "*.ttf").read_bytes()
    chance = random.Random(7)
    for n in range(40):
        data = bytearray(whole if n % 2 else whole[: chance.randrange(len(whole))])
        for _ in range(30):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path = tmp_path / f"{n}.ttf"
        path.write_bytes(bytes(data))
        try:
            coverage(face_from_file(path))
        except FontError as error:
            assert error.code == "FONT_UNREADABLE"  # noqa: PT017


def test_plain_fonts_pass_through_unchanged() -> None:
    data = package_file("fontpkg_heebo", "*.ttf").read_bytes()
    assert unpack_font(data) is data
