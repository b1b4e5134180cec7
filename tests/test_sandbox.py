"""The sandbox provider: Replicate's wire with nothing behind it but this machine, media that really are what was asked for, and mischief
that does what it says, no more and no less."""

from __future__ import annotations

import base64
import io
import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest
from PIL import Image
from standardwebhooks import Webhook

from tests.servers.gateway import until
from tests.servers.receiver import Receiver, answer, receiver, unused_port
from tests.servers.sandbox import Caller, calling
from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.models import check_params, load_registry
from viralsync_pipelines.generate.provider import Blame, NotSent, Order, Said, Unsure
from viralsync_pipelines.generate.providers.replicate import Replicate
from viralsync_pipelines.http import open_client
from viralsync_pipelines.sandbox.canned import varied
from viralsync_pipelines.sandbox.making import image_size, video_size
from viralsync_pipelines.sandbox.mischief import POLICY_TEXT, Dice, Mischief
from viralsync_pipelines.sandbox.models import MODELS, checked
from viralsync_pipelines.sandbox.working import Pace

SMALL = {"prompt": "A beautiful sunset over mountains", "width": 96, "height": 64}
CANNED = {"prompt": "a", "width": 64, "height": 64, "canned": True}


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Caller]:
    with calling(tmp_path_factory.mktemp("sandbox")) as found:
        yield found


@pytest.fixture
def hook() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def events(hook: Receiver, path: str = "/hook") -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in hook.received if each.path.partition("?")[0] == path]


def statuses(hook: Receiver, path: str = "/hook") -> list[str]:
    return [each["status"] for each in events(hook, path)]


# ---- the wire --------------------------------------------------------------------------------------------------------


def test_a_prediction_by_polling_goes_from_starting_to_succeeded_with_every_field_of_the_wire(caller: Caller) -> None:
    answer = caller.submit("sandbox/image", {**SMALL, "seed": 7})
    made = answer.json()
    assert (answer.status_code, made["status"], made["output"], made["version"]) == (201, "starting", None, "hidden")
    assert made["urls"]["get"] == f"{caller.url}/v1/predictions/{made['id']}"
    done = caller.wait(made["id"])
    assert done["status"] == "succeeded"
    assert done["error"] is None
    assert done["data_removed"] is False
    assert "Using seed: 7" in done["logs"]
    assert done["metrics"]["predict_time"] >= 0
    assert done["started_at"] >= done["created_at"]
    assert done["completed_at"].endswith("Z")
    assert done["output"] == [f"{caller.url}/v1/files/{made['id']}/out-0.png"]
    assert done.keys() >= {"id", "model", "version", "input", "logs", "output", "data_removed", "error", "status", "created_at", "urls"}


def test_the_model_may_stand_in_the_body_as_version_too(caller: Caller) -> None:
    for version in ("sandbox/image", "sandbox/image:5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"):
        answer = caller.client.post("/v1/predictions", json={"version": version, "input": SMALL})
        assert (answer.status_code, answer.json()["model"]) == (201, "sandbox/image")


def test_prefer_wait_answers_with_the_end(caller: Caller) -> None:
    answer = caller.client.post("/v1/models/sandbox/image/predictions", json={"input": SMALL}, headers={"Prefer": "wait=20"})
    assert (answer.status_code, answer.json()["status"]) == (201, "succeeded")


def test_without_a_token_nothing_is_to_be_had(caller: Caller) -> None:
    made = caller.run("sandbox/image", SMALL)
    paths = ["/v1/predictions", f"/v1/predictions/{made['id']}", "/v1/webhooks/default/secret", made["output"][0], "/sandbox/counts", "/sandbox/mischief"]
    with httpx.Client(base_url=caller.url, trust_env=False, verify=False) as bare:
        for path in paths:
            answer = bare.get(path)
            assert (answer.status_code, answer.json()["title"], answer.json()["status"]) == (401, "Unauthenticated", 401)
        assert bare.post("/v1/predictions", json={}, headers={"Authorization": "Basic abc"}).status_code == 401


