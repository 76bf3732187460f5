"""Designs: how many trials each stratum gets, in which order, and that no more is looked at than is said."""

import numpy as np
import pytest
from campaign_nets import imaginary, scored

from faultsim.campaign.design import Fixed, Sequential, TwoPhase, next_look
from faultsim.campaign.draw import Draws
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.options import Shard
from faultsim.campaign.population import Faults
from faultsim.errors import OptionError
from faultsim.stats.stopping import parse_until

NOTHING = np.empty(0, COLUMNS.dtype)


def harmless(faults: Faults) -> np.ndarray:
    return np.zeros(faults.bit.shape)


def test_every_beginning_of_the_order_is_close_to_the_allocation() -> None:
    draws = Draws(imaginary("site"), 0)
    order = Fixed(draws, 500).wave(NOTHING)
    assert order is not None
    strata = draws.population.stratum_of(order)
    sizes = np.array([part.population for part in draws.population.strata])
    for upto in (3, 50, 200, 500):
        counts = np.bincount(strata[:upto], minlength=3)
        assert np.all(np.abs(counts - upto * sizes / sizes.sum()) <= 2)
        assert counts.min() >= 1


def test_shards_are_a_partition_of_the_trials() -> None:
    draws = Draws(imaginary("bit"), 0)
    whole = Fixed(draws, 300).wave(NOTHING)
    parts = [Fixed(draws, 300, Shard(number=k, of=7)).wave(NOTHING) for k in range(1, 8)]
    assert whole is not None
    assert np.array_equal(np.sort(np.concatenate(parts)), np.sort(whole))  # type: ignore[arg-type]


def test_more_trials_hold_the_fewer_ones() -> None:
    """Rows of a journal serve a larger campaign: the same command with more trials goes on."""
    draws = Draws(imaginary("site,bit"), 0)
    few, many = (Fixed(draws, trials).wave(NOTHING) for trials in (200, 400))
    assert set(few.tolist()) <= set(many.tolist())  # type: ignore[union-attr]


def test_neyman_gives_more_to_where_the_pilot_saw_hits() -> None:
    draws = Draws(imaginary("bit"), 0)

    def share(faults):  # type: ignore[no-untyped-def]
        return np.where(faults.bit == 7, faults.element % 2, 0.0)

    design = TwoPhase(draws, 400, pilot=100)
    pilot = design.wave(NOTHING)
    rest = design.wave(scored(draws, pilot, share))  # type: ignore[arg-type]
    counts = np.bincount(draws.population.stratum_of(rest), minlength=8)  # type: ignore[arg-type]
    assert len(pilot) == 100  # type: ignore[arg-type]
    assert counts.sum() == 300
    assert counts[7] == counts.max()
    assert not set(pilot.tolist()) & set(rest.tolist())  # type: ignore[union-attr]
    assert design.wave(NOTHING) is None


def test_the_pilot_is_the_sample_until_the_second_phase_is_in_every_stratum() -> None:
    draws = Draws(imaginary("bit"), 0)
    design = TwoPhase(draws, 400, pilot=100)
    pilot = design.wave(NOTHING)
    assert pilot is not None
    for upto in (0, 40, 100):
        ended = design.ended(scored(draws, pilot[:upto], harmless))
        assert ended.trials.tolist() == pilot[:upto].tolist()
        assert not ended.pilot.any()
    rest = design.wave(scored(draws, pilot, harmless))
    assert rest is not None
    for upto in range(12):
        ended = design.ended(scored(draws, np.concatenate([pilot, rest[:upto]]), harmless))
        known = 100 if upto >= 8 else 0
        assert len(ended.trials) == 100 + (upto if known else 0)
        assert ended.pilot.sum() == known
    behind_a_hole = design.ended(scored(draws, np.concatenate([pilot, rest[1:]]), harmless))
    assert behind_a_hole.trials.tolist() == pilot.tolist()
    assert not behind_a_hole.pilot.any()


