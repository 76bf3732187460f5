"""Two classes in one output that is not finite: numbers as ever, and no warning on the terminal."""

import warnings

import numpy as np
import pytest

from faultsim.metrics.binary import two_classes


@pytest.mark.parametrize("probability", [False, True])
def test_outputs_that_are_not_finite_warn_of_nothing(probability: bool) -> None:
    outputs = np.array([[0.25], [np.inf], [-np.inf], [np.nan]], np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        both = two_classes(outputs, output_is_probability=probability)
    first = [0.75, -np.inf, np.inf, np.nan] if probability else [0, np.nan, np.nan, np.nan]
    np.testing.assert_array_equal(both, np.stack([np.array(first, np.float32), outputs[:, 0]], 1))
