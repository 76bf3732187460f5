"""The .npz door: what fits, what is converted by itself, what is refused."""

import numpy as np
import pytest

from faultsim.data import InputSpec, batches, check_labels, load_data
from faultsim.errors import DataError

F32 = np.dtype(np.float32)
IMAGE = InputSpec("input", F32, ("N", 3, 4, 5))


def _save(path, compressed=False, **arrays):
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    return path


def _load(path, *inputs, **options):
    return load_data(path, model_path=None, inputs=inputs or [IMAGE], **options)


def _images(n=7):
    return np.arange(n * 4 * 5 * 3, dtype=np.uint8).reshape(n, 4, 5, 3)


def test_arrays_by_input_name_and_labels_come_back_as_they_are(tmp_path):
    a, b = np.random.default_rng(0).random((6, 2), np.float32), np.arange(6, dtype=np.int64)[:, None]
    path = _save(tmp_path / "d.npz", a=a, b=b, y=np.arange(6, dtype=np.uint8))
    data = _load(path, InputSpec("a", F32, ("N", 2)), InputSpec("b", np.dtype(np.int64), ("N", 1)))
    assert len(data) == 6
    assert data.source == str(path)
    assert data.notes == ()
    assert np.array_equal(data.inputs(2, 5)["a"], a[2:5])
    assert np.array_equal(data.inputs(2, 5)["b"], b[2:5])
    assert data.labels(4, 99).dtype == np.int64
    assert data.labels(4, 99).tolist() == [4, 5]


@pytest.mark.parametrize("alias", ["labels", "label", "y", "targets", "target"])
def test_a_single_input_needs_no_name_and_labels_have_aliases(tmp_path, alias):
    path = _save(tmp_path / "d.npz", **{"whatever": np.zeros((2, 3), np.float32), alias: np.array([1, 0])})
    data = _load(path, InputSpec("input", F32, ("N", 3)))
    assert data.labels(0, 2).tolist() == [1, 0]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("order", ["C", "F"])
def test_arrays_stay_on_disk_and_batches_tile_the_whole(tmp_path, compressed, order):
    raw = np.asarray(np.random.default_rng(1).random((10, 3, 4, 5)), np.float32, order=order)
    data = _load(_save(tmp_path / "d.npz", compressed, input=raw))
    assert isinstance(data._feeds[0].column, np.memmap)
    for size in (1, 3, 10, 11):
        assert np.array_equal(np.concatenate([one.inputs["input"] for one in batches(data, size)]), raw)
    assert np.array_equal(_load(tmp_path / "d.npz", limit=4).inputs(0, 9)["input"], raw[:4])


def test_memory_is_bounded_by_the_batch_not_by_the_file(tmp_path):
    import tracemalloc

    path = _save(tmp_path / "d.npz", input=np.zeros((4000, 3, 32, 32), np.float32))
    tracemalloc.start()
    data = _load(path, InputSpec("input", F32, ("N", 3, 32, 32)))
    for batch in batches(data, 10):
        assert batch.inputs["input"].shape[0] == 10
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 12e6  # the file has 49 MB; the scan for NaN makes 4 MiB of truths at a time


def test_the_image_rule_transposes_and_scales_uint8_images_and_says_so(tmp_path):
    raw = _images()
    data = _load(_save(tmp_path / "d.npz", images=raw))
    want = np.moveaxis(raw, -1, 1).astype(np.float32) / np.float32(255)
    assert np.array_equal(data.inputs(0, 7)["input"], want)
    assert data.inputs(0, 1)["input"].flags.c_contiguous
    assert data.notes == (
        "array 'images' in d.npz was taken as input 'input'",
        "array 'images' in d.npz: uint8 images N,H,W,C were transposed to N,C,H,W and divided by 255 for "
        "input 'input' (float32, N×3×4×5)",
    )


def test_the_image_rule_holds_for_grey_images_and_open_sizes(tmp_path):
    raw = np.full((2, 4, 5), 51, np.uint8)
    data = _load(_save(tmp_path / "d.npz", images=raw), InputSpec("x", np.dtype(np.float16), (1, 1, "H", None)))
    assert data.inputs(0, 2)["x"].shape == (2, 1, 4, 5)
    assert data.inputs(0, 2)["x"].dtype == np.float16
    assert data.inputs(0, 2)["x"].max() == np.float16(0.2)


