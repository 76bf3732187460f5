"""Cached sums of the blocks that stay clean change no bit: against whole passes, and against the whole convolution."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sweep_equality import Arrays, assert_equal, in_channel, odd, on_noise, one_site, ready
from test_deployed_models import fed

from faultsim.engine.sweep.cut import Cut
from faultsim.engine.sweep.sums import Summed
from faultsim.engine.sweep.twin import optimised
from faultsim.metrics import Classification
from faultsim.model import load_model

SAMPLES = 24


@pytest.fixture
def used(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Collect the block of every pass that went over sums."""
    blocks: list[int] = []
    plain = Summed.finish

    def counted(self: Summed, held: NDArray[Any], number: int) -> NDArray[Any]:
        blocks.append(number)
        return plain(self, held, number)

    monkeypatch.setattr(Summed, "finish", counted)
    return blocks


def network(path: Path, *, relu: bool, bias: bool, residual: bool, stride: int = 1, kernel: int = 3) -> Path:
    """Write 3 → 48 → 48 → 48 channels and a dense layer, the second convolution being the one that is cut."""
    rng = np.random.default_rng(7)
    stored: list[TensorProto] = []

    def keep(name: str, *shape: int, scale: float = 0.1) -> str:
        stored.append(numpy_helper.from_array(rng.normal(0, scale, shape).astype(np.float32), name))
        return name

    def conv(name: str, source: str, ins: int, k: int, **given: Any) -> Any:
        named = [source, keep(f"{name}.w", 48, ins, k, k), *([keep(f"{name}.b", 48)] if bias else [])]
        return helper.make_node("Conv", named, [name], kernel_shape=[k, k], pads=[k // 2] * 4, **given)

    nodes = [conv("first", "x", 3, 3), helper.make_node("Relu", ["first"], ["a"])]
    nodes.append(conv("second", "a", 48, kernel, strides=[stride, stride]))
    last = "second"
    if relu:
        nodes.append(helper.make_node("Relu", [last], ["b"]))
        last = "b"
    nodes.append(conv("third", last, 48, 3))
    last = "third"
    if residual:
        nodes.append(helper.make_node("Add", [last, "a"], ["sum"]))
        nodes.append(helper.make_node("Relu", ["sum"], ["c"]))
        last = "c"
    nodes.append(helper.make_node("GlobalAveragePool", [last], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    nodes.append(helper.make_node("Gemm", ["flat", keep("dense", 48, 5)], ["y"]))
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 9, 9])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        stored,
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    if not any(node.domain == "com.microsoft.nchwc" for node in optimised(onnx.load(path), 1).graph.node):
        pytest.skip("onnxruntime keeps no blocks of channels on this processor")
    return path


@pytest.mark.parametrize(
    "shape",
    [
        {"relu": True, "bias": True, "residual": False},
        {"relu": True, "bias": True, "residual": True},
        {"relu": False, "bias": False, "residual": True},
        {"relu": True, "bias": True, "residual": False, "stride": 2},
    ],
    ids=["plain", "residual", "bare", "strided"],
)
def test_counts_are_those_of_whole_passes(tmp_path: Path, used: list[int], shape: dict[str, Any]) -> None:
    model = load_model(network(tmp_path / "net.onnx", **shape))
    scorer = on_noise(model, SAMPLES, 3, batch_size=10)
    rng = np.random.default_rng(11)
    patches = [in_channel(model, site, rng) for site in ("first.w", "second.w") for _ in range(12)]
    patches += [odd(model, site, rng) for site in ("first.w", "second.w") for _ in range(6)]
    patches += [one_site(model, site, rng) for site in ("first.w", "second.w") for _ in range(6)]
    sweep = assert_equal(scorer, patches)
    assert sweep.spent.trials["slice"] > 30
    assert len(set(used)) >= 3  # there are three blocks of 16 channels, or six of 8
    assert len(used) > 20


def test_a_layer_that_adds_up_otherwise_is_left_alone(tmp_path: Path, used: list[int], monkeypatch: Any) -> None:
    """Weights of the wrong blocks give other sums; the layer is then computed as a whole, and the counts stay right."""
    turned = Cut.weight

    def wrong(self: Cut, number: int) -> NDArray[Any]:
        return turned(self, (number + 1) % self.count)

    monkeypatch.setattr(Cut, "weight", wrong)
    model = load_model(network(tmp_path / "net.onnx", relu=True, bias=True, residual=True))
    scorer = on_noise(model, SAMPLES, 3, batch_size=12)
    rng = np.random.default_rng(5)
    assert_equal(scorer, [in_channel(model, "first.w", rng) for _ in range(12)])
    assert not used


def test_too_little_memory_leaves_the_sums_out(tmp_path: Path, used: list[int]) -> None:
    model = load_model(network(tmp_path / "net.onnx", relu=True, bias=True, residual=False))
    scorer = on_noise(model, SAMPLES, 3, batch_size=12)
    rng = np.random.default_rng(5)
    assert_equal(scorer, [in_channel(model, "first.w", rng) for _ in range(8)], memory_bytes=1 << 20)
    assert used == [0]  # the check alone


@pytest.mark.shared
def test_on_resnet20(shared: Path, used: list[int]) -> None:
    model = load_model(shared / "data/cifar10_models/resnet20_cifar10_bn.onnx")
    pixels, labels = fed("resnet20", shared, 40)
    inputs = {model.inputs[0].name: pixels}
    one = ready(model, Arrays(inputs, labels.astype(np.int64)), 20, Classification())
    rng = np.random.default_rng(1)
    sites = [s.name for s in model.select(("weight",)) if "layer3" in s.name or "layer2.1" in s.name]
    assert_equal(one, [in_channel(model, site, rng) for site in sites for _ in range(5)])
    assert len(used) > 40
