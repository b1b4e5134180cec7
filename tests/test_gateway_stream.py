"""`GET /v1/jobs/{id}/progress`: every change exactly once, whatever is cut. A real server, both databases, and readers as browsers have them."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.servers.engine import Film
from tests.servers.gateway import Gateway, built, gateway, new_id, serving, until
from tests.servers.reader import Frame, Reader
from viralsync_pipelines.gateway import hub as hub_module
from viralsync_pipelines.gateway import stream as stream_module
from viralsync_pipelines.storage.database import Database


@pytest.fixture
def gate(database: Database, tmp_path: Path) -> Iterator[Gateway]:
    with gateway(database, tmp_path) as made:
        yield made


@pytest.fixture
def client(gate: Gateway) -> httpx.Client:
    return gate.client()


def of(gate: Gateway, film: Film) -> str:
    return gate.runs.run(film.run_id).job_id


def progress(job_id: str) -> str:
    return f"/v1/jobs/{job_id}/progress"


def history(client: httpx.Client, job_id: str) -> list[tuple[int, str, str, str, float]]:
    """Every change there was, as /events tells it."""
    found: list[tuple[int, str, str, str, float]] = []
    after: int | None = 0
    while after is not None:
        page = client.get(f"/v1/jobs/{job_id}/events", params={"after": after, "limit": 500}).json()
        found += [(e["sequence"], e["name"], *_state(e["job"])) for e in page["events"]]
        after = page["nextAfter"]
    return found


def _state(job: dict[str, Any]) -> tuple[str, str, float]:
    return job["jobId"], job["status"], job["progress"]


def seen(reader: Reader) -> list[tuple[int, str, str, str, float]]:
    return [(int(frame.id or -1), frame.event, *_state(frame.job)) for frame in reader.changes]


@contextmanager
def happening(steps: list[Any], pauses: random.Random, most_s: float = 0.02) -> Iterator[threading.Thread]:
    """Things that happen one after the other while the block runs, and are over at its end."""

    def run() -> None:
        for step in steps:
            time.sleep(pauses.random() * most_s)
            step()

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(60)


@contextmanager
def following(gate: Gateway, readers: list[Reader], seed: int) -> Iterator[None]:
    """Each reader in a thread, cut at random until its end: within the first frame, within any other, or not at all. The block begins
    when all have begun."""

    def follow(reader: Reader, client: httpx.Client, chance: random.Random) -> None:
        while not reader.ended:
            reader.connect(client, chance.choice((1, 300, 3_000, 10_000, 40_000, None if reader.connections > 3 else 3_000)))
            assert reader.connections < 2_000

    threads = [
        threading.Thread(target=follow, args=(reader, gate.client(), random.Random(seed * 10 + n))) for n, reader in enumerate(readers)
    ]
    for thread in threads:
        thread.start()
    until(lambda: all(reader.got for reader in readers))
    yield
    for thread in threads:
        thread.join(60)


# ---- every change exactly once ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_every_change_comes_once_however_often_the_wire_is_cut(gate: Gateway, client: httpx.Client, seed: int) -> None:
    """A film that is being made, three readers of it and one of a scene; each comes back by the number of what it saw last."""
    chance = random.Random(seed)
    film = gate.film(scenes=9)
    job_id, scene = of(gate, film), f"scene_{of(gate, film)}_004"
    steps = film.steps()
    for step in steps[:20]:
        step()
    readers = [Reader(progress(job_id)), Reader(progress(job_id), by_query=True), Reader(progress(job_id)), Reader(progress(scene))]
    with following(gate, readers, seed), happening(steps[20:], chance):
        pass
    everything = history(client, job_id)
    assert [number for number, *_ in everything] == list(range(1, len(everything) + 1))
    for reader in readers[:3]:
        begun = int(reader.syncs[0].id or -1)
        assert seen(reader) == everything[begun:]
        assert reader.connections > 1
    own = [change for change in everything if change[2] == scene]
    begun = int(readers[3].syncs[0].id or -1)
    assert seen(readers[3]) == [change for change in own if change[0] > begun]
    until(lambda: gate.app.state.hub.streams == 0)


@pytest.mark.parametrize("seed", range(2))
def test_reported_jobs_stream_as_exactly(gate: Gateway, client: httpx.Client, seed: int) -> None:
    """A pack of pictures that a program reports over HTTP, kept in the database."""
    chance = random.Random(seed)
    made = client.post(
        "/v1/jobs/batch", json={"jobType": "image", "userId": "u", "parentTitle": "Pack", "childTitles": ["a", "b", "c"], "childProgressMode": "average"}
    ).json()  # fmt: skip
    parent, children = made["parent"]["jobId"], [child["jobId"] for child in made["jobs"]]
    reporting = gate.client()

    def post(job_id: str, what: str, **body: Any) -> None:
        gate.clock.tick()
        reporting.post(f"/v1/jobs/{job_id}/{what}", json=body).raise_for_status()

    steps: list[Any] = []
    for share in range(0, 100, 7):
        steps += [lambda child=child, share=share: post(child, "progress", progress=share, message=f"{share} %") for child in children]
    steps += [lambda child=child: post(child, "complete", result={"url": "https://cdn.example/x.png"}) for child in children]
    readers = [Reader(progress(parent)), Reader(progress(parent), by_query=True), Reader(progress(children[1]))]
    with following(gate, readers, seed), happening(steps, chance, 0.01):
        pass
    everything = history(client, parent)
    assert everything[-1][1:4] == ("job.completed", parent, "done")
    for reader in readers:
        own = [change for change in everything if reader is not readers[2] or change[2] == children[1]]
        begun = int(reader.syncs[0].id or -1)
        assert seen(reader) == [change for change in own if change[0] > begun]


def test_the_number_of_a_change_is_the_same_in_every_gateway(database: Database, tmp_path: Path) -> None:
    """Two gateways on one engine: a reader goes from one to the other at each cut, and misses nothing."""
    with gateway(database, tmp_path) as one:
        other = built(database, tmp_path, beside=one)
        with serving(other):
            film = one.film(scenes=6)
            reader = Reader(progress(of(one, film)))
            clients = [one.client(), other.client()]
            with happening(film.steps(), random.Random(7)):
                while not reader.ended:
                    reader.connect(clients[reader.connections % 2], 6_000)
            everything = history(clients[1], of(one, film))
            assert seen(reader) == everything[int(reader.syncs[0].id or -1) :]


def test_a_stream_goes_on_through_a_retry(gate: Gateway, client: httpx.Client) -> None:
    film = gate.film()
    job_id = of(gate, film)
    film.failed()
    reader = Reader(progress(job_id))
    reader.connect(client)
    assert [frame.event for frame in reader.got] == ["job.sync", "job.failed"]
    reader.connect(client)
    assert reader.status == 204
    client.post(f"/v1/jobs/{job_id}/retry").raise_for_status()
    again = gate.film_of(job_id)
    with happening(again.steps(), random.Random(1)):
        reader.connect(client)
    assert reader.changes[-1].event == "job.completed"
    everything = history(client, job_id)
    assert seen(reader) == everything[int(reader.syncs[0].id or -1) :]


# ---- what a stream looks like ----------------------------------------------------------------------------------------


def test_a_stream_begins_with_the_job_as_it_stands(gate: Gateway, client: httpx.Client) -> None:
    film = gate.film().start().plan().scene(1)
    job_id = of(gate, film)
    with client.stream("GET", progress(job_id)) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-store", "no")
        assert "content-encoding" not in answer.headers
    reader = Reader(progress(job_id))
    reader.connect(client, most=1)
    first = reader.got[0]
    assert (first.event, first.retry) == ("job.sync", "3000")
    now = client.get(f"/v1/jobs/{job_id}").json()
    assert (first.job, first.id) == (now, str(now["sequence"]))


def test_one_who_comes_late_hears_of_the_end_also_when_the_wire_is_cut_before(gate: Gateway, client: httpx.Client) -> None:
    ended = {"job.completed": gate.film().whole(), "job.failed": gate.film().failed()}
    cancelled = gate.film()
    client.post(f"/v1/jobs/{of(gate, cancelled)}/cancel").raise_for_status()
    for name, film in {**ended, "job.cancelled": cancelled}.items():
        job_id = of(gate, film)
        last = client.get(f"/v1/jobs/{job_id}").json()
        reader = Reader(progress(job_id))
        reader.connect(client)
        assert [frame.event for frame in reader.got] == ["job.sync", name]
        assert [frame.job for frame in reader.got] == [last, last]
        assert reader.last == str(last["sequence"])
        # Just after the first frame.
        cut = Reader(progress(job_id))
        cut.connect(client, len(reader.got[0].data.encode()) + 100)
        assert [frame.event for frame in cut.got] == ["job.sync"]
        cut.connect(client)
        assert [frame.event for frame in cut.changes] == [name]
    scene = Reader(progress(f"scene_{of(gate, ended['job.completed'])}_002"))
    scene.connect(client)
    assert [(frame.event, frame.job["status"]) for frame in scene.got] == [("job.sync", "done"), ("child.progress", "done")]


def test_who_has_seen_the_end_is_told_not_to_come_back(gate: Gateway, client: httpx.Client) -> None:
    film = gate.film().whole()
    job_id = of(gate, film)
    last = client.get(f"/v1/jobs/{job_id}").json()["sequence"]
    for how in ({"headers": {"Last-Event-ID": str(last)}}, {"params": {"after": last}}):
        answer = client.get(progress(job_id), **how)  # type: ignore[arg-type]
        assert (answer.status_code, answer.content) == (204, b"")
    child = f"scene_{job_id}_001"
    own = client.get(f"/v1/jobs/{child}").json()["sequence"]
    for number in (own, own + 1, last):
        assert client.get(progress(child), headers={"Last-Event-ID": str(number)}).status_code == 204
    # One change less, and that one is sent.
    reader = Reader(progress(job_id), last=str(last - 1))
    reader.connect(client)
    assert (reader.sequences, [frame.id for frame in reader.syncs]) == ([last], [None])
    # The header is the browser's own and newer than the address it was opened with.
    assert client.get(progress(job_id), headers={"Last-Event-ID": str(last)}, params={"after": 0}).status_code == 204


def test_a_number_from_the_future_gets_the_job_as_it_is_and_is_told_so(gate: Gateway, client: httpx.Client) -> None:
    film = gate.film().start().plan()
    job_id = of(gate, film)
    reader = Reader(progress(job_id), last="999999")
    with happening([lambda: film.scene(1).made(1), film.scene(2).broke(2).fail], random.Random(1), 0.1):
        reader.connect(client)
    first = reader.got[0]
    assert (first.event, first.job["reset"]) == ("job.sync", True)
    assert reader.sequences == list(range(int(first.id or -1) + 1, int(reader.last or 0) + 1))
    late = Reader(progress(job_id), last="999999")
    late.connect(client)
    assert [(frame.event, frame.job.get("reset")) for frame in late.got] == [("job.sync", True), ("job.failed", None)]


def test_what_is_no_number_is_refused(gate: Gateway, client: httpx.Client) -> None:
    job_id = of(gate, gate.film().whole())
    for told in ("x", "-1", "1.5", "1e3", "٣", "9" * 16, "0x1"):
        answer = client.get(progress(job_id), headers={"Last-Event-ID": told.encode()})
        assert (answer.status_code, answer.json()["code"]) == (400, "CURSOR_INVALID"), told
        answer = client.get(progress(job_id), params={"after": told})
        assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR"), told


def test_a_heartbeat_is_a_comment_without_a_number(database: Database, tmp_path: Path) -> None:
    with gateway(database, tmp_path, heartbeat_s=0.05) as gate:
        client = gate.client()
        film = gate.film().start()
        reader = Reader(progress(of(gate, film)))
        beats: list[Frame] = []

        def three_beats() -> None:
            until(lambda: len([frame for frame in reader.got if frame.comment]) >= 3)
            film.fail()

        with happening([three_beats], random.Random(0)):
            reader.connect(client)
        beats = [frame for frame in reader.got if frame.comment is not None]
        assert len(beats) >= 3
        assert {(frame.id, frame.data, frame.event) for frame in beats} == {(None, "", "message")}
        assert reader.changes[-1].event == "job.failed"


def test_a_childs_stream_tells_of_the_child_alone_and_ends_with_it(gate: Gateway, client: httpx.Client) -> None:
    film = gate.film().start().plan()
    job_id = of(gate, film)
    reader = Reader(progress(f"scene_{job_id}_002"))
    with happening([lambda: film.scene(1).frame(1, 9).made(1), lambda: film.scene(2).frame(2, 9).made(2)], random.Random(2), 0.2):
        reader.connect(client)
    assert {frame.job["jobId"] for frame in reader.got} == {f"scene_{job_id}_002"}
    assert reader.changes[-1].job["status"] == "done"
    assert client.get(f"/v1/jobs/{job_id}").json()["status"] == "waiting"
    reader.connect(client)
    assert reader.status == 204


# ---- many readers, and slow ones -------------------------------------------------------------------------------------


def test_any_number_of_readers_share_one_follower(gate: Gateway, client: httpx.Client) -> None:
    """Each look asks for all watched jobs at once; the engine is not asked more often for thirty readers than for one."""
    hub = gate.app.state.hub
    looks: list[tuple[str, ...]] = []
    real = hub._poll
    at_once = [0, 0]

    def counted(roots: Any, after: Any) -> Any:
        at_once[0] += 1
        at_once[1] = max(at_once)
        looks.append(tuple(sorted(roots)))
        try:
            return real(roots, after)
        finally:
            at_once[0] -= 1

    hub._poll = counted
    films = [gate.film().start().plan() for _ in range(3)]
    readers = [Reader(progress(of(gate, film))) for film in films for _ in range(10)]
    threads = [threading.Thread(target=reader.connect, args=(gate.client(),)) for reader in readers]
    for thread in threads:
        thread.start()
    until(lambda: hub.streams == 30 and all(reader.got for reader in readers))
    looks.clear()
    asked = gate.runs.looks
    until(lambda: len(looks) >= 5)
    assert set(looks) == {tuple(sorted(of(gate, film) for film in films))}
    # One question for the marks of all runs at each look, and none beside it.
    assert gate.runs.looks - asked <= len(looks) + 1
    assert hub.watched == 3
    for film in films:
        film.scene(1).made(1).fail()
    for thread in threads:
        thread.join(60)
    assert all(reader.ended for reader in readers)
    assert at_once[1] == 1
    assert (hub.streams, hub.watched) == (0, 0)


def test_a_slow_reader_is_dropped_and_comes_back_to_all_it_missed(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_module, "MOST_WAITING", 100)
    monkeypatch.setattr(stream_module, "_SEND_TIMEOUT_S", 600)
    with gateway(database, tmp_path, send_buffer=8_192) as gate:
        hub = gate.app.state.hub
        film = gate.film(scenes=12).start().plan()
        for number in range(1, 12):
            film.scene(number)
        job_id = of(gate, film)
        quick = Reader(progress(job_id))
        quick_thread = threading.Thread(target=quick.connect, args=(gate.client(),))
        quick_thread.start()
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            slow.connect(("127.0.0.1", int(gate.url.rpartition(":")[2])))
            slow.sendall(f"GET {progress(job_id)} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: hub.streams == 2 and quick.got)
            most = 0
            for done in range(1, 29):
                for number in range(1, 12):
                    film.frame(number, done)
                # All handed out before there is more, so that no look finds more than one round.
                family = gate.board.family(job_id)
                assert family is not None
                until(lambda last=family.sequence: int(quick.last or 0) >= last)
                most = max([most, *(reader.waiting for readers in list(hub._readers.values()) for reader in list(readers))])
                if hub.streams == 1:
                    break
            until(lambda: hub.streams == 1)
            assert 50 < most <= 100
            # It is given what was kept for it, and then the stream ends.
            slow.settimeout(30)
            got = b""
            while not got.endswith(b"\r\n0\r\n\r\n"):
                got += slow.recv(65_536)
            seen_ids = [int(line[4:]) for line in got.decode(errors="replace").split("\r\n") if line.startswith("id: ")]
        back = Reader(progress(job_id), last=str(seen_ids[-1]))
        back_thread = threading.Thread(target=back.connect, args=(gate.client(),))
        back_thread.start()
        film.made(1).made(2).scene(12).broke(12).fail()
        back_thread.join(60)
        quick_thread.join(60)
        assert seen_ids == list(range(seen_ids[0], seen_ids[-1] + 1))
        everything = history(gate.client(), job_id)
        assert seen(back) == everything[seen_ids[-1] :]
        assert seen(quick) == everything[int(quick.syncs[0].id or -1) :]


def test_a_reader_that_takes_nothing_any_more_is_let_go(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_SEND_TIMEOUT_S", 0.2)
    with gateway(database, tmp_path, send_buffer=8_192) as gate:
        hub = gate.app.state.hub
        film = gate.film().start().plan().scene(1)
        with socket.socket() as dead:
            dead.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
            dead.connect(("127.0.0.1", int(gate.url.rpartition(":")[2])))
            dead.sendall(f"GET {progress(of(gate, film))} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            until(lambda: hub.streams == 1)
            done = 0
            while hub.streams:
                done += 1
                film.frame(1, done)
                time.sleep(0.002)
                assert done < 20_000
        assert hub.watched == 0


def test_a_burst_drops_nobody_who_keeps_up(gate: Gateway, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large film is planned in one moment: hundreds of changes at one look."""
    monkeypatch.setattr(hub_module, "MOST_WAITING", 100)
    film = gate.film(scenes=300).start()
    reader = Reader(progress(of(gate, film)))
    thread = threading.Thread(target=reader.connect, args=(client,))
    thread.start()
    until(lambda: reader.got)
    film.plan().fail()
    thread.join(60)
    assert reader.connections == 1
    assert reader.ended
    assert reader.sequences == list(range(int(reader.syncs[0].id or -1) + 1, int(reader.last or 0) + 1))


