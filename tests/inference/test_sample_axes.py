"""Where samples lie in graphs that fold other axes into theirs: the same sample is hit, whatever the batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from running import calibrated, effects, normals, proto

from faultsim.engine.inference.calibrate import calibrate
from faultsim.engine.runner import Runner
from faultsim.inference import ActivationUpset, Effect, InferenceLaw, OutputNoise, SampleAxis, StuckOutput
from faultsim.model import Model, load_model

STEPS, WIDTH, SAMPLES = 5, 4, 6


def attention_ending() -> Model:
    """What nn.MultiheadAttention ends with: (L, N, E) folded to (L N, E), its projection, and back."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[1, 0, 2]),
        helper.make_node("Reshape", ["t", "flat"], ["f"], "fold"),
        helper.make_node("Gemm", ["f", "w", "b"], ["g"], "out_proj", transB=1),
        helper.make_node("Reshape", ["g", "back"], ["r"], "unfold"),
        helper.make_node("Transpose", ["r"], ["y"], "turn_back", perm=[1, 0, 2]),
    ]
    weights = {
        "w": normals(WIDTH, WIDTH),
        "b": normals(WIDTH, seed=3),
        "flat": np.array([-1, WIDTH]),
        "back": np.array([STEPS, -1, WIDTH]),
    }
    return load_model(proto(nodes, weights, ("N", STEPS, WIDTH), rank=3))


def windows() -> Model:
    """Samples between two other axes: (steps, N, heads, width) folded to (steps N heads, width)."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[1, 0, 2, 3]),
        helper.make_node("Reshape", ["t", "flat"], ["f"], "fold"),
        helper.make_node("MatMul", ["f", "w"], ["g"], "fc"),
        helper.make_node("Reshape", ["g", "back"], ["r"], "unfold"),
        helper.make_node("Transpose", ["r"], ["y"], "turn_back", perm=[1, 0, 2, 3]),
    ]
    weights = {"w": normals(WIDTH, WIDTH), "flat": np.array([-1, WIDTH]), "back": np.array([STEPS, -1, 2, WIDTH])}
    return load_model(proto(nodes, weights, ("N", STEPS, 2, WIDTH), rank=4))


def in_batches(runner: Runner, law: Sequence[Effect], x: NDArray[Any], size: int) -> NDArray[Any]:
    run = runner.open(effects=law)
    return np.concatenate([run({"x": x[i : i + size]}, i) for i in range(0, len(x), size)])


@pytest.mark.parametrize(
    "law",
    [
        OutputNoise(sigma=0.1),
        StuckOutput(elements=((2, None),), rows=STEPS, columns=WIDTH, value=0.7),
        ActivationUpset(count=2),
    ],
)
@pytest.mark.parametrize(("make", "inner"), [(attention_ending, 1), (windows, 2)])
def test_samples_between_folded_axes_are_hit_alike_in_any_batch(make: Any, inner: int, law: InferenceLaw) -> None:
    model = make()
    x = normals(SAMPLES, STEPS, *([2] if make is windows else []), WIDTH, seed=1)
    runner = calibrated(model, {"x": x})
    assert runner.calibration is not None
    assert next(iter(runner.calibration.layers.values())).output_axis == SampleAxis(0, inner)
    assert runner.calibration.activations["g"].elements == x[0].size
    whole = in_batches(runner, effects(law, trial=3), x, SAMPLES)
    for size in (1, 2, 3):
        np.testing.assert_allclose(in_batches(runner, effects(law, trial=3), x, size), whole, rtol=1e-5, atol=1e-5)


def test_an_upset_of_a_folded_activation_hits_one_element_of_every_sample() -> None:
    x = normals(SAMPLES, STEPS, WIDTH, seed=1)
    model = attention_ending()
    runner = calibrated(model, {"x": x})
    effect = Effect(mechanism="m", law=ActivationUpset(count=1), sites=frozenset({"g"}), trial=3)
    clean = model.run({"x": x})["y"]
    hit = ~np.isclose(in_batches(runner, [effect], x, SAMPLES), clean, rtol=1e-6, atol=1e-7)
    places = {tuple(one[1:]) for one in np.argwhere(hit)}
    assert len(places) == 1  # the same time step and feature, of each sample where its flip shows
    assert len(np.unique(np.argwhere(hit)[:, 0])) == hit.any(axis=(1, 2)).sum() >= SAMPLES // 2


def test_a_fixed_batch_on_another_axis_is_found() -> None:
    nodes = [
        helper.make_node("RNN", ["x", "w", "r"], ["h", ""], "rnn", hidden_size=3),
        helper.make_node("Squeeze", ["h", "one"], ["y"], "squeeze"),
    ]
    weights = {"w": normals(1, 3, 4), "r": normals(1, 3, 3) * 0.3, "one": np.array([1])}
    model = load_model(proto(nodes, weights, (8, 2, 4), rank=3)).with_batch_axes({"x": 1, "y": 1}, judged="y")
    found = calibrate(model, [{"x": normals(8, 2, 4, seed=1)}])
    assert found.activations["x"].axis == SampleAxis(1)
    assert found.activations["x"].elements == 32
    assert found.activations["h"].axis == SampleAxis(2)  # (time, direction, sample, feature)
    assert found.activations["h"].elements == 24


def test_samples_apart_and_together_again() -> None:
    values = np.arange(2 * 12 * 3).reshape(2, 12, 3)
    for where in (SampleAxis(1), SampleAxis(1, 1), SampleAxis(1, 2)):
        apart = where.apart(values, 3)
        assert apart.shape == (3, 4, 2, 3)
        np.testing.assert_array_equal(where.together(apart), values)
    assert SampleAxis(1, 1).apart(values, 3)[1, :, 0, 0].tolist() == [3, 12, 21, 30]
    assert SampleAxis(1, 2).apart(values, 3)[1, :, 0, 0].tolist() == [6, 9, 24, 27]
    assert SampleAxis(1).apart(values, 3)[1, :, 0, 0].tolist() == [12, 15, 18, 21]
    assert not SampleAxis(1, 5).fits(values.shape, 3)
    empty = np.zeros((0, 4))
    np.testing.assert_array_equal(SampleAxis(0).together(SampleAxis(0).apart(empty, 3)), empty)


def test_outputs_that_no_element_holds_are_those_of_the_op_to_the_last_bit() -> None:
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")]
    model = load_model(proto(nodes, {"w": normals(7, 3, 3, 3), "b": normals(7, seed=1)}, ("N", 3, 6, 7), rank=4))
    x = normals(4, 3, 6, 7, seed=2)
    law = StuckOutput(elements=((None, 3),), columns=7, value=0.5)
    seen = calibrated(model, {"x": x}).open(effects=effects(law))({"x": x})
    clean = model.run({"x": x})["y"]
    others = np.arange(7) != 3
    assert np.array_equal(seen[:, others], clean[:, others])
    assert not np.any(seen[:, 3] == clean[:, 3])
