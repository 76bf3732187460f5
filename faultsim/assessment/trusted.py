"""Which runtime scores: onnxruntime's optimised session, unless it computes another network than the file says."""

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from faultsim.engine.runner import Runner
from faultsim.model import Model
from faultsim.model.check import optimiser_gap

Array = NDArray[Any]


def trusted_runner(
    model: Model, output: str, feeds: Mapping[str, Array], ours: Array, *, threads: int, prefer: str
) -> tuple[Runner, tuple[str, ...]]:
    """Return what runs the clean model and chips, and what to say of it.

    The check against onnxruntime is of the graph node by node as it is written; scores come from the session that its
    optimiser rewrites, as a deployment does. Where the two are different networks, torch scores.

    Args:
        model: The model.
        output: Name of the scored output.
        feeds: The first batch.
        ours: What torch makes of it.
        threads: Of onnxruntime; 0 for all.
        prefer: As `Runner` takes it.
    """
    runner = Runner(model, output, threads=threads, prefer=prefer)
    if runner.runtime != "onnxruntime":
        return runner, ()
    gap = optimiser_gap(model, {output: ours}, {output: runner.open()(feeds)})
    if gap is None:
        return runner, ()
    said = (
        f"onnxruntime's optimiser changes what this graph computes (max |Δ| {gap.worst:.3g}, {gap.beyond:.0%} of the "
        "output beyond rounding): torch scores, which agrees with the graph as it is written; deploy it with the "
        "optimisations off, or export it anew."
    )
    return Runner(model, output, threads=threads, prefer="torch"), (said,)
