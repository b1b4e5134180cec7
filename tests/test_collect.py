"""What a provider made is fetched at once, from a fresh address when the first has run out, checked, and stored once by its content."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.puppet import PIXEL, Bench, bench_at, done, image
from tests.servers.media import MediaServer, body, in_turn, media_server, shorter_than_promised, status
from viralsync_pipelines.defs.measured import measure, preview
from viralsync_pipelines.generate.collect import Collected, collect_batch
from viralsync_pipelines.generate.outputs import BadOutput, Facts
from viralsync_pipelines.generate.poll import poll_due
from viralsync_pipelines.generate.submit import submit_batch
from viralsync_pipelines.storage.database import open_database


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    database = open_database(None, tmp_path / "home")
    database.migrate()
    yield bench_at(database, tmp_path / "bench")
    database.close()


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with media_server() as running:
        yield running


def settled(bench: Bench, *seen: Any) -> str:
    """A job whose provider says this when it is asked, again and again; until its end is known."""
    execution = bench.open([image("a")])
    bench.puppet.states["p1"] = list(seen)
    bench.take("ready")
    submit_batch(bench.desk, "batch")
    bench.clock.wait(5_000)
    poll_due(bench.desk, budget_s=10)
    return execution


def collect(bench: Bench) -> list[Collected]:
    bench.take("settled", "fetch")
    return collect_batch(bench.desk, "fetch", bench.work, measure)


def test_a_picture_is_opened_measured_and_stored_by_its_content(bench: Bench, server: MediaServer) -> None:
    server.routes["/a.png"] = server.routes["/b.png"] = body(PIXEL)
    execution = settled(bench, done(server.url("/a.png"), server.url("/b.png")))
    (collected,) = collect(bench)
    result = bench.row(execution, "a").result
    assert result is not None
    assert [(each["mimeType"], each["width"], each["height"]) for each in result["outputs"]] == [("image/png", 1, 1)] * 2
    assert len(list(bench.desk.store.list("media/"))) == 1, "the same bytes are kept once"
    assert json.loads(bench.desk.store.get_bytes(f"outputs/{bench.row(execution, 'a').id}/outputs.json"))["outputs"]
    assert collected.stored[0].name == "output.png"
    assert list(bench.work.glob("generated-*")) == []


@pytest.mark.parametrize("code", [403, 404, 410])
def test_an_address_that_has_run_out_is_asked_for_anew(code: int, bench: Bench, server: MediaServer) -> None:
    server.routes["/old.png"], server.routes["/new.png"] = status(code), body(PIXEL)
    execution = settled(bench, done(server.url("/old.png")), done(server.url("/new.png")))
    assert len(collect(bench)) == 1
    assert bench.row(execution, "a").status == "completed"


def test_what_is_gone_for_good_is_told_as_expired(bench: Bench, server: MediaServer) -> None:
    server.routes["/old.png"] = status(410)
    execution = settled(bench, *[done(server.url("/old.png"))] * 5)
    assert collect(bench) == []
    row = bench.row(execution, "a")
    assert (row.status, (row.error or "").startswith("Completion failed: OUTPUT_EXPIRED")) == ("failed", True)


@pytest.mark.parametrize(
    ("behaviour", "code"),
    [(body(b""), "OUTPUT_EMPTY"), (body(b"<html>not a picture</html>"), "OUTPUT_INVALID"), (body(PIXEL[:40]), "OUTPUT_INVALID")],
    ids=["empty", "a page", "half a picture"],
)  # fmt: skip
def test_what_is_no_picture_is_made_once_more_and_then_refused(behaviour: Any, code: str, bench: Bench, server: MediaServer) -> None:
    server.routes["/a.png"] = behaviour
    execution = settled(bench, done(server.url("/a.png")))
    assert collect(bench) == []
    row = bench.row(execution, "a")
    assert (row.stage, row.tries) == ("ready", 1)
    bench.puppet.default = done(server.url("/a.png"))
    bench.clock.wait(60_000)
    bench.take("ready", "again")
    submit_batch(bench.desk, "again")
    bench.clock.wait(60_000)
    poll_due(bench.desk, budget_s=10)
    collect(bench)
    row = bench.row(execution, "a")
    assert row.status == "failed"
    assert code in (row.error or "")
    assert list(bench.desk.store.list("media/")) == []


def test_a_download_that_breaks_off_is_fetched_again(bench: Bench, server: MediaServer) -> None:
    server.routes["/a.png"] = in_turn(shorter_than_promised(PIXEL[:20], len(PIXEL)), body(PIXEL))
    execution = settled(bench, done(server.url("/a.png")))
    assert len(collect(bench)) == 1
    assert (bench.row(execution, "a").status, len(server.seen)) == ("completed", 2)


def test_a_store_that_fails_leaves_what_was_made_to_be_fetched_later(bench: Bench, server: MediaServer) -> None:
    from viralsync_pipelines.errors import StoreError
    from viralsync_pipelines.generate.leases import let_go

    server.routes["/a.png"] = body(PIXEL)
    execution = settled(bench, done(server.url("/a.png")))

    class Full(type(bench.desk.store)):  # type: ignore[misc]
        def put_file(self, *args: Any, **named: Any) -> Any:
            raise StoreError("the disk is full", code="DISK_FULL")

    whole = bench.desk
    bench.desk = replace(whole, store=Full(bench.work / "store"))
    assert collect(bench) == []
    assert bench.row(execution, "a").stage == "collecting"
    bench.desk = whole
    bench.clock.wait(30 * 60_000)
    let_go(bench.desk)
    assert len(collect(bench)) == 1


def test_a_file_that_breaks_us_loses_none_of_the_others(bench: Bench, server: MediaServer) -> None:
    server.routes["/a.png"] = body(PIXEL)
    server.routes["/b.png"] = body(PIXEL + b"b")
    bench.open([image("a"), image("b")])
    bench.puppet.states |= {"p1": done(server.url("/a.png")), "p2": done(server.url("/b.png"))}
    bench.take("ready")
    submit_batch(bench.desk, "batch")
    bench.clock.wait(5_000)
    poll_due(bench.desk, budget_s=10)

    def breaking(path: Path, wanted: str) -> Any:
        if path.read_bytes() == PIXEL:
            raise OSError("no space left on device")
        return bench.facts(path, wanted)

    bench.take("settled", "both")
    (one,) = collect_batch(bench.desk, "both", bench.work, breaking)
    assert one.stored[0].size == len(PIXEL) + 1


def test_what_is_measured_is_judged_by_what_was_ordered(tmp_path: Path) -> None:
    file = tmp_path / "x"
    file.write_bytes(PIXEL)
    assert measure(file, "image") == Facts("image", "image/png", "png", 1, 1, None)
    with pytest.raises(BadOutput, match="video was ordered"):
        measure(file, "video")
    shown = preview(file, measure(file, "image"))
    assert shown is not None
    assert shown.startswith(b"\xff\xd8")
