"""A scenario to start from, written for one model: `starter`. Its text is a valid scenario; nothing is run here."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from faultsim.assessment import Options
from faultsim.assessment.setting import Setting, make_setting
from faultsim.data.synthetic import is_drawn
from faultsim.device import load_device
from faultsim.device.knobs import Knob, knobs
from faultsim.errors import OptionError
from faultsim.library import list_devices
from faultsim.scenario.lookup import bundled_or_file

DEFAULT_DEVICES = ("sram_low_voltage", "reram_1t1r")
_CHECKED = 256


class Starter(NamedTuple):
    """A scenario to start from.

    Attributes:
        text: The YAML.
        said: What was found out about the model, one line.
    """

    text: str
    said: str


def starter(
    model: str,
    target: Path,
    *,
    devices: tuple[str, ...] = DEFAULT_DEVICES,
    data: str | None = None,
    preprocess: str | None = None,
    task: str | None = None,
    output: str | None = None,
    input_shape: tuple[str, ...] = (),
    batch_axis: tuple[str, ...] = (),
) -> Starter:
    """Return a commented scenario for a model, with requirements that its task can be judged by.

    The model is read and checked as for an assessment, on a few samples.

    Args:
        model: An ``.onnx`` file, or the name of a bundled model.
        target: The file that the text is for: paths in it are relative to its folder.
        devices: Names or paths of profiles.
        data: Samples; what lies beside the model where None.
        preprocess: Their preprocessing file.
        task: Its task; told from data and output where None.
        output: The output that is scored; the first one where None.
        input_shape: Sizes of drawn inputs, ``NAME=SIZES`` each.
        batch_axis: Axes that count the samples, ``NAME=AXIS`` each.

    Raises:
        FaultsimError: If model, data or a device cannot be used.
    """
    file = bundled_or_file(model)
    own = bool(Path(model).is_file() or "/" in model or "\\" in model)
    for device in devices:
        load_device(device)
    options = Options(
        limit=_CHECKED,
        task=task,
        output=output,
        preprocess=None if preprocess is None else Path(preprocess),
        input_shape=input_shape,
        batch_axis=batch_axis,
        threads=0,
    )
    setting = make_setting(file, devices[0], data, options, torch_device="cpu")
    folder = target.resolve().parent
    entry = [f"  - model: {_quoted(_relative(model, folder) if own else model)}"]
    if data is not None:
        entry.append(f"    data: {_quoted(_relative(data, folder) if Path(data).exists() else data)}")
    elif is_drawn(setting.data):
        entry.append("    # data: test.npz      # samples with labels; without them inputs are drawn, see docs/data.md")
    else:
        entry.append(f"    # data: what lies beside the model is used: {Path(setting.data.source).name}")
    if preprocess is not None:
        entry.append(f"    preprocess: {_quoted(_relative(preprocess, folder))}")
    if task is not None:
        entry.append(f"    task: {_quoted(task)}")
    if output is not None:
        entry.append(f"    output: {_quoted(output)}")
    entry += _named("input_shape", input_shape, _quoted) + _named("batch_axis", batch_axis, str)
    labels = "no labels: the clean model's answers stand in" if setting.golden_labels else "labels given"
    size = sum(site.elements for site in setting.model.sites)
    said = f"{Path(file).name}: {setting.task.name}, {labels}, {size:,} parameters"
    uses = [line for device in devices for line in _device_lines(device, folder)]
    others = [f"  # - {name:<20} # {load_device(name).spec.title}" for name in list_devices() if name not in devices]
    text = "\n".join(
        [
            f"# faultsim run {target.name}          (--list: the cases; --out DIR: keep the results)",
            "# What may stand here: docs/scenarios.md, and 'faultsim scenarios schema' for editors.",
            "faultsim_scenario: 1",
            f"name: {_name(target)}",
            f"title: {_quoted(f'{Path(file).stem[:30]} on {len(devices)} chips')}",
            "",
            "models:",
            *entry,
            "",
            "devices:                     # every model on every device; 'faultsim devices show NAME' explains one",
            *uses,
            *others,
            "",
            "sampling:",
            "  trials: 30                 # chips a case; more make every interval narrower",
            "  seed: 0",
            "  # limit: 500               # the first so many samples only",
            "",
            "require:                     # your limits: change them, they decide the exit code",
            *_requirements(setting),
            "",
            "# hardening:                 # train each model against its chip as well; needs --out",
            "#   epochs: 10",
            "",
        ]
    )
    return Starter(text, said)


def _named(key: str, given: tuple[str, ...], shown: Callable[[str], str]) -> list[str]:
    """Return the lines of a mapping that options give as ``NAME=VALUE``."""
    pairs = (text.rpartition("=") for text in given)
    lines = [f"      {_quoted(name)}: {shown(value)}" for name, _, value in pairs]
    return [f"    {key}:", *lines] if lines else []


def _device_lines(device: str, folder: Path) -> list[str]:
    spec = load_device(device).spec
    given = _relative(device, folder) if Path(device).is_file() else device
    lines = [f"  - device: {_quoted(given)}    # {spec.title}"]
    turned = knobs(spec)
    if not turned:
        return [*lines, "    corners: {}              # none of its laws depends on a condition"]
    for knob in turned.values():
        own = "no value of its own" if knob.own is None else f"its own is {knob.show(knob.own)}"
        lines.append(f"    # corners: {{{knob.name}: {{{knob.name}: [{_values(knob)}]}}}}    # a case for each; {own}")
    return lines


def _values(knob: Knob) -> str:
    """Return two values of a condition: the profile's own and another one."""
    fixed = {"at": "1h, 1d", "exposure": "1d, 1y", "flux": "1, 10", "temperature": "25, 85"}
    own = 1.0 if knob.own is None else knob.own
    return fixed.get(knob.name, f"{own:g}, {1.05 * own:g}")


def _requirements(setting: Setting) -> list[str]:
    """Return requirements that the task and its labels allow; none that a device without a set cannot be judged by."""
    task = setting.task
    if task.headline == "score":
        return ["  - score_drop <= 1 at p95", "  # - score_drop <= 5 at max"]
    if not task.counts_correct or task.headline == "loss":
        return ["  - loss_increase <= 0.1 at p95", "  # - loss_increase <= 1 at max"]
    return [
        "  - accuracy_drop <= 1 % at p95            # 95 % of the chips lose at most one point",
        "  # - yield >= 95 % at accuracy >= 0.9     # 95 % of the chips reach it",
        "  # - worst_case_accuracy >= 0.5           # under the worst corruption found",
        "  # - safety_factor >= 2                   # how far the chip's budget is from breaking the model",
        "  # - sdc_fit <= 10                        # where faults are events with a rate",
    ]


def _relative(text: str, folder: Path) -> str:
    try:
        return Path(os.path.relpath(Path(text).resolve(), folder)).as_posix()
    except ValueError:  # another drive
        return str(Path(text).resolve())


def _name(target: Path) -> str:
    kept = "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "_-") else "_" for letter in target.stem
    )
    return f"{kept.lstrip('_-')[:60] or 'scenario'}"


def _quoted(text: str) -> str:
    """Return a text as YAML has it: between single quotes, which know no escapes but their own."""
    if any(not letter.isprintable() for letter in text):
        raise OptionError(f"{text[:80]!r} holds characters that cannot be printed; rename the file")
    return "'" + text.replace("'", "''") + "'"
