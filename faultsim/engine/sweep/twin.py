"""`Twin`: the graph as the runtime really runs it, and where the deployed graph's activations are in it.

onnxruntime fuses nodes and changes layouts before it runs, and which it fuses depends on the whole graph: a piece that
is optimised by itself may round otherwise. So the whole graph is optimised once, and pieces of *that* run unoptimised:
the same kernels, the same bits. Activations are found again by their values. Nothing is scheduled here.
"""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import ModelProto

from faultsim.engine.sweep.find import Finder
from faultsim.engine.sweep.flow import Flow, TensorType, elem_type
from faultsim.engine.sweep.form import Form
from faultsim.engine.sweep.parts import Opener
from faultsim.errors import ModelError
from faultsim.model import Model, exact_codes
from faultsim.model.values import CODE_BITS, Codes, code_range

Array = NDArray[Any]


class Twin:
    """The graph that runs, and the forms of the deployed graph's activations in it.

    Attributes:
        flow: The graph that runs.
        types: Types of its activations.
        forms: By the deployed graph's name.
    """

    def __init__(self, flow: Flow, types: Mapping[str, TensorType], forms: Mapping[str, Form]) -> None:
        self.flow = flow
        self.types = types
        self.forms = forms


def same_twin(flow: Flow, types: Mapping[str, TensorType]) -> Twin:
    """Return the deployed graph as its own twin, for a runtime that changes nothing."""
    return Twin(flow, types, {name: Form(name) for name in types})


def optimised(proto: ModelProto, threads: int) -> ModelProto:
    """Return the graph that onnxruntime makes of *proto* on this machine.

    Raises:
        ModelError: If it cannot run the graph, or cannot write what it made of it.
    """
    return exact_codes.exactly(lambda given, exact: _written(given, threads, exact=exact), proto)


def _written(proto: ModelProto, threads: int, *, exact: bool) -> ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimised.onnx"
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = threads or torch.get_num_threads()
        options.optimized_model_filepath = str(path)
        if exact:
            exact_codes.ask(options)
        try:
            ort.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
            return onnx.load(path)
        except Exception as error:  # onnxruntime raises types of its own, without a common base
            raise ModelError(f"onnxruntime cannot write its graph: {str(error)[:200]}") from None


def wild_numbers(model: Model, numbers: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Return numbers under which activations leave the ranges that they have on the clean chip.

    Weights and biases change their sign and, but for codes, grow: what is clipped or rectified unseen becomes seen.
    """
    found = {}
    for site in model.select(("weight", "bias")):
        array = (numbers or {}).get(site.name, model.numbers[site.name])
        if array.dtype.kind == "f":
            found[site.name] = (array * np.array(-1.5, array.dtype)).astype(array.dtype)
        elif isinstance(value := model.program.tensors[site.name], Codes) and value.elem_type in CODE_BITS:
            low, high = code_range(value.elem_type)  # those of 4 bits come in bytes
            found[site.name] = -np.maximum(array, low + 1) if low < 0 else (high - array).astype(array.dtype)
    return found


class Shown(NamedTuple):
    """A graph under some numbers, and its activations on a few samples, by name."""

    proto: ModelProto
    values: Mapping[str, Array]


def optimised_twin(
    clean: Shown,
    wild: Shown,
    types: Mapping[str, TensorType],
    feeds: Mapping[str, Array],
    output: str,
    opener: Opener,
    threads: int,
) -> tuple[Twin, Array]:
    """Return onnxruntime's own graph as the twin, and its clean output.

    Args:
        clean: The deployed graph with its clean numbers.
        wild: The same with others, under which activations that happen to agree part (`wild_numbers`).
        types: Types of its activations.
        feeds: Inputs of these samples.
        output: The scored output.
        opener: Opens a piece.
        threads: Threads of onnxruntime.

    Raises:
        ModelError: If the graph cannot be optimised apart, or cannot show its activations.
    """
    flow = Flow(optimised(clean.proto, threads))
    found = _run_all(flow, types, feeds, opener)
    other = _run_all(Flow(optimised(wild.proto, threads)), types, feeds, opener)
    count = len(next(iter(feeds.values())))
    held = {
        name: TensorType(elem_type(array), array.shape[1:])
        for name, array in found.items()
        if array.shape[:1] == (count,)
    }
    finder = Finder(flow, found, other, [name for name in found if name in held])
    forms = {name: finder.find(name, value, wild.values.get(name)) for name, value in clean.values.items()}
    return Twin(flow, held, {name: form for name, form in forms.items() if form is not None}), found[output]


def _run_all(
    flow: Flow, types: Mapping[str, TensorType], feeds: Mapping[str, Array], opener: Opener
) -> dict[str, Array]:
    names = [o for i in sorted(flow.live) for o in flow.nodes[i].output if o]
    shown = flow.piece(range(len(flow.nodes)), {n: types[n] for n in flow.inputs if n in types}, {})
    shown.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return dict(feeds) | dict(zip(names, opener(shown, fused=False)(feeds), strict=True))
