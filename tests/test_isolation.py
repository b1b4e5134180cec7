"""No workspace sees, changes, counts or takes in what is another's: not its jobs, children, events, streams, output, files, callbacks.

Everything that a key of one workspace may send is tried with every id of the other, and compared with what an id gets that never was.
"""

from __future__ import annotations

import base64
import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import pytest

from tests.servers.engine import Film
from tests.servers.gateway import MOVIE, Gateway, gateway, new_id, order_of
from tests.servers.reader import Reader
from tests.test_dagster import run_asset_job
from tests.test_openapi import ROUTES
from viralsync_pipelines.board.outgoing import collect
from viralsync_pipelines.defs.instance import open_instance
from viralsync_pipelines.defs.take import within
from viralsync_pipelines.errors import SourceError
from viralsync_pipelines.gateway.plans import BUILT_IN, Plan, Plans
from viralsync_pipelines.jobs.orders import JOB_TAG, WORKSPACE_TAG
from viralsync_pipelines.render.sources import Sources, bring
from viralsync_pipelines.settings import Settings
from viralsync_pipelines.storage.database import Database
from viralsync_pipelines.storage.local import LocalStore

NOBODYS = "job_ffffffffffff"
# What changes a narration.
SPOKEN: dict[str, dict[str, Any]] = {
    "/v1/speech/{job_id}": {"json": {"lines": [{"text": "other words"}]}},
    "/v1/speech/{job_id}/lines/{number}": {"json": {"text": "other words"}},
    "/v1/speech/{job_id}/lines/{number}/audio": {"content": b"RIFF"},
    "/v1/speech/{job_id}/recording": {"params": {"cuts": "1=0:00-0:01"}, "content": b"RIFF"},
}
BODIES: dict[str, Any] = {
    "progress": {"progress": 50, "message": "stolen"}, "complete": {"result": {"url": "https://evil.example/"}}, "retry": {"scope": "all"},
    "fail": {"error": {"code": "STOLEN", "message": "stolen"}},
}  # fmt: skip


@dataclass
class Team:
    """A workspace with jobs of every kind and state. Whatever can hold words holds its mark; `ids` are all of its jobs."""

    name: str
    mark: str
    client: httpx.Client
    ids: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    token: str = ""
    done: str = ""


def furnished(gate: Gateway, name: str) -> Team:
    mark = f"mark-of-{name}"
    team = Team(name, mark, gate.client(gate.key(name)))
    about = {"projectId": mark, "channel": mark, "queue": name, "callbackUrl": f"https://93.184.216.34/{mark}"}
    queued, running, done, failed = (
        team.client.post("/v1/render/jobs", json=order_of(**about, movie={**MOVIE, "id": f"{mark}-film"})).json()["jobId"] for _ in range(4)
    )
    film = gate.film_of(running).start().plan().scene(1)
    gate.film_of(done).whole()
    gate.film_of(failed).start().plan().scene(2).broke(2, f"SCENE_RENDER_FAILED: {mark}").fail()
    for job_id in (running, done):
        gate.printed.print(gate.film_of(job_id).run_id, "movie.plan_film", mark)
        gate.printed.print(gate.film_of(job_id).run_id, "movie.render_scene[scene_001]", mark)
    for file in ("output.mp4", "poster.jpg", "render.json"):
        gate.store.put_bytes(f"outputs/{done}/{file}", mark.encode())
    steps = [f"scene_{running}_001", f"scene_{failed}_002", f"scene_{done}_001", f"assemble_{done}", f"finalize_{done}"]
    own = gate.runs.run(gate.runs.create(new_id(), type="workflow.run", workspace=name, parent_id=done, project_id=mark)).job_id
    program = {"jobType": mark, "userId": mark, "title": mark, "metadata": {"note": mark}, **{k: about[k] for k in ("projectId", "channel", "callbackUrl")}}
    plain = team.client.post("/v1/jobs", json=program).json()["jobId"]
    parent = team.client.post("/v1/jobs", json={**program, "childCount": 2}).json()["jobId"]
    child = team.client.post("/v1/jobs", json={**program, "parentJobId": parent, "childIndex": 0}).json()["jobId"]
    ended = team.client.post("/v1/jobs", json=program).json()["jobId"]
    team.client.post(f"/v1/jobs/{child}/progress", json={"progress": 10, "message": mark}).raise_for_status()
    team.client.post(f"/v1/jobs/{ended}/complete", json={"result": {"url": f"https://cdn.example/{mark}"}}).raise_for_status()
    collect(gate.board, gate.database, None, lambda job: job.output, gate.clock)
    team.ids = [queued, running, done, failed, *steps, own, plain, parent, child, ended]
    team.messages = [each["messageId"] for each in team.client.get("/v1/callbacks", params={"limit": 100}).json()["callbacks"]]
    team.token = team.client.post(f"/v1/jobs/{done}/stream-token").json()["token"]
    team.done = done
    assert film.run_id
    assert len(team.messages) >= 4
    return team


