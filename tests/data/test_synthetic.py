"""Drawn inputs: the same for any split, of the declared types, and plainly said to be drawn."""

import numpy as np
import pytest
import torch

from faultsim.data import InputSpec, batches, load_data
from faultsim.data.synthetic import synthetic
from faultsim.errors import DataError

F32, I64 = np.dtype(np.float32), np.dtype(np.int64)
A, B = InputSpec("a", F32, ("N", 2)), InputSpec("b", I64, ("N", 1))


def _drawn(*inputs, **options):
    return load_data(None, model_path=None, inputs=inputs, **options)


def test_drawn_samples_depend_on_seed_name_and_number_alone():
    spec = InputSpec("x", F32, ("N", 3, "H", "W"))
    whole = _drawn(spec, seed=5).inputs(0, 256)["x"]
    assert whole.shape == (256, 3, 32, 32)
    assert np.array_equal(np.concatenate([one.inputs["x"] for one in batches(_drawn(spec, seed=5), 37)]), whole)
    assert np.array_equal(_drawn(spec, seed=5, limit=3).inputs(0, 3)["x"], whole[:3])
    assert not np.array_equal(_drawn(spec, seed=6, limit=3).inputs(0, 3)["x"], whole[:3])
    assert abs(whole.mean()) < 0.01
    assert abs(whole.std() - 1) < 0.01


def test_drawn_types_and_ranges_are_the_declared_ones():
    specs = [
        InputSpec("q", np.dtype(np.int8), ("N", 500)),
        InputSpec("u", np.dtype(np.uint8), ("N", 500)),
        InputSpec("ids", I64, ("N", 500), upper=7),
        InputSpec("n", np.dtype(np.int32), ("N", 500)),
        InputSpec("t", np.dtype(bool), ("N", 500)),
        InputSpec("h", np.dtype(np.float16), (1, 4), batch_axis=None),
        InputSpec("s", np.dtype(np.float64), (9, "N"), batch_axis=1),
        InputSpec("attention_mask", I64, ("N", 500)),
        InputSpec("token_type_ids", I64, ("N", 500)),
    ]
    got = _drawn(*specs, limit=8).inputs(0, 8)
    assert {name: array.dtype for name, array in got.items()} == {spec.name: spec.dtype for spec in specs}
    limits = {name: (array.min(), array.max()) for name, array in got.items() if name not in "hs"}
    assert limits == {
        "q": (-128, 127),
        "u": (0, 255),
        "ids": (0, 6),
        "n": (0, 1),
        "t": (False, True),
        "attention_mask": (1, 1),
        "token_type_ids": (0, 0),
    }
    assert got["h"].shape == (1, 4)
    assert got["s"].shape == (9, 8)


def test_open_sizes_are_said_and_can_be_given():
    specs = [InputSpec("x", F32, ("N", "T", None)), InputSpec("m", I64, ("N", "T"))]
    data = _drawn(*specs)
    assert "drawn" in data.source
    assert data.notes == (
        "inputs are drawn at random: the figures say how often faults change an answer, not how accurate it is",
        "the model leaves sizes open, 32 was taken for 'x' axis 1 (T), 'x' axis 2 (?), 'm' axis 1 (T); "
        "set them with --input-shape",
    )
    data = _drawn(*specs, input_shape={"x": (1, 7, 5)})
    assert data.inputs(0, 2)["x"].shape == (2, 7, 5)
    assert data.inputs(0, 2)["m"].shape == (2, 7)
    assert len(data.notes) == 1
    assert len(_drawn(InputSpec("x", F32, (100, 3)))) == 300


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        (
            InputSpec("x", F32, ("N", 3)),
            {"X": (1, 3)},
            "given for 'X', which is no input of the model; its inputs are 'x'",
        ),
        (
            InputSpec("input", F32, ("N", 3)),
            {"inputs": (1, 3)},
            "which is no input of the model, did you mean 'input'",
        ),
        (
            InputSpec("x", F32, ("N", 3)),
            {"x": (1, 4)},
            "the given shape 1×4 does not go with input 'x' .*give 2 positive",
        ),
        (InputSpec("x", F32, ("N", "T")), {"x": (1, 0)}, "the given shape 1×0 does not go with"),
        (
            InputSpec("x", np.dtype("U8"), ("N", 3)),
            {},
            "cannot be drawn: only numbers can; give data with --data",
        ),
    ],
)
def test_shapes_that_do_not_go_with_the_model_are_refused(spec, shape, message):
    with pytest.raises(DataError, match=message):
        _drawn(spec, input_shape=shape).inputs(0, 1)


def test_no_samples_cannot_be_drawn():
    with pytest.raises(DataError, match="0 samples cannot be drawn; give a limit of at least 1"):
        synthetic([A], samples=0)


def test_torch_is_not_needed_to_read_data():
    import subprocess
    import sys

    assert torch.__version__
    code = "import faultsim.data, sys; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