# ---- what is printed -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_no_line_is_lost_or_doubled_by_one_who_keeps_the_cursor(gate: Gateway, client: httpx.Client, seed: int) -> None:
    """A reader of the whole, and one of a scene. Lines after the last cursor are read again, and count only then."""
    chance = random.Random(seed)
    film = gate.film(scenes=3).start().plan()
    job_id = of(gate, film)
    texts = [(step, f"{step} {n}") for n in range(60) for step in ("movie.plan_film", "movie.render_scene[scene_002]")]
    steps: list[Any] = [lambda step=step, text=text: gate.printed.print(film.run_id, step, text) for step, text in texts]
    # Changes too, all the while, and a last burst just before the end.
    for at in range(0, 110, 3):
        steps.insert(at, lambda at=at: film.scene(2).frame(2, at // 4))
    last = [f"last {n}" for n in range(37)]
    steps.append(lambda: [gate.printed.print(film.run_id, "movie.render_scene[scene_002]", text) for text in last])
    steps += [lambda: film.made(2), film.fail]
    start = client.get(f"/v1/jobs/{job_id}/output").json()
    readers = [Reader(progress(name), cursor=start["cursor"]) for name in (job_id, f"scene_{job_id}_002")]

    def read(reader: Reader) -> None:
        mine = random.Random(seed)
        own = gate.client()
        while not reader.ended and not (reader is readers[1] and any(f.job["status"] == "done" for f in reader.changes)):
            reader.connect(own, mine.choice((2_000, 10_000, 30_000, None)))

    with happening(steps, chance, 0.02):
        threads = [threading.Thread(target=read, args=(reader,)) for reader in readers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    for reader in readers:
        # The end may have been seen on a wire that was cut before its last lines: they are at /output.
        cursor = reader.cursor
        while True:
            page = client.get(reader.path.replace("progress", "output"), params={"cursor": cursor}).json()
            reader.lines += page["output"]
            if page["cursor"] == cursor:
                break
            cursor = page["cursor"]
        for step in ("movie.plan_film", "movie.render_scene[scene_002]"):
            wanted = [text for of_step, text in texts if of_step == step] + (last if "scene" in step else [])
            if reader is readers[1] and step == "movie.plan_film":
                wanted = []
            assert [line["text"] for line in reader.lines if line["step"] == step] == wanted


def test_all_that_was_printed_comes_before_the_end(gate: Gateway, client: httpx.Client) -> None:
    """More than one reading gives, printed just before the job ends; on streams with and without a cursor, of the whole and of a scene."""
    film = gate.film().start().plan().scene(1)
    job_id = of(gate, film)
    for n in range(40):
        gate.printed.print(film.run_id, "movie.render_scene[scene_001]", f"old {n}")
    cursor = client.get(f"/v1/jobs/{job_id}/output").json()["cursor"]
    scene = f"scene_{job_id}_001"
    readers = [Reader(progress(job_id)), Reader(progress(scene)), Reader(progress(job_id), cursor=cursor), Reader(progress(scene), cursor=cursor)]
    deaf = Reader(progress(job_id), params={"output": "false"})
    threads = [threading.Thread(target=reader.connect, args=(gate.client(),)) for reader in (*readers, deaf)]
    for thread in threads:
        thread.start()
    hub = gate.app.state.hub
    until(lambda: hub.streams == 5 and hub._places.get(job_id) is not None and hub._places[job_id].now)
    for n in range(90):
        gate.printed.print(film.run_id, "movie.render_scene[scene_001]", f"new {n}")
        # Printed by another step, and read after it: the last line of a batch is not the scene's.
        gate.printed.print(film.run_id, "movie.zip", f"other {n}")
    film.made(1).fail()
    for thread in threads:
        thread.join(60)
    new, old = [f"new {n}" for n in range(90)], [f"old {n}" for n in range(5, 40)]
    for reader, wanted in zip(readers, (new, new, old + new, old + new), strict=True):
        assert [line["text"] for line in (*reader.lines, *reader.tentative) if line["jobId"] == scene] == wanted
        assert len(reader.lines) == len(wanted) + (90 if reader.path == progress(job_id) else 0)
        assert reader.tentative == []
        assert reader.got[-1].event != "output"
    assert deaf.lines == deaf.tentative == []
    assert deaf.ended


def test_lines_come_also_while_changes_never_pause(gate: Gateway, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_PRINTED_EVERY_S", 0.2)
    film = gate.film().start().plan().scene(1)
    job_id = of(gate, film)
    cursor = client.get(f"/v1/jobs/{job_id}/output").json()["cursor"]
    reader = Reader(progress(job_id), cursor=cursor)
    thread = threading.Thread(target=reader.connect, args=(client,))
    thread.start()
    until(lambda: reader.got)
    gate.printed.print(film.run_id, "movie.render_scene[scene_001]", "hello")
    done = 0
    while not reader.lines:
        done += 1
        film.frame(1, done)
        time.sleep(0.02)
        assert done < 1_000, "no line came while changes did"
    film.fail()
    thread.join(60)


# ---- ends that are not the job's -------------------------------------------------------------------------------------


def test_a_stream_ends_with_its_key_and_tells_nothing_after(gate: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_module, "_ASKED_EVERY_S", 0.2)
    secret = gate.key("team")
    (key,) = gate.deps.accounts.list_keys("team")
    busy, idle = (gate.film(workspace="team").start() for _ in range(2))
    client = gate.client(secret)
    token = client.post(f"/v1/jobs/{of(gate, busy)}/stream-token").json()["token"]
    readers = [
        (Reader(progress(of(gate, busy))), client), (Reader(progress(of(gate, idle))), client),
        (Reader(progress(of(gate, busy)), params={"token": token}), gate.client()),
    ]  # fmt: skip
    threads = [threading.Thread(target=reader.connect, args=(own,)) for reader, own in readers]
    for thread in threads:
        thread.start()
    until(lambda: all(reader.got for reader, _ in readers))
    gate.deps.accounts.revoke(key.id)
    gate.clock.tick(1_001)
    busy.plan().fail()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    assert [len(reader.changes) for reader, _ in readers] == [0, 0, 0]
    assert gate.app.state.hub.streams == 0


def test_a_stream_ends_when_its_job_is_forgotten(gate: Gateway, client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that never reports again: its job's time is over."""
    monkeypatch.setattr(stream_module, "_ASKED_EVERY_S", 0.1)
    made = client.post("/v1/jobs", json={"jobType": "t", "userId": "u", "title": "x", "ttlSeconds": 60}).json()
    reader = Reader(progress(made["jobId"]))
    thread = threading.Thread(target=reader.connect, args=(client,))
    thread.start()
    until(lambda: reader.got)
    gate.clock.tick(60_001)
    thread.join(60)
    assert not thread.is_alive()
    assert [frame.event for frame in reader.got] == ["job.sync"]
    assert gate.client().get(progress(made["jobId"])).status_code == 404


def test_a_stream_counts_as_one_request_however_long_it_lasts(gate: Gateway) -> None:
    client = gate.client(gate.key("team", plan="pro"))
    film = gate.film(workspace="team").start().plan()
    with client.stream("GET", progress(of(gate, film))) as answer:
        before = int(answer.headers["x-ratelimit-remaining"])
        for number in (1, 2, 3):
            film.scene(number).made(number)
        film.join().succeed()
        answer.read()
    assert int(client.get("/v1/me").headers["x-ratelimit-remaining"]) == before - 1


def test_when_a_database_is_away_streams_stay_and_go_on_after(gate: Gateway, client: httpx.Client) -> None:
    film = gate.film().start().plan()
    reader = Reader(progress(of(gate, film)))
    thread = threading.Thread(target=reader.connect, args=(client,))
    thread.start()
    until(lambda: reader.got)
    gate.runs.broken = ConnectionError("away")
    film.scene(1).made(1)
    looked = gate.app.state.hub
    until(lambda: looked.streams == 1)
    time.sleep(0.3)
    gate.runs.broken = None
    film.fail()
    thread.join(60)
    assert (reader.connections, reader.ended) == (1, True)
    assert reader.sequences == list(range(int(reader.syncs[0].id or -1) + 1, int(reader.last or 0) + 1))


def test_a_server_that_is_told_to_stop_ends_its_streams_and_goes(tmp_path: Path) -> None:
    """A process of its own, ended as an operator ends it. It would wait ten minutes for a stream that did not end."""
    argv = [sys.executable, "-m", "tests.servers.gateway", str(tmp_path / "home")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url, job_id = server.stdout.readline().split()
        readers = [Reader(progress(job_id)) for _ in range(3)]
        with httpx.Client(base_url=url, trust_env=False, timeout=60, verify=False) as client:
            threads = [threading.Thread(target=reader.connect, args=(client,)) for reader in readers]
            for thread in threads:
                thread.start()
            until(lambda: all(reader.got for reader in readers))
            server.send_signal(signal.SIGTERM)
            assert server.wait(30) in {0, -signal.SIGTERM}
            for thread in threads:
                thread.join(30)
    assert all(not thread.is_alive() for thread in threads)
    assert [frame.event for reader in readers for frame in reader.got] == ["job.sync"] * 3


def test_a_stream_of_a_job_made_this_moment_by_another_gateway_is_found(database: Database, tmp_path: Path) -> None:
    with gateway(database, tmp_path) as one:
        other = built(database, tmp_path, beside=one)
        with serving(other):
            job_id = new_id()
            one.runs.create(job_id)
            # No tick: as far as the other one's clock goes, it has just looked.
            with other.client().stream("GET", progress(job_id)) as answer:
                assert answer.status_code == 200


def test_the_words_of_a_change_are_json_on_one_line(gate: Gateway, client: httpx.Client) -> None:
    """Whatever is in a message: a line break would end the field, and the reader would see half an object."""
    made = client.post("/v1/jobs", json={"jobType": "t", "userId": "u", "title": "x"}).json()
    odd = "one\ntwo\r\nthree\rfour\u2028five\x85six\x00"
    client.post(f"/v1/jobs/{made['jobId']}/progress", json={"progress": 1, "message": odd.replace("\x00", "")}).raise_for_status()
    client.post(f"/v1/jobs/{made['jobId']}/complete").raise_for_status()
    reader = Reader(progress(made["jobId"]), last="0")
    reader.connect(client)
    assert [json.loads(frame.data)["message"] for frame in reader.changes][1] == odd.replace("\x00", "")
