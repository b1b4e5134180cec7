"""Movies made to do harm are refused with a code, or rendered safely: bounded time and memory, and no text of theirs in any command."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
import os
import resource
import string
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.films import Lab, ffmpeg, lab, middle
from tests.servers.media import MediaServer, body, endless, media_server, redirect, shorter_than_promised, status
from viralsync_pipelines.errors import MovieInvalid, Problem
from viralsync_pipelines.http import open_client
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.movie.filters import Delivered, Outputs, piece_argv, still_argv
from viralsync_pipelines.movie.picture import Footage
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.render.download import Web
from viralsync_pipelines.render.prepare import Desk, Prepared, prepare
from viralsync_pipelines.render.registry import MAX_DOCUMENT_BYTES, keep_version, parse_document, register

MARK = "zQ7xK"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A movie's folder with a picture, a clip, a sound and a secret just outside of it."""
    folder = tmp_path_factory.mktemp("hostile") / "movie"
    studio = lab(folder)
    Image.new("RGB", (64, 48), "red").save(folder / "a.png")
    ffmpeg("-f", "lavfi", "-i", "testsrc=s=64x48:r=30:d=1", "-c:v", "libx264", "-pix_fmt", "yuv420p", folder / "a.mp4")
    ffmpeg("-f", "lavfi", "-i", "sine=440:d=1", folder / "a.wav")
    Image.new("RGB", (64, 48), "blue").save(folder.parent / "secret.png")
    (folder / "link.png").symlink_to(folder.parent / "secret.png")
    return studio


def speak(line: Line) -> Spoken:
    return Spoken(line.key, f"cache/speech/{line.key}.wav", line.key * 2, 22_050, 22_050, (), "test", "voice")


def plan(place: Lab, document: Any, web: Web | None = None) -> Prepared:
    bench = dataclasses.replace(place.desk.sources, web=web)
    desk = Desk(bench, place.fonts, speak, place.desk.shelf)
    return prepare(document, desk, variables={})


def refused(place: Lab, document: Any, web: Web | None = None) -> list[tuple[str, str]]:
    with pytest.raises(MovieInvalid) as caught:
        plan(place, document, web)
    check(caught.value.problems)
    return [(p.pointer, p.code) for p in caught.value.problems]


def outcome(place: Lab, document: Any) -> Prepared | MovieInvalid:
    """The plan, or the refusal with problems that can be told."""
    try:
        return plan(place, document)
    except MovieInvalid as error:
        check(error.problems)
        return error


def check(problems: tuple[Problem, ...]) -> None:
    """Whatever is said can be printed, stored and sent, and is short."""
    assert problems
    for problem in problems:
        json.dumps(problem.as_json(), ensure_ascii=False).encode()
        assert problem.pointer == "" or problem.pointer.startswith("/")
        assert problem.code == problem.code.upper()
        assert 0 < len(problem.message) < 1_500


def movie(*layers: Any, **more: Any) -> dict[str, Any]:
    return {"width": 360, "height": 360, "scenes": [{"id": "s", "duration": 0.1, "layers": list(layers)}], **more}


def image(src: Any) -> dict[str, Any]:
    return movie({"type": "image", "src": src})


def text(words: Any, **more: Any) -> dict[str, Any]:
    return movie({"type": "text", "text": words, **more})


# Numbers, sizes and shapes.


