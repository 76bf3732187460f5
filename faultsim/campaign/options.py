"""What a campaign can be asked for, with defaults and ranges. Nothing is computed here."""

from dataclasses import dataclass
from typing import Literal, get_args

from faultsim.campaign.population import STRATIFY, Stratify
from faultsim.errors import OptionError
from faultsim.specs.storage import ROLES
from faultsim.stats.sample_size import LEAST_MARGIN
from faultsim.stats.stopping import StopRule, parse_until

Allocation = Literal["proportional", "neyman"]
Engine = Literal["sweep", "plain"]
MARGIN = 0.01
"""Half-width that trials are planned for, where none is asked for."""
MOST_WORKERS = 1024
MOST_SHARDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Shard:
    """Part *number* of *of* of a campaign's trials, counted from 1: every of-th trial."""

    number: int
    of: int


@dataclass(frozen=True, kw_only=True)
class CampaignOptions:
    """How to inject.

    Attributes:
        trials: Trials; the planned number for *margin* where None. With *until*: at most so many.
        margin: Half-width that the planned number of trials is for (`stats.sample_size`), from 1e-6 to below 1;
            `MARGIN` where None. It goes without *trials* and *until*, which say how many there are.
        until: Stop rule such as ``halfwidth<=0.005@0.99``.
        stratify: Strata of the population.
        allocation: How trials are split over strata.
        pilot: Trials of the pilot for Neyman's allocation; a tenth of the trials where None.
        flips: Flipped bits a trial, exactly.
        roles: Roles of the tensors whose bits flip.
        shard: Which part of the trials to compute; all where None.
        screen: Whether first-order margins choose the few images of each trial that are evaluated; rates are then
            estimates, corrected by audits (`screened`).
        engine: ``sweep`` (one sweep for many trials) or ``plain`` (a whole forward pass a trial); the same counts.
        workers: Processes, at least 1.
        executor: ``local`` processes or a ``ray`` cluster.
        ray_address: Address of the cluster; a local one is started where None.
        memory_mib: Room for clean activations, MiB, over all workers.
        worst: Worst trials that the result names, at least 1.

    Raises:
        OptionError: If a value is out of its range, or two do not go together.
    """

    trials: int | None = None
    margin: float | None = None
    until: str | None = None
    stratify: Stratify = "none"
    allocation: Allocation = "proportional"
    pilot: int | None = None
    flips: int = 1
    roles: tuple[str, ...] = ("weight",)
    shard: Shard | None = None
    screen: bool = False
    engine: Engine = "sweep"
    workers: int = 1
    executor: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    memory_mib: int = 1024
    worst: int = 5

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, low, high in (
            ("trials", 1, None), ("pilot", 1, None), ("flips", 1, None), ("workers", 1, MOST_WORKERS),
            ("memory_mib", 16, None), ("worst", 1, 1000),
        ):  # fmt: skip
            value = getattr(self, name)
            if value is not None and (value < low or (high is not None and value > high)):
                said = f"at least {low}" if high is None else f"{low} to {high}"
                raise OptionError(f"--{name.replace('_mib', '')} is {value}, allowed is {said}")
        if self.margin is not None and not LEAST_MARGIN <= self.margin < 1:
            raise OptionError(
                f"--margin is {self.margin:g}, allowed is {LEAST_MARGIN:g} to below 1; give one such as {MARGIN}"
            )
        for name, value, allowed in (
            ("stratify", self.stratify, STRATIFY),
            ("allocation", self.allocation, get_args(Allocation)),
            ("engine", self.engine, get_args(Engine)),
        ):
            if value not in allowed:
                raise OptionError(f"--{name} is {value!r}, allowed are {', '.join(map(str, allowed))}")
        if not self.roles or not set(self.roles) <= set(ROLES):
            raise OptionError(f"--roles is {','.join(self.roles)!r}, allowed are some of {','.join(ROLES)}")
        self._check_pairs()

    def _check_pairs(self) -> None:
        for name, value in (("trials", self.trials), ("until", self.until)):
            if self.margin is not None and value is not None:
                raise OptionError(
                    f"--margin {self.margin:g} plans the number of trials, and --{name} {value} says it; leave one out"
                )
        if self.until is not None:
            _ = self.rule
            if self.stratify != "none":
                raise OptionError("--until draws from the whole population at random: leave --stratify out")
            if self.shard is not None:
                raise OptionError("--until looks at all trials: leave --shard out, or give --trials instead of --until")
        if self.allocation == "neyman":
            if self.stratify == "none":
                raise OptionError(
                    "--allocation neyman splits trials over strata: give --stratify site,bit, site or bit"
                )
            if self.shard is not None:
                raise OptionError("--allocation neyman needs every shard's pilot: give --allocation proportional")
        if self.pilot is not None and self.allocation != "neyman":
            raise OptionError("--pilot goes with --allocation neyman; leave it out")
        if self.screen:
            self._check_screen()
        if self.ray_address is not None and self.executor != "ray":
            raise OptionError("--ray-address goes with --executor ray; give both")

    def _check_screen(self) -> None:
        if self.stratify != "none" or self.flips != 1:
            raise OptionError("--screen draws single flips from the whole population: leave --stratify and --flips out")
        if self.engine != "sweep":
            raise OptionError("--screen has an engine of its own: leave --engine out")
        if self.rule is not None and self.rule.quantity != "sdc":
            raise OptionError(
                f"--screen estimates the share of changed predictions: write --until 'sdc {self.rule.measure}"
                f"<={self.rule.limit:g}@{self.rule.level:g}'"
            )

    @property
    def rule(self) -> StopRule | None:
        """The stop rule, None where none is given."""
        return None if self.until is None else parse_until(self.until)


def parse_shard(text: str) -> Shard:
    """Return the shard that ``2/5`` names.

    Raises:
        OptionError: If the text is not understood or out of range.

    Examples:
        >>> parse_shard("2/5")
        Shard(number=2, of=5)
    """
    number, _, of = text.partition("/")
    if not (number.isascii() and number.isdecimal() and of.isascii() and of.isdecimal()) or len(text) > 20:
        raise OptionError(f"--shard {text[:40]!r} is not understood: give NUMBER/SHARDS, such as 2/5")
    if not 1 <= int(of) <= MOST_SHARDS:
        raise OptionError(f"--shard {text} is out of range: give 1 to {MOST_SHARDS:,} shards, such as 2/5")
    if not 1 <= int(number) <= int(of):
        raise OptionError(f"--shard {text} is out of range: give 1/{of} to {of}/{of}")
    return Shard(number=int(number), of=int(of))
