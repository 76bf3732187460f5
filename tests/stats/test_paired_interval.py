"""Intervals of paired differences: coverage where few pairs differ, finite populations, and where t is kept."""

import functools
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.special
import scipy.stats

from faultsim.rng import generator
from faultsim.stats.paired_interval import dense, paired_interval, tango

_RUNS = 1000
_SLACK = 3 * math.sqrt(0.05 * 0.95 / _RUNS)


@pytest.mark.parametrize("pairs", [50, 300, 1000, 2000])
@pytest.mark.parametrize("part", [1.0, 0.8, 0.5])
def test_the_difference_of_two_outcomes_is_covered_however_rare_it_is(pairs, part):
    rng = generator(0, 0, "coverage", str(pairs), str(part))
    ends = functools.cache(lambda up, down: tango(up, down, pairs))
    for share in (0.001, 0.0048, 0.02, 0.2):
        law = share * part, share * (1 - part)
        drawn = rng.multinomial(pairs, (*law, 1 - share), size=_RUNS)[:, :2].tolist()
        found = [ends(up, down) for up, down in drawn]
        missed = sum(not one.low <= law[0] - law[1] <= one.high for one in found)
        assert missed / _RUNS <= 0.05 + _SLACK, (share, missed)


@pytest.mark.parametrize(("population", "pairs"), [(60, 50), (400, 300), (4000, 1000)])
def test_pairs_of_a_finite_population_cover_its_mean(population, pairs):
    rng = generator(1, 0, "finite", str(population))
    ends = functools.cache(lambda up, down: tango(up, down, pairs, population=population))
    for up, down in ((1, 0), (5, 5), (population // 10, 1), (population // 4, population // 5)):
        drawn = rng.multivariate_hypergeometric([up, down, population - up - down], pairs, size=_RUNS)[:, :2].tolist()
        found = [ends(*one) for one in drawn]
        missed = sum(not one.low <= (up - down) / population <= one.high for one in found)
        assert missed / _RUNS <= 0.05 + _SLACK, (up, down, missed)


@pytest.mark.parametrize(("up", "down", "pairs"), [(12, 2, 50), (3, 0, 40), (0, 9, 30), (40, 35, 100)])
def test_its_ends_are_z_errors_away_by_the_likeliest_proportions_that_have_them(up, down, pairs):
    """The likelihood under the restriction is maximised by scipy, not by the quadratic equation."""
    ends = tango(up, down, pairs)
    for end, sign in ((ends.low, -1), (ends.high, 1)):

        def unlikely(both, end=end):  # `both`: of pairs of which one alone does it
            first, second = (both - end) / 2, (both + end) / 2
            return -sum(
                scipy.special.xlogy(n, p) for n, p in ((down, first), (up, second), (pairs - up - down, 1 - both))
            )

        both = scipy.optimize.minimize_scalar(unlikely, bounds=(abs(end), 1), options={"xatol": 1e-12}).x
        distance = sign * (pairs * end - (up - down)) - 1
        assert distance == pytest.approx(1.959964 * math.sqrt(pairs * (both - end**2)), rel=1e-4)


def test_the_interval_is_mcnemars_corrected_test_at_no_difference():
    for up, down in ((6, 0), (5, 0), (15, 5), (14, 6), (30, 12)):
        chi2 = (abs(up - down) - 1) ** 2 / (up + down)
        assert (tango(up, down, 500).low > 0) == (scipy.stats.chi2.sf(chi2, 1) < 0.05)
        above, below = tango(up, down, 500), tango(down, up, 500)
        assert above == pytest.approx([-below.high, -below.best, -below.low])


@pytest.mark.parametrize("span", [1.0, 4.0])
def test_outcomes_of_faults_get_it_whatever_their_unit(span):
    apart = np.array([1.0] * 7 + [-1.0] * 2 + [0.0] * 91) * span
    assert paired_interval(apart, level=0.9, span=span) == pytest.approx(
        [span * e for e in tango(7, 2, 100, level=0.9)]
    )


@pytest.mark.parametrize(
    "apart",
    [np.zeros(9), np.full(9, 0.1), np.arange(9) / 10, np.array([1.0, -1.0, 1.0] * 3), np.array([0.5] + [0.0] * 8)],
)
def test_a_census_has_no_width_and_nearly_one_has_little(apart):
    mean = pytest.approx(apart.mean())
    assert paired_interval(apart, level=0.95, span=1.0, population=9) == (mean, mean, mean)
    less, wide = (paired_interval(apart, level=0.95, span=1.0, population=n) for n in (10, None))
    assert wide.low <= less.low < mean.expected < less.high <= wide.high
    with pytest.raises(ValueError, match="9 pairs of a population of 8 are too many: no pair counts twice"):
        paired_interval(apart, level=0.95, span=1.0, population=8)


_DESIGNS = {
    "few lose half": (1000, ((0.005, 0.5),)),
    "many lose a sample, one in 1000 gains": (1000, ((0.3, -1 / 500), (0.001, 0.7))),
    "rarer pairs of fewer": (500, ((0.3, -1 / 500), (0.002, 0.5))),
    "samples up and down": (500, ((0.15, 1 / 500), (0.25, -1 / 500), (0.005, 0.3))),
    "several large ones": (800, ((0.9, 1 / 500), (0.02, 0.5))),
}


def _drawn(rng, pairs, parts):
    values = np.array([value for _, value in parts] + [0.0])
    chances = np.array([chance for chance, _ in parts])
    return rng.choice(values, size=pairs, p=[*chances, 1 - chances.sum()])


@pytest.mark.parametrize("name", _DESIGNS)
@pytest.mark.parametrize("population", [None, 8_000_000])
def test_a_mean_that_rare_pairs_carry_is_covered(name, population):
    """Student's t alone misses far more often than it says in most of these, with the wrong sign."""
    (pairs, parts), rng, runs = _DESIGNS[name], generator(2, 0, "rare", name), 150
    mean = sum(chance * value for chance, value in parts)
    missed = wrong = 0
    for _ in range(runs):
        low, _, high = paired_interval(_drawn(rng, pairs, parts), level=0.95, span=1.0, population=population)
        missed += not low <= mean <= high
        wrong += low > 0 > mean or high < 0 < mean
    assert missed / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert wrong == 0


@pytest.mark.parametrize("pairs", [10, 30, 200, 1000])
@pytest.mark.parametrize("lattice", [None, 500])
def test_dense_noise_keeps_students_t_and_its_level(pairs, lattice):
    rng, runs, missed, plain = generator(3, 0, "dense", str(pairs)), 600, 0, 0
    for _ in range(runs):
        apart = rng.normal(0.004, 0.01, pairs)
        if lattice:
            apart = np.rint(apart * lattice) / lattice
        low, best, high = paired_interval(apart, level=0.95, span=1.0)
        half = scipy.stats.t.ppf(0.975, pairs - 1) * apart.std(ddof=1) / math.sqrt(pairs)
        plain += (low, high) == pytest.approx((best - half, best + half))
        missed += not low <= 0.004 <= high
    assert plain / runs >= 0.99
    assert missed / runs == pytest.approx(0.05, abs=3 * math.sqrt(0.05 * 0.95 / runs))


def test_single_faults_are_never_taken_for_dense_noise():
    """Every fault seen moves accuracy a little; one that was not drawn may ruin it."""
    apart = generator(4, 0, "tail").normal(-0.002, 0.001, 500)
    shown, hidden = (paired_interval(apart, level=0.95, span=1.0, tailed=tailed) for tailed in (False, True))
    assert shown.high < 0 < hidden.high
    assert hidden.high > 0.5 * 3.69 / 500  # such a share of faults can be missed in 500 draws
    assert hidden.low < shown.low


@pytest.mark.parametrize("shift", [0.0, 0.01])
def test_one_pair_that_carries_the_spread_is_seen_whatever_all_have_in_common(shift):
    apart = generator(5, 0, "one").normal(0, 0.001, 400) + shift
    assert dense(apart, span=1.0)
    apart[7] = 0.6
    assert not dense(apart, span=1.0)
    assert not dense(np.append(np.zeros(5), np.linspace(0.1, 0.3, 4)), span=1.0)
    assert dense(np.append(np.zeros(4), np.linspace(0.1, 0.3, 5)), span=1.0)
