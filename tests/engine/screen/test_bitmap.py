"""The bit map against every flip of a small network, one by one."""

import numpy as np
import pytest
import tiny_nets
from onnx import TensorProto, helper
from scipy.stats import spearmanr
from screen_nets import numbers_of, stored_of

from faultsim.corruption import Stored
from faultsim.engine.screen.bitmap import Flip, MapOptions, bit_map, flipped, patch_of
from faultsim.engine.screen.map_audit import LEAST, audit, mean_of
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.errors import OptionError
from faultsim.formats import FloatFormat, IntFormat
from faultsim.metrics import Regression

BITS = (31, 30, 28, 25, 24, 23, 22, 19, 8)


def quiet(phase: str, done: int, total: int) -> None:
    """Tell nobody."""


@pytest.fixture
def mapped(tiny):
    def make(one=None, **options):
        scorer = one or tiny()
        stored = stored_of(scorer.runner.model)
        sweep = Sweep(scorer)
        return scorer, sweep, bit_map(scorer, stored, sweep, MapOptions(**({"rivals": 3} | options)), quiet)

    return make


def truth_of(scorer, sweep, sites, bits):
    """Evaluate every flip at *bits*: shares by site, shape (bits, elements)."""
    found = []
    for number, one in enumerate(sites):
        patches = [patch_of(sites, Flip(number, p, b)) for b in bits for p in range(one.indices.size)]
        counts = [t.counts.mismatch for t in sweep.score(patches)]
        found.append(np.array(counts).reshape(len(bits), -1) / len(scorer.data))
    return found


def test_the_map_ranks_and_sums_the_flips_of_a_small_network(mapped):
    scorer, sweep, sites = mapped()
    truth = truth_of(scorer, sweep, sites, BITS)
    guess = [one.shares[list(BITS)] for one in sites]
    flat, real = np.concatenate([g.ravel() for g in guess]), np.concatenate([t.ravel() for t in truth])
    assert spearmanr(flat, real).statistic > 0.75  # most flips change nothing: their ranks are tied
    assert np.corrcoef(flat, real)[0, 1] > 0.9
    assert flat.mean() == pytest.approx(real.mean(), rel=0.25)
    small = [i for i, bit in enumerate(BITS) if bit <= 24]
    pooled = [np.concatenate([part[small].ravel() for part in parts]).mean() for parts in (guess, truth)]
    assert pooled[0] == pytest.approx(pooled[1], abs=0.003)
    large = np.concatenate([one.large[list(BITS)].ravel() for one in sites])
    assert 0 < large.mean() < 0.2


def test_a_linear_network_is_mapped_exactly(mapped, tiny):
    rng = np.random.default_rng(2)
    weight = rng.normal(size=(4, 72)).astype(np.float32) / 8
    nodes = [
        helper.make_node("Flatten", ["x"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "w"], ["y"], "gemm", transB=1),
    ]
    proto = tiny_nets.model(
        nodes,
        {"w": weight},
        inputs={"x": (TensorProto.FLOAT, ("N", 2, 6, 6))},
        outputs={"y": (TensorProto.FLOAT, ("N", 4))},
    )
    scorer, _, (one,) = mapped(tiny(proto))
    x = scorer.data.inputs(0, 48)["x"].reshape(48, -1).astype(np.float64)
    classes = (x @ weight.T.astype(np.float64)).argmax(axis=1)
    for bit in (31, 25, 24, 23, 22, 20):
        new = flipped(one.stored, one.indices, bit)
        want = np.zeros(one.indices.size)
        for at in range(one.indices.size):
            other = weight.astype(np.float64).copy()
            other.reshape(-1)[at] = new[at]
            want[at] = ((x @ other.T).argmax(axis=1) != classes).mean()
        away = np.abs(one.shares[bit] - want) * 48
        assert away.max() <= 1.001  # a lead within rounding of 0
        assert (away > 0.5).mean() < 0.01


def test_flips_are_those_of_the_stored_word(mapped):
    _, _, sites = mapped()
    values = sites[0].stored.values.reshape(-1)
    words = values.view(np.uint32) ^ np.uint32(1 << 23)
    assert np.array_equal(flipped(sites[0].stored, np.arange(values.size), 23), words.view(np.float32))
    site = sites[0].stored.site
    int4 = Stored(site, IntFormat(4, dtype="int8"), np.full(site.shape, 3, np.int8))
    assert flipped(int4, np.array([5]), 3).tolist() == [-5]  # 0011 → 1011


def test_a_map_of_codes_agrees_with_their_flips(digits, scorer):
    model = digits("int8")
    one = scorer(model, threads=1)
    one.set_golden()
    stored = {n: s for n, s in stored_of(model).items() if s.site.role == "weight"}
    sweep = Sweep(one)
    sites = bit_map(one, stored, sweep, MapOptions(elements=300), quiet)
    assert all(one.shares.shape[0] == 8 for one in sites)
    assert not any(one.large.any() for one in sites)
    found = audit(sites, sweep, flips=150, seed=0)
    assert found.total.low <= found.total.best <= found.total.high
    assert found.total.best == pytest.approx(found.predicted, abs=0.01)


