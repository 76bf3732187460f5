"""How much is held at a time: with few moving numbers too, and whatever that is, the bounds are the same."""

import numpy as np
import pytest
import torch

from faultsim.certify import certify, reverse
from faultsim.constraints import LpL0, PerTensor
from faultsim.model import load_model
from tests.certify.nets import Builder, Case, logits, stored


def test_products_of_few_moving_numbers_are_held_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    net = Builder(rng)
    h = net.node("Relu", net.node("Gemm", "x", net.weight(30, 20, fan=30)))
    y = net.node("Gemm", h, net.weight(20, 10, fan=20))
    model = load_model(net.proto(y, ("N", 30), ("N", 10)))
    x = rng.standard_normal((4, 30))
    one = Case(model, stored(model), x, logits(model, {}, x).argmax(1))
    constraint = PerTensor({name: LpL0(2.0, 1e-3, n=100) for name in one.stored})
    made: list[int] = []
    plain = reverse._part

    def spied(*given) -> torch.Tensor:
        found = plain(*given)
        made.append(found.numel())
        return found

    monkeypatch.setattr(reverse, "_part", spied)
    whole = certify(one.model, one.stored, constraint, one.samples)
    assert max(made) > 4000
    made.clear()
    monkeypatch.setattr(reverse, "_CHUNK", 4000)
    parts = certify(one.model, one.stored, constraint, one.samples)
    assert max(made) <= 4000  # 2 samples, at most 20 x 30 products each: at most three directions
    assert parts.proven
    assert parts.loss_increase_upper == pytest.approx(whole.loss_increase_upper, rel=1e-9)
    assert parts.accuracy_lower == whole.accuracy_lower
