"""The same movie gives the same bytes, whoever renders how much of it at a time."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from tests.test_bucket_render import render


def test_a_film_is_the_same_to_the_byte_at_one_scene_at_a_time_and_at_four(tmp_path: Path) -> None:
    """Two renders through Dagster with empty caches, at concurrency 1 and 4: voice, movement, transitions and all."""
    Image.effect_noise((500, 800), 60).convert("RGB").save(tmp_path / "noise.png")
    scenes = [
        {
            "id": f"s{n}",
            "duration": 1,
            "transition": {"type": "wipeleft", "duration": 0.2},
            "layers": [
                {"type": "image", "src": "noise.png", "kenBurns": {"to": {"scale": 1.1 + n / 10}}},
                {"type": "text", "text": f"Part {n}", "enter": {"type": "pop", "duration": 0.3}},
                {"type": "voice", "text": f"Part {n}."},
            ],
        }
        for n in range(5)
    ]
    movie = tmp_path / "movie.json"
    movie.write_text(json.dumps({"id": "same", "width": 360, "height": 640, "scenes": scenes}))

    films = []
    for concurrency in ("1", "4"):
        out = tmp_path / f"film{concurrency}.mp4"
        facts = render(movie, out, "--concurrency", concurrency, VIRALSYNC_HOME=str(tmp_path / f"home{concurrency}"))
        assert facts["cachedFrames"] == 0
        films.append(out.read_bytes())

    assert films[0] == films[1]
