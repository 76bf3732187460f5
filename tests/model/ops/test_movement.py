"""Movement, indexing and shapes against onnxruntime in all types, text and empty tensors; gradients and codes."""

import numpy as np
import pytest
import torch
from one_node import both, one_node
from onnx import TensorProto, helper, numpy_helper

from faultsim.errors import ModelError
from faultsim.model.backend import FaultsimBackend
from faultsim.model.graph import compile_model
from faultsim.model.ops import gather, movement, scatter, shape
from faultsim.model.run import Execution
from faultsim.model.values import Codes

RNG = np.random.default_rng(6)
KINDS = [np.float32, np.float64, np.uint8, np.int32, np.uint32, np.uint64, np.bool_, object]
FAR = 2**63 - 1


def made(kind, *size):
    if kind is object:
        return RNG.choice(np.array(["a", "bb", "", "zé"], object), size)
    return (
        (RNG.standard_normal(size) * 50).astype(kind)
        if kind in (np.float32, np.float64)
        else RNG.integers(0, 2 if kind is np.bool_ else 200, size).astype(kind)
    )


def idx(*numbers):
    return np.array(numbers, np.int64)


CASES = {
    "Transpose": ("Transpose", (), {"perm": [2, 0, 1]}),
    "Reshape": ("Reshape", (idx(0, -1),), {}),
    "Flatten": ("Flatten", (), {"axis": -1}),
    "Unsqueeze": ("Unsqueeze", (idx(0, -1),), {}),
    "Unsqueeze_1": ("Unsqueeze", (), {"axes": [1, 3], "opset": 11}),
    "Expand": ("Expand", (idx(2, 1, 4, 1),), {}),
    "Tile": ("Tile", (idx(1, 2, 0),), {}),
    "Slice backwards": ("Slice", (idx(3, -1), idx(-100, -FAR), idx(1, 2), idx(-2, -1)), {}),
    "Slice to the end": ("Slice", (idx(-2), idx(FAR), idx(-1)), {}),
    "Slice of nothing": ("Slice", (idx(3, 0), idx(1, 9), idx(1, 2), idx(1, 3)), {}),
    "Slice_1": ("Slice", (), {"starts": [1, -2], "ends": [100, -1], "axes": [0, 2], "opset": 9}),
    "Gather nothing": ("Gather", (idx(),), {"axis": 1}),
    "Gather one": ("Gather", (np.array(-1),), {"axis": -1}),
    "GatherElements": ("GatherElements", (RNG.integers(-4, 4, (3, 2, 5)),), {"axis": 1}),
    "GatherND": ("GatherND", (RNG.integers(-4, 4, (3, 2, 1)),), {"batch_dims": 1}),
    "Compress": ("Compress", (np.array([1, 0, 1], bool),), {"axis": 1}),
    "Pad": ("Pad", (idx(1, 2, 0, 2, 0, 3),), {}),
    "Pad edge": ("Pad", (idx(1, 2, 0, 2, 0, 3),), {"mode": "edge"}),
    "Pad reflect": ("Pad", (idx(1, 2, 0, 2, 0, 3),), {"mode": "reflect"}),
    "Pad wrap": ("Pad", (idx(1, 6, 0, 2, 0, 3),), {"mode": "wrap"}),
    "Pad by cutting": ("Pad", (idx(2, -1), None, idx(1)), {}),
    "Trilu": ("Trilu", (np.array(-1),), {}),
    "ReverseSequence": ("ReverseSequence", (idx(1, 4, 2),), {"time_axis": 1, "batch_axis": 0}),
    "Shape": ("Shape", (), {"start": -5, "end": -1}),
    "Size": ("Size", (), {}),
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: np.dtype(k).name)
@pytest.mark.parametrize("case", CASES)
def test_as_onnxruntime_moves_it(case, kind):
    op_type, rest, options = CASES[case]
    if kind is object and op_type in ("Pad", "Trilu"):
        pytest.skip("no ONNX type for text here")
    inputs = {"x": made(kind, 3, 4, 5), **{f"i{n}": value for n, value in enumerate(rest)}}
    try:
        pairs = both(op_type, inputs, **options)
    except Exception as error:
        if "NOT_IMPLEMENTED" not in str(error) and "not supported" not in str(error):
            raise
        pytest.skip("onnxruntime has no kernel for this type")
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", KINDS, ids=lambda k: np.dtype(k).name)
def test_scatters_replace(kind):
    x, indices = made(kind, 3, 4, 5), np.array([[[0, 1, -2, 0, 1]]])
    for ours, theirs in both("ScatterElements", {"x": x, "i": indices, "u": made(kind, 1, 1, 5)}, axis=1):
        np.testing.assert_array_equal(ours, theirs)
    pairs = {"x": x, "i": idx(0, 1, 2, -1).reshape(2, 2), "u": made(kind, 2, 5)}
    for ours, theirs in both("ScatterND", pairs):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
