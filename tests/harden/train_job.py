"""One short training on the digits, as several files of tests run it."""

import numpy as np

from faultsim.engine.scored import scored_output
from faultsim.harden.ball import Ball
from faultsim.harden.clipping import WeightClipping
from faultsim.harden.curve import Judged
from faultsim.harden.losses import CorruptionResistant
from faultsim.harden.noise import RandomBitErrors
from faultsim.harden.options import Training
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.together import Together
from faultsim.harden.train import train
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, Arrays, mean_loss

LOSS = Together(losses=(WeightClipping(limit=2.5), RandomBitErrors(ber=0.01), CorruptionResistant(ball=Ball(eps=0.3))))


def job(
    name="digits_float",
    *,
    loss=LOSS,
    checkpoint=None,
    resume=False,
    towards="labels",
    told=None,
    flat=False,
    judging=None,
    known=0.0,
    spares=None,
    **options,
):
    model = load_model(DIGITS / f"{name}.onnx")
    with np.load(DIGITS / f"{name}.npz") as archive:
        x, y = archive["image"], archive["labels"]
    data = Samples(Arrays("image", x, y), np.arange(400), model.inputs)
    trainable = Trainable(model)
    target = Target(model, Classification(), scored_output(model), data, towards=towards, batch_size=100)

    def judge(numbers):
        if judging is not None:
            judging()
        loss = mean_loss(model, x[400:], y[400:], {n: a for n, a in numbers.items() if n in trainable.parameters})
        gone = sum(float(np.square(numbers[n].astype(float) - model.numbers[n]).sum()) for n in trainable.parameters)
        return Judged(
            loss, 0.5, 0.0 if flat else gone
        )  # the further the better: what is compared is never the untrained model

    plan = Training(**{"steps": 24, "batch_size": 32, "validate_every": 6, "lr": 2e-3, "checkpoint_s": 1e-3, **options})
    names = tuple(p.site.name for p in trainable.parameters.values() if p.site.role == "weight")
    return train(
        trainable,
        data,
        target,
        loss,
        judge,
        plan,
        names=names,
        checkpoint=checkpoint,
        resume=resume,
        told=told,
        spares=spares,
        judging=known,
    )
