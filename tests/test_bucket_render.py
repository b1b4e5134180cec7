"""A film rendered with everything in a bucket: the same job, the same bytes, and sources that travel through the store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from PIL import Image

from tests.servers.s3 import ACCESS_KEY, SECRET_KEY, s3_server

MOVIE = {
    "id": "bucket",
    "width": 360,
    "height": 640,
    "scenes": [
        {"id": "one", "duration": 1, "layers": [{"type": "image", "src": "noise.png", "kenBurns": {"to": {"scale": 1.3}}}]},
        {
            "id": "two",
            "transition": {"type": "fade", "duration": 0.2},
            "layers": [{"type": "voice", "text": "Words from a bucket."}, {"type": "text", "text": "Hello"}],
        },
    ],
}


def render(movie: Path, out: Path, *more: str, **settings: str) -> dict[str, Any]:
    """`viralsync render --json` in a process of its own, since a forkserver keeps the environment it was born with."""
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower()}
    command = [sys.executable, "-m", "viralsync_pipelines.cli.main", "render", str(movie), "-o", str(out), "--json", *more]
    done = subprocess.run(command, env=kept | settings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_a_film_renders_into_a_bucket_and_is_the_same_as_from_a_folder(tmp_path: Path) -> None:
    """Clips, sound, plan and film go to the bucket; the bytes are those of a local render; a second run renders nothing."""
    movie = tmp_path / "movie" / "movie.json"
    movie.parent.mkdir()
    Image.effect_noise((400, 700), 60).convert("RGB").save(movie.parent / "noise.png")
    movie.write_text(json.dumps(MOVIE))

    render(movie, tmp_path / "local.mp4", VIRALSYNC_HOME=str(tmp_path / "local"))
    with s3_server(tmp_path / "server") as server:
        bucket = {
            "VIRALSYNC_HOME": str(tmp_path / "remote"),
            "VIRALSYNC_STORE": f"s3://{server.bucket}/films",
            "S3_URL": server.url,
            "S3_ACCESS_KEY": ACCESS_KEY,
            "S3_SECRET_KEY": SECRET_KEY,
        }
        first = render(movie, tmp_path / "remote.mp4", **bucket)
        second = render(movie, tmp_path / "again.mp4", **bucket)
        keys = [item["Key"] for item in server.raw.list_objects_v2(Bucket=server.bucket)["Contents"]]

    assert (tmp_path / "remote.mp4").read_bytes() == (tmp_path / "local.mp4").read_bytes()
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "local.mp4").read_bytes()
    assert (first["cachedFrames"], second["cachedFrames"]) == (0, second["frames"])
    assert any(key.startswith("films/cache/sources/") for key in keys)
    assert f"films/outputs/{first['jobId']}/output.mp4" in keys
