"""The one door to providers' APIs: a request out, JSON in, and every way it can go wrong told apart by whether it was taken.

What belongs here: sending, limits, judging an answer's status. What does not: any provider's fields (providers/), trying again (submit.py,
poll.py), the guarded connection (http.py).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.deadline import deadline
from viralsync_pipelines.generate.loose import json_of
from viralsync_pipelines.generate.provider import Blame, CallFailed, Gone, KeyMissing, NotSent, Refused, Unsure
from viralsync_pipelines.http import retry_after, shown

if TYPE_CHECKING:
    import httpx

# Answers carry pictures and sound as base64: an hour of speech is some 80 MB.
MAX_BODY_BYTES = 128_000_000
ASK_S = 20.0
# A picture model that answers when it is done takes tens of seconds.
WORK_S = 300.0


@dataclass(frozen=True)
class Answer:
    """status 2xx. body: the JSON value, or None for an empty or other body, which `content` has."""

    status: int
    headers: Mapping[str, str]
    content: bytes
    body: Any = None

    @property
    def mime(self) -> str:
        """The kind it says it is, in lower case; "" when it does not say."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


# What an adapter makes of a refusal: status, headers and JSON body (None for other) to an error of its own choosing, or None.
Judge = Callable[[int, Mapping[str, str], Any], CallFailed | None]


@dataclass(frozen=True)
class Calls:
    """client: guarded (http.open_client), shared by threads. keys: by environment name. bases: base address by provider.

    now_ms: the clock.
    """

    client: httpx.Client
    keys: Mapping[str, str]
    bases: Mapping[str, str]
    now_ms: Callable[[], int]

    def key(self, name: str, provider: str) -> str:
        """The key kept under an environment name. Raises KeyMissing, also for what no header can carry: its error would quote the key."""
        found = (self.keys.get(name) or "").strip()
        if not (found.isascii() and found.isprintable()):
            raise KeyMissing(f"the key for {provider} has characters that no key has: set {name} anew")
        if not found:
            raise KeyMissing(f"there is no key for {provider}: set {name}, or send providerApiKeys with the plan")
        return found

    def base(self, provider: str, default: str) -> str:
        return (self.bases.get(provider) or default).rstrip("/")

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str] | None = None, params: Mapping[str, str] | None = None,
        payload: Any = None, seconds: float = ASK_S, judge: Judge | None = None, making: bool = False,
    ) -> Answer:  # fmt: skip
        """One request, sent once. making: it makes something, so that a lost answer leaves open whether it did.

        Redirects are not followed. Raises NotSent, Unsure, Gone, Refused, or what `judge` makes of a status of 400 and more.
        """
        import httpx

        from viralsync_pipelines.addresses import AddressRefused, HostUnknown

        name = shown(url)
        lost: type[CallFailed] = Unsure if making else NotSent
        try:
            with deadline(seconds):
                try:
                    request = self.client.build_request(
                        method, url, headers=dict(headers or {}), params=params, json=payload,
                        timeout=httpx.Timeout(seconds, connect=min(10.0, seconds)),
                    )  # fmt: skip
                except ValueError as error:
                    # Half a surrogate pair in a prompt, a number that is none: JSON can say it, UTF-8 cannot.
                    raise Refused(f"{name} cannot be sent this: {error}") from error
                answer = self.client.send(request, stream=True)
                try:
                    content = _read(answer, name, lost)
                finally:
                    answer.close()
        except (AddressRefused, HostUnknown) as error:
            raise NotSent(f"{name} cannot be reached: {error.message}", blame=Blame.ACCOUNT) from error
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            raise NotSent(f"{name} cannot be reached ({str(error) or type(error).__name__})") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise NotSent(f"{name} is no address of an API ({error})", blame=Blame.ACCOUNT) from error
        except httpx.HTTPError as error:
            raise lost(f"{name} did not answer in full ({str(error) or type(error).__name__})") from error
        body = json_of(content)
        if answer.status_code < 300:
            return Answer(answer.status_code, answer.headers, content, body)
        raise self._failure(answer, body, content, judge, making=making)

    def _failure(self, answer: httpx.Response, body: Any, content: bytes, judge: Judge | None, *, making: bool) -> CallFailed:
        status, headers = answer.status_code, answer.headers
        judged = judge(status, headers, body) if judge is not None else None
        if judged is not None:
            return judged
        pause = retry_after(headers)
        words = words_of(body) or content[:300].decode(errors="replace")
        told = f"{shown(str(answer.request.url))} answered {status}: {words}".rstrip(": ")
        if status == 429:
            return NotSent(told, retry_after_s=pause, code="PROVIDER_BUSY")
        if status >= 500 or status in {408, 425}:
            # A gateway in between may have passed it on before it gave up.
            return Unsure(told, retry_after_s=pause) if making else NotSent(told, retry_after_s=pause)
        if status in {401, 402, 403}:
            return Refused(told, blame=Blame.ACCOUNT, code="PROVIDER_ACCOUNT")
        if status in {404, 410} and not making:
            return Gone(told)
        return Refused(told, blame=Blame.INPUT)


def words_of(body: Any, depth: int = 8) -> str:
    """The sentence in an error's JSON, wherever this API puts it; no deeper than `depth`, since JSON may be deeper than the stack."""
    if isinstance(body, str):
        return body[:1000]
    if depth == 0:
        return ""
    if isinstance(body, list):
        return "; ".join(filter(None, (words_of(each, depth - 1) for each in body[:5])))[:1000]
    if not isinstance(body, Mapping):
        return ""
    for name in ("message", "detail", "error", "msg", "title", "status"):
        found = words_of(body.get(name), depth - 1)
        if found:
            return found
    return ""


def _read(answer: httpx.Response, name: str, lost: type[CallFailed]) -> bytes:
    parts, size = [], 0
    for part in answer.iter_bytes():
        size += len(part)
        if size > MAX_BODY_BYTES:
            raise lost(f"{name} answered with more than {MAX_BODY_BYTES:,} bytes")
        parts.append(part)
    return b"".join(parts)
