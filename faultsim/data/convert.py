"""From a raw array to what one input declares: which conversion applies, and its checks. No files here.

Without declared preprocessing only four things happen: nothing (equal types); the image rule (uint8 N,H,W,C,
or N,H,W for one channel, to float N,C,H,W with equal C, H, W: transposed and divided by 255); another width
of float; another width of integer, where every value fits. All but the first are announced.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from faultsim.data.preprocess import Preprocess, arithmetic, to_nhwc
from faultsim.data.spec import Array, Column, InputSpec, show_shape
from faultsim.errors import DataError

_IMAGE_CHANNELS = (1, 3, 4)


class Conversion(NamedTuple):
    """How the rows of one array become one input: `apply` takes raw rows and the number of the first."""

    apply: Callable[[Array, int], Array]
    note: str | None


def plan_conversion(spec: InputSpec, column: Column, what: str, preprocess: Preprocess | None) -> Conversion:
    """Return how *column* becomes the input *spec*, or say why it cannot.

    Args:
        spec: The input.
        column: The raw array, samples first, at least one.
        what: What the array is, for messages: ``array 'images' in data.npz``.
        preprocess: The declared steps, where there are any for this input.

    Raises:
        DataError: If the types do not go together without preprocessing.
    """
    if preprocess is not None:
        return Conversion(_declared(spec, what, preprocess), f"{what}: {preprocess.describe()}")
    have, want = column.dtype, spec.dtype
    if have == want:
        return Conversion(lambda rows, start: rows, None)
    kinds = (family(have), family(want))
    if have == np.uint8 and kinds[1] == "float" and image_rule(spec, column.shape[1:]):
        return Conversion(
            lambda rows, start: _as_image(rows, want),
            f"{what}: uint8 images {_image_axes(column)} were transposed to N,C,H,W and divided by 255 for {spec}",
        )
    if kinds == ("float", "float"):
        return Conversion(
            lambda rows, start: narrowed(rows, want, what, start), f"{what}: {have} was rounded to {want}"
        )
    if set(kinds) <= {"int", "bool"}:
        return Conversion(lambda rows, start: fitted(rows, want, what, start), f"{what}: {have} was stored as {want}")
    raise DataError(f"{what} is {have}, but {spec} wants {want}; {_remedy(*kinds, want)}")


def family(dtype: np.dtype[Any]) -> str:
    """Return what sort of number a type holds: ``float``, ``int``, ``bool`` or ``other``.

    Examples:
        >>> family(np.dtype("uint8")), family(np.dtype("<U3"))
        ('int', 'other')
    """
    name = dtype.name
    if name.startswith(("float", "bfloat")):
        return "float"
    return "int" if name.startswith(("int", "uint")) else "bool" if name == "bool" else "other"


def image_rule(spec: InputSpec, raw: tuple[int, ...]) -> bool:
    """Whether uint8 rows of shape *raw* are plainly images H,W,C (or H,W) for a float input N,C,H,W."""
    want = spec.sample_shape
    if spec.batch_axis != 0 or len(want) != 3 or want[0] not in _IMAGE_CHANNELS:
        return False
    shape = (*raw, 1) if len(raw) == 2 else raw
    moved = (shape[-1], *shape[:-1])
    return len(shape) == 3 and fits(moved, want) and not (len(raw) == 3 and fits(raw, want))


def fits(shape: tuple[int, ...], declared: tuple[int | str | None, ...]) -> bool:
    """Whether a shape agrees with a declared one wherever that is a number.

    Examples:
        >>> fits((3, 32, 32), (3, "H", None)), fits((32, 32, 3), (3, 32, 32))
        (True, False)
    """
    return len(shape) == len(declared) and all(
        not isinstance(want, int) or want == have for have, want in zip(shape, declared, strict=True)
    )


def check_sample_shape(spec: InputSpec, converted: tuple[int, ...], raw: Column, what: str) -> None:
    """Refuse converted samples whose shape is not the declared one.

    Raises:
        DataError: With the remedy where one is plain: another order of axes, a missing sample axis.
    """
    want = spec.sample_shape
    if fits(converted, want):
        return
    if fits(raw.shape, want):
        remedy = "it looks like a single sample: add the sample axis in front, array[None]"
    elif len(converted) == len(want) == 3 and fits((converted[-1], *converted[:-1]), want):
        remedy = "its axes are H,W,C: transpose it, or declare layout: NCHW in a preprocessing file"
    elif len(converted) == len(want) == 3 and fits((*converted[1:], converted[0]), want):
        remedy = "its axes are C,H,W: transpose it, or declare data_layout: NCHW and layout: NHWC"
    else:
        remedy = "reshape the array, or declare resize, crop or layout in a preprocessing file"
    raise DataError(
        f"{what} has samples of shape {show_shape(converted)}, but {spec} asks for {show_shape(want)}; {remedy}"
    )


def narrowed(rows: Array, want: np.dtype[Any], what: str, start: int) -> Array:
    """Return floats in another width.

    Raises:
        DataError: If a finite value becomes infinite in it.
    """
    with np.errstate(over="ignore"):
        out = rows.astype(want)
    _refuse_where(np.isinf(out) & ~np.isinf(rows), rows, what, start, f"too large for {want}; scale the data")
    return out


def fitted(rows: Array, want: np.dtype[Any], what: str, start: int) -> Array:
    """Return whole numbers in another width.

    Raises:
        DataError: If a value does not fit.
    """
    low, high = (0, 1) if want.name == "bool" else integer_range(want)
    values = rows.astype(np.uint8) if rows.dtype.name == "bool" else rows
    _refuse_where((values < low) | (values > high), rows, what, start, f"outside the range {low}…{high} of {want}")
    return rows.astype(want)


def integer_range(dtype: np.dtype[Any]) -> tuple[int, int]:
    """Return the smallest and largest value of an integer type, ``int4`` and its like included."""
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return int(limits.min), int(limits.max)
    bits = int(dtype.name.removeprefix("u").removeprefix("int"))
    return (0, 2**bits - 1) if dtype.name.startswith("u") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


def _refuse_where(bad: Array, rows: Array, what: str, start: int, why: str) -> None:
    if bad.any():
        first = tuple(int(i) for i in np.argwhere(bad)[0]) if bad.ndim else ()
        place = ", ".join(map(str, (first[0] + start, *first[1:]) if first else ()))
        raise DataError(f"{what} holds {rows[first]} at [{place}], {why}")


def _declared(spec: InputSpec, what: str, preprocess: Preprocess) -> Callable[[Array, int], Array]:
    want = spec.dtype if preprocess.dtype is None else np.dtype(preprocess.dtype)
    if want != spec.dtype:
        raise DataError(
            f"the preprocessing gives {want}, but {spec} wants {spec.dtype}; change or leave out dtype: {want}"
        )

    def apply(rows: Array, start: int) -> Array:
        out = rows
        if preprocess.pixels:
            out = to_nhwc(rows, preprocess, what)
            out = np.moveaxis(out, -1, 1) if preprocess.layout == "NCHW" else out
        if family(want) == "float":
            done = arithmetic(out, preprocess, what) if preprocess.arithmetic else out
            return narrowed(np.asarray(done, dtype=np.float64), want, what, start)
        if not preprocess.arithmetic and family(out.dtype) in ("int", "bool"):
            return fitted(out, want, what, start)
        return fitted(np.rint(arithmetic(out, preprocess, what)), want, what, start)

    return apply


def _as_image(rows: Array, want: np.dtype[Any]) -> Array:
    images = rows[..., None] if rows.ndim == 3 else rows
    scaled = np.moveaxis(images, -1, 1) / np.float32(255)
    return np.ascontiguousarray(scaled.astype(want, copy=False))


def _image_axes(column: Column) -> str:
    return "N,H,W" if len(column.shape) == 3 else "N,H,W,C"


def _remedy(have: str, want_family: str, want: np.dtype[Any]) -> str:
    if have == "other":
        return f"save numbers: array.astype('{want}')"
    if want_family == "float":
        return (
            "which real numbers its values stand for is not declared: give a preprocessing file "
            "(--preprocess) with "
            f"scale, for instance 1/255, and layout, or save the array as {want}"
        )
    return f"give a preprocessing file (--preprocess) that says how to round, or save the array as {want}"
