"""Train the digits demo into ``scenarios/digits``: a float CNN, its int8 QDQ form, their images.

Run ``python benchmarks/train_digits.py`` (needs the ``test`` extra; about ten seconds). Every draw comes from
one seed, so one machine gives the same files again; another processor may round otherwise in the last digits.
``quantize_static`` suggests a pre-processing step on stderr; this graph, folded already, needs none.
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F  # noqa: N812  # torch's own convention
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from sklearn.datasets import load_digits

from faultsim.model import exact_codes

ROOT = Path(__file__).resolve().parents[1]
SHAPES = {
    "conv1.weight": (16, 1, 3, 3),
    "conv1.bias": (16,),
    "conv2.weight": (32, 16, 3, 3),
    "conv2.bias": (32,),
    "fc.weight": (10, 512),
    "fc.bias": (10,),
}
Parameters = dict[str, torch.Tensor]


class Split(NamedTuple):
    """Images (count, 1, 8, 8) float32 in [0, 1] and their labels (count,) int64."""

    images: NDArray[np.float32]
    labels: NDArray[np.int64]


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands the training images to onnxruntime's quantizer, so that no test image shapes the int8 model."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._batches: Iterator[NDArray[np.float32]] = iter(np.array_split(images, 10))

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or ``None`` at the end."""
        batch = next(self._batches, None)
        return None if batch is None else {"image": batch}


def splits(seed: int) -> tuple[Split, Split]:
    """Return train and test split: 1,197 and 600 of scikit-learn's 1,797 digits, in a shuffled order."""
    digits = load_digits()
    images = (digits.images[:, None] / 16).astype(np.float32)
    labels = digits.target.astype(np.int64)
    order = np.random.default_rng(seed).permutation(len(images))
    test, train = order[:600], order[600:]
    return Split(images[train], labels[train]), Split(images[test], labels[test])


def logits(parameters: Parameters, images: torch.Tensor) -> torch.Tensor:
    """Run the CNN: two 3x3 convolutions with ReLU, one 2x2 maximum pool, one linear layer."""
    hidden = F.relu(F.conv2d(images, parameters["conv1.weight"], parameters["conv1.bias"], padding=1))
    hidden = F.relu(F.conv2d(hidden, parameters["conv2.weight"], parameters["conv2.bias"], padding=1))
    return F.linear(F.max_pool2d(hidden, 2).flatten(1), parameters["fc.weight"], parameters["fc.bias"])


def train(data: Split, *, seed: int, epochs: int) -> Parameters:
    """Train with Adam on cross-entropy and a decaying step, weight decay 1e-4."""
    rng = torch.Generator().manual_seed(seed)
    parameters = {name: _initial(shape, rng).requires_grad_() for name, shape in SHAPES.items()}
    images, labels = torch.from_numpy(data.images), torch.from_numpy(data.labels)
    optimizer = torch.optim.Adam(parameters.values(), lr=3e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        order = torch.randperm(len(images), generator=rng)
        for start in range(0, len(images), 64):
            batch = order[start : start + 64]
            optimizer.zero_grad()
            torch.autograd.backward(F.cross_entropy(logits(parameters, images[batch]), labels[batch]))
            optimizer.step()
        schedule.step()
    return {name: tensor.detach() for name, tensor in parameters.items()}


def _initial(shape: tuple[int, ...], rng: torch.Generator) -> torch.Tensor:
    if len(shape) == 1:
        return torch.zeros(shape)
    fan_in = int(np.prod(shape[1:]))
    return torch.randn(shape, generator=rng).mul((2 / fan_in) ** 0.5)


def float_model(parameters: Parameters) -> onnx.ModelProto:
    """Return the CNN as ONNX, opset 17, with a batch axis of any size."""
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["conv1"], "conv1", pads=[1] * 4),
        helper.make_node("Relu", ["conv1"], ["relu1"], "relu1"),
        helper.make_node("Conv", ["relu1", "conv2.weight", "conv2.bias"], ["conv2"], "conv2", pads=[1] * 4),
        helper.make_node("Relu", ["conv2"], ["relu2"], "relu2"),
        helper.make_node("MaxPool", ["relu2"], ["pool"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["pool"], ["flat"], "flat"),
        helper.make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], "fc", transB=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(tensor.numpy(), name) for name, tensor in parameters.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], producer_name="faultsim")
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    return model


def int8_model(path: Path, images: NDArray[np.float32]) -> onnx.ModelProto:
    """Return the QDQ form of the model at *path*: int8 weights per output channel, int32 biases."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "int8.onnx"
        quantize_static(
            path,
            target,
            Calibration(images),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    return model


def accuracy(model: Path, data: Split) -> float:
    """Return the fraction of images that onnxruntime, with exact products of codes, classifies as labelled."""
    options = ort.SessionOptions()
    exact_codes.ask(options)
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    scores = session.run(["logits"], {"image": data.images})[0]
    return float((scores.argmax(axis=1) == data.labels).mean())


def main() -> None:
    """Write both models and their data, and print what they reach."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "scenarios" / "digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)  # the order of a sum, and with it the last digit, depends on the threads
    options.out.mkdir(parents=True, exist_ok=True)
    trained, test = splits(options.seed)
    floats, codes = options.out / "digits_float.onnx", options.out / "digits_int8.onnx"
    onnx.save(float_model(train(trained, seed=options.seed, epochs=options.epochs)), floats)
    onnx.save(int8_model(floats, trained.images), codes)
    for path in (floats, codes):
        np.savez_compressed(path.with_suffix(".npz"), image=test.images, labels=test.labels)
        np.savez_compressed(path.with_name(f"{path.stem}_train.npz"), image=trained.images, labels=trained.labels)
        reached = accuracy(path, test)
        print(f"{path.name}: {path.stat().st_size:,} bytes, {reached:.2%} of {len(test.labels)} test images")


if __name__ == "__main__":
    main()
