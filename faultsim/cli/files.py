"""Folders and files that a command writes. What stands in them lives elsewhere."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from faultsim.errors import OptionError
from faultsim.textfile import is_stream, write_text

if TYPE_CHECKING:
    from faultsim.results.kinds import Kind


class _Place(click.Path):
    """A path that an option writes to; an empty one is refused, and not taken for the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if isinstance(value, str) and not value.strip():
            option = "--out" if param is None else max(param.opts, key=len)
            raise OptionError(f"{option} {value!r}: is empty; give a name, or leave the option out")
        return super().convert(value, param, ctx)


PLACE = _Place(path_type=Path)
"""Type of an option that names what is written."""
PLACE_OR_DASH = _Place(path_type=Path, allow_dash=True)
"""The same where ``-`` is the standard output."""


def name_or_file(text: str) -> str | Path:
    """Return what a command was given for a profile or a scenario: a file by its ending, else a name of the library."""
    path = Path(text)
    return path if path.suffix in (".yaml", ".yml") else text


def check_out(out: Path | None) -> None:
    """Refuse a folder that cannot be written now, and not after an hour; it is made when there is a result.

    Raises:
        OptionError: If the folder, or the nearest one that exists, cannot be written.
    """
    if out is None:
        return
    try:
        there = next(place for place in (out, *out.absolute().parents) if place.exists())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OptionError(f"--out {out}: cannot be made ({reason}); give a folder that can be written") from None
    if not there.is_dir():
        raise OptionError(f"--out {out}: {'' if there == out else f'{there} '}is a file; give a folder")
    if not os.access(there, os.W_OK | os.X_OK):
        raise OptionError(f"--out {out}: {there} cannot be written; give a folder that can")


def check_result(out: Path | None, kind: "Kind") -> None:
    """Refuse a folder as `check_out` does, and one whose result.json another command wrote: it would be lost.

    Args:
        out: The folder.
        kind: What will be written into it; a result of the same command is replaced.

    Raises:
        OptionError: If the folder cannot be written, or holds a result of something else or of a scenario's case.
    """
    from faultsim.results.kinds import NAMES, kind_of

    check_out(out)
    if out is None or not (file := out / "result.json").exists():
        return
    if (out / "case.json").exists():
        raise OptionError(f"--out {out}: is the folder of a case of 'faultsim run'; give another folder")
    found = kind_of(file)
    if found is not None and found != kind:
        raise OptionError(f"--out {out}: its result.json is {NAMES[found]}, which would be lost; give another folder")


def check_apart(
    targets: Mapping[str, Path | None], inputs: Iterable[Path | str | None], *, beside: Iterable[Path] = ()
) -> None:
    """Refuse to write over what the command reads, over a result of any command, and two things into one file.

    Args:
        targets: The files that options name, by option; None and ``-`` are none.
        inputs: What the command reads; texts that are no file, and None, are none.
        beside: Files that it writes anyway.

    Raises:
        OptionError: If a file would be lost.
    """
    from faultsim.results.kinds import NAMES, kind_of

    read = [place for one in inputs if one is not None and _regular(place := Path(one))]
    taken = {os.path.realpath(one): "--out" for one in beside}
    for option, target in targets.items():
        if target is None or str(target) == "-" or is_stream(target):
            continue
        other = taken.setdefault(os.path.realpath(target), option)
        if other != option:
            raise OptionError(f"{option} {target}: is where {other} writes as well; give another file")
        if not _regular(target):
            continue
        if any(target.samefile(one) for one in read):
            raise OptionError(f"{option} {target}: is what this command reads, and would be lost; give another file")
        kind = kind_of(target)
        if kind is not None:
            raise OptionError(f"{option} {target}: is {NAMES[kind]}, which would be lost; give another file")


def _regular(place: Path) -> bool:
    try:
        return place.is_file()
    except (OSError, ValueError):  # too long, or a NUL byte
        return False


def check_model_file(write: Path | None, *, results: str | None = None) -> None:
    """Refuse a place for a model that cannot be written now, and not after the work.

    Args:
        write: The file.
        results: What ``--out`` is for, where the command has both.

    Raises:
        OptionError: If its name does not end in .onnx, it is a folder, or its folder cannot be written.
    """
    if write is None:
        return
    hint = "" if results is None else f"; --out DIR is for {results}"
    if write.suffix != ".onnx":
        raise OptionError(f"-o {write}: give a file ending in .onnx for the model{hint}")
    if write.is_dir():
        raise OptionError(f"-o {write}: is a folder; give a file ending in .onnx")
    try:
        check_out(write.parent)
    except OptionError:
        raise OptionError(f"-o {write}: its folder cannot be written; give a file in a folder that can") from None


def check_folder_of(option: str, target: Path | None) -> None:
    """Refuse a file whose folder cannot be written now, and not after the work.

    Raises:
        OptionError: If it is a folder, or its folder cannot be written.
    """
    if target is None or str(target) == "-" or is_stream(target):
        return
    if target.is_dir():
        raise OptionError(f"{option} {target}: is a folder; give a file")
    try:
        check_out(target.parent)
    except OptionError as error:
        said = str(error).removeprefix(f"--out {target.parent}: ")
        raise OptionError(f"{option} {target}: its folder {said}") from None


def write_for(option: str, target: Path, text: str) -> None:
    """Write a file that an option named.

    Raises:
        OptionError: If it cannot be written.
    """
    try:
        write_text(target, text)
    except OSError as error:
        raise OptionError(f"{option} {target}: cannot be written ({error.strerror}); give another place") from None
