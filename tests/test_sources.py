"""One door for sources: what may come in, from where, under whose name; and that content alone is identity."""

from __future__ import annotations

import hashlib
import io
import multiprocessing
import os
import wave
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.servers.media import (
    MediaServer,
    body,
    dripping,
    endless,
    in_turn,
    media_server,
    redirect,
    shorter_than_promised,
    status,
    with_etag,
)
from viralsync_pipelines.errors import SourceError, StoreError
from viralsync_pipelines.http import open_client
from viralsync_pipelines.render.download import Cache, Web
from viralsync_pipelines.render.places import parse
from viralsync_pipelines.render.sources import Source, Sources, bring, bring_again, bring_all, unchanged
from viralsync_pipelines.storage.local import LocalStore


def png(colour: str = "red", size: tuple[int, int] = (8, 6)) -> bytes:
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return held.getvalue()


def wav(samples: int = 800) -> bytes:
    held = io.BytesIO()
    with wave.open(held, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(b"\1\0" * samples)
    return held.getvalue()


def font() -> bytes:
    made = FontBuilder(1000)
    made.setupGlyphOrder([".notdef", "A"])
    made.setupCharacterMap({65: "A"})
    made.setupGlyf({name: TTGlyphPen(None).glyph() for name in (".notdef", "A")})
    made.setupHorizontalMetrics({".notdef": (500, 0), "A": (500, 0)})
    made.setupHorizontalHeader()
    made.setupNameTable({"familyName": "Test"})
    made.setupOS2()
    made.setupPost()
    held = io.BytesIO()
    made.save(held)
    return held.getvalue()


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        yield running


@pytest.fixture
def bench(server: MediaServer, tmp_path: Path) -> Iterator[Sources]:
    """The command line's view: the folder `movie` and one loopback server are open; files count as settled at once."""
    (tmp_path / "movie").mkdir()
    with open_client(allow=[server.authority], connect_s=5, read_s=5) as client:
        yield Sources(
            cache=tmp_path / "cache",
            web=Web(client, plain_http=True, tries=3, sleep=lambda s: None),
            allow_local=True,
            base_dir=tmp_path / "movie",
            now_ns=lambda: 2**62,
        )


def code_of(src: str, bench: Sources) -> str:
    with pytest.raises(SourceError) as caught:
        bring(src, pointer="/scenes/0/layers/0/src", bench=bench)
    assert caught.value.pointer == "/scenes/0/layers/0/src"
    assert len(caught.value.message) > 20
    return caught.value.code


def leftovers(bench: Sources) -> list[Path]:
    return list((bench.cache / "partial").glob("*"))


# ------------------------------------------------------------------------------------------------------------- remote


def test_a_remote_picture_is_brought_in_hashed_and_measured(server: MediaServer, bench: Sources) -> None:
    server.routes["/a.png"] = body(png())
    source = bring(server.url("/a.png"), pointer="/x", bench=bench)
    assert source.path.read_bytes() == png()
    assert source.ref.sha256 == hashlib.sha256(png()).hexdigest()
    assert (source.ref.kind, source.ref.uri, source.info.width, source.info.height) == ("image", server.url("/a.png"), 8, 6)
    assert source.sniffed.demuxer == "png_pipe"
    assert server.seen[0][1]["accept-encoding"] == "identity"
    assert leftovers(bench) == []


def test_an_unchanged_remote_file_is_not_downloaded_again(server: MediaServer, bench: Sources) -> None:
    served = []
    whole = with_etag(png())

    def counting(x) -> None:  # type: ignore[no-untyped-def]
        served.append(x.headers.get("If-None-Match"))
        whole(x)

    server.routes["/a.png"] = counting
    first, second = (bring(server.url("/a.png"), pointer="/x", bench=bench) for _ in range(2))
    assert served[0] is None
    assert served[1] is not None
    assert (first.path, first.ref) == (second.path, second.ref)


def test_bytes_changed_behind_one_address_are_noticed(server: MediaServer, bench: Sources) -> None:
    for play in (with_etag, body):
        server.routes["/a.png"] = play(png("red"))
        before = bring(server.url("/a.png"), pointer="/x", bench=bench)
        server.routes["/a.png"] = play(png("blue"))
        after = bring(server.url("/a.png"), pointer="/x", bench=bench)
        assert before.ref.sha256 != after.ref.sha256
        assert after.path.read_bytes() == png("blue")
        assert unchanged(before), "what was brought in first is still what it was"


def test_the_same_bytes_under_two_addresses_are_one_content(server: MediaServer, bench: Sources) -> None:
    server.routes["/a.png"] = server.routes["/b.png"] = body(png())
    a, b = (bring(server.url(p), pointer="/x", bench=bench) for p in ("/a.png", "/b.png"))
    assert (a.ref.sha256, a.path) == (b.ref.sha256, b.path)


def test_a_cached_file_that_was_lost_is_fetched_again_whatever_the_note_says(server: MediaServer, bench: Sources) -> None:
    server.routes["/a.png"] = with_etag(png())
    path = bring(server.url("/a.png"), pointer="/x", bench=bench).path
    for left in (None, b"half"):
        path.unlink()
        if left is not None:
            path.write_bytes(left)
        assert bring(server.url("/a.png"), pointer="/x", bench=bench).path.read_bytes() == png()


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [
        (status(404), "SOURCE_NOT_FOUND"),
        (status(410), "SOURCE_NOT_FOUND"),
        (status(403), "SOURCE_UNREADABLE"),
        (status(401), "SOURCE_UNREADABLE"),
        (status(500), "SOURCE_UNAVAILABLE"),
        (status(304), "SOURCE_UNREADABLE"),
        (status(204), "SOURCE_UNREADABLE"),
        (body(b""), "SOURCE_UNREADABLE"),
        (body(b"<!doctype html><html>not found</html>"), "SOURCE_REFUSED"),
        (body(b"#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1,\nfile:///etc/passwd\n"), "SOURCE_REFUSED"),
        (body(b'<svg xmlns="http://www.w3.org/2000/svg"><image href="http://10.0.0.1/"/></svg>'), "SOURCE_REFUSED"),
        (body(png(), Content_Encoding="gzip"), "SOURCE_UNREADABLE"),
        (shorter_than_promised(png(), 10_000), "SOURCE_UNAVAILABLE"),
        (body(png()[:40]), "SOURCE_UNREADABLE"),
        (redirect("/a.png"), "SOURCE_REFUSED"),
        (redirect("http://169.254.169.254/latest/meta-data/"), "SOURCE_REFUSED"),
        (redirect("file:///etc/passwd"), "SOURCE_REFUSED"),
    ],
)
def test_a_server_that_misbehaves_gets_one_clear_error_and_leaves_nothing_half_made(
    behaviour: Callable[..., None], code: str, server: MediaServer, bench: Sources
) -> None:
    server.routes["/a.png"] = behaviour
    assert code_of(server.url("/a.png"), bench) == code
    assert leftovers(bench) == []


