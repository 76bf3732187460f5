"""Token ids: drawn ones lie in the table that they look up, and others are refused before anything runs."""

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import Options, assess
from faultsim.errors import DataError
from faultsim.model import load_model

F = np.float32
OPTIONS = Options(trials=2, search_gradients=1, site_trials=0, threads=1, limit=20)


def _hand(nodes, weights, inputs, outputs):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in inputs.items()],
        [helper.make_tensor_value_info(name, kind, shape) for name, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))


def test_ids_that_the_table_does_not_have_are_one_error(tmp_path):
    nodes = [
        helper.make_node("Cast", ["ids"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Gather", ["table", "wide"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    weights = {
        "table": np.random.default_rng(5).standard_normal((9, 8)).astype(F),
        "w": np.random.default_rng(0).standard_normal((8, 5)).astype(F),
    }
    outputs = {"y": (TensorProto.FLOAT, ["N", 6, 5])}
    model = _hand(nodes, weights, {"ids": (TensorProto.INT32, ["N", 6])}, outputs)
    assert model.inputs[0].upper == 9
    ids = np.random.default_rng(6).integers(-9, 9, (20, 6)).astype(np.int32)
    labels = (weights["table"][ids] @ weights["w"]).argmax(-1)
    np.savez(tmp_path / "d.npz", ids=ids, labels=labels)
    assert assess(model, "reram", tmp_path / "d.npz", options=OPTIONS).clean.accuracy == 1
    assert assess(model, "reram", options=OPTIONS).data.samples == 20  # drawn ids are ids
    ids[13, 2] = 9
    np.savez(tmp_path / "bad.npz", ids=ids, labels=labels)
    message = (
        r"array 'ids' in bad\.npz holds the id 9 in sample 13 at \[2\], but input 'ids' \(int32, N×6\) looks ids up in "
        r"a table of 9 rows, 0…8; check that the vocabulary"
    )
    with pytest.raises(DataError, match=message):
        assess(model, "reram", tmp_path / "bad.npz", options=OPTIONS)
    with pytest.raises(DataError, match=r"input 'ids' of memory holds the id 9 in sample 13 at \[2\]"):
        assess(model, "reram", _Memory(ids, labels), options=OPTIONS)


class _Memory:
    source, notes = "memory", ()

    def __init__(self, ids, labels):
        self._ids, self._labels = ids, labels

    def __len__(self):
        return len(self._ids)

    def inputs(self, start, stop):
        return {"ids": self._ids[start:stop]}

    def labels(self, start, stop):
        return self._labels[start:stop]
