"""`attack` on one set: against closed forms, brute force in onnxruntime, and its own certificate."""

import math
from dataclasses import replace
from itertools import product
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import tiny_nets
from linear import QUICK, attacked, cross_entropy, numbers, runtime_score, two_classes, with_numbers

import faultsim
import faultsim.attacks
from faultsim.attacks import Ball, Search, StoppedEarlyError, attack
from faultsim.attacks.proof import Proof, held_to
from faultsim.attacks.worst import Found, Scored
from faultsim.certify import Certificate
from faultsim.errors import FaultsimError, OptionError
from faultsim.search import Score

ONE_STEP = Search(methods=("one-step",), objective="cross-entropy", trials=1, certify=False)


@pytest.mark.parametrize(("p", "n"), [(1.0, None), (1.5, None), (2.0, None), (2.0, 3), (math.inf, None), (math.inf, 4)])
def test_one_step_is_the_closed_form_of_the_clean_gradient(tmp_path: Path, p: float, n: int | None) -> None:
    proto, data = two_classes()
    w, b = numbers(proto)["w"].astype(np.float64), numbers(proto)["b"].astype(np.float64)
    logits = data["x"] @ w + b
    soft = np.exp(logits - logits.max(1, keepdims=True))
    soft /= soft.sum(1, keepdims=True)
    gradient = data["x"].T.astype(np.float64) @ (soft - np.eye(2)[data["labels"]]) / len(logits)
    # MATH.md 1: a* = eps sgn(h) |h|^(1/(p-1)) / ||h||_q^(1/(p-1)), h the n largest
    h = gradient.reshape(-1).copy()
    if n is not None:
        h[np.argsort(-np.abs(h), kind="stable")[n:]] = 0
    eps = 0.3
    if p == 1:
        a = np.zeros_like(h)
        top = np.abs(h).argmax()
        a[top] = eps * np.sign(h[top])
    elif math.isinf(p):
        a = eps * np.sign(h)
    else:
        a = np.sign(h) * np.abs(h) ** (1 / (p - 1))
        a *= eps / np.linalg.norm(a, p)
    expected = cross_entropy(data["x"] @ (w + a.reshape(w.shape)) + b, data["labels"])
    options = replace(QUICK, sites=("w",))
    result = attacked(tmp_path, proto, data, ball=Ball(p=p, eps=eps, n=n), search=ONE_STEP, options=options)
    (row,) = result.methods
    assert row.name == "one_step"
    assert row.loss == pytest.approx(expected, rel=1e-5)
    assert result.largest is not None
    assert result.largest.loss >= row.loss - 1e-12  # the best random trial takes part
    assert result.indicator == pytest.approx(eps * np.linalg.norm(h, 1 / (1 - 1 / p) if p > 1 else math.inf), rel=1e-5)


def test_relative_radii_are_in_the_unit_that_they_say(tmp_path: Path) -> None:
    proto, data = two_classes()
    w = numbers(proto)["w"].astype(np.float64)
    options = replace(QUICK, sites=("w",))
    rms, norm = math.sqrt((w**2).mean()), np.linalg.norm(w)
    found = [
        attacked(tmp_path, proto, data, ball=ball, search=ONE_STEP, options=options).methods[0].loss
        for ball in (
            Ball(eps=0.4 * rms),
            Ball(eps=0.4, relative="rms"),
            Ball(eps=0.4, relative="rms", scope="global"),
            Ball(eps=0.4 * rms / norm, relative="norm"),
        )
    ]
    assert found[1:] == pytest.approx([found[0]] * 3, rel=1e-6)


def test_the_step_of_integer_codes_counts(tmp_path: Path) -> None:
    result = attack("digits_int8", ball=Ball(p=math.inf, eps=0.02), options=replace(QUICK, limit=100), search=ONE_STEP,
                    write=tmp_path / "worst.onnx")  # fmt: skip
    clean = faultsim.load_model(faultsim.library.find_model("digits_int8"))
    broken = faultsim.load_model(tmp_path / "worst.onnx")
    for site in clean.select(("weight",)):
        step = np.asarray(site.scale, dtype=np.float64)
        moved = np.abs(broken.numbers[site.name].astype(int) - clean.numbers[site.name].astype(int)) * step
        assert 0 < moved.max() <= 0.02 + step.max() / 2  # the radius in real units, rounded to a code
    assert result.written is not None
    assert result.written.same
    assert result.certificate is not None
    assert "no certificate was asked for" in result.certificate.why_not


