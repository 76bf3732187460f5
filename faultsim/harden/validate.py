"""`Validator`: scores numbers on the validation samples, clean, on drawn chips and at the worst corruption of one step.

Its chips are never those of an assessment: their seed is derived from the training's.
"""

import math
import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.constraints import NoMaximiserError, TensorSet
from faultsim.corruption import Stored, apply_edit
from faultsim.engine.evaluate import Scorer
from faultsim.engine.objective import NetworkObjective
from faultsim.engine.runner import Runner
from faultsim.harden.batchnorm import Anew
from faultsim.harden.curve import Judged, Point
from faultsim.harden.samples import Samples, digest
from faultsim.metrics import Tally
from faultsim.model import Model, load_model
from faultsim.rng import generator
from faultsim.search.objective import Score

Array = NDArray[Any]
PENALTY = 100.0
"""What a point of clean accuracy below the tolerance costs, in points of the score; losses rise in the same ratio."""
HELD = 0.5
"""Part of the tolerance that numbers may use up here, where no standard error tells what they cost elsewhere."""
MILD = 5.0
"""The same in a short training."""
LOST = -1e9
"""The score of numbers that have none: a network that has diverged."""
TIE = 0.01
MOST_LOSS = 10.0
HALVINGS = 12
MOST_SLACK = 0.01
"""Scores that differ by less than a point of accuracy are taken as equal."""
ENOUGH = 1000
"""Samples that a drawn chip is judged on, at least, where there are so many."""


