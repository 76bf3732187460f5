"""Models for the tests of campaigns."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))  # nets.py lies beside

from campaign_nets import Tiny, tiny


@pytest.fixture
def net(tmp_path: Path) -> Tiny:
    """A model of 96 bits with its data."""
    return tiny(tmp_path)