@pytest.mark.parametrize("p", [1.0, math.inf])
def test_exhaustive_is_the_brute_force_of_onnxruntime(tmp_path: Path, p: float) -> None:
    proto, data = tiny_nets.dense(), tiny_nets.samples()
    bias = numbers(proto)["first.bias"]
    eps, losses, accuracies = 1.5, [], []
    for place, sign in product(range(bias.size), (1, -1)):
        moved = bias.copy()
        moved[place] += sign * eps
        accuracy, loss = runtime_score(with_numbers(proto, "first.bias", moved), data)
        losses.append(loss)
        accuracies.append(accuracy)
    result = attacked(
        tmp_path,
        proto,
        data,
        ball=Ball(p=p, eps=eps, n=None if p == 1 else 1),
        search=Search(methods=("exhaustive",), trials=1),
        options=replace(QUICK, sites=("first.bias",)),
    )
    (row,) = result.methods
    assert row.candidates == len(losses)
    assert row.loss == pytest.approx(max(losses), rel=1e-5)
    assert row.accuracy == pytest.approx(min(accuracies))


def test_no_default_search_is_weaker_than_all_corners(tmp_path: Path) -> None:
    proto, data = tiny_nets.dense(), tiny_nets.samples()
    given = {"ball": Ball(p=1, eps=1.5), "options": replace(QUICK, sites=("first.bias",))}
    corners = attacked(tmp_path, proto, data, search=Search(methods=("exhaustive",), trials=1), **given)
    default = attacked(tmp_path, proto, data, **given)
    assert default.largest.loss >= corners.largest.loss * (1 - 1e-6)


def test_a_proven_bound_holds_over_the_corners_of_the_set(tmp_path: Path) -> None:
    proto, data = two_classes()
    w = numbers(proto)["w"]
    result = attacked(
        tmp_path, proto, data, ball=Ball(p=math.inf, eps=0.1), search=Search(certify=True),
        options=replace(QUICK, sites=("w",)),
    )  # fmt: skip
    proof = result.certificate
    assert proof is not None
    assert proof.proven
    assert proof.why_not == ""
    truth = []
    for signs in product((1, -1), repeat=w.size):  # the loss is convex in the weights: the worst lies at a corner
        logits = data["x"] @ (w + 0.1 * np.reshape(signs, w.shape)) + numbers(proto)["b"]
        truth.append((cross_entropy(logits, data["labels"]), float((logits.argmax(1) == data["labels"]).mean())))
    worst, least = max(loss for loss, _ in truth), min(right for _, right in truth)
    assert result.largest.loss_change <= proof.loss_change
    assert result.largest.loss == pytest.approx(worst, rel=1e-4)
    assert worst - result.clean.loss <= proof.loss_change * (1 + 1e-6)
    assert proof.accuracy <= least <= result.worst.accuracy


def test_gradients_of_one_split_and_scores_of_another(tmp_path: Path) -> None:
    proto, data = two_classes(n=120)
    halves = [{name: array[part] for name, array in data.items()} for part in (slice(0, 60), slice(60, None))]
    np.savez(tmp_path / "search.npz", **halves[1])
    apart = attacked(tmp_path, proto, halves[0], ball=Ball(eps=0.4), search_data=tmp_path / "search.npz",
                     write=tmp_path / "worst.onnx")  # fmt: skip
    assert apart.separate
    assert "60 other samples (search.npz)" in apart.searched_on
    assert not any("--search-data" in note for note in apart.notes)
    accuracy, loss = runtime_score(tmp_path / "worst.onnx", halves[0])  # judged on --data
    assert (apart.worst.accuracy, apart.worst.loss) == pytest.approx((accuracy, loss), rel=1e-5)
    same = attacked(tmp_path, proto, halves[0], ball=Ball(eps=0.4))
    assert not same.separate
    assert any("--search-data" in note for note in same.notes)
    assert same.largest.loss >= apart.largest.loss * (1 - 1e-3)  # who searched on what judges, finds no less


