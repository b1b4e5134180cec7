"""`make bench`: B1 through Dagster against one hand-written ffmpeg process, the x264 floor, and MoviePy. Prints a table.

Every figure is of a whole process tree. Compare ratios of one run, never seconds of two: the machine drifts by a tenth.
Rounds with BENCH_ROUNDS (default 1), without MoviePy with BENCH_MOVIEPY=0. `python -m tests.bench render`, `... jobs` (jobs.py) and
`... generate` (generate.py) run one part alone.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import fontpkg_inter

from tests.bench import generate, jobs
from tests.bench.b1 import SIZE, X264, document, make_media, reference_argv
from tests.bench.tree import Cost, measure
from viralsync_pipelines.render.ffmpeg import ffmpeg_path

ROOT = Path(__file__).resolve().parents[2]


def main(parts: list[str]) -> None:
    if "render" in parts:
        _render_bench()
    if "jobs" in parts:
        jobs.main()
    if "generate" in parts:
        generate.main()


def _render_bench() -> None:
    rounds = int(os.environ.get("BENCH_ROUNDS", "1"))
    cache = Path(os.environ.get("BENCH_MEDIA", ROOT / ".viralsync" / "bench"))
    make_media(cache)
    font = next(iter((Path(fontpkg_inter.__file__).parent / "files").glob("Inter*.ttf")))
    plain = cache / "inter.ttf"
    shutil.copyfile(font, plain)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        costs: dict[str, list[Cost]] = {}
        python = _moviepy_python()
        for _ in range(rounds):
            _add(costs, "hand-written ffmpeg", measure(reference_argv(cache, plain, work / "reference.mp4")))
            _add(costs, "x264 floor", _floor(cache, plain, work))
            home = work / "home"
            shutil.rmtree(home, ignore_errors=True)
            env = {**os.environ, "VIRALSYNC_HOME": str(home)}
            for label, movie in (("full render", document(cache)), ("nothing changed", document(cache)),
                                 ("one scene changed", document(cache, {4: "Another title"}))):  # fmt: skip
                _add(costs, label, _render(movie, work / "film.mp4", env))
            _add_captioned(costs, cache, work)
        if python is not None:
            script = str(Path(__file__).with_name("moviepy_b1.py"))
            _add(costs, "MoviePy 2", measure([str(python), script, str(cache), str(plain), str(work / "moviepy.mp4")]))
        _table(costs)
        _memory(work)


def _add_captioned(costs: dict[str, list[Cost]], media: Path, work: Path) -> None:
    """The same film with its lines as voice layers, without captions and with them, each in a home of its own; the lines are spoken."""
    styles: dict[str, dict[str, Any] | None] = {"voiced": None, "voiced, karaoke captions": {"style": "karaoke"}}
    for label, captions in styles.items():
        home = work / "voiced"
        shutil.rmtree(home, ignore_errors=True)
        movie = document(media, voiced=True, captions=captions)
        _add(costs, label, _render(movie, work / "film.mp4", {**os.environ, "VIRALSYNC_HOME": str(home)}))


def _add(costs: dict[str, list[Cost]], label: str, cost: Cost) -> None:
    if cost.status != 0:
        raise SystemExit(f"{label} failed with status {cost.status}")
    costs.setdefault(label, []).append(cost)
    print(f"{label}: {cost.wall:.1f} s wall, {cost.cpu:.1f} s CPU", file=sys.stderr)


def _render(movie: Path, out: Path, env: dict[str, str], *more: str) -> Cost:
    command = [
        sys.executable,
        "-m",
        "viralsync_pipelines.cli.main",
        "render",
        str(movie),
        "-o",
        str(out),
        "--json",
        *more,
    ]
    return measure(command, env)


def _floor(media: Path, font: Path, work: Path) -> Cost:
    """x264 alone on the very frames that the hand-written process encodes. Not on its film decoded again: that has lost its grain,
    and takes x264 a seventh less."""
    raw = work / "frames.yuv"
    subprocess.run(reference_argv(media, font, raw, raw=True), check=True)
    cost = measure(
        [
            str(ffmpeg_path()), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{SIZE[0]}x{SIZE[1]}", "-r", "30",
            "-i", str(raw), *X264, "-f", "null", "-",
        ]
    )  # fmt: skip
    raw.unlink()
    return cost


def _moviepy_python() -> Path | None:
    """MoviePy needs an older Pillow, so it lives in an environment of its own."""
    if os.environ.get("BENCH_MOVIEPY") == "0":
        return None
    place = ROOT / ".viralsync" / "moviepy"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        lock = Path(__file__).with_name("moviepy.lock")
        subprocess.run([str(python), "-m", "pip", "install", "-q", "--require-hashes", "-r", str(lock)], check=True)
    return python


def _table(costs: dict[str, list[Cost]]) -> None:
    def middle(label: str, part: str) -> float:
        return statistics.median(getattr(cost, part) for cost in costs[label])

    base_wall, base_cpu, floor_cpu = (
        middle("hand-written ffmpeg", "wall"),
        middle("hand-written ffmpeg", "cpu"),
        middle("x264 floor", "cpu"),
    )
    full_wall, full_cpu = middle("full render", "wall"), middle("full render", "cpu")
    print("\n| what | n | wall s | CPU s | wall / hand-written | CPU / hand-written | CPU / floor | CPU / full | MB tree |")
    print("|---|---|---|---|---|---|---|---|---|")
    for label, found in costs.items():
        wall, cpu = middle(label, "wall"), middle(label, "cpu")
        print(
            f"| {label} | {len(found)} | {wall:.1f} | {cpu:.1f} | {wall / base_wall:.2f} | {cpu / base_cpu:.2f} | {cpu / floor_cpu:.2f} "
            f"| {cpu / full_cpu:.2f} | {middle(label, 'tree_mb'):.0f} |"
        )
    plain, captioned = middle("voiced", "cpu"), middle("voiced, karaoke captions", "cpu")
    print(f"\nKaraoke captions add {100 * (captioned / plain - 1):.1f} % CPU to the render.")
    if "MoviePy 2" in costs:
        print(
            f"\nMoviePy takes {middle('MoviePy 2', 'wall') / full_wall:.1f}x the wall and {middle('MoviePy 2', 'cpu') / full_cpu:.1f}x the CPU."
        )


def _memory(work: Path) -> None:
    """Ten scenes against a hundred: what a scene costs beside its ffmpeg, and whether memory grows."""
    found: dict[int, Cost] = {}
    for count in (10, 100):
        path = work / f"scenes{count}.json"
        path.write_text(json.dumps(_plain_movie(count)), encoding="utf-8")
        env = {**os.environ, "VIRALSYNC_HOME": str(work / f"home{count}")}
        found[count] = _render(path, work / "plain.mp4", env)
    step = (found[100].cpu - found[10].cpu) / 90
    alone = _alone(work)
    print(f"\nA scene step takes {step:.2f} s CPU, its ffmpeg alone {alone:.2f}: orchestration {step - alone:.2f} s CPU a scene.")
    print(
        f"Peak memory of the tree: {found[10].tree_mb:.0f} MB with 10 scenes, {found[100].tree_mb:.0f} MB with 100; "
        f"largest process {found[10].process_mb:.0f} and {found[100].process_mb:.0f} MB."
    )


def _plain_movie(count: int) -> dict[str, Any]:
    scenes = [{"id": f"s{n}", "duration": 1, "bgColor": f"hsl({n * 37 % 360} 60% 50%)"} for n in range(count)]
    return {"id": f"plain{count}", "width": 360, "height": 640, "scenes": scenes}


def _alone(work: Path) -> float:
    """The same scenes' ffmpeg runs without Dagster: CPU seconds each."""
    code = (
        "import sys, tempfile; from pathlib import Path; from fractions import Fraction\n"
        "from viralsync_pipelines.movie.picture import Canvas, Piece; from viralsync_pipelines.movie.encoding import ENCODERS\n"
        "from viralsync_pipelines.render.artwork import Easel; from viralsync_pipelines.render.fonts import open_font_book\n"
        "from viralsync_pipelines.render.scenes import render_piece\n"
        "import resource\n"
        "easel = Easel(lambda sha: Path(sha), open_font_book())\n"
        "for n in range(20):\n"
        "    with tempfile.TemporaryDirectory() as d:\n"
        "        piece = Piece('body', 0, 0, 30, (n * 10, 90, 90, 255), ())\n"
        "        render_piece(piece, Canvas(360, 640, Fraction(30)), ENCODERS['standard'], easel, Path(d), Path(d) / 'o.mp4')\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN); print((used.ru_utime + used.ru_stime) / 20)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


if __name__ == "__main__":
    main(sys.argv[1:] or ["render", "jobs", "generate"])
