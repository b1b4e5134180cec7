"""`make bench-generate`: thousands of jobs that wait at a provider, on SQLite and PostgreSQL. Prints tables.

Polling: ten thousand waiting rows, one look of the sensor with a thousand of them due, and with none. Webhooks: five hundred a second to one
gateway process. And what the same waits cost as blocking ops of Dagster. Walls are of a machine that others may be working on too.
BENCH_STORAGES (sqlite,postgres), BENCH_GENERATE (poll,intake,blocking), BENCH_ROWS (10000), BENCH_DUE (1000), BENCH_RATE (500),
BENCH_SECONDS (20), BENCH_WAITS (20) say what is measured.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from standardwebhooks import Webhook

from tests.bench.generate_provider import ROOT, SECRET, light_provider
from tests.bench.generate_rows import fill, make_due
from tests.bench.jobs_process import cpu_seconds, memory_mb, table, told
from tests.bench.tree import children_of
from tests.reels import environ
from tests.servers.postgres import postgres_server
from tests.servers.stack import stack
from viralsync_pipelines.defs.generations import collect_generations, submit_generations
from viralsync_pipelines.defs.kit import Kit, new_kit
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.records import Record

ROWS, DUE = int(os.environ.get("BENCH_ROWS", "10000")), int(os.environ.get("BENCH_DUE", "1000"))
RATE, SECONDS = float(os.environ.get("BENCH_RATE", "500")), float(os.environ.get("BENCH_SECONDS", "20"))
WAITS = int(os.environ.get("BENCH_WAITS", "20"))
# How long the blocking ops are watched, once all of them wait.
WATCHED_S = 60.0


def main() -> None:
    parts = os.environ.get("BENCH_GENERATE", "poll,intake,blocking").split(",")
    polls: list[tuple[object, ...]] = []
    idle: list[tuple[object, ...]] = []
    intake: list[tuple[object, ...]] = []
    with light_provider() as provider:
        for storage in os.environ.get("BENCH_STORAGES", "sqlite,postgres").split(","):
            with _place(storage, provider) as (folder, url):
                if "poll" in parts:
                    _polling(storage, polls, idle)
                if "intake" in parts:
                    intake.append(_intake(storage, folder, url, provider))
        if polls:
            head = ["storage", "1,000 due", "seconds", "polls/s", "CPU s", "CPU ms a poll", "load"]
            table(f"One look of the sensor: {ROWS:,} rows wait, {DUE:,} are due", head, polls)
            table(f"One look of the sensor: {ROWS:,} rows wait, none is due", ["storage", "n", "median ms", "CPU ms, mean", "load"], idle)
        if intake:
            head = ["storage", "sent", "sent/s", "median ms", "p90 ms", "worst ms", "gateway CPU ms each", "answers", "sender late, median ms", "read in the end", "load"]
            table(f"Signed webhooks, {RATE:.0f} a second for {SECONDS:.0f} s, to one gateway process", head, intake)
        if "blocking" in parts:
            _side_by_side(provider)


@contextmanager
def _place(storage: str, provider: str) -> Iterator[tuple[Path, str | None]]:
    """A home in the environment of this process, with its tables."""
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="viralsync-bench-", ignore_cleanup_errors=True)))
        url = opened.enter_context(postgres_server()) if storage == "postgres" else None
        for name in ("DATABASE_URL", "DAGSTER_HOME"):
            os.environ.pop(name, None)
        os.environ["VIRALSYNC_HOME"] = str(folder / "home")
        os.environ["SANDBOX_BASE_URL"] = provider
        if url is not None:
            os.environ["DATABASE_URL"] = url
        yield folder, url


@contextmanager
def _kit() -> Iterator[Kit]:
    from viralsync_pipelines.defs.instance import open_instance
    from viralsync_pipelines.defs.resources import settings_now
    from viralsync_pipelines.storage.database import open_database

    settings = settings_now()
    database = open_database(settings.database_url, settings.home)
    database.migrate()
    database.close()
    with open_instance(settings, os.environ) as instance:
        kit = new_kit(instance)
        try:
            yield kit
        finally:
            kit.close()


def _load() -> str:
    return f"{os.getloadavg()[0]:.1f}"


# ---- polling ---------------------------------------------------------------------------------------------------------


def _polling(storage: str, polls: list[tuple[object, ...]], idle: list[tuple[object, ...]]) -> None:
    from viralsync_pipelines.defs.generating import tick_with

    with _kit() as kit:
        began = time.monotonic()
        ids = fill(kit.desk, ROWS)
        told(f"{storage}: {ROWS} rows in {time.monotonic() - began:.0f} s")
        step = max(1, ROWS // DUE)
        due = [ids[place : place + step][0] for place in range(0, ROWS, step)][:DUE]

        def look() -> None:
            tick_with(kit, submit_generations.name, collect_generations.name)

        look()
        for what, done in (("all at work", 0), ("all at work, again", 0), ("a tenth done", DUE // 10)):
            make_due(kit.desk, due, done=done)
            wall, cpu = _measured(look)
            polls.append((storage, what, wall, len(due) / wall, cpu, f"{1000 * cpu / len(due):.2f}", _load()))
        took = [_measured(look) for _ in range(20)]
        idle.append((storage, len(took), 1000 * statistics.median(wall for wall, _ in took), 1000 * statistics.mean(cpu for _, cpu in took), _load()))


def _measured(call: Callable[[], object]) -> tuple[float, float]:
    """Wall and CPU seconds of this process, all of its threads."""
    wall, cpu = time.perf_counter(), time.process_time()
    call()
    return time.perf_counter() - wall, time.process_time() - cpu


# ---- webhooks --------------------------------------------------------------------------------------------------------


def _intake(storage: str, folder: Path, url: str | None, provider: str) -> tuple[object, ...]:
    count = int(RATE * SECONDS)
    with stack(folder / "intake", database_url=url, start=(), SANDBOX_BASE_URL=provider) as servers:
        os.environ["VIRALSYNC_HOME"] = str(servers.home)
        # As the gateway has it: an address of another base has another signature.
        servers.environment = {**servers.environment, "SANDBOX_BASE_URL": provider}
        os.environ["VIRALSYNC_LOCAL_URL"] = servers.api
        os.environ.pop("DAGSTER_HOME", None)
        with _kit() as kit:
            ids = fill(kit.desk, count, strategy="webhook")
            servers.start("web", "gateway")
            servers.wait_ready()
            _warm_up(kit.desk, servers.api_port, folder)
            file = folder / "webhooks.json"
            file.write_text(json.dumps(_webhooks(kit.desk, ids)))
            pid = servers.processes["gateway"].pid
            before = cpu_seconds(pid)
            said = _sent(servers.api_port, RATE, file)
            cpu = 1000 * (cpu_seconds(pid) - before) / count
            load = _load()
            read = _reading(kit, count)
    slip = f"{said['slip_median']:.1f}"
    return (
        storage, count, said["rate"], said["median"], said["p90"], said["worst"], cpu, str(said["statuses"]), slip, read, load,
    )  # fmt: skip


def _webhooks(desk: Desk, ids: list[str]) -> list[dict[str, Any]]:
    """Of each job its end, as the sandbox would send it now."""
    from viralsync_pipelines.generate import records

    with desk.ledger.database.reading() as connection:
        return [_webhook(desk, record) for record in records.several(connection, ids).values()]


def _webhook(desk: Desk, record: Record) -> dict[str, Any]:
    address = desk.webhook_url(record, record.submits)
    assert address is not None
    body = json.dumps({
        "id": record.provider_job_id, "status": "succeeded", "output": f"http://127.0.0.1:9/{record.id}.mp4", "error": None, "logs": "x" * 300,
        "input": {"prompt": "waves"}, "metrics": {"predict_time": 2.5},
    })  # fmt: skip
    at = datetime.now(UTC)
    name = f"msg_{record.id}"
    signature = Webhook(SECRET).sign(name, at, body)
    headers = {"content-type": "application/json", "webhook-id": name, "webhook-timestamp": str(int(at.timestamp())), "webhook-signature": signature}
    return {"path": address[address.index("/api/") :], "headers": headers, "body": body}


def _warm_up(desk: Desk, port: int, folder: Path) -> None:
    """The signature's key is fetched with the first; fifty more for the rest."""
    file = folder / "warm.json"
    file.write_text(json.dumps(_webhooks(desk, fill(desk, 50, strategy="webhook"))))
    _sent(port, 100, file)


