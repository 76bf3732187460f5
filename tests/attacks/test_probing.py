"""`probe`: what is removed and moved is what the report says, and figures equal those of the graph itself."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_nets
from linear import QUICK, cross_entropy, numbers, runtime_score, two_classes, with_numbers

import faultsim
from faultsim.attacks import ProbeOptions
from faultsim.attacks.prepare import prepare
from faultsim.attacks.probing import removed
from faultsim.errors import OptionError
from faultsim.results.probing import ProbePart, ProbeResult


def layer(result: ProbeResult, name: str) -> ProbePart:
    return next(part for part in result.parts if (part.group, part.name) == ("layer", name))


def test_figures_are_those_of_the_graph_with_those_numbers(tmp_path: Path) -> None:
    proto, data = two_classes()
    path = tiny_nets.save(proto, tmp_path / "net.onnx", data)
    how = ProbeOptions(radii=(0.3,), removed=(1.0,), draws=3)
    result = faultsim.probe(path, how=how, options=QUICK)
    cells = {cell.mode: cell for cell in layer(result, "only").cells}
    assert list(cells) == ["gradient", "random", "weights", "units"]
    w, b = (numbers(proto)[name].astype(np.float64) for name in ("w", "b"))
    logits = data["x"] @ w + b
    soft = np.exp(logits - logits.max(1, keepdims=True))
    soft = soft / soft.sum(1, keepdims=True) - np.eye(2)[data["labels"]]
    by_w, by_b = data["x"].T.astype(np.float64) @ soft, soft.sum(0)
    moved = data["x"] @ (w + 0.3 * np.linalg.norm(w) * by_w / np.linalg.norm(by_w))
    moved = moved + b + 0.3 * np.linalg.norm(b) * by_b / np.linalg.norm(by_b)
    assert cells["gradient"].loss == pytest.approx(cross_entropy(moved, data["labels"]), rel=1e-5)
    assert cells["gradient"].accuracy == pytest.approx((moved.argmax(1) == data["labels"]).mean())
    assert (cells["gradient"].draws, cells["gradient"].low) == (1, None)
    accuracy, loss = runtime_score(with_numbers(proto, "w", np.zeros_like(w, np.float32)), data)
    assert (cells["weights"].accuracy, cells["weights"].loss) == pytest.approx((accuracy, loss))
    assert cells["units"].loss == pytest.approx(np.log(2), rel=1e-6)  # nothing is left of both classes
    random = cells["random"]
    assert random.draws == 3
    assert random.low <= random.accuracy <= random.high
    assert "relative L2 radius" in result.normalisation
    assert result.clean.accuracy == 1.0


def test_a_shared_absolute_radius_moves_the_worst_numbers_of_each_part(tmp_path: Path) -> None:
    proto, data = two_classes()
    path = tiny_nets.save(proto, tmp_path / "net.onnx", data)
    how = ProbeOptions(radii=(0.3,), modes=("gradient", "random"), draws=3, p=math.inf, n=2, scope="global",
                       relative="none")  # fmt: skip
    result = faultsim.probe(path, how=how, options=QUICK)
    w, b = (numbers(proto)[name].astype(np.float64) for name in ("w", "b"))
    logits = data["x"] @ w + b
    soft = np.exp(logits - logits.max(1, keepdims=True))
    soft = soft / soft.sum(1, keepdims=True) - np.eye(2)[data["labels"]]
    slope = np.concatenate([(data["x"].T.astype(np.float64) @ soft).reshape(-1), soft.sum(0)])
    step = np.where(np.abs(slope) >= np.sort(np.abs(slope))[-2], 0.3 * np.sign(slope), 0.0)
    assert np.count_nonzero(step) == 2
    moved = data["x"] @ (w + step[: w.size].reshape(w.shape)) + b + step[w.size :]
    cells = {cell.mode: cell for cell in layer(result, "only").cells}
    assert cells["gradient"].loss == pytest.approx(cross_entropy(moved, data["labels"]), rel=1e-5)
    assert cells["random"].draws == 3
    said = "equal L∞ radius for every part: eps = r in units of the weights, in at most 2 numbers"
    assert result.normalisation == said
    assert any("this one is absolute" in note for note in result.notes)


def test_a_part_of_fewer_numbers_moves_them_all(tmp_path: Path) -> None:
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    how = ProbeOptions(radii=(0.5,), modes=("random",), draws=2, samples=20, n=10_000, scope="global")
    every = faultsim.probe(path, how=replace(how, n=None), options=QUICK)
    assert faultsim.probe(path, how=how, options=QUICK).parts == every.parts


@pytest.mark.parametrize("units", [False, True])
def test_the_asked_share_is_removed_and_integer_codes_go_to_their_zero(units: bool) -> None:
    options = replace(QUICK, limit=20)
    given = {"device": None, "search_data": None, "options": options, "roles": ("weight", "bias"), "samples": 20,
             "bits_only": True, "torch_device": "cpu", "tell": lambda *_: None, "stopped": lambda: False}  # fmt: skip
    for name in ("digits", "digits_int8"):
        setting = prepare(name, None, **given).setting
        found = removed(setting.stored, 0.25, 0, 0, units=units)
        again = removed(setting.stored, 0.25, 0, 0, units=units)
        other = removed(setting.stored, 0.25, 0, 1, units=units)
        for site, one in setting.stored.items():
            assert np.array_equal(found[site], again[site])
            if one.site.role != "weight":
                continue
            assert not np.array_equal(found[site], other[site])
            gone = (found[site] == 0) & (one.values != 0)
            kept = found[site] == one.values
            assert (gone | kept).all()
            if units:
                axis = one.site.channel_axis % one.values.ndim
                dead = (found[site] == 0).all(axis=tuple(a for a in range(one.values.ndim) if a != axis))
                assert dead.sum() == max(1, round(0.25 * one.site.shape[axis]))
            else:
                zeros = (one.values == 0).sum()
                share = round(0.25 * one.site.elements)
                assert share - zeros <= gone.sum() <= share


def test_the_same_seed_ranks_alike_and_groups_cover_all_tensors() -> None:
    how = ProbeOptions(radii=(0.1,), removed=(0.3,), draws=2, samples=40)
    one, two = (faultsim.probe("digits", how=how, options=QUICK) for _ in range(2))
    assert one.parts == two.parts
    groups = {part.group for part in one.parts}
    assert groups == {"kind", "position", "layer"}
    for group in groups:
        assert sum(part.elements for part in one.parts if part.group == group) == one.model.tested_parameters
    assert one.samples == 40
    other = faultsim.probe("digits", how=how, options=replace(QUICK, seed=1))
    assert [cell for part in other.parts for cell in part.cells if cell.mode == "gradient"] == [
        cell for part in one.parts for cell in part.cells if cell.mode == "gradient"
    ]
    assert other.parts != one.parts


def test_a_stopped_probe_keeps_what_it_measured() -> None:
    seen: list[str] = []
    result = faultsim.probe(
        "digits",
        how=ProbeOptions(draws=2, samples=20),
        options=QUICK,
        progress=lambda phase, done, total: seen.append(phase),
        stopped=lambda: seen.count("probe") >= 5,
    )
    assert sum(len(part.cells) for part in result.parts) == 5
    assert result.stopped is not None


def test_a_layer_of_zeros_is_probed_and_stays_as_it_is(tmp_path: Path) -> None:
    proto = with_numbers(tiny_nets.dense(), "first.bias", np.zeros_like(numbers(tiny_nets.dense())["first.bias"]))
    path = tiny_nets.save(proto, tmp_path / "net.onnx", tiny_nets.samples())
    how = ProbeOptions(draws=2, samples=20, radii=(0.5,), modes=("gradient", "random"))
    result = faultsim.probe(path, how=how, options=replace(QUICK, sites=("first.bias",)))
    cells = [cell for part in result.parts for cell in part.cells]
    assert {cell.mode for cell in cells} == {"gradient", "random"}
    assert {cell.accuracy for cell in cells} == {result.clean.accuracy}


def test_what_nothing_can_be_done_to_is_told(tmp_path: Path) -> None:
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    with pytest.raises(OptionError, match="no tensor under test has what --mode units corrupts"):
        faultsim.probe(path, how=ProbeOptions(modes=("units",)), options=QUICK, roles=("bias",))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"radii": (0.0,)}, "--eps is 0, it must be above 0"),
        ({"removed": (1.5,)}, "--remove is 1.5, it must be above 0, at most 1"),
        ({"modes": ("grad",)}, "--mode 'grad' is unknown"),
        ({"modes": ("random", "random")}, "--mode names one twice"),
        ({"p": 0.5}, "--p is 0.5, it must be from 1 to inf"),
        ({"n": 0}, "--n is 0, it must be at least 1"),
        ({"scope": "part"}, "--scope 'part' is unknown"),
        ({"relative": "own"}, "--relative 'own' is unknown"),
        ({"draws": 1}, "--draws is 1, it must be at least 2"),
        ({"radii": (0.1, 0.1)}, "--eps gives 2 values; give 1 to 20 different ones"),
    ],
)
def test_options_out_of_range_are_refused(given: dict, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        ProbeOptions(**given)


@pytest.mark.parametrize("scope", ["tensor", "global"])
def test_a_limit_counts_the_numbers_that_a_radius_moves(tmp_path: Path, scope: str) -> None:
    """A bias of zeros has no part of its own norm: a limit above what is left is no limit."""
    proto = with_numbers(tiny_nets.dense(), "first.bias", np.zeros_like(numbers(tiny_nets.dense())["first.bias"]))
    path = tiny_nets.save(proto, tmp_path / "net.onnx", tiny_nets.samples())
    how = ProbeOptions(draws=2, samples=20, radii=(0.5,), modes=("gradient", "random"), scope=scope, n=10_000)
    every = faultsim.probe(path, how=replace(how, n=None), options=QUICK)
    assert faultsim.probe(path, how=how, options=QUICK).parts == every.parts
