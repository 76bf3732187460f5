"""How fast the leads of one image fall with every stored number. One backward pass a rival; no flip is made here."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.engine.evaluate import Scorer
from faultsim.engine.screen.rivals import numpy_of, rivals
from faultsim.errors import FaultsimError, ModelError
from faultsim.model.graph import Program
from faultsim.model.run import Execution
from faultsim.model.values import Codes, Value, from_numpy, moved

Array = NDArray[Any]


class WeightSlopes(NamedTuple):
    """First-order effects on one image.

    Attributes:
        leads: Leads over the rivals in logits, nearest first, shape (rivals,).
        at: Derivatives of the leads by the stored numbers (codes where codes are stored), by site, shape
            (rivals, elements), float32; a site that no gradient reaches is left out.
    """

    leads: Array
    at: dict[str, Array]


def weight_slopes(
    program: Program, scorer: Scorer, sites: Collection[str], *, count: int, device: torch.device
) -> Iterator[WeightSlopes]:
    """Yield the slopes of each image of the scorer's data, in order.

    Args:
        program: The fault-free graph.
        scorer: Names the data and the output that is judged.
        sites: Stored tensors.
        count: Rivals.
        device: Where torch computes.

    Raises:
        ModelError: If the graph cannot run on torch, or no gradient reaches any site.
    """
    tensors: dict[str, Value] = {key: moved(value, device) for key, value in program.tensors.items()}
    leaves: dict[str, torch.Tensor] = {}
    for name in sites:
        value = tensors[name]
        carrier = value.values if isinstance(value, Codes) else value
        if isinstance(carrier, torch.Tensor) and carrier.is_floating_point():
            leaf = carrier.detach().clone().requires_grad_(True)
            leaves[name] = leaf
            tensors[name] = Codes(leaf, value.elem_type) if isinstance(value, Codes) else leaf
    for number in range(len(scorer.data)):
        yield _one(program, tensors, leaves, scorer, scorer.data.inputs(number, number + 1), count, device)


def _one(
    program: Program,
    tensors: Mapping[str, Value],
    leaves: Mapping[str, torch.Tensor],
    scorer: Scorer,
    feeds: Mapping[str, Array],
    count: int,
    device: torch.device,
) -> WeightSlopes:
    values: dict[str, Value] = {name: moved(from_numpy(np.asarray(array)), device) for name, array in feeds.items()}
    with torch.enable_grad():
        try:
            outputs = Execution(program, tensors, device=device).run(program.graph, values)
        except FaultsimError as error:
            raise ModelError(f"a bit map needs gradients, and torch cannot run this graph: {error}") from None
        raw = dict(zip(program.graph.output_names, outputs, strict=True))[scorer.output.name]
        raw = raw.values if isinstance(raw, Codes) else raw
        if not isinstance(raw, torch.Tensor) or not raw.requires_grad:
            raise ModelError(
                "a bit map needs gradients, and none reaches the stored numbers from the scored output; choose another "
                "--output, or count faults with 'faultsim campaign'"
            )
        leads, _ = rivals(raw, scorer.output, count)
        rows = [
            torch.autograd.grad(lead.sum(), list(leaves.values()), retain_graph=True, allow_unused=True)
            for lead in leads
        ]
    at = {}
    for position, name in enumerate(leaves):
        parts = [row[position] for row in rows]
        if all(part is not None for part in parts):
            at[name] = np.stack([numpy_of(part).reshape(-1) for part in parts])
    return WeightSlopes(numpy_of(leads).reshape(len(leads), -1)[:, 0], at)
