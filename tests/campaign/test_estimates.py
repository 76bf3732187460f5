"""Estimates: a census is exact, every design is unbiased, intervals hold, cells without a trial are owned up to."""

import time

import numpy as np
import pytest
from campaign_nets import imaginary, scored

from faultsim.campaign.design import Fixed, TwoPhase
from faultsim.campaign.draw import Draws
from faultsim.campaign.estimates import Domain, cells, rate
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.population import STRATIFY, Faults

NOTHING = np.empty(0, COLUMNS.dtype)


def harm(faults: Faults) -> np.ndarray:
    """A share of changed predictions that depends on site, element and bit."""
    top = np.where(faults.site == 2, 3, 7)
    return np.where(faults.bit == top, 0.6, 0.0) * (faults.element % 3 > 0) + 0.05 * (faults.bit == 5) * (
        faults.site == 0
    )


def truth(domain: Domain | None = None) -> tuple[float, float]:
    """Share of harmful faults and mean share, over every fault of the imaginary population."""
    population = imaginary()
    faults = population.faults_of(0, np.arange(population.faults))
    inside = np.ones(population.faults, bool)
    if domain is not None:
        inside = np.isin(faults.site, domain.regions)
        if domain.bit is not None:
            inside &= faults.bit == domain.bit
    found = np.rint(100 * harm(faults)[inside]) / 100
    return float((found > 0).mean()), float(found.mean())


def estimate(stratify: str, seed: int, trials: int, *, allocation: str = "proportional", domain: Domain | None = None):  # type: ignore[no-untyped-def]
    draws = Draws(imaginary(stratify), seed)
    design = TwoPhase(draws, trials, pilot=trials // 3) if allocation == "neyman" else Fixed(draws, trials)
    rows = NOTHING
    while (wave := design.wave(rows)) is not None:
        rows = scored(draws, np.union1d(rows["trial"], wave), harm)
    parts = cells(draws.population, rows, design.ended().pilot, domain)
    binary = rate(parts, (rows["mismatch"] > 0).astype(float), level=0.9, replacement=False, binary=True)
    shares = rate(parts, rows["mismatch"] / 100, level=0.9, replacement=False, binary=False)
    return binary, shares


@pytest.mark.parametrize("stratify", STRATIFY)
@pytest.mark.parametrize("domain", [None, Domain("site2", (2,)), Domain("int8 7", (0, 1), 7), Domain("conv", (0, 1))])
def test_a_census_is_exact_in_every_part(stratify: str, domain: Domain | None) -> None:
    binary, shares = estimate(stratify, 0, 2040, domain=domain)
    harmful, mean = truth(domain)
    for found, wanted in ((binary, harmful), (shares, mean)):
        assert found.value == pytest.approx(wanted, abs=1e-12)
        assert found.low == pytest.approx(wanted, abs=1e-9)
        assert found.high == pytest.approx(wanted, abs=1e-9)
        assert found.unseen == 0


@pytest.mark.parametrize(
    ("stratify", "allocation"),
    [("none", "proportional"), ("site", "proportional"), ("bit", "proportional"), ("site,bit", "proportional"),
     ("bit", "neyman"), ("site,bit", "neyman")],
)  # fmt: skip
def test_every_design_is_unbiased_and_its_intervals_hold(stratify: str, allocation: str) -> None:
    """The mean of 300 campaigns lies within four of its standard errors; at most 10 % + 4 errors miss."""
    found = [estimate(stratify, seed, 240, allocation=allocation) for seed in range(300)]
    for position, wanted in enumerate(truth()):
        values = np.array([one[position].value for one in found])
        assert abs(values.mean() - wanted) <= 4 * values.std(ddof=1) / np.sqrt(300)
        missed = sum(not one[position].low <= wanted <= one[position].high for one in found)
        assert missed <= 300 * 0.1 + 4 * np.sqrt(300 * 0.1 * 0.9)


@pytest.mark.parametrize("later", [0, 3, 8, 30])
def test_a_second_phase_cut_short_is_unbiased_and_its_interval_holds(later: int) -> None:
    """80 trials of a pilot in 8 strata and so many after it, 200 times; bounds as above."""
    found = []
    for seed in range(200):
        draws = Draws(imaginary("bit"), seed)
        design = TwoPhase(draws, 240, pilot=80)
        pilot = design.wave(NOTHING)
        assert pilot is not None
        rest = design.wave(scored(draws, pilot, harm))
        assert rest is not None
        there = scored(draws, np.concatenate([pilot, rest[:later]]), harm)
        ended = design.ended(there)
        rows = there[np.isin(there["trial"], ended.trials)]
        parts = cells(draws.population, rows, ended.pilot)
        one = rate(parts, (rows["mismatch"] > 0).astype(float), level=0.9, replacement=False, binary=True)
        assert one is not None
        assert one.unseen == 0
        found.append(one)
    wanted, _ = truth()
    values = np.array([one.value for one in found])
    assert abs(values.mean() - wanted) <= 4 * values.std(ddof=1) / np.sqrt(200)
    missed = sum(not one.low <= wanted <= one.high for one in found)
    assert missed <= 200 * 0.1 + 4 * np.sqrt(200 * 0.1 * 0.9)


def test_strata_narrow_what_varies_between_them() -> None:
    def spread(stratify: str, allocation: str) -> float:
        return float(np.std([estimate(stratify, seed, 240, allocation=allocation)[0].value for seed in range(100)]))

    plain, split, neyman = spread("none", "proportional"), spread("bit", "proportional"), spread("bit", "neyman")
    assert split < 0.9 * plain
    assert neyman < 0.9 * plain


def test_cells_without_a_trial_may_hold_anything() -> None:
    """In strata by bit, 40 trials leave some (site, bit) empty; the interval of that site grows by their share."""
    domain = Domain("site0", (0,))
    found = [estimate("bit", seed, 40, domain=domain)[0] for seed in range(60)]
    shown = [one for one in found if one is not None]
    assert all(one.high >= one.unseen for one in shown)
    assert any(one.unseen > 0 for one in shown)
    missed = sum(not one.low <= truth(domain)[0] <= one.high for one in shown)
    assert missed <= len(shown) * 0.1 + 4 * np.sqrt(len(shown) * 0.09)


def test_no_trial_gives_no_rate() -> None:
    draws = Draws(imaginary(), 0)
    rows = scored(draws, np.arange(3), harm)
    parts = cells(draws.population, rows[:0], np.zeros(1, np.int64), Domain("x", (0,)))
    assert rate(parts, np.empty(0), level=0.9, replacement=False, binary=True) is None


def test_many_strata_are_rated_in_seconds() -> None:
    """300 tensors of 32 bits by site,bit: 9,600 strata, which each of 335 parts asks for its own."""
    sizes = tuple((500 + i, 32) for i in range(300))
    population = imaginary("site,bit", sizes)
    rows = np.zeros(len(population.strata), COLUMNS.dtype)
    rows["trial"], rows["stratum"] = population.starts[:-1], np.arange(len(rows))
    rows["site"], rows["bit"] = np.divmod(rows["stratum"], 32)
    pilot = np.zeros(len(rows), np.int64)
    sites = [Domain(one.site, (i,)) for i, one in enumerate(population.regions)]
    bits = [Domain(f"bit {bit}", tuple(range(300)), bit) for bit in range(32)]
    started = time.perf_counter()
    held = [sum(one.population for one in cells(population, rows, pilot, domain)) for domain in (*sites, *bits)]
    assert time.perf_counter() - started < 15
    assert held == [words * 32 for words, _ in sizes] + [sum(words for words, _ in sizes)] * 32
