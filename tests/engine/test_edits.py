"""A network under edits: exactly the numbers that the memory then holds, and the gradient there."""

import numpy as np
import pytest

from faultsim.corruption import Stored, apply_edit
from faultsim.engine.edits import NetworkEdits
from faultsim.engine.objective import NetworkObjective
from faultsim.search.bits import Beam, BitFlips, Untargeted, worst_cells


def as_deployed(model):
    return {s.name: Stored(s, s.format, model.numbers[s.name]) for s in model.select(("weight",))}


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_scores_and_gradients_are_those_of_the_edited_numbers(kind, digits, scorer):
    model = digits(kind)
    network, stored = NetworkEdits(model, as_deployed(model), scorer(model)), as_deployed(model)
    name = list(stored)[-1]
    edit = BitFlips(stored[name]).edit({3: (stored[name].format.bits - 1,), 7: (0, 2)})
    judge = scorer(model)
    assert network.score({name: edit}).loss == judge.score({name: apply_edit(edit, stored[name])}).mean_loss
    delta = {name: apply_edit(edit, stored[name]).astype(np.float64) - stored[name].values.astype(np.float64)}
    plain = NetworkObjective(model, stored, scorer(model)).gradient(delta, "cross_entropy")
    found = network.gradient({name: edit}, "cross_entropy")
    assert found.loss == pytest.approx(plain.loss, rel=1e-6)
    for one, gradient in found.grads.items():
        assert gradient == pytest.approx(plain.grads[one], abs=1e-5 * np.abs(gradient).max())
    clean = network.gradient({}, "cross_entropy")
    assert clean.loss == pytest.approx(network.score({}).loss, rel=1e-5)
    assert (network.gradients, network.forwards) == (2, 2)


@pytest.mark.parametrize("kind", ["float", "int8"])
def test_a_few_flips_ruin_a_deployed_model(kind, digits, scorer):
    model = digits(kind)
    network = NetworkEdits(model, as_deployed(model), scorer(model))
    choices = {name: BitFlips(stored) for name, stored in network.stored.items()}
    beam = Beam(beam=2, tried=12, survey=0, favourites=6)
    found = worst_cells(Untargeted(objective=network), choices, 3, methods=[beam])
    written = {name: apply_edit(edit, network.stored[name]) for name, edit in found.worst.corruption.items()}
    assert scorer(model).score(written).counts.accuracy == found.worst.judged.accuracy < found.clean.accuracy - 0.02
    assert found.worst.judged.nonfinite == 0
