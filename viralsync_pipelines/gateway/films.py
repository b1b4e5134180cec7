"""Films that an execution plan asks for, judged when it is sent in as `POST /v1/render/jobs` judges a movie.

What belongs here: whose sources they may take. What does not: what else may be wrong with them (generate/montage.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import Problem
from viralsync_pipelines.gateway.renders import foreign_sources
from viralsync_pipelines.generate.montage import check_film

if TYPE_CHECKING:
    from viralsync_pipelines.gateway.auth import Principal
    from viralsync_pipelines.gateway.deps import Deps
    from viralsync_pipelines.generate.plans import CheckFilm


def film_check(deps: Deps, principal: Principal) -> CheckFilm:
    """For read_plan."""

    def check(operation: str, params: Mapping[str, Any], at: str) -> Sequence[Problem]:
        return [*foreign_sources(deps, principal, params, at), *check_film(operation, params, at)]

    return check
