"""What a scenario names is found before any type is built: models, data, devices. Nothing is expanded here."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from faultsim.data.function import is_function
from faultsim.errors import FaultsimError, OptionError
from faultsim.library import closest, find_device, find_model
from faultsim.metrics import named_task
from faultsim.specs.yaml import Document, NodePath, Problem, Tree, show_path


def model_file(text: str, folder: Path) -> Path:
    """Return the model that a scenario names: a file in or from its folder, else a bundled one.

    Raises:
        OptionError: If there is none.
    """
    beside = _beside(text, folder)
    if beside is not None:
        return beside
    if _is_path(text, ".onnx"):
        raise _missing(text, folder)
    return bundled_or_file(text).resolve()


def bundled_or_file(text: str) -> Path:
    """Return the model that a user names; a folder of that name in the working directory hides no bundled model.

    Raises:
        OptionError: If there is no such file and no such name.
    """
    found = find_model(text)
    bare = not _is_path(text, ".onnx")
    return find_model(f"{text}.onnx") if bare and found.is_dir() else found


def device_file(text: str, folder: Path) -> Path:
    """Return the device profile that a scenario names.

    Raises:
        OptionError: If there is none.
        DeviceError: If there is none of that name in the library.
    """
    beside = _beside(text, folder) if _is_path(text, ".yaml") else None
    if beside is not None:
        return beside
    if "/" in text or "\\" in text:
        raise _missing(text, folder)
    if not text.endswith(".yaml"):
        return find_device(text)
    try:
        return find_device(text)  # a name of the library with its ending
    except FaultsimError:
        raise _missing(text, folder) from None


def data_source(text: str, folder: Path) -> str:
    """Return data as `faultsim.assessment.assess` takes them: a path that exists, or ``module:function``.

    Raises:
        OptionError: If there is no such file.
    """
    try:
        there = (folder / text).exists()
    except (OSError, ValueError):
        there = False
    if there:
        return str(folder / text)
    if is_function(text):
        return text
    raise _missing(text, folder)


def lookup(document: Document, *, folder: Path, allow_code: bool, models: bool = True) -> list[Problem]:
    """Return what one file names and nobody has.

    Args:
        document: The file.
        folder: What its paths are relative to.
        allow_code: Whether it may name Python code to run.
        models: Whether its models count: not where another one stands in for them.
    """
    found: list[Problem] = []
    tree = document.value if isinstance(document.value, dict) else {}
    for at, text in _named(tree, "models", "model") if models else ():
        _try(document, found, at, partial(model_file, text, folder))
    for at, text in _named(tree, "devices", "device"):
        _try(document, found, at, partial(device_file, text, folder))
    texts: list[tuple[NodePath, str]] = []
    entries = tree.get("models")
    for i, one in enumerate(entries if isinstance(entries, list) and models else []):
        if isinstance(one, dict):
            texts += [
                (("models", i, key), value)
                for key in ("data", "preprocess", "task")
                if isinstance(value := one.get(key), str)
            ]
            found += _shapes(document, i, one)
    hardening = tree.get("hardening")
    for key in ("data", "validation_data"):
        if isinstance(hardening, dict) and isinstance(given := hardening.get(key), str):
            texts.append((("hardening", key), given))
    for at, text in texts:
        if at[-1] != "task":
            _try(document, found, at, partial(data_source, text, folder))
        elif text and not is_function(text):
            _try(document, found, at, partial(named_task, text))
        if is_function(text) and not (at[-1] != "task" and (folder / text).exists()) and not allow_code:
            message = f"{text[:80]!r} runs Python code; give --allow-code if you trust this file"
            found.append(_problem(document, at, message))
    return found


def _shapes(document: Document, i: int, model: dict[str, Tree]) -> list[Problem]:
    """Return what is wrong with sizes and axes whatever the model; that it has such inputs is found when it is read."""
    found = []
    for key, hint, fits in (
        ("input_shape", "give whole numbers above 0 with commas between, such as '1,128'", _sizes),
        ("batch_axis", "give the number of the axis that counts the samples, from 0, or none", _axis),
    ):
        entries = model.get(key)
        for name, value in entries.items() if isinstance(entries, dict) else ():
            if isinstance(value, (str, int)) and not fits(value):
                found.append(_problem(document, ("models", i, key, name), f"{str(value)[:40]!r}: {hint}"))
    return found


def _sizes(value: str | int) -> bool:
    """Whether these are sizes; a bare number is no text, which its type says."""
    return not isinstance(value, str) or all(
        part.strip().isdecimal() and int(part) > 0 for part in value[:1000].split(",")
    )


def _axis(value: str | int) -> bool:
    """Whether this is an axis; another text is no axis, which its type says."""
    return isinstance(value, str) or value >= 0


def _named(tree: dict[str, Tree], key: str, inner: str) -> list[tuple[NodePath, str]]:
    """Return the texts of a list whose entries are a text, or a mapping with the text under *inner*."""
    entries = tree.get(key)
    found: list[tuple[NodePath, str]] = []
    for i, one in enumerate(entries if isinstance(entries, list) else []):
        value = one.get(inner) if isinstance(one, dict) else one
        if isinstance(value, str) and value:
            found.append(((key, i, inner) if isinstance(one, dict) else (key, i), value))
    return found


def _try(document: Document, found: list[Problem], at: NodePath, find: Callable[[], object]) -> None:
    try:
        find()
    except FaultsimError as error:
        found.append(_problem(document, at, str(error)))


def _problem(document: Document, at: NodePath, message: str) -> Problem:
    place = document.places[at]
    return Problem(place.line, place.column, show_path(at), message)


def _beside(text: str, folder: Path) -> Path | None:
    try:
        return folder / text if (folder / text).is_file() else None
    except (OSError, ValueError):  # too long, or a NUL byte
        return None


def _is_path(text: str, suffix: str) -> bool:
    return "/" in text or "\\" in text or text.endswith(suffix)


def _missing(text: str, folder: Path) -> OptionError:
    try:
        is_folder = (folder / text).is_dir()
    except (OSError, ValueError):
        is_folder = False
    if is_folder:
        return OptionError(f"{text[:80]!r}: is a folder in {_here(folder)}; give the path of one file in it")
    return OptionError(f"{text[:80]!r}: no such file in {_here(folder)}{_near(text, folder)}")


def _here(folder: Path) -> str:
    return "the scenario's folder" + ("" if folder == Path() else f" {folder}")


def _near(text: str, folder: Path) -> str:
    wanted = Path(text)
    try:
        names = {one.stem: one.name for one in (folder / text).parent.iterdir() if one.suffix == wanted.suffix}
    except (OSError, ValueError):
        names = {}
    near = closest(wanted.stem, names)  # without the ending, which alone would make any two files alike
    return f", did you mean {names[near]!r}?" if near else "; paths are relative to that folder"
