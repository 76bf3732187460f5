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
import time
from pathlib import Path

from faultsim.journal.errors import JournalError, cannot, shown

if sys.platform != "win32":
    import fcntl

_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL})
_OWNER_LIMIT_BYTES = 300
_ORPHAN_WAIT_S = 5.0  # a child that was forked as its parent died closes what it inherited as soon as it runs
_ORPHAN_LOOK_S = 0.02


def lock(fd: int, path: Path) -> str | None:
    """Lock the open journal for this process until the descriptor is closed.

    Returns:
        None, or the note that this file system has no locks, so that nothing was locked.

    Raises:
        JournalError: If another process (or another journal of this one) holds it; the message names its pid.
    """
    if sys.platform == "win32":
        return _no_locks(path)
    give_up = time.monotonic() + _ORPHAN_WAIT_S
    try:
        while not _taken(fd):
            if not _owner_is_dead(path) or time.monotonic() > give_up:
                raise JournalError(
                    f"{shown(path)}: {_owner(path)} is writing to this journal; wait for it or stop it, or use another "
                    f"--journal and unite the two with 'faultsim merge'"
                )
            time.sleep(_ORPHAN_LOOK_S)
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return _no_locks(path)
        raise cannot(path, "locked", error) from None
    return None


def _taken(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


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
    owner = _read_owner(path)
    return f"process {owner[0]} on {shown(owner[1])}" if owner else "another process"


def _owner_is_dead(path: Path) -> bool:
    """Whether a process of this machine is named and runs no more: a child that it forked still has the file open."""
    owner = _read_owner(path)
    if not owner or owner[1] != socket.gethostname() or owner[0] <= 0:
        return False
    try:
        os.kill(owner[0], 0)
    except (ProcessLookupError, OverflowError):
        return True
    except OSError:
        return False
    try:  # one that was killed and not waited for yet
        return Path(f"/proc/{owner[0]}/stat").read_bytes().rpartition(b")")[2].split()[:1] in ([b"Z"], [b"X"])
    except OSError:
        return False


def _read_owner(path: Path) -> tuple[int, str] | None:
    try:
        with _owner_file(path).open("rb") as file:
            pid, host = file.read(_OWNER_LIMIT_BYTES).decode("ascii").split()
        return int(pid), host
    except (OSError, ValueError):
        return None


def _no_locks(path: Path) -> str:
    return f"{shown(path)}: this file system has no locks; run one process at a time on this journal"
