"""`Slopes`: how fast each sample's lead falls with each number of an activation. One backward pass a rival.

Nothing is screened here, and no weight is differentiated.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from faultsim.data.spec import even
from faultsim.engine.scored import ScoredOutput
from faultsim.engine.screen.rivals import numpy_of, rivals
from faultsim.engine.sweep.flow import TensorType
from faultsim.errors import FaultsimError
from faultsim.model.graph import Node, Program
from faultsim.model.run import Execution
from faultsim.model.values import Codes, Value, from_numpy, moved

Array = NDArray[Any]


class Slopes(NamedTuple):
    """First-order effects on a batch.

    Attributes:
        at: Derivatives of the leads by an activation (by its codes where it holds codes), each divided by the lead:
            a change of the activation whose product with it is -1 brings the rival level. By name one array of shape
            (samples, …), float32, for each rival. An activation that no gradient reaches is left out.
        sure: Samples whose output is finite and whose leads are finite and above 0, shape (samples,).
        finite: For each activation of `at` the samples whose slopes there are all finite, shape (samples,). They are
            kept apart: slopes at one boundary say nothing about trials that enter at another.
    """

    at: dict[str, tuple[Array, ...]]
    sure: NDArray[np.bool_]
    finite: dict[str, NDArray[np.bool_]]


AT_ONCE = 64
"""Most samples of a backward pass on a processor: what torch keeps for it takes several times their slopes."""


def slope_bytes(types: Mapping[str, TensorType], names: Collection[str]) -> int:
    """Return the memory that one rival's slopes at the activations *names* take for one sample."""
    return sum(np.dtype(np.float32).itemsize * int(np.prod(types[name].shape, dtype=np.int64)) for name in names)


def slopes(
    program: Program,
    feeds: Mapping[str, Array],
    names: Collection[str],
    output: ScoredOutput,
    *,
    count: int,
    device: torch.device,
) -> Slopes:
    """Return the slopes of the leads over the *count* nearest rivals at the activations *names*.

    Rounding passes straight-through gradients, so codes have slopes too. Samples are taken to be independent of each
    other, as they are in a deployed network.

    Args:
        program: The fault-free graph.
        feeds: A batch of inputs.
        names: Activations of the top graph.
        output: The output that is judged.
        count: Rivals.
        device: Where torch computes.
    """
    samples = len(next(iter(feeds.values())))
    spans = list(even(samples, AT_ONCE if device.type == "cpu" else samples))
    found: Slopes | None = None
    for low, high in spans:
        part = {name: array[low:high] for name, array in feeds.items()}
        one = _at_once(program, part, frozenset(names), output, count, device)
        if len(spans) == 1:
            return one
        found = found or _room_for(one, samples)
        _put(found, one, low, high)
    assert found is not None
    return found


def _room_for(one: Slopes, samples: int) -> Slopes:
    return Slopes(
        {name: tuple(np.empty((samples, *a.shape[1:]), a.dtype) for a in own) for name, own in one.at.items()},
        np.zeros(samples, bool),
        {name: np.zeros(samples, bool) for name in one.finite},
    )


def _put(found: Slopes, one: Slopes, low: int, high: int) -> None:
    """Write the slopes of a part; an activation that the gradient of one part does not reach is left out of all."""
    found.sure[low:high] = one.sure
    for name in [*found.at]:
        if name not in one.at:
            del found.at[name], found.finite[name]
            continue
        found.finite[name][low:high] = one.finite[name]
        for whole, part in zip(found.at[name], one.at[name], strict=True):
            whole[low:high] = part


def _at_once(
    program: Program,
    feeds: Mapping[str, Array],
    wanted: frozenset[str],
    output: ScoredOutput,
    count: int,
    device: torch.device,
) -> Slopes:
    held: dict[str, torch.Tensor] = {}

    def observe(node: Node, name: str, value: Value) -> Value:
        tensor = value.values if isinstance(value, Codes) else value
        if name not in wanted or not isinstance(tensor, torch.Tensor) or not tensor.is_floating_point():
            return value
        if not tensor.requires_grad:
            tensor = tensor.detach().requires_grad_(True)
        held[name] = tensor
        return Codes(tensor, value.elem_type) if isinstance(value, Codes) else tensor

    samples = len(next(iter(feeds.values())))
    nothing = Slopes({}, np.zeros(samples, bool), {})
    tensors = {key: moved(value, device) for key, value in program.tensors.items()}
    values: dict[str, Value] = {name: moved(from_numpy(np.asarray(array)), device) for name, array in feeds.items()}
    with torch.enable_grad():
        try:
            execution = Execution(program, tensors, device=device, observer=observe)
            found = dict(zip(program.graph.output_names, execution.run(program.graph, values), strict=True))
        except FaultsimError:
            return nothing
        raw = found[output.name]
        raw = raw.values if isinstance(raw, Codes) else raw
        if not isinstance(raw, torch.Tensor) or not raw.requires_grad or not held:
            return nothing
        leads, finite = rivals(raw, output, count)
        margins = numpy_of(leads)
        sure = finite & ((margins > 0) & np.isfinite(margins)).all(axis=0)
        rows = []
        for j in range(len(leads)):
            last = j == len(leads) - 1
            seed = torch.where(torch.from_numpy(sure).to(device), 1 / leads[j].detach(), 0.0)
            rows.append(
                torch.autograd.grad(
                    leads[j], list(held.values()), seed.to(leads.dtype), retain_graph=not last, allow_unused=True
                )
            )
    at: dict[str, tuple[Array, ...]] = {}
    for position, name in enumerate(held):
        parts = [row[position] for row in rows]
        if all(one is not None for one in parts):
            at[name] = tuple(numpy_of(one) for one in parts)
    return Slopes(at, sure, {name: _finite(one) for name, one in at.items()})


def _finite(rivals: Sequence[Array]) -> NDArray[np.bool_]:
    """Return for each sample whether all its slopes are finite, and not so large that their sum is none."""
    with np.errstate(all="ignore"):
        sums = [np.einsum("nk->n", one.reshape(len(one), -1)) for one in rivals]
    return np.asarray(np.isfinite(sums).all(axis=0))
