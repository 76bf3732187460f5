"""Radii of few flips in words so wide that squares of small jumps are lost on a grid, and confidences near 1."""

import itertools
import math
from typing import Any

import numpy as np
import pytest

from faultsim.budget import compound_quantile, poisson_quantile, upsets
from faultsim.budget.flip_count import flip_count
from faultsim.formats import IntFormat

NAMES: dict[str, Any] = {"mechanism": "m", "scope": "w"}
WIDE = IntFormat(22, scale=1.0)
CONFIDENCES = (0.3, 0.52, 0.7, 0.9, 0.99)  # of 22 equal chances, none a whole number


@pytest.mark.parametrize("p", [1, 2, math.inf])
@pytest.mark.parametrize("confidence", CONFIDENCES)
def test_one_flip_of_a_wide_word_has_the_quantile_of_its_size(p: float, confidence: float) -> None:
    truth = 2.0 ** (math.ceil(confidence * 22) - 1)
    one = flip_count(**NAMES, fmt=WIDE, values=np.zeros(64), flips=1, p=p, confidence=confidence)
    event = upsets(
        **NAMES,
        fmt=WIDE,
        values=np.zeros(64),
        events_per_bit=1e-12,
        multiplicity=(1.0,),
        conditional=True,
        p=p,
        confidence=confidence,
    )
    # a grid of 65,536 points reads upwards by up to one of them
    for got in (one, event):
        assert truth <= got.eps <= truth + (0 if p == math.inf else 2.0 ** (21 - 15 / p))
        assert got.n == 1


@pytest.mark.parametrize("p", [1, 2])
def test_few_flips_of_a_small_tensor_hold_every_placement(p: float) -> None:
    fmt, values = IntFormat(18, scale=1.0), np.zeros(3)
    sizes = 2.0 ** np.tile(np.arange(18), 3)
    places = list(itertools.combinations(range(54), 2))
    apart = [(a, b) for a, b in places if a // 18 != b // 18]
    norms = np.array([float((sizes[a] ** p + sizes[b] ** p) ** (1 / p)) for a, b in apart])
    share = len(apart) / len(places)
    for confidence in (0.3, 0.6, 0.9):
        got = flip_count(**NAMES, fmt=fmt, values=values, flips=2, p=p, confidence=confidence)
        # as if the flips that meet in one word were all beyond: the most that the confidence can ask
        assert share * np.mean(norms <= got.eps * (1 + 1e-9)) + 1 - share >= confidence
        assert got.eps >= flip_count(**NAMES, fmt=fmt, values=values, flips=1, p=p, confidence=confidence).eps


@pytest.mark.parametrize("fmt", [IntFormat(22, scale=1.0), IntFormat(22, scale=1.0, encoding="sign_magnitude")])
def test_radii_shrink_with_p_and_grow_with_the_confidence(fmt: IntFormat) -> None:
    values = np.arange(-8.0, 8.0)
    for rate in (1e-9, 0.02):
        before = np.zeros(3)
        for confidence in CONFIDENCES:
            now = np.array(
                [
                    upsets(
                        **NAMES,
                        fmt=fmt,
                        values=values,
                        events_per_bit=rate,
                        multiplicity=(0.8, 0.2),
                        conditional=True,
                        p=p,
                        confidence=confidence,
                    ).eps
                    for p in (1, 2, math.inf)
                ]
            )
            assert np.all(np.diff(now) <= 1e-9 * now[1:])
            assert np.all(now >= before)
            before = now


@pytest.mark.parametrize("gap", [1e-9, 1e-12, 1e-14, 2**-53])
def test_confidences_near_1_have_a_quantile(gap: float) -> None:
    top = poisson_quantile(3.0, 1 - gap)
    assert 10 <= top <= 40
    found = compound_quantile([1.0, 2.0], [1.0, 2.0], 1 - gap)
    assert 15 <= found <= 2 * poisson_quantile(3.0, math.nextafter(1.0, 0.0))
