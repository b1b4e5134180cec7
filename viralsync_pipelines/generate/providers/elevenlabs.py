"""ElevenLabs: speech with the time of every letter, and sound effects. Both answer with what they made, at once.

`fixed` of a model is part of the body; `options.voice` speaks where a plan names none, `options.output_format` is the sound's format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from viralsync_pipelines.generate.calls import WORK_S, words_of
from viralsync_pipelines.generate.inputs import renamed
from viralsync_pipelines.generate.loose import at, number, text, unbase64
from viralsync_pipelines.generate.provider import Blame, CallFailed, NotSent, Order, Output, Refused, Said, Seen, Taken, Unsure
from viralsync_pipelines.generate.providers.at_once import AtOnce, sound_of, ticket_for
from viralsync_pipelines.generate.wording import CODES, clean, refused, refused_in
from viralsync_pipelines.http import retry_after

if TYPE_CHECKING:
    from viralsync_pipelines.generate.calls import Calls

BASE = "https://api.elevenlabs.io"
FORMAT = "mp3_44100_128"
# A place is free when one of the account's other jobs is spoken.
FULL_S = 5.0

_SPEECH = {
    "text": "text", "language": "language_code", "seed": "seed", "previous_text": "previous_text", "next_text": "next_text",
}  # fmt: skip
_VOICE = {"speed": "speed", "stability": "stability", "similarity": "similarity_boost", "style": "style"}
_SOUND = {"prompt": "text", "duration": "duration_seconds", "prompt_influence": "prompt_influence", "loop": "loop"}
_POLICY = re.compile(r"content_against_policy|policy_violation|moderation|terms_of_service")
# The same 401 tells of a key that is wrong and of credits that are used up.
_BY_STATUS: Mapping[str, tuple[Blame, str]] = {
    "quota_exceeded": (Blame.ACCOUNT, "QUOTA_EXCEEDED"),
    "invalid_api_key": (Blame.ACCOUNT, "PROVIDER_KEY_REFUSED"),
    "missing_permissions": (Blame.ACCOUNT, "PROVIDER_KEY_REFUSED"),
    "max_character_limit_exceeded": (Blame.INPUT, CODES[Blame.INPUT]),
    "voice_not_found": (Blame.INPUT, "VOICE_NOT_FOUND"),
}


def words_from(alignment: Any, spoken: str) -> list[dict[str, Any]]:
    """Words with their times, [{text, start_s, end_s, char_start, char_end}], from the times of letters. Total: [] without any.

    A word is what stands between spaces, punctuation included; a lone dash belongs to the word before it. char_start and char_end are
    places in `spoken`. alignment: of the text as it was sent; the one of normalised text has other words ("25" is "twenty five" there).
    """
    words: list[dict[str, Any]] = []
    lead: dict[str, Any] | None = None
    place = 0
    for shown, start, end in _runs(alignment):
        found = spoken.find(shown, place)
        begins = found if found >= 0 else place
        place = found + len(shown) if found >= 0 else place
        each = {"text": shown, "start_s": start, "end_s": end, "char_start": begins, "char_end": place}
        if not any(letter.isalnum() for letter in shown):
            if words:
                words[-1] = _joined(words[-1], each)
            else:
                lead = each if lead is None else _joined(lead, each)
        else:
            words.append(each if lead is None else _joined(lead, each))
            lead = None
    return words


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {**one, "text": f"{one['text']} {other['text']}", "end_s": other["end_s"], "char_end": other["char_end"]}


def _runs(alignment: Any) -> list[tuple[str, float, float]]:
    """What stands between spaces, with when it begins and ends, in order, never overlapping."""
    names = ("characters", "character_start_times_seconds", "character_end_times_seconds")
    columns = [found if isinstance(found, list) else [] for found in (at(alignment, name) for name in names)]
    runs: list[tuple[str, float, float]] = []
    inside, now = False, 0.0
    for letter, start, end in zip(*columns, strict=False):
        if not isinstance(letter, str) or not letter.strip():
            inside = False
            continue
        first = max(now, number(start) or 0.0)
        now = max(first, number(end) or 0.0)
        if inside:
            before, began, _ = runs[-1]
            runs[-1] = (before + letter, began, now)
        else:
            runs.append((letter, first, now))
        inside = True
    return [(clean(shown), start, end) for shown, start, end in runs]


def _judge(status: int, headers: Mapping[str, str], body: Any) -> CallFailed | None:
    kind = text(at(body, "detail", "status")) or text(at(body, "detail", "code"))
    told = f"elevenlabs: {clean(words_of(body))}"
    if status >= 500:
        return None
    if status in {425, 429}:
        pause = retry_after(headers)
        full = kind == "too_many_concurrent_requests"
        return NotSent(told, retry_after_s=FULL_S if full and pause is None else pause, code="PROVIDER_FULL" if full else "PROVIDER_BUSY")
    if _POLICY.search(kind):
        return refused(Blame.POLICY, told)
    known = _BY_STATUS.get(kind)
    if known is not None:
        return Refused(told, blame=known[0], code=known[1])
    return refused_in(told) if status in {400, 422} else None


class ElevenLabs(AtOnce):
    """See generate/provider.py."""

    name = "elevenlabs"

    def headers(self, calls: Calls) -> dict[str, str]:
        return {"xi-api-key": calls.key("ELEVENLABS_API_KEY", self.name)}

    def submit(self, calls: Calls, order: Order) -> Taken:
        """Takes as long as the work does."""
        return self._speak(calls, order) if order.model.type == "generate.voice" else self._sound(calls, order)

    def _speak(self, calls: Calls, order: Order) -> Taken:
        voice = order.params.get("voice") or order.model.options.get("voice")
        if not voice:
            raise Refused("elevenlabs needs a voice: give the id of one of the account's voices", code="VOICE_NOT_FOUND")
        body = {"model_id": order.model.endpoint, **order.model.fixed, **renamed(order.params, _SPEECH)}
        settings = renamed(order.params, _VOICE)
        if settings:
            body["voice_settings"] = {**body.get("voice_settings", {}), **settings}
        answer = calls.send(
            "POST", f"{calls.base(self.name, BASE)}/v1/text-to-speech/{quote(voice, safe='')}/with-timestamps",
            headers=self.headers(calls), params={"output_format": _format(order)}, payload=body, seconds=WORK_S, making=True, judge=_judge,
        )  # fmt: skip
        sound = unbase64(at(answer.body, "audio_base64"))
        if not sound:
            raise Unsure("elevenlabs answered without sound, which may be paid for all the same")
        words = words_from(at(answer.body, "alignment"), body["text"])
        return _taken(order, answer.headers, sound, {"words": words} if words else {})

    def _sound(self, calls: Calls, order: Order) -> Taken:
        body = {"model_id": order.model.endpoint, **order.model.fixed, **renamed(order.params, _SOUND)}
        answer = calls.send(
            "POST", f"{calls.base(self.name, BASE)}/v1/sound-generation", headers=self.headers(calls),
            params={"output_format": _format(order)}, payload=body, seconds=WORK_S, making=True, judge=_judge,
        )  # fmt: skip
        return _taken(order, answer.headers, sound_of(self.name, answer), {})



def _format(order: Order) -> str:
    return str(order.model.options.get("output_format", FORMAT))


def _taken(order: Order, headers: Mapping[str, str], sound: bytes, extra: Mapping[str, Any]) -> Taken:
    mime = "audio/mpeg" if _format(order).startswith("mp3") else ""
    seen = Seen(Said.DONE, "completed", (Output("audio", data=sound, mime=mime),), extra=extra)
    return Taken(ticket_for(order, headers.get("request-id")), seen)
