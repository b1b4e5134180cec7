"""Promises of the examples: they plan without a problem, look right where phones cover the picture, are made by this project, and the
demo goes through Dagster to a film that passes every check. This is also the main test from end to end.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from viralsync_pipelines.cli.inputs import read_movie_file, studio_for
from viralsync_pipelines.cli.plan import diff_facts
from viralsync_pipelines.defs.studio import Studio
from viralsync_pipelines.examples import make_media
from viralsync_pipelines.examples.catalog import DEMO, example_names, example_path
from viralsync_pipelines.movie.art import TextArt
from viralsync_pipelines.movie.motion import Motion
from viralsync_pipelines.movie.picture import Visual
from viralsync_pipelines.render.artwork import draw
from viralsync_pipelines.render.prepare import Prepared
from viralsync_pipelines.render.quality import CHECKS
from viralsync_pipelines.settings import Settings

MEDIA = Path(make_media.__file__).with_name("media")
# Left, top, right, bottom on the full canvas. Vertical: what TikTok, Reels and Shorts leave free. Others: the usual five per cent.
SAFE = {"product": (108, 250, 972, 1500), "quote-loop": (54, 54, 1026, 1026), "data-explainer": (96, 54, 1824, 1026),
        "audiogram": (54, 54, 1026, 1026)}  # fmt: skip
SHAPE = {"product": (1080, 1920, 20, 30), "quote-loop": (1080, 1080, 8, 12), "data-explainer": (1920, 1080, 15, 30),
         "audiogram": (1080, 1080, 10, 20)}  # fmt: skip


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One home for all tests here, so that lines are spoken once."""
    return tmp_path_factory.mktemp("examples") / "home"


@pytest.fixture
def plan_of(home: Path) -> Any:
    def plan(name: str, **variables: Any) -> tuple[Studio, Prepared]:
        document, folder = read_movie_file(example_path(name))
        studio = studio_for(Settings.from_env({"VIRALSYNC_HOME": str(home)}, cwd=home.parent), folder)
        return studio, studio.prepare(document, variables, draft=True)

    return plan


def test_the_demo_comes_first() -> None:
    assert example_names() == (DEMO, "audiogram", "data-explainer", "quote-loop")


@pytest.mark.parametrize("name", sorted(SHAPE))
def test_example_plans_with_its_size_and_length(name: str, plan_of: Any) -> None:
    """MovieInvalid would list every problem. Draft plans are half size."""
    plan = plan_of(name)[1].plan
    width, height, shortest, longest = SHAPE[name]
    assert (plan.canvas.width * 2, plan.canvas.height * 2) == (width, height)
    assert shortest <= plan.seconds <= longest


@pytest.mark.parametrize("name", sorted(SAFE))
def test_text_at_rest_stays_in_the_safe_area(name: str, plan_of: Any) -> None:
    studio, prepared = plan_of(name)
    easel = studio.bench(prepared.plan).easel
    left, top, right, bottom = (edge / 2 for edge in SAFE[name])
    texts = {v for piece in prepared.plan.pieces for v in piece.visuals if isinstance(v.content, TextArt)}
    shown = {(v.content, v.placement): v for v in texts}
    assert len(shown) >= 6
    for visual in shown.values():
        x0, y0, x1, y1 = _ink(visual, prepared, easel)
        assert left <= x0 <= x1 <= right, (visual.content.text, x0 * 2, x1 * 2)  # type: ignore[union-attr]
        assert top <= y0 <= y1 <= bottom, (visual.content.text, y0 * 2, y1 * 2)  # type: ignore[union-attr]


def _ink(visual: Visual, prepared: Prepared, easel: Any) -> tuple[float, float, float, float]:
    """Where letters, outline and plate are (soft shadows are not)."""
    still = Visual(visual.first, visual.frames, visual.placement, visual.look, Motion(), visual.content)
    sprite = draw(still, prepared.plan.canvas, easel)
    # The quotation mark is a sixth opaque on purpose: half of the strongest ink counts.
    solid = sprite.pixels[..., 3] > sprite.pixels[..., 3].max() / 2
    rows, columns = np.flatnonzero(solid.any(1)), np.flatnonzero(solid.any(0))
    return sprite.x + columns[0], sprite.y + rows[0], sprite.x + columns[-1] + 1, sprite.y + rows[-1] + 1


