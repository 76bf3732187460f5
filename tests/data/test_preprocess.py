"""Declared preprocessing: exact arithmetic, and every way in which a declaration does not fit."""

import numpy as np
import pytest
from PIL import Image

from faultsim.data import InputSpec, load_data
from faultsim.errors import DataError, SpecError
from faultsim.specs.load import load

F32 = np.dtype(np.float32)


def _data(tmp_path, text, inputs, **arrays):
    np.savez(tmp_path / "d.npz", **arrays)
    (tmp_path / "p.yaml").write_text(text)
    return load_data(tmp_path / "d.npz", model_path=None, inputs=inputs, preprocess=tmp_path / "p.yaml")


def _raw(n=3, high=6, wide=8, channels=3):
    return np.random.default_rng(0).integers(0, 256, (n, high, wide, channels), dtype=np.uint8)


def test_all_256_pixel_values_are_divided_to_the_last_bit(tmp_path):
    raw = np.arange(256, dtype=np.uint8).reshape(1, 256)
    got = _data(tmp_path, "scale: 1/255", [InputSpec("x", F32, ("N", 256))], x=raw).inputs(0, 1)["x"]
    assert np.array_equal(got, raw.astype(np.float32) / np.float32(255))


def test_a_declared_rule_equals_the_automatic_one(tmp_path):
    raw, spec = _raw(), InputSpec("x", F32, ("N", 3, 6, 8))
    declared = _data(tmp_path, "scale: 1/255\nlayout: NCHW", [spec], x=raw)
    assert np.array_equal(
        declared.inputs(0, 3)["x"],
        load_data(tmp_path / "d.npz", model_path=None, inputs=[spec]).inputs(0, 3)["x"],
    )
    assert declared.notes == ("array 'x' in d.npz: layout NCHW, scale 1/255",)


def test_mean_and_std_go_along_the_channels_in_both_layouts(tmp_path):
    raw = _raw()
    mean, std = np.array([0.5, 0.4, 0.3]), np.array([0.2, 0.3, 0.4])
    want = ((raw / 255 - mean) / std).astype(np.float32)
    text = "scale: 1/255\nmean: [0.5, 0.4, 0.3]\nstd: [0.2, 0.3, 0.4]\nlayout: "
    got = _data(tmp_path, text + "NHWC", [InputSpec("x", F32, ("N", 6, 8, 3))], x=raw).inputs(0, 3)["x"]
    assert np.allclose(got, want, atol=1e-6)
    got = _data(tmp_path, text + "NCHW", [InputSpec("x", F32, ("N", 3, 6, 8))], x=raw).inputs(0, 3)["x"]
    assert np.allclose(got, np.moveaxis(want, -1, 1), atol=1e-6)


def test_int8_pixels_are_pixel_minus_128(tmp_path):
    raw, spec = _raw(), InputSpec("x", np.dtype(np.int8), ("N", 6, 8, 3))
    got = _data(tmp_path, "offset: -128", [spec], x=raw).inputs(0, 3)["x"]
    assert np.array_equal(got, (raw.astype(int) - 128).astype(np.int8))
    with pytest.raises(DataError, match=r"outside the range -128…127 of int8"):
        _data(tmp_path, "dtype: int8", [spec], x=np.full_like(raw, 200))


def test_features_need_no_layout(tmp_path):
    codes = np.array([[83, 84, -128]], np.int8)
    got = _data(tmp_path, "mean: 83\nstd: 1.7102702", [InputSpec("x", F32, ("N", 3))], x=codes).inputs(0, 1)["x"]
    assert got[0] == pytest.approx((codes[0].astype(float) - 83) * 0.5847029, rel=1e-6)


def test_resize_and_crop_are_pillows(tmp_path):
    raw = _raw(2, 30, 40)
    spec = InputSpec("x", np.dtype(np.uint8), ("N", 16, 16, 3))
    got = _data(tmp_path, "resize: 20\ncrop: 16\nlayout: NHWC\ninterpolation: bicubic", [spec], x=raw).inputs(0, 2)["x"]
    want = np.asarray(Image.fromarray(raw[1]).resize((26, 20), Image.Resampling.BICUBIC))[2:18, 5:21]
    assert np.array_equal(got[1], want)
    got = _data(tmp_path, "resize: [16, 16]\nlayout: NHWC", [spec], x=raw).inputs(0, 2)["x"]
    assert np.array_equal(got[0], np.asarray(Image.fromarray(raw[0]).resize((16, 16), Image.Resampling.BILINEAR)))


def test_colours_are_reversed_repeated_and_made_grey(tmp_path):
    raw = _raw()
    got = _data(tmp_path, "color: BGR", [InputSpec("x", np.dtype(np.uint8), ("N", 6, 8, 3))], x=raw)
    assert np.array_equal(got.inputs(0, 3)["x"], raw[..., ::-1])
    got = _data(tmp_path, "color: GRAY", [InputSpec("x", np.dtype(np.uint8), ("N", 6, 8, 1))], x=raw)
    assert np.array_equal(got.inputs(0, 3)["x"][1, ..., 0], np.asarray(Image.fromarray(raw[1]).convert("L")))
    got = _data(tmp_path, "color: RGB", [InputSpec("x", np.dtype(np.uint8), ("N", 6, 8, 3))], x=raw[..., 0])
    assert np.array_equal(got.inputs(0, 3)["x"], np.repeat(raw[..., :1], 3, -1))