def test_an_endless_body_is_cut_off_at_the_byte_limit(server: MediaServer, bench: Sources) -> None:
    server.routes["/a"] = endless
    assert code_of(server.url("/a"), replace(bench, max_bytes=300_000)) == "SOURCE_TOO_LARGE"
    assert leftovers(bench) == []


def test_a_length_over_the_limit_is_refused_before_the_body(server: MediaServer, bench: Sources) -> None:
    server.routes["/a"] = shorter_than_promised(b"", 1_000_000_000_000)
    assert code_of(server.url("/a"), bench) == "SOURCE_TOO_LARGE"
    assert len(server.seen) == 1


def test_a_slow_drip_ends_with_the_time_allowed_for_all_tries_together(server: MediaServer, bench: Sources) -> None:
    server.routes["/a"] = dripping
    ticks = count()
    assert bench.web is not None
    web = replace(bench.web, seconds=20, clock=lambda: float(next(ticks)))
    assert code_of(server.url("/a"), replace(bench, web=web)) == "SOURCE_UNAVAILABLE"
    assert next(ticks) < 100


def test_a_length_told_too_short_gives_a_cut_file_which_is_noticed(server: MediaServer, bench: Sources) -> None:
    def lying(x) -> None:  # type: ignore[no-untyped-def]
        x.head(200, Content_Length="45")
        x.raw(png())
        x.close_connection = True

    server.routes["/a.png"] = lying
    assert code_of(server.url("/a.png"), bench) == "SOURCE_UNREADABLE"


