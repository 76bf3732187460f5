"""An upset is a flipped bit of one stored activation: the same as cutting the graph there, in onnxruntime."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import helper
from running import calibrated, effects, normals, proto
from scipy import stats

from faultsim.engine.inference import Chip
from faultsim.engine.inference.memory import held_activations
from faultsim.engine.runner import Runner
from faultsim.errors import OptionError
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.inference import ActivationStorage, ActivationUpset, Effect, SampleAxis, Upset, fault_free
from faultsim.model import Model, load_model

SAMPLES = 40


def run_ort(made: onnx.ModelProto, feeds: dict[str, NDArray[Any]]) -> NDArray[Any]:
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    opened = ort.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return np.asarray(opened.run(None, feeds)[0])


def cut_and_run(model: Model, feeds: dict[str, NDArray[Any]], upset: Upset, form: NumberFormat) -> NDArray[Any]:
    """Head of the graph, a flipped bit in NumPy, tail of the graph."""
    inferred = onnx.shape_inference.infer_shapes(model.proto)
    extractor = onnx.utils.Extractor(inferred)
    name = upset.activation
    if name in feeds:
        middle = feeds[name].copy()
        tail = model.proto
    else:
        middle = run_ort(extractor.extract_model(list(feeds), [name]), feeds).copy()
        tail = None if name in model.output_names else extractor.extract_model([name], list(model.output_names))
    flat = middle.reshape(len(middle), -1)
    flat[:, upset.element] = form.decode(form.encode(flat[:, upset.element]) ^ np.uint64(upset.mask))
    return middle if tail is None else run_ort(tail, {name: middle})


@pytest.fixture(scope="module", params=["float", "int8"])
def digits(request: pytest.FixtureRequest, root: Path) -> tuple[Model, dict[str, NDArray[Any]], Runner]:
    folder = root / "scenarios" / "digits"
    model = load_model(folder / f"digits_{request.param}.onnx")
    with np.load(folder / f"digits_{request.param}.npz") as data:
        feeds = {"image": data["image"][:SAMPLES]}
    return model, feeds, calibrated(model, feeds, "logits")


def test_each_upset_is_a_flipped_bit_at_a_cut_of_the_graph(digits) -> None:
    model, feeds, runner = digits
    held = runner.calibration.activations
    quantized = any(isinstance(one.format, IntFormat) for one in held.values())
    seen: set[str] = set()
    for trial in range(30):
        law = effects(ActivationUpset(count=1), trial=trial)
        (upset,) = Chip(model, {}, law, runner.calibration, runner.layers).upsets
        form = held[upset.activation].format
        assert isinstance(form, IntFormat if quantized else FloatFormat)
        expected = cut_and_run(model, feeds, upset, form)
        found = runner.open(effects=law)(feeds)
        # A value on a rounding edge of a quantized graph may fall either way in torch and in onnxruntime.
        off = ~np.isclose(found, expected, rtol=1e-4, atol=1e-4)
        assert off.mean() <= (0.01 if quantized else 0)
        seen.add(upset.activation)
    assert len(seen) >= 3


def test_the_activations_of_a_float_network_are_those_behind_the_activation_function(root: Path) -> None:
    model = load_model(root / "scenarios" / "digits" / "digits_float.onnx")
    with np.load(root / "scenarios" / "digits" / "digits_float.npz") as data:
        runner = calibrated(model, {"image": data["image"][:9]}, "logits")
    assert runner.calibration is not None
    held = runner.calibration.activations
    assert list(held) == ["image", "relu1", "relu2", "pool", "logits"]
    assert all(one.format == FloatFormat("float32") and one.axis == SampleAxis(0) for one in held.values())
    sizes = {name: one.elements for name, one in held.items()}
    assert sizes["logits"] == 10
    assert runner.calibration.activation_bits() == 32 * sum(sizes.values())
    assert runner.calibration.activation_bits(8) == 8 * sum(sizes.values())


def test_the_activations_of_a_quantized_network_are_its_codes_each_once(root: Path) -> None:
    model = load_model(root / "scenarios" / "digits" / "digits_int8.onnx")
    with np.load(root / "scenarios" / "digits" / "digits_int8.npz") as data:
        runner = calibrated(model, {"image": data["image"][:9]}, "logits")
    assert runner.calibration is not None
    held = runner.calibration.activations
    ends = [name.removesuffix("_QuantizeLinear_Output") for name in held]
    # "flat" is "pool", moved and given the same codes again
    assert ends == ["image", "relu1", "relu2", "pool", "logits"]
    assert {one.format.bits for one in held.values()} == {8}
    assert runner.calibration.activation_bits() == runner.calibration.activation_bits(16)


def test_places_are_drawn_in_proportion_to_their_bits(digits) -> None:
    _, _, runner = digits
    held = runner.calibration.activations
    law = ActivationUpset(count=20_000)
    drawn = law.draw(held, effects(law)[0])
    total = runner.calibration.activation_bits()
    counts = Counter(upset.activation for upset in drawn)
    for name, one in held.items():
        share = one.elements * one.format.bits / total
        spread = np.sqrt(len(drawn) * share * (1 - share))
        assert abs(counts[name] - len(drawn) * share) < 5 * spread
    bits = Counter(upset.mask for upset in drawn)
    width = next(iter(held.values())).format.bits
    assert set(bits) == {1 << bit for bit in range(width)}
    for name, one in held.items():
        elements = [upset.element for upset in drawn if upset.activation == name]
        assert min(elements) >= 0
        assert max(elements) < one.elements


def test_several_adjacent_bits_stay_in_their_word(digits) -> None:
    _, _, runner = digits
    held = runner.calibration.activations
    law = ActivationUpset(count=3000, multiplicity=(0.5, 0.25, 0.25))
    sizes = Counter()
    for upset in law.draw(held, effects(law)[0]):
        mask = upset.mask
        run = mask >> ((mask & -mask).bit_length() - 1)
        assert run in (1, 3, 7)
        assert mask < 1 << held[upset.activation].format.bits
        sizes[run.bit_length()] += 1
    assert sizes[1] == pytest.approx(1500, abs=5 * np.sqrt(750))
    assert sizes[2] == pytest.approx(750, abs=5 * np.sqrt(563))


def test_the_number_of_upsets_is_poisson_or_given_one() -> None:
    model = load_model(proto([helper.make_node("Relu", ["x"], ["y"])], {"w": normals(2)}))
    runner = calibrated(model, {"x": normals(3, 6)})
    assert runner.calibration is not None
    held = runner.calibration.activations
    free, given = ActivationUpset(mean=2.0), ActivationUpset(mean=0.01, given_event=True)
    counts = [len(free.draw(held, effects(free, trial=t)[0])) for t in range(1000)]
    assert np.mean(counts) == pytest.approx(2.0, abs=5 * np.sqrt(2 / 1000))
    assert np.var(counts) == pytest.approx(2.0, rel=0.3)
    assert {len(given.draw(held, effects(given, trial=t)[0])) for t in range(200)} <= {1, 2}


def test_numbers_and_places_of_upsets_pass_exact_tests(digits) -> None:
    held = digits[2].calibration.activations
    mean, trials = 5.0, 2000
    free = ActivationUpset(mean=mean)
    drawn = [free.draw(held, effects(free, trial=t)[0]) for t in range(trials)]
    counts = np.array([len(one) for one in drawn])
    total = int(counts.sum())  # of independent Poisson numbers: Poisson itself
    assert 1e-4 < stats.poisson.cdf(total, mean * trials) < 1 - 1e-4
    assert fits(counts, stats.poisson(mean).pmf, 0, 11) > 1e-4
    given = ActivationUpset(mean=0.7, given_event=True)
    events = np.array([len(given.draw(held, effects(given, trial=t)[0])) for t in range(trials)])
    law = stats.poisson(0.7)
    assert fits(events, lambda k: law.pmf(k) / law.sf(0), 1, 5) > 1e-4
    bits = {name: one.elements * one.format.bits for name, one in held.items()}
    seen = Counter(upset.activation for one in drawn for upset in one)
    for name, own in bits.items():
        assert stats.binomtest(seen[name], total, own / sum(bits.values())).pvalue > 1e-4


def test_every_upset_of_a_trial_strikes_the_same_inference() -> None:
    model = load_model(proto([helper.make_node("Relu", ["x"], ["y"])], {"w": normals(2)}))
    feeds = {"x": normals(3, 6)}
    runner = calibrated(model, feeds)
    assert runner.calibration is not None
    law = ActivationUpset(count=8)
    acting = effects(law, trial=3)
    upsets = law.draw(runner.calibration.activations, acting[0])
    assert len(upsets) == 8
    assert len({one.element for one in upsets}) > 3
    y = np.maximum(feeds["x"], 0)
    words = y.view(np.uint32)
    for one in upsets:
        assert one.activation == "y"
        words[:, one.element] ^= np.uint32(one.mask)
    np.testing.assert_array_equal(runner.open(effects=acting)(feeds), y)


def fits(counts: NDArray[Any], pmf: Callable[[Any], Any], low: int, high: int) -> float:
    """The p value of Pearson's test of counts against a law, everything from *high* on in one class."""
    classes = np.arange(low, high)
    expected = np.append(pmf(classes), 0.0)
    expected[-1] = 1 - expected.sum()
    seen = np.append([np.sum(counts == k) for k in classes], np.sum(counts >= high))
    return float(stats.chisquare(seen, len(counts) * expected).pvalue)


