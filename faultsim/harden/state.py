"""Checkpoints of a training: all that the next step depends on, in one ``.npz`` that is written whole or not at all.

NumPy's archive, read with ``allow_pickle=False``; safetensors would do as well and is one dependency more.
"""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import DataError, OptionError

Array = NDArray[Any]
NAME = "checkpoint.npz"
MOST_BYTES = 1 << 34
_META = "meta"


def save(path: Path, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint; a kill at any moment leaves the one before or this one.

    Raises:
        OptionError: If it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            text = np.frombuffer(json.dumps(dict(meta)).encode(), dtype=np.uint8)
            np.savez(file, allow_pickle=False, **{_META: text, **{f"a/{name}": a for name, a in arrays.items()}})
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except OSError as error:
        raise OptionError(
            f"{path}: the checkpoint cannot be written ({error.strerror}); give --out another folder"
        ) from None


def load(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Read a checkpoint.

    Raises:
        DataError: If it is none, or is damaged.
    """
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DataError(f"{path}: over {MOST_BYTES} bytes is no checkpoint of faultsim; delete it and start again")
        with np.load(path, allow_pickle=False) as archive:
            meta = json.loads(archive[_META].tobytes().decode())
            arrays = {name.removeprefix("a/"): archive[name] for name in archive.files if name != _META}
        if not isinstance(meta, dict):
            raise ValueError("no object")
        return arrays, meta
    except (OSError, ValueError, KeyError, zipfile.BadZipFile, EOFError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise DataError(
            f"{path}: cannot be read as a checkpoint ({reason}); delete it, and the training starts again"
        ) from None