def test_a_server_that_recovers_is_forgiven(server: MediaServer, bench: Sources) -> None:
    pauses: list[float] = []
    assert bench.web is not None
    bench = replace(bench, web=replace(bench.web, sleep=pauses.append))
    server.routes["/a.png"] = in_turn(status(500), status(429, Retry_After="2"), body(png()))
    server.routes["/b.png"] = in_turn(shorter_than_promised(png()[:20], len(png())), body(png()))
    assert bring(server.url("/a.png"), pointer="/x", bench=bench).info.width == 8
    assert pauses[1:] == [2.0]
    assert bring(server.url("/b.png"), pointer="/x", bench=bench).path.read_bytes() == png()


def test_a_signed_address_leaves_no_secret_in_the_cache_or_in_messages(server: MediaServer, bench: Sources) -> None:
    server.routes["/a.png"] = body(png())
    bring(server.url("/a.png") + "?signature=s3cr3t", pointer="/x", bench=bench)
    for path in bench.cache.rglob("*.json"):
        assert "s3cr3t" not in path.read_text()
    with pytest.raises(SourceError) as caught:
        bring(server.url("/gone.png") + "?signature=s3cr3t", pointer="/x", bench=bench)
    assert "s3cr3t" not in caught.value.message


def test_the_network_can_be_switched_off_and_plain_http_is_off_by_default(server: MediaServer, bench: Sources) -> None:
    server.routes["/a.png"] = body(png())
    assert bench.web is not None
    assert code_of(server.url("/a.png"), replace(bench, web=None)) == "SOURCE_REFUSED"
    assert code_of(server.url("/a.png"), replace(bench, web=replace(bench.web, plain_http=False))) == "SOURCE_REFUSED"
    with open_client() as guarded:
        assert code_of(server.url("/a.png"), replace(bench, web=Web(guarded, plain_http=True))) == "SOURCE_REFUSED"
    assert server.seen == []


# ------------------------------------------------------------------------------------------------------------- local


def test_a_local_file_is_read_where_it_lies(bench: Sources, tmp_path: Path) -> None:
    path = tmp_path / "movie" / "a b.png"
    path.write_bytes(png())
    for src in (
        "a b.png",
        "./a b.png",
        f"file://{tmp_path}/movie/a%20b.png",
        f"file://localhost{tmp_path}/movie/a%20b.png",
        str(path),
    ):
        assert bring(src, pointer="/x", bench=bench).path == path
    assert not (bench.cache / "blobs").exists()


def test_bytes_changed_behind_a_local_name_are_noticed_even_with_the_old_times(bench: Sources, tmp_path: Path) -> None:
    path = tmp_path / "movie" / "a.bmp"
    Image.new("RGB", (8, 6), "red").save(path)
    before, state = bring("a.bmp", pointer="/x", bench=bench), path.stat()
    Image.new("RGB", (8, 6), "blue").save(path)
    os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    after = bring("a.bmp", pointer="/x", bench=bench)
    assert path.stat().st_size == state.st_size
    assert before.ref.sha256 != after.ref.sha256
    assert not unchanged(before)
    assert unchanged(after)


def test_renaming_a_file_is_not_a_change(bench: Sources, tmp_path: Path) -> None:
    path = tmp_path / "movie" / "a.png"
    path.write_bytes(png())
    before = bring("a.png", pointer="/x", bench=bench)
    path.rename(path.with_name("b.png"))
    assert bring("b.png", pointer="/x", bench=bench).ref.sha256 == before.ref.sha256
    assert not unchanged(before), "the old name holds nothing any more"


def test_a_touched_file_with_the_same_bytes_is_unchanged(bench: Sources, tmp_path: Path) -> None:
    path = tmp_path / "movie" / "a.png"
    path.write_bytes(png())
    source = bring("a.png", pointer="/x", bench=bench)
    path.write_bytes(png())
    assert unchanged(source)
    path.write_bytes(png("blue"))
    assert not unchanged(source)
    path.unlink()
    assert not unchanged(source)


def test_a_file_just_written_is_hashed_again_rather_than_believed(bench: Sources, tmp_path: Path) -> None:
    """Two writes within one tick of the file system's clock look the same to stat."""
    path = tmp_path / "movie" / "a.png"
    path.write_bytes(png())
    fresh = replace(bench, now_ns=lambda: path.stat().st_ctime_ns + 1)
    assert not bring("a.png", pointer="/x", bench=fresh).settled
    assert list((bench.cache / "index").glob("file-*")) == []
    assert bring("a.png", pointer="/x", bench=bench).settled
    assert len(list((bench.cache / "index").glob("file-*"))) == 1


