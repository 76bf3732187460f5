"""Losses and their gradients against closed forms, other code paths of the model, and central differences."""

import math

import numpy as np
import pytest
import torch

from faultsim.constraints.closed_form import argmax_lp_l0
from faultsim.corruption import apply_edit
from faultsim.device import load_device
from faultsim.errors import OptionError
from faultsim.formats import IntFormat, quantize_symmetric
from faultsim.harden.ball import Ball
from faultsim.harden.clipping import WeightClipping
from faultsim.harden.losses import (
    CorruptionResistant,
    GradientL1,
    GradientRegularised,
    Plain,
    SharpnessAware,
    evaluate,
)
from faultsim.harden.noise import BitSliceL1, NoiseAware, RandomBitErrors
from faultsim.harden.together import Together
from faultsim.model import load_model
from tests.harden.conftest import batch_of, mean_loss, numeric_gradient, smooth_mlp


def _gradient(model, x, y, numbers=None):
    """The model's own gradient, another path than the one under test."""
    names = [site.name for site in model.sites]

    def loss(outputs):
        return torch.nn.functional.cross_entropy(next(iter(outputs.values())), torch.from_numpy(y))

    return model.gradient({"x": x}, loss, sites=names, numbers=numbers)


def _flat(grads):
    return np.concatenate([np.asarray(grads[name]).reshape(-1) for name in ("w1", "b1", "w2", "b2")])


def _split(flat, like):
    out, start = {}, 0
    for name in ("w1", "b1", "w2", "b2"):
        size = like[name].size
        out[name] = flat[start : start + size].reshape(like[name].shape)
        start += size
    return out


def test_plain_is_the_task_loss(smooth, points):
    x, y = points
    value, grads = evaluate(Plain(), batch_of(smooth, x, y))
    own, theirs = _gradient(smooth, x, y)
    assert value == pytest.approx(own) == pytest.approx(mean_loss(smooth, x, y))
    for name, grad in grads.items():
        assert grad.numpy() == pytest.approx(theirs[name], rel=1e-12)


@pytest.mark.parametrize("p", [1.5, 2.0, math.inf])
def test_l_a_and_its_gradient_are_those_of_central_differences(smooth, points, p):
    x, y = points
    strength = 0.4
    loss = GradientRegularised(ball=Ball(p=p, eps=strength))
    value, grads = evaluate(loss, batch_of(smooth, x, y))
    at = dict(smooth.numbers)
    q = 1.0 if p == math.inf else p / (p - 1)

    def formula(numbers):  # arXiv 2006.05620, eq. 16
        own, g = _gradient(smooth, x, y, numbers)
        return own + strength * float((np.abs(_flat(g)) ** q).sum() ** (1 / q))

    assert value == pytest.approx(formula(at), rel=1e-9)
    numeric = numeric_gradient(formula, at)
    for name, grad in grads.items():
        assert grad.numpy() == pytest.approx(numeric[name], rel=2e-4, abs=2e-6)


@pytest.mark.parametrize("p", [2.0, math.inf])
@pytest.mark.parametrize("steps", [1, 2])
def test_l_star_is_the_mix_of_the_clean_and_the_corrupted_loss(smooth, points, p, steps):
    x, y = points
    loss = CorruptionResistant(ball=Ball(p=p, eps=0.2), alpha=0.3, virtual_steps=steps)
    value, grads = evaluate(loss, batch_of(smooth, x, y))
    clean, g = _gradient(smooth, x, y)
    moved, bent, corrupted = dict(smooth.numbers), g, clean
    for _ in range(steps):  # eq. 13, the virtual corruption taken again at the last one
        a = _split(argmax_lp_l0(_flat(bent), p=p, eps=0.2), g)
        moved = {name: smooth.numbers[name] + a[name] for name in a}
        corrupted, bent = _gradient(smooth, x, y, moved)
    assert value == pytest.approx(0.7 * clean + 0.3 * corrupted, rel=1e-6)
    for name, grad in grads.items():
        assert grad.numpy() == pytest.approx(0.7 * g[name] + 0.3 * bent[name], rel=1e-4, abs=1e-7)


