"""Agreement of the analog laws and their budgets with aihwkit 1.1.0 and CrossSim 3.2.0."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from published import DAY, DRIFT, PROGRAM, RAW_DRIFT, READ, RELAX

from faultsim.corruption import Stored
from faultsim.faults import AnalogChain, AnalogLaw, ConductanceNoise
from faultsim.formats import ConductancePair, absmax
from faultsim.rng import generator

MakeStored = Callable[..., Stored]
Stats = dict[str, NDArray[Any]]
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
    key: str,
    laws: tuple[AnalogLaw, ...],
    g_max: float,
    g_min: float,
    aihwkit_stats: Stats,
    make_stored: MakeStored,
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
    key: str,
    laws: tuple[AnalogLaw, ...],
    g_max: float,
    g_min: float,
    aihwkit_stats: Stats,
    make_stored: MakeStored,
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
        ("PCM drift only raw 1mo", (RAW_DRIFT,), 2592000.0),
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
        # The reference removes the least-squares gain; a device knows only the ratio of its read-outs.
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
            weights + AnalogChain(laws=(PROGRAM, law, READ), t_s=t_s).sample(stored, generator(0, trial)).delta
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


def test_conductances_spread_as_in_crosssim(read_golden: Callable[[str], Any], make_stored: MakeStored) -> None:
    case = read_golden("crosssim.json")["models"]["RRAMWan"]
    g = np.array(case["target_norm"]) * case["gmax_uS"]
    cubic = np.array([1.053, 0.2374, -0.01167, 1.536e-4]) * 39.2 ** np.arange(4)  # reram_1t1r.yaml, from uS powers
    law = ConductanceNoise(sigma_poly=(tuple(cubic),))
    sigma = law.sigma_uS(g, ConductancePair(0.0, 39.2), 1.0)
    np.testing.assert_allclose(sigma[1:], np.array(case["std_uS"])[1:], rtol=0.02)  # the first stops at 0 there


@pytest.mark.parametrize(
    ("tile", "laws", "g_max", "time"),
    [("pcm_gdc0", (PROGRAM, RAW_DRIFT, READ), 25.0, t) for t in ("1s", "1h", "1d", "1mo")]
    + [("wan_gdc0", (RELAX,), 40.0, t) for t in ("1s", "1d", "2d")],
)
def test_weights_and_outputs_of_a_tile_are_as_far_off_as_in_aihwkit(
    tile: str,
    laws: tuple[AnalogLaw, ...],
    g_max: float,
    time: str,
    analog_golden: Path,
    read_golden: Callable[[str], Any],
    make_stored: MakeStored,
) -> None:
    golden = read_golden("aihwkit_tile_mvm.json")["tile"][tile][time]
    with np.load(analog_golden / "aihwkit_tile_mvm.npz") as archive:
        weights = archive["W"].astype(np.float32)
    stored = make_stored(weights, ConductancePair(0.0, g_max, absmax(weights)))
    inputs = np.random.default_rng(0).normal(size=(200, weights.shape[1]))
    chain = AnalogChain(laws=laws, t_s=TIMES[time])
    deltas = [chain.sample(stored, generator(0, trial)).delta for trial in range(60)]
    norm, output = np.linalg.norm(weights), np.linalg.norm(inputs @ weights.T)
    assert np.mean([np.linalg.norm(d) for d in deltas]) / norm == pytest.approx(golden["l2"]["mean"], rel=0.02)
    seen = np.mean([np.linalg.norm(inputs @ d.T) for d in deltas]) / output
    assert seen == pytest.approx(golden["yl2"]["mean"], rel=0.05)
    assert chain.budget(stored, p=2, confidence=0.5).eps / norm == pytest.approx(golden["l2"]["mean"], rel=0.02)
