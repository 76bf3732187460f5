"""What cannot be proven is not: every refusal names the node, or the reason."""

import math
import re

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from faultsim.certify import Certificate, certify
from faultsim.constraints import Global, LpL0, PerTensor
from faultsim.corruption import Stored
from faultsim.formats import FloatFormat, IntFormat
from faultsim.model import load_model
from tests.certify.nets import stored
from tests.tiny_nets import ending, model, qonnx

X = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
Y = np.array([0, 1, 2, 3])


def tried(
    nodes: list[NodeProto], *, eps: float = 0.1, x: np.ndarray = X, roundoff: float = 2**-53, **constants: np.ndarray
) -> Certificate:
    """Certify ``h = x @ w`` and what *nodes* make of it."""
    w = np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)
    first = helper.make_node("MatMul", ["x", "w"], ["h"], "first")
    proto = model(
        [first, *nodes],
        {"w": w, **constants},
        inputs={"x": (TensorProto.FLOAT, ("N", 6))},
        outputs={"y": (TensorProto.FLOAT, None)},  # type: ignore[dict-item]
    )
    loaded = load_model(proto)
    site = loaded.site("w")
    held = {"w": Stored(site, site.format, loaded.numbers["w"])}
    return certify(loaded, held, Global(("w",), LpL0(2, eps)), [({"x": x}, Y[: len(x)])], roundoff=roundoff)


def node(op: str, *inputs: str, out: str = "y", **attributes: object) -> NodeProto:
    return helper.make_node(op, list(inputs), [out], "the_node", **attributes)


ONES = np.ones(4, np.float32)
CASES = [
    ([node("Sin", "h")], {}, r"'the_node' \(Sin\): no bound is known for this op"),
    ([node("Round", "h")], {}, r"'the_node' \(Round\): it rounds"),
    (
        [node("Transpose", "h", out="t", perm=[1, 0]), helper.make_node("Transpose", ["t"], ["y"])],
        {},
        "moves numbers between samples",
    ),
    ([node("Concat", "h", "h", axis=0)], {}, "moves numbers between samples"),
    ([node("ReduceMean", "h", axes=[0], keepdims=1)], {}, "couples the samples"),
    ([node("Div", "c", "h")], {"c": ONES}, "its divisor can move"),
    ([node("MatMul", "c", "h")], {"c": np.eye(4, dtype=np.float32)}, "do not keep the first axis"),
    ([node("Gemm", "h", "h", transB=1)], {}, "samples times a stored matrix"),
    ([node("PRelu", "h", "w")], {}, "'w' is used in a way that no bound is known for"),
    (
        [node("Cast", "h", out="i", to=TensorProto.INT64), node("Cast", "i", to=TensorProto.FLOAT)],
        {},
        "rounds to whole",
    ),
    ([node("Softmax", "h", out="s"), helper.make_node("Neg", ["s"], ["y"])], {}, r"\(Softmax\): no bound"),
    ([node("Reshape", "h", "c")], {"c": np.array([-1, 2, 2])}, "is no classification"),
    (
        [helper.make_node("BatchNormalization", ["h", *"oooo"], ["y", "m", "v"], "the_node", training_mode=1)],
        {"o": ONES},
        "statistics of the batch",
    ),
]


@pytest.mark.parametrize(("nodes", "constants", "why"), CASES, ids=[case[2][:24] for case in CASES])
def test_a_node_without_a_bound_is_named(nodes: list[NodeProto], constants: dict[str, np.ndarray], why: str) -> None:
    found = tried(nodes, **constants)
    assert not found.proven
    assert found.loss_increase_upper == math.inf
    assert found.accuracy_lower == 0
    assert re.search(why, found.why_not), found.why_not
    assert found.status == f"found, not proven: {found.why_not}"


def test_what_no_corruption_reaches_may_be_anything() -> None:
    proto = model(
        [
            helper.make_node("Sin", ["x"], ["s"], "sin"),
            helper.make_node("Round", ["s"], ["r"], "round"),
            helper.make_node("MatMul", ["r", "w"], ["y"], "product"),
        ],
        {"w": np.ones((6, 4), np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 6))},
        outputs={"y": (TensorProto.FLOAT, ("N", 4))},
    )
    loaded = load_model(proto)
    found = certify(loaded, stored(loaded), Global(("w",), LpL0(2, 0.1)), [({"x": X}, Y)])
    assert found.proven
    assert found.status == "proven"


