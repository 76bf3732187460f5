"""The certificate against the strongest search on random networks: never below, sample by sample."""

import os
from collections import Counter

import numpy as np
import pytest

from faultsim.certify import Certificate, certify
from faultsim.search import FixedPoint, Method, OneStep, ProjectedGradient, RandomPoints, WorstCase, worst_case
from tests.certify.nets import Case, Network, case, random_set

FEW: list[Method] = [OneStep(), RandomPoints(2), FixedPoint(steps=5)]
MANY: list[Method] = [
    OneStep(),
    RandomPoints(3),
    FixedPoint(steps=6),
    FixedPoint(loss="margin", steps=6),
    ProjectedGradient(steps=10),
]


def check(seed: int, methods: list[Method], gradients: int) -> tuple[Case, Certificate, WorstCase]:
    """Certify and attack one random network; the attack must stay within."""
    one, rng = case(seed), np.random.default_rng([8, seed])
    whole = random_set(rng, one)
    net = Network(one)
    found = certify(one.model, one.stored, whole, one.samples, probabilities=net.probability)
    assert found.proven, (seed, found.why_not)
    worst = worst_case(net, whole, methods=methods, budget_gradients=gradients, restarts=1, seed=seed)
    assert worst.score.loss - worst.clean.loss <= found.loss_increase_upper, seed
    assert worst.least_accurate.score.accuracy >= found.accuracy_lower, seed
    assert found.correct == round(worst.clean.accuracy * found.samples), seed
    at = np.arange(found.samples)
    predicted = net.rows(None).argmax(1)
    for delta in (worst.delta, worst.least_accurate.delta):
        rows = net.rows(delta)
        assert np.array_equal(rows.argmax(1)[found.stable], predicted[found.stable]), seed
        rivals = rows - rows[at, predicted][:, None]
        rivals[at, predicted] = -np.inf
        assert (rivals.max(1) <= found.margins_upper + 1e-12).all(), seed
    return one, found, worst


@pytest.mark.parametrize("block", range(4))
def test_no_attack_passes_the_certificate_of_100_random_networks(block: int) -> None:
    """And the certificates are worth something: most lie within a third of what the attack reaches."""
    ops: Counter[str] = Counter()
    ratios = []
    for seed in range(25 * block, 25 * block + 25):
        one, found, worst = check(seed, FEW, 8)
        ops.update({node.op_type for node in one.model.program.graph.nodes})
        ratios.append((worst.score.loss - worst.clean.loss) / found.loss_increase_upper)
    assert {"Gemm", "Conv", "BatchNormalization", "Relu", "Add", "MaxPool"} <= set(ops)
    assert np.median(ratios) > 0.67


@pytest.mark.slow
@pytest.mark.parametrize("block", range(4))
def test_no_attack_passes_the_certificate_of_more_random_networks(block: int) -> None:
    """Every tenth one meets the longer search; ``FAULTSIM_NETS=1000`` asks for so many, which takes minutes."""
    each = int(os.environ.get("FAULTSIM_NETS", "240")) // 4
    for seed in range(100 + each * block, 100 + each * (block + 1)):
        check(seed, MANY, 8 if seed % 10 else 30)
