"""Flips that meet in a word: moments against every pattern of flips, radii against drawn chips."""

import itertools
from typing import Any

import numpy as np
import pytest

from faultsim.budget.words import flip_moments
from faultsim.corruption import Site, Stored, apply_edit
from faultsim.faults import BitFlip, VoltageBitErrors
from faultsim.formats import IntFormat
from faultsim.rng import generator

FORMATS = [
    IntFormat(4, scale=0.5),
    IntFormat(4, signed=False, zero_point=3),
    IntFormat(4, encoding="offset_binary", scale=0.25),
    IntFormat(4, encoding="sign_magnitude", scale=2.0),
    IntFormat(3, scale=[[0.5], [4.0]]),
]


def words_of(fmt: IntFormat, columns: int = 6) -> Any:
    return fmt.decode(np.random.default_rng(1).integers(1 << fmt.bits, size=(2, columns)).astype(np.uint64))


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("fmt", FORMATS, ids=lambda fmt: f"{fmt.name} {np.ndim(fmt.scale)}")
def test_moments_are_those_of_every_pattern_of_flips(fmt: IntFormat, p: int) -> None:
    values = words_of(fmt)
    rates = np.random.default_rng(2).uniform(0.05, 0.6, (values.size, fmt.bits))
    written = fmt.encode(values)
    mean, second = np.zeros(values.size), np.zeros(values.size)
    for flips in itertools.product((0, 1), repeat=fmt.bits):
        mask = np.uint64(sum(bit << place for place, bit in enumerate(flips)))
        change = np.abs(fmt.decode(written ^ mask).astype(np.float64) - values).reshape(-1) ** p
        chance = np.prod(np.where(np.array(flips, dtype=bool), rates, 1 - rates), axis=1)
        mean += chance * change
        second += chance * change**2
    found = flip_moments(fmt, values, rates, p=p)
    assert found.mean == pytest.approx(mean.sum(), rel=1e-12)
    assert found.variance == pytest.approx((second - mean**2).sum(), rel=1e-9)


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("encoding", ["twos_complement", "sign_magnitude"])
@pytest.mark.parametrize("ber", [0.04, 0.15])
def test_radii_are_those_of_drawn_chips_within_two_percent(ber: float, encoding: Any, p: int) -> None:
    fmt = IntFormat(8, scale=1 / 127, encoding=encoding)
    rng = np.random.default_rng(3)
    values = fmt.decode(fmt.encode(np.clip(rng.standard_normal(3000) * 0.15, -1, 1).astype(np.float32)))
    site = Site(name="w", layer="w", kind="conv", role="weight", depth=0, shape=values.shape, format=fmt)
    stored, law = Stored(site, fmt, values), BitFlip(ber=ber)
    drawn = [
        np.linalg.norm(apply_edit(law.sample(stored, generator(0, trial)), stored).astype(np.float64) - values, p)
        for trial in range(2000)
    ]
    assert law.budget(stored, p=p, confidence=0.99).eps == pytest.approx(np.quantile(drawn, 0.99), rel=0.02)
    assert law.budget(stored, p=p, confidence=0.5).eps == pytest.approx(np.quantile(drawn, 0.5), rel=0.005)


def test_cells_that_prefer_one_value_have_the_radius_of_drawn_dies() -> None:
    fmt = IntFormat(8, scale=1 / 127)
    rng = np.random.default_rng(4)
    values = fmt.decode(fmt.encode(np.clip(rng.standard_normal(3000) * 0.15, -1, 1).astype(np.float32)))
    site = Site(name="w", layer="w", kind="conv", role="weight", depth=0, shape=values.shape, format=fmt)
    stored, law = Stored(site, fmt, values), VoltageBitErrors(voltage=1.0, table=((1.0, 0.2),), p_flip_0to1=0.9)
    drawn = [
        np.linalg.norm(apply_edit(law.sample(stored, generator(0, trial)), stored).astype(np.float64) - values)
        for trial in range(1000)
    ]
    assert law.budget(stored, p=2, confidence=0.99).eps == pytest.approx(np.quantile(drawn, 0.99), rel=0.02)
