"""Jobs in a notebook: started through the API or through Dagster's GraphQL, followed live, and laid out in time.

What belongs here: showing what the typed client gives, as something Jupyter shows by itself. What does not: movies (notebook.py), the
drawing of a chart (notebook_gantt.py). IPython is needed by nothing but `live`, which then changes its picture in place.
"""

from __future__ import annotations

import html
import os
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Unpack

from viralsync_pipelines.cli.job_pictures import children_of, left_of, message_of, name_of, whereabouts
from viralsync_pipelines.cli.words import age
from viralsync_pipelines.client import DEFAULT_URL, ApiError, Client, JobHandle, JobView
from viralsync_pipelines.client.calls import Filters
from viralsync_pipelines.notebook import Movie, Table
from viralsync_pipelines.notebook_gantt import COLOURS, Gantt, gantt_of
from viralsync_pipelines.settings import Settings

DAGSTER_URL = "http://127.0.0.1:3001"
# A run that was launched elsewhere is a job within two seconds.
_SEEN_WITHIN_S = 15.0
_REDRAWN_EVERY_S = 0.2
_BLUES = ("#14213d", "#1d3557", "#274c77", "#335c81", "#3d6b94", "#457b9d")

Show = Callable[["Progress"], None]


@dataclass(frozen=True)
class Progress:
    """A job and its children as they stand."""

    job: JobView
    children: tuple[JobView, ...]
    now: datetime

    def _repr_html_(self) -> str:
        rows = "".join(_bar(child, self.now, bold=False) for child in self.children)
        return f"<table>{rows}{_bar(self.job, self.now, bold=True)}</table>"


@dataclass(frozen=True)
class Player:
    """A film where the gateway has it."""

    url: str

    def _repr_html_(self) -> str:
        return f'<video controls loop height="480" src="{html.escape(self.url)}"></video>'


def connect(url: str | None = None, key: str | None = None) -> Client:
    """The gateway at VIRALSYNC_API_URL with VIRALSYNC_API_KEY, or on this machine. ApiError says so when nobody answers."""
    settings = _settings()
    client = Client(url or settings.api_url or DEFAULT_URL, key or settings.api_key)
    client.me()
    return client


def titles(*words: str, seconds: float = 1.5) -> Movie:
    """A movie that needs no files: a scene for each word, faded one into the next."""
    scenes = [
        {
            "id": f"word_{number + 1}", "duration": seconds, "bgColor": _BLUES[number % len(_BLUES)],
            "layers": [{"type": "text", "text": f"{word}{{{{ mark }}}}", "fontSize": 120, "fontWeight": 700, "color": "#ffffff"}],
            **({"transition": {"type": "fade", "duration": 0.4}} if number else {}),
        }
        for number, word in enumerate(words)
    ]  # fmt: skip
    document = {
        "id": "notebook-titles", "title": " ".join(words), "width": 1080, "height": 1080, "variables": {"mark": ""}, "scenes": scenes,
    }  # fmt: skip
    return Movie(document, Path.cwd())


def submit(client: Client, movie: Movie, *, draft: bool = True, **variables: Any) -> JobHandle:
    """Through the API: POST /v1/render/jobs. ApiError lists every problem of the movie."""
    return client.render(movie.document, draft=draft, variables=variables, project_id="notebook")


def launch(client: Client, movie: Movie, *, dagster: str = DAGSTER_URL, draft: bool = True, **variables: Any) -> JobHandle:
    """Through Dagster's own GraphQL, as the gateway does it: a run of `render_movie`, which is a job as soon as Dagster has it.

    Dagster and this notebook share VIRALSYNC_HOME. RenderUnavailable when nobody answers at `dagster`.
    """
    from viralsync_pipelines.defs.studio import store_without_dagster
    from viralsync_pipelines.jobs.orders import JOB_TAG, PROJECT_TAG, RenderOrder
    from viralsync_pipelines.orchestrator.graphql import DagsterApi
    from viralsync_pipelines.render.prepare import movie_id_of
    from viralsync_pipelines.render.registry import keep_version

    movie_id, job_id = movie_id_of(movie.document), "job_" + secrets.token_hex(6)
    document = keep_version(store_without_dagster(_settings()), movie_id, movie.document)
    api = DagsterApi(dagster)
    try:
        api.launch(RenderOrder(job_id, movie_id, document, variables, draft, tags={JOB_TAG: job_id, PROJECT_TAG: "notebook"}))
    finally:
        api.close()
    return _once_seen(client, job_id)


