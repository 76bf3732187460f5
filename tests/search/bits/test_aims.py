"""What the attacker wants: any error, one class, some samples only; and what happens to numbers that are not finite."""

import numpy as np
import pytest
import torch

from faultsim.errors import OptionError
from faultsim.formats import IntFormat, parse_format
from faultsim.metrics import Classification
from faultsim.search import Score
from faultsim.search.bits import Beam, BitFlips, Stealthy, Targeted, Untargeted, worst_cells
from tests.search.bits.nets import WEIGHTS, EditedMlp, golden_mlp, stored_as, tiny_mlp
from tests.search.digits_mlp import DigitsMlp

QUICK = [Beam(beam=3, tried=20, survey=0, favourites=10)]


def subset(net: EditedMlp, keep, labels=None) -> EditedMlp:
    """The same stored network on some of its samples, with other labels."""
    y = net.mlp.y[keep] if labels is None else np.full(int(keep.sum()), labels)
    return EditedMlp(DigitsMlp(net.mlp.weights, net.mlp.x[keep], y), net.stored)


def small(seed: int = 0, form: str | None = None, samples: int = 60) -> EditedMlp:
    mlp = tiny_mlp(seed, (6, 8, 6, 4), samples)
    forms = {
        n: parse_format(form) if form else IntFormat(8, scale=np.abs(mlp.weights[n]).max() / 127, dtype="float64")
        for n in WEIGHTS
    }
    return EditedMlp(mlp, {n: stored_as(n, mlp.weights[n], forms[n]) for n in WEIGHTS})


@pytest.mark.shared
def test_a_target_is_reached_on_the_reference_network(shared):
    net = golden_mlp(shared / "golden/corruption", 8)
    target = 8
    to_target = subset(net, np.ones(len(net.mlp.y), bool), target)
    found = worst_cells(
        Targeted(objective=to_target), {n: BitFlips(s) for n, s in net.stored.items()}, 4, methods=QUICK
    )
    hit = to_target.score(found.least_accurate.corruption).accuracy
    assert found.least_accurate.judged.accuracy == pytest.approx(1 - hit)
    assert found.clean.accuracy > 0.85
    assert hit > 0.85


def test_a_stealthy_attack_keeps_the_others_within_the_tolerance():
    net = small()
    net.mlp.y = net.mlp._forward(net.delta({}))[1][-1].argmax(1)  # all right as deployed
    victims = net.mlp.x[:, 0] > 0.8
    ours, others = subset(net, victims), subset(net, ~victims)
    clean = others.score({}).accuracy
    aim = Stealthy(aim=Untargeted(objective=ours), others=others, clean_accuracy=clean, tolerance=0.03)
    choices = {n: BitFlips(s) for n, s in net.stored.items()}
    spent = ours.forwards + others.forwards
    found = worst_cells(aim, choices, 4, methods=[Beam()])
    assert found.forwards == ours.forwards + others.forwards - spent
    least = found.least_accurate
    assert others.score(least.corruption).accuracy == least.judged.kept >= clean - 0.03 - 1e-12
    assert ours.score(least.corruption).accuracy == least.judged.accuracy < found.clean.accuracy
    assert all(one.judged.kept >= clean - 0.03 - 1e-12 for one in found.sizes)
    plain = worst_cells(aim.aim, choices, 4, methods=[Beam()])
    assert others.score(plain.least_accurate.corruption).accuracy < clean - 0.03


def test_the_gradients_of_the_aims_are_those_of_their_values():
    net = small(samples=20)
    victims = np.arange(20) < 8
    ours, others = subset(net, victims), subset(net, ~victims)
    for aim in (
        Untargeted(objective=ours, loss="margin"),
        Targeted(objective=ours),
        Targeted(objective=ours, loss="margin"),
        Stealthy(aim=Untargeted(objective=ours), others=others, clean_accuracy=1.0, weight=0.5),
    ):
        edits = {WEIGHTS[2]: BitFlips(net.stored[WEIGHTS[2]]).edit({3: (5,)})}
        loss = aim.losses[0]
        gradient = aim.gradient(edits, loss)
        assert aim.judge([edits])[0].value == pytest.approx(gradient.loss, rel=1e-12)
        number = net.stored[WEIGHTS[1]].values.reshape(-1)  # a view, shared by all of them
        held, step, values = number[5], 1e-6, []
        for sign in (1, -1):
            number[5] = held + sign * step
            values.append(aim.judge([edits])[0].value)
        number[5] = held
        slope = (values[0] - values[1]) / (2 * step)
        assert slope == pytest.approx(gradient.grads[WEIGHTS[1]].reshape(-1)[5], rel=1e-4, abs=1e-7)


