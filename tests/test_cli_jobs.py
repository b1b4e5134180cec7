"""`viralsync jobs`: what each command asks of the gateway, what it prints, and its exit codes."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.servers.api import JOB, Api, Cut, Exchange, Stream, Told, answer, api_server, history, in_turn, job, nobody, stalling
from tests.servers.gateway import MOVIE, gateway
from viralsync_pipelines.cli.job_watch import Bars, Lines
from viralsync_pipelines.cli.main import main
from viralsync_pipelines.client import Event, OutputLine
from viralsync_pipelines.client.reading import job_of
from viralsync_pipelines.storage.database import Database

Run = Callable[..., tuple[int, str, str]]
NOW = datetime(2026, 4, 2, 10, 1, tzinfo=UTC)
SCENES = [
    job("done", 1.0, f"scene_{JOB}_001", type="render.scene", parentJobId=JOB, childIndex=0, sequence=3),
    job("failed", 0.4, f"scene_{JOB}_002", type="render.scene", parentJobId=JOB, childIndex=1, error="SCENE_RENDER_FAILED: s2: no picture\nmore", sequence=4),
]
FAILED = job(
    "failed", 0.7, title="My \x1b[31mfilm", children={"total": 2, "succeeded": 1, "running": 0, "queued": 0, "failed": 1, "cancelled": 0},
    error="SCENE_RENDER_FAILED: s2: no picture", attempt=2, startedAt="2026-04-02T10:00:01.000Z", finishedAt="2026-04-02T10:00:31.000Z",
    attempts=[{"attempt": 1, "status": "cancelled", "startedAt": "2026-04-02T09:00:00.000Z", "finishedAt": "2026-04-02T09:00:05.000Z", "error": None, "runId": "a"},
              {"attempt": 2, "status": "failed", "startedAt": "2026-04-02T10:00:01.000Z", "finishedAt": "2026-04-02T10:00:31.000Z", "error": "SCENE_RENDER_FAILED: s2", "runId": "b"}],
    links={"self": f"http://127.0.0.1:3000/v1/jobs/{JOB}", "dagster": "http://127.0.0.1:3001/runs/b"}, sequence=9,
)  # fmt: skip


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[Api]:
    with api_server() as server:
        monkeypatch.setenv("VIRALSYNC_API_URL", server.url)
        monkeypatch.setenv("COLUMNS", "200")
        yield server


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    """One command in this process: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(["jobs", *words])
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return command


# ---- list ------------------------------------------------------------------------------------------------------------


def test_list_is_a_table_of_what_was_asked_for(api: Api, run: Run) -> None:
    waiting = job("queued", 0, "job_000000000002", queue={"position": 2, "total": 7, "queueName": "default"}, title="Two")
    api.routes["GET /v1/jobs"] = answer(200, {"jobs": [job("running", 0.62, phase="rendering", title="One"), waiting], "nextCursor": None})
    status, out, err = run("list", "--status", "running,queued", "--type", "render", "--project", "p", "--channel", "c", "--parent", JOB,
                           "--since", "2026-04-01", "--until", "2026-05-01", "-n", "5")  # fmt: skip
    assert (status, err) == (0, "")
    assert api.asked[0].query == {"limit": "6", "status": "running,queued", "type": "render", "projectId": "p", "channel": "c", "parent": JOB, "from": "2026-04-01", "to": "2026-05-01"}
    head, first, second = out.splitlines()
    assert head.split() == ["job", "type", "status", "phase", "progress", "age", "title"]
    assert [first.split()[n] for n in (0, 1, 2, 3)] == [JOB, "render.movie", "running", "rendering"]
    assert "62%" in first
    assert "━" in first
    assert first.rstrip().endswith("One")
    assert "number 2 of 7" in second


def test_list_says_when_there_are_older_ones_and_when_there_are_none(api: Api, run: Run) -> None:
    api.routes["GET /v1/jobs"] = answer(200, {"jobs": [job(job_id=f"job_{n:012d}") for n in range(3)], "nextCursor": "x"})
    _, out, _ = run("list", "-n", "2")
    assert "job_000000000002" not in out
    assert "--limit" in out
    assert json.loads(run("list", "-n", "2", "--json")[1])["more"] is True
    api.routes["GET /v1/jobs"] = answer(200, {"jobs": [], "nextCursor": None})
    assert "viralsync jobs submit" in run("list")[1]
    assert json.loads(run("list", "--json")[1]) == {"jobs": [], "more": False}


# ---- show ------------------------------------------------------------------------------------------------------------


