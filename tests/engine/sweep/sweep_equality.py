"""A scorer on arrays, random faults for any model, and the claim: the sweep counts what a whole pass counts."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.data.spec import DataSet
from faultsim.engine.evaluate import Scorer
from faultsim.engine.runner import Runner
from faultsim.engine.scored import scored_output
from faultsim.engine.sweep.routes import Patch
from faultsim.engine.sweep.slices import Sparse
from faultsim.engine.sweep.sweep import Sweep
from faultsim.metrics import Regression, Task
from faultsim.model import Model

Array = NDArray[Any]


class Arrays:
    """Samples in memory (`faultsim.data.spec.DataSet`)."""

    source = "a test"
    notes = ()

    def __init__(self, inputs: Mapping[str, Array], labels: Array, axes: Mapping[str, int] | None = None) -> None:
        self._inputs, self._labels, self._axes = dict(inputs), labels, dict(axes or {})

    def __len__(self) -> int:
        return len(self._labels)

    def inputs(self, start: int, stop: int) -> dict[str, Array]:
        rows = np.arange(start, min(stop, len(self)))
        return {name: np.take(one, rows, axis=self._axes.get(name, 0)) for name, one in self._inputs.items()}

    def labels(self, start: int, stop: int) -> Array:
        return self._labels[start:stop]


def ready(model: Model, data: DataSet, batch_size: int, task: Task, **options: Any) -> Scorer:
    """Return a scorer that knows its fault-free chip."""
    output = scored_output(model)
    scorer = Scorer(Runner(model, output.name, threads=1, **options), output, task, data, batch_size)
    scorer.set_golden()
    return scorer


def on_noise(model: Model, samples: int, seed: int, batch_size: int, *, ids: int = 0, **options: Any) -> Scorer:
    """Return a scorer on noise that judges every number of the output."""
    rng = np.random.default_rng(seed)
    inputs = {}
    axes = {spec.name: spec.batch_axis or 0 for spec in model.inputs}
    for spec in model.inputs:
        shape = [n if isinstance(n, int) else 5 for n in spec.shape]
        shape[axes[spec.name]] = samples
        if spec.dtype.kind == "f":
            inputs[spec.name] = rng.normal(size=shape).astype(spec.dtype)
        elif ids:
            inputs[spec.name] = rng.integers(0, ids, shape).astype(spec.dtype)
        else:
            info = np.iinfo(spec.dtype)
            inputs[spec.name] = rng.integers(max(info.min, -128), min(info.max, 255), shape).astype(spec.dtype)
    output = scored_output(model)
    found = Runner(model, output.name, threads=1).open()(inputs)
    labels = output.real(found).astype(np.float32)
    return ready(model, Arrays(inputs, labels, axes), batch_size, Regression(), **options)


def broken(array: Array, elements: NDArray[np.int64], rng: np.random.Generator) -> Array:
    """Return the numbers at *elements* with one random bit of each flipped."""
    some = np.ascontiguousarray(array.reshape(-1)[elements])
    if some.dtype == bool:
        return ~some
    words = some.view(f"u{some.itemsize}")
    bits = rng.integers(0, 8 * some.itemsize, some.size).astype(words.dtype)
    return (words ^ (words.dtype.type(1) << bits)).view(some.dtype)


def one_site(model: Model, site: str, rng: np.random.Generator, elements: int = 1) -> Patch:
    """Flip a bit of each of a few random elements of one stored tensor."""
    array = model.numbers[site]
    picked = np.sort(rng.choice(array.size, min(elements, array.size), replace=False))
    return {site: Sparse(picked, broken(array, picked, rng))}


def in_channel(model: Model, site: str, rng: np.random.Generator, elements: int = 3) -> Patch:
    """Break a few elements that share their index on axis 0."""
    array = model.numbers[site]
    rows = np.arange(array.size).reshape(array.shape[0], -1)
    row = rows[rng.integers(len(rows))]
    picked = np.sort(rng.choice(row, min(elements, row.size), replace=False))
    return {site: Sparse(picked, broken(array, picked, rng))}


def odd(model: Model, site: str, rng: np.random.Generator) -> Patch:
    """Put a number in place that few arithmetics like."""
    array = model.numbers[site]
    picked = rng.integers(0, array.size, 1)
    if array.dtype.kind == "f":
        value = np.array([rng.choice([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30])])
    else:
        info = np.iinfo(array.dtype)
        value = np.array([rng.choice([info.min, info.max, 0])])
    with np.errstate(over="ignore"):
        return {site: Sparse(picked, value.astype(array.dtype))}


def storable(model: Model) -> list[str]:
    """Names of the stored tensors that a fault can hit here."""
    return [s.name for s in model.sites if model.numbers[s.name].size and model.numbers[s.name].dtype.kind in "fiu"]


def faults(model: Model, rng: np.random.Generator, trials: int, sites: Sequence[str] = ()) -> list[Patch]:
    """Return random trials of all kinds."""
    names = list(sites) or storable(model)
    found: list[Patch] = []
    for _ in range(trials):
        site = names[rng.integers(len(names))]
        kind = rng.integers(6)
        if kind <= 2:
            found.append(one_site(model, site, rng))
        elif kind == 3:
            found.append(in_channel(model, site, rng) if model.numbers[site].ndim else one_site(model, site, rng))
        elif kind == 4:
            found.append(odd(model, site, rng))
        else:
            found.append(one_site(model, site, rng, elements=40))
    return found


def plain(scorer: Scorer, patch: Patch) -> tuple[Any, Array]:
    """Return tally and classes of a whole pass under the same numbers."""
    numbers = {}
    for name, one in patch.items():
        whole = scorer.runner.model.numbers[name].copy()
        whole.reshape(-1)[one.indices] = one.values
        numbers[name] = whole
    classes = np.full(len(scorer.data), 255, np.uint8)
    return scorer.score(numbers, outcomes=classes), classes


def assert_equal(scorer: Scorer, patches: Sequence[Patch], **options: Any) -> Sweep:
    """Claim that a sweep counts what whole passes count, and return it."""
    sweep = Sweep(scorer, **options)
    outcomes = [np.full(len(scorer.data), 255, np.uint8) for _ in patches]
    tallies = sweep.score(patches, outcomes=outcomes)
    wrong = []
    for t, patch in enumerate(patches):
        tally, classes = plain(scorer, patch)
        if key(tallies[t]) != key(tally) or not np.array_equal(outcomes[t], classes):
            what = {name: (one.indices[:3].tolist(), one.values[:3].tolist()) for name, one in patch.items()}
            differ = int((outcomes[t] != classes).sum())
            wrong.append(
                f"trial {t} {sweep._route(patch).kind} {what}: {differ} classes differ\n  {tallies[t]}\n  {tally}"
            )
    assert not wrong, f"{len(wrong)} of {len(patches)} trials, {sweep.spent}\n" + "\n".join(wrong[:4])
    return sweep


def key(tally: Any) -> tuple[Any, ...]:
    """Return everything that a tally says, comparable where it is NaN."""
    return tally.counts, tally.outcomes, tally.extra, repr(tally.mean_loss)
