"""The registry of laws."""

from typing import ClassVar

import pytest

from faultsim.errors import OptionError
from faultsim.faults import FAULTS, BitFlip, register


def test_every_law_is_registered_under_its_kind() -> None:
    assert {"analog_chain", "bit_flip", "drift", "ir_drop", "lane_fault", "rowhammer", "upset_rate"} <= set(FAULTS)
    assert all(law.kind == kind for kind, law in FAULTS.items())


def test_a_kind_is_taken_once() -> None:
    class Other(BitFlip):
        kind: ClassVar[str] = "bit_flip"

    with pytest.raises(OptionError, match="'bit_flip' is taken by BitFlip"):
        register(Other)
    assert register(BitFlip) is BitFlip