def test_show_tells_everything_and_nothing_moves_the_cursor(api: Api, run: Run) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, FAILED)
    api.routes[f"GET /v1/jobs/{JOB}/children"] = answer(200, {"parent": FAILED, "jobs": SCENES})
    status, out, _ = run("show", JOB)
    assert status == 0
    assert "\x1b" not in out, "a title is text, not commands to the terminal"
    for words in ("My \N{REPLACEMENT CHARACTER}[31mfilm", JOB, "failed", "70%", "1/2, 1 failed", "SCENE_RENDER_FAILED: s2: no picture", "scene 2",
                  f"scene_{JOB}_002", "attempts", "cancelled", "30 s", "http://127.0.0.1:3001/runs/b"):  # fmt: skip
        assert words in out, words
    found = json.loads(run("show", JOB, "--json")[1])
    assert (found["job"], found["children"]) == (FAILED, SCENES)


def test_show_tells_stage_queue_and_time_left(api: Api, run: Run) -> None:
    running = job(
        "waiting", 0.4, phase="rendering", stage={"name": "scenes", "current": 3, "total": 5, "description": ""}, message="half way", cancelRequestedAt="2026-04-02T10:00:00.000Z",
        eta={"at": "2026-04-02T10:00:00.000Z", "p50Ms": 1, "p90Ms": 2, "basis": 9, "confidence": 0.5, "longerThanUsual": True},
    )  # fmt: skip
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, running)
    out = run("show", JOB)[1]
    for words in ("rendering · scenes 3/5", "half way", "longer than usual", "asked for"):
        assert words in out, words
    soon = datetime.now(UTC).replace(microsecond=0).timestamp() + 3600 * 2.5
    running["eta"] = {"at": datetime.fromtimestamp(soon, UTC).isoformat()}
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, running)
    assert "about 2 h left" in run("show", JOB)[1]


# ---- watch -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("end", "code"), [("done", 0), ("failed", 1), ("cancelled", 130)])
def test_watch_prints_lines_without_a_terminal_and_tells_the_end_by_its_exit_code(api: Api, run: Run, end: str, code: int) -> None:
    told = history(12, end)
    told[-1].job.update(outputUrl="http://x/output.mp4" if end == "done" else None, error="WHY: because" if end == "failed" else None)
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job())
    api.routes[f"GET /v1/jobs/{JOB}/progress"] = Stream(told, [Cut(now=0.3, share=0.6)], retry_ms=1)
    status, out, _ = run("watch", JOB)
    lines = out.splitlines()
    assert status == code
    last = lines[-2] if end == "done" else lines[-1]
    assert JOB in last
    assert end in last
    assert lines[-1] == "http://x/output.mp4" if end == "done" else True
    assert ("WHY: because" in last) == (end == "failed")
    assert len(lines) < len(told), "not each per cent is news"


def test_watch_as_json_is_a_line_for_each_event(api: Api, run: Run) -> None:
    told = history(6)
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job())
    api.routes[f"GET /v1/jobs/{JOB}/progress"] = Stream(told, [Cut(now=0.2)])
    status, out, _ = run("watch", JOB, "--json")
    events = [json.loads(line) for line in out.splitlines()]
    assert status == 0
    assert [event["sequence"] for event in events] == [1, 2, 3, 4, 5, 6]
    assert events[0]["name"] == "job.sync"
    assert events[-1]["job"] == told[-1].job


def test_watch_with_output_prints_what_was_printed_before_too(api: Api, run: Run) -> None:
    told = history(3)
    early = {"jobId": JOB, "step": "plan", "stream": "stdout", "text": "early"}
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job())
    api.routes[f"GET /v1/jobs/{JOB}/output"] = in_turn(answer(200, {"output": [early], "cursor": "c"}), answer(200, {"output": [], "cursor": "d"}))
    late = b'event: output\ndata: {"jobId": "x", "step": "scene", "stream": "stdout", "text": "la\\u001bte", "cursor": "d"}\n\n'

    def play(x: Exchange) -> None:
        x.open_stream()
        x.chunk(Told(1, "job.sync", told[0].job).frame() + late + told[1].frame() + told[2].frame())
        x.end_stream()

    api.routes[f"GET /v1/jobs/{JOB}/progress"] = play
    lines = run("watch", JOB, "--output")[1].splitlines()
    assert [line for line in lines if ": " in line] == ["plan: early", "scene: la\N{REPLACEMENT CHARACTER}te"]


