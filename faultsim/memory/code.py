"""`Code`: the error-correcting code of a memory's words, and what its decoder makes of errors. No tensor lives here."""

import operator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.memory.columns import MAX_DATA_BITS, SCHEMES, Masks, Scheme, check_sizes, columns
from faultsim.memory.repair import repair

OnDue = Literal["halt", "reload", "zero_word", "pass_through"]
ON_DUE = ("halt", "reload", "zero_word", "pass_through")
Bits = NDArray[np.bool_]


class Decoded(NamedTuple):
    """What a decoder makes of words; a word without any error has all flags off.

    Attributes:
        residual: Data bits that are wrong in what is handed on, shape (words, data_bits).
        corrected: No alarm, and the data are right again (or were: only check bits were wrong). (words,)
        detected: The decoder reports an uncorrectable error; what is handed on follows `Code.on_due`.
        miscorrected: The decoder took the error for another and flipped what was right.
        silent: No alarm, and the data are wrong: by a miscorrection, or as the syndrome was zero.
    """

    residual: Bits
    corrected: Bits
    detected: Bits
    miscorrected: Bits
    silent: Bits


@dataclass(frozen=True, kw_only=True)
class Code:
    """A systematic linear code over the words of a memory; `make_code` fills in the usual number of check bits.

    The decoder is a real one: it sees the syndrome alone, so an error heavier than the code was made for is
    reported, miscorrected or not seen, as the parity-check matrix has it.

    - ``none``: no check bits; every error is silent.
    - ``parity``: each check bit covers ``data_bits / check_bits`` adjacent data bits; nothing is corrected.
    - ``sec``: Hamming's code; one wrong bit is corrected. A syndrome that no bit has is reported.
    - ``secded``: Hsiao's odd-weight columns; one is corrected, two are reported.
    - ``dec``: a shortened BCH code; two are corrected, with an odd number of check bits three are reported.
    - ``chipkill``: any error within one symbol is corrected, errors in two symbols are reported.
    - ``reed_solomon``: errors in up to half as many symbols as there are check symbols are corrected.

    A symbol is ``symbol_bits`` adjacent bits of the data or of the check bits, such as what one x4 or x8 chip
    delivers.

    Attributes:
        scheme: Name of the code.
        data_bits: Data bits of a code word, 1 to 512.
        check_bits: Check bits of a code word, 0 to 64.
        symbol_bits: Bits of a symbol, 4 or 8; means something for chipkill and reed_solomon alone.
        on_due: What the machine hands on for a word with a detected uncorrectable error: ``halt`` or ``reload``
            restart with a good copy, ``zero_word`` reads all its data bits as 0, ``pass_through`` leaves them.

    Raises:
        OptionError: If a field is out of its range, or no such code exists; the message says what would do.
    """

    scheme: Scheme
    data_bits: int
    check_bits: int
    symbol_bits: int = 4
    on_due: OnDue = "halt"

    def __post_init__(self) -> None:
        _check_fields(self.scheme, self.data_bits, self.symbol_bits, self.on_due)
        columns(self.scheme, self.data_bits, self.check_bits, self.symbol_bits)

    @property
    def bits(self) -> int:
        """All bits of a code word."""
        return self.data_bits + self.check_bits

    @property
    def columns(self) -> Masks:
        """The parity-check matrix, a mask of syndrome bits for each bit of a code word, data bits first."""
        return columns(self.scheme, self.data_bits, self.check_bits, self.symbol_bits)

    def encode(self, data: Bits) -> Bits:
        """Return the check bits, shape (words, check_bits), of data bits, shape (words, data_bits)."""
        places = np.arange(self.check_bits, dtype=np.uint64)
        words = syndromes(data, self.columns[: self.data_bits])
        return ((words[:, None] >> places) & np.uint64(1)).astype(np.bool_)

    def decode(self, data_errors: Bits, check_errors: Bits, data: Bits | None = None) -> Decoded:
        """Return what the decoder makes of words with these bits wrong.

        The code is linear: what is right and what is wrong afterwards depends on the errors and not on the
        stored data. Only reading a lost word as zeros depends on them.

        Args:
            data_errors: Wrong data bits, shape (words, data_bits).
            check_errors: Wrong check bits, shape (words, check_bits).
            data: The bits as they were written, shape (words, data_bits): needed where `on_due` is ``zero_word``.

        Raises:
            OptionError: If the shapes do not fit the code, or *data* is missing.
        """
        words = len(data_errors)
        if data_errors.shape != (words, self.data_bits) or check_errors.shape != (words, self.check_bits):
            raise OptionError(
                f"errors of a ({self.bits},{self.data_bits}) code have shapes (words, {self.data_bits}) and"
                f" (words, {self.check_bits}), got {data_errors.shape} and {check_errors.shape}"
            )
        if data is None and self.on_due == "zero_word":
            raise OptionError("on_due 'zero_word' needs the written data bits to decode; give them as data")
        errors = np.concatenate([data_errors, check_errors], axis=1)
        found = syndromes(errors, self.columns)
        seen = np.flatnonzero(found)
        mended = repair(self.scheme, self.data_bits, self.check_bits, self.symbol_bits, found[seen])
        after = errors.copy()
        after[seen[mended.rows], mended.bits] ^= True
        acted, detected = np.zeros(words, dtype=np.bool_), np.zeros(words, dtype=np.bool_)
        acted[seen], detected[seen] = mended.done, ~mended.done
        residual = after[:, : self.data_bits]
        wrong = residual.any(axis=1)
        miscorrected = acted & after.any(axis=1)
        if self.on_due in ("halt", "reload"):
            residual[detected] = False
        elif data is not None and self.on_due == "zero_word":
            residual[detected] = data[detected]
        return Decoded(
            residual=residual,
            corrected=errors.any(axis=1) & ~detected & ~wrong,
            detected=detected,
            miscorrected=miscorrected,
            silent=~detected & wrong,
        )