@pytest.mark.parametrize(
    ("document", "pointer", "code"),
    [
        (movie(scenes=[{"id": "s", "duration": 36_000}]), "/scenes/0/duration", "VALUE_OUT_OF_RANGE"),
        (movie(scenes=[{"id": "s", "duration": -1}]), "/scenes/0/duration", "VALUE_OUT_OF_RANGE"),
        (movie(scenes=[{"id": "s", "duration": float("nan")}]), "/scenes/0/duration", "NUMBER_INVALID"),
        (movie(scenes=[{"id": "s", "duration": float("inf")}]), "/scenes/0/duration", "NUMBER_INVALID"),
        (movie(scenes=[{"id": "s", "duration": 10**400}]), "/scenes/0/duration", "NUMBER_INVALID"),
        (movie(scenes=[{"id": "s", "duration": 10**300}]), "/scenes/0/duration", "VALUE_OUT_OF_RANGE"),
        (movie(scenes=[{"id": "s", "duration": 1e-300}]), "/scenes/0/duration", "VALUE_OUT_OF_RANGE"),
        (movie(scenes=[{"id": "s", "duration": "10"}]), "/scenes/0/duration", "VALUE_NOT_ALLOWED"),
        (movie(scenes=[{"id": "s", "duration": True}]), "/scenes/0/duration", "TYPE_WRONG"),
        (text("x", start=-1), "/scenes/0/layers/0/start", "VALUE_OUT_OF_RANGE"),
        (text("x", start=float("-inf")), "/scenes/0/layers/0/start", "NUMBER_INVALID"),
        (text("x", zIndex=2**70), "/scenes/0/layers/0/zIndex", "VALUE_OUT_OF_RANGE"),
        (text("x", fontSize=1e308), "/scenes/0/layers/0/fontSize", "VALUE_OUT_OF_RANGE"),
        (text("x" * 10_000), "/scenes/0/layers/0/text", "TEXT_TOO_LONG"),
        (text("x" * 10_000_000), "", "DOCUMENT_TOO_LARGE"),
        (text("half a \ud800 character"), "/scenes/0/layers/0/text", "TEXT_INVALID"),
        (text("NUL \0 byte"), "/scenes/0/layers/0/text", "TEXT_INVALID"),
        (movie({"type": "text", "text": "x", "k\udfffy": 1}), "/scenes/0/layers/0", "TEXT_INVALID"),
        (movie(title="\ud800"), "/title", "TEXT_INVALID"),
        (movie(width=1e999), "/width", "NUMBER_INVALID"),
        (movie(fps="1e999999999"), "/fps", "VALUE_OUT_OF_RANGE"),
        (movie(bgColor="rgb(" + "(" * 5_000), "/bgColor", "COLOR_INVALID"),
        (movie(*[{"type": "shape"}] * 201), "/scenes/0/layers", "TOO_MANY"),
        ({"scenes": [{"duration": 1}] * 2_001}, "/scenes/2000", "TOO_MANY_SCENES"),
        ({"scenes": [{"duration": 1, "iterate": list(range(3_000))}]}, "/scenes/0", "TOO_MANY_SCENES"),
        ({"scenes": [{"duration": 7_000}] * 3}, "/scenes", "MOVIE_TOO_LONG"),
        (movie({"type": "shape", "width": "5000%", "height": "5000%"}), "/scenes/0/layers/0", "LAYER_TOO_LARGE"),
        (text("x", fontSize="5000%", text="xxxxxxxxxx" * 40, letterSpacing=200, fontFamily="Inter"), "/scenes/0/layers/0/text", "TEXT_TOO_LARGE"),
    ],
)  # fmt: skip
def test_what_is_beyond_its_limits_is_refused_where_it_stands(place: Lab, document: Any, pointer: str, code: str) -> None:
    assert (pointer, code) in refused(place, document)


def test_a_thousand_scenes_and_two_hundred_layers_are_no_crime(place: Lab) -> None:
    many = plan(place, {"width": 360, "height": 360, "scenes": [{"duration": 1}] * 1_000})
    assert (len(many.plan.scenes), len(set(many.clip_keys))) == (1_000, 1)
    assert len(plan(place, movie(*[{"type": "shape", "width": n + 1, "height": 1} for n in range(200)])).plan.pieces[0].visuals) == 200


# Documents as bytes.


@pytest.mark.parametrize(
    ("data", "code", "said"),
    [
        (b"", "DOCUMENT_INVALID", "line 1"),
        (b"{", "DOCUMENT_INVALID", "line 1, column 2"),
        (b"[]", "DOCUMENT_INVALID", "wrap it in { }"),
        (b'"x"', "DOCUMENT_INVALID", "object"),
        (b"\xff\xfe\x00", "DOCUMENT_INVALID", ""),
        (b'{"a": "\xff"}', "DOCUMENT_INVALID", "UTF-8"),
        (b"[" * 100_000, "DOCUMENT_TOO_DEEP", "48"),
        (b'{"a":' * 100_000, "DOCUMENT_TOO_DEEP", "48"),
        (b'{"a": ' + b"9" * 5_000 + b"}", "NUMBER_INVALID", "digits"),
        (b" " * (MAX_DOCUMENT_BYTES + 1), "DOCUMENT_TOO_LARGE", "8,000,000"),
        (b'{"title": "a", "title": "b"}', "FIELD_DOUBLED", "twice"),
        (b"\x89PNG\r\n\x1a\n", "DOCUMENT_INVALID", ""),
    ],
    ids=lambda value: value[:12] if isinstance(value, bytes) else None,
)
def test_what_is_no_movie_json_is_refused_with_a_sentence(data: bytes, code: str, said: str) -> None:
    with pytest.raises(MovieInvalid) as caught:
        parse_document(data)
    check(caught.value.problems)
    assert caught.value.problems[0].code == code
    assert said in caught.value.problems[0].message