def test_ctrl_c_ends_the_watching_and_not_the_job(api: Api, tmp_path: Path) -> None:
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job())
    api.routes[f"GET /v1/jobs/{JOB}/progress"] = stalling([Told(1, "job.sync", job()).frame()])
    process = subprocess.Popen(
        [sys.executable, "-m", "viralsync_pipelines.cli.main", "jobs", "watch", JOB], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
        env={**os.environ, "VIRALSYNC_API_URL": api.url},
    )  # fmt: skip
    assert process.stdout is not None
    assert JOB in process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"viralsync jobs cancel {JOB}" in err
    assert "Traceback" not in out + err
    assert all(asked.method == "GET" for asked in api.asked)


def _event(sequence: int, found: dict[str, Any], name: str = "job.progress") -> Event:
    return Event(sequence, name, job_of({**found, "sequence": sequence}))


def _drawn(bars: Bars, width: int = 120, height: int = 30) -> str:
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(bars.picture())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_bars_show_children_and_the_whole() -> None:
    bars = Bars(lambda: NOW, Console(file=io.StringIO(), width=120, height=30))
    running = job("waiting", 0.5, phase="rendering", title="A film", eta={"at": "2026-04-02T10:01:30.000Z"})
    bars.begin(job_of(running), [job_of(scene) for scene in SCENES])
    drawn = _drawn(bars).splitlines()
    assert "scene 1" in drawn[0]
    assert "100%" in drawn[0]
    assert "no picture" in drawn[1]
    assert "A film" in drawn[2]
    assert "rendering" in drawn[2]
    assert "about 30 s left" in drawn[2]
    bars.event(_event(7, {**SCENES[1], "status": "running", "progress": 0.6, "error": None}, "child.progress"))
    bars.event(_event(5, {**SCENES[1], "progress": 0.1}, "child.progress"))
    assert "60%" in _drawn(bars).splitlines()[1], "a change from before the children were read takes nothing back"
    bars.event(_event(8, {**running, "status": "failed", "error": "X: y\nz"}, "job.failed"))
    assert _drawn(bars).splitlines()[-2:] == ["X: y", "z"]


def test_bars_fit_any_terminal() -> None:
    bars = Bars(lambda: NOW, Console(file=io.StringIO(), width=60, height=12))
    states = ["done"] * 50 + ["running", "failed"] + ["queued"] * 50
    bars.begin(job_of(job()), [job_of(job(state, 0.5, f"scene_{JOB}_{n:03d}", type="render.scene", childIndex=n)) for n, state in enumerate(states)])
    drawn = _drawn(bars, 60, 12).splitlines()
    assert len(drawn) <= 10
    assert any("scene 51" in line for line in drawn), "what is at work is shown first"
    assert any("and 97 more" in line for line in drawn)
    assert all(len(line) <= 60 for line in drawn)


def test_in_a_terminal_watch_draws_bars(api: Api, tmp_path: Path) -> None:
    pty = pytest.importorskip("pty")
    told = history(6)
    children = {"total": 1, "succeeded": 0, "running": 1, "queued": 0, "failed": 0, "cancelled": 0}
    for each in told:
        each.job.update(children=children if each.name != "child.progress" else None, title="A film")
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job())
    api.routes[f"GET /v1/jobs/{JOB}/children"] = answer(200, {"parent": job(), "jobs": [job(job_id=f"scene_{JOB}_001")]})
    api.routes[f"GET /v1/jobs/{JOB}/progress"] = Stream(told, [Cut(now=0.2)])
    near, far = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "viralsync_pipelines.cli.main", "jobs", "watch", JOB], stdout=far, stderr=far, cwd=tmp_path,
        env={**os.environ, "VIRALSYNC_API_URL": api.url, "TERM": "xterm-256color", "COLUMNS": "120", "LINES": "30"},
    )  # fmt: skip
    os.close(far)
    drawn = b""
    while True:
        try:
            data = os.read(near, 65536)
        except OSError:
            break
        if not data:
            break
        drawn += data
    os.close(near)
    assert process.wait(60) == 0
    text = drawn.decode()
    assert "━" in text
    assert "A film" in text
    assert "\x1b[?25h" in text, "the cursor is given back"


def test_lines_are_news_only() -> None:
    said = io.StringIO()
    lines = Lines(lambda: NOW)
    stdout, sys.stdout = sys.stdout, said
    try:
        lines.begin(job_of(job()), [job_of(scene) for scene in SCENES])
        for n in range(100):
            lines.event(_event(10 + n, job("running", 0.5 + n / 1000)))
        lines.event(_event(200, SCENES[0], "child.progress"))
        lines.event(_event(201, {**SCENES[1], "status": "done", "error": None}, "child.progress"))
        lines.line(OutputLine(JOB, "s", "stdout", "hello"))
    finally:
        sys.stdout = stdout
    told = said.getvalue().splitlines()
    assert len(told) == 3, "one of the job's own, one of the scene that ended, one printed"
    assert told[1].split()[1:3] == [f"scene_{JOB}_002", "done"]