@pytest.fixture
def gate(database: Database, tmp_path: Path) -> Iterator[Gateway]:
    # As many requests a minute as a test makes.
    with gateway(database, tmp_path, plans=Plans({**BUILT_IN, "selfhosted": Plan(requests_per_minute=None)})) as made:
        yield made


@pytest.fixture
def red(gate: Gateway) -> Team:
    return furnished(gate, "red")


@pytest.fixture
def blue(gate: Gateway) -> Team:
    return furnished(gate, "blue")


def asked(client: httpx.Client, route: str, job_id: str, message_id: str = "msg_x", **more: Any) -> httpx.Response:
    """One request of a route of the document, with this id in it and a body that is right."""
    method, _, path = route.partition(" ")
    what = SPOKEN.get(path) if method == "PUT" else None
    path = path.replace("{job_id}", job_id).replace("{message_id}", message_id).replace("{name}", "output.mp4").replace("{number}", "1")
    if what is not None:
        params = {**what.get("params", {}), **more.pop("params", {})}
        return client.request(method, path, **{**what, **more, "params": params})
    body = BODIES.get(path.rpartition("/")[2]) if method == "POST" else None
    return client.request(method, path, json=body, **more)


def plain(answer: httpx.Response, *names: str) -> tuple[int, str, dict[str, str]]:
    """A reply with the ids that were asked for taken out."""
    text = answer.text
    for name in names:
        text = text.replace(name, "ID")
    told = {k: v for k, v in answer.headers.items() if k not in {"date", "x-request-id", "content-length"} and "ratelimit" not in k}
    return answer.status_code, text, told


def everything_of(team: Team) -> str:
    """All that its own key can see of a workspace."""
    seen = []
    for job_id in team.ids:
        for path in ("", "/children", "/events?limit=500", "/output", "/callbacks"):
            answer = team.client.get(f"/v1/jobs/{job_id}{path}")
            assert answer.status_code == 200, answer.text
            seen.append(answer.text)
    return "\n".join([*seen, team.client.get("/v1/usage").text])


def test_an_id_of_another_workspace_gets_what_an_id_gets_that_never_was(gate: Gateway, red: Team, blue: Team) -> None:
    """Every route with every id, and afterwards nothing of it has changed."""
    before, runs, orders = everything_of(red), gate.runs.everything(), len(gate.launcher.cancelled) + len(gate.launcher.agains)
    for route in (route for route in ROUTES if "{job_id}" in route):
        never: dict[str, Any] = {}
        for job_id in red.ids:
            prefix, _, rest = job_id.partition("job_")
            nobodys = prefix + NOBODYS + rest[12:]
            if nobodys not in never:
                never[nobodys] = plain(asked(blue.client, route, nobodys), nobodys)
            answer = asked(blue.client, route, job_id)
            assert answer.status_code == 404, (route, job_id, answer.text)
            assert plain(answer, job_id) == never[nobodys], (route, job_id)
            assert red.mark not in answer.text
    for message_id in red.messages:
        replayed = asked(blue.client, "POST /v1/callbacks/{message_id}/replay", "", message_id)
        nothing_there = asked(blue.client, "POST /v1/callbacks/{message_id}/replay", "", "msg_job_ffffffffffff_9")
        assert replayed.status_code == 404
        assert plain(replayed, message_id) == plain(nothing_there, "msg_job_ffffffffffff_9")
    assert everything_of(red) == before
    assert gate.runs.everything() == runs
    assert len(gate.launcher.cancelled) + len(gate.launcher.agains) == orders
    # The same ids are there for the one they belong to.
    assert {asked(red.client, "GET /v1/jobs/{job_id}", job_id).status_code for job_id in red.ids} == {200}


def test_nothing_that_a_workspace_can_list_has_anything_of_another(gate: Gateway, red: Team, blue: Team) -> None:
    pages = [
        "/v1/me", "/v1/usage", "/v1/callbacks?limit=100", "/v1/jobs?limit=100", "/v1/jobs?limit=100&type=render.scene,render.assemble,render.finalize",
        *(f"/v1/jobs?limit=100&status={status}" for status in ("queued", "running", "waiting", "done", "failed", "cancelled")),
        f"/v1/jobs?projectId={red.mark}", f"/v1/jobs?channel={red.mark}", f"/v1/jobs?type={red.mark}", f"/v1/jobs?type=render&projectId={red.mark}",
        f"/v1/jobs?type=render.scene&projectId={red.mark}", "/healthz", "/metrics", "/openapi.json",
    ]  # fmt: skip
    seen = "\n".join([everything_of(blue), *(blue.client.get(page).text for page in pages)])
    assert blue.mark in seen
    for word in (red.mark, red.token, *red.ids, *red.messages):
        assert word not in seen, word
    # Cursors are no secret and open nothing: one of red's list shows blue's jobs.
    cursor = red.client.get("/v1/jobs", params={"limit": 1}).json()["nextCursor"]
    assert {job["jobId"] for job in blue.client.get("/v1/jobs", params={"cursor": cursor}).json()["jobs"]} <= set(blue.ids)
    place = red.client.get(f"/v1/jobs/{red.done}/output").json()["cursor"]
    assert red.mark not in blue.client.get(f"/v1/jobs/{blue.done}/output", params={"cursor": place}).text
    for job_id in red.ids:
        assert blue.client.get("/v1/jobs", params={"parent": job_id}).status_code == 404
    # Numbers too: what red has made is not counted for blue.
    usage = [team.client.get("/v1/usage").json() for team in (red, blue)]
    third = gate.client(gate.key("third"))
    assert [each["minutesThisMonth"] for each in usage] == [0.05, 0.05]
    assert third.get("/v1/usage").json()["jobs"]["thisMonth"] == 0
    assert third.get("/v1/jobs").json() == {"jobs": [], "nextCursor": None}


def test_streams_of_a_workspace_carry_nothing_of_another(gate: Gateway, red: Team, blue: Team) -> None:
    """Both are at work at the same time, on one follower."""
    films = {team.name: gate.film_of(team.ids[1]) for team in (red, blue)}
    readers = {team.name: Reader(f"/v1/jobs/{team.ids[1]}/progress", last="0") for team in (red, blue)}
    for film in films.values():
        film.made(1).fail()
    for team in (red, blue):
        readers[team.name].connect(team.client)
    for mine, other in ((red, blue), (blue, red)):
        text = "".join(frame.data for frame in readers[mine.name].got)
        assert mine.ids[1] in text
        assert other.mark not in text
        assert not any(job_id in text for job_id in other.ids)


def test_a_reported_child_cannot_be_put_into_another_workspaces_parent(gate: Gateway, red: Team, blue: Team) -> None:
    program = {"jobType": "t", "userId": "u", "title": "x", "childIndex": 1}
    for job_id in red.ids:
        answer = blue.client.post("/v1/jobs", json={**program, "parentJobId": job_id})
        never = blue.client.post("/v1/jobs", json={**program, "parentJobId": NOBODYS})
        assert (answer.status_code, answer.json()["code"]) == (404, "JOB_NOT_FOUND")
        assert plain(answer, job_id) == plain(never, NOBODYS)


def test_an_idempotency_key_of_another_workspace_is_another_key(gate: Gateway, red: Team, blue: Team) -> None:
    key = {"Idempotency-Key": "the-same"}
    for path, body in (("/v1/render/jobs", order_of()), ("/v1/jobs", {"jobType": "t", "userId": "u", "title": "x"})):
        first, second = (team.client.post(path, json=body, headers=key) for team in (red, blue))
        assert first.json()["jobId"] != second.json()["jobId"]
        assert "idempotent-replayed" not in second.headers


