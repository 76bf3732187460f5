"""One writer a journal: the lock on the file, and who holds it. Nothing of the journal's content is known here.

The lock is the kernel's (flock) on the journal itself: it ends with the process, however that ends, holds through
every name of the file, and leaves nothing behind that could go stale. The file ``JOURNAL.pid`` beside it only says who
holds the lock, and means nothing without it.
"""

import contextlib
import errno
import os
import socket
import sys
from pathlib import Path

from faultsim.journal.errors import JournalError, cannot, shown

if sys.platform != "win32":
    import fcntl

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_OWNER_LIMIT_BYTES = 300


def lock(fd: int, path: Path) -> str | None:
    """Lock the open journal for this process until the descriptor is closed.

    Returns:
        None, or the note that this file system has no locks, so that nothing was locked.

    Raises:
        JournalError: If another process (or another journal of this one) holds it; the message names its pid.
    """
    if sys.platform == "win32":
        return _no_locks(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise JournalError(
            f"{shown(path)}: {_owner(path)} is writing to this journal; wait for it or stop it, or use another "
            f"--journal and unite the two with 'faultsim merge'"
        ) from None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return _no_locks(path)
        raise cannot(path, "locked", error) from None
    return None


def say_owner(path: Path) -> None:
    """Write who holds the lock beside the journal; where that cannot be written, nobody is named."""
    with contextlib.suppress(OSError):
        _owner_file(path).write_text(f"{os.getpid()} {socket.gethostname()}\n", encoding="ascii", errors="replace")


def forget_owner(path: Path) -> None:
    """Remove what `say_owner` wrote; call it while the lock is held."""
    with contextlib.suppress(OSError):
        _owner_file(path).unlink()


def _owner_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.pid")


def _owner(path: Path) -> str:
    try:
        with _owner_file(path).open("rb") as file:
            pid, host = file.read(_OWNER_LIMIT_BYTES).decode("ascii").split()
        return f"process {int(pid)} on {shown(host)}"
    except (OSError, ValueError):
        return "another process"


def _no_locks(path: Path) -> str:
    return f"{shown(path)}: this file system has no locks; run one process at a time on this journal"
