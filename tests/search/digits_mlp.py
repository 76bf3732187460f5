"""The reference MLP in float64 NumPy with hand-written gradients: an `Objective` that needs no torch."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from faultsim.constraints import Tensors
from faultsim.metrics.losses import SHARPNESS
from faultsim.search import Gradient, Loss, Score

Array = NDArray[np.float64]
NAMES = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias")


class DigitsMlp:
    """Three Gemm layers with ReLU between them, mean loss over all given samples."""

    def __init__(self, weights: Mapping[str, Array], x: Array, y: NDArray[np.int64]) -> None:
        self.weights = {name: np.asarray(weights[name], dtype=np.float64) for name in NAMES}
        self.x, self.y = x.reshape(len(x), -1).astype(np.float64), y
        self.gradients = self.forwards = 0

    @classmethod
    def load(cls, golden: Path, split: str = "test", file: str = "mlp_f64.onnx") -> "DigitsMlp":
        graph = onnx.load(golden / file).graph
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
        data = np.load(golden / "digits_split.npz")
        return cls(weights, data[f"x_{split}"], data[f"y_{split}"])

    def _forward(self, delta: Mapping[str, Array] | None) -> tuple[Tensors, list[Array]]:
        w = {name: value + (delta or {}).get(name, 0.0) for name, value in self.weights.items()}
        one = np.maximum(self.x @ w["fc1.weight"].T + w["fc1.bias"], 0)
        two = np.maximum(one @ w["fc2.weight"].T + w["fc2.bias"], 0)
        return w, [self.x, one, two, two @ w["fc3.weight"].T + w["fc3.bias"]]

    def _margins(self, logits: Array) -> tuple[Array, NDArray[np.int64]]:
        """Return the best wrong logit minus the right one, per sample, and which is the best wrong class."""
        rows = np.arange(len(self.y))
        others = logits.copy()
        others[rows, self.y] = -np.inf
        rival = others.argmax(1)
        return others[rows, rival] - logits[rows, self.y], rival

    def gradient(self, delta: Mapping[str, Array] | None, loss: Loss) -> Gradient:
        self.gradients += 1
        w, (x, one, two, logits) = self._forward(delta)
        rows, n = np.arange(len(self.y)), len(self.y)
        if loss == "collapse":
            shifted = logits - logits.max(1, keepdims=True)
            log_total = np.log(np.exp(shifted).sum(1))
            taken = np.exp(shifted - log_total[:, None])
            taken[rows, self.y] = 0.0
            common = int(taken.sum(0).argmax())
            value = float((shifted[:, common] - log_total).mean())
            d = -np.exp(shifted - log_total[:, None])
            d[:, common] += 1
        elif loss != "margin":
            sharp = SHARPNESS.get(loss, 1.0)
            shifted = sharp * (logits - logits.max(1, keepdims=True))
            log_total = np.log(np.exp(shifted).sum(1))
            d = np.exp(shifted - log_total[:, None])
            own = d[rows, self.y].copy()
            value = float((log_total - shifted[rows, self.y]).mean())
            d[rows, self.y] -= 1
            if loss in SHARPNESS:
                right = self._margins(logits)[0] < 0
                value, d = float(np.where(right, 1 - own, 1.0).mean()), (sharp * right * own)[:, None] * d
        else:
            margins, rival = self._margins(logits)
            value = float(margins.mean())
            d = np.zeros_like(logits)
            d[rows, rival] += 1
            d[rows, self.y] -= 1
        d /= n
        grads: Tensors = {"fc3.weight": d.T @ two, "fc3.bias": d.sum(0)}
        d = (d @ w["fc3.weight"]) * (two > 0)
        grads |= {"fc2.weight": d.T @ one, "fc2.bias": d.sum(0)}
        d = (d @ w["fc2.weight"]) * (one > 0)
        grads |= {"fc1.weight": d.T @ x, "fc1.bias": d.sum(0)}
        return Gradient(value, {name: grads[name] for name in NAMES})

    def score(self, delta: Mapping[str, Array] | None) -> Score:
        self.forwards += 1
        logits = self._forward(delta)[1][-1]
        finite = np.isfinite(logits).all(1)
        rows, y = np.flatnonzero(finite), self.y[finite]
        if not rows.size:
            return Score(float("nan"), float("nan"), 0.0, len(self.y))
        shifted = logits[rows] - logits[rows].max(1, keepdims=True)
        loss = np.log(np.exp(shifted).sum(1)) - shifted[np.arange(rows.size), y]
        margins = self._margins(logits)[0][rows]
        correct = int((logits[rows].argmax(1) == y).sum())
        whole = rows.size == len(self.y)
        return Score(
            float(loss.mean()) if whole else float("nan"),
            float(margins.mean()) if whole else float("nan"),
            correct / len(self.y),
            len(self.y) - rows.size,
        )
