"""Whether random corruption in the (p = 2, n) set of bit errors does what the bit errors do: a table.

``python benchmarks/random_in_set.py [--data-folder DIR] [--trials N] [--images N]`` draws chips at two bit error rates
on two models, then random corruptions (closed-form solver on a normal direction) of three sets, all per tensor:

- ``typical``: the radius and count of the mean, ``eps**2 = E|a|_2**2`` and ``n = E|a|_0``. This is the set that stands
  for the errors: random corruption in it has the mean energy that each tensor's errors have.
- ``0.5`` and ``0.99``: radius and count are quantiles over chips. A small tensor expects less than one flip of a top
  bit, so its median is far below its mean and its 99 % quantile far above, and the sets have every tensor at its
  quantile at once. They agree with the errors only where every tensor expects many flips of each bit, ``k b >> 1``: a
  bound of the rare chip is a bound, not the chip.

``kb`` is the expected number of flipped top bits of the smallest and of the largest tensor. Chips are drawn until the
standard error is ``--error`` points or there are ``--trials`` of them: a difference of one point is seen only with both
errors well below it.

``--why`` takes the typical set apart instead, one step at a time from the chips to the set: ``sign`` keeps every wrong
word and how far it moves, and draws the direction (away from the end of the range where there is no room); ``size``
spreads each tensor's energy evenly over its wrong words; ``own`` is random corruption at the chip's radius and count;
``typical`` fixes both; ``storable`` is the typical set of numbers that the memory can hold, at its full radius.
"""

import argparse
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

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

Real = NDArray[Any]
Tensors = Mapping[str, Any]
Draw = Callable[[int], Tensors]
Step = Callable[[Stored, Real, np.random.Generator], Real]


class Case(NamedTuple):
    """A model on its data, and the rates at which its errors show."""

    model: str
    data: str | None
    rates: dict[tuple[str, ...], tuple[float, ...]]


class Enough(NamedTuple):
    """When to stop drawing chips: the most trials, and the standard error in points that is enough."""

    trials: int
    error: float


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-folder", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--trials", type=int, default=60, help="at most, for the chips and for each set")
    parser.add_argument("--error", type=float, default=0.4, help="standard error that is enough, points")
    parser.add_argument("--model", choices=("resnet20", "kws"), help="one of the two alone")
    parser.add_argument("--ber", type=float, action="append", help="bit error rates instead of the table's own")
    parser.add_argument("--why", action="store_true", help="take the typical set apart")
    parser.add_argument("--images", type=int, default=200)
    given = parser.parse_args()
    started = time.perf_counter()
    print(
        f"accuracy in %, at most {given.trials} trials x {given.images} samples, ± standard error; 'off' = set - chips"
    )
    print(f"{'model':<22}{'stored':<14}{'BER':>8}{'kb':>14}{'chips':>14}  sets")
    enough = Enough(given.trials, given.error)
    for case in _cases(given.data_folder):
        if given.model and given.model not in case.model:
            continue
        for roles, rates in case.rates.items():
            setting = _setting(case, roles, given.images)
            for ber in given.ber or rates:
                print(_line(setting, roles, ber, enough, why=given.why), flush=True)
    print(f"{time.perf_counter() - started:.0f} s")


def _cases(folder: Path) -> Iterator[Case]:
    if not (folder / RESNET[0]).is_file():
        yield Case(*DIGITS, dict.fromkeys(ROLES, (0.005, 0.02)))
        return
    yield Case(str(folder / RESNET[0]), str(folder / RESNET[1]), {ROLES[0]: (0.005, 0.01), ROLES[1]: (0.001, 0.002)})
    if (folder / KWS[0]).is_file():
        yield Case(str(folder / KWS[0]), str(folder / KWS[1]), {ROLES[0]: (0.001, 0.002, 0.005)})


def _setting(case: Case, roles: tuple[str, ...], images: int) -> Setting:
    device = load_device("fefet_mlc")
    spec = device.spec
    storage = spec.storage.model_copy(update={"stores": roles, "bits_per_cell": 1, "cell_code": "binary"})
    device = replace(device, spec=spec.model_copy(update={"storage": storage}))
    setting = make_setting(case.model, device, case.data, Options(limit=images), torch_device="cpu")
    clean_scores(setting)
    return setting


