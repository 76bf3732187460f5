"""Whether random corruption in the (p = 2, n) set of bit errors does what the bit errors do: a table.

``python benchmarks/random_in_set.py [--data-folder DIR] [--trials N] [--images N]`` draws chips at two bit error rates
on two models, then random corruptions (closed-form solver on a normal direction) of three sets, all per tensor:

- ``typical``: the radius and count of the mean, ``eps**2 = E|a|_2**2`` and ``n = E|a|_0``. This is the set that stands
  for the errors: random corruption in it has the mean energy that each tensor's errors have.
- ``0.5`` and ``0.99``: radius and count are quantiles over chips. A small tensor expects less than one flip of a top
  bit, so its median is far below its mean and its 99 % quantile far above, and the sets have every tensor at its
  quantile at once. They agree with the errors only where every tensor expects many flips of each bit, ``k b >> 1``: a
  bound of the rare chip is a bound, not the chip.

``kb`` is the expected number of flipped top bits of the smallest and of the largest tensor.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faultsim.assessment.chips import clean_scores
from faultsim.assessment.options import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.budget.words import flip_moments
from faultsim.constraints import LpL0, PerTensor, TensorSet
from faultsim.corruption import Stored, apply_edit
from faultsim.device import load_device
from faultsim.engine.objective import NetworkObjective
from faultsim.faults import BitFlip
from faultsim.formats import IntFormat
from faultsim.rng import generator

ROOT = Path(__file__).resolve().parent.parent
DIGITS = ("digits", None)
RESNET = ("cifar10_models/resnet20_cifar10.onnx", "cifar10/cifar10_test.npz")
KWS = ("zoo/mlperf_kws_int8.onnx", "zoo/kws01.npz")
ROLES = (("weight",), ("weight", "bias", "norm"))


class Case(NamedTuple):
    """A model on its data, and the rates at which its errors show."""

    model: str
    data: str | None
    rates: dict[tuple[str, ...], tuple[float, ...]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    started = time.perf_counter()
    print(f"accuracy in %, {given.trials} trials x {given.images} samples, ± standard error; 'off' = set - chips")
    print(f"{'model':<22}{'stored':<14}{'BER':>8}{'kb':>14}{'chips':>14}  sets")
    for case in _cases(given.data_folder):
        for roles, rates in case.rates.items():
            setting = _setting(case, roles, given.images)
            for ber in rates:
                print(_line(setting, roles, ber, given.trials), flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


def _cases(folder: Path) -> Iterator[Case]:
    if not (folder / RESNET[0]).is_file():
        yield Case(*DIGITS, dict.fromkeys(ROLES, (0.005, 0.02)))
        return
    yield Case(str(folder / RESNET[0]), str(folder / RESNET[1]), {ROLES[0]: (0.005, 0.01), ROLES[1]: (0.001, 0.002)})
    if (folder / KWS[0]).is_file():
        yield Case(str(folder / KWS[0]), str(folder / KWS[1]), {ROLES[0]: (0.001, 0.002)})


def _setting(case: Case, roles: tuple[str, ...], images: int) -> Setting:
    device = load_device("fefet_mlc")
    spec = device.spec
    storage = spec.storage.model_copy(update={"stores": roles, "bits_per_cell": 1, "cell_code": "binary"})
    device = replace(device, spec=spec.model_copy(update={"storage": storage}))
    setting = make_setting(case.model, device, case.data, Options(limit=images), torch_device="cpu")
    clean_scores(setting)
    return setting


def _line(setting: Setting, roles: tuple[str, ...], ber: float, trials: int) -> str:
    law, stored = BitFlip(ber=ber), setting.stored
    objective = NetworkObjective(setting.model, stored, setting.scorer)
    shapes = {name: one.site.shape for name, one in stored.items()}

    def chip(trial: int) -> Mapping[str, Any]:
        edits = {name: law.sample(one, generator(0, trial, "flips", name)) for name, one in stored.items()}
        return {name: apply_edit(edit, stored[name]) for name, edit in edits.items()}

    def of(found: TensorSet) -> Callable[[int], Mapping[str, Any]]:
        return lambda trial: objective.numbers(found.random(generator(0, trial, "random_in_set"), shapes))

    mean, error = _scores(setting, chip, trials)
    sizes = [one.values.size * ber for one in stored.values()]
    words = (
        f"{setting.model.name[:21]:<22}{'+'.join(roles)[:13]:<14}{ber:>8g}"
        f"{f'{min(sizes):.2g}..{max(sizes):.2g}':>14}{mean:>8.1f} ±{error:.1f}  "
    )
    sets = {"typical": _typical(law, stored), "0.5": _quantile(law, stored, 0.5), "0.99": _quantile(law, stored, 0.99)}
    for name, found in sets.items():
        own, spread = _scores(setting, of(found), trials if name == "typical" else max(trials // 3, 1))
        words += f"  {name}: off {own - mean:+.1f} ±{math.hypot(error, spread):.1f}"
    return words


def _scores(setting: Setting, numbers: Callable[[int], Mapping[str, Any]], trials: int) -> tuple[float, float]:
    seen = [100 * setting.scorer.score(numbers(trial)).counts.accuracy for trial in range(trials)]
    return float(np.mean(seen)), float(np.std(seen) / math.sqrt(max(trials - 1, 1)))


def _typical(law: BitFlip, stored: Mapping[str, Stored]) -> TensorSet:
    sets = {}
    for name, one in stored.items():
        assert isinstance(one.format, IntFormat)
        eps = math.sqrt(flip_moments(one.format, one.values, law.ber, p=2).mean)
        touched = one.values.size * -math.expm1(one.format.bits * math.log1p(-law.ber))
        sets[name] = LpL0(2, eps, n=max(round(touched), 1))
    return PerTensor(sets)


def _quantile(law: BitFlip, stored: Mapping[str, Stored], level: float) -> TensorSet:
    found = {name: law.budget(one, p=2, confidence=level) for name, one in stored.items()}
    return PerTensor({name: LpL0(2, one.eps, n=one.n) for name, one in found.items() if one.n})


if __name__ == "__main__":
    main()
