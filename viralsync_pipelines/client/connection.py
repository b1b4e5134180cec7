"""What both clients say to httpx: where the gateway is, who asks, how patient they are; and what its errors mean.

What belongs here: options and requests of httpx as data. What does not: sending. httpx is imported by whoever makes a client.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from viralsync_pipelines.client.answers import ApiError, unreachable
from viralsync_pipelines.client.calls import KEY, Call
from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.http import USER_AGENT

if TYPE_CHECKING:
    import httpx

_F = TypeVar("_F", bound=Callable[..., Any])

DEFAULT_URL = "http://127.0.0.1:3000"
_CONNECT_S = 10.0


@dataclass(frozen=True)
class Connection:
    """base_url: with http:// or https://; a path in front of the API's own, or /v1, may follow. new_key: makes an Idempotency-Key."""

    base_url: str
    api_key: str | None = field(repr=False)
    timeout_s: float
    silence_s: float
    new_key: Callable[[], str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", self.base_url.strip().rstrip("/").removesuffix("/v1"))
        object.__setattr__(self, "api_key", (self.api_key or "").strip() or None)
        if not self.base_url.startswith(("http://", "https://")) or self.host is None:
            told = f"{self.base_url!r} is no address of a gateway; write {DEFAULT_URL} or https://host"
            raise SettingsError(told, code="API_URL_INVALID")
        if self.api_key is not None and not (self.api_key.isascii() and self.api_key.isprintable()):
            raise SettingsError("the API key holds characters that no key has; copy it again", code="API_KEY_INVALID")

    @property
    def host(self) -> str | None:
        try:
            parts = urlsplit(self.base_url)
            _ = parts.port
        except ValueError:
            return None
        return parts.hostname

    def options(self) -> dict[str, Any]:
        """Of httpx.Client and httpx.AsyncClient."""
        import httpx

        return {
            "base_url": self.base_url,
            "headers": {"User-Agent": USER_AGENT, **({} if self.api_key is None else {"x-api-key": self.api_key})},
            "timeout": httpx.Timeout(self.timeout_s, connect=min(_CONNECT_S, self.timeout_s), pool=None),
            # One connection for each stream that is followed, however many.
            "limits": httpx.Limits(max_connections=None),
            "follow_redirects": False,
            # A proxy of the environment's is not for this machine.
            "trust_env": not _loopback(self.host or ""),
        }

    def request(self, call: Call[Any]) -> dict[str, Any]:
        """Of httpx's `request`, the same at every try. A keyed call counts once, however often it arrives."""
        import httpx

        headers = dict(call.headers)
        if call.keyed:
            headers.setdefault(KEY, self.new_key())
        made: dict[str, Any] = {"method": call.method, "url": call.path, "params": dict(call.query), "headers": headers}
        if call.body is not None:
            made["content"], headers["Content-Type"] = _written(call.body), "application/json"
        if call.held_s:
            made["timeout"] = httpx.Timeout(self.timeout_s + call.held_s, connect=min(_CONNECT_S, self.timeout_s), pool=None)
        return made

    def stream(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> dict[str, Any]:
        """Of httpx's `stream`."""
        import httpx

        patience = httpx.Timeout(self.timeout_s, connect=min(_CONNECT_S, self.timeout_s), read=self.silence_s, pool=None)
        return {"method": "GET", "url": path, "params": dict(query), "headers": dict(headers), "timeout": patience}

    def no_answer(self, error: httpx.RequestError) -> ApiError:
        import httpx

        return unreachable(self.base_url, str(error) or type(error).__name__, refused=isinstance(error, httpx.ConnectError))


def repeatable(request: Mapping[str, Any]) -> bool:
    return request["method"] == "GET" or KEY in request["headers"]


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _written(body: Any) -> bytes:
    try:
        return json.dumps(body, allow_nan=False, default=_plain).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ApiError(None, "VALIDATION_ERROR", f"what is to be sent cannot be written as JSON: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} is no JSON value")


def as_method(method: _F, make: Callable[..., Any], *, without_job: bool = False) -> _F:
    """`method` with the name, words and signature of `make`, for those who ask Python or Jupyter what may be given.

    without_job: its first argument, the job's id, is left out.
    """
    functools.update_wrapper(method, make)
    plain = inspect.signature(make)
    first = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    rest = list(plain.parameters.values())[1 if without_job else 0 :]
    # What it gives is not a Call, as `make` does, but what the Call reads.
    method.__signature__ = plain.replace(parameters=[first, *rest], return_annotation=inspect.Signature.empty)  # type: ignore[attr-defined]
    return method
