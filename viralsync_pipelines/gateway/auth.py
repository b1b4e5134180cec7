"""Who is asking: a key, a short token, or somebody on this machine while no key exists. Routes depend on `reader`, `writer` or `viewer`.

What belongs here: turning a request into a Principal, or refusing it, and counting it. What does not: keys as rows
(storage/accounts.py), what a plan allows a film (plans.py). Refusals never say what was sent.
"""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any
from urllib.parse import urlsplit

from anyio import to_thread
from fastapi import Depends, Query, Request, Security
from fastapi.security import APIKeyHeader, HTTPBearer

from viralsync_pipelines.errors import SettingsError
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import Refused
from viralsync_pipelines.gateway.known_keys import Known, Remembered
from viralsync_pipelines.gateway.limiting import ALLOWANCE, too_many
from viralsync_pipelines.gateway.plans import Plan
from viralsync_pipelines.gateway.tokens import verify
from viralsync_pipelines.jobs.kinds import parent_of_child
from viralsync_pipelines.storage.accounts import Accounts, Workspace

KEYLESS = "loopback"
"""The key id of requests without a key."""

_NO_KEY = "this needs an API key; send it as x-api-key or as Authorization: Bearer, `viralsync keys create` makes one"
_REVOKED = "this API key was revoked; use another one"
_BAD_GRANT = "this token is not valid, or is over; ask for another with POST /v1/jobs/{jobId}/stream-token"
_OTHER_JOB = "this token opens another job only; ask for one with POST /v1/jobs/{jobId}/stream-token"
_READ_ONLY = "this API key may only read; use one that may write"
_NO_API = "this workspace's plan does not include the API; move to a plan that does"
_NOT_HERE = "while no API key exists only programs of this machine are heard, at http://localhost; `viralsync keys create` opens the rest"
_CROSS_SITE = "while no API key exists a page from another site may not change anything here; `viralsync keys create` makes a key for it"
_OPEN = "no API key exists: every program on this machine may use the API as workspace 'default'; `viralsync keys create NAME` ends that"

_log = logging.getLogger("viralsync.gateway")
# For the OpenAPI document and its Authorize button; the header is read below.
_BY_HEADER = APIKeyHeader(name="x-api-key", auto_error=False)
_BY_BEARER = HTTPBearer(auto_error=False)


@dataclass(frozen=True)
class Principal:
    """Who is asking. loopback: without a key. only_job: the one family that a token opens, "" for all of the workspace."""

    workspace: str
    key_id: str
    read_only: bool
    plan: Plan
    loopback: bool
    plan_name: str = "selfhosted"
    only_job: str = ""


async def reader(
    request: Request, _key: Annotated[Any, Security(_BY_HEADER)] = None, _bearer: Annotated[Any, Security(_BY_BEARER)] = None
) -> Principal:
    """Anybody with a key."""
    return await _admitted(request)


async def writer(request: Request, principal: Annotated[Principal, Depends(reader)]) -> Principal:
    """Anybody whose key is not read-only: 403 FORBIDDEN."""
    if principal.read_only:
        raise Refused(403, "FORBIDDEN", _READ_ONLY)
    return principal


async def viewer(
    request: Request,
    token: Annotated[str | None, Query(description="A short-lived token, for clients that cannot send a header.")] = None,
    _key: Annotated[Any, Security(_BY_HEADER)] = None,
    _bearer: Annotated[Any, Security(_BY_BEARER)] = None,
) -> Principal:
    """As `reader`; without a key in a header, also the holder of a token: for the job in the route's path, or for its family."""
    principal = await _admitted(request, token)
    if principal.only_job:
        await _check_job(request, principal.only_job)
    return principal


async def still_welcome(deps: Deps, principal: Principal) -> bool:
    """For what lasts, such as a stream: whether the key behind it is still good. Costs nothing more than once a second."""
    if principal.loopback:
        return await _open_to(deps) is not None
    found = await _looked_up(deps.keys.by_id, principal.key_id)
    return found is not None and found[0].revoked_ms is None


def check_bind(host: str, accounts: Accounts) -> None:
    """Before the server is started: SettingsError API_KEY_NEEDED for an address others can reach while nobody has a key to show."""
    if not is_loopback(host) and not accounts.any_usable_key():
        raise SettingsError(
            f"{host} can be reached from other machines and no API key exists; make one first with `viralsync keys create NAME`, "
            "or serve on 127.0.0.1",
            code="API_KEY_NEEDED",
        )


