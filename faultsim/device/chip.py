"""One chip: every law drawn, the memory's code applied, edits merged. No law and no profile lives here."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim import rng
from faultsim.corruption import Corruption, Edit, Stored, Stuck, Xor
from faultsim.device.edits import below, is_empty, merge
from faultsim.device.events import pick
from faultsim.device.laws import Law
from faultsim.faults import Fault, Generators, LaneChip, LaneFault
from faultsim.memory import CHECKS, Code, MemoryMap, correct


class Drawn(NamedTuple):
    """What one law did to one tensor, before correction and merging."""

    mechanism: str
    site: str
    edit: Edit


@dataclass(frozen=True)
class Lost:
    """The code words of a chip with an error that the code detected and could not correct.

    Attributes:
        words: Their numbers, ascending.
        mechanisms: The laws of the memory's cells: what others change lies behind the code.
        code: The memory's code.
        memory: Where its tensors lie.
    """

    words: tuple[int, ...]
    mechanisms: frozenset[str]
    code: Code = field(compare=False)
    memory: MemoryMap = field(compare=False)

    def holds(self, one: Drawn, masks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which elements of an edit have a wrong bit in one of these words.

        Args:
            one: What a law did, with n elements.
            masks: The wrong bits of each, shape (n,).
        """
        if one.mechanism not in self.mechanisms or not isinstance(one.edit, Xor | Stuck):
            return np.zeros(masks.shape, dtype=np.bool_)
        row, bit = np.nonzero((masks[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1))
        elements = one.edit.indices[row]
        inside = np.isin(self.memory.cell(one.site, elements, bit) // self.code.data_bits, np.array(self.words))
        found = np.zeros(masks.shape, dtype=np.bool_)
        found[row[inside]] = True
        return found


class Chip(NamedTuple):
    """One chip of a device.

    Attributes:
        corruption: What is wrong with the numbers that the model computes with: behind the memory's code.
        drawn: What each law did, before the code; check bits under the name ``#ecc``.
        corrected_words: Memory words that the code repaired.
        detected_words: Memory words that the code found and could not repair.
        silent_words: Memory words that are wrong behind the code.
        crashed: Whether the chip stopped for all to see, such as a hung accelerator.
        lost: Which words those of *detected_words* are; None where there are none.
    """

    corruption: Corruption
    drawn: tuple[Drawn, ...] = ()
    corrected_words: int = 0
    detected_words: int = 0
    silent_words: int = 0
    crashed: bool = False
    lost: Lost | None = None


Protection = tuple[Code, MemoryMap, Stored]
"""A memory's code, the map of its words, and the tensor of its check bits."""


class Plan(NamedTuple):
    """The laws of a device on a model's tensors under some conditions.

    Attributes:
        stored: The tensors.
        memory: Laws of the memory's cells, check bits included.
        logic: Laws behind the memory.
        code: The memory's code, its map and its check bits; None without a code.
        beside: Upsets that the chip expects in its activations, where it is drawn given one event in all.
    """

    stored: Mapping[str, Stored]
    memory: tuple[Law, ...]
    logic: tuple[Law, ...]
    code: Protection | None = None
    beside: float = 0.0

    @property
    def laws(self) -> list[Law]:
        """All laws."""
        return [*self.memory, *self.logic]

    @property
    def held(self) -> list[Stored]:
        """All tensors of the memory, with the check bits."""
        return [*self.stored.values(), *(() if self.code is None else (self.code[2],))]


def draw(plan: Plan, seed: int, trial: int) -> Chip:
    """Draw one chip by its key; see `Device.draw`."""
    chosen = {law.id for law in pick(plan.laws, plan.held, seed, trial, beside=plan.beside)}
    memory = _drawn([law for law in plan.memory if law.id in chosen], plan.held, seed, trial)
    logic: list[Drawn] = []
    crashes = 0
    for law in plan.logic:
        if law.id in chosen:
            generators = functools.partial(rng.generator, seed, trial, law.id)
            found = _logic(law.fault, list(plan.stored.values()), generators)
            crashes += found.crashes
            logic += [Drawn(law.id, site, edit) for site, edit in found.edits.items() if not is_empty(edit)]
    tensors = {one.site.name: one for one in plan.held}
    wrong: dict[str, Edit] = {
        name: merge(tensors[name], [one.edit for one in memory if one.site == name])
        for name in dict.fromkeys(one.site for one in memory)
    }
    counts, lost = (0, 0, 0), None
    if plan.code is not None and wrong:
        code, layout, _ = plan.code
        after = correct(wrong, plan.stored, layout, code)
        wrong = {name: edit for name, edit in after.edits.items() if not is_empty(edit)}
        counts = (after.corrected_words, after.detected_words, after.silent_words)
        if after.detected_words:
            lost = Lost(tuple(after.lost.tolist()), frozenset(law.id for law in plan.memory), code, layout)
    for one in logic:
        before = [below(wrong[one.site], one.edit)] if one.site in wrong else []
        wrong[one.site] = merge(tensors[one.site], [*before, one.edit])
    corruption = Corruption({name: edit for name, edit in wrong.items() if name != CHECKS})
    return Chip(corruption, (*memory, *logic), *counts, crashes > 0, lost)


def _logic(fault: Fault, stored: list[Stored], generators: Generators) -> LaneChip:
    """Draw a law of the logic behind the memory."""
    if isinstance(fault, LaneFault):
        return fault.draw(stored, generators)
    return LaneChip(fault.sample_chip(stored, generators), 0)


def _drawn(laws: Sequence[Law], stored: list[Stored], seed: int, trial: int) -> list[Drawn]:
    found = []
    for law in laws:
        generators = functools.partial(rng.generator, seed, trial, law.id)
        for site, edit in law.fault.sample_chip(stored, generators).items():
            if not is_empty(edit):
                found.append(Drawn(law.id, site, edit))
    return found
