"""Codes of every scheme over eight data bits, small enough for a decoder that knows nothing but the code words."""

import numpy as np

from faultsim.memory import Code, make_code

SMALL = {
    "none": make_code("none", 8),
    "parity": make_code("parity", 8),
    "parity_of_groups": make_code("parity", 8, 3),
    "sec": make_code("sec", 8),
    "sec_wide": make_code("sec", 8, 6),
    "secded": make_code("secded", 8),
    "secded_wide": make_code("secded", 8, 7),
    "dec": make_code("dec", 8),
    "dec_ted": make_code("dec", 8, 11),
    "chipkill_3": make_code("chipkill", 8, 12),
    "chipkill_4": make_code("chipkill", 8, 16),
    "chipkill_x8": make_code("chipkill", 8, symbol_bits=8),
    "reed_solomon_2": make_code("reed_solomon", 8),
    "reed_solomon_3": make_code("reed_solomon", 8, 12),
    "reed_solomon_4": make_code("reed_solomon", 8, 16),
    "reed_solomon_x8": make_code("reed_solomon", 8, 32, symbol_bits=8),
}


def radius(code: Code) -> int:
    if code.scheme == "reed_solomon":
        return code.check_bits // code.symbol_bits // 2
    return {"none": 0, "parity": 0, "sec": 1, "secded": 1, "dec": 2, "chipkill": 1}[code.scheme]


def all_words(code: Code):
    """Every code word, shape (2**data_bits, bits)."""
    data = (np.arange(1 << code.data_bits)[:, None] >> np.arange(code.data_bits)) & 1 == 1
    return np.concatenate([data, code.encode(data)], axis=1)


def symbols(code: Code, bits):
    """Whether each symbol of words (..., bits) is nonzero; a symbol is a bit where the code is binary."""
    size = code.symbol_bits if code.scheme in ("chipkill", "reed_solomon") else 1
    return bits.reshape(*bits.shape[:-1], -1, size).any(axis=-1)


def nearest(code: Code, errors):
    """Decode by looking at every code word: (decoded or not, what is left of the errors).

    An error is turned into the code word within the radius of it, if there is one, else reported.
    """
    words = all_words(code)
    done, left = [], []
    for error in errors:
        distance = symbols(code, words ^ error).sum(axis=1)
        near = np.flatnonzero(distance <= radius(code))
        assert near.size <= 1
        done.append(near.size == 1)
        left.append(words[near[0]] if near.size else error)
    return np.array(done), np.array(left)
