"""Folders and archives of images: labels from names or a table, lazy decoding, damaged files."""

import io
import zipfile

import numpy as np
import pytest
from PIL import Image

from faultsim.data import InputSpec, check_labels, load_data
from faultsim.errors import DataError

F32 = np.dtype(np.float32)
SPEC = InputSpec("x", F32, ("N", 3, 4, 5))


def _png(seed, size=(5, 4), mode="RGB"):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, "PNG")
    return file.getvalue()


def _tree(root, names, **options):
    for seed, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(seed, **options))
    return root


def _load(root, spec=SPEC, **options):
    return load_data(root, model_path=None, inputs=[spec], **options)


def test_one_folder_a_class_gives_labels_in_sorted_order(tmp_path):
    root = _tree(tmp_path / "set", ["dog/1.png", "cat/9.png", "cat/2.PNG"])
    (root / "readme.md").write_text("no image")
    data = _load(root)
    assert data.labels(0, 3).tolist() == [0, 0, 1]
    assert data.notes[0] == "labels are the names of 2 folders: cat, dog"
    want = np.asarray(Image.open(root / "cat/2.PNG")).transpose(2, 0, 1) / np.float32(255)
    assert np.array_equal(data.inputs(0, 1)["x"][0], want)


def test_folders_that_are_numbers_are_the_labels_themselves(tmp_path):
    data = _load(_tree(tmp_path / "set", ["val/10/a.png", "val/2/a.png"]))
    assert data.labels(0, 2).tolist() == [10, 2]
    with pytest.raises(DataError, match=r"label 10 at \[0\]"):
        check_labels(data, 10)


def test_hidden_folders_and_what_macos_adds_are_no_classes(tmp_path):
    names = ["cat/1.png", "dog/1.png", "owl/1.png"]
    root = _tree(tmp_path / "set", [*names, ".ipynb_checkpoints/x.png", "__MACOSX/cat/y.png"])
    assert _load(root).labels(0, 3).tolist() == [0, 1, 2]
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for name in names:
            archive.writestr(name, _png(0))
        archive.writestr("__MACOSX/cat/._1.png", b"no image")
        archive.writestr(".hidden/z.png", _png(1))
    assert _load(tmp_path / "set.zip").labels(0, 3).tolist() == [0, 1, 2]


@pytest.mark.parametrize("above", ["", "val/"])
def test_an_empty_class_folder_keeps_its_number(tmp_path, above):
    root = _tree(tmp_path / "set", [f"{above}cat/1.png", f"{above}owl/1.png"])
    (root / above / "dog").mkdir()
    (root / above / ".git").mkdir()
    data = _load(root)
    assert data.labels(0, 2).tolist() == [0, 2]
    assert data.notes[0] == "labels are the names of 3 folders: cat, dog, owl"


def test_an_image_beside_the_class_folders_is_refused(tmp_path):
    root = _tree(tmp_path / "set", ["cat/1.png", "dog/1.png", "preview.png"])
    with pytest.raises(DataError, match=r"image 'preview\.png' lies beside folders of images"):
        _load(root)
    (root / "labels.csv").write_text("file,label\ncat/1.png,0\ndog/1.png,1\npreview.png,1\n")
    assert _load(root).labels(0, 3).tolist() == [0, 1, 1]


@pytest.mark.parametrize(
    ("written", "kind", "wanted"),
    [
        (["0.0", "2.0", "10.0"], "i", [0, 2, 10]),
        (["0.37", "1.5", "-2.25"], "f", [0.37, 1.5, -2.25]),
        (["0", "1e1", "2"], "i", [0, 10, 2]),
        (["3", "10", "2"], "i", [3, 10, 2]),
        (["a", "1.5", "b"], "i", [1, 0, 2]),
    ],
)
def test_labels_with_a_point_are_numbers(tmp_path, written, kind, wanted):
    root = _tree(tmp_path / "set", ["a.png", "b.png", "c.png"])
    rows = "\n".join(f"{name}.png,{label}" for name, label in zip("abc", written, strict=True))
    (root / "labels.csv").write_text(f"file,label\n{rows}\n")
    labels = _load(root).labels(0, 3)
    assert labels.dtype.kind == kind
    assert labels.tolist() == wanted


def test_a_row_without_a_label_is_refused(tmp_path):
    root = _tree(tmp_path / "set", ["a.png", "b.png"])
    (root / "labels.csv").write_text("file,label\na.png,1\nb.png,\n")
    with pytest.raises(DataError, match=r"labels\.csv: row 2 has no label; give one, or remove the row"):
        _load(root)


