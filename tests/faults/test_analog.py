"""Laws of analog faults, and agreement with aihwkit 1.1.0 and CrossSim 3.2.0."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

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
Stats = dict[str, NDArray[Any]]
DAY = 86400.0
# pcm_analog.yaml and reram_1t1r.yaml (aihwkit 1.1.0, status verified)
PROGRAM = ConductanceNoise(sigma_poly=((0.26348, 1.9650, -1.1731),))
RAW_DRIFT = Drift(
    t0_s=20.0, nu_mean=LogLine(-0.0155, 0.0244, 0.049, 0.1), nu_std=LogLine(-0.0125, -0.0059, 0.008, 0.045)
)
DRIFT = Drift(t0_s=20.0, nu_mean=RAW_DRIFT.nu_mean, nu_std=RAW_DRIFT.nu_std, compensation="global")
READ = ReadNoise1f(t_read_s=2.5e-7, c=0.0088, exponent=-0.65, max=0.2)
RELAX = ConductanceNoise(
    sigma_poly=(
        (0.348, 16.030, -43.853, 45.393, -16.815),
        (0.701, 22.086, -50.773, 47.095, -16.458),
        (0.782, 20.274, -43.507, 37.062, -11.934),
    ),
    times_s=(1.0, DAY, 2 * DAY),
    g_ref_uS=40.0,
)
TIMES = {"1s": 1.0, "1h": 3600.0, "1d": DAY, "2d": 2 * DAY, "1mo": 2592000.0, "1y": 31536000.0}
CASES = (
    [("pcm_like_g25/prog", (PROGRAM,), 25.0, 0.0)]
    + [(f"pcm_like_g25/{t}", (PROGRAM, RAW_DRIFT, READ), 25.0, 0.0) for t in ("1s", "1h", "1d", "1mo", "1y")]
    + [(f"pcm_like_g25_noread/{t}", (PROGRAM, RAW_DRIFT), 25.0, 0.0) for t in ("1h", "1y")]
    + [(f"pcm_like_g25_gmin0.25/{t}", (PROGRAM, RAW_DRIFT, READ), 25.0, 0.25) for t in ("1s", "1y")]
    + [(f"reram_wan2022_g40/{t}", (RELAX,), 40.0, 0.0) for t in ("1s", "1d", "2d")]
)


def chain_at(key: str, laws: tuple[AnalogLaw, ...]) -> AnalogChain:
    return AnalogChain(laws=laws, t_s=TIMES.get(key.split("/")[1], 1.0))


@pytest.mark.parametrize(("key", "laws", "g_max", "g_min"), CASES, ids=[case[0] for case in CASES])
def test_weights_spread_as_in_aihwkit(
    key: str, laws: tuple[AnalogLaw, ...], g_max: float, g_min: float, aihwkit_stats: Stats, make_stored: MakeStored
) -> None:
    copies = 20_000
    weights = np.repeat(aihwkit_stats["grid"].astype(np.float32)[:, None], copies, axis=1)
    stored = make_stored(weights, ConductancePair(g_min, g_max, 1.0))
    chain = chain_at(key, laws)
    seen = weights + chain.sample(stored, generator(0, 0, key)).delta
    mean, std = aihwkit_stats[f"{key}/mean"], aihwkit_stats[f"{key}/std"]
    # Both sides are samples, of 40,000 and of `copies` chips: 5 sigma of the difference.
    assert np.all(np.abs(seen.mean(axis=1) - mean) < 5 * std * math.sqrt(1 / copies + 1 / 40_000))
    np.testing.assert_allclose(seen.std(axis=1), std, rtol=0.035)
    np.testing.assert_allclose(np.quantile(seen, 0.05, axis=1), aihwkit_stats[f"{key}/q"][1], atol=0.012)


@pytest.mark.parametrize(("key", "laws", "g_max", "g_min"), CASES, ids=[case[0] for case in CASES])
def test_closed_moments_are_those_of_aihwkit(
    key: str, laws: tuple[AnalogLaw, ...], g_max: float, g_min: float, aihwkit_stats: Stats, make_stored: MakeStored
) -> None:
    weights = aihwkit_stats["grid"].astype(np.float32)
    moments = chain_at(key, laws).moments(make_stored(weights, ConductancePair(g_min, g_max, 1.0)))
    mean, std = aihwkit_stats[f"{key}/mean"], aihwkit_stats[f"{key}/std"]
    np.testing.assert_allclose(weights + moments.mean, mean, atol=6 * float(std.max()) / math.sqrt(40_000))
    np.testing.assert_allclose(moments.std, std, rtol=0.05)


@pytest.mark.parametrize(
    ("name", "laws", "t_s"),
    [
        ("PCM programming", (PROGRAM,), 0.0),
        ("PCM drift only raw 1h", (RAW_DRIFT,), 3600.0),
        ("PCM drift residual after GDC 1h", (DRIFT,), 3600.0),
        ("PCM prog(+)drift(+)read after GDC 1h", (PROGRAM, DRIFT, READ), 3600.0),
        ("PCM drift only raw 1d", (RAW_DRIFT,), DAY),
        ("PCM drift residual after GDC 1d", (DRIFT,), DAY),
        ("PCM prog(+)drift(+)read after GDC 1d", (PROGRAM, DRIFT, READ), DAY),
        ("PCM drift residual after GDC 1mo", (DRIFT,), 2592000.0),
        ("PCM prog(+)drift(+)read after GDC 1mo", (PROGRAM, DRIFT, READ), 2592000.0),
        ("PCM drift only raw 1y", (RAW_DRIFT,), 31536000.0),
        ("PCM drift residual after GDC 1y", (DRIFT,), 31536000.0),
        ("PCM prog(+)drift(+)read after GDC 1y", (PROGRAM, DRIFT, READ), 31536000.0),
        ("Wan relaxation 1s", (RELAX,), 1.0),
        ("Wan relaxation 1d", (RELAX,), DAY),
    ],
)
def test_budgets_are_the_norms_that_aihwkit_makes(
    name: str,
    laws: tuple[AnalogLaw, ...],
    t_s: float,
    aihwkit_stats: Stats,
    read_golden: Callable[[str], Any],
    make_stored: MakeStored,
) -> None:
    weights = aihwkit_stats["gauss_w"]
    stored = make_stored(weights, ConductancePair(0.0, 40.0 if laws[0] is RELAX else 25.0, 1.0))
    chain = AnalogChain(laws=laws, t_s=t_s)
    norm = float(np.linalg.norm(weights))
    want = {row["name"]: row["aihwkit"] for row in read_golden("constraint_vs_aihwkit.json")}[name]
    drawn = [chain.sample(stored, generator(0, t)).delta for t in range(20)]
    seen = float(np.mean([np.linalg.norm(delta) for delta in drawn])) / norm
    assert chain.budget(stored, p=2, confidence=0.5).eps / norm == pytest.approx(seen, rel=0.01)
    if "residual" in name:
        # The reference removes the least-squares gain; a device knows only the ratio of its read-outs: 2 to 4 % more.
        assert want < seen < 1.04 * want
        chips = [weights + delta for delta in drawn]
        seen = float(np.mean([np.linalg.norm(w * (w @ weights) / (w @ w) - weights) for w in chips])) / norm
    assert seen == pytest.approx(want, rel=0.02)


@pytest.mark.parametrize(("time", "t_s"), [("1h", 3600.0), ("1d", DAY), ("1mo", 2592000.0)])
def test_the_compensating_gain_is_that_of_an_aihwkit_tile(
    time: str, t_s: float, analog_golden: Path, read_golden: Callable[[str], Any], make_stored: MakeStored
) -> None:
    golden = read_golden("aihwkit_tile_mvm.json")["tile"]["pcm_gdc1"][time]
    with np.load(analog_golden / "aihwkit_tile_mvm.npz") as archive:
        weights = archive["W"].astype(np.float32)
    stored = make_stored(weights, ConductancePair(0.0, 25.0, absmax(weights)))
    gains, outputs = [], []
    inputs = np.random.default_rng(0).normal(size=(200, weights.shape[1]))
    for trial in range(60):
        raw, fixed = (
            weights
            + AnalogChain(laws=(PROGRAM, law, READ), t_s=t_s).sample(stored, generator(0, trial)).delta
            for law in (RAW_DRIFT, DRIFT)
        )
        gains.append(np.linalg.norm(fixed) / np.linalg.norm(raw))
        outputs.append(np.linalg.norm(inputs @ (fixed - weights).T) / np.linalg.norm(inputs @ weights.T))
    assert np.mean(gains) == pytest.approx(golden["alpha"]["mean"], rel=0.02)
    assert np.mean(outputs) == pytest.approx(golden["yl2"]["mean"], rel=0.05)


@pytest.mark.parametrize(("time", "t_s"), [("1s", 1.0), ("1d", DAY), ("2d", 2 * DAY)])
def test_relaxation_quantiles_are_those_of_aihwkit(
    time: str, t_s: float, aihwkit_stats: Stats, read_golden: Callable[[str], Any], make_stored: MakeStored
) -> None:
    golden = read_golden("aihwkit_weight_stats.json")["models"]["reram_wan2022_g40"]["gauss"][time]
    stored = make_stored(aihwkit_stats["gauss_w"], ConductancePair(0.0, 40.0, 1.0))
    chain = AnalogChain(laws=(RELAX,), t_s=t_s)
    assert chain.budget(stored, p=2, confidence=0.99).eps == pytest.approx(golden["l2"]["q99"], rel=0.02)
    assert chain.budget(stored, p=1, confidence=0.5).eps == pytest.approx(golden["l1"]["mean"], rel=0.03)
    assert chain.budget(stored, p=math.inf, confidence=0.5).eps == pytest.approx(golden["linf"]["mean"], rel=0.1)


def test_conductances_spread_as_in_crosssim(
    read_golden: Callable[[str], Any], make_stored: MakeStored
) -> None:
    case = read_golden("crosssim.json")["models"]["RRAMWan"]
    g = np.array(case["target_norm"]) * case["gmax_uS"]
    cubic = np.array([1.053, 0.2374, -0.01167, 1.536e-4]) * 39.2 ** np.arange(4)  # reram_1t1r.yaml, from uS powers
    law = ConductanceNoise(sigma_poly=(tuple(cubic),))
    sigma = law.sigma_uS(g, ConductancePair(0.0, 39.2), 1.0)
    np.testing.assert_allclose(sigma[1:], np.array(case["std_uS"])[1:], rtol=0.02)  # the first stops at 0 there


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
    [ConductanceNoise(sigma_poly=((0.0,),)), ReadNoiseRelative(sigma=0.0), ReadNoise1f(t_read_s=1.0, c=0.0, exponent=0.0, max=0.0),
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
    one, two = flat.budget(stored, p=2, confidence=0.5), AnalogChain(laws=(flat, flat)).budget(stored, p=2, confidence=0.5)
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
        (lambda: Drift(t0_s=1.0, nu_mean=RAW_DRIFT.nu_mean, nu_std=RAW_DRIFT.nu_std, compensation="all"), "unknown drift"),  # type: ignore[arg-type]
        (lambda: ReadNoise1f(t_read_s=0.0, c=1.0, exponent=-1.0, max=1.0), "t_read_s above 0"),
        (lambda: ReadNoiseRelative(sigma=-1.0), "sigma must be"),
        (lambda: ReadNoiseRelative(sigma=1.0, relative_to="w"), "'g_max' or 'g'"),  # type: ignore[arg-type]
    ],
)  # fmt: skip
def test_impossible_laws_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
