"""What a program may send about a job of its own: fields, limits, and what does not go together.

What belongs here: the bodies of the routes in reports.py. What does not: when a report may come (jobs/reported_rules.py).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    AliasChoices,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticCustomError

from viralsync_pipelines.board.reported import METADATA_BYTES
from viralsync_pipelines.gateway.values import plain_json
from viralsync_pipelines.jobs.kinds import ASSET_TYPES, CHILD_TYPES, JOB_TYPES, domain_of
from viralsync_pipelines.jobs.reported_rules import MOST_CHILDREN, MOST_WEIGHT

RESULT_BYTES = 100 * 1024
_MOST_LEVELS = 32
_WEEKS_MS = 30 * 86_400_000
# Jobs of these types are made by the engine, and counted as such; domains whole, others by name.
_ENGINE_DOMAINS = ("render", "publish")
_ENGINE_TYPES = frozenset({*JOB_TYPES.values(), *(kind for _, kind in ASSET_TYPES), *CHILD_TYPES})

# No control characters: these are names, and PostgreSQL cannot keep a NUL.
_PATTERN = r"^[^\x00-\x1f\x7f]+$"
Name = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=_PATTERN)]
Title = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=_PATTERN)]
Message = Annotated[str, StringConstraints(max_length=2_000)]


def _engines_own(job_type: str) -> str:
    if domain_of(job_type).casefold() in _ENGINE_DOMAINS or job_type in _ENGINE_TYPES:
        raise ValueError(f"{job_type} is a type of the engine's own jobs; give yours another, such as image-generation")
    return job_type


def _at_most(most: int) -> AfterValidator:
    def check(value: dict[str, Any]) -> dict[str, Any]:
        size = len(plain_json(value, _MOST_LEVELS))
        if size > most:
            told = "this has {size} bytes as JSON, of at most {most}; keep it elsewhere, and its address here"
            raise PydanticCustomError("too_long", told, {"size": size, "most": most})
        return value

    return AfterValidator(check)


JobType = Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PATTERN), AfterValidator(_engines_own)]
Metadata = Annotated[dict[str, Any], _at_most(METADATA_BYTES), Field(description=f"At most {METADATA_BYTES:,} bytes of JSON.")]
Result = Annotated[dict[str, Any], _at_most(RESULT_BYTES), Field(description=f"At most {RESULT_BYTES:,} bytes of JSON.")]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class QueuePlace(_Body):
    """Where the job stands in a queue of its program's, from 1."""

    position: Annotated[int, Field(ge=0, le=1_000_000_000)]
    total: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = None
    queueName: Name | None = None


class StagePlace(_Body):
    """The `current`-th of `total` stages, from 1."""

    name: Name
    current: Annotated[int, Field(ge=1, le=10_000)]
    total: Annotated[int, Field(ge=1, le=10_000)]
    description: Annotated[str, StringConstraints(max_length=1_000)] = ""

    @field_validator("total")
    @classmethod
    def _not_before(cls, value: int, info: ValidationInfo) -> int:
        if value < info.data.get("current", 0):
            raise ValueError(f"there are {value} stages, and the current one is number {info.data['current']}; correct one of them")
        return value


class _Described(_Body):
    """What every new job may tell."""

    jobType: JobType
    userId: Annotated[Name, Field(description="For whom the work is done, as the program calls them.")]
    workflowId: Name | None = None
    projectId: Name | None = None
    channel: Name | None = None
    callbackUrl: Annotated[str, Field(max_length=2_000)] | None = None
    metadata: Metadata | None = None
    ttlSeconds: Annotated[int, Field(ge=60, le=2_592_000, description="The job is forgotten so long after its creation.")] = 2_592_000


Mode = Literal["average", "sequential", "weighted"]
OnFailure = Literal["fail", "continue"]