def test_a_field_given_twice_is_pointed_at() -> None:
    with pytest.raises(MovieInvalid) as caught:
        parse_document(b'{"scenes": [{"id": "a"}, {"layers": [{"te/xt": 1, "te/xt": 2}]}], "a": {"b": 1, "b": 1}}')
    assert [p.pointer for p in caught.value.problems] == ["/scenes/1/layers/0/te~1xt", "/a/b"]


@given(st.one_of(st.binary(max_size=200), st.text(alphabet='{}[]",:0123456789.eE+-truefalsn\\u \n', max_size=200).map(str.encode)))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_a_document_or_refused(data: bytes) -> None:
    with contextlib.suppress(MovieInvalid):
        assert isinstance(parse_document(data), dict)


def test_the_store_takes_whatever_json_holds(place: Lab) -> None:
    """Documents are kept before they are judged, so half a character must not stop them."""
    document = {"id": "odd", "title": "\ud800", "n": float("nan")}
    key = keep_version(place.store, "odd", document)
    assert json.loads(place.store.get_bytes(key))["title"] == "\ud800"
    register(place.store, "odd", document, "")


# Payloads in every string.

PAYLOADS = [
    f"';[0:v]drawtext=text={MARK}[v];'",
    f"{MARK}:expansion=normal",
    f"%{{eif:{MARK}}}",
    f"{{\\an8}}{{\\p1}}{MARK}",
    f"$({MARK})`{MARK}`",
    f"\\{MARK}\\\\n\\'\\\"",
    f"line\n{MARK}\r\ttab\x0b",
    f"-i /etc/passwd -{MARK}",
    f"--{MARK}=1",
    f"/etc/{MARK}",
    f"../../{MARK}",
    f"file:///{MARK}",
    f"concat:{MARK}|b",
    f"{MARK}\u202e\u2066\ufeff\u200d",
    f"<script>{MARK}</script>&amp;",
    f"{{% {MARK} %}} {{# {MARK} #}}",
    f"%00 %d %s %n {MARK}",
]
STRINGS = [
    "/id", "/title", "/preset", "/fps", "/bgColor", "/output/quality", "/output/format", "/width",
    "/scenes/0/id", "/scenes/0/duration", "/scenes/0/bgColor", "/scenes/0/transition/type",
    "/scenes/1/layers/0/src", "/scenes/1/layers/0/id", "/scenes/1/layers/0/anchor", "/scenes/1/layers/0/fit", "/scenes/1/layers/0/flip",
    "/scenes/1/layers/0/blend", "/scenes/1/layers/0/borderRadius", "/scenes/1/layers/0/x", "/scenes/1/layers/0/crop/x",
    "/scenes/1/layers/0/enter/type", "/scenes/1/layers/0/enter/easing", "/scenes/1/layers/0/chromaKey/color",
    "/scenes/1/layers/0/keyframes/x/0/value", "/scenes/1/layers/0/keyframes/x/0/easing", "/scenes/1/layers/0/kenBurns/easing",
    "/scenes/1/layers/1/text", "/scenes/1/layers/1/fontFamily", "/scenes/1/layers/1/fontUrl", "/scenes/1/layers/1/fontWeight",
    "/scenes/1/layers/1/fontStyle", "/scenes/1/layers/1/fontSize", "/scenes/1/layers/1/color", "/scenes/1/layers/1/align",
    "/scenes/1/layers/1/gradient/colors/0", "/scenes/1/layers/1/background/color", "/scenes/1/layers/1/stroke/color",
    "/scenes/1/layers/1/shadow/color", "/scenes/1/layers/1/reveal", "/scenes/1/layers/1/type",
    "/scenes/1/layers/2/text", "/scenes/1/layers/2/voice", "/scenes/1/layers/2/engine", "/scenes/1/layers/3/src", "/scenes/1/layers/4/src",
    "/scenes/1/layers/5/shape",
]  # fmt: skip
RICH: dict[str, Any] = {
    "id": "rich", "title": "Rich", "width": 360, "height": 360, "fps": "30", "bgColor": "black", "output": {"quality": "standard", "format": "mp4"},
    "scenes": [
        {"id": "a", "duration": 0.2, "bgColor": "white", "transition": {"type": "fade", "duration": 0.1}},
        {"id": "b", "duration": 0.5, "transition": {"type": "fade", "duration": 0.1}, "layers": [
            {"type": "video", "id": "v", "src": "a.mp4", "anchor": "top", "fit": "contain", "flip": "horizontal", "blend": "screen",
             "borderRadius": "5%", "x": "50%", "y": 0, "crop": {"x": "5%"}, "enter": {"type": "fade", "easing": "linear", "duration": 0.1},
             "chromaKey": {"color": "lime"}, "keyframes": {"x": [{"at": 0, "value": "50%", "easing": "linear"}]}, "kenBurns": {"easing": "linear"},
             "filters": {"blur": 2}, "opacity": 0.9},
            {"type": "text", "text": "Words", "fontFamily": "Inter", "fontWeight": "bold", "fontStyle": "normal", "fontSize": "8%",
             "color": "gold", "align": "left", "gradient": {"colors": ["red", "blue"]}, "background": {"color": "#0008"},
             "stroke": {"color": "black"}, "shadow": {"color": "black"}, "reveal": "words"},
            {"type": "voice", "text": "hello", "voice": "en", "engine": "espeak"},
            {"type": "audio", "src": "a.wav"}, {"type": "image", "src": "a.png", "width": "20%"},
            {"type": "shape", "shape": "ellipse", "width": 20, "height": 20},
        ]},
    ],
    "layers": [{"type": "image", "src": "a.png", "width": 20, "x": 5, "y": 5}],
    "variables": {"who": "you"},
}  # fmt: skip


