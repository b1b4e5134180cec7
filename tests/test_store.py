"""The promises of the store, kept alike by a folder and by a real S3 service; then what each kind promises for itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dagster as dg
import httpx
import pytest
from dagster_aws.s3 import S3Resource
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, Fault, FaultyProxy, S3Server, faulty_proxy, s3_server
from viralsync_pipelines.defs.store import StoreResource
from viralsync_pipelines.errors import ObjectMissing, SettingsError, StoreError
from viralsync_pipelines.storage import keys
from viralsync_pipelines.storage.local import LocalStore
from viralsync_pipelines.storage.plans import plan_hash, read_plan, write_plan
from viralsync_pipelines.storage.s3 import MULTIPART_BYTES, S3Store
from viralsync_pipelines.storage.s3_client import endpoint_of, make_client
from viralsync_pipelines.storage.store import BucketPlace, FilePlace, S3Access, Store, open_store, place_of

ROOT = Path(__file__).parents[1]
NEXT_YEAR = datetime.now(UTC) + timedelta(days=365)
prefixes = count()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with s3_server(tmp_path_factory.mktemp("seaweedfs")) as running:
        yield running


@pytest.fixture(scope="session")
def access(server: S3Server) -> S3Access:
    return S3Access(ACCESS_KEY, SECRET_KEY, server.url)


@pytest.fixture(scope="session")
def bucket_client(server: S3Server, access: S3Access) -> Any:
    return make_client(access, server.bucket)


@pytest.fixture
def bucket_store(server: S3Server, bucket_client: Any) -> S3Store:
    return S3Store(bucket_client, server.bucket, f"test-{next(prefixes)}")


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    opened: Store = LocalStore(tmp_path / "store") if request.param == "local" else request.getfixturevalue("bucket_store")
    return opened


@pytest.fixture(scope="session")
def running_proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.port) as running:
        yield running


@pytest.fixture(scope="session")
def proxied_clients(server: S3Server, access: S3Access, running_proxy: FaultyProxy) -> dict[int, Any]:
    through = replace(access, endpoint_url=running_proxy.url)
    return {tries: make_client(through, server.bucket, tries=tries) for tries in (1, 2)}


@pytest.fixture
def proxy(running_proxy: FaultyProxy) -> FaultyProxy:
    running_proxy.behave()
    return running_proxy


@pytest.fixture
def behind(proxy: FaultyProxy, server: S3Server, proxied_clients: dict[int, Any]) -> Callable[..., S3Store]:
    """A store that reaches the server through the faulty proxy and does not wait between its own tries."""
    prefix = f"test-{next(prefixes)}"
    return lambda tries=1: S3Store(proxied_clients[tries], server.bucket, prefix, sleep=lambda _: None)


def file_of(folder: Path, data: bytes, name: str = "file.bin") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# ---- every store -----------------------------------------------------------------------------------------------------


def test_what_was_put_comes_back(store: Store, tmp_path: Path) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)
    put = store.put_bytes("a/b.json", b"{}")
    store.put_file("a/c.mp4", file_of(tmp_path, b"film" * 1000))
    assert store.get_bytes("a/b.json") == b"{}"
    assert store.get_bytes("a/c.mp4") == b"film" * 1000
    assert store.fetch("a/c.mp4", tmp_path / "new" / "folder" / "c.mp4").read_bytes() == b"film" * 1000
    stat = store.stat("a/b.json")
    assert stat is not None
    assert (stat.size, stat.etag) == (put.size, put.etag) == (2, stat.etag)
    assert before <= stat.modified <= datetime.now(UTC) + timedelta(seconds=2)
    assert abs(put.modified - stat.modified) < timedelta(seconds=2)


def test_an_empty_object_is_an_object(store: Store, tmp_path: Path) -> None:
    store.put_bytes("empty", b"")
    store.put_file("empty-file", file_of(tmp_path, b""))
    for key in ("empty", "empty-file"):
        stat = store.stat(key)
        assert stat is not None
        assert stat.size == 0
        assert store.get_bytes(key) == store.get_range(key, 0, 10) == b""
        assert store.fetch(key, tmp_path / "out").read_bytes() == b""


def test_a_second_put_replaces_the_first_and_changes_the_tag(store: Store) -> None:
    first = store.put_bytes("k", b"one")
    second = store.put_bytes("k", b"two")
    assert store.get_bytes("k") == b"two"
    assert first.etag != second.etag


def test_changing_the_file_afterwards_does_not_change_the_object(store: Store, tmp_path: Path) -> None:
    path = file_of(tmp_path, b"first")
    store.put_file("k", path)
    with path.open("r+b") as file:
        file.write(b"OTHER")
    assert path.exists()
    assert store.get_bytes("k") == b"first"


def test_a_taken_file_is_stored_and_gone(store: Store, tmp_path: Path) -> None:
    path = file_of(tmp_path, b"given away")
    assert store.put_file("deep/er/k", path, take=True).size == 10
    assert store.get_bytes("deep/er/k") == b"given away"
    assert not path.exists()


def test_missing_objects_are_named(store: Store, tmp_path: Path) -> None:
    store.put_bytes("folder/there", b"x")
    for key in ("not/there", "folder", "folder/there/below"):
        assert store.stat(key) is None
        assert store.local_path(key) is None
        store.delete(key)
        reads: list[Callable[[str], object]] = [
            store.get_bytes,
            lambda k: store.get_range(k, 0, 1),
            lambda k: store.get_range(k, 0, 0),
            lambda k: store.fetch(k, tmp_path / "out" / "file"),
        ]
        for read in reads:
            with pytest.raises(ObjectMissing, match=key):
                read(key)
    assert store.get_bytes("folder/there") == b"x"
    assert not list(tmp_path.glob("out/*"))


def test_a_file_that_cannot_be_read_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"gone\.mp4") as caught:
        store.put_file("k", tmp_path / "gone.mp4")
    assert caught.value.code == "STORE_FILE_UNREADABLE"
    assert list(store.list("")) == []


def test_deleting_is_final_and_can_be_repeated(store: Store) -> None:
    store.put_bytes("a/b/c", b"x")
    store.delete("a/b/c")
    store.delete("a/b/c")
    assert list(store.list("")) == []
    assert store.stat("a/b/c") is None
    store.put_bytes("a/b", b"its folder is no obstacle")
    assert list(store.list("")) == ["a/b"]


@pytest.mark.parametrize(
    ("start", "length", "expected"),
    [
        (0, 1, b"0"),
        (0, 10, b"0123456789"),
        (9, 1, b"9"),
        (8, 100, b"89"),
        (10, 1, b""),
        (99, 5, b""),
        (3, 0, b""),
        (2, 3, b"234"),
    ],
)
def test_ranges_hold_what_exists_of_them(store: Store, start: int, length: int, expected: bytes) -> None:
    store.put_bytes("k", b"0123456789")
    assert store.get_range("k", start, length) == expected


def test_a_range_that_cannot_be_is_refused(store: Store) -> None:
    for start, length in ((-1, 1), (0, -1)):
        with pytest.raises(ValueError, match="range"):
            store.get_range("k", start, length)


def test_a_list_is_complete_and_in_byte_order_beyond_one_page(store: Store) -> None:
    # A bucket lists 1,000 keys a page.
    names = [f"many/{number:04}" for number in range(1100)] + ["a-b", "a/b", "a0", "a/é", "a/日本", "a/\U0001f3ac", "z"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda name: store.put_bytes(name, b""), names))
    expected = sorted(names, key=str.encode)
    assert list(store.list("")) == expected
    for prefix in ("many/", "many/10", "a", "a/", "a/é", "nothing", "many/1099", "many/nothing/"):
        assert list(store.list(prefix)) == [name for name in expected if name.startswith(prefix)], prefix


def test_keys_in_any_script_work(store: Store, tmp_path: Path) -> None:
    for key in ("inbox/Mein Film (1) & mehr+so?#%20.json", "日本/映画.mp4", "עברית", "e\u0301", "a" * 240, ".hidden"):
        store.put_bytes(key, key.encode())
        assert store.get_bytes(key) == key.encode()
        assert store.fetch(key, tmp_path / "out").read_bytes() == key.encode()
        assert key in list(store.list(""))
        store.delete(key)
    assert list(store.list("")) == []


@pytest.mark.parametrize(
    "key",
    ["", "/", "/abs", "a/", "a//b", ".", "..", "a/../b", "../../etc/passwd", "a/./b", "nul\0", "a\nb", "a\\b", "x" * 241,
     "y/" * 512 + "z", "bad\ud800", ".tmp-1", "a/.tmp-1/b"],
)  # fmt: skip
def test_what_cannot_be_a_key_is_refused_everywhere(store: Store, tmp_path: Path, key: str) -> None:
    calls: list[Callable[[], object]] = [
        lambda: store.put_bytes(key, b""),
        lambda: store.put_file(key, file_of(tmp_path, b"")),
        lambda: store.put_if_absent(key, b""),
        lambda: store.get_bytes(key),
        lambda: store.get_range(key, 0, 1),
        lambda: store.fetch(key, tmp_path / "out"),
        lambda: store.local_path(key),
        lambda: store.stat(key),
        lambda: store.delete(key),
        lambda: store.url(key),
    ]
    for call in calls:
        with pytest.raises(StoreError) as caught:
            call()
        assert caught.value.code == "STORE_KEY_INVALID"


def test_a_prefix_leads_nowhere_else(store: Store) -> None:
    for prefix in ("/", "../", "a/../", "a//", "\0"):
        with pytest.raises(StoreError, match="store key"):
            list(store.list(prefix))


def test_put_if_absent_keeps_the_first(store: Store) -> None:
    assert store.put_if_absent("a/k", b"first") is True
    assert store.put_if_absent("a/k", b"second") is False
    assert store.put_if_absent("a/k", b"first") is False
    assert store.get_bytes("a/k") == b"first"
    store.delete("a/k")
    assert store.put_if_absent("a/k", b"third") is True


def test_of_many_at_once_exactly_one_wins(store: Store) -> None:
    threads = 8
    with ThreadPoolExecutor(threads) as pool:
        for round_ in range(3):
            gate = threading.Barrier(threads)

            def write(name: bytes, key: str = f"race/{round_}", gate: threading.Barrier = gate) -> bool:
                gate.wait()
                return store.put_if_absent(key, name * 1000)

            names = [bytes([65 + number]) for number in range(threads)]
            won = list(pool.map(write, names))
            assert won.count(True) == 1
            assert store.get_bytes(f"race/{round_}") == names[won.index(True)] * 1000


def test_writers_of_one_key_never_mix(store: Store) -> None:
    contents = [bytes([65 + number]) * 200_000 for number in range(4)]
    with ThreadPoolExecutor(8) as pool:
        for data in contents:
            pool.submit(store.put_bytes, "k", data)
        seen = list(pool.map(lambda _: store.get_bytes("k") if store.stat("k") else contents[0], range(20)))
    assert set(seen) <= set(contents)


def test_a_plan_is_written_once(store: Store) -> None:
    written = write_plan(store, "job_0123456789ab", b'{"scenes": []}')
    assert written == plan_hash(b'{"scenes": []}')
    assert written.startswith("sha256:")
    assert write_plan(store, "job_0123456789ab", b'{"scenes": []}') == written
    with pytest.raises(StoreError, match="new job id") as caught:
        write_plan(store, "job_0123456789ab", b'{"scenes": [1]}')
    assert caught.value.code == "PLAN_IMMUTABLE"
    assert read_plan(store, "job_0123456789ab", written) == b'{"scenes": []}'


def test_a_plan_changed_behind_the_stores_back_is_noticed(store: Store) -> None:
    written = write_plan(store, "job_1", b"{}")
    store.put_bytes(keys.plan_key("job_1"), b"[]")
    with pytest.raises(StoreError) as caught:
        read_plan(store, "job_1", written)
    assert caught.value.code == "PLAN_CHANGED"


def test_sweeping_leaves_objects_alone(store: Store) -> None:
    store.put_bytes("a/k", b"x")
    assert store.sweep(0, NEXT_YEAR) == 0
    assert store.get_bytes("a/k") == b"x"


# ---- keys and addresses ----------------------------------------------------------------------------------------------


def test_keys_are_where_other_systems_look_for_them() -> None:
    digest = "ab" * 32
    assert keys.plan_key("job_1") == "render-plans/job_1/plan.json"
    assert keys.output_key("job_1") == "outputs/job_1/output.mp4"
    assert keys.thumbnail_key("job_1") == "outputs/job_1/thumbnail.jpg"
    assert keys.clip_key(digest) == f"cache/clips/ab/{digest}.mp4"
    assert keys.movie_key("demo") == "movies/demo.json"
    assert keys.movie_version_key("demo", digest) == f"movies/demo/{digest}.json"
    assert keys.value_key("0f3e", "movie.scene[hook_1]", "result") == "values/0f3e/movie.scene[hook_1]/result.json"
    assert keys.inbox_key("my movie.json") == "inbox/my movie.json"


@given(st.text(max_size=80))
def test_no_id_leads_a_key_astray(text: str) -> None:
    makers: list[Callable[[str], str]] = [
        keys.plan_key, keys.output_key, keys.thumbnail_key, keys.poster_key, keys.contact_sheet_key, keys.movie_key,
        keys.clip_key, keys.source_key, keys.speech_key, keys.speech_timings_key, keys.sound_key, keys.inbox_key,
        lambda t: keys.movie_version_key("m", t), lambda t: keys.value_key(t, "s", "o"),
        lambda t: keys.value_key("r", t, "o"), lambda t: keys.value_key("r", "s", t),
    ]  # fmt: skip
    for make in makers:
        with contextlib.suppress(StoreError):
            key = make(text)
            assert keys.key_fault(key) is None
            assert text in key


def test_store_addresses_mean_what_they_say(tmp_path: Path) -> None:
    assert place_of("file:///data/my%20store") == FilePlace(Path("/data/my store"))
    assert place_of("s3://bucket") == BucketPlace("bucket", "")
    assert place_of("s3://my-bucket/team/a/") == BucketPlace("my-bucket", "team/a")
    store = open_store((tmp_path / "new place").as_uri(), None)
    store.put_bytes("k", b"x")
    assert (tmp_path / "new place" / "k").read_bytes() == b"x"


@pytest.mark.parametrize(
    "url",
    ["", "store", "/data", "file:store", "file://store", "file://host/data", "http://x/y", "s3:", "s3://", "s3:///prefix", "s3://[x",
     "s3://B_ad/x", "s3://bucket/../x", "s3://bucket/a//b", "s3://bucket?x", "file:///a#b", "s3://key:secret@bucket"],
)  # fmt: skip
def test_a_wrong_address_is_told_with_what_would_be_right(url: str) -> None:
    with pytest.raises(SettingsError, match=r"VIRALSYNC_STORE is .* Set it to file:///absolute/folder or s3://bucket/prefix"):
        open_store(url, S3Access("a", "b"))


def test_a_bucket_without_access_names_the_variables() -> None:
    with pytest.raises(SettingsError, match=r"S3_ACCESS_KEY.*S3_SECRET_KEY.*S3_URL"):
        open_store("s3://bucket/x", None)
    with pytest.raises(SettingsError, match="S3_SECRET_KEY is not set"):
        open_store("s3://bucket/x", S3Access("key", None, "http://127.0.0.1:1"))


R2 = "https://0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("url", "endpoint"),
    [
        (f"{R2}.r2.cloudflarestorage.com", f"{R2}.r2.cloudflarestorage.com"),
        (f"{R2}.r2.cloudflarestorage.com/films", f"{R2}.r2.cloudflarestorage.com"),
        ("https://films.0123.eu.r2.cloudflarestorage.com/", "https://0123.eu.r2.cloudflarestorage.com"),
        ("https://films.s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
        ("http://127.0.0.1:9000/films/", "http://127.0.0.1:9000"),
        ("http://minio:9000/gateway", "http://minio:9000/gateway"),
        ("http://minio:9000/gateway/films", "http://minio:9000/gateway"),
        # The host that happens to begin like the bucket is a host.
        ("https://films.example.com", "https://films.example.com"),
    ],
)
def test_the_bucket_in_an_endpoint_is_recognised(url: str, endpoint: str) -> None:
    assert endpoint_of(url, "films") == endpoint


@pytest.mark.parametrize(
    "url", ["", "minio:9000", "ftp://x", "https://", "https://key:secret@host", "http://host:port", "http://h?x=1", "http://[x"]
)
def test_a_wrong_endpoint_names_its_variable(url: str) -> None:
    with pytest.raises(SettingsError, match="S3_URL is"):
        endpoint_of(url, "films")


def test_the_secret_is_not_shown() -> None:
    assert "hush" not in repr(S3Access("key", "hush"))


# ---- the folder ------------------------------------------------------------------------------------------------------

segments = st.sampled_from(["a", "b", "a-b", "a0", "é", "x.mp4"])
some_keys = st.lists(segments, min_size=1, max_size=3).map("/".join)
operations = st.one_of(
    st.tuples(st.sampled_from(["put", "put_if_absent", "file", "take"]), some_keys, st.binary(max_size=8)),
    st.tuples(st.sampled_from(["get", "delete", "stat", "list"]), some_keys, st.just(b"")),
)


def _clashes(model: dict[str, bytes], key: str) -> bool:
    return any(other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in model)


@given(st.lists(operations, max_size=40))
@settings(max_examples=60, deadline=None)
def test_a_folder_behaves_like_a_dict(tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str, bytes]]) -> None:
    """Except that a name cannot be an object and a folder of objects at once; that is refused and changes nothing."""
    folder = tmp_path_factory.mktemp("model")
    store = LocalStore(folder / "store")
    model: dict[str, bytes] = {}
    for verb, key, data in steps:
        if verb in {"put", "put_if_absent", "file", "take"}:
            path = file_of(folder, data)
            put: dict[str, Callable[[], object]] = {
                "put": lambda: store.put_bytes(key, data),  # noqa: B023
                "put_if_absent": lambda: store.put_if_absent(key, data),  # noqa: B023
                "file": lambda: store.put_file(key, path),  # noqa: B023
                "take": lambda: store.put_file(key, path, take=True),  # noqa: B023
            }
            if _clashes(model, key):
                with pytest.raises(StoreError) as caught:
                    put[verb]()
                assert caught.value.code == "STORE_KEY_INVALID"
                continue
            done = put[verb]()
            if verb == "put_if_absent":
                assert done is (key not in model)
            if done is not False:
                model[key] = data
        elif verb == "get":
            if key in model:
                assert store.get_bytes(key) == model[key]
            else:
                with pytest.raises(ObjectMissing):
                    store.get_bytes(key)
        elif verb == "delete":
            store.delete(key)
            model.pop(key, None)
        elif verb == "stat":
            stat = store.stat(key)
            assert (stat.size if stat else None) == (len(model[key]) if key in model else None)
        else:
            assert list(store.list(key)) == sorted(name for name in model if name.startswith(key))
    assert {name: store.get_bytes(name) for name in store.list("")} == model
    assert not list((folder / "store").rglob(".tmp-*"))
    shutil.rmtree(folder)


def test_a_local_object_can_be_read_in_place(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "my store")
    store.put_bytes("a/ü.txt", b"x")
    path = store.local_path("a/ü.txt")
    assert path is not None
    assert path.read_bytes() == b"x"
    assert Path(unquote(urlsplit(store.url("a/ü.txt")).path)) == path


def test_a_taken_file_is_renamed_not_copied(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    path = file_of(tmp_path, b"x")
    inode = path.stat().st_ino
    store.put_file("a/k", path, take=True)
    stored = store.local_path("a/k")
    assert stored is not None
    assert stored.stat().st_ino == inode


def test_a_file_with_a_second_name_is_copied_even_when_taken(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    path = file_of(tmp_path, b"first")
    (tmp_path / "other name").hardlink_to(path)
    (tmp_path / "symlink").symlink_to(tmp_path / "other name")
    store.put_file("hard", path, take=True)
    store.put_file("soft", tmp_path / "symlink", take=True)
    (tmp_path / "other name").write_bytes(b"OTHER")
    assert store.get_bytes("hard") == store.get_bytes("soft") == b"first"
    assert not path.exists()
    assert not (tmp_path / "symlink").exists()


def test_symlinks_do_not_lead_out(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    outside = tmp_path / "outside"
    outside.mkdir()
    secret = file_of(outside, b"secret")
    (tmp_path / "store" / "folder").symlink_to(outside)
    (tmp_path / "store" / "file").symlink_to(secret)
    for key in ("folder/file.bin", "file", "folder/new"):
        calls: list[Callable[[str], object]] = [
            store.get_bytes, store.stat, store.delete, store.local_path, lambda k: store.put_bytes(k, b"x"),
            lambda k: store.put_if_absent(k, b"x"), lambda k: store.fetch(k, tmp_path / "out"),
        ]  # fmt: skip
        for call in calls:
            with pytest.raises(StoreError, match="symbolic link") as caught:
                call(key)
            assert caught.value.code == "STORE_REFUSED"
    assert list(store.list("")) == []
    assert secret.read_bytes() == b"secret"
    assert list(outside.iterdir()) == [secret]


def test_kill_9_in_the_middle_of_a_put_leaves_no_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "store")
    store.put_bytes("old", b"the old one")
    source = tmp_path / "source"
    os.mkfifo(source)
    for key in ("new", "old"):
        code = "import sys, pathlib as p; from viralsync_pipelines.storage.local import LocalStore as L; "
        code += "L(p.Path(sys.argv[1])).put_file(sys.argv[2], p.Path(sys.argv[3]))"
        writer = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "store"), key, str(source)], cwd=ROOT)
        # The pipe takes 64 KiB; once all of this is through, more than 7 MiB have been read on the other side.
        with source.open("wb", buffering=0) as pipe:
            assert pipe.write(bytes(8 << 20)) == 8 << 20
            writer.send_signal(signal.SIGKILL)
            assert writer.wait() == -signal.SIGKILL
    debris = list((tmp_path / "store").glob(".tmp-*"))
    assert len(debris) == 2
    assert all(path.stat().st_size for path in debris)
    assert list(store.list("")) == ["old"]
    assert store.get_bytes("old") == b"the old one"
    assert store.sweep(3600, datetime.now(UTC)) == 0, "a writer may still be at work on them"
    assert store.sweep(3600, NEXT_YEAR) == 2
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["old"]


WRITE_TOO_MUCH = """
import sys, pathlib
from viralsync_pipelines.errors import StoreError
from viralsync_pipelines.storage.local import LocalStore
folder = pathlib.Path(sys.argv[1])
limit = int(sys.argv[2])
if limit:
    import resource
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
store = LocalStore(folder)
for put in (lambda: store.put_bytes("new", bytes(2 << 20)), lambda: store.put_file("old", pathlib.Path(sys.argv[3])),
            lambda: store.put_if_absent("other", bytes(2 << 20)), lambda: store.fetch("old", folder / "fetched") and 1 / 0):
    try:
        put()
    except StoreError as error:
        print(error.code, "free some space" in error.message)
    except ZeroDivisionError:
        print("fetched")
