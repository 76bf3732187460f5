"""Checkpoints of a training: all that the next step depends on, in one file that is written whole or not at all.

The format is that of safetensors: arrays, and what is no array as JSON in the header's metadata. Nothing in it can run.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from faultsim.errors import DataError, OptionError

Array = NDArray[Any]
NAME = "checkpoint.safetensors"
MOST_BYTES = 1 << 34
_META = "faultsim"


def save(path: Path, arrays: Mapping[str, Array], meta: Mapping[str, Any]) -> None:
    """Write a checkpoint; a kill at any moment leaves the one before or this one.

    Raises:
        OptionError: If it cannot be written.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            whole = {name: np.asarray(array, order="C") for name, array in arrays.items()}
            file.write(to_bytes(whole, metadata={_META: json.dumps(dict(meta))}))
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
        with safe_open(path, framework="numpy") as archive:
            meta = json.loads((archive.metadata() or {})[_META])
            arrays = {name: np.array(archive.get_tensor(name)) for name in archive.keys()}  # noqa: SIM118  (no mapping)
        if not isinstance(meta, dict):
            raise ValueError("no object")
        return arrays, meta
    except (OSError, ValueError, KeyError, AttributeError, TypeError, RecursionError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
        raise DataError(
            f"{path}: cannot be read as a checkpoint ({reason}); delete it, and the training starts again"
        ) from None
