"""`Idempotency-Key` (draft-ietf-httpapi-idempotency-key-header-07): however often a request is sent, it makes one job.

What belongs here: the header, what a replay looks like, what becomes of a claim when the request ends. What does not: the rows
(storage/claims.py), making the job.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from fastapi import Request
from fastapi.responses import Response

from viralsync_pipelines.errors import DatabaseError, RenderUnavailable, ViralsyncError
from viralsync_pipelines.gateway.auth import Principal
from viralsync_pipelines.gateway.deps import Deps, deps_of
from viralsync_pipelines.gateway.faults import STATUS_OF, Refused
from viralsync_pipelines.storage import claims

HEADER = "Idempotency-Key"
MAX_LENGTH = 255
# A structured-field string: printable ASCII in quotes, of which \" and \\ are escaped.
_QUOTED = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
_BARE = re.compile(r"[\x21-\x7e]+")


def mint_job_id() -> str:
    return "job_" + secrets.token_hex(6)


@dataclass
class Claim:
    """One request's right to make one job.

    job_id: the id to make it under. resumed: an earlier request may have made it already, so look first. replayed: the answer of the
    request that made it; return it as it is.
    """

    job_id: str
    resumed: bool = False
    replayed: Response | None = None
    _deps: Deps | None = field(default=None, repr=False)
    _held: claims.Held | None = field(default=None, repr=False)

    def hold(self) -> None:
        """Just before what must not happen twice: 409 IDEMPOTENCY_IN_PROGRESS when this took so long that another has taken over."""
        if self._deps is not None and self._held is not None:
            self._held = claims.renew(self._deps.database, self._held, self._deps.now_ms())
            if self._held is None:
                raise _in_progress()

    def reply(self, status: int, content: Any, headers: Mapping[str, str] | None = None) -> Response:
        """The answer, kept for whoever sends the request again."""
        body, shown = json.dumps(content, separators=(",", ":"), allow_nan=False), dict(headers or {})
        if self._deps is not None and self._held is not None:
            claims.settle(self._deps.database, self._held, status, body, json.dumps(shown))
            self._held = None
        return _response(status, body, shown)

    def release(self) -> None:
        """Nothing happened, and the key may be used for something else."""
        if self._deps is not None and self._held is not None:
            claims.release(self._deps.database, self._held)
            self._held = None

    def abandon(self) -> None:
        """Something may have happened: the next request with the key goes on here at once, under the same job id."""
        if self._deps is not None and self._held is not None:
            claims.abandon(self._deps.database, self._held)
            self._held = None


@contextmanager
def claimed(request: Request, principal: Principal, payload: Any, mint: Callable[[], str] = mint_job_id) -> Iterator[Claim]:
    """The claim of a request that makes a job. payload: what was sent, as JSON values; a request with other values is another request.

        @router.post("/v1/render/jobs", status_code=202)
        def submit(request: Request, order: Order, principal: Annotated[Principal, Depends(writer)]) -> Response:
            with claimed(request, principal, order.model_dump(mode="json")) as claim:
                if claim.replayed is not None:
                    return claim.replayed
                if not (claim.resumed and board.find(claim.job_id)):
                    check_plan(...)  # what it refuses (below 500) gives the key free
                    claim.hold()
                    launcher.launch(RenderOrder(claim.job_id, ...))
                return claim.reply(202, {"jobId": claim.job_id, "status": "queued"}, {"Location": f"/v1/jobs/{claim.job_id}"})

    For plain `def` routes, which run in threads: it speaks to the database. Without the header every request makes a job of its own.
    A block that ends by a refusal below 500, or because Dagster is surely away, gives the key free. One that ends otherwise without a
    reply may have got as far as Dagster: the next request with the key goes on at once, `resumed`, under the same id. So does one a
    minute after a process that died.

    Raises Refused: 400 VALIDATION_ERROR, 422 IDEMPOTENCY_KEY_REUSED, 409 IDEMPOTENCY_IN_PROGRESS.
    """
    deps = deps_of(request)
    key = key_of(request.headers.getlist(HEADER))
    if key is None:
        yield Claim(mint())
        return
    digest = hashlib.sha256(_canonical([payload, sorted(request.query_params.multi_items())])).hexdigest()
    outcome = claims.claim(deps.database, _scope(request, principal), key, digest, mint(), deps.now_ms())
    match outcome:
        case claims.Differs():
            raise Refused(422, "IDEMPOTENCY_KEY_REUSED", "this Idempotency-Key was used for another request; make a new one for each")
        case claims.Busy():
            raise _in_progress()
        case claims.Answered():
            again = {**json.loads(outcome.headers), "Idempotent-Replayed": "true"}
            yield Claim("", replayed=_response(outcome.status, outcome.body, again))
        case claims.Held():
            claim = Claim(outcome.job_id, outcome.resumed, _deps=deps, _held=outcome)
            try:
                yield claim
            except ViralsyncError as error:
                # Of a claim taken over nobody can say that nothing happened.
                if _in_vain(error) and not claim.resumed:
                    with suppress(DatabaseError):
                        claim.release()
                raise
            finally:
                # Without a database the claim grows stale by itself.
                with suppress(DatabaseError):
                    claim.abandon()


def key_of(values: list[str]) -> str | None:
    """The key in the header's values, quoted or bare; None without one. Refused 400 for what is no key."""
    if not values:
        return None
    given = values[0].strip()
    quoted = _QUOTED.fullmatch(given)
    if quoted is not None:
        key = re.sub(r"\\(.)", r"\1", quoted[1])
    else:
        key = given if _BARE.fullmatch(given) and not given.startswith('"') else ""
    if len(values) > 1 or not 1 <= len(key) <= MAX_LENGTH:
        raise Refused(
            400, "VALIDATION_ERROR", f"{HEADER} is one value of 1 to {MAX_LENGTH} printable ASCII characters, such as a UUID; send it so"
        )
    return key


def _scope(request: Request, principal: Principal) -> str:
    """The same key of another workspace, or for another route, is another key. Hashed: a path may be of any length."""
    return hashlib.sha256(f"{principal.workspace}\n{request.method}\n{request.url.path}".encode()).hexdigest()


def _canonical(value: Any) -> bytes:
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    except RecursionError:
        raise Refused(400, "VALIDATION_ERROR", "the body is nested too deep; a movie needs fewer than 48 levels") from None


def _in_vain(error: ViralsyncError) -> bool:
    """Whether it is certain that nothing was started."""
    if isinstance(error, RenderUnavailable):
        return not error.unsure
    return (error.status if isinstance(error, Refused) else STATUS_OF.get(error.code, 500)) < 500


def _in_progress() -> Refused:
    return Refused(
        409, "IDEMPOTENCY_IN_PROGRESS", "the first request with this Idempotency-Key is still at work; send this one again in a moment",
        headers={"Retry-After": "1"},
    )  # fmt: skip


def _response(status: int, body: str, headers: Mapping[str, str]) -> Response:
    return Response(body, status, headers=dict(headers), media_type="application/json")
