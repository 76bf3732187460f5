"""On real networks the sweep counts what whole passes count, for faults of every kind in every kind of tensor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sweep_equality import Arrays, assert_equal, faults, odd, one_site, ready

from faultsim.metrics import Classification
from faultsim.model import Model, load_model

MakeScorer = Callable[..., Any]


@pytest.mark.parametrize("kind", ["float", "int8"])
@pytest.mark.parametrize(("batch_size", "threads"), [(64, 1), (250, 1), (64, 2), (250, 3)])
def test_the_bundled_digits(
    digits: Callable[[str], Model], scorer: MakeScorer, kind: str, batch_size: int, threads: int
) -> None:
    model = digits(kind)
    ready_one = scorer(model, batch_size=batch_size, threads=threads)
    ready_one.set_golden()
    sweep = assert_equal(ready_one, faults(model, np.random.default_rng(batch_size), 40))
    assert sweep.spent.trials["slice"] > 5
    assert sweep.spent.masked > 0


def cifar(shared: Path, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    with np.load(shared / "data/cifar10/cifar10_test.npz") as data:
        return data["images"][:count], data["labels"][:count]


def keywords(shared: Path, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    with np.load(shared / "data/zoo/kws01.npz") as data:
        codes = next(data[k] for k in data.files if data[k].ndim > 1).reshape(-1, 49, 10, 1)
        return codes[:count].astype(np.int8), data["labels"][:count]


def fed(name: str, shared: Path, count: int) -> tuple[NDArray[Any], NDArray[Any]]:
    if "kws" in name:
        codes, labels = keywords(shared, count)
        return (codes if "int8" in name else (codes.astype(np.float32) - 83) * np.float32(0.5847029)), labels
    pixels, labels = cifar(shared, count)
    if "resnet8_int8" in name:
        return (pixels.astype(np.int16) - 128).astype(np.int8), labels
    if "resnet8_float" in name:
        return pixels.astype(np.float32), labels
    return np.ascontiguousarray((pixels / np.float32(255)).transpose(0, 3, 1, 2).astype(np.float32)), labels


REAL = [
    ("cifar10_models/resnet20_cifar10.onnx", 40, 14),
    ("cifar10_models/resnet20_cifar10_bn.onnx", 40, 14),
    ("cifar10_models/plaincnn_cifar10.onnx", 40, 10),
    ("zoo/mlperf_resnet8_float.onnx", 60, 20),
    ("zoo/mlperf_resnet8_int8.onnx", 60, 20),
    ("zoo/mlperf_kws_float.onnx", 80, 20),
    ("zoo/mlperf_kws_int8.onnx", 80, 20),
]


@pytest.mark.shared
@pytest.mark.parametrize(("name", "images", "trials"), REAL, ids=[one[0].split("/")[1] for one in REAL])
def test_real_models(shared: Path, name: str, images: int, trials: int) -> None:
    model = load_model(shared / "data" / name)
    pixels, labels = fed(name, shared, images)
    inputs = {model.inputs[0].name: pixels}
    scorer = ready(model, Arrays(inputs, labels.astype(np.int64)), 32, Classification())
    rng = np.random.default_rng(images)
    learned = [site.name for site in model.select(("weight", "bias"))]
    sweep = assert_equal(scorer, faults(model, rng, trials, learned))
    assert sweep.spent.trials["slice"] > trials / 4, sweep.spent
    assert sweep.spent.trials["whole"] < trials / 4, sweep.spent


@pytest.mark.shared
def test_every_tensor_of_a_real_quantized_model(shared: Path) -> None:
    model = load_model(shared / "data/zoo/mlperf_resnet8_int8.onnx")
    pixels, labels = fed("resnet8_int8", shared, 24)
    scorer = ready(model, Arrays({model.inputs[0].name: pixels}, labels.astype(np.int64)), 24, Classification())
    rng = np.random.default_rng(1)
    sites = [s.name for s in model.sites if model.numbers[s.name].size]
    patches = [one_site(model, site, rng) for site in sites] + [odd(model, site, rng) for site in sites[:20]]
    assert_equal(scorer, patches)
