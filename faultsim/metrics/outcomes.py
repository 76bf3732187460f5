"""What a fault did to each sample: masked, tolerable, critical or non-finite. No output is kept, only its digest."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from faultsim.metrics.counts import Array, Judged

MASKED, TOLERABLE, CRITICAL, NONFINITE_OUTPUT = 0, 1, 2, 3
"""Codes of the classes in a vector of outcomes, uint8, one a sample."""

DIGEST_BYTES = 16


def digests(outputs: Array) -> NDArray[np.uint64]:
    """Return a 16-byte blake2b digest of each sample's output, shape (samples, 2): equal only for equal bits.

    Two different outputs share a digest with a probability of 2**-128.

    Args:
        outputs: Any shape and type of numbers, samples first.
    """
    rows = np.ascontiguousarray(outputs).reshape(len(outputs), -1)
    found = b"".join(hashlib.blake2b(row.tobytes(), digest_size=DIGEST_BYTES).digest() for row in rows)
    return np.frombuffer(found, dtype=np.uint64).reshape(-1, DIGEST_BYTES // 8)


def classify(outputs: Array, judged: Judged, golden: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """Return the class of each sample, uint8, shape (samples,): `MASKED`, `TOLERABLE`, `CRITICAL`, `NONFINITE_OUTPUT`.

    An output that is not finite but the same as the fault-free chip's is masked: the faults did nothing.

    Args:
        outputs: Outputs of the faulty chip, samples first.
        judged: The task's verdict on them against the fault-free predictions.
        golden: What `digests` gave for the same samples of the fault-free chip.
    """
    given = np.asarray(outputs)
    flat = given.reshape(len(given), -1)
    finite = np.isfinite(flat).all(axis=1) if given.dtype.kind == "f" else np.ones(len(given), bool)
    classes = np.where(judged.mismatch > 0, CRITICAL, TOLERABLE).astype(np.uint8)
    classes[~finite] = NONFINITE_OUTPUT
    classes[(digests(given) == golden).all(axis=1)] = MASKED
    return classes
