"""What an assessment can be asked for, with defaults and ranges. Nothing is computed here."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faultsim.device import Conditions
from faultsim.errors import OptionError
from faultsim.specs.storage import ROLES


@dataclass(frozen=True, kw_only=True)
class Options:
    """How to assess.

    Attributes:
        trials: Chips to draw, at least 1.
        seed: Seed of every draw, at least 0 and below 2**63.
        batch_size: Samples a batch, at least 1.
        level: Two-sided confidence of every interval, in (0, 1).
        confidence: Quantile over chips that the budgets hold at, in (0, 1); the profile's own where None.
        sites: Globs of the sites to corrupt; all stored ones where empty.
        exclude: Globs of the sites to leave alone.
        roles: Roles of the sites to corrupt, among those that the device stores; all of these where empty.
        require: Requirements such as ``accuracy_drop<=0.01@p95``.
        task: Name of the task; told from the data where None.
        output: Name of the output that is scored; the first one where None.
        preprocess: A preprocessing file for the data.
        limit: The first so many samples only.
        input_shape: For drawn inputs, sizes in place of the dimensions that the model leaves open, such as ``x=1,128``.
        batch_axis: The axis that counts the samples, such as ``x=1``, of inputs, outputs and labels; ``h0=none`` for an
            input that is the same for every sample. Told from names and trials where empty.
        threads: Threads of onnxruntime and torch, at most four a core; where 0, all cores or OMP_NUM_THREADS.
        conditions: Conditions other than the profile's own.
        reads: Whether the noise of a read is drawn once a chip (fast; the same mean, a slightly wider spread over
            chips) or anew at every inference.
        search_gradients: Most gradients that the worst-case search takes, at least 1.
        search_samples: Most samples that the search sees; what it finds is scored on all.
        site_trials: Chips for each row of the tables by site and by kind; 0 leaves the random part out.
        site_samples: Most samples that those rows are scored on.

    Raises:
        OptionError: If a value is out of its range.
    """

    trials: int = 100
    seed: int = 0
    batch_size: int = 250
    level: float = 0.95
    confidence: float | None = None
    sites: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    require: tuple[str, ...] = ()
    task: str | None = None
    output: str | None = None
    preprocess: Path | None = None
    limit: int | None = None
    threads: int = 0
    input_shape: tuple[str, ...] = ()
    batch_axis: tuple[str, ...] = ()
    conditions: Conditions | None = None
    reads: Literal["chip", "inference"] = "chip"
    search_gradients: int = 12
    search_samples: int = 1000
    site_trials: int = 3
    site_samples: int = 256

    def __post_init__(self) -> None:
        """Check the ranges."""
        least = {"trials": 1, "batch_size": 1, "threads": 0, "search_gradients": 1, "search_samples": 1,
                 "site_trials": 0, "site_samples": 1}  # fmt: skip
        for name, low in least.items():
            value = getattr(self, name)
            if value < low:
                raise OptionError(f"{name} is {value}, it must be at least {low}")
        if not 0 <= self.seed < 2**63:
            raise OptionError(f"seed is {self.seed}, it must be from 0 to {2**63 - 1}; give another, such as 0")
        most = 4 * (os.cpu_count() or 1)
        if self.threads > most:
            raise OptionError(
                f"threads is {self.threads}, allowed are at most {most} on this machine; 0 uses all cores"
            )
        if self.limit is not None and self.limit < 1:
            raise OptionError(f"limit is {self.limit}, it must be at least 1")
        if not set(self.roles) <= set(ROLES):
            raise OptionError(f"--roles is {','.join(self.roles)!r}, allowed are some of {','.join(ROLES)}")
        if self.reads not in ("chip", "inference"):
            raise OptionError(f"reads is {self.reads!r}, it must be 'chip' or 'inference'")
        for name in ("level", "confidence"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise OptionError(f"{name} is {value:g}, it must lie strictly between 0 and 1, such as 0.95")