def _sent(port: int, rate: float, file: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.generate_intake", str(port), str(rate), str(file)]
    said: dict[str, Any] = json.loads(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout)
    return said


def _reading(kit: Kit, count: int) -> str:
    """How long it takes after the last answer until every webhook has settled its job, by the gateway alone."""
    from sqlalchemy import func, select

    from viralsync_pipelines.generate.records import row

    began = time.monotonic()
    while True:
        with kit.database.reading() as connection:
            settled = connection.execute(select(func.count()).select_from(row.id.table).where(row.stage == "settled")).scalar_one()
        if settled >= count + 50 or time.monotonic() > began + 60:
            return f"{settled - 50} settled {time.monotonic() - began:.0f} s after"
        time.sleep(1)


# ---- side by side ----------------------------------------------------------------------------------------------------


def _side_by_side(provider: str) -> None:
    run, steps, cpu, begun = _blocking(provider)
    rows_memory, rows_cpu = _as_rows(provider)
    head = ["how", "waits", "processes", "MB", "CPU s a minute", "CPU s to begin"]
    table(
        f"Waits as blocking ops of Dagster (measured with {WAITS}) and as rows, polled alike", head,
        [
            ("blocking ops, measured", WAITS, WAITS + 1, run + steps, f"{cpu:.2f}", begun),
            ("blocking ops, extrapolated", 1000, 1001, run + 1000 * steps / WAITS, f"{1000 * cpu / WAITS:.1f}", 1000 * begun / WAITS),
            ("rows of the ledger, measured", 1000, 0, rows_memory, f"{rows_cpu:.2f}", 0.0),
        ],
    )  # fmt: skip


def _blocking(provider: str) -> tuple[float, float, float, float]:
    """MB of the run's own process and of its steps, their CPU seconds in a minute of waiting, and before."""
    with tempfile.TemporaryDirectory(prefix="viralsync-bench-", ignore_cleanup_errors=True) as name:
        home = Path(name)
        (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        env = environ(home, DAGSTER_HOME=str(home), BENCH_PROVIDER=provider, BENCH_WAITS=str(WAITS), BENCH_JOB=f"late-{time.time() + 3600:.0f}")
        process = subprocess.Popen([sys.executable, "-m", "tests.bench.generate_blocking"], cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        try:
            deadline = time.monotonic() + 600
            while (home / "history").is_dir() is False or _waiting(home) < WAITS:
                assert process.poll() is None, "the blocking job ended"
                assert time.monotonic() < deadline, "the blocking ops do not begin"
                time.sleep(1)
            time.sleep(5)
            tree = [process.pid, *children_of(process.pid)]
            begun, before = _cpu_of(tree), time.monotonic()
            time.sleep(WATCHED_S)
            cpu = (_cpu_of(tree) - begun) * 60 / (time.monotonic() - before)
            return memory_mb(tree[0]), sum(map(memory_mb, tree[1:])), cpu, begun
        finally:
            for pid in (process.pid, *children_of(process.pid)):
                _end(pid)
            process.wait()


def _waiting(home: Path) -> int:
    """Ops that have asked for the first time."""
    import sqlite3

    count = 0
    for file in (home / "history" / "runs").glob("*-*.db"):
        # It may be being made.
        with suppress(sqlite3.OperationalError), closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as events:
            asked = "select count(distinct step_key) from event_logs where event like '%not yet%'"
            count += events.execute(asked).fetchone()[0]
    return count


def _cpu_of(pids: list[int]) -> float:
    total = 0.0
    for pid in pids:
        try:
            total += cpu_seconds(pid)
        except OSError:
            continue
    return total


def _end(pid: int) -> None:
    import signal

    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def _as_rows(provider: str) -> tuple[float, float]:
    """MB that a thousand waiting rows add to the process that polls them, and its CPU seconds in a minute: twelve looks, and polls as
    often as the ops ask, which is after 5 s, 7.5 s, 11.25 s and so on."""
    from viralsync_pipelines.defs.generating import tick_with

    with _place("sqlite", provider), _kit() as kit:
        def look() -> None:
            tick_with(kit, submit_generations.name, collect_generations.name)

        look()
        before = memory_mb(os.getpid())
        ids = fill(kit.desk, 1000)
        cpu = 0.0
        # In a minute of the ops: at 5, 12.5, 23.75 and 40.6 s.
        for tick in range(12):
            if tick in {1, 2, 4, 8}:
                make_due(kit.desk, ids)
            cpu += _measured(look)[1]
        return max(0.0, memory_mb(os.getpid()) - before), cpu


if __name__ == "__main__":
    sys.exit(main())
