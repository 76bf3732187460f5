"""`Device`: a profile as a value that stores tensors, draws chips and gives budgets. No law lives here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.budget import Budget
from faultsim.corruption import Corruption, Stored
from faultsim.device.analog import analog_laws, analog_parts, gains, read_noise, without_reads
from faultsim.device.budgets import combine, global_upsets, most_of_one, most_words
from faultsim.device.chip import Chip, Plan, draw
from faultsim.device.conditions import Conditions, resolve
from faultsim.device.digital import protection
from faultsim.device.events import RARE, as_events, is_conditional
from faultsim.device.laws import Law, NotSimulated, in_inference, in_memory, not_simulated, simplified
from faultsim.device.periphery import activation_events, effects, upsets_beside, upsets_of
from faultsim.device.plan import make_plan, memory_events, same_tensors, structured
from faultsim.device.protected import bound
from faultsim.device.storage import Tensors, store_all
from faultsim.faults import AnalogChain, UpsetRate
from faultsim.inference import Effect
from faultsim.memory import Code
from faultsim.specs.device import DeviceSpec
from faultsim.specs.storage import DigitalStorage

Held = Mapping[str, Stored]


@dataclass(frozen=True, kw_only=True)
class Device:
    """A chip's memory and what goes wrong in it, as a profile describes it.

    Attributes:
        name: The profile's name.
        sha256: SHA-256 of the profile's bytes: two devices with one digest are equal.
        path: Where the profile was read.
        summary: One sentence: what it is.
        spec: The whole profile.
    """

    name: str
    sha256: str
    path: Path = field(compare=False)
    summary: str = field(compare=False)
    spec: DeviceSpec = field(compare=False, repr=False)
    _kept: dict[str, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    def store(self, tensors: Tensors) -> dict[str, Stored]:
        """Return a model's tensors as this device holds them: what the fault-free chip computes with.

        Float weights become codes of ``storage.bits`` bits or conductances, scaled by the largest magnitude
        of the scale group; integer codes stay as they are. Roles outside ``storage.stores`` are left out, as
        they are safe.

        Args:
            tensors: Site and numbers by name, the numbers of the site's shape.

        Returns:
            `Stored` by name, for the stored roles alone.

        Raises:
            DeviceError: If the device cannot hold the model; the message says what would fit.
        """
        return store_all(self.spec, tensors)

    def sample(self, stored: Held, seed: int, trial: int, *, conditions: Conditions | None = None) -> Corruption:
        """Draw one chip: everything that is wrong with its stored numbers; `draw` tells more of the same chip.

        Raises:
            DeviceError: If a mechanism has no law under these conditions, or none is simulated.
        """
        return self.draw(stored, seed, trial, conditions=conditions).corruption

    def draw(
        self, stored: Held, seed: int, trial: int, *, reads: bool = False, conditions: Conditions | None = None
    ) -> Chip:
        """Draw one chip: what is wrong with the numbers that the model computes with, and what each law did.

        The draw is keyed by ``(seed, trial, mechanism, site)`` and by nothing else, with one exception. Where
        countable events are all there is and a chip expects less than 0.1 of them, the chip is drawn *given at
        least one event*: weigh what it shows by `event_probability`. Where that event lies is drawn over all of
        *stored*, so with rare upsets the draw depends on which sites are stored. Behind an error-correcting code
        the corruption is what the code lets through.

        Args:
            stored: What `store` gave.
            seed: The campaign's seed.
            trial: Number of the chip, from 0.
            reads: Whether `effects` draws the noise of a read at every inference; else it is drawn here, once.
            conditions: What to assume instead of the profile's own conditions.

        Returns:
            The chip; its corruption has an edit for each site that is touched, and is empty without faults.

        Raises:
            DeviceError: If a mechanism has no law under these conditions, or none is simulated.
        """
        plan = self._plan(stored, conditions, checks=True)
        return draw(without_reads(plan) if reads else plan, seed, trial)

    def event_probability(self, stored: Held, *, conditions: Conditions | None = None) -> float:
        """Return the probability that a chip has any fault in its exposure: below 1 for countable events alone."""
        events = self._events(stored, conditions)
        return 1.0 if events is None else -math.expm1(-events)

    def fit(self, stored: Held, *, conditions: Conditions | None = None) -> float | None:
        """Return the events of the device in 1e9 hours: in *stored*, or in its buffers of activations.

        None where more than countable events goes wrong.
        """
        events = self._events(stored, conditions)
        hours = resolve(self.spec, conditions).exposure_h
        return None if events is None or not hours else events / hours * 1e9

    def effects(
        self, stored: Held, seed: int, trial: int, *, reads: bool = False, conditions: Conditions | None = None
    ) -> tuple[Effect, ...]:
        """Return what acts on a chip while the network runs: converters, noise, upsets of activations.

        Args:
            stored: What `store` gave.
            seed: The campaign's seed.
            trial: Number of the chip, from 0.
            reads: Whether the noise of a read is drawn anew at every inference: with `draw` of the same *reads*.
            conditions: What to assume instead of the profile's own conditions.
        """
        world = resolve(self.spec, conditions)
        factors, noise = self._of_reads(stored, world, reads=reads)
        memory = memory_events(self.spec, self._plan(stored, conditions)) if upsets_of(self.spec) else 0.0
        acting = (*noise, *effects(self.spec, seed, trial, world, memory=memory))
        return tuple(replace(one, gains=factors, seed=seed, trial=trial) for one in acting)

    def acts_at_inference(self, *, reads: bool = False) -> bool:
        """Whether `effects` returns anything, with *reads* as there."""
        return bool(in_inference(self.spec)) or (reads and self.has_read_noise())

    def structured(self, stored: Held, *, conditions: Conditions | None = None) -> tuple[str, ...]:
        """Return the mechanisms whose faults are whole lanes, lines or regions: no ball of numbers stands for them."""
        return structured(self._plan(stored, conditions))

    @property
    def acts_on_numbers(self) -> bool:
        """Whether any simulated fault is of stored numbers, or of the logic that reads them."""
        return bool(in_memory(self.spec))

    def has_read_noise(self) -> bool:
        """Whether a law of stored numbers is noise of a read, which `draw` can leave to `effects`."""
        if self.spec.storage.domain != "analog":
            return False
        laws = analog_laws(self.spec, resolve(self.spec, None))
        return any(part.transient for law in laws if isinstance(law.fault, AnalogChain) for part in law.fault.laws)

    def is_conditional(self, stored: Held, *, conditions: Conditions | None = None) -> bool:
        """Whether `sample` draws chips given at least one event; `event_probability` says how rare."""
        laws, events = self._plan(stored, conditions).laws, self._events(stored, conditions)
        rare = bool(upsets_of(self.spec)) and events is not None and 0 < events < RARE
        return is_conditional(laws) or rare

    def most_words(
        self, stored: Held, *, confidence: float | None = None, conditions: Conditions | None = None
    ) -> int | None:
        """Return the most wrong words of a chip where countable events are all there is, else None.

        Args and errors are those of `budgets`.
        """
        level = self.spec.assess.confidence if confidence is None else confidence
        plan = self._plan(stored, conditions)
        code = None if plan.code is None else plan.code[0]
        return most_words(plan.laws, list(stored.values()), code, confidence=level)

    def most_of_one_event(
        self, stored: Held, *, confidence: float | None = None, conditions: Conditions | None = None
    ) -> dict[str, float]:
        """Return for each tensor the most that one event does to one of its words, value units, over all mechanisms.

        A rare upset by the largest change that it can make, whatever its chance; a fixed number of flips by their
        p = inf radius at *confidence*. 0 where nothing happens, infinite where there is no useful bound.

        Args and errors are those of `budgets`.
        """
        level = self.spec.assess.confidence if confidence is None else confidence
        laws, code = self._plan(stored, conditions).laws, self._code(stored, conditions)
        each = 1 - (1 - level) / max(len(laws), 1)
        return {
            name: math.fsum(most_of_one(law, one, code, confidence=each) for law in laws)
            for name, one in stored.items()
        }

    def budgets(
        self, stored: Held, *, confidence: float | None = None, p: float = 2, conditions: Conditions | None = None
    ) -> list[Budget]:
        """Return what each mechanism may do, as corruption sets (p, ε, n): one for each tensor.

        Each mechanism alone: `combined_budget` has them together. A rate of events gives one more with scope
        ``global``, for the events on the whole chip; where the profile's scope is ``global``, that one alone.

        Args:
            stored: What `store` gave.
            confidence: Quantile over chips, strictly between 0 and 1; the profile's own by default.
            p: Norm: 1, 2 or ``math.inf``.
            conditions: What to assume instead of the profile's own conditions.

        Raises:
            OptionError: If p or confidence is out of range.
            DeviceError: If a mechanism has no law under these conditions, or none is simulated.
        """
        level = self.spec.assess.confidence if confidence is None else confidence
        found: list[Budget] = []
        code = self._code(stored, conditions)
        for law in self._parts(stored, conditions):
            events = as_events(law)
            if events is None or self.spec.assess.scope != "global":
                found += [bound(law, one, code, p=p, confidence=level) for one in stored.values()]
            if isinstance(law.fault, UpsetRate):
                found.append(global_upsets(law.id, law.fault, list(stored.values()), code, p=p, confidence=level))
        return found

    def combined_budget(
        self, stored: Held, *, confidence: float | None = None, p: float = 2, conditions: Conditions | None = None
    ) -> dict[str, Budget]:
        """Return for each tensor the set that holds all mechanisms together, for search and random-in-set.

        With m mechanisms each is bounded at ``1 - (1 - confidence) / m`` and radii and counts are added, so
        the sum holds at *confidence* (union bound). One mechanism is its own budget.

        Args and errors are those of `budgets`.
        """
        level = self.spec.assess.confidence if confidence is None else confidence
        laws = self._plan(stored, conditions).laws
        if not laws:
            return {}
        code = self._code(stored, conditions)
        each = 1 - (1 - level) / len(laws)
        return {
            name: combine([bound(law, one, code, p=p, confidence=each) for law in laws], one, confidence=level)
            for name, one in stored.items()
        }

    def not_simulated(self) -> tuple[NotSimulated, ...]:
        """Return the mechanisms that the profile declares and no figure contains, with the reason."""
        return not_simulated(self.spec)

    def approximations(self) -> tuple[str, ...]:
        """Return in sentences what the simulation of this profile simplifies or takes as safe."""
        return simplified(self.spec)

    def conditions(self, given: Conditions | None = None) -> Conditions:
        """Return the conditions in force: *given* over the profile's own."""
        return resolve(self.spec, given)

    def _parts(self, stored: Held, given: Conditions | None) -> list[Law]:
        laws = self._plan(stored, given).laws
        if self.spec.storage.domain == "analog":
            return analog_parts(self.spec, resolve(self.spec, given))
        return laws

    def _of_reads(
        self, stored: Held, conditions: Conditions, *, reads: bool
    ) -> tuple[dict[str, float | NDArray[np.float64]], tuple[Effect, ...]]:
        """Return gains and read noise, which are the same for every chip; the last tensors asked for are kept."""
        noisy = in_inference(self.spec) or reads
        key = (conditions, reads)
        if not same_tensors(self._kept.get("stored"), stored) or self._kept["key"] != key:
            factors = gains(self.spec, stored, conditions) if noisy else {}
            noise = read_noise(self.spec, stored, conditions) if reads else ()
            self._kept.update(key=key, stored=stored, value=(factors, noise))
        found: tuple[dict[str, float | NDArray[np.float64]], tuple[Effect, ...]] = self._kept["value"]
        return found

    def _code(self, stored: Held, given: Conditions | None) -> Code | None:
        plan = self._plan(stored, given)
        return None if plan.code is None else plan.code[0]

    def _events(self, stored: Held, given: Conditions | None) -> float | None:
        """Return the events that a chip expects; None where anything else goes wrong as well."""
        world, plan = resolve(self.spec, given), self._plan(stored, given)
        if not plan.laws:
            return activation_events(self.spec, world)
        memory = memory_events(self.spec, plan)
        return None if memory is None else memory + upsets_beside(self.spec, world)

    def _plan(self, stored: Held, given: Conditions | None, *, checks: bool = False) -> Plan:
        """Return the plan; with the true check bits of a code (which take a while, and are kept) where *checks*."""
        storage = self.spec.storage
        code = None
        if isinstance(storage, DigitalStorage) and storage.ecc.scheme != "none":
            if not same_tensors(self._kept.get("protected"), stored) or self._kept["checks"] < checks:
                self._kept.update(protected=stored, checks=checks, code=protection(storage, stored, checks=checks))
            code = self._kept["code"]
        return make_plan(self.spec, stored, resolve(self.spec, given), code)
