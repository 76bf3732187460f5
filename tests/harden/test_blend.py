"""The way back to the original: it ends where the clean accuracy is spared, and the better of two ends is taken."""

import numpy as np
import pytest
import torch

from faultsim.engine.scored import scored_output
from faultsim.errors import OptionError
from faultsim.harden import Hardening, harden
from faultsim.harden.blend import ASKED, STEPS, blended
from faultsim.harden.curve import Judged
from faultsim.harden.losses import Plain
from faultsim.harden.options import Training
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.train import train
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, Arrays


@pytest.fixture(params=[("digits_float", "keep"), ("digits_int8", "keep"), ("digits_int8", "learn")], ids=str)
def moved(request):
    """A graph, its leaves, and leaves that a training might have left."""
    name, scales = request.param
    trainable = Trainable(load_model(DIGITS / f"{name}.onnx"), scales=scales)
    torch.manual_seed(0)
    initial = trainable.leaves()
    far = {n: leaf.detach() + 0.05 * torch.randn_like(leaf) for n, leaf in initial.items()}
    return trainable, initial, far


def test_all_of_the_way_is_taken_where_it_may_be(moved):
    trainable, initial, far = moved
    way = blended(trainable, initial, far, lambda numbers: True)
    assert way.part == 1
    assert _same(trainable.numbers(way.leaves), trainable.numbers(far))


def test_it_is_asked_from_the_trained_numbers_on_and_stops_at_the_first_that_pass(moved):
    trainable, initial, far = moved
    asked = []
    way = blended(trainable, initial, far, lambda numbers: asked.append(numbers) or len(asked) == 9)
    assert way.part == pytest.approx((STEPS - 8) / STEPS)
    assert _same(asked[0], trainable.numbers(far))
    for name, leaf in way.leaves.items():
        middle = initial[name].detach().double() * (1 - way.part) + far[name].double() * way.part
        assert torch.allclose(leaf.double(), middle, atol=1e-6)
        assert not leaf.requires_grad
    known = trainable.model.numbers
    assert all(array.dtype == known[name].dtype for name, array in trainable.numbers(way.leaves).items())


def test_where_nothing_passes_the_original_is_left(moved):
    trainable, initial, far = moved
    asked = []
    way = blended(trainable, initial, far, lambda numbers: bool(asked.append(1)))
    assert (way.part, len(asked)) == (0, STEPS)
    original = trainable.numbers(way.leaves)
    assert all(np.array_equal(array, trainable.model.numbers[name]) for name, array in original.items())


@pytest.mark.parametrize("spared", [*range(STEPS + 1)])
def test_where_time_is_short_the_way_is_halved_and_ends_where_it_would(moved, spared):
    trainable, initial, far = moved
    name = next(iter(far))
    whole = float((far[name] - initial[name]).detach().norm())
    asked = []

    def hold(leaves):
        asked.append(round(STEPS * float((leaves[name] - initial[name]).detach().norm()) / whole))

    way = blended(trainable, initial, far, lambda numbers: (asked or [STEPS])[-1] <= spared, hold, lambda: False)
    assert way.part == pytest.approx(spared / STEPS)
    assert len(asked) + 1 <= ASKED


def test_where_the_time_is_up_the_farthest_so_far_is_taken(moved):
    trainable, initial, far = moved
    for looks, part in ((0, 0), (1, 0), (2, 10 / STEPS), (3, 15 / STEPS)):
        asked = []
        way = blended(
            trainable,
            initial,
            far,
            lambda numbers, asked=asked: asked.append(1) or len(asked) > 1,
            late=lambda asked=asked, looks=looks: len(asked) >= looks,
        )
        assert way.part == part


def test_numbers_that_are_not_finite_are_never_asked_about(moved):
    trainable, initial, far = moved
    far[next(iter(far))].view(-1)[0] = torch.nan
    assert blended(trainable, initial, far, lambda numbers: True).part == 0


def _trained(score, spares):
    model = load_model(DIGITS / "digits_float.onnx")
    with np.load(DIGITS / "digits_float.npz") as archive:
        x, y = archive["image"], archive["labels"]
    data, trainable = Samples(Arrays("image", x, y), np.arange(200), model.inputs), Trainable(model)
    target = Target(model, Classification(), scored_output(model), data, towards="labels", batch_size=100)

    def far(numbers):
        return sum(float(np.square(numbers[n] - model.numbers[n]).sum()) for n in trainable.parameters) ** 0.5

    plan = Training(steps=12, batch_size=32, validate_every=6, lr=2e-3)
    done = train(
        trainable,
        data,
        target,
        Plain(),
        lambda numbers: Judged(0.1, 0.5, score(far(numbers))),
        plan,
        names=tuple(trainable.parameters),
        spares=None if spares is None else lambda numbers: spares(far(numbers)),
    )
    return done, far(done.numbers)


def test_what_lies_on_the_way_is_taken_where_it_is_better_than_the_best_of_the_training():
    whole, reached = _trained(lambda far: far, None)
    assert (whole.part, whole.best.step) == (1, 12)

    def score(far):
        return -abs(far - 0.5 * reached)

    done, stopped = _trained(score, lambda far: far <= 0.52 * reached)
    assert 0.45 <= done.part <= 0.55
    assert stopped == pytest.approx(done.part * reached, rel=1e-3)
    assert done.best.score == pytest.approx(score(stopped), abs=1e-6)
    assert done.best.step == 12
    scores = [[point.score for point in one.curve] for one in (done, _trained(score, None)[0])]
    assert scores[0] == scores[1]  # what was validated in the training stands as it was


def test_where_nothing_on_the_way_is_spared_or_better_the_original_is_kept():
    for score, spares in ((lambda far: far, lambda far: far < 1e-6), (lambda far: -far, lambda far: True)):
        done, stopped = _trained(score, spares)
        assert (done.part, done.best.step, stopped) == (1, 0, 0)
        assert done.found == (12 if score(2.0) > 0 else 0)


def _same(one, two):
    return one.keys() == two.keys() and all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("other", ["test_data", "validation_data"])
def test_what_is_trained_on_neither_chooses_nor_judges(tmp_path, other):
    data = DIGITS / "digits_float.npz"
    options = Hardening(**{other: DIGITS / ".." / DIGITS.name / data.name})
    with pytest.raises(OptionError, match=rf"training data and {other.partition('_')[0]} data are both"):
        harden("digits", "reram", data, target=tmp_path / "h.onnx", options=options)


def test_a_copy_of_the_training_file_is_known_by_its_samples(tmp_path):
    data = DIGITS / "digits_float_train.npz"
    copy = tmp_path / "copy.npz"
    copy.write_bytes(data.read_bytes())
    with pytest.raises(OptionError, match=r"samples are in the \w+ data too: what is trained or chosen by"):
        harden("digits", "reram", data, target=tmp_path / "h.onnx", options=Hardening(test_data=copy))
