"""`CleanRun`: the activations of the fault-free chip that the sweep builds on, batch by batch. No fault lives here."""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.flow import Flow, TensorType, elem_type
from faultsim.engine.sweep.parts import Opener, Part
from faultsim.engine.sweep.twin import Twin
from faultsim.model import Model
from faultsim.model.values import Codes, elem_type_of, to_numpy

Array = NDArray[Any]


class Clean(NamedTuple):
    """Clean activations of a batch.

    Attributes:
        plain: As the deployed graph has them, by its names.
        held: As the twin holds them, by its names.
    """

    plain: Mapping[str, Array]
    held: Mapping[str, Array]


class Seen(NamedTuple):
    """The activations of a graph that count the samples along axis 0, and nothing else.

    Attributes:
        types: By name.
        values: On the samples of the probe.
    """

    types: dict[str, TensorType]
    values: dict[str, Array]


def see(model: Model, flow: Flow, feeds: Mapping[str, Array], numbers: Mapping[str, Array] | None = None) -> Seen:
    """Run the deployed graph and return its activations: what does not grow along axis 0 alone is left out.

    Args:
        model: The model.
        flow: Its graph.
        feeds: At least three samples, along axis 0 of every input.
        numbers: Numbers by site in place of the model's own.
    """
    count = len(next(iter(feeds.values())))
    runs = []
    for size in (count - 1, count):
        found: dict[str, tuple[int, Array]] = {}

        def observe(node: Any, name: str, value: Any, found: dict[str, Any] = found) -> Any:
            array = to_numpy(value)
            if name in flow.activations and isinstance(array, np.ndarray) and hasattr(_carrier(value), "shape"):
                found[name] = (elem_type_of(value), array)
            return value

        part = {name: array[:size] for name, array in feeds.items()}
        model.run(part, numbers, observer=observe)
        runs.append(found | {name: (elem_type(array), array) for name, array in part.items()})
    less, full = runs
    chosen = {
        name: one
        for name, one in full.items()
        if one[1].shape[:1] == (count,)
        and one[1].size > 0
        and name in less
        and less[name][1].shape == (count - 1, *one[1].shape[1:])
    }
    types = {name: TensorType(kind, array.shape[1:]) for name, (kind, array) in chosen.items()}
    return Seen(types, {name: array for name, (_, array) in chosen.items()})


def _carrier(value: Any) -> Any:
    return value.values if isinstance(value, Codes) else value


class CleanRun:
    """Computes the clean activations that are asked for, on the twin.

    Attributes:
        plain: Names of the deployed graph's activations among them.
        held: Names of the twin's.
    """

    def __init__(
        self,
        twin: Twin,
        types: Mapping[str, TensorType],
        plain: Collection[str],
        held: Collection[str],
        output: str,
        opener: Opener,
    ) -> None:
        self._twin = twin
        self._types = types
        self.plain = frozenset(plain)
        self.held = frozenset(held) | {output} | {twin.forms[name].name for name in plain}
        flow = twin.flow
        self._made = sorted(self.held - set(flow.inputs))
        nodes = flow.ancestors(self._made)
        read = {name for i in nodes for name in flow.reads[i]}
        self._inputs = [name for name in flow.inputs if name in read]
        piece = flow.piece(nodes, {n: twin.types[n] for n in self._inputs}, {n: twin.types[n] for n in self._made})
        self._part: Part = opener(piece, fused=False)

    def __call__(self, feeds: Mapping[str, Array]) -> Clean:
        """Return the clean activations of a batch."""
        found = self._part({name: feeds[name] for name in self._inputs})
        held = dict(zip(self._made, found, strict=True))
        held |= {name: feeds[name] for name in self.held & feeds.keys()}
        plain = {}
        for name in self.plain:
            form, shape = self._twin.forms[name], self._types[name].shape
            plain[name] = form.plain(held[form.name], shape[0] if shape else 0)
        return Clean(plain, held)

    @property
    def sample_bytes(self) -> int:
        """Memory of one sample."""
        own = bytes_per_sample(self._twin.types, self.held)
        copied = [n for n in self.plain if self._twin.forms[n].layout != "plain" or self._twin.forms[n].unsigned]
        return own + bytes_per_sample(self._types, copied)


def bytes_per_sample(types: Mapping[str, TensorType], names: Collection[str]) -> int:
    """Return the memory that the activations *names* take for one sample, at most 8 bytes an element."""
    widths = {1: 4, 2: 1, 3: 1, 4: 2, 5: 2, 6: 4, 9: 1, 10: 2, 12: 4, 16: 2}
    return sum(int(np.prod(types[n].shape, dtype=np.int64)) * widths.get(types[n].elem_type, 8) for n in names)