def is_loopback(host: str) -> bool:
    """Whether an address that a server is bound to is this machine's alone. Names other than localhost are not: they may move."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


async def _admitted(request: Request, token: str | None = None) -> Principal:
    known: Principal | None = getattr(request.state, "principal", None)
    if known is not None:
        # Asked for twice by one route; counted once.
        return known
    deps = deps_of(request)
    secret = _given(request.headers)
    if secret is not None:
        principal = _of_key(deps, await _looked_up(deps.keys.by_secret, secret))
    elif token is not None:
        principal = await _of_token(request, deps, token)
    else:
        principal = await _without_key(request, deps)
    if not principal.plan.api:
        raise Refused(403, "FORBIDDEN", _NO_API)
    limit = deps.limiter.keyless if principal.loopback else principal.plan.requests_per_minute
    allowance = deps.limiter.take(principal.key_id, limit)
    setattr(request.state, ALLOWANCE, allowance)
    if allowance is not None and not allowance.granted:
        raise too_many(allowance)
    request.state.principal = principal
    return principal


def _given(headers: Mapping[str, str]) -> str | None:
    key = headers.get("x-api-key")
    if key is not None:
        return key.strip()
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else None


def _of_key(deps: Deps, found: Known | None) -> Principal:
    if found is None:
        raise Refused(401, "UNAUTHORIZED", _NO_KEY)
    key, workspace = found
    if key.revoked_ms is not None:
        raise Refused(401, "API_KEY_REVOKED", _REVOKED)
    return Principal(workspace.id, key.id, key.read_only, deps.plans.of(workspace.plan), loopback=False, plan_name=workspace.plan)


async def _of_token(request: Request, deps: Deps, token: str) -> Principal:
    grant = verify(deps.token_secret, token, deps.now_ms())
    if grant is None:
        raise Refused(401, "UNAUTHORIZED", _BAD_GRANT)
    if grant.key_id == KEYLESS:
        # No better than no token at all: it ends when the first key is made.
        principal = await _without_key(request, deps)
    else:
        principal = _of_key(deps, await _looked_up(deps.keys.by_id, grant.key_id))
    return replace(principal, workspace=grant.workspace, read_only=True, only_job=grant.job_id)


async def _check_job(request: Request, only: str) -> None:
    wanted = request.path_params.get("job_id") or request.path_params.get("jobId") or ""
    if only in {wanted, parent_of_child(wanted)}:
        return
    # Jobs that programs report have children with ids of their own.
    if not wanted or await to_thread.run_sync(deps_of(request).board.root_of, wanted) != only:
        raise Refused(403, "FORBIDDEN", _OTHER_JOB)


async def _without_key(request: Request, deps: Deps) -> Principal:
    """The workspace `default`, for programs of this machine alone; the address the server is bound to says so, no header can.

    A browser is such a program, and runs pages of others. One that calls us by a name of its own (DNS rebinding) is told by Host, one that
    sends a form across sites by Origin. A proxy is another, and speaks for people elsewhere: it is told by what proxies add.
    """
    workspace = await _open_to(deps) if is_loopback(deps.host) else None
    if workspace is None:
        raise Refused(401, "UNAUTHORIZED", _NO_KEY)
    headers = request.headers
    if not _names_this_machine(headers.get("host", "")) or any(name in headers for name in ("forwarded", "x-forwarded-for", "x-real-ip")):
        raise Refused(403, "FORBIDDEN", _NOT_HERE)
    if request.method not in {"GET", "HEAD", "OPTIONS"} and _from_another_site(headers):
        raise Refused(403, "FORBIDDEN", _CROSS_SITE)
    if deps.keys.first_time():
        _log.warning(_OPEN)
    return Principal(workspace.id, KEYLESS, False, deps.plans.of(workspace.plan), loopback=True, plan_name=workspace.plan)


async def _looked_up(keys: Remembered[Known], name: str) -> Known | None:
    """Without a thread when it is remembered, which it is for all but one request a second."""
    return await keys.found(name)


async def _open_to(deps: Deps) -> Workspace | None:
    return await deps.keys.opened()


def _names_this_machine(host: str) -> bool:
    """A Host header of localhost or of a loopback address, with any port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return False
    return name is not None and "@" not in host and is_loopback(name)


def _from_another_site(headers: Mapping[str, str]) -> bool:
    origin = headers.get("origin")
    if origin is None:
        # Programs send neither. A browser that hides where it comes from still says how far away that is.
        return headers.get("sec-fetch-site", "none") == "cross-site"
    scheme, _, place = origin.partition("://")
    return scheme not in {"http", "https"} or not _names_this_machine(place)
