"""`Kept`: which tails stay open, within a number of bytes. What a tail computes lives in `entry.py`."""

from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock

from faultsim.engine.sweep.entry import Entry


class Kept:
    """The entries whose tails stay open, the least recently used ones closed beyond a number of bytes.

    Several threads may use it. What one of them is using is closed when it is done, never under its hands.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._sizes: OrderedDict[int, tuple[Entry, int]] = OrderedDict()
        self._users: Counter[int] = Counter()
        self._lock = Lock()

    @contextmanager
    def using(self, entry: Entry) -> Iterator[None]:
        """Keep the tail of *entry* open meanwhile."""
        key = id(entry)
        with self._lock:
            self._users[key] += 1
            known = self._sizes.get(key)
            self._sizes[key] = known or (entry, entry.tail_bytes)
            self._sizes.move_to_end(key)
            self._settle()
        try:
            yield
        finally:
            with self._lock:
                self._users[key] -= 1
                self._settle()

    def drop(self, entry: Entry) -> None:
        """Close the tail of *entry*, which is not used again."""
        with self._lock:
            self._sizes.pop(id(entry), None)
            entry.release()

    def _settle(self) -> None:
        idle = [key for key in list(self._sizes)[:-1] if not self._users[key]]
        total = sum(size for _, size in self._sizes.values())
        for key in idle:
            if total <= self._room:
                break
            old, size = self._sizes.pop(key)
            old.release()
            total -= size