def test_the_written_model_is_what_the_report_says_in_onnxruntime(tmp_path: Path) -> None:
    proto, data = tiny_nets.dense(), tiny_nets.samples()
    result = attacked(tmp_path, proto, data, ball=Ball(eps=1.0), write=tmp_path / "deep" / "worst.onnx")
    accuracy, loss = runtime_score(tmp_path / "deep" / "worst.onnx", data)
    assert result.worst.accuracy == pytest.approx(accuracy)
    assert result.worst.loss == pytest.approx(loss, rel=1e-5)
    assert result.written.same
    assert result.written.accuracy == result.worst.accuracy
    broken = faultsim.load_model(tmp_path / "deep" / "worst.onnx").numbers
    for name, values in numbers(proto).items():
        moved = np.linalg.norm(broken[name].astype(np.float64) - values)
        assert moved <= 1.0 + 1e-5
    assert result.deployed_size == pytest.approx(1.0, abs=1e-4)


def test_the_same_seed_gives_the_same_result_and_another_other_random_trials() -> None:
    options = replace(QUICK, limit=60)
    given = {"ball": Ball(eps=0.2, n=10), "search": Search(gradients=10, trials=5)}
    one, two = (faultsim.attack("digits", options=options, **given).to_dict() for _ in range(2))
    other = faultsim.attack("digits", options=replace(options, seed=1), **given).to_dict()
    for found in (one, two, other):
        found.pop("provenance")
        found.pop("certificate")  # holds its seconds
    assert one == two
    assert one["random"] != other["random"]


def test_the_name_of_the_package_is_the_function() -> None:
    assert faultsim.attack is faultsim.attacks.attack
    assert faultsim.probe is faultsim.attacks.probe
    assert isinstance(Ball(p=1, eps=0).radius, int | float)


def test_what_is_held_in_narrow_floats_is_scored_so_and_not_proven(tmp_path: Path) -> None:
    """Codes of bfloat16: what is written is on its grid, and no bound is known for the rounding."""
    asked = {"ball": Ball(eps=0.1), "options": replace(QUICK, limit=40), "search": Search(gradients=4)}
    result = faultsim.attack("digits", device="hbm_gpu", **asked, write=tmp_path / "worst.onnx")
    for name, values in faultsim.load_model(tmp_path / "worst.onnx").numbers.items():
        if name.endswith("weight"):
            np.testing.assert_array_equal(values, values.astype(ml_dtypes.bfloat16).astype(np.float32))
    assert not result.certificate.proven
    assert "stored as bfloat16" in result.certificate.why_not


def test_a_bound_that_what_was_found_contradicts_is_no_proof() -> None:
    def score(accuracy: float, loss: float) -> Score:
        return Score(loss, 0.0, accuracy, 0)

    proof = Proof(Certificate(loss_increase_upper=0.5, accuracy_lower=0.8, proven=True), 1.0)
    for accuracy, loss, proven in ((0.8, 0.7, True), (0.7, 0.7, False), (0.9, 0.8, False)):
        one = Scored(score(accuracy, loss), "pgd", {})
        clean = score(1.0, 0.2)
        found = Found(clean, one, one, (), None, 1, None, stopped=False)
        assert held_to(found, proof).certificate.proven is proven
    broken = Scored(Score(math.inf, 0.0, 0.9, 3), "random", {})
    found = Found(clean, one, broken, (), None, 1, None, stopped=False)
    assert not held_to(found, proof).certificate.proven


