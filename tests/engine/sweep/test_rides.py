"""Few samples of many layers share calls, and count what whole passes count."""

import numpy as np
import onnx
import pytest
from sweep_equality import assert_equal, faults, key, on_noise, one_site, plain, storable
from sweep_graphs import images

from faultsim.engine.sweep import rides, sweep
from faultsim.engine.sweep.routes import Patch
from faultsim.engine.sweep.sweep import Sweep
from faultsim.errors import ModelError
from faultsim.model import Model, load_model

LAYERS = ["conv", "norm", "relu", "conv", "residual", "conv", "maxpool", "conv", "relu", "conv"]


@pytest.fixture(autouse=True)
def _at_once(monkeypatch):
    monkeypatch.setattr(sweep, "WORTH", 1)


@pytest.fixture(params=["float", "int8"])
def net(request, tmp_path) -> Model:
    onnx.save(images(LAYERS, 5, quantized=request.param == "int8"), tmp_path / "net.onnx")
    return load_model(tmp_path / "net.onnx")


@pytest.fixture
def convolutions(tmp_path) -> Model:
    onnx.save(images(LAYERS, 5), tmp_path / "net.onnx")
    return load_model(tmp_path / "net.onnx")


def in_weights(net: Model, seed: int, trials: int) -> list[Patch]:
    weights = [site for site in storable(net) if net.numbers[site].ndim > 1]
    return faults(net, np.random.default_rng(seed), trials, weights)


@pytest.mark.parametrize(("samples", "batch_size"), [(5, 5), (23, 8)])
def test_few_samples_ride_and_count_the_same(net, samples, batch_size):
    scorer = on_noise(net, samples, 0, batch_size=batch_size)
    done = assert_equal(scorer, in_weights(net, 1, 24), few=1.0)
    assert done.spent.shared > 0, done.spent
    assert done.spent.calls * 32 >= done.spent.rows - done.spent.shared > 0


@pytest.mark.parametrize(("samples", "batch_size"), [(5, 5), (23, 8), (64, 64)])
def test_torch_rides_in_calls_no_larger_than_a_batch(net, samples, batch_size, monkeypatch):
    sizes = []
    whole = rides._Stretch.__call__

    def seen(self, feeds, *, most, least):
        sizes.append(most)
        return whole(self, feeds, most=most, least=least)

    scorer = on_noise(net, samples, 0, batch_size=batch_size, prefer="torch")
    monkeypatch.setattr(rides.Rides, "carry", lambda *args, carry=rides.Rides.carry: sizes.clear() or carry(*args))
    monkeypatch.setattr(rides._Stretch, "__call__", seen)
    done = assert_equal(scorer, in_weights(net, 1, 24), few=1.0)
    if done.spent.shared:
        assert max(sizes) <= batch_size


def test_what_fills_calls_does_not_ride(convolutions):
    scorer = on_noise(convolutions, 64, 0, batch_size=64)
    rng = np.random.default_rng(2)
    weights = [site for site in storable(convolutions) if convolutions.numbers[site].ndim == 4]
    done = assert_equal(scorer, [one_site(convolutions, site, rng, elements=40) for site in weights], few=1.0)
    assert done.spent.rows == 64 * len(weights)
    assert done.spent.shared == 0


def test_one_layer_has_nobody_to_ride_with(convolutions):
    scorer = on_noise(convolutions, 5, 0, batch_size=5)
    site = next(site for site in storable(convolutions) if convolutions.numbers[site].ndim == 4)
    done = assert_equal(scorer, [one_site(convolutions, site, np.random.default_rng(3), elements=40)], few=1.0)
    assert done.spent.rows == 5
    assert done.spent.shared == 0


def test_nothing_rides_before_it_pays_to_try_it(convolutions, monkeypatch):
    scorer = on_noise(convolutions, 5, 0, batch_size=5)
    patches = in_weights(convolutions, 4, 12)
    one = Sweep(scorer, few=1.0)
    one.score(patches)
    shared = one.spent.shared
    assert shared > 0
    monkeypatch.setattr(sweep, "WORTH", one.spent.rows + 1)
    two = Sweep(scorer, few=1.0)
    two.score(patches)
    assert two.spent.shared == 0
    two.score(patches)
    assert two.spent.shared == shared


@pytest.mark.parametrize("under_faults", [False, True])
@pytest.mark.parametrize("how", ["fails", "no memory", "other bits"])
def test_a_ride_that_is_not_exact_is_given_up(convolutions, monkeypatch, how, under_faults):
    whole, carry = rides._Stretch.__call__, rides.Rides.carry
    ridden = []

    def broken(self, feeds, *, most, least):
        found = whole(self, feeds, most=most, least=least)
        if under_faults and not ridden:
            return found
        if how == "fails":
            raise ModelError("no")
        if how == "no memory":
            raise MemoryError
        return np.nextafter(found, np.float32(np.inf))

    scorer = on_noise(convolutions, 5, 0, batch_size=5)
    monkeypatch.setattr(rides.Rides, "carry", lambda *args: ridden.append(len(args[1])) or carry(*args))
    monkeypatch.setattr(rides._Stretch, "__call__", broken)
    done = assert_equal(scorer, in_weights(convolutions, 5, 24), few=1.0)
    tried = len(ridden)
    assert bool(tried) == under_faults
    done.score(in_weights(convolutions, 5, 24))
    assert len(ridden) == tried
    assert done.spent.trials["whole"] == 0


def test_a_newcomer_that_is_not_exact_takes_nobody_along(convolutions, monkeypatch):
    scorer = on_noise(convolutions, 5, 0, batch_size=5)
    sites = [site for site in storable(convolutions) if convolutions.numbers[site].ndim == 4]
    rng = np.random.default_rng(8)
    patches = [one_site(convolutions, site, rng, elements=40) for site in sites[:3]]
    done = Sweep(scorer, few=1.0)
    done.score(patches[:2])
    assert done.spent.shared == 10
    whole = rides._Stretch.__call__
    monkeypatch.setattr(
        rides._Stretch, "__call__", lambda *args, **more: np.nextafter(whole(*args, **more), np.float32(np.inf))
    )
    assert [key(tally) for tally in done.score(patches)] == [key(plain(scorer, patch)[0]) for patch in patches]
    assert done.spent.shared == 10


def test_stops_stand_before_layers_and_all_of_the_rest_passes_through_them(convolutions):
    scorer = on_noise(convolutions, 5, 0, batch_size=5)
    done = assert_equal(scorer, in_weights(convolutions, 6, 12), few=1.0)
    flow = done._router.twin.flow
    stops = done._rides.stops
    assert len(stops) >= 3
    for stop in stops:
        behind = flow.descendants([stop])
        ahead = flow.ancestors([stop])
        reads = {name for i in behind for name in flow.reads[i] if name in flow.activations}
        made_ahead = {o for i in ahead for o in flow.nodes[i].output} | set(flow.inputs)
        assert reads & made_ahead == {stop}
        assert any(flow.nodes[i].op_type in ("Conv", "Gemm", "MatMul") for i in flow.users[stop])


def test_little_room_for_weights_leaves_all_alone(convolutions):
    scorer = on_noise(convolutions, 5, 0, batch_size=5)
    done = assert_equal(scorer, in_weights(convolutions, 7, 24), few=1.0, memory_bytes=1 << 14)
    assert done.spent.shared == 0
