"""Products of 8-bit codes that are exact on every processor: what onnxruntime has to be told for it.

x86 processors without VNNI add two products of codes in 16 bits, which saturate: an int8 model then has other answers
than on the chip that it ships on. onnxruntime has a switch for it, which fails where layers share a zero point.
"""

import onnxruntime as ort
from onnx import ModelProto, TensorProto

KEY = "session.x64quantprecision"


def ask(options: ort.SessionOptions) -> None:
    """Ask for exact products; nothing changes on processors that have them anyway."""
    options.add_session_config_entry(KEY, "1")


def unshared(proto: ModelProto) -> ModelProto:
    """Return a graph in which no two nodes read the same int8 initializer; *proto* itself where it is one.

    onnxruntime makes each of them uint8, by name: the second time that it meets one it gives up.
    """
    codes = {one.name: one for one in proto.graph.initializer if one.data_type == TensorProto.INT8}
    readers = [name for node in proto.graph.node for name in node.input if name in codes]
    if len(readers) == len(set(readers)):
        return proto
    copy = ModelProto()
    copy.CopyFrom(proto)
    seen: set[str] = set()
    for node in copy.graph.node:
        for i, name in enumerate(node.input):
            if name in codes and name in seen:
                own = copy.graph.initializer.add()
                own.CopyFrom(codes[name])
                own.name = node.input[i] = f"{name}/faultsim/{len(copy.graph.initializer)}"
            seen.add(name)
    return copy