def put(document: Any, pointer: str, value: Any) -> Any:
    """A copy with one value replaced; objects on the way are made."""
    document = node = copy.deepcopy(document)
    *path, last = pointer.split("/")[1:]
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return document


def commands(prepared: Prepared) -> Iterator[str]:
    """Every word of every ffmpeg command that the plan's pieces lead to, with art and files as numbers."""
    made, canvas = prepared.plan, prepared.plan.canvas
    for piece in made.pieces:
        given = [
            Delivered("clip" if isinstance(v.content, Footage) and v.content.moving else "still", f"/art/{n}", 0, 0, 20, 20, frames=piece.count)
            for n, v in enumerate(piece.visuals)
        ]
        yield from piece_argv(piece, given, canvas, ENCODERS[made.quality], Outputs("/out.mp4", "/ends.raw", "/shown.raw"))
        yield from still_argv(piece, given, canvas, 0, "/out.png")


def test_the_rich_movie_is_right_and_leads_to_commands(place: Lab) -> None:
    words = list(commands(plan(place, RICH)))
    assert any("xfade" in word for word in words)
    assert all(set(word) <= set(string.printable) for word in words)


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_no_text_of_a_movie_stands_in_a_command(place: Lab, payload: str) -> None:
    """Filter strings, subtitle codes, format directives, shell and options: in every string field, refused or drawn as pixels."""
    for pointer in STRINGS:
        found = outcome(place, put(RICH, pointer, payload))
        if isinstance(found, MovieInvalid):
            assert all(p.pointer.startswith(pointer.rpartition("/")[0]) or not p.pointer for p in found.problems), (pointer, found.problems)
            continue
        words = list(commands(found))
        assert not any(MARK in word or "drawtext" in word or "passwd" in word for word in words), pointer


@pytest.mark.parametrize("payload", PAYLOADS, ids=ascii)
def test_a_variable_is_data_whatever_it_holds(place: Lab, payload: str) -> None:
    document = put(RICH, "/scenes/1/layers/1/text", "for {{ who }}")
    document = put(document, "/variables/who", payload.replace("{{", "{ {"))
    prepared = plan(place, document)
    assert any(payload in getattr(v.content, "text", "") for p in prepared.plan.pieces for v in p.visuals)
    assert not any(MARK in word for word in commands(prepared))


def test_payloads_are_drawn_as_the_characters_they_are(place: Lab) -> None:
    words = "';[0:v]drawtext=text=x[v];' {\\an8} %{pts} $(id) \\ -i /etc/passwd"
    drawn = place.still(text(words, fontSize=20, color="white"), 0)
    plain = place.still(text("x", fontSize=20, color="white"), 0)
    assert (drawn > 128).sum() > 5 * (plain > 128).sum()


ODD_NAMES = ["-i.png", "-y", "a;b'c.png", "[0:v].png", "%03d.png", "a,b=c:d.png", "$(id).png", "new\nline.png", " .png", "é🎬.png", "a\\b.png",
             "|pipe.png", "{x}.png", "*.png", "concat:a.png", "data:x.png"]  # fmt: skip


@pytest.mark.parametrize("name", ODD_NAMES)
def test_files_of_any_name_are_the_files_they_are_or_refused(place: Lab, name: str) -> None:
    """A name is never an option, a pattern or a protocol: the green picture shows, or nothing does."""
    Image.new("RGB", (64, 48), (0, 255, 0)).save(place.folder / name, format="PNG")
    found = outcome(place, image(name))
    if isinstance(found, MovieInvalid):
        assert {p.code for p in found.problems} <= {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}
    else:
        assert np.allclose(middle(place.still(image(name), 0)), (0, 255, 0), atol=6)