@pytest.mark.parametrize(("model", "given", "fields"), [
    ("sandbox/image", {}, {"input.prompt"}),
    ("sandbox/image", {"prompt": 3, "width": 10, "height": "x", "aspect_ratio": "7:5", "seed": True}, {"input.prompt", "input.width", "input.height", "input.aspect_ratio", "input.seed"}),
    ("sandbox/video", {"prompt": "a", "duration": 11, "image": "file:///etc/passwd"}, {"input.duration", "input.image"}),
    ("sandbox/talking_head", {"image": "https://a/b.png"}, {"input.audio"}),
    ("sandbox/voice", {"text": ""}, {"input.text"}),
    ("sandbox/voice", None, {"input"}),
])  # fmt: skip
def test_what_is_wrong_with_an_input_is_told_all_at_once_and_nothing_is_made(caller: Caller, model: str, given: Any, fields: set[str]) -> None:
    before = caller.counts()["predictions"]
    answer = caller.submit(model, given)
    assert (answer.status_code, answer.json()["status"]) == (422, 422)
    assert {each["field"] for each in answer.json()["invalid_fields"]} == fields
    assert caller.counts()["predictions"] == before


def test_other_refusals_have_the_shape_of_rfc_7807(caller: Caller) -> None:
    post, get = caller.client.post, caller.client.get
    answers = {
        404: [get("/v1/predictions/nosuch"), post("/v1/predictions/nosuch/cancel"), caller.submit("nobody/nothing", SMALL), get("/v1/files/nosuch/a.png"), get("/v1/nothing")],
        422: [post("/v1/predictions", json={"version": "nobody/nothing", "input": SMALL}), caller.submit("sandbox/image", SMALL, webhook="ftp://a"), caller.submit("sandbox/image", SMALL, webhook_events_filter=["end"])],
        400: [post("/v1/predictions", content=b"{"), post("/v1/predictions", content=b"[]"), post("/v1/predictions", content=b'{"input": {"prompt": "\\ud800"}}'), post("/v1/predictions", content=b'{"a": NaN}'), get("/v1/predictions?created_after=yesterday")],
        405: [caller.client.delete("/v1/predictions")],
    }  # fmt: skip
    for status, found in answers.items():
        for each in found:
            assert (each.status_code, each.json()["status"]) == (status, status), each.text
            assert each.json()["detail"]


def test_a_listing_goes_back_page_by_page_to_a_moment(tmp_path: Path) -> None:
    clock = count(1_700_000_000_000, 1000)
    with calling(tmp_path, pace=Pace(workers=0), now_ms=lambda: next(clock)) as caller:
        made = [caller.submit("sandbox/image", SMALL).json() for _ in range(105)]
        query = {"created_after": made[2]["created_at"]}
        first = caller.client.get("/v1/predictions", params=query).json()
        assert [each["id"] for each in first["results"]] == [each["id"] for each in made[:4:-1]]
        second = caller.client.get(first["next"]).json()
        assert [each["id"] for each in second["results"]] == [made[4]["id"], made[3]["id"]]
        assert second["next"] is None


def test_a_cancelled_prediction_ends_so_and_stays_so(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, pace=Pace(seconds=60)) as caller:
        made = caller.submit("sandbox/image", SMALL, webhook=hook.url()).json()
        until(lambda: caller.get(made["id"])["output"])
        assert caller.get(made["id"])["status"] == "processing"
        assert caller.client.post(made["urls"]["cancel"]).json()["status"] == "canceled"
        assert caller.client.post(made["urls"]["cancel"]).json()["status"] == "canceled"
        until(lambda: "canceled" in statuses(hook))
        time.sleep(0.05)
        assert statuses(hook)[-1] == "canceled"


def test_a_cancel_after_the_end_changes_nothing(caller: Caller) -> None:
    made = caller.run("sandbox/image", SMALL)
    assert caller.client.post(made["urls"]["cancel"]).json() == made


def test_more_submits_than_the_limit_are_refused_with_the_time_to_wait(tmp_path: Path) -> None:
    now = [1_700_000_000_000]
    with calling(tmp_path, creates_per_minute=2, now_ms=lambda: now[0]) as caller:
        assert [caller.submit("sandbox/image", CANNED).status_code for _ in range(3)] == [201, 201, 429]
        now[0] += 20_000
        answer = caller.submit("sandbox/image", CANNED)
        assert answer.json()["detail"] == "Request was throttled. Your rate limit resets in ~40s."
        assert answer.headers["ratelimit-reset"] == "40"
        now[0] += 40_000
        assert caller.submit("sandbox/image", CANNED).status_code == 201


def test_after_an_hour_output_input_and_logs_are_gone_and_the_file_too(tmp_path: Path) -> None:
    now = [1_700_000_000_000]
    with calling(tmp_path, now_ms=lambda: now[0]) as caller:
        made = caller.run("sandbox/image", SMALL)
        now[0] += 3_599_000
        assert caller.download(made["output"][0]).status_code == 200
        now[0] += 2_000
        old = caller.get(made["id"])
        assert (old["status"], old["output"], old["data_removed"], old["input"], old["logs"]) == ("succeeded", None, True, {}, "")
        assert caller.download(made["output"][0]).status_code == 404
        assert not list((tmp_path / "files").iterdir())


