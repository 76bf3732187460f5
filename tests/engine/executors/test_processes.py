"""`Processes`: every chunk is answered once, whoever dies; refusals and bugs come back as such."""

import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # work.py lies beside; spawned processes get this path

from work import Squares

from faultsim.engine.executors import Inline, Processes, WorkerError
from faultsim.errors import OptionError

EVERY = tuple(range(99))
CHUNKS = [tuple(range(i, i + 3)) for i in range(0, 30, 3)]


def answers(executor: Any) -> dict[tuple[int, ...], list[int]]:
    with executor:
        return dict(executor.map(CHUNKS))


WANTED = {chunk: [one * one for one in chunk] for chunk in CHUNKS}


def test_in_this_process_chunks_are_answered_in_order(tmp_path: Path) -> None:
    with Inline(Squares(str(tmp_path))()) as executor:
        assert list(executor.map(CHUNKS)) == list(WANTED.items())


def test_processes_give_the_same_answers_and_load_once_each(tmp_path: Path) -> None:
    with Processes(Squares(str(tmp_path)), 2) as executor:
        assert dict(executor.map(CHUNKS)) == WANTED
        assert dict(executor.map(CHUNKS)) == WANTED
    loads, processes = (len(list(tmp_path.glob(f"{name}-*"))) for name in ("load", "loaded"))
    assert loads == processes in (1, 2)  # one can be done before the other is ready


def test_a_map_can_follow_another(tmp_path: Path) -> None:
    with Processes(Squares(str(tmp_path)), 2) as executor:
        assert dict(executor.map(CHUNKS[:4])) | dict(executor.map(CHUNKS[4:])) == WANTED
    assert executor.deaths == 0


@pytest.mark.parametrize("deaths", [1, 3])
def test_a_chunk_whose_process_dies_is_given_to_another(tmp_path: Path, deaths: int) -> None:
    executor = Processes(Squares(str(tmp_path), deadly=13, deaths=deaths), 2)
    assert answers(executor) == WANTED
    assert executor.deaths == deaths


def test_a_chunk_that_kills_every_process_is_given_up(tmp_path: Path) -> None:
    executor = Processes(Squares(str(tmp_path), deadly=13, deaths=99), 2)
    with pytest.raises(WorkerError, match=r"4 workers died on trials 12 … 14 \(signal 9\)"):
        answers(executor)


@pytest.mark.parametrize("workers", [1, 2])
def test_processes_that_cannot_start_are_said_to_be_just_that(tmp_path: Path, workers: int) -> None:
    executor = Processes(Squares(str(tmp_path), dies_loading=EVERY), workers)
    with pytest.raises(
        WorkerError, match=r"^no worker process can start \(signal 9\); run with --workers 1 to see why$"
    ):
        answers(executor)
    assert executor.deaths == 4 * workers


def test_where_some_processes_start_the_error_says_how_many(tmp_path: Path) -> None:
    wanted = (
        r"^8 worker processes in a row died before they were ready \(signal 9\).* the same command with --workers 1$"
    )
    with pytest.raises(WorkerError, match=wanted):
        answers(Processes(Squares(str(tmp_path), dies_loading=EVERY[1:], waits=True), 2))


def test_a_death_before_a_process_is_ready_is_held_against_no_chunk(tmp_path: Path) -> None:
    executor = Processes(Squares(str(tmp_path), deadly=13, deaths=3, dies_loading=(0, 1, 2)), 1)
    assert answers(executor) == WANTED
    assert executor.deaths == 6


def test_a_refusal_comes_back_as_what_it_was(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"^no such trial$"):
        answers(Processes(Squares(str(tmp_path), refused=4), 2))


def test_a_bug_comes_back_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)a worker process failed.*work\.py.*a bug"):
        answers(Processes(Squares(str(tmp_path), broken=4), 1))


def test_nothing_to_do_is_done_at_once(tmp_path: Path) -> None:
    with Processes(Squares(str(tmp_path)), 1) as executor:
        assert list(executor.map([])) == []
