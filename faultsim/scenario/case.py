"""`Case`: one model on one device at one corner, and the digest that tells whether its inputs changed. Nothing runs."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path

from faultsim.assessment import Options
from faultsim.data.function import is_function
from faultsim.device import load_device
from faultsim.model.proto import read as read_model
from faultsim.scenario.requirement import Asked
from faultsim.specs.scenario import HardeningSpec

_COMPUTE = ("faultsim-nn", "torch", "onnxruntime", "numpy")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One model on one device at one corner.

    Attributes:
        name: ``MODEL/DEVICE/CORNER``, also the folder of its files; no corner where the scenario has none.
        model: The model's file.
        device: The profile's file.
        data: As `faultsim.assessment.assess` takes them.
        corner: Name of the corner; empty where there is none.
        conditions: Conditions other than the profile's own, as texts by name.
        options: How it is assessed; ``require`` holds what of `asked` `faultsim.assessment.assess` judges.
        asked: The requirements as the scenario's author wrote them, in the order of the file.
        hardening: How to harden beside; None for not.
        train_data: Samples for that, where they are not `data`.
        validation_data: Samples that it chooses by, where they are no part of those.
    """

    name: str
    model: Path
    device: Path
    data: str | None
    corner: str
    conditions: dict[str, str]
    options: Options
    asked: tuple[Asked, ...]
    hardening: HardeningSpec | None = None
    train_data: str | None = None
    validation_data: str | None = None

    def with_trials(self, trials: int) -> "Case":
        """Return the case with another number of chips."""
        return replace(self, options=replace(self.options, trials=trials))


def fingerprint(case: Case, *, torch_device: str = "cpu") -> str | None:
    """Return a digest of everything that a case's figures follow from; None where that cannot be known.

    Model, device, data, preprocessing, options and the versions of what computes are in it; a file that a
    preprocessing file names is not. Data that a function makes cannot be known.

    Raises:
        FaultsimError: If model or device cannot be read.
    """
    code = (case.data, case.train_data, case.validation_data, case.options.task)
    if any(text is not None and is_function(text) for text in code):
        return None
    options = asdict(case.options)
    options.pop("threads")
    facts = {
        "model": read_model(case.model).sha256,
        "device": load_device(case.device).sha256,
        "asked": [one.text for one in case.asked],
        "options": {key: str(value) for key, value in sorted(options.items())},
        "torch_device": torch_device,
        "hardening": None if case.hardening is None else case.hardening.model_dump(),
        "versions": {name: _version(name) for name in _COMPUTE},
        "files": [_digest(path) for path in _data_files(case)],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _data_files(case: Case) -> Iterator[Path]:
    """Yield the files that the samples come from, sidecars included, in an order of their own."""
    for text in (case.data, case.train_data, case.validation_data):
        if text is not None:
            yield from _with_sidecars(Path(text))
    if case.data is None:
        yield from _with_sidecars(case.model.with_suffix(".npz"))
        yield from (path for path in sorted(case.model.parent.glob("test_data_set_*/*")) if path.is_file())
        if case.hardening is not None and case.train_data is None:  # `harden.prepare.beside` takes it
            yield from _with_sidecars(case.model.with_name(f"{case.model.stem}_train.npz"))
    if case.options.preprocess is not None:
        yield case.options.preprocess


def _with_sidecars(path: Path) -> Iterator[Path]:
    if path.is_dir():
        yield from (one for one in sorted(path.rglob("*")) if one.is_file())
        return
    yield from (one for one in (path, path.with_name(f"{path.name}.yaml"), path.with_suffix(".yaml")) if one.is_file())


def _digest(path: Path) -> tuple[str, str]:
    try:
        with path.open("rb") as file:
            return path.name, hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return path.name, f"unreadable: {error.strerror}"


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "unknown"