def test_a_flat_folder_has_no_labels_and_says_so(tmp_path):
    data = _load(_tree(tmp_path / "set", ["a.png", "b.png"]))
    assert data.labels(0, 2) is None
    assert data.notes[0] == "the images have no labels: no folder a class and no labels.csv"


@pytest.mark.parametrize(
    "table",
    ["file,label\nb.png,7\na.png,3\n", "b.png,7\na.png,3\n", "class_index,x,FILE\n7,,b.png\n3,,a.png"],
)
def test_a_table_gives_order_and_labels(tmp_path, table):
    root = _tree(tmp_path / "set", ["a.png", "b.png", "c.png"])
    (root / "labels.csv").write_text(table)
    assert _load(root).labels(0, 9).tolist() == [7, 3]


def test_text_labels_are_numbered_in_sorted_order(tmp_path):
    root = _tree(tmp_path / "set", ["a.png", "b.png"])
    (root / "labels.csv").write_text("file,label\na.png,zebra\nb.png,ant\n")
    assert _load(root).labels(0, 9).tolist() == [1, 0]


@pytest.mark.parametrize("where", ["inside", "stem", "beside"])
def test_an_archive_takes_its_table_from_inside_or_beside(tmp_path, where):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.png", _png(0))
        archive.writestr("b.png", _png(1))
        if where == "inside":
            archive.writestr("labels.csv", "file,label\nb.png,4\n")
    if where != "inside":
        (tmp_path / ("set.csv" if where == "stem" else "labels.csv")).write_text("file,label\nb.png,4\n")
    data = _load(tmp_path / "set.zip")
    assert data.labels(0, 9).tolist() == [4]
    assert data.inputs(0, 1)["x"].shape == (1, 3, 4, 5)


def test_declared_steps_are_done_and_images_may_differ_in_size(tmp_path):
    root = _tree(tmp_path / "set", ["a.png"], size=(40, 30))
    _tree(root, ["b.png"], size=(31, 50))
    (root / "preprocess.yaml").write_text("resize: 20\ncrop: [16, 12]\nlayout: NCHW\nscale: 1/255\nmean: 0.5")
    data = _load(root, InputSpec("x", F32, ("N", 3, 16, 12)))
    assert data.inputs(0, 2)["x"].shape == (2, 3, 16, 12)
    image = Image.open(root / "a.png").resize((26, 20), Image.Resampling.BILINEAR)
    want = np.asarray(image)[2:18, 7:19].transpose(2, 0, 1) / 255 - 0.5
    assert np.allclose(data.inputs(0, 1)["x"][0], want, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "1"])
def test_grey_models_get_one_channel_and_colour_models_three(tmp_path, mode):
    root = _tree(tmp_path / "set", ["a.png"], mode=mode)
    assert _load(root, InputSpec("x", F32, ("N", 1, 4, 5))).inputs(0, 1)["x"].shape == (1, 1, 4, 5)
    assert _load(root).inputs(0, 1)["x"].shape == (1, 3, 4, 5)


@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
def test_declared_colours_are_made(tmp_path, color):
    root = _tree(tmp_path / "set", ["a.png"])
    (root / "preprocess.yaml").write_text(f"color: {color}\nlayout: NHWC")
    raw = np.asarray(Image.open(root / "a.png"))
    want = {
        "RGB": raw,
        "BGR": raw[..., ::-1],
        "GRAY": np.asarray(Image.fromarray(raw).convert("L"))[..., None],
    }[color]
    data = _load(root, InputSpec("x", np.dtype(np.uint8), ("N", 4, 5, want.shape[-1])))
    assert np.array_equal(data.inputs(0, 1)["x"][0], want)