def test_predictions_outlive_a_restart_and_those_under_way_are_made_to_their_end(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path) as caller:
        done = caller.run("sandbox/image", SMALL)
        secret = caller.client.get("/v1/webhooks/default/secret").json()
        picture = caller.download(done["output"][0]).content
    with calling(tmp_path, pace=Pace(seconds=60)) as caller:
        under_way = caller.submit("sandbox/image", {**SMALL, "seed": 1}, webhook=hook.url()).json()
        until(lambda: caller.get(under_way["id"])["status"] == "processing")
    with calling(tmp_path) as caller:
        assert caller.wait(under_way["id"])["status"] == "succeeded"
        assert caller.client.get("/v1/webhooks/default/secret").json() == secret
        assert caller.get(done["id"])["output"] == done["output"]
        assert caller.download(f"/v1/files/{done['id']}/out-0.png").content == picture
        until(lambda: "succeeded" in statuses(hook))


# ---- webhooks --------------------------------------------------------------------------------------------------------


def test_a_webhook_is_signed_and_is_the_object_that_a_poll_gives(caller: Caller, hook: Receiver) -> None:
    key = caller.client.get("/v1/webhooks/default/secret").json()["key"]
    made = caller.submit("sandbox/image", SMALL, webhook=hook.url("/hook?token=x")).json()
    until(lambda: "succeeded" in statuses(hook))
    for each in hook.received:
        assert Webhook(key).verify(each.body.decode(), each.headers) == json.loads(each.body)
    assert statuses(hook)[0] == "processing"
    assert events(hook)[-1] == caller.get(made["id"])
    assert len(set(hook.ids())) == len(hook.received)
    with pytest.raises(Exception, match="No matching signature"):
        Webhook("whsec_" + base64.b64encode(bytes(24)).decode()).verify(hook.received[0].body.decode(), hook.received[0].headers)


def test_only_the_events_that_were_asked_for_are_told(caller: Caller, hook: Receiver) -> None:
    caller.submit("sandbox/image", SMALL, webhook=hook.url("/end"), webhook_events_filter=["completed"])
    caller.submit("sandbox/image", SMALL, webhook=hook.url("/both"), webhook_events_filter=["start", "completed"])
    until(lambda: statuses(hook, "/both") == ["processing", "succeeded"] and statuses(hook, "/end") == ["succeeded"])


def test_the_last_webhook_is_tried_again_under_its_id_and_the_others_are_not(tmp_path: Path, hook: Receiver) -> None:
    hook.scripts["/bad"] = [answer(500), answer(302, Location="/elsewhere"), answer(503), answer(200)]
    with calling(tmp_path, pauses_s=(0.01, 0.01)) as caller:
        caller.submit("sandbox/image", CANNED, webhook=hook.url("/bad"), webhook_events_filter=["start", "completed"])
        until(lambda: len(hook.received) == 4)
        told = caller.counts()["webhooks"]
        assert statuses(hook, "/bad") == ["processing", "succeeded", "succeeded", "succeeded"]
        assert len(set(hook.ids())) == 2
        assert hook.followed == []
        until(lambda: caller.counts()["webhooks"]["completed"].get("received") == 1)
        assert told["start"]["given_up"] == 1
        hook.scripts["/never"] = [answer(400)]
        caller.submit("sandbox/image", CANNED, webhook=hook.url("/never"), webhook_events_filter=["completed"])
        until(lambda: caller.counts()["webhooks"]["completed"].get("given_up") == 1)
        assert len(statuses(hook, "/never")) == 3


def test_a_last_webhook_owed_when_the_sandbox_ended_is_sent_by_the_next(tmp_path: Path, hook: Receiver) -> None:
    hook.scripts["/hook"] = [answer(500), answer(200)]
    with calling(tmp_path, pauses_s=(600.0,)) as caller:
        caller.submit("sandbox/image", CANNED, webhook=hook.url(), webhook_events_filter=["completed"])
        until(lambda: len(hook.received) == 1)
    with calling(tmp_path):
        until(lambda: len(hook.received) == 2)


