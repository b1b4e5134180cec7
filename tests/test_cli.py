"""`viralsync`: what each command prints, its exit codes, where films go, and that Ctrl-C loses nothing."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from rich.console import Console

from tests.films import numbered, read_number
from viralsync_pipelines.cli.main import main
from viralsync_pipelines.cli.terminal import INTERRUPTED, Watch, show_diff, show_done, show_plan, show_problems
from viralsync_pipelines.errors import Problem
from viralsync_pipelines.orchestrator.foreground import StepNews
from viralsync_pipelines.render.moving import count_frames

Run = Callable[..., tuple[int, str, str]]
MOVIE: dict[str, Any] = {
    "id": "small", "title": "Small [bold]film[/bold]", "width": 360, "height": 360, "fps": 10, "variables": {"who": "you"},
    "scenes": [
        {"id": "hook", "duration": 1, "layers": [{"type": "text", "text": "For {{ who }}"}]},
        {"id": "end", "duration": 2, "bgColor": "#224466", "transition": {"type": "fade", "duration": 0.5}},
    ],
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a movie in it; the shell stands there."""
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "movie.json", MOVIE)
    return tmp_path


def write(path: Path, document: Any) -> Path:
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


@pytest.fixture
def run(folder: Path, capfd: pytest.CaptureFixture[str]) -> Run:
    """One command in this process: exit code, standard output, standard error."""

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        try:
            status = main(words)
        except SystemExit as stop:
            status = int(stop.code or 0)
        out, err = capfd.readouterr()
        return status, out, err

    return command


def one_object(out: str) -> dict[str, Any]:
    """Standard output was one JSON object and nothing else."""
    assert out.count("\n") == 1
    found = json.loads(out)
    assert isinstance(found, dict)
    return found


# What is imported.

_PROBE = """
import os, sys
from viralsync_pipelines.cli.main import main
try:
    status = main(sys.argv[1:])
except SystemExit as stop:
    status = stop.code
heavy = sorted(m for m in ("dagster", "dagster_aws", "boto3", "httpx") if m in sys.modules)
print(status, *heavy, file=sys.stderr)
"""


def imported(folder: Path, *words: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", _PROBE, *words], cwd=folder, capture_output=True, text=True, check=True)
    status, *heavy = done.stderr.splitlines()[-1].split()
    assert status == "0", done.stderr
    return heavy


def test_commands_that_render_nothing_do_not_wait_for_dagster(folder: Path) -> None:
    """Importing Dagster takes two seconds; a plan, a still or a word of help should not."""
    assert imported(folder, "--help") == []
    assert imported(folder, "schema") == []
    assert imported(folder, "plan", "movie.json") == []
    assert imported(folder, "diff", "movie.json", "movie.json", "--json") == []
    assert imported(folder, "render", "movie.json", "--still", "0.5") == []


# Help and arguments.


def test_help_names_every_command_and_exit_code(run: Run) -> None:
    status, out, _ = run("--help")
    assert status == 0
    for word in ("render", "plan", "diff", "schema", "movies", "demo", "up", "0 ", "1 ", "2 ", "3 ", "130 ", "interrupted"):
        assert word in out
    assert run()[0] == 2
    for command in ("render", "plan", "diff", "schema", "movies", "demo", "up"):
        assert run(command, "--help")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rendr", "movie.json"], "rendr"),
        (["render"], "movie"),
        (["render", "movie.json", "--nope"], "--nope"),
        (["render", "movie.json", "--preset", "warp"], "warp"),
        (["render", "movie.json", "--concurrency", "0"], "between 1 and 32"),
        (["render", "movie.json", "--concurrency", "33"], "between 1 and 32"),
        (["render", "movie.json", "--concurrency", "many"], "many"),
        (["render", "movie.json", "--scene", "middle"], "there are hook, end"),
        (["render", "movie.json", "--set", "who"], "name=value"),
        (["render", "movie.json", "--set", "a b=1"], "name=value"),
        (["render", "movie.json", "-o", "nowhere/film.mp4"], "does not exist"),
        (["render", "movie.json", "-o", "movie.json"], "the movie JSON itself"),
        (["plan", "nothing.json"], "No such file"),
        (["plan", "."], "folder"),
        (["plan", "movie.json\0"], "cannot be read"),
        (["diff", "movie.json"], "after"),
    ],
)
def test_wrong_arguments_end_with_2_and_a_sentence_also_as_json(run: Run, words: list[str], said: str) -> None:
    status, out, err = run(*words)
    assert (status, out) == (2, "")
    assert said in err
    status, out, err = run(*words, "--json")
    assert (status, err) == (2, "")
    assert said in json.dumps(one_object(out))


