"""The audit's draw: every image with the same chance, whatever the batches."""

import numpy as np
import pytest
from scipy.stats import chisquare

from faultsim.engine.screen.reservoir import Reservoir, priorities


def drawn(order, room, cuts):
    kept = Reservoir(room)
    numbers = np.arange(order.size)
    values = numbers.astype(np.float32)[:, None] * 10
    for part in np.split(numbers, cuts):
        if part.size:
            kept.offer(part, order[part], lambda at, part=part: {"a": values[part[at]]})
    return kept


@pytest.mark.parametrize("room", [1, 3, 40, 60])
def test_the_kept_images_are_those_of_the_lowest_priority_in_any_batches(room):
    rng = np.random.default_rng(room)
    order = priorities(0, 7, 40)
    best = set(np.argsort(order)[:room].tolist())
    for cuts in ([], [1, 2, 3], [13, 26], sorted(rng.integers(0, 40, 5).tolist()), list(range(1, 40))):
        kept = drawn(order, room, cuts)
        assert set(kept.images.tolist()) == best
        assert kept.seen == 40
        assert np.array_equal(kept.rows["a"][:, 0], kept.images * 10)  # the rows go with their images


def test_every_image_has_the_same_chance():
    counts = np.zeros(20)
    for trial in range(2000):
        counts[drawn(priorities(3, trial, 20), 4, [9]).images] += 1
    assert counts.sum() == 8000
    assert chisquare(counts).pvalue > 1e-4


def test_priorities_are_keyed_by_seed_and_trial():
    assert np.array_equal(priorities(1, 2, 10), priorities(1, 2, 10))
    assert not np.array_equal(priorities(1, 2, 10), priorities(1, 3, 10))
    assert not np.array_equal(priorities(1, 2, 10), priorities(2, 2, 10))