def test_neither_webhooks_nor_inputs_reach_what_is_not_allowed(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, allow=(), pauses_s=()) as caller:
        made = caller.submit("sandbox/video", {"prompt": "a", "image": hook.url("/a.png")}, webhook=hook.url()).json()
        failed = caller.wait(made["id"])
        assert failed["status"] == "failed"
        assert "Failed to download" in failed["error"]
        until(lambda: caller.counts()["webhooks"]["completed"].get("given_up") == 1)
    assert (hook.received, hook.followed) == ([], [])


# ---- what is made ----------------------------------------------------------------------------------------------------


def opened(caller: Caller, made: dict[str, Any]) -> tuple[Any, bytes]:
    assert made["status"] == "succeeded", made
    address = made["output"][0] if isinstance(made["output"], list) else made["output"]
    answer = caller.download(address)
    assert answer.status_code == 200
    return av.open(io.BytesIO(answer.content)), answer.content


def test_a_picture_has_the_size_asked_for_and_follows_from_prompt_and_seed_alone(caller: Caller) -> None:
    made = [opened(caller, caller.run("sandbox/image", {**SMALL, **more}))[1] for more in ({}, {}, {"seed": 3}, {"seed": 3}, {"seed": 4})]
    assert made[0] == made[1]
    assert made[2] == made[3]
    assert len(set(made)) == 3
    picture = Image.open(io.BytesIO(made[0]))
    assert (picture.size, picture.format) == ((96, 64), "PNG")
    assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 200


def test_the_words_of_the_prompt_are_in_the_picture_whatever_their_script(caller: Caller) -> None:
    """With the same seed only the letters differ, and what no font can draw is no reason to fail."""
    small = {"seed": 1, "width": 200, "height": 120}
    made = [opened(caller, caller.run("sandbox/image", {**small, "prompt": prompt}))[1] for prompt in ("hello", "bonjour", "\u3042 \U0001f600 \ue000")]
    assert len(set(made)) == 3


@pytest.mark.parametrize(("given", "size"), [
    ({"aspect_ratio": "1:1"}, (800, 800)), ({"aspect_ratio": "16:9"}, (1072, 608)), ({"aspect_ratio": "9:16"}, (608, 1072)),
    ({"aspect_ratio": "1:1", "width": 100}, (100, 100)), ({"aspect_ratio": "16:9", "height": 90}, (160, 90)),
    ({"aspect_ratio": "16:9", "width": 70, "height": 90}, (70, 90)),
])  # fmt: skip
def test_a_picture_that_is_given_no_size_gets_one_by_its_aspect_ratio(given: dict[str, Any], size: tuple[int, int]) -> None:
    assert image_size(given) == size


@pytest.mark.parametrize(("aspect", "resolution", "size"), [
    ("16:9", "480p", (854, 480)), ("9:16", "480p", (480, 854)), ("1:1", "240p", (240, 240)), ("16:9", "1080p", (1920, 1080)), ("21:9", "720p", (1680, 720)),
])  # fmt: skip
def test_the_resolution_of_a_clip_is_its_shorter_side_and_both_are_even(aspect: str, resolution: str, size: tuple[int, int]) -> None:
    assert video_size({"aspect_ratio": aspect, "resolution": resolution}) == size


def test_a_clip_moves_and_has_the_size_and_length_asked_for(caller: Caller) -> None:
    """The name of the requirement's curl is one of its models, too."""
    made = caller.run("bytedance/seedance-1-pro", {"prompt": "A beautiful sunset over mountains", "duration": 1.5, "resolution": "240p", "camera_fixed": True})
    clip, data = opened(caller, made)
    with clip:
        video = clip.streams.video[0]
        assert (video.codec_context.name, video.width, video.height, video.average_rate) == ("h264", 426, 240, 24)
        frames = [frame.to_ndarray(format="rgb24").astype(int) for frame in clip.decode(video)]
    assert len(frames) == 36
    assert np.abs(frames[0] - frames[-1]).mean() > 3
    assert opened(caller, caller.run("bytedance/seedance-1-pro", made["input"]))[1] == data


def test_a_picture_becomes_a_clip_that_draws_nearer(caller: Caller) -> None:
    """Given as an address of the sandbox's own, and as a data URL."""
    still = caller.run("sandbox/image", SMALL)
    data = "data:image/png;base64," + base64.b64encode(opened(caller, still)[1]).decode()
    given = {"prompt": "zoom", "duration": 1, "resolution": "240p", "aspect_ratio": "3:2"}
    clips = [opened(caller, caller.run("sandbox/video", {**given, "image": image})) for image in (still["output"][0], data)]
    assert clips[0][1] == clips[1][1]
    first, *_, last = (frame.to_ndarray(format="rgb24").astype(int) for frame in clips[0][0].decode(video=0))
    assert first.shape == (240, 360, 3)
    picture = np.asarray(Image.open(io.BytesIO(opened(caller, still)[1])).convert("RGB").resize((360, 240)), int)
    assert np.abs(first - picture).mean() < 12
    assert np.abs(first - last).mean() > 3


