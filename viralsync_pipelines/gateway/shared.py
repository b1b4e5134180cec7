"""`GET /v1/shared/{key}?until=&t=`: an object of the store for whoever was given its address, as providers are who read our pictures.

What belongs here: that route. What does not: making such addresses (generate/desk.py).
"""

from __future__ import annotations

import hmac
import re
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse, RedirectResponse

from viralsync_pipelines.gateway.deps import deps_of
from viralsync_pipelines.gateway.faults import Refused, documented
from viralsync_pipelines.generate.desk import share_token
from viralsync_pipelines.storage.keys import content_type_of, key_fault

router = APIRouter(tags=["generate"])
_UNTIL = re.compile(r"[0-9]{1,12}", re.ASCII)


@router.head("/v1/shared/{key:path}", include_in_schema=False)
@router.get(
    "/v1/shared/{key:path}", summary="A file, by an address that was given out", response_class=Response,
    responses={
        200: {"content": {"*/*": {}}, "description": "The file"}, 206: {"content": {"*/*": {}}, "description": "A range of it"},
        307: {"description": "It is in a bucket: there"}, 416: {"description": "It has no such range"}, **documented(404),
    },
)  # fmt: skip
def shared(
    request: Request,
    key: str,
    until: Annotated[str, Query(description="Unix seconds")] = "",
    t: Annotated[str, Query(description="Signs the two")] = "",
) -> Response:
    deps = deps_of(request)
    desk = deps.desk
    # All refusals are one: nobody learns what there is by asking.
    if desk is None or not _UNTIL.fullmatch(until) or key_fault(key) is not None:
        raise _missing()
    wanted = share_token(desk.secret, key, int(until))
    if not hmac.compare_digest(wanted.encode(), t.encode("utf-8", "replace")) or int(until) * 1000 < deps.now_ms():
        raise _missing()
    if deps.store.stat(key) is None:
        raise _missing()
    path = deps.store.local_path(key)
    if path is not None:
        headers = {"X-Content-Type-Options": "nosniff", "Cache-Control": "private, max-age=600"}
        return FileResponse(path, media_type=content_type_of(key), headers=headers)
    return RedirectResponse(deps.store.url(key), 307, headers={"Cache-Control": "no-store"})


def _missing() -> Refused:
    return Refused(404, "FILE_NOT_FOUND", "there is nothing at this address, or no longer; ask for a new one")
