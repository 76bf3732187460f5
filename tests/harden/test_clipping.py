"""Weight clipping: the limit's way down, a limit for every learned step, and what comes down with it."""

import math

import numpy as np
import pytest
import torch

from faultsim.harden.clipping import WeightClipping
from faultsim.harden.coding import Coding
from faultsim.harden.losses import After
from faultsim.harden.scales import LearnedScale, Parameter
from faultsim.harden.trainable import Trainable
from tests.harden.conftest import one_layer


def clipped(trainable, name, start, **options):
    """Leaves under clipping at the end of a training that began with *start*, and moved nothing."""
    leaves = trainable.leaves()
    with torch.no_grad():
        leaves[name].copy_(torch.from_numpy(start).to(leaves[name]))
    initial = {key: leaf.detach().clone() for key, leaf in leaves.items()}
    WeightClipping(**options).project(After(leaves, initial, (name,), 1.0, trainable))
    return leaves


def test_clipping_brings_the_limit_down_and_holds_it(smooth):
    trainable = Trainable(smooth)
    start = torch.tensor([-4.0, 0.5, 1.0, 3.0])
    loss = WeightClipping(limit=1.0, relative=False, anneal=0.5)
    tops = []
    for progress in (0.0, 0.25, 0.5, 1.0):
        leaf = start.clone()
        loss.project(After({"w": leaf}, {"w": start}, ("w",), progress, trainable))
        tops.append(float(leaf.abs().max()))
    assert tops == [4.0, 2.5, 1.0, 1.0]
    rms = float(start.square().mean().sqrt())
    leaf = start.clone()
    WeightClipping(limit=0.5).project(After({"w": leaf}, {"w": start}, ("w",), 1.0, trainable))
    assert float(leaf.abs().max()) == pytest.approx(0.5 * rms)
    assert float(leaf[1]) == 0.5  # inside, not touched


@pytest.mark.parametrize("scales", ["learn", "keep"])
def test_a_learned_step_comes_down_with_the_limit_of_its_channel(int8, scales):
    """The rows of the digits model have a step each; where none is learned the tensor has one limit."""
    trainable = Trainable(int8, scales=scales)
    names = [name for name, p in trainable.parameters.items() if p.site.role == "weight"]
    for name in names:
        start = trainable.leaves()[name].detach().double().numpy()
        before = trainable.step(name, trainable.leaves()).double().numpy()
        leaves = clipped(trainable, name, start, limit=1.5)
        rows = start.reshape(len(start), -1)
        rms = np.sqrt(np.square(rows).mean(1 if scales == "learn" else None, keepdims=True))
        assert leaves[name].detach().numpy().reshape(rows.shape) == pytest.approx(
            np.clip(rows, -1.5 * rms, 1.5 * rms), rel=1e-5
        )
        step = trainable.step(name, leaves).double().numpy().reshape(-1, 1)
        bound = 1.5 * rms / trainable.parameters[name].coding.high
        want = np.minimum(before.reshape(-1, 1), bound) if scales == "learn" else before.reshape(-1, 1)
        assert step == pytest.approx(want, rel=1e-5)
        assert scales == "keep" or (want < before.reshape(-1, 1)).all()


@pytest.mark.parametrize("kind", ["qdq", "qonnx"])
@pytest.mark.parametrize("one_step", [False, True])
def test_weights_that_share_a_learned_step_share_a_limit(kind, one_step):
    """Columns of unlike size, one of them dead: it has the limit of the tensor, and may come alive."""
    codes = np.random.default_rng(5).integers(-100, 100, (6, 5)).astype(np.int8)
    scale = np.float32(0.01) if one_step else np.float32([0.001, 0.01, 0.1, 0.01, 0.02])
    trainable = Trainable(one_layer(kind, codes, np.asarray(scale)), scales="learn")
    start = (codes * scale).astype(np.float64)
    start[:, 3] = 0
    found = clipped(trainable, "w", start, limit=0.5)["w"].detach().numpy()
    whole = np.sqrt(np.square(start).mean())
    each = np.sqrt(np.square(start).mean(0))
    limit = 0.5 * (np.full(5, whole) if one_step else np.where(each > 0, each, whole))
    assert found == pytest.approx(np.clip(start, -limit, limit), rel=1e-5, abs=1e-9)
    moved = np.where(np.arange(5) == 3, 10.0, start)
    leaves = trainable.leaves()
    initial = {key: leaf.detach().clone() for key, leaf in leaves.items()}
    initial["w"] = torch.from_numpy(start).to(leaves["w"])
    with torch.no_grad():
        leaves["w"].copy_(torch.from_numpy(moved))
    WeightClipping(limit=0.5).project(After(leaves, initial, ("w",), 1.0, trainable))
    assert leaves["w"][:, 3].detach().numpy() == pytest.approx(limit[3], rel=1e-5)


def test_a_limit_in_the_weights_own_units_is_one_for_all_channels():
    codes = np.random.default_rng(5).integers(-100, 100, (6, 5)).astype(np.int8)
    trainable = Trainable(one_layer("qdq", codes, np.float32([0.001, 0.01, 0.1, 0.01, 0.02])), scales="learn")
    start = trainable.leaves()["w"].detach().numpy()
    found = clipped(trainable, "w", start, limit=0.2, relative=False)["w"].detach().numpy()
    assert found == pytest.approx(np.clip(start, -0.2, 0.2), rel=1e-5)
    assert (np.abs(start) > 0.2).any()


@pytest.mark.parametrize("limit", [0.5, math.inf])
def test_a_tensor_of_zeros_stays_as_it_is(smooth, limit):
    trainable = Trainable(smooth)
    start = np.zeros_like(trainable.leaves()["w1"].detach().numpy())
    assert not clipped(trainable, "w1", start, limit=limit)["w1"].any()


def test_the_step_of_codes_with_a_zero_point_comes_down_to_the_whole_limit(int8):
    site = next(s for s in int8.sites if s.role == "weight")
    zero = Coding(np.asarray(0.01), np.asarray(128.0), 0, 255, "s")
    most = LearnedScale("s", "t", np.asarray(0.01, np.float32)).most(Parameter(site, zero), 1.0)
    assert 0.01 * math.exp(float(most[0])) * 128 == pytest.approx(1.0, rel=1e-6)