@pytest.mark.parametrize("name", ["-i.mp4", "%03d.mp4", "a;b'c[0:v].mp4", "a\\b,c=d.mp4"])
def test_clips_of_any_name_are_the_clips_they_are(place: Lab, name: str) -> None:
    (place.folder / name).write_bytes((place.folder / "a.mp4").read_bytes())
    frames = place.frames(movie({"type": "video", "src": name}))
    assert len(frames) == 3
    assert frames.std() > 20


# Sources that lead elsewhere.


@pytest.mark.parametrize(
    ("src", "codes"),
    [
        ("file:///etc/passwd", {"SOURCE_REFUSED"}),
        ("file://localhost/etc/passwd", {"SOURCE_REFUSED"}),
        ("/etc/passwd", {"SOURCE_REFUSED"}),
        ("../../etc/passwd", {"SOURCE_REFUSED"}),
        ("../secret.png", {"SOURCE_REFUSED"}),
        ("link.png", {"SOURCE_REFUSED"}),
        ("%2e%2e/secret.png", {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}),
        ("a.png/../../secret.png", {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}),
        (".", {"SOURCE_REFUSED", "SOURCE_UNREADABLE"}),
        ("concat:a.png|b.png", {"SOURCE_REFUSED"}),
        ("data:image/png;base64,AAAA", {"SOURCE_REFUSED"}),
        ("pipe:0", {"SOURCE_REFUSED"}),
        ("subfile,,start,0,end,10,,:/etc/passwd", {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}),
        ("tcp://127.0.0.1:22", {"SOURCE_REFUSED"}),
        ("rtmp://example.com/live", {"SOURCE_REFUSED"}),
        ("ftp://example.com/a.png", {"SOURCE_REFUSED"}),
        ("gopher://example.com/", {"SOURCE_REFUSED"}),
        ("javascript:alert(1)", {"SOURCE_REFUSED"}),
        ("lavfi:color=red", {"SOURCE_REFUSED"}),
        ("\\\\server\\share\\a.png", {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}),
        ("s3://other-bucket/key", {"SOURCE_REFUSED"}),
        ("job:../../x", {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}),
        ("resource:../x", {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}),
        ("/dev/zero", {"SOURCE_REFUSED"}),
        ("/proc/self/environ", {"SOURCE_REFUSED"}),
        ("x" * 5_000, {"FIELD_UNKNOWN", "TEXT_TOO_LONG"}),
        ("x" * 4_000, {"SOURCE_NOT_FOUND", "SOURCE_REFUSED"}),
    ],
)
@pytest.mark.parametrize("kind", ["image", "video", "audio"])
def test_a_src_reaches_nothing_but_what_is_open_to_the_movie(place: Lab, src: str, codes: set[str], kind: str) -> None:
    ((pointer, code),) = refused(place, movie({"type": kind, "src": src}))
    assert pointer == "/scenes/0/layers/0/src"
    assert code in codes


def png(width: int, height: int, *chunks: tuple[bytes, bytes], depth: int = 1) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunk(*each) for each in chunks) + chunk(b"IEND", b"")


