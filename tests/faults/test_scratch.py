"""Work arrays: reused on a thread, never shared between threads, bounded."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np

from faultsim.faults.scratch import Scratch


def test_an_array_is_taken_again_in_any_shape_and_type() -> None:
    work = Scratch()
    first = work.take("a", (4, 8))
    assert first.shape == (4, 8)
    assert first.dtype == np.float32
    again = work.take("a", (2, 8), np.complex64)
    assert again.dtype == np.complex64
    assert again.flags.c_contiguous
    assert np.shares_memory(first, again)
    larger = work.take("a", (100, 100))
    assert not np.shares_memory(first, larger)
    assert not np.shares_memory(larger, work.take("b", (100, 100)))
    assert work.take("a", (0, 3)).shape == (0, 3)


def test_large_arrays_are_not_kept() -> None:
    work = Scratch(most_bytes=1000)
    assert not np.shares_memory(work.take("a", (251,)), work.take("a", (251,)))
    assert np.shares_memory(work.take("a", (250,)), work.take("a", (250,)))


def test_threads_have_arrays_of_their_own() -> None:
    work, both = Scratch(), Barrier(2)

    def fill(number: float) -> bool:
        mine = work.take("a", (1000,))
        mine[:] = number
        both.wait(timeout=10)
        return bool(np.all(mine == number))

    with ThreadPoolExecutor(2) as pool:
        assert all(pool.map(fill, (1.0, 2.0)))
