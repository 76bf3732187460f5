"""`Device`: a profile as a value that stores tensors, draws chips and gives budgets. No law lives here."""

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from faultsim import rng
from faultsim.budget import Budget
from faultsim.corruption import Corruption, Edit, Stored
from faultsim.device.analog import analog_laws, analog_parts
from faultsim.device.budgets import combine, global_upsets
from faultsim.device.conditions import Conditions, resolve
from faultsim.device.edits import is_empty, merge
from faultsim.device.laws import Law, NotSimulated, digital_laws, event_probability, not_simulated
from faultsim.device.storage import Tensors, store_all
from faultsim.errors import DeviceError
from faultsim.faults.upset_rate import UpsetRate
from faultsim.library import find_device
from faultsim.specs.device import DeviceSpec
from faultsim.specs.load import load
from faultsim.specs.mechanisms import ANALOG_LAWS

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
        """Draw one chip: everything that is wrong with its stored numbers.

        The draw is keyed by ``(seed, trial, mechanism, site)`` and by nothing else, with one exception. Where
        upsets are all there is and a chip expects less than 0.1 of them, the chip is drawn *given at least one
        event*: weigh what it shows by `event_probability`. Where that event lies is drawn over all of *stored*,
        so with rare upsets the draw depends on which sites are stored. Noise of a read is drawn once a chip.

        Args:
            stored: What `store` gave.
            seed: The campaign's seed.
            trial: Number of the chip, from 0.
            conditions: What to assume instead of the profile's own conditions.

        Returns:
            An edit for each site that is touched; empty for a chip without faults.

        Raises:
            DeviceError: If a mechanism has no law under these conditions, or none is simulated.
        """
        laws = self._laws(stored, conditions)
        if sum(isinstance(law.fault, UpsetRate) and law.fault.given_event for law in laws) > 1:
            laws = [_pick(laws, stored, seed, trial)]
        drawn: dict[str, list[Edit]] = {}
        for law in laws:
            generators = functools.partial(rng.generator, seed, trial, law.id)
            for site, edit in law.fault.sample_chip(list(stored.values()), generators).items():
                if not is_empty(edit):
                    drawn.setdefault(site, []).append(edit)
        return Corruption({site: merge(stored[site], edits) for site, edits in drawn.items()})

    def event_probability(self, stored: Held, *, conditions: Conditions | None = None) -> float:
        """Return the probability that a chip has any fault in its exposure: below 1 for upsets alone."""
        return event_probability(self._laws(stored, conditions), list(stored.values()))

    def is_conditional(self, stored: Held, *, conditions: Conditions | None = None) -> bool:
        """Whether `sample` draws chips given at least one event; `event_probability` says how rare."""
        laws = self._laws(stored, conditions)
        return any(isinstance(law.fault, UpsetRate) and law.fault.given_event for law in laws)

    def budgets(
        self,
        stored: Held,
        *,
        confidence: float | None = None,
        p: float = 2,
        conditions: Conditions | None = None,
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
        for law in self._parts(stored, conditions):
            upsets = law.fault if isinstance(law.fault, UpsetRate) else None
            if upsets is None or self.spec.assess.scope != "global":
                found += [_bound(law, one, p, level) for one in stored.values()]
            if upsets is not None:
                found.append(global_upsets(law.id, upsets, list(stored.values()), p=p, confidence=level))
        return found

    def combined_budget(
        self,
        stored: Held,
        *,
        confidence: float | None = None,
        p: float = 2,
        conditions: Conditions | None = None,
    ) -> dict[str, Budget]:
        """Return for each tensor the set that holds all mechanisms together, for search and random-in-set.

        With m mechanisms each is bounded at ``1 - (1 - confidence) / m`` and radii and counts are added, so
        the sum holds at *confidence* (union bound). One mechanism is its own budget.

        Args and errors are those of `budgets`.
        """
        level = self.spec.assess.confidence if confidence is None else confidence
        laws = self._laws(stored, conditions)
        each = 1 - (1 - level) / len(laws)
        return {
            name: combine([_bound(law, one, p, each) for law in laws], one, confidence=level)
            for name, one in stored.items()
        }

    def not_simulated(self) -> tuple[NotSimulated, ...]:
        """Return the mechanisms that the profile declares and no figure contains, with the reason."""
        return not_simulated(self.spec)

    def approximations(self) -> tuple[str, ...]:
        """Return in sentences what the simulation of this profile simplifies or takes as safe."""
        roles = ("weight", "bias", "norm", "scale", "zero_point")
        safe = [role for role in roles if role not in self.spec.storage.stores]
        said = [f"Taken as safe, outside the memory under test: {', '.join(safe)}."] if safe else []
        for mechanism in self.spec.mechanisms:
            pattern = mechanism.spatial.pattern if mechanism.spatial is not None else "iid"
            if mechanism.enabled and pattern not in ("iid", "word_cluster"):
                said.append(f"{mechanism.id}: its pattern '{pattern}' is drawn as independent cells.")
            if isinstance(mechanism, ANALOG_LAWS) and mechanism.enabled and mechanism.resample == "per_read":
                said.append(f"{mechanism.id}: noise of a read is drawn once a chip, not anew for every read.")
        return tuple(said)

    def conditions(self, given: Conditions | None = None) -> Conditions:
        """Return the conditions in force: *given* over the profile's own."""
        return resolve(self.spec, given)

    def _parts(self, stored: Held, given: Conditions | None) -> list[Law]:
        laws = self._laws(stored, given)
        if self.spec.storage.domain == "analog":
            return analog_parts(self.spec, resolve(self.spec, given))
        return laws

    def _laws(self, stored: Held, given: Conditions | None) -> list[Law]:
        conditions = resolve(self.spec, given)
        if self.spec.storage.domain == "analog":
            laws = analog_laws(self.spec, conditions)
        else:
            laws = digital_laws(self.spec, stored, conditions)
        if not laws:
            reasons = "; ".join(f"{m.id}: {m.reason}" for m in self.not_simulated())
            raise DeviceError(f"device {self.name} has no mechanism that faultsim simulates ({reasons}); switch one on")
        return laws


def load_device(name: str | Path) -> Device:
    """Return the device of a profile.

    Args:
        name: A name of the library (``reram_1t1r``, or an alias such as ``reram``), or the path of a YAML
            file.

    Raises:
        DeviceError: If there is no such profile.
        SpecError: If the profile is wrong; the message holds every problem with its place.

    Examples:
        >>> load_device("reram").name
        'reram_1t1r'
    """
    path = find_device(name)
    spec = load(path, DeviceSpec)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Device(name=spec.name, sha256=digest, path=path, summary=spec.summary, spec=spec)


def _bound(law: Law, stored: Stored, p: float, confidence: float) -> Budget:
    return replace(law.fault.budget(stored, p=p, confidence=confidence), mechanism=law.id)


def _pick(laws: list[Law], stored: Held, seed: int, trial: int) -> Law:
    """Choose which of several rare mechanisms had the event: two at once are rarer still and left out."""
    held = list(stored.values())
    shares = [law.fault.expected_events(held) for law in laws if isinstance(law.fault, UpsetRate)]
    at = float(rng.generator(seed, trial, "mechanism").random()) * sum(shares)
    for law, share in zip(laws, shares, strict=True):
        at -= share
        if at < 0:
            return law
    return laws[-1]
