"""`open_part`: a piece of the graph, ready to compute. Which piece, and on what, lives elsewhere."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from faultsim.engine.sweep.unsigned import flip, make_unsigned
from faultsim.errors import ModelError
from faultsim.model.check import session
from faultsim.model.graph import compile_model
from faultsim.model.run import Execution
from faultsim.model.values import from_numpy, moved, to_numpy

Array = NDArray[Any]
Runtime = Literal["onnxruntime", "torch"]
BLOCK = 32
"""Rows of a call on a processor: what it computes on stays in the caches."""
_SHARE = 4
"""One part in so many of a GPU's free memory is for the rows of a call."""


class Opener(Protocol):
    """Opens pieces for the runtime of a sweep."""

    def __call__(self, proto: ModelProto, *, fused: bool) -> "Part":
        """Return a piece ready to compute; *fused* lets the runtime optimise it."""


class Part(Protocol):
    """A piece of the graph under fixed numbers."""

    def __call__(self, feeds: Mapping[str, Array]) -> list[Array]:
        """Return the outputs in the order of the piece's declaration; feeds count the samples along axis 0."""


def rows_at_once(device: torch.device, sample_bytes: int, batch_size: int) -> int:
    """Return how many rows a call takes: `BLOCK`, or on a GPU a batch, or what fits into its free memory.

    Args:
        device: Where torch computes.
        sample_bytes: Memory of one sample's activations, all together.
        batch_size: Most samples that are swept together, at least 1.
    """
    if device.type != "cuda":
        return BLOCK
    free, _ = torch.cuda.mem_get_info(device)
    return max(min(int(free) // _SHARE // max(sample_bytes, 1), batch_size), BLOCK)


def open_part(
    proto: ModelProto, runtime: Runtime, *, fused: bool, threads: int = 0, device: torch.device | None = None
) -> Part:
    """Return a piece ready to compute.

    Args:
        proto: The piece; it is not to be used again.
        runtime: What computes.
        fused: Whether onnxruntime may optimise the piece; it stays as it is otherwise.
        threads: Threads of onnxruntime; the machine's own number where 0.
        device: Where torch computes.

    Raises:
        ModelError: If the runtime cannot run the piece.
    """
    names = [o.name for o in proto.graph.output]
    if runtime == "onnxruntime":
        return _onnxruntime(proto, names, threads, fused=fused)
    return _torch(proto, device or torch.device("cpu"))


def _onnxruntime(proto: ModelProto, names: Sequence[str], threads: int, *, fused: bool) -> Part:
    unsigned = make_unsigned(proto) if fused else frozenset[str]()
    opened = session(proto, optimised=fused, threads=threads)

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        given = {name: flip(array) if name in unsigned else array for name, array in feeds.items()}
        try:
            made = opened.run(list(names), given)
        except Exception as error:  # onnxruntime raises types of its own, without a common base
            raise ModelError(f"onnxruntime failed on a piece of the model: {str(error)[:200]}") from None
        found = zip(names, made, strict=True)
        return [flip(np.asarray(one)) if name in unsigned else np.asarray(one) for name, one in found]

    return run


def _torch(proto: ModelProto, device: torch.device) -> Part:
    program = compile_model(proto)
    tensors = {key: moved(value, device) for key, value in program.tensors.items()}

    def run(feeds: Mapping[str, Array]) -> list[Array]:
        with torch.no_grad():
            values = {name: moved(from_numpy(np.asarray(array)), device) for name, array in feeds.items()}
            found = Execution(program, tensors, device=device).run(program.graph, values)
            return [np.asarray(to_numpy(value)) for value in found]

    return run