def zeros(count: int) -> bytes:
    squeeze = zlib.compressobj(9)
    return b"".join(squeeze.compress(bytes(1_000_000)) for _ in range(count // 1_000_000)) + squeeze.flush()


def gif(width: int, height: int, frames: int) -> bytes:
    frame = b"\x21\xf9\x04\x00\x01\x00\x00\x00\x2c\0\0\0\0\1\0\1\0\0\x02\x02\x44\x01\x00"
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x80\0\0\0\0\0\xff\xff\xff" + frame * frames + b";"


ELSEWHERE = "http://127.0.0.1:9/elsewhere"
HOSTILE_FILES: dict[str, tuple[bytes, set[str]]] = {
    "list.m3u8": (f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nfile:///etc/passwd\n{ELSEWHERE}\n".encode(), {"SOURCE_REFUSED"}),
    "list.mp4": (f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:1,\n{ELSEWHERE}\n".encode(), {"SOURCE_REFUSED"}),
    "list.avi": (b"RIFF\x00\x00\x00\x00AVI #EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", {"SOURCE_REFUSED", "SOURCE_UNREADABLE"}),
    "ff.mp4": (b"ffconcat version 1.0\nfile /etc/passwd\n", {"SOURCE_REFUSED"}),
    "dash.mpd": (f"<?xml version='1.0'?><MPD><BaseURL>{ELSEWHERE}</BaseURL></MPD>".encode(), {"SOURCE_REFUSED"}),
    "a.svg": (f"<svg xmlns='http://www.w3.org/2000/svg'><image href='{ELSEWHERE}'/></svg>".encode(), {"SOURCE_REFUSED"}),
    "svg.png": (b"<?xml version='1.0'?><!DOCTYPE svg [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><svg>&x;</svg>", {"SOURCE_REFUSED"}),
    "page.png": (b"<!DOCTYPE html><html></html>", {"SOURCE_REFUSED"}),
    "a.ass": (b"[Script Info]\nTitle: x\n", {"SOURCE_REFUSED"}),
    "stream.sdp": (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n", {"SOURCE_REFUSED"}),
    "empty.png": (b"", {"SOURCE_REFUSED", "SOURCE_UNREADABLE"}),
    "noise.mp4": (bytes(range(256)) * 20, {"SOURCE_REFUSED", "SOURCE_UNREADABLE"}),
    "zip.png": (b"PK\x03\x04" + bytes(100), {"SOURCE_REFUSED"}),
    "gz.svg": (b"\x1f\x8b" + bytes(100), {"SOURCE_REFUSED"}),
    "cut.png": (png(64, 64)[:40], {"SOURCE_UNREADABLE"}),
    "bomb.png": (png(65_500, 65_500, (b"IDAT", zeros(500_000_000))), {"SOURCE_TOO_LARGE"}),
    "words.png": (png(2, 2, (b"zTXt", b"k\0\0" + zeros(200_000_000)), (b"IDAT", zlib.compress(bytes(4)))), {"SOURCE_UNREADABLE"}),
    "huge.gif": (gif(60_000, 60_000, 1), {"SOURCE_TOO_LARGE", "SOURCE_UNREADABLE"}),
    "wide.gif": (gif(10_000, 10_000, 50), {"SOURCE_TOO_LARGE"}),
}


@pytest.mark.parametrize("name", HOSTILE_FILES)
def test_files_that_point_elsewhere_or_swell_are_refused(place: Lab, name: str) -> None:
    data, codes = HOSTILE_FILES[name]
    (place.folder / name).write_bytes(data)
    for kind in ("image", "video"):
        ((pointer, code),) = refused(place, movie({"type": kind, "src": name}))
        assert pointer == "/scenes/0/layers/0/src"
        assert code in codes
    ((pointer, code),) = refused(place, text("x", fontUrl=name))
    assert pointer == "/scenes/0/layers/0/fontUrl"


def test_a_gif_of_a_hundred_thousand_frames_shows_the_few_that_are_needed(place: Lab) -> None:
    (place.folder / "many.gif").write_bytes(gif(8, 8, 100_000))
    assert len(place.frames(image("many.gif"))) == 3


# The network.


@pytest.fixture(scope="module")
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        yield running


@pytest.fixture
def web(server: MediaServer) -> Iterator[Web]:
    """Open to the test server alone, as an operator may open one private host."""
    client = open_client(allow=[server.authority], connect_s=2, read_s=2)
    yield Web(client, plain_http=True, seconds=4, tries=2, sleep=lambda _: None)
    client.close()


@pytest.mark.parametrize(
    "src",
    ["http://127.0.0.1:9/a.png", "https://127.0.0.1/a.png", "https://localhost/a.png", "https://[::1]/a.png", "https://10.0.0.1/a.png",
     "https://169.254.169.254/latest/meta-data/", "https://192.168.1.1/", "https://0x7f.1/a.png", "https://2130706433/a.png", "https://0/",
     "https://[::ffff:127.0.0.1]/a.png", "https://user:secret@127.0.0.1/a.png", "https://100.64.0.1/", "https:///a.png", "https://"],
)  # fmt: skip
def test_private_networks_are_out_of_reach(place: Lab, src: str, server: MediaServer) -> None:
    guarded = Web(open_client(connect_s=1, read_s=1), plain_http=True, seconds=3, tries=1)
    ((pointer, code),) = refused(place, image(src), guarded)
    assert (pointer, code) in {("/scenes/0/layers/0/src", "SOURCE_REFUSED"), ("/scenes/0/layers/0/src", "SOURCE_NOT_FOUND")}
    assert server.seen == []


def test_a_redirect_to_a_private_network_is_not_followed(place: Lab, server: MediaServer, web: Web) -> None:
    server.routes |= {"/to-private": redirect("http://127.0.0.1:9/a.png"), "/to-meta": redirect("http://169.254.169.254/"),
                      "/to-file": redirect("file:///etc/passwd"), "/round": redirect("/round")}  # fmt: skip
    for path in ("/to-private", "/to-meta", "/to-file", "/round"):
        ((_, code),) = refused(place, image(server.url(path)), web)
        assert code == "SOURCE_REFUSED"


def test_servers_that_lie_hang_or_never_end_are_given_up(place: Lab, server: MediaServer, web: Web) -> None:
    picture = (place.folder / "a.png").read_bytes()
    server.routes |= {
        "/short": shorter_than_promised(picture, len(picture) + 100), "/gone": status(404), "/closed": status(403), "/broken": status(500),
        "/page": body(b"<html></html>", Content_Type="image/png"), "/endless": endless, "/list": body(HOSTILE_FILES["list.m3u8"][0]),
    }  # fmt: skip
    small = dataclasses.replace(place.desk.sources, max_bytes=5_000_000)
    codes = {}
    for name in ("short", "gone", "closed", "broken", "page", "endless", "list"):
        desk = Desk(dataclasses.replace(small, web=web), place.fonts, speak, place.desk.shelf)
        with pytest.raises(MovieInvalid) as caught:
            prepare(image(server.url(f"/{name}")), desk, variables={})
        check(caught.value.problems)
        codes[name] = caught.value.problems[0].code
    assert codes == {
        "short": "SOURCE_UNAVAILABLE", "gone": "SOURCE_NOT_FOUND", "closed": "SOURCE_UNREADABLE", "broken": "SOURCE_UNAVAILABLE",
        "page": "SOURCE_REFUSED", "endless": "SOURCE_TOO_LARGE", "list": "SOURCE_REFUSED",
    }  # fmt: skip


# Bombs, in a process with little memory and little time.


def limited(folder: Path, data: bytes, memory: int = 3 << 30, seconds: int = 20) -> tuple[int, dict[str, Any]]:
    """`viralsync plan --json` on a document, with so much address space and CPU time; its exit code and what it printed."""
    path = folder / "movie.json"
    path.write_bytes(data)

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))

    env = {**os.environ, "VIRALSYNC_HOME": str(folder / "home"), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "viralsync_pipelines.cli.main", "plan", str(path), "--json"]
    done = subprocess.run(command, capture_output=True, env=env, preexec_fn=limit, check=False, timeout=300)
    assert done.stderr == b""
    return done.returncode, json.loads(done.stdout)


def flood(layer: dict[str, Any]) -> bytes:
    """Eight megabytes of the same faulty layer."""
    one = json.dumps(layer, separators=(",", ":"))
    count = min(7_900_000 // (len(one) + 2), 390_000)
    scenes = [f'{{"layers":[{",".join([one] * min(200, count - n))}]}}' for n in range(0, count, 200)]
    return f'{{"scenes":[{",".join(scenes[:2_000])}]}}'.encode()


def doubling(levels: int) -> dict[str, str]:
    return {"v0": "ha", **{f"v{n}": f"{{{{ v{n - 1} }}}}{{{{ v{n - 1} }}}}" for n in range(1, levels)}}


BOMBS: dict[str, tuple[bytes, set[str]]] = {
    "brackets": (b"[" * 7_000_000, {"DOCUMENT_TOO_DEEP"}),
    "objects": (b'{"a":' * 1_000_000, {"DOCUMENT_TOO_DEEP"}),
    "digits": (b'{"a":' + b"9" * 7_000_000 + b"}", {"NUMBER_INVALID"}),
    "text": (json.dumps(text("x" * 7_000_000)).encode(), {"TEXT_TOO_LONG"}),
    "keys": (json.dumps(movie({"type": "text", "text": "x", **{f"a{n}": 0 for n in range(400_000)}})).encode(), {"TOO_MANY"}),
    "layers": (flood({"type": "x"}), {"TOO_MANY_LAYERS"}),
    "faults": (flood({"type": "shape", "keyframes": {"x": [{}] * 200, "y": [{}] * 200}}), {"TOO_MANY_PROBLEMS", "FIELD_MISSING"}),
    "doubling": (json.dumps({**text("{{ v60 }}"), "variables": doubling(61)}).encode(), {"EXPRESSION_ERROR", "DOCUMENT_TOO_LARGE"}),
    "power": (json.dumps(text("{{ 9 ** 9 ** 9 ** 9 }}")).encode(), {"EXPRESSION_ERROR"}),
    "product": (json.dumps(text("{{ 'x' * 1000000000 }}")).encode(), {"EXPRESSION_ERROR"}),
    "nested": (json.dumps(text("{{ " + "(" * 900 + "1" + ")" * 900 + " }}")).encode(), {"EXPRESSION_ERROR"}),
    "escape": (json.dumps(text("{{ ().__class__.__bases__[0].__subclasses__() }}")).encode(), {"EXPRESSION_ERROR"}),
    "circle": (json.dumps({**text("{{ a }}"), "variables": {"a": "{{ b }}", "b": "{{ a }}"}}).encode(), {"EXPRESSION_ERROR"}),
    "repeat": (json.dumps({"scenes": [{"iterate": "{{ range(1000000) }}", "duration": 1}]}).encode(), {"EXPRESSION_ERROR", "TOO_MANY_SCENES"}),
}


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_are_refused_within_little_time_and_memory(tmp_path: Path, name: str) -> None:
    data, codes = BOMBS[name]
    returned, told = limited(tmp_path, data)
    assert returned == 2, told
    assert {problem["code"] for problem in told["problems"]} <= codes


def test_a_chain_of_times_as_long_as_a_movie_may_be_ends(tmp_path: Path) -> None:
    layers = [{"type": "text", "text": "x", "id": f"t{n}", "start": f"{{{{ t{n + 1}.end }}}}" if n < 199 else 0, "duration": 0.01} for n in range(200)]
    returned, told = limited(tmp_path, json.dumps(movie(*layers)).encode(), seconds=60)
    assert returned in {0, 2}
    assert {problem["code"] for problem in told.get("problems", [])} <= {"EXPRESSION_ERROR"}


# Ids.


@pytest.mark.parametrize("wrong", ["../x", "..", "/etc", "a/b", "x" * 65, "", "a.b", "a b", "a\n", "é", "\u202e", "a:b", "CON.", "~", "$x"])
@pytest.mark.parametrize("pointer", ["/id", "/scenes/0/id", "/scenes/1/layers/0/id"])
def test_an_id_cannot_lead_out_of_its_folder(place: Lab, pointer: str, wrong: str) -> None:
    assert refused(place, put(RICH, pointer, wrong)) == [(pointer, "ID_INVALID")]


@pytest.mark.parametrize("odd", ["-rf", "--help", "-", "_", "0", "null", "index", "item", "vo", "x" * 64])
def test_odd_ids_that_are_allowed_are_just_names(place: Lab, odd: str) -> None:
    document = put(put(RICH, "/id", odd), "/scenes/0/id", odd)
    assert plan(place, document).clip_keys == plan(place, RICH).clip_keys


# Fuzz.

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=12), st.characters(categories=["Cs", "Cc"]),
    st.sampled_from([*PAYLOADS, "auto", "scene", "50%", "#fff", "a.png", "a.mp4", "a.wav", "{{ vo.end }}", "{{ item }}", "text", "video", "image",
                     "audio", "voice", "shape", 10**400, 1e308, -0.0, "{{ 1/0 }}", "{{", "fade", "30000/1001"]),
)  # fmt: skip
FIELDS = st.sampled_from(
    ["id", "type", "scenes", "layers", "text", "src", "start", "duration", "x", "width", "height", "fps", "keyframes", "at", "value", "enter",
     "transition", "iterate", "iterateAs", "condition", "variables", "audio", "output", "preset", "fontUrl", "crop", "from", "", "a/b", "~"]
)  # fmt: skip
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.one_of(FIELDS, st.text(max_size=4)), inner, max_size=5), max_leaves=20
)