def test_sam_is_l_star_with_alpha_one_and_takes_no_clean_part(smooth, points):
    x, y = points
    ball = Ball(p=2, eps=0.2)
    one, two = batch_of(smooth, x, y), batch_of(smooth, x, y)
    value, grads = evaluate(SharpnessAware(ball=ball), one)
    other, theirs = evaluate(CorruptionResistant(ball=ball, alpha=1.0), two)
    assert value == other
    assert all(torch.equal(grads[name], theirs[name]) for name in grads)
    assert one.evaluations == 2


def test_l_star_is_the_finite_difference_of_l_a(smooth, points):
    # MATH: with alpha = lambda / eps the two agree to first order in eps
    x, y = points
    base, _ = evaluate(Plain(), batch_of(smooth, x, y))
    gaps = []
    for eps in (1e-2, 1e-3):
        a, _ = evaluate(GradientRegularised(ball=Ball(eps=eps * 0.5)), batch_of(smooth, x, y))
        star, _ = evaluate(CorruptionResistant(ball=Ball(eps=eps), alpha=0.5), batch_of(smooth, x, y))
        gaps.append(abs(a - star) / (a - base))
    assert gaps[1] < gaps[0] / 5 < 0.05


def test_gradient_l1_is_l_a_for_p_inf(smooth, points):
    x, y = points
    ball = Ball(p=math.inf, eps=0.05)
    one, two = (evaluate(kind(ball=ball), batch_of(smooth, x, y)) for kind in (GradientL1, GradientRegularised))
    assert one[0] == two[0]
    with pytest.raises(OptionError, match="gradient_l1 is for p = inf, not p = 2"):
        GradientL1(ball=Ball(p=2.0))


def test_losses_together_add_what_each_adds_and_share_the_clean_pass(smooth, points):
    x, y = points
    parts = (
        CorruptionResistant(ball=Ball(eps=0.2), alpha=0.4),
        GradientRegularised(ball=Ball(eps=0.1)),
        RandomBitErrors(ber=0.05, alpha=0.3),
    )
    plain, base = evaluate(Plain(), batch_of(smooth, x, y))
    at = batch_of(smooth, x, y)
    value, grads = evaluate(Together(losses=parts), at)
    alone = [evaluate(one, batch_of(smooth, x, y)) for one in parts]
    assert value == pytest.approx(plain + sum(one - plain for one, _ in alone))
    for name in grads:
        expected = base[name] + sum(found[name] - base[name] for _, found in alone)
        assert grads[name].numpy() == pytest.approx(expected.numpy(), rel=1e-6, abs=1e-9)
    assert at.evaluations == 3  # one clean with its graph, one corrupted, one flipped
    doubled = Together(losses=parts).with_strength(2.0)
    again, _ = evaluate(doubled, batch_of(smooth, x, y))
    by_hand, _ = evaluate(
        Together(losses=tuple(one.with_strength(2 * one.strength) for one in parts)), batch_of(smooth, x, y)
    )
    assert again == by_hand != value


def test_random_bit_errors_flip_the_codes_of_the_weights(smooth, points):
    x, y = points
    at = batch_of(smooth, x, y, seed=3, step=5)
    seen = {}
    run = at.trainable.run

    def spy(feeds, leaves, deltas=None, *, of_codes=False):
        if deltas:
            seen.update({name: delta.numpy() for name, delta in deltas.items()})
        return run(feeds, leaves, deltas, of_codes=of_codes)

    at.trainable.run = spy
    value, _ = evaluate(RandomBitErrors(ber=0.1, bits=8, alpha=1.0), at)
    faulty = {name: smooth.numbers[name] + seen[name] for name in smooth.numbers}
    assert value == pytest.approx(mean_loss(smooth, x, y, faulty), rel=1e-6)
    flipped = total = 0
    for name, clean in smooth.numbers.items():
        kept = quantize_symmetric(clean, 8)
        words = np.rint(faulty[name] / float(kept.scale)).astype(np.int64)
        assert faulty[name] / float(kept.scale) == pytest.approx(words, abs=1e-4)  # a code, not something between
        changed = (words ^ np.rint(clean / float(kept.scale)).astype(np.int64)) & 0xFF
        flipped += sum(int(word).bit_count() for word in changed.reshape(-1))
        total += 8 * clean.size
    assert 0.02 < flipped / total < 0.25
    again, _ = evaluate(RandomBitErrors(ber=0.1, alpha=1.0), batch_of(smooth, x, y, seed=3, step=5))
    other, _ = evaluate(RandomBitErrors(ber=0.1, alpha=1.0), batch_of(smooth, x, y, seed=3, step=6))
    assert again == value != other