def test_a_sound_lasts_as_long_as_asked_and_is_heard(caller: Caller) -> None:
    made = caller.run("sandbox/audio", {"prompt": "calm", "duration": 2})
    sound, data = opened(caller, made)
    with sound:
        stream = sound.streams.audio[0]
        assert (stream.codec_context.name, stream.channels) == ("aac", 2)
        heard = np.concatenate([frame.to_ndarray() for frame in sound.decode(stream)], axis=1)
    assert heard.shape[1] / 44_100 == pytest.approx(2, abs=0.06)
    assert np.abs(heard).max() > 0.1
    assert caller.download(made["output"]).headers["content-type"] == "audio/mp4"
    assert opened(caller, caller.run("sandbox/audio", {"prompt": "calm", "duration": 2}))[1] == data


def test_a_text_is_spoken_and_a_picture_speaks_it(caller: Caller) -> None:
    voice = caller.run("sandbox/voice", {"text": "Hello there, this is the sandbox.", "voice": "en-gb", "speed": 1.2})
    sound, _ = opened(caller, voice)
    with sound:
        seconds = float(sound.duration / av.time_base)
        assert 1 < seconds < 5
    still = caller.run("sandbox/image", SMALL)
    head, _ = opened(caller, caller.run("sandbox/talking_head", {"image": still["output"][0], "audio": voice["output"]}))
    with head:
        assert (head.streams.video[0].width, head.streams.video[0].height) == (96, 64)
        assert head.streams.audio[0].codec_context.name == "aac"
        assert float(head.duration / av.time_base) == pytest.approx(seconds, abs=0.15)
    spoken, _ = opened(caller, caller.run("sandbox/talking_head", {"image": still["output"][0], "text": "Hi"}))
    with spoken:
        assert {stream.type for stream in spoken.streams} == {"video", "audio"}


@pytest.mark.parametrize(("model", "given", "words"), [
    ("sandbox/voice", {"text": "a", "voice": "klingon-x"}, "klingon-x"),
    ("sandbox/voice", {"text": "a", "speed": 0.5}, None),
    ("sandbox/video", {"prompt": "a", "image": "data:image/png;base64,AAAA"}, "cannot identify image file"),
    ("sandbox/video", {"prompt": "a", "image": "data:image/png;base64,*"}, "data URL"),
    ("sandbox/video", {"prompt": "a", "image": "http://127.0.0.1:1/a.png"}, "Failed to download http://127.0.0.1:1/a.png"),
    ("sandbox/talking_head", {"image": "data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAACAkQBADs=", "audio": "data:audio/wav;base64,AAAA"}, "ffmpeg"),
])  # fmt: skip
def test_what_cannot_be_made_fails_with_words(caller: Caller, model: str, given: dict[str, Any], words: str | None) -> None:
    made = caller.run(model, given)
    if words is None:
        assert made["status"] == "succeeded"
    else:
        assert (made["status"], made["output"]) == ("failed", None)
        assert words in made["error"]


