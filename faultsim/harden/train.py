"""`train`: the loop. Batches and draws are keyed by seed and step, so that a resumed training ends as one that ran on.

What a loss is lives in `losses.py`; what a checkpoint holds, in `resume.py`.
"""

import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.errors import OptionError
from faultsim.harden.augment import augmented
from faultsim.harden.batch import BatchAt
from faultsim.harden.blend import ASKED, Spares, spared
from faultsim.harden.curve import Judge, Point, Told, Trained, chosen
from faultsim.harden.losses import After, Loss, evaluate
from faultsim.harden.optimizer import optimizer_of, set_rate
from faultsim.harden.options import Training
from faultsim.harden.resume import resume_at, save
from faultsim.harden.samples import Samples
from faultsim.harden.target import BatchLoss, Target
from faultsim.harden.trainable import Trainable
from faultsim.rng import generator

Array = NDArray[Any]
MOST_ASIDE = 0.1
"""Part of a time budget that is kept for the way back, at most, unless one way takes more."""
MOST_BETWEEN = 0.1
"""Part of a time budget that goes by between two validations, at most."""
MOST_JUDGING = 0.5
"""Part of a time budget that is kept for the last validation or for one way back, at most."""
MOST_SKIPPED = 10
"""Steps in a row whose loss is not finite, after which the training ends: another batch will not help."""


def train(
    trainable: Trainable,
    samples: Samples,
    target: Target,
    loss: Loss,
    judge: Judge,
    options: Training,
    *,
    names: tuple[str, ...],
    slack: float = 0.0,
    checkpoint: Path | None = None,
    resume: bool = False,
    told: Told | None = None,
    tick: Callable[[int, int], None] | None = None,
    spares: Spares | None = None,
    judging: float = 0.0,
) -> Trained:
    """Fine-tune a deployed graph.

    Args:
        trainable: The graph.
        samples: What is trained on.
        target: What their outputs are trained towards.
        loss: The training loss.
        judge: Scores numbers on the validation samples; the untrained model is judged first and competes.
        options: How.
        names: Sites that virtual corruptions and draws touch; all that is trained moves.
        slack: Scores that differ by less are taken as equal, and of equal ones the last is kept: it was averaged for
            longer, at a lower rate. What is kept is better than the untrained model all the same.
        checkpoint: Where checkpoints go; none are written where None.
        resume: Go on from the checkpoint, where there is one.
        told: Told of every validation.
        tick: Told of steps done and planned.
        spares: Says of numbers whether they spare the clean accuracy: the best and the last ones are brought towards
            the original's until they do (`blend.spared`), and the better ones are taken; None takes the best as it is.
        judging: Seconds that a validation is known to take, where the judge knows the untrained model's score already.

    Raises:
        OptionError: If a name is not trained, the samples are fewer than a batch, or a checkpoint is of another
            training.
        DataError: If the checkpoint cannot be read.
    """
    unknown = [name for name in names if name not in trainable.parameters]
    if unknown or not names:
        raise OptionError(f"{unknown or 'no site'}: not trained, and cannot be corrupted in training; see --sites")
    size = min(options.batch_size, len(samples))
    if size < 1:
        raise OptionError(f"{samples.source}: no sample to train on; give more data")
    run = _Run(trainable, samples, target, loss, judge, options, names, size, slack)
    if resume and checkpoint is not None and checkpoint.exists():
        resume_at(run, checkpoint)
    else:
        run.begin(told, judging)
    return run.go(checkpoint, told, tick, spares)