def test_an_output_that_cannot_be_written_is_one_sentence(run: Run) -> None:
    """Before anything is rendered where that can be seen, and after it where the system lies about it, as /proc does."""
    status, out, err = run("render", "movie.json", "--still", "0", "-o", "/proc/self/film.png")
    assert status in {1, 2}
    assert out == ""
    assert err.startswith("OUTPUT_UNWRITABLE: /proc/self/film.png cannot be written")
    assert err.count("\n") == 1


def test_settings_that_cannot_be_used_end_with_3_and_name_the_variable(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in [("VIRALSYNC_STORE", "ftp://example.com"), ("VIRALSYNC_STORE", "nonsense"), ("VIRALSYNC_ALLOW_HOSTS", "10.0.0.1/8")]:
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            status, out, err = run("plan", "movie.json")
            assert (status, out) == (3, "")
            assert name in err
            status, out, err = run("plan", "movie.json", "--json")
            assert (status, err) == (3, "")
            assert name in one_object(out)["error"]
    (folder / "file").write_text("no folder")
    monkeypatch.setenv("VIRALSYNC_HOME", str(folder / "file" / "home"))
    status, _, err = run("plan", "movie.json")
    assert status == 3
    assert str(folder / "file" / "home") in err


# plan, diff, schema.


def test_a_plan_lists_scenes_frames_and_what_is_cached(run: Run) -> None:
    status, out, err = run("plan", "movie.json")
    assert (status, err) == (0, "")
    assert "Small [bold]film[/bold]" in out
    assert "0 of 3 clips cached" in out
    facts = one_object(run("plan", "movie.json", "--json")[1])
    assert (facts["frames"], facts["seconds"], facts["clips"], facts["hits"]) == (25, 2.5, 3, 0)
    assert [(s["id"], s["frames"], s["ownFrames"], s["transitionFrames"], s["start"]) for s in facts["scenes"]] == [
        ("hook", 10, 5, 0, 0.0), ("end", 20, 20, 5, 0.5),
    ]  # fmt: skip
    draft = one_object(run("plan", "movie.json", "--json", "--draft")[1])
    assert (draft["width"], draft["quality"], draft["frames"]) == (180, "draft", 25)


def test_problems_are_told_with_their_places_on_standard_error_and_in_json(run: Run, folder: Path) -> None:
    wrong = {**MOVIE, "fps": 0, "scenes": [{"id": "a", "duration": 1, "layers": [{"type": "image", "src": "missing.png"}]}]}
    write(folder / "wrong.json", wrong)
    status, out, err = run("plan", "wrong.json")
    assert (status, out) == (2, "")
    assert "2 problems" in err
    assert "/scenes/0/layers/0/src" in err
    told = one_object(run("plan", "wrong.json", "--json")[1])
    assert told["code"] == "VALIDATION_ERROR"
    assert [(p["pointer"], p["code"]) for p in told["problems"]] == [("/fps", "VALUE_OUT_OF_RANGE"), ("/scenes/0/layers/0/src", "SOURCE_NOT_FOUND")]
    (folder / "no.json").write_bytes(b'{"title": "a"')
    assert "line 1, column 14" in run("plan", "no.json")[2]


def test_a_movie_may_come_from_standard_input(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(MOVIE).encode())))
    assert one_object(run("plan", "-", "--json")[1])["movie"] == "small"


@pytest.mark.parametrize(("pair", "shown"), [("who=me", "me"), ("who=5", "5"), ('who="5"', "5"), ("who=a=b", "a=b"), ("who=", ""), ("who={", "{")])
def test_variables_are_set_from_the_command_line(run: Run, folder: Path, pair: str, shown: str) -> None:
    changed = {**MOVIE, "scenes": [{**MOVIE["scenes"][0], "layers": [{"type": "text", "text": f"For {shown}"}]}, MOVIE["scenes"][1]]}
    write(folder / "changed.json", changed)
    mine, plain = (one_object(run("diff", "changed.json", "movie.json", "--json", *more)[1]) for more in (["--set", pair], []))
    assert mine["framesToRender"] == 0
    assert plain["framesToRender"] == 10


