"""Augmented batches hold the same pixels, moved; the same step moves them the same way."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.errors import OptionError
from faultsim.harden import Training, harden
from faultsim.harden import run as running
from faultsim.harden.augment import augmented, check_answers, images
from faultsim.metrics import ClassIds, Classification, Custom, GoldenAgreement, Regression, TokenClassification
from tests.harden.conftest import Arrays
from tests.harden.test_leavings import SHORT


@pytest.mark.parametrize("kind", ["shift", "flip-shift"])
def test_images_are_moved_by_at_most_an_eighth_and_sometimes_mirrored(kind):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 2, 16, 16)).astype(np.float32)
    found = augmented({"x": x, "n": np.ones(64)}, kind, seed=1, step=2)
    assert np.array_equal(found["n"], np.ones(64))
    mirrored = 0
    for before, after in zip(x, found["x"], strict=True):
        matches = []
        for flip in (False, True):
            source = np.pad(before, ((0, 0), (2, 2), (2, 2)), mode="reflect")
            for i in range(5):
                for j in range(5):
                    cut = source[:, i : i + 16, j : j + 16]
                    matches += [flip] if np.array_equal(cut[:, :, ::-1] if flip else cut, after) else []
        assert len(matches) == 1
        mirrored += matches[0]
    assert 16 < mirrored < 48 if kind == "flip-shift" else mirrored == 0


def test_a_step_is_augmented_the_same_way_every_time():
    x = np.arange(4 * 64.0).reshape(4, 1, 8, 8)
    one, two, other = (augmented({"x": x}, "shift", seed=0, step=step)["x"] for step in (5, 5, 6))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)
    assert augmented({"x": x}, "none", seed=0, step=5)["x"] is x


def test_what_is_no_image_is_refused():
    with pytest.raises(OptionError, match="augment 'shift' is for float images"):
        augmented({"x": np.zeros((4, 8))}, "shift", seed=0, step=0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_channels_last_are_refused(channels):
    feeds = {"x": np.zeros((2, 8, 6, channels), np.float32)}
    with pytest.raises(OptionError, match=f"input 'x' are N×8×6×{channels}, channels last; use none"):
        augmented(feeds, "shift", seed=0, step=0)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 5, 3), (4, 4, 1), (8, 6, 2)])
def test_channels_first_are_taken(shape):
    assert images({"x": np.zeros((2, *shape), np.float32), "n": np.zeros(2)}, "shift") == ("x",)


def test_all_images_of_a_sample_move_alike():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(16, 1, 16, 16)).astype(np.float32)
    found = augmented({"x": x, "y": 2 * x, "small": x[:, :, ::2, ::2]}, "flip-shift", seed=1, step=2)
    assert not np.array_equal(found["x"], x)
    assert np.array_equal(found["y"], 2 * found["x"])
    assert np.array_equal(augmented({"x": x}, "flip-shift", seed=1, step=2)["x"], found["x"])  # as it does alone
    assert found["small"].shape == (16, 1, 8, 8)


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        (Classification(), (4, 10)),
        (GoldenAgreement(Classification()), (4, 10, 1, 1)),
        (Regression(), (4, 3)),
        (Custom("module:function"), (4, 2, 8, 8)),
        (ClassIds(), (4,)),
    ],
)
def test_one_answer_a_sample_is_taken(task, shape):
    check_answers(task, np.zeros(shape), "shift")


@pytest.mark.parametrize(
    ("task", "shape"),
    [
        (TokenClassification(), (4, 2, 8, 8)),
        (GoldenAgreement(Regression()), (4, 1, 8, 8)),
        (Regression(), (1, 8, 8)),
        (ClassIds(), (4, 8, 8)),
    ],
)
def test_answers_for_every_pixel_are_refused(task, shape):
    with pytest.raises(OptionError, match=r"moves the images and not .* is N×.*8×8; use none"):
        check_answers(task, np.zeros(shape), "shift")


def test_segmentation_is_refused_before_anything_is_assessed(tmp_path, monkeypatch):
    def assessed(*_, **__):
        raise AssertionError("it was assessed before the refusal")

    monkeypatch.setattr(running, "assess", assessed)
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "k"], ["y"], "conv")],
        "pixels",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 2, 8, 8])],
        [numpy_helper.from_array(rng.normal(size=(2, 1, 1, 1)).astype(np.float32), "k")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "m.onnx")
    x = rng.normal(size=(60, 1, 8, 8)).astype(np.float32)
    options = replace(SHORT, training=Training(steps=2, augment="flip-shift"))
    for labels in ((x[:, 0] > 0).astype(np.int64), None):
        with pytest.raises(OptionError, match=r"augment 'flip-shift' moves the images .* is N×2×8×8; use none"):
            harden(tmp_path / "m.onnx", "reram", Arrays("x", x, labels), target=tmp_path / "h.onnx", options=options)
