"""Flips to chance: the bit search against progressive bit search to the letter, in one run, judged on other images.

``python benchmarks/bit_search.py [FOLDER] [--model resnet20] [--per-tensor] [--seed 0]`` quantizes a model to int8
(onnxruntime, QDQ) into a temporary folder and searches it three times: progressive bit search on 128 images, as
published; progressive bit search on more; and faultsim on the same ones: progressive bit search is its start, a beam
tries with fewer flips, swaps with fewer still, and then do more damage with as many and two more. The images of the
judgement are seen by no search: no flip is chosen by them. FOLDER is the reference data (default: ``shared``
beside the checkout). All searches see the weights of convolutions and dense layers alone, as the published attack does.

What is counted for faultsim includes its start. That is not computed twice, and its time is added.
"""

import argparse
import pickle
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from bit_search_cases import MODELS, Case, Images, case

from faultsim.corruption import Edit, Stored
from faultsim.data import load_data
from faultsim.engine.edits import NetworkEdits
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.metrics import Classification
from faultsim.model import Model, load_model
from faultsim.search import Gradient, Loss, Score
from faultsim.search.bits import (
    Beam,
    BitFlips,
    CellMethod,
    ProgressiveBitSearch,
    Screen,
    Swap,
    Untargeted,
    WorstCells,
    worst_cells,
)

CHANCE = 0.12
"""Accuracy on the judged images at or below which a network of ten classes counts as guessing."""


class Outcome(NamedTuple):
    """One search: flips to chance (None: not within the most), what was spent in all, and the judged accuracies."""

    name: str
    images: int
    flips: int | None
    gradients: int
    forwards: int
    seconds: float
    judged: dict[int, float]


class Known:
    """A network that answers what it was asked before from memory (`search.bits.EditObjective`)."""

    def __init__(self, network: NetworkEdits) -> None:
        """Ask *network* what is not known."""
        self._network = network
        self._scores: dict[bytes, Score] = {}
        self._gradients: dict[tuple[bytes, Loss], Gradient] = {}

    def score(self, edits: Mapping[str, Edit]) -> Score:
        """Return what the network does under *edits*."""
        key = pickle.dumps(sorted(edits.items()))
        if key not in self._scores:
            self._scores[key] = self._network.score(edits)
        return self._scores[key]

    def gradient(self, edits: Mapping[str, Edit], loss: Loss) -> Gradient:
        """Return the mean loss under *edits* and its gradient."""
        key = pickle.dumps(sorted(edits.items())), loss
        if key not in self._gradients:
            self._gradients[key] = self._network.gradient(edits, loss)
        return self._gradients[key]


class Attack:
    """One model with its images, ready to be searched.

    Attributes:
        model: The int8 model.
        weights: Its weights as stored.
        clean: Accuracy on the judged images.
    """

    def __init__(self, one: Case, folder: Path) -> None:
        """Open the model of *one*; images pass through files in *folder*."""
        self._folder = folder
        self.model: Model = load_model(one.file)
        self.weights = {s.name: Stored(s, s.format, self.model.numbers[s.name]) for s in self.model.select(("weight",))}
        self._case = one
        self._known: dict[str, Known] = {}
        self._judge = self._network("judge", one.judge)
        self.clean = self._judge.score({}).accuracy

    def run(
        self,
        name: str,
        methods: list[CellMethod],
        *,
        images: int,
        flips: int,
        screen: int | None = None,
        goal: float | None = None,
        forwards: int | None = None,
    ) -> Outcome:
        """Search for at most so many *flips* on so many *images*, and judge them up to the first at chance.

        Args:
            name: Of the row.
            methods: The searches.
            images: How many of the case's are searched on.
            flips: Most flips.
            screen: How many of these candidates are looked at on first; all for None.
            goal: Accuracy on the searched images below which fewer flips are looked for; None: more flips only.
            forwards: Most forward passes; None for no limit.
        """
        network = self._network("search", self._case.search.part(0, images))
        look = None
        if screen is not None:
            few = self._network("screen", self._case.search.part(0, screen))
            look = Screen(aim=Untargeted(objective=few), share=screen / images, keep=8)
        choices = {site: BitFlips(stored) for site, stored in self.weights.items()}
        start = time.process_time()
        found = worst_cells(
            Untargeted(objective=network),
            choices,
            flips,
            until_accuracy=goal,
            methods=methods,
            screen=look,
            budget_gradients=None,
            budget_forwards=forwards,
        )
        return self._judged(name, images, found, time.process_time() - start)

    def _judged(self, name: str, images: int, found: WorstCells, seconds: float) -> Outcome:
        accuracies: dict[int, float] = {}
        for one in found.sizes:  # by their number of flips, ascending
            accuracies[one.cells] = self._judge.score(one.corruption).accuracy
            if accuracies[one.cells] <= CHANCE:
                return Outcome(name, images, one.cells, found.gradients, found.forwards, seconds, accuracies)
        return Outcome(name, images, None, found.gradients, found.forwards, seconds, accuracies)

    def _network(self, name: str, part: Images) -> Known:
        file = self._folder / f"{name}_{len(part.labels)}.npz"
        if str(file) in self._known:
            return self._known[str(file)]
        np.savez(file, allow_pickle=False, **{self.model.inputs[0].name: part.images, "labels": part.labels})
        samples = load_data(file, model_path=self.model.path, inputs=self.model.inputs)
        output = scored_output(self.model)
        runner = Runner(self.model, output.name, threads=1)
        scorer = Scorer(runner, output, Classification(margin_cap=np.inf), samples, 128)
        self._known[str(file)] = Known(NetworkEdits(self.model, self.weights, scorer))
        return self._known[str(file)]


