"""The reference MLP's bit-flip tables: equal where the method is the same, at least as strong where it is ours."""

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from faultsim.corruption import Xor
from faultsim.formats import FloatFormat
from faultsim.search.bits import (
    Beam,
    BitFlips,
    Choices,
    Limits,
    ProgressiveBitSearch,
    Untargeted,
    Width,
    WorstCells,
    worst_cells,
)
from faultsim.search.bits.limits import Sites
from faultsim.search.bits.ranking import candidates, moves, taken_of
from tests.search.bits.nets import WEIGHTS, golden_mlp, stored_as
from tests.search.digits_mlp import DigitsMlp

pytestmark = pytest.mark.shared


@pytest.fixture
def golden(shared: Path) -> Path:
    return shared / "golden/corruption"


@cache
def table(golden: Path) -> Any:
    return json.loads((golden / "bitflip_mlp.json").read_text())


def flips(stored) -> dict[str, Choices]:
    return {name: BitFlips(one) for name, one in stored.items()}


def best_losses(found: WorstCells) -> dict[int, float]:
    """The largest loss with at most so many flips."""
    best: dict[int, float] = {}
    for row in found.trace:
        best[row.cells] = max(best.get(row.cells, 0.0), row.loss)
    return {n: max(loss for size, loss in best.items() if size <= n) for n in best}


@pytest.mark.parametrize("bits", [8, 4])
def test_the_stored_codes_are_those_of_the_reference(golden, bits):
    reference, net = table(golden)[f"mlp_int{bits}"], golden_mlp(golden, bits)
    codes = [one.format.quantize(one.values) for one in net.stored.values()]
    assert sum(int(c.sum()) for c in codes) == reference["q_sum"]
    assert sum(int(np.abs(c).sum()) for c in codes) == reference["q_abs_sum"]
    score = net.score({})
    assert score.loss == pytest.approx(reference["loss0"], rel=1e-12)
    assert score.accuracy == reference["acc0"]


@pytest.mark.parametrize("bits", [8, 4])
def test_progressive_bit_search_takes_the_steps_of_the_reference(golden, bits):
    reference, net = table(golden)[f"mlp_int{bits}"], golden_mlp(golden, bits)
    found = worst_cells(
        Untargeted(objective=net), flips(net.stored), 11, methods=[ProgressiveBitSearch()], until_accuracy=0.11
    )
    assert (found.gradients, found.forwards) == (reference["pbs_cost"]["grads"], reference["pbs_cost"]["forwards"] + 1)
    assert found.worst.judged.loss == pytest.approx(reference["pbs"][-1]["loss"], rel=1e-9)
    assert found.worst.judged.accuracy == reference["pbs"][-1]["acc"]
    assert {tuple(pick) for pick in found.worst.picks} == {
        (row["param"], row["index"], row["bit"]) for row in reference["pbs"]
    }
    losses = {(row.cells, round(row.loss, 9)) for row in found.trace}
    missing = [row["flip"] for row in reference["pbs"] if (row["flip"], round(row["loss"], 9)) not in losses]
    assert not missing


