"""`write_text`: a text file whole or not at all. What stands in it lives elsewhere."""

import contextlib
import os
from pathlib import Path

_OPEN = (Path("/dev/fd"), Path("/proc"))


def write_text(target: Path, text: str) -> None:
    """Write a file, UTF-8, whole or not at all, making its folder; what was there before stays where it fails.

    A link stays a link, and what it leads to is written. A pipe or a device is written to, and never replaced.

    Raises:
        OSError: If it cannot be written.
    """
    if is_stream(target):
        with target.open("w", encoding="utf-8") as stream:
            stream.write(text)
        return
    target = Path(os.path.realpath(target))
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, target)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise


def is_stream(target: Path) -> bool:
    """Whether a place is a pipe or a device, or leads to an open file, such as ``/dev/stdout``: nothing to replace."""
    try:
        place = target.absolute()
        for _ in range(40):  # as many links as the system follows
            if place.exists() and any(folder in place.parents for folder in _OPEN):
                return True
            if not place.is_symlink():
                break
            place = place.parent / place.readlink()
        return target.exists() and not target.is_file() and not target.is_dir()
    except OSError:  # too long, or not to be looked at: writing says so
        return False