def test_a_token_opens_its_own_job_and_none_beside_it(gate: Gateway, red: Team, blue: Team) -> None:
    stranger = gate.client()
    opened = {red.done, *(job_id for job_id in red.ids if f"_{red.done}" in job_id)}
    for team in (red, blue):
        for job_id in team.ids:
            for route in ("GET /v1/jobs/{job_id}/progress", "GET /v1/jobs/{job_id}/files/{name}"):
                answer = asked(stranger, route, job_id, params={"token": red.token})
                if team is red and job_id in opened:
                    assert answer.status_code == 200, (route, job_id)
                else:
                    assert answer.status_code == 403, (route, job_id)
                    assert blue.mark not in answer.text
            # Nor does it with a key of the other workspace beside it: the key counts.
            if team is red:
                assert asked(blue.client, "GET /v1/jobs/{job_id}/progress", job_id, params={"token": red.token}).status_code == 404
    # A token is for reading, on two routes.
    for route in ROUTES:
        if route.startswith("POST") or route.startswith("DELETE") or not route.endswith(("progress", "{name}")):
            answer = asked(stranger, route, red.done, red.messages[0], params={"token": red.token})
            # Some need no key, or none but what their address carries.
            open_to_all = route.endswith(("healthz", "metrics")) or "webhooks" in route or "shared" in route
            assert answer.status_code in {400, 401} or open_to_all, route
            assert red.mark not in answer.text


def test_a_token_that_was_changed_in_any_way_opens_nothing(gate: Gateway, red: Team, blue: Team) -> None:
    version, claims, signature = red.token.split(".")
    said = json.loads(base64.urlsafe_b64decode(claims + "=="))
    forged = []
    for place, value in ((0, blue.done), (1, "blue"), (2, "loopback"), (3, said[3] + 10**9)):
        other = [*said[:place], value, *said[place + 1 :]]
        packed = base64.urlsafe_b64encode(json.dumps(other, separators=(",", ":")).encode()).decode().rstrip("=")
        forged.append(f"{version}.{packed}.{signature}")
    forged += [f"{version}.{claims}.", f"{version}.{claims}", f"v2.{claims}.{signature}", f"..{signature}", "", "é", "a" * 2_000]
    chance = random.Random(1)
    for _ in range(30):
        place = chance.randrange(len(red.token))
        swapped = red.token[:place] + chance.choice("abcXYZ019_-") + red.token[place + 1 :]
        if swapped != red.token:
            forged.append(swapped)
    stranger = gate.client()
    for token in forged:
        for job_id in (red.done, blue.done):
            answer = asked(stranger, "GET /v1/jobs/{job_id}/files/{name}", job_id, params={"token": token})
            # The last character of a signature has bits that mean nothing.
            if not (answer.status_code == 200 and token[:-1] == red.token[:-1]):
                assert answer.status_code in {401, 403}, token


# ---- what a movie takes in -------------------------------------------------------------------------------------------


def movie_of(src: str, *, name: str = "src", **more: Any) -> dict[str, Any]:
    layer = {"type": "video", "src": src} if name == "src" else {"type": "text", "text": "x", "fontUrl": src}
    return {**MOVIE, "scenes": [{"id": "a", "duration": 1, "layers": [layer]}], **more}


def sources_naming(job_id: str) -> list[dict[str, Any]]:
    """A body's `movie` and `variables`, in every way there is to name another job's film."""
    hexed = job_id.removeprefix("job_")
    plain_ways = [f"job:{job_id}", f"JOB:{job_id}", f"Job:{job_id}", f"jOb:{job_id}"]
    ways = [{"movie": movie_of(src)} for src in plain_ways]
    ways += [{"movie": movie_of(src, name="fontUrl")} for src in plain_ways[:2]]
    ways += [
        {"movie": movie_of("{{ a }}", variables={"a": f"job:{job_id}"})},
        {"movie": movie_of("{{ a }}", variables={"a": "x"}), "variables": {"a": f"job:{job_id}"}},
        {"movie": movie_of("{{ a }}:{{ b }}_{{ c }}", variables={"a": "job", "b": "job", "c": hexed})},
        {"movie": movie_of("{{ lower(a) }}b:job_{{ c }}", variables={"a": "JO", "c": hexed})},
        {"movie": movie_of("{{ a if 1 > 0 else 'x' }}", variables={"a": f"job:{job_id}"})},
        {"movie": movie_of("{{ a }}", variables={"a": "{{ b }}", "b": f"JOB:{job_id}"})},
        {"movie": {**MOVIE, "layers": [{"type": "audio", "src": f"job:{job_id}"}]}},
    ]  # fmt: skip
    return ways


