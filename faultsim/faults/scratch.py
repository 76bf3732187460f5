"""`Scratch`, work arrays that a thread takes again and again, for laws that run on every chip. No law lives here.

Fresh arrays of some hundred kilobytes come from the operating system page by page, which costs more than the
arithmetic on them.
"""

import math
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Scratch:
    """Work arrays of one piece of code, by name, for each thread its own.

    What an array holds is undefined when it is taken, and lost when its name is taken again on the same thread: never
    hand one on to a caller.

    Args:
        most_bytes: Larger arrays are made afresh, so that one huge tensor does not hold memory for ever.

    Examples:
        >>> work = Scratch()
        >>> first = work.take("sum", (2, 3))
        >>> np.shares_memory(first, work.take("sum", (3,)))
        True
    """

    def __init__(self, most_bytes: int = 16 << 20) -> None:
        self._most = most_bytes
        self._threads = threading.local()

    def take(self, name: str, shape: tuple[int, ...], dtype: Any = np.float32) -> NDArray[Any]:
        """Return an array of *shape* and *dtype*, C-contiguous, its numbers undefined."""
        count = math.prod(shape)
        held: dict[str, NDArray[np.uint8]] = self._threads.__dict__
        size = count * np.dtype(dtype).itemsize
        if size > self._most:
            return np.empty(shape, dtype)
        if name not in held or held[name].size < size:
            held[name] = np.empty(size, np.uint8)
        array: NDArray[Any] = held[name][:size].view(dtype).reshape(shape)
        return array
