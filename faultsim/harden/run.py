"""`harden`: the order of the phases, from the files to a harder model and the proof of it."""

import contextlib
import copy
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from faultsim.assessment import assess
from faultsim.assessment.run import Interrupted
from faultsim.assessment.setting import make_setting
from faultsim.data.spec import DataSet
from faultsim.device import Device
from faultsim.engine.evaluate import Progress
from faultsim.errors import ModelError, OptionError
from faultsim.harden.assemble import assemble
from faultsim.harden.choose import choose, forget, train_part
from faultsim.harden.curve import Told, Trained
from faultsim.harden.export import Exported, check_target
from faultsim.harden.export import export as write
from faultsim.harden.hardening import Hardening
from faultsim.harden.module import into_module
from faultsim.harden.prepare import BY_ORIGINAL, Prepared, beside, feeds_of, prepare
from faultsim.harden.radii import MOST_SEARCHES, Ladder, Radii, side_by_side
from faultsim.model import Model, load_model
from faultsim.model.proto import data_beside, lies_apart, read
from faultsim.results import Result
from faultsim.results.hardening import HardenResult

CHECKED = 64
"""Samples of the check of the written file."""
CANDIDATE = "candidate.onnx"
QUANTIZED = "quantized.onnx"


@dataclass(frozen=True, eq=False)
class Hardened:
    """A hardening that has ended.

    Attributes:
        result: What is written as ``harden.json``.
        exported: The hardened model, as it lies on the disk.
        trained: The training.
        floats: The float original on the same chips, where it was quantized first; None elsewhere.
        source: The torch or Brevitas module that was given, its example inputs and the route of its export.
        test: The samples that both assessments are of.
    """

    result: HardenResult
    exported: Exported
    trained: Trained
    floats: Result | None = None
    source: tuple[Any, Any, str] | None = None
    test: DataSet | None = None

    @cached_property
    def module(self) -> Any:
        """A copy of the module that was given, with the hardened numbers: see `module.into_module`.

        Raises:
            OptionError: If no module was given, or it was quantized first: a float module has no place for codes.
            ModelError: If the numbers cannot be written back.
        """
        if self.source is None:
            raise OptionError(
                "a file was hardened and no module, so that there is none to write back to; "
                "use faultsim.harden.into_module with the module that the file was exported from"
            )
        if self.floats is not None:
            raise OptionError("the module was quantized on the way, and has no place for codes; deploy the .onnx file")
        module, example_inputs, route = self.source
        return into_module(module, example_inputs, self.exported.model, export=route).module


def harden(
    model: Any,
    device: str | Path | Device,
    data: str | Path | DataSet | None = None,
    *,
    target: str | Path,
    out: str | Path | None = None,
    example_inputs: Any = None,
    export: str = "qcdq",
    options: Hardening | None = None,
    progress: Progress | None = None,
    told: Told | None = None,
    torch_device: str = "cpu",
) -> Hardened:
    """Train a deployed model against a chip, write the same graph with new numbers, and assess both on the same chips.

    The original is never touched. A model that did not help is written as ``candidate.onnx`` in *out* and not as
    *target*; without *out* it is not kept. Where the check of its file fails, or that or its assessment is cut short,
    it is kept beside *target*, as ``<target>.candidate``, and a note of the exception names it.

    Args:
        model: Path of an ``.onnx`` file, the name of a bundled one, a `Model`, or a torch module.
        device: Name or path of a device profile, or a `Device`.
        data: Samples to train, choose and assess on, three parts that share none; see `prepare.beside` for None.
        target: The file to write.
        example_inputs: Of a torch module, as `load_model` takes them. The module is trained and written as its export,
            a Brevitas one with its quantizers in the loop. It stays as it was; `Hardened.module` is the hardened copy.
        export: For a Brevitas module: ``"qcdq"`` or ``"qonnx"``.
        out: Folder for checkpoints and what did not help; no checkpoints where None.
        options: How; the defaults where None.
        progress: Told of every step.
        told: Told of every validation of the final training.
        torch_device: Where to train.

    Raises:
        FaultsimError: If something that was given cannot be used.
    """
    options = options or Hardening()
    target, out = Path(target), None if out is None else Path(out)
    source = None
    if example_inputs is not None:
        source = model, example_inputs, export
        model = load_model(model, example_inputs, export=export, torch_device=torch_device)
    tell: Progress = progress or (lambda phase, done, total: None)
    tell("load and check", 0, 1)
    data, options = beside(model, data, options)
    _check_apart(target, out, options)
    ready = prepare(model, device, data, options, torch_device=torch_device)
    made = out is None and not target.parent.exists()
    place = (out or target.parent) / (CANDIDATE if out is not None else f"{target.name}.candidate")
    given = ready.floats or ready.setting.model
    check_target(given, target)
    for path in (place, *(() if out is None else (out / QUANTIZED,))):
        check_target(given, path, option="-o" if out is None else "--out")
    if out is not None and not options.resume:
        forget(out)
    tell("load and check", 1, 1)
    original, chip = ready.setting.model, ready.setting.device
    before = _assessed(original, chip, ready.test, options, tell, "before")
    floats = None
    if ready.floats is not None:
        if out is not None:
            out.mkdir(parents=True, exist_ok=True)
            original.write(out / QUANTIZED)
        floats = _assessed(ready.floats, chip, ready.test, options, tell, "float")
    began = time.monotonic()
    options, loss, tried, said, searched = choose(ready, options, out, tell)
    trained = train_part(ready, options, loss, out, "final", told, tell, before=searched)
    spent = time.monotonic() - began
    numbers = ready.validator.settled(trained.numbers)
    kept, written = out is not None, list[Path]()
    try:
        checked = ready.setting.model.as_deployed.fixed_batch or CHECKED
        feeds = feeds_of(ready.test, checked)
        exported = write(ready.trainable, numbers, place, feeds, lambda: written.append(place))
        after = _assessed(exported.model, chip, _as_labels(ready.test), options, tell, "after")
        radii = _radii(ready, exported, options, tell) if options.radii else Radii((), ())
        result = assemble(
            ready,
            options,
            exported,
            trained,
            loss,
            tried,
            _rerun(before, options),
            _rerun(after, options),
            radii,
            floats=floats,
            said=said,
            spent=spent,
            target=target,
        )
        if result.helped:
            kept = True
            final, sha256, missed = _moved(exported.model, place, target)
            exported = exported._replace(path=final)
            lies = result.after.model.model_copy(update={"path": str(final), "sha256": sha256})
            here = {"hardened": str(final), "after": result.after.model_copy(update={"model": lies})}
            result = result.model_copy(update={**here, "hardened_sha256": sha256, "notes": (*result.notes, *missed)})
    except BaseException as error:
        if written and place.exists():
            kept = True
            error.add_note(f"The hardened model is {place}; whether it helped was not judged.")
        raise
    finally:
        if not kept:
            _discard(place, folder=made)
    return Hardened(result, exported, trained, floats, source, _as_labels(ready.test))


