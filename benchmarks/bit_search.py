"""Flips to chance: the bit search against progressive bit search to the letter, on the same samples, in one run.

``python benchmarks/bit_search.py [FOLDER] [--search 128] [--judge 1000] [--seed 0]`` quantizes ResNet-20 to int8
(onnxruntime, QDQ, one scale a channel) into a temporary folder, searches both ways on the first images of the CIFAR-10
test set, and judges every number of flips on others. FOLDER is the reference data (default: ``shared`` beside the
checkout). Both searches see the weights of convolutions and dense layers alone, as the published attack does.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from faultsim.corruption import Stored
from faultsim.data import load_data
from faultsim.engine.edits import NetworkEdits
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.metrics import Classification
from faultsim.model import Model, load_model
from faultsim.search.bits import (
    Beam,
    BitFlips,
    CellMethod,
    ProgressiveBitSearch,
    Swap,
    Untargeted,
    WorstCells,
    worst_cells,
)

_CHANCE = 0.12
_GOAL = 0.10
"""Accuracy on the search images at which our search stops: below chance, as other images do a little better."""
_MOST = 20


class _Calibration(CalibrationDataReader):  # type: ignore[misc]
    def __init__(self, images: NDArray[np.float32]) -> None:
        self._batches = iter([images[i : i + 64] for i in range(0, len(images), 64)])

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self._batches, None)
        return None if batch is None else {"input": batch}


def main() -> None:
    """Print flips, accuracy and cost of both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=Path(__file__).parents[2] / "shared", type=Path)
    parser.add_argument("--search", type=int, default=128, help="images to search on")
    parser.add_argument("--judge", type=int, default=1000, help="other images to judge on")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--forwards", type=int, default=3000, help="most forward passes of each search")
    parser.add_argument("--beam", type=int, default=4, help="corruptions of each size that go on")
    parser.add_argument("--per-tensor", action="store_true", help="one scale a tensor instead of one a channel")
    given = parser.parse_args()
    data = given.folder / "data"
    if not data.is_dir():
        raise SystemExit(f"no folder {data}: give the reference data's folder")
    archive = np.load(data / "cifar10" / "cifar10_test.npz")
    images = np.ascontiguousarray(archive["images"].transpose(0, 3, 1, 2)).astype(np.float32) / np.float32(255)
    labels = archive["labels"].astype(np.int64)
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch) / "resnet20_int8.onnx"
        quantize_static(
            str(data / "cifar10_models" / "resnet20_cifar10.onnx"),
            str(file),
            _Calibration(images[-512:]),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            per_channel=not given.per_tensor,
        )
        onnx.checker.check_model(str(file))
        model = load_model(file)
        stop = given.search + given.judge
        search = _scorer(model, Path(scratch), "search", images[: given.search], labels[: given.search])
        judge = _scorer(model, Path(scratch), "judge", images[given.search : stop], labels[given.search : stop])
        weights = {s.name: Stored(s, s.format, model.numbers[s.name]) for s in model.select(("weight",))}
        judged = NetworkEdits(model, weights, judge)
        clean = judged.score({}).accuracy
        scales = "tensor" if given.per_tensor else "channel"
        print(
            f"ResNet-20 int8 (one scale a {scales}), {len(weights)} tensors, "
            f"{sum(w.site.elements for w in weights.values())} weights; searched on {given.search} images, judged on "
            f"{given.judge} others: clean {clean:.3f}; chance is {_CHANCE} or less; seed {given.seed}"
        )
        published: list[CellMethod] = [ProgressiveBitSearch()]
        ours: list[CellMethod] = [Beam(beam=given.beam, tried=24, favourites=6 * given.beam), Swap(rounds=2)]
        runs = (("progressive bit search", published, None), ("faultsim", ours, _GOAL))
        needed = []
        for name, methods, goal in runs:
            network = NetworkEdits(model, weights, search)
            needed.append(_run(name, methods, network, judged, goal=goal, forwards=given.forwards, seed=given.seed))
        print(f"flips to chance, judged on other images: progressive {needed[0]}, faultsim {needed[1]}")


def _scorer(model: Model, folder: Path, name: str, images: NDArray[np.float32], labels: NDArray[np.int64]) -> Scorer:
    file = folder / f"{name}.npz"
    np.savez(file, input=images, labels=labels)
    samples = load_data(file, model_path=model.path, inputs=model.inputs)
    output = scored_output(model)
    task = Classification(margin_cap=np.inf)
    return Scorer(Runner(model, output.name, threads=1), output, task, samples, 128)


def _run(
    name: str,
    methods: list[CellMethod],
    network: NetworkEdits,
    judged: NetworkEdits,
    *,
    goal: float | None,
    forwards: int,
    seed: int,
) -> int | None:
    """Search until chance, print what every further flip does on the other images, return the fewest that reach it."""
    choices = {site: BitFlips(stored) for site, stored in network.stored.items()}
    start = time.perf_counter()
    found = worst_cells(
        Untargeted(objective=network),
        choices,
        _MOST,
        until_accuracy=goal,
        methods=methods,
        budget_gradients=None,
        budget_forwards=forwards,
        seed=seed,
    )
    seconds = time.perf_counter() - start
    print(f"{name}: {found.gradients} gradients, {found.forwards} forwards, {seconds:.0f} s", flush=True)
    return _judge(found, judged)


def _judge(found: WorstCells, judged: NetworkEdits) -> int | None:
    reached: int | None = None
    spent = {row.cells: row for row in found.trace}
    for one in found.sizes:
        score = judged.score(one.corruption)
        row = spent[one.cells]
        print(
            f"  {one.cells:3d} flips  search accuracy {one.judged.accuracy:.3f} loss {one.judged.loss:7.3f}   others "
            f"{score.accuracy:.3f} loss {score.loss:7.3f}   spent {row.gradients} gradients {row.forwards} forwards"
        )
        if reached is None and score.accuracy <= _CHANCE:
            reached = one.cells
    return reached


if __name__ == "__main__":
    main()
