"""Kept results are those of their content."""

import numpy as np
import pytest
from numpy.typing import NDArray

from faultsim.faults.recall import Recall, digest

Matrix = NDArray[np.float64]


def test_recalled_arrays_are_those_of_their_content() -> None:
    recall, made = Recall(80), []

    def square(x: Matrix) -> Matrix:
        def make() -> Matrix:
            made.append(x[0])
            return x**2

        return recall.get(digest(x), make)

    x = np.arange(5.0)
    for _ in range(2):
        np.testing.assert_array_equal(square(x), x**2)
    assert len(made) == 1
    x += 1  # changed in place: another content
    np.testing.assert_array_equal(square(x), x**2)
    square(x + 1)  # 120 bytes: the first one goes
    square(x - 1)
    assert len(made) == 4
    square(np.arange(50.0))  # more than fits is made and not kept
    square(x - 1)
    assert len(made) == 5
    with pytest.raises(ValueError, match="read-only"):
        square(x)[0] = 1.0


def test_digests_tell_shapes_types_and_values_apart() -> None:
    x = np.arange(6.0)
    parts = [(x,), (x.reshape(2, 3),), (x.astype(np.float32),), (x, 1), (x, 1.0), (x, "1"), (-x,)]
    assert len({digest(*part) for part in parts}) == len(parts)
