"""Population and draws: every bit once, whatever the strata; a trial's faults depend on nothing else."""

import itertools

import numpy as np
import pytest
from campaign_nets import imaginary
from scipy.stats import chisquare

from faultsim.campaign.draw import Draws
from faultsim.campaign.population import STRATIFY
from faultsim.errors import OptionError


@pytest.mark.parametrize("stratify", STRATIFY)
def test_all_trials_together_are_every_stored_bit_once(stratify: str) -> None:
    population = imaginary(stratify)
    draws = Draws(population, seed=1)
    found = draws.faults(np.arange(population.faults))
    triples = set(zip(*(part[:, 0].tolist() for part in found), strict=True))
    wanted = {
        (site, element, bit)
        for site, one in enumerate(population.regions)
        for element, bit in itertools.product(range(one.elements), range(one.bits))
    }
    assert triples == wanted
    assert population.faults == len(wanted) == int(population.starts[-1])


@pytest.mark.parametrize("stratify", STRATIFY)
def test_a_stratum_holds_what_its_name_says(stratify: str) -> None:
    population = imaginary(stratify)
    found = Draws(population, seed=1).faults(np.arange(population.faults))
    strata = population.stratum_of(np.arange(population.faults))
    for h, part in enumerate(population.strata):
        here = strata == h
        assert here.sum() == part.population
        assert set(found.site[here, 0].tolist()) == set(part.regions)
        if part.bit is not None:
            assert set(found.bit[here, 0].tolist()) == {part.bit}


def test_cells_of_strata_and_sites_and_bits_add_up() -> None:
    for stratify in STRATIFY:
        population = imaginary(stratify)
        for region, one in enumerate(population.regions):
            assert population.cells([region], None).sum() == one.elements * one.bits
            for bit in range(8):
                cells = population.cells([region], bit).tolist()
                if stratify in ("bit", "site,bit"):
                    assert sum(cells) == (one.elements if bit < one.bits else 0)


@pytest.mark.parametrize("flips", [1, 2, 7])
def test_a_trial_is_the_same_alone_and_among_others(flips: int) -> None:
    draws = Draws(imaginary(), seed=4, flips=flips)
    together = draws.faults([5, 900, 17])
    for i, trial in enumerate((5, 900, 17)):
        alone = Draws(imaginary(), seed=4, flips=flips).faults([trial])
        assert all(np.array_equal(a[0], b[i]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("flips", [2, 30, 2040])
def test_flips_of_a_trial_are_different_bits(flips: int) -> None:
    found = Draws(imaginary(), seed=4, flips=flips).faults(range(20))
    for i in range(20):
        assert len(set(zip(*(part[i].tolist() for part in found), strict=True))) == flips


def test_several_flips_hit_every_bit_as_often() -> None:
    population = imaginary(sizes=((10, 4), (5, 8)))
    found = Draws(population, seed=0, flips=5).faults(range(4000))
    hits = np.bincount((found.site * 40 + found.element * np.where(found.site == 0, 4, 8) + found.bit).ravel())
    assert hits.size == population.faults
    assert chisquare(hits).pvalue > 1e-3  # 5 of 80 without replacement: a little less varied than the test assumes


def test_flips_out_of_range_and_in_strata_are_refused() -> None:
    with pytest.raises(OptionError, match=r"--flips is 2041, allowed are 1 to 2,040"):
        Draws(imaginary(), 0, flips=2041)
    with pytest.raises(OptionError, match="goes with --stratify none"):
        Draws(imaginary("bit"), 0, flips=2)
    with pytest.raises(ValueError, match="out of range"):
        Draws(imaginary(), 0).faults([2040])
