"""Batches of which clean weights see one half and corrupted ones the other."""

from dataclasses import replace

import numpy as np
import pytest

from faultsim.device import load_device
from faultsim.engine.scored import scored_output
from faultsim.errors import OptionError
from faultsim.harden import Training, harden
from faultsim.harden.ball import Ball
from faultsim.harden.batch import BatchAt
from faultsim.harden.clipping import WeightClipping
from faultsim.harden.curve import Judged
from faultsim.harden.losses import CorruptionResistant, GradientRegularised, Plain, SharpnessAware, evaluate
from faultsim.harden.noise import NoiseAware, RandomBitErrors
from faultsim.harden.samples import Samples
from faultsim.harden.strength import splits
from faultsim.harden.target import Target
from faultsim.harden.together import Together
from faultsim.harden.train import train
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, Arrays, batch_of
from tests.harden.test_harden import QUICK

SHORT = replace(QUICK, radii=False, training=Training(steps=2, batch_size=32, split_batch=True))


@pytest.mark.parametrize(
    "loss",
    [RandomBitErrors(alpha=0.25), CorruptionResistant(ball=Ball(eps=0.2), alpha=0.4)],
    ids=["randbet", "l_star"],
)
def test_clean_weights_see_one_half_and_corrupted_ones_the_other(smooth, points, loss):
    x, y = points
    trainable = Trainable(smooth)
    data = Samples(Arrays(smooth.inputs[0].name, x, y), np.arange(len(x)), smooth.inputs)
    target = Target(smooth, Classification(), scored_output(smooth), data, towards="labels", batch_size=len(x))
    half = len(x) // 2
    first, second = target.batch(np.arange(half)), target.batch(np.arange(half, len(x)))

    def at(part, other=None):
        leaves = trainable.leaves()
        return BatchAt(trainable, leaves, *part, names=tuple(trainable.parameters), seed=3, step=1, other=other)

    value, grads = evaluate(loss, at(first, second))
    clean = at(first).clean
    seen = at(first, second)
    asked = []
    whole = seen.at
    seen.at = lambda deltas, **how: asked.append(deltas) or whole(deltas, **how)  # type: ignore[method-assign]
    loss.share(seen)
    corrupted = at(second).at(next(deltas for deltas in asked if deltas is not None))
    assert value == pytest.approx((1 - loss.alpha) * clean.loss + loss.alpha * corrupted.loss)
    for name, grad in grads.items():
        wanted = (1 - loss.alpha) * clean.grads[name] + loss.alpha * corrupted.grads[name]
        assert grad.numpy() == pytest.approx(wanted.numpy(), abs=1e-12)


def test_every_sample_is_seen_once_an_epoch_and_the_halves_share_none(smooth, points, monkeypatch):
    x, y = points
    seen = []
    data = Samples(Arrays(smooth.inputs[0].name, x, y), np.arange(len(x)), smooth.inputs)
    target = Target(smooth, Classification(), scored_output(smooth), data, towards="labels", batch_size=len(x))
    batch = target.batch
    monkeypatch.setattr(target, "batch", lambda rows: seen.append(rows) or batch(rows))
    size = len(x) // 2
    options = Training(epochs=1, batch_size=size, split_batch=True, lr=1e-4)
    trainable = Trainable(smooth)
    loss = RandomBitErrors()
    train(
        trainable, data, target, loss, lambda numbers: Judged(0.0, 0.0, 0.0), options, names=tuple(trainable.parameters)
    )
    assert [len(rows) for rows in seen] == [size - size // 2, size // 2] * 2
    assert sorted(np.concatenate(seen).tolist()) == list(range(2 * size))


@pytest.mark.parametrize(
    ("loss", "both"),
    [
        (Plain(), False),
        (GradientRegularised(), False),
        (CorruptionResistant(), True),
        (SharpnessAware(), True),
        (RandomBitErrors(), True),
        (RandomBitErrors(alpha=1.0), False),
        (NoiseAware(device=load_device("reram")), True),
        (NoiseAware(device=load_device("reram"), alpha=1.0), False),
        (Together(losses=(WeightClipping(), RandomBitErrors())), True),
        (Together(losses=(WeightClipping(), RandomBitErrors(alpha=1.0))), False),
    ],
)
def test_only_losses_with_both_passes_split(loss, both):
    assert loss.two_passes is both


@pytest.mark.parametrize(
    ("losses", "changes", "message"),
    [
        (("l_a",), {}, "a clean loss and a corrupted one, and l_a has one of them alone; leave it out, or use l_star"),
        (("clip", "randbet"), {"alpha": 1.0}, r"and clip\+randbet has one of them alone"),
        (("noise",), {"strength": 1.0}, "and noise at strength 1 has one of them alone"),
        (("noise", "randbet"), {"strength": 1.0}, r"noise\+randbet has one .* below 1 in all"),
        (("noise", "randbet"), {"strength": None}, r"and noise\+randbet has one of them alone"),
    ],
)
def test_what_cannot_be_split_is_refused(tmp_path, losses, changes, message):
    with pytest.raises(OptionError, match=message):
        harden("digits", "sram", target=tmp_path / "h.onnx", options=replace(SHORT, losses=losses, **changes))
    with pytest.raises(OptionError, match="a batch of 1 cannot be split"):
        Training(batch_size=1, split_batch=True)


@pytest.mark.parametrize(
    ("loss", "both"),
    [
        (Plain(), False),
        (GradientRegularised(), False),
        (SharpnessAware(), True),
        (RandomBitErrors(alpha=0.9), True),
        (NoiseAware(device=load_device("sram"), alpha=0.5).with_strength(1.0), False),
        (Together(losses=(NoiseAware(device=load_device("sram")), WeightClipping())), True),
        (Together(losses=(NoiseAware(device=load_device("sram")), WeightClipping()), factor=2.0), False),
        (Together(losses=(RandomBitErrors(), NoiseAware(device=load_device("sram")))), False),
        (Together(losses=(RandomBitErrors(), NoiseAware(device=load_device("sram"), alpha=0.4))), True),
        (Together(losses=(RandomBitErrors(), NoiseAware(device=load_device("sram")), CorruptionResistant())), True),
    ],
)
def test_both_halves_are_used_or_none_is_made(digits, loss, both):
    """The law: a batch is split where clean and corrupted weights both see a part of it."""
    assert splits(loss) is both
    at = batch_of(load_model(DIGITS / "digits_float.onnx"), digits[0][:8], digits[1][:8])
    asked = set()
    whole, graph = at.at, at.graph
    at.at = lambda deltas, **how: asked.add(deltas is None) or whole(deltas, **how)  # type: ignore[method-assign]
    at.graph = lambda: asked.add(True) or graph()  # type: ignore[method-assign]
    evaluate(loss, at)
    assert (asked == {True, False}) is both


def test_a_search_ends_before_the_clean_half_would_be_thrown_away(tmp_path):
    options = replace(SHORT, losses=("noise",), strength=None, search=3)
    options = replace(options, training=replace(SHORT.training, lr=1e-4))
    tried = harden("digits", "sram", target=tmp_path / "h.onnx", options=options).result.training.strengths
    assert [one.strength for one in tried] == [0.5, 0.25]


def test_a_split_training_is_stated_and_repeats_itself(tmp_path):
    options = replace(SHORT, losses=("l_star",))
    done = [harden("digits", "reram", target=tmp_path / f"{i}.onnx", options=options) for i in range(2)]
    assert done[0].result.training.options["split_batch"] is True
    first, second = (one.trained.numbers for one in done)
    assert all(np.array_equal(first[name], second[name]) for name in first)