def test_hashes_are_remembered_between_runs(bench: Sources, tmp_path: Path) -> None:
    path = tmp_path / "movie" / "a.png"
    path.write_bytes(png())
    bring("a.png", pointer="/x", bench=bench)
    note = next((bench.cache / "index").glob("file-*"))
    note.write_text(note.read_text().replace(hashlib.sha256(png()).hexdigest(), "f" * 64))
    assert bring("a.png", pointer="/x", bench=bench).ref.sha256 == "f" * 64, "the note, not the file, was asked"
    path.write_bytes(png("blue"))
    assert bring("a.png", pointer="/x", bench=bench).ref.sha256 == hashlib.sha256(png("blue")).hexdigest()


def test_a_damaged_note_is_no_more_than_a_miss(bench: Sources, tmp_path: Path) -> None:
    (tmp_path / "movie" / "a.png").write_bytes(png())
    bring("a.png", pointer="/x", bench=bench)
    for content in (b"", b"{", b"[]", b"\xff\xfe", b"{}", b'{"stamp": 1, "sniffed": 2}'):
        for note in (bench.cache / "index").glob("*"):
            note.write_bytes(content)
        assert bring("a.png", pointer="/x", bench=bench).ref.sha256 == hashlib.sha256(png()).hexdigest()


def test_no_link_leads_out_of_the_open_folders(bench: Sources, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.png").write_bytes(png())
    (tmp_path / "movie" / "link.png").symlink_to(outside / "secret.png")
    (tmp_path / "movie" / "dir").symlink_to(outside)
    (tmp_path / "movie" / "loop.png").symlink_to("loop.png")
    for src in (
        "link.png",
        "dir/secret.png",
        "../outside/secret.png",
        str(outside / "secret.png"),
        f"file://{outside}/secret.png",
    ):
        assert code_of(src, bench) == "SOURCE_REFUSED"
    assert code_of("loop.png", bench) in {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}
    opened = replace(bench, media_roots=(outside,))
    assert bring("link.png", pointer="/x", bench=opened).info.width == 8


def test_a_movie_cannot_learn_what_lies_outside_its_folders(bench: Sources, tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(png())
    messages = []
    for name in ("there.png", "nowhere"):
        with pytest.raises(SourceError) as caught:
            bring(f"../{name}", pointer="/x", bench=bench)
        messages.append(caught.value.message.replace(name, "NAME"))
    assert messages[0] == messages[1]


@pytest.mark.parametrize("made", ["folder", "pipe"])
def test_what_is_no_regular_file_is_refused_without_waiting_for_it(made: str, bench: Sources, tmp_path: Path) -> None:
    place = tmp_path / "movie" / "odd"
    place.mkdir() if made == "folder" else os.mkfifo(place)
    assert code_of("odd", bench) == "SOURCE_REFUSED"
    assert code_of("/dev/zero", replace(bench, media_roots=(Path("/dev"),))) == "SOURCE_REFUSED"


def test_a_missing_local_file_is_not_found_and_a_large_one_refused(bench: Sources, tmp_path: Path) -> None:
    (tmp_path / "movie" / "a.png").write_bytes(png())
    assert code_of("b.png", bench) == "SOURCE_NOT_FOUND"
    assert code_of("x" * 300 + ".png", bench) == "SOURCE_NOT_FOUND"
    assert code_of("a.png", replace(bench, max_bytes=10)) == "SOURCE_TOO_LARGE"


def test_local_files_are_closed_to_movies_from_the_network_but_for_the_media_folder(bench: Sources, tmp_path: Path) -> None:
    (tmp_path / "movie" / "a.png").write_bytes(png())
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "b.png").write_bytes(png())
    remote = replace(bench, allow_local=False)
    assert code_of("a.png", remote) == "SOURCE_REFUSED"
    assert code_of(f"file://{tmp_path}/movie/a.png", remote) == "SOURCE_REFUSED"
    with_media = replace(remote, media_roots=(tmp_path / "media",))
    assert code_of("a.png", with_media) == "SOURCE_NOT_FOUND"
    assert code_of("../movie/a.png", with_media) == "SOURCE_REFUSED"
    assert bring("b.png", pointer="/x", bench=with_media).info.width == 8


HOSTILE = [
    "file:///etc/passwd",
    "file:///etc/../etc/passwd",
    "/etc/passwd",
    "../../../../../../etc/passwd",
    "file:/etc/passwd",
    "file://host/share/a.mp4",
    "file:////host/a",
    "file://",
    "file:",
    "concat:/etc/passwd|/etc/hosts",
    "concatf:/etc/passwd",
    "data:image/png;base64,AAAA",
    "data:," + "A" * 10_000_000,
    "pipe:0",
    "pipe:",
    "fd:0",
    "subfile,,start,0,end,9,,:/etc/passwd",
    "http+unix://%2Fvar%2Frun%2Fdocker.sock/",
    "unix:/var/run/docker.sock",
    "\\\\host\\share\\a.mp4",
    "//host/share",
    "C:\\a.mp4",
    "rtmp://x/y",
    "rtsp://x/y",
    "udp://@:1234",
    "tcp://127.0.0.1:1",
    "srt://x:1",
    "ftp://x/a",
    "sftp://x/a",
    "gopher://x/",
    "dict://x/",
    "ldap://x/",
    "cache:/etc/passwd",
    "crypto:/etc/passwd",
    "async:/etc/passwd",
    "tee:/tmp/a",
    "md5:/tmp/a",
    "hls+file:///etc/passwd",
    "lavfi:testsrc",
    "ipfs://x",
    "jar:file:///a!/b",
    "javascript:alert(1)",
    "https:evil",
    "https://",
    "https:///a",
    "https://[::1/a",
    "http://127.0.0.1:1/",
    "https://127.0.0.1/",
    "https://localhost/",
    "https://0/",
    "https://[::ffff:127.0.0.1]/",
    "https://10.0.0.1/",
    "https://169.254.169.254/latest/meta-data/iam",
    "https://2130706433/",
    "https://user:pw@192.168.0.1/",
    "https://%31%32%37.0.0.1/",
    "",
    " ",
    "a\x00b.png",
    "a\nb.png",
    " a.png",
    "x" * 5000,
    "s3://other-bucket/key",
    "s3://",
    "s3:",
    "job:../../etc",
    "job:",
    "job:job_zzz",
    "resource:../../etc/passwd",
    "resource:/etc/passwd",
    "resource:",
    "%2e%2e/%2e%2e/etc/passwd",
    "file:%2e%2e/%00",
]


@pytest.mark.parametrize("src", HOSTILE, ids=lambda s: s[:40].encode("unicode_escape").decode() or "empty")
def test_hostile_sources_are_refused_with_a_sentence(src: str, bench: Sources) -> None:
    with pytest.raises(SourceError) as caught:
        bring(src, pointer="/p", bench=bench)
    assert caught.value.code in {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}
    assert 20 < len(caught.value.message) < 500
    assert caught.value.pointer == "/p"


def test_the_refusal_of_a_scheme_names_it_and_the_remedy() -> None:
    for src, words in [
        ("a" * 4097, "4,097 characters"),
        ("concat:a|b", "scene or layer"),
        ("data:,x", "give its address"),
        ("rtmp://x", "record"),
        ("pipe:0", "https://"),
    ]:
        with pytest.raises(SourceError, match=words):
            parse(src)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    src=st.text(max_size=60)
    | st.from_regex(r"(https?|file|s3|job|resource|concat|data)://?[a-z0-9./%@:\\\[\]-]{0,40}", fullmatch=True)
)
def test_any_source_text_is_brought_in_or_refused_but_never_crashes(src: str, bench: Sources) -> None:
    closed = replace(bench, web=None)
    with pytest.raises(SourceError) as caught:
        bring(src, pointer="/p", bench=closed)
    assert caught.value.code in {"SOURCE_REFUSED", "SOURCE_NOT_FOUND"}


