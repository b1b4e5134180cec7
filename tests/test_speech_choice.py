"""Who speaks: what a layer leaves out comes from the movie, what the movie leaves out from its channel; and which voices there are to choose."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from tests.servers.gateway import gateway
from tests.servers.provider import ScriptedProvider, provider_server, reply
from tests.soundbites import samples, wav
from viralsync_pipelines.cli.main import main
from viralsync_pipelines.cli.voices import changes_of
from viralsync_pipelines.defs.voices import ChannelInvalid, keep_speech, means_of, speech_of_channel
from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.movie.plan import lines
from viralsync_pipelines.movie.script import Line, Spoken
from viralsync_pipelines.movie.spec import Movie, read_movie
from viralsync_pipelines.movie.voicing import Speech, filled, with_speech
from viralsync_pipelines.render.gather import Gathered, gather, pending_line
from viralsync_pipelines.render.sources import Sources
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.speech.engine import ENGINES
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore


def movie(*layers: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"scenes": [{"id": "a", "layers": [{"type": "voice", "text": f"Line {n}", **layer} for n, layer in enumerate(layers)]}], **more}


def lines_of(document: dict[str, Any]) -> tuple[Line, ...]:
    read = read_movie(document)
    assert read.problems == []
    assert isinstance(read.movie, Movie)
    return lines(read.movie)


# --- movies -----------------------------------------------------------------------------------------------------------


def test_a_layer_says_everything_an_engine_may_want_to_know() -> None:
    said = {"engine": "elevenlabs", "voice": "Rachel", "speed": 1.1, "pitch": 0.9, "style": "0.3", "stability": 0.2, "similarity": 0.8, "language": "de"}
    (line,) = lines_of(movie({**said, "fallback": ["edge/x", "espeak"]}))
    assert line == Line("Line 0", **said, fallback=("edge/x", "espeak"))
    assert lines_of(movie({})) == (Line("Line 0"),)


def test_what_a_layer_leaves_out_comes_from_the_movie_in_every_place() -> None:
    speech = {"engine": "edge", "voice": "katja", "speed": 1.2, "style": "sad", "language": "de", "fallback": ["espeak"]}
    document = movie({}, {"speed": 1.0}, {"voice": "conrad"}, {"engine": "espeak"}, {"engine": "edge"}, {"voice": None}, speech=speech)
    document["layers"] = [{"type": "voice", "text": "Over all"}]
    over, plain, slow, other, engine, same, none = lines_of(document)
    edge = Line("", engine="edge", voice="katja", speed=1.2, style="sad", language="de", fallback=("espeak",))
    assert [(each.engine, each.voice, each.speed) for each in (over, plain, same)] == [("edge", "katja", 1.2)] * 3
    assert plain == Line(**{**edge.__dict__, "text": "Line 0"})
    assert (slow.speed, slow.voice) == (1.0, "katja"), "what stands there counts, also when it is the usual"
    assert (other.voice, other.engine, other.style) == ("conrad", "edge", "sad")
    assert (engine.voice, engine.style, engine.speed, engine.fallback) == (None, None, 1.2, ("espeak",)), "another engine's voice is none of its"
    assert none.voice is None


def test_faults_of_the_movies_speech_are_told_there_and_once() -> None:
    problems = read_movie(movie({}, {}, speech={"engine": "edge", "speed": 9, "vioce": "x"})).problems
    assert [(each.pointer, each.code) for each in problems] == [("/speech/speed", "VALUE_OUT_OF_RANGE"), ("/speech/vioce", "FIELD_UNKNOWN")]


def test_what_fails_to_speak_is_told_where_it_was_written(tmp_path: Path) -> None:
    def speak(line: Line) -> Spoken:
        raise SpeechError("no", code="VOICE_NOT_FOUND" if line.voice else "SPEECH_KEY_MISSING", pointer=None)

    read = read_movie(movie({"text": "a"}, {"text": "b", "voice": "own"}, {"text": "c", "engine": "openai"}, speech={"engine": "edge", "voice": "katja"}))
    gathered = Gathered()
    bench = Sources(cache=tmp_path / "cache", store=LocalStore(tmp_path / "store"))
    gather(read.layers, gathered, bench, speak, voiced=read.voiced)
    assert [problem.pointer for problem in gathered.problems] == ["/speech/voice", "/scenes/0/layers/1/voice", "/scenes/0/layers/2/engine"]


def test_nothing_is_spoken_while_who_speaks_waits_for_a_measured_time() -> None:
    place = "/scenes/0/layers/0"
    for field in ("text", "ssml", "voice", "engine", "pitch", "style", "language", "fallback"):
        assert pending_line(place, {f"{place}/{field}"}) == field
        assert pending_line(place, {f"/speech/{field}"}) is not None
    assert pending_line(place, {f"{place}/volume", "/scenes/0/layers/1/text"}) is None


def test_filling_never_overrides_and_leaves_strange_documents_alone() -> None:
    assert filled({"voice": None}, {"voice": "x", "speed": 2}) == {"voice": None, "speed": 2}
    assert filled({"engine": "a"}, {"engine": "b", "voice": "x", "stability": 1, "pitch": 2}) == {"engine": "a", "pitch": 2}
    assert with_speech({"speech": 5}, {"engine": "a"}) == {"speech": 5}
    assert with_speech({"title": "x"}, {"engine": "a"}) == {"title": "x", "speech": {"engine": "a"}}
    assert with_speech({"title": "x"}, {}) == {"title": "x"}
    assert set(Speech.model_fields) <= set(Line.__dataclass_fields__)


# --- channels ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProvider]:
    """An OpenAI-shaped server on this machine, named in the environment alone."""
    with provider_server() as found:
        found.on("POST", "/v1/audio/speech", reply(200, wav(samples(1.0)), Content_Type="audio/wav"))
        monkeypatch.setenv("OPENAI_SPEECH_BASE_URL", f"{found.url}/v1")
        yield found


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
def test_a_run_of_a_channel_is_spoken_as_the_channel_says_below_what_the_movie_says(
    service: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from viralsync_pipelines.defs.build import build_defs
    from viralsync_pipelines.defs.instance import dagster_home, open_instance
    from viralsync_pipelines.defs.resources import settings_now, store_of
    from viralsync_pipelines.defs.take import MOVIES

    settings = settings_now()
    monkeypatch.setenv("DAGSTER_HOME", str(dagster_home(settings)))
    keep_speech(store_of(settings), "science", {"engine": "openai", "voice": "nova", "speed": 1.5})
    document = movie({}, {"voice": "echo"}, {"engine": "espeak", "speed": 1.0}, speech={"speed": 1.25})
    with open_instance(settings, os.environ) as instance:
        instance.add_dynamic_partitions(MOVIES.name or "", ["m"])
        for channel, engines in (("science", ["openai", "openai", "espeak"]), ("no channel/..", ["espeak"] * 2)):
            plain = document if channel == "science" else movie({}, {"engine": "espeak", "text": "c"})
            job = build_defs().resolve_implicit_global_asset_job_def()
            done = job.execute_in_process(
                instance=instance, partition_key="m", asset_selection=[dg.AssetKey("narration")], tags={"viralsync/channel": channel},
                run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}, "ops": {"narration": {"ops": {"find_lines": {"config": {"movie": plain}}}}}},
            )  # fmt: skip
            assert done.success
            spoken = done.output_for_node("narration.gather_narration")
            assert [each["engine"] for each in spoken] == engines
            if channel == "science":
                assert [each["timing"] for each in spoken] == ["estimate", "estimate", "native"]
    assert sorted((each.json["voice"], each.json["speed"]) for each in service.requests) == [("echo", 1.25), ("nova", 1.25)]


def test_a_channels_document_keeps_what_else_it_holds_and_faults_are_told(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_bytes("channels/science.json", b'{"rpm": 4, "speech": {"engine": "espeak"}}')
    assert speech_of_channel(store, "science") == {"engine": "espeak"}
    keep_speech(store, "science", {"engine": "edge", "voice": "x"})
    assert json.loads(store.get_bytes("channels/science.json")) == {"rpm": 4, "speech": {"engine": "edge", "voice": "x"}}
    assert speech_of_channel(store, "other") == speech_of_channel(store, None) == speech_of_channel(store, "../../etc") == {}
    with pytest.raises(ChannelInvalid) as caught:
        keep_speech(store, "science", {"speed": "fast"})
    assert [(each.pointer, each.code) for each in caught.value.problems] == [("/speech/speed", "TYPE_WRONG")]
    for broken in (b"[]", b"nonsense", b'{"speech": {"engin": "x"}}', b'{"speech": 5}'):
        store.put_bytes("channels/science.json", broken)
        with pytest.raises(ChannelInvalid):
            speech_of_channel(store, "science")


# --- the command line and the gateway ---------------------------------------------------------------------------------


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        capfd.readouterr()
        status = main(["voices", *words])
        told = capfd.readouterr()
        return status, told.out, told.err

    return command


def test_voices_are_listed_by_engine_and_language_and_the_others_say_why_not(service: ScriptedProvider, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("edge_tts", "piper", "kokoro_onnx"):
        monkeypatch.setitem(sys.modules, package, None)
    service.on("GET", "/v1/audio/voices", reply(200, {"voices": ["b\x1b[31mella", "adam"]}))
    status, out, _ = run("--json")
    found = {each["engine"]: each for each in json.loads(out)["engines"]}
    assert (status, list(found)) == (0, list(ENGINES))
    assert {name for name, each in found.items() if each["usable"]} == {"espeak", "openai"}
    assert "pip install 'viralsync-pipelines[edge]'" in found["edge"]["reason"]
    assert (found["elevenlabs"]["code"], "ELEVENLABS_API_KEY" in found["elevenlabs"]["reason"]) == ("SPEECH_KEY_MISSING", True)
    assert {"name": "pt-br", "language": "pt-br", "about": None} in found["espeak"]["voices"]
    status, out, _ = run("--engine", "espeak", "--language", "pt", "--json")
    assert [voice["name"] for voice in json.loads(out)["engines"][0]["voices"]] == ["pt", "pt-br", "pt-pt"]
    status, out, _ = run()
    assert "\x1b" not in out
    assert "openai: 2 voices" in out
    assert run("--engine", "espeek")[0] == 1
    assert run("--set", "engine=edge")[0] == 2


def test_a_busy_service_is_not_waited_for_when_voices_are_listed(service: ScriptedProvider, run: Run) -> None:
    service.on("GET", "/v1/audio/voices", reply(429, Retry_After="30"))
    status, out, _ = run("--engine", "openai", "--json")
    (found,) = json.loads(out)["engines"]
    assert (status, found["usable"], found["code"], len(service.requests)) == (0, False, "SPEECH_BUSY", 1)


def test_a_channels_voice_is_set_shown_and_taken_back(run: Run, tmp_path: Path) -> None:
    assert "leaves its voice" in run("--channel", "science")[1]
    status, out, _ = run("--channel", "science", "--set", "engine=edge,voice=de-DE-KatjaNeural,fallback=openai/nova,espeak", "--set", "speed=1.1", "--json")
    expected = {"engine": "edge", "voice": "de-DE-KatjaNeural", "fallback": ["openai/nova", "espeak"], "speed": 1.1}
    assert (status, json.loads(out)) == (0, {"channel": "science", "speech": expected})
    assert json.loads((tmp_path / "home" / "store" / "channels" / "science.json").read_text("utf-8")) == {"speech": expected}
    assert run("--channel", "science", "--set", "fallback=,speed=")[0] == 0
    assert "speed" not in run("--channel", "science")[1]
    for words, code in (
        (("--set", "vioce=x"), "ARGUMENTS_WRONG"), (("--set", "speed=fast"), "VALUE_OUT_OF_RANGE"), (("--set", "speed=99"), "VALIDATION_ERROR"),
        (("--set", "engine=edgy"), "ENGINE_NOT_FOUND"), (("--set", "fallback=edgy/x"), "ENGINE_NOT_FOUND"),
    ):  # fmt: skip
        status, out, _ = run("--channel", "science", *words, "--json")
        assert (status != 0, json.loads(out)["code"]) == (True, code)
    assert json.loads(run("--channel", "../x", "--set", "engine=edge", "--json")[1])["code"] == "STORE_KEY_INVALID"
    assert json.loads(run("--channel", "science", "--json")[1])["speech"] == {"engine": "edge", "voice": "de-DE-KatjaNeural"}
    assert changes_of(["style=calm, slow,voice=x=y"]) == {"style": "calm, slow", "voice": "x=y"}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_gateway_lists_the_same_voices(database: Database, service: ScriptedProvider, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "edge_tts", None)
    service.on("GET", "/v1/audio/voices", reply(200, ["adam"]))
    settings = Settings.from_env({**os.environ, "ELEVENLABS_BASE_URL": "http://10.9.9.9:1", "ELEVENLABS_API_KEY": "secret"}, cwd=tmp_path)
    with gateway(database, tmp_path, speech=means_of(settings)) as gate, httpx.Client(base_url=gate.url, trust_env=False) as client:
        found = client.get("/v1/speech/voices", params={"language": "de"}).json()["engines"]
        by_name = {each["engine"]: each for each in found}
        assert list(by_name) == list(ENGINES)
        assert by_name["espeak"]["voices"] == [{"name": "de", "language": "de", "about": None}]
        assert [voice["name"] for voice in by_name["openai"]["voices"]] == ["adam"]
        assert by_name["elevenlabs"] == {
            "engine": "elevenlabs", "usable": False, "code": "SPEECH_UNAVAILABLE", "voices": [],
            "reason": "the service cannot be reached just now; try again in a moment",
        }  # fmt: skip
        refused = client.get("/v1/speech/voices", params={"engine": "edgy"})
        assert (refused.status_code, refused.json()["code"]) == (400, "ENGINE_NOT_FOUND")


def test_the_environment_names_folders_models_keys_and_addresses(tmp_path: Path) -> None:
    environ = {
        "VIRALSYNC_PIPER_MODELS": f"{tmp_path}/a:b", "VIRALSYNC_KOKORO_MODELS": "k", "VIRALSYNC_OPENAI_SPEECH_MODEL": "tts-1",
        "OPENAI_SPEECH_API_KEY": "x", "OPENAI_SPEECH_BASE_URL": "http://127.0.0.1:8880/v1/", "REPLICATE_BASE_URL": "https://r.example.com",
    }  # fmt: skip
    means = means_of(Settings.from_env(environ, cwd=tmp_path))
    assert means.folders == {"piper": (tmp_path / "a", tmp_path / "b"), "kokoro": (tmp_path / "k",)}
    assert means.models == {"openai": "tts-1"}
    assert means.bases == {"openai_speech": "http://127.0.0.1:8880/v1"}
    assert means.keys == {"OPENAI_SPEECH_API_KEY": "x"}
    assert "OPENAI_SPEECH_API_KEY" not in repr(means), "keys are shown nowhere"
