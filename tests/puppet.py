"""A provider in the test's hand, and a desk around it: the outermost edge of generation, for tests of everything inside of it.

Importable by every test: `Puppet` is a generate.provider.Provider. What it is told to answer it answers; what it is asked it notes.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.servers.provider import client
from viralsync_pipelines.board.ledger_jobs import LedgerJobs
from viralsync_pipelines.board.reported import ReportedJobs
from viralsync_pipelines.generate import records
from viralsync_pipelines.generate.calls import Calls
from viralsync_pipelines.generate.desk import Desk
from viralsync_pipelines.generate.ledger import Ledger, Order, open_execution
from viralsync_pipelines.generate.models import Model, Registry
from viralsync_pipelines.generate.outputs import Facts
from viralsync_pipelines.generate.plans import read_plan
from viralsync_pipelines.generate.provider import CallFailed, Output, Said, Seen, Taken, Ticket, Unsure
from viralsync_pipelines.generate.provider import Order as ProviderOrder
from viralsync_pipelines.generate.records import Record
from viralsync_pipelines.generate.waits import Waits
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore

T0 = 1_800_000_000_000
PIXEL = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89\x00\x00\x00\rIDATx"
    b"\x9cc\xf8\xcf\xc0\xf0\x1f\x00\x05\x00\x01\xff\x89\x99=\x1d\x00\x00\x00\x00IEND\xaeB`\x82"
)
QUEUED, RUNNING = Seen(Said.QUEUED, "starting"), Seen(Said.RUNNING, "processing")


def done(*urls: str, data: bytes = b"") -> Seen:
    outputs = tuple(Output("image", url) for url in urls) or (Output("image", data=data or PIXEL, mime="image/png"),)
    return Seen(Said.DONE, "succeeded", outputs)


@dataclass
class Puppet:
    """answers: of submits in turn, then `taken`. states: what polls see of each job. found: what a lost submit is found as."""

    name: str = "puppet"
    answers: list[Any] = field(default_factory=list)
    #: To the submit with this prompt, once: jobs of one batch are submitted in any order.
    answers_to: dict[str, Any] = field(default_factory=dict)
    states: dict[str, Any] = field(default_factory=dict)
    default: Any = RUNNING
    found: Any = None
    orders: list[ProviderOrder] = field(default_factory=list)
    polls: list[str] = field(default_factory=list)
    cancels: list[str] = field(default_factory=list)
    during_submit: Callable[[ProviderOrder], None] | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    def submit(self, calls: Calls, order: ProviderOrder) -> Taken:
        with self.lock:
            self.orders.append(order)
            answer = self.answers_to.pop(order.params["prompt"], None) or (self.answers.pop(0) if self.answers else None)
            answer = answer or Taken(Ticket(f"p{next(self.numbers)}"), QUEUED)
        if self.during_submit is not None:
            self.during_submit(order)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def poll(self, calls: Calls, ticket: Ticket) -> Seen:
        self.polls.append(ticket.provider_job_id)
        answer = self.states.get(ticket.provider_job_id, self.default)
        answer = answer.pop(0) if isinstance(answer, list) else answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    def cancel(self, calls: Calls, ticket: Ticket) -> None:
        self.cancels.append(ticket.provider_job_id)

    def find(self, calls: Calls, order: ProviderOrder, since_ms: int) -> Taken | None:
        if self.found is None:
            raise Unsure("it cannot tell")
        if isinstance(self.found, CallFailed):
            raise self.found
        return self.found or None

    def file_headers(self, calls: Calls, url: str) -> Mapping[str, str]:
        return {}

    def read_webhook(self, ticket: Ticket, body: Any) -> tuple[str, Seen] | None:
        if not isinstance(body, dict) or "id" not in body:
            return None
        said = {"succeeded": Said.DONE, "failed": Said.FAILED}.get(body.get("status", ""), Said.RUNNING)
        return body["id"], Seen(said, body.get("status", ""), tuple(Output("image", url) for url in body.get("output", ())))


PUPPET_MODEL = Model(
    "puppet/image", "puppet", "image", "generate.image", "image",
    {"type": "object", "properties": {"prompt": {"type": "string"}, "image": {"type": "string"}, "seed": {"type": "integer"}},
     "required": ["prompt"], "additionalProperties": False},
    ("webhook", "polling"), "webhook",
)  # fmt: skip
POLLED_MODEL = Model("puppet/polled", "puppet", "image", "generate.image", "image", PUPPET_MODEL.params, ("polling",), "polling")


def image(job: str, *after: str, model: str = "puppet/polled", **params: Any) -> dict[str, Any]:
    """A plan's job that makes a picture; its prompt is its name."""
    return {"id": job, "operation": "generateImage", "params": {"modelId": model, "prompt": job, **params}, "dependsOn": list(after)}


