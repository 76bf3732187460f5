"""The progress bar on stderr. What is counted is told by the engine."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from faultsim.engine.evaluate import Progress


@contextmanager
def progress_bar(*, quiet: bool) -> Iterator[Progress]:
    """Yield a callback that moves a bar on stderr; silent where *quiet*, or where stderr is no terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda phase, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (TextColumn("{task.description:<18}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, int] = {}

        def tell(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = bar.add_task(phase, total=total)
            bar.update(tasks[phase], completed=done, total=total)  # type: ignore[arg-type]

        yield tell
