"""Text that appears step by step: what has not come yet is not seen, not even a slice of it."""

from __future__ import annotations

from viralsync_pipelines.render.frames import _owners


def test_a_letter_waits_for_its_own_turn_even_where_its_neighbour_reaches_into_it() -> None:
    """Two boxes 10 px wide, widened by 4: the second letter's own pixels belong to the second step only."""
    groups = (((-4, -4, 14, 14),), ((6, -4, 24, 14),))

    owner = _owners(groups, 4, (10, 30))

    assert set(owner[:, 10:20].ravel()) == {1}
    assert set(owner[:, 0:10].ravel()) == {0}
    assert set(owner[:, 24:].ravel()) == {1}
