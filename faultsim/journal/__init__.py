"""The rows of a campaign on the disk, so that whatever ends a run costs at most the trial it was in.

Only names are handed on. A campaign engine, whose parent process alone writes, needs these lines:

    >>> import tempfile
    >>> from pathlib import Path
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "campaign.journal"
    >>> campaign = identity({"model": {"sha256": "5f0c"}, "device": {"name": "sram", "ber": 1e-3}, "seed": 0})
    >>> columns = Columns(ints=("n", "correct"), floats=("loss",))
    >>> def evaluate(trial):                              # what the workers do
    ...     return (trial, 1000, 900 + trial, 0.5 / (1 + trial))
    >>> with open_journal(path, campaign, columns) as journal:
    ...     for trial in journal.missing(3):              # the first run: 0, 1, 2
    ...         _ = journal.append([evaluate(trial)])
    >>> with open_journal(path, campaign, columns) as journal:
    ...     for trial in journal.missing(5):              # the same command, asked for more: 3, 4
    ...         _ = journal.append([evaluate(trial)])
    ...     rows = journal.rows()                         # sorted by trial, whoever came first
    >>> rows["correct"].tolist()
    [900, 901, 902, 903, 904]

A line of the file, its last 8 hex digits being the checksum over the row and all before it:

    >>> print(path.read_text().splitlines()[1])           # doctest: +ELLIPSIS
    [0,1000,900,0.5,"..."]
    >>> open_journal(path, identity({**campaign.parts, "seed": 1}), columns)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    faultsim.journal.errors.JournalError: ...this journal belongs to another campaign: the seed was 0, now 1; use ...
    >>> folder.cleanup()
"""

from faultsim.journal.columns import Columns, Row, Table
from faultsim.journal.errors import JournalError
from faultsim.journal.identity import LAWS_VERSION, Identity, campaign_id, difference, identity
from faultsim.journal.journal import Journal
from faultsim.journal.merge import Contents, Merged, merge, read_header, read_journal
from faultsim.journal.opening import open_journal

__all__ = [
    "LAWS_VERSION",
    "Columns",
    "Contents",
    "Identity",
    "Journal",
    "JournalError",
    "Merged",
    "Row",
    "Table",
    "campaign_id",
    "difference",
    "identity",
    "merge",
    "open_journal",
    "read_header",
    "read_journal",
]
