"""What a render does when it is killed, cancelled, starved or lied to: nothing survives it, nothing half-made is kept, and the
next run takes up where it ended.

Runs here are real: `viralsync render` is the run worker, with Dagster's forkserver and a process for every step.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.reels import alive, changed, clip, command, end, environ, files, packets, picture, reel, rendered, start, viralsync, wait_until
from viralsync_pipelines.defs.instance import dagster_home, open_instance
from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.defs.studio import Studio, open_studio
from viralsync_pipelines.errors import MovieInvalid, SceneFailed, SourceError
from viralsync_pipelines.movie.encoding import ENCODERS
from viralsync_pipelines.render import deliver
from viralsync_pipelines.render.clips import ensure_clip
from viralsync_pipelines.render.prepare import Prepared

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")

# What the issue allows, in seconds.
KILLED_WITHIN, CANCELLED_WITHIN = 5.0, 2.0
# The machine of a test may be far busier than a user's: what is asserted is that it ends, not how fast; figures are printed.
PATIENCE = 20.0


def clips_of(home: Path) -> dict[str, tuple[int, int]]:
    """Every finished clip, and which file it is: a clip that is rendered again is another file."""
    found = {}
    for path in files(home / "store" / "cache" / "clips"):
        if path.suffix == ".mp4" and not path.name.startswith("."):
            state = path.stat()
            found[path.name] = (state.st_ino, state.st_mtime_ns)
    return found


def whole(home: Path) -> None:
    """No half file is ever taken for a whole one: every clip under its key can be read to its end."""
    for path in files(home / "store" / "cache" / "clips"):
        if path.suffix == ".mp4" and not path.name.startswith("."):
            assert packets(path) > 0, path


def statuses(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """How the runs of a home ended, newest first."""
    monkeypatch.setenv("VIRALSYNC_HOME", str(home))
    settings = settings_now()
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings)))
    with open_instance(settings, os.environ) as instance:
        return [run.status.value for run in instance.get_runs()]


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[1])


def encoding(home: Path) -> dict[int, str]:
    """ffmpeg processes that render a piece."""
    return alive(home, only="/piece-")


def seconds_until_gone(home: Path, since: float, only: str = "") -> float:
    wait_until(lambda: not alive(home, only=only), PATIENCE)
    return time.monotonic() - since


@pytest.fixture(scope="module")
def movie(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four scenes that take long enough to be caught at work; `{{ mark }}` makes all of them new."""
    path = reel(tmp_path_factory.mktemp("movie"), 4, movie_id="victim", seconds=1.2)

    def mark(document: dict[str, Any]) -> None:
        document["variables"] = {"mark": "0"}
        for scene in document["scenes"]:
            scene["layers"][1]["text"] += " {{ mark }}"

    return changed(path, mark)


