"""Where the samples lie in the user's arrays: as the graph takes them, in front where only that fits, or asked for."""

import sys
import types

import numpy as np
import onnx
import pytest

from faultsim.data import InputSpec, load_data
from faultsim.errors import DataError

F32 = np.dtype(np.float32)
X = InputSpec("x", F32, ("T", "N", 3), batch_axis=1)
FIXED = InputSpec("x", F32, (4, "N", 3), batch_axis=1)
STEPS = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
"""Four steps of six samples."""


def _load(path, *inputs, **options):
    return load_data(path, model_path=None, inputs=inputs, **options)


def _save(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def _rows(data, start, stop):
    fed = data.inputs(start, stop)["x"]
    assert fed.flags.c_contiguous
    return fed


@pytest.mark.parametrize("labels", [np.arange(24).reshape(4, 6), np.arange(24).reshape(4, 6).T, np.arange(6)])
def test_arrays_lie_as_the_graph_takes_them_and_labels_either_way(tmp_path, labels):
    data = _load(_save(tmp_path / "d.npz", x=STEPS, labels=labels), X)
    assert len(data) == 6
    assert np.array_equal(_rows(data, 2, 5), STEPS[:, 2:5])
    found = data.labels(2, 5)
    assert np.array_equal(found, labels[2:5] if len(labels) == 6 else labels[:, 2:5].T)
    assert data.notes[0].startswith("array 'x' in d.npz (4×6×3): axis 1 was taken to count the samples, 6 of them")


def test_samples_come_first_where_only_that_fits(tmp_path):
    first = np.moveaxis(STEPS, 1, 0)
    by_size = _load(_save(tmp_path / "a.npz", x=first), FIXED)
    by_labels = _load(_save(tmp_path / "b.npz", x=first, labels=np.arange(6)), X)
    other = InputSpec("length", np.dtype(np.int64), ("N",))
    by_other = _load(_save(tmp_path / "c.npz", x=first, length=np.full(6, 4)), X, other)
    for data in (by_size, by_labels, by_other):
        assert len(data) == 6
        assert np.array_equal(_rows(data, 1, 3), STEPS[:, 1:3])
        assert "its samples were taken to come first, the model has them along axis 1" in data.notes[0]


def test_what_fits_both_ways_is_taken_as_the_graph_takes_it_and_said(tmp_path):
    data = _load(_save(tmp_path / "d.npz", x=STEPS, labels=np.zeros((4, 6))), X)
    assert len(data) == 6
    assert data.notes[0].endswith("as in the model; were they meant to come first, transpose it")
    sure = _load(_save(tmp_path / "e.npz", x=STEPS), FIXED)
    assert sure.notes[0].endswith("as in the model")


def test_square_labels_are_asked_for(tmp_path):
    path = _save(tmp_path / "d.npz", x=STEPS[:, :4], labels=np.arange(16).reshape(4, 4))
    with pytest.raises(DataError, match=r"labels in d\.npz have shape 4×4 for 4 samples, so either axis could count"):
        _load(path, X)
    assert _load(path, X, label_axis=0).labels(1, 2).tolist() == [[4, 5, 6, 7]]
    assert _load(path, X, label_axis=1).labels(1, 2).tolist() == [[1, 5, 9, 13]]
    with pytest.raises(DataError, match=r"axis 2 of the labels is said to count the samples, but .* holds labels of"):
        _load(path, X, label_axis=2)


def test_labels_of_a_batch_first_model_may_lie_the_other_way(tmp_path):
    plain = InputSpec("x", F32, ("N", "T", 3))
    data = _load(_save(tmp_path / "d.npz", x=STEPS, labels=np.arange(24).reshape(6, 4)), plain)
    assert data.labels(1, 2).tolist() == [[1, 5, 9, 13, 17, 21]]
    assert any("labels in d.npz: axis 1 was taken to count the samples" in note for note in data.notes)
    square = _load(_save(tmp_path / "e.npz", x=STEPS, labels=np.arange(16).reshape(4, 4)), plain)
    assert square.labels(1, 2).tolist() == [[4, 5, 6, 7]]


@pytest.mark.parametrize("compressed", [False, True])
def test_a_limit_counts_samples_and_not_steps(tmp_path, compressed):
    path = _save(tmp_path / "d.npz", compressed, x=STEPS, labels=np.arange(24).reshape(4, 6))
    data = _load(path, X, limit=2)
    assert len(data) == 2
    assert np.array_equal(_rows(data, 0, 2), STEPS[:, :2])


def test_lengths_that_differ_are_still_told(tmp_path):
    with pytest.raises(DataError, match="samples: 'x' has 6 along its axis 1, 'labels' has 5; cut them to one"):
        _load(_save(tmp_path / "d.npz", x=STEPS, labels=np.arange(5)), X)
    with pytest.raises(DataError, match="asks for T×3"):
        _load(_save(tmp_path / "e.npz", x=STEPS[:, :, :2]), X)


def _function(monkeypatch, give):
    module = types.ModuleType("made_up_data")
    module.load = give
    monkeypatch.setitem(sys.modules, "made_up_data", module)
    return "made_up_data:load"


def test_batches_of_a_function_are_joined_along_the_samples(monkeypatch):
    labels = np.arange(24).reshape(4, 6)

    def give():
        yield {"x": STEPS[:, :3], "labels": labels[:, :3]}
        yield {"x": STEPS[:, 3:4], "labels": labels[:, 3:4]}
        yield {"x": STEPS[:, 4:], "labels": labels[:, 4:]}

    name = _function(monkeypatch, give)
    data = _load(name, X)
    assert len(data) == 6
    assert np.array_equal(_rows(data, 0, 6), STEPS)
    assert np.array_equal(data.labels(0, 6), labels.T)
    assert len(_load(name, X, limit=4)) == 4
    whole = _load(_function(monkeypatch, lambda: (STEPS, labels)), X)
    assert np.array_equal(whole.labels(0, 6), labels.T)


def test_what_is_the_same_for_every_batch_of_a_function_is_kept_once(monkeypatch):
    plain, same = InputSpec("x", F32, ("N", 3)), InputSpec("h", F32, (1, 2), batch_axis=None)
    h = np.ones((1, 2), np.float32)
    name = _function(monkeypatch, lambda: iter([(STEPS[0], h), (STEPS[1], h)]))
    data = _load(name, plain, same)
    assert len(data) == 12
    assert data.inputs(5, 7)["h"].shape == (1, 2)
    name = _function(monkeypatch, lambda: iter([(STEPS[0], h), (STEPS[1], 2 * h)]))
    with pytest.raises(DataError, match="batch 1 holds another 'h' than the first, but the model takes one for all"):
        _load(name, plain, same)


def test_onnx_test_data_lie_as_the_graph_takes_them(tmp_path):
    for number, part in enumerate((STEPS[:, :4], STEPS[:, 4:])):
        folder = tmp_path / f"test_data_set_{number}"
        folder.mkdir()
        (folder / "input_0.pb").write_bytes(onnx.numpy_helper.from_array(part, "x").SerializeToString())
    data = _load(tmp_path, X)
    assert len(data) == 6
    assert np.array_equal(_rows(data, 3, 6), STEPS[:, 3:])


def test_windows_of_tokens_come_first_and_are_fed_time_major(tmp_path):
    ids = InputSpec("ids", np.dtype(np.int64), (4, "N"), batch_axis=1, upper=20)
    np.save(tmp_path / "ids.npy", np.arange(13))
    data = _load(tmp_path / "ids.npy", ids)
    assert len(data) == 3
    assert data.inputs(0, 3)["ids"].T.tolist() == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]]
    assert data.labels(0, 1).tolist() == [[1, 2, 3, 4]]


