"""From the edits of tensors to what is left of them behind the decoder. Codes and layouts live beside.

Where the check bits lie: in a memory of their own, one element of the pseudo tensor ``"#ecc"`` a code word, as on
the ninth chip of a memory module. A cluster that starts in a data word thus stays in the data; it hits check bits
where a law samples ``"#ecc"`` itself.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Edit, Site, Stored, Stuck, Xor
from faultsim.errors import DeviceError, OptionError
from faultsim.formats.base import NumberFormat, Values, Words
from faultsim.memory.code import Bits, Code, make_code
from faultsim.memory.layout import CHECKS, Ints, MemoryMap, runs_of

__all__ = [
    "CheckFormat",
    "Code",
    "Corrected",
    "check_store",
    "code_words",
    "correct",
    "data_bits",
    "make_code",
    "true_checks",
]

_CHUNK_BITS = 1 << 23


@dataclass(frozen=True)
class CheckFormat(NumberFormat):
    """The check bits of a code word as one unsigned number of 1 to 64 bits, bit j the check bit j.

    Attributes:
        check_bits: Stored bits per element.
    """

    check_bits: int

    @property
    def name(self) -> str:
        """``check`` and the number of bits."""
        return f"check{self.check_bits}"

    @property
    def bits(self) -> int:
        """Stored bits per element."""
        return self.check_bits

    def encode(self, values: Values) -> Words:
        """Return *values* (uint64, any shape) as they are, without the bits that are not stored."""
        return np.asarray(values, dtype=np.uint64) & np.uint64((1 << self.check_bits) - 1)

    def decode(self, words: Words) -> Values:
        """Return *words* as they are, without the bits that are not stored."""
        return self.encode(words)


class Corrected(NamedTuple):
    """What a model sees behind the decoder.

    Attributes:
        edits: An `Xor` for each tensor that is still wrong, by name; edits of tensors outside the memory as given.
        corrected_words: Code words that had errors and came out right without an alarm.
        detected_words: Code words with an alarm. Where `Code.on_due` is ``halt`` or ``reload`` they read right in
            *edits*, as after a restart, and the other words are as they would be without one.
        silent_words: Code words that came out wrong without an alarm, in at least one bit of a tensor.
        lost: The detected code words, ascending, shape (detected_words,).
    """

    edits: dict[str, Edit]
    corrected_words: int
    detected_words: int
    silent_words: int
    lost: Ints


def code_words(memory: MemoryMap, code: Code) -> int:
    """Return the number of code words that protect the tensors of a memory, the last perhaps in part.

    A code word protects `Code.data_bits` consecutive logical cells: whole memory words, or equal parts of one.

    Raises:
        OptionError: If the two sizes do not divide one another.
    """
    word, data = memory.geometry.word_bits, code.data_bits
    if word % data and data % word:
        raise OptionError(
            f"a code over {data} data bits does not fit memory words of {word} bits; give one that is a multiple"
            " of the other"
        )
    return -(-memory.data_words * word // data)


def check_store(memory: MemoryMap, code: Code, stored: Mapping[str, Stored] | None = None) -> Stored:
    """Return the check bits of a memory as the pseudo tensor ``"#ecc"``, so that fault laws can hit them.

    Flat element i holds the check bits of code word i. The bits are zeros unless *stored* is given, which only
    laws that look at the stored bit need.

    Args:
        memory: Where the tensors lie; one that holds ``"#ecc"`` already gives the same.
        code: The code.
        stored: The tensors by name, to store their true check bits.

    Raises:
        OptionError: If the code has no check bits, or does not fit the memory's words.
    """
    count = code_words(memory, code)
    if code.check_bits == 0:
        raise OptionError(f"code {code.scheme!r} has no check bits to store; leave check_store out")
    values = np.zeros(count, dtype=np.uint64)
    if stored is not None:
        for part in _chunks(np.arange(count, dtype=np.int64), code):
            values[part] = true_checks(memory, stored, code, part)
    site = Site(name=CHECKS, shape=(count,), format=CheckFormat(code.check_bits), layer="", kind="other",
                role="constant", depth=0)  # fmt: skip
    return Stored(site, site.format, values)


def true_checks(memory: MemoryMap, stored: Mapping[str, Stored], code: Code, words: Ints) -> Words:
    """Return the check bits that belong to the stored data of some code words, as one uint64 each."""
    bits = code.encode(data_bits(memory, stored, code, words))
    single = np.uint64(1) << np.arange(code.check_bits, dtype=np.uint64)
    checks: Words = np.bitwise_or.reduce(np.where(bits, single, np.uint64(0)), axis=1, initial=np.uint64(0))
    return checks


def data_bits(memory: MemoryMap, stored: Mapping[str, Stored], code: Code, words: Ints) -> Bits:
    """Return the data bits of some code words as they were written, shape (words, data_bits); padding holds 0."""
    cells = words[:, None] * code.data_bits + np.arange(code.data_bits, dtype=np.int64)
    site, element, bit = memory.owner(np.where(cells < memory.data_words * memory.geometry.word_bits, cells, -1))
    found = np.zeros(cells.shape, dtype=np.bool_)
    held = site >= 0
    owners, elements, bits = site[held], element[held], bit[held].astype(np.uint64)
    set_bits = np.zeros(owners.size, dtype=np.bool_)
    for at, mine in runs_of(owners):  # the words ascend, and so do the tensors in them
        fresh = np.concatenate([[True], elements[mine][1:] != elements[mine][:-1]])
        words_held = _stored_words(stored[memory.names[at]], elements[mine][fresh])[np.cumsum(fresh) - 1]
        set_bits[mine] = (words_held >> bits[mine]) & np.uint64(1) == 1
    found[held] = set_bits
    return found


def correct(edits: Mapping[str, Edit], stored: Mapping[str, Stored], memory: MemoryMap, code: Code) -> Corrected:
    """Return what a model sees of *edits* behind the decoder, and how many code words met which fate.

    Only code words with a wrong bit are decoded. A stuck bit is an error where it differs from the bit that was
    written; stuck check bits are held against the true check bits of the data. A corrected word reads right, a
    miscorrected one with the decoder's own flips; a detected one follows `Code.on_due`.

    Args:
        edits: `Xor` and `Stuck` edits by tensor, those of the check bits under ``"#ecc"``. An edit of a tensor that
            is not in this memory is handed on.
        stored: The tensors in the memory as they were written, by name.
        memory: Where they lie, with or without ``"#ecc"``.
        code: The code over its words.

    Raises:
        OptionError: If the code does not fit the memory's words, or check bits are hit that it does not have.
        DeviceError: If an edit of a protected tensor is no bit error.
    """
    count = code_words(memory, code)
    left: dict[str, Edit] = {}
    cells = [np.empty(0, dtype=np.int64)]
    checks = np.empty((2, 0), dtype=np.int64)
    for name, edit in edits.items():
        if name != CHECKS and name not in memory.names:
            left[name] = edit
        elif not isinstance(edit, Xor | Stuck):
            raise DeviceError(f"tensor {name}: a code corrects bit errors, not analog noise; leave it unprotected")
        elif name == CHECKS:
            if edit.indices.size and edit.indices.max() >= count:
                raise OptionError(
                    f"check bits of code word {edit.indices.max()} are wrong, the memory has {count}; sample the tensor"
                    " that check_store gives for this memory and code"
                )
            checks = np.stack(_bits(edit.indices, _wrong_checks(edit, memory, stored, code), code.check_bits))
        else:
            bits = stored[name].format.bits
            cells.append(memory.cell(name, *_bits(edit.indices, _wrong(edit, stored[name]), bits)))
    hits = np.concatenate(cells)
    data = np.stack([hits // code.data_bits, hits % code.data_bits])
    fates = np.zeros(3, dtype=np.int64)
    after, lost = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    for words in _chunks(np.union1d(data[0], checks[0]), code):
        written = data_bits(memory, stored, code, words) if code.on_due == "zero_word" else None
        seen = code.decode(_dense(words, data, code.data_bits), _dense(words, checks, code.check_bits), written)
        row, bit = np.nonzero(seen.residual)
        wrong = words[row] * code.data_bits + bit
        # a decoder may also flip padding, or what its last word protects behind the data: nobody reads either
        held = (memory.owner(wrong).site >= 0) & (wrong < memory.data_words * memory.geometry.word_bits)
        after.append(wrong[held])
        lost.append(words[seen.detected])
        silent = np.zeros(words.size, dtype=np.bool_)
        silent[row[held]] = True
        silent &= seen.silent
        harmless = seen.corrected | (seen.silent & ~silent)
        fates += [np.count_nonzero(part) for part in (harmless, seen.detected, silent)]
    left.update(memory.xor(np.concatenate(after)))
    corrected, detected, silently = fates.tolist()
    return Corrected(dict(sorted(left.items())), corrected, detected, silently, np.concatenate(lost))


def _chunks(words: Ints, code: Code) -> Iterator[Ints]:
    """Cut code words into parts whose bits fit in a few megabytes."""
    step = max(_CHUNK_BITS // code.bits, 1)
    for start in range(0, words.size, step):
        yield words[start : start + step]


def _dense(words: Ints, hits: Ints, width: int) -> Bits:
    """Return the hits (word, bit) on ascending *words* as an array of bits, shape (words, width)."""
    found = np.zeros((words.size, width), dtype=np.bool_)
    row = np.minimum(np.searchsorted(words, hits[0]), words.size - 1)
    mine = words[row] == hits[0]
    found[row[mine], hits[1][mine]] = True
    return found


def _bits(indices: Ints, masks: NDArray[np.uint64], bits: int) -> tuple[Ints, Ints]:
    """Return element and bit of every set bit of *masks*, element by element."""
    row, bit = np.nonzero((masks[:, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1))
    return indices[row], bit.astype(np.int64)


def _wrong(edit: Xor | Stuck, stored: Stored) -> NDArray[np.uint64]:
    """Return the masks of the bits that an edit makes wrong."""
    if isinstance(edit, Xor):
        return edit.masks
    wrong: NDArray[np.uint64] = (_stored_words(stored, edit.indices) ^ edit.bits) & edit.masks
    return wrong


def _wrong_checks(edit: Xor | Stuck, memory: MemoryMap, stored: Mapping[str, Stored], code: Code) -> NDArray[np.uint64]:
    """Return the masks of the check bits that an edit makes wrong."""
    if isinstance(edit, Xor):
        return edit.masks
    parts = [true_checks(memory, stored, code, part) for part in _chunks(edit.indices, code)]
    return (np.concatenate([np.empty(0, dtype=np.uint64), *parts]) ^ edit.bits) & edit.masks


def _stored_words(stored: Stored, elements: Ints) -> Words:
    """Return the words of some flat elements of a tensor as they were written."""
    fmt = stored.format.at(elements, stored.values.shape)
    return fmt.encode(stored.values.reshape(-1)[elements])
