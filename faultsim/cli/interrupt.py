"""Ctrl-C as a wish that is asked for, so that a search ends at its next step and keeps what it has."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import click


@contextmanager
def until_interrupted() -> Iterator[Callable[[], bool]]:
    """Yield what says whether Ctrl-C was pressed; pressed once more it ends the program at once.

    Outside of the main thread signals cannot be caught, and Ctrl-C raises as ever.
    """
    pressed = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield pressed.is_set
        return

    def handle(_: int, __: FrameType | None) -> None:
        if pressed.is_set():
            raise KeyboardInterrupt
        pressed.set()
        click.echo("faultsim: stopping after this step; Ctrl-C once more ends at once", file=sys.stderr)

    before = signal.signal(signal.SIGINT, handle)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)
