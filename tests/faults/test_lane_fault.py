"""Lanes broken by configuration upsets: which numbers each effect changes, how often, and exact bounds."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_poisson, norms, stored, tensor
from scipy import stats

from faultsim.corruption import Corruption, Site, Stored, apply_edit
from faultsim.errors import OptionError
from faultsim.faults import lanes
from faultsim.faults.lane_fault import LaneFault
from faultsim.formats import BinaryFormat, FloatFormat, IntFormat, NumberFormat
from faultsim.rng import generator

EFFECTS = ("zero", "stuck", "negate", "crash")


def only(effect: str, **fields: Any) -> LaneFault:
    shares = tuple(float(name == effect) for name in EFFECTS)
    return LaneFault(**{"fit_per_mbit": 1e-6, "capacity_mbit": 148.0, "exposure_h": 1.0, "shares": shares,
                        "given_event": True, **fields})  # fmt: skip


def net() -> list[Stored]:
    """A convolution of 6 channels with a bias and a product of 4 channels without one, an embedding, a norm."""
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 128, (6, 3, 2, 2)).astype(np.int8)
    return [
        stored(values, IntFormat(8, dtype="int8"), "conv.w", layer="conv"),
        stored(rng.integers(-900, 900, 6).astype(np.int32), IntFormat(32, dtype="int32"), "conv.b", layer="conv",
               role="bias"),
        stored(rng.standard_normal((5, 4)).astype(np.float32), FloatFormat(), "fc.w", layer="fc", channel_axis=1),
        stored(np.ones((9, 2), np.float32), FloatFormat(), "embed.w", layer="embed", kind="embedding"),
        stored(np.ones(6, np.float32), FloatFormat(), "norm.w", layer="norm", role="norm", kind="norm"),
    ]  # fmt: skip


def draw(law: LaneFault, trial: int = 0, tensors: list[Stored] | None = None) -> dict[str, Any]:
    chip = net() if tensors is None else tensors
    return law.sample_chip(chip, lambda name: generator(0, trial, name))


@pytest.mark.parametrize("effect", ["zero", "stuck", "negate"])
def test_an_event_breaks_one_channel_of_one_layer(effect: str) -> None:
    chip = {one.site.name: one for one in net()}
    seen: Counter[tuple[str, int]] = Counter()
    for trial in range(600):
        edits = draw(only(effect), trial)
        after = {name: apply_edit(edit, chip[name]) for name, edit in edits.items()}
        weight = "fc.w" if "fc.w" in edits else "conv.w"
        before, now = (v if weight == "conv.w" else v.T for v in (chip[weight].values, after[weight]))
        (channel,) = np.unique(np.nonzero(before != now)[0])
        seen[weight, int(channel)] += 1
        if effect == "negate":
            want = np.clip(-before[channel].astype(np.float64), -128 if weight == "conv.w" else -np.inf,
                           127 if weight == "conv.w" else np.inf)  # fmt: skip
            np.testing.assert_array_equal(now[channel], want)
        else:
            assert not np.any(now[channel])
        assert set(edits) <= ({"conv.w", "conv.b"} if weight == "conv.w" else {"fc.w"})
        bias = chip["conv.b"].values.astype(np.int64)
        if weight == "conv.w":
            broken = {"zero": 0, "negate": -bias[channel], "stuck": np.abs(bias).max()}[effect]
            bias[channel] = broken
            np.testing.assert_array_equal(after.get("conv.b", chip["conv.b"].values), bias)
    assert set(seen) == {("conv.w", c) for c in range(6)} | {("fc.w", c) for c in range(4)}
    assert stats.chisquare(list(seen.values())).pvalue > 1e-4


def test_a_crash_is_counted_and_changes_nothing() -> None:
    law = only("crash", given_event=False, fit_per_mbit=3e9 / 148)
    counts = [law.draw(net(), lambda name, t=t: generator(0, t, name)) for t in range(600)]  # type: ignore[misc]
    assert all(not chip.edits for chip in counts)
    check_poisson([chip.crashes for chip in counts], 3.0)
    mixed = LaneFault(fit_per_mbit=4e9, capacity_mbit=1.0, exposure_h=1.0, shares=(0.5, 0.0, 0.0, 0.5))
    check_poisson(
        [mixed.draw(net(), lambda name, t=t: generator(0, t, name)).crashes for t in range(600)],  # type: ignore[misc]
        2.0,
    )


def test_the_rate_counts_the_accelerator_and_not_the_model() -> None:
    law = LaneFault(fit_per_mbit=3.5, capacity_mbit=148.0, exposure_h=8760.0, dvf=0.05, flux_factor=2.0)
    mean = 3.5 * 148 * 8760 * 2 * 0.05 * 1e-9
    assert law.expected_events(net()) == pytest.approx(mean, rel=1e-12)
    assert law.expected_events(net()[:1]) == pytest.approx(mean, rel=1e-12)
    assert law.probability(net()) == pytest.approx(-math.expm1(-mean))
    assert law.expected_events(net()[3:]) == 0.0
    assert draw(law, 0, net()[3:]) == {}


def test_equal_keys_give_equal_chips_whatever_the_order_of_the_tensors() -> None:
    law = LaneFault(fit_per_mbit=3e9, capacity_mbit=1.0, exposure_h=1.0, shares=(0.4, 0.3, 0.3, 0.0))
    for trial in range(30):
        assert Corruption(draw(law, trial)) == Corruption(draw(law, trial, net()[::-1]))
    assert len({Corruption(draw(law, trial)) for trial in range(30)}) > 20


def test_a_lane_that_is_negated_twice_is_right_again() -> None:
    one = stored(np.array([[3.0, -2.0]]), IntFormat(8))
    counts = Counter(
        only("negate", fit_per_mbit=3e9 / 148).sample(one, generator(0, t)).indices.size for t in range(60)
    )
    assert set(counts) == {0, 2}


def test_zero_is_the_zero_point_of_the_layer() -> None:
    codes = np.random.default_rng(0).normal(130, 20, (4, 20)).clip(0, 255).astype(np.uint8)
    weight = stored(codes, IntFormat(8, signed=False, dtype="uint8"), layer="l")
    zero = stored(np.array(128, np.uint8), IntFormat(8, signed=False, dtype="uint8"), "z", layer="l",
                  role="zero_point")  # fmt: skip
    inputs = stored(np.array(3, np.uint8), IntFormat(8, signed=False, dtype="uint8"), "x", layer="l",
                    role="zero_point")  # fmt: skip
    assert lanes.real_zero(weight, [weight, zero, inputs]).tolist() == [128] * 4
    assert lanes.real_zero(weight, [weight]).tolist() == [0] * 4
    broken = apply_edit(draw(only("zero"), 0, [weight, zero, inputs])["w"], weight)
    assert np.count_nonzero(np.all(broken == 128, axis=1)) == 1
    turned = apply_edit(draw(only("negate"), 0, [weight, zero, inputs])["w"], weight)
    (row,) = np.unique(np.nonzero(turned != codes)[0])
    np.testing.assert_array_equal(turned[row], (256 - codes[row].astype(np.int64)).clip(0, 255))


def test_lanes_of_a_site_are_its_channels() -> None:
    site = Site(name="w", shape=(3, 4, 5), format=FloatFormat(), layer="l", kind="gemm", role="weight", depth=0,
                channel_axis=-1)  # fmt: skip
    assert lanes.channels(site) == 5
    np.testing.assert_array_equal(lanes.lane_elements(site, 2), np.arange(60).reshape(3, 4, 5)[..., 2].ravel())
    np.testing.assert_array_equal(lanes.matrix(site), np.arange(60).reshape(12, 5))


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
@pytest.mark.parametrize("effect", ["zero", "stuck", "negate"])
def test_every_format_has_a_zero_and_a_negative(fmt: NumberFormat, effect: str) -> None:
    one = tensor(fmt, 30)
    edit = only(effect).sample(one, generator(0, 0))
    after = apply_edit(edit, one)
    (row,) = np.unique(edit.indices // 30) if edit.indices.size else (0,)
    unsigned = isinstance(fmt, IntFormat) and not fmt.signed
    if effect == "negate" and not unsigned:
        lowest = fmt.decode(fmt.encode(-one.values))
        np.testing.assert_array_equal(after[row], lowest[row])
    elif effect != "negate":
        want = fmt.decode(fmt.encode(np.zeros_like(one.values)))[row]
        np.testing.assert_array_equal(after[row], want)
        assert np.all(want == 0) or isinstance(fmt, BinaryFormat)
    law = LaneFault(fit_per_mbit=1.0, capacity_mbit=1e9, exposure_h=0.7, shares=(0.3, 0.3, 0.2, 0.2))
    check_budgets(law, one, trials=100)


@pytest.mark.parametrize("confidence", [0.5, 0.9])
@pytest.mark.parametrize("given_event", [True, False])
def test_the_bound_is_the_quantile(confidence: float, given_event: bool) -> None:
    one = tensor(FloatFormat(), 12, channel_axis=1)
    law = LaneFault(fit_per_mbit=1.0, capacity_mbit=1e9, exposure_h=0.9, shares=(0.4, 0.0, 0.4, 0.2),
                    given_event=given_event)  # fmt: skip
    seen = norms(law, one, 3000)
    for p, found in ((1, seen.one), (2, seen.two), (math.inf, seen.top)):
        budget = law.budget(one, p=p, confidence=confidence)
        low, high = np.quantile(found, [confidence - 0.035, confidence + 0.035])
        assert low * 0.98 <= budget.eps <= high * 1.02, p
        assert budget.conditional is given_event
        assert budget.n in np.quantile(seen.count, [confidence - 0.035, confidence, confidence + 0.035])


def test_the_bound_of_a_bias_takes_its_own_numbers() -> None:
    bias = net()[1]
    for effect, change in (("zero", np.abs(bias.values)), ("negate", 2 * np.abs(bias.values)),
                           ("stuck", np.abs(np.abs(bias.values).max() - bias.values))):  # fmt: skip
        budget = only(effect).budget(bias, p=math.inf, confidence=0.99)
        assert (budget.n, budget.eps) == (1, change.max())
    assert only("zero").budget(net()[4], p=2, confidence=0.9).n == 0
    assert only("zero").sample(bias, generator(0, 0)).indices.size == 0


def test_no_rate_changes_nothing() -> None:
    law = LaneFault(fit_per_mbit=0.0, capacity_mbit=148.0, exposure_h=1.0)
    assert draw(law) == {}
    budget = law.budget(net()[0], p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"capacity_mbit": -1.0}, "capacity_mbit must be finite"),
        ({"dvf": 2.0}, "dvf must be between 0 and 1, got 2"),
        ({"shares": (0.5, 0.1, 0.1, 0.1)}, "four probabilities that add up to 1"),
        ({"shares": (1.0,)}, "four probabilities"),
        ({"dvf": 0.0}, "no event can happen"),
    ],
)
def test_impossible_laws_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        only("zero", **fields)
