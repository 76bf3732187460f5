"""From named raw arrays to a `DataSet` that fits the model: names, lengths, shapes, types, in that order."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from faultsim.data.convert import Conversion, check_sample_shape, fits, plan_conversion
from faultsim.data.dataset import ColumnData, Feed, constant, named
from faultsim.data.labels import Shifted
from faultsim.data.orient import orient
from faultsim.data.preprocess import Preprocess
from faultsim.data.spec import Array, Column, InputSpec, show_shape
from faultsim.errors import DataError
from faultsim.library import closest

LABEL_NAMES = ("labels", "label", "y", "targets", "target")


class Raw(NamedTuple):
    """What a loader found: arrays by the names of the source, and where they lie.

    Attributes:
        arrays: By name; the labels may be among them under one of `LABEL_NAMES`.
        labels: Labels, where the loader knows them.
        source: For the report.
        place: For messages: ``data.npz``.
        notes: What the loader did.
        samples_first: Whether the samples come first in all of them; else they lie as the user saved them (`orient`).
        language_model: Whether the labels are the next tokens of a text.
    """

    arrays: Mapping[str, Column]
    labels: Column | None
    source: str
    place: str
    notes: tuple[str, ...] = ()
    samples_first: bool = False
    language_model: bool = False


def fit(
    raw: Raw,
    inputs: Sequence[InputSpec],
    *,
    preprocess: Preprocess | None = None,
    limit: int | None = None,
    label_axis: int | None = None,
) -> ColumnData:
    """Return the data set that feeds *inputs* from *raw*, or say what does not fit.

    Args:
        raw: What the loader found.
        inputs: The inputs of the model, at least one.
        preprocess: Declared preprocessing.
        limit: The first so many samples only, at least 1.
        label_axis: The axis of the labels that counts the samples, where the user named it.

    Raises:
        DataError: If names, lengths, shapes or types do not go together, or there is no sample.
    """
    arrays, labels, notes = dict(raw.arrays), raw.labels, list(raw.notes)
    if labels is None:
        labels = pop_labels(arrays, inputs, raw.place)
    chosen = _by_name(arrays, inputs, preprocess, raw.place)
    only = next(iter(chosen.items())) if len(chosen) == 1 else None
    if only and only[0] != only[1][0] and not raw.place.endswith(".npy"):  # the name of an .npy is its file's
        notes.append(f"array {only[1][0]!r} in {raw.place} was taken as input {only[0]!r}")
    if not raw.samples_first:
        steps = preprocess if preprocess is not None and preprocess.pixels else None
        placed = [spec.name for spec in inputs if steps is not None and steps.input in (None, spec.name)]
        found = orient(inputs, chosen, labels, raw.place, placed=placed, label_axis=label_axis)
        chosen = {name: (key, found.turned(key, column)) for name, (key, column) in chosen.items()}
        labels = labels if labels is None else found.turned_labels(labels)
        notes += found.notes
    chosen = _shared(inputs, chosen, labels, raw.place, notes)
    rest = {name: array for name, array in arrays.items() if name not in {key for key, _ in chosen.values()}}
    if rest:
        notes.append(f"{raw.place}: {named(rest)} not used, the model has no such input")
    length = _length(inputs, chosen, labels, raw.place)
    feeds = []
    sizes: dict[str, int] = {}
    for spec in inputs:
        if spec.name not in chosen:
            continue
        key, column = chosen[spec.name]
        what = f"array {key!r} in {raw.place}"
        feed = _feed(spec, column, what, _declared_for(spec, inputs, preprocess))
        if feed.conversion.note:
            notes.append(feed.conversion.note)
        _learn_sizes(feed, sizes)
        feeds.append(feed)
    length = _whole_batches(inputs, length if limit is None else min(limit, length), raw.place, notes)
    if preprocess is not None:
        feeds += _filled(preprocess, inputs, {feed.spec.name for feed in feeds}, length, sizes, notes)
        if preprocess.label_offset and labels is not None:
            labels = Shifted(labels, preprocess.label_offset)
            notes.append(f"{preprocess.label_offset:+d} was added to every label")
    text = raw.language_model
    data = ColumnData(feeds, labels, length=length, source=raw.source, notes=notes, language_model=text)
    data.scan()
    return data


def pop_labels(arrays: dict[str, Column], inputs: Sequence[InputSpec], place: str) -> Column | None:
    """Take the labels out of *arrays* and return them, None where there are none.

    Raises:
        DataError: If several arrays could be labels.
    """
    taken = {spec.name for spec in inputs}
    found = [name for name in LABEL_NAMES if name in arrays and name not in taken]
    if len(found) > 1:
        raise DataError(f"{place} holds {named(dict.fromkeys(found))}, which could all be labels; keep one of them")
    return arrays.pop(found[0]) if found else None


def _by_name(
    arrays: Mapping[str, Column], inputs: Sequence[InputSpec], preprocess: Preprocess | None, place: str
) -> dict[str, tuple[str, Column]]:
    filled = preprocess.fill if preprocess is not None else {}
    unknown = [name for name in filled if name not in {spec.name for spec in inputs}]
    if unknown:
        raise DataError(f"fill names {unknown[0]!r}, which is no input of the model{_meant(unknown[0], inputs)}")
    wanted = [spec for spec in inputs if spec.name not in filled]
    if not arrays:
        raise DataError(f"{place} holds no array; save the inputs under their names: {_names(wanted)}")
    if len(wanted) == 1 and len(arrays) == 1 and wanted[0].name not in arrays:
        return {wanted[0].name: next(iter(arrays.items()))}
    chosen = {}
    for spec in wanted:
        if spec.name not in arrays:
            near = closest(spec.name, arrays)
            raise DataError(
                f"{place} has no array for {spec}; it holds {named(arrays)}"
                + (f", did you mean to name {near!r} {spec.name!r}?" if near else f"; name the array {spec.name!r}")
            )
        chosen[spec.name] = (spec.name, arrays[spec.name])
    return chosen


def _shared(
    inputs: Sequence[InputSpec],
    chosen: Mapping[str, tuple[str, Column]],
    labels: Column | None,
    place: str,
    notes: list[str],
) -> dict[str, tuple[str, Column]]:
    """Let the one sample of an input of batch 1 (an initial state) serve every sample of the others."""
    counts = {
        spec.name: chosen[spec.name][1].shape[0]
        for spec in inputs
        if spec.name in chosen and spec.batch_axis is not None and chosen[spec.name][1].shape
    }
    most = max([*counts.values(), labels.shape[0] if labels is not None and labels.shape else 0], default=0)
    if not any(count == most for count in counts.values()):
        return dict(chosen)  # labels alone do not say how many samples there are
    found = dict(chosen)
    for spec in inputs:
        if counts.get(spec.name) == 1 < most and spec.fixed_batch == 1:
            key, column = chosen[spec.name]
            row = np.asarray(column[0:1])
            found[spec.name] = key, np.broadcast_to(row, (most, *row.shape[1:]))
            notes.append(f"array {key!r} in {place} holds one sample, which served them all")
    return found


def _length(
    inputs: Sequence[InputSpec], chosen: Mapping[str, tuple[str, Column]], labels: Column | None, place: str
) -> int:
    lengths: dict[str, int] = {}
    for spec in inputs:
        if spec.name in chosen and spec.batch_axis is not None:
            key, column = chosen[spec.name]
            if not column.shape:
                raise DataError(
                    f"array {key!r} in {place} is a single number, but {spec} wants one row a sample; stack it"
                )
            lengths[key] = column.shape[0]
    if labels is not None:
        lengths["labels"] = labels.shape[0] if labels.shape else 0
    if not lengths:
        return 1
    if min(lengths.values()) == 0:
        empty = min(lengths, key=lambda key: lengths[key])
        raise DataError(f"array {empty!r} in {place} is empty; give at least one sample")
    if len(set(lengths.values())) > 1:
        axes = {chosen[s.name][0]: s.batch_axis for s in inputs if s.name in chosen and s.batch_axis}
        along = {key: f" along its axis {axes[key]}" if key in axes else "" for key in lengths}
        listed = ", ".join(f"{key!r} has {count}{along[key]}" for key, count in lengths.items())
        remedy = "cut them to one length"
        if axes:
            remedy += " or, if samples lie along another axis, name it with --batch-axis NAME=AXIS"
        raise DataError(f"the arrays in {place} differ in their number of samples: {listed}; {remedy}")
    return next(iter(lengths.values()))


def _declared_for(spec: InputSpec, inputs: Sequence[InputSpec], preprocess: Preprocess | None) -> Preprocess | None:
    """Return the steps for this input; a file with nothing but tokens, fill or labels has none."""
    if preprocess is None or not preprocess.declares_steps:
        return None
    fed = [one for one in inputs if one.name not in preprocess.fill]
    if preprocess.input is None and len(fed) > 1:
        raise DataError(f"the preprocessing does not say which input it is for; add input: with one of {_names(fed)}")
    if preprocess.input is not None and preprocess.input not in {one.name for one in fed}:
        raise DataError(
            f"the preprocessing is for {preprocess.input!r}, which is no input of the "
            f"model{_meant(preprocess.input, fed)}"
        )
    return preprocess if preprocess.input in (None, spec.name) else None


def _feed(spec: InputSpec, column: Column, what: str, steps: Preprocess | None) -> Feed:
    if spec.batch_axis is None:
        if column.dtype != spec.dtype or not fits(column.shape, spec.shape):
            raise DataError(
                f"{what} is {column.dtype} of shape {show_shape(column.shape)}, but {spec} is the same for "
                "every sample "
                "and is passed as it is; save it in just that type and shape"
            )
        return Feed(spec, column, Conversion(lambda rows, start: rows, None), what)
    conversion = plan_conversion(spec, column, what, steps)
    sample = conversion.apply(column[0:1], 0)
    check_sample_shape(spec, sample.shape[1:], column, what)
    return Feed(spec, column, conversion, what)


def _learn_sizes(feed: Feed, sizes: dict[str, int]) -> None:
    """Refuse one symbolic dimension that stands for two sizes."""
    if feed.spec.batch_axis is None:
        return
    sample = feed.conversion.apply(feed.column[0:1], 0)
    for size, name in zip(sample.shape[1:], feed.spec.sample_shape, strict=True):
        if isinstance(name, str) and sizes.setdefault(name, size) != size:
            raise DataError(
                f"{feed.what} has {size} where {feed.spec} says {name}, but another input has {sizes[name]} "
                "there; "
                "give both the same size"
            )


def _whole_batches(inputs: Iterable[InputSpec], length: int, place: str, notes: list[str]) -> int:
    fixed = max((spec.fixed_batch or 1 for spec in inputs), default=1)
    whole = length // fixed * fixed
    if whole == 0:
        raise DataError(
            f"{place} gives {length} samples, but the model runs on exactly {fixed} at once; give at least {fixed}"
        )
    if whole != length:
        notes.append(f"the last {length - whole} samples are left out: the model runs on exactly {fixed} at once")
    return whole


def _filled(
    preprocess: Preprocess,
    inputs: Sequence[InputSpec],
    fed: set[str],
    length: int,
    sizes: Mapping[str, int],
    notes: list[str],
) -> list[Feed]:
    feeds = []
    for spec in inputs:
        if spec.name in fed or spec.name not in preprocess.fill:
            continue
        value = preprocess.fill[spec.name]
        open_ = [size for size in spec.sample_shape if not isinstance(size, int) and size not in sizes]
        if open_:
            raise DataError(f"fill cannot make {spec}: the size of {open_[0] or 'one axis'!r} is not known; store it")
        shape = tuple(size if isinstance(size, int) else sizes[str(size)] for size in spec.sample_shape)
        rows: Array = constant(value, shape if spec.batch_axis is None else (length, *shape), spec.dtype)
        feeds.append(Feed(spec, rows, Conversion(lambda rows, start: rows, None), f"fill of {spec.name!r}"))
        notes.append(f"input {spec.name!r} was filled with {value:g}")
    return feeds


def _names(specs: Iterable[InputSpec]) -> str:
    return ", ".join(repr(spec.name) for spec in specs)


def _meant(name: str, inputs: Sequence[InputSpec]) -> str:
    near = closest(name, [spec.name for spec in inputs])
    return f", did you mean {near!r}?" if near else f"; its inputs are {_names(inputs)}"
