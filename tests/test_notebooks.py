"""Promise: every notebook runs from top to bottom on a fresh home, and shows what it says it shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from viralsync_pipelines.render.quality import CHECKS

NOTEBOOKS = Path(__file__).parent.parent / "notebooks"


def _shown(cell: Any) -> dict[str, Any]:
    """MIME types and data of a cell's result."""
    return next((dict(output["data"]) for output in cell["outputs"] if output["output_type"] == "execute_result"), {})


@pytest.fixture
def executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The code cells of 01_render after a run in an empty folder."""
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    book = nbformat.read(NOTEBOOKS / "01_render.ipynb", as_version=4)
    NotebookClient(book, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    return [cell for cell in book.cells if cell.cell_type == "code"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_render_notebook_shows_plan_stills_diff_and_film(executed: list[Any], tmp_path: Path) -> None:
    plan, stills, change, still, checks, sheet, again, film = executed
    assert "<td>feature_2</td>" in _shown(plan)["text/html"]
    assert all(len(_shown(cell)["image/jpeg"]) > 10_000 for cell in (stills, still, sheet)), "pictures are shown inline"
    rows = _shown(change)["text/html"]
    assert "<td>feature_2</td>" in rows
    assert "<td>hello</td>" not in rows, "a scene that did not change is not rendered again"
    assert _shown(checks)["text/plain"].count("True") == len(CHECKS), "every asset check passed"
    assert "False" not in _shown(checks)["text/plain"]
    rendered, total = (int(word) for word in _shown(again)["text/plain"].strip("'").split() if word.isdigit())
    assert 0 < rendered < total / 4, "only the changed scene and its transitions were rendered"
    assert _shown(film)["text/html"].startswith("<video controls")
    assert (tmp_path / "product-draft.mp4").stat().st_size > 100_000


def test_notebooks_hold_no_logic_and_stay_small() -> None:
    """A reader learns the package, not the notebook: no definitions, loops or foreign imports; and no film in the repository."""
    for path in NOTEBOOKS.glob("*.ipynb"):
        assert path.stat().st_size < 500_000, path.name
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            lines = "".join(cell["source"]).splitlines() if cell["cell_type"] == "code" else []
            for line in lines:
                assert not line.startswith(("def ", "class ", "for ", "while ", "import ")), (path.name, line)
                assert not line.startswith("from ") or line.startswith("from viralsync_pipelines"), (path.name, line)