class Validator:
    """A judge of numbers (`curve.Judge`).

    The score is the mean of the accuracy over the drawn chips and of the accuracy at the one-step worst case, where the
    device gives one, less a penalty where the clean accuracy falls by more than the tolerance, less a hundredth of the
    mean loss, which tells apart what few samples do not. The worst case is that of the device's set, scaled down to
    where it halves the original's accuracy: where everything is lost nothing can be told apart. Tasks that count no
    correct answers are scored by the negative losses.

    Of many samples each drawn chip sees a part of its own, always the same one, and the direction of the worst case is
    that of the first part: all of them for each chip would cost many times as much and tell hardly more, as the samples
    would be the same ones again.

    Attributes:
        clean: What the original scores without faults.
        asked: Most that it may fall, a fraction: of accuracies points, of losses a part.
        tolerance: The same where the score is concerned, in its units: at least one sample of the validation.
        slack: Scores that differ by less are taken as equal: a standard error of an accuracy of a half, and at most
            `MOST_SLACK`; 0 where none is counted.
        scale: Part of the device's set that the one-step worst case is taken at, in (0, 1].
        seconds: What judging the original took; 0 until it was.
    """

    def __init__(
        self,
        setting: Setting,
        constraint: TensorSet | None,
        *,
        chips: int,
        tolerance: float,
        seed: int,
        anew: Anew | None = None,
    ) -> None:
        """Take what the numbers are scored on.

        Args:
            setting: Of the validation samples.
            constraint: The set that the one-step worst case is searched in; None leaves it out.
            chips: Chips to draw, at least 0.
            tolerance: Most that the clean accuracy may fall, a fraction; of tasks without one the part of the clean
                loss that it may rise by.
            seed: Seed of the training.
            anew: Takes the running statistics of batch norms for new weights; None leaves them as deployed.
        """
        self.setting = setting
        self.constraint = constraint
        self.chips = chips if setting.device.acts_on_numbers else 0
        self.seed = int(generator(seed, -1, "harden", "validation chips").integers(1 << 62))
        self.counts = setting.task.counts_correct
        self.lossless = setting.scorer.score().lossless
        self.clean = self._value(setting.scorer.score())
        self.asked = tolerance
        self.anew = anew
        self._parts = _parts(setting, self.chips)
        self.tolerance = max(tolerance, 1.0 / len(setting.data)) if self.counts else tolerance * abs(self.clean)
        self.slack = min(MOST_SLACK, 0.5 / math.sqrt(len(setting.data))) if self.counts else 0.0
        self.scale = 1.0
        self.seconds = 0.0
        self._original: Judged | None = None
        if self.constraint is not None and self.counts and not self.lossless:
            objective = NetworkObjective(setting.model, setting.stored, setting.scorer)
            worst = self._direction(self._runner(setting.model), setting.stored)
            least = 1.0 / 2**HALVINGS
            while worst is not None and self.scale > least and self._breaks(objective, worst):
                self.scale *= 0.5

    def _breaks(self, objective: NetworkObjective, worst: Mapping[str, NDArray[np.float64]]) -> bool:
        assert self.constraint is not None
        return _at(objective, self.constraint, worst, self.scale).accuracy < 0.5 * self.clean

    @cached_property
    def key(self) -> str:
        """What tells this judge from one of other samples, chips or tolerance."""
        of = (self.setting.device.sha256, self.chips, self.seed, self.tolerance, self.scale, digest(self.setting.data))
        statistics = "deployed" if self.anew is None else "anew"
        return repr(
            (*of, len(self._parts), repr(self.setting.options.conditions), sorted(self.setting.stored), statistics)
        )

    def __call__(self, numbers: Mapping[str, Array]) -> Judged:
        """Return the clean loss and accuracy under *numbers*, and the score; the original is scored once."""
        if not self._deployed(numbers):
            return self._judged(self.settled(numbers))
        if self._original is None:
            began = time.monotonic()
            self._original = self._judged(numbers)
            self.seconds = time.monotonic() - began
        return self._original

    def settled(self, numbers: Mapping[str, Array]) -> dict[str, Array]:
        """Return *numbers* as they are judged and written: with statistics of their own where these are taken anew."""
        return dict(numbers) if self.anew is None or self._deployed(numbers) else self.anew(numbers)

    def _deployed(self, numbers: Mapping[str, Array]) -> bool:
        known = self.setting.model.numbers
        return all(name in known and np.array_equal(array, known[name]) for name, array in numbers.items())

    def spares(self, numbers: Mapping[str, Array]) -> bool:
        """Whether *numbers* keep the clean accuracy: on samples that were not seen, as far as these can tell.

        What may be lost here is the tolerance less a standard error of the difference, sample by sample; where these
        are too few for that, nothing. Without an accuracy it is half of the tolerance, as a part of the loss.
        """
        scorer = self._scorer(self._runner(renewed(self.setting.model, self.settled(numbers))))
        if not self.counts:
            tally = scorer.score()
            allowed = HELD * self.asked * abs(self.clean)
            return tally.counts.nonfinite == 0 and self.clean - self._value(tally) <= allowed
        right, units = _right(scorer)
        gap = self._clean_right - right
        error = math.sqrt(max(float(np.sum(gap**2)) - float(gap.sum()) ** 2 / max(gap.size, 1), 0.0)) / units
        return float(gap.sum()) / units <= max(self.asked - error, 0.0) + 1e-9

    @cached_property
    def _clean_right(self) -> NDArray[np.float64]:
        return _right(self._scorer(self._runner(self.setting.model)))[0]

    def promise(self, curve: Sequence[Point]) -> float:
        """Return the best score of a short training: that of its own points, with a milder penalty.

        A few steps cost accuracy that more of them bring back; and where no point is better than the original, one
        strength would be as good as another.
        """
        scores = []
        for point in curve[1:] or curve:
            clean = point.accuracy if self.counts else -point.loss
            short = max(self.clean - self.tolerance - clean, 0.0)
            lost = point.score <= LOST or not math.isfinite(short)
            scores.append(point.score if lost else point.score + (PENALTY - MILD) * short)
        return max(scores)

    def _judged(self, numbers: Mapping[str, Array]) -> Judged:
        model = renewed(self.setting.model, numbers)
        runner = self._runner(model)
        scorer = self._scorer(runner)
        tally = scorer.score()
        clean = self._value(tally)
        stored = self.setting.device.store(
            {name: (model.site(name), model.numbers[name]) for name in self.setting.stored}
        )
        scores: list[float] = []
        if self.chips:
            parts = [self._scorer(runner, part) for part in self._parts] or [scorer]
            drawn = [parts[trial % len(parts)].score(self._chip(stored, trial)) for trial in range(self.chips)]
            scores.append(float(np.mean([self._value(one) - self._tie(one.mean_loss) for one in drawn])))
        if self.constraint is not None and not self.lossless:
            worst = self._direction(runner, stored)
            if worst is not None:
                found = _at(NetworkObjective(model, stored, scorer), self.constraint, worst, self.scale)
                scores.append(found.accuracy - self._tie(found.loss) if self.counts else -found.loss)
        short = max(self.clean - self.tolerance - clean, 0.0)
        score = (float(np.mean(scores)) if scores else clean - self._tie(tally.mean_loss)) - PENALTY * short
        accuracy = tally.counts.accuracy if self.counts else math.nan
        return Judged(tally.mean_loss, accuracy, max(score, LOST) if math.isfinite(score) else LOST)

    def _runner(self, model: Model) -> Runner:
        full = self.setting.scorer
        return Runner(model, full.output.name, threads=full.runner.threads, prefer=full.runner.preferred)

    def _scorer(self, runner: Runner, part: Samples | None = None) -> Scorer:
        full = self.setting.scorer
        labels = full.labels if part is None or full.labels is None else full.labels[part.picks]
        data = full.data if part is None else part
        return Scorer(runner, full.output, full.task, data, full.batch_size, labels=labels)

    def _chip(self, stored: Mapping[str, Stored], trial: int) -> dict[str, Array]:
        conditions = self.setting.options.conditions
        edits = self.setting.device.draw(stored, self.seed, trial, conditions=conditions).corruption
        return {name: apply_edit(edits[name], one) if name in edits else one.values for name, one in stored.items()}

    def _direction(self, runner: Runner, stored: Mapping[str, Stored]) -> dict[str, NDArray[np.float64]] | None:
        """The first-order worst corruption of the set; None where there is no direction."""
        scorer = self._scorer(runner, self._parts[0] if self._parts else None)
        gradient = NetworkObjective(runner.model, stored, scorer).gradient(None, "cross_entropy")
        if self.constraint is None or not gradient.usable:
            return None
        try:
            return dict(self.constraint.argmax(gradient.grads))
        except NoMaximiserError:
            return None

    def _value(self, tally: Tally) -> float:
        return tally.counts.accuracy if self.counts else -tally.mean_loss

    def _tie(self, loss: float) -> float:
        return TIE * min(loss, MOST_LOSS) if self.counts and not math.isnan(loss) else 0.0