def test_a_movie_may_not_take_another_workspaces_film_however_it_is_named(gate: Gateway, red: Team, blue: Team) -> None:
    """And is told so in the words for a film that never was."""
    submitted = len(gate.launcher.orders)
    scene = f"scene_{red.done}_001"
    for theirs, never in zip(sources_naming(red.done), sources_naming(NOBODYS), strict=True):
        answer, other = (blue.client.post("/v1/render/jobs", json=order_of(**body)) for body in (theirs, never))
        assert answer.status_code == 400, (theirs, answer.text)
        assert {problem["code"] for problem in answer.json()["problems"]} == {"SOURCE_REFUSED"}, theirs
        assert all(problem["pointer"].startswith("/movie/") for problem in answer.json()["problems"])
        hexed = red.done.removeprefix("job_")
        assert answer.text.replace(hexed, "f" * 12) == other.text
    assert len(gate.launcher.orders) == submitted
    for body in sources_naming(red.done):
        answer = red.client.post("/v1/render/jobs", json=order_of(**body))
        assert answer.status_code == 202, (body, answer.text)
    # What only looks like a source is a text, and blanks make a source that no run reads.
    for src in (f" job:{red.done}", f"job: {red.done}", f"job:{red.done} ", f"job:{scene}", f"job:{red.done.upper()}", f"job%3A{red.done}"):
        taken = blue.client.post("/v1/render/jobs", json=order_of(movie=movie_of(src)))
        if taken.status_code == 202:
            with pytest.raises(SourceError):
                bring(src, pointer="", bench=Sources(Path(os.devnull), job_output=lambda job_id: f"outputs/{job_id}/output.mp4"))
    caption = {**MOVIE, "scenes": [{"id": "a", "duration": 1, "layers": [{"type": "text", "text": "Job: find the cat"}]}]}
    assert blue.client.post("/v1/render/jobs", json=order_of(movie=caption)).status_code == 202


def test_only_the_workspace_default_reads_the_store_by_its_address(gate: Gateway, blue: Team) -> None:
    default = gate.client(gate.key())
    for src in ("s3://bucket/outputs/x.mp4", "S3://bucket/outputs/x.mp4", "s3:bucket/outputs/x.mp4", "{{ a }}3://bucket/x.mp4"):
        movie = movie_of(src, variables={"a": "s"})
        answer = blue.client.post("/v1/render/jobs", json=order_of(movie=movie))
        assert answer.status_code == 400, src
        assert {problem["code"] for problem in answer.json()["problems"]} == {"SOURCE_REFUSED"}
        assert default.post("/v1/render/jobs", json=order_of(movie=movie)).status_code == 202


def test_values_for_another_try_may_not_bring_it_in_either(gate: Gateway, red: Team, blue: Team) -> None:
    body = order_of(movie=movie_of("{{ a }}", variables={"a": "https://cdn.example/x.mp4"}))
    job_id = blue.client.post("/v1/render/jobs", json=body).json()["jobId"]
    gate.film_of(job_id).failed()
    for src in (f"job:{red.done}", f"JOB:{red.done}", "s3://bucket/x.mp4", "s3:bucket/x.mp4"):
        for values in ({"a": src}, {"a": {"b": [src]}}):
            answer = blue.client.post(f"/v1/jobs/{job_id}/retry", json={"set": values})
            assert (answer.status_code, answer.json()["code"]) == (400, "VALIDATION_ERROR")
            assert [each["code"] for each in answer.json()["problems"]] == ["SOURCE_REFUSED"]
    assert blue.client.post(f"/v1/jobs/{job_id}/retry", json={"set": {"a": f"job:{blue.done}"}}).status_code == 202


@dg.op
def nothing() -> None:
    pass


@dg.job
def work() -> None:
    nothing()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
def test_a_run_finds_films_of_its_own_workspace_alone(dagster_storage: Settings, tmp_path: Path) -> None:
    """What reaches the run by ways that the gateway cannot see, such as templates over measured times, ends here."""
    store = LocalStore(tmp_path / "store")
    jobs = {"red": new_id(), "blue": new_id(), "default": new_id(), "by hand": new_id()}
    films = {name: Path(__file__).parent / "films.py" for name in jobs}
    for name, job_id in jobs.items():
        store.put_bytes(f"outputs/{job_id}/output.mp4", films[name].read_bytes())
    with open_instance(dagster_storage, os.environ) as instance:
        for name in ("red", "blue", "default"):
            tags = {JOB_TAG: jobs[name]} | ({WORKSPACE_TAG: name} if name != "default" else {})
            assert work.execute_in_process(instance=instance, tags=tags).success
        from viralsync_pipelines.defs.studio import open_studio

        studio = open_studio(dagster_storage, store)
        for workspace in ("red", "blue", "default"):
            sources = within(studio, instance, workspace).sources
            assert sources.job_output is not None
            open_to = {name for name, job_id in jobs.items() if sources.job_output(job_id) is not None}
            assert open_to == ({workspace} if workspace != "default" else {"default", "by hand"})
            assert (sources.bucket is None) == (workspace != "default" or studio.sources.bucket is None)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::dagster.BetaWarning")