print(sorted(path.name for path in folder.iterdir()), store.get_bytes("old"))
"""


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    """Once with a limit on the file size, once, where a private mount is allowed, on a file system of one megabyte."""
    big = file_of(tmp_path, bytes(2 << 20))
    store = tmp_path / "store"
    LocalStore(store).put_bytes("old", b"old")
    expected = "DISK_FULL True\n" * 3 + "fetched\n['fetched', 'old'] b'old'\n"
    limited = subprocess.run(
        [sys.executable, "-c", WRITE_TOO_MUCH, str(store), str(1 << 20), str(big)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert limited.stdout == expected, limited.stderr
    script = 'mount -t tmpfs -o size=1m tmpfs "$2" && printf old > "$2/old" && exec "$0" -c "$1" "$2" 0 "$3"'
    mounted = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, sys.executable, WRITE_TOO_MUCH, str(store), str(big)],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    if mounted.stdout or not any(word in mounted.stderr for word in ("unshare", "mount")):
        assert mounted.stdout == expected, mounted.stderr


def test_without_hard_links_there_is_still_one_winner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    store = LocalStore(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(lambda number: store.put_if_absent("k", b"%d" % number), range(8)))
    assert won.count(True) == 1
    assert store.get_bytes("k") == b"%d" % won.index(True)
    assert list(store.list("")) == ["k"]


def test_puts_and_deletes_in_one_folder_do_not_disturb_each_other(tmp_path: Path) -> None:
    """A delete prunes the folder that it empties, perhaps just as a put is about to write there."""
    store = LocalStore(tmp_path / "store")

    def work(number: int) -> None:
        for round_ in range(60):
            key = f"deep/er/{number}"
            if round_ % 2:
                store.put_bytes(key, b"x")
            else:
                store.put_file(key, file_of(tmp_path, b"x", f"{number}"), take=True)
            store.delete(key)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    assert list((tmp_path / "store").iterdir()) == []


def test_a_store_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"file\.bin"):
        LocalStore(file_of(tmp_path, b"") / "store")


def test_files_with_impossible_names_are_passed_over(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    (tmp_path / "back\\slash").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe")).write_bytes(b"")
    store.put_bytes("k", b"")
    assert list(store.list("")) == ["k"]


# ---- the bucket ------------------------------------------------------------------------------------------------------


def test_the_prefix_is_a_wall(server: S3Server, access: S3Access) -> None:
    client = make_client(access, server.bucket)
    team = f"team-{next(prefixes)}"
    one, ten, none = (S3Store(client, server.bucket, prefix) for prefix in (f"{team}/1", f"{team}/10", ""))
    one.put_bytes("k", b"one")
    ten.put_bytes("k", b"ten")
    assert list(one.list("")) == ["k"]
    assert one.get_bytes("k") == none.get_bytes(f"{team}/1/k") == b"one"
    with pytest.raises(StoreError, match="1025 bytes"):
        one.put_bytes("/".join(["s" * 102] * 9 + ["t" * (1025 - 9 * 103 - len(team) - 3)]), b"")


def test_a_large_file_goes_up_in_parts_and_comes_back_whole(
    behind: Callable[..., S3Store], proxy: FaultyProxy, server: S3Server, tmp_path: Path
) -> None:
    data = os.urandom(MULTIPART_BYTES + (4 << 20) + 1)
    store = behind()
    stat = store.put_file("big.mp4", file_of(tmp_path, data))
    assert stat.size == len(data)
    assert [request.method for request in proxy.seen].count("PUT") == 2
    assert store.fetch("big.mp4", tmp_path / "out").read_bytes() == data
    assert store.get_range("big.mp4", MULTIPART_BYTES - 5, 10) == data[MULTIPART_BYTES - 5 : MULTIPART_BYTES + 5]
    assert not server.raw.list_multipart_uploads(Bucket=server.bucket).get("Uploads")


def test_a_failed_upload_leaves_no_parts(
    behind: Callable[..., S3Store], proxy: FaultyProxy, server: S3Server, tmp_path: Path
) -> None:
    proxy.fault = lambda request: Fault(status=500) if "partNumber=2" in request.path else None
    store = behind()
    path = file_of(tmp_path, bytes(MULTIPART_BYTES + 1))
    with pytest.raises(StoreError) as caught:
        store.put_file("big.mp4", path, take=True)
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert path.exists(), "a file that was not stored is not taken"
    assert store.stat("big.mp4") is None
    assert not server.raw.list_multipart_uploads(Bucket=server.bucket).get("Uploads")


def test_uploads_of_killed_writers_are_swept(bucket_store: S3Store, server: S3Server) -> None:
    name = f"{bucket_store._prefix}big.mp4"
    begun = server.raw.create_multipart_upload(Bucket=server.bucket, Key=name)
    server.raw.upload_part(Bucket=server.bucket, Key=name, UploadId=begun["UploadId"], PartNumber=1, Body=b"x")
    assert bucket_store.sweep(3600, datetime.now(UTC)) == 0
    assert bucket_store.sweep(3600, NEXT_YEAR) == 1
    assert not server.raw.list_multipart_uploads(Bucket=server.bucket).get("Uploads")


def test_memory_stays_flat(bucket_store: S3Store, tmp_path: Path) -> None:
    path = tmp_path / "big"
    with path.open("wb") as file:
        file.truncate(48 << 20)
    tracemalloc.start()
    try:
        bucket_store.put_file("big", path)
        bucket_store.fetch("big", tmp_path / "out")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / "out").stat().st_size == 48 << 20
    assert peak < 12 << 20, f"{peak / (1 << 20):.1f} MiB at the peak for a file of 48"


@pytest.mark.parametrize("status", [500, 503])
def test_a_passing_fault_is_not_noticed(
    behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path, status: int
) -> None:
    store = behind(tries=2)
    proxy.misbehave("PUT", Fault(status=status))
    store.put_bytes("k", b"x")
    proxy.misbehave("GET", Fault(status=status))
    assert store.fetch("k", tmp_path / "out").read_bytes() == b"x"
    assert [request.method for request in proxy.seen] == ["PUT", "PUT", "GET", "GET"]


def test_a_lasting_fault_is_told(behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path) -> None:
    store = behind()
    proxy.fault = lambda request: Fault(status=503, code="SlowDown")
    calls: list[Callable[[], object]] = [
        lambda: store.put_bytes("k", b""), lambda: store.get_bytes("k"), lambda: store.fetch("k", tmp_path / "out" / "k"),
        lambda: store.stat("k"), lambda: store.delete("k"), lambda: list(store.list("")), lambda: store.put_if_absent("k", b""),
        lambda: store.sweep(0, NEXT_YEAR),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(StoreError, match="unning it again is safe") as caught:
            call()
        assert (type(caught.value), caught.value.code) == (StoreError, "STORE_UNAVAILABLE")
    assert not list(tmp_path.glob("out/*"))


def test_a_broken_download_goes_on_where_it_broke(behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path) -> None:
    data = os.urandom(3 << 20)
    store = behind()
    store.put_bytes("k", data)
    proxy.misbehave("GET", Fault(cut_after=(1 << 20) + 7), times=2)
    assert store.fetch("k", tmp_path / "out").read_bytes() == data
    ranges = [request.headers.get("range") for request in proxy.seen if request.method == "GET"]
    assert ranges[0] is None
    assert ranges[1] is not None
    assert int(ranges[1].removeprefix("bytes=").removesuffix("-")) >= 1 << 20
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_broken_range_goes_on_where_it_broke(behind: Callable[..., S3Store], proxy: FaultyProxy) -> None:
    store = behind()
    store.put_bytes("k", bytes(range(256)))
    proxy.misbehave("GET", Fault(cut_after=3))
    assert store.get_range("k", 100, 50) == bytes(range(100, 150))


def test_a_body_that_is_always_short_leaves_no_file(behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path) -> None:
    store = behind()
    store.put_bytes("k", bytes(1000))
    old = file_of(tmp_path, b"old", "out")
    proxy.fault = lambda request: Fault(cut_after=0) if request.method == "GET" else None
    with pytest.raises(StoreError, match="broke off") as caught:
        store.fetch("k", old)
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert old.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [old]


def test_a_server_that_dies_in_the_middle_leaves_no_file(
    behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path
) -> None:
    store = behind()
    store.put_bytes("k", bytes(3 << 20))
    proxy.misbehave("GET", Fault(cut_after=2 << 20, dies=True))
    with pytest.raises(StoreError) as caught:
        store.fetch("k", tmp_path / "out")
    assert caught.value.code == "STORE_UNAVAILABLE"
    assert list(tmp_path.iterdir()) == []


def test_an_object_replaced_during_a_broken_download_is_not_mixed(
    behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path
) -> None:
    store = behind()
    store.put_bytes("k", b"a" * (3 << 20))

    def cut_and_replace(request: object) -> Fault | None:
        if proxy.seen[-1].method == "GET" and proxy.seen[-1].headers.get("range") is None:
            return Fault(cut_after=2 << 20)
        if proxy.seen[-1].method == "GET":
            proxy.fault = lambda _: None
            store.put_bytes("k", b"b" * (3 << 20))
        return None

    proxy.fault = cut_and_replace
    with pytest.raises(StoreError, match="unning it again is safe"):
        store.fetch("k", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_service_that_ignores_ranges_is_noticed(behind: Callable[..., S3Store], proxy: FaultyProxy) -> None:
    store = behind()
    store.put_bytes("k", b"0123456789")
    proxy.misbehave("GET", Fault(ignores_range=True))
    with pytest.raises(StoreError, match="does not serve ranges"):
        store.get_range("k", 5, 2)


def test_an_answer_that_got_lost_does_not_lose_the_race(behind: Callable[..., S3Store], proxy: FaultyProxy) -> None:
    store = behind(tries=2)
    proxy.misbehave("PUT", Fault(loses_answer=True))
    assert store.put_if_absent("k", b"mine") is True
    assert [request.method for request in proxy.seen] == ["HEAD", "PUT", "PUT", "HEAD"]
    assert store.get_bytes("k") == b"mine"


def test_the_service_decides_the_race_not_the_look_before(behind: Callable[..., S3Store], proxy: FaultyProxy) -> None:
    store = behind()
    store.put_bytes("k", b"first")
    proxy.misbehave("HEAD", Fault(status=404))
    assert store.put_if_absent("k", b"second") is False
    assert store.get_bytes("k") == b"first"


@pytest.mark.parametrize(("status", "code"), [(501, "NotImplemented"), (400, "InvalidArgument")])
def test_a_service_without_conditional_writes_still_keeps_the_first(
    behind: Callable[..., S3Store], proxy: FaultyProxy, status: int, code: str
) -> None:
    proxy.fault = lambda request: Fault(status=status, code=code) if "if-none-match" in request.headers else None
    store = behind()
    assert store.put_if_absent("k", b"first") is True
    assert store.put_if_absent("k", b"second") is False
    assert store.get_bytes("k") == b"first"


def test_a_conflict_is_asked_again(behind: Callable[..., S3Store], proxy: FaultyProxy) -> None:
    store = behind()
    proxy.misbehave("PUT", Fault(status=409, code="ConditionalRequestConflict"), times=2)
    assert store.put_if_absent("k", b"first") is True


def test_wrong_keys_and_a_missing_bucket_are_told_apart(server: S3Server, access: S3Access) -> None:
    wrong = S3Store(make_client(replace(access, secret_key="wrong"), server.bucket), server.bucket)
    for call in (
        lambda: wrong.get_bytes("k"),
        lambda: wrong.put_bytes("k", b""),
        lambda: wrong.stat("k"),
        lambda: list(wrong.list("")),
    ):
        with pytest.raises(StoreError, match="S3_ACCESS_KEY, S3_SECRET_KEY") as caught:
            call()
        assert caught.value.code == "STORE_REFUSED"
    nowhere = S3Store(make_client(access, "no-such-bucket"), "no-such-bucket")
    for call in (lambda: nowhere.get_bytes("k"), lambda: nowhere.put_bytes("k", b"")):
        with pytest.raises(StoreError, match="no bucket no-such-bucket") as caught:
            call()
        assert caught.value.code == "STORE_REFUSED"
    nobody = S3Store(make_client(replace(access, endpoint_url="http://127.0.0.1:9"), "b-b", tries=1), "b-b")
    with pytest.raises(StoreError, match="Check S3_URL") as caught:
        nobody.get_bytes("k")
    assert caught.value.code == "STORE_UNAVAILABLE"


def test_no_checksum_is_sent_that_compatible_services_choke_on(
    behind: Callable[..., S3Store], proxy: FaultyProxy, tmp_path: Path
) -> None:
    store = behind()
    store.put_bytes("k", b"x")
    store.put_file("big", file_of(tmp_path, bytes(MULTIPART_BYTES + 1)))
    store.get_bytes("k")
    names = {name for request in proxy.seen for name in request.headers}
    assert not [name for name in names if "checksum" in name or "trailer" in name or "sdk-checksum" in name]
    assert all("aws-chunked" not in request.headers.get("content-encoding", "") for request in proxy.seen)


def test_objects_carry_their_type(bucket_store: S3Store, server: S3Server, tmp_path: Path) -> None:
    bucket_store.put_file("a.mp4", file_of(tmp_path, b""))
    bucket_store.put_bytes("b.json", b"{}")
    bucket_store.put_if_absent("c", b"", content_type="text/x-thing")
    types = [
        server.raw.head_object(Bucket=server.bucket, Key=bucket_store._prefix + key)["ContentType"]
        for key in ("a.mp4", "b.json", "c")
    ]
    assert types == ["video/mp4", "application/json", "text/x-thing"]


@pytest.mark.parametrize("region", ["auto", "us-east-1"])
def test_links_open_without_keys(server: S3Server, access: S3Access, region: str) -> None:
    """In a region that it knows, boto3 left alone would sign links by the second version."""
    store = S3Store(make_client(replace(access, region=region), server.bucket), server.bucket, f"test-{next(prefixes)}")
    store.put_bytes("a/ü b.txt", b"hello")
    link = store.url("a/ü b.txt", expires_s=60)
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in link, "R2 knows no older signature"
    assert "X-Amz-Expires=60" in link
    assert SECRET_KEY not in link
    with httpx.Client(trust_env=False) as client:
        assert client.get(link).content == b"hello"
        assert client.get(link.replace("Signature=", "Signature=0")).status_code == 403


def test_public_buckets_give_plain_links(server: S3Server, access: S3Access) -> None:
    store = open_store(f"s3://{server.bucket}/x", replace(access, public_url="https://media.example.com/x/"))
    assert store.url("a/ü b.mp4") == "https://media.example.com/x/a/%C3%BC%20b.mp4"


def test_a_proxy_in_the_environment_does_not_matter_on_loopback(
    server: S3Server, access: S3Access, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    store = open_store(f"s3://{server.bucket}/test-{next(prefixes)}", access)
    store.put_bytes("k", b"x")
    assert store.get_bytes("k") == b"x"


# ---- in Dagster ------------------------------------------------------------------------------------------------------


@dg.op
def keep(store: StoreResource) -> str:
    opened = store.create_store()
    write_plan(opened, "job_1", b"{}")
    return opened.url("render-plans/job_1/plan.json")


@dg.job
def keeping() -> None:
    keep()


@pytest.mark.filterwarnings(
    "ignore:InitResourceContext.dagster_run is deprecated"
)  # Dagster 1.13 calls its own on nested resources
def test_dagster_opens_both_kinds(server: S3Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TEST_SECRET", SECRET_KEY)
    s3 = S3Resource(
        endpoint_url=f"{server.url}/{server.bucket}",
        region_name="auto",
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=dg.EnvVar("TEST_SECRET"),
    )
    prefix = f"test-{next(prefixes)}"
    bucket = StoreResource(url=f"s3://{server.bucket}/{prefix}", s3=s3)
    for resource in (StoreResource(url=tmp_path.as_uri()), bucket):
        with dg.DagsterInstance.ephemeral() as instance:
            result = keeping.execute_in_process(instance=instance, resources={"store": resource})
        assert result.success
        link = result.output_for_node("keep")
    assert (tmp_path / "render-plans/job_1/plan.json").read_bytes() == b"{}"
    assert server.raw.get_object(Bucket=server.bucket, Key=f"{prefix}/render-plans/job_1/plan.json")["Body"].read() == b"{}"
    with httpx.Client(trust_env=False) as client:
        assert client.get(link).content == b"{}"


def test_dagster_without_access_to_the_bucket_says_so() -> None:
    with pytest.raises(SettingsError, match="S3_ACCESS_KEY"):
        StoreResource(url="s3://bucket/x").create_store()