def test_a_subgraph_is_refused() -> None:
    branch = helper.make_graph(
        [helper.make_node("Relu", ["h"], ["b"])],
        "branch",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, None)],
    )
    cond = np.array(True)
    found = tried([node("If", "c", then_branch=branch, else_branch=branch)], c=cond)
    assert "it runs a subgraph" in found.why_not


def test_quantized_networks_are_refused_with_the_reason() -> None:
    loaded = load_model(ending("QuantizeLinear", "DequantizeLinear"))
    found = certify(loaded, stored(loaded), Global(("w",), LpL0(2, 0.1)), [({"x": X}, Y)])
    assert (
        "(QuantizeLinear): it rounds: a corruption however small can move its output by a whole step" in found.why_not
    )
    loaded = load_model(qonnx())
    found = certify(loaded, stored(loaded), Global(("w",), LpL0(2, 0.1)), [({"x": X}, Y)])
    assert "(Quant): it rounds" in found.why_not


def test_numbers_stored_as_codes_are_refused() -> None:
    loaded = load_model(ending("Relu"))
    site = loaded.site("w")
    held = {"w": Stored(site, IntFormat(8, scale=0.1), loaded.numbers["w"])}
    found = certify(loaded, held, Global(("w",), LpL0(2, 0.1)), [({"x": X}, Y)])
    assert "rounded to a code" in found.why_not


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float8_e4m3fn"])
def test_numbers_stored_in_narrow_floats_are_refused(kind: str) -> None:
    loaded = load_model(ending("Relu"))
    held = {"w": Stored(loaded.site("w"), FloatFormat(kind), loaded.numbers["w"])}
    assert "rounded to a code" in certify(loaded, held, Global(("w",), LpL0(2, 0.1)), [({"x": X}, Y)]).why_not


def test_narrow_arithmetic_is_refused_where_its_rounding_is_to_be_covered() -> None:
    half = helper.make_node("Cast", ["h"], ["half"], "the_cast", to=TensorProto.FLOAT16)
    back = helper.make_node("Cast", ["half"], ["y"], to=TensorProto.FLOAT)
    proto = model(
        [helper.make_node("MatMul", ["x", "w"], ["h"]), half, back],
        {"w": np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 6))},
        outputs={"y": (TensorProto.FLOAT, None)},  # type: ignore[dict-item]
    )
    loaded = load_model(proto)
    site = loaded.site("w")
    held = {"w": Stored(site, site.format, loaded.numbers["w"])}
    asked = (loaded, held, Global(("w",), LpL0(2, 1e-3)), [({"x": X}, Y)])
    assert "'the_cast' (Cast): it computes in float16" in certify(*asked, roundoff=2**-24).why_not
    assert certify(*asked).proven


def test_what_lies_before_the_first_corrupted_number_is_computed_as_it_is_deployed() -> None:
    """``(x + 1e8) - 1e8`` is 0 or 8 in float32: in float64 the sample would be right by far."""
    shift = [helper.make_node("Add", ["x", "big"], ["a"]), helper.make_node("Sub", ["a", "big"], ["b"])]
    proto = model(
        [*shift, helper.make_node("MatMul", ["b", "w"], ["y"])],
        {"big": np.float32(1e8), "w": np.array([[1, -1]], np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 1))},
        outputs={"y": (TensorProto.FLOAT, None)},  # type: ignore[dict-item]
    )
    loaded = load_model(proto)
    x, y = np.array([[3.0], [5.0]], np.float32), np.array([0, 0])
    site = loaded.site("w")
    held = {"w": Stored(site, site.format, loaded.numbers["w"])}
    deployed = next(iter(loaded.run({"x": x}).values()))
    assert deployed[:, 0].tolist() == [0, 8]
    asked = (loaded, held, Global(("w",), LpL0(2, 1e-3)), [({"x": x}, y)])
    assert certify(*asked, roundoff=2**-24).stable.tolist() == [False, True]
    assert certify(*asked).stable.tolist() == [True, True]