def test_canned_media_are_made_once_and_differ_each_time(tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        for model, given in (
            ("sandbox/image", CANNED), ("sandbox/video", {"prompt": "a", "duration": 1, "resolution": "240p", "canned": True}),
            ("sandbox/audio", {"prompt": "a", "duration": 1, "canned": True}), ("sandbox/voice", {"text": "a", "canned": True}),
        ):  # fmt: skip
            made = [opened(caller, caller.run(model, given)) for _ in range(2)]
            assert made[0][1] != made[1][1]
            for media, _ in made:
                with media:
                    assert sum(1 for _ in media.decode(media.streams[0])) > 0
        assert len(list((tmp_path / "canned").iterdir())) == 4


def test_a_varied_wav_is_a_whole_one(caller: Caller) -> None:
    import wave

    data = opened(caller, caller.run("sandbox/voice", {"text": "a"}))[1]
    for mark in ("a", "ab", "abc"):
        with wave.open(io.BytesIO(varied(data, mark))) as changed, wave.open(io.BytesIO(data)) as before:
            assert changed.readframes(10**6) == before.readframes(10**6)
        assert len(varied(data, mark)) % 2 == 0
        assert int.from_bytes(varied(data, mark)[4:8], "little") == len(varied(data, mark)) - 8


def test_a_prediction_ends_not_before_its_time_and_waiting_takes_no_worker(tmp_path: Path) -> None:
    with calling(tmp_path, pace=Pace(workers=1, seconds=1)) as caller:
        made = [caller.submit("sandbox/image", {**CANNED, "canned": False}).json()["id"] for _ in range(30)]
        ended = sorted((caller.wait(each) for each in made), key=lambda each: str(each["started_at"]))
        assert all(each["metrics"]["predict_time"] >= 0.99 for each in ended)
        # By the sandbox's own times: the only worker began with the next one while the one before had yet to wait.
        assert sum(later["started_at"] < earlier["completed_at"] for earlier, later in pairwise(ended)) > 15


# ---- the program's own catalogue -------------------------------------------------------------------------------------


def test_the_catalogue_and_the_sandbox_agree_on_every_model_and_bound() -> None:
    listed = {model.id: model for model in load_registry() if model.provider == "sandbox"}
    assert set(listed) == {name for name in MODELS if name.startswith("sandbox/")}
    for name, model in listed.items():
        recipe, properties = MODELS[name], model.params["properties"]
        assert model.type == f"generate.{recipe.makes}"
        assert set(properties) == {field.name for field in recipe.fields}
        assert set(model.params["required"]) == {field.name for field in recipe.fields if field.required}
        for field in recipe.fields:
            told = properties[field.name]
            assert (told.get("minimum", told.get("minLength")), told.get("maximum", told.get("maxLength"))) == (field.low, field.high)
            assert tuple(told.get("enum", ())) == field.choices
            assert told.get("default") == field.default
    assert {name: model.default_strategy for name, model in listed.items() if model.default_strategy == "webhook"} == {"sandbox/video": "webhook"}


@pytest.mark.parametrize(("name", "given"), [
    ("sandbox/image", SMALL), ("sandbox/image", {}), ("sandbox/image", {"prompt": "a", "width": 63}), ("sandbox/image", {"prompt": ""}), ("sandbox/video", {"prompt": "a", "duration": 10.5}),
    ("sandbox/video", {"prompt": "a", "image": "nowhere"}), ("sandbox/talking_head", {"image": "https://a/b"}), ("sandbox/talking_head", {"image": "https://a/b", "text": "a"}),
])  # fmt: skip
def test_what_passes_here_passes_there(name: str, given: dict[str, Any]) -> None:
    model = load_registry().get(name)
    assert model is not None
    assert bool(check_params(model, given, "")) == bool(checked(MODELS[name], given)[1])


def test_the_adapter_for_replicate_gives_it_jobs_finds_those_whose_answer_was_lost_and_fetches_what_was_made(tmp_path: Path, hook: Receiver) -> None:
    def now_ms() -> int:
        return time.time_ns() // 1_000_000

    model = load_registry().get("sandbox/image")
    assert model is not None
    provider = Replicate("sandbox", key=None)
    with calling(tmp_path) as caller, open_client(allow=("127.0.0.1",)) as client:
        calls = Calls(client, {}, {"sandbox": f"{caller.url}/v1"}, now_ms)
        ticket = provider.submit(calls, Order("rec", 1, model, SMALL, hook.url())).ticket
        until(lambda: provider.poll(calls, ticket).said is Said.DONE)
        (made,) = provider.poll(calls, ticket).outputs
        assert made.authorised
        assert client.get(made.url, headers=provider.file_headers(calls, made.url)).content.startswith(b"\x89PNG")
        until(lambda: len(hook.received) > 1)
        told = provider.read_webhook(ticket, json.loads(hook.received[-1].body))
        assert told is not None
        assert (told[0], told[1].said, [each.url for each in told[1].outputs]) == (ticket.provider_job_id, Said.DONE, [made.url])
        caller.client.post("/sandbox/mischief", json={"answers_lost": 1, "refusing": 1})
        before, order = now_ms(), Order("rec2", 1, model, {**SMALL, "seed": 2})
        with pytest.raises(Unsure):
            provider.submit(calls, order)
        found = provider.find(calls, order, before)
        assert found is not None
        until(lambda: provider.poll(calls, found.ticket).said.over)
        refused = provider.poll(calls, found.ticket).fault
        assert refused is not None
        assert refused.blame is Blame.POLICY
        caller.client.post("/sandbox/mischief", json={"throttled": 1, "throttled_s": 7})
        with pytest.raises(NotSent) as busy:
            provider.submit(calls, order)
        assert busy.value.retry_after_s == 7
        assert caller.counts()["submits"]["times"] == {"1": 2}


# ---- mischief --------------------------------------------------------------------------------------------------------


def test_lost_webhooks_are_never_sent_and_doubled_ones_twice_half_of_them_under_one_id(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, pace=Pace(canned=True), mischief=Mischief(lost=0.3, doubled=0.4, seed=5)) as caller:
        for n in range(60):
            caller.submit("sandbox/image", {**CANNED, "seed": n}, webhook=hook.url(f"/{n}"), webhook_events_filter=["completed"])
        until(lambda: caller.counts()["statuses"] == {"succeeded": 60})
        until(lambda: settled(caller.counts()["webhooks"]["completed"]))
        told = caller.counts()["webhooks"]["completed"]
    heard = Counter(each.path for each in hook.received)
    assert 60 - len(heard) == told["lost"]
    assert 8 <= told["lost"] <= 28
    assert sum(1 for n in heard.values() if n == 2) == told["doubled"]
    assert max(heard.values()) == 2
    same = sum(1 for path, n in heard.items() if n == 2 and len(set(hook.ids(path))) == 1)
    assert 0 < same < told["doubled"]


def settled(told: dict[str, int]) -> bool:
    return told.get("received", 0) == told["made"] - told.get("lost", 0) + told.get("doubled", 0)


def test_an_early_webhook_comes_before_the_answer_to_the_submit(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, pace=Pace(seconds=60), mischief=Mischief(early=1)) as caller:
        answer = caller.submit("sandbox/image", CANNED, webhook=hook.url())
        assert statuses(hook)[-1] == "succeeded"
        assert (answer.status_code, answer.json()["status"]) == (201, "starting")


def test_disordered_webhooks_end_with_what_belongs_before(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, mischief=Mischief(disordered=1)) as caller:
        caller.submit("sandbox/image", CANNED, webhook=hook.url(), webhook_events_filter=["start", "completed"])
        until(lambda: statuses(hook) == ["succeeded", "processing"])


def test_late_webhooks_wait(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, mischief=Mischief(late=1, late_s=0.3)) as caller:
        before = time.monotonic()
        made = caller.run("sandbox/image", CANNED, webhook=hook.url(), webhook_events_filter=["completed"])
        until(lambda: statuses(hook) == ["succeeded"])
        assert hook.received[0].began - before > 0.29
        assert events(hook)[0] == made


def test_an_answer_that_is_lost_was_taken_all_the_same_and_the_listing_finds_it(tmp_path: Path, hook: Receiver) -> None:
    with calling(tmp_path, mischief=Mischief(answers_lost=1)) as caller:
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            caller.submit("sandbox/image", SMALL, webhook=hook.url("/only"))
        found = caller.client.get("/v1/predictions").json()["results"]
        assert [each["input"]["prompt"] for each in found] == [SMALL["prompt"]]
        assert caller.wait(found[0]["id"])["status"] == "succeeded"
        with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):
            caller.submit("sandbox/image", SMALL, webhook=hook.url("/only"))
        counts = caller.counts()
    assert counts["submits"]["times"] == {"2": 1}
    assert counts["submits"]["again"][0] | {"key": ""} == {
        "key": "", "times": 2, "model": "sandbox/image", "webhook": hook.url("/only"), "ids": counts["submits"]["again"][0]["ids"],
    }  # fmt: skip
    assert counts["requests"]["answers_lost"] == 2


