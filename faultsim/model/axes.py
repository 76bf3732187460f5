"""Which axis of every input and output counts the samples: by the names in the graph, else by trial (`law.py`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from faultsim.data.spec import InputSpec
from faultsim.errors import ModelError
from faultsim.model.law import Court, Dims, Run, Trial, Verdict, orders

_BATCH = re.compile(r"n|b|bs|nb|(n_?|num_)batch(es)?|batches|([a-z]+_)?batch(_?(size|dim|axis|dimension|n|\d+))?")
_TIME = re.compile(r"t|(.*_)?(time|seq|sequence|length|len|steps?|timesteps?|frames?|tokens?)(_?(len|length|\d+))?")
_MOST_AXES = 3
_MOST_TRIALS = 60
PLAIN_RANK = 4
"""From this rank on an axis named like a batch is believed: nobody writes images in another order of samples."""


class Axes(NamedTuple):
    """Where the samples are.

    Attributes:
        inputs: By input, the axis that counts the samples; None for one that is the same for every sample.
        outputs: By output, as far as it could be told.
        doubt: Why the inputs' axes cannot be told, with the remedy; None where they can.
    """

    inputs: dict[str, int | None]
    outputs: dict[str, int]
    doubt: str | None = None


def find_axes(
    specs: Sequence[InputSpec],
    outputs: Mapping[str, Dims],
    run: Run,
    *,
    given: Mapping[str, int | None],
    judged: str | None = None,
    sizes: Sequence[int] = (),
) -> Axes:
    """Tell for every input and output which axis counts the samples; the graph runs only where names do not settle it.

    Args:
        specs: The inputs as the graph declares them; their `batch_axis` is not looked at.
        outputs: Declared shapes of the outputs, in order.
        run: Runs the graph on inputs of any size.
        given: Axes that the user named, of inputs and outputs.
        judged: The output that is scored, the first one where None.
        sizes: Sizes that the graph's constants speak of.
    """
    decisive = judged or next(iter(outputs))
    court = Court(specs, outputs, decisive, run, sizes)
    settled = {spec.name: given[spec.name] if spec.name in given else named_axis(spec) for spec in specs}
    open_ = [spec for spec in specs if spec.name not in given and settled[spec.name] is None and spec.shape]
    chosen_outputs = {name: axis for name, axis in given.items() if name in outputs and axis is not None}
    if any(spec.dtype.kind == "O" for spec in specs):  # text cannot be drawn
        axes = {**settled, **{spec.name: 0 for spec in open_}}
        return Axes(axes, {**_named_outputs(specs, axes, outputs), **chosen_outputs})
    if open_ and all(spec.shape[:1] in ((), (1,)) and all(isinstance(n, int) for n in spec.shape) for spec in specs):
        axes = {**settled, **{spec.name: 0 for spec in open_}}  # a batch of one in front: nothing to ask
        return Axes(axes, {**_single(outputs), **chosen_outputs})
    if open_:
        return _searched(court, settled, open_, chosen_outputs)
    by_name = _named_outputs(specs, settled, outputs)
    doubtful = [spec for spec in specs if spec.name not in given and 1 < len(spec.shape) < PLAIN_RANK]
    if not doubtful and decisive in {**by_name, **chosen_outputs}:
        return Axes(settled, {**by_name, **chosen_outputs})
    trial = court.try_axes(settled)
    found = _outputs(court, settled, trial, chosen_outputs)
    if trial.verdict is Verdict.BROKEN and doubtful:
        rival = _rival(court, settled, doubtful)
        if rival is not None:
            spec = next(spec for spec in doubtful if rival[spec.name] != settled[spec.name])
            axis = settled[spec.name]
            return Axes(
                settled,
                found,
                f"axis {axis} of {spec} is named as if it counted the samples, but the slices along it change each "
                f"other's answers, and those along axis {rival[spec.name]} do not; name the right one with "
                f"--batch-axis {spec.name}={rival[spec.name]}, or {spec.name}={axis}",
            )
    return Axes(settled, found)


def named_axis(spec: InputSpec) -> int | None:
    """Return the one axis that is named like a batch, None where there is none or are several."""
    found = [i for i, size in enumerate(spec.shape) if isinstance(size, str) and _BATCH.fullmatch(size.lower())]
    return found[0] if len(found) == 1 else None


def check_names(specs: Sequence[InputSpec], given: Mapping[str, int | None], model: str) -> None:
    """Refuse the user's word where it takes an axis of images, fixed in size, for the samples that another axis names.

    Raises:
        ModelError: With the axis that is named, and what to write.
    """
    for spec in specs:
        axis, named = given.get(spec.name), named_axis(spec)
        if axis is None or named in (None, axis) or len(spec.shape) < PLAIN_RANK:
            continue
        if isinstance(spec.shape[axis], int):
            raise ModelError(
                f"{model}: --batch-axis {spec.name}={axis} names an axis of {spec.shape[axis]} as the one that "
                f"counts the samples, but in {spec} that is axis {named}; leave the option out"
            )


def _is_time(size: int | str | None) -> bool:
    return isinstance(size, str) and _TIME.fullmatch(size.lower()) is not None


def _named_outputs(
    specs: Iterable[InputSpec], axes: Mapping[str, int | None], outputs: Mapping[str, Dims]
) -> dict[str, int]:
    """Return the axis of every output that has the inputs' symbol for the samples exactly once."""
    symbols = {spec.shape[axis] for spec in specs if (axis := axes[spec.name]) is not None}
    found = {name: [i for i, size in enumerate(dims) if isinstance(size, str) and size in symbols]
             for name, dims in outputs.items()}  # fmt: skip
    return {name: places[0] for name, places in found.items() if len(places) == 1}


