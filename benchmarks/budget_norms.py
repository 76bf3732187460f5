"""Which budgets are the norms that drawn chips have, and which are upper bounds: a table of mechanisms by p.

``python benchmarks/budget_norms.py [MODEL] [--device NAME] [--chips N]`` takes every mechanism of the library's devices
by itself, and all of a device at once where several act on stored numbers, draws chips and prints, for p = 1, 2 and
inf, the radius of `Device.budgets` (of all: `combined_budget`) over the same quantile of drawn norms: the median over
tensors, and the least and largest. ``=`` says that all tensors are within 2 %, or within what so many chips can tell
(the interval of the drawn quantile); ``<`` that some radius is below that, ``>`` that one is above: an upper bound. A
mechanism of rare events is drawn, and bounded, given that one happens: a tensor's radius is held against the chips on
which it was hit, and left out where fewer than 100 hit it.
"""

import argparse
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from faultsim.budget import Budget
from faultsim.corruption import Stored, apply_edit
from faultsim.device import Device, load_device
from faultsim.errors import FaultsimError
from faultsim.library import find_model, list_devices
from faultsim.model import load_model
from faultsim.specs.mechanism import MechanismBase

NORMS = (1, 2, math.inf)
NEAR = 0.02
HIT = 100


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="digits")
    parser.add_argument("--device", action="append", help="a device of the library; all where none is given")
    parser.add_argument("--chips", type=int, default=1000)
    parser.add_argument("--confidence", type=float, default=0.9)
    given = parser.parse_args()
    model = load_model(find_model(given.model))
    tensors = {site.name: (site, model.numbers[site.name]) for site in model.select()}
    print(f"{model.name}: radius over the {given.confidence:g} quantile of {given.chips} chips, median (least-largest)")
    print(f"{'device':<20}{'mechanism':<24}" + "".join(f"{f'p = {p:g}':<30}" for p in NORMS))
    for name, mechanism, device in _alone(given.device or list_devices()):
        try:
            stored = device.store(tensors)
            if not device.acts_on_numbers:
                continue
            cells = _compare(device, stored, given.chips, given.confidence)
        except FaultsimError as error:
            cells = [str(error)[:80]]
        print(f"{name:<20}{mechanism:<24}" + "".join(f"{cell:<30}" for cell in cells), flush=True)


def _alone(names: Sequence[str]) -> Iterator[tuple[str, str, Device]]:
    """Yield each simulated mechanism as a device of its own, then what has several as it is."""
    for name in names:
        device = load_device(name)
        alone = [(one.id, _only(device, one)) for one in device.spec.mechanisms if one.enabled]
        yield from ((name, said, one) for said, one in alone)
        if sum(one.acts_on_numbers for _, one in alone) > 1:
            yield name, "(all)", device


def _only(device: Device, mechanism: MechanismBase) -> Device:
    return replace(device, spec=device.spec.model_copy(update={"mechanisms": (mechanism,)}))


def _compare(device: Device, stored: Mapping[str, Stored], chips: int, confidence: float) -> list[str]:
    drawn: dict[tuple[str, float], list[float]] = {(name, p): [] for name in stored for p in NORMS}
    for trial in range(chips):
        corruption = device.sample(stored, 0, trial)
        for name, one in stored.items():
            change = np.zeros(1)
            if name in corruption:
                change = apply_edit(corruption[name], one).astype(np.float64) - one.values
            for p in NORMS:
                drawn[name, p].append(float(np.linalg.norm(change.ravel(), p)))
    return [_cell(device, stored, drawn, p, confidence) for p in NORMS]


def _cell(
    device: Device,
    stored: Mapping[str, Stored],
    drawn: Mapping[tuple[str, float], list[float]],
    p: float,
    confidence: float,
) -> str:
    ratios, verdicts = [], set()
    for budget in _budgets(device, stored, p, confidence):
        if budget.scope not in stored or not math.isfinite(budget.eps):
            continue
        seen = np.sort(drawn[budget.scope, p])
        if budget.conditional:
            seen = seen[seen > 0]
            if seen.size < HIT:
                continue
        low, quantile, high = (float(seen[_rank(len(seen), confidence, z)]) for z in (-3, 0, 3))
        if quantile == 0 and budget.eps == 0:
            continue
        ratios.append(budget.eps / quantile if quantile else math.inf)
        few = 1e-6 * quantile
        if budget.eps < min((1 - NEAR) * quantile, low) - few:
            verdicts.add("<")
        elif budget.eps > max((1 + NEAR) * quantile, high) + few:
            verdicts.add(">")
    if not ratios:
        return "-"
    sign = "".join(sorted(verdicts)) or "="
    return f"{sign} {statistics.median(ratios):.3f} ({min(ratios):.2f}-{max(ratios):.2f})"


def _budgets(device: Device, stored: Mapping[str, Stored], p: float, confidence: float) -> Sequence[Budget]:
    """Return the budgets of the only mechanism, or those of all together."""
    if len(device.spec.mechanisms) == 1:
        return device.budgets(stored, p=p, confidence=confidence)
    return tuple(device.combined_budget(stored, p=p, confidence=confidence).values())


def _rank(count: int, confidence: float, z: float) -> int:
    """Return the place of a quantile among *count* sorted draws, or of the end of its interval at *z* sigmas."""
    width = math.sqrt(count * confidence * (1 - confidence))
    return int(min(max(math.ceil(count * confidence + z * width) - 1, 0), count - 1))


if __name__ == "__main__":
    main()