def test_a_diff_names_what_would_be_rendered_again(run: Run, folder: Path) -> None:
    write(folder / "other.json", {**MOVIE, "scenes": [MOVIE["scenes"][0], {**MOVIE["scenes"][1], "bgColor": "red"}]})
    status, out, _ = run("diff", "movie.json", "other.json")
    assert status == 0
    assert "transition into end" in out
    facts = one_object(run("diff", "movie.json", "other.json", "--json")[1])
    assert [(one["scene"], one["kind"], one["frames"]) for one in facts["render"]] == [("end", "transition", 5), ("end", "scene", 15)]
    assert (facts["framesToRender"], facts["frames"], facts["kept"], facts["sound"]) == (20, 25, 1, False)
    assert one_object(run("diff", "movie.json", "movie.json", "--json")[1])["render"] == []


def test_the_schema_is_printed(run: Run) -> None:
    assert json.loads(run("schema")[1])["$schema"].endswith("2020-12/schema")
    assert one_object(run("schema", "--json")[1])["title"] == "Movie"


# Stills.


@pytest.fixture
def counting(folder: Path) -> Path:
    """Forty frames at ten a second that show their numbers."""
    numbered(folder / "count.mp4", 10, 40, size=(360, 360))
    layer = {"type": "video", "src": "count.mp4"}
    return write(folder / "count.json", {"width": 360, "height": 360, "fps": 10, "scenes": [{"id": "s", "layers": [layer]}]})


@pytest.mark.parametrize(("moment", "frame"), [("3.2", 32), ("0", 0), (".05", 0), ("3.19", 31), ("3.9", 39), ("3.999", 39)])
def test_a_still_is_the_frame_that_is_on_screen_then(run: Run, counting: Path, folder: Path, moment: str, frame: int) -> None:
    status, out, err = run("render", "count.json", "--still", moment, "-o", "frame.png", "--json")
    assert (status, err) == (0, "")
    assert one_object(out) == {"path": str(folder / "frame.png"), "frame": frame, "seconds": frame / 10}
    with Image.open(folder / "frame.png") as picture:
        import numpy as np

        assert read_number(np.asarray(picture.convert("RGB"), np.float32)) == frame


@pytest.mark.parametrize("moment", ["4", "4.0", "99", "-1", "abc", "1e9", "", "nan", "1/2", "1e999999999"])
def test_a_moment_that_is_not_in_the_film_is_refused_with_its_length(run: Run, counting: Path, folder: Path, moment: str) -> None:
    status, _, err = run("render", "count.json", f"--still={moment}", "-o", "frame.png")
    assert status == 2
    assert "it lasts 4.000 s, its last frame is at 3.900" in err
    assert not (folder / "frame.png").exists()


def test_a_still_goes_beside_the_movie_under_its_name_or_into_a_folder(run: Run, folder: Path) -> None:
    assert run("render", "movie.json", "--still", "1")[1].strip() == str(folder / "movie.png")
    (folder / "out").mkdir()
    assert run("render", "movie.json", "--still", "1", "-o", "out")[1].strip() == str(folder / "out" / "movie.png")
    assert [path.name for path in (folder / "out").iterdir()] == ["movie.png"]


def test_a_movies_own_file_is_never_written_over(run: Run, folder: Path) -> None:
    Image.new("RGB", (8, 8)).save(folder / "a.png")
    before = (folder / "a.png").read_bytes()
    write(folder / "own.json", {**MOVIE, "scenes": [{"id": "s", "duration": 1, "layers": [{"type": "image", "src": "a.png"}]}]})
    status, _, err = run("render", "own.json", "--still", "0", "-o", "a.png")
    assert status == 2
    assert "own files" in err
    assert (folder / "a.png").read_bytes() == before


def test_one_scene_of_a_repeated_and_templated_movie_can_be_looked_at(run: Run, folder: Path) -> None:
    colours = {"id": "card", "iterate": ["#ff0000", "#00ff00"], "duration": "{{ 1 + index }}", "bgColor": "{{ item }}"}
    write(folder / "cards.json", {**MOVIE, "scenes": [colours, {"id": "last", "duration": "{{ card_2.duration }}"}]})
    told = one_object(run("render", "cards.json", "--scene", "card_2", "--still", "1.9", "-o", "f.png", "--json")[1])
    assert told["frame"] == 19
    with Image.open(folder / "f.png") as picture:
        red, green, blue = picture.convert("RGB").getpixel((180, 180))
    assert (red < 5, green > 250, blue < 5) == (True, True, True)


