"""The worst bits and the protection against brute force, and maps of every number format."""

from itertools import combinations, pairwise

import ml_dtypes
import numpy as np
import pytest
import tiny_nets
from onnx import TensorProto, helper, numpy_helper
from screen_nets import stored_of

from faultsim.campaign.storage import deployed_storage
from faultsim.engine.screen.advice import advise, worst_bits
from faultsim.engine.screen.bitmap import Flip, MapOptions, bit_map, patch_of
from faultsim.engine.screen.map_audit import audit
from faultsim.engine.sweep.sweep import Sweep


def quiet(*told):
    """Tell nobody."""


@pytest.fixture
def mapped(tiny):
    one = tiny()
    sweep = Sweep(one)
    sites = bit_map(one, stored_of(one.runner.model), sweep, MapOptions(elements=60), quiet)
    return one, sweep, sites, audit(sites, sweep, flips=60, seed=0)


def test_steps_protect_as_few_bits_as_can_take_the_damage_away(mapped):
    _, _, sites, found = mapped
    steps = advise(sites, found, level=0.9, targets=(0.5, 0.9, 0.99, 1.0))
    total = sum(float(one.bits.sum()) * one.stored.site.elements for one in sites)
    stored = sum(one.stored.site.elements * 32 for one in sites)
    for step in steps:
        removed = sum(float(sites[i].bits[bit]) * sites[i].stored.site.elements for i, bit in step.bits)
        words = [sites[i].stored.site.elements for i, _ in step.bits]
        assert step.removed == pytest.approx(removed / total)
        assert step.stored == pytest.approx(sum(words) / stored)
        assert step.removed >= step.target - 1e-6
        last = step.bits[-1]
        without = removed - float(sites[last[0]].bits[last[1]]) * sites[last[0]].stored.site.elements
        assert without / total < step.target  # none of them is to spare
        means = [float(sites[i].bits[bit]) for i, bit in step.bits]
        others = [float(m) for i, s in enumerate(sites) for b, m in enumerate(s.bits) if (i, b) not in step.bits]
        assert min(means) >= max(others)
    assert [set(a.bits) <= set(b.bits) for a, b in pairwise(steps)] == [True] * (len(steps) - 1)
    assert steps[-1].left.best <= found.total.best
    assert steps[0].left.low <= steps[0].left.best <= steps[0].left.high


def test_no_other_bits_of_as_many_take_more_away(tiny):
    one = tiny()
    stored = {n: s for n, s in stored_of(one.runner.model).items() if n == "first.bias"}
    sweep = Sweep(one)
    sites = bit_map(one, stored, sweep, MapOptions(), quiet)
    (step,) = advise(sites, audit(sites, sweep, flips=64, seed=0), level=0.9, targets=(0.6,))
    bits = sites[0].bits
    best = max(sum(bits[list(some)]) for some in combinations(range(20, 32), len(step.bits)))
    assert sum(bits[bit] for _, bit in step.bits) == pytest.approx(best)


def test_what_is_left_is_the_truth_where_every_flip_is_audited(mapped):
    one, sweep, _, _ = mapped
    stored = {n: s for n, s in stored_of(one.runner.model).items() if n == "first.bias"}
    sites = bit_map(one, stored, sweep, MapOptions(), quiet)
    flips = [Flip(0, p, b) for b in range(32) for p in range(6)]
    truth = np.array([t.counts.mismatch for t in sweep.score([patch_of(sites, f) for f in flips])]) / len(one.data)
    (step,) = advise(sites, audit(sites, sweep, flips=len(flips), seed=0), level=0.9, targets=(0.7,))
    kept = [value for flip, value in zip(flips, truth, strict=True) if (0, flip.bit) not in step.bits]
    assert step.left.best == pytest.approx(sum(kept) / len(flips), abs=1e-6)
    assert step.left.high - step.left.low < 1e-5


def test_the_worst_bits_are_the_highest_of_the_map_with_their_true_shares(mapped):
    one, sweep, sites, _ = mapped
    found = worst_bits(sites, sweep, count=5)
    assert len(found) == 5
    shares = sorted((float(s) for site in sites for s in site.shares.ravel()), reverse=True)
    assert min(bit.predicted for bit in found) >= shares[19]
    truth = [t.counts.mismatch / len(one.data) for t in sweep.score([patch_of(sites, bit.flip) for bit in found])]
    assert [bit.evaluated for bit in found] == truth == sorted(truth, reverse=True)


def test_a_map_without_damage_gives_no_advice(mapped):
    _, sweep, sites, _ = mapped
    for one in sites:
        one.shares[...] = 0
    assert worst_bits(sites, sweep) == []
    assert advise(sites, audit(sites, sweep, flips=40, seed=0), level=0.9) == []


def int4():
    """A Gemm with packed int4 weights behind a DequantizeLinear."""
    rng = np.random.default_rng(4)
    codes = rng.integers(-8, 8, (6, 4)).astype(ml_dtypes.int4)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["wf"], "dequantize"),
        helper.make_node("Gemm", ["x", "wf", "bias"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "int4",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ("N", 6))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 4))],
        [
            helper.make_tensor("w", TensorProto.INT4, (6, 4), codes.astype(np.int8).reshape(-1).tolist()),
            numpy_helper.from_array(np.array(0.1, np.float32), "scale"),
            numpy_helper.from_array(rng.normal(size=4).astype(np.float32) / 4, "bias"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize(("kind", "bits"), [("int4", 4), ("qonnx", None), ("float", 32)])
def test_every_format_is_mapped_by_the_bits_that_it_really_has(kind, bits, tiny):
    proto = {"int4": int4, "qonnx": tiny_nets.qonnx, "float": tiny_nets.dense}[kind]()
    rng = np.random.default_rng(0)
    shape = [d.dim_value or 40 for d in proto.graph.input[0].type.tensor_type.shape.dim]
    one = tiny(proto, {"x": rng.normal(size=(40, *shape[1:])).astype(np.float32), "labels": rng.integers(0, 4, 40)})
    model = one.runner.model
    chip = deployed_storage(("weight",))
    stored = chip.store({site.name: (site, model.numbers[site.name]) for site in model.select(("weight",))})
    numbers = {name: held.values for name, held in stored.items()}
    one.set_golden(numbers)
    sweep = Sweep(one, numbers)
    sites = bit_map(one, stored, sweep, MapOptions(rivals=3), quiet)
    assert all(len(s.shares) == (bits or s.stored.format.bits) < 33 for s in sites)
    assert all(s.reached for s in sites)
    if kind == "qonnx":
        assert all(len(s.shares) < 32 for s in sites)
    flips = [Flip(i, p, b) for i, s in enumerate(sites) for b in range(len(s.shares)) for p in range(s.indices.size)]
    truth = np.array([t.counts.mismatch for t in sweep.score([patch_of(sites, f) for f in flips])]) / 40
    guess = np.array([sites[f.site].shares[f.bit, f.position] for f in flips])
    assert truth.mean() > 0
    assert np.corrcoef(guess, truth)[0, 1] > 0.9
    assert guess.mean() == pytest.approx(truth.mean(), rel=0.3)
