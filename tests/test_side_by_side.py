"""Calls side by side: each once, few threads for quick answers and more for slow ones."""

from __future__ import annotations

import itertools
import threading

import pytest

from viralsync_pipelines.generate.side_by_side import FIRST, side_by_side


class Crowd:
    """How many were being answered at once, at most."""

    def __init__(self) -> None:
        self.now, self.most, self.lock = 0, 0, threading.Lock()

    def call(self, number: int) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        threading.Event().wait(0.002)
        with self.lock:
            self.now -= 1
        return number


@pytest.mark.parametrize(("share", "wide"), [(0.1, True), (0.9, False)])
def test_each_is_called_once_and_threads_are_added_only_while_answers_are_waited_for(share: float, wide: bool) -> None:
    crowd, ticks = Crowd(), itertools.count()
    cpu = itertools.count(0, share)
    answers = list(side_by_side(crowd.call, range(200), most=24, clock=lambda: float(next(ticks)), cpu=lambda: float(next(cpu))))
    assert sorted(answers) == list(range(200))
    assert (crowd.most > FIRST) is wide
    assert crowd.most <= 24


def test_an_error_of_a_call_comes_out() -> None:
    def call(number: int) -> int:
        if number == 7:
            raise ValueError("seven")
        return number

    with pytest.raises(ValueError, match="seven"):
        list(side_by_side(call, range(20), most=3))


def test_nothing_to_do_is_done() -> None:
    assert list(side_by_side(str, [], most=3)) == []
