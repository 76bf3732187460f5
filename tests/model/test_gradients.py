"""Law: the gradient is the derivative of the loss at the stored numbers; rounding passes it straight through."""

import numpy as np
import pytest
from graphs import ALL, codes, conv_bn, feeds, mlp, mlp_float64, qcdq_4bit, qdq, qoperator, real_int4

from faultsim.model import load_model


def _square(outputs):
    return outputs["y"].double().square().mean()


@pytest.mark.parametrize("name", sorted(set(ALL) - {"mlp_float16", "mlp_bfloat16"}))
def test_gradients_reach_every_weight_bias_and_norm(name):
    proto = ALL[name]()
    loaded = load_model(proto)
    wanted = [s.name for s in loaded.select() if not s.name.startswith("if/")]
    if not wanted:  # of the two bodies of an If one runs
        wanted = [s.name for s in loaded.select()]
    _, gradients = loaded.gradient(feeds(proto), _square, sites=wanted)
    silent = {n for n, g in gradients.items() if not np.any(g)}
    assert len(silent) in ({2} if name == "branches" else {0}), silent
    assert all(g.shape == loaded.site(n).shape for n, g in gradients.items())


@pytest.mark.parametrize("build", [mlp, mlp_float64, conv_bn], ids=lambda f: f.__name__)
def test_finite_differences(build):
    proto = build()
    loaded, fed = load_model(proto), feeds(proto)
    sites = [s.name for s in loaded.select()]
    _, gradients = loaded.gradient(fed, _square, sites=sites)
    step, rng = 1e-3, np.random.default_rng(0)  # above the rounding of float32 outputs, below most kinks

    def loss(name, array):
        return float(np.square(loaded.run(fed, {name: array})["y"].astype(np.float64)).mean())

    for name in sites:
        clean = loaded.numbers[name]
        way = rng.normal(size=clean.shape)
        way /= np.linalg.norm(way)
        up, down = (loss(name, (clean + sign * step * way).astype(clean.dtype)) for sign in (1, -1))
        expected = float((gradients[name].astype(np.float64) * way).sum())
        scale = float(np.linalg.norm(gradients[name]))
        assert (up - down) / (2 * step) == pytest.approx(expected, abs=1e-2 * scale), name


@pytest.mark.parametrize("build", [qdq, qcdq_4bit, real_int4], ids=lambda f: f.__name__)
def test_gradients_at_codes_are_those_of_the_dequantized_graph(build):
    """The output is linear in the codes here, so a whole step of one code moves it by exactly that slope."""
    proto = build()
    loaded, fed = load_model(proto), feeds(proto, rows=1)
    names = [s.name for s in loaded.select()]
    _, gradients = loaded.gradient(fed, lambda out: out["y"].sum(), sites=names)
    for name in names:
        clean = loaded.numbers[name].astype(np.float64)
        place = np.unravel_index(int(np.abs(gradients[name]).argmax()), clean.shape)
        moved = clean.copy()
        moved[place] += -1 if clean[place] > 0 else 1
        after = loaded.run(fed, {name: moved})["y"].sum() - loaded.run(fed)["y"].sum()
        assert after == pytest.approx((moved - clean)[place] * gradients[name][place], rel=1e-2), name


def test_gradients_pass_the_rounding_of_an_integer_convolution():
    proto = qoperator()
    loaded, fed = load_model(proto), feeds(proto)
    _, gradients = loaded.gradient(fed, lambda out: out["y"].sum(), sites=["w", "b"])
    assert all(np.any(g) for g in gradients.values())
    # A large step of one bias, in which the rounding of the outputs averages out; unsaturated by construction.
    moved = loaded.numbers["b"].astype(np.float64)
    moved[0] += 400
    after = loaded.run(fed, {"b": moved})["y"].sum() - loaded.run(fed)["y"].sum()
    assert after == pytest.approx(400 * gradients["b"][0], rel=0.2)


def test_gradients_are_taken_at_the_numbers_given():
    proto = mlp()
    loaded, fed = load_model(proto), feeds(proto)
    zeros = {"w2": np.zeros((8, 4), np.float32), "b2": np.zeros(4, np.float32)}
    value, gradients = loaded.gradient(fed, _square, sites=["w2"], numbers=zeros)
    assert value == 0
    assert not np.any(gradients["w2"])
    assert np.any(loaded.gradient(fed, _square, sites=["w2"])[1]["w2"])


def test_running_and_differentiating_leave_the_model_as_it_is():
    proto = qdq()
    loaded, fed = load_model(proto), feeds(proto)
    before, first = {n: a.copy() for n, a in loaded.numbers.items()}, loaded.run(fed)["y"]
    loaded.gradient(fed, _square, sites=["w", "b"])
    loaded.run(fed, {"w": codes(4, 6, seed=9)})
    for name, array in load_model(proto).numbers.items():
        np.testing.assert_array_equal(before[name], array)
    np.testing.assert_array_equal(loaded.run(fed)["y"], first)
