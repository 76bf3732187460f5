"""Tensors of a small model, and shipped profiles with some text replaced."""

from pathlib import Path

import numpy as np
import pytest
from sites import site

from faultsim.device import load_device

DEVICES = Path(__file__).parents[2] / "devices"


@pytest.fixture(scope="module")
def tensors():
    rng = np.random.default_rng(7)
    shapes = {"conv": (16, 3, 3, 3), "bias": (16,), "var": (16,), "fc": (40, 300), "scale": (1,)}
    roles = {"bias": "bias", "var": "norm", "scale": "scale"}
    values = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    values["var"] = np.abs(values["var"])
    return {name: (site(name, array.shape, roles.get(name, "weight")), array) for name, array in values.items()}


@pytest.fixture
def profile(tmp_path):
    """Write a shipped profile with some text replaced, and load it."""

    def build(name, *replacements):
        text = (DEVICES / f"{name}.yaml").read_text()
        for old, new in replacements:
            assert old in text
            text = text.replace(old, new)
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        return load_device(path)

    return build
