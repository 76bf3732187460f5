"""Where device profiles and scenarios lie, and how a name finds one. Nothing is parsed into types here.

Places, the first that knows the name wins: `$FAULTSIM_LIBRARY`, the wheel's ``faultsim/_library``, the root
of a checkout (only where ``pyproject.toml`` lies there). Each holds ``devices/*.yaml`` and
``scenarios/*.yaml``.

A name finds a file by, in this order: the file's own name, an ``aliases:`` entry of a file, a prefix that
ends at an underscore and fits one file alone. ``.yaml`` may be left out. An existing file given as a path
always wins.
"""

import contextlib
import difflib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from faultsim.errors import DeviceError, FaultsimError, OptionError

_PACKAGE = Path(__file__).resolve().parent
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_ALIASES = re.compile(r"^aliases:[ \t]*(?:\[([^\]]*)\]|((?:\r?\n[ \t]*-[^\n]*)+))", re.MULTILINE)
_HEAD_BYTES = 65536


def closest(word: str, options: Iterable[str]) -> str | None:
    """Return the option that *word* most likely meant, or ``None`` where nothing is near.

    Examples:
        >>> closest("bit_flp", ["bit_flip", "stuck_at"])
        'bit_flip'
    """
    found = difflib.get_close_matches(word[:100], list(options), n=1, cutoff=0.6)
    return found[0] if found else None


def find_device(name: str | Path) -> Path:
    """Return the file of a device profile, by name or path.

    Args:
        name: A path to a file, or a name such as ``reram_1t1r``, ``reram_1t1r.yaml``, ``reram`` (an alias).

    Raises:
        DeviceError: If no profile, or more than one, has this name.
    """
    return _find(name, "devices", "device", DeviceError)


def find_scenario(name: str | Path) -> Path:
    """Return the file of a scenario, by name or path.

    Args:
        name: A path to a file, or the name of a scenario of the library.

    Raises:
        OptionError: If no scenario, or more than one, has this name.
    """
    return _find(name, "scenarios", "scenario", OptionError)


def list_devices() -> tuple[str, ...]:
    """Return the names of all device profiles of the library, sorted; empty where there is no library."""
    return tuple(sorted(_files("devices")))


def list_scenarios() -> tuple[str, ...]:
    """Return the names of all scenarios of the library, sorted; empty where there is no library."""
    return tuple(sorted(_files("scenarios")))


def _roots() -> Iterator[Path]:
    chosen = os.environ.get("FAULTSIM_LIBRARY")
    if chosen:
        yield Path(chosen)
    yield _PACKAGE / "_library"
    if (_PACKAGE.parent / "pyproject.toml").is_file():
        yield _PACKAGE.parent


def _files(folder: str) -> dict[str, Path]:
    """Return the library's files by name; of two with one name the place that comes first wins."""
    found: dict[str, Path] = {}
    for root in _roots():
        try:
            entries = sorted((root / folder).glob("*.yaml"))
        except OSError:
            continue
        for path in entries:
            if _NAME.fullmatch(path.stem) and path.is_file():
                found.setdefault(path.stem, path)
    return found


def _aliases(path: Path) -> tuple[str, ...]:
    """Return the ``aliases:`` of a profile: a scan of its head, so that a look-up needs no YAML parser."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES).decode("utf-8", errors="replace")
    except OSError:
        return ()
    match = _ALIASES.search(head)
    if match is None:
        return ()
    words = match[1].split(",") if match[1] is not None else re.split(r"\n[ \t]*-", match[2])
    bare = (word.partition("#")[0].strip().strip("'\"") for word in words)
    return tuple(word for word in bare if _NAME.fullmatch(word))


def _as_file(name: str | Path) -> Path | None:
    try:
        return Path(name) if str(name) and Path(name).is_file() else None
    except (OSError, ValueError):  # too long, or a NUL byte
        return None


def _is_folder(word: str) -> bool:
    try:
        return bool(word) and Path(word).is_dir()
    except (OSError, ValueError):  # too long, or a NUL byte
        return False


def _find(name: str | Path, folder: str, what: str, error: type[FaultsimError]) -> Path:
    given = _as_file(name)
    if given is not None:
        return given
    word = str(name)
    looks_like_path = isinstance(name, Path) or "/" in word or "\\" in word or word.startswith(".")
    available = _list(_files(folder))
    folder_given = _is_folder(word)
    if looks_like_path:
        said = "is a folder" if folder_given else "no such file"
        raise error(f"{what} {_short(word)}: {said}; give the path of a YAML file, or one of: {available}")
    stem = word.removesuffix(".yaml")
    files = _files(folder)
    matches = _matches(stem, files)
    if len(matches) == 1:
        return files[matches[0]]
    if matches:
        raise error(f"{what} {_short(word)} fits more than one: {', '.join(matches)}; give the whole name")
    if folder_given:
        raise error(f"{what} {_short(word)}: is a folder; give the path of a YAML file, or one of: {available}")
    near = closest(stem, (*files, *(alias for path in files.values() for alias in _aliases(path))))
    hint = f", did you mean {near!r}?" if near else ";"
    raise error(f"unknown {what} {_short(word)}{hint} available: {available}; or give the path of a YAML file")


def _matches(stem: str, files: Mapping[str, Path]) -> list[str]:
    if not _NAME.fullmatch(stem):
        return []
    if stem in files:
        return [stem]
    by_alias = [name for name, path in files.items() if stem in _aliases(path)]
    return sorted(by_alias or [name for name in files if name.startswith(f"{stem}_")])


def _list(files: Mapping[str, Path]) -> str:
    return ", ".join(sorted(files)) or "none (no library found)"


def _short(word: str) -> str:
    return repr(word if len(word) <= 80 else f"{word[:77]}...")


def find_model(name: str | Path) -> Path:
    """Return the file of a model: an existing file, or a bundled one by name.

    ``digits_int8`` is ``scenarios/digits/digits_int8.onnx``; the folder's own name, ``digits``, is its float model. A
    folder of that name in the working directory hides none of them.

    Args:
        name: Path of an ``.onnx`` file, or the name of a bundled model.

    Raises:
        OptionError: If there is no such file and no such name.
    """
    word = str(name)
    given = Path(word)
    if _as_file(word) is not None or isinstance(name, Path) or "/" in word or "\\" in word:
        return given
    bundled: dict[str, Path] = {}
    for root in _roots():
        for path in sorted((root / "scenarios").glob("*/*.onnx")):
            bundled.setdefault(path.stem, path)
            if path.stem == f"{path.parent.name}_float":
                bundled.setdefault(path.parent.name, path)
    stem = word.removesuffix(".onnx")
    if stem in bundled:
        return bundled[stem]
    with contextlib.suppress(OSError, ValueError):  # too long, or a NUL byte
        if given.exists():
            return given
    near = closest(stem, bundled)
    hint = f", did you mean the bundled model {near!r}?" if near else "; give the path of an .onnx file"
    raise OptionError(f"{_short(word)}: no such file{hint}")
