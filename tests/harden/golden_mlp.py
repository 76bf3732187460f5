"""The reference MLP of the golden files: fine-tuned by a loss, and judged by the NumPy network of the search tests."""

from functools import cache

import numpy as np

from faultsim.constraints import Global, LpL0
from faultsim.engine.scored import scored_output
from faultsim.formats import quantize_symmetric
from faultsim.harden.curve import Judged
from faultsim.harden.options import Training
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.train import train
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import load_model
from faultsim.search import FixedPoint, worst_case
from tests.harden.conftest import Arrays
from tests.search.digits_mlp import DigitsMlp

SEEDS = (0, 1, 2)


@cache
def _masks(seed, trial, ber, shapes):
    """The coins of one chip, drawn once for all validations."""
    rng = np.random.default_rng([seed, trial])
    return [((rng.random((*shape, 8)) < ber) @ (1 << np.arange(8))).astype(np.uint64) for shape in shapes]


class Judge:
    """The reference network on one split."""

    def __init__(self, golden, split):
        self.net = DigitsMlp.load(golden, split)

    def put(self, numbers):
        self.net.weights = {name: np.asarray(array, dtype=np.float64) for name, array in numbers.items()}

    def clean(self, numbers):
        self.put(numbers)
        return self.net.score(None).accuracy

    def one_step(self, numbers, eps, p=2):
        self.put(numbers)
        ball = Global(tuple(self.net.weights), LpL0(p, eps))
        return self.net.score(ball.argmax(self.net.gradient(None, "cross_entropy").grads)).accuracy

    def ten_steps(self, numbers, eps):
        self.put(numbers)
        ball = Global(tuple(self.net.weights), LpL0(2, eps))
        return worst_case(self.net, ball, methods=(FixedPoint(),), budget_gradients=10).score.accuracy

    def bits(self, numbers, ber, trials, seed=11):
        """Mean accuracy of int8 codes with every bit flipped with probability *ber*, coin by coin."""
        kept = {name: quantize_symmetric(np.asarray(array), 8) for name, array in numbers.items()}
        codes = {name: kept[name].encode(array) for name, array in numbers.items()}
        found = []
        for trial in range(trials):
            masks = _masks(seed, trial, ber, tuple(array.shape for array in numbers.values()))
            self.put(
                {name: kept[name].decode(code ^ mask) for (name, code), mask in zip(codes.items(), masks, strict=True)}
            )
            found.append(self.net.score(None).accuracy)
        return float(np.mean(found))


def hardened(golden, loss, score, *, steps, lr, batch_size=32, ema=0.98, validate_every=150, seeds=SEEDS, decay=0.0):
    """Fine-tune the reference network with three seeds; the numbers of the best validation of each."""
    model = load_model(golden / "mlp_f32.onnx")
    with np.load(golden / "digits_split.npz") as archive:
        x, y = archive["x_train"], archive["y_train"]
    data = Samples(Arrays(model.inputs[0].name, x, y), np.arange(len(x)), model.inputs)
    trainable = Trainable(model)
    target = Target(model, Classification(), scored_output(model), data, towards="labels", batch_size=250)
    chosen = Judge(golden, "val")
    before = chosen.clean({name: model.numbers[name] for name in trainable.parameters})

    def judge(numbers):
        clean = chosen.clean(numbers)
        kept = clean >= before - 0.005  # the golden files' own rule
        return Judged(0.0, clean, score(chosen, numbers) - (0.0 if kept else 1.0))

    found = []
    for seed in seeds:
        plan = Training(steps=steps, lr=lr, batch_size=batch_size, ema=ema, validate_every=validate_every, seed=seed,
                        weight_decay=decay)  # fmt: skip
        found.append(train(trainable, data, target, loss, judge, plan, names=tuple(trainable.parameters)).numbers)
    return {name: model.numbers[name] for name in trainable.parameters}, found


def norm(numbers):
    """The L2 norm of all numbers together."""
    return float(np.sqrt(sum(np.sum(np.square(array, dtype=np.float64)) for array in numbers.values())))


def ball_score(judge, numbers):
    """What numbers are chosen by: absolute and relative radii, int8 codes with bit errors, and the clean accuracy."""
    radii = (0.5, 1.0, 0.02 * norm(numbers), 0.05 * norm(numbers))
    flipped = [judge.bits(numbers, ber, 4, seed=5) for ber in (0.005, 0.02)]
    return np.mean([*(judge.one_step(numbers, eps) for eps in radii), *flipped, judge.clean(numbers)])