class JobReport(_Described):
    """A job that a program is about to do.

    childCount makes it a parent, whose progress and end come from its children; parentJobId with childIndex (from 0) makes it a child.
    childProgressMode: the average of all, finished ones only, or by each child's `weight`. onChildFailure: a parent fails with the
    first child that does, or goes on and ends with what succeeded. estimatedDuration: ms, from when it begins. A child is forgotten
    with its parent, whatever its ttlSeconds.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "jobType": "image-generation", "userId": "user_123", "title": "Creating your picture",
                    "queue": {"position": 5, "total": 12, "queueName": "free-tier"},
                },
                {"jobType": "image-generation", "userId": "user_123", "title": "Christmas pack", "childCount": 5},
                {
                    "jobType": "image-generation", "userId": "user_123", "title": "Snowflake", "parentJobId": "job_a1b2c3d4e5f6",
                    "childIndex": 0,
                },
            ]
        },
    )  # fmt: skip

    title: Title
    queue: QueuePlace | None = None
    stage: StagePlace | None = None
    estimatedCompletionAt: AwareDatetime | None = None
    estimatedDuration: Annotated[int, Field(ge=0, le=_WEEKS_MS)] | None = None
    parentJobId: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PATTERN)] | None = None
    childCount: Annotated[
        Annotated[int, Field(ge=1, le=MOST_CHILDREN)] | None, Field(validation_alias=AliasChoices("childCount", "totalChildren"))
    ] = None
    childProgressMode: Mode | None = None
    onChildFailure: OnFailure | None = None
    childIndex: Annotated[Annotated[int, Field(ge=0, lt=MOST_CHILDREN)] | None, Field(validate_default=True)] = None
    weight: Annotated[int, Field(ge=1, le=MOST_WEIGHT)] | None = None

    @field_validator("childCount")
    @classmethod
    def _one_level(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("parentJobId") is not None:
            raise ValueError("a child has no children of its own; leave out parentJobId or childCount")
        return value

    @field_validator("childProgressMode", "onChildFailure")
    @classmethod
    def _of_a_parent(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and info.data.get("childCount", 0) is None:
            raise ValueError("this is of a parent; add childCount, or leave it out")
        return value

    @field_validator("childIndex", "weight")
    @classmethod
    def _of_a_child(cls, value: int | None, info: ValidationInfo) -> int | None:
        if value is not None and info.data.get("parentJobId", "") is None:
            raise ValueError("this is of a child; add parentJobId, or leave it out")
        if value is None and info.field_name == "childIndex" and info.data.get("parentJobId") is not None:
            raise PydanticCustomError("missing", "a child has a childIndex")
        return value


class BatchReport(_Described):
    """A parent and all of its children, of one type."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "jobType": "image-generation", "userId": "user_123", "parentTitle": "Christmas pack",
                "childTitles": ["Snowflake", "Tree", "Santa", "Reindeer", "Gift box"], "childProgressMode": "average",
            }
        },
    )  # fmt: skip

    parentTitle: Title
    childTitles: Annotated[list[Title], Field(min_length=1, max_length=MOST_CHILDREN)]
    childProgressMode: Mode = "average"
    onChildFailure: OnFailure = "fail"


class ProgressReport(_Body):
    """How far a job is. The first one starts it, unless it only tells a place in a queue. What is left out stays as it was; metadata is
    merged. A parent's own progress comes from its children: the number is not used there, the rest is."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"progress": 33, "message": "Analysing", "stage": {"name": "analysis", "current": 1, "total": 3}}},
    )

    progress: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, description="Per cent. It never falls.")] | None = None
    message: Message | None = None
    queue: QueuePlace | None = None
    stage: StagePlace | None = None
    estimatedCompletionAt: AwareDatetime | None = None
    metadata: Metadata | None = None


class CompleteReport(_Body):
    """The end of a job that succeeded. result.url is shown as outputUrl when it is a web address."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"example": {"result": {"type": "image", "url": "https://cdn.example.com/snowflake.png"}}}
    )

    result: Result | None = None
    message: Message | None = None


class Failure(_Body):
    code: Annotated[str, StringConstraints(min_length=1, max_length=100, pattern=_PATTERN)]
    message: Annotated[str, StringConstraints(min_length=1, max_length=2_000)]
    details: Metadata | None = None


class FailReport(_Body):
    """The end of a job that failed. retryable: false when another attempt would end in the same way; a retry is then refused."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"example": {"error": {"code": "GPU_LOST", "message": "the card is gone; try again"}, "retryable": True}},
    )

    error: Failure
    retryable: bool | None = None
