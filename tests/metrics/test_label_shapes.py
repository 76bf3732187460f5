"""Labels go with outputs by their axes: as many numbers in another order are refused, not taken for wrong answers."""

import numpy as np
import pytest

from faultsim.errors import DataError
from faultsim.metrics import Regression, TokenClassification

RNG = np.random.default_rng(0)
SCORES = RNG.normal(size=(2, 5, 3, 4))
CLASSES = SCORES.argmax(axis=1)
VALUES = RNG.normal(size=(2, 3, 4))


@pytest.mark.parametrize("shape", [(2, 3, 4), (2, 1, 3, 4), (2, 3, 4, 1), (2, 12), (24,)])
def test_labels_of_the_same_axes_or_flat_are_taken(shape):
    assert TokenClassification(class_axis=1).judge(SCORES, CLASSES.reshape(shape)).correct.sum() == 24
    assert Regression().judge(VALUES, VALUES.reshape(shape)).loss.sum() == 0


def test_transposed_labels_are_refused():
    with pytest.raises(DataError, match=r"labels of shape \(2, 4, 3\) do not go with predictions of shape \(2, 3, 4\)"):
        TokenClassification(class_axis=1).judge(SCORES, CLASSES.transpose(0, 2, 1))
    with pytest.raises(DataError, match=r"labels of shape \(2, 4, 3\) .* do not go with outputs of shape \(2, 3, 4\)"):
        Regression().judge(VALUES, VALUES.transpose(0, 2, 1))
