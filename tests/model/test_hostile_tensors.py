"""Stored tensors that cannot be what they claim: shapes, types, NaN, sizes."""

import ml_dtypes
import numpy as np
import pytest
from graphs import F, feeds, mlp, mlp_constant_nodes, numbers, tensor

from faultsim.errors import ModelError
from faultsim.model import load_model


def test_fewer_bytes_than_the_shape_asks_for():
    proto = mlp()
    proto.graph.initializer[0].raw_data = b"\0" * 20
    with pytest.raises(ModelError, match=r"net: initializer 'w1' of shape \[8, 6\] holds no such data"):
        load_model(proto)


@pytest.mark.parametrize("dims", [[1 << 40], [1 << 62, 1 << 62], [-1], [-8, -6], [1 << 31, 1 << 31, 0, 3]])
def test_impossible_shapes(dims):
    proto = mlp()
    stored = proto.graph.initializer[0]
    del stored.dims[:]
    stored.dims.extend(dims)
    with pytest.raises(ModelError, match=r"net: initializer 'w1' of shape .* holds no such data"):
        load_model(proto)


def test_unknown_element_type():
    proto = mlp()
    proto.graph.initializer[0].data_type = 99
    with pytest.raises(ModelError, match=r"initializer 'w1' of shape .* holds no such data"):
        load_model(proto)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, ml_dtypes.bfloat16, ml_dtypes.float8_e4m3fn])
def test_nan_weights(dtype):
    proto = mlp()
    array = numbers(8, 6).astype(dtype)
    array[2, 3] = array[0, 0] = np.nan
    proto.graph.initializer[0].CopyFrom(tensor("w1", array))
    with pytest.raises(ModelError, match=r"initializer 'w1' holds 2 NaN of 48 numbers; no figure about such a model"):
        load_model(proto)


def test_nan_in_a_constant_node():
    proto = mlp_constant_nodes()
    proto.graph.node[0].attribute[0].t.CopyFrom(tensor("k", np.full((8, 6), np.nan, F)))
    with pytest.raises(ModelError, match=r"initializer 'k' holds 48 NaN"):
        load_model(proto)


def test_infinite_weights_are_a_mask_and_pass():
    proto = mlp()
    proto.graph.initializer[3].CopyFrom(tensor("b2", F([0, -np.inf, 0, 0])))
    assert load_model(proto).run(feeds(proto))["y"][0, 1] == -np.inf


def test_two_initializers_of_one_name():
    proto = mlp()
    proto.graph.initializer.append(tensor("w1", numbers(8, 6)))
    with pytest.raises(ModelError, match=r"the graph defines the constant 'w1' twice; names must be unique"):
        load_model(proto)


@pytest.mark.parametrize("dims", [[1 << 20, 1 << 20], [1 << 40], [-4]])
def test_a_sparse_tensor_that_would_fill_the_memory(dims):
    proto = mlp()
    sparse = proto.graph.sparse_initializer.add(dims=dims)
    sparse.values.CopyFrom(tensor("huge", F([1])))
    sparse.indices.CopyFrom(tensor("i", np.array([0])))
    with pytest.raises(ModelError, match=r"sparse tensor 'huge' of shape .* is over the limit of 268435456 elements"):
        load_model(proto)


def test_a_sparse_index_out_of_range():
    proto = mlp()
    sparse = proto.graph.sparse_initializer.add(dims=[4])
    sparse.values.CopyFrom(tensor("s", F([1])))
    sparse.indices.CopyFrom(tensor("i", np.array([9])))
    with pytest.raises(ModelError, match=r"net: the graph is malformed .*; run onnx.checker on it"):
        load_model(proto)