def test_a_sequential_design_looks_after_fixed_numbers_whatever_else_is_there() -> None:
    draws = Draws(imaginary(sizes=((4000, 8),)), 0)
    rule = parse_until("halfwidth<=0.03@0.95")

    def stopped_at(extra: int) -> tuple[int, int]:
        design = Sequential(draws, rule, 20_000)
        rows = NOTHING
        while (wave := design.wave(rows)) is not None:
            rows = scored(draws, np.arange(wave[-1] + 1 + extra), lambda f: (f.bit == 7) * 1.0)
        ended = design.ended()
        return len(ended.trials), ended.looks

    assert stopped_at(0) == stopped_at(100) == stopped_at(3000)
    looks = [0]
    while looks[-1] < stopped_at(0)[0]:
        looks.append(next_look(looks[-1]))
    assert looks[-1] == stopped_at(0)[0]


def test_a_stop_rule_is_honest_under_looking() -> None:
    """Of 200 campaigns that stop by the rule at 90 %, at most 10 % miss the rate (binomial, four standard errors)."""
    rate, missed, trials = 0.04, 0, []
    rule = parse_until("halfwidth<=0.03@0.9")
    for seed in range(200):
        draws = Draws(imaginary(sizes=((5000, 8),)), seed)
        design = Sequential(draws, rule, 40_000)
        rows = NOTHING
        while (wave := design.wave(rows)) is not None:
            rows = scored(draws, np.arange(wave[-1] + 1), lambda f: ((f.element * 8 + f.bit) % 25 == 0) * 1.0)
        ended = design.ended()
        assert ended.met
        assert ended.interval is not None
        assert (ended.interval.high - ended.interval.low) / 2 <= 0.03
        missed += not ended.interval.low <= rate <= ended.interval.high
        trials.append(len(ended.trials))
    assert missed <= 200 * 0.1 + 4 * np.sqrt(200 * 0.1 * 0.9)
    assert max(trials) < 40_000


def test_a_census_of_a_sequential_design_ends_it() -> None:
    draws = Draws(imaginary(sizes=((50, 8),)), 0)
    design = Sequential(draws, parse_until("relative<=0.0001@0.99"), 400)
    rows = NOTHING
    while (wave := design.wave(rows)) is not None:
        rows = scored(draws, np.arange(wave[-1] + 1), lambda f: (f.bit == 7) * 1.0)
    ended = design.ended()
    assert ended.interval is not None
    assert ended.interval.low == pytest.approx(1 / 8)
    assert ended.interval.high == pytest.approx(1 / 8)


def test_an_interruption_between_two_looks_is_no_look() -> None:
    draws = Draws(imaginary(sizes=((4000, 8),)), 0)
    rule = parse_until("halfwidth<=0.1@0.9")
    design = Sequential(draws, rule, 20_000)
    design.wave(NOTHING)
    rows = scored(draws, np.arange(200), lambda f: (f.bit == 7) * 1.0)
    for ended in (design.ended(rows), design.ended(rows)):  # once more where Ctrl-C is pressed again
        assert (ended.met, ended.looks, len(ended.trials)) == (False, 0, 200)
        assert ended.interval is not None
        assert rule.met(ended.interval)
        assert ended.words is not None
        assert ended.words.startswith("interrupted before the next look after 200 trials: half-width 0.0")


def test_what_does_not_fit_the_population_is_refused() -> None:
    with pytest.raises(OptionError, match="--trials is 2,041, the population holds 2,040 different faults"):
        Fixed(Draws(imaginary(), 0), 2041)
    with pytest.raises(OptionError, match="--trials is 5 for 20 strata, each of which needs one"):
        Fixed(Draws(imaginary("site,bit"), 0), 5)
    with pytest.raises(
        OptionError,
        match="takes a pilot of 95 and at least 20 trials after it, of 100: give --trials from 115, a --pilot from 40 "
        "to 80, or fewer strata",
    ):
        TwoPhase(Draws(imaginary("site,bit"), 0), 100, 95)
    with pytest.raises(OptionError, match="of 50: give --trials from 60 or fewer strata"):
        TwoPhase(Draws(imaginary("site,bit"), 0), 50)
