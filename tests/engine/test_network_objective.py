"""The objective of the searches: gradients that finite differences confirm, scores of what the memory can hold."""

import numpy as np
import pytest
import tiny_nets
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from faultsim import load_device, load_model
from faultsim.corruption import Site, Stored
from faultsim.engine.edits import NetworkEdits
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.settle import settle
from faultsim.formats import parse_format
from faultsim.search.bits import BitFlips, Untargeted, worst_cells


def as_deployed(model):
    return {s.name: Stored(s, s.format, model.numbers[s.name]) for s in model.select(("weight", "bias"))}


def objective(model, make, **options):
    return NetworkObjective(model, as_deployed(model), make(model, **options))


@pytest.fixture
def smooth(tmp_path):
    data = tiny_nets.samples() | {"x": tiny_nets.samples()["x"].astype(np.float64)}
    return load_model(tiny_nets.save(tiny_nets.dense(dtype=np.float64), tmp_path / "net.onnx", data))


@pytest.mark.parametrize("loss", ["cross_entropy", "margin"])
def test_the_gradient_equals_finite_differences(loss, smooth, scorer):
    found = objective(smooth, scorer)
    rng = np.random.default_rng(5)
    at = {n: rng.normal(scale=0.01, size=s.site.shape) for n, s in found.stored.items()}
    gradient = found.gradient(at, loss)
    for _ in range(5):
        way = {n: rng.normal(size=a.shape) for n, a in at.items()}
        step = 1e-6
        up, down = (found.score({n: at[n] + sign * step * way[n] for n in at}).value(loss) for sign in (1, -1))
        slope = sum(float((gradient.grads[n] * way[n]).sum()) for n in at)
        assert (up - down) / (2 * step) == pytest.approx(slope, rel=1e-5, abs=1e-8)
    assert gradient.loss == pytest.approx(found.score(at).value(loss), rel=1e-9)


@pytest.mark.parametrize("loss", ["cross_entropy", "collapse"])
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_the_gradient_does_not_depend_on_the_batch_size(kind, loss, digits, scorer):
    model = digits(kind)
    one, other = (objective(model, scorer, batch_size=b).gradient(None, loss) for b in (7, 250))
    assert one.loss == pytest.approx(other.loss, rel=1e-5)
    for name, gradient in one.grads.items():
        assert np.any(gradient)
        assert gradient == pytest.approx(other.grads[name], abs=1e-5 * np.abs(gradient).max())


def test_the_clean_gradient_is_taken_once_and_everything_is_counted(smooth, scorer):
    found = objective(smooth, scorer)
    assert found.gradient(None, "margin") is found.gradient(None, "margin")
    found.gradient({}, "margin")
    found.score(None)
    assert (found.gradients, found.forwards) == (2, 1)


def test_scores_are_means_over_the_samples(smooth, scorer):
    found = objective(smooth, scorer)
    score = found.score(None)
    x, labels = tiny_nets.samples()["x"].astype(np.float64), tiny_nets.samples()["labels"]
    logits = smooth.run({"x": x})["y"]
    own = logits[np.arange(30), labels]
    logits[np.arange(30), labels] = -np.inf
    assert score.margin == pytest.approx(np.minimum(logits.max(1) - own, 0).mean())
    assert score.accuracy == pytest.approx((own > logits.max(1)).mean())


@given(arrays.arrays(np.float64, (3, 4), elements=st.floats(-300, 300)), st.integers(0, 1000))
def test_a_settled_tensor_of_codes_holds_the_nearest_code_in_range(delta, seed):
    form = parse_format("int8")
    values = np.random.default_rng(seed).integers(-128, 128, (3, 4)).astype(np.int8)
    site = Site(name="w", shape=(3, 4), format=form, layer="l", kind="gemm", role="weight", depth=0)
    settled = settle(Stored(site, form, values), delta)
    assert settled.dtype == np.int8
    assert np.array_equal(settled, np.clip(np.rint(values + delta), -128, 127))


def test_float_weights_on_a_quantized_memory_settle_on_its_levels(digits):
    model, device = digits("float"), load_device("sram_low_voltage")
    stored = device.store({s.name: (s, model.numbers[s.name]) for s in model.select(("weight",))})
    rng = np.random.default_rng(0)
    for one in stored.values():
        step = np.broadcast_to(one.format.scale, one.site.shape)
        settled = settle(one, rng.normal(size=one.site.shape) * step)
        assert settled.dtype == one.values.dtype
        assert settled / step == pytest.approx(np.rint(settled / step), abs=1e-3)
        assert np.array_equal(settle(one, np.zeros(one.site.shape)), one.values)


def test_an_analog_memory_keeps_what_lies_between_codes(digits):
    model, device = digits("int8"), load_device("reram_1t1r")
    stored = device.store({s.name: (s, model.numbers[s.name]) for s in model.select(("weight",))})
    one = next(iter(stored.values()))
    settled = settle(one, np.full(one.site.shape, 0.25))
    assert settled.dtype == np.float32
    assert np.array_equal(settled, one.values.astype(np.float32) + 0.25)


def test_the_pass_that_chooses_the_class_of_a_collapse_is_counted(digits, scorer):
    model = digits("int8")
    site = next(s for s in model.select(("weight",)))
    stored = {site.name: Stored(site, site.format, model.numbers[site.name])}
    net = NetworkEdits(model, stored, scorer(model, batch_size=7))
    assert [net.gradient({}, "collapse").forwards for _ in range(2)] == [1, 0]  # kept
    assert net.gradient({}, "cross_entropy").forwards == 0
    assert NetworkEdits(model, stored, scorer(model, batch_size=600)).gradient({}, "collapse").forwards == 0
    net = NetworkEdits(model, stored, scorer(model, batch_size=7))
    choices = {site.name: BitFlips(stored[site.name])}
    found = worst_cells(Untargeted(objective=net), choices, 2, budget_gradients=6, budget_forwards=60, restarts=0)
    assert found.forwards == net.forwards <= 60