def test_a_stopped_search_keeps_what_it_found(tmp_path: Path) -> None:
    proto, data = tiny_nets.dense(), tiny_nets.samples()
    with pytest.raises(StoppedEarlyError):
        attacked(tmp_path, proto, data, ball=Ball(eps=1.0), stopped=lambda: True)
    asked = 0

    def after(calls: int):
        def stopped() -> bool:
            nonlocal asked
            asked += 1
            return asked > calls

        return stopped

    full = attacked(tmp_path, proto, data, ball=Ball(eps=1.0))
    part = attacked(tmp_path, proto, data, ball=Ball(eps=1.0), stopped=after(70), write=tmp_path / "worst.onnx")
    assert part.stopped is not None
    assert full.stopped is None
    assert 0 < part.forwards < full.forwards
    assert part.clean.loss < part.largest.loss <= full.largest.loss
    assert "stopped" in part.certificate.why_not
    assert runtime_score(tmp_path / "worst.onnx", data)[0] == pytest.approx(part.worst.accuracy)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "nothing to search: give --p and --eps, --device, or --bits"),
        ({"ball": Ball(p=2)}, "the set has no radius; give --eps"),
        ({"ball": Ball(eps=0.1, n=33)}, "--n is 33, the largest tensor under test has 32 numbers"),
        ({"ball": Ball(eps=0.1), "search": Search(methods=("exhaustive",))}, "one of p = 2 with 32 moving numbers"),
        (
            {"ball": Ball(p=math.inf, eps=0.1, n=9), "search": Search(methods=("exhaustive",))},
            "would score more than 200,000 corners",
        ),
        ({"ball": Ball(eps=0.1), "roles": ("wheel",)}, "--roles 'wheel' is unknown; there are weight, bias"),
        ({"ball": Ball(eps=0.1), "device": "sram", "roles": ("scale",)}, "--roles 'scale': sram_low_voltage stores"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_one_sentence(tmp_path: Path, given: dict, said: str) -> None:
    options = replace(QUICK, sites=("second.weight",))
    with pytest.raises(FaultsimError) as caught:
        attacked(tmp_path, tiny_nets.dense(), tiny_nets.samples(), options=options, **given)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Ball(p=0.5), "--p is 0.5, it must be from 1 to inf"),
        (lambda: Ball(p=math.nan), "--p is nan"),
        (lambda: Ball(eps=-1.0), "--eps is -1, it must be finite"),
        (lambda: Ball(eps=math.inf), "--eps is inf, it must be finite"),
        (lambda: Ball(n=0), "--n is 0, it must be at least 1"),
        (lambda: Search(gradients=0), "--gradients is 0, it must be at least 1"),
        (lambda: Search(samples=0), "--search-samples is 0, it must be at least 1"),
        (lambda: Search(methods=("pdg",)), "--method 'pdg' is unknown; did you mean 'pgd'"),
    ],
)
def test_options_out_of_range_are_refused(make, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        make()


def test_a_zero_tensor_cannot_move_by_a_part_of_its_norm(tmp_path: Path) -> None:
    proto, data = two_classes()
    proto = with_numbers(proto, "b", np.zeros(2, np.float32))
    data["labels"] = (data["x"] @ numbers(proto)["w"]).argmax(1)
    result = attacked(tmp_path, proto, data, ball=Ball(eps=0.2, relative="rms"), write=tmp_path / "worst.onnx")
    assert result.set.pinned == ("b",)
    assert not faultsim.load_model(tmp_path / "worst.onnx").numbers["b"].any()
    with pytest.raises(OptionError, match="every tensor under test is zero"):
        attacked(tmp_path, proto, data, ball=Ball(eps=0.2, relative="rms"), options=replace(QUICK, sites=("b",)))


@pytest.mark.parametrize(("gradients", "told"), [(30, True), (260, False)])
def test_random_starts_that_pgd_has_no_gradients_for_are_told(tmp_path: Path, gradients: int, told: bool) -> None:
    search = Search(methods=("pgd",), gradients=gradients, restarts=1, trials=1, certify=False)
    result = attacked(tmp_path, tiny_nets.dense(), tiny_nets.samples(), ball=Ball(eps=0.1), search=search)
    said = [note for note in result.notes if note.startswith("pgd made fewer random starts than the 1 of --restarts")]
    assert bool(said) is told
