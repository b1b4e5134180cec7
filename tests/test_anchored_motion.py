"""Promises about layers that move: text that has arrived stands where it would have stood, and sizes grow from the anchor.

Both were once broken, and found by the first film that a designer made.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.films import Lab, lab, movie


@pytest.fixture(scope="module")
def room(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    return lab(tmp_path_factory.mktemp("anchored"))


def _box(frame: Any) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is bright."""
    lit = frame.mean(-1) > 128
    rows, columns = np.flatnonzero(lit.any(1)), np.flatnonzero(lit.any(0))
    return int(columns[0]), int(rows[0]), int(columns[-1]), int(rows[-1])


@pytest.mark.parametrize("anchor", ["top", "center", "bottom-right"])
@pytest.mark.parametrize("plate", [None, {"color": "#ffffff", "padding": 12, "radius": 4}])
def test_text_that_has_popped_in_stands_like_text_that_was_always_there(room: Lab, anchor: str, plate: Any) -> None:
    """Centred text in no box of its own was squeezed to a fraction of its width while it was animated."""
    text = {"type": "text", "text": "96x", "fontSize": 60, "fontWeight": 900, "x": 240, "y": 200, "anchor": anchor, "shadow": {"blur": 10}}
    text = text if plate is None else {**text, "background": plate, "color": "#808080"}
    still = room.still(movie([text], 1), 20)
    moved = room.still(movie([{**text, "enter": {"type": "pop", "duration": 0.3}}], 1), 20)
    assert np.abs(np.subtract(_box(moved), _box(still))).max() <= 1
    assert np.abs(moved - still).mean() < 1


@pytest.mark.parametrize(("anchor", "kept"), [("bottom", 3), ("top", 1), ("bottom-left", 0), ("top-right", 2)])
def test_what_grows_keeps_its_anchor(room: Lab, anchor: str, kept: int) -> None:
    """A bar on its foot does not rise from its middle."""
    bar = {
        "type": "shape", "x": 180, "y": 180, "width": 80, "height": 120, "anchor": anchor,
        "keyframes": {
            "height": [{"at": 0, "value": 40}, {"at": 1, "value": 120}],
            "width": [{"at": 0, "value": 20}, {"at": 1, "value": 80}],
        },
    }  # fmt: skip
    document = movie([bar], 1.1)
    boxes = [_box(room.still(document, frame)) for frame in (3, 15, 29)]
    edges = [box[kept] for box in boxes]
    assert max(edges) - min(edges) <= 1
    heights = [box[3] - box[1] for box in boxes]
    assert heights == sorted(heights)
    assert heights[-1] - heights[0] > 60
