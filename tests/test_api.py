"""The package as a library: the names it hands out, from a model to a result file and back, and its examples."""

import doctest
import importlib
import json
import pkgutil
import subprocess
import sys

import numpy as np
import onnx
import pytest
import tiny_nets
import torch

import faultsim
from faultsim.errors import FaultsimError, OptionError
from faultsim.results import to_json

QUICK = faultsim.Options(trials=2, limit=40, search_gradients=2, site_trials=0, threads=1)


def modules():
    names = [faultsim.__name__]
    names += [m.name for m in pkgutil.walk_packages(faultsim.__path__, "faultsim.") if not m.name.endswith("__main__")]
    return names


@pytest.mark.parametrize("name", modules())
def test_the_examples_in_docstrings_run(name):
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_there_are_examples_to_run():
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = sum(len(t.examples) for n in modules() for t in finder.find(importlib.import_module(n)))
    assert found >= 20


def test_every_public_name_is_there_and_documented():
    assert faultsim.__all__ == dir(faultsim)
    for name in faultsim.__all__:
        assert getattr(faultsim, name).__doc__
    with pytest.raises(AttributeError, match="has no attribute 'asess'"):
        faultsim.asess  # noqa: B018


def test_importing_the_package_costs_nothing():
    code = "import sys, faultsim; print([m for m in ('torch', 'onnx', 'numpy', 'pydantic') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_from_a_bundled_name_to_a_result_file_and_back(tmp_path):
    result = faultsim.assess("digits", "reram", options=QUICK)
    assert isinstance(result, faultsim.Result)
    (tmp_path / "result.json").write_text(to_json(result))
    assert faultsim.load_result(tmp_path / "result.json") == result
    assert json.loads(to_json(result))["device"]["name"] == "reram_1t1r"


def test_a_path_a_model_and_a_device_give_the_same_answer(root):
    path = root / "scenarios" / "digits" / "digits_float.onnx"
    device = faultsim.load_device("sram_low_voltage")
    assert isinstance(device, faultsim.Device)
    loaded = faultsim.load_model(path)
    assert isinstance(loaded, faultsim.Model)
    data = faultsim.load_data(None, model_path=path, inputs=loaded.inputs, limit=40)
    results = [
        faultsim.assess("digits", "sram", options=QUICK),
        faultsim.assess(str(path), device, options=QUICK),
        faultsim.assess(loaded, device, data, options=QUICK),
    ]
    for one in results[1:]:
        assert one.random == results[0].random
        assert one.worst_case == results[0].worst_case
        assert one.model == results[0].model


def test_the_same_model_object_can_be_assessed_again(root):
    loaded = faultsim.load_model(root / "scenarios" / "digits" / "digits_int8.onnx")
    before = {name: array.copy() for name, array in loaded.numbers.items()}
    first, second = (faultsim.assess(loaded, "sram", options=QUICK) for _ in range(2))
    assert first.random == second.random
    assert all(np.array_equal(before[name], array) for name, array in loaded.numbers.items())


def test_a_torch_module_is_assessed_by_way_of_its_export():
    torch_model = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).eval()
    loaded = faultsim.load_model(torch_model, torch.zeros(3, 6))
    result = faultsim.assess(loaded, "sram", options=QUICK)
    assert (result.data.labels, result.clean.accuracy) == ("golden", 1.0)
    assert result.model.path == "Sequential"


def test_a_model_in_memory_is_assessed_on_arrays(tmp_path):
    proto = tiny_nets.dense()
    np.savez(tmp_path / "data.npz", **tiny_nets.samples())
    result = faultsim.assess(faultsim.load_model(proto, name="mine"), "sram", tmp_path / "data.npz", options=QUICK)
    assert (result.model.path, result.data.labels, result.data.samples) == ("mine", "given", 30)


def test_a_source_of_a_wrong_type_is_our_own_error():
    with pytest.raises(FaultsimError, match="cannot load a model from int; give a path, a ModelProto or a module"):
        faultsim.assess(7, "sram", options=QUICK)
    with pytest.raises(OptionError, match="'digitss': no such file, did you mean the bundled model 'digits'"):
        faultsim.assess("digitss", "sram", options=QUICK)


def test_progress_is_told_of_every_phase_in_order():
    seen = []
    faultsim.assess("digits", "reram", options=QUICK, progress=lambda phase, done, total: seen.append((phase, done)))
    phases = list(dict.fromkeys(phase for phase, _ in seen))
    assert phases == ["load and check", "chips", "random in the set", "worst case", "sites"]
    for phase in phases:
        steps = [done for name, done in seen if name == phase]
        assert steps == sorted(steps)


def test_the_model_written_back_is_the_model(root, tmp_path):
    path = root / "scenarios" / "digits" / "digits_int8.onnx"
    faultsim.load_model(path).write(tmp_path / "same.onnx")
    assert onnx.load(tmp_path / "same.onnx") == onnx.load(path)


def test_data_of_another_type_are_refused_with_the_way_to_give_them():
    arrays = {"x": np.zeros((2, 1, 8, 8), np.float32), "labels": np.zeros(2, np.int64)}
    with pytest.raises(FaultsimError, match=r"data of type dict cannot be read; give a path \(numpy.savez"):
        faultsim.assess("digits", "reram", arrays, options=QUICK)
