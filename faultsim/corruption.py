"""The values that everything else makes, bounds, applies or scores: `Site`, the four edits, `Corruption`.

No randomness, no device and no model lives here; numpy only.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.formats import IntFormat
from faultsim.formats.base import NumberFormat, Values

Kind = Literal[
    "conv",
    "depthwise",
    "gemm",
    "norm",
    "embedding",
    "attention",
    "recurrent",
    "elementwise",
    "quantization",
    "other",
]
Role = Literal["weight", "bias", "norm", "scale", "zero_point", "constant", "activation"]


@dataclass(frozen=True, kw_only=True)
class Site:
    """One named tensor of the deployed graph that can be wrong.

    Attributes:
        name: Name of the initializer (or of the activation) in the ONNX graph, unique in the model.
        shape: Its shape.
        format: How the deployed graph stores its numbers.
        layer: Name of the node that computes with it.
        kind: What sort of layer that node is.
        role: What the tensor is to that layer.
        depth: Position of that layer along the graph, 0 at the input, counted in layers with parameters.
        scale: For integer codes the step between two codes in real units (per tensor: shape ``()``, per
            channel: broadcastable to `shape`), as the graph dequantizes them; ``None`` otherwise.
        zero: For integer codes the code that stands for 0, shaped as `scale`, or as the tensor where blocks of it have
            their own; ``None`` where the graph names none, which is a code of 0.
        code_bits: For integer codes the real number of bits behind the container (a 4-bit weight in an
            int8 tensor has 4); ``None`` where the container is the format.
        channel_axis: Axis that counts output channels (0 for a Conv, the last of a MatMul).
        channels_told: Whether the graph tells that axis; where it does not, `channel_axis` is 0.
        quantizer: For float numbers that the graph itself quantizes (a QONNX weight behind Quant): the format of the
            codes that are deployed; ``None`` otherwise.
        untold: Whether the graph quantizes this float weight in a way that no format here tells (a rounding other than
            to the nearest, float8 codes, parts with scales of their own).
        packed: Whether every number is a byte of several codes, which no single cell holds and no radius measures. Most
            packed tensors are sites of one number for each code; these are the others, such as one that an op moves
            before it is read.
    """

    name: str
    shape: tuple[int, ...]
    format: NumberFormat
    layer: str
    kind: Kind
    role: Role
    depth: int
    scale: NDArray[np.float64] | None = field(default=None, compare=False)
    zero: NDArray[np.float64] | None = field(default=None, compare=False)
    code_bits: int | None = None
    channel_axis: int = 0
    quantizer: NumberFormat | None = field(default=None, compare=False)
    untold: bool = field(default=False, compare=False)
    channels_told: bool = field(default=True, compare=False)
    packed: bool = field(default=False, compare=False)

    @property
    def elements(self) -> int:
        """Number of elements of the tensor."""
        return int(np.prod(self.shape, dtype=np.int64))


class Stored(NamedTuple):
    """A site as a device stores it.

    `values` are in the units of the deployed tensor (float weights, or integer codes of an int8 tensor),
    already rounded to what `format` can hold: this is what the fault-free chip computes with.
    """

    site: Site
    format: NumberFormat
    values: Values


@dataclass(frozen=True, kw_only=True, eq=False)
class Add:
    """A delta in value space: dense (the site's shape) where `indices` is None, else one per flat index."""

    delta: NDArray[Any]
    indices: NDArray[np.int64] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Xor:
    """Flipped stored bits: `masks` (uint64) over the words at the flat `indices`, each index at most once."""

    indices: NDArray[np.int64]
    masks: NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Stuck:
    """Forced bits: at the flat `indices` bits in `masks` read as those of `bits`, whatever was written."""

    indices: NDArray[np.int64]
    masks: NDArray[np.uint64]
    bits: NDArray[np.uint64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Redraw:
    """A law drawn anew for every inference, by `key`; `std` is its standard deviation per element."""

    law: str
    key: tuple[int, int, str]
    std: NDArray[Any]


Edit = Add | Xor | Stuck | Redraw
_EDITS: dict[str, type[Edit]] = {"add": Add, "xor": Xor, "stuck": Stuck, "redraw": Redraw}


def apply_edit(edit: Edit, stored: Stored) -> Values:
    """Return the numbers that the chip computes with under *edit*: a new array of the site's shape.

    Bits are flipped and forced in the device's format (`Stored.format`). A delta is added in value space
    and not rounded to that format again; only a tensor of integer codes is, to the nearest code of its
    stored bits, since nothing else fits in them. A `Redraw` leaves the stored numbers as they are: it acts at
    inference.

    Args:
        edit: What is wrong.
        stored: The tensor as the fault-free device holds it.
    """
    if isinstance(edit, Redraw):
        return stored.values.copy()
    if isinstance(edit, Add):
        return _added(edit, stored.values, stored.format)
    out = stored.values.copy()
    if edit.indices.size == 0:
        return out
    flat = out.reshape(-1)
    touched = stored.format.at(edit.indices, out.shape)
    words = touched.encode(flat[edit.indices])
    words = words ^ edit.masks if isinstance(edit, Xor) else (words & ~edit.masks) | (edit.bits & edit.masks)
    flat[edit.indices] = touched.decode(words)
    return out


def _added(edit: Add, values: Values, kept: NumberFormat) -> Values:
    """Add a delta; integer codes are summed as float64, rounded, and held in the range of their stored bits."""
    codes = values.dtype.kind in "iu"
    if edit.indices is None and not codes:
        summed: Values = (values + edit.delta.reshape(values.shape)).astype(values.dtype, copy=False)
        return summed
    total = values.astype(np.float64) if codes else values.copy()
    if edit.indices is None:
        total += edit.delta.reshape(values.shape)
    else:
        np.add.at(total.reshape(-1), edit.indices, edit.delta.astype(total.dtype))
    if not codes:
        return total
    limits = np.iinfo(values.dtype)
    low, high = int(limits.min), int(limits.max)
    if isinstance(kept, IntFormat):  # a container may be wider than its codes
        low, high = max(low, kept.lowest), min(high, kept.highest)
    rounded: Values = np.clip(np.rint(total), low, high).astype(values.dtype)
    return rounded


class Corruption(Mapping[str, Edit]):
    """What is wrong with one chip: an edit for each corrupted site, by site name; hashable and replayable."""

    __slots__ = ("_digest", "_edits")

    def __init__(self, edits: Mapping[str, Edit]) -> None:
        self._edits = dict(sorted(edits.items()))
        self._digest: str | None = None

    def __getitem__(self, name: str) -> Edit:
        return self._edits[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._edits)

    def __len__(self) -> int:
        return len(self._edits)

    def __repr__(self) -> str:
        parts = ", ".join(f"{name}: {type(edit).__name__}" for name, edit in self._edits.items())
        return f"Corruption({{{parts}}})"

    @property
    def digest(self) -> str:
        """A SHA-256 of the content: equal for equal corruptions, across machines."""
        if self._digest is None:
            whole = hashlib.sha256()
            for name, edit in self._edits.items():
                whole.update(json.dumps([name, type(edit).__name__]).encode())
                for key, value in sorted(vars(edit).items()):
                    array = np.ascontiguousarray(value) if isinstance(value, np.ndarray) else None
                    header = [key, value] if array is None else [key, str(array.dtype), array.shape]
                    whole.update(json.dumps(header).encode())
                    whole.update(b"" if array is None else array.tobytes())
            self._digest = whole.hexdigest()
        return self._digest

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Corruption) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return plain arrays for ``numpy.savez``: keys ``<position>/<edit>/<field>``, and ``names``."""
        arrays: dict[str, NDArray[Any]] = {"names": np.array(list(self._edits), dtype=np.str_)}
        for position, edit in enumerate(self._edits.values()):
            for key, value in vars(edit).items():
                if value is not None:
                    name = f"{position}/{type(edit).__name__.lower()}/{key}"
                    arrays[name] = value if isinstance(value, np.ndarray) else np.array(json.dumps(value))
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> "Corruption":
        """Return the corruption that `to_arrays` wrote.

        Raises:
            ValueError: If a key is not one that `to_arrays` writes, or the fields of an edit are not whole.
        """
        if "names" not in arrays:
            raise ValueError("corruption archive holds no names; write it with Corruption.to_arrays")
        names = [str(name) for name in arrays["names"]]
        parts: dict[int, tuple[str, dict[str, Any]]] = {}
        for key in arrays:
            if key == "names":
                continue
            pieces = key.split("/")
            if len(pieces) != 3 or pieces[1] not in _EDITS or not pieces[0].isdecimal() or int(pieces[0]) >= len(names):
                raise ValueError(
                    f"corruption archive holds the unknown key {key!r}; write it with Corruption.to_arrays"
                )
            value = arrays[key]
            plain = json.loads(str(value)) if value.dtype.kind == "U" else value
            kind, fields = parts.setdefault(int(pieces[0]), (pieces[1], {}))
            if kind != pieces[1]:
                raise ValueError(
                    f"corruption archive holds two edits of {names[int(pieces[0])]!r}: {kind}, {pieces[1]}"
                )
            fields[pieces[2]] = tuple(plain) if isinstance(plain, list) else plain
        edits: dict[str, Edit] = {}
        for i, (kind, fields) in parts.items():
            try:
                edits[names[i]] = _EDITS[kind](**fields)
            except TypeError:
                raise ValueError(
                    f"corruption archive holds {sorted(fields)} of the edit {kind!r} of {names[i]!r}, which is not "
                    "whole; write it with Corruption.to_arrays"
                ) from None
        return cls(edits)
