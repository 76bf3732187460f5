"""Laws of analog faults: determinism, identity at noise zero, budgets that hold, chains that compose."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from published import DAY, DRIFT, PROGRAM, RAW_DRIFT, READ, RELAX

from faultsim.corruption import Stored, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import (
    AnalogChain,
    AnalogLaw,
    ConductanceNoise,
    Drift,
    LogLine,
    ReadNoise1f,
    ReadNoiseRelative,
)
from faultsim.faults.analog import rectified
from faultsim.formats import ConductancePair, IntFormat, absmax
from faultsim.rng import generator

MakeStored = Callable[..., Stored]
LAWS: list[AnalogLaw] = [RELAX, PROGRAM, RAW_DRIFT, DRIFT, READ, ReadNoiseRelative(sigma=0.01),
                         ReadNoiseRelative(sigma=0.05, relative_to="g")]  # fmt: skip


def pairs(make_stored: MakeStored, channels: int = 20) -> Stored:
    weights = np.random.default_rng(2).normal(0, 0.1, (channels, 100)).astype(np.float32)
    return make_stored(weights, ConductancePair(0.0, 25.0, absmax(weights, axis=0)))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
def test_the_same_key_gives_the_same_delta(law: AnalogLaw, make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    one, two, other = (law.sample(stored, generator(0, t)).delta for t in (0, 0, 1))
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
def test_budgets_hold_with_their_confidence(law: AnalogLaw, make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    deltas = [law.sample(stored, generator(0, t)).delta.ravel().astype(np.float64) for t in range(200)]
    for p in (1, 2, math.inf):
        budget = law.budget(stored, p=p, confidence=0.9)
        held = sum(bool(np.linalg.norm(d, p) <= budget.eps) for d in deltas)
        assert 155 <= held <= 200, p
    np.testing.assert_allclose(np.std(deltas, axis=0).mean(), law.std(stored).mean(), rtol=0.03)


@pytest.mark.parametrize(
    "law",
    [ConductanceNoise(sigma_poly=((0.0,),)), ReadNoiseRelative(sigma=0.0),
     ReadNoise1f(t_read_s=1.0, c=0.0, exponent=0.0, max=0.0),
     Drift(t0_s=1.0, nu_mean=LogLine(0, 0, 0, 0), nu_std=LogLine(0, 0, 0, 0), compensation="global")],
    ids=lambda law: law.kind,
)  # fmt: skip
def test_noise_of_zero_is_the_identity(law: AnalogLaw, make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    edit = law.sample(stored, generator(0, 0))
    np.testing.assert_array_equal(apply_edit(edit, stored), stored.values)
    assert law.budget(stored, p=2, confidence=0.99).eps < 1e-6


def test_a_later_time_is_the_same_chip_aged(make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    chain = AnalogChain(laws=(PROGRAM, RAW_DRIFT))
    young, old = (chain.at(t).sample(stored, generator(0, 0)).delta + stored.values for t in (0.0, 3600.0))
    assert np.corrcoef(young.ravel(), old.ravel())[0, 1] > 0.98
    assert np.abs(old).sum() < np.abs(young).sum()
    just_programmed = PROGRAM.sample(stored, generator(0, 0)).delta
    np.testing.assert_allclose(young - stored.values, just_programmed, atol=1e-6)


def test_compensation_takes_the_common_gain_away(make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    raw, fixed = (AnalogChain(laws=(law,), t_s=DAY).sample(stored, generator(0, 0)).delta for law in (RAW_DRIFT, DRIFT))
    total = np.abs(stored.values).sum()
    assert np.abs(stored.values + raw).sum() < 0.75 * total
    assert np.abs(stored.values + fixed).sum() == pytest.approx(total, rel=1e-3)  # saturating channels count twice


def test_reads_can_be_split_off_a_chain(make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    chain = AnalogChain(laws=(PROGRAM, ReadNoiseRelative(sigma=0.01)), t_s=1.0)
    rest = chain.without_reads()
    assert rest is not None
    assert rest.laws == (PROGRAM,)
    step = np.broadcast_to(absmax(stored.values, axis=0), stored.values.shape)
    np.testing.assert_allclose(chain.read_std(stored), 0.01 * step, rtol=1e-6)
    alone = AnalogChain(laws=(ReadNoiseRelative(sigma=0.01),))
    assert alone.without_reads() is None
    np.testing.assert_allclose(alone.read_std(stored), 0.01 * step, rtol=1e-6)


def test_variances_of_two_laws_add(make_stored: MakeStored) -> None:
    stored = pairs(make_stored)
    flat = ConductanceNoise(sigma_poly=((0.5,),), clip=False)
    one, two = (
        flat.budget(stored, p=2, confidence=0.5),
        AnalogChain(laws=(flat, flat)).budget(stored, p=2, confidence=0.5),
    )
    assert two.eps == pytest.approx(one.eps * math.sqrt(2), rel=1e-9)


def test_sigma_is_linear_in_the_logarithm_of_time() -> None:
    pair, g = ConductancePair(0.0, 40.0), np.array([10.0])
    first, last = RELAX.sigma_uS(g, pair, 1.0), RELAX.sigma_uS(g, pair, DAY)
    np.testing.assert_allclose(RELAX.sigma_uS(g, pair, math.sqrt(DAY)), (first + last) / 2)
    np.testing.assert_array_equal(RELAX.sigma_uS(g, pair, 0.1), first)
    with pytest.raises(DeviceError, match="known up to 172800 s"):
        RELAX.sigma_uS(g, pair, 1e6)
    np.testing.assert_allclose(RELAX.sigma_uS(g / 2, ConductancePair(0.0, 20.0), 1.0), first / 2)


def test_rectified_moments_are_those_of_draws() -> None:
    mean, var = np.array([-1.0, 0.0, 0.3, 5.0]), np.array([1.0, 0.25, 0.0, 0.5])
    draws = np.maximum(0, np.random.default_rng(0).normal(mean, np.sqrt(var), (200_000, 4)))
    first, second = rectified(mean, var)
    np.testing.assert_allclose(first, draws.mean(axis=0), atol=0.006)
    np.testing.assert_allclose(second, draws.var(axis=0), atol=0.01)


def test_integer_codes_on_an_analog_device_are_rounded_back(make_stored: MakeStored) -> None:
    codes = np.array([127, -128, 0, 50], np.int8)
    stored = make_stored(codes, ConductancePair(0.0, 25.0, 128.0))
    out = apply_edit(PROGRAM.sample(stored, generator(0, 0)), stored)
    assert out.dtype == np.int8
    assert np.abs(out.astype(int) - codes).max() < 40


def test_an_analog_law_needs_an_analog_device(make_stored: MakeStored) -> None:
    stored = make_stored(np.ones(3, np.int8), IntFormat(8, dtype="int8"))
    with pytest.raises(DeviceError, match="stored as int8, but an analog law needs conductance pairs"):
        PROGRAM.sample(stored, generator(0, 0))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AnalogChain(laws=()), "at least one law"),
        (lambda: AnalogChain(laws=(PROGRAM,), t_s=-1.0), "t_s must be"),
        (lambda: ConductanceNoise(sigma_poly=()), "at least one tuple"),
        (lambda: ConductanceNoise(sigma_poly=((1.0,), (2.0,))), "give one each"),
        (lambda: ConductanceNoise(sigma_poly=((1.0,), (2.0,)), times_s=(2.0, 1.0)), "must rise"),
        (lambda: ConductanceNoise(sigma_poly=((1.0,),), g_ref_uS=0.0), "g_ref_uS must be above 0"),
        (lambda: Drift(t0_s=0.0, nu_mean=RAW_DRIFT.nu_mean, nu_std=RAW_DRIFT.nu_std), "t0_s above 0"),
        (lambda: Drift(**{**vars(RAW_DRIFT), "compensation": "all"}), "unknown drift"),
        (lambda: ReadNoise1f(t_read_s=0.0, c=1.0, exponent=-1.0, max=1.0), "t_read_s above 0"),
        (lambda: ReadNoiseRelative(sigma=-1.0), "sigma must be"),
        (lambda: ReadNoiseRelative(sigma=1.0, relative_to="w"), "'g_max' or 'g'"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_impossible_laws_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