@pytest.mark.parametrize("kind", [np.float32, np.int32, np.uint32, np.uint64])
def test_scatters_reduce(kind, reduction):
    big = made(kind, 6) * kind(21474837 if kind in (np.uint32, np.uint64) else 1)
    for op_type, indices in (("ScatterElements", idx(2, 2, 0, -1)), ("ScatterND", idx(2, 2, 0, -1).reshape(4, 1))):
        pairs = both(op_type, {"x": big, "i": indices, "u": made(kind, 4)}, reduction=reduction)
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_split_by_sizes_and_by_count():
    x = made(np.float32, 3, 4, 5)
    for options in ({"num_outputs": 2, "axis": 2}, {"axis": 2, "opset": 11, "split": [1, 4]}):
        for ours, theirs in both("Split", {"x": x}, outputs=("a", "b"), **options):
            np.testing.assert_array_equal(ours, theirs)


def test_squeezing_an_axis_that_is_not_one_names_it():
    with pytest.raises(ValueError, match=r"cannot drop axis 0: its size is 2, it must be 1"):
        shape.Squeeze(torch.zeros(2, 1), torch.tensor([0]))


def test_unsqueezing_an_axis_twice_is_an_error():
    with pytest.raises(ValueError, match="must not repeat"):
        shape.Unsqueeze(torch.zeros(2), torch.tensor([0, 0]))


def test_an_unknown_padding_mode_is_an_error():
    with pytest.raises(ValueError, match="cannot take mode 'mirror'"):
        movement.Pad(torch.zeros(2), torch.tensor([1, 1]), mode="mirror")


def test_an_index_out_of_range_names_the_node():
    model = one_node("Gather", {"x": made(np.float32, 3), "i": idx(3)})
    with pytest.raises(ModelError, match="node 'Gather_0'"):
        FaultsimBackend.prepare(model).run([made(np.float32, 3), idx(3)])


X = torch.rand(3, 4, dtype=torch.float64)


@pytest.mark.parametrize(
    "function",
    [
        lambda t: movement.Pad(t, torch.tensor([1, 2, 0, 1]), mode="reflect"),
        lambda t: movement.Pad(X, torch.tensor([1, 2, 0, 1]), t[0, 0]),
        lambda t: movement.Slice(t, torch.tensor([-1]), torch.tensor([-9]), torch.tensor([1]), torch.tensor([-2])),
        lambda t: gather.Gather(t, torch.tensor([[0, -1]]), axis=1),
        lambda t: gather.GatherND(t, torch.tensor([[0, 1], [2, 3]])),
        lambda t: scatter.ScatterElements(t, torch.tensor([[1, 1]]), t[:1, :2], axis=1, reduction="mul"),
        lambda t: scatter.ScatterND(t, torch.tensor([[1], [1]]), t[:2], reduction="add"),
        lambda t: movement.ReverseSequence(t, torch.tensor([3, 1, 2, 0])),
        lambda t: shape.Expand(t, torch.tensor([2, 1, 4])),
    ],
)
def test_movement_is_differentiable(function):
    assert torch.autograd.gradcheck(function, (X.clone().requires_grad_(),))


def test_codes_stay_codes_through_movement():
    weights = numpy_helper.from_array(RNG.integers(-128, 127, (3, 4)).astype(np.int8), "w")
    nodes = [
        helper.make_node("Transpose", ["w"], ["t"]),
        helper.make_node("Concat", ["t", "t"], ["c"], axis=1),
        helper.make_node("Identity", ["c"], ["y"]),
    ]
    graph = helper.make_graph(nodes, "g", [], [helper.make_tensor_value_info("y", TensorProto.INT8, (4, 6))], [weights])
    program = compile_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)]))
    kept = program.tensors["w"]
    assert isinstance(kept, Codes)
    leaf = kept.values.clone().requires_grad_()
    execution = Execution(program, {"w": Codes(leaf, TensorProto.INT8)}, device=torch.device("cpu"))
    (out,) = execution.run(program.graph, {})
    assert isinstance(out, Codes)
    out.values.sum().backward()
    assert leaf.grad.tolist() == [[2.0] * 4] * 3