@pytest.mark.parametrize("form", ["float32", "float16", "bfloat16", "float8_e5m2"])
def test_only_finite_outputs_are_reported_where_others_are_forbidden(form):
    net = small(1, form)
    choices = {n: BitFlips(s) for n, s in net.stored.items()}
    found = worst_cells(Untargeted(objective=net), choices, 3, methods=QUICK)
    for one in found.sizes:
        score = net.score(one.corruption)
        assert score.nonfinite == 0
        assert np.isfinite(score.loss)
    assert found.worst.judged.accuracy < found.clean.accuracy


def test_non_finite_outputs_count_as_the_largest_damage_where_they_are_allowed():
    net = small(1, "float16")
    choices = {n: BitFlips(s) for n, s in net.stored.items()}
    found = worst_cells(Untargeted(objective=net, finite_only=False), choices, 2, methods=QUICK)
    assert found.worst.judged.value == np.inf
    assert found.worst.judged.nonfinite == net.score(found.worst.corruption).nonfinite > 0
    assert found.least_accurate.judged.accuracy < 0.1
    assert found.nonfinite > 0


def test_a_scorer_that_loses_candidates_is_refused():
    class Lazy:
        def scores(self, candidates):
            return [Score(0.0, 0.0, 1.0)] * (len(candidates) - 1)

    net = small()
    with pytest.raises(OptionError, match="the scorer gave 0 scores for 1 candidates"):
        worst_cells(Untargeted(objective=net, scorer=Lazy()), {n: BitFlips(s) for n, s in net.stored.items()}, 1)


def test_a_scorer_of_many_takes_the_place_of_the_objective():
    net, other = small(), small()

    calls: list[int] = []

    class Counting:
        def scores(self, candidates):
            calls.append(len(candidates))
            return [other.score(edits) for edits in candidates]

    choices = {n: BitFlips(s) for n, s in net.stored.items()}
    found = worst_cells(Untargeted(objective=net, scorer=Counting()), choices, 2, methods=QUICK)
    assert net.forwards == 0
    assert found.forwards == other.forwards == sum(calls)
    assert max(calls) > 10
    alone = worst_cells(Untargeted(objective=small()), choices, 2, methods=QUICK)
    assert alone.worst.picks == found.worst.picks


def test_the_collapse_of_the_reference_network_is_that_of_the_task():
    """Hand-written gradient and torch agree, so that the searches are tested on the loss that they use."""
    net = small()
    w, activations = net.mlp._forward(net.delta({}))
    last = torch.tensor(w["fc3.weight"], requires_grad=True)
    logits = torch.from_numpy(activations[2]) @ last.T + torch.from_numpy(w["fc3.bias"])
    total = Classification().loss(logits, torch.from_numpy(net.mlp.y), "collapse").total / len(net.mlp.y)
    total.backward()
    found = net.gradient({}, "collapse")
    assert found.loss == pytest.approx(float(total.detach()), rel=1e-9)
    assert last.grad is not None
    assert found.grads["fc3.weight"] == pytest.approx(last.grad.numpy(), rel=1e-9, abs=1e-12)


def test_a_task_without_a_collapse_is_searched_by_its_other_losses():
    net = small()
    gradient, asked = net.gradient, []

    def lacking(edits, loss):
        asked.append(loss)
        if loss == "collapse":
            raise OptionError("loss 'collapse' is unknown")
        return gradient(edits, loss)

    net.gradient = lacking
    found = worst_cells(Untargeted(objective=net), {n: BitFlips(s) for n, s in net.stored.items()}, 3, methods=QUICK)
    assert asked[:2] == ["cross_entropy", "collapse"]
    assert asked.count("collapse") == 1
    assert "margin" in asked
    assert found.worst.cells == 3
    assert found.worst.judged.loss > found.clean.loss


def test_an_error_in_the_loss_of_the_value_is_not_hidden():
    net = small()

    def broken(edits, loss):
        raise OptionError("the labels are texts")

    net.gradient = broken
    with pytest.raises(OptionError, match="the labels are texts"):
        worst_cells(Untargeted(objective=net), {n: BitFlips(s) for n, s in net.stored.items()}, 1, methods=QUICK)


def test_numbers_of_a_stealthy_aim_are_checked():
    net = small()
    with pytest.raises(OptionError, match="tolerance is 2, it must lie between 0 and 1"):
        Stealthy(aim=Untargeted(objective=net), others=net, clean_accuracy=0.9, tolerance=2)
    with pytest.raises(OptionError, match="weight is -1, it must be finite and at least 0"):
        Stealthy(aim=Untargeted(objective=net), others=net, clean_accuracy=0.9, weight=-1)
