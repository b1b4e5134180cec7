"""Small movies for tests that go through Dagster, and what is alive of a render: processes by the home they work in.

Importable by every test: `reel(folder, scenes)` writes a movie of drawn media; `viralsync(home, ...)` runs a command;
`alive(home)` lists processes of a render; `packets(film)` counts frames.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from viralsync_pipelines.render.ffmpeg import ffmpeg_path

WIDTH, HEIGHT = 360, 640
# Children of a test must not read the settings of the machine, nor write byte code beside the sources.
KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE")


def picture(path: Path, seed: int = 1, size: tuple[int, int] = (400, 640)) -> Path:
    """A still with something to see: a gradient with blocks, different for each seed."""
    width, height = size
    rng = np.random.default_rng(seed)
    ramp = np.linspace(40, 200, width, dtype=np.uint8)[None, :, None]
    pixels = np.broadcast_to(ramp, (height, width, 3)).copy()
    for _ in range(12):
        x, y = int(rng.integers(0, width - 80)), int(rng.integers(0, height - 80))
        pixels[y : y + 80, x : x + 80] = rng.integers(0, 255, 3)
    Image.fromarray(pixels).save(path)
    return path


def clip(path: Path, seconds: float = 2.0, *, size: str = "320x240", extra: tuple[str, ...] = ()) -> Path:
    """A moving clip with sound."""
    subprocess.run(
        [str(ffmpeg_path()), "-v", "error", "-y", "-f", "lavfi", "-i", f"testsrc2=s={size}:r=30:d={seconds}",
         "-f", "lavfi", "-i", f"sine=330:d={seconds}", "-shortest", "-pix_fmt", "yuv420p", "-movflags", "+faststart", *extra, str(path)],
        check=True,
    )  # fmt: skip
    return path


def reel(
    folder: Path, scenes: int = 3, *, movie_id: str = "reel", seconds: float = 0.5, voice: bool = True, moving: bool = True
) -> Path:
    """A movie JSON with its media beside it, by relative names: stills with Ken Burns and clips in turn, a title, a voice."""
    folder.mkdir(parents=True, exist_ok=True)
    picture(folder / "still.png")
    if moving:
        clip(folder / "clip.mp4")
    parts = []
    for number in range(scenes):
        zoom = {"from": {"scale": 1}, "to": {"scale": 1.1 + number / 50}}
        ground: dict[str, Any] = {"type": "image", "src": "still.png", "kenBurns": zoom}
        if moving and number % 2:
            ground = {"type": "video", "src": "clip.mp4", "trimStart": number / 30, "duration": seconds, "muted": True}
        layers: list[dict[str, Any]] = [
            {**ground, "width": "100%", "height": "100%", "fit": "cover"},
            {"type": "text", "text": f"Scene {number}", "fontSize": 40, "color": "#ffffff", "enter": {"type": "fade", "duration": 0.2}},
        ]
        if voice and number < 2:
            layers.append({"type": "voice", "text": f"Line {number}.", "id": f"line{number}"})
        part: dict[str, Any] = {"id": f"s{number}", "duration": seconds, "layers": layers}
        if number:
            part["transition"] = {"type": "fade", "duration": 0.1}
        parts.append(part)
    document = {"id": movie_id, "title": "Reel", "width": WIDTH, "height": HEIGHT, "fps": 30, "scenes": parts}
    path = folder / f"{movie_id}.json"
    path.write_text(json.dumps(document))
    return path


def changed(movie: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """Edit a movie JSON in place."""
    document = json.loads(movie.read_text())
    change(document)
    movie.write_text(json.dumps(document))
    return movie


def environ(home: Path, **more: str) -> dict[str, str]:
    """The environment for a command that works in `home`."""
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    return {**kept, "VIRALSYNC_HOME": str(home), "PYTHONWARNINGS": "ignore", **more}


def command(*args: str | Path) -> list[str]:
    return [sys.executable, "-m", "viralsync_pipelines.cli.main", *map(str, args)]


def viralsync(home: Path, *args: str | Path, check: bool = True, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    done = subprocess.run(
        command(*args), env={**environ(home), **(env or {})}, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if check and done.returncode != 0:
        raise AssertionError(f"viralsync {args} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done


def rendered(home: Path, *args: str | Path) -> dict[str, Any]:
    """`viralsync render --json` and its answer."""
    answer: dict[str, Any] = json.loads(viralsync(home, "render", "--json", *args).stdout)
    return answer


def start(home: Path, *args: str | Path, **more: str) -> subprocess.Popen[bytes]:
    """Start a command in a process group of its own, as a shell does."""
    out = (home.parent / "started.log").open("ab")
    with out:
        return subprocess.Popen(command(*args), env=environ(home, **more), stdout=out, stderr=out, start_new_session=True)


def alive(home: Path, *, only: str = "") -> dict[int, str]:
    """Processes whose command or environment names `home`, this one aside: pid -> command. `only`: a word of the command."""
    found = {}
    wanted = str(home).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            line = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[0]
            if state in {"Z", "X"}:
                continue
            # ffmpeg is started with an empty environment; its arguments name the home.
            if wanted not in line and wanted not in (entry / "environ").read_bytes():
                continue
        except OSError:
            continue
        shown = line.replace(b"\0", b" ").decode(errors="replace").strip()
        if only in shown:
            found[int(entry.name)] = shown
    return found


def wait_until(happens: Callable[[], Any], seconds: float = 60.0, every: float = 0.02) -> Any:
    """What `happens` says once it says something; an assertion with its last answer when it never does."""
    deadline = time.monotonic() + seconds
    while True:
        answer = happens()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {seconds:g} s for {happens}, in vain")
        time.sleep(every)


def end(process: subprocess.Popen[bytes], home: Path) -> None:
    """Leave nothing of a test behind, whatever happened in it."""
    if process.poll() is None:
        process.kill()
    process.wait(30)
    for pid in alive(home):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def packets(film: Path) -> int:
    """Frames of a film, every one of them decoded."""
    import av

    with av.open(str(film)) as box:
        return sum(1 for _ in box.decode(video=0))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file()) if folder.is_dir() else []