def _radii(ready: Prepared, exported: Exported, options: Hardening, tell: Progress) -> Radii:
    """Search both models' radii; nothing for tasks without an accuracy."""
    if not ready.setting.task.counts_correct:
        return Radii((), ())
    old, new = (
        Ladder(
            make_setting(one, ready.setting.device, ready.test, _of_test(options), torch_device=str(one.device)),
            samples=options.radius_samples,
            gradients=options.radius_gradients,
        )
        for one in (ready.setting.model, exported.model)
    )
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        tell("critical radii", min(count, MOST_SEARCHES), MOST_SEARCHES)

    return side_by_side(old, new, step)


def _of_test(options: Hardening) -> Any:
    return replace(options.assess, limit=None, preprocess=None, input_shape=())


def _assessed(model: Model, chip: Device, data: DataSet, options: Hardening, tell: Progress, when: str) -> Result:
    """Assess; Ctrl-C ends the hardening, since nothing is judged by a part of an assessment."""
    try:
        return assess(model, chip, data, options=_of_test(options), progress=_named(tell, when))
    except Interrupted:
        raise KeyboardInterrupt from None


def _check_apart(target: Path, out: Path | None, options: Hardening) -> None:
    """Refuse the places of other models for the hardened one: something would lie there though nothing helped."""
    others = {CANDIDATE: "a model that did not help"}
    if options.quantize is not None:
        others[QUANTIZED] = "the plainly quantized model"
    for name, what in others.items():
        if out is not None and target.resolve() == (out / name).resolve():
            raise OptionError(f"-o {target}: that is where --out puts {what}; give another name than {name}")


def _moved(model: Model, place: Path, target: Path) -> tuple[Path, str, tuple[str, ...]]:
    """Move the model to where it was asked for, and return where it lies and its hash.

    Where that cannot be written, it stays, and a sentence says so. Weights that lie in a file of their own are written
    anew: the graph names that file.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if lies_apart(model.proto):
            model.write(target)
            _discard(place, folder=False)
            return target, read(target).sha256, ()
        try:
            place.replace(target)
        except OSError:  # on another disk
            partial = target.with_name(f"{target.name}.partial")
            shutil.copyfile(place, partial)
            partial.replace(target)
            place.unlink()
    except ModelError as error:
        return place, model.sha256, (f"{str(error).partition(';')[0]}: the hardened model is {place}.",)
    except OSError as error:
        return place, model.sha256, (f"{target} cannot be written ({error.strerror}): the hardened model is {place}.",)
    return target, model.sha256, ()


def _discard(place: Path, *, folder: bool) -> None:
    """Delete a candidate that is not kept, with the weights beside it, and the folder that was made for it."""
    with contextlib.suppress(OSError):  # never written, or something else is in the folder by now
        place.unlink(missing_ok=True)
        data_beside(place).unlink(missing_ok=True)
        if folder:
            place.parent.rmdir()


def _as_labels(data: DataSet) -> DataSet:
    """Return the same samples; where the original labelled them, as labels that were given: they are not its own."""
    same = copy.copy(data)
    if getattr(same, "golden_labels", False):
        same.golden_labels = False  # type: ignore[attr-defined]
    return same


def _rerun(result: Result, options: Hardening) -> Result:
    """Return a result that says where its samples come from, where these are a file with labels of its own."""
    data, asked = options.test_data, options.assess
    own = not result.data.source.endswith(BY_ORIGINAL)
    if result.rerun is None or not isinstance(data, str | Path) or not own:
        return result
    given = {
        "data": str(data),
        "limit": asked.limit,
        "preprocess": None if asked.preprocess is None else str(asked.preprocess),
        "input_shape": tuple(asked.input_shape),
    }
    return result.model_copy(update={"rerun": result.rerun.model_copy(update=given)})


def _named(tell: Progress, when: str) -> Callable[[str, int, int], None]:
    return lambda phase, done, total: tell(f"{when}: {phase}", done, total)
