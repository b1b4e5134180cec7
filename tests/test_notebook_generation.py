"""The generation notebook: its chart says what the events say, and it runs on the real stack with the sandbox."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from tests.servers.stack import NAMES, stack
from viralsync_pipelines.notebook_generation import Wait, Waits, both_ways

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "03_generation.ipynb"


def test_the_longest_wait_is_the_widest_bar_and_names_are_text() -> None:
    svg = Waits((Wait("<a>", 2.0, "webhook", 0), Wait("b", 4.0, "polling", 3)))._repr_svg_()
    root = ET.fromstring(svg)
    bars = [each for each in root.iter("{http://www.w3.org/2000/svg}rect") if each.get("rx")]
    assert [float(bar.get("width", "0")) for bar in bars] == [260.0, 520.0]
    words = [each.text for each in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"<a>", "b", "2.0 s, webhook", "4.0 s, polling, 3 polls before"} <= set(words)
    ET.fromstring(Waits(())._repr_svg_())


def test_the_plan_goes_both_ways() -> None:
    plan = both_ways(2)
    assert [job["id"] for job in plan] == ["picture_1", "picture_2", "clip_1", "clip_2"]


def _data(cell: Any, kind: str) -> dict[str, Any]:
    return next((dict(output["data"]) for output in cell["outputs"] if output["output_type"] == kind), {})


@pytest.mark.timeout(900)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_generation_notebook_runs_on_the_real_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of learning an end are used, everything is made, and every picture is there."""
    import nbformat
    from nbclient import NotebookClient

    with stack(tmp_path, start=(), VIRALSYNC_POLL_INITIAL_S="1") as made:
        made.start(*NAMES, "sandbox")
        made.wait_ready()
        for name, value in made.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("VIRALSYNC_API_URL", made.api)
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
        monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
        book = nbformat.reads(NOTEBOOK.read_text(encoding="utf-8").replace("both_ways(3)", "both_ways(2)"), as_version=4)
        NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    models, _, _, watched, chart, waited, shown = [cell for cell in book.cells if cell.cell_type == "code"]
    assert "sandbox/video" in _data(models, "execute_result")["text/html"]
    page = _data(watched, "display_data")["text/html"]
    assert (page.count("<tr"), page.count("<td>done</td>")) == (5, 5)
    assert _data(chart, "execute_result")["image/svg+xml"].count("<circle") == 5
    words = _data(waited, "execute_result")["image/svg+xml"]
    assert (words.count("s, webhook"), words.count("s, polling")) == (2, 2)
    cards = _data(shown, "execute_result")["text/html"]
    assert (cards.count("<img"), cards.count("<video")) == (2, 2)
