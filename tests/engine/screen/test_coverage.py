"""Do the intervals cover the truth? Of a small net whose every flip is known, by honest and by adversarial screens."""

from dataclasses import replace

import numpy as np
import pytest
import tiny_nets
from screen_nets import cnn, images, stored_of

from faultsim import load_data, load_model
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.engine.screen import screened as module
from faultsim.engine.screen.bitmap import MapOptions, bit_map, flipped
from faultsim.engine.screen.map_audit import audit
from faultsim.engine.screen.screened import ScreenedSweep, ScreenOptions
from faultsim.engine.screen.strata import Screen, Strata
from faultsim.engine.screen.tally import mismatch_rate
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.metrics import Classification

RUNS = 300
MAPS = 60
TRIALS = 20
LEVEL = 0.9
BITS = (31, 30, 26, 25, 24, 23, 22, 15)


class UpsideDown(Screen):
    """Calls safe what the margins call suspect, and suspect what they call safe."""

    def part(self, *given):
        screened, suspects = super().part(*given)
        return Strata(suspects, screened)


class Blind(Screen):
    """Calls every image safe."""

    def part(self, *given):
        screened, suspects = super().part(*given)
        return Strata(screened | suspects, np.zeros_like(suspects))


@pytest.fixture(scope="module")
def enumerated(tmp_path_factory):
    """Every flip of `BITS` in the first convolution and in some of the second, with its share of mismatches.

    The first one is screened channel by channel; the second one has no exact way on, as a residual is fused to it.
    """
    path = tiny_nets.save(cnn(), tmp_path_factory.mktemp("net") / "net.onnx", images(24))
    model = load_model(path)
    samples = load_data(None, model_path=model.path, inputs=model.inputs)
    output = scored_output(model)
    one = Scorer(Runner(model, output.name, threads=1), output, Classification(), samples, 250)
    one.set_golden()
    patches = []
    for name, stored in stored_of(model).items():
        if name != "last.weight":
            every = np.arange(0, stored.site.elements, 9 if name == "second.weight" else 1)
            for bit in BITS:
                new = flipped(stored, every, bit)
                patches += [{name: Sparse(every[i : i + 1], new[i : i + 1])} for i in range(every.size)]
    counts = [tally.counts.mismatch for tally in Sweep(one).score(patches)]
    return one, patches, np.array(counts) / 24


@pytest.mark.parametrize(("screen", "audited"), [(Screen, 2), (UpsideDown, 3), (Blind, 3)])
def test_intervals_over_random_trials_cover_the_mean_over_all_flips(screen, audited, enumerated, monkeypatch):
    one, patches, truth = enumerated
    monkeypatch.setattr(module, "Screen", screen)
    options = ScreenOptions(seed=1, audit=audited, suspects=4, rivals=1)
    picks = np.random.default_rng(7).integers(0, len(patches), RUNS * TRIALS)  # trials of the law: uniform over flips
    tallies = ScreenedSweep(one, options=options).score([patches[i] for i in picks])
    rates = [mismatch_rate(tallies[TRIALS * r :][:TRIALS], level=LEVEL) for r in range(RUNS)]
    covered = sum(rate.rate.low <= truth.mean() <= rate.rate.high for rate in rates)
    assert covered >= LEVEL * RUNS
    values = np.array([t.mismatch_rate for t in tallies])
    error = np.std(values - truth[picks], ddof=1) / np.sqrt(values.size)
    assert abs((values - truth[picks]).mean()) <= 4 * error
    assert error > 0  # the audit had something to correct, and the screen alone is far off where it is adversarial
    if screen is not Screen:
        alone = np.array([t.answer for t in tallies])
        assert alone.mean() < 0.5 * truth.mean()
    widths = [rate.rate.high - rate.rate.low for rate in rates]
    assert np.mean(widths) < 0.4  # no interval of everything


@pytest.mark.parametrize("wrong", [None, "reversed", "none"])
def test_intervals_of_the_bit_map_cover_the_mean_over_all_flips(wrong, enumerated, monkeypatch):
    one, _, _ = enumerated
    stored = {n: s for n, s in stored_of(one.runner.model).items() if n == "first.weight"}
    sweep = Sweep(one)
    (mapped,) = bit_map(one, stored, sweep, MapOptions(elements=24), lambda *told: None)
    every = np.arange(mapped.indices.size)
    patches = [
        {"first.weight": Sparse(mapped.indices[i : i + 1], flipped(mapped.stored, mapped.indices[i : i + 1], bit))}
        for bit in range(32)
        for i in every
    ]
    counts = [tally.counts.mismatch for tally in sweep.score(patches)]
    truth = np.array(counts, np.float32).reshape(32, -1) / 24
    guess = {
        None: mapped.shares,
        "reversed": 1 - truth,
        "none": np.zeros_like(truth),
    }[wrong]
    sites = [replace(mapped, shares=guess)]

    def known(sweep, sites, flips):
        return np.array([truth[flip.bit, flip.position] for flip in flips], np.float64)

    monkeypatch.setattr("faultsim.engine.screen.map_audit.shares", known)
    found = [audit(sites, sweep, flips=60, seed=seed, level=LEVEL) for seed in range(MAPS)]
    mean = float(truth.mean(dtype=np.float64))
    assert sum(one.total.low <= mean <= one.total.high for one in found) >= LEVEL * MAPS
    best = np.array([one.total.best for one in found])
    assert abs(best.mean() - mean) <= 4 * best.std(ddof=1) / np.sqrt(MAPS) + 1e-9
    for group in range(len(found[0].groups)):
        bits = list(found[0].groups[group].bits)
        own = float(truth[bits].mean(dtype=np.float64))
        ends = [one.groups[group].estimate for one in found]
        assert sum(low <= own <= high for low, _, high in ends) >= LEVEL * MAPS