def test_an_upset_stays_in_the_activations_it_is_confined_to(digits) -> None:
    _, _, runner = digits
    held = runner.calibration.activations
    name = list(held)[1]
    law = ActivationUpset(count=50)
    drawn = law.draw(held, Effect(mechanism="m", law=law, sites=frozenset({name})))
    assert {upset.activation for upset in drawn} == {name}
    with pytest.raises(OptionError, match="mechanism m: no activation is left to upset"):
        law.draw(held, Effect(mechanism="m", law=law, sites=frozenset({"none"})))


def test_float_activations_are_stored_as_codes_where_the_chip_does_so(root: Path) -> None:
    model = load_model(root / "scenarios" / "digits" / "digits_float.onnx")
    with np.load(root / "scenarios" / "digits" / "digits_float.npz") as data:
        feeds = {"image": data["image"][:SAMPLES]}
    runner = calibrated(model, feeds, "logits")
    assert runner.calibration is not None
    values: dict[str, NDArray[Any]] = {}
    extractor = onnx.utils.Extractor(onnx.shape_inference.infer_shapes(model.proto))
    order = ["image", "relu1", "relu2", "pool", "logits"]
    current = feeds["image"]
    for before, name in zip([None, *order], order, strict=False):
        if before is not None:
            current = run_ort(extractor.extract_model([before], [name]), {before: current})
        scale = np.float64(runner.calibration.activations[name].values.peak / 127)
        current = (np.clip(np.rint(current / scale), -128, 127) * scale).astype(np.float32)
        values[name] = current
    stored = runner.open(effects=effects(ActivationStorage(bits=8)))(feeds)
    np.testing.assert_allclose(stored, values["logits"], atol=1e-5)
    upset = ActivationUpset(count=1, bits=8)
    (rest,) = fault_free(effects(upset, trial=3))
    assert rest.law == ActivationStorage(bits=8)
    assert np.array_equal(runner.open(effects=[rest])(feeds), stored)
    assert fault_free(effects(ActivationUpset(count=1))) == ()
    differs = [not np.array_equal(runner.open(effects=effects(upset, trial=t))(feeds), stored) for t in range(10)]
    assert any(differs)
    with pytest.raises(OptionError, match="must agree on its bits"):
        runner.open(effects=effects(upset, ActivationStorage(bits=4)))


