"""How far certificates reach: proven loss and accuracy against the radius, on networks of growing depth.

``python benchmarks/certificate_reach.py [FOLDER]`` bounds the digits network, and with the reference data (default:
``shared`` beside the checkout) MLPerf's ResNet-8 and ResNet-20: every tensor moves by a part of its own 2-norm.
"""

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultsim.certify import certify
from faultsim.constraints import LpL0, PerTensor
from faultsim.corruption import Stored
from faultsim.model import load_model

ROOT = Path(__file__).resolve().parents[1]


def main() -> None:
    """Print one row for each network and radius."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=ROOT.parent / "shared", type=Path)
    given = parser.parse_args()
    with np.load(ROOT / "scenarios" / "digits" / "digits_float.npz") as digits:
        images, labels = digits["image"][:64], digits["labels"][:64]
    _reach(ROOT / "scenarios" / "digits" / "digits_float.onnx", images, labels, (5e-4, 1e-3, 1.5e-3, 2e-3, 3e-3))
    data = given.folder / "data"
    if not data.is_dir():
        print(f"no folder {data}: give the reference data's folder for the other networks")
        return
    with np.load(data / "cifar10" / "cifar10_test.npz") as archive:
        photos, labels = archive["images"][:4], archive["labels"][:4].astype(np.int64)
    pixels = photos.astype(np.float32)
    _reach(data / "zoo" / "mlperf_resnet8_float.onnx", pixels, labels, (1e-9, 1e-8, 1e-7))
    scaled = (np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)) / 255).astype(np.float32)
    _reach(data / "cifar10_models" / "resnet20_cifar10.onnx", scaled, labels, (1e-12,))


def _reach(file: Path, images: NDArray[np.float32], labels: NDArray[np.int64], parts: tuple[float, ...]) -> None:
    model = load_model(file)
    stored = {s.name: Stored(s, s.format, model.numbers[s.name]) for s in model.select(("weight", "bias"))}
    sizes = {name: float(np.linalg.norm(one.values.astype(np.float64))) for name, one in stored.items()}
    print(f"{file.name}: {len(stored)} tensors, {len(labels)} samples")
    for part in parts:
        ball = PerTensor({name: LpL0(2.0, part * size) for name, size in sizes.items() if size > 0})
        start = time.process_time()
        found = certify(model, stored, ball, [({model.inputs[0].name: images}, labels)])
        print(
            f"  {part:7.1e} of each norm: loss rises by at most {found.loss_increase_upper:.3g} nats, "
            f"{found.first_order:.2g} to first order; accuracy {found.correct / len(labels):.3f}, "
            f"at least {found.accuracy_lower:.3f}; {time.process_time() - start:.1f} s of CPU",
            flush=True,
        )


if __name__ == "__main__":
    main()