@pytest.mark.parametrize("bits", [8, 4])
def test_first_order_flips_equal_the_reference(golden, bits):
    """The n largest positive gains at once: prediction and true loss, to the last digits."""
    reference, net = table(golden)[f"mlp_int{bits}"], golden_mlp(golden, bits)
    sites = Sites(flips(net.stored))
    gradient = net.gradient({}, "cross_entropy")
    width = Width(best=20, worst=0, per_site=0, per_option=0, widest=0, random=0)
    rng = np.random.default_rng(0)
    ranked = candidates(sites, gradient, frozenset(), limits=Limits(), width=width, rng=rng)
    gains = moves(sites, ranked, frozenset(), gradient)
    for row in reference["first_order_oneshot"]:
        chosen = ranked[: row["n"]]
        score = net.score({k: sites.choices[k].edit(t) for k, t in taken_of(frozenset(chosen)).items()})
        assert sum(gains[pick] for pick in chosen) == pytest.approx(row["predicted_dL"], rel=1e-9)
        assert score.loss == pytest.approx(row["loss"], rel=1e-9)
        assert score.accuracy == row["acc"]


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4])
def test_every_single_flip_equals_the_reference_and_the_worst_is_found(golden, bits):
    reference, net = table(golden)[f"mlp_int{bits}"], golden_mlp(golden, bits)
    choices = flips(net.stored)
    losses = []
    for name, one in choices.items():
        for element in range(one.elements):
            for option in range(bits):
                losses.append((net.score({name: one.edit({element: (option,)})}).loss, name, element, option))
    change = np.array([loss for loss, *_ in losses]).reshape(-1, bits) - reference["loss0"]
    np.testing.assert_allclose(change.mean(axis=0), reference["mean_dL_by_bit"], rtol=1e-7, atol=1e-12)
    np.testing.assert_allclose(change.max(axis=0), reference["max_dL_by_bit"], rtol=1e-9)
    for found, row in zip(sorted(losses, reverse=True), reference["exhaustive_1flip_top5"], strict=False):
        assert found[1:] == (row["param"], row["index"], row["bit"])
        assert found[0] == pytest.approx(row["loss"], rel=1e-9)
    worst = worst_cells(Untargeted(objective=net), choices, 1)
    assert worst.worst.judged.loss == pytest.approx(reference["exhaustive_1flip_top5"][0]["loss"], rel=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("bits", [8, 4])
def test_our_search_is_stronger_than_every_row_with_at_most_twice_the_gradients(golden, bits):
    reference = table(golden)[f"mlp_int{bits}"]
    wide = reference["pbs_wide50"]
    for rows, cost in ((wide, reference["pbs_wide50_cost"]), (reference["pbs"], reference["pbs_cost"])):
        net = golden_mlp(golden, bits)
        most = 2 * cost["grads"]
        found = worst_cells(Untargeted(objective=net), flips(net.stored), len(rows), budget_gradients=most, restarts=0)
        assert found.gradients == net.gradients <= most
        losses = best_losses(found)
        weaker = [row["flip"] for row in rows if losses[row["flip"]] < row["loss"] * (1 - 1e-9)]
        assert not weaker
        assert found.least_accurate.judged.accuracy <= rows[-1]["acc"]
    net = golden_mlp(golden, bits)
    chance = next(row["flip"] for row in wide if row["acc"] <= 0.12)
    found = worst_cells(
        Untargeted(objective=net), flips(net.stored), chance, until_accuracy=0.12, budget_gradients=2 * chance
    )
    assert found.needed is not None
    assert found.needed <= {8: 4, 4: 4}[bits] < chance


@pytest.mark.parametrize("bits", [8, 4])
def test_with_two_gradients_it_beats_first_order_and_random_flips(golden, bits):
    reference = table(golden)[f"mlp_int{bits}"]
    for row in reference["first_order_oneshot"]:
        net = golden_mlp(golden, bits)
        beam = Beam(beam=2, tried=30, favourites=30, losses=1)
        found = worst_cells(
            Untargeted(objective=net), flips(net.stored), row["n"], methods=[beam], budget_gradients=2, restarts=0
        )
        random = max(r["loss_max"] for r in reference["random_n"] if r["n"] <= row["n"])
        assert found.gradients <= 2
        assert found.worst.judged.loss >= max(row["loss"], random), row["n"]


@pytest.mark.parametrize(("name", "kind"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float16")])
def test_flipped_floats_equal_the_reference_bit_by_bit(golden, name, kind):
    """How far the weights move on average (over finite results), and how many flips are not finite."""
    form = FloatFormat(kind)
    mlp = DigitsMlp.load(golden)
    tables = []
    for weight in WEIGHTS:
        choices = BitFlips(stored_as(weight, mlp.weights[weight].astype(np.float32), form))
        tables.append(choices.table(np.arange(choices.elements), {}))
    values, held = (np.concatenate([getattr(t, part) for t in tables]) for part in ("values", "held"))
    finite = np.isfinite(values)
    for row in table(golden)[f"mlp_{name}_per_bit"]["rows"]:
        bit = row["bit"]
        assert int((~finite[:, bit]).sum()) == row["nonfinite"]
        moved = np.abs(values[finite[:, bit], bit] - held[finite[:, bit]])
        assert moved.mean() == pytest.approx(row["mean_abs_dw"], rel=1e-6)


def test_reported_edits_are_the_flips_found(golden):
    net = golden_mlp(golden, 8)
    found = worst_cells(
        Untargeted(objective=net), flips(net.stored), 3, methods=[Beam(beam=2, tried=10, survey=0, favourites=5)]
    )
    assert found.worst.cells == 3
    assert net.score(found.worst.corruption).loss == found.worst.judged.loss
    masks = [edit.masks for edit in found.worst.corruption.values() if isinstance(edit, Xor)]
    assert sum(int(m).bit_count() for mask in masks for m in mask) == 3
