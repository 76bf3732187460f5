"""Models and images for `bit_search.py`: int8, of the reference data or trained on digits. No search lives here."""

import logging
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from train_digits import float_model, splits, train

_CALIBRATION = 512
"""Last images of the CIFAR-10 test set: they calibrate, and are neither searched nor judged on."""


class Images(NamedTuple):
    """Images of shape (count, …) as the model takes them, and their labels, int64."""

    images: NDArray[np.generic]
    labels: NDArray[np.int64]

    def part(self, start: int, stop: int) -> "Images":
        """Return images ``start … stop - 1``."""
        return Images(self.images[start:stop], self.labels[start:stop])


class Case(NamedTuple):
    """One model to attack: its file, images to search on and others to judge on, each in an order drawn by the seed."""

    name: str
    file: Path
    search: Images
    judge: Images


class _Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    def __init__(self, name: str, images: NDArray[np.generic]) -> None:
        self._batches = iter([{name: images[i : i + 64]} for i in range(0, len(images), 64)])

    def get_next(self) -> dict[str, NDArray[np.generic]] | None:
        return next(self._batches, None)


def case(name: str, data: Path, folder: Path, *, per_tensor: bool, judged: int, seed: int) -> Case:
    """Return one of `MODELS`, its file written to *folder*.

    Args:
        name: Of the model.
        data: Folder of the reference data; the digits need none.
        folder: Where the int8 file goes.
        per_tensor: One scale a weight tensor, not one a channel; a model that is int8 already stays as it is.
        judged: Images to judge on.
        seed: Draws which images are searched and judged on; of the digits also the network's first weights.

    Raises:
        SystemExit: If the reference data are missing.
    """
    return MODELS[name](name, data, folder, per_tensor, judged, seed)


def _cifar(name: str, data: Path, folder: Path, per_tensor: bool, judged: int, seed: int) -> Case:
    images = _cifar_images(data)
    scaled = np.ascontiguousarray(images.images.transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    source = data / "cifar10_models" / f"{name}_cifar10.onnx"
    file = _quantized(source, folder, scaled[-_CALIBRATION:], per_tensor=per_tensor)
    scales = "tensor" if per_tensor else "channel"
    return _case(f"{name}, one scale a {scales}", file, Images(scaled, images.labels), judged, seed)


def _mlperf(name: str, data: Path, folder: Path, per_tensor: bool, judged: int, seed: int) -> Case:
    images = _cifar_images(data)
    codes = (images.images.astype(np.int16) - 128).astype(np.int8)
    return _case(name, data / "zoo" / f"{name}.onnx", Images(codes, images.labels), judged, seed)


def _digits(name: str, data: Path, folder: Path, per_tensor: bool, judged: int, seed: int) -> Case:
    trained, test = splits(seed)
    source = folder / f"{name}.onnx"
    onnx.save(float_model(train(trained, seed=seed, epochs=15)), source)
    file = _quantized(source, folder, trained.images, per_tensor=per_tensor)
    scales = "tensor" if per_tensor else "channel"
    judge = Images(test.images, test.labels).part(0, judged)
    return Case(f"{name}, one scale a {scales}", file, Images(trained.images, trained.labels), judge)


MODELS: dict[str, Callable[[str, Path, Path, bool, int, int], Case]] = {
    "resnet20": _cifar,
    "resnet32": _cifar,
    "mlperf_resnet8_int8": _mlperf,
    "digits": _digits,
}
"""What can be attacked, by name: CIFAR-10 models of the reference data, and a CNN trained here on the digits."""


def _cifar_images(data: Path) -> Images:
    if not data.is_dir():
        raise SystemExit(f"no folder {data}: give the reference data's folder, or --model digits")
    with np.load(data / "cifar10" / "cifar10_test.npz") as archive:
        return Images(archive["images"], archive["labels"].astype(np.int64))


def _case(name: str, file: Path, images: Images, judged: int, seed: int) -> Case:
    free = len(images.labels) - _CALIBRATION
    order = np.random.default_rng(seed).permutation(free)
    drawn = Images(images.images[order], images.labels[order])
    return Case(name, file, drawn.part(judged, free), drawn.part(0, judged))


def _quantized(source: Path, folder: Path, images: NDArray[np.generic], *, per_tensor: bool) -> Path:
    logging.getLogger().setLevel(logging.ERROR)  # these graphs are folded already: nothing to pre-process
    file = folder / f"{source.stem}_int8.onnx"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        made = Path(scratch) / "int8.onnx"
        quantize_static(
            str(source),
            str(made),
            _Calibration(onnx.load(source).graph.input[0].name, images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=not per_tensor,
        )
        made.rename(file)
    onnx.checker.check_model(str(file))
    return file