def test_what_is_added_to_itself_is_written_first() -> None:
    """An Add whose operands are one activation reads it twice: no constant is fused into its maker."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["h"], "fc"), helper.make_node("Add", ["h", "h"], ["y"], "twice")]
    twice = load_model(proto(nodes, {"w": normals(6, 3)}))
    assert held_activations(twice) == {"x", "h", "y"}
    nodes[1] = helper.make_node("Add", ["h", "b"], ["y"], "bias")
    assert held_activations(load_model(proto(nodes, {"w": normals(6, 3), "b": normals(3)}))) == {"x", "y"}


def test_a_time_major_activation_is_struck_in_every_sample_at_the_same_place() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "turn", perm=[1, 0, 2]),
        helper.make_node("MatMul", ["t", "w"], ["h"], "fc"),
        helper.make_node("Transpose", ["h"], ["y"], "back", perm=[1, 0, 2]),
    ]
    model = load_model(proto(nodes, {"w": normals(4, 3)}, ("N", 5, 4), rank=3))
    x = normals(7, 5, 4, seed=1)
    runner = calibrated(model, {"x": x})
    assert runner.calibration is not None
    assert runner.calibration.activations["h"].axis == SampleAxis(1)
    assert runner.calibration.activations["h"].elements == 15
    law = ActivationUpset(count=1)
    effect = Effect(mechanism="m", law=law, sites=frozenset({"h"}))
    (upset,) = law.draw(runner.calibration.activations, effect)
    clean = model.run({"x": x})["y"]
    seen = runner.open(effects=[effect])({"x": x})
    step, unit = divmod(upset.element, 3)
    expected = clean.copy()
    word = np.ascontiguousarray(expected[:, step, unit]).view(np.uint32) ^ np.uint32(upset.mask)
    expected[:, step, unit] = word.view(np.float32)
    np.testing.assert_allclose(seen, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a count or a mean"),
        ({"count": 1, "mean": 1.0}, "either a count or a mean"),
        ({"count": -1}, "must be at least 0, got -1"),
        ({"mean": float("nan")}, "mean must be"),
        ({"count": 1, "given_event": True}, "given_event needs a mean above 0"),
        ({"count": 1, "multiplicity": (0.5, 0.4)}, "add up to 1"),
        ({"count": 1, "bits": 1}, "2 to 22 bits here, got 1"),
    ],
)
def test_numbers_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        ActivationUpset(**options)
