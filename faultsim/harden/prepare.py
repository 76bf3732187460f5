"""What a hardening stands on: the model as leaves, data in three parts, losses, a validator. Nothing is trained."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment import Options
from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import Setting, make_setting
from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.errors import OptionError
from faultsim.harden import batchnorm
from faultsim.harden.apart import check_apart, check_sources
from faultsim.harden.augment import check_answers, images
from faultsim.harden.batch import check_trains
from faultsim.harden.biases import NegativeBiases, wide_biases
from faultsim.harden.hardening import Hardening
from faultsim.harden.precision import resolved
from faultsim.harden.quantize import CALIBRATED, Quantize, Quantized, quantize
from faultsim.harden.recipes import Recipe, named_loss, recipe
from faultsim.harden.samples import Samples, split
from faultsim.harden.strength import splits
from faultsim.harden.target import Target, Towards
from faultsim.harden.trainable import Trainable
from faultsim.harden.validate import Validator
from faultsim.library import find_model
from faultsim.model import Model, load_model

BY_ORIGINAL = ", labelled by the original"
"""How the source of samples ends that brought no labels of their own."""


class Labelled:
    """A data set with labels of our own: the clean model's answers (`data.spec.DataSet`).

    Attributes:
        golden_labels: True: a result says that accuracy is agreement.
    """

    golden_labels = True

    def __init__(self, data: DataSet, labels: NDArray[Any]) -> None:
        """Put *labels*, one a sample, beside the inputs of *data*."""
        self.source = f"{data.source}{BY_ORIGINAL}"
        self.notes = data.notes
        self._data, self._labels = data, labels

    def __len__(self) -> int:
        return len(self._data)

    def inputs(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the inputs of the samples ``start … stop - 1``."""
        return self._data.inputs(start, stop)

    def labels(self, start: int, stop: int) -> NDArray[Any] | None:
        """Return the original's answers to them."""
        found: NDArray[Any] = self._labels[start:stop]
        return found


@dataclass(eq=False)
class Prepared:
    """Everything that the phases of a hardening share.

    Attributes:
        setting: The original on the validation samples; the plainly quantized one where `floats` is there.
        trainable: The original as leaves.
        names: Sites that the device stores and that are trained: what losses corrupt.
        train: What is trained on.
        test: What both assessments are scored on.
        recipe: The losses.
        target: What is trained towards.
        validator: Scores numbers.
        batch_size: Samples a step.
        floats: The float model that was quantized first; None where the model is hardened as it came.
        quantized: What was done to it.
        shared: Sentences about samples that two of training, validation and test data share.
    """

    setting: Setting
    trainable: Trainable
    names: tuple[str, ...]
    train: Samples
    test: DataSet
    recipe: Recipe
    target: Target
    validator: Validator
    batch_size: int
    floats: Model | None = None
    quantized: Quantized | None = None
    shared: tuple[str, ...] = ()


def prepare(
    model: Any, device: str | Path | Device, data: str | Path | DataSet | None, options: Hardening, *, torch_device: str
) -> Prepared:
    """Load and check everything; nothing is trained yet.

    Raises:
        FaultsimError: If model, device, data and losses cannot be used, or do not go together.
    """
    whole = make_setting(model, device, data, options.assess, torch_device=torch_device)
    loaded, chip = whole.model, whole.device
    samples: DataSet = whole.data
    if whole.golden_labels:
        if options.towards == "labels":
            raise OptionError(f"{samples.source} holds no labels; give labels, or train towards the clean model")
        if whole.scorer.labels is not None:  # else they are such samples already
            samples = Labelled(samples, whole.scorer.labels)
    towards: Towards = options.towards or ("clean" if whole.golden_labels else "labels")
    fixed = loaded.fixed_batch
    seed = options.training.seed
    test: DataSet
    held = 0.0 if options.test_data is not None else options.held_out
    if options.test_data is None and held == 0:
        raise OptionError("no sample is held out to assess on; give test data, or a part to hold out above 0")
    check_sources(data, options)
    part = options.validation if options.validation_data is None else 0.0
    if options.validation_data is None and part == 0:
        raise OptionError("no sample is left to choose by; give validation data, or a part to choose by above 0")
    whole_batches = loaded.as_deployed.fixed_batch or 1
    parts = split(samples, loaded.inputs, seed=seed, validation=part, test=held, multiple=whole_batches)

    def own(given: str | Path | DataSet | None, part: DataSet) -> DataSet:
        return part if given is None else _labelled(loaded, chip, given, options, torch_device)

    if options.training.augment != "none":
        few = parts.train.inputs(0, fixed or 1)
        images(few, options.training.augment)
        answers = whole.output.real(np.asarray(loaded.run(few)[whole.output.name]))
        check_answers(whole.task, answers, options.training.augment)
    test, validation = own(options.test_data, parts.test), own(options.validation_data, parts.validation)
    own_data = {"validation": options.validation_data, "test": options.test_data}
    said = check_apart(
        {"training": parts.train, "validation": validation, "test": test},
        loaded.inputs,
        given=[name for name, one in own_data.items() if one is not None],
    )
    teacher, quantized = loaded, None
    if options.quantize is not None:
        loaded, quantized = _quantized(loaded, options.quantize, parts.train, loaded.as_deployed.fixed_batch)
    setting = make_setting(loaded, chip, validation, _plain(options.assess), torch_device=torch_device)
    loaded, fixed = setting.model, setting.model.fixed_batch
    size = fixed or min(options.training.batch_size, len(parts.train))
    tried = parts.train.inputs(0, size) if options.training.precision != "float32" else {}
    precision = resolved(options.training.precision, loaded, tried)
    trainable = Trainable(loaded, scales=options.scales, precision=precision)
    names = tuple(name for name in setting.stored if name in trainable.parameters)
    if not names:
        raise OptionError(f"nothing that {chip.name} stores of {loaded.name} can be trained; widen --sites")
    conditions = options.assess.conditions
    given = {"ball": options.ball, "conditions": conditions, "virtual_steps": options.virtual_steps}
    if options.losses:
        chosen = named_loss(options.losses, chip, alpha=options.alpha, **given)  # type: ignore[arg-type]
    else:
        chosen = recipe(options.recipe, chip, **given)  # type: ignore[arg-type]
    chosen.check_strength(options.strength)
    if not wide_biases(trainable, names):
        if NegativeBiases.kind in options.losses:
            raise OptionError(
                f"--loss negative_bias: {chip.name} stores no trained bias of more than 24 bits of {loaded.name}; "
                "leave it out"
            )
        chosen = chosen._replace(also=None)
    if options.training.split_batch:
        _check_split(chosen, fixed, options.strength)
    target = Target(teacher, setting.task, setting.output, parts.train, towards=towards, batch_size=fixed or 250)
    check_trains(trainable, *target.batch(np.arange(size)))
    live = options.batch_norm == "recalibrated" and batchnorm.live(loaded)
    validator = Validator(
        setting,
        chip_set(setting).constraint,
        chips=options.chips,
        tolerance=options.tolerance,
        seed=seed,
        anew=batchnorm.anew(loaded, parts.train, batch_size=size, seed=seed) if live else None,
    )
    return Prepared(
        setting,
        trainable,
        names,
        parts.train,
        test,
        chosen,
        target,
        validator,
        size,
        floats=None if quantized is None else teacher,
        quantized=quantized,
        shared=said,
    )