def test_images_of_another_size_are_refused_with_the_remedy(tmp_path):
    root = _tree(tmp_path / "set", ["a.png"], size=(9, 9))
    with pytest.raises(
        DataError, match=r"are 9×9×3, but input 'x' .* wants another size .* resize or crop, layout and scale"
    ):
        _load(root)
    root = _tree(tmp_path / "other", ["a.png"])
    _tree(root, ["b.png"], size=(9, 9))
    with pytest.raises(DataError, match=r"image b.png is 9×9×3, but the first one is 4×5×3; add resize and crop"):
        _load(root).inputs(0, 2)
    with pytest.raises(DataError, match="wants another size or kind of number"):
        _load(tmp_path / "other", InputSpec("x", np.dtype(np.int8), ("N", 4, 5, 3)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", "labels.csv is empty; give a line for each image: file,label"),
        ("file,label\nA.png,1", "row 1 names 'A.png', which is no image in .*, did you mean 'a.png'"),
        ("file,label\nzzzzzzz,1", "row 1 names 'zzzzzzz', which is no image in .*; remove the row"),
        ("file,label\na.png", "row 1 has 1 cells, too few; give file and label"),
        ("name,kind,z\na.png,1,2", "needs the columns file and label, it has name, kind, z; rename them"),
        (b"\xff\xfe", "labels.csv is not UTF-8 text"),
        (
            "file,label\ra.png,1\r",
            r"labels.csv: line 1 cannot be read \(.*\); save it as CSV with line ends LF or CR LF",
        ),
        ("file,label\na.png," + "1" * 2**17 + "1", r"line 2 cannot be read .* cells of at most 131,072 characters"),
    ],
)
def test_tables_that_do_not_go_with_the_files_are_refused(tmp_path, table, message):
    root = _tree(tmp_path / "set", ["a.png"])
    (root / "labels.csv").write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(DataError, match=message):
        _load(root)


def _bomb():
    good = _png(0)
    at = good.index(b"IHDR") + 4
    body = b"IHDR" + (9000).to_bytes(4, "big") * 2 + good[at + 8 : at + 13]
    import zlib

    return good[: at - 4] + body + zlib.crc32(body).to_bytes(4, "big") + good[at + 17 :]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "image a.png cannot be decoded"),
        (b"no image", r"image a.png cannot be decoded \(cannot identify image file 'a.png'\); remove or replace it"),
        (_png(0)[:60], "image a.png cannot be decoded .*; remove or replace it"),
        (_bomb(), "image a.png declares 9000×9000 pixels, over 64 million; scale it down"),
    ],
)
def test_damaged_and_hostile_images_are_named(tmp_path, content, message):
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(DataError, match=message):
        _load(tmp_path)


def test_sixteen_bit_images_are_refused(tmp_path):
    Image.fromarray(np.zeros((4, 5), np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="has pixels of kind 'I;16', not 8 bits; save it as an 8-bit image"):
        _load(tmp_path)


def test_empty_folders_and_models_with_two_inputs_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"holds no image \(.png, .jpg, .jpeg, .bmp, …\); give one folder a class"):
        _load(tmp_path / "empty")
    root = _tree(tmp_path / "set", ["a.png"])
    with pytest.raises(DataError, match=r"can feed one input, the model has 2; name it with input: .* fill:"):
        load_data(root, model_path=None, inputs=[SPEC, InputSpec("b", F32, ("N", 1))])


def test_a_file_too_large_for_an_image_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("faultsim.data.images.MAX_FILE_BYTES", 10)
    root = _tree(tmp_path / "set", ["a.png"])
    with pytest.raises(DataError, match="too large for an image; remove it"):
        _load(root)
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("a.png", _png(0))
    with pytest.raises(DataError, match=r"a.png is over 0 MiB, too large for an image"):
        _load(tmp_path / "set.zip")


@pytest.mark.shared
def test_imagenet_crops_come_straight_from_the_archive(shared, tmp_path):
    (tmp_path / "p.yaml").write_text("crop: 224\nlayout: NHWC\nlabel_offset: 1")
    data = load_data(
        shared / "data/zoo/imagenet_sample_1000_jpeg256.zip",
        model_path=None,
        inputs=[InputSpec("x", np.dtype(np.uint8), (1, 224, 224, 3))],
        preprocess=tmp_path / "p.yaml",
    )
    assert len(data) == 1000
    assert data.labels(0, 3).tolist() == [1, 2, 3]
    assert data.inputs(998, 1000)["x"].shape == (2, 224, 224, 3)


def test_an_image_that_vanishes_is_named(tmp_path):
    root = _tree(tmp_path / "set", ["a.png", "b.png"])
    data = _load(root)
    (root / "b.png").unlink()
    with pytest.raises(DataError, match=r"b.png cannot be read \(No such file or directory\); remove or replace it"):
        data.inputs(0, 2)


def test_models_that_take_pixels_as_they_are_need_no_steps(tmp_path):
    root = _tree(tmp_path / "set", ["a.png"])
    data = _load(root, InputSpec("x", np.dtype(np.uint8), ("N", 4, 5, 3)))
    assert np.array_equal(data.inputs(0, 1)["x"][0], np.asarray(Image.open(root / "a.png")))
    (root / "preprocess.yaml").write_text("label_offset: 1")
    assert "divided by 255" in _load(root).notes[1]