@pytest.mark.parametrize("workspace", ["blue", "red"])
def test_a_source_put_together_of_measured_times_is_refused_by_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workspace: str
) -> None:
    """The film's name depends on how long a line takes to say, which nobody knows before the run."""
    from tests.test_dagster import described, instance_of

    red = new_id()
    src = f"job:{{{{ '{red}' if vo.end > 0 else 'x' }}}}"
    layers = [{"type": "voice", "id": "vo", "text": "hello"}, {"type": "video", "src": src}]
    movie = {**MOVIE, "scenes": [{"id": "a", "layers": layers}]}
    with instance_of(tmp_path / "home", monkeypatch) as instance:
        assert work.execute_in_process(instance=instance, tags={JOB_TAG: red, WORKSPACE_TAG: "red"}).success
        LocalStore(tmp_path / "home" / "store").put_bytes(f"outputs/{red}/output.mp4", b"no film at all")
        instance.add_dynamic_partitions("movies", ["film"])
        config = {"ops": {"movie": {"ops": {"plan_film": {"config": {"movie": movie}}}}}}
        result = run_asset_job(instance, "film", only="movie", config=config, **{WORKSPACE_TAG: workspace})
    told = described(result)
    if workspace == "red":
        # Its own: found, and then judged by what is in it.
        assert "SOURCE_UNREADABLE" in told or "SOURCE_REFUSED" in told
        assert "SOURCE_NOT_FOUND" not in told
    else:
        assert "SOURCE_NOT_FOUND" in told
        assert f"there is no job {red}" in told


# ---- at random -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(2))
def test_ids_bent_at_random_open_nothing(gate: Gateway, red: Team, blue: Team, seed: int) -> None:
    chance = random.Random(seed)

    def bent(job_id: str) -> str:
        ways = [
            job_id.upper, lambda: job_id + chance.choice(("%00", "%20", ".", "/", "/.", ";x=1", "%2f", "?", "#", "%0d%0a")),
            lambda: chance.choice(("%20", "./", "../jobs/", "//", f"{blue.done}/../", f"{blue.done}%2f..%2f")) + job_id,
            lambda: f"scene_{job_id}_{chance.randrange(12):03d}", lambda: f"line_{job_id}_001", lambda: f"finalize_{job_id}",
            lambda: "".join(f"%{ord(char):02x}" for char in job_id), lambda: job_id.replace("_", chance.choice(("-", "%5f", "__"))),
            lambda: f"{blue.done},{job_id}", lambda: f"{job_id}_{blue.done}", lambda: f"assemble_{job_id}_{blue.done}",
        ]  # fmt: skip
        return chance.choice(ways)()

    before = everything_of(red)
    routes = [route for route in ROUTES if "{job_id}" in route]
    for _ in range(100):
        route, job_id = chance.choice(routes), bent(chance.choice(red.ids))
        answer = asked(blue.client, route, job_id)
        assert red.mark not in answer.text, (route, job_id)
        assert answer.status_code in {400, 404, 405, 307} or (answer.status_code == 200 and blue.mark in answer.text), (route, job_id, answer.text)
    assert everything_of(red) == before


def test_work_of_one_workspace_uses_up_nothing_of_another(gate: Gateway) -> None:
    """Films at work and minutes spent count where they were made."""
    red, blue = (gate.client(gate.key(name, plan="pro")) for name in ("red", "blue"))
    for _ in range(3):
        assert red.post("/v1/render/jobs", json=order_of()).status_code == 202
    assert red.post("/v1/render/jobs", json=order_of()).status_code == 409
    assert blue.post("/v1/render/jobs", json=order_of()).status_code == 202
    for run in gate.runs.everything():
        Film(gate.runs, run.run_id).whole()
    collect(gate.board, gate.database, None, lambda job: job.output, gate.clock)
    assert [client.get("/v1/usage").json()["minutesThisMonth"] for client in (red, blue)] == [0.15, 0.05]
