"""Generated media in a notebook: a plan submitted, its waits drawn, its results shown.

What belongs here: showing what the typed client gives, as something Jupyter shows by itself. What does not: jobs in general
(notebook_jobs.py), the chart in time (notebook_gantt.py).
"""

from __future__ import annotations

import html
from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from viralsync_pipelines.client import Client, JobHandle
from viralsync_pipelines.notebook import Table
from viralsync_pipelines.notebook_gantt import COLOURS

_LEFT, _WIDTH, _ROW, _TOP = 170, 520, 22, 30
_COLOUR_OF = {"webhook": "#e07a1f", "polling": COLOURS["waiting"]}


def both_ways(count: int = 3) -> list[dict[str, Any]]:
    """A plan for the sandbox: pictures whose end is polled for, and clips made from them whose end a webhook tells."""
    pictures = [
        {"id": f"picture_{n}", "operation": "generateImage",
         "params": {"modelId": "sandbox/image", "prompt": f"a lighthouse, take {n}", "seed": n}}
        for n in range(1, count + 1)
    ]  # fmt: skip
    clips = [
        {"id": f"clip_{n}", "operation": "generate",
         "params": {"modelId": "sandbox/video", "prompt": f"waves, take {n}", "image": f"$picture_{n}", "duration": 2, "seed": n}}
        for n in range(1, count + 1)
    ]  # fmt: skip
    return pictures + clips


def execute(client: Client, jobs: Sequence[Mapping[str, Any]]) -> JobHandle:
    """Submit a plan; its execution as the job that it is. ApiError lists every problem of the plan."""
    return client.handle(client.execute(jobs).id)


@dataclass(frozen=True)
class Wait:
    """How long a job was at its provider, in seconds, and how its end was learned of."""

    name: str
    seconds: float
    learned_by: str
    polls: int


@dataclass(frozen=True)
class Waits:
    """The waits of an execution's jobs at their providers."""

    waits: tuple[Wait, ...]

    def _repr_svg_(self) -> str:
        longest = max((wait.seconds for wait in self.waits), default=0.0) or 1.0
        height = _TOP + _ROW * len(self.waits) + 24
        size = f'width="{_LEFT + _WIDTH + 120}" height="{height}"'
        parts = [f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">']
        parts.append(f'<rect {size} fill="#ffffff"/><text x="{_LEFT}" y="18" fill="#555555">seconds at the provider</text>')
        for number, wait in enumerate(self.waits):
            y, wide = _TOP + _ROW * number, _WIDTH * wait.seconds / longest
            told = f"{wait.seconds:.1f} s, {wait.learned_by}" + (f", {wait.polls} polls before" if wait.polls else "")
            colour = _COLOUR_OF.get(wait.learned_by, "#999999")
            parts.append(f'<text x="{_LEFT - 8}" y="{y + 15}" text-anchor="end">{html.escape(wait.name)}</text>')
            parts.append(f'<rect x="{_LEFT}" y="{y + 4}" width="{wide:.1f}" height="{_ROW - 8}" rx="2" fill="{colour}"/>')
            parts.append(f'<text x="{_LEFT + wide + 6:.1f}" y="{y + 15}" fill="#555555">{html.escape(told)}</text>')
        return "".join([*parts, "</svg>"])


def waits(execution: JobHandle) -> Waits:
    """How long each job waited at its provider, from its events; and whether a webhook or a poll told its end."""
    jobs = {job.record_id: job for job in execution.client.execution(execution.id).jobs}
    since: dict[str, float] = {}
    waited: dict[str, float] = {}
    for event in execution.client.events(execution.id):
        job = event.job
        if job.id not in jobs or job.updated_at is None:
            continue
        at = job.updated_at.timestamp()
        if job.status.value == "waiting":
            since.setdefault(job.id, at)
        elif job.id in since:
            waited[job.id] = waited.get(job.id, 0.0) + at - since.pop(job.id)
    return Waits(
        tuple(Wait(job.id, waited[record], job.waits_for or "", job.polls) for record, job in jobs.items() if record in waited)
    )  # fmt: skip


@dataclass(frozen=True)
class Gallery:
    """Results side by side: pictures and clips with what they cost."""

    cards: tuple[tuple[str, str, str], ...]

    def _repr_html_(self) -> str:
        cells = "".join(
            f'<div style="text-align:center">{shown}<div>{html.escape(name)}<br><small>{html.escape(told)}</small></div></div>'
            for shown, name, told in self.cards
        )
        return f'<div style="display:flex;gap:12px;flex-wrap:wrap">{cells}</div>'


def gallery(client: Client, limit: int = 6) -> Gallery:
    """The newest results as cards; pictures are kept in the notebook, clips and sounds are played from where the gateway has them."""
    cards = []
    for card in client.generations(limit=limit, status="done"):
        preview = dict(card.preview or {})
        kind, url = str(preview.get("kind")), str(preview.get("url"))
        if kind == "image":
            shown = f'<img height="200" src="data:image/png;base64,{b64encode(_fetched(client, url)).decode()}">'
        elif kind == "video":
            shown = f'<video controls loop height="200" src="{html.escape(url)}"></video>'
        else:
            shown = f'<audio controls src="{html.escape(url)}"></audio>'
        cost = f", {card.cost_usd:.3f} USD" if card.cost_usd else ""
        cards.append((shown, card.title, f"{card.model}, {card.elapsed_ms / 1000:.0f} s{cost}"))
    return Gallery(tuple(cards))


def _fetched(client: Client, url: str) -> bytes:
    import httpx

    key = {"x-api-key": client.api_key} if client.api_key and url.startswith(f"{client.base_url}/") else {}
    return httpx.get(url, headers=key, timeout=60, follow_redirects=True, trust_env=False).raise_for_status().content


def models_table(client: Client, *, provider: str | None = None) -> Table:
    """Models that plans may name."""
    found = [model for model in client.models() if provider in {None, model.provider}]
    rows = tuple((model.id, model.type, ", ".join(model.strategies), "yes" if model.available else "no key") for model in found)
    return Table(("model", "makes", "its end by", "ready"), rows, f"{len(found)} models", {"models": [model.id for model in found]})
