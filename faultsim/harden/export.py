"""Writes a hardened model: the same graph with new numbers, checked as it lies on the disk. No training lives here."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from faultsim.errors import ModelError, OptionError
from faultsim.harden.trainable import Trainable
from faultsim.model import Agreement, Model, check_agreement, load_model
from faultsim.model.proto import clear

Array = NDArray[Any]


class Exported(NamedTuple):
    """A model that was written.

    Attributes:
        path: The file.
        model: As it was read back.
        agreement: With the reference runtime, on real input.
        changed: Names of the stored tensors that differ from the original's.
    """

    path: Path
    model: Model
    agreement: Agreement
    changed: tuple[str, ...]


def check_target(model: Model, path: Path, *, option: str = "-o") -> None:
    """Refuse to write over the original.

    Args:
        model: The original.
        path: What would be written.
        option: The option that says where to.

    Raises:
        OptionError: If *path* is the original's file.
    """
    if model.path is not None and path.exists() and path.samefile(model.path):
        raise OptionError(f"{option} {path}: that is the original, which is never overwritten; give another name")


def export(
    trainable: Trainable,
    numbers: Mapping[str, Array],
    path: Path,
    feeds: Mapping[str, Array],
    wrote: Callable[[], None] = lambda: None,
) -> Exported:
    """Write the original graph with new *numbers* to *path*, read it back, and check it.

    Args:
        trainable: What was trained.
        numbers: By name, as `Trainable.numbers` gives them.
        path: Where to.
        feeds: Real inputs for the check against onnxruntime (the qonnx executor for QONNX).
        wrote: Called once the file lies there, before it is checked.

    Raises:
        OptionError: If *path* is the original's file.
        ModelError: If the file cannot be written, or differs from the original in more than these numbers.
        DisagreementError: If our execution of the file and the reference runtime's part.
    """
    original = trainable.model
    check_target(original, path)
    for name, array in numbers.items():
        if not np.all(np.isfinite(np.asarray(array, dtype=np.float64))):
            raise ModelError(f"{name}: training left a number that is not finite; lower the learning rate")
    path.parent.mkdir(parents=True, exist_ok=True)
    original.write(path, numbers)
    wrote()
    back = load_model(path, torch_device=str(original.device))
    check_same_graph(original, back.proto, numbers)
    back = back.with_batch_axes({**original.axes.outputs, **original.axes.inputs}, judged=original.judged)
    changed = tuple(name for name in numbers if not _equal(original, name, numbers[name]))
    return Exported(path, back, check_agreement(back, feeds), changed)


def check_same_graph(original: Model, written: ModelProto, numbers: Mapping[str, Array]) -> None:
    """Check that *written* is the original in all but the tensors named in *numbers*.

    Raises:
        ModelError: If anything else differs.
    """
    bare, original = [], original.as_deployed
    for proto in (original.proto, written):
        copy = ModelProto()
        copy.CopyFrom(proto)
        for name in numbers:
            clear(copy, original.program.paths[name])
        bare.append(copy.SerializeToString(deterministic=True))
    if bare[0] != bare[1]:
        raise ModelError(
            f"{original.name}: the written file differs in more than the trained numbers; please report it"
        )


def _equal(original: Model, name: str, array: Array) -> bool:
    clean = original._numbers(name)
    return bool(np.array_equal(clean, np.asarray(array).astype(clean.dtype)))
