"""The one door to speech services: a request, tried again while that helps, and one clear SpeechError when it does not.

What belongs here: sending, patience, statuses. What does not: any service's fields (one file each), the guarded connection (http.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.errors import SpeechError
from viralsync_pipelines.http import retry_after, shown

if TYPE_CHECKING:
    import httpx

    from viralsync_pipelines.speech.engine import Means

TRIES = 4
FIRST_PAUSE_S = 0.5
# Five thousand characters are spoken in some twenty seconds.
WORK_S = 180.0
# Fifteen minutes of 16 bits at 48 kHz, as base64.
MAX_BODY_BYTES = 120_000_000


@dataclass(frozen=True)
class Answer:
    """status 2xx. headers: names in any case."""

    headers: Mapping[str, str]
    content: bytes

    @property
    def mime(self) -> str:
        """The kind it says it is, in lower case; "" when it does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def json(self) -> Any:
        return json_of(self.content)


# What an engine makes of a status of 400 and more: its own code, or None for the usual one.
Judge = Callable[[int, Any], str | None]


@dataclass(frozen=True)
class Service:
    """A speech service: its name in messages, its address without a slash at the end, the headers of every request."""

    name: str
    base: str
    headers: Mapping[str, str]
    means: Means
    judge: Judge = lambda status, body: None

    def ask(self, method: str, path: str, *, params: Mapping[str, str] | None = None, payload: Any = None) -> Answer:
        """Raises SpeechError SPEECH_KEY_REFUSED, SPEECH_QUOTA_EXCEEDED, SPEECH_BUSY, SPEECH_UNAVAILABLE, or SPEECH_REFUSED for a
        request that it does not take, which another try would not change."""
        left = self.means.patience_s
        for attempt in range(1, TRIES + 1):
            try:
                return self._once(method, path, params, payload)
            except _Passing as trouble:
                pause = FIRST_PAUSE_S * 2 ** (attempt - 1) if trouble.pause is None else trouble.pause
                if attempt == TRIES or pause > left:
                    raise trouble.told(attempt) from trouble
                left -= pause
            self.means.sleep(pause)
        raise AssertionError("a loop of TRIES tries returns or raises")

    def _once(self, method: str, path: str, params: Mapping[str, str] | None, payload: Any) -> Answer:
        import httpx

        from viralsync_pipelines.addresses import AddressRefused, HostUnknown

        url = f"{self.base}{path}"
        try:
            with deadline(WORK_S):
                client = self.means.client()
                request = client.build_request(method, url, headers=dict(self.headers), params=params, json=payload, timeout=WORK_S)
                answer = client.send(request, stream=True)
                try:
                    content = self._read(answer)
                finally:
                    answer.close()
        except (AddressRefused, HostUnknown, httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            told = f"{self.name} cannot be reached at {shown(url)}: {error}; set its _BASE_URL to where it is"
            raise SpeechError(told, code="SPEECH_UNAVAILABLE") from error
        except httpx.HTTPError as error:
            raise _Passing(f"{self.name} broke off ({str(error) or type(error).__name__})", "SPEECH_UNAVAILABLE") from error
        if 200 <= answer.status_code < 300:
            return Answer(answer.headers, content)
        raise self._failure(answer, content)

    def _read(self, answer: httpx.Response) -> bytes:
        parts, size = [], 0
        for part in answer.iter_bytes():
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise SpeechError(f"{self.name} answered with more than {MAX_BODY_BYTES:,} bytes", code="SPEECH_AUDIO_INVALID")
            parts.append(part)
        return b"".join(parts)

    def _failure(self, answer: httpx.Response, content: bytes) -> Exception:
        status, body = answer.status_code, json_of(content)
        words = " ".join((words_of(body) or content[:200].decode(errors="replace")).split())[:300]
        told = f"{self.name} answered {status}" + (f": {words}" if words else "")
        code = self.judge(status, body)
        if code is None and (status in {408, 409, 425, 429} or status >= 500):
            return _Passing(told, "SPEECH_BUSY" if status == 429 else "SPEECH_UNAVAILABLE", retry_after(answer.headers))
        code = code or {401: "SPEECH_KEY_REFUSED", 402: "SPEECH_QUOTA_EXCEEDED", 403: "SPEECH_KEY_REFUSED"}.get(status, "SPEECH_REFUSED")
        return SpeechError(f"{told}; {_REMEDIES[code]}", code=code)


_REMEDIES = {
    "SPEECH_KEY_REFUSED": "give it a key that is valid and may speak, or name another engine",
    "SPEECH_QUOTA_EXCEEDED": "see to the account's balance, or name another engine",
    "SPEECH_REFUSED": "change the line",
    "SPEECH_TEXT_REFUSED": "change the text",
    "SPEECH_TOO_LONG": "split the line into several",
    "VOICE_NOT_FOUND": "`viralsync voices` lists those that there are",
}


class _Passing(Exception):
    """Trouble that may be over at the next try. pause: seconds the service asks for."""

    def __init__(self, words: str, code: str, pause: float | None = None) -> None:
        super().__init__(words)
        self.code = code
        self.pause = pause

    def told(self, tries: int) -> SpeechError:
        asked = f", which asks for {self.pause:g} s of patience" if self.pause is not None else ""
        times = "once" if tries == 1 else f"{tries} times"
        return SpeechError(f"{self}{asked}; it was asked {times}, so try again later, or name a `fallback`", code=self.code)


def key_of(means: Means, name: str, engine: str) -> str:
    """The key under an environment name. Raises SpeechError SPEECH_KEY_MISSING, also for what no header can carry."""
    found = (means.keys.get(name) or "").strip()
    if not found or not (found.isascii() and found.isprintable()):
        wrong = "there is no key" if not found else "the key has characters that no key has"
        raise SpeechError(f"{wrong} for the speech engine {engine!r}: set {name}, or name another engine", code="SPEECH_KEY_MISSING")
    return found


def json_of(content: bytes) -> Any:
    """The JSON value, None for anything else."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def words_of(body: Any, depth: int = 6) -> str:
    """The sentence in an error's JSON, wherever this API puts it."""
    if isinstance(body, str):
        return body
    if isinstance(body, list) and depth:
        return "; ".join(filter(None, (words_of(each, depth - 1) for each in body[:5])))
    if isinstance(body, dict) and depth:
        found = (words_of(body.get(name), depth - 1) for name in ("message", "detail", "error", "msg", "status"))
        return next(filter(None, found), "")
    return ""
