"""Laws of the frame: deterministic, within its budgets, counted, and never less than what its trace says."""

import numpy as np
import pytest

from faultsim.errors import OptionError
from faultsim.search.bits import Beam, BitFlips, ProgressiveBitSearch, Swap, Untargeted, Width, worst_cells
from tests.search.bits.nets import EditedMlp
from tests.search.bits.test_aims import QUICK, small


def run(net: EditedMlp, n: int = 3, **options):
    return worst_cells(Untargeted(objective=net), {k: BitFlips(s) for k, s in net.stored.items()}, n, **options)


@pytest.mark.parametrize("methods", [None, QUICK, [ProgressiveBitSearch()], [ProgressiveBitSearch(elements=4)]])
def test_the_same_seed_gives_the_same_result_and_everything_is_counted(methods):
    net, again = small(), small()
    found, same = run(net, methods=methods, seed=5), run(again, methods=methods, seed=5)
    assert found.trace == same.trace
    assert found.worst.corruption == same.worst.corruption
    assert (found.gradients, found.forwards) == (net.gradients, net.forwards)
    for one in (found.worst, found.least_accurate, *found.sizes):
        assert net.score(one.corruption).loss == one.judged.loss
        assert net.score(one.corruption).accuracy == one.judged.accuracy
        assert one.cells <= 3
    assert found.worst.judged.loss == max(row.loss for row in found.trace if row.cells <= 3)
    assert found.least_accurate.judged.accuracy == min(row.accuracy for row in found.trace if row.cells <= 3)


@pytest.mark.parametrize("gradients", [1, 4])
@pytest.mark.parametrize("forwards", [1, 150, None])
def test_budgets_hold_and_are_spent_on_all_cells(gradients, forwards):
    net = small()
    found = run(net, 8, budget_gradients=gradients, budget_forwards=forwards, restarts=0)
    assert net.gradients <= gradients
    assert forwards is None or net.forwards <= forwards
    if forwards is None:
        assert found.worst.cells == 8
        assert found.worst.judged.loss > run(small(), 2, methods=QUICK).worst.judged.loss


def test_it_stops_at_the_goal_and_then_looks_for_fewer_cells():
    plain = run(small(), 8, methods=[Beam(beam=1, tried=5, survey=0, favourites=0)], until_accuracy=0.3)
    found = run(small(), 8, until_accuracy=0.3)
    assert found.needed is not None
    assert plain.needed is not None
    assert found.needed <= plain.needed
    reached = {one.cells: one.judged.accuracy for one in found.sizes}
    assert reached[found.needed] <= 0.3
    assert all(accuracy > 0.3 for cells, accuracy in reached.items() if cells < found.needed)
    assert run(small(), 1, until_accuracy=0.0).needed is None


def test_a_beam_tries_with_fewer_cells_where_the_goal_is_reached_already():
    published = run(small(4), 8, methods=[ProgressiveBitSearch()], until_accuracy=0.2)
    assert published.needed is not None
    beam = Beam(beam=2, tried=10, survey=0)
    both = run(small(4), 8, methods=[ProgressiveBitSearch(), beam], until_accuracy=0.2)
    grown = [row.cells for row in both.trace if row.method == "beam"]
    assert max(grown) == both.needed < published.needed
    left, narrow = 40, Beam(beam=1, tried=5, survey=0, favourites=0)
    short = run(
        small(4),
        8,
        methods=[ProgressiveBitSearch(), narrow],
        until_accuracy=0.2,
        budget_forwards=published.forwards + left,
    )
    assert published.forwards + left // 2 < short.forwards < published.forwards + left  # a round, and no other one
    fewer = run(small(4), 8, methods=[ProgressiveBitSearch(), beam, Swap(beam=beam)], until_accuracy=0.2)
    assert fewer.needed < published.needed
    out_of_reach = run(small(4), 2, methods=[ProgressiveBitSearch(), beam], until_accuracy=0.0)
    assert {row.method for row in out_of_reach.trace} > {"beam"}


def lowest(found) -> float:
    """The accuracy found with the fewest cells that reach the goal."""
    return next(one.judged.accuracy for one in found.sizes if one.cells == found.needed)


@pytest.mark.parametrize(("seed", "goal", "cells"), [(1, 0.6, 1), (2, 0.4, 2), (4, 0.3, 2)])
def test_swaps_go_on_below_the_goal_with_as_many_cells(seed, goal, cells):
    methods = [ProgressiveBitSearch(), Swap(beam=Beam(beam=1, tried=5, survey=0, favourites=0))]
    further = Swap(beam=Beam(beam=2, tried=10, survey=0, favourites=10), fewer=False)
    reached = run(small(seed), 8, methods=methods, until_accuracy=goal)
    found = run(small(seed), 8, methods=[*methods, further], until_accuracy=goal)
    assert found.needed == reached.needed == cells
    assert lowest(found) < lowest(reached) <= goal


def test_a_beam_spends_nothing_where_one_cell_is_enough():
    reached = run(small(1), 8, methods=[ProgressiveBitSearch()], until_accuracy=0.8)
    assert reached.needed == 1
    both = run(small(1), 8, methods=[ProgressiveBitSearch(), Beam()], until_accuracy=0.8)
    assert both.forwards == reached.forwards


