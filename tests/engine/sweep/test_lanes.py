"""Tasks side by side: all run once, the longest first, a failed way told apart, anything else raised."""

import threading
import time

import pytest

from faultsim.engine.sweep.lanes import Counted, Task, in_lanes
from faultsim.engine.sweep.routes import Route
from faultsim.errors import ModelError


def task(number: int, cost: float, ran: list[int], *, fails: BaseException | None = None) -> Task:
    def run() -> Counted:
        ran.append(number)
        if fails is not None:
            raise fails
        return Counted(number, 1)

    return Task(cost, [(number, Route("whole"))], run)


@pytest.mark.parametrize("lanes", [1, 2, 5])
def test_every_task_runs_once(lanes: int) -> None:
    ran: list[int] = []
    found = {members[0][0]: counted for members, counted in in_lanes([task(i, i, ran) for i in range(20)], lanes)}
    assert found == {i: Counted(i, 1) for i in range(20)}
    assert sorted(ran) == list(range(20))
    assert ran[0] == 19


@pytest.mark.parametrize("lanes", [1, 3])
def test_a_failed_way_is_told_apart(lanes: int) -> None:
    ran: list[int] = []
    tasks = [task(i, 1, ran, fails=[ModelError("no"), MemoryError(), None][i % 3]) for i in range(9)]
    failed = sorted(members[0][0] for members, counted in in_lanes(tasks, lanes) if counted is None)
    assert failed == [i for i in range(9) if i % 3 != 2]


def test_what_is_no_failed_way_is_raised_and_the_rest_is_not_begun() -> None:
    ran: list[int] = []
    tasks = [task(0, 9, ran, fails=KeyboardInterrupt()), *(task(i, 1, ran) for i in range(1, 200))]
    for one in tasks[1:]:
        slow = one.run
        tasks[tasks.index(one)] = one._replace(run=lambda slow=slow: (time.sleep(0.01), slow())[1])
    with pytest.raises(KeyboardInterrupt):
        list(in_lanes(tasks, 2))
    assert len(ran) < 150


def test_lanes_run_at_the_same_time() -> None:
    both = threading.Barrier(2, timeout=20)

    def run() -> Counted:
        both.wait()
        return Counted()

    tasks = [Task(1, [(i, Route("whole"))], run) for i in range(2)]
    assert len(list(in_lanes(tasks, 2))) == 2  # alone, each would wait for the other until the barrier breaks