@pytest.mark.parametrize(
    ("raw", "spec", "message"),
    [
        (
            (np.uint8, (2, 4, 5, 3)),
            (F32, ("N", 4, 5, 3)),
            "is uint8, but input 'x' .* wants float32; which real numbers",
        ),
        ((np.uint8, (2, 3, 4, 5)), (F32, ("N", 3, 4, 5)), "scale, for instance 1/255, and layout"),
        (
            (np.uint8, (2, 3, 3, 3)),
            (F32, ("N", 3, 3, 3)),
            "which real numbers its values stand for is not declared",
        ),
        ((np.int64, (2, 4)), (F32, ("N", 4)), "is int64, but input 'x' .* wants float32"),
        ((np.float32, (2, 4)), (np.int8, ("N", 4)), "wants int8; give a preprocessing file .* how to round"),
        ((np.str_, (2,)), (F32, ("N",)), r"wants float32; save numbers: array.astype\('float32'\)"),
        (
            (np.float32, (2, 4, 5, 3)),
            (F32, ("N", 3, 4, 5)),
            "samples of shape 4×5×3, but .* asks for 3×4×5; its axes are H,W,C",
        ),
        ((np.float32, (2, 3, 4, 5)), (F32, ("N", 4, 5, 3)), "its axes are C,H,W: transpose it"),
        ((np.float32, (3, 4, 5)), (F32, ("N", 3, 4, 5)), "single sample: add the sample axis in front"),
        ((np.float32, (2, 7)), (F32, ("N", 4)), "samples of shape 7, but .* asks for 4; reshape the array"),
        ((np.float32, (0, 4)), (F32, ("N", 4)), "array 'x' in d.npz is empty; give at least one sample"),
        ((np.float32, ()), (F32, ("N", 4)), "array 'x' in d.npz is a single number, .* stack it"),
        (
            (np.float32, (3, 4)),
            (F32, (8, 4)),
            "gives 3 samples, but the model runs on exactly 8 at once; give at least 8",
        ),
    ],
)
def test_types_and_shapes_that_do_not_fit_are_refused_with_a_remedy(tmp_path, raw, spec, message):
    path = _save(tmp_path / "d.npz", x=np.zeros(raw[1], raw[0]))
    with pytest.raises(DataError, match=message):
        _load(path, InputSpec("x", np.dtype(spec[0]), spec[1]))


def test_another_width_is_converted_where_nothing_is_lost_and_announced(tmp_path):
    path = _save(tmp_path / "d.npz", a=np.array([[0.1]]), b=np.array([[7]], np.uint8))
    data = _load(path, InputSpec("a", F32, ("N", 1)), InputSpec("b", np.dtype(np.int64), ("N", 1)))
    assert data.inputs(0, 1)["a"].dtype == F32
    assert data.inputs(0, 1)["b"].dtype == np.int64
    assert data.notes == (
        "array 'a' in d.npz: float64 was rounded to float32",
        "array 'b' in d.npz: uint8 was stored as int64",
    )


@pytest.mark.parametrize(
    ("values", "dtype", "message"),
    [
        (
            np.array([[1.0], [1e300]]),
            np.float32,
            r"holds 1e\+300 at \[1, 0\], too large for float32; scale the data",
        ),
        (np.array([[1], [300]]), np.int8, r"holds 300 at \[1, 0\], outside the range -128…127 of int8"),
        (np.array([[1], [2]]), np.bool_, r"holds 2 at \[1, 0\], outside the range 0…1 of bool"),
        (
            np.array([[1.0], [np.nan]]),
            np.float64,
            r"array 'x' in d.npz holds NaN at \[1, 0\]; remove or repair that sample",
        ),
    ],
)
def test_values_that_cannot_be_held_are_named_with_their_place(tmp_path, values, dtype, message):
    path = _save(tmp_path / "d.npz", x=values)
    with pytest.raises(DataError, match=message):
        _load(path, InputSpec("x", np.dtype(dtype), ("N", 1))).inputs(0, 2)


@pytest.mark.parametrize("source", ["", "  "])
def test_an_empty_path_is_no_folder_of_images(source):
    with pytest.raises(DataError, match=r"the path of the data is empty \('.*'\); give .npz, .*, or leave --data out"):
        _load(source)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        (
            {"inptu": (2, 1), "other": (2, 1)},
            "no array for input 'left' .*it holds 'inptu', 'other'; name the array 'left'",
        ),
        ({"lef": (2, 1), "right": (2, 1)}, "did you mean to name 'lef' 'left'"),
        (
            {"left": (2, 1), "right": (3, 1)},
            "differ in their number of samples: 'left' has 2, 'right' has 3; cut",
        ),
        ({"left": (2, 1), "right": (2, 1), "y": (3,)}, "'labels' has 3; cut them to one length"),
        (
            {"left": (2, 1), "right": (2, 1), "y": (2,), "labels": (2,)},
            "'labels', 'y', which could all be labels; keep one",
        ),
        ({"labels": (2,)}, "d.npz holds no array; save the inputs under their names: 'left', 'right'"),
    ],
)
def test_names_and_lengths_that_do_not_go_together_are_refused(tmp_path, arrays, message):
    path = _save(tmp_path / "d.npz", **{name: np.zeros(shape, np.float32) for name, shape in arrays.items()})
    with pytest.raises(DataError, match=message):
        _load(path, InputSpec("left", F32, ("N", 1)), InputSpec("right", F32, ("N", 1)))