# ---- cancel, retry, open, submit -------------------------------------------------------------------------------------


def test_cancel_and_retry_say_what_became_of_it(api: Api, run: Run) -> None:
    api.routes[f"POST /v1/jobs/{JOB}/cancel"] = answer(202, {"jobId": JOB, "status": "running", "cancelRequestedAt": "2026-04-02T10:00:00.000Z"})
    assert run("cancel", JOB, "--force")[:2] == (0, f"{JOB} was asked to end; it is running\n")
    assert api.asked[-1].query == {"force": "true"}
    assert json.loads(run("cancel", JOB, "--json")[1])["cancelRequestedAt"] == "2026-04-02T10:00:00.000Z"
    api.routes[f"POST /v1/jobs/{JOB}/retry"] = answer(202, {"jobId": JOB, "status": "queued", "attempt": 3})
    status, out, _ = run("retry", JOB, "--scope", "all", "--set", "price=39", "--set", "who=you")
    assert (status, api.asked[-1].body) == (0, {"scope": "all", "set": {"price": 39, "who": "you"}})
    assert "attempt 3" in out
    run("retry", JOB)
    assert api.asked[-1].body == {"scope": "failed"}


def test_open_shows_the_output_or_else_the_run(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda url: bool(opened.append(url)) or True)
    done = job("done", 1.0, outputUrl=f"{api.url}/v1/jobs/{JOB}/files/output.mp4", links={"dagster": "http://127.0.0.1:3001/runs/b"})
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, done)
    assert run("open", JOB)[:2] == (0, done["outputUrl"] + "\n")
    assert run("open", JOB, "--dagster", "--print")[1] == "http://127.0.0.1:3001/runs/b\n"
    assert json.loads(run("open", JOB, "--json")[1]) == {"url": done["outputUrl"]}
    assert opened == [done["outputUrl"]], "only what is not printed is opened"
    api.routes[f"POST /v1/jobs/{JOB}/stream-token"] = answer(201, {"token": "tok", "expiresAt": None, "url": "u"})
    run("open", JOB, "--key", "vs_prod_secret")
    assert opened[-1] == done["outputUrl"] + "?token=tok", "a browser sends no key"
    done["outputUrl"] = "https://cdn.example.com/x.mp4"
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, done)
    run("open", JOB, "--key", "vs_prod_secret")
    assert opened[-1] == "https://cdn.example.com/x.mp4", "a token of ours is nobody else's business"
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job("queued", 0))
    status, _, err = run("open", JOB)
    assert (status, "NO_OUTPUT" in err) == (1, True)


def test_submit_prints_the_id_and_may_watch(api: Api, run: Run, tmp_path: Path) -> None:
    (tmp_path / "movie.json").write_text(json.dumps(MOVIE))
    api.routes["POST /v1/render/jobs"] = answer(202, {"jobId": JOB, "status": "queued"})
    status, out, err = run("submit", "movie.json", "--set", "price=39", "--project", "p", "--preset", "fast", "--priority", "high", "--draft")
    assert (status, out) == (0, f"{JOB}\n")
    assert "viralsync jobs watch" in err
    assert api.asked[0].body == {"kind": "movie", "projectId": "p", "movie": MOVIE, "variables": {"price": 39}, "priority": "high", "draft": True, "renderOptions": {"qualityPreset": "fast"}}
    assert json.loads(run("submit", "movie.json", "--json")[1]) == {"jobId": JOB, "status": "queued"}
    api.routes[f"GET /v1/jobs/{JOB}"] = answer(200, job())
    api.routes[f"GET /v1/jobs/{JOB}/progress"] = Stream(history(4, "failed"))
    assert run("submit", "movie.json", "--watch")[0] == 1


def test_a_refused_movie_is_told_like_one_that_is_rendered_here(api: Api, run: Run, tmp_path: Path) -> None:
    (tmp_path / "movie.json").write_text("{}")
    problem = {"pointer": "/movie/scenes/0/duration", "code": "VALUE_OUT_OF_RANGE", "message": "0 is too short"}
    api.routes["POST /v1/render/jobs"] = answer(400, {"error": "1 problem", "code": "VALIDATION_ERROR", "problems": [problem]})
    status, _, err = run("submit", "movie.json")
    assert status == 2
    assert "/scenes/0/duration" in err
    assert "/movie/scenes" not in err
    assert json.loads(run("submit", "movie.json", "--json")[1])["problems"] == [{**problem, "pointer": "/scenes/0/duration"}]


