"""What each analog law says in its own words: times, units, places, published figures, refusals."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from published import DAY, DRIFT, HERMES_1, PROGRAM, RAW_DRIFT, SONOS, SONOS_DRIFT, SONOS_READ

from faultsim.budget import lognormal_radius, stuck_pair
from faultsim.corruption import Site, Stored
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import AnalogChain, AnalogLaw, ConductanceNoise, Drift, LogLine, ReadNoise1f
from faultsim.faults.curves import Polynomial, Table
from faultsim.faults.dead_line import DeadLine
from faultsim.faults.log_drift import LogDrift
from faultsim.faults.lognormal import Lognormal
from faultsim.faults.mean_drift import MeanDrift
from faultsim.faults.read_noise_log import ReadNoiseLog
from faultsim.faults.saturating_noise import SaturatingNoise
from faultsim.faults.stuck_cells import StuckCells
from faultsim.formats import ConductancePair
from faultsim.formats.conductance_offset import OffsetColumn, SingleDeviceOffset
from faultsim.rng import generator

MakeStored = Callable[..., Stored]
ReadGolden = Callable[[str], Any]
ONE = SingleDeviceOffset(0.0, 100.0, w_max=100.0, w_min=0.0)  # a weight of 7 is 7 uS


def drawn(law: AnalogLaw, g_uS: float, make_stored: MakeStored, *, count: int = 50_000) -> NDArray[np.float64]:
    """Conductances in uS that the law leaves of *count* devices programmed to *g_uS*."""
    stored = make_stored(np.full(count, g_uS, np.float32), ONE)
    return g_uS + law.sample(stored, generator(0, 0)).delta.astype(np.float64)


def test_a_lognormal_device_keeps_its_median(make_stored: MakeStored) -> None:
    g = drawn(Lognormal(sigma=0.3), 20.0, make_stored)
    assert np.median(g) == pytest.approx(20.0, rel=0.01)
    assert np.log(g / 20.0).std() == pytest.approx(0.3, rel=0.01)
    assert g.mean() == pytest.approx(20.0 * math.exp(0.045), rel=0.01)


def test_lognormal_weights_are_as_far_off_as_the_closed_form(read_golden: ReadGolden, make_stored: MakeStored) -> None:
    case = read_golden("mapping_checks.json")["lognormal s=.1"]
    weights = np.random.default_rng(0).normal(0, 0.1, 20_000).astype(np.float32)
    stored = make_stored(weights, ConductancePair(0.0, 25.0, float(np.abs(weights).max())))
    norm = float(np.linalg.norm(weights))
    for sigma in (0.1, 0.5):
        law = Lognormal(sigma=sigma)
        want = lognormal_radius(norm, sigma)
        assert law.budget(stored, p=2, confidence=0.5).eps == pytest.approx(want, rel=2e-3)
        seen = [np.linalg.norm(law.sample(stored, generator(0, t)).delta) for t in range(10)]
        assert np.mean(seen) == pytest.approx(want, rel=0.02)
    law = Lognormal(sigma=0.1)
    assert law.budget(stored, p=2, confidence=0.5).eps == pytest.approx(case["l2_mean"], rel=0.02)
    signs = np.sign(weights) * law.sample(stored, generator(0, 0)).delta
    assert signs.sum() / np.abs(weights).sum() == pytest.approx(case["bias"], abs=0.003)


@pytest.mark.parametrize(
    ("nu", "std", "t_s", "key"),
    [
        (0.05, 0.02, 86400.0, "drift nu=0.05+-0.02 t=86400s"),
        (0.05, 0.02, 2.592e6, "drift nu=0.05+-0.02 t=2.6e+06s"),
    ],  # the third, 0.1 +- 0.05, has negative exponents, which the law folds as aihwkit does
)
def test_drift_with_one_exponent_is_that_of_the_reference(
    nu: float, std: float, t_s: float, key: str, read_golden: ReadGolden, make_stored: MakeStored
) -> None:
    case = read_golden("mapping_checks.json")[key]
    weights = np.random.default_rng(1).normal(0, 0.1, 20_000).astype(np.float32)
    stored = make_stored(weights, ConductancePair(0.0, 25.0, float(np.abs(weights).max())))
    flat = [LogLine(0.0, value, value, value) for value in (nu, std)]
    raw, fixed = (
        Drift(t0_s=20.0, nu_mean=flat[0], nu_std=flat[1], compensation=how, t_s=t_s) for how in ("none", "global")
    )
    norm = float(np.linalg.norm(weights))
    delta = raw.sample(stored, generator(0, 0)).delta
    assert np.linalg.norm(delta) / norm == pytest.approx(case["rel_l2"], rel=0.02)
    assert np.abs(weights + delta).sum() / np.abs(weights).sum() == pytest.approx(case["gain"], rel=0.02)
    residual = fixed.sample(stored, generator(0, 0)).delta
    assert np.linalg.norm(residual) / norm == pytest.approx(case["resid_after_GDC"], rel=0.05)
    assert raw.budget(stored, p=2, confidence=0.5).eps / norm == pytest.approx(case["rel_l2"], rel=0.02)
    assert fixed.budget(stored, p=2, confidence=0.5).eps / norm == pytest.approx(case["resid_after_GDC"], rel=0.05)


def test_each_output_gets_a_gain_of_its_own(make_stored: MakeStored) -> None:
    weights = np.random.default_rng(1).normal(0, 0.1, (4, 500)).astype(np.float32)
    weights[2] *= 0.05  # small conductances drift faster
    stored = make_stored(weights, ConductancePair(0.0, 25.0, 0.5))
    law = Drift(t0_s=20.0, nu_mean=RAW_DRIFT.nu_mean, nu_std=RAW_DRIFT.nu_std, compensation="per_column", t_s=DAY)
    total = np.abs(weights).sum(axis=1)
    by_column = np.abs(weights + law.sample(stored, generator(0, 0)).delta).sum(axis=1)
    np.testing.assert_allclose(by_column, total, rtol=1e-3)
    global_law = Drift(t0_s=20.0, nu_mean=RAW_DRIFT.nu_mean, nu_std=RAW_DRIFT.nu_std, compensation="global", t_s=DAY)
    in_one = np.abs(weights + global_law.sample(stored, generator(0, 0)).delta).sum(axis=1)
    assert in_one[2] < 0.97 * total[2]
    assert law.budget(stored, p=2, confidence=0.5).eps < global_law.budget(stored, p=2, confidence=0.5).eps
    turned = make_stored(weights.T.copy(), ConductancePair(0.0, 25.0, 0.5))
    turned = turned._replace(site=Site(**{**vars(turned.site), "channel_axis": 1}))
    by_last = np.abs(turned.values + law.sample(turned, generator(0, 0)).delta).sum(axis=0)
    np.testing.assert_allclose(by_last, total, rtol=1e-3)


def test_log_drift_moves_with_the_logarithm_of_time(make_stored: MakeStored) -> None:
    law = LogDrift(t0_s=10.0, rate_mean=-0.5, rate_std=0.2, t_s=1000.0)
    length = math.log(101.0)
    g = drawn(law, 50.0, make_stored)
    assert g.mean() == pytest.approx(50.0 - 0.5 * length, abs=0.05)
    assert g.std() == pytest.approx(0.2 * length, rel=0.02)
    share = LogDrift(t0_s=10.0, rate_mean=-0.005, rate_std=0.002, unit="g_max", t_s=1000.0)
    np.testing.assert_allclose(drawn(share, 50.0, make_stored), g, rtol=1e-6)
    clocked = LogDrift(t0_s=10.0, rate_mean=-0.5, rate_std=0.2, start_std=0.1, clock="from_t0")
    assert clocked.log_time(5.0) == 0.0
    assert clocked.log_time(1000.0) == pytest.approx(math.log(100.0))
    assert np.std(drawn(clocked, 50.0, make_stored)) == pytest.approx(0.1, rel=0.02)
    assert drawn(LogDrift(t0_s=1.0, rate_mean=-9.0, rate_std=1.0, t_s=1e6), 50.0, make_stored).min() == 0.0


def test_a_later_time_is_the_same_chip_aged(make_stored: MakeStored) -> None:
    stored = make_stored(np.linspace(5, 50, 1000).astype(np.float32), ONE)
    chain = AnalogChain(
        laws=(PROGRAM, LogDrift(t0_s=1.0, rate_mean=-0.1, rate_std=0.2), StuckCells(p_lrs=0.01, p_hrs=0.01),
              DeadLine(p=0.05, rows=8, cols=100))
    )  # fmt: skip
    young, old = (stored.values + chain.at(t).sample(stored, generator(0, 0)).delta for t in (1.0, 1e6))
    broken = np.isin(young, (0.0, 100.0))
    assert 5 < broken.sum() < 200
    np.testing.assert_array_equal(young[broken], old[broken])
    assert np.corrcoef(young[~broken], old[~broken])[0, 1] > 0.95


def test_saturating_noise_is_linear_between_its_days(make_stored: MakeStored) -> None:
    law = SaturatingNoise(rows=((0, 1.0, 10.0), (2, 3.0, 20.0)))
    g = np.array([0.0, 5.0, 1000.0])
    np.testing.assert_allclose(law.sigma_uS(g, ONE, DAY), 2.0 * (1 - np.exp(-g / 15.0)))
    np.testing.assert_allclose(law.sigma_uS(-g, ONE, DAY), 0.0)
    share = SaturatingNoise(rows=((0, 0.01, 0.1), (2, 0.03, 0.2)), unit_uS=None)
    np.testing.assert_allclose(share.sigma_uS(g, ONE, DAY), law.sigma_uS(g, ONE, DAY))
    nano = SaturatingNoise(rows=((0, 100.0, 1000.0), (2, 300.0, 2000.0)), unit_uS=0.01)
    np.testing.assert_allclose(nano.sigma_uS(g, ONE, DAY), law.sigma_uS(g, ONE, DAY))
    assert np.std(drawn(law, 50.0, make_stored)) == pytest.approx(1.0 * (1 - math.exp(-5)), rel=0.02)
    with pytest.raises(DeviceError, match="known up to 2 days after programming, got 3"):
        law.sigma_uS(g, ONE, 3 * DAY)
    np.testing.assert_array_equal(SONOS_READ.sigma_uS(g, ONE, 0.0), SONOS_READ.sigma_uS(g, ONE, 100 * DAY))


def test_a_read_of_a_charge_trap_cell_is_not_its_programming() -> None:
    assert SONOS_READ.transient
    assert not SONOS.transient
    chain = AnalogChain(laws=(SONOS_DRIFT, SONOS, SONOS_READ))
    rest = chain.without_reads()
    assert rest is not None
    assert rest.laws == (SONOS_DRIFT, SONOS)


def test_a_drift_of_the_mean_is_linear_between_its_times(make_stored: MakeStored) -> None:
    law = MeanDrift(times_s=(10.0, 20.0), shifts=((1.0, 0.1), (2.0,)))
    g = np.array([0.0, 40.0], np.float32)
    for t_s, want in ((0.0, (0, 0)), (5.0, (0.5, 2.5)), (10.0, (1, 5)), (15.0, (1.5, 3.5)), (20.0, (2, 2))):
        np.testing.assert_allclose(law.shift_uS(g, t_s), want, rtol=1e-6)
    assert law.shift_uS(g, 5.0).dtype == np.float32
    with pytest.raises(DeviceError, match="known up to 20 s after programming, got 21 s"):
        law.shift_uS(g, 21.0)
    np.testing.assert_allclose(drawn(law, 40.0, make_stored, count=3), 43.0 - 3.0 + 0.5)  # its own t_s is 1 s
    same = MeanDrift(times_s=(10.0,), shifts=((100.0, 0.1),), unit_uS=0.01)
    np.testing.assert_allclose(same.shift_uS(g, 10.0), (1, 5), rtol=1e-6)


def test_log_read_noise_grows_with_the_conductance_and_stays_in_range(make_stored: MakeStored) -> None:
    law = ReadNoiseLog(k_uS=0.5, t_read_s=1e-6)
    time = math.sqrt(math.log((1 + 1e-6) / 2e-6))
    np.testing.assert_allclose(law.sigma_uS(np.array([0.1, 1.0, 10.0, 100.0]), 1.0), [0, 0, 0.5 * time, time])
    assert np.std(drawn(law, 10.0, make_stored)) == pytest.approx(0.5 * time, rel=0.02)
    assert drawn(law, 100.0, make_stored).max() == 100.0
    chain = AnalogChain(laws=(ConductanceNoise(sigma_poly=((3.0,),), clip=False), law))
    stored = make_stored(np.array([100.0, 50.0], np.float32), ONE)
    # A chip at the end of its range still reads with noise, though the range hides some of the devices' spread.
    assert np.all(chain.read_std(stored) > 0.2)


def test_stuck_cells_are_as_many_as_they_should_be(make_stored: MakeStored) -> None:
    stored = make_stored(np.full(40_000, 50.0, np.float32), ONE)
    now = 50 + StuckCells(p_lrs=0.03, p_hrs=0.01).sample(stored, generator(0, 0)).delta
    assert (now == 100).mean() == pytest.approx(0.03, abs=0.003)
    assert (now == 0).mean() == pytest.approx(0.01, abs=0.002)
    assert np.all(np.isin(now, (0, 50, 100)))
    all_stuck = 50 + StuckCells(p_lrs=0.5, p_hrs=0.5).sample(stored, generator(0, 0)).delta
    assert np.all(np.isin(all_stuck, (0, 100)))


@pytest.mark.parametrize(
    ("p_lrs", "p_hrs", "key"),
    [
        (0.0904, 0.0175, "SAF pair LRS9.04/HRS1.75"),
        (0.0175, 0.0904, "SAF pair LRS1.75/HRS9.04"),
        (0.001, 0.001, "SAF pair MNSIM 0.1%/0.1%"),
    ],
)
def test_stuck_pairs_are_those_of_the_reference(
    p_lrs: float, p_hrs: float, key: str, read_golden: ReadGolden, make_stored: MakeStored
) -> None:
    case = read_golden("mapping_checks.json")[key]
    weights = np.clip(np.random.default_rng(0).normal(0, 0.25, 20_000), -1, 1).astype(np.float32)
    pair = ConductancePair(1.0, 100.0, 1.0)
    stored, law = make_stored(weights, pair), StuckCells(p_lrs=p_lrs, p_hrs=p_hrs)
    deltas = [law.sample(stored, generator(0, t)).delta for t in range(40)]
    assert np.mean([np.count_nonzero(np.abs(d) > 1e-6) for d in deltas]) == pytest.approx(case["n_pred"], rel=0.02)
    assert np.mean([np.sum(d.astype(np.float64) ** 2) for d in deltas]) == pytest.approx(case["l2sq_pred"], rel=0.05)
    assert max(np.abs(d).max() for d in deltas) <= 2.0
    same = stuck_pair(
        mechanism="stuck_cells", scope="w", pair=pair, values=weights, p_lrs=p_lrs, p_hrs=p_hrs, p=2, confidence=0.9
    )
    assert law.budget(stored, p=2, confidence=0.9) == same
    alone = AnalogChain(laws=(law,)).budget(stored, p=2, confidence=0.9)
    assert (alone.mechanism, alone.eps) == ("analog_chain", law.budget(stored, p=2, confidence=0.9).eps)


def test_a_stuck_reference_moves_its_whole_block(make_stored: MakeStored) -> None:
    stored = make_stored(np.zeros((6, 50), np.float32), OffsetColumn(0.0, 20.0, 1.0, block=(6, 1)))
    delta = StuckCells(p_lrs=0.1, p_hrs=0.0).sample(stored, generator(0, 0)).delta
    whole = np.all(delta <= 0, axis=0) & np.any(delta < 0, axis=0)
    assert 1 <= whole.sum() <= 15  # a reference at g_max pulls its weights to -1, or to 0 where they are stuck too
    assert np.all(np.isin(delta[:, whole], (-1.0, 0.0)))


def test_a_device_drifts_by_its_branch(make_stored: MakeStored) -> None:
    law = HERMES_1[1]
    assert isinstance(law, Drift)
    stored = make_stored(np.full(20_000, 0.05, np.float32), ConductancePair(0.0, 10.35, 1.0))
    left = 1 + law.sample(stored, generator(0, 0)).delta / 0.05
    nu = -np.log(left) / law.log_time(1.0)
    assert nu.mean() == pytest.approx(-0.0387 * math.log(0.05) - 0.0182, rel=0.02)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lognormal(sigma=-0.1), "sigma must be"),
        (lambda: LogDrift(t0_s=0.0, rate_mean=0.0, rate_std=0.0), "t0_s above 0"),
        (lambda: LogDrift(t0_s=1.0, rate_mean=math.inf, rate_std=0.0), "finite rate_mean"),
        (lambda: LogDrift(t0_s=1.0, rate_mean=0.0, rate_std=-1.0), "rate_std must be"),
        (lambda: LogDrift(t0_s=1.0, rate_mean=0.0, rate_std=0.0, unit="nS"), "'uS' or shares"),  # type: ignore[arg-type]
        (lambda: LogDrift(t0_s=1.0, rate_mean=0.0, rate_std=0.0, clock="wall"), "unknown clock"),  # type: ignore[arg-type]
        (lambda: SaturatingNoise(rows=()), "rows of rising days"),
        (lambda: SaturatingNoise(rows=((1, 1.0, 1.0), (0, 1.0, 1.0))), "rows of rising days"),
        (lambda: SaturatingNoise(rows=((0, -1.0, 1.0),)), "A must be"),
        (lambda: SaturatingNoise(rows=((0, 1.0, 0.0),)), "B of saturating noise must be above 0"),
        (lambda: SaturatingNoise(rows=((0, 1.0, 1.0),), unit_uS=0.0), "unit_uS must be"),
        (lambda: MeanDrift(times_s=(1.0,), shifts=()), "coefficients for each of its times"),
        (lambda: MeanDrift(times_s=(0.0,), shifts=((1.0,),)), "times_s must rise"),
        (lambda: MeanDrift(times_s=(1.0,), shifts=((1.0,),), unit_uS=-1.0), "unit_uS must be"),
        (lambda: ReadNoiseLog(k_uS=-1.0, t_read_s=1.0), "k_uS must be"),
        (lambda: ReadNoiseLog(k_uS=1.0, t_read_s=0.0), "t_read_s above 0"),
        (lambda: StuckCells(p_lrs=0.6, p_hrs=0.6), "at most 1, got 1.2"),
        (lambda: StuckCells(p_lrs=-0.1, p_hrs=0.0), "p_lrs must be"),
        (lambda: DeadLine(p=1.5, rows=1, cols=1), "p must be"),
        (lambda: DeadLine(p=0.5, rows=0, cols=1), "at least 1 row and 1 column, got 0 x 1"),
        (lambda: DeadLine(p=0.5, rows=1, cols=1, line="source"), "'word' or a 'bit'"),  # type: ignore[arg-type]
        (lambda: DeadLine(p=0.5, rows=1, cols=1, effect="weak"), "'open' or 'short'"),  # type: ignore[arg-type]
        (lambda: ReadNoise1f(t_read_s=1.0, c=1.0, curve=Polynomial((1.0,))), "takes the place of c"),
        (lambda: ReadNoise1f(t_read_s=1.0, curve=Polynomial((-1.0,))), "must be at least 0"),
        (lambda: Drift(**{**vars(DRIFT), "nu_std": Polynomial((0.1, -0.2))}), "nowhere below 0"),
        (lambda: Drift(**{**vars(DRIFT), "nu_mean": Table((1.0, 0.0), (1.0, 1.0))}), "nowhere below 0"),
    ],
)  # fmt: skip
def test_impossible_laws_are_refused(make: Callable[[], object], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
