"""A sweep of codes that the file packs several to a byte counts what whole passes count."""

import numpy as np
import packed_twins
import pytest
import tiny_nets
from onnx import helper
from sweep_equality import assert_equal

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.engine.sweep.slices import Sparse


@pytest.mark.parametrize("kind", ["packed", "plain"])
@pytest.mark.parametrize("make", [packed_twins.products, packed_twins.tables])
def test_new_codes_are_packed_into_the_pieces_of_the_graph(make, kind, tmp_path):
    twins = make()
    path = tiny_nets.save(getattr(twins, kind), tmp_path / "net.onnx", twins.data)
    scorer = make_setting(path, "sram", None, Options(threads=1), torch_device="cpu").scorer
    scorer.set_golden()
    rng, size = np.random.default_rng(0), scorer.runner.model.site("codes").elements
    patches = [
        {"codes": Sparse(np.sort(rng.permutation(size)[:few]), rng.integers(0, 16, few).astype(np.uint8))}
        for few in (1, 1, 2, 5, 40)
    ]
    assert assert_equal(scorer, patches).spent.trials["layer"] == len(patches)


@pytest.mark.parametrize(
    ("kind", "level", "way"), [("packed", 1, "suffix"), ("packed", 4, "whole"), ("plain", 1, "whole")]
)
def test_the_rest_of_a_graph_holds_packed_codes_unless_activations_are_rounded(kind, level, way, tmp_path):
    twins = packed_twins.products()
    proto = getattr(twins, kind)
    for node in proto.graph.node:
        node.input[:] = ["front" if name == "x" else name for name in node.input]
        for attribute in node.attribute:
            attribute.i = level if attribute.name == "accuracy_level" else attribute.i
    proto.graph.node.insert(0, helper.make_node("Tanh", ["x"], ["front"], "front"))
    path = tiny_nets.save(proto, tmp_path / "net.onnx", twins.data)
    scorer = make_setting(path, "sram", None, Options(threads=1), torch_device="cpu").scorer
    scorer.set_golden()
    rng = np.random.default_rng(0)
    patches = [
        {
            "codes": Sparse(np.array([3, 200]), rng.integers(0, 16, 2).astype(np.uint8)),
            "head": Sparse(np.array([5]), np.array([1.5], np.float32)),
        }
        for _ in range(4)
    ]
    assert assert_equal(scorer, patches).spent.trials[way] == len(patches)
