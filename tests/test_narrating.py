"""The job `narrate_text` on a real Dagster: a step and a child job for every line, one track of them to the sample, only what changed
is spoken again, and one's own recordings in place of a voice."""

from __future__ import annotations

import array
import json
import math
import os
import wave
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from viralsync_pipelines.board.board import Board
from viralsync_pipelines.defs.home import event_marks
from viralsync_pipelines.defs.instance import dagster_home, open_instance
from viralsync_pipelines.defs.narrated import keep_script
from viralsync_pipelines.defs.narrating import narrate_text
from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.defs.studio import made_by
from viralsync_pipelines.jobs.model import Status
from viralsync_pipelines.jobs.orders import JOB_TAG
from viralsync_pipelines.jobs.run_config import config_again, narration_config
from viralsync_pipelines.movie.caption_files import read_captions
from viralsync_pipelines.orchestrator.runs import open_board
from viralsync_pipelines.storage.database import open_database
from viralsync_pipelines.storage.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
JOB = "job_0123456789ab"


class Desk:
    """A store, a Dagster, and narrations in them."""

    def __init__(self, instance: dg.DagsterInstance, board: Board, store: Store, folder: Path) -> None:
        self.instance, self.board, self.store, self.folder = instance, board, store, folder

    def narrate(self, order: Mapping[str, Any] | None = None, *, job: str = JOB, fresh: tuple[str, ...] = ()) -> dg.ExecuteInProcessResult:
        """A run of it; without an order another one of the job."""
        if order is not None:
            self.store.put_bytes(f"narrations/{job}.json", json.dumps(order).encode())
        config = narration_config(f"narrations/{job}.json", str(self.folder), fresh)
        quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
        config = {**config, **quiet}
        return narrate_text.execute_in_process(run_config=config, instance=self.instance, tags={JOB_TAG: job}, raise_on_error=False)

    def json(self, name: str, job: str = JOB) -> Any:
        return json.loads(self.store.get_bytes(f"outputs/{job}/{name}"))

    def sound(self, key: str) -> tuple[int, int, array.array[int]]:
        path = self.store.local_path(key)
        assert path is not None
        with wave.open(str(path)) as file:
            return file.getframerate(), file.getnchannels(), array.array("h", file.readframes(file.getnframes()))

    def track(self, job: str = JOB) -> tuple[int, int, array.array[int]]:
        return self.sound(self.json("narration.json", job)["files"]["narration.wav"]["key"])

    def spoken(self) -> int:
        """Lines that were really spoken, ever: each leaves one sound in the store."""
        return sum(key.endswith(".wav") for key in self.store.list("cache/speech/"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setenv("VIRALSYNC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings_now())))
    settings = settings_now()
    database = open_database(None, tmp_path / "home")
    database.migrate()
    (tmp_path / "media").mkdir()
    with open_instance(settings, os.environ) as instance:
        board = open_board(instance, database, event_marks, lambda: 0)
        yield Desk(instance, board, store_of(settings), tmp_path / "media")
    database.close()


def tone(path: Path, seconds: float, rate: int = 48_000) -> Path:
    values = array.array("h", (round(9_000 * math.sin(2 * math.pi * 330 * n / rate)) for n in range(round(seconds * rate))))
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    return path


SCRIPT = """\
---
title: The lake
gap: 0.25
cast: {Ada: {voice: en-us, speed: 1.6}}
---
## Dawn
*(never spoken)*
**Ada:** It is 5 °C. [pause 0.5s] Cold!

## Noon
**Bob:** Yes.
"""


def test_a_script_becomes_a_track_with_captions_words_chapters_and_a_child_job_for_every_line(desk: Desk) -> None:
    result = desk.narrate({"script": SCRIPT, "speed": 1.8})
    assert result.success
    receipt = desk.json("narration.json")
    assert [(line["number"], line["name"], line["text"], line["said"]) for line in receipt["lines"]] == [
        (1, "Ada", "It is 5 °C.", "It is 5 degrees Celsius."), (2, "Ada", "Cold!", "Cold!"), (3, "Bob", "Yes.", "Yes."),
    ]  # fmt: skip
    assert [section["context"] for section in receipt["sections"]] == [["never spoken"], []]
    rate, channels, samples = desk.track()
    assert (rate, channels, len(samples)) == (22_050, 1, receipt["samples"])
    wanted = array.array("h", bytes(2 * receipt["samples"]))
    for line in receipt["lines"]:
        own = desk.sound(line["key"])[2]
        assert len(own) == line["samples"]
        wanted[line["at"] : line["at"] + len(own)] = own
    assert samples == wanted
    first, second, third = receipt["lines"]
    assert second["at"] - first["at"] - first["samples"] == 11_025
    assert third["at"] - second["at"] - second["samples"] == round(0.8 * 22_050)

    words = desk.json("words.json")["words"]
    assert [word["word"] for word in words] == ["It", "is", "5", "°C.", "Cold!", "Yes."]
    assert [word["line"] for word in words] == [1, 1, 1, 1, 2, 3]
    for word in words:
        line = receipt["lines"][word["line"] - 1]
        assert line["start"] <= word["start"] < word["end"] <= line["end"]
    for name in ("narration.srt", "narration.vtt"):
        cues = read_captions(desk.store.get_bytes(f"outputs/{JOB}/{name}"), name)
        assert [cue.text for cue in cues] == ["It is 5 °C.", "Cold!", "Yes."]
        assert [cue.start_ms for cue in cues] == [round(1000 * words[at]["start"]) for at in (0, 4, 5)]
    assert [(each["title"], each["start"]) for each in desk.json("chapters.json")["chapters"]] == [("Dawn", 0.0), ("Noon", third["start"])]
    assert desk.store.get_bytes(f"outputs/{JOB}/chapters.ffmeta").startswith(b";FFMETADATA1\ntitle=The lake\n")
    assert desk.store.get_bytes(receipt["files"]["narration.mp3"]["key"])[:3] == b"ID3"
    # What a movie opens by job:<id>.
    assert made_by(desk.store, JOB) == receipt["files"]["narration.wav"]["key"]

    job = desk.board.find(JOB)
    assert job is not None
    assert (job.type, job.status, job.output) == ("speech.narrate", Status.DONE, f"outputs/{JOB}/narration.wav")
    assert job.result is not None
    assert (job.result["lines"], job.result["characters"], job.result["costUsd"]) == (3, receipt["characters"], 0.0)
    assert job.counts is not None
    assert (job.counts.total, job.counts.succeeded) == (3, 3)
    children = desk.board.children(JOB)
    assert [(child.id, child.type, child.title) for child in children] == [
        (f"line_{JOB}_00{number}", "speech.line", title) for number, title in enumerate(["It is 5 °C.", "Cold!", "Yes."], 1)
    ]
    assert {(child.result or {})["cache"] for child in children} == {"miss"}
    assert all((child.result or {})["characters"] > 0 and (child.result or {})["engine"] == "espeak" for child in children)
    shown = result.get_step_success_events()
    assert len(shown) == 5
    assert desk.store.get_bytes(receipt["files"]["narration.wav"]["key"])


def test_of_fifty_lines_the_one_that_changed_is_spoken_again_and_every_other_sample_stays(desk: Desk) -> None:
    lines: list[dict[str, Any]] = [{"text": f"Line {number}.", "speed": 2.0} for number in range(1, 51)]
    assert desk.narrate({"lines": lines, "gap": 0.1}).success
    before, receipt = desk.track()[2], desk.json("narration.json")
    assert (desk.spoken(), len(receipt["lines"])) == (50, 50)

    script = desk.json("script.json")
    script["lines"][24]["text"] = "Something else."
    keep_script(desk.store, JOB, script)
    assert desk.narrate().success
    assert desk.spoken() == 51
    again, now = desk.json("narration.json"), desk.track()[2]
    assert [line["number"] for line in again["lines"] if line["cache"] == "miss"] == [25]
    assert again["lines"][24]["text"] == "Something else."
    start, moved = receipt["lines"][24]["at"], again["samples"] - receipt["samples"]
    assert now[:start] == before[:start]
    after = receipt["lines"][25]["at"]
    assert now[after + moved :] == before[after:]
    assert [child.attempt for child in desk.board.children(JOB)] == [2] * 50
    assert {(child.result or {})["cache"] for child in desk.board.children(JOB) if child.index != 24} == {"hit"}


def test_a_silence_is_changed_without_a_word_spoken_and_a_line_is_spoken_anew_by_its_number(desk: Desk) -> None:
    assert desk.narrate({"lines": ["One.", "Two."], "speed": 2.0, "gap": 0.1}).success
    before = desk.json("narration.json")["samples"]
    script = desk.json("script.json")
    script["lines"][0]["delayAfter"] = 1.0
    keep_script(desk.store, JOB, script)
    assert desk.narrate().success
    assert desk.spoken() == 2
    assert desk.json("narration.json")["samples"] == before + round(0.9 * 22_050)
    assert desk.narrate(fresh=("2",)).success
    assert [line["cache"] for line in desk.json("narration.json")["lines"]] == ["hit", "miss"]
    again = config_again(narration_config("d", "f", ("1",)), {}, ("2",), ())
    assert again["ops"]["lay_out_script"]["config"] == {"document": "d", "folder": "f", "fresh": ["2"]}
    assert again["ops"]["join_lines"]["config"] == {"document": "d", "folder": "f"}
    assert "fresh" not in config_again(again, {}, (), ())["ops"]["lay_out_script"]["config"]


def test_a_line_that_fails_fails_alone_and_the_next_attempt_finds_the_others(desk: Desk) -> None:
    assert not desk.narrate({"lines": ["One.", {"text": "Two.", "voice": "no-such-voice"}, "Three."], "speed": 2.0}).success
    job = desk.board.find(JOB)
    assert job is not None
    assert (job.status, (job.error or "").partition(":")[0]) == (Status.FAILED, "VOICE_NOT_FOUND")
    assert [child.status.value for child in desk.board.children(JOB)] == ["done", "failed", "done"]
    assert desk.board.children(JOB)[1].attempt == 1
    script = desk.json("script.json")
    script["lines"][1]["voice"] = "en-us"
    keep_script(desk.store, JOB, script)
    assert desk.narrate().success
    assert [line["cache"] for line in desk.json("narration.json")["lines"]] == ["hit", "miss", "hit"]


def test_ones_own_recording_stands_in_for_a_voice_to_the_sample_and_beds_and_effects_are_heard(desk: Desk) -> None:
    tone(desk.folder / "take.wav", 2.0)
    tone(desk.folder / "bed.wav", 0.5, 44_100)
    own = {"text": "My own words.", "audio": {"src": "take.wav", "start": "0:00.5", "end": "0:01"}}
    assert desk.narrate({"lines": [own, {"sfx": "bed.wav", "volume": 0.5}], "gap": 0.1}).success
    receipt = desk.json("narration.json")
    assert (receipt["lines"][0]["engine"], receipt["lines"][0]["timing"], receipt["lines"][0]["samples"]) == ("own", "estimate", 24_000)
    assert [word["word"] for word in desk.json("words.json")["words"]] == ["My", "own", "words."]
    rate, channels, samples = desk.track()
    assert (rate, channels, len(samples)) == (48_000, 2, 2 * (24_000 + 4_800 + 24_000))
    left = samples[::2]
    with wave.open(str(desk.folder / "take.wav")) as file:
        take = array.array("h", file.readframes(96_000))
    assert left[:24_000] == take[24_000:48_000]
    assert not any(left[24_000:28_700])
    assert 4_300 < max(left[30_000:50_000]) < 4_700

    bed = {"src": "bed.wav", "mode": "loop", "fadeIn": 0, "fadeOut": 0}
    assert desk.narrate({"lines": [{"text": "Hi.", "speed": 2.0, "delayAfter": 0.5}], "bed": bed}, job="job_00000000bed0").success
    # The voice has fallen silent; the bed goes on to the end, at a fifth of its level.
    assert 1_500 < max(desk.track("job_00000000bed0")[2][-2_000:]) < 2_200


def test_every_sound_that_cannot_be_brought_in_is_told_with_its_place_before_anything_is_spoken(desk: Desk) -> None:
    (desk.folder / "no.wav").write_bytes(b"RIFFnothing")
    order = {"lines": ["Hi.", {"sfx": "gone.wav"}, {"audio": {"src": "no.wav"}}], "bed": {"src": "https://127.0.0.1/x.mp3"}}
    assert not desk.narrate(order).success
    job = desk.board.find(JOB)
    assert job is not None
    assert all(place in (job.error or "") for place in ("/lines/1/sfx", "/lines/2/audio/src", "/bed/src"))
    assert desk.spoken() == 0