def ask_dagster(query: str, *, dagster: str = DAGSTER_URL, **variables: Any) -> Mapping[str, Any]:
    """Any question to Dagster's GraphQL; its answer's `data`."""
    from viralsync_pipelines.orchestrator.door import open_client, post

    with open_client() as http:
        return post(http, dagster.rstrip("/") + "/graphql", query, variables, connect_s=5.0, answer_s=30.0)


def live(job: JobHandle, *, show: Show | None = None, clock: Callable[[], float] = time.monotonic) -> None:
    """Follow a job to its end in one picture that changes in place. show: what draws it; Jupyter's own when there is one."""
    draw = show or _display()
    children: dict[str, JobView] = {}
    drawn = -_REDRAWN_EVERY_S
    begun = False
    for event in job.follow():
        if not begun:
            # Read after the snapshot: what changes from here on is among the events.
            children, begun = {child.id: child for child in job.children()}, True
        if event.job.id != job.id:
            known = children.get(event.job.id)
            children[event.job.id] = event.job if known is None or event.sequence >= known.sequence else known
        if clock() - drawn >= _REDRAWN_EVERY_S:
            drawn = clock()
            draw(Progress(job.job, tuple(children.values()), _now()))
    draw(Progress(job.refresh(), job.children(), _now()))


def gantt(job: JobHandle) -> Gantt:
    """The job and its children in time, from its events: when each waited, worked and ended."""
    return gantt_of(list(job.client.events(job.id)))


def jobs_table(client: Client, *, limit: int = 10, **filters: Unpack[Filters]) -> Table:
    """The newest jobs, or those of the filters: type, status, project_id, channel, parent, since, until."""
    now = _now()
    jobs = list(client.list(limit=limit, **filters))
    rows = tuple(
        (job.id, job.type, job.status.value, whereabouts(job), f"{job.progress:.0%}", children_of(job),
         age((now - job.created_at).total_seconds()) if job.created_at is not None else "", job.title or "")
        for job in jobs
    )  # fmt: skip
    headings = ("job", "type", "status", "phase", "progress", "children", "age", "title")
    return Table(headings, rows, f"{len(jobs)} jobs, newest first", {"jobs": [job.raw for job in jobs]})


def play(job: JobHandle) -> Player:
    """The finished film, played from where the gateway has it. ApiError when there is none."""
    url = job.refresh().output_url
    if url is None:
        raise ApiError(None, "NO_OUTPUT", f"{job.id} is {job.status} and has no film; see job.job.error, and job.retry()")
    if job.client.api_key is not None and url.startswith(f"{job.client.base_url}/"):
        # A <video> sends no key; this opens this one job's files for a while.
        url = f"{url}?token={job.client.stream_token(job.id).token}"
    return Player(url)


def _once_seen(client: Client, job_id: str, sleep: Callable[[float], None] = time.sleep) -> JobHandle:
    for _ in range(int(_SEEN_WITHIN_S / 0.25)):
        try:
            return client.handle(job_id)
        except ApiError as error:
            if error.status != 404:
                raise
        sleep(0.25)
    return client.handle(job_id)


def _display() -> Show:
    """Jupyter's display, made at the first picture and changed by every other; nothing where there is no Jupyter."""
    try:
        from IPython import display
    except ImportError:
        return lambda progress: None
    draw: Callable[..., Any] = display.display
    handle: list[Any] = []

    def show(progress: Progress) -> None:
        if handle:
            handle[0].update(progress)
        else:
            handle.append(draw(progress, display_id=True))

    return show


def _bar(job: JobView, now: datetime, *, bold: bool) -> str:
    colour = COLOURS[job.status.value]
    told = message_of(job) if job.terminal or not bold else " · ".join(_words(whereabouts(job), children_of(job), left_of(job, now)))
    bar = (
        '<div style="width:240px;height:12px;background:#e8e8e8;border-radius:3px">'
        f'<div style="width:{job.progress:.2%};height:12px;background:{colour};border-radius:3px"></div></div>'
    )
    cells = (name_of(job), bar, f"{job.progress:.0%}", job.status.value, told)
    style = ' style="font-weight:bold"' if bold else ""
    return f"<tr{style}>" + "".join(f"<td>{cell if cell is bar else html.escape(cell)}</td>" for cell in cells) + "</tr>"


def _words(*words: str) -> Sequence[str]:
    return [word for word in words if word]


def _settings() -> Settings:
    return Settings.from_env(os.environ, cwd=Path.cwd())


def _now() -> datetime:
    return datetime.now(UTC)
