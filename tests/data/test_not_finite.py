"""NaN and infinities in inputs and labels: refused with their place, but for -inf in a mask."""

import numpy as np
import pytest

from faultsim.data import InputSpec, load_data
from faultsim.errors import DataError

F32 = np.dtype(np.float32)


def _save(path, **arrays):
    np.savez(path, **arrays)
    return path


def _load(path, spec, **options):
    return load_data(path, model_path=None, inputs=[spec], **options)


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_what_is_not_finite_is_found_at_load_with_its_place(tmp_path, value, said, dtype):
    raw = np.zeros((5000, 200), dtype)
    raw[4321, 9] = value
    with pytest.raises(DataError, match=rf"array 'x' in d.npz holds {said} at \[4321, 9\]; remove or repair that"):
        _load(_save(tmp_path / "d.npz", x=raw), InputSpec("x", F32, ("N", 200)))


@pytest.mark.parametrize("name", ["attention_mask", "AttnMask"])
def test_an_additive_mask_may_hold_minus_infinity_alone(tmp_path, name):
    raw = np.zeros((3, 4), np.float32)
    raw[1, 2] = -np.inf
    spec = InputSpec(name, F32, ("N", 4))
    assert np.array_equal(_load(_save(tmp_path / "d.npz", **{name: raw}), spec).inputs(0, 3)[name], raw)
    for value, said in ((np.inf, "inf"), (np.nan, "NaN")):
        raw[2, 0] = value
        with pytest.raises(DataError, match=rf"holds {said} at \[2, 0\]"):
            _load(_save(tmp_path / "d.npz", **{name: raw}), spec)
    raw[2, 0] = 0
    with pytest.raises(DataError, match=r"-inf at \[1, 2\]; .* \(only an input with 'mask' in its name may"):
        _load(_save(tmp_path / "d.npz", x=raw), InputSpec("x", F32, ("N", 4)))


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (np.inf, "inf"), (-np.inf, "-inf")])
def test_labels_that_are_not_finite_are_refused(tmp_path, value, said):
    data = _load(
        _save(tmp_path / "d.npz", x=np.zeros((2, 1), np.float32), y=np.array([1.0, value])),
        InputSpec("x", F32, ("N", 1)),
    )
    with pytest.raises(DataError, match=rf"the array of labels holds {said} at \[1\]"):
        data.labels(0, 2)


@pytest.mark.parametrize("shape", [(), (3,)])
def test_an_input_that_is_the_same_for_every_sample_is_looked_at_too(tmp_path, shape):
    specs = [InputSpec("x", F32, ("N", 1)), InputSpec("t", F32, shape, batch_axis=None)]
    path = _save(tmp_path / "d.npz", x=np.zeros((2, 1), np.float32), t=np.full(shape, np.inf, np.float32))
    with pytest.raises(DataError, match=r"array 't' in d.npz holds inf at \[0?\]"):
        load_data(path, model_path=None, inputs=specs)


def test_a_function_is_held_to_the_same(tmp_path, monkeypatch):
    (tmp_path / "infinite_data.py").write_text("import numpy\ndef load(): yield numpy.full((2, 4), numpy.inf, 'f')\n")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=r"infinite_data:load holds inf at \[0, 0\]"):
        _load("infinite_data:load", InputSpec("x", F32, ("N", 4)))
