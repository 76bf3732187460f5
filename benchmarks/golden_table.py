"""Write the one-step and random-trial table of the reference MLP for the golden folder's ``check_table.py``.

    python benchmarks/golden_table.py /path/to/golden/corruption table_f64.json
    python benchmarks/golden_table.py /path/to/golden/corruption table_f32.json --f32
    cd /path/to/golden/corruption && python check_table.py mlp /path/to/table_f32.json --f32

`objective` below is the one place that knows which network runs: the numbers must come from the product's own
model class, on the deployed file and in its deployed precision.
"""

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from faultsim.constraints import Global, Layout, LpL0
from faultsim.search import Gradient, Loss, Objective, Score

NAMES = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias")
TRIALS = 100
Arrays = dict[str, NDArray[Any]]
Delta = Mapping[str, NDArray[np.float64]] | None


def objective(model: Path, x: NDArray[np.float32], y: NDArray[np.int64]) -> Objective:
    """Return the network of *model* on samples *x*, shape ``(N, 1, 8, 8)``, and labels *y*: what to plug in."""
    return _NumpyMlp(model, x, y)


class _NumpyMlp:
    """The three layers in NumPy, in the file's precision: stands in until the engine's adapter is plugged in."""

    def __init__(self, model: Path, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        tensors = onnx.load(model).graph.initializer
        self.weights: Arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in tensors}
        self.dtype = self.weights[NAMES[0]].dtype
        self.x, self.y, self.rows = x.reshape(len(x), -1).astype(self.dtype), y, np.arange(len(y))

    def _run(self, delta: Delta) -> tuple[Arrays, NDArray[Any], NDArray[Any], NDArray[Any]]:
        w = {name: (self.weights[name] + (delta or {}).get(name, 0.0)).astype(self.dtype) for name in NAMES}
        one = np.maximum(self.x @ w["fc1.weight"].T + w["fc1.bias"], 0)
        two = np.maximum(one @ w["fc2.weight"].T + w["fc2.bias"], 0)
        logits = (two @ w["fc3.weight"].T + w["fc3.bias"]).astype(np.float64)
        shifted = logits - logits.max(1, keepdims=True)
        return w, one, two, shifted - np.log(np.exp(shifted).sum(1, keepdims=True))

    def gradient(self, delta: Delta, loss: Loss) -> Gradient:
        w, one, two, log_p = self._run(delta)
        d = np.exp(log_p)
        d[self.rows, self.y] -= 1
        d = (d / len(self.y)).astype(self.dtype)
        grads = {"fc3.weight": d.T @ two, "fc3.bias": d.sum(0)}
        d = (d @ w["fc3.weight"]) * (two > 0)
        grads |= {"fc2.weight": d.T @ one, "fc2.bias": d.sum(0)}
        d = (d @ w["fc2.weight"]) * (one > 0)
        grads |= {"fc1.weight": d.T @ self.x, "fc1.bias": d.sum(0)}
        return Gradient(float(-log_p[self.rows, self.y].mean()), grads)

    def score(self, delta: Delta) -> Score:
        log_p = self._run(delta)[3]
        correct = (log_p.argmax(1) == self.y).mean()
        return Score(float(-log_p[self.rows, self.y].mean()), 0.0, float(correct))


def table(golden: Path, *, f32: bool) -> dict[str, list[dict[str, object]]]:
    """Return the foreign table of ``check_table.py``: every (p, n, eps) of the reference, one step and 100 trials."""
    data = np.load(golden / "digits_split.npz")
    net = objective(golden / ("mlp_f32.onnx" if f32 else "mlp_f64.onnx"), data["x_test"], data["y_test"])
    clean = net.gradient(None, "cross_entropy")
    layout = Layout.of(clean.grads, NAMES)
    directions = [np.random.default_rng([2024, t]).standard_normal(layout.elements) for t in range(TRIALS)]
    out: list[dict[str, object]] = []
    for row in json.loads((golden / "mlp_attack_table.json").read_text())["rows"]:
        constraint = Global(NAMES, LpL0(float(row["p"]), row["eps"], row["n"]))
        score = net.score(constraint.argmax(clean.grads))
        trials = [
            net.score(constraint.argmax(layout.split(direction))).loss - clean.loss
            for direction in directions
        ]
        out.append(
            {
                "p": row["p"],
                "n": row["n"],
                "eps": row["eps"],
                "first_order": constraint.indicator(clean.grads),
                "dloss": score.loss - clean.loss,
                "acc": score.accuracy,
                "random": {"dloss": trials},
            }
        )
    return {"rows": out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "golden", type=Path, help="folder with mlp_f64.onnx, digits_split.npz, mlp_attack_table.json"
    )
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--f32", action="store_true", help="the float32 model instead of the float64 one")
    args = parser.parse_args()
    begin = time.perf_counter()
    rows = table(args.golden, f32=args.f32)
    args.out.write_text(json.dumps(rows))
    print(f"{len(rows['rows'])} rows in {time.perf_counter() - begin:.1f} s: {args.out}")


if __name__ == "__main__":
    main()
