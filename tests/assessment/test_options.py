"""Options out of range are refused with what is allowed."""

import os

import pytest

from faultsim.assessment import Options
from faultsim.errors import OptionError


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("trials", 0, "trials is 0, it must be at least 1"),
        ("batch_size", 0, "batch_size is 0, it must be at least 1"),
        ("threads", -1, "threads is -1, it must be at least 0"),
        ("threads", 1 << 20, f"threads is 1048576, allowed are at most {4 * (os.cpu_count() or 1)} on this machine"),
        ("limit", 0, "limit is 0, it must be at least 1"),
        ("level", 1.0, "level is 1, it must lie strictly between 0 and 1"),
        ("confidence", 0.0, "confidence is 0, it must lie strictly between 0 and 1"),
        ("search_gradients", 0, "search_gradients is 0, it must be at least 1"),
    ],
)
def test_an_option_out_of_range_is_refused(name, value, message):
    with pytest.raises(OptionError, match=message):
        Options(**{name: value})
