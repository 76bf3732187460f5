"""`SliceTemplate`: a join cut down to a few channels, as a model with faulty weights. It is built here and not run.

Trials share one call: channel t of the slice is the faulty output channel of trial t.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faultsim.engine.sweep.flow import Flow, TensorType, model_of, value_info
from faultsim.engine.sweep.join import Join
from faultsim.model.packed import bytes_of, codes_of

Array = NDArray[Any]
_SLICE = "/slice"
PAD = 16
"""A slice has a multiple of so many channels: kernels that work on blocks of channels then compute as in the whole."""


class Sparse(NamedTuple):
    """New numbers for a few elements of a stored tensor: flat indices (each once) and values in its own type."""

    indices: NDArray[np.int64]
    values: Array


def patched(tensor: TensorProto, faults: Sparse, bits: int | None = None) -> TensorProto:
    """Return a stored tensor with new numbers at a few elements, codes of so many *bits* where it packs them."""
    array = numpy_helper.to_array(tensor)
    array = array.copy() if bits is None else codes_of(array, bits)
    array.reshape(-1)[faults.indices] = faults.values
    array = array if bits is None else bytes_of(array, bits)
    fresh = numpy_helper.from_array(array, tensor.name)
    fresh.data_type = tensor.data_type
    return fresh


class Channel(NamedTuple):
    """One faulty channel: its number, and what is wrong in it (flat indices into the whole tensor)."""

    number: int
    faults: Sparse


class Feed(NamedTuple):
    """An input of the slice: its name there, the clean activation behind it, and how that is cut.

    Attributes:
        name: Name in the slice.
        source: Name of the clean activation.
        axis: The axis that counts channels; None where it is fed whole.
        offset: Channel of the activation that goes with channel 0 of the join.
        block: Channels of the activation for one channel of the slice.
        per_group: Channels of the join that share a block.
    """

    name: str
    source: str
    axis: int | None = None
    offset: int = 0
    block: int = 1
    per_group: int = 1

    def cut(self, clean: Array, channels: NDArray[np.int64]) -> Array:
        """Return what is fed for these channels of the join."""
        if self.axis is None:
            return clean
        if self.block == 1 and self.per_group == 1:
            return np.take(clean, channels + self.offset, axis=self.axis)
        start = channels // self.per_group * self.block
        return np.take(clean, (start[:, None] + np.arange(self.block)).ravel(), axis=self.axis)


class SliceTemplate:
    """Builds the models of one join for any channels and faults.

    Attributes:
        feeds: What has to be fed.
        outputs: The boundary, in the order of the join's.
    """

    def __init__(self, flow: Flow, types: Mapping[str, TensorType], join: Join) -> None:
        self.flow = flow
        self.join = join
        self.outputs = tuple(join.boundary)
        self._types = types
        self._feeds: dict[str, Feed] = {}
        self._nodes: list[tuple[NodeProto, bool]] = []
        self._sums: list[int] = []  # of these nodes: Add of a slice and a fed image, in this order
        self._extra: set[int] = set(join.constants)
        for i in join.nodes:
            self._add(i)
        self.feeds = tuple(self._feeds.values())
        wanted = {name for i in self._extra for name in flow.reads[i]}
        wanted |= {name for node, _ in self._nodes for name in node.input}
        self._constants = {
            name: numpy_helper.to_array(tensor) for name, tensor in flow.initializers.items() if name in wanted
        }
        self._whole = [flow.initializers[n] for n in self._constants if n not in join.sliced]

    def _add(self, i: int) -> None:
        node, join = self.flow.nodes[i], self.join
        rule = join.rules.get(i)
        copy = NodeProto()
        copy.CopyFrom(node)
        if rule is None:  # a Concat on the way: its channel of the slice is what goes in
            inner = next(n for n in node.input if n in join.offsets)
            self._nodes.append((helper.make_node("Identity", [inner], list(node.output)), False))
            return
        inside = [join.offsets[n] for n in node.input if n in join.offsets]
        offset = inside[0] if inside else 0
        for position, name in enumerate(node.input):
            ask = rule.asks.get(position)
            if not name or ask is None or name in join.offsets or name not in self.flow.activations:
                continue
            axis = None if ask.what == "whole" else ask.axis
            block = (rule.block, rule.outputs_per_group) if ask.what == "blocks" else (1, 1)
            copy.input[position] = self._side(name, axis, offset, *block)
        if node.op_type == "Add" and sum(name in self._feeds for name in copy.input) == 1:
            fed = next(name for name in copy.input if name in self._feeds)
            if self._feeds[fed].axis == 1 and self._slice_type(node.output[0], 1).is_image:
                copy.input[:] = [*(name for name in copy.input if name != fed), fed]
                self._sums.append(len(self._nodes))
        self._nodes.append((copy, rule.grouped))

    def _side(self, name: str, axis: int | None, offset: int, block: int, per_group: int) -> str:
        """Feed a clean activation, through its DequantizeLinear where one makes it."""
        suffix = "" if axis is None else f"{_SLICE}{offset}.{block}.{per_group}"
        maker = self.flow.makers.get(name)
        node = None if maker is None else self.flow.nodes[maker]
        if node is None or node.op_type != "DequantizeLinear":
            self._feeds.setdefault(name + suffix, Feed(name + suffix, name, axis, offset, block, per_group))
            return name + suffix
        codes = self._side(node.input[0], axis, offset, block, per_group)
        if all(node.output[0] + suffix not in one.output for one, _ in self._nodes):
            copy = NodeProto()
            copy.CopyFrom(node)
            copy.input[0], copy.output[0] = codes, node.output[0] + suffix
            self._nodes.append((copy, False))
            self._extra.update(self._constant_makers(node))
        return node.output[0] + suffix

    def _constant_makers(self, node: NodeProto) -> set[int]:
        found: set[int] = set()
        stack = list(node.input[1:])
        while stack:
            maker = self.flow.makers.get(stack.pop())
            if maker is not None and maker not in found and maker not in self.flow.live:
                found.add(maker)
                stack.extend(self.flow.reads[maker])
        return found

    @property
    def has_sums(self) -> bool:
        """Whether `build` can lead images that are added through a convolution."""
        return bool(self._sums)

    def build(self, channels: Sequence[Channel], *, convolved: bool = False) -> ModelProto:
        """Return the model whose output channel t is channel ``channels[t].number`` under its faults.

        Args:
            channels: Which, and what is wrong in each.
            convolved: Leads a fed image that is added to the slice through a convolution with ones, which changes no
                number: onnxruntime fuses a sum into a convolution only if both its terms come out of one.
        """
        join = self.join
        numbers = np.array([one.number for one in channels], dtype=np.int64)
        cut = []
        for name, axis in join.sliced.items():
            array = np.take(self._constants[name], numbers + join.shifts[name], axis=axis)
            if name == join.site:
                self._break(array, channels)
            tensor = numpy_helper.from_array(np.ascontiguousarray(array), name)
            tensor.data_type = self.flow.initializers[name].data_type
            cut.append(tensor)
        nodes = [self.flow.nodes[i] for i in sorted(self._extra)]
        for k, (node, grouped) in enumerate(self._nodes):
            if convolved and k in self._sums:
                same, node = _through_conv(node, len(channels))
                nodes.append(same)
                cut.append(numpy_helper.from_array(np.ones((len(channels), 1, 1, 1), np.float32), same.input[1]))
            nodes.append(_grouped(node, len(channels)) if grouped else node)
        inputs = [value_info(one.name, self._cut_type(one, len(channels))) for one in self.feeds]
        outputs = [value_info(name, self._slice_type(name, len(channels))) for name in self.outputs]
        return model_of(helper.make_graph(nodes, "slice", inputs, outputs, [*cut, *self._whole]), self.flow.proto)

    def _break(self, array: Array, channels: Sequence[Channel]) -> None:
        shape, axis = self._constants[self.join.site].shape, self.join.site_axis
        for t, one in enumerate(channels):
            if one.faults.indices.size:
                where = list(np.unravel_index(one.faults.indices, shape))
                where[axis] = np.full(one.faults.indices.size, t)
                array[tuple(where)] = one.faults.values

    def channels_of(self, faults: Sparse) -> list[Channel]:
        """Return the faulty channels of one trial, in order."""
        shape, axis = self._constants[self.join.site].shape, self.join.site_axis
        number = np.unravel_index(faults.indices, shape)[axis]
        return [
            Channel(int(c), Sparse(faults.indices[number == c], faults.values[number == c])) for c in np.unique(number)
        ]

    def _cut_type(self, feed: Feed, count: int) -> TensorType:
        whole = self._types[feed.source]
        if feed.axis is None:
            return whole
        shape = list(whole.shape)
        shape[feed.axis - 1] = count * feed.block
        return TensorType(whole.elem_type, tuple(shape))

    def _slice_type(self, name: str, count: int) -> TensorType:
        whole = self._types[name]
        shape = list(whole.shape)
        shape[self.join.axis - 1] = count
        return TensorType(whole.elem_type, tuple(shape))


def _through_conv(node: NodeProto, channels: int) -> tuple[NodeProto, NodeProto]:
    """Return a convolution that keeps the second input of *node* as it is, and *node* reading its output."""
    fed = node.input[1]
    name = f"{fed}{_SLICE}/same/{node.output[0]}"
    copy = NodeProto()
    copy.CopyFrom(node)
    copy.input[1] = name
    return helper.make_node("Conv", [fed, name + "/ones"], [name], group=channels), copy


def _grouped(node: NodeProto, groups: int) -> NodeProto:
    copy = NodeProto()
    copy.CopyFrom(node)
    kept = [a for a in copy.attribute if a.name != "group"]
    del copy.attribute[:]
    copy.attribute.extend(kept)
    copy.attribute.append(helper.make_attribute("group", groups))
    return copy
