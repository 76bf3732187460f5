"""Folders and files that a command writes. What stands in them lives elsewhere."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from faultsim.errors import OptionError
from faultsim.textfile import write_text

if TYPE_CHECKING:
    from faultsim.results.kinds import Kind


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
        OptionError: If the folder cannot be written, or holds a result of something else.
    """
    from faultsim.results.kinds import NAMES, kind_of

    check_out(out)
    if out is None or not (file := out / "result.json").exists():
        return
    found = kind_of(file)
    if found is not None and found != kind:
        raise OptionError(f"--out {out}: its result.json is {NAMES[found]}, which would be lost; give another folder")


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


def write_for(option: str, target: Path, text: str) -> None:
    """Write a file that an option named.

    Raises:
        OptionError: If it cannot be written.
    """
    try:
        write_text(target, text)
    except OSError as error:
        raise OptionError(f"{option} {target}: cannot be written ({error.strerror}); give another place") from None