def test_an_audit_of_every_flip_gives_the_truth(mapped):
    scorer, sweep, sites = mapped(elements=6)
    units = sum(one.shares.size for one in sites)
    found = audit(sites, sweep, flips=units, seed=0)
    truth = truth_of(scorer, sweep, sites, range(32))
    sizes = [one.stored.site.elements for one in sites]  # a tensor counts as much as it has bits, mapped or not
    mean = np.average([t.mean() for t in truth], weights=sizes)
    assert found.flips == units
    assert found.total.best == pytest.approx(mean, abs=1e-6)
    assert found.total.high - found.total.low < 1e-5
    by_bit = np.average([t.mean(axis=1) for t in truth], axis=0, weights=sizes)
    for group in found.groups:
        assert group.estimate.best == pytest.approx(by_bit[list(group.bits)].mean(), abs=1e-6)
    assert sorted(b for group in found.groups for b in group.bits) == list(range(32))


def test_the_same_seed_audits_the_same_flips(mapped):
    _, sweep, sites = mapped(elements=30)
    first = audit(sites, sweep, flips=60, seed=3)
    assert audit(sites, sweep, flips=60, seed=3) == first
    assert audit(sites, sweep, flips=60, seed=4) != first
    assert sum(len(one.flips) for one in first.audited) == first.flips == 60


@pytest.mark.parametrize("flips", [2, 3, 5, 9, 40])
def test_every_group_gets_its_least_however_few_flips_are_asked_for(mapped, flips):
    _, sweep, sites = mapped(elements=30)
    found = audit(sites, sweep, flips=flips, seed=0)
    assert found.asked == flips
    assert found.flips == max(flips, LEAST * len(found.groups))
    assert min(group.audited for group in found.groups) >= LEAST
    assert sum(group.audited for group in found.groups) == found.flips


def test_tensors_with_too_many_numbers_are_mapped_in_part(mapped):
    _, _, sites = mapped(elements=100)
    assert sum(one.indices.size for one in sites) <= 100
    for one in sites:
        assert one.indices.size >= 1
        assert len(set(one.indices.tolist())) == one.indices.size
        assert one.indices.max() < one.stored.site.elements
        assert isinstance(one.stored.format, FloatFormat)


@pytest.mark.parametrize("elements", [6, 40])
def test_a_part_of_a_tensor_counts_for_all_of_it_in_map_audit_and_protection(mapped, elements):
    _, sweep, sites = mapped(elements=elements)
    sizes = [one.stored.site.elements for one in sites]
    assert len({round(one.weight, 3) for one in sites}) > 1
    found = audit(sites, sweep, flips=150, seed=1)
    bits = np.average([one.bits for one in sites], axis=0, weights=sizes)
    assert found.predicted == pytest.approx(bits.mean())
    for group in found.groups:
        assert group.predicted == pytest.approx(bits[list(group.bits)].mean())
    everything = frozenset((i, bit) for i in range(len(sites)) for bit in range(32))
    assert mean_of(sites, found.audited, level=0.9, without=everything).best == 0
    first = frozenset((0, bit) for bit in range(32))
    left = [one.bits.mean() * size for one, size in zip(sites, sizes, strict=True)][1:]
    blind = [one._replace(truth=tuple(float(sites[f.site].shares[f.bit, f.position]) for f in one.flips))
             for one in found.audited]  # fmt: skip
    assert mean_of(sites, blind, level=0.9, without=first).best == pytest.approx(sum(left) / sum(sizes))


def test_a_patch_is_one_flip(mapped):
    scorer, _, sites = mapped(elements=100)
    patch = patch_of(sites, Flip(0, 2, 31))
    (name,) = patch
    assert name == sites[0].stored.site.name
    assert isinstance(patch[name], Sparse)
    changed = numbers_of(scorer.runner.model, patch)[name] != scorer.runner.model.numbers[name]
    assert np.flatnonzero(changed).tolist() == [sites[0].indices[2]]


def test_what_cannot_be_mapped_or_audited_is_refused(mapped, tiny):
    scorer, sweep, sites = mapped(elements=10)
    most = sum(one.shares.size for one in sites)
    for flips in (1, most + 1):
        said = rf"an audit of {flips} flips is out of range: this map takes 2 to {most}; give a number between them"
        with pytest.raises(OptionError, match=said):
            audit(sites, sweep, flips=flips, seed=0)
    with pytest.raises(OptionError, match="elements = 0 is out of range: give at least 1"):
        MapOptions(elements=0)
    scorer.task = Regression()
    with pytest.raises(OptionError, match="has no margin between classes; a bit map needs a classification"):
        bit_map(scorer, {}, sweep, MapOptions(), quiet)