def _single(outputs: Mapping[str, Dims]) -> dict[str, int]:
    ones = {name: [i for i, size in enumerate(dims) if size == 1] for name, dims in outputs.items()}
    return {name: places[0] for name, places in ones.items() if places}


def _outputs(court: Court, axes: Mapping[str, int | None], trial: Trial, given: Mapping[str, int]) -> dict[str, int]:
    """Return the outputs' axes: the user's word, then a law that holds, then names, then whatever followed."""
    by_name = _named_outputs(court.specs, axes, court.outputs)
    if trial.verdict is Verdict.HOLDS:
        return {**by_name, **trial.outputs, **given}
    found = {**trial.outputs, **by_name, **given}
    return found if court.judged in found else {**court.follows(axes), **found}


def _searched(
    court: Court, settled: Mapping[str, int | None], open_: Sequence[InputSpec], given: Mapping[str, int]
) -> Axes:
    """Try the axes of the inputs that names leave open."""
    tried: list[tuple[dict[str, int | None], Trial]] = []
    for axes in _choices(court.specs, settled, open_)[:_MOST_TRIALS]:
        trial = court.try_axes(axes)
        tried.append((axes, trial))
        plain = all(axes[spec.name] == 0 for spec in open_) and not _restricted(axes, open_)
        if plain and trial.verdict is Verdict.HOLDS and not _along_time(axes, open_):
            break
    chosen, doubt = _best(tried, open_)
    if chosen is None:
        chosen, doubt = _by_size(court, tried, open_)
    axes, trial = chosen
    return Axes(axes, _outputs(court, axes, trial, given), doubt)


def _by_size(
    court: Court, tried: Sequence[tuple[dict[str, int | None], Trial]], open_: Sequence[InputSpec]
) -> tuple[tuple[dict[str, int | None], Trial], str | None]:
    """Return the one choice whose samples the output follows in number, though they touch each other there.

    Where nothing could be tried, samples are taken to come first: the sizes of the data will tell.
    """
    broken = [one for one in tried if one[1].verdict is Verdict.BROKEN and not _along_time(one[0], open_)]
    followed = [one for one in broken if court.judged in court.follows(one[0])]
    if len(followed) == 1 or tried[0][1].verdict is not Verdict.BROKEN:
        return (followed or list(tried))[0], None
    spec = open_[0]
    return tried[0], (
        f"no axis of {spec} counts the samples: along each of them, one slice changes the answers of the others; if "
        f"samples are meant to touch each other, name their axis with --batch-axis {spec.name}=0"
    )


