"""Tiny networks whose every corruption can be tried: the search finds the worst one, or comes close."""

from itertools import combinations

import numpy as np
import pytest

from faultsim.formats import IntFormat, parse_format
from faultsim.search.bits import (
    Beam,
    BitFlips,
    Choices,
    Levels,
    Limits,
    Pick,
    StuckWords,
    Untargeted,
    Width,
    worst_cells,
)
from faultsim.search.bits.limits import Sites
from faultsim.search.bits.ranking import join, taken_of
from tests.search.bits.nets import WEIGHTS, EditedMlp, stored_as, tiny_mlp

ALL = Beam(beam=10**6, tried=10**6, width=Width(best=10**6, worst=10**6), survey=0, favourites=0)


def tiny(seed: int, form: str) -> EditedMlp:
    mlp = tiny_mlp(seed)
    scale = {n: np.abs(mlp.weights[n]).max() / 7 for n in WEIGHTS}
    forms = {
        n: IntFormat(4, scale=scale[n], dtype="float64") if form == "int4" else parse_format(form) for n in WEIGHTS
    }
    return EditedMlp(mlp, {n: stored_as(n, mlp.weights[n], forms[n]) for n in WEIGHTS})


def every(choices: dict[str, Choices]) -> list[Pick]:
    found = []
    for name, one in choices.items():
        able = one.table(np.arange(one.elements), {}).able
        found += [Pick(name, int(e), int(o)) for e, o in zip(*np.nonzero(able), strict=True)]
    return found


def loss_of(net: EditedMlp, choices: dict[str, Choices], picks: tuple[Pick, ...]) -> float:
    taken = taken_of(frozenset(picks))
    score = net.score({name: choices[name].edit(of) for name, of in taken.items()})
    return score.value("cross_entropy")


KINDS = {
    "flips": lambda s: BitFlips(s),
    "levels": lambda s: Levels(s, 2),
    "any level": lambda s: Levels(s, 2, reach="any"),
    "stuck": lambda s: StuckWords(s),
    "stuck levels": lambda s: StuckWords(s, bits_per_cell=2),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_the_worst_single_cell_is_found_by_default(kind: str, seed: int) -> None:
    net = tiny(seed, "int4")
    choices = {name: KINDS[kind](one) for name, one in net.stored.items()}
    best = max(loss_of(net, choices, (pick,)) for pick in every(choices))
    found = worst_cells(Untargeted(objective=net), choices, 1)
    assert found.worst.judged.loss == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_beam_of_everything_is_exhaustive_for_two_cells(kind: str) -> None:
    net = tiny(1, "int4")
    net.stored = {name: net.stored[name] for name in WEIGHTS[1:]}
    net.mlp.weights[WEIGHTS[0]] = tiny(1, "int4").stored[WEIGHTS[0]].values
    choices = {name: KINDS[kind](one) for name, one in net.stored.items()}
    sites = Sites(choices)
    pairs = (p for p in combinations(every(choices), 2) if len(join(sites, frozenset(p[:1]), p[1])) == 2)
    best = max(loss_of(net, choices, pair) for pair in pairs)
    found = worst_cells(Untargeted(objective=net), choices, 2, methods=[ALL])
    assert found.worst.judged.loss == pytest.approx(best, rel=1e-12)
    default = worst_cells(Untargeted(objective=net), choices, 2)
    assert default.worst.judged.loss >= 0.999 * best


@pytest.mark.parametrize("seed", range(6))
def test_by_default_two_flips_do_what_the_worst_two_do(seed: int) -> None:
    net = tiny(seed, "int4")
    choices: dict[str, Choices] = {name: BitFlips(one) for name, one in net.stored.items()}
    best = max(loss_of(net, choices, pair) for pair in combinations(every(choices), 2))
    found = worst_cells(Untargeted(objective=net), choices, 2)
    assert found.worst.judged.loss >= 0.99 * best


@pytest.mark.parametrize("form", ["float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2", "fixed8.4"])
def test_the_worst_finite_flip_of_any_format_is_found(form: str) -> None:
    net = tiny(2, form)
    choices: dict[str, Choices] = {name: BitFlips(one) for name, one in net.stored.items()}
    best = max(loss_of(net, choices, (pick,)) for pick in every(choices))
    found = worst_cells(Untargeted(objective=net), choices, 1)
    assert found.worst.judged.nonfinite == 0
    assert found.worst.judged.loss == pytest.approx(best, rel=1e-12)


def test_first_order_is_exact_where_the_loss_is_linear() -> None:
    """With one gradient and no forward pass but the last, the flips are the n largest gains."""
    from faultsim.search import Gradient, Loss, Score

    slope = np.random.default_rng(0).normal(size=20)
    stored = stored_as("w", np.random.default_rng(1).normal(size=20), IntFormat(8, scale=0.02, dtype="float64"))
    choices = BitFlips(stored)

    class Linear:
        def gradient(self, edits: object, loss: Loss) -> Gradient:
            return Gradient(0.0, {"w": slope})

        def score(self, edits: dict) -> Score:  # type: ignore[type-arg]
            from faultsim.corruption import apply_edit

            now = apply_edit(edits["w"], stored) if edits else stored.values
            value = float(slope @ (now - stored.values))
            return Score(value, value, 0.5)

    table = choices.table(np.arange(20), {})
    gains = np.sort((slope[:, None] * (table.values - table.held[:, None])).reshape(-1))[::-1]
    for n in (1, 3, 10):
        found = worst_cells(Untargeted(objective=Linear()), {"w": choices}, n, methods=[Beam(beam=1, tried=20)])
        assert found.worst.judged.loss == pytest.approx(gains[:n].sum(), rel=1e-12)
        assert found.worst.cells == n
    assert Limits().free
