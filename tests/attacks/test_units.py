"""Radii of integer codes: measured in real units where those are known, refused where they are not."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets
from linear import QUICK, attacked, numbers, runtime_score
from onnx import ModelProto, TensorProto, helper, numpy_helper

import faultsim
from faultsim.attacks import Ball, ProbeOptions, Search
from faultsim.errors import OptionError

SHORT = Search(gradients=4, trials=3, certify=False)
FLOAT = TensorProto.FLOAT


def integer_product() -> ModelProto:
    """``x`` quantized on the fly, times integer codes; their step meets the product only after."""
    rng = np.random.default_rng(0)
    weights = {
        "codes": rng.integers(-127, 128, size=(6, 4)).astype(np.int8),
        "zero": np.array(0, np.int8),
        "step": np.array(0.01, np.float32),
    }
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["xq", "xs", "xz"], "quantize"),
        helper.make_node("MatMulInteger", ["xq", "codes", "xz", "zero"], ["sums"], "product"),
        helper.make_node("Cast", ["sums"], ["wide"], "cast", to=FLOAT),
        helper.make_node("Mul", ["xs", "step"], ["s"], "steps"),
        helper.make_node("Mul", ["wide", "s"], ["y"], "scale"),
    ]
    return tiny_nets.model(nodes, weights, inputs={"x": (FLOAT, ("N", 6))}, outputs={"y": (FLOAT, ("N", 4))})


def packed_product() -> ModelProto:
    """Blocks of 16 codes, two a byte (com.microsoft MatMulNBits), after a float layer."""
    rng = np.random.default_rng(1)
    weights = {
        "first": rng.normal(size=(6, 16)).astype(np.float32),
        "bytes": rng.integers(0, 256, size=(4, 1, 8)).astype(np.uint8),
        "steps": np.full(4, 0.1, np.float32),
    }
    given = {"K": 16, "N": 4, "bits": 4, "block_size": 16}
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["h"], "float"),
        helper.make_node("MatMulNBits", ["h", "bytes", "steps"], ["y"], "packed", domain="com.microsoft", **given),
    ]
    shapes = {"inputs": {"x": (FLOAT, ("N", 6))}, "outputs": {"y": (FLOAT, ("N", 4))}}
    return tiny_nets.model(nodes, weights, **shapes, domains=["com.microsoft"])


@pytest.mark.parametrize("ball", [Ball(eps=0.3), Ball(eps=30.0, scope="global")])
def test_codes_of_an_untold_step_are_refused_and_not_left_where_they_are(tmp_path: Path, ball: Ball) -> None:
    said = (
        "codes holds int8 codes whose step the graph does not tell.*give one of each tensor.*rel:0.1.*--exclude codes"
    )
    with pytest.raises(OptionError, match=said):
        attacked(tmp_path, integer_product(), tiny_nets.samples(40), ball=ball, roles=("weight",), search=SHORT)


@pytest.mark.parametrize("relative", ["rms", "norm"])
def test_a_relative_radius_moves_them(tmp_path: Path, relative) -> None:
    ball = Ball(eps=0.5, relative=relative)
    given = {"ball": ball, "roles": ("weight",), "search": SHORT, "write": tmp_path / "worst.onnx"}
    result = attacked(tmp_path, integer_product(), tiny_nets.samples(40), **given)
    clean = {t.name: numpy_helper.to_array(t) for t in integer_product().graph.initializer}["codes"].astype(float)
    moved = faultsim.load_model(tmp_path / "worst.onnx").numbers["codes"].astype(float) - clean
    size = np.linalg.norm(clean) if relative == "norm" else np.sqrt(np.mean(clean**2))
    assert 0 < np.linalg.norm(moved) <= 0.5 * size + np.sqrt(clean.size) / 2  # and at most half a code for each
    assert result.largest.loss_change > 0


def test_bytes_of_several_codes_that_an_op_moves_have_no_radius_and_bits(tmp_path: Path) -> None:
    data, proto = tiny_nets.samples(40), packed_product()
    proto.graph.node[1].input[1] = "moved"
    proto.graph.node.insert(0, helper.make_node("Identity", ["bytes"], ["moved"], "move"))
    for ball in (Ball(eps=0.3), Ball(eps=0.3, relative="rms")):
        with pytest.raises(OptionError, match=r"bytes holds several codes a byte.*use --bits, or leave it out"):
            attacked(tmp_path, proto, data, ball=ball, search=SHORT)
    options = replace(QUICK, exclude=("bytes",))
    assert attacked(tmp_path, proto, data, ball=Ball(eps=0.3), search=SHORT, options=options).worst
    how = ProbeOptions(radii=(0.1,), removed=(0.5,), draws=2)
    result = faultsim.probe(tmp_path / "net.onnx", how=how, options=QUICK)
    modes = {part.name: {cell.mode for cell in part.cells} for part in result.parts if part.group == "layer"}
    assert modes["float"] == {"gradient", "random", "weights", "units"}
    assert not modes.get("packed")  # a byte of 0 is two codes of -8 steps, and no weight that is gone


def test_packed_codes_are_measured_as_the_weights_that_they_are(tmp_path: Path) -> None:
    data, proto = tiny_nets.samples(40), packed_product()
    given = {"ball": Ball(eps=0.3), "roles": ("weight",), "search": SHORT, "write": tmp_path / "worst.onnx"}
    result = attacked(tmp_path, proto, data, options=replace(QUICK, exclude=("first",)), **given)
    before, after = (numbers(p)["bytes"] for p in (proto, onnx.load(tmp_path / "worst.onnx")))
    moved = [(after >> shift & 15).astype(float) - (before >> shift & 15) for shift in (0, 4)]
    size = 0.1 * np.sqrt(sum(np.square(part).sum() for part in moved))  # a step is 0.1
    assert 0 < size <= 0.3 + 0.1 * np.sqrt(64) / 2
    change = runtime_score(tmp_path / "worst.onnx", data)[1] - runtime_score(proto, data)[1]
    assert change == pytest.approx(result.worst.loss_change, rel=1e-4)
    probed = faultsim.probe(
        tmp_path / "net.onnx", how=ProbeOptions(radii=(0.1,), removed=(0.5,), draws=2), options=QUICK
    )
    modes = {part.name: {cell.mode for cell in part.cells} for part in probed.parts if part.group == "layer"}
    assert modes["packed"] == {"gradient", "random", "weights", "units"}


def test_a_radius_that_measures_nothing_is_refused_before_anything_is_measured(tmp_path: Path) -> None:
    path = tiny_nets.save(integer_product(), tmp_path / "net.onnx", tiny_nets.samples(40))
    seen: list[str] = []
    with pytest.raises(OptionError, match="codes holds int8 codes whose step the graph does not tell"):
        faultsim.probe(path, how=ProbeOptions(relative="none", draws=2), options=QUICK, roles=("weight",),
                       progress=lambda phase, done, total: seen.append(phase))  # fmt: skip
    assert "probe" not in seen
