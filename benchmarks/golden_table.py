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
import torch
from numpy.typing import NDArray

from faultsim.constraints import Global, Layout, LpL0
from faultsim.metrics import cross_entropy
from faultsim.metrics.losses import numpy_cross_entropy
from faultsim.model import Model, load_model
from faultsim.search import Gradient, Loss, Objective, Score

NAMES = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias")
TRIALS = 100
Delta = Mapping[str, NDArray[np.float64]] | None


def objective(path: Path, x: NDArray[np.float32], y: NDArray[np.int64]) -> Objective:
    """Return the network of *path* on samples *x*, shape ``(N, 1, 8, 8)``, and labels *y*: plug in here."""
    return _OnModel(load_model(path), x, y)


class _OnModel:
    """The product's model, all samples in one batch, in the precision of the file."""

    def __init__(self, model: Model, x: NDArray[np.float32], y: NDArray[np.int64]) -> None:
        self.model, self.labels = model, y
        (given,) = model.inputs
        (self.output,) = model.output_names
        self.dtype = model.numbers[NAMES[0]].dtype
        self.feeds = {given.name: x.astype(self.dtype)}

    def _numbers(self, delta: Delta) -> dict[str, NDArray[Any]]:
        clean = self.model.numbers
        return {name: (clean[name] + moved).astype(self.dtype) for name, moved in (delta or {}).items()}

    def gradient(self, delta: Delta, loss: Loss) -> Gradient:
        labels = torch.from_numpy(self.labels)

        def mean(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
            return cross_entropy(outputs[self.output], labels).mean()

        value, grads = self.model.gradient(self.feeds, mean, sites=NAMES, numbers=self._numbers(delta))
        return Gradient(value, {name: grad.astype(np.float64) for name, grad in grads.items()})

    def score(self, delta: Delta) -> Score:
        logits = self.model.run(self.feeds, self._numbers(delta))[self.output]
        right = float((logits.argmax(1) == self.labels).mean())
        return Score(float(numpy_cross_entropy(logits, self.labels).mean()), 0.0, right)


def table(golden: Path, *, f32: bool) -> dict[str, list[dict[str, object]]]:
    """Return the table that ``check_table.py`` reads: one step and 100 trials of every (p, n, eps)."""
    data = np.load(golden / "digits_split.npz")
    net = objective(golden / ("mlp_f32.onnx" if f32 else "mlp_f64.onnx"), data["x_test"], data["y_test"])
    grads = net.gradient(None, "cross_entropy").grads
    clean = net.score(None).loss
    layout = Layout.of(grads, NAMES)
    directions = [np.random.default_rng([2024, t]).standard_normal(layout.elements) for t in range(TRIALS)]
    out: list[dict[str, object]] = []
    for row in json.loads((golden / "mlp_attack_table.json").read_text())["rows"]:
        constraint = Global(NAMES, LpL0(float(row["p"]), row["eps"], row["n"]))
        score = net.score(constraint.argmax(grads))
        trials = [net.score(constraint.argmax(layout.split(direction))).loss - clean for direction in directions]
        out.append(
            {
                "p": row["p"],
                "n": row["n"],
                "eps": row["eps"],
                "first_order": constraint.indicator(grads),
                "dloss": score.loss - clean,
                "acc": score.accuracy,
                "random": {"dloss": trials},
            }
        )
    return {"rows": out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", type=Path, help="folder with mlp_f64.onnx, digits_split.npz, mlp_attack_table.json")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--f32", action="store_true", help="the float32 model instead of the float64 one")
    args = parser.parse_args()
    begin = time.perf_counter()
    rows = table(args.golden, f32=args.f32)
    args.out.write_text(json.dumps(rows))
    print(f"{len(rows['rows'])} rows in {time.perf_counter() - begin:.1f} s: {args.out}")


if __name__ == "__main__":
    main()