@pytest.mark.parametrize("name", ["reram", "sram"])
def test_noise_is_the_mean_loss_of_chips_that_the_device_draws(points, name):
    model = load_model(smooth_mlp())
    x, y = points
    device = load_device(name)
    at = batch_of(model, x, y, seed=1, step=2)
    stored = device.store({site.name: (site, model.numbers[site.name]) for site in model.sites})
    value, _ = evaluate(NoiseAware(device=device, alpha=1.0, chips=3), at)
    losses = []
    for trial in range(6, 9):
        edits = device.sample(stored, at.draw_seed("chips", device.sha256), trial)
        faulty = {k: apply_edit(edits[k], s) if k in edits else s.values for k, s in stored.items()}
        losses.append(mean_loss(model, x, y, faulty))
    assert value == pytest.approx(np.mean(losses), rel=1e-5)
    assert at.draw_seed("chips", device.sha256) != 1  # no chip of an assessment with the same seed


def test_noise_refuses_a_device_without_faults_of_numbers(monkeypatch):
    device = load_device("reram")
    monkeypatch.setattr(type(device), "acts_on_numbers", property(lambda self: False))
    with pytest.raises(OptionError, match="has no fault of stored numbers to train with; use --loss l_star"):
        NoiseAware(device=device)


def test_bit_slices_are_summed_and_pull_where_they_hold_something(int8, digits):
    x, y = digits
    loss = BitSliceL1(weight=0.5, bits=8, slice_bits=2)
    at = batch_of(int8, x[:4], y[:4])
    share = loss.share(at)
    weights = [site for site in int8.sites if site.role == "weight"]
    count = sum(site.elements for site in weights)
    total = 0
    for site in weights:
        codes = np.abs(int8.numbers[site.name].astype(np.int64))
        slices = [(codes >> shift) & 3 for shift in (0, 2, 4, 6)]
        total += int(sum(one.sum() for one in slices))
        pull = sum((one > 0) / 4.0**k for k, one in enumerate(slices)) * np.sign(int8.numbers[site.name])
        assert share.grads[site.name].numpy() == pytest.approx(0.5 / count * pull / site.scale, rel=1e-5)
        assert isinstance(site.format, IntFormat)
    assert share.loss == pytest.approx(0.5 * total / count)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CorruptionResistant(alpha=0.0), r"alpha is 0\.0, it must be above 0"),
        (lambda: CorruptionResistant(virtual_steps=0), r"virtual_steps is 0, it must be at least 1"),
        (lambda: SharpnessAware(alpha=0.5), r"sam has alpha = 1, not 0\.5; use l_star"),
        (lambda: RandomBitErrors(ber=2.0), r"ber is 2\.0, it must lie in \[0, 1\]"),
        (lambda: RandomBitErrors(bits=1), r"bits is 1, it must be from 2 to 16"),
        (lambda: WeightClipping(limit=0.0), r"limit is 0\.0, it must be above 0"),
        (lambda: WeightClipping(anneal=2.0), r"anneal is 2\.0, it must lie in \[0, 1\]"),
        (lambda: BitSliceL1(weight=-1.0), r"weight is -1\.0, it must be at least 0"),
        (lambda: Together(losses=()), "no loss was given to train with"),
    ],
)
def test_values_out_of_range_are_refused(make, message):
    with pytest.raises(OptionError, match=message):
        make()
