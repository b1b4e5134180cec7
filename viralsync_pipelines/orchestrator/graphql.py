"""Driving Dagster from outside over its public GraphQL API: start a run, start it again, end it, delete it. No Dagster import.

What belongs here: what each answer means. What does not: the request itself (door.py), reading runs (runs.py, events.py).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from viralsync_pipelines.errors import RenderUnavailable, RunRefused
from viralsync_pipelines.jobs.orders import JOB_TAG, RenderOrder, SpeechOrder
from viralsync_pipelines.jobs.run_config import NARRATE_JOB, RENDER_JOB, assets_of, config_again, narration_config, ordered_config
from viralsync_pipelines.orchestrator import documents
from viralsync_pipelines.orchestrator.door import Patience, ReplyLost, open_client, post

if TYPE_CHECKING:
    import httpx

ENDED = frozenset({"SUCCESS", "FAILURE", "CANCELED"})
_PARTITION, _PARENT, _ROOT = "dagster/partition", "dagster/parent_run_id", "dagster/root_run_id"
# Dagster's own tags that another try of a run keeps; the rest tell of this one run, as does the process it was a part of.
_KEPT = frozenset({_PARTITION, "dagster/partition_set", "dagster/priority", "dagster/max_runtime", "dagster/max_retries"})
_FRESH = "viralsync/fresh"
_OF_ONE_RUN = frozenset({"viralsync/worker", "viralsync/launched", _FRESH})


class DagsterApi:
    """A jobs.orders.Launcher over Dagster's web server at `url`. Safe to share between threads.

    Every method raises RenderUnavailable when Dagster is away, and RunRefused when it will not do what is asked.
    """

    def __init__(
        self, url: str, client: httpx.Client | None = None, *, patience: Patience | None = None, location: str = "viralsync",
        repository: str = "__repository__", sleep: Callable[[float], None] = time.sleep, clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._url = url.rstrip("/") + "/graphql"
        self._patience = patience or Patience()
        self._client = client or open_client()
        self._location = location
        self._repository = {"repositoryName": repository, "repositoryLocationName": location}
        self._sleep, self._clock = sleep, clock

    def close(self) -> None:
        self._client.close()

    # ---- starting ----------------------------------------------------------------------------------------------------

    def launch(self, order: RenderOrder, *, resumed: bool = False) -> str:
        """Put a movie's run into Dagster's queue: one request. The run's id.

        resumed: somebody may have sent this order before and died; then its run is looked for first.
        """
        take = {"document": order.document, "variables": dict(order.variables), "draft": order.draft, "fresh": list(order.fresh)}
        params = self._params(
            RENDER_JOB, ordered_config(take, preset=order.preset, concurrency=order.concurrency),
            {**_scope(order.fresh), **order.tags, JOB_TAG: order.job_id, _PARTITION: order.partition}, order.parent_run, order.root_run,
        )  # fmt: skip
        look = partial(self._find, order.job_id, order.parent_run)
        if resumed and look() is not None:
            # One that stays outside of the queue is deleted, and the order is sent anew.
            with suppress(RenderUnavailable):
                return self._settle(look, self._patience.settle_s, "")
        return self._launch(params, order.partition, look)

    def narrate(self, order: SpeechOrder, *, resumed: bool = False) -> str:
        """Put a narration's run into Dagster's queue, as `launch` does a movie's."""
        params = self._params(NARRATE_JOB, narration_config(order.document), {**order.tags, JOB_TAG: order.job_id}, None, None)
        look = partial(self._find, order.job_id, None)
        if resumed and look() is not None:
            with suppress(RenderUnavailable):
                return self._settle(look, self._patience.settle_s, "")
        return self._launch(params, None, look)

    def again(self, run_id: str, *, tags: Mapping[str, str], changes: Mapping[str, Any], fresh: Sequence[str]) -> str:
        """Another run of the same job with every step: Dagster's own "from failure" loses scenes that were never begun."""
        data = self._ask(documents.RUN, run=run_id, children=[{"key": _PARENT, "value": run_id}])
        run = _whole(data["run"], run_id)
        before = {one["runId"] for one in (data["children"] or {}).get("results", ())}
        root = run["rootRunId"] or run_id
        assets = assets_of(run["jobName"], [key["path"][-1] for key in run["assetSelection"] or ()])
        if changes and not assets:
            raise RunRefused(f"a run of {run['jobName']} makes no movie and has no variables to change; retry it as it is")
        old = {tag["key"]: tag["value"] for tag in run["tags"]}
        kept = {k: v for k, v in old.items() if k not in _OF_ONE_RUN and (k in _KEPT or not k.startswith(("dagster/", ".dagster/")))}
        given = {JOB_TAG: "job_" + root.replace("-", "")[:12], **kept, **_scope(fresh), **tags}
        selection = {name: run[name] for name in ("assetSelection", "assetCheckSelection") if run[name]}
        config = config_again(run["runConfig"] or {}, changes, fresh, assets)
        params = self._params(run["jobName"], config, given, run_id, root, selection)
        return self._launch(params, given.get(_PARTITION) if assets else None, partial(self._find, given[JOB_TAG], run_id, before))

    def _params(
        self, job: str, config: Mapping[str, Any], tags: Mapping[str, str], parent: str | None, root: str | None,
        selection: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        metadata: dict[str, Any] = {}
        if parent is not None:
            metadata = {"parentRunId": parent, "rootRunId": root or parent}
            # Dagster's UI and its own re-execution write these tags too, though it has columns for both.
            tags = {**tags, _PARENT: parent, _ROOT: root or parent}
        return {
            "selector": {**self._repository, "jobName": job, **(selection or {})},
            "runConfigData": dict(config),
            "executionMetadata": {**metadata, "tags": [{"key": k, "value": v} for k, v in tags.items()]},
        }

    def _launch(self, params: Mapping[str, Any], partition: str | None, look: Callable[[], tuple[str, str] | None]) -> str:
        document, variables = documents.LAUNCH, dict[str, Any](params=params)
        if partition is not None:
            document, variables = documents.LAUNCH_PARTITION, {**variables, "partition": partition, "repository": self._repository}
        try:
            data = self._post(document, variables, self._patience.launch_s)
        except ReplyLost as lost:
            return self._settle(look, self._patience.settle_s, str(lost))
        said = data["launched"]
        if said["__typename"] == "PythonError" and not str(said["className"]).startswith("DagsterInvalid"):
            return self._settle(look, 0.0, said["message"].strip())
        if said["__typename"] != "LaunchRunSuccess":
            raise self._refusal(said)
        run_id = str(said["run"]["runId"])
        added = data.get("added", {})
        if added.get("__typename") in {"PythonError", "UnauthorizedError"}:
            # It would fail at its first step.
            self.cancel(run_id)
            self.forget(run_id)
            raise RenderUnavailable(f"Dagster could not note the movie {partition} ({added['message'].strip()[:300]}); nothing was started")
        return run_id

    def _refusal(self, said: Mapping[str, Any]) -> Exception:
        words = " ".join(e["message"] for e in said["errors"]) if "errors" in said else str(said.get("message", said["__typename"]))
        if said["__typename"] == "PipelineNotFoundError":
            told = f"Dagster has not loaded the code location {self._location} ({words[:300]}); see its log, and try again"
            return RenderUnavailable(told)
        return RunRefused(f"Dagster refuses the run: {words.strip()[:1000]}")

    def _settle(self, look: Callable[[], tuple[str, str] | None], seconds: float, why: str) -> str:
        """The run of which no answer came, once it is in the queue. RenderUnavailable when it does not show itself in that time."""
        deadline = self._clock() + seconds
        while True:
            try:
                found = look()
            except RenderUnavailable as away:
                if self._clock() >= deadline:
                    raise RenderUnavailable(away.message, unsure=True) from away
            else:
                if (found is not None and found[1] != "NOT_STARTED") or self._clock() >= deadline:
                    break
            self._sleep(self._patience.look_s)
        if found is not None and found[1] != "NOT_STARTED":
            return found[0]
        if found is not None:
            # Made, but never put into the queue: nobody would ever start it.
            self._ask(documents.DELETE, run=found[0])
        raise RenderUnavailable(f"Dagster's web server failed ({why[:500]}); no run was started, try again", unsure=seconds > 0)

    def _find(self, job_id: str, parent: str | None, but: Collection[str] = ()) -> tuple[str, str] | None:
        tags = {JOB_TAG: job_id} | ({_PARENT: parent} if parent is not None else {})
        said = self._ask(documents.TAGGED, tags=[{"key": k, "value": v} for k, v in tags.items()])["runs"]
        if said["__typename"] != "Runs":
            raise RenderUnavailable(f"Dagster cannot list its runs ({said['message'].strip()[:300]}); see its log")
        runs = [run for run in said["results"] if run["parentRunId"] == parent and run["runId"] not in but]
        return (str(runs[0]["runId"]), str(runs[0]["status"])) if runs else None

    # ---- ending ------------------------------------------------------------------------------------------------------

    def cancel(self, run_id: str, *, force: bool = False) -> bool:
        """True once the end is under way. Dagster cannot end a run while it is starting it: that is waited for, some seconds."""
        policy = "MARK_AS_CANCELED_IMMEDIATELY" if force else "SAFE_TERMINATE"
        began = self._clock()
        asked = False
        while True:
            said = self._ask(documents.TERMINATE, run=run_id, policy=policy)["ended"]
            if said["__typename"] == "TerminateRunSuccess":
                # The status is the one before. What stood in the queue may have been taken out of it in the same moment, and
                # Dagster starts it all the same (its issue 3323).
                if force or said["run"]["status"] != "QUEUED":
                    return True
                asked = True
                self._sleep(self._patience.look_s)
            elif said["__typename"] == "UnauthorizedError":
                raise RunRefused("Dagster's web server is read-only; end the run where it may be written to")
            status = self._status(run_id)
            if status is None or status in ENDED:
                return asked
            if status == "CANCELING":
                return True
            waited = self._clock() - began
            if status == "NOT_STARTED" and waited >= self._patience.settle_s:
                policy = "MARK_AS_CANCELED_IMMEDIATELY"  # it was never put into the queue, and nobody is at work on it
            if waited >= self._patience.starting_s:
                raise RenderUnavailable(f"Dagster cannot end the run {run_id} now ({said.get('message', status)}); try again")
            self._sleep(self._patience.look_s)

    def forget(self, run_id: str) -> None:
        """Delete a run that has ended, with its events."""
        status = self._status(run_id)
        if status is None:
            return
        if status not in ENDED:
            raise RunRefused(f"the run {run_id} is {status}; cancel it before it is deleted", code="RUN_ACTIVE")
        said = self._ask(documents.DELETE, run=run_id)["deleted"]
        if said["__typename"] == "UnauthorizedError":
            raise RunRefused("Dagster's web server is read-only; delete the run where it may be written to")
        if said["__typename"] == "PythonError":
            raise RenderUnavailable(f"Dagster could not delete the run {run_id} ({said['message'].strip()[:300]}); try again")

    def answers(self) -> bool:
        try:
            entry = self._ask(documents.LOCATION, name=self._location)["location"]
        except RenderUnavailable:
            return False
        return bool(entry and entry.get("loadStatus") == "LOADED" and entry["locationOrLoadError"]["__typename"] == "RepositoryLocation")

    def _status(self, run_id: str) -> str | None:
        said = self._ask(documents.STATUS, run=run_id)["run"]
        if said["__typename"] == "RunNotFoundError":
            return None
        return str(_whole(said, run_id)["status"])

    def _ask(self, document: str, **variables: Any) -> dict[str, Any]:
        """A question that may be put twice."""
        try:
            return self._post(document, variables, self._patience.answer_s)
        except ReplyLost:
            try:
                return self._post(document, variables, self._patience.answer_s)
            except ReplyLost as lost:
                raise RenderUnavailable(f"Dagster's web server did not answer ({lost}); try again", unsure=True) from lost

    def _post(self, document: str, variables: Mapping[str, Any], answer_s: float) -> dict[str, Any]:
        return post(self._client, self._url, document, variables, connect_s=self._patience.connect_s, answer_s=answer_s)


def _scope(fresh: Sequence[str]) -> dict[str, str]:
    """Shown with the run: what is made anew in it."""
    return {_FRESH: ",".join(fresh)[:200]} if fresh else {}


def _whole(said: Mapping[str, Any], run_id: str) -> Mapping[str, Any]:
    if said["__typename"] == "RunNotFoundError":
        raise RunRefused(f"Dagster has no run {run_id} any more; start the job anew", code="RUN_NOT_FOUND")
    if said["__typename"] != "Run":
        raise RenderUnavailable(f"Dagster cannot read the run {run_id} ({said.get('message', '')[:300]}); see its log")
    return said