def _parts(setting: Setting, chips: int) -> list[Samples]:
    """Return the part of the samples that each drawn chip is judged on; none where all chips are judged on all.

    Every part holds samples from the first to the last one; in graphs with a fixed batch, a whole number of batches.
    """
    count = min(chips, len(setting.data) // ENOUGH)
    if count < 2:
        return []
    whole = setting.model.fixed_batch or 1
    picks = [np.arange(first, len(setting.data), count) for first in range(count)]
    if any(len(one) < whole for one in picks):
        return []
    kept = [one[: len(one) - len(one) % whole] for one in picks]
    return [Samples(setting.data, one, setting.model.inputs, part="of a chip") for one in kept]


def _right(scorer: Scorer) -> tuple[NDArray[np.float64], float]:
    """Return how many units of each sample are right, and the units of all."""
    run, parts = scorer.runner.open(None, ()), []
    for batch in scorer.batches():
        output = scorer.output.real(run(batch.inputs, batch.start))
        parts.append(scorer.judge(output, scorer.batch_labels(batch), np.arange(batch.start, batch.stop))[0])
    return np.concatenate([one.correct for one in parts]).astype(np.float64), float(sum(one.n.sum() for one in parts))


def _at(objective: NetworkObjective, whole: TensorSet, worst: Mapping[str, NDArray[np.float64]], part: float) -> Score:
    """Return the score of a part of a corruption, as the formats hold it within that part of the set."""
    return objective.inside(whole.scaled(part)).score({name: part * delta for name, delta in worst.items()})


def renewed(model: Model, numbers: Mapping[str, Array]) -> Model:
    """Return the same graph with new numbers; the axes that count samples are known already."""
    fresh = load_model(model.with_numbers(numbers), torch_device=str(model.device), name=model.name)
    return fresh.with_batch_axes({**model.axes.outputs, **model.axes.inputs}, judged=model.judged)
