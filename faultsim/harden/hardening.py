"""What a hardening can be asked for: `Hardening`, with defaults and ranges. Nothing is computed here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

from faultsim.assessment import Options
from faultsim.data.spec import DataSet
from faultsim.errors import OptionError
from faultsim.harden.ball import Ball
from faultsim.harden.options import Training
from faultsim.harden.quantize import KINDS, Quantize
from faultsim.harden.target import Towards
from faultsim.harden.trainable import Scales

WORDS: Final = {
    "scales": ("keep", "learn"),
    "batch_norm": ("frozen", "recalibrated"),
    "towards": (None, "labels", "clean"),
}
"""Options that are one of a few words."""


@dataclass(frozen=True, kw_only=True)
class Hardening:
    """How to harden.

    Attributes:
        recipe: One of `recipes.RECIPES`; ``auto`` chooses by the device.
        losses: Names of losses (`recipes.LOSSES`) in place of a recipe.
        ball: Of virtual corruptions; the recipe's own where None. A radius in units of the weights is kept, and no
            other is tried; a relative one is where a search begins.
        alpha: Weight α of the corrupted loss in the named losses that have one, (1-α)L(w) + αL(w̃), above 0 and at most
            1; None: ½. 1 leaves the clean pass of noise and randbet out: twice the steps in the same time.
        virtual_steps: Gradients of a virtual corruption, at least 1.
        strength: The losses' knob (of several: the factor on their own strengths), above 0; None searches.
        search: Most strengths that are tried, at least 1; 1 takes the recipe's own, rate and losses too, as `strength`
            does.
        search_part: Part of the training's steps that each of them gets, in (0, 1].
        training: How to fine-tune.
        scales: Whether the steps of integer weights are kept or learned.
        batch_norm: Whether running statistics stay, or are taken anew after the training.
        towards: ``labels``, ``clean`` for the original's outputs, None for labels where there are some.
        validation: Part of the data that choices are made on; without meaning where `validation_data` is given.
        validation_data: Samples to choose by, of which neither training nor the original's own training saw any; None
            for a part of the data.
        held_out: Part that both assessments are scored on; without meaning where `test_data` is given.
        test_data: Samples for both assessments in place of a held-out part.
        tolerance: Most that the clean accuracy may fall, a fraction, at least 0.
        blend: Whether trained numbers that may cost more than that on samples which were not seen are brought towards
            the original's until they do not (`validate.Validator.spares`).
        chips: Chips a validation is scored on, at least 0.
        radii: Whether critical radii are searched as well.
        radius_samples: Most samples of those searches.
        radius_gradients: Gradients of each of them.
        assess: How to assess before and after.
        resume: Go on from the checkpoints in the folder.
        quantize: ``int8`` or ``int4``: make the float model quantized first, calibrated on training samples alone, and
            harden that; what it is compared with is the plainly quantized one. None hardens the model as it is.

    Raises:
        OptionError: If a value is out of its range.
    """

    recipe: str = "auto"
    losses: tuple[str, ...] = ()
    ball: Ball | None = None
    alpha: float | None = None
    virtual_steps: int = 1
    strength: float | None = None
    search: int = 4
    search_part: float = 0.25
    training: Training = field(default_factory=Training)
    scales: Scales = "keep"
    batch_norm: Literal["frozen", "recalibrated"] = "frozen"
    towards: Towards | None = None
    validation: float = 0.15
    validation_data: str | Path | DataSet | None = None
    held_out: float = 0.25
    test_data: str | Path | DataSet | None = None
    tolerance: float = 0.005
    blend: bool = True
    chips: int = 4
    radii: bool = True
    radius_samples: int = 256
    radius_gradients: int = 6
    assess: Options = field(default_factory=Options)
    resume: bool = False
    quantize: Quantize | None = None

    def __post_init__(self) -> None:
        if self.strength is not None and not self.strength > 0:
            raise OptionError(f"strength is {self.strength:g}, it must be above 0; --loss plain trains without one")
        for name in ("search", "virtual_steps", "radius_samples", "radius_gradients"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}, it must be at least 1")
        if self.alpha is not None and not 0 < self.alpha <= 1:
            raise OptionError(f"alpha is {self.alpha:g}, it must be above 0 and at most 1")
        if self.alpha is not None and not self.losses:
            raise OptionError("alpha goes with named losses, and recipes have weights of their own; name them (--loss)")
        if self.ball is not None and not self.ball.eps > 0:
            raise OptionError(f"eps is {self.ball.eps:g}, it must be above 0; --loss plain trains without a corruption")
        for name, known in WORDS.items():
            if getattr(self, name) not in known:
                allowed = " or ".join(repr(one) for one in known)
                raise OptionError(f"{name} is {getattr(self, name)!r}, it must be {allowed}")
        if not 0 < self.search_part <= 1:
            raise OptionError(f"search_part is {self.search_part:g}, it must be above 0 and at most 1")
        if not 0 <= self.tolerance < 1:
            raise OptionError(f"tolerance is {self.tolerance:g}, it must be at least 0 and below 1")
        if self.chips < 0:
            raise OptionError(f"chips is {self.chips}, it must be at least 0")
        if self.quantize is not None and self.quantize not in KINDS:
            raise OptionError(f"quantize is {self.quantize!r}, it must be 'int8' or 'int4'")
        if self.losses and self.recipe != "auto":
            raise OptionError(f"recipe {self.recipe!r} and losses {', '.join(self.losses)}: give one of the two")
