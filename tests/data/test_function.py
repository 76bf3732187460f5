"""Data from a function of the user's: what it may return, and what it is told otherwise."""

import numpy as np
import pytest

from faultsim.data import InputSpec, load_data, resolve
from faultsim.data.function import read_function
from faultsim.errors import DataError, OptionError

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
A, B = InputSpec("a", F32, ("N", 2)), InputSpec("b", I64, ("N", 1))


MODULE = """
import numpy as np
import torch

X, Y = np.arange(12, dtype=np.float32).reshape(6, 2), np.arange(6)[:, None]
LABELS = np.arange(6)
calls = 0

def mapping(): return {"a": X, "b": Y, "labels": LABELS}
def parts(): return X, Y, LABELS
def unlabelled(): return X, Y
def tensors(): return torch.tensor(X, requires_grad=True), torch.tensor(Y)
def loader():
    data = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y), torch.tensor(LABELS))
    return torch.utils.data.DataLoader(data, batch_size=4)
def endless():
    while True:
        yield {"a": X, "b": Y, "labels": LABELS}
def raises(): raise KeyError("no such file")
def nothing(): return None
def empty(): return []
def numbers(): return iter([1, 2])
def ragged():
    yield X, Y
    yield X[:, :1], Y
def other_names():
    yield {"a": X, "b": Y}
    yield {"a": X}
def scalars(): return iter([(1.0, 2)])
def objects(): return {"a": np.array([None]), "b": Y}
def too_many(): return X, Y, LABELS, LABELS
value = 3
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "their_data.py").write_text(MODULE)
    (tmp_path / "broken_data.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)
    import sys

    yield "their_data"
    for name in ("their_data", "broken_data"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("name", ["mapping", "parts", "unlabelled", "tensors", "loader", "endless"])
def test_functions_may_give_mappings_tuples_tensors_and_iterables(module, name):
    data = load_data(f"{module}:{name}", model_path=None, inputs=[A, B], limit=6)
    assert data.source == f"their_data:{name}"
    assert data.inputs(1, 3)["a"].tolist() == [[2, 3], [4, 5]]
    assert data.inputs(5, 6)["b"].tolist() == [[5]]
    if name in ("unlabelled", "tensors"):
        assert data.labels(0, 6) is None
    else:
        assert data.labels(0, 6).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "their_data:raises",
            "their_data:raises raised KeyError: 'no such file'; run it on its own to see where",
        ),
        (
            "their_data:nothing",
            "returned NoneType; return a mapping of arrays by input name, a tuple of arrays",
        ),
        ("their_data:empty", "gave no batch; give at least one sample"),
        ("their_data:numbers", "batch 0 is int; give a mapping, a tuple or an array"),
        (
            "their_data:ragged",
            "array 'a' gives rows of float32 1 after rows of float32 2; give all batches the same",
        ),
        ("their_data:other_names", r"batch 1 holds \['a'\], the first one \['a', 'b'\]; give the same"),
        ("their_data:scalars", "batch 0 holds a single number as 'a'; give arrays, samples first"),
        ("their_data:objects", r"array 'a' holds Python objects \(ndarray\), not numbers"),
        ("their_data:too_many", "gives 4 arrays, but the model has 2 inputs; give one for each"),
        ("their_data:mappin", "'their_data' has no 'mappin', did you mean 'mapping'"),
        ("their_data:qqqqqqq", "'their_data' has no 'qqqqqqq'; define it"),
        ("their_data:value", "'their_data:value' is a int, not a function"),
        (
            "their_dat:mapping",
            "module of 'their_dat:mapping' cannot be imported .*ModuleNotFoundError.*; check the name",
        ),
        ("broken_data:f", "cannot be imported .*ZeroDivisionError"),
    ],
)
def test_functions_that_give_no_data_are_refused(module, name, message):
    with pytest.raises(DataError, match=message):
        load_data(name, model_path=None, inputs=[A, B])


def test_resolve_raises_the_callers_kind_of_error():
    with pytest.raises(OptionError, match="'no function' is not of the form module:function; write for instance"):
        resolve("no function", OptionError)


def test_a_function_that_exits_is_an_error_and_no_success(tmp_path, monkeypatch):
    (tmp_path / "leaves_early.py").write_text("import sys\n\n\ndef load():\n    sys.exit(0)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(DataError, match="leaves_early:load raised SystemExit"):
        read_function("leaves_early:load", [])
