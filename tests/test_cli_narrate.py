"""`viralsync narrate`: a script becomes a sound with captions beside it and no server; only what changed is spoken again."""

from __future__ import annotations

import json
import wave
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.test_cli import folder, run  # noqa: F401 - fixtures
from viralsync_pipelines.movie.caption_files import read_captions

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
Run = Callable[..., tuple[int, str, str]]
SCRIPT = "---\ntitle: Tea\nspeed: 2.0\n---\n*(a kitchen)*\n**Ada:** One cup.\n\n**Bob:** Two."


def test_a_script_becomes_a_sound_with_captions_beside_it_and_what_stays_is_not_spoken_again(run: Run, folder: Path) -> None:  # noqa: F811
    (folder / "tea.md").write_text(SCRIPT)
    status, out, err = run("narrate", "tea.md")
    assert status == 0, err
    assert "Tea" in out
    assert "2 lines, 2 spoken now" in out
    assert [Path(line).name for line in out.splitlines()[1:]] == ["tea.wav", "tea.srt", "tea.vtt", "tea.words.json", "tea.chapters.json"]
    assert [cue.text for cue in read_captions((folder / "tea.srt").read_bytes())] == ["One cup.", "Two."]
    assert [word["word"] for word in json.loads((folder / "tea.words.json").read_text())["words"]] == ["One", "cup.", "Two."]

    with wave.open(str(folder / "bed.wav"), "wb") as file:
        file.setparams((1, 2, 48_000, 0, "NONE", ""))
        file.writeframes(b"\x00\x08" * 4_800)
    (folder / "tea.md").write_text(SCRIPT.replace("Two.", "Three."))
    status, out, err = run("narrate", "tea.md", "-o", "other.mp3", "--bed", "bed.wav", "--bed-mode", "trim", "--cast", "bob=de", "--json")
    assert status == 0, err
    told = json.loads(out)
    assert (told["lines"], told["spoken"], Path(told["path"]).name, told["estimatedTimings"]) == (2, 1, "other.mp3", [])
    assert (folder / "other.mp3").read_bytes()[:3] == b"ID3"
    assert sorted(path.name for path in folder.glob(".*.part")) == []


def test_wrong_scripts_and_arguments_are_told_and_end_with_2(run: Run, folder: Path) -> None:  # noqa: F811
    (folder / "empty.md").write_text("*(nothing)*")
    (folder / "sound.md").write_text("a\n\n[sfx: gone.ogg]")
    (folder / "good.md").write_text("a")
    for words, told in [
        (["empty.md"], "/script"), (["sound.md"], "/lines/1/sfx"), (["gone.md"], "DOCUMENT_INVALID"), (["good.md", "-o", "x.ogg"], "neither"),
        (["good.md", "--cast", "x"], "--cast"), (["good.md", "--bed-mode", "loop"], "--bed"), (["good.md", "--engine", "nobody"], "/engine"),
    ]:  # fmt: skip
        status, out, err = run("narrate", *words)
        assert (status, out) == (2, ""), (words, err)
        assert told in err


def test_a_voice_that_is_not_there_fails_and_says_so(run: Run, folder: Path) -> None:  # noqa: F811
    (folder / "bad.md").write_text("a")
    status, out, _ = run("narrate", "bad.md", "--voice", "nobody-at-all", "--json")
    assert status == 1
    assert "VOICE_NOT_FOUND" in json.loads(out)["failures"][0]["error"]
