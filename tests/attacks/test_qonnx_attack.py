"""An attack on a QONNX network against brute force in NumPy: onnxruntime cannot run its Quant nodes."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import tiny_nets
from linear import attacked, cross_entropy, numbers

from faultsim.attacks import Ball, Search

STEP, LEAST, MOST = 0.25, -8, 7


def codes_of(proto):
    return np.clip(np.round(numbers(proto)["w"] / STEP), LEAST, MOST)


def loss_of(codes, data):
    return cross_entropy(data["x"] @ (codes * STEP).astype(np.float32), data["labels"])


def right(codes, data):
    return np.mean((data["x"] @ (codes * STEP).astype(np.float32)).argmax(1) == data["labels"])


def test_the_exhaustive_search_of_one_code_is_brute_force(tmp_path: Path) -> None:
    proto, data = tiny_nets.qonnx(), tiny_nets.samples()
    clean, losses = codes_of(proto), []
    for place in np.ndindex(clean.shape):
        for sign in (1, -1):
            moved = clean.copy()
            moved[place] = np.clip(moved[place] + sign * 2, LEAST, MOST)  # 0.6 holds two steps of 0.25
            losses.append(loss_of(moved, data))
    result = attacked(
        tmp_path, proto, data, ball=Ball(p=np.inf, eps=0.6, n=1), search=Search(methods=("exhaustive",), trials=1)
    )
    (row,) = result.methods
    assert row.loss == pytest.approx(max(losses), rel=1e-5)


@pytest.mark.parametrize(("p", "eps"), [(1.0, 2.0), (2.0, 1.0), (np.inf, 0.6)])
def test_the_written_network_holds_what_was_found_and_lies_in_the_set(tmp_path: Path, p: float, eps: float) -> None:
    proto, data = tiny_nets.qonnx(), tiny_nets.samples()
    result = attacked(tmp_path, proto, data, ball=Ball(p=p, eps=eps), write=tmp_path / "worst.onnx")
    written = onnx.load(tmp_path / "worst.onnx")
    clean, wrong = codes_of(proto), codes_of(written)
    assert result.written is not None
    assert loss_of(wrong, data) == pytest.approx(result.written.loss, rel=1e-5)
    assert right(wrong, data) == pytest.approx(result.written.accuracy)
    assert right(wrong, data) < right(clean, data)
    moved = np.linalg.norm((wrong - clean).ravel() * STEP, p)
    assert 0 < moved <= eps * (1 + 1e-6)
    assert [node.op_type for node in written.graph.node] == [node.op_type for node in proto.graph.node]
