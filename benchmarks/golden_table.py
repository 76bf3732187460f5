"""Write the one-step and random-trial table of the reference MLP for the golden folder's ``check_table.py``.

    python benchmarks/golden_table.py /path/to/golden/corruption table_f64.json
    python benchmarks/golden_table.py /path/to/golden/corruption table_f32.json --f32
    cd /path/to/golden/corruption && python check_table.py mlp /path/to/table_f32.json --f32

The numbers come from the product itself: its gradients on torch, its scores in onnxruntime, on the deployed file and in
its deployed precision.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints import Global, Layout, LpL0
from faultsim.corruption import Stored
from faultsim.data import load_data
from faultsim.engine.evaluate import Scorer
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.metrics import Classification
from faultsim.model import load_model
from faultsim.search import Objective

NAMES = ("fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias", "fc3.weight", "fc3.bias")
TRIALS = 100


def objective(path: Path, x: NDArray[np.float32], y: NDArray[np.int64], folder: Path) -> Objective:
    """Return the network of *path* on samples *x*, shape ``(N, 1, 8, 8)``, and labels *y*, as `assess` runs it.

    The weights are stored as they are deployed; *folder* takes the samples as a data file.
    """
    model = load_model(path)
    dtype = model.numbers[NAMES[0]].dtype
    np.savez(folder / "samples.npz", x=x.astype(dtype), labels=y)
    data = load_data(folder / "samples.npz", model_path=None, inputs=model.inputs)
    output = scored_output(model)
    scorer = Scorer(Runner(model, output.name, threads=1), output, Classification(), data, batch_size=len(y))
    stored = {name: Stored(model.site(name), model.site(name).format, model.numbers[name]) for name in NAMES}
    return NetworkObjective(model, stored, scorer)


def table(golden: Path, *, f32: bool, trials: int = TRIALS) -> dict[str, list[dict[str, object]]]:
    """Return the table that ``check_table.py`` reads: one step and the first random trials of every (p, n, eps)."""
    data = np.load(golden / "digits_split.npz")
    with tempfile.TemporaryDirectory() as folder:
        path = golden / ("mlp_f32.onnx" if f32 else "mlp_f64.onnx")
        return _rows(objective(path, data["x_test"], data["y_test"], Path(folder)), golden, trials)


def _rows(net: Objective, golden: Path, trials: int) -> dict[str, list[dict[str, object]]]:
    grads = net.gradient(None, "cross_entropy").grads
    clean = net.score(None).loss
    layout = Layout.of(grads, NAMES)
    directions = [np.random.default_rng([2024, t]).standard_normal(layout.elements) for t in range(trials)]
    out: list[dict[str, object]] = []
    for row in json.loads((golden / "mlp_attack_table.json").read_text())["rows"]:
        constraint = Global(NAMES, LpL0(float(row["p"]), row["eps"], row["n"]))
        score = net.score(constraint.argmax(grads))
        losses = [net.score(constraint.argmax(layout.split(direction))).loss - clean for direction in directions]
        out.append(
            {
                "p": row["p"],
                "n": row["n"],
                "eps": row["eps"],
                "first_order": constraint.indicator(grads),
                "dloss": score.loss - clean,
                "acc": score.accuracy,
                "random": {"dloss": losses},
            }
        )
    return {"rows": out}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("golden", type=Path, help="folder with mlp_f64.onnx, digits_split.npz, mlp_attack_table.json")
    parser.add_argument("out", type=Path, help="JSON file to write")
    parser.add_argument("--f32", action="store_true", help="the float32 model instead of the float64 one")
    parser.add_argument("--trials", type=int, default=TRIALS, help="random trials of each row, at most 100")
    args = parser.parse_args()
    if not (args.golden / "mlp_attack_table.json").is_file():
        parser.error(f"{args.golden} holds no mlp_attack_table.json; give the folder of the reference numbers")
    begin = time.perf_counter()
    rows = table(args.golden, f32=args.f32, trials=args.trials)
    args.out.write_text(json.dumps(rows))
    print(f"{len(rows['rows'])} rows in {time.perf_counter() - begin:.1f} s: {args.out}")


if __name__ == "__main__":
    main()
