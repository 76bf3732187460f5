"""Noise-aware training on chips of which some cannot be computed."""

import math

import numpy as np
import pytest
import torch

from faultsim.device import load_device
from faultsim.harden.noise import NoiseAware
from tests.harden.conftest import batch_of


def test_chips_that_cannot_be_computed_are_left_out_of_the_mean(smooth, points, monkeypatch):
    x, y = points
    loss = NoiseAware(device=load_device("reram"), alpha=0.25, chips=3)
    whole = batch_of(smooth, x, y)
    chips, at = [], whole.at
    monkeypatch.setattr(whole, "at", lambda deltas, **how: chips.append(at(deltas, **how)) or chips[-1])
    loss.share(whole)
    lost = chips[0]._replace(loss=math.nan), chips[1]._replace(grads={"w1": torch.tensor([math.inf])}), chips[2]
    for answers, left in ((lost, chips[2:]), ((*chips[:2], lost[0]), chips[:2]), (lost[:1] * 3, [])):
        batch, waiting = batch_of(smooth, x, y), iter(answers)
        monkeypatch.setattr(batch, "at", lambda deltas, waiting=waiting, **how: next(waiting))
        share = loss.share(batch)
        assert batch.dropped == 3 - len(left)
        assert share.clean == (-0.25 if left else 0.0)
        assert share.loss == pytest.approx(0.25 * np.mean([one.loss for one in left]) if left else 0.0)
        assert set(share.grads) == (set(chips[2].grads) if left else set())
        for name, grad in share.grads.items():
            mean = torch.stack([one.grads[name] for one in left]).mean(0)
            assert grad.numpy() == pytest.approx(0.25 * mean.numpy())
