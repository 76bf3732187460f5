"""Stored tensors by the name that a node reads them under. Nothing is followed to its use here (`follow.py`)."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from faultsim.model.nodes import Graph, Program
from faultsim.model.values import to_numpy


def constant(name: str, program: Program, graph: Graph) -> NDArray[np.generic] | None:
    """Return the constant called *name*, None where an op makes it."""
    key = graph.constants.get(origin(name, graph, {"Identity"}))  # exporters share equal scales through Identity
    return None if key is None else np.asarray(to_numpy(program.tensors[key]))


def origin(name: str, graph: Graph, through: Collection[str]) -> str:
    """Return the constant that *name* comes from through ops of these types, or the last name on the way there."""
    makers = {o: n for n in graph.nodes for o in n.outputs if n.op_type in through}
    seen = set[str]()
    while name not in graph.constants and name in makers and name not in seen:  # a body may use a name again
        seen.add(name)
        name = makers[name].inputs[0]
    return name
