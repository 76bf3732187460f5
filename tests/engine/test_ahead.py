"""Chips made ahead come in order, one at most ahead, and errors come in their turn."""

import threading

import pytest

from faultsim.engine.ahead import ahead


def test_everything_comes_in_order_and_is_made_on_another_thread() -> None:
    made_on: set[int] = set()

    def make(trial: int) -> int:
        made_on.add(threading.get_ident())
        return trial * trial

    assert list(ahead(make, range(5))) == [(t, t * t) for t in range(5)]
    assert len(made_on) == 1
    assert threading.get_ident() not in made_on


def test_no_trials_make_nothing() -> None:
    def make(trial: int) -> int:
        raise AssertionError(trial)

    assert list(ahead(make, range(0))) == []


def test_one_chip_at_most_is_made_ahead() -> None:
    made: list[int] = []
    chips = ahead(lambda trial: made.append(trial), range(100))
    next(chips)
    chips.close()  # an interrupted campaign
    assert len(made) <= 3


def test_an_error_is_raised_after_the_chips_before_it() -> None:
    def make(trial: int) -> int:
        if trial == 2:
            raise ValueError("chip 2 cannot be drawn")
        return trial

    chips = ahead(make, range(9))
    assert [next(chips)[0] for _ in range(2)] == [0, 1]
    with pytest.raises(ValueError, match="chip 2"):
        next(chips)