@pytest.fixture(scope="module")
def undisturbed(movie: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The film as it should be."""
    base = tmp_path_factory.mktemp("calm")
    return Path(rendered(base / "home", movie, "-o", base / "film.mp4")["path"]).read_bytes()


# ---- kill -9 ---------------------------------------------------------------------------------------------------------


def kill_and_finish(home: Path, movie: Path, mark: str, moment: Callable[[], Any]) -> float:
    """Kill the run worker at a moment, look around, finish the film; seconds that its last process lived on."""
    out = home.parent / f"film-{mark}.mp4"
    worker = start(home, "render", movie, "-o", out, "--set", f'mark="{mark}"')
    try:
        moment()
        worker.kill()
        since = time.monotonic()
        took = seconds_until_gone(home, since)
        assert not out.exists() or packets(out) == 135
        whole(home)
        finished = clips_of(home)
        answer = rendered(home, movie, "-o", out, "--set", f'mark="{mark}"')
    finally:
        end(worker, home)
    assert packets(out) == answer["frames"] == 135
    after = clips_of(home)
    assert {name: after[name] for name in finished} == finished  # nothing that was finished is rendered again
    assert files(home / "scratch") == []
    return took


def test_a_killed_run_leaves_nothing_alive_and_the_next_one_finishes_it(movie: Path, undisturbed: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"

    def at_work() -> None:
        wait_until(lambda: clips_of(home) and encoding(home), 120)

    took = kill_and_finish(home, movie, "0", at_work)
    assert (tmp_path / "film-0.mp4").read_bytes() == undisturbed
    print(f"after kill -9 of the worker its last process lived {took:.2f} s")


@pytest.mark.slow
def test_ten_kills_at_random_moments(movie: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    began = time.monotonic()
    rendered(home, movie, "-o", tmp_path / "warm.mp4", "--set", 'mark="warm"')
    usual = time.monotonic() - began
    dice = random.Random(20260705)
    figures = []
    for number in range(10):
        moment = dice.uniform(0.05, 0.95) * usual
        figures.append((round(moment, 2), round(kill_and_finish(home, movie, f"k{number}", lambda moment=moment: time.sleep(moment)), 2)))
    print(f"a render takes {usual:.1f} s; killed after -> last process lived on: {figures}")


def crash(home: Path, movie: Path, out: Path, victim: Callable[[], int]) -> dict[str, Any]:
    """Kill one process of a running render; the run's own answer."""
    worker = subprocess.Popen(
        command("render", "--json", movie, "-o", out), env=environ(home), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        os.kill(victim(), signal.SIGKILL)
        said, _ = worker.communicate(timeout=300)
        assert worker.returncode == 1
        assert not alive(home)
        answer: dict[str, Any] = json.loads(said)
        return answer
    finally:
        end(worker, home)


@pytest.mark.slow
def test_a_killed_step_fails_alone_and_a_killed_forkserver_takes_its_steps_along(movie: Path, undisturbed: bytes, tmp_path: Path) -> None:
    home, out = tmp_path / "home", tmp_path / "film.mp4"

    def step() -> int:
        return parent_of(next(iter(wait_until(lambda: encoding(home), 120))))

    def forkserver() -> int:
        return parent_of(step())

    answer = crash(home, movie, out, step)
    (failure,) = answer["failures"]
    assert "render_scene" in failure["step"]
    assert failure["error"].startswith("STEP_KILLED")
    kept = clips_of(home)
    assert len(kept) >= 4  # the other three scenes went on to their ends
    shutil.rmtree(home / "store" / "cache" / "clips")
    answer = crash(home, movie, out, forkserver)
    assert all(f["error"].startswith("STEP_KILLED") for f in answer["failures"])
    rendered(home, movie, "-o", out)
    assert out.read_bytes() == undisturbed
    assert files(home / "scratch") == []


# ---- cancelling ------------------------------------------------------------------------------------------------------


def interrupt(home: Path, movie: Path, send: Callable[[subprocess.Popen[bytes]], None], mark: str) -> tuple[float, float]:
    """Interrupt a render that has begun to encode; seconds until its ffmpeg, and until its last process, was gone."""
    worker = start(home, "render", movie, "-o", home.parent / "x.mp4", "--set", f'mark="{mark}"')
    try:
        wait_until(lambda: encoding(home), 120)
        since = time.monotonic()
        send(worker)
        first = seconds_until_gone(home, since, "ffmpeg")
        last = seconds_until_gone(home, since)
        assert worker.wait(10) == 130
    finally:
        end(worker, home)
    assert files(home / "scratch") == []
    return first, last


def test_an_interrupt_cancels_the_run_and_the_next_one_resumes(movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does: the terminal signals the whole group, the step processes too."""
    home = tmp_path / "home"
    figures = interrupt(home, movie, lambda worker: os.killpg(worker.pid, signal.SIGINT), "a")
    print(f"after an interrupt ffmpeg lived {figures[0]:.2f} s, the last process {figures[1]:.2f} s")
    assert statuses(home, monkeypatch) == ["CANCELED"]
    finished = clips_of(home)
    assert rendered(home, movie, "-o", tmp_path / "film.mp4", "--set", 'mark="a"')["frames"] == 135
    after = clips_of(home)
    assert {name: after[name] for name in finished} == finished


@pytest.mark.slow
def test_a_signal_to_the_worker_alone_cancels_too(movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    interrupt(home, movie, lambda worker: worker.send_signal(signal.SIGINT), "b")
    interrupt(home, movie, lambda worker: worker.send_signal(signal.SIGTERM), "c")
    assert statuses(home, monkeypatch) == ["CANCELED", "CANCELED"]


@pytest.mark.slow
def test_cancelling_a_foreground_run_in_the_ui_reaches_it(movie: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"

    def cancel(_: object) -> None:
        monkeypatch.setenv("VIRALSYNC_HOME", str(home))
        settings = settings_now()
        monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings)))
        with open_instance(settings, os.environ) as instance:
            (run,) = instance.get_runs()
            instance.report_run_canceling(run)

    interrupt(home, movie, cancel, "d")
    assert statuses(home, monkeypatch) == ["CANCELED"]


# ---- a disk that is full ---------------------------------------------------------------------------------------------


SMALL_DISK = """
set -e
mkdir -p "$1"
mount -t tmpfs -o size="$2" tmpfs "$1"
shift 2
"$@" || status=$?
echo "status ${status:-0}"
cd / && find "$VIRALSYNC_HOME" -path '*/scratch/*' -type f
"""


def on_a_small_disk(folder: Path, size: str, home: Path, movie: Path) -> tuple[int, dict[str, Any], list[str]]:
    """Render with `folder` on a disk of its own: exit code, the answer, and what was left in scratch."""
    if os.getuid() != 0 or shutil.which("unshare") is None or subprocess.run(["unshare", "-m", "true"], check=False).returncode:
        pytest.skip("a small disk needs root and a mount namespace of its own")
    render = command("render", "--json", movie, "-o", home.parent / "film.mp4")
    done = subprocess.run(
        ["unshare", "-m", "bash", "-c", SMALL_DISK, "-", str(folder), size, *render],
        env=environ(home), capture_output=True, text=True, timeout=300, check=True,
    )  # fmt: skip
    said, *rest = done.stdout.splitlines()
    return int(rest[0].split()[1]), json.loads(said), rest[1:]


@pytest.mark.parametrize(
    ("place", "size"), [("store/cache/clips", "60k"), pytest.param("scratch", "400k", marks=pytest.mark.slow)]
)  # fmt: skip
def test_a_full_disk_is_one_clear_error(place: str, size: str, movie: Path, undisturbed: bytes, tmp_path: Path) -> None:
    home = tmp_path / "home"
    status, answer, left = on_a_small_disk(home / place, size, home, movie)
    assert status == 1
    assert answer["failures"]
    for failure in answer["failures"]:
        assert "DISK_FULL" in failure["error"]
        if "render_scene" in failure["step"]:
            assert failure["error"].startswith("SCENE_RENDER_FAILED: s")
    assert left == []
    assert not (tmp_path / "film.mp4").exists()
    rendered(home, movie, "-o", tmp_path / "film.mp4")
    assert (tmp_path / "film.mp4").read_bytes() == undisturbed


@pytest.mark.slow
def test_a_disk_that_is_too_full_for_dagsters_own_state_is_told_too(movie: Path, tmp_path: Path) -> None:
    status, answer, left = on_a_small_disk(tmp_path / "home", "600k", tmp_path / "home", movie)
    assert (status, answer["code"], left) == (1, "DISK_FULL", [])


# ---- sources that change or are not what they seem -------------------------------------------------------------------


@pytest.mark.parametrize("how", ["replaced", pytest.param("deleted", marks=pytest.mark.slow)])
def test_a_source_that_changes_under_a_run_stops_it(how: str, tmp_path: Path) -> None:
    home, movie = tmp_path / "home", reel(tmp_path / "movie", 6, movie_id="fickle", voice=False, moving=False)
    still, original = movie.parent / "still.png", (movie.parent / "still.png").read_bytes()
    other = picture(tmp_path / "other.png", 2).read_bytes()
    worker = subprocess.Popen(
        command("render", "--json", movie, "-o", tmp_path / "film.mp4", "--concurrency", "1"), env=environ(home),
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        wait_until(lambda: clips_of(home), 120)
        if how == "deleted":
            still.unlink()
        else:
            (tmp_path / "new.png").write_bytes(other)
            (tmp_path / "new.png").replace(still)
        said, _ = worker.communicate(timeout=300)
    finally:
        end(worker, home)
    answer = json.loads(said)
    assert worker.returncode == 1
    assert {f["error"].split(": ")[2] for f in answer["failures"]} == {"SOURCE_CHANGED"}
    assert not (tmp_path / "film.mp4").exists()
    assert files(home / "scratch") == []
    kept = clips_of(home)
    still.write_bytes(original)
    # What was kept is of the old picture: with it back, the film is the one that a run in peace gives.
    rendered(home, movie, "-o", tmp_path / "film.mp4")
    assert {name: file for name, file in clips_of(home).items() if name in kept} == kept
    rendered(tmp_path / "calm", movie, "-o", tmp_path / "calm.mp4")
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "calm.mp4").read_bytes()


def studio_at(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Studio:
    monkeypatch.setenv("VIRALSYNC_HOME", str(folder / "home"))
    settings = settings_now()
    return open_studio(settings, store_of(settings)).beside(folder)


def one_layer(source: str) -> dict[str, Any]:
    kind = "image" if source.endswith((".jpg", ".png", ".webp")) else "video"
    layer: dict[str, Any] = {"type": kind, "src": source, "width": "100%"}
    return {"width": 360, "height": 360, "scenes": [{"id": "one", "duration": 0.4 if kind == "image" else "auto", "layers": [layer]}]}


def render_all(studio: Studio, prepared: Prepared, unchanged: Callable[[], None] | None = None) -> None:
    plan = prepared.plan
    for piece, key in zip(plan.pieces, prepared.clip_keys, strict=True):
        ensure_clip(piece, key, plan.canvas, ENCODERS[plan.quality], studio.bench(plan), "one", None, unchanged)


@pytest.mark.parametrize(
    ("name", "share"),
    [("a.mp4", 0.5), ("a.mp4", 0.98), ("a.mov", 0.7), ("a.webm", 0.5), ("a.webm", 0.95), ("a.mkv", 0.97), ("a.jpg", 0.6), ("a.png", 0.6),
     ("a.webp", 0.6)],
)  # fmt: skip
def test_a_source_that_is_cut_short_is_refused_or_fails_and_leaves_nothing(
    name: str, share: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    if name.endswith((".jpg", ".png", ".webp")):
        picture(path)
    else:
        clip(path, 2.0, extra=("-c:v", "libvpx", "-cpu-used", "8", "-deadline", "realtime", "-an") if name.endswith("webm") else ())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    studio = studio_at(tmp_path, monkeypatch)
    with pytest.raises((MovieInvalid, SceneFailed)) as caught:
        render_all(studio, studio.prepare(one_layer(name), {}))
    told = str(caught.value)
    assert ("SOURCE_UNREADABLE" in told and "/scenes/0/layers/0/src" in told) or ("one: SOURCE_CUT_SHORT" in told), told
    assert clips_of(tmp_path / "home") == {}
    assert files(studio.scratch) == []


def test_a_clip_of_a_source_that_changed_while_in_use_never_gets_its_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    studio = studio_at(tmp_path, monkeypatch)
    prepared = studio.prepare(one_layer("a.png"), {})

    def unchanged() -> None:
        picture(tmp_path / "a.png", 2)
        studio.shelf.check(prepared.plan, list(prepared.plan.sources))

    with pytest.raises(SceneFailed, match="one: SOURCE_CHANGED"):
        render_all(studio, prepared, unchanged)
    assert clips_of(tmp_path / "home") == {}
    assert files(studio.scratch) == []


def test_a_mix_of_a_sound_that_changed_while_in_use_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(tmp_path / "a.mp4", 1.0)
    studio = studio_at(tmp_path, monkeypatch)
    prepared = studio.prepare(one_layer("a.mp4"), {})

    def unchanged() -> None:
        clip(tmp_path / "a.mp4", 1.0, size="160x120")
        studio.shelf.check(prepared.plan, list(prepared.plan.sources))

    with pytest.raises(SourceError) as caught:
        deliver.ensure_sound(prepared, studio.store, studio.shelf.finder(prepared.plan), studio.scratch, unchanged)
    assert caught.value.code == "SOURCE_CHANGED"
    assert list(studio.store.list("cache/sounds")) == []
    assert files(studio.scratch) == []


def test_an_end_through_dagster_cleans_up_as_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dagster's interrupt is no Exception: `except Exception` would not see it, `finally` does."""
    picture(tmp_path / "a.png")
    studio = studio_at(tmp_path, monkeypatch)
    prepared = studio.prepare(one_layer("a.png"), {})

    def interrupted() -> None:
        raise dg.DagsterExecutionInterruptedError

    with pytest.raises(dg.DagsterExecutionInterruptedError):
        render_all(studio, prepared, interrupted)
    assert clips_of(tmp_path / "home") == {}
    assert files(studio.scratch) == []


def test_a_render_that_cannot_be_planned_says_so_once(tmp_path: Path) -> None:
    movie = reel(tmp_path / "movie", 1, voice=False, moving=False)
    (movie.parent / "still.png").unlink()
    done = viralsync(tmp_path / "home", "render", "--json", movie, "-o", tmp_path / "film.mp4", check=False)
    assert done.returncode == 2
    (problem,) = json.loads(done.stdout)["problems"]
    assert (problem["pointer"], problem["code"]) == ("/scenes/0/layers/0/src", "SOURCE_NOT_FOUND")
    assert files(tmp_path / "home" / "scratch") == []
