"""The clean model's outputs as targets: kept where they fit, computed again where they do not."""

import numpy as np
import pytest

from faultsim.engine.scored import scored_output
from faultsim.harden import target as module
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.metrics import Classification
from tests.harden.conftest import Arrays


@pytest.mark.parametrize("batch_size", [4, 5, 50])
def test_outputs_that_are_too_many_to_keep_give_the_same_loss(smooth, monkeypatch, batch_size):
    x = np.random.default_rng(0).normal(size=(13, 5))
    data = Samples(Arrays("x", x, None), np.arange(13)[::-1], smooth.inputs)
    rows = np.array([7, 0, 12])
    student = {name: 0.5 * array for name, array in smooth.numbers.items()}
    outputs = smooth.run({"x": x[::-1][rows]}, student)
    runs, losses = [], []
    original = type(smooth).run
    monkeypatch.setattr(type(smooth), "run", lambda self, *given, **named: runs.append(1) or original(self, *given))
    for most in (1 << 31, 13 * 3 * 4, 13 * 3 * 4 - 1):
        monkeypatch.setattr(module, "MOST_BYTES", most)
        target = Target(smooth, Classification(), scored_output(smooth), data, towards="clean", batch_size=batch_size)
        prepared = len(runs)
        inputs, loss = target.batch(rows)
        assert len(runs) - prepared == (1 if most < 13 * 3 * 4 else 0)
        assert np.array_equal(inputs["x"], x[::-1][rows])
        losses.append(float(loss({name: _tensor(one) for name, one in outputs.items()})))
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-6)


def _tensor(array):
    import torch

    return torch.from_numpy(np.asarray(array))
