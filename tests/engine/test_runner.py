"""The runtime that is chosen, and that every chip is what onnxruntime makes of the written model."""

import numpy as np
import pytest
import tiny_nets
import torch
from exact_session import exact_session

from faultsim import load_device, load_model
from faultsim.corruption import apply_edit
from faultsim.engine.runner import Runner
from faultsim.errors import DataError, ModelError, OptionError
from faultsim.inference import ActivationUpset, Effect, OutputNoise


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_onnxruntime_runs_what_it_can(kind, digits, monkeypatch):
    assert Runner(digits(kind), "logits").runtime == "onnxruntime"
    assert Runner(digits(kind), "logits", prefer="torch").runtime == "torch"
    elsewhere = digits(kind)
    monkeypatch.setattr(elsewhere, "device", torch.device("cuda"))
    assert Runner(elsewhere, "logits").runtime == "torch"


def test_torch_runs_qonnx(tmp_path):
    model = load_model(tiny_nets.save(tiny_nets.qonnx(), tmp_path / "q.onnx"))
    runner = Runner(model, "y")
    assert runner.runtime == "torch"
    x = tiny_nets.samples()["x"]
    codes = np.clip(np.rint(model.numbers["w"] / 0.25), -8, 7) * 0.25
    assert runner.open()({"x": x}) == pytest.approx(x @ codes, abs=1e-5)


def test_torch_runs_codes_between_two_levels(digits, root):
    model = digits("int8")
    runner = Runner(model, "logits", threads=1)
    name = "fc.weight_quantized"
    codes = model.numbers[name].astype(np.float32)
    with np.load(root / "scenarios" / "digits" / "digits_int8.npz") as data:
        feeds = {"image": data["image"][:20]}
    whole = runner.open({name: codes})(feeds)  # whole numbers in a float array are codes
    assert np.array_equal(whole, runner.open()(feeds))
    assert not np.array_equal(runner.open({name: codes + 0.4})(feeds), whole)
    with pytest.raises(ModelError, match="are not all codes of int8"):
        model.with_numbers({name: codes + 0.4})


@pytest.mark.parametrize("device", ["fpga_bram_int8", "sram_low_voltage", "reram_1t1r", "pcm_analog"])
@pytest.mark.parametrize("kind", ["float", "int8"])
def test_each_chip_is_what_onnxruntime_makes_of_the_written_model(kind, device, digits, root, tmp_path):
    model, chip = digits(kind), load_device(device)
    runner = Runner(model, "logits", threads=1)
    stored = chip.store({s.name: (s, model.numbers[s.name]) for s in model.select(chip.spec.storage.stores)})
    with np.load(root / "scenarios" / "digits" / f"digits_{kind}.npz") as data:
        feeds = {"image": data["image"][:50]}
    for trial in range(2):
        edits = chip.sample(stored, 0, trial)
        numbers = {n: apply_edit(edits[n], s) if n in edits else s.values for n, s in stored.items()}
        if any(array.dtype != model.numbers[name].dtype for name, array in numbers.items()):
            with pytest.raises(ModelError, match="are not all codes of int8"):  # cells between two levels
                model.write(tmp_path / "chip.onnx", numbers)
            assert np.array_equal(runner.open(numbers)(feeds), model.run(feeds, numbers)["logits"])
            continue
        model.write(tmp_path / "chip.onnx", numbers)
        written = exact_session(tmp_path / "chip.onnx")
        assert np.array_equal(runner.open(numbers)(feeds), written.run(["logits"], feeds)[0])


def test_a_run_leaves_the_clean_model_clean(digits, root):
    model = digits("float")
    runner = Runner(model, "logits", threads=1)
    with np.load(root / "scenarios" / "digits" / "digits_float.npz") as data:
        feeds = {"image": data["image"][:20]}
    before = runner.open()(feeds)
    runner.open({"fc.weight": np.zeros_like(model.numbers["fc.weight"])})(feeds)
    assert np.array_equal(runner.open()(feeds), before)


@pytest.mark.parametrize("prefer", ["auto", "torch"])
def test_a_batch_of_the_wrong_width_is_one_sentence(prefer, tmp_path):
    runner = Runner(load_model(tiny_nets.save(tiny_nets.dense(), tmp_path / "n.onnx")), "y", threads=1, prefer=prefer)
    with pytest.raises((DataError, ModelError)) as caught:
        runner.open()({"x": np.zeros((2, 5), np.float32)})
    assert "\n" not in str(caught.value)


def test_effects_run_on_torch_and_ride_on_the_samples_numbers(digits, root):
    model = digits("float")
    runner = Runner(model, "logits", threads=1)
    with np.load(root / "scenarios" / "digits" / "digits_float.npz") as data:
        feeds = {"image": data["image"][:20]}
    noise = [Effect(mechanism="noise", law=OutputNoise(sigma=0.2))]
    with pytest.raises(OptionError, match="effects need the ranges of clean data"):
        runner.open(effects=noise)
    assert runner.calibrate([feeds]) is runner.calibration
    run = runner.open(effects=noise)
    whole = run(feeds)
    assert whole.dtype == np.float32
    assert not np.allclose(whole, runner.open()(feeds), atol=1e-3)
    later = run({"image": feeds["image"][8:]}, 8)
    np.testing.assert_allclose(later, whole[8:], rtol=1e-4, atol=1e-4)
    assert not np.allclose(run({"image": feeds["image"][8:]}, 0), whole[8:], atol=1e-3)


def test_a_scorer_counts_the_same_chip_whatever_the_batch(digits, scorer):
    tallies = []
    for size in (1, 7, 64):
        made = scorer(digits("float"), batch_size=size, threads=1)
        made.runner.calibrate(batch.inputs for batch in made.batches())
        made.set_golden()
        chip = [
            Effect(mechanism="noise", law=OutputNoise(sigma=0.3), trial=2),
            Effect(mechanism="upset", law=ActivationUpset(count=2), trial=2),
        ]
        tallies.append(made.score(effects=chip))
    assert tallies[0].counts == tallies[1].counts == tallies[2].counts
    assert tallies[0].counts.correct < tallies[0].counts.n


def test_on_torch_an_upset_that_dies_out_leaves_every_bit_of_the_output(digits, root):
    runner = Runner(digits("int8"), "logits", threads=1, prefer="torch")
    with np.load(root / "scenarios" / "digits" / "digits_int8.npz") as data:
        feeds = {"image": data["image"][:50]}
    runner.calibrate([feeds])
    clean = runner.open()(feeds)
    masked = 0
    for trial in range(20):
        upset = Effect(mechanism="upset", law=ActivationUpset(count=1), trial=trial)
        masked += int(np.sum(np.all(runner.open(effects=[upset])(feeds) == clean, axis=1)))
    assert 200 < masked < 1000