@pytest.mark.parametrize("name", ["product", "data-explainer", "audiogram"])
def test_every_line_is_spoken_to_its_end_and_alone(name: str, plan_of: Any) -> None:
    plan = plan_of(name)[1].plan
    spoken = sorted((cue for cue in plan.mix.cues if cue.speech), key=lambda cue: cue.at)
    assert len(spoken) == len(plan.speech)
    for cue in spoken:
        assert cue.length >= round(plan.speech[cue.source].duration * 48_000) - 1
    for before, after in zip(spoken, spoken[1:], strict=False):
        assert before.at + before.length + 4_800 <= after.at, "a tenth of a second between lines"


def test_product_cuts_fall_on_the_beat(plan_of: Any) -> None:
    """120 beats a minute: a scene begins on every fifteenth frame, whatever the voice's lengths are."""
    for price in (49, 1_299):
        plan = plan_of("product", price=price)[1].plan
        assert all(scene.first % 15 == 0 for scene in plan.scenes)


def test_a_new_price_costs_only_the_scene_that_shows_it(plan_of: Any) -> None:
    facts = diff_facts(plan_of("product")[1], plan_of("product", price=39)[1])
    assert {one["scene"] for one in facts["render"]} == {"home"}
    assert facts["sound"], "the price is spoken too"


def test_quote_begins_where_it_ends(plan_of: Any, tmp_path: Path) -> None:
    from viralsync_pipelines.render.scenes import render_still

    studio, prepared = plan_of("quote-loop")
    (piece,) = prepared.plan.pieces
    ends = []
    for frame in (0, piece.count - 1):
        folder = tmp_path / str(frame)
        folder.mkdir()
        render_still(piece, prepared.plan.canvas, studio.bench(prepared.plan).easel, folder, frame, folder / "o.png")
        ends.append(np.asarray(Image.open(folder / "o.png").convert("RGB"), np.float32))
    assert np.abs(ends[0] - ends[1]).mean() < 1.5, "the last frame is one step before the first"
    (cue,) = prepared.plan.mix.cues
    assert cue.span == 480_000
    assert prepared.plan.mix.length % cue.span == 0, "the music ends where it began"


def test_media_is_small_used_and_made_here() -> None:
    files = {path.name for path in MEDIA.iterdir()}
    assert files == set(make_media.makers()), "every file has something that makes it"
    assert sum(path.stat().st_size for path in MEDIA.iterdir()) < 1_800_000
    written = "".join(example_path(name).read_text(encoding="utf-8") for name in example_names())
    features = [feature["id"] for feature in json.loads(example_path("product").read_text(encoding="utf-8"))["variables"]["features"]]
    for name in files:
        stem = name.removeprefix("pip-").partition(".")[0]
        assert f"media/{name}" in written or stem in features, f"{name} is used by no example"


def test_committed_pictures_and_sounds_are_what_the_code_makes(tmp_path: Path) -> None:
    """Drawn small, because a large still takes half a minute."""
    from viralsync_pipelines.examples import robot, tunes
    from viralsync_pipelines.examples.clay import picture

    for name in ("phone", "quiet"):
        drawn = picture(*robot.stills()[name], (108, 192)).astype(np.float32)
        with Image.open(MEDIA / f"pip-{name}.jpg") as still:
            kept = np.asarray(still.convert("RGB").resize((108, 192), Image.Resampling.BOX), np.float32)
        assert np.abs(drawn - kept).mean() < 2, name
    played = tunes.pop()
    kept = _decoded(MEDIA / "pop.ogg")
    assert kept.shape == played.shape
    assert np.corrcoef(kept[:, 0], played[:, 0])[0, 1] > 0.97


def _decoded(path: Path) -> Any:
    import av

    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray().T for frame in container.decode(audio=0)])


