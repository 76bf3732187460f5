"""What docs/data.md and docs/tasks.md say is so: their examples run, their tables name every key and task."""

import re
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import faultsim
from faultsim.assessment.options import Options
from faultsim.assessment.setting import make_setting
from faultsim.data import InputSpec, load_data
from faultsim.data.preprocess import Preprocess, Tokens, load_preprocess
from faultsim.library import find_model
from faultsim.metrics import LanguageModel, TokenClassification
from faultsim.metrics.choose import NAMES

F32 = np.dtype(np.float32)
DOCS = Path(__file__).parents[2] / "docs"
DATA, TASKS = ((DOCS / name).read_text() for name in ("data.md", "tasks.md"))


def _blocks(text, language):
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def _module(name, text, folder):
    (folder / f"{name}.py").write_text(next(one for one in _blocks(text, "python") if one.startswith(f"# {name}.py")))


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name in ("my_data", "my_task"):
        sys.modules.pop(name, None)


def _setting(data, model="digits", **options):
    return make_setting(model, "reram", data, Options(threads=1, **options), torch_device="cpu")


def test_every_key_of_the_preprocessing_is_explained_and_shown(tmp_path):
    shown = set()
    for text in _blocks(DATA, "yaml"):
        (tmp_path / "p.yaml").write_text(text)
        steps = load_preprocess(tmp_path / "p.yaml")
        shown |= steps.model_fields_set | (steps.tokens.model_fields_set if steps.tokens else set())
    known = {*Preprocess.model_fields, *Tokens.model_fields}
    assert shown == known
    assert {key for key in known if f"\n| `{key}` |" not in DATA} == set()


def test_the_preprocessing_examples_run(tmp_path):
    imagenet, int8, several, tokens = _blocks(DATA, "yaml")
    rng = np.random.default_rng(0)

    def load(text, data, *inputs):
        (tmp_path / "p.yaml").write_text(text)
        return load_data(tmp_path / data, model_path=None, inputs=inputs, preprocess=tmp_path / "p.yaml")

    (tmp_path / "set" / "cat").mkdir(parents=True)
    Image.fromarray(rng.integers(0, 256, (300, 400), dtype=np.uint8)).save(tmp_path / "set" / "cat" / "a.png")
    data = load(imagenet, "set", InputSpec("x", F32, ("N", 3, 224, 224)))
    assert -2.2 < data.inputs(0, 1)["x"].min() < data.inputs(0, 1)["x"].max() < 2.7
    raw = rng.integers(0, 256, (4, 3, 5, 6), dtype=np.uint8)
    np.savez(tmp_path / "d.npz", x=raw, y=[1, 2, 3, 4])
    data = load(int8, "d.npz", InputSpec("x", np.dtype(np.int8), ("N", 5, 6, 3)))
    assert np.array_equal(data.inputs(0, 4)["x"], (np.moveaxis(raw, 1, -1).astype(int) - 128).astype(np.int8))
    assert data.labels(0, 4).tolist() == [0, 1, 2, 3]
    np.savez(tmp_path / "e.npz", pixel_values=np.moveaxis(raw, 1, -1))
    data = load(several, "e.npz", InputSpec("pixel_values", F32, ("N", 3, 5, 6)), InputSpec("temperature", F32, ("N",)))
    assert np.array_equal(data.inputs(0, 4)["pixel_values"], raw.astype(np.float32) / np.float32(255))
    assert data.inputs(0, 4)["temperature"].tolist() == [1.0] * 4
    (tmp_path / "words.txt").write_text("a\nb\n<eos>\n")
    (tmp_path / "t.txt").write_text("a b a\n" * 5)
    data = load(tokens, "t.txt", InputSpec("ids", np.dtype(np.int64), ("N", "T")))
    assert data.inputs(0, 1)["ids"].tolist() == [[0, 1, 0, 2, 0, 1, 0, 2]]


def test_every_task_is_explained():
    for name in NAMES:
        assert f"\n| `{name.replace('top<k>', 'top5').replace('<tolerance>', '0.1')}`" in TASKS


def test_the_array_example_fits_the_model_it_is_for(here):
    exec(_blocks(DATA, "python")[0], {})
    assert len(_setting("data.npz").data) == 20


@pytest.mark.parametrize("name", ["load", "batches"])
def test_the_data_functions_run(here, name):
    pytest.importorskip("sklearn")
    _module("my_data", DATA, here)
    setting = _setting(f"my_data:{name}")
    assert len(setting.data) == 100
    assert setting.task.name == "classification"
    score = setting.data.labels(0, 100) == setting.task.predict(
        setting.model.run(setting.data.inputs(0, 100))[setting.output.name]
    )
    assert score.mean() > 0.9


def test_the_task_function_runs_and_is_scored(here):
    _module("my_task", TASKS, here)
    options = Options(trials=2, search_gradients=2, site_trials=0, limit=50, threads=1, task="my_task:score")
    result = faultsim.assess("digits", "reram", options=options)
    assert result.clean.accuracy > 0.9


def _table_of_next_tokens(tmp_path):
    onnx = pytest.importorskip("onnx")
    helper, tensor = onnx.helper, onnx.TensorProto
    rng = np.random.default_rng(1)
    parts = {"table": rng.standard_normal((7, 4)), "head": rng.standard_normal((4, 7))}
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["e"]), helper.make_node("MatMul", ["e", "head"], ["y"])],
        "lm",
        [helper.make_tensor_value_info("ids", tensor.INT64, ["N", 6])],
        [helper.make_tensor_value_info("y", tensor.FLOAT, ["N", 6, 7])],
        [onnx.numpy_helper.from_array(a.astype(np.float32), n) for n, a in parts.items()],
    )
    path = tmp_path / "lm.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_text_is_scored_by_its_log_perplexity_unless_a_task_is_named(here):
    model = _table_of_next_tokens(here)
    (here / "t.txt").write_text("a b c d e f\n" * 20)
    (here / "t.vocab.txt").write_text("a\nb\nc\nd\ne\nf\n<eos>\n")
    assert _setting("t.txt", model).task == LanguageModel()
    assert _setting("t.txt", model, task="tagging").task == TokenClassification()
    ids = np.random.default_rng(0).integers(0, 7, (9, 6))
    np.savez("saved.npz", ids=ids, labels=ids)
    assert _setting("saved.npz", model).task == TokenClassification()


def test_one_hot_labels_are_classes_unless_regression_is_asked_for(here):
    with np.load(Path(find_model("digits")).with_suffix(".npz")) as file:
        arrays = {name: file[name][:40] for name in file.files}
    label = next(name for name in arrays if arrays[name].ndim == 1)
    np.savez("d.npz", **{**arrays, label: np.eye(10, dtype=np.float32)[arrays[label]]})
    hot = _setting("d.npz")
    assert hot.task == _setting(None).task
    assert np.array_equal(hot.data.labels(0, 40), arrays[label])
    assert any(note.startswith("labels look one-hot: taken as classes") for note in hot.data.notes)
    kept = _setting("d.npz", task="regression")
    assert kept.task.name == "regression"
    assert kept.data.labels(0, 40).shape == (40, 10)
