"""How a model is trained: `Training`, with defaults and ranges. Nothing is trained here."""

import math
from dataclasses import dataclass
from typing import Literal

from faultsim.errors import OptionError
from faultsim.harden.augment import Augment
from faultsim.harden.precision import PRECISIONS, Precision

EPOCHS = 20
LEAST_STEPS = 1000
MOST_VALIDATIONS = 25
RELATIVE_RATE = 0.02
"""Of Adam's steps, which are about as long as the rate whatever the gradient: parts of the weights' RMS."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """How to fine-tune.

    Attributes:
        epochs: Passes over the training samples, at least 1; None for 20, and at least 1,000 steps: few samples are
            passed over more often.
        steps: Steps in place of epochs, at least 1; None for `epochs`.
        batch_size: Samples a step, at least 1; a graph with a fixed batch overrules it.
        split_batch: Whether clean losses see one half of each batch and corrupted ones the other, so that both together
            cost what one pass over a batch does; for losses that have both, and batches of at least 2.
        optimizer: ``adam``, or ``sgd`` with momentum.
        lr: Largest learning rate, above 0, in real units of the weights; None for 2 % of the RMS of the weights, and a
            fifth of that where a search finds it better (`choose.choose`).
        momentum: Of ``sgd``, in [0, 1).
        weight_decay: L2 penalty of the optimizer, at least 0.
        augment: What is done to the images of a batch; see `augment.augmented`.
        warmup: Part of the training over which the rate rises, in [0, 1).
        schedule: ``cosine`` down to zero, or ``constant``.
        clip_norm: Most that the gradient's norm may be; 0 leaves it.
        ema: Decay of the average over steps that is validated and exported, in [0, 1); 0 takes the last weights.
        validate_every: Steps between validations; None for once an epoch, and 25 times at most.
        patience: Validations without a better one before the training ends; None never ends early.
        time_budget_s: Seconds after which the training ends; the learning rate then comes down by the clock, and two
            runs need not give the same numbers.
        checkpoint_s: Seconds between checkpoints; each validation writes one as well.
        precision: Of the training's passes: ``float32``, ``bf16`` where no codes are multiplied, or ``auto``, which is
            bfloat16 on CUDA for float graphs; see `precision.resolved`.
        seed: Seed of batches and draws.

    Raises:
        OptionError: If a value is out of its range.
    """

    epochs: int | None = None
    steps: int | None = None
    batch_size: int = 64
    split_batch: bool = False
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float | None = None
    momentum: float = 0.9
    weight_decay: float = 0.0
    augment: Augment = "none"
    warmup: float = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    clip_norm: float = 5.0
    ema: float = 0.995
    validate_every: int | None = None
    patience: int | None = None
    time_budget_s: float | None = None
    checkpoint_s: float = 60.0
    precision: Precision = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("epochs", "steps", "batch_size", "validate_every", "patience"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionError(f"{name} is {value}, it must be at least 1")
        if self.split_batch and self.batch_size < 2:
            raise OptionError("a batch of 1 cannot be split; give a larger --train-batch, or leave --split-batch out")
        if self.optimizer not in ("adam", "sgd"):
            raise OptionError(f"optimizer is {self.optimizer!r}, it must be 'adam' or 'sgd'")
        if self.schedule not in ("cosine", "constant"):
            raise OptionError(f"schedule is {self.schedule!r}, it must be 'cosine' or 'constant'")
        if self.augment not in ("none", "shift", "flip-shift"):
            raise OptionError(f"augment is {self.augment!r}, it must be 'none', 'shift' or 'flip-shift'")
        if self.precision not in PRECISIONS:
            raise OptionError(f"precision is {self.precision!r}, it must be 'auto', 'float32' or 'bf16'")
        if self.lr is not None and not 0 < self.lr < math.inf:
            raise OptionError(f"lr is {self.lr:g}, it must be above 0 and finite")
        for name in ("momentum", "warmup", "ema"):
            value = getattr(self, name)
            if not 0 <= value < 1:
                raise OptionError(f"{name} is {value:g}, it must be at least 0 and below 1")
        for name in ("weight_decay", "clip_norm"):
            if not 0 <= getattr(self, name) < math.inf:
                raise OptionError(f"{name} is {getattr(self, name):g}, it must be at least 0 and finite")
        if self.time_budget_s is not None and not 0 < self.time_budget_s < math.inf:
            raise OptionError(f"the time budget is {self.time_budget_s:g} s, it must be above 0 and finite")
        if not self.checkpoint_s > 0:
            raise OptionError(f"checkpoint_s is {self.checkpoint_s:g}, it must be above 0")

    def planned(self, per_epoch: int) -> int:
        """Return the steps to take, where *per_epoch* pass over the samples once."""
        if self.steps is not None:
            return self.steps
        return max(EPOCHS * per_epoch, LEAST_STEPS) if self.epochs is None else self.epochs * per_epoch

    def between(self, per_epoch: int) -> int:
        """Return the steps between two validations."""
        return self.validate_every or max(per_epoch, -(-self.planned(per_epoch) // MOST_VALIDATIONS))

    def largest_rate(self, rms: float) -> float:
        """Return the largest learning rate for weights of a root mean square of *rms*."""
        if self.lr is not None:
            return self.lr
        return RELATIVE_RATE * rms if rms > 0 and math.isfinite(rms) else 1e-3

    def rate(self, progress: float) -> float:
        """Return the learning rate when *progress* of the training is done, in [0, 1], as a part of the largest."""
        if progress < self.warmup:
            return progress / self.warmup * 0.99 + 0.01
        if self.schedule == "constant":
            return 1.0
        done = (progress - self.warmup) / (1.0 - self.warmup)
        return 0.5 * (1.0 + math.cos(math.pi * min(done, 1.0)))
