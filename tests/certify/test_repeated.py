"""Stored tensors whose numbers a graph repeats: the bounds hold for every chip all the same."""

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from faultsim.certify import certify
from faultsim.constraints import Global, LpL0
from faultsim.corruption import Stored
from faultsim.model import load_model
from tests.tiny_nets import model

RNG = np.random.default_rng(3)
CASES = {
    "Expand": ([helper.make_node("Expand", ["w", "sizes"], ["many"])], {"sizes": np.array([64, 2])}, (1, 2)),
    "Tile": ([helper.make_node("Tile", ["w", "times"], ["many"])], {"times": np.array([64, 1])}, (1, 2)),
    "Gather": ([helper.make_node("Gather", ["w", "rows"], ["many"])], {"rows": np.arange(64) % 3}, (3, 2)),
}


@pytest.mark.parametrize("n", [None, 1])
@pytest.mark.parametrize("p", [1.0, 2.0, np.inf])
@pytest.mark.parametrize("name", sorted(CASES))
def test_a_repeated_number_is_bounded_with_all_that_it_does(name: str, p: float, n: int | None) -> None:
    nodes, constants, shape = CASES[name]
    found, loss = both(nodes, constants, shape, LpL0(p, 0.0015, n=n))
    assert found.proven
    assert loss <= found.loss_increase_upper <= 1.1 * loss + 1e-6


def both(nodes: list[NodeProto], constants: dict[str, np.ndarray], shape: tuple[int, ...], ball: LpL0):
    """A certificate, and the largest rise of the loss that one step along the gradient finds."""
    proto = model(
        [*nodes, helper.make_node("Gemm", ["x", "many"], ["y"])],
        {"w": (0.05 * RNG.standard_normal(shape)).astype(np.float64), **constants},
        inputs={"x": (TensorProto.DOUBLE, ("N", 64))},
        outputs={"y": (TensorProto.DOUBLE, ("N", 2))},
    )
    loaded = load_model(proto)
    site = loaded.site("w")
    numbers = loaded.numbers["w"]
    x, y = RNG.standard_normal((5, 64)) + 0.5, np.zeros(5, np.int64)
    whole = Global(("w",), ball)
    found = certify(loaded, {"w": Stored(site, site.format, numbers)}, whole, [({"x": x}, y)])

    def loss(w: np.ndarray) -> float:
        z = next(iter(loaded.run({"x": x}, {"w": w}).values()))
        return float(np.mean(np.logaddexp.reduce(z, 1) - z[:, 0]))

    slope = np.zeros(shape)
    for place in np.ndindex(shape):
        step = np.zeros(shape)
        step[place] = 1e-6
        slope[place] = (loss(numbers + step) - loss(numbers - step)) / 2e-6
    return found, loss(numbers + whole.argmax({"w": slope})["w"]) - loss(numbers)
