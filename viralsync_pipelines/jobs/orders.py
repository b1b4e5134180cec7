"""What somebody asks Dagster to do for a job: an order to make a film, and who takes such orders.

What belongs here: plain values and the protocol between the gateway and whoever reaches Dagster. What does not: HTTP, GraphQL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

JOB_TAG = "viralsync/job_id"
WORKSPACE_TAG = "viralsync/workspace"
PROJECT_TAG = "viralsync/project_id"
CHANNEL_TAG = "viralsync/channel"
CALLBACK_TAG = "viralsync/callback_url"
PARENT_TAG = "viralsync/parent_job_id"
QUEUE_TAG = "viralsync/queue"
SIZE_TAG = "viralsync/size"
DRAFT_TAG = "viralsync/draft"
MAX_SECONDS_TAG = "viralsync/max_seconds"
"""The longest film that the workspace's plan allows. Judged once it is planned: until then many a film's length is not known."""
PRIORITY_TAG = "dagster/priority"
PRIORITIES: Mapping[str, int] = {"low": -5, "normal": 0, "high": 5}
DEFAULT_WORKSPACE = "default"
DEFAULT_QUEUE = "default"


@dataclass(frozen=True)
class RenderOrder:
    """One run of `render_movie`. partition: the movie's partition. document: store key of its JSON. fresh: numbers of scenes to render
    anew whatever is cached, ("*",) for all. tags: all the run's tags. parent_run, root_run: of a retry, the runs it repeats."""

    job_id: str
    partition: str
    document: str
    variables: Mapping[str, Any] = field(default_factory=dict)
    draft: bool = False
    fresh: tuple[str, ...] = ()
    preset: str | None = None
    concurrency: int | None = None
    tags: Mapping[str, str] = field(default_factory=dict)
    parent_run: str | None = None
    root_run: str | None = None


@dataclass(frozen=True)
class SpeechOrder:
    """One run of `narrate_text`. document: store key of the narration's order. tags: all the run's tags."""

    job_id: str
    document: str
    tags: Mapping[str, str] = field(default_factory=dict)


class Launcher(Protocol):
    """Whoever reaches Dagster. Every method raises errors.RenderUnavailable (RENDER_UNAVAILABLE) when Dagster is away."""

    def launch(self, order: RenderOrder, *, resumed: bool = False) -> str:
        """Put it into Dagster's queue and return the run's id. When the answer was lost: finds whether a run with this job's tag and
        parent run is there before anything is sent again.

        resumed: somebody may have sent this order before and died; its run is looked for first.
        """

    def narrate(self, order: SpeechOrder, *, resumed: bool = False) -> str:
        """`launch` for a narration."""

    def again(self, run_id: str, *, tags: Mapping[str, str], changes: Mapping[str, Any], fresh: Sequence[str]) -> str:
        """Another run of the same job as `run_id`, everything taken over from it, its tags too; returns the new run's id.

        changes: values for the movie's variables, over those of that run. fresh: as in RenderOrder.
        """

    def cancel(self, run_id: str, *, force: bool = False) -> bool:
        """Ask a run to end; False when it had ended already. force: Dagster notes it as cancelled without waiting for its processes."""

    def forget(self, run_id: str) -> None:
        """Delete a finished run and its events from Dagster. No error when it is gone."""

    def answers(self) -> bool:
        """Whether Dagster's web server answers, and knows the code location."""
