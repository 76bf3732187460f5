"""What LSTM, GRU and RNN share: directions, lengths, layout, activations, the walk over time. No op lives here."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.errors import UnsupportedOpError

Activation = Callable[[Tensor], Tensor]
State = tuple[Tensor, ...]
Step = Callable[[Tensor, State], State]
"""From a time step's projected input (N, gates · H) and the state (N, H)… to the next state, the hidden one first."""

_DEFAULTS: dict[str, tuple[float, float]] = {
    "leakyrelu": (0.01, 0.0),
    "thresholdedrelu": (1.0, 0.0),
    "elu": (1.0, 0.0),
    "hardsigmoid": (0.2, 0.5),
    "scaledtanh": (1.0, 1.0),
    "affine": (1.0, 0.0),
}


def _activation(name: str, a: float, b: float) -> Activation:
    table: dict[str, Activation] = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "affine": lambda x: a * x + b,
        "leakyrelu": lambda x: functional.leaky_relu(x, a),
        "thresholdedrelu": lambda x: torch.where(x > a, x, 0.0),
        "scaledtanh": lambda x: a * torch.tanh(b * x),
        "hardsigmoid": lambda x: torch.clamp(a * x + b, 0, 1),
        "elu": lambda x: functional.elu(x, a),
        "softsign": functional.softsign,
        "softplus": functional.softplus,
    }
    if name not in table:
        raise UnsupportedOpError(f"the recurrent activation {name!r} is unknown; ONNX has {', '.join(table)}")
    return table[name]


def activations_of(
    names: Sequence[str] | None,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
    default: Sequence[str],
    directions: int,
) -> list[list[Activation]]:
    """Return the activations of every direction; alphas and betas go to those that take them, in order."""
    chosen = [n.lower() for n in names] if names else list(default) * directions
    alpha, beta = iter(alphas or ()), iter(betas or ())
    made = []
    for name in chosen:
        a, b = _DEFAULTS.get(name, (0.0, 0.0))
        a = next(alpha, a) if name in _DEFAULTS else a
        b = next(beta, b) if name in ("hardsigmoid", "scaledtanh", "affine") else b
        made.append(_activation(name, a, b))
    return [made[i * len(default) : (i + 1) * len(default)] for i in range(directions)]


class Layer(NamedTuple):
    """The inputs of a recurrent op with the time axis first.

    Attributes:
        x: (T, N, I).
        lengths: Valid steps of every sequence, (N, 1); None where all are valid.
        states: Initial states, each (D, N, H).
        directions: ``False`` for forward, ``True`` for reverse, one an entry of axis D.
    """

    x: Tensor
    lengths: Tensor | None
    states: tuple[Tensor, ...]
    directions: list[bool]

    @property
    def plain(self) -> bool:
        """Whether every sequence has all its steps, and at least one."""
        return self.lengths is None and self.x.shape[0] > 0

    @property
    def source(self) -> Tensor:
        """*x* in the order in which torch's kernels must see it: they know no layer that only runs backwards."""
        return self.x.flip(0) if self.directions == [True] else self.x


def layer(
    x: Tensor, r: Tensor, lengths: Tensor | None, states: Sequence[Tensor | None], direction: str, layout: int
) -> Layer:
    """Bring the inputs of a recurrent op into one form; absent states are zeros.

    Raises:
        ValueError: If sizes do not go together: torch's kernels check none and read beyond the memory of their inputs.
    """
    if layout:
        x = x.transpose(0, 1)
    count, hidden = r.shape[0], r.shape[2]
    made = []
    if lengths is not None and lengths.numel() != x.shape[1]:
        raise ValueError(f"{lengths.numel()} sequence lengths for a batch of {x.shape[1]}")
    for state in states:
        if state is None:
            made.append(torch.zeros(count, x.shape[1], hidden, dtype=x.dtype, device=x.device))
        else:
            made.append(state.transpose(0, 1) if layout else state)
            if tuple(made[-1].shape) != (count, x.shape[1], hidden):
                raise ValueError(
                    f"an initial state of shape {tuple(made[-1].shape)} for {count} directions, a batch of "
                    f"{x.shape[1]} and {hidden} hidden units"
                )
    reverse = {"forward": [False], "reverse": [True], "bidirectional": [False, True]}[direction]
    return Layer(x, None if lengths is None else lengths.reshape(-1, 1), tuple(made), reverse)


def walk(projected: Tensor, lengths: Tensor | None, state: State, step: Step, *, reverse: bool) -> tuple[Tensor, State]:
    """Run *step* over time; a sequence keeps its state and gives zeros beyond its length.

    Args:
        projected: (T, N, gates · H).
        lengths: (N, 1) or None.
        state: The initial state, the hidden one first.
        step: One step.
        reverse: From the last step to the first.

    Returns:
        The hidden states (T, N, H) in the order of the input, and the last state.
    """
    inputs = projected.unbind(0)
    outputs: list[Tensor] = [state[0]] * len(inputs)
    for t in reversed(range(len(inputs))) if reverse else range(len(inputs)):
        new = step(inputs[t], state)
        if lengths is None:
            state = new
            outputs[t] = new[0]
            continue
        alive = t < lengths
        state = tuple(torch.where(alive, n, old) for n, old in zip(new, state, strict=True))
        outputs[t] = torch.where(alive, new[0], 0.0)
    if not outputs:
        return state[0].new_zeros((0, *state[0].shape)), state
    if lengths is not None:
        # a sequence of length 0 ends in zeros, not in its initial state: onnxruntime's reading
        state = tuple(torch.where(lengths > 0, s, 0.0) for s in state)
    return torch.stack(outputs), state


def joined(ys: Sequence[Tensor], states: Sequence[State], layout: int) -> tuple[Tensor, ...]:
    """Return Y and the last states as the op has them, from (T, N, H) and states of every direction."""
    y = torch.stack(list(ys), dim=1)
    last = [torch.stack(list(of), dim=0) for of in zip(*states, strict=True)]
    if layout:
        return (y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last))
    return (y, *last)


def native_parameters(x: Tensor, w: Tensor, r: Tensor, b: Tensor | None, order: Sequence[int]) -> list[Tensor]:
    """Return the weights as torch's recurrent kernels want them: gates in *order*, input and hidden bias apart.

    Raises:
        ValueError: If the inputs *x* have another width than the weights, which the kernels do not check.
    """
    if x.shape[2] != w.shape[2]:
        raise ValueError(f"inputs of width {x.shape[2]} for weights of width {w.shape[2]}")
    gates, hidden = len(order), r.shape[2]
    parameters: list[Tensor] = []
    for d in range(w.shape[0]):
        bias = w.new_zeros(2 * gates * hidden) if b is None else b[d]
        for block in (w[d], r[d], bias[: gates * hidden], bias[gates * hidden :]):
            parts = block.chunk(gates, 0)
            parameters.append(block if gates == 1 else torch.cat([parts[i] for i in order]))
    return parameters


def native_outputs(y: Tensor, last: Sequence[Tensor], at: Layer, layout: int) -> tuple[Tensor, ...]:
    """Return Y and the last states as the op has them, from what torch's recurrent kernels give."""
    if at.directions == [True]:
        y = y.flip(0)
    y = y.reshape(y.shape[0], y.shape[1], len(at.directions), -1)
    if layout:
        return (y.transpose(0, 1), *(s.transpose(0, 1) for s in last))
    return (y.transpose(1, 2), *last)
