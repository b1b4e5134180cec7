"""Narrations over HTTP on a real gateway whose runs are real: submitted once, shown line by line, one line changed and one spoken, one's
own audio put in place; and everything that is refused, with its place."""

from __future__ import annotations

import array
import io
import math
import os
import wave
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from tests.servers.gateway import Gateway, gateway
from viralsync_pipelines.defs.home import event_marks
from viralsync_pipelines.defs.instance import dagster_home, open_instance
from viralsync_pipelines.defs.narrating import narrate_text
from viralsync_pipelines.defs.resources import settings_now, store_of
from viralsync_pipelines.errors import RenderUnavailable
from viralsync_pipelines.gateway.recordings import read_cuts
from viralsync_pipelines.jobs.orders import JOB_TAG, RenderOrder, SpeechOrder
from viralsync_pipelines.jobs.run_config import config_again, narration_config
from viralsync_pipelines.movie.caption_files import read_captions
from viralsync_pipelines.orchestrator.runs import open_board
from viralsync_pipelines.speech.order import NarrationInvalid
from viralsync_pipelines.storage.database import Database, open_database

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


class Live:
    """A Launcher whose runs are carried out at once, in this process. away: nobody is there."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance, self.away = instance, False

    def narrate(self, order: SpeechOrder, *, resumed: bool = False) -> str:
        return self._run(narration_config(order.document), {**order.tags, JOB_TAG: order.job_id})

    def again(self, run_id: str, *, tags: Mapping[str, str], changes: Mapping[str, Any], fresh: Sequence[str]) -> str:
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return self._run(config_again(run.run_config, changes, fresh, ()), {**run.tags, **tags})

    def _run(self, config: Mapping[str, Any], tags: Mapping[str, str]) -> str:
        if self.away:
            raise RenderUnavailable("away")
        kept = {name: value for name, value in tags.items() if not name.startswith((".dagster", "dagster"))}
        config = {**config, **_QUIET}
        return narrate_text.execute_in_process(run_config=config, instance=self.instance, tags=kept, raise_on_error=False).run_id

    def launch(self, order: RenderOrder, *, resumed: bool = False) -> str:
        raise NotImplementedError

    def cancel(self, run_id: str, *, force: bool = False) -> bool:
        return False

    def forget(self, run_id: str) -> None:
        self.instance.delete_run(run_id)

    def answers(self) -> bool:
        return not self.away


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gateway]:
    monkeypatch.setenv("VIRALSYNC_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings_now())))
    settings = settings_now()
    database: Database = open_database(None, tmp_path / "home")
    database.migrate()
    with open_instance(settings, os.environ) as instance:
        board = open_board(instance, database, event_marks, lambda: 0)
        given: dict[str, Any] = {"board": board, "launcher": Live(instance), "store": store_of(settings)}
        with gateway(database, tmp_path, **given) as made:
            yield made
    database.close()


def submitted(client: httpx.Client, **order: Any) -> str:
    answer = client.post("/v1/speech/narrate", json=order)
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"].endswith(answer.json()["jobId"])
    return str(answer.json()["jobId"])


def shown(client: httpx.Client, job: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/speech/{job}").raise_for_status().json()
    return found


def faults(answer: httpx.Response) -> dict[str, str]:
    assert answer.status_code == 400, answer.text
    return {each["pointer"]: each["code"] for each in answer.json()["problems"]}


def wav(seconds: float, rate: int = 48_000) -> bytes:
    values = array.array("h", (round(9_000 * math.sin(2 * math.pi * 330 * n / rate)) for n in range(round(seconds * rate))))
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(values.tobytes())
    return data.getvalue()


def test_a_narration_is_submitted_once_shown_changed_in_one_line_and_deleted(gate: Gateway) -> None:
    client = gate.client()
    order = {"script": "# Dawn\nOne.\n\nTwo.\n# Noon\nThree.", "speed": 2.0, "projectId": "p"}
    first = client.post("/v1/speech/narrate", json=order, headers={"Idempotency-Key": "k"})
    again = client.post("/v1/speech/narrate", json=order, headers={"Idempotency-Key": "k"})
    assert (first.json(), again.headers["idempotent-replayed"]) == (again.json(), "true")
    job = first.json()["jobId"]
    assert client.post("/v1/speech/narrate", json={**order, "speed": 1.5}, headers={"Idempotency-Key": "k"}).status_code == 422

    view = shown(client, job)
    told = [(line["number"], line["status"], line["text"]) for line in view["lines"]]
    assert told == [(1, "done", "One."), (2, "done", "Two."), (3, "done", "Three.")]
    assert [each["title"] for each in view["chapters"]] == ["Dawn", "Noon"]
    whole = client.get(f"/v1/jobs/{job}").json()
    assert (whole["type"], whole["status"], whole["children"]["succeeded"], whole["payload"]["projectId"]) == ("speech.narrate", "done", 3, "p")
    assert whole["outputUrl"] == view["files"]["narration.wav"]
    sound = client.get(view["files"]["narration.wav"])
    with wave.open(io.BytesIO(sound.content)) as file:
        assert file.getnframes() / file.getframerate() == view["duration"]
    assert client.get(view["files"]["narration.mp3"], headers={"range": "bytes=0-2"}).content == b"ID3"
    assert [cue.text for cue in read_captions(client.get(view["files"]["narration.srt"]).content)] == ["One.", "Two.", "Three."]
    assert set(view["files"]) == {
        "narration.wav", "narration.mp3", "narration.srt", "narration.vtt", "words.json", "chapters.json", "chapters.ffmeta",
    }  # fmt: skip

    changed = client.put(f"/v1/speech/{job}/lines/2", json={"text": "Two and a half.", "delayAfter": 1.0})
    assert (changed.status_code, changed.json()) == (202, {"jobId": job, "lines": [f"line_{job}_002"], "status": "queued", "attempt": 2})
    now = shown(client, job)
    assert now["lines"][1]["text"] == "Two and a half."
    assert now["lines"][2]["start"] == pytest.approx(now["lines"][1]["end"] + 1.0)
    children = client.get(f"/v1/jobs/{job}/children").json()["jobs"]
    assert [child["result"]["cache"] for child in children] == ["hit", "miss", "hit"]
    assert all(child["result"]["costUsd"] == 0 and child["result"]["characters"] > 3 for child in children)

    assert client.post(f"/v1/speech/{job}/lines/3/regenerate").status_code == 202
    assert [child["result"]["cache"] for child in client.get(f"/v1/jobs/{job}/children").json()["jobs"]] == ["hit", "hit", "miss"]
    # One line's own job, tried again.
    assert client.post(f"/v1/jobs/line_{job}_001/retry", json={"scope": "all"}).status_code == 202
    assert [child["result"]["cache"] for child in client.get(f"/v1/jobs/{job}/children").json()["jobs"]] == ["miss", "hit", "hit"]
    # Another order in its place: what stays is found.
    assert client.put(f"/v1/speech/{job}", json={**now["script"], "lines": [*now["script"]["lines"], {"text": "Four."}]}).status_code == 202
    assert [child["result"]["cache"] for child in client.get(f"/v1/jobs/{job}/children").json()["jobs"]] == ["hit", "hit", "hit", "miss"]

    assert client.delete(f"/v1/jobs/{job}").status_code == 204
    assert client.get(f"/v1/speech/{job}").status_code == 404
    assert not list(gate.store.list(f"outputs/{job}/"))


def test_ones_own_audio_stands_in_for_lines_cut_by_time_stamps_and_a_voice_comes_back(gate: Gateway) -> None:
    client = gate.client()
    job = submitted(client, lines=["One.", "Two.", "Three."], speed=2.0, gap=0)
    answer = client.put(f"/v1/speech/{job}/recording", params={"cuts": "1=0:00-0:00.5, 3=0:01-"}, content=wav(2.0))
    assert (answer.status_code, answer.json()["lines"]) == (202, [f"line_{job}_001", f"line_{job}_003"])
    view = shown(client, job)
    assert [(line["own"], line["engine"], line["timing"]) for line in view["lines"]] == [
        (True, "own", "estimate"), (False, "espeak", "native"), (True, "own", "estimate"),
    ]  # fmt: skip
    assert [round(line["end"] - line["start"], 6) for line in view["lines"]][::2] == [0.5, pytest.approx(1.0, abs=1e-5)]
    answer = client.put(f"/v1/speech/{job}/lines/2/audio", params={"start": "0:00.25", "end": "0:00.75"}, content=wav(1.0, 44_100))
    assert answer.status_code == 202
    assert shown(client, job)["lines"][1]["own"]
    assert client.put(f"/v1/speech/{job}/lines/1", json={"audio": None}).status_code == 202
    assert [line["engine"] for line in shown(client, job)["lines"]] == ["espeak", "own", "own"]


def test_what_cannot_be_is_refused_with_its_place_and_nothing_changes(gate: Gateway) -> None:
    client = gate.client()

    def asked(**order: Any) -> dict[str, str]:
        return faults(client.post("/v1/speech/narrate", json=order))

    assert asked() == {"/script": "FIELD_MISSING"}
    assert asked(script="*(nothing)*") == {"/script": "FIELD_MISSING"}
    both = {"/script": "SOURCE_REFUSED", "/callbackUrl": "CALLBACK_REFUSED"}
    assert asked(script="a\n\n[sfx: concat:a]", callbackUrl="http://10.0.0.1/") == both
    assert asked(lines=["a"], engine="nobody") == {"/engine": "ENGINE_NOT_FOUND"}
    assert asked(lines=["a", {"text": "b", "speed": 9}], vioce="x") == {"/lines/1/speed": "VALUE_OUT_OF_RANGE", "/vioce": "FIELD_UNKNOWN"}
    assert asked(lines=[{"sfx": "job:job_000000000000"}, "a"]) == {"/lines/0/sfx": "SOURCE_REFUSED"}
    assert asked(lines=["a"], bed={"src": "ftp://x/y"}) == {"/bed/src": "SOURCE_REFUSED"}
    job = submitted(client, lines=["One."], speed=2.0)
    before = shown(client, job)
    change = f"/v1/speech/{job}/lines/1"
    assert faults(client.put(change, json={"text": " "})) == {"/text": "FIELD_MISSING"}
    assert faults(client.put(change, json={"engine": "nobody"})) == {"/engine": "ENGINE_NOT_FOUND"}
    assert faults(client.put(change, json={"sfx": "a"})) == {"/sfx": "FIELD_UNKNOWN"}
    assert faults(client.put(change, json={"audio": {"src": "blob:x"}})) == {"/audio/src": "SOURCE_REFUSED"}
    missing = client.put(f"/v1/speech/{job}/lines/2", json={})
    assert (missing.status_code, missing.json()["code"]) == (404, "LINE_NOT_FOUND")
    assert faults(client.put(f"{change}/audio", content=b"no sound at all, only words and more words of it")) == {"": "SOURCE_REFUSED"}
    assert faults(client.put(f"{change}/audio", content=b"")) == {"": "SOURCE_UNREADABLE"}
    recording = f"/v1/speech/{job}/recording"
    late = client.put(recording, params={"cuts": "1=0:05-0:06"}, content=wav(0.5))
    assert faults(late) == {"/query/cuts": "VALUE_OUT_OF_RANGE"}
    assert client.put(recording, params={"cuts": "7=0-1"}, content=wav(0.5)).status_code == 404
    live: Any = gate.deps.launcher
    live.away = True
    assert client.put(change, json={"text": "Other."}).status_code == 503
    live.away = False
    assert shown(client, job) == before
    assert client.get("/v1/speech/job_000000000000").status_code == 404
    reader = gate.client(gate.key(read_only=True))
    assert reader.put(change, json={"text": "Other."}).status_code == 403
    stranger = gate.client(gate.key("others"))
    assert stranger.get(f"/v1/speech/{job}").status_code == 404
    assert stranger.put(change, json={"text": "Other."}).status_code == 404


def test_parts_of_a_recording_are_read_and_wrong_ones_told() -> None:
    assert read_cuts("1=0:00-1:02.5, 12=62.5-") == [(1, 0.0, 62.5), (12, 62.5, None)]
    for wrong in ("", "1=0-1,", "x=0-1", "1=a-b", "1=0:00", "1=0-1,1=1-2", "1=::-1"):
        with pytest.raises(NarrationInvalid):
            read_cuts(wrong)
