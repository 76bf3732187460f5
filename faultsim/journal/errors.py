"""The journal's error, and how a failing system call reads in it. No file is touched here."""

import errno
import os
from pathlib import Path

from faultsim.errors import FaultsimError

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_WRITTEN = {
    errno.EISDIR: "give the name of a file",
    errno.ENOTDIR: "give a file inside a folder",
    errno.ENOENT: "create the folder first, or name a file in one that is there",
    errno.EACCES: "use another --journal, in a folder that you may write to",
    errno.EPERM: "use another --journal, in a folder that you may write to",
    errno.EROFS: "use another --journal, on a disk that can be written",
    errno.ENAMETOOLONG: "use a shorter name",
    errno.ENOSPC: "free some space, or use a --journal on another disk",
    errno.EDQUOT: "free some of your quota, or use a --journal on another disk",
    errno.EFBIG: "raise the limit (ulimit -f), or use a --journal on another disk",
    0: "check the disk, or use a --journal on another one",
}
_READ = {
    errno.ENOENT: "give the path of a journal that is there",
    errno.ENOTDIR: "give the path of a journal that is there",
    errno.EACCES: "allow yourself to read it, or give another one",
    errno.EPERM: "allow yourself to read it, or give another one",
    0: "check the disk that it is on",
}
"""Remedies by error, 0 any other one; where a journal is only read, another --journal or a new folder is none."""


class JournalError(FaultsimError):
    """A journal cannot be used, belongs to another campaign, is damaged, or cannot be written."""


def cannot(path: Path | str, verb: str, error: OSError) -> JournalError:
    """Return the error that a journal could not be opened, read or written, with the system's reason and a remedy."""
    remedies = {**_WRITTEN, **_READ} if verb == "read" else _WRITTEN
    remedy = remedies.get(error.errno or 0, remedies[0])
    reason = os.strerror(error.errno) if error.errno else str(error)
    return JournalError(f"{shown(path)}: the journal cannot be {verb} ({reason}); {remedy}")


def shown(text: object) -> str:
    """Return foreign text as it may stand in a message: printable, at most 200 letters."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in str(text))
    return safe if len(safe) <= 200 else f"{safe[:197]}..."
