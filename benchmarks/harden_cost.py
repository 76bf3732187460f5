"""What a step of each loss costs against a plain step: ``python benchmarks/harden_cost.py``.

A step is a forward and a backward pass, the loss's own work, and the optimizer's. Steps of all losses are interleaved,
one of each in turn, so that a machine that slows down slows all; a ratio is the median over the rounds of a step over
the plain step of the same round. Exit code 1 where an L* step costs more
than 2.2 plain ones, or an L_a step more than 4.
"""

import argparse
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch

from faultsim.assessment import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.device import load_device
from faultsim.harden.ball import Ball
from faultsim.harden.batch import BatchAt
from faultsim.harden.losses import CorruptionResistant, GradientRegularised, Loss, Plain, SharpnessAware, evaluate
from faultsim.harden.noise import NoiseAware, RandomBitErrors
from faultsim.harden.precision import resolved
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.trainable import Trainable

ROOT = Path(__file__).resolve().parent.parent
RESNET = ("cifar10_models/resnet20_cifar10.onnx", "cifar10/cifar10_test.npz")
SPLIT = ", split"
"""Ends the names of losses whose clean and corrupted passes see half a batch each (`harden --split-batch`)."""
LIMITS = {"l_star": 2.2, "l_a": 4.0}


def main() -> None:
    """Print the table; exit with 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--model", type=Path, help="in place of ResNet-20, or of the bundled digits model without it")
    parser.add_argument("--data", type=Path)
    parser.add_argument("--device", default="reram")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--bf16", action="store_true", help="plain, L* and L_a in bfloat16 as well (float graphs)")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=9)
    chosen = parser.parse_args()
    model, data = chosen.model, chosen.data
    if model is None:
        model, data = (chosen.data_folder / part for part in RESNET)
    if not model.is_file():
        model, data = (ROOT / "scenarios" / "digits" / f"digits_float.{end}" for end in ("onnx", "npz"))
    options = Options(limit=max(chosen.batch, 256), threads=chosen.threads)
    setting = make_setting(str(model), chosen.device, data, options, torch_device="cpu")
    ball = Ball(p=2, eps=0.03, relative=True)
    losses: dict[str, Loss] = {
        "plain": Plain(),
        "l_star": CorruptionResistant(ball=ball),
        f"l_star{SPLIT}": CorruptionResistant(ball=ball),
        "l_star, 2 steps": CorruptionResistant(ball=ball, virtual_steps=2),
        "sam": SharpnessAware(ball=ball),
        "l_a": GradientRegularised(ball=ball),
        "noise": NoiseAware(device=load_device(chosen.device)),
        "randbet": RandomBitErrors(),
        f"randbet{SPLIT}": RandomBitErrors(),
    }
    half = tuple(name for name in ("plain", "l_star", "l_a") if chosen.bf16)
    times = measure(setting, losses, half=half, batch=chosen.batch, repeats=chosen.repeats)
    print(f"{model.name}, batches of {chosen.batch}, median of {chosen.repeats} interleaved steps")
    missed = []
    for name, taken in times.items():
        ratio = statistics.median(one / plain for one, plain in zip(taken, times["plain"], strict=True))
        limit = LIMITS.get(name)
        said = "" if limit is None else f"  (at most {limit})"
        print(f"  {name:16} {statistics.median(taken) * 1e3:9.2f} ms  {ratio:5.2f} × plain{said}")
        if limit is not None and ratio > limit:
            missed.append(name)
    if missed:
        print(f"over the limit: {', '.join(missed)}")
        sys.exit(1)


def measure(
    setting: Setting, losses: dict[str, Loss], *, half: tuple[str, ...] = (), batch: int, repeats: int
) -> dict[str, list[float]]:
    """Return the seconds of every step by loss, of those in *half* in bfloat16 too; a first round is not counted."""
    trainable = Trainable(setting.model)
    if half:
        resolved("bf16", setting.model, setting.data.inputs(0, batch))
    kinds = {name: (loss, trainable) for name, loss in losses.items()}
    kinds |= {f"{name}, bf16": (losses[name], Trainable(setting.model, precision="bf16")) for name in half}
    names = tuple(name for name in setting.stored if name in trainable.parameters)
    samples = Samples(setting.data, np.arange(len(setting.data)), setting.model.inputs)
    target = Target(setting.model, setting.task, setting.output, samples, towards="labels", batch_size=batch)
    leaves = trainable.leaves()
    optimizer = torch.optim.Adam(list(leaves.values()), lr=1e-6)
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for turn in range(repeats + 1):
        rows = (np.arange(batch) + turn * batch) % len(samples)
        for name, (loss, graph) in kinds.items():
            start = time.perf_counter()
            half = len(rows) // 2 if name.endswith(SPLIT) else len(rows)
            feeds, batch_loss = target.batch(rows[:half])
            other = target.batch(rows[half:]) if half < len(rows) else None
            at = BatchAt(graph, leaves, feeds, batch_loss, names=names, seed=0, step=turn, other=other)
            _, grads = evaluate(loss, at)
            for key, leaf in leaves.items():
                leaf.grad = grads[key]
            optimizer.step()
            if turn:
                times[name].append(time.perf_counter() - start)
    return times


if __name__ == "__main__":
    main()
