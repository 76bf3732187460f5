"""Harden ResNet-20 on CIFAR-10, float and int8, and hold the gains to their goals.

``python benchmarks/harden_resnet20.py --data-folder DATA --train TRAIN.npz --minutes 60`` gives each of three runs that
time: the L2 worst case (float), ReRAM one day after programming (float), 1 % random bit errors (int8). DATA is the
folder with ``cifar10/cifar10_test.npz`` and ``cifar10_models``, TRAIN.npz holds the 50,000 training ``images`` (uint8,
N×32×32×3) and ``labels``. The int8 model is made from the float one by onnxruntime's static quantizer, calibrated on
training images. Choices are made on the first half of the test images, and all figures are of the others: the network
was trained on every training image, and is right on nearly all of them. Exit code 1 where a goal is missed: with few
minutes nothing else is to be expected.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from faultsim.assessment import Options
from faultsim.corruption import Stored, apply_edit
from faultsim.device import Conditions
from faultsim.faults import BitFlip
from faultsim.harden import Hardening, Training, harden
from faultsim.harden.precision import SLOW, slowdown
from faultsim.harden.run import Hardened
from faultsim.model import Model, load_model
from faultsim.rng import generator

CLEAN = -0.003
RUNS = ("lp", "reram", "bits")
DAY_S = 86400.0
CHOSEN_BY = 5000
RATE = 4e-4
"""0.4 % of the RMS of the weights: what the search for a rate takes on these models."""


class Images:
    """Uint8 images N×32×32×3 and labels, as the ResNets take them: float32 N×3×32×32 in [0, 1]."""

    def __init__(self, path: Path, *, first: int = 0, most: int | None = None) -> None:
        """Read an ``.npz`` file, *most* images of it from the *first* on."""
        span = slice(first, None if most is None else first + most)
        with np.load(path, allow_pickle=False) as archive:
            self._images: NDArray[np.uint8] = archive["images"][span]
            self._labels: NDArray[np.int64] = archive["labels"][span].astype(np.int64)
        self.source: str = f"{path.name} from {first} on"
        self.notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self._images)

    def inputs(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the images ``start … stop - 1``."""
        part = self._images[start:stop].astype(np.float32) / 255
        return {"input": np.ascontiguousarray(part.transpose(0, 3, 1, 2))}

    def labels(self, start: int, stop: int) -> NDArray[Any] | None:
        """Return their labels."""
        found: NDArray[Any] = self._labels[start:stop]
        return found


class Data(NamedTuple):
    """What is trained on, chosen by, and judged on."""

    train: Images
    validation: Images
    test: Images


