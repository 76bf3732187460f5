"""Several edits of one tensor as one. Laws draw edits elsewhere."""

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Add, Edit, Redraw, Stored, Stuck, Xor, apply_edit
from faultsim.errors import DeviceError


def is_empty(edit: Edit) -> bool:
    """Whether an edit changes nothing, so that a chip without faults has an empty corruption."""
    if isinstance(edit, Add):
        return not np.any(edit.delta)
    return not isinstance(edit, Redraw) and edit.indices.size == 0


def merge(stored: Stored, edits: list[Edit]) -> Edit:
    """Return one edit for all of *edits*, which happened in this order: the same bits wrong, the same delta.

    Stuck cells are taken last, because a cell that cannot be written cannot be flipped either; of several
    mechanisms with stuck cells the last one wins. Where the logic that reads a memory is broken (a sparse delta),
    what it reads does not matter: its numbers stand over bit errors.

    Raises:
        DeviceError: If bit errors and a dense delta in value space meet on one tensor.
    """
    if len(edits) == 1:
        return edits[0]
    if all(isinstance(edit, Add) for edit in edits):
        return Add(delta=sum((_dense(stored, edit) for edit in edits), np.zeros(stored.values.shape)))
    bits: list[Edit] = [edit for edit in edits if isinstance(edit, Xor | Stuck)]
    deltas = [edit for edit in edits if isinstance(edit, Add)]
    if len(bits) + len(deltas) < len(edits) or any(delta.indices is None for delta in deltas):
        raise DeviceError(f"tensor {stored.site.name}: bit errors and analog noise cannot act on the same numbers")
    if deltas:
        return _over(stored, merge(stored, bits), deltas)
    flips = [edit for edit in edits if isinstance(edit, Xor)]
    stuck = [edit for edit in edits if isinstance(edit, Stuck)]
    touched = [flip.indices for flip in flips] + [cells.indices for cells in stuck]
    indices = np.unique(np.concatenate(touched))
    if not stuck:
        masks = np.zeros(indices.size, dtype=np.uint64)
        for flip in flips:
            masks[np.searchsorted(indices, flip.indices)] ^= flip.masks
        keep = masks != 0
        return Xor(indices=indices[keep], masks=masks[keep])
    before = _words(stored)[indices]
    after = before.copy()
    for flip in flips:
        after[np.searchsorted(indices, flip.indices)] ^= flip.masks
    for cells in stuck:
        at = np.searchsorted(indices, cells.indices)
        after[at] = (after[at] & ~cells.masks) | (cells.bits & cells.masks)
    changed = before != after
    return Xor(indices=indices[changed], masks=(before ^ after)[changed])


def below(edit: Edit, above: Edit) -> Edit:
    """Return bit errors without those that *above* hides: broken logic does not read them.

    Forced bits (`Stuck`, a bit of a register) hide the cells that they stand for, and the other bits of the word keep
    their errors. Words that are made anew (`Xor`, a lane that reads zero) hide all of theirs.
    """
    if not isinstance(edit, Xor | Stuck) or not isinstance(above, Xor | Stuck):
        return edit
    _, mine, theirs = np.intersect1d(edit.indices, above.indices, assume_unique=True, return_indices=True)
    masks = edit.masks.copy()
    masks[mine] = masks[mine] & ~above.masks[theirs] if isinstance(above, Stuck) else 0
    keep = masks != 0
    if isinstance(edit, Xor):
        return Xor(indices=edit.indices[keep], masks=masks[keep])
    return Stuck(indices=edit.indices[keep], masks=masks[keep], bits=edit.bits[keep] & masks[keep])


def _over(stored: Stored, below: Edit, above: list[Add]) -> Add:
    """Return a sparse delta of the numbers under *below*, and under *above* wherever that touches them."""
    wrong = apply_edit(below, stored).astype(np.float64) - stored.values.astype(np.float64)
    flat = wrong.reshape(-1)
    for edit in above:
        assert edit.indices is not None
        flat[edit.indices] = 0.0
        np.add.at(flat, edit.indices, edit.delta)
    indices = np.flatnonzero(flat)
    return Add(delta=flat[indices], indices=indices)


def _dense(stored: Stored, edit: Edit) -> NDArray[np.float64]:
    assert isinstance(edit, Add)
    if edit.indices is None:
        return np.asarray(edit.delta, dtype=np.float64).reshape(stored.values.shape)
    flat = np.zeros(stored.values.size)
    np.add.at(flat, edit.indices, edit.delta)
    return flat.reshape(stored.values.shape)


def _words(stored: Stored) -> NDArray[np.uint64]:
    return stored.format.encode(stored.values).reshape(-1)
