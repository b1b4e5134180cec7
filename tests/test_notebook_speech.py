"""The speech notebook: its picture shows every word and pause, and it runs from top to bottom on a fresh home."""

from __future__ import annotations

import io
import wave
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from viralsync_pipelines.notebook_speech import EXAMPLE, Narration, peaks_of, script_table, waveform, words_table

NOTEBOOK = Path(__file__).parent.parent / "notebooks" / "04_speech.ipynb"
_SVG = "{http://www.w3.org/2000/svg}"


def narration() -> Narration:
    data = io.BytesIO()
    with wave.open(data, "wb") as file:
        file.setparams((1, 2, 1_000, 0, "NONE", ""))
        file.writeframes(b"\x00\x40" * 1_000 + bytes(2_000) + b"\x00\x20" * 1_000)
    lines = [
        {"start": 0.0, "end": 1.0, "cache": "miss", "engine": "e", "voice": "v", "timing": "native", "characters": 3},
        {"start": 2.0, "end": 3.0, "cache": "hit", "engine": "e", "voice": "v", "timing": "native", "characters": 3},
    ]
    words = ({"word": "<a>", "start": 0.0, "end": 1.0, "line": 1}, {"word": "b", "start": 2.0, "end": 3.0, "line": 2})
    return Narration({"duration": 3.0, "lines": lines}, words, data.getvalue(), b"")


def test_the_picture_has_every_word_and_pause_where_it_is_heard() -> None:
    root = ET.fromstring(waveform(narration()).svg)
    words = {each.text: float(each.get("x", "0")) for each in root.iter(f"{_SVG}text") if each.get("class") == "word"}
    assert words == {"<a>": 2.0, "b": pytest.approx(980 * 2 / 3 + 2, abs=0.1)}
    (pause,) = [each for each in root.iter(f"{_SVG}rect") if each.get("class") == "pause"]
    assert (float(pause.get("x", "0")), float(pause.get("width", "0"))) == (pytest.approx(326.7, abs=0.1), pytest.approx(326.7, abs=0.1))
    assert "1.00 s" in {each.text for each in root.iter(f"{_SVG}text")}
    assert peaks_of(narration().wav, 0.0, 3.0, 3) == [0.5, 0.0, 0.25]
    assert words_table(narration(), 2).rows == (("b", "2.000", "3.000", "1000"),)
    assert narration().spoken_now == 1


def test_the_table_shows_what_is_written_what_is_spoken_and_what_never_is() -> None:
    table = script_table(EXAMPLE)
    assert [row[2] for row in table.rows] == ["Ada", "Bob", "Bob", "Ada"]
    assert table.rows[0][3:5] == ("Water for tea should be about 95 °C.", "Water for tea should be about 95 degrees Celsius.")
    assert "rain at the window" in table.note
    assert "rain" not in " ".join(cell for row in table.rows for cell in row)


@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
def test_the_speech_notebook_runs_from_top_to_bottom(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "jupyter"))
    monkeypatch.setenv("VIRALSYNC_HOME", str(tmp_path / "home"))
    book = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(book, timeout=200, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in book.cells if cell.cell_type == "code"]

    def shown(cell: Any) -> dict[str, Any]:
        return next((dict(output["data"]) for output in cell["outputs"] if output["output_type"] == "execute_result"), {})

    _, said, player, picture, words, again, closer = cells
    assert "95 degrees Celsius" in shown(said)["text/html"]
    assert shown(player)["text/html"].startswith("<audio controls")
    assert "4 spoken now" in shown(player)["text/html"]
    svg = shown(picture)["image/svg+xml"]
    assert (svg.count('class="word"'), svg.count('class="pause"')) == (19, 3)
    assert "°C." in shown(words)["text/html"]
    assert shown(again)["text/plain"] == "'1 of 4 lines were spoken'"
    assert "image/svg+xml" in shown(closer)