def main() -> None:
    """Print flips to chance, cost and the judged accuracy of every number of flips."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", default=Path(__file__).parents[2] / "shared", type=Path)
    parser.add_argument("--model", choices=sorted(MODELS), default="resnet20")
    parser.add_argument("--search", type=int, default=128, help="images of the published search")
    parser.add_argument("--more", type=int, default=256, help="images of the other two searches")
    parser.add_argument("--screen", type=int, default=64, help="images of our first look")
    parser.add_argument("--judge", type=int, default=1000, help="other images to judge on")
    parser.add_argument("--seed", type=int, default=0, help="draws the images, and trains the digits network")
    parser.add_argument("--beam", type=int, default=2, help="corruptions of each size that go on in our search")
    parser.add_argument("--most", type=int, default=16, help="most flips")
    parser.add_argument("--tried", type=int, default=10, help="candidates by each gradient, beside one a layer")
    parser.add_argument("--rounds", type=int, default=8, help="most rounds of swaps")
    parser.add_argument(
        "--goal", type=float, default=CHANCE, help="accuracy on its images at which ours wants fewer flips"
    )
    parser.add_argument("--forwards", type=int, default=1000, help="most forward passes of our search")
    parser.add_argument("--per-tensor", action="store_true", help="one scale a tensor instead of one a channel")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        one = case(
            given.model,
            given.folder / "data",
            folder,
            per_tensor=given.per_tensor,
            judged=given.judge,
            seed=given.seed,
        )
        attack = Attack(one, folder)
        elements = sum(w.site.elements for w in attack.weights.values())
        print(
            f"{one.name}, int8: {len(attack.weights)} tensors, {elements:,} weights; seed {given.seed}; judged on "
            f"{len(one.judge.labels)} other images, clean {attack.clean:.3f}; chance is {CHANCE} or less",
            flush=True,
        )
        letter: list[CellMethod] = [ProgressiveBitSearch()]
        beam = Beam(beam=given.beam, tried=given.tried, survey=0, favourites=16)
        swap = Swap(beam=beam, rounds=given.rounds)
        ours: list[CellMethod] = [ProgressiveBitSearch(), beam, swap, replace(swap, fewer=False)]
        _show(attack.run("progressive", letter, images=given.search, flips=given.most))
        start = attack.run("progressive", letter, images=given.more, flips=given.most)
        _show(start)
        found = attack.run(
            "faultsim",
            ours,
            images=given.more,
            flips=given.most,
            screen=given.screen,
            goal=given.goal,
            forwards=given.forwards,
        )
        _show(found._replace(seconds=found.seconds + start.seconds))


def _show(row: Outcome) -> None:
    flips = "—" if row.flips is None else str(row.flips)
    print(
        f"  {row.name:11s} on {row.images:4d}: {flips:>2s} flips, {row.gradients:3d} gradients, {row.forwards:5d} "
        f"forwards, {row.seconds:4.0f} s of CPU in all; judged "
        + " ".join(f"{row.judged[cells]:.3f}".lstrip("0") for cells in sorted(row.judged)),
        flush=True,
    )


if __name__ == "__main__":
    main()