class Calibration(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Hands 500 training images to onnxruntime's quantizer."""

    def __init__(self, data: Images) -> None:
        self._batches = iter([data.inputs(i, i + 50) for i in range(0, min(len(data), 500), 50)])

    def get_next(self) -> dict[str, Any] | None:
        """Return the next batch, or ``None`` at the end."""
        return next(self._batches, None)


def main() -> None:
    """Print every figure beside its goal; exit with 1 where one is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60.0, help="for the trainings of each run")
    parser.add_argument("--run", choices=RUNS, action="append", help="repeatable; all three without")
    parser.add_argument("--test-samples", type=int, default=10000 - CHOSEN_BY)
    parser.add_argument("--trials", type=int, default=50, help="chips of the assessments before and after")
    parser.add_argument("--judged-trials", type=int, default=30, help="chips of the mean under bit errors")
    parser.add_argument("--alpha", type=float, help="of the bit errors; 1/2 without it")
    split = argparse.BooleanOptionalAction
    parser.add_argument("--split-batch", action=split, default=True, help="of the bit errors: half the price of a step")
    parser.add_argument("--out", type=Path, help="keeps checkpoints, and a run that was cut off goes on")
    chosen = parser.parse_args()
    train = Images(chosen.train)
    unseen = chosen.data_folder / "cifar10" / "cifar10_test.npz"
    data = Data(train, Images(unseen, most=CHOSEN_BY), Images(unseen, first=CHOSEN_BY, most=chosen.test_samples))
    floats = chosen.data_folder / "cifar10_models" / "resnet20_cifar10.onnx"
    missed = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = chosen.out or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        for run in chosen.run or RUNS:
            model = floats if run != "bits" else quantized(floats, folder / "resnet20_int8.onnx", train)
            began = time.monotonic()
            done = hardened(run, model, data, folder / run, chosen)
            trained, whole = done.result.training.seconds / 60, (time.monotonic() - began) / 60
            print(f"{run}: trained {trained:.1f} min of {whole:.1f} min, {done.result.sentence}", flush=True)
            for what, gain, goal in gains(run, model, done, data.test, chosen.judged_trials):
                print(f"  {what:44} {100 * gain:+7.2f} points, goal {100 * goal:+.2f}", flush=True)
                missed += [f"{run}: {what}"] if gain < goal else []
    if missed:
        print(f"missed: {'; '.join(missed)}")
        sys.exit(1)


def quantized(floats: Path, place: Path, train: Images) -> Path:
    """Return the int8 QDQ form of the float model, made once."""
    if not place.is_file():
        quantize_static(
            floats, place, Calibration(train), quant_format=QuantFormat.QDQ, per_channel=True,
            activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        )  # fmt: skip
    return place


def hardened(run: str, model: Path, data: Data, out: Path, chosen: argparse.Namespace) -> Hardened:
    """Harden *model* as the run asks."""
    device = "sram_low_voltage" if run == "bits" else "reram_1t1r"
    conditions, roles = None, ()
    if run == "reram":
        conditions = Conditions(t_s=DAY_S)
    if run == "bits":  # one bit in a hundred of the weights, by the profile's own curve
        conditions = Conditions(v_norm=0.7785)
        roles = ("weight",)
    options = Hardening(
        recipe={"lp": "lp", "reram": "analog", "bits": "auto"}[run],
        losses=("clip", "randbet") if run == "bits" else (),  # the recipe's own rate is a third of this one
        strength=1.0 if run == "bits" else None,
        alpha=chosen.alpha if run == "bits" else None,
        validation_data=data.validation,
        test_data=data.test,
        tolerance=-CLEAN,
        scales="learn" if run == "bits" else "keep",
        training=Training(
            augment="flip-shift",
            split_batch=chosen.split_batch and run == "bits",
            lr=RATE,
            time_budget_s=60 * chosen.minutes,
            precision="float32" if slowdown() > SLOW else "bf16",
        ),
        assess=Options(
            trials=chosen.trials,
            site_trials=0,
            site_samples=64,
            conditions=conditions,
            roles=roles,
            search_gradients=5 if run == "bits" else Options.search_gradients,  # its goals are none of worst cases
        ),
        radii=run == "lp",
        resume=True,
    )
    return harden(model, device, data.train, target=out / "hardened.onnx", out=out, options=options)


def gains(run: str, model: Path, done: Hardened, test: Images, trials: int) -> list[tuple[str, float, float]]:
    """Return what was gained beside its goal, as fractions."""
    rows = {row.name: row for row in done.result.compared}
    found = [("clean accuracy", _gain(rows["clean accuracy"]), CLEAN)]
    if run == "lp":
        row = next(row for name, row in rows.items() if name.startswith("worst case at ε ="))
        found.append((row.name, _gain(row), 0.15))
    elif run == "reram":
        row = rows["random accuracy, 5th percentile"]
        clean = rows["clean accuracy"].before or 0.0
        found.append(("5th percentile, half way back to clean", _gain(row), 0.5 * (clean - (row.before or 0.0))))
    else:
        before, after = (under_bits(one, test, trials) for one in (load_model(model), done.exported.model))
        found.append((f"1 % random bit errors, {before:.2%} before", after - before, 0.30))
    return found


def under_bits(model: Model, test: Images, trials: int, ber: float = 0.01, most: int = 2000) -> float:
    """Return the mean accuracy of int8 weights with every stored bit flipped with probability *ber*."""
    sites = [site for site in model.select(("weight",)) if model.numbers[site.name].dtype.itemsize == 1]
    law = BitFlip(ber=ber)
    count = min(len(test), most)
    labels = np.asarray(test.labels(0, count))
    right = 0
    for trial in range(trials):
        numbers = {}
        for site in sites:
            one = Stored(site, site.format, model.numbers[site.name])
            numbers[site.name] = apply_edit(law.sample(one, generator(77, trial, "bits", site.name)), one)
        for start in range(0, count, 250):
            output = next(iter(model.run(test.inputs(start, min(start + 250, count)), numbers).values()))
            right += int((np.asarray(output).argmax(1) == labels[start : start + 250]).sum())
    return right / (trials * count)


def _gain(row: Any) -> float:
    return float((row.after or 0.0) - (row.before or 0.0))


if __name__ == "__main__":
    main()