@dataclass
class Clock:
    ms: int = T0

    def now(self) -> int:
        return self.ms

    def wait(self, ms: int) -> None:
        self.ms += ms


@dataclass
class Bench:
    """A desk with a puppet for a provider, its clock and its jobs."""

    desk: Desk
    puppet: Puppet
    clock: Clock
    reported: ReportedJobs
    work: Path
    made: Any = field(default_factory=lambda: itertools.count(1))

    def open(self, jobs: Sequence[Mapping[str, Any]], *, base: str | None = None, workspace: str = "default") -> str:
        """An execution of these jobs; its id. Records are job_<number of the execution>0000<position>."""
        number = next(self.made)
        execution_id = f"job_{number:012x}"
        document = {"jobs": [dict(each) for each in jobs]}
        finished = self.finished(base) if base else ()
        plan = read_plan(document, self.desk.registry, finished=finished)
        ids = {job.id: f"job_{number:06x}{place + 1:06x}" for place, job in enumerate(plan.jobs)}
        open_execution(self.desk.ledger, Order(execution_id, ids, workspace, plan, base_id=base))
        return execution_id

    def finished(self, execution_id: str) -> set[str]:
        return {each.job_id for each in self.rows(execution_id) if each.status == "completed"}

    def rows(self, execution_id: str) -> list[Record]:
        with self.desk.ledger.database.reading() as connection:
            return records.of_execution(connection, execution_id)

    def row(self, execution_id: str, job: str) -> Record:
        return next(each for each in self.rows(execution_id) if each.job_id == job)

    def execution(self, execution_id: str) -> Any:
        with self.desk.ledger.database.reading() as connection:
            return records.find_execution(connection, execution_id)

    def job(self, execution_id: str, job: str = "") -> Any:
        """The Job of an execution, or of one of its jobs."""
        family = self.reported.family(execution_id)
        assert family is not None
        return family.children[self.row(execution_id, job).id] if job else family.job

    def take(self, stage: str, batch: str = "batch") -> int:
        now = self.clock.now()
        with self.desk.ledger.database.writing() as connection:
            return records.take(connection, stage, batch, now, now + 60_000, 1_000)

    def facts(self, path: Path, wanted: str) -> Facts:
        return Facts(wanted, "image/png", "png", 1, 1)

    def pump(self, rounds: int = 8) -> None:
        """Submit, poll and collect until nothing moves, without Dagster."""
        from viralsync_pipelines.generate.collect import collect_batch
        from viralsync_pipelines.generate.poll import poll_due
        from viralsync_pipelines.generate.submit import submit_batch

        for number in range(rounds):
            self.take("ready", f"submit{number}{self.clock.ms}")
            submit_batch(self.desk, f"submit{number}{self.clock.ms}")
            self.clock.wait(70_000)
            poll_due(self.desk, budget_s=10)
            self.take("settled", f"collect{number}{self.clock.ms}")
            collect_batch(self.desk, f"collect{number}{self.clock.ms}", self.work, self.facts)


def bench_at(database: Database, folder: Path, **waits: Any) -> Bench:
    clock, puppet = Clock(), Puppet()
    reported = ReportedJobs(database, clock.now)
    folder.mkdir(parents=True, exist_ok=True)
    desk = Desk(
        ledger=Ledger(database, LedgerJobs(reported, clock.now), clock.now, lambda: 0.0, Waits(**waits)),
        calls=Calls(client(), {}, {}, clock.now), providers={"puppet": puppet},
        registry=Registry({PUPPET_MODEL.id: PUPPET_MODEL, POLLED_MODEL.id: POLLED_MODEL}), store=LocalStore(folder / "store"),
        secret=b"secret", base_url="https://api.example.com",
    )  # fmt: skip
    return Bench(desk, puppet, clock, reported, folder)
