"""Every fault of a chip as a plain record: where it lies, what it changed, what became of it. Nothing is drawn."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Add, Edit, Stored, Stuck, Xor, apply_edit
from faultsim.device.chip import Chip, Drawn
from faultsim.inference import StuckOutput, Upset
from faultsim.memory import OnDue
from faultsim.results import TrialRow

Record = dict[str, Any]
_DUE: dict[OnDue, str] = {
    "halt": "restarted with a good copy",
    "reload": "reloaded from a good copy",
    "zero_word": "read as zeros",
    "pass_through": "handed on as it is",
}


def records(
    trial: int,
    chip: Chip,
    stored: Mapping[str, Stored],
    row: TrialRow,
    acting: Iterable[tuple[str, Upset | StuckOutput]] = (),
) -> Iterator[Record]:
    """Yield one record a fault, then one for the trial.

    A fault's ``fate``: ``in the model`` (the network computed with it), ``no change`` (a stuck cell that holds what
    it should), ``removed by the code`` (corrected), ``detected: …`` with what the device does about an error that its
    code cannot correct (a restart with a good copy, for example), ``check bits``. Noise on a whole tensor is one record
    with its norms. What strikes while the network runs (*acting*, with mechanisms) has
    that as its fate: an upset at its activation, whose numbers before and after are each sample's own, and a broken
    processing element at its row and column, with what it reads. The trial's record has the counts of outcomes over
    all samples.
    """
    for one in chip.drawn:
        base: Record = {"trial": trial, "mechanism": one.mechanism, "site": one.site}
        if one.site not in stored:
            yield {**base, "fate": "check bits", "words": int(_indices(one.edit).size)}
        elif isinstance(one.edit, Add) and one.edit.indices is None:
            yield {**base, **_noise(one.edit), "fate": "in the model"}
        else:
            yield from _places(base, one, chip, stored[one.site])
    for mechanism, what in acting:
        for found in _running(what):
            yield {"trial": trial, "mechanism": mechanism, **found, "fate": "while the network runs"}
    yield {
        "trial": trial,
        "digest": chip.corruption.digest,
        "outcomes": None if row.outcomes is None else row.outcomes.model_dump(),
        "correct": row.correct,
        "mismatch": row.mismatch,
        "nonfinite": row.nonfinite,
        "n": row.n,
        "corrected_words": chip.corrected_words,
        "detected_words": chip.detected_words,
        "crashed": chip.crashed,
    }


def _running(what: Upset | StuckOutput) -> Iterator[Record]:
    """Yield what is wrong while the network runs: one activation's bits, or each broken processing element."""
    if isinstance(what, Upset):
        bits = [bit for bit in range(what.mask.bit_length()) if what.mask >> bit & 1]
        yield {"site": what.activation, "element": what.element, "bits": bits}
        return
    reads = {"after": what.value} if what.bit is None else {"bits": [what.bit], "after": what.level}
    for row, column in what.elements:
        yield {"site": "processing element", "index": [row, column], **reads}


def _noise(edit: Add) -> Record:
    delta = np.asarray(edit.delta, dtype=np.float64)
    return {
        "elements": int(np.count_nonzero(delta)),
        "l2": float(np.linalg.norm(delta)),
        "linf": float(np.abs(delta).max(initial=0.0)),
    }


def _places(base: Record, one: Drawn, chip: Chip, stored: Stored) -> Iterator[Record]:
    shape = stored.values.shape
    indices = _indices(one.edit)
    before = stored.values.reshape(-1)[indices]
    after = apply_edit(one.edit, stored).reshape(-1)[indices]
    final = stored.values if base["site"] not in chip.corruption else apply_edit(chip.corruption[base["site"]], stored)
    seen = final.reshape(-1)[indices]
    flipped = _flipped(one.edit, stored, indices)
    due, kept = _reported(one, chip, flipped)
    for position, element in enumerate(indices):
        bits = None if flipped is None else [b for b in range(stored.format.bits) if int(flipped[position]) >> b & 1]
        if bits == [] or (bits is None and before[position] == after[position]):
            fate = "no change"
        elif position in due and (not kept or _same(seen[position], before[position])):
            fate = due[position]
        elif _same(seen[position], before[position]):
            fate = "removed by the code"
        else:
            fate = "in the model"
        yield {
            **base,
            "element": int(element),
            "index": [int(i) for i in np.unravel_index(int(element), shape)],
            **({} if bits is None else {"bits": bits}),
            "before": _plain(before[position]),
            "after": _plain(after[position]),
            "fate": fate,
        }


def _reported(one: Drawn, chip: Chip, flipped: NDArray[np.uint64] | None) -> tuple[dict[int, str], bool]:
    """Return the fate of each place in a word that the code reported as lost, and whether a good copy stands there."""
    if chip.lost is None or flipped is None:
        return {}, False
    due = chip.lost.code.on_due
    places = np.flatnonzero(chip.lost.holds(one, flipped)).tolist()
    return dict.fromkeys(places, f"detected: {_DUE[due]}"), due in ("halt", "reload")


def _indices(edit: Edit) -> NDArray[np.int64]:
    found = getattr(edit, "indices", None)
    return np.empty(0, dtype=np.int64) if found is None else np.asarray(found, dtype=np.int64)


def _flipped(edit: Edit, stored: Stored, indices: NDArray[np.int64]) -> NDArray[np.uint64] | None:
    """Return the bits that are wrong in each touched word, None for a change in value space."""
    if isinstance(edit, Xor):
        return edit.masks
    if isinstance(edit, Stuck):
        flat = stored.format.at(indices, stored.values.shape).encode(stored.values.reshape(-1)[indices])
        wrong: NDArray[np.uint64] = (flat ^ edit.bits) & edit.masks
        return wrong
    return None


def _same(a: Any, b: Any) -> bool:
    return bool(a == b or (a != a and b != b))


def _plain(value: Any) -> Any:
    number = float(value)
    if not np.isfinite(number):
        return repr(number)
    return int(value) if np.asarray(value).dtype.kind in "iub" else number
