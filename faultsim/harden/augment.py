"""Flips and shifts of image batches, keyed by seed and step. Nothing else is done to the samples."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.metrics import ClassIds, Classification, Custom, GoldenAgreement, Regression, Task
from faultsim.rng import generator

Array = NDArray[Any]
Augment = Literal["none", "shift", "flip-shift"]
SHIFT = 8
"""A shift is up to one part in so many of the image's height and width."""
CHANNELS = (1, 3, 4)
"""Lengths of an axis of channels."""


def images(feeds: Mapping[str, Array], kind: Augment) -> tuple[str, ...]:
    """Return the names of the inputs that hold images N×C×H×W.

    An input whose last axis is 1, 3 or 4 long and whose second is longer than 4 has its channels last: a shift would
    move its colours.

    Raises:
        OptionError: If no input holds images, or their channels come last.
    """
    found = tuple(name for name, array in feeds.items() if array.ndim == 4 and array.dtype.kind == "f")
    if not found:
        raise OptionError(f"augment {kind!r} is for float images N×C×H×W, and no input holds such; use none")
    for name in found:
        shape = feeds[name].shape
        if shape[3] in CHANNELS and shape[1] > max(CHANNELS):
            told = "×".join(map(str, shape[1:]))
            raise OptionError(
                f"augment {kind!r} is for images N×C×H×W, and those of input {name!r} are N×{told}, channels last; "
                "use none"
            )
    return found


def check_answers(task: Task, outputs: Array, kind: Augment) -> None:
    """Refuse tasks whose answers lie where the pixels do: they would stay where the image was.

    Args:
        task: What the model is judged by.
        outputs: Its output for some samples, N×….
        kind: What is to be done to the images.

    Raises:
        OptionError: If a sample has answers for pixels, positions or words.
    """
    own = task.inner if isinstance(task, GoldenAgreement) else task
    flat = outputs[:1].squeeze().ndim < 2
    if isinstance(own, Custom) or (isinstance(own, Classification | ClassIds | Regression) and flat):
        return
    shape = "×".join(map(str, outputs.shape[1:]))
    raise OptionError(
        f"augment {kind!r} moves the images and not what is answered for each of their places, and the output of "
        f"{task.name} is N×{shape}; use none"
    )


def augmented(feeds: Mapping[str, Array], kind: Augment, *, seed: int, step: int) -> dict[str, Array]:
    """Return a batch with every image (float N×C×H×W) shifted at random, and mirrored left to right half of the time.

    What a shift uncovers is filled by reflection, so that any normalisation of the pixels will do. All images of a
    sample move alike, by the same part of their size. Other inputs stay.

    Args:
        feeds: Inputs by name.
        kind: ``shift``, ``flip-shift``, or ``none``.
        seed: Seed of the training.
        step: Its step.

    Raises:
        OptionError: If no input holds images, or their channels come last.
    """
    if kind == "none":
        return dict(feeds)
    found = dict(feeds)
    names = images(feeds, kind)
    count = len(feeds[names[0]])
    rng = generator(seed, step, "harden", "augment", names[0])
    most = np.max([_reach(feeds[name]) for name in names], axis=0)
    drawn = [rng.integers(0, 2 * reach + 1, count) for reach in most]
    mirror = rng.random(count) < (0.5 if kind == "flip-shift" else 0.0)
    for name in names:
        array = feeds[name]
        rows, columns = reach = _reach(array)
        padded = np.pad(array, ((0, 0), (0, 0), (rows, rows), (columns, columns)), mode="reflect")
        down, across = (
            one if own == top else np.rint(one * (own / top)).astype(np.int64)
            for one, own, top in zip(drawn, reach, most, strict=True)
        )
        out = np.empty_like(array)
        for i in range(len(array)):
            cut = padded[i, :, down[i] : down[i] + array.shape[2], across[i] : across[i] + array.shape[3]]
            out[i] = cut[:, :, ::-1] if mirror[i] else cut
        found[name] = out
    return found


def _reach(array: Array) -> tuple[int, int]:
    """Return by how many rows and columns an image may move."""
    rows, columns = (max(size // SHIFT, 1) if size > 1 else 0 for size in array.shape[2:])
    return rows, columns
