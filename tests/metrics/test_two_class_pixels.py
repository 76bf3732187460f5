"""One output a position is the score of the second of two classes; labels that mark nothing to score are left out."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import Options, assess
from faultsim.errors import DataError, OptionError
from faultsim.metrics import TokenClassification, named_task

RNG = np.random.default_rng(3)
LOGITS = RNG.normal(size=(2, 1, 3, 4))
LABELS = RNG.integers(0, 2, (2, 3, 4))


@pytest.mark.parametrize("probability", [False, True])
def test_one_channel_is_judged_as_its_two_would_be(probability: bool) -> None:
    shares = 1 / (1 + np.exp(-LOGITS))
    one = shares if probability else LOGITS
    two = np.concatenate([1 - shares, shares] if probability else [0 * LOGITS, LOGITS], axis=1)
    task = TokenClassification(class_axis=1, output_is_probability=probability)
    ours, wanted = task.judge(one, LABELS), task.judge(two, LABELS)
    assert np.array_equal(ours.correct, wanted.correct)
    assert ours.correct.sum() == ((LOGITS[:, 0] > 0) == LABELS).sum()
    assert ours.loss == pytest.approx(wanted.loss)
    assert np.array_equal(task.predict(one), (LOGITS[:, 0] > 0).astype(int))
    bce = torch.nn.functional.binary_cross_entropy(
        torch.from_numpy(shares[:, 0]), torch.from_numpy(LABELS).double(), reduction="sum"
    )
    found = task.loss(torch.from_numpy(one), torch.from_numpy(LABELS))
    assert float(found.total) == pytest.approx(float(bce))
    assert found.n == LABELS.size


def test_positions_that_are_left_out_count_nowhere() -> None:
    task = named_task("segmentation@255")
    some = np.where(np.arange(LABELS.size).reshape(LABELS.shape) % 3, LABELS, 255)
    judged = task.judge(LOGITS, some)
    assert judged.n.sum() == (some != 255).sum()
    assert judged.correct.sum() == ((LOGITS[:, 0] > 0) == some)[some != 255].sum()


def test_a_label_that_is_no_number_is_refused() -> None:
    with pytest.raises(OptionError, match="'void' is no label; write for example segmentation@255"):
        named_task("segmentation@void")


def test_chosen_classes_are_no_scores() -> None:
    with pytest.raises(DataError, match="are classes, no scores: give --task class-ids"):
        TokenClassification(class_axis=1).judge(LABELS[:, None], LABELS)


@pytest.fixture
def masked(tmp_path: Path) -> tuple[Path, Path]:
    """A convolution with one output channel, labelled by itself but for a border of 255."""
    weight = RNG.normal(size=(1, 2, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv", pads=[1, 1, 1, 1])],
        "masks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 1, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, tmp_path / "masks.onnx")
    x = RNG.normal(size=(12, 2, 6, 6)).astype(np.float32)
    y = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(weight), padding=1).numpy()
    labels = np.full((12, 6, 6), 255, np.uint8)
    labels[:, 1:-1, 1:-1] = y[:, 0, 1:-1, 1:-1] > 0
    np.savez(tmp_path / "masks.npz", x=x, labels=labels)
    return tmp_path / "masks.onnx", tmp_path / "masks.npz"


def test_such_a_network_is_assessed(masked: tuple[Path, Path]) -> None:
    result = assess(masked[0], "sram", masked[1], options=Options(trials=3, threads=1, task="segmentation@255"))
    assert result.clean.accuracy == 1.0
    assert result.random.accuracy.mean < 1


def test_the_label_is_told_with_the_way_out(masked: tuple[Path, Path]) -> None:
    with pytest.raises(DataError, match=r"label 255 at \[0, 0, 0\] .* or leave it out: --task segmentation@255"):
        assess(masked[0], "sram", masked[1], options=Options(trials=3, threads=1))