# Films, through Dagster.


def viralsync(*words: str, cwd: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "viralsync_pipelines.cli.main", *words]
    return subprocess.Popen(command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def clips(folder: Path) -> int:
    return len(list((folder / "home" / "store" / "cache" / "clips").rglob("*.mp4")))


def test_ctrl_c_loses_no_finished_scene_and_the_same_command_finishes_the_film(folder: Path) -> None:
    scenes = [
        {"id": f"s{n}", "duration": 3, "layers": [{"type": "text", "text": f"Scene {n}", "fontSize": "20%",
         "keyframes": {"rotation": [{"at": 0, "value": 0}, {"at": 3, "value": 90}]}}]} for n in range(6)
    ]  # fmt: skip
    write(folder / "long.json", {"title": "Long", "width": 480, "height": 480, "scenes": scenes})
    words = ("render", "long.json", "-o", "film.mp4", "--concurrency", "1")
    first = viralsync(*words, cwd=folder)
    deadline = time.monotonic() + 120
    while clips(folder) < 1 and first.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGINT)  # as a terminal does
    out, err = first.communicate(timeout=60)
    assert first.returncode == 130, err
    assert out == ""
    assert "run the same command again" in err
    assert "Traceback" not in err
    kept = clips(folder)
    assert 1 <= kept < 6
    assert [path.name for path in folder.iterdir() if "film" in path.name] == []

    again = viralsync(*words, "--json", cwd=folder)
    out, err = again.communicate(timeout=300)
    assert (again.returncode, err) == (0, "")
    done = one_object(out)
    assert done["path"] == str(folder / "film.mp4")
    assert (done["scenes"], done["cachedScenes"], done["cachedFrames"]) == (6, kept, kept * 90)
    assert done["bytes"] == (folder / "film.mp4").stat().st_size
    assert count_frames(folder / "film.mp4") == done["frames"] == 540
    assert sorted(path.name for path in folder.iterdir() if "film" in path.name) == ["film.mp4"]


def test_the_last_line_of_a_render_is_the_path_alone_and_the_facts_stand_above(capfd: pytest.CaptureFixture[str]) -> None:
    show_done({"path": "/x/film.mp4", "seconds": 75.4, "bytes": 4_321_000, "elapsed": 12.34, "cachedFrames": 50, "frames": 200})
    out, err = capfd.readouterr()
    assert out == "/x/film.mp4\n"
    assert err == "✓ 1:15 min of film, 4.3 MB, made in 12.3 s, 25 % of its frames from the cache\n"


def test_movies_are_registered_and_listed(run: Run, folder: Path) -> None:
    write(folder / "other.json", {**MOVIE, "id": "{{ name }}", "variables": {"who": "x", "name": "templated"}})
    assert one_object(run("movies", "list", "--json")[1]) == {"movies": []}
    assert "No movies yet" in run("movies", "list")[1]
    assert one_object(run("movies", "add", "movie.json", "other.json", "--json")[1]) == {"added": ["small", "templated"]}
    assert run("movies", "list")[1].split() == ["small", "templated"]
    write(folder / "wrong.json", {**MOVIE, "id": "new", "fps": 0})
    write(folder / "right.json", {**MOVIE, "id": "right"})
    assert run("movies", "add", "right.json", "wrong.json")[0] == 2
    assert one_object(run("movies", "list", "--json")[1]) == {"movies": ["small", "templated"]}


# The terminal.

FACTS: dict[str, Any] = {
    "title": "A [red]title[/red]\x1b[2J", "movie": "m", "width": 1080, "height": 1920, "fps": "30000/1001", "seconds": 75.2, "frames": 2_254,
    "clips": 3, "hits": 1, "quality": "standard", "film": False, "inputs": [], "lines": [], "cues": 0,
    "scenes": [
        {"id": "hook", "start": 0.0, "seconds": 1.0, "frames": 30, "ownFrames": 30, "framesToRender": 30, "transitionFrames": 0, "cached": False},
        {"id": "middle", "start": 1.0, "seconds": 2.0, "frames": 60, "ownFrames": 60, "framesToRender": 60, "transitionFrames": 15, "cached": False},
        {"id": "end", "start": 3.0, "seconds": 1.0, "frames": 30, "ownFrames": 30, "framesToRender": 0, "transitionFrames": 0, "cached": True},
    ],
}  # fmt: skip