def _line(setting: Setting, roles: tuple[str, ...], ber: float, enough: Enough, *, why: bool) -> str:
    law, stored = BitFlip(ber=ber), setting.stored
    objective = NetworkObjective(setting.model, stored, setting.scorer)
    shapes = {name: one.site.shape for name, one in stored.items()}

    def chip(trial: int) -> Tensors:
        edits = {name: law.sample(one, generator(0, trial, "flips", name)) for name, one in stored.items()}
        return {name: apply_edit(edit, stored[name]) for name, edit in edits.items()}

    def of(found: TensorSet) -> Draw:
        return lambda trial: objective.numbers(found.random(generator(0, trial, "random_in_set"), shapes))

    def step(change: Step) -> Draw:
        def draw(trial: int) -> Tensors:
            rng = generator(0, trial, "why")
            return objective.numbers({n: change(stored[n], wrong, rng) for n, wrong in chip(trial).items()})

        return draw

    mean, error = _scores(setting, chip, enough)
    sizes = [one.values.size * ber for one in stored.values()]
    words = (
        f"{setting.model.name[:21]:<22}{'+'.join(roles)[:13]:<14}{ber:>8g}"
        f"{f'{min(sizes):.2g}..{max(sizes):.2g}':>14}{mean:>8.1f} ±{error:.1f}  "
    )
    typical = of(_typical(law, stored))
    if why:
        draws = {"sign": step(_signs), "size": step(_sizes), "own": step(_own), "typical": typical}
        draws["storable"] = of(_typical(law, stored, storable=True))
    else:
        draws = {"typical": typical, **{str(q): of(_quantile(law, stored, q)) for q in (0.5, 0.99)}}
    for name, draw in draws.items():
        few = why or name == "typical"
        own, spread = _scores(setting, draw, enough if few else Enough(max(enough.trials // 3, 1), 2 * enough.error))
        words += f"  {name}: off {own - mean:+.1f} ±{math.hypot(error, spread):.1f}"
    return words


def _scores(setting: Setting, numbers: Draw, enough: Enough) -> tuple[float, float]:
    seen: list[float] = []
    error = math.inf
    while len(seen) < enough.trials and error > enough.error:
        more = range(len(seen), min(len(seen) + 20, enough.trials))
        seen += [100 * setting.scorer.score(numbers(trial)).counts.accuracy for trial in more]
        error = float(np.std(seen) / math.sqrt(max(len(seen) - 1, 1)))
    return float(np.mean(seen)), error


def _signs(one: Stored, wrong: Real, rng: np.random.Generator) -> Real:
    assert isinstance(one.format, IntFormat)
    values = one.values.astype(np.float64)
    step = np.abs(wrong - values)
    low, high = float(values.min()), float(values.max())
    up = rng.random(values.shape) < 0.5
    up = np.where(values + step > high, False, np.where(values - step < low, True, up))
    return np.where(up, step, -step)


def _sizes(one: Stored, wrong: Real, rng: np.random.Generator) -> Real:
    delta = wrong - one.values.astype(np.float64)
    moved = delta != 0
    return np.asarray(np.sign(delta) * np.sqrt(np.sum(delta**2) / max(int(moved.sum()), 1)))


def _own(one: Stored, wrong: Real, rng: np.random.Generator) -> Real:
    delta = wrong - one.values.astype(np.float64)
    if not np.any(delta):
        return delta
    own = LpL0(2, float(np.linalg.norm(delta)), n=int(np.count_nonzero(delta)))
    return np.asarray(PerTensor({"w": own}).random(rng, {"w": delta.shape})["w"])


def _typical(law: BitFlip, stored: Mapping[str, Stored], *, storable: bool = False) -> TensorSet:
    sets = {}
    for name, one in stored.items():
        assert isinstance(one.format, IntFormat)
        eps = math.sqrt(flip_moments(one.format, one.values, law.ber, p=2).mean)
        touched = one.values.size * -math.expm1(one.format.bits * math.log1p(-law.ber))
        low = high = None
        if storable:
            values = one.values.astype(np.float64)
            ends = [
                one.format.dequantize(np.full(values.shape, end)) for end in (one.format.lowest, one.format.highest)
            ]
            low, high = np.minimum(ends[0] - values, 0.0), np.maximum(ends[1] - values, 0.0)
        sets[name] = LpL0(2, eps, n=max(round(touched), 1), low=low, high=high)
    return PerTensor(sets)


def _quantile(law: BitFlip, stored: Mapping[str, Stored], level: float) -> TensorSet:
    found = {name: law.budget(one, p=2, confidence=level) for name, one in stored.items()}
    return PerTensor({name: LpL0(2, one.eps, n=one.n) for name, one in found.items() if one.n})


if __name__ == "__main__":
    main()