def test_the_default_search_goes_on_below_the_goal():
    found = run(small(1), 8, until_accuracy=0.2)
    reached = run(small(1), 8, methods=[ProgressiveBitSearch(), Beam(), Swap()], until_accuracy=0.2)
    assert found.needed == reached.needed == 2
    assert lowest(found) < lowest(reached) <= 0.2


def test_it_grows_on_beyond_the_goal():
    """On other samples a goal may take more cells: the next ones do more damage, not what an earlier search left."""
    methods = [ProgressiveBitSearch(), Swap(), Swap(fewer=False)]
    found = run(small(1), 8, methods=methods, until_accuracy=0.2)
    accuracy = {one.cells: one.judged.accuracy for one in found.sizes}
    grown = [accuracy[found.needed + more] for more in range(3)]
    assert grown == sorted(grown, reverse=True)
    assert grown[0] == lowest(found) <= 0.2


def test_swaps_never_make_it_worse_and_repair_a_poor_start():
    poor = [Beam(beam=1, tried=1, survey=0, favourites=0, losses=1, width=Width(best=0, per_site=0, worst=0))]
    before = run(small(3), 4, methods=poor)
    after = run(small(3), 4, methods=[*poor, Swap()])
    assert after.worst.judged.loss > before.worst.judged.loss


def test_restarts_take_part():
    found, more = run(small(2), restarts=0), run(small(2), restarts=2)
    assert more.forwards > found.forwards
    assert more.worst.judged.loss >= found.worst.judged.loss


def test_every_row_of_the_trace_is_told_as_it_is_written():
    heard = []
    assert tuple(heard) == () != run(small(), told=heard.append).trace == tuple(heard)


def test_gradients_that_are_not_usable_leave_the_survey():
    net = small()
    nan = {name: np.full(one.site.shape, np.nan) for name, one in net.stored.items()}
    gradient = net.gradient
    net.gradient = lambda edits, loss: gradient(edits, loss)._replace(grads=nan)
    found = run(net)
    assert found.worst.cells >= 1
    assert run(net, methods=[ProgressiveBitSearch()]).worst.cells == 0


def test_options_out_of_range_are_refused():
    with pytest.raises(OptionError, match="n is 0, it must be at least 1"):
        run(small(), 0)
    with pytest.raises(OptionError, match="budget_gradients is 0, it must be at least 1"):
        run(small(), budget_gradients=0)
    with pytest.raises(OptionError, match="budget_forwards is 0, it must be at least 1"):
        run(small(), budget_forwards=0)
    with pytest.raises(OptionError, match="restarts is -1, it must be at least 0"):
        run(small(), restarts=-1)
    with pytest.raises(OptionError, match="until_accuracy is 12, it must lie between 0 and 1"):
        run(small(), until_accuracy=12)
    with pytest.raises(OptionError, match=r"Beam.beam is 0, it must be at least 1"):
        Beam(beam=0)
    with pytest.raises(OptionError, match=r"Swap.rounds is 0, it must be at least 1"):
        Swap(rounds=0)
    with pytest.raises(OptionError, match=r"Width.best is -1, it must be at least 0"):
        Width(best=-1)
    with pytest.raises(OptionError, match="elements is 0, it must be at least 1"):
        ProgressiveBitSearch(elements=0)
    with pytest.raises(OptionError, match="there is no tensor to search"):
        worst_cells(Untargeted(objective=small()), {}, 1)


@pytest.mark.parametrize("n", [10, 30])
def test_more_bits_than_the_published_search_has_room_for_do_not_leave_it_out(n):
    found = run(small(), n, budget_gradients=40, restarts=0)
    rows = [row for row in found.trace if row.method == "progressive_bit_search"]
    assert max(row.cells for row in rows) >= 4
    assert max(row.gradients for row in rows) <= 10
    assert found.gradients <= 40
    assert any(row.method == "beam" for row in found.trace)


def test_too_small_a_share_leaves_the_published_search_out():
    found = run(small(), 30, budget_gradients=39, restarts=0)
    assert "progressive_bit_search" not in {row.method for row in found.trace}


def test_a_search_is_cut_short_where_it_wanted_more_than_the_budget():
    """With a goal no round joins cells to make the budget last: the same steps under every budget that is enough."""
    how = {"methods": [Beam(beam=1, tried=5, survey=0, favourites=0)], "until_accuracy": 0.0}
    free = run(small(), 2, budget_gradients=None, **how)
    assert not free.cut
    exact = run(small(), 2, budget_gradients=free.gradients, budget_forwards=free.forwards, **how)
    assert (exact.gradients, exact.forwards) == (free.gradients, free.forwards)
    assert exact.trace == free.trace
    assert not exact.cut
    assert run(small(), 2, budget_gradients=free.gradients - 1, budget_forwards=free.forwards, **how).cut
    assert run(small(), 2, budget_gradients=free.gradients, budget_forwards=free.forwards - 1, **how).cut