def test_one_symbolic_size_cannot_be_two(tmp_path):
    path = _save(tmp_path / "d.npz", a=np.zeros((2, 3), np.float32), b=np.zeros((2, 4), np.float32))
    with pytest.raises(DataError, match=r"has 4 where input 'b' .* says T, but another input has 3 there"):
        _load(path, InputSpec("a", F32, ("N", "T")), InputSpec("b", F32, ("N", "T")))


def test_arrays_that_no_input_asks_for_are_noted(tmp_path):
    path = _save(tmp_path / "d.npz", x=np.zeros((2, 1), np.float32), names=np.array(["a", "b"]))
    data = _load(path, InputSpec("x", F32, ("N", 1)))
    assert data.notes == ("d.npz: 'names' not used, the model has no such input",)


def test_a_fixed_batch_leaves_the_rest_out_and_says_so(tmp_path):
    data = _load(_save(tmp_path / "d.npz", x=np.zeros((11, 2), np.float32)), InputSpec("x", F32, (4, 2)))
    assert len(data) == 8
    assert data.notes == ("the last 3 samples are left out: the model runs on exactly 4 at once",)


def test_the_batch_axis_is_moved_and_shared_inputs_are_passed_whole(tmp_path):
    path = _save(tmp_path / "d.npz", x=np.arange(6, dtype=np.float32).reshape(2, 3), h=np.ones((1, 4), np.float32))
    specs = [InputSpec("x", F32, ("T", "N"), batch_axis=1), InputSpec("h", F32, (1, 4), batch_axis=None)]
    data = _load(path, *specs)
    assert data.inputs(1, 2)["x"].tolist() == [[1], [4]]
    assert data.inputs(1, 2)["h"].shape == (1, 4)
    with pytest.raises(DataError, match="is the same for every sample and is passed as it is; save it in just that"):
        _load(path, specs[0], InputSpec("h", F32, (2, 4), batch_axis=None))


def test_sidecars_beside_the_model_are_found(tmp_path):
    model = tmp_path / "net.onnx"
    _save(tmp_path / "net.npz", x=np.ones((3, 2), np.float32))
    data = load_data(None, model_path=model, inputs=[InputSpec("x", F32, ("N", 2))])
    assert data.source == str(tmp_path / "net.npz")
    assert len(data) == 3


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("dat.npz", "dat.npz does not exist, did you mean 'data.npz'"),
        ("nothing/else.npz", "else.npz does not exist; give .npz, .npy, .txt"),
        ("data.bin", "data.bin is of no kind that can be read as data; give .npz"),
    ],
)
def test_sources_that_are_none_are_refused(tmp_path, source, message):
    _save(tmp_path / "data.npz", x=np.ones((3, 2), np.float32))
    (tmp_path / "data.bin").write_bytes(b"x")
    with pytest.raises(DataError, match=message):
        _load(tmp_path / source)


def test_bad_limits_and_models_without_inputs_are_refused(tmp_path):
    with pytest.raises(DataError, match="limit 0 is out of range: give at least 1 sample"):
        _load(None, IMAGE, limit=0)
    with pytest.raises(DataError, match="the model has no inputs"):
        load_data(None, model_path=None, inputs=[])
    with pytest.raises(DataError, match="is given without data; add --data"):
        _load(None, IMAGE, preprocess=tmp_path / "p.yaml")
    with pytest.raises(ValueError, match="batch size 0 is out of range: give at least 1"):
        next(batches(_load(None, IMAGE), 0))


@pytest.mark.shared
def test_the_real_files_are_usable_as_they_are(shared):
    cifar = _load(shared / "data/cifar10/cifar10_test.npz", InputSpec("input", F32, ("N", 3, 32, 32)), limit=20)
    assert cifar.inputs(0, 20)["input"].shape == (20, 3, 32, 32)
    assert cifar.inputs(0, 20)["input"].max() <= 1
    assert cifar.labels(0, 5).tolist() == [3, 8, 8, 0, 6]
    assert "divided by 255" in cifar.notes[1]
    check_labels(cifar, 10)
    mnist = _load(shared / "data/zoo/mnist_test.npz", InputSpec("0", F32, (1, 1, 28, 28)), limit=3)
    assert mnist.inputs(0, 3)["0"].shape == (3, 1, 28, 28)
    words = _load(shared / "data/zoo/kws01.npz", InputSpec("input_1", np.dtype(np.int8), ("N", 49, 10, 1)))
    assert len(words) == 1000
    assert words.inputs(0, 1)["input_1"].dtype == np.int8
