"""Veo's long-running operations: what is sent to start one, and what a finished one holds. Both of its homes (google.py) share it.

On the developers' API the answer lies a level deeper, in `generateVideoResponse`, than on Vertex. An operation that is done and has no
video was refused by a filter, which is no success, whatever `done` says.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.generate.inputs import data_uri, renamed
from viralsync_pipelines.generate.loose import at, number, objects, text, texts, unbase64
from viralsync_pipelines.generate.provider import Blame, CallFailed, Fault, Order, Output, Said, Seen
from viralsync_pipelines.generate.walk import outputs_in
from viralsync_pipelines.generate.wording import clean, fault, refused

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

_NAMES = {
    "duration": "durationSeconds", "aspect_ratio": "aspectRatio", "resolution": "resolution", "seed": "seed",
    "negative_prompt": "negativePrompt", "generate_audio": "generateAudio", "count": "sampleCount",
}  # fmt: skip
# The filter of sound refuses by chance, and charges nothing: the same prompt often passes the second time.
_SOUND = re.compile(r"(?i)\baudio\b")
_CANCELLED = 1


def request_of(calls: Calls, order: Order) -> dict[str, Any]:
    """The body of a submit. Raises Refused for a picture that cannot be read: Veo takes bytes or gs://, no web addresses."""
    params = order.params
    instance: dict[str, Any] = {"prompt": params["prompt"]}
    for ours, theirs in (("image", "image"), ("last_frame_image", "lastFrame")):
        if params.get(ours):
            instance[theirs] = _picture(calls, params[ours])
    return {"instances": [instance], "parameters": {**order.model.fixed, **renamed(params, _NAMES)}}


def _picture(calls: Calls, address: str) -> dict[str, str]:
    inline = data_uri(address)
    if inline is not None:
        return {"bytesBase64Encoded": inline[1], "mimeType": inline[0]}
    if address.startswith("gs://"):
        kind = "image/png" if address.lower().endswith(".png") else "image/jpeg"
        return {"gcsUri": address, "mimeType": kind}
    try:
        # Without a key: this is any host on the internet.
        answer = calls.send("GET", address)
    except CallFailed as error:
        raise refused(Blame.SOURCE, f"the picture could not be read: {error.message}") from error
    if answer.mime not in {"image/png", "image/jpeg", "image/webp"}:
        told = f"the picture is served as {answer.mime[:60] or 'nothing that is known'}; Veo takes PNG, JPEG and WebP"
        raise refused(Blame.SOURCE, told)
    return {"bytesBase64Encoded": base64.b64encode(answer.content).decode(), "mimeType": answer.mime}


def seen_of(body: Any, fault_of_code: Callable[[int, str], Fault], authorised: Callable[[str], bool]) -> Seen:
    """What an operation's JSON says. Total."""
    if at(body, "done") is not True:
        return Seen(Said.RUNNING, "running")
    error = at(body, "error")
    if error:
        code = int(number(at(error, "code")) or 0)
        told = text(at(error, "message")) or "the operation failed"
        if code == _CANCELLED:
            return Seen(Said.CANCELLED, "cancelled", fault=Fault(Blame.PASSING, "CANCELLED", clean(told)[:1_000]))
        return Seen(Said.FAILED, "failed", fault=fault_of_code(code, told))
    response = at(body, "response")
    inner = at(response, "generateVideoResponse")
    held = inner if inner is not None else response
    outputs = tuple(each for video in _videos(held) for each in _outputs(video, authorised))
    if outputs:
        return Seen(Said.DONE, "done", outputs=outputs)
    reasons = texts(at(held, "raiMediaFilteredReasons"))
    if reasons or (number(at(held, "raiMediaFilteredCount")) or 0) > 0:
        return Seen(Said.FAILED, "filtered", fault=_refusal(reasons))
    return Seen(Said.DONE, "done")


def _videos(held: Any) -> list[Any]:
    samples = objects(at(held, "generatedSamples")) or objects(at(held, "generatedVideos"))
    return [each.get("video") for each in samples] or list(objects(at(held, "videos")))


def _outputs(video: Any, authorised: Callable[[str], bool]) -> tuple[Output, ...]:
    url = text(at(video, "uri")) or text(at(video, "gcsUri"))
    mime = clean(text(at(video, "mimeType")) or text(at(video, "encoding")))
    if url.startswith("gs://"):
        # In a bucket of one's own, which the key does not open: it has to be readable.
        url = f"https://storage.googleapis.com/{url[len('gs://') :]}"
    if url:
        return outputs_in({"uri": url, "mime_type": mime}, "video", authorised=authorised)
    data = unbase64(at(video, "bytesBase64Encoded")) or unbase64(at(video, "encodedVideo"))
    return (Output("video", data=data, mime=mime),) if data else ()


def _refusal(reasons: list[str]) -> Fault:
    told = "; ".join(reasons[:5]) or "every video was held back by the provider's filters"
    if reasons and all(_SOUND.search(each) for each in reasons):
        return Fault(Blame.PASSING, "AUDIO_FILTERED", fault(Blame.PASSING, told).message)
    return fault(Blame.POLICY, told)
