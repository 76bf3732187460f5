"""Small networks with hand-written gradients as `EditObjective`: no torch, whatever the stored format."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Edit, Site, Stored, apply_edit
from faultsim.formats import IntFormat, NumberFormat
from faultsim.search import Gradient, Loss, Score
from tests.search.digits_mlp import DigitsMlp

WEIGHTS = ("fc1.weight", "fc2.weight", "fc3.weight")


def stored_as(name: str, values: NDArray[np.float64], form: NumberFormat) -> Stored:
    site = Site(name=name, shape=values.shape, format=form, layer=name, kind="gemm", role="weight", depth=0)
    return Stored(site, form, form.decode(form.encode(values)))


class EditedMlp:
    """The reference MLP with the tensors given as *stored*, under edits."""

    def __init__(self, mlp: DigitsMlp, stored: Mapping[str, Stored]) -> None:
        self.mlp, self.stored = mlp, dict(stored)
        self.gradients = self.forwards = 0

    def delta(self, edits: Mapping[str, Edit]) -> dict[str, NDArray[np.float64]]:
        now = {name: apply_edit(edits[name], one) if name in edits else one.values for name, one in self.stored.items()}
        return {name: values.astype(np.float64) - self.mlp.weights[name] for name, values in now.items()}

    def gradient(self, edits: Mapping[str, Edit], loss: Loss) -> Gradient:
        self.gradients += 1
        with np.errstate(all="ignore"):
            return self.mlp.gradient(self.delta(edits), loss)

    def score(self, edits: Mapping[str, Edit]) -> Score:
        self.forwards += 1
        with np.errstate(all="ignore"):
            return self.mlp.score(self.delta(edits))


def golden_mlp(golden: Path, bits: int) -> EditedMlp:
    """The reference MLP with integer weights, symmetric per tensor; the biases stay floats."""
    mlp = DigitsMlp.load(golden)
    stored = {}
    for name in WEIGHTS:
        scale = np.abs(mlp.weights[name]).max() / (2 ** (bits - 1) - 1)
        stored[name] = stored_as(name, mlp.weights[name], IntFormat(bits, scale=scale, dtype="float64"))
    return EditedMlp(mlp, stored)


def tiny_mlp(seed: int, shape: tuple[int, ...] = (3, 3, 3, 3), samples: int = 12) -> DigitsMlp:
    """A random MLP of the same build on random data, labelled by itself with a few errors."""
    rng = np.random.default_rng(seed)
    d, h, m, c = shape
    sizes = {"fc1": (h, d), "fc2": (m, h), "fc3": (c, m)}
    weights = {}
    for name, (rows, columns) in sizes.items():
        weights[f"{name}.weight"] = rng.normal(size=(rows, columns))
        weights[f"{name}.bias"] = rng.normal(scale=0.1, size=rows)
    x = rng.normal(size=(samples, d))
    net = DigitsMlp(weights, x, np.zeros(samples, dtype=np.int64))
    y = net._forward(None)[1][-1].argmax(1)
    y[: samples // 6] = rng.integers(c, size=samples // 6)
    return DigitsMlp(weights, x, y)