def screen(facts: dict[str, Any], *news: StepNews, height: int = 20, terminal: bool = True, width: int = 100) -> str:
    """What a terminal shows after some news."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=width, height=height, color_system=None, legacy_windows=False)
    watch = Watch(facts, quiet=False, console=console, clock=lambda: 0.0)
    if not terminal:
        with watch:
            for each in news:
                watch.news(each)
        return console.file.getvalue()  # type: ignore[attr-defined, no-any-return]
    for each in news:
        watch.news(each)
    with console.capture() as shown:
        console.print(watch.picture())
    return shown.get()


def step(number: int, kind: str, **more: Any) -> StepNews:
    return StepNews(f"movie.render_scene[scene_{number:03d}]", kind, **more)


def test_bars_show_each_scene_its_speed_and_what_is_cached() -> None:
    shown = screen(FACTS, step(1, "start"), step(1, "progress", scene=1, frame=15, total=30, fps=42.0))
    hook, middle, end, film = shown.splitlines()
    assert "15/30" in hook
    assert "42 fps" in hook
    assert "0/60" in middle
    assert "30/30" in end
    assert "cached" in end
    assert end.startswith("✓")
    assert "37 % of 120 frames" in film
    assert "rendering" in film
    done = screen(FACTS, step(1, "start"), step(1, "progress", scene=1, frame=29, total=30, fps=42.0), step(1, "success"))
    assert done.splitlines()[0].startswith("✓ hook")
    assert "30/30 42 fps" in done


def test_a_late_line_of_progress_does_not_wake_a_finished_scene() -> None:
    shown = screen(FACTS, step(1, "success"), StepNews("", "progress", scene=1, frame=30, total=30))
    assert shown.splitlines()[0].startswith("✓ hook")


def test_a_failed_scene_is_marked_and_an_interrupted_one_is_no_failure() -> None:
    shown = screen(FACTS, step(2, "failure", text="SCENE_RENDER_FAILED: middle: it broke\nat line 5"))
    assert "✗ middle" in shown.splitlines()[-3]
    assert "failed" in shown
    stopped = screen(FACTS, step(2, "start"), step(2, "failure", text=f"dagster._core.errors.{INTERRUPTED}"))
    assert "✗" not in stopped
    assert "stopped" in stopped


def test_a_long_movie_fits_the_screen_and_shows_what_is_under_way() -> None:
    scenes = [{**FACTS["scenes"][0], "id": f"scene-{n}"} for n in range(1, 201)]
    news = [step(n, kind) for n in range(1, 50) for kind in ("start", "success")] + [step(50, "start"), step(51, "start")]
    shown = screen({**FACTS, "scenes": scenes}, *news, height=20).splitlines()
    assert len(shown) <= 18
    assert any("scene-50 " in line for line in shown)
    assert any("scene-51 " in line for line in shown)
    assert any("more:" in line and "done" in line and "waiting" in line for line in shown)


def test_narrow_terminals_and_long_names_break_no_line() -> None:
    facts = {**FACTS, "scenes": [{**FACTS["scenes"][0], "id": "x" * 64}]}
    assert all(len(line) <= 60 for line in screen(facts, width=60).splitlines())


def test_without_a_terminal_each_finished_scene_is_a_line() -> None:
    shown = screen(FACTS, step(1, "start"), step(1, "progress", scene=1, frame=10, total=30, fps=20), step(1, "success"), terminal=False)
    assert shown.splitlines()[1:] == ["hook  30 frames, 20 a second"]


def test_a_users_words_cannot_colour_or_clear_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    assert screen(FACTS, terminal=False).splitlines()[0].startswith("A [red]title[/red]�[2J")
    show_plan({**FACTS, "inputs": [{"src": "a\x1b]0;x\x07[bold].png", "kind": "image", "sha256": "0" * 64}]})
    show_problems([Problem("/a\x1b[1m", "CODE", "message [blink]\x07\ud800")])
    show_diff({"render": [{"scene": "a", "kind": "scene", "frames": 1, "seconds": 0.1}], "framesToRender": 1, "frames": 1, "kept": 0, "sound": True})
    out, err = capfd.readouterr()
    assert "\x1b" not in out + err
    assert "\x07" not in out + err
    assert "[blink]" in err
    assert "[bold].png" in out
