"""A chip's effects depend on the chip and the sample alone: not on batches, order, or what else is there."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import helper
from running import calibrated, effects, gemm, normals, proto

from faultsim.engine.runner import Runner
from faultsim.errors import DataError, OptionError
from faultsim.inference import (
    INFERENCE_LAWS,
    ActivationUpset,
    Converter,
    Effect,
    InferenceLaw,
    InputNoise,
    OutputNoise,
    StuckOutput,
    WeightReadNoise,
    register,
)
from faultsim.model import Model, load_model

SAMPLES = 200


def laws_for(model: Model) -> dict[str, list[InferenceLaw]]:
    std = {
        site.name: 0.05 * np.abs(model.numbers[site.name]).max() * np.ones(site.shape)
        for site in model.select(("weight",))
    }
    return {
        "converters": [Converter(target="inputs", steps=30), Converter(target="outputs", steps=62, bound=5.0)],
        "input_noise": [InputNoise(sigma=0.05)],
        "output_noise": [OutputNoise(sigma=0.1)],
        "arrays": [OutputNoise(sigma=0.1, rows=16), Converter(target="outputs", steps=62, bound=5.0, rows=16)],
        "weight_read_noise": [WeightReadNoise(std=std)],
        "activation_upset": [ActivationUpset(count=3)],
        "activation_upset_int8": [ActivationUpset(mean=2.0, bits=8)],
        "stuck_output": [StuckOutput(elements=((0, 1), (3, 2)), rows=5, columns=4)],
        "all": [
            Converter(target="inputs", steps=254),
            InputNoise(sigma=0.01),
            WeightReadNoise(std=std),
            OutputNoise(sigma=0.04),
            Converter(target="outputs", steps=254, bound=10.0),
            ActivationUpset(count=1),
        ],
    }


@pytest.fixture(scope="module", params=["float", "int8"])
def digits(request: pytest.FixtureRequest, root: Path) -> tuple[Runner, dict[str, NDArray[Any]], NDArray[Any]]:
    folder = root / "scenarios" / "digits"
    model = load_model(folder / f"digits_{request.param}.onnx")
    with np.load(folder / f"digits_{request.param}.npz") as data:
        feeds, labels = {"image": data["image"][:SAMPLES]}, data[next(k for k in data.files if k != "image")][:SAMPLES]
    return calibrated(model, feeds, "logits"), feeds, labels


def in_batches(run: Any, feeds: dict[str, NDArray[Any]], size: int) -> NDArray[Any]:
    count = len(next(iter(feeds.values())))
    return np.concatenate([run({k: v[i : i + size] for k, v in feeds.items()}, i) for i in range(0, count, size)])


@pytest.mark.parametrize(
    "kind",
    ["converters", "input_noise", "output_noise", "arrays", "weight_read_noise", "activation_upset",
     "activation_upset_int8", "stuck_output", "all"],
)  # fmt: skip
def test_any_batch_size_counts_the_same(kind: str, digits) -> None:
    runner, feeds, labels = digits
    chip = effects(*laws_for(runner.model)[kind], trial=4, seed=9)
    runs = {size: in_batches(runner.open(effects=chip), feeds, size) for size in (1, 7, 64, SAMPLES)}
    first = runs[SAMPLES]
    for outputs in runs.values():
        assert np.array_equal(outputs.argmax(axis=1), first.argmax(axis=1))
        assert np.count_nonzero(outputs.argmax(axis=1) == labels) == np.count_nonzero(first.argmax(axis=1) == labels)
        # The kernels of another batch size may round the last digit the other way, and a code or a level with it.
        assert np.mean(np.isclose(outputs, first, rtol=1e-3, atol=1e-3)) > 0.97


@pytest.mark.parametrize("kind", ["output_noise", "input_noise", "weight_read_noise", "activation_upset", "all"])
def test_the_same_chip_gives_the_same_numbers_and_another_does_not(kind: str, digits) -> None:
    runner, feeds, _ = digits
    laws = laws_for(runner.model)[kind]
    first = runner.open(effects=effects(*laws))(feeds)
    assert np.array_equal(runner.open(effects=effects(*laws))(feeds), first, equal_nan=True)
    for other in (effects(*laws, trial=1), effects(*laws, seed=1)):
        assert not np.array_equal(runner.open(effects=other)(feeds), first, equal_nan=True)


def test_a_sample_has_noise_of_its_own_by_its_number(digits) -> None:
    runner, feeds, _ = digits
    twice = {"image": np.repeat(feeds["image"][:1], 2, axis=0)}
    run = runner.open(effects=effects(OutputNoise(sigma=0.5)))
    both = run(twice, 10)
    assert not np.array_equal(both[0], both[1])
    later = run({"image": feeds["image"][:1]}, 11)
    np.testing.assert_allclose(later[0], both[1], rtol=1e-4, atol=1e-4)


def test_laws_that_change_nothing_leave_onnxruntime_in_charge(digits) -> None:
    runner, feeds, _ = digits
    std = {site.name: np.zeros(site.shape) for site in runner.model.select(("weight",))}
    null = effects(
        OutputNoise(sigma=0.0),
        InputNoise(sigma=0.0),
        WeightReadNoise(std=std),
        ActivationUpset(count=0),
        ActivationUpset(mean=0.0),
        StuckOutput(elements=()),
    )
    assert np.array_equal(runner.open(effects=null)(feeds), runner.open()(feeds))


def test_a_whisper_of_noise_is_torch_without_it(digits) -> None:
    runner, feeds, _ = digits
    torch_alone = runner.model.run(feeds)["logits"]
    whisper = runner.open(effects=effects(OutputNoise(sigma=1e-12)))(feeds)
    assert np.mean(np.isclose(whisper, torch_alone, rtol=1e-4, atol=1e-4)) > 0.99


def test_the_signal_meets_the_laws_in_its_own_order_however_they_are_listed(digits) -> None:
    runner, feeds, _ = digits
    chip = effects(*laws_for(runner.model)["all"])
    first = runner.open(effects=chip)(feeds)
    assert np.array_equal(runner.open(effects=chip[::-1])(feeds), first, equal_nan=True)


def test_effects_act_on_the_chips_own_numbers(digits) -> None:
    runner, feeds, _ = digits
    name = next(site.name for site in runner.model.sites if site.role == "weight" and site.name.startswith("fc"))
    numbers = {name: np.zeros_like(runner.model.numbers[name])}
    seen = runner.open(numbers, effects(OutputNoise(sigma=1e-9)))(feeds)
    assert np.allclose(seen, seen[0], atol=1e-6)


def test_an_effect_stays_in_the_layers_it_is_confined_to() -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "a"], ["h"], "first"),
        helper.make_node("MatMul", ["h", "b"], ["y"], "second"),
    ]
    model = load_model(proto(nodes, {"a": normals(6, 5), "b": normals(5, 4)}))
    x = normals(3, 6)
    runner = calibrated(model, {"x": x})
    law = StuckOutput(elements=((None, None),))
    last = Effect(mechanism="m", law=law, sites=frozenset({"b"}))
    none = Effect(mechanism="m", law=law, sites=frozenset({"c"}))
    first = Effect(mechanism="m", law=Converter(target="outputs", steps=4), sites=frozenset({"a"}))
    assert not runner.open(effects=[last])({"x": x}).any()
    assert np.array_equal(runner.open(effects=[none])({"x": x}), model.run({"x": x})["y"])
    assert not np.allclose(runner.open(effects=[first])({"x": x}), model.run({"x": x})["y"])


def test_effects_before_calibration_are_refused() -> None:
    runner = Runner(gemm(normals(3, 4)), "y")
    with pytest.raises(OptionError, match=r"call Runner.calibrate before Runner.open"):
        runner.open(effects=effects(OutputNoise(sigma=0.1)))
    with pytest.raises(DataError, match="calibration needs at least one sample"):
        runner.calibrate([])


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_float_types_stay_what_they_are(dtype: type) -> None:
    elem = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    node = helper.make_node("Gemm", ["x", "w", "b"], ["y"], "fc")
    weights = {"w": normals(6, 4).astype(dtype), "b": normals(4).astype(dtype)}
    model = load_model(proto([node], weights, elem=elem, out=elem))
    x = normals(5, 6).astype(dtype)
    runner = calibrated(model, {"x": x})
    for law in (OutputNoise(sigma=1e-9), ActivationUpset(count=1), Converter(target="outputs", steps=1 << 20)):
        assert runner.open(effects=effects(law))({"x": x}).dtype == dtype
    quiet = runner.open(effects=effects(OutputNoise(sigma=1e-9)))({"x": x})
    np.testing.assert_allclose(quiet, model.run({"x": x})["y"], rtol=1e-2 if dtype is np.float16 else 1e-7)


REAL = {
    "zoo/mlperf_resnet8_int8.onnx": (10, 16, {"int8"}),
    "zoo/TFC_2W2A.onnx": (4, 6, {"int2", "float32"}),
    "cifar10_models/resnet20_cifar10.onnx": (20, 33, {"float32"}),
}
"""Matrix-vector layers, activations in memory, and the formats of these, by file."""


@pytest.mark.shared
@pytest.mark.parametrize("file", REAL)
def test_real_networks_run_under_every_law(file: str, shared: Path) -> None:
    model = load_model(shared / "data" / file)
    (spec,) = model.inputs
    shape = [6 if not isinstance(size, int) else size for size in spec.shape]
    rng = np.random.default_rng(0)
    draws = [rng.integers(-100, 100, shape) if spec.dtype.kind == "i" else rng.random(shape) for _ in range(6)]
    batches = [{spec.name: draw.astype(spec.dtype)} for draw in draws[: 6 // shape[0]]]
    runner = Runner(model, model.output_names[0], threads=1)
    found = runner.calibrate(batches)
    layers, activations, formats = REAL[file]
    assert (found.samples, found.uncovered) == (6, ())
    assert (len(found.layers), len(found.activations)) == (layers, activations)
    assert {one.format.name for one in found.activations.values()} == formats
    clean = runner.open()(batches[0])
    for kind, laws in laws_for(model).items():
        seen = runner.open(effects=effects(*laws))(batches[0])
        assert seen.shape == clean.shape, kind
        assert seen.dtype == clean.dtype, kind


def test_the_registry_knows_every_law_once() -> None:
    assert set(INFERENCE_LAWS) == {
        "activation_storage", "activation_upset", "converter", "input_noise", "output_noise", "stuck_output",
        "weight_read_noise",
    }  # fmt: skip

    class Another(OutputNoise):
        kind = "output_noise"

    with pytest.raises(OptionError, match="'output_noise' is taken by OutputNoise"):
        register(Another)