def make_code(
    scheme: Scheme,
    data_bits: int,
    check_bits: int | None = None,
    *,
    on_due: OnDue = "halt",
    symbol_bits: int | None = None,
) -> Code:
    """Return a code, with the fewest check bits that it exists with where *check_bits* is None.

    Args:
        scheme: Name of the code, see `Code`.
        data_bits: Data bits of a code word, 1 to 512.
        check_bits: Check bits of a code word.
        on_due: What happens to a word with a detected uncorrectable error.
        symbol_bits: Bits of a symbol, 4 or 8; ``None`` for 4 where there is such a code with it, else 8.

    Raises:
        OptionError: If a number is out of range, or no such code exists; the message says what would do.

    Examples:
        >>> make_code("secded", 64).check_bits, make_code("secded", 32).check_bits
        (8, 7)
        >>> make_code("chipkill", 128).check_bits  # 36 x4 chips
        16
    """
    size = 4 if symbol_bits is None else symbol_bits
    _check_fields(scheme, data_bits, size, on_due)
    sizes = check_sizes(scheme, data_bits, size)
    if symbol_bits is None and data_bits % 8 == 0 and (not sizes if check_bits is None else check_bits not in sizes):
        wider = check_sizes(scheme, data_bits, 8)
        if wider if check_bits is None else check_bits in wider:
            size, sizes = 8, wider
    if check_bits is None:
        check_bits = (sizes or [0])[0]
    return Code(scheme=scheme, data_bits=data_bits, check_bits=check_bits, symbol_bits=size, on_due=on_due)


def syndromes(errors: Bits, masks: Masks) -> Masks:
    """Return the XOR of the *masks* (bits,) of the set bits of each row of *errors* (words, bits)."""
    found = np.zeros(len(errors), dtype=np.uint64)
    rows, bits = np.nonzero(errors)
    if rows.size:
        first = np.flatnonzero(np.concatenate([[True], rows[1:] != rows[:-1]]))
        found[rows[first]] = np.bitwise_xor.reduceat(masks[bits], first)
    return found


def _check_fields(scheme: str, data_bits: int, symbol_bits: int, on_due: str) -> None:
    if scheme not in SCHEMES:
        raise OptionError(f"unknown code {scheme!r}; use one of {', '.join(SCHEMES)}")
    if on_due not in ON_DUE:
        raise OptionError(f"unknown on_due {on_due!r}; use one of {', '.join(ON_DUE)}")
    if symbol_bits not in (4, 8):
        raise OptionError(f"symbol_bits must be 4 or 8, got {symbol_bits}")
    try:
        fits = 1 <= operator.index(data_bits) <= MAX_DATA_BITS
    except TypeError:
        fits = False
    if not fits:
        raise OptionError(f"data_bits of a code must be a whole number from 1 to {MAX_DATA_BITS}, got {data_bits!r}")
    if scheme in ("chipkill", "reed_solomon") and data_bits % symbol_bits:
        raise OptionError(f"{scheme} needs whole symbols of {symbol_bits} bits, got {data_bits} data bits")