def test_one_sample_serves_all_where_the_model_takes_one_at_once(tmp_path):
    state = InputSpec("h", F32, (1, 1, 2), batch_axis=1)
    x = InputSpec("x", F32, (4, 1, 3), batch_axis=1)
    path = _save(tmp_path / "d.npz", x=STEPS, h=np.full((1, 1, 2), 7, np.float32), labels=np.arange(6))
    data = _load(path, x, state)
    assert len(data) == 6
    assert data.inputs(5, 6)["h"].tolist() == [[[7, 7]]]
    assert "array 'h' in d.npz holds one sample, which served them all" in data.notes


def test_an_array_under_another_name_is_said_to_be_taken(tmp_path):
    spec = InputSpec("x", F32, ("N", 3))
    data = _load(_save(tmp_path / "d.npz", img=STEPS[0]), spec)
    assert data.notes == ("array 'img' in d.npz was taken as input 'x'",)
    assert _load(_save(tmp_path / "e.npz", x=STEPS[0]), spec).notes == ()
    np.save(tmp_path / "img.npy", STEPS[0])
    assert _load(tmp_path / "img.npy", spec).notes == ()


def test_an_id_out_of_the_table_is_named_with_its_sample(tmp_path):
    spec = InputSpec("ids", np.dtype(np.int64), ("T", "N"), batch_axis=1, upper=9)
    ids = np.arange(24).reshape(4, 6) % 9 - 9
    assert _load(_save(tmp_path / "a.npz", ids=ids), spec).inputs(0, 6)["ids"].min() == -9
    for bad in (9, -10):
        ids[3, 5] = bad
        message = (
            rf"array 'ids' in b\.npz holds the id {bad} in sample 5 at \[3\], but input 'ids' .* a table of 9 rows"
        )
        with pytest.raises(DataError, match=message):
            _load(_save(tmp_path / "b.npz", ids=ids), spec)
    whole = InputSpec("ids", np.dtype(np.int64), (2,), batch_axis=None, upper=9)
    with pytest.raises(DataError, match=r"array 'ids' in c\.npz holds the id 9 at \[1\], but"):
        _load(_save(tmp_path / "c.npz", ids=np.array([1, 9]), x=STEPS[0]), whole, InputSpec("x", F32, ("N", 3)))
