"""`processors`: how many of the machine's processors this process may use. No thread is started here."""

import os


def processors() -> int:
    """Return how many processors this process may use, at least 1; a container or `taskset` may leave it few."""
    given = getattr(os, "sched_getaffinity", None)
    return len(given(0)) if given is not None else os.cpu_count() or 1
