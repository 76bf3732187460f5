"""`write_text`: a text file whole or not at all. What stands in it lives elsewhere."""

import contextlib
import os
from pathlib import Path


def write_text(target: Path, text: str) -> None:
    """Write a file, UTF-8, whole or not at all, making its folder; what was there before stays where it fails.

    Raises:
        OSError: If it cannot be written.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise
