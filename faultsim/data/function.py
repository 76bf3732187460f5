"""Data from a function of the user's: ``module:function``. What the function returns is the only contract."""

import importlib
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from faultsim.data.fit import LABEL_NAMES, Raw, pop_labels
from faultsim.data.orient import Orientation, orient
from faultsim.data.spec import Array, Column, InputSpec
from faultsim.data.spool import Spool
from faultsim.errors import DataError, FaultsimError
from faultsim.library import closest

_REFERENCE = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")


def is_function(name: str) -> bool:
    """Whether *name* has the form ``module:function``.

    Examples:
        >>> is_function("my.data:load"), is_function("C:/data.npz"), is_function("data.npz")
        (True, False, False)
    """
    return _REFERENCE.fullmatch(name) is not None


def resolve(name: str, error: type[FaultsimError] = DataError) -> Callable[..., Any]:
    """Return the function that ``module:function`` names; modules in the working directory are found too.

    Args:
        name: ``package.module:function``.
        error: Type of the errors.

    Raises:
        FaultsimError: Of type *error*: if the form is another one, the module cannot be imported, or it has
            no such function.
    """
    if not is_function(name):
        raise error(f"{name!r} is not of the form module:function; write for instance my_project.data:load")
    module_name, _, attribute = name.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as caught:
        raise error(
            f"the module of {name!r} cannot be imported ({type(caught).__name__}: {caught}); "
            f"check the name, or run where {module_name.split('.')[0]} can be found"
        ) from caught
    finally:
        sys.path.remove(here)
    value: Any = module
    for part in attribute.split("."):
        if not hasattr(value, part):
            near = closest(part, dir(value))
            raise error(
                f"{module_name!r} has no {attribute!r}" + (f", did you mean {near!r}?" if near else "; define it")
            )
        value = getattr(value, part)
    if not callable(value):
        raise error(f"{name!r} is a {type(value).__name__}, not a function; name a function without arguments")
    found: Callable[..., Any] = value
    return found


def read_function(
    name: str, inputs: Sequence[InputSpec], *, limit: int | None = None, label_axis: int | None = None
) -> Raw:
    """Return the data that the function gives; it is called once, without arguments.

    It may return a mapping of arrays by input name (and ``labels``), a tuple of arrays in the order of the
    inputs (labels may come last), one array, or an iterable of such batches (a generator, a list, a torch
    ``DataLoader``), which is read once and kept in a temporary file. Whatever `numpy.asarray` takes is an
    array.

    Args:
        name: ``module:function``.
        inputs: The inputs of the model.
        limit: Only so many samples are needed: an iterable is read no further.
        label_axis: The axis of the labels that counts the samples, where the user named it.

    Raises:
        DataError: If the function cannot be found, raises, or returns something else.
    """
    function = resolve(name)
    try:
        given = function()
        if not _is_batch(given):
            return _many(given, inputs, name, limit, label_axis)
        return Raw(_one(given, inputs, name), None, name, name)
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        raise DataError(f"{name} raised {type(error).__name__}: {error}; run it on its own to see where") from error


def _is_batch(given: object) -> bool:
    return isinstance(given, Mapping | tuple | np.ndarray) or hasattr(given, "__array__")


def _one(given: object, inputs: Sequence[InputSpec], name: str) -> dict[str, Column]:
    """Return the arrays of one mapping, tuple or array by name."""
    if isinstance(given, Mapping):
        return {str(key): _array(value, f"{name}: array {key!r}") for key, value in given.items()}
    parts = list(given) if isinstance(given, tuple | list) else [given]
    names = [spec.name for spec in inputs]
    if len(parts) == len(names) + 1:
        names.append(next(label for label in LABEL_NAMES if label not in names))
    if len(parts) != len(names):
        raise DataError(
            f"{name} gives {len(parts)} arrays, but the model has {len(inputs)} inputs; give one for each, "
            "in their order,"
            " and the labels last"
        )
    return {key: _array(value, f"{name}: array {key!r}") for key, value in zip(names, parts, strict=True)}


def _many(given: object, inputs: Sequence[InputSpec], name: str, limit: int | None, label_axis: int | None) -> Raw:
    """Return the batches joined, each turned samples first as the first one's shapes say."""
    if not isinstance(given, Iterable) or isinstance(given, str | bytes):
        raise DataError(
            f"{name} returned {type(given).__name__}; return a mapping of arrays by input name, a tuple of "
            "arrays, or an "
            "iterable of such batches"
        )
    spools: dict[str, Spool] = {}
    same = {spec.name for spec in inputs if spec.batch_axis is None}
    kept: dict[str, Column] = {}
    found = Orientation({}, 0)
    label = ""
    for number, batch in enumerate(given):
        if not _is_batch(batch) and not isinstance(batch, list):
            raise DataError(f"{name}: batch {number} is {type(batch).__name__}; give a mapping, a tuple or an array")
        arrays = _one(batch, inputs, name)
        if number == 0:
            found, label = _first(arrays, inputs, name, label_axis)
        elif arrays.keys() != spools.keys() | kept.keys():
            raise DataError(
                f"{name}: batch {number} holds {sorted(arrays)}, the first one {sorted(spools.keys() | kept.keys())}; "
                "give the same"
            )
        for key, value in arrays.items():
            if key in same:
                if number and not np.array_equal(np.asarray(kept[key]), np.asarray(value)):
                    raise DataError(
                        f"{name}: batch {number} holds another {key!r} than the first, but the model takes one for all "
                        f"samples; give the same, or name its axis of samples with --batch-axis {key}=0"
                    )
                kept[key] = value
                continue
            if not value.shape:
                raise DataError(f"{name}: batch {number} holds a single number as {key!r}; give arrays, samples first")
            turned = found.turned_labels(value) if key == label else found.turned(key, value)
            spools.setdefault(key, Spool(f"{name}: array {key!r}")).append(np.asarray(turned))
        if limit is not None and min((spool.rows for spool in spools.values()), default=limit) >= limit:
            break
    if not spools and not kept:
        raise DataError(f"{name} gave no batch; give at least one sample")
    joined: dict[str, Column] = {key: spool.array() for key, spool in spools.items()}
    return Raw({**joined, **kept}, None, name, name, found.notes, samples_first=True)


def _first(
    arrays: Mapping[str, Column], inputs: Sequence[InputSpec], name: str, label_axis: int | None
) -> tuple[Orientation, str]:
    """Return where the samples lie in a batch, and the name of its labels."""
    rest = dict(arrays)
    labels = pop_labels(rest, inputs, name)
    label = next((key for key in arrays if key not in rest), "")
    chosen = {spec.name: (spec.name, rest[spec.name]) for spec in inputs if spec.name in rest}
    if len(inputs) == len(rest) == 1:
        chosen = {inputs[0].name: next(iter(rest.items()))}
    return orient(inputs, chosen, labels, name, label_axis=label_axis), label


def _array(value: object, what: str) -> Array:
    detached = value.detach().cpu() if hasattr(value, "detach") else value
    array = np.asanyarray(detached)
    if array.dtype.hasobject:
        raise DataError(
            f"{what} holds Python objects ({type(value).__name__}), not numbers; make it one array of numbers"
        )
    return array