def test_sets_data_and_labels_that_do_not_fit_are_refused() -> None:
    loaded = load_model(ending("Relu"))
    held = stored(loaded)
    whole = Global(("w",), LpL0(2, 0.1))
    assert "there are no samples" in certify(loaded, held, whole, []).why_not
    assert "tensor 'v' of the set is not stored" in certify(loaded, held, Global(("v",), LpL0(2, 1)), []).why_not
    beyond = certify(loaded, held, whole, [({"x": X}, Y + 4)])
    assert "a label lies outside of the 4 classes" in beyond.why_not
    wrong = PerTensor({"w": LpL0(2, 0.1, scale=np.ones(5))})
    assert "scale of the set has shape (5,)" in certify(loaded, held, wrong, []).why_not
    infinite = certify(loaded, held, whole, [({"x": X * np.float32(np.inf)}, Y)])
    assert "not finite" in infinite.why_not
    dear = certify(loaded, held, whole, [({"x": X}, Y)], effort=0)
    assert "more than 100 times the effort" in dear.why_not
    huge = certify(loaded, held, Global(("w",), LpL0(2, 1e308)), [({"x": X * np.float32(1e3)}, Y)])
    assert "so large that the bounds overflow" in huge.why_not


def test_a_variance_that_may_become_negative_is_refused() -> None:
    proto = model(
        [helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["y"], "norm")],
        {"s": np.ones(6), "b": np.zeros(6), "m": np.zeros(6), "v": np.full(6, 0.05)},
        inputs={"x": (TensorProto.DOUBLE, ("N", 6))},
        outputs={"y": (TensorProto.DOUBLE, ("N", 6))},
    )
    loaded = load_model(proto)
    held = {s.name: Stored(s, s.format, loaded.numbers[s.name]) for s in loaded.sites}
    samples = [({"x": X.astype(np.float64)}, Y)]
    assert certify(loaded, held, Global(("v",), LpL0(2, 0.04)), samples).proven
    found = certify(loaded, held, Global(("v",), LpL0(2, 0.06)), samples)
    assert "make a variance negative" in found.why_not
    assert certify(loaded, held, Global(("s", "b", "m"), LpL0(2, 0.06)), samples).proven


def test_a_distribution_over_the_samples_is_refused() -> None:
    """As many samples as classes: the axes look alike."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Softmax", ["h"], ["y"], "ends", axis=0)]
    loaded = load_model(
        model(
            nodes,
            {"w": np.random.default_rng(1).standard_normal((6, 4)).astype(np.float32)},
            inputs={"x": (TensorProto.FLOAT, ("N", 6))},
            outputs={"y": (TensorProto.FLOAT, ("N", 4))},
        )
    )
    found = certify(loaded, stored(loaded), Global(("w",), LpL0(2, 1e-3)), [({"x": X}, Y)], probabilities=True)
    assert "'ends' (Softmax): its distributions lie along the samples' axis" in found.why_not


def test_a_number_to_pad_with_that_may_move_is_refused() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Pad", ["h", "around", "by"], ["y"], "pad"),
    ]
    loaded = load_model(
        model(
            nodes,
            {"w": np.ones((6, 3), np.float32), "around": np.array([0, 0, 0, 1]), "by": np.float32(0.5)},
            inputs={"x": (TensorProto.FLOAT, ("N", 6))},
            outputs={"y": (TensorProto.FLOAT, ("N", 4))},
        )
    )
    held = {name: Stored(loaded.site(name), loaded.site(name).format, loaded.numbers[name]) for name in ("w", "by")}
    samples = [({"x": X}, Y)]
    assert certify(loaded, held, Global(("w",), LpL0(2, 1e-3)), samples).proven
    found = certify(loaded, held, Global(("w", "by"), LpL0(2, 1e-3)), samples)
    assert "'pad' (Pad): the parameter 'by' is used in a way" in found.why_not


@pytest.mark.parametrize(("eps", "size", "where"), [(4e38, 1e-9, "tensor 'w'"), (1e19, 1e20, "'first'")])
def test_a_set_that_may_overflow_float32_is_not_proven(eps: float, size: float, where: str) -> None:
    """In float64 nothing overflows; the deployed network would give infinities, where no bound holds."""
    exact, rounded = (tried([node("Relu", "h")], eps=eps, x=X * np.float32(size), roundoff=r) for r in (2**-53, 2**-24))
    assert exact.proven, exact.why_not
    assert not rounded.proven
    assert where in rounded.why_not
    assert "near what float32 holds or beyond" in rounded.why_not
