"""Control flow: If, Loop and Scan. Subgraphs run in the node's scope, and gradients flow through them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from onnx import TensorProto

from faultsim.model.ops.registry import Context, op
from faultsim.model.ops.sequences import join, pick, stack
from faultsim.model.values import TORCH_DTYPES, Codes, Value, carried, carrier_dtype


@op("If", codes="aware")
def If(cond: Any, *, then_branch: Any, else_branch: Any, ctx: Context) -> tuple[Value, ...]:
    """Outputs of the branch that the condition picks (If-1 to -25)."""
    return tuple(ctx.run(then_branch if bool(carried(cond).any()) else else_branch, []))


@op("Loop", codes="aware")
def Loop(trips: Any, cond: Any, *initial: Value, body: Any, ctx: Context) -> tuple[Value, ...]:
    """Last states of a loop, then its scan outputs stacked (Loop-1 to -25)."""
    limit = None if trips is None else int(carried(trips))
    going = cond is None or bool(cond)
    states = list(initial)
    scans: list[list[Value]] = [[] for _ in body.output_names[1 + len(states) :]]
    step = 0
    # A while loop's condition is an output of its body; a for loop's body passes it through.
    goes_on = torch.tensor(True, device=ctx.device) if cond is None else cond
    while going and (limit is None or step < limit):
        number = torch.tensor(step, dtype=torch.int64, device=ctx.device)
        goes_on, *results = ctx.run(body, [number, goes_on, *states])
        states = results[: len(states)]
        for collected, value in zip(scans, results[len(states) :], strict=True):
            collected.append(value)
        going = bool(goes_on)
        step += 1
    types = body.output_types[1 + len(states) :]
    stacked = [stack(s, 0) if s else _nothing(t, 0, ctx) for s, t in zip(scans, types, strict=True)]
    return (*states, *stacked)


@op("Scan", since=9, codes="aware")
def Scan(
    *inputs: Value,
    body: Any,
    num_scan_inputs: int,
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    ctx: Context,
) -> tuple[Value, ...]:
    """Last states of a scan, then its outputs stacked (Scan-9 to -25)."""
    count = len(inputs) - num_scan_inputs
    axes = list(scan_input_axes or [0] * num_scan_inputs)
    backwards = list(scan_input_directions or [0] * num_scan_inputs)
    outputs = len(body.output_names) - count
    states, collected = _scan(body, inputs[:count], inputs[count:], axes, backwards, ctx, None)
    places = list(scan_output_axes or [0] * outputs)
    reversed_ = list(scan_output_directions or [0] * outputs)
    stacked = [
        stack(c[::-1] if back else c, axis) if c else _nothing(t, axis, ctx)
        for c, t, axis, back in zip(collected, body.output_types[count:], places, reversed_, strict=True)
    ]
    return (*states, *stacked)


@op("Scan", since=8, codes="aware")
def Scan_8(
    lengths: Any,
    *inputs: Value,
    body: Any,
    num_scan_inputs: int,
    directions: Sequence[int] | None = None,
    ctx: Context,
) -> tuple[Value, ...]:
    """Last states and stacked outputs of a scan over a batch of sequences, batch axis first (Scan-8)."""
    count = len(inputs) - num_scan_inputs
    backwards = list(directions or [0] * num_scan_inputs)
    batch, longest = inputs[count].shape[:2]  # type: ignore[union-attr]
    finals: list[list[Value]] = []
    for number in range(batch):
        rows = [pick(value, 0, number) for value in inputs]
        steps = longest if lengths is None else int(carried(lengths)[number])
        states, collected = _scan(body, rows[:count], rows[count:], [0] * num_scan_inputs, backwards, ctx, steps)
        stacked = [
            _padded(stack(c, 0), longest) if c else _nothing(t, 0, ctx)
            for c, t in zip(collected, body.output_types[count:], strict=True)
        ]
        finals.append([*states, *stacked])
    return tuple(stack(list(values), 0) for values in zip(*finals, strict=True))


def _scan(
    body: Any,
    states: Sequence[Value],
    scanned: Sequence[Value],
    axes: Sequence[int],
    backwards: Sequence[int],
    ctx: Context,
    steps: int | None,
) -> tuple[list[Value], list[list[Value]]]:
    """Last states and, for every scan output, its values in the order of the steps."""
    current = list(states)
    if steps is None:
        first = scanned[0]
        steps = (first.values if isinstance(first, Codes) else first).shape[axes[0]]  # type: ignore[union-attr]
    collected: list[list[Value]] = [[] for _ in body.output_names[len(current) :]]
    for step in range(steps):
        slices = [
            pick(value, axis, steps - 1 - step if back else step)
            for value, axis, back in zip(scanned, axes, backwards, strict=True)
        ]
        results = ctx.run(body, [*current, *slices])
        current = results[: len(current)]
        for values, value in zip(collected, results[len(current) :], strict=True):
            values.append(value)
    return current, collected


def _padded(value: Value, length: int) -> Value:
    """Stacked outputs of a short sequence, zeros behind them."""
    data = value.values if isinstance(value, Codes) else value
    if not isinstance(data, torch.Tensor) or data.shape[0] == length:
        return value
    zeros = data.new_zeros((length - data.shape[0], *data.shape[1:]))
    return join([value, Codes(zeros, value.elem_type) if isinstance(value, Codes) else zeros], 0)


def _nothing(declared: Any, axis: int, ctx: Context) -> Value:
    """The stack of no values at all: the declared shape with 0 along *axis* and wherever it is unknown."""
    elem = declared.tensor_type.elem_type
    shape = [d.dim_value for d in declared.tensor_type.shape.dim]
    shape.insert(axis % (len(shape) + 1), 0)
    if elem == TensorProto.STRING:
        return np.empty(shape, dtype=object)
    if elem in TORCH_DTYPES:
        return torch.empty(shape, dtype=TORCH_DTYPES[elem], device=ctx.device)
    return Codes(torch.empty(shape, dtype=carrier_dtype(elem), device=ctx.device), elem)