def settle_or_refuse(place: Lab, document: Any) -> None:
    found = outcome(place, document)
    if isinstance(found, Prepared):
        made = found.plan
        assert sum(p.count for p in made.pieces) == made.frames
        assert made.frames / made.canvas.fps <= Fraction(7_201)


QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]


@given(st.dictionaries(FIELDS, VALUES, max_size=6))
@settings(max_examples=150, deadline=None, suppress_health_check=QUIET)
def test_any_json_is_a_plan_or_refused(place: Lab, document: Any) -> None:
    settle_or_refuse(place, document)


def pointers(value: Any, at: str = "") -> Iterator[str]:
    if at:
        yield at
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield from pointers(inner, f"{at}/{key}")


PLACES = [*pointers(RICH)]


@given(st.lists(st.tuples(st.sampled_from(PLACES), st.one_of(VALUES, st.just("DELETE"), st.just("DOUBLE"))), min_size=1, max_size=3))
@settings(max_examples=250, deadline=None, suppress_health_check=QUIET)
def test_a_movie_with_anything_changed_is_a_plan_or_refused(place: Lab, changes: list[tuple[str, Any]]) -> None:
    document = RICH
    for pointer, value in changes:
        with contextlib.suppress(LookupError, TypeError, ValueError, AttributeError):
            document = mutated(document, pointer, value)
    settle_or_refuse(place, document)


def mutated(document: Any, pointer: str, value: Any) -> Any:
    if value not in ("DELETE", "DOUBLE"):
        return put(document, pointer, value)
    document = node = copy.deepcopy(document)
    *path, last = pointer.split("/")[1:]
    for part in path:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if value == "DELETE":
        del node[int(last) if isinstance(node, list) else last]
    elif isinstance(node, list):
        node.append(copy.deepcopy(node[int(last)]))
    return document