# ---------------------------------------------------------------------------------------------------- later steps


def test_a_later_step_gets_the_planned_bytes_without_asking_the_server(server: MediaServer, bench: Sources) -> None:
    server.routes["/a.png"] = body(png())
    planned = bring(server.url("/a.png"), pointer="/x", bench=bench)
    server.routes["/a.png"] = body(png("blue"))
    again = bring_again(planned.ref, pointer="/x", bench=bench)
    assert (again, len(server.seen)) == (planned, 1)


def test_a_later_step_is_told_when_the_planned_bytes_are_gone_for_others(
    server: MediaServer, bench: Sources, tmp_path: Path
) -> None:
    (tmp_path / "movie" / "a.png").write_bytes(png())
    server.routes["/a.png"] = body(png())
    for src in ("a.png", server.url("/a.png")):
        planned = bring(src, pointer="/x", bench=bench)
        assert bring_again(planned.ref, pointer="/x", bench=bench) == planned
    (tmp_path / "movie" / "a.png").write_bytes(png("blue"))
    server.routes["/a.png"] = body(png("blue"))
    elsewhere = replace(bench, cache=tmp_path / "other machine")
    for src in ("a.png", server.url("/a.png")):
        with pytest.raises(SourceError) as caught:
            bring_again(replace(planned.ref, uri=src), pointer="/y", bench=elsewhere)
        assert (caught.value.code, caught.value.pointer) == ("SOURCE_CHANGED", "/y")