class _Run:
    """The state of a training."""

    def __init__(
        self,
        trainable: Trainable,
        samples: Samples,
        target: Target,
        loss: Loss,
        judge: Judge,
        options: Training,
        names: tuple[str, ...],
        size: int,
        slack: float,
    ) -> None:
        self.trainable, self.samples, self.target = trainable, samples, target
        self.loss, self.judge, self.options, self.names, self.size = loss, judge, options, names, size
        self.per_epoch = max(len(samples) // size, 1)
        self.planned, self.every = options.planned(self.per_epoch), options.between(self.per_epoch)
        self.leaves = trainable.leaves()
        self.initial = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        self.mean = {name: leaf.detach().clone() for name, leaf in self.leaves.items()}
        rms = trainable.rms(self.leaves)
        self.lr = options.largest_rate(rms)
        self.optimizer = optimizer_of(self.leaves, options, self.lr, rms)
        self.step = 0
        self.curve: list[Point] = []
        self.best: dict[str, Tensor] = {}
        self.slack = slack
        self.sum, self.count = 0.0, 0
        self.dropped, self.skipped, self.in_a_row = 0, 0, 0
        self.spent = 0.0
        self.budget = options.time_budget_s
        self.judging = 0.0  # seconds of the latest validation
        self.judged_at = 0.0  # seconds spent when it ended
        self.asking = 0.0  # seconds of a look at the clean accuracy
        self.late = False  # whether time cut the way back short
        self._order: tuple[int, Array] = (-1, np.empty(0, np.int64))

    def begin(self, told: Told | None, judging: float) -> None:
        """Judge the untrained model."""
        began = time.monotonic()
        self._validate(told, math.nan)
        self.judging = max(self.judging, judging)
        self.spent = self.judged_at = time.monotonic() - began

    def go(
        self,
        checkpoint: Path | None,
        told: Told | None,
        tick: Callable[[int, int], None] | None,
        spares: Spares | None,
    ) -> Trained:
        """Train to the end."""
        began, before = time.monotonic(), self.spent
        self._set_aside(spares)
        saved = began
        stopped = None
        while self.step < self.planned and stopped is None:
            self.spent = before + time.monotonic() - began
            if self.spent >= self._last_step():
                stopped = f"the time budget of {self.options.time_budget_s:g} s was spent"
                break
            if self._impatient():
                stopped = f"{self.options.patience} validations brought nothing better"
                break
            rate = self._advance()
            if self.in_a_row >= MOST_SKIPPED:
                stopped = f"the loss was not finite in the {MOST_SKIPPED} steps to {self.step}; lower the learning rate"
                break
            if tick is not None:
                tick(self.step, self.planned)
            due = self.step % self.every == 0 or self.step == self.planned or self._overdue(before, began)
            if due:
                self.spent = before + time.monotonic() - began
                self._validate(told, rate)
                self.judged_at = before + time.monotonic() - began
            if checkpoint is not None and (due or time.monotonic() - saved >= self.options.checkpoint_s):
                self.spent = before + time.monotonic() - began
                save(self, checkpoint)
                saved = time.monotonic()
        self.spent = before + time.monotonic() - began
        if stopped is not None and self.count and math.isfinite(self.sum):
            self._validate(told, self.lr * self.options.rate(self._progress()))
        best, part = chosen(self.curve, self.slack), 1.0
        found = best.step
        leaves: Mapping[str, Tensor] = self.best
        if spares is not None and self.step:
            last = self.curve[-1], self.mean
            ends = [last] if best.step in (0, self.step) else [last, (best, self.best)]
            start = self.curve[0], self.initial
            late = None if self.budget is None else lambda: self._late(before + time.monotonic() - began)
            best, leaves, part = spared(self.trainable, start, ends, self.judge, spares, self._hold, late)
        self.spent = before + time.monotonic() - began
        done = (self.step, self.planned, self.spent, stopped, part, self.dropped, self.skipped, found, self.late)
        return Trained(self.trainable.numbers(leaves), tuple(self.curve), best, *done)

    def _hold(self, leaves: Mapping[str, Tensor]) -> None:
        self.loss.hold(After(leaves, self.initial, self.names, 1.0, self.trainable))

    def _set_aside(self, spares: Spares | None) -> None:
        """Keep of the time budget what the way back will take: two ways at most, their passes and validations."""
        if self.budget is None or spares is None:
            return
        # other numbers than the deployed ones, whose statistics need not be taken anew
        numbers = self.trainable.numbers({name: 0.9 * leaf.detach() for name, leaf in self.initial.items()})
        spares(numbers)  # what only the first call does is not counted
        began = time.monotonic()
        spares(numbers)
        self.asking = time.monotonic() - began
        way = ASKED * self.asking + self.judging
        self.budget -= min(2 * way, max(MOST_ASIDE * self.budget, min(way, MOST_JUDGING * self.budget)))

    def _late(self, spent: float) -> bool:
        """Whether another look on the way back, and the validation at its end, would be past the time budget."""
        self.late = self.late or spent + self.asking + self.judging > (self.options.time_budget_s or math.inf)
        return self.late

    def _last_step(self) -> float:
        """Return the seconds after which no step begins: what is left of the budget is for the last validation."""
        return math.inf if self.budget is None else self.budget - min(self.judging, MOST_JUDGING * self.budget)

    def _overdue(self, before: float, began: float) -> bool:
        """Whether a part of the time budget was spent on steps alone: a slow machine may do few of them in it.

        Validations take no more than half of the time, however slow they are.
        """
        if self.budget is None:
            return False
        since = before + time.monotonic() - began - self.judged_at
        return since >= max(MOST_BETWEEN * self.budget, self.judging)

    def _progress(self) -> float:
        return min(max(self.step / self.planned, self.spent / self._last_step()), 1.0)

    def _advance(self) -> float:
        """Take one step and return its rate; where its loss or gradient is not finite, nothing moves, and it counts."""
        epoch, number = divmod(self.step, self.per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, generator(self.options.seed, epoch, "harden", "batches").permutation(len(self.samples))
        rows = self._order[1][number * self.size : (number + 1) * self.size]
        other = None
        if self.options.split_batch:
            half = len(rows) // 2
            other, rows = self._batch(rows[half:], 2 * self.step + 1), rows[:half]
        feeds, batch_loss = self._batch(rows, 2 * self.step if other is not None else self.step)
        at = BatchAt(
            self.trainable,
            self.leaves,
            feeds,
            batch_loss,
            names=self.names,
            seed=self.options.seed,
            step=self.step,
            other=other,
        )
        value, grads = evaluate(self.loss, at)
        self.dropped += at.dropped
        norm = math.sqrt(sum(float(grad.double().square().sum()) for grad in grads.values()))
        part = self.options.rate(self._progress())
        rate = self.lr * part
        if not (math.isfinite(value) and math.isfinite(norm)):
            self.step += 1
            self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
            return rate
        self.in_a_row = 0
        limit = self.options.clip_norm
        factor = limit / norm if limit and norm > limit else 1.0
        for name, leaf in self.leaves.items():
            leaf.grad = grads[name].detach() * factor
        set_rate(self.optimizer, part)
        self.optimizer.step()
        self.step += 1
        self.loss.project(After(self.leaves, self.initial, self.names, self._progress(), self.trainable))
        decay = min(self.options.ema, (1 + self.step) / (10 + self.step))
        with torch.no_grad():
            for name, leaf in self.leaves.items():
                self.mean[name].lerp_(leaf, 1.0 - decay)
        self.sum += value
        self.count += 1
        return rate

    def _batch(self, rows: Array, key: int) -> tuple[Mapping[str, Array], BatchLoss]:
        feeds, batch_loss = self.target.batch(rows)
        return augmented(feeds, self.options.augment, seed=self.options.seed, step=key), batch_loss

    def _validate(self, told: Told | None, rate: float) -> None:
        began = time.monotonic()
        judged = self.judge(self.trainable.numbers(self.mean))
        self.judging = time.monotonic() - began
        train_loss = self.sum / self.count if self.count else math.nan
        point = Point(self.step, self.step / self.per_epoch, train_loss, *judged, rate, self.spent)
        self.sum, self.count = 0.0, 0
        self.curve.append(point)
        if chosen(self.curve, self.slack) is point:
            self.best = {name: leaf.clone() for name, leaf in self.mean.items()}
        if told is not None:
            told(point, self.planned)

    def _impatient(self) -> bool:
        patience = self.options.patience
        best = max(self.curve, key=lambda point: point.score)  # the first of equal ones
        return patience is not None and len(self.curve) - 1 - self.curve.index(best) >= patience
