"""One httpx client factory: timeouts, the SSRF guard, and status -> Transient | Permanent.

What belongs here: opening a client, following redirects hop by hop, judging answers, trying again.
What does not: the guarded connection (guard.py), which addresses are public (addresses.py), any API's own fields.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from viralsync_pipelines.addresses import AddressRefused, Allow, HostUnknown, Resolve, resolve_by_system
from viralsync_pipelines.errors import ViralsyncError

if TYPE_CHECKING:
    import ssl

    import httpx

USER_AGENT = "viralsync-pipelines"
MAX_REDIRECTS = 5
TRIES = 4
# A server that asks for a longer pause than this is taken at its word, and the try is given up rather than slept through.
LONGEST_PAUSE_S = 60.0

_T = TypeVar("_T")


class HttpError(ViralsyncError):
    """A request came to nothing. `status` is the answer's, None when there was none."""

    code = "HTTP_FAILED"

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, code=code)
        self.status = status
        self.retry_after = retry_after


class Transient(HttpError):
    """May come right by itself: HTTP_UNAVAILABLE (no answer, 408, 425, 429, 5xx). `retry_after` is in seconds."""

    code = "HTTP_UNAVAILABLE"


class Permanent(HttpError):
    """Fails until somebody changes something.

    HTTP_REFUSED, HTTP_URL_INVALID, HTTP_REDIRECT_REFUSED, HOST_UNKNOWN, ADDRESS_REFUSED.
    """

    code = "HTTP_REFUSED"


def open_client(
    *,
    allow: Iterable[str] = (),
    resolve: Resolve = resolve_by_system,
    connect_s: float = 10.0,
    read_s: float = 30.0,
    verify: ssl.SSLContext | None = None,
    headers: Mapping[str, str] | None = None,
) -> httpx.Client:
    """A client that reaches public addresses only, plus what `allow` names ("host", "host:port", "10.0.0.0/8", "[::1]:80").

    Redirects are not followed by the client (see `stream`), and neither proxies nor credentials are read from the environment.
    Safe to share between threads. The caller closes it.
    """
    import httpx

    from viralsync_pipelines.guard import GuardedTransport

    return httpx.Client(
        transport=GuardedTransport(Allow.of(allow), resolve, verify),
        headers={"User-Agent": USER_AGENT, **(headers or {})},
        timeout=httpx.Timeout(read_s, connect=connect_s),
        follow_redirects=False,
        trust_env=False,
    )


@contextmanager
def stream(
    client: httpx.Client, url: str, *, headers: Mapping[str, str] | None = None, secret: Mapping[str, str] | None = None,
    plain_http: bool = False,
) -> Iterator[httpx.Response]:  # fmt: skip
    """GET `url`, following up to MAX_REDIRECTS hops, each one checked anew. The answer is 200 or 304, its body not yet read.

    http:// is refused unless `plain_http`; from https a redirect never leads down to http, whatever is allowed.
    secret: headers such as a key, for the server that is asked; a redirect to another one goes without them.
    Raises Transient and Permanent, also while the body is read.
    """
    seen: list[str] = []
    place = first = _parsed(url)
    with _judged(shown(url)):
        while True:
            _check_scheme(place, seen, plain_http)
            told = secret if secret and (place.scheme, place.host, place.port) == (first.scheme, first.host, first.port) else {}
            request = client.build_request("GET", place, headers={"Accept-Encoding": "identity", **(headers or {}), **told})
            answer = client.send(request, stream=True)
            try:
                onward = answer.headers.get("location") if answer.status_code in {301, 302, 303, 307, 308} else None
                if onward is None:
                    raise_for_status(answer)
                    yield answer
                    return
            finally:
                answer.close()
            seen.append(str(place))
            place = _parsed(onward, base=place)
            if str(place) in seen or len(seen) > MAX_REDIRECTS:
                raise Permanent(
                    f"{shown(url)} redirects in a circle or more than {MAX_REDIRECTS} times; give the final address",
                    code="HTTP_REDIRECT_REFUSED",
                )


