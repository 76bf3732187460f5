"""A small campaign whose rows follow from their trial by a rule, and the text of its journal."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from campaign import CAMPAIGN, COLUMNS, row

from faultsim.journal import open_journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "campaign.journal"


@pytest.fixture
def filled(path):
    """A journal of trials 0 to 5, closed."""
    with open_journal(path, CAMPAIGN, COLUMNS) as journal:
        journal.append([row(trial) for trial in range(6)])
    return path