# ---- what goes wrong -------------------------------------------------------------------------------------------------

EVERY = [("list",), ("show", JOB), ("watch", JOB), ("cancel", JOB), ("retry", JOB), ("open", JOB)]


@pytest.mark.parametrize("words", EVERY, ids=[words[0] for words in EVERY])
def test_without_a_gateway_one_sentence_says_what_to_do(run: Run, words: tuple[str, ...]) -> None:
    url = nobody()
    status, out, err = run(*words, "--url", url)
    assert (status, out, err.count("\n")) == (3, "", 1)
    assert "`viralsync up`" in err
    assert url in err
    status, out, err = run(*words, "--url", url, "--json")
    assert (status, err, json.loads(out)["code"]) == (3, "", "GATEWAY_UNREACHABLE")


@pytest.mark.parametrize(("status", "code", "exit_code"), [(404, "JOB_NOT_FOUND", 2), (400, "UNKNOWN_FILTER", 2), (401, "UNAUTHORIZED", 3), (403, "FORBIDDEN", 3),
                                                           (409, "INVALID_STATE", 1), (402, "PLAN_LIMIT_EXCEEDED", 1)])  # fmt: skip
def test_what_the_gateway_refuses_is_told_in_its_words(api: Api, run: Run, status: int, code: str, exit_code: int) -> None:
    api.routes[f"POST /v1/jobs/{JOB}/cancel"] = answer(status, {"error": "these words", "code": code})
    got, _, err = run("cancel", JOB)
    assert (got, err) == (exit_code, f"{code}: these words\n")
    assert json.loads(run("cancel", JOB, "--json")[1]) == {"error": "these words", "code": code}


def test_the_key_comes_from_the_environment_or_the_command_line(api: Api, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    api.routes["GET /v1/jobs"] = answer(200, {"jobs": [], "nextCursor": None})
    run("list")
    monkeypatch.setenv("VIRALSYNC_API_KEY", "vs_prod_env")
    run("list")
    run("list", "--key", "vs_prod_word")
    assert [asked.headers.get("x-api-key") for asked in api.asked] == [None, "vs_prod_env", "vs_prod_word"]
    assert run("list", "--url", "nonsense")[0] == 3


@pytest.mark.parametrize("words", [(), ("lst",), ("show",), ("list", "-n", "0"), ("list", "-n", "x"), ("retry", JOB, "--scope", "some"), ("retry", JOB, "--set", "x"), ("show", "../me")])
def test_wrong_arguments_are_told(api: Api, run: Run, words: tuple[str, ...]) -> None:
    status, _, err = run(*words)
    assert status == 2
    assert err.count("\n") == 1
    assert api.asked == []


def test_help_tells_every_command_and_exit_code_and_loads_nothing(run: Run, tmp_path: Path) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for word in ("list", "show", "watch", "cancel", "retry", "open", "submit", "130", "VIRALSYNC_API_URL"):
        assert word in out
    probe = "import sys\nfrom viralsync_pipelines.cli.main import main\ntry: main(['jobs', 'watch', '--help'])\nexcept SystemExit: pass\nprint([m for m in ('httpx', 'dagster', 'pydantic', 'rich') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"


# ---- the real gateway ------------------------------------------------------------------------------------------------


def test_every_command_against_the_real_gateway(database: Database, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "movie.json").write_text(json.dumps(MOVIE))
    monkeypatch.setenv("COLUMNS", "200")
    with gateway(database, tmp_path) as real:
        monkeypatch.setenv("VIRALSYNC_API_URL", real.url)
        _, out, _ = run("submit", "movie.json", "--priority", "high")
        job_id = out.strip()
        assert job_id in run("list", "--status", "queued")[1]

        def live() -> None:
            for step in real.film_of(job_id).steps():
                step()
                time.sleep(0.01)

        thread = threading.Thread(target=live)
        thread.start()
        status, out, _ = run("watch", job_id)
        thread.join()
        assert (status, out.splitlines()[-1]) == (0, f"{real.url}/v1/jobs/{job_id}/files/output.mp4")
        assert "  s3 " in run("show", job_id)[1]
        assert run("cancel", job_id)[0] == 1
        assert run("retry", job_id)[0] == 1, "nothing of it failed"
        assert "attempt 2" in run("retry", job_id, "--set", "who=you")[1]
        assert "is cancelled" in run("cancel", job_id)[1]
        assert run("watch", job_id)[0] == 130
        assert run("open", job_id, "--print")[1].startswith("http://127.0.0.1:3001/runs/")
        assert run("list", "--type", "nonsense", "--status", "nonsense")[0] == 2
