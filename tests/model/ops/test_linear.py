"""Matrix products against onnxruntime in floats and integers, and their gradients."""

import numpy as np
import pytest
import torch
from one_node import both

from faultsim.model.ops.linear import Det, Einsum, Gemm, MatMul

RNG = np.random.default_rng(1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint32, np.int64, np.uint64])
@pytest.mark.parametrize("shapes", [((3, 4), (4, 2)), ((4,), (2, 4, 3)), ((2, 3, 4), (4,)), ((4,), (4,))])
def test_products_of_every_rank(shapes, dtype):
    a, b = (RNG.integers(0, 9, s).astype(dtype) for s in shapes)
    ((ours, theirs),) = both("MatMul", {"a": a, "b": b})
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bias", [None, (2,), (3, 1), (), (3, 2)])
@pytest.mark.parametrize("scales", [{}, {"alpha": 0.5, "beta": 3.0}])
def test_gemm_broadcasts_its_bias(bias, scales):
    a, b = RNG.standard_normal((4, 3)).astype(np.float32), RNG.standard_normal((2, 4)).astype(np.float32)
    c = None if bias is None else np.asarray(RNG.standard_normal(bias), np.float32)
    inputs = {"a": a, "b": b, **({} if c is None else {"c": c})}
    ((ours, theirs),) = both("Gemm", inputs, transA=1, transB=1, **scales)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)


def test_a_product_over_nothing_is_zero():
    ((ours, theirs),) = both("MatMul", {"a": np.zeros((2, 0), np.float32), "b": np.zeros((0, 3), np.float32)})
    np.testing.assert_array_equal(ours, theirs)


def test_products_are_differentiable():
    a, b, c = (torch.rand(s, dtype=torch.float64, requires_grad=True) for s in ((3, 4), (4, 3), (3,)))
    assert torch.autograd.gradcheck(MatMul, (a, b))
    assert torch.autograd.gradcheck(lambda x, y, z: Gemm(x, y, z, alpha=0.5, beta=2.0), (a, b, c))
    assert torch.autograd.gradcheck(lambda x, y: Einsum(x, y, equation="ij,jk->ki"), (a, b))
    assert torch.autograd.gradcheck(lambda x, y: Det(x @ y), (a, b))
