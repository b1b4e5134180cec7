"""How each provider of generated media speaks, as data: what a job's life looks like on its wire, from the submit to the end.

What belongs here: bodies as they are on the wire, and calls to a scripted provider. What does not: what is made of them, which stands in
test_provider_*.py.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from tests.servers.provider import Reply, ScriptedProvider, client, provider_server, reply
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.models import Model, load_registry
from viralsync_pipelines.generate.provider import Order, Provider, Said, Seen, Taken, Ticket
from viralsync_pipelines.generate.providers import elevenlabs, google, heygen, luma, openai, runway

SECRET = "key-that-nobody-else-may-see"
KEYS = dict.fromkeys(
    ("GOOGLE_GENERATIVE_AI_API_KEY", "OPENAI_API_KEY", "ELEVENLABS_API_KEY", "RUNWAYML_API_SECRET", "LUMAAI_API_KEY", "HEYGEN_API_KEY"),
    SECRET,
)
BASES = {
    "google": "", "vertex": "/v1/projects/p1/locations/us-central1", "openai": "/v1", "elevenlabs": "", "runway": "", "luma": "/v1",
    "heygen": "",
}  # fmt: skip
BEARER = ("authorization", f"Bearer {SECRET}")
NOW_MS = 1_764_000_000_000
SOUND = b"ID3" + bytes(range(256))
B64 = base64.b64encode(SOUND).decode()
VEO_JOB = "models/veo-3.1-generate-001/operations/op-1"
VERTEX_JOB = "projects/p1/locations/us-central1/publishers/google/models/veo-3.1-generate-001/operations/op-1"
CLIP = "https://files.example/out.mp4"


@dataclass(frozen=True)
class Life:
    """How one API speaks. waits: what polls are answered with before the end, and what each means."""

    name: str
    provider: Provider
    model: str
    params: dict[str, Any]
    key: tuple[str, str]
    submit: str
    taken: Any
    job: str
    poll: tuple[str, str] = ("GET", "")
    waits: tuple[tuple[Any, Said], ...] = ()
    done: Any = None
    failed: Any = None
    refused: Any = None
    odd: Any = None
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def whole(self) -> Model:
        found = load_registry().get(self.model)
        assert found is not None
        return replace(found, options={**found.options, **self.options})

    def order(self, **values: Any) -> Order:
        return Order(**{"record_id": "job_1", "submit": 1, "model": self.whole, "params": self.params, "nonce": "job_1-1-1", **values})

    @property
    def ticket(self) -> Ticket:
        return Ticket(self.job, model=self.whole)


def veo_done(*videos: Any) -> Any:
    return {"name": VEO_JOB, "done": True, "response": {"generateVideoResponse": {"generatedSamples": list(videos)}}}


def filtered(nested: bool, *reasons: str) -> Any:
    held = {"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": list(reasons)}
    return {"name": VEO_JOB, "done": True, "response": {"generateVideoResponse": held} if nested else held}


def heygen_video(status: str, **more: Any) -> Any:
    return {"data": {"id": "vid_1", "status": status, **more}}


WAITING = (
    Life(
        "gemini", google.Google(), "gemini-omni-1.1-flash", {"prompt": "a lighthouse"}, ("x-goog-api-key", SECRET),
        "/v1beta/interactions", {"id": "int_1", "status": "queued"}, "int_1", ("GET", "/v1beta/interactions/int_1"),
        (({"id": "int_1", "status": "queued"}, Said.QUEUED), ({"id": "int_1", "status": "in_progress"}, Said.RUNNING)),
        {"id": "int_1", "status": "completed",
         "steps": [{"type": "model_output", "content": [{"type": "video", "uri": CLIP, "mime_type": "video/mp4"}]}]},
        {"id": "int_1", "status": "failed", "errors": [{"code": "https://errors/internal", "message": "internal error"}]},
        {"id": "int_1", "status": "failed", "errors": [{"message": "Blocked by our usage guidelines"}]},
        {"id": "int_1", "status": "simmering"},
    ),
    Life(
        "veo", google.Google(), "veo-3.1-generate-001", {"prompt": "a lighthouse"}, ("x-goog-api-key", SECRET),
        "/v1beta/models/veo-3.1-generate-001:predictLongRunning", {"name": VEO_JOB}, VEO_JOB, ("GET", f"/v1beta/{VEO_JOB}"),
        (({"name": VEO_JOB}, Said.RUNNING), ({"name": VEO_JOB, "done": False}, Said.RUNNING)),
        veo_done({"video": {"uri": CLIP}}),
        {"name": VEO_JOB, "done": True, "error": {"code": 13, "message": "internal"}},
        filtered(True, "Veo could not generate videos because the prompt violates usage guidelines. Support codes: 15236754"),
        {"name": VEO_JOB, "done": "perhaps"},
        {"api": "veo"},
    ),
    Life(
        "vertex", google.Google(), "veo-3.1-generate-001", {"prompt": "a lighthouse"}, BEARER,
        "/v1/projects/p1/locations/us-central1/publishers/google/models/veo-3.1-generate-001:predictLongRunning",
        {"name": VERTEX_JOB}, VERTEX_JOB, ("POST", f"/v1/{VERTEX_JOB.rpartition('/operations/')[0]}:fetchPredictOperation"),
        (({"name": VERTEX_JOB}, Said.RUNNING),),
        {"name": VERTEX_JOB, "done": True, "response": {"videos": [{"gcsUri": "gs://films/out.mp4", "mimeType": "video/mp4"}]}},
        {"name": VERTEX_JOB, "done": True, "error": {"code": 14, "message": "unavailable"}},
        filtered(False, "the input image violates guidelines"),
        {"name": VERTEX_JOB, "done": None},
    ),
    Life(
        "runway", runway.Runway(), "runway/gen4.5", {"prompt": "a lighthouse"}, BEARER,
        "/v1/text_to_video", {"id": "t1", "estimatedCost": {"credits": 60}}, "t1", ("GET", "/v1/tasks/t1"),
        (({"id": "t1", "status": "PENDING"}, Said.QUEUED), ({"id": "t1", "status": "THROTTLED"}, Said.QUEUED),
         ({"id": "t1", "status": "RUNNING", "progress": 0.4}, Said.RUNNING)),
        {"id": "t1", "status": "SUCCEEDED", "output": [CLIP], "cost": {"credits": 60}},
        {"id": "t1", "status": "FAILED", "failure": "something broke", "failureCode": "INTERNAL"},
        {"id": "t1", "status": "FAILED", "failure": "not allowed", "failureCode": "SAFETY.INPUT.TEXT"},
        {"id": "t1", "status": "POLISHING"},
    ),
    Life(
        "luma", luma.Luma(), "luma/ray-3.2", {"prompt": "a lighthouse"}, BEARER,
        "/v1/generations", {"id": "g1", "state": "queued"}, "g1", ("GET", "/v1/generations/g1"),
        (({"id": "g1", "state": "queued"}, Said.QUEUED), ({"id": "g1", "state": "processing"}, Said.RUNNING)),
        {"id": "g1", "state": "completed", "output": [{"type": "video", "url": CLIP}]},
        {"id": "g1", "state": "failed", "failure_code": "generation_failed", "failure_reason": "no luck"},
        {"id": "g1", "state": "failed", "failure_code": "content_moderated", "failure_reason": "no"},
        {"id": "g1", "state": "dithering"},
    ),
    Life(
        "heygen", heygen.HeyGen(), "heygen/avatar", {"avatar": "a1", "text": "Hello"}, ("x-api-key", SECRET),
        "/v3/videos", {"data": {"video_id": "vid_1", "status": "waiting"}}, "vid_1", ("GET", "/v3/videos/vid_1"),
        ((heygen_video("pending"), Said.QUEUED), (heygen_video("processing"), Said.RUNNING)),
        heygen_video("completed", video_url=CLIP, duration=3.5),
        heygen_video("failed", failure_code="RENDER_ERROR", failure_message="a worker died"),
        heygen_video("failed", failure_code="content_moderation", failure_message="no"),
        heygen_video("rehearsing"),
    ),
)  # fmt: skip
AT_ONCE = (
    Life(
        "openai pictures", openai.OpenAI(), "gpt-image-2.5-flare", {"prompt": "a lighthouse"}, BEARER,
        "/v1/images/generations", {"created": 1, "data": [{"b64_json": B64}], "output_format": "png"}, "job_1.1",
    ),
    Life("openai speech", openai.OpenAI(), "gpt-4o-mini-tts", {"text": "Hello"}, BEARER, "/v1/audio/speech", SOUND, "job_1.1"),
    Life(
        "elevenlabs speech", elevenlabs.ElevenLabs(), "elevenlabs/turbo-v2.5", {"text": "Hello", "voice": "v1"}, ("xi-api-key", SECRET),
        "/v1/text-to-speech/v1/with-timestamps", {"audio_base64": B64, "alignment": None}, "job_1.1",
    ),
    Life(
        "elevenlabs sounds", elevenlabs.ElevenLabs(), "elevenlabs/sound-effects", {"prompt": "rain"}, ("xi-api-key", SECRET),
        "/v1/sound-generation", SOUND, "job_1.1",
    ),
)  # fmt: skip
ALL = WAITING + AT_ONCE


def life(name: str) -> Life:
    return next(each for each in ALL if each.name == name)


def calls_to(url: str, kind: type[Calls] = Calls) -> Calls:
    return kind(client(), KEYS, {name: url + path for name, path in BASES.items()}, lambda: NOW_MS)


def ok(body: Any) -> Reply:
    return reply(200, body, **({"Content_Type": "audio/mpeg"} if isinstance(body, bytes) else {}))


@dataclass(frozen=True)
class Stage:
    """A scripted provider, and calls to it."""

    server: ScriptedProvider
    calls: Calls

    def give(self, life: Life, answer: Reply, **values: Any) -> Taken:
        """Submit; values: of the order."""
        self.server.on("POST", life.submit, answer)
        return life.provider.submit(self.calls, life.order(**values))

    def sent(self, life: Life, **params: Any) -> Any:
        """The body of a submit with these params beside the usual ones."""
        self.give(life, ok(life.taken), params={**life.params, **params})
        return self.server.requests[-1].json

    def see(self, life: Life, body: Any) -> Seen:
        """Poll, and be answered with this body."""
        self.server.on(*life.poll, body if isinstance(body, Reply) else ok(body))
        return life.provider.poll(self.calls, life.ticket)


@contextmanager
def stage() -> Iterator[Stage]:
    with provider_server() as server:
        yield Stage(server, calls_to(server.url))
