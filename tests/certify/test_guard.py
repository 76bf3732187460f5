"""A rule that is wrong proves nothing: fault-free outputs are held to the deployed network's."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from faultsim.certify import Certificate, certify
from faultsim.certify.rules import RULES, Compute
from faultsim.certify.tape import Tape
from faultsim.constraints import Global, LpL0
from faultsim.corruption import Stored
from faultsim.model import Model, load_model
from faultsim.model.nodes import Node
from tests.certify.nets import stored
from tests.tiny_nets import model

X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)


def net(end: str = "", classes: int = 4) -> Model:
    rng = np.random.default_rng(1)
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"], "first"),
        helper.make_node("LeakyRelu", ["h"], ["r"], "bend", alpha=0.25),
        helper.make_node("MatMul", ["r", "v"], ["z" if end else "y"], "last"),
    ]
    nodes += [helper.make_node(end, ["z"], ["y"], "end")] if end else []
    arrays = {"w": rng.standard_normal((3, 6)), "b": rng.standard_normal(6), "v": rng.standard_normal((6, classes))}
    return load_model(
        model(
            nodes,
            {name: array.astype(np.float32) for name, array in arrays.items()},
            inputs={"x": (TensorProto.FLOAT, ("N", 3))},
            outputs={"y": (TensorProto.FLOAT, ("N", classes))},
        )
    )


def certified(one: Model, **given: Any) -> Certificate:
    return certify(one, stored(one), Global(("w", "b", "v"), LpL0(2, 1e-3)), [({"x": X}, np.zeros(5, int))], **given)


def wrong_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule of LeakyRelu that takes another slope, and is sound for that one."""
    right = RULES["LeakyRelu"]

    def other(tape: Tape, node: Node, arguments: list[Any], compute: Compute) -> list[Any]:
        def bent(given: list[Any]) -> list[Any]:
            return [given[0].clamp(min=0) + 0.2 * given[0].clamp(max=0)]

        return right(tape, node, arguments, bent)

    monkeypatch.setitem(RULES, "LeakyRelu", other)


@pytest.mark.parametrize("roundoff", [2.0**-24, 2.0**-53])
@pytest.mark.parametrize(
    ("end", "classes"), [("", 4), ("", 1), ("Softmax", 4), ("LogSoftmax", 4), ("Sigmoid", 1), ("", 2)]
)
def test_a_rule_that_bounds_another_network_proves_nothing(
    end: str, classes: int, roundoff: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, given = net(end, classes), {"roundoff": roundoff, "probabilities": end in ("Softmax", "Sigmoid")}
    right = certified(one, **given)
    assert right.proven, right.why_not
    wrong_rule(monkeypatch)
    found = certified(one, **given)
    assert not found.proven
    assert found.accuracy_lower == 0
    assert "away from the deployed one's" in found.why_not


def test_the_deployed_network_can_be_given() -> None:
    one = net()
    rows = one.run({"x": X})["y"]
    assert certified(one, deployed=lambda feeds: rows, roundoff=2.0**-24).proven
    off = certified(one, deployed=lambda feeds: rows * np.float32(1.01), roundoff=2.0**-24)
    assert "away from the deployed one's, and rounding allows" in off.why_not
    nan = certified(one, deployed=lambda feeds: rows + np.float32(np.nan), roundoff=2.0**-24)
    assert not nan.proven


def test_a_class_that_cannot_change_is_the_deployed_one() -> None:
    """Two logits that lie closer than the outputs may part, and further than the set can move them."""
    logits = np.array([[1000.0, 999.99]])
    one = load_model(
        model(
            [helper.make_node("Add", ["x", "b"], ["y"], "sum")],
            {"b": np.zeros(2)},
            inputs={"x": (TensorProto.DOUBLE, ("N", 2))},
            outputs={"y": (TensorProto.DOUBLE, ("N", 2))},
        )
    )
    held = {"b": Stored(one.site("b"), one.site("b").format, one.numbers["b"])}
    asked = (one, held, Global(("b",), LpL0(2, 1e-5)), [({"x": logits}, np.zeros(1, int))])
    found = certify(*asked, roundoff=2.0**-24)
    assert found.stable.tolist() == [True]
    swapped = certify(*asked, roundoff=2.0**-24, deployed=lambda feeds: feeds["x"][:, ::-1])
    assert "1 samples whose class is bounded not to change have another one" in swapped.why_not