def test_planes_first_data_are_taken_when_declared(tmp_path):
    raw = np.moveaxis(_raw(), -1, 1)
    got = _data(tmp_path, "data_layout: NCHW\nlayout: NHWC", [InputSpec("x", F32, ("N", 6, 8, 3))], x=raw)
    assert np.array_equal(got.inputs(0, 3)["x"], np.moveaxis(raw, 1, -1).astype(np.float32))


def test_other_inputs_are_filled_and_labels_are_moved(tmp_path):
    specs = [InputSpec("x", F32, ("N", "T")), InputSpec("mask", np.dtype(np.int64), ("N", "T"))]
    raw = np.ones((2, 3), np.float32)
    data = _data(tmp_path, "fill: {mask: 1}\nlabel_offset: -1", specs, anything=raw, y=np.array([1, 10]))
    assert data.inputs(0, 2)["mask"].tolist() == [[1, 1, 1]] * 2
    assert data.labels(0, 2).tolist() == [0, 9]
    assert data.notes == (
        "array 'anything' in d.npz was taken as input 'x'",
        "input 'mask' was filled with 1",
        "-1 was added to every label",
    )


def test_a_file_beside_the_data_is_found(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.ones((1, 2), np.uint8))
    spec = InputSpec("x", F32, ("N", 2))
    for name in ("d.yaml", "d.npz.yaml"):
        (tmp_path / name).write_text("scale: 0.5")
        assert load_data(tmp_path / "d.npz", model_path=None, inputs=[spec]).inputs(0, 1)["x"].tolist() == [[0.5, 0.5]]
        (tmp_path / name).unlink()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "mean: [1, 2]\nlayout: NCHW",
            "mean has 2 entries, but array 'x' in d.npz has 3 channels; give one number",
        ),
        ("crop: 40\nlayout: NCHW", "is 6×8 pixels, smaller than crop: 40×40; add or enlarge resize"),
        (
            "dtype: int8",
            "the preprocessing gives int8, but input 'x' .* wants float32; change or leave out dtype: int8",
        ),
        (
            "data_layout: NHW",
            r"has shape 1×6×8×3, but its preprocessing asks for images \(NHW\); set data_layout",
        ),
        ("fill: {y: 1}", "fill names 'y', which is no input of the model; its inputs are 'x'"),
        ("input: y", "the preprocessing is for 'y', which is no input of the model"),
        ("scale: 1", "samples of shape 6×8×3, but input 'x' .* asks for 3×6×8; its axes are H,W,C"),
        ("scale: 1e300\nlayout: NCHW", "too large for float32; scale the data"),
    ],
)
def test_steps_that_do_not_fit_are_refused(tmp_path, text, message):
    if text == "input: y":
        text += "\nscale: 2"
    with pytest.raises(DataError, match=message):
        _data(tmp_path, text, [InputSpec("x", F32, ("N", 3, 6, 8))], x=_raw())


def test_pixel_steps_refuse_what_is_no_image(tmp_path):
    spec = InputSpec("x", F32, ("N", 4, 4, 2))
    with pytest.raises(DataError, match="is uint8 with 2 channels, but resize works on uint8 images with 1 or 3"):
        _data(tmp_path, "resize: 4", [spec], x=np.zeros((1, 6, 6, 2), np.uint8))
    with pytest.raises(DataError, match="has 2 channels of uint8, which color: RGB cannot be made of"):
        _data(tmp_path, "color: RGB", [spec], x=np.zeros((1, 6, 6, 2), np.uint8))


def test_several_inputs_need_a_name(tmp_path):
    specs = [InputSpec("a", F32, ("N", 1)), InputSpec("b", F32, ("N", 1))]
    arrays = {"a": np.ones((1, 1), np.uint8), "b": np.ones((1, 1), np.float32)}
    with pytest.raises(DataError, match="does not say which input it is for; add input: with one of 'a', 'b'"):
        _data(tmp_path, "scale: 2", specs, **arrays)
    assert _data(tmp_path, "scale: 2\ninput: a", specs, **arrays).inputs(0, 1)["a"].tolist() == [[2.0]]
    with pytest.raises(DataError, match=r"fill cannot make input 'b' .*: the size of 'T' is not known; store it"):
        _data(tmp_path, "fill: {b: 0}", [specs[0], InputSpec("b", F32, ("N", "T"))], a=arrays["b"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("layot: NCHW", "layot: unknown key, did you mean 'layout'?"),
        ("scale: 1/0", "scale: must match"),
        ("scale: 1.1.1/2", "'1.1.1/2' is no fraction; write it like 1/255"),
        ("std: 0", "std: "),
        ("mean: [1, 2, 3]", "need to know the axes; add layout: NCHW or NHWC"),
        ("crop: 0", "crop: "),
        ("layout: NWHC", "layout: unknown 'NWHC', did you mean"),
    ],
)
def test_declarations_are_strict(text, message):
    from faultsim.data import Preprocess

    with pytest.raises(SpecError, match=message.replace("?", r"\?")):
        load(text, Preprocess)