def test_errors_and_throttling_leave_nothing_behind_but_errors_after_taking_do(tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        for mischief, status, made in (({"errors": 1}, 500, 0), ({"errors": 0, "throttled": 1, "throttled_s": 7}, 429, 0), ({"throttled": 0, "errors_taken": 1}, 500, 1)):
            assert caller.client.post("/sandbox/mischief", json=mischief).status_code == 200
            assert caller.submit("sandbox/image", CANNED).status_code == status
            assert caller.counts()["predictions"] == made
        assert caller.client.delete("/sandbox/mischief").json()["errors_taken"] == 0
        assert caller.submit("sandbox/image", CANNED).status_code == 201


def test_a_share_of_errors_is_one_for_polls_too_and_who_asks_again_gets_through(tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        made = caller.run("sandbox/image", CANNED)
        caller.client.post("/sandbox/mischief", json={"errors": 0.5, "seed": 1})
        got = Counter(caller.client.get(made["urls"]["get"]).status_code for _ in range(40))
        assert set(got) == {200, 500}
        assert 8 <= got[500] <= 32


def test_predictions_fail_with_the_words_that_were_given_or_by_policy(tmp_path: Path) -> None:
    with calling(tmp_path, mischief=Mischief(failing=1, error="it broke")) as caller:
        assert (failed := caller.run("sandbox/image", CANNED))["error"] == "it broke"
        assert (failed["status"], failed["output"]) == ("failed", None)
        caller.client.post("/sandbox/mischief", json={"refusing": 1})
        assert caller.run("sandbox/image", CANNED)["error"] == POLICY_TEXT


def test_an_expired_address_is_mended_by_asking_again_and_a_file_that_is_gone_is_not(tmp_path: Path) -> None:
    with calling(tmp_path, mischief=Mischief(expired=1)) as caller:
        made = [caller.run("sandbox/image", {**CANNED, "seed": n}) for n in range(8)]
        assert {caller.download(each["output"][0]).status_code for each in made} == {403, 404}
        for each in made:
            assert caller.download(caller.get(each["id"])["output"][0]).status_code == 200
        caller.client.post("/sandbox/mischief", json={"gone": 1})
        assert caller.download(caller.get(made[0]["id"])["output"][0]).status_code == 404


def test_slow_answers_take_their_time(tmp_path: Path) -> None:
    with calling(tmp_path, mischief=Mischief(slow=1, slow_s=0.3)) as caller:
        before = time.monotonic()
        assert caller.client.get("/v1/predictions").status_code == 200
        assert time.monotonic() - before > 0.25


@pytest.mark.parametrize("told", [{"lost": 1.5}, {"lost": -1}, {"lost": "half"}, {"lots": 1}, {"lost": True}, {"error": 3}, {"seed": 1.5}, {"slow_s": 1e9}])
def test_mischief_that_is_none_is_refused_with_what_there_is(caller: Caller, told: dict[str, Any]) -> None:
    answer = caller.client.post("/sandbox/mischief", json=told)
    assert answer.status_code == 422
    assert next(iter(told)) in answer.json()["detail"]
    assert caller.client.get("/sandbox/mischief").json()["lost"] == 0


def test_the_dice_fall_the_same_way_for_the_same_seed_and_by_their_shares() -> None:
    fates = [f"job {n}" for n in range(2000)]
    first, again, other = (Dice(Mischief(lost=0.1, seed=seed)) for seed in (1, 1, 2))
    assert [first.falls("lost", fate) for fate in fates] == [again.falls("lost", fate) for fate in fates]
    assert [first.falls("lost", fate) for fate in fates] != [other.falls("lost", fate) for fate in fates]
    assert 140 < sum(first.falls("lost", fate) for fate in fates) < 260
    assert not any(first.falls("doubled", fate) for fate in fates)


def test_two_sandboxes_of_one_seed_do_the_same_to_the_same_jobs_in_any_order(tmp_path: Path) -> None:
    ends = []
    for place, order in (("a", 1), ("b", -1)):
        with calling(tmp_path / place, pace=Pace(canned=True), mischief=Mischief(failing=0.5, seed=9)) as caller:
            ids = {n: caller.submit("sandbox/image", {**CANNED, "seed": n}).json()["id"] for n in list(range(12))[::order]}
            ends.append({n: caller.wait(each)["status"] for n, each in ids.items()})
    assert ends[0] == ends[1]
    assert set(ends[0].values()) == {"failed", "succeeded"}


def test_of_two_sandboxes_in_one_folder_the_second_does_not_begin(tmp_path: Path) -> None:
    with calling(tmp_path) as caller:
        with pytest.raises(SettingsError, match="at work in"), calling(tmp_path):
            pass
        assert caller.run("sandbox/image", CANNED)["status"] == "succeeded"


def test_the_command_serves_until_it_is_ended(tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys

    port = unused_port()
    code = f"import sys; from pathlib import Path; from viralsync_pipelines.sandbox.running import run_sandbox; sys.exit(run_sandbox(Path({str(tmp_path)!r}), port={port}))"
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        url = f"http://127.0.0.1:{port}/v1/predictions"

        def answers() -> bool:
            try:
                return httpx.get(url, trust_env=False, verify=False).status_code == 401
            except httpx.ConnectError:
                return False

        until(answers)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in {0, -signal.SIGTERM}
    finally:
        process.kill()
        process.wait()