def _check_split(chosen: Recipe, fixed: int | None, strength: float | None) -> None:
    if fixed is not None:
        raise OptionError(f"--split-batch: the graph takes batches of {fixed} alone; leave it out")
    for one in (chosen.loss, chosen.also):
        if one is not None and not splits(one if strength is None else one.with_strength(strength)):
            at = f" at strength {strength:g}" if strength is not None and splits(one) else ""
            raise OptionError(
                f"--split-batch is for a clean loss and a corrupted one, and {one.kind}{at} has one of them alone; "
                "leave it out, or use l_star, or noise or randbet with --alpha below 1 in all"
            )


def _labelled(model: Model, chip: Device, data: str | Path | DataSet, options: Hardening, torch_device: str) -> DataSet:
    """Return samples that were given, labelled by the original where they hold no labels."""
    own = make_setting(model, chip, data, options.assess, torch_device=torch_device)
    if own.golden_labels and own.scorer.labels is not None:
        return Labelled(own.data, own.scorer.labels)
    return own.data


def _quantized(floats: Model, kind: Quantize, train: Samples, fixed: int | None) -> tuple[Model, Quantized]:
    """Return the plainly quantized model, and what was done; the ranges are those of evenly spaced training samples."""
    size = fixed or 64
    count = min(max(CALIBRATED, size), len(train))
    rows = np.unique(np.linspace(0, len(train) - 1, count).round().astype(np.int64))
    starts = range(0, len(rows) - size + 1, size) if fixed else range(0, len(rows), size)
    batches = (train.take(rows[i : i + size])[0] for i in starts)
    made = quantize(floats, kind, batches, samples=size * len(starts) if fixed else len(rows))
    stem = floats.path.stem if floats.path is not None else floats.name
    loaded = load_model(made.proto, torch_device=str(floats.device), name=f"{stem}_{kind}.onnx")
    return loaded.with_batch_axes({**floats.axes.outputs, **floats.axes.inputs}, judged=floats.judged), made


def beside(
    model: Any, data: str | Path | DataSet | None, options: Hardening
) -> tuple[str | Path | DataSet | None, Hardening]:
    """Return the data to train on and the options, with what lies beside the model where nothing is given.

    ``model_train.npz`` is trained and chosen on, and ``model.npz`` is what both assessments are scored on.

    Raises:
        OptionError: If another part than usual is to be held out of data that bring samples to assess on.
    """
    if data is not None:
        return data, options
    path = find_model(model) if isinstance(model, str | Path) else getattr(model, "path", None)
    if path is None:
        return data, options
    train, test = path.with_name(f"{path.stem}_train.npz"), path.with_suffix(".npz")
    if not train.is_file():
        return data, options
    if options.test_data is None and test.is_file():
        if options.held_out != Hardening.held_out:
            raise OptionError(
                f"--held-out {options.held_out:g} is a part of --data to assess on, and {path.stem} brings samples to "
                f"assess on ({test.name}); leave it out, or give --data"
            )
        options = replace(options, test_data=test)
    return train, options


def feeds_of(data: DataSet, count: int) -> dict[str, NDArray[Any]]:
    """Return the inputs of the first samples of *data*, for a check against the reference runtime."""
    return {name: np.asarray(array) for name, array in data.inputs(0, min(count, len(data))).items()}


def _plain(options: Options) -> Options:
    """The same options for data that are loaded already."""
    return replace(options, limit=None, preprocess=None, input_shape=())
