"""Every analog law on every mapping: determinism, identity, closed moments and budgets against draws."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from published import DRIFT, HERMES_2, PROGRAM, RAW_DRIFT, READ, SONOS, SONOS_READ

from faultsim.corruption import Stored, apply_edit
from faultsim.faults import AnalogChain, AnalogLaw, ConductanceNoise, ReadNoiseRelative
from faultsim.faults.analog import Cells
from faultsim.faults.dead_line import DeadLine
from faultsim.faults.log_drift import LogDrift
from faultsim.faults.lognormal import Lognormal
from faultsim.faults.read_noise_log import ReadNoiseLog
from faultsim.faults.stuck_cells import StuckCells
from faultsim.formats import ConductancePair, absmax
from faultsim.formats.conductance import ConductanceMapping
from faultsim.formats.conductance_many import BitSliced, DualPair
from faultsim.formats.conductance_offset import OffsetColumn, SingleDeviceOffset
from faultsim.rng import generator

MakeStored = Callable[..., Stored]
WEIGHTS = np.random.default_rng(2).normal(0, 0.1, (30, 40)).astype(np.float32)
TOP = absmax(WEIGHTS)
MAPPINGS: dict[str, ConductanceMapping] = {
    "pair": ConductancePair(0.5, 25.0, TOP),
    "single": SingleDeviceOffset(0.5, 25.0, TOP),
    "lopsided": SingleDeviceOffset(0.5, 25.0, TOP, w_min=-1.5 * TOP),
    "column": OffsetColumn(0.5, 25.0, TOP, block=(30, 1)),
    "tiled column": OffsetColumn(0.5, 25.0, TOP, block=(8, 1)),
    "dual": DualPair(0.5, 25.0, TOP),
    "in turn": DualPair(0.5, 25.0, TOP, significance=(1.0, 3.0)),
    "sliced": BitSliced(0.5, 25.0, TOP, magnitude_bits=7, bits_per_cell=2),
}
DENSE: dict[str, AnalogLaw] = {
    "programming": PROGRAM,
    "drift": replace(RAW_DRIFT, t_s=3600.0),
    "compensated": replace(DRIFT, t_s=3600.0),
    "by column": replace(RAW_DRIFT, t_s=3600.0, compensation="per_column"),
    "read": READ,
    "branches": HERMES_2[2],
    "relative": ReadNoiseRelative(sigma=0.01),
    "lognormal": Lognormal(sigma=0.4),
    "log drift": LogDrift(t0_s=1.0, rate_mean=-0.1, rate_std=0.05, start_std=0.2, t_s=3600.0),
    "saturating": SONOS,
    "saturating read": SONOS_READ,
    "log read": ReadNoiseLog(k_uS=0.03, t_read_s=1e-6),
}
SPARSE: dict[str, AnalogLaw] = {
    "stuck": StuckCells(p_lrs=0.02, p_hrs=0.01),
    "rarely stuck": StuckCells(p_lrs=5e-4, p_hrs=1e-3),
    "open bit line": DeadLine(p=0.02, rows=16, cols=8),
    "open word line": DeadLine(p=0.02, rows=16, cols=8, line="word"),
    "shorted bit line": DeadLine(p=0.02, rows=16, cols=8, effect="short"),
    "shorted word line": DeadLine(p=0.02, rows=16, cols=8, line="word", effect="short"),
}
ON_ALL = pytest.mark.parametrize("mapping", MAPPINGS)


def stored_on(mapping: str, make_stored: MakeStored) -> Stored:
    kept = MAPPINGS[mapping]
    return make_stored(kept.from_cells(kept.to_cells(WEIGHTS)), kept)


@ON_ALL
@pytest.mark.parametrize("law", [*DENSE, *SPARSE])
def test_the_same_key_gives_the_same_delta(law: str, mapping: str, make_stored: MakeStored) -> None:
    stored = stored_on(mapping, make_stored)
    fault = (DENSE | SPARSE)[law]
    one, two, other = (fault.sample(stored, generator(0, t)).delta for t in (0, 0, 3))
    assert one.dtype == np.float32
    assert one.shape == WEIGHTS.shape
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, other) or law == "rarely stuck"


@ON_ALL
@pytest.mark.parametrize(
    "law",
    [ConductanceNoise(sigma_poly=((0.0,),)), ReadNoiseRelative(sigma=0.0), Lognormal(sigma=0.0),
     LogDrift(t0_s=1.0, rate_mean=0.0, rate_std=0.0), replace(SONOS, rows=((0, 0.0, 1.0),)),
     ReadNoiseLog(k_uS=0.0, t_read_s=1.0), StuckCells(p_lrs=0.0, p_hrs=0.0), DeadLine(p=0.0, rows=4, cols=4),
     DeadLine(p=0.0, rows=4, cols=4, line="word")],
    ids=lambda law: law.kind,
)  # fmt: skip
def test_noise_of_zero_is_the_identity(law: AnalogLaw, mapping: str, make_stored: MakeStored) -> None:
    stored = stored_on(mapping, make_stored)
    edit = law.sample(stored, generator(0, 0))
    np.testing.assert_array_equal(apply_edit(edit, stored), stored.values)
    for p in (1, 2, math.inf):
        assert law.budget(stored, p=p, confidence=0.99).eps < 1e-6


@ON_ALL
@pytest.mark.parametrize("law", DENSE)
def test_dense_laws_have_the_moments_and_norms_that_they_say(law: str, mapping: str, make_stored: MakeStored) -> None:
    stored, fault = stored_on(mapping, make_stored), DENSE[law]
    deltas = np.array([fault.sample(stored, generator(0, t)).delta for t in range(200)], np.float64)
    mean, std = AnalogChain(laws=(fault,), t_s=fault.t_s).moments(stored)
    chips = deltas.mean(axis=(1, 2))
    assert abs(chips.mean() - mean.mean()) < 4 * chips.std() / math.sqrt(len(chips)) + 1e-7
    assert np.sqrt(np.mean(deltas.var(axis=0))) == pytest.approx(np.sqrt(np.mean(std**2)), rel=0.03)
    # A clip at 0 bends idle devices: with many of them a sum of magnitudes reads up to 12 % high. A gain for each
    # output follows its few devices' draws: 2 % less spread than independent ones.
    idle = law in ("log drift", "log read") and mapping in ("in turn", "sliced")
    near = 0.04 if law == "by column" else 0.02
    for p, rel in ((1, 0.12 if idle else near), (2, near), (math.inf, 0.08)):
        norms = np.array([np.linalg.norm(delta.ravel(), p) for delta in deltas])
        assert fault.budget(stored, p=p, confidence=0.5).eps == pytest.approx(np.median(norms), rel=rel), p
        held = np.mean(norms <= fault.budget(stored, p=p, confidence=0.95).eps * (1 + 1e-6))
        assert held >= 0.85, p


@ON_ALL
@pytest.mark.parametrize("law", SPARSE)
def test_rare_laws_have_the_moments_and_bounds_that_they_say(law: str, mapping: str, make_stored: MakeStored) -> None:
    stored, fault = stored_on(mapping, make_stored), SPARSE[law]
    deltas = np.array([fault.sample(stored, generator(0, t)).delta for t in range(400)], np.float64)
    mean, std = AnalogChain(laws=(fault,)).moments(stored)
    chips = np.sum(deltas**2, axis=(1, 2))
    square = float(np.sum(mean**2 + std**2))
    assert abs(chips.mean() - square) < 4 * chips.std() / math.sqrt(len(chips))
    budget = {p: fault.budget(stored, p=p, confidence=0.95) for p in (1, 2, math.inf)}
    for p, bound in budget.items():
        norms = np.array([np.linalg.norm(delta.ravel(), p) for delta in deltas])
        assert np.mean(norms <= bound.eps * (1 + 1e-6)) >= 0.92, p
        if p != math.inf:
            assert bound.eps <= 1.25 * np.quantile(norms, 0.985), p  # one line more is a jump
    touched = np.count_nonzero(deltas, axis=(1, 2))
    assert np.mean(touched <= budget[2].n) >= 0.92
    assert budget[2].n <= 1.25 * np.quantile(touched, 0.985) + 4


@ON_ALL
def test_a_chain_of_noise_and_rare_faults_stays_in_its_bounds(mapping: str, make_stored: MakeStored) -> None:
    stored = stored_on(mapping, make_stored)
    chain = AnalogChain(laws=(PROGRAM, StuckCells(p_lrs=0.002, p_hrs=0.001), ReadNoiseRelative(sigma=0.01)), t_s=1.0)
    deltas = [chain.sample(stored, generator(0, t)).delta.ravel().astype(np.float64) for t in range(200)]
    for p in (1, 2, math.inf):
        norms = np.array([np.linalg.norm(delta, p) for delta in deltas])
        bound = chain.budget(stored, p=p, confidence=0.95)
        assert bound.mechanism == "analog_chain"
        assert bound.confidence == 0.95
        assert np.mean(norms <= bound.eps) >= 0.92, p
        if p != math.inf:
            assert bound.eps < 1.1 * np.quantile(norms, 0.95), p
            assert chain.budget(stored, p=p, confidence=0.05).eps < bound.eps


def test_noise_of_parallel_pairs_averages(make_stored: MakeStored) -> None:
    law = ConductanceNoise(sigma_poly=((0.5,),), clip=False)
    spread = {}
    for pairs in (1, 2, 4):
        stored = make_stored(WEIGHTS, DualPair(0.0, 25.0, TOP, pairs=pairs))
        spread[pairs] = law.std(stored).mean()
        drawn = np.std(law.sample(stored, generator(0, 0)).delta)
        assert drawn == pytest.approx(spread[pairs], rel=0.1)
    assert spread[1] == pytest.approx(law.std(make_stored(WEIGHTS, ConductancePair(0.0, 25.0, TOP))).mean())
    assert spread[2] == pytest.approx(spread[1] / math.sqrt(2))
    assert spread[4] == pytest.approx(spread[1] / 2)


def test_noise_of_a_slice_counts_by_its_power_of_two(make_stored: MakeStored) -> None:
    law = ConductanceNoise(sigma_poly=((0.5,),), clip=False)
    sliced = BitSliced(0.0, 25.0, TOP, magnitude_bits=6, bits_per_cell=2)
    stored = make_stored(WEIGHTS, sliced)
    want = 0.5 * math.sqrt(2 * (1 + 16 + 256)) * 3 / 63 / 25 * float(TOP)
    np.testing.assert_allclose(law.std(stored), want)
    assert np.std(law.sample(stored, generator(0, 0)).delta) == pytest.approx(want, rel=0.05)


def test_weights_that_share_a_reference_err_together(make_stored: MakeStored) -> None:
    law = ConductanceNoise(sigma_poly=((0.5,),), clip=False)
    stored = make_stored(WEIGHTS, OffsetColumn(0.0, 25.0, TOP, block=(30, 1)))
    deltas = np.array([law.sample(stored, generator(0, t)).delta for t in range(400)])
    same_row = np.corrcoef(deltas[:, 0, 5], deltas[:, 20, 5])[0, 1]
    other_row = np.corrcoef(deltas[:, 0, 5], deltas[:, 0, 6])[0, 1]
    assert same_row == pytest.approx(0.5, abs=0.15)  # both devices have the same noise
    assert abs(other_row) < 0.15
    alone = make_stored(WEIGHTS, SingleDeviceOffset(0.0, 25.0, TOP))
    np.testing.assert_allclose(law.std(stored), math.sqrt(2) * law.std(alone))

    # The norm of errors in common is less certain than that of as many independent ones.
    def width(one: Stored) -> float:
        return law.budget(one, p=2, confidence=0.99).eps / law.budget(one, p=2, confidence=0.5).eps

    assert width(stored) - 1 > 1.5 * (width(alone) - 1)


@ON_ALL
def test_reads_can_be_split_off_on_every_mapping(mapping: str, make_stored: MakeStored) -> None:
    stored = stored_on(mapping, make_stored)
    for read in (ReadNoiseRelative(sigma=0.01), SONOS_READ, ReadNoiseLog(k_uS=0.05, t_read_s=1e-6), READ):
        chain = AnalogChain(laws=(PROGRAM, read), t_s=1.0)
        rest = chain.without_reads()
        assert rest is not None
        assert rest.laws == (PROGRAM,)
        # One chip read many times: programming is drawn with the same key, the read with another.
        reads = []
        for number in range(40):
            rng = generator(0, 0)
            cells = MAPPINGS[mapping].to_cells(stored.values)
            chip = PROGRAM.act(Cells(cells, cells, cells), MAPPINGS[mapping], rng, 1.0)
            now = read.act(chip, MAPPINGS[mapping], generator(1, number), 1.0).now
            reads.append(MAPPINGS[mapping].from_cells(now))
        seen = np.sqrt(np.mean(np.var(reads, axis=0, ddof=1)))
        assert np.sqrt(np.mean(chain.read_std(stored) ** 2)) == pytest.approx(seen, rel=0.08), read.kind


def test_a_read_is_stated_on_a_pair_and_kept_a_device(make_stored: MakeStored) -> None:
    read = AnalogChain(laws=(ReadNoiseRelative(sigma=0.01),))
    got = {name: float(read.read_std(stored_on(name, make_stored)).mean()) / float(TOP) for name in MAPPINGS}
    assert got["pair"] == pytest.approx(0.01)
    assert got["dual"] == pytest.approx(0.01 / math.sqrt(2))
    assert got["single"] == pytest.approx(0.01 * math.sqrt(2))
    assert got["column"] == pytest.approx(0.02)
