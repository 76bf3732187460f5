"""``--batch-axis``: which axes count the samples by the user's word, and whether the rest could be told."""

from typing import NamedTuple

from faultsim.assessment.options import Options
from faultsim.data.fit import LABEL_NAMES
from faultsim.errors import OptionError
from faultsim.model import Model


class Placed(NamedTuple):
    """A model that knows where its samples are.

    Attributes:
        model: The model.
        label_axis: The axis of the labels that counts the samples, where the user named it.
    """

    model: Model
    label_axis: int | None


def place_samples(model: Model, options: Options) -> Placed:
    """Return the model with the axes that the options name.

    Raises:
        OptionError: If an option is not NAME=AXIS, or the axes of the inputs can neither be told nor are named.
        ModelError: If there is no such input or output, or it has no such axis.
    """
    known = {*(spec.name for spec in model.declared), *model.output_names}
    given: dict[str, int | None] = {}
    labels: int | None = None
    for text in options.batch_axis:
        name, _, word = text.rpartition("=")
        if not name or not (word.isdecimal() or word == "none"):
            raise OptionError(
                f"--batch-axis {text!r}: give NAME=AXIS with the number of the axis that counts the samples, from 0, "
                "or NAME=none for an input that is the same for every sample; NAME is an input, an output or labels"
            )
        if name in LABEL_NAMES and name not in known:
            if word == "none":
                raise OptionError(f"--batch-axis {text!r}: labels have samples; give the number of their axis")
            labels = int(word)
        else:
            given[name] = None if word == "none" else int(word)
    if options.output is not None and options.output not in model.output_names:
        return Placed(model, labels)  # said where the output is looked up
    if given or (options.output is not None and options.output != model.output_names[0]):
        model = model.with_batch_axes({**model.given_axes, **given}, judged=options.output)
    if model.axes.doubt is not None:
        raise OptionError(f"{model.name}: {model.axes.doubt}")
    return Placed(model, labels)
