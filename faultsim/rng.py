"""Counter-based random generators keyed by what is drawn. No global state, and no other randomness, lives here.

A draw depends only on its key ``(seed, trial, names…)``: any split of a campaign over batches, processes or machines
gives the same numbers.
"""

import hashlib

import numpy as np


def generator(seed: int, trial: int, *names: str) -> np.random.Generator:
    """Return the generator of one draw, a Philox4x64 stream whose 128-bit key is a hash of all arguments.

    Streams of different keys are independent: Philox is a keyed bijection, [Salmon2011]_, and the key is a BLAKE2b
    digest, so nearby seeds and trials share nothing.

    Args:
        seed: The campaign's seed, any integer.
        trial: Number of the chip, from 0; -1 for draws that belong to no chip.
        names: What is drawn, from the outside in: mechanism, site.

    Returns:
        A generator of its own, to be used by one caller.

    Examples:
        >>> a, b = generator(0, 7, "conv1.weight"), generator(0, 7, "conv1.weight")
        >>> bool(a.random() == b.random())
        True

    References:
        .. [Salmon2011] J. K. Salmon et al. Parallel random numbers: as easy as 1, 2, 3. SC 2011.
    """
    message = "\x1f".join((str(int(seed)), str(int(trial)), *names)).encode()
    key = np.frombuffer(hashlib.blake2b(message, digest_size=16).digest(), dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key))