# --------------------------------------------------------------------------------------------------- store, jobs, resources


class FarStore:
    """A local store that is not on this machine: it has to be fetched from. `fetched` counts."""

    def __init__(self, root: Path) -> None:
        self._near = LocalStore(root)
        self.fetched = 0
        self.broken = False

    def local_path(self, key: str) -> Path | None:
        if self.broken:
            raise StoreError("the bucket does not answer; try again later")
        return None

    def put_bytes(self, key: str, data: bytes) -> None:
        self._near.put_bytes(key, data)

    def fetch(self, key: str, to: Path) -> Path:
        self.fetched += 1
        return self._near.fetch(key, to)

    def __getattr__(self, name: str) -> object:
        return getattr(self._near, name)


@pytest.fixture(params=["near", "far"])
def stocked(request: pytest.FixtureRequest, bench: Sources, tmp_path: Path) -> Sources:
    store = LocalStore(tmp_path / "store") if request.param == "near" else FarStore(tmp_path / "store")
    store.put_bytes("outputs/job_0123456789ab/output.png", png())
    store.put_bytes("resources/logo", wav())
    return replace(
        bench,
        store=store,  # type: ignore[arg-type]
        bucket=("media", "prefix/"),
        job_output=lambda job: f"outputs/{job}/output.png" if job == "job_0123456789ab" else None,
        resource=lambda key: f"resources/{key}",
    )


def test_outputs_of_jobs_resources_and_the_own_bucket_are_sources(stocked: Sources) -> None:
    kinds = {
        src: bring(src, pointer="/x", bench=stocked).ref.kind
        for src in ("job:job_0123456789ab", "resource:logo", "s3://media/prefix/resources/logo")
    }
    assert list(kinds.values()) == ["image", "audio", "audio"]


def test_what_is_not_in_the_store_is_not_found_and_other_buckets_are_refused(stocked: Sources) -> None:
    assert code_of("job:job_ffffffffffff", stocked) == "SOURCE_NOT_FOUND"
    assert code_of("resource:nothing", stocked) == "SOURCE_NOT_FOUND"
    assert code_of("s3://media/prefix/nothing", stocked) == "SOURCE_NOT_FOUND"
    for src in ("s3://media/elsewhere/logo", "s3://media/prefix/", "s3://media/", "s3://other/prefix/resources/logo"):
        assert code_of(src, stocked) == "SOURCE_REFUSED"
    assert code_of("resource:logo", replace(stocked, max_bytes=5)) == "SOURCE_TOO_LARGE"


def test_jobs_resources_and_buckets_are_closed_without_a_store(bench: Sources) -> None:
    for src in ("job:job_0123456789ab", "resource:logo", "s3://media/a"):
        assert code_of(src, bench) == "SOURCE_REFUSED"


def test_an_object_is_fetched_once_for_each_state_and_its_changes_are_noticed(bench: Sources, tmp_path: Path) -> None:
    store = FarStore(tmp_path / "store")
    bench = replace(bench, store=store, resource=lambda key: key)  # type: ignore[arg-type]
    store.put_bytes("logo", png())
    first, second = (bring("resource:logo", pointer="/x", bench=bench) for _ in range(2))
    assert (store.fetched, first.path) == (1, second.path)
    store.put_bytes("logo", png("blue", (10, 10)))
    assert bring("resource:logo", pointer="/x", bench=bench).info.width == 10
    assert leftovers(bench) == []


def test_a_store_that_is_down_is_worth_another_run(bench: Sources, tmp_path: Path) -> None:
    store = FarStore(tmp_path / "store")
    store.broken = True
    bench = replace(bench, store=store, resource=lambda key: key)  # type: ignore[arg-type]
    assert code_of("resource:a", bench) == "SOURCE_UNAVAILABLE"