def _choices(
    specs: Sequence[InputSpec], settled: Mapping[str, int | None], open_: Sequence[InputSpec]
) -> list[dict[str, int | None]]:
    """Return the choices worth trying, the plainest first: inputs of one shape share their axis."""
    shapes = list(dict.fromkeys(spec.shape for spec in open_))
    others = any(settled[spec.name] is not None for spec in specs) or len(shapes) > 1
    options: list[list[int | None]] = [
        [*range(min(len(shape), _MOST_AXES)), *([None] if others else [])] for shape in shapes
    ]
    found = []
    for picks in orders(options):
        by_shape = dict(zip(shapes, picks, strict=True))
        axes = {spec.name: by_shape[spec.shape] if spec in open_ else settled[spec.name] for spec in specs}
        if _one_symbol(specs, axes):
            found.append(axes)
    return sorted(found, key=lambda axes: _along_time(axes, open_))


def _one_symbol(specs: Sequence[InputSpec], axes: Mapping[str, int | None]) -> bool:
    """Whether every input that has a symbol chosen for the samples elsewhere has its samples there too."""
    symbols = {spec.shape[axis] for spec in specs if (axis := axes[spec.name]) is not None}
    symbols = {size for size in symbols if isinstance(size, str)}
    for spec in specs:
        axis = axes[spec.name]
        if symbols & set(spec.shape) and (axis is None or spec.shape[axis] not in symbols):
            return False
    return True


def _along_time(axes: Mapping[str, int | None], open_: Sequence[InputSpec]) -> bool:
    return any(_is_time(spec.shape[axis]) for spec in open_ if (axis := axes[spec.name]) is not None)


def _restricted(axes: Mapping[str, int | None], open_: Sequence[InputSpec]) -> bool:
    """Whether the choice ties the batch to the size 1 of an input that might as well be the same for every sample."""
    return any(spec.shape[axis] == 1 for spec in open_ if (axis := axes[spec.name]) is not None)


def _best(
    tried: Sequence[tuple[dict[str, int | None], Trial]], open_: Sequence[InputSpec]
) -> tuple[tuple[dict[str, int | None], Trial] | None, str | None]:
    """Return the choice that the trials speak for, and a doubt where they speak for two."""
    for time in (False, True):
        for verdict in (Verdict.HOLDS, Verdict.LOOSE, Verdict.NOTHING):
            found = [one for one in tried if one[1].verdict is verdict and _along_time(one[0], open_) is time]
            if not found:
                continue
            best = min(found, key=lambda one: _rank(one[0], open_))
            if verdict is Verdict.NOTHING or _rank(best[0], open_)[0] == 0:
                return best, None
            return best, _ambiguous(best[0], [axes for axes, _ in found], open_)
    return None, None


def _rank(axes: Mapping[str, int | None], open_: Sequence[InputSpec]) -> tuple[int, bool, int]:
    picks = [axes[spec.name] for spec in open_]
    return sum(pick or 0 for pick in picks), _restricted(axes, open_), picks.count(None)


def _ambiguous(
    best: Mapping[str, int | None], found: Iterable[Mapping[str, int | None]], open_: Sequence[InputSpec]
) -> str | None:
    for other in found:
        for spec in open_:
            one, two = best[spec.name], other[spec.name]
            if one is not None and two is not None and one != two:
                return (
                    f"which axis of {spec} counts the samples cannot be told: axis {one} and axis {two} both could; "
                    f"name it with --batch-axis {spec.name}={one}"
                )
    return None


def _rival(
    court: Court, settled: Mapping[str, int | None], doubtful: Sequence[InputSpec]
) -> dict[str, int | None] | None:
    """Return a choice of other axes that keeps the law, None where there is none."""
    without = {**settled, **{spec.name: None for spec in doubtful}}
    for axes in _choices(court.specs, without, doubtful)[:_MOST_TRIALS]:
        whole = any(axes[spec.name] is None for spec in doubtful)
        if axes != settled and not whole and court.try_axes(axes).verdict is Verdict.HOLDS:
            return axes
    return None