def _parsed(url: str, base: httpx.URL | None = None) -> httpx.URL:
    import httpx

    try:
        place = httpx.URL(url) if base is None else base.join(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise Permanent(f"{shown(url)} is not a web address ({error})", code="HTTP_URL_INVALID") from error
    if not place.host:
        raise Permanent(f"{shown(url)} names no host; write https://host/path", code="HTTP_URL_INVALID")
    return place


def _check_scheme(place: httpx.URL, seen: list[str], plain_http: bool) -> None:
    if place.scheme == "https" or (place.scheme == "http" and plain_http and not (seen and seen[-1].startswith("https:"))):
        return
    if seen:
        raise Permanent(
            f"{shown(seen[0])} redirects to {place.scheme}://, which is not followed; give the final https:// address",
            code="HTTP_REDIRECT_REFUSED",
        )
    raise Permanent(f"{place.scheme}:// is not open; give an https:// address", code="HTTP_URL_INVALID")


@contextmanager
def _judged(name: str) -> Iterator[None]:
    """Everything httpx raises becomes Transient or Permanent with a sentence."""
    import httpx

    try:
        yield
    except AddressRefused as error:
        raise Permanent(error.message, code=error.code) from error
    except HostUnknown as error:
        raise (Transient(error.message) if error.temporary else Permanent(error.message, code=error.code)) from error
    except httpx.InvalidURL as error:
        # httpx reads every Location itself, also when it is told not to follow.
        raise Permanent(f"{name} redirects to what is no web address ({error})", code="HTTP_REDIRECT_REFUSED") from error
    except httpx.TimeoutException as error:
        raise Transient(f"{name} did not answer in time; try again, or put the file on a faster server") from error
    except httpx.TransportError as error:
        if "CERTIFICATE" in str(error).upper():
            raise Permanent(f"{name} shows a certificate that is not valid ({error}); its owner has to renew it") from error
        raise Transient(f"{name} broke off ({str(error) or type(error).__name__}); try again") from error


def raise_for_status(answer: httpx.Response) -> None:
    """Nothing for 200 and 304, Transient for what may pass (408, 425, 429, 5xx), Permanent for the rest."""
    status = answer.status_code
    if status in {200, 304}:
        return
    name = f"{shown(str(answer.request.url))} answered {status} {answer.reason_phrase}".rstrip()
    if status in {408, 425, 429} or status >= 500:
        raise Transient(f"{name}; try again later", status=status, retry_after=retry_after(answer.headers))
    remedy = {
        401: "it asks for a sign-in; give an address that can be read without one",
        403: "it does not let us read the file; make it public or give a signed address that is still valid",
        404: "check the address",
        410: "the file was taken away; give another",
    }.get(status, "check the address")
    raise Permanent(f"{name}: {remedy}", status=status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds a server asks us to wait. A date is read against the server's own Date header, so no clock is needed."""
    import email.utils

    value = headers.get("retry-after", "").strip()
    if value.isdigit():
        return float(value)
    try:
        then, now = (email.utils.parsedate_to_datetime(v) for v in (value, headers.get("date", "")))
        return max(0.0, (then - now).total_seconds())
    except (ValueError, TypeError):
        return None


def retrying(
    action: Callable[[], _T],
    *,
    tries: int = TRIES,
    first_pause_s: float = 0.5,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> _T:
    """Run an idempotent `action` again after Transient.

    Pauses 0.5, 1, 2 ... seconds (up to half more by `jitter`), or what the server asks for.
    """
    for attempt in range(1, tries + 1):
        try:
            return action()
        except Transient as error:
            pause = first_pause_s * 2 ** (attempt - 1) * (1 + jitter() / 2)
            if error.retry_after is not None:
                pause = error.retry_after
            if attempt == tries or pause > LONGEST_PAUSE_S:
                raise
        sleep(pause)
    raise Transient("no try was allowed; set tries to 1 or more")


def shown(url: str) -> str:
    """`url` as it may stand in a message: no user, password, query or fragment (signed addresses carry secrets there)."""
    head = url.partition("#")[0]
    plain, _, query = head.partition("?")
    scheme, sep, rest = plain.partition("://")
    if sep:
        host, slash, path = rest.partition("/")
        plain = f"{scheme}://{host.rpartition('@')[2]}{slash}{path}"
    plain = plain if len(plain) <= 200 else plain[:197] + "..."
    return plain + ("?..." if query else "")
