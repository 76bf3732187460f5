"""Wide biases held negative: the codes that are written, what a flip then does, and when the recipe takes it."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from faultsim.assessment import Options, assess
from faultsim.errors import OptionError
from faultsim.formats import IntFormat
from faultsim.harden import Training, harden
from faultsim.harden.biases import NegativeBiases, wide_biases
from faultsim.harden.blend import blended
from faultsim.harden.losses import After, Plain
from faultsim.harden.together import Together
from faultsim.harden.trainable import Trainable
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, brevitas_mlp
from tests.harden.test_harden import QUICK

BIASES = tuple(f"{layer}.bias_quantized" for layer in ("conv1", "conv2", "fc"))


def test_only_biases_of_many_bits_are_wide(int8):
    trainable = Trainable(int8)
    assert set(wide_biases(trainable, tuple(trainable.parameters))) == set(BIASES)
    assert wide_biases(trainable, ("conv1.weight_quantized",)) == ()
    floats = Trainable(load_model(DIGITS / "digits_float.onnx"))
    assert wide_biases(floats, tuple(floats.parameters)) == ()
    qonnx = Trainable(brevitas_mlp("qonnx"))
    assert wide_biases(qonnx, tuple(qonnx.parameters)) == ()


def test_the_bound_comes_down_to_a_code_of_minus_one_and_leaves_what_lies_below(int8):
    trainable = Trainable(int8)
    start = {name: leaf.detach() for name, leaf in trainable.leaves().items()}
    names = tuple(trainable.parameters)
    highest = []
    for progress in (0.0, 0.15, 0.3, 1.0):
        leaves = trainable.leaves()
        NegativeBiases(anneal=0.3).project(After(leaves, start, names, progress, trainable))
        numbers = trainable.numbers(leaves)
        highest.append(max(int(numbers[name].max()) for name in BIASES))
        for name in names:
            low = int8.numbers[name] < 0 if name in BIASES else np.ones_like(int8.numbers[name], bool)
            assert np.array_equal(numbers[name][low], int8.numbers[name][low])
    top = max(int(int8.numbers[name].max()) for name in BIASES)
    assert highest == [top, pytest.approx((top - 1) / 2, abs=1), -1, -1]
    other = trainable.leaves()
    NegativeBiases().project(After(other, start, ("fc.weight_quantized",), 1.0, trainable))
    assert all(torch.equal(other[name], start[name]) for name in names)


def test_on_the_way_back_they_are_held_where_a_step_of_the_training_holds_them(int8):
    trainable = Trainable(int8)
    initial = {name: leaf.detach() for name, leaf in trainable.leaves().items()}
    trained = {name: leaf.clone() for name, leaf in initial.items()}
    names = tuple(trainable.parameters)
    loss = Together(losses=(Plain(), NegativeBiases()))
    NegativeBiases(anneal=0).project(After(trained, initial, names, 1.0, trainable))
    asked = []

    def spares(numbers):
        asked.append(numbers)
        return len(asked) == 4

    way = blended(
        trainable, initial, trained, spares, lambda leaves: loss.hold(After(leaves, initial, names, 1.0, trainable))
    )
    assert way.part < 1
    for numbers in (*asked, trainable.numbers(way.leaves)):
        assert max(int(numbers[name].max()) for name in BIASES) == -1
    loose = blended(trainable, initial, trained, lambda numbers: True, None)
    assert loose.part == 1


def test_every_flip_of_an_upper_bit_but_the_sign_takes_a_negative_code_down():
    kept = IntFormat(bits=32, signed=True)
    for code in (-1, -97, -4893):
        word = int(kept.encode(np.array([code], np.int32)).astype(np.uint64)[0])
        moved = [int(kept.decode(np.array([word ^ (1 << bit)], np.uint64))[0]) for bit in range(16, 32)]
        assert all(found < code for found in moved[:-1])
        assert moved[-1] > code
    word = int(kept.encode(np.array([97], np.int32)).astype(np.uint64)[0])
    assert all(int(kept.decode(np.array([word ^ (1 << bit)], np.uint64))[0]) > 97 for bit in range(16, 31))


def test_held_negative_the_int8_model_survives_more_chips(int8):
    """No training: the logits move together, which changes no class, and hidden biases are cut."""
    numbers = {name: int8.numbers[name].astype(np.int64) for name in BIASES}
    numbers["fc.bias_quantized"] -= numbers["fc.bias_quantized"].max() + 1
    numbers = {name: np.minimum(array, -1).astype(np.int32) for name, array in numbers.items()}
    options = Options(trials=40, site_trials=0, search_gradients=1, search_samples=20, limit=200)
    data = DIGITS / "digits_int8.npz"
    before, after = (
        assess(model, "sram", data, options=options).random.accuracy.mean
        for model in (int8, load_model(int8.with_numbers(numbers)))
    )
    assert after > before + 0.15


def test_the_recipe_takes_it_where_the_validation_samples_say_so(tmp_path):
    training = Training(steps=60, batch_size=32, lr=2.5e-3, validate_every=30)
    options = replace(QUICK, losses=(), strength=None, search=2, search_part=1.0, radii=False, training=training)
    out = tmp_path / "out"
    done = harden("digits_int8", "sram", target=tmp_path / "h.onnx", out=out, options=options)
    tried = sorted(path.name for path in out.glob("strength-*"))
    own, other = "1-lr-0.0025", "1-clip+randbet+l_star+negative_bias-lr-0.0025"
    assert {f"strength-{own}", f"strength-{other}"} <= set(tried)
    scores = json.loads((out / "strengths.json").read_text())["scores"]
    better = scores[other] > scores[own] + 0.01
    assert done.result.training.loss.endswith("negative_bias") == better
    assert any(note.startswith("Validation scores ") for note in done.result.notes)
    assert better  # on these chips it is by far


def test_an_anneal_out_of_range_is_refused():
    with pytest.raises(OptionError, match=r"anneal is -1, it must lie in \[0, 1\]"):
        NegativeBiases(anneal=-1)