# ------------------------------------------------------------------------------------------------------ fonts, kinds, many


def test_a_font_comes_through_the_same_door(server: MediaServer, bench: Sources, tmp_path: Path) -> None:
    server.routes["/f.ttf"] = body(font())
    source = bring(server.url("/f.ttf"), pointer="/x", bench=bench)
    assert (source.ref.kind, source.info.container, source.sniffed.demuxer) == ("font", "ttf", "")
    (tmp_path / "movie" / "cut.ttf").write_bytes(font()[:300])
    assert code_of("cut.ttf", bench) == "SOURCE_UNREADABLE"
    (tmp_path / "movie" / "bad.woff2").write_bytes(b"wOF2" + b"\0\1" * 100)
    assert code_of("bad.woff2", bench) == "SOURCE_UNREADABLE"


def test_a_source_of_the_wrong_kind_is_refused_with_both_kinds_named(bench: Sources, tmp_path: Path) -> None:
    (tmp_path / "movie" / "a.wav").write_bytes(wav())
    with pytest.raises(SourceError, match="it is a sound; a video or a picture belongs here") as caught:
        bring("a.wav", pointer="/x", bench=bench, kinds={"image", "video"})
    assert caught.value.code == "SOURCE_REFUSED"
    assert bring("a.wav", pointer="/x", bench=bench, kinds={"audio"}).ref.kind == "audio"


def test_all_problems_are_told_at_once_each_where_it_stands(server: MediaServer, bench: Sources, tmp_path: Path) -> None:
    (tmp_path / "movie" / "a.png").write_bytes(png())
    server.routes["/b.png"] = body(png("blue"))
    wanted = [
        ("a.png", "/scenes/0/layers/0/src"),
        (server.url("/missing.png"), "/scenes/0/layers/1/src"),
        (server.url("/b.png"), "/scenes/1/layers/0/src"),
        ("concat:x", "/scenes/1/layers/1/src"),
        (server.url("/missing.png"), "/layers/0/src"),
        (server.url("/b.png"), "/layers/1/src"),
    ]
    sources, problems = bring_all(wanted, bench=bench)
    assert set(sources) == {"a.png", server.url("/b.png")}
    assert [(p.pointer, p.code) for p in problems] == [
        ("/scenes/0/layers/1/src", "SOURCE_NOT_FOUND"),
        ("/scenes/1/layers/1/src", "SOURCE_REFUSED"),
        ("/layers/0/src", "SOURCE_NOT_FOUND"),
    ]
    assert sorted(path for path, _ in server.seen) == ["/b.png", "/missing.png"], "each address is asked once"


def test_nothing_wanted_is_nothing_brought(bench: Sources) -> None:
    assert bring_all([], bench=bench) == ({}, [])


def test_leftovers_of_killed_processes_are_swept_after_a_day(bench: Sources) -> None:
    folder = bench.cache / "partial"
    folder.mkdir(parents=True)
    old, young = folder / "old", folder / "young"
    for path, age in ((old, 90_000), (young, 1_000)):
        path.write_bytes(b"half")
        os.utime(path, (1_700_000_000 - age,) * 2)
    Cache(bench.cache).sweep(1_700_000_000)
    assert [p.name for p in folder.iterdir()] == ["young"]


def _bring_often(cache: Path, movie: Path, out: multiprocessing.Queue[set[str]]) -> None:
    bench = Sources(cache=cache, allow_local=True, base_dir=movie, now_ns=lambda: 2**62)
    out.put({bring(f"{n % 4}.png", pointer="/x", bench=bench).ref.sha256 for n in range(40)})


def test_processes_may_share_one_cache_folder(tmp_path: Path) -> None:
    movie = tmp_path / "movie"
    movie.mkdir()
    expected = set()
    for n in range(4):
        (movie / f"{n}.png").write_bytes(png(size=(8 + n, 8)))
        expected.add(hashlib.sha256(png(size=(8 + n, 8))).hexdigest())
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[set[str]] = context.Queue()
    workers = [context.Process(target=_bring_often, args=(tmp_path / "cache", movie, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    got = [results.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert got == [expected] * 2


def test_a_source_is_a_value() -> None:
    assert Source.__dataclass_params__.frozen  # type: ignore[attr-defined]