@pytest.mark.parametrize("name", ["bed-bright", "bed-calm"])
def test_music_beds_loop_without_a_click(name: str) -> None:
    """The step over the seam is no larger than steps inside; the drums' attacks are the largest of those."""
    sound = _decoded(MEDIA / f"{name}.ogg")
    assert len(sound) in {768_000, 480_000}, "whole beats"
    steps = np.abs(np.diff(sound, axis=0))
    assert np.abs(sound[0] - sound[-1]).max() <= np.quantile(steps, 0.999)
    quiet = [np.sqrt((block**2).mean()) for block in np.array_split(sound, 64)]
    assert min(quiet) > 0.2 * max(quiet), "no hole anywhere"


@pytest.fixture(scope="module")
def demo(home: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """`viralsync demo --draft`, twice, as a user types it."""
    folder = tmp_path_factory.mktemp("demo")
    env = {**os.environ, "VIRALSYNC_HOME": str(home), "COLUMNS": "100"}
    run = partial(subprocess.run, cwd=folder, env=env, capture_output=True, text=True, timeout=500, check=False)
    first = run([sys.executable, "-m", "viralsync_pipelines.cli.main", "demo", "--draft"])
    again = run([sys.executable, "-m", "viralsync_pipelines.cli.main", "demo", "--draft", "--json", "-o", "again.mp4"])
    return {"folder": folder, "first": first, "again": again}


def test_demo_ends_with_the_path_of_a_playable_film(demo: dict[str, Any]) -> None:
    import av

    assert demo["first"].returncode == 0, demo["first"].stderr[-2000:]
    film = Path(demo["first"].stdout.strip().splitlines()[-1])
    assert film == demo["folder"] / "demo.mp4"
    with av.open(str(film)) as container:
        picture, sound = container.streams.video[0], container.streams.audio[0]
        assert (picture.width, picture.height) == (540, 960)
        frames = sum(1 for _ in container.decode(picture))
        assert 20 * 30 <= frames <= 30 * 30
        assert float(sound.duration * sound.time_base) == pytest.approx(frames / 30, abs=1 / 30)


def test_demo_passes_every_asset_check(demo: dict[str, Any], home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dagster as dg

    from viralsync_pipelines.defs.instance import open_instance

    monkeypatch.setenv("VIRALSYNC_HOME", str(home))
    monkeypatch.setenv("DAGSTER_HOME", str(home / "dagster"))
    with open_instance(Settings.from_env(os.environ, cwd=home.parent), os.environ) as instance:
        run_id = json.loads(demo["again"].stdout)["runId"]
        entries = instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    verdicts = {e.get_dagster_event().event_specific_data.check_name: e.get_dagster_event().event_specific_data for e in entries}
    assert set(verdicts) == set(CHECKS)
    assert {name for name, verdict in verdicts.items() if not verdict.passed} == set()


def test_demo_again_renders_nothing(demo: dict[str, Any]) -> None:
    done = json.loads(demo["again"].stdout)
    assert done["cachedFrames"] == done["frames"]
    assert (demo["folder"] / "again.mp4").read_bytes() == (demo["folder"] / "demo.mp4").read_bytes()


def test_demo_voice_stands_well_above_the_music(plan_of: Any) -> None:
    """By 6 dB in every line; and where nobody speaks the music comes up by 6 dB or more."""
    studio, prepared = plan_of("product")
    mix, path_of = prepared.plan.mix, studio.shelf.finder(prepared.plan)
    (bed,) = (cue for cue in mix.cues if cue.duck)
    music = np.tile(_decoded(path_of(bed.source)), (2, 1))[: mix.length] * bed.gain
    curve = np.interp(np.arange(mix.length), *zip(*mix.ducking, strict=True))
    assert _decibel(curve.max()) - _decibel(curve.min()) > 6
    lines = [cue for cue in mix.cues if cue.speech]
    assert len(lines) == 9
    for cue in lines:
        heard = slice(cue.at, cue.at + cue.length)
        voice = _decoded(path_of(cue.source)).astype(np.float32) / 32_768 * cue.gain
        assert _decibel(_rms(voice)) - _decibel(_rms(music[heard] * curve[heard, None])) > 6


def _rms(sound: Any) -> float:
    return float(np.sqrt((np.asarray(sound, np.float64) ** 2).mean()))


def _decibel(value: float) -> float:
    return 20 * float(np.log10(value))
