"""Branches and loops as torch scripts them."""

import numpy as np
import pytest
import torch
from exports import export
from torch import nn

from faultsim.model import check_agreement, load_model


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        if x.sum() > 0:  # noqa: SIM108  (a scripted branch, not an expression)
            y = self.left(x)
        else:
            y = self.right(x)
        return y


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(int(x.shape[0])):
            x = torch.tanh(self.step(x))
        return x


@pytest.mark.parametrize("make", [Branching, Looping])
@pytest.mark.parametrize("sign", [1, -1])
def test_scripted_control_flow(make, sign):
    torch.manual_seed(1)
    module = make().eval()
    scripted, example = torch.jit.script(module), torch.rand(3, 4) * sign
    proto = export(scripted, example)
    assert {"If", "Loop"} & {n.op_type for n in proto.graph.node}
    loaded = load_model(proto)
    with torch.no_grad():
        np.testing.assert_allclose(loaded.run({"x": example.numpy()})["y"], module(example).numpy(), atol=1e-6)
    found = check_agreement(loaded, {"x": example.numpy()})
    assert found.max_abs_difference <= found.tolerance
    weights = [s.name for s in loaded.sites if s.role == "weight"]
    assert len(weights) == (2 if make is Branching else 1)
    _, slopes = loaded.gradient({"x": example.numpy()}, lambda out: out["y"].square().mean(), sites=weights)
    assert sum(bool(np.any(g)) for g in slopes.values()) == 1
