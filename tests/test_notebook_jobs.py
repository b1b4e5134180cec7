"""Jobs in a notebook: the chart says what the events say, the live picture ends with the job, and the notebook runs on the real stack."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers.api import JOB, job
from tests.servers.gateway import gateway
from tests.servers.stack import stack
from viralsync_pipelines.client import ApiError, Client, Event
from viralsync_pipelines.client.reading import job_of
from viralsync_pipelines.notebook_gantt import COLOURS, Span, gantt_of
from viralsync_pipelines.notebook_jobs import Progress, connect, gantt, jobs_table, live, play, submit, titles
from viralsync_pipelines.storage.database import open_database

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "02_jobs.ipynb"
STATUSES = ("queued", "running", "waiting", "done", "failed", "cancelled")


def changed(sequence: int, seconds: float, status: str, job_id: str = JOB, **more: Any) -> Event:
    at = f"2026-04-02T10:00:{seconds:06.3f}+00:00"
    return Event(sequence, "job.progress", job_of(job(status, 0.5, job_id, updatedAt=at, sequence=sequence, **more)))


def scene(sequence: int, seconds: float, status: str, number: int = 1, **more: Any) -> Event:
    return changed(sequence, seconds, status, f"scene_{JOB}_{number:03d}", type="render.scene", parentJobId=JOB, childIndex=number - 1, **more)


# ---- the chart -------------------------------------------------------------------------------------------------------


def test_a_lane_tells_when_a_job_waited_and_worked() -> None:
    chart = gantt_of([
        changed(1, 0, "queued"), changed(2, 1, "running"), scene(3, 1, "queued"), changed(4, 2, "waiting"), scene(5, 2, "running"), scene(6, 3, "running"),
        scene(7, 5, "failed"), changed(8, 6, "failed"),
    ])  # fmt: skip
    whole, part = chart.lanes
    assert (chart.seconds, whole.job_id, whole.ended, part.name, part.ended) == (6, JOB, "failed", "scene 1", "failed")
    assert whole.spans == (Span("queued", 0, 1, "running"), Span("running", 1, 2, "waiting"), Span("waiting", 2, 6, "failed"))
    assert part.spans == (Span("queued", 1, 2, "running"), Span("running", 2, 5, "failed")), "what only moves on is one span"


def test_what_has_not_ended_lasts_until_now_and_a_retry_goes_on() -> None:
    chart = gantt_of([changed(1, 0, "running"), changed(2, 2, "failed"), changed(3, 5, "queued"), changed(4, 6, "running"), scene(5, 8, "running")])
    assert chart.lanes[0].spans == (Span("running", 0, 2, "failed"), Span("queued", 5, 6, "running"), Span("running", 6, 8, "running"))
    assert chart.lanes[0].ended is None


def test_work_takes_the_colour_of_its_end_and_names_are_text() -> None:
    svg = gantt_of([changed(1, 0, "running", title="<b>&amp;"), scene(2, 0, "running"), scene(3, 3, "done"), changed(4, 4, "cancelled", title="<b>&amp;")])._repr_svg_()
    root = ET.fromstring(svg)
    bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.find("{http://www.w3.org/2000/svg}title") is not None]
    assert [bar.get("fill") for bar in bars] == [COLOURS["cancelled"], COLOURS["done"]]
    assert float(bars[1].get("width", "0")) == pytest.approx(float(bars[0].get("width", "0")) * 3 / 4)
    assert any(each.text == "<b>&amp;" for each in root.iter("{http://www.w3.org/2000/svg}text"))


@given(st.lists(st.tuples(st.floats(0, 59), st.sampled_from(STATUSES), st.integers(0, 3)), max_size=30))
def test_any_events_make_a_chart(events: list[tuple[float, str, int]]) -> None:
    """Clocks differ and jobs are tried again: no span ends before it begins, or lies outside of the chart."""
    chart = gantt_of([changed(n, at, status) if who == 0 else scene(n, at, status, who) for n, (at, status, who) in enumerate(events)])
    for lane in chart.lanes:
        times = [time for span in lane.spans for time in (span.start, span.end)]
        assert times == sorted(times)
        assert all(0 <= time <= chart.seconds for time in times)
    ET.fromstring(chart._repr_svg_())


# ---- with a gateway --------------------------------------------------------------------------------------------------


def test_a_job_is_submitted_followed_charted_and_played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = open_database(None, tmp_path / "home")
    database.migrate()
    with gateway(database, tmp_path) as real:
        monkeypatch.setenv("VIRALSYNC_API_URL", real.url)
        client = connect()
        job = submit(client, titles("One", "Two", "Three"), mark="!")
        assert real.launcher.orders[0].variables == {"mark": "!"}
        real.film_of(job.id).whole()
        shown: list[Progress] = []
        live(job, show=shown.append, clock=lambda: 0.0)
        assert len(shown) == 2, "one as it began, and one as it ended: no more than five a second in between"
        assert (shown[-1].job.status, [child.status for child in shown[-1].children]) == ("done", ["done"] * 5)
        page = shown[-1]._repr_html_()
        assert page.count("<tr") == 6
        assert "width:100.00%" in page
        chart = gantt(job)
        assert [lane.ended for lane in chart.lanes] == ["done"] * 6
        assert jobs_table(client).rows[0][0] == job.id
        assert play(job).url == f"{real.url}/v1/jobs/{job.id}/files/output.mp4"
        with Client(real.url, real.key()) as keyed:
            assert "/files/output.mp4?token=" in play(keyed.handle(job.id)).url, "a <video> sends no key"
        with pytest.raises(ApiError, match="NO_OUTPUT"):
            play(client.start("encode", "Encoding"))
        client.close()
    database.close()


# ---- the notebook ----------------------------------------------------------------------------------------------------


def _data(cell: Any, kind: str) -> dict[str, Any]:
    return next((dict(output["data"]) for output in cell["outputs"] if output["output_type"] == kind), {})


@pytest.mark.timeout(1200)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_jobs_notebook_runs_on_the_real_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Launched through the API and through GraphQL, both end done; the retry makes a second attempt; every picture is there."""
    import nbformat
    from nbclient import NotebookClient

    with stack(tmp_path) as made:
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("VIRALSYNC_API_URL", made.api)
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
        # The notebook says where Dagster is by default; here it is elsewhere.
        book = nbformat.reads(NOTEBOOK.read_text(encoding="utf-8").replace("http://127.0.0.1:3001", made.web), as_version=4)
        NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    submitted, watched, state, chart, film, launched, asked, again, second, reported, failed, table = [c for c in book.cells if c.cell_type == "code"]
    job_id = _data(submitted, "execute_result")["text/plain"].strip("'")
    for cell in (watched, launched, again):
        page = _data(cell, "display_data")["text/html"]
        assert page.count("<tr") == 8, "five scenes, assembly, delivery and the whole"
        assert page.count("<td>done</td>") == 8
    assert _data(state, "execute_result")["text/plain"] == "('done', 5, 5)"
    assert _data(chart, "execute_result")["image/svg+xml"].count("<circle") == 8
    assert f"/v1/jobs/{job_id}/files/output.mp4" in _data(film, "execute_result")["text/html"]
    assert "{'jobName':'render_movie','status':'SUCCESS'}" in "".join(_data(asked, "execute_result")["text/plain"].split())
    assert _data(second, "execute_result")["image/svg+xml"].count("<rect") > _data(chart, "execute_result")["image/svg+xml"].count("<rect")
    assert _data(reported, "execute_result")["text/plain"] == "0.55"
    assert "NO_PAINT" in _data(failed, "execute_result")["text/plain"]
    rows = _data(table, "execute_result")["text/html"]
    # Not the nightly runs: the daemon starts them when this runs at a quarter past four.
    assert sum("workflow.run" not in row for row in rows.split("<tr>")[2:]) == 3
    assert job_id in rows
