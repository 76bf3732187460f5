"""The example campaign of these tests. It imports no torch: the processes that are killed must start fast."""

from faultsim.journal import Columns, identity

PARTS = {"model": {"sha256": "5f0c"}, "device": {"name": "sram", "ber": 1e-3}, "seed": 0}
CAMPAIGN = identity(PARTS)
COLUMNS = Columns(ints=("stratum", "correct"), floats=("loss",), byte_arrays=(("outcomes", 5),))


def row(trial):
    """A row of every kind of value, the same for the same trial."""
    loss = (float("nan"), float("inf"), -0.0, 5e-324)[trial] if trial < 4 else trial / 7
    return (trial, -trial % 3, 900 + trial, loss, bytes((trial * k) % 4 for k in range(5)))
