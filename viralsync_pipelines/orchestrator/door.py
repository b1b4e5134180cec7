"""One GraphQL question to Dagster's web server: sent once, and told apart whether it was surely not carried out, or nobody knows.

What belongs here: the HTTP request and its faults. What does not: what is asked (documents.py), what answers mean (graphql.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import RenderUnavailable, RunRefused

if TYPE_CHECKING:
    import httpx


@dataclass(frozen=True)
class Patience:
    """Seconds. launch: for a run to be taken. answer: to anything else. settle: for a run to show itself whose answer was lost.
    starting: for a run that Dagster is starting, which it cannot end, to have started. look: between two looks.

    A launch comes to its end within 30 s, whatever happens: claims of requests (storage/claims.py) count on that.
    """

    connect_s: float = 2.0
    launch_s: float = 10.0
    answer_s: float = 4.0
    settle_s: float = 5.0
    starting_s: float = 20.0
    look_s: float = 0.1


class ReplyLost(Exception):
    """The question went out, and no answer to it came back: it may have been carried out."""


def open_client() -> httpx.Client:
    """A client for one web server on a network that is trusted. Safe to share between threads; the caller closes it."""
    import httpx

    return httpx.Client(
        # The server drops connections that were idle for 5 s: one must not be used just then.
        limits=httpx.Limits(max_connections=40, max_keepalive_connections=20, keepalive_expiry=2.0),
        trust_env=False,
        follow_redirects=False,
    )


def post(
    client: httpx.Client, url: str, document: str, variables: Mapping[str, Any], *, connect_s: float, answer_s: float
) -> dict[str, Any]:
    """The answer's data. Raises RenderUnavailable when nothing was carried out, and ReplyLost when that cannot be known."""
    import httpx

    try:
        request = client.build_request(
            "POST", url, json={"query": document, "variables": dict(variables)}, timeout=httpx.Timeout(answer_s, connect=connect_s)
        )
    except (ValueError, TypeError) as error:
        raise RunRefused(f"this cannot be written as JSON ({error}); leave out what is no number, text, list or object") from error
    try:
        answer = client.send(request)
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
        raise RenderUnavailable(f"Dagster's web server does not answer at {url} ({_said(error)}); is it running?") from error
    except httpx.HTTPError as error:
        raise ReplyLost(_said(error)) from error
    return _data(answer, url)


def _data(answer: httpx.Response, url: str) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    data = body.get("data") if isinstance(body, dict) else None
    if isinstance(data, dict) and not (isinstance(body, dict) and body.get("errors")):
        return data
    told = _first_error(body) or answer.reason_phrase
    if answer.status_code >= 500 and "got invalid value" not in told:
        raise ReplyLost(f"{answer.status_code} {told}")
    raise RenderUnavailable(
        f"{url} answers {answer.status_code} ({told[:300]}), which is not how Dagster's web server speaks; check the address, and that it "
        "has the version of this installation"
    )


def _first_error(body: Any) -> str:
    errors = body.get("errors") if isinstance(body, dict) else None
    return str(errors[0].get("message", "")) if isinstance(errors, list) and errors and isinstance(errors[0], dict) else ""


def _said(error: Exception) -> str:
    return str(error) or type(error).__name__
