"""What every tool is handed: the model file, the images, the faults drawn once. No tool and no clock lives here."""

import argparse
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import onnx
from numpy.typing import NDArray

Array = NDArray[Any]
Flags = NDArray[np.bool_]


class Fault(NamedTuple):
    """One flipped bit of the tensor *site*, at the flat index *element*; *bit* 0 is the lowest of the word."""

    site: str
    element: int
    bit: int

    def __str__(self) -> str:
        return f"{self.site}[{self.element}] bit {self.bit}"


@dataclass(frozen=True, eq=False)
class Campaign:
    """The same work for every tool.

    Attributes:
        path: The ONNX file.
        images: What the model's one input takes, samples first, float32.
        labels: Their classes, int64; no mismatch depends on them.
        batch_size: Images a call, for every tool.
        threads: Of torch and of onnxruntime alike.
    """

    path: Path
    images: Array
    labels: Array
    batch_size: int
    threads: int

    def batches(self) -> Iterator[Array]:
        """Yield the images a batch at a time, without a copy."""
        for start in range(0, len(self.images), self.batch_size):
            yield self.images[start : start + self.batch_size]

    def first(self, images: int) -> "Campaign":
        """Return the same campaign over the first *images* alone."""
        return replace(self, images=self.images[:images], labels=self.labels[:images])


def images_of(data_folder: Path, model: str, *, images: int, threads: int, batch_size: int, quick: bool) -> Campaign:
    """Return a campaign over the first CIFAR-10 test images; over the bundled digits where these are absent, or quick.

    Args:
        data_folder: Holds ``cifar10_models/`` and ``cifar10/``.
        model: File name in ``cifar10_models/``.
        images: How many, at most.
        threads: Of torch and of onnxruntime alike.
        batch_size: Images a call.
        quick: Whether to take the digits in any case.
    """
    path = data_folder / "cifar10_models" / model
    if quick or not path.is_file():
        folder = Path(__file__).resolve().parents[2] / "scenarios" / "digits"
        path = folder / "digits_float.onnx"
        with np.load(folder / "digits_float.npz", allow_pickle=False) as data:
            inputs, labels = data["image"][:images], data["labels"][:images]
    else:
        with np.load(data_folder / "cifar10" / "cifar10_test.npz", allow_pickle=False) as data:
            inputs, labels = data["images"][:images], data["labels"][:images]
        inputs = inputs.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    return Campaign(path, np.ascontiguousarray(inputs), labels.astype(np.int64), batch_size, threads)


def campaign_of(chosen: argparse.Namespace) -> Campaign:
    """Return the campaign of ``--data-folder``, ``--model``, ``--images``, ``--threads`` and ``--quick``."""
    return images_of(
        chosen.data_folder,
        chosen.model,
        images=chosen.images,
        threads=chosen.threads,
        batch_size=250,
        quick=chosen.quick,
    )


class Tool(Protocol):
    """A fault injector that has read the campaign and taken the fault-free predictions.

    Attributes:
        name: Name and version.
        whole: Whether it wants the whole list of faults in one call, because it shares work between them.
    """

    name: str
    whole: bool

    def run(self, faults: Sequence[Fault]) -> Flags:
        """Return which images each fault makes a mismatch, shape (faults, images); this is what the clock is on."""


def weights(proto: onnx.ModelProto) -> dict[str, Array]:
    """Return the weights of the convolutions and dense layers by name, in the order of the graph.

    In a quantized graph these are the integer codes behind a DequantizeLinear. Biases and norms are not weights: the
    peers inject into ``Conv2d.weight`` and ``Linear.weight``.
    """
    tensors = {one.name: one for one in proto.graph.initializer}
    codes = {node.output[0]: node.input[0] for node in proto.graph.node if node.op_type == "DequantizeLinear"}
    layers = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm", "MatMul")]
    names = [codes.get(node.input[1], node.input[1]) for node in layers]
    return {name: onnx.numpy_helper.to_array(tensors[name]) for name in names if name in tensors}


def draw_faults(tensors: dict[str, Array], trials: int, seed: int) -> list[Fault]:
    """Draw single bit flips, uniform over all bits of all elements, with replacement.

    A longer list of the same seed begins with the shorter one.
    """
    rng = np.random.default_rng(seed)
    names = list(tensors)
    bits = [tensors[name].size * tensors[name].itemsize * 8 for name in names]
    ends = np.cumsum(bits)
    faults = []
    for place in rng.integers(0, int(ends[-1]), size=trials):
        layer = int(np.searchsorted(ends, place, side="right"))
        word = tensors[names[layer]].itemsize * 8
        faults.append(Fault(names[layer], *divmod(int(place - ends[layer] + bits[layer]), word)))
    return faults


def flip(tensor: Array, fault: Fault) -> Array:
    """Return a copy of *tensor* with the bit of *fault* flipped."""
    out = tensor.copy()
    words = out.reshape(-1).view(f"u{out.itemsize}")
    words[fault.element] ^= words.dtype.type(1 << fault.bit)
    return out


def predictions(logits: Array) -> NDArray[np.int64]:
    """Return the class of each image, -1 where any of its logits is not finite."""
    return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1).astype(np.int64)


class Disagreement(NamedTuple):
    """A trial on which a tool parts from the reference: mismatches of each, and the images that they judge apart."""

    trial: int
    reference: int
    found: int
    images: int


def disagreements(reference: Flags, found: Flags) -> list[Disagreement]:
    """Return the trials on which two tools differ, in any image; those that both have run, in order.

    Raises:
        ValueError: If they judged different images, or have no trial in common.
    """
    shared = min(len(reference), len(found))
    if not shared or reference.shape[1:] != found.shape[1:]:
        raise ValueError(f"flags of shapes {reference.shape} and {found.shape} do not compare; run the same campaign")
    apart = (reference[:shared] != found[:shared]).sum(axis=1)
    return [
        Disagreement(int(trial), int(reference[trial].sum()), int(found[trial].sum()), int(apart[trial]))
        for trial in np.flatnonzero(apart)
    ]


def growth(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """Return the exponent a of seconds ∝ size^a, by least squares on the logarithms: 1 is in proportion."""
    x = np.log(np.asarray(sizes, dtype=np.float64))
    y = np.log(np.asarray(seconds, dtype=np.float64))
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / ((x - x.mean()) ** 2).sum())
    return slope if math.isfinite(slope) else math.nan
