"""The real models beside the checkout: they agree with onnxruntime on real input and yield gradients."""

import numpy as np
import pytest
import torch

from faultsim.model import check_agreement, load_model

pytestmark = pytest.mark.shared
TEN = 10


@pytest.fixture(scope="module")
def pixels(shared):
    with np.load(shared / "data/cifar10/cifar10_test.npz") as data:
        images = data[next(k for k in data.files if data[k].ndim == 4)][:TEN]
        labels = data[next(k for k in data.files if data[k].ndim == 1)][:TEN]
    return images, labels


@pytest.fixture(scope="module")
def keyword_features(shared):
    with np.load(shared / "data/zoo/kws01.npz") as data:
        return next(data[k] for k in data.files if data[k].ndim > 1)[:TEN].reshape(-1, 49, 10, 1)


def _feeds(name, pixels, keyword_features, shared):
    images, _ = pixels
    if "cifar10_models" in name:
        return (images / np.float32(255)).transpose(0, 3, 1, 2).astype(np.float32)
    if "resnet8_float" in name:
        return images.astype(np.float32)
    if "resnet8_int8" in name:
        return (images.astype(np.int16) - 128).astype(np.int8)
    if "kws" in name:
        as_codes = keyword_features.astype(np.int8)
        return as_codes if "int8" in name else ((as_codes.astype(np.float32) - 83) * np.float32(0.5847029))
    if "TFC" in name:
        with np.load(shared / "data/zoo/mnist_test.npz") as data:
            digits = next(data[k] for k in data.files if data[k].ndim >= 3)[:1]
        return (digits / np.float32(255)).reshape(-1, 1, 28, 28).astype(np.float32)
    rng = np.random.default_rng(3)
    return rng.integers(0, 256, (1, 224, 224, 3)).astype(np.uint8)


NAMES = [
    "cifar10_models/resnet20_cifar10.onnx",
    "cifar10_models/resnet20_cifar10_bn.onnx",
    "cifar10_models/resnet32_cifar10.onnx",
    "cifar10_models/resnet56_cifar10.onnx",
    "cifar10_models/plaincnn_cifar10.onnx",
    "zoo/mlperf_resnet8_float.onnx",
    "zoo/mlperf_resnet8_int8.onnx",
    "zoo/mlperf_kws_float.onnx",
    "zoo/mlperf_kws_int8.onnx",
    "zoo/coral_mobilenet_v2_quant.onnx",
    "zoo/TFC_2W2A.onnx",
]


@pytest.mark.parametrize("name", NAMES)
def test_agrees_and_yields_gradients_at_every_weight(name, shared, pixels, keyword_features):
    loaded = load_model(shared / "data" / name)
    fed = {loaded.inputs[0].name: _feeds(name, pixels, keyword_features, shared)}
    if "TFC" in name:
        pytest.importorskip("qonnx")
    found = check_agreement(loaded, fed)
    assert found.runtime.startswith("qonnx executor" if "TFC" in name else "onnxruntime 1.")
    assert found.max_abs_difference <= found.tolerance
    assert not loaded.fallbacks

    def margin(outputs):
        (scores,) = outputs.values()
        top = scores.double().flatten(1).topk(2, dim=1).values
        return (top[:, 0] - 0.5 * top[:, 1]).mean() + scores.double().square().mean()

    weights = [s.name for s in loaded.sites if s.role == "weight"]
    value, gradients = loaded.gradient(fed, margin, sites=weights)
    assert np.isfinite(value)
    silent = [n for n in weights if not np.any(gradients[n])]
    assert not silent
    assert all(np.isfinite(g).all() and g.shape == loaded.site(n).shape for n, g in gradients.items())


@pytest.mark.parametrize(("name", "right"), [("resnet20_cifar10", 9), ("plaincnn_cifar10", 7)])
def test_most_of_ten_real_images_are_right(name, right, shared, pixels):
    loaded = load_model(shared / f"data/cifar10_models/{name}.onnx")
    images, labels = pixels
    fed = {"input": (images / np.float32(255)).transpose(0, 3, 1, 2).astype(np.float32)}
    assert (loaded.run(fed)["logits"].argmax(1) == labels).sum() >= right


def test_biases_and_norms_of_resnet20_yield_gradients(shared, pixels, keyword_features):
    loaded = load_model(shared / "data/cifar10_models/resnet20_cifar10_bn.onnx")
    fed = {"input": _feeds("cifar10_models", pixels, keyword_features, shared)}
    chosen = [s.name for s in loaded.select(("bias", "norm"))]
    loss = lambda out: torch.nn.functional.cross_entropy(out["logits"], torch.zeros(TEN, dtype=torch.long))  # noqa: E731
    _, gradients = loaded.gradient(fed, loss, sites=chosen)
    assert all(np.any(g) for g in gradients.values())
